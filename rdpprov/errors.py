"""All exceptions that rdpprov raises.

::

    RdpProvError
    ├── ConfigurationError          an option, a file or a key is wrong; exit code 2
    │   └── ProviderLoadError       a protocol cannot be loaded, or its class breaks the provider API
    ├── AdministrationError         an administrator wants what cannot be done
    ├── ProtocolError               something on the wire, or in the order of calls, is not as the standard says
    │   ├── RemoteProtocolError     ... and it was the peer
    │   └── LocalProtocolError      ... and it was our caller
    └── HResultError                an answer of the provider API that is a failing HRESULT
        └── NotImplementedByProvider    E_NOTIMPL: an answer ("use the default"), not a fault
"""

import traceback
from typing import ClassVar

from rdpprov.errinfo import ErrInfo

E_NOTIMPL = 0x80004001
E_ABORT = 0x80004004
E_FAIL = 0x80004005
E_UNEXPECTED = 0x8000FFFF
E_ACCESSDENIED = 0x80070005
E_INVALIDARG = 0x80070057


class RdpProvError(Exception):
    """Root of all we raise. ``errinfo`` is what the client is told ([MS-RDPBCGR] 2.2.5.1 "Server Set Error Info
    PDU"), if it can take it; ``str(error)``, the reason, is for our log and is never sent."""

    errinfo: ErrInfo = ErrInfo.ERRINFO_NONE


class ConfigurationError(RdpProvError):
    """An option, a configuration key or a file that it names is wrong. The message says what and where."""


class ProviderLoadError(ConfigurationError):
    """A protocol is unknown, cannot be imported, or its classes do not have the shape of the provider API."""


class AdministrationError(RdpProvError):
    """What an administrator wants cannot be done. The message is for them.

    Args:
        reason: the message.
        code: the same for programs, as ``no-such-session``: see `rdpprov.admin.protocol`.
    """

    def __init__(self, reason: str, code: str = "failed") -> None:
        self.code = code
        super().__init__(reason)


class ProtocolError(RdpProvError):
    """Somebody broke the protocol. As in h11, the two subclasses tell who."""


class RemoteProtocolError(ProtocolError):
    """The peer's fault: what came, what was expected, in which state."""


class LocalProtocolError(ProtocolError):
    """Our caller's fault: a method was called in a state that does not allow it, or with values that do not fit."""


class HResultError(RdpProvError):
    """A failing HRESULT, as an exception. Raised by a provider; what follows is the service's `failure_policy`.

    Args:
        hresult: the 32-bit code, unsigned; its top bit is set, otherwise it would be a success.
        reason: for our log.
    """

    default_hresult: ClassVar[int] = E_FAIL

    def __init__(self, reason: str = "", hresult: int | None = None) -> None:
        self.hresult = self.default_hresult if hresult is None else hresult
        self.reason = reason
        if not 0x80000000 <= self.hresult <= 0xFFFFFFFF:
            raise ValueError(f"0x{self.hresult:08X} is not a failing HRESULT")
        super().__init__(f"{reason or 'failed'} (0x{self.hresult:08X})")


class NotImplementedByProvider(HResultError):  # noqa: N818 - an answer, not an error: see the class docstring
    """E_NOTIMPL: the provider leaves the matter to the service, which uses its default."""

    default_hresult = E_NOTIMPL


def for_log(error: BaseException) -> dict[str, str]:
    """What a log event says of an exception that was not expected: ``log.error("desktop failed", **for_log(error))``.

    Never hand a logger the exception itself (``exc_info``, ``log.exception``): structlog's renderer, unless somebody
    configures it otherwise, prints the local variables of every frame, and passwords are among them.

    Returns:
        ``error``, the class; ``stack``, the traceback as text: frames, source lines, messages, no variables.
    """
    return {"error": type(error).__name__, "stack": "".join(traceback.format_exception(error)).rstrip()}
