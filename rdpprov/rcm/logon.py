"""Who is it? The proofs in their order, and the logon desktop for those who have none."""

from typing import TypeAlias

import attrs
import structlog

from rdpprov.api.authenticator import SerializedAuthenticator
from rdpprov.api.connection import ProtocolConnection2
from rdpprov.api.identity import LogonError, NtStatus, ReconnectClaim, UserToken
from rdpprov.api.structures import SerializedUserCredential, UserCredential
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import HResultError, for_log
from rdpprov.rcm.asking import time_limit
from rdpprov.rcm.connection_callback import ConnectionCallback
from rdpprov.rcm.context import ServiceContext
from rdpprov.rcm.counters import ACCEPTED, REFUSED
from rdpprov.rcm.desktops import logon_desktop
from rdpprov.rcm.ending import LOGON_DESKTOP_DIED, ConnectionDroppedError
from rdpprov.rcm.fast_reconnect import fast_reconnect, takes_claims
from rdpprov.rcm.logon_errors import (
    DRAINING,
    MB_ICONINFORMATION,
    StartOverError,
    redirect_logon_error,
    redirect_message,
    redirect_status,
    tell_refused,
)
from rdpprov.rcm.queries import implements
from rdpprov.rcm.session_table import Session

log = structlog.get_logger(__name__)

STARTS = 3
"""Logons of one connection with credentials of the wire: the first, and what a redirector lets start over."""

Offered: TypeAlias = UserCredential | SerializedUserCredential
"""What a client has sent to log on with."""


async def offered_credentials(callback: ConnectionCallback) -> Offered | None:
    """GetUserCredentials, and if that gives none GetSerializedUserCredential; None: the logon desktop asks.

    The order of the two is undocumented; that the user is asked only when both fail is not.
    """
    connection = callback.connection
    offered = await callback.ask(connection.get_user_credentials, default=None)
    if offered is not None or not isinstance(connection, ProtocolConnection2):
        return offered
    if not implements(connection, ProtocolConnection2.get_serialized_user_credential):
        return None
    return await callback.ask(connection.get_serialized_user_credential, default=None)


async def redeem(
    service: ServiceContext, callback: ConnectionCallback, claim: ReconnectClaim | None, offered: Offered | None
) -> Session | None:
    """The session that a client proves to be its own by a secret that the service issued.

    Anything wrong, and it is as if no session had been named. The claim is for the user's own session: a client that
    is known to be somebody else, or says so, does not get it.
    """
    if claim is None:
        return None
    if not await takes_claims(callback):
        log.info("fast reconnect is off, client has to log on", **callback.whose)
        return None
    session = service.sessions.redeem(claim, named_user(service, offered))
    if session is None or session.user is None:
        log.info("reconnect secret wrong or no longer valid, client has to log on", **callback.whose)
        service.counters.logon(REFUSED, "reconnect")
        callback.recorder.event("logon", verdict="refused", how="reconnect")
        return None
    try:
        await service.authenticator.check_account(session.user)
    except LogonError as error:
        log.info("reconnect refused, account may not log on any more", reason=str(error), **callback.whose)
        service.counters.logon(REFUSED, "reconnect")
        callback.recorder.event("logon", verdict="refused", how="reconnect", status=error.status)
        return None
    if not session.is_of(session.user):
        return None  # it ended while the account was looked up
    session.user = attrs.evolve(session.user, how="reconnect")
    service.counters.logon(ACCEPTED, "reconnect")
    callback.recorder.event("logon", verdict="accepted", how="reconnect", user=session.user.name)
    return session


async def choose(service: ServiceContext, callback: ConnectionCallback, offered: Offered | None) -> Session | None:
    """The session that the provider chooses for a user who has proved on the wire who they are."""
    user = proven_user(service, offered)
    session = await fast_reconnect(service.sessions, callback, user) if user is not None else None
    if user is None or session is None:
        return None
    session.user = _accepted(service, callback, user)
    return session


def proven_user(service: ServiceContext, offered: Offered | None) -> UserToken | None:
    """Who the client is, if it has proved that on the wire."""
    if not isinstance(offered, UserCredential) or offered.proof is None:
        return None
    return offered.proof.token if service.authenticator.vouches_for(offered.proof) else None


def named_user(service: ServiceContext, offered: Offered | None) -> UserToken | None:
    """Whom the client is known to be, or says it is; None: it says nothing that can be read."""
    if not isinstance(offered, UserCredential):
        return None
    if (user := proven_user(service, offered)) is not None:
        return user
    return UserToken(offered.user_name, offered.domain) if offered.user_name else None


