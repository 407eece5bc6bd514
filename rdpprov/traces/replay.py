"""Playing a trace again, each side of it against something real, and telling the differences as a dialogue.

`replay_service`
    is the service of a trace: it makes the recorded calls on a provider's connection and compares the answers.
    `ReplayService` does so from the manager on, and with a client that sends the recorded bytes.

`TraceManager`
    is the provider of a trace: the service's calls get the recorded answers, the recorded callbacks come at their
    places, and whatever the service does differently is noted. Its protocol name is
    ``rdpprov.traces.replay:TraceManager``, its listener's option ``trace`` names the file.

`replay_machine`
    feeds the recorded bytes of the client to a sans-IO machine and compares what it sends.

Some values cannot be the same twice, and none of them means a difference: the GUID of a connection, session numbers
(they only have to be told apart the same way), the client's port. Secrets are not in a trace; where a structure needs
one again, it is taken from `secrets`, by the field's name.
"""

import enum
import functools
import inspect
import re
import types
import typing
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import attrs
import trio

from rdpprov.api.connection import ProtocolConnection, ProtocolConnectionCallback
from rdpprov.api.devices import InputDevices, InputSink, Screen, TaskStatus, VideoDevice
from rdpprov.api.enums import ConnectionSettingLevel, SettingLevel, SettingType
from rdpprov.api.identity import (
    AuthenticatedUser,
    Authenticator,
    ReconnectSecret,
    UserToken,
)
from rdpprov.api.license_connection import LicenseConnection
from rdpprov.api.listener import ProtocolListener, ProtocolListenerCallback
from rdpprov.api.logon_error_redirector import LogonErrorRedirector
from rdpprov.api.manager import ProtocolManager
from rdpprov.api.settings import ProtocolSettings
from rdpprov.api.structures import ConnectionSettings, Settings, SmallRect, UserCredential
from rdpprov.errors import E_ABORT, E_NOTIMPL, E_UNEXPECTED, HResultError, NotImplementedByProvider, RdpProvError
from rdpprov.traces.checker import started_inside
from rdpprov.traces.format import (
    REDACTED,
    CallError,
    CallLine,
    Json,
    Outcome,
    Trace,
    is_secret,
    read_trace,
    to_json,
)
from rdpprov.traces.recorder import E_TIMEOUT, error_of
from rdpprov.traces.sequences import load_sequences
from rdpprov.traces.show import printable, short

Secrets = Mapping[str, object]

IGNORED: Final = frozenset({"session_unique_guid", "port", "event_log_activity_id"})
"""Fields that are never the same twice."""

SESSION_NUMBERS: Final = frozenset({"session_id", "session_handle"})
"""Fields that hold a session's number, which is another one in each run."""

PATIENCE: Final = 5.0
"""Seconds to wait for what the trace says should come."""


class ReplayError(RdpProvError):
    """A trace that cannot be replayed: it is of another kind, or what is needed is not in it."""


# --- What comes out ---------------------------------------------------------------------------------------------------


@attrs.frozen
class Exchange:
    """One line of the dialogue: what the trace says, and what came this time."""

    where: str
    """``7 service -> connection GetClientData``."""

    recorded: str
    now: str

    differs: bool


@attrs.define
class Replay:
    """A dialogue with both sides."""

    exchanges: list[Exchange] = attrs.field(factory=list)

    @property
    def differences(self) -> list[Exchange]:
        """Where this time was not as recorded; nothing, if all was."""
        return [exchange for exchange in self.exchanges if exchange.differs]

    def to_text(self, *, only_differences: bool = False) -> str:
        """For people: each exchange a line; a difference three, with what the trace says and what came instead."""
        lines = []
        for exchange in self.exchanges:
            if exchange.differs:
                lines += [f"! {exchange.where}", f"    recorded: {exchange.recorded}", f"    now:      {exchange.now}"]
            elif not only_differences:
                lines.append(f"  {exchange.where}  {exchange.recorded}".rstrip())
        return "".join(f"{printable(line)}\n" for line in lines)

    def add(self, where: str, recorded: str, now: str, *, differs: bool | None = None) -> None:
        """Note one exchange; by default it differs if the texts do."""
        self.exchanges.append(Exchange(where, recorded, now, recorded != now if differs is None else differs))


NOTHING: Final = "nothing"


# --- Values -----------------------------------------------------------------------------------------------------------


Difference = tuple[str, Json, Json]
"""Where, in a value; what was recorded; what came now. `ABSENT` on a side that has nothing there."""

ABSENT: Final = "(its default)"


