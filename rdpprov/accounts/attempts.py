"""Slowing down who guesses passwords: failures are counted by address, and too many cost time.

Nobody is locked out: that would let anybody lock out anybody who shares an address with them. But of an address that
has failed too often one attempt is answered at a time, however many come at once, so that more connections are not more
guesses.
"""

import ipaddress
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

FAILURES = 10
"""So many failures ..."""
WINDOW = 600.0
"""... within so many seconds ..."""
DELAY = 2.0
"""... and each further attempt takes so many seconds to be answered, one after the other."""
MAX_ADDRESSES = 4096
"""Addresses remembered; beyond, the one that has failed least recently is forgotten. Some 2 MB at most."""


class FailureCounter:
    """Which addresses have failed too often lately.

    Times are in seconds of any clock that never goes back.
    """

    def __init__(self, *, failures: int = FAILURES, window: float = WINDOW, addresses: int = MAX_ADDRESSES) -> None:
        self._failures = failures
        self._window = window
        self._addresses = addresses
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def record(self, address: str, now: float) -> None:
        """Note that an attempt from `address` failed."""
        source = source_of(address)
        times = self._times.setdefault(source, deque(maxlen=self._failures))
        times.append(now)
        self._times.move_to_end(source)
        if len(self._times) > self._addresses:
            self._times.popitem(last=False)

    def is_too_often(self, address: str, now: float) -> bool:
        """Whether `address` has failed too often."""
        times = self._times.get(source_of(address))
        return times is not None and len(times) >= self._failures and times[0] > now - self._window

    def __len__(self) -> int:
        return len(self._times)


class SlowDown:
    """When an attempt may be answered: one judge for all attempts whose failures count together.

    Args:
        counter: of their failures.
        delay: seconds between two answers to an address that has failed too often.
    """

    def __init__(self, counter: FailureCounter | None = None, *, delay: float = DELAY) -> None:
        self._counter = FailureCounter() if counter is None else counter
        self._delay = delay
        self._lines: dict[tuple[str, ...], _Line] = {}
        """Of addresses, and of names at them, for which somebody waits; so there are never more than attempts."""
        self._answered: OrderedDict[str, float] = OrderedDict()
        """When an address got its last answer that was held back; those of more than a delay ago are forgotten."""

    async def hold_back(self, address: str, *, started: float, failed: bool, whose: str = "") -> None:
        """Note how an attempt came out, and wait until it may be answered, be the answer good or bad.

        Who gives up waiting gives way to the next. The names at an address take turns: who guesses at one holds up
        nobody for long who shares the address and has another.

        Args:
            address: where it comes from.
            started: when it came, on trio's clock.
            failed: whether it failed.
            whose: the name that it is for, in one spelling.
        """
        now = trio.current_time()
        is_slow = self._counter.is_too_often(address, now)
        if failed:  # at once: those that are judged while this one waits shall know
            self._counter.record(address, now)
        if not is_slow:
            return
        source = source_of(address)
        async with self._turn(source, whose), self._turn(source):
            # A check may take longer than the delay: the answer before counts, not only the attempt's own time.
            await trio.sleep_until(max(started, self._answered.get(source, started)) + self._delay)
            self._note_answer(source)

    @asynccontextmanager
    async def _turn(self, *key: str) -> AsyncIterator[None]:
        """One's turn in a line."""
        line = self._lines.setdefault(key, _Line())
        line.length += 1
        try:
            async with line.turn:
                yield
        finally:
            line.length -= 1
            if not line.length:
                del self._lines[key]

    def _note_answer(self, source: str) -> None:
        now = trio.current_time()
        self._answered[source] = now
        self._answered.move_to_end(source)
        while next(iter(self._answered.values())) < now - self._delay:
            self._answered.popitem(last=False)

    def __len__(self) -> int:
        """Addresses from which somebody waits."""
        return sum(len(key) == 1 for key in self._lines)


class _Line:
    """Attempts that wait to be answered, in their order."""

    def __init__(self) -> None:
        self.turn = trio.Lock()
        self.length = 0


def source_of(address: str) -> str:
    """What one attacker usually has: an IPv4 address, but of IPv6 a whole /64 network."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.IPv6Network((ip, 64), strict=False))
    return str(ip)
