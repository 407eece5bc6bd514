"""Who is it? The proofs in their order, and the logon desktop for those who have none."""

import attrs
import structlog

from rdpprov.api.enums import LogonErrorRedirectorResponse
from rdpprov.api.identity import LogonError, NtStatus, ReconnectClaim, UserToken
from rdpprov.api.structures import UserCredential
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import for_log
from rdpprov.rcm.asking import time_limit
from rdpprov.rcm.connection_callback import ConnectionCallback
from rdpprov.rcm.context import ServiceContext
from rdpprov.rcm.desktops import logon_desktop
from rdpprov.rcm.ending import LOGON_DESKTOP_DIED, ConnectionDroppedError
from rdpprov.rcm.session_table import Session
from rdpprov.sessions.base import LogonDesktop

log = structlog.get_logger(__name__)

MB_ICONERROR = 0x10
"""uType of MessageBox: an error, one button."""

CAPTION = "Log on"
MESSAGES = {
    NtStatus.STATUS_LOGON_FAILURE: "The user name or password is incorrect.",
    NtStatus.STATUS_NO_LOGON_SERVERS: "Logging on is not possible at the moment.",
    NtStatus.STATUS_ACCOUNT_RESTRICTION: "This account may not log on here.",
    NtStatus.STATUS_INVALID_LOGON_HOURS: "This account may not log on at this time.",
    NtStatus.STATUS_INVALID_WORKSTATION: "This account may not log on from this computer.",
    NtStatus.STATUS_PASSWORD_EXPIRED: "The password has expired.",
    NtStatus.STATUS_PASSWORD_MUST_CHANGE: "The password must be changed.",
    NtStatus.STATUS_ACCOUNT_DISABLED: "This account is disabled.",
    NtStatus.STATUS_ACCOUNT_LOCKED_OUT: "This account is locked.",
}
OTHER_MESSAGE = "The logon failed."

# Windows tells these as STATUS_ACCOUNT_RESTRICTION with the exact status as sub-status.
SUBSTATUSES = frozenset(
    {
        NtStatus.STATUS_INVALID_LOGON_HOURS,
        NtStatus.STATUS_INVALID_WORKSTATION,
        NtStatus.STATUS_PASSWORD_EXPIRED,
        NtStatus.STATUS_ACCOUNT_DISABLED,
    }
)


async def redeem(
    service: ServiceContext, callback: ConnectionCallback, claim: ReconnectClaim | None, offered: UserCredential | None
) -> Session | None:
    """The session that a client proves to be its own by a secret that the service issued.

    Anything wrong, and it is as if no session had been named. The claim is for the user's own session: a client that
    is known to be somebody else, or says so, does not get it.
    """
    if claim is None:
        return None
    session = service.sessions.redeem(claim, named_user(service, offered))
    if session is None or session.user is None:
        log.info("reconnect secret wrong or no longer valid, client has to log on", **callback.whose)
        callback.recorder.event("logon", verdict="refused", how="reconnect")
        return None
    try:
        await service.authenticator.check_account(session.user)
    except LogonError as error:
        log.info("reconnect refused, account may not log on any more", reason=str(error), **callback.whose)
        callback.recorder.event("logon", verdict="refused", how="reconnect", status=error.status)
        return None
    if not session.is_of(session.user):
        return None  # it ended while the account was looked up
    session.user = attrs.evolve(session.user, how="reconnect")
    callback.recorder.event("logon", verdict="accepted", how="reconnect", user=session.user.name)
    return session


def named_user(service: ServiceContext, offered: UserCredential | None) -> UserToken | None:
    """Whom the client is known to be, or says it is; None: it says nothing."""
    if offered is None:
        return None
    if offered.proof is not None and service.authenticator.vouches_for(offered.proof):
        return offered.proof.token
    return UserToken(offered.user_name, offered.domain) if offered.user_name else None


