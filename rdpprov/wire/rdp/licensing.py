"""Licensing messages. Source: [MS-RDPBCGR] 2.2.1.12 "Server License Error PDU - Valid Client"; [MS-RDPELE] 2.2.2.

What is here follows the basic security header with SEC_LICENSE_PKT. A message is a preamble and a body; so far the
error alert is the only body, which is all that a server without licenses sends: one message class for each type of
`MessageType` is the shape of the others.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import attrs
import construct

from rdpprov.wire.base import (
    Buffer,
    DecodeError,
    bounded_bytes,
    build_with,
    known,
    parse_with,
    uint8,
    uint16,
    uint32,
)

MESSAGE_MAXIMUM = 0x4000
"""The longest message that is taken: licenses are certificate chains of a few kilobytes."""
PREAMBLE_VERSION_2_0 = 2
"""RDP 4."""
PREAMBLE_VERSION_3_0 = 3
EXTENDED_ERROR_MSG_SUPPORTED = 0x80
"""Fact 24: a message of the server with this flag crashes mstsc."""


class MessageType(IntEnum):
    """bMsgType of LICENSE_PREAMBLE."""

    LICENSE_REQUEST = 0x01
    PLATFORM_CHALLENGE = 0x02
    NEW_LICENSE = 0x03
    UPGRADE_LICENSE = 0x04
    LICENSE_INFO = 0x12
    NEW_LICENSE_REQUEST = 0x13
    PLATFORM_CHALLENGE_RESPONSE = 0x15
    ERROR_ALERT = 0xFF


class BlobType(IntEnum):
    """wBlobType of LICENSE_BINARY_BLOB. An empty blob may have any; several messages have junk here."""

    BB_ANY_BLOB = 0x0000
    BB_DATA_BLOB = 0x0001
    BB_RANDOM_BLOB = 0x0002
    BB_CERTIFICATE_BLOB = 0x0003
    BB_ERROR_BLOB = 0x0004
    BB_ENCRYPTED_DATA_BLOB = 0x0009
    BB_KEY_EXCHG_ALG_BLOB = 0x000D
    BB_SCOPE_BLOB = 0x000E
    BB_CLIENT_USER_NAME_BLOB = 0x000F
    BB_CLIENT_MACHINE_NAME_BLOB = 0x0010


class LicenseErrorCode(IntEnum):
    """dwErrorCode of LICENSE_ERROR_MESSAGE."""

    ERR_INVALID_SERVER_CERTIFICATE = 0x01
    ERR_NO_LICENSE = 0x02
    ERR_INVALID_MAC = 0x03
    ERR_INVALID_SCOPE = 0x04
    ERR_NO_LICENSE_SERVER = 0x06
    STATUS_VALID_CLIENT = 0x07
    ERR_INVALID_CLIENT = 0x08
    ERR_INVALID_PRODUCTID = 0x0B
    ERR_INVALID_MESSAGE_LEN = 0x0C


class StateTransition(IntEnum):
    """dwStateTransition of LICENSE_ERROR_MESSAGE."""

    ST_TOTAL_ABORT = 1
    ST_NO_TRANSITION = 2
    ST_RESET_PHASE_TO_START = 3
    ST_RESEND_LAST_MESSAGE = 4


_PREAMBLE = construct.Struct(
    "message_type" / construct.Int8ul, "flags" / construct.Int8ul, "message_size" / construct.Int16ul
)
_BLOB = construct.Struct(
    "blob_type" / construct.Int16ul,
    "blob_data" / construct.Prefixed(construct.Int16ul, construct.GreedyBytes),
)
_ERROR = construct.Struct(
    "error_code" / construct.Int32ul, "state_transition" / construct.Int32ul, "error_info" / _BLOB
)


@attrs.frozen
class LicensePreamble:
    """LICENSE_PREAMBLE: type and size of a licensing message. 4 bytes. Source: [MS-RDPBCGR] 2.2.1.12.1.1."""

    message_type: MessageType | int = uint8()
    message_size: int = uint16()
    """Of the whole message, this preamble included."""
    flags: int = uint8(default=PREAMBLE_VERSION_3_0)
    """The version, and from clients EXTENDED_ERROR_MSG_SUPPORTED."""

    @property
    def version(self) -> int:
        """The low half of `flags`."""
        return self.flags & 0x0F

    @property
    def extended_error_supported(self) -> bool:
        """EXTENDED_ERROR_MSG_SUPPORTED."""
        return bool(self.flags & EXTENDED_ERROR_MSG_SUPPORTED)

    def pack(self) -> bytes:
        """4 bytes."""
        return build_with(_PREAMBLE, attrs.asdict(self), "LICENSE_PREAMBLE")

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[LicensePreamble, bytes]:
        """The preamble and what follows it.

        Raises:
            DecodeError: too short.
        """
        parsed, rest = parse_with(_PREAMBLE, data, "LICENSE_PREAMBLE")
        return cls(known(MessageType, parsed.message_type), parsed.message_size, parsed.flags), rest


def unpack_message(data: Buffer) -> tuple[LicensePreamble, bytes]:
    """Preamble and body of the message that `data` is.

    Raises:
        DecodeError: a size that is not that of `data`; four bytes more are taken from an error alert, for some servers
            count the security header.
    """
    preamble, body = LicensePreamble.unpack(data)
    size = len(data)
    tolerated = (size, size + 4) if preamble.message_type == MessageType.ERROR_ALERT else (size,)
    if preamble.message_size not in tolerated or size > MESSAGE_MAXIMUM:
        raise DecodeError(f"LICENSE_PREAMBLE: wMsgSize {preamble.message_size}, {size} bytes came")
    return preamble, body


@attrs.frozen
class BinaryBlob:
    """LICENSE_BINARY_BLOB: bytes with a type and a length. Source: [MS-RDPBCGR] 2.2.1.12.1.2."""

    blob_type: BlobType | int = uint16()
    blob_data: bytes = bounded_bytes(0xFFFF, default=b"", repr=False)

    def pack(self) -> bytes:
        """4 bytes and the data."""
        return build_with(_BLOB, attrs.asdict(self), "LICENSE_BINARY_BLOB")

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[BinaryBlob, bytes]:
        """The blob and what follows it.

        Raises:
            DecodeError: too short.
        """
        parsed, rest = parse_with(_BLOB, data, "LICENSE_BINARY_BLOB")
        return cls._from(parsed), rest

    @classmethod
    def _from(cls, parsed: Any) -> BinaryBlob:
        return cls(known(BlobType, parsed.blob_type), parsed.blob_data)


@attrs.frozen
class LicenseError:
    """LICENSE_ERROR_MESSAGE: the end of licensing, good or bad, from either side. Source: [MS-RDPBCGR] 2.2.1.12.1.3.

    The whole message: `pack` and `unpack` include the preamble.
    """

    error_code: LicenseErrorCode | int = uint32()
    state_transition: StateTransition | int = uint32()
    error_info: BinaryBlob = BinaryBlob(BlobType.BB_ERROR_BLOB)
    flags: int = uint8(default=PREAMBLE_VERSION_3_0)
    """Of the preamble."""

    def pack(self) -> bytes:
        """Preamble and body; the size in the preamble is right."""
        values = {
            "error_code": self.error_code,
            "state_transition": self.state_transition,
            "error_info": attrs.asdict(self.error_info),
        }
        body = build_with(_ERROR, values, "LICENSE_ERROR_MESSAGE")
        return LicensePreamble(MessageType.ERROR_ALERT, 4 + len(body), self.flags).pack() + body

    @classmethod
    def unpack(cls, data: Buffer) -> LicenseError:
        """The message, which takes all of `data`.

        Raises:
            DecodeError: another message, or sizes that do not fit.
        """
        preamble, body = unpack_message(data)
        if preamble.message_type != MessageType.ERROR_ALERT:
            raise DecodeError(f"LICENSE_ERROR_MESSAGE: message type 0x{preamble.message_type:02X}, expected 0xFF")
        parsed, rest = parse_with(_ERROR, body, "LICENSE_ERROR_MESSAGE")
        if rest:
            raise DecodeError(f"LICENSE_ERROR_MESSAGE: {len(rest)} bytes too many")
        return cls(
            known(LicenseErrorCode, parsed.error_code),
            known(StateTransition, parsed.state_transition),
            BinaryBlob._from(parsed.error_info),
            preamble.flags,
        )


VALID_CLIENT = LicenseError(LicenseErrorCode.STATUS_VALID_CLIENT, StateTransition.ST_NO_TRANSITION)
"""The message that ends licensing for every client (fact 26): 16 bytes, 20 with the security header."""
