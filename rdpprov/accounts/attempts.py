"""Slowing down who guesses passwords: failures are counted by address, and too many cost time.

Nobody is locked out: that would let anybody lock out anybody who shares an address with them. But of an address that
has failed too often one attempt is answered at a time, however many come at once, so that more connections are not more
guesses.
"""

import ipaddress
from collections import OrderedDict, deque

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
        source = _source(address)
        times = self._times.setdefault(source, deque(maxlen=self._failures))
        times.append(now)
        self._times.move_to_end(source)
        if len(self._times) > self._addresses:
            self._times.popitem(last=False)

    def is_too_often(self, address: str, now: float) -> bool:
        """Whether `address` has failed too often."""
        times = self._times.get(_source(address))
        return times is not None and len(times) >= self._failures and times[0] > now - self._window

    def __len__(self) -> int:
        return len(self._times)


class SlowDown:
    """When an attempt may be answered: one judge for all attempts whose failures count together.

    Args:
        counter: of their failures.
        delay: seconds that an attempt takes from an address that has failed too often.
    """

    def __init__(self, counter: FailureCounter | None = None, *, delay: float = DELAY) -> None:
        self._counter = FailureCounter() if counter is None else counter
        self._delay = delay
        self._queues: dict[str, _Queue] = {}
        """Of addresses from which somebody waits; so there are never more than attempts."""

    async def hold_back(self, address: str, *, started: float, failed: bool) -> None:
        """Note how an attempt came out, and wait until it may be answered, be the answer good or bad.

        Who gives up waiting gives way to the next.

        Args:
            address: where it comes from.
            started: when it came, on trio's clock.
            failed: whether it failed.
        """
        now = trio.current_time()
        is_slow = self._counter.is_too_often(address, now)
        if failed:  # at once: those that are judged while this one waits shall know
            self._counter.record(address, now)
        if not is_slow:
            return
        source = _source(address)
        queue = self._queues.setdefault(source, _Queue())
        queue.length += 1
        try:
            if queue.turn.locked():
                async with queue.turn:
                    await trio.sleep(self._delay)
            else:
                async with queue.turn:
                    await trio.sleep_until(started + self._delay)
        finally:
            queue.length -= 1
            if not queue.length:
                del self._queues[source]

    def __len__(self) -> int:
        """Addresses from which somebody waits."""
        return len(self._queues)


class _Queue:
    """Attempts from one address that wait to be answered, in their order."""

    def __init__(self) -> None:
        self.turn = trio.Lock()
        self.length = 0


def _source(address: str) -> str:
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
