"""How a connection ends: the reason for the client and the reason for our log, travelling together."""

import attrs

from rdpprov.errinfo import ErrInfo
from rdpprov.errors import RdpProvError


@attrs.frozen
class Ending:
    """Why a connection ends."""

    errinfo: ErrInfo
    """For SetErrorInfo and PreDisconnect."""
    reason: str
    """For the log; never sent."""
    client_gone: bool = False
    """There is nobody left to tell: no SetErrorInfo."""


class ConnectionDroppedError(RdpProvError):
    """The service lets a connection go. Raised inside a sequence, turned into the disconnect sequence around it."""

    def __init__(self, errinfo: ErrInfo, reason: str) -> None:
        super().__init__(reason)
        self.errinfo = errinfo
        self.ending = Ending(errinfo, reason)

    @classmethod
    def by(cls, ending: Ending) -> "ConnectionDroppedError":
        """The exception of an ending that has a name."""
        return cls(ending.errinfo, ending.reason)


class TimeLimitError(RdpProvError, TimeoutError):
    """A call, or several together, took longer than their limit."""

    errinfo = ErrInfo.ERRINFO_LOGON_TIMEOUT


CLIENT_GONE = Ending(ErrInfo.ERRINFO_PEER_DISCONNECTED, "the client is gone", client_gone=True)
TAKEN_OVER = Ending(ErrInfo.ERRINFO_DISCONNECTED_BY_OTHERCONNECTION, "another connection took the session over")
# Not ERRINFO_SERVER_SHUTDOWN: clients before 2016 show it as an unknown error.
SERVICE_STOPS = Ending(ErrInfo.ERRINFO_RPC_INITIATED_DISCONNECT, "the service stops")
LISTENER_FAILED = Ending(ErrInfo.ERRINFO_RPC_INITIATED_DISCONNECT, "the listener is gone")
LOGGED_OFF = Ending(ErrInfo.ERRINFO_LOGOFF_BY_USER, "the user logged off")
IDLE_TOO_LONG = Ending(ErrInfo.ERRINFO_IDLE_TIMEOUT, "there was no input for too long")
ACTIVE_TOO_LONG = Ending(ErrInfo.ERRINFO_LOGON_TIMEOUT, "the session was active for too long")
DISCONNECTED_TOO_LONG = Ending(ErrInfo.ERRINFO_RPC_INITIATED_LOGOFF, "the session was disconnected for too long")
DESKTOP_DIED = Ending(ErrInfo.ERRINFO_CLOSE_STACK_ON_DRIVER_FAILURE, "the session's desktop died")
DESKTOP_NOT_READY = Ending(
    ErrInfo.ERRINFO_CLOSE_STACK_ON_DRIVER_NOT_READY, "the session's desktop did not start in time"
)
LOGON_DESKTOP_DIED = Ending(ErrInfo.ERRINFO_SERVER_WINLOGON_CRASH, "the logon desktop died")
