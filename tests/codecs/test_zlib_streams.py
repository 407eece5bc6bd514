import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.codecs import zlib_streams
from rdpprov.codecs.client_pixels import BGRX, convert
from rdpprov.codecs.errors import CodecError
from rdpprov.codecs.zlib_streams import deflate, inflate, new_compressor, new_decompressor, new_zlib_compressor


@given(st.lists(st.binary(max_size=200), max_size=9), st.integers(0, 9), st.booleans())
def test_pieces_inflate_one_by_one(pieces, level, searching):
    compressor, decompressor = new_compressor(level, searching=searching), new_decompressor()
    for piece in pieces:
        assert inflate(decompressor, deflate(compressor, piece), len(piece)) == piece


@given(st.lists(st.binary(max_size=200), max_size=9), st.integers(0, 9), st.booleans())
def test_pieces_of_zlib_alone_inflate_one_by_one(pieces, level, searching):
    compressor, decompressor = new_zlib_compressor(level, searching=searching), new_decompressor()
    for piece in pieces:
        assert inflate(decompressor, deflate(compressor, piece), len(piece)) == piece


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_stream_goes_on_over_more_than_its_window(level):
    compressor, decompressor = new_compressor(level), new_decompressor()
    random = np.random.default_rng(level)
    said = random.integers(0, 3, 200_000, np.uint8)
    for _ in range(40):
        begin, length = (int(random.integers(0, 100_000)) for _ in range(2))
        piece = said[begin : begin + length].tobytes()
        assert inflate(decompressor, deflate(compressor, piece), length) == piece


def test_the_fast_streams_are_not_much_longer_than_those_of_zlib():
    rows = np.random.default_rng(5).integers(0, 9, (60, 1000), np.uint8)
    piece = rows[np.random.default_rng(6).integers(0, 60, 300)].tobytes()
    for level in (1, 2, 3):
        fast, slow = (deflate(make(level, searching=True), piece) for make in (new_compressor, new_zlib_compressor))
        assert len(fast) < 1.25 * len(slow)


@given(st.integers(1, 5000))
def test_one_byte_too_many_is_refused(size):
    with pytest.raises(CodecError, match=f"inflates to more than {size - 1}"):
        inflate(new_decompressor(), deflate(new_compressor(), bytes(size)), size - 1)


def test_the_end_of_a_stream_is_refused():
    with pytest.raises(CodecError, match="has ended"):
        inflate(new_decompressor(), zlib.compress(b"abc"), 100)


@given(data=st.data())
def test_pictures_survive_in_encoding_6(pictures, layouts, data):
    compressor, decompressor = new_compressor(), new_decompressor()
    for _ in range(2):
        picture, layout = data.draw(pictures), data.draw(layouts)
        height, width = picture.shape[:2]
        payload = zlib_streams.encode(picture, layout, compressor)
        assert zlib_streams.payload_size(payload) == len(payload)
        decoded = zlib_streams.decode(payload, width, height, layout, decompressor)
        assert (decoded == convert(picture, layout)).all()


def test_encoding_6_has_all_pixels_and_no_more():
    payload = zlib_streams.encode(np.zeros((4, 4, 4), np.uint8), BGRX, new_compressor())
    with pytest.raises(CodecError, match="64 bytes of pixels, expected 80"):
        zlib_streams.decode(payload, 5, 4, BGRX, new_decompressor())
    with pytest.raises(CodecError, match="inflates to more than 48"):
        zlib_streams.decode(payload, 3, 4, BGRX, new_decompressor())
