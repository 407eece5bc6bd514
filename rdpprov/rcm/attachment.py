"""Plugging a desktop into a provider's devices, and out again: where Windows has drivers and IOCTLs between the two.

Neither side may hurt the other. A provider that keeps a screen or a sink after it was unplugged reaches nothing with
it; what it raises ends its own connection, not the desktop; a key that was down when its client left is released.
"""

from collections.abc import Callable, Sequence

import attrs
import numpy as np

from rdpprov.api.devices import (
    Button,
    InputDevices,
    InputEvent,
    LockKeys,
    Move,
    Pixels,
    PointerButton,
    PointerMotion,
    PointerShape,
    PointerWheel,
    Rectangle,
    ScancodeKey,
    Screen,
    UnicodeKey,
    VideoDevice,
)
from rdpprov.sessions.base import Desktop

MAX_HELD = 512
"""Keys that may be down at once: all scan codes there are. A client that presses more releases the oldest."""

Failed = Callable[[Exception], None]
"""Told what the other side raised."""


class PressedInput:
    """An `InputSink` that knows what is held down, so that it can be released.

    Args:
        desktop: takes the events.
        failed: told of what the desktop raises; the provider, whose task brings the event, never sees it.
        touched: told that somebody works.
    """

    def __init__(self, desktop: Desktop, failed: Failed, touched: Callable[[], None] = lambda: None) -> None:
        self._desktop: Desktop | None = desktop
        self._failed = failed
        self._touched = touched
        self._keys: dict[tuple[object, ...], ScancodeKey | UnicodeKey] = {}
        self._buttons: dict[Button, None] = {}
        self._pointer = (0, 0)

    def input_event(self, event: InputEvent) -> None:
        """Take one event, note what is pressed, pass it on. After `release_all`: drop it."""
        if self._desktop is None:
            return
        match event:
            case ScancodeKey():
                self._note((event.scancode, event.extended, event.extended1), event.pressed, event)
            case UnicodeKey():
                self._note((event.text,), event.pressed, event)
            case PointerButton():
                self._pointer = (event.x, event.y)
                if event.pressed:
                    self._buttons[event.button] = None
                else:
                    self._buttons.pop(event.button, None)
            case PointerMotion() | PointerWheel():
                self._pointer = (event.x, event.y)
            case LockKeys():
                # [MS-RDPBCGR] 2.2.8.1.1.3.1.1.5 "Synchronize Event": every key that was down is to be considered up.
                self._release_keys()
        if not isinstance(event, LockKeys):  # clients send those by themselves
            self._touched()
        self._pass_on(event)

    def release_all(self) -> None:
        """Release every key and button that is held, in the order in which they were pressed; then take no more."""
        self._release_keys()
        for button in list(self._buttons):
            self._pass_on(PointerButton(button, False, *self._pointer))
        self._buttons.clear()
        self._desktop = None

    def _note(self, key: tuple[object, ...], pressed: bool, event: ScancodeKey | UnicodeKey) -> None:
        if not pressed:
            self._keys.pop(key, None)
            return
        if len(self._keys) >= MAX_HELD and key not in self._keys:
            self._release_key(self._keys.pop(next(iter(self._keys))))
        self._keys[key] = event

    def _release_keys(self) -> None:
        keys = list(self._keys.values())
        self._keys.clear()
        for key in keys:
            self._release_key(key)

    def _release_key(self, key: ScancodeKey | UnicodeKey) -> None:
        self._pass_on(attrs.evolve(key, pressed=False))

    def _pass_on(self, event: InputEvent) -> None:
        if self._desktop is None:
            return
        try:
            self._desktop.input_event(event)
        except Exception as error:
            self._failed(error)


