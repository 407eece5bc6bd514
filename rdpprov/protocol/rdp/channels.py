"""Static virtual channels: messages cut into chunks, and put together again within bounds.

Source: [MS-RDPBCGR] 2.2.6.1 "Virtual Channel PDU", 3.1.5.2 "Static Virtual Channels".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rdpprov.errinfo import ErrInfo
from rdpprov.errors import RemoteProtocolError
from rdpprov.wire.rdp.virtual_channel import ChannelFlags, ChannelPduHeader

MESSAGE_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of the longest message that a channel may announce, unless its owner says less (SVC-02)."""

_FIRST: Final = int(ChannelFlags.CHANNEL_FLAG_FIRST)
_LAST: Final = int(ChannelFlags.CHANNEL_FLAG_LAST)


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
            ChannelDataTooShortError: the chunk is shorter than its header.
            ChannelCompressionError, ChannelDataTooLongError, ChannelReassemblyError: as they say above.
        """
        header, part = ChannelPduHeader.unpack(chunk)
        flags = header.flags
        if flags & ChannelFlags.CHANNEL_PACKET_COMPRESSED:
            raise ChannelCompressionError("a compressed chunk")
        if flags & (ChannelFlags.CHANNEL_FLAG_SUSPEND | ChannelFlags.CHANNEL_FLAG_RESUME):
            return None  # SVC-05: never fatal; we send too little to suspend anything
        if flags & _FIRST:  # drops an unfinished message
            if header.length > self._limit:
                raise ChannelDataTooLongError(f"a message of {header.length} bytes, the limit is {self._limit}")
            self._message, self._total = bytearray(), header.length
        message = self._message
        if message is None:
            raise ChannelReassemblyError("a chunk without the first one of its message")
        if len(message) + len(part) > self._total:
            raise ChannelReassemblyError(f"more than the {self._total} bytes that were announced")
        message += part
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
        part = message[number * chunk_size : (number + 1) * chunk_size]
        yield ChannelPduHeader(len(message), flags).pack() + part
