"""The byte stream, cut into units, within the bounds of the stage. Source: [MS-RDPBCGR] 2.2.8.1.2, 5.3.8.

Nothing that a length field announces is ever allocated: the buffer grows with what has arrived, and a unit that is
announced longer than the stage allows is refused by its header.
"""

from __future__ import annotations

from typing import Final

from rdpprov.wire.base import DecodeError
from rdpprov.wire.rdp.preconnection import preconnection_length
from rdpprov.wire.rdp.tpkt import TPKT_MAXIMUM, TPKT_VERSION, UnitKind, next_unit

NEGOTIATION_LIMIT: Final = 4 * 1024
"""Bytes buffered before the X.224 confirm (FRM-05)."""
LOGON_LIMIT: Final = 48 * 1024
"""Bytes buffered before logon. FRM-05 allows 64 KiB for all that a connection holds, and this buffer is most of it.
Clients' PDUs have a tenth of it at that stage."""
SESSION_LIMIT: Final = 1024 * 1024
"""Bytes buffered after logon. An owner that takes all events after each read stays far below it: a unit has at most
64 KiB."""
CLIENT_LIMIT: Final = 64 * 1024 * 1024
"""Bytes that a client buffers: a server's picture may come in one piece."""


class UnitSplitter:
    """Takes bytes, gives units. Bytes beyond `limit` are dropped, and the next call for a unit raises DecodeError."""

    __slots__ = ("_buffer", "_overflowed", "limit")

    def __init__(self, limit: int) -> None:
        self._buffer = bytearray()
        self._overflowed = False
        self.limit = limit
        """Bytes that are buffered at most; the owner sets it as its state changes."""

    def __len__(self) -> int:
        return len(self._buffer)

    def receive_data(self, data: bytes) -> None:
        """Append what arrived, as far as there is room."""
        room = self.limit - len(self._buffer)
        if len(data) > room:
            self._overflowed = True
            data = data[: max(room, 0)]
        self._buffer += data

    def next_unit(self, *, fast_path: bool = False) -> tuple[UnitKind, bytes] | None:
        """The next whole unit with its header, or None: more bytes are needed.

        Args:
            fast_path: whether a fast-path PDU is legal now (FRM-04).

        Raises:
            DecodeError: what comes next is no legal unit or a too long one, or more came than there was room for.
        """
        self._refuse_overflow()
        found = next_unit(self._buffer, limit=min(self.limit, TPKT_MAXIMUM), fast_path=fast_path)
        if found is None:
            return None
        kind, length = found
        unit = bytes(self._buffer[:length])
        del self._buffer[:length]
        return kind, unit

    def next_preconnection(self) -> bytes | None:
        """The preconnection PDU at the very start of the stream: all of it; empty if there is none; None: wait.

        Raises:
            DecodeError: the first byte is not TPKT's, and what follows has a size that no such PDU has (PRE-02).
        """
        self._refuse_overflow()
        if not self._buffer:
            return None
        if self._buffer[0] == TPKT_VERSION:  # PRE-03: it is recognised by its first byte not being 3
            return b""
        length = preconnection_length(self._buffer)
        if length is None or length > len(self._buffer):
            return None
        unit = bytes(self._buffer[:length])
        del self._buffer[:length]
        return unit

    def peek(self) -> bytes:
        """A copy of everything buffered."""
        return bytes(self._buffer)

    def take_rest(self) -> bytes:
        """Everything buffered, which belongs to somebody else."""
        rest = bytes(self._buffer)
        self.clear()
        return rest

    def clear(self) -> None:
        """Forget everything, the memory too."""
        self._buffer = bytearray()

    def _refuse_overflow(self) -> None:
        if self._overflowed:
            raise DecodeError(f"more than {self.limit} bytes that nobody has read")
