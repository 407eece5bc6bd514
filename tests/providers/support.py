"""A service of a few lines, clients that stop anywhere, and two machines back to back."""

import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from uuid import uuid4

import attrs
import numpy as np
import trio

from rdpprov.api import (
    LICENSING_SUCCEEDED,
    ClientData,
    ConnectionSettings,
    ProtocolConnection,
    ProtocolConnectionCallback,
    ProtocolListenerCallback,
    SessionId,
)
from rdpprov.api.devices import InputEvent, PointerShape, Rectangle
from rdpprov.api.identity import ReconnectSecret, UserToken
from rdpprov.protocol.events import NeedData, Paused
from rdpprov.protocol.rdp.client import ClientOptions, RdpClientMachine
from rdpprov.protocol.rdp.events import (
    Activated,
    BitmapsReceived,
    PointerMoved,
    PointerReceived,
    StartTls,
)
from rdpprov.protocol.rdp.server import RdpServerMachine, ServerOptions, ServerState
from rdpprov.providers.rdp.listener import RdpListener
from rdpprov.security.tls import client_context
from rdpprov.sessions.memory import MemoryDesktop
from rdpprov.testing.rdp_client import decode_bitmap

CLIENT = ClientOptions(user_name="ann", password="correct horse", width=320, height=240)
USER = UserToken("ann", "", frozenset(), "test")
SECRET = bytes(range(0x40, 0x50))

STEPS = ("ready", "accept_connection", "license", "connect_notify", "logon_notify")
"""Where a `Script` can stop."""


class Callback(ProtocolConnectionCallback):
    """One connection, as the service sees it."""

    def __init__(self, connection: ProtocolConnection, settings: ConnectionSettings, *, traces_wire: bool) -> None:
        self.connection = connection
        self.settings = settings
        self.ready = trio.Event()
        self.broken = trio.Event()
        self.times_broken = 0
        self.at: dict[str, trio.Event] = {step: trio.Event() for step in STEPS}
        self.closed = trio.Event()
        self.client = ClientData()
        self.desktop: MemoryDesktop | None = None
        self.input: list[InputEvent] = []
        self._typed = trio.lowlevel.ParkingLot()
        self.milestones: list[tuple[str, float]] = []
        self.wire: list[tuple[str, bytes]] = []
        self._traces_wire = traces_wire

    def on_ready(self) -> None:
        self.ready.set()

    def broken_connection(self, reason: int = 0, source: int = 0) -> None:
        self.times_broken += 1
        self.broken.set()

    def stop_screen_updates(self) -> None:
        raise AssertionError("not called by this provider")

    def redraw_window(self, rectangle: object = None) -> None:
        raise AssertionError("not called by this provider")

    def get_connection_id(self) -> int:
        return 1

    def issue_reconnect_secret(self) -> ReconnectSecret:
        return ReconnectSecret(7, SECRET)

    def trace_event(self, name: str, fields: Mapping[str, object], *, ago: float = 0.0) -> None:
        self.milestones.append((name, ago))

    @property
    def traces_wire(self) -> bool:
        return self._traces_wire

    def trace_wire(self, direction: str, data: bytes, *, ago: float = 0.0) -> None:
        self.wire.append((direction, data))

    def input_event(self, event: InputEvent) -> None:
        self.input.append(event)
        self._typed.unpark_all()

    async def wait_for_input(self, count: int) -> None:
        """Until as many events have come; 10 seconds at most."""
        with trio.fail_after(10):
            while len(self.input) < count:
                await self._typed.park()