class _Comparison:
    """Where two JSON values differ; remembers which session number of now is which of then."""

    def __init__(self) -> None:
        self._sessions: dict[object, object] = {}

    def differences(self, recorded: Json, now: Json, path: str = "") -> list[Difference]:
        """All places where the two do not mean the same."""
        name = path.rpartition(".")[2]
        if name in IGNORED:
            return []
        if isinstance(recorded, dict) and isinstance(now, dict):
            return [
                difference
                for key in [*recorded, *(key for key in now if key not in recorded)]
                for difference in self.differences(
                    recorded.get(key, ABSENT), now.get(key, ABSENT), f"{path}.{key}" if path else key
                )
            ]
        if isinstance(recorded, list) and isinstance(now, list) and len(recorded) == len(now):
            return [
                difference
                for position, pair in enumerate(zip(recorded, now, strict=True))
                for difference in self.differences(*pair, f"{path}[{position}]")
            ]
        if name in SESSION_NUMBERS and isinstance(recorded, int) and isinstance(now, int):
            return [] if self._sessions.setdefault(recorded, now) == now else [(path, recorded, now)]
        if _is_object(recorded) and _is_object(now):
            return []  # their classes are nobody's business: one of the two may be ours, standing in
        return [] if recorded == now else [(path, recorded, now)]


def _both_sides(differences: Sequence[Difference]) -> tuple[str, str]:
    """What is different, on each side: ``h_res=800, v_res=600``."""
    texts = []
    for side in (1, 2):
        values = (f"{entry[0]}={short(entry[side])}" if entry[0] else short(entry[side]) for entry in differences)
        texts.append(", ".join(values))
    return texts[0], texts[1]


def _is_object(value: Json) -> bool:
    return isinstance(value, str) and value.startswith("<") and value.endswith(">") and value != REDACTED


def from_json(value: Json, hint: Any, secrets: Secrets | None = None, name: str = "") -> Any:
    """The value that a trace tells of, as far as it does: the reverse of `to_json`.

    Args:
        value: from a trace.
        hint: the type that the API annotates.
        secrets: what to put where a trace has `REDACTED`, by field name; without it a stand-in of the same type.
        name: of the argument or field.

    Raises:
        ReplayError: the trace's value does not fit the type.
    """
    try:
        return _from_json(value, hint, secrets or {}, name)
    except (ValueError, TypeError, KeyError) as error:
        raise ReplayError(f"{name or 'value'}: {short(value)} does not fit {hint}: {error}") from error


def _from_json(value: Json, hint: Any, secrets: Secrets, name: str) -> Any:
    origin = typing.get_origin(hint)
    if value == REDACTED:
        return secrets[name] if name in secrets else _stand_in(hint)
    if origin in (typing.Union, types.UnionType):
        return _from_union(value, typing.get_args(hint), secrets, name)
    if value is None or hint is Any or _is_object(value):
        return value
    if isinstance(hint, type) and attrs.has(hint):
        return _structure(value, hint, secrets)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint[value] if isinstance(value, str) else hint(value)
    if hint is uuid.UUID:
        return uuid.UUID(value)
    if hint is bytes:
        return bytes.fromhex(value["hex"]) if "hex" in value else bytes(value["bytes"])
    if origin is not None and isinstance(value, list):
        items = typing.get_args(hint)
        each = [item for item in items if item is not Ellipsis] or [Any]
        hints = each if origin is tuple and len(each) == len(value) else each[:1] * len(value)
        values = [_from_json(item, kind, secrets, name) for item, kind in zip(value, hints, strict=True)]
        return origin(values) if isinstance(origin, type) and issubclass(origin, (tuple, frozenset, set)) else values
    if isinstance(hint, type) and issubclass(hint, (bool, int, float, str)) and not isinstance(value, (dict, list)):
        return value
    raise ValueError(f"cannot make a {hint}")


def _from_union(value: Json, hints: Sequence[Any], secrets: Secrets, name: str) -> Any:
    if value is None:
        return None
    problems = []
    for hint in hints:
        if hint is type(None) or (hint in (int, str) and type(value) is not hint):
            continue
        try:
            return _from_json(value, hint, secrets, name)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            problems.append(str(error))
    raise ValueError("; ".join(problems) or "no type of the union")


def _structure(value: Json, hint: type, secrets: Secrets) -> Any:
    if not isinstance(value, dict):
        raise ValueError("expected a table")
    hints = typing.get_type_hints(hint)
    fields = {field.name: field for field in attrs.fields(hint)}
    values = {}
    for name, item in value.items():
        field = fields.get(name)
        if field is None or not field.init:
            continue  # a field of another version
        if item == REDACTED and is_secret(field) and name not in secrets and field.default is not attrs.NOTHING:
            continue
        values[name] = _from_json(item, hints[name], secrets, name)
    return hint(**values)


