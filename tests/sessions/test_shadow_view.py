"""Another session's desktop in a window of one's own size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.api.devices import Button, PointerButton, PointerMotion, PointerWheel, Rectangle, WheelAxis
from rdpprov.sessions.memory import MemoryDesktop
from rdpprov.sessions.shadow_view import Fit, FittedDesktop

SIZES = st.tuples(st.integers(200, 900), st.integers(200, 700))


def rectangles(width, height):
    return st.builds(
        lambda xs, ys: Rectangle(min(xs), min(ys), max(xs) + 1, max(ys) + 1),
        st.tuples(*[st.integers(0, width - 1)] * 2),
        st.tuples(*[st.integers(0, height - 1)] * 2),
    )


def drawn(width, height, seed=1):
    desktop = MemoryDesktop(width, height)
    with desktop.draw() as pixels:
        pixels[...] = np.random.default_rng(seed).integers(0, 256, pixels.shape, np.uint8)
    return desktop


@given(window=SIZES, picture=SIZES)
def test_a_picture_is_in_the_middle_and_never_larger_than_it_is_or_than_the_window(window, picture):
    fit = Fit.into(window, picture)
    place = fit.place
    assert Rectangle(0, 0, *window).intersection(place) == place
    assert place.width <= picture[0]
    assert place.height <= picture[1]
    assert fit.is_scaled is (picture[0] > window[0] or picture[1] > window[1])
    assert abs(place.left - (window[0] - place.right)) <= 1
    assert abs(place.top - (window[1] - place.bottom)) <= 1


@given(window=SIZES, picture=SIZES, data=st.data())
def test_what_is_pointed_at_is_what_is_seen_there(window, picture, data):
    fit = Fit.into(window, picture)
    x = data.draw(st.integers(fit.place.left, fit.place.right - 1))
    y = data.draw(st.integers(fit.place.top, fit.place.bottom - 1))
    column, row = fit.to_picture(x, y)
    assert 0 <= column < picture[0]
    assert 0 <= row < picture[1]
    seen = fit.around_in_window(Rectangle(column, row, column + 1, row + 1))
    assert seen.left <= x < seen.right
    assert seen.top <= y < seen.bottom


@given(window=SIZES, data=st.data())
def test_parts_that_are_grabbed_one_by_one_are_parts_of_the_whole(window, data):
    desktop = drawn(*data.draw(SIZES))
    screen = FittedDesktop(desktop, None, *window).open_screen(lambda: None)
    whole = screen.grab(Rectangle(0, 0, *window))
    part = data.draw(rectangles(*window))
    expected = whole[part.top : part.bottom, part.left : part.right, :3]
    assert (screen.grab(part)[..., :3] == expected).all()


@given(window=SIZES, data=st.data())
def test_damage_covers_all_that_looks_different(window, data):
    desktop = drawn(*data.draw(SIZES))
    screen = FittedDesktop(desktop, None, *window).open_screen(lambda: None)
    assert screen.take_damage() == [Rectangle(0, 0, *window)]
    before = screen.grab(Rectangle(0, 0, *window))
    with desktop.draw(data.draw(rectangles(desktop.width, desktop.height))) as pixels:
        pixels[...] ^= 0xFF
    after = before.copy()
    for part in screen.take_damage():
        screen.grab(part, after[part.top : part.bottom, part.left : part.right])
    assert (after[..., :3] == screen.grab(Rectangle(0, 0, *window))[..., :3]).all()


async def test_a_desktop_that_gets_another_size_is_fitted_anew():
    desktop = drawn(300, 300)
    screen = FittedDesktop(desktop, None, 400, 300).open_screen(lambda: None)
    screen.take_damage()
    await desktop.resize(800, 300)
    assert (screen.width, screen.height) == (400, 300)
    assert screen.take_damage() == [Rectangle(0, 0, 400, 300)]
    assert (screen.grab(Rectangle(0, 0, 400, 75))[..., :3] == 0).all()


def test_presses_beside_the_picture_are_lost_and_everything_else_goes_where_it_is_seen():
    events = []
    desktop = MemoryDesktop(400, 400, on_input=events.append)
    fitted = FittedDesktop(desktop, desktop, 400, 200)
    for event in (
        PointerMotion(0, 0),
        PointerButton(Button.LEFT, True, 0, 0),
        PointerButton(Button.LEFT, True, 200, 100),
        PointerButton(Button.LEFT, False, 399, 199),
        PointerWheel(WheelAxis.VERTICAL, 120, 150, 50),
    ):
        fitted.input_event(event)
    assert events == [
        PointerMotion(0, 0),
        PointerButton(Button.LEFT, True, 200, 200),
        PointerButton(Button.LEFT, False, 398, 398),
        PointerWheel(WheelAxis.VERTICAL, 120, 100, 100),
    ]


@pytest.mark.parametrize("size", [(200, 200), (8192, 200), (200, 8192)])
def test_every_size_of_desktop_can_be_seen_in_the_smallest_window(size):
    screen = FittedDesktop(MemoryDesktop(*size), None, 200, 200).open_screen(lambda: None)
    assert screen.grab(Rectangle(0, 0, 200, 200)).shape == (200, 200, 4)
