from datetime import datetime, timedelta

import numpy as np
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from rdpprov.api.devices import (
    DEFAULT_POINTER,
    Button,
    LockKeys,
    PointerButton,
    PointerMotion,
    PointerWheel,
    Rectangle,
    ScancodeKey,
    UnicodeKey,
    WheelAxis,
)
from rdpprov.api.identity import UserToken
from rdpprov.sessions.base import ClientAttached, ClientDetached, DesktopRequest, Notice, SequenceStep
from rdpprov.sessions.demo import BRUSHES, MAX_TEXT, DemoDesktop, wrap
from rdpprov.sessions.demo_plan import plan_demo
from rdpprov.sessions.keyboard import EditKey
from rdpprov.sessions.memory import PixelBudget
from rdpprov.sessions.pointers import CROSSHAIR, I_BEAM
from rdpprov.sessions.screens import contains
from rdpprov.sessions.text import TextStyle, text_width

SIZES = [
    (200, 200),
    (320, 240),
    (480, 272),
    (640, 480),
    (1024, 768),
    (768, 1024),
    (2560, 1080),
    (8192, 8192),
    (8192, 200),
]
CLIENT = ClientAttached("LAPTOP", "192.0.2.7:5000", "rdp", "main", 1024, 768, 32, 0x407, 2600)


@pytest.fixture
def desktop(request_for):
    desktop = DemoDesktop(request_for(1024, 768))
    desktop.stop_clock()
    return desktop


def part(picture, rectangle):
    return picture[rectangle.top : rectangle.bottom, rectangle.left : rectangle.right].copy()


def ink(picture, colour):
    """Where a picture has just this colour."""
    wanted = [colour & 0xFF, colour >> 8 & 0xFF, colour >> 16 & 0xFF]
    return (picture[..., :3] == wanted).all(axis=2)


def drag(desktop, *points, button=Button.LEFT):
    desktop.input_event(PointerButton(button, True, *points[0]))
    for point in points[1:]:
        desktop.input_event(PointerMotion(*point))
    desktop.input_event(PointerButton(button, False, *points[-1]))


def test_typed_text_appears_in_its_field_and_nowhere_else(desktop, viewer, press):
    eye = viewer(desktop)
    eye.look()
    before = eye.picture.copy()
    press(desktop, "Hello")
    damage = eye.look()
    assert damage
    assert all(contains(desktop.text_area, rectangle) for rectangle in damage)
    changed = (eye.picture != before).any(axis=2)
    assert changed.sum() > 100
    area = desktop.text_area
    changed[area.top : area.bottom, area.left : area.right] = False
    assert not changed.any()
    assert desktop.text == "Hello"


def test_text_is_typed_with_the_layout_of_the_client(desktop):
    desktop.tell(CLIENT)  # German: the key where the US layout has y makes z
    desktop.input_event(ScancodeKey(0x15, True))
    desktop.tell(ClientAttached(keyboard_layout=0x409))
    desktop.input_event(ScancodeKey(0x15, True))
    assert desktop.text == "zy"


def test_what_is_damaged_is_all_that_changes(desktop, viewer, press):
    """A viewer that follows the damage sees the same as one that looks afresh."""
    eye = viewer(desktop)
    eye.look()
    area = desktop.canvas_area
    for action in (
        lambda: press(desktop, "one line\nand another, with ß and 中"),
        lambda: press(desktop, EditKey.UP, EditKey.HOME, EditKey.DELETE, EditKey.DOWN),
        lambda: desktop.tell(CLIENT),
        lambda: desktop.tell(SequenceStep("OnConnected", "listener", "service", 0.001)),
        lambda: [desktop.tell(SequenceStep(f"Call{n}", "service", "connection", n, "E_FAIL")) for n in range(40)],
        lambda: drag(desktop, (area.left + 5, area.top + 5), (area.left + 90, area.top + 70)),
        lambda: desktop.input_event(PointerWheel(WheelAxis.VERTICAL, 120, area.left, area.top)),
        lambda: drag(desktop, (area.left + 50, area.top + 5), button=Button.RIGHT),
        lambda: drag(desktop, (area.left + 90, area.top + 5), (area.right + 50, area.bottom + 70)),
        lambda: desktop.input_event(PointerButton(Button.LEFT, True, *middle(desktop.log_off_area))),
        lambda: desktop.tell(Notice("The service restarts.")),
        lambda: drag(desktop, (area.left + 50, area.top + 5), button=Button.MIDDLE),
        lambda: press(desktop, EditKey.ESCAPE),
        lambda: desktop.tell(ClientDetached()),
    ):
        action()
        assert eye.look()
        assert np.array_equal(eye.picture[..., :3], viewer(desktop).whole()[..., :3])


