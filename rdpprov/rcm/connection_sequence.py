"""One client, from OnConnected to Close."""

from rdpprov.api.connection import ProtocolConnection
from rdpprov.api.enums import SessionChange
from rdpprov.api.structures import ConnectionSettings
from rdpprov.errinfo import ErrInfo
from rdpprov.rcm.arbitration import arbitrate
from rdpprov.rcm.asking import time_limit
from rdpprov.rcm.connection_callback import ConnectionCallback
from rdpprov.rcm.context import ServiceContext
from rdpprov.rcm.desktops import start_desktop
from rdpprov.rcm.disconnect_sequence import closing
from rdpprov.rcm.ending import ConnectionDroppedError
from rdpprov.rcm.licensing_sequence import licensing_sequence
from rdpprov.rcm.limits import stay_within_limits
from rdpprov.rcm.logon import authenticate, redeem
from rdpprov.rcm.reconnect_sequence import attach, notify_logon, reconnect_sequence
from rdpprov.rcm.settings import requested_settings

ONE_MONITOR = (1, 0)
"""Count, and the primary's number."""


async def connection_sequence(
    service: ServiceContext, connection: ProtocolConnection, callback: ConnectionCallback, settings: ConnectionSettings
) -> None:
    """One client from OnConnected to Close, in the order of Microsoft's "Connection Sequence" figure.

    Args:
        service: what all connections share.
        connection: the provider's half of this one.
        callback: the service's half.
        settings: of OnConnected.
    """
    ask, limits = callback.ask, service.limits
    async with closing(service, connection, callback):
        with time_limit(limits.connect, "OnConnected to ConnectNotify"):
            try:
                callback.redirector = await ask(connection.get_logon_error_redirector, default=None)
            finally:
                callback.redirector_asked.set()
            with time_limit(limits.on_ready, "OnReady"):
                await callback.ready.wait()
            await ask(connection.accept_connection)
            callback.accepted = True
            callback.client = await ask(connection.get_client_data)
            callback.settings = requested_settings(settings, callback.client, callback.listener.settings)
            callback.monitors = await ask(connection.get_client_monitor_data, default=ONE_MONITOR)
            offered = await ask(connection.get_user_credentials, default=None)  # none: the logon desktop asks
            license_connection = await ask(connection.get_license_connection)
            await licensing_sequence(ask, license_connection, service.license_issuer, limits)
            callback.recorder.event("state", name="licensed")
            claim = await ask(connection.authenticate_client_to_session, default=None)
            # Automatic reconnection: straight to the session that the client proves to be its own.
            proven = await redeem(service, callback, claim, offered)
            session = proven or service.sessions.create_temporary()
            service.give(session, callback)
            await attach(service, connection, callback, session)  # NotifySessionId ... ConnectNotify
        if proven:
            assert proven.user is not None
            user = proven.user
            await ask(connection.is_user_allowed_to_logon, session.session_id, user, user.domain, user.name)
            await notify_logon(service, connection, callback, session)
        else:
            await ask(connection.notify_command_process_created, session.session_id)
            user = await authenticate(service, callback, offered)
            await ask(connection.is_user_allowed_to_logon, session.session_id, user, user.domain, user.name)
            single = service.configuration.sessions.single_session_per_user
            named = await ask(connection.session_arbitration_enumeration, user, single, default=())
            if existing := arbitrate(service.sessions, user, named, single_session_per_user=single):
                await reconnect_sequence(service, connection, callback, existing, user)
            else:
                if service.draining:
                    raise ConnectionDroppedError(
                        ErrInfo.ERRINFO_SERVER_DENIED_CONNECTION, "the service is draining and takes no new sessions"
                    )
                service.sessions.keep(session, user)
                await start_desktop(service, session, callback.client)
                callback.plug_session()
                service.session_changed(session, SessionChange.SESSION_DESKTOP_READY)
                await notify_logon(service, connection, callback, session)
        # Until the client goes, somebody ends the connection or its session, or a limit passes.
        await stay_within_limits(service, callback)
