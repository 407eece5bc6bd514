"""Sockets, and clients that are not yet known: what IWRdsProtocolListener is to every provider."""

import errno
import os
from abc import abstractmethod
from math import inf
from typing import Final, Protocol

import structlog
import trio

from rdpprov.api import ListenerSettings, ProtocolListener, ProtocolListenerCallback
from rdpprov.api.devices import TaskStatus
from rdpprov.api.enums import ListenerSettingLevel
from rdpprov.errors import HResultError, RemoteProtocolError, for_log
from rdpprov.providers.half_open import CrowdedOut, HalfOpenClients

RETRY_INTERVAL = 0.02
"""Seconds between tries to accept when descriptors are short; each time a half-open client goes."""

COMPLAINT_INTERVAL = 10.0
"""Seconds: a flood of clients must not fill the disk with our log as well."""

OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


class ArrivingConnection(Protocol):
    """What a listener does with a connection."""

    @property
    def stage(self) -> str:
        """What the client is expected to do, for the log."""

    async def introduce(self) -> None:
        """From the first byte until all is known that OnConnected needs.

        Raises:
            RemoteProtocolError: the client is not one, is too slow, or is gone.
        """

    async def serve(self, listener_callback: ProtocolListenerCallback) -> None:
        """Hand the client to the service, and serve it until Close."""

    async def end(self) -> None:
        """Let the client go, however far it has come."""


class ListenerOptions(Protocol):
    """What of its options a listener needs here."""

    @property
    def host(self) -> str:
        """Address to listen on."""

    @property
    def port(self) -> int:
        """0: any free port."""

    @property
    def half_open_clients(self) -> int:
        """Clients that may not have said yet who they are."""

    @property
    def backlog(self) -> int:
        """Connections that the kernel holds for us."""


class ClientListener(ProtocolListener):
    """One listener: its addresses and its clients.

    Args:
        name: in the configuration.
        options: where it listens, and how many may be on their way.
        log: of the protocol.
        has_sockets: whether it listens at all; if not, clients come by `take_client` alone.
    """

    def __init__(
        self, name: str, options: ListenerOptions, log: structlog.stdlib.BoundLogger, *, has_sockets: bool = True
    ) -> None:
        self.name = name
        self._where = options
        self._has_sockets = has_sockets
        self._half_open = HalfOpenClients(options.half_open_clients)
        self._accepting: trio.CancelScope | None = None
        self._callback: ProtocolListenerCallback | None = None
        self._clients: trio.Nursery | None = None
        self._log = log.bind(listener=name)

    @property
    def half_open_count(self) -> int:
        """Our extension: clients of now that have not said yet who they are."""
        return len(self._half_open)

    @abstractmethod
    def new_connection(
        self, stream: trio.abc.HalfCloseableStream, peer: tuple[str, int], log: structlog.stdlib.BoundLogger
    ) -> ArrivingConnection:
        """The provider's connection for a client that has just come."""

    def check_address(self, address: str) -> None:
        """Whether this may be listened on; by default it may.

        Raises:
            ConfigurationError: it may not.
        """

    async def get_settings(self, level: ListenerSettingLevel = ListenerSettingLevel.LEVEL_1) -> ListenerSettings:
        """IWRdsProtocolListener.GetSettings: no limit of its own."""
        return ListenerSettings()

    async def start_listen(self, callback: ProtocolListenerCallback, *, task_status: TaskStatus) -> None:
        """IWRdsProtocolListener.StartListen: bind, accept, and be the home of the clients' tasks."""
        listeners = []
        if self._has_sockets:
            listeners = await trio.open_tcp_listeners(
                self._where.port, host=self._where.host, backlog=self._where.backlog
            )
        try:
            for listener in listeners:
                self.check_address(listener.socket.getsockname()[0])
        except Exception:
            for listener in listeners:
                await listener.aclose()
            raise
        self.bound_addresses = [listener.socket.getsockname()[:2] for listener in listeners]
        self._callback = callback
        try:
            async with trio.open_nursery() as self._clients:
                with trio.CancelScope() as self._accepting:
                    async with trio.open_nursery() as nursery:
                        for listener in listeners:
                            nursery.start_soon(self._accept, listener, self._clients)
                        task_status.started()
                        if not listeners:
                            await trio.sleep_forever()
        finally:
            self._callback = None
        self._log.debug("listener is done")

    async def stop_listen(self) -> None:
        """IWRdsProtocolListener.StopListen: the sockets are closed when the accepting tasks have been cancelled."""
        self._callback = None
        if self._accepting is not None:
            self._accepting.cancel()

    async def take_client(self, stream: trio.abc.HalfCloseableStream, peer: tuple[str, int]) -> None:
        """Serve a client from its first byte to its end, or to the listener's.

        While the service does not listen, it is sent away at once.

        Args:
            stream: its bytes. It is closed at the end.
            peer: address and port, for the log and for limits.
        """
        if self._callback is None or self._clients is None:
            await trio.aclose_forcefully(stream)
            return
        over = trio.Event()
        with trio.CancelScope() as scope:
            self._clients.start_soon(_cancel_with_us, scope, over)
            try:
                await self._serve(stream, peer, self._callback)
            finally:
                over.set()

    async def _accept(self, listener: trio.SocketListener, clients: trio.Nursery) -> None:
        complained_at = -inf
        async with listener:
            while True:
                try:
                    stream = await listener.accept()
                except OSError as error:
                    if error.errno not in OUT_OF_RESOURCES:
                        raise
                    if trio.current_time() - complained_at >= COMPLAINT_INTERVAL:
                        complained_at = trio.current_time()
                        self._log.error("cannot accept clients", reason=os.strerror(error.errno))
                    self._half_open.make_room()  # Linux says so even if nobody waits: one descriptor is kept free
                    await trio.sleep(RETRY_INTERVAL)
                else:
                    clients.start_soon(self._serve_socket, stream)

    async def _serve_socket(self, stream: trio.SocketStream) -> None:
        try:
            peer = stream.socket.getpeername()[:2]
        except OSError:
            peer = None
        if peer is None or self._callback is None:
            await trio.aclose_forcefully(stream)
        else:
            await self._serve(stream, peer, self._callback)

    async def _serve(
        self, stream: trio.abc.HalfCloseableStream, peer: tuple[str, int], callback: ProtocolListenerCallback
    ) -> None:
        """One client, from its first byte on. Whatever is wrong with it ends here."""
        log = self._log.bind(client=f"{peer[0]}:{peer[1]}")
        try:
            connection = self.new_connection(stream, peer, log)
        except Exception as error:
            log.error("connection failed", **for_log(error))
            await trio.aclose_forcefully(stream)
            return
        try:
            with self._half_open.admitted(peer[0]):
                await connection.introduce()
            await connection.serve(callback)
        except CrowdedOut as error:
            log.info("client dropped before it was known", reason=str(error), state=connection.stage)
            await trio.aclose_forcefully(stream)  # no goodbye: its place is needed now
        except HResultError as error:
            log.warning("service refused the client", reason=str(error))
        except RemoteProtocolError as error:
            # Low on purpose: clients come to fetch the certificate only (fact 6), scanners come all day.
            log.info("client dropped before it was known", reason=str(error), state=connection.stage)
        except Exception as error:
            log.error("connection failed", **for_log(error))
        finally:
            with trio.CancelScope(shield=True):
                await connection.end()


async def _cancel_with_us(client: trio.CancelScope, over: trio.Event) -> None:
    """Among a listener's clients, the place of one whose own task is somebody else's."""
    try:
        await over.wait()
    finally:
        client.cancel()