class PluggedScreen:
    """A `Screen` as a provider holds it: the desktop's, until it is unplugged; then black and still.

    Stopping and redrawing (`ProtocolConnectionCallback.stop_screen_updates`, `redraw_window`) happen here: a desktop
    does not know of them.
    """

    def __init__(self, desktop: Desktop, on_damage: Callable[[], None]) -> None:
        self._on_damage = on_damage
        self._stopped = False
        self._again: list[Rectangle] = []
        self._size = (desktop.width, desktop.height)
        self._screen: Screen | None = desktop.open_screen(self._damaged)

    @property
    def width(self) -> int:
        """Pixels."""
        return self._size[0] if self._screen is None else self._screen.width

    @property
    def height(self) -> int:
        """Pixels."""
        return self._size[1] if self._screen is None else self._screen.height

    def take_damage(self) -> Sequence[Rectangle]:
        """What changed, and what was asked for again; nothing while updates are stopped."""
        if self._screen is None or self._stopped:
            return ()
        if not self._again:
            return self._screen.take_damage()
        whole = Rectangle(0, 0, self.width, self.height)
        again = [rectangle.intersection(whole) for rectangle in self._again]
        self._again.clear()
        return [*self._screen.take_damage(), *(rectangle for rectangle in again if not rectangle.is_empty())]

    def take_moves(self) -> Sequence[Move]:
        """What was only moved, if the desktop's screen is a `MovingScreen`."""
        take_moves = getattr(self._screen, "take_moves", None)
        return () if take_moves is None or self._stopped else take_moves()

    def grab(self, rectangle: Rectangle, out: Pixels | None = None) -> Pixels:
        """Copy a part of the screen; black once it is unplugged, for what it shows is not this client's any more."""
        if self._screen is not None:
            return self._screen.grab(rectangle, out)
        if out is None:
            return np.zeros((rectangle.height, rectangle.width, 4), np.uint8)
        out[...] = 0
        return out

    def take_pointer(self) -> PointerShape | None:
        """The pointer's shape, if it changed."""
        return None if self._screen is None else self._screen.take_pointer()

    def take_pointer_position(self) -> tuple[int, int] | None:
        """Where the desktop moved the pointer, if it did."""
        return None if self._screen is None else self._screen.take_pointer_position()

    def close(self) -> None:
        """Unplug. Twice is allowed, and so is a provider that closes it by itself."""
        screen, self._screen = self._screen, None
        if screen is not None:
            self._size = (screen.width, screen.height)
            screen.close()

    def stop_updates(self) -> None:
        """No damage until `redraw`; what happens meanwhile is not lost."""
        self._stopped = True

    def redraw(self, rectangle: Rectangle | None) -> None:
        """Damage a part, or all of it, and resume updates."""
        self._stopped = False
        self._again.append(rectangle or Rectangle(0, 0, self.width, self.height))
        self._damaged()

    def _damaged(self) -> None:
        if not self._stopped and self._screen is not None:
            self._on_damage()


class Attachment:
    """What a connection gave us to show a desktop with and to take input from. Holds one desktop at a time.

    Args:
        video: of GetVideoHandle; None: headless.
        inputs: of GetInputHandles; None: no input.
        provider_failed: told of what the devices raise.
        touched: told that somebody works.
    """

    def __init__(
        self,
        video: VideoDevice | None,
        inputs: InputDevices | None,
        provider_failed: Failed,
        touched: Callable[[], None] = lambda: None,
    ) -> None:
        self._video = video
        self._inputs = inputs
        self._provider_failed = provider_failed
        self._touched = touched
        self.desktop: Desktop | None = None
        """That is plugged in."""
        self.desktop_failed: Failed = provider_failed
        """Whoever has plugged it in is told what it raises."""
        self._screen: PluggedScreen | None = None
        self._sink: PressedInput | None = None

    @property
    def can_be_asked(self) -> bool:
        """Whether a person at the other end can see a question and answer it."""
        return self._video is not None and self._inputs is not None

    def plug(self, desktop: Desktop, desktop_failed: Failed) -> None:
        """Show this desktop and send it the input, instead of the one before."""
        self.unplug()
        self.desktop, self.desktop_failed = desktop, desktop_failed
        if self._video is not None:
            try:
                self._screen = PluggedScreen(desktop, self._damaged)
            except Exception as error:
                desktop_failed(error)
                return
            self._guarded(self._video.plug, self._screen)
        if self._inputs is not None:
            self._sink = PressedInput(desktop, desktop_failed, self._touched)
            self._guarded(self._inputs.plug, self._sink)

    def unplug(self) -> None:
        """Show nothing, take nothing, and release what is pressed. Nothing happens if nothing is plugged in."""
        sink, self._sink = self._sink, None
        screen, self._screen = self._screen, None
        self.desktop = None
        if sink is not None and self._inputs is not None:
            self._guarded(self._inputs.unplug)
            sink.release_all()
        if screen is not None and self._video is not None:
            self._guarded(self._video.unplug)
            try:
                screen.close()
            except Exception as error:  # who unplugs may be another connection, or the end of this one
                self.desktop_failed(error)

    def stop_updates(self) -> None:
        """StopScreenUpdates."""
        if self._screen is not None:
            self._screen.stop_updates()

    def redraw(self, rectangle: Rectangle | None) -> None:
        """RedrawWindow."""
        if self._screen is not None:
            self._screen.redraw(rectangle)

    def _damaged(self) -> None:
        # Called by the desktop, which must not suffer from what a provider does.
        if self._video is not None:
            self._guarded(self._video.damaged)

    def _guarded(self, method: Callable[..., object], *args: object) -> None:
        try:
            method(*args)
        except Exception as error:
            self._provider_failed(error)
