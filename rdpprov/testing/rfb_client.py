"""A real RFB client without a window: for tests, and for load.

It drives `RfbClientMachine` over TCP, TLS and RSA-AES, and can keep the picture that a user would see. It is no mock:
what it sends and decodes is what the wire carries. Against servers that are not ours it is as tolerant as its machine.
"""

import secrets
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import cache
from typing import Final

import trio
from cryptography.hazmat.primitives.asymmetric import rsa

from rdpprov.api.devices import Pixels, PointerShape, Rectangle
from rdpprov.errors import RemoteProtocolError
from rdpprov.protocol.events import NEED_DATA, PAUSED
from rdpprov.protocol.rfb.client import RfbClientMachine
from rdpprov.protocol.rfb.events import (
    BellRang,
    ClientEvent,
    ClipboardOffered,
    ContinuousUpdatesEnded,
    CursorReceived,
    CutTextReceived,
    DesktopRenamed,
    DesktopResized,
    FenceAnswered,
    FenceRequested,
    LedStateReceived,
    PointerMoved,
    RectangleReceived,
    ServerFeature,
    ServerInitReceived,
    ServerKeyReceived,
    StartRecords,
    StartTls,
    UpdateBegun,
    UpdateEnded,
)
from rdpprov.protocol.rfb.handshake import ClientIdentity, Version
from rdpprov.protocol.rfb.pictures import RectangleDecoder, pointer_shape
from rdpprov.security.ra2 import RANDOM_SIZE, Ra2Secrets, RecordLayer
from rdpprov.security.tls import anonymous_client_context, client_context
from rdpprov.wire.rfb.encodings import Encoding
from rdpprov.wire.rfb.handshake import SecurityType, VencryptSubtype
from rdpprov.wire.rfb.pixel_format import PixelFormat
from rdpprov.wire.rfb.rsa_aes import RsaPublicKey

ENCODINGS: Final[tuple[int, ...]] = (
    Encoding.ZRLE,
    Encoding.COPY_RECT,
    Encoding.RAW,
    Encoding.DESKTOP_SIZE,
    Encoding.EXTENDED_DESKTOP_SIZE,
    Encoding.DESKTOP_NAME,
    Encoding.LAST_RECT,
    Encoding.CURSOR_WITH_ALPHA,
    Encoding.QEMU_KEY_EVENT,
    Encoding.EXTENDED_MOUSE_BUTTONS,
    Encoding.LED_STATE,
    Encoding.FENCE,
    Encoding.CONTINUOUS_UPDATES,
)
"""What `connect_rfb` asks for by itself: all of it without loss."""


class RecordStream(trio.abc.Stream):
    """What is inside the messages of RSA-AES, as `trio.SSLStream` is what is inside TLS.

    Args:
        stream: that carries them.
        layer: of this connection.
    """

    def __init__(self, stream: trio.abc.Stream, layer: RecordLayer) -> None:
        self._stream, self._layer = stream, layer

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As messages."""
        await self._stream.send_all(self._layer.encrypt(bytes(data)))

    async def wait_send_all_might_not_block(self) -> None:
        """Of the stream below."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What the messages say that come next, however long they are; empty at the end of the stream."""
        while (said := self._layer.decrypt()) is None:
            records = await self._stream.receive_some(max_bytes)
            if not records:
                return b""
            self._layer.receive_records(bytes(records))
        return said

    async def aclose(self) -> None:
        """Close the stream below."""
        await self._stream.aclose()


