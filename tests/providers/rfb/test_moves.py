"""What a desktop moves, and what becomes of it on the way to a client that copies: whatever happens, and in whatever
order, a client shows the desktop."""

import struct

import numpy as np
import pytest
import trio
import trio.testing
from hypothesis import event, given, settings
from hypothesis import strategies as st

from rdpprov.api.devices import Move, Rectangle
from rdpprov.protocol.events import NEED_DATA, PAUSED
from rdpprov.protocol.rfb.client import RfbClientMachine
from rdpprov.protocol.rfb.events import (
    ContinuousUpdatesChanged,
    DesktopResized,
    EncodingsChanged,
    FenceAnswered,
    FenceRequested,
    PixelFormatChanged,
    RectangleReceived,
    ServerInitReceived,
    UpdateRequested,
)
from rdpprov.protocol.rfb.handshake import ClientIdentity
from rdpprov.protocol.rfb.pictures import RectangleDecoder
from rdpprov.protocol.rfb.server import RfbServerMachine, ServerOptions
from rdpprov.providers.rfb.areas import MOST_COPIES, MOST_DAMAGE, MOST_WANTED, around, copyable, joined
from rdpprov.providers.rfb.cursors import draw, drawable
from rdpprov.providers.rfb.graphics import RfbVideoDevice
from rdpprov.rcm.attachment import PluggedScreen
from rdpprov.sessions.screens import MoveList
from rdpprov.wire.rfb.encodings import Encoding, quality_encoding
from tests.providers.rfb.support import Desk

ENCODINGS = (
    Encoding.RAW,
    Encoding.COPY_RECT,
    Encoding.CURSOR,
    Encoding.LAST_RECT,
    Encoding.DESKTOP_SIZE,
    Encoding.FENCE,
    Encoding.CONTINUOUS_UPDATES,
)
WIDTH, HEIGHT = 640, 480
WHOLE = Rectangle(0, 0, WIDTH, HEIGHT)


class Viewer:
    """A display and its client, back to back; each does one thing at a time, when it is told."""

    def __init__(self, encodings=ENCODINGS, width=WIDTH, height=HEIGHT):
        self.desk = Desk(width, height)
        self.server = RfbServerMachine(ServerOptions(), challenge=bytes(16))
        self.client = RfbClientMachine(ClientIdentity())
        self.video = RfbVideoDevice(self.server, lambda: None, lambda: None)
        self.screen = PluggedScreen(self.desk, self.video.damaged)
        self.video.plug(self.screen)
        self.video.connected()
        self.rectangles = []
        self.bytes_in = 0
        self.encodings = encodings
        self.decoder = None
        while self.decoder is None:
            self.talk()
            self.video.queue_piece()
        self.client.set_encodings(encodings)
        self.talk()

    def talk(self):
        """All that is on its way arrives."""
        while self._to_client() | self._to_server():
            pass

    def _to_server(self):
        data = self.client.data_to_send()
        self.server.receive_data(data)
        while (event := self.server.next_event()) not in (NEED_DATA, PAUSED):
            match event:
                case EncodingsChanged():
                    self.video.encodings_changed()
                case PixelFormatChanged():
                    self.video.pixel_format_changed()
                case UpdateRequested(incremental=incremental, area=area):
                    self.video.requested(area, incremental=incremental)
                case ContinuousUpdatesChanged():
                    self.video.continuous_updates_changed()
                case FenceAnswered(payload=payload):
                    self.video.fence_answered(payload)
        return bool(data)

    def _to_client(self):
        data = self.server.data_to_send()
        self.bytes_in += len(data)
        self.client.receive_data(data)
        while (event := self.client.next_event()) not in (NEED_DATA, PAUSED):
            match event:
                case ServerInitReceived(width=width, height=height):
                    self.decoder = RectangleDecoder(width, height)
                case DesktopResized():
                    self.decoder.resize(self.client.width, self.client.height)
                case RectangleReceived():
                    self.rectangles.append(event)
                    self.decoder.paint(event)
                case FenceRequested():
                    self.client.answer_fence(event)
        return bool(data)

    async def frame(self):
        """Ask for what has changed, and get it."""
        before = len(self.rectangles), self.bytes_in
        self.client.request_update()
        await self.settle()
        return self.rectangles[before[0] :], self.bytes_in - before[1]

    async def settle(self):
        """All that is due comes."""
        await trio.sleep(1)
        self.talk()
        while (due := self.video.due()) is not None and due <= trio.current_time():
            self.video.queue_piece()
            self.talk()

    @property
    def picture(self):
        """What the client shows, without the fourth byte."""
        return self.decoder.picture[..., :3]


