"""The connection's display: what `GetVideoHandle` hands out, and the task that sends its frames."""

from collections.abc import Callable

import numpy as np
import trio

from rdpprov.api.devices import Pixels, PointerShape, Rectangle, Screen
from rdpprov.encoding.bitmap import BitmapEncoder, EncodedBitmap, TileCache, tiles
from rdpprov.protocol.rdp.server import RdpServerMachine
from rdpprov.providers.rdp.transport import Transport

CHUNK = 128 * 1024
"""Bytes of encoded picture that are joined into one write: below 64 KiB TLS costs several times more per byte, and what
is encoded and not yet sent is all that a frame holds of memory."""

MIN_FRAME_INTERVAL = 1 / 60
"""Seconds. A client cannot show more, and a busy desktop must not keep the event loop from others."""

SUPPRESS_DEBOUNCE = 1.0
"""Seconds. Fact 45: mstsc suppresses output during its own handshake; obeying at once gives a black desktop."""


class RdpVideoDevice:
    """`VideoDevice` of one RDP client.

    Frames are pulled: damage only wakes the task; it grabs when the client can take something. What is not yet sent
    is forgotten in favour of what is there then, so there is no queue of frames.

    Args:
        machine: makes the updates.
        transport: carries them.
        cache: encoded tiles, shared by all clients of the process.
        first_frame: called once, when the first whole picture has been handed to the transport.
    """

    def __init__(
        self, machine: RdpServerMachine, transport: Transport, cache: TileCache, first_frame: Callable[[], None]
    ) -> None:
        self._machine = machine
        self._transport = transport
        self._cache = cache
        self._first_frame = first_frame
        self._encoder: BitmapEncoder | None = None
        self._size = (0, 0)
        self._screen: Screen | None = None
        self._wake = trio.Event()
        self._active = False
        self._connected = False
        self._damage: list[Rectangle] = []
        self._pointer: PointerShape | None = None
        self._frame_sent = False
        self._suppressed_at: float | None = None
        self.frames = 0

    # What the service calls

    def plug(self, screen: Screen) -> None:
        """Show this screen from now on."""
        self._screen = screen
        self._wake.set()

    def unplug(self) -> None:
        """Show nothing any more."""
        self._screen = None

    def damaged(self) -> None:
        """There is something to take."""
        self._wake.set()

    # What the connection calls

    def activated(self, width: int, height: int, bits_per_pixel: int) -> None:
        """Font Map has gone out: the client takes output of this size and depth (FIN-05)."""
        self._encoder = BitmapEncoder(bits_per_pixel=bits_per_pixel, cache=self._cache)
        self._size = (width, height)
        self._active = True
        self.refresh()

    def deactivated(self) -> None:
        """Deactivate All: nothing goes out until `activated`."""
        self._active = False

    def connected(self) -> None:
        """ConnectNotify: the session may be shown."""
        self._connected = True
        self.refresh()

    def disconnected(self) -> None:
        """DisconnectNotify: not any more."""
        self._connected = False

    def refresh(self, rectangles: tuple[Rectangle, ...] | None = None) -> None:
        """Send these parts again; all if none are named. Refresh Rect, and the end of Suppress Output."""
        self._damage = [Rectangle(0, 0, *self._size)] if rectangles is None else [*self._damage, *rectangles][-64:]
        self._wake.set()

    def suppress(self, suppressed: bool) -> None:
        """Suppress Output: stop, or go on and redraw (INP-10)."""
        if suppressed:
            if self._suppressed_at is None:
                self._suppressed_at = trio.current_time()
        elif self._suppressed_at is not None:
            self._suppressed_at = None
            self.refresh()

    async def run(self) -> None:
        """Send frames until cancelled.

        Raises:
            ClientGone: the connection broke, or the client does not take them.
        """
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            if not (self._active and self._connected) or self._screen is None or self._is_suppressed():
                continue
            await self._transport.wait_writable()
            started = trio.current_time()
            await self._send_frame()
            await trio.sleep_until(started + MIN_FRAME_INTERVAL)

    def _is_suppressed(self) -> bool:
        return (
            self._suppressed_at is not None
            and self._frame_sent
            and trio.current_time() - self._suppressed_at >= SUPPRESS_DEBOUNCE
        )

    async def _send_frame(self) -> None:
        screen = self._screen
        encoder = self._encoder
        if screen is None or encoder is None:
            return
        width, height = min(self._size[0], screen.width), min(self._size[1], screen.height)
        damage = [*self._damage, *screen.take_damage()]
        self._damage = []
        updates: list[EncodedBitmap] = []
        size = 0
        for tile in tiles(damage, width, height):
            if self._screen is not screen or not self._active:
                return  # another desktop, or another size: what is left of this frame is nobody's any more
            for update in encoder.encode(screen.grab(tile, _scratch(tile)), tile.left, tile.top):
                updates.append(update)
                size += len(update.data)
            if size >= CHUNK:
                await self._send(updates)
                updates, size = [], 0
        self._add_pointer(screen)
        await self._send(updates)
        self.frames += 1
        if not self._frame_sent and damage:
            self._frame_sent = True
            self._first_frame()

    async def _send(self, updates: list[EncodedBitmap]) -> None:
        if updates:
            self._machine.send_bitmap_updates(updates)
        await self._transport.flush()

    def _add_pointer(self, screen: Screen) -> None:
        shape = screen.take_pointer()
        if shape is not None:
            self._machine.send_pointer_shape(shape)
        position = screen.take_pointer_position()
        if position is not None:
            self._machine.send_pointer_position(*position)


_scratch_bytes = np.empty(0, np.uint8)


def _scratch(tile: Rectangle) -> Pixels:
    """Where to grab a tile. One buffer for all connections: grabbing and encoding never wait in between."""
    global _scratch_bytes
    size = tile.width * tile.height * 4
    if _scratch_bytes.size < size:
        _scratch_bytes = np.empty(size, np.uint8)
    return _scratch_bytes[:size].reshape(tile.height, tile.width, 4)
