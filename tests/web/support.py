"""A web listener in this process, and clients of it: plain HTTP, a WebSocket, and Chromium by the DevTools protocol."""

import base64
import gzip
import itertools
import json
import os
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import h11
import pytest
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)

from rdpprov.web.configuration import WebConfiguration
from rdpprov.web.server import WebServer


class EchoListener:
    """What a provider's listener looks like from here; it gives every byte back."""

    def __init__(self) -> None:
        self.peers: list[tuple[str, int]] = []
        self.ended: list[str] = []

    async def serve_stream(self, stream: trio.abc.HalfCloseableStream, peer: tuple[str, int]) -> None:
        self.peers.append(peer)
        try:
            while data := await stream.receive_some(16384):
                await stream.send_all(data)
            self.ended.append("end of file")
        except BaseException as error:
            self.ended.append(type(error).__name__)
            if not isinstance(error, trio.BrokenResourceError):
                raise


class Listener:
    """A provider's listener that is a function."""

    def __init__(self, serve: Callable[..., Any]) -> None:
        self._serve = serve

    async def serve_stream(self, stream: trio.abc.HalfCloseableStream, peer: tuple[str, int]) -> None:
        await self._serve(stream)


@attrs.frozen
class Web:
    """A running web listener."""

    server: WebServer
    port: int

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.server.scheme}://{self.host}/"

    async def connect(self, source: str = "127.0.0.1") -> trio.abc.HalfCloseableStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port, local_address=source)

    async def get(self, path: str = "/", method: str = "GET", **headers: str) -> "Answer":
        async with await self.connect() as stream:
            return await exchange(stream, path, method, {"host": self.host, **spelled(headers)})

    @asynccontextmanager
    async def websocket(
        self,
        *,
        path: str = "/websocket",
        subprotocols: list[str] | None = None,
        source: str = "127.0.0.1",
        **headers: str,
    ) -> AsyncIterator["WebSocketClient"]:
        async with await self.connect(source) as stream:
            yield await open_websocket(stream, self.host, path, subprotocols or [], spelled(headers))


@asynccontextmanager
async def serving(listener: Any, state_dir: Path, **options: Any) -> AsyncIterator[Web]:
    """A web listener on loopback, stopped in an orderly way at the end."""
    server = WebServer(WebConfiguration(host="127.0.0.1", port=0, state_dir=state_dir, **options), listener)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        yield Web(server, server.bound_addresses[0][1])
        server.request_stop()


