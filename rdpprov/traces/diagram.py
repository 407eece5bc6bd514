"""A trace as a sequence figure, like Microsoft's: a lifeline per object, time downwards, one arrow a call.

The picture is one SVG without anything outside it: no script, no font, no link. Arrows go from caller to called.
A call that failed is red with its HRESULT, E_NOTIMPL is grey (it is an answer), a call that did not return ends in an
open circle. Beside the arrow stands what came back, at the right how long it took; calls of the provider are blue, so
that one sees at once who spoke. Milestones are marked on the left, long waits are told as such and not drawn to scale.
"""

import html
import itertools
from collections.abc import Iterator, Sequence
from typing import Final

import attrs

from rdpprov.errors import E_NOTIMPL
from rdpprov.traces.format import CallLine, EventLine, Outcome, Trace, WireLine
from rdpprov.traces.sequences import Step, load_sequences
from rdpprov.traces.show import cut, milliseconds, printable, short, title

ORDER: Final = ("manager", "listener", "connection", "license", "redirector", "settings", "service")
"""The provider's objects at the left, as in the figures; the service at the right."""

NAMES: Final = {
    "manager": "Manager",
    "listener": "Listener",
    "connection": "Connection",
    "license": "License connection",
    "redirector": "Error redirector",
    "settings": "Settings",
    "service": "Service (RCM)",
}

LANE: Final = 170
"""Pixels between two lifelines."""
SPAN: Final = 270
"""Pixels between the last object of the provider and the service: most arrows go there and want room for text."""
LEFT: Final = 150
"""Pixels for times and milestones."""
RIGHT: Final = 96
"""Pixels for durations."""
ROW: Final = 34
EVENT_ROW: Final = 22
WAIT_ROW: Final = 26
HEAD: Final = 108
LONG_WAIT: Final = 0.25
"""Seconds without a call that are told as a wait."""
LETTER: Final = 7.4
"""Pixels of a letter, about: SVG cannot measure text."""

STYLE: Final = """
text { font: 12px 'Segoe UI', 'DejaVu Sans', Verdana, sans-serif; fill: #1f2933; }
.title { font-size: 17px; font-weight: 600; }
.about, .small, .wait { font-size: 11px; fill: #66727f; }
.actor rect { fill: #e8eef5; stroke: #5b7083; rx: 5; }
.service rect { fill: #20405f; stroke: #20405f; }
.actor text { font-weight: 600; text-anchor: middle; }
.service text { fill: #fff; }
.life { stroke: #9aa8b5; stroke-dasharray: 5 4; }
.band { fill: #f5f8fb; }
.call line, .call path { stroke: #20405f; stroke-width: 1.4; fill: none; }
.call .head { fill: #20405f; stroke: none; }
.bar { fill: #cfdae6; stroke: #5b7083; stroke-width: .8; }
.name { font-weight: 600; }
.call.back line { stroke: #1773c9; } .call.back .head { fill: #1773c9; } .call.back .name { fill: #1259a0; }
.call.failed line { stroke: #c22f2f; } .call.failed .head { fill: #c22f2f; } .call.failed .name { fill: #a32020; }
.call.failed .answer { fill: #a32020; }
.call.default line { stroke: #7a8794; } .call.default .head { fill: #7a8794; }
.answer { font-size: 11px; fill: #55626e; }
.open { fill: #fff; stroke: #c22f2f; stroke-width: 1.4; }
.number { font-size: 10px; fill: #8894a0; text-anchor: end; }
.event rect { fill: #fff4d6; stroke: #d9b44a; rx: 8; }
.event text { font-size: 11px; fill: #6d5410; }
.event line { stroke: #d9b44a; stroke-dasharray: 2 3; }
.sequence text { font-size: 11px; font-weight: 600; fill: #4a6076; }
.sequence line { stroke: #b9c6d2; }
""".strip()


@attrs.frozen
class _Lane:
    actor: str
    x: int


