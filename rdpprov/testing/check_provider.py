"""`check_provider`: drive a provider through everything the provider API asks of it, and tell rule by rule how it did.

::

    report = trio.run(check_provider, MyManager, my_client)
    print(report.to_text())
    assert report.is_good

`rdpprov.testing.check_clients` says what a client is, `rdpprov.testing.rules` what is checked. The command is
``rdpprov check-provider module:Manager``; `rdpprov.testing.pytest_plugin` makes a test of each rule.
"""

import contextlib
import enum
import io
import logging
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import structlog
import trio

from rdpprov.api.manager import ProtocolManager
from rdpprov.rcm.loader import load_protocol
from rdpprov.testing.check_clients import CheckClient, as_client, find_client
from rdpprov.testing.kit_run import CannotGoOnError, Check
from rdpprov.testing.kit_service import Observer
from rdpprov.testing.rules import BY_NAME, RULES, Rule
from rdpprov.testing.scenarios import SCENARIOS, Scenario

PATIENCE = 5.0
"""Seconds: as long as the service waits for a notification."""
BLOCKED = 1.0
"""Seconds for which the event loop may stand still, as in the service."""
USER = "kit"
MOST_TOLD = 3
"""Of one rule, so much that was seen is told to people; the rest is the same at other places, most of the time."""
NOT_REACHED = "mend what failed first"


