"""A whole protocol, lines of text over TCP (``LOGON name password``, ``TYPE text``, ``LOOK``), and a desktop to show.

Sessions, accounts, limits, traces are the service's: not a line about them here. How to serve it: line_client.py."""

from contextlib import suppress
from typing import Any

import trio

from rdpprov import api
from rdpprov.api.devices import InputEvent, Rectangle, UnicodeKey
from rdpprov.sessions.memory import MemoryDesktop


class BarsDesktop(MemoryDesktop):  # draws a bar for every character typed
    def __init__(self, request: Any) -> None:
        super().__init__(request.width, request.height)
        self.right = 0

    def input_event(self, event: InputEvent) -> None:
        if isinstance(event, UnicodeKey) and event.pressed:
            self.right, top = self.right + 20, self.height * (32 - ord(event.text) % 32) // 33
            with self.draw(Rectangle(self.right - 20, top, self.right, self.height)) as pixels:
                pixels[...] = 0xFF


class Device:  # keyboard or display: the service plugs in a sink for keys, or a screen to look at
    plugged: Any = None

    def plug(self, sink_or_screen: Any) -> None:
        self.plugged = sink_or_screen

    def unplug(self) -> None:
        self.plugged = None

    def damaged(self) -> None:
        pass  # this client asks when it wants to look


class LineConnection(api.ProtocolConnection):
    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream, self.received, self.talking = stream, b"", trio.Lock()
        self.keyboard, self.display = Device(), Device()

    async def say(self, text: str) -> None:
        async with self.talking:  # two tasks do: the service's, and the one that answers
            await self.stream.send_all(text.encode())

    async def read_line(self) -> str:
        while b"\n" not in self.received and len(self.received) < 1000:
            self.received += await self.stream.receive_some(1000) or b"\n"
        line, _, self.received = self.received.partition(b"\n")
        return line.decode(errors="replace").strip()

    async def accept_connection(self) -> None: ...

    async def get_client_data(self) -> api.ClientData:
        return api.ClientData(protocol_name="LINES", user_name=self.credential.user_name, h_res=400, v_res=200)

    async def get_user_credentials(self) -> api.UserCredential:
        return self.credential

    async def get_input_handles(self) -> Device:
        return self.keyboard

    async def get_video_handle(self) -> Device:
        return self.display

    async def logon_notify(self, user, user_name, domain_name, session_id, settings):  # type: ignore[no-untyped-def]
        await self.say(f"SESSION {session_id.session_id}\n")
        return settings

    async def close(self) -> None:
        await self.stream.aclose()

    def answer(self, line: str) -> str:
        verb, _, text = line.partition(" ")
        if verb == "TYPE" and self.keyboard.plugged:
            for event in [UnicodeKey(character, pressed) for character in text for pressed in (True, False)]:
                self.keyboard.plugged.input_event(event)
        elif verb == "LOOK" and (screen := self.display.plugged):
            pixels = screen.grab(Rectangle(0, 0, screen.width, screen.height))[10::20, 10::20, 1]
            return "\n".join("".join(" #"[level // 128] for level in row) for row in pixels) + "\n.\n"
        return ".\n"


class LineListener(api.ProtocolListener):
    def __init__(self, options: Any) -> None:
        self.options, self.accepting = options, trio.CancelScope()

    async def start_listen(self, callback: api.ProtocolListenerCallback, *, task_status: Any) -> None:
        self.callback = callback
        listeners = await trio.open_tcp_listeners(self.options["port"], host=self.options["host"])
        self.bound_addresses = [listener.socket.getsockname()[:2] for listener in listeners]
        async with trio.open_nursery() as clients:  # they outlive StopListen, until their Close
            with self.accepting:
                await trio.serve_listeners(self.serve, listeners, handler_nursery=clients, task_status=task_status)

    async def stop_listen(self) -> None:
        self.accepting.cancel()

    async def serve(self, stream: trio.SocketStream) -> None:
        connection = LineConnection(stream)
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, ValueError, api.HResultError):
            _, name, password = (await connection.read_line()).split()
            connection.credential = api.UserCredential(name, password)
            service = await self.callback.on_connected(connection, api.ConnectionSettings(user_name=name))
            service.on_ready()
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                while line := await connection.read_line():  # until an empty one: the client is gone
                    await connection.say(connection.answer(line))
            service.broken_connection()


class LineManager(api.ProtocolManager):
    check_client = "examples.line_client:check_client"

    async def create_listener(self, listener_name: str) -> LineListener:
        return LineListener(self.settings.listener_options(listener_name))
