"""What the sequences of one service share."""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

import attrs
import structlog
import trio

from rdpprov.api.authenticator import Authenticator
from rdpprov.api.enums import SessionChange
from rdpprov.api.listener import ProtocolListener
from rdpprov.api.manager import ProtocolManager
from rdpprov.rcm.asking import Asker
from rdpprov.rcm.configuration import Limits, ListenerConfiguration, ServiceConfiguration
from rdpprov.rcm.connection_callback import ConnectionCallback
from rdpprov.rcm.licensing_sequence import LicenseIssuer
from rdpprov.rcm.session_table import Session, SessionTable
from rdpprov.sessions.base import DesktopFactory, LogonDesktopFactory
from rdpprov.traces.recorder import TraceRecorder

log = structlog.get_logger(__name__)

NEWS_KEPT = 65536
"""Notifications that a manager has not taken yet; further ones are lost, and that is logged."""

News = tuple[Callable[..., Awaitable[None]], tuple[object, ...]]


class TraceSource(Protocol):
    """Where recorders are from: `rdpprov.traces.recorder.TraceDirectory`, or a test's own."""

    def service_recorder(self) -> TraceRecorder:
        """For the start and the stop of the service."""

    def connection_recorder(self, protocol: str, listener: str, connection_id: int) -> TraceRecorder:
        """For one connection."""


class Manager:
    """A provider's manager, at work.

    What happens to sessions it is told by a task of its own, one call after the other, so that no connection waits for
    it.
    """

    def __init__(self, manager: ProtocolManager, ask: Asker) -> None:
        self.manager = manager
        self.ask = ask
        self._news: deque[News] = deque()
        self._there_are_news = trio.Event()
        self._has_lost_news = False
        self._no_more_news = False
        self._telling = trio.CancelScope()
        self._told = trio.Event()

    def notify(self, method: Callable[..., Awaitable[None]], *args: object) -> None:
        """Let the manager be told something, soon."""
        if self._no_more_news:
            return  # it is about to be uninitialized
        if len(self._news) < NEWS_KEPT:
            self._news.append((method, args))
            self._there_are_news.set()
        elif not self._has_lost_news:
            self._has_lost_news = True
            log.warning("manager is too slow for the notifications it gets and misses some", **self.ask.whose)

    async def tell_news(self) -> None:
        """The task that tells it."""
        try:
            with self._telling:
                while not self._no_more_news or self._news:
                    await self._there_are_news.wait()
                    while self._news:
                        method, args = self._news.popleft()
                        await self.ask(method, *args)
                    self._has_lost_news = False
                    if not self._no_more_news:
                        self._there_are_news = trio.Event()
        finally:
            self._told.set()

    async def all_told(self) -> None:
        """Let it be told what there is to tell, and nothing more. Cancelled: not even that."""
        self._no_more_news = True
        self._there_are_news.set()
        try:
            await self._told.wait()
        finally:
            self._telling.cancel()


@attrs.frozen(eq=False)
class Listener:
    """A provider's listener, at work."""

    configuration: ListenerConfiguration
    listener: ProtocolListener
    ask: Asker
    scope: trio.CancelScope
    """Its task's life."""


@attrs.define(eq=False)
class ServiceContext:
    """The running service, as its sequences see it."""

    configuration: ServiceConfiguration
    authenticator: Authenticator
    desktop_factory: DesktopFactory
    logon_desktop_factory: LogonDesktopFactory
    license_issuer: LicenseIssuer | None
    traces: TraceSource | None
    recorder: TraceRecorder
    """The service's own trace."""
    nursery: trio.Nursery
    """Where listeners, connections and desktops live. What ends before what, when the service stops, is the stop
    sequence's affair."""
    sessions: SessionTable = attrs.field(factory=SessionTable)
    connections: dict[int, ConnectionCallback] = attrs.field(factory=dict)
    connections_made: int = 0
    all_closed: trio.Event = attrs.field(factory=trio.Event)
    """Set when the service stops and its last connection is closed."""
    managers: dict[type[ProtocolManager], Manager] = attrs.field(factory=dict)
    listeners: list[Listener] = attrs.field(factory=list)
    logon_desktops: int = 0
    """How many are shown now."""
    draining: bool = False
    stop_deadline: float | None = None
    """Set when the service stops: no client is taken, and no connection lasts longer."""

    @property
    def limits(self) -> Limits:
        """All time limits."""
        return self.configuration.limits

    @property
    def is_stopping(self) -> bool:
        """Whether the service has begun to stop."""
        return self.stop_deadline is not None

    def patience(self, seconds: float) -> float:
        """How long to wait for something that may take ``seconds``: less, when the service stops."""
        if self.stop_deadline is None:
            return seconds
        return max(0.0, min(seconds, self.stop_deadline - trio.current_time()))

    def session_changed(self, session: Session, change: SessionChange) -> None:
        """Tell the managers what happened to a session; those that do not want to know are not asked."""
        for manager in self.managers.values():
            if type(manager.manager).notify_session_state_change is ProtocolManager.notify_session_state_change:
                continue
            manager.notify(manager.manager.notify_session_state_change, session.wts_session_id, int(change))
