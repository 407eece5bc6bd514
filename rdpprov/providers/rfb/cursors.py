"""Pointers: the rectangle that shows one, in the encoding that the client takes, or the pixels that draw it.

Source: [RFC 6143] 7.8.1 "Cursor Pseudo-encoding"; for alpha the community's text.
"""

from typing import Final

import numpy as np

from rdpprov.api.devices import DEFAULT_POINTER, HIDDEN_POINTER, Pixels, PointerShape, Rectangle
from rdpprov.codecs.client_pixels import PixelLayout, convert
from rdpprov.protocol.rfb.server import RfbServerMachine
from rdpprov.wire.rfb.encodings import Encoding
from rdpprov.wire.rfb.rectangles import MAX_CURSOR, EncodedRectangle, cursor, cursor_with_alpha, vmware_cursor

_ARROW: Final = (
    "#...........",
    "##..........",
    "#-#.........",
    "#--#........",
    "#---#.......",
    "#----#......",
    "#-----#.....",
    "#------#....",
    "#-------#...",
    "#--------#..",
    "#---------#.",
    "#------#####",
    "#---#--#....",
    "#--##--#....",
    "#-#..#--#...",
    "##...#--#...",
    "#.....##....",
)
"""``#`` black, ``-`` white."""


def _arrow() -> PointerShape:
    pixels = np.zeros((len(_ARROW), len(_ARROW[0]), 4), np.uint8)
    for y, row in enumerate(_ARROW):
        for x, mark in enumerate(row):
            if mark != ".":
                pixels[y, x] = (0, 0, 0, 255) if mark == "#" else (255, 255, 255, 255)
    return PointerShape(pixels.shape[1], pixels.shape[0], 0, 0, pixels)


ARROW: Final = _arrow()
"""What `DEFAULT_POINTER` looks like: RFB has no word for "your own arrow"."""


def drawable(shape: PointerShape) -> PointerShape:
    """A shape with pixels, none if it is hidden, and not larger than clients take."""
    if shape is DEFAULT_POINTER:
        return ARROW
    if shape is HIDDEN_POINTER or (shape.width <= MAX_CURSOR and shape.height <= MAX_CURSOR):
        return shape
    # Cut so that the tip stays inside.
    left = min(max(shape.hot_x - MAX_CURSOR // 2, 0), max(shape.width - MAX_CURSOR, 0))
    top = min(max(shape.hot_y - MAX_CURSOR // 2, 0), max(shape.height - MAX_CURSOR, 0))
    pixels = shape.pixels[top : top + MAX_CURSOR, left : left + MAX_CURSOR]
    return PointerShape(pixels.shape[1], pixels.shape[0], shape.hot_x - left, shape.hot_y - top, pixels)


def takes_cursors(machine: RfbServerMachine) -> bool:
    """Whether the client draws the pointer itself."""
    return any(
        machine.takes(encoding) for encoding in (Encoding.CURSOR_WITH_ALPHA, Encoding.VMWARE_CURSOR, Encoding.CURSOR)
    )


def cursor_rectangle(machine: RfbServerMachine, shape: PointerShape, layout: PixelLayout) -> EncodedRectangle | None:
    """The rectangle that shows a shape (as `drawable` gives it); None: the client takes none."""
    hot_x, hot_y = max(0, min(shape.hot_x, shape.width - 1)), max(0, min(shape.hot_y, shape.height - 1))
    place = hot_x, hot_y, shape.width, shape.height
    if machine.takes(Encoding.CURSOR_WITH_ALPHA):
        rgba = shape.pixels[..., [2, 1, 0, 3]]
        alpha = rgba[..., 3:].astype(np.uint16)
        premultiplied = np.concatenate([((rgba[..., :3] * alpha + 127) // 255).astype(np.uint8), rgba[..., 3:]], axis=2)
        return cursor_with_alpha(*place, premultiplied.tobytes())
    if machine.takes(Encoding.VMWARE_CURSOR):
        return vmware_cursor(*place, np.ascontiguousarray(shape.pixels[..., [2, 1, 0, 3]]).tobytes())
    if machine.takes(Encoding.CURSOR):
        if not shape.width or not shape.height:
            return cursor(*place, b"", b"")
        mask = np.packbits(shape.pixels[..., 3] >= 128, axis=1)
        return cursor(*place, convert(np.ascontiguousarray(shape.pixels), layout).tobytes(), mask.tobytes())
    return None


def area_of(shape: PointerShape, x: int, y: int) -> Rectangle:
    """Where a shape is with its tip at ``x``, ``y``; may reach out of the desktop."""
    left, top = x - shape.hot_x, y - shape.hot_y
    return Rectangle(left, top, left + shape.width, top + shape.height)


def draw(shape: PointerShape, x: int, y: int, pixels: Pixels, left: int, top: int) -> None:
    """Draw a shape with its tip at ``x``, ``y`` into a part of the picture whose corner is at ``left``, ``top``."""
    where = area_of(shape, x, y)
    part = where.intersection(Rectangle(left, top, left + pixels.shape[1], top + pixels.shape[0]))
    if part.is_empty():
        return
    under = pixels[part.top - top : part.bottom - top, part.left - left : part.right - left, :3]
    over = shape.pixels[
        part.top - where.top : part.bottom - where.top, part.left - where.left : part.right - where.left
    ]
    alpha = over[..., 3:].astype(np.uint16)
    under[...] = (over[..., :3] * alpha + under * (255 - alpha) + 127) // 255
