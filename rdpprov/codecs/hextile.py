"""Hextile, encoding 5: tiles of 16x16 pixels, each a background and rectangles upon it, or raw.

Source: the RFB protocol, "Hextile encoding". ``encode(picture, layout) -> bytes`` and
``decode(payload, width, height, layout) -> client pixels``. There is no length before it: `payload_size` tells how long
a payload is, as soon as that can be known. No state outlives a rectangle.

A tile is a mask; unless raw, the background (2), the foreground (4), how many rectangles there are (8), and these:
their colour, if each has one (16), x and y, width - 1 and height - 1, four bits each. Background and foreground carry
over to the next tile, but not across a raw one, and the foreground not across one with colours.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdpprov.codecs.client_pixels import PixelForm, PixelLayout, full_pixel
from rdpprov.codecs.errors import CodecError
from rdpprov.codecs.native import extension
from rdpprov.codecs.pixels import check_picture, check_size

__all__ = ["TILE", "decode", "encode", "payload_size"]

TILE = 16
"""Pixels a side; at the right and lower edge they are smaller."""

_RAW, _BACKGROUND, _FOREGROUND, _ANY, _COLOURED = 1, 2, 4, 8, 16


def encode(picture: NDArray[np.uint8], layout: PixelLayout) -> bytes:
    """A rectangle in Hextile: never longer than its pixels and a byte for each tile.

    Args:
        picture: (height, width, 4) uint8 BGRX.
        layout: the client's.

    Raises:
        LocalProtocolError: not a picture.
    """
    picture = check_picture(picture)
    form = full_pixel(layout)
    if extension is not None:
        return extension.hextile(picture, form.packed_tables, form.size)
    return encode_python(picture, form)


def encode_python(picture: NDArray[np.uint8], form: PixelForm) -> bytes:
    """`encode` in Python."""
    values = form.values(picture)
    height, width = values.shape
    out = bytearray()
    carried: tuple[int | None, int | None] = None, None
    for y in range(0, height, TILE):
        for x in range(0, width, TILE):
            carried = _encode_tile(out, values[y : y + TILE, x : x + TILE], form.size, *carried)
    return bytes(out)


def _encode_tile(
    out: bytearray, tile: NDArray[np.uint32], size: int, background: int | None, foreground: int | None
) -> tuple[int | None, int | None]:
    """One tile, given what carries over from the tile before; returns what carries over to the next."""
    rows: list[list[int]] = tile.tolist()
    counts: dict[int, int] = {}
    for row in rows:
        for pixel in row:
            counts[pixel] = counts.get(pixel, 0) + 1
    ground = max(counts, key=lambda pixel: counts[pixel])  # the first of the most frequent
    found = _rectangles(rows, ground) if len(counts) > 1 else []
    mask = 0
    head = b""
    if background != ground:
        mask |= _BACKGROUND
        head += ground.to_bytes(4, "little")[:size]
    other = found[0][0] if len(counts) == 2 else None
    if other is not None and foreground != other:
        mask |= _FOREGROUND
        head += other.to_bytes(4, "little")[:size]
    if found:
        mask |= _ANY
        head += bytes((len(found) & 255,))
    if len(counts) > 2:
        mask |= _COLOURED
        body = b"".join(pixel.to_bytes(4, "little")[:size] + place for pixel, place in found)
    else:
        body = b"".join(place for _, place in found)
    if len(found) > 255 or len(head) + len(body) >= tile.size * size:
        out.append(_RAW)
        out += np.ascontiguousarray(tile, "<u4").view(np.uint8).reshape(-1, 4)[:, :size].tobytes()
        return None, None
    out.append(mask)
    out += head + body
    return ground, other if len(counts) == 2 else None if len(counts) > 2 else foreground


def _rectangles(rows: list[list[int]], ground: int) -> list[tuple[int, bytes]]:
    """What is not background, in rectangles, each as wide as it can be and then as high. `rows` are used up."""
    found = []
    height, width = len(rows), len(rows[0])
    for y, row in enumerate(rows):
        for x in range(width):
            pixel = row[x]
            if pixel == ground:
                continue
            right = x + 1
            while right < width and row[right] == pixel:
                right += 1
            run = row[x:right]
            below = y + 1
            while below < height and rows[below][x:right] == run:
                below += 1
            for covered in rows[y:below]:
                covered[x:right] = [ground] * len(run)
            found.append((pixel, bytes((x << 4 | y, (right - x - 1) << 4 | below - y - 1))))
    return found


def payload_size(data: bytes | bytearray | memoryview, width: int, height: int, layout: PixelLayout) -> int | None:
    """How many bytes a payload that begins so has; None: it takes more of it to know."""
    check_size(width, height)
    size, at = layout.bytes_per_pixel, 0
    for y in range(0, height, TILE):
        for x in range(0, width, TILE):
            if at >= len(data):
                return None
            mask = data[at]
            at += 1
            if mask & _RAW:
                at += min(TILE, width - x) * min(TILE, height - y) * size
                continue
            at += size * (bool(mask & _BACKGROUND) + bool(mask & _FOREGROUND))
            if mask & _ANY:
                if at >= len(data):
                    return None
                at += 1 + data[at] * (2 + (size if mask & _COLOURED else 0))
    return at


def decode(payload: bytes | bytearray | memoryview, width: int, height: int, layout: PixelLayout) -> NDArray[Any]:
    """A rectangle in Hextile as client pixels: (height, width) of ``layout.dtype``.

    Args:
        payload: all of it, no more (`payload_size`).
        width, height: of the rectangle, in pixels.
        layout: that the rectangle was encoded with.

    Raises:
        CodecError: bytes missing or left over, a colour that nobody gave, a rectangle that leaves its tile.
    """
    if payload_size(payload, width, height, layout) != len(payload):
        raise CodecError(f"Hextile: {len(payload)} bytes are not one payload")
    data = bytes(payload)
    pixels = np.empty((height, width), layout.dtype)
    size, at = layout.bytes_per_pixel, 0
    background: Any = None
    foreground: Any = None

    def take(count: int) -> NDArray[Any]:
        nonlocal at
        at += count * size
        return np.frombuffer(data, layout.dtype, count, at - count * size)

    for y in range(0, height, TILE):
        for x in range(0, width, TILE):
            tile = pixels[y : y + TILE, x : x + TILE]
            mask = data[at]
            at += 1
            if mask & _RAW:
                tile[...] = take(tile.size).reshape(tile.shape)
                background = foreground = None
                continue
            if mask & _BACKGROUND:
                background = take(1)[0]
            if background is None:
                raise CodecError("Hextile: a tile without background, and none to carry over")
            tile[...] = background
            if mask & _FOREGROUND:
                foreground = take(1)[0]
            if not mask & _ANY:
                continue
            count = data[at]
            at += 1
            for _ in range(count):
                colour = take(1)[0] if mask & _COLOURED else foreground
                if colour is None:
                    raise CodecError("Hextile: a rectangle without colour, and no foreground to carry over")
                left, top = data[at] >> 4, data[at] & 15
                right, bottom = left + (data[at + 1] >> 4) + 1, top + (data[at + 1] & 15) + 1
                at += 2
                if right > tile.shape[1] or bottom > tile.shape[0]:
                    raise CodecError("Hextile: a rectangle leaves its tile")
                tile[top:bottom, left:right] = colour
            if mask & _COLOURED:
                foreground = None
    return pixels
