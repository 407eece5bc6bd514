"""A whole protocol of the old shape, IWTSProtocol*: lines over TCP. The client's first is ``name password``.

A connection notes what it is told in `calls`; the listener's option ``answers`` says what it answers, by call.
"""

from contextlib import suppress

import trio

from rdpprov.api import ClientData, HResultError, NotImplementedByProvider, UserCredential
from rdpprov.api.devices import UnicodeKey
from rdpprov.api.identity import ReconnectClaim
from rdpprov.api.wtsprotocol import (
    ProtocolHandles,
    WtsProtocolConnection,
    WtsProtocolListener,
    WtsProtocolManager,
)
from rdpprov.providers.wtsprotocol import adapted


class OldDevice:
    """Keyboard and mouse, or a display."""

    plugged = None

    def plug(self, what):
        self.plugged = what

    def unplug(self):
        self.plugged = None

    def damaged(self):
        """Its client asks when it wants to look."""


class OldConnection(WtsProtocolConnection):
    def __init__(self, stream, answers):
        self.stream = stream
        self.answers = answers
        self.calls = []
        """Name and arguments; our own OnReady too."""
        self.inputs, self.video = OldDevice(), OldDevice()
        self.received = b""
        self.callback = None
        self.secret = None
        self.closed = trio.Event()

    @property
    def names(self):
        return [name for name, *_ in self.calls]

    def args_of(self, wanted):
        return next(args for name, *args in reversed(self.calls) if name == wanted)

    def called(self, name, *args, usual=None):
        self.calls.append((name, *args))
        answer = self.answers.get(name, usual)
        if isinstance(answer, Exception):
            raise answer
        return answer(*args) if callable(answer) else answer

    async def read_line(self):
        while b"\n" not in self.received:
            try:
                data = await self.stream.receive_some(1000)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return None
            if not data:
                return None
            self.received += data
        line, _, self.received = self.received.partition(b"\n")
        return line.decode()

    async def say(self, text):
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self.stream.send_all(text.encode() + b"\n")

    async def get_logon_error_redirector(self):
        return self.called("GetLogonErrorRedirector", usual=NotImplementedByProvider("old"))

    async def send_policy_data(self, policy_data):
        self.called("SendPolicyData", policy_data)

    async def accept_connection(self):
        self.called("AcceptConnection")

    async def get_client_data(self):
        usual = ClientData(protocol_name="OLD", user_name=self.user_name, h_res=320, v_res=200, initial_program="shell")
        return self.called("GetClientData", usual=usual)

    async def get_user_credentials(self):
        return self.called("GetUserCredentials", usual=UserCredential(self.user_name, self.password))

    async def authenticate_client_to_session(self):
        usual = NotImplementedByProvider("old")
        if self.secret is not None:
            usual = ReconnectClaim(self.secret.logon_id, self.secret.secret)
        return self.called("AuthenticateClientToSession", usual=usual)

    async def notify_session_id(self, session_id):
        self.called("NotifySessionId", session_id)

    async def get_protocol_handles(self):
        return self.called("GetProtocolHandles", usual=ProtocolHandles(self.inputs, self.video))

    async def connect_notify(self, session_id):
        self.called("ConnectNotify", session_id)

    async def is_user_allowed_to_logon(self, session_id, user, domain_name, user_name):
        self.called("IsUserAllowedToLogon", session_id, user, domain_name, user_name)

    async def session_arbitration_enumeration(self, user, single_session_per_user_enabled):
        return self.called(
            "SessionArbitrationEnumeration",
            user,
            single_session_per_user_enabled,
            usual=NotImplementedByProvider("old"),
        )

    async def logon_notify(self, user, user_name, domain_name, session_id):
        self.called("LogonNotify", user, user_name, domain_name, session_id)
        await self.say(f"SESSION {session_id.session_id}")

    async def get_user_data(self, policy_data, user_data):
        return self.called("GetUserData", policy_data, user_data, usual=user_data)

    async def disconnect_notify(self):
        self.called("DisconnectNotify")

    async def set_error_info(self, error):
        self.called("SetErrorInfo", error)
        await self.say(f"ERROR {error}")

    async def query_property(self, query_type, entries_in=()):
        unknown = NotImplementedByProvider(f"QueryProperty {query_type}")
        return self.called("QueryProperty", query_type, entries_in, usual=unknown)

    async def close(self):
        self.called("Close")
        await self.stream.aclose()
        self.closed.set()

    async def run(self, listener_callback):
        """From the client's first line to its end."""
        self.user_name, self.password = (await self.read_line()).split()
        try:
            self.callback = await listener_callback.on_connected(self)
        except HResultError:
            await self.stream.aclose()
            return
        self.calls.append(("OnReady",))
        self.callback.on_ready()
        while (line := await self.read_line()) is not None:
            if self.inputs.plugged is not None:
                for character in line:
                    self.inputs.plugged.input_event(UnicodeKey(character, True))
                    self.inputs.plugged.input_event(UnicodeKey(character, False))
            await self.say("TYPED")
        self.callback.broken_connection()


class OldListener(WtsProtocolListener):
    def __init__(self, options):
        self.options = options
        self.accepting = trio.CancelScope()
        self.connections = []
        self.secret = None
        """What the next client proves its session with."""

    async def start_listen(self, callback, *, task_status):
        listeners = await trio.open_tcp_listeners(self.options["port"], host="127.0.0.1")
        self.bound_addresses = [listener.socket.getsockname()[:2] for listener in listeners]

        async def serve(stream):
            connection = OldConnection(stream, self.options.get("answers", {}))
            connection.secret = self.secret
            self.connections.append(connection)
            await connection.run(callback)

        async with trio.open_nursery() as clients:
            with self.accepting:
                await trio.serve_listeners(serve, listeners, handler_nursery=clients, task_status=task_status)

    async def stop_listen(self):
        self.accepting.cancel()


class OldManager(WtsProtocolManager):
    """``last`` is the one that was made last."""

    last = None

    def __init__(self):
        OldManager.last = self
        self.told = []
        self.listeners = {}

    async def create_listener(self, listener_name):
        self.listeners[listener_name] = OldListener(self.settings.listener_options(listener_name))
        return self.listeners[listener_name]

    async def notify_service_state_change(self, change):
        self.told.append(("NotifyServiceStateChange", change))

    async def notify_session_of_service_stop(self, session_id):
        self.told.append(("NotifySessionOfServiceStop", session_id))

    async def notify_session_state_change(self, session_id, event_id):
        self.told.append(("NotifySessionStateChange", event_id))


Manager = adapted(OldManager)
