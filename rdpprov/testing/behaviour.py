"""Random clients, users and administrators against a provider that the real service serves, on a clock of the test's.

::

    TestMyProvider = behaviour_of(MyManager, my_client).TestCase

makes a Hypothesis state machine: clients come, half come, talk nonsense, are used, vanish, come back, take over;
users type wrong and right passwords; sessions are ended, policies change, the service drains, time passes, the service
stops. After every step the traces so far are as the sequences say, and who was left alone is still served; at the end
nothing is left. Hypothesis shrinks what fails to the few steps that matter.

The service runs in a thread of its own, so that a machine of plain methods can drive it step by step; each step waits
until nothing happens any more.
"""

import contextlib
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import attrs
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from rdpprov.api.enums import SettingStatus, SettingType
from rdpprov.api.manager import ProtocolManager
from rdpprov.api.structures import Setting, Settings
from rdpprov.rcm.configuration import ListenerConfiguration, Policies, ServiceConfiguration
from rdpprov.rcm.ending import LOGGED_OFF
from rdpprov.rcm.loader import load_protocol
from rdpprov.rcm.service import ReadyListener, RemoteConnectionManager
from rdpprov.rcm.session_table import Session
from rdpprov.testing.check_clients import CheckClient, Relay, as_client, find_client
from rdpprov.testing.real_service import CheckedManager, serving_checked
from rdpprov.testing.scripted import MemoryTraces, ScriptedLogonDesktop, ScriptedProvider
from rdpprov.testing.trace_assertions import assert_trace_is_right
from rdpprov.traces.format import CallLine

QUIET = 0.01
"""Seconds, of the real clock, without anything happening: what is on its way through a socket has arrived."""
USERS: Mapping[str, str] = {"ann": "right-ann", "bob": "right-bob"}
WRONG = "wrong"


@attrs.define(eq=False)
class Person:
    """A client, and what should have become of it."""

    user: str
    password: str
    relay: Relay | None = None
    client: Any = None
    connection_id: int | None = None
    """None: it has not become a connection."""
    is_disturbed: bool = False
    """Something has happened after which the service may let it go."""
    leaves: trio.Event = attrs.field(factory=trio.Event)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    nursery: trio.Nursery | None = None
    """While it is there."""


