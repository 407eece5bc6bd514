import itertools
import tracemalloc

import attrs
import numpy as np
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from rdpprov.api.devices import DEFAULT_POINTER, HIDDEN_POINTER, PointerShape, Rectangle
from rdpprov.encoding.bitmap import TileCache
from rdpprov.protocol.rdp.events import OutputSuppressed, RefreshRequested
from rdpprov.providers.rdp.graphics import MIN_FRAME_INTERVAL, PIECE_BYTES, SUPPRESS_DEBOUNCE, RdpVideoDevice
from rdpprov.sessions.memory import MemoryDesktop, PixelBudget
from tests.providers.support import CLIENT, Viewer

RED, GREEN = (0, 0, 255, 255), (0, 255, 0, 255)


class Show:
    """A client, its display, and a desktop to show on it."""

    def __init__(self, options=CLIENT, desktop=None, cache=None):
        self.viewer = Viewer(options)
        self.wakes = self.first_frames = 0
        cache = TileCache() if cache is None else cache  # an empty one is false
        self.video = RdpVideoDevice(self.viewer.server, cache, self._wake, self._first_frame)
        self.desktop = desktop or MemoryDesktop(options.width, options.height)

    def _wake(self):
        self.wakes += 1

    def _first_frame(self):
        self.first_frames += 1

    def plug(self, desktop=None):
        self.video.plug((desktop or self.desktop).open_screen(self.video.damaged))
        return self

    def begin(self):
        """Plugged, connected, activated."""
        self.plug()
        self.video.connected()
        self.video.activated(*self.viewer.desktop)
        return self

    def fill(self, color, rectangle=None):
        with self.desktop.draw(rectangle) as pixels:
            pixels[...] = color

    async def frames(self):
        """Let the client take all there is; the sizes of the pieces."""
        sizes = []
        while (due := self.video.due()) is not None:
            await trio.sleep_until(due)
            self.video.queue_piece()
            sizes.append(self.viewer.look())
        return sizes

    @property
    def shown(self):
        return self.viewer.picture[..., :3]

    def shows(self, desktop=None):
        screen = (desktop or self.desktop).open_screen(lambda: None)
        whole = screen.grab(Rectangle(0, 0, screen.width, screen.height))
        height, width = self.viewer.picture.shape[:2]
        np.testing.assert_array_equal(self.shown[: screen.height, : screen.width], whole[:height, :width, :3])


def noise(show, seed=1):
    with show.desktop.draw() as pixels:
        pixels[...] = np.random.default_rng(seed).integers(0, 256, pixels.shape, np.uint8)


async def test_many_damages_while_the_client_is_slow_are_one_frame_of_the_latest_pixels(autojump_clock):
    show = Show().begin()
    await show.frames()
    painted, frames, wakes = show.viewer.painted, show.video.frames, show.wakes
    for step in range(100):
        show.fill((step, step, step, 255), Rectangle(0, 0, 64, 64))
    assert show.wakes == wakes + 1
    assert len(await show.frames()) == 1
    assert show.video.frames == frames + 1
    assert show.viewer.painted - painted == 64 * 64
    assert (show.shown[:64, :64] == 99).all()


async def test_nothing_goes_out_before_plug_connect_notify_and_font_map_in_any_order(autojump_clock):
    for order in itertools.permutations(("plug", "connected", "activated")):
        show = Show()
        for number, call in enumerate(order):
            assert show.video.due() is None
            assert show.wakes <= number
            wakes = show.wakes
            if call == "plug":
                show.plug()
            elif call == "connected":
                show.video.connected()
            else:
                show.video.activated(*show.viewer.desktop)
            assert show.wakes > wakes  # the writer may be asleep since the call before
        await show.frames()
        assert show.viewer.painted >= CLIENT.width * CLIENT.height
        assert show.first_frames == 1
        show.shows()


async def test_frames_keep_their_distance(autojump_clock):
    show = Show().begin()
    await show.frames()
    start = trio.current_time()
    for _ in range(6):
        show.fill(RED, Rectangle(0, 0, 16, 16))
        await show.frames()
    assert 5 * MIN_FRAME_INTERVAL <= trio.current_time() - start <= 7 * MIN_FRAME_INTERVAL


