import pytest
from construct import (
    Array,
    BitsInteger,
    BitStruct,
    Bytes,
    Int8ul,
    Int16sl,
    Int16ul,
    Int32ul,
    Padding,
    Pass,
    Struct,
    Switch,
    this,
)
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.errinfo import ErrInfo
from rdpprov.errors import LocalProtocolError, RemoteProtocolError
from rdpprov.wire.rdp.input import (
    ExtendedMouseEvent,
    FastPathInputPdu,
    InputPdu,
    KeyboardFlags,
    MouseEvent,
    PointerFlags,
    QoeTimestampEvent,
    RelativeMouseEvent,
    ScancodeEvent,
    SynchronizeEvent,
    UnicodeEvent,
    pack_fast_path_event,
    unpack_fast_path_events,
    wheel_flags,
    wheel_rotation,
)

u8, u16, u32 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32))
i16 = st.integers(-(2**15), 2**15 - 1)

both_paths = st.one_of(
    st.builds(
        ScancodeEvent,
        u8,
        st.sets(st.sampled_from([0x100, 0x200, 0x8000])).map(sum),
    ),
    st.builds(UnicodeEvent, u16, st.sampled_from([0, KeyboardFlags.KBDFLAGS_RELEASE])),
    st.builds(MouseEvent, u16, u16, u16),
    st.builds(ExtendedMouseEvent, u16, u16, u16),
    st.builds(RelativeMouseEvent, u16, i16, i16),
    st.builds(SynchronizeEvent, st.integers(0, 31)),
)
fast_events = both_paths | st.builds(QoeTimestampEvent, u32)
slow_events = st.one_of(
    both_paths,
    st.builds(ScancodeEvent, u16, u16),
    st.builds(UnicodeEvent, u16, u16),
    st.builds(SynchronizeEvent, u32),
)

POINTER = Struct("pointer_flags" / Int16ul, "x_pos" / Int16ul, "y_pos" / Int16ul)
RELATIVE = Struct("pointer_flags" / Int16ul, "x_delta" / Int16sl, "y_delta" / Int16sl)
FAST_EVENT = Struct(
    "header" / BitStruct("code" / BitsInteger(3), "flags" / BitsInteger(5)),
    "body"
    / Switch(
        this.header.code,
        {
            0: Struct("key_code" / Int8ul),
            1: POINTER,
            2: POINTER,
            3: Pass,
            4: Struct("unicode_code" / Int16ul),
            5: RELATIVE,
            6: Struct("timestamp" / Int32ul),
        },
    ),
)
KEY = Struct("keyboard_flags" / Int16ul, "key_code" / Int16ul, Padding(2))
SLOW = Struct(
    "count" / Int16ul,
    "pad" / Bytes(2),
    "events"
    / Array(
        this.count,
        Struct(
            "time" / Int32ul,
            "type" / Int16ul,
            "body"
            / Switch(
                this.type,
                {
                    0: Struct(Padding(2), "toggle_flags" / Int32ul),
                    4: KEY,
                    5: Struct("keyboard_flags" / Int16ul, "unicode_code" / Int16ul, Padding(2)),
                    0x8001: POINTER,
                    0x8002: POINTER,
                    0x8004: RELATIVE,
                },
                default=Bytes(6),
            ),
        ),
    ),
)
CODES = (ScancodeEvent, MouseEvent, ExtendedMouseEvent, SynchronizeEvent, UnicodeEvent, RelativeMouseEvent,
         QoeTimestampEvent)  # fmt: skip
TYPES = {0: SynchronizeEvent, 4: ScancodeEvent, 5: UnicodeEvent, 0x8001: MouseEvent, 0x8002: ExtendedMouseEvent,
         0x8004: RelativeMouseEvent}  # fmt: skip


def fields_agree(parsed, event):
    return all(getattr(event, name) == value for name, value in parsed.items() if name != "_io")


@given(st.lists(fast_events, max_size=40).map(tuple), st.binary(max_size=5))
def test_fast_path_input_round_trips(events, rest):
    packed = FastPathInputPdu(events).pack()
    assert FastPathInputPdu.unpack(packed + rest) == (FastPathInputPdu(events), rest)


