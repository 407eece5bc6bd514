"""The scenario of a check in which rdpprov's own Remote Connection Manager serves the provider."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import trio

from rdpprov.api.listener import ProtocolListener
from rdpprov.api.manager import ProtocolManager
from rdpprov.api.structures import UserCredential
from rdpprov.errors import E_NOTIMPL, NotImplementedByProvider
from rdpprov.rcm.configuration import ListenerConfiguration, ServiceConfiguration
from rdpprov.rcm.service import ReadyListener, RemoteConnectionManager
from rdpprov.sessions.base import Desktop, DesktopRequest, LogonDesktop, LogonRequest
from rdpprov.sessions.logon import PanelLogonDesktop
from rdpprov.sessions.memory import MemoryDesktop
from rdpprov.testing.kit_run import Check
from rdpprov.testing.kit_service import KitAuthenticator
from rdpprov.testing.scripted import MemoryTraces
from rdpprov.traces.checker import check_trace
from rdpprov.traces.format import CallError, CallLine

RULE = "served-by-the-real-service"

_CHECKED: ContextVar[type[ProtocolManager]] = ContextVar("rdpprov_checked_manager")
_MADE: ContextVar[list[ProtocolListener]] = ContextVar("rdpprov_checked_listeners")


class CheckedManager(ProtocolManager):
    """For a listener's configuration, which names classes: making one makes the provider's own."""

    def __new__(cls) -> Any:
        """The provider's manager, of a class that notes the listeners that it makes."""
        own, made = _CHECKED.get(), _MADE.get()

        class Noting(own):  # type: ignore[misc, valid-type]
            async def create_listener(self, listener_name: str) -> ProtocolListener:
                made.append(await super().create_listener(listener_name))
                return made[-1]

        return Noting()

    async def create_listener(self, listener_name: str) -> ProtocolListener:
        """Never called: there is no object of this class."""
        raise NotImplementedByProvider("CreateListener")


def serving_checked(manager: type[ProtocolManager]) -> list[ProtocolListener]:
    """From now on, in this context, `CheckedManager` stands for that class; what it makes will be in the list."""
    _CHECKED.set(manager)
    made: list[ProtocolListener] = []
    _MADE.set(made)
    return made


class TypingLogonDesktop(PanelLogonDesktop):
    """A logon desktop where the check's user types at once."""

    def __init__(self, request: LogonRequest, credential: UserCredential) -> None:
        super().__init__(request)
        self._credential = credential

    async def ask(self) -> UserCredential:
        """Name and password."""
        self.reveal()
        await trio.lowlevel.checkpoint()
        return self._credential


async def real_service(check: Check) -> None:
    """A client logs on, leaves, and comes back; the service stops."""
    made = serving_checked(check.manager)
    traces = MemoryTraces()
    credential = UserCredential(check.user, check.password)

    def desktop(request: DesktopRequest) -> Desktop:
        return MemoryDesktop(request.width, request.height)

    def logon_desktop(request: LogonRequest) -> LogonDesktop:
        return TypingLogonDesktop(request, credential)

    service = RemoteConnectionManager(
        ServiceConfiguration(
            listeners=[ListenerConfiguration("check", f"{__name__}:{CheckedManager.__qualname__}", check.options)]
        ),
        authenticator=KitAuthenticator(check.user, check.password),
        desktop_factory=desktop,
        logon_desktop_factory=logon_desktop,
        traces=traces,
    )
    async with trio.open_nursery() as nursery:
        ready: list[ReadyListener] = await nursery.start(service.serve)
        try:
            for number in (1, 2):
                async with _client(check, ready, made[0]) as client:
                    await _logged_on(check, traces, number)
                    use = getattr(client, "use", None)
                    if use is not None:
                        with trio.move_on_after(check.patience):
                            await use()
                    await trio.sleep(check.settle)
                with trio.move_on_after(check.patience):
                    while service.connection_count:  # noqa: ASYNC110 - the service has no event for it
                        await trio.sleep(check.settle)
                sessions = len(list(service.sessions))
                check.findings.check(
                    RULE, sessions == 1, f"after client {number} there were {sessions} sessions, not 1"
                )
        finally:
            service.request_stop()
    for trace in traces.all():
        for finding in check_trace(trace):
            check.findings.check(RULE, False, f"the trace of {trace.header.kind}: {finding}")
        check.observer.service_traced(repr(trace))
    check.findings.check(RULE, True)


@asynccontextmanager
async def _client(check: Check, ready: list[ReadyListener], listener: ProtocolListener) -> AsyncIterator[object]:
    address = (ready[0].address, ready[0].port)
    knowledge = {
        "address": address[0],
        "port": address[1],
        "user": check.user,
        "password": check.password,
        "listener": listener,
        "options": check.options,
    }
    left = trio.Event()
    arrived: list[object] = []

    async def run() -> None:
        check.client_tasks.add(trio.lowlevel.current_task())
        try:
            async with check.client.connected(**knowledge) as client:
                arrived.append(client)
                await left.wait()
        except Exception:  # that it was not served, the trace tells better
            return

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await trio.sleep(check.settle)
        try:
            yield arrived[0] if arrived else None
        finally:
            left.set()
            nursery.cancel_scope.deadline = trio.current_time() + check.patience


async def _logged_on(check: Check, traces: MemoryTraces, connection_id: int) -> None:
    """Wait for LogonNotify of a connection."""
    calls: list[CallLine] = []
    with trio.move_on_after(2 * check.patience):
        while not _has_logged_on(calls):
            await trio.sleep(check.settle)
            recorder = traces.connections.get(connection_id)
            lines = recorder.trace().lines if recorder is not None else ()
            calls = [line for line in lines if isinstance(line, CallLine)]
    failed = [
        f"; {line.call} failed: {line.error.reason or line.error.exception}"
        for line in calls
        if line.error and not _is_answer(line.error)
    ]
    seen = f"client {connection_id} was not logged on; the last call was {calls[-1].call if calls else 'none'}"
    check.findings.require(RULE, _has_logged_on(calls), seen + "".join(failed))


def _has_logged_on(calls: Sequence[CallLine]) -> bool:
    return any(line.call == "LogonNotify" for line in calls)


def _is_answer(error: CallError) -> bool:
    """E_NOTIMPL is no failure."""
    return error.hresult == E_NOTIMPL
