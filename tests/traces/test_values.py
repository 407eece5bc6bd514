"""The values of a trace become the API's again, or an error of ours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov import api
from rdpprov.api import enums, structures
from rdpprov.api.identity import ReconnectClaim, ReconnectMethod, UserToken
from rdpprov.traces.dialogue import ReplayError
from rdpprov.traces.format import to_json
from rdpprov.traces.values import from_json

short_text = st.text(st.characters(codec="utf-8"), max_size=8)
small = st.integers(0, 100)
plain_structures = st.one_of(
    st.builds(
        structures.ClientData,
        client_name=short_text,
        h_res=small,
        disable_cdm=st.booleans(),
        client_sock_address=st.builds(structures.SockAddr, st.sampled_from(enums.AddressFamily), short_text, small),
        client_time_zone=st.builds(structures.TimeZoneInformation, st.integers(-700, 700), short_text),
    ),
    st.builds(structures.ConnectionSettings, max_idle_time=small, context_data=st.binary(max_size=32)),
    st.builds(structures.SessionId, st.uuids(), small),
    st.builds(structures.LicenseCapabilities, client_name=short_text, authenticate_server=st.booleans()),
    st.builds(structures.ServiceState, st.sampled_from(enums.RcmServiceState), st.sampled_from(enums.RcmDrainState)),
    st.builds(structures.PropertyValue, st.integers(0, 9) | short_text | st.uuids()),
    st.builds(structures.ProtocolStatus, counters=st.tuples(small, small)),
    st.builds(UserToken, short_text, groups=st.frozensets(short_text, max_size=3)),
)


@given(plain_structures)
def test_a_structure_without_secrets_comes_back_from_a_trace(value):
    again = from_json(to_json(value), type(value))
    if isinstance(value, structures.PropertyValue):
        assert str(again.value) == str(value.value)  # a UUID and its text are one in JSON
    else:
        assert again == value


def test_secrets_come_from_whoever_has_them_and_else_are_of_no_use():
    recorded = to_json(api.UserCredential("ann", "hunter2"))
    assert from_json(recorded, api.UserCredential) == api.UserCredential("ann", "")
    assert from_json(recorded, api.UserCredential, {"password": "other"}) == api.UserCredential("ann", "other")
    claim = to_json(ReconnectClaim(3, b"v" * 16, ReconnectMethod.HMAC_MD5, b"c"))
    assert from_json(claim, ReconnectClaim) == ReconnectClaim(3, bytes(16), ReconnectMethod.HMAC_MD5)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ({"session_id": -1}, structures.SessionId),
        ({"session_unique_guid": "x"}, structures.SessionId),
        ("text", structures.ClientData),
        ({"hex": "0g"}, bytes),
        ({}, bytes),
        ("PURPLE", enums.RcmServiceState),
        ([1, 2], int),
        ({"a": 1}, structures.PropertyValue),
    ],
)
def test_a_value_that_does_not_fit_is_our_error(value, hint):
    with pytest.raises(ReplayError):
        from_json(value, hint)
