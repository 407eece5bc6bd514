"""Lines from and to a stream, with a bound on their length."""

import trio

from rdpprov.errors import RemoteProtocolError

RECEIVE = 64 * 1024
"""Bytes at once."""


class LineStream:
    """A stream of lines. One task may receive while others send.

    Args:
        stream: taken over.
        max_line: bytes of a line that comes, with its end.
    """

    def __init__(self, stream: trio.SocketStream, max_line: int) -> None:
        self._stream = stream
        self._max_line = max_line
        self._received = bytearray()
        self._looked_at = 0
        self._sending = trio.Lock()

    async def receive(self) -> bytes | None:
        """The next line, without its end; None: there is none any more. A line that was not ended is none.

        Raises:
            RemoteProtocolError: it is too long.
            trio.BrokenResourceError: the peer is gone.
        """
        while (end := self._received.find(b"\n", self._looked_at)) < 0:
            if len(self._received) >= self._max_line:
                raise RemoteProtocolError(f"a line of more than {self._max_line} bytes")
            self._looked_at = len(self._received)
            data = await self._stream.receive_some(RECEIVE)
            if not data:
                return None
            self._received += data
        if end >= self._max_line:
            raise RemoteProtocolError(f"a line of more than {self._max_line} bytes")
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        self._looked_at = 0
        return line

    async def until_end(self) -> None:
        """Wait until the peer has said its last. What it says before that is kept for `receive`; a peer that says more
        than a line is not waited for."""
        while len(self._received) < self._max_line:
            try:
                data = await self._stream.receive_some(RECEIVE)
            except trio.BrokenResourceError:
                return
            if not data:
                return
            self._received += data
        await trio.sleep_forever()

    async def send(self, line: bytes) -> None:
        """Send a line, its end included; whole, whoever else sends.

        Raises:
            trio.BrokenResourceError: the peer is gone.
        """
        async with self._sending:
            await self._stream.send_all(line)

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()
