"""A provider, desktops and an authenticator that do what a test tells them: everything around the RCM, without a wire.

Every call of the service is noted, and answered by a script. A script is a table of answers (`Answers`), or a dialogue
that a test tells line by line (`rdpprov.testing.playbook.Playbook`)::

    provider = ScriptedProvider()
    async with provider.service() as service:                       # a real RemoteConnectionManager
        client = await provider.connect(answers={"GetUserCredentials": UserCredential("ann", "secret")})
        await client.until("LogonNotify")
        assert client.names[-1] == "LogonNotify"
"""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Protocol, cast

import attrs
import numpy as np
import trio
import trio.testing

from rdpprov.api.connection import ProtocolConnection, ProtocolConnection2, ProtocolConnectionCallback
from rdpprov.api.devices import (
    Channel,
    InputDevices,
    InputEvent,
    InputSink,
    Pixels,
    Rectangle,
    Screen,
    TaskStatus,
    VideoDevice,
)
from rdpprov.api.enums import ListenerSettingLevel, LogonErrorRedirectorResponse
from rdpprov.api.fast_reconnect import EnhancedFastReconnectArbitrator
from rdpprov.api.identity import AuthenticatedUser, LogonError, NtStatus, ReconnectClaim, UserToken
from rdpprov.api.license_connection import LicenseConnection
from rdpprov.api.listener import ProtocolListener, ProtocolListenerCallback
from rdpprov.api.logon_error_redirector import LogonErrorRedirector
from rdpprov.api.manager import ProtocolManager
from rdpprov.api.properties import PROPERTIES
from rdpprov.api.settings import ProtocolSettings
from rdpprov.api.structures import (
    ClientData,
    ConnectionSettings,
    LicenseCapabilities,
    ListenerSettings,
    PropertyValue,
    ProtocolStatus,
    SerializedUserCredential,
    ServiceState,
    SessionId,
    Settings,
    UserCredential,
)
from rdpprov.errors import NotImplementedByProvider
from rdpprov.rcm.configuration import Limits, ListenerConfiguration, ServiceConfiguration, SessionsPolicy
from rdpprov.rcm.service import ReadyListener, RemoteConnectionManager
from rdpprov.sessions.base import Desktop, DesktopMessage, DesktopRequest, LogonDesktop, LogonRequest
from rdpprov.traces.format import Trace, TraceHeader
from rdpprov.traces.recorder import MemoryRecorder, TraceRecorder

PROTOCOL = "rdpprov.testing.scripted:ScriptedManager"
"""For a listener's configuration."""

_PROVIDER: ContextVar["ScriptedProvider"] = ContextVar("rdpprov_scripted_provider")


@attrs.frozen
class Asked:
    """One call of the service."""

    name: str
    """In the API's own spelling."""
    args: tuple[object, ...]
    at: float
    """On trio's clock."""


@attrs.frozen
class Fails:
    """As an answer: raise this."""

    error: Exception


@attrs.frozen
class Takes:
    """As an answer: wait, then give this one; None: what is answered anyway."""

    seconds: float
    answer: object = None


class Hangs:
    """As an answer: none, ever."""


HANGS = Hangs()
NOT_IMPLEMENTED = Fails(NotImplementedByProvider("scripted"))


class Script(Protocol):
    """What answers a call."""

    async def answer(self, asked: Asked) -> object:
        """The answer to one call."""


class Answers:
    """A script that is a table: by call, what to answer. What is not in it is answered as the API does by itself.

    An answer may be a value, `Fails`, `Takes`, `HANGS`, or a function of the arguments, plain or async.
    """

    def __init__(self, answers: Mapping[str, object]) -> None:
        self._answers = answers

    async def answer(self, asked: Asked) -> object:
        """The answer to one call."""
        usual = DEFAULT_ANSWERS.get(asked.name)
        answer = self._answers.get(asked.name, usual)
        if isinstance(answer, Takes):
            await trio.sleep(answer.seconds)
            answer = usual if answer.answer is None else answer.answer
        return await give(answer, asked.args)


async def give(answer: object, args: tuple[object, ...]) -> object:
    """What a scripted answer amounts to."""
    if isinstance(answer, Fails):
        raise answer.error
    if isinstance(answer, Hangs):
        await trio.sleep_forever()
    if isinstance(answer, Takes):
        await trio.sleep(answer.seconds)
        answer = answer.answer
    if callable(answer):
        given = answer(*args)
        return await given if isinstance(given, Awaitable) else given
    return answer


