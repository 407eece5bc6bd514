import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.codecs.client_pixels import BGRX, PixelLayout, colour_map, convert, cpixel, full_pixel, restore, tpixel
from rdpprov.codecs.errors import CodecError
from rdpprov.errors import LocalProtocolError

RGB565 = PixelLayout(16, 16, maxima=(31, 63, 31), shifts=(11, 5, 0))
BGR233 = PixelLayout(8, 8, maxima=(7, 7, 3), shifts=(0, 3, 6))
INDEXED = PixelLayout(8, 8, true_colour=False)


def pixel(blue, green, red, x=0x99):
    return np.array([[[blue, green, red, x]]], np.uint8)


def convert_slowly(picture, layout):
    """One pixel at a time, by the text."""
    maxima, shifts = (layout.maxima, layout.shifts) if layout.true_colour else ((7, 7, 3), (5, 2, 0))
    data = bytearray()
    for blue, green, red, _ in picture.reshape(-1, 4).tolist():
        value = 0
        for colour, maximum, shift in zip((red, green, blue), maxima, shifts, strict=True):
            value |= (colour * maximum + 127) // 255 << shift
        data += value.to_bytes(layout.bits_per_pixel // 8, "big" if layout.big_endian else "little")
    return bytes(data)


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (BGRX, "30 20 10 00"),
        (PixelLayout(shifts=(0, 8, 16)), "10 20 30 00"),
        (PixelLayout(big_endian=True), "00 10 20 30"),
        (PixelLayout(shifts=(24, 16, 8)), "00 30 20 10"),
        (RGB565, "06 11"),  # 2 << 11 | 8 << 5 | 6
        (PixelLayout(16, 16, True, maxima=(31, 63, 31), shifts=(11, 5, 0)), "11 06"),
        (BGR233, "48"),  # 0, 1 << 3, 1 << 6
        (INDEXED, "05"),
    ],
)
def test_a_pixel_stands_on_the_wire_as_the_format_says(layout, expected):
    assert convert(pixel(0x30, 0x20, 0x10), layout).tobytes() == bytes.fromhex(expected)


@given(data=st.data())
def test_pictures_become_what_the_text_says(pictures, layouts, data):
    picture, layout = data.draw(pictures)[:20, :20], data.draw(layouts)
    assert convert(picture, layout).tobytes() == convert_slowly(picture, layout)


@given(data=st.data())
def test_the_extension_makes_the_same_pixels(extension, pictures, layouts, data):
    picture, layout = data.draw(pictures)[::-1, :7], data.draw(layouts)
    for form in (full_pixel(layout), cpixel(layout), tpixel(layout)):
        assert extension.rfb_pixels(picture, form.packed_tables, form.size) == form.store(form.values(picture))


@given(data=st.data())
def test_every_form_expands_to_client_pixels(pictures, layouts, data):
    picture, layout = data.draw(pictures), data.draw(layouts)
    expected = convert(picture, layout)
    assert expected.dtype == layout.dtype
    for form in (full_pixel(layout), cpixel(layout), tpixel(layout)):
        assert (form.expand(form.pack(picture)).reshape(expected.shape) == expected).all()