class Stage:
    """One service with one provider, in a loop of its own. The methods are called inside that loop.

    Args:
        manager: the provider's class.
        client: who connects.
        options: of the listener.
    """

    def __init__(self, manager: type[ProtocolManager], client: CheckClient, options: Mapping[str, object]) -> None:
        self._manager = manager
        self._client = client
        self._options = options
        self.people: list[Person] = []
        self.traces = MemoryTraces()
        self.desktops: ScriptedProvider
        self.service: RemoteConnectionManager
        self._nursery: trio.Nursery
        self._ready: list[ReadyListener] = []
        self._seen: set[int] = set()
        self._made: list[Any] = []
        self._served = trio.Event()
        self._drains = False

    @asynccontextmanager
    async def open(self, clock: MockClock) -> AsyncIterator[None]:
        """The service, started; stopped at the end."""
        self._clock = clock
        self.desktops = ScriptedProvider(users=USERS)
        self._made = serving_checked(self._manager)
        protocol = f"{CheckedManager.__module__}:{CheckedManager.__qualname__}"
        self.service = RemoteConnectionManager(
            ServiceConfiguration(listeners=[ListenerConfiguration("stage", protocol, self._options)]),
            authenticator=self.desktops.authenticator,
            desktop_factory=self.desktops.make_desktop,
            logon_desktop_factory=self.desktops.make_logon_desktop,
            traces=self.traces,
        )
        async with trio.open_nursery() as self._nursery:
            self._ready = await self._nursery.start(self._serve)
            yield
            await self.stop()
            for person in self.people:
                person.scope.cancel()
        for trace in self.traces.all():
            assert_trace_is_right(trace)
        assert self.service.connection_count == 0, f"{self.service.connection_count} connections outlived the service"

    async def _serve(self, *, task_status: trio.TaskStatus[list[ReadyListener]]) -> None:
        try:
            await self.service.serve(task_status=task_status)
        finally:
            self._served.set()

    @property
    def waiting(self) -> list[ScriptedLogonDesktop]:
        """The logon desktops on which somebody could type."""
        return [desktop for desktop in self.desktops.logon_desktops if not desktop.is_closed and desktop.asked]

    @property
    def kept(self) -> list[Session]:
        """The sessions of users who are or were logged on."""
        return [session for session in self.service.sessions if not session.is_temporary]

    # What may happen

    async def connect(self, user: str, password: str) -> None:
        """A client comes, and says who it is."""
        person = Person(user, password, is_disturbed=self._drains)
        self.people.append(person)
        self._nursery.start_soon(self._run, person)
        await self.quiet()
        new = sorted(self.traces.connections.keys() - self._seen)
        self._seen.update(new)
        if new:
            person.connection_id = new[-1]
        self._may_take_over(person, password == USERS.get(user))

    async def half_connect(self, words: bytes) -> None:
        """A client comes, says something that is no beginning, and goes."""
        address, port = self._ready[0].address, self._ready[0].port
        if not address:
            return
        with contextlib.suppress(OSError, trio.BrokenResourceError):
            async with await trio.open_tcp_stream(address, port) as stream:
                if words:
                    await stream.send_all(words)

    async def vanish(self, person: Person, resets: bool) -> None:
        """A client goes."""
        person.is_disturbed = True
        if resets and person.relay is not None:
            await person.relay.cut()
        person.leaves.set()
        await trio.lowlevel.checkpoint()
        if resets:
            person.scope.cancel()

    async def use(self, person: Person) -> None:
        """The client's user does something."""
        use = getattr(person.client, "use", None)
        if use is None or person.nursery is None:
            return

        async def use_it() -> None:  # a client that was never let on may wait for that as long as it is there
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await use()

        person.nursery.start_soon(use_it)
        await trio.lowlevel.checkpoint()

    async def type(self, user: str, password: str) -> None:
        """Somebody types on the logon desktop that came last."""
        if self.waiting:
            with contextlib.suppress(trio.WouldBlock):
                self.waiting[-1].type(user, password)
            if password == USERS.get(user):
                self._disturb_user(user)

    async def end_session(self, number: int) -> None:
        """A user logs off, or is logged off."""
        if not self.kept:
            return
        session = self.kept[number % len(self.kept)]
        for person in self.people:
            if session.holder is not None and person.connection_id == session.holder.connection_id:
                person.is_disturbed = True
        session.end(LOGGED_OFF)

    async def change_policies(self, disables: bool) -> None:
        """An administrator changes what may be redirected."""
        setting = Setting(SettingStatus.ENABLED, int(disables))
        machine = Settings(setting_type=SettingType.MACHINE, disable_clip=setting, disable_cdm=setting)
        await self.service.set_policies(Policies(machine=machine))

    async def drain(self, on: bool) -> None:
        """The service begins or ends to drain."""
        self._drains = on
        self.service.set_draining(on)
        if on:
            for person in self.people:
                if not self._is_logged_on(person):
                    person.is_disturbed = True

    async def pass_time(self, seconds: float) -> None:
        """Nobody does anything for a while."""
        for person in self.people:
            if not self._is_logged_on(person):
                person.is_disturbed = True  # whoever has not logged on has a time limit
        self._clock.jump(seconds)

    async def stop(self) -> None:
        """The service stops."""
        for person in self.people:
            person.is_disturbed = True
        self.service.request_stop()
        with trio.fail_after(60):
            while not self._served.is_set():  # a stop has limits of its own, which only pass if time does
                await self.quiet()
                if not self._served.is_set():
                    self._clock.jump(1)

    # What has to be true

    async def quiet(self) -> None:
        """Wait until nothing happens any more."""
        await wait_all_tasks_blocked(QUIET)

    async def look(self) -> None:
        """The invariants.

        Raises:
            AssertionError: one does not hold.
        """
        await self.quiet()
        for recorder in self.traces.connections.values():
            assert_trace_is_right(recorder.trace(), running=True)
        for person in self.people:
            if person.is_disturbed or person.connection_id is None:
                continue
            calls = self._calls(person)
            assert "Close" not in calls, f"{person.user} was let go, and nobody had disturbed them: {', '.join(calls)}"

    def _is_logged_on(self, person: Person) -> bool:
        return "LogonNotify" in self._calls(person)

    def _calls(self, person: Person) -> list[str]:
        recorder = self.traces.connections.get(person.connection_id or 0)
        if recorder is None:
            return []
        return [line.call for line in recorder.trace().lines if isinstance(line, CallLine)]

    def _may_take_over(self, newcomer: Person, is_right: bool) -> None:
        if is_right:
            self._disturb_user(newcomer.user, but=newcomer)

    def _disturb_user(self, user: str, but: Person | None = None) -> None:
        """Somebody has logged on as this user: the session is theirs now."""
        holders = {
            session.holder.connection_id
            for session in self.service.sessions
            if session.holder is not None and session.user is not None and session.user.name == user
        }
        for person in self.people:
            if person is not but and (person.user == user or person.connection_id in holders):
                person.is_disturbed = True
        if but is None:  # typed: on whose desktop, nobody knows
            for person in self.people:
                if not self._is_logged_on(person):
                    person.is_disturbed = True

    async def _run(self, person: Person) -> None:
        """A client's task."""
        address, port = self._ready[0].address, self._ready[0].port
        try:
            with person.scope:
                async with trio.open_nursery() as nursery:
                    if address:
                        person.relay = Relay((address, port))
                        await nursery.start(person.relay.run)
                        address, port = person.relay.address, person.relay.port
                    knowledge = {
                        "address": address,
                        "port": port,
                        "user": person.user,
                        "password": person.password,
                        "listener": self._made[0],
                        "options": self._options,
                    }
                    async with self._client.connected(**knowledge) as person.client:
                        person.nursery = nursery
                        await person.leaves.wait()
                        person.nursery = None
                    nursery.cancel_scope.cancel()
        except Exception:  # a client that the service drops may fail as it likes
            person.client = None
        finally:
            person.nursery = None


