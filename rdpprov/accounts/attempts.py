"""Slowing down who guesses passwords: failures are counted by address, and too many cost time.

Nobody is locked out: that would let anybody lock out anybody who shares an address with them. No clock in here.
"""

import ipaddress
from collections import OrderedDict, deque

FAILURES = 10
"""So many failures ..."""
WINDOW = 600.0
"""... within so many seconds ..."""
DELAY = 2.0
"""... and each further attempt is answered only after so many seconds."""
MAX_ADDRESSES = 4096
"""Addresses remembered; beyond, the one that has failed least recently is forgotten. Some 2 MB at most."""


class FailureCounter:
    """Which addresses have failed too often lately.

    Times are in seconds of any clock that never goes back.
    """

    def __init__(
        self, *, failures: int = FAILURES, window: float = WINDOW, delay: float = DELAY, addresses: int = MAX_ADDRESSES
    ) -> None:
        self._failures = failures
        self._window = window
        self._delay = delay
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

    def answer_not_before(self, address: str, started: float, now: float) -> float:
        """When an attempt that was `started` may be answered: at once, or not before its delay is over."""
        times = self._times.get(_source(address))
        if times is None or len(times) < self._failures or times[0] <= now - self._window:
            return now
        return max(now, started + self._delay)

    def __len__(self) -> int:
        return len(self._times)


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
