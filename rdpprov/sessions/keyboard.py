"""Keys to text: scan codes through a keyboard layout, with modifiers, lock keys, dead keys and the numpad.

A client sends the place of a key; which character it makes is the session's matter, and follows from the keyboard
layout id that the client announced ([MS-RDPBCGR] 2.2.1.3.2 "Client Core Data", keyboardLayout).
"""

from collections.abc import Mapping
from enum import Enum
from typing import TypeAlias

from rdpprov.api.devices import InputEvent, LockKeys, ScancodeKey, UnicodeKey
from rdpprov.sessions.layouts import FALLBACK, LAYOUTS, Layout


class EditKey(Enum):
    """A key that does something instead of making a character."""

    BACKSPACE = "backspace"
    DELETE = "delete"
    ENTER = "enter"
    TAB = "tab"
    BACK_TAB = "back tab"
    ESCAPE = "escape"
    LEFT = "left"
    RIGHT = "right"
    UP = "up"
    DOWN = "down"
    HOME = "home"
    END = "end"


Keystroke: TypeAlias = str | EditKey
"""What one key press comes to: characters (two, if a dead key does not go with what follows it), or an `EditKey`."""

LEFT_SHIFT, RIGHT_SHIFT, CTRL, ALT, CAPS_LOCK, NUM_LOCK, SCROLL_LOCK = 0x2A, 0x36, 0x1D, 0x38, 0x3A, 0x45, 0x46
ALT_GR = (ALT, True)  # the right Alt key: 38 with prefix E0
SPACE = 0x39

PLAIN_KEYS: Mapping[int, EditKey] = {
    0x01: EditKey.ESCAPE,
    0x0E: EditKey.BACKSPACE,
    0x0F: EditKey.TAB,
    0x1C: EditKey.ENTER,
}
NAVIGATION: Mapping[int, EditKey | None] = {
    0x47: EditKey.HOME,
    0x48: EditKey.UP,
    0x49: None,  # Page Up
    0x4B: EditKey.LEFT,
    0x4C: None,  # the 5 of the numpad
    0x4D: EditKey.RIGHT,
    0x4F: EditKey.END,
    0x50: EditKey.DOWN,
    0x51: None,  # Page Down
    0x52: None,  # Insert
    0x53: EditKey.DELETE,
}
"""With prefix E0 the keys between the letters and the numpad; without, the numpad while Num Lock is off."""
NUMPAD: Mapping[int, str] = dict(
    zip((0x47, 0x48, 0x49, 0x4B, 0x4C, 0x4D, 0x4F, 0x50, 0x51, 0x52), "7894561230", strict=True)
)
NUMPAD_DECIMAL = 0x53
NUMPAD_OPERATORS: Mapping[tuple[int, bool], str] = {
    (0x37, False): "*",
    (0x4A, False): "-",
    (0x4E, False): "+",
    (0x35, True): "/",
}
CONTROL_CHARACTERS: Mapping[str, EditKey] = {
    "\b": EditKey.BACKSPACE,
    "\t": EditKey.TAB,
    "\n": EditKey.ENTER,
    "\r": EditKey.ENTER,
    "\x1b": EditKey.ESCAPE,
    "\x7f": EditKey.DELETE,
}
"""As Unicode key events, from on-screen keyboards."""


def find_layout(identifier: int) -> Layout:
    """The layout for a Windows keyboard layout id; ids without a table fall back to one that `Layout.identifier` tells.

    The upper half of an id chooses a variant of its language's layout (0x00010409 is US Dvorak): the fallback is then
    the language's own layout, else the US one.
    """
    return LAYOUTS.get(identifier) or LAYOUTS.get(identifier & 0xFFFF, FALLBACK)


