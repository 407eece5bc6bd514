"""Desktops without a framebuffer: a list of fills and pictures, painted into what a reader hands in when it grabs.

What a session adds of its own is a few lines of text; the rest is shared by all sessions of a process. Memory that is
touched for the first time costs more than drawing into it (a fresh 1024x768 framebuffer: over a millisecond for its
page faults alone), so a desktop that can do without one starts quickly, and thousands fit into memory. Nor is the
background kept as a picture: to read that from memory takes longer than to paint it into what is in a cache.
"""

from abc import abstractmethod
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from heapq import nlargest
from typing import NamedTuple, TypeAlias

import numpy as np
import trio

from rdpprov.api.devices import Move, Pixels, Rectangle
from rdpprov.codecs import painting
from rdpprov.sessions.screens import MAX_MOVES, ReadableDesktop, clamp_size
from rdpprov.sessions.text import Bitmap, Coverage, tint

MAX_APART = 12
"""Items of a layer that may change as rectangles of their own; more count as one: readers merge them anyway."""

MAX_COMPARED = 128
"""Items of a scene that may change at once and be looked at for moves. The time for it grows with the square of them: a
thousand would hold the event loop for a second, and readers keep `MAX_MOVES` moves anyway."""


class Fill(NamedTuple):
    """A rectangle in one colour, 0xRRGGBB."""

    left: int
    top: int
    right: int
    bottom: int
    colour: int


class Picture(NamedTuple):
    """A bitmap at a place."""

    left: int
    top: int
    right: int
    bottom: int
    bitmap: Bitmap


Item: TypeAlias = Fill | Picture


def fill(rectangle: Rectangle, colour: int) -> Fill:
    """An item that fills a rectangle."""
    return Fill(rectangle.left, rectangle.top, rectangle.right, rectangle.bottom, colour)


def picture(left: int, top: int, bitmap: Bitmap) -> Picture:
    """An item that shows a bitmap with its top left corner there."""
    height, width = bitmap.shape
    return Picture(left, top, left + width, top + height, bitmap)


_Identity: TypeAlias = tuple[int, int, int, int, int]


def _identity(item: Item) -> _Identity:
    """Equal for items that paint the same: pictures, if they show the same array (comparing pixels would cost)."""
    return item if isinstance(item, Fill) else (item.left, item.top, item.right, item.bottom, id(item.bitmap))


def _changed(before: Iterable[Item], after: Iterable[Item]) -> frozenset[_Identity]:
    return frozenset(map(_identity, before)) ^ frozenset(map(_identity, after))


def _beside(changes: Iterable[_Identity], moves: Sequence[Move]) -> list[Rectangle]:
    """What else has changed, item by item: what is around them all would hold what moved."""
    covered = {(move.area.left, move.area.top, move.area.right, move.area.bottom) for move in moves}
    damage = [Rectangle(*identity[:4]) for identity in changes if identity[:4] not in covered]
    for move in moves:
        damage = [part for area in damage for part in area.without(move.area)]
    return damage


def _bounds(items: Collection[Item | _Identity]) -> Rectangle:
    if not items:
        return Rectangle(0, 0, 0, 0)
    lefts, tops, rights, bottoms, _ = zip(*items, strict=True)
    return Rectangle(min(lefts), min(tops), max(rights), max(bottoms))


def _is_seen(area: Rectangle, over: Iterable[Item], covers: Iterable[Rectangle]) -> bool:
    """Whether nothing lies over any pixel of an area."""
    left, top, right, bottom = area.left, area.top, area.right, area.bottom
    return all(
        item.left >= right or item.right <= left or item.top >= bottom or item.bottom <= top
        for item in (*over, *covers)
    )


