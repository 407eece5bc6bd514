"""Readers of a desktop, and what each of them has yet to take: damage, pointer; never a frame.

`ReadableDesktop` is everything of a `Desktop` that does not depend on where its pixels are: `MemoryDesktop` has them in
a framebuffer, `SceneDesktop` paints what a reader asks for when it asks.
"""

import threading
from abc import abstractmethod
from collections.abc import Callable, Iterable

import numpy as np

from rdpprov.api.devices import DEFAULT_POINTER, Pixels, PointerShape, Rectangle
from rdpprov.sessions.base import MAX_DESKTOP, MIN_DESKTOP, Desktop

MAX_DAMAGE = 32
"""Rectangles that one reader's damage is kept in; beyond, they are merged. Bounds memory and the cost of adding one."""


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
        for other in self._rectangles:
            waste = _area(rectangle.union(other)) - _area(rectangle) - _area(other)
            if best is None or waste < least:
                best, least = other, waste
        return best if least <= 0 or len(self._rectangles) >= self._limit else None

    def take(self) -> list[Rectangle]:
        """All of it; the list is empty from then on."""
        taken, self._rectangles = self._rectangles, []
        return taken


class DesktopScreen:
    """One reader of a `ReadableDesktop`: an `api.devices.Screen`. `ReadableDesktop.open_screen` makes it."""

    def __init__(self, desktop: "ReadableDesktop", on_damage: Callable[[], None]) -> None:
        self._desktop = desktop
        self._on_damage = on_damage
        self._damage = DamageList()
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
            return out
        out[...] = 0
        inside = rectangle.intersection(screen)
        if inside.is_empty():
            return out
        left, top = inside.left - rectangle.left, inside.top - rectangle.top
        self._desktop._copy_pixels(inside, out[top : top + inside.height, left : left + inside.width])
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
            return screen._damage.take() if screen in self._screens else []

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
