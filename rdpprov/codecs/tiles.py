"""Many tiles of one picture at once: encoded, and told apart by their content.

A *tile* is four int32: left, top, right, bottom in the picture, right and bottom exclusive; tiles are an array of shape
(count, 4). Working on many at once keeps Python out of the way: the extension does them all without the GIL.
"""

import hashlib
import itertools
import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdpprov.codecs import planar, rle
from rdpprov.codecs.native import extension
from rdpprov.codecs.pixels import bytes_per_pixel, check_picture, pack, padded_width, values
from rdpprov.errors import LocalProtocolError

__all__ = [
    "DIGEST_SIZE",
    "KEY_SIZE",
    "MAX_PIXELS",
    "EncodedTile",
    "digest_tiles",
    "encode_tiles",
    "joined_digests",
    "pack_tiles",
    "solid_colour",
]

MAX_PIXELS = 16384
"""Of one tile, its width rounded up to a multiple of four."""
KEY_SIZE = 4 * MAX_PIXELS + 16
"""Random bytes that a digest key has."""
DIGEST_SIZE = 33
"""Bytes of a digest that the extension makes."""

_HEADER = 8  # TS_CD_HEADER, which may go before a compressed bitmap


class EncodedTile(NamedTuple):
    """A tile as a bitmap update carries it. A tuple, not attrs: there are hundreds a frame."""

    compressed: bool
    data: bytes
    """The stream, or pixels of the depth, rows not padded: with a width that is a multiple of four they need none."""
    digest: bytes
    """Of the very pixels that are in ``data``; empty without a key."""


def encode_tiles(
    picture: NDArray[np.uint8],
    tiles: Sequence[tuple[int, int, int, int]],
    bits_per_pixel: int,
    format_header: int = planar.RLE,
    key: bytes = b"",
) -> list[EncodedTile]:
    """Encode tiles: interleaved RLE at 15, 16 and 24 bits a pixel, planar at 32, raw where that takes less.

    The width of a tile is made a multiple of four by repeating the last pixel of each row, as TS_BITMAP_DATA wants it.
    The pixels are read once: digest and data belong together even if somebody draws meanwhile.

    Args:
        picture: (height, width, 4) uint8 BGRX; rows in the order of the stream.
        tiles: left, top, right, bottom of each, inside the picture, at most `MAX_PIXELS`.
        bits_per_pixel: 15, 16, 24 or 32.
        format_header: of planar, see `rdpprov.codecs.planar.encode`.
        key: for the digests, `KEY_SIZE` random bytes; none are made without it.

    Raises:
        LocalProtocolError: a tile outside the picture or too large, a depth or header that is not one.
    """
    picture = check_picture(picture)
    if bits_per_pixel not in {15, 16, 24, 32} or format_header & ~(planar.RLE | planar.NO_ALPHA):
        raise LocalProtocolError(f"{bits_per_pixel} bits per pixel with planar format header {format_header:#x}")
    _check_key(key, optional=True)
    if extension is not None:
        try:
            encoded = extension.encode_tiles(picture, pack_tiles(tiles), bits_per_pixel, format_header, key)
        except ValueError as error:
            raise LocalProtocolError(str(error)) from None
        return [EncodedTile(*tile) for tile in encoded]
    _check_tiles(picture, tiles)
    return [encode_tile_python(picture[t:b, l:r], bits_per_pixel, format_header, key) for l, t, r, b in tiles]  # noqa: E741


def pack_tiles(tiles: Sequence[tuple[int, int, int, int]]) -> bytes:
    """Tiles as the extension takes them: for `joined_digests`, where the same ones are asked for again and again.

    Raises:
        LocalProtocolError: a number that is no int32, or not four of them.
    """
    try:
        return struct.pack(f"={4 * len(tiles)}i", *itertools.chain.from_iterable(tiles))
    except struct.error:
        raise LocalProtocolError("a tile is four int32") from None