def copied(rectangles):
    """Of what came: the moves that the client was told to make."""
    result = []
    for rectangle in rectangles:
        if rectangle.encoding == Encoding.COPY_RECT:
            x, y = struct.unpack(">HH", rectangle.data)
            result.append(Move(rectangle.area, rectangle.area.left - x, rectangle.area.top - y))
    return result


async def shown(encodings=ENCODINGS, width=WIDTH, height=HEIGHT):
    """A viewer that shows its desktop."""
    viewer = Viewer(encodings, width, height)
    viewer.desk.paint(1)
    await viewer.frame()
    assert np.array_equal(viewer.picture, viewer.desk.pixels)
    return viewer


LINE = 16


def scroll(desk, seed):
    """A terminal's next line."""
    desk.move(Rectangle(0, LINE, desk.width, desk.height), 0, -LINE)
    desk.paint(seed, Rectangle(0, desk.height - LINE, desk.width, desk.height))


async def test_a_scrolled_desktop_is_copied_and_only_its_new_line_is_sent(autojump_clock):
    viewer = await shown()
    scroll(viewer.desk, 2)
    rectangles, size = await viewer.frame()
    assert np.array_equal(viewer.picture, viewer.desk.pixels)
    assert copied(rectangles) == [Move(Rectangle(0, 0, WIDTH, HEIGHT - LINE), 0, -LINE)]
    assert size - len(rectangles) * 20 < WIDTH * LINE * 4 + 20
    plain = await shown(tuple(one for one in ENCODINGS if one is not Encoding.COPY_RECT))
    scroll(plain.desk, 2)
    rectangles, whole = await plain.frame()
    assert np.array_equal(plain.picture, plain.desk.pixels)
    assert copied(rectangles) == []
    assert whole - size > WIDTH * (HEIGHT - LINE) * 4 - 100  # bytes saved, by one rectangle of 16
    assert (viewer.video.copies, viewer.video.copied_pixels) == (1, WIDTH * (HEIGHT - LINE))


async def test_a_client_that_looks_seldom_gets_many_scrolls_as_one(autojump_clock):
    viewer = await shown()
    for seed in range(5):
        scroll(viewer.desk, seed)
    rectangles, _ = await viewer.frame()
    assert np.array_equal(viewer.picture, viewer.desk.pixels)
    assert copied(rectangles) == [Move(Rectangle(0, 0, WIDTH, HEIGHT - 5 * LINE), 0, -5 * LINE)]
    assert sum(one.area.width * one.area.height for one in rectangles[1:]) == WIDTH * 5 * LINE


async def test_what_was_grabbed_late_is_no_source_of_what_moved_before(autojump_clock):
    viewer = await shown()
    viewer.desk.paint(2)
    viewer.client.request_update()
    viewer.talk()
    await trio.sleep(0.1)
    viewer.video.queue_piece()
    assert viewer.video.due() is not None  # the rest of the picture is taken as damage, and not grabbed yet
    viewer.desk.move(Rectangle(0, 440, 100, 480), 300, -400)
    viewer.desk.paint(3, Rectangle(0, 440, 100, 480))
    await viewer.settle()
    await viewer.frame()
    assert np.array_equal(viewer.picture, viewer.desk.pixels)


