"""The end of a connection, however it came about."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog
import trio

from rdpprov.api.connection import ProtocolConnection
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import for_log
from rdpprov.rcm.connection_callback import ConnectionCallback
from rdpprov.rcm.context import ServiceContext
from rdpprov.rcm.ending import SERVICE_STOPS, ConnectionDroppedError, Ending
from rdpprov.rcm.limits import disconnected_limit

log = structlog.get_logger(__name__)

NOTICES = 3
"""SetErrorInfo, PreDisconnect, DisconnectNotify: what may hang before Close."""


@asynccontextmanager
async def closing(
    service: ServiceContext, connection: ProtocolConnection, callback: ConnectionCallback
) -> AsyncIterator[None]:
    """Whatever happens inside, the connection ends with its disconnect sequence, and nothing goes beyond.

    Inside, `ConnectionCallback.end` cancels. Only a cancellation from outside, of all connections, goes on upwards.
    """
    ending = SERVICE_STOPS
    try:
        with callback.scope:
            yield
        ending = callback.ending or Ending(ErrInfo.ERRINFO_RPC_INITIATED_DISCONNECT, "the sequence is over")
    except ConnectionDroppedError as error:
        ending = error.ending
    except Exception as error:
        # A mistake of our own, or of a desktop or an authenticator: it costs this connection, never the service.
        log.error("connection failed", **for_log(error), **callback.whose)
        ending = Ending(ErrInfo.ERRINFO_RPC_INITIATED_DISCONNECT, f"the service failed: {type(error).__name__}")
    finally:
        await disconnect_sequence(service, connection, callback, callback.ending or ending)


async def disconnect_sequence(
    service: ServiceContext, connection: ProtocolConnection, callback: ConnectionCallback, ending: Ending
) -> None:
    """PreDisconnect and DisconnectNotify, if the connection has been told a session, and Close.

    Shielded, so that a client we drop is still told; bounded, so that a dead one cannot hold us.
    """
    ask, callback.ending = callback.ask, ending
    started = trio.current_time()
    patience = service.patience(service.limits.close)
    with trio.CancelScope(shield=True, deadline=started + patience) as callback.closing_scope:
        log.info("connection ends", reason=ending.reason, errinfo=ending.errinfo.name, **callback.whose)
        callback.recorder.event("state", name="disconnecting", errinfo=ending.errinfo)
        shadowing = callback.shadowing
        leave_session(service, callback, ending)
        for query in callback.querying:
            query.cancel()
        for channel in list(callback.channels):
            channel.connection_ended()
        # Each notice has a share of the time, so that there is some left for Close whichever of them hang.
        share = patience / (NOTICES + 2)
        if shadowing is not None:
            with trio.move_on_after(share):
                await shadowing.over.wait()  # Stop comes before what follows
        if not ending.client_gone:
            await ask(connection.set_error_info, int(ending.errinfo), limit=share)
        if callback.session_told:
            await ask(connection.pre_disconnect, int(ending.errinfo), limit=share)
            # In a reconnect a DisconnectNotify that raises drops the connection; here it is being dropped already.
            with suppress(ConnectionDroppedError):
                await ask(connection.disconnect_notify, limit=share)
        await ask(connection.close, limit=started + patience - trio.current_time())
    if callback.closing_scope.cancelled_caught:
        log.warning("connection did not close in time", **callback.whose)


def leave_session(service: ServiceContext, callback: ConnectionCallback, ending: Ending | None = None) -> None:
    """Unplug the session's desktop, release what is pressed, and give the session free.

    A temporary session ends with that. A kept one stays, disconnected, until its limit.
    """
    callback.detach()
    session, callback.session = callback.session, None
    if session is None:
        return
    if session.is_temporary:
        service.close_session(session)
        return
    if session.holder is not callback:
        return  # somebody has taken it over
    session.settings = callback.settings
    settings = callback.settings.values if callback.settings is not None else None
    session.release(callback, disconnected_limit(service, settings))
    service.session_detached(session, ending.reason if ending is not None else "")
    if session.ending is not None:
        return
    if ending is not None and ending.client_gone and settings is not None and settings.reset_broken:
        session.end(ending)
