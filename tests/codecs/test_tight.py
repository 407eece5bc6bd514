import contextlib
import io
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rdpprov.codecs import jpeg, tight
from rdpprov.codecs.client_pixels import BGRX, PixelLayout, convert, restore, tpixel
from rdpprov.codecs.errors import CodecError
from rdpprov.codecs.jpeg import JpegQuality
from rdpprov.codecs.tight import TightCompressors, TightDecompressors, compact_length
from rdpprov.errors import LocalProtocolError

RGB565 = PixelLayout(16, 16, maxima=(31, 63, 31), shifts=(11, 5, 0))
BGR233 = PixelLayout(8, 8, maxima=(7, 7, 3), shifts=(0, 3, 6))
DEPTH32 = PixelLayout(depth=32, shifts=(0, 8, 16))
GOOD = JpegQuality(92, "444")


def of_values(rows):
    values = np.array(rows, "<u4")
    return values.view(np.uint8).reshape(*values.shape, 4)


def smooth(width, height):
    y, x = np.mgrid[0:height, 0:width]
    planes = [128 + 80 * np.sin(x / (20 + 9 * plane) + y / 30) for plane in range(4)]
    return np.dstack(planes).astype(np.uint8)


def noise(width, height, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 4), dtype=np.uint8)


def fresh(data):
    """A piece of a stream that begins."""
    compressor = zlib.compressobj()
    return compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)


def decode(payload, width, height, layout=BGRX):
    return tight.decode(payload, width, height, layout, TightDecompressors())


@given(data=st.data())
def test_pictures_survive_with_one_set_of_streams_for_all_layouts(pictures, layouts, data):
    streams, client = TightCompressors((1, 6, 0, 9)), TightDecompressors()
    for _ in range(4):
        picture, layout = data.draw(pictures), data.draw(layouts)
        height, width = picture.shape[:2]
        payload = tight.encode(picture, layout, streams, most_colours=data.draw(st.integers(0, 256)))
        assert tight.payload_size(payload, width, height, layout) == len(payload)
        decoded = tight.decode(payload, width, height, layout, client)
        assert decoded.dtype == layout.dtype
        assert (decoded == convert(picture, layout)).all()
        if data.draw(st.booleans()):
            streams.set_levels(tuple(data.draw(st.integers(0, 9)) for _ in range(4)))


@given(data=st.data())
def test_the_extension_finds_the_same_indices(extension, pictures, layouts, data):
    picture, form = data.draw(pictures), tpixel(data.draw(layouts))
    most = data.draw(st.integers(1, 256))
    found = extension.tight_indices(picture, form.packed_tables, form.size, most)
    assert found == tight.indices_python(picture, form, most)


@given(data=st.data())
def test_the_extension_counts_the_same_colours(extension, pictures, layouts, data):
    picture, form = data.draw(pictures), tpixel(data.draw(layouts))
    side, most = data.draw(st.sampled_from([1, 7, 16, 64])), data.draw(st.sampled_from([1, 2, 5, 256]))
    counted = extension.count_colours(picture, form.packed_tables, form.size, side, most)
    assert counted == tight.count_colours_python(picture, form, side, most).tobytes()


@pytest.mark.parametrize("layout", [BGRX, PixelLayout(16, 16, maxima=(31, 63, 31), shifts=(11, 5, 0))])
def test_the_extension_counts_the_same_colours_in_more_cells_than_it_has_marks(extension, layout):
    random = np.random.default_rng(4)
    picture = random.integers(0, 256, (16 * 20 + 3, 16 * 20 + 5, 4), np.uint8)
    for y in range(0, picture.shape[0], 16):
        for x in range(0, picture.shape[1], 16):
            colours = random.integers(0, 256, (int(random.integers(1, 400)), 4), np.uint8)
            cell = picture[y : y + 16, x : x + 16]
            cell[:] = colours[random.integers(0, len(colours), cell.shape[:2])]
    for most in (1, 64, 100):
        counted = extension.count_colours(picture, tpixel(layout).packed_tables, tpixel(layout).size, 16, most)
        assert counted == tight.count_colours_python(picture, tpixel(layout), 16, most).tobytes()


@pytest.mark.parametrize("colours", [1, 2, 3, 4, 16, 17, 255, 256, 257])
@pytest.mark.parametrize("size", [(1, 1), (7, 1), (8, 3), (9, 40), (64, 64), (2048, 3)])
@pytest.mark.parametrize("layout", [BGRX, DEPTH32, RGB565, BGR233], ids=["24", "32", "16", "8"])
def test_every_number_of_colours_survives(colours, size, layout):
    width, height = size
    order = np.random.default_rng(colours).integers(0, colours, (height, width))
    picture = of_values(order * 2654435761 % (1 << 24))
    payload = tight.encode(picture, layout, TightCompressors())
    assert tight.payload_size(payload, width, height, layout) == len(payload)
    assert (decode(payload, width, height, layout) == convert(picture, layout)).all()