async def test_a_frame_that_is_not_taken_is_not_made(autojump_clock):
    show = Show(attrs.evolve(CLIENT, width=1024, height=768)).begin()
    noise(show)
    show.video.queue_piece()
    first = show.viewer.look()
    assert PIECE_BYTES <= first < 4 * PIECE_BYTES
    assert show.viewer.server.data_to_send() == b""  # the rest waits to be asked for
    show.fill(GREEN)  # and is made of what is there then
    await show.frames()
    show.shows()


async def test_unplugging_in_the_middle_of_a_frame_ends_it_and_another_screen_begins_anew(autojump_clock):
    show = Show(attrs.evolve(CLIENT, width=1024, height=768)).begin()
    noise(show)
    show.video.queue_piece()
    show.viewer.look()
    show.video.unplug()
    assert show.video.due() is None
    show.video.queue_piece()
    assert show.viewer.look() == 0
    other = MemoryDesktop(1024, 768)
    with other.draw() as pixels:
        pixels[...] = GREEN
    show.plug(other)
    await show.frames()
    show.shows(other)


async def test_disconnect_notify_in_the_middle_of_a_frame_ends_it(autojump_clock):
    show = Show(attrs.evolve(CLIENT, width=1024, height=768)).begin()
    noise(show)
    show.video.queue_piece()
    show.viewer.look()
    show.video.disconnected()
    show.video.damaged()
    assert show.video.due() is None
    show.video.connected()
    await show.frames()
    show.shows()


async def test_a_resize_in_the_middle_of_a_frame_leaves_nothing_behind(autojump_clock):
    show = Show(attrs.evolve(CLIENT, width=1024, height=768)).begin()
    noise(show)
    show.video.queue_piece()
    show.viewer.look()
    await show.desktop.resize(640, 400)
    await show.frames()
    show.shows()
    assert not show.shown[400:].any()
    assert not show.shown[:, 640:].any()


@pytest.mark.parametrize("size", [(200, 200), (320, 200), (200, 240), (640, 480), (320, 240)])
async def test_a_screen_of_another_size_is_cut_or_has_black_beside_it(autojump_clock, size):
    show = Show().begin()
    show.fill(RED)
    await show.frames()
    other = MemoryDesktop(*size)
    with other.draw() as pixels:
        pixels[...] = GREEN
    show.plug(other)
    await show.frames()
    expected = np.zeros_like(show.shown)
    expected[: size[1], : size[0]] = GREEN[:3]
    np.testing.assert_array_equal(show.shown, expected)


async def test_suppress_output_counts_only_after_the_first_frame_and_a_second(autojump_clock):
    """Fact 45, INP-10."""
    show = Show().begin()
    show.video.suppress(True)
    await trio.sleep(10)
    assert show.video.due() is not None  # mstsc says so in its own handshake, and would stay black
    await show.frames()
    show.shows()
    show.video.suppress(False)
    await show.frames()
    show.video.suppress(True)
    await trio.sleep(SUPPRESS_DEBOUNCE / 2)
    show.fill(RED)
    await show.frames()
    show.shows()
    await trio.sleep(SUPPRESS_DEBOUNCE)
    show.video.suppress(True)  # again: it does not begin anew
    show.fill(GREEN)
    assert show.video.due() is None
    painted, wakes = show.viewer.painted, show.wakes
    show.video.suppress(False)
    assert show.wakes > wakes
    await show.frames()
    assert show.viewer.painted - painted == CLIENT.width * CLIENT.height
    show.shows()


async def test_refresh_rect_repaints_what_it_names(autojump_clock):
    show = Show().begin()
    await show.frames()
    painted = show.viewer.painted
    show.video.refresh((Rectangle(0, 0, 32, 16), Rectangle(64, 64, 80, 80)))
    await show.frames()
    assert show.viewer.painted - painted == 32 * 16 + 16 * 16


async def test_a_flood_of_refresh_rects_is_joined_and_loses_nothing(autojump_clock):
    """NX-28: 255 rectangles a PDU, and a client that does not take what it asks for."""
    show = Show().begin()
    show.fill(RED)
    await show.frames()
    for number in range(1000):
        show.video.refresh(Rectangle(x, number % 200, x + 1, number % 200 + 1) for x in range(255))
    assert len(show.video._refresh) <= 64 + 255
    show.viewer.picture[...] = 0
    await show.frames()
    assert (show.shown[:200, :255] == RED[:3]).all()


