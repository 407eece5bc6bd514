"""Areas of a desktop, and how much may be on its way."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.api.devices import Rectangle
from rdpprov.providers.rfb.areas import MOST, divided, joined
from rdpprov.providers.rfb.pacing import FIRST_WINDOW, MAX_FENCES, MAX_WINDOW, MIN_WINDOW, Pace

SIDE = 24
edges = st.integers(0, SIDE)
areas = st.builds(lambda a, b, c, d: Rectangle(min(a, c), min(b, d), max(a, c), max(b, d)), edges, edges, edges, edges)
lists = st.lists(areas, max_size=12)


def count(rectangles):
    """How often each pixel is in one."""
    counted = np.zeros((SIDE, SIDE), int)
    for area in rectangles:
        counted[area.top : area.bottom, area.left : area.right] += 1
    return counted


@given(areas, areas)
def test_a_hole_takes_away_its_pixels_and_no_other(area, hole):
    left = area.without(hole)
    assert (count(left) == (count([area]) > 0) * (count([hole]) == 0)).all()


@given(lists, lists)
def test_joined_lists_have_each_pixel_once(first, second):
    both = joined(joined([], first), second)
    assert (count(both) == (count([*first, *second]) > 0)).all()


@given(lists, lists)
def test_what_is_wanted_and_the_rest_are_the_whole(changed, wanted):
    changed = joined([], changed)
    inside, outside = divided(changed, joined([], wanted))
    assert (count(inside) == (count(changed) > 0) * (count(wanted) > 0)).all()
    assert (count([*inside, *outside]) == count(changed)).all()


def test_a_list_stays_short_and_loses_nothing():
    many = [Rectangle(3 * x, 3 * y, 3 * x + 1, 3 * y + 1) for x in range(20) for y in range(20)]
    result = joined([], many)
    assert len(result) <= MOST
    for area in many:
        assert divided([area], result)[1] == []


def test_the_window_grows_while_answers_come_quickly_and_shrinks_when_they_wait():
    pace, now, sent = Pace(), 0.0, 0
    assert pace.may_send
    while pace.may_send:
        last = pace.sent(10_000, now)
        sent += 10_000
    assert FIRST_WINDOW <= sent < FIRST_WINDOW + 10_000
    pace.answered(b"\0", now)  # nobody's
    assert not pace.may_send
    pace.answered(last, now + 0.05)
    assert pace.may_send
    for _ in range(20):
        now += 1
        pace.answered(pace.sent(1000, now), now + 0.05)
    pace.sent(MAX_WINDOW - 1, now)
    assert pace.may_send
    now += 1
    pace.answered(pace.sent(2, now), now + 0.05)
    for _ in range(30):
        now += 10
        pace.answered(pace.sent(1000, now), now + 5)
    pace.sent(MIN_WINDOW, now)
    assert not pace.may_send


def test_a_client_that_answers_nothing_costs_no_memory():
    pace = Pace()
    for number in range(1000):
        if pace.may_send:
            pace.sent(0, float(number))
    assert not pace.may_send
    for number in range(1000):  # it may still ask for each update by itself
        pace.sent(0, float(number))
    assert len(pace._fences) == MAX_FENCES
    pace.answered(pace.sent(0, 2000.0), 2000.0)
    assert pace.may_send
