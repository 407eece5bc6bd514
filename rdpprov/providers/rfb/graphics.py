"""The connection's display: what `GetVideoHandle` hands out, and what of it goes to the client when.

RFB is asked for pictures: each request is answered once, by one update, as soon as something in the area asked for has
changed. A client with continuous updates asks once and for all; then fences tell how much it has taken.

Nothing here waits: the connection's sending task asks when there is something (`due`), and when the client can take it,
has a piece of it made (`queue_piece`).
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np
import trio

from rdpprov.api.devices import DEFAULT_POINTER, Move, Pixels, Rectangle, Screen
from rdpprov.codecs.client_pixels import colour_map
from rdpprov.encoding.rfb import EncodedRectangle as EncodedPart
from rdpprov.encoding.rfb import RfbEncoder
from rdpprov.protocol.rfb.events import DesktopSizeRequested
from rdpprov.protocol.rfb.handshake import ServerState
from rdpprov.protocol.rfb.pictures import layout_of
from rdpprov.protocol.rfb.server import RfbServerMachine
from rdpprov.providers.rfb.areas import copyable, divided, joined
from rdpprov.providers.rfb.cursors import area_of, cursor_rectangle, draw, drawable, takes_cursors
from rdpprov.providers.rfb.pacing import Pace
from rdpprov.wire.rfb.encodings import Encoding
from rdpprov.wire.rfb.rectangles import (
    RectangleToSend,
    desktop_name,
    led_state,
    pointer_position,
    vmware_cursor_position,
    vmware_led_state,
)
from rdpprov.wire.rfb.screens import ResizeReason, ResizeStatus

PIECE_BYTES: Final = 128 * 1024
"""Bytes of encoded picture that are joined into one write."""

PIECE_PIXELS: Final = 512 * 1024
"""Pixels that are encoded at once, however few bytes they become: the event loop is others' too."""

GRAB_PIXELS: Final = 256 * 1024
"""About the largest part of a screen that is copied at once."""

BAND: Final = 64
"""Rows: the encoder's grid."""

MIN_FRAME_INTERVAL: Final = 1 / 60
"""Seconds. A client cannot show more, and a busy desktop must not keep the event loop from others."""

SHARPEN_AFTER: Final = 0.3
"""Seconds without change, after which what was sent as JPEG is sent again without loss."""

_NO_POSITION: Final = (-1, -1)


