"""The messages of a session, both directions. All integers big-endian, all padding zero.

There is no framing: the type tells how long a message is, so one of an unknown type cannot be skipped, and ends the
connection. `client_message_size` and `server_message_size` read as much as it takes to know.

All of it is per event or per frame: `struct` by hand, the construct definitions are in the tests.

Source: [RFC 6143] 7.5 "Client-to-Server Messages", 7.6 "Server-to-Client Messages"; for what is above type 6 the
community's text, and QEMU's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from struct import Struct
from typing import Any, ClassVar, Final, TypeAlias

import attrs

from rdpprov.errors import LocalProtocolError
from rdpprov.wire.base import Buffer, DecodeError, Reader, bounded_bytes, integer, required, uint16, uint32
from rdpprov.wire.rfb.encodings import Encoding
from rdpprov.wire.rfb.pixel_format import PixelFormat
from rdpprov.wire.rfb.screens import ScreenArea, unpack_screens

MAX_ENCODINGS: Final = 1024
"""In one SetEncodings. Clients name about 30; 65535 could be said."""
MAX_FENCE_PAYLOAD: Final = 64

_uint9 = integer(0, 0x1FF, "mask of 9 buttons")


_Check: TypeAlias = Callable[[Any, "attrs.Attribute[Any]", Sequence[Any]], None]


def _at_most(limit: int) -> _Check:
    """A validator for a sequence that is counted by a number up to `limit`."""

    def check(instance: Any, attribute: attrs.Attribute[Any], value: Sequence[Any]) -> None:
        if len(value) > limit:
            raise LocalProtocolError(f"{type(instance).__name__}.{attribute.name}: {len(value)}, {limit} fit")

    return check


def _numbers(low: int, high: int, most: int) -> _Check:
    """A validator for up to `most` integers from `low` to `high`."""

    def check(instance: Any, attribute: attrs.Attribute[Any], value: Sequence[Any]) -> None:
        if len(value) > most or any(not low <= number <= high for number in value):
            raise LocalProtocolError(
                f"{type(instance).__name__}.{attribute.name}: not up to {most} numbers from {low} to {high}"
            )

    return check


class ClientMessageType(IntEnum):
    """The first byte of what a client says."""

    SET_PIXEL_FORMAT = 0
    FIX_COLOUR_MAP_ENTRIES = 1
    SET_ENCODINGS = 2
    FRAMEBUFFER_UPDATE_REQUEST = 3
    KEY_EVENT = 4
    POINTER_EVENT = 5
    CLIENT_CUT_TEXT = 6
    ENABLE_CONTINUOUS_UPDATES = 150
    CLIENT_FENCE = 248
    XVP = 250
    SET_DESKTOP_SIZE = 251
    GII = 253
    QEMU = 255


class ServerMessageType(IntEnum):
    """The first byte of what a server says."""

    FRAMEBUFFER_UPDATE = 0
    SET_COLOUR_MAP_ENTRIES = 1
    BELL = 2
    SERVER_CUT_TEXT = 3
    END_OF_CONTINUOUS_UPDATES = 150
    SERVER_FENCE = 248


class FenceFlags(IntEnum):
    """Bits of a fence's flags."""

    BLOCK_BEFORE = 0x00000001
    """All earlier messages are dealt with before the answer."""
    BLOCK_AFTER = 0x00000002
    """No later one is."""
    SYNC_NEXT = 0x00000004
    """The next message takes effect exactly at the answer."""
    REQUEST = 0x80000000
    """An answer is wanted."""


KNOWN_FENCE_FLAGS: Final = FenceFlags.BLOCK_BEFORE | FenceFlags.BLOCK_AFTER | FenceFlags.SYNC_NEXT


class UnknownMessageError(DecodeError):
    """A message of a type that nobody may send here. What follows it cannot be understood."""


# Client to server


@attrs.frozen
class SetPixelFormat:
    """SetPixelFormat: 20 bytes."""

    LAYOUT: ClassVar[Struct] = Struct(f">B3x{PixelFormat.SIZE}s")

    pixel_format: PixelFormat

    def pack(self) -> bytes:
        """20 bytes."""
        return self.LAYOUT.pack(ClientMessageType.SET_PIXEL_FORMAT, self.pixel_format.pack())

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[SetPixelFormat, bytes]:
        """The structure and what follows it.

        Raises:
            DecodeError: too short, or a pixel format that makes no sense.
        """
        reader = Reader(data, "SetPixelFormat")
        _, pixel_format = reader.fields(cls.LAYOUT)
        return cls(PixelFormat.unpack(pixel_format)[0]), reader.rest()


