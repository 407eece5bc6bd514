"""A real RDP client without a window: for tests, and for load.

It drives `RdpClientMachine` over TCP and TLS, and can keep the picture that a user would see. It is no mock: what it
sends and decodes is what the wire carries. Against servers that are not ours it is as tolerant as its machine.
"""

import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress

import numpy as np
import trio

from rdpprov.api.devices import InputEvent, Pixels, PointerShape
from rdpprov.codecs import pixels, planar, rle
from rdpprov.errors import RemoteProtocolError
from rdpprov.protocol.events import NEED_DATA, PAUSED
from rdpprov.protocol.rdp.client import ClientOptions, RdpClientMachine
from rdpprov.protocol.rdp.events import (
    Activated,
    BitmapsReceived,
    ChannelDataReceived,
    ClientEvent,
    DemandActiveReceived,
    Disconnected,
    ErrorInfoReceived,
    PointerMoved,
    PointerReceived,
    ReceivedBitmap,
    SessionInfoReceived,
    StartTls,
)
from rdpprov.security.tls import client_context


class RdpTestClient:
    """One connection, as a client. Made by `connect_rdp`.

    Args:
        machine: of this connection.
        stream: TCP, then TLS.
        keep_picture: decode bitmaps into `picture`; without it only the area that came is counted.
    """

    def __init__(self, machine: RdpClientMachine, stream: trio.abc.Stream, *, keep_picture: bool) -> None:
        self.machine = machine
        self._stream = stream
        self._keep_picture = keep_picture
        self._sending = trio.Lock()
        self.width = 0
        """Of the desktop that the server granted, in pixels."""
        self.height = 0
        self.color_depth = 0
        self.picture: Pixels | None = None
        """BGRX, shape (height, width, 4), if it is kept."""
        self.painted = 0
        """Pixels that came in bitmap updates so far."""
        self.pointer: PointerShape | None = None
        self.pointer_position: tuple[int, int] | None = None
        self.error_info: int | None = None
        """The last Set Error Info."""
        self.session_info: SessionInfoReceived | None = None
        self.active = trio.Event()
        """Font Map has come."""
        self.first_picture = trio.Event()
        """As many pixels have come as the desktop has."""
        self.closed = trio.Event()
        """The connection is over."""
        self.failure: Exception | None = None
        """Why, if it was not orderly."""
        self.channel_messages: dict[int, list[bytes]] = {}
        """What came on static channels that the test has opened in `machine`, by channel id."""
        self.bytes_in = 0
        self._changed = trio.Event()

    async def run(self) -> None:
        """Receive until the connection is over. `connect_rdp` runs it."""
        try:
            while not self._take_events():
                await self.flush()
                data = await self._stream.receive_some(65536)
                if not data:
                    return
                self.bytes_in += len(data)
                self.machine.receive_data(bytes(data))
        except (trio.BrokenResourceError, trio.ClosedResourceError, RemoteProtocolError) as error:
            self.failure = error
        finally:
            self.closed.set()
            self._tell()

    async def flush(self) -> None:
        """Send all that the machine has queued."""
        async with self._sending:
            data = self.machine.data_to_send()
            if data:
                await self._stream.send_all(data)

    async def send_input(self, *events: InputEvent) -> None:
        """Send what the user does."""
        self.machine.send_input(events)
        await self.flush()

    async def send_channel_data(self, channel_id: int, data: bytes) -> None:
        """Send a message on a static channel that is open in `machine`."""
        self.machine.send_channel_data(channel_id, data)
        await self.flush()

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that came makes the condition true.

        Raises:
            RemoteProtocolError: the connection ended before it did.
        """
        while not condition():
            if self.closed.is_set():
                raise RemoteProtocolError(
                    f"connection over, error info {self.error_info}, failure {self.failure!r}"
                ) from self.failure
            self._changed = trio.Event()
            await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()

    def _take_events(self) -> bool:
        """Act on what came; whether the connection is over."""
        while True:
            event = self.machine.next_event()
            if event is NEED_DATA:
                self._tell()
                return False
            if event is PAUSED or isinstance(event, Disconnected):
                return True
            self._handle(event)

    def _handle(self, event: ClientEvent) -> None:
        match event:
            case DemandActiveReceived():
                self.width, self.height, self.color_depth = event.width, event.height, event.color_depth
                self.painted = 0
                if self._keep_picture:
                    self.picture = np.zeros((self.height, self.width, 4), np.uint8)
            case Activated():
                self.active.set()
            case BitmapsReceived(bitmaps=bitmaps):
                self._paint(bitmaps)
            case PointerReceived(shape=shape):
                self.pointer = shape
            case PointerMoved(x=x, y=y):
                self.pointer_position = (x, y)
            case ChannelDataReceived(channel_id=channel_id, data=data):
                self.channel_messages.setdefault(channel_id, []).append(data)
            case ErrorInfoReceived(code=code):
                self.error_info = code
            case SessionInfoReceived():
                self.session_info = event
            case _:
                pass

    def _paint(self, bitmaps: Iterable[ReceivedBitmap]) -> None:
        for bitmap in bitmaps:
            area = bitmap.rectangle
            self.painted += area.width * area.height
            if self.picture is not None:
                decoded = decode_bitmap(bitmap)[: area.height, : area.width]
                self.picture[area.top : area.top + decoded.shape[0], area.left : area.left + decoded.shape[1]] = decoded
        if self.painted >= self.width * self.height > 0:
            self.first_picture.set()


def decode_bitmap(bitmap: ReceivedBitmap) -> Pixels:
    """What a bitmap update shows: BGRX, top row first, shape (height, width, 4).

    Raises:
        RemoteProtocolError: it cannot be decoded.
    """
    depth = bitmap.bits_per_pixel
    if not bitmap.compressed:
        size = (depth + 7) // 8
        stride = (bitmap.width * size + 3) // 4 * 4
        if len(bitmap.data) < stride * bitmap.height:
            raise RemoteProtocolError(f"bitmap of {len(bitmap.data)} bytes, expected {stride * bitmap.height}")
        rows = np.frombuffer(bitmap.data, np.uint8, stride * bitmap.height).reshape(bitmap.height, stride)
        return pixels.unpack(np.ascontiguousarray(rows[:, : bitmap.width * size]), depth)[::-1]
    if depth == 32:
        return planar.decode(bitmap.data, bitmap.width, bitmap.height)[::-1]
    return rle.decode(bitmap.data, bitmap.width, bitmap.height, depth)[::-1]


@asynccontextmanager
async def connect_rdp(
    host: str, port: int, options: ClientOptions, *, keep_picture: bool = True, context: ssl.SSLContext | None = None
) -> AsyncIterator[RdpTestClient]:
    """Connect, and receive in the background for the length of the block; then leave like a closed window.

    Args:
        host: to connect to.
        port: likewise.
        options: who connects.
        keep_picture: see `RdpTestClient`.
        context: TLS; by default any certificate will do.

    Raises:
        OSError: nobody listens there.
        RemoteProtocolError: the server refuses TLS, or breaks the protocol before it.
    """
    machine = RdpClientMachine(options)
    tcp = await trio.open_tcp_stream(host, port)
    stream: trio.abc.Stream = tcp
    try:
        while not isinstance(event := machine.next_event(), StartTls):
            if event is not NEED_DATA:
                raise RemoteProtocolError(f"expected the answer to the negotiation, not {event}")
            if data := machine.data_to_send():
                await tcp.send_all(data)
            received = bytes(await tcp.receive_some(4096))
            if not received:
                raise RemoteProtocolError("the server closed the connection in the negotiation")
            machine.receive_data(received)
        stream = trio.SSLStream(tcp, context or client_context(), https_compatible=True)
        await stream.do_handshake()
        machine.tls_established()
        client = RdpTestClient(machine, stream, keep_picture=keep_picture)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.run)
            try:
                yield client
            finally:
                nursery.cancel_scope.cancel()
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            machine.disconnect()
            await client.flush()
    finally:
        with trio.move_on_after(1, shield=True):
            await trio.aclose_forcefully(stream)
