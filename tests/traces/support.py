"""What tests of traces share."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import attrs

from rdpprov.traces.format import CallError, CallLine, EventLine, Line, Outcome, Trace, TraceHeader, read_trace
from rdpprov.traces.sequences import Step, load_sequences

GOOD = Path(__file__).parent / "good"
FIRST = read_trace(GOOD / "first_connection.jsonl")
SEQUENCES = load_sequences()

CALL_SECONDS = 0.001
"""How long each call takes, and the time between two calls."""


def edited(trace: Trace, call: str, **changes) -> Trace:
    """The trace with one call changed."""
    return attrs.evolve(
        trace,
        lines=tuple(
            attrs.evolve(line, **changes) if isinstance(line, CallLine) and line.call == call else line
            for line in trace.lines
        ),
    )


def figure_trace(
    steps: Iterable[Step],
    *,
    kind: str = "connection",
    failures: Mapping[str, CallError] | None = None,
    objects: Mapping[str, str] | None = None,
) -> Trace:
    """A figure as a trace: what a recording of these steps looks like when every call does what it should.

    Args:
        steps: for example `Sequences.first_connection` and then `Sequences.disconnect`.
        kind: "connection" or "service".
        failures: calls that fail, by name, and how.
        objects: actors that have a name of their own: ``{"listener": "listener:desk"}``.
    """
    failures = failures or {}
    objects = objects or {}
    lines: list[Line] = []
    milestones = list(SEQUENCES[kind if kind == "connection" else "start"].milestones)
    for n, step in enumerate(steps, start=1):
        error = failures.get(step.call)
        t = round(2 * CALL_SECONDS * n, 6)
        lines.append(
            CallLine(
                n=n,
                t=t,
                d=CALL_SECONDS,
                source=objects.get(step.source, step.source),
                target=objects.get(step.target, step.target),
                call=step.call,
                args=dict(step.succeeds_with),
                outcome=Outcome.RETURNED if error is None else Outcome.FAILED,
                error=error,
                line_number=len(lines) + 2,
            )
        )
        for milestone in [one for one in milestones if one.after == step.call]:
            milestones.remove(milestone)
            after = round(t + 1.5 * CALL_SECONDS, 6)
            lines.append(EventLine(after, milestone.event, milestone.fields, line_number=len(lines) + 2))
    return Trace(TraceHeader(kind), tuple(lines))
