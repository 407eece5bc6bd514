import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.codecs import native, planar, rle, tiles
from rdpprov.codecs.pixels import pack, padded_width
from rdpprov.errors import LocalProtocolError

KEY = hashlib.shake_128(b"a key for tests").digest(tiles.KEY_SIZE)
OTHER_KEY = hashlib.shake_128(b"another key").digest(tiles.KEY_SIZE)


def padded(picture):
    height, width = picture.shape[:2]
    return picture[:, np.minimum(np.arange(padded_width(width)), width - 1)].reshape(height, -1, 4)


def some_tiles(data, picture):
    height, width = picture.shape[:2]
    result = []
    for _ in range(data.draw(st.integers(0, 4))):
        left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
        right, bottom = data.draw(st.integers(left + 1, width)), data.draw(st.integers(top + 1, height))
        result.append((left, top, right, bottom))
    return result


@pytest.mark.parametrize("bits_per_pixel", [15, 16, 24, 32])
@given(data=st.data())
def test_tiles_are_what_their_codec_makes_of_them_or_raw(pictures, bits_per_pixel, data):
    picture = data.draw(pictures)[:: data.draw(st.sampled_from([1, -1]))]
    boxes = some_tiles(data, picture)
    header = data.draw(st.sampled_from([planar.RLE, planar.RLE | planar.NO_ALPHA]))
    encoded = tiles.encode_tiles(picture, boxes, bits_per_pixel, header)
    assert len(encoded) == len(boxes)
    for (left, top, right, bottom), tile in zip(boxes, encoded, strict=True):
        part = padded(picture[top:bottom, left:right])
        raw = pack(part, bits_per_pixel).tobytes()
        limit = len(raw) - 8
        stream = planar.encode(part, header, limit) if bits_per_pixel == 32 else rle.encode(part, bits_per_pixel, limit)
        assert tile == (stream is not None, stream or raw, b"")


@pytest.mark.parametrize("bits_per_pixel", [15, 16, 24, 32])
@given(data=st.data())
def test_the_extension_makes_the_same_tiles(extension, pictures, bits_per_pixel, data):
    picture = data.draw(pictures)
    for left, top, right, bottom in some_tiles(data, picture):
        box = np.array([left, top, right, bottom], np.int32).tobytes()
        [made] = extension.encode_tiles(picture, box, bits_per_pixel, planar.RLE, b"")
        part = picture[top:bottom, left:right]
        assert made == tiles.encode_tile_python(part, bits_per_pixel, planar.RLE, b"")


@given(data=st.data())
def test_a_tile_that_is_encoded_has_the_digest_that_it_has_alone(pictures, data):
    picture = data.draw(pictures)
    boxes = some_tiles(data, picture)
    digests = tiles.digest_tiles(picture, boxes, KEY)
    assert [tile.digest for tile in tiles.encode_tiles(picture, boxes, 16, key=KEY)] == digests
    assert [tile.digest for tile in tiles.encode_tiles(picture, boxes, 32, key=KEY)] == digests


@given(data=st.data())
def test_equal_pixels_have_equal_digests_wherever_they_lie_and_a_changed_one_shows(pictures, data):
    picture = data.draw(pictures)
    height, width = picture.shape[:2]
    large = np.zeros((height + 9, width + 7, 4), np.uint8)
    large[4 : 4 + height, 3 : 3 + width] = picture
    whole = [(0, 0, width, height)]
    [digest] = tiles.digest_tiles(picture, whole, KEY)
    assert tiles.digest_tiles(large, [(3, 4, 3 + width, 4 + height)], KEY) == [digest]
    assert tiles.digest_tiles(picture[::-1].copy()[::-1], whole, KEY) == [digest]
    x, y, plane = (
        data.draw(st.integers(0, width - 1)),
        data.draw(st.integers(0, height - 1)),
        data.draw(st.integers(0, 2)),
    )
    changed = picture.copy()
    changed[y, x, plane] ^= 1 << data.draw(st.integers(0, 7))
    assert tiles.digest_tiles(changed, whole, KEY) != [digest]


def carryless_product(a, b):
    product = 0
    for bit in range(b.bit_length()):
        if b >> bit & 1:
            product ^= a << bit
    return product


def slow_hash(picture, *, carryless):
    """NH, or CLNH, as their papers have them: a word of picture and one of key make a factor, two a product, all a sum.
    In the second round the key begins a product later."""
    pixels = picture & np.uint8([255, 255, 255, 0])
    pixels = np.pad(pixels, ((0, 0), (0, -pixels.shape[1] % 4), (0, 0)))
    words = np.frombuffer(pixels.tobytes(), "<u8").tolist()
    key = np.frombuffer(KEY, "<u8").tolist()
    result = b""
    for shift in (0, 2):
        total = 0
        for place in range(0, len(words), 2):
            factors = zip(words[place : place + 2], key[place + shift : place + shift + 2], strict=True)
            if carryless:
                total ^= carryless_product(*[word ^ part for word, part in factors])
            else:
                total += math.prod((word + part) % 2**64 for word, part in factors)
        result += (total % 2**128).to_bytes(16, "little")
    return result


