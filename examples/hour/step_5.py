"""A remote desktop for terminals, step 5: clients that do not behave."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import trio
from PIL import Image

from rdpprov import api
from rdpprov.api.devices import InputSink, Rectangle, Screen, UnicodeKey

GONE = (trio.BrokenResourceError, trio.ClosedResourceError)
COLUMNS, ROWS = 80, 12
SHADES = " .:*#"


def picture(screen: Screen) -> str:
    pixels = screen.grab(Rectangle(0, 0, screen.width, screen.height))
    green = Image.fromarray(pixels[:, :, 1])  # of blue, green, red: it looks most like brightness
    levels = green.resize((COLUMNS, ROWS), Image.Resampling.BOX).tobytes()
    shades = "".join(SHADES[level * len(SHADES) // 256] for level in levels)
    return "".join(shades[row : row + COLUMNS].rstrip() + "\n" for row in range(0, len(shades), COLUMNS))


class Display:
    def __init__(self) -> None:
        self.screen: Screen | None = None
        self.plugged = trio.Event()

    def plug(self, screen: Screen) -> None:
        self.screen = screen
        self.plugged.set()

    def unplug(self) -> None:
        self.screen = None

    def damaged(self) -> None:
        pass  # this client says itself when it wants to look


class Keyboard:
    sink: InputSink | None = None

    def plug(self, sink: InputSink) -> None:
        self.sink = sink

    def unplug(self) -> None:
        self.sink = None

    def type(self, text: str) -> None:
        for character in text:
            for pressed in (True, False):
                if self.sink is not None:
                    self.sink.input_event(UnicodeKey(character, pressed))


class HourConnection(api.ProtocolConnection):
    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.received = b""
        self.display = Display()
        self.keyboard = Keyboard()

    async def read_line(self) -> str:
        while b"\n" not in self.received:
            data = await self.stream.receive_some(1000)
            if not data or len(self.received) > 1000:
                raise trio.BrokenResourceError("the client is gone, or sends no lines")
            self.received += data
        line, _, self.received = self.received.partition(b"\n")
        return line.decode(errors="replace").strip()

    async def introduce(self) -> None:
        with trio.fail_after(10):
            self.name, self.password = (await self.read_line()).split()

    async def accept_connection(self) -> None:
        pass

    async def get_client_data(self) -> api.ClientData:
        return api.ClientData(protocol_name="HOUR", user_name=self.name, h_res=640, v_res=200)

    async def get_user_credentials(self) -> api.UserCredential:
        return api.UserCredential(self.name, self.password)

    async def logon_notify(self, user, user_name, domain_name, session_id, settings):  # type: ignore[no-untyped-def]
        await self.stream.send_all(b"WELCOME\n")
        return settings

    async def get_video_handle(self) -> Display:
        return self.display

    async def get_input_handles(self) -> Keyboard:
        return self.keyboard

    async def show(self) -> None:
        screen = self.display.screen
        await self.stream.send_all((picture(screen) if screen else "").encode() + b".\n")

    async def close(self) -> None:
        self.display.plugged.set()  # nobody shall wait for a screen any more
        await self.stream.aclose()


class HourListener(api.ProtocolListener):
    def __init__(self, options: Any) -> None:
        self.options = options
        self.accepting = trio.CancelScope()

    async def start_listen(self, callback: api.ProtocolListenerCallback, *, task_status: Any) -> None:
        self.callback = callback
        listeners = await trio.open_tcp_listeners(self.options["port"], host=self.options["host"])
        self.bound_addresses = [listener.socket.getsockname()[:2] for listener in listeners]
        async with trio.open_nursery() as clients:
            with self.accepting:
                await trio.serve_listeners(self.serve, listeners, handler_nursery=clients, task_status=task_status)

    async def stop_listen(self) -> None:
        self.accepting.cancel()

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            connection = HourConnection(stream)
            try:
                await connection.introduce()
                settings = api.ConnectionSettings(user_name=connection.name)
                service = await self.callback.on_connected(connection, settings)
            except (*GONE, trio.TooSlowError, ValueError, api.HResultError):
                return  # no client of ours, or the service refuses it: nobody else hears of it
            service.on_ready()
            try:
                while True:
                    line = await connection.read_line()
                    await connection.display.plugged.wait()
                    connection.keyboard.type(line)
                    await connection.show()
            except GONE:
                service.broken_connection()


@asynccontextmanager
async def check_client(address: str, port: int, user: str, password: str) -> AsyncIterator[SimpleNamespace]:
    async with await trio.open_tcp_stream(address, port) as stream:
        await stream.send_all(f"{user} {password}\n".encode())
        yield SimpleNamespace(use=partial(stream.send_all, b"a\n"))


class HourManager(api.ProtocolManager):
    check_client = staticmethod(check_client)

    async def create_listener(self, listener_name: str) -> HourListener:
        return HourListener(self.settings.listener_options(listener_name))
