"""One TCP connection of a browser: hypercorn's HTTP and WebSocket on our own stream, with our own limits.

hypercorn's server for trio is made for what stands behind a proxy: it counts no connections, shields its writes from
cancellation, so that a client that takes nothing holds up the service's stop, keeps on collecting a message that is
already too large, inflates what a client deflated without a bound, and changes to HTTP/2 at a client's word. So the
connection is ours, and of hypercorn's protocol three things are otherwise, all of them in `_Http11`.
"""

import ssl
import sys
from collections.abc import Callable
from math import inf
from typing import Any

import h11
import structlog
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.logging import Logger
from hypercorn.protocol.events import StreamClosed
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.ws_stream import FrameTooLargeError, WebsocketBuffer, WSStream
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState
from wsproto.events import Message

from rdpprov.errors import for_log
from rdpprov.web.configuration import WebLimits
from rdpprov.web.pace import FrameCounter, Pace

RECEIVE_SIZE = 8 * 1024
"""Bytes read at a time: of a client that sends nothing but empty frames they keep the event loop for 20 ms."""
QUEUED_MESSAGES = 4
"""WebSocket messages that wait for the provider. At least three: what ends a request is queued, too, and nobody reads
on."""

log = structlog.get_logger("rdpprov.web")


class _Log(Logger):
    """hypercorn's log, in ours."""

    def __init__(self, config: Config) -> None:
        self.error_logger = self.access_logger = None

    async def access(self, request: Any, response: Any, request_time: float) -> None:
        """A request has been answered."""
        log.debug("answered", path=request["path"], status=(response or {}).get("status"))

    async def exception(self, message: str, *args: Any, **kwargs: Any) -> None:
        """Our application failed."""
        error = sys.exception()
        log.error("request failed", **(for_log(error) if error is not None else {}))


def protocol_configuration(limits: WebLimits) -> Config:
    """What hypercorn's protocol is told."""
    config = Config()
    config.logger_class = _Log
    config.include_server_header = False
    config.h11_max_incomplete_size = limits.request_head
    config.websocket_max_message_size = limits.message_size
    config.websocket_ping_interval = limits.ping
    config.max_app_queue_size = QUEUED_MESSAGES
    return config


class _Buffer(WebsocketBuffer):
    """The parts of a message, which stop being collected when they are too many."""

    has_overflowed = False

    def extend(self, event: "Message[Any]") -> None:
        if self.has_overflowed or self.length + len(event.data) > self.max_length:
            self.has_overflowed = True
            raise FrameTooLargeError
        super().extend(event)


class _Http11(H11Protocol):
    """HTTP/1.1 and WebSockets without compression, and with a bound to their messages."""

    def __init__(self, *args: Any, on_overflow: Callable[[], None]) -> None:
        super().__init__(*args)
        self._on_overflow = on_overflow

    async def handle(self, event: Event) -> None:
        await super().handle(event)
        buffer = getattr(self.stream, "buffer", None)
        if isinstance(buffer, _Buffer) and buffer.has_overflowed:  # the client has been sent a Close frame
            self._on_overflow()
            await self.stream_send(StreamClosed(STREAM_ID))

    async def _check_protocol(self, event: h11.Request) -> None:
        """Stay with HTTP/1.1, whatever the client proposes."""

    async def _create_stream(self, request: h11.Request) -> None:
        # Pixels are compressed already, and a few bytes that a client has deflated may inflate to any number.
        headers = [header for header in request.headers.raw_items() if header[0].lower() != b"sec-websocket-extensions"]
        await super()._create_stream(
            h11.Request(
                method=request.method, target=request.target, headers=headers, http_version=request.http_version
            )
        )
        if isinstance(self.stream, WSStream):
            self.stream.buffer = _Buffer(self.config.websocket_max_message_size)


