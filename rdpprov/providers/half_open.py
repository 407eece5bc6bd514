"""Clients that have not said yet who they are: how many there may be, and who has to go when there are too many."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from rdpprov.errors import RemoteProtocolError


class CrowdedOut(RemoteProtocolError):  # noqa: N818 - it happens to a client that may have done nothing wrong
    """The client had to go, because there were too many that had not said yet who they are."""


class HalfOpenClients:
    """The listener's clients before OnConnected.

    When the limit is reached, the oldest client of the same source address goes, so that one host that opens
    connections and says nothing crowds out only itself; if the address has none, the oldest of the address that has
    most.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count = 0
        # Of each address the clients, oldest first; no address without any.
        self._by_address: dict[str, OrderedDict[trio.CancelScope, None]] = {}

    def __len__(self) -> int:
        return self._count

    @contextmanager
    def admitted(self, address: str) -> Iterator[trio.CancelScope]:
        """Count a client in for the length of the block.

        Raises:
            CrowdedOut: on leaving, it had to go.
        """
        if self._count >= self._limit:
            self.make_room(address)
        with trio.CancelScope() as scope:
            self._by_address.setdefault(address, OrderedDict())[scope] = None
            self._count += 1
            try:
                yield scope
            finally:
                self._forget(address, scope)
        if scope.cancelled_caught:
            raise CrowdedOut("crowded out: too many clients have not said who they are")

    def make_room(self, address: str | None = None) -> None:
        """Let one client go, if there is any; for a newcomer of this address, or of one that is not known yet."""
        if not self._by_address:
            return
        if address not in self._by_address:
            address = max(self._by_address, key=lambda known: len(self._by_address[known]))
        assert address is not None
        oldest = next(iter(self._by_address[address]))
        oldest.cancel()
        # It leaves the table at once, not when its task gets to run: the next newcomer must not pick it again.
        self._forget(address, oldest)

    def _forget(self, address: str, scope: trio.CancelScope) -> None:
        clients = self._by_address.get(address)
        if clients is None or scope not in clients:
            return
        del clients[scope]
        self._count -= 1
        if not clients:
            del self._by_address[address]