@attrs.frozen
class SetEncodings:
    """SetEncodings: what the client can take, best first. It replaces what the client said before."""

    HEADER: ClassVar[Struct] = Struct(">BxH")

    encodings: tuple[int, ...] = required(validator=_numbers(-(2**31), 2**31 - 1, MAX_ENCODINGS))
    """`Encoding` and others, signed."""

    def pack(self) -> bytes:
        """The bytes on the wire."""
        count = len(self.encodings)
        return Struct(f">BxH{count}i").pack(ClientMessageType.SET_ENCODINGS, count, *self.encodings)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[SetEncodings, bytes]:
        """The structure and what follows it.

        Raises:
            DecodeError: too short, or more than `MAX_ENCODINGS`.
        """
        reader = Reader(data, "SetEncodings")
        _, count = reader.fields(cls.HEADER)
        _check_encodings(count)
        return cls(reader.fields(Struct(f">{count}i"))), reader.rest()


def _check_encodings(count: int) -> None:
    if count > MAX_ENCODINGS:
        raise DecodeError(f"SetEncodings: {count} encodings, {MAX_ENCODINGS} are allowed")


@attrs.frozen
class FramebufferUpdateRequest:
    """FramebufferUpdateRequest: 10 bytes. The area may be empty, or leave the desktop."""

    LAYOUT: ClassVar[Struct] = Struct(">BB4H")

    incremental: bool
    """False: the client has nothing of the area."""
    x: int = uint16()
    y: int = uint16()
    width: int = uint16()
    height: int = uint16()

    def pack(self) -> bytes:
        """10 bytes."""
        kind = ClientMessageType.FRAMEBUFFER_UPDATE_REQUEST
        return self.LAYOUT.pack(kind, self.incremental, self.x, self.y, self.width, self.height)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[FramebufferUpdateRequest, bytes]:
        """The structure and what follows it.

        Raises:
            DecodeError: too short.
        """
        reader = Reader(data, "FramebufferUpdateRequest")
        _, incremental, *area = reader.fields(cls.LAYOUT)
        return cls(bool(incremental), *area), reader.rest()


@attrs.frozen
class KeyEvent:
    """KeyEvent: a key by the symbol that it makes. 8 bytes."""

    LAYOUT: ClassVar[Struct] = Struct(">BB2xI")

    pressed: bool
    keysym: int = uint32()
    """As X11 numbers them."""

    def pack(self) -> bytes:
        """8 bytes."""
        return self.LAYOUT.pack(ClientMessageType.KEY_EVENT, self.pressed, self.keysym)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[KeyEvent, bytes]:
        """The structure and what follows it.

        Raises:
            DecodeError: too short.
        """
        reader = Reader(data, "KeyEvent")
        _, pressed, keysym = reader.fields(cls.LAYOUT)
        return cls(bool(pressed), keysym), reader.rest()


@attrs.frozen
class QemuKeyEvent:
    """QEMU Extended Key Event: a key by its symbol and its place. 12 bytes."""

    LAYOUT: ClassVar[Struct] = Struct(">BBHII")
    SUBTYPE: ClassVar[int] = 0

    pressed: bool
    keysym: int = uint32()
    keycode: int = uint32()
    """Scan code of set 1; with prefix E0 its lower seven bits and 0x80. 0: the client does not know it."""

    def pack(self) -> bytes:
        """12 bytes."""
        return self.LAYOUT.pack(ClientMessageType.QEMU, self.SUBTYPE, self.pressed, self.keysym, self.keycode)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[QemuKeyEvent, bytes]:
        """The structure and what follows it.

        Raises:
            DecodeError: too short, or another message of QEMU's.
        """
        reader = Reader(data, "QEMU Extended Key Event")
        _, subtype, pressed, keysym, keycode = reader.fields(cls.LAYOUT)
        if subtype != cls.SUBTYPE:
            raise UnknownMessageError(f"QEMU message of subtype {subtype}, expected {cls.SUBTYPE}")
        return cls(bool(pressed), keysym, keycode), reader.rest()