DEFAULT_ANSWERS: Mapping[str, object] = {
    "GetLogonErrorRedirector": NOT_IMPLEMENTED,
    "GetClientData": ClientData(
        client_name="scripted", h_res=640, v_res=480, color_depth=32, client_address="192.0.2.1"
    ),
    "GetClientMonitorData": (1, 0),
    "GetUserCredentials": NOT_IMPLEMENTED,
    "AuthenticateClientToSession": NOT_IMPLEMENTED,
    "SessionArbitrationEnumeration": NOT_IMPLEMENTED,
    "RequestLicensingCapabilities": LicenseCapabilities(),
    "RequestClientLicense": b"client's packet",
    "GetSettings": ListenerSettings(),
    "RedirectStatus": LogonErrorRedirectorResponse.NOT_HANDLED,
    "RedirectMessage": LogonErrorRedirectorResponse.NOT_HANDLED,
    "RedirectLogonError": LogonErrorRedirectorResponse.NOT_HANDLED,
}
"""A client that has nothing special about it, and no credentials."""


class _Noting:
    """Something of the provider that the service calls."""

    def __init__(self, script: Script, calls: list[Asked], noted: Callable[[], None]) -> None:
        self.script = script
        self.calls = calls
        self._noted = noted

    async def _asked(self, name: str, *args: object) -> Any:
        asked = Asked(name, args, trio.current_time())
        self.calls.append(asked)
        self._noted()
        return await self.script.answer(asked)


class ScriptedVideo(VideoDevice):
    """A display without a picture. ``fails`` names the method that raises."""

    def __init__(self) -> None:
        self.screen: Screen | None = None
        self.former: list[Screen] = []
        self.damages = 0
        self.fails = ""

    def plug(self, screen: Screen) -> None:
        self._fail("plug")
        self.screen = screen

    def unplug(self) -> None:
        self._fail("unplug")
        if self.screen is not None:
            self.former.append(self.screen)
        self.screen = None

    def damaged(self) -> None:
        self._fail("damaged")
        self.damages += 1

    def _fail(self, method: str) -> None:
        if self.fails == method:
            raise ZeroDivisionError(method)


class ScriptedInput(InputDevices):
    """Keyboard and mouse that a test presses. What is in `held` goes down as soon as a desktop is plugged in."""

    def __init__(self) -> None:
        self.held: list[InputEvent] = []
        self.sink: InputSink | None = None
        self.former: list[InputSink] = []

    def plug(self, sink: InputSink) -> None:
        self.sink = sink
        self.send(*self.held)

    def unplug(self) -> None:
        if self.sink is not None:
            self.former.append(self.sink)
        self.sink = None

    def send(self, *events: InputEvent) -> None:
        """As the client would; lost if nothing is plugged in."""
        for event in events:
            if self.sink is not None:
                self.sink.input_event(event)


class ScriptedRedirector(_Noting, LogonErrorRedirector):
    """Notes what it is told."""

    async def on_begin_painting(self) -> None:
        await self._asked("OnBeginPainting")

    async def redirect_status(self, message: str) -> LogonErrorRedirectorResponse:
        return cast(LogonErrorRedirectorResponse, await self._asked("RedirectStatus", message))

    async def redirect_message(self, caption: str, message: str, message_type: int) -> LogonErrorRedirectorResponse:
        return cast(LogonErrorRedirectorResponse, await self._asked("RedirectMessage", caption, message, message_type))

    async def redirect_logon_error(
        self, status: int, substatus: int, caption: str, message: str, message_type: int
    ) -> LogonErrorRedirectorResponse:
        return cast(
            LogonErrorRedirectorResponse,
            await self._asked("RedirectLogonError", status, substatus, caption, message, message_type),
        )


class ScriptedLicenseConnection(_Noting, LicenseConnection):
    """Notes what it is told."""

    async def request_licensing_capabilities(self) -> LicenseCapabilities:
        return cast(LicenseCapabilities, await self._asked("RequestLicensingCapabilities"))

    async def send_client_license(self, packet: bytes) -> None:
        await self._asked("SendClientLicense", packet)

    async def request_client_license(self, reserve: bytes = b"") -> bytes:
        return cast(bytes, await self._asked("RequestClientLicense", reserve))

    async def protocol_complete(self, complete: int) -> None:
        await self._asked("ProtocolComplete", complete)


