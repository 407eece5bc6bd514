"""Pixel formats of the wire: BGRX pictures to rows of 15, 16, 24 and 32 bits a pixel, and back.

Source: [MS-RDPBCGR] 2.2.9.1.1.3.1.2.2 "Bitmap Data (TS_BITMAP_DATA)" and 2.2.7.1.2 "Bitmap Capability Set".

==== ================================= ======================== ==============================
bits one pixel, little-endian          from 8 bits a colour     back to 8 bits
==== ================================= ======================== ==============================
15   0RRRRRGG GGGBBBBB                 v >> 3                   (v << 3) | (v >> 2)
16   RRRRRGGG GGGBBBBB                 v >> 3, green v >> 2     as 15; green (v << 2) | (v >> 4)
24   bytes B, G, R                     exact                    exact
32   bytes B, G, R, FF                 exact                    exact
==== ================================= ======================== ==============================

Colours are cut, not rounded or dithered: equal pixels must stay equal, for all our codecs live on runs. Going back
repeats the upper bits, so 0 and 255 are exact and ``pack(unpack(rows)) == rows`` for every row.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdpprov.codecs.errors import CodecError
from rdpprov.errors import LocalProtocolError

__all__ = ["MAX_SIDE", "bytes_per_pixel", "check_picture", "check_size", "pack", "padded_width", "unpack", "values"]

MAX_SIDE = 8192
"""Pixels: no desktop is wider or higher ([MS-RDPBCGR] 2.2.1.3.2), so no picture is."""

_BYTES = {8: 1, 15: 2, 16: 2, 24: 3, 32: 4}


def bytes_per_pixel(bits_per_pixel: int) -> int:
    """Bytes that a pixel takes on the wire; 15 bits take two.

    Raises:
        LocalProtocolError: not one of 8, 15, 16, 24 and 32.
    """
    try:
        return _BYTES[bits_per_pixel]
    except KeyError:
        raise LocalProtocolError(f"{bits_per_pixel} bits per pixel, expected 8, 15, 16, 24 or 32") from None


def padded_width(width: int) -> int:
    """The width that a bitmap of this many columns has on the wire: a multiple of four."""
    return (width + 3) & ~3


def check_picture(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture as all codecs take it: (height, width, 4), uint8, pixels contiguous within a row.

    Copies only what lies otherwise in memory.

    Raises:
        LocalProtocolError: another shape or type, an empty picture, or more than `MAX_SIDE` pixels a side.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 4:
        raise LocalProtocolError(
            f"a picture of shape {picture.shape} and type {picture.dtype}, expected (height, width, 4) of uint8"
        )
    if not (1 <= picture.shape[0] <= MAX_SIDE and 1 <= picture.shape[1] <= MAX_SIDE):
        raise LocalProtocolError(f"a picture of {picture.shape[1]}x{picture.shape[0]}, expected 1 to {MAX_SIDE}")
    if picture.strides[1:] != (4, 1):
        return np.ascontiguousarray(picture)
    return picture


def check_size(width: int, height: int) -> None:
    """Refuse a size before memory is taken for it. It comes from a header, so it is the peer's.

    Raises:
        CodecError: less than one pixel or more than `MAX_SIDE` a side.
    """
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise CodecError(f"a picture of {width}x{height}, expected 1 to {MAX_SIDE} pixels a side")


def values(picture: NDArray[np.uint8], bits_per_pixel: int) -> NDArray[np.uint32]:
    """Each pixel as one number, the way it stands on the wire read as little-endian. 24 and 32 bits: 0x00RRGGBB.

    Returns:
        shape (height, width), uint32, memory of its own.
    """
    blue, green, red = (picture[..., plane].astype(np.uint32) for plane in range(3))
    match bits_per_pixel:
        case 15:
            pixels = (red >> 3) << 10 | (green >> 3) << 5 | blue >> 3
        case 16:
            pixels = (red >> 3) << 11 | (green >> 2) << 5 | blue >> 3
        case 24 | 32:
            pixels = red << 16 | green << 8 | blue
        case _:
            raise LocalProtocolError(f"{bits_per_pixel} bits per pixel, expected 15, 16, 24 or 32")
    return pixels.astype(np.uint32, copy=False)


def _store(pixels: NDArray[np.uint32], bits_per_pixel: int) -> NDArray[np.uint8]:
    """Pixel values to their bytes: the last axis becomes bytes_per_pixel times as long."""
    match bits_per_pixel:
        case 15 | 16:
            return np.ascontiguousarray(pixels.astype("<u2")).view(np.uint8)
        case 24:
            whole = np.ascontiguousarray(pixels.astype("<u4")).view(np.uint8).reshape(*pixels.shape, 4)
            return whole[..., :3].reshape(*pixels.shape[:-1], -1)
        case _:
            return np.ascontiguousarray((pixels | np.uint32(0xFF000000)).astype("<u4")).view(np.uint8)


def pack(picture: NDArray[np.uint8], bits_per_pixel: int) -> NDArray[np.uint8]:
    """A picture as rows of wire pixels, not padded: shape (height, width * bytes_per_pixel).

    The X byte becomes FF, since some clients take it for opacity.

    Raises:
        LocalProtocolError: not a picture, or a depth that is not 15, 16, 24 or 32.
    """
    return _store(values(check_picture(picture), bits_per_pixel), bits_per_pixel)


def unpack(rows: NDArray[np.uint8], bits_per_pixel: int) -> NDArray[np.uint8]:
    """Rows of wire pixels, shape (height, width * bytes_per_pixel), as a picture; the X byte is FF.

    Raises:
        LocalProtocolError: rows that hold no whole number of pixels, or a depth that is not 15, 16, 24 or 32.
    """
    size = bytes_per_pixel(bits_per_pixel)
    if rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] % size or bits_per_pixel == 8:
        raise LocalProtocolError(f"rows of shape {rows.shape} and type {rows.dtype} at {bits_per_pixel} bits per pixel")
    height, width = rows.shape[0], rows.shape[1] // size
    picture = np.empty((height, width, 4), np.uint8)
    picture[..., 3] = 0xFF
    if size >= 3:
        picture[..., :3] = rows.reshape(height, width, size)[..., :3]
        return picture
    pixels: NDArray[Any] = np.ascontiguousarray(rows).view("<u2")
    picture[..., 0] = _widened(pixels & 31, 5)
    if bits_per_pixel == 15:
        picture[..., 1] = _widened(pixels >> 5 & 31, 5)
        picture[..., 2] = _widened(pixels >> 10 & 31, 5)
    else:
        picture[..., 1] = _widened(pixels >> 5 & 63, 6)
        picture[..., 2] = _widened(pixels >> 11, 5)
    return picture


def _widened(colour: NDArray[Any], bits: int) -> NDArray[Any]:
    """5 or 6 bits to 8, by repeating the upper ones."""
    return colour << (8 - bits) | colour >> (2 * bits - 8)
