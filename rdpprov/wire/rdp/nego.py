"""Negotiation of the security protocol. Source: [MS-RDPBCGR] 2.2.1.1.1, 2.2.1.1.2, 2.2.1.2.1, 2.2.1.2.2."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import attrs
from construct import Bytes, Const, Construct, Int8ul, Int16ul, Int32ul, Struct

from rdpprov.wire.base import Buffer, build_with, fixed_bytes, known, parse_with, uint8, uint32

TYPE_RDP_NEG_REQ = 1
TYPE_RDP_NEG_RSP = 2
TYPE_RDP_NEG_FAILURE = 3
TYPE_RDP_CORRELATION_INFO = 6


class Protocols(IntEnum):
    """Bits of requestedProtocols, of which selectedProtocol is one: the security protocols."""

    PROTOCOL_RDP = 0
    """Standard RDP security."""
    PROTOCOL_SSL = 1
    """TLS."""
    PROTOCOL_HYBRID = 2
    """CredSSP in TLS."""
    PROTOCOL_RDSTLS = 4
    """RDSTLS in TLS, after a redirection."""
    PROTOCOL_HYBRID_EX = 8
    """CredSSP in TLS, then the Early User Authorization Result."""
    PROTOCOL_RDSAAD = 16
    """Entra authentication in TLS."""


class NegotiationRequestFlags(IntEnum):
    """Bits of flags of RDP_NEG_REQ."""

    RESTRICTED_ADMIN_MODE_REQUIRED = 0x01
    REDIRECTED_AUTHENTICATION_MODE_REQUIRED = 0x02
    CORRELATION_INFO_PRESENT = 0x08


class NegotiationResponseFlags(IntEnum):
    """Bits of flags of RDP_NEG_RSP."""

    EXTENDED_CLIENT_DATA_SUPPORTED = 0x01
    """The client may send the blocks from CS_MONITOR on: always set (fact 4)."""
    DYNVC_GFX_PROTOCOL_SUPPORTED = 0x02
    NEGRSP_FLAG_RESERVED = 0x04
    RESTRICTED_ADMIN_MODE_SUPPORTED = 0x08
    REDIRECTED_AUTHENTICATION_MODE_SUPPORTED = 0x10


class NegotiationFailureCode(IntEnum):
    """failureCode of RDP_NEG_FAILURE."""

    SSL_REQUIRED_BY_SERVER = 1
    SSL_NOT_ALLOWED_BY_SERVER = 2
    SSL_CERT_NOT_ON_SERVER = 3
    INCONSISTENT_FLAGS = 4
    HYBRID_REQUIRED_BY_SERVER = 5
    SSL_WITH_USER_AUTH_REQUIRED_BY_SERVER = 6


def _definition(kind: int) -> Construct[Any, Any]:
    return Struct("type" / Const(kind, Int8ul), "flags" / Int8ul, "length" / Const(8, Int16ul), "value" / Int32ul)


_REQUEST = _definition(TYPE_RDP_NEG_REQ)
_RESPONSE = _definition(TYPE_RDP_NEG_RSP)
_FAILURE = _definition(TYPE_RDP_NEG_FAILURE)
_CORRELATION_INFO = Struct(
    "type" / Const(TYPE_RDP_CORRELATION_INFO, Int8ul),
    "flags" / Int8ul,
    "length" / Const(36, Int16ul),
    "correlation_id" / Bytes(16),
    "reserved" / Bytes(16),
)


@attrs.frozen
class NegotiationRequest:
    """RDP_NEG_REQ: what the client can do. 8 bytes. Source: [MS-RDPBCGR] 2.2.1.1.1."""

    requested_protocols: int = uint32()
    """`Protocols`. Unknown bits are kept; who chooses ignores them."""
    flags: int = uint8(default=0)
    """`NegotiationRequestFlags`."""

    def pack(self) -> bytes:
        """8 bytes."""
        return build_with(_REQUEST, {"flags": self.flags, "value": self.requested_protocols}, "RDP_NEG_REQ")

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[NegotiationRequest, bytes]:
        """The structure and what follows it.

        Raises:
            DecodeError: too short, or another type or length.
        """
        parsed, rest = parse_with(_REQUEST, data, "RDP_NEG_REQ")
        return cls(parsed.value, parsed.flags), rest


@attrs.frozen
class CorrelationInfo:
    """RDP_NEG_CORRELATION_INFO: an id for the logs of both sides. 36 bytes. Source: [MS-RDPBCGR] 2.2.1.1.2."""

    correlation_id: bytes = fixed_bytes(16)
    """Random; see `usable`."""
    flags: int = uint8(default=0)
    """Zero; kept as received, ignored."""
    reserved: bytes = fixed_bytes(16, default=bytes(16))
    """Zero; kept as received, ignored."""

    @property
    def usable(self) -> bool:
        """Whether the id is one that the specification allows; others are to be ignored."""
        return self.correlation_id[0] not in (0x00, 0xF4) and 0x0D not in self.correlation_id

    def pack(self) -> bytes:
        """36 bytes."""
        return build_with(_CORRELATION_INFO, attrs.asdict(self), "RDP_NEG_CORRELATION_INFO")

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[CorrelationInfo, bytes]:
        """The structure and what follows it.

        Raises:
            DecodeError: too short, or another type or length.
        """
        parsed, rest = parse_with(_CORRELATION_INFO, data, "RDP_NEG_CORRELATION_INFO")
        return cls(parsed.correlation_id, parsed.flags, parsed.reserved), rest


@attrs.frozen
class NegotiationResponse:
    """RDP_NEG_RSP: what the server has chosen. 8 bytes. Source: [MS-RDPBCGR] 2.2.1.2.1."""

    selected_protocol: Protocols | int = uint32()
    """One of them."""
    flags: int = uint8(default=0)
    """`NegotiationResponseFlags`."""

    def pack(self) -> bytes:
        """8 bytes."""
        return build_with(_RESPONSE, {"flags": self.flags, "value": self.selected_protocol}, "RDP_NEG_RSP")

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[NegotiationResponse, bytes]:
        """The structure and what follows it.

        Raises:
            DecodeError: too short, or another type or length.
        """
        parsed, rest = parse_with(_RESPONSE, data, "RDP_NEG_RSP")
        return cls(known(Protocols, parsed.value), parsed.flags), rest


@attrs.frozen
class NegotiationFailure:
    """RDP_NEG_FAILURE: why the server refuses. 8 bytes; nothing may follow it on the wire (fact 1: Windows 7 mstsc
    misreads any extra byte). Source: [MS-RDPBCGR] 2.2.1.2.2.
    """

    failure_code: NegotiationFailureCode | int = uint32()
    """Clients walk down their list of protocols by it (fact 2)."""
    flags: int = uint8(default=0)
    """Zero; kept as received, ignored."""

    def pack(self) -> bytes:
        """8 bytes."""
        return build_with(_FAILURE, {"flags": self.flags, "value": self.failure_code}, "RDP_NEG_FAILURE")

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[NegotiationFailure, bytes]:
        """The structure and what follows it.

        Raises:
            DecodeError: too short, or another type or length.
        """
        parsed, rest = parse_with(_FAILURE, data, "RDP_NEG_FAILURE")
        return cls(known(NegotiationFailureCode, parsed.value), parsed.flags), rest
