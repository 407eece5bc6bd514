"""What `CreateVirtualChannel` hands out: a static channel that the client has joined.

Source: [MS-RDPBCGR] 3.1.5.2 "Static Virtual Channels". Messages are whole in both directions; the machine cuts them
into chunks and puts them together.
"""

import math
from collections.abc import Awaitable, Callable

import structlog
import trio

from rdpprov.protocol.rdp.server import RdpServerMachine

MESSAGE_LIMIT = 1024 * 1024
"""Bytes of the longest message that a client may announce."""

MESSAGE_OVERHEAD = 64
"""Bytes, about, that a message takes beside its own: many small ones must not take more than few large ones."""

UNREAD_LIMIT = 2 * MESSAGE_LIMIT
"""Bytes of messages that may wait for who opened the channel. One who does not read loses it: the client must not be
able to fill our memory, and a channel must not hold up the client's keys and mouse, which come the same way."""


class StaticChannel:
    """One static virtual channel, as `rdpprov.api.devices.Channel`.

    Args:
        machine: carries it.
        name: as the client announced it.
        channel_id: the machine's.
        room: waits until the client can take something.
        wake: called when there is something to send.
        forget: called once, when it is closed.
        log: names the connection.
    """

    def __init__(
        self,
        machine: RdpServerMachine,
        name: str,
        channel_id: int,
        *,
        room: Callable[[], Awaitable[None]],
        wake: Callable[[], None],
        forget: Callable[[int], object],
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        self.name = name
        self._machine = machine
        self._id = channel_id
        self._room = room
        self._wake = wake
        self._forget = forget
        self._log = log
        self._sending = trio.Lock()
        self._is_closed = False
        self._incoming, self._messages = trio.open_memory_channel[bytes](math.inf)
        self._unread = 0
        self._rest = b""

    async def send_all(self, data: bytes) -> None:
        """Send one message. Waits until the client is active, and has taken what came before.

        Raises:
            trio.ClosedResourceError: the channel is closed, or the connection over.
        """
        async with self._sending:
            if not self._is_closed:
                await self._room()
            if self._is_closed:
                raise trio.ClosedResourceError
            self._machine.send_channel_data(self._id, data)
            self._wake()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for a message; of a longer one than ``max_bytes`` the rest comes next. Empty: there will be none.

        Raises:
            trio.ClosedResourceError: it was closed at this end.
        """
        if not self._rest:
            try:
                self._rest = await self._messages.receive()
            except trio.EndOfChannel:
                return b""
            self._unread -= len(self._rest) + MESSAGE_OVERHEAD
        length = len(self._rest) if max_bytes is None else max_bytes
        data, self._rest = self._rest[:length], self._rest[length:]
        return data

    def deliver(self, message: bytes) -> None:
        """A message of the client has come. An empty one says nothing, and would look like the end."""
        if not message:
            return
        self._unread += len(message) + MESSAGE_OVERHEAD
        if self._unread > UNREAD_LIMIT:
            self._log.warning("nobody reads a static channel, closed", channel=self.name, unread=self._unread)
            self.end()
            return
        self._incoming.send_nowait(message)

    def end(self) -> None:
        """No more messages, in either direction; what has come can still be read."""
        if not self._is_closed:
            self._is_closed = True
            self._machine.close_channel(self._id)
            self._incoming.close()
            self._forget(self._id)

    async def aclose(self) -> None:
        """Close it. The client is not told: static channels live as long as the connection."""
        self.end()
        self._messages.close()
        await trio.lowlevel.checkpoint()
