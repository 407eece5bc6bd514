"""The rectangles of a FramebufferUpdate: pixels, and what pseudo-encodings carry as if it were pixels.

Of the pixels only the frame is here: where a rectangle ends. What is in it is for `rdpprov.codecs`.

Source: [RFC 6143] 7.6.1, 7.7, 7.8; for the rest the community's text, "Encodings", "Pseudo-encodings".
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from struct import Struct
from struct import error as StructError  # noqa: N812 - a class
from typing import ClassVar, Final, Protocol

import attrs

from rdpprov.errors import LocalProtocolError
from rdpprov.wire.base import Buffer, DecodeError, integer, uint16
from rdpprov.wire.rfb.encodings import Encoding
from rdpprov.wire.rfb.pixel_format import PixelFormat
from rdpprov.wire.rfb.screens import ResizeReason, ResizeStatus, ScreenArea, unpack_screens

_U16 = Struct(">H")
_U32 = Struct(">I")
_I32 = Struct(">i")
_int32 = integer(-(2**31), 2**31 - 1, "int32")
_VMWARE_ALPHA: Final = 1  # of the two types of VMware's cursors; 0 has two masks

MAX_CURSOR: Final = 256
"""Pixels: wider or higher cursors end the connection in TigerVNC's viewer, and in our client."""
MAX_RECTANGLE: Final = 64 * 1024 * 1024
"""Bytes of a rectangle that a client reads."""
MAX_NAME: Final = 1024 * 1024


class LedState(IntEnum):
    """Bits of the lock keys' state."""

    SCROLL_LOCK = 1
    NUM_LOCK = 2
    CAPS_LOCK = 4


@attrs.frozen
class RectangleHeader:
    """What stands before each rectangle: 12 bytes, big-endian."""

    LAYOUT: ClassVar[Struct] = Struct(">4Hi")

    x: int = uint16()
    y: int = uint16()
    width: int = uint16()
    height: int = uint16()
    encoding: int = _int32()
    """`Encoding`. Below zero x, y, width and height often mean something else."""

    def pack(self) -> bytes:
        """12 bytes."""
        return self.LAYOUT.pack(self.x, self.y, self.width, self.height, self.encoding)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[RectangleHeader, bytes]:
        """The structure and what follows it.

        Raises:
            DecodeError: too short.
        """
        if len(data) < cls.LAYOUT.size:
            raise DecodeError(f"rectangle: {len(data)} bytes")
        return cls(*cls.LAYOUT.unpack_from(data)), bytes(data[cls.LAYOUT.size :])


@attrs.frozen
class EncodedRectangle:
    """A rectangle as it goes out: its header's fields and what follows the header."""

    x: int = uint16()
    y: int = uint16()
    width: int = uint16()
    height: int = uint16()
    encoding: int = _int32()
    """`Encoding`."""
    data: bytes = attrs.field(default=b"", repr=False)

    def pack(self) -> bytes:
        """The bytes on the wire."""
        return pack_rectangle_header(self) + self.data


class RectangleToSend(Protocol):
    """What an `EncodedRectangle` has. Who makes hundreds a frame may have a cheaper class for them."""

    @property
    def x(self) -> int:
        """Pixels; from 0 to 65535, as the next three."""

    @property
    def y(self) -> int:
        """Pixels."""

    @property
    def width(self) -> int:
        """Pixels."""

    @property
    def height(self) -> int:
        """Pixels."""

    @property
    def encoding(self) -> int:
        """`Encoding`."""

    @property
    def data(self) -> bytes:
        """What follows the header."""


def pack_rectangle_header(rectangle: RectangleToSend) -> bytes:
    """The 12 bytes before the data.

    Raises:
        LocalProtocolError: a number does not fit.
    """
    try:
        return RectangleHeader.LAYOUT.pack(
            rectangle.x, rectangle.y, rectangle.width, rectangle.height, rectangle.encoding
        )
    except StructError as error:
        raise LocalProtocolError(f"rectangle: {error}") from None


# What a server says by pseudo-encodings, and CopyRect


def copy_rect(x: int, y: int, width: int, height: int, source_x: int, source_y: int) -> EncodedRectangle:
    """The client copies from its own picture, as it is after the rectangles before this one."""
    data = _U16.pack(source_x) + _U16.pack(source_y)
    return EncodedRectangle(x, y, width, height, Encoding.COPY_RECT, data)


