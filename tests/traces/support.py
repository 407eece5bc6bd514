"""What tests of traces share."""

from pathlib import Path

import attrs

from rdpprov.traces.format import CallLine, Trace, read_trace
from rdpprov.traces.sequences import load_sequences

GOOD = Path(__file__).parent / "good"
FIRST = read_trace(GOOD / "first_connection.jsonl")
SEQUENCES = load_sequences()


def edited(trace: Trace, call: str, **changes) -> Trace:
    """The trace with one call changed."""
    return attrs.evolve(
        trace,
        lines=tuple(
            attrs.evolve(line, **changes) if isinstance(line, CallLine) and line.call == call else line
            for line in trace.lines
        ),
    )
