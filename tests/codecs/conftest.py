import os

import numpy as np
import pytest
from hypothesis import strategies as st

from rdpprov.codecs import native
from rdpprov.codecs.client_pixels import PixelLayout


@st.composite
def _pictures(draw, max_side=70):
    """Pictures that look like something: few colours, rows that repeat, runs of all lengths; or noise."""
    height, width = draw(st.integers(1, max_side)), draw(st.integers(1, max_side))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["solid", "few", "few", "few", "text", "gradient", "noise"]))
    match kind:
        case "solid":
            colours = np.broadcast_to(random.integers(0, 256, 4, dtype=np.uint8), (height, width, 4)).copy()
        case "few":
            palette = random.integers(0, 256, (draw(st.integers(2, 6)), 4), dtype=np.uint8)
            if draw(st.booleans()):
                palette[0] = draw(st.sampled_from([0, 255]))
            steps = random.random((height, width)) < draw(st.sampled_from([0.01, 0.1, 0.5]))
            index = np.cumsum(steps, axis=1)
            repeated = random.random(height) < draw(st.sampled_from([0.0, 0.5, 0.95]))
            for y in range(1, height):
                if repeated[y]:
                    index[y] = index[y - 1]
            colours = palette[index % len(palette)]
        case "text":
            colours = np.full((height, width, 4), 255, np.uint8)
            colours[random.random((height, width)) < 0.3, :3] = draw(st.sampled_from([0, 64]))
        case "gradient":
            colours = np.zeros((height, width, 4), np.uint8)
            colours[...] = (np.arange(width) * draw(st.integers(1, 9)) % 256)[:, np.newaxis]
            colours[..., 1] += (np.arange(height) % 256).astype(np.uint8)[:, np.newaxis]
        case _:
            colours = random.integers(0, 256, (height, width, 4), dtype=np.uint8)
    return colours


@pytest.fixture(scope="session")
def pictures():
    """A strategy of pictures, (height, width, 4) uint8."""
    return _pictures()


# What clients ask for, and what has a trap in it.
CLIENT_LAYOUTS = [
    PixelLayout(),  # TigerVNC
    PixelLayout(shifts=(0, 8, 16)),  # noVNC, libvncclient
    PixelLayout(big_endian=True),
    PixelLayout(shifts=(24, 16, 8)),  # the three higher bytes
    PixelLayout(big_endian=True, shifts=(24, 16, 8)),
    PixelLayout(shifts=(8, 16, 24)),
    PixelLayout(depth=32, shifts=(0, 8, 16)),  # UltraVNC: no pixel of three bytes
    PixelLayout(depth=16, maxima=(31, 63, 31), shifts=(19, 13, 8)),  # fits the lower and the higher bytes
    PixelLayout(depth=16, big_endian=True, maxima=(31, 63, 31), shifts=(19, 13, 8)),
    PixelLayout(depth=24, shifts=(0, 12, 24)),  # fits neither
    PixelLayout(16, 16, maxima=(31, 63, 31), shifts=(11, 5, 0)),
    PixelLayout(16, 16, True, maxima=(31, 63, 31), shifts=(11, 5, 0)),
    PixelLayout(16, 15, maxima=(31, 31, 31), shifts=(10, 5, 0)),
    PixelLayout(8, 8, maxima=(7, 7, 3), shifts=(0, 3, 6)),  # BGR233
    PixelLayout(8, 6, maxima=(3, 3, 3), shifts=(4, 2, 0)),
    PixelLayout(8, 3, maxima=(1, 1, 1), shifts=(2, 1, 0)),
    PixelLayout(8, 8, true_colour=False, maxima=(0, 0, 0), shifts=(0, 0, 0)),
]


@st.composite
def _any_layouts(draw):
    """Every legal format: bits to three colours, in some order, with gaps."""
    bits_per_pixel = draw(st.sampled_from([8, 16, 32]))
    widths, places, left = [], [], bits_per_pixel
    for rest in (2, 1, 0):
        widths.append(draw(st.integers(1, min(8, left - rest))))
        left -= widths[-1]
    at = 0
    for width in widths:
        at += draw(st.integers(0, left))
        places.append(at)
        at += width
        left = bits_per_pixel - at - (sum(widths) - sum(widths[: len(places)]))
    order = draw(st.permutations([0, 1, 2]))
    return PixelLayout(
        bits_per_pixel,
        draw(st.integers(sum(widths), bits_per_pixel)),
        draw(st.booleans()),
        maxima=tuple((1 << widths[index]) - 1 for index in order),
        shifts=tuple(places[index] for index in order),
    )


@pytest.fixture(scope="session")
def layouts():
    """A strategy of `PixelLayout`."""
    return st.sampled_from(CLIENT_LAYOUTS) | _any_layouts()


@pytest.fixture(scope="session")
def extension():
    """The C extension; skips the test where it was not built."""
    if native.extension is None:
        reason = "needs the C extension, which was not built or is switched off by RDPPROV_NO_NATIVE"
        if os.environ.get("RDPPROV_REQUIRE_PEERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return native.extension
