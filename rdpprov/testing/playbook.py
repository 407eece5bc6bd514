"""A connection told as a dialogue: what the service is expected to call, and what the provider answers.

::

    await Playbook(
        Expect("GetLogonErrorRedirector", NOT_IMPLEMENTED),
        Says("OnReady"),
        Expect("AcceptConnection"),
        Expect("GetClientData", HANGS),
        Expect("SetErrorInfo", args=(ErrInfo.ERRINFO_LOGON_TIMEOUT,), after=15),
        Expect("Close"),
    ).play(provider)

`provider` is a `rdpprov.testing.scripted.ScriptedProvider` whose service runs. An `Expect` is a call of the service and
what the provider answers: a value, `NOT_IMPLEMENTED`, ``Fails(error)``, ``Takes(seconds)``, `HANGS`, or a function of
the call's arguments; without an answer it is the one of a client that has nothing special about it. `Says` is the
provider's own call: OnReady, BrokenConnection, or a function that does something with the connection. `Types` is what a
user types on the logon desktop, `Silence` a time in which nothing may come.

A dialogue is strict: a call that is not the next line's is a failure, and so is a call that does not come. It runs on
`trio.testing.MockClock`, so ``after`` is exact and takes no time.
"""

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import attrs
import trio
import trio.testing

from rdpprov.testing.scripted import Answers, Asked, ScriptedConnection, ScriptedProvider

PATIENCE = 3600.0
"""Seconds of the test's clock; a service that calls nothing for so long will not."""


class DialogueError(AssertionError):
    """The service did not say its line. The message shows the dialogue and what came."""


@attrs.frozen
class Expect:
    """The service makes this call, and gets this answer."""

    name: str
    answer: object = None
    """A value, `Fails`, `Takes`, `HANGS` or a function; None: as `rdpprov.testing.scripted` answers by itself."""
    args: Sequence[object] | None = None
    """The arguments that are expected; None: any."""
    after: float | None = None
    """Seconds since the line before, exactly; None: any time."""


@attrs.frozen
class Says:
    """The provider calls the service: OnReady, BrokenConnection, or something that a function does."""

    what: str | Callable[[ScriptedConnection], object]


@attrs.frozen
class Types:
    """Somebody types this on the logon desktop."""

    user_name: str
    password: str


@attrs.frozen
class Silence:
    """The service calls nothing for so long."""

    seconds: float


@attrs.define(eq=False)
class _Called:
    """A call that waits for its line."""

    asked: Asked
    answer: object = None
    answered: trio.Event = attrs.field(factory=trio.Event)


Line: TypeAlias = Expect | Says | Types | Silence


class Playbook:
    """A dialogue, and the script that answers by it."""

    def __init__(self, *lines: Line) -> None:
        self.lines = lines
        self._calls, self._called = trio.open_memory_channel[_Called](math.inf)

    async def answer(self, asked: Asked) -> object:
        """A call of the service: wait until the dialogue comes to it."""
        called = _Called(asked)
        self._calls.send_nowait(called)
        await called.answered.wait()
        return await Answers({asked.name: called.answer} if called.answer is not None else {}).answer(asked)

    async def play(self, provider: ScriptedProvider, **connect: object) -> ScriptedConnection:
        """Let a client arrive, and hold the dialogue with the service.

        Args:
            provider: its service runs.
            connect: for `ScriptedProvider.connect`.

        Raises:
            DialogueError: the service did not say its line.
        """
        async with trio.open_nursery() as nursery:
            arrived = trio.Event()
            connections: list[ScriptedConnection] = []

            async def arrive() -> None:
                connections.append(await provider.connect(script=self, ready=False, **connect))  # type: ignore[arg-type]
                arrived.set()

            nursery.start_soon(arrive)
            before = trio.current_time()
            for number, line in enumerate(self.lines):
                match line:
                    case Expect():
                        await self._expect(number, line, before)
                    case Says(what="OnReady"):
                        await arrived.wait()
                        connections[0].callback.on_ready()
                    case Says(what="BrokenConnection"):
                        await arrived.wait()
                        connections[0].callback.broken_connection()
                    case Says(what=what):
                        await arrived.wait()
                        assert callable(what), f"{what} is nothing that a provider says"
                        what(connections[0])
                    case Types():
                        await trio.testing.wait_all_tasks_blocked()
                        provider.logon_desktops[-1].type(line.user_name, line.password)
                    case Silence():
                        await self._silence(number, line)
                before = trio.current_time()
        return connections[0]

    async def _expect(self, number: int, line: Expect, before: float) -> None:
        with trio.move_on_after(PATIENCE) as scope:
            called = await self._called.receive()
        if scope.cancelled_caught:
            raise DialogueError(self._told(number, "nothing came"))
        asked = called.asked
        if asked.name != line.name or (line.args is not None and tuple(line.args) != asked.args):
            raise DialogueError(self._told(number, f"{asked.name}{asked.args} came"))
        seconds = asked.at - before
        if line.after is not None and not math.isclose(seconds, line.after, abs_tol=1e-6):
            raise DialogueError(self._told(number, f"it came after {seconds:g} s"))
        called.answer = line.answer
        called.answered.set()

    async def _silence(self, number: int, line: Silence) -> None:
        with trio.move_on_after(line.seconds):
            asked = (await self._called.receive()).asked
            raise DialogueError(self._told(number, f"{asked.name}{asked.args} came"))

    def _told(self, number: int, came: str) -> str:
        """The dialogue as it went."""
        lines = [f"    {line}" for line in self.lines[:number]]
        lines.append(f"--> {self.lines[number]}")
        return "\n".join([*lines, f"but {came}"])
