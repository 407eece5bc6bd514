"""The connection's keyboard and mouse: what `GetInputHandles` hands out, and how a viewer's keys become a desktop's.

A viewer says what a key makes (a keysym), and a good one also where the key is. What the user sees on the keys is what
is to arrive: so a place goes to the desktop only if the session's keyboard layout makes the same character of it there;
any other character goes as a character. Keys that make none, and shortcuts, go by their place.
"""

import unicodedata
from collections import OrderedDict
from typing import Final

import trio

from rdpprov.api.devices import (
    Button,
    InputEvent,
    InputSink,
    LockKeys,
    PointerButton,
    PointerMotion,
    PointerWheel,
    ScancodeKey,
    UnicodeKey,
    WheelAxis,
)
from rdpprov.protocol.rfb.events import KeyReceived, PointerReceived
from rdpprov.providers.rfb import keysyms
from rdpprov.providers.rfb.keysyms import Place
from rdpprov.sessions.layouts import FALLBACK, LAYOUTS, Layout
from rdpprov.wire.rfb.rectangles import LedState

MAX_HELD: Final = 256
"""Keys that may be down at once; a client that presses more releases the oldest."""

NOTCH: Final = 120
_BUTTONS: Final = ((0, Button.LEFT), (1, Button.MIDDLE), (2, Button.RIGHT), (7, Button.X1), (8, Button.X2))
_WHEELS: Final = (
    (3, WheelAxis.VERTICAL, NOTCH),
    (4, WheelAxis.VERTICAL, -NOTCH),
    (5, WheelAxis.HORIZONTAL, -NOTCH),
    (6, WheelAxis.HORIZONTAL, NOTCH),
)
_LEFT_SHIFT, _RIGHT_SHIFT = Place(0x2A), Place(0x36)
_CONTROLS: Final = frozenset({Place(0x1D), Place(0x1D, True)})
_ALT, _ALT_GR = Place(0x38), Place(0x38, True)
_WINDOWS: Final = frozenset({Place(0x5B, True), Place(0x5C, True)})
_CAPS_LOCK, _NUM_LOCK, _SCROLL_LOCK = Place(0x3A), Place(0x45), Place(0x46)
_LOCKS: Final = {
    _CAPS_LOCK: LedState.CAPS_LOCK,
    _NUM_LOCK: LedState.NUM_LOCK,
    _SCROLL_LOCK: LedState.SCROLL_LOCK,
}
_PRINT_SCREEN: Final = 0x54
"""What keyboards send for Print with Alt; viewers send it always."""
_KEYPAD_SYMBOLS: Final = range(0xFF95, 0xFFBA)

Key = ScancodeKey | UnicodeKey


