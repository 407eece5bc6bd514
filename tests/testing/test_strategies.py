"""Strategies for the structures of the API."""

import attrs
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from rdpprov.api.structures import CacheStats, ClientData, ProtocolStatus, UserCredential, text, unsigned
from rdpprov.testing.strategies import WITHOUT, all_structures, structures
from rdpprov.traces.format import REDACTED, to_json


@pytest.mark.parametrize("structure", all_structures(), ids=lambda structure: structure.__name__)
def test_every_structure_has_a_strategy_and_its_values_go_into_traces(structure):
    @settings(max_examples=10, deadline=None)
    @given(structures(structure))
    def goes_into_traces(value):
        assert isinstance(value, structure)
        to_json(value)

    goes_into_traces()


def test_what_has_no_strategy_is_named_with_its_reason():
    assert {"ClientData", "ConnectionSettings", "ProtocolStatus"} <= {each.__name__ for each in all_structures()}
    assert not WITHOUT.keys() & {each.__name__ for each in all_structures()}


@given(structures(UserCredential, user_name=st.just("ann")))
def test_a_field_can_have_a_strategy_of_its_own(credential):
    assert credential.user_name == "ann"
    assert to_json(credential)["password"] == REDACTED


@attrs.frozen
class New:
    name: str = text(3)
    number: int = unsigned(8)


@given(structures(New))
def test_a_new_structure_is_covered_by_what_its_fields_say(new):
    assert len(new.name.encode("utf-16-le")) <= 6
    assert 0 <= new.number <= 255


@settings(max_examples=20, deadline=None)
@given(structures(ClientData), structures(ProtocolStatus))
def test_values_are_equal_to_their_copies(data, status):
    assert attrs.evolve(data) == data
    assert attrs.evolve(status) == status


@pytest.mark.parametrize("selector", [1, 2, 3])
def test_of_a_union_every_member_is_drawn(selector):
    find(structures(CacheStats), lambda stats: stats.specific == selector, settings=settings(database=None))


@given(structures(CacheStats, tshare_cache_stats=st.just(7)))
def test_of_a_union_the_other_members_are_left_alone_if_one_is_given(stats):
    assert (stats.specific, stats.protocol_cache, stats.reserved) == (2, (), ())


def test_a_field_that_nobody_can_make_is_named():
    @attrs.frozen
    class Odd:
        stream: object = None

    with pytest.raises(LookupError, match=r"Odd\.stream"):
        structures(Odd)