@attrs.frozen
class PointerEvent:
    """PointerEvent: where the pointer is and which buttons are down. 6 bytes, or 7 with extended buttons.

    Source: [RFC 6143] 7.5.5; the community's text, "Extended Mouse Buttons Pseudo-encoding".
    """

    LAYOUT: ClassVar[Struct] = Struct(">BBHH")
    EXTENDED: ClassVar[int] = 0x80
    """Bit of the mask: one more byte follows, if the client named that pseudo-encoding; else button 8 is down."""

    buttons: int = _uint9()
    """Bit n is button n + 1: left, middle, right, wheel up, down, left, right, back, forward."""
    x: int = uint16()
    y: int = uint16()
    extended: bool = attrs.field(
        default=attrs.Factory(lambda event: event.buttons > PointerEvent.EXTENDED, takes_self=True)
    )
    """Whether it has the long form."""

    def __attrs_post_init__(self) -> None:
        if self.buttons > 0xFF and not self.extended:
            raise LocalProtocolError("PointerEvent: button 9 needs the long form")

    def pack(self) -> bytes:
        """6 or 7 bytes."""
        if not self.extended:
            return self.LAYOUT.pack(ClientMessageType.POINTER_EVENT, self.buttons, self.x, self.y)
        mask = self.EXTENDED | self.buttons & 0x7F
        message = self.LAYOUT.pack(ClientMessageType.POINTER_EVENT, mask, self.x, self.y)
        return message + bytes((self.buttons >> 7,))

    @classmethod
    def unpack(cls, data: Buffer, *, extended_buttons: bool = False) -> tuple[PointerEvent, bytes]:
        """The structure and what follows it.

        Args:
            data: from the message's type on.
            extended_buttons: the client has named that pseudo-encoding.

        Raises:
            DecodeError: too short.
        """
        reader = Reader(data, "PointerEvent")
        _, mask, x, y = reader.fields(cls.LAYOUT)
        if extended_buttons and mask & cls.EXTENDED:
            more = reader.u8() & 0x03  # the rest is reserved
            return cls(mask & 0x7F | more << 7, x, y, True), reader.rest()
        return cls(mask, x, y, False), reader.rest()


class _CutText:
    HEADER: ClassVar[Struct] = Struct(">B3xi")


@attrs.frozen
class ClientCutText(_CutText):
    """ClientCutText: the client's clipboard, or (extended) a message about it."""

    data: bytes = bounded_bytes(2**31 - 1, repr=False)
    """Latin-1 with line feeds; or, extended, what `rdpprov.wire.rfb.clipboard` reads."""
    extended: bool = False
    """The length on the wire is negative."""

    def pack(self) -> bytes:
        """The bytes on the wire."""
        return _pack_cut_text(ClientMessageType.CLIENT_CUT_TEXT, self.data, self.extended)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[ClientCutText, bytes]:
        """The structure and what follows it.

        Raises:
            DecodeError: too short.
        """
        reader = Reader(data, "ClientCutText")
        return cls(*_read_cut_text(reader)), reader.rest()


@attrs.frozen
class ServerCutText(_CutText):
    """ServerCutText: likewise of the server."""

    data: bytes = bounded_bytes(2**31 - 1, repr=False)
    extended: bool = False

    def pack(self) -> bytes:
        """The bytes on the wire."""
        return _pack_cut_text(ServerMessageType.SERVER_CUT_TEXT, self.data, self.extended)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[ServerCutText, bytes]:
        """The structure and what follows it.

        Raises:
            DecodeError: too short.
        """
        reader = Reader(data, "ServerCutText")
        return cls(*_read_cut_text(reader)), reader.rest()


def _pack_cut_text(kind: int, data: bytes, extended: bool) -> bytes:
    return _CutText.HEADER.pack(kind, -len(data) if extended else len(data)) + data


def _read_cut_text(reader: Reader) -> tuple[bytes, bool]:
    _, length = reader.fields(_CutText.HEADER)
    return reader.take(abs(length)), length < 0


def cut_text_length(data: Buffer) -> int | None:
    """Bytes of text that a cut text at the front of `data` announces, below zero if extended; None: need more."""
    if len(data) < _CutText.HEADER.size:
        return None
    length: int = _CutText.HEADER.unpack_from(data)[1]
    return length


