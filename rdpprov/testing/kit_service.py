"""The service's half of a check: what a provider meets instead of the Remote Connection Manager.

It makes the service's calls one by one, as a scenario says, and notes everything that the provider does meanwhile. It
is no Remote Connection Manager: it can stop anywhere, take its time, and be unreasonable.
"""

import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, Literal, NamedTuple

import attrs
import numpy as np
import trio

from rdpprov.api.connection import ProtocolConnection, ProtocolConnectionCallback
from rdpprov.api.devices import InputEvent, Pixels, PointerShape, Rectangle
from rdpprov.api.enums import ConnectionSettingLevel, SettingLevel, SettingType
from rdpprov.api.identity import AuthenticatedUser, LogonError, ReconnectSecret, UserToken
from rdpprov.api.listener import ProtocolListenerCallback
from rdpprov.api.settings import ProtocolSettings
from rdpprov.api.structures import ConnectionSettings, Settings, SmallRect, UserCredential
from rdpprov.errors import E_ACCESSDENIED, HResultError
from rdpprov.rcm.settings import merge

MOST_SHOWN: Final = 200
"""Characters of a provider's own words that a finding repeats."""
LOOKS: Final = 5
"""How often the event loop is looked at in the time that it may stand still."""


class KitAuthenticator:
    """Knows one user."""

    def __init__(self, user: str, password: str) -> None:
        self._user = user
        self._password = password
        self._verdicts: list[AuthenticatedUser] = []

    async def authenticate(self, credential: UserCredential, *, client_address: str, how: str) -> AuthenticatedUser:
        """A verdict, or `LogonError`."""
        await trio.lowlevel.checkpoint()
        if (credential.user_name, credential.password) != (self._user, self._password):
            raise LogonError("unknown user, or wrong password")
        self._verdicts.append(AuthenticatedUser(UserToken(credential.user_name, credential.domain, how=how)))
        return self._verdicts[-1]

    def vouches_for(self, user: AuthenticatedUser) -> bool:
        """Whether the verdict is one of ours."""
        return any(user is verdict for verdict in self._verdicts)

    async def check_account(self, token: UserToken) -> None:
        """Whether the account may still log on."""
        if token.name != self._user:
            raise LogonError(f"the account {token.name} is gone")


class KitSettings(ProtocolSettings):
    """The service's settings object: the listener's options, and the policies that the check has set last."""

    def __init__(self, options: Mapping[str, object], authenticator: KitAuthenticator) -> None:
        self._options = options
        self._authenticator = authenticator
        self.in_force: dict[SettingType, Settings] = {}
        """What NotifySettingsChange has told, by its kind."""

    def get_settings(
        self,
        setting_type: SettingType,
        level: SettingLevel = SettingLevel.LEVEL_1,
        *,
        user: UserToken | None = None,
    ) -> Settings:
        """IWRdsProtocolSettings.GetSettings: as it has been told; the same for every user."""
        return self.in_force.get(setting_type, Settings(setting_type=setting_type))

    def merge_settings(
        self,
        settings: Settings,
        connection_settings: ConnectionSettings,
        level: ConnectionSettingLevel = ConnectionSettingLevel.LEVEL_1,
    ) -> ConnectionSettings:
        """IWRdsProtocolSettings.MergeSettings: as the service does it."""
        return merge(settings, connection_settings)

    @property
    def authenticator(self) -> KitAuthenticator:
        """Knows the check's user."""
        return self._authenticator

    def listener_options(self, listener_name: str) -> Mapping[str, object]:
        """The same for every listener."""
        return self._options


