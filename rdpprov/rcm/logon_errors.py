"""What a provider's logon error redirector is told, and what its answers mean.

Without a redirector nothing is asked, and every answer is NOT_HANDLED; so it is after a redirector's failure.
"""

from rdpprov.accounts.messages import message_of
from rdpprov.api.enums import LogonErrorRedirectorResponse
from rdpprov.api.identity import LogonError, NtStatus
from rdpprov.api.logon_error_redirector import LogonErrorRedirector
from rdpprov.errors import RdpProvError
from rdpprov.rcm.connection_callback import ConnectionCallback
from rdpprov.rcm.queries import implements
from rdpprov.sessions.base import LogonDesktop

NOT_HANDLED = LogonErrorRedirectorResponse.NOT_HANDLED

MB_ICONERROR = 0x10
"""uType of MessageBox: an error, one button."""
MB_ICONINFORMATION = 0x40
"""... something to know, one button."""

CAPTION = "Log on"
WAIT = "One moment …"
DRAINING = "This computer takes no new sessions at the moment."
PROGRAM_REFUSED = "The program that was to be started is not allowed here."
# Windows tells these as STATUS_ACCOUNT_RESTRICTION with the exact status as sub-status; an expired account is none of
# them, and has its status for itself.
SUBSTATUSES = frozenset(
    {
        NtStatus.STATUS_INVALID_LOGON_HOURS,
        NtStatus.STATUS_INVALID_WORKSTATION,
        NtStatus.STATUS_PASSWORD_EXPIRED,
        NtStatus.STATUS_ACCOUNT_DISABLED,
    }
)


class StartOverError(RdpProvError):
    """The redirector has dealt with a logon error: nobody is asked for credentials, the logon begins anew."""


async def tell_refused(callback: ConnectionCallback, desktop: LogonDesktop | None, error: LogonError) -> None:
    """RedirectLogonError: why a logon failed, for the user: by the redirector, or on the logon desktop, or both.

    Args:
        callback: whose.
        desktop: where it is shown; None: there is nowhere.
        error: the authenticator's verdict.

    Raises:
        StartOverError: HANDLED_DONT_SHOW_START_OVER.
    """
    response = await redirect_logon_error(callback, error.status)
    if response is LogonErrorRedirectorResponse.HANDLED_DONT_SHOW_START_OVER:
        raise StartOverError("the redirector lets the logon start over")
    if desktop is not None:
        shown = response is not LogonErrorRedirectorResponse.HANDLED_DONT_SHOW
        desktop.show_message(message_of(error.status) if shown else "")


async def redirect_logon_error(callback: ConnectionCallback, error: NtStatus) -> LogonErrorRedirectorResponse:
    """RedirectLogonError, with the status and the text that the logon desktop would show."""
    redirector = callback.redirector
    if redirector is None:
        return NOT_HANDLED
    status, substatus = (NtStatus.STATUS_ACCOUNT_RESTRICTION, error) if error in SUBSTATUSES else (error, 0)
    message = message_of(error)
    return await callback.ask(
        redirector.redirect_logon_error,
        int(status),
        int(substatus),
        CAPTION,
        message,
        MB_ICONERROR,
        default=NOT_HANDLED,
    )


async def redirect_message(
    callback: ConnectionCallback, message: str, message_type: int = MB_ICONERROR
) -> LogonErrorRedirectorResponse:
    """RedirectMessage: what is no failed logon, but keeps the user from a session all the same."""
    if callback.redirector is None:
        return NOT_HANDLED
    return await callback.ask(callback.redirector.redirect_message, CAPTION, message, message_type, default=NOT_HANDLED)


async def redirect_status(callback: ConnectionCallback, desktop: LogonDesktop) -> None:
    """RedirectStatus: what was typed is being checked. A logon desktop says so by itself, unless the redirector has."""
    redirector = callback.redirector
    if redirector is None or not implements(redirector, LogonErrorRedirector.redirect_status):
        return
    response = await callback.ask(redirector.redirect_status, WAIT, default=NOT_HANDLED)
    if response in (
        LogonErrorRedirectorResponse.HANDLED_DONT_SHOW,
        LogonErrorRedirectorResponse.HANDLED_DONT_SHOW_START_OVER,
    ):
        desktop.show_message("")
