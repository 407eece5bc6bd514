"""What a connection's trace gets to know about the wire: milestones, and plain bytes if somebody asked for them.

What is secret in the bytes only a protocol's own subclass knows.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

import attrs
import trio

from rdpprov.api import ProtocolConnectionCallback

MAX_HELD = 8 * 1024
"""Bytes kept before anybody can be asked whether they are wanted: about three times what clients need until
OnConnected. One that needs more is not recorded."""
MAX_HELD_PIECES = 256
"""Likewise, of pieces: a client that sends byte by byte must not take a hundred times as much."""


@attrs.define
class HeldTrace(ABC):
    """Milestones and bytes of one connection.

    A trace begins with OnConnected, but the wire does not: what comes before is kept here until `attach`.
    """

    _now: Callable[[], float] = trio.current_time
    _callback: ProtocolConnectionCallback | None = None
    _wanted: bool = True
    _held: list[tuple[float, Literal["in", "out"], bytes]] = attrs.field(factory=list, repr=False)
    _held_size: int = 0
    _milestones: list[tuple[float, str, dict[str, object]]] = attrs.field(factory=list)

    def milestone(self, name: str, **fields: object) -> None:
        """Something has happened that a reader of the trace looks for."""
        if self._callback is None:
            self._milestones.append((self._now(), name, fields))
        else:
            self._callback.trace_event(name, fields)

    def sent(self, data: bytes) -> None:
        """Bytes go out."""
        self._take("out", data)

    def attach(self, callback: ProtocolConnectionCallback) -> None:
        """The trace exists now: hand over what was kept."""
        self._callback = callback
        now = self._now()
        for time, name, fields in self._milestones:
            callback.trace_event(name, fields, ago=now - time)
        self._milestones = []
        self._wanted = self._wanted and callback.traces_wire
        held, self._held = self._held, []
        for time, direction, data in held:
            self._trace(callback, direction, data, now - time)

    def detach(self) -> None:
        """The trace is over: nothing more is kept, nor who kept it."""
        self._callback = None
        self._wanted = False

    def _take(self, direction: Literal["in", "out"], data: bytes) -> None:
        if not self._wanted:
            return
        if self._callback is not None:
            self._trace(self._callback, direction, data, 0.0)
            return
        self._held_size += len(data)
        if self._held_size <= MAX_HELD and len(self._held) < MAX_HELD_PIECES:
            self._held.append((self._now(), direction, data))
        else:
            self._wanted = False
            self._held = []

    @abstractmethod
    def _trace(
        self, callback: ProtocolConnectionCallback, direction: Literal["in", "out"], data: bytes, ago: float
    ) -> None:
        """Hand bytes on, without what is secret in them, as long as they are wanted."""
