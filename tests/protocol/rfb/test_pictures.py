"""What the server encodes is what the client sees, in every encoding and pixel format."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdpprov.api.devices import Rectangle
from rdpprov.codecs import hextile, tight, zlib_streams, zrle
from rdpprov.codecs.client_pixels import convert, restore
from rdpprov.codecs.errors import CodecError
from rdpprov.errors import RemoteProtocolError
from rdpprov.protocol.rfb.events import CursorReceived, DesktopResized, RectangleReceived
from rdpprov.protocol.rfb.pictures import PICTURE_ENCODINGS, RectangleDecoder, layout_of, pointer_shape
from rdpprov.wire.rfb.encodings import Encoding
from rdpprov.wire.rfb.pixel_format import BGR233, BGRX, COLOUR_MAP, RGB565, RGBX, PixelFormat
from rdpprov.wire.rfb.rectangles import (
    EncodedRectangle,
    copy_rect,
    cursor,
    cursor_with_alpha,
    vmware_cursor,
)

FORMATS = [
    BGRX,
    RGBX,
    RGB565,
    BGR233,
    COLOUR_MAP,
    PixelFormat(32, 32, False, True, 255, 255, 255, 0, 8, 16),
    PixelFormat(32, 24, True, True, 255, 255, 255, 16, 8, 0),
    PixelFormat(32, 24, True, True, 255, 255, 255, 24, 16, 8),
    PixelFormat(16, 15, True, True, 31, 31, 31, 10, 5, 0),
    PixelFormat(8, 6, False, True, 3, 3, 3, 4, 2, 0),
]


class Encoder:
    """A server's streams."""

    def __init__(self, layout):
        self.layout = layout
        self.zlib, self.zrle = zlib_streams.new_compressor(), zlib_streams.new_compressor()
        self.tight = tight.TightCompressors()

    def encode(self, encoding, picture):
        match encoding:
            case Encoding.RAW:
                return convert(picture, self.layout).tobytes()
            case Encoding.HEXTILE:
                return hextile.encode(picture, self.layout)
            case Encoding.ZLIB:
                return zlib_streams.encode(picture, self.layout, self.zlib)
            case Encoding.ZRLE:
                return zrle.encode(picture, self.layout, self.zrle)
            case Encoding.TIGHT:
                return tight.encode(picture, self.layout, self.tight)


