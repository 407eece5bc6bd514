"""Readers of a desktop, and what each of them has yet to take: damage, moves, pointer; never a frame.

`ReadableDesktop` is everything of a `Desktop` that does not depend on where its pixels are: `MemoryDesktop` has them in
a framebuffer, `SceneDesktop` paints what a reader asks for when it asks.
"""

import threading
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from rdpprov.api.devices import DEFAULT_POINTER, Move, Pixels, PointerShape, Rectangle
from rdpprov.sessions.base import MAX_DESKTOP, MIN_DESKTOP, Desktop

MAX_DAMAGE = 32
"""Rectangles that one reader's damage is kept in; beyond, they are merged. Bounds memory and the cost of adding one."""

MAX_MOVES = 32
"""Moves that one reader may have yet to take; beyond, the smallest become damage."""


def clamp_size(width: int, height: int) -> tuple[int, int]:
    """The size that a desktop takes when a client asks for this one: 200x200 to 8192x8192 pixels."""
    return (max(MIN_DESKTOP, min(width, MAX_DESKTOP)), max(MIN_DESKTOP, min(height, MAX_DESKTOP)))


def contains(outer: Rectangle, inner: Rectangle) -> bool:
    """Whether no pixel of ``inner`` lies outside ``outer``."""
    return (
        outer.left <= inner.left
        and outer.top <= inner.top
        and outer.right >= inner.right
        and outer.bottom >= inner.bottom
    )


def _area(rectangle: Rectangle) -> int:
    return rectangle.width * rectangle.height


class DamageList:
    """A part of a screen as at most `MAX_DAMAGE` rectangles. It may grow by merging, it never loses a pixel.

    No rectangle in it is empty, none contains another; two may overlap.
    """

    def __init__(self, limit: int = MAX_DAMAGE) -> None:
        self._limit = limit
        self._rectangles: list[Rectangle] = []

    def __bool__(self) -> bool:
        return bool(self._rectangles)

    def add(self, rectangle: Rectangle) -> None:
        """Add a rectangle; an empty one adds nothing."""
        if rectangle.is_empty():
            return
        while True:  # each further round has one rectangle less to look at
            for other in self._rectangles:
                if contains(other, rectangle):
                    return
            self._rectangles = [other for other in self._rectangles if not contains(rectangle, other)]
            neighbour = self._cheapest_to_merge(rectangle)
            if neighbour is None:
                self._rectangles.append(rectangle)
                return
            self._rectangles.remove(neighbour)
            rectangle = rectangle.union(neighbour)

    def _cheapest_to_merge(self, rectangle: Rectangle) -> Rectangle | None:
        """The rectangle to replace, with ``rectangle``, by their union: one that costs no pixel, or when full, few."""
        best, least = None, 0
        left, top, right, bottom = rectangle.left, rectangle.top, rectangle.right, rectangle.bottom
        area = _area(rectangle)
        for other in self._rectangles:  # without making their unions: this is most of what adding costs
            width = max(right, other.right) - min(left, other.left)
            height = max(bottom, other.bottom) - min(top, other.top)
            waste = width * height - area - (other.right - other.left) * (other.bottom - other.top)
            if best is None or waste < least:
                best, least = other, waste
        return best if least <= 0 or len(self._rectangles) >= self._limit else None

    def take(self) -> list[Rectangle]:
        """All of it; the list is empty from then on."""
        taken, self._rectangles = self._rectangles, []
        return taken

    @property
    def rectangles(self) -> Sequence[Rectangle]:
        """All of it."""
        return self._rectangles


