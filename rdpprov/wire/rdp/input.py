"""Input events. The slow path and the fast path bring the same ones; both become one set of frozen classes.

Flags of keys are those of the slow path; the fast path's own bits are translated, and its sender's time, which servers
ignore, is not kept. On the wire an event is two to seven bytes here, twelve there.

Hot, so `struct` by hand; the construct definitions are in the tests.

Source: [MS-RDPBCGR] 2.2.8.1.1.3 "Client Input Event PDU", 2.2.8.1.2 "Client Fast-Path Input Event PDU".
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from struct import Struct
from typing import ClassVar

import attrs

from rdpprov.errinfo import ErrInfo
from rdpprov.errors import LocalProtocolError
from rdpprov.wire.base import Buffer, DecodeError, int16, uint16, uint32
from rdpprov.wire.rdp.fastpath import FastPathHeader, unpack_fast_path
from rdpprov.wire.rdp.share import PduType2


class InputLengthError(DecodeError):
    """The number of events and the length of an input PDU do not agree (INP-01, INP-02)."""

    errinfo = ErrInfo.ERRINFO_INPUTPDUBADLENGTH


class InputTypeError(DecodeError):
    """An input event of unknown type (INP-01, INP-04); on the fast path nobody knows where the next one begins."""

    errinfo = ErrInfo.ERRINFO_INVALIDINPUTPDUTYPE


class KeyboardFlags(IntEnum):
    """Bits of keyboardFlags of TS_KEYBOARD_EVENT and TS_UNICODE_KEYBOARD_EVENT."""

    KBDFLAGS_EXTENDED = 0x0100
    KBDFLAGS_EXTENDED1 = 0x0200
    KBDFLAGS_DOWN = 0x4000
    """The key was down before; the slow path only."""
    KBDFLAGS_RELEASE = 0x8000


class FastPathKeyboardFlags(IntEnum):
    """Bits of the eventFlags of fast-path keyboard events."""

    FASTPATH_INPUT_KBDFLAGS_RELEASE = 0x01
    FASTPATH_INPUT_KBDFLAGS_EXTENDED = 0x02
    FASTPATH_INPUT_KBDFLAGS_EXTENDED1 = 0x04


class PointerFlags(IntEnum):
    """Bits of pointerFlags of TS_POINTER_EVENT; the low nine bits are the rotation of a wheel."""

    PTRFLAGS_WHEEL_NEGATIVE = 0x0100
    PTRFLAGS_WHEEL = 0x0200
    PTRFLAGS_HWHEEL = 0x0400
    PTRFLAGS_MOVE = 0x0800
    PTRFLAGS_BUTTON1 = 0x1000
    """Left."""
    PTRFLAGS_BUTTON2 = 0x2000
    """Right."""
    PTRFLAGS_BUTTON3 = 0x4000
    """Middle."""
    PTRFLAGS_DOWN = 0x8000


WHEEL_ROTATION_MASK = 0x01FF


class ExtendedPointerFlags(IntEnum):
    """Bits of pointerFlags of TS_POINTERX_EVENT."""

    PTRXFLAGS_BUTTON1 = 0x0001
    """The fourth button."""
    PTRXFLAGS_BUTTON2 = 0x0002
    """The fifth button."""
    PTRXFLAGS_DOWN = 0x8000


class RelativePointerFlags(IntEnum):
    """Bits of pointerFlags of TS_RELPOINTER_EVENT."""

    PTRFLAGS_REL_XBUTTON1 = 0x0001
    PTRFLAGS_REL_XBUTTON2 = 0x0002
    PTRFLAGS_REL_MOVE = 0x0800
    PTRFLAGS_REL_BUTTON1 = 0x1000
    PTRFLAGS_REL_BUTTON2 = 0x2000
    PTRFLAGS_REL_BUTTON3 = 0x4000
    PTRFLAGS_REL_DOWN = 0x8000


class SyncFlags(IntEnum):
    """Bits of toggleFlags of TS_SYNC_EVENT, and of ledFlags of Set Keyboard Indicators."""

    TS_SYNC_SCROLL_LOCK = 0x1
    TS_SYNC_NUM_LOCK = 0x2
    TS_SYNC_CAPS_LOCK = 0x4
    TS_SYNC_KANA_LOCK = 0x8


def wheel_rotation(pointer_flags: int) -> int:
    """How far the wheel was turned: -256 to 255, 120 is one notch, positive is away from the user, or to the right.

    The low nine bits are a number in two's complement: its sign bit is PTRFLAGS_WHEEL_NEGATIVE (INP-05).
    """
    return (pointer_flags & 0x00FF) - (pointer_flags & PointerFlags.PTRFLAGS_WHEEL_NEGATIVE)


def wheel_flags(rotation: int, *, horizontal: bool = False) -> int:
    """pointerFlags of a wheel turned by `rotation`, the reverse of `wheel_rotation`.

    Raises:
        LocalProtocolError: the rotation does not fit into nine bits.
    """
    if not -0x100 <= rotation <= 0xFF:
        raise LocalProtocolError(f"a wheel's rotation of {rotation}, -256 to 255 fit")
    wheel = PointerFlags.PTRFLAGS_HWHEEL if horizontal else PointerFlags.PTRFLAGS_WHEEL
    return wheel | rotation & WHEEL_ROTATION_MASK


@attrs.frozen
class ScancodeEvent:
    """TS_KEYBOARD_EVENT: a key went down or up.

    Source: [MS-RDPBCGR] 2.2.8.1.1.3.1.1.1 "Keyboard Event", 2.2.8.1.2.2.1 "Fast-Path Keyboard Event".
    """

    key_code: int = uint16()
    """Scancode of set 1 without prefix; 8 bits on the fast path. Pause is 0x1D with KBDFLAGS_EXTENDED1, then 0x45."""
    keyboard_flags: int = uint16(default=0)
    """`KeyboardFlags`."""

    @property
    def released(self) -> bool:
        """Whether it went up."""
        return bool(self.keyboard_flags & 0x8000)

    @property
    def extended(self) -> bool:
        """Whether the scancode has the prefix E0."""
        return bool(self.keyboard_flags & 0x0100)

    @property
    def extended1(self) -> bool:
        """Whether the scancode has the prefix E1."""
        return bool(self.keyboard_flags & 0x0200)


@attrs.frozen
class UnicodeEvent:
    """TS_UNICODE_KEYBOARD_EVENT: a character went down or up. fact 65: all that iOS clients send for text.

    Source: [MS-RDPBCGR] 2.2.8.1.1.3.1.1.2 "Unicode Keyboard Event", 2.2.8.1.2.2.2 "Fast-Path Unicode Keyboard Event".
    """

    unicode_code: int = uint16()
    """A UTF-16 code unit, which may be half of a surrogate pair (INP-06)."""
    keyboard_flags: int = uint16(default=0)
    """KBDFLAGS_RELEASE or 0."""

    @property
    def released(self) -> bool:
        """Whether it went up."""
        return bool(self.keyboard_flags & 0x8000)


@attrs.frozen
class MouseEvent:
    """TS_POINTER_EVENT: the mouse moved, a button or a wheel was used.

    fact 67: mstsc sends the horizontal wheel by this event.

    Source: [MS-RDPBCGR] 2.2.8.1.1.3.1.1.3 "Mouse Event", 2.2.8.1.2.2.3 "Fast-Path Mouse Event".
    """

    pointer_flags: int = uint16()
    """`PointerFlags`; combinations that make no sense occur and are to be ignored (INP-05)."""
    x_pos: int = uint16()
    """Pixels; may be outside of the desktop. Nothing in a wheel's event."""
    y_pos: int = uint16()
    """Pixels; may be outside of the desktop. Nothing in a wheel's event."""