def drawn(seed, width, height):
    """Stripes, blocks and noise."""
    random = np.random.default_rng(seed)
    picture = np.zeros((height, width, 4), np.uint8)
    picture[:, ::7] = random.integers(0, 256, 4, np.uint8)
    picture[height // 3 :: 2, width // 2 :] = random.integers(0, 256, 4, np.uint8)
    picture[height // 2 :, : width // 3] = random.integers(0, 256, picture[height // 2 :, : width // 3].shape, np.uint8)
    picture[..., 3] = 0xFF
    return picture


def seen(picture, pixel_format):
    """A picture after a trip through the client's format."""
    return restore(convert(picture, layout_of(pixel_format)), layout_of(pixel_format))


def session(rfb, pixel_format, cut=None):
    talk = rfb(cut=cut or rfb.whole, size=(130, 70))
    talk.run()
    talk.client.set_encodings(sorted(PICTURE_ENCODINGS, reverse=True))
    talk.client.set_pixel_format(pixel_format)
    talk.take()
    return talk


@pytest.mark.parametrize("pixel_format", FORMATS, ids=range(len(FORMATS)))
@pytest.mark.parametrize("encoding", sorted(PICTURE_ENCODINGS - {Encoding.COPY_RECT}))
def test_a_client_sees_what_the_server_has_drawn(rfb, encoding, pixel_format):
    talk = session(rfb, pixel_format)
    encoder, decoder = Encoder(layout_of(pixel_format)), RectangleDecoder(130, 70)
    expected = decoder.picture.copy()
    for seed, (x, y, width, height) in enumerate([(0, 0, 130, 70), (3, 5, 65, 17), (129, 69, 1, 1), (1, 1, 16, 16)]):
        part = drawn(seed, width, height)
        data = encoder.encode(encoding, part)
        talk.server.send_update([EncodedRectangle(x, y, width, height, encoding, data)])
        for event in talk.take()[1]:
            if isinstance(event, RectangleReceived):
                decoder.paint(event)
        expected[y : y + height, x : x + width] = seen(part, pixel_format)
        assert np.array_equal(decoder.picture, expected)


@settings(max_examples=20)
@given(st.lists(st.tuples(st.sampled_from(sorted(PICTURE_ENCODINGS)), st.integers(0, 999)), min_size=1, max_size=5))
def test_encodings_mixed_and_cut_anyhow_are_the_same_picture(rfb, plan):
    talk = session(rfb, RGBX, rfb.bytewise)
    encoder, decoder = Encoder(layout_of(RGBX)), RectangleDecoder(130, 70)
    rectangles, expected = [], decoder.picture.copy()
    for encoding, seed in plan:
        x, y, width, height = seed % 60, seed % 31, seed % 20 + 1, seed % 17 + 1
        if encoding == Encoding.COPY_RECT:
            rectangles.append(copy_rect(x, y, width, height, x + 3, y + 2))
            expected[y : y + height, x : x + width] = expected[y + 2 : y + 2 + height, x + 3 : x + 3 + width].copy()
        else:
            part = drawn(seed, width, height)
            rectangles.append(EncodedRectangle(x, y, width, height, encoding, encoder.encode(encoding, part)))
            expected[y : y + height, x : x + width] = part
    talk.server.send_update(rectangles)
    for event in talk.take()[1]:
        if isinstance(event, RectangleReceived):
            decoder.paint(event)
    assert np.array_equal(decoder.picture[..., :3], expected[..., :3])


def received(encoding, data, area=Rectangle(0, 0, 4, 4)):  # noqa: B008 - frozen
    return RectangleReceived(area, encoding, data, BGRX)


@given(st.sampled_from(sorted(PICTURE_ENCODINGS)), st.binary(max_size=80))
def test_any_bytes_are_pixels_or_our_error(encoding, data):
    decoder = RectangleDecoder(8, 8)
    try:
        decoder.paint(received(encoding, data.ljust(4, b"\0") if encoding == Encoding.COPY_RECT else data))
    except RemoteProtocolError:
        assert not decoder.picture.any()


def test_what_is_not_inside_the_picture_is_refused():
    decoder = RectangleDecoder(8, 8)
    with pytest.raises(RemoteProtocolError):
        decoder.paint(received(Encoding.RAW, bytes(64), Rectangle(5, 0, 9, 4)))
    with pytest.raises(RemoteProtocolError, match="CopyRect"):
        decoder.paint(received(Encoding.COPY_RECT, bytes.fromhex("00050000")))
    with pytest.raises(CodecError):
        decoder.paint(received(Encoding.RAW, bytes(63)))
    with pytest.raises(RemoteProtocolError):
        decoder.paint(received(Encoding.JPEG, bytes(64)))
    decoder.paint(received(Encoding.RAW, b"", Rectangle(3, 3, 3, 3)))  # nothing, which is allowed


def test_a_picture_that_grows_or_shrinks_keeps_what_fits():
    decoder = RectangleDecoder(4, 4)
    decoder.paint(received(Encoding.RAW, b"\x01\x02\x03\x00" * 16))
    decoder.resize(2, 8)
    assert decoder.picture.shape == (8, 2, 4)
    assert decoder.picture[:4, :, :3].tolist() == [[[1, 2, 3]] * 2] * 4
    assert not decoder.picture[4:].any()


def test_a_resize_is_followed(rfb):
    talk = rfb(size=(20, 10))
    talk.run()
    talk.client.set_encodings([Encoding.DESKTOP_SIZE])
    talk.take()
    decoder = RectangleDecoder(20, 10)
    talk.server.send_desktop_size(30, 40)
    part = drawn(1, 30, 40)
    talk.server.send_update([EncodedRectangle(0, 0, 30, 40, Encoding.RAW, part.tobytes())])
    for event in talk.take()[1]:
        if isinstance(event, DesktopResized):
            decoder.resize(event.width, event.height)
        elif isinstance(event, RectangleReceived):
            decoder.paint(event)
    assert np.array_equal(decoder.picture, part)


# Pointers


def of(rectangle, pixel_format=BGRX):
    place = rectangle.x, rectangle.y, rectangle.width, rectangle.height
    return pointer_shape(CursorReceived(*place, rectangle.encoding, rectangle.data, pixel_format))


@pytest.mark.parametrize("pixel_format", FORMATS, ids=range(len(FORMATS)))
def test_a_pointer_with_a_mask_is_read_in_any_format(pixel_format):
    picture = drawn(5, 10, 3)
    mask = np.array([[1, 0] * 5, [0] * 10, [1] * 10], np.uint8)
    pixels = convert(picture, layout_of(pixel_format)).tobytes()
    shape = of(cursor(2, 1, 10, 3, pixels, np.packbits(mask, axis=1).tobytes()), pixel_format)
    assert (shape.width, shape.height, shape.hot_x, shape.hot_y) == (10, 3, 2, 1)
    assert np.array_equal(shape.pixels[..., 3], mask * 255)
    assert np.array_equal(shape.pixels[..., :3], seen(picture, pixel_format)[..., :3])


def test_a_pointer_with_alpha_is_read():
    straight = bytes((200, 100, 50, 128))
    assert of(vmware_cursor(0, 0, 1, 1, straight)).pixels.ravel().tolist() == [50, 100, 200, 128]
    premultiplied = bytes((100, 50, 25, 128))
    assert of(cursor_with_alpha(0, 0, 1, 1, premultiplied)).pixels.ravel().tolist() == [50, 100, 199, 128]
    assert of(cursor_with_alpha(0, 0, 1, 1, bytes((255, 255, 255, 0)))).pixels[0, 0, 3] == 0


@pytest.mark.parametrize("make", [cursor_with_alpha, vmware_cursor])
def test_a_pointer_without_size_is_no_pointer(make):
    assert of(make(0, 0, 0, 0, b"")).pixels.shape == (0, 0, 4)
    assert of(cursor(0, 0, 0, 0, b"", b"")).pixels.shape == (0, 0, 4)