def digest_tiles(picture: NDArray[np.uint8], tiles: Sequence[tuple[int, int, int, int]], key: bytes) -> list[bytes]:
    """Digests of the pixels of tiles; equal for equal pixels (the X byte apart, which may count), under one key.

    With the extension: the colour of tiles that have only one; for others NH, the universal hash of UMAC, twice, or
    CLNH where the processor multiplies without carries. Whatever two different tiles of one size somebody prepares who
    does not know the key, the chance that they have one digest is at most 2**-128. Without: BLAKE2b with the key, 128
    bits. Digests mean something only within a process, and to pictures of one size.

    Args:
        picture: (height, width, 4) uint8 BGRX.
        tiles: as in `encode_tiles`.
        key: `KEY_SIZE` random bytes that nobody else knows.

    Raises:
        LocalProtocolError: a tile outside the picture or too large, a key of another size.
    """
    joined = joined_digests(picture, pack_tiles(tiles), key)
    if not tiles:
        return []
    size = len(joined) // len(tiles)
    return [joined[start : start + size] for start in range(0, len(joined), size)]


def joined_digests(picture: NDArray[np.uint8], tiles: bytes, key: bytes) -> bytes:
    """`digest_tiles`, all of one length and one after the other: equal if, and only if, all the digests are.

    Args:
        picture, key: as in `digest_tiles`.
        tiles: by `pack_tiles`.

    Raises:
        LocalProtocolError: as `digest_tiles`.
    """
    picture = check_picture(picture)
    _check_key(key, optional=False)
    if extension is not None:
        try:
            return extension.digest_tiles(picture, tiles, key)
        except ValueError as error:
            raise LocalProtocolError(str(error)) from None
    try:
        boxes = list(struct.iter_unpack("=4i", tiles))
    except struct.error:
        raise LocalProtocolError("a tile is four int32") from None
    _check_tiles(picture, boxes)
    return b"".join(_digest_python(picture[t:b, l:r], key) for l, t, r, b in boxes)  # noqa: E741


def solid_colour(picture: NDArray[np.uint8]) -> int | None:
    """The colour that all pixels have, as 0xRRGGBB; None if there are two.

    Raises:
        LocalProtocolError: not a picture.
    """
    picture = check_picture(picture)
    if extension is not None:
        return extension.solid_colour(picture)
    blue, green, red = picture[0, 0, :3].tolist()
    if (picture[0, :, :3] != picture[0, 0, :3]).any() or (picture[..., :3] != picture[0, 0, :3]).any():
        return None
    return int(red << 16 | green << 8 | blue)


def _check_tiles(picture: NDArray[np.uint8], tiles: Sequence[tuple[int, int, int, int]]) -> None:
    height, width = picture.shape[:2]
    for left, top, right, bottom in tiles:
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise LocalProtocolError(f"tile {left},{top} to {right},{bottom} of a picture of {width}x{height}")
        if padded_width(right - left) * (bottom - top) > MAX_PIXELS:
            raise LocalProtocolError(f"a tile of {right - left}x{bottom - top}, expected at most {MAX_PIXELS} pixels")


def _check_key(key: bytes, *, optional: bool) -> None:
    if len(key) != KEY_SIZE and not (optional and not key):
        raise LocalProtocolError(f"a digest key of {len(key)} bytes, expected {KEY_SIZE}")


def encode_tile_python(picture: NDArray[np.uint8], bits_per_pixel: int, format_header: int, key: bytes) -> EncodedTile:
    """One tile, as `encode_tiles` does them without the extension."""
    height, width = picture.shape[:2]
    wire_width = padded_width(width)
    pixels = np.empty((height, wire_width, 4), np.uint8)
    pixels[:, :width] = picture
    digest = _digest_python(pixels[:, :width], key) if key else b""
    pixels[:, width:] = pixels[:, width - 1 : width]
    limit = height * wire_width * bytes_per_pixel(bits_per_pixel) - _HEADER
    if bits_per_pixel == 32:
        data = planar.encode_python(pixels, format_header, limit)
    else:
        data = rle.encode_values(values(pixels, bits_per_pixel), bits_per_pixel, limit)
    if data is None:
        return EncodedTile(False, pack(pixels, bits_per_pixel).tobytes(), digest)
    return EncodedTile(True, data, digest)


def _digest_python(picture: NDArray[np.uint8], key: bytes) -> bytes:
    return hashlib.blake2b(picture.tobytes(), key=key[: hashlib.blake2b.MAX_KEY_SIZE], digest_size=16).digest()
