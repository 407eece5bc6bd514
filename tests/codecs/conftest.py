import os

import numpy as np
import pytest
from hypothesis import strategies as st

from rdpprov.codecs import native


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


@pytest.fixture(scope="session")
def extension():
    """The C extension; skips the test where it was not built."""
    if native.extension is None:
        reason = "needs the C extension, which was not built or is switched off by RDPPROV_NO_NATIVE"
        if os.environ.get("RDPPROV_REQUIRE_PEERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return native.extension
