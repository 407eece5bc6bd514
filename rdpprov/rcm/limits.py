"""The time limits of sessions: without input, with a client, and without one.

They are minutes in `ConnectionSettings`, and 0 is none. Who is logged on is warned before the first two, on the
session's desktop; before the first, not if the provider answers CONNECTION_PROPERTY_IDLE_TIME_WARNING with no. Input
is what comes as an event for the desktop, and what the provider tells by GetLastInputTime. When a limit passes,
`ConnectionSettings.reset_broken` says whether the session ends with it or is only disconnected. A limit begins anew
with every connection; when policies change, what has passed already counts, but nobody goes without having been warned.

Of the limit without a client the session's own cancel scope takes care (`Session.release`), of the other two the
connection's own task, which has nothing else to do once the user is logged on: so they cost nothing where there is no
limit, and nothing has to be stopped when the client goes.
"""

import math
from typing import NoReturn

import attrs
import structlog
import trio

from rdpprov.api.connection import ProtocolConnection
from rdpprov.api.properties import CONNECTION_PROPERTY_IDLE_TIME_WARNING
from rdpprov.api.structures import ConnectionSettings
from rdpprov.rcm.connection_callback import ConnectionCallback
from rdpprov.rcm.context import ServiceContext
from rdpprov.rcm.ending import ACTIVE_TOO_LONG, IDLE_TOO_LONG, ConnectionDroppedError, Ending
from rdpprov.rcm.queries import implements, last_input, query
from rdpprov.rcm.session_table import Session
from rdpprov.sessions.base import Notice

log = structlog.get_logger(__name__)

MINUTE = 60.0
"""Seconds."""
NEWER = 1.0
"""Seconds by which what the provider says of input has to be news: milliseconds are its rounding and ours."""


@attrs.frozen
class Limit:
    """One that holds for a connection now."""

    ending: Ending
    """What its passing means."""
    end: float
    """When it passes, on trio's clock."""
    lead: float
    """Seconds before that in which the user is warned."""

    @property
    def is_idle(self) -> bool:
        """Whether input puts it off."""
        return self.ending is IDLE_TOO_LONG


def nearest_limit(callback: ConnectionCallback, settings: ConnectionSettings, warning: float) -> Limit | None:
    """Of the limits of a connection that is logged on the one that passes first; None: there is none.

    Args:
        callback: the connection.
        settings: in force for it.
        warning: seconds, `Limits.warning`.
    """
    idle, active = settings.max_idle_time * MINUTE, settings.max_connection_time * MINUTE
    limits = []
    if idle:
        limits.append(Limit(IDLE_TOO_LONG, callback.last_input + idle, min(warning, idle / 2)))
    if active:
        limits.append(Limit(ACTIVE_TOO_LONG, callback.active_since + active, min(warning, active / 2)))
    return min(limits, key=lambda limit: limit.end, default=None)


def disconnected_limit(service: ServiceContext, settings: ConnectionSettings | None) -> float | None:
    """Seconds that a session is kept without a client: the shorter of settings and configuration; None: for good."""
    limit = service.configuration.sessions.disconnected_limit
    if settings is not None and settings.max_disconnection_time:
        seconds = settings.max_disconnection_time * MINUTE
        limit = min(limit, seconds) if limit is not None else seconds
    return limit


def rearm(service: ServiceContext, session: Session) -> None:
    """Settings have changed: let the session's limits follow. Plain; what has passed already has its effect soon."""
    if session.holder is not None:
        session.holder.rearmed.set()
    elif session.disconnected_since is not None:
        limit = disconnected_limit(service, session.settings.values if session.settings is not None else None)
        session.scope.deadline = math.inf if limit is None else session.disconnected_since + limit


