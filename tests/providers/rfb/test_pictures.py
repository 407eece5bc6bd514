"""What a viewer sees: every encoding in every format, what it asked for and no more, sizes, pointers."""

from functools import partial

import numpy as np
import pytest
import trio

from rdpprov.api.devices import HIDDEN_POINTER, PointerShape, Rectangle
from rdpprov.codecs.client_pixels import convert, restore
from rdpprov.protocol.rfb.pictures import layout_of
from rdpprov.providers.rfb.connection import RESIZE_REST
from rdpprov.providers.rfb.cursors import ARROW
from rdpprov.testing.rfb_client import ENCODINGS, connect_rfb
from rdpprov.wire.rfb.encodings import Encoding, quality_encoding
from rdpprov.wire.rfb.pixel_format import BGR233, BGRX, COLOUR_MAP, RGB565, RGBX, PixelFormat
from rdpprov.wire.rfb.screens import ResizeReason, ResizeStatus, ScreenArea
from tests.providers.rfb.support import LOGGED_ON, shows

PLAINEST = (Encoding.RAW,)
FORMATS = {
    "bgrx": BGRX,
    "rgbx": RGBX,
    "big endian": PixelFormat(32, 24, True, True, 255, 255, 255, 16, 8, 0),
    "high bytes": PixelFormat(32, 24, False, True, 255, 255, 255, 24, 16, 8),
    "depth 32": PixelFormat(32, 32, False, True, 255, 255, 255, 0, 8, 16),
    "565": RGB565,
    "555 big endian": PixelFormat(16, 15, True, True, 31, 31, 31, 10, 5, 0),
    "233": BGR233,
    "222": PixelFormat(8, 6, False, True, 3, 3, 3, 4, 2, 0),
    "colour map": COLOUR_MAP,
}
LOSSLESS = (Encoding.RAW, Encoding.HEXTILE, Encoding.ZLIB, Encoding.TIGHT, Encoding.ZRLE)


def as_seen(pixel_format, pixels):
    """BGR as a client of this format shows it."""
    layout = layout_of(pixel_format)
    picture = np.zeros((*pixels.shape[:2], 4), np.uint8)
    picture[..., :3] = pixels
    return restore(convert(picture, layout), layout)[..., :3]


def viewer(server, encodings=ENCODINGS, **options):
    return connect_rfb("127.0.0.1", server.port, encodings=encodings, **LOGGED_ON, **options)


async def settled(client, seconds=0.2):
    """Let everything come that is on its way."""
    await trio.sleep(seconds)


@pytest.mark.parametrize("encoding", LOSSLESS, ids=lambda encoding: encoding.name)
@pytest.mark.parametrize("name", FORMATS)
async def test_every_lossless_encoding_shows_the_desktop_in_every_format(serving, encoding, name):
    pixel_format = FORMATS[name]
    pseudo = (Encoding.LAST_RECT, Encoding.CURSOR)
    async with (
        serving(size=(333, 217)) as server,
        viewer(server, (encoding, *pseudo), pixel_format=pixel_format) as client,
    ):
        desk = await server.desk()
        same = partial(as_seen, pixel_format)
        desk.paint(1)
        await shows(client, desk, same)
        for seed in range(2, 5):  # the streams go on
            desk.paint(seed, Rectangle(17 * seed, 11 * seed, 300, 200))
            await shows(client, desk, same)
        assert {used for _, used in client.rectangles} == {encoding}


async def test_a_large_desktop_comes_in_pieces_with_and_without_last_rect(serving):
    for encodings in ((Encoding.TIGHT, Encoding.LAST_RECT), (Encoding.TIGHT,), (Encoding.RAW,)):
        async with serving(size=(2100, 1300)) as server, viewer(server, (*encodings, Encoding.CURSOR)) as client:
            desk = await server.desk()
            desk.paint(7)
            await shows(client, desk)


async def test_the_format_changes_in_the_middle_of_everything(serving):
    async with serving() as server, viewer(server) as client:
        desk = await server.desk()
        for seed, pixel_format in enumerate((RGBX, RGB565, BGRX, BGR233, RGBX)):
            desk.paint(seed)
            client.machine.set_pixel_format(pixel_format)
            await client.flush()
            await shows(client, desk, partial(as_seen, pixel_format))


