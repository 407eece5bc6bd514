"""How much may be on its way to a client that gets updates without asking for each."""

from collections import OrderedDict
from typing import Final

MIN_WINDOW: Final = 16 * 1024
MAX_WINDOW: Final = 4 * 1024 * 1024
FIRST_WINDOW: Final = 64 * 1024
QUEUED: Final = 0.025
"""Seconds that an answer may come later than the fastest one: more, and bytes are waiting somewhere on the way."""
MAX_FENCES: Final = 64
_PREFIX: Final = b"rate"


class Pace:
    """A window of bytes, which grows while fences are answered quickly and shrinks when they are not.

    No clock in here: times are seconds of any clock.
    """

    def __init__(self) -> None:
        self._window = FIRST_WINDOW
        self._sent = 0
        self._arrived = 0
        self._fences: OrderedDict[bytes, tuple[int, float]] = OrderedDict()
        self._fastest: float | None = None
        self._count = 0

    @property
    def may_send(self) -> bool:
        """Whether another update may go out now. With nothing on its way it always may."""
        return self._sent - self._arrived < self._window and len(self._fences) < MAX_FENCES

    def sent(self, size: int, now: float) -> bytes:
        """An update of so many bytes goes out; a fence with the payload returned is to follow it."""
        self._sent += size
        self._count += 1
        if len(self._fences) >= MAX_FENCES:  # of a client that asks for updates all the same, and answers none
            self._fences.popitem(last=False)
        payload = _PREFIX + (self._count & 0xFFFFFFFF).to_bytes(4, "big")
        self._fences[payload] = self._sent, now
        return payload

    def answered(self, payload: bytes, now: float) -> None:
        """The client has come to a fence; those before it count as answered too. Unknown ones mean nothing."""
        if payload not in self._fences:
            return
        while True:
            oldest, (position, began) = self._fences.popitem(last=False)
            if oldest == payload:
                break
        self._arrived = position
        took = now - began
        self._fastest = took if self._fastest is None else min(self._fastest, took)
        if took <= 2 * self._fastest + QUEUED:
            self._window = min(2 * self._window, MAX_WINDOW)
        else:
            self._window = max(self._window // 2, MIN_WINDOW)
