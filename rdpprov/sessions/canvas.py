"""A place to draw: strokes kept as tiles of pixels that come into being where something is drawn."""

from collections.abc import Iterator
from math import ceil, hypot

import numpy as np

from rdpprov.api.devices import Rectangle
from rdpprov.codecs.painting import OPAQUE
from rdpprov.sessions.memory import PIXEL_BUDGET, PixelBudget
from rdpprov.sessions.scene import Picture, crop, picture
from rdpprov.sessions.text import Bitmap

TILE = 128
"""Pixels, width and height of a tile. An empty canvas has none, however large it is."""
TILE_BYTES = TILE * TILE * 4
STEP = 64
"""Pixels of a stroke that are drawn at once: the work grows with the square of it, a mouse may jump across 8192."""


class Canvas:
    """What has been drawn, in pixels from the canvas's top left corner, so that it does not depend on any screen.

    Args:
        background: colour of the paper, 0xRRGGBB.
        budget: what tiles are counted against.
    """

    def __init__(self, background: int, budget: PixelBudget = PIXEL_BUDGET) -> None:
        self._background = background
        self._budget = budget
        self._tiles: dict[tuple[int, int], Bitmap] = {}

    def clear(self) -> None:
        """Take everything away, and give its memory back."""
        self._budget.release(len(self._tiles) * TILE_BYTES)
        self._tiles.clear()

    def stroke(
        self, start: tuple[int, int], end: tuple[int, int], *, width: int, colour: int, area: Rectangle
    ) -> Rectangle:
        """Draw a line with round ends, clipped to ``area``.

        Returns:
            What it changed; may be empty.

        Raises:
            PixelBudgetError: there is no memory for it; part of the line may have been drawn.
        """
        (x, y), (to_x, to_y) = start, end
        steps = max(1, ceil(hypot(to_x - x, to_y - y) / STEP))
        changed = Rectangle(0, 0, 0, 0)
        for step in range(steps):
            one, two = step / steps, (step + 1) / steps
            changed = changed.union(
                self._segment(
                    (x + (to_x - x) * one, y + (to_y - y) * one),
                    (x + (to_x - x) * two, y + (to_y - y) * two),
                    width / 2,
                    colour,
                    area,
                )
            )
        return changed

    def _segment(
        self, start: tuple[float, float], end: tuple[float, float], radius: float, colour: int, area: Rectangle
    ) -> Rectangle:
        reach = radius + 1
        box = Rectangle(
            int(min(start[0], end[0]) - reach),
            int(min(start[1], end[1]) - reach),
            int(max(start[0], end[0]) + reach) + 2,
            int(max(start[1], end[1]) + reach) + 2,
        ).intersection(area)
        if box.is_empty():
            return box
        # Distance of every pixel's middle from the segment; the line's edge is smoothed over one pixel.
        across = np.arange(box.left, box.right, dtype=np.float32)[None, :] - np.float32(start[0])
        down = np.arange(box.top, box.bottom, dtype=np.float32)[:, None] - np.float32(start[1])
        along_x, along_y = np.float32(end[0] - start[0]), np.float32(end[1] - start[1])
        length = along_x * along_x + along_y * along_y
        if length > 0:
            share = np.clip((across * along_x + down * along_y) / length, 0, 1)
            across, down = across - share * along_x, down - share * along_y
        coverage = np.clip(radius + 0.5 - np.sqrt(across * across + down * down), 0, 1)[..., None]
        ink = np.array([colour & 0xFF, colour >> 8 & 0xFF, colour >> 16 & 0xFF, 0xFF], np.float32)
        for place in self._places(box):
            tile = self._tile(place.left // TILE, place.top // TILE)
            part = coverage[
                place.top - box.top : place.bottom - box.top, place.left - box.left : place.right - box.left
            ]
            left, top = place.left % TILE, place.top % TILE
            pixels = tile.view(np.uint8).reshape(TILE, TILE, 4)
            target = pixels[top : top + place.height, left : left + place.width]
            target[...] = target + (ink - target) * part + np.float32(0.5)
        return box

    def _tile(self, column: int, row: int) -> Bitmap:
        tile = self._tiles.get((column, row))
        if tile is None:
            self._budget.reserve(TILE_BYTES, "a tile of a drawing")
            tile = np.full((TILE, TILE), OPAQUE | self._background, "<u4")
            self._tiles[column, row] = tile
        return tile

    @staticmethod
    def _places(box: Rectangle) -> Iterator[Rectangle]:
        """The parts of a box that lie in one tile each."""
        for row in range(box.top // TILE, (box.bottom - 1) // TILE + 1):
            for column in range(box.left // TILE, (box.right - 1) // TILE + 1):
                tile = Rectangle(column * TILE, row * TILE, (column + 1) * TILE, (row + 1) * TILE)
                yield tile.intersection(box)

    def pictures(self, area: Rectangle) -> list[Picture]:
        """The drawing on a screen, where the canvas takes up ``area``."""
        shown = []
        for (column, row), tile in self._tiles.items():
            item = picture(area.left + column * TILE, area.top + row * TILE, tile)
            if item.left < area.right and item.top < area.bottom:
                shown.append(crop(item, area))
        return shown
