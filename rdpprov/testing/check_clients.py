"""Who connects in a check: the clients that a provider's author supplies, how they are found, and what is in between.

A client is whatever makes a provider call OnConnected. It is supplied as a function whose parameters say what it wants
to know, any of ``address``, ``port``, ``user``, ``password``, ``listener`` (the provider's own object, for a provider
without network) and ``options``; either an async context manager::

    @asynccontextmanager
    async def check_client(address, port, user, password):
        async with await trio.open_tcp_stream(address, port) as stream:
            await stream.send_all(f"LOGON {user} {password}\\n".encode())
            yield SimpleNamespace(use=partial(stream.send_all, b"TYPE a\\n"))   # or yield nothing

What is yielded may have any of the parts of `ConnectedClient`. Or it is a plain async function, which is cancelled
when the client is to leave. It is found as the attribute ``check_client`` of the manager class (the function, or its
name ``"module:function"``), or in the entry-point group ``rdpprov.check_clients`` under the name of the protocol's
own entry point.
"""

import importlib
import importlib.metadata
import inspect
import socket
import struct
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import attrs
import trio

from rdpprov.api.manager import ProtocolManager
from rdpprov.errors import ConfigurationError

ENTRY_POINTS = "rdpprov.check_clients"
"""Names are those of ``rdpprov.protocols``; values name a function, or a `CheckClient`."""

_STREAM_OVER = (trio.BrokenResourceError, trio.ClosedResourceError)
CHUNK = 65536


class ConnectedClient(Protocol):
    """What a client's function may yield; every part is optional, and what is missing makes rules not applicable."""

    session_id: int | None
    """The session that the provider has told the client last; None: it has not told any yet."""

    admitted: bool
    """Whether the provider has let the client on, beyond licensing."""

    license_packets: Sequence[bytes]
    """The license packets that have come to the client so far, in their order."""

    license_answers: Sequence[bytes]
    """What the client has sent as answers to them. It answers every packet at once, in any way, except a license
    itself: SERVER_NEW_LICENSE and SERVER_UPGRADE_LICENSE, whose first byte is 3 or 4."""

    async def use(self) -> None:
        """Do what a user does: make input, and look at the picture. Need not wait for an answer."""


@attrs.frozen
class CheckClient:
    """A client, and what its provider's listener has to be configured with.

    Args:
        connect: see the module.
        options: of the listener; a function gets a directory that is thrown away after the check.
    """

    connect: Callable[..., Any]
    options: Mapping[str, object] | Callable[[Path], Mapping[str, object]] = attrs.field(factory=dict)

    def listener_options(self, directory: Path) -> Mapping[str, object]:
        """For `ProtocolSettings.listener_options`."""
        return self.options(directory) if callable(self.options) else self.options

    @asynccontextmanager
    async def connected(self, **knowledge: object) -> AsyncIterator[object]:
        """The client, from its arrival to its leaving."""
        made = self.connect(**_wanted(self.connect, knowledge))
        if isinstance(made, AbstractAsyncContextManager):
            async with made as client:
                yield client
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_run, made)
            yield None
            nursery.cancel_scope.cancel()


async def _run(made: Any) -> None:
    await made


def _wanted(function: Callable[..., Any], knowledge: Mapping[str, object]) -> dict[str, object]:
    """Of what the kit knows, what the function has parameters for."""
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return dict(knowledge)
    unknown = [
        parameter.name
        for parameter in parameters
        if parameter.name not in knowledge and parameter.default is parameter.empty
    ]
    if unknown:
        raise ConfigurationError(
            f"check client {getattr(function, '__qualname__', function)} wants {', '.join(unknown)}, "
            f"expected of {', '.join(knowledge)}"
        )
    return {parameter.name: knowledge[parameter.name] for parameter in parameters if parameter.name in knowledge}


def find_client(protocol: str, manager: type[ProtocolManager], named: str | None = None) -> CheckClient:
    """The client for a provider.

    Args:
        protocol: how the provider was named.
        manager: its class.
        named: ``module:function``; None: by convention.

    Raises:
        ConfigurationError: there is none, or it cannot be imported; the message says where it was looked for.
    """
    found: object = named if named is not None else getattr(manager, "check_client", None)
    if found is None:
        found = _entry_point(protocol, manager)
    if found is None:
        raise ConfigurationError(
            f"provider {protocol}: no client to check it with; give --client module:function, an attribute "
            f"{manager.__qualname__}.check_client, or an entry point in {ENTRY_POINTS}"
        )
    return as_client(found)


def as_client(found: object) -> CheckClient:
    """A client out of what a convention gave: a `CheckClient`, a function, or the name of either.

    Raises:
        ConfigurationError: it is none of these.
    """
    if isinstance(found, str):
        found = _imported(found)
    if isinstance(found, CheckClient):
        return found
    if not callable(found):
        raise ConfigurationError(f"check client {found!r}: expected an async function")
    return CheckClient(found)


def _imported(name: str) -> object:
    module, separator, path = name.partition(":")
    if not (module and separator and path):
        raise ConfigurationError(f"check client {name!r}: expected module:function")
    try:
        found: object = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"check client {name}: {error}") from error
    return found


def _entry_point(protocol: str, manager: type[ProtocolManager]) -> object:
    """The entry point of the protocol's name, or of the name under which the same class is installed."""
    names = {protocol}
    for entry in importlib.metadata.entry_points(group="rdpprov.protocols"):
        if entry.value.replace(" ", "") == f"{manager.__module__}:{manager.__qualname__}":
            names.add(entry.name)
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        if entry.name in names:
            try:
                loaded: object = entry.load()
            except Exception as error:
                raise ConfigurationError(f"check client {entry.name}: {entry.value}: {error!r}") from error
            return loaded
    return None


# --- Between client and provider --------------------------------------------------------------------------------------


class Relay:
    """A TCP connection's middle: it copies bytes both ways, sees who closes, and can break the line.

    Args:
        target: the provider's address and port.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        host, port = target
        self._target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port
        self.address = ""
        self.port = 0
        self.provider_closed = trio.Event()
        """The provider has closed its end, of every connection that there was."""
        self._provider_streams: list[trio.SocketStream] = []
        self._open = 0
        self._flowing = trio.Event()
        self._flowing.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.address, self.port = listeners[0].socket.getsockname()[:2]
        with suppress(trio.ClosedResourceError):
            await trio.serve_listeners(self._serve, listeners, task_status=task_status)  # type: ignore[arg-type]

    async def cut(self) -> None:
        """Reset the provider's end: the client has gone without a goodbye."""
        for stream in self._provider_streams:
            with suppress(OSError):
                stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await trio.aclose_forcefully(stream)

    def stall(self) -> None:
        """The client takes nothing any more, and sends nothing."""
        self._flowing = trio.Event()

    async def _serve(self, client: trio.SocketStream) -> None:
        self._open += 1
        try:
            async with client:
                try:
                    provider = await trio.open_tcp_stream(*self._target)
                except OSError:
                    return
                self._provider_streams.append(provider)
                async with provider, trio.open_nursery() as nursery:
                    nursery.start_soon(self._copy, client, provider)
                    await self._copy(provider, client)
                    nursery.cancel_scope.cancel()
        finally:
            self._open -= 1
            if not self._open:
                self.provider_closed.set()

    async def _copy(self, source: trio.SocketStream, target: trio.SocketStream) -> None:
        with suppress(*_STREAM_OVER):
            while data := await source.receive_some(CHUNK):
                await self._flowing.wait()
                await target.send_all(data)
        with suppress(*_STREAM_OVER):
            await target.send_eof()
