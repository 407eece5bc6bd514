"""Pointer shapes: BGRA pictures to the masks of pointer updates, and back.

Source: [MS-RDPBCGR] 2.2.9.1.1.4.4 "Color Pointer Update (TS_COLORPOINTERATTRIBUTE)", 2.2.9.1.1.4.5 "New Pointer Update
(TS_POINTERATTRIBUTE)", 2.2.9.1.2.1.11 "Fast-Path Large Pointer Update (TS_FP_LARGEPOINTERATTRIBUTE)". A colour pointer
update carries 24 bits a pixel, the others any.

A shape is an XOR mask (colours) and an AND mask (a bit a pixel, 1: the screen shows through). Rows of both are padded
to two bytes and bottom-up; at 1 bit a pixel real clients read both top-down. Where AND is 1, XOR black means
transparent and white means inverted; nothing else is defined there, so nothing else is sent.
"""

import attrs
import numpy as np
from numpy.typing import NDArray

from rdpprov.codecs.errors import CodecError
from rdpprov.errors import LocalProtocolError

__all__ = ["LARGE_POINTER", "POINTER", "POINTER_96", "EncodedPointer", "decode_pointer", "encode_pointer"]

POINTER = 32
"""Pixels a side that every client takes."""
POINTER_96 = 96
"""... with LARGE_POINTER_FLAG_96x96."""
LARGE_POINTER = 384
"""... in a large pointer update, with LARGE_POINTER_FLAG_384x384."""


@attrs.frozen
class EncodedPointer:
    """A shape as pointer updates carry it, all but its packing and its place in the client's cache."""

    width: int
    """Pixels, 1 to `LARGE_POINTER`."""
    height: int
    hot_x: int
    """The pointer's tip, inside the shape."""
    hot_y: int
    bits_per_pixel: int
    """xorBpp: 1, 24 or 32."""
    xor_mask: bytes = attrs.field(repr=False)
    and_mask: bytes = attrs.field(repr=False)