class MoveList:
    """Where a screen's pixels come from, of what its reader has got: an area for an area, no two areas overlap.

    What is in no area, and is not damaged, is as the reader has got it. All sources are parts of what the reader has
    got, however often their pixels have been moved since; so the moves are one step, not one after the other.
    """

    def __init__(self, limit: int = MAX_MOVES) -> None:
        self._limit = limit
        self._moves: list[Move] = []

    def __bool__(self) -> bool:
        return bool(self._moves)

    def add(self, moves: Sequence[Move], damage: Sequence[Rectangle]) -> list[Rectangle]:
        """The screen has moved pixels again.

        Args:
            moves: all at once, from the screen as it was; no two areas overlap.
            damage: all that the reader has yet to take, up to then.

        Returns:
            where pixels have come to that the reader does not have: damage, too.
        """
        lost: list[Rectangle] = []
        added: list[Move] = []
        for move in moves:
            dx, dy, rest = move.dx, move.dy, [move.source]
            for hole in damage:
                lost += [cut.shifted(dx, dy) for cut in _cut(rest, hole)]
                rest = _without(rest, hole)
                lost += [part.shifted(dx, dy) for part in self._beyond_limit(rest)]
            for earlier in self._moves:
                added += [
                    Move(cut.shifted(dx, dy), dx + earlier.dx, dy + earlier.dy) for cut in _cut(rest, earlier.area)
                ]
                rest = _without(rest, earlier.area)
                lost += [part.shifted(dx, dy) for part in self._beyond_limit(rest)]
            added += [Move(part.shifted(dx, dy), dx, dy) for part in rest]
        for move in self._moves:
            parts = [move.area]
            for later in moves:
                parts = _without(parts, later.area)
            added += [Move(part, move.dx, move.dy) for part in parts]
        self._moves = [move for move in added if move.dx or move.dy]  # what came back is as it was
        if len(self._moves) > self._limit:
            self._moves.sort(key=lambda move: _area(move.area), reverse=True)
            lost += [move.area for move in self._moves[self._limit :]]
            del self._moves[self._limit :]
        return lost

    def _beyond_limit(self, parts: list[Rectangle]) -> list[Rectangle]:
        """Take the smallest out of so many parts that not all could be kept: the time grows with them."""
        if len(parts) <= self._limit:
            return []
        parts.sort(key=_area, reverse=True)
        small = parts[self._limit :]
        del parts[self._limit :]
        return small

    def grabbed(self, part: Rectangle) -> list[Rectangle]:
        """The reader has got a part of the screen as it is now, so it cannot make anything out of what was there.

        Returns:
            what is damage for that reason.
        """
        spoilt = [move for move in self._moves if not move.source.intersection(part).is_empty()]
        self._moves = [move for move in self._moves if move not in spoilt]
        return [move.area for move in spoilt]

    def take(self) -> list[Move]:
        """All of them; the list is empty from then on."""
        taken, self._moves = self._moves, []
        return taken


def _cut(parts: Iterable[Rectangle], other: Rectangle) -> list[Rectangle]:
    return [cut for part in parts if not (cut := part.intersection(other)).is_empty()]


def _without(parts: Iterable[Rectangle], hole: Rectangle) -> list[Rectangle]:
    return [left for part in parts for left in part.without(hole)]


