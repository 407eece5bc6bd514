import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.codecs import hextile
from rdpprov.codecs.client_pixels import BGRX, PixelLayout, convert, full_pixel
from rdpprov.codecs.errors import CodecError

RGB565 = PixelLayout(16, 16, maxima=(31, 63, 31), shifts=(11, 5, 0))
GREY = PixelLayout(8, 8, maxima=(7, 7, 3), shifts=(0, 3, 6))


def of_values(rows):
    values = np.array(rows, "<u4")
    return values.view(np.uint8).reshape(*values.shape, 4)


@given(data=st.data())
def test_pictures_survive(pictures, layouts, data):
    picture, layout = data.draw(pictures), data.draw(layouts)
    height, width = picture.shape[:2]
    payload = hextile.encode(picture, layout)
    tiles = -(-width // 16) * -(-height // 16)
    assert len(payload) <= width * height * layout.bytes_per_pixel + tiles
    decoded = hextile.decode(payload, width, height, layout)
    assert decoded.dtype == layout.dtype
    assert (decoded == convert(picture, layout)).all()


@given(data=st.data())
def test_the_extension_encodes_to_the_same_bytes(extension, pictures, layouts, data):
    picture, form = data.draw(pictures), full_pixel(data.draw(layouts))
    assert extension.hextile(picture, form.packed_tables, form.size) == hextile.encode_python(picture, form)


@given(data=st.data())
def test_a_payload_says_its_length_as_soon_as_it_can(pictures, data):
    picture = data.draw(pictures)[:40, :40]
    height, width = picture.shape[:2]
    payload = hextile.encode(picture, BGRX)
    sizes = [hextile.payload_size(payload[:end], width, height, BGRX) for end in range(len(payload) + 1)]
    assert sizes[-1] == len(payload)
    assert hextile.payload_size(payload + b"more", width, height, BGRX) == len(payload)
    assert set(sizes) <= {None, len(payload)}


def test_payloads_made_by_hand():
    a, b, c = 0x010203, 0xAABBCC, 0x445566
    row = [a] * 16
    assert hextile.encode(of_values([row]), BGRX) == bytes.fromhex("02 03020100")
    assert hextile.encode(of_values([row * 2]), BGRX) == bytes.fromhex("02 03020100 00")  # the background carries over
    spots = np.full((4, 34), a)
    spots[1:3, 2:5] = b
    spots[0, 16] = b  # so does the foreground
    spots[:, 32], spots[3, 33] = c, b
    # With three colours each rectangle brings its own.
    assert hextile.encode(of_values(spots), BGRX) == bytes.fromhex(
        "0E 03020100 CCBBAA00 01 21 21 08 01 00 00 1A 66554400 02 03020100 10 02 CCBBAA00 13 00"
    )
    noise = of_values([[1, 2], [3, 4]])
    assert hextile.encode(noise, BGRX) == bytes.fromhex("01 01000000 02000000 03000000 04000000")


def test_foreground_and_background_do_not_carry_over_a_raw_tile():
    values = np.full((16, 48), 7)
    values[0, 0] = values[0, 32] = 9
    values[:, 16:32] = np.arange(256).reshape(16, 16)
    payload = hextile.encode(of_values(values), BGRX)
    assert payload[:12] == bytes.fromhex("0E 07000000 09000000 01 00 00")
    assert payload[12] == 1
    assert payload[13 + 1024 :] == payload[:12]
    assert (hextile.decode(payload, 48, 16, BGRX) == values).all()


def test_the_foreground_does_not_carry_over_a_tile_with_colours():
    values = np.full((16, 48), 7)
    values[0, 0] = values[0, 32] = 9
    values[0, 16:18] = 9, 10
    payload = hextile.encode(of_values(values), BGRX)
    assert payload[12:] == bytes.fromhex("18 02 09000000 00 00 0A000000 10 00 0C 09000000 01 00 00")


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ("", "not one payload"),
        ("02 0102", "not one payload"),
        ("02 01 02", "not one payload"),
        ("00", "without background"),
        ("0A 01 01 00 00", "without colour"),
        ("0E 01 02 01 20 00", "leaves its tile"),
        ("0E 01 02 01 00 0F", "leaves its tile"),
        ("1A 01 01 02 02 00", "leaves its tile"),
    ],
)
def test_payloads_that_are_wrong_are_refused(payload, reason):
    with pytest.raises(CodecError, match=reason):
        hextile.decode(bytes.fromhex(payload), 2, 2, GREY)


@given(payload=st.binary(max_size=60), width=st.integers(1, 40), height=st.integers(1, 3))
def test_any_payload_is_decoded_or_refused(payload, width, height):
    with contextlib.suppress(CodecError):
        assert hextile.decode(payload, width, height, GREY).shape == (height, width)
    size = hextile.payload_size(payload, width, height, GREY)
    if size is not None:
        with contextlib.suppress(CodecError):
            hextile.decode((payload + bytes(size))[:size], width, height, GREY)


@pytest.mark.parametrize("layout", [BGRX, RGB565, GREY], ids=["32", "16", "8"])
def test_more_rectangles_than_a_byte_can_count_are_raw(layout):
    values = np.zeros((16, 16), "<u4")
    values.ravel()[:] = np.arange(256) * 0x010305 % 0x1000000
    payload = hextile.encode(of_values(values), layout)
    assert payload == hextile.encode_python(of_values(values), full_pixel(layout))
    assert (hextile.decode(payload, 16, 16, layout) == convert(of_values(values), layout)).all()
