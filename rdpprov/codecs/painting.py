"""Painting rectangles and bitmaps into a part of a screen.

What desktops are drawn with that keep no pixels of their own, once for every item and band that a client sees.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rdpprov.codecs.native import extension

__all__ = ["OPAQUE", "Item", "paint", "paint_python"]

OPAQUE = 0xFF000000
"""The X byte of a pixel that is painted."""

Item: TypeAlias = tuple[int, int, int, int, int | NDArray[np.uint32]]
"""Left, top, right and bottom (exclusive) on the screen; and 0xRRGGBB, or a bitmap of just that size: rows of pixels,
0xAARRGGBB. It may be a view: a part of another one, or mirrored."""


def paint(pixels: NDArray[np.uint32], left: int, top: int, items: Sequence[Item]) -> None:
    """Paint items in their order, as far as they lie on ``pixels``.

    Args:
        pixels: (height, width) uint32, rows of the screen, contiguous within a row; painted on.
        left, top: where they lie on the screen.
        items: to paint.

    Raises:
        ValueError: an array of another shape.
    """
    if extension is not None:
        extension.paint(pixels, left, top, items)
    else:
        paint_python(pixels, left, top, items)


def paint_python(pixels: NDArray[np.uint32], left: int, top: int, items: Sequence[Item]) -> None:
    """The same without the extension."""
    height, width = pixels.shape
    right, bottom = left + width, top + height
    for item_left, item_top, item_right, item_bottom, content in items:
        x, y = max(item_left, left), max(item_top, top)
        end, below = min(item_right, right), min(item_bottom, bottom)
        if end <= x or below <= y:
            continue
        part = pixels[y - top : below - top, x - left : end - left]
        if isinstance(content, int):
            part[...] = OPAQUE | content
        elif content.shape == (item_bottom - item_top, item_right - item_left):
            part[...] = content[y - item_top : below - item_top, x - item_left : end - item_left]
        else:
            raise ValueError("a bitmap is an array (height, width) of uint32 with its rectangle's size")
