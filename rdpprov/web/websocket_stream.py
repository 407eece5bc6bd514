"""A WebSocket as a byte stream, so that a provider serves a browser as it serves any other client.

The bytes travel in binary messages whose borders mean nothing, in either direction.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Protocol

import trio
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

WRITE_SIZE = 64 * 1024
"""Bytes in a message that is sent. Each has to be taken in time: a slow client makes progress, a dead one does not."""

NORMAL, GOING_AWAY, UNSUPPORTED, INTERNAL_ERROR = 1000, 1001, 1003, 1011
"""Codes of a Close frame, [RFC 6455] 7.4.1 "Defined Status Codes"."""


class Carrier(Protocol):
    """What the stream has to know of the connection below the WebSocket: `rdpprov.web.connection.WebConnection`."""

    @property
    def is_over(self) -> bool:
        """Whether nothing can be sent any more."""

    async def wait_writable(self) -> None:
        """Wait until the socket's buffer has room."""


class WebSocketStream(trio.abc.HalfCloseableStream):
    """The bytes of an accepted WebSocket. One task may receive while another sends.

    What the browser sends is read when it is asked for, and not before: a provider that does not read leaves it in the
    browser. `send_all` likewise returns when the socket has taken everything.

    Args:
        websocket: accepted.
        carrier: the connection below.
    """

    def __init__(self, websocket: WebSocket, carrier: Carrier) -> None:
        self._websocket = websocket
        self._carrier = carrier
        self._received = memoryview(b"")
        self._at_end = False
        self._receiving: trio.CancelScope | None = None
        self._is_sending = False
        self._is_closed = False
        self._close_is_sent = False
        self._code, self._reason = NORMAL, ""

    def close_with(self, code: int, reason: str) -> None:
        """What a Close frame of ours is going to say. The first to say something is heard.

        Args:
            code: [RFC 6455] 7.4.
            reason: for people; at most 123 bytes of UTF-8.
        """
        if self._code == NORMAL:
            self._code, self._reason = code, reason

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for bytes; none: the browser has closed the WebSocket, or is gone.

        Raises:
            trio.BrokenResourceError: the browser sent text.
        """
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be more than 0")
        if self._receiving is not None:
            raise trio.BusyResourceError("another task is receiving from this stream")
        if self._is_closed:
            raise trio.ClosedResourceError("this stream was closed")
        with trio.CancelScope() as self._receiving:
            try:
                if self._received or self._at_end:
                    await trio.lowlevel.checkpoint()
                while not (self._received or self._at_end):
                    await self._receive_message()
            finally:
                self._receiving = None
        if self._is_closed:
            raise trio.ClosedResourceError("this stream was closed by another task")
        taken = self._received[:max_bytes]
        self._received = self._received[len(taken) :]
        return bytes(taken)

    async def _receive_message(self) -> None:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            self._at_end = True
            return
        data: bytes | None = message.get("bytes")
        if data is None:
            self.close_with(UNSUPPORTED, "binary messages only")
            raise trio.BrokenResourceError("the client sent a text message")
        self._received = memoryview(data)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes, at most 64 KiB in a message.

        Raises:
            trio.BrokenResourceError: the client is gone, or takes nothing any more.
        """
        with self._sending():
            view = memoryview(data)
            if not view:
                await trio.lowlevel.checkpoint()
            for start in range(0, len(view), WRITE_SIZE):
                await self._send(partial(self._websocket.send_bytes, bytes(view[start : start + WRITE_SIZE])))

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the client has taken enough of what was sent before."""
        with self._sending():
            await self._carrier.wait_writable()

    async def send_eof(self) -> None:
        """Send a Close frame: nothing more comes from us. What the browser sends until it answers can be received."""
        if self._close_is_sent:
            await trio.lowlevel.checkpoint()
            return
        with self._sending():
            self._close_is_sent = True
            await self._send(partial(self._websocket.close, self._code, self._reason))

    @contextmanager
    def _sending(self) -> Iterator[None]:
        """One task at a time, on a stream that is open."""
        if self._is_sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        if self._is_closed or self._close_is_sent:
            raise trio.ClosedResourceError("this stream was closed")
        self._is_sending = True
        try:
            yield
        finally:
            self._is_sending = False

    @property
    def _is_gone(self) -> bool:
        """A WebSocket has no half that stays open: when the browser's has ended, so has ours."""
        return self._at_end or self._carrier.is_over

    async def _send(self, send: Callable[[], Awaitable[None]]) -> None:
        try:
            if not self._is_gone:
                await send()
        except (WebSocketDisconnect, WebSocketDisconnected) as error:
            raise trio.BrokenResourceError("the WebSocket is closed") from error
        if self._is_gone:  # below, what cannot be sent is dropped without a word
            raise trio.BrokenResourceError("the connection is closed")

    async def aclose(self) -> None:
        """Say goodbye: a Close frame, and wait for the answer, for as long as the caller's scope allows.

        Nobody else may be waiting for an answer: what the browser sent before it is lost.
        """
        if self._is_closed:
            await trio.lowlevel.checkpoint()
            return
        self._is_closed = True
        if self._receiving is not None:
            self._receiving.cancel()
        try:
            if not self._close_is_sent:
                self._close_is_sent = True
                await self._send(partial(self._websocket.close, self._code, self._reason))
            while not self._at_end:
                self._at_end = (await self._websocket.receive())["type"] == "websocket.disconnect"
        except (trio.BrokenResourceError, WebSocketDisconnected):
            await trio.lowlevel.checkpoint()