async def test_what_comes_back_is_not_sent_at_all(autojump_clock):
    viewer = await shown()
    viewer.desk.move(Rectangle(0, 0, 100, 100), 300, 0)
    viewer.desk.move(Rectangle(300, 0, 400, 100), -300, 0)
    rectangles, _ = await viewer.frame()
    assert copied(rectangles) == [Move(Rectangle(300, 0, 400, 100), 300, 0)]
    assert len(rectangles) == 1
    assert np.array_equal(viewer.picture, viewer.desk.pixels)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda viewer: viewer.desk.paint(9, Rectangle(10, 10, 20, 20)),  # it has not got that yet
        lambda viewer: viewer.client.request_update(Rectangle(10, 10, 20, 20), incremental=False),  # it has lost that
    ],
    ids=["drawn", "lost"],
)
async def test_of_a_source_that_the_client_does_not_have_only_the_rest_is_copied(autojump_clock, spoil):
    viewer = await shown()
    spoil(viewer)
    viewer.talk()
    viewer.desk.move(Rectangle(0, 0, 100, 100), 300, 200)
    rectangles, _ = await viewer.frame()
    assert np.array_equal(viewer.picture, viewer.desk.pixels)
    moves = copied(rectangles)
    assert sum(move.area.width * move.area.height for move in moves) == 100 * 100 - 10 * 10
    assert {(move.dx, move.dy) for move in moves} == {(300, 200)}


async def test_nothing_is_copied_from_or_to_where_the_client_did_not_ask_for(autojump_clock):
    viewer = await shown()
    viewer.desk.move(Rectangle(0, 0, 100, 100), 300, 0)
    for left in (200, 0):
        viewer.client.request_update(Rectangle(left, 0, left + 250, 480))
        await viewer.settle()
    assert copied(viewer.rectangles) == []
    await viewer.frame()
    assert np.array_equal(viewer.picture, viewer.desk.pixels)


async def test_a_pointer_in_the_picture_is_not_copied(autojump_clock):
    viewer = await shown((Encoding.RAW, Encoding.COPY_RECT))
    viewer.video.pointer_at(50, 50)
    await viewer.frame()
    viewer.desk.move(Rectangle(0, 0, 100, 100), 300, 0)
    await viewer.frame()
    expected = viewer.desk.pixels.copy()
    draw(drawable(viewer.desk._pointer), 50, 50, expected, 0, 0)
    assert np.array_equal(viewer.picture, expected)
    viewer.client.set_encodings(ENCODINGS)  # from now on it draws the pointer itself
    viewer.talk()
    viewer.desk.move(Rectangle(0, 0, 100, 100), 0, 300)
    rectangles, _ = await viewer.frame()
    assert copied(rectangles)
    assert np.array_equal(viewer.picture, viewer.desk.pixels)


async def test_a_copy_of_what_jpeg_has_spoilt_is_made_good_too(autojump_clock):
    viewer = Viewer((Encoding.TIGHT, *ENCODINGS, quality_encoding(1)))
    viewer.desk.paint(1)
    viewer.client.request_update()
    viewer.talk()
    viewer.video.queue_piece()  # and not yet what makes it good
    viewer.talk()
    assert not np.array_equal(viewer.picture, viewer.desk.pixels)
    viewer.desk.move(Rectangle(0, 0, 320, 100), 320, 200)
    while not np.array_equal(viewer.picture, viewer.desk.pixels):
        rectangles, _ = await viewer.frame()
        assert rectangles
    assert copied(viewer.rectangles)


# Whatever happens

STEP = 40
"""Pixels: what is drawn and moved begins and ends at multiples, so that much of it meets."""


def between(most):
    return st.tuples(st.integers(0, most), st.integers(0, most)).map(sorted)