class KitScreen:
    """A grey screen that is all damaged whenever it is looked at, and notes who looks when they no longer may."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self.is_plugged = True
        self.uses = 0
        self.late_uses: list[str] = []

    def take_damage(self) -> Sequence[Rectangle]:
        """All of it, once."""
        self._used("take_damage")
        return [Rectangle(0, 0, self.width, self.height)] if self.uses == 1 and self.is_plugged else []

    def grab(self, rectangle: Rectangle, out: Pixels | None = None) -> Pixels:
        """Grey."""
        self._used("grab")
        if out is None:
            out = np.empty((rectangle.height, rectangle.width, 4), np.uint8)
        out[...] = 128
        return out

    def take_pointer(self) -> PointerShape | None:
        """None."""
        self._used("take_pointer")
        return None

    def take_pointer_position(self) -> tuple[int, int] | None:
        """Nowhere."""
        self._used("take_pointer_position")
        return None

    def close(self) -> None:
        """A provider may close it."""

    def _used(self, method: str) -> None:
        self.uses += 1
        if not self.is_plugged:
            self.late_uses.append(method)


class KitSink:
    """Takes input, and notes what comes when it may no longer."""

    def __init__(self) -> None:
        self.is_plugged = True
        self.events: list[InputEvent] = []
        self.late_events: list[InputEvent] = []
        self.came = trio.Event()
        """There is an event."""

    def input_event(self, event: InputEvent) -> None:
        """Note it."""
        (self.events if self.is_plugged else self.late_events).append(event)
        self.came.set()


@attrs.define(eq=False)
class Arrival:
    """A client that has become a connection."""

    connection: ProtocolConnection
    settings: ConnectionSettings
    callback: "KitCallback"
    redirector: Any = None
    """Of GetLogonErrorRedirector; None: logon errors are not redirected."""
    has_failed: bool = False
    """A rule was broken before the sequence could begin."""


class KitCallback(ProtocolConnectionCallback):
    """The service's half of one connection: it notes."""

    def __init__(self, connection_id: int, observer: "Observer") -> None:
        self._id = connection_id
        self._observer = observer
        self.is_closed = False
        """Close has returned."""
        self.ready = 0
        self.broken = 0
        self.late: list[str] = []
        """What came after Close."""
        self._wire_ends: dict[str, bytes] = {}
        self.is_ready = trio.Event()
        self.is_broken = trio.Event()

    def on_ready(self) -> None:
        """OnReady."""
        self._note("OnReady")
        self.ready += 1
        self.is_ready.set()

    def broken_connection(self, reason: int = 0, source: int = 0) -> None:
        """BrokenConnection."""
        if not self.is_closed:  # late ones are let pass
            self._note("BrokenConnection")
            self.broken += 1
        self.is_broken.set()

    def stop_screen_updates(self) -> None:
        """StopScreenUpdates."""
        self._note("StopScreenUpdates")

    def redraw_window(self, rectangle: SmallRect | None = None) -> None:
        """RedrawWindow."""
        self._note("RedrawWindow")

    def get_connection_id(self) -> int:
        """GetConnectionId."""
        return self._id

    def issue_reconnect_secret(self) -> ReconnectSecret:
        """There is none: whoever asks has to live with it, as when policy switches reconnection off."""
        self._note("IssueReconnectSecret")
        raise HResultError("the check issues no reconnect secrets", E_ACCESSDENIED)

    def trace_event(self, name: str, fields: Mapping[str, object], *, ago: float = 0.0) -> None:
        """A milestone: searched for secrets."""
        self._observer.traced(f"trace event {name}", repr(dict(fields)))

    @property
    def traces_wire(self) -> bool:
        """Yes, to see what is in it."""
        return True

    def trace_wire(self, direction: Literal["in", "out"], data: bytes, *, ago: float = 0.0) -> None:
        """Bytes: searched for secrets."""
        # A secret may be cut in two, between one call and the next.
        joined = self._wire_ends.get(direction, b"") + bytes(data)
        self._wire_ends[direction] = joined[-self._observer.longest_needle :]
        self._observer.traced(f"the wire trace ({direction})", joined)

    def _note(self, call: str) -> None:
        if self.is_closed:
            self.late.append(call)
        self._observer.called_back(call)


