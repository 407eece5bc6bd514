import mmap
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.api.devices import DEFAULT_POINTER, HIDDEN_POINTER, Move, Rectangle, ScancodeKey
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import LocalProtocolError
from rdpprov.sessions.memory import MemoryDesktop, PixelBudget, PixelBudgetError
from rdpprov.sessions.pointers import CROSSHAIR
from rdpprov.sessions.screens import DamageList, contains

SIZE = 300
edges = st.tuples(st.integers(-20, SIZE + 20), st.integers(-20, SIZE + 20)).map(sorted)
rectangles = st.builds(lambda x, y: Rectangle(x[0], y[0], x[1], y[1]), edges, edges)


def covered(rectangle_list):
    mask = np.zeros((SIZE + 40, SIZE + 40), bool)
    for r in rectangle_list:
        mask[r.top + 20 : r.bottom + 20, r.left + 20 : r.right + 20] = True
    return mask


@given(st.lists(rectangles, max_size=120), st.integers(1, 40))
def test_a_damage_list_is_bounded_and_loses_no_pixel(damaged, limit):
    damage = DamageList(limit)
    for rectangle in damaged:
        damage.add(rectangle)
    taken = damage.take()
    assert len(taken) <= limit
    assert not any(rectangle.is_empty() for rectangle in taken)
    assert not any(contains(one, other) for one in taken for other in taken if one is not other)
    assert covered(damaged)[~covered(taken)].sum() == 0
    assert damage.take() == []


@given(st.lists(rectangles, max_size=20))
def test_damage_that_fits_is_exact_up_to_rectangles_that_overlap(damaged):
    damage = DamageList(limit=1000)
    for rectangle in damaged:
        damage.add(rectangle)
    taken = damage.take()
    assert sum(r.width * r.height for r in taken) <= sum(r.width * r.height for r in damaged if not r.is_empty())


def test_every_reader_has_damage_of_its_own(viewer):
    desktop = MemoryDesktop(SIZE, SIZE)
    first = viewer(desktop)
    assert first.look() == [Rectangle(0, 0, SIZE, SIZE)]
    second = viewer(desktop)
    with desktop.draw(Rectangle(10, 20, 30, 40)) as pixels:
        pixels[...] = 7
    assert (first.signals, second.signals) == (1, 1)
    assert first.look() == [Rectangle(10, 20, 30, 40)]
    assert first.look() == []
    assert second.look() == [Rectangle(0, 0, SIZE, SIZE)]
    assert np.array_equal(first.picture, second.picture)
    assert (first.picture == 7).sum() == 20 * 20 * 4


def test_a_reader_is_told_once_until_it_takes(viewer):
    desktop = MemoryDesktop(SIZE, SIZE)
    reader = viewer(desktop)
    for _ in range(5):
        with desktop.draw():
            pass
    assert reader.signals == 1
    reader.look()
    with desktop.draw():
        pass
    assert reader.signals == 2
    reader.screen.close()
    reader.screen.close()
    with desktop.draw():
        pass
    assert reader.signals == 2
    assert reader.screen.take_damage() == []


def test_drawing_is_clipped_to_the_screen(viewer):
    desktop = MemoryDesktop(SIZE, SIZE)
    reader = viewer(desktop)
    reader.look()
    with desktop.draw(Rectangle(SIZE - 5, -5, SIZE + 50, 5)) as pixels:
        assert pixels.shape == (5, 5, 4)
    assert reader.look() == [Rectangle(SIZE - 5, 0, SIZE, 5)]
    with desktop.draw(Rectangle(SIZE, 0, SIZE + 5, 5)) as pixels:
        assert pixels.size == 0
    assert reader.look() == []


def test_a_grab_never_tears(viewer):
    """A thread paints the whole screen in one value after another; a copy shows one value only."""
    desktop = MemoryDesktop(SIZE, SIZE)
    reader = viewer(desktop)
    stop = threading.Event()

    def paint():
        value = 0
        while not stop.is_set():
            value = value % 250 + 1
            with desktop.draw() as pixels:
                for row in range(0, SIZE, 30):  # in pieces, so that there is something to tear
                    pixels[row : row + 30] = value

    writer = threading.Thread(target=paint)
    writer.start()
    try:
        out = np.empty((SIZE, SIZE, 4), np.uint8)
        for _ in range(200):
            reader.screen.grab(Rectangle(0, 0, SIZE, SIZE), out)
            assert out.min() == out.max()
    finally:
        stop.set()
        writer.join()


def test_a_grab_writes_into_the_array_that_is_handed_in(viewer):
    desktop = MemoryDesktop(SIZE, SIZE)
    with desktop.draw(Rectangle(0, 0, 4, 4)) as pixels:
        pixels[...] = (1, 2, 3, 4)
    screen = viewer(desktop).screen
    out = np.zeros((2, 2, 4), np.uint8)
    assert screen.grab(Rectangle(3, 3, 5, 5), out) is out
    assert out[0, 0].tolist() == [1, 2, 3, 4]
    assert not out[1, 1].any()
    with pytest.raises(ValueError, match="shape"):
        screen.grab(Rectangle(0, 0, 3, 3), out)