def middle(rectangle):
    return (rectangle.left + rectangle.right) // 2, (rectangle.top + rectangle.bottom) // 2


def test_pieces_of_a_grab_are_the_whole_of_it(desktop, viewer):
    desktop.tell(CLIENT)
    screen = viewer(desktop).screen
    whole = screen.grab(Rectangle(0, 0, 1024, 768))
    for top in range(0, 768, 100):
        for left in range(0, 1024, 130):
            piece = Rectangle(left, top, min(left + 130, 1024), min(top + 100, 768))
            assert np.array_equal(screen.grab(piece), part(whole, piece))


def test_a_stroke_is_drawn_in_the_colour_and_the_width_of_the_brush(desktop, viewer):
    eye = viewer(desktop)
    eye.look()
    area = desktop.canvas_area
    row = area.top + 100
    drag(desktop, (area.left + 10, row), (area.left + 300, row))
    eye.look()
    drawn = ink(part(eye.picture, area), BRUSHES[0])
    assert drawn[:, 150].sum() == 6 - 1 or drawn[:, 150].sum() == 6
    assert drawn[100, 10:300].all()
    for _ in range(8):
        desktop.input_event(PointerWheel(WheelAxis.VERTICAL, 120, area.left, area.top))
    drag(desktop, (area.left, area.top), button=Button.RIGHT)
    drag(desktop, (area.left + 10, row + 100), (area.left + 300, row + 100))
    eye.look()
    wider = ink(part(eye.picture, area), BRUSHES[1])
    assert wider[:, 150].sum() > 12
    drag(desktop, (area.left, area.top), button=Button.MIDDLE)
    eye.look()
    blank = part(eye.picture, area)
    assert not ink(blank, BRUSHES[0]).any()
    assert not ink(blank, BRUSHES[1]).any()


async def test_text_and_strokes_survive_resize_and_reconnect(desktop, viewer, press):
    area = desktop.canvas_area
    press(desktop, "still here")
    drag(desktop, (area.left + 10, area.top + 10), (area.left + 60, area.top + 60))
    eye = viewer(desktop)
    eye.look()
    before = part(eye.picture, Rectangle(area.left + 5, area.top + 5, area.left + 70, area.top + 70))
    eye.screen.close()
    desktop.tell(ClientDetached())
    await desktop.resize(640, 480)
    await desktop.resize(1600, 1200)
    desktop.tell(CLIENT)
    assert desktop.text == "still here"
    again = viewer(desktop)
    assert again.look() == [Rectangle(0, 0, 1600, 1200)]
    area = desktop.canvas_area
    drawn = part(again.picture, Rectangle(area.left + 5, area.top + 5, area.left + 70, area.top + 70))
    assert np.array_equal(before, drawn)


async def test_a_client_of_another_size_and_back_sees_the_same_picture(desktop, viewer, press):
    desktop.tell(CLIENT)
    press(desktop, "text")
    before = viewer(desktop).whole()
    await desktop.resize(300, 300)
    await desktop.resize(1024, 768)
    assert np.array_equal(before, viewer(desktop).whole())


