"""``rdpprov trace``: what to do with recorded traces."""

import json
from collections.abc import Iterator
from pathlib import Path

from cyclopts import App

from rdpprov.errors import ConfigurationError
from rdpprov.security.private_files import reason_of
from rdpprov.traces.checker import check_trace
from rdpprov.traces.diagram import to_svg
from rdpprov.traces.format import CallLine, EventLine, Line, Outcome, Trace, read_trace

app = App(name="trace", result_action="return_value")


@app.command
def check(*files: Path, running: bool = False) -> int:
    """Check traces against the sequences in protocol_specs. Says at which line one goes wrong, and what was expected.

    Args:
        files: one or more.
        running: the connections may still be there: a trace that ends early is right.
    """
    if not files:
        raise ConfigurationError("trace check: no file, expected at least one")
    wrong = 0
    for file in files:
        findings = check_trace(_read(file), running=running)
        for finding in findings:
            print(f"{file}:{finding.line_number}: {finding.message}")
        if not findings:
            print(f"{file}: good")
        wrong += bool(findings)
    return 1 if wrong else 0


@app.command
def show(file: Path) -> None:
    """Print a trace for people: one line a call, with when it started and how long it took."""
    for line in describe(_read(file)):
        print(line)


@app.command
def diagram(file: Path, *, output: Path | None = None) -> None:
    """Draw a trace as a sequence figure: SVG, one arrow a call.

    Args:
        output: the file to write; default: stdout.
    """
    svg = to_svg(_read(file))
    if output is None:
        print(svg)
        return
    try:
        output.write_text(svg, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--output {output}: {reason_of(error)}") from error


def _read(file: Path) -> Trace:
    try:
        return read_trace(file)
    except OSError as error:
        raise ConfigurationError(f"trace {file}: {reason_of(error)}") from error


def describe(trace: Trace) -> Iterator[str]:
    """A trace as lines for people."""
    header = trace.header
    about = f"{header.kind} of listener {header.listener} ({header.protocol})" if header.listener else header.kind
    yield f"{about}, started {header.started or 'at an unknown time'}"
    yield from (f"note: {note}" for note in trace.notes)
    yield f"{'seconds':>10}  {'took ms':>9}"
    for line in trace.lines:
        took = f"{line.d * 1000:9.2f}" if isinstance(line, CallLine) and line.d is not None else " " * 9
        yield f"{line.t:10.4f}  {took}  {_describe_line(line)}".rstrip()


def _describe_line(line: Line) -> str:
    if isinstance(line, CallLine):
        arguments = ", ".join(f"{name}={_short(value)}" for name, value in line.args.items())
        call = f"{line.n:4}  {line.source} -> {line.target}: {line.call}({arguments})"
        if line.outcome is Outcome.OPEN:
            return f"{call} ... still open at the end"
        if line.outcome is Outcome.FAILED:
            return f"{call} FAILED {line.error}"
        return call if line.result is None else f"{call} = {_short(line.result)}"
    if isinstance(line, EventLine):
        return "      * " + " ".join([line.event, *(f"{key}={_short(value)}" for key, value in line.fields.items())])
    return f"      {'<' if line.direction == 'in' else '>'} {len(line.data)} bytes"


def _short(value: object) -> str:
    """JSON, cut where it would fill a screen."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if len(text) <= 200 else f"{text[:199]}\N{HORIZONTAL ELLIPSIS}"