class WebConnection:
    """One browser's connection, from TCP to its end. It outlives none of its limits.

    Args:
        stream: as accepted.
        peer: address and port.
        tls: a server's context; None: plain HTTP.
        limits: all of them.
    """

    def __init__(
        self, stream: trio.SocketStream, peer: tuple[str, int], tls: ssl.SSLContext | None, limits: WebLimits
    ) -> None:
        self.peer = peer
        self._stream: trio.SocketStream | trio.SSLStream[trio.SocketStream] = (
            stream if tls is None else trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
        )
        self._limits = limits
        self._life = trio.CancelScope()
        self._reading = trio.CancelScope()
        self._sending = trio.Lock()
        self._is_websocket = False
        self._frames = FrameCounter()
        self._pace = Pace(limits.frames_per_second, trio.current_time)
        self._lingers = False
        self.is_over = False
        """Whether nothing can be sent any more."""

    async def serve(self, app: AppWrapper, config: Config, context: WorkerContext) -> None:
        """Answer requests until the client or a limit ends it. What is wrong with the client ends here."""
        try:
            with self._life:
                self._allow(self._limits.handshake)
                if isinstance(self._stream, trio.SSLStream):
                    await self._stream.do_handshake()
                await self._converse(app, config, context)
        except trio.BrokenResourceError as error:
            log.debug("no TLS with a browser", client=self.peer[0], reason=str(error.__cause__ or error))
        finally:
            self.is_over = True
            with trio.CancelScope(shield=True, deadline=trio.current_time() + self._limits.goodbye):
                await self._stream.aclose()

    async def _converse(self, app: AppWrapper, config: Config, context: WorkerContext) -> None:
        is_tls = isinstance(self._stream, trio.SSLStream)
        socket = (self._stream.transport_stream if is_tls else self._stream).socket  # type: ignore[union-attr]
        async with TaskGroup() as tasks:
            self._protocol = _Http11(
                app,
                config,
                context,
                tasks,
                ConnectionState({"connection": self}),
                is_tls,
                self.peer,
                socket.getsockname()[:2],
                self._send,
                on_overflow=self._linger,
            )
            await self._protocol.initiate()
            with self._reading:
                await self._read()

    async def _read(self) -> None:
        while True:
            data = await self._receive()
            if self._lingers:
                if not data:
                    self.abort()
                continue
            if self._is_websocket:
                self._pace.count(self._frames.receive_data(data))
            await self._protocol.handle(RawData(data))
            if delay := self._pace.delay():
                await trio.sleep(delay)
            if not data:
                self.is_over = True
                await self._protocol.handle(Closed())
                return

    async def _receive(self) -> bytes:
        """What comes; nothing: the client is gone, in whichever way."""
        try:
            with trio.move_on_after(self._limits.silence if self._is_websocket else inf):
                return bytes(await self._stream.receive_some(RECEIVE_SIZE))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""
        log.info("browser does not even answer pings", client=self.peer[0])
        return b""

    async def _send(self, event: Event) -> None:
        """What hypercorn's protocol has to say."""
        match event:
            case RawData(data=data):
                await self._write(data)
            case Closed():
                self.is_over = True
                await self._protocol.handle(Closed())
                if not self._lingers:
                    self._reading.cancel()
            case Updated(idle=idle):
                self._allow(self._limits.handshake if idle else self._limits.request)

    async def _write(self, data: bytes) -> None:
        async with self._sending:
            if self.is_over:
                return
            is_done = False
            try:
                with trio.move_on_after(self._limits.send):
                    await self._stream.send_all(data)
                    is_done = True
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            finally:
                if not is_done:  # also when cancelled: after half a frame there is no next one
                    self.abort()

    async def wait_writable(self) -> None:
        """Wait until the socket's buffer has room."""
        async with self._sending:
            try:
                await self._stream.wait_send_all_might_not_block()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self.abort()

    def upgraded(self) -> None:
        """It becomes a WebSocket, which may last: the handshake has been accepted."""
        self._is_websocket = True
        self._life.deadline = float("inf")

    @property
    def is_websocket(self) -> bool:
        """Whether it has become one."""
        return self._is_websocket

    def finish(self) -> None:
        """The application is done with it. What has been written still goes out."""
        if not self._lingers:
            self.abort()

    def abort(self) -> None:
        """End it now."""
        self.is_over = True
        self._life.cancel()

    def _allow(self, seconds: float) -> None:
        if not self._is_websocket:
            self._life.deadline = trio.current_time() + seconds

    def _linger(self) -> None:
        """Let the client go on sending for a moment: to close at once would reset the connection, and the Close frame
        that is still under way would be lost. What comes is dropped."""
        self._lingers = True
        self._life.deadline = trio.current_time() + self._limits.goodbye
