"""Our bitmaps, decoded by the library that FreeRDP's clients use: a reading of the specification that is not ours."""

import ctypes
import ctypes.util
import os

import numpy as np
import pytest

from rdpprov.codecs import planar
from rdpprov.codecs.pixels import pack, unpack
from rdpprov.encoding.bitmap import BitmapEncoder

FORMATS = {15: 0x0F010555, 16: 0x10010565, 24: 0x20040888, 32: 0x20040888}
"""FreeRDP 2's numbers for what we let it decode to: as it came, but B, G, R, X instead of 24 bits."""


@pytest.fixture(scope="module")
def freerdp():
    """libfreerdp2 of the Debian package libfreerdp2-2, which freerdp2-x11 brings."""
    name = ctypes.util.find_library("freerdp2")
    if name is None:
        reason = "needs the library of the Debian package freerdp2-x11"
        if os.environ.get("RDPPROV_REQUIRE_PEERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    library = ctypes.CDLL(name)
    number, pointer = ctypes.c_uint32, ctypes.c_void_p
    library.bitmap_interleaved_context_new.argtypes = [ctypes.c_int]
    library.bitmap_interleaved_context_new.restype = pointer
    library.bitmap_interleaved_context_free.argtypes = [pointer]
    library.interleaved_decompress.argtypes = [
        *(pointer, ctypes.c_char_p, number, number, number, number),
        *(pointer, number, number, number, number, number, number, pointer),
    ]
    library.freerdp_bitmap_planar_context_new.argtypes = [number, number, number]
    library.freerdp_bitmap_planar_context_new.restype = pointer
    library.freerdp_bitmap_planar_context_free.argtypes = [pointer]
    library.planar_decompress.argtypes = [
        *(pointer, ctypes.c_char_p, number, number, number),
        *(pointer, number, number, number, number, number, number, ctypes.c_int),
    ]
    return library


@pytest.fixture
def decode(freerdp):
    """A function that decodes one compressed update to a picture, row 0 at the top."""
    interleaved = freerdp.bitmap_interleaved_context_new(0)
    planes = freerdp.freerdp_bitmap_planar_context_new(0, 512, 512)

    def decode(update):
        width, height = update.width, update.height
        size = 2 if update.bits_per_pixel <= 16 else 4
        rows = np.zeros((height, size * width), np.uint8)
        source = (update.data, len(update.data), width, height)
        target = (rows.ctypes.data, FORMATS[update.bits_per_pixel], size * width, 0, 0, width, height)
        if update.bits_per_pixel == 32:
            assert freerdp.planar_decompress(planes, *source, *target, 1)
        else:
            assert freerdp.interleaved_decompress(interleaved, *source, update.bits_per_pixel, *target, None)
        return unpack(rows, update.bits_per_pixel if size == 2 else 32)

    yield decode
    freerdp.bitmap_interleaved_context_free(interleaved)
    freerdp.freerdp_bitmap_planar_context_free(planes)


def make_pictures():
    """Pictures in which every kind of order occurs."""
    random = np.random.default_rng(11)
    for width, height in ((1, 1), (4, 1), (3, 3), (63, 65), (130, 70), (300, 64)):
        yield np.full((height, width, 4), random.integers(0, 256), np.uint8)
        for colours, change in ((2, 0.3), (2, 0.05), (4, 0.1), (7, 0.5)):
            palette = random.integers(0, 256, (colours, 4), dtype=np.uint8)
            palette[0] = random.choice([0, 255])
            index = np.cumsum(random.random((height, width)) < change, axis=1)
            same = random.random(height) < 0.6
            for y in range(1, height):
                if same[y]:
                    index[y] = index[y - 1]
            yield palette[index % colours]
            flipped = random.random((height, width)) < 0.1
            yield palette[(index + flipped) % colours]
        yield random.integers(0, 256, (height, width, 4), dtype=np.uint8)


@pytest.mark.parametrize("bits_per_pixel", [15, 16, 24, 32])
@pytest.mark.parametrize("format_header", [planar.RLE, planar.RLE | planar.NO_ALPHA])
def test_freerdp_shows_what_the_desktop_shows(decode, bits_per_pixel, format_header):
    encoder = BitmapEncoder(bits_per_pixel=bits_per_pixel, format_header=format_header)
    compressed = 0
    for picture in make_pictures():
        expected = unpack(pack(picture, bits_per_pixel), bits_per_pixel)
        for update in encoder.encode(picture, 0, 0):
            if update.compressed:
                compressed += 1
                shown = decode(update)[:, : update.right - update.left]
                there = expected[update.top : update.bottom, update.left : update.right]
                assert (shown[..., :3] == there[..., :3]).all()
    assert compressed > 50
