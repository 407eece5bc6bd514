import threading
from concurrent.futures import ThreadPoolExecutor

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.api.devices import Rectangle
from rdpprov.codecs import planar, rle
from rdpprov.codecs.pixels import bytes_per_pixel, pack, unpack
from rdpprov.codecs.tiles import pack_tiles
from rdpprov.encoding import bitmap
from rdpprov.encoding.bitmap import BitmapEncoder, TileCache, tiles
from rdpprov.errors import LocalProtocolError

DEPTHS = [15, 16, 24, 32]
OLD_CLIENT_BYTES = 16384  # requirement OUT-04


def make_picture(width, height, seed=0):
    """Areas of one colour, something like text, and some noise."""
    random = np.random.default_rng(seed)
    picture = np.zeros((height, width, 4), np.uint8)
    picture[...] = random.integers(0, 256, 4, dtype=np.uint8)
    picture[height // 3 :, : width // 2] = 255
    text = random.random((height, width)) < 0.2
    text[:, width // 4 :] = False
    picture[text] = (20, 20, 20, 0)
    picture[height // 2 :, -width // 4 :] = random.integers(0, 256, picture[height // 2 :, -width // 4 :].shape)
    return picture


def paint(desktop, update):
    """What a client does with an update."""
    if update.compressed and update.bits_per_pixel == 32:
        picture = planar.decode(update.data, update.width, update.height)
    elif update.compressed:
        picture = rle.decode(update.data, update.width, update.height, update.bits_per_pixel)
    else:
        rows = np.frombuffer(update.data, np.uint8).reshape(update.height, -1)
        assert rows.shape[1] == update.width * bytes_per_pixel(update.bits_per_pixel)
        picture = unpack(rows, update.bits_per_pixel)
    columns = update.right - update.left
    desktop[update.top : update.bottom, update.left : update.right] = picture[::-1][:, :columns]


@pytest.mark.parametrize("bits_per_pixel", DEPTHS)
@given(
    width=st.integers(1, 300),
    height=st.integers(1, 200),
    left=st.integers(0, 200),
    top=st.integers(0, 200),
    seed=st.integers(0, 9),
    cached=st.booleans(),
)
def test_a_client_shows_what_the_desktop_shows(bits_per_pixel, width, height, left, top, seed, cached):
    picture = make_picture(width, height, seed)
    desktop = np.zeros((top + height, left + width, 4), np.uint8)
    encoder = BitmapEncoder(bits_per_pixel=bits_per_pixel, cache=TileCache() if cached else None)
    painted = np.zeros(desktop.shape[:2], np.uint8)
    for update in encoder.encode(picture, left, top):
        assert update.width % 4 == 0
        assert 0 <= update.width - (update.right - update.left) < 4
        assert update.height == update.bottom - update.top
        assert update.width * update.height * bytes_per_pixel(bits_per_pixel) <= OLD_CLIENT_BYTES
        assert len(update.data) <= update.width * update.height * bytes_per_pixel(bits_per_pixel)
        painted[update.top : update.bottom, update.left : update.right] += 1
        paint(desktop, update)
    assert (painted[top:, left:] == 1).all()
    assert painted.sum() == width * height
    expected = unpack(pack(picture, bits_per_pixel), bits_per_pixel)
    assert (desktop[top:, left:, :3] == expected[..., :3]).all()


@pytest.mark.parametrize("bits_per_pixel", DEPTHS)
def test_no_update_is_too_large_for_a_client_without_fragmentation(bits_per_pixel):
    noise = np.random.default_rng(3).integers(0, 256, (192, 320, 4), dtype=np.uint8)
    for update in BitmapEncoder(bits_per_pixel=bits_per_pixel).encode(noise, 0, 0):
        assert len(update.data) + 64 <= 0x3F80  # fact 36


@pytest.mark.parametrize("bits_per_pixel", DEPTHS)
def test_a_desktop_of_one_colour_takes_next_to_nothing(bits_per_pixel):
    updates = list(BitmapEncoder(bits_per_pixel=bits_per_pixel).encode(np.full((768, 1024, 4), 77, np.uint8), 0, 0))
    assert all(update.compressed for update in updates)
    assert sum(len(update.data) for update in updates) <= (80_000 if bits_per_pixel == 32 else 1500)


@pytest.mark.parametrize("bits_per_pixel", DEPTHS)
def test_with_workers_and_with_a_cache_the_updates_are_the_same(bits_per_pixel):
    picture = make_picture(700, 300)
    plain = list(BitmapEncoder(bits_per_pixel=bits_per_pixel).encode(picture, 5, 9))
    cache = TileCache()
    for _ in ("new", "known tiles", "known batches"):
        assert list(BitmapEncoder(bits_per_pixel=bits_per_pixel, cache=cache).encode(picture, 5, 9)) == plain
    with ThreadPoolExecutor(2) as workers:
        assert list(BitmapEncoder(bits_per_pixel=bits_per_pixel, workers=workers).encode(picture, 5, 9)) == plain
        encoder = BitmapEncoder(bits_per_pixel=bits_per_pixel, cache=TileCache(), workers=workers)
        assert list(encoder.encode(picture, 5, 9)) == plain


def test_a_second_client_costs_no_encoding():
    cache, picture = TileCache(), make_picture(512, 256)
    first = list(BitmapEncoder(bits_per_pixel=16, cache=cache).encode(picture, 0, 0))
    misses = cache.misses
    second = list(BitmapEncoder(bits_per_pixel=16, cache=cache).encode(picture.copy(), 0, 0))
    assert cache.misses == misses
    assert cache.hits >= len(second)
    assert all(one.data is other.data for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("bits_per_pixel", DEPTHS)
def test_a_batch_is_kept_when_it_is_met_again(bits_per_pixel):
    cache, picture = TileCache(), np.random.default_rng(2).integers(0, 256, (64, 512, 4), np.uint8)

    def batches(left=0, top=0, pixels=picture):
        return list(BitmapEncoder(bits_per_pixel=bits_per_pixel, cache=cache).encode_batches(pixels, left, top))

    first = batches()
    held = len(cache)
    assert held == sum(map(len, first))  # tiles only
    second = batches()
    assert len(cache) == held + len(second)
    hits = cache.hits
    assert all(one is other for one, other in zip(second, batches(pixels=picture.copy()), strict=True))
    assert cache.hits == hits + sum(map(len, second))
    assert [batch.size for batch in first] == [sum(len(update.data) for update in batch) for batch in first]
    # Known tiles at another place, or with a neighbour, are another batch.
    columns, rows = bitmap.TILE_SHAPES[bits_per_pixel]
    for left, top, pixels in ((columns, 0, picture), (0, rows, picture), (0, 0, picture[:, :columns])):
        plain = list(BitmapEncoder(bits_per_pixel=bits_per_pixel).encode(pixels, left, top))
        for _ in range(3):
            met = batches(left, top, pixels)
            assert [update for batch in met for update in batch] == plain
            assert not set(met) & set(second)


def test_one_changed_pixel_makes_another_batch():
    cache, picture = TileCache(), make_picture(1024, 64)
    encoder = BitmapEncoder(bits_per_pixel=32, cache=cache)
    for _ in range(3):
        [known] = encoder.encode_batches(picture, 0, 0)
    picture[33, 700] ^= 1
    for _ in range(3):
        [changed] = encoder.encode_batches(picture, 0, 0)
        assert changed is not known
        differ = [(one.left, one.top) for one, other in zip(known, changed, strict=True) if one != other]
        assert differ == [(512, 32)]


def test_batches_count_against_the_bound_of_the_cache_as_tiles_do():
    cache = TileCache(max_bytes=100_000)
    encoder = BitmapEncoder(bits_per_pixel=24, cache=cache)
    for seed in range(30):
        noise = np.random.default_rng(seed).integers(0, 256, (60, 60, 4), dtype=np.uint8)
        for _ in range(3):
            [batch] = encoder.encode_batches(noise, 0, 0)
            assert 0 < cache.size <= cache.max_bytes
        assert cache.size >= 3 * batch.size  # the tile, and the batch with its PDUs
    assert len(cache) < 8


def test_clients_of_different_depths_and_forms_do_not_get_each_others_tiles():
    cache, picture = TileCache(), make_picture(256, 128)
    for encoder in (
        BitmapEncoder(bits_per_pixel=15, cache=cache),
        BitmapEncoder(bits_per_pixel=16, cache=cache),
        BitmapEncoder(bits_per_pixel=24, cache=cache),
        BitmapEncoder(bits_per_pixel=32, cache=cache),
        BitmapEncoder(bits_per_pixel=32, cache=cache, format_header=planar.RLE | planar.NO_ALPHA),
    ):
        for update in encoder.encode(picture, 0, 0):
            alone = BitmapEncoder(bits_per_pixel=encoder.bits_per_pixel, format_header=encoder.format_header)
            part = picture[update.top : update.bottom, update.left : update.right]
            assert [update] == list(alone.encode(part, update.left, update.top))


def test_tiles_of_one_content_but_different_sizes_are_told_apart():
    cache = TileCache()
    encoder = BitmapEncoder(bits_per_pixel=16, cache=cache)
    for width, height in ((8, 4), (4, 8), (32, 1), (16, 2), (7, 4), (6, 4), (5, 4)):
        [update] = encoder.encode(np.full((height, width, 4), 50, np.uint8), 0, 0)
        painted = np.zeros((height, width, 4), np.uint8)
        paint(painted, update)
        assert (update.width, update.height) == ((width + 3) // 4 * 4, height)
        assert (painted[..., 0] == painted[0, 0, 0]).all()


def test_the_cache_stays_within_its_bytes_and_forgets_what_was_not_used():
    cache = TileCache(max_bytes=100_000)
    encoder = BitmapEncoder(bits_per_pixel=24, cache=cache)
    favourite = make_picture(64, 64, seed=1000)
    list(encoder.encode(favourite, 0, 0))
    for seed in range(60):
        list(encoder.encode(np.random.default_rng(seed).integers(0, 256, (60, 60, 4), dtype=np.uint8), 0, 0))
        assert cache.size <= cache.max_bytes
        misses = cache.misses
        list(encoder.encode(favourite, 0, 0))
        assert cache.misses == misses
    assert 2 <= len(cache) < 60


def test_a_tile_that_two_clients_encode_at_once_is_counted_once():
    cache = TileCache()
    cache.keep(b"name", True, bytes(100))
    size = cache.size
    cache.keep(b"name", True, bytes(100))
    assert (len(cache), cache.size) == (1, size)


def test_a_tile_larger_than_the_whole_cache_is_not_kept():
    cache = TileCache(max_bytes=300)
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 4), dtype=np.uint8)
    assert list(BitmapEncoder(bits_per_pixel=24, cache=cache).encode(noise, 0, 0))
    assert (len(cache), cache.size) == (0, 0)


def test_two_caches_have_different_keys():
    picture = make_picture(64, 64)
    box = pack_tiles([(0, 0, 64, 64)])
    assert TileCache().digests(picture, box) != TileCache().digests(picture, box)


def test_a_desktop_that_draws_meanwhile_never_leaves_a_wrong_tile_in_the_cache():
    cache, picture = TileCache(), make_picture(256, 128)
    encoder = BitmapEncoder(bits_per_pixel=16, cache=cache)
    stop = threading.Event()

    def draw():
        value = 0
        while not stop.is_set():
            value = (value + 1) % 251
            picture[:, ::3] = value

    drawing = threading.Thread(target=draw)
    drawing.start()
    try:
        for _ in range(50):
            list(encoder.encode(picture, 0, 0))
    finally:
        stop.set()
        drawing.join()
    for value in range(251):
        picture[:, ::3] = value
        expected = list(BitmapEncoder(bits_per_pixel=16).encode(picture, 0, 0))
        assert list(encoder.encode(picture, 0, 0)) == expected


def test_a_depth_that_bitmap_updates_do_not_have_is_the_callers_fault():
    for bits_per_pixel in (0, 4, 8, 30):
        with pytest.raises(LocalProtocolError):
            BitmapEncoder(bits_per_pixel=bits_per_pixel)


# Damage

edges = st.integers(-50, 1200)
rectangles = st.builds(Rectangle, edges, edges, edges, edges)


@given(damage=st.lists(rectangles, max_size=12), width=st.integers(1, 1100), height=st.integers(1, 900))
def test_damage_is_covered_once_and_nothing_lies_outside(damage, width, height):
    covered = np.zeros((height, width), np.uint8)
    squares = set()
    for r in damage:
        clipped = r.intersection(Rectangle(0, 0, width, height))
        if not clipped.is_empty():
            for y in range(clipped.top // 64, (clipped.bottom - 1) // 64 + 1):
                for x in range(clipped.left // 64, (clipped.right - 1) // 64 + 1):
                    squares.add((x, y))
    pieces = list(tiles(damage, width, height))
    for piece in pieces:
        assert 0 <= piece.left < piece.right <= width
        assert 0 <= piece.top < piece.bottom <= height
        assert piece.left % 16 == piece.top % 16 == 0
        assert piece.right % 16 == 0 or piece.right == width
        assert piece.bottom % 16 == 0 or piece.bottom == height
        assert piece.top // 64 == (piece.bottom - 1) // 64
        covered[piece.top : piece.bottom, piece.left : piece.right] += 1
    assert covered.max(initial=0) <= 1
    for r in damage:
        assert (covered[max(r.top, 0) : max(r.bottom, 0), max(r.left, 0) : max(r.right, 0)] == 1).all()
    touched = {
        (x, y)
        for piece in pieces
        for y in (piece.top // 64,)
        for x in range(piece.left // 64, (piece.right - 1) // 64 + 1)
    }
    assert touched == squares
    assert len(pieces) <= max(len(squares), 4)
    assert [piece.top // 64 for piece in pieces] == sorted(piece.top // 64 for piece in pieces)


def test_one_pixel_costs_one_small_piece():
    assert list(tiles([Rectangle(100, 70, 101, 71)], 1024, 768)) == [Rectangle(96, 64, 112, 80)]


def test_a_whole_desktop_comes_as_bands():
    bands = list(tiles([Rectangle(0, 0, 1000, 150), Rectangle(7, 7, 9, 9)], 1000, 150))
    assert bands == [Rectangle(0, 0, 1000, 64), Rectangle(0, 64, 1000, 128), Rectangle(0, 128, 1000, 150)]


def test_neighbours_are_joined_and_others_stay_apart():
    damage = [Rectangle(0, 0, 16, 16), Rectangle(16, 0, 32, 16), Rectangle(0, 16, 32, 32), Rectangle(640, 0, 650, 5)]
    assert list(tiles(damage, 1024, 768)) == [Rectangle(0, 0, 32, 32), Rectangle(640, 0, 656, 16)]


def test_scattered_damage_does_not_make_more_pieces_than_squares():
    damage = [Rectangle(x, y, x + 1, y + 1) for x in range(0, 1024, 32) for y in range(0, 768, 32)]
    assert len(list(tiles(damage, 1024, 768))) <= 16 * 12


def test_anything_with_four_edges_is_damage():
    @attrs.frozen
    class Edges:
        left: int = 0
        top: int = 0
        right: int = 5
        bottom: int = 5

    assert list(tiles([Edges()], 20, 20)) == [Rectangle(0, 0, 16, 16)]
    assert list(tiles([], 20, 20)) == []
    assert list(tiles([Rectangle(30, 0, 40, 10)], 20, 20)) == []


def test_the_grid_depends_on_the_desktop_and_not_on_the_damage():
    picture = make_picture(1024, 256)
    whole = {(u.left, u.top, u.right, u.bottom): u.data for u in BitmapEncoder(bits_per_pixel=16).encode(picture, 0, 0)}
    part = BitmapEncoder(bits_per_pixel=16).encode(picture[64:192, 112:], 112, 64)
    inner = [u for u in part if (u.left, u.top, u.right, u.bottom) in whole]
    assert len(inner) >= 2 * 7
    assert all(whole[u.left, u.top, u.right, u.bottom] == u.data for u in inner)


def test_the_shapes_of_tiles_fit_old_clients_and_the_bands():
    for depth, (columns, rows) in bitmap.TILE_SHAPES.items():
        assert columns * rows * bytes_per_pixel(depth) <= OLD_CLIENT_BYTES
        assert 64 % rows == 0
        assert columns % 16 == 0
