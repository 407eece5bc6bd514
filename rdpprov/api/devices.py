"""The boundary between a session's desktop and the provider's wire: what Windows does with drivers and IOCTLs.

The provider hands out its devices (`IWRdsProtocolConnection.GetVideoHandle`, `GetInputHandles`); the service plugs the
session's desktop into them and out again. Frames are pulled: a screen signals damage, the device grabs when its client
can take a frame. Nothing here needs a Python object to cross it, so a desktop may live in a process of its own.
"""

from collections.abc import Sequence
from enum import Enum, IntEnum
from typing import Protocol, TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]
"""Rows of BGRX (a pointer's: BGRA), dtype uint8, shape (height, width, 4); row 0 is the top."""


@attrs.frozen
class Rectangle:
    """A part of a screen in pixels; ``right`` and ``bottom`` are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Pixels; zero or less if the rectangle is empty."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Pixels; zero or less if the rectangle is empty."""
        return self.bottom - self.top

    def is_empty(self) -> bool:
        """Whether it holds no pixel."""
        return self.right <= self.left or self.bottom <= self.top

    def intersection(self, other: "Rectangle") -> "Rectangle":
        """The common part; empty if there is none."""
        return Rectangle(
            max(self.left, other.left),
            max(self.top, other.top),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
        )

    def union(self, other: "Rectangle") -> "Rectangle":
        """The smallest rectangle that holds both. An empty one adds nothing."""
        if self.is_empty():
            return other
        if other.is_empty():
            return self
        return Rectangle(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )

    def shifted(self, dx: int, dy: int) -> "Rectangle":
        """The same size, ``dx`` pixels to the right and ``dy`` down."""
        return Rectangle(self.left + dx, self.top + dy, self.right + dx, self.bottom + dy)

    def without(self, hole: "Rectangle") -> "list[Rectangle]":
        """What is left of it: up to four rectangles that do not overlap."""
        cut = self.intersection(hole)
        if cut.is_empty():
            return [self]
        left = [
            Rectangle(self.left, self.top, self.right, cut.top),
            Rectangle(self.left, cut.top, cut.left, cut.bottom),
            Rectangle(cut.right, cut.top, self.right, cut.bottom),
            Rectangle(self.left, cut.bottom, self.right, self.bottom),
        ]
        return [part for part in left if not part.is_empty()]


@attrs.frozen
class Move:
    """Pixels of a screen that are now where others were: those of ``area`` were at `source` before."""

    area: Rectangle
    """Where they are now."""
    dx: int
    """Pixels that they have come to the right; negative: to the left."""
    dy: int
    """Pixels that they have come down; negative: up."""

    @property
    def source(self) -> Rectangle:
        """Where they were. It may overlap `area`, and what is there now is not said."""
        return self.area.shifted(-self.dx, -self.dy)


class Button(IntEnum):
    """A mouse button."""

    LEFT = 1
    RIGHT = 2
    MIDDLE = 3
    X1 = 4
    X2 = 5


class WheelAxis(Enum):
    """Which of the two wheels turned."""

    VERTICAL = "vertical"
    HORIZONTAL = "horizontal"


@attrs.frozen
class ScancodeKey:
    """A key by its place on the keyboard: scan code set 1, as a PC keyboard sends it."""

    scancode: int
    """0 to 0x7F, without prefix and release bit."""
    pressed: bool
    extended: bool = False
    """Prefix E0."""
    extended1: bool = False
    """Prefix E1 (Pause: 1D with E1, then 45)."""


@attrs.frozen
class UnicodeKey:
    """A key by the character that it makes; no layout is applied to it."""

    text: str
    """One character; a provider joins surrogates before it sends them on."""
    pressed: bool


@attrs.frozen
class PointerMotion:
    """The pointer is at ``x``, ``y`` now, in pixels of the screen."""

    x: int
    y: int


@attrs.frozen
class PointerButton:
    """A button went down or up at ``x``, ``y``."""

    button: Button
    pressed: bool
    x: int
    y: int


@attrs.frozen
class PointerWheel:
    """A wheel turned at ``x``, ``y``. ``rotation``: 120 is a notch; positive is away from the user, or right."""

    axis: WheelAxis
    rotation: int
    x: int
    y: int


