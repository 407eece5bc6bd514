"""What the tasks of every connection need: a bell that wakes the writer, and limits that count all the time."""

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from rdpprov.errors import RemoteProtocolError


class Bell:
    """Wakes the writing task.

    An object of its own, for the display rings it: a connection and a display that hold each other would stay in
    memory, with all that a client costs, until garbage is collected.
    """

    def __init__(self) -> None:
        self._rung = trio.Event()

    def ring(self) -> None:
        """Let `wait` return."""
        self._rung.set()

    async def wait(self) -> None:
        """Until it is rung, or has been since the last time."""
        await self._rung.wait()
        self._rung = trio.Event()


@contextmanager
def in_time(seconds: float, what: str) -> Iterator[None]:
    """A time limit that counts all the time, not only silence (FRM-06).

    Raises:
        RemoteProtocolError: it took longer.
    """
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise RemoteProtocolError(f"{what} took longer than {seconds:g} s")
