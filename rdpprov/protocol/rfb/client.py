"""The client's end of an RFB connection, without I/O: for tests, load generation, and the built-in client.

It finds where rectangles end and leaves what is in them to `pictures.RectangleDecoder`, so that a load generator need
not decode what nobody looks at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from rdpprov.api.devices import Rectangle
from rdpprov.errors import LocalProtocolError, RemoteProtocolError
from rdpprov.protocol.events import NEED_DATA, PAUSED, NeedData, Paused
from rdpprov.protocol.rfb.clipboard import Clipboard
from rdpprov.protocol.rfb.events import (
    BellRang,
    ClientEvent,
    ColourMapChanged,
    ContinuousUpdatesEnded,
    CursorReceived,
    CutTextDropped,
    DesktopRenamed,
    DesktopResized,
    FenceAnswered,
    FenceRequested,
    LedStateReceived,
    PointerMoved,
    RectangleReceived,
    ServerFeature,
    UpdateBegun,
    UpdateEnded,
)
from rdpprov.protocol.rfb.framing import CLIENT_LIMIT, ByteStream
from rdpprov.protocol.rfb.handshake import (
    CLIENT_PAUSED_STATES,
    ClientHandshake,
    ClientIdentity,
    ClientState,
    Version,
)
from rdpprov.protocol.rfb.pictures import PICTURE_ENCODINGS, picture_data_size
from rdpprov.wire.base import DecodeError, known
from rdpprov.wire.rfb.encodings import Encoding
from rdpprov.wire.rfb.handshake import SecurityType, VencryptSubtype, utf8_text
from rdpprov.wire.rfb.messages import (
    KNOWN_FENCE_FLAGS,
    Bell,
    ClientCutText,
    EnableContinuousUpdates,
    EndOfContinuousUpdates,
    Fence,
    FenceFlags,
    FramebufferUpdate,
    FramebufferUpdateRequest,
    KeyEvent,
    PointerEvent,
    QemuKeyEvent,
    ServerCutText,
    ServerMessageType,
    SetColourMapEntries,
    SetDesktopSize,
    SetEncodings,
    SetPixelFormat,
    server_message_size,
    unpack_server_message,
)
from rdpprov.wire.rfb.pixel_format import BGRX, PixelFormat
from rdpprov.wire.rfb.rectangles import (
    CURSOR_ENCODINGS,
    PSEUDO_ENCODINGS,
    RectangleHeader,
    pseudo_data_size,
    unpack_desktop_name,
    unpack_extended_desktop_size,
)
from rdpprov.wire.rfb.screens import ResizeReason, ResizeStatus, ScreenArea

MAX_CUT_TEXT: Final = 1024 * 1024
_FORMAT_FENCE: Final = b"pixel format"
_READABLE: Final = PICTURE_ENCODINGS | PSEUDO_ENCODINGS


class RfbClientMachine:
    """A connection to one server, as its client sees it. Driven like `server.RfbServerMachine`.

    Args:
        identity: who connects.
    """

    def __init__(self, identity: ClientIdentity) -> None:
        self.identity = identity
        self._incoming = ByteStream(CLIENT_LIMIT)
        self._outgoing: list[bytes] = []
        self._events: deque[ClientEvent] = deque()
        self._error: RemoteProtocolError | None = None
        self._handshake = ClientHandshake(identity, self._incoming, self._outgoing)
        self._clipboard = Clipboard(MAX_CUT_TEXT, self._send_cut_text)
        self._rectangles_left: int | None = 0  # of the update that is being read; None: until LastRect
        self._rectangle: RectangleHeader | None = None
        self._in_update = False
        self._named: frozenset[int] = frozenset({Encoding.RAW})
        self._next_formats: deque[PixelFormat] = deque()  # that wait for their fences
        self.pixel_format: PixelFormat = BGRX
        """Which the pixels have that come now."""
        self.width = 0
        """Of the desktop, in pixels."""
        self.height = 0
        self.features: set[int] = set()
        """What the server has shown that it can do: FENCE, CONTINUOUS_UPDATES, QEMU_KEY_EVENT, EXTENDED_MOUSE_BUTTONS,
        EXTENDED_DESKTOP_SIZE."""

    # Bytes

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the server: of the TCP stream first, of the TLS stream after `tls_established`."""
        if self.state is not ClientState.ERROR:
            self._incoming.receive_data(data)

    def data_to_send(self) -> bytes:
        """Everything queued for the server, which is then no longer queued."""
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        return data

    @property
    def trailing_data(self) -> bytes:
        """What came and is not read: while paused for TLS, it belongs to TLS."""
        return self._incoming.peek()

    def take_trailing_data(self) -> bytes:
        """`trailing_data`, which the machine forgets."""
        return self._incoming.take_rest()

    # Events

    def next_event(self) -> ClientEvent | NeedData | Paused:
        """Take one event out of the bytes received so far. Never waits.

        Raises:
            SecurityRefusedError: the server refused, with its reason.
            RemoteProtocolError: it broke the protocol. The machine stays in ERROR.
        """
        while not self._events:
            if self._error is not None:
                raise self._error
            if self.state in CLIENT_PAUSED_STATES:
                return PAUSED
            try:
                if self.state is ClientState.ACTIVE:
                    taken: ClientEvent | bool = self._take_rectangle() if self._in_update else self._take_message()
                else:
                    taken = self._handshake.step()
                    self._follow_handshake()
            except RemoteProtocolError as error:
                self._error = error
                self._handshake.enter(ClientState.ERROR)
                self._incoming.clear()
                continue
            if taken is False:
                return NEED_DATA
            if taken is not True:
                self._events.append(taken)
        return self._events.popleft()

    def _follow_handshake(self) -> None:
        init = self._handshake.server_init
        if self.state is ClientState.ACTIVE and init is not None:
            self.width, self.height, self.pixel_format = init.width, init.height, init.pixel_format

    def _take_message(self) -> bool:
        incoming = self._incoming
        data = incoming.data
        if data and data[0] == ServerMessageType.SERVER_CUT_TEXT:
            begun = self._clipboard.begin(incoming)
            if isinstance(begun, CutTextDropped):
                self._events.append(begun)
                return True
        unit = incoming.take(server_message_size(data))
        if unit is None:
            return False
        message, _ = unpack_server_message(unit)
        match message:
            case FramebufferUpdate(count=count):
                self._rectangles_left = None if count == FramebufferUpdate.UNTIL_LAST_RECT else count
                self._in_update = True
                self._events.append(UpdateBegun(self._rectangles_left))
                self._end_update_if_complete()
            case SetColourMapEntries(first=first, colours=colours):
                self._events.append(ColourMapChanged(first, colours))
            case Bell():
                self._events.append(BellRang())
            case ServerCutText(data=text, extended=extended):
                event = self._clipboard.receive(text, extended)
                if event is not None:
                    self._events.append(event)
            case EndOfContinuousUpdates():
                self.features.add(Encoding.CONTINUOUS_UPDATES)
                self._events.append(ContinuousUpdatesEnded())
            case Fence():
                self._take_fence(message)
        return True

    def _take_fence(self, fence: Fence) -> None:
        self.features.add(Encoding.FENCE)
        flags = fence.flags & KNOWN_FENCE_FLAGS
        if fence.flags & FenceFlags.REQUEST:
            self._events.append(FenceRequested(flags, fence.payload))
        elif fence.payload == _FORMAT_FENCE and self._next_formats:
            self.pixel_format = self._next_formats.popleft()
        else:
            self._events.append(FenceAnswered(flags, fence.payload))

    # Rectangles

    def _take_rectangle(self) -> bool:
        header = self._rectangle
        if header is None:
            data = self._incoming.take(RectangleHeader.LAYOUT.size)
            if data is None:
                return False
            header = self._rectangle = RectangleHeader.unpack(data)[0]
            if header.encoding not in self._named:
                raise RemoteProtocolError(f"a rectangle in encoding {header.encoding}, which this client has not named")
        size = picture_data_size if header.encoding in PICTURE_ENCODINGS else pseudo_data_size
        data = self._incoming.take(size(header, self.pixel_format, self._incoming.data))
        if data is None:
            return False
        self._rectangle = None
        if self._rectangles_left is not None:
            self._rectangles_left -= 1
        if header.encoding in PICTURE_ENCODINGS:
            self._events.append(self._picture(header, data))
        else:
            self._take_pseudo(header, data)
        self._end_update_if_complete()
        return True

    def _picture(self, header: RectangleHeader, data: bytes) -> RectangleReceived:
        right, bottom = header.x + header.width, header.y + header.height
        if right > self.width or bottom > self.height:
            raise DecodeError(f"a rectangle up to {right}, {bottom} on a desktop of {self.width}x{self.height}")
        area = Rectangle(header.x, header.y, right, bottom)
        return RectangleReceived(area, known(Encoding, header.encoding), data, self.pixel_format)

    def _take_pseudo(self, header: RectangleHeader, data: bytes) -> None:
        match header.encoding:
            case encoding if encoding in CURSOR_ENCODINGS:
                shape = header.x, header.y, header.width, header.height
                self._events.append(CursorReceived(*shape, known(Encoding, encoding), data, self.pixel_format))
            case Encoding.POINTER_POSITION | Encoding.VMWARE_CURSOR_POSITION:
                self._events.append(PointerMoved(header.x, header.y))
            case Encoding.LED_STATE | Encoding.VMWARE_LED_STATE:
                self._events.append(LedStateReceived(int.from_bytes(data, "big")))
            case Encoding.DESKTOP_SIZE:
                self.width, self.height = header.width, header.height
                self._events.append(DesktopResized(header.width, header.height))
            case Encoding.EXTENDED_DESKTOP_SIZE:
                self._take_extended_desktop_size(header, unpack_extended_desktop_size(data))
            case Encoding.DESKTOP_NAME:
                self._events.append(DesktopRenamed(utf8_text(unpack_desktop_name(data).encode())))
            case Encoding.LAST_RECT:
                self._rectangles_left = 0
            case _:
                self.features.add(header.encoding)
                self._events.append(ServerFeature(header.encoding))

    def _take_extended_desktop_size(self, header: RectangleHeader, screens: tuple[ScreenArea, ...]) -> None:
        self.features.add(Encoding.EXTENDED_DESKTOP_SIZE)
        status = known(ResizeStatus, header.y)
        # With an error the size may be anything.
        if status == ResizeStatus.OK:
            self.width, self.height = header.width, header.height
        reason = known(ResizeReason, header.x)
        self._events.append(DesktopResized(header.width, header.height, screens, reason, status))

    def _end_update_if_complete(self) -> None:
        if self._rectangles_left == 0:
            self._in_update = False
            self._events.append(UpdateEnded())

    # Told by the owner

    def tls_established(self) -> None:
        """After `StartTls`: bytes received and sent are those inside TLS from now on.

        Raises:
            LocalProtocolError: nobody asked for it.
        """
        if self.state is not ClientState.EXPECT_TLS:
            raise LocalProtocolError(f"tls_established() while waiting for {self.state.value}")
        self._events.append(self._handshake.tls_established())

    def trust_server(self) -> None:
        """After `ServerKeyReceived`: the key is the server's.

        Raises:
            LocalProtocolError: nobody asked.
            AuthenticationError: nothing can be encrypted by it.
        """
        if self.state is not ClientState.EXPECT_TRUST:
            raise LocalProtocolError(f"trust_server() while waiting for {self.state.value}")
        self._handshake.trust_server()

    def records_established(self) -> None:
        """After `StartRecords`: bytes received and sent are those inside messages of RSA-AES from now on.

        Raises:
            LocalProtocolError: nobody asked for it.
        """
        if self.state is not ClientState.EXPECT_RECORDS:
            raise LocalProtocolError(f"records_established() while waiting for {self.state.value}")
        self._handshake.records_established()

    def set_pixel_format(self, pixel_format: PixelFormat) -> None:
        """Ask for pixels in another format.

        Where the server has fences, the format changes at the answer to one. Where it has none, it changes at once, so
        no update may be on its way: none asked for that has not come.

        Raises:
            LocalProtocolError: there is no session.
        """
        self._expect_active("set_pixel_format()")
        message = SetPixelFormat(pixel_format).pack()
        if Encoding.FENCE in self.features:
            fence = Fence(FenceFlags.REQUEST | FenceFlags.SYNC_NEXT | FenceFlags.BLOCK_BEFORE, _FORMAT_FENCE)
            self._outgoing += [fence.pack(), message]
            self._next_formats.append(pixel_format)
        else:
            self._outgoing.append(message)
            self.pixel_format = pixel_format

    def set_encodings(self, encodings: Sequence[int]) -> None:
        """Say what may be sent, best first.

        Args:
            encodings: `Encoding` and others. What is below zero and not known to us by name is allowed: levels of
                quality and compression.

        Raises:
            LocalProtocolError: there is no session, or nobody here can read one of them.
        """
        self._expect_active("set_encodings()")
        if unreadable := [one for one in encodings if one >= 0 and one not in _READABLE]:
            raise LocalProtocolError(f"set_encodings(): nothing here reads {unreadable}")
        self._named |= _READABLE.intersection(encodings)
        self._clipboard.extended |= Encoding.EXTENDED_CLIPBOARD in encodings
        self._outgoing.append(SetEncodings(tuple(encodings)).pack())

    def request_update(self, area: Rectangle | None = None, *, incremental: bool = True) -> None:
        """Ask for an update.

        Args:
            area: by default all of the desktop.
            incremental: only what changed.

        Raises:
            LocalProtocolError: there is no session.
        """
        self._expect_active("request_update()")
        area = area or Rectangle(0, 0, self.width, self.height)
        request = FramebufferUpdateRequest(incremental, area.left, area.top, area.width, area.height)
        self._outgoing.append(request.pack())

    def send_key(self, keysym: int, pressed: bool, keycode: int | None = None) -> None:
        """A key goes down or up.

        Args:
            keysym: what it makes.
            pressed: whether it goes down.
            keycode: where it is; sent if the server takes it.

        Raises:
            LocalProtocolError: there is no session.
        """
        self._expect_active("send_key()")
        if keycode is not None and Encoding.QEMU_KEY_EVENT in self.features:
            self._outgoing.append(QemuKeyEvent(pressed, keysym, keycode).pack())
        else:
            self._outgoing.append(KeyEvent(pressed, keysym).pack())

    def send_pointer(self, buttons: int, x: int, y: int) -> None:
        """Where the pointer is, and which buttons are down: bit n is button n + 1. Buttons 8 and 9 are sent if the
        server takes them.

        Raises:
            LocalProtocolError: there is no session.
        """
        self._expect_active("send_pointer()")
        extended = Encoding.EXTENDED_MOUSE_BUTTONS in self.features and buttons > 0x7F
        if not extended:
            buttons &= 0x7F
        self._outgoing.append(PointerEvent(buttons, x, y, extended).pack())

    def send_clipboard(self, text: str) -> None:
        """Something new is on the clipboard: send it, or a notice of it.

        Raises:
            LocalProtocolError: there is no session.
        """
        self._expect_active("send_clipboard()")
        self._clipboard.offer(text)

    def say_clipboard_caps(self) -> None:
        """After `ClipboardCapsReceived`: say ours.

        Raises:
            LocalProtocolError: there is no session.
        """
        self._expect_active("say_clipboard_caps()")
        self._clipboard.say_caps()

    def provide_clipboard(self, text: str) -> None:
        """Answer `ClipboardRequested`.

        Raises:
            LocalProtocolError: there is no session.
        """
        self._expect_active("provide_clipboard()")
        self._clipboard.provide(text)

    def request_clipboard(self) -> None:
        """After `ClipboardOffered`: ask for the text.

        Raises:
            LocalProtocolError: there is no session.
        """
        self._expect_active("request_clipboard()")
        self._clipboard.request()

    def enable_continuous_updates(self, area: Rectangle | None) -> None:
        """Updates of an area come without requests; None: no more, which the server answers.

        Raises:
            LocalProtocolError: there is no session, or the server has not said that it can.
        """
        self._expect_active("enable_continuous_updates()")
        if Encoding.CONTINUOUS_UPDATES not in self.features:
            raise LocalProtocolError("enable_continuous_updates() of a server that cannot")
        if area is None:
            self._outgoing.append(EnableContinuousUpdates(False).pack())
        else:
            self._outgoing.append(EnableContinuousUpdates(True, area.left, area.top, area.width, area.height).pack())

    def send_fence(self, payload: bytes, flags: int = FenceFlags.BLOCK_BEFORE) -> None:
        """Send a fence, which the server answers: `FenceAnswered`.

        Raises:
            LocalProtocolError: there is no session, or the server has no fences.
        """
        self._expect_active("send_fence()")
        if Encoding.FENCE not in self.features:
            raise LocalProtocolError("send_fence() to a server without fences")
        self._outgoing.append(Fence(flags | FenceFlags.REQUEST, payload).pack())

    def answer_fence(self, fence: FenceRequested) -> None:
        """Answer a fence of the server's.

        Raises:
            LocalProtocolError: there is no session.
        """
        self._expect_active("answer_fence()")
        self._outgoing.append(Fence(fence.flags & ~FenceFlags.SYNC_NEXT, fence.payload).pack())

    def set_desktop_size(self, width: int, height: int, screens: Iterable[ScreenArea] = ()) -> None:
        """Wish for another size; the answer is `DesktopResized` with reason THIS_CLIENT.

        Raises:
            LocalProtocolError: there is no session, or the server has not said that it can.
        """
        self._expect_active("set_desktop_size()")
        if Encoding.EXTENDED_DESKTOP_SIZE not in self.features:
            raise LocalProtocolError("set_desktop_size() of a server that cannot")
        screens = tuple(screens) or (ScreenArea(0, 0, 0, width, height),)
        self._outgoing.append(SetDesktopSize(width, height, screens).pack())

    # Small questions

    @property
    def state(self) -> ClientState:
        """What the machine waits for."""
        return self._handshake.state

    @property
    def version(self) -> Version | None:
        """That is spoken."""
        return self._handshake.version

    @property
    def security_type(self) -> SecurityType | None:
        """That was chosen."""
        return self._handshake.security_type

    @property
    def vencrypt_subtype(self) -> VencryptSubtype | None:
        """That was chosen."""
        return self._handshake.vencrypt_subtype

    def _expect_active(self, call: str) -> None:
        if self.state is not ClientState.ACTIVE:
            raise LocalProtocolError(f"{call} while waiting for {self.state.value}")

    def _send_cut_text(self, data: bytes, extended: bool) -> None:
        self._outgoing.append(ClientCutText(data, extended).pack())