class RfbVideoDevice:
    """`VideoDevice` of one RFB client.

    Frames are pulled: damage only wakes the sending task. What is not yet sent is forgotten in favour of what is there
    then, so there is no queue of frames.

    Args:
        machine: makes the updates.
        wake: called when `due` may have another answer than before.
        first_frame: called once, when the first picture is queued.
    """

    def __init__(self, machine: RfbServerMachine, wake: Callable[[], None], first_frame: Callable[[], None]) -> None:
        self._machine = machine
        self._wake = wake
        self._first_frame = first_frame
        self._encoder: RfbEncoder | None = None
        self._screen: Screen | None = None
        self._take_moves: Callable[[], Sequence[Move]] = _no_moves  # of the screen, if it is one that has them
        self._screen_size = (0, 0)  # that the client was told of, or cannot be told of
        self._connected = False
        self._has_damage = False  # of the screen, which has not been asked yet
        self._damage: list[Rectangle] = []  # of the client's desktop, that it has not asked for yet
        self._requested: list[Rectangle] = []
        self._is_requested = False  # also if nothing of the picture was asked for
        self._frame: Iterator[None] | None = None
        self._parts: deque[Rectangle] = deque()  # of the frame, not encoded yet
        self._collected: list[RectangleToSend] | None = None  # of an update that is sent when it is whole
        self._update_is_open = False
        self._frame_size = 0
        self._next_frame_at = 0.0
        self._pace = Pace()
        self._lossy: list[Rectangle] = []
        self._sharpen_at = 0.0
        self._first_frame_sent = False
        self._shape = drawable(DEFAULT_POINTER)
        self._shape_is_due = False
        self._position = _NO_POSITION
        self._position_is_due = False
        self._name_is_due = False
        self._size_is_due = False
        self._led_state = 0
        self._leds_are_due = False
        self._colour_map_is_due = False
        self.name = ""
        """The desktop's, for the client's title bar."""
        self.frames = 0
        """Sent whole."""
        self.copies = 0
        """Rectangles that clients were told to copy (CopyRect)."""
        self.copied_pixels = 0
        """In them."""

    # What the service calls

    def plug(self, screen: Screen) -> None:
        """Show this screen from now on."""
        self._finish_frame()
        self._screen = screen
        self._take_moves = getattr(screen, "take_moves", _no_moves)
        self._has_damage = True
        self._damage = [self._whole]
        self._shape_is_due = True
        self._wake()

    def unplug(self) -> None:
        """Show nothing any more: what is left of a frame that is being sent is nobody's."""
        self._finish_frame()
        self._screen = None
        self._take_moves = _no_moves

    def damaged(self) -> None:
        """There is something to take. Told once a frame, the sending task knows."""
        if not self._has_damage:
            self._has_damage = True
            self._wake()

    # What the connection calls

    def connected(self) -> None:
        """ConnectNotify: the session may be shown."""
        self._connected = True
        self._damage = [self._whole]
        self._wake()

    def disconnected(self) -> None:
        """DisconnectNotify: not any more."""
        self._connected = False
        self._finish_frame()

    def rename(self, name: str) -> None:
        """The desktop has this name now."""
        self.name = name
        self._name_is_due = True
        self._wake()

    def encodings_changed(self) -> None:
        """What the client takes has changed."""
        if self._encoder is not None:
            self._finish_frame()
            self._encoder.set_encodings(self._machine.encodings)
        self._shape_is_due = self._leds_are_due = True
        if self._position != _NO_POSITION:  # it may have been in the picture, and be so no more
            self._damage = joined(self._damage, [area_of(self._shape, *self._position).intersection(self._whole)])
        self._screen_size = self._machine.width, self._machine.height  # the client may be one that can be told now
        self._damage_pointer()

    def pixel_format_changed(self) -> None:
        """What goes out from now on has another format. What was begun is ended in the old one."""
        self._finish_frame()
        if self._encoder is not None:
            self._encoder.set_layout(layout_of(self._machine.pixel_format))
        self._colour_map_is_due = not self._machine.pixel_format.true_colour
        self._damage = [self._whole]
        self._shape_is_due = True

    def requested(self, area: Rectangle, *, incremental: bool) -> None:
        """The client wants to see an area; if not incremental, whether or not it has changed."""
        if incremental and self._machine.continuous_updates is not None:
            return
        self._is_requested = True
        self._requested = joined(self._requested, [area])
        if not incremental:
            self._damage = joined(self._damage, [area])
            self._size_is_due = self._machine.takes(Encoding.EXTENDED_DESKTOP_SIZE)
        self._wake()

    def continuous_updates_changed(self) -> None:
        """They go on, or are over: then nothing is left over from them."""
        if self._machine.continuous_updates is None:
            self._finish_frame()
            self._machine.send_end_of_continuous_updates()
        self._wake()

    def fence_answered(self, payload: bytes) -> None:
        """The client has taken what was sent before a fence."""
        self._pace.answered(payload, trio.current_time())
        self._wake()

    def pointer_at(self, x: int, y: int) -> None:
        """The client's pointer is there."""
        if (x, y) != self._position:
            self._damage_pointer()
            self._position = x, y
            self._damage_pointer()

    def show_leds(self, state: int) -> None:
        """The lock keys' state."""
        if state != self._led_state:
            self._led_state = state
            self._leds_are_due = True
            self._wake()

    def answer_desktop_size(self, request: DesktopSizeRequested, status: ResizeStatus) -> None:
        """Tell the client what became of its wish for a size."""
        self._finish_frame()
        machine, screen = self._machine, self._screen
        if status is ResizeStatus.OK and screen is not None:
            screens = request.screens if (screen.width, screen.height) == (request.width, request.height) else ()
            is_told = machine.send_desktop_size(screen.width, screen.height, screens, reason=ResizeReason.THIS_CLIENT)
            self._screen_size = screen.width, screen.height
            self._damage = [self._whole]
        else:
            is_told = machine.send_desktop_size(
                machine.width, machine.height, machine.screens, reason=ResizeReason.THIS_CLIENT, status=status
            )
        if is_told:
            self._uses_up_requests()
        self._wake()

    def due(self) -> float | None:
        """When the client is to get the next piece of picture, on trio's clock; None: not before ``wake`` is called."""
        if self._screen is None or not self._connected:
            return None
        state = self._machine.state
        if self._frame is not None or state is ServerState.EXPECT_DESKTOP:
            return trio.current_time()
        if state is not ServerState.ACTIVE or not self._may_send:
            return None
        if self._has_damage or self._is_something_due:
            return self._next_frame_at
        if self._is_wanted(self._damage):
            return self._next_frame_at
        return max(self._sharpen_at, self._next_frame_at) if self._is_wanted(self._lossy) else None

    def _is_wanted(self, areas: list[Rectangle]) -> bool:
        if not areas:
            return False
        return any(not area.intersection(wish).is_empty() for wish in self._wanted for area in areas)

    @property
    def _may_send(self) -> bool:
        return self._is_requested or (self._machine.continuous_updates is not None and self._pace.may_send)

    @property
    def _wanted(self) -> list[Rectangle]:
        """What the client wants to see: what it asked for, and what it gets without asking."""
        continuous = self._machine.continuous_updates
        if continuous is None or not self._pace.may_send:
            return self._requested
        return joined(self._requested, [continuous.intersection(self._whole)])

    @property
    def _is_something_due(self) -> bool:
        machine = self._machine
        return (
            self._size_is_due
            or machine.announcements_due
            or self._shape_is_due
            or (self._position_is_due and self._takes_position)
            or (self._name_is_due and machine.takes(Encoding.DESKTOP_NAME))
            or (self._leds_are_due and self.takes_leds)
        )

    @property
    def takes_leds(self) -> bool:
        """Whether the client shows the lock keys' state."""
        return self._machine.takes(Encoding.LED_STATE) or self._machine.takes(Encoding.VMWARE_LED_STATE)

    @property
    def _takes_position(self) -> bool:
        return self._machine.takes(Encoding.POINTER_POSITION) or self._machine.takes(Encoding.VMWARE_CURSOR_POSITION)

    def queue_piece(self) -> None:
        """Queue the next piece, as the screen is now: ServerInit at first. Nothing if there is none."""
        due = self.due()
        if due is None or due > trio.current_time():
            return
        assert self._screen is not None
        if self._machine.state is ServerState.EXPECT_DESKTOP:
            self._start(self._screen)
            return
        assert self._encoder is not None
        if self._frame is None and not self._begin(self._screen, self._encoder):
            return
        frame = self._frame
        assert frame is not None
        if next(frame, _FRAME_IS_OVER) is _FRAME_IS_OVER:
            self._frame = None
            self._end_update()
            self.frames += 1

    def _start(self, screen: Screen) -> None:
        """ServerInit: as late as that, for it names the desktop's size, and old viewers cannot be told another."""
        self._machine.start(screen.width, screen.height, self.name or "rdpprov")
        self._screen_size = screen.width, screen.height
        self._encoder = RfbEncoder(layout=layout_of(self._machine.pixel_format))
        self._damage = [self._whole]
        self._name_is_due = False

    def _begin(self, screen: Screen, encoder: RfbEncoder) -> bool:
        """Begin an update; whether there is more of it than was queued at once."""
        machine, now = self._machine, trio.current_time()
        if self._tell_size(screen):
            return False  # no frame: what the client asks for next need not wait
        self._next_frame_at = now + MIN_FRAME_INTERVAL
        copies = self._take(screen)
        inside, self._damage = divided(self._damage, self._wanted)
        lossless = not inside and not copies and bool(self._lossy) and now >= self._sharpen_at
        if lossless:
            inside, self._lossy = divided(self._lossy, self._wanted)
        first = self._due_rectangles()
        first += self._copied(copies, encoder)  # before all pixels: sources are as they were
        if not inside and not first and not machine.announcements_due:
            return False
        self._is_requested, self._requested = False, []
        if self._colour_map_is_due:  # not at each SetPixelFormat: it is 77 times as long
            self._colour_map_is_due = False
            machine.send_colour_map(0, colour_map())
        pixels = sum(area.width * area.height for area in inside)
        self._parts = deque(_bands(inside))
        self._frame_size = 0
        self._update_is_open = pixels > GRAB_PIXELS and machine.takes(Encoding.LAST_RECT)
        if self._update_is_open:
            machine.begin_update()
            machine.send_rectangles(first)
        else:
            self._collected = first
        self._frame = self._draw(screen, encoder, lossless)
        return True

    def _take(self, screen: Screen) -> list[Move]:
        """Ask the screen what has changed; what of it the client is to do by copying is no damage."""
        self._has_damage = False
        before, moves = self._damage, self._take_moves()
        self._damage = joined(before, [part.intersection(self._whole) for part in screen.take_damage()])
        self._lossy, _ = divided(self._lossy, [self._whole])
        copies = self._copies(moves, before)
        shape, position = screen.take_pointer(), screen.take_pointer_position()
        if shape is not None:
            self._damage_pointer()
            self._shape = drawable(shape)
            self._shape_is_due = True
            self._damage_pointer()
        if position is not None:
            self.pointer_at(*position)
            self._position_is_due = True
        return copies

    def _copies(self, moves: Sequence[Move], before: list[Rectangle]) -> list[Move]:
        """What the client is to copy; the rest becomes damage.

        Args:
            moves: of the screen.
            before: where the client does not show what the screen showed when it was asked last.
        """
        if not moves:
            return []
        visible = [move for move in moves if divided([move.area], self._damage)[1]]
        assert self._encoder is not None
        wanted: list[Rectangle] = []
        # What a client asks for is where it is known to keep what it has got. A pointer in the picture moves otherwise.
        if self._encoder.takes_copies and takes_cursors(self._machine):
            wanted = self._wanted
        copies, rest = copyable(visible, before, wanted)
        self._damage = joined(self._damage, [part.intersection(self._whole) for part in rest])
        return copies

    def _copied(self, copies: list[Move], encoder: RfbEncoder) -> list[RectangleToSend]:
        """The rectangles of copies. What was copied from where there was JPEG is to be sent without loss, too."""
        result: list[RectangleToSend] = []
        lossy: list[Rectangle] = []
        for copy in copies:
            area, source = copy.area, copy.source
            rectangle = encoder.copy(area.left, area.top, area.width, area.height, source.left, source.top)
            assert rectangle is not None
            result.append(rectangle)
            lossy += [part.shifted(copy.dx, copy.dy) for part in divided(self._lossy, [source])[0]]
            self.copies += 1
            self.copied_pixels += area.width * area.height
        if self._lossy:
            _, left = divided(self._lossy, [copy.area for copy in copies])
            self._lossy = joined(left, lossy)
            if lossy:
                self._sharpen_at = trio.current_time() + SHARPEN_AFTER
        return result

    def _tell_size(self, screen: Screen) -> bool:
        """Tell the client of the desktop's size if that is due: in an update of its own, which answers its requests."""
        machine, size = self._machine, (screen.width, screen.height)
        if size == self._screen_size and not self._size_is_due:
            return False
        has_changed = size != self._screen_size
        self._screen_size, self._size_is_due = size, False
        is_told = machine.send_desktop_size(*size, () if has_changed else machine.screens)
        if has_changed:
            # A client that cannot be told keeps its size, and what the screen does not cover of it is black.
            self._damage, self._lossy = [self._whole], []
        if is_told:
            self._uses_up_requests()
        return is_told

    def _uses_up_requests(self) -> None:
        self._is_requested, self._requested = False, []
        if self._machine.continuous_updates is not None:
            self._fence(0)

    def _due_rectangles(self) -> list[RectangleToSend]:
        """What is told beside pixels; what the client cannot be told is forgotten."""
        machine, result = self._machine, list[RectangleToSend]()
        if self._shape_is_due:
            shape = cursor_rectangle(machine, self._shape, layout_of(machine.pixel_format))
            if shape is not None:
                result.append(shape)
        if self._position_is_due and self._position != _NO_POSITION:
            if machine.takes(Encoding.POINTER_POSITION):
                result.append(pointer_position(*self._position))
            elif machine.takes(Encoding.VMWARE_CURSOR_POSITION):
                result.append(vmware_cursor_position(*self._position))
        if self._name_is_due and machine.takes(Encoding.DESKTOP_NAME):
            result.append(desktop_name(self.name))
        if self._leds_are_due:
            if machine.takes(Encoding.LED_STATE):
                result.append(led_state(self._led_state))
            elif machine.takes(Encoding.VMWARE_LED_STATE):
                result.append(vmware_led_state(self._led_state))
        self._shape_is_due = self._position_is_due = self._name_is_due = self._leds_are_due = False
        return result

    def _draw(self, screen: Screen, encoder: RfbEncoder, lossless: bool) -> Iterator[None]:
        """Encode the frame's parts; stops behind each piece, and goes on with what the screen shows then."""
        size = pixels = 0
        draws_pointer = not takes_cursors(self._machine) and self._position != _NO_POSITION
        while self._parts:
            part = self._parts[0]
            picture = _grab(screen, part)
            if draws_pointer:
                draw(self._shape, *self._position, picture, part.left, part.top)
            # To its end, whatever happens between: the client's streams follow ours.
            batches = [*encoder.encode_batches(picture, part.left, part.top, lossless=lossless)]
            self._parts.popleft()
            for batch in batches:
                self._queue(batch)
                size += sum(len(rectangle.data) for rectangle in batch)
            pixels += part.width * part.height
            if self._parts and (size >= PIECE_BYTES or pixels >= PIECE_PIXELS):
                self._frame_size += size
                size = pixels = 0
                yield
        self._frame_size += size

    def _queue(self, batch: list[EncodedPart]) -> None:
        for rectangle in batch:
            if rectangle.lossy:
                area = Rectangle(
                    rectangle.x, rectangle.y, rectangle.x + rectangle.width, rectangle.y + rectangle.height
                )
                self._lossy = joined(self._lossy, [area])
                self._sharpen_at = trio.current_time() + SHARPEN_AFTER
            elif self._lossy:
                area = Rectangle(
                    rectangle.x, rectangle.y, rectangle.x + rectangle.width, rectangle.y + rectangle.height
                )
                _, self._lossy = divided(self._lossy, [area])
        if self._collected is None:
            self._machine.send_rectangles(batch)
        else:
            self._collected += batch

    def _end_update(self) -> None:
        """The update that was begun is whole, or is to be ended where it is."""
        if self._update_is_open:
            self._update_is_open = False
            self._machine.end_update()
        elif self._collected is not None:
            collected, self._collected = self._collected, None
            self._machine.send_update(collected)
        if self._machine.continuous_updates is not None:
            self._fence(self._frame_size)
        if not self._first_frame_sent and self._frame_size:
            self._first_frame_sent = True
            self._first_frame()

    def _fence(self, size: int) -> None:
        if self._machine.fences:
            self._machine.send_fence(self._pace.sent(size, trio.current_time()))

    def _finish_frame(self) -> None:
        """End an update that is under way with what of it is encoded; the rest of it is damage again."""
        if self._frame is None:
            return
        self._frame = None
        self._damage = joined(self._damage, self._parts)
        self._parts.clear()
        self._end_update()

    def _damage_pointer(self) -> None:
        """Where the pointer is drawn, the picture changes with it."""
        if not takes_cursors(self._machine) and self._position != _NO_POSITION:
            area = area_of(self._shape, *self._position).intersection(self._whole)
            if not area.is_empty():
                self._damage = joined(self._damage, [area])
                self._wake()

    @property
    def _whole(self) -> Rectangle:
        return Rectangle(0, 0, self._machine.width, self._machine.height)


_FRAME_IS_OVER: Final = object()


def _no_moves() -> Sequence[Move]:
    return ()


def _bands(areas: list[Rectangle]) -> Iterator[Rectangle]:
    """What is grabbed at once, from top to bottom."""
    for area in areas:
        rows = max(BAND, GRAB_PIXELS // area.width // BAND * BAND)
        for top in range(area.top, area.bottom, rows):
            yield Rectangle(area.left, top, area.right, min(top + rows, area.bottom))


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
