import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.api.devices import Rectangle
from rdpprov.sessions.scene import Fill, Layer, picture
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
