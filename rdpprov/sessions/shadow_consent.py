"""What a user sees while a session is shadowed, over the desktop that is there: a question, then a notice that stays.

It is composed where pixels are read, screen by screen: no pixel of the desktop is touched, so what the desktop draws
never removes it, and only the client that it is meant for sees it.
"""

from collections.abc import Callable, Sequence

import attrs
import trio

from rdpprov.api.devices import (
    DEFAULT_POINTER,
    Button,
    InputEvent,
    InputSink,
    LockKeys,
    Pixels,
    PointerButton,
    PointerMotion,
    PointerShape,
    PointerWheel,
    Rectangle,
    ScancodeKey,
    Screen,
    TaskStatus,
    UnicodeKey,
)
from rdpprov.sessions.base import Desktop, DesktopMessage, OverlayRequest, ShadowOverlay
from rdpprov.sessions.keyboard import ALT, CTRL, LEFT_SHIFT, RIGHT_SHIFT, EditKey, Keyboard, Keystroke, find_layout
from rdpprov.sessions.scene import Item, Layer, fill, outline, picture, rounded
from rdpprov.sessions.screens import DamageList
from rdpprov.sessions.shadow_view import FittedDesktop
from rdpprov.sessions.text import TextStyle, fit, line_height, text_run, text_width

STRIP = 0x9A3412
STRIP_INK = 0xFFFFFF
PANEL = 0xFFFFFF
INK = 0x1F2933
MUTED = 0x627D98
FRAME = 0x9A3412
YES = 0x0967D2
NO = 0x486581

GUARD = 1.0
"""Seconds for which a question takes no answer, and for which no key must have come before one that answers: who is
typing when it appears has not seen it yet."""
MAX_LINES = 5
"""Lines of a question; what is beyond is cut."""

ASTERISK = 0x37
"""Scan code of the numpad's asterisk; with prefix E0 it is Print Screen."""


class HotKey:
    """Ctrl+*, as `rdpprov.api.shadow` names it by VK_MULTIPLY: on the numpad, or wherever the keyboard has an asterisk.

    Args:
        keyboard_layout: the Windows keyboard layout id that the client announced.
    """

    NAME = "Ctrl+*"

    def __init__(self, keyboard_layout: int) -> None:
        self._layout = find_layout(keyboard_layout)
        self._held: set[int] = set()

    def press(self, event: InputEvent) -> bool:
        """Take any input event; whether it is the one that completes the hot key."""
        match event:
            case LockKeys():
                self._held.clear()
            case ScancodeKey(scancode=scancode, extended1=False) if scancode in (CTRL, ALT, LEFT_SHIFT, RIGHT_SHIFT):
                (self._held.add if event.pressed else self._held.discard)(scancode)
            case ScancodeKey(pressed=True, extended=False, extended1=False):
                return self._has_ctrl and self._is_asterisk(event.scancode)
            case UnicodeKey(text="*", pressed=True):
                return self._has_ctrl
            case _:
                pass
        return False

    @property
    def _has_ctrl(self) -> bool:
        return CTRL in self._held and ALT not in self._held

    def _is_asterisk(self, scancode: int) -> bool:
        plain, shifted, *_ = self._layout.levels
        level = shifted if self._held & {LEFT_SHIFT, RIGHT_SHIFT} else plain
        return scancode == ASTERISK or level.get(scancode) == "*"


@attrs.frozen
class _Plan:
    """Where everything of a question is."""

    panel: Rectangle
    lines: tuple[tuple[int, int, str, TextStyle, int], ...]
    """Left, top, text, style, colour."""
    yes: Rectangle
    no: Rectangle
    style: TextStyle