def _stand_in(hint: Any) -> Any:
    """For a secret that nobody gave: it fits, and opens nothing."""
    match hint:
        case type() if hint is bytes:
            return bytes(16)
        case type() if hint is uuid.UUID:
            return uuid.UUID(int=0)
        case _:
            return ""


def _method_name(call: str) -> str:
    """The method of the API: "GetClientData" is `get_client_data`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", call).lower()


def _outcome(result: object, error: CallError | None) -> str:
    """An answer in words, comparable."""
    if error is not None:
        return f"failed: {error.exception or f'0x{error.hresult:08X}'}"
    return "returned" if result is None else f"returned {short(result, 0)}"


def _named(args: Mapping[str, Json]) -> str:
    """Arguments in words."""
    return ", ".join(f"{name}={short(value)}" for name, value in args.items())


def _recorded_outcome(call: CallLine) -> str:
    return "did not return" if call.outcome is Outcome.OPEN else _outcome(call.result, call.error)


def _where(call: CallLine) -> str:
    return f"{call.n} {call.source} -> {call.target} {call.call}"


# --- The service of a trace, against a provider -----------------------------------------------------------------------


class ReplayCallback(ProtocolConnectionCallback):
    """The service's half of a connection in a replay: it notes what the provider calls, and answers from the trace."""

    def __init__(self, trace: Trace, secrets: Secrets | None = None) -> None:
        self._trace = trace
        self._secrets = secrets or {}
        self._came: list[str] = []
        self._changed = trio.Event()

    async def came(self, call: str, times: int) -> None:
        """Wait until the provider has called this so many times."""
        while self._came.count(call) < times:
            await self._changed.wait()

    def count(self, call: str) -> int:
        """How often the provider has called this."""
        return self._came.count(call)

    def on_ready(self) -> None:
        """OnReady."""
        self._note("OnReady")

    def broken_connection(self, reason: int = 0, source: int = 0) -> None:
        """BrokenConnection."""
        self._note("BrokenConnection")

    def stop_screen_updates(self) -> None:
        """StopScreenUpdates."""
        self._note("StopScreenUpdates")

    def redraw_window(self, rectangle: SmallRect | None = None) -> None:
        """RedrawWindow."""
        self._note("RedrawWindow")

    def get_connection_id(self) -> int:
        """GetConnectionId: as recorded; 1 if it is not."""
        recorded = self._note("GetConnectionId")
        return recorded.result if recorded is not None and isinstance(recorded.result, int) else 1

    def issue_reconnect_secret(self) -> ReconnectSecret:
        """IssueReconnectSecret: as recorded, with a secret that opens nothing."""
        recorded = self._note("IssueReconnectSecret")
        if recorded is None or recorded.error is not None:
            raise HResultError(
                "not in the trace", recorded.error.hresult if recorded and recorded.error else E_UNEXPECTED
            )
        secret: ReconnectSecret = from_json(recorded.result, ReconnectSecret, self._secrets)
        return secret

    def _note(self, call: str) -> CallLine | None:
        self._came.append(call)
        self._changed.set()
        self._changed = trio.Event()
        recorded = [line for line in self._trace.calls if line.call == call and line.source != "service"]
        return recorded[min(self._came.count(call), len(recorded)) - 1] if recorded else None


DevicesHook = Callable[[InputDevices | None, VideoDevice | None], None]


async def replay_service(
    trace: Trace,
    connection: ProtocolConnection,
    callback: ReplayCallback,
    *,
    secrets: Secrets | None = None,
    patience: float = PATIENCE,
    devices: DevicesHook | None = None,
    progress: Callable[[CallLine], None] | None = None,
) -> Replay:
    """Make the service's calls of a trace on a connection, in their order, and compare what comes back.

    Where the trace has a call of the provider (OnReady, BrokenConnection), it is waited for.

    Args:
        trace: of a connection.
        connection: the provider's object, fresh.
        callback: the one that the provider was given for it.
        secrets: for arguments; see the module's docstring.
        patience: seconds to wait for one answer or one callback.
        devices: told of what GetInputHandles and GetVideoHandle returned, so that something can be plugged in.
        progress: told of each recorded call that has been dealt with.

    Raises:
        ReplayError: the trace is not of a connection.
    """
    return await _ServiceSide(trace, connection, callback, secrets, patience, devices, progress).run()


