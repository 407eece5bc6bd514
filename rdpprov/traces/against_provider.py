"""A trace played again against a provider: the service's recorded calls are made on it, and its answers compared.

`replay_service` begins with a connection that is there; `ReplayService` begins with the manager, and brings a client
that sends the recorded bytes.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import trio

from rdpprov.api.authenticator import Authenticator
from rdpprov.api.connection import ProtocolConnection, ProtocolConnectionCallback
from rdpprov.api.devices import InputDevices, VideoDevice
from rdpprov.api.enums import ConnectionSettingLevel, SettingLevel, SettingType
from rdpprov.api.identity import AuthenticatedUser, ReconnectSecret, UserToken
from rdpprov.api.listener import ProtocolListener, ProtocolListenerCallback
from rdpprov.api.manager import ProtocolManager
from rdpprov.api.settings import ProtocolSettings
from rdpprov.api.structures import ConnectionSettings, Settings, SmallRect, UserCredential
from rdpprov.errors import E_ABORT, E_UNEXPECTED, HResultError
from rdpprov.traces.dialogue import Replay, ReplayError, outcome_of, recorded_outcome, where
from rdpprov.traces.format import CallError, CallLine, Json, Outcome, Trace, to_json
from rdpprov.traces.recorder import error_of
from rdpprov.traces.values import Comparison, Secrets, arguments_of, both_sides, from_json, method_name
from rdpprov.wire.rfb.handshake import SecurityType

PATIENCE: Final = 5.0
"""Seconds to wait for what the trace says should come."""

_RSA_AES: Final = frozenset(kind.name for kind in SecurityType if kind.rsa_aes)
"""What a client that took one of these has said depends on the server's random number."""


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
        secrets: for arguments.
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
        self._comparison = Comparison()
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
        self.replay.add(where(call), "came", "did not come" if scope.cancelled_caught else "came")

    async def _make(self, call: CallLine) -> None:
        target = self._objects.get(call.target.partition(":")[0])
        method = getattr(target, method_name(call.call), None)
        if target is None or method is None:
            self.replay.add(where(call), recorded_outcome(call), f"there is no {call.target} to call")
            return
        arguments = arguments_of(target, call, self._secrets)
        result, error = None, None
        try:
            with trio.fail_after(self._patience):
                result = await method(*arguments)
        except Exception as raised:
            error = error_of(raised)
        self._compare(call, to_json(result), error)
        self._keep(call.call, result)

    def _compare(self, call: CallLine, result: Json, error: CallError | None) -> None:
        recorded, now = recorded_outcome(call), outcome_of(result, error)
        if call.outcome is Outcome.OPEN or (call.error is not None and call.error.hresult == E_ABORT):
            differs = False  # the service gave it up; what it would have been, nobody knows
        elif call.error is not None or error is not None:
            differs = recorded != now
        else:
            differences = self._comparison.differences(call.result, result)
            differs = bool(differences)
            if differs:
                recorded, now = (f"returned {side}" for side in both_sides(differences))
        self.replay.add(where(call), recorded, now, differs=differs)

    def _keep(self, call: str, result: object) -> None:
        if call in self._plugged:
            self._plugged[call] = result
            if call == "GetVideoHandle" and self._devices is not None:
                self._devices(self._plugged["GetInputHandles"], self._plugged["GetVideoHandle"])
        elif call == "GetLicenseConnection":
            self._objects["license"] = result
        elif call == "GetLogonErrorRedirector":
            self._objects["redirector"] = result


class ReplaySettings(ProtocolSettings):
    """The settings object of a replay: no policies, the options that it is given, and everybody may log on."""

    def __init__(self, options: Mapping[str, object] | None = None) -> None:
        self._options = dict(options or {})
        self._authenticator = _EverybodyAuthenticator()

    def get_settings(
        self,
        setting_type: SettingType,
        level: SettingLevel = SettingLevel.LEVEL_1,
        *,
        user: UserToken | None = None,
    ) -> Settings:
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
        secrets: for arguments.
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
            if any(line.event == "security" and line.fields.get("type") in _RSA_AES for line in self.trace.events):
                raise ReplayError("the client logged on by RSA-AES: sent as its bytes are recorded, they mean nothing")
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
            differences = Comparison().differences(first.args.get("settings", {}), to_json(self._connection_settings))
            opening.add(where(first), *both_sides(differences), differs=bool(differences))
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
