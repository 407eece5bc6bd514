"""Assertions about traces whose failures read as dialogues, and a recorder for tests.

::

    with recorded_trace() as recorder:
        ...                                    # hand `recorder` to what is tested
    assert_trace_is_right(recorder.trace())    # as the sequences say
    replay = trio.run(replay_against_provider, recorder.trace(), MyManager)
    assert_same_dialogue(replay)               # the provider answers as it did
"""

import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import trio

from rdpprov.api.authenticator import Authenticator
from rdpprov.api.manager import ProtocolManager
from rdpprov.rcm.configuration import ListenerConfiguration, ServiceConfiguration
from rdpprov.rcm.service import RemoteConnectionManager
from rdpprov.sessions.base import Desktop, DesktopRequest, LogonDesktopFactory
from rdpprov.sessions.memory import MemoryDesktop
from rdpprov.testing.recorded_logons import PASSWORD, RecordedLogons
from rdpprov.testing.scripted import ScriptedAuthenticator, ScriptedProvider
from rdpprov.traces.against_provider import ReplayService
from rdpprov.traces.checker import check_trace
from rdpprov.traces.dialogue import Replay, ReplayError
from rdpprov.traces.format import CallLine, EventLine, Trace, TraceHeader
from rdpprov.traces.recorder import MemoryRecorder
from rdpprov.traces.values import Secrets

CONTEXT = 3
"""Lines of a dialogue around what is wrong in it."""
PATIENCE = 3600.0
"""Seconds of a test's clock after which a replay has nothing more to do."""


class TraceError(AssertionError):
    """A trace is not what it should be. The message is a dialogue."""


@contextmanager
def recorded_trace(header: TraceHeader | None = None, *, wire: bool = False) -> Iterator[MemoryRecorder]:
    """A recorder that keeps its lines in memory; at the end of the block it is closed, and calls still open are told.

    Args:
        header: by default a connection's.
        wire: keep bytes, too.
    """
    recorder = MemoryRecorder(header, wire=wire)
    try:
        yield recorder
    finally:
        recorder.close()


def assert_trace_is_right(trace: Trace, *, running: bool = False) -> None:
    """The calls of a trace come in the order of the sequences.

    Args:
        trace: of a connection or of a service.
        running: it may end early.

    Raises:
        TraceError: they do not; the message shows where.
    """
    __tracebackhide__ = True
    findings = check_trace(trace, running=running)
    if not findings:
        return
    wrong = {finding.n: finding.message for finding in findings}
    calls = trace.calls
    shown = []
    for position, call in enumerate(calls):
        if any(
            0 <= position - other < CONTEXT + 1 or 0 < other - position <= CONTEXT for other in _positions(calls, wrong)
        ):
            shown.append(f"{'!' if call.n in wrong else ' '} {_told(call)}")
            if call.n in wrong:
                shown.append(f"    {wrong[call.n]}")
    shown += [f"! {finding.message}" for finding in findings if finding.n not in {call.n for call in calls}]
    raise TraceError("the trace is not as the sequences say:\n" + "\n".join(shown))


def _positions(calls: tuple[CallLine, ...], wrong: Mapping[int, str]) -> list[int]:
    return [position for position, call in enumerate(calls) if call.n in wrong]


def assert_same_dialogue(replay: Replay) -> None:
    """A replay came out as recorded.

    Raises:
        TraceError: it did not; the message is the dialogue, with both sides where they differ.
    """
    __tracebackhide__ = True
    if replay.differences:
        raise TraceError(f"the dialogue is not as recorded:\n{replay.to_text()}")


def compared(left: Trace, right: Trace) -> str:
    """Two traces as one dialogue: lines of the first alone begin with ``-``, of the second alone with ``+``."""
    return "\n".join(difflib.ndiff([*_lines(left)], [*_lines(right)]))


def _lines(trace: Trace) -> Iterator[str]:
    """What was said, without when."""
    for line in trace.lines:
        if isinstance(line, CallLine):
            yield _told(line)
        elif isinstance(line, EventLine):
            yield f"({line.event} {dict(line.fields)})"


def _told(call: CallLine) -> str:
    arguments = ", ".join(f"{name}={value}" for name, value in call.args.items())
    answer = (
        f" failed: {call.error}" if call.error is not None else f" -> {call.result}" if call.result is not None else ""
    )
    return f"{call.source} -> {call.target} {call.call}({arguments}){answer}"


async def replay_against_provider(
    trace: Trace,
    manager: type[ProtocolManager],
    *,
    options: Mapping[str, object] | None = None,
    secrets: Secrets | None = None,
) -> Replay:
    """The service's calls of a trace, made again on a provider; the trace has to have its client's bytes.

    Args:
        trace: of a connection.
        manager: the provider's class.
        options: of its listener; by default loopback and any free port.
        secrets: for fields that the trace does not tell.

    Raises:
        ReplayError: the trace cannot be replayed.
    """
    settings = {"host": "127.0.0.1", "port": 0, **(options or {})}
    return await ReplayService(trace, manager(), settings, secrets=secrets).run()


async def replay_against_service(trace: Trace, *, users: Mapping[str, str] | None = None) -> Replay:
    """A provider's answers and callbacks of a trace, given to the service again; what it calls is compared.

    To be run on `trio.testing.MockClock`, for a service may wait for hours.

    Args:
        trace: of a connection.
        users: who may log on, with passwords; those are what stands for the passwords that no trace has, so all users
            of one trace have one. None: whoever did in the trace, and who was refused then is refused again.

    Raises:
        ReplayError: the trace cannot be replayed.
    """
    if trace.header.kind != "connection":
        raise ReplayError("a service trace has no connection to replay")
    done = trio.Event()
    replays: list[Replay] = []

    def report(replay: Replay) -> None:
        replays.append(replay)
        done.set()

    authenticator: Authenticator
    if users is None:
        authenticator = logons = RecordedLogons(trace)
        make_logon_desktop: LogonDesktopFactory = logons.make_logon_desktop
    else:
        authenticator, make_logon_desktop = ScriptedAuthenticator(users), ScriptedProvider().make_logon_desktop
    secrets = {"password": next(iter((users or {}).values()), PASSWORD)}
    options = {"trace": trace, "report": report, "secrets": secrets}
    protocol = "rdpprov.traces.against_service:TraceManager"
    service = RemoteConnectionManager(
        ServiceConfiguration(listeners=[ListenerConfiguration(trace.header.listener or "replay", protocol, options)]),
        authenticator=authenticator,
        desktop_factory=_plain_desktop,
        logon_desktop_factory=make_logon_desktop,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(service.serve)
        with trio.move_on_after(PATIENCE):
            await done.wait()
        service.request_stop()
    if not replays:
        raise ReplayError("the connection of the trace has not come to its end, though the service has")
    return replays[0]


def _plain_desktop(request: DesktopRequest) -> Desktop:
    """Nobody looks at it, so there is nothing on it."""
    return MemoryDesktop(request.width, request.height)
