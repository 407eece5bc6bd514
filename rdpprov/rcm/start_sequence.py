"""Start and stop of the service, towards the managers and their listeners."""

from collections.abc import Awaitable, Callable

import attrs
import structlog
import trio

from rdpprov.api.devices import TaskStatus
from rdpprov.api.enums import ListenerSettingLevel, RcmDrainState, RcmServiceState
from rdpprov.api.listener import ProtocolListener
from rdpprov.api.manager import ProtocolManager
from rdpprov.api.structures import ListenerSettings, ServiceState
from rdpprov.errors import ConfigurationError, HResultError, ProviderLoadError, for_log
from rdpprov.rcm.asking import Asker, unwrapped
from rdpprov.rcm.configuration import ListenerConfiguration
from rdpprov.rcm.context import Listener, Manager, ServiceContext
from rdpprov.rcm.counters import CountedAuthenticator
from rdpprov.rcm.ending import SERVICE_STOPS, TimeLimitError
from rdpprov.rcm.failure_policy import Call
from rdpprov.rcm.listener_callback import ListenerCallback
from rdpprov.rcm.loader import faults_of, load_protocol
from rdpprov.rcm.settings import ServiceSettings

log = structlog.get_logger(__name__)

PHASES = 9
"""Parts of `Limits.stop`: 1 telling the managers, 2 StopListen, 3 connections, 1 sessions, 1 what the managers have
still to hear of these, 1 Uninitialize."""


@attrs.frozen
class ReadyListener:
    """A listener that accepts clients."""

    name: str
    protocol: str
    address: str
    """Empty if the listener has no socket, or does not say."""
    port: int
    fingerprint: str = ""
    """What clients show their users of its key; empty: nothing."""


async def start_sequence(service: ServiceContext) -> list[ReadyListener]:
    """Initialize, CreateListener, StartListen, in the order of Microsoft's "Start Sequence" figure.

    One manager per class, however many listeners name it.

    Raises:
        ConfigurationError: a protocol is not there or is not what it should be, or a listener cannot start; the message
            names it. What has been started is for `stop_sequence`.
    """
    ready = []
    listeners = service.configuration.listeners
    for configuration, manager_class in [(listener, load_protocol(listener.protocol)) for listener in listeners]:
        ask = _asker(service, configuration, manager_class.__qualname__)
        if manager_class not in service.managers:
            manager = _create_manager(manager_class, configuration)
            await ask(
                manager.initialize,
                _settings(service, manager_class.__qualname__),
                service.policies.machine,
            )
            service.managers[manager_class] = Manager(manager, ask)
            service.nursery.start_soon(service.managers[manager_class].tell_news)
        listener = await ask(service.managers[manager_class].manager.create_listener, configuration.name)
        if faults := faults_of(type(listener)):
            raise ProviderLoadError(f"listener {configuration.name}: {type(listener).__qualname__} {'; '.join(faults)}")
        settings = await ask(listener.get_settings, ListenerSettingLevel.LEVEL_1, default=ListenerSettings())
        scope = trio.CancelScope()
        await ask(_start_listen(service, listener, ListenerCallback(service, configuration, settings), scope))
        service.listeners.append(Listener(configuration, listener, ask, scope))
        for address, port in listener.bound_addresses or [("", 0)]:
            known = ReadyListener(configuration.name, configuration.protocol, address, port, listener.fingerprint)
            ready.append(known)
    drain = RcmDrainState.IN_DRAIN if service.draining else RcmDrainState.NOT_IN_DRAIN
    await _tell_managers(service, ServiceState(RcmServiceState.START, drain))
    return ready


async def stop_sequence(service: ServiceContext) -> None:
    """StopListen for each listener, Uninitialize for each manager; between them every client is told and let go.

    Takes at most `Limits.stop`, whatever hangs: each phase has a share, and what is not done by then is cancelled.
    """
    share = service.limits.stop / PHASES
    begun = trio.current_time()
    service.stop_deadline = begun + 6 * share
    await _tell_managers(service, ServiceState(RcmServiceState.STOP), limit=share)
    async with trio.open_nursery() as nursery:
        for listener in service.listeners:
            nursery.start_soon(_stop_listen, listener, 2 * share)
    end_connections(service)
    with trio.move_on_at(service.stop_deadline):
        await service.all_closed.wait()
    for listener in service.listeners:
        listener.scope.cancel()
    service.stop_deadline = begun + 7 * share
    sessions = list(service.sessions)
    for session in sessions:
        session.end(SERVICE_STOPS)
    with trio.move_on_at(service.stop_deadline):
        for session in sessions:
            await session.ended.wait()
    for manager in service.managers.values():
        with trio.move_on_at(begun + 8 * share):
            await manager.all_told()
    for manager in service.managers.values():
        await manager.ask(manager.manager.uninitialize, limit=begun + service.limits.stop - trio.current_time())