class Layer:
    """Some items that change together, and the rectangle that holds them all."""

    __slots__ = ("bounds", "items")

    def __init__(self) -> None:
        self.items: Sequence[Item] = ()
        self.bounds = Rectangle(0, 0, 0, 0)

    def replace(self, items: Sequence[Item]) -> list[Rectangle]:
        """Show other items from now on; where that changes pixels. Items of one layer are painted in their order."""
        before = self.items
        if items is before:
            return []
        self.items, self.bounds = items, _bounds(items)
        if not before:
            return [self.bounds]
        # The old items are still held here, so that no array of the new ones can have the id of one that is gone.
        changed = _changed(before, items)
        if len(changed) > MAX_APART:
            return [_bounds(changed)]
        return [Rectangle(*identity[:4]) for identity in changed]

    def moved(self, before: Sequence[Item], covers: Sequence[Rectangle]) -> list[Move]:
        """Pictures that were seen whole in one place, and are seen whole in another now.

        Args:
            before: the items that this layer had; it still holds their bitmaps.
            covers: what lies over this layer, or did before.
        """
        if self.items is before:
            return []
        stayed = frozenset(map(_identity, before))
        places = {id(item.bitmap): number for number, item in enumerate(before) if isinstance(item, Picture)}
        moves: list[Move] = []
        for number, item in enumerate(self.items):
            if not isinstance(item, Picture) or _identity(item) in stayed:
                continue
            place = places.get(id(item.bitmap))
            if place is None:
                continue
            source, area = _bounds([before[place]]), _bounds([item])
            if _is_seen(source, before[place + 1 :], covers) and _is_seen(area, self.items[number + 1 :], covers):
                moves.append(Move(area, area.left - source.left, area.top - source.top))
        return moves

    def paint(self, area: Rectangle, out: Bitmap) -> None:
        """Paint what lies in ``area`` into ``out``, which shows just that."""
        left, top, right, bottom = area.left, area.top, area.right, area.bottom
        bounds = self.bounds
        if bounds.left >= right or bounds.right <= left or bounds.top >= bottom or bounds.bottom <= top:
            return
        painting.paint(out, left, top, self.items)


class SceneDesktop(ReadableDesktop):
    """A desktop that is painted when somebody looks: layers, from the back to the front.

    A layer that may have changed is marked (`invalidate`), which costs next to nothing. It is built again when a reader
    takes its damage or grabs; only items that differ count as damage. A picture that shows the same array at another
    place has moved, so clients that can copy what they show do that; one whose array is drawn into has its damage added
    before. All in the event loop's thread.

    Args:
        width: pixels, clamped to 200 to 8192.
        height: likewise.
        layers: names of the layers, the backmost first. The backmost has to cover the screen.
    """

    def __init__(self, width: int, height: int, layers: Sequence[str]) -> None:
        super().__init__(width, height)
        self._layers = {name: Layer() for name in layers}
        self._stale = set(layers)

    @abstractmethod
    def build(self, layer: str) -> Sequence[Item]:
        """The items of a layer as they should be now, for the present size."""

    def invalidate(self, *layers: str) -> None:
        """These layers may look different now."""
        self._stale.update(layers)
        self._signal()

    def _refresh(self) -> None:
        if not self._stale:
            return
        before = [(layer.items, layer.bounds) for layer in self._layers.values()] if self._moves_are_taken else None
        damage: list[Rectangle] = []
        for name, layer in self._layers.items():
            if name in self._stale:
                damage += layer.replace(self.build(name))
        self._stale.clear()
        if before is not None:
            changes = self._changes(before)
            if len(changes) <= MAX_COMPARED and (moves := self._moved(before)):
                damage = _beside(changes, moves)
                self._add_moves(moves)
        self._add_damage(damage)

    def _moved(self, before: Sequence[tuple[Sequence[Item], Rectangle]]) -> list[Move]:
        """Pictures that are somewhere else now, with nothing over them; the largest, if they are many.

        Args:
            before: items and bounds that the layers had.
        """
        moves: list[Move] = []
        covers: list[Rectangle] = []  # a layer is covered by those in front of it, which are looked at first
        for (items, bounds), layer in zip(reversed(before), reversed(self._layers.values()), strict=True):
            moves += layer.moved(items, covers)
            covers += [bounds, layer.bounds]
        return nlargest(MAX_MOVES, moves, key=lambda move: move.area.width * move.area.height)

    def _changes(self, before: Sequence[tuple[Sequence[Item], Rectangle]]) -> list[_Identity]:
        """Items that are not as they were, at their old places and at their new ones."""
        return [
            identity
            for (items, _), layer in zip(before, self._layers.values(), strict=True)
            if items is not layer.items
            for identity in _changed(items, layer.items)
        ]

    def _copy_pixels(self, rectangle: Rectangle, out: Pixels) -> None:
        self._refresh()
        words = out.view("<u4")[..., 0]
        for layer in self._layers.values():
            layer.paint(rectangle, words)

    async def resize(self, width: int, height: int) -> None:
        """Take a new size, clamped to 200x200 to 8192x8192; everything is laid out anew."""
        await trio.lowlevel.checkpoint()
        width, height = clamp_size(width, height)
        if (width, height) == (self._width, self._height):
            return
        self._resized(width, height)
        for layer in self._layers.values():
            layer.replace(())
        self._stale.update(self._layers)
        self._set_size(width, height)
        self._signal()

    def _resized(self, width: int, height: int) -> None:
        """For subclasses: the size is about to be this one."""