def test_payloads_made_by_hand():
    a, b, c = 0x010203, 0xAABBCC, 0x445566
    streams = TightCompressors()
    assert tight.encode(of_values([[a] * 9] * 9), BGRX, streams) == bytes.fromhex("80 010203")
    assert tight.encode(of_values([[0x102030] * 9]), RGB565, streams) == bytes.fromhex("80 0611")
    # Rows of bits begin at a byte; fewer than 12 bytes have neither stream nor length.
    two = of_values([[a] * 8 + [b], [b] * 9])
    assert tight.encode(two, BGRX, streams) == bytes.fromhex("50 01 01 010203 AABBCC 0080 FF80")
    some = of_values([[a, b, c, a, a, b, b, c, c, c, a]])
    assert tight.encode(some, BGRX, streams) == bytes.fromhex("60 01 02 010203 AABBCC 445566 00010200000101020202 00")
    assert tight.encode(of_values([[1, 2, 3]]), BGRX, streams) == bytes.fromhex("00 000001 000002 000003")
    twelve = of_values([[a, b, c, a, a, b, b, c, c, c, a, b]])
    payload = tight.encode(twelve, BGRX, streams)
    assert payload[:12] == bytes.fromhex("60 01 02 010203 AABBCC 445566")
    assert payload[12] == len(payload) - 13
    assert zlib.decompressobj().decompress(payload[13:]) == bytes.fromhex("000102000001010202020001")


def test_a_text_with_two_colours_of_twelve_bytes_is_deflated_and_eleven_are_not():
    for width, deflated in ((88, False), (96, True)):
        picture = of_values([[number % 3 == 0 for number in range(width)]])
        payload = tight.encode(picture, BGRX, TightCompressors())
        assert (len(payload) != 9 + width // 8) == deflated
        assert (decode(payload, width, 1) == convert(picture, BGRX)).all()


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (0, "00"),
        (1, "01"),
        (127, "7F"),
        (128, "8001"),
        (10000, "904E"),
        (16383, "FF7F"),
        (16384, "808001"),
        ((1 << 22) - 1, "FFFFFF"),
    ],
)
def test_a_compact_length_has_seven_seven_and_eight_bits(length, expected):
    assert compact_length(length) == bytes.fromhex(expected)


@pytest.mark.parametrize("length", [-1, 1 << 22])
def test_a_length_of_more_than_22_bits_is_refused(length):
    with pytest.raises(LocalProtocolError, match="a length of"):
        compact_length(length)


def test_a_stream_of_another_level_begins_anew_and_says_so():
    streams, client = TightCompressors((1, 1, 1, 1)), TightDecompressors()
    pictures = [of_values(np.random.default_rng(1).integers(0, colours, (64, 64))) for colours in (2, 9)]
    controls = []
    for levels in ((1, 1, 1, 1), (1, 1, 1, 1), (1, 9, 1, 1), (6, 9, 3, 6), (6, 9, 3, 6)):
        streams.set_levels(levels)
        for picture in pictures:
            payload = tight.encode(picture, BGRX, streams)
            controls.append(payload[0])
            assert (tight.decode(payload, 64, 64, BGRX, client) == convert(picture, BGRX)).all()
    assert controls == [0x50, 0x60, 0x50, 0x60, 0x52, 0x60, 0x54, 0x60, 0x50, 0x60]


def test_a_reset_comes_with_whatever_is_sent_next():
    streams, client = TightCompressors(), TightDecompressors()
    mono = of_values(np.random.default_rng(1).integers(0, 2, (64, 64)))
    tight.decode(tight.encode(mono, BGRX, streams), 64, 64, BGRX, client)
    streams.set_levels((1, 2, 1, 1))
    fill = tight.encode(of_values([[5]]), BGRX, streams)
    assert fill == bytes.fromhex("82 000005")
    tight.decode(fill, 1, 1, BGRX, client)
    payload = tight.encode(mono, BGRX, streams)
    assert payload[0] == 0x50
    assert (tight.decode(payload, 64, 64, BGRX, client) == convert(mono, BGRX)).all()