def cursor(hot_x: int, hot_y: int, width: int, height: int, pixels: bytes, mask: bytes) -> EncodedRectangle:
    """The pointer's shape in the client's pixel format.

    Args:
        hot_x: the tip, in pixels from the left.
        hot_y: likewise, from the top.
        width: of the shape; 0 by 0 hides the pointer.
        height: likewise.
        pixels: rows, in the client's format.
        mask: rows of bits, padded to bytes, highest bit first; 1 is opaque.
    """
    return EncodedRectangle(hot_x, hot_y, width, height, Encoding.CURSOR, pixels + mask)


def cursor_with_alpha(hot_x: int, hot_y: int, width: int, height: int, rgba: bytes) -> EncodedRectangle:
    """The pointer's shape as red, green, blue, alpha of 8 bits each, whatever the client's format.

    Args:
        hot_x: the tip, in pixels from the left.
        hot_y: likewise, from the top.
        width: of the shape.
        height: likewise.
        rgba: rows; colours are premultiplied by alpha.
    """
    data = _I32.pack(Encoding.RAW) + rgba
    return EncodedRectangle(hot_x, hot_y, width, height, Encoding.CURSOR_WITH_ALPHA, data)


def vmware_cursor(hot_x: int, hot_y: int, width: int, height: int, rgba: bytes) -> EncodedRectangle:
    """As `cursor_with_alpha`, but alpha is straight; noVNC swaps red and blue in every other cursor."""
    return EncodedRectangle(hot_x, hot_y, width, height, Encoding.VMWARE_CURSOR, bytes((_VMWARE_ALPHA, 0)) + rgba)


def pointer_position(x: int, y: int) -> EncodedRectangle:
    """The server moved the pointer."""
    return EncodedRectangle(x, y, 0, 0, Encoding.POINTER_POSITION)


def vmware_cursor_position(x: int, y: int) -> EncodedRectangle:
    """The server moved the pointer, for viewers like TigerVNC's."""
    return EncodedRectangle(x, y, 0, 0, Encoding.VMWARE_CURSOR_POSITION)


def led_state(state: int) -> EncodedRectangle:
    """Which lock keys are on: `LedState`."""
    return EncodedRectangle(0, 0, 0, 0, Encoding.LED_STATE, bytes((state,)))


def vmware_led_state(state: int) -> EncodedRectangle:
    """Likewise, for viewers that know only this one."""
    return EncodedRectangle(0, 0, 0, 0, Encoding.VMWARE_LED_STATE, _U32.pack(state))


def desktop_size(width: int, height: int) -> EncodedRectangle:
    """The desktop has a new size. Alone in its update, or last."""
    return EncodedRectangle(0, 0, width, height, Encoding.DESKTOP_SIZE)


def extended_desktop_size(
    width: int,
    height: int,
    screens: Sequence[ScreenArea],
    reason: ResizeReason = ResizeReason.SERVER,
    status: ResizeStatus = ResizeStatus.OK,
) -> EncodedRectangle:
    """The desktop's size and screens. No pixels in the same update."""
    data = bytes((len(screens), 0, 0, 0)) + b"".join(screen.pack() for screen in screens)
    return EncodedRectangle(reason, status, width, height, Encoding.EXTENDED_DESKTOP_SIZE, data)


def desktop_name(name: str) -> EncodedRectangle:
    """The desktop has a new name."""
    encoded = name.encode("utf-8", "replace")
    return EncodedRectangle(0, 0, 0, 0, Encoding.DESKTOP_NAME, _U32.pack(len(encoded)) + encoded)


QEMU_KEY_EVENTS: Final = EncodedRectangle(0, 0, 0, 0, Encoding.QEMU_KEY_EVENT)
"""The server takes keys by their place."""
EXTENDED_MOUSE_BUTTONS: Final = EncodedRectangle(0, 0, 0, 0, Encoding.EXTENDED_MOUSE_BUTTONS)
"""The server takes more than eight buttons."""
LAST_RECT: Final = EncodedRectangle(0, 0, 0, 0, Encoding.LAST_RECT)
"""No more rectangles in this update."""


def unpack_extended_desktop_size(data: bytes) -> tuple[ScreenArea, ...]:
    """The screens in such a rectangle's data."""
    return unpack_screens(data[4:])


def unpack_desktop_name(data: bytes) -> str:
    """The name in such a rectangle's data."""
    return data[4:].decode("utf-8", "replace")


def unpack_copy_rect(data: bytes) -> tuple[int, int]:
    """Where CopyRect copies from: x and y."""
    return _U16.unpack_from(data)[0], _U16.unpack_from(data, 2)[0]