@attrs.frozen
class ExtendedMouseEvent:
    """TS_POINTERX_EVENT: the fourth or fifth button was used.

    Source: [MS-RDPBCGR] 2.2.8.1.1.3.1.1.4 "Extended Mouse Event", 2.2.8.1.2.2.4 "Fast-Path Extended Mouse Event".
    """

    pointer_flags: int = uint16()
    """`ExtendedPointerFlags`."""
    x_pos: int = uint16()
    """Pixels; may be outside of the desktop."""
    y_pos: int = uint16()
    """Pixels; may be outside of the desktop."""


@attrs.frozen
class RelativeMouseEvent:
    """TS_RELPOINTER_EVENT: the mouse moved by so much. Only to servers with INPUT_FLAG_MOUSE_RELATIVE (INP-04).

    Source: [MS-RDPBCGR] 2.2.8.1.1.3.1.1.7 "Relative Mouse Event", 2.2.8.1.2.2.7 "Fast-Path Relative Mouse Event".
    """

    pointer_flags: int = uint16()
    """`RelativePointerFlags`."""
    x_delta: int = int16()
    """Pixels to the right."""
    y_delta: int = int16()
    """Pixels down."""


@attrs.frozen
class SynchronizeEvent:
    """TS_SYNC_EVENT: state of the lock keys; all other keys are up (INP-07).

    Source: [MS-RDPBCGR] 2.2.8.1.1.3.1.1.5 "Synchronize Event", 2.2.8.1.2.2.5 "Fast-Path Synchronize Event".
    """

    toggle_flags: int = uint32()
    """`SyncFlags` of the locks that are on; 5 bits on the fast path."""


