"""One client, from OnConnected to Close."""

from rdpprov.api.connection import ProtocolConnection
from rdpprov.api.enums import SessionChange
from rdpprov.api.structures import ConnectionSettings
from rdpprov.rcm.arbitration import arbitrate
from rdpprov.rcm.asking import time_limit
from rdpprov.rcm.connection_callback import ConnectionCallback
from rdpprov.rcm.context import ServiceContext
from rdpprov.rcm.desktops import initial_program, start_desktop
from rdpprov.rcm.disconnect_sequence import closing
from rdpprov.rcm.fast_reconnect import fast_reconnect
from rdpprov.rcm.licensing_sequence import licensing_sequence
from rdpprov.rcm.limits import stay_within_limits
from rdpprov.rcm.logon import admit, allow, authenticate, choose, offered_credentials, redeem
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
            offered = await offered_credentials(callback)  # none: the logon desktop asks
            license_connection = await ask(connection.get_license_connection)
            await licensing_sequence(ask, license_connection, service.license_issuer, limits)
            callback.recorder.event("state", name="licensed")
            claim = await ask(connection.authenticate_client_to_session, default=None)
            # Straight to a session: one that the client proves to be its own, or one that the provider chooses.
            proven = await redeem(service, callback, claim, offered) or await choose(service, callback, offered)
            session = proven or service.sessions.create_temporary()
            service.give(session, callback)
            await attach(service, connection, callback, session, is_allowed=False)  # NotifySessionId ... ConnectNotify
        if proven:
            assert proven.user is not None
            await allow(callback, session, proven.user)
            callback.plug_session()
            await notify_logon(service, connection, callback, session)
        else:
            await ask(connection.notify_command_process_created, session.session_id)
            user = await authenticate(service, callback, offered)
            await allow(callback, session, user)
            program = None
            if (existing := await fast_reconnect(service.sessions, callback, user)) is None:
                single = service.configuration.sessions.single_session_per_user
                named = await ask(connection.session_arbitration_enumeration, user, single, default=())
                existing = arbitrate(service.sessions, user, named, single_session_per_user=single)
                if existing is None:
                    await admit(service, callback)
                    program = await initial_program(callback)
                    # Another connection of the user may have got a session meanwhile, or the service begun to drain.
                    existing = arbitrate(service.sessions, user, named, single_session_per_user=single)
                    if existing is None:
                        await admit(service, callback)
            if existing is not None:
                await reconnect_sequence(service, connection, callback, existing, user)
            else:
                service.sessions.keep(session, user)
                await start_desktop(service, session, callback.client, program)
                callback.plug_session()
                service.session_changed(session, SessionChange.SESSION_DESKTOP_READY)
                await notify_logon(service, connection, callback, session)
        # Until the client goes, somebody ends the connection or its session, or a limit passes.
        await stay_within_limits(service, callback)