class _ServiceSide:
    def __init__(
        self,
        trace: Trace,
        connection: ProtocolConnection,
        callback: ReplayCallback,
        secrets: Secrets | None,
        patience: float,
        devices: DevicesHook | None,
        progress: Callable[[CallLine], None] | None,
    ) -> None:
        if trace.header.kind != "connection":
            raise ReplayError("a service trace has no connection to replay")
        self._calls = trace.calls
        self._callback = callback
        self._secrets = secrets or {}
        self._patience = patience
        self._devices = devices
        self._progress = progress
        self._comparison = _Comparison()
        self._objects: dict[str, object] = {"connection": connection}
        self._plugged: dict[str, Any] = {"GetInputHandles": None, "GetVideoHandle": None}
        self.replay = Replay()

    async def run(self) -> Replay:
        awaited: dict[str, int] = {}
        for call in self._calls:
            if call.source == "service":
                await self._make(call)
            elif call.target == "service" and call.call != "OnConnected":
                awaited[call.call] = awaited.get(call.call, 0) + 1
                await self._await(call, awaited[call.call])
            if self._progress is not None:
                self._progress(call)
        extra = self._callback.count("OnReady") - awaited.get("OnReady", 0)
        if extra > 0:
            self.replay.add(
                "connection -> service OnReady", f"{awaited.get('OnReady', 0)} times", f"{extra} times more"
            )
        return self.replay

    async def _await(self, call: CallLine, times: int) -> None:
        with trio.move_on_after(self._patience) as scope:
            await self._callback.came(call.call, times)
        self.replay.add(_where(call), "came", "did not come" if scope.cancelled_caught else "came")

    async def _make(self, call: CallLine) -> None:
        target = self._objects.get(call.target.partition(":")[0])
        method = getattr(target, _method_name(call.call), None)
        if target is None or method is None:
            self.replay.add(_where(call), _recorded_outcome(call), f"there is no {call.target} to call")
            return
        arguments = _arguments(target, call, self._secrets)
        result, error = None, None
        try:
            with trio.fail_after(self._patience):
                result = await method(*arguments)
        except Exception as raised:
            error = error_of(raised)
        self._compare(call, to_json(result), error)
        self._keep(call.call, result)

    def _compare(self, call: CallLine, result: Json, error: CallError | None) -> None:
        recorded, now = _recorded_outcome(call), _outcome(result, error)
        if call.outcome is Outcome.OPEN or (call.error is not None and call.error.hresult == E_ABORT):
            differs = False  # the service gave it up; what it would have been, nobody knows
        elif call.error is not None or error is not None:
            differs = recorded != now
        else:
            differences = self._comparison.differences(call.result, result)
            differs = bool(differences)
            if differs:
                recorded, now = (f"returned {side}" for side in _both_sides(differences))
        self.replay.add(_where(call), recorded, now, differs=differs)

    def _keep(self, call: str, result: object) -> None:
        if call in self._plugged:
            self._plugged[call] = result
            if call == "GetVideoHandle" and self._devices is not None:
                self._devices(self._plugged["GetInputHandles"], self._plugged["GetVideoHandle"])
        elif call == "GetLicenseConnection":
            self._objects["license"] = result
        elif call == "GetLogonErrorRedirector":
            self._objects["redirector"] = result


def _arguments(target: object, call: CallLine, secrets: Secrets) -> list[object]:
    """A call's arguments, in the order of the API's own method: a provider need not repeat its names and types.

    Raises:
        ReplayError: the trace does not have one of them.
    """
    name = _method_name(call.call)
    interface = next(cls for cls in reversed(type(target).__mro__) if name in vars(cls))
    method = getattr(interface, name)
    hints = typing.get_type_hints(method)
    values = []
    for parameter in list(inspect.signature(method).parameters.values())[1:]:
        if parameter.name in call.args:
            values.append(from_json(call.args[parameter.name], hints[parameter.name], secrets, parameter.name))
        elif parameter.default is not parameter.empty:
            values.append(parameter.default)
        else:
            raise ReplayError(f"line {call.line_number}: {call.call} has no argument {parameter.name}")
    return values