@attrs.frozen
class EnableContinuousUpdates:
    """EnableContinuousUpdates: updates of an area come without requests from now on, or no more. 10 bytes."""

    LAYOUT: ClassVar[Struct] = Struct(">BB4H")

    enable: bool
    x: int = uint16(default=0)
    y: int = uint16(default=0)
    width: int = uint16(default=0)
    height: int = uint16(default=0)

    def pack(self) -> bytes:
        """10 bytes."""
        kind = ClientMessageType.ENABLE_CONTINUOUS_UPDATES
        return self.LAYOUT.pack(kind, self.enable, self.x, self.y, self.width, self.height)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[EnableContinuousUpdates, bytes]:
        """The structure and what follows it.

        Raises:
            DecodeError: too short.
        """
        reader = Reader(data, "EnableContinuousUpdates")
        _, enable, *area = reader.fields(cls.LAYOUT)
        return cls(bool(enable), *area), reader.rest()


@attrs.frozen
class SetDesktopSize:
    """SetDesktopSize: the size and the screens that the client would like."""

    HEADER: ClassVar[Struct] = Struct(">BxHHBx")

    width: int = uint16()
    height: int = uint16()
    screens: tuple[ScreenArea, ...] = required(validator=_at_most(0xFF))

    def pack(self) -> bytes:
        """The bytes on the wire."""
        kind = ClientMessageType.SET_DESKTOP_SIZE
        header = self.HEADER.pack(kind, self.width, self.height, len(self.screens))
        return header + b"".join(screen.pack() for screen in self.screens)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[SetDesktopSize, bytes]:
        """The structure and what follows it. Whether the screens make sense says `screens.layout_problem`.

        Raises:
            DecodeError: too short.
        """
        reader = Reader(data, "SetDesktopSize")
        _, width, height, count = reader.fields(cls.HEADER)
        return cls(width, height, unpack_screens(reader.take(count * ScreenArea.LAYOUT.size))), reader.rest()


# Both directions


@attrs.frozen
class Fence:
    """ClientFence, ServerFence: a mark in the stream, with a type that is the same in both directions."""

    HEADER: ClassVar[Struct] = Struct(">B3xIB")

    flags: int = uint32()
    """`FenceFlags`."""
    payload: bytes = bounded_bytes(255, default=b"")
    """Comes back in the answer; more than `MAX_FENCE_PAYLOAD` bytes are nobody's."""

    def pack(self) -> bytes:
        """The bytes on the wire."""
        return self.HEADER.pack(ClientMessageType.CLIENT_FENCE, self.flags, len(self.payload)) + self.payload

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[Fence, bytes]:
        """The structure and what follows it.

        Raises:
            DecodeError: too short.
        """
        reader = Reader(data, "Fence")
        _, flags, length = reader.fields(cls.HEADER)
        return cls(flags, reader.take(length)), reader.rest()


# Server to client


@attrs.frozen
class FramebufferUpdate:
    """FramebufferUpdate: only its first 4 bytes. Rectangles follow; see `rdpprov.wire.rfb.rectangles`."""

    LAYOUT: ClassVar[Struct] = Struct(">BxH")
    UNTIL_LAST_RECT: ClassVar[int] = 0xFFFF

    count: int = uint16()
    """How many rectangles follow; or as many as come before LastRect."""

    def pack(self) -> bytes:
        """4 bytes."""
        return self.LAYOUT.pack(ServerMessageType.FRAMEBUFFER_UPDATE, self.count)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[FramebufferUpdate, bytes]:
        """The structure and what follows it.

        Raises:
            DecodeError: too short.
        """
        reader = Reader(data, "FramebufferUpdate")
        return cls(reader.fields(cls.LAYOUT)[1]), reader.rest()