def shape(size, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 4), np.uint8)
    pixels[..., 3] = 255
    return PointerShape(size, size, size // 2, 1, pixels)


async def test_pointers_change_their_shape_and_place(autojump_clock):
    show = Show().begin()
    await show.frames()
    show.viewer.shapes.clear()
    arrow, hand = shape(32), shape(48, 1)
    for pointer in (arrow, hand, arrow, HIDDEN_POINTER, DEFAULT_POINTER):
        show.desktop.set_pointer(pointer)
        assert show.video.due() is not None
        await show.frames()
    sizes = [(one.width, one.height, one.hot_x) for one in show.viewer.shapes[:3]]
    assert sizes == [(32, 32, 16), (48, 48, 24), (32, 32, 16)]
    assert show.viewer.shapes[3:] == [HIDDEN_POINTER, DEFAULT_POINTER]
    np.testing.assert_array_equal(show.viewer.shapes[0].pixels, arrow.pixels)
    show.desktop.move_pointer(17, 4)
    await show.frames()
    assert show.viewer.positions == [(17, 4)]


async def test_8192_by_8192_goes_out_in_pieces_of_bounded_memory(autojump_clock):
    """Black, with one band of noise: whatever it is, what is made at once is bounded in bytes and in pixels."""
    show = Show(CLIENT, MemoryDesktop(8192, 8192, budget=PixelBudget(1 << 30)), TileCache(1 << 20))
    with show.desktop.draw(Rectangle(0, 4096, 8192, 4096 + 256)) as pixels:
        pixels[...] = np.random.default_rng(1).integers(0, 256, pixels.shape, np.uint8)
    show.plug()
    show.video.connected()
    show.video.activated(8192, 8192, 32)
    show.video.queue_piece()  # what is made once
    show.viewer.server.data_to_send()
    largest, pieces = 0, 0
    tracemalloc.start()
    try:
        while show.video.frames == 0:
            show.video.queue_piece()
            largest = max(largest, len(show.viewer.server.data_to_send()))
            pieces += 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert pieces >= 64
    assert largest < 5 * PIECE_BYTES
    assert peak < 8 << 20  # of 256 MiB of pixels; encoder, tile cache and machine included


@given(
    st.lists(
        st.sampled_from(["draw", "plug", "unplug", "damaged", "piece", "suppress", "resume", "sleep", "off", "on"]),
        max_size=30,
    )
)
def test_whatever_happens_in_whatever_order_the_client_ends_up_with_the_picture(steps):
    async def main():
        show = Show(attrs.evolve(CLIENT, width=200, height=200)).begin()
        for number, step in enumerate(steps):
            match step:
                case "draw":
                    show.fill((number * 7, number, 1, 255), Rectangle(number, number * 2, number + 70, 150))
                case "plug":
                    show.plug()
                case "unplug":
                    show.video.unplug()
                case "damaged":
                    show.video.damaged()
                case "piece":
                    show.video.queue_piece()
                    show.viewer.look()
                case "suppress":
                    show.video.suppress(True)
                case "resume":
                    show.video.suppress(False)
                case "sleep":
                    await trio.sleep(0.6)
                case "off":
                    show.video.disconnected()
                case "on":
                    show.video.connected()
        show.video.suppress(False)
        if show.video._screen is None:
            show.plug()
        show.video.connected()
        await show.frames()
        show.shows()

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_what_a_client_says_reaches_the_display(autojump_clock):
    """Refresh Rect and Suppress Output, as the machine tells them."""
    viewer = Viewer()
    viewer.client.send_refresh_rect([Rectangle(0, 0, 10, 10)])
    viewer.client.send_suppress_output(None)
    viewer.client.send_suppress_output(Rectangle(0, 0, 320, 240))
    viewer._say()
    assert [type(event) for event in viewer.server_events[-3:]] == [
        RefreshRequested,
        OutputSuppressed,
        OutputSuppressed,
    ]
