"""What a desktop moves, and what becomes of it on the way to a client that copies: whatever happens, and in whatever
order, a client shows the desktop."""

import struct

import numpy as np
import pytest
import trio
import trio.testing

from rdpprov.api.devices import Move, Rectangle
from rdpprov.protocol.rfb.client import RfbClientMachine
from rdpprov.protocol.rfb.events import (
    NEED_DATA,
    PAUSED,
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
from rdpprov.providers.rfb.cursors import draw, drawable
from rdpprov.providers.rfb.graphics import RfbVideoDevice
from rdpprov.rcm.attachment import PluggedScreen
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