class _Question:
    """A question that is shown, and what has been answered."""

    def __init__(self, text: str, seconds: float, keyboard_layout: int) -> None:
        self.text = text
        self.hint = f"Enter or Y: yes.  Esc or N: no.  No answer within {seconds:.0f} seconds means no."
        self.answer: bool | None = None
        self.answered = trio.Event()
        self._keyboard = Keyboard(keyboard_layout)
        self._asked_at = self._last_key = trio.current_time()
        self._plans: dict[tuple[int, int], _Plan] = {}

    def take(self, event: InputEvent, size: tuple[int, int]) -> None:
        """A key or the mouse may answer."""
        now = trio.current_time()
        match event:
            case PointerButton(button=Button.LEFT, pressed=True, x=x, y=y) if now - self._asked_at >= GUARD:
                plan = self.plan(size)
                if _holds(plan.yes, x, y) or _holds(plan.no, x, y):
                    self._answer(_holds(plan.yes, x, y))
            case PointerButton() | PointerMotion() | PointerWheel():
                pass
            case _:
                for keystroke in self._keyboard.press(event):
                    rested, self._last_key = now - self._last_key >= GUARD, now
                    if rested:
                        self._press(keystroke)

    def _press(self, keystroke: Keystroke) -> None:
        match keystroke:
            case EditKey.ENTER | "y" | "Y":
                self._answer(True)
            case EditKey.ESCAPE | "n" | "N":
                self._answer(False)
            case _:
                pass

    def _answer(self, answer: bool) -> None:
        if self.answer is None:
            self.answer = answer
            self.answered.set()

    def plan(self, size: tuple[int, int]) -> _Plan:
        """The layout for one size of screen."""
        if size not in self._plans:
            self._plans = {size: self._planned(*size)}
        return self._plans[size]

    def _planned(self, width: int, height: int) -> _Plan:
        roomy = width >= 400 and height >= 300
        base, small, padding = (18, 13, 24) if roomy else (12, 10, 8)
        style, small_style = TextStyle(base, bold=True), TextStyle(small)
        inner = min(width - 2 * padding - 8, 520)
        left = (width - inner) // 2
        texts = [(line, style, INK) for line in _wrapped(self.text, style, inner, MAX_LINES)]
        texts += [(line, small_style, MUTED) for line in _wrapped(self.hint, small_style, inner, 2)]
        button_height = line_height(style) + padding // 2
        total = sum(line_height(text_style) for _, text_style, _ in texts) + 3 * padding + button_height
        top = max(0, (height - total) // 2)
        y = top + padding
        lines = []
        for text, text_style, colour in texts:
            lines.append((left, y, text, text_style, colour))
            y += line_height(text_style)
        y += padding
        half = (inner - padding) // 2
        return _Plan(
            panel=Rectangle(left - padding, top, left + inner + padding, y + button_height + padding),
            lines=tuple(lines),
            yes=Rectangle(left, y, left + half, y + button_height),
            no=Rectangle(left + inner - half, y, left + inner, y + button_height),
            style=style,
        )

    def items(self, size: tuple[int, int]) -> list[Item]:
        """The panel."""
        plan = self.plan(size)
        items: list[Item] = [fill(plan.panel, PANEL), *outline(plan.panel, FRAME, 3)]
        items += [
            picture(left, top, text_run(text, style, colour, PANEL)) for left, top, text, style, colour in plan.lines
        ]
        for place, label, colour in ((plan.yes, "Yes", YES), (plan.no, "No", NO)):
            run = text_run(label, plan.style, STRIP_INK, colour)
            height, width = run.shape
            items += rounded(place, 4, colour, PANEL)
            left, top = place.left + (place.width - width) // 2, place.top + (place.height - height) // 2
            items.append(picture(left, top, run))
        return items


class DesktopOverlay(ShadowOverlay):
    """A desktop with a question or a notice over it. `rdpprov.sessions.base.OverlayFactory` is this class.

    While it asks, keys and mouse are for the question alone. Afterwards they go on to the desktop, but for the hot key
    and for clicks on the notice.
    """

    def __init__(self, request: OverlayRequest) -> None:
        self._request = request
        self._desktop: Desktop = request.desktop
        self._sink: InputSink | None = request.sink
        if request.size is not None:
            self._desktop = fitted = FittedDesktop(request.desktop, request.sink, *request.size)
            self._sink = fitted if request.sink is not None else None
        self._hot_key = HotKey(request.keyboard_layout)
        self._question: _Question | None = None
        self._notice = ""
        self._swallowed: set[object] = set()
        self._screens: list[_OverlayScreen] = []

    # ShadowOverlay

    @property
    def hot_key(self) -> str:
        """For people."""
        return self._hot_key.NAME

    async def ask(self, question: str, seconds: float) -> bool:
        """Put a question to the user, and wait for the answer. No answer is no."""
        self._question = asked = _Question(question, seconds, self._request.keyboard_layout)
        self._redraw()
        try:
            with trio.move_on_after(seconds):
                await asked.answered.wait()
            return asked.answer is True
        finally:
            self._question = None
            self._redraw()

    def show_notice(self, text: str) -> None:
        """Show this at the top of the screen from now on."""
        self._notice = text
        self._redraw()

    # Desktop

    @property
    def width(self) -> int:
        """Pixels."""
        return self._desktop.width

    @property
    def height(self) -> int:
        """Pixels."""
        return self._desktop.height

    def open_screen(self, on_damage: Callable[[], None]) -> Screen:
        """A new reader: the desktop's pixels, and what is over them."""
        screen = _OverlayScreen(self, self._desktop.open_screen(on_damage), on_damage)
        self._screens.append(screen)
        return screen

    async def resize(self, width: int, height: int) -> None:
        """Give the desktop another size."""
        await self._desktop.resize(width, height)

    def tell(self, message: DesktopMessage) -> None:
        """For the desktop."""
        self._desktop.tell(message)

    async def run(self, *, task_status: TaskStatus) -> None:
        """Nothing to do: the desktop has its own task."""
        task_status.started()
        await trio.sleep_forever()

    def input_event(self, event: InputEvent) -> None:
        """Take a key or the mouse."""
        if self._hot_key.press(event):
            self._swallowed.add(_key_of(event))
            self._request.on_hot_key()
        elif self._is_for_overlay(event):
            if self._question is not None:
                self._question.take(event, (self.width, self.height))
        elif self._sink is not None:
            self._sink.input_event(event)

    def _is_for_overlay(self, event: InputEvent) -> bool:
        """What must not reach the desktop; the end of a press goes where its beginning went."""
        match event:
            case LockKeys():
                return False
            case ScancodeKey(pressed=False) | UnicodeKey(pressed=False) | PointerButton(pressed=False):
                if (key := _key_of(event)) in self._swallowed:
                    self._swallowed.discard(key)
                    return True
                return False
            case PointerButton(x=x, y=y) if self._question is None:
                swallowed = self._notice != "" and _holds(_strip(self._notice, self.width), x, y)
            case _:
                swallowed = self._question is not None
        if swallowed and not isinstance(event, PointerMotion | PointerWheel):
            self._swallowed.add(_key_of(event))
        return swallowed

    # For screens

    @property
    def is_asking(self) -> bool:
        """A question is shown."""
        return self._question is not None

    def items(self, size: tuple[int, int]) -> Sequence[Item]:
        """What is over the desktop now, for a screen of that size."""
        items: list[Item] = []
        if self._notice:
            strip = _strip(self._notice, size[0])
            style = TextStyle(14, bold=True)
            text = text_run(fit(self._notice, style, strip.width - 16), style, STRIP_INK, STRIP)
            items += [fill(strip, STRIP), picture(strip.left + 8, strip.top + 3, text)]
        if self._question is not None:
            items += self._question.items(size)
        return items

    def forget(self, screen: "_OverlayScreen") -> None:
        """A reader is gone."""
        if screen in self._screens:
            self._screens.remove(screen)

    def _redraw(self) -> None:
        for screen in list(self._screens):
            screen.changed()


class _OverlayScreen:
    """One reader of a `DesktopOverlay`: damage and pixels of both, the overlay's on top."""

    def __init__(self, overlay: DesktopOverlay, screen: Screen, on_damage: Callable[[], None]) -> None:
        self._overlay = overlay
        self._screen = screen
        self._on_damage = on_damage
        self._layer = Layer()
        self._damage = DamageList()
        self._laid_out_for: tuple[int, int] | None = None
        self._shape: PointerShape | None = None
        self._shape_is_ours = False

    @property
    def width(self) -> int:
        """Pixels."""
        return self._screen.width

    @property
    def height(self) -> int:
        """Pixels."""
        return self._screen.height

    def changed(self) -> None:
        """The overlay looks different now."""
        self._lay_out()
        self._on_damage()

    def _lay_out(self) -> None:
        size = self._laid_out_for = (self._screen.width, self._screen.height)
        for part in self._layer.replace(self._overlay.items(size)):
            self._damage.add(part)

    def take_damage(self) -> list[Rectangle]:
        """What changed below, and above."""
        size = (self._screen.width, self._screen.height)
        if size != self._laid_out_for:
            self._lay_out()
        damage = [*self._screen.take_damage()]
        whole = Rectangle(0, 0, *size)
        ours = [part.intersection(whole) for part in self._damage.take()]
        return damage + [part for part in ours if not part.is_empty()]

    def grab(self, rectangle: Rectangle, out: Pixels | None = None) -> Pixels:
        """Copy a part of the screen, with what is over it."""
        out = self._screen.grab(rectangle, out)
        self._layer.paint(rectangle, out.view("<u4")[..., 0])
        return out

    def take_pointer(self) -> PointerShape | None:
        """The desktop's; while there is a question, the client's own, for the desktop may have hidden it."""
        shape = self._screen.take_pointer()
        if shape is not None:
            self._shape = shape
        if self._overlay.is_asking:
            asked_before, self._shape_is_ours = self._shape_is_ours, True
            return None if asked_before else DEFAULT_POINTER
        if self._shape_is_ours:
            self._shape_is_ours = False
            return self._shape
        return shape

    def take_pointer_position(self) -> tuple[int, int] | None:
        """Where the desktop moved the pointer."""
        return self._screen.take_pointer_position()

    def close(self) -> None:
        """The reader is gone. Twice is allowed."""
        self._overlay.forget(self)
        self._screen.close()


def _strip(text: str, width: int) -> Rectangle:
    """Where a notice is: at the top, in the middle."""
    style = TextStyle(14, bold=True)
    strip_width = min(width, text_width(text, style) + 16)
    left = (width - strip_width) // 2
    return Rectangle(left, 0, left + strip_width, line_height(style) + 6)


def _holds(rectangle: Rectangle, x: int, y: int) -> bool:
    return rectangle.left <= x < rectangle.right and rectangle.top <= y < rectangle.bottom


def _key_of(event: InputEvent) -> object:
    """What a press and its release have in common."""
    match event:
        case ScancodeKey():
            return (event.scancode, event.extended, event.extended1)
        case UnicodeKey():
            return event.text
        case PointerButton():
            return event.button
        case _:
            return None


def _wrapped(text: str, style: TextStyle, width: int, most: int) -> list[str]:
    """Text on at most so many lines, cut at spaces; what is too long ends in an ellipsis."""
    lines: list[str] = []
    words = text.split()
    while words and len(lines) < most - 1:
        line = words.pop(0)
        while words and text_width(f"{line} {words[0]}", style) <= width:
            line = f"{line} {words.pop(0)}"
        lines.append(fit(line, style, width))
    if words:
        lines.append(fit(" ".join(words), style, width))
    return lines