class Observer:
    """What is noted of one provider, over all scenarios.

    Args:
        secret: that must not be told.
        blocked: seconds for which the event loop may stand still.
    """

    def __init__(self, secret: str, blocked: float) -> None:
        self._needles: tuple[bytes, ...] = (secret.encode(), secret.encode("utf-16-le"))
        self._texts: tuple[str, ...] = (secret, repr(secret.encode("utf-16-le"))[2:-1])  # as is, and inside of b"..."
        self.longest_needle = max(map(len, self._needles))
        """In bytes."""
        self.secrets_in: list[str] = []
        """Where the secret was found."""
        self.secrets_traced: list[str] = []
        """In which part of a trace it was found."""
        self.has_traces = False
        """The provider has traced something."""
        self.inside_calls: list[str] = []
        """Callbacks made from inside a call."""
        self.open_calls: dict[trio.lowlevel.Task, str] = {}
        """What the service is calling at the moment, by the task that does."""
        self._nurseries_before: dict[trio.lowlevel.Task, list[trio.Nursery]] = {}
        """Those of such a task that are not the call's own."""
        self.blockades: list[str] = []
        self._blocked = blocked

    def told(self, where: str, what: str | bytes) -> None:
        """Something is going to be logged, printed, traced, or raised."""
        if self._has_secret(what) and where not in self.secrets_in:
            self.secrets_in.append(where)

    def traced(self, where: str, what: str | bytes) -> None:
        """The provider has something traced."""
        self.has_traces = True
        if self._has_secret(what) and where not in self.secrets_traced:
            self.secrets_traced.append(where)

    def service_traced(self, trace: str) -> None:
        """The real service has recorded a trace, with or without a part of the provider's in it."""
        if self._has_secret(trace) and not self.secrets_traced:
            self.secrets_traced.append("a trace of the real service")

    def _has_secret(self, what: str | bytes) -> bool:
        if isinstance(what, str):
            return any(text in what for text in self._texts)
        return any(needle in what for needle in self._needles)

    def called_back(self, call: str) -> None:
        """The provider calls the service."""
        inside = self._call_around(trio.lowlevel.current_task())
        if inside is not None:
            self.inside_calls.append(f"{call} inside {inside}")

    def _call_around(self, task: trio.lowlevel.Task) -> str | None:
        """The call in which a task runs, or whose nursery waits for it; None: it runs beside all calls."""
        if task in self.open_calls:
            return self.open_calls[task]
        nursery = task.parent_nursery
        while nursery is not None:
            parent = nursery.parent_task
            if parent in self.open_calls and nursery not in self._nurseries_before[parent]:
                return f"a nursery of {self.open_calls[parent]}, which waits for it"
            nursery = parent.parent_nursery
        return None

    @contextmanager
    def calling(self, call: str) -> Iterator[None]:
        """The service calls the provider."""
        task = trio.lowlevel.current_task()
        self.open_calls[task] = call
        self._nurseries_before[task] = list(task.child_nurseries)
        try:
            yield
        finally:
            del self.open_calls[task], self._nurseries_before[task]

    @contextmanager
    def watching_the_loop(self, is_ours: Callable[[trio.lowlevel.Task], bool]) -> Iterator[None]:
        """Note who holds the event loop for too long.

        Args:
            is_ours: tells the check's own clients, whose slowness is not the provider's.
        """
        watch = _LoopWatch(self._blocked, is_ours, lambda task: self.open_calls.get(task, ""))
        trio.lowlevel.add_instrument(watch)
        thread = threading.Thread(target=watch.run, name="rdpprov check watch", daemon=True)
        thread.start()
        try:
            yield
        finally:
            watch.stopped.set()
            thread.join()
            trio.lowlevel.remove_instrument(watch)
            self.blockades += watch.blockades


class _Step(NamedTuple):
    """A step of the event loop."""

    began: float
    """On `time.monotonic`."""
    spent: float
    """Seconds of CPU that the process had taken when it began."""
    task: trio.lowlevel.Task


class _LoopWatch(trio.abc.Instrument):
    """A thread that looks how long the current step of the event loop has been going on.

    Not only by the clock: a machine that stands still itself, as one with much else to do may, lets this thread look
    no more than the loop go on.
    """

    def __init__(
        self,
        limit: float,
        is_ours: Callable[[trio.lowlevel.Task], bool],
        call: Callable[[trio.lowlevel.Task], str],
    ) -> None:
        self.stopped = threading.Event()
        self.blockades: list[str] = []
        self._limit = limit
        self._is_ours = is_ours
        self._call = call
        self._thread = threading.get_ident()
        self._step: _Step | None = None

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """A task begins to run."""
        self._step = _Step(time.monotonic(), time.process_time(), task)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """It waits again, or is over."""
        self._step = None

    def run(self) -> None:
        """The thread."""
        reported: _Step | None = None
        seen: _Step | None = None
        looks = 0
        while not self.stopped.wait(self._limit / LOOKS):
            step = self._step
            looks = looks + 1 if step is seen else 1
            seen = step
            if step is None or step is reported or self._is_ours(step.task):
                continue
            if time.monotonic() - step.began < self._limit:
                continue
            if looks < LOOKS - 1 and time.process_time() - step.spent < self._limit / 2:
                continue
            frame = sys._current_frames().get(self._thread)
            if frame is not None and self._step is step:
                reported = step
                call = self._call(step.task)
                self.blockades.append(f"{'during ' + call if call else 'in a task of its own'}, at {_place(frame)}")


