"""The random walks, over providers that are right and over one that is not."""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from rdpprov.providers.rdp.manager import RdpManager
from rdpprov.testing.behaviour import behaviour_of
from rdpprov.testing.known_clients import RDP
from tests.testing.minimal_provider import Connection, Listener, MinimalManager

FEW = settings(
    max_examples=6, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck), database=None
)


@pytest.mark.parametrize("provider", [MinimalManager, "examples.line_protocol:LineManager"], ids=["minimal", "line"])
def test_random_behaviour_breaks_nothing(provider):
    run_state_machine_as_test(behaviour_of(provider), settings=FEW)


# TLS and a whole activation take a while, so the walks are shorter.
def test_random_behaviour_breaks_nothing_of_rdp():
    few = settings(FEW, max_examples=12, stateful_step_count=8)
    run_state_machine_as_test(behaviour_of(RdpManager, RDP), settings=few)


class ImpatientConnection(Connection):
    def heard(self, line):
        super().heard(line)
        self.callback.on_ready()


class ImpatientListener(Listener):
    make_connection = ImpatientConnection


class ImpatientManager(MinimalManager):
    make_listener = ImpatientListener


def test_a_provider_that_is_ready_again_whenever_its_client_types_is_found():
    many = settings(FEW, max_examples=100, phases=[Phase.generate])  # to see it is enough here, it need not be shrunk
    with pytest.raises(AssertionError, match="OnReady"):
        run_state_machine_as_test(behaviour_of(ImpatientManager), settings=many)
