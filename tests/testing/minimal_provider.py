"""A correct provider, as small as one can be that does everything the kit looks at; and its client.

The client says ``HELLO user password``, then ``KEY x``. The provider says ``LICENSED``, ``SESSION n`` and ``BYE``.
Both say ``LICENSE packet``, in hexadecimal digits.
"""

from contextlib import asynccontextmanager, suppress

import trio

from rdpprov import api
from rdpprov.api.devices import UnicodeKey
from rdpprov.api.enums import FastReconnectMode, ListenerSettingLevel, LogonErrorRedirectorResponse, ValueType
from rdpprov.api.properties import CONNECTION_PROPERTY_CURSOR_BLINK_DISABLED, PROPERTY_TYPE_GET_FAST_RECONNECT
from rdpprov.api.structures import ProtocolStatus
from rdpprov.errors import E_INVALIDARG

GONE = (trio.BrokenResourceError, trio.ClosedResourceError)
HELLO_LIMIT = 5


class Keyboard:
    def __init__(self):
        self.sink = None

    def plug(self, sink):
        self.sink = sink

    def unplug(self):
        self.sink = None


class Display:
    def __init__(self):
        self.screen = None

    def plug(self, screen):
        self.screen = screen

    def unplug(self):
        self.screen = None

    def damaged(self):
        if self.screen is not None:
            self.screen.take_damage()


class Redirector(api.LogonErrorRedirector):
    async def redirect_status(self, message):
        return LogonErrorRedirectorResponse.HANDLED_SHOW


class License(api.LicenseConnection):
    def __init__(self, connection):
        self.connection = connection

    async def request_licensing_capabilities(self):
        return api.LicenseCapabilities()

    async def send_client_license(self, packet):
        self.connection.say(f"LICENSE {packet.hex()}")

    async def request_client_license(self, reserve=b""):
        try:
            return await self.connection.licenses.receive()
        except trio.EndOfChannel:
            raise api.HResultError("the client is gone") from None

    async def protocol_complete(self, complete):
        if complete == api.LICENSING_SUCCEEDED:
            self.connection.say("LICENSED")


class Shadow(api.ShadowConnection):
    def __init__(self, connection):
        self.connection = connection
        self.shadowing = None

    async def start(self, target_server_name, target_session_id, hot_key_vk, hotkey_modifiers, shadow_callback):
        self.shadowing = shadow_callback
        self.connection.tasks.start_soon(self.invoke, target_server_name, target_session_id)

    async def invoke(self, server, session_id):
        if self.shadowing is not None:
            self.shadowing.invoke_target_shadow(server, session_id, b"", b"", b"", b"", self.connection.user)

    async def stop(self):
        self.shadowing = None

    async def do_target(self, param1, param2, param3, param4, client_name):
        pass


class Channel:
    async def send_all(self, data):
        pass

    async def receive_some(self, max_bytes=None):
        return b""

    async def aclose(self):
        pass