def test_a_drawing_is_counted_against_the_budget_and_refused_beyond(request_for, viewer):
    budget = PixelBudget(limit=2 * 128 * 128 * 4)
    desktop = DemoDesktop(request_for(1024, 768), budget=budget)
    area = desktop.canvas_area
    drag(desktop, (area.left + 20, area.top + 20), (area.left + 500, area.top + 20))
    assert budget.used == budget.limit
    drag(desktop, (area.left + 20, area.top + 20), button=Button.MIDDLE)
    assert budget.used == 0


async def test_closing_gives_the_drawing_back(request_for):
    budget = PixelBudget()
    desktop = DemoDesktop(request_for(1024, 768), budget=budget)
    drag(desktop, middle(desktop.canvas_area))
    assert budget.used
    await desktop.aclose()
    assert (budget.used, desktop.text) == (0, "")


def test_the_pointer_follows_what_is_under_it(desktop, viewer):
    screen = viewer(desktop).screen
    assert screen.take_pointer() is DEFAULT_POINTER
    desktop.input_event(PointerMotion(*middle(desktop.text_area)))
    assert screen.take_pointer() is I_BEAM
    desktop.input_event(PointerMotion(*middle(desktop.canvas_area)))
    assert screen.take_pointer() is CROSSHAIR
    desktop.input_event(PointerMotion(0, 0))
    assert screen.take_pointer() is DEFAULT_POINTER
    assert screen.take_pointer() is None


async def test_log_off_ends_the_run(desktop):
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: desktop.run(task_status=task_status))
            x, y = middle(desktop.log_off_area)
            drag(desktop, (x, y), (0, 300))  # let go elsewhere: thought better of it
            drag(desktop, (0, 300), (x, y))
            await trio.testing.wait_all_tasks_blocked()
            assert nursery.child_tasks
            drag(desktop, (x, y))


def test_nothing_is_drawn_while_nobody_looks(desktop, viewer):
    eye = viewer(desktop)
    eye.look()
    built = []
    original = desktop.build
    desktop.build = lambda layer: built.append(layer) or original(layer)
    for number in range(100):
        desktop.tell(SequenceStep("GetClientData", "service", "connection", number / 1000))
    assert (built, eye.signals) == ([], 1)
    eye.look()
    assert built == ["sequence"]


def test_the_clock_can_be_stopped(request_for, viewer):
    time = datetime(2026, 1, 2, 13, 14, 15)
    desktop = DemoDesktop(request_for(1024, 768), now=lambda: time)
    desktop.input_event(PointerMotion(1, 1))
    eye = viewer(desktop)
    eye.look()
    before = eye.picture.copy()
    time += timedelta(seconds=3)
    desktop.invalidate("clock")
    [damage] = eye.look()  # one digit
    assert contains(plan_demo(1024, 768).clock, damage)
    assert not np.array_equal(before, eye.picture)
    desktop.stop_clock()
    time += timedelta(hours=3)
    desktop.invalidate("clock")
    assert eye.look() == []


async def test_the_clock_ticks_by_the_second_while_somebody_works_and_by_the_minute_after(
    request_for, viewer, autojump_clock
):
    start, begun = datetime(2026, 1, 2, 13, 0, 0), trio.current_time()
    desktop = DemoDesktop(request_for(1024, 768), now=lambda: start + timedelta(seconds=trio.current_time() - begun))
    eye = viewer(desktop)

    async def ticks_within(seconds):
        eye.look()
        eye.signals = 0
        for _ in range(seconds * 10):
            await trio.sleep(0.1)
            eye.look()
        return eye.signals

    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: desktop.run(task_status=task_status))
        assert await ticks_within(60) <= 2  # somebody connected, nobody works
        desktop.input_event(PointerMotion(1, 1))
        assert 8 <= await ticks_within(10) <= 12
        await trio.sleep(60)
        assert 8 <= await ticks_within(600) <= 12
        desktop.input_event(LockKeys(False, True, False, False))
        assert await ticks_within(10) <= 1
        desktop.input_event(PointerMotion(1, 1))
        assert 8 <= await ticks_within(10) <= 12
        nursery.cancel_scope.cancel()