class ReplaySettings(ProtocolSettings):
    """The settings object of a replay: no policies, the options that it is given, and everybody may log on."""

    def __init__(self, options: Mapping[str, object] | None = None) -> None:
        self._options = dict(options or {})
        self._authenticator = _EverybodyAuthenticator()

    def get_settings(self, setting_type: SettingType, level: SettingLevel = SettingLevel.LEVEL_1) -> Settings:
        """GetSettings: none."""
        return Settings(setting_type=setting_type)

    def merge_settings(
        self,
        settings: Settings,
        connection_settings: ConnectionSettings,
        level: ConnectionSettingLevel = ConnectionSettingLevel.LEVEL_1,
    ) -> ConnectionSettings:
        """MergeSettings: as they are."""
        return connection_settings

    @property
    def authenticator(self) -> Authenticator:
        """Takes every name and password."""
        return self._authenticator

    def listener_options(self, listener_name: str) -> Mapping[str, object]:
        """The same for every listener."""
        return self._options


class _EverybodyAuthenticator:
    """Whoever comes is who they say: in a replay it is the trace that has decided already."""

    def __init__(self) -> None:
        self._verdicts: list[AuthenticatedUser] = []

    async def authenticate(self, credential: UserCredential, *, client_address: str, how: str) -> AuthenticatedUser:
        verdict = AuthenticatedUser(UserToken(credential.user_name, credential.domain, how=how))
        self._verdicts.append(verdict)
        return verdict

    def vouches_for(self, user: AuthenticatedUser) -> bool:
        return any(user is verdict for verdict in self._verdicts)

    async def check_account(self, token: UserToken) -> None:
        return None


class ReplayService(ProtocolListenerCallback):
    """The service of a trace from the manager on: it starts the provider, lets a client in, and makes the calls.

    Args:
        trace: of a connection.
        manager: the provider's, fresh.
        options: of its listener, as in the configuration.
        secrets: for arguments; see the module's docstring.
        patience: seconds to wait for the client, for one answer, for one callback.
        devices: see `replay_service`.
    """

    def __init__(
        self,
        trace: Trace,
        manager: ProtocolManager,
        options: Mapping[str, object] | None = None,
        *,
        secrets: Secrets | None = None,
        patience: float = PATIENCE,
        devices: DevicesHook | None = None,
    ) -> None:
        if trace.header.kind != "connection":
            raise ReplayError("a service trace has no connection to replay")
        self.trace = trace
        self._manager = manager
        self._settings = ReplaySettings(options)
        self._secrets = secrets
        self._patience = patience
        self._devices = devices
        self._arrived = trio.Event()
        self._connection: ProtocolConnection | None = None
        self._connection_settings = ConnectionSettings()
        self._callback = ReplayCallback(trace, secrets)
        self._done = 0
        self._progressed = trio.Event()

    async def on_connected(
        self, connection: ProtocolConnection, settings: ConnectionSettings
    ) -> ProtocolConnectionCallback:
        """OnConnected: the first client is the one of the trace; there is no other."""
        if self._connection is not None:
            raise HResultError("a replay has one client", E_UNEXPECTED)
        self._connection = connection
        self._connection_settings = settings
        self._arrived.set()
        return self._callback

    async def reached(self, t: float) -> None:
        """Wait until all that the trace has before this time has been played: for a client that acts at its time."""
        position = sum(1 for call in self.trace.calls if call.t < t)
        while self._done < position:
            await self._progressed.wait()

    async def run(self, client: Callable[[Sequence[tuple[str, int]]], Awaitable[None]] | None = None) -> Replay:
        """Play it all: start, client, connection, stop.

        Args:
            client: called with the listener's addresses, in a task of its own; by default one that connects to the
                first of them and sends the recorded bytes (so the protocol has to be a plain TCP one).

        Raises:
            ReplayError: no client has come, or the default one has nothing to send, or nothing that it may send plain.
        """
        if client is None:
            if not any(line.direction == "in" for line in self.trace.wire):
                raise ReplayError("the trace has no bytes that a client sent: it was not recorded with them")
            if any(line.event == "tls" for line in self.trace.events):
                raise ReplayError("the client's bytes were inside TLS: sent as they are recorded, they mean nothing")
            client = self._recorded_client
        replay = None
        await self._manager.initialize(self._settings, Settings(setting_type=SettingType.MACHINE))
        listener = await self._manager.create_listener(self.trace.header.listener or "replay")
        async with trio.open_nursery() as nursery:
            await nursery.start(_listening, listener, self)
            nursery.start_soon(client, list(listener.bound_addresses))
            with trio.move_on_after(self._patience):
                await self._arrived.wait()
            try:
                if self._connection is not None:
                    replay = await self._play(self._connection)
            finally:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + self._patience):
                    await listener.stop_listen()
                    await self._manager.uninitialize()
            nursery.cancel_scope.cancel()
        if replay is None:
            raise ReplayError(f"no client has come within {self._patience:g} s")
        return replay

    async def _play(self, connection: ProtocolConnection) -> Replay:
        first = next((call for call in self.trace.calls if call.call == "OnConnected"), None)
        opening = Replay()
        if first is not None:
            differences = _Comparison().differences(first.args.get("settings", {}), to_json(self._connection_settings))
            opening.add(_where(first), *_both_sides(differences), differs=bool(differences))
        replay = await replay_service(
            self.trace,
            connection,
            self._callback,
            secrets=self._secrets,
            patience=self._patience,
            devices=self._devices,
            progress=self._progress,
        )
        return Replay([*opening.exchanges, *replay.exchanges])

    def _progress(self, call: CallLine) -> None:
        self._done += 1
        self._progressed.set()
        self._progressed = trio.Event()

    async def _recorded_client(self, addresses: Sequence[tuple[str, int]]) -> None:
        """Sends the recorded bytes, each when the trace has got there, and goes when the trace says it has gone."""
        sent = [line for line in self.trace.wire if line.direction == "in"]
        if not addresses:
            return  # a listener that does not say where it listens; `run` tells that nobody has come
        stream = await trio.open_tcp_stream(*addresses[0])
        async with trio.open_nursery() as nursery, stream:
            nursery.start_soon(_read_all, stream)
            try:
                for line in sent:
                    await self.reached(line.t)
                    await stream.send_all(line.data)
                gone = next((call for call in self.trace.calls if call.call == "BrokenConnection"), None)
                if gone is None:
                    await trio.sleep_forever()  # until the provider has closed, and `run` cancels
                await self.reached(gone.t)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # the provider hung up; that it should not have, its answers tell
            nursery.cancel_scope.cancel()