class StageThread:
    """The loop in which a `Stage` lives."""

    def __init__(self, stage: Callable[[], Stage]) -> None:
        self._make = stage
        self._commands: SimpleQueue[Any] = SimpleQueue()
        self._ready: SimpleQueue[Any] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="rdpprov stage", daemon=True)
        self.stage: Stage

    def start(self) -> None:
        """Start the service.

        Raises:
            Exception: what its start raised.
        """
        self._thread.start()
        outcome = self._ready.get()
        if isinstance(outcome, BaseException):
            self._thread.join()
            raise outcome

    def do(self, action: Callable[..., Awaitable[None]], *args: object) -> None:
        """Let something happen, and wait until nothing happens any more.

        Raises:
            Exception: what it raised; an invariant that does not hold among it.
        """

        async def act() -> None:
            await action(*args)
            await self.stage.look()

        trio.from_thread.run(act, trio_token=self._token)

    def stop(self) -> None:
        """Stop the service.

        Raises:
            Exception: what the end raised.
        """
        with contextlib.suppress(trio.RunFinishedError):
            trio.from_thread.run_sync(self._over.set, trio_token=self._token)
        self._thread.join()
        outcome = self._commands.get()
        if isinstance(outcome, BaseException):
            raise outcome

    def _run(self) -> None:
        clock = MockClock(rate=0.0)
        try:
            trio.run(self._main, clock, clock=clock)
        except BaseException as error:
            self._ready.put(error)
            self._commands.put(error)
        else:
            self._commands.put(None)

    async def _main(self, clock: MockClock) -> None:
        self.stage = self._make()
        self._token = trio.lowlevel.current_trio_token()
        self._over = trio.Event()
        async with self.stage.open(clock):
            self._ready.put(None)
            await self._over.wait()


