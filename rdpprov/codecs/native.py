"""Picks, once, between the C extension and the Python implementation of the same functions.

`extension` is the module ``rdpprov.codecs._native``, or None where it was not built or where the environment variable
``RDPPROV_NO_NATIVE`` is set to anything but "" and "0". With ``RDPPROV_NO_CARRYLESS`` set, it makes its digests as on
processors without VPCLMULQDQ, for tests.
"""

import importlib
import os
from collections.abc import Sequence
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

__all__ = ["Extension", "extension"]


class Extension(Protocol):
    """What ``_native.c`` offers. All raise ValueError about their arguments; callers check before."""

    def encode(self, pixels: NDArray[np.uint8], bits_per_pixel: int, format_header: int, limit: int, /) -> bytes | None:
        """A picture as interleaved RLE or, at 32 bits, planar; None if it takes more than limit bytes."""

    def encode_tiles(
        self, pixels: NDArray[np.uint8], tiles: bytes, bits_per_pixel: int, format_header: int, key: bytes, /
    ) -> list[tuple[bool, bytes, bytes]]:
        """`rdpprov.codecs.tiles.encode_tiles`; a tile is four int32."""

    def digest_tiles(self, pixels: NDArray[np.uint8], tiles: bytes, key: bytes, /) -> bytes:
        """`rdpprov.codecs.tiles.digest_tiles`, all digests joined."""

    def paint(self, pixels: NDArray[np.uint32], left: int, top: int, items: Sequence[Any], /) -> None:
        """`rdpprov.codecs.painting.paint`."""

    def solid_colour(self, pixels: NDArray[np.uint8], /) -> int | None:
        """`rdpprov.codecs.tiles.solid_colour`."""

    def rle_decode(
        self, data: bytes | bytearray | memoryview, width: int, height: int, bits_per_pixel: int, /
    ) -> bytearray:
        """Pixels of an interleaved RLE stream; ValueError says what is wrong with it."""

    def plane_decode(
        self, data: bytes | bytearray | memoryview, offset: int, width: int, height: int, /
    ) -> tuple[bytearray, int]:
        """One RLE-coded plane and the offset behind it; ValueError says what is wrong with it."""

    def rfb_pixels(self, pixels: NDArray[np.uint8], tables: bytes, size: int, /) -> bytes:
        """`rdpprov.codecs.client_pixels.PixelForm.pack`."""

    def zrle_tiles(self, pixels: NDArray[np.uint8], tables: bytes, size: int, /) -> bytes:
        """`rdpprov.codecs.zrle.tiles`."""

    def count_colours(self, pixels: NDArray[np.uint8], tables: bytes, size: int, side: int, most: int, /) -> bytes:
        """`rdpprov.codecs.tight.count_colours`; three uint32 a cell."""

    def tight_indices(
        self, pixels: NDArray[np.uint8], tables: bytes, size: int, most: int, /
    ) -> tuple[bytes, bytes] | None:
        """`rdpprov.codecs.tight.indices`."""

    def hextile(self, pixels: NDArray[np.uint8], tables: bytes, size: int, /) -> bytes:
        """`rdpprov.codecs.hextile.encode`."""


def _load() -> Extension | None:
    if os.environ.get("RDPPROV_NO_NATIVE", "") not in {"", "0"}:
        return None
    try:
        return cast(Extension, importlib.import_module("rdpprov.codecs._native"))
    except ImportError:  # no compiler when it was installed: everything works, slower
        return None


extension = _load()
