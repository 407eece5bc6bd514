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
from rdpprov.rcm.configuration import Limits, ListenerConfiguration, Policies, ServiceConfiguration
from rdpprov.rcm.connection_callback import ConnectionCallback
from rdpprov.rcm.counters import Counters
from rdpprov.rcm.ending import TAKEN_OVER
from rdpprov.rcm.events import (
    Feed,
    ListenerDown,
    ListenerUp,
    SessionCreated,
    SessionDisconnected,
    SessionDropped,
    SessionLoggedOff,
    SessionLoggedOn,
    SessionReconnected,
    label,
)
from rdpprov.rcm.licensing_sequence import LicenseIssuer
from rdpprov.rcm.session_table import Session, SessionTable
from rdpprov.sessions.base import DesktopFactory, LogonDesktopFactory, OverlayFactory
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
        self._news: deque[News | trio.Event] = deque()
        self._there_are_news = trio.Event()
        self._has_lost_news = False
        self._no_more_news = False
        self._telling = trio.CancelScope()
        self._told = trio.Event()

    def wants_to_hear(self, method: Callable[..., object]) -> bool:
        """Whether the manager has a method of its own for this notification of `ProtocolManager`."""
        return getattr(type(self.manager), method.__name__) is not method

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
                        news = self._news.popleft()
                        if isinstance(news, trio.Event):
                            news.set()
                        else:
                            method, args = news
                            await self.ask(method, *args)
                    self._has_lost_news = False
                    if not self._no_more_news:
                        self._there_are_news = trio.Event()
        finally:
            self._told.set()
            for news in self._news:
                if isinstance(news, trio.Event):
                    news.set()

    async def caught_up(self) -> None:
        """Wait until it has been told all that there is to tell now, or is told nothing any more."""
        if self._no_more_news or self._told.is_set():
            await self._told.wait()
            return
        told = trio.Event()
        self._news.append(told)
        self._there_are_news.set()
        await told.wait()

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
    policies: Policies
    """Those in force now; `RemoteConnectionManager.set_policies` changes them."""
    sessions: SessionTable = attrs.field(factory=SessionTable)
    connections: dict[int, ConnectionCallback] = attrs.field(factory=dict)
    connections_made: int = 0
    overlay_factory: OverlayFactory | None = None
    """For shadowing; None: there is none."""
    feed: Feed = attrs.field(factory=Feed)
    """What happens, for whoever watches."""
    counters: Counters = attrs.field(factory=Counters)
    """How often it has happened, for metrics."""
    all_closed: trio.Event = attrs.field(factory=trio.Event)
    """Set when the service stops and its last connection is closed."""
    managers: dict[type[ProtocolManager], Manager] = attrs.field(factory=dict)
    listeners: list[Listener] = attrs.field(factory=list)
    listening: set[str] = attrs.field(factory=set)
    """Names of the listeners that accept clients."""
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

    def listener_up(self, name: str) -> None:
        """A listener accepts clients from now on."""
        self.listening.add(name)
        self.feed.publish(ListenerUp(name))

    def listener_down(self, name: str, reason: str) -> None:
        """A listener accepts none any more, if it ever did."""
        if name in self.listening:
            self.listening.discard(name)
            self.feed.publish(ListenerDown(name, reason))

    def close_session(self, session: Session) -> None:
        """A session is over. The managers hear what they have not heard yet: that its client has gone, and that the
        service stops as regards this session. Nothing happens the second time."""
        if self.sessions.get(session.session_id) is not session:
            return
        self.session_detached(session)
        self.sessions.remove(session)
        if session.user is None:
            self.feed.publish(SessionDropped(session.session_id))
        else:
            reason = session.ending.reason if session.ending is not None else ""
            self.feed.publish(SessionLoggedOff(session.session_id, label(session.user), reason))
        for manager in self.managers.values():
            if manager.wants_to_hear(ProtocolManager.notify_session_of_service_stop):
                manager.notify(manager.manager.notify_session_of_service_stop, session.wts_session_id)

    def give(self, session: Session, callback: ConnectionCallback) -> None:
        """Let a connection have this session from now on; whoever has it is disconnected.

        The first time the managers hear that the service has started as regards this session.
        """
        if session.holder is not callback:
            self.session_detached(session, TAKEN_OVER.reason)  # before the GUID in its id becomes the new connection's
        callback.take(session)
        if not session.is_told_started:
            session.is_told_started = True
            self.feed.publish(SessionCreated(session.session_id, callback.connection_id))
            for manager in self.managers.values():
                if manager.wants_to_hear(ProtocolManager.notify_session_of_service_start):
                    manager.notify(manager.manager.notify_session_of_service_start, session.wts_session_id)

    def session_attached(self, session: Session) -> None:
        """A client shows the session: WTS_REMOTE_CONNECT."""
        session.is_told_connected = True
        if session.user is not None and session.holder is not None:
            connection = session.holder.connection_id
            self.feed.publish(SessionReconnected(session.session_id, label(session.user), connection))
        self.session_changed(session, SessionChange.REMOTE_CONNECT)

    def session_detached(self, session: Session, reason: str = "") -> None:
        """No client shows it any more: WTS_REMOTE_DISCONNECT, if the managers believe that one does."""
        if session.is_told_connected:
            session.is_told_connected = False
            if session.user is not None and session.ending is None:
                self.feed.publish(SessionDisconnected(session.session_id, label(session.user), reason))
            self.session_changed(session, SessionChange.REMOTE_DISCONNECT)

    def session_logged_on(self, session: Session) -> None:
        """A user is logged on in a new session: WTS_SESSION_LOGON."""
        session.is_told_logged_on = True
        if session.user is not None:
            connection = session.holder.connection_id if session.holder is not None else 0
            user = session.user
            self.feed.publish(SessionLoggedOn(session.session_id, label(user), user.how, connection))
        self.session_changed(session, SessionChange.SESSION_LOGON)

    def session_logged_off(self, session: Session) -> None:
        """The user's desktop has ended: WTS_SESSION_LOGOFF, if the managers believe that somebody is logged on."""
        if session.is_told_logged_on:
            session.is_told_logged_on = False
            self.session_changed(session, SessionChange.SESSION_LOGOFF)

    def session_changed(self, session: Session, change: SessionChange) -> None:
        """Tell the managers what happened to a session; those that do not want to know are not asked."""
        for manager in self.managers.values():
            if manager.wants_to_hear(ProtocolManager.notify_session_state_change):
                manager.notify(manager.manager.notify_session_state_change, session.wts_session_id, int(change))
