"""What happens in the service, for whoever wants to watch: events, and the feed that brings them.

An event costs next to nothing while nobody watches. A watcher that is too slow loses events and is told how many; it
never holds anybody up.
"""

import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import attrs
import trio

from rdpprov.api.identity import UserToken

EVENTS_KEPT = 1024
"""For each watcher: events that it has not taken yet. Further ones are lost to it."""


def label(user: UserToken) -> str:
    """``name``, or ``DOMAIN\\\\name``."""
    return f"{user.domain}\\{user.name}" if user.domain else user.name


def _now() -> float:
    at: float = attrs.field(factory=time.time, kw_only=True, eq=False)
    return at


@attrs.frozen
class SessionCreated:
    """A client has got a new session; nobody is logged on there yet."""

    session: int
    connection: int
    at: float = _now()
    """Seconds since 1970, as in all events."""


@attrs.frozen
class SessionLoggedOn:
    """A user is logged on in a new session, and sees its desktop."""

    session: int
    user: str
    """``name``, or ``DOMAIN\\name``, as in all events."""
    how: str
    """The proof, as in `rdpprov.api.UserToken`."""
    connection: int
    at: float = _now()


@attrs.frozen
class SessionDisconnected:
    """No client shows this session any more; it is kept."""

    session: int
    user: str
    reason: str
    """Why its connection left, as far as that is known already."""
    at: float = _now()


@attrs.frozen
class SessionReconnected:
    """A client shows a session that was there before."""

    session: int
    user: str
    connection: int
    at: float = _now()


@attrs.frozen
class SessionLoggedOff:
    """A user's session has ended."""

    session: int
    user: str
    reason: str
    at: float = _now()


@attrs.frozen
class SessionDropped:
    """A session has ended in which nobody had logged on: its client left, or was given a session of its user's."""

    session: int
    at: float = _now()


@attrs.frozen
class ShadowBegun:
    """The client of another session sees this one."""

    session: int
    """Whose desktop is seen."""
    viewer: int
    """The session whose client sees it."""
    user: str
    """The viewer's."""
    control: bool
    """With keyboard and mouse."""
    at: float = _now()


@attrs.frozen
class ShadowEnded:
    """It does so no longer."""

    session: int
    viewer: int
    reason: str
    at: float = _now()


@attrs.frozen
class ShadowRefused:
    """A session was to be shadowed, and is not: its user does not agree, or it did not come about."""

    session: int
    viewer: int
    reason: str
    at: float = _now()


@attrs.frozen
class ConnectionOpened:
    """A client has connected."""

    connection: int
    listener: str
    protocol: str
    at: float = _now()


@attrs.frozen
class ConnectionClosed:
    """A client has gone, and its connection with it."""

    connection: int
    listener: str
    reason: str
    errinfo: str
    """What the client was told: the name of an `rdpprov.errinfo.ErrInfo`."""
    at: float = _now()


@attrs.frozen
class ListenerUp:
    """A listener accepts clients."""

    listener: str
    at: float = _now()


@attrs.frozen
class ListenerDown:
    """A listener accepts no clients any more."""

    listener: str
    reason: str
    at: float = _now()


@attrs.frozen
class DrainChanged:
    """The service has begun or ended to drain."""

    draining: bool
    at: float = _now()


@attrs.frozen
class PoliciesChanged:
    """Other policies are in force."""

    kinds: tuple[str, ...]
    """What has changed: names of `rdpprov.api.SettingType`."""
    at: float = _now()


@attrs.frozen
class EventsLost:
    """The watcher was too slow: so many events were lost here."""

    count: int
    at: float = _now()


Event: TypeAlias = (
    SessionCreated
    | SessionLoggedOn
    | SessionDisconnected
    | SessionReconnected
    | SessionLoggedOff
    | SessionDropped
    | ShadowBegun
    | ShadowEnded
    | ShadowRefused
    | ConnectionOpened
    | ConnectionClosed
    | ListenerUp
    | ListenerDown
    | DrainChanged
    | PoliciesChanged
    | EventsLost
)


class Watcher:
    """One who watches: an async iterator of events, which ends when the service has. Made by `Feed.watching`."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._lost = 0
        self._closed = False
        self._news = trio.Event()

    def __aiter__(self) -> AsyncIterator[Event]:
        """Itself."""
        return self

    async def __anext__(self) -> Event:
        """The next event. What was lost is told in its place, after what came before it.

        Raises:
            StopAsyncIteration: the service has ended, and all events have been taken.
        """
        await trio.lowlevel.checkpoint()
        while not self._events and not self._lost:
            if self._closed:
                raise StopAsyncIteration
            self._news = trio.Event()
            await self._news.wait()
        if self._events:
            return self._events.popleft()
        lost, self._lost = self._lost, 0
        return EventsLost(lost)

    def put(self, event: Event) -> None:
        """Something has happened. A watcher that has lost something loses all until it has caught up, so that the gap
        is one, at a place that is known."""
        if self._lost or len(self._events) >= EVENTS_KEPT:
            self._lost += 1
        else:
            self._events.append(event)
        self._news.set()

    def close(self) -> None:
        """Nothing more will happen."""
        self._closed = True
        self._news.set()


class Feed:
    """Brings events to all who watch."""

    def __init__(self) -> None:
        self._watchers: set[Watcher] = set()
        self._closed = False

    @property
    def is_over(self) -> bool:
        """The service has ended."""
        return self._closed

    def publish(self, event: Event) -> None:
        """Let all watchers know, soon. Plain, and cheap."""
        for watcher in self._watchers:
            watcher.put(event)

    @contextmanager
    def watching(self) -> Iterator[Watcher]:
        """Watch from now on, for the length of the block."""
        watcher = Watcher()
        if self._closed:
            watcher.close()
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)

    def __enter__(self) -> "Feed":
        """The service's life."""
        return self

    def __exit__(self, *_error: object) -> None:
        """The service has ended: watchers take what they have not taken yet, and end."""
        self._closed = True
        for watcher in self._watchers:
            watcher.close()
