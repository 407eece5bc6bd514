import attrs
import pytest
from construct import Flag, Int8ub, Int16ub, Padding, Struct
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.errors import LocalProtocolError
from rdpprov.wire.base import DecodeError
from rdpprov.wire.rfb.pixel_format import BGR233, BGRX, COLOUR_MAP, RGB565, RGBX, PixelFormat

PIXEL_FORMAT = Struct(
    "bits_per_pixel" / Int8ub,
    "depth" / Int8ub,
    "big_endian" / Flag,
    "true_colour" / Flag,
    "red_max" / Int16ub,
    "green_max" / Int16ub,
    "blue_max" / Int16ub,
    "red_shift" / Int8ub,
    "green_shift" / Int8ub,
    "blue_shift" / Int8ub,
    Padding(3),
)


@st.composite
def pixel_formats(draw):
    """Every legal one: three components of 1 to 8 bits, anywhere, in any order."""
    if draw(st.integers(0, 20)) == 0:
        return attrs.evolve(COLOUR_MAP, big_endian=draw(st.booleans()))
    bits_per_pixel = draw(st.sampled_from([8, 16, 32]))
    bits = draw(
        st.tuples(*[st.integers(1, 8)] * 3).filter(lambda bits: sum(bits) <= bits_per_pixel)
        if bits_per_pixel > 8
        else st.sampled_from([(1, 1, 1), (2, 2, 2), (3, 3, 2), (2, 3, 3), (1, 1, 6), (4, 2, 2)])
    )
    shifts, at = {}, 0
    slack = bits_per_pixel - sum(bits)
    for component in draw(st.permutations(range(3))):
        gap = draw(st.integers(0, slack))
        slack -= gap
        at += gap
        shifts[component] = at
        at += bits[component]
    depth = draw(st.integers(sum(bits), bits_per_pixel))
    maxima = [2**count - 1 for count in bits]
    return PixelFormat(bits_per_pixel, depth, draw(st.booleans()), True, *maxima, shifts[0], shifts[1], shifts[2])


@given(pixel_formats(), st.binary(max_size=5))
def test_every_legal_format_round_trips_and_is_what_its_construct_definition_says(pixel_format, rest):
    packed = pixel_format.pack()
    assert len(packed) == PixelFormat.SIZE
    assert PixelFormat.unpack(packed + rest) == (pixel_format, rest)
    assert PIXEL_FORMAT.build(attrs.asdict(pixel_format)) == packed
    parsed = PIXEL_FORMAT.parse(packed)
    assert {name: parsed[name] for name in attrs.asdict(pixel_format)} == attrs.asdict(pixel_format)


@pytest.mark.parametrize(
    "pixel_format",
    [
        BGRX,
        RGBX,
        RGB565,
        BGR233,
        COLOUR_MAP,
        attrs.evolve(BGRX, depth=32),  # UltraVNC's
        attrs.evolve(BGRX, red_shift=24, green_shift=16, blue_shift=8, big_endian=True),
        PixelFormat(16, 15, True, True, 31, 31, 31, 10, 5, 0),
        PixelFormat(8, 6, False, True, 3, 3, 3, 4, 2, 0),  # the formats of TigerVNC's viewer on slow lines
        PixelFormat(8, 3, False, True, 1, 1, 1, 2, 1, 0),
    ],
)
def test_formats_that_clients_ask_for_are_legal(pixel_format):
    assert PixelFormat.unpack(pixel_format.pack())[0] == pixel_format
    assert pixel_format.bytes_per_pixel * 8 == pixel_format.bits_per_pixel


@pytest.mark.parametrize(
    ("nonsense", "reason"),
    [
        ({"bits_per_pixel": 0}, "0 bits per pixel"),
        ({"bits_per_pixel": 24}, "24 bits per pixel"),
        ({"bits_per_pixel": 64}, "64 bits per pixel"),
        ({"depth": 0}, "depth 0"),
        ({"depth": 33}, "depth 33"),
        ({"depth": 23}, "depth 23 for components of 24 bits"),
        ({"red_max": 0}, "red-max 0"),
        ({"green_max": 254}, "green-max 254"),
        ({"blue_max": 511}, "blue-max 511"),
        ({"blue_max": 0xFFFF}, "blue-max 65535"),
        ({"red_shift": 25}, "red-shift 25"),
        ({"red_shift": 255}, "red-shift 255"),
        ({"red_shift": 15}, "components overlap"),
        ({"green_shift": 16}, "components overlap"),
        ({"true_colour": False}, "a colour map at 32 bits"),
    ],
)
def test_a_format_that_makes_no_sense_is_refused_with_the_reason(nonsense, reason):
    values = {**attrs.asdict(BGRX), **nonsense}
    with pytest.raises(LocalProtocolError, match=reason):
        PixelFormat(**values)
    with pytest.raises(DecodeError, match=reason):
        PixelFormat.unpack(PIXEL_FORMAT.build(values))


@given(st.binary(max_size=20))
def test_any_bytes_are_a_legal_format_or_our_error(data):
    try:
        pixel_format, rest = PixelFormat.unpack(data)
    except DecodeError:
        return
    assert len(rest) == len(data) - 16
    assert PixelFormat.unpack(pixel_format.pack())[0] == pixel_format


def test_colours_of_a_format_with_a_map_mean_nothing():
    data = PIXEL_FORMAT.build({**attrs.asdict(COLOUR_MAP), "red_max": 77, "red_shift": 200})
    assert PixelFormat.unpack(data)[0] == COLOUR_MAP
