"""What the web listener answers: the page's files, and the WebSocket that leads to the provider."""

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Protocol, cast

import structlog
import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from rdpprov.errors import AdministrationError, for_log
from rdpprov.web.assets import Asset, load_assets
from rdpprov.web.configuration import WebConfiguration
from rdpprov.web.connection import WebConnection
from rdpprov.web.metrics import CONTENT_TYPE, MetricsPage, MetricsRefusedError
from rdpprov.web.origins import HostRefusedError, OriginRefusedError, check_host, check_origin, client_address
from rdpprov.web.websocket_stream import GOING_AWAY, INTERNAL_ERROR, WebSocketStream

WEBSOCKET_PATH = "/websocket"
METRICS_PATH = "/metrics"
SUBPROTOCOL = "binary"
"""What older viewers offer; those of now offer nothing."""

SECURITY_HEADERS = {
    # data: is where noVNC puts the pictures of JPEG and of the pointer.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}

log = structlog.get_logger("rdpprov.web")


class StreamListener(Protocol):
    """A provider's listener that also takes clients which come to it otherwise than by its own sockets. They speak RFB,
    for that is what the page's viewer speaks."""

    async def serve_stream(self, stream: trio.abc.HalfCloseableStream, peer: tuple[str, int]) -> None:
        """Serve one client from its first byte to its end.

        Args:
            stream: its bytes. Who closes it does not matter.
            peer: address and port, for the log and for limits.
        """


class WebApplication:
    """Pages and WebSockets.

    Args:
        configuration: of the web listener.
        listener: who serves the browsers.
        metrics: what ``/metrics`` answers; None: there is no such page.
        names: by which browsers may reach it, besides addresses.
    """

    def __init__(
        self,
        configuration: WebConfiguration,
        listener: StreamListener,
        metrics: MetricsPage | None = None,
        names: Collection[str] = (),
    ) -> None:
        self._names = names
        self._configuration = configuration
        self._listener = listener
        self._metrics = metrics
        self._assets = load_assets()
        self._websockets: dict[trio.CancelScope, WebSocketStream | None] = {}
        """What serves each, and its stream once it is accepted."""
        self._by_address: Counter[str] = Counter()
        self._is_stopping = False
        self._none_left = trio.Event()
        self.asgi = Starlette(
            routes=[
                *([Route(METRICS_PATH, self._measured, methods=["GET", "HEAD"])] if metrics is not None else []),
                Route("/{path:path}", self._page, methods=["GET", "HEAD"]),
                WebSocketRoute(WEBSOCKET_PATH, self._websocket),
                WebSocketRoute("/{path:path}", self._no_websocket),
            ],
            exception_handlers={HTTPException: self._failure},
        )

    # Stopping

    def stop(self) -> None:
        """Take no more WebSockets; those that end are told why."""
        self._is_stopping = True
        for stream in self._websockets.values():
            if stream is not None:
                self._say_why(stream)
        if not self._websockets:
            self._none_left.set()

    @staticmethod
    def _say_why(stream: WebSocketStream) -> None:
        stream.close_with(GOING_AWAY, "the server stops")

    async def all_ended(self) -> None:
        """Wait until no WebSocket is left, after `stop`."""
        await self._none_left.wait()

    def end_all(self) -> None:
        """End those that their provider has not ended."""
        for serving in self._websockets:
            serving.cancel()

    # Pages

    async def _page(self, request: Request) -> Response:
        try:
            check_host(self._names, request.headers.get("host"))
        except HostRefusedError as error:
            client = request.scope["state"]["connection"].peer[0]
            log.warning("browser refused", client=client, reason=str(error))
            # Misdirected Request, [RFC 9110] 15.5.20.
            return _response(421, f"{error}\n".encode(), headers={"cache-control": "no-store"})
        forms = self._assets.get(request.scope["path"])
        if forms is None:
            raise HTTPException(404)
        asset = forms.compressed if _accepts_gzip(request) else forms.plain
        headers = {"etag": asset.etag, "cache-control": "no-cache", "vary": "accept-encoding"}
        if _has(request, asset):
            return _response(304, headers=headers)
        if asset.encoding:
            headers["content-encoding"] = asset.encoding
        return _response(200, asset.body, asset.content_type, headers)

    async def _failure(self, _request: Request, error: Exception) -> Response:
        failure = cast(HTTPException, error)
        return _response(failure.status_code, f"{failure.detail}\n".encode(), headers=dict(failure.headers or {}))

    # Metrics

    async def _measured(self, request: Request) -> Response:
        connection: WebConnection = request.scope["state"]["connection"]
        assert self._metrics is not None
        try:
            self._metrics.check(request, connection.peer[0])
            text = await self._metrics.text()
        except MetricsRefusedError as error:
            log.warning("metrics refused", client=connection.peer[0], reason=str(error))
            headers = {"www-authenticate": 'Bearer realm="metrics"'} if error.status == 401 else {}
            return _response(error.status, b"Metrics are not for you.\n", headers=headers)
        except AdministrationError:
            return _response(503, b"The service does not run.\n", headers={"retry-after": "10"})
        return _response(200, text, CONTENT_TYPE, {"cache-control": "no-store"})

    # WebSockets

    async def _no_websocket(self, websocket: WebSocket) -> None:
        await websocket.send_denial_response(_response(404, b"Not Found\n"))

    async def _websocket(self, websocket: WebSocket) -> None:
        connection: WebConnection = websocket.scope["state"]["connection"]
        configuration = self._configuration
        address = client_address(
            connection.peer[0], websocket.headers.getlist("x-forwarded-for"), configuration.trusted_proxies
        )
        client = log.bind(client=address)
        refusal = self._refusal(websocket, address, client)
        if refusal is not None:
            await websocket.send_denial_response(refusal)
            return
        with self._admitted(address) as serving:
            offered = websocket.scope["subprotocols"]
            connection.upgraded()
            await websocket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
            stream = self._websockets[serving] = WebSocketStream(websocket, connection)
            if self._is_stopping:
                self._say_why(stream)
            peer = connection.peer if address == connection.peer[0] else (address, 0)
            try:
                with serving:
                    await self._listener.serve_stream(stream, peer)
            except Exception as error:
                stream.close_with(INTERNAL_ERROR, "the server failed")
                client.error("serving a browser failed", **for_log(error))
            finally:
                goodbye = trio.current_time() + configuration.limits.goodbye
                with trio.CancelScope(shield=True, deadline=goodbye):
                    await stream.aclose()
                connection.finish()  # whatever it goes on sending

    def _refusal(
        self, websocket: HTTPConnection, address: str, client: structlog.stdlib.BoundLogger
    ) -> Response | None:
        """The answer to a WebSocket that is not accepted; None: it is."""
        limits = self._configuration.limits
        try:
            headers = websocket.headers
            check_origin(self._configuration, self._names, headers.get("origin"), headers.get("host"))
        except OriginRefusedError as error:
            client.warning("browser refused", reason=str(error))
            return _response(403, b"This page may not connect here.\n")
        offered = websocket.scope["subprotocols"]
        if offered and SUBPROTOCOL not in offered:
            return _response(400, b"The only subprotocol is binary.\n")
        if self._is_stopping:
            return _response(503, b"The server stops.\n", headers={"retry-after": "10"})
        if len(self._websockets) >= limits.websockets:
            client.warning("browser refused", reason="as many WebSockets as are allowed")
            return _response(503, b"The server is full.\n", headers={"retry-after": "60"})
        if self._by_address[address] >= limits.websockets_per_address:
            client.warning("browser refused", reason="as many WebSockets as are allowed from one address")
            return _response(429, b"Too many connections from your address.\n", headers={"retry-after": "60"})
        return None

    @contextmanager
    def _admitted(self, address: str) -> Iterator[trio.CancelScope]:
        """Count a WebSocket in for the length of the block; the scope ends what serves it."""
        serving = trio.CancelScope()
        self._websockets[serving] = None
        self._by_address[address] += 1
        try:
            yield serving
        finally:
            del self._websockets[serving]
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]
            if self._is_stopping and not self._websockets:
                self._none_left.set()


def _response(
    status: int,
    body: bytes = b"",
    content_type: str = "text/plain; charset=utf-8",
    headers: dict[str, str] | None = None,
) -> Response:
    """With what every response has to say. Its length is its own: HEAD, and 304, have none of it."""
    typed = {"content-type": content_type} if body else {}
    return Response(body, status, {**SECURITY_HEADERS, **typed, **(headers or {})})


def _accepts_gzip(request: Request) -> bool:
    for part in ",".join(request.headers.getlist("accept-encoding")).split(","):
        coding, _, weight = part.strip().lower().partition(";")
        if coding.strip() in ("gzip", "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _has(request: Request, asset: Asset) -> bool:
    """Whether the browser has it already: If-None-Match, [RFC 9110] 13.1.2."""
    known = [tag.strip().removeprefix("W/") for tag in ",".join(request.headers.getlist("if-none-match")).split(",")]
    return asset.etag in known or "*" in known
