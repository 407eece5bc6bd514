"""What is counted while the service runs, for its metrics: plain numbers, which only grow.

Nothing here is on the way of a key or a frame. What connections carry is counted by their providers and asked for when
somebody wants to know (GetProtocolStatus); what is counted here happens a few times in a connection's life.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from itertools import accumulate
from typing import Any

import attrs

from rdpprov.api.authenticator import Authenticator
from rdpprov.api.identity import AuthenticatedUser, LogonError, UserToken
from rdpprov.api.structures import ProtocolStatus, UserCredential

ACCEPTED, REFUSED = "accepted", "refused"
"""What comes of a logon."""
NOT_TAKEN = "REFUSED"
"""The reason of a connection that was not taken; the others have the name of an `rdpprov.errinfo.ErrInfo`."""

HOWS_KEPT = 32
"""Proofs that are told apart. A provider of somebody else's names its own, perhaps after something that a client sent:
further ones are counted together."""
OTHER_HOW = "other"

SEQUENCE_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Seconds: from a client that has all credentials to a user who types them."""
LAG_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
"""Seconds: up to 10 ms nobody sees, from 100 ms on everybody does."""

WRAP = 1 << 32
"""WTS_PROTOCOL_COUNTERS are unsigned numbers of 32 bits, and begin anew."""


class Histogram:
    """How many observations were how large.

    Args:
        bounds: upper ones, growing; what is larger than the last is counted all the same.
    """

    def __init__(self, bounds: Iterable[float]) -> None:
        self.bounds = tuple(bounds)
        self.total = 0.0
        """Of all observations."""
        self._counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """One observation."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> tuple[int, ...]:
        """For each bound how many were not larger, and at last how many there were."""
        return tuple(accumulate(self._counts))


@attrs.frozen
class Place:
    """Where a connection belongs, as far as metrics tell connections apart. Nothing of it is from the client."""

    listener: str
    protocol: str
    """As the configuration names it."""


@attrs.define
class Carried:
    """What connections have carried, as far as their providers have been asked."""

    bytes_in: int = 0
    """From the client."""
    bytes_out: int = 0
    frames_out: int = 0
    """Whole pictures or parts of them, not packets: WdFrames."""


@attrs.define(eq=False)
class Counters:
    """All that one service counts."""

    logons: Counter[tuple[str, str]] = attrs.field(factory=Counter)
    """By what came of it (`ACCEPTED`, `REFUSED`), and the proof."""
    connections: Counter[tuple[Place, str]] = attrs.field(factory=Counter)
    """Those that are over, by the reason."""
    sequences: dict[tuple[Place, str], Histogram] = attrs.field(factory=dict)
    """Seconds from OnConnected to the end of LogonNotify, by the proof."""
    loop_lag: Histogram = attrs.field(factory=lambda: Histogram(LAG_BUCKETS))
    """Seconds in which the event loop answers, twice a second."""
    carried: dict[Place, Carried] = attrs.field(factory=dict)
    _seen: dict[int, Carried] = attrs.field(factory=dict)
    """What each connection said last."""
    _hows: set[str] = attrs.field(factory=set)

    def logon(self, outcome: str, how: str) -> None:
        """Somebody has tried to prove who they are.

        Args:
            outcome: `ACCEPTED` or `REFUSED`.
            how: the proof.
        """
        self.logons[outcome, self._known(how)] += 1

    def active(self, place: Place, how: str, seconds: float) -> None:
        """A user is logged on and sees the desktop, so many seconds after the client had come."""
        key = place, self._known(how)
        if key not in self.sequences:
            self.sequences[key] = Histogram(SEQUENCE_BUCKETS)
        self.sequences[key].observe(seconds)

    def closed(self, place: Place, connection_id: int, reason: str) -> None:
        """A connection is over."""
        self.connections[place, reason] += 1
        self._seen.pop(connection_id, None)

    def refused(self, place: Place) -> None:
        """A client was not taken."""
        self.connections[place, NOT_TAKEN] += 1

    def reported(self, place: Place, connection_id: int, status: ProtocolStatus) -> None:
        """A provider has said what a connection, which is still there, has carried so far."""
        now = Carried(status.input.bytes, status.output.bytes, status.output.wd_frames)
        before, self._seen[connection_id] = self._seen.get(connection_id, Carried()), now
        total = self.carried.setdefault(place, Carried())
        total.bytes_in += (now.bytes_in - before.bytes_in) % WRAP
        total.bytes_out += (now.bytes_out - before.bytes_out) % WRAP
        total.frames_out += (now.frames_out - before.frames_out) % WRAP

    def _known(self, how: str) -> str:
        if how not in self._hows:
            if len(self._hows) >= HOWS_KEPT:
                return OTHER_HOW
            self._hows.add(how)
        return how


class CountedAuthenticator:
    """The service's authenticator, as providers get it: logons that fail on the wire never become connections, and are
    counted here. All else is the authenticator's own.

    Args:
        authenticator: the service's.
        counters: likewise.
    """

    def __init__(self, authenticator: Authenticator, counters: Counters) -> None:
        self._authenticator = authenticator
        self._counters = counters

    def __getattr__(self, name: str) -> Any:
        return getattr(self._authenticator, name)

    async def authenticate(self, credential: UserCredential, *, client_address: str, how: str) -> AuthenticatedUser:
        """Name and password, as in `Authenticator.authenticate`."""
        try:
            return await self._authenticator.authenticate(credential, client_address=client_address, how=how)
        except LogonError:
            self._counters.logon(REFUSED, how)
            raise

    def vouches_for(self, user: AuthenticatedUser) -> bool:
        """Whether the authenticator gave that verdict."""
        return self._authenticator.vouches_for(user)

    async def check_account(self, token: UserToken) -> None:
        """As `Authenticator.check_account`."""
        await self._authenticator.check_account(token)
