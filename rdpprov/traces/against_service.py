"""A trace played again against a service: `TraceManager` is the trace's provider.

The service's calls get the recorded answers, the recorded callbacks come at their places, and whatever the service does
differently is noted. For a configuration its protocol is ``rdpprov.traces.against_service:TraceManager``, and its
listener's option ``trace`` names the file.
"""

import functools
import inspect
import typing
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import trio

from rdpprov.api.connection import ProtocolConnection, ProtocolConnectionCallback
from rdpprov.api.devices import InputDevices, InputSink, Screen, TaskStatus, VideoDevice
from rdpprov.api.license_connection import LicenseConnection
from rdpprov.api.listener import ProtocolListener, ProtocolListenerCallback
from rdpprov.api.logon_error_redirector import LogonErrorRedirector
from rdpprov.api.manager import ProtocolManager
from rdpprov.api.settings import ProtocolSettings
from rdpprov.api.structures import ConnectionSettings, Settings
from rdpprov.errors import E_ABORT, E_NOTIMPL, HResultError, NotImplementedByProvider
from rdpprov.traces.checker import started_inside
from rdpprov.traces.dialogue import NOTHING, Replay, ReplayError, named, outcome_of, recorded_outcome, where
from rdpprov.traces.format import CallLine, Json, Outcome, Trace, read_trace, to_json
from rdpprov.traces.recorder import E_TIMEOUT, error_of
from rdpprov.traces.sequences import load_sequences
from rdpprov.traces.values import Comparison, Secrets, arguments_of, both_sides, from_json, method_name


class TraceManager(ProtocolManager):
    """A provider that plays a trace: for a service's tests, served as ``rdpprov.traces.against_service:TraceManager``.

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
        spec = load_sequences()["connection"]
        queries = {entry.call for entry in spec.between if entry.by_service} - {step.call for step in spec.steps()}
        self._left = [call for call in trace.calls if call.source == "service"]
        self._steps = [call for call in self._left if call.call not in queries]
        self._queries = queries
        self._comparison = Comparison()
        self._changed = trio.Event()
        self._started = 0
        self._returned = 0
        self.replay = Replay()

    def made(self, call: str, args: Mapping[str, Json]) -> CallLine | None:
        """The service makes a call: the recorded one that it is, or None."""
        recorded = next((line for line in self._left if line.call == call), None)
        now = f"{call}({named(args)})"
        if recorded is None:
            if call not in self._queries:
                self.replay.add(f"service -> {call}", NOTHING, now)
            return None
        if call not in self._queries:
            self._skip_until(recorded)
        differences = self._comparison.differences(dict(recorded.args), dict(args))
        if differences:
            texts = [f"{call}({side})" for side in both_sides(differences)]
            self.replay.add(where(recorded), *texts, differs=True)
        else:
            self.replay.add(where(recorded), now, now)
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
                self.replay.add(where(line), f"{line.call}({named(line.args)})", "was not called")
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
                self.replay.add(where(call), f"{call.call}({named(call.args)})", "was not called")

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
        method = getattr(callback, method_name(call.call), None)
        if method is None:
            continue
        result, error = None, None
        try:
            result = method(*arguments_of(callback, call, player.secrets))
        except HResultError as raised:
            error = error_of(raised)
        recorded, now = recorded_outcome(call), outcome_of(to_json(result), error)
        # Numbers and secrets that a service gives out are new in each run; whether it gives any is not.
        differs = (call.error is None) is not (error is None) or (error is not None and recorded != now)
        player.script.replay.add(where(call), recorded, now, differs=differs)
