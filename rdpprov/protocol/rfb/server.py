"""The server's end of an RFB connection, from the first byte to the last, without I/O.

`RfbServerMachine` is the handshake (`handshake.ServerHandshake`), then one message after the other. `_HANDLERS` says
which messages there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from rdpprov.api.devices import Rectangle
from rdpprov.errors import LocalProtocolError, RemoteProtocolError
from rdpprov.protocol.events import NEED_DATA, PAUSED, NeedData, Paused
from rdpprov.protocol.rfb.clipboard import Clipboard
from rdpprov.protocol.rfb.events import (
    ContinuousUpdatesChanged,
    CutTextDropped,
    DesktopSizeRequested,
    EncodingsChanged,
    FenceAnswered,
    FenceRequested,
    KeyReceived,
    PixelFormatChanged,
    PointerReceived,
    ServerEvent,
    UpdateRequested,
)
from rdpprov.protocol.rfb.framing import HANDSHAKE_LIMIT, ByteStream
from rdpprov.protocol.rfb.handshake import OVER, PAUSED_STATES, ServerHandshake, ServerState, Version
from rdpprov.security.ra2 import Ra2Secrets
from rdpprov.wire.rfb.encodings import (
    Encoding,
    Subsampling,
    compression_level,
    fine_quality,
    quality_level,
    subsampling,
)
from rdpprov.wire.rfb.handshake import SecurityType, ServerInit, VencryptSubtype
from rdpprov.wire.rfb.messages import (
    CLIENT_MESSAGE_NEEDS,
    KNOWN_FENCE_FLAGS,
    MAX_FENCE_PAYLOAD,
    Bell,
    ClientCutText,
    ClientMessageType,
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
    SetColourMapEntries,
    SetDesktopSize,
    SetEncodings,
    SetPixelFormat,
    client_message_size,
    unpack_client_message,
)
from rdpprov.wire.rfb.pixel_format import BGRX, PixelFormat
from rdpprov.wire.rfb.rectangles import (
    EXTENDED_MOUSE_BUTTONS,
    LAST_RECT,
    QEMU_KEY_EVENTS,
    EncodedRectangle,
    RectangleToSend,
    desktop_size,
    extended_desktop_size,
    pack_rectangle_header,
)
from rdpprov.wire.rfb.rsa_aes import Ra2Subtype
from rdpprov.wire.rfb.screens import ResizeReason, ResizeStatus, ScreenArea, layout_problem

MAX_KEPT_ENCODINGS: Final = 256
"""Of the distinct ones that a client names."""
_ALWAYS: Final = frozenset({Encoding.RAW})
_ANNOUNCEMENTS: Final = (QEMU_KEY_EVENTS, EXTENDED_MOUSE_BUTTONS)


@attrs.frozen
class ServerOptions:
    """What a server decides for all its connections."""

    security_types: tuple[SecurityType, ...] = (SecurityType.NONE,)
    """To offer, best first: NONE, VNC_AUTHENTICATION, VENCRYPT, those of RSA-AES. Clients take the first that they
    know."""
    vencrypt_subtypes: tuple[VencryptSubtype, ...] = ()
    """Likewise, inside VeNCrypt."""
    ra2_subtype: Ra2Subtype = Ra2Subtype.USER_AND_PASSWORD
    """What is asked for inside RSA-AES."""
    version: Version = Version.RFB_3_8
    """The highest to speak."""
    max_cut_text: int = 256 * 1024
    """Bytes of a clipboard that are taken from a client."""

    def __attrs_post_init__(self) -> None:
        known = {SecurityType.NONE, SecurityType.VNC_AUTHENTICATION, SecurityType.VENCRYPT}
        known |= {kind for kind in SecurityType if kind.rsa_aes}
        if not known.issuperset(self.security_types):
            raise LocalProtocolError(f"security types {self.security_types}, expected of {sorted(known)}")
        if (SecurityType.VENCRYPT in self.security_types) != bool(self.vencrypt_subtypes):
            raise LocalProtocolError("VeNCrypt and its subtypes are offered together")


class RfbServerMachine:
    """One client's connection, as the server sees it.

    Its owner feeds bytes by `receive_data`, asks for events by `next_event` until NEED_DATA or PAUSED, and sends what
    `data_to_send` gives. While PAUSED it should not read from the client: what is buffered is bounded, and more than
    that ends the connection.

    Args:
        options: of the listener.
        challenge: 16 random bytes, never used before.
        ra2: the server's key and random bytes, never used before, if RSA-AES is offered.
    """

    __slots__ = (
        "_announced",
        "_clipboard",
        "_deferred",
        "_due",
        "_error",
        "_events",
        "_ever_named",
        "_handshake",
        "_held_fence",
        "_incoming",
        "_named",
        "_named_before",
        "_outgoing",
        "_update_open",
        "continuous_updates",
        "encodings",
        "height",
        "name",
        "options",
        "pixel_format",
        "screens",
        "width",
    )

    def __init__(self, options: ServerOptions, *, challenge: bytes, ra2: Ra2Secrets | None = None) -> None:
        self.options = options
        self._incoming = ByteStream(HANDSHAKE_LIMIT)
        self._outgoing: list[bytes] = []
        self._deferred: list[bytes] = []
        self._events: deque[ServerEvent] = deque()
        self._error: RemoteProtocolError | None = None
        self._handshake = ServerHandshake(
            options.security_types,
            options.vencrypt_subtypes,
            options.version,
            challenge,
            self._incoming,
            self._outgoing,
            ra2,
            options.ra2_subtype,
        )
        self._clipboard = Clipboard(options.max_cut_text, self._send_cut_text)
        self._named: frozenset[int] = _ALWAYS
        self._named_before: frozenset[int] = _ALWAYS  # until the next message: an update may have to be ended
        self._ever_named: frozenset[int] = _ALWAYS
        self._due: list[EncodedRectangle] = []
        self._held_fence: FenceRequested | None = None
        self._update_open = False
        self.encodings: tuple[int, ...] = ()
        """`Encoding` and others that the client can take, best first, without repetition."""
        self.pixel_format: PixelFormat = BGRX
        """What the client wants its pixels to be."""
        self.continuous_updates: Rectangle | None = None
        """The area of which updates come without requests; None: they come on request."""
        self.width = 0
        """Of the desktop as the client knows it; 0 before `start`."""
        self.height = 0
        self.screens: tuple[ScreenArea, ...] = ()
        self.name = ""
        """Of the desktop, as `start` was told."""

    # Bytes

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the client: of the TCP stream first, of what is inside TLS after `tls_established`, or inside
        the messages of RSA-AES after `records_established`.

        What is beyond the state's limit is not kept, and `next_event` refuses the client once it is not paused any
        more.
        """
        if self.state not in OVER:
            self._incoming.receive_data(data)

    def data_to_send(self) -> bytes:
        """Everything queued for the client, which is then no longer queued."""
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        return data

    @property
    def trailing_data(self) -> bytes:
        """What came and is not read: while paused for TLS, it belongs to TLS; likewise for RSA-AES."""
        return self._incoming.peek()

    def take_trailing_data(self) -> bytes:
        """`trailing_data`, which the machine forgets."""
        return self._incoming.take_rest()

    # Events

    def next_event(self) -> ServerEvent | NeedData | Paused:
        """Take one event out of the bytes received so far. Never waits.

        Raises:
            RemoteProtocolError: the client broke the protocol; the machine stays in ERROR. What is queued may be sent.
        """
        while not self._events:
            if self._error is not None:
                raise self._error
            if self.state in PAUSED_STATES:
                return PAUSED
            try:
                if self.state is ServerState.ACTIVE:
                    taken: ServerEvent | bool = self._take_message()
                else:
                    taken = self._handshake.step()
            except RemoteProtocolError as error:
                self._error = error
                self._handshake.enter(ServerState.ERROR)
                continue
            if taken is False:
                return NEED_DATA
            if taken is not True:
                self._events.append(taken)
        return self._events.popleft()

    def _take_message(self) -> bool:
        incoming = self._incoming
        data = incoming.data
        if data and data[0] == ClientMessageType.CLIENT_CUT_TEXT:
            begun = self._clipboard.begin(incoming)
            if isinstance(begun, CutTextDropped):
                self._events.append(begun)
                return True
        extended_buttons = Encoding.EXTENDED_MOUSE_BUTTONS in self._ever_named
        unit = incoming.take(client_message_size(data, extended_buttons=extended_buttons))
        if unit is None:
            return False
        message, _ = unpack_client_message(unit, extended_buttons=extended_buttons)
        needed = CLIENT_MESSAGE_NEEDS.get(type(message))
        if needed is not None and needed not in self._ever_named:
            raise RemoteProtocolError(f"{type(message).__name__} of a client that has not named {needed.name}")
        self._named_before = self._named
        held, self._held_fence = self._held_fence, None
        _HANDLERS[type(message)](self, message)
        if held is not None:
            self._events.append(held)
        return True

    # Who takes what comes

    def _take_pixel_format(self, message: SetPixelFormat) -> None:
        self.pixel_format = message.pixel_format
        self._events.append(PixelFormatChanged(message.pixel_format))

    def _take_encodings(self, message: SetEncodings) -> None:
        self.encodings = tuple(dict.fromkeys(message.encodings))[:MAX_KEPT_ENCODINGS]
        self._named = _ALWAYS.union(self.encodings)
        new = self._named - self._ever_named
        self._ever_named |= self._named & _LASTING
        self._clipboard.extended = Encoding.EXTENDED_CLIPBOARD in self._ever_named
        self._events.append(EncodingsChanged(self.encodings))
        self._announce(new)

    def _announce(self, new: frozenset[int]) -> None:
        """Say what we can do, as soon as the client has said that it can."""
        if Encoding.EXTENDED_CLIPBOARD in self._named:
            self._clipboard.say_caps()
        if Encoding.FENCE in new:
            self._queue(Fence(FenceFlags.REQUEST, b"\0").pack())
        # TigerVNC's viewer decides once, at the end of its first update. Later repetitions mean something else.
        if Encoding.CONTINUOUS_UPDATES in new and Encoding.FENCE in self._ever_named:
            self._queue(EndOfContinuousUpdates().pack())
        self._due += [rectangle for rectangle in _ANNOUNCEMENTS if rectangle.encoding in new]
        self._due = [rectangle for rectangle in self._due if rectangle.encoding in self._named]

    def _take_update_request(self, message: FramebufferUpdateRequest) -> None:
        self._events.append(UpdateRequested(message.incremental, self._cropped(message)))

    def _take_key(self, message: KeyEvent) -> None:
        self._events.append(KeyReceived(message.pressed, message.keysym))

    def _take_qemu_key(self, message: QemuKeyEvent) -> None:
        self._events.append(KeyReceived(message.pressed, message.keysym, message.keycode))

    def _take_pointer(self, message: PointerEvent) -> None:
        # A desktop may have shrunk while the client still saw the old one: clamped, never trusted as indices.
        x, y = min(message.x, max(self.width - 1, 0)), min(message.y, max(self.height - 1, 0))
        self._events.append(PointerReceived(message.buttons, x, y))

    def _take_cut_text(self, message: ClientCutText) -> None:
        event = self._clipboard.receive(message.data, message.extended)
        if event is not None:
            self._events.append(event)

    def _take_continuous_updates(self, message: EnableContinuousUpdates) -> None:
        if Encoding.FENCE not in self._ever_named:
            raise RemoteProtocolError(
                "EnableContinuousUpdates of a client without fences, to which we never offered it"
            )
        self.continuous_updates = self._cropped(message) if message.enable else None
        self._events.append(ContinuousUpdatesChanged(self.continuous_updates))

    def _take_fence(self, message: Fence) -> None:
        if len(message.payload) > MAX_FENCE_PAYLOAD:
            return
        flags = message.flags & KNOWN_FENCE_FLAGS
        if not message.flags & FenceFlags.REQUEST:
            self._events.append(FenceAnswered(flags, message.payload))
        elif flags & FenceFlags.SYNC_NEXT:
            self._held_fence = FenceRequested(flags, message.payload)
        else:
            self._events.append(FenceRequested(flags, message.payload))

    def _take_desktop_size(self, message: SetDesktopSize) -> None:
        problem = layout_problem(message.width, message.height, message.screens)
        self._events.append(DesktopSizeRequested(message.width, message.height, message.screens, problem))

    def _cropped(self, message: FramebufferUpdateRequest | EnableContinuousUpdates) -> Rectangle:
        left, top = min(message.x, self.width), min(message.y, self.height)
        right, bottom = min(message.x + message.width, self.width), min(message.y + message.height, self.height)
        return Rectangle(left, top, max(left, right), max(top, bottom))

    # Told by the owner, up to the first picture

    def tls_established(self) -> None:
        """After `StartTls`: bytes received and sent are those inside TLS from now on.

        Raises:
            LocalProtocolError: nobody asked for it.
        """
        self._expect("tls_established()", ServerState.EXPECT_TLS)
        self._events.append(self._handshake.tls_established())

    def records_established(self) -> None:
        """After `StartRecords`: bytes received and sent are those inside messages of RSA-AES from now on.

        Raises:
            LocalProtocolError: nobody asked for it.
        """
        self._expect("records_established()", ServerState.EXPECT_RECORDS)
        self._events.append(self._handshake.records_established())

    def accept(self) -> None:
        """After `ChallengeAnswered` or `CredentialsOffered`: the client is let in.

        Raises:
            LocalProtocolError: there is nothing to decide.
        """
        self._expect("accept()", ServerState.EXPECT_VERDICT)
        self._handshake.accept()

    def refuse(self, reason: str) -> None:
        """The client is not let in: after `ChallengeAnswered` or `CredentialsOffered`; or before its version is known,
        when there is no place for it: then it is told as soon as it can be, and `Refused` is the event.

        Args:
            reason: for the client, which learns it from version 3.8 on.

        Raises:
            LocalProtocolError: there is nothing to decide.
        """
        self._expect("refuse()", ServerState.EXPECT_VERDICT, ServerState.EXPECT_VERSION)
        self._handshake.refuse(reason)

    def start(
        self,
        width: int,
        height: int,
        name: str,
        *,
        screens: Sequence[ScreenArea] = (),
        pixel_format: PixelFormat = BGRX,
    ) -> None:
        """After `ClientInitReceived`: queue ServerInit.

        Args:
            width: of the desktop, 1 to 65535 pixels.
            height: likewise.
            name: of the desktop; the first 255 bytes of it count.
            screens: that make it up; by default one.
            pixel_format: what pixels have until the client asks for another.

        Raises:
            LocalProtocolError: it is not the time, or the numbers are out of range.
        """
        self._expect("start()", ServerState.EXPECT_DESKTOP)
        encoded = name.encode("utf-8", "replace")[:255].decode("utf-8", "ignore").encode()
        self._outgoing.append(ServerInit(width, height, pixel_format, encoded).pack())
        self.name = name
        self.pixel_format = pixel_format
        self._resize(width, height, screens)
        self._handshake.enter(ServerState.ACTIVE)

    def close(self) -> None:
        """Nothing more is received; RFB has no goodbye. Legal in every state."""
        if self.state not in OVER:
            self._handshake.enter(ServerState.CLOSED)

    # Output. After the end of the connection it is dropped: whoever draws may not know yet.

    def send_update(self, rectangles: Sequence[RectangleToSend]) -> None:
        """Queue a FramebufferUpdate, with what is due of `announcements_due` before the rectangles.

        Args:
            rectangles: `EncodedRectangle`, or what has its fields, in the order in which the client is to apply them.

        Raises:
            LocalProtocolError: it is not the time, there are more rectangles than can be counted, or one is in an
                encoding that the client has not named: it would end the connection. At `EncodingsChanged` what was
                named before may still be sent, for what is compressed already cannot be taken back.
        """
        if not self._may_send("send_update()"):
            return
        if self._update_open:
            raise LocalProtocolError("send_update() inside an update")
        if len(rectangles) + len(self._due) >= FramebufferUpdate.UNTIL_LAST_RECT:
            raise LocalProtocolError(f"an update of {len(rectangles)} rectangles")
        self._check_rectangles(rectangles)
        header = FramebufferUpdate(len(self._due) + len(rectangles))
        self._outgoing += [header.pack(), *_packed([*self._due, *rectangles])]
        self._due = []

    def begin_update(self) -> None:
        """Begin an update of an unknown number of rectangles. Clipboard, bell and fences wait for its end.

        Raises:
            LocalProtocolError: it is not the time, or the client has not named LAST_RECT.
        """
        if not self._may_send("begin_update()"):
            return
        if self._update_open or not self.takes(Encoding.LAST_RECT):
            raise LocalProtocolError("begin_update() inside an update, or without LastRect")
        self._update_open = True
        header = FramebufferUpdate(FramebufferUpdate.UNTIL_LAST_RECT)
        self._outgoing += [header.pack(), *_packed(self._due)]
        self._due = []

    def send_rectangles(self, rectangles: Sequence[RectangleToSend]) -> None:
        """Queue more rectangles of the update that `begin_update` began.

        Raises:
            LocalProtocolError: as `send_update`, or there is no such update.
        """
        if not self._may_send("send_rectangles()"):
            return
        if not self._update_open:
            raise LocalProtocolError("send_rectangles() outside an update")
        self._check_rectangles(rectangles)
        self._outgoing += _packed(rectangles)

    def end_update(self) -> None:
        """End the update that `begin_update` began.

        Raises:
            LocalProtocolError: there is no such update.
        """
        if not self._may_send("end_update()"):
            return
        if not self._update_open:
            raise LocalProtocolError("end_update() outside an update")
        self._outgoing.append(LAST_RECT.pack())
        self._update_open = False
        self._outgoing += self._deferred
        self._deferred.clear()

    @property
    def held_back(self) -> int:
        """Bytes that wait for the end of an update: they grow while a client asks, and does not take it."""
        return sum(map(len, self._deferred))

    @property
    def announcements_due(self) -> bool:
        """Whether an update is due even if nothing has changed on the screen: with the next request for one, tell the
        client by `send_update` what it may send."""
        return bool(self._due)

    def send_desktop_size(
        self,
        width: int,
        height: int,
        screens: Sequence[ScreenArea] = (),
        *,
        reason: ResizeReason = ResizeReason.SERVER,
        status: ResizeStatus = ResizeStatus.OK,
    ) -> bool:
        """Queue an update that tells the client the desktop's size: it uses up the client's requests. Requests and
        pointer are cropped to the new size from now on, and everything is damaged.

        Args:
            width: of the desktop as it is now, 1 to 65535 pixels, also if a wish for another is refused.
            height: likewise.
            screens: that make it up; of a wish that is granted, those that were asked for; by default one.
            reason: who wanted it.
            status: what became of it; not OK only with reason THIS_CLIENT.

        Returns:
            whether the client was told: it may have named neither ExtendedDesktopSize nor DesktopSize, or only the
            latter, by which nothing but a change can be told.

        Raises:
            LocalProtocolError: it is not the time, or the numbers are out of range.
        """
        if not self._may_send("send_desktop_size()"):
            return False
        screens = tuple(screens) or (ScreenArea(0, 0, 0, width, height),)
        if self.takes(Encoding.EXTENDED_DESKTOP_SIZE):
            self.send_update([extended_desktop_size(width, height, screens, reason, status)])
        elif self.takes(Encoding.DESKTOP_SIZE) and (width, height) != (self.width, self.height):
            self.send_update([desktop_size(width, height)])
        else:
            return False
        self._resize(width, height, screens)
        return True

    def _resize(self, width: int, height: int, screens: Sequence[ScreenArea]) -> None:
        self.width, self.height = width, height
        self.screens = tuple(screens) or (ScreenArea(0, 0, 0, width, height),)

    def send_colour_map(self, first: int, colours: Iterable[tuple[int, int, int]]) -> None:
        """Queue SetColourMapEntries: what pixels mean, after each `PixelFormatChanged` to a format with a colour map.

        Args:
            first: index of the first colour.
            colours: red, green and blue, 16 bits each.

        Raises:
            LocalProtocolError: it is not the time, or the client has no colour map (noVNC ends the connection then).
        """
        if not self._may_send("send_colour_map()"):
            return
        if self.pixel_format.true_colour:
            raise LocalProtocolError("send_colour_map() to a client without one")
        self._queue(SetColourMapEntries(first, tuple(colours)).pack())

    def send_bell(self) -> None:
        """Queue Bell.

        Raises:
            LocalProtocolError: it is not the time.
        """
        if self._may_send("send_bell()"):
            self._queue(Bell().pack())

    def send_clipboard(self, text: str) -> None:
        """Something new is on the session's clipboard: queue it, or a notice of it, in the form that the client takes.

        Raises:
            LocalProtocolError: it is not the time.
        """
        if self._may_send("send_clipboard()"):
            self._clipboard.offer(text)

    def provide_clipboard(self, text: str) -> None:
        """Answer `ClipboardRequested`.

        Raises:
            LocalProtocolError: it is not the time, or the client has no extended clipboard.
        """
        if not self._may_send("provide_clipboard()"):
            return
        if not self._clipboard.extended:
            raise LocalProtocolError("provide_clipboard() to a client without extended clipboard")
        self._clipboard.provide(text)

    def request_clipboard(self) -> None:
        """After `ClipboardOffered`: ask for the text, which comes as `CutTextReceived`.

        Raises:
            LocalProtocolError: it is not the time.
        """
        if self._may_send("request_clipboard()"):
            self._clipboard.request()

    def send_fence(self, payload: bytes, flags: int = FenceFlags.BLOCK_BEFORE) -> None:
        """Queue a fence, which the client answers when it has come so far: `FenceAnswered` with this payload.

        Args:
            payload: up to 64 bytes. One byte 0 is that of our first one, by which clients learn of fences.
            flags: `FenceFlags`; REQUEST is added: without it noVNC ends the connection.

        Raises:
            LocalProtocolError: it is not the time, or the client has no fences.
        """
        if not self._may_send("send_fence()"):
            return
        if not self.fences or len(payload) > MAX_FENCE_PAYLOAD:
            raise LocalProtocolError(f"send_fence() of {len(payload)} bytes, or to a client without fences")
        self._queue(Fence(flags | FenceFlags.REQUEST, payload).pack())

    def answer_fence(self, fence: FenceRequested) -> None:
        """Queue the answer to a fence of the client's.

        Raises:
            LocalProtocolError: it is not the time.
        """
        if self._may_send("answer_fence()"):
            self._queue(Fence(fence.flags, fence.payload).pack())

    def send_end_of_continuous_updates(self) -> None:
        """Answer `ContinuousUpdatesChanged` to off: all updates before this were made in the old format, and those
        after it are answers to requests.

        Raises:
            LocalProtocolError: it is not the time, or they are on.
        """
        if not self._may_send("send_end_of_continuous_updates()"):
            return
        if self.continuous_updates is not None or Encoding.CONTINUOUS_UPDATES not in self._ever_named:
            raise LocalProtocolError("send_end_of_continuous_updates() while they are on, or were never possible")
        self._queue(EndOfContinuousUpdates().pack())

    # What the client said; None until it did

    @property
    def state(self) -> ServerState:
        """What the machine waits for."""
        return self._handshake.state

    @property
    def version(self) -> Version | None:
        """That is spoken."""
        return self._handshake.version

    @property
    def security_type(self) -> SecurityType | None:
        """That the client chose, or (3.3) we did."""
        return self._handshake.security_type

    @property
    def vencrypt_subtype(self) -> VencryptSubtype | None:
        """That the client chose."""
        return self._handshake.vencrypt_subtype

    @property
    def shared(self) -> bool | None:
        """Whether the client wants other viewers to stay."""
        return self._handshake.shared

    def takes(self, encoding: int) -> bool:
        """Whether rectangles in this encoding may be sent: Raw always, others as named by the last SetEncodings."""
        return encoding in self._named

    @property
    def fences(self) -> bool:
        """Whether the client answers fences."""
        return Encoding.FENCE in self._ever_named

    @property
    def extended_clipboard(self) -> bool:
        """Whether the clipboard carries all of Unicode."""
        return self._clipboard.extended

    @property
    def quality_level(self) -> int | None:
        """JPEG's quality from 0 to 9; None: no JPEG, unless `fine_quality` or `subsampling` says something."""
        return quality_level(self.encodings)

    @property
    def compression_level(self) -> int | None:
        """From 0 to 9; None: ours to choose."""
        return compression_level(self.encodings)

    @property
    def fine_quality(self) -> int | None:
        """JPEG's own quality from 0 to 100; goes before `quality_level`."""
        return fine_quality(self.encodings)

    @property
    def subsampling(self) -> Subsampling | None:
        """JPEG's; goes before `quality_level`."""
        return subsampling(self.encodings)

    # Small questions

    def _expect(self, call: str, *states: ServerState) -> None:
        if self.state not in states:
            raise LocalProtocolError(f"{call} while waiting for {self.state.value}")

    def _may_send(self, call: str) -> bool:
        if self.state in OVER:
            return False
        self._expect(call, ServerState.ACTIVE)
        return True

    def _queue(self, data: bytes) -> None:
        """A message of its own: never inside an update."""
        (self._deferred if self._update_open else self._outgoing).append(data)

    def _send_cut_text(self, data: bytes, extended: bool) -> None:
        self._queue(ServerCutText(data, extended).pack())

    def _check_rectangles(self, rectangles: Sequence[RectangleToSend]) -> None:
        for rectangle in rectangles:
            if rectangle.encoding not in self._named and rectangle.encoding not in self._named_before:
                raise LocalProtocolError(
                    f"a rectangle in encoding {rectangle.encoding}, which the client has not named"
                )


