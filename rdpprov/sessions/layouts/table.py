"""What a keyboard layout consists of: characters by place and level, dead keys, what Caps Lock does."""

from collections.abc import Mapping
from functools import cached_property

import attrs

# Scan code set 1, row by row as an ISO keyboard (105 keys) lies on the desk. 0x2B is the key left of Enter (on an ANSI
# keyboard it is above Enter), 0x56 the one between the left Shift and the letters.
ROWS = (
    (0x29, *range(0x02, 0x0E)),
    tuple(range(0x10, 0x1C)),
    (*range(0x1E, 0x29), 0x2B),
    (0x56, *range(0x2C, 0x36)),
)

Rows = tuple[str, str, str, str]
"""One character for each key of `ROWS`; a space is a key that types nothing at this level."""

NOTHING: Rows = (" " * 13, " " * 12, " " * 12, " " * 11)


def _check_rows(_layout: object, attribute: "attrs.Attribute[Rows]", rows: Rows) -> None:
    if [len(row) for row in rows] != [len(row) for row in ROWS]:
        raise ValueError(f"{attribute.name}: each row needs one character a key")


@attrs.frozen(slots=False, eq=False)
class Layout:
    """One keyboard layout, as Windows has it."""

    name: str
    """Short, as in ``us``."""
    title: str
    """For people."""
    identifier: int
    """Windows's keyboard layout id, as a client announces it."""
    plain: Rows = attrs.field(validator=_check_rows)
    shifted: Rows = attrs.field(validator=_check_rows)
    alt_gr: Rows = attrs.field(default=NOTHING, validator=_check_rows)
    shifted_alt_gr: Rows = attrs.field(default=NOTHING, validator=_check_rows)
    has_alt_gr: bool = False
    """Whether the right Alt key is AltGr (and Ctrl+Alt the same). Otherwise it is a plain Alt."""
    caps_lock: str = ""
    """The keys that Caps Lock shifts, by their plain characters, beside the letters a to z."""
    dead: tuple[str, str, str] = ("", "", "")
    """Characters that are dead keys on the levels plain, shifted and AltGr: they wait for the next key."""
    composed: Mapping[str, Mapping[str, str]] = attrs.field(factory=dict)
    """By dead key: the character that follows, and what both make."""
    decimal: str = "."
    """What the numpad's decimal key types."""

    @cached_property
    def levels(self) -> tuple[Mapping[int, str], Mapping[int, str], Mapping[int, str], Mapping[int, str]]:
        """By scan code: plain, shifted, AltGr, shifted AltGr."""
        plain, shifted, alt_gr, shifted_alt_gr = (
            {
                scancode: character
                for codes, characters in zip(ROWS, rows, strict=True)
                for scancode, character in zip(codes, characters, strict=True)
                if character != " "
            }
            for rows in (self.plain, self.shifted, self.alt_gr, self.shifted_alt_gr)
        )
        return plain, shifted, alt_gr, shifted_alt_gr

    @cached_property
    def caps_lock_keys(self) -> frozenset[int]:
        """Scan codes of the keys that Caps Lock shifts."""
        letters = "abcdefghijklmnopqrstuvwxyz" + self.caps_lock
        return frozenset(scancode for scancode, character in self.levels[0].items() if character in letters)


def composing(bases: str, composed: str) -> Mapping[str, str]:
    """A dead key's table: the characters of ``bases`` become those of ``composed``, one by one."""
    return dict(zip(bases, composed, strict=True))
