"""What is over a desktop while it is shadowed: only pixels that are read, never the desktop's own."""

import numpy as np
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from rdpprov.api.devices import (
    DEFAULT_POINTER,
    HIDDEN_POINTER,
    Button,
    PointerButton,
    PointerMotion,
    Rectangle,
    ScancodeKey,
)
from rdpprov.sessions.base import OverlayRequest
from rdpprov.sessions.memory import MemoryDesktop
from rdpprov.sessions.shadow_consent import GUARD, DesktopOverlay


@pytest.fixture(name="autojump_clock")
def _autojump_clock():
    return MockClock(autojump_threshold=0)


def over(desktop, **request):
    return DesktopOverlay(OverlayRequest(desktop, desktop, 0x409, request.pop("on_hot_key", lambda: None), **request))


def all_of(screen):
    return screen.grab(Rectangle(0, 0, screen.width, screen.height))[..., :3]


@given(
    parts=st.lists(st.tuples(*[st.integers(0, 299)] * 4), max_size=6),
    notices=st.lists(st.text(max_size=80), min_size=1, max_size=4),
)
def test_a_reader_that_follows_the_damage_always_has_what_is_there(parts, notices):
    desktop = MemoryDesktop(300, 300)
    overlay = over(desktop)
    screen = overlay.open_screen(lambda: None)
    kept = np.zeros((300, 300, 4), np.uint8)
    for number, notice in enumerate(notices):
        overlay.show_notice(notice)
        for left, top, right, bottom in parts:
            with desktop.draw(
                Rectangle(min(left, right), min(top, bottom), max(left, right), max(top, bottom))
            ) as area:
                area[...] = number * 50 + 7
        for part in screen.take_damage():
            screen.grab(part, kept[part.top : part.bottom, part.left : part.right])
        assert (kept[..., :3] == all_of(screen)).all()


def test_the_desktops_own_pixels_and_other_readers_do_not_have_the_notice():
    desktop = MemoryDesktop(300, 200)
    other = desktop.open_screen(lambda: None)
    overlay = over(desktop)
    screen = overlay.open_screen(lambda: None)
    overlay.show_notice("somebody is watching")
    assert all_of(screen).any()
    assert not all_of(other).any()


def test_a_change_of_the_notice_is_told_and_damages_no_more_than_it_covers():
    told = []
    overlay = over(MemoryDesktop(300, 200))
    screen = overlay.open_screen(lambda: told.append(None))
    screen.take_damage()
    told.clear()
    overlay.show_notice("somebody is watching")
    assert told
    assert all(part.bottom < 40 for part in screen.take_damage())
    screen.close()
    told.clear()
    overlay.show_notice("")
    assert not told


async def test_the_notice_is_there_again_after_a_change_of_size():
    desktop = MemoryDesktop(300, 200)
    overlay = over(desktop)
    overlay.show_notice("somebody is watching")
    screen = overlay.open_screen(lambda: None)
    screen.take_damage()
    await overlay.resize(900, 200)
    screen.take_damage()
    assert all_of(screen)[1, 450].any()


def test_clicks_on_the_notice_are_nobodys_and_all_others_are_the_desktops():
    events = []
    overlay = over(desktop := MemoryDesktop(300, 200, on_input=events.append))
    overlay.show_notice("somebody is watching")
    assert desktop.width == overlay.width
    for y in (5, 100):
        overlay.input_event(PointerMotion(150, y))
        overlay.input_event(PointerButton(Button.LEFT, True, 150, y))
        overlay.input_event(PointerButton(Button.LEFT, False, 150, 150))
    assert events == [
        PointerMotion(150, 5),
        PointerMotion(150, 100),
        PointerButton(Button.LEFT, True, 150, 100),
        PointerButton(Button.LEFT, False, 150, 150),
    ]


async def test_a_question_shows_the_pointer_that_the_desktop_hides_and_gives_it_back(autojump_clock):
    desktop = MemoryDesktop(300, 200)
    desktop.set_pointer(HIDDEN_POINTER)
    overlay = over(desktop)
    screen = overlay.open_screen(lambda: None)
    assert screen.take_pointer() is HIDDEN_POINTER
    async with trio.open_nursery() as nursery:
        nursery.start_soon(overlay.ask, "May they?", 5)
        await wait_all_tasks_blocked()
        assert screen.take_pointer() is DEFAULT_POINTER
        assert screen.take_pointer() is None
    assert screen.take_pointer() is HIDDEN_POINTER
    assert screen.take_pointer() is None


@pytest.mark.parametrize("size", [(200, 200), (640, 480), (8192, 300), (300, 4000)])
@pytest.mark.parametrize("button", ["yes", "no"])
async def test_both_buttons_can_be_clicked_on_every_screen(autojump_clock, size, button):
    overlay = over(MemoryDesktop(*size))
    answers = []

    async def ask():
        answers.append(await overlay.ask("Somebody with a long name wants to watch this session. Allow?", 60))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        await trio.sleep(GUARD)
        plan = overlay._question.plan(size)
        place = getattr(plan, button)
        assert place.intersection(Rectangle(0, 0, *size)) == place
        assert place.intersection(plan.panel) == place
        overlay.input_event(PointerButton(Button.LEFT, True, place.left, place.bottom - 1))
    assert answers == [button == "yes"]


async def test_the_end_of_a_press_that_answered_does_not_reach_the_desktop(autojump_clock):
    events = []
    overlay = over(MemoryDesktop(300, 200, on_input=events.append))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(overlay.ask, "May they?", 60)
        await wait_all_tasks_blocked()
        await trio.sleep(GUARD)
        overlay.input_event(ScancodeKey(0x1C, True))
    overlay.input_event(ScancodeKey(0x1C, False))
    overlay.input_event(ScancodeKey(0x1C, True))
    assert events == [ScancodeKey(0x1C, True)]
