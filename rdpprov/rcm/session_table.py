"""Sessions: what of a user outlives connections, and who may get back to it."""

import hashlib
import hmac
import itertools
import math
import secrets
import time
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs
import trio

from rdpprov.api.enums import ConnectState
from rdpprov.api.identity import ReconnectClaim, ReconnectMethod, ReconnectSecret, UserToken
from rdpprov.api.structures import NULL_GUID, SessionId, TimeZoneInformation
from rdpprov.rcm.ending import TAKEN_OVER, Ending
from rdpprov.sessions.base import Desktop

if TYPE_CHECKING:
    from rdpprov.rcm.connection_callback import ConnectionCallback
    from rdpprov.rcm.settings import EffectiveSettings
    from rdpprov.rcm.shadowing import Shadowing

SECRET_LENGTH = 16
"""Bytes: ArcRandomBits of [MS-RDPBCGR] 2.2.4.2 "Server Auto-Reconnect Packet"; it has to fit."""


@attrs.define(eq=False)
class Session:
    """One session. Temporary until its user is known: then it is kept, and outlives its connection."""

    session_id: int
    user: UserToken | None = None
    """Who is logged on; None: the session is temporary."""
    desktop: Desktop | None = None
    """The user's; a temporary session has none of its own."""
    holder: "ConnectionCallback | None" = None
    """The one connection that shows the session."""
    connection_guid: uuid.UUID = NULL_GUID
    """Of the connection that showed it last."""
    created_at: float = attrs.field(factory=time.time)
    """Seconds since 1970."""
    logged_on_at: float | None = None
    """Seconds since 1970."""
    disconnected_since: float | None = None
    """On trio's clock."""
    up: trio.Event = attrs.field(factory=trio.Event)
    """The desktop can be shown, or has failed."""
    ended: trio.Event = attrs.field(factory=trio.Event)
    """The desktop is gone, and the session with it."""
    ending: Ending | None = None
    """Why the session was ended, if somebody ended it."""
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    """The desktop's life. Its deadline is the disconnected session's limit."""
    settings: "EffectiveSettings | None" = None
    """Of the connection that showed it last, once that has gone."""
    is_told_started: bool = False
    """The managers know the session."""
    is_told_connected: bool = False
    """The managers know that a client shows it."""
    is_told_logged_on: bool = False
    """The managers know that a user is logged on."""
    time_zone: TimeZoneInformation | None = None
    """Of the client that showed the session last; a `DynamicTimeZoneInformation` where the provider knows one."""
    shadowing: "Shadowing | None" = None
    """What it takes part in, on either side; perhaps its user is still being asked."""
    shadows: int | None = None
    """The session that its client sees instead of it."""
    shadowed_by: int | None = None
    """The session whose client sees it too."""
    secret: bytes | None = attrs.field(default=None, repr=False)
    """What lets a client back in without a logon."""

    @property
    def is_temporary(self) -> bool:
        """Whether nobody has logged on here yet."""
        return self.user is None

    @property
    def handle(self) -> int:
        """Where Windows passes a session handle: the session's number."""
        return self.session_id

    @property
    def wts_session_id(self) -> SessionId:
        """WTS_SESSION_ID: the GUID is the connection's, as its page says, though the summary says the session's."""
        return SessionId(self.connection_guid, self.session_id)

    @property
    def state(self) -> ConnectState:
        """WTS_CONNECTSTATE_CLASS."""
        if self.holder is None:
            return ConnectState.DISCONNECTED
        if self.shadows is not None:
            return ConnectState.SHADOW
        return ConnectState.CONNECTED if self.is_temporary else ConnectState.ACTIVE

    def is_of(self, user: UserToken) -> bool:
        """Whether it is this account's, and is not ending."""
        alive = self.ending is None and not self.scope.cancel_called
        return alive and self.user is not None and self.user.same_account(user)

    def claim(self, connection: "ConnectionCallback") -> None:
        """Give the session to a connection, at once. One that shows it now is disconnected, and told why."""
        former, self.holder = self.holder, connection
        self.connection_guid = connection.guid
        self.disconnected_since = None
        self.scope.deadline = math.inf
        if former is not None and former is not connection:
            former.detach()
            former.end(TAKEN_OVER)

    def release(self, connection: "ConnectionCallback", limit: float | None) -> None:
        """The connection goes. If the session is still its own, it is disconnected, and ends after ``limit`` seconds.

        Args:
            connection: whose.
            limit: seconds; None: there is no limit.
        """
        if self.holder is not connection:
            return
        self.holder = None
        self.disconnected_since = trio.current_time()
        if limit is not None:
            self.scope.deadline = trio.current_time() + limit

    def end(self, ending: Ending) -> None:
        """End the session: its desktop is closed, its connection dropped."""
        if self.ending is None:
            self.ending = ending
        self.scope.cancel()

    def issue_secret(self) -> ReconnectSecret:
        """A new secret for this session; the one before is void."""
        self.secret = secrets.token_bytes(SECRET_LENGTH)
        return ReconnectSecret(self.session_id, self.secret)


