"""Traces in tests: replayed both ways, and told as dialogues where they differ."""

from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from examples.line_protocol import LineManager
from rdpprov.testing.scripted import ScriptedProvider
from rdpprov.testing.trace_assertions import (
    TraceError,
    assert_same_dialogue,
    assert_trace_is_right,
    compared,
    replay_against_provider,
    replay_against_service,
)
from rdpprov.traces.format import CallLine, WireLine, read_trace

GOOD = sorted((Path(__file__).parents[1] / "traces" / "good").glob("*.jsonl"))


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_good_traces_are_right(path):
    trace = read_trace(path)
    assert_trace_is_right(trace)
    assert all(line.startswith("  ") for line in compared(trace, trace).splitlines())


def recorded():
    """A connection of the scripted provider, which comes and goes."""

    async def record():
        provider = ScriptedProvider()
        async with provider.service():
            client = await provider.log_on()
            client.goes()
            await client.closed.wait()
        return provider.traces.connections[1].trace()

    return trio.run(record, clock=MockClock(autojump_threshold=0))


def test_a_recorded_trace_is_replayed_against_the_service():
    trace = recorded()
    replay = trio.run(
        lambda: replay_against_service(trace, users={"ann": "right"}), clock=MockClock(autojump_threshold=0)
    )
    assert_same_dialogue(replay)


def test_without_users_whoever_logged_on_then_may_do_so_again():
    replay = trio.run(replay_against_service, recorded(), clock=MockClock(autojump_threshold=0))
    assert_same_dialogue(replay)


def edited(trace, call, **result):
    lines = [
        attrs.evolve(line, result={**line.result, **result})
        if isinstance(line, CallLine) and line.call == call
        else line
        for line in trace.lines
    ]
    return attrs.evolve(trace, lines=tuple(lines))


def test_what_the_service_does_otherwise_is_a_dialogue_with_both_sides():
    trace = edited(recorded(), "GetClientData", h_res=800)
    replay = trio.run(
        lambda: replay_against_service(trace, users={"ann": "right"}), clock=MockClock(autojump_threshold=0)
    )
    with pytest.raises(TraceError, match="recorded: "):
        assert_same_dialogue(replay)


def test_a_trace_is_replayed_against_a_provider():
    trace = recorded()
    gone = next(call.t for call in trace.calls if call.call == "BrokenConnection")
    wire = [WireLine(0.0, "in", b"LOGON ann right\n"), WireLine(gone, "in", b"LOOK\n")]
    trace = attrs.evolve(trace, lines=(*trace.lines, *wire))
    replay = trio.run(replay_against_provider, trace, LineManager)
    # The scripted provider is another one than the line protocol: what it answers differs, and is told.
    with pytest.raises(TraceError, match="protocol_name=LINES"):
        assert_same_dialogue(replay)