@given(data=st.data())
def test_what_is_restored_converts_to_the_same_pixels(pictures, layouts, data):
    picture, layout = data.draw(pictures), data.draw(layouts)
    pixels = convert(picture, layout)
    restored = restore(pixels, layout)
    assert (restored[..., 3] == 255).all()
    assert (convert(restored, layout) == pixels).all()
    if layout.maxima == (255, 255, 255):
        assert (restored[..., :3] == picture[..., :3]).all()


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (BGRX, "30 20 10"),
        (PixelLayout(big_endian=True), "10 20 30"),  # bytes 1, 2, 3
        (PixelLayout(shifts=(24, 16, 8)), "30 20 10"),  # bytes 1, 2, 3
        (PixelLayout(big_endian=True, shifts=(24, 16, 8)), "10 20 30"),  # bytes 0, 1, 2
        (PixelLayout(depth=32), "30 20 10 00"),
        (PixelLayout(shifts=(0, 12, 24)), "10 00 02 30"),
        (PixelLayout(depth=16, maxima=(31, 63, 31), shifts=(19, 13, 8)), "00 06 11"),
        (PixelLayout(depth=16, big_endian=True, maxima=(31, 63, 31), shifts=(19, 13, 8)), "00 11 06"),
        (RGB565, "06 11"),
        (INDEXED, "05"),
    ],
)
def test_a_cpixel_leaves_out_the_byte_without_colours(layout, expected):
    assert cpixel(layout).pack(pixel(0x30, 0x20, 0x10)) == bytes.fromhex(expected)


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (BGRX, "10 20 30"),
        (PixelLayout(shifts=(0, 8, 16)), "10 20 30"),
        (PixelLayout(big_endian=True, shifts=(24, 16, 8)), "10 20 30"),
        (PixelLayout(depth=32), "30 20 10 00"),
        (PixelLayout(depth=24, maxima=(255, 127, 255), shifts=(16, 8, 0)), "30 10 10 00"),
        (RGB565, "06 11"),
    ],
)
def test_a_tpixel_is_red_green_blue_if_the_format_has_eight_bits_of_each(layout, expected):
    assert tpixel(layout).pack(pixel(0x30, 0x20, 0x10)) == bytes.fromhex(expected)


def test_the_colour_map_has_the_colours_that_indices_are_made_for():
    entries = colour_map()
    assert len(entries) == 256
    assert entries[0] == (0, 0, 0)
    assert entries[255] == (65535, 65535, 65535)
    assert entries[0b001_000_00] == (9362, 0, 0)
    for index in range(256):
        red, green, blue = (colour >> 8 for colour in entries[index])
        assert convert(pixel(blue, green, red), INDEXED)[0, 0] == index


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"bits_per_pixel": 24}, "24 bits per pixel"),
        ({"bits_per_pixel": 0}, "0 bits per pixel"),
        ({"depth": 0}, "depth 0"),
        ({"depth": 33}, "depth 33"),
        ({"bits_per_pixel": 16, "depth": 24}, "depth 24"),
        ({"maxima": (255, 0, 255)}, "maximum 0"),
        ({"maxima": (255, 254, 255)}, "maximum 254"),
        ({"maxima": (511, 255, 255), "depth": 32}, "maximum 511"),
        ({"shifts": (25, 8, 0)}, "shifted by 25"),
        ({"shifts": (16, 8, 7)}, "overlap"),
        ({"depth": 23}, "24 bits, depth 23"),
        ({"true_colour": False}, "colour map of 32 bits"),
        ({"true_colour": False, "bits_per_pixel": 8, "depth": 4}, "depth 4"),
    ],
)
def test_a_format_that_is_not_legal_is_refused(arguments, reason):
    with pytest.raises(CodecError, match=reason):
        PixelLayout(**arguments)


@given(
    st.integers(0, 255),
    st.integers(0, 255),
    st.booleans(),
    st.booleans(),
    st.tuples(*[st.integers(0, 65535)] * 3),
    st.tuples(*[st.integers(0, 255)] * 3),
)
def test_any_format_is_refused_or_served(bits_per_pixel, depth, big_endian, true_colour, maxima, shifts):
    try:
        layout = PixelLayout(bits_per_pixel, depth, big_endian, true_colour, maxima, shifts)
    except CodecError:
        return
    picture = pixel(1, 127, 255)
    assert (restore(convert(picture, layout), layout)[..., 3] == 255).all()


def test_what_is_no_client_pixels_is_not_restored():
    with pytest.raises(LocalProtocolError):
        restore(np.zeros((2, 2), "<u2"), BGRX)
    with pytest.raises(LocalProtocolError):
        cpixel(BGRX).expand(b"1234")


@pytest.mark.parametrize(("tables", "size"), [(b"", 4), (bytes(3072), 0), (bytes(3072), 5), (bytes(3071), 3)])
def test_the_extension_refuses_forms_that_are_none(extension, tables, size):
    with pytest.raises(ValueError, match="pixel form"):
        extension.rfb_pixels(np.zeros((1, 1, 4), np.uint8), tables, size)
    with pytest.raises(ValueError, match="a picture is"):
        extension.rfb_pixels(np.zeros((1, 1, 3), np.uint8), bytes(3072), 4)