@attrs.frozen
class SetColourMapEntries:
    """SetColourMapEntries: what the pixels of a client with a colour map mean."""

    HEADER: ClassVar[Struct] = Struct(">BxHH")
    COLOUR: ClassVar[Struct] = Struct(">3H")

    first: int = uint16()
    """Index of the first."""
    colours: tuple[tuple[int, int, int], ...] = required(
        validator=attrs.validators.deep_iterable(_numbers(0, 0xFFFF, 3), _at_most(0xFFFF))
    )
    """Red, green and blue, 16 bits each."""

    def pack(self) -> bytes:
        """The bytes on the wire."""
        header = self.HEADER.pack(ServerMessageType.SET_COLOUR_MAP_ENTRIES, self.first, len(self.colours))
        return header + b"".join(self.COLOUR.pack(*colour) for colour in self.colours)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[SetColourMapEntries, bytes]:
        """The structure and what follows it.

        Raises:
            DecodeError: too short.
        """
        reader = Reader(data, "SetColourMapEntries")
        _, first, count = reader.fields(cls.HEADER)
        colours = cls.COLOUR.iter_unpack(reader.take(count * cls.COLOUR.size))
        return cls(first, tuple((red, green, blue) for red, green, blue in colours)), reader.rest()


@attrs.frozen
class Bell:
    """Bell: one byte."""

    def pack(self) -> bytes:
        """1 byte."""
        return bytes((ServerMessageType.BELL,))

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[Bell, bytes]:
        """The structure and what follows it.

        Raises:
            DecodeError: too short.
        """
        reader = Reader(data, "Bell")
        reader.skip(1)
        return cls(), reader.rest()


@attrs.frozen
class EndOfContinuousUpdates:
    """EndOfContinuousUpdates: one byte. At first, it says that they are possible."""

    def pack(self) -> bytes:
        """1 byte."""
        return bytes((ServerMessageType.END_OF_CONTINUOUS_UPDATES,))

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[EndOfContinuousUpdates, bytes]:
        """The structure and what follows it.

        Raises:
            DecodeError: too short.
        """
        reader = Reader(data, "EndOfContinuousUpdates")
        reader.skip(1)
        return cls(), reader.rest()


ClientMessage: TypeAlias = (
    SetPixelFormat
    | SetEncodings
    | FramebufferUpdateRequest
    | KeyEvent
    | PointerEvent
    | ClientCutText
    | EnableContinuousUpdates
    | Fence
    | SetDesktopSize
    | QemuKeyEvent
)
ServerMessage: TypeAlias = (
    FramebufferUpdate | SetColourMapEntries | Bell | ServerCutText | EndOfContinuousUpdates | Fence
)

_CLIENT_SIZES: Final = {
    ClientMessageType.SET_PIXEL_FORMAT: SetPixelFormat.LAYOUT.size,
    ClientMessageType.FRAMEBUFFER_UPDATE_REQUEST: FramebufferUpdateRequest.LAYOUT.size,
    ClientMessageType.KEY_EVENT: KeyEvent.LAYOUT.size,
    ClientMessageType.ENABLE_CONTINUOUS_UPDATES: EnableContinuousUpdates.LAYOUT.size,
}
_CLIENT_UNPACK: Final = {
    ClientMessageType.SET_PIXEL_FORMAT: SetPixelFormat.unpack,
    ClientMessageType.SET_ENCODINGS: SetEncodings.unpack,
    ClientMessageType.FRAMEBUFFER_UPDATE_REQUEST: FramebufferUpdateRequest.unpack,
    ClientMessageType.KEY_EVENT: KeyEvent.unpack,
    ClientMessageType.CLIENT_CUT_TEXT: ClientCutText.unpack,
    ClientMessageType.ENABLE_CONTINUOUS_UPDATES: EnableContinuousUpdates.unpack,
    ClientMessageType.CLIENT_FENCE: Fence.unpack,
    ClientMessageType.SET_DESKTOP_SIZE: SetDesktopSize.unpack,
    ClientMessageType.QEMU: QemuKeyEvent.unpack,
}


