"""One life of a provider in a check: started, given clients, called, stopped; and what is found on the way."""

import gc
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from inspect import iscoroutine
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from rdpprov.api.connection import ProtocolConnection
from rdpprov.api.enums import ListenerSettingLevel
from rdpprov.api.listener import ProtocolListener
from rdpprov.api.logon_error_redirector import LogonErrorRedirector
from rdpprov.api.manager import ProtocolManager
from rdpprov.api.structures import ConnectionSettings, ListenerSettings, Settings
from rdpprov.errors import E_NOTIMPL, ConfigurationError, HResultError
from rdpprov.rcm.asking import call_of, unwrapped
from rdpprov.rcm.failure_policy import Call, Effect
from rdpprov.rcm.loader import faults_of
from rdpprov.testing.check_clients import CheckClient, Relay
from rdpprov.testing.kit_service import (
    Arrival,
    KitAuthenticator,
    KitListenerCallback,
    KitSettings,
    Observer,
    TaskCounter,
    exits_are_errors,
    shown,
    told_by,
)
from rdpprov.testing.rules import BY_NAME

SETTLE = 0.05
"""At most this, in seconds, is `Check.settle`."""

MOST_SEEN = 8
"""Of a rule that is broken again and again, so much is told."""

REQUIRED: Final = object()
"""No default: a failure is one of the provider's."""


class CannotGoOnError(Exception):
    """What was found makes the rest of a scenario meaningless. What it was has been noted."""


class Findings:
    """What has been found so far, by rule."""

    def __init__(self) -> None:
        self.failures: defaultdict[str, list[str]] = defaultdict(list)
        self.passed: set[str] = set()
        self.absent: dict[str, str] = {}
        """Why a rule does not apply."""

    def check(self, rule: str, good: bool, seen: str = "") -> bool:
        """Note how a rule was met.

        Args:
            rule: its name.
            good: whether it was.
            seen: what was seen, if it was not.
        """
        assert rule in BY_NAME, rule
        if good:
            self.passed.add(rule)
        elif seen not in self.failures[rule] and len(self.failures[rule]) < MOST_SEEN:
            self.failures[rule].append(seen)
        return good

    def require(self, rule: str, good: bool, seen: str = "") -> None:
        """Like `check`, where nothing can follow a failure.

        Raises:
            CannotGoOnError: it was not met.
        """
        if not self.check(rule, good, seen):
            raise CannotGoOnError(rule)

    def does_not_apply(self, rule: str, why: str) -> None:
        """Note why a rule means nothing for this provider."""
        assert rule in BY_NAME, rule
        self.absent.setdefault(rule, why)


@attrs.define(eq=False)
class Check:
    """What all scenarios of one check share."""

    manager: type[ProtocolManager]
    client: CheckClient
    options: Mapping[str, object]
    directory: Path
    user: str
    password: str
    patience: float
    """Seconds that are waited for what should come at once; Close has twice as long."""
    observer: Observer
    findings: Findings = attrs.field(factory=Findings)
    client_tasks: set[trio.lowlevel.Task] = attrs.field(factory=set)
    shields_broken: int = 0
    """How often something of the provider's could only be cancelled by force."""
    _shielded_until: dict[object, float] = attrs.field(factory=dict)

    @property
    def settle(self) -> float:
        """Seconds in which what should not happen may happen."""
        return min(SETTLE, self.patience / 20)

    async def comes(self, condition: Callable[[], bool]) -> bool:
        """Wait until something is so, as long as patience lasts; whether it is."""
        with trio.move_on_after(self.patience):
            while not condition():  # noqa: ASYNC110 - a client has no event for it
                await trio.sleep(self.settle / 5)
        return condition()

    @contextmanager
    def by_force_after(self, seconds: float) -> Iterator[None]:
        """From so many seconds on, no shield in the block's code holds against being cancelled."""
        key = object()
        self._shielded_until[key] = trio.current_time() + seconds
        try:
            yield
        finally:
            del self._shielded_until[key]

    async def break_shields(self) -> None:
        """A task: what a provider shields must not hold a check for ever, or nobody would be told whose fault it is."""
        while True:
            await trio.sleep(self.patience / 2)
            if any(until < trio.current_time() for until in self._shielded_until.values()):
                # A scope that is entered without a name can be found in no frame.
                for scope in gc.get_objects():
                    if type(scope) is trio.CancelScope and scope.shield:
                        scope.shield = False
                        self.shields_broken += 1

    def is_client_task(self, task: trio.lowlevel.Task) -> bool:
        """Whether a task is the client's, rather than the provider's."""
        ancestor: trio.lowlevel.Task | None = task
        while ancestor is not None:
            if ancestor in self.client_tasks:
                return True
            nursery = ancestor.parent_nursery
            ancestor = nursery.parent_task if nursery is not None else None
        return False


