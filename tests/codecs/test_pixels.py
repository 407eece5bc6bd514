import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.codecs.errors import CodecError
from rdpprov.codecs.pixels import bytes_per_pixel, check_picture, check_size, pack, padded_width, unpack
from rdpprov.errors import LocalProtocolError


def pack_slowly(picture, bits_per_pixel):
    """One pixel after the other, with numbers."""
    rows = []
    for row in picture.tolist():
        data = b""
        for blue, green, red, _ in row:
            match bits_per_pixel:
                case 15:
                    data += ((red // 8) * 1024 + (green // 8) * 32 + blue // 8).to_bytes(2, "little")
                case 16:
                    data += ((red // 8) * 2048 + (green // 4) * 32 + blue // 8).to_bytes(2, "little")
                case 24:
                    data += bytes((blue, green, red))
                case 32:
                    data += bytes((blue, green, red, 255))
        rows.append(data)
    return rows


@pytest.mark.parametrize("bits_per_pixel", [15, 16, 24, 32])
@given(data=st.data())
def test_packing_equals_what_pixels_give_one_by_one(pictures, bits_per_pixel, data):
    picture = data.draw(pictures)[:9, :9]
    assert [row.tobytes() for row in pack(picture, bits_per_pixel)] == pack_slowly(picture, bits_per_pixel)


@pytest.mark.parametrize("bits_per_pixel", [15, 16])
def test_every_value_of_a_high_colour_pixel_survives_unpacking(bits_per_pixel):
    values = np.arange(1 << bits_per_pixel, dtype="<u2").reshape(128, -1)
    rows = values.view(np.uint8)
    assert (pack(unpack(rows, bits_per_pixel), bits_per_pixel) == rows).all()


@pytest.mark.parametrize("bits_per_pixel", [24, 32])
@given(data=st.data())
def test_true_colour_survives_packing(pictures, bits_per_pixel, data):
    picture = data.draw(pictures)
    unpacked = unpack(pack(picture, bits_per_pixel), bits_per_pixel)
    assert (unpacked[..., :3] == picture[..., :3]).all()
    assert (unpacked[..., 3] == 255).all()


@pytest.mark.parametrize("bits_per_pixel", [15, 16])
def test_black_and_white_stay_black_and_white(bits_per_pixel):
    picture = np.array([[[0, 0, 0, 255], [255, 255, 255, 255]]], np.uint8)
    assert (unpack(pack(picture, bits_per_pixel), bits_per_pixel) == picture).all()


def test_a_picture_that_lies_otherwise_in_memory_is_copied_and_others_are_not():
    picture = np.zeros((4, 6, 4), np.uint8)
    assert check_picture(picture) is picture
    turned = picture[::-1, 1:5]
    assert check_picture(turned) is turned
    assert check_picture(picture[:, ::2]).strides[1:] == (4, 1)


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((4, 4, 3), np.uint8),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.int16),
        np.zeros((0, 4, 4), np.uint8),
        np.zeros((4, 0, 4), np.uint8),
        np.zeros((1, 8193, 4), np.uint8),
    ],
    ids=["three bytes", "flat", "int16", "no row", "no column", "too wide"],
)
def test_what_is_no_picture_is_the_callers_fault(picture):
    with pytest.raises(LocalProtocolError):
        pack(picture, 16)


@pytest.mark.parametrize("bits_per_pixel", [0, 1, 4, 12, 48])
def test_a_depth_that_nobody_has_is_the_callers_fault(bits_per_pixel):
    with pytest.raises(LocalProtocolError):
        bytes_per_pixel(bits_per_pixel)
    with pytest.raises(LocalProtocolError):
        pack(np.zeros((1, 1, 4), np.uint8), bits_per_pixel)
    with pytest.raises(LocalProtocolError):
        unpack(np.zeros((1, 12), np.uint8), bits_per_pixel)


@pytest.mark.parametrize(("width", "height"), [(0, 1), (1, 0), (-4, 4), (8193, 1), (1, 65535)])
def test_a_size_from_the_wire_is_refused_before_memory_is_taken(width, height):
    with pytest.raises(CodecError):
        check_size(width, height)


@pytest.mark.parametrize(("width", "padded"), [(1, 4), (3, 4), (4, 4), (5, 8), (1366, 1368)])
def test_widths_are_padded_to_four(width, padded):
    assert padded_width(width) == padded
