"""Memory for pixels, straight from the operating system.

A C library keeps large blocks that are freed for later (glibc, from the second one on, anything up to 32 MiB), and a
process that once had a thousand framebuffers would look as if it still had. What is mapped is given back when the last
array that shows it is gone.
"""

import mmap
import sys
from math import prod

import numpy as np

from rdpprov.api.devices import Pixels


def blank_pixels(width: int, height: int) -> Pixels:
    """Zeros, uint8, shape (height, width, 4), whose pages become real only when something is written to them.

    It has no file descriptor, and on Linux neighbouring ones are one mapping for the kernel, which counts them.
    """
    shape = (height, width, 4)
    if sys.platform == "win32":  # its allocator maps large blocks by itself, and gives them back
        return np.zeros(shape, np.uint8)
    pages = mmap.mmap(-1, prod(shape), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(pages, np.uint8).reshape(shape)