def sample_pictures():
    random = np.random.default_rng(11)
    return [random.integers(0, 256, (height, width, 4), np.uint8) for height in (1, 3, 16) for width in range(1, 20)]


PRINT_DIGESTS = """
import hashlib, sys
import numpy as np
from rdpprov.codecs import tiles
key = hashlib.shake_128(b"a key for tests").digest(tiles.KEY_SIZE)
random = np.random.default_rng(11)
for height in (1, 3, 16):
    for width in range(1, 20):
        picture = random.integers(0, 256, (height, width, 4), np.uint8)
        print(tiles.digest_tiles(picture, [(0, 0, width, height)], key)[0].hex())
"""


def multiplies_without_carries():
    if os.environ.get("RDPPROV_NO_CARRYLESS"):
        return False
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        pytest.skip("what the processor can do is asked Linux")
    return {"avx2", "pclmulqdq", "vpclmulqdq"} <= set(flags)


def expected_digest(picture, *, carryless):
    colour = tiles.solid_colour(picture)
    if colour is not None:
        return b"\x01" + colour.to_bytes(3, "little") + bytes(29)
    return b"\0" + slow_hash(picture, carryless=carryless)


@pytest.mark.usefixtures("extension")
def test_a_digest_is_the_hash_that_its_proof_is_about():
    carryless = multiplies_without_carries()
    for picture in sample_pictures():
        whole = (0, 0, picture.shape[1], picture.shape[0])
        assert tiles.digest_tiles(picture, [whole], KEY) == [expected_digest(picture, carryless=carryless)]


@pytest.mark.usefixtures("extension")
def test_so_it_is_on_processors_that_cannot_multiply_without_carries():
    environment = {**os.environ, "RDPPROV_NO_CARRYLESS": "1"}
    run = subprocess.run([sys.executable, "-c", PRINT_DIGESTS], env=environment, capture_output=True, check=True)
    expected = [expected_digest(picture, carryless=False).hex() for picture in sample_pictures()]
    assert run.stdout.decode().split() == expected


@given(data=st.data())
def test_digests_are_worth_nothing_without_the_key(pictures, data):
    picture = data.draw(pictures)
    box = [(0, 0, picture.shape[1], picture.shape[0])]
    same = tiles.digest_tiles(picture, box, KEY) == tiles.digest_tiles(picture, box, OTHER_KEY)
    assert not same or tiles.solid_colour(picture) is not None


def test_pixels_that_are_swapped_or_moved_change_the_digest():
    # A hash that only adds its products up would not see some of these.
    picture = np.zeros((8, 16, 4), np.uint8)
    picture[2, 3] = (1, 2, 3, 0)
    seen = {
        tiles.digest_tiles(np.roll(picture, (y, x), (0, 1)), [(0, 0, 16, 8)], KEY)[0]
        for y in range(8)
        for x in range(16)
    }
    assert len(seen) == 8 * 16


@given(data=st.data())
def test_a_solid_picture_is_known_by_its_colour(pictures, data):
    picture = data.draw(pictures)
    colours = np.unique(picture[..., :3].reshape(-1, 3), axis=0)
    expected = None
    if len(colours) == 1:
        blue, green, red = colours[0].tolist()
        expected = red << 16 | green << 8 | blue
    assert tiles.solid_colour(picture) == expected


OUTSIDE = [(0, 0, 0, 4), (4, 0, 0, 4), (-1, 0, 4, 4), (0, 0, 41, 4), (0, 0, 4, 31), (0, 5, 4, 5), (0, 0, 2**40, 4)]


@pytest.mark.parametrize("box", OUTSIDE, ids=str)
def test_a_tile_outside_the_picture_is_the_callers_fault(box):
    picture = np.zeros((30, 40, 4), np.uint8)
    with pytest.raises(LocalProtocolError):
        tiles.encode_tiles(picture, [box], 16)
    with pytest.raises(LocalProtocolError):
        tiles.digest_tiles(picture, [box], KEY)


