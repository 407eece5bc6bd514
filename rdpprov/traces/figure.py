"""A figure as a trace: what a recording of a sequence looks like when every call does what it should.

For drawing the figures with `rdpprov.traces.diagram`, and for whoever needs a good trace to start from.
"""

from collections.abc import Iterable, Mapping

from rdpprov.traces.format import CallError, CallLine, EventLine, Line, Outcome, Trace, TraceHeader
from rdpprov.traces.sequences import Step, load_sequences

CALL_SECONDS = 0.001
"""How long each call takes, and the time between two calls."""


def figure_trace(
    steps: Iterable[Step],
    *,
    kind: str = "connection",
    failures: Mapping[str, CallError] | None = None,
    objects: Mapping[str, str] | None = None,
) -> Trace:
    """A trace of these steps, one after the other, with the milestones that belong to them.

    Args:
        steps: for example `Sequences.first_connection` and then `Sequences.disconnect`.
        kind: "connection" or "service".
        failures: calls that fail, by name, and how.
        objects: actors that have a name of their own: ``{"listener": "listener:desk"}``.
    """
    failures = failures or {}
    objects = objects or {}
    lines: list[Line] = []
    milestones = list(load_sequences()[kind if kind == "connection" else "start"].milestones)
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