class RfbInputDevices:
    """`InputDevices` of one RFB client. Events that come while nothing is plugged in are dropped.

    Args:
        keyboard_layout: Windows's id, of the session's keyboard.
    """

    def __init__(self, keyboard_layout: int = FALLBACK.identifier) -> None:
        self._layout: Layout = LAYOUTS.get(keyboard_layout, FALLBACK)
        self._sink: InputSink | None = None
        self._last_input = trio.current_time()
        self._held: OrderedDict[tuple[str, int], tuple[Key, ...]] = OrderedDict()
        self._dead = ""
        self._buttons = 0
        self.leds = 0
        """`LedState`: which lock keys the session has on."""
        self.obeys_locks = False
        """Whether the client sees `leds`. From one that does not, lock keys are not taken: it keeps its own state, and
        what it sends shows it already."""

    def plug(self, sink: InputSink) -> None:
        """Send events to ``sink`` from now on; it is told the lock keys' state, for it may have had another client."""
        self._sink = sink
        self._held.clear()
        self._dead = ""
        self._buttons = 0
        self._send(
            LockKeys(
                scroll=bool(self.leds & LedState.SCROLL_LOCK),
                num=bool(self.leds & LedState.NUM_LOCK),
                caps=bool(self.leds & LedState.CAPS_LOCK),
                kana=False,
            )
        )

    def unplug(self) -> None:
        """Drop events from now on."""
        self._sink = None

    @property
    def idle_milliseconds(self) -> int:
        """Since the last input, or since the connection began."""
        return int((trio.current_time() - self._last_input) * 1000)

    def _send(self, *events: InputEvent) -> None:
        for event in events:
            if self._sink is None:  # looked at each time: an event may be the one that ends the session
                return
            self._sink.input_event(event)

    # The mouse

    def pointer(self, event: PointerReceived) -> None:
        """The pointer is there, with these buttons down. A wheel's step is a button that goes down."""
        self._last_input = trio.current_time()
        x, y = event.x, event.y
        self._send(PointerMotion(x, y))
        changed, self._buttons = self._buttons ^ event.buttons, event.buttons
        for bit, button in _BUTTONS:
            if changed & 1 << bit:
                self._send(PointerButton(button, bool(event.buttons & 1 << bit), x, y))
        for bit, axis, rotation in _WHEELS:
            if changed & event.buttons & 1 << bit:
                self._send(PointerWheel(axis, rotation, x, y))

    # The keyboard

    def key(self, event: KeyReceived) -> None:
        """A key went down or up."""
        self._last_input = trio.current_time()
        # By its place if that is known: what it makes may have changed while it was down.
        identity = ("place", event.keycode) if event.keycode else ("keysym", event.keysym)
        if not event.pressed:
            self._release(identity)
            return
        keys = self._held.get(identity)
        if keys is None:
            keys = self._pressed(event)
            if len(self._held) >= MAX_HELD:
                self._release(next(iter(self._held)))
            self._held[identity] = keys
            self._count_lock(keys)
        self._send(*keys)  # what is down already repeats

    def _release(self, identity: tuple[str, int]) -> None:
        keys = self._held.pop(identity, None)
        if keys is None:
            return
        for key in reversed(keys):
            match key:
                case ScancodeKey():
                    self._send(ScancodeKey(key.scancode, False, key.extended, key.extended1))
                case UnicodeKey():
                    self._send(UnicodeKey(key.text, False))

    def _count_lock(self, keys: tuple[Key, ...]) -> None:
        if len(keys) == 1:  # in Pause is one that is no Num Lock
            [key] = keys
            if isinstance(key, ScancodeKey) and not key.extended:
                self.leds ^= _LOCKS.get(Place(key.scancode), 0)

    def _pressed(self, event: KeyReceived) -> tuple[Key, ...]:
        """What goes down with a key; nothing for what means nothing."""
        keysym = event.keysym
        place = _place(event.keycode) if event.keycode else None
        if keysym in keysyms.DEAD:
            return self._accent(keysym)
        text = self._layout.decimal if keysym == keysyms.KEYPAD_DECIMAL else keysyms.character(keysym)
        if text:
            return self._text(text, place)
        if place is None or keysym in _KEYPAD_SYMBOLS:
            place = keysyms.KEYS.get(keysym, place)
        if place is None:
            return ()
        if place in _LOCKS and not self.obeys_locks:
            return ()
        if place == _ALT_GR and keysym in (keysyms.LEVEL3_SHIFT, keysyms.MODE_SWITCH) and not self._layout.has_alt_gr:
            return ()  # on this keyboard the key is a plain Alt: it would make shortcuts of characters
        if keysym == keysyms.PAUSE or place == Place(0x46, True):
            return (ScancodeKey(0x1D, True, extended1=True), ScancodeKey(0x45, True))
        dead, self._dead = self._dead if place in _TAKES_ACCENTS_BACK else "", "" if place in _EDITS else self._dead
        if dead:
            return ()
        if keysym == keysyms.LEFT_TAB and not self._is_shifted:
            return (_scancode(_LEFT_SHIFT), _scancode(place))
        return (_scancode(place),)

    def _accent(self, keysym: int) -> tuple[Key, ...]:
        """A dead key waits for what follows it; twice, it types itself."""
        combining, _ = keysyms.DEAD[keysym]
        if self._dead:
            before, self._dead = self._dead, ""
            return (UnicodeKey(_alone(before), True),) if before == combining else self._wait(combining, before)
        self._dead = combining
        return ()

    def _wait(self, combining: str, before: str) -> tuple[Key, ...]:
        self._dead = combining
        return (UnicodeKey(_alone(before), True),)

    def _text(self, text: str, place: Place | None) -> tuple[Key, ...]:
        if self._is_shortcut:
            place = place or self._place_of(text)
            return (_scancode(place),) if place is not None else (UnicodeKey(text, True),)
        if self._dead:
            combining, self._dead = self._dead, ""
            composed = unicodedata.normalize("NFC", text + combining)
            if text == " ":
                composed = _alone(combining)
            if len(composed) == 1:
                return (UnicodeKey(composed, True),)
            return (UnicodeKey(_alone(combining), True), UnicodeKey(text, True))
        place = place or self._place_of(text)
        if place is not None and self._types(place) == text:
            return (_scancode(place),)
        return (UnicodeKey(text, True),)

    # What the session's keyboard would make of it

    def _types(self, place: Place) -> str:
        """The character that the layout makes of a key with what is held now; empty: none, or a dead key."""
        if place == Place(0x39):
            return " "
        if place.extended:
            return ""
        caps = bool(self.leds & LedState.CAPS_LOCK) and place.scancode in self._layout.caps_lock_keys
        level = int(self._is_shifted != caps)
        if self._is_held(_ALT_GR) and self._layout.has_alt_gr:
            made, dead = self._layout.levels[2 + level].get(place.scancode, ""), self._layout.dead[2]
        else:
            made, dead = self._layout.levels[level].get(place.scancode, ""), self._layout.dead[level]
        return "" if made in dead else made

    def _place_of(self, text: str) -> Place | None:
        """The key that makes a character at some level, the plain ones first."""
        if text == " ":
            return Place(0x39)
        for level in self._layout.levels:
            for scancode, made in level.items():
                if made == text:
                    return Place(scancode)
        return None

    def _is_held(self, *places: Place) -> bool:
        return any(
            isinstance(key, ScancodeKey) and Place(key.scancode, key.extended) in places
            for keys in self._held.values()
            for key in keys
        )

    @property
    def _is_shifted(self) -> bool:
        return self._is_held(_LEFT_SHIFT, _RIGHT_SHIFT)

    @property
    def _is_shortcut(self) -> bool:
        """Control, Alt and the Windows key make a shortcut of a character; AltGr and Control with Alt do not."""
        control, alt = self._is_held(*_CONTROLS), self._is_held(_ALT)
        if self._layout.has_alt_gr:
            if self._is_held(_ALT_GR) or (control and alt):
                return False
        elif self._is_held(_ALT_GR):
            return True
        return control or alt or self._is_held(*_WINDOWS)


_EDITS: Final = frozenset({Place(0x01), Place(0x0E), Place(0x0F), Place(0x1C), Place(0x1C, True)})
_TAKES_ACCENTS_BACK: Final = frozenset({Place(0x01), Place(0x0E)})
_ALONE: Final = dict(keysyms.DEAD.values())


def _alone(combining: str) -> str:
    return _ALONE[combining]


def _place(keycode: int) -> Place | None:
    """Of a viewer's key code; None for numbers that no keyboard has."""
    if keycode == _PRINT_SCREEN:
        return Place(0x37, True)
    return Place(keycode & 0x7F, bool(keycode & 0x80)) if keycode <= 0xFF else None


def _scancode(place: Place) -> ScancodeKey:
    return ScancodeKey(place.scancode, True, place.extended)
