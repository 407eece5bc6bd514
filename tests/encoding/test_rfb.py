from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdpprov.codecs import hextile, tight, zlib_streams, zrle
from rdpprov.codecs.client_pixels import BGRX, PixelLayout, convert, restore
from rdpprov.encoding import rfb
from rdpprov.encoding.rfb import MAX_PIXELS, EncodedRectangle, RfbEncoder
from rdpprov.errors import LocalProtocolError

RGBX = PixelLayout(shifts=(0, 8, 16))
RGB565 = PixelLayout(16, 16, maxima=(31, 63, 31), shifts=(11, 5, 0))
BGR233 = PixelLayout(8, 8, maxima=(7, 7, 3), shifts=(0, 3, 6))
INDEXED = PixelLayout(8, 8, true_colour=False)
LAYOUTS = [BGRX, RGBX, PixelLayout(big_endian=True), RGB565, BGR233, INDEXED]
TIGER_VNC = [-314, -239, -223, -308, -224, -313, -312, -258, 7, 1, 16, 5, 2, 1, 0, -254, -24]
NO_VNC = [1, 50, 7, -260, 16, 21, 5, 2, 6, 0, -26, -254, -223, -224, -258, -239]
REAL_VNC = [24, 16, 22, 21, 15, -314, -239, -223]
VNCDOTOOL = [0, -223, -224, -258]
QUALITY_8 = -24


class Client:
    """What a client does with updates, in its own pixels."""

    def __init__(self, width, height, layout=BGRX):
        self.size = width, height
        self.streams = {
            6: zlib_streams.new_decompressor(),
            7: tight.TightDecompressors(),
            16: zlib_streams.new_decompressor(),
        }
        self.set_layout(layout)

    def set_layout(self, layout):
        self.layout = layout
        self.screen = np.zeros(self.size[::-1], layout.dtype)
        self.painted = np.zeros(self.size[::-1], np.uint8)

    def show(self, rectangle):
        x, y, width, height, encoding, data, _ = rectangle
        match encoding:
            case 0:
                pixels = np.frombuffer(data, self.layout.dtype).reshape(height, width)
            case 5:
                pixels = hextile.decode(data, width, height, self.layout)
            case 6:
                pixels = zlib_streams.decode(data, width, height, self.layout, self.streams[6])
            case 7:
                assert width <= 2048
                pixels = tight.decode(data, width, height, self.layout, self.streams[7])
            case 16:
                pixels = zrle.decode(data, width, height, self.layout, self.streams[16])
        self.screen[y : y + height, x : x + width] = pixels
        self.painted[y : y + height, x : x + width] += 1


