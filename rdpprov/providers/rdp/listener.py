"""IWRdsProtocolListener of the RDP provider: sockets, and clients that are not yet known."""

import errno
import os
from math import inf

import structlog
import trio

from rdpprov.api import ListenerSettings, ProtocolListener, ProtocolListenerCallback
from rdpprov.api.devices import TaskStatus
from rdpprov.api.enums import ListenerSettingLevel
from rdpprov.errors import ConfigurationError, HResultError, RemoteProtocolError, for_log
from rdpprov.providers.half_open import CrowdedOut, HalfOpenClients
from rdpprov.providers.rdp.connection import RdpConnection
from rdpprov.providers.rdp.options import RdpListenerOptions
from rdpprov.security.certificates import self_signed_certificate
from rdpprov.security.tls import server_context

RETRY_INTERVAL = 0.02
"""Seconds between tries to accept when descriptors are short; each time a half-open client goes."""

COMPLAINT_INTERVAL = 10.0
"""Seconds: a flood of clients must not fill the disk with our log as well."""

OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}

_log = structlog.get_logger("rdpprov.rdp")


class RdpListener(ProtocolListener):
    """One RDP listener: its addresses, its certificate, its clients."""

    def __init__(self, name: str, options: RdpListenerOptions) -> None:
        self.name = name
        self.options = options
        certificate = options.certificate
        if certificate is None:
            if options.state_dir is None:
                raise ConfigurationError(
                    f"listener {name}: give a 'certificate' with its 'key', or a 'state_dir' to keep a generated one in"
                )
            certificate = self_signed_certificate(options.state_dir)
        self._tls = server_context(certificate, options.key, keylog=options.tls_keylog)
        self._half_open = HalfOpenClients(options.half_open_clients)
        self._accepting: trio.CancelScope | None = None
        self._log = _log.bind(listener=name)

    async def get_settings(self, level: ListenerSettingLevel = ListenerSettingLevel.LEVEL_1) -> ListenerSettings:
        """IWRdsProtocolListener.GetSettings: no limit of its own."""
        return ListenerSettings()

    async def start_listen(self, callback: ProtocolListenerCallback, *, task_status: TaskStatus) -> None:
        """IWRdsProtocolListener.StartListen: bind, accept, and be the home of the clients' tasks."""
        listeners = await trio.open_tcp_listeners(
            self.options.port, host=self.options.host, backlog=self.options.backlog
        )
        self.bound_addresses = [listener.socket.getsockname()[:2] for listener in listeners]
        async with trio.open_nursery() as clients:
            with trio.CancelScope() as self._accepting:
                async with trio.open_nursery() as nursery:
                    for listener in listeners:
                        nursery.start_soon(self._accept, listener, clients, callback)
                    task_status.started()
        self._log.debug("listener is done")

    async def stop_listen(self) -> None:
        """IWRdsProtocolListener.StopListen: the sockets are closed when the accepting tasks have been cancelled."""
        if self._accepting is not None:
            self._accepting.cancel()

    async def _accept(
        self, listener: trio.SocketListener, clients: trio.Nursery, callback: ProtocolListenerCallback
    ) -> None:
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
                    clients.start_soon(self._serve, stream, callback)

    async def _serve(self, stream: trio.SocketStream, callback: ProtocolListenerCallback) -> None:
        """One client, from its first byte on. Whatever is wrong with it ends here."""
        try:
            peer = stream.socket.getpeername()[:2]
        except OSError:
            await trio.aclose_forcefully(stream)
            return
        log = self._log.bind(client=f"{peer[0]}:{peer[1]}")
        connection = RdpConnection(stream, peer, self.options, self._tls, log)
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