@attrs.frozen
class QoeTimestampEvent:
    """TS_FP_QOETIMESTAMP_EVENT: when the client sent what follows. Only to servers with TS_INPUT_FLAG_QOE_TIMESTAMPS.

    Source: [MS-RDPBCGR] 2.2.8.1.2.2.8 "Fast-Path Quality of Experience Timestamp Event".
    """

    timestamp: int = uint32()
    """Milliseconds since the client started its connection."""


InputEvent = (
    ScancodeEvent
    | UnicodeEvent
    | MouseEvent
    | ExtendedMouseEvent
    | RelativeMouseEvent
    | SynchronizeEvent
    | QoeTimestampEvent
)

_U16 = Struct("<H")
_U32 = Struct("<I")
_POINTER = Struct("<3H")
_RELATIVE = Struct("<Hhh")

# Fast path


class FastPathEventCode(IntEnum):
    """eventCode of a fast-path input event: the upper three bits of its header."""

    FASTPATH_INPUT_EVENT_SCANCODE = 0
    FASTPATH_INPUT_EVENT_MOUSE = 1
    FASTPATH_INPUT_EVENT_MOUSEX = 2
    FASTPATH_INPUT_EVENT_SYNC = 3
    FASTPATH_INPUT_EVENT_UNICODE = 4
    FASTPATH_INPUT_EVENT_RELATIVE = 5
    FASTPATH_INPUT_EVENT_QOE_TIMESTAMP = 6


_SCANCODE, _MOUSE, _MOUSEX, _SYNC, _UNICODE, _MOUSEREL, _QOE_TIMESTAMP = map(int, FastPathEventCode)

# Of the three fast-path bits, as a number from 0 to 7.
_TO_KEYBOARD_FLAGS = tuple(
    (KeyboardFlags.KBDFLAGS_RELEASE if bits & FastPathKeyboardFlags.FASTPATH_INPUT_KBDFLAGS_RELEASE else 0)
    | (KeyboardFlags.KBDFLAGS_EXTENDED if bits & FastPathKeyboardFlags.FASTPATH_INPUT_KBDFLAGS_EXTENDED else 0)
    | (KeyboardFlags.KBDFLAGS_EXTENDED1 if bits & FastPathKeyboardFlags.FASTPATH_INPUT_KBDFLAGS_EXTENDED1 else 0)
    for bits in range(8)
)
_EVENT_SIZES = (2, 7, 7, 1, 3, 7, 5)
"""Bytes of a fast-path event by its code, header included."""
_EVENTS_AT_MOST = 0xFF


def unpack_fast_path_events(data: Buffer, count: int) -> tuple[InputEvent, ...]:
    """The events of a fast-path input PDU, decrypted.

    Args:
        data: all of them and nothing else.
        count: how many the header announced.

    Raises:
        InputTypeError: a code that does not exist.
        InputLengthError: fewer bytes than the events take, or more.
    """
    events: list[InputEvent] = []
    start, end = 0, len(data)
    for _ in range(count):
        if start >= end:
            raise InputLengthError(f"TS_FP_INPUT_PDU: {count} events announced, {len(events)} are there")
        header = data[start]
        code = header >> 5
        if code >= len(_EVENT_SIZES):
            raise InputTypeError(f"TS_FP_INPUT_PDU: eventCode {code} is not known")
        body = start + 1
        start += _EVENT_SIZES[code]
        if start > end:
            raise InputLengthError(f"TS_FP_INPUT_PDU: event {len(events) + 1} of {count} is cut off")
        if code == _SCANCODE:
            events.append(ScancodeEvent(data[body], _TO_KEYBOARD_FLAGS[header & 7]))
        elif code == _MOUSE:
            events.append(MouseEvent(*_POINTER.unpack_from(data, body)))
        elif code == _MOUSEX:
            events.append(ExtendedMouseEvent(*_POINTER.unpack_from(data, body)))
        elif code == _SYNC:
            events.append(SynchronizeEvent(header & 0x1F))
        elif code == _UNICODE:
            events.append(UnicodeEvent(_U16.unpack_from(data, body)[0], _TO_KEYBOARD_FLAGS[header & 1]))
        elif code == _MOUSEREL:
            events.append(RelativeMouseEvent(*_RELATIVE.unpack_from(data, body)))
        else:
            events.append(QoeTimestampEvent(*_U32.unpack_from(data, body)))
    if start != end:
        raise InputLengthError(f"TS_FP_INPUT_PDU: {end - start} bytes behind the last of {count} events")
    return tuple(events)


