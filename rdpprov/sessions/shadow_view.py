"""Another session's desktop as it is seen on a client whose screen has a size of its own.

The client keeps the size that it has: a picture that fits is shown as it is, in the middle of black, a larger one is
scaled down. So no provider has to follow a change of size, whatever its protocol.
"""

from collections.abc import Callable

import attrs
import numpy as np
import trio
from numpy.typing import NDArray

from rdpprov.api.devices import (
    InputEvent,
    InputSink,
    Pixels,
    PointerButton,
    PointerMotion,
    PointerShape,
    PointerWheel,
    Rectangle,
    Screen,
    TaskStatus,
)
from rdpprov.sessions.base import Desktop


@attrs.frozen
class Fit:
    """Where in a window a picture is shown, and how large."""

    picture: tuple[int, int]
    """Width and height, pixels."""
    place: Rectangle
    """In the window; as large as the picture, or smaller."""

    @classmethod
    def into(cls, window: tuple[int, int], picture: tuple[int, int]) -> "Fit":
        """In the middle, as large as it is, or as large as the window allows without distortion."""
        scale = min(1.0, window[0] / picture[0], window[1] / picture[1])
        width, height = (max(1, int(side * scale)) for side in picture)
        left, top = (window[0] - width) // 2, (window[1] - height) // 2
        return cls(picture, Rectangle(left, top, left + width, top + height))

    @property
    def is_scaled(self) -> bool:
        """Whether the picture is larger than its place."""
        return self.picture != (self.place.width, self.place.height)

    def to_picture(self, x: int, y: int) -> tuple[int, int]:
        """The picture's pixel that is seen there, the first of several; beside the picture: the nearest."""
        (width, height), place = self.picture, self.place
        picture_x = (min(max(x, place.left), place.right - 1) - place.left) * width // place.width
        picture_y = (min(max(y, place.top), place.bottom - 1) - place.top) * height // place.height
        return picture_x, picture_y

    def to_window(self, x: int, y: int) -> tuple[int, int]:
        """Where a pixel of the picture is seen."""
        (width, height), place = self.picture, self.place
        # The greatest i with i * width // place.width <= x, for that is where the pixels of column i begin.
        return place.left + ((x + 1) * place.width - 1) // width, place.top + ((y + 1) * place.height - 1) // height

    def around_in_window(self, part: Rectangle) -> Rectangle:
        """All pixels of the window that show something of a part of the picture, which is not empty."""
        left, top = self.to_window(part.left, part.top)
        right, bottom = self.to_window(part.right - 1, part.bottom - 1)
        return Rectangle(left, top, right + 1, bottom + 1).intersection(self.place)

    def in_picture(self, part: Rectangle) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """For each column, and for each row, of a part of the place: where its pixels begin, and where the last end."""
        (width, height), place = self.picture, self.place
        columns = np.arange(part.left - place.left, part.right - place.left + 1) * width // place.width
        rows = np.arange(part.top - place.top, part.bottom - place.top + 1) * height // place.height
        return columns, rows


