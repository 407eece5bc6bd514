"""The logon desktop: a panel that asks for name and password, before anything dear has been started for the client.

It has no framebuffer: the panel's parts are shared by the process, what is typed is a few short runs of text.
"""

from collections.abc import Sequence
from functools import lru_cache

import attrs
import trio

from rdpprov.api.devices import (
    DEFAULT_POINTER,
    Button,
    InputEvent,
    LockKeys,
    PointerButton,
    PointerMotion,
    Rectangle,
)
from rdpprov.api.structures import UserCredential
from rdpprov.sessions.base import ClientAttached, DesktopMessage, LogonDesktop, LogonRequest
from rdpprov.sessions.keyboard import EditKey, Keyboard, Keystroke
from rdpprov.sessions.pointers import I_BEAM
from rdpprov.sessions.scene import Fill, Item, SceneDesktop, fill, outline, picture, rounded
from rdpprov.sessions.text import (
    TextStyle,
    draw_text,
    first_visible,
    fit,
    index_at,
    line_height,
    text_run,
    text_width,
)
from rdpprov.sessions.textfield import TextField

BACKGROUND = 0x1B2A3A
PANEL = 0xFFFFFF
INK = 0x1F2933
MUTED = 0x627D98
FRAME = 0xBCCCDC
ACCENT = 0x0967D2
ALERT = 0xB91C1C
BUTTON_TEXT = 0xFFFFFF

DOT = "•"
WAITING = "One moment …"
MAX_NAME = 255
"""Characters of a name or a password: what `UserCredential` takes."""


@attrs.frozen
class PanelPlan:
    """Where everything of the panel is, for one size of screen."""

    screen: Rectangle
    panel: Rectangle
    user_label: tuple[int, int]
    user: Rectangle
    password_label: tuple[int, int]
    password: Rectangle
    message: Rectangle
    button: Rectangle
    foot: Rectangle
    title_style: TextStyle
    style: TextStyle
    small_style: TextStyle
    padding: int
    inset: int
    line: int