@given(st.lists(slow_events, max_size=20).map(tuple))
def test_slow_path_input_round_trips(events):
    assert InputPdu.unpack(InputPdu(events).pack()) == (InputPdu(events), b"")


@given(fast_events)
def test_a_fast_path_event_is_what_its_construct_definition_says(event):
    parsed = FAST_EVENT.parse(pack_fast_path_event(event))
    assert CODES[parsed.header.code] is type(event)
    if parsed.body is None:
        assert parsed.header.flags == event.toggle_flags
    else:
        assert fields_agree(parsed.body, event)
    if isinstance(event, ScancodeEvent):
        flags = event.released | event.extended << 1 | event.extended1 << 2
        assert parsed.header.flags == flags


@given(st.lists(slow_events, max_size=5).map(tuple))
def test_slow_path_input_is_what_its_construct_definition_says(events):
    parsed = SLOW.parse(InputPdu(events).pack())
    assert [TYPES[one.type] for one in parsed.events] == [type(event) for event in events]
    assert all(fields_agree(one.body, event) for one, event in zip(parsed.events, events, strict=True))


@given(st.lists(both_paths, max_size=15).map(tuple))
def test_both_paths_bring_the_same_events(events):
    assert FastPathInputPdu.unpack(FastPathInputPdu(events).pack())[0].events == (
        InputPdu.unpack(InputPdu(events).pack())[0].events
    )


@pytest.mark.parametrize(("count", "in_header", "extra"), [(0, 0, 1), (1, 1, 0), (15, 15, 0), (16, 0, 1), (255, 0, 1)])
def test_the_number_of_events_stands_in_the_header_or_behind_it(count, in_header, extra):
    events = (SynchronizeEvent(0),) * count
    packed = FastPathInputPdu(events).pack()
    size = 2 if len(packed) <= 127 else 3
    assert packed[0] >> 2 == in_header
    assert len(packed) == size + extra + count
    assert FastPathInputPdu.unpack(packed)[0].events == events


def test_what_the_fast_path_cannot_carry_is_our_own_fault():
    for events in [(SynchronizeEvent(0),) * 256, (ScancodeEvent(0x100),), (SynchronizeEvent(32),)]:
        with pytest.raises(LocalProtocolError):
            FastPathInputPdu(events).pack()


def test_what_the_slow_path_cannot_carry_is_our_own_fault():
    for events in [(SynchronizeEvent(0),) * 0x10000, (QoeTimestampEvent(0),)]:
        with pytest.raises(LocalProtocolError):
            InputPdu(events).pack()


@pytest.mark.parametrize(
    ("data", "errinfo"),
    [
        ("04 02", ErrInfo.ERRINFO_INPUTPDUBADLENGTH),  # one event announced, none there
        ("3c 04 0e1e", ErrInfo.ERRINFO_INPUTPDUBADLENGTH),  # 15 announced, 1 there
        ("04 05 001e 00", ErrInfo.ERRINFO_INPUTPDUBADLENGTH),  # a byte behind the last
        ("04 03 20", ErrInfo.ERRINFO_INPUTPDUBADLENGTH),  # a mouse event cut off
        ("00 02", ErrInfo.ERRINFO_INPUTPDUBADLENGTH),  # the count is missing
        ("00 03 01", ErrInfo.ERRINFO_INPUTPDUBADLENGTH),
        ("04 03 e0", ErrInfo.ERRINFO_INVALIDINPUTPDUTYPE),
    ],
)
def test_bad_fast_path_input_says_what_is_bad(data, errinfo):
    with pytest.raises(RemoteProtocolError) as refused:
        FastPathInputPdu.unpack(bytes.fromhex(data))
    assert refused.value.errinfo == errinfo


@pytest.mark.parametrize("data", ["84 04 001e", "44 04 001e", "c4 04 001e", "04 05 001e", "04 01", "04 ffff", "04 00"])
def test_encrypted_or_wrongly_framed_input_is_refused(data):
    with pytest.raises(RemoteProtocolError):
        FastPathInputPdu.unpack(bytes.fromhex(data))


