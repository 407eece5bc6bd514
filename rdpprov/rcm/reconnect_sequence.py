"""From one session to another, on the same connection object; and into a session in the first place."""

import structlog
import trio

from rdpprov.api.connection import ProtocolConnection
from rdpprov.api.identity import UserToken
from rdpprov.api.properties import CONNECTION_PROPERTY_CURSOR_BLINK_DISABLED, PROPERTY_DYNAMIC_TIME_ZONE_INFORMATION
from rdpprov.errors import RdpProvError, for_log
from rdpprov.rcm.asking import time_limit
from rdpprov.rcm.attachment import Attachment
from rdpprov.rcm.connection_callback import ConnectionCallback
from rdpprov.rcm.context import ServiceContext
from rdpprov.rcm.desktops import desktop_size, session_is_up
from rdpprov.rcm.disconnect_sequence import leave_session
from rdpprov.rcm.ending import DESKTOP_DIED, ConnectionDroppedError
from rdpprov.rcm.policies import obey, under_policies
from rdpprov.rcm.queries import query
from rdpprov.rcm.session_table import Session
from rdpprov.sessions.base import CursorBlink

log = structlog.get_logger(__name__)


async def reconnect_sequence(
    service: ServiceContext,
    connection: ProtocolConnection,
    callback: ConnectionCallback,
    existing: Session,
    user: UserToken,
) -> None:
    """DisconnectNotify for the temporary session, then the existing one from NotifySessionId to LogonNotify.

    NotifyCommandProcessCreated, IsUserAllowedToLogon, SessionArbitrationEnumeration and licensing are not repeated.
    """
    # At once: nobody else may find the existing session free while we are on our way there.
    leave_session(service, callback)
    service.give(existing, callback)
    existing.user = user  # the same account, proved anew: its groups may have changed since
    with time_limit(service.limits.connect, "DisconnectNotify to ConnectNotify"):
        callback.session_told = False
        await callback.ask(connection.disconnect_notify)
        await attach(service, connection, callback, existing)
    await notify_logon(service, connection, callback, existing)


async def attach(
    service: ServiceContext,
    connection: ProtocolConnection,
    callback: ConnectionCallback,
    session: Session,
    *,
    is_allowed: bool = True,
) -> None:
    """NotifySessionId, GetInputHandles, GetVideoHandle, ConnectNotify, for a session that the connection has taken.

    Before the last, the desktop gets the client's size and is plugged in; but if IsUserAllowedToLogon is still to come,
    whoever asks that plugs it in afterwards.

    A temporary session has no desktop yet: its screen stays as it is until the logon desktop, or the user's own, comes.
    """
    ask = callback.ask
    callback.session_told = True
    await ask(connection.notify_session_id, session.wts_session_id, session.handle)
    inputs = await ask(connection.get_input_handles, default=None)
    video = await ask(connection.get_video_handle, default=None)
    callback.attachment = Attachment(video, inputs, callback.provider_failed, callback.touched)
    if not session.is_temporary:
        await fit_desktop(service, callback, session)
        if is_allowed:
            callback.plug_session()
    await ask(connection.connect_notify, session.session_id)
    callback.recorder.event("state", name="connected", session=session.session_id)
    service.session_attached(session)


async def notify_logon(
    service: ServiceContext, connection: ProtocolConnection, callback: ConnectionCallback, session: Session
) -> None:
    """LogonNotify: who is logged on, and the settings in force; the provider may tighten them."""
    user, requested, policies = session.user, callback.settings, service.policies
    assert user is not None
    assert requested is not None
    callback.settings = effective = under_policies(service, session, requested)
    written = await callback.ask(
        connection.logon_notify,
        user,
        user.name,
        user.domain,
        session.wts_session_id,
        effective.values,
        default=effective.values,
    )
    callback.settings, refused = effective.changed_by_provider(written)
    if service.policies is not policies:  # they have changed meanwhile
        obey(service, session)
    if callback.settings.values.disable_auto_reconnect:
        session.secret = None  # of a connection before this one
    if refused:
        log.warning("provider tried to loosen policies, ignored", settings=refused, **callback.whose)
    callback.recorder.event("state", name="active", session=session.session_id)
    service.counters.active(callback.place, user.how, trio.current_time() - callback.began)
    log.info(
        "logged on", user=user.name, domain=user.domain, how=user.how, session=session.session_id, **callback.whose
    )
    zone = await query(callback, PROPERTY_DYNAMIC_TIME_ZONE_INFORMATION)
    session.time_zone = zone or callback.client.client_time_zone
    if await query(callback, CONNECTION_PROPERTY_CURSOR_BLINK_DISABLED):
        callback.tell_desktop(CursorBlink(allowed=False))


async def fit_desktop(service: ServiceContext, callback: ConnectionCallback, session: Session) -> None:
    """Give a session's desktop this client's size.

    Raises:
        ConnectionDroppedError: the desktop died over it.
    """
    await session_is_up(service, session)
    assert session.desktop is not None
    try:
        await session.desktop.resize(*desktop_size(service, callback.client, session.desktop))
    except RdpProvError as error:  # it cannot have that size, keeps its own, and is shown as it is
        log.warning(
            "desktop cannot take the client's size and keeps its own", session=session.session_id, reason=str(error)
        )
    except Exception as error:
        log.error("desktop failed", session=session.session_id, **for_log(error))
        session.end(DESKTOP_DIED)
        raise ConnectionDroppedError.by(DESKTOP_DIED) from error