def test_what_is_moved_is_damage_for_a_reader_that_does_not_ask_for_moves(viewer):
    desktop = MemoryDesktop(SIZE, SIZE)
    reader = viewer(desktop)
    reader.look()
    with desktop.draw(Rectangle(0, 0, 20, 20)) as pixels:
        pixels[...] = np.arange(20, dtype=np.uint8)[:, None, None]
    reader.look()
    desktop.move(Rectangle(-5, 0, 20, 20), 290, 3)
    assert reader.signals == 2
    assert reader.look() == [Rectangle(290, 3, SIZE, 23)]
    assert np.array_equal(reader.picture, reader.whole())
    assert reader.picture[3:23, 290, 0].tolist() == list(range(20))
    for nothing in (Rectangle(400, 0, 500, 10), Rectangle(0, 0, 10, 10)):
        desktop.move(nothing, SIZE, 0)
        desktop.move(nothing, 0, 0)
    assert reader.look() == []


def test_a_reader_that_copies_while_another_thread_moves_and_draws_misses_nothing(viewer):
    desktop = MemoryDesktop(SIZE, SIZE)
    reader = viewer(desktop)
    with desktop.draw() as pixels:
        pixels[...] = np.random.default_rng(1).integers(0, 256, pixels.shape, np.uint8)
    stop = threading.Event()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # in the middle of everything

    def write():
        random = np.random.default_rng(2)
        while not stop.is_set():
            left, top, dx, dy = random.integers(-100, SIZE, 4).tolist()
            desktop.move(Rectangle(left, top, left + 150, top + 150), dx - 100, dy - 100)
            desktop.move(Rectangle(0, 10, SIZE, SIZE), 0, -10)
            with desktop.draw(Rectangle(0, SIZE - 10, SIZE, SIZE)) as pixels:
                pixels[...] = random.integers(0, 256, pixels.shape, np.uint8)
            time.sleep(0)

    copied = 0
    try:
        for _ in range(20):
            stop.clear()
            writer = threading.Thread(target=write)
            writer.start()
            try:
                for _ in range(10):
                    copied += len(reader.look_and_copy())
            finally:
                stop.set()
                writer.join()
            copied += len(reader.look_and_copy())
            assert np.array_equal(reader.picture, reader.whole())
    finally:
        sys.setswitchinterval(interval)
    assert copied


def test_what_was_taken_and_is_grabbed_late_is_no_source_of_what_moved_before(viewer):
    desktop = MemoryDesktop(SIZE, SIZE)
    reader = viewer(desktop)
    reader.look_and_copy()
    old, new = Rectangle(0, 0, 20, 20), Rectangle(50, 0, 70, 20)

    def draw(value):
        with desktop.draw(old) as pixels:
            pixels[...] = value

    draw(1)
    assert reader.screen.take_damage() == [old]
    desktop.move(old, 50, 0)
    draw(2)
    reader.screen.grab(old, reader.picture[:20, :20])
    assert reader.screen.take_moves() == []
    assert set(reader.look()) == {old, new}
    assert np.array_equal(reader.picture, reader.whole())


async def test_a_reader_that_copies_is_told_what_moved_until_the_size_is_another(viewer):
    desktop = MemoryDesktop(SIZE, SIZE)
    reader = viewer(desktop)
    with desktop.draw() as pixels:
        pixels[..., :2] = np.indices((SIZE, SIZE)).transpose(1, 2, 0)
    assert reader.look_and_copy() == []
    desktop.move(Rectangle(0, 16, SIZE, SIZE), 0, -16)
    with desktop.draw(Rectangle(0, SIZE - 16, SIZE, SIZE)) as pixels:
        pixels[...] = 7
    assert reader.look_and_copy() == [Move(Rectangle(0, 0, SIZE, SIZE - 16), 0, -16)]
    assert np.array_equal(reader.picture, reader.whole())
    desktop.move(Rectangle(0, 16, SIZE, SIZE), 0, -16)
    assert reader.look() == [Rectangle(0, 0, SIZE, SIZE - 16)]  # it has not asked for moves this time
    desktop.move(Rectangle(0, 16, SIZE, SIZE), 0, -16)
    await desktop.resize(SIZE, SIZE + 1)
    assert reader.look_and_copy() == []
    reader.screen.close()
    desktop.move(Rectangle(0, 16, SIZE, SIZE), 0, -16)
    assert reader.screen.take_moves() == []


