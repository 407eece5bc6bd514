"""The people of a trace: who logged on, and what somebody typed. A trace has no passwords, so nobody else could."""

from collections import deque

import trio

from rdpprov.api.identity import AuthenticatedUser, LogonError, NtStatus, UserToken
from rdpprov.api.structures import UserCredential
from rdpprov.sessions.base import LogonDesktop, LogonRequest
from rdpprov.sessions.logon import PanelLogonDesktop
from rdpprov.traces.format import Trace
from rdpprov.traces.values import from_json

PASSWORD = "replayed"
"""What stands for a password."""

LOGON_DESKTOP = "logon desktop"
"""`UserToken.how` of a password that was typed."""


class RecordedLogons:
    """An authenticator that judges as the trace's did, one logon after the other, and somebody who types on the logon
    desktop when somebody did then.
    """

    def __init__(self, trace: Trace) -> None:
        self._verdicts = deque(
            line.fields for line in trace.events if line.event == "logon" and line.fields.get("how") != "reconnect"
        )
        allowed = (call.args.get("user") for call in trace.calls if call.call == "IsUserAllowedToLogon")
        user = next(allowed, None)
        self._user: UserToken | None = None if user is None else from_json(user, UserToken, name="user")

    async def authenticate(self, credential: UserCredential, *, client_address: str, how: str) -> AuthenticatedUser:
        """The next verdict of the trace; if there is none left, whoever logged on in the end may do so."""
        await trio.lowlevel.checkpoint()
        verdict = self._verdicts.popleft() if self._verdicts else {}
        if verdict.get("verdict") == "refused" or self._user is None:
            status = str(verdict.get("status"))
            known = status in NtStatus.__members__
            raise LogonError("as recorded", NtStatus[status] if known else NtStatus.STATUS_LOGON_FAILURE)
        return AuthenticatedUser(self._user)

    def vouches_for(self, user: AuthenticatedUser) -> bool:
        """Whether the trace's authenticator did."""
        return user.token == self._user

    async def check_account(self, token: UserToken) -> None:
        """It exists."""
        await trio.lowlevel.checkpoint()

    def make_logon_desktop(self, request: LogonRequest) -> LogonDesktop:
        """The logon desktop factory."""
        return _TypedLogonDesktop(request, self)

    async def type(self) -> UserCredential:
        """Wait until somebody types a name and a password: at once if somebody did in the trace, never if not."""
        await trio.lowlevel.checkpoint()
        typed = self._verdicts[0].get("how") == LOGON_DESKTOP if self._verdicts else self._user is not None
        if not typed:
            await trio.sleep_forever()
        return UserCredential(self._user.name if self._user is not None else "", PASSWORD)


class _TypedLogonDesktop(PanelLogonDesktop):
    def __init__(self, request: LogonRequest, logons: RecordedLogons) -> None:
        super().__init__(request)
        self._logons = logons

    async def ask(self) -> UserCredential:
        """Somebody types at once what was typed in the trace."""
        return await self._logons.type()
