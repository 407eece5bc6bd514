"""Fast reconnect: the provider says whether, and for whom, a session may be chosen, and chooses one.

The pages leave open where this has its place, and what the modes do. Here a provider that does not answer
PROPERTY_TYPE_GET_FAST_RECONNECT gets the documented sequence. OFF: what AuthenticateClientToSession names is not taken.
BASIC: it is, if the client proves it. ENHANCED: beside that, `EnhancedFastReconnectArbitrator` chooses among the user's
disconnected sessions: before a temporary session is made, if the wire has already proved who the user is; else after
the logon, in place of SessionArbitrationEnumeration. No session is ever given to who is not its user.
"""

import structlog

from rdpprov.api.enums import FastReconnectMode
from rdpprov.api.fast_reconnect import EnhancedFastReconnectArbitrator
from rdpprov.api.identity import UserToken
from rdpprov.api.properties import PROPERTY_TYPE_GET_FAST_RECONNECT, PROPERTY_TYPE_GET_FAST_RECONNECT_USER_SID
from rdpprov.rcm.connection_callback import ConnectionCallback
from rdpprov.rcm.queries import implements, query
from rdpprov.rcm.session_table import Session, SessionTable

log = structlog.get_logger(__name__)


async def takes_claims(callback: ConnectionCallback) -> bool:
    """Whether a session that AuthenticateClientToSession has named may be taken: not if fast reconnect is off."""
    return await query(callback, PROPERTY_TYPE_GET_FAST_RECONNECT) is not FastReconnectMode.OFF


async def fast_reconnect(sessions: SessionTable, callback: ConnectionCallback, user: UserToken) -> Session | None:
    """GetSessionForEnhancedFastReconnect: the session that the provider chooses for a user who has proved who they are.

    Asked once a connection, and only a provider that is such an arbitrator.

    Returns:
        a disconnected session of that user, or None: the sequence goes on as any other.
    """
    arbitrator = callback.connection
    choose = EnhancedFastReconnectArbitrator.get_session_for_enhanced_fast_reconnect
    if not isinstance(arbitrator, EnhancedFastReconnectArbitrator) or not implements(arbitrator, choose):
        return None
    if callback.fast_reconnect_asked:
        return None
    callback.fast_reconnect_asked = True
    if await query(callback, PROPERTY_TYPE_GET_FAST_RECONNECT) is not FastReconnectMode.ENHANCED:
        return None
    named = await query(callback, PROPERTY_TYPE_GET_FAST_RECONNECT_USER_SID)
    if named is not None and not is_name_of(named, user):
        log.warning("fast reconnect is for another user than the one who logs on, ignored", **callback.whose)
        return None
    candidates = _disconnected(sessions, user)
    if not candidates:
        return None
    chosen = await callback.ask(
        arbitrator.get_session_for_enhanced_fast_reconnect,
        sorted(session.session_id for session in candidates),
        default=None,
    )
    if chosen is None:
        return None
    # Looked at anew: while the provider chose, somebody may have got one of them back, or one may have ended.
    session = next((session for session in _disconnected(sessions, user) if session.session_id == chosen), None)
    if session is None:
        log.warning("provider chose a session that is not to be had, ignored", session=repr(chosen), **callback.whose)
    return session


def is_name_of(named: str, user: UserToken) -> bool:
    """Whether text that stands for a SID means this user: ``name``, ``DOMAIN\\name`` or ``name@domain``."""
    if "\\" in named:
        domain, _, name = named.partition("\\")
    else:
        name, _, domain = named.partition("@")
    return UserToken(name, domain or user.domain).same_account(user)


def _disconnected(sessions: SessionTable, user: UserToken) -> list[Session]:
    return [session for session in sessions.of_user(user) if session.disconnected_since is not None]