def behaviour_of(
    provider: type[ProtocolManager] | str,
    client: CheckClient | Callable[..., Any] | str | None = None,
    *,
    options: Mapping[str, object] | None = None,
) -> Any:
    """A `hypothesis.stateful.RuleBasedStateMachine` for a provider; its ``TestCase`` is what pytest runs.

    Args:
        provider: as for `rdpprov.testing.check_provider.check_provider`.
        client: likewise.
        options: likewise.

    Raises:
        ConfigurationError: there is no such provider, or no client for it.
    """
    from hypothesis import strategies as st
    from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, precondition, rule

    name = provider if isinstance(provider, str) else f"{provider.__module__}:{provider.__qualname__}"
    manager = load_protocol(provider) if isinstance(provider, str) else provider
    found = find_client(name, manager) if client is None else as_client(client)
    directory = tempfile.TemporaryDirectory(prefix="rdpprov-behaviour-")
    settings = {
        "host": "127.0.0.1",
        "port": 0,
        **found.listener_options(Path(directory.name)),
        **(options or {}),
    }

    users = st.sampled_from(sorted(USERS))

    class Behaviour(RuleBasedStateMachine):
        """Clients, users and administrators, at random."""

        people = Bundle("people")
        _directory = directory  # as long as the machine may run

        def __init__(self) -> None:
            super().__init__()
            self._logs = structlog.testing.capture_logs()
            self._logs.__enter__()
            self.thread = StageThread(lambda: Stage(manager, found, settings))
            self.thread.start()

        # Somebody is always there first, what cannot have an effect is not offered, and the service stops only at the
        # end: else most walks go nowhere.

        @initialize(target=people, user=users, right=st.booleans())
        def begin(self, user: str, right: bool) -> Person:
            """The first client comes."""
            return self._connected(user, right)

        @rule(target=people, user=users, right=st.booleans())
        def connect(self, user: str, right: bool) -> Person:
            """A client comes."""
            return self._connected(user, right)

        def _connected(self, user: str, right: bool) -> Person:
            self.thread.do(self.thread.stage.connect, user, USERS[user] if right else WRONG)
            return self.thread.stage.people[-1]

        @rule(words=st.sampled_from([b"", b"\r\n", b"\x03\x00", b"HELLO\n", b"\xff" * 50]))
        def half_connect(self, words: bytes) -> None:
            """A client comes half way."""
            self.thread.do(self.thread.stage.half_connect, words)

        @rule(person=consumes(people), resets=st.booleans())
        def vanish(self, person: Person, resets: bool) -> None:
            """A client goes."""
            self.thread.do(self.thread.stage.vanish, person, resets)

        @rule(person=people)
        def use(self, person: Person) -> None:
            """A client is used."""
            self.thread.do(self.thread.stage.use, person)

        @precondition(lambda self: self.thread.stage.waiting)
        @rule(user=users, right=st.booleans())
        def type(self, user: str, right: bool) -> None:
            """Somebody types a password."""
            self.thread.do(self.thread.stage.type, user, USERS[user] if right else WRONG)

        @precondition(lambda self: self.thread.stage.kept)
        @rule(number=st.integers(0, 3))
        def end_session(self, number: int) -> None:
            """A session ends."""
            self.thread.do(self.thread.stage.end_session, number)

        @rule(disables=st.booleans())
        def change_policies(self, disables: bool) -> None:
            """Policies change."""
            self.thread.do(self.thread.stage.change_policies, disables)

        @rule(on=st.booleans())
        def drain(self, on: bool) -> None:
            """The service drains, or does not any more."""
            self.thread.do(self.thread.stage.drain, on)

        @rule(seconds=st.sampled_from([0.5, 6.0, 20.0, 130.0]))
        def pass_time(self, seconds: float) -> None:
            """Time passes."""
            self.thread.do(self.thread.stage.pass_time, seconds)

        def teardown(self) -> None:
            """The service stops, wherever everybody stands, and what has to be true then."""
            try:
                self.thread.stop()
            finally:
                self._logs.__exit__(None, None, None)

    return Behaviour