async def test_what_jpeg_spoils_comes_again_without_loss(serving):
    encodings = (Encoding.TIGHT, Encoding.LAST_RECT, Encoding.CURSOR, quality_encoding(3))
    async with serving() as server, viewer(server, encodings) as client:
        desk = await server.desk()
        desk.paint(3)
        await shows(client, desk)
        desk.paint(4, Rectangle(0, 0, 100, 100))
        await shows(client, desk)


# Requests


async def test_one_update_answers_a_request_and_nothing_comes_without(serving):
    async with serving() as server, viewer(server, PLAINEST, follow=False) as client:
        desk = await server.desk()
        await settled(client)
        assert client.updates == 0
        await client.request(incremental=False)
        await client.wait_for(lambda: client.updates == 1)
        assert client.painted == 320 * 240
        desk.paint(1)
        desk.paint(2)
        await settled(client)
        assert client.updates == 1
        await client.request()
        await client.wait_for(lambda: client.updates == 2)
        await shows(client, desk)
        await client.request()
        await settled(client)
        assert client.updates == 2  # it waits, as long as nothing changes
        desk.paint(3, Rectangle(5, 6, 7, 9))
        await client.wait_for(lambda: client.updates == 3)
        assert client.rectangles == [(Rectangle(5, 6, 7, 9), Encoding.RAW)]
        await client.request(Rectangle(50, 60, 70, 90), incremental=False)  # asked for, changed or not
        await client.wait_for(lambda: client.updates == 4)
        assert client.rectangles == [(Rectangle(50, 60, 70, 90), Encoding.RAW)]


async def test_only_what_was_asked_for_comes_and_the_rest_is_not_forgotten(serving):
    async with serving() as server, viewer(server, PLAINEST, follow=False) as client:
        desk = await server.desk()
        await client.request(incremental=False)
        await client.wait_for(lambda: client.updates == 1)
        desk.paint(1, Rectangle(0, 0, 200, 200))
        await client.request(Rectangle(100, 100, 320, 240))
        await client.wait_for(lambda: client.updates == 2)
        assert client.rectangles == [(Rectangle(100, 100, 200, 200), Encoding.RAW)]
        await client.request(Rectangle(300, 200, 320, 240))
        await settled(client)
        assert client.updates == 2
        await client.request()  # together with the one that waits
        await client.wait_for(lambda: client.updates == 3)
        assert sum(area.width * area.height for area, _ in client.rectangles) == 200 * 200 - 100 * 100
        await shows(client, desk)


async def test_an_empty_request_gets_what_is_no_pixel(serving):
    encodings = (*PLAINEST, Encoding.DESKTOP_NAME, Encoding.QEMU_KEY_EVENT, Encoding.CURSOR_WITH_ALPHA)
    async with serving() as server, viewer(server, encodings, follow=False) as client:
        await server.desk()
        await client.request(Rectangle(0, 0, 0, 0))
        await client.wait_for(lambda: client.updates == 1)
        assert client.painted == 0
        assert Encoding.QEMU_KEY_EVENT in client.machine.features
        assert client.pointer is not None


async def test_updates_flow_without_requests_as_fast_as_fences_are_answered(serving):
    async with serving() as server, viewer(server, follow=False) as client:
        desk = await server.desk()
        await client.wait_for(lambda: Encoding.CONTINUOUS_UPDATES in client.machine.features)
        client.machine.enable_continuous_updates(Rectangle(0, 0, 320, 240))
        await client.flush()
        await shows(client, desk)
        for seed in range(5):
            desk.paint(seed)
            await shows(client, desk)
        # A client that answers no fences gets what its window holds, and no more.
        answered, client.machine.answer_fence = client.machine.answer_fence, lambda fence: None
        before = client.bytes_in
        for seed in range(200):
            desk.paint(seed)
            await trio.sleep(0.005)
        assert client.bytes_in - before < 4 << 20
        stopped = client.updates
        for seed in range(20):
            desk.paint(seed)
            await trio.sleep(0.02)
        assert client.updates - stopped <= 1
        client.machine.answer_fence = answered
        ended = client.continuous_updates_ended
        client.machine.enable_continuous_updates(None)
        await client.flush()
        await client.wait_for(lambda: client.continuous_updates_ended == ended + 1)
        count = client.updates
        desk.paint(99)
        await settled(client)
        assert client.updates == count
        await client.request()
        await shows(client, desk)