def make_picture(width, height, seed=0):
    """Areas of one colour, text of two and of some colours, a photograph and noise."""
    random = np.random.default_rng(seed)
    picture = np.zeros((height, width, 4), np.uint8)
    picture[...] = random.integers(0, 256, 4, dtype=np.uint8)
    text = random.random((height, width)) < 0.2
    text[:, width // 4 :] = False
    picture[text] = (20, 20, 20, 0)
    some = picture[: height // 2, width // 4 : width // 2]
    some[...] = random.integers(0, 256, (40, 4), dtype=np.uint8)[random.integers(0, 40, some.shape[:2])]
    photo = picture[height // 3 :, width // 2 :]
    y, x = np.mgrid[0 : photo.shape[0], 0 : photo.shape[1]]
    photo[...] = np.dstack([128 + 80 * np.sin(x / (20 + 9 * plane) + y / 30) for plane in range(4)])
    rest = picture[-height // 5 :, -width // 5 :]
    rest[...] = random.integers(0, 256, rest.shape)
    return picture


@pytest.mark.parametrize("encoding", rfb.DATA_ENCODINGS)
@settings(max_examples=40)
@given(data=st.data())
def test_a_client_shows_what_the_desktop_shows_whatever_it_asks_for_in_between(encoding, data):
    width, height = data.draw(st.integers(1, 300)), data.draw(st.integers(1, 200))
    left, top = data.draw(st.integers(0, 50)), data.draw(st.integers(0, 50))
    layout = data.draw(st.sampled_from(LAYOUTS))
    encoder, client = RfbEncoder(encodings=[encoding], layout=layout), Client(left + width, top + height, layout)
    for seed in range(3):
        picture = make_picture(width, height, seed)
        for rectangle in encoder.encode(picture, left, top):
            assert rectangle.encoding == encoding
            client.show(rectangle)
        assert (client.painted[top:, left:] == 1).all()
        assert client.painted.sum() == width * height
        assert (client.screen[top:, left:] == convert(picture, layout)).all()
        layout = data.draw(st.sampled_from(LAYOUTS))
        encoder.set_layout(layout)
        encoder.set_encodings([encoding, data.draw(st.integers(-256, -247))])
        client.set_layout(layout)


@pytest.mark.parametrize(
    ("encodings", "expected"),
    [
        (TIGER_VNC, 7),
        (NO_VNC, 7),
        (REAL_VNC, 16),
        (VNCDOTOOL, 0),
        ([], 0),
        ([1, -239], 0),
        ([5, 16], 5),
        ([6, 0], 6),
        ([1000, 2, 4, 16], 16),
    ],
)
def test_the_first_encoding_that_we_make_wins(encodings, expected):
    encoder = RfbEncoder(encodings=encodings)
    assert encoder.encoding == expected
    assert {rectangle.encoding for rectangle in encoder.encode(make_picture(99, 99), 0, 0)} == {expected}


@pytest.mark.parametrize("encoding", [0, 5, 7, 16])
@pytest.mark.parametrize("size", [(5000, 70), (70, 5000), (2049, 65), (1920, 1080)])
def test_batches_are_bounded_and_in_order(encoding, size):
    encoder, client = RfbEncoder(encodings=[encoding]), Client(*size)
    picture = make_picture(*size)
    above = 0
    for batch in encoder.encode_batches(picture, 0, 0):
        assert batch
        assert sum(rectangle.width * rectangle.height for rectangle in batch) <= MAX_PIXELS
        assert sum(len(rectangle.data) for rectangle in batch) <= 4 * MAX_PIXELS + 4096
        assert min(rectangle.y for rectangle in batch) >= above
        above = min(rectangle.y for rectangle in batch)
        for rectangle in batch:
            client.show(rectangle)
    assert (client.painted == 1).all()
    assert (client.screen == convert(picture, BGRX)).all()


@pytest.mark.parametrize("encodings", [[0], [5], [6], [7], [7, QUALITY_8], [16]], ids=str)
def test_with_workers_the_bytes_are_the_same(encodings):
    pictures = [make_picture(900, 500, seed) for seed in range(2)]
    plain = RfbEncoder(encodings=encodings)
    with ThreadPoolExecutor(2) as workers:
        shared = RfbEncoder(encodings=encodings, workers=workers)
        for picture in pictures:
            assert list(shared.encode(picture, 3, 4)) == list(plain.encode(picture, 3, 4))


@pytest.mark.parametrize("encodings", [[6], [7], [16]], ids=str)
@pytest.mark.parametrize("pooled", [False, True])
def test_an_update_that_is_left_before_its_end_leaves_the_streams_right(encodings, pooled):
    with ThreadPoolExecutor(2) as workers:
        encoder = RfbEncoder(encodings=encodings, workers=workers if pooled else None)
        client = Client(900, 500)
        picture = make_picture(900, 500)
        batches = encoder.encode_batches(picture, 0, 0)
        for _ in range(3):
            for rectangle in next(batches):
                client.show(rectangle)
        batches.close()
        for rectangle in encoder.encode(picture, 0, 0):
            client.show(rectangle)
        assert (client.screen == convert(picture, BGRX)).all()


def test_an_update_that_has_begun_keeps_its_format_and_encoding():
    encoder, client = RfbEncoder(encodings=[16]), Client(900, 500)
    picture = make_picture(900, 500)
    batches = encoder.encode_batches(picture, 0, 0)
    first = next(batches)
    encoder.set_layout(RGB565)
    encoder.set_encodings([0])
    for batch in [first, *batches]:
        for rectangle in batch:
            client.show(rectangle)
    assert (client.screen == convert(picture, BGRX)).all()
    client.set_layout(RGB565)
    encoder.set_encodings([16])
    for rectangle in encoder.encode(picture, 0, 0):
        client.show(rectangle)
    assert (client.screen == convert(picture, RGB565)).all()


@pytest.mark.parametrize("layout", [BGRX, RGB565], ids=["32", "16"])
def test_only_photographs_are_lossy_and_only_if_asked_for(layout):
    picture = make_picture(800, 600)
    picture[-120:, -160:] = 9  # no noise: JPEG does not like it
    encoder, client = RfbEncoder(encodings=TIGER_VNC, layout=layout), Client(800, 600, layout)
    assert encoder.is_lossy
    lossy = np.zeros((600, 800), bool)
    for rectangle in encoder.encode(picture, 0, 0):
        client.show(rectangle)
        if rectangle.lossy:
            lossy[rectangle.y : rectangle.y + rectangle.height, rectangle.x : rectangle.x + rectangle.width] = True
    assert lossy.any()
    assert not lossy[:, :384].any()
    expected = convert(picture, layout)
    assert (client.screen == expected)[~lossy].all()
    error = restore(client.screen, layout)[..., :3].astype(float) - restore(expected, layout)[..., :3]
    assert 10 * np.log10(255**2 / (error**2).mean()) > 30
    for rectangle in encoder.encode(picture, 0, 0, lossless=True):
        assert not rectangle.lossy
        client.show(rectangle)
    assert (client.screen == expected).all()


@pytest.mark.parametrize("encodings", [[7], [7, -254], [16, QUALITY_8], [0, 7, QUALITY_8]], ids=str)
def test_nothing_is_lossy_that_was_not_asked_for(encodings):
    encoder = RfbEncoder(encodings=encodings)
    assert not encoder.is_lossy
    assert not any(rectangle.lossy for rectangle in encoder.encode(make_picture(400, 300), 0, 0))


@pytest.mark.parametrize("layout", [BGR233, INDEXED], ids=["true", "map"])
def test_eight_bits_are_never_lossy(layout):
    encoder = RfbEncoder(encodings=[7, QUALITY_8], layout=layout)
    assert not encoder.is_lossy
    assert not any(rectangle.lossy for rectangle in encoder.encode(make_picture(400, 300), 0, 0))


@pytest.mark.parametrize(
    ("encodings", "expected"),
    [
        ([7, -32], (15, "420")),
        ([7, -24], (92, "444")),
        ([7, -23, -32], (100, "444")),
        ([7, -26], (79, "444")),
        ([7, -412], (100, "444")),
        ([7, -512], (1, "444")),
        ([7, -27, -462], (50, "422")),
        ([7, -764], (92, "420")),
        ([7, -765, -30], (41, "Gray")),
        ([7, -22, -33], None),
    ],
)
def test_quality_is_what_the_first_pseudo_encoding_says(encodings, expected):
    assert rfb._wishes(tuple(encodings)).quality == expected


@pytest.mark.parametrize(
    ("encodings", "level"), [([], 2), ([-256], 0), ([-247, -256], 9), ([-257, -246], 2), ([-251], 5)]
)
def test_the_compression_level_is_what_the_first_pseudo_encoding_says(encodings, level):
    assert rfb._wishes(tuple(encodings)).level == level


@pytest.mark.parametrize("encoding", [6, 7, 16])
def test_more_compression_takes_fewer_bytes(encoding):
    picture = make_picture(500, 300)
    sizes = [
        sum(len(rectangle.data) for rectangle in RfbEncoder(encodings=[encoding, level]).encode(picture, 0, 0))
        for level in (-256, -254, -247)
    ]
    assert sizes == sorted(sizes, reverse=True)


def test_neighbours_of_one_colour_are_one_fill():
    picture = np.zeros((64, 1024, 4), np.uint8)
    picture[:, 512:] = 200
    rectangles = list(RfbEncoder(encodings=[7]).encode(picture, 10, 20))
    assert rectangles == [
        EncodedRectangle(10, 20, 512, 64, 7, bytes.fromhex("80 000000")),
        EncodedRectangle(522, 20, 512, 64, 7, bytes.fromhex("80 C8C8C8")),
    ]


def test_cells_with_too_many_colours_together_keep_palettes():
    values = np.arange(4)[:, np.newaxis, np.newaxis] * 200 + np.random.default_rng(0).integers(0, 200, (4, 64, 64))
    picture = np.ascontiguousarray(np.concatenate(values, axis=1) * 7919, "<u4").view(np.uint8).reshape(64, 256, 4)
    rectangles = list(RfbEncoder(encodings=[7, QUALITY_8]).encode(picture, 0, 0))
    assert [rectangle.data[0] >> 4 for rectangle in rectangles] == [6] * 4
    client = Client(256, 64)
    for rectangle in rectangles:
        client.show(rectangle)
    assert (client.screen == convert(picture, BGRX)).all()


def test_a_copy_is_only_for_clients_that_take_it():
    encoder = RfbEncoder(encodings=NO_VNC)
    assert encoder.takes_copies
    assert encoder.copy(1, 2, 30, 40, 500, 600) == (1, 2, 30, 40, 1, bytes.fromhex("01F4 0258"), False)
    encoder.set_encodings([16])
    assert encoder.copy(1, 2, 30, 40, 500, 600) is None


def test_what_is_no_picture_is_refused_at_once():
    with pytest.raises(LocalProtocolError, match="a picture of"):
        RfbEncoder().encode_batches(np.zeros((0, 5, 4), np.uint8), 0, 0)
    with pytest.raises(LocalProtocolError, match="shape"):
        RfbEncoder().encode_batches(np.zeros((5, 5, 3), np.uint8), 0, 0)
