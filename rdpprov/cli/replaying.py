"""What ``rdpprov trace replay`` sets up around a trace: the provider, or the service, that it is played against."""

from collections import deque
from collections.abc import Mapping

import trio
from trio.testing import MockClock

from rdpprov.api.identity import AuthenticatedUser, LogonError, NtStatus, UserToken
from rdpprov.api.structures import UserCredential
from rdpprov.rcm.configuration import ListenerConfiguration, ServiceConfiguration
from rdpprov.rcm.loader import load_protocol
from rdpprov.rcm.service import RemoteConnectionManager
from rdpprov.sessions.base import Desktop, DesktopRequest, LogonDesktop, LogonRequest
from rdpprov.sessions.logon import PanelLogonDesktop
from rdpprov.sessions.memory import MemoryDesktop
from rdpprov.traces.against_provider import ReplayService
from rdpprov.traces.dialogue import Replay, ReplayError
from rdpprov.traces.format import Trace
from rdpprov.traces.values import from_json

PATIENCE = 3600.0
"""Seconds of the replay's own clock after which the service, and whoever it waits for, have nothing more to do."""

PASSWORD = "replayed"
"""What stands for a password, which no trace has."""

LOGON_DESKTOP = "logon desktop"
"""`UserToken.how` of a password that was typed."""


def against_provider(trace: Trace, protocol: str, options: Mapping[str, object]) -> Replay:
    """Make the service's calls of a trace on a provider.

    Raises:
        ConfigurationError: there is no such protocol.
        ReplayError: the trace cannot be replayed.
    """

    async def run() -> Replay:
        return await ReplayService(trace, load_protocol(protocol)(), options).run()

    return trio.run(run)


def against_service(trace: Trace) -> Replay:
    """Give a service the provider's answers and callbacks of a trace.

    There is no network and no thread in it, so its clock need not be a real one: where everybody waits, it jumps to
    the next time limit.

    Raises:
        ReplayError: the trace cannot be replayed.
    """
    if trace.header.kind != "connection":
        raise ReplayError("a service trace has no connection to replay")
    return trio.run(_against_service, trace, clock=MockClock(autojump_threshold=0))


async def _against_service(trace: Trace) -> Replay:
    done = trio.Event()
    replays: list[Replay] = []

    def report(replay: Replay) -> None:
        replays.append(replay)
        done.set()

    options = {"trace": trace, "report": report, "secrets": {"password": PASSWORD}}
    protocol = "rdpprov.traces.against_service:TraceManager"
    listener = ListenerConfiguration(trace.header.listener or "replay", protocol, options)
    logons = RecordedLogons(trace)
    service = RemoteConnectionManager(
        ServiceConfiguration(listeners=[listener]),
        authenticator=logons,
        desktop_factory=_plain_desktop,
        logon_desktop_factory=logons.make_logon_desktop,
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


class RecordedLogons:
    """An authenticator that judges as the trace's did, one logon after the other, and somebody who types on the logon
    desktop when somebody did then.
    """

    def __init__(self, trace: Trace) -> None:
        self._verdicts = deque(
            line.fields for line in trace.events if line.event == "logon" and line.fields.get("how") != "reconnect"
        )
        allowed = (call.args.get("user") for call in trace.calls if call.call == "IsUserAllowedToLogon")
        user = next(allowed, None)
        self._user: UserToken | None = None if user is None else from_json(user, UserToken, name="user")

    async def authenticate(self, credential: UserCredential, *, client_address: str, how: str) -> AuthenticatedUser:
        """The next verdict of the trace; if there is none left, whoever logged on in the end may do so."""
        await trio.lowlevel.checkpoint()
        verdict = self._verdicts.popleft() if self._verdicts else {}
        if verdict.get("verdict") == "refused" or self._user is None:
            status = str(verdict.get("status"))
            known = status in NtStatus.__members__
            raise LogonError("as recorded", NtStatus[status] if known else NtStatus.STATUS_LOGON_FAILURE)
        return AuthenticatedUser(self._user)

    def vouches_for(self, user: AuthenticatedUser) -> bool:
        """Whether the trace's authenticator did."""
        return user.token == self._user

    async def check_account(self, token: UserToken) -> None:
        """It exists."""
        await trio.lowlevel.checkpoint()

    def make_logon_desktop(self, request: LogonRequest) -> LogonDesktop:
        """The logon desktop factory."""
        return _TypedLogonDesktop(request, self)

    async def type(self) -> UserCredential:
        """Wait until somebody types a name and a password: at once if somebody did in the trace, never if not."""
        await trio.lowlevel.checkpoint()
        typed = self._verdicts[0].get("how") == LOGON_DESKTOP if self._verdicts else self._user is not None
        if not typed:
            await trio.sleep_forever()
        return UserCredential(self._user.name if self._user is not None else "", PASSWORD)


class _TypedLogonDesktop(PanelLogonDesktop):
    def __init__(self, request: LogonRequest, logons: RecordedLogons) -> None:
        super().__init__(request)
        self._logons = logons

    async def ask(self) -> UserCredential:
        """Somebody types at once what was typed in the trace."""
        return await self._logons.type()