async def _read_all(stream: trio.SocketStream) -> None:
    try:
        async for _ in stream:
            pass
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return


async def _listening(listener: ProtocolListener, callback: ProtocolListenerCallback, *, task_status: Any) -> None:
    await listener.start_listen(callback, task_status=task_status)


# --- The provider of a trace, against a service -----------------------------------------------------------------------


class TraceManager(ProtocolManager):
    """A provider that plays a trace: for a service's tests, served as ``rdpprov.traces.replay:TraceManager``.

    Options of its listener: ``trace``, a path or a `Trace`; ``secrets``, a table of values for fields that the trace
    does not tell; ``report``, called with the `Replay` when the connection is over.
    """

    def __init__(self) -> None:
        self._settings: ProtocolSettings | None = None

    async def initialize(self, settings: ProtocolSettings, policy: Settings) -> None:
        """Initialize: keep the settings object."""
        self._settings = settings

    async def create_listener(self, listener_name: str) -> ProtocolListener:
        """CreateListener: one that has one client, the trace's."""
        options = self._settings.listener_options(listener_name) if self._settings is not None else {}
        trace = options.get("trace")
        if isinstance(trace, str | Path):
            trace = await trio.to_thread.run_sync(read_trace, trace)
        if not isinstance(trace, Trace) or trace.header.kind != "connection":
            raise ReplayError(f"listener {listener_name}: option trace has to name the trace of a connection")
        secrets, report = options.get("secrets", {}), options.get("report")
        return TraceListener(
            trace,
            secrets=secrets if isinstance(secrets, Mapping) else {},
            report=report if callable(report) else None,
        )


class TraceListener(ProtocolListener):
    """Its one client comes as soon as it listens."""

    def __init__(
        self, trace: Trace, *, secrets: Secrets | None = None, report: Callable[[Replay], object] | None = None
    ) -> None:
        self._trace = trace
        self._secrets = secrets or {}
        self._report = report
        self._stopped = trio.Event()
        self.replay: Replay | None = None
        """The dialogue, once the connection is over."""

    async def start_listen(self, callback: ProtocolListenerCallback, *, task_status: TaskStatus) -> None:
        """StartListen: the client is here."""
        task_status.started()
        player = _Player(self._trace, self._secrets)
        first = next((call for call in self._trace.calls if call.call == "OnConnected"), None)
        args = first.args if first is not None else {}
        settings = from_json(args.get("settings", {}), ConnectionSettings, self._secrets, "settings")
        error, accepted = None, None
        try:
            accepted = await callback.on_connected(_PLAYED[ProtocolConnection](player), settings)
        except HResultError as raised:
            error = error_of(raised)
        refused_then = first is not None and first.error is not None
        recorded, now = ("refused" if refused else "accepted" for refused in (refused_then, error is not None))
        player.script.replay.add("listener -> service OnConnected", recorded, now)
        try:
            if accepted is not None:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_call_back, player, self._trace, accepted)
                    await player.closed.wait()
                    nursery.cancel_scope.cancel()
        finally:  # also if the service ends the listener at once: what there is of the dialogue is told
            player.script.finish()
            self.replay = player.script.replay
            if self._report is not None:
                self._report(self.replay)
        await self._stopped.wait()

    async def stop_listen(self) -> None:
        """StopListen."""
        self._stopped.set()


