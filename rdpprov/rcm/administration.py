"""Administration: what an administrator sees of the running service, and does with it, whatever the tool.

`RemoteConnectionManager.administration` is where to get it. The admin socket (`rdpprov.admin`), the metrics and the web
page put nothing beside it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager

import attrs
import trio

from rdpprov.api.structures import ConnectionSettings, ProtocolStatus
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import AdministrationError, for_log
from rdpprov.rcm.connection_callback import ConnectionCallback
from rdpprov.rcm.context import Listener, ServiceContext
from rdpprov.rcm.counters import Carried, Histogram, Place
from rdpprov.rcm.ending import DESKTOP_DIED, Ending
from rdpprov.rcm.events import Feed, Watcher
from rdpprov.rcm.queries import last_input, status
from rdpprov.rcm.session_table import Session
from rdpprov.rcm.settings import EffectiveSettings, Origin
from rdpprov.rcm.shadowing import shadow
from rdpprov.rcm.snapshots import (
    ConnectionInfo,
    HistogramInfo,
    ListenerInfo,
    ListenerMetrics,
    Metrics,
    ServiceInfo,
    SessionDetails,
    SessionInfo,
    SettingInfo,
)
from rdpprov.sessions.base import Notice

DISCONNECTED_BY_ADMINISTRATOR = Ending(
    ErrInfo.ERRINFO_RPC_INITIATED_DISCONNECT, "an administrator disconnected the session"
)
LOGGED_OFF_BY_ADMINISTRATOR = Ending(ErrInfo.ERRINFO_RPC_INITIATED_LOGOFF, "an administrator logged the user off")

MAX_MESSAGE = 1000
"""Characters of a message for a user."""
PATIENCE = 1.0
"""Seconds for all providers together to say what their connections have carried."""
GRACE = 1.0
"""Seconds beyond `Limits.close` for a session to do what it was told."""

_SECRET = frozenset(field.name for field in attrs.fields(ConnectionSettings) if field.metadata.get("secret"))


class Administration:
    """What an administrator sees and does. Before and after the service runs there is nothing to be seen.

    Args:
        feed: what happens.
        running: gives the running service, if it runs.
        set_draining: begins and ends to drain.
    """

    def __init__(
        self, feed: Feed, running: Callable[[], ServiceContext | None], set_draining: Callable[[bool], None]
    ) -> None:
        self._feed = feed
        self._running = running
        self._set_draining = set_draining

    # What there is

    async def service(self) -> ServiceInfo:
        """The service itself."""
        await trio.lowlevel.checkpoint()
        service = self._service()
        return ServiceInfo(
            draining=service.draining,
            stopping=service.is_stopping,
            sessions=len(service.sessions),
            connections=len(service.connections),
        )

    async def sessions(self) -> list[SessionInfo]:
        """All sessions by number, those too in which nobody is logged on yet."""
        service = self._service()
        sessions = list(service.sessions)
        figures = await _ask_for_figures(session.holder for session in sessions)
        return [
            _session_info(session, figures)
            for session in sessions
            if service.sessions.get(session.session_id) is session
        ]

    async def session(self, session_id: int) -> SessionDetails:
        """One session, and the settings in force there.

        Raises:
            AdministrationError: there is no such session.
        """
        figures = await _ask_for_figures([self._session(session_id).holder])
        session = self._session(session_id)  # if it is still there
        settings = session.holder.settings if session.holder is not None else session.settings
        info = _session_info(session, figures)
        return SessionDetails(info, tuple(_settings(settings)) if settings is not None else ())

    async def listeners(self) -> list[ListenerInfo]:
        """All listeners that have been started, also those that accept nobody any more."""
        await trio.lowlevel.checkpoint()
        service = self._service()
        clients: dict[str, int] = {}
        for callback in service.connections.values():
            clients[callback.listener.name] = clients.get(callback.listener.name, 0) + 1
        return [
            ListenerInfo(
                listener=listener.configuration.name,
                protocol=listener.configuration.protocol,
                up=listener.configuration.name in service.listening,
                addresses=tuple(_address(*place) for place in listener.listener.bound_addresses or ()),
                connections=clients.get(listener.configuration.name, 0),
            )
            for listener in service.listeners
        ]

    async def metrics(self) -> Metrics:
        """What there is to count, now. All connections are asked what they have carried, so this is not for every
        second: whoever publishes it keeps it for a while.
        """
        service = self._service()
        figures = await _ask_for_figures(list(service.connections.values()))
        for callback in service.connections.values():
            known = figures.get(callback.connection_id)
            if known is not None and known.status is not None:
                service.counters.reported(callback.place, callback.connection_id, known.status)
        counters = service.counters
        idle = [
            figures[session.holder.connection_id].idle
            for session in service.sessions
            if session.holder is not None and session.holder.connection_id in figures and not session.is_temporary
        ]
        return Metrics(
            listeners=tuple(_listener_metrics(service, listener) for listener in service.listeners),
            sessions=Counter(session.state for session in service.sessions),
            idle=max((seconds for seconds in idle if seconds is not None), default=None),
            logons=dict(counters.logons),
            sequences=tuple(
                _histogram(histogram, place, how) for (place, how), histogram in counters.sequences.items()
            ),
            loop_lag=_histogram(counters.loop_lag),
            draining=service.draining,
        )

    def watch(self) -> AbstractContextManager[Watcher]:
        """What happens from now on, for the length of the block: an async iterator of `rdpprov.rcm.events.Event`.

        It ends when the service has ended. Whoever takes events too slowly loses some and is told how many
        (`rdpprov.rcm.events.EventsLost`).
        """
        return self._feed.watching()

    # What is done

    async def disconnect(self, session_id: int) -> None:
        """Disconnect the client of a session, which is told; the session stays. Returns when that has happened.

        Raises:
            AdministrationError: there is no such session, no client shows it, or it did not happen in time.
        """
        service, session = self._service(), self._session(session_id)
        holder = session.holder
        if holder is None:
            raise AdministrationError(f"session {session_id} is disconnected", "not-connected")

        def is_over() -> bool:
            return session.holder is not holder or service.sessions.get(session_id) is not session

        await self._do(lambda: holder.end(DISCONNECTED_BY_ADMINISTRATOR), session_id, is_over)

    async def logoff(self, session_id: int) -> None:
        """End a session, whatever its user is doing. Returns when it has ended.

        Raises:
            AdministrationError: there is no such session, or it did not end in time.
        """
        service, session = self._service(), self._session(session_id)
        if session.is_temporary:
            await self.disconnect(session_id)
            return

        def is_over() -> bool:
            return service.sessions.get(session_id) is not session

        await self._do(lambda: session.end(LOGGED_OFF_BY_ADMINISTRATOR), session_id, is_over)

    async def message(self, session_id: int, text: str) -> None:
        """Show a message on a session's desktop. If it is disconnected, its user finds it there.

        Raises:
            AdministrationError: there is no such session, it has no desktop, or the text is empty or too long.
        """
        await trio.lowlevel.checkpoint()
        session = self._session(session_id)
        text = "".join(letter for letter in text if letter.isprintable() or letter == "\n").strip()
        if not 0 < len(text) <= MAX_MESSAGE:
            raise AdministrationError(f"a message has 1 to {MAX_MESSAGE} characters, not {len(text)}", "bad-request")
        if session.desktop is None:
            raise AdministrationError(f"nobody is logged on in session {session_id}", "not-logged-on")
        try:
            session.desktop.tell(Notice(text))
        except Exception as error:
            session.end(DESKTOP_DIED)
            raise AdministrationError(
                f"the desktop of session {session_id} failed: {for_log(error)['error']}", "failed"
            ) from error

    async def drain(self, on: bool) -> None:
        """Begin or end to drain: new sessions are refused, users still get back into theirs."""
        await trio.lowlevel.checkpoint()
        self._service()
        self._set_draining(on)

    async def shadow(self, target: int, *, viewer: int | None = None, control: bool = False) -> None:
        """Let the client of another session see, and perhaps control, a session, once its user has agreed.

        Args:
            target: the session to be seen.
            viewer: the session whose client looks on; None: the only other one with a client.
            control: with keyboard and mouse.

        Raises:
            AdministrationError: there is no such session, it cannot be shadowed, or its user does not agree.
        """
        service, session = self._service(), self._session(target)
        viewing = self._session(viewer) if viewer is not None else self._only_other(session)
        await shadow(service, session, viewing, control=control)

    async def end_shadow(self, target: int) -> None:
        """Let a session be shadowed no longer, or not be asked any more. Returns when that has happened.

        Raises:
            AdministrationError: there is no such session, or nobody shadows it.
        """
        session = self._session(target)
        shadowing = session.shadowing
        if shadowing is None or shadowing.target_session is not session:
            raise AdministrationError(f"session {target} is not shadowed", "not-shadowed")
        shadowing.end("an administrator ended it")
        await shadowing.over.wait()

    async def _do(self, act: Callable[[], None], session_id: int, is_over: Callable[[], bool]) -> None:
        """Do something to a session, and wait until it has its effect.

        Raises:
            AdministrationError: that has not come in time.
        """
        with self._feed.watching() as watcher:
            act()
            with trio.move_on_after(self._service().limits.close + GRACE):
                while not is_over():
                    # Whatever it is: events may be lost, and a client on its way into a session leaves it without one.
                    if await anext(watcher, None) is None:
                        break  # the service has ended, and the session with it
                return
        raise AdministrationError(f"session {session_id} does not react", "too-slow")

    def _service(self) -> ServiceContext:
        if (service := self._running()) is None or self._feed.is_over:
            raise AdministrationError("the service does not run", "not-running")
        return service

    def _only_other(self, target: Session) -> Session:
        """The one session beside the target that a client shows.

        Raises:
            AdministrationError: there is none, or more than one.
        """
        others = [
            session
            for session in self._service().sessions
            if session is not target and session.holder is not None and not session.is_temporary
        ]
        if len(others) != 1:
            raise AdministrationError(
                f"{len(others)} other sessions have a client: say which is to see it", "bad-request"
            )
        return others[0]

    def _session(self, session_id: int) -> Session:
        if (session := self._service().sessions.get(session_id)) is None:
            raise AdministrationError(f"there is no session {session_id}", "no-such-session")
        return session


@attrs.define
class _Figures:
    """What a provider was asked about a connection."""

    status: ProtocolStatus | None = None
    idle: float | None = None
    """Seconds since the last input."""


async def _ask_for_figures(holders: Iterable[ConnectionCallback | None]) -> Mapping[int, _Figures]:
    """GetProtocolStatus and GetLastInputTime of many connections at once, by connection.

    A connection that is busy, or whose provider does not answer in time, has no counters.
    """
    callbacks = [callback for callback in holders if callback is not None]
    # What the service itself has seen is known in any case.
    now = trio.current_time()
    figures = {
        callback.connection_id: _Figures(idle=now - callback.last_input if callback.last_input else None)
        for callback in callbacks
    }
    await trio.lowlevel.checkpoint()

    async def ask(callback: ConnectionCallback) -> None:
        answer = figures[callback.connection_id]
        answer.status = await status(callback)
        if (milliseconds := await last_input(callback)) is not None:
            answer.idle = milliseconds / 1000

    with trio.move_on_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            for callback in callbacks:
                nursery.start_soon(ask, callback)
    return figures


def _session_info(session: Session, figures: Mapping[int, _Figures]) -> SessionInfo:
    now, holder, user, desktop = trio.current_time(), session.holder, session.user, session.desktop
    known = figures.get(holder.connection_id, _Figures()) if holder is not None else _Figures()
    return SessionInfo(
        session=session.session_id,
        state=session.state,
        user=user.name if user is not None else "",
        domain=user.domain if user is not None else "",
        how=user.how if user is not None else "",
        created_at=session.created_at,
        logged_on_at=session.logged_on_at,
        disconnected=now - session.disconnected_since if session.disconnected_since is not None else None,
        idle=known.idle,
        width=desktop.width if desktop is not None else 0,
        height=desktop.height if desktop is not None else 0,
        shadows=session.shadows,
        shadowed_by=session.shadowed_by,
        connection=_connection_info(holder, known.status) if holder is not None else None,
    )


def _connection_info(callback: ConnectionCallback, counted: ProtocolStatus | None) -> ConnectionInfo:
    client = callback.client
    return ConnectionInfo(
        connection=callback.connection_id,
        listener=callback.listener.name,
        protocol=client.protocol_name or callback.listener.protocol,
        opened_at=callback.opened_at,
        client_name=client.client_name,
        client_address=callback.client_address,
        client_build=client.client_build_number,
        screen_width=client.h_res,
        screen_height=client.v_res,
        color_depth=client.color_depth,
        bytes_in=counted.input.bytes if counted is not None else None,
        bytes_out=counted.output.bytes if counted is not None else None,
        frames_out=counted.output.frames if counted is not None else None,
    )


def _listener_metrics(service: ServiceContext, listener: Listener) -> ListenerMetrics:
    place = Place(listener.configuration.name, listener.configuration.protocol)
    carried = service.counters.carried.get(place, Carried())
    return ListenerMetrics(
        listener=place.listener,
        protocol=place.protocol,
        up=place.listener in service.listening,
        connections=sum(callback.place == place for callback in service.connections.values()),
        half_open=listener.listener.half_open_count,
        ended={reason: count for (where, reason), count in service.counters.connections.items() if where == place},
        bytes_in=carried.bytes_in,
        bytes_out=carried.bytes_out,
        frames_out=carried.frames_out,
    )


def _histogram(histogram: Histogram, place: Place | None = None, how: str = "") -> HistogramInfo:
    return HistogramInfo(
        listener=place.listener if place is not None else "",
        protocol=place.protocol if place is not None else "",
        how=how,
        bounds=histogram.bounds,
        counts=histogram.cumulative(),
        total=histogram.total,
    )


def _settings(settings: EffectiveSettings) -> Iterator[SettingInfo]:
    for name, origin in settings.origins().items():
        value = getattr(settings.values, name)
        if origin is Origin.DEFAULT or name in _SECRET or not isinstance(value, bool | int | str):
            continue
        yield SettingInfo(name, value if isinstance(value, bool | str) else int(value), origin.value)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