def client_message_size(data: Buffer, *, extended_buttons: bool = False) -> int | None:
    """Bytes of the client's message at the front of `data`, as far as it is there; None: too few to say.

    Args:
        data: from the message's type on.
        extended_buttons: as of `PointerEvent.unpack`.

    Raises:
        UnknownMessageError: of a type that we never told the client it may send.
        DecodeError: more encodings than `MAX_ENCODINGS`.
    """
    if not data:
        return None
    kind = data[0]
    size = _CLIENT_SIZES.get(kind)  # type: ignore[call-overload]
    if size is not None:
        return int(size)
    match kind:
        case ClientMessageType.POINTER_EVENT:
            if len(data) < 2:
                return None
            return PointerEvent.LAYOUT.size + bool(extended_buttons and data[1] & PointerEvent.EXTENDED)
        case ClientMessageType.SET_ENCODINGS:
            if len(data) < 4:
                return None
            count = data[2] << 8 | data[3]
            _check_encodings(count)
            return 4 + 4 * count
        case ClientMessageType.CLIENT_CUT_TEXT:
            length = cut_text_length(data)
            return None if length is None else 8 + abs(length)
        case ClientMessageType.CLIENT_FENCE:
            return 9 + data[8] if len(data) > 8 else None
        case ClientMessageType.SET_DESKTOP_SIZE:
            return 8 + 16 * data[6] if len(data) > 6 else None
        case ClientMessageType.QEMU:
            if len(data) < 2:
                return None
            if data[1] == QemuKeyEvent.SUBTYPE:
                return QemuKeyEvent.LAYOUT.size
            raise UnknownMessageError(f"QEMU message of subtype {data[1]}, which this server does not know")
        case _:
            raise UnknownMessageError(f"client message of type {kind}, which this server does not know")


def unpack_client_message(data: Buffer, *, extended_buttons: bool = False) -> tuple[ClientMessage, bytes]:
    """One whole message of a client, and what follows it.

    Raises:
        DecodeError: too short, of an unknown type, or malformed.
    """
    if data and data[0] == ClientMessageType.POINTER_EVENT:
        return PointerEvent.unpack(data, extended_buttons=extended_buttons)
    unpack = _CLIENT_UNPACK.get(data[0]) if data else None  # type: ignore[call-overload]
    if unpack is None:
        raise UnknownMessageError(f"client message of type {data[0] if data else None}")
    message: tuple[ClientMessage, bytes] = unpack(data)
    return message


def server_message_size(data: Buffer) -> int | None:
    """Bytes of the server's message at the front of `data`, of an update without its rectangles; None: too few to say.

    Raises:
        UnknownMessageError: of a type that we know nothing of.
    """
    if not data:
        return None
    match data[0]:
        case ServerMessageType.FRAMEBUFFER_UPDATE:
            return FramebufferUpdate.LAYOUT.size
        case ServerMessageType.SET_COLOUR_MAP_ENTRIES:
            return 6 + 6 * (data[4] << 8 | data[5]) if len(data) > 5 else None
        case ServerMessageType.BELL | ServerMessageType.END_OF_CONTINUOUS_UPDATES:
            return 1
        case ServerMessageType.SERVER_CUT_TEXT:
            length = cut_text_length(data)
            return None if length is None else 8 + abs(length)
        case ServerMessageType.SERVER_FENCE:
            return 9 + data[8] if len(data) > 8 else None
        case kind:
            raise UnknownMessageError(f"server message of type {kind}, which this client does not know")


_SERVER_UNPACK: Final = {
    ServerMessageType.FRAMEBUFFER_UPDATE: FramebufferUpdate.unpack,
    ServerMessageType.SET_COLOUR_MAP_ENTRIES: SetColourMapEntries.unpack,
    ServerMessageType.BELL: Bell.unpack,
    ServerMessageType.SERVER_CUT_TEXT: ServerCutText.unpack,
    ServerMessageType.END_OF_CONTINUOUS_UPDATES: EndOfContinuousUpdates.unpack,
    ServerMessageType.SERVER_FENCE: Fence.unpack,
}


def unpack_server_message(data: Buffer) -> tuple[ServerMessage, bytes]:
    """One whole message of a server, of an update without its rectangles, and what follows it.

    Raises:
        DecodeError: too short, of an unknown type, or malformed.
    """
    unpack = _SERVER_UNPACK.get(data[0]) if data else None  # type: ignore[call-overload]
    if unpack is None:
        raise UnknownMessageError(f"server message of type {data[0] if data else None}")
    message: tuple[ServerMessage, bytes] = unpack(data)
    return message


# What a client may send only after it has named the pseudo-encoding, by which it learns that the server takes it.
CLIENT_MESSAGE_NEEDS: Final = {
    EnableContinuousUpdates: Encoding.CONTINUOUS_UPDATES,
    Fence: Encoding.FENCE,
    SetDesktopSize: Encoding.EXTENDED_DESKTOP_SIZE,
    QemuKeyEvent: Encoding.QEMU_KEY_EVENT,
}
