"""The connection's display: what `GetVideoHandle` hands out, and what of it goes to the client when.

Nothing here waits: the connection's sending task asks when there is something (`due`), and when the client can take it,
has a piece of it made (`queue_piece`).
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import trio

from rdpprov.api.devices import Pixels, PointerShape, Rectangle, Screen
from rdpprov.encoding.bitmap import TILE_SHAPES, BitmapEncoder, TileCache, tiles
from rdpprov.protocol.rdp.server import RdpServerMachine

PIECE_BYTES = 128 * 1024
"""Bytes of encoded picture that are joined into one write: below 64 KiB TLS costs several times more per byte, and what
is encoded and not yet sent is all that a frame holds of memory."""

PIECE_PIXELS = 1024 * 1024
"""Pixels that are encoded at once, however few bytes they become: the event loop is others' too."""

GRAB_WIDTH = 1024
"""Pixels, about: with 64 rows, the largest part of a screen that is copied at once."""

MIN_FRAME_INTERVAL = 1 / 60
"""Seconds. A client cannot show more, and a busy desktop must not keep the event loop from others."""

SUPPRESS_DEBOUNCE = 1.0
"""Seconds. Fact 45: mstsc suppresses output during its own handshake; obeying at once gives a black desktop."""

MAX_REFRESH = 64
"""Rectangles that a client can ask for again one by one; beyond, it gets what is around them all."""


class RdpVideoDevice:
    """`VideoDevice` of one RDP client.

    Frames are pulled: damage only wakes the sending task. What is not yet sent is forgotten in favour of what is there
    then, so there is no queue of frames.

    Args:
        machine: makes the updates.
        cache: encoded tiles, shared by all clients of the process.
        wake: called when `due` may have another answer than before.
        first_frame: called once, when the first whole picture is queued.
    """

    def __init__(
        self,
        machine: RdpServerMachine,
        cache: TileCache,
        wake: Callable[[], None],
        first_frame: Callable[[], None],
    ) -> None:
        self._machine = machine
        self._cache = cache
        self._wake = wake
        self._first_frame = first_frame
        self._encoder: BitmapEncoder | None = None  # of the active share
        self._size = (0, 0)  # of the client's desktop
        self._screen: Screen | None = None
        self._screen_size = (0, 0)  # as the client knows it
        self._connected = False
        self._has_damage = False
        self._refresh: list[Rectangle] = []
        self._frame: Iterator[None] | None = None
        self._next_frame_at = 0.0
        self._first_frame_sent = False
        self._suppressed_at: float | None = None
        self.frames = 0
        """Sent whole."""
        self.raw_bytes = 0
        """Of what was sent, before it was compressed."""
        self.encoded_bytes = 0
        """... and after."""

    # What the service calls

    def plug(self, screen: Screen) -> None:
        """Show this screen from now on."""
        self._screen = screen
        self._screen_size = (0, 0)
        self._frame = None
        self._has_damage = True
        self._wake()

    def unplug(self) -> None:
        """Show nothing any more: what is left of a frame that is being sent is nobody's."""
        self._screen = self._frame = None

    def damaged(self) -> None:
        """There is something to take. Told once a frame, the sending task knows."""
        if not self._has_damage:
            self._has_damage = True
            self._wake()

    # What the connection calls

    def activated(self, width: int, height: int, bits_per_pixel: int) -> None:
        """Font Map has gone out: the client takes output of this size and depth (FIN-05)."""
        self._encoder = BitmapEncoder(bits_per_pixel=bits_per_pixel, cache=self._cache)
        self._size = (width, height)
        self.refresh()

    def connected(self) -> None:
        """ConnectNotify: the session may be shown."""
        self._connected = True
        self.refresh()

    def disconnected(self) -> None:
        """DisconnectNotify: not any more."""
        self._connected = False
        self._frame = None

    def refresh(self, rectangles: Iterable[Rectangle] | None = None) -> None:
        """Send these parts again; all if none are named. Refresh Rect, and the end of Suppress Output."""
        self._refresh = [self._whole] if rectangles is None else [*self._refresh, *rectangles]
        if len(self._refresh) > MAX_REFRESH:
            self._refresh = [_around(self._refresh)]
        self._has_damage = True
        self._wake()

    def suppress(self, suppressed: bool) -> None:
        """Suppress Output: stop, or go on and redraw (INP-10)."""
        if not suppressed:
            if self._suppressed_at is not None:
                self._suppressed_at = None
                self.refresh()
        elif self._suppressed_at is None:
            self._suppressed_at = trio.current_time()

    def due(self) -> float | None:
        """When the client is to get the next piece of picture, on trio's clock; None: not before ``wake`` is called."""
        if self._screen is None or self._encoder is None or not self._connected or self._is_suppressed():
            return None
        if self._frame is not None:
            return trio.current_time()
        return self._next_frame_at if self._has_damage else None

    def _is_suppressed(self) -> bool:
        return (
            self._suppressed_at is not None
            and self._first_frame_sent
            and trio.current_time() - self._suppressed_at >= SUPPRESS_DEBOUNCE
        )

    def queue_piece(self) -> None:
        """Queue the next piece, of about `PIECE_BYTES`, as the screen is now. Nothing if there is none."""
        due = self.due()
        if due is None or due > trio.current_time():
            return
        assert self._screen is not None
        assert self._encoder is not None
        if self._frame is None:
            self._has_damage = False
            self._next_frame_at = trio.current_time() + MIN_FRAME_INTERVAL
            self._frame = self._draw(self._screen, self._encoder)
        frame = self._frame
        if next(frame, _FRAME_IS_OVER) is _FRAME_IS_OVER and self._frame is frame:
            self._frame = None

    def _draw(self, screen: Screen, encoder: BitmapEncoder) -> Iterator[None]:
        """Queue a frame; stops behind each piece, and goes on with what the screen shows then."""
        damage = [*screen.take_damage(), *self._refresh]
        self._refresh = []
        if self._screen_size != (screen.width, screen.height):
            # Also what the screen does not cover any more: the client still shows something there.
            self._screen_size = (screen.width, screen.height)
            damage = [self._whole]
        size = pixels = 0
        for part in _parts(damage, self._size, encoder.bits_per_pixel):
            if size >= PIECE_BYTES or pixels >= PIECE_PIXELS:
                size = pixels = 0
                yield
            pixels += part.width * part.height
            self.raw_bytes += part.width * part.height * encoder.bits_per_pixel // 8
            for batch in encoder.encode_batches(_grab(screen, part), part.left, part.top):
                self._machine.send_bitmap_updates(batch)
                size += batch.size
                self.encoded_bytes += batch.size
        self._queue_pointer(screen.take_pointer(), screen.take_pointer_position())
        self.frames += 1
        if damage and not self._first_frame_sent:
            self._first_frame_sent = True
            self._first_frame()

    def _queue_pointer(self, shape: PointerShape | None, position: tuple[int, int] | None) -> None:
        if shape is not None:
            self._machine.send_pointer_shape(shape)
        if position is not None:
            self._machine.send_pointer_position(*position)

    @property
    def _whole(self) -> Rectangle:
        return Rectangle(0, 0, *self._size)