class Connection(api.ProtocolConnection, api.EnhancedFastReconnectArbitrator, api.ProtocolConnectionSettings):
    make_license = License
    make_redirector = Redirector
    make_channel = Channel
    make_shadow = Shadow

    def __init__(self, stream):
        self.stream = stream
        self.received = b""
        self.keyboard = Keyboard()
        self.display = Display()
        self.session_id = None
        self.last_input = trio.current_time()
        self.blinks_not = api.PropertyValue(0)
        self.to_say, self.said = trio.open_memory_channel(100)
        self.license_came, self.licenses = trio.open_memory_channel(10)
        self.over = trio.Event()
        self.served = trio.Event()
        self.callback = None

    # The wire

    async def read_line(self):
        """One line, or "" when the client is gone."""
        while b"\n" not in self.received:
            data = await self.stream.receive_some(1000)
            if not data or len(self.received) > 1000:
                return ""
            self.received += data
        line, _, self.received = self.received.partition(b"\n")
        return line.decode(errors="replace").strip()

    def say(self, text):
        with suppress(trio.WouldBlock, *GONE):
            self.to_say.send_nowait(text)

    async def introduce(self):
        with trio.fail_after(HELLO_LIMIT):
            words = (await self.read_line()).split()
        if len(words) != 3 or words[0] != "HELLO":
            raise ValueError("that is no HELLO")
        self.user, self.password = words[1:]

    async def serve(self, listener_callback):
        try:
            await self.introduce()
            self.callback = await self.connected(listener_callback)
            await self.ready()
            self.trace()
            async with trio.open_nursery() as self.tasks:
                self.tasks.start_soon(self.write)
                self.tasks.start_soon(self.read)
                await self.over.wait()
                self.tasks.cancel_scope.cancel()
        except (ValueError, trio.TooSlowError, api.HResultError, *GONE):
            pass
        finally:
            with trio.CancelScope(shield=True):
                await self.hang_up()
            self.served.set()

    async def hang_up(self):
        await trio.aclose_forcefully(self.stream)

    async def connected(self, listener_callback):
        return await listener_callback.on_connected(self, api.ConnectionSettings(user_name=self.user))

    async def ready(self):
        self.callback.on_ready()

    async def read(self):
        with suppress(*GONE), self.license_came:
            while line := await self.read_line():
                if line.startswith("LICENSE "):
                    self.license_came.send_nowait(bytes.fromhex(line[8:]))
                else:
                    self.heard(line)
        self.broken()

    def trace(self):
        if self.callback.traces_wire:
            self.callback.trace_wire("in", f"HELLO {self.user} {'*' * len(self.password)}\n".encode())
        self.callback.trace_event("hello", {"user": self.user, "password_length": len(self.password)})

    def heard(self, line):
        if line.startswith("KEY "):
            self.last_input = trio.current_time()
            if self.keyboard.sink is not None:
                self.keyboard.sink.input_event(UnicodeKey(line[4:5], True))

    def broken(self):
        self.callback.broken_connection()

    async def write(self):
        with suppress(*GONE):
            async for text in self.said:
                await self.stream.send_all(f"{text}\n".encode())

    # IWRdsProtocolConnection

    async def get_logon_error_redirector(self):
        return self.make_redirector()

    async def accept_connection(self):
        pass

    async def get_client_data(self):
        return api.ClientData(protocol_name="MINI", user_name=self.user, h_res=320, v_res=240)

    async def get_user_credentials(self):
        return api.UserCredential(self.user, self.password)

    async def get_license_connection(self):
        return self.make_license(self)

    async def notify_session_id(self, session_id, session_handle):
        self.session_id = session_id.session_id

    async def get_input_handles(self):
        return self.keyboard

    async def get_video_handle(self):
        return self.display

    async def logon_notify(self, user, user_name, domain_name, session_id, settings):
        self.say(f"SESSION {self.session_id}")
        return settings

    async def close(self):
        self.over.set()
        await self.served.wait()

    async def get_protocol_status(self):
        return ProtocolStatus()

    async def get_last_input_time(self):
        return int((trio.current_time() - self.last_input) * 1000)

    async def query_property(self, query_type, entries_in=()):
        if query_type == PROPERTY_TYPE_GET_FAST_RECONNECT.guid:
            return PROPERTY_TYPE_GET_FAST_RECONNECT.pack_answer(FastReconnectMode.ENHANCED)
        raise api.NotImplementedByProvider("QueryProperty")

    async def get_session_for_enhanced_fast_reconnect(self, session_id_array):
        return session_id_array[0]

    async def get_connection_setting(self, property_id):
        if property_id != CONNECTION_PROPERTY_CURSOR_BLINK_DISABLED.guid:
            raise api.NotImplementedByProvider("GetConnectionSetting")
        return self.blinks_not

    async def set_connection_setting(self, property_id, value):
        if property_id != CONNECTION_PROPERTY_CURSOR_BLINK_DISABLED.guid:
            raise api.NotImplementedByProvider("SetConnectionSetting")
        if value.type is not ValueType.ULONG:
            raise api.HResultError("the cursor blinks, or not", E_INVALIDARG)
        self.blinks_not = value

    async def create_virtual_channel(self, endpoint_name, static, requested_priority):
        if len(endpoint_name) > (7 if static else 260):
            raise api.HResultError("the name is too long", E_INVALIDARG)
        return self.make_channel()

    async def get_shadow_connection(self):
        return self.make_shadow(self)


class Listener(api.ProtocolListener):
    make_connection = Connection

    def __init__(self, options):
        self.options = options
        self.accepting = trio.CancelScope()
        self.half_open = trio.CancelScope()
        self.clients = None

    async def get_settings(self, level=ListenerSettingLevel.LEVEL_1):
        if level != ListenerSettingLevel.LEVEL_1:
            raise api.HResultError("no such level", E_INVALIDARG)
        return api.ListenerSettings()

    async def start_listen(self, callback, *, task_status):
        self.callback = callback
        listeners = await trio.open_tcp_listeners(self.options["port"], host=self.options["host"])
        self.bound_addresses = [listener.socket.getsockname()[:2] for listener in listeners]
        async with trio.open_nursery() as self.clients:
            with self.accepting:
                await trio.serve_listeners(
                    self.accepted, listeners, handler_nursery=self.clients, task_status=task_status
                )

    async def stop_listen(self):
        self.accepting.cancel()

    async def accepted(self, stream):
        await self.make_connection(stream).serve(self.callback)


class MinimalUser:
    """What the kit may do with the client."""

    def __init__(self, stream):
        self.stream = stream
        self.session_id = None
        self.admitted = False
        self.license_packets = []
        self.license_answers = []

    async def use(self):
        await self.stream.send_all(b"KEY a\n")

    async def read(self):
        received = b""
        with suppress(*GONE):
            async for data in self.stream:
                *lines, received = (received + data).split(b"\n")
                for line in lines:
                    self.admitted |= line == b"LICENSED"
                    if line.startswith(b"LICENSE "):
                        await self.got_license(bytes.fromhex(line[8:].decode()))
                    if line.startswith(b"SESSION "):
                        self.session_id = int(line[8:])

    async def got_license(self, packet):
        self.license_packets.append(packet)
        if packet[0] not in (3, 4):  # the license itself has no answer
            self.license_answers.append(b"answer to " + packet[:40])
            await self.stream.send_all(b"LICENSE %s\n" % self.license_answers[-1].hex().encode())


@asynccontextmanager
async def minimal_client(address, port, user, password):
    async with await trio.open_tcp_stream(address, port) as stream, trio.open_nursery() as nursery:
        await stream.send_all(f"HELLO {user} {password}\n".encode())
        client = MinimalUser(stream)
        nursery.start_soon(client.read)
        yield client
        nursery.cancel_scope.cancel()


class MinimalManager(api.ProtocolManager):
    check_client = staticmethod(minimal_client)
    make_listener = Listener

    async def create_listener(self, listener_name):
        return self.make_listener(self.settings.listener_options(listener_name))