async def test_fences_are_answered_in_their_place(serving):
    async with serving() as server, viewer(server) as client:
        await client.first_picture.wait()
        client.machine.send_fence(b"now?")
        await client.flush()
        await client.wait_for(lambda: b"now?" in client.fences)


# Sizes

SIZED = (Encoding.ZRLE, Encoding.EXTENDED_DESKTOP_SIZE, Encoding.LAST_RECT, Encoding.CURSOR)


async def test_a_client_has_the_desktop_resized(serving):
    async with serving() as server, viewer(server, SIZED) as client:
        desk = await server.desk()
        await client.wait_for(lambda: bool(client.resizes))
        for width, height in ((640, 480), (200, 200), (1001, 703)):
            client.resizes.clear()
            screens = [ScreenArea(7, 0, 0, width, height, 5)]
            client.machine.set_desktop_size(width, height, screens)
            await client.flush()
            await client.wait_for(lambda: bool(client.resizes))
            [answer] = [one for one in client.resizes if one.reason == ResizeReason.THIS_CLIENT]
            assert (answer.status, answer.width, answer.height) == (ResizeStatus.OK, width, height)
            assert list(answer.screens) == screens
            assert (desk.width, desk.height) == (width, height)
            desk.paint(width)
            await shows(client, desk)
    [path] = server.trace_files()
    assert path.read_text().count('"ResizeDesktop"') == 3


async def test_a_client_cannot_keep_the_service_at_resizing(serving):
    async with serving() as server, viewer(server, SIZED) as client:
        await server.desk()
        await client.wait_for(lambda: bool(client.resizes))
        client.resizes.clear()
        begun = trio.current_time()
        for side in range(300, 305):
            client.machine.set_desktop_size(side, side, [ScreenArea(0, 0, 0, side, side)])
        await client.flush()
        await client.wait_for(
            lambda: [one.width for one in client.resizes if one.reason == ResizeReason.THIS_CLIENT][4:] == [304]
        )
        assert trio.current_time() - begun >= 4 * RESIZE_REST


@pytest.mark.parametrize(
    ("size", "status"),
    [((199, 300), ResizeStatus.OUT_OF_RESOURCES), ((8193, 300), ResizeStatus.OUT_OF_RESOURCES)],
)
async def test_a_size_out_of_bounds_is_refused_and_the_old_one_told(serving, size, status):
    async with serving() as server, viewer(server, SIZED) as client:
        desk = await server.desk()
        await client.first_picture.wait()
        client.resizes.clear()
        client.machine.set_desktop_size(*size, [ScreenArea(0, 0, 0, *size)])
        client.machine.set_desktop_size(400, 300, [ScreenArea(0, 0, 0, 401, 300)])
        await client.flush()
        with trio.fail_after(10):
            await client.wait_for(lambda: len(client.resizes) >= 2)
        assert [one.status for one in client.resizes if one.reason == ResizeReason.THIS_CLIENT] == [
            status,
            ResizeStatus.INVALID_LAYOUT,
        ]
        assert {(one.width, one.height) for one in client.resizes} == {(320, 240)}
        assert (desk.width, desk.height) == (320, 240)
        desk.paint(9)
        await shows(client, desk)


@pytest.mark.parametrize("encoding", [Encoding.EXTENDED_DESKTOP_SIZE, Encoding.DESKTOP_SIZE])
async def test_a_desktop_that_takes_another_size_by_itself_is_shown_in_it(serving, encoding):
    async with serving() as server, viewer(server, (Encoding.ZRLE, encoding, Encoding.CURSOR)) as client:
        desk = await server.desk()
        desk.paint(1)
        await shows(client, desk)
        for size in ((500, 400), (210, 205)):
            await desk.resize(*size)
            desk.paint(2)
            await shows(client, desk)


async def test_a_client_that_cannot_be_resized_sees_what_fits(serving):
    async with serving() as server, viewer(server, (Encoding.ZRLE, Encoding.CURSOR)) as client:
        desk = await server.desk()
        await desk.resize(500, 220)
        desk.paint(5)
        expected = np.zeros((240, 320, 3), np.uint8)
        expected[:220] = desk.pixels[:, :320]
        with trio.fail_after(10):
            await client.wait_for(lambda: np.array_equal(client.picture[..., :3], expected))