async def authenticate(
    service: ServiceContext, callback: ConnectionCallback, offered: UserCredential | None
) -> UserToken:
    """The user of a new logon: by the first proof that there is.

    That is the verdict that the provider got from our authenticator (NLA); name and password of GetUserCredentials; and
    what is typed on the logon desktop. A reconnect secret comes before all of them, and never here.

    Raises:
        ConnectionDroppedError: nobody logged on in time, or nobody could.
    """
    with time_limit(service.limits.logon_desktop, "logging on"):
        if offered is not None and offered.proof is not None:
            if service.authenticator.vouches_for(offered.proof):
                return _accepted(callback, offered.proof.token)
            log.warning("ignored a logon proof that this service's authenticator did not issue", **callback.whose)
        refused = None
        if offered is not None and offered.user_name and offered.password and not _prompts(callback):
            try:
                return await _check(service, callback, offered, "password")
            except LogonError as error:
                refused = error
        return await _ask(service, callback, offered or UserCredential(), refused)


async def _ask(
    service: ServiceContext, callback: ConnectionCallback, offered: UserCredential, refused: LogonError | None
) -> UserToken:
    """The logon desktop: until somebody types a name and a password that fit."""
    user_name = offered.user_name or callback.client.user_name
    domain = offered.domain or callback.client.domain
    async with logon_desktop(service, callback, user_name, domain) as desktop:
        if callback.redirector is not None:
            await callback.ask(callback.redirector.on_begin_painting)
        while True:
            if refused is not None:
                await _tell_refused(callback, desktop, refused)
            try:
                typed = await desktop.ask()
            except Exception as error:
                log.error("logon desktop failed", **for_log(error), **callback.whose)
                raise ConnectionDroppedError.by(LOGON_DESKTOP_DIED) from error
            try:
                return await _check(service, callback, typed, "logon desktop")
            except LogonError as error:
                refused = error


async def _check(
    service: ServiceContext, callback: ConnectionCallback, credential: UserCredential, how: str
) -> UserToken:
    try:
        verdict = await service.authenticator.authenticate(credential, client_address=callback.client_address, how=how)
    except LogonError as error:
        log.info("logon refused", how=how, reason=str(error), address=callback.client_address, **callback.whose)
        callback.recorder.event("logon", verdict="refused", how=how, status=error.status)
        raise
    return _accepted(callback, verdict.token)


def _accepted(callback: ConnectionCallback, user: UserToken) -> UserToken:
    callback.recorder.event("logon", verdict="accepted", how=user.how, user=user.name)
    return user


def _prompts(callback: ConnectionCallback) -> bool:
    """Whether the password has to be typed here, even if the client sent one."""
    return callback.settings is not None and callback.settings.values.prompt_for_password


async def _tell_refused(callback: ConnectionCallback, desktop: LogonDesktop, error: LogonError) -> None:
    """Why the logon failed, for the user: by the provider's redirector, else on the logon desktop.

    Raises:
        ConnectionDroppedError: the redirector has told the user, and wants them not to be asked again.
    """
    message = MESSAGES.get(error.status, OTHER_MESSAGE)
    response = LogonErrorRedirectorResponse.NOT_HANDLED
    if callback.redirector is not None:
        status, substatus = int(error.status), 0
        if error.status in SUBSTATUSES:
            status, substatus = int(NtStatus.STATUS_ACCOUNT_RESTRICTION), int(error.status)
        response = await callback.ask(
            callback.redirector.redirect_logon_error,
            status,
            substatus,
            CAPTION,
            message,
            MB_ICONERROR,
            default=LogonErrorRedirectorResponse.NOT_HANDLED,
        )
    match response:
        case LogonErrorRedirectorResponse.HANDLED_DONT_SHOW:
            message = ""
        case LogonErrorRedirectorResponse.HANDLED_DONT_SHOW_START_OVER:
            raise ConnectionDroppedError(
                ErrInfo.ERRINFO_SERVER_FRESH_CREDENTIALS_REQUIRED, "the provider dealt with the logon error itself"
            )
    desktop.show_message(message)