def test_what_zlib_finds_nothing_in_has_a_stream_that_does_not_search():
    assert tight.prepare(noise(64, 64), BGRX).control == 0x30
    stripes = of_values(np.broadcast_to(np.arange(999)[:, np.newaxis] * 7919, (999, 64)))
    assert tight.prepare(stripes, BGRX).control == 0x00
    assert tight.prepare(noise(1, 999), BGRX).control == 0x00


@pytest.mark.parametrize("layout", [BGRX, DEPTH32, RGB565], ids=["24", "32", "16"])
@pytest.mark.parametrize("subsampling", ["444", "422", "420"])
def test_many_colours_are_jpeg_if_the_client_takes_it(layout, subsampling):
    picture = smooth(200, 100)
    payload = tight.encode(picture, layout, TightCompressors(), most_colours=0, quality=JpegQuality(92, subsampling))
    assert payload[0] == 0x90
    assert tight.payload_size(payload, 200, 100, layout) == len(payload)
    shown = restore(decode(payload, 200, 100, layout), layout)
    error = shown[..., :3].astype(float) - restore(convert(picture, layout), layout)[..., :3]
    assert 10 * np.log10(255**2 / (error**2).mean()) > 30


def test_eight_bits_have_no_jpeg():
    picture = noise(64, 64)
    assert tight.prepare(picture, BGR233, most_colours=0, quality=GOOD).control != 0x90
    with pytest.raises(CodecError, match="JPEG for a format of 8 bits"):
        decode(b"\x90\x02ab", 2, 2, BGR233)


def test_both_jpeg_encoders_make_the_picture():
    picture = smooth(90, 50)
    for data in (jpeg.encode(picture, GOOD), jpeg.encode_pillow(picture, GOOD)):
        shown = jpeg.decode(data, 90, 50)
        assert np.abs(shown[..., :3].astype(int) - picture[..., :3]).mean() < 3
        assert data[:3] == b"\xff\xd8\xff"
    for encode in (jpeg.encode, jpeg.encode_pillow):
        grey = jpeg.decode(encode(picture, JpegQuality(90, "Gray")), 90, 50)
        assert (grey[..., 0] == grey[..., 1]).all()


def gradient(values, maxima, shifts):
    """Filter 2, by the text, one pixel at a time."""
    height, width = values.shape
    out = np.zeros((height, width), np.uint32)
    for maximum, shift in zip(maxima, shifts, strict=True):
        colour = (values >> shift & maximum).astype(int)
        for y in range(height):
            for x in range(width):
                left = colour[y, x - 1] if x else 0
                above = colour[y - 1, x] if y else 0
                corner = colour[y - 1, x - 1] if x and y else 0
                guess = min(max(left + above - corner, 0), maximum)
                out[y, x] |= int((colour[y, x] - guess) % (maximum + 1)) << shift
    return out


@pytest.mark.parametrize("layout", [BGRX, PixelLayout(shifts=(0, 8, 16)), DEPTH32, RGB565], ids=str)
@pytest.mark.parametrize("picture", [smooth(20, 9), noise(20, 9)], ids=["smooth", "noise"])
def test_gradients_are_decoded(layout, picture):
    expected = convert(picture, layout)
    differences = gradient(expected.astype(np.uint32), layout.maxima, layout.shifts).astype(layout.dtype)
    data = fresh(tpixel(layout).pack(restore(differences, layout)))
    payload = b"\x40\x02" + compact_length(len(data)) + data
    assert tight.payload_size(payload, 20, 9, layout) == len(payload)
    assert (decode(payload, 20, 9, layout) == expected).all()


def test_an_explicit_copy_filter_and_data_that_are_not_deflated_are_decoded():
    expected = convert(of_values([[1, 2, 3, 4]]), BGRX)
    pixels = bytes.fromhex("000001 000002 000003 000004")
    data = fresh(pixels)
    assert (decode(b"\x40\x00" + compact_length(len(data)) + data, 4, 1) == expected).all()
    assert (decode(b"\xa0\x0c" + pixels, 4, 1) == expected).all()
    assert (decode(b"\xe0\x00\x0c" + pixels, 4, 1) == expected).all()
    assert (decode(b"\xa0" + pixels[:9], 3, 1) == expected[:, :3]).all()


