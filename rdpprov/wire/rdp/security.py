"""The security header. Source: [MS-RDPBCGR] 2.2.8.1.1.2 "Security Headers"."""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import ClassVar

import attrs

from rdpprov.wire.base import Buffer, Reader, uint16


class SecurityFlags(IntEnum):
    """Bits of flags of TS_SECURITY_HEADER."""

    SEC_EXCHANGE_PKT = 0x0001
    SEC_TRANSPORT_REQ = 0x0002
    SEC_TRANSPORT_RSP = 0x0004
    SEC_ENCRYPT = 0x0008
    SEC_RESET_SEQNO = 0x0010
    SEC_IGNORE_SEQNO = 0x0020
    SEC_INFO_PKT = 0x0040
    SEC_LICENSE_PKT = 0x0080
    SEC_LICENSE_ENCRYPT_CS = 0x0200
    """The same bit means SEC_LICENSE_ENCRYPT_SC from the server: licensing messages may be encrypted."""
    SEC_REDIRECTION_PKT = 0x0400
    SEC_SECURE_CHECKSUM = 0x0800
    SEC_AUTODETECT_REQ = 0x1000
    SEC_AUTODETECT_RSP = 0x2000
    SEC_HEARTBEAT = 0x4000
    SEC_FLAGSHI_VALID = 0x8000


@attrs.frozen
class BasicSecurityHeader:
    """TS_SECURITY_HEADER: says which PDU follows, where there is no share header. 4 bytes.

    Under TLS it stands before Client Info, licensing, auto-detect, heartbeat and multitransport PDUs only (fact 25);
    never before share PDUs and channel data. Source: [MS-RDPBCGR] 2.2.8.1.1.2.1 "Basic (TS_SECURITY_HEADER)".
    """

    LAYOUT: ClassVar[Struct] = Struct("<HH")

    flags: int = uint16()
    """`SecurityFlags`."""
    flags_hi: int = uint16(default=0)
    """Counts only with SEC_FLAGSHI_VALID; kept as received, ignored."""

    def pack(self) -> bytes:
        """4 bytes."""
        return self.LAYOUT.pack(self.flags, self.flags_hi)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[BasicSecurityHeader, bytes]:
        """The header and what follows it.

        Raises:
            DecodeError: too short.
        """
        reader = Reader(data, "TS_SECURITY_HEADER")
        return cls(*reader.fields(cls.LAYOUT)), reader.rest()
