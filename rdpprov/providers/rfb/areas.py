"""Parts of a desktop as short lists of rectangles: what has changed, what has been moved, what a client asked for."""

from collections.abc import Iterable, Sequence
from typing import Final

from rdpprov.api.devices import Move, Rectangle

MOST: Final = 64
"""Rectangles in a list; beyond, they become what is around them all."""


MOST_COPIES: Final = 32
"""Copies in an update; what is beyond comes as pixels. The time to order them grows with the square of it."""
MOST_WANTED: Final = 8
"""Areas that a client asks for and still is told to copy in. Viewers ask for one; the time to find copies grows with
the square of it, and a client's strange wishes must not take the event loop from others."""
MOST_DAMAGE: Final = 16
"""Areas of damage that copies keep clear of; more become what is around them all."""


def joined(areas: Sequence[Rectangle], more: Iterable[Rectangle]) -> list[Rectangle]:
    """Two lists as one, in which no two overlap. It may grow by joining, it never loses a pixel."""
    result = list(areas)
    for added in more:
        parts = [added] if not added.is_empty() else []
        for area in result:
            parts = [rest for part in parts for rest in part.without(area)]
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
        outside = [part for area in outside for part in area.without(wish)]
    return inside, outside


def copyable(
    moves: Iterable[Move], damage: Sequence[Rectangle], wanted: Sequence[Rectangle]
) -> tuple[list[Move], list[Rectangle]]:
    """What of `MovingScreen.take_moves` a client can do by copying what it shows.

    Args:
        moves: no two of whose areas overlap.
        damage: where the client does not show what it should, from before the moves.
        wanted: where it may be told to copy, and what it may be trusted to still have.

    Returns:
        copies, in an order in which none overwrites what a later one needs; and where pixels have to be sent instead.
    """
    copies: list[Move] = []
    rest: list[Rectangle] = []
    if len(wanted) > MOST_WANTED:
        wanted = []
    if len(damage) > MOST_DAMAGE:
        damage = [around(damage)]
    for move in moves:
        dx, dy = move.dx, move.dy
        to, beside = divided([move.area], wanted)
        found, lost = divided([part.shifted(-dx, -dy) for part in to], wanted)
        dirty, clean = divided(found, damage)
        rest += beside + [part.shifted(dx, dy) for part in lost + dirty]
        copies += [Move(part.shifted(dx, dy), dx, dy) for part in clean]
    copies.sort(key=lambda copy: copy.area.width * copy.area.height, reverse=True)
    rest += [copy.area for copy in copies[MOST_COPIES:]]
    return _in_order(copies[:MOST_COPIES], rest)


def _in_order(copies: list[Move], rest: list[Rectangle]) -> tuple[list[Move], list[Rectangle]]:
    """Copies such that no source has been overwritten before; a circle is broken where it is smallest.

    Args:
        copies: the largest first.
        rest: gets the areas of those that are given up.
    """
    needed_by = {
        number: {
            other
            for other, reader in enumerate(copies)
            if other != number and not reader.source.intersection(copy.area).is_empty()
        }
        for number, copy in enumerate(copies)
    }
    ordered: list[Move] = []
    while needed_by:
        number = next((number for number, readers in needed_by.items() if not readers), None)
        if number is not None:
            ordered.append(copies[number])
        else:
            number = max(needed_by)
            rest.append(copies[number].area)
        del needed_by[number]
        for readers in needed_by.values():
            readers.discard(number)
    return ordered, rest