class _Script:
    """The service's calls of a trace, to be made again: the steps in the same order, queries when it likes."""

    def __init__(self, trace: Trace) -> None:
        queries = {entry.call for entry in load_sequences()["connection"].between if entry.by_service}
        self._left = [call for call in trace.calls if call.source == "service"]
        self._steps = [call for call in self._left if call.call not in queries]
        self._queries = queries
        self._comparison = _Comparison()
        self._changed = trio.Event()
        self._started = 0
        self._returned = 0
        self.replay = Replay()

    def made(self, call: str, args: Mapping[str, Json]) -> CallLine | None:
        """The service makes a call: the recorded one that it is, or None."""
        recorded = next((line for line in self._left if line.call == call), None)
        now = f"{call}({_named(args)})"
        if recorded is None:
            if call not in self._queries:
                self.replay.add(f"service -> {call}", NOTHING, now)
            return None
        if call not in self._queries:
            self._skip_until(recorded)
        differences = self._comparison.differences(dict(recorded.args), dict(args))
        if differences:
            texts = [f"{call}({side})" for side in _both_sides(differences)]
            self.replay.add(_where(recorded), *texts, differs=True)
        else:
            self.replay.add(_where(recorded), now, now)
        self._left.remove(recorded)
        self._started = max(self._started, recorded.n)
        self._wake()
        return recorded

    def _skip_until(self, recorded: CallLine) -> None:
        """The steps before this one have been left out, or this one comes too early; from here on it is the next."""
        for line in list(self._left):
            if line is recorded:
                break
            if line.call not in self._queries:
                self.replay.add(_where(line), f"{line.call}({_named(line.args)})", "was not called")
                self._left.remove(line)

    def has_returned(self, recorded: CallLine) -> None:
        """The answer to that call is on its way."""
        self._returned = max(self._returned, recorded.n)
        self._wake()

    async def wait_for(self, callback: CallLine) -> None:
        """Wait for the place in the trace where the provider made this call."""
        last = next((step for step in reversed(self._steps) if step.n < callback.n), None)
        if last is None:
            return
        inside = started_inside(callback, last)
        while (self._started if inside else self._returned) < last.n:
            await self._changed.wait()

    def finish(self) -> None:
        """The connection is over: what the service has not called is a difference."""
        for call in self._left:
            if call.call not in self._queries:
                self.replay.add(_where(call), f"{call.call}({_named(call.args)})", "was not called")

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


class _NoDevices:
    """The devices of a provider that has no client: whatever is plugged in, nobody looks at it."""

    def plug(self, what: Screen | InputSink) -> None:
        """Nothing to show, nothing to type."""

    def unplug(self) -> None:
        """Likewise."""

    def damaged(self) -> None:
        """Likewise."""


class _Player:
    """Answers calls of the API as the trace does."""

    def __init__(self, trace: Trace, secrets: Secrets) -> None:
        self.script = _Script(trace)
        self.secrets = secrets
        self.closed = trio.Event()

    async def answer(self, call: str, args: Mapping[str, object], hint: Any) -> Any:
        """The recorded answer.

        Raises:
            HResultError: the recorded failure; E_UNEXPECTED for a call that the trace does not have.
            RuntimeError: where the provider had raised an exception that is no HRESULT.
        """
        recorded = self.script.made(call, {name: to_json(value) for name, value in args.items()})
        try:
            if recorded is None:
                raise NotImplementedByProvider(f"{call} is not in the trace")
            if recorded.outcome is Outcome.OPEN or (recorded.error and recorded.error.hresult in (E_ABORT, E_TIMEOUT)):
                await trio.sleep_forever()  # as it did then: until the service gives it up
            await trio.lowlevel.checkpoint()
            return self._answer(recorded, hint)
        finally:
            if recorded is not None:
                self.script.has_returned(recorded)
            if call == "Close":
                self.closed.set()

    def _answer(self, recorded: CallLine, hint: Any) -> Any:
        if recorded.error is not None:
            if recorded.error.exception is not None:
                raise RuntimeError(f"{recorded.error.exception}, as recorded")
            if recorded.error.hresult == E_NOTIMPL:
                raise NotImplementedByProvider(recorded.error.reason)
            raise HResultError(recorded.error.reason, recorded.error.hresult)
        if hint in _PLAYED:
            return _PLAYED[hint](self)
        return _NoDevices() if hint in (InputDevices, VideoDevice) else from_json(recorded.result, hint, self.secrets)


