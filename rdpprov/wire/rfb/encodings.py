"""Numbers of encodings: how rectangles are packed, and (below zero) what else a client can do.

Source: [RFC 6143] 7.7, 7.8; for the rest the community's text, "Encodings".
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Final


class Encoding(IntEnum):
    """Encodings and pseudo-encodings that we know by name. Signed, as the wire has them."""

    RAW = 0
    COPY_RECT = 1
    RRE = 2
    CORRE = 4
    HEXTILE = 5
    ZLIB = 6
    TIGHT = 7
    TRLE = 15
    ZRLE = 16
    JPEG = 21
    OPEN_H264 = 50
    TIGHT_PNG = -260

    DESKTOP_SIZE = -223
    LAST_RECT = -224
    POINTER_POSITION = -232
    CURSOR = -239
    X_CURSOR = -240
    QEMU_POINTER_MOTION = -257
    QEMU_KEY_EVENT = -258
    QEMU_AUDIO = -259
    LED_STATE = -261
    GII = -305
    DESKTOP_NAME = -307
    EXTENDED_DESKTOP_SIZE = -308
    XVP = -309
    FENCE = -312
    CONTINUOUS_UPDATES = -313
    CURSOR_WITH_ALPHA = -314
    EXTENDED_MOUSE_BUTTONS = -316
    TIGHT_WITHOUT_ZLIB = -317
    EXTENDED_CLIPBOARD = -1063131698
    """0xC0A1E5CE."""
    VMWARE_CURSOR = 0x574D5664
    VMWARE_CURSOR_POSITION = 0x574D5666
    VMWARE_LED_STATE = 0x574D5668


class Subsampling(IntEnum):
    """How coarse colours may be in JPEG, as a client asks for it: 1X is not coarse at all."""

    SUBSAMPLING_16X = -763
    SUBSAMPLING_8X = -764
    GRAY = -765
    SUBSAMPLING_2X = -766
    SUBSAMPLING_4X = -767
    SUBSAMPLING_1X = -768


_QUALITY_0: Final = -32
_COMPRESSION_0: Final = -256
_FINE_QUALITY_0: Final = -512


def quality_encoding(level: int) -> int:
    """The number that asks for JPEG of a quality from 0 to 9."""
    return _QUALITY_0 + level


def compression_encoding(level: int) -> int:
    """The number that asks for a compression level from 0 to 9."""
    return _COMPRESSION_0 + level


def quality_level(encodings: Iterable[int]) -> int | None:
    """JPEG's quality from 0 to 9 that a client asks for, the first if it says several; None: it wants no JPEG in
    Tight, unless `fine_quality` or `subsampling` says so."""
    return _first(encodings, _QUALITY_0, 9)


def compression_level(encodings: Iterable[int]) -> int | None:
    """How hard to compress, from 0 to 9; None: the client leaves it to us."""
    return _first(encodings, _COMPRESSION_0, 9)


def fine_quality(encodings: Iterable[int]) -> int | None:
    """JPEG's own quality from 0 to 100, which goes before `quality_level`."""
    return _first(encodings, _FINE_QUALITY_0, 100)


def subsampling(encodings: Iterable[int]) -> Subsampling | None:
    """How coarse colours may be, which goes before `quality_level`."""
    found = _first(encodings, Subsampling.SUBSAMPLING_1X, 5)
    return None if found is None else Subsampling(Subsampling.SUBSAMPLING_1X + found)


def _first(encodings: Iterable[int], base: int, highest: int) -> int | None:
    return next((number - base for number in encodings if 0 <= number - base <= highest), None)
