"""The rectangles of a FramebufferUpdate: pixels, and what pseudo-encodings carry as if it were pixels.

Of the pixels only the frame is here: where a rectangle ends. What is in it is for `rdpprov.codecs`.

Source: [RFC 6143] 7.6.1, 7.7, 7.8; for the rest the community's text, "Encodings", "Pseudo-encodings".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from struct import Struct
from typing import ClassVar, Final

import attrs

from rdpprov.wire.base import Buffer, DecodeError, integer, uint16
from rdpprov.wire.rfb.encodings import Encoding
from rdpprov.wire.rfb.pixel_format import PixelFormat
from rdpprov.wire.rfb.screens import ResizeReason, ResizeStatus, ScreenArea, unpack_screens

_U16 = Struct(">H")
_U32 = Struct(">I")
_I32 = Struct(">i")
_int32 = integer(-(2**31), 2**31 - 1, "int32")

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

    def pack_parts(self) -> tuple[bytes, bytes]:
        """The bytes on the wire, header and data apart: the data may be large, and is not copied."""
        return RectangleHeader.LAYOUT.pack(self.x, self.y, self.width, self.height, self.encoding), self.data

    def pack(self) -> bytes:
        """The bytes on the wire."""
        return b"".join(self.pack_parts())


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
    return EncodedRectangle(hot_x, hot_y, width, height, Encoding.VMWARE_CURSOR, b"\x01\x00" + rgba)


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


# Where a rectangle ends


class UnknownEncodingError(DecodeError):
    """A rectangle in an encoding that this client never asked for. What follows it cannot be understood."""


def rectangle_data_size(header: RectangleHeader, pixel_format: PixelFormat, data: Buffer) -> int | None:
    """Bytes that follow a rectangle's header.

    Args:
        header: of the rectangle.
        pixel_format: the client's.
        data: what follows the header, as far as it is there.

    Returns:
        their number; None: too little is there to say.

    Raises:
        UnknownEncodingError: of an encoding that we cannot read.
        DecodeError: malformed, or larger than `MAX_RECTANGLE`.
    """
    function = _DATA_SIZES.get(header.encoding)  # type: ignore[call-overload]
    if function is None:
        raise UnknownEncodingError(f"a rectangle in encoding {header.encoding}, which this client does not know")
    size: int | None = function(header, pixel_format, data)
    if size is not None and size > MAX_RECTANGLE:
        raise DecodeError(f"a rectangle of {size} bytes, {MAX_RECTANGLE} are allowed")
    return size


def _raw(header: RectangleHeader, pixel_format: PixelFormat, data: Buffer) -> int:
    return header.width * header.height * pixel_format.bytes_per_pixel


def _nothing(header: RectangleHeader, pixel_format: PixelFormat, data: Buffer) -> int:
    return 0


def _rre(header: RectangleHeader, pixel_format: PixelFormat, data: Buffer) -> int | None:
    pixel = pixel_format.bytes_per_pixel
    return 4 + pixel + _U32.unpack_from(data)[0] * (pixel + 8) if len(data) >= 4 else None


def _corre(header: RectangleHeader, pixel_format: PixelFormat, data: Buffer) -> int | None:
    pixel = pixel_format.bytes_per_pixel
    return 4 + pixel + _U32.unpack_from(data)[0] * (pixel + 4) if len(data) >= 4 else None


def _with_length(header: RectangleHeader, pixel_format: PixelFormat, data: Buffer) -> int | None:
    return 4 + int(_U32.unpack_from(data)[0]) if len(data) >= 4 else None


def _hextile(header: RectangleHeader, pixel_format: PixelFormat, data: Buffer) -> int | None:
    pixel, at = pixel_format.bytes_per_pixel, 0
    for top in range(0, header.height, 16):
        height = min(16, header.height - top)
        for left in range(0, header.width, 16):
            if at >= len(data):
                return None
            mask = data[at]
            at += 1
            if mask & 1:  # raw
                at += min(16, header.width - left) * height * pixel
                continue
            at += pixel * ((mask >> 1 & 1) + (mask >> 2 & 1))  # background, foreground
            if mask & 8:
                if at >= len(data):
                    return None
                at += 1 + data[at] * (2 + (pixel if mask & 16 else 0))
    return at


_TIGHT_PLAIN: Final = 12
"""Fewer bytes than this are not compressed, and have no length."""


def _tight(header: RectangleHeader, pixel_format: PixelFormat, data: Buffer) -> int | None:
    if not data:
        return None
    pixel, kind = pixel_format.bytes_per_tight_pixel, data[0] >> 4
    if kind == 8:  # fill
        return 1 + pixel
    if kind == 9:  # JPEG
        return _compact(data, 1)
    if kind & 8:
        raise DecodeError(f"Tight: control byte 0x{data[0]:02x}")
    at, size = 1, header.width * header.height * pixel
    if kind & 4:
        if len(data) < 2:
            return None
        at += 1
        if data[1] == 1:  # palette
            if len(data) < 3:
                return None
            colours = data[2] + 1
            at += 1 + colours * pixel
            row = header.width if colours > 2 else (header.width + 7) // 8
            size = row * header.height
        elif data[1] not in (0, 2):
            raise DecodeError(f"Tight: filter {data[1]}")
    if size < _TIGHT_PLAIN:
        return at + size
    return _compact(data, at)


def _compact(data: Buffer, at: int) -> int | None:
    """Where a piece ends that begins at `at` by its length: 7, 7 and 8 bits, lowest first."""
    length = 0
    for shift in (0, 7, 14):
        if at >= len(data):
            return None
        byte = data[at]
        at += 1
        if shift == 14:
            return at + (length | byte << shift)
        length |= (byte & 0x7F) << shift
        if not byte & 0x80:
            break
    return at + length


def _check_cursor(header: RectangleHeader) -> None:
    if header.width > MAX_CURSOR or header.height > MAX_CURSOR:
        raise DecodeError(f"a cursor of {header.width}x{header.height}, {MAX_CURSOR} are allowed")


def _cursor(header: RectangleHeader, pixel_format: PixelFormat, data: Buffer) -> int:
    _check_cursor(header)
    return header.height * (header.width * pixel_format.bytes_per_pixel + (header.width + 7) // 8)


def _x_cursor(header: RectangleHeader, pixel_format: PixelFormat, data: Buffer) -> int:
    _check_cursor(header)
    return 6 + 2 * header.height * ((header.width + 7) // 8) if header.width and header.height else 0


def _cursor_with_alpha(header: RectangleHeader, pixel_format: PixelFormat, data: Buffer) -> int | None:
    _check_cursor(header)
    if len(data) < 4:
        return None
    if _I32.unpack_from(data)[0] != Encoding.RAW:
        raise UnknownEncodingError("a cursor with alpha in another encoding than Raw")
    return 4 + 4 * header.width * header.height


def _vmware_cursor(header: RectangleHeader, pixel_format: PixelFormat, data: Buffer) -> int | None:
    _check_cursor(header)
    if len(data) < 2:
        return None
    if data[0] > 1:
        raise DecodeError(f"VMware cursor: type {data[0]}")
    return 2 + header.width * header.height * (4 if data[0] else 2 * pixel_format.bytes_per_pixel)


def _extended_desktop_size(header: RectangleHeader, pixel_format: PixelFormat, data: Buffer) -> int | None:
    return 4 + 16 * data[0] if data else None


def _desktop_name(header: RectangleHeader, pixel_format: PixelFormat, data: Buffer) -> int | None:
    size = _with_length(header, pixel_format, data)
    if size is not None and size > MAX_NAME:
        raise DecodeError(f"a name of {size - 4} bytes")
    return size


_DATA_SIZES: Final[dict[Encoding, Callable[[RectangleHeader, PixelFormat, Buffer], int | None]]] = {
    Encoding.RAW: _raw,
    Encoding.COPY_RECT: lambda header, pixel_format, data: 4,
    Encoding.RRE: _rre,
    Encoding.CORRE: _corre,
    Encoding.HEXTILE: _hextile,
    Encoding.ZLIB: _with_length,
    Encoding.TIGHT: _tight,
    Encoding.ZRLE: _with_length,
    Encoding.CURSOR: _cursor,
    Encoding.X_CURSOR: _x_cursor,
    Encoding.CURSOR_WITH_ALPHA: _cursor_with_alpha,
    Encoding.VMWARE_CURSOR: _vmware_cursor,
    Encoding.VMWARE_CURSOR_POSITION: _nothing,
    Encoding.POINTER_POSITION: _nothing,
    Encoding.LED_STATE: lambda header, pixel_format, data: 1,
    Encoding.VMWARE_LED_STATE: lambda header, pixel_format, data: 4,
    Encoding.DESKTOP_SIZE: _nothing,
    Encoding.EXTENDED_DESKTOP_SIZE: _extended_desktop_size,
    Encoding.DESKTOP_NAME: _desktop_name,
    Encoding.QEMU_KEY_EVENT: _nothing,
    Encoding.EXTENDED_MOUSE_BUTTONS: _nothing,
    Encoding.LAST_RECT: _nothing,
}

READABLE_ENCODINGS: Final = frozenset(_DATA_SIZES)
"""Of which `rectangle_data_size` finds the end."""
