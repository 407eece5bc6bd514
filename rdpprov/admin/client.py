"""The administrator's half of the admin socket: `connect_admin`."""

import itertools
import math
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

import trio

from rdpprov.admin import protocol
from rdpprov.admin.lines import LineStream
from rdpprov.admin.place import connected_to
from rdpprov.errors import AdministrationError, RemoteProtocolError
from rdpprov.rcm.events import Event
from rdpprov.rcm.snapshots import ListenerInfo, ServiceInfo, SessionDetails, SessionInfo
from rdpprov.security.private_files import reason_of

Structure = TypeVar("Structure")

PATIENCE = 60.0
"""Seconds for an answer, unless a person has to agree."""


class NoServiceError(AdministrationError):
    """Nobody answers at the admin socket, or not any more."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, "no-service")


@asynccontextmanager
async def connect_admin(path: Path) -> AsyncIterator["AdminClient"]:
    """Connect to the service whose admin socket is at ``path``.

    Raises:
        NoServiceError: nobody answers there.
    """
    try:
        connected = await trio.to_thread.run_sync(connected_to, path, abandon_on_cancel=True)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
        raise NoServiceError(
            f"no service answers at {path}: is it running? --state-dir or --admin names another place"
        ) from error
    except OSError as error:
        raise NoServiceError(f"no service answers at {path}: {reason_of(error)}") from error
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(connected))
    async with stream:
        yield AdminClient(LineStream(stream, protocol.MAX_ANSWER), path)


class AdminClient:
    """What an administrator asks a service. Made by `connect_admin`; one task at a time may ask.

    Every method raises `AdministrationError`, with the service's code, if the service does not do what is asked, and
    `NoServiceError` if there is none any more.
    """

    def __init__(self, lines: LineStream, path: Path) -> None:
        self._lines = lines
        self._path = path
        self._ids = itertools.count(1)
        self._events: deque[Event] = deque()

    async def service(self) -> ServiceInfo:
        """The service itself."""
        return protocol.from_json(ServiceInfo, await self._ask("service"))

    async def sessions(self) -> list[SessionInfo]:
        """All sessions by number."""
        return _list_of(SessionInfo, await self._ask("sessions"))

    async def session(self, session: int) -> SessionDetails:
        """One session, and the settings in force there."""
        return protocol.from_json(SessionDetails, await self._ask("session", session=session))

    async def listeners(self) -> list[ListenerInfo]:
        """All listeners."""
        return _list_of(ListenerInfo, await self._ask("listeners"))

    async def disconnect(self, session: int) -> None:
        """Disconnect a session's client; the session stays."""
        await self._ask("disconnect", session=session)

    async def logoff(self, session: int) -> None:
        """End a session."""
        await self._ask("logoff", session=session)

    async def message(self, session: int, text: str) -> None:
        """Show a message on a session's desktop."""
        await self._ask("message", session=session, text=text)

    async def shadow(self, target: int, *, viewer: int | None = None, control: bool = False) -> None:
        """Let another session's client see a session, once its user has agreed."""
        await self._ask("shadow", math.inf, target=target, viewer=viewer, control=control)

    async def end_shadow(self, target: int) -> None:
        """Let a session be shadowed no longer."""
        await self._ask("end_shadow", target=target)

    async def drain(self, on: bool) -> None:
        """Begin or end to drain."""
        await self._ask("drain", on=on)

    async def watch(self) -> None:
        """Have events from now on: `next_event`."""
        await self._ask("watch")

    async def next_event(self) -> Event:
        """The next event, once `watch` has been called; those that are unknown here are left out.

        Raises:
            NoServiceError: the service has ended.
        """
        while not self._events:
            await self._receive()
        return self._events.popleft()

    async def _ask(self, call: str, patience: float = PATIENCE, **arguments: object) -> object:
        request = protocol.Request(next(self._ids), call, arguments)
        with trio.move_on_after(patience):
            # A service that closes has perhaps said why.
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._lines.send(protocol.pack_request(request))
            while (answer := await self._receive()) is None or answer.id not in (request.id, None):
                pass
            if answer.error is not None:
                raise answer.error
            return answer.result
        raise NoServiceError(f"the service at {self._path} did not answer within {patience:g} s")

    async def _receive(self) -> protocol.Answer | None:
        """One line: an answer, or None: it was an event, and is kept."""
        try:
            line = await self._lines.receive()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            line = None
        if line is None:
            raise NoServiceError(f"the service at {self._path} has ended")
        said = protocol.unpack_answer(line)
        if isinstance(said, protocol.Answer):
            return said
        if said.event is not None:
            self._events.append(said.event)
        return None


def _list_of(kind: type[Structure], value: object) -> list[Structure]:
    if not isinstance(value, list):
        raise RemoteProtocolError(f"answer of the admin socket: no list of {kind.__name__}")
    return [protocol.from_json(kind, item) for item in value]