def _fast_path_flags(keyboard_flags: int) -> int:
    # KBDFLAGS_DOWN has no bit here
    return keyboard_flags >> 15 & 1 | keyboard_flags >> 7 & 2 | keyboard_flags >> 7 & 4


def pack_fast_path_event(event: InputEvent) -> bytes:
    """One event as the fast path has it.

    Raises:
        LocalProtocolError: a scancode above 8 bits, or toggle flags above 5.
    """
    match event:
        case ScancodeEvent(key_code=code, keyboard_flags=flags):
            if code > 0xFF:
                raise LocalProtocolError(f"scancode {code:#x} does not fit into a fast-path event")
            return bytes((_SCANCODE << 5 | _fast_path_flags(flags), code))
        case MouseEvent():
            return bytes((_MOUSE << 5,)) + _POINTER.pack(event.pointer_flags, event.x_pos, event.y_pos)
        case ExtendedMouseEvent():
            return bytes((_MOUSEX << 5,)) + _POINTER.pack(event.pointer_flags, event.x_pos, event.y_pos)
        case SynchronizeEvent(toggle_flags=flags):
            if flags > 0x1F:
                raise LocalProtocolError(f"toggleFlags {flags:#x} do not fit into a fast-path event")
            return bytes((_SYNC << 5 | flags,))
        case UnicodeEvent(unicode_code=code, keyboard_flags=flags):
            return bytes((_UNICODE << 5 | flags >> 15,)) + _U16.pack(code)
        case RelativeMouseEvent():
            return bytes((_MOUSEREL << 5,)) + _RELATIVE.pack(event.pointer_flags, event.x_delta, event.y_delta)
        case QoeTimestampEvent(timestamp=timestamp):
            return bytes((_QOE_TIMESTAMP << 5,)) + _U32.pack(timestamp)


@attrs.frozen
class FastPathInputPdu:
    """TS_FP_INPUT_PDU: input events, under TLS.

    Source: [MS-RDPBCGR] 2.2.8.1.2 "Client Fast-Path Input Event PDU".
    """

    events: tuple[InputEvent, ...] = ()
    """Up to 255, in order."""

    def pack(self) -> bytes:
        """The bytes on the wire.

        Raises:
            LocalProtocolError: too many events, or one that the fast path cannot carry.
        """
        count = len(self.events)
        if count > _EVENTS_AT_MOST:
            raise LocalProtocolError(f"TS_FP_INPUT_PDU: {count} events, {_EVENTS_AT_MOST} fit")
        body = b"".join([pack_fast_path_event(event) for event in self.events])
        in_header = count
        if not 1 <= count <= 15:
            in_header = 0  # fact 66: the number follows in a byte of its own
            body = bytes((count,)) + body
        length = len(body) + 2
        header = FastPathHeader(length if length <= 0x7F else length + 1, num_events=in_header)
        return header.pack() + body

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[FastPathInputPdu, bytes]:
        """Take one off the front of `data`.

        Raises:
            InputLengthError, InputTypeError: as `unpack_fast_path_events`.
            DecodeError: no fast-path PDU, or an encrypted one, which TLS forbids (INP-03).
        """
        header, body, rest = unpack_fast_path(data)
        if header.flags:
            raise DecodeError(f"TS_FP_INPUT_PDU: flags {header.flags}, which belong to standard security")
        count = header.num_events
        if not count:  # fact 66
            if not body:
                raise InputLengthError("TS_FP_INPUT_PDU: ends before its numEvents")
            count, body = body[0], body[1:]
        return cls(unpack_fast_path_events(body, count)), rest


# Slow path


class InputMessageType(IntEnum):
    """messageType of TS_INPUT_EVENT."""

    INPUT_EVENT_SYNC = 0x0000
    INPUT_EVENT_UNUSED = 0x0002
    INPUT_EVENT_SCANCODE = 0x0004
    INPUT_EVENT_UNICODE = 0x0005
    INPUT_EVENT_MOUSE = 0x8001
    INPUT_EVENT_MOUSEX = 0x8002
    INPUT_EVENT_MOUSEREL = 0x8004


