import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.codecs import painting


@st.composite
def items(draw):
    """Colours and bitmaps on, beside and partly on a screen of 40x30."""
    left, top = draw(st.integers(-20, 45)), draw(st.integers(-20, 35))
    width, height = draw(st.integers(0, 50)), draw(st.integers(0, 40))
    place = (left, top, left + width, top + height)
    if draw(st.booleans()):
        return (*place, draw(st.integers(0, 0xFFFFFF)))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    pixels = random.integers(0, 2**32, (2 * height, 2 * width), np.uint32)
    views = {
        "whole": pixels[:height, :width].copy(),
        "part": pixels[height:, width:],
        "upside down": pixels[:height, :width][::-1],
        "mirrored": pixels[:height, :width][:, ::-1],
        "every second": pixels[::2, ::2],
    }
    return (*place, views[draw(st.sampled_from(sorted(views)))])


def slow_paint(screen, item):
    """Pixel by pixel."""
    left, top, right, bottom, content = item
    for y in range(max(top, 0), min(bottom, screen.shape[0])):
        for x in range(max(left, 0), min(right, screen.shape[1])):
            screen[y, x] = painting.OPAQUE | content if isinstance(content, int) else content[y - top, x - left]


@pytest.mark.parametrize("paint", [painting.paint, painting.paint_python], ids=["paint", "python"])
@given(painted=st.lists(items(), max_size=4), data=st.data())
def test_a_part_shows_what_the_whole_screen_shows_there(paint, painted, data):
    screen = np.zeros((30, 40), np.uint32)
    for item in painted:
        slow_paint(screen, item)
    left, top = data.draw(st.integers(0, 39)), data.draw(st.integers(0, 29))
    right, bottom = data.draw(st.integers(left, 40)), data.draw(st.integers(top, 30))
    around = np.full((34, 44), 7, np.uint32)  # what is beside the part stays as it is
    part = around[2 : 2 + bottom - top, 2 : 2 + right - left]
    part[...] = 0
    paint(part, left, top, data.draw(st.sampled_from([list, tuple]))(painted))
    assert np.array_equal(part, screen[top:bottom, left:right])
    part[...] = 7
    assert (around == 7).all()


PIXELS = np.zeros((4, 4), np.uint32)
BITMAP = np.zeros((2, 3), np.uint32)
WRONG = {
    "a bitmap of another size": lambda paint: paint(PIXELS.copy(), 0, 0, [(0, 0, 2, 2, BITMAP)]),
    "one that is not there": lambda paint: paint(PIXELS.copy(), 0, 0, [(0, 0, 3, 3, BITMAP)]),
    "a row of pixels": lambda paint: paint(PIXELS.copy(), 0, 0, [(0, 0, 3, 1, BITMAP[0])]),
}


@pytest.mark.parametrize("paint", [painting.paint, painting.paint_python], ids=["paint", "python"])
@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_a_bitmap_has_the_size_of_its_place(paint, call):
    with pytest.raises(ValueError, match="size"):
        call(paint)


@pytest.mark.parametrize("paint", [painting.paint, painting.paint_python], ids=["paint", "python"])
def test_pixels_may_begin_at_any_byte_as_they_do_behind_a_header(paint):
    packet = bytearray(3 + 4 * 8 * 9)
    pixels = np.frombuffer(packet, np.uint8, offset=3).reshape(8, 36).view("<u4")
    bitmap = np.arange(12, dtype=np.uint32).reshape(3, 4)
    paint(pixels, 10, 20, [(10, 20, 19, 28, 0xABCDEF), (12, 21, 16, 24, bitmap)])
    expected = np.full((8, 9), painting.OPAQUE | 0xABCDEF, np.uint32)
    expected[1:4, 2:6] = bitmap
    assert np.array_equal(pixels, expected)
    assert packet[:3] == bytes(3)


BAD_ARGUMENTS = {
    "pixels that cannot be written": lambda e: e.paint(bytes(64), 0, 0, []),
    "bytes for pixels": lambda e: e.paint(np.zeros((4, 4), np.uint8), 0, 0, []),
    "a row": lambda e: e.paint(np.zeros(4, np.uint32), 0, 0, []),
    "pixels apart": lambda e: e.paint(np.zeros((4, 8), np.uint32)[:, ::2], 0, 0, []),
    "a place that is far away": lambda e: e.paint(PIXELS.copy(), 1 << 62, 0, []),
    "an item that is far away": lambda e: e.paint(PIXELS.copy(), 0, 0, [(0, 0, 1 << 62, 4, 1)]),
    "half an item": lambda e: e.paint(PIXELS.copy(), 0, 0, [(0, 0, 4)]),
    "no item": lambda e: e.paint(PIXELS.copy(), 0, 0, [7]),
    "no items": lambda e: e.paint(PIXELS.copy(), 0, 0, 7),
    "text for a number": lambda e: e.paint(PIXELS.copy(), 0, 0, [("0", 0, 4, 4, 1)]),
    "a colour below zero": lambda e: e.paint(PIXELS.copy(), 0, 0, [(0, 0, 4, 4, -1)]),
    "text for a colour": lambda e: e.paint(PIXELS.copy(), 0, 0, [(0, 0, 4, 4, "red")]),
    "bytes for a bitmap": lambda e: e.paint(PIXELS.copy(), 0, 0, [(0, 0, 4, 4, bytes(64))]),
}


@pytest.mark.parametrize("call", BAD_ARGUMENTS.values(), ids=BAD_ARGUMENTS)
def test_the_extension_refuses_what_it_cannot_paint(extension, call):
    with pytest.raises((ValueError, TypeError, OverflowError, BufferError), match=r"\w"):
        call(extension)
