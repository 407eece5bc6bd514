"""The plugin: a test for each rule, and traces that are compared as dialogues."""

import pytest
import trio
from trio.testing import MockClock

from rdpprov.testing.pytest_plugin import CheckedOnce, RuleCheck, pytest_assertrepr_compare
from rdpprov.testing.scripted import ScriptedProvider
from rdpprov.testing.trace_assertions import TraceError, assert_trace_is_right, recorded_trace
from tests.testing.broken_providers import BROKEN
from tests.testing.minimal_provider import MinimalManager


@pytest.mark.rdpprov_provider(MinimalManager, patience=1.0)
def test_conforms(rdpprov_rule):
    rdpprov_rule.check()


def test_a_broken_rule_fails_with_what_was_seen_and_what_to_change():
    once = CheckedOnce((BROKEN["starts"],), {"patience": 1.0})
    with pytest.raises(pytest.fail.Exception, match="there are no listeners today"):
        RuleCheck("starts", once).check()
    with pytest.raises(pytest.skip.Exception, match="mend what failed first"):
        RuleCheck("on-ready-comes", once).check()


def test_a_connection_is_recorded_by_a_fixture(rdpprov_recorder):
    rdpprov_recorder.call("service", "connection", "AcceptConnection", {}).returned()
    assert [call.call for call in rdpprov_recorder.trace().calls] == ["AcceptConnection"]


def test_the_traces_of_a_service_are_checked_by_a_fixture(rdpprov_traces):
    async def serve():
        provider = ScriptedProvider()
        provider.traces = rdpprov_traces
        async with provider.service():
            await provider.log_on()

    trio.run(serve, clock=MockClock(autojump_threshold=0))
    assert rdpprov_traces.connections.keys() == {1}


def said(*calls):
    with recorded_trace() as recorder:
        for call, result in calls:
            recorder.call("service", "connection", call, {}).returned(result)
    return recorder.trace()


def test_two_traces_that_differ_are_told_as_a_dialogue():
    told = pytest_assertrepr_compare(None, "==", said(("GetClientData", 1)), said(("GetClientData", 2)))
    assert "- service -> connection GetClientData() -> 1" in told
    assert "+ service -> connection GetClientData() -> 2" in told


def test_a_wrong_trace_is_told_with_the_line_that_is_wrong():
    with pytest.raises(TraceError, match=r"! service -> connection AcceptConnection\(\)"):
        assert_trace_is_right(said(("AcceptConnection", None)))