def test_streams_carry_on_and_begin_anew_when_told():
    compressor = zlib.compressobj()
    pieces = []
    for byte in (1, 2):
        data = compressor.compress(bytes((byte,)) * 48) + compressor.flush(zlib.Z_SYNC_FLUSH)
        pieces.append(b"\x20" + compact_length(len(data)) + data)
    streams = TightDecompressors()
    for byte, piece in zip((1, 2), pieces, strict=True):
        assert (tight.decode(piece, 4, 4, BGRX, streams) == byte * 0x010101).all()
    with pytest.raises(CodecError, match="zlib"):
        tight.decode(pieces[0], 4, 4, BGRX, streams)
    assert (tight.decode(b"\x24" + pieces[0][1:], 4, 4, BGRX, streams) == 0x010101).all()


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "not one payload"),
        (b"\x80\x01\x02", "not one payload"),
        (b"\x80\x01\x02\x03\x04", "not one payload"),
        (b"\xb0", "compression control B0"),
        (b"\xf0", "compression control F0"),
        (b"\x40\x03", "filter 3"),
        (b"\x40\x01\x00\x01\x02\x03", "palette of one colour"),
        (b"\x40\x01\x02" + bytes(9) + b"\x01" * 15 + b"\x03", "index 3 in a palette of 3"),
        (b"\x90\x04\xff\xd8\xff\xd9", "JPEG"),
        (b"\x90\x00", "JPEG"),
        (b"\x00\x03abc", "zlib"),
        (b"\xa0\x03abc", "3 bytes of data, expected 48"),
    ],
)
def test_payloads_that_are_wrong_are_refused(payload, reason):
    if payload[:3] == b"\x40\x01\x02":
        data = fresh(payload[12:])
        payload = payload[:12] + compact_length(len(data)) + data
    with pytest.raises(CodecError, match=reason):
        decode(payload, 4, 4)


@pytest.mark.parametrize("count", [47, 49, 1 << 26])
def test_a_piece_of_a_stream_inflates_to_what_the_rectangle_has_and_no_more(count):
    data = fresh(bytes(count))
    payload = b"\x00" + compact_length(len(data)) + data
    with pytest.raises(CodecError, match="47 bytes inflated" if count < 48 else "inflates to more than 48"):
        decode(payload, 4, 4)


def test_a_jpeg_of_another_size_is_refused():
    data = jpeg.encode(smooth(64, 64), GOOD)
    with pytest.raises(CodecError, match="expected 4x4"):
        decode(b"\x90" + compact_length(len(data)) + data, 4, 4)
    out = io.BytesIO()
    Image.new("RGB", (4, 4)).save(out, "PNG")
    with pytest.raises(CodecError, match="JPEG"):
        jpeg.decode(out.getvalue(), 4, 4)


def test_a_jpeg_that_is_damaged_is_refused_or_shown():
    data = jpeg.encode(smooth(16, 16), GOOD)
    for cut in range(0, len(data), 7):
        for damaged in (data[:cut], data[:cut] + b"\x00" + data[cut + 1 :]):
            with contextlib.suppress(CodecError):
                assert jpeg.decode(damaged, 16, 16).shape == (16, 16, 4)


@given(data=st.data())
def test_any_payload_is_decoded_or_refused(layouts, data):
    payload, layout = data.draw(st.binary(max_size=60)), data.draw(layouts)
    width, height = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 3))
    with contextlib.suppress(CodecError):
        size = tight.payload_size(payload, width, height, layout)
        if size is not None:
            payload = (payload + bytes(min(size, 999)))[:size]
        assert tight.decode(payload, width, height, layout, TightDecompressors()).shape == (height, width)


@given(data=st.data())
def test_a_payload_says_its_length_as_soon_as_it_can(pictures, data):
    picture = data.draw(pictures)[:9, :9]
    height, width = picture.shape[:2]
    payload = tight.encode(picture, BGRX, TightCompressors())
    sizes = [tight.payload_size(payload[:end], width, height, BGRX) for end in range(len(payload) + 1)]
    known = [size is not None for size in sizes]
    assert known == sorted(known)
    assert set(sizes) <= {None, len(payload)}
    assert tight.payload_size(payload + b"more", width, height, BGRX) == len(payload)


def test_a_rectangle_that_is_too_wide_is_refused():
    with pytest.raises(LocalProtocolError, match="2049 pixels wide"):
        tight.prepare(np.zeros((1, 2049, 4), np.uint8), BGRX)


@pytest.mark.parametrize(("side", "most"), [(0, 1), (65, 1), (1, 0), (1, 257)])
def test_the_extension_refuses_cells_that_are_none(extension, side, most):
    with pytest.raises(ValueError, match="a cell has"):
        extension.count_colours(np.zeros((1, 1, 4), np.uint8), bytes(3072), 4, side, most)


@pytest.mark.parametrize("most", [0, 257])
def test_the_extension_refuses_palettes_that_are_none(extension, most):
    with pytest.raises(ValueError, match="a palette has"):
        extension.tight_indices(np.zeros((1, 1, 4), np.uint8), bytes(3072), 4, most)