@cache
def client_key() -> rsa.RSAPrivateKey:
    """One key for all clients of this process: making one takes longer than all the rest of a connection."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class RfbTestClient:
    """One connection, as a client. Made by `connect_rfb`.

    Args:
        machine: of this connection.
        stream: TCP.
        keep_picture: decode rectangles into `picture`; without it only the area that came is counted.
        follow: ask for the next update as soon as one has come, as viewers do.
        tls: context of the client's end; by default any certificate will do.
    """

    def __init__(
        self,
        machine: RfbClientMachine,
        stream: trio.abc.Stream,
        *,
        keep_picture: bool = True,
        follow: bool = True,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.machine = machine
        self.keep_picture = keep_picture
        self.follow = follow
        self._stream = stream
        self._tls = tls
        self._sending = trio.Lock()
        self._encodings: Sequence[int] = ENCODINGS
        self._pixel_format: PixelFormat | None = None
        self._decoder: RectangleDecoder | None = None
        self.name = ""
        """Of the desktop."""
        self.updates = 0
        """That have come whole."""
        self.painted = 0
        """Pixels that came so far."""
        self.rectangles: list[tuple[Rectangle, int]] = []
        """Of the last update: area and encoding."""
        self.resizes: list[DesktopResized] = []
        self.pointer: PointerShape | None = None
        self.pointer_position: tuple[int, int] | None = None
        self.leds: int | None = None
        """`LedState`; None: not told."""
        self.bells = 0
        self.clipboard: str | None = None
        self.server_key: RsaPublicKey | None = None
        """That the server came with, by RSA-AES; any will do."""
        self.fences: list[bytes] = []
        """Payloads of ours that were answered."""
        self.continuous_updates_ended = 0
        self.started = trio.Event()
        """ServerInit has come."""
        self.first_picture = trio.Event()
        """As many pixels have come as the desktop has."""
        self.closed = trio.Event()
        """The connection is over."""
        self.failure: Exception | None = None
        """Why, if the server did not simply close it."""
        self.bytes_in = 0
        self._changed = trio.Event()

    @property
    def width(self) -> int:
        """Of the desktop, in pixels."""
        return self.machine.width

    @property
    def height(self) -> int:
        """Of the desktop, in pixels."""
        return self.machine.height

    @property
    def picture(self) -> Pixels:
        """BGRX, shape (height, width, 4), if it is kept. Valid from `started` on."""
        assert self._decoder is not None
        return self._decoder.picture

    def begin_with(self, encodings: Sequence[int], pixel_format: PixelFormat | None) -> None:
        """What to ask for when ServerInit has come."""
        self._encodings, self._pixel_format = encodings, pixel_format

    def _begin(self) -> None:
        if self._pixel_format is not None:
            self.machine.set_pixel_format(self._pixel_format)
        self.machine.set_encodings(self._encodings)
        if self.follow:
            self.machine.request_update(incremental=False)

    async def run(self) -> None:
        """Receive until the connection is over. `connect_rfb` runs it."""
        try:
            while True:
                await self._take_events()
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

    async def send_bytes(self, data: bytes) -> None:
        """Send what no machine would: half a message, or none at all."""
        async with self._sending:
            await self._stream.send_all(data)

    # What a user does

    async def press(self, keysym: int, keycode: int | None = None) -> None:
        """A key goes down, and up."""
        self.machine.send_key(keysym, True, keycode)
        self.machine.send_key(keysym, False, keycode)
        await self.flush()

    async def key(self, keysym: int, pressed: bool, keycode: int | None = None) -> None:
        """A key goes down, or up."""
        self.machine.send_key(keysym, pressed, keycode)
        await self.flush()

    async def point(self, x: int, y: int, buttons: int = 0) -> None:
        """The pointer is there, with these buttons down: bit n is button n + 1."""
        self.machine.send_pointer(buttons, x, y)
        await self.flush()

    async def request(self, area: Rectangle | None = None, *, incremental: bool = True) -> None:
        """Ask for an update, by default of all."""
        self.machine.request_update(area, incremental=incremental)
        await self.flush()

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until something that came makes the condition true.

        Raises:
            RemoteProtocolError: the connection ended before it did; the server's words, if it said any.
        """
        while not condition():
            if self.closed.is_set():
                raise RemoteProtocolError(f"connection over: {self.failure or 'closed'}") from self.failure
            self._changed = trio.Event()
            await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()

    async def _take_events(self) -> None:
        while True:
            event = self.machine.next_event()
            if event is NEED_DATA or event is PAUSED:
                self._tell()
                return
            match event:
                case StartTls(vencrypt_subtype=subtype):
                    await self._start_tls(subtype)
                case StartRecords(cipher=cipher):
                    await self._start_records(RecordLayer(cipher))
                case _:
                    self._handle(event)

    async def _start_tls(self, subtype: VencryptSubtype) -> None:
        await self.flush()
        context = self._tls
        if subtype.anonymous_tls:
            context = anonymous_client_context()
        stream = trio.SSLStream(self._stream, context or client_context(), https_compatible=True)
        await stream.do_handshake()  # nothing of TLS came with what is before: the client speaks first
        self._stream = stream
        self.machine.tls_established()

    async def _start_records(self, layer: RecordLayer) -> None:
        await self.flush()
        layer.receive_records(self.machine.take_trailing_data())
        self._stream = RecordStream(self._stream, layer)
        self.machine.records_established()

    def _handle(self, event: ClientEvent) -> None:
        match event:
            case ServerKeyReceived(key=key):
                self.server_key = key
                self.machine.trust_server()
            case ServerInitReceived():
                self.name = event.name
                self._decoder = RectangleDecoder(event.width, event.height)
                self._begin()
                self.started.set()
            case UpdateBegun():
                self.rectangles = []
            case RectangleReceived():
                self._paint(event)
            case UpdateEnded():
                self.updates += 1
                if self.painted >= self.width * self.height > 0:
                    self.first_picture.set()
                if self.follow:
                    self.machine.request_update()
            case DesktopResized():
                self.resizes.append(event)
                if self._decoder is not None and self._decoder.picture.shape[:2] != (self.height, self.width):
                    self._decoder.resize(self.width, self.height)
                    self.painted = 0
            case DesktopRenamed(name=name):
                self.name = name
            case CursorReceived():
                self.pointer = pointer_shape(event)
            case PointerMoved(x=x, y=y):
                self.pointer_position = (x, y)
            case LedStateReceived(state=state):
                self.leds = state
            case BellRang():
                self.bells += 1
            case CutTextReceived(text=text):
                self.clipboard = text
            case ClipboardOffered():
                self.machine.request_clipboard()
            case FenceRequested():
                self.machine.answer_fence(event)
            case FenceAnswered(payload=payload):
                self.fences.append(payload)
            case ContinuousUpdatesEnded():
                self.continuous_updates_ended += 1
            case ServerFeature():
                pass  # in the machine's `features`
            case _:
                pass

    def _paint(self, rectangle: RectangleReceived) -> None:
        area = rectangle.area
        self.painted += area.width * area.height
        self.rectangles.append((area, rectangle.encoding))
        if self.keep_picture:
            assert self._decoder is not None
            self._decoder.paint(rectangle)


