from collections.abc import Callable

import numpy as np
import pytest

from rdpprov.api.devices import InputSink, Move, Pixels, Rectangle, ScancodeKey, UnicodeKey
from rdpprov.api.identity import UserToken
from rdpprov.sessions.base import Desktop, DesktopRequest
from rdpprov.sessions.keyboard import EditKey

SCANCODES = {
    EditKey.BACKSPACE: (0x0E, False),
    EditKey.DELETE: (0x53, True),
    EditKey.ENTER: (0x1C, False),
    EditKey.TAB: (0x0F, False),
    EditKey.ESCAPE: (0x01, False),
    EditKey.LEFT: (0x4B, True),
    EditKey.RIGHT: (0x4D, True),
    EditKey.UP: (0x48, True),
    EditKey.DOWN: (0x50, True),
    EditKey.HOME: (0x47, True),
    EditKey.END: (0x4F, True),
}


class Viewer:
    """A provider's side of a desktop: what it has seen, by taking only what was damaged."""

    def __init__(self, desktop: Desktop) -> None:
        self.desktop = desktop
        self.signals = 0
        self.screen = desktop.open_screen(self._signalled)
        self.picture: Pixels = np.zeros((0, 0, 4), np.uint8)

    def _signalled(self) -> None:
        self.signals += 1

    def look(self) -> list[Rectangle]:
        """Take the damage and paint it over what was seen before."""
        shape = (self.desktop.height, self.desktop.width, 4)
        if self.picture.shape != shape:
            self.picture = np.zeros(shape, np.uint8)
        damage = list(self.screen.take_damage())
        for rectangle in damage:
            rows, columns = slice(rectangle.top, rectangle.bottom), slice(rectangle.left, rectangle.right)
            self.screen.grab(rectangle, self.picture[rows, columns])
        return damage

    def look_and_copy(self) -> list[Move]:
        """As `look`, but what was moved is copied from what was seen before, all at once."""
        shape = (self.desktop.height, self.desktop.width, 4)
        moves = list(self.screen.take_moves())
        assert not moves or self.picture.shape == shape
        before = self.picture.copy()
        for move in moves:
            area, source = move.area, move.source
            self.picture[area.top : area.bottom, area.left : area.right] = before[
                source.top : source.bottom, source.left : source.right
            ]
        self.look()
        return moves

    def whole(self) -> Pixels:
        return self.screen.grab(Rectangle(0, 0, self.desktop.width, self.desktop.height))


@pytest.fixture
def viewer() -> Callable[[Desktop], Viewer]:
    return Viewer


@pytest.fixture
def press() -> Callable[..., None]:
    """Press and release keys: text as Unicode key events, edit keys by their place on the keyboard."""

    def press(sink: InputSink, *keystrokes: str | EditKey) -> None:
        for keystroke in keystrokes:
            for pressed in (True, False):
                if isinstance(keystroke, str):
                    for character in keystroke:
                        sink.input_event(UnicodeKey(character, pressed))
                else:
                    scancode, extended = SCANCODES[keystroke]
                    sink.input_event(ScancodeKey(scancode, pressed, extended))

    return press


@pytest.fixture
def request_for() -> Callable[[int, int], DesktopRequest]:
    return lambda width, height: DesktopRequest(3, UserToken("alice"), width, height)