@attrs.frozen
class LockKeys:
    """The lock keys' state at the client, sent when it gets the focus; every key that was held is up by then."""

    scroll: bool
    num: bool
    caps: bool
    kana: bool


InputEvent: TypeAlias = ScancodeKey | UnicodeKey | PointerMotion | PointerButton | PointerWheel | LockKeys


class InputSink(Protocol):
    """Who takes input events: the session's desktop, through the service."""

    def input_event(self, event: InputEvent) -> None:
        """Take one event. Returns at once and never fails because of what the event says."""


@attrs.frozen(eq=False)
class PointerShape:
    """A mouse pointer. ``pixels`` are BGRA with straight alpha, shape (height, width, 4)."""

    width: int
    height: int
    hot_x: int
    """The pointer's tip, in pixels from the shape's left."""
    hot_y: int
    """... and from its top."""
    pixels: Pixels


DEFAULT_POINTER = PointerShape(0, 0, 0, 0, np.zeros((0, 0, 4), np.uint8))
"""The client's own arrow. Compare by identity."""
HIDDEN_POINTER = PointerShape(0, 0, 0, 0, np.zeros((0, 0, 4), np.uint8))
"""No pointer at all. Compare by identity."""


class Screen(Protocol):
    """One reader's view of a desktop. Every reader has damage of its own; none holds a frame."""

    @property
    def width(self) -> int:
        """Pixels, now; it changes only between two frames, and then everything is damaged."""

    @property
    def height(self) -> int:
        """Pixels, now."""

    def take_damage(self) -> Sequence[Rectangle]:
        """What changed since this reader last asked: not empty rectangles inside the screen. At first: all of it."""

    def grab(self, rectangle: Rectangle, out: Pixels | None = None) -> Pixels:
        """Copy a part of the screen, never a half-drawn one.

        Args:
            rectangle: inside the screen.
            out: where to, shape (rectangle.height, rectangle.width, 4); a new array if absent.

        Returns:
            ``out``: BGRX; the fourth byte of a pixel means nothing.
        """

    def take_pointer(self) -> PointerShape | None:
        """The pointer's shape, if it changed since this reader last asked."""

    def take_pointer_position(self) -> tuple[int, int] | None:
        """Where the desktop itself moved the pointer, if it did since this reader last asked."""

    def close(self) -> None:
        """The reader is gone. A closed screen signals nothing any more; closing it twice is allowed."""


class MovingScreen(Screen, Protocol):
    """A screen that knows what has only been moved. A `Screen` need not: what it moves is damage, and that is right.

    A device for clients that can copy what they show asks for moves first, and then, at once, for the damage. Who never
    asks for moves gets them all as damage.
    """

    def take_moves(self) -> Sequence[Move]:
        """What was moved since this reader last asked, and is then no damage of its own any more.

        All at once: every source is a part of the screen as this reader has got it, by all that it has taken and
        grabbed before, and no area of one overlaps that of another. So nothing may be overwritten that is yet to be
        copied, and what the reader has taken as damage and not shown yet must not be copied. Areas that are in the
        damage too have changed in other ways: the damage counts.
        """


class VideoDevice(Protocol):
    """What `ProtocolConnection.get_video_handle` returns: the provider's end of the display. Calls return at once."""

    def plug(self, screen: Screen) -> None:
        """From now on show this screen; all of it is damaged. Replaces the one that was plugged in."""

    def unplug(self) -> None:
        """Show nothing any more; the last picture may stay where it is."""

    def damaged(self) -> None:
        """The screen plugged in has something to take: damage, a pointer shape, a pointer position."""


class InputDevices(Protocol):
    """What `ProtocolConnection.get_input_handles` returns: keyboard and mouse. All calls return at once."""

    def plug(self, sink: InputSink) -> None:
        """Send events to ``sink`` from now on."""

    def unplug(self) -> None:
        """Drop events from now on. The service has released what was pressed."""


class Channel(Protocol):
    """What `ProtocolConnection.create_virtual_channel` returns. The same shape as a trio stream."""

    async def send_all(self, data: bytes) -> None:
        """Send ``data``; on a channel of messages, as one message."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for data; empty at the end."""

    async def aclose(self) -> None:
        """Close the channel."""


class TaskStatus(Protocol):
    """trio's word for "the task is up now", as `trio.Nursery.start` hands it out."""

    def started(self, value: object = None) -> None:
        """Say so, once."""
