"""X.224 class 0 TPDUs, the payload of TPKT. Source: [MS-RDPBCGR] 2.2.1.1, 2.2.1.2; ITU-T X.224 13.

All begin with LI, which counts the bytes of the header after itself, and a code.
"""

from __future__ import annotations

from struct import Struct
from typing import ClassVar

import attrs

from rdpprov.errors import LocalProtocolError
from rdpprov.wire.base import Buffer, DecodeError, Reader, bounded_bytes, uint8, uint16
from rdpprov.wire.rdp.nego import (
    TYPE_RDP_NEG_FAILURE,
    TYPE_RDP_NEG_REQ,
    TYPE_RDP_NEG_RSP,
    CorrelationInfo,
    NegotiationFailure,
    NegotiationRequest,
    NegotiationRequestFlags,
    NegotiationResponse,
)
from rdpprov.wire.rdp.tpkt import TPKT_MAXIMUM, TPKT_VERSION

TPDU_CONNECTION_REQUEST = 0xE0
TPDU_CONNECTION_CONFIRM = 0xD0
TPDU_DISCONNECT_REQUEST = 0x80
TPDU_DATA = 0xF0

ROUTING_LINE_MAXIMUM = 512
"""Bytes of the cookie or routing token, its CR LF not counted. (LI allows no more than 254 anyway.)"""

_LI_CODE = Struct(">BB")
_REFERENCES = Struct(">HHB")
_DATA_HEADER = b"\x02\xf0\x80"
_FRAMED_DATA = Struct(">BBH3s")


def _open(data: Buffer, code: int, structure: str) -> tuple[Reader, bytes]:
    """A reader of the TPDU behind LI and code, and the bytes behind the TPDU."""
    reader = Reader(data, structure)
    length_indicator = reader.u8()
    tpdu = reader.block(length_indicator)
    came = tpdu.u8()
    if came != code:
        raise DecodeError(f"{structure}: TPDU code 0x{came:02X}, expected 0x{code:02X}")
    return tpdu, reader.rest()


def _close(code: int, body: bytes, structure: str) -> bytes:
    if len(body) + 1 > 0xFE:  # LI 255 is reserved
        raise LocalProtocolError(f"{structure}: a header of {len(body) + 1} bytes, 254 are possible")
    return _LI_CODE.pack(len(body) + 1, code) + body


@attrs.frozen
class ConnectionRequest:
    """x224Crq: the client's first PDU, X.224 Connection Request. Source: [MS-RDPBCGR] 2.2.1.1."""

    routing_line: bytes | None = bounded_bytes(ROUTING_LINE_MAXIMUM, optional=True)
    """routingToken or cookie: the line before the negotiation structure, without its CR LF. Of any content, see
    `cookie` and `routing_token`; truncated or absent with some clients, so nothing is authenticated by it (fact 7)."""
    negotiation: NegotiationRequest | None = None
    """rdpNegReq; None: a client that speaks only standard RDP security."""
    correlation_info: CorrelationInfo | None = None
    """rdpCorrelationInfo; goes with CORRELATION_INFO_PRESENT in the flags of `negotiation`."""
    destination_reference: int = uint16(default=0)
    source_reference: int = uint16(default=0)
    class_option: int = uint8(default=0)

    def __attrs_post_init__(self) -> None:
        """Refuse what could not be read back as it was."""
        line = self.routing_line
        if line is not None and (b"\r\n" in line or line[:1] == bytes([TYPE_RDP_NEG_REQ])):
            raise LocalProtocolError("ConnectionRequest.routing_line: contains CR LF, or begins like RDP_NEG_REQ")
        flags = 0 if self.negotiation is None else self.negotiation.flags
        announced = bool(flags & NegotiationRequestFlags.CORRELATION_INFO_PRESENT)
        if announced != (self.correlation_info is not None):
            raise LocalProtocolError("ConnectionRequest.correlation_info: does not go with CORRELATION_INFO_PRESENT")

    @property
    def cookie(self) -> str | None:
        """The name behind ``Cookie: mstshash=``; latin-1, at the client's whim."""
        return self._line_after(b"Cookie: mstshash=")

    @property
    def routing_token(self) -> str | None:
        """The token behind ``Cookie: msts=``: load balancers route by it, and redirected clients bring it back."""
        return self._line_after(b"Cookie: msts=")

    def _line_after(self, prefix: bytes) -> str | None:
        line = self.routing_line
        return line[len(prefix) :].decode("latin-1") if line is not None and line.startswith(prefix) else None

    def pack(self) -> bytes:
        """The TPDU, without TPKT.

        Raises:
            LocalProtocolError: it is longer than an X.224 header may be.
        """
        body = _REFERENCES.pack(self.destination_reference, self.source_reference, self.class_option)
        if self.routing_line is not None:
            body += self.routing_line + b"\r\n"
        if self.negotiation is not None:
            body += self.negotiation.pack()
        if self.correlation_info is not None:
            body += self.correlation_info.pack()
        return _close(TPDU_CONNECTION_REQUEST, body, "x224Crq")

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[ConnectionRequest, bytes]:
        """The TPDU and what follows it.

        Raises:
            DecodeError: not a Connection Request of class 0, or what it carries is malformed.
        """
        tpdu, rest = _open(data, TPDU_CONNECTION_REQUEST, "x224Crq")
        destination, source, class_option = tpdu.fields(_REFERENCES)
        if class_option & 0xF0:  # the class is the upper nibble
            raise DecodeError(f"x224Crq: class {class_option >> 4}, expected 0")
        line, variable = unpack_routing_line(tpdu.rest())
        negotiation = correlation_info = None
        if variable:
            negotiation, variable = NegotiationRequest.unpack(variable)
            if negotiation.flags & NegotiationRequestFlags.CORRELATION_INFO_PRESENT:
                correlation_info, variable = CorrelationInfo.unpack(variable)
        if variable:
            raise DecodeError(f"x224Crq: {len(variable)} bytes too many")
        return cls(line, negotiation, correlation_info, destination, source, class_option), rest