_FRAME_IS_OVER = object()


def _around(rectangles: list[Rectangle]) -> Rectangle:
    around = rectangles[0]
    for rectangle in rectangles:
        around = around.union(rectangle)
    return around


def _parts(damage: list[Rectangle], size: tuple[int, int], bits_per_pixel: int) -> Iterator[Rectangle]:
    """What is grabbed at once, from top to bottom: bands of at most 64 rows, cut where the encoder's grid is cut too,
    so that its tiles keep their shape."""
    columns = TILE_SHAPES[bits_per_pixel][0]
    step = columns * (GRAB_WIDTH // columns)
    for band in tiles(damage, *size):
        left = band.left
        while left < band.right:
            right = min(left - left % step + step, band.right)
            yield Rectangle(left, band.top, right, band.bottom)
            left = right


_scratch = np.empty(0, np.uint8)


def _grab(screen: Screen, part: Rectangle) -> Pixels:
    """A part of the client's desktop: what the screen shows there, and black beside it.

    The result is valid until the next call. One buffer for all connections: nobody waits between grabbing and encoding.
    """
    global _scratch
    size = part.width * part.height * 4
    if _scratch.size < size:
        _scratch = np.empty(size, np.uint8)
    out = _scratch[:size].reshape(part.height, part.width, 4)
    if part.right <= screen.width and part.bottom <= screen.height:
        return screen.grab(part, out)
    covered = part.intersection(Rectangle(0, 0, screen.width, screen.height))
    out[...] = 0
    if not covered.is_empty():
        left, top = covered.left - part.left, covered.top - part.top
        out[top : top + covered.height, left : left + covered.width] = screen.grab(covered)
    return out
