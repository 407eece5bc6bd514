import numpy as np
import pytest

from rdpprov.sessions.backdrops import BACKDROP_SIZES, Backdrops

SIZE = (100, 50)
BYTES = 100 * 50 * 4


def painter(colour):
    def paint(picture):
        painted.append(picture.shape)
        picture[...] = colour

    painted = []
    paint.painted = painted
    return paint


def test_a_size_is_painted_when_it_is_asked_for_the_second_time_and_never_again():
    backdrops, paint = Backdrops(), painter(7)
    backdrops.ask(SIZE, paint)
    assert backdrops.find(SIZE) is None
    for _ in range(3):
        backdrops.ask(SIZE, paint)
    assert paint.painted == [(50, 100)]
    assert np.array_equal(backdrops.find(SIZE), np.full((50, 100), 7))
    with pytest.raises(ValueError, match="read-only"):
        backdrops.find(SIZE)[0, 0] = 1


def test_what_was_not_looked_at_for_longest_makes_room():
    backdrops = Backdrops(limit=2 * BYTES)
    for colour, size in enumerate([(100, 50), (50, 100), (25, 200)]):
        for _ in range(2):
            backdrops.ask(size, painter(colour))
        backdrops.find((100, 50))
        assert backdrops.used <= 2 * BYTES
    assert backdrops.find((50, 100)) is None
    assert backdrops.find((100, 50))[0, 0] == 0
    assert backdrops.find((25, 200))[0, 0] == 2


def test_what_is_larger_than_all_may_be_is_not_even_painted():
    backdrops, paint = Backdrops(limit=BYTES - 1), painter(1)
    for _ in range(3):
        backdrops.ask(SIZE, paint)
    assert (paint.painted, backdrops.used, backdrops.find(SIZE)) == ([], 0, None)


def test_sizes_that_come_once_push_out_no_picture_that_is_looked_at():
    backdrops = Backdrops()
    for _ in range(2):
        backdrops.ask(SIZE, painter(1))
    for width in range(3 * BACKDROP_SIZES):
        backdrops.ask((width, 10), painter(2))
        assert backdrops.find(SIZE) is not None
    assert backdrops.used == BYTES
