"""Clients that have not said yet who they are: how many there may be, and who has to go when there are too many."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from rdpprov.errors import RemoteProtocolError


class HalfOpenClients:
    """The listener's clients before OnConnected.

    When the limit is reached, the oldest client of the same source address goes, so that one host that opens
    connections and says nothing crowds out only itself; if the address has none, the oldest of the address that has
    most.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._by_address: dict[str, OrderedDict[trio.CancelScope, None]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @contextmanager
    def admitted(self, address: str) -> Iterator[trio.CancelScope]:
        """Count a client in for the length of the block.

        Raises:
            RemoteProtocolError: on leaving, the client was crowded out.
        """
        if self._count >= self._limit:
            self._drop_one(address)
        with trio.CancelScope() as scope:
            self._by_address.setdefault(address, OrderedDict())[scope] = None
            self._count += 1
            try:
                yield scope
            finally:
                self._forget(address, scope)
        if scope.cancelled_caught:
            raise RemoteProtocolError(f"crowded out: more than {self._limit} clients have not said who they are")

    def _drop_one(self, address: str) -> None:
        scopes = self._by_address.get(address) or max(self._by_address.values(), key=len)
        oldest = next(iter(scopes))
        oldest.cancel()
        # It leaves the table at once, not when its task gets to run: the next newcomer must not pick it again.
        for owner, members in self._by_address.items():
            if oldest in members:
                self._forget(owner, oldest)
                break

    def _forget(self, address: str, scope: trio.CancelScope) -> None:
        members = self._by_address.get(address)
        if members is None or scope not in members:
            return
        del members[scope]
        self._count -= 1
        if not members:
            del self._by_address[address]