def unpack_routing_line(data: bytes) -> tuple[bytes | None, bytes]:
    """The line that `data` begins with, without its CR LF (None if `data` begins with RDP_NEG_REQ), and the rest.

    Raises:
        DecodeError: something else than RDP_NEG_REQ, and no line of up to ROUTING_LINE_MAXIMUM bytes.
    """
    if not data or data[0] == TYPE_RDP_NEG_REQ:
        return None, data
    end = data.find(b"\r\n", 0, ROUTING_LINE_MAXIMUM + 2)
    if end < 0:
        raise DecodeError("x224Crq: neither RDP_NEG_REQ nor a line with CR LF")
    return data[:end], data[end + 2 :]


@attrs.frozen
class ConnectionConfirm:
    """x224Ccf: the server's answer, X.224 Connection Confirm. Source: [MS-RDPBCGR] 2.2.1.2."""

    negotiation: NegotiationResponse | NegotiationFailure | None = None
    """rdpNegData; None exactly when the request had no RDP_NEG_REQ."""
    destination_reference: int = uint16(default=0)
    source_reference: int = uint16(default=0)
    class_option: int = uint8(default=0)

    def pack(self) -> bytes:
        """The TPDU, without TPKT."""
        body = _REFERENCES.pack(self.destination_reference, self.source_reference, self.class_option)
        if self.negotiation is not None:
            body += self.negotiation.pack()
        return _close(TPDU_CONNECTION_CONFIRM, body, "x224Ccf")

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[ConnectionConfirm, bytes]:
        """The TPDU and what follows it.

        Raises:
            DecodeError: not a Connection Confirm, or with neither response nor failure in it.
        """
        tpdu, rest = _open(data, TPDU_CONNECTION_CONFIRM, "x224Ccf")
        destination, source, class_option = tpdu.fields(_REFERENCES)
        negotiation: NegotiationResponse | NegotiationFailure | None = None
        variable = tpdu.rest()
        if variable:
            match variable[0]:
                case kind if kind == TYPE_RDP_NEG_RSP:
                    negotiation, variable = NegotiationResponse.unpack(variable)
                case kind if kind == TYPE_RDP_NEG_FAILURE:
                    negotiation, variable = NegotiationFailure.unpack(variable)
                case kind:
                    raise DecodeError(f"x224Ccf: negotiation structure of type {kind}")
            if variable:
                raise DecodeError(f"x224Ccf: {len(variable)} bytes too many")
        return cls(negotiation, destination, source, class_option), rest


@attrs.frozen
class DisconnectRequest:
    """x224Drq: X.224 Disconnect Request; ends a connection, mostly before MCS. Source: ITU-T X.224 13.5."""

    LAYOUT: ClassVar[Struct] = _REFERENCES

    reason: int = uint8(default=0)
    """0: not specified."""
    destination_reference: int = uint16(default=0)
    source_reference: int = uint16(default=0)

    def pack(self) -> bytes:
        """The TPDU, without TPKT."""
        body = self.LAYOUT.pack(self.destination_reference, self.source_reference, self.reason)
        return _close(TPDU_DISCONNECT_REQUEST, body, "x224Drq")

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[DisconnectRequest, bytes]:
        """The TPDU and what follows it; a variable part is skipped.

        Raises:
            DecodeError: not a Disconnect Request.
        """
        tpdu, rest = _open(data, TPDU_DISCONNECT_REQUEST, "x224Drq")
        destination, source, reason = tpdu.fields(cls.LAYOUT)
        return cls(reason, destination, source), rest


@attrs.frozen
class Data:
    """x224Data: X.224 Data; carries everything after the connection confirm but fast-path. Source: X.224 13.7."""

    payload: bytes
    """An MCS PDU."""

    def pack(self) -> bytes:
        """The TPDU, without TPKT; see `frame_data` for both at once."""
        return _DATA_HEADER + self.payload

    @classmethod
    def unpack(cls, data: Buffer) -> Data:
        """The TPDU, which takes all of `data`: its end is the carrier's.

        Raises:
            DecodeError: not a Data TPDU of class 0.
        """
        return cls(bytes(data_payload(data)))


def data_payload(data: Buffer) -> memoryview:
    """The payload of a Data TPDU, without a copy.

    Raises:
        DecodeError: not a Data TPDU of class 0. The EOT bit is not checked: nothing segments here.
    """
    if len(data) < 3:
        raise DecodeError(f"x224Data: needs 3 bytes, {len(data)} left")
    if data[0] != 2 or data[1] & 0xF0 != TPDU_DATA:
        raise DecodeError(f"x224Data: LI {data[0]} and code 0x{data[1]:02X}, expected 2 and 0x{TPDU_DATA:02X}")
    return memoryview(data)[3:]


def frame_data(payload: bytes) -> bytes:
    """A whole unit: TPKT, X.224 Data, `payload`.

    Raises:
        LocalProtocolError: the payload is longer than a unit may be.
    """
    length = _FRAMED_DATA.size + len(payload)
    if length > TPKT_MAXIMUM:
        raise LocalProtocolError(f"TPKT: a unit of {length} bytes, {TPKT_MAXIMUM} are possible")
    return _FRAMED_DATA.pack(TPKT_VERSION, 0, length, _DATA_HEADER) + payload
