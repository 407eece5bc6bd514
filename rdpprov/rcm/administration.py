"""Administration: what an administrator sees of the running service, and does with it, whatever the tool.

`RemoteConnectionManager.administration` is where to get it. The admin socket (`rdpprov.admin`), the metrics and the web
page put nothing beside it.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import attrs
import trio

from rdpprov.api.structures import ConnectionSettings
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import AdministrationError, for_log
from rdpprov.rcm.connection_callback import ConnectionCallback
from rdpprov.rcm.context import ServiceContext
from rdpprov.rcm.ending import DESKTOP_DIED, Ending
from rdpprov.rcm.events import Feed, SessionDisconnected, SessionDropped, SessionLoggedOff, Watcher
from rdpprov.rcm.session_table import Session
from rdpprov.rcm.settings import EffectiveSettings, Origin
from rdpprov.rcm.shadowing import shadow
from rdpprov.rcm.snapshots import (
    ConnectionInfo,
    ListenerInfo,
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
        await trio.lowlevel.checkpoint()
        return [_session_info(session) for session in self._service().sessions]

    async def session(self, session_id: int) -> SessionDetails:
        """One session, and the settings in force there.

        Raises:
            AdministrationError: there is no such session.
        """
        await trio.lowlevel.checkpoint()
        session = self._session(session_id)
        settings = session.holder.settings if session.holder is not None else session.settings
        return SessionDetails(_session_info(session), tuple(_settings(settings)) if settings is not None else ())

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
        session = self._session(session_id)
        holder = session.holder
        if holder is None:
            raise AdministrationError(f"session {session_id} is disconnected", "not-connected")
        with self._feed.watching() as watcher:
            holder.end(DISCONNECTED_BY_ADMINISTRATOR)
            with trio.move_on_after(self._service().limits.close + GRACE):
                # Events may be lost, the session's state is not.
                while session.holder is holder:
                    await _heard_of(watcher, session_id)
                return
        raise AdministrationError(f"session {session_id} did not disconnect in time", "too-slow")

    async def logoff(self, session_id: int) -> None:
        """End a session, whatever its user is doing. Returns when it has ended.

        Raises:
            AdministrationError: there is no such session, or it did not end in time.
        """
        service, session = self._service(), self._session(session_id)
        if session.is_temporary:
            await self.disconnect(session_id)
            return
        with self._feed.watching() as watcher:
            session.end(LOGGED_OFF_BY_ADMINISTRATOR)
            with trio.move_on_after(service.limits.close + GRACE):
                while service.sessions.get(session_id) is session:
                    await _heard_of(watcher, session_id)
                return
        raise AdministrationError(f"session {session_id} did not end in time", "too-slow")

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

    def _service(self) -> ServiceContext:
        if (service := self._running()) is None:
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


async def _heard_of(watcher: Watcher, session_id: int) -> None:
    """Wait for something to happen that may have to do with a session's end, or with its client's."""
    async for event in watcher:
        match event:
            case SessionDisconnected() | SessionDropped() | SessionLoggedOff():
                if event.session == session_id:
                    return
            case _:
                pass
    # The service has ended, and the session with it.


def _session_info(session: Session) -> SessionInfo:
    now, holder, user, desktop = trio.current_time(), session.holder, session.user, session.desktop
    return SessionInfo(
        session=session.session_id,
        state=session.state,
        user=user.name if user is not None else "",
        domain=user.domain if user is not None else "",
        how=user.how if user is not None else "",
        created_at=session.created_at,
        logged_on_at=session.logged_on_at,
        disconnected=now - session.disconnected_since if session.disconnected_since is not None else None,
        idle=now - holder.last_input if holder is not None and holder.last_input else None,
        width=desktop.width if desktop is not None else 0,
        height=desktop.height if desktop is not None else 0,
        shadows=session.shadows,
        shadowed_by=session.shadowed_by,
        connection=_connection_info(holder) if holder is not None else None,
    )


def _connection_info(callback: ConnectionCallback) -> ConnectionInfo:
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
    )


def _settings(settings: EffectiveSettings) -> Iterator[SettingInfo]:
    for name, origin in settings.origins().items():
        value = getattr(settings.values, name)
        if origin is Origin.DEFAULT or name in _SECRET or not isinstance(value, bool | int | str):
            continue
        yield SettingInfo(name, value if isinstance(value, bool | str) else int(value), origin.value)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