def test_wrong_arguments_are_the_callers_fault():
    picture = np.zeros((200, 200, 4), np.uint8)
    box = [(0, 0, 4, 4)]
    for key in (KEY[1:], KEY + b"1"):
        with pytest.raises(LocalProtocolError):
            tiles.encode_tiles(picture, box, 16, key=key)
        with pytest.raises(LocalProtocolError):
            tiles.digest_tiles(picture, box, key)
    with pytest.raises(LocalProtocolError):
        tiles.digest_tiles(picture, box, b"")
    with pytest.raises(LocalProtocolError):
        tiles.joined_digests(picture, bytes(15), KEY)
    with pytest.raises(LocalProtocolError):
        tiles.encode_tiles(picture, [(0, 0, 200, 200)], 16)
    with pytest.raises(LocalProtocolError):
        tiles.encode_tiles(picture, box, 8)
    with pytest.raises(LocalProtocolError):
        tiles.encode_tiles(picture, box, 32, 0x40)


BAD_ARGUMENTS = {
    "a flat array": lambda e: e.encode(np.zeros((4, 4), np.uint8), 16, 0, 9),
    "wide items": lambda e: e.encode(np.zeros((4, 4, 4), np.uint16), 16, 0, 9),
    "three bytes a pixel": lambda e: e.encode(np.zeros((4, 4, 3), np.uint8), 16, 0, 9),
    "pixels apart": lambda e: e.encode(np.zeros((4, 8, 4), np.uint8)[:, ::2], 16, 0, 9),
    "bytes apart": lambda e: e.encode(np.zeros((4, 4, 8), np.uint8)[..., ::2], 16, 0, 9),
    "no pixels": lambda e: e.encode(np.zeros((0, 4, 4), np.uint8), 16, 0, 9),
    "too many pixels": lambda e: e.encode(np.zeros((256, 256, 4), np.uint8), 16, 0, 9),
    "too wide": lambda e: e.encode(np.zeros((1, 8193, 4), np.uint8), 32, 0, 9),
    "a depth": lambda e: e.encode(np.zeros((4, 4, 4), np.uint8), 8, 0, 9),
    "a header": lambda e: e.encode(np.zeros((4, 4, 4), np.uint8), 32, 1, 9),
    "half a tile": lambda e: e.digest_tiles(np.zeros((4, 4, 4), np.uint8), bytes(15), KEY),
    "a tile outside": lambda e: e.encode_tiles(np.zeros((4, 4, 4), np.uint8), bytes(8) + b"\5\0\0\0" * 2, 16, 0, b""),
    "an offset before": lambda e: e.plane_decode(b"", -1, 1, 1),
    "an offset behind": lambda e: e.plane_decode(b"", 1, 1, 1),
    "a plane's size": lambda e: e.plane_decode(b"", 0, 1 << 40, 1),
    "a picture's size": lambda e: e.rle_decode(b"", 1 << 40, 1 << 40, 16),
    "a decoder's depth": lambda e: e.rle_decode(b"", 1, 1, 32),
}


@pytest.mark.parametrize("call", BAD_ARGUMENTS.values(), ids=BAD_ARGUMENTS)
def test_the_extension_refuses_arguments_that_it_cannot_trust(extension, call):
    with pytest.raises(ValueError, match=r"\w"):
        call(extension)


SAMPLE = """
import hashlib, json, sys
import numpy as np
from rdpprov.codecs import native, planar, rle, tiles
from rdpprov.encoding.bitmap import BitmapEncoder, TileCache
random = np.random.default_rng(5)
picture = random.integers(0, 3, (130, 150, 4), dtype=np.uint8).repeat(5, axis=1)[:, :150] * 100
picture[:60] = 7
said = [native.extension is None]
for depth in (15, 16, 24):
    said.append(hashlib.sha256(rle.encode(picture, depth)).hexdigest())
    said.append(hashlib.sha256(rle.decode_rows(rle.encode(picture, depth), 150, 130, depth)).hexdigest())
said.append(hashlib.sha256(planar.encode(picture)).hexdigest())
said.append(hashlib.sha256(planar.decode(planar.encode(picture), 150, 130).tobytes()).hexdigest())
said.append([tiles.solid_colour(picture), tiles.solid_colour(picture[:60])])
for depth in (15, 16, 24, 32):
    for cache in (None, TileCache()):
        bitmaps = list(BitmapEncoder(bits_per_pixel=depth, cache=cache).encode(picture, 20, 30))
        said.append(hashlib.sha256(repr(bitmaps).encode()).hexdigest())
json.dump(said, sys.stdout)
"""


def test_everything_works_and_says_the_same_without_the_extension():
    def run(no_native):
        environment = {**os.environ, "RDPPROV_NO_NATIVE": no_native}
        return subprocess.run(
            [sys.executable, "-c", SAMPLE], env=environment, capture_output=True, check=True, text=True
        ).stdout

    without, chosen = run("1"), run("")
    assert without.startswith("[true, ")
    assert without.split(",", 1)[1] == chosen.split(",", 1)[1]


def test_the_extension_is_chosen_where_it_was_built(extension):
    assert native.extension is extension
    assert extension.__name__ == "rdpprov.codecs._native"