areas = st.builds(
    lambda x, y: Rectangle(x[0] * STEP, y[0] * STEP, (x[1] + 1) * STEP, (y[1] + 1) * STEP), between(15), between(11)
)
small = st.builds(
    lambda x, y: Rectangle(x * STEP, y * STEP, (x + 1) * STEP, (y + 1) * STEP), st.integers(0, 15), st.integers(0, 11)
)
shifts = st.integers(-6, 6).map(lambda count: count * STEP)
moves = st.tuples(areas, shifts, shifts)
ENCODING_LISTS = (ENCODINGS, (Encoding.RAW, Encoding.COPY_RECT), (Encoding.RAW, Encoding.CURSOR))
often = [("move", moves), ("draw", small), ("ask for all", st.just(True)), ("piece", st.none())]
steps = [
    *often,
    *often,
    *often,
    ("settle", st.none()),
    ("begin a large frame", st.none()),
    ("draw", areas),
    ("move while drawing", st.tuples(small, moves)),
    ("ask", st.tuples(areas, st.booleans())),
    ("ask for all", st.just(False)),
    ("continue", st.none() | st.just(WHOLE) | areas),
    ("encodings", st.sampled_from(ENCODING_LISTS)),
    ("point", areas),
    ("resize", st.sampled_from([(WIDTH, HEIGHT), (400, 520)])),
    ("stop", st.none()),
    ("redraw", small),
]
scripts = st.lists(st.sampled_from(steps), min_size=3, max_size=30).flatmap(
    lambda chosen: st.tuples(*(st.tuples(st.just(name), what) for name, what in chosen))
)


