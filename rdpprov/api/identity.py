"""Who a user is, and what proves it: tokens, verdicts, reconnect secrets."""

import uuid
from enum import Enum, IntEnum

import attrs

from rdpprov.errinfo import ErrInfo
from rdpprov.errors import RdpProvError


@attrs.frozen
class UserToken:
    """A logged-on user, where Windows passes a token handle."""

    name: str
    domain: str = ""
    groups: frozenset[str] = frozenset()
    how: str = ""
    """What proved it: ``password``, ``logon desktop``, ``reconnect``, ``ntlm``, ..."""

    def same_account(self, other: "UserToken") -> bool:
        """Whether both are the same account, however they logged on. Names do not depend on case."""
        return (self.name.casefold(), self.domain.casefold()) == (other.name.casefold(), other.domain.casefold())


@attrs.frozen
class AuthenticatedUser:
    """An authenticator's verdict. It is worth something only to the authenticator that gave it (`vouches_for`)."""

    token: UserToken
    verdict: uuid.UUID = attrs.field(factory=uuid.uuid4, repr=False, metadata={"secret": True})
    """Known to the authenticator that gave the verdict; made-up ones are not."""


class NtStatus(IntEnum):
    """NTSTATUS: why a logon failed, as `IWRdsProtocolLogonErrorRedirector.RedirectLogonError` is told.

    Source: [MS-ERREF] 2.3.1 "NTSTATUS Values".
    """

    STATUS_SUCCESS = 0
    STATUS_QUOTA_EXCEEDED = 0xC0000044
    STATUS_NO_LOGON_SERVERS = 0xC000005E
    STATUS_LOGON_FAILURE = 0xC000006D
    STATUS_ACCOUNT_RESTRICTION = 0xC000006E
    STATUS_INVALID_LOGON_HOURS = 0xC000006F
    STATUS_INVALID_WORKSTATION = 0xC0000070
    STATUS_PASSWORD_EXPIRED = 0xC0000071
    STATUS_ACCOUNT_DISABLED = 0xC0000072
    STATUS_BAD_VALIDATION_CLASS = 0xC00000A7
    STATUS_NO_SUCH_PACKAGE = 0xC00000FE
    STATUS_ACCOUNT_EXPIRED = 0xC0000193
    STATUS_PASSWORD_MUST_CHANGE = 0xC0000224
    STATUS_ACCOUNT_LOCKED_OUT = 0xC0000234


class LogonError(RdpProvError):
    """A logon failed. The same status for "no such user" and "wrong password": nobody may learn which it was."""

    errinfo = ErrInfo.ERRINFO_SERVER_FRESH_CREDENTIALS_REQUIRED

    def __init__(self, reason: str, status: NtStatus = NtStatus.STATUS_LOGON_FAILURE) -> None:
        super().__init__(reason)
        self.status = status


class ReconnectMethod(Enum):
    """How a reconnect verifier follows from the secret that the service issued."""

    BEARER = "bearer"
    """The verifier is the secret."""
    HMAC_MD5 = "hmac-md5"
    """The verifier is HMAC-MD5(key=secret, message=challenge): [MS-RDPBCGR] 5.5 "Automatic Reconnection"."""


@attrs.frozen
class ReconnectSecret:
    """What a provider may give its client, so that it gets back into its session without credentials."""

    logon_id: int
    """Names the session."""
    secret: bytes = attrs.field(repr=False, metadata={"secret": True})
    """16 random bytes; they work once."""


@attrs.frozen
class ReconnectClaim:
    """What `ProtocolConnection.authenticate_client_to_session` returns: a session, and the proof that it is ours."""

    session_id: int
    verifier: bytes = attrs.field(repr=False, metadata={"secret": True})
    method: ReconnectMethod = ReconnectMethod.BEARER
    challenge: bytes = attrs.field(default=b"", repr=False, metadata={"secret": True})
