"""X11's numbers for what a key makes, as RFB sends them: to characters, and to keys of a PC's keyboard.

Source: the X protocol's "KEYSYM Encoding"; [RFC 6143] 7.5.4 "KeyEvent". A keysym below 0x100 is Latin-1, above
0x01000000 Unicode; between are blocks of 256 that follow the eight-bit character sets of their time, which senders
prefer where one has the character.
"""

import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import attrs

UNICODE = 0x01000000

SHIFT_L, SHIFT_R = 0xFFE1, 0xFFE2
CONTROL_L, CONTROL_R = 0xFFE3, 0xFFE4
CAPS_LOCK, SHIFT_LOCK, NUM_LOCK, SCROLL_LOCK = 0xFFE5, 0xFFE6, 0xFF7F, 0xFF14
META_L, META_R, ALT_L, ALT_R = 0xFFE7, 0xFFE8, 0xFFE9, 0xFFEA
LEVEL3_SHIFT, MODE_SWITCH, LEFT_TAB, PAUSE = 0xFE03, 0xFF7E, 0xFE20, 0xFF13


@attrs.frozen
class Place:
    """Where a key is: scan code set 1."""

    scancode: int
    extended: bool = False
    """Prefix E0."""


def _places(first: int, *scancodes: int) -> Iterable[tuple[int, Place]]:
    """Of consecutive keysyms; 0x80 is prefix E0, and 0 no key."""
    for keysym, scancode in enumerate(scancodes, first):
        if scancode:
            yield keysym, Place(scancode & 0x7F, bool(scancode & 0x80))


KEYS: Final = dict(
    (
        *_places(0xFF08, 0x0E, 0x0F, 0, 0, 0, 0x1C),  # BackSpace, Tab, Return
        *_places(PAUSE, 0xC6),
        *_places(0xFF1B, 0x01),  # Escape
        *_places(0xFF22, 0x7B, 0x79),  # Muhenkan, Henkan
        *_places(0xFF27, 0x70),  # Hiragana_Katakana
        *_places(0xFF2A, 0x29),  # Zenkaku_Hankaku
        # Home, Left, Up, Right, Down, Page_Up, Page_Down, End, Begin
        *_places(0xFF50, 0xC7, 0xCB, 0xC8, 0xCD, 0xD0, 0xC9, 0xD1, 0xCF, 0x4C),
        *_places(0xFF61, 0xB7, 0, 0xD2, 0, 0, 0, 0xDD),  # Print, Insert, Menu
        *_places(0xFF6B, 0xC6),  # Break
        *_places(0xFF8D, 0x9C),  # KP_Enter
        # KP_Home ... KP_Delete: the keys that mean this whatever Num Lock says
        *_places(0xFF95, 0xC7, 0xCB, 0xC8, 0xCD, 0xD0, 0xC9, 0xD1, 0xCF, 0x4C, 0xD2, 0xD3),
        *_places(0xFFAA, 0x37, 0x4E, 0, 0x4A, 0, 0xB5),  # KP_Multiply, Add, Subtract, Divide
        *_places(0xFFBE, *range(0x3B, 0x45), 0x57, 0x58, *range(0x64, 0x6F), 0x76),  # F1 to F24
        *_places(SHIFT_L, 0x2A, 0x36, 0x1D, 0x9D, 0x3A),  # Shift, Control, Caps_Lock
        *_places(META_L, 0x38, 0xB8, 0x38, 0xB8, 0xDB, 0xDC, 0xDB, 0xDC),  # Meta, Alt, Super, Hyper
        *_places(0xFFFF, 0xD3),  # Delete
        *_places(NUM_LOCK, 0x45),
        *_places(SCROLL_LOCK, 0x46),
        *_places(LEVEL3_SHIFT, 0xB8),
        *_places(MODE_SWITCH, 0xB8),
        *_places(LEFT_TAB, 0x0F),
        *_places(0x1008FF11, 0xAE, 0xA0, 0xB0, 0xA2, 0xA4, 0x90, 0x99, 0xB2, 0xEC, 0, 0xE5),  # multimedia
        *_places(0x1008FF26, 0xEA, 0xE9, 0, 0xE7),  # Back, Forward, Refresh
    )
)
"""Keys that make no character."""

_KEYPAD: Final = {0xFF80: " ", 0xFFBD: "=", 0xFFAC: ",", **{0xFFB0 + digit: str(digit) for digit in range(10)}}
KEYPAD_DECIMAL: Final = 0xFFAE

