"""A trace as text for people: a dialogue, one line a call.

::

    connection of listener desk (rdp), started 2026-05-01T09:30:00.000000+00:00

       1    0.00 ms   0.21 ms  listener -> service    OnConnected(settings={h_res=1024, v_res=768, ...}) = <...>
       *    0.25 ms            state name=connecting
       2    0.31 ms   0.02 ms  service -> connection  GetLogonErrorRedirector() = E_NOTIMPL

Milestones have a star in place of the number, bytes on the wire a tilde.
"""

import json
from collections.abc import Iterator, Mapping

from rdpprov.errors import E_NOTIMPL
from rdpprov.traces.format import CallLine, EventLine, Json, Outcome, Trace, WireLine

VALUE_WIDTH = 60
"""Characters of one argument or result."""


def to_text(trace: Trace, *, width: int = 160) -> str:
    """The whole trace.

    Args:
        trace: of a connection or a service.
        width: characters of a line; longer ones are cut, never wrapped. 0: never cut.
    """
    lines = [title(trace), *(f"note: {printable(note)}" for note in trace.notes), "", *_rows(trace)]
    return "".join(f"{cut(line.rstrip(), width)}\n" for line in lines)


def title(trace: Trace) -> str:
    """What the trace is of: ``connection of listener desk (rdp), started ...``."""
    header = trace.header
    about = header.kind
    if header.listener:
        about += f" of listener {printable(header.listener)}"
    if header.protocol:
        about += f" ({printable(header.protocol)})"
    return f"{about}, started {printable(header.started) or 'at an unknown time'}"


def describe_call(call: CallLine) -> str:
    """A call with arguments and answer: ``GetClientMonitorData() = [1,0]``."""
    return f"{printable(call.call)}({_arguments(call.args)}){answer(call)}"


def answer(call: CallLine) -> str:
    """How a call ended: `` = 7``, `` = E_NOTIMPL``, `` failed: 0x80004005 no client``; nothing for no result."""
    match call.outcome:
        case Outcome.OPEN:
            return " ... has not returned"
        case Outcome.FAILED if call.error is not None and call.error.hresult == E_NOTIMPL:
            return " = E_NOTIMPL"
        case Outcome.FAILED:
            return f" failed: {printable(str(call.error))}"
        case Outcome.RETURNED:
            return "" if call.result is None else f" = {short(call.result)}"


def short(value: Json, width: int = VALUE_WIDTH) -> str:
    """JSON without its quotation marks where nobody misses them, cut at `width`."""
    if isinstance(value, str):
        return cut(printable(value), width)
    if isinstance(value, dict):
        return cut("{" + _arguments(value) + "}", width)
    return cut(json.dumps(value, separators=(", ", ": ")), width)


def cut(text: str, width: int) -> str:
    """At most `width` characters; 0: all."""
    return text if not 0 < width < len(text) else f"{text[: width - 1]}…"


def printable(text: str) -> str:
    """Without what would steer a terminal or break a line: names in a trace may come from a client."""
    return "".join(character if character.isprintable() else "�" for character in text)


def milliseconds(seconds: float) -> str:
    """``0.25 ms``, ``12.5 ms``: three digits that count."""
    value = seconds * 1000
    return f"{value:.2f} ms" if abs(value) < 10 else f"{value:.1f} ms" if abs(value) < 100 else f"{value:.0f} ms"


def _rows(trace: Trace) -> Iterator[str]:
    calls = trace.calls
    arrows = [f"{printable(call.source)} -> {printable(call.target)}" for call in calls]
    wide = max(map(len, arrows), default=0)
    for line in trace.lines:
        at = f"{milliseconds(line.t):>10}"
        match line:
            case CallLine():
                took = milliseconds(line.d) if line.d is not None else "open"
                arrow = f"{printable(line.source)} -> {printable(line.target)}"
                yield f"{line.n:>4} {at} {took:>9}  {arrow:<{wide}}  {describe_call(line)}"
            case EventLine():
                yield f"{'*':>4} {at} {'':>9}  {printable(line.event)} {_arguments(line.fields)}"
            case WireLine():
                arrow = "client -> us" if line.direction == "in" else "us -> client"
                yield f"{'~':>4} {at} {'':>9}  {arrow}  {len(line.data)} bytes {line.data[:16].hex(' ')}"


def _arguments(values: Mapping[str, Json]) -> str:
    return ", ".join(f"{printable(name)}={short(value)}" for name, value in values.items())
