"""What a connection's trace gets to know about the wire: milestones, and plain bytes if somebody asked for them."""

from typing import Literal

import attrs
import trio

from rdpprov.api import ProtocolConnectionCallback
from rdpprov.wire.rdp.client_info import ClientInfo, InfoFlags

MAX_HELD = 32 * 1024
"""Bytes kept before anybody can be asked whether they are wanted; a client that needs more is not recorded."""


@attrs.define
class WireTrace:
    """Milestones and bytes of one connection.

    A trace begins with OnConnected, but the wire does not: what comes before is kept here until `attach`. Secrets go no
    further: the password in Client Info is overwritten at equal length, and bytes that come in between Font Map and
    LogonNotify are left out, for a password may be typed in them.
    """

    _callback: ProtocolConnectionCallback | None = None
    _wanted: bool = True
    _hide_input: bool = False
    _held: list[tuple[float, Literal["in", "out"], bytes]] = attrs.field(factory=list, repr=False)
    _held_size: int = 0
    _milestones: list[tuple[float, str, dict[str, object]]] = attrs.field(factory=list)

    def milestone(self, name: str, **fields: object) -> None:
        """Something has happened that a reader of the trace looks for."""
        if self._callback is None:
            self._milestones.append((trio.current_time(), name, fields))
        else:
            self._callback.trace_event(name, fields)

    def received(self, data: bytes) -> None:
        """Bytes came in, inside TLS or before it."""
        if self._wanted and not self._hide_input:
            self._record("in", data)

    def sent(self, data: bytes) -> None:
        """Bytes go out."""
        if self._wanted:
            self._record("out", data)

    def hide_input(self, hide: bool) -> None:
        """Whether what comes in may hold a password that is being typed."""
        self._hide_input = hide

    def hide_password(self, info: ClientInfo) -> None:
        """Overwrite the password of the Client Info that has just come."""
        incoming = b"".join(data for _, direction, data in self._held if direction == "in")
        if not info.password or not incoming:
            return
        # The password stands between the user name and the shell, each with its terminator: no other place looks so.
        encoding = "utf-16-le" if info.flags & InfoFlags.INFO_UNICODE else "latin-1"
        end = "\0".encode(encoding)
        user, secret = (text.encode(encoding, "surrogatepass") for text in (info.user_name, info.password))
        at = incoming.rfind(user + end + secret + end)
        if at < 0:  # a code page that we only approximate: better no bytes than a password
            self._held = [held for held in self._held if held[1] == "out"]
            return
        at += len(user) + len(end)
        hidden = incoming[:at] + b"*" * len(secret) + incoming[at + len(secret) :]
        position = 0
        held = []
        for time, direction, data in self._held:
            if direction == "in":
                data, position = hidden[position : position + len(data)], position + len(data)
            held.append((time, direction, data))
        self._held = held

    def attach(self, callback: ProtocolConnectionCallback) -> None:
        """The trace exists now: hand over what was kept."""
        self._callback = callback
        now = trio.current_time()
        for time, name, fields in self._milestones:
            callback.trace_event(name, fields, ago=now - time)
        self._milestones = []
        self._wanted = callback.traces_wire and self._held_size <= MAX_HELD
        if self._wanted:
            for time, direction, data in self._held:
                callback.trace_wire(direction, data, ago=now - time)
        self._held = []

    def _record(self, direction: Literal["in", "out"], data: bytes) -> None:
        if self._callback is not None:
            self._callback.trace_wire(direction, data)
            return
        self._held_size += len(data)
        if self._held_size <= MAX_HELD:
            self._held.append((trio.current_time(), direction, data))
        else:
            self._held = []
