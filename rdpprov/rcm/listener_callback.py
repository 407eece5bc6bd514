"""IWRdsProtocolListenerCallback: where clients arrive."""

import structlog

from rdpprov.api.connection import ProtocolConnection, ProtocolConnectionCallback
from rdpprov.api.listener import ProtocolListenerCallback
from rdpprov.api.structures import UNLIMITED, ConnectionSettings, ListenerSettings
from rdpprov.errors import E_ABORT, E_INVALIDARG, HResultError
from rdpprov.rcm.configuration import ListenerConfiguration
from rdpprov.rcm.connection_callback import ConnectionCallback
from rdpprov.rcm.connection_sequence import connection_sequence
from rdpprov.rcm.context import ServiceContext
from rdpprov.rcm.counters import Place
from rdpprov.rcm.ending import LISTENER_FAILED, SERVICE_STOPS
from rdpprov.rcm.events import ConnectionClosed, ConnectionOpened
from rdpprov.rcm.loader import faults_of
from rdpprov.sessions.base import SequenceStep
from rdpprov.traces.recorder import NullRecorder, OpenCall

log = structlog.get_logger(__name__)

CONNECTION_COUNT_LIMIT = 0x800704D6
"""HRESULT_FROM_WIN32(ERROR_CONNECTION_COUNT_LIMIT)."""


class ListenerCallback(ProtocolListenerCallback):
    """One listener's way to the service.

    Args:
        service: what all share.
        listener: the configuration.
        settings: what the listener itself answered to GetSettings.
    """

    def __init__(self, service: ServiceContext, listener: ListenerConfiguration, settings: ListenerSettings) -> None:
        self.name = listener.name
        self._service = service
        self._listener = listener
        # 0 is undocumented; a provider for Windows that is known to answer it serves any number of clients there.
        self._most = settings.max_protocol_listener_connection_count or UNLIMITED
        if listener.max_connections is not None:
            self._most = min(self._most, listener.max_connections)
        self._connections: dict[int, ConnectionCallback] = {}

    async def on_connected(
        self, connection: ProtocolConnection, settings: ConnectionSettings
    ) -> ProtocolConnectionCallback:
        """IWRdsProtocolListenerCallback.OnConnected: the connection sequence begins.

        It returns when GetLogonErrorRedirector is over, so that OnReady may follow at once.
        """
        service = self._service
        service.connections_made += 1
        connection_id = service.connections_made
        recorder = (
            service.traces.connection_recorder(self._listener.protocol, self._listener.name, connection_id)
            if service.traces is not None
            else NullRecorder()
        )
        opened = recorder.call("listener", "service", "OnConnected", {"connection": connection, "settings": settings})
        try:
            self._admit(connection)
        except HResultError as error:
            log.warning("client refused", listener=self._listener.name, reason=error.reason)
            service.counters.refused(Place(self.name, self._listener.protocol))
            opened.failed(error)
            recorder.close()
            raise
        callback = ConnectionCallback(connection, connection_id, self._listener, recorder, service.limits)
        service.connections[connection_id] = self._connections[connection_id] = callback
        self._service.feed.publish(ConnectionOpened(connection_id, self.name, self._listener.protocol))
        service.nursery.start_soon(self._run, connection, callback, settings)
        return await self._accepted(callback, opened)

    async def _accepted(self, callback: ConnectionCallback, opened: OpenCall) -> ConnectionCallback:
        try:
            await callback.redirector_asked.wait()
        except BaseException:  # the provider's task was cancelled: the connection is ours, but its client is gone
            opened.returned(callback)
            callback.broken_connection()
            raise
        opened.returned(callback)
        callback.step(SequenceStep("OnConnected", "listener", "service", 0.0))
        return callback

    def _admit(self, connection: ProtocolConnection) -> None:
        """Raise, if this client cannot be taken."""
        if self._service.is_stopping:
            raise HResultError("the service stops", E_ABORT)
        if not isinstance(connection, ProtocolConnection):
            raise HResultError(f"{type(connection).__qualname__} is no ProtocolConnection", E_INVALIDARG)
        if faults := faults_of(type(connection)):
            raise HResultError(f"{type(connection).__qualname__} {'; '.join(faults)}", E_INVALIDARG)
        if len(self._connections) >= self._most:
            raise HResultError(
                f"the listener has {len(self._connections)} connections, as many as it allows", CONNECTION_COUNT_LIMIT
            )

    async def _run(
        self, connection: ProtocolConnection, callback: ConnectionCallback, settings: ConnectionSettings
    ) -> None:
        """The connection's task."""
        service, connection_id = self._service, callback.connection_id
        try:
            await connection_sequence(service, connection, callback, settings)
        finally:
            del service.connections[connection_id], self._connections[connection_id]
            callback.recorder.close()
            ending = callback.ending or SERVICE_STOPS
            service.counters.closed(callback.place, connection_id, ending.errinfo.name)
            service.feed.publish(ConnectionClosed(connection_id, self.name, ending.reason, ending.errinfo.name))
            if service.is_stopping and not service.connections:
                service.all_closed.set()

    def listener_failed(self) -> None:
        """The listener is gone, and with it whatever would carry its connections' bytes."""
        for callback in list(self._connections.values()):
            callback.end(LISTENER_FAILED)
