"""The demo desktop: shows that a client really works here, and how it got here.

What the client said about itself, a field to type into, a place to draw, and a live picture of the calls of this
connection's sequence, as Microsoft's figures draw them.
"""

from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from math import inf

import attrs
import numpy as np
import trio

from rdpprov.api.devices import (
    DEFAULT_POINTER,
    Button,
    InputEvent,
    LockKeys,
    PointerButton,
    PointerMotion,
    PointerWheel,
    Rectangle,
    TaskStatus,
    WheelAxis,
)
from rdpprov.sessions.base import (
    ClientAttached,
    ClientDetached,
    DesktopMessage,
    DesktopRequest,
    Notice,
    SequenceStep,
)
from rdpprov.sessions.canvas import Canvas
from rdpprov.sessions.demo_plan import NOWHERE, DemoPlan, plan_demo
from rdpprov.sessions.keyboard import EditKey, Keyboard, Keystroke
from rdpprov.sessions.memory import PIXEL_BUDGET, PixelBudget, PixelBudgetError
from rdpprov.sessions.pointers import CROSSHAIR, I_BEAM
from rdpprov.sessions.scene import Fill, Item, SceneDesktop, disc, fill, outline, picture, rounded
from rdpprov.sessions.screens import DesktopScreen
from rdpprov.sessions.text import (
    Bitmap,
    TextStyle,
    advances,
    draw_text,
    fit,
    index_at,
    line_height,
    text_run,
    text_width,
    tint,
)
from rdpprov.sessions.textfield import TextField

DESK = 0x243B53
BAR = 0x102A43
BAR_TEXT = 0xF0F4F8
BAR_MUTED = 0x9FB3C8
PANEL = 0xFFFFFF
INK = 0x1F2933
MUTED = 0x627D98
FRAME = 0xD9E2EC
ACCENT = 0x0967D2
FOCUS = 0x47A3F3
ALERT = 0xB91C1C
NOTICE = 0xF0B429
PAPER = 0xFFFDF5
LOG_OFF = 0xBA2525
LOG_OFF_PRESSED = 0x780A0A
BRUSHES = (0x0967D2, 0xD64545, 0x27AB83, 0xF0B429, 0x8719E0, 0x1F2933)

MAX_TEXT = 2000
"""Characters in the text field."""
MAX_STEPS = 200
"""Steps of the sequence that are kept: more than the tallest screen shows."""
MAX_BRUSH = 60
"""Pixels."""
LIVELY = timedelta(seconds=60)
"""How long after the last input the clock shows seconds: thousands of idle sessions must not cost a frame a second."""
MINUTE_LATE = 5.0
"""Seconds that a clock without seconds may go on late: each has its own, so that thousands do not draw at once."""
NOT_IMPLEMENTED = ("E_NOTIMPL", "0x80004001", "NotImplementedByProvider")
HINT = "Close the client and connect again: this session, its text and its drawing will still be here."


