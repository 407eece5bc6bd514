"""Desktops at work: a session's own, as a task that outlives connections, and the logon desktop of a temporary one."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import structlog
import trio

from rdpprov.api.devices import TaskStatus
from rdpprov.api.properties import WTS_QUERY_ALLOWED_INITIAL_APP, WTS_QUERY_LOGON_SCREEN_SIZE, InitialApp
from rdpprov.api.structures import ClientData
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import RdpProvError, for_log
from rdpprov.rcm.connection_callback import ConnectionCallback
from rdpprov.rcm.context import ServiceContext
from rdpprov.rcm.ending import (
    DESKTOP_DIED,
    DESKTOP_NOT_READY,
    DISCONNECTED_TOO_LONG,
    LOGGED_OFF,
    LOGON_DESKTOP_DIED,
    SERVICE_STOPS,
    ConnectionDroppedError,
)
from rdpprov.rcm.logon_errors import PROGRAM_REFUSED, redirect_message
from rdpprov.rcm.queries import query
from rdpprov.rcm.session_table import Session
from rdpprov.sessions.base import (
    MAX_DESKTOP,
    MIN_DESKTOP,
    Desktop,
    DesktopRequest,
    InitialProgram,
    LogonDesktop,
    LogonRequest,
)

log = structlog.get_logger(__name__)


def desktop_size(service: ServiceContext, client: ClientData, desktop: Desktop | None = None) -> tuple[int, int]:
    """The size that a desktop is asked to have: the client's, within bounds, before anything is made that big.

    A client that asks for none takes the size of the desktop that there is, if there is one.
    """
    sessions = service.configuration.sessions
    default = (sessions.default_width, sessions.default_height)
    if desktop is not None:
        default = (desktop.width, desktop.height)
    width, height = client.h_res or default[0], client.v_res or default[1]
    return min(max(width, MIN_DESKTOP), MAX_DESKTOP), min(max(height, MIN_DESKTOP), MAX_DESKTOP)


async def initial_program(callback: ConnectionCallback) -> InitialProgram | None:
    """WTS_QUERY_ALLOWED_INITIAL_APP: the program that the client names, as the provider changes it; None: none.

    Raises:
        ConnectionDroppedError: the provider does not let it be started.
    """
    settings = callback.settings.values if callback.settings is not None else callback.client
    if not settings.inherit_initial_program or not settings.initial_program:
        return None
    application, parameters = split_command(settings.initial_program)
    verdict = await query(callback, WTS_QUERY_ALLOWED_INITIAL_APP, InitialApp(application, parameters))
    if verdict is not None:
        if not verdict.allowed:
            await redirect_message(callback, PROGRAM_REFUSED)
            raise ConnectionDroppedError(
                ErrInfo.ERRINFO_SERVER_INSUFFICIENT_PRIVILEGES, "the provider refuses the client's initial program"
            )
        application, parameters = verdict.command_line, verdict.parameters
    return InitialProgram(application, parameters, settings.work_directory, settings.maximize_shell)


def split_command(command_line: str) -> tuple[str, str]:
    """A program and its parameters, as Windows takes a command line apart: quotes keep a path with spaces together."""
    command_line = command_line.strip()
    if command_line.startswith('"'):
        application, _, parameters = command_line[1:].partition('"')
    else:
        application, _, parameters = command_line.partition(" ")
    return application, parameters.strip()


async def start_desktop(
    service: ServiceContext, session: Session, client: ClientData, program: InitialProgram | None = None
) -> None:
    """Make the desktop of a session whose user has just been found out, and wait until it can be shown.

    The desktop is made before the first wait: whoever comes to the session by another connection finds it there.

    Raises:
        ConnectionDroppedError: there is none. The session has ended.
    """
    assert session.user is not None
    width, height = desktop_size(service, client)
    try:
        request = DesktopRequest(session.session_id, session.user, width, height, program)
        session.desktop = service.desktop_factory(request)
    except Exception as error:
        log.error("desktop cannot be made", session=session.session_id, **for_log(error))
        session.ending = DESKTOP_DIED
        service.close_session(session)
        # Our own desktops say what is wrong (mostly: too large a screen); a foreign message stays in the traceback.
        reason, errinfo = type(error).__name__, DESKTOP_DIED.errinfo
        if isinstance(error, RdpProvError):
            reason, errinfo = str(error), error.errinfo or errinfo
        raise ConnectionDroppedError(errinfo, f"no desktop: {reason}") from error
    service.nursery.start_soon(run_session, service, session, session.desktop)
    await session_is_up(service, session)
    service.session_logged_on(session)


async def session_is_up(service: ServiceContext, session: Session) -> None:
    """Wait until a session's desktop can be shown.

    Raises:
        ConnectionDroppedError: it died, or takes too long. The session has ended.
    """
    with trio.move_on_after(service.limits.desktop_start) as scope:
        await session.up.wait()
    if scope.cancelled_caught:
        session.end(DESKTOP_NOT_READY)
    if session.ending is not None:
        raise ConnectionDroppedError.by(session.ending)


class _Up(TaskStatus):
    """What a desktop says "can be shown" with."""

    def __init__(self, *up: Callable[[], None]) -> None:
        self._up = up
        self.is_up = False

    def started(self, value: object = None) -> None:
        self.is_up = True
        for tell in self._up:
            tell()


async def run_session(service: ServiceContext, session: Session, desktop: Desktop) -> None:
    """A session's life, as a task of the service: its desktop, until the user logs off, it dies, or is ended."""
    ending = SERVICE_STOPS
    status = _Up(session.up.set)
    try:
        with session.scope:
            await desktop.run(task_status=status)
        ending = DISCONNECTED_TOO_LONG if session.scope.cancel_called else LOGGED_OFF
    except Exception as error:
        log.error("desktop failed", session=session.session_id, **for_log(error))
        ending = DESKTOP_DIED
    finally:
        session.ending = session.ending or ending
        log.info("session ends", session=session.session_id, reason=session.ending.reason)
        service.session_logged_off(session)
        service.close_session(session)
        if session.holder is not None:
            session.holder.detach()
            session.holder.end(session.ending)
        session.up.set()
        await _close(desktop, service.patience(service.limits.close))
        session.ended.set()


