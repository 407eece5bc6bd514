"""ZRLE, encoding 16: tiles of 64x64 pixels, each in the shortest of five ways, all deflated.

Source: the RFB protocol, "ZRLE encoding" and "TRLE encoding". ``encode(picture, layout, compressor) -> bytes`` and
``decode(payload, width, height, layout, decompressor) -> client pixels``; a payload begins with its length, 32 bits.
The stream, of `zlib_streams`, is ZRLE's own and lives as long as the connection, whatever happens to the layout.

A tile begins with its subencoding:

=========== ================ ==========================================================================
0           raw              CPIXELs
1           solid            one CPIXEL
2 to 16     packed palette   so many CPIXELs; 1, 2 or 4 bits a pixel, rows begin at a byte
128         plain RLE        CPIXEL and length, until the tile is full
130 to 255  palette RLE      so many + 128 CPIXELs; indices, with bit 7 and a length if more than once
=========== ================ ==========================================================================

A length is the sum of its bytes + 1, and 255 says that another follows. What is shortest before it is deflated is
mostly shortest after it, and always quickest to deflate. Palettes are in the order in which colours appear.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdpprov.codecs.client_pixels import PixelForm, PixelLayout, cpixel
from rdpprov.codecs.errors import CodecError
from rdpprov.codecs.native import extension
from rdpprov.codecs.pixels import check_picture, check_size
from rdpprov.codecs.zlib_streams import Compressor, Decompressor, deflate, inflate, measured, payload_size, with_length

__all__ = ["TILE", "decode", "encode", "payload_size", "tiles"]

TILE = 64
"""Pixels a side; at the right and lower edge they are smaller."""

_MOST_PACKED = 16
_MOST_COLOURS = 127
_PLAIN, _PALETTE = 128, 128


def encode(picture: NDArray[np.uint8], layout: PixelLayout, compressor: Compressor) -> bytes:
    """A rectangle in ZRLE. It must be sent: the stream goes on from it.

    Args:
        picture: (height, width, 4) uint8 BGRX.
        layout: the client's.
        compressor: of `rdpprov.codecs.zlib_streams.new_compressor`.

    Raises:
        LocalProtocolError: not a picture.
    """
    return with_length(deflate(compressor, tiles(picture, layout)))


def tiles(picture: NDArray[np.uint8], layout: PixelLayout) -> bytes:
    """The tiles of a rectangle, not deflated yet: this part needs no stream, so many can be made at once.

    Raises:
        LocalProtocolError: not a picture.
    """
    picture = check_picture(picture)
    form = cpixel(layout)
    if extension is not None:
        return extension.zrle_tiles(picture, form.packed_tables, form.size)
    return tiles_python(picture, form)


def tiles_python(picture: NDArray[np.uint8], form: PixelForm) -> bytes:
    """`tiles` in Python: numpy finds the runs and the colours of a tile."""
    values = form.values(picture)
    height, width = values.shape
    return b"".join(
        _encode_tile(values[y : y + TILE, x : x + TILE], form)
        for y in range(0, height, TILE)
        for x in range(0, width, TILE)
    )


def _encode_tile(tile: NDArray[np.uint32], form: PixelForm) -> bytes:
    height, width = tile.shape
    pixels = tile.ravel()
    starts = np.concatenate(([0], np.flatnonzero(pixels[1:] != pixels[:-1]) + 1))
    colours = pixels[starts]
    if len(starts) == 1:
        return b"\x01" + form.store(colours)
    lengths = np.diff(starts, append=len(pixels))
    extra = (lengths - 1) // 255 + 1  # bytes of a length
    # What each way takes, the subencoding aside; the first of the shortest is taken.
    sizes = {"plain": int((form.size + extra).sum()), "raw": form.size * len(pixels)}
    palette, first, index = np.unique(colours, return_index=True, return_inverse=True)
    if len(palette) <= _MOST_COLOURS:
        order = np.argsort(first)
        palette = palette[order]
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        index = rank[index]
        taken = np.where(lengths == 1, 1, 1 + extra)
        runs = form.size * len(palette) + int(taken.sum())
        sizes = {"palette": runs, **sizes}
        if len(palette) <= _MOST_PACKED:
            bits = 1 if len(palette) == 2 else 2 if len(palette) <= 4 else 4
            sizes = {"packed": form.size * len(palette) + height * ((width * bits + 7) // 8), **sizes}
    match min(sizes, key=lambda way: sizes[way]):
        case "packed":
            indices = np.repeat(index, lengths).reshape(height, width)
            return bytes((len(palette),)) + form.store(palette) + _packed(indices, bits)
        case "palette":
            out = np.full(int(taken.sum()), 255, np.uint8)
            ends = np.cumsum(taken)
            out[ends - 1] = (lengths - 1) % 255
            out[ends - taken] = np.where(lengths == 1, index, index | 128)
            return bytes((_PALETTE + len(palette),)) + form.store(palette) + out.tobytes()
        case "plain":
            out = np.full(sizes["plain"], 255, np.uint8)
            ends = np.cumsum(form.size + extra)
            out[ends - 1] = (lengths - 1) % 255
            for byte in range(form.size):
                out[ends - extra - form.size + byte] = colours >> np.uint32(8 * byte) & np.uint32(255)
            return bytes((_PLAIN,)) + out.tobytes()
        case _:
            return b"\x00" + form.store(pixels)


def _packed(indices: NDArray[Any], bits: int) -> bytes:
    """Indices as fields of 1, 2 or 4 bits, most significant first, rows filled up to a byte."""
    height, width = indices.shape
    per_byte = 8 // bits
    padded = np.zeros((height, -(-width // per_byte) * per_byte), np.uint8)
    padded[:, :width] = indices
    fields = padded.reshape(height, -1, per_byte)
    out = np.zeros(fields.shape[:2], np.uint8)
    for place in range(per_byte):
        out |= fields[..., place] << np.uint8(8 - bits * (place + 1))
    return out.tobytes()


def decode(
    payload: bytes | bytearray | memoryview, width: int, height: int, layout: PixelLayout, decompressor: Decompressor
) -> NDArray[Any]:
    """A rectangle in ZRLE as client pixels: (height, width) of ``layout.dtype``.

    Args:
        payload: the length and as many bytes (`payload_size`).
        width, height: of the rectangle, in pixels.
        layout: that the rectangle was encoded with.
        decompressor: of `rdpprov.codecs.zlib_streams.new_decompressor`.

    Raises:
        CodecError: not such a payload; more inflated than so many tiles can take; a subencoding that is none, an index
            that is not in its palette, a run past the end of its tile; bytes missing or left over.
    """
    check_size(width, height)
    form = cpixel(layout)
    across, down = -(-width // TILE), -(-height // TILE)
    # The longest that is legal: runs of one pixel each, and a whole palette for every tile.
    limit = width * height * max(2, form.size + 1) + across * down * (1 + _MOST_COLOURS * form.size)
    data = inflate(decompressor, measured(payload), limit)
    pixels = np.empty((height, width), layout.dtype)
    at = 0
    for y in range(0, height, TILE):
        for x in range(0, width, TILE):
            at = _decode_tile(data, at, pixels[y : y + TILE, x : x + TILE], form)
    if at != len(data):
        raise CodecError(f"ZRLE: {len(data) - at} bytes after the last tile")
    return pixels


def _decode_tile(data: bytes, at: int, tile: NDArray[Any], form: PixelForm) -> int:
    """Fill one tile; returns where the next begins."""
    height, width = tile.shape
    count = height * width

    def take(size: int) -> bytes:
        nonlocal at
        if len(data) - at < size:
            raise CodecError(f"ZRLE: {len(data) - at} bytes left, a tile needs {size}")
        at += size
        return data[at - size : at]

    def run_length() -> int:
        nonlocal at
        length = 1
        while True:
            (byte,) = take(1)
            length += byte
            if length > count:
                raise CodecError("ZRLE: a run longer than its tile")
            if byte != 255:
                return length

    (kind,) = take(1)
    match kind:
        case 0:
            tile[...] = form.expand(take(count * form.size)).reshape(height, width)
        case 1:
            tile[...] = form.expand(take(form.size))[0]
        case _ if kind <= _MOST_PACKED:
            palette = form.expand(take(kind * form.size))
            bits = 1 if kind == 2 else 2 if kind <= 4 else 4
            row = (width * bits + 7) // 8
            packed = np.frombuffer(take(row * height), np.uint8).reshape(height, row)
            per_byte = 8 // bits
            index = np.empty((height, row, per_byte), np.uint8)
            for place in range(per_byte):
                index[..., place] = packed >> np.uint8(8 - bits * (place + 1)) & np.uint8((1 << bits) - 1)
            index = index.reshape(height, -1)[:, :width]
            if int(index.max()) >= kind:
                raise CodecError(f"ZRLE: index {int(index.max())} in a palette of {kind}")
            tile[...] = palette[index]
        case 128:
            colours, lengths, done = bytearray(), [], 0
            while done < count:
                colours += take(form.size)
                lengths.append(run_length())
                done += lengths[-1]
            if done > count:
                raise CodecError("ZRLE: a run past the end of its tile")
            tile[...] = np.repeat(form.expand(colours), lengths).reshape(height, width)
        case _ if kind >= 130:
            palette = form.expand(take((kind - _PALETTE) * form.size))
            indices, lengths, done = bytearray(), [], 0
            while done < count:
                (index_byte,) = take(1)
                indices.append(index_byte & 127)
                lengths.append(run_length() if index_byte & 128 else 1)
                done += lengths[-1]
            if done > count:
                raise CodecError("ZRLE: a run past the end of its tile")
            if max(indices) >= len(palette):
                raise CodecError(f"ZRLE: index {max(indices)} in a palette of {len(palette)}")
            tile[...] = np.repeat(palette[np.frombuffer(indices, np.uint8)], lengths).reshape(height, width)
        case _:
            raise CodecError(f"ZRLE: subencoding {kind}")
    return at