class DemoDesktop(SceneDesktop):
    """A desktop worth looking at, drawn by Python.

    Args:
        request: whose session it is.
        now: the clock on the wall.
        budget: what drawings are counted against.
    """

    def __init__(
        self,
        request: DesktopRequest,
        *,
        now: Callable[[], datetime] = datetime.now,
        budget: PixelBudget = PIXEL_BUDGET,
    ) -> None:
        layers = ["chrome", "title", "clock", "log off", "client", "text", "canvas", "brush", "sequence", "status"]
        super().__init__(request.width, request.height, layers)
        self._request = request
        self._plan = plan_demo(self.width, self.height)
        self._logged_off = False
        self._wake = trio.Event()  # sets `run` off: it has ended, or does not know when the clock goes on

        self._now = now
        self._stopped_at: datetime | None = None
        self._lively_until = now()
        # The golden ratio puts numbers that follow each other far apart.
        self._lateness = MINUTE_LATE * (request.session_id * 0.618034 % 1)

        self._client: ClientAttached | None = None
        self._steps: deque[SequenceStep] = deque(maxlen=MAX_STEPS)
        self._notice = ""

        self._keyboard = Keyboard()
        self._text = TextField(MAX_TEXT, multiline=True)
        self._line_bitmaps: dict[str, Bitmap] = {}
        self._first_line = 0

        self._canvas = Canvas(PAPER, budget)
        self._brush_width = 6
        self._brush_colour = 0
        self._pen: tuple[int, int] | None = None
        self._log_off_pressed = False

    # What a test or a program may do with it

    @property
    def text(self) -> str:
        """What has been typed."""
        return self._text.text

    @property
    def text_area(self) -> Rectangle:
        """Where typed text is shown, in pixels of the screen."""
        return self._plan.content(self._plan.text)

    @property
    def canvas_area(self) -> Rectangle:
        """Where the mouse draws, in pixels of the screen."""
        return self._plan.content(self._plan.canvas)

    @property
    def log_off_area(self) -> Rectangle:
        """The button that logs off, in pixels of the screen."""
        return self._plan.log_off

    def stop_clock(self) -> None:
        """Keep the clock where it is, so that nothing changes by itself: for tests that compare pixels."""
        self._stopped_at = self._now()
        self.invalidate("clock")
        self._wake.set()

    # Desktop

    async def run(self, *, task_status: TaskStatus) -> None:
        """Let the clock tick until the user logs off. It rests while nobody looks."""
        task_status.started()
        while not self._logged_off:
            self._wake = trio.Event()
            with trio.move_on_after(self._until_clock_goes_on()) as waiting:
                await self._wake.wait()
            if waiting.cancelled_caught:
                self.invalidate("clock")

    def open_screen(self, on_damage: Callable[[], None]) -> DesktopScreen:
        """A new reader of the pixels."""
        if not self._screens and self._stopped_at is None:
            self.invalidate("clock")
            self._wake.set()
        return super().open_screen(on_damage)

    async def aclose(self) -> None:
        """Give the drawing's memory back, forget the text."""
        await trio.lowlevel.checkpoint()
        self._canvas.clear()
        self._text.text = ""
        self.invalidate("canvas", "text")

    def _resized(self, width: int, height: int) -> None:
        self._plan = plan_demo(width, height)
        self._pen = None
        self._line_bitmaps.clear()

    def tell(self, message: DesktopMessage) -> None:
        """Show what the service says. `ClientAttached` begins a new sequence: its steps are told after it."""
        match message:
            case ClientAttached():
                self._client = message
                self._steps.clear()
                self._keyboard = Keyboard(message.keyboard_layout)
                self.invalidate("client", "text", "sequence")
            case ClientDetached():
                self._client = None
                self._pen = None
                self.invalidate("client")
            case SequenceStep():
                self._steps.append(message)
                self.invalidate("sequence")
            case Notice(text=text):
                self._notice = text
                self.invalidate("status")

    def input_event(self, event: InputEvent) -> None:
        """Take a key or the mouse. Keys always go to the text field; the mouse does what is under it."""
        if not isinstance(event, LockKeys):  # clients send those by themselves
            self._stay_lively()
        match event:
            case PointerMotion(x=x, y=y):
                self._point(x, y)
                if self._pen is not None:
                    self._draw_to(x, y)
            case PointerButton(button=button, pressed=pressed, x=x, y=y):
                self._point(x, y)
                self._click(button, pressed, x, y)
            case PointerWheel(axis=WheelAxis.VERTICAL, rotation=rotation, x=x, y=y):
                if _holds(self._plan.canvas, x, y) and rotation:
                    step = max(1, self._brush_width // 5) * (1 if rotation > 0 else -1)
                    self._brush_width = max(1, min(self._brush_width + step, MAX_BRUSH))
                    self.invalidate("brush")
            case _:
                for keystroke in self._keyboard.press(event):
                    self._press(keystroke)

    # Clock

    def _until_clock_goes_on(self) -> float:
        """Seconds."""
        if self._stopped_at is not None or not self._screens:
            return inf
        now = self._now()
        past = now.microsecond / 1e6
        if now < self._lively_until:
            return max(0.01, 1 - past)
        return max(0.01, 60 - now.second - past + self._lateness)

    def _stay_lively(self) -> None:
        now = self._now()
        if now >= self._lively_until and self._stopped_at is None:
            self.invalidate("clock")
            self._wake.set()
        self._lively_until = now + LIVELY

    # Keys

    def _press(self, keystroke: Keystroke) -> None:
        if keystroke is EditKey.ESCAPE:
            self._text.text = ""
        elif keystroke in (EditKey.UP, EditKey.DOWN):
            self._move_between_lines(-1 if keystroke is EditKey.UP else 1)
        elif not self._text.press(keystroke):
            return
        self.invalidate("text")

    def _move_between_lines(self, step: int) -> None:
        lines = self._lines()
        row = self._caret_row(lines)
        start, _ = lines[row]
        x = text_width(self._text.text[start : self._text.caret], self._plan.style)
        if 0 <= row + step < len(lines):
            self._text.caret = self._caret_in_line(lines, row + step, x)

    def _lines(self) -> list[tuple[int, int]]:
        return wrap(self._text.text, self._plan.style, self.text_area.width - 2)

    def _caret_row(self, lines: list[tuple[int, int]]) -> int:
        """The line that the caret is in: the last one that begins at or before it."""
        return max((row for row, (start, _) in enumerate(lines) if start <= self._text.caret), default=0)

    def _caret_in_line(self, lines: list[tuple[int, int]], row: int, x: int) -> int:
        start, end = lines[row]
        return start + index_at(self._text.text[start:end], self._plan.style, x)

    # Mouse

    def _point(self, x: int, y: int) -> None:
        if _holds(self._plan.text, x, y):
            self.set_pointer(I_BEAM)
        elif _holds(self.canvas_area, x, y):
            self.set_pointer(CROSSHAIR)
        else:
            self.set_pointer(DEFAULT_POINTER)

    def _click(self, button: Button, pressed: bool, x: int, y: int) -> None:
        if pressed and _holds(self._notice_area, x, y):
            self._notice = ""
            self.invalidate("status")
        elif button is Button.LEFT:
            over_log_off = _holds(self._plan.log_off, x, y)
            if not pressed and self._log_off_pressed and over_log_off:
                self._logged_off = True
                self._wake.set()
            self._press_log_off(pressed and over_log_off)
            self._pen = None
            if pressed and _holds(self.canvas_area, x, y):
                self._pen = (x, y)
                self._draw_to(x, y)
            elif pressed and _holds(self._plan.text, x, y):
                self._put_caret(x, y)
        elif pressed and _holds(self._plan.canvas, x, y):
            if button is Button.RIGHT:
                self._brush_colour = (self._brush_colour + 1) % len(BRUSHES)
                self.invalidate("brush")
            elif button is Button.MIDDLE:
                self._canvas.clear()
                self.invalidate("canvas")

    def _press_log_off(self, pressed: bool) -> None:
        if pressed != self._log_off_pressed:
            self._log_off_pressed = pressed
            self.invalidate("log off")

    def _put_caret(self, x: int, y: int) -> None:
        area, lines = self.text_area, self._lines()
        row = self._first_line + max(0, y - area.top) // line_height(self._plan.style)
        self._text.caret = self._caret_in_line(lines, min(row, len(lines) - 1), x - area.left)
        self.invalidate("text")

    def _draw_to(self, x: int, y: int) -> None:
        area = self.canvas_area
        pen, self._pen = self._pen or (x, y), (x, y)
        try:
            changed = self._canvas.stroke(
                (pen[0] - area.left, pen[1] - area.top),
                (x - area.left, y - area.top),
                width=self._brush_width,
                colour=BRUSHES[self._brush_colour],
                area=Rectangle(0, 0, area.width, area.height),
            )
        except PixelBudgetError:
            self.tell(Notice("There is no memory left for drawing; the middle button clears."))
            self._add_damage([area])  # a part of the line may be there
            return
        if changed.is_empty():
            return
        # The tiles change in place, so that comparing items finds only new ones.
        moved = Rectangle(
            changed.left + area.left, changed.top + area.top, changed.right + area.left, changed.bottom + area.top
        )
        self._add_damage([moved])
        self.invalidate("canvas")

    # Pixels

    def build(self, layer: str) -> Sequence[Item]:
        """The items of a layer."""
        match layer:
            case "chrome":
                return _chrome(self.width, self.height)
            case "title":
                return self._title_items()
            case "clock":
                return self._clock_items()
            case "log off":
                return _log_off_button(self.width, self.height, LOG_OFF_PRESSED) if self._log_off_pressed else ()
            case "client":
                return self._client_items()
            case "text":
                return self._text_items()
            case "brush":
                return self._brush_items()
            case "canvas":
                return self._canvas.pictures(self.canvas_area)
            case "sequence":
                return self._sequence_items()
            case _:
                return self._status_items()

    def _title_items(self) -> list[Item]:
        plan = self._plan
        left = plan.bar.left + (4 if plan.compact else plan.padding)
        title = text_run("rdpprov", plan.title_style, BAR_TEXT, BAR)
        items: list[Item] = [_middle(left, plan.bar, title)]
        user = self._request.user
        name = f"{user.domain}\\{user.name}" if user.domain else user.name
        left += title.shape[1] + 2 * plan.padding
        label = fit(f"{name} · session {self._request.session_id}", plan.small_style, plan.clock.left - left)
        items.append(_middle(left, plan.bar, text_run(label, plan.small_style, BAR_MUTED, BAR)))
        return items

    def _clock_items(self) -> Sequence[Item]:
        now = self._stopped_at or self._now()
        shows_seconds = self._stopped_at is not None or now < self._lively_until
        return _clock_face(self.width, self.height, now.strftime("%H:%M:%S" if shows_seconds else "%H:%M"))

    def _client_items(self) -> list[Item]:
        plan = self._plan
        area = plan.content(plan.client)
        items: list[Item] = []
        if area.is_empty():
            return items
        label_style, value_style = plan.small_style, plan.small_style
        height = line_height(label_style) + 3 * plan.unit
        label_width = text_width("Connection", label_style) + plan.padding
        top = area.top
        for label, value in self._client_facts():
            if top + height > area.bottom:
                break
            items.append(picture(area.left, top, text_run(label, label_style, MUTED, PANEL)))
            value = fit(value, value_style, area.width - label_width)
            items.append(picture(area.left + label_width, top, text_run(value, value_style, INK, PANEL)))
            top += height
        return items

    def _client_facts(self) -> list[tuple[str, str]]:
        client = self._client
        if client is None:
            return [("Client", "none is connected")]
        return [
            ("Name", client.name or "not told"),
            ("Address", client.address or "not told"),
            ("Screen", f"{client.width} × {client.height}, {client.color_depth} bits a pixel"),
            ("Keyboard", f"{self._keyboard.layout.title}, 0x{client.keyboard_layout:08X}"),
            ("Build", str(client.build) if client.build else "not told"),
            ("Protocol", client.protocol),
            ("Listener", client.listener),
        ]

    def _text_items(self) -> list[Item]:
        plan, area, style = self._plan, self.text_area, self._plan.style
        items: list[Item] = []
        if not plan.compact:
            items.append(_right_of_heading(plan, plan.text, f"Keyboard: {self._keyboard}"))
        height = line_height(style)
        rows = max(1, area.height // height)
        lines = self._lines()
        caret_row = self._caret_row(lines)
        self._first_line = max(caret_row - rows + 1, min(self._first_line, caret_row, max(0, len(lines) - rows)))
        bitmaps: dict[str, Bitmap] = {}
        for row, (start, end) in enumerate(lines[self._first_line : self._first_line + rows]):
            line = self._text.text[start:end]
            bitmap = self._line_bitmaps.get(line)  # the same array again: a line that stayed is no damage
            if bitmap is None:
                bitmap = draw_text(line, style, INK, PANEL)[: area.height, : area.width]
            bitmaps[line] = bitmap
            items.append(picture(area.left, area.top + row * height, bitmap))
        self._line_bitmaps = bitmaps
        start, _ = lines[caret_row]
        left = area.left + text_width(self._text.text[start : self._text.caret], style)
        top = area.top + (caret_row - self._first_line) * height
        items.append(Fill(left, top + plan.unit, left + 2 * plan.unit, min(top + height, plan.text.bottom), ACCENT))
        return items

    def _brush_items(self) -> list[Item]:
        plan, panel = self._plan, self._plan.canvas
        colour = BRUSHES[self._brush_colour]
        room = 16 if plan.compact else plan.heading
        size = max(2, min(self._brush_width, room - 2))
        width = text_run(f"{self._brush_width} px", plan.small_style, MUTED, PAPER if plan.compact else PANEL)
        right = panel.right - plan.padding
        line = Rectangle(right - width.shape[1], panel.top, right, panel.top + room + plan.padding)
        left = line.left - plan.padding - (room + size) // 2
        blob = disc(size, colour, PAPER if plan.compact else PANEL)
        return [_middle(line.left, line, width), _middle(left, line, blob)]

    def _sequence_items(self) -> list[Item]:
        plan = self._plan
        area = plan.content(plan.sequence)
        if area.is_empty():
            return []
        figure = _figure(self.width, self.height)
        fitting = max(0, (area.bottom - figure.top) // figure.row_height)
        items: list[Item] = []
        steps = list(self._steps)[-fitting:] if fitting else []
        for row, step in enumerate(steps):
            remark = step.outcome or _duration(step.seconds)
            items += _arrow(self.width, self.height, row, step.call, step.source, step.target, step.outcome, remark)
        return items

    def _status_items(self) -> list[Item]:
        plan = self._plan
        if self._notice:
            return self._notice_items()
        if plan.status.is_empty():
            return []
        text = fit(HINT, plan.small_style, plan.status.width)
        return [_middle(plan.status.left, plan.status, text_run(text, plan.small_style, BAR_MUTED, DESK))]

    def _notice_items(self) -> list[Item]:
        """A strip along the lower edge, over whatever is there, for what must not be overlooked. A click closes it."""
        plan, strip = self._plan, self._notice_area
        style, height = plan.style, line_height(plan.style)
        text_area = self._notice_text_area(strip)
        lines = wrap(self._notice, style, text_area.width)
        shown = max(1, text_area.height // height)
        items: list[Item] = [fill(strip, NOTICE)]
        top = text_area.top
        for row, (start, end) in enumerate(lines[:shown]):
            line = self._notice[start:end]
            if row == shown - 1 and len(lines) > shown:
                line = fit(self._notice[start:].replace("\n", " "), style, text_area.width)
            items.append(picture(text_area.left, top, text_run(line, style, INK, NOTICE)))
            top += height
        cross = text_run("×", style, INK, NOTICE)
        items.append(picture(strip.right - plan.padding - cross.shape[1], text_area.top, cross))
        return items

    @property
    def _notice_area(self) -> Rectangle:
        """Where the notice is: as high as its text needs, but at most half of the screen."""
        if not self._notice:
            return NOWHERE
        plan, height = self._plan, line_height(self._plan.style)
        whole = plan.screen
        lines = len(wrap(self._notice, plan.style, self._notice_text_area(whole).width))
        most = max(1, (whole.height // 2 - 2 * plan.padding) // height)
        needed = min(lines, most) * height + 2 * plan.padding
        return attrs.evolve(whole, top=whole.bottom - max(needed, plan.status.height))

    def _notice_text_area(self, strip: Rectangle) -> Rectangle:
        """The part of the strip that is for text; right of it is the cross that closes it."""
        plan = self._plan
        padding, cross = plan.padding, text_width("×", plan.style)
        height = max(line_height(plan.style), strip.height - 2 * padding)
        top = strip.top + (strip.height - height) // 2
        return Rectangle(strip.left + padding, top, strip.right - 2 * padding - cross, top + height)


@attrs.frozen
class _Figure:
    """The sequence as Microsoft's figures show it: two lifelines, an arrow for each call, the newest last."""

    plan: DemoPlan
    service: int
    """Where the service's lifeline is."""
    provider: int
    """... and that of the provider: its manager, listener, connection and what they hand out."""
    head: int
    """Where the names of the lifelines are."""
    top: int
    """Where the first arrow's row begins."""
    row_height: int

    @classmethod
    def within(cls, area: Rectangle, plan: DemoPlan) -> "_Figure":
        margin = 3 * plan.unit
        names = line_height(plan.small_style) + margin
        return cls(
            plan=plan,
            service=area.left + margin,
            provider=area.right - margin,
            head=area.top,
            top=area.top + names,
            row_height=line_height(plan.small_style) + (4 if plan.compact else 7 * plan.unit),
        )


@lru_cache(maxsize=16)
def _figure(width: int, height: int) -> _Figure:
    plan = plan_demo(width, height)
    return _Figure.within(plan.content(plan.sequence), plan)


@lru_cache(maxsize=2048)  # the same calls in the same rows at every connection; only some durations are new
def _arrow(
    width: int, height: int, row: int, call: str, source: str, target: str, outcome: str, remark: str
) -> tuple[Item, ...]:
    """One call: what is called over an arrow to who is called, how long it took or how it failed."""
    figure = _figure(width, height)
    plan, style = figure.plan, figure.plan.small_style
    unit, margin = plan.unit, 5 * plan.unit
    if outcome in NOT_IMPLEMENTED:  # an answer, not a fault
        line_colour, colour, remark = MUTED, MUTED, "E_NOTIMPL"
    elif outcome:
        line_colour, colour, remark = ALERT, ALERT, remark[:24]
    else:
        line_colour, colour = ACCENT, INK
    left, right, top = figure.service + unit, figure.provider, figure.top + row * figure.row_height
    room = right - left - 2 * margin
    remark_run = text_run(remark, style, ALERT if colour == ALERT else MUTED, PANEL)
    others = {source, target} - {"service", "connection", "listener"}
    label = f"{others.pop()}: {call}" if others else call
    label = fit(label, style, room - remark_run.shape[1] - margin)
    items: list[Item] = [picture(left + margin, top, text_run(label, style, colour, PANEL))]
    if remark_run.shape[1] < room:
        items.append(picture(right - margin - remark_run.shape[1], top, remark_run))
    y = top + line_height(style)
    head = _arrow_head(3 * unit, line_colour, PANEL)
    head_top = y - head.shape[0] // 2 + unit // 2
    if _is_service(target):
        items += [Fill(left, y, right, y + unit, line_colour), picture(left, head_top, head[:, ::-1])]
    elif _is_service(source):
        items += [Fill(left, y, right, y + unit, line_colour), picture(right - head.shape[1], head_top, head)]
    else:  # between two of the provider's own
        items.append(Fill(right - 12 * unit, y, right, y + unit, line_colour))
    return tuple(items)


def _is_service(name: str) -> bool:
    return name in ("service", "settings")


def _duration(seconds: float) -> str:
    """Two digits are enough, and few different texts keep the cache of text runs small."""
    if seconds >= 1:
        return f"{seconds:.1f} s"
    milliseconds = seconds * 1000
    if milliseconds >= 10:
        return f"{milliseconds:.0f} ms"
    return f"{milliseconds:.1f} ms"


@lru_cache(maxsize=32)
def _arrow_head(size: int, colour: int, background: int) -> Bitmap:
    """A triangle that points to the right, ``2 * size + 1`` high."""
    down = np.abs(np.arange(-size, size + 1))[:, None]
    across = np.arange(2 * size)[None, :]
    inside = np.clip(size - across / 2 - down + 0.5, 0, 1)
    return tint(np.asarray(inside * 255, np.uint8), colour, background)


def _holds(rectangle: Rectangle, x: int, y: int) -> bool:
    return rectangle.left <= x < rectangle.right and rectangle.top <= y < rectangle.bottom


def _middle(left: int, line: Rectangle, bitmap: Bitmap) -> Item:
    """A picture in the middle of a line's height."""
    return picture(left, line.top + (line.height - bitmap.shape[0]) // 2, bitmap)


def _heading(plan: DemoPlan, panel: Rectangle) -> Rectangle:
    """The line that a panel's heading stands on."""
    padding = plan.padding
    return Rectangle(panel.left + padding, panel.top, panel.right - padding, panel.top + padding + plan.heading)


def _right_of_heading(plan: DemoPlan, panel: Rectangle, text: str) -> Item:
    """A small remark at the right end of a panel's heading."""
    line = _heading(plan, panel)
    run = text_run(fit(text, plan.small_style, line.width * 2 // 3), plan.small_style, MUTED, PANEL)
    return _middle(line.right - run.shape[1], line, run)


@lru_cache(maxsize=64)
def _clock_face(width: int, height: int, time: str) -> Sequence[Item]:
    """The clock, the same for all sessions at a time."""
    plan = plan_demo(width, height)
    style = plan.small_style if plan.compact else plan.style
    items: list[Item] = []
    left = plan.clock.left
    for character in time:
        run = text_run(character, style, BAR_TEXT, BAR)  # one by one: only digits that change are damage
        items.append(_middle(left, plan.clock, run))
        left += run.shape[1]
    return items


@lru_cache(maxsize=32)
def _log_off_button(width: int, height: int, colour: int) -> Sequence[Item]:
    plan = plan_demo(width, height)
    place = plan.log_off
    run = text_run("Log off", plan.small_style, BAR_TEXT, colour)
    left = place.left + (place.width - run.shape[1]) // 2
    return [*rounded(place, 4 * plan.unit, colour, BAR), _middle(left, place, run)]


@lru_cache(maxsize=16)
def _chrome(width: int, height: int) -> Sequence[Item]:
    """What is the same for all sessions with screens of this size."""
    plan = plan_demo(width, height)
    items: list[Item] = [fill(plan.screen, DESK), fill(plan.bar, BAR), *_log_off_button(width, height, LOG_OFF)]
    panels = {
        "This client": plan.client,
        "Type here": plan.text,
        "Draw here": plan.canvas,
        "This connection's sequence": plan.sequence,
    }
    radius = 0 if plan.compact else 6 * plan.unit
    for title, panel in panels.items():
        if panel.is_empty():
            continue
        if panel is plan.text:  # it has the keyboard, always
            items += rounded(panel, radius, FOCUS, DESK)
            width = 2 * plan.unit
            inner = Rectangle(panel.left + width, panel.top + width, panel.right - width, panel.bottom - width)
            items += rounded(inner, max(0, radius - width), PANEL, FOCUS)
        else:
            items += rounded(panel, radius, PANEL, DESK)
        if not plan.compact:
            items.append(
                _middle(panel.left + plan.padding, _heading(plan, panel), text_run(title, plan.bold_style, INK, PANEL))
            )
    canvas = plan.content(plan.canvas)
    items.append(fill(plan.canvas if plan.compact else canvas, PAPER))
    if not plan.compact:
        items += outline(canvas, FRAME, plan.unit)
        hint = "left draws, right: colour, middle: clear, wheel: width"
        line = _heading(plan, plan.canvas)
        left = line.left + text_width("Draw here", plan.bold_style) + plan.padding
        room = line.right - left - plan.heading - text_width("60 px", plan.small_style) - 3 * plan.padding
        run = text_run(fit(hint, plan.small_style, room), plan.small_style, MUTED, PANEL)
        items.append(_middle(left, line, run))
    sequence = plan.content(plan.sequence)
    if not sequence.is_empty():
        figure = _figure(plan.screen.width, plan.screen.height)
        for x, name in ((figure.service, "service"), (figure.provider, "provider")):
            run = text_run(name, plan.small_style, MUTED, PANEL)
            left = sequence.left if name == "service" else sequence.right - run.shape[1]
            items.append(picture(left, figure.head, run))
            items.append(Fill(x, figure.top, x + plan.unit, sequence.bottom, FRAME))
    return items


def wrap(text: str, style: TextStyle, width: int) -> list[tuple[int, int]]:
    """Break a text into lines no wider than ``width`` pixels, after a space if there is one.

    Returns:
        Begin and end of each line in the text; at least one line. Line feeds belong to no line.
    """
    lines: list[tuple[int, int]] = []
    begin, used, after_space = 0, 0, 0
    for index, (character, advance) in enumerate(zip(text, advances(text.replace("\n", " "), style), strict=True)):
        if character == "\n":
            lines.append((begin, index))
            begin, used, after_space = index + 1, 0, index + 1
            continue
        while used + advance > width and index > begin:
            end = after_space if after_space > begin else index
            lines.append((begin, end))
            begin, after_space = end, end
            used = text_width(text[begin:index], style)
        used += advance
        if character == " ":
            after_space = index + 1
    lines.append((begin, len(text)))
    return lines
