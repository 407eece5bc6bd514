"""Where everything of the demo desktop is, for every size of screen: the most important parts on the smallest one."""

from functools import lru_cache

import attrs

from rdpprov.api.devices import Rectangle
from rdpprov.sessions.text import TextStyle, line_height

NOWHERE = Rectangle(0, 0, 0, 0)
"""A part that does not fit on this screen."""


@attrs.frozen
class DemoPlan:
    """The parts of a screen. A part is its whole panel; `content` is what is inside its frame and under its heading."""

    screen: Rectangle
    bar: Rectangle
    clock: Rectangle
    log_off: Rectangle
    client: Rectangle
    text: Rectangle
    canvas: Rectangle
    sequence: Rectangle
    status: Rectangle
    compact: bool
    unit: int
    """The width of a thin line."""
    padding: int
    """Inside panels."""
    title_style: TextStyle
    style: TextStyle
    small_style: TextStyle
    bold_style: TextStyle

    @property
    def heading(self) -> int:
        """Height of a panel's heading, with what separates it from the content."""
        return 0 if self.compact else line_height(self.bold_style) + self.padding

    def content(self, panel: Rectangle) -> Rectangle:
        """What is inside a panel."""
        if panel.is_empty():
            return panel
        padding = self.padding
        inside = Rectangle(
            panel.left + padding, panel.top + padding + self.heading, panel.right - padding, panel.bottom - padding
        )
        return NOWHERE if inside.is_empty() else inside


@lru_cache(maxsize=64)
def plan_demo(width: int, height: int) -> DemoPlan:
    """Lay the desktop out. From 1100x700 on everything grows with the screen, up to four times."""
    scale = max(1.0, min(width / 1100, height / 700, 4.0))
    compact = width < 480 or height < 400
    if compact:
        bar_height, gap, padding, status_height = 20, 3, 4, 0
        title, base, small = 12, 12, 10
    else:
        bar_height, gap, padding, status_height = (round(size * scale) for size in (44, 12, 12, 26))
        title, base, small = (round(size * scale) for size in (19, 15, 12.6))
    title_style, style, small_style = TextStyle(title, bold=True), TextStyle(base), TextStyle(small)
    body = Rectangle(gap, bar_height + gap, width - gap, height - gap - status_height)
    log_off_width, log_off_margin = (46, 2) if compact else (round(86 * scale), round(8 * scale))
    log_off = Rectangle(width - log_off_width - log_off_margin, log_off_margin, width - log_off_margin, 0)
    log_off = attrs.evolve(log_off, bottom=bar_height - log_off_margin)
    clock_width = 56 if compact else round(92 * scale)
    client, text, canvas, sequence = (_compact_parts if compact else _full_parts)(body, gap, scale)
    return DemoPlan(
        screen=Rectangle(0, 0, width, height),
        bar=Rectangle(0, 0, width, bar_height),
        clock=Rectangle(log_off.left - clock_width, 0, log_off.left, bar_height),
        log_off=log_off,
        client=client,
        text=text,
        canvas=canvas,
        sequence=sequence,
        status=Rectangle(gap, height - status_height, width - gap, height) if status_height else NOWHERE,
        compact=compact,
        unit=max(1, round(scale)),
        padding=padding,
        title_style=title_style,
        style=style,
        small_style=small_style,
        bold_style=TextStyle(style.size, bold=True),
    )


Parts = tuple[Rectangle, Rectangle, Rectangle, Rectangle]


def _compact_parts(body: Rectangle, gap: int, _scale: float) -> Parts:
    """Text, drawing and sequence; what the client said about itself waits for a larger screen."""
    if body.width >= 2 * body.height or body.width >= 440:
        middle = body.left + body.width // 2
        left = attrs.evolve(body, right=middle - gap)
        return (*_split(left, gap, 0.4), attrs.evolve(body, left=middle))
    text, rest = _split_rows(body, gap, 0.25)
    canvas, sequence = _split_rows(rest, gap, 0.45)
    return NOWHERE, text, canvas, sequence


def _split(area: Rectangle, gap: int, share: float) -> tuple[Rectangle, Rectangle, Rectangle]:
    text, canvas = _split_rows(area, gap, share)
    return NOWHERE, text, canvas


def _split_rows(area: Rectangle, gap: int, share: float) -> tuple[Rectangle, Rectangle]:
    """Two parts one above the other."""
    middle = area.top + round(area.height * share)
    return attrs.evolve(area, bottom=middle), attrs.evolve(area, top=middle + gap)


def _full_parts(body: Rectangle, gap: int, scale: float) -> Parts:
    """The sequence at the right; client and text side by side or one above the other; the drawing gets the rest."""
    sequence_width = round(max(220 * scale, min(body.width * 0.36, 430 * scale)))
    sequence = attrs.evolve(body, left=body.right - sequence_width)
    left = attrs.evolve(body, right=sequence.left - gap)
    if left.width >= 520 * scale:
        top, canvas = _split_rows(left, gap, min(0.42, 270 * scale / left.height))
        client_width = round(min(left.width * 0.46, 330 * scale))
        client = attrs.evolve(top, right=top.left + client_width)
        return client, attrs.evolve(top, left=client.right + gap), canvas, sequence
    client, rest = _split_rows(left, gap, min(0.37, 220 * scale / left.height))
    text, canvas = _split_rows(rest, gap, 0.44)
    return client, text, canvas, sequence
