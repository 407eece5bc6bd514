"""Driving a protocol machine that does no I/O: the tasks of a connection, alike for every provider.

One task reads and acts on what it reads; another writes: what the machine has to say, then pieces of the picture. The
reader sends its answers itself as long as the socket takes them; nobody but the writer ever waits for that, so a client
that takes nothing holds up only that task. The service's calls come from the service's own task: they change what the
machine or the devices know, and wake the writer.
"""

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

import structlog
import trio

from rdpprov.api import ProtocolConnection, ProtocolConnectionCallback
from rdpprov.errors import RemoteProtocolError, for_log
from rdpprov.providers.transport import LINGER, ClientGone, Transport
from rdpprov.providers.wire_trace import HeldTrace

MAX_UNSENT: Final = 64 * 1024
"""Bytes of answers that may wait for a client that does not take them, before we stop reading what it asks."""


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


class Machine(Protocol):
    """What is driven."""

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the client."""

    def data_to_send(self) -> bytes:
        """Everything queued for the client, which is then no longer queued."""


class Display(Protocol):
    """What makes pieces of the picture."""

    def due(self) -> float | None:
        """When the client is to get the next piece, on trio's clock; None: not before the bell rings."""

    def disconnected(self) -> None:
        """There is nobody to make any for."""


class DrivenConnection(ProtocolConnection):
    """One client, between the listener that has accepted it and the service.

    A subclass sets the attributes below before anything is called, says what happens in `take_events` and
    `queue_piece`, and has the calls of the service.
    """

    _machine: Machine
    _video: Display
    _transport: Transport
    _wire: HeldTrace
    _log: structlog.stdlib.BoundLogger
    unread_limit: int
    """Bytes that may come while the machine is paused."""

    def __init__(self) -> None:
        self._bell = Bell()
        self._callback: ProtocolConnectionCallback | None = None
        self._output: list[bytes] = []
        """Out of the machine, and not yet on its way: a write each."""
        self._written = trio.lowlevel.ParkingLot()
        self._reads = 0
        self._writing = trio.CancelScope()
        self._is_broken = False
        self._closing = trio.Event()
        self._is_served = False
        self._tasks_done = trio.Event()

    @property
    @abstractmethod
    def stage(self) -> str:
        """What the client is expected to do, for the log."""

    @abstractmethod
    def _take_events(self) -> bool:
        """Act on all that the machine has to tell; whether it is paused, and waits for the service."""

    @abstractmethod
    def _queue_piece(self) -> None:
        """Have the next piece of the picture made."""

    def _before_writing(self) -> None:
        """What is to be told the client as soon as it can be."""

    def _held_back(self) -> int:
        """Bytes of answers that the machine keeps to itself for now."""
        return 0

    def _more_tasks(self) -> Iterable[Callable[[], Awaitable[None]]]:
        """Beside the two."""
        return ()

    def _note_for_client(self, error: Exception) -> None:
        """Let the client be told why it is dropped, if the protocol has words for it."""

    def _received(self, data: bytes) -> None:
        """For the trace: these bytes came in."""

    def _say_goodbye(self) -> None:
        """Queue what the protocol says last."""

    def _receive(self, data: bytes) -> None:
        self._reads += 1
        self._received(data)
        self._machine.receive_data(data)

    def _collect(self) -> None:
        """Take out of the machine what it has to say."""
        data = self._machine.data_to_send()
        if data:
            self._wire.sent(data)
            self._output.append(data)

    def _send_now(self) -> bool:
        """Send what there is, as long as that needs no waiting; whether it was all."""
        self._collect()
        while self._output and not self._transport.has_unsent:
            self._transport.send(self._output.pop(0))
        return not self._output and not self._transport.has_unsent

    async def _flush(self) -> None:
        """Send what there is. One task at a time."""
        while not self._send_now():
            await self._transport.drain()

    async def _drive(self, callback: ProtocolConnectionCallback) -> None:
        """Serve a client that the service has taken, until Close."""
        if self._closing.is_set():
            return
        self._callback = callback
        self._is_served = True
        try:
            callback.on_ready()
            async with trio.open_nursery() as tasks:
                for task in (self._read, self._write, *self._more_tasks()):
                    tasks.start_soon(self._run, task)
                try:
                    await self._closing.wait()
                finally:
                    # A write that is under way may end, so that what is said last can still be understood.
                    self._writing.deadline = trio.current_time() + LINGER
                    tasks.cancel_scope.cancel()
        finally:
            self._tasks_done.set()

    async def _run(self, task: Callable[[], Awaitable[None]]) -> None:
        """One of the tasks. When one cannot go on, the service is told, once, and ends the others by Close."""
        try:
            await task()
        except Exception as error:
            if self._is_broken:
                return
            self._is_broken = True
            self._note(error)
            self._video.disconnected()
            self._bell.ring()
            assert self._callback is not None
            self._callback.broken_connection()

    def _note(self, error: Exception) -> None:
        """For the log, and for the client if it can still be told."""
        match error:
            case ClientGone():
                self._log.info("client is gone", reason=str(error))
                return
            case RemoteProtocolError():
                self._log.warning("client broke the protocol", reason=str(error), state=self.stage)
            case _:
                self._log.error("connection failed", **for_log(error))
        self._note_for_client(error)

    async def _read(self) -> None:
        unread = 0
        while True:
            is_paused = self._take_events()
            if not self._send_now():
                self._bell.ring()
            while sum(map(len, self._output)) + self._held_back() > MAX_UNSENT:
                await self._written.park()
            # Also while the machine is paused, or we would not notice that the client is gone.
            data = await self._transport.receive_some()
            unread = unread + len(data) if is_paused else 0
            if unread > self.unread_limit:
                raise RemoteProtocolError(f"more than {self.unread_limit} bytes while waiting for {self.stage}")
            self._receive(data)

    async def _write(self) -> None:
        others_had_their_turn = True
        while True:
            self._before_writing()
            if not self._send_now():
                # Shielded, as what is sent in part cannot be taken back; `serve` sets the limit when we are to leave.
                with trio.CancelScope(shield=True) as self._writing:
                    await self._flush()
            self._written.unpark_all()
            due = self._video.due()
            if due is not None and due <= trio.current_time():
                if not (others_had_their_turn and self._transport.is_writable()):
                    await self._transport.wait_writable()
                self._queue_piece()
                others_had_their_turn = False
                continue
            if due is None:
                await self._bell.wait()
            else:
                with trio.move_on_at(due):
                    await self._bell.wait()
            others_had_their_turn = True

    async def close(self) -> None:
        """IWRdsProtocolConnection.Close: what the protocol says last, TLS close_notify, FIN."""
        self._closing.set()
        if self._is_served:
            await self._tasks_done.wait()  # two tasks must not receive at once: saying goodbye waits for the client
        await self.end()

    async def end(self) -> None:
        """Let the client go: by Close, or by the listener if it does not come so far. Whoever is second waits."""
        self._say_goodbye()
        self._collect()
        last_words, self._output = b"".join(self._output), []
        self._callback = None  # it holds us: neither shall have to wait for a garbage collection
        self._written.unpark_all()
        self._wire.detach()
        await self._transport.aclose(last_words)