async def do(viewer, name, what, random):
    desk, client = viewer.desk, viewer.client

    def paint(pixels):
        pixels[...] = random.integers(0, 256, pixels.shape, np.uint8)

    match name:
        case "draw":
            with desk.draw(what) as pixels:
                paint(pixels)
        case "move":
            desk.move(*what)
        case "move while drawing":
            area, move = what
            with desk.draw(area) as pixels:
                paint(pixels)
                desk.move(*move)
                paint(pixels[: STEP // 2])
        case "ask":
            area, incremental = what
            client.request_update(area, incremental=incremental)
        case "ask for all":
            client.request_update(incremental=what)
        case "piece":
            await trio.sleep(0.02)
            viewer.video.queue_piece()
        case "begin a large frame":
            with desk.draw() as pixels:
                paint(pixels)
            client.request_update()
            viewer.talk()
            await trio.sleep(0.02)
            viewer.video.queue_piece()
        case "settle":
            await viewer.settle()
        case "continue":
            if Encoding.CONTINUOUS_UPDATES in client.features:
                client.enable_continuous_updates(what)
        case "encodings":
            client.set_encodings(what)
        case "point":
            viewer.video.pointer_at(what.left, what.top)
        case "resize":
            await desk.resize(*what)
        case "stop":
            viewer.screen.stop_updates()
        case "redraw":
            viewer.screen.redraw(what)
    viewer.talk()


async def play(script):
    viewer, random = Viewer(), np.random.default_rng(0)
    await viewer.frame()
    for name, what in script:
        await do(viewer, name, what, random)
    viewer.screen.redraw(Rectangle(0, 0, 1, 1))  # in case it was stopped
    viewer.client.set_encodings(ENCODINGS)  # the pointer leaves the picture
    await do(viewer, "continue", None, random)
    await viewer.frame()
    await viewer.frame()  # the first may have told the size, or been the answer to another request
    assert np.array_equal(viewer.picture, viewer.desk.pixels)
    if viewer.video.copies:
        event("copied")


@settings(max_examples=100, deadline=None)
@given(scripts)
def test_whatever_happens_the_client_shows_the_desktop_in_the_end(script):
    trio.run(play, script, clock=trio.testing.MockClock(autojump_threshold=0))


# Lists of moves, pixel by pixel

SIDE = 12
edges = st.tuples(st.integers(0, SIDE - 1), st.integers(1, 6))
parts = st.builds(lambda x, y: Rectangle(x[0], y[0], min(sum(x), SIDE), min(sum(y), SIDE)), edges, edges)
INSIDE = Rectangle(0, 0, SIDE, SIDE)


def rows(area):
    return slice(area.top, area.bottom), slice(area.left, area.right)


@st.composite
def at_once(draw, most):
    """Moves inside a square, no two of whose areas overlap."""
    result = []
    for area, dx, dy in draw(st.lists(st.tuples(parts, st.integers(-6, 6), st.integers(-6, 6)), max_size=most)):
        seen = area.intersection(INSIDE.shifted(dx, dy))
        if not seen.is_empty() and all(other.area.intersection(seen).is_empty() for other in result):
            result.append(Move(seen, dx, dy))
    return result


@given(st.lists(st.one_of(at_once(3), parts, st.tuples(parts)), max_size=12), st.integers(1, 6))
def test_moves_after_moves_and_damage_and_late_grabs_are_one_step(changes, limit):
    """The reader is a picture that has got what it has taken, and grabs; the screen has other pixels each time."""
    numbers = iter(range(10**6))
    screen = np.array([next(numbers) for _ in range(SIDE * SIDE)]).reshape(SIDE, SIDE)
    got, pending, damage = screen.copy(), MoveList(limit), []
    for change in changes:
        match change:
            case list():
                damage += pending.add(change, list(damage))
                before = screen.copy()
                for move in change:
                    screen[rows(move.area)] = before[rows(move.source)]
            case Rectangle():
                damage.append(change)
                screen[rows(change)] = next(numbers)
            case (part,):
                damage += pending.grabbed(part)
                got[rows(part)] = screen[rows(part)]
    moves = pending.take()
    assert len(moves) <= limit
    assert all(one.area.intersection(other.area).is_empty() for one in moves for other in moves if one is not other)
    before = got.copy()
    for move in moves:
        got[rows(move.area)] = before[rows(move.source)]
    for part in damage:
        got[rows(part)] = screen[rows(part)]
    assert (got == screen).all()


@given(at_once(12), st.lists(parts, max_size=3), st.lists(parts, max_size=3))
def test_copies_one_after_the_other_are_moves_all_at_once(moves, damage, wanted):
    before = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    expected, shown = before.copy(), before.copy()
    for move in moves:
        expected[rows(move.area)] = before[rows(move.source)]
    for part in damage:
        shown[rows(part)] = -1
    copies, rest = copyable(moves, damage, joined([], [*wanted, INSIDE] if len(wanted) < 2 else wanted))
    for copy in copies:
        shown[rows(copy.area)] = shown[rows(copy.source)].copy()
    for part in [*rest, *damage]:
        shown[rows(part)] = expected[rows(part)]
    assert (shown == expected).all()
    if len(wanted) >= 2:
        allowed = np.zeros_like(before, bool)
        for part in wanted:
            allowed[rows(part)] = True
        assert all(allowed[rows(copy.area)].all() and allowed[rows(copy.source)].all() for copy in copies)


def test_two_parts_that_change_places_are_a_copy_and_pixels():
    left, right = Rectangle(0, 0, 5, 10), Rectangle(5, 0, 10, 10)
    copies, rest = copyable([Move(left, -5, 0), Move(right, 5, 0)], [], [INSIDE])
    assert [copy.area for copy in copies] + rest == [left, right]


def test_who_asks_for_many_areas_is_told_no_copies_that_take_long_to_find():
    scrolled = Move(Rectangle(0, 0, 99, 90), 0, -10)
    wanted = [Rectangle(0, 11 * row, 100, 11 * row + 11) for row in range(MOST_WANTED + 1)]
    assert copyable([scrolled], [], wanted[:-1])[0]
    assert copyable([scrolled], [], wanted) == ([], [scrolled.area])


def test_much_damage_is_kept_clear_of_as_one():
    scrolled = Move(Rectangle(0, 0, 100, 90), 0, -10)
    damage = [Rectangle(4 * column, 40, 4 * column + 2, 60) for column in range(MOST_DAMAGE + 1)]
    copies, _ = copyable([scrolled], damage, [Rectangle(0, 0, 100, 100)])
    assert copies
    assert all(copy.source.intersection(around(damage)).is_empty() for copy in copies)


def test_an_update_has_so_many_copies_and_no_more():
    moves = [Move(Rectangle(10 * x, 0, 10 * x + 5, 1 + x), 0, 100) for x in range(MOST_COPIES + 8)]
    copies, rest = copyable(moves, [], [Rectangle(0, -200, 2000, 2000)])
    assert len(copies) == MOST_COPIES
    assert {*rest} == {move.area for move in moves[:8]}