@attrs.define(eq=False)
class Listening:
    """One listener that listens."""

    listener: ProtocolListener
    callback: KitListenerCallback
    arrivals: trio.MemoryReceiveChannel[Arrival]
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    ended: trio.Event = attrs.field(factory=trio.Event)
    is_stopping: bool = False

    @property
    def addresses(self) -> Sequence[tuple[str, int]]:
        """Where it listens; empty: it does not say."""
        return self.listener.bound_addresses or ()

    @property
    def address(self) -> tuple[str, int] | None:
        """The first of them."""
        return next(iter(self.addresses), None)


class Guest:
    """A client at a listener.

    Args:
        listening: where.
    """

    def __init__(self, listening: Listening) -> None:
        self.listening = listening
        self.relay: Relay | None = None
        self.client: Any = None
        """What the client's function yielded."""
        self.failure: Exception | None = None
        self.is_over = trio.Event()
        self._leaves = trio.Event()
        self._scope = trio.CancelScope()

    async def run(self, check: Check) -> None:
        """The client's task."""
        check.client_tasks.add(trio.lowlevel.current_task())
        listener = self.listening.listener
        address = self.listening.address
        try:
            with self._scope:
                async with _relay_to(address) as self.relay:
                    knowledge = {
                        "address": self.relay.address if self.relay else "",
                        "port": self.relay.port if self.relay else 0,
                        "user": check.user,
                        "password": check.password,
                        "listener": listener,
                        "options": check.options,
                    }
                    async with check.client.connected(**knowledge) as self.client:
                        await self._leaves.wait()
        except Exception as error:  # a client that the provider drops may fail as it likes
            self.failure = error
        finally:
            self.is_over.set()

    async def leave(self, patience: float) -> None:
        """Leave as the client's function does it."""
        self._leaves.set()
        with trio.move_on_after(patience):
            await self.is_over.wait()
        self._scope.cancel()

    async def break_line(self) -> None:
        """Leave without a goodbye."""
        if self.relay is not None:
            await self.relay.cut()
        self._leaves.set()
        self._scope.cancel()

    async def use(self, patience: float) -> bool:
        """Let the client make input and look; whether it can."""
        use = getattr(self.client, "use", None)
        if use is None:
            return False
        with trio.move_on_after(patience):
            try:
                await use()
            except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
                return False
        await trio.sleep(min(SETTLE, patience / 20))
        return True


@asynccontextmanager
async def _relay_to(address: tuple[str, int] | None) -> AsyncIterator[Relay | None]:
    if address is None:
        yield None
        return
    relay = Relay((address[0], address[1]))
    async with trio.open_nursery() as nursery:
        await nursery.start(relay.run)
        yield relay
        nursery.cancel_scope.cancel()


