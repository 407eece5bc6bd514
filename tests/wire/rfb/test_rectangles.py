import pytest
from construct import Bytes, Int8ub, Int16ub, Int32sb, Int32ub, Padding, PrefixedArray, Struct
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.errors import LocalProtocolError
from rdpprov.wire.base import DecodeError
from rdpprov.wire.rfb.encodings import (
    Encoding,
    Subsampling,
    compression_encoding,
    compression_level,
    fine_quality,
    quality_encoding,
    quality_level,
    subsampling,
)
from rdpprov.wire.rfb.pixel_format import BGRX, COLOUR_MAP, RGB565, RGBX
from rdpprov.wire.rfb.rectangles import (
    EXTENDED_MOUSE_BUTTONS,
    LAST_RECT,
    MAX_CURSOR,
    MAX_NAME,
    PSEUDO_ENCODINGS,
    QEMU_KEY_EVENTS,
    EncodedRectangle,
    RectangleHeader,
    UnknownEncodingError,
    copy_rect,
    cursor,
    cursor_with_alpha,
    desktop_name,
    desktop_size,
    extended_desktop_size,
    led_state,
    pointer_position,
    pseudo_data_size,
    unpack_copy_rect,
    unpack_cursor,
    unpack_desktop_name,
    unpack_extended_desktop_size,
    vmware_cursor,
    vmware_cursor_position,
    vmware_led_state,
)
from rdpprov.wire.rfb.screens import ResizeReason, ResizeStatus, ScreenArea, layout_problem

u8, u16, u32 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32))
i32 = st.integers(-(2**31), 2**31 - 1)
screens = st.builds(ScreenArea, u32, u16, u16, u16, u16, u32)
formats = st.sampled_from([BGRX, RGBX, RGB565, COLOUR_MAP])
HEADER = Struct("x" / Int16ub, "y" / Int16ub, "width" / Int16ub, "height" / Int16ub, "encoding" / Int32sb)


