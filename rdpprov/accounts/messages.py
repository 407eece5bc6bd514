"""What a user is told whose logon failed, wherever that is: on the logon desktop, by a provider, by a redirector."""

from collections.abc import Mapping
from typing import Final

from rdpprov.api.identity import NtStatus

MESSAGES: Final[Mapping[NtStatus, str]] = {
    NtStatus.STATUS_LOGON_FAILURE: "The user name or password is incorrect.",
    NtStatus.STATUS_NO_LOGON_SERVERS: "Logging on is not possible at the moment.",
    NtStatus.STATUS_ACCOUNT_RESTRICTION: "This account may not log on here.",
    NtStatus.STATUS_INVALID_LOGON_HOURS: "This account may not log on at this time.",
    NtStatus.STATUS_INVALID_WORKSTATION: "This account may not log on from this computer.",
    NtStatus.STATUS_PASSWORD_EXPIRED: "The password has expired.",
    NtStatus.STATUS_PASSWORD_MUST_CHANGE: "The password must be changed.",
    NtStatus.STATUS_ACCOUNT_DISABLED: "This account is disabled.",
    NtStatus.STATUS_ACCOUNT_EXPIRED: "This account has expired.",
    NtStatus.STATUS_ACCOUNT_LOCKED_OUT: "This account is locked.",
}
OTHER_MESSAGE: Final = "The logon failed."


def message_of(status: NtStatus) -> str:
    """One sentence."""
    return MESSAGES.get(status, OTHER_MESSAGE)