class Keyboard:
    """One client's keyboard: which keys are held and locked, and what the next one means.

    Args:
        identifier: the Windows keyboard layout id that the client announced.
    """

    def __init__(self, identifier: int = FALLBACK.identifier) -> None:
        self.identifier = identifier
        self.layout = find_layout(identifier)
        self.is_fallback = self.layout.identifier != identifier
        self.caps_lock = False
        self.num_lock = False
        self._held: set[tuple[int, bool]] = set()
        self._dead: str | None = None
        self._pausing = False
        self._high_surrogate = ""

    def __str__(self) -> str:
        if self.is_fallback:
            return f"{self.layout.title} (instead of 0x{self.identifier:08X})"
        return self.layout.title

    def press(self, event: InputEvent) -> list[Keystroke]:
        """Take any input event; what it typed, which for most events is nothing. Unknown keys are ignored."""
        match event:
            case LockKeys(num=num, caps=caps):
                # "every key that was held is up by then": a Shift released outside the window sends no release.
                self._held.clear()
                self._pausing = False
                self.num_lock, self.caps_lock = num, caps
                return []
            case ScancodeKey():
                return self._scancode(event)
            case UnicodeKey(text=text, pressed=True):
                return self._unicode(text)
            case _:
                return []

    def _unicode(self, text: str) -> list[Keystroke]:
        if self._high_surrogate:
            text, self._high_surrogate = self._high_surrogate + text, ""
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
        if len(text) == 1 and "\ud800" <= text <= "\udbff":  # from a provider that does not join surrogates
            self._high_surrogate = text
            return []
        if text in CONTROL_CHARACTERS:
            return [CONTROL_CHARACTERS[text]]
        return [text] if text and text.isprintable() else []

    def _scancode(self, event: ScancodeKey) -> list[Keystroke]:
        scancode, extended = event.scancode, event.extended
        # Pause is E1 1D, 45, E1 9D, C5: its 45 is no Num Lock ([MS-RDPBCGR] 2.2.8.1.1.3.1.1.1 "Keyboard Event").
        if event.extended1:
            self._pausing = event.pressed
            return []
        if self._pausing and scancode == NUM_LOCK:
            return []
        if extended and scancode in (LEFT_SHIFT, RIGHT_SHIFT):
            return []  # shifts that keyboards invent around the navigation keys for the sake of the PC/XT
        key = (scancode, extended)
        if not event.pressed:
            self._held.discard(key)
            return []
        if key not in self._held:  # else the key repeats
            if scancode == CAPS_LOCK:
                self.caps_lock = not self.caps_lock
            elif scancode == NUM_LOCK and not extended:
                self.num_lock = not self.num_lock
        if scancode in (LEFT_SHIFT, RIGHT_SHIFT, CTRL, ALT, CAPS_LOCK, NUM_LOCK, SCROLL_LOCK):
            self._held.add(key)
            return []
        return self._key(scancode, extended)

    @property
    def _shift(self) -> bool:
        return (LEFT_SHIFT, False) in self._held or (RIGHT_SHIFT, False) in self._held

    def _key(self, scancode: int, extended: bool) -> list[Keystroke]:
        ctrl = (CTRL, False) in self._held or (CTRL, True) in self._held
        alt = (ALT, False) in self._held
        # AltGr comes with a Ctrl that the client's Windows invents, and Ctrl+Alt is AltGr too.
        alt_gr = self.layout.has_alt_gr and (ALT_GR in self._held or (ctrl and alt))
        if not alt_gr and (ctrl or alt or ALT_GR in self._held):
            return []  # a shortcut, no text
        if scancode in PLAIN_KEYS and (not extended or scancode == 0x1C):  # E0 1C: the numpad's Enter
            return self._edit(PLAIN_KEYS[scancode])
        if (scancode, extended) in NUMPAD_OPERATORS:
            return self._type(NUMPAD_OPERATORS[scancode, extended])
        if scancode in NAVIGATION:
            if extended or not self.num_lock or self._shift:
                edit = NAVIGATION[scancode]
                return self._edit(edit) if edit is not None else []
            return self._type(self.layout.decimal if scancode == NUMPAD_DECIMAL else NUMPAD[scancode])
        if extended:
            return []
        if scancode == SPACE:
            return self._type(" ")
        return self._printable(scancode, alt_gr)

    def _printable(self, scancode: int, alt_gr: bool) -> list[Keystroke]:
        plain, shifted, with_alt_gr, with_both = self.layout.levels
        caps = self.caps_lock and scancode in self.layout.caps_lock_keys
        shift = self._shift != caps
        if alt_gr:
            character = (with_both if shift else with_alt_gr).get(scancode)
            dead = self.layout.dead[2]
        else:
            character = (shifted if shift else plain).get(scancode)
            dead = self.layout.dead[1 if shift else 0]
        if character is None:
            return []
        if character in dead and self._dead is None:
            self._dead = character
            return []
        return self._type(character)

    def _type(self, character: str) -> list[Keystroke]:
        if self._dead is None:
            return [character]
        dead, self._dead = self._dead, None
        if character == " ":
            return [dead]
        return [self.layout.composed.get(dead, {}).get(character, dead + character)]

    def _edit(self, key: EditKey) -> list[Keystroke]:
        if key is EditKey.TAB and self._shift:
            key = EditKey.BACK_TAB
        if self._dead is None:
            return [key]
        dead, self._dead = self._dead, None
        if key in (EditKey.BACKSPACE, EditKey.ESCAPE):
            return []  # it takes the accent back
        return [dead, key]