def outline(rectangle: Rectangle, colour: int, width: int = 1) -> list[Fill]:
    """Four fills that make a frame inside a rectangle."""
    left, top, right, bottom = rectangle.left, rectangle.top, rectangle.right, rectangle.bottom
    return [
        Fill(left, top, right, top + width, colour),
        Fill(left, bottom - width, right, bottom, colour),
        Fill(left, top, left + width, bottom, colour),
        Fill(right - width, top, right, bottom, colour),
    ]


def disc_coverage(diameter: float, size: int) -> Coverage:
    """Coverage of a disc in the middle of a square of ``size`` pixels, its edge smoothed over a pixel."""
    place = np.arange(size) - (size - 1) / 2
    distance = np.hypot(place[:, None], place[None, :])
    return np.asarray(np.clip(diameter / 2 + 0.5 - distance, 0, 1) * 255, np.uint8)


@lru_cache(maxsize=64)
def disc(diameter: int, colour: int, background: int) -> Bitmap:
    """A disc over a background, as a square bitmap of its diameter."""
    return tint(disc_coverage(diameter, diameter), colour, background)


def rounded(rectangle: Rectangle, radius: int, colour: int, background: int) -> list[Item]:
    """A filled rectangle with round corners, where ``background`` is what its corners stand on."""
    left, top, right, bottom = rectangle.left, rectangle.top, rectangle.right, rectangle.bottom
    if radius < 1 or rectangle.width < 2 * radius or rectangle.height < 2 * radius:
        return [fill(rectangle, colour)]
    whole = disc(2 * radius, colour, background)
    return [
        Fill(left, top + radius, right, bottom - radius, colour),
        Fill(left + radius, top, right - radius, top + radius, colour),
        Fill(left + radius, bottom - radius, right - radius, bottom, colour),
        picture(left, top, whole[:radius, :radius]),
        picture(right - radius, top, whole[:radius, radius:]),
        picture(left, bottom - radius, whole[radius:, :radius]),
        picture(right - radius, bottom - radius, whole[radius:, radius:]),
    ]


def crop(item: Picture, area: Rectangle) -> Picture:
    """A picture without what leaves ``area``, which it touches."""
    left, top = max(item.left, area.left), max(item.top, area.top)
    right, bottom = min(item.right, area.right), min(item.bottom, area.bottom)
    if (left, top, right, bottom) == item[:4]:
        return item
    rows, columns = slice(top - item.top, bottom - item.top), slice(left - item.left, right - item.left)
    return Picture(left, top, right, bottom, item.bitmap[rows, columns])
