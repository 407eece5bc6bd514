"""Which of a user's sessions a new connection gets: a decision without I/O."""

from collections.abc import Iterable, Sequence

from rdpprov.api.identity import UserToken
from rdpprov.rcm.session_table import Session, SessionTable


def arbitrate(
    sessions: SessionTable, user: UserToken, named: Sequence[int], *, single_session_per_user: bool
) -> Session | None:
    """The session that the user gets back, or None for a new one.

    Of those that the provider named, the most recently disconnected; if that gives none, the most recently disconnected
    of all that the user has; if they are all active and a user may have only one, the active one. Temporary sessions
    never count, and neither do somebody else's, whoever named them.

    Args:
        sessions: all of them.
        user: who logged on.
        named: what SessionArbitrationEnumeration returned; empty: nothing, or the provider does not arbitrate.
        single_session_per_user: whether an active session is to be taken over.
    """
    own = sessions.of_user(user)
    chosen = most_recently_disconnected(session for session in own if session.session_id in named)
    chosen = chosen or most_recently_disconnected(own)
    if chosen is None and single_session_per_user and own:
        return own[-1]
    return chosen


def most_recently_disconnected(sessions: Iterable[Session]) -> Session | None:
    """Of those without a client the one that lost it last."""
    disconnected = [session for session in sessions if session.disconnected_since is not None]
    return max(disconnected, key=lambda session: session.disconnected_since or 0.0, default=None)