def encode_pointer(
    pixels: NDArray[np.uint8], hot_x: int, hot_y: int, *, bits_per_pixel: int = 32, max_side: int = POINTER
) -> EncodedPointer:
    """Encode a shape.

    Pixels of less than half opacity are transparent for clients that know no alpha; with 32 bits the others show them
    as dark as they are, which is what shadows are made of.

    Args:
        pixels: (height, width, 4) uint8 BGRA, straight alpha, row 0 at the top.
        hot_x, hot_y: the pointer's tip; moved into the shape if it lies outside.
        bits_per_pixel: 32 for clients that take new pointer updates; 24, all that a colour pointer update can say; or
            1: black and white. Never 16: clients disagree whether that means 15.
        max_side: pixels that the client takes. A larger shape is cut, around its tip.

    Raises:
        LocalProtocolError: no such picture (an invisible pointer is an update of its own), depth or limit.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 4 or 0 in pixels.shape:
        raise LocalProtocolError(f"a pointer of shape {pixels.shape} and type {pixels.dtype}")
    if bits_per_pixel not in {1, 24, 32} or not 1 <= max_side <= LARGE_POINTER:
        raise LocalProtocolError(f"a pointer of {bits_per_pixel} bits per pixel, at most {max_side} pixels a side")
    rows, hot_y = _cut(pixels.shape[0], hot_y, max_side)
    columns, hot_x = _cut(pixels.shape[1], hot_x, max_side)
    shape = pixels[rows, columns]
    transparent = shape[..., 3] < 128
    if bits_per_pixel == 1:
        light = _light(shape) & ~transparent
        return EncodedPointer(
            shape.shape[1], shape.shape[0], hot_x, hot_y, 1, _mask(light).tobytes(), _mask(transparent).tobytes()
        )
    # Duty: black where AND is 1. rdesktop takes 32 bits a pixel but ignores alpha, and shows what is there.
    colours = np.where(transparent[..., np.newaxis], np.uint8(0), shape[..., :3])
    parts = (colours, shape[..., 3:]) if bits_per_pixel == 32 else (colours,)
    xor = _padded(np.concatenate(parts, axis=2).reshape(shape.shape[0], -1))
    return EncodedPointer(
        shape.shape[1],
        shape.shape[0],
        hot_x,
        hot_y,
        bits_per_pixel,
        xor[::-1].tobytes(),
        _mask(transparent)[::-1].tobytes(),
    )


def decode_pointer(xor_mask: bytes, and_mask: bytes, width: int, height: int, bits_per_pixel: int) -> NDArray[np.uint8]:
    """Decode a shape of 1, 24 or 32 bits a pixel to BGRA, row 0 at the top. Inverted pixels become a checkerboard.

    Raises:
        CodecError: a size of zero or above `LARGE_POINTER`, masks of another length than the size says, or a depth that
            we do not send.
    """
    if not (1 <= width <= LARGE_POINTER and 1 <= height <= LARGE_POINTER):
        raise CodecError(f"a pointer of {width}x{height}, expected 1 to {LARGE_POINTER}")
    if bits_per_pixel not in {1, 24, 32}:
        raise CodecError(f"a pointer of {bits_per_pixel} bits per pixel, expected 1, 24 or 32")
    xor_stride, and_stride = _stride(width, bits_per_pixel), _stride(width, 1)
    if len(xor_mask) != xor_stride * height or len(and_mask) != and_stride * height:
        raise CodecError(
            f"masks of {len(xor_mask)} and {len(and_mask)} bytes, "
            f"expected {xor_stride * height} and {and_stride * height}"
        )
    xor = np.frombuffer(xor_mask, np.uint8).reshape(height, xor_stride)
    screen = np.unpackbits(np.frombuffer(and_mask, np.uint8).reshape(height, and_stride), axis=1, count=width)
    pixels = np.empty((height, width, 4), np.uint8)
    if bits_per_pixel == 1:
        pixels[..., :3] = np.unpackbits(xor, axis=1, count=width)[..., np.newaxis] * np.uint8(255)
        pixels[..., 3] = 255
    else:
        xor, screen = xor[::-1], screen[::-1]
        size = bits_per_pixel // 8
        coloured = xor[:, : width * size].reshape(height, width, size)
        pixels[..., :3] = coloured[..., :3]
        pixels[..., 3] = coloured[..., 3] if size == 4 else 255
    through = screen.astype(np.bool_)
    opaque = pixels[..., 3] == 255
    white = through & opaque & (pixels[..., :3] == 255).all(axis=2)
    black = through & opaque & (pixels[..., :3] == 0).all(axis=2)
    pixels[black] = 0
    checkers = (np.indices((height, width)).sum(axis=0) & 1).astype(np.uint8) * np.uint8(255)
    pixels[white, :3] = checkers[white, np.newaxis]
    return pixels


def _cut(length: int, hot: int, most: int) -> tuple[slice, int]:
    """The part of one side that is sent, and where the tip is in it."""
    hot = min(max(hot, 0), length - 1)
    if length <= most:
        return slice(0, length), hot
    start = min(max(hot - most // 2, 0), length - most)
    return slice(start, start + most), hot - start


def _light(shape: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether a pixel is rather white than black, by the weights of ITU-R BT.601 in 256ths."""
    blue, green, red = (shape[..., plane].astype(np.uint16) for plane in range(3))
    return (29 * blue + 150 * green + 77 * red) >= 128 * 256


def _stride(width: int, bits_per_pixel: int) -> int:
    return ((width * bits_per_pixel + 7) // 8 + 1) & ~1


def _mask(bits: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A bit a pixel, the first in the top bit."""
    return _padded(np.packbits(bits, axis=1))


def _padded(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.pad(rows, ((0, 0), (0, rows.shape[1] & 1)))
