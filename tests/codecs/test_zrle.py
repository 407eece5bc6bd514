import contextlib
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.codecs import zrle
from rdpprov.codecs.client_pixels import BGRX, PixelLayout, convert, cpixel
from rdpprov.codecs.errors import CodecError
from rdpprov.codecs.zlib_streams import new_compressor, new_decompressor

RGB565 = PixelLayout(16, 16, maxima=(31, 63, 31), shifts=(11, 5, 0))
INDEXED = PixelLayout(8, 8, true_colour=False)


def of_values(rows):
    """A picture of 0xRRGGBB values."""
    values = np.array(rows, "<u4")
    return values.view(np.uint8).reshape(*values.shape, 4)


def wrapped(tiles):
    """Tiles as a payload that begins a stream."""
    compressor = zlib.compressobj()
    data = compressor.compress(tiles) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return struct.pack(">I", len(data)) + data


def decode_tiles(tiles, width, height, layout=BGRX):
    return zrle.decode(wrapped(tiles), width, height, layout, new_decompressor())


def decode_slowly(tiles, width, height, size):
    """One pixel at a time, by the text: rows of bytes of a CPIXEL."""
    at = 0

    def take(count):
        nonlocal at
        at += count
        assert at <= len(tiles)
        return tiles[at - count : at]

    def run():
        length = 1
        while True:
            byte = take(1)[0]
            length += byte
            if byte != 255:
                return length

    rows = [[None] * width for _ in range(height)]
    for top in range(0, height, 64):
        for left in range(0, width, 64):
            columns, lines = min(64, width - left), min(64, height - top)
            kind, pixels = take(1)[0], []
            if kind == 0:
                pixels = [take(size) for _ in range(columns * lines)]
            elif kind == 1:
                pixels = [take(size)] * (columns * lines)
            elif kind <= 16:
                palette = [take(size) for _ in range(kind)]
                bits = {2: 1, 3: 2, 4: 2}.get(kind, 4)
                for _ in range(lines):
                    row = "".join(f"{byte:08b}" for byte in take((columns * bits + 7) // 8))
                    pixels += [palette[int(row[x * bits : x * bits + bits], 2)] for x in range(columns)]
            elif kind == 128:
                while len(pixels) < columns * lines:
                    pixels += [take(size)] * run()
            else:
                assert kind >= 130
                palette = [take(size) for _ in range(kind - 128)]
                while len(pixels) < columns * lines:
                    index = take(1)[0]
                    pixels += [palette[index & 127]] * (run() if index & 128 else 1)
            assert len(pixels) == columns * lines
            for y in range(lines):
                rows[top + y][left : left + columns] = pixels[y * columns : (y + 1) * columns]
    assert at == len(tiles)
    return b"".join(b"".join(row) for row in rows)


@given(data=st.data())
def test_tiles_say_what_the_text_reads(pictures, layouts, data):
    picture, layout = data.draw(pictures), data.draw(layouts)
    form = cpixel(layout)
    height, width = picture.shape[:2]
    assert decode_slowly(zrle.tiles(picture, layout), width, height, form.size) == form.pack(picture)


@given(data=st.data())
def test_pictures_survive_one_stream_for_all_layouts(pictures, layouts, data):
    compressor, decompressor = new_compressor(data.draw(st.integers(0, 9))), new_decompressor()
    for _ in range(3):
        picture, layout = data.draw(pictures), data.draw(layouts)
        height, width = picture.shape[:2]
        payload = zrle.encode(picture, layout, compressor)
        assert zrle.payload_size(payload) == len(payload)
        decoded = zrle.decode(payload, width, height, layout, decompressor)
        assert decoded.dtype == layout.dtype
        assert (decoded == convert(picture, layout)).all()


@given(data=st.data())
def test_the_extension_makes_the_same_tiles(extension, pictures, layouts, data):
    picture, form = data.draw(pictures), cpixel(data.draw(layouts))
    assert extension.zrle_tiles(picture, form.packed_tables, form.size) == zrle.tiles_python(picture, form)


@pytest.mark.parametrize("colours", [1, 2, 3, 4, 5, 15, 16, 17, 64, 126, 127, 128, 129, 4096])
@pytest.mark.parametrize("run", [1, 3, 70, 300])
@pytest.mark.parametrize("size", [(64, 64), (63, 65), (1, 1), (1, 65), (15, 16), (129, 3)])
@pytest.mark.parametrize("layout", [BGRX, RGB565, INDEXED], ids=["32", "16", "8"])
def test_every_number_of_colours_and_length_of_run_survives(colours, run, size, layout):
    width, height = size
    order = np.random.default_rng(colours + run).integers(0, colours, width * height // run + 1)
    values = (np.repeat(order, run)[: width * height] * 2654435761 % (1 << 24)).astype("<u4")
    picture = of_values(values.reshape(height, width))
    tiles = zrle.tiles(picture, layout)
    assert tiles == zrle.tiles_python(picture, cpixel(layout))
    assert (decode_tiles(tiles, width, height, layout) == convert(picture, layout)).all()


def test_tiles_made_by_hand():
    a, b, c = 0x010203, 0xAABBCC, 0x445566
    assert zrle.tiles(of_values([[a] * 3]), BGRX) == bytes.fromhex("01 030201")
    assert zrle.tiles(of_values([[a, b, a] * 3]), BGRX) == bytes.fromhex("02 030201 CCBBAA 4900")
    packed = zrle.tiles(of_values([[a, b, c, 1, 2, a]]), BGRX)
    assert packed == bytes.fromhex("05 030201 CCBBAA 665544 010000 020000 012340")
    assert zrle.tiles(of_values([[a] * 32 + [b] * 32]), BGRX) == bytes.fromhex("80 030201 1F CCBBAA 1F")
    runs = np.full((64, 64), a)
    runs[4, 0], runs[63, 63] = b, c
    assert zrle.tiles(of_values(runs), BGRX) == (
        bytes.fromhex("83 030201 CCBBAA 665544 80 FF00 01 80") + b"\xff" * 15 + bytes.fromhex("0C 02")
    )


def test_a_tile_of_noise_is_raw():
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 4), dtype=np.uint8)
    assert zrle.tiles(picture, BGRX) == b"\x00" + cpixel(BGRX).pack(picture)


@pytest.mark.parametrize(
    ("tiles", "reason"),
    [
        ("", "0 bytes left"),
        ("01 0102", "2 bytes left"),
        ("01 010203 00", "1 bytes after the last tile"),
        ("00 010203", "3 bytes left"),
        ("11 010203", "subencoding 17"),
        ("7F", "subencoding 127"),
        ("81 010203", "subencoding 129"),
        ("03 010203 040506 070809 FF FF", "index 3 in a palette of 3"),
        ("80 010203 03 010203 00", "bytes after|past the end|longer"),
        ("80 010203 FF", "longer than its tile"),
        ("80 010203 02 010203 01", "past the end"),
        ("80 010203 02", "0 bytes left"),
        ("82 010203 040506 02 00 00 00", "index 2 in a palette of 2"),
        ("82 010203 040506 80 02 81 05", "longer than its tile"),
        ("82 010203 040506 80 02 81 01", "past the end"),
        ("82 010203 040506 80", "0 bytes left"),
    ],
)
def test_tiles_that_are_wrong_are_refused(tiles, reason):
    with pytest.raises(CodecError, match=reason):
        decode_tiles(bytes.fromhex(tiles), 2, 2)


@pytest.mark.parametrize("layout", [BGRX, INDEXED], ids=["32", "8"])
def test_the_longest_legal_tiles_are_taken(layout):
    size = cpixel(layout).size
    plain = b"\x80" + (bytes(size) + b"\x00") * 4096
    assert not decode_tiles(plain, 64, 64, layout).any()
    coded = b"\xff" + bytes(127 * size) + b"\x80\x00" * 4096
    assert not decode_tiles(coded, 64, 64, layout).any()


def test_a_bomb_is_refused_before_it_is_inflated():
    bomb = wrapped(bytes(64 << 20))
    assert len(bomb) < 1 << 17
    with pytest.raises(CodecError, match="inflates to more than"):
        zrle.decode(bomb, 64, 64, BGRX, new_decompressor())


def test_a_payload_says_its_length():
    payload = zrle.encode(np.zeros((3, 3, 4), np.uint8), BGRX, new_compressor())
    assert [zrle.payload_size(payload[:end]) for end in (0, 3, 4)] == [None, None, len(payload)]
    for wrong in (payload[:-1], payload + b"\x00", payload[:3]):
        with pytest.raises(CodecError, match="length of the payload"):
            zrle.decode(wrong, 3, 3, BGRX, new_decompressor())


def test_a_stream_does_not_end():
    ended = zlib.compress(bytes.fromhex("01 010203"))
    with pytest.raises(CodecError, match="has ended"):
        zrle.decode(struct.pack(">I", len(ended)) + ended, 2, 2, BGRX, new_decompressor())


@given(tiles=st.binary(max_size=60), width=st.integers(1, 70), height=st.integers(1, 3), data=st.data())
def test_any_tiles_are_decoded_or_refused(layouts, tiles, width, height, data):
    layout = data.draw(layouts)
    with contextlib.suppress(CodecError):
        assert decode_tiles(tiles, width, height, layout).shape == (height, width)


@given(payload=st.binary(max_size=40))
def test_any_payload_is_decoded_or_refused(payload):
    with pytest.raises(CodecError):
        zrle.decode(payload, 5, 5, BGRX, new_decompressor())


@pytest.mark.parametrize(("width", "height"), [(0, 1), (1, 0), (8193, 1), (1, 65535)])
def test_a_size_that_is_none_is_refused(width, height):
    with pytest.raises(CodecError, match="pixels a side"):
        zrle.decode(b"", width, height, BGRX, new_decompressor())
