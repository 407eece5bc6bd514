"""Pointer shapes of our own desktops, drawn as text pictures: ``#`` is black, ``.`` white, the rest transparent."""

import numpy as np

from rdpprov.api.devices import PointerShape

_COLOURS = {"#": (0, 0, 0, 255), ".": (255, 255, 255, 255), " ": (0, 0, 0, 0)}  # BGRA


def pointer(rows: list[str], hot_x: int, hot_y: int) -> PointerShape:
    """A pointer from its picture, one character a pixel; all rows are equally long."""
    pixels = np.array([[_COLOURS[character] for character in row] for row in rows], np.uint8)
    pixels.flags.writeable = False
    height, width = pixels.shape[:2]
    return PointerShape(width, height, hot_x, hot_y, pixels)


_BEAM_END = [" ... ... ", ".###.###.", " ...#... "]
_BEAM_STEM = ["   .#.   "]

I_BEAM = pointer([*_BEAM_END, *_BEAM_STEM * 13, *_BEAM_END[::-1]], 4, 9)
"""Over text."""

_CROSS_STEM = [" " * 9 + ".#." + " " * 9]
_CROSS_GAP = [" " * 21]

CROSSHAIR = pointer(
    [
        *_CROSS_STEM * 7,
        *[" " * 9 + "..." + " " * 9],
        *_CROSS_GAP,
        "." * 8 + "     " + "." * 8,
        "#" * 7 + ".  #  ." + "#" * 7,
        "." * 8 + "     " + "." * 8,
        *_CROSS_GAP,
        *[" " * 9 + "..." + " " * 9],
        *_CROSS_STEM * 7,
    ],
    10,
    10,
)
"""Over a place to draw; its middle is free, but for the pixel that it points at."""
