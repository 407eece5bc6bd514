"""``rdpprov trace``: what to do with recorded traces."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from rdpprov.errors import ConfigurationError
from rdpprov.security.private_files import reason_of
from rdpprov.traces.format import Trace, read_trace

app = App(name="trace", result_action="return_value")


@app.command
def check(*files: Path, running: bool = False) -> int:
    """Check traces against the sequences in protocol_specs. Says at which line one goes wrong, and what was expected.

    Args:
        files: one or more.
        running: the connections may still be there: a trace that ends early is right.
    """
    from rdpprov.traces.checker import check_trace

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
def show(file: Path, *, width: int = 160) -> None:
    """Print a trace for people: one line a call, with when it started and how long it took.

    Args:
        width: characters of a line; longer ones are cut. 0: never.
    """
    from rdpprov.traces.show import to_text

    print(to_text(_read(file), width=width), end="")


@app.command
def diagram(file: Path, *, output: Path | None = None) -> None:
    """Draw a trace as a sequence figure: SVG, one arrow a call.

    Args:
        output: the file to write; default: stdout.
    """
    from rdpprov.traces.diagram import to_svg

    svg = to_svg(_read(file))
    if output is None:
        print(svg)
        return
    try:
        output.write_text(svg, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--output {output}: {reason_of(error)}") from error


@app.command
def replay(
    file: Path,
    *,
    against: Literal["provider", "service"] = "service",
    protocol: str | None = None,
    option: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    everything: bool = False,
) -> int:
    """Replay a connection's trace, and show as a dialogue where it goes differently now.

    Against the service: the provider's answers and callbacks come again, and the service's calls are compared. A
    connection that got back into a session of an earlier one differs from there on, for a replay begins with none.
    Against the provider: the service's calls are made again, with a client that sends the recorded bytes; the trace has
    to have them (serve --trace-wire), and the protocol may not encrypt.

    Args:
        against: what is tested.
        protocol: of the provider; default: the trace's own.
        option: KEY=VALUE of the provider's listener; any number of them.
        everything: show what is the same, too.
    """
    from rdpprov.cli.logs import configure_logging
    from rdpprov.cli.replaying import against_provider, against_service

    configure_logging("error")  # what goes on is in the dialogue
    trace = _read(file)
    options: dict[str, object] = {"host": "127.0.0.1", "port": 0}
    for pair in option:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ConfigurationError(f"--option {pair!r}: expected KEY=VALUE")
        options[key] = value
    if against == "provider":
        result = against_provider(trace, protocol or trace.header.protocol, options)
    else:
        result = against_service(trace)
    print(result.to_text(only_differences=not everything), end="")
    print(f"{file}: {len(result.exchanges)} exchanges, {len(result.differences)} differences")
    return 1 if result.differences else 0


def _read(file: Path) -> Trace:
    try:
        return read_trace(file)
    except OSError as error:
        raise ConfigurationError(f"trace {file}: {reason_of(error)}") from error