async def test_a_desktop_that_nobody_looks_at_rests_and_one_whose_clock_is_stopped_too(
    request_for, viewer, autojump_clock
):
    asked = []

    def now():
        asked.append(trio.current_time())
        return datetime(2026, 1, 2, 13, 0, 0) + timedelta(seconds=trio.current_time())

    async def asked_within_an_hour():
        asked.clear()
        await trio.sleep(3600)
        return len(asked)

    desktop = DemoDesktop(request_for(1024, 768), now=now)
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: desktop.run(task_status=task_status))
        assert await asked_within_an_hour() == 0
        eye = viewer(desktop)
        assert 55 <= await asked_within_an_hour() <= 65
        eye.screen.close()
        assert await asked_within_an_hour() <= 1
        second = viewer(desktop)
        assert 55 <= await asked_within_an_hour() <= 65
        desktop.stop_clock()
        second.look()
        second.signals = 0
        assert await asked_within_an_hour() == 0
        assert second.signals == 0
        nursery.cancel_scope.cancel()


def test_who_looks_again_sees_the_clock_as_it_is(request_for, viewer):
    time = datetime(2026, 1, 2, 13, 14, 15)
    desktop = DemoDesktop(request_for(1024, 768), now=lambda: time)
    eye = viewer(desktop)
    eye.look()
    eye.screen.close()
    time += timedelta(hours=3)
    fresh = DemoDesktop(request_for(1024, 768), now=lambda: time)
    assert np.array_equal(viewer(desktop).whole(), viewer(fresh).whole())


def test_a_new_client_starts_a_new_sequence(desktop, viewer):
    desktop.tell(CLIENT)
    fresh = viewer(desktop).whole()
    desktop.tell(SequenceStep("LogonNotify", "service", "connection", 0.001))
    assert not np.array_equal(fresh, viewer(desktop).whole())
    desktop.tell(ClientDetached())
    desktop.tell(CLIENT)
    assert np.array_equal(fresh, viewer(desktop).whole())


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_size_has_its_most_important_parts_without_overlap(size):
    plan = plan_demo(*size)
    parts = [part for part in (plan.bar, plan.client, plan.text, plan.canvas, plan.sequence) if not part.is_empty()]
    for rectangle in (*parts, plan.clock, plan.log_off):
        assert contains(plan.screen, rectangle)
    for index, one in enumerate(parts):
        assert all(one.intersection(other).is_empty() for other in parts[index + 1 :])
    for important in (plan.text, plan.canvas, plan.sequence):
        inside = plan.content(important)
        assert inside.width >= 80
        assert inside.height >= 12


@pytest.mark.parametrize("size", [(200, 200), (333, 201), (1024, 768), (1999, 333)], ids=str)
def test_every_size_can_be_looked_at_and_used(size, viewer, press):
    desktop = DemoDesktop(DesktopRequest(1, UserToken("a-name-that-is-rather-long" * 4, "DOMAIN" * 9), *size))
    eye = viewer(desktop)
    desktop.tell(ClientAttached(*["long" * 90] * 4, *size, 32, 0x12345678, 1))
    for call in ("OnReady", "SessionArbitrationEnumeration" * 5):
        desktop.tell(SequenceStep(call, "license", "manager", 1e9, "0x8000FFFF" * 9))
    desktop.tell(Notice("notice " * 200))
    press(desktop, "W" * 500, EditKey.ENTER, "x\n" * 30)
    drag(desktop, (-5, -5), (size[0] + 5, size[1] + 5))
    drag(desktop, middle(desktop.canvas_area), (0, 0))
    eye.look()
    assert np.array_equal(eye.picture[..., :3], viewer(desktop).whole()[..., :3])