class Status(enum.Enum):
    """How a rule was met."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"
    """What the rule is about is not there."""
    NOT_REACHED = "not reached"
    """Another rule was broken, after which this one could not be looked at."""


@attrs.frozen
class RuleResult:
    """One rule, and what became of it."""

    rule: Rule
    status: Status
    seen: tuple[str, ...] = ()
    """What was seen of a failure; why it does not apply."""

    def to_text(self) -> str:
        """For people: one line, or for a failure all that helps."""
        lines = [f"{self.status.value:>14}  {self.rule.name}"]
        if self.status is Status.FAILED:
            lines.append(f"{'':16}{self.rule.sentence}")
            lines += [f"{'':16}seen:    {seen}" for seen in self.seen[:MOST_TOLD]]
            if len(self.seen) > MOST_TOLD:
                lines.append(f"{'':16}         ... and {len(self.seen) - MOST_TOLD} times more, or oftener")
            lines.append(f"{'':16}change:  {self.rule.advice}")
            lines.append(f"{'':16}source:  {self.rule.source}")
        elif self.status is not Status.PASSED and self.seen:
            lines[0] += f": {'; '.join(self.seen)}"
        return "".join(f"{line}\n" for line in lines)

    def to_json(self) -> dict[str, object]:
        """For machines."""
        return {"status": self.status.value, "seen": list(self.seen), **attrs.asdict(self.rule)}


@attrs.frozen
class Report:
    """What a check found: every rule once, in the order of `rdpprov.testing.rules.RULES`."""

    provider: str
    results: tuple[RuleResult, ...]

    @property
    def is_good(self) -> bool:
        """Whether no rule was broken."""
        return not self.failed

    @property
    def failed(self) -> tuple[str, ...]:
        """The names of the rules that were broken."""
        return self.named(Status.FAILED)

    def named(self, status: Status) -> tuple[str, ...]:
        """The names of the rules that were met in one way."""
        return tuple(result.rule.name for result in self.results if result.status is status)

    def of(self, rule: str) -> RuleResult:
        """One rule's.

        Raises:
            KeyError: there is no such rule.
        """
        return next(result for result in self.results if result.rule == BY_NAME[rule])

    def to_text(self) -> str:
        """For people: the good ones first, then what is not applicable, then what is wrong.

        What was not reached is only counted: what comes after a broken foundation is most of all rules, and would hide
        the one that matters.
        """
        order = (Status.PASSED, Status.NOT_APPLICABLE, Status.NOT_REACHED, Status.FAILED)
        text = ""
        for status in order:
            results = [result for result in self.results if result.status is status]
            if status is Status.NOT_REACHED and len(results) > 1:
                text += f"{status.value:>14}  {len(results)} more: {NOT_REACHED}\n"
            else:
                text += "".join(result.to_text() for result in results)
        counts = ", ".join(f"{len(self.named(status))} {status.value}" for status in order if self.named(status))
        return f"{text}{self.provider}: {counts}\n"

    def to_json(self) -> dict[str, object]:
        """For machines."""
        return {
            "provider": self.provider,
            "good": self.is_good,
            "rules": [result.to_json() for result in self.results],
        }


async def check_provider(
    provider: type[ProtocolManager] | str,
    client: CheckClient | Callable[..., Any] | str | None = None,
    *,
    options: Mapping[str, object] | None = None,
    patience: float = PATIENCE,
    blocked: float = BLOCKED,
) -> Report:
    """Check a provider against all rules. Takes seconds if all is well, for it waits only for what should not come.

    To be called inside trio, with its real clock.

    Args:
        provider: the manager class, or a protocol's name as in a listener's configuration.
        client: who connects, see `rdpprov.testing.check_clients`; None: found by convention.
        options: of the listener, beside those that the client brings; by default loopback and any free port.
        patience: seconds to wait for what should come at once.
        blocked: seconds for which the event loop may stand still.

    Raises:
        ConfigurationError: there is no such provider, or no client for it.
    """
    name = provider if isinstance(provider, str) else f"{provider.__module__}:{provider.__qualname__}"
    manager = load_protocol(provider) if isinstance(provider, str) else provider
    found = find_client(name, manager) if client is None else as_client(client)
    password = f"secret-{secrets.token_hex(8)}"
    observer = Observer(password, blocked)
    with tempfile.TemporaryDirectory(prefix="rdpprov-check-") as directory:
        defaults: dict[str, object] = {"host": "127.0.0.1", "port": 0}
        check = Check(
            manager=manager,
            client=found,
            options={**defaults, **found.listener_options(Path(directory)), **(options or {})},
            directory=Path(directory),
            user=USER,
            password=password,
            patience=patience,
            observer=observer,
        )
        with _listening_to_what_is_said(observer), observer.watching_the_loop(check.is_client_task):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(check.break_shields)
                unplayed = await _play(check)
                nursery.cancel_scope.cancel()
    _conclude(check)
    return Report(name, tuple(_result(rule, check, unplayed) for rule in RULES))


async def _play(check: Check) -> bool:
    """All scenarios; whether some could not be played to their end."""
    stopped = False
    for scenario in SCENARIOS:
        if scenario.needs_all and check.findings.failures:
            return True
        try:
            await _one(check, scenario)
        except CannotGoOnError:
            stopped = True
            if scenario.is_foundation:
                break
    return stopped


async def _one(check: Check, scenario: Scenario) -> None:
    try:
        await scenario.play(check)
    except ExceptionGroup as group:
        stop, other = group.split(CannotGoOnError)
        if other is not None:
            raise
        raise CannotGoOnError(str(stop)) from group


def _conclude(check: Check) -> None:
    """What is noted all the time, by rule."""
    observer, findings = check.observer, check.findings
    for where in observer.secrets_in:
        findings.check("secrets-are-not-told", False, f"the client's password was in {where}")
    findings.check("secrets-are-not-told", True)
    for where in observer.secrets_traced:
        findings.check("secrets-are-not-traced", False, f"the client's password was in {where}")
    if observer.has_traces:
        findings.check("secrets-are-not-traced", True)
    for call in dict.fromkeys(observer.inside_calls):
        findings.check("no-callback-inside-a-call", False, call)
    findings.check("no-callback-inside-a-call", True)
    for blockade in dict.fromkeys(observer.blockades):
        findings.check("event-loop-not-blocked", False, f"it stood still {blockade}")
    findings.check("event-loop-not-blocked", True)


def _result(rule: Rule, check: Check, unplayed: bool) -> RuleResult:
    findings = check.findings
    if rule.name in findings.failures:
        return RuleResult(rule, Status.FAILED, tuple(findings.failures[rule.name]))
    if rule.name in findings.passed:
        return RuleResult(rule, Status.PASSED)
    if rule.name in findings.absent:
        return RuleResult(rule, Status.NOT_APPLICABLE, (findings.absent[rule.name],))
    if unplayed:
        return RuleResult(rule, Status.NOT_REACHED, (NOT_REACHED,))
    return RuleResult(rule, Status.NOT_APPLICABLE, (f"needs {rule.needs or 'what this provider does not have'}",))


@contextlib.contextmanager
def _listening_to_what_is_said(observer: Observer) -> Iterator[None]:
    """Look for the secret in logs and in what is printed, and let nothing of it out."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            observer.told("a log record", record.getMessage())
            if record.exc_info:
                observer.told("a logged traceback", logging.Formatter().formatException(record.exc_info))

    handler, root = Handler(), logging.getLogger()
    out, errors = io.StringIO(), io.StringIO()
    handlers, root.handlers = root.handlers, [handler]
    level = root.level
    root.setLevel(logging.DEBUG)
    try:
        with (
            structlog.testing.capture_logs() as entries,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(errors),
        ):
            yield
    finally:
        root.handlers = handlers
        root.setLevel(level)
        for entry in entries:
            observer.told(f"the log entry {entry.get('event')!r}", repr(entry))
        observer.told("what was printed", out.getvalue() + errors.getvalue())
        sys.stdout.flush()
