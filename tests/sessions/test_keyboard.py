"""Scan codes to text. The tables are compared with those of xkeyboard-config, which somebody else wrote."""

import ctypes
import ctypes.util
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.api.devices import LockKeys, ScancodeKey, UnicodeKey
from rdpprov.sessions.keyboard import EditKey, Keyboard, Keystroke
from rdpprov.sessions.layouts import DE, FR, LAYOUTS, UK, US, Layout
from rdpprov.sessions.layouts.table import ROWS

SHIFT, CTRL, ALT, CAPS, NUM = 0x2A, 0x1D, 0x38, 0x3A, 0x45


def tap(keyboard: Keyboard, scancode: int, extended: bool = False) -> list[Keystroke]:
    typed = keyboard.press(ScancodeKey(scancode, True, extended))
    assert keyboard.press(ScancodeKey(scancode, False, extended)) == []
    return typed


def hold(keyboard: Keyboard, *keys: int | tuple[int, bool]) -> None:
    for key in keys:
        scancode, extended = (key, False) if isinstance(key, int) else key
        assert keyboard.press(ScancodeKey(scancode, True, extended)) == []


def release(keyboard: Keyboard, *keys: int | tuple[int, bool]) -> None:
    for key in keys:
        scancode, extended = (key, False) if isinstance(key, int) else key
        assert keyboard.press(ScancodeKey(scancode, False, extended)) == []


ALT_GR = (ALT, True)
KEYS = [scancode for row in ROWS for scancode in row]


def level(layout: Layout, scancode: int, *held: int | tuple[int, bool]) -> str:
    """The character that a key makes with others held; a dead key followed by space makes its accent."""
    keyboard = Keyboard(layout.identifier)
    hold(keyboard, *held)
    typed = tap(keyboard, scancode)
    release(keyboard, *held)
    if not typed:
        typed = [character for character in tap(keyboard, 0x39) if character != " "]
    return "".join(str(character) for character in typed)


# xkeyboard-config, read by libxkbcommon

XKB_NAMES = {US: (b"us", b""), UK: (b"gb", b""), DE: (b"de", b""), FR: (b"fr", b"azerty")}
XKB_ACCENTS = {"dead_circumflex": "^", "dead_acute": "´", "dead_grave": "`", "dead_diaeresis": "¨", "dead_tilde": "~"}

# Where Windows's layouts, ours, differ from xkeyboard-config's: (layout, scan code, level).
DIFFERENCES = {
    ("us", 0x56, 0): "\\",  # the 105th key repeats the backslash, there it makes < and >
    ("us", 0x56, 1): "|",
    ("uk", 0x29, 2): "¦",
    ("uk", 0x12, 2): "é",
    ("uk", 0x16, 2): "ú",
    ("uk", 0x17, 2): "í",
    ("uk", 0x18, 2): "ó",
    ("uk", 0x1E, 2): "á",
}


class RuleNames(ctypes.Structure):
    _fields_ = [(name, ctypes.c_char_p) for name in ("rules", "model", "layout", "variant", "options")]