@lru_cache(maxsize=64)
def plan_panel(width: int, height: int) -> PanelPlan:
    """Lay the panel out: at most 800x600, smaller on a small screen, in the middle."""
    scale = max(1.0, min(width / 1280, height / 900, 1.6))
    roomy = width >= 460 and height >= 420
    if roomy:
        title, base, small = round(26 * scale), round(16 * scale), round(13 * scale)
        padding, gap, field_height = round(32 * scale), round(14 * scale), round(38 * scale)
        panel_width = round(440 * scale)
    else:
        title, base, small = 15, 12, 10
        padding, gap, field_height = 10, 4, 22
        panel_width = min(width, 300)
    title_style, style, small_style = TextStyle(title, bold=True), TextStyle(base), TextStyle(small)
    label_height = line_height(small_style) + 1
    inner_height = (
        line_height(title_style)
        + 3 * gap
        + 2 * (label_height + field_height)
        + 2 * line_height(small_style)
        + field_height
        + (line_height(small_style) + gap if roomy else 0)
    )
    panel_height = min(height, inner_height + 2 * padding, 600)
    left, top = (width - panel_width) // 2, (height - panel_height) // 2
    inner_left, inner_right = left + padding, left + panel_width - padding
    y = top + padding + line_height(title_style) + gap
    places: list[tuple[int, Rectangle]] = []
    for _ in range(2):
        places.append((y, Rectangle(inner_left, y + label_height, inner_right, y + label_height + field_height)))
        y += label_height + field_height + gap
    message = Rectangle(inner_left, y - gap // 2, inner_right, y - gap // 2 + 2 * line_height(small_style))
    y = message.bottom + gap // 2
    button = Rectangle(inner_left, y, inner_right, y + field_height)
    foot = Rectangle(inner_left, button.bottom + gap, inner_right, button.bottom + gap + line_height(small_style))
    return PanelPlan(
        screen=Rectangle(0, 0, width, height),
        panel=Rectangle(left, top, left + panel_width, top + panel_height),
        user_label=(inner_left, places[0][0]),
        user=places[0][1],
        password_label=(inner_left, places[1][0]),
        password=places[1][1],
        message=message,
        button=button,
        foot=foot if roomy else Rectangle(0, 0, 0, 0),
        title_style=title_style,
        style=style,
        small_style=small_style,
        padding=padding,
        inset=round(base * 0.6),
        line=max(1, round(scale)),
    )


@lru_cache(maxsize=16)
def _panel_items(width: int, height: int) -> Sequence[Item]:
    """What is the same for everybody."""
    plan = plan_panel(width, height)
    panel = plan.panel
    stripe = Rectangle(panel.left + plan.padding, panel.top, panel.right - plan.padding, panel.top + 3 * plan.line)
    title = text_run("Log on", plan.title_style, INK, PANEL)
    return [
        fill(plan.screen, BACKGROUND),
        *rounded(panel, 8 * plan.line, PANEL, BACKGROUND),
        fill(stripe, ACCENT),
        picture(panel.left + plan.padding, panel.top + plan.padding, title),
        picture(*plan.user_label, text_run("User name", plan.small_style, MUTED, PANEL)),
        picture(*plan.password_label, text_run("Password", plan.small_style, MUTED, PANEL)),
    ]


class PanelLogonDesktop(SceneDesktop, LogonDesktop):
    """Asks for name and password. Nobody sees it before `reveal` or `ask`.

    Keys: Tab and Shift+Tab move on, Enter goes from an empty password to it, else logs on, Escape empties a field.
    """

    def __init__(self, request: LogonRequest) -> None:
        super().__init__(request.width, request.height, ["panel", "user", "password", "message", "button"])
        self._shown = False
        self._plan = plan_panel(self.width, self.height)
        self._keyboard = Keyboard()
        self._user = TextField(MAX_NAME)
        self._user.text = f"{request.domain}\\{request.user_name}" if request.domain else request.user_name
        self._password = TextField(MAX_NAME, secret=True)
        self._focus = "password" if self._user.text else "user"
        self._message = ""
        self._submitted: trio.Event | None = None

    # LogonDesktop

    def reveal(self) -> None:
        """Be seen from now on."""
        self._show()

    def show_message(self, text: str) -> None:
        """Show a message above the button; two lines of it at most."""
        self._message = text
        self.invalidate("message")

    async def ask(self) -> UserCredential:
        """Be seen, and wait until the user has entered a name and a password.

        The password is asked anew each time; the name stays. ``DOMAIN\\name`` is taken apart, ``name@domain`` is not.
        """
        self._password.text = ""
        if self._message == WAITING:
            self._message = ""
        self._focus = "password" if self._user.text else "user"
        self._submitted = trio.Event()
        self.invalidate("user", "password", "message", "button")
        self.reveal()
        try:
            await self._submitted.wait()
        finally:
            self._submitted = None
        domain, backslash, name = self._user.text.strip().partition("\\")
        if not backslash:
            domain, name = "", domain
        password, self._password.text = self._password.text, ""
        return UserCredential(user_name=name, password=password, domain="" if domain == "." else domain)

    # Desktop

    def _resized(self, width: int, height: int) -> None:
        self._plan = plan_panel(width, height)

    def tell(self, message: DesktopMessage) -> None:
        """The client's keyboard layout matters for passwords."""
        if isinstance(message, ClientAttached):
            self._keyboard = Keyboard(message.keyboard_layout)
            self.invalidate("message")

    def input_event(self, event: InputEvent) -> None:
        """Take a key or the mouse."""
        match event:
            case PointerMotion(x=x, y=y):
                self._point(x, y)
            case PointerButton(button=Button.LEFT, pressed=True, x=x, y=y):
                self._point(x, y)
                self._click(x, y)
            case _:
                caps_lock = self._keyboard.caps_lock
                for keystroke in self._keyboard.press(event):
                    self._press(keystroke)
                if self._keyboard.caps_lock != caps_lock or isinstance(event, LockKeys):
                    self.invalidate("message")

    async def aclose(self) -> None:
        """Forget what was typed."""
        await trio.lowlevel.checkpoint()
        self._user.text = self._password.text = ""

    # Keys and mouse

    def _point(self, x: int, y: int) -> None:
        over_text = _holds(self._plan.user, x, y) or _holds(self._plan.password, x, y)
        self.set_pointer(I_BEAM if over_text else DEFAULT_POINTER)

    def _click(self, x: int, y: int) -> None:
        plan = self._plan
        for name, field, place in (("user", self._user, plan.user), ("password", self._password, plan.password)):
            if _holds(place, x, y):
                text, start = self._visible(field, place)
                field.caret = min(start + index_at(text, plan.style, x - place.left - plan.inset), len(field.text))
                self._move_focus(name)
        if _holds(plan.button, x, y):
            self._move_focus("button")
            self._submit()

    def _move_focus(self, name: str) -> None:
        self.invalidate(self._focus, name)
        self._focus = name

    def _press(self, keystroke: Keystroke) -> None:
        order = ["user", "password", "button"]
        match keystroke:
            case EditKey.TAB | EditKey.DOWN:
                self._move_focus(order[(order.index(self._focus) + 1) % 3])
            case EditKey.BACK_TAB | EditKey.UP:
                self._move_focus(order[(order.index(self._focus) - 1) % 3])
            case EditKey.ENTER if self._focus == "user" and not self._password.text:
                self._move_focus("password")
            case EditKey.ENTER:
                self._submit()
            case " " if self._focus == "button":
                self._submit()
            case EditKey.ESCAPE:
                field = self._user if self._focus == "user" else self._password
                field.text = ""
                self.invalidate("user", "password")
            case _ if self._focus == "user":
                if self._user.press(keystroke):
                    self.invalidate("user")
            case _ if self._focus == "password" and self._password.press(keystroke):
                self.invalidate("password")

    def _submit(self) -> None:
        if self._submitted is None or self._submitted.is_set():
            return  # the answer to the last one is still being looked for
        if not self._user.text.strip():
            self.show_message("Please enter a user name.")
            self._move_focus("user")
            return
        self.show_message(WAITING)
        self._submitted.set()
        self.invalidate("user", "password", "button")

    # Pixels

    def build(self, layer: str) -> Sequence[Item]:
        """The items of a layer."""
        plan = self._plan
        match layer:
            case "panel":
                return _panel_items(self.width, self.height)
            case "user":
                return self._field_items(self._user, plan.user, self._focus == "user")
            case "password":
                return self._field_items(self._password, plan.password, self._focus == "password")
            case "message":
                return self._message_items()
            case _:
                return self._button_items()

    def _visible(self, field: TextField, place: Rectangle) -> tuple[str, int]:
        """What of a field is shown, and how many characters before that are not."""
        text = DOT * len(field.text) if field.secret else field.text
        start = first_visible(text, field.caret, self._plan.style, place.width - 2 * self._plan.inset - 2)
        return text[start:], start

    def _field_items(self, field: TextField, place: Rectangle, has_focus: bool) -> list[Item]:
        plan = self._plan
        line = plan.line
        items: list[Item] = [fill(place, PANEL)]
        items += outline(place, ACCENT if has_focus else FRAME, 2 * line if has_focus else line)
        text, start = self._visible(field, place)
        top = place.top + (place.height - line_height(plan.style)) // 2
        left, room = place.left + plan.inset, place.width - 2 * plan.inset
        run = draw_text(text, plan.style, INK, PANEL)
        items.append(picture(left, top, run[:, :room]))
        if has_focus:
            caret = left + text_width(text[: field.caret - start], plan.style)
            items.append(Fill(caret, top + 2, caret + line, top + line_height(plan.style) - 1, ACCENT))
        return items

    def _message_items(self) -> list[Item]:
        plan = self._plan
        style, area = plan.small_style, plan.message
        text, colour = self._message, MUTED if self._message == WAITING else ALERT
        if not text and self._keyboard.caps_lock:
            text, colour = "Caps Lock is on.", MUTED
        items: list[Item] = []
        for row, line in enumerate(_two_lines(text, style, area.width)):
            items.append(picture(area.left, area.top + row * line_height(style), text_run(line, style, colour, PANEL)))
        if not plan.foot.is_empty():
            keyboard = fit(f"Keyboard: {self._keyboard}", style, plan.foot.width)
            items.append(picture(plan.foot.left, plan.foot.top, text_run(keyboard, style, MUTED, PANEL)))
        return items

    def _button_items(self) -> list[Item]:
        plan = self._plan
        place, has_focus = plan.button, self._focus == "button"
        run = text_run("Log on", TextStyle(plan.style.size, bold=True), BUTTON_TEXT, ACCENT)
        height, width = run.shape
        items: list[Item] = [*rounded(place, 4 * plan.line, ACCENT, PANEL)]
        if has_focus:
            line = plan.line
            inner = Rectangle(
                place.left + 3 * line, place.top + 3 * line, place.right - 3 * line, place.bottom - 3 * line
            )
            items += outline(inner, BUTTON_TEXT, line)
        left, top = place.left + (place.width - width) // 2, place.top + (place.height - height) // 2
        return [*items, picture(left, top, run)]


def _holds(rectangle: Rectangle, x: int, y: int) -> bool:
    return rectangle.left <= x < rectangle.right and rectangle.top <= y < rectangle.bottom


def _two_lines(text: str, style: TextStyle, width: int) -> list[str]:
    """A message on at most two lines, cut at a space; what is too long ends in an ellipsis."""
    words = text.split()
    first = ""
    while words and text_width(f"{first} {words[0]}".strip(), style) <= width:
        first = f"{first} {words.pop(0)}".strip()
    if not first and words:
        return [fit(" ".join(words), style, width)]
    return [line for line in (first, fit(" ".join(words), style, width)) if line]