async def test_who_comes_back_finds_the_session_in_its_size_and_the_logon_screen_keeps_a_wish(serving):
    async with serving() as server:
        async with viewer(server, SIZED) as client:
            desk = await server.desk()
            await client.first_picture.wait()
            client.machine.set_desktop_size(640, 400, [ScreenArea(0, 0, 0, 640, 400)])
            await client.flush()
            await client.wait_for(lambda: client.width == 640)
            desk.paint(1)
            await shows(client, desk)
        async with viewer(server, PLAINEST) as client:
            assert (client.width, client.height) == (640, 400)
            await shows(client, desk)
        assert len(server.desks) == 1


# Pointers

CROSS = PointerShape(5, 5, 2, 2, np.zeros((5, 5, 4), np.uint8))
CROSS.pixels[2, :] = CROSS.pixels[:, 2] = (10, 200, 30, 255)
CROSS.pixels[0, 0] = (255, 0, 128, 128)


@pytest.mark.parametrize(
    "encoding", [Encoding.CURSOR, Encoding.CURSOR_WITH_ALPHA, Encoding.VMWARE_CURSOR], ids=lambda one: one.name
)
async def test_the_pointer_s_shape_is_told(serving, encoding):
    async with serving() as server, viewer(server, (Encoding.ZRLE, encoding)) as client:
        desk = await server.desk()
        await client.wait_for(lambda: client.pointer is not None)
        assert np.array_equal(client.pointer.pixels[..., 3], ARROW.pixels[..., 3])
        desk.set_pointer(CROSS)
        await client.wait_for(lambda: client.pointer.width == 5)
        assert (client.pointer.hot_x, client.pointer.hot_y) == (2, 2)
        assert np.array_equal(client.pointer.pixels[2], CROSS.pixels[2])
        alpha = client.pointer.pixels[0, 0, 3]
        assert alpha == (255 if encoding is Encoding.CURSOR else 128)
        desk.set_pointer(HIDDEN_POINTER)
        await client.wait_for(lambda: client.pointer.width == 0)


async def test_a_huge_pointer_is_cut_to_what_viewers_take(serving):
    async with serving() as server, viewer(server, (Encoding.ZRLE, Encoding.CURSOR_WITH_ALPHA)) as client:
        desk = await server.desk()
        pixels = np.full((300, 400, 4), 255, np.uint8)
        desk.set_pointer(PointerShape(400, 300, 390, 299, pixels))
        with trio.fail_after(10):
            await client.wait_for(lambda: client.pointer is not None and client.pointer.width == 256)
        assert (client.pointer.hot_x, client.pointer.hot_y) == (390 - 144, 299 - 44)


async def test_for_a_client_that_draws_no_pointer_it_is_in_the_picture(serving):
    async with serving() as server, viewer(server, (Encoding.ZRLE,)) as client:
        desk = await server.desk()
        desk.set_pointer(CROSS)
        desk.paint(1)
        await shows(client, desk)  # nobody knows yet where it is
        for x, y in ((100, 50), (0, 0), (319, 239)):
            await client.point(x, y)
            expected = desk.pixels
            for dy in range(-2, 3):
                for dx in range(-2, 3):
                    if 0 <= x + dx < 320 and 0 <= y + dy < 240:
                        over = CROSS.pixels[dy + 2, dx + 2].astype(int)
                        under = expected[y + dy, x + dx].astype(int)
                        expected[y + dy, x + dx] = (over[:3] * over[3] + under * (255 - over[3]) + 127) // 255
            with trio.fail_after(10):
                await client.wait_for(lambda expected=expected: np.array_equal(client.picture[..., :3], expected))
        desk.set_pointer(HIDDEN_POINTER)
        await shows(client, desk)


async def test_the_desktop_moves_the_pointer(serving):
    async with serving() as server, viewer(server, (*ENCODINGS, Encoding.POINTER_POSITION)) as client:
        desk = await server.desk()
        desk.move_pointer(33, 44)
        await client.wait_for(lambda: client.pointer_position == (33, 44))


async def test_the_desktop_is_named_after_its_user(serving):
    async with serving() as server, viewer(server) as client:
        await client.wait_for(lambda: client.name.startswith("ann on "))