def end_connections(service: ServiceContext) -> None:
    """Let all connections go until `ServiceContext.stop_deadline`; `ServiceContext.all_closed` tells when they have."""
    assert service.stop_deadline is not None
    if not service.connections:
        service.all_closed.set()
    for callback in list(service.connections.values()):
        callback.end(SERVICE_STOPS)
        if callback.closing_scope is not None:  # it was ending already, with more patience
            callback.closing_scope.deadline = min(callback.closing_scope.deadline, service.stop_deadline)


async def run_listener(
    service: ServiceContext,
    listener: ProtocolListener,
    callback: ListenerCallback,
    scope: trio.CancelScope,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """StartListen, and all that the listener does afterwards, as a task of the service.

    A listener that fails after its start costs its own connections, and no other's.
    """
    status = _Started(task_status, lambda: service.listener_up(callback.name))
    reason = SERVICE_STOPS.reason
    try:
        with scope:
            await listener.start_listen(callback, task_status=status)
        if not status.is_up:
            raise HResultError("start_listen returned before it called task_status.started()")
        if not service.is_stopping:
            log.error("listener ended by itself", listener=callback.name)
            reason = "it ended by itself"
    except Exception as error:
        if not status.is_up:
            raise  # out of `nursery.start`: the service's start fails
        log.error("listener failed", listener=callback.name, **for_log(error))
        reason = f"it failed: {type(error).__name__}"
    finally:
        service.listener_down(callback.name, reason)
        callback.listener_failed()


class _Started(TaskStatus):
    """Whether the listener listens."""

    def __init__(self, task_status: trio.TaskStatus[None], tell: Callable[[], None]) -> None:
        self._task_status = task_status
        self._tell = tell
        self.is_up = False

    def started(self, value: object = None) -> None:
        self.is_up = True
        self._tell()
        self._task_status.started()


def _start_listen(
    service: ServiceContext, listener: ProtocolListener, callback: ListenerCallback, scope: trio.CancelScope
) -> Callable[[], Awaitable[None]]:
    """The documented StartListen, which returns: when the listener has said that it listens."""

    async def start_listen() -> None:
        await service.nursery.start(run_listener, service, listener, callback, scope)

    return start_listen


async def _stop_listen(listener: Listener, limit: float) -> None:
    await listener.ask(listener.listener.stop_listen, limit=limit)


async def _tell_managers(service: ServiceContext, change: ServiceState, limit: float | None = None) -> None:
    """All at once, for none shall wait for another that hangs."""
    async with trio.open_nursery() as nursery:
        for manager in service.managers.values():
            nursery.start_soon(_tell_manager, manager, change, limit)


async def _tell_manager(manager: Manager, change: ServiceState, limit: float | None) -> None:
    await manager.ask(manager.manager.notify_service_state_change, change, limit=limit)


def _create_manager(manager_class: type[ProtocolManager], configuration: ListenerConfiguration) -> ProtocolManager:
    """CoCreateInstance.

    Raises:
        ProviderLoadError: its constructor fails.
    """
    try:
        return manager_class()
    except Exception as error:
        raise ProviderLoadError(
            f"protocol {configuration.protocol}: {manager_class.__qualname__}(): {error!r}"
        ) from error


def _settings(service: ServiceContext, manager: str) -> ServiceSettings:
    options = {listener.name: listener.options for listener in service.configuration.listeners}
    return ServiceSettings(
        lambda: service.policies,
        CountedAuthenticator(service.authenticator, service.counters),
        options,
        service.recorder,
        f"manager:{manager}",
    )


def _asker(service: ServiceContext, configuration: ListenerConfiguration, manager: str) -> Asker:
    """Who calls a listener, and its manager on its behalf: what fails names the listener."""

    def fault(call: Call, error: Exception) -> Exception:
        where = f"listener {configuration.name}"
        error = unwrapped(error)  # it may come out of a nursery of the listener's own
        match error:
            case ConfigurationError():
                return error
            case OSError() if not isinstance(error, TimeLimitError):
                return ConfigurationError(
                    f"{where}: cannot listen on {_address(configuration)}: {error.strerror or error}"
                )
            case _:
                return ConfigurationError(f"{where}: {call.name} of {configuration.protocol} failed: {error}")

    return Asker(
        service.recorder,
        service.limits,
        whose={"listener": configuration.name},
        fault=fault,
        actors={"manager": f"manager:{manager}", "listener": f"listener:{configuration.name}"},
    )


def _address(configuration: ListenerConfiguration) -> str:
    """What the listener's options say about its address; a provider that calls them otherwise is not understood."""
    parts = [str(configuration.options[key]) for key in ("host", "address", "port") if key in configuration.options]
    return ":".join(parts) or "its address"