class DesktopScreen:
    """One reader of a `ReadableDesktop`: an `api.devices.MovingScreen`. `ReadableDesktop.open_screen` makes it."""

    def __init__(self, desktop: "ReadableDesktop", on_damage: Callable[[], None]) -> None:
        self._desktop = desktop
        self._on_damage = on_damage
        self._damage = DamageList()
        self._moves: MoveList | None = None  # until this reader asks for them, they are damage
        self._pointer: PointerShape | None = None
        self._position: tuple[int, int] | None = None
        self._signalled = False  # since the reader last took something: it knows, and is not told again

    @property
    def width(self) -> int:
        """Pixels, now."""
        return self._desktop.width

    @property
    def height(self) -> int:
        """Pixels, now."""
        return self._desktop.height

    def take_damage(self) -> list[Rectangle]:
        """What changed since this reader last asked: not empty rectangles inside the screen. At first: all of it."""
        return self._desktop._take_damage(self)

    def take_moves(self) -> list[Move]:
        """What was only moved since this reader last asked; to be called right before `take_damage`.

        A reader that never calls this gets moves as damage.
        """
        return self._desktop._take_moves(self)

    def grab(self, rectangle: Rectangle, out: Pixels | None = None) -> Pixels:
        """Copy a part of the screen, never a half-drawn one.

        What lies outside the screen is black. That happens only if the desktop was resized since the damage was taken,
        and then everything is damaged again.

        Args:
            rectangle: not empty.
            out: where to, uint8, shape (rectangle.height, rectangle.width, 4); a new array if absent.

        Returns:
            ``out``: BGRX; the fourth byte of a pixel means nothing.
        """
        shape = (rectangle.height, rectangle.width, 4)
        if out is None:
            out = np.empty(shape, np.uint8)
        elif out.shape != shape:
            raise ValueError(f"out has shape {out.shape}, the rectangle needs {shape}")
        screen = Rectangle(0, 0, self._desktop.width, self._desktop.height)
        if contains(screen, rectangle):
            self._desktop._copy_pixels(rectangle, out)
            if self._moves is not None:
                self._desktop._grabbed(self, rectangle)
            return out
        out[...] = 0
        inside = rectangle.intersection(screen)
        if inside.is_empty():
            return out
        left, top = inside.left - rectangle.left, inside.top - rectangle.top
        self._desktop._copy_pixels(inside, out[top : top + inside.height, left : left + inside.width])
        if self._moves is not None:
            self._desktop._grabbed(self, inside)
        return out

    def take_pointer(self) -> PointerShape | None:
        """The pointer's shape, if it changed since this reader last asked. At first: the one there is."""
        return self._desktop._take_pointer(self)

    def take_pointer_position(self) -> tuple[int, int] | None:
        """Where the desktop itself moved the pointer, if it did since this reader last asked."""
        return self._desktop._take_position(self)

    def close(self) -> None:
        """The reader is gone. A closed screen signals nothing any more; closing it twice is allowed."""
        self._desktop._forget(self)