DEAD: Final = {
    0xFE50: ("\u0300", "`"),
    0xFE51: ("\u0301", "´"),
    0xFE52: ("\u0302", "^"),
    0xFE53: ("\u0303", "~"),
    0xFE54: ("\u0304", "¯"),
    0xFE55: ("\u0306", "˘"),
    0xFE56: ("\u0307", "˙"),
    0xFE57: ("\u0308", "¨"),
    0xFE58: ("\u030a", "°"),
    0xFE59: ("\u030b", "˝"),
    0xFE5A: ("\u030c", "ˇ"),
    0xFE5B: ("\u0327", "¸"),
    0xFE5C: ("\u0328", "˛"),
}
"""Dead keys: the combining character, and what is typed if nothing fits."""

_BLOCKS: Final = {
    0x01: "iso8859-2",
    0x02: "iso8859-3",
    0x03: "iso8859-4",
    0x05: "iso8859-6",
    0x0C: "iso8859-8",
    0x0D: "tis-620",
}
_CYRILLIC: Final = "ђѓёєѕіїјљњћќґўџ№ЂЃЁЄЅІЇЈЉЊЋЌҐЎЏ"  # 6A1 to 6BF, then KOI8-R
_GREEK: Final = {
    **dict(zip(range(0x7A1, 0x7AC), "ΆΈΉΊΪ?ΌΎΫ?Ώ", strict=True)),
    0x7AE: "΅",
    0x7AF: "―",
    **dict(zip(range(0x7B1, 0x7BC), "άέήίϊΐόύϋΰώ", strict=True)),
    **dict(zip(range(0x7C1, 0x7DA), "ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣ?ΤΥΦΧΨΩ", strict=True)),
    **dict(zip(range(0x7E1, 0x7FA), "αβγδεζηθικλμνξοπρσςτυφχψω", strict=True)),
}
_OTHERS: Final = {
    0x13BC: "Œ",
    0x13BD: "œ",
    0x13BE: "Ÿ",
    0x47E: "‾",
    0x4DE: "゛",
    0x4DF: "゜",
    0x8A4: "⌠",
    0x8BC: "≤",
    0x8BD: "≠",
    0x8BE: "≥",
    0x8C2: "∞",
    0x8FB: "←",
    0x8FC: "↑",
    0x8FD: "→",
    0x8FE: "↓",
    0xAA9: "—",
    0xAAA: "–",
    0xAAE: "…",
    0xAC9: "™",
    0xAD0: "‘",
    0xAD1: "’",
    0xAD2: "“",
    0xAD3: "”",
    0xAE6: "•",
    0xAF1: "†",
    0xAF2: "‡",
    0xAFD: "‚",
    0xAFE: "„",
}


@lru_cache(maxsize=1024)
def character(keysym: int) -> str:
    """What a keysym types; empty if it is no character that can be typed."""
    found = _KEYPAD.get(keysym) or _character(keysym)
    return found if found and (found.isprintable() or unicodedata.category(found) in ("Cf", "Zs")) else ""


def _character(keysym: int) -> str:
    if keysym < 0x100:
        return chr(keysym)
    if UNICODE + 0x20 <= keysym <= UNICODE + 0x10FFFF:
        return "" if 0xD800 <= keysym - UNICODE <= 0xDFFF else chr(keysym - UNICODE)
    block, byte = keysym >> 8, keysym & 0xFF
    if block in _BLOCKS and byte > 0xA0:
        return bytes((byte,)).decode(_BLOCKS[block], "ignore")
    if block == 0x06 and byte > 0xA0:
        return _CYRILLIC[byte - 0xA1] if byte < 0xC0 else bytes((byte,)).decode("koi8-r")
    if block == 0x07:
        return _GREEK.get(keysym, "").strip("?")
    if 0x4A1 <= keysym < 0x4DE:  # half as wide as what is meant
        return unicodedata.normalize("NFKC", chr(keysym - 0x4A1 + 0xFF61))
    if 0xEA1 <= keysym <= 0xED3:
        return chr(keysym - 0xEA1 + 0x3131)
    if 0x20A0 <= keysym <= 0x20AC:
        return chr(keysym)
    return _OTHERS.get(keysym, "")


def keysym_of(text: str) -> int:
    """The keysym of one character, as a sender may choose it."""
    number = ord(text)
    if 0x20 <= number <= 0x7E or 0xA0 <= number <= 0xFF:
        return number
    return 0x20AC if text == "€" else UNICODE + number