@pytest.fixture(scope="module")
def xkb() -> Callable[[Layout, int, int], str]:
    """What xkeyboard-config says that a key makes on a level."""
    library = ctypes.util.find_library("xkbcommon")
    if library is None:
        pytest.skip("needs libxkbcommon0")
    if not Path("/usr/share/X11/xkb/symbols").is_dir():
        pytest.skip("needs xkb-data")
    lib = ctypes.CDLL(library)
    pointer, uint = ctypes.c_void_p, ctypes.c_uint32
    lib.xkb_context_new.restype = pointer
    lib.xkb_keymap_new_from_names.restype = pointer
    lib.xkb_keymap_new_from_names.argtypes = [pointer, ctypes.POINTER(RuleNames), ctypes.c_int]
    lib.xkb_keymap_key_get_syms_by_level.argtypes = [pointer, uint, uint, uint, ctypes.POINTER(ctypes.POINTER(uint))]
    lib.xkb_keysym_to_utf32.argtypes = [uint]
    lib.xkb_keysym_to_utf32.restype = uint
    context = lib.xkb_context_new(0)
    keymaps = {}
    for layout, (name, variant) in XKB_NAMES.items():
        names = RuleNames(b"evdev", b"pc105", name, variant, b"")
        keymaps[layout.name] = lib.xkb_keymap_new_from_names(context, ctypes.byref(names), 0)
        assert keymaps[layout.name], f"libxkbcommon has no layout {name.decode()}"

    def character(layout: Layout, scancode: int, level: int) -> str:
        symbols = ctypes.POINTER(uint)()
        # On these keys evdev's codes are scan code set 1; X counts from 8 on.
        found = lib.xkb_keymap_key_get_syms_by_level(
            keymaps[layout.name], scancode + 8, 0, level, ctypes.byref(symbols)
        )
        if found != 1:
            return ""
        name = ctypes.create_string_buffer(64)
        lib.xkb_keysym_get_name(uint(symbols[0]), name, 64)
        accent = XKB_ACCENTS.get(name.value.decode())
        code_point = lib.xkb_keysym_to_utf32(symbols[0])
        return accent or (chr(code_point) if code_point else "")

    return character


@pytest.mark.parametrize("scancode", KEYS, ids=hex)
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
def test_every_key_makes_the_character_that_xkeyboard_config_has(layout, scancode, xkb):
    for number, held in enumerate([(), (SHIFT,)]):
        expected = DIFFERENCES.get((layout.name, scancode, number), xkb(layout, scancode, number))
        assert level(layout, scancode, *held) == expected
    ours = level(layout, scancode, ALT_GR)
    if ours:  # there are more characters on that level there than on Windows
        assert ours == DIFFERENCES.get((layout.name, scancode, 2), xkb(layout, scancode, 2))


def test_the_listed_differences_are_differences(xkb):
    for (name, scancode, number), ours in DIFFERENCES.items():
        layout = next(layout for layout in LAYOUTS.values() if layout.name == name)
        assert xkb(layout, scancode, number) != ours


def test_every_key_of_the_four_layouts_makes_something_plain():
    for layout in LAYOUTS.values():
        assert all(level(layout, scancode) for scancode in KEYS)


# Windows ids


@pytest.mark.parametrize(
    ("identifier", "layout", "is_fallback"),
    [
        (0x409, US, False),
        (0x809, UK, False),
        (0x407, DE, False),
        (0x40C, FR, False),
        (0x00010409, US, True),  # US Dvorak
        (0x040E, US, True),  # Hungarian
        (0, US, True),
    ],
)
def test_a_layout_is_chosen_by_windows_id_and_a_fallback_says_so(identifier, layout, is_fallback):
    keyboard = Keyboard(identifier)
    assert (keyboard.layout, keyboard.is_fallback) == (layout, is_fallback)
    assert (f"0x{identifier:08X}" in str(keyboard)) == is_fallback


# Modifiers and locks


def test_caps_lock_shifts_letters_and_shift_takes_it_back():
    keyboard = Keyboard(US.identifier)
    tap(keyboard, CAPS)
    assert tap(keyboard, 0x1E) == ["A"]
    assert tap(keyboard, 0x02) == ["1"]
    hold(keyboard, SHIFT)
    assert tap(keyboard, 0x1E) == ["a"]
    release(keyboard, SHIFT)
    tap(keyboard, CAPS)
    assert tap(keyboard, 0x1E) == ["a"]


def test_a_held_caps_lock_that_repeats_toggles_once():
    keyboard = Keyboard(US.identifier)
    hold(keyboard, CAPS, CAPS, CAPS)
    assert keyboard.caps_lock


@pytest.mark.parametrize(("layout", "digit"), [(DE, "!"), (FR, "1")], ids=lambda value: getattr(value, "name", value))
def test_caps_lock_shifts_digits_where_windows_does(layout, digit):
    keyboard = Keyboard(layout.identifier)
    tap(keyboard, CAPS)
    assert tap(keyboard, 0x02) == [digit]
    assert tap(keyboard, 0x56) == ["<"]


