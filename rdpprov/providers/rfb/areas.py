"""Parts of a desktop as short lists of rectangles: what has changed, and what a client has asked for."""

from collections.abc import Iterable, Sequence
from typing import Final

from rdpprov.api.devices import Rectangle

MOST: Final = 64
"""Rectangles in a list; beyond, they become what is around them all."""


def without(area: Rectangle, hole: Rectangle) -> list[Rectangle]:
    """What is left of an area: up to four rectangles that do not overlap."""
    cut = area.intersection(hole)
    if cut.is_empty():
        return [area]
    left = [
        Rectangle(area.left, area.top, area.right, cut.top),
        Rectangle(area.left, cut.top, cut.left, cut.bottom),
        Rectangle(cut.right, cut.top, area.right, cut.bottom),
        Rectangle(area.left, cut.bottom, area.right, area.bottom),
    ]
    return [part for part in left if not part.is_empty()]


def joined(areas: Sequence[Rectangle], more: Iterable[Rectangle]) -> list[Rectangle]:
    """Two lists as one, in which no two overlap. It may grow by joining, it never loses a pixel."""
    result = list(areas)
    for added in more:
        parts = [added] if not added.is_empty() else []
        for area in result:
            parts = [rest for part in parts for rest in without(part, area)]
        result += parts
        if len(result) > MOST:
            result = [around(result)]
    return result


def around(areas: Iterable[Rectangle]) -> Rectangle:
    """The smallest rectangle that holds all."""
    result = Rectangle(0, 0, 0, 0)
    for area in areas:
        result = result.union(area)
    return result


def divided(areas: Iterable[Rectangle], wanted: Sequence[Rectangle]) -> tuple[list[Rectangle], list[Rectangle]]:
    """Cut areas in two: what is wanted of them, and the rest."""
    inside: list[Rectangle] = []
    outside = list(areas)
    for wish in wanted:
        inside += [cut for area in outside if not (cut := area.intersection(wish)).is_empty()]
        outside = [part for area in outside for part in without(area, wish)]
    return inside, outside