@asynccontextmanager
async def connect_rfb(
    address: str,
    port: int,
    *,
    security: Sequence[SecurityType | VencryptSubtype] | None = None,
    user: str = "",
    password: str = "",
    version: Version = Version.RFB_3_8,
    encodings: Sequence[int] = ENCODINGS,
    pixel_format: PixelFormat | None = None,
    shared: bool = True,
    keep_picture: bool = True,
    follow: bool = True,
    wait: bool = True,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[RfbTestClient]:
    """Connect, see the desktop's first bytes, and receive in the background for the length of the block; then leave.

    Args:
        address: to connect to.
        port: likewise.
        security: what the client can do, subtypes of VeNCrypt among them; None: everything but RSA-AES, for which it
            needs a key (`client_key`).
        user: for VeNCrypt's Plain and RSA-AES.
        password: for them, or for VNC authentication.
        version: the highest to speak.
        encodings: best first.
        pixel_format: to ask for; None: the server's.
        shared: leave other viewers connected.
        keep_picture: see `RfbTestClient`.
        follow: ask for everything at first, and for the next update whenever one has come; without it only what the
            caller asks for is sent.
        wait: for ServerInit, and only then begin the block; without it whatever happens is found in the client.
        tls: see `RfbTestClient`.

    Raises:
        OSError: nobody listens there.
        RemoteProtocolError: the server refuses the client (`SecurityRefusedError`, with its words), or breaks the
            protocol before ServerInit.
    """
    machine = RfbClientMachine(_identity(security, user, password, version, shared))
    stream = await trio.open_tcp_stream(address, port)
    client = RfbTestClient(machine, stream, keep_picture=keep_picture, follow=follow, tls=tls)
    client.begin_with(encodings, pixel_format)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.run)
            try:
                if wait:
                    await client.wait_for(lambda: client.started.is_set() or client.closed.is_set())
                    if not client.started.is_set():
                        raise client.failure or RemoteProtocolError("closed before ServerInit")
                yield client
            finally:
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise _only(group) from None
    finally:
        with trio.move_on_after(1, shield=True), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.aclose_forcefully(stream)


def _identity(
    security: Sequence[SecurityType | VencryptSubtype] | None, user: str, password: str, version: Version, shared: bool
) -> ClientIdentity:
    if security is None:
        return ClientIdentity(version=version, name=user, password=password, shared=shared)
    types: dict[SecurityType, None] = {}
    for one in security:
        types[SecurityType.VENCRYPT if isinstance(one, VencryptSubtype) else one] = None
    subtypes = tuple(one for one in security if isinstance(one, VencryptSubtype))
    ra2 = None
    if any(kind.rsa_aes for kind in types):
        ra2 = Ra2Secrets(client_key(), secrets.token_bytes(RANDOM_SIZE), secrets.token_bytes(RANDOM_SIZE))
    return ClientIdentity(tuple(types), subtypes, version, user, password, shared, ra2)


def _only(group: BaseException) -> BaseException:
    """What is in groups of one, as nurseries make them: callers want to catch what happened."""
    while isinstance(group, BaseExceptionGroup) and len(group.exceptions) == 1:
        group = group.exceptions[0]
    return group