def spelled(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@attrs.frozen
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return (gzip.decompress(self.body) if "content-encoding" in self.headers else self.body).decode()


async def exchange(
    stream: trio.abc.Stream, path: str, method: str, headers: dict[str, str], body: bytes = b""
) -> Answer:
    """One request and its answer, on a connection that stays open."""
    client = h11.Connection(h11.CLIENT)
    await stream.send_all(
        client.send(h11.Request(method=method, target=path, headers=list(headers.items())))
        + client.send(h11.Data(data=body))
        + client.send(h11.EndOfMessage())
    )
    parts: list[bytes] = []
    response: h11.Response | None = None
    while True:
        event = client.next_event()
        if event is h11.NEED_DATA:
            client.receive_data(await stream.receive_some())
        elif isinstance(event, h11.Response):
            response = event
        elif isinstance(event, h11.Data):
            parts.append(bytes(event.data))
        else:
            assert isinstance(event, h11.EndOfMessage), event
            assert response is not None
            names = {name.decode(): value.decode() for name, value in response.headers}
            return Answer(response.status_code, names, b"".join(parts))


class Refused(Exception):  # noqa: N818
    """No WebSocket."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self.status, self.headers, self.body = answer.status, answer.headers, answer.body


async def open_websocket(
    stream: trio.abc.Stream, host: str, path: str, subprotocols: list[str], headers: dict[str, str]
) -> "WebSocketClient":
    machine = WSConnection(ConnectionType.CLIENT)
    extra = [(name.encode(), value.encode()) for name, value in headers.items()]
    client = WebSocketClient(stream, machine)
    await client.send(Request(host=host, target=path, subprotocols=subprotocols, extra_headers=extra))
    event = await client.next_event()
    if isinstance(event, RejectConnection):
        names = {name.decode().lower(): value.decode() for name, value in event.headers}
        body = b""
        while not isinstance(part := await client.next_event(), RejectData) or not part.body_finished:
            body += bytes(part.data)
        raise Refused(Answer(event.status_code, names, body + bytes(part.data)))
    assert isinstance(event, AcceptConnection), event
    client.accepted = event
    return client


class WebSocketClient:
    """A WebSocket's other end."""

    accepted: AcceptConnection

    def __init__(self, stream: trio.abc.Stream, machine: WSConnection) -> None:
        self.stream = stream
        self._machine = machine
        self._events: list[Event] = []
        self._sending = trio.Lock()

    async def send(self, *events: Event) -> None:
        async with self._sending:
            await self.stream.send_all(b"".join(map(self._machine.send, events)))

    async def send_bytes(self, data: bytes) -> None:
        await self.send(BytesMessage(data=data))

    async def next_event(self) -> Event:
        """The next that is not a ping; pings are answered. EOFError: the connection is closed without a goodbye."""
        while isinstance(event := await self._next(), Ping):
            if self._machine.state is ConnectionState.OPEN:
                await self.send(event.response())
        return event

    async def next_ping(self) -> Ping:
        """The next ping, which is not answered."""
        while not isinstance(event := await self._next(), Ping):
            pass
        return event

    async def _next(self) -> Event:
        while not self._events:
            data = await self.stream.receive_some()
            if not data:
                raise EOFError
            self._machine.receive_data(bytes(data))
            self._events = list(self._machine.events())
        return self._events.pop(0)

    async def gone(self, *, answering: bool = True) -> None:
        """Wait until the connection is closed, however."""
        try:
            while True:
                await (self.next_event() if answering else self.next_ping())
        except (EOFError, trio.BrokenResourceError):
            pass

    async def receive(self, size: int) -> bytes:
        """So many bytes, of however many messages."""
        data = bytearray()
        while len(data) < size:
            event = await self.next_event()
            assert isinstance(event, BytesMessage), event
            data += event.data
        return bytes(data)

    async def receive_text(self) -> str:
        """One whole text message."""
        parts = []
        while True:
            event = await self.next_event()
            if isinstance(event, Pong):
                continue
            assert isinstance(event, TextMessage), event
            parts.append(event.data)
            if event.message_finished:
                return "".join(parts)

    async def closing(self) -> tuple[int, str]:
        """Code and reason of the server's Close frame, which is answered; what comes before it is dropped."""
        while not isinstance(event := await self.next_event(), CloseConnection):
            pass
        await self.send(event.response())
        return int(event.code), event.reason or ""


async def send_for_ever(stream: trio.abc.SendStream, data: bytes) -> None:
    """Until it cannot."""
    while True:
        await stream.send_all(data)


# Chromium


def chromium() -> str:
    """The program; the test is skipped where it is not installed, or fails where peers are required."""
    program = shutil.which("chromium")
    if program is None:
        reason = "chromium is not installed (Debian package chromium)"
        if os.environ.get("RDPPROV_REQUIRE_PEERS"):
            pytest.fail(reason)
        pytest.skip(reason)
    return program


class Page:
    """A page in Chromium. What it asks for, and what goes wrong in it, is kept."""

    def __init__(self, socket: WebSocketClient, process: trio.Process) -> None:
        self.process = process
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, dict[str, Any]] = {}
        self._has_news = trio.Event()
        self.requests: list[str] = []
        self.problems: list[str] = []

    async def listen(self) -> None:
        """The task that takes what Chromium says."""
        while True:
            message = json.loads(await self._socket.receive_text())
            if "id" in message:
                self._answers[message["id"]] = message
            match message.get("method"):
                case "Network.requestWillBeSent":
                    self.requests.append(message["params"]["request"]["url"])
                case "Network.webSocketCreated":
                    self.requests.append(message["params"]["url"])
                case "Runtime.exceptionThrown":
                    details = message["params"]["exceptionDetails"]
                    self.problems.append(details.get("exception", {}).get("description", details["text"]))
                case "Log.entryAdded" if message["params"]["entry"]["level"] in ("error", "warning"):
                    self.problems.append(message["params"]["entry"]["text"])
                case "Runtime.consoleAPICalled" if message["params"]["type"] in ("error", "warning"):
                    self.problems.append(" ".join(str(part.get("value")) for part in message["params"]["args"]))
            self._has_news.set()
            self._has_news = trio.Event()

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """A command of the DevTools protocol."""
        number = next(self._numbers)
        await self._socket.send(TextMessage(data=json.dumps({"id": number, "method": method, "params": params})))
        while number not in self._answers:
            await self._has_news.wait()
        answer = self._answers.pop(number)
        assert "error" not in answer, (method, answer)
        result: dict[str, Any] = answer["result"]
        return result

    async def evaluate(self, script: str) -> Any:
        """The value of an expression; a promise is waited for."""
        result = await self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def wait_for(self, condition: str) -> Any:
        """Wait until an expression holds: it is looked at with every frame that the page draws."""
        return await self.evaluate(
            f"new Promise(done => {{ const look = () => {{ const value = {condition}; "
            "if (value) done(value); else requestAnimationFrame(look); }; look(); })"
        )

    async def open(self, url: str, ready: str = "document.querySelector('#server')?.textContent") -> None:
        """Go there, and wait until the page is ready for its user."""
        await self.call("Page.navigate", url=url)
        await self.wait_for(f"location.href === {json.dumps(url)} && {ready}")

    async def size(self, width: int, height: int, *, mobile: bool = False, dark: bool = False) -> None:
        """Size of the window, and what kind of device it is on."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile
        )
        await self.call("Emulation.setTouchEmulationEnabled", enabled=mobile)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])

    async def type(self, text: str) -> None:
        """Type into what has the focus, as an input method does."""
        await self.call("Input.insertText", text=text)

    async def key(self, key: str, code: str, key_code: int, text: str = "") -> None:
        """Press a key and let it go."""
        common = {"key": key, "code": code, "windowsVirtualKeyCode": key_code}
        await self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    async def log_on(self, user: str, password: str) -> None:
        """Fill in the form and send it off."""
        for name, text in (("user", user), ("password", password)):
            await self.evaluate(f"document.querySelector('#{name}').select()")
            await self.type(text)
        await self.click("#connect")

    async def box(self, selector: str) -> dict[str, float]:
        """Where an element is, in pixels of the page: left, top, right, bottom, width, height."""
        box: dict[str, float] = await self.evaluate(
            f"document.querySelector({json.dumps(selector)}).getBoundingClientRect().toJSON()"
        )
        return box

    async def click(self, selector: str) -> None:
        """Click into the middle of an element."""
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'nearest'}})")
        box = await self.box(selector)
        x, y = (box["left"] + box["right"]) / 2, (box["top"] + box["bottom"]) / 2
        await self.mouse("mousePressed", x, y)
        await self.mouse("mouseReleased", x, y)

    async def mouse(self, kind: str, x: float, y: float, button: str = "left") -> None:
        """One event of the mouse, in pixels of the page."""
        await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=1)

    async def screenshot(self) -> bytes:
        """PNG."""
        return base64.b64decode((await self.call("Page.captureScreenshot", format="png"))["data"])


@asynccontextmanager
async def browser(home: Path) -> AsyncIterator[Page]:
    """Chromium without a window, with one empty page. It knows no certificate and asks nobody but loopback."""
    program = chromium()
    command = [
        program,
        "--headless=new",
        "--remote-debugging-port=0",
        f"--user-data-dir={home / 'chromium'}",
        "--no-sandbox",  # it may be root who runs the tests, and the pages are ours
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-extensions",
        "--disable-sync",
        "--no-first-run",
        "--no-default-browser-check",
        "--no-proxy-server",
        "--ignore-certificate-errors",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
        "about:blank",
    ]
    environment = {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home), "XDG_CACHE_HOME": str(home)}
    process = await trio.lowlevel.open_process(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        assert process.stderr is not None
        host = f"127.0.0.1:{await _devtools_port(process.stderr)}"
        async with await _connect(host) as stream:
            targets = json.loads((await exchange(stream, "/json/list", "GET", {"host": host})).body)
        url = next(target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page")
        async with await _connect(host) as stream, trio.open_nursery() as nursery:
            nursery.start_soon(_drain, process.stderr)
            page = Page(await open_websocket(stream, host, url.removeprefix(f"ws://{host}"), [], {}), process)
            nursery.start_soon(page.listen)
            for domain in ("Page", "Runtime", "Network", "Log"):
                await page.call(f"{domain}.enable")
            yield page
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            if process.poll() is None:
                process.terminate()
                with trio.move_on_after(10):
                    await process.wait()
            if process.poll() is None:
                process.kill()
                await process.wait()


async def _connect(host: str) -> trio.SocketStream:
    address, _, port = host.rpartition(":")
    return await trio.open_tcp_stream(address, int(port))


async def _devtools_port(stderr: trio.abc.ReceiveStream) -> int:
    said = b""
    with trio.fail_after(60):
        while b"DevTools listening on ws://" not in said or not said.rpartition(b"ws://")[2].count(b"\n"):
            part = await stderr.receive_some()
            assert part, said
            said += part
    return int(said.rpartition(b"DevTools listening on ws://")[2].split(b"/")[0].rpartition(b":")[2])


async def _drain(stream: trio.abc.ReceiveStream) -> None:
    while await stream.receive_some():
        pass


def trusting() -> ssl.SSLContext:
    """A client's TLS that takes any certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
