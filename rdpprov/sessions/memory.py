"""A desktop in memory: one shared framebuffer that somebody draws into, a sequence counter, damage for every reader."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import trio

from rdpprov.api.devices import InputEvent, Move, Pixels, Rectangle, TaskStatus
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import LocalProtocolError, RdpProvError
from rdpprov.sessions.pages import blank_pixels
from rdpprov.sessions.screens import ReadableDesktop, clamp_size

BYTES_PER_PIXEL = 4
DEFAULT_BUDGET = 4 << 30
"""Bytes of pixels that this process may hold; a 1024x768 desktop has 3 MiB, one of 8192x8192 256 MiB."""
GRAB_TRIES = 16
"""Copies that may tear before a reader makes the writer wait: a writer that never rests must not starve it."""


class PixelBudgetError(RdpProvError):
    """A desktop would need more pixels than this process may still take. Nothing has been taken."""

    errinfo = ErrInfo.ERRINFO_OUT_OF_MEMORY


class PixelBudget:
    """How many bytes of pixels may be held. Asked before memory is taken, so that clients' sizes cannot exhaust it."""

    def __init__(self, limit: int = DEFAULT_BUDGET) -> None:
        self.limit = limit
        self._used = 0
        self._lock = threading.Lock()

    @property
    def used(self) -> int:
        """Bytes reserved now."""
        return self._used

    def reserve(self, size: int, what: str) -> None:
        """Count ``size`` bytes as taken.

        Raises:
            PixelBudgetError: they would go beyond the limit; ``what`` says what they were for.
        """
        with self._lock:
            if self._used + size > self.limit:
                raise PixelBudgetError(
                    f"{what} needs {size:,} bytes, but {self._used:,} of the {self.limit:,} bytes "
                    f"that all desktops together may have are taken"
                )
            self._used += size

    def release(self, size: int) -> None:
        """Give back what `reserve` counted."""
        with self._lock:
            self._used -= size


PIXEL_BUDGET = PixelBudget()
"""This process's budget: shared by all desktops that are given no other."""


