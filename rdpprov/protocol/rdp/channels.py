"""Static virtual channels: messages cut into chunks, and put together again within bounds.

Source: [MS-RDPBCGR] 2.2.6.1 "Virtual Channel PDU", 3.1.5.2 "Static Virtual Channels".
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from struct import Struct
from typing import Final

from rdpprov.errinfo import ErrInfo
from rdpprov.errors import RemoteProtocolError

MESSAGE_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of the longest message that a channel may announce, unless its owner says less (SVC-02)."""

_HEADER: Final = Struct("<II")


class ChannelFlags(IntEnum):
    """Bits of flags of CHANNEL_PDU_HEADER."""

    CHANNEL_FLAG_FIRST = 0x00000001
    CHANNEL_FLAG_LAST = 0x00000002
    CHANNEL_FLAG_SHOW_PROTOCOL = 0x00000010
    """fact 68: never set by us; mstsc crashes where RAIL gets it back."""
    CHANNEL_FLAG_SUSPEND = 0x00000020
    CHANNEL_FLAG_RESUME = 0x00000040
    CHANNEL_PACKET_COMPRESSED = 0x00200000


_FIRST: Final = int(ChannelFlags.CHANNEL_FLAG_FIRST)
_LAST: Final = int(ChannelFlags.CHANNEL_FLAG_LAST)


class ChannelDataTooShortError(RemoteProtocolError):
    """A chunk is shorter than its header."""

    errinfo = ErrInfo.ERRINFO_VCHANNELDATATOOSHORT


class ChannelReassemblyError(RemoteProtocolError):
    """Chunks out of order, or a message of another length than its first chunk announced (SVC-01)."""

    errinfo = ErrInfo.ERRINFO_VCDECOMPRESSEDREASSEMBLEFAILED


class ChannelDataTooLongError(RemoteProtocolError):
    """A message is announced longer than the channel's limit (SVC-02)."""

    errinfo = ErrInfo.ERRINFO_VCDATATOOLONG


class ChannelCompressionError(RemoteProtocolError):
    """A compressed chunk, which nobody announced (SVC-04)."""

    errinfo = ErrInfo.ERRINFO_INVALIDVCCOMPRESSIONTYPE


class ChannelAssembler:
    """Puts the chunks of one channel's messages together. The buffer grows with what arrives, not with what is
    announced.

    Args:
        limit: bytes of the longest message.
    """

    __slots__ = ("_limit", "_message", "_total")

    def __init__(self, limit: int = MESSAGE_LIMIT) -> None:
        self._limit = limit
        self._message: bytearray | None = None
        self._total = 0

    def add(self, chunk: bytes) -> bytes | None:
        """Take one chunk, with its header.

        Returns:
            a whole message, or None: more chunks have to come.

        Raises:
            RemoteProtocolError: one of the four classes above.
        """
        if len(chunk) < _HEADER.size:
            raise ChannelDataTooShortError(f"CHANNEL_PDU_HEADER: {len(chunk)} bytes, not 8")
        total, flags = _HEADER.unpack_from(chunk)
        if flags & ChannelFlags.CHANNEL_PACKET_COMPRESSED:
            raise ChannelCompressionError("a compressed chunk")
        if flags & (ChannelFlags.CHANNEL_FLAG_SUSPEND | ChannelFlags.CHANNEL_FLAG_RESUME):
            return None  # SVC-05: never fatal; we send too little to suspend anything
        if flags & _FIRST:  # drops an unfinished message
            if total > self._limit:
                raise ChannelDataTooLongError(f"a message of {total} bytes, the limit is {self._limit}")
            self._message, self._total = bytearray(), total
        message = self._message
        if message is None:
            raise ChannelReassemblyError("a chunk without the first one of its message")
        if len(message) + len(chunk) - _HEADER.size > self._total:
            raise ChannelReassemblyError(f"more than the {self._total} bytes that were announced")
        message += memoryview(chunk)[_HEADER.size :]
        if not flags & _LAST:
            return None
        if len(message) != self._total:
            raise ChannelReassemblyError(f"{len(message)} bytes came, {self._total} were announced")
        self._message = None
        return bytes(message)


def pack_chunks(message: bytes, chunk_size: int) -> Iterator[bytes]:
    """A message as chunks, each with its header.

    Args:
        message: of any length.
        chunk_size: bytes of a chunk without its header.
    """
    last = max(len(message) - 1, 0) // chunk_size
    for number in range(last + 1):
        flags = (_FIRST if number == 0 else 0) | (_LAST if number == last else 0)
        yield _HEADER.pack(len(message), flags) + message[number * chunk_size : (number + 1) * chunk_size]