async def logon_screen_size(service: ServiceContext, callback: ConnectionCallback) -> tuple[int, int]:
    """WTS_QUERY_LOGON_SCREEN_SIZE: the provider's answer, within bounds; else as large as the client's screen."""
    size = await query(callback, WTS_QUERY_LOGON_SCREEN_SIZE)
    if size is None:
        return desktop_size(service, callback.client)
    return min(max(size.width, MIN_DESKTOP), MAX_DESKTOP), min(max(size.height, MIN_DESKTOP), MAX_DESKTOP)


@asynccontextmanager
async def logon_desktop(
    service: ServiceContext, callback: ConnectionCallback, user_name: str, domain: str
) -> AsyncIterator[LogonDesktop]:
    """A logon desktop plugged into a connection, and gone afterwards.

    It is made only when somebody has to be asked: with good credentials nobody sees one, and none is made.

    Raises:
        ConnectionDroppedError: it cannot be shown, or there are too many.
    """
    attachment = callback.attachment
    if attachment is None or not attachment.can_be_asked:
        raise ConnectionDroppedError(
            ErrInfo.ERRINFO_SERVER_FRESH_CREDENTIALS_REQUIRED, "no credentials, and no screen or no keyboard to ask on"
        )
    if service.logon_desktops >= service.limits.logon_desktops:
        raise ConnectionDroppedError(
            ErrInfo.ERRINFO_OUT_OF_MEMORY,
            f"{service.logon_desktops} logon desktops are shown, as many as limits.logon_desktops allows",
        )
    service.logon_desktops += 1
    scope = trio.CancelScope()
    try:
        try:
            width, height = await logon_screen_size(service, callback)
            desktop = service.logon_desktop_factory(LogonRequest(width, height, user_name, domain))
            await service.nursery.start(_run_logon_desktop, service, callback, desktop, scope)
            # Before the first key arrives: passwords are typed as scan codes, which mean nothing without the layout.
            desktop.tell(callback.client_attached(desktop))
        except Exception as error:
            log.error("logon desktop cannot be made", **for_log(error), **callback.whose)
            raise ConnectionDroppedError.by(LOGON_DESKTOP_DIED) from error
        attachment.plug(desktop, partial(_logon_desktop_failed, callback))
        callback.recorder.event("desktop", kind="logon")
        callback.recorder.flush()  # it may take a person two minutes, and whoever looks at the trace should see why
        yield desktop
    finally:
        attachment.unplug()
        scope.cancel()
        service.logon_desktops -= 1


async def _run_logon_desktop(
    service: ServiceContext,
    callback: ConnectionCallback,
    desktop: LogonDesktop,
    scope: trio.CancelScope,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    status = _Up(task_status.started)
    try:
        with scope:
            await desktop.run(task_status=status)
            await trio.sleep_forever()
    except Exception as error:
        if not status.is_up:
            raise  # out of `nursery.start`, to who wanted the desktop
        _logon_desktop_failed(callback, error)
    finally:
        await _close(desktop, service.patience(service.limits.close))


def _logon_desktop_failed(callback: ConnectionCallback, error: Exception) -> None:
    log.error("logon desktop failed", **for_log(error), **callback.whose)
    callback.end(LOGON_DESKTOP_DIED)


async def _close(desktop: Desktop, seconds: float) -> None:
    with trio.CancelScope(shield=True, deadline=trio.current_time() + seconds) as scope:
        try:
            await desktop.aclose()
        except Exception as error:
            log.error("desktop did not close", **for_log(error))
    if scope.cancelled_caught:
        log.error("desktop did not close in time")
