"""What an RDP connection's trace gets to know about the wire, and what in it is secret."""

from collections.abc import Iterator
from typing import Literal

import attrs

from rdpprov.api import ProtocolConnectionCallback
from rdpprov.errors import RemoteProtocolError
from rdpprov.protocol.rdp.framing import SESSION_LIMIT, UnitSplitter
from rdpprov.providers.wire_trace import HeldTrace
from rdpprov.wire.rdp.client_info import ClientInfo, InfoFlags
from rdpprov.wire.rdp.mcs import MCS_GLOBAL_CHANNEL_ID, SendDataRequest, unpack_domain_pdu
from rdpprov.wire.rdp.security import BasicSecurityHeader
from rdpprov.wire.rdp.share import PduType2, ShareDataPdu, unpack_share_pdu
from rdpprov.wire.rdp.tpkt import UnitKind
from rdpprov.wire.rdp.x224 import TPDU_DATA, data_payload

_TPKT_HEADER_SIZE = 4
_SECURITY_HEADER_SIZE = BasicSecurityHeader.LAYOUT.size


@attrs.define
class WireTrace(HeldTrace):
    """Milestones and bytes of one RDP connection.

    Secrets go no further. What comes in is traced PDU by PDU: the password in Client Info and the auto-reconnect
    verifier behind it are overwritten at equal length, and until `logged_on` input is left out, for a password may be
    typed in it. What goes out loses the secret of the auto-reconnect cookie (`hide`).
    """

    _incoming: UnitSplitter = attrs.field(factory=lambda: UnitSplitter(SESSION_LIMIT), repr=False)
    _client_info_seen: bool = False
    _input_hidden: bool = True
    _secret: bytes = attrs.field(default=b"", repr=False)

    def received(self, data: bytes) -> None:
        """Bytes came in, inside TLS or before it."""
        self._take("in", data)

    def was_not_ours(self, size: int) -> None:
        """The last bytes that came in are TLS's, not the protocol's."""
        if size and self._held:
            time, direction, data = self._held[-1]
            self._held[-1] = time, direction, data[:-size]

    def logged_on(self) -> None:
        """From now on no password is typed here."""
        self._input_hidden = False

    def hide(self, secret: bytes) -> None:
        """Overwrite this where it goes out. It goes out in one piece."""
        self._secret = secret

    def _trace(
        self, callback: ProtocolConnectionCallback, direction: Literal["in", "out"], data: bytes, ago: float
    ) -> None:
        if not self._wanted:
            return
        if direction == "out":
            if self._secret:
                data = data.replace(self._secret, b"*" * len(self._secret))
            callback.trace_wire("out", data, ago=ago)
            return
        self._incoming.receive_data(data)
        try:
            for unit in self._public_units():
                callback.trace_wire("in", unit, ago=ago)
        except RemoteProtocolError:
            self._wanted = False  # the machine will say what is wrong; where units are lost, so is what is secret

    def _public_units(self) -> Iterator[bytes]:
        while (found := self._incoming.next_unit(fast_path=True)) is not None:
            kind, unit = found
            data = None if kind is UnitKind.FAST_PATH else _io_data(unit)
            if data is not None and not self._client_info_seen:
                self._client_info_seen = True
                yield _without_credentials(unit, len(unit) - len(data) + _SECURITY_HEADER_SIZE)
            elif not self._input_hidden or (kind is UnitKind.TPKT and (data is None or not _has_input(data))):
                yield unit


def _io_data(unit: bytes) -> bytes | None:
    """The data of a TPKT on the I/O channel: it takes all of the rest of the unit. None: something else."""
    tpdu = unit[_TPKT_HEADER_SIZE:]
    if tpdu[1] != TPDU_DATA:
        return None
    payload = data_payload(tpdu)
    if not payload or payload[0] >> 2 != SendDataRequest.CHOICE:
        return None
    pdu = unpack_domain_pdu(payload)
    if isinstance(pdu, SendDataRequest) and pdu.channel_id == MCS_GLOBAL_CHANNEL_ID:
        return pdu.user_data
    return None


def _has_input(data: bytes) -> bool:
    while data:
        pdu, data = unpack_share_pdu(data)
        if isinstance(pdu, ShareDataPdu) and pdu.pdu_type2 == PduType2.PDUTYPE2_INPUT:
            return True
    return False


def _without_credentials(unit: bytes, start: int) -> bytes:
    """Client Info with its password and its auto-reconnect cookie overwritten.

    Args:
        unit: the whole PDU.
        start: where TS_INFO_PACKET begins in it.
    """
    info = ClientInfo.unpack(unit[start:])
    _, flags, domain, user_name, password, *_ = ClientInfo.LAYOUT.unpack_from(unit, start)
    terminator = 2 if flags & InfoFlags.INFO_UNICODE else 1
    at = start + ClientInfo.LAYOUT.size + domain + terminator + user_name + terminator
    hidden: bytes = unit[:at] + b"*" * password + unit[at + password :]
    if cookie := info.auto_reconnect_cookie:
        at = hidden.rindex(cookie)
        # Length, version and session may be known, and make it a cookie still; the verifier is worth a password.
        known = len(cookie) - 16 if info.auto_reconnect is not None else 0
        hidden = hidden[: at + known] + b"*" * (len(cookie) - known) + hidden[at + len(cookie) :]
    return hidden