class ScriptedConnection(_Noting, ProtocolConnection):
    """One client. What it was asked stands in `calls`, who it can talk to is `callback`."""

    callback: ProtocolConnectionCallback

    def __init__(self, script: Script, settings: ConnectionSettings) -> None:
        self._changed = trio.Event()
        super().__init__(script, [], self._note)
        self.settings = settings
        self.video = ScriptedVideo()
        self.inputs = ScriptedInput()
        self.redirector = ScriptedRedirector(script, self.calls, self._note)
        self.license = ScriptedLicenseConnection(script, self.calls, self._note)
        self.closed = trio.Event()
        """Close is over, or the client was refused."""

    def _note(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    @property
    def names(self) -> list[str]:
        """What the service has called so far."""
        return [asked.name for asked in self.calls]

    def args_of(self, name: str) -> tuple[object, ...]:
        """The arguments of the last call of that name."""
        return next(asked.args for asked in reversed(self.calls) if asked.name == name)

    async def until(self, name: str, times: int = 1) -> None:
        """Wait until the service has made a call so often, and then until nothing more happens."""
        while self.names.count(name) < times:
            await self._changed.wait()
        await trio.testing.wait_all_tasks_blocked()

    def goes(self) -> None:
        """The client is gone."""
        self.callback.broken_connection()

    async def get_logon_error_redirector(self) -> LogonErrorRedirector:
        return cast(LogonErrorRedirector, await self._asked("GetLogonErrorRedirector") or self.redirector)

    async def accept_connection(self) -> None:
        await self._asked("AcceptConnection")

    async def get_client_data(self) -> ClientData:
        return cast(ClientData, await self._asked("GetClientData"))

    async def get_client_monitor_data(self) -> tuple[int, int]:
        return cast("tuple[int, int]", await self._asked("GetClientMonitorData"))

    async def get_user_credentials(self) -> UserCredential:
        return cast(UserCredential, await self._asked("GetUserCredentials"))

    async def get_license_connection(self) -> LicenseConnection:
        return cast(LicenseConnection, await self._asked("GetLicenseConnection") or self.license)

    async def authenticate_client_to_session(self) -> ReconnectClaim:
        return cast(ReconnectClaim, await self._asked("AuthenticateClientToSession"))

    async def notify_session_id(self, session_id: SessionId, session_handle: int) -> None:
        await self._asked("NotifySessionId", session_id, session_handle)

    async def get_input_handles(self) -> InputDevices:
        return cast(InputDevices, await self._asked("GetInputHandles") or self.inputs)

    async def get_video_handle(self) -> VideoDevice:
        return cast(VideoDevice, await self._asked("GetVideoHandle") or self.video)

    async def connect_notify(self, session_id: int) -> None:
        await self._asked("ConnectNotify", session_id)

    async def notify_command_process_created(self, session_id: int) -> None:
        await self._asked("NotifyCommandProcessCreated", session_id)

    async def is_user_allowed_to_logon(
        self, session_id: int, user: UserToken, domain_name: str, user_name: str
    ) -> None:
        await self._asked("IsUserAllowedToLogon", session_id, user, domain_name, user_name)

    async def session_arbitration_enumeration(
        self, user: UserToken, single_session_per_user_enabled: bool
    ) -> Sequence[int]:
        answer = await self._asked("SessionArbitrationEnumeration", user, single_session_per_user_enabled)
        return cast("Sequence[int]", answer)

    async def logon_notify(
        self, user: UserToken, user_name: str, domain_name: str, session_id: SessionId, settings: ConnectionSettings
    ) -> ConnectionSettings:
        answer = await self._asked("LogonNotify", user, user_name, domain_name, session_id, settings)
        return settings if answer is None else cast(ConnectionSettings, answer)

    async def pre_disconnect(self, reason: int) -> None:
        await self._asked("PreDisconnect", reason)

    async def disconnect_notify(self) -> None:
        await self._asked("DisconnectNotify")

    async def set_error_info(self, error: int) -> None:
        await self._asked("SetErrorInfo", error)

    async def close(self) -> None:
        try:
            await self._asked("Close")
        finally:
            self.closed.set()


class QueriedConnection(ScriptedConnection, ProtocolConnection2, EnhancedFastReconnectArbitrator):
    """A client whose provider implements what others leave out: queries, serialized credentials, fast reconnect.

    A script answers a property by its name; what it has no answer for is E_NOTIMPL.
    """

    async def query_property(
        self, query_type: uuid.UUID, entries_in: Sequence[PropertyValue] = ()
    ) -> Sequence[PropertyValue]:
        name = PROPERTIES[query_type].name if query_type in PROPERTIES else "QueryProperty"
        return cast("Sequence[PropertyValue]", await self._asked_in_vain(name, *entries_in))

    async def get_protocol_status(self) -> ProtocolStatus:
        return cast(ProtocolStatus, await self._asked_in_vain("GetProtocolStatus"))

    async def get_last_input_time(self) -> int:
        return cast(int, await self._asked_in_vain("GetLastInputTime"))

    async def create_virtual_channel(self, endpoint_name: str, static: bool, requested_priority: int) -> Channel:
        return cast(
            Channel, await self._asked_in_vain("CreateVirtualChannel", endpoint_name, static, requested_priority)
        )

    async def get_serialized_user_credential(self) -> SerializedUserCredential:
        return cast(SerializedUserCredential, await self._asked_in_vain("GetSerializedUserCredential"))

    async def get_session_for_enhanced_fast_reconnect(self, session_id_array: Sequence[int]) -> int | None:
        return cast("int | None", await self._asked_in_vain("GetSessionForEnhancedFastReconnect", session_id_array))

    async def _asked_in_vain(self, name: str, *args: object) -> Any:
        answer = await self._asked(name, *args)
        if answer is None:
            raise NotImplementedByProvider(name)
        return answer


class ScriptedListener(_Noting, ProtocolListener):
    """Clients arrive when the test says so."""

    bound_addresses = (("127.0.0.1", 3389),)

    def __init__(self, provider: "ScriptedProvider", name: str) -> None:
        super().__init__(provider.script, provider.calls, lambda: None)
        self.name = name
        self.scope = trio.CancelScope()
        self.crashes: Exception | None = None
        self._arriving, self._arrived = trio.open_memory_channel[ScriptedConnection](0)
        self._callback: ProtocolListenerCallback | None = None

    async def get_settings(self, level: ListenerSettingLevel = ListenerSettingLevel.LEVEL_1) -> ListenerSettings:
        return cast(ListenerSettings, await self._asked("GetSettings", level))

    async def start_listen(self, callback: ProtocolListenerCallback, *, task_status: TaskStatus) -> None:
        await self._asked("StartListen")
        self._callback = callback
        task_status.started()
        with self.scope:
            async with trio.open_nursery() as connections, self._arrived:
                async for connection in self._arrived:
                    connections.start_soon(self._run, connection)
        if self.crashes is not None:
            raise self.crashes

    async def stop_listen(self) -> None:
        await self._asked("StopListen")
        self._arriving.close()

    async def arrive(self, connection: ScriptedConnection) -> None:
        """A client is there: OnConnected, and OnReady if its script has nothing against it.

        Raises:
            HResultError: the service refuses it.
        """
        assert self._callback is not None
        try:
            connection.callback = await self._callback.on_connected(connection, connection.settings)
        except BaseException:
            connection.closed.set()
            raise
        await self._arriving.send(connection)

    async def _run(self, connection: ScriptedConnection) -> None:
        """The connection's own task, as a provider has one for its wire."""
        await connection.closed.wait()

    def crash(self, error: Exception) -> None:
        """The listener's task raises."""
        self.crashes = error
        self.scope.cancel()


class ScriptedManager(ProtocolManager):
    """What the service creates: it finds its `ScriptedProvider` by itself."""

    def __init__(self) -> None:
        self.provider = _PROVIDER.get()
        self.provider.managers.append(self)

    async def _asked(self, name: str, *args: object) -> Any:
        asked = Asked(name, args, trio.current_time())
        self.provider.calls.append(asked)
        return await self.provider.script.answer(asked)

    async def initialize(self, settings: ProtocolSettings, policy: Settings) -> None:
        self.settings = settings
        await self._asked("Initialize", settings, policy)

    async def create_listener(self, listener_name: str) -> ProtocolListener:
        listener = await self._asked("CreateListener", listener_name)
        if listener is None:
            listener = self.provider.listeners[listener_name] = ScriptedListener(self.provider, listener_name)
        return cast(ProtocolListener, listener)

    async def notify_service_state_change(self, change: ServiceState) -> None:
        await self._asked("NotifyServiceStateChange", change)

    async def notify_settings_change(self, settings: Settings) -> None:
        await self._asked("NotifySettingsChange", settings)

    async def notify_session_of_service_start(self, session_id: SessionId) -> None:
        await self._asked("NotifySessionOfServiceStart", session_id)

    async def notify_session_of_service_stop(self, session_id: SessionId) -> None:
        await self._asked("NotifySessionOfServiceStop", session_id)

    async def notify_session_state_change(self, session_id: SessionId, event_id: int) -> None:
        await self._asked("NotifySessionStateChange", session_id, event_id)

    async def uninitialize(self) -> None:
        await self._asked("Uninitialize")


class ScriptedScreen(Screen):
    """One reader of a `ScriptedDesktop`: white."""

    def __init__(self, desktop: "ScriptedDesktop | ScriptedLogonDesktop", on_damage: Callable[[], None]) -> None:
        self.desktop = desktop
        self.on_damage = on_damage
        self.damage = [Rectangle(0, 0, desktop.width, desktop.height)]
        self.is_closed = False

    @property
    def width(self) -> int:
        return self.desktop.width

    @property
    def height(self) -> int:
        return self.desktop.height

    def take_damage(self) -> Sequence[Rectangle]:
        damage, self.damage = self.damage, []
        return damage

    def grab(self, rectangle: Rectangle, out: Pixels | None = None) -> Pixels:
        if out is None:
            out = np.empty((rectangle.height, rectangle.width, 4), np.uint8)
        out[...] = 255
        return out

    def take_pointer(self) -> None:
        return None

    def take_pointer_position(self) -> tuple[int, int] | None:
        return (1, 2)

    def close(self) -> None:
        self.is_closed = True


class ScriptedDesktop(Desktop):
    """A session's desktop that notes what comes in, and ends when the test says so."""

    def __init__(self, provider: "ScriptedProvider", request: DesktopRequest) -> None:
        self.request = request
        self.events: list[InputEvent] = []
        self.messages: list[DesktopMessage] = []
        self.screens: list[ScriptedScreen] = []
        self.resized: list[tuple[int, int]] = []
        self.is_closed = False
        self._size = (request.width, request.height)
        self._provider = provider
        self._over = trio.Event()
        self._error: Exception | None = None

    @property
    def width(self) -> int:
        return self._size[0]

    @property
    def height(self) -> int:
        return self._size[1]

    def open_screen(self, on_damage: Callable[[], None]) -> Screen:
        self.screens.append(ScriptedScreen(self, on_damage))
        return self.screens[-1]

    async def resize(self, width: int, height: int) -> None:
        await give(self._provider.desktop_answers.get("resize"), (width, height))
        self.resized.append((width, height))
        self._size = (width, height)

    def input_event(self, event: InputEvent) -> None:
        if isinstance(failure := self._provider.desktop_answers.get("input_event"), Fails):
            raise failure.error
        self.events.append(event)

    def tell(self, message: DesktopMessage) -> None:
        self.messages.append(message)

    async def run(self, *, task_status: TaskStatus) -> None:
        await give(self._provider.desktop_answers.get("run"), ())
        task_status.started()
        await self._over.wait()
        if self._error is not None:
            raise self._error

    async def aclose(self) -> None:
        self.is_closed = True
        await give(self._provider.desktop_answers.get("aclose"), ())

    def damage(self) -> None:
        """Something is drawn."""
        for screen in self.screens:
            if not screen.is_closed:
                screen.damage.append(Rectangle(0, 0, 1, 1))
                screen.on_damage()

    def log_off(self) -> None:
        """The user logs off."""
        self._over.set()

    def die(self, error: Exception) -> None:
        """The desktop's task raises."""
        self._error = error
        self._over.set()


class ScriptedLogonDesktop(LogonDesktop):
    """A logon desktop at which a test types."""

    def __init__(self, provider: "ScriptedProvider", request: LogonRequest) -> None:
        self.request = request
        self.messages: list[str] = []
        """What `show_message` showed."""
        self.told: list[DesktopMessage] = []
        self.events: list[InputEvent] = []
        self.asked = 0
        self.is_closed = False
        self.is_revealed = False
        self._provider = provider
        self._type, self._typed = trio.open_memory_channel[UserCredential](10)

    @property
    def width(self) -> int:
        return self.request.width

    @property
    def height(self) -> int:
        return self.request.height

    def open_screen(self, on_damage: Callable[[], None]) -> Screen:
        return ScriptedScreen(self, on_damage)

    async def resize(self, width: int, height: int) -> None:
        self.request = attrs.evolve(self.request, width=width, height=height)

    def input_event(self, event: InputEvent) -> None:
        self.events.append(event)

    def tell(self, message: DesktopMessage) -> None:
        if isinstance(failure := self._provider.desktop_answers.get("tell logon"), Fails):
            raise failure.error
        self.told.append(message)

    def reveal(self) -> None:
        self.is_revealed = True

    def show_message(self, text: str) -> None:
        self.messages.append(text)

    async def ask(self) -> UserCredential:
        self.asked += 1
        self.reveal()
        await give(self._provider.desktop_answers.get("ask"), ())
        return await self._typed.receive()

    async def run(self, *, task_status: TaskStatus) -> None:
        await give(self._provider.desktop_answers.get("run logon"), ())
        await super().run(task_status=task_status)
        await give(self._provider.desktop_answers.get("run logon on"), ())

    async def aclose(self) -> None:
        self.is_closed = True

    def type(self, user_name: str, password: str) -> None:
        """The user types, and presses Enter."""
        self._type.send_nowait(UserCredential(user_name, password))


class ScriptedAuthenticator:
    """Knows the users that it is given, and notes who asked."""

    def __init__(self, users: Mapping[str, str]) -> None:
        self.users = dict(users)
        self.attempts: list[tuple[str, str, str]] = []
        """User, address, how."""
        self.answers: dict[str, object] = {}
        self._verdicts: list[AuthenticatedUser] = []

    async def authenticate(self, credential: UserCredential, *, client_address: str, how: str) -> AuthenticatedUser:
        self.attempts.append((credential.user_name, client_address, how))
        await give(self.answers.get("authenticate"), ())
        if self.users.get(credential.user_name) != credential.password:
            raise LogonError("unknown user, or wrong password")
        return self.vouch(credential.user_name, how)

    def vouch(self, name: str, how: str = "wire") -> AuthenticatedUser:
        """A verdict of its own, as a provider would have got it."""
        self._verdicts.append(AuthenticatedUser(UserToken(name, how=how)))
        return self._verdicts[-1]

    def vouches_for(self, user: AuthenticatedUser) -> bool:
        return any(verdict is user for verdict in self._verdicts)

    async def check_account(self, token: UserToken) -> None:
        await give(self.answers.get("check_account"), (token,))
        if token.name not in self.users:
            raise LogonError(f"the account {token.name} is gone", NtStatus.STATUS_ACCOUNT_DISABLED)


class MemoryTraces:
    """Traces that a test can look at."""

    def __init__(self) -> None:
        self.service: MemoryRecorder | None = None
        self.connections: dict[int, MemoryRecorder] = {}

    def service_recorder(self) -> TraceRecorder:
        """The service's own."""
        self.service = MemoryRecorder(TraceHeader("service"), trio.current_time)
        return self.service

    def connection_recorder(self, protocol: str, listener: str, connection_id: int) -> TraceRecorder:
        """One connection's."""
        header = TraceHeader("connection", protocol=protocol, listener=listener)
        self.connections[connection_id] = MemoryRecorder(header, trio.current_time)
        return self.connections[connection_id]

    def all(self) -> list[Trace]:
        """Of all connections and of the service."""
        recorders = [*self.connections.values(), *([self.service] if self.service else [])]
        return [recorder.trace() for recorder in recorders]


class ScriptedProvider:
    """Everything around one service under test.

    Args:
        answers: of managers and listeners; of connections, where `connect` says nothing else.
        users: who may log on, with their passwords.
        limits: default: those of design and documentation.
        sessions: likewise.
    """

    def __init__(
        self,
        answers: Mapping[str, object] | None = None,
        *,
        users: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        sessions: SessionsPolicy | None = None,
        **configuration: Any,
    ) -> None:
        self.answers = dict(answers or {})
        self.held: list[InputEvent] = []
        """For `ScriptedInput.held` of every client."""
        self.script: Script = Answers(self.answers)
        self.calls: list[Asked] = []
        self.managers: list[ScriptedManager] = []
        self.listeners: dict[str, ScriptedListener] = {}
        self.desktops: list[ScriptedDesktop] = []
        self.logon_desktops: list[ScriptedLogonDesktop] = []
        self._logon_desktop_made = trio.Event()
        self.desktop_answers: dict[str, object] = {}
        """By method of a desktop (``resize``, ``run``, ...): what it does instead of nothing."""
        self.authenticator = ScriptedAuthenticator(users if users is not None else {"ann": "right", "bob": "right"})
        self.traces = MemoryTraces()
        self.ready: list[ReadyListener] = []
        self._license_issuer = configuration.pop("license_issuer", None)
        self.configuration = ServiceConfiguration(
            listeners=configuration.pop("listeners", [ListenerConfiguration("scripted", PROTOCOL)]),
            limits=limits or Limits(),
            sessions=sessions or SessionsPolicy(),
            **configuration,
        )

    @property
    def names(self) -> list[str]:
        """What the service has called of managers and listeners."""
        return [asked.name for asked in self.calls]

    def make_service(self) -> RemoteConnectionManager:
        """A service over this provider, not started yet. To be called inside trio."""
        _PROVIDER.set(self)
        return RemoteConnectionManager(
            self.configuration,
            authenticator=self.authenticator,
            desktop_factory=self.make_desktop,
            logon_desktop_factory=self.make_logon_desktop,
            traces=self.traces,
            license_issuer=self._license_issuer,
        )

    @asynccontextmanager
    async def service(self) -> AsyncIterator[RemoteConnectionManager]:
        """A running service; it is stopped at the end."""
        service = self.make_service()
        async with trio.open_nursery() as nursery:
            self.ready = await nursery.start(service.serve)
            try:
                yield service
            finally:
                service.request_stop()

    async def connect(
        self,
        *,
        answers: Mapping[str, object] | None = None,
        script: Script | None = None,
        connection_class: type[ScriptedConnection] = ScriptedConnection,
        listener: str = "scripted",
        settings: ConnectionSettings | None = None,
        ready: bool = True,
    ) -> ScriptedConnection:
        """A client arrives.

        Args:
            answers: of this connection, beside the provider's.
            script: instead of answers.
            connection_class: a connection that implements more than others.
            listener: where it arrives.
            settings: of OnConnected.
            ready: call OnReady at once.

        Raises:
            HResultError: the service refuses it.
        """
        connection = connection_class(
            script or Answers({**self.answers, **(answers or {})}), settings or ConnectionSettings()
        )
        connection.inputs.held = self.held
        await self.listeners[listener].arrive(connection)
        if ready:
            connection.callback.on_ready()
        return connection

    async def log_on(self, user: str = "ann", **more: Any) -> ScriptedConnection:
        """A client arrives with good credentials; waits until the user is logged on."""
        answers = {
            "GetUserCredentials": UserCredential(user, self.authenticator.users[user]),
            **more.pop("answers", {}),
        }
        connection = await self.connect(answers=answers, **more)
        await connection.until("LogonNotify")
        return connection

    def make_desktop(self, request: DesktopRequest) -> ScriptedDesktop:
        """The desktop factory."""
        if isinstance(failure := self.desktop_answers.get("make"), Fails):
            raise failure.error
        self.desktops.append(ScriptedDesktop(self, request))
        return self.desktops[-1]

    def make_logon_desktop(self, request: LogonRequest) -> ScriptedLogonDesktop:
        """The logon desktop factory."""
        if isinstance(failure := self.desktop_answers.get("make logon"), Fails):
            raise failure.error
        self.logon_desktops.append(ScriptedLogonDesktop(self, request))
        self._logon_desktop_made.set()
        self._logon_desktop_made = trio.Event()
        return self.logon_desktops[-1]

    async def logon_desktop(self) -> ScriptedLogonDesktop:
        """Wait until somebody is asked on a logon desktop, and return the last that was made."""
        while not self.logon_desktops or self.logon_desktops[-1].is_closed:
            await self._logon_desktop_made.wait()
        await trio.testing.wait_all_tasks_blocked()
        return self.logon_desktops[-1]
