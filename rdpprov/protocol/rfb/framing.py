"""The byte stream, of which as much is taken as a structure needs. RFB has no framing of its own."""

from __future__ import annotations

from typing import Final

from rdpprov.wire.base import DecodeError

HANDSHAKE_LIMIT: Final = 4 * 1024
"""Bytes buffered up to ClientInit. The longest that a client has to say there are credentials of 2 KiB; there is room
for one that sends its first messages without waiting."""
LOGON_LIMIT: Final = 32 * 1024
"""Bytes buffered while the server's owner looks for a desktop."""
SESSION_LIMIT: Final = 512 * 1024
"""Bytes buffered in a session: the longest message has half of it."""
CLIENT_LIMIT: Final = 64 * 1024 * 1024
"""Bytes that a client buffers: a rectangle may be a whole picture."""


class ByteStream:
    """Takes bytes, gives bytes. What is beyond `limit` is dropped, and the next who asks for bytes gets DecodeError."""

    __slots__ = ("_buffer", "_overflowed", "_skipping", "limit")

    def __init__(self, limit: int) -> None:
        self._buffer = bytearray()
        self._overflowed = False
        self._skipping = 0
        self.limit = limit
        """Bytes that are buffered at most; the owner sets it as its state changes."""

    def __len__(self) -> int:
        return len(self._buffer)

    def receive_data(self, data: bytes) -> None:
        """Append what arrived, as far as there is room."""
        if self._skipping:
            skipped = min(self._skipping, len(data))
            self._skipping -= skipped
            data = data[skipped:]
        room = self.limit - len(self._buffer)
        if len(data) > room:
            self._overflowed = True
            data = data[: max(room, 0)]
        self._buffer += data

    @property
    def data(self) -> bytearray:
        """What is buffered, to look at; to be left as it is.

        Raises:
            DecodeError: more came than there was room for.
        """
        if self._overflowed:
            raise DecodeError(f"more than {self.limit} bytes that nobody has read")
        return self._buffer

    def take(self, size: int | None) -> bytes | None:
        """The next `size` bytes; or None: they are not all there, or it is not even known how many are needed.

        Raises:
            DecodeError: more came than there was room for, or there will never be room for so many.
        """
        data = self.data
        if size is None:
            return None
        if size > len(data):
            if size > self.limit:
                raise DecodeError(f"a message of {size} bytes, {self.limit} are allowed")
            return None
        taken = bytes(data[:size])
        del data[:size]
        return taken

    def skip(self, size: int) -> None:
        """Drop the next `size` bytes, as they come."""
        here = min(size, len(self._buffer))
        del self._buffer[:here]
        self._skipping += size - here

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
        self._skipping = 0
