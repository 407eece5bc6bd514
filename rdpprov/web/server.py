"""The web listener: sockets, limits, the start and the stop of it."""

import errno
import os
from collections import Counter
from math import inf
from typing import cast

import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework

from rdpprov.errors import ConfigurationError, for_log
from rdpprov.security.certificates import self_signed_certificate
from rdpprov.security.tls import server_context
from rdpprov.web.application import StreamListener, WebApplication
from rdpprov.web.configuration import WebConfiguration
from rdpprov.web.connection import WebConnection, protocol_configuration
from rdpprov.web.metrics import MetricsPage, MetricsSource
from rdpprov.web.origins import host_names, is_trusted

BACKLOG = 512
RETRY_INTERVAL = 0.02
"""Seconds between tries to accept when descriptors are short."""
COMPLAINT_INTERVAL = 10.0
"""Seconds: a flood of clients must not fill the disk with our log as well."""
OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}

log = structlog.get_logger("rdpprov.web")


class WebServer:
    """Serves the page and its WebSockets.

    Args:
        configuration: all about it.
        listener: who serves the browsers.
        metrics: who counts, for ``/metrics``.

    Raises:
        ConfigurationError: certificate, key or token file cannot be used, or metrics are wanted and nobody counts.
    """

    def __init__(
        self, configuration: WebConfiguration, listener: StreamListener, metrics: MetricsSource | None = None
    ) -> None:
        self._configuration = configuration
        page = certificate = None
        if configuration.metrics:
            if metrics is None:
                raise ConfigurationError("[web]: metrics are wanted, and nobody counts")
            page = MetricsPage(configuration, metrics)
        self._tls = None
        if configuration.uses_tls:
            certificate = configuration.certificate or self_signed_certificate(configuration.state_dir)
            self._tls = server_context(certificate, configuration.key, keylog=configuration.tls_keylog)
            self._tls.set_alpn_protocols(["http/1.1"])
        self._application = WebApplication(configuration, listener, page, host_names(configuration, certificate))
        self._connections: dict[WebConnection, None] = {}
        self._by_address: Counter[str] = Counter()
        self._stop_requested = trio.Event()
        self._complained_at = -inf
        self.bound_addresses: list[tuple[str, int]] = []
        """Address and port of each socket, once it listens."""

    @property
    def scheme(self) -> str:
        """``https`` or ``http``."""
        return "http" if self._tls is None else "https"

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen, serve until `request_stop`, stop: browsers are told. Cancelling drops them.

        Raises:
            ConfigurationError: before ``started()``: the address cannot be used.
        """
        configuration, limits = self._configuration, self._configuration.limits
        try:
            listeners = await trio.open_tcp_listeners(configuration.port, host=configuration.host, backlog=BACKLOG)
        except OSError as error:
            where = f"{configuration.host}:{configuration.port}"
            raise ConfigurationError(f"[web]: cannot listen on {where}: {error.strerror or error}") from error
        self.bound_addresses = [listener.socket.getsockname()[:2] for listener in listeners]
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as accepting:
                for listener in listeners:
                    accepting.start_soon(self._accept, listener, connections)
                task_status.started()
                await self._stop_requested.wait()
                accepting.cancel_scope.cancel()
            for connection in list(self._connections):
                if not connection.is_websocket:
                    connection.abort()
            with trio.move_on_after(limits.stop):
                await self._application.all_ended()
            self._application.end_all()
            connections.cancel_scope.deadline = trio.current_time() + limits.goodbye

    def request_stop(self) -> None:
        """Take no more browsers, and let `serve` return when those that are here have gone, with their provider or at
        the time limit. Plain; a second time does nothing."""
        self._application.stop()
        self._stop_requested.set()

    async def _accept(self, listener: trio.SocketListener, nursery: trio.Nursery) -> None:
        app = ASGIWrapper(cast(ASGIFramework, self._application.asgi))  # two spellings of one interface
        config = protocol_configuration(self._configuration.limits)
        context = WorkerContext(None)
        async with listener:
            while True:
                try:
                    stream = await listener.accept()
                except OSError as error:
                    if error.errno not in OUT_OF_RESOURCES:
                        raise
                    self._complain(os.strerror(error.errno))
                    await trio.sleep(RETRY_INTERVAL)
                else:
                    nursery.start_soon(self._serve, stream, app, config, context)

    async def _serve(self, stream: trio.SocketStream, app: ASGIWrapper, config: Config, context: WorkerContext) -> None:
        try:
            peer = stream.socket.getpeername()[:2]
        except OSError:
            await trio.aclose_forcefully(stream)
            return
        if reason := self._is_full(peer[0]):
            self._complain(reason)
            await trio.aclose_forcefully(stream)
            return
        connection = WebConnection(stream, peer, self._tls, self._configuration.limits)
        self._connections[connection] = None
        self._by_address[peer[0]] += 1
        try:
            await connection.serve(app, config, context)
        except Exception as error:
            log.error("browser's connection failed", client=peer[0], **for_log(error))
        finally:
            del self._connections[connection]
            self._by_address[peer[0]] -= 1
            if not self._by_address[peer[0]]:
                del self._by_address[peer[0]]

    def _is_full(self, address: str) -> str:
        """Why no connection from this address is taken; empty if it is."""
        limits = self._configuration.limits
        if len(self._connections) >= limits.connections:
            return "as many connections as are allowed"
        if self._by_address[address] >= limits.connections_per_address and not is_trusted(
            address, self._configuration.trusted_proxies
        ):
            return f"as many connections as are allowed from {address}"
        return ""

    def _complain(self, reason: str) -> None:
        if trio.current_time() - self._complained_at >= COMPLAINT_INTERVAL:
            self._complained_at = trio.current_time()
            log.error("cannot take browsers", reason=reason)