def unpack_cursor(
    encoding: int, width: int, height: int, pixel_format: PixelFormat, data: bytes
) -> tuple[bytes, bytes]:
    """What is in the data of a pointer's shape.

    Args:
        encoding: CURSOR; or CURSOR_WITH_ALPHA or VMWARE_CURSOR, then the pixels are red, green, blue, alpha.
        width: of the shape, in pixels.
        height: likewise.
        pixel_format: the client's.
        data: as long as `pseudo_data_size` says.

    Returns:
        rows of pixels, and rows of mask bits, padded to bytes; no mask where there is alpha.

    Raises:
        DecodeError: another encoding, or the classic form of VMware's, which we never send.
    """
    match encoding:
        case Encoding.CURSOR:
            size = width * height * pixel_format.bytes_per_pixel
            return data[:size], data[size:]
        case Encoding.CURSOR_WITH_ALPHA:
            return data[4:], b""
        case Encoding.VMWARE_CURSOR if data[0] == _VMWARE_ALPHA:
            return data[2:], b""
        case _:
            raise DecodeError(f"a cursor in encoding {encoding}, which this client does not draw")


# Where a rectangle that is no pixels ends


class UnknownEncodingError(DecodeError):
    """A rectangle in an encoding that this client never asked for. What follows it cannot be understood."""


def pseudo_data_size(header: RectangleHeader, pixel_format: PixelFormat, data: Buffer) -> int | None:
    """Bytes that follow the header of a pseudo-encoding's rectangle.

    Args:
        header: of the rectangle.
        pixel_format: the client's.
        data: what follows the header, as far as it is there.

    Returns:
        their number; None: too little is there to say.

    Raises:
        UnknownEncodingError: of an encoding that we cannot read.
        DecodeError: malformed or too large.
    """
    match header.encoding:
        case Encoding.CURSOR:
            _check_cursor(header)
            mask = (header.width + 7) // 8
            return header.height * (header.width * pixel_format.bytes_per_pixel + mask)
        case Encoding.CURSOR_WITH_ALPHA:
            _check_cursor(header)
            if len(data) < 4:
                return None
            if _I32.unpack_from(data)[0] != Encoding.RAW:
                raise UnknownEncodingError("a cursor with alpha in another encoding than Raw")
            return 4 + 4 * header.width * header.height
        case Encoding.VMWARE_CURSOR:
            _check_cursor(header)
            if not data:
                return None
            if data[0] > _VMWARE_ALPHA:
                raise DecodeError(f"VMware cursor: type {data[0]}")
            pixel = 4 if data[0] == _VMWARE_ALPHA else 2 * pixel_format.bytes_per_pixel
            return 2 + header.width * header.height * pixel
        case Encoding.EXTENDED_DESKTOP_SIZE:
            return 4 + ScreenArea.LAYOUT.size * data[0] if data else None
        case Encoding.DESKTOP_NAME:
            if len(data) < 4:
                return None
            length: int = _U32.unpack_from(data)[0]
            if length > MAX_NAME:
                raise DecodeError(f"a name of {length} bytes, {MAX_NAME} are allowed")
            return 4 + length
        case encoding if encoding in _FIXED:
            return _FIXED[encoding]
        case encoding:
            raise UnknownEncodingError(f"a rectangle in encoding {encoding}, which this client does not know")


def _check_cursor(header: RectangleHeader) -> None:
    if header.width > MAX_CURSOR or header.height > MAX_CURSOR:
        raise DecodeError(f"a cursor of {header.width}x{header.height}, {MAX_CURSOR} are allowed")


_FIXED: Final[dict[int, int]] = {
    Encoding.POINTER_POSITION: 0,
    Encoding.VMWARE_CURSOR_POSITION: 0,
    Encoding.LED_STATE: 1,
    Encoding.VMWARE_LED_STATE: 4,
    Encoding.DESKTOP_SIZE: 0,
    Encoding.QEMU_KEY_EVENT: 0,
    Encoding.EXTENDED_MOUSE_BUTTONS: 0,
    Encoding.LAST_RECT: 0,
}

CURSOR_ENCODINGS: Final = frozenset({Encoding.CURSOR, Encoding.CURSOR_WITH_ALPHA, Encoding.VMWARE_CURSOR})
PSEUDO_ENCODINGS: Final = CURSOR_ENCODINGS | {Encoding.EXTENDED_DESKTOP_SIZE, Encoding.DESKTOP_NAME} | set(_FIXED)
"""Of which `pseudo_data_size` finds the end."""