class FittedScreen:
    """One reader of a `FittedDesktop`: an `rdpprov.api.devices.Screen` of the window's size."""

    def __init__(self, window: tuple[int, int], screen: Screen) -> None:
        self._window = window
        self._screen = screen
        self._fit = Fit.into(window, (screen.width, screen.height))
        self._is_new = True

    @property
    def width(self) -> int:
        """Pixels."""
        return self._window[0]

    @property
    def height(self) -> int:
        """Pixels."""
        return self._window[1]

    def _fitted(self) -> Fit:
        """As the picture is now; if it has got another size, all is new."""
        picture = (self._screen.width, self._screen.height)
        if picture != self._fit.picture:
            self._fit = Fit.into(self._window, picture)
            self._is_new = True
        return self._fit

    def take_damage(self) -> list[Rectangle]:
        """What changed since this reader last asked. At first, and after a change of size: all of it."""
        damage = self._screen.take_damage()
        fit = self._fitted()
        if self._is_new:
            self._is_new = False
            return [Rectangle(0, 0, *self._window)]
        seen = [fit.around_in_window(part) for part in damage]
        return [part for part in seen if not part.is_empty()]

    def grab(self, rectangle: Rectangle, out: Pixels | None = None) -> Pixels:
        """Copy a part of the window, black beside the picture."""
        if out is None:
            out = np.empty((rectangle.height, rectangle.width, 4), np.uint8)
        fit = self._fitted()
        part = rectangle.intersection(fit.place)
        if part != rectangle:
            out[...] = 0
        if part.is_empty():
            return out
        left, top = part.left - rectangle.left, part.top - rectangle.top
        target = out[top : top + part.height, left : left + part.width]
        if fit.is_scaled:
            columns, rows = fit.in_picture(part)
            seen = Rectangle(int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1]))
            target[...] = _scaled(self._screen.grab(seen), columns - columns[0], rows - rows[0])
        else:
            x, y = part.left - fit.place.left, part.top - fit.place.top
            self._screen.grab(Rectangle(x, y, x + part.width, y + part.height), target)
        return out

    def take_pointer(self) -> PointerShape | None:
        """The pointer's shape, in its own size."""
        return self._screen.take_pointer()

    def take_pointer_position(self) -> tuple[int, int] | None:
        """Where the desktop moved the pointer, in the window."""
        position = self._screen.take_pointer_position()
        return None if position is None else self._fitted().to_window(*position)

    def close(self) -> None:
        """The reader is gone."""
        self._screen.close()


def _scaled(pixels: Pixels, columns: NDArray[np.intp], rows: NDArray[np.intp]) -> Pixels:
    """The mean of the first and the last of what falls together: down to half the size, the mean of all of it.

    Each result depends on its own pixels alone, so parts that are grabbed one by one join without a seam.

    Args:
        pixels: shape (height, width, 4).
        columns: for each column of the result, where its pixels begin; and the width.
        rows: likewise.
    """
    words = np.ascontiguousarray(pixels).view("<u4")[..., 0]
    words = _mean(words[rows[:-1]], words[rows[1:] - 1])
    words = _mean(words.take(columns[:-1], axis=1), words.take(columns[1:] - 1, axis=1))
    return words.view(np.uint8).reshape(*words.shape, 4)


def _mean(one: NDArray[np.uint32], other: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Byte by byte, four at a time: what both have, and half of what only one has."""
    return (one & other) + (((one ^ other) & np.uint32(0xFEFEFEFE)) >> np.uint32(1))


class FittedDesktop(Desktop):
    """Another desktop in a window of a size that never changes.

    It has no life and no pixels of its own; it is for as long as its client looks at the other desktop.

    Args:
        desktop: the other one.
        sink: takes the input, in the other desktop's coordinates; None: it is dropped.
        width: of the window, pixels.
        height: likewise.
    """

    def __init__(self, desktop: Desktop, sink: InputSink | None, width: int, height: int) -> None:
        self._desktop = desktop
        self._sink = sink
        self._window = (width, height)

    @property
    def width(self) -> int:
        """Pixels."""
        return self._window[0]

    @property
    def height(self) -> int:
        """Pixels."""
        return self._window[1]

    def open_screen(self, on_damage: Callable[[], None]) -> FittedScreen:
        """A new reader of the other desktop."""
        return FittedScreen(self._window, self._desktop.open_screen(on_damage))

    async def resize(self, width: int, height: int) -> None:
        """The window keeps its size."""
        await trio.lowlevel.checkpoint()

    def _fitted(self, event: InputEvent) -> InputEvent | None:
        """An event as the other desktop is to get it; None: not at all, for it is a press beside the picture."""
        if not isinstance(event, PointerMotion | PointerButton | PointerWheel):
            return event
        fit = Fit.into(self._window, (self._desktop.width, self._desktop.height))
        x, y = fit.to_picture(event.x, event.y)
        is_press = isinstance(event, PointerButton) and event.pressed
        if is_press and Rectangle(event.x, event.y, event.x + 1, event.y + 1).intersection(fit.place).is_empty():
            return None
        return attrs.evolve(event, x=x, y=y)

    def input_event(self, event: InputEvent) -> None:
        """Pass it on, where the picture is."""
        if self._sink is not None and (fitted := self._fitted(event)) is not None:
            self._sink.input_event(fitted)

    async def run(self, *, task_status: TaskStatus) -> None:
        """Nothing to do."""
        task_status.started()
        await trio.sleep_forever()