@st.composite
def cursors(draw):
    """A pixel format and a rectangle with a pointer's shape, in one of three encodings."""
    width, height, pixel_format = draw(st.integers(0, 20)), draw(st.integers(0, 20)), draw(formats)
    place = draw(u16), draw(u16), width, height
    if draw(st.booleans()):
        rgba = draw(st.binary(min_size=4 * width * height, max_size=4 * width * height))
        return pixel_format, draw(st.sampled_from([cursor_with_alpha, vmware_cursor]))(*place, rgba)
    pixels = bytes(width * height * pixel_format.bytes_per_pixel)
    return pixel_format, cursor(*place, pixels, b"\xa5" * ((width + 7) // 8 * height))


pseudo = st.one_of(
    cursors(),
    st.tuples(
        formats,
        st.one_of(
            st.builds(led_state, u8),
            st.builds(vmware_led_state, u32),
            st.builds(pointer_position, u16, u16),
            st.builds(vmware_cursor_position, u16, u16),
            st.builds(desktop_size, u16, u16),
            st.builds(extended_desktop_size, u16, u16, st.lists(screens, max_size=5)),
            st.builds(desktop_name, st.text(max_size=20)),
            st.sampled_from([QEMU_KEY_EVENTS, EXTENDED_MOUSE_BUTTONS, LAST_RECT]),
        ),
    ),
)


@given(u16, u16, u16, u16, i32, st.binary(max_size=5))
def test_a_header_round_trips_and_is_what_its_construct_definition_says(x, y, width, height, encoding, rest):
    header = RectangleHeader(x, y, width, height, encoding)
    assert RectangleHeader.unpack(header.pack() + rest) == (header, rest)
    assert HEADER.build({"x": x, "y": y, "width": width, "height": height, "encoding": encoding}) == header.pack()
    assert EncodedRectangle(x, y, width, height, encoding, rest).pack() == header.pack() + rest
    with pytest.raises(DecodeError):
        RectangleHeader.unpack(header.pack()[:-1])


@given(pseudo, st.binary(max_size=5), st.data())
def test_where_a_pseudo_rectangle_ends_is_known_in_time(example, rest, data):
    pixel_format, rectangle = example
    header, body = RectangleHeader.unpack(rectangle.pack())
    assert pseudo_data_size(header, pixel_format, body + rest) == len(body)
    cut = body[: data.draw(st.integers(0, len(body)))]
    assert pseudo_data_size(header, pixel_format, cut) in (None, len(body))


@given(st.sampled_from(sorted(PSEUDO_ENCODINGS)), u16, u16, formats, st.binary(max_size=30))
def test_any_bytes_in_a_pseudo_rectangle_have_an_end_or_raise_our_error(encoding, width, height, pixel_format, data):
    try:
        size = pseudo_data_size(RectangleHeader(0, 0, width, height, encoding), pixel_format, data)
    except DecodeError:
        return
    assert size is None or 0 <= size < 2_000_000


def test_an_encoding_that_nobody_asked_for_is_refused():
    for encoding in (Encoding.JPEG, Encoding.QEMU_AUDIO, 12345, -12345):
        with pytest.raises(UnknownEncodingError):
            pseudo_data_size(RectangleHeader(0, 0, 1, 1, encoding), BGRX, bytes(100))


def test_cursors_and_names_have_limits():
    for encoding in (Encoding.CURSOR, Encoding.CURSOR_WITH_ALPHA, Encoding.VMWARE_CURSOR):
        with pytest.raises(DecodeError, match="a cursor of 257x1"):
            pseudo_data_size(RectangleHeader(0, 0, MAX_CURSOR + 1, 1, encoding), BGRX, b"")
    name = (MAX_NAME + 1).to_bytes(4, "big")
    with pytest.raises(DecodeError, match="a name of"):
        pseudo_data_size(RectangleHeader(0, 0, 0, 0, Encoding.DESKTOP_NAME), BGRX, name)
    with pytest.raises(DecodeError, match="type 2"):
        pseudo_data_size(RectangleHeader(0, 0, 1, 1, Encoding.VMWARE_CURSOR), BGRX, b"\2\0")
    with pytest.raises(UnknownEncodingError):
        pseudo_data_size(RectangleHeader(0, 0, 1, 1, Encoding.CURSOR_WITH_ALPHA), BGRX, b"\0\0\0\x07")


@given(cursors())
def test_a_cursor_gives_back_its_pixels(example):
    pixel_format, rectangle = example
    size = rectangle.width, rectangle.height
    colours, mask = unpack_cursor(rectangle.encoding, *size, pixel_format, rectangle.data)
    if rectangle.encoding == Encoding.CURSOR:
        assert cursor(rectangle.x, rectangle.y, *size, colours, mask) == rectangle
    else:
        make = cursor_with_alpha if rectangle.encoding == Encoding.CURSOR_WITH_ALPHA else vmware_cursor
        assert make(rectangle.x, rectangle.y, *size, colours) == rectangle


def test_a_cursor_that_nobody_draws_is_refused():
    with pytest.raises(DecodeError):
        unpack_cursor(Encoding.X_CURSOR, 1, 1, BGRX, bytes(8))
    with pytest.raises(DecodeError):
        unpack_cursor(Encoding.VMWARE_CURSOR, 1, 1, BGRX, bytes(10))


@given(u16, u16, st.lists(screens, max_size=5), st.sampled_from(ResizeReason), st.sampled_from(ResizeStatus))
def test_the_size_and_its_screens_are_what_their_construct_definition_says(width, height, areas, reason, status):
    rectangle = extended_desktop_size(width, height, areas, reason, status)
    assert (rectangle.x, rectangle.y, rectangle.width, rectangle.height) == (reason, status, width, height)
    screen = Struct("id" / Int32ub, "place" / Int16ub[4], "flags" / Int32ub)
    parsed = Struct("count" / Int8ub, Padding(3), "screens" / screen[len(areas)]).parse(rectangle.data)
    assert parsed.count == len(areas)
    assert [(one.id, *one.place, one.flags) for one in parsed.screens] == [
        (area.screen_id, area.x, area.y, area.width, area.height, area.flags) for area in areas
    ]
    assert unpack_extended_desktop_size(rectangle.data) == tuple(areas)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_name_comes_out_as_it_went_in(name):
    data = desktop_name(name).data
    assert unpack_desktop_name(data) == name
    assert bytes(PrefixedArray(Int32ub, Int8ub).parse(data)) == name.encode()


@given(u16, u16)
def test_where_to_copy_from_comes_out_as_it_went_in(x, y):
    rectangle = copy_rect(1, 2, 3, 4, x, y)
    assert unpack_copy_rect(rectangle.data) == (x, y)
    assert Bytes(4).parse(rectangle.data) == Int16ub.build(x) + Int16ub.build(y)


def test_numbers_that_do_not_fit_are_our_caller_s_fault():
    with pytest.raises(LocalProtocolError):
        EncodedRectangle(0, 0, 65536, 1, Encoding.RAW)
    with pytest.raises(LocalProtocolError):
        EncodedRectangle(0, 0, 1, 1, 0xC0A1E5CE)


ONE = ScreenArea(1, 0, 0, 800, 600)


@pytest.mark.parametrize(
    ("width", "height", "areas", "problem"),
    [
        (800, 600, [ONE], ""),
        (1600, 600, [ONE, ScreenArea(2, 800, 0, 800, 600)], ""),
        (0, 600, [ONE], "a desktop of 0x600"),
        (800, 0, [ONE], "a desktop of 800x0"),
        (800, 600, [], "no screen"),
        (800, 600, [ScreenArea(number, 0, 0, 800, 600) for number in range(16)], ""),
        (800, 600, [ScreenArea(number, 0, 0, 800, 600) for number in range(17)], "17 screens"),
        (800, 600, [ONE, ONE], "two screens with one id"),
        (800, 600, [ScreenArea(1, 0, 0, 0, 600)], "screen 1 is 0x600"),
        (800, 600, [ScreenArea(1, 1, 0, 800, 600)], "not inside"),
        (800, 600, [ScreenArea(1, 0, 65535, 800, 65535)], "not inside"),
        (65535, 65535, [ScreenArea(1, 65535, 0, 65535, 1)], "not inside"),
    ],
)
def test_screens_make_a_desktop_or_it_is_said_why_not(width, height, areas, problem):
    found = layout_problem(width, height, areas)
    assert (problem in found) if problem else not found


@given(st.integers(0, 9), st.integers(0, 9), st.lists(i32.filter(lambda number: not -800 < number < 0)))
def test_levels_are_read_where_they_stand(quality, compression, others):
    encodings = [*others, quality_encoding(quality), compression_encoding(compression), *others]
    assert quality_level(encodings) == quality
    assert compression_level(encodings) == compression
    assert quality_level(others) is compression_level(others) is fine_quality(others) is subsampling(others) is None


def test_levels_have_the_numbers_of_the_registry():
    assert [quality_encoding(0), quality_encoding(9)] == [-32, -23]
    assert [compression_encoding(0), compression_encoding(9)] == [-256, -247]
    assert [fine_quality([-512]), fine_quality([-412]), fine_quality([-411])] == [0, 100, None]
    assert [subsampling([number]) for number in (-768, -765, -763)] == [
        Subsampling.SUBSAMPLING_1X,
        Subsampling.GRAY,
        Subsampling.SUBSAMPLING_16X,
    ]
    assert quality_level([-25, -30]) == 7  # the first counts
    assert Encoding.EXTENDED_CLIPBOARD == 0xC0A1E5CE - 2**32
