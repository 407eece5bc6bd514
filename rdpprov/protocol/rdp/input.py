"""Input: from the events of the wire to those of the provider API, and back for the client's end.

Source: [MS-RDPBCGR] 2.2.8.1.1.3 "Client Input Event PDU", 2.2.8.1.2 "Client Fast-Path Input Event PDU".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rdpprov.api.devices import (
    Button,
    InputEvent,
    LockKeys,
    PointerButton,
    PointerMotion,
    PointerWheel,
    ScancodeKey,
    UnicodeKey,
    WheelAxis,
)
from rdpprov.wire.rdp import input as wire
from rdpprov.wire.rdp.input import (
    ExtendedPointerFlags,
    FastPathInputPdu,
    InputPdu,
    KeyboardFlags,
    PointerFlags,
    SyncFlags,
    wheel_flags,
    wheel_rotation,
)

_HIGHEST_SCANCODE: Final = 0x7F

_MOVE: Final = int(PointerFlags.PTRFLAGS_MOVE)
_DOWN: Final = int(PointerFlags.PTRFLAGS_DOWN)
_BUTTONS: Final = {
    int(PointerFlags.PTRFLAGS_BUTTON1): Button.LEFT,
    int(PointerFlags.PTRFLAGS_BUTTON2): Button.RIGHT,
    int(PointerFlags.PTRFLAGS_BUTTON3): Button.MIDDLE,
}
_WHEELS: Final = {
    int(PointerFlags.PTRFLAGS_WHEEL): WheelAxis.VERTICAL,
    int(PointerFlags.PTRFLAGS_HWHEEL): WheelAxis.HORIZONTAL,  # fact 67: mstsc sends it as an ordinary mouse event
}
_EXTENDED_BUTTONS: Final = {
    int(ExtendedPointerFlags.PTRXFLAGS_BUTTON1): Button.X1,
    int(ExtendedPointerFlags.PTRXFLAGS_BUTTON2): Button.X2,
}
_BUTTON_MASK: Final = sum(_BUTTONS)
_WHEEL_MASK: Final = sum(_WHEELS)
_EXTENDED_MASK: Final = sum(_EXTENDED_BUTTONS)


class InputReader:
    """A server's view of one client's input. Keeps what one event leaves for the next: the pointer's place, and halves
    of surrogate pairs."""

    __slots__ = ("_high_surrogates", "_x", "_y")

    def __init__(self) -> None:
        self._x = 0
        self._y = 0
        self._high_surrogates: dict[bool, int] = {}

    def reset(self) -> None:
        """Forget halves of characters: the share is gone."""
        self._high_surrogates.clear()

    def read_fast_path(self, unit: bytes, width: int, height: int) -> tuple[InputEvent, ...]:
        """The events of a fast-path input PDU.

        Args:
            unit: with its header.
            width: of the desktop, in pixels; coordinates are clamped to it.
            height: likewise.

        Raises:
            RemoteProtocolError: lengths that do not fit (INP-02), an unknown event (INP-04), encryption (INP-03).
        """
        return self._translate(FastPathInputPdu.unpack(unit)[0].events, width, height)

    def read_slow_path(self, body: bytes, width: int, height: int) -> tuple[InputEvent, ...]:
        """The events of a slow-path input PDU, without its share headers. Otherwise as `read_fast_path`."""
        return self._translate(InputPdu.unpack(body)[0].events, width, height)

    def _translate(self, events: Iterable[wire.InputEvent], width: int, height: int) -> tuple[InputEvent, ...]:
        translated: list[InputEvent] = []
        for event in events:
            one = self._translate_one(event, width - 1, height - 1)
            if one is None:
                continue
            # INP-09: of moves that follow each other only the last counts; nothing else is merged or reordered
            if type(one) is PointerMotion and translated and type(translated[-1]) is PointerMotion:
                translated[-1] = one
            else:
                translated.append(one)
        return tuple(translated)

    def _translate_one(self, event: wire.InputEvent, right: int, bottom: int) -> InputEvent | None:
        """None: an event without effect. INP-05: what makes no sense is ignored."""
        match event:
            case wire.MouseEvent(pointer_flags=flags, x_pos=x, y_pos=y):
                if flags & _WHEEL_MASK:
                    return self._wheel(flags)
                self._x, self._y = min(x, right), min(y, bottom)  # clamped, never trusted as indices
                if flags & _BUTTON_MASK:
                    return self._button(_BUTTONS.get(flags & _BUTTON_MASK), flags)
                return PointerMotion(self._x, self._y) if flags & _MOVE else None
            case wire.ScancodeEvent(key_code=code):
                if code > _HIGHEST_SCANCODE:
                    return None
                return ScancodeKey(code, not event.released, event.extended, event.extended1)
            case wire.UnicodeEvent(unicode_code=unit):
                return self._unicode(unit, not event.released)
            case wire.ExtendedMouseEvent(pointer_flags=flags, x_pos=x, y_pos=y):
                self._x, self._y = min(x, right), min(y, bottom)
                return self._button(_EXTENDED_BUTTONS.get(flags & _EXTENDED_MASK), flags)
            case wire.SynchronizeEvent(toggle_flags=flags):
                self._high_surrogates.clear()
                return LockKeys(
                    scroll=bool(flags & SyncFlags.TS_SYNC_SCROLL_LOCK),
                    num=bool(flags & SyncFlags.TS_SYNC_NUM_LOCK),
                    caps=bool(flags & SyncFlags.TS_SYNC_CAPS_LOCK),
                    kana=bool(flags & SyncFlags.TS_SYNC_KANA_LOCK),
                )
            case _:
                return None  # INP-04: relative moves and timestamps, which we do not announce

    def _button(self, button: Button | None, flags: int) -> PointerButton | None:
        return None if button is None else PointerButton(button, bool(flags & _DOWN), self._x, self._y)

    def _wheel(self, flags: int) -> PointerWheel | None:
        axis = _WHEELS.get(flags & _WHEEL_MASK)
        rotation = wheel_rotation(flags)
        if axis is None or flags & _BUTTON_MASK or not rotation:
            return None
        return PointerWheel(axis, rotation, self._x, self._y)  # the event has no place of its own

    def _unicode(self, unit: int, pressed: bool) -> UnicodeKey | None:
        """INP-06: half a pair is held until its partner comes, and dropped if something else does.

        Down and up are held apart: clients send both downs first, or each half's down and up.
        """
        high = self._high_surrogates.pop(pressed, None)
        if 0xD800 <= unit < 0xDC00:
            self._high_surrogates[pressed] = unit
            return None
        if 0xDC00 <= unit < 0xE000:
            if high is None:
                return None
            return UnicodeKey(chr(0x10000 + ((high - 0xD800) << 10 | unit - 0xDC00)), pressed)
        return UnicodeKey(chr(unit), pressed) if unit else None


_POINTER_BUTTON_FLAGS: Final = {button: flag for flag, button in _BUTTONS.items()}
_EXTENDED_BUTTON_FLAGS: Final = {button: flag for flag, button in _EXTENDED_BUTTONS.items()}


def wire_events(event: InputEvent) -> list[wire.InputEvent]:
    """What a client sends for one event: one event of the wire, two for a character outside the BMP.

    Raises:
        LocalProtocolError: a wheel turned farther than an event can say.
    """
    match event:
        case ScancodeKey():
            flags = 0 if event.pressed else int(KeyboardFlags.KBDFLAGS_RELEASE)
            if event.extended:
                flags |= KeyboardFlags.KBDFLAGS_EXTENDED
            if event.extended1:
                flags |= KeyboardFlags.KBDFLAGS_EXTENDED1
            return [wire.ScancodeEvent(event.scancode, flags)]
        case UnicodeKey():
            flags = 0 if event.pressed else int(KeyboardFlags.KBDFLAGS_RELEASE)
            encoded = event.text.encode("utf-16-le")
            units = [int.from_bytes(encoded[at : at + 2], "little") for at in range(0, len(encoded), 2)]
            return [wire.UnicodeEvent(unit, flags) for unit in units]
        case PointerMotion():
            return [wire.MouseEvent(_MOVE, event.x, event.y)]
        case PointerButton():
            down = _DOWN if event.pressed else 0
            if event.button in _EXTENDED_BUTTON_FLAGS:
                return [wire.ExtendedMouseEvent(_EXTENDED_BUTTON_FLAGS[event.button] | down, event.x, event.y)]
            return [wire.MouseEvent(_POINTER_BUTTON_FLAGS[event.button] | down, event.x, event.y)]
        case PointerWheel():
            horizontal = event.axis is WheelAxis.HORIZONTAL
            return [wire.MouseEvent(wheel_flags(event.rotation, horizontal=horizontal), event.x, event.y)]
        case LockKeys():
            flags = (
                event.scroll * SyncFlags.TS_SYNC_SCROLL_LOCK
                | event.num * SyncFlags.TS_SYNC_NUM_LOCK
                | event.caps * SyncFlags.TS_SYNC_CAPS_LOCK
                | event.kana * SyncFlags.TS_SYNC_KANA_LOCK
            )
            return [wire.SynchronizeEvent(flags)]