async def authenticate(service: ServiceContext, callback: ConnectionCallback, offered: Offered | None) -> UserToken:
    """The user of a new logon: by the first proof that there is.

    That is the verdict that the provider got from our authenticator (NLA); name and password of GetUserCredentials, or
    the serialized credential; and what is typed on the logon desktop. A reconnect secret comes before all of them, and
    never here.

    A redirector that lets the logon start over has the provider asked for credentials again, not the user: with others
    than before they are tried, without them there is nothing left to try.

    Raises:
        ConnectionDroppedError: nobody logged on in time, or nobody could.
    """
    with time_limit(service.limits.logon_desktop, "logging on"):
        for _ in range(STARTS):
            try:
                return await _log_on(service, callback, offered)
            except StartOverError:
                before, offered = offered, await offered_credentials(callback)
                if offered == before or not _is_complete(service, callback, offered):
                    break
        raise ConnectionDroppedError(
            ErrInfo.ERRINFO_SERVER_FRESH_CREDENTIALS_REQUIRED,
            "the provider dealt with the logon error itself, and has no other credentials",
        )


async def _log_on(service: ServiceContext, callback: ConnectionCallback, offered: Offered | None) -> UserToken:
    """One logon, with what the wire has brought, and if need be with the logon desktop.

    Raises:
        StartOverError: the redirector wants the next.
    """
    if (user := proven_user(service, offered)) is not None:
        return _accepted(service, callback, user)
    if isinstance(offered, UserCredential) and offered.proof is not None:
        log.warning("ignored a logon proof that this service's authenticator did not issue", **callback.whose)
    refused = None
    if offered is not None and _is_complete(service, callback, offered):
        try:
            return await _check(service, callback, offered, "password")
        except LogonError as error:
            refused = error
    known = offered if isinstance(offered, UserCredential) else UserCredential()
    return await _ask(service, callback, known, refused)


def _is_complete(service: ServiceContext, callback: ConnectionCallback, offered: Offered | None) -> bool:
    """Whether these credentials can log somebody on without anybody's help."""
    if proven_user(service, offered) is not None:
        return True
    if callback.settings is not None and callback.settings.values.prompt_for_password:
        return False  # it has to be typed here, even if the client sent one
    match offered:
        case UserCredential(user_name=user_name, password=password):
            return bool(user_name and password)
        case SerializedUserCredential():
            if isinstance(service.authenticator, SerializedAuthenticator):
                return True
            log.info("serialized credentials are not understood, client has to log on", **callback.whose)
    return False


async def _ask(
    service: ServiceContext, callback: ConnectionCallback, offered: UserCredential, refused: LogonError | None
) -> UserToken:
    """The logon desktop: until somebody types a name and a password that fit."""
    user_name = offered.user_name or callback.client.user_name
    domain = offered.domain or callback.client.domain
    if refused is not None and callback.attachment is not None and not callback.attachment.can_be_asked:
        await tell_refused(callback, None, refused)
    async with logon_desktop(service, callback, user_name, domain) as desktop:
        if callback.redirector is not None:
            await callback.ask(callback.redirector.on_begin_painting)
        while True:
            if refused is not None:
                await tell_refused(callback, desktop, refused)
            try:
                typed = await desktop.ask()
            except Exception as error:
                log.error("logon desktop failed", **for_log(error), **callback.whose)
                raise ConnectionDroppedError.by(LOGON_DESKTOP_DIED) from error
            await redirect_status(callback, desktop)
            try:
                return await _check(service, callback, typed, "logon desktop")
            except LogonError as error:
                refused = error


async def _check(service: ServiceContext, callback: ConnectionCallback, credential: Offered, how: str) -> UserToken:
    authenticator, address = service.authenticator, callback.client_address
    try:
        if isinstance(credential, UserCredential):
            verdict = await authenticator.authenticate(credential, client_address=address, how=how)
        else:
            assert isinstance(authenticator, SerializedAuthenticator)
            verdict = await authenticator.authenticate_serialized(credential, client_address=address, how="serialized")
    except LogonError as error:
        log.info("logon refused", how=how, reason=str(error), address=callback.client_address, **callback.whose)
        service.counters.logon(REFUSED, how)
        callback.recorder.event("logon", verdict="refused", how=how, status=error.status)
        raise
    return _accepted(service, callback, verdict.token)


def _accepted(service: ServiceContext, callback: ConnectionCallback, user: UserToken) -> UserToken:
    service.counters.logon(ACCEPTED, user.how)
    callback.recorder.event("logon", verdict="accepted", how=user.how, user=user.name)
    return user


async def admit(service: ServiceContext, callback: ConnectionCallback) -> None:
    """A user who has no session to get back wants a new one.

    Raises:
        ConnectionDroppedError: the service drains; the provider's redirector has been told.
    """
    if service.draining:
        await redirect_message(callback, DRAINING, MB_ICONINFORMATION)
        raise ConnectionDroppedError(
            ErrInfo.ERRINFO_SERVER_DENIED_CONNECTION, "the service is draining and takes no new sessions"
        )


async def allow(callback: ConnectionCallback, session: Session, user: UserToken) -> None:
    """IsUserAllowedToLogon: may this user log on here?

    Raises:
        ConnectionDroppedError: the provider says no; its redirector has been told, for it has the user's screen.
    """
    connection = callback.connection
    try:
        await callback.ask(connection.is_user_allowed_to_logon, session.session_id, user, user.domain, user.name)
    except ConnectionDroppedError as error:
        if isinstance(error.__cause__, HResultError):
            await redirect_logon_error(callback, NtStatus.STATUS_ACCOUNT_RESTRICTION)
        raise
