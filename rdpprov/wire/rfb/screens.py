"""The screens that make up a desktop. Source: the community's text, "ExtendedDesktopSize Pseudo-encoding"."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from struct import Struct
from typing import ClassVar, Final

import attrs

from rdpprov.wire.base import uint16, uint32

MAX_SCREENS: Final = 16
"""That we take from a client. 255 could be said, and each answer, also to a wish for no screen at all, names all of
them: eight bytes would bring four thousand."""


class ResizeReason(IntEnum):
    """Why a client is told a size: the rectangle's x."""

    SERVER = 0
    THIS_CLIENT = 1
    OTHER_CLIENT = 2


class ResizeStatus(IntEnum):
    """What became of a client's wish: the rectangle's y."""

    OK = 0
    PROHIBITED = 1
    OUT_OF_RESOURCES = 2
    INVALID_LAYOUT = 3
    FORWARDED = 4


@attrs.frozen
class ScreenArea:
    """SCREEN: one of them, in pixels of the whole desktop. 16 bytes, big-endian."""

    LAYOUT: ClassVar[Struct] = Struct(">I4HI")

    screen_id: int = uint32()
    """Chosen by whoever made the screen, and kept by the other side."""
    x: int = uint16()
    y: int = uint16()
    width: int = uint16()
    height: int = uint16()
    flags: int = uint32(default=0)
    """No bit means anything yet; kept as received."""

    def pack(self) -> bytes:
        """16 bytes."""
        return self.LAYOUT.pack(self.screen_id, self.x, self.y, self.width, self.height, self.flags)


def unpack_screens(data: bytes) -> tuple[ScreenArea, ...]:
    """All of `data`, a whole number of screens."""
    return tuple(ScreenArea(*fields) for fields in ScreenArea.LAYOUT.iter_unpack(data))


def layout_problem(width: int, height: int, screens: Sequence[ScreenArea]) -> str:
    """Why screens make no desktop of this size; empty if they do."""
    if not width or not height:
        return f"a desktop of {width}x{height}"
    if not screens:
        return "no screen"
    if len(screens) > MAX_SCREENS:
        return f"{len(screens)} screens, {MAX_SCREENS} are taken"
    if len({screen.screen_id for screen in screens}) < len(screens):
        return "two screens with one id"
    for screen in screens:
        if not screen.width or not screen.height:
            return f"screen {screen.screen_id} is {screen.width}x{screen.height}"
        # Each edge by itself: areas have been compared, and screens outside have passed.
        if screen.x + screen.width > width or screen.y + screen.height > height:
            return f"screen {screen.screen_id} is not inside {width}x{height}"
    return ""
