"""Virtual channels that the service has opened to a client, as trio streams."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
import trio

from rdpprov.api.devices import Channel
from rdpprov.errors import for_log

log = structlog.get_logger(__name__)

Result = TypeVar("Result")


def is_channel(candidate: object) -> bool:
    """Whether it has what `rdpprov.api.devices.Channel` asks for."""
    return all(callable(getattr(candidate, name, None)) for name in ("send_all", "receive_some", "aclose"))


class ServiceChannel(trio.abc.Stream):
    """One channel of a client. It is over when its connection is: who waits gets `trio.ClosedResourceError`.

    A provider's failures come out as trio's own exceptions, so that any code for streams works on it.

    Args:
        channel: of CreateVirtualChannel.
        name: the endpoint's.
        siblings: all open channels of the connection; this one is among them until it is closed.
    """

    def __init__(self, channel: Channel, name: str, siblings: "set[ServiceChannel]") -> None:
        self.name = name
        self._channel: Channel | None = channel
        self._siblings = siblings
        self._waiting: set[trio.CancelScope] = set()
        siblings.add(self)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes; on a channel that carries messages, one.

        Raises:
            trio.ClosedResourceError: the channel is closed, or its connection is over.
            trio.BrokenResourceError: the provider cannot send any more.
        """
        await self._used(lambda channel: channel.send_all(bytes(data)))

    async def wait_send_all_might_not_block(self) -> None:
        """Return at once: a provider's channel does not say when it can take more.

        Raises:
            trio.ClosedResourceError: the channel is closed, or its connection is over.
        """
        await trio.lowlevel.checkpoint()
        if self._channel is None:
            raise trio.ClosedResourceError

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for bytes; none: the client's end is closed.

        Raises:
            trio.ClosedResourceError: the channel is closed, or its connection is over.
            trio.BrokenResourceError: the provider cannot receive any more.
        """
        return await self._used(lambda channel: channel.receive_some(max_bytes))

    async def aclose(self) -> None:
        """Close it. Twice is allowed, and so is afterwards."""
        channel = self._channel
        if channel is None:
            await trio.lowlevel.checkpoint()
            return
        self.connection_ended()
        try:
            await channel.aclose()
        except Exception as error:
            log.warning("provider failed", call="aclose", channel=self.name, **for_log(error))

    def connection_ended(self) -> None:
        """Nothing goes through it any more; the provider closes its end with the connection.

        Whoever keeps the stream does not keep the connection, and what its client has said.
        """
        self._channel = None
        self._siblings.discard(self)
        for scope in self._waiting:
            scope.cancel()

    async def _used(self, operation: Callable[[Channel], Awaitable[Result]]) -> Result:
        channel = self._channel
        if channel is None:
            raise trio.ClosedResourceError
        with trio.CancelScope() as scope:
            self._waiting.add(scope)
            try:
                return await operation(channel)
            except (trio.ClosedResourceError, trio.BrokenResourceError, trio.BusyResourceError):
                raise
            except Exception as error:
                raise trio.BrokenResourceError(f"channel {self.name}: {type(error).__name__}") from error
            finally:
                self._waiting.discard(scope)
        raise trio.ClosedResourceError