@pytest.mark.parametrize("size", [(200, 200), (1024, 768), (4096, 2160)], ids=str)
def test_a_notice_is_seen_on_every_screen_and_goes_when_it_is_over(size, viewer):
    desktop = DemoDesktop(DesktopRequest(1, UserToken("ann"), *size))
    desktop.stop_clock()
    eye = viewer(desktop)
    before = eye.whole()
    desktop.tell(Notice("In 60 seconds you will be disconnected."))
    eye.look()
    changed = np.argwhere((eye.whole() != before).any(axis=2))
    top, left = changed.min(axis=0)
    bottom, right = changed.max(axis=0)
    assert (left, right, bottom) == (0, size[0] - 1, size[1] - 1)
    assert top > size[1] * 0.75
    desktop.tell(Notice(""))
    assert eye.look()
    assert np.array_equal(eye.whole(), before)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_long_message_is_shown_in_lines_on_half_of_the_screen_at_most_and_a_click_closes_it(size, viewer):
    desktop = DemoDesktop(DesktopRequest(1, UserToken("ann"), *size))
    desktop.stop_clock()
    eye = viewer(desktop)
    before = eye.whole()
    one_line = height_of_change(desktop, eye, before, "Lunch!")
    assert height_of_change(desktop, eye, before, "Lunch!\nIn five minutes") > one_line
    assert height_of_change(desktop, eye, before, "A rather long message. " * 80) <= size[1] // 2
    desktop.input_event(PointerMotion(size[0] // 2, size[1] - 2))
    for pressed in (True, False):
        desktop.input_event(PointerButton(Button.LEFT, pressed, size[0] // 2, size[1] - 2))
    eye.look()
    assert np.array_equal(eye.whole(), before)


def height_of_change(desktop, eye, before, text):
    desktop.tell(Notice(text))
    eye.look()
    changed = (eye.whole() != before).any(axis=(1, 2))
    return int(changed.sum())


def test_text_is_bounded(desktop, press):
    press(desktop, "x" * (MAX_TEXT + 50))
    assert len(desktop.text) == MAX_TEXT


@given(st.text("ab 中\n", max_size=80), st.integers(10, 120))
def test_wrapped_lines_fit_and_hold_all_of_the_text(text, width):
    style = TextStyle(14)
    lines = wrap(text, style, width)
    assert "".join(text[begin:end] for begin, end in lines) == text.replace("\n", "")
    for begin, end in lines:
        line = text[begin:end]
        assert text_width(line.rstrip(" "), style) <= width or len(line) == 1


points = st.tuples(st.integers(-100, 1200), st.integers(-100, 900))
events = st.one_of(
    st.builds(ScancodeKey, st.integers(0, 127), st.booleans(), st.booleans(), st.booleans()),
    st.builds(UnicodeKey, st.characters(), st.booleans()),
    points.map(lambda point: PointerMotion(*point)),
    st.builds(lambda b, p, xy: PointerButton(b, p, *xy), st.sampled_from(Button), st.booleans(), points),
    st.builds(lambda r, xy: PointerWheel(WheelAxis.VERTICAL, r, *xy), st.integers(-500, 500), points),
    st.builds(LockKeys, st.booleans(), st.booleans(), st.booleans(), st.booleans()),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(events, max_size=30))
def test_no_input_breaks_it_and_damage_is_complete(sequence):
    desktop = DemoDesktop(DesktopRequest(1, UserToken("alice"), 640, 480))
    desktop.stop_clock()
    eye, picture = desktop.open_screen(lambda: None), np.zeros((480, 640, 4), np.uint8)
    for event in sequence:
        desktop.input_event(event)
        for r in eye.take_damage():
            eye.grab(r, picture[r.top : r.bottom, r.left : r.right])
    if sequence:
        whole = desktop.open_screen(lambda: None).grab(Rectangle(0, 0, 640, 480))
        assert np.array_equal(picture[..., :3], whole[..., :3])