class _Figure:
    """One picture, from the top down."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        present = {name for call in trace.calls for name in (call.source, call.target)} | {"service"}
        x = LEFT + 70
        self.lanes: dict[str, _Lane] = {}
        for actor in sorted(present, key=_rank):
            if actor == "service" and self.lanes:
                x += SPAN - LANE
            self.lanes[actor] = _Lane(actor, x)
            x += LANE
        self.width = x - LANE + 70 + RIGHT
        self.y = HEAD
        self.parts: list[str] = []

    def draw(self) -> str:
        """The SVG."""
        places = list(_places(self.trace.calls))
        end = None
        position = 0
        sequence = ""
        for line in self.trace.lines:
            if isinstance(line, WireLine):
                continue
            if end is not None and line.t - end > LONG_WAIT:
                self._wait(line.t - end)
            end = max(line.t if end is None else end, line.t + (getattr(line, "d", None) or 0.0))
            match line:
                case CallLine():
                    place = places[position]
                    if place is not None and place.sequence != sequence:
                        sequence = place.sequence
                        self._sequence(place)
                    self._call(line, place)
                    position += 1
                case EventLine():
                    self._event(line)
        height = self.y + 40
        return "".join(
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{height}" '
                f'viewBox="0 0 {self.width} {height}" role="img">\n',
                f"<title>{_text(title(self.trace))}</title>\n<style>{STYLE}</style>\n",
                f'<rect width="{self.width}" height="{height}" fill="#fff"/>\n',
                *self._heading(),
                *self._lifelines(height - 24),
                *self.parts,
                "</svg>\n",
            )
        )

    def _heading(self) -> Iterator[str]:
        header = self.trace.header
        name = {"connection": "Connection sequence", "service": "Start and stop of the service"}[header.kind]
        yield f'<text class="title" x="20" y="32">{name}</text>\n'
        yield f'<text class="about" x="20" y="50">{_text(title(self.trace))}</text>\n'
        for number, note in enumerate(self.trace.notes):
            yield f'<text class="about" x="20" y="{64 + 12 * number}">{_text(note)}</text>\n'

    def _lifelines(self, bottom: int) -> Iterator[str]:
        for lane in self.lanes.values():
            name, _, which = lane.actor.partition(":")
            label = NAMES.get(name, name)
            kind = "actor service" if name == "service" else "actor"
            yield f'<line class="life" x1="{lane.x}" y1="{HEAD - 18}" x2="{lane.x}" y2="{bottom}"/>\n'
            yield (
                f'<g class="{kind}"><rect x="{lane.x - 70}" y="{HEAD - 46}" width="140" height="28"/>'
                f'<text x="{lane.x}" y="{HEAD - 28}">{_text(cut(label, 19))}</text></g>\n'
            )
            if which:
                below = f'<text class="about" x="{lane.x}" y="{HEAD - 6}" text-anchor="middle">'
                yield f"{below}{_text(cut(which, 22))}</text>\n"

    def _call(self, call: CallLine, place: Step | None) -> None:
        start, end = self.lanes[call.source].x, self.lanes[call.target].x
        if start == end:
            start += 60  # nobody calls itself; but a wrong trace is drawn, too
        direction = 1 if end > start else -1
        self.y += ROW
        y = self.y
        tip = end - direction * 5
        low, high = sorted((start, end))
        # Text stands in the widest gap between two lifelines that the arrow crosses, next to the service if it can.
        gaps = sorted({low, high, *(lane.x for lane in self.lanes.values() if low <= lane.x <= high)})
        left, right = max(itertools.pairwise(gaps), key=lambda gap: (gap[1] - gap[0], gap[0]))
        letters = int((right - left - 16) / LETTER)
        number = f"{place.number}. " if place is not None and place.number else ""
        name = cut(f"{number}{printable(call.call)}", letters)
        answer, kind = _answer(call)
        kinds = " ".join(["call", *(["back"] if call.source != "service" else []), *([kind] if kind else [])])
        self.parts.append(
            f'<g class="{kinds}"><title>{_text(_tip(call))}</title>'
            f'<text class="number" x="{LEFT - 8}" y="{y + 4}">{_text(_at(call.t))}</text>'
            f'<line x1="{start + direction * 5}" y1="{y}" x2="{tip - direction * 7}" y2="{y}"/>'
            f'<path class="head" d="M{tip},{y} l{-direction * 9},-4.5 v9 z"/>'
            f'<rect class="bar" x="{end - 4}" y="{y - 5}" width="8" height="10"/>'
            f'<text class="name" x="{left + 10}" y="{y - 6}">{_text(name)}</text>'
        )
        if answer:
            room = int((right - left - 16) / (LETTER - 1))
            self.parts.append(f'<text class="answer" x="{left + 10}" y="{y + 13}">{_text(cut(answer, room))}</text>')
        if call.outcome is Outcome.OPEN:
            self.parts.append(f'<circle class="open" cx="{end}" cy="{y}" r="5"/>')
        took = "open" if call.d is None else milliseconds(call.d)
        self.parts.append(f'<text class="small" x="{self.width - RIGHT + 14}" y="{y + 4}">{took}</text></g>\n')
        if answer:
            self.y += 8

    def _event(self, line: EventLine) -> None:
        self.y += EVENT_ROW
        values = [short(value, 24) for value in line.fields.values()]
        label = cut(" ".join([printable(line.event), *values]), 40)
        wide = int(sum(7.4 if letter.isupper() else 6.2 for letter in label)) + 20
        self.parts.append(
            f'<g class="event"><line x1="{LEFT - 4}" y1="{self.y}" x2="{self.width - RIGHT}" y2="{self.y}"/>'
            f'<rect x="{LEFT - 4}" y="{self.y - 9}" width="{wide}" height="18"/>'
            f'<text x="{LEFT + 5}" y="{self.y + 4}">{_text(label)}</text>'
            f'<text class="number" x="{LEFT - 8}" y="{self.y + 4}">{_text(_at(line.t))}</text></g>\n'
        )

    def _sequence(self, place: Step) -> None:
        """A new part of the figure: which sequence the calls below belong to."""
        name = load_sequences()[place.sequence].title
        if place.variant:
            name += f" ({place.variant})"
        self.y += EVENT_ROW
        self.parts.append(
            f'<g class="sequence"><line x1="20" y1="{self.y}" x2="{self.width - 20}" y2="{self.y}"/>'
            f'<text x="20" y="{self.y + 13}">{_text(name)}</text></g>\n'
        )

    def _wait(self, seconds: float) -> None:
        self.y += WAIT_ROW
        text = f"{seconds:.1f} s later" if seconds < 100 else f"{seconds / 60:.0f} min later"
        middle = (LEFT + self.width - RIGHT) // 2
        self.parts.append(
            f'<text class="wait" x="{middle}" y="{self.y}" text-anchor="middle">· · · {text} · · ·</text>\n'
        )


def to_svg(trace: Trace) -> str:
    """The figure of a trace, as the text of an SVG file."""
    return _Figure(trace).draw()


def _places(calls: Sequence[CallLine]) -> Iterator[Step | None]:
    """The step that each call is, as far as its name and what came before tell; None for a call between steps.

    A guess for the eye only: the figure of a wrong trace has to be drawn, too.
    """
    sequences = load_sequences()
    sequence, variant = "connection", None
    for position, call in enumerate(calls):
        name = call.call
        if name == "PreDisconnect" or (name == "DisconnectNotify" and sequence == "disconnect") or name == "Close":
            sequence, variant = "disconnect", None
        elif name == "DisconnectNotify":
            sequence, variant = "reconnect", "arbitrated"
        elif name == "NotifySessionId" and _is_direct(calls[position:]):
            sequence, variant = "reconnect", "direct"
        elif name in ("RequestLicensingCapabilities", "AuthenticateClientToSession"):
            sequence, variant = ("licensing" if name.startswith("Request") else "connection"), None
        elif name == "SetErrorInfo" and all(later.call in _ENDING for later in calls[position:]):
            sequence, variant = "disconnect", None
        for spec in (sequences[sequence], sequences["start"]):
            step = next((step for step in spec.steps() if (step.call, step.variant) == (name, variant)), None)
            if step is not None:
                break
        yield step


_ENDING: Final = frozenset({"SetErrorInfo", "PreDisconnect", "DisconnectNotify", "Close", "BrokenConnection"})


def _is_direct(calls: Sequence[CallLine]) -> bool:
    """Whether these calls, from NotifySessionId on, are those of a reconnect without a logon."""
    for call in calls:
        if call.call == "IsUserAllowedToLogon":
            return True
        if call.call in ("NotifyCommandProcessCreated", "LogonNotify", "Close"):
            return False
    return False


def _answer(call: CallLine) -> tuple[str, str]:
    """What stands below the arrow, and the arrow's class."""
    if call.outcome is Outcome.OPEN:
        return "has not returned", "failed"
    if call.error is not None:
        if call.error.hresult == E_NOTIMPL:
            return "E_NOTIMPL", "default"
        return f"0x{call.error.hresult:08X} {call.error.reason}".rstrip(), "failed"
    if call.result is None or (isinstance(call.result, str) and call.result.startswith("<")):
        return "", ""
    return short(call.result, 80), ""


def _tip(call: CallLine) -> str:
    """What a viewer shows when the pointer rests on the arrow: all that the trace says of the call."""
    values = ", ".join(f"{name}={short(value, 400)}" for name, value in call.args.items())
    return f"#{call.n} {call.source} to {call.target}: {call.call}({values})"


def _at(seconds: float) -> str:
    return milliseconds(seconds) if abs(seconds) < 1 else f"{seconds:.2f} s"


def _rank(actor: str) -> tuple[int, str]:
    name = actor.partition(":")[0]
    return (ORDER.index(name) if name in ORDER else len(ORDER) - 2, actor)


def _text(text: str) -> str:
    """Escaped, and without what XML cannot hold: names in a trace may come from a client."""
    return html.escape(printable(text))