class ReadableDesktop(Desktop):
    """A desktop with any number of readers. Its pixels are a subclass's matter.

    Drawing may happen in a thread of its own; the lock guards what readers have yet to take, and is held briefly.
    """

    def __init__(self, width: int, height: int) -> None:
        self._width, self._height = clamp_size(width, height)
        self._screens: list[DesktopScreen] = []
        self._lock = threading.Lock()
        self._pointer = DEFAULT_POINTER
        self._shown = True

    @property
    def width(self) -> int:
        """Pixels."""
        return self._width

    @property
    def height(self) -> int:
        """Pixels."""
        return self._height

    def open_screen(self, on_damage: Callable[[], None]) -> DesktopScreen:
        """A new reader of the pixels. ``on_damage`` is called once, until the reader takes something."""
        screen = DesktopScreen(self, on_damage)
        screen._damage.add(Rectangle(0, 0, self._width, self._height))
        screen._pointer = self._pointer
        with self._lock:
            self._screens.append(screen)
        return screen

    # For subclasses

    @property
    def _moves_are_taken(self) -> bool:
        """Whether any reader wants to know what was only moved."""
        return any(screen._moves is not None for screen in self._screens)

    @abstractmethod
    def _copy_pixels(self, rectangle: Rectangle, out: Pixels) -> None:
        """Copy ``rectangle``, which is inside the screen and not empty, to ``out``; never half-drawn."""

    def _refresh(self) -> None:
        """Draw what waits to be drawn: somebody looks. Adds damage, signals none."""

    def _add_damage(self, rectangles: Iterable[Rectangle]) -> None:
        """Something changed there: every reader has yet to take it."""
        if not self._screens:
            return
        screen_area = Rectangle(0, 0, self._width, self._height)
        clipped = [rectangle.intersection(screen_area) for rectangle in rectangles]
        with self._lock:
            for screen in self._screens:
                for rectangle in clipped:
                    screen._damage.add(rectangle)

    def _add_moves(self, moves: Iterable[Move]) -> None:
        """Pixels were moved, all at once: each area has what was at its source. No two areas overlap.

        To be called in its place among calls of `_add_damage`: what was drawn before and is moved has been told before.
        Where the desktop can be drawn to in another thread, pixels and this call change under one lock, as in
        `MemoryDesktop.move`.
        """
        if not self._screens:
            return
        screen_area = Rectangle(0, 0, self._width, self._height)
        inside: list[Move] = []
        others: list[Rectangle] = []
        for move in moves:
            if not move.dx and not move.dy:
                continue
            seen = move.area.intersection(screen_area)
            known = seen.intersection(screen_area.shifted(move.dx, move.dy))
            if not known.is_empty():
                inside.append(Move(known, move.dx, move.dy))
            if not seen.is_empty():
                others += seen.without(known)
        with self._lock:
            for screen in self._screens:
                if screen._moves is not None:
                    damage = [*screen._moves.add(inside, screen._damage.rectangles), *others]
                else:
                    damage = [*(move.area for move in inside), *others]
                for rectangle in damage:
                    screen._damage.add(rectangle)

    def _signal(self) -> None:
        """Tell the readers that there is something to take, unless they know. In the caller's thread."""
        if not self._shown:
            return
        with self._lock:
            untold = [screen for screen in self._screens if not screen._signalled]
            for screen in untold:
                screen._signalled = True
        for screen in untold:
            screen._on_damage()

    def _show(self) -> None:
        """Be seen from now on: what readers asked for before got no answer."""
        if not self._shown:
            self._shown = True
            self._signal()

    def _set_size(self, width: int, height: int) -> None:
        """Everything is new: the old damage would lie outside, or be a part of it."""
        with self._lock:
            self._width, self._height = width, height
            for screen in self._screens:
                screen._damage.take()
                if screen._moves is not None:
                    screen._moves.take()
                screen._damage.add(Rectangle(0, 0, width, height))

    def set_pointer(self, shape: PointerShape) -> None:
        """Change the pointer's shape for everybody: a shape, `DEFAULT_POINTER` or `HIDDEN_POINTER`."""
        if shape is self._pointer:
            return
        with self._lock:
            self._pointer = shape
            for screen in self._screens:
                screen._pointer = shape
        self._signal()

    def move_pointer(self, x: int, y: int) -> None:
        """Put the pointer somewhere, as a program on the desktop may; clients are told."""
        with self._lock:
            for screen in self._screens:
                screen._position = (x, y)
        self._signal()

    # For screens

    def _take_damage(self, screen: DesktopScreen) -> list[Rectangle]:
        if not self._shown:
            return []
        self._refresh()
        with self._lock:
            screen._signalled = False
            if screen._moves is not None:
                for move in screen._moves.take():  # that it did not want
                    screen._damage.add(move.area)
            return screen._damage.take() if screen in self._screens else []

    def _take_moves(self, screen: DesktopScreen) -> list[Move]:
        if not self._shown:
            return []
        self._refresh()
        with self._lock:
            if screen._moves is None:
                screen._moves = MoveList()
            return screen._moves.take() if screen in self._screens else []

    def _grabbed(self, screen: DesktopScreen, part: Rectangle) -> None:
        if not screen._moves:  # what the grab shows has been told before the grab could copy it
            return
        with self._lock:
            for rectangle in screen._moves.grabbed(part):
                screen._damage.add(rectangle)

    def _take_pointer(self, screen: DesktopScreen) -> PointerShape | None:
        if not self._shown:
            return None
        with self._lock:
            shape, screen._pointer = screen._pointer, None
            return shape

    def _take_position(self, screen: DesktopScreen) -> tuple[int, int] | None:
        with self._lock:
            position, screen._position = screen._position, None
            return position

    def _forget(self, screen: DesktopScreen) -> None:
        with self._lock:
            if screen in self._screens:
                self._screens.remove(screen)