_SLOW_HEADER = Struct("<HH")
_SLOW_EVENT = Struct("<IH6s")
_SLOW_SYNC = Struct("<2xI")
_SLOW_SCANCODE = Struct("<HH2x")

_FROM_SLOW: dict[int, Callable[[bytes], InputEvent]] = {
    InputMessageType.INPUT_EVENT_SYNC: lambda body: SynchronizeEvent(*_SLOW_SYNC.unpack(body)),
    InputMessageType.INPUT_EVENT_SCANCODE: lambda body: ScancodeEvent(*_SLOW_SCANCODE.unpack(body)[::-1]),
    InputMessageType.INPUT_EVENT_UNICODE: lambda body: UnicodeEvent(*_SLOW_SCANCODE.unpack(body)[::-1]),
    InputMessageType.INPUT_EVENT_MOUSE: lambda body: MouseEvent(*_POINTER.unpack(body)),
    InputMessageType.INPUT_EVENT_MOUSEX: lambda body: ExtendedMouseEvent(*_POINTER.unpack(body)),
    InputMessageType.INPUT_EVENT_MOUSEREL: lambda body: RelativeMouseEvent(*_RELATIVE.unpack(body)),
}


def _to_slow(event: InputEvent) -> tuple[int, bytes]:
    match event:
        case SynchronizeEvent():
            return InputMessageType.INPUT_EVENT_SYNC, _SLOW_SYNC.pack(event.toggle_flags)
        case ScancodeEvent():
            return InputMessageType.INPUT_EVENT_SCANCODE, _SLOW_SCANCODE.pack(event.keyboard_flags, event.key_code)
        case UnicodeEvent():
            return InputMessageType.INPUT_EVENT_UNICODE, _SLOW_SCANCODE.pack(event.keyboard_flags, event.unicode_code)
        case MouseEvent():
            return InputMessageType.INPUT_EVENT_MOUSE, _POINTER.pack(event.pointer_flags, event.x_pos, event.y_pos)
        case ExtendedMouseEvent():
            return InputMessageType.INPUT_EVENT_MOUSEX, _POINTER.pack(event.pointer_flags, event.x_pos, event.y_pos)
        case RelativeMouseEvent():
            body = _RELATIVE.pack(event.pointer_flags, event.x_delta, event.y_delta)
            return InputMessageType.INPUT_EVENT_MOUSEREL, body
        case QoeTimestampEvent():
            raise LocalProtocolError("a QoE timestamp exists on the fast path only")


@attrs.frozen
class InputPdu:
    """TS_INPUT_PDU_DATA: input events on the slow path. 4 bytes and 12 for each event.

    Source: [MS-RDPBCGR] 2.2.8.1.1.3.1 "Client Input Event PDU Data".
    """

    PDU_TYPE2: ClassVar[PduType2] = PduType2.PDUTYPE2_INPUT

    events: tuple[InputEvent, ...] = ()
    """In order; the times that the client gives them are dropped."""

    def pack(self) -> bytes:
        """The bytes behind the share headers.

        Raises:
            LocalProtocolError: too many events, or a QoE timestamp.
        """
        if len(self.events) > 0xFFFF:
            raise LocalProtocolError(f"TS_INPUT_PDU_DATA: {len(self.events)} events, 65535 fit")
        events = [_SLOW_EVENT.pack(0, *_to_slow(event)) for event in self.events]
        return _SLOW_HEADER.pack(len(events), 0) + b"".join(events)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[InputPdu, bytes]:
        """All of `data`, which the events must fill (INP-01); nothing is ever left.

        Raises:
            InputLengthError: numEvents does not fit the length.
            InputTypeError: a messageType that does not exist.
        """
        if len(data) < _SLOW_HEADER.size:
            raise InputLengthError(f"TS_INPUT_PDU_DATA: {len(data)} bytes")
        count, _ = _SLOW_HEADER.unpack_from(data)
        if len(data) != _SLOW_HEADER.size + count * _SLOW_EVENT.size:
            raise InputLengthError(f"TS_INPUT_PDU_DATA: {count} events announced in {len(data)} bytes")
        events: list[InputEvent] = []
        for _, kind, body in _SLOW_EVENT.iter_unpack(memoryview(data)[_SLOW_HEADER.size :]):
            make = _FROM_SLOW.get(kind)
            if make is not None:
                events.append(make(body))
            elif kind != InputMessageType.INPUT_EVENT_UNUSED:  # of old clients; "ignored by the server"
                raise InputTypeError(f"TS_INPUT_PDU_DATA: messageType {kind:#x} is not known")
        return cls(tuple(events)), b""