def test_alt_gr_is_the_right_alt_or_ctrl_and_alt_and_comes_with_an_invented_ctrl():
    for held in ([ALT_GR], [CTRL, ALT_GR], [CTRL, ALT], [(CTRL, True), ALT]):
        assert level(DE, 0x10, *held) == "@"
    assert level(UK, 0x12, ALT_GR, SHIFT) == "É"
    assert level(DE, 0x0C, ALT_GR, SHIFT) == "ẞ"


def test_shortcuts_are_no_text():
    for held in ([CTRL], [ALT], [CTRL, ALT], [ALT_GR]):
        keyboard = Keyboard(US.identifier)
        hold(keyboard, *held)
        assert tap(keyboard, 0x1E) == []


def test_lock_keys_set_the_locks_and_let_go_of_every_key():
    keyboard = Keyboard(US.identifier)
    hold(keyboard, SHIFT, CTRL)
    keyboard.press(LockKeys(scroll=False, num=True, caps=True, kana=False))
    assert (keyboard.caps_lock, keyboard.num_lock) == (True, True)
    assert tap(keyboard, 0x1E) == ["A"]
    keyboard.press(LockKeys(scroll=False, num=False, caps=False, kana=False))
    assert tap(keyboard, 0x1E) == ["a"]


def test_the_numpad_types_digits_with_num_lock_and_moves_without():
    keyboard = Keyboard(US.identifier)
    assert tap(keyboard, 0x47) == [EditKey.HOME]
    assert tap(keyboard, 0x53) == [EditKey.DELETE]
    tap(keyboard, NUM)
    digits = [tap(keyboard, scancode)[0] for scancode in (0x52, 0x4F, 0x50, 0x51, 0x4B, 0x4C, 0x4D, 0x47, 0x48, 0x49)]
    assert digits == list("0123456789")
    assert tap(keyboard, 0x47, extended=True) == [EditKey.HOME]
    operators = [tap(keyboard, *key)[0] for key in ((0x35, True), (0x37,), (0x4A,), (0x4E,))]
    assert operators == list("/*-+")
    assert tap(keyboard, 0x1C, extended=True) == [EditKey.ENTER]


@pytest.mark.parametrize(("layout", "decimal"), [(US, "."), (UK, "."), (DE, ","), (FR, ".")])
def test_the_numpad_decimal_key_follows_the_layout(layout, decimal):
    keyboard = Keyboard(layout.identifier)
    tap(keyboard, NUM)
    assert tap(keyboard, 0x53) == [decimal]


def test_pause_is_not_num_lock():
    keyboard = Keyboard(US.identifier)
    for event in (
        ScancodeKey(0x1D, True, extended1=True),
        ScancodeKey(0x45, True),
        ScancodeKey(0x1D, False, extended1=True),
        ScancodeKey(0x45, False),
    ):
        assert keyboard.press(event) == []
    assert not keyboard.num_lock
    tap(keyboard, NUM)
    assert keyboard.num_lock
    assert tap(keyboard, 0x1E) == ["a"]


@pytest.mark.parametrize(
    ("scancode", "extended", "key"),
    [
        (0x0E, False, EditKey.BACKSPACE),
        (0x1C, False, EditKey.ENTER),
        (0x0F, False, EditKey.TAB),
        (0x01, False, EditKey.ESCAPE),
        (0x53, True, EditKey.DELETE),
        (0x48, True, EditKey.UP),
        (0x50, True, EditKey.DOWN),
        (0x4B, True, EditKey.LEFT),
        (0x4D, True, EditKey.RIGHT),
        (0x47, True, EditKey.HOME),
        (0x4F, True, EditKey.END),
    ],
)
def test_keys_that_edit(scancode, extended, key):
    assert tap(Keyboard(), scancode, extended) == [key]


