"""What an RFB connection's trace gets to know about the wire, and what in it is secret."""

from typing import Literal

import attrs

from rdpprov.api import ProtocolConnectionCallback
from rdpprov.protocol.events import NeedData
from rdpprov.protocol.rfb.events import (
    ChallengeAnswered,
    ClientInitReceived,
    CredentialsOffered,
    CutTextDropped,
    CutTextReceived,
    KeyReceived,
    SecurityChosen,
    StartRecords,
)
from rdpprov.providers.wire_trace import HeldTrace
from rdpprov.wire.rfb.handshake import PlainCredentials


@attrs.define
class WireTrace(HeldTrace):
    """Milestones and bytes of one RFB connection.

    Bytes that come in are traced when the machine has taken them, for only it knows where they end. Secrets go no
    further: password and response to the challenge are overwritten at equal length, and until `logged_on` keys are left
    out, for a password may be typed with them. Nor does a clipboard get in, which may hold one.
    """

    _untaken: bytearray = attrs.field(factory=bytearray, repr=False)
    _in_session: bool = False
    _sealed: bool = False
    _input_hidden: bool = True

    @property
    def is_wanted(self) -> bool:
        """Whether anybody wants the bytes; if not, `taken` need not be called."""
        return self._wanted

    def received(self, data: bytes) -> None:
        """Bytes came in, inside TLS or what is in its place, or before it."""
        if self._wanted:
            self._untaken += data

    def was_not_ours(self) -> None:
        """What has not been taken belongs to TLS, or what is in its place, not to the protocol."""
        self._untaken.clear()

    def logged_on(self) -> None:
        """From now on no password is typed here."""
        self._input_hidden = False

    def dropped(self, left: int) -> None:
        """The machine has not even kept what came in, up to the last `left` bytes: a clipboard that is too long."""
        size = len(self._untaken) - left
        if self._wanted and size > 0:
            del self._untaken[:size]
            self._take("in", b"*" * size)

    def taken(self, event: object, left: int) -> None:
        """The machine has made an event of what came in, up to the last `left` bytes."""
        size = len(self._untaken) - left
        if not self._wanted or size <= 0:
            return
        data = bytes(self._untaken[:size])
        del self._untaken[:size]
        match event:
            case SecurityChosen(security_type=kind):
                self._sealed = kind.rsa_aes
            case ChallengeAnswered() | StartRecords():
                data = b"*" * size
            case CredentialsOffered() if self._sealed:
                data = b"*" * size
            case CredentialsOffered():
                at = PlainCredentials.HEADER.size + PlainCredentials.HEADER.unpack_from(data)[0]
                data = data[:at] + b"*" * (size - at)
            case KeyReceived() if self._input_hidden:
                return
            case ClientInitReceived():
                self._in_session = True
            case CutTextReceived() | CutTextDropped():
                data = data[:8] + b"*" * (size - 8)
            case NeedData() if self._in_session:
                data = b"*" * size  # what was said without effect: mostly the rest of a clipboard that is too long
        self._take("in", data)

    def _trace(
        self, callback: ProtocolConnectionCallback, direction: Literal["in", "out"], data: bytes, ago: float
    ) -> None:
        if self._wanted:
            callback.trace_wire(direction, data, ago=ago)