def _place(frame: FrameType) -> str:
    """Where code stands, for people: the innermost frame and its line."""
    return f"{frame.f_code.co_qualname} ({frame.f_code.co_filename}:{frame.f_lineno})"


def shown(value: object) -> str:
    """Anything that a provider has given, for people: not too long, and whatever its ``__repr__`` does."""
    try:
        text = repr(value)
    except Exception:
        text = f"{type(value).__name__} whose __repr__ fails"
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"


def told_by(error: BaseException) -> str:
    """An exception of a provider's, for people: its type, its words and where it was raised; of a group the first."""
    if isinstance(error, BaseExceptionGroup):
        more = f"; and {len(error.exceptions) - 1} more" if len(error.exceptions) > 1 else ""
        return told_by(error.exceptions[0]) + more
    try:
        words = str(error)
    except Exception:
        words = ""
    said = f": {words[:MOST_SHOWN]}" if words else ""
    return f"{type(error).__name__}{said}, at {place_of(error)}"


class ExitError(Exception):
    """A provider that ends the process: with it, the service and everybody's connections would end."""


@contextmanager
def exits_are_errors() -> Iterator[None]:
    """Make an exception of ``sys.exit()``, so that a check can tell of it rather than end.

    Raises:
        ExitError: the block wanted to exit, itself or in a nursery's task.
    """
    try:
        yield
    except (SystemExit, BaseExceptionGroup) as error:
        exits = error if isinstance(error, SystemExit) else _exit_in(error)
        if exits is None:
            raise
        raise ExitError(f"sys.exit({exits.code!r})").with_traceback(exits.__traceback__) from None


def _exit_in(group: BaseExceptionGroup[BaseException]) -> SystemExit | None:
    """The first of a group, unless something is in it that must not be stopped: Cancelled, KeyboardInterrupt."""
    if group.split((Exception, SystemExit))[1] is not None:
        return None
    for error in group.exceptions:
        found = _exit_in(error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(found, SystemExit):
            return found
    return None


def place_of(error: BaseException) -> str:
    """Where an exception was raised."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].name} ({frames[-1].filename}:{frames[-1].lineno})" if frames else "nowhere"


class TaskCounter(trio.abc.Instrument):
    """Which tasks are alive that were started since it was added."""

    def __init__(self) -> None:
        self.alive: set[trio.lowlevel.Task] = set()

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        """One more."""
        self.alive.add(task)

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        """One less."""
        self.alive.discard(task)


class KitListenerCallback(ProtocolListenerCallback):
    """One listener's way to the kit.

    Args:
        observer: of the provider.
        ask_redirector: makes the service's first call, from a task of the service's; it returns when that is over.
        arrived: told of each connection, and what is wrong with its arguments.
    """

    def __init__(
        self,
        observer: Observer,
        ask_redirector: Callable[[Arrival], Any],
        arrived: Callable[[Arrival], None],
        arguments: Callable[[object, object], None],
    ) -> None:
        self.refuses = False
        """Refuse the next clients."""
        self.refused = trio.Event()
        self._observer = observer
        self._ask_redirector = ask_redirector
        self._arrived = arrived
        self._arguments = arguments
        self._count = 0

    async def on_connected(
        self, connection: ProtocolConnection, settings: ConnectionSettings
    ) -> ProtocolConnectionCallback:
        """OnConnected."""
        self._observer.called_back("OnConnected")
        self._observer.told("OnConnected's settings", repr(settings))
        await trio.lowlevel.checkpoint()
        if self.refuses:
            self.refused.set()
            raise HResultError("the check refuses this client", E_ACCESSDENIED)
        self._arguments(connection, settings)
        self._count += 1
        arrival = Arrival(connection, settings, KitCallback(self._count, self._observer))
        await self._ask_redirector(arrival)
        self._arrived(arrival)
        return arrival.callback


UNKNOWN_PROPERTY = uuid.UUID("5c1d3a51-0000-4000-8000-00000000dead")