async def stay_within_limits(service: ServiceContext, callback: ConnectionCallback) -> NoReturn:
    """The rest of a connection, once its user is logged on: until it is cancelled, or a limit passes.

    Raises:
        ConnectionDroppedError: a limit has passed, and the session is to be disconnected.
    """
    callback.active_since = callback.last_input = trio.current_time()
    warning = _Warning(service, callback)
    while True:
        callback.rearmed = trio.Event()
        assert callback.settings is not None
        limit = nearest_limit(callback, callback.settings.values, service.limits.warning)
        warning.is_about(limit)
        if limit is None:
            await callback.rearmed.wait()
            continue
        moment = warning.given_end if warning.given else limit.end - limit.lead
        if trio.current_time() < moment:
            with trio.move_on_at(moment):
                await callback.rearmed.wait()
            # There may have been input meanwhile, which wakes nobody.
        elif limit.is_idle and await _provider_saw_input(callback):
            pass
        elif not warning.given:
            wanted = not limit.is_idle or await query(callback, CONNECTION_PROPERTY_IDLE_TIME_WARNING) is not False
            warning.give(limit, shown=wanted)
        else:
            await _passed(callback, limit)


async def _provider_saw_input(callback: ConnectionCallback) -> bool:
    """GetLastInputTime, if the provider can tell: it may know of input that is no event for the desktop.

    What is one, and comes while it thinks about it, counts too.
    """
    if not implements(callback.connection, ProtocolConnection.get_last_input_time):
        return False
    before = callback.last_input
    elapsed = await last_input(callback)
    if callback.last_input != before:  # a key came while the provider was being asked
        return True
    seen = trio.current_time() - (elapsed or 0) / 1000
    if elapsed is None or seen < callback.last_input + NEWER:
        return False
    callback.last_input = seen
    return True


async def _passed(callback: ConnectionCallback, limit: Limit) -> None:
    session, settings = callback.session, callback.settings
    assert session is not None
    assert settings is not None
    log.info("limit passed", reason=limit.ending.reason, session=session.session_id, **callback.whose)
    if settings.values.reset_broken:
        session.end(limit.ending)
        await trio.sleep_forever()  # the session's end is this connection's
    raise ConnectionDroppedError.by(limit.ending)


class _Warning:
    """What the user of one connection has been told about the limit that comes next."""

    def __init__(self, service: ServiceContext, callback: ConnectionCallback) -> None:
        self._service = service
        self._callback = callback
        self._about: Ending | None = None
        self._shown = False
        self.given_end = 0.0
        """When the limit that was warned of takes effect: never sooner than the warning said."""

    @property
    def given(self) -> bool:
        """Whether there is a warning now."""
        return self._about is not None

    def is_about(self, limit: Limit | None) -> None:
        """This limit comes next; a warning that is about another, or came too early, is taken back."""
        if self._about is None:
            return
        if limit is None or limit.ending is not self._about or trio.current_time() < limit.end - limit.lead:
            self._about = None
            self._callback.wakes_on_input = False
            if self._shown:
                self._callback.tell_desktop(Notice(""))

    def give(self, limit: Limit, *, shown: bool) -> None:
        """Warn the user, and note when it takes effect.

        Args:
            limit: which.
            shown: False: the provider wants its users not to be disturbed; the time is theirs nevertheless.
        """
        self._about, self._shown = limit.ending, shown
        self.given_end = max(limit.end, trio.current_time() + limit.lead)
        self._callback.wakes_on_input = limit.is_idle
        assert self._callback.settings is not None
        if shown:
            self._callback.tell_desktop(Notice(_text(limit, ends=self._callback.settings.values.reset_broken)))
        self._callback.recorder.event("limit", kind="idle" if limit.is_idle else "active", seconds=limit.lead)


def _text(limit: Limit, *, ends: bool) -> str:
    seconds = f"{limit.lead:.0f} seconds"
    what = "your session will end" if ends else "you will be disconnected"
    if limit.is_idle:
        return f"Nobody has worked here for a while: in {seconds} {what}. Press a key or move the mouse to stay."
    return f"The time for this connection is nearly over: in {seconds} {what}."