class MemoryDesktop(ReadableDesktop):
    """A framebuffer that a program draws into, BGRX, shape (height, width, 4).

    The framebuffer starts black, and its memory is real only where something has been drawn. What scrolls is better
    moved (`move`) than drawn again. One writer at a time (`draw`, `move`), in any thread; a signal of damage comes in
    the writer's thread, so a writer outside the event loop wraps ``on_damage`` itself.

    Args:
        width: pixels, clamped to 200 to 8192.
        height: likewise.
        on_input: takes the input events; they are dropped if it is absent.
        budget: what the framebuffer is counted against.

    Raises:
        PixelBudgetError: the budget does not hold it.
    """

    def __init__(
        self,
        width: int,
        height: int,
        *,
        on_input: Callable[[InputEvent], None] | None = None,
        budget: PixelBudget = PIXEL_BUDGET,
    ) -> None:
        super().__init__(width, height)
        self._budget = budget
        self._on_input = on_input
        self._pixels = self._allocate(self._width, self._height)
        self._writer = threading.RLock()
        self._sequence = 0  # odd while somebody draws; a reader compares it before and after its copy
        self._drawing = 0  # how deep draw() is nested; the outermost moves the sequence counter
        self._drawn_to: list[Rectangle] = []  # by draw() that has not ended: no reader has been told yet
        self._closed = trio.Event()

    def _allocate(self, width: int, height: int) -> Pixels:
        self._budget.reserve(width * height * BYTES_PER_PIXEL, f"a desktop of {width}x{height}")
        return blank_pixels(width, height)

    @contextmanager
    def draw(self, rectangle: Rectangle | None = None) -> Iterator[Pixels]:
        """Change pixels: a view of ``rectangle``, clipped to the screen (all of it if absent), to write into.

        Readers see all of the change or none. Hold it briefly and do not await inside: a reader that gets torn copies
        again and again makes its thread wait for the end. When it ends, the rectangle is damaged and readers are told.
        """
        with self._writing():
            area = Rectangle(0, 0, self._width, self._height)
            clipped = area if rectangle is None else area.intersection(rectangle)
            if clipped.is_empty():
                yield self._pixels[:0, :0]
                return
            self._drawn_to.append(clipped)
            try:
                yield self._pixels[clipped.top : clipped.bottom, clipped.left : clipped.right]
            finally:
                self._drawn_to.pop()
                self._add_damage([clipped])
        self._signal()

    def move(self, rectangle: Rectangle, dx: int, dy: int) -> None:
        """Copy the pixels of ``rectangle`` to a place ``dx`` to the right of it and ``dy`` below, as far as they stay
        on the screen; the two may overlap. What is not overwritten stays as it was.

        A client that can copy what it shows is told to (RFB's CopyRect), others get the pixels. To scroll a text, move
        all lines but the first up by the height of one, then draw the last.

        Inside a `draw`, at whose end readers see all of it at once, what is moved out of the rectangle that is drawn to
        is sent as pixels.
        """
        with self._writing():
            screen = Rectangle(0, 0, self._width, self._height)
            source = rectangle.intersection(screen).intersection(screen.shifted(-dx, -dy))
            if source.is_empty() or (dx, dy) == (0, 0):
                return
            target = source.shifted(dx, dy)
            # Assigning a slice to one that it overlaps copies it first.
            self._pixels[target.top : target.bottom, target.left : target.right] = self._pixels[
                source.top : source.bottom, source.left : source.right
            ]
            self._add_damage(self._drawn_to)
            self._add_moves([Move(target, dx, dy)])
        self._signal()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._writer:
            if self._closed.is_set():
                raise LocalProtocolError("this desktop is closed, nothing can be drawn any more")
            self._drawing += 1
            if self._drawing == 1:
                self._sequence += 1
            try:
                yield
            finally:
                self._drawing -= 1
                if self._drawing == 0:
                    self._sequence += 1

    def _copy_pixels(self, rectangle: Rectangle, out: Pixels) -> None:
        rows, columns = slice(rectangle.top, rectangle.bottom), slice(rectangle.left, rectangle.right)
        for _ in range(GRAB_TRIES):
            before = self._sequence
            if before % 2 == 0:
                pixels = self._pixels  # taken once: a resize puts another array there
                np.copyto(out, pixels[rows, columns])
                if self._sequence == before:
                    return
            time.sleep(0)  # let the writer's thread go on
        with self._writer:
            np.copyto(out, self._pixels[rows, columns])

    async def resize(self, width: int, height: int) -> None:
        """Take a new size, clamped to 200x200 to 8192x8192; what fits stays, the rest is black.

        Raises:
            PixelBudgetError: the budget does not hold it; the size stays as it was.
        """
        await trio.lowlevel.checkpoint()
        width, height = clamp_size(width, height)
        if (width, height) == (self._width, self._height) or self._closed.is_set():
            return
        pixels = self._allocate(width, height)
        with self._writing():
            old = self._pixels
            rows, columns = min(height, self._height), min(width, self._width)
            np.copyto(pixels[:rows, :columns], old[:rows, :columns])
            self._pixels = pixels
            self._set_size(width, height)
        self._budget.release(old.nbytes)
        self._signal()

    def input_event(self, event: InputEvent) -> None:
        """Hand the event to ``on_input``."""
        if self._on_input is not None:
            self._on_input(event)

    async def run(self, *, task_status: TaskStatus) -> None:
        """Be there until closed: a plain framebuffer has no user who could log off."""
        task_status.started()
        await self._closed.wait()

    async def aclose(self) -> None:
        """Give the framebuffer back. Readers see black from then on; drawing is an error."""
        await trio.lowlevel.checkpoint()
        with self._writer:
            if not self._closed.is_set():
                self._closed.set()
                self._budget.release(self._pixels.nbytes)
                black = np.zeros(BYTES_PER_PIXEL, np.uint8)
                self._pixels = np.broadcast_to(black, self._pixels.shape)  # the shape, without the memory
