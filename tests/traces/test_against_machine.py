"""A trace's bytes against a machine: what it sends is what was sent, however the bytes were cut."""

import pytest

from rdpprov.errors import RemoteProtocolError
from rdpprov.traces.against_machine import replay_machine
from rdpprov.traces.dialogue import ReplayError
from rdpprov.traces.format import Trace, TraceHeader, WireLine
from tests.traces.support import FIRST


class UpperMachine:
    """Sends every line back in capitals."""

    def __init__(self) -> None:
        self.received, self.to_send = b"", b""

    def receive_data(self, data: bytes) -> None:
        self.received += data

    def next_event(self) -> object:
        line, newline, rest = self.received.partition(b"\n")
        if not newline:
            return None
        if line == b"bad":
            raise RemoteProtocolError("no such line")
        self.received = rest
        return line

    def data_to_send(self) -> bytes:
        data, self.to_send = self.to_send, b""
        return data


def respond(machine: UpperMachine, event: bytes | None) -> bool:
    if event is not None:
        machine.to_send += event.upper() + b"\n"
    return event is not None


def wire_trace(*lines: tuple[str, bytes]) -> Trace:
    wire = tuple(WireLine(number / 10, direction, data) for number, (direction, data) in enumerate(lines))
    return Trace(TraceHeader("connection"), wire)


def test_a_machine_sends_again_what_was_sent_however_it_was_cut():
    trace = wire_trace(("in", b"one\ntw"), ("in", b"o\n"), ("out", b"ONE\nT"), ("out", b"WO\n"))
    assert replay_machine(trace, UpperMachine, respond=respond).differences == []


def test_other_bytes_are_a_difference_told_with_both_sides():
    replay = replay_machine(wire_trace(("in", b"one\n"), ("out", b"ONE!")), UpperMachine, respond=respond)
    (difference,) = replay.differences
    assert (difference.recorded, difference.now) == ("4 bytes 4f 4e 45 21", "4 bytes 4f 4e 45 0a")


def test_too_many_and_too_few_bytes_are_differences():
    (more,) = replay_machine(wire_trace(("in", b"a\nb\n"), ("out", b"A\n")), UpperMachine, respond=respond).differences
    assert (more.where, more.now) == ("after the last line", "2 bytes 42 0a")
    (fewer,) = replay_machine(wire_trace(("in", b"a"), ("out", b"A\n")), UpperMachine, respond=respond).differences
    assert (fewer.recorded, fewer.now) == ("2 bytes 41 0a", "nothing")


def test_a_machine_that_raises_is_a_difference():
    (difference,) = replay_machine(wire_trace(("in", b"bad\n")), UpperMachine, respond=respond).differences
    assert difference.now == "raised RemoteProtocolError: no such line"


def test_a_trace_without_bytes_cannot_be_fed_to_a_machine():
    with pytest.raises(ReplayError, match="no bytes"):
        replay_machine(FIRST, UpperMachine, respond=respond)