class Run:
    """One manager's life. Made by `running`."""

    def __init__(self, check: Check, nursery: trio.Nursery, starting: str) -> None:
        self.kit = check
        self._starting = starting
        self.findings = check.findings
        self.nursery = nursery
        self.manager: ProtocolManager
        self.settings: KitSettings
        self.listenings: list[Listening] = []
        self._arrived: list[Arrival] = []
        self._is_up = False
        self.blamed_for_the_listener = "start-listen-stays"
        """The rule that a listener breaks which fails."""

    # Calls

    async def call(
        self,
        method: Callable[..., Awaitable[Any]],
        *args: object,
        default: object = REQUIRED,
        blame: str | None = None,
        late: str | None = None,
        answers: str = "answers-have-their-types",
        may_refuse: bool = False,
    ) -> Any:
        """Make one call of the service.

        Args:
            method: of the provider's object.
            args: for it.
            default: what is returned after E_NOTIMPL, and after a failure that the service survives.
            blame: the rule that is broken if the call fails, where it is a special one.
            late: the rule that is broken if the call does not return, likewise.
            answers: the rule that is broken if the answer has another type than the interface says.
            may_refuse: every HRESULT is an answer here.

        Raises:
            CannotGoOnError: it broke a rule.
        """
        row = _row_of(method)
        name = row.name if row is not None else "".join(word.capitalize() for word in method.__name__.split("_"))
        is_notification = row is not None and row.is_notification
        patience = self.kit.patience * (2 if name == "Close" else 1)
        broken = self.kit.shields_broken
        answer = None
        try:
            with (
                self.kit.observer.calling(name),
                self.kit.by_force_after(2 * patience),
                trio.move_on_after(patience) as scope,
                exits_are_errors(),
            ):
                answer = await method(*args)
        except HResultError as error:
            self.kit.observer.told(f"the reason of an error in {name}", error.reason)
            not_implemented = error.hresult == E_NOTIMPL
            survived = (
                may_refuse or row is None or (row.not_implemented if not_implemented else row.failed) is not Effect.DROP
            )
            if survived and (default is not REQUIRED or not_implemented):
                self._passed(blame, late, is_notification)
                return None if default is REQUIRED else default
            rule = blame or (self._starting if not self._arrived else "good-client-gets-in")
            self.findings.require(rule, False, f"{name} raised {told_by(error)}")
        except Exception as error:
            raised = unwrapped(error)
            self.kit.observer.told(f"an exception of {name}", told_by(raised))
            rule = blame or "failures-are-hresults"
            if isinstance(raised, ConfigurationError | OSError) and not self._is_up:
                rule = self._starting
            self.findings.require(rule, False, f"{name} raised {told_by(raised)}")
        if scope.cancel_called:  # also if it has swallowed that
            rule = late or ("notifications-return-at-once" if is_notification else "calls-return")
            shielded = ", and had to be taken out of a shield" if self.kit.shields_broken > broken else ""
            self.findings.require(rule, False, f"{name} did not return within {patience:g} s{shielded}")
        self._passed(blame, late, is_notification)
        if row is not None and row.returns is not None:
            self.findings.require(
                answers,
                isinstance(answer, row.returns),
                f"{name} returned {shown(answer)}, expected {getattr(row.returns, '__name__', row.returns)}",
            )
        return answer

    def _passed(self, blame: str | None, late: str | None, is_notification: bool) -> None:
        self.findings.check(late or ("notifications-return-at-once" if is_notification else "calls-return"), True)
        self.findings.check(blame or "failures-are-hresults", True)

    def check_signatures(self, implementation: Any) -> None:
        """An object that the provider made: its class.

        Raises:
            CannotGoOnError: it cannot be called as the service does.
        """
        faults = faults_of(implementation.__class__)
        self.findings.require("signatures", not faults, f"{type(implementation).__qualname__} {'; '.join(faults)}")

    # Start and stop

    async def start(self, listeners: int = 1) -> None:
        """Initialize, CreateListener, GetSettings, StartListen."""
        manager_class = self.kit.manager
        faults = faults_of(manager_class)
        self.findings.require("signatures", not faults, f"{manager_class.__qualname__} {'; '.join(faults)}")
        try:
            with exits_are_errors():
                self.manager = manager_class()
        except Exception as error:
            rule = "manager-needs-no-arguments"
            self.findings.require(rule, False, f"{manager_class.__qualname__}() raised {told_by(error)}")
        self.findings.check("manager-needs-no-arguments", True)
        self.settings = KitSettings(self.kit.options, KitAuthenticator(self.kit.user, self.kit.password))
        await self.call(self.manager.initialize, self.settings, Settings())
        for number in range(listeners):
            listener = await self.call(self.manager.create_listener, f"check-{number + 1}")
            self.findings.require(
                "one-manager-many-listeners",
                all(listener is not other.listener for other in self.listenings),
                "CreateListener returned the same listener for two names",
            )
            self.check_signatures(listener)
            await self.call(listener.get_settings, ListenerSettingLevel.LEVEL_1, default=ListenerSettings())
            await self._listen(listener)
        self.findings.check(self._starting, True)
        self._is_up = True

    async def _listen(self, listener: ProtocolListener) -> None:
        arrivals, received = trio.open_memory_channel[Arrival](100)

        def arrived(arrival: Arrival) -> None:
            self._arrived.append(arrival)
            arrivals.send_nowait(arrival)

        callback = KitListenerCallback(self.kit.observer, self._ask_redirector, arrived, self._look_at_arguments)
        listening = Listening(listener, callback, received)

        async def start_listen() -> None:
            await self.nursery.start(self._keep_listening, listening)

        start_listen.__name__ = "start_listen"
        await self.call(start_listen, late="start-listen-says-started")
        if "start-listen-says-started" in self.findings.failures:
            raise CannotGoOnError("start-listen-says-started")
        self._look_at_addresses(listener)
        self.listenings.append(listening)

    def _look_at_addresses(self, listener: ProtocolListener) -> None:
        addresses: object = listener.bound_addresses
        good = not addresses or (
            isinstance(addresses, Sequence)
            and all(isinstance(place, tuple) and len(place) == 2 for place in addresses)
            and all(isinstance(host, str) and isinstance(port, int) for host, port in addresses)
        )
        seen = f"bound_addresses is {shown(addresses)}, expected a sequence of (host, port)"
        self.findings.require("started-means-listening", good, seen)

    async def _keep_listening(
        self, listening: Listening, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """StartListen, as a task."""
        said = False

        class Status:
            def started(self, value: object = None) -> None:
                nonlocal said
                said = True
                task_status.started()

        try:
            with listening.scope, exits_are_errors():
                await listening.listener.start_listen(listening.callback, task_status=Status())
        except Exception as error:
            if not said:
                raise
            raised = unwrapped(error)
            self.kit.observer.told("an exception of start_listen", told_by(raised))
            self.findings.check(self.blamed_for_the_listener, False, f"start_listen raised {told_by(raised)}")
        else:
            if not said and not listening.scope.cancelled_caught:
                seen = "start_listen returned, and had not called task_status.started()"
                self.findings.check("start-listen-says-started", False, seen)
                task_status.started()  # or nursery.start raises, and nobody could tell why
            elif said and not listening.is_stopping and not listening.scope.cancel_called:
                seen = "start_listen returned, and StopListen had not been called"
                self.findings.check("start-listen-stays", False, seen)
        finally:
            listening.ended.set()

    async def stop(self) -> None:
        """StopListen for each listener, Uninitialize."""
        for listening in self.listenings:
            await self.stop_listening(listening)
        for listening in self.listenings:
            await self.listening_ends(listening)
        self._is_up = False
        await self.call(self.manager.uninitialize, default=None)

    def listens_still(self, listening: Listening) -> None:
        """Whether start_listen is not over.

        Raises:
            CannotGoOnError: it is.
        """
        if listening.ended.is_set():
            raise CannotGoOnError(self.blamed_for_the_listener)
        self.findings.check("start-listen-stays", True)

    async def stop_listening(self, listening: Listening) -> None:
        """StopListen, once."""
        if listening.is_stopping or listening.scope.cancel_called:
            return
        self.listens_still(listening)
        listening.is_stopping = True
        await self.call(listening.listener.stop_listen, late="stop-listen-returns")

    async def listening_ends(self, listening: Listening, rule: str = "start-listen-ends-after-stop") -> None:
        """Wait for the end of StartListen."""
        with trio.move_on_after(2 * self.kit.patience):
            await listening.ended.wait()
        what = "it was cancelled" if rule == "listener-can-be-cancelled" else "StopListen and the last Close"
        seen = f"start_listen went on for {2 * self.kit.patience:g} s after {what}"
        if not self.findings.check(rule, listening.ended.is_set(), seen):
            with trio.move_on_after(self.kit.patience):  # else it might hold us as well
                await listening.listener.stop_listen()
            raise CannotGoOnError(rule)

    # Clients

    @asynccontextmanager
    async def guest(self, listening: Listening | None = None) -> AsyncIterator[Guest]:
        """A client comes, and leaves at the end of the block if it has not before."""
        guest = Guest(listening or self.listenings[0])
        self.nursery.start_soon(guest.run, self.kit)
        try:
            yield guest
        finally:
            with trio.CancelScope(shield=True):
                await guest.leave(self.kit.patience)

    async def arrival(self, guest: Guest, rule: str = "on-connected-comes", why: str = "") -> Arrival:
        """Wait until the guest has become a connection.

        Raises:
            CannotGoOnError: it has not; ``rule`` is broken.
        """
        arrival = None
        with trio.move_on_after(2 * self.kit.patience):  # GetLogonErrorRedirector may take its time, too
            arrival = await guest.listening.arrivals.receive()
        if arrival is None:
            await trio.sleep(self.kit.settle)
            failure = (
                f"; the client failed with {told_by(unwrapped(guest.failure))}" if guest.failure is not None else ""
            )
            place = ""
            if guest.failure is not None and guest.listening.address is None:
                place = "; the listener has no bound_addresses, so nobody could tell it where to go"
            self.listens_still(guest.listening)
            self.findings.require(
                rule,
                False,
                f"{why}no OnConnected within {2 * self.kit.patience:g} s of the client's arrival{failure}{place}",
            )
            raise CannotGoOnError(rule)
        self.findings.check(rule, True)
        return arrival

    async def _ask_redirector(self, arrival: Arrival) -> None:
        """The first call, in a task of the service's."""
        over = trio.Event()

        async def ask() -> None:
            try:
                redirector = await self.call(
                    arrival.connection.get_logon_error_redirector,
                    default=None,
                    late="redirector-needs-no-on-ready",
                )
                if isinstance(redirector, LogonErrorRedirector):
                    self.check_signatures(redirector)
                arrival.redirector = redirector
            except CannotGoOnError:
                arrival.has_failed = True
            finally:
                over.set()

        self.nursery.start_soon(ask)
        await over.wait()

    def _look_at_arguments(self, connection: Any, settings: object) -> None:
        """OnConnected's."""
        self.findings.check(
            "on-connected-arguments",
            isinstance(connection, ProtocolConnection),
            f"the connection is {type(connection).__name__}, expected a ProtocolConnection",
        )
        self.findings.check(
            "on-connected-arguments",
            isinstance(settings, ConnectionSettings),
            f"the settings are {type(settings).__name__}, expected ConnectionSettings",
        )
        implementation: type[Any] = type(connection)
        faults = faults_of(implementation) if issubclass(implementation, ProtocolConnection) else ()
        self.findings.check("signatures", not faults, f"{implementation.__qualname__} {'; '.join(faults)}")
        self.findings.check(
            "connection-object-is-fresh",
            all(connection is not other.connection for other in self._arrived),
            "OnConnected brought a connection object that it had brought before",
        )

    @property
    def is_broken(self) -> bool:
        """Whether OnConnected has brought what cannot be called."""
        return bool(
            {"on-connected-arguments", "signatures", "connection-object-is-fresh"} & self.findings.failures.keys()
        )

    def look_at_the_end(self) -> None:
        """What can be told only when all is over."""
        for arrival in self._arrived:
            callback = arrival.callback
            self.findings.check(
                "on-ready-comes-once", callback.ready <= 1, f"OnReady came {callback.ready} times for one connection"
            )
            if callback.is_closed:
                late = ", ".join(dict.fromkeys(callback.late))
                self.findings.check("no-callback-after-close", not callback.late, f"{late} came after Close")


@asynccontextmanager
async def running(check: Check, listeners: int = 1, starting: str = "starts") -> AsyncIterator[Run]:
    """A provider that is started, and stopped at the end of the block; then it is looked at what is left.

    Args:
        check: of what.
        listeners: how many.
        starting: the rule that is broken if it does not start.

    Raises:
        CannotGoOnError: a rule was broken that nothing can follow.
    """
    stopped = None
    sockets = open_sockets()
    broken = check.shields_broken
    with _counted_tasks() as counter, ExitStack() as ending:
        scope = trio.CancelScope()
        with scope:
            async with trio.open_nursery() as nursery:
                run = Run(check, nursery, starting)
                try:
                    await run.start(listeners)
                    yield run
                    await run.stop()
                except CannotGoOnError as error:
                    stopped = error
                    broken = check.shields_broken  # that has been told
                ending.enter_context(check.by_force_after(check.patience))
                nursery.cancel_scope.cancel()
        run.look_at_the_end()
        if check.shields_broken > broken:
            check.findings.check("listener-can-be-cancelled", False, "a task of the provider's stayed in a shield")
        if stopped is not None:
            raise stopped
        await trio.sleep(check.settle)
        names = ", ".join(sorted({task.name for task in counter.alive if not check.is_client_task(task)}))
        check.findings.check("nothing-left-behind", not names, f"tasks that are still there: {names}")
    check.client_tasks.clear()
    known = "nothing-left-behind" in check.findings.failures  # then waiting again would tell nothing new
    left = await _sockets_left(sockets, 0 if known else check.patience)
    check.findings.check("nothing-left-behind", not left, f"{left} sockets are still open")


@contextmanager
def _counted_tasks() -> Iterator[TaskCounter]:
    counter = TaskCounter()
    trio.lowlevel.add_instrument(counter)
    try:
        yield counter
    finally:
        trio.lowlevel.remove_instrument(counter)


def open_sockets() -> set[str]:
    """The sockets of this process, by number; none where the system does not tell."""
    found = set()
    try:
        for descriptor in os.listdir("/proc/self/fd"):
            try:
                target = os.readlink(f"/proc/self/fd/{descriptor}")
            except OSError:
                continue
            if target.startswith("socket:"):
                found.add(target)
    except OSError:
        return set()
    return found


async def _sockets_left(before: set[str], patience: float) -> int:
    """How many more there are; the relay's and the client's need a moment."""
    with trio.move_on_after(min(patience, 1.0)):
        while open_sockets() - before:
            gc.collect()
            await trio.sleep(SETTLE)
    return len(open_sockets() - before)


def _row_of(method: Callable[..., object]) -> Call | None:
    """What the failure policy says of a method; None: the service calls none of that name."""
    try:
        return call_of(method)
    except LookupError:
        return None


def is_coroutine(value: object) -> bool:
    """Whether a plain method turned out to be async; the coroutine is closed."""
    if iscoroutine(value):
        value.close()
        return True
    return False
