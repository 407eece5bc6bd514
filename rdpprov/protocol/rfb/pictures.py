"""What a client sees: where the pixels of a rectangle end, and the picture that they make.

Source: [RFC 6143] 7.7 "Encodings"; the community's text for encoding 6 and Tight.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import numpy as np

from rdpprov.api.devices import Pixels, PointerShape, Rectangle
from rdpprov.codecs import hextile, tight, zlib_streams, zrle
from rdpprov.codecs.client_pixels import PixelLayout, restore
from rdpprov.codecs.errors import CodecError
from rdpprov.protocol.rfb.events import CursorReceived, RectangleReceived
from rdpprov.wire.base import Buffer, DecodeError
from rdpprov.wire.rfb.encodings import Encoding
from rdpprov.wire.rfb.pixel_format import PixelFormat
from rdpprov.wire.rfb.rectangles import MAX_RECTANGLE, RectangleHeader, unpack_copy_rect, unpack_cursor


@lru_cache(maxsize=64)
def layout_of(pixel_format: PixelFormat) -> PixelLayout:
    """A pixel format as `rdpprov.codecs` wants it."""
    if not pixel_format.true_colour:
        return PixelLayout(pixel_format.bits_per_pixel, pixel_format.depth, pixel_format.big_endian, False)
    return PixelLayout(
        pixel_format.bits_per_pixel,
        pixel_format.depth,
        pixel_format.big_endian,
        True,
        (pixel_format.red_max, pixel_format.green_max, pixel_format.blue_max),
        (pixel_format.red_shift, pixel_format.green_shift, pixel_format.blue_shift),
    )


def _raw(data: Buffer, width: int, height: int, layout: PixelLayout) -> int:
    return width * height * layout.bytes_per_pixel


def _copy_rect(data: Buffer, width: int, height: int, layout: PixelLayout) -> int:
    return 4


def _with_length(data: Buffer, width: int, height: int, layout: PixelLayout) -> int | None:
    return zlib_streams.payload_size(data)


_SIZES: Final[dict[int, Callable[[Buffer, int, int, PixelLayout], int | None]]] = {
    Encoding.RAW: _raw,
    Encoding.COPY_RECT: _copy_rect,
    Encoding.HEXTILE: hextile.payload_size,
    Encoding.ZLIB: _with_length,
    Encoding.TIGHT: tight.payload_size,
    Encoding.ZRLE: _with_length,
}

PICTURE_ENCODINGS: Final = frozenset(_SIZES)
"""Encodings of pixels that our client reads."""


def picture_data_size(header: RectangleHeader, pixel_format: PixelFormat, data: Buffer) -> int | None:
    """Bytes that follow the header of a rectangle of pixels.

    Args:
        header: its encoding is one of `PICTURE_ENCODINGS`.
        pixel_format: of the pixels.
        data: what follows the header, as far as it is there.

    Returns:
        their number; None: too little is there to say.

    Raises:
        RemoteProtocolError: malformed, or larger than `MAX_RECTANGLE`.
    """
    size = _SIZES[header.encoding](data, header.width, header.height, layout_of(pixel_format))
    if size is not None and size > MAX_RECTANGLE:
        raise DecodeError(f"a rectangle of {size} bytes, {MAX_RECTANGLE} are allowed")
    return size


class RectangleDecoder:
    """The picture that a client keeps. One for each connection: the zlib streams of the encodings last as long.

    Args:
        width: of the desktop, in pixels.
        height: likewise.
    """

    def __init__(self, width: int, height: int) -> None:
        self.picture: Pixels = np.zeros((height, width, 4), np.uint8)
        """BGRX, shape (height, width, 4)."""
        self._zlib = zlib_streams.new_decompressor()
        self._zrle = zlib_streams.new_decompressor()
        self._tight = tight.TightDecompressors()

    def resize(self, width: int, height: int) -> None:
        """The desktop has another size: what fits of the picture stays, until it is painted anew."""
        picture = np.zeros((height, width, 4), np.uint8)
        old = self.picture[:height, :width]
        picture[: old.shape[0], : old.shape[1]] = old
        self.picture = picture

    def paint(self, rectangle: RectangleReceived) -> None:
        """Decode a rectangle into the picture. All of them must come here, in their order.

        Raises:
            RemoteProtocolError: it is malformed, or is not inside the picture.
        """
        area = rectangle.area
        if area.right > self.picture.shape[1] or area.bottom > self.picture.shape[0]:
            raise DecodeError(f"a rectangle up to {area.right}, {area.bottom} on a picture of {self._size()}")
        if area.is_empty():
            return
        if rectangle.encoding == Encoding.COPY_RECT:
            self._copy(area, *unpack_copy_rect(rectangle.data))
        else:
            self.picture[area.top : area.bottom, area.left : area.right] = self._decode(rectangle)

    def _copy(self, area: Rectangle, x: int, y: int) -> None:
        if x + area.width > self.picture.shape[1] or y + area.height > self.picture.shape[0]:
            raise DecodeError(f"CopyRect: {area.width}x{area.height} from {x}, {y} of a picture of {self._size()}")
        source = self.picture[y : y + area.height, x : x + area.width].copy()  # the two may overlap
        self.picture[area.top : area.bottom, area.left : area.right] = source

    def _decode(self, rectangle: RectangleReceived) -> Pixels:
        layout, data = layout_of(rectangle.pixel_format), rectangle.data
        width, height = rectangle.area.width, rectangle.area.height
        match rectangle.encoding:
            case Encoding.RAW:
                if len(data) != width * height * layout.bytes_per_pixel:
                    raise CodecError(f"Raw: {len(data)} bytes for {width}x{height}")
                pixels = np.frombuffer(data, layout.dtype).reshape(height, width)
            case Encoding.HEXTILE:
                pixels = hextile.decode(data, width, height, layout)
            case Encoding.ZLIB:
                pixels = zlib_streams.decode(data, width, height, layout, self._zlib)
            case Encoding.ZRLE:
                pixels = zrle.decode(data, width, height, layout, self._zrle)
            case Encoding.TIGHT:
                pixels = tight.decode(data, width, height, layout, self._tight)
            case encoding:
                raise DecodeError(f"nothing here decodes encoding {encoding}")
        return restore(pixels, layout)

    def _size(self) -> str:
        return f"{self.picture.shape[1]}x{self.picture.shape[0]}"


def pointer_shape(cursor: CursorReceived) -> PointerShape:
    """The shape of a pointer, with straight alpha, from any of the three encodings that we send.

    Raises:
        RemoteProtocolError: of another encoding.
    """
    width, height = cursor.width, cursor.height
    colours, mask = unpack_cursor(cursor.encoding, width, height, cursor.pixel_format, cursor.data)
    pixels = np.zeros((height, width, 4), np.uint8)
    if mask:
        layout = layout_of(cursor.pixel_format)
        pixels[...] = restore(np.frombuffer(colours, layout.dtype).reshape(height, width), layout)
        bits = np.unpackbits(np.frombuffer(mask, np.uint8).reshape(height, -1), axis=1, count=width)
        pixels[..., 3] = bits * np.uint8(0xFF)
    elif colours:
        rgba = np.frombuffer(colours, np.uint8).reshape(height, width, 4)
        pixels[...] = rgba[..., [2, 1, 0, 3]]
        if cursor.encoding == Encoding.CURSOR_WITH_ALPHA:  # premultiplied
            alpha = np.maximum(pixels[..., 3:].astype(np.uint16), 1)
            straight = (pixels[..., :3].astype(np.uint16) * 255 + alpha // 2) // alpha
            pixels[..., :3] = np.minimum(straight, 255)
    return PointerShape(width, height, cursor.hot_x, cursor.hot_y, pixels)