class Script(ProtocolListenerCallback):
    """Takes every client through the connection sequence, and closes it when it is gone or `close` says so.

    Args:
        nursery: home of the sequences.
        until: the last step; then the client waits.
        traces_wire: whether bytes are recorded.
        desktop: makes a session's desktop of a client's data.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        until: str = STEPS[-1],
        traces_wire: bool = False,
        desktop: Callable[[ClientData], MemoryDesktop] = lambda client: MemoryDesktop(client.h_res, client.v_res),
    ) -> None:
        self.until = until
        self.clients: list[Callback] = []
        self._nursery = nursery
        self._traces_wire = traces_wire
        self._desktop = desktop
        self._arrived = trio.Event()

    async def on_connected(self, connection: ProtocolConnection, settings: ConnectionSettings) -> Callback:
        callback = Callback(connection, settings, traces_wire=self._traces_wire)
        self.clients.append(callback)
        self._nursery.start_soon(self._serve, callback)
        self._arrived.set()
        self._arrived = trio.Event()
        return callback

    async def client(self, index: int) -> Callback:
        """The client that came as number `index`, counted from 0; waits for it."""
        while len(self.clients) <= index:
            await self._arrived.wait()
        return self.clients[index]

    def close(self) -> None:
        """All clients that there are."""
        for client in self.clients:
            client.broken.set()

    async def _serve(self, callback: Callback) -> None:
        connection = callback.connection
        async with trio.open_nursery() as sequence:
            sequence.start_soon(self._connect, callback)
            await callback.broken.wait()
            sequence.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await connection.disconnect_notify()
            await connection.close()
        if callback.desktop is not None:
            await callback.desktop.aclose()
        callback.closed.set()

    async def _connect(self, callback: Callback) -> None:
        for step in STEPS:
            await getattr(self, f"_{step}")(callback.connection, callback)
            callback.at[step].set()
            if step == self.until:
                return

    async def _ready(self, connection: ProtocolConnection, callback: Callback) -> None:
        await callback.ready.wait()

    async def _accept_connection(self, connection: ProtocolConnection, callback: Callback) -> None:
        await connection.accept_connection()
        callback.client = await connection.get_client_data()

    async def _license(self, connection: ProtocolConnection, callback: Callback) -> None:
        license_connection = await connection.get_license_connection()
        await license_connection.request_licensing_capabilities()
        await license_connection.protocol_complete(LICENSING_SUCCEEDED)

    async def _connect_notify(self, connection: ProtocolConnection, callback: Callback) -> None:
        await connection.notify_session_id(SessionId(uuid4(), 7), 7)
        callback.desktop = self._desktop(callback.client)
        video = await connection.get_video_handle()
        video.plug(callback.desktop.open_screen(video.damaged))
        (await connection.get_input_handles()).plug(callback)
        await connection.connect_notify(7)

    async def _logon_notify(self, connection: ProtocolConnection, callback: Callback) -> None:
        await connection.logon_notify(USER, "ann", "", SessionId(uuid4(), 7), callback.settings)


@attrs.frozen
class Listening:
    """A listener with its service."""

    listener: RdpListener
    script: Script
    port: int


# Clients that stop somewhere


def units(data: bytes) -> Iterator[bytes]:
    """The PDUs that a client queued, one by one."""
    while data:
        if data[0] == 3:
            length = int.from_bytes(data[2:4], "big")
        elif data[1] & 0x80:
            length = int.from_bytes(data[1:3], "big") & 0x7FFF
        else:
            length = data[1]
        yield data[:length]
        data = data[length:]


UNITS = (
    "Connect Initial",
    "Erect Domain Request",
    "Attach User Request",
    "Client Info",
    "Confirm Active",
    "Synchronize",
    "Cooperate",
    "Request Control",
    "Font List",
)
"""What a client that skips the joins sends inside TLS."""


@attrs.define
class StoppedClient:
    """A client that has stopped talking the protocol: the test says the rest."""

    stream: trio.abc.Stream
    tcp: trio.SocketStream
    machine: RdpClientMachine
    sent: list[bytes]
    """The units sent so far."""
    next_units: list[bytes]
    """Those that it would send now."""

    async def ended_by_the_server(self) -> bytes:
        """All that still comes until the server ends the connection."""
        rest = b""
        try:
            while data := await self.stream.receive_some(65536):
                rest += data
        except trio.BrokenResourceError:
            pass
        return rest


@asynccontextmanager
async def stopped_before(
    port: int,
    stop: str,
    options: ClientOptions = CLIENT,
    *,
    host: str = "127.0.0.1",
    context: ssl.SSLContext | None = None,
) -> AsyncIterator[StoppedClient]:
    """A client that goes on until it would send `stop`: one of `UNITS`, or "Connection Request", "TLS", "input" (it is
    active then)."""
    machine = RdpClientMachine(options)
    tcp = await trio.open_tcp_stream(host, port)
    client = StoppedClient(tcp, tcp, machine, [], [])
    async with tcp:
        if stop == "Connection Request":
            yield client
            return
        await tcp.send_all(machine.data_to_send())
        while not isinstance(machine.next_event(), StartTls):
            machine.receive_data(bytes(await tcp.receive_some(4096)))
        if stop == "TLS":
            yield client
            return
        stream = trio.SSLStream(tcp, context or client_context(), https_compatible=True)
        await stream.do_handshake()
        client.stream = stream
        machine.tls_established()
        while True:
            client.next_units += units(machine.data_to_send())
            while client.next_units and UNITS[len(client.sent)] != stop:
                unit = client.next_units.pop(0)
                await stream.send_all(unit)
                client.sent.append(unit)
                if len(client.sent) == len(UNITS):
                    break
            if client.next_units:
                break
            data = bytes(await stream.receive_some(65536))
            assert data, f"the server ended the connection before {stop}"
            machine.receive_data(data)
            if _is_active(machine):
                break
        yield client


def _is_active(machine: RdpClientMachine) -> bool:
    while not isinstance(event := machine.next_event(), NeedData | Paused):
        if isinstance(event, Activated):
            return True
    return False


# Two machines


class Viewer:
    """A client's machine and what its user would see; the server's machine speaks to it without a network."""

    def __init__(self, options: ClientOptions = CLIENT) -> None:
        self.client = RdpClientMachine(options)
        self.server = RdpServerMachine(ServerOptions())
        self.picture = np.zeros((options.height, options.width, 4), np.uint8)
        self.painted = 0
        self.shapes: list[PointerShape] = []
        self.positions: list[tuple[int, int]] = []
        self.desktop = (options.width, options.height, options.color_depth)
        self.server_events: list[object] = []
        while self.server.state is not ServerState.ACTIVE:
            self._say()
            self.look()

    def _say(self) -> None:
        self.server.receive_data(self.client.data_to_send())
        while not isinstance(event := self.server.next_event(), NeedData | Paused):
            self.server_events.append(event)
        match self.server.state:
            case ServerState.EXPECT_TLS:
                self.server.tls_established()
            case ServerState.LICENSING:
                self.server.complete_licensing(True)
                self.server.activate(*self.desktop)

    def look(self) -> int:
        """Take what the server has queued; how many bytes it was."""
        data = self.server.data_to_send()
        self.client.receive_data(data)
        while not isinstance(event := self.client.next_event(), NeedData | Paused):
            match event:
                case StartTls():
                    self.client.tls_established()
                case BitmapsReceived(bitmaps=bitmaps):
                    for bitmap in bitmaps:
                        self._paint(bitmap)
                case PointerReceived(shape=shape):
                    self.shapes.append(shape)
                case PointerMoved(x=x, y=y):
                    self.positions.append((x, y))
        return len(data)

    def _paint(self, bitmap: object) -> None:
        area: Rectangle = bitmap.rectangle
        height, width = self.picture.shape[:2]
        assert 0 <= area.left < area.right <= width  # OUT-07
        assert 0 <= area.top < area.bottom <= height
        self.painted += area.width * area.height
        pixels = decode_bitmap(bitmap)[: area.height, : area.width]
        self.picture[area.top : area.bottom, area.left : area.right] = pixels