async def test_resizing_keeps_what_fits_and_damages_everything(viewer):
    desktop = MemoryDesktop(400, 300)
    reader = viewer(desktop)
    reader.look()
    with desktop.draw(Rectangle(0, 0, 250, 250)) as pixels:
        pixels[...] = 9
    await desktop.resize(250, 350)
    assert (reader.screen.width, reader.screen.height) == (250, 350)
    assert reader.look() == [Rectangle(0, 0, 250, 350)]
    assert (reader.picture[:250] == 9).all()
    assert not reader.picture[250:].any()


async def test_a_rectangle_from_before_a_resize_grabs_black_outside(viewer):
    desktop = MemoryDesktop(400, 300)
    reader = viewer(desktop)
    with desktop.draw() as pixels:
        pixels[...] = 9
    await desktop.resize(200, 200)
    pixels = reader.screen.grab(Rectangle(100, 100, 400, 300))
    assert (pixels[:100, :100] == 9).all()
    assert not pixels[100:].any()
    assert not pixels[:, 100:].any()
    assert not reader.screen.grab(Rectangle(300, 250, 400, 300)).any()


@pytest.mark.parametrize(
    ("asked", "got"),
    [((1, 1), (200, 200)), ((100_000, 300), (8192, 300)), ((-5, 8193), (200, 8192)), ((1024, 768), (1024, 768))],
)
async def test_sizes_are_clamped(asked, got):
    desktop = MemoryDesktop(*asked)
    assert (desktop.width, desktop.height) == got
    await desktop.resize(640, 480)
    await desktop.resize(*asked)
    assert (desktop.width, desktop.height) == got


async def test_memory_is_counted_before_it_is_taken_and_given_back():
    budget = PixelBudget(limit=3_000_000)
    desktop = MemoryDesktop(800, 600, budget=budget)
    assert budget.used == 800 * 600 * 4
    with pytest.raises(PixelBudgetError, match="8192x8192 needs 268,435,456 bytes") as caught:
        MemoryDesktop(8192, 8192, budget=budget)
    assert caught.value.errinfo is ErrInfo.ERRINFO_OUT_OF_MEMORY
    with pytest.raises(PixelBudgetError):
        await desktop.resize(4000, 4000)
    assert (desktop.width, desktop.height, budget.used) == (800, 600, 800 * 600 * 4)
    await desktop.resize(200, 200)
    assert budget.used == 200 * 200 * 4
    await desktop.aclose()
    await desktop.aclose()
    assert budget.used == 0


async def test_a_closed_desktop_is_black_and_cannot_be_drawn_into(viewer):
    desktop = MemoryDesktop(SIZE, SIZE)
    reader = viewer(desktop)
    with desktop.draw() as pixels:
        pixels[...] = 1
    await desktop.aclose()
    assert not reader.whole().any()
    with pytest.raises(LocalProtocolError), desktop.draw():
        pass


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks the Linux kernel")
def test_a_framebuffer_that_is_gone_is_given_back_to_the_system():
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE

    def descriptors():
        return len(list(Path("/proc/self/fd").iterdir()))

    before, others = (resident(), descriptors()), []
    for _ in range(3):  # freed ones are what glibc keeps the next time
        desktops = []
        for _ in range(20):
            desktops.append(MemoryDesktop(1024, 768))
            with desktops[-1].draw() as pixels:
                pixels[...] = 1
            others += [bytearray(600) for _ in range(50)]  # what lives on between them
        assert resident() - before[0] > 50e6
        assert descriptors() == before[1]
        del desktops, pixels
        assert resident() - before[0] < 20e6


def test_a_pointer_is_taken_once_by_every_reader(viewer):
    desktop = MemoryDesktop(SIZE, SIZE)
    one, two = viewer(desktop), viewer(desktop)
    assert one.screen.take_pointer() is DEFAULT_POINTER
    assert one.screen.take_pointer() is None
    desktop.set_pointer(CROSSHAIR)
    desktop.set_pointer(HIDDEN_POINTER)
    assert one.signals == 1
    assert one.screen.take_pointer() is HIDDEN_POINTER
    assert two.screen.take_pointer() is HIDDEN_POINTER
    assert one.screen.take_pointer_position() is None
    desktop.move_pointer(5, 6)
    assert one.screen.take_pointer_position() == (5, 6)
    assert one.screen.take_pointer_position() is None


async def test_input_goes_to_the_program_and_the_desktop_runs_until_it_is_closed(nursery):
    events = []
    desktop = MemoryDesktop(SIZE, SIZE, on_input=events.append)
    desktop.input_event(ScancodeKey(1, True))
    assert events == [ScancodeKey(1, True)]
    ended = trio.Event()

    async def run(*, task_status):
        await desktop.run(task_status=task_status)
        ended.set()

    await nursery.start(run)
    await trio.testing.wait_all_tasks_blocked()
    assert not ended.is_set()
    await desktop.aclose()
    await ended.wait()