class SessionTable:
    """All sessions of the service, temporary ones too."""

    def __init__(self) -> None:
        self._sessions: dict[int, Session] = {}
        self._of_account: dict[tuple[str, str], list[Session]] = {}
        self._ids = itertools.count(1)

    def __iter__(self) -> Iterator[Session]:
        """Those of now; the table may change while they are looked at."""
        return iter(list(self._sessions.values()))

    def __len__(self) -> int:
        """How many there are."""
        return len(self._sessions)

    def get(self, session_id: int) -> Session | None:
        """The session of that number, if there is one."""
        return self._sessions.get(session_id)

    def create_temporary(self) -> Session:
        """A new session, in which nobody is logged on."""
        session = Session(next(self._ids))
        self._sessions[session.session_id] = session
        return session

    def keep(self, session: Session, user: UserToken) -> None:
        """A temporary session becomes a user's: from now on it outlives its connection, and can be got back."""
        session.user = user
        session.logged_on_at = time.time()
        self._of_account.setdefault(_account(user), []).append(session)

    def remove(self, session: Session) -> None:
        """The session is over. Its secret dies with it."""
        self._sessions.pop(session.session_id, None)
        session.secret = None
        if session.user is not None:
            account = _account(session.user)
            others = [other for other in self._of_account.get(account, ()) if other is not session]
            if others:
                self._of_account[account] = others
            else:
                self._of_account.pop(account, None)

    def of_user(self, user: UserToken) -> list[Session]:
        """The kept sessions of one account, without those that are ending."""
        return [session for session in self._of_account.get(_account(user), ()) if session.is_of(user)]

    def redeem(self, claim: ReconnectClaim, named: UserToken | None) -> Session | None:
        """The session that a client proves to be its own; the proof is used up by it.

        Wrong proofs use nothing up: who guesses must not be able to spoil somebody's reconnect.

        Args:
            claim: what the provider's client brought.
            named: who the client says it is, or is known to be; None: it says nothing. A session of another user is
                not given away, whatever the proof.
        """
        session = self._sessions.get(claim.session_id)
        secret = session.secret if session is not None else None
        # Without a session the same work is done on a secret that nobody has.
        expected = verifier(secret or secrets.token_bytes(SECRET_LENGTH), claim.method, claim.challenge)
        proved = hmac.compare_digest(expected, claim.verifier)
        if session is None or session.user is None or secret is None or not proved:
            return None
        if not session.is_of(named or session.user):
            return None
        session.secret = None
        return session


def _account(user: UserToken) -> tuple[str, str]:
    """What `UserToken.same_account` compares."""
    return user.name.casefold(), user.domain.casefold()


def verifier(secret: bytes, method: ReconnectMethod, challenge: bytes = b"") -> bytes:
    """What a client that has ``secret`` proves it with.

    Args:
        secret: of `Session.issue_secret`.
        method: how.
        challenge: for HMAC_MD5, what is signed.
    """
    match method:
        case ReconnectMethod.BEARER:
            return secret
        case ReconnectMethod.HMAC_MD5:
            # [MS-RDPBCGR] 5.5 "Automatic Reconnection" prescribes MD5.
            return hmac.new(secret, challenge, hashlib.md5).digest()
