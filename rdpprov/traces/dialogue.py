"""What a replay tells: a dialogue in which every exchange has both sides, as recorded and as it came this time.

`rdpprov.traces.against_provider`, `rdpprov.traces.against_service` and `rdpprov.traces.against_machine` tell theirs so.
"""

from collections.abc import Mapping
from typing import Final

import attrs

from rdpprov.errors import RdpProvError
from rdpprov.traces.format import CallError, CallLine, Json, Outcome
from rdpprov.traces.show import printable, short


class ReplayError(RdpProvError):
    """A trace that cannot be replayed: it is of another kind, or what is needed is not in it."""


@attrs.frozen
class Exchange:
    """One line of the dialogue: what the trace says, and what came this time."""

    where: str
    """``7 service -> connection GetClientData``."""

    recorded: str
    now: str

    differs: bool


@attrs.define
class Replay:
    """A dialogue with both sides."""

    exchanges: list[Exchange] = attrs.field(factory=list)

    @property
    def differences(self) -> list[Exchange]:
        """Where this time was not as recorded; nothing, if all was."""
        return [exchange for exchange in self.exchanges if exchange.differs]

    def to_text(self, *, only_differences: bool = False) -> str:
        """For people: each exchange a line; a difference three, with what the trace says and what came instead."""
        lines = []
        for exchange in self.exchanges:
            if exchange.differs:
                lines += [f"! {exchange.where}", f"    recorded: {exchange.recorded}", f"    now:      {exchange.now}"]
            elif not only_differences:
                lines.append(f"  {exchange.where}  {exchange.recorded}".rstrip())
        return "".join(f"{printable(line)}\n" for line in lines)

    def add(self, where: str, recorded: str, now: str, *, differs: bool | None = None) -> None:
        """Note one exchange; by default it differs if the texts do."""
        self.exchanges.append(Exchange(where, recorded, now, recorded != now if differs is None else differs))


NOTHING: Final = "nothing"
"""One side of an exchange that the other does not have."""


def outcome_of(result: object, error: CallError | None) -> str:
    """An answer in words, comparable."""
    if error is not None:
        return f"failed: {error.exception or f'0x{error.hresult:08X}'}"
    return "returned" if result is None else f"returned {short(result, 0)}"


def named(args: Mapping[str, Json]) -> str:
    """Arguments in words."""
    return ", ".join(f"{name}={short(value)}" for name, value in args.items())


def recorded_outcome(call: CallLine) -> str:
    """The trace's answer in words."""
    return "did not return" if call.outcome is Outcome.OPEN else outcome_of(call.result, call.error)


def where(call: CallLine) -> str:
    """What an `Exchange` is about, if it is about a call of the trace."""
    return f"{call.n} {call.source} -> {call.target} {call.call}"
