"""A trace's bytes played again against a sans-IO machine: what the client sent goes in, what comes out is compared."""

from collections.abc import Callable
from typing import Any, Protocol

from rdpprov.errors import RdpProvError
from rdpprov.traces.dialogue import NOTHING, Replay, ReplayError
from rdpprov.traces.format import Trace


class Machine(Protocol):
    """What every sans-IO machine of rdpprov has."""

    def receive_data(self, data: bytes) -> None:
        """Take bytes."""

    def next_event(self) -> object:
        """What they mean, one event at a time."""

    def data_to_send(self) -> bytes:
        """What to send."""


def replay_machine(
    trace: Trace,
    machine: Callable[[], Machine],
    *,
    respond: Callable[[Any, object], bool],
) -> Replay:
    """Feed the recorded bytes of the client to a machine, and compare what it sends with what was sent then.

    Args:
        trace: with bytes (``wire`` lines).
        machine: makes a fresh machine; its clock and its random bytes have to be the recorded ones.
        respond: called with the machine and each event; does what the provider did, and returns whether there may be
            another event (False for NEED_DATA and its like).

    Raises:
        ReplayError: the trace has no bytes.
    """
    if not trace.wire:
        raise ReplayError("the trace has no bytes: it was not recorded with them")
    replay = Replay()
    ours = machine()
    sent = bytearray()
    for line in trace.wire:
        if line.direction == "out":
            now = bytes(sent[: len(line.data)])
            del sent[: len(line.data)]
            replay.add(f"{line.t:.6f} to the client", _bytes(line.data), _bytes(now), differs=now != line.data)
            continue
        replay.add(f"{line.t:.6f} from the client", _bytes(line.data), _bytes(line.data))
        try:
            ours.receive_data(line.data)
            while respond(ours, ours.next_event()):
                pass
            sent += ours.data_to_send()
        except RdpProvError as error:
            replay.add(f"{line.t:.6f} the machine", "went on", f"raised {type(error).__name__}: {error}", differs=True)
            return replay
    if sent:
        replay.add("after the last line", NOTHING, _bytes(bytes(sent)), differs=True)
    return replay


def _bytes(data: bytes) -> str:
    """Bytes in words: the beginning, and how many."""
    return f"{len(data)} bytes {data[:32].hex(' ')}{' ...' if len(data) > 32 else ''}" if data else NOTHING
