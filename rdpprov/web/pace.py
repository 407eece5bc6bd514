"""How fast a client's WebSocket frames are read.

A frame costs much the same whether there is anything in it, and six bytes make one: so frames are counted, not bytes.
"""

from collections.abc import Callable


class FrameCounter:
    """How many frames there are in the bytes of a WebSocket. Whether they are what they should be is not judged here.

    Source: [RFC 6455] 5.2 "Base Framing Protocol".
    """

    def __init__(self) -> None:
        self._header = bytearray()
        self._payload_left = 0

    def receive_data(self, data: bytes) -> int:
        """Take bytes, from the first after the handshake on. Returns how many frames have begun in them: their headers
        are complete."""
        frames = position = 0
        while position < len(data):
            if self._payload_left:
                skipped = min(self._payload_left, len(data) - position)
                self._payload_left -= skipped
                position += skipped
                continue
            self._header.append(data[position])
            position += 1
            if len(self._header) >= 2 and len(self._header) == self._header_size():
                self._payload_left = self._payload_size()
                self._header.clear()
                frames += 1
        return frames

    def _header_size(self) -> int:
        second = self._header[1]
        return 2 + {126: 2, 127: 8}.get(second & 0x7F, 0) + (4 if second & 0x80 else 0)

    def _payload_size(self) -> int:
        match self._header[1] & 0x7F:
            case 126:
                return int.from_bytes(self._header[2:4], "big")
            case 127:
                return int.from_bytes(self._header[2:10], "big")
            case size:
                return size


class Pace:
    """How long to wait before more is read: a second's worth may come at once, then it is an even flow.

    Args:
        per_second: frames.
        clock: seconds.
    """

    def __init__(self, per_second: int, clock: Callable[[], float]) -> None:
        self._interval = 1 / per_second
        self._clock = clock
        self._paid_until = clock()

    def count(self, frames: int) -> None:
        """So many have been read."""
        self._paid_until = max(self._paid_until, self._clock()) + frames * self._interval

    def delay(self) -> float:
        """Seconds."""
        return max(0.0, self._paid_until - self._clock() - 1)
