import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.codecs.errors import CodecError
from rdpprov.codecs.pointer import LARGE_POINTER, POINTER, POINTER_96, decode_pointer, encode_pointer
from rdpprov.errors import LocalProtocolError


@st.composite
def shapes(draw, max_side=40):
    height, width = draw(st.integers(1, max_side)), draw(st.integers(1, max_side))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    pixels = random.integers(0, 256, (height, width, 4), dtype=np.uint8)
    if draw(st.booleans()):
        pixels[..., 3] = random.choice(np.array([0, 255], np.uint8), (height, width))
    return pixels


def masks_slowly(pixels, bits_per_pixel):
    """The masks, one pixel after the other."""
    height, width = pixels.shape[:2]
    xor, screen = bytearray(), bytearray()
    for row in pixels.tolist() if bits_per_pixel == 1 else pixels.tolist()[::-1]:
        colours, lights, through = bytearray(), "", ""
        for blue, green, red, alpha in row:
            hidden = alpha < 128
            through += "1" if hidden else "0"
            if bits_per_pixel == 1:
                lights += "1" if not hidden and 29 * blue + 150 * green + 77 * red >= 128 * 256 else "0"
            else:
                colours += bytes((0, 0, 0) if hidden else (blue, green, red))
                if bits_per_pixel == 32:
                    colours.append(alpha)
        if bits_per_pixel == 1:
            colours = bits_to_bytes(lights)
        xor += colours + bytes(len(colours) % 2)
        mask = bits_to_bytes(through)
        screen += mask + bytes(len(mask) % 2)
    assert len(screen) == height * ((width + 15) // 16 * 2)
    return bytes(xor), bytes(screen)


def bits_to_bytes(bits):
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))


@pytest.mark.parametrize("bits_per_pixel", [1, 24, 32])
@given(pixels=shapes())
def test_masks_are_what_pixels_give_one_by_one(bits_per_pixel, pixels):
    pointer = encode_pointer(pixels, 0, 0, bits_per_pixel=bits_per_pixel, max_side=POINTER_96)
    assert (pointer.width, pointer.height) == (pixels.shape[1], pixels.shape[0])
    assert (pointer.xor_mask, pointer.and_mask) == masks_slowly(pixels, bits_per_pixel)


@given(pixels=shapes())
def test_a_client_with_alpha_shows_the_shape(pixels):
    pointer = encode_pointer(pixels, 0, 0, bits_per_pixel=32, max_side=POINTER_96)
    shown = decode_pointer(pointer.xor_mask, pointer.and_mask, pointer.width, pointer.height, 32)
    assert (shown[..., 3] == pixels[..., 3]).all()
    opaque = pixels[..., 3] >= 128
    assert (shown[opaque] == pixels[opaque]).all()
    assert not shown[~opaque][:, :3].any()


@given(pixels=shapes())
def test_a_client_without_alpha_shows_what_is_more_than_half_opaque(pixels):
    pointer = encode_pointer(pixels, 0, 0, bits_per_pixel=24, max_side=POINTER_96)
    shown = decode_pointer(pointer.xor_mask, pointer.and_mask, pointer.width, pointer.height, 24)
    opaque = pixels[..., 3] >= 128
    assert (shown[..., 3] == np.where(opaque, 255, 0)).all()
    assert (shown[opaque, :3] == pixels[opaque, :3]).all()


@given(pixels=shapes())
def test_a_client_of_two_colours_shows_black_and_white(pixels):
    pointer = encode_pointer(pixels, 0, 0, bits_per_pixel=1, max_side=POINTER_96)
    shown = decode_pointer(pointer.xor_mask, pointer.and_mask, pointer.width, pointer.height, 1)
    assert ((shown[..., 3] == 255) == (pixels[..., 3] >= 128)).all()
    assert set(np.unique(shown[..., :3]).tolist()) <= {0, 255}


@pytest.mark.parametrize("max_side", [1, POINTER, POINTER_96, LARGE_POINTER])
@given(pixels=shapes(120), hot_x=st.integers(-5, 130), hot_y=st.integers(-5, 130))
def test_a_shape_that_is_too_large_is_cut_around_its_tip(max_side, pixels, hot_x, hot_y):
    pointer = encode_pointer(pixels, hot_x, hot_y, max_side=max_side)
    assert pointer.width == min(pixels.shape[1], max_side)
    assert pointer.height == min(pixels.shape[0], max_side)
    assert 0 <= pointer.hot_x < pointer.width
    assert 0 <= pointer.hot_y < pointer.height
    shown = decode_pointer(pointer.xor_mask, pointer.and_mask, pointer.width, pointer.height, 32)
    tip = pixels[min(max(hot_y, 0), pixels.shape[0] - 1), min(max(hot_x, 0), pixels.shape[1] - 1)]
    assert shown[pointer.hot_y, pointer.hot_x, 3] == tip[3]


def test_pixels_that_invert_the_screen_are_shown_as_a_checkerboard():
    white, through = bytes((255,) * 3 * 2), b"\xc0\0"
    shown = decode_pointer(white * 2, through * 2, 2, 2, 24)
    assert shown[..., 0].tolist() == [[0, 255], [255, 0]]
    assert (shown[..., 3] == 255).all()


@given(
    xor=st.binary(max_size=64),
    screen=st.binary(max_size=16),
    width=st.integers(-1, 10),
    height=st.integers(-1, 10),
    bits_per_pixel=st.sampled_from([0, 1, 4, 8, 16, 24, 32]),
)
def test_any_masks_decode_or_raise_ours(xor, screen, width, height, bits_per_pixel):
    try:
        shown = decode_pointer(xor, screen, width, height, bits_per_pixel)
    except CodecError:
        return
    assert shown.shape == (height, width, 4)


def test_masks_of_another_length_are_the_peers_fault():
    pointer = encode_pointer(np.zeros((3, 5, 4), np.uint8), 0, 0)
    for xor, screen in (
        (pointer.xor_mask + b"\0", pointer.and_mask),
        (pointer.xor_mask[1:], pointer.and_mask),
        (pointer.xor_mask, pointer.and_mask + b"\0"),
        (pointer.xor_mask, b""),
    ):
        with pytest.raises(CodecError):
            decode_pointer(xor, screen, 5, 3, 32)


def test_wrong_arguments_are_the_callers_fault():
    shape = np.zeros((4, 4, 4), np.uint8)
    for pixels in (shape[..., :3], shape[:0], shape[:, :0], shape.astype(np.int32)):
        with pytest.raises(LocalProtocolError):
            encode_pointer(pixels, 0, 0)
    for bits_per_pixel in (0, 8, 16):
        with pytest.raises(LocalProtocolError):
            encode_pointer(shape, 0, 0, bits_per_pixel=bits_per_pixel)
    for max_side in (0, LARGE_POINTER + 1):
        with pytest.raises(LocalProtocolError):
            encode_pointer(shape, 0, 0, max_side=max_side)
