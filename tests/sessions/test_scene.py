import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rdpprov.api.devices import Move, Rectangle
from rdpprov.sessions.scene import MAX_COMPARED, Fill, Layer, SceneDesktop, picture
from rdpprov.sessions.screens import MAX_MOVES
from rdpprov.sessions.text import OPAQUE

SIZE = 300
edges = st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)).map(sorted)
colours = st.integers(0, 0xFFFFFF)
fills = st.builds(lambda x, y, colour: Fill(x[0], y[0], x[1], y[1], colour), edges, edges, colours)
bitmaps = st.builds(
    lambda width, height, colour: np.arange(colour, colour + width * height, dtype=np.uint32).reshape(height, width),
    st.integers(0, 40),
    st.integers(0, 90),
    colours,
)
pictures = st.builds(picture, st.integers(0, SIZE - 40), st.integers(0, SIZE - 90), bitmaps)
item_lists = st.lists(st.one_of(fills, pictures), max_size=30)


def painted(items):
    """What items look like, painted one after the other over black."""
    whole = np.zeros((SIZE, SIZE), np.uint32)
    for item in items:
        content = item.colour | OPAQUE if isinstance(item, Fill) else item.bitmap
        whole[item.top : item.bottom, item.left : item.right] = content
    return whole


@given(item_lists, edges, edges)
def test_a_part_of_a_layer_looks_like_that_part_of_all_its_items(items, rows, columns):
    layer = Layer()
    layer.replace(items)
    area = Rectangle(columns[0], rows[0], columns[1], rows[1])
    if area.is_empty():
        return
    out = np.zeros((area.height, area.width), np.uint32)
    layer.paint(area, out)
    assert np.array_equal(out, painted(items)[area.top : area.bottom, area.left : area.right])


@given(item_lists, item_lists)
def test_bands_of_a_layer_are_the_whole_of_it_also_after_a_change(before, after):
    layer = Layer()
    for items in (before, after):
        layer.replace(items)
        whole = np.zeros((SIZE, SIZE), np.uint32)
        for top in range(0, SIZE, 64):
            bottom = min(top + 64, SIZE)
            layer.paint(Rectangle(0, top, SIZE, bottom), whole[top:bottom])
        assert np.array_equal(whole, painted(items))


class Board(SceneDesktop):
    """Shows the items that it is given."""

    def __init__(self):
        self.shown = {"desk": [Fill(0, 0, SIZE, SIZE, 0x336699)], "middle": [], "front": []}
        super().__init__(SIZE, SIZE, list(self.shown))

    def build(self, layer):
        return self.shown[layer]

    def input_event(self, event):
        pass

    async def run(self, *, task_status):
        task_status.started()

    def show(self, **layers):
        self.shown.update(layers)
        self.invalidate(*layers)


LETTERS = [np.arange(n * 10**6, n * 10**6 + 600, dtype=np.uint32).reshape(20, 30) for n in range(4)]
near = st.integers(0, 8).map(lambda step: 10 * step)  # so that they meet
placed = st.builds(picture, near, near, st.sampled_from(LETTERS))
spots = st.builds(lambda left, top, colour: Fill(left, top, left + 10, top + 10, colour), near, near, colours)
boards = st.fixed_dictionaries(
    {name: st.lists(st.one_of(placed, placed, spots), max_size=3) for name in ("middle", "front")}
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # it is a class
@given(st.lists(boards, min_size=2, max_size=6), st.lists(st.booleans(), min_size=6, max_size=6))
def test_a_reader_that_copies_what_moved_sees_the_same_as_one_that_takes_damage(viewer, shown, looks):
    board = Board()
    copying, plain = viewer(board), viewer(board)
    for layers, at_once in zip(shown, looks, strict=False):
        board.show(**layers)
        if at_once:
            copying.look_and_copy()
            plain.look()
    for reader in (copying, plain):
        reader.look_and_copy()
        assert np.array_equal(reader.picture, board_pixels(board))


def board_pixels(board):
    """All of it, as bytes."""
    items = [item for layer in board.shown.values() for item in layer]
    return painted(items).view(np.uint8).reshape(SIZE, SIZE, 4)


def test_a_picture_that_nothing_lies_over_moves_and_the_rest_is_damage(viewer):
    board = Board()
    one, other, _, _ = LETTERS
    reader = viewer(board)
    reader.look()
    board.show(middle=[picture(10, 10, one), picture(100, 10, other)], front=[Fill(110, 0, 112, 40, 0xFF0000)])
    assert reader.look_and_copy() == []
    board.show(middle=[picture(10, 60, one), picture(100, 60, other)])
    assert reader.screen.take_moves() == [Move(Rectangle(10, 60, 40, 80), 0, 50)]
    assert Rectangle(10, 60, 40, 80) not in reader.look()


@pytest.mark.parametrize(("count", "copied"), [(MAX_MOVES + 8, MAX_MOVES), (MAX_COMPARED, 0)])
def test_of_a_crowd_that_moves_the_largest_are_copied_and_of_a_larger_one_none(viewer, count, copied):
    board = Board()
    crowd = [np.full((1, 1 + number % 30), number, np.uint32) for number in range(count)]
    reader = viewer(board)
    reader.look_and_copy()
    for down in (0, 60):
        board.show(middle=[picture(30 * (n % 3), n // 3 + down, bitmap) for n, bitmap in enumerate(crowd)])
        moves = reader.look_and_copy()
        assert np.array_equal(reader.picture, board_pixels(board))
    assert len(moves) == copied
    widths = sorted(bitmap.shape[1] for bitmap in crowd)
    assert sorted(move.area.width for move in moves) == widths[count - copied :]
