"""The header of every chunk on a static virtual channel. Source: [MS-RDPBCGR] 2.2.6.1 "Virtual Channel PDU"."""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import ClassVar

import attrs

from rdpprov.errinfo import ErrInfo
from rdpprov.wire.base import Buffer, DecodeError, uint32


class ChannelFlags(IntEnum):
    """Bits of flags of CHANNEL_PDU_HEADER; bits 16 to 19 are the type of bulk compression."""

    CHANNEL_FLAG_FIRST = 0x00000001
    CHANNEL_FLAG_LAST = 0x00000002
    CHANNEL_FLAG_SHOW_PROTOCOL = 0x00000010
    """fact 68: a server never sets it; mstsc crashes where RAIL gets it back."""
    CHANNEL_FLAG_SUSPEND = 0x00000020
    CHANNEL_FLAG_RESUME = 0x00000040
    CHANNEL_FLAG_SHADOW_PERSISTENT = 0x00000080
    CHANNEL_PACKET_COMPRESSED = 0x00200000
    CHANNEL_PACKET_AT_FRONT = 0x00400000
    CHANNEL_PACKET_FLUSHED = 0x00800000


class ChannelDataTooShortError(DecodeError):
    """A chunk is shorter than its header."""

    errinfo = ErrInfo.ERRINFO_VCHANNELDATATOOSHORT


@attrs.frozen
class ChannelPduHeader:
    """CHANNEL_PDU_HEADER: how long the whole message is, and which part of it follows. 8 bytes, little-endian.

    Source: [MS-RDPBCGR] 2.2.6.1.1 "Channel PDU Header".
    """

    LAYOUT: ClassVar[Struct] = Struct("<II")

    length: int = uint32()
    """Bytes of the whole message before it was cut and compressed; the same in each of its chunks."""
    flags: int = uint32()
    """`ChannelFlags`."""

    def pack(self) -> bytes:
        """8 bytes."""
        return self.LAYOUT.pack(self.length, self.flags)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[ChannelPduHeader, bytes]:
        """The header and what follows it: a part of the message.

        Raises:
            ChannelDataTooShortError: fewer than 8 bytes.
        """
        if len(data) < cls.LAYOUT.size:
            raise ChannelDataTooShortError(f"CHANNEL_PDU_HEADER: {len(data)} bytes, not {cls.LAYOUT.size}")
        return cls(*cls.LAYOUT.unpack_from(data)), bytes(data[cls.LAYOUT.size :])