def _packed(rectangles: Iterable[RectangleToSend]) -> list[bytes]:
    """Headers and data apart: data may be large, and is copied once, when it is sent."""
    return [part for rectangle in rectangles for part in (pack_rectangle_header(rectangle), rectangle.data)]


_HANDLERS: Final[Mapping[type, Callable[[RfbServerMachine, Any], None]]] = {
    SetPixelFormat: RfbServerMachine._take_pixel_format,
    SetEncodings: RfbServerMachine._take_encodings,
    FramebufferUpdateRequest: RfbServerMachine._take_update_request,
    KeyEvent: RfbServerMachine._take_key,
    QemuKeyEvent: RfbServerMachine._take_qemu_key,
    PointerEvent: RfbServerMachine._take_pointer,
    ClientCutText: RfbServerMachine._take_cut_text,
    EnableContinuousUpdates: RfbServerMachine._take_continuous_updates,
    Fence: RfbServerMachine._take_fence,
    SetDesktopSize: RfbServerMachine._take_desktop_size,
}
"""All that a client may say in a session; what it may say only after it named a pseudo-encoding is in
`CLIENT_MESSAGE_NEEDS`."""

_LASTING: Final = frozenset(
    {
        *CLIENT_MESSAGE_NEEDS.values(),
        *(rectangle.encoding for rectangle in _ANNOUNCEMENTS),
        Encoding.EXTENDED_CLIPBOARD,
    }
)
"""What a client that has once named it may go on to use: its messages and a later SetEncodings may cross."""