def _played(interface: type) -> Any:
    """A class that implements an interface of the API by handing each call to its `_Player`."""

    def initialize(self: Any, player: _Player) -> None:
        self.player = player

    namespace: dict[str, object] = {"__init__": initialize, "__doc__": f"{interface.__name__}, as a trace has it."}
    for name, method in vars(interface).items():
        if inspect.iscoroutinefunction(method):
            namespace[name] = _played_method(name, method)
    return type(f"Trace{interface.__name__}", (interface,), namespace)


def _played_method(name: str, method: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
    call = "".join(word.capitalize() for word in name.split("_"))
    hint = typing.get_type_hints(method).get("return")
    signature = inspect.signature(method)

    @functools.wraps(method)
    async def play(self: Any, *args: object, **keywords: object) -> object:
        bound = signature.bind(self, *args, **keywords)
        bound.apply_defaults()
        return await self.player.answer(call, dict(list(bound.arguments.items())[1:]), hint)

    vars(play).pop("__isabstractmethod__", None)
    return play


_PLAYED: dict[Any, Any] = {
    interface: _played(interface) for interface in (ProtocolConnection, LicenseConnection, LogonErrorRedirector)
}


async def _call_back(player: _Player, trace: Trace, callback: ProtocolConnectionCallback) -> None:
    """Make the provider's calls of a trace, each at its place, from a task of its own."""
    for call in trace.calls:
        if call.source != "connection" or call.target != "service":
            continue
        await player.script.wait_for(call)
        await trio.lowlevel.checkpoint()
        method = getattr(callback, _method_name(call.call), None)
        if method is None:
            continue
        result, error = None, None
        try:
            result = method(*_arguments(callback, call, player.secrets))
        except HResultError as raised:
            error = error_of(raised)
        recorded, now = _recorded_outcome(call), _outcome(to_json(result), error)
        # Numbers and secrets that a service gives out are new in each run; whether it gives any is not.
        differs = (call.error is None) is not (error is None) or (error is not None and recorded != now)
        player.script.replay.add(_where(call), recorded, now, differs=differs)


# --- A client's bytes, against a machine ------------------------------------------------------------------------------


class Machine(Protocol):
    """What every sans-IO machine of rdpprov has."""

    def receive_data(self, data: bytes) -> None:
        """Take bytes."""

    def next_event(self) -> object:
        """What they mean, one event at a time."""

    def data_to_send(self) -> bytes:
        """What to send."""


def replay_machine(
    trace: Trace,
    machine: Callable[[], Machine],
    *,
    respond: Callable[[Any, object], bool],
) -> Replay:
    """Feed the recorded bytes of the client to a machine, and compare what it sends with what was sent then.

    Args:
        trace: with bytes (``wire`` lines).
        machine: makes a fresh machine; its clock and its random bytes have to be the recorded ones.
        respond: called with the machine and each event; does what the provider did, and returns whether there may be
            another event (False for NEED_DATA and its like).

    Raises:
        ReplayError: the trace has no bytes.
    """
    if not trace.wire:
        raise ReplayError("the trace has no bytes: it was not recorded with them")
    replay = Replay()
    ours = machine()
    sent = bytearray()
    for line in trace.wire:
        if line.direction == "out":
            now = bytes(sent[: len(line.data)])
            del sent[: len(line.data)]
            replay.add(f"{line.t:.6f} to the client", _bytes(line.data), _bytes(now), differs=now != line.data)
            continue
        replay.add(f"{line.t:.6f} from the client", _bytes(line.data), _bytes(line.data))
        try:
            ours.receive_data(line.data)
            while respond(ours, ours.next_event()):
                pass
            sent += ours.data_to_send()
        except RdpProvError as error:
            replay.add(f"{line.t:.6f} the machine", "went on", f"raised {type(error).__name__}: {error}", differs=True)
            return replay
    if sent:
        replay.add("after the last line", NOTHING, _bytes(bytes(sent)), differs=True)
    return replay


def _bytes(data: bytes) -> str:
    """Bytes in words: the beginning, and how many."""
    return f"{len(data)} bytes {data[:32].hex(' ')}{' ...' if len(data) > 32 else ''}" if data else NOTHING