@pytest.mark.parametrize(
    ("data", "errinfo"),
    [
        ("", ErrInfo.ERRINFO_INPUTPDUBADLENGTH),
        ("0100", ErrInfo.ERRINFO_INPUTPDUBADLENGTH),
        ("ffff0000" + 12 * "00", ErrInfo.ERRINFO_INPUTPDUBADLENGTH),
        ("01000000" + 11 * "00", ErrInfo.ERRINFO_INPUTPDUBADLENGTH),
        ("01000000" + 13 * "00", ErrInfo.ERRINFO_INPUTPDUBADLENGTH),
        ("01000000" + "00000000 0300" + 6 * "00", ErrInfo.ERRINFO_INVALIDINPUTPDUTYPE),
    ],
)
def test_bad_slow_path_input_says_what_is_bad(data, errinfo):
    with pytest.raises(RemoteProtocolError) as refused:
        InputPdu.unpack(bytes.fromhex(data))
    assert refused.value.errinfo == errinfo


def test_unused_events_of_old_clients_are_left_out():
    data = bytes.fromhex("02000000" + "00000000 0200 000000000000" + "00000000 0400 0080 1e00 0000")
    assert InputPdu.unpack(data)[0].events == (ScancodeEvent(0x1E, KeyboardFlags.KBDFLAGS_RELEASE),)


def test_pause_is_two_scancodes():
    pause = (ScancodeEvent(0x1D, KeyboardFlags.KBDFLAGS_EXTENDED1), ScancodeEvent(0x45))
    assert FastPathInputPdu(pause).pack() == bytes.fromhex("08 06 041d 0045")
    assert pause[0].extended1
    assert not pause[0].extended
    assert not pause[1].released


@pytest.mark.parametrize(
    ("flags", "rotation"),
    [(0x0278, 120), (0x0388, -120), (0x0478, 120), (0x0588, -120), (0x0200, 0), (0x0300, -256), (0x02FF, 255)],
)
def test_the_wheel_s_rotation_is_in_nine_bits_of_two_s_complement(flags, rotation):
    assert wheel_rotation(flags) == rotation
    assert wheel_flags(rotation, horizontal=bool(flags & PointerFlags.PTRFLAGS_HWHEEL)) == flags


@given(st.integers(-256, 255), st.booleans())
def test_the_wheel_s_rotation_round_trips(rotation, horizontal):
    assert wheel_rotation(wheel_flags(rotation, horizontal=horizontal)) == rotation


@pytest.mark.parametrize("rotation", [-257, 256])
def test_a_rotation_that_does_not_fit_is_our_own_fault(rotation):
    with pytest.raises(LocalProtocolError):
        wheel_flags(rotation)


@given(st.binary(max_size=60))
def test_any_bytes_are_fast_path_input_or_the_peer_s_fault(data):
    try:
        pdu, rest = FastPathInputPdu.unpack(data)
    except RemoteProtocolError:
        return
    assert data.endswith(rest)
    assert FastPathInputPdu.unpack(pdu.pack()) == (pdu, b"")


@given(st.binary(max_size=60), u8)
def test_any_bytes_are_fast_path_events_or_the_peer_s_fault(data, count):
    try:
        assert len(unpack_fast_path_events(data, count)) == count
    except RemoteProtocolError:
        return


@given(st.integers(0, 3), st.data())
def test_any_slow_path_events_are_decoded_or_the_peer_s_fault(count, data):
    body = data.draw(st.binary(min_size=12 * count, max_size=12 * count))
    known = {*TYPES, 2}
    packed = count.to_bytes(2, "little") + b"\0\0" + body
    if all(int.from_bytes(body[start + 4 : start + 6], "little") in known for start in range(0, len(body), 12)):
        pdu, _ = InputPdu.unpack(packed)
        assert InputPdu.unpack(pdu.pack()) == (pdu, b"")
        return
    with pytest.raises(RemoteProtocolError) as refused:
        InputPdu.unpack(packed)
    assert refused.value.errinfo == ErrInfo.ERRINFO_INVALIDINPUTPDUTYPE