def test_shift_and_tab_go_back():
    keyboard = Keyboard()
    hold(keyboard, SHIFT)
    assert tap(keyboard, 0x0F) == [EditKey.BACK_TAB]


def test_shifts_that_keyboards_invent_around_navigation_keys_are_ignored():
    keyboard = Keyboard(US.identifier)
    hold(keyboard, (SHIFT, True))
    assert tap(keyboard, 0x1E) == ["a"]


# Dead keys


def composed(layout: Layout, *keys: tuple[int, ...]) -> str:
    """Each key is a scan code and what is held with it."""
    keyboard = Keyboard(layout.identifier)
    text = ""
    for scancode, *held in keys:
        hold(keyboard, *held)
        text += "".join(str(character) for character in tap(keyboard, scancode))
        release(keyboard, *held)
    return text


@pytest.mark.parametrize(
    ("layout", "keys", "text"),
    [
        (DE, [(0x29,), (0x12,)], "ê"),
        (DE, [(0x0D,), (0x12,)], "é"),
        (DE, [(0x0D, SHIFT), (0x12,)], "è"),
        (DE, [(0x0D,), (0x1E, SHIFT)], "Á"),
        (DE, [(0x29,), (0x39,)], "^"),
        (DE, [(0x29,), (0x29,)], "^^"),
        (DE, [(0x29,), (0x2D,)], "^x"),
        (FR, [(0x1A,), (0x12,)], "ê"),
        (FR, [(0x1A, SHIFT), (0x12,)], "ë"),
        (FR, [(0x1A, SHIFT), (0x15,)], "ÿ"),
        (FR, [(0x03, ALT_GR), (0x31,)], "ñ"),
        (FR, [(0x08, ALT_GR), (0x12,)], "è"),
        (FR, [(0x0A, ALT_GR)], "^"),
    ],
)
def test_dead_keys_compose(layout, keys, text):
    assert composed(layout, *keys) == text


def test_backspace_takes_a_dead_key_back():
    keyboard = Keyboard(DE.identifier)
    assert tap(keyboard, 0x29) == []
    assert tap(keyboard, 0x0E) == []
    assert tap(keyboard, 0x12) == ["e"]


def test_enter_after_a_dead_key_types_its_accent_first():
    keyboard = Keyboard(DE.identifier)
    tap(keyboard, 0x29)
    assert tap(keyboard, 0x1C) == ["^", EditKey.ENTER]


# Unicode key events


@pytest.mark.parametrize("text", ["a", "é", "中", "😀", "𝄞"])
def test_unicode_keys_type_their_character_when_pressed(text):
    keyboard = Keyboard()
    assert keyboard.press(UnicodeKey(text, True)) == [text]
    assert keyboard.press(UnicodeKey(text, False)) == []


def test_surrogates_that_come_apart_are_joined():
    keyboard = Keyboard()
    assert keyboard.press(UnicodeKey("\ud83d", True)) == []
    assert keyboard.press(UnicodeKey("\ude00", True)) == ["😀"]


def test_control_characters_edit():
    keyboard = Keyboard()
    assert keyboard.press(UnicodeKey("\b", True)) == [EditKey.BACKSPACE]
    assert keyboard.press(UnicodeKey("\r", True)) == [EditKey.ENTER]
    assert keyboard.press(UnicodeKey("\x00", True)) == []


events = st.one_of(
    st.builds(ScancodeKey, st.integers(0, 127), st.booleans(), st.booleans(), st.booleans()),
    st.builds(UnicodeKey, st.characters(), st.booleans()),
    st.builds(LockKeys, st.booleans(), st.booleans(), st.booleans(), st.booleans()),
)


@given(st.sampled_from(sorted(LAYOUTS)), st.lists(events, max_size=60))
def test_any_events_type_printable_text_or_edit(identifier, sequence):
    keyboard = Keyboard(identifier)
    for event in sequence:
        for keystroke in keyboard.press(event):
            assert isinstance(keystroke, EditKey) or keystroke.isprintable()
