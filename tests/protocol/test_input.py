"""INP: input, from the wire to the provider API."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.api.devices import (
    Button,
    LockKeys,
    PointerButton,
    PointerMotion,
    PointerWheel,
    ScancodeKey,
    UnicodeKey,
    WheelAxis,
)
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import RemoteProtocolError
from rdpprov.protocol.rdp.client import ClientOptions
from rdpprov.protocol.rdp.events import InputReceived
from rdpprov.protocol.rdp.framing import SESSION_LIMIT
from rdpprov.protocol.rdp.input import InputReader, wire_events
from rdpprov.protocol.rdp.server import ServerState
from rdpprov.wire.rdp.input import (
    ExtendedMouseEvent,
    FastPathInputPdu,
    InputPdu,
    MouseEvent,
    QoeTimestampEvent,
    RelativeMouseEvent,
    ScancodeEvent,
    SynchronizeEvent,
    UnicodeEvent,
)
from rdpprov.wire.rdp.share import PduType2

WIDTH, HEIGHT = 1024, 768


def read(*events, reader=None):
    """The events, sent on the fast path in PDUs of up to 255."""
    reader = reader or InputReader()
    return list(reader.read_fast_path(FastPathInputPdu(events).pack(), WIDTH, HEIGHT))


def read_slow(*events):
    return list(InputReader().read_slow_path(InputPdu(events).pack(), WIDTH, HEIGHT))


positions = st.tuples(st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1))
characters = st.characters(min_codepoint=1, exclude_categories=["Cs"])
api_events = st.one_of(
    st.builds(ScancodeKey, st.integers(0, 0x7F), st.booleans(), st.booleans(), st.booleans()),
    st.builds(UnicodeKey, characters, st.booleans()),
    st.builds(
        lambda button, down, at: PointerButton(button, down, *at), st.sampled_from(Button), st.booleans(), positions
    ),
    st.builds(LockKeys, st.booleans(), st.booleans(), st.booleans(), st.booleans()),
)


@given(st.lists(api_events, max_size=40))
def test_what_a_client_sends_is_what_the_server_hears(events):
    wired = [one for event in events for one in wire_events(event)]
    for start in range(0, len(wired), 200):
        part = wired[start : start + 200]
        assert read_slow(*part) == read(*part)
    assert read(*wired[:200]) == events[: len(read(*wired[:200]))]


@pytest.mark.parametrize("fast_path", [False, True])
def test_input_goes_from_end_to_end_on_either_path(dialogue, fast_path):
    talk = dialogue(ClientOptions(fast_path_input=fast_path)).run()
    sent = [
        ScancodeKey(0x1E, True),
        ScancodeKey(0x1D, False, extended=True),
        UnicodeKey("é", True),
        UnicodeKey("😀", True),
        PointerButton(Button.RIGHT, True, 100, 200),
        PointerWheel(WheelAxis.VERTICAL, -120, 100, 200),
        LockKeys(False, True, False, True),
    ] * 10
    talk.client.send_input(sent)
    talk.run()
    heard = [event for one in talk.server_events if isinstance(one, InputReceived) for event in one.events]
    assert heard == sent


@pytest.mark.parametrize(
    ("event", "heard"),
    [
        (MouseEvent(0x0800, 5, 6), PointerMotion(5, 6)),
        (MouseEvent(0x9000, 5, 6), PointerButton(Button.LEFT, True, 5, 6)),
        (MouseEvent(0x1000, 5, 6), PointerButton(Button.LEFT, False, 5, 6)),
        (MouseEvent(0xA800, 5, 6), PointerButton(Button.RIGHT, True, 5, 6)),
        (MouseEvent(0xC000, 5, 6), PointerButton(Button.MIDDLE, True, 5, 6)),
        (ExtendedMouseEvent(0x8001, 5, 6), PointerButton(Button.X1, True, 5, 6)),
        (ExtendedMouseEvent(0x0002, 5, 6), PointerButton(Button.X2, False, 5, 6)),
        (MouseEvent(0x0278, 0, 0), PointerWheel(WheelAxis.VERTICAL, 120, 0, 0)),
        (MouseEvent(0x0388, 0, 0), PointerWheel(WheelAxis.VERTICAL, -120, 0, 0)),
        (MouseEvent(0x0478, 0, 0), PointerWheel(WheelAxis.HORIZONTAL, 120, 0, 0)),
        (MouseEvent(0x0588, 0, 0), PointerWheel(WheelAxis.HORIZONTAL, -120, 0, 0)),
        (ScancodeEvent(0x1D, 0x0200), ScancodeKey(0x1D, True, extended1=True)),
        (ScancodeEvent(0x45, 0x8000), ScancodeKey(0x45, False)),
        (SynchronizeEvent(5), LockKeys(scroll=True, num=False, caps=True, kana=False)),
    ],
)
def test_inp_05_and_inp_08_each_event_means_one_thing(event, heard):
    assert read(event) == read_slow(event) == [heard]


@pytest.mark.parametrize(
    "event",
    [
        MouseEvent(0x9278, 5, 6),  # wheel and button
        MouseEvent(0xB000, 5, 6),  # two buttons
        MouseEvent(0x0678, 5, 6),  # two wheels
        MouseEvent(0x0200, 5, 6),  # a wheel that did not turn
        MouseEvent(0x0000, 5, 6),
        ExtendedMouseEvent(0x8003, 5, 6),
        ExtendedMouseEvent(0x8000, 5, 6),
        RelativeMouseEvent(0x0800, 5, 6),
        QoeTimestampEvent(5),
        ScancodeEvent(0x80),
        ScancodeEvent(0xFF),
        UnicodeEvent(0),
    ],
)
def test_inp_05_what_makes_no_sense_or_was_not_announced_is_ignored(event):
    assert read(event) == []


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_inp_05_coordinates_are_clamped_to_the_desktop(flags, x, y):
    for event in (MouseEvent(flags, x, y), ExtendedMouseEvent(flags, x, y)):
        for heard in read(event):
            assert 0 <= heard.x < WIDTH
            assert 0 <= heard.y < HEIGHT


def test_a_wheel_turns_where_the_pointer_is():
    assert read(MouseEvent(0x0800, 30, 40), MouseEvent(0x0278, 0, 0))[1] == PointerWheel(
        WheelAxis.VERTICAL, 120, 30, 40
    )


def units(text: str) -> list[int]:
    data = text.encode("utf-16-le")
    return [int.from_bytes(data[at : at + 2], "little") for at in range(0, len(data), 2)]


def test_inp_06_surrogates_are_joined_over_pdus_and_in_either_order_of_down_and_up():
    high, low = units("😀")
    down, up = 0, 0x8000
    for order in (
        [(high, down), (low, down), (high, up), (low, up)],
        [(high, down), (high, up), (low, down), (low, up)],
    ):
        reader = InputReader()
        heard = [one for unit, flags in order for one in read(UnicodeEvent(unit, flags), reader=reader)]
        assert heard == [UnicodeKey("😀", True), UnicodeKey("😀", False)]


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.booleans())))
def test_inp_06_no_surrogate_is_ever_passed_on(codes):
    reader = InputReader()
    for code, released in codes:
        for heard in read(UnicodeEvent(code, 0x8000 if released else 0), reader=reader):
            assert len(heard.text) == 1
            heard.text.encode("utf-8")


def test_inp_06_a_lone_half_is_dropped():
    high, low = units("😀")
    assert read(UnicodeEvent(high), UnicodeEvent(ord("a"))) == [UnicodeKey("a", True)]
    assert read(UnicodeEvent(low), UnicodeEvent(ord("a"))) == [UnicodeKey("a", True)]
    assert read(UnicodeEvent(high), SynchronizeEvent(0), UnicodeEvent(low)) == [LockKeys(False, False, False, False)]
    assert read(UnicodeEvent(high), UnicodeEvent(high), UnicodeEvent(low)) == [UnicodeKey("😀", True)]


def test_inp_09_moves_that_follow_each_other_are_merged_and_nothing_else():
    def move(x):
        return MouseEvent(0x0800, x, 0)

    click = MouseEvent(0x9000, 3, 0)
    assert read(move(1), move(2), move(3), click, click, move(4), move(5)) == [
        PointerMotion(3, 0),
        PointerButton(Button.LEFT, True, 3, 0),
        PointerButton(Button.LEFT, True, 3, 0),
        PointerMotion(5, 0),
    ]


def test_inp_09_a_flood_of_moves_is_a_few_events(dialogue):
    talk = dialogue().run()
    before = len(talk.server_events)
    talk.client.send_input([PointerMotion(number % WIDTH, 0) for number in range(20_000)])
    talk.run()
    events = talk.server_events[before:]
    assert len(events) == -(-20_000 // 15)
    assert all(len(event.events) == 1 for event in events)


# Negative


@pytest.fixture
def active(dialogue):
    talk = dialogue().run()
    assert talk.server.state is ServerState.ACTIVE
    return talk


@pytest.mark.parametrize(
    ("pdu", "errinfo"),
    [
        (b"\x04\x00", None),
        (b"\x04\x01", None),
        (b"\x04\x80\x02", None),
        (b"\x3c\x04\x00\x1e", ErrInfo.ERRINFO_INPUTPDUBADLENGTH),
        (b"\x04\x05\x00\x1e\x00", ErrInfo.ERRINFO_INPUTPDUBADLENGTH),
        (b"\x00\x02", ErrInfo.ERRINFO_INPUTPDUBADLENGTH),
        (b"\x04\x02", ErrInfo.ERRINFO_INPUTPDUBADLENGTH),
        (b"\x04\x04\xe0\x00", ErrInfo.ERRINFO_INVALIDINPUTPDUTYPE),
        (b"\x84\x04\x00\x1e", None),
        (b"\x44\x04\x00\x1e", None),
    ],
    ids=[
        "length 0",
        "length 1",
        "length 2 long",
        "15 announced",
        "too long",
        "no count",
        "no event",
        "event 7",
        "encrypted",
        "checksum",
    ],
)
def test_nx_26_a_wrong_fast_path_pdu_is_refused(active, pdu, errinfo):
    error = active.refused(lambda: active.tell(pdu, act=False))
    if errinfo is not None:
        assert error.errinfo is errinfo


def test_nx_26_a_fast_path_pdu_of_the_longest_length_is_awaited_within_the_limit(active):
    assert active.tell(b"\x04\xff\xff" + bytes(100), act=False) == []
    for _ in range(20):
        active.server.receive_data(bytes(100_000))
    assert len(active.server.trailing_data) == SESSION_LIMIT
    active.refused(active.server.next_event)


@pytest.mark.parametrize("count", [0xFFFF, 2, 0])
def test_nx_27_a_wrong_number_of_slow_path_events_is_refused(active, count):
    body = count.to_bytes(2, "little") + bytes(2) + bytes(4) + b"\x04\x00" + bytes(6)
    error = active.refused(lambda: active.tell_raw_share(PduType2.PDUTYPE2_INPUT, body))
    assert error.errinfo is ErrInfo.ERRINFO_INPUTPDUBADLENGTH


@pytest.mark.parametrize("message_type", [1, 3, 6, 0x8000, 0x8003, 0xFFFF])
def test_nx_27_an_unknown_slow_path_event_is_refused(active, message_type):
    body = b"\x01\0\0\0" + bytes(4) + message_type.to_bytes(2, "little") + bytes(6)
    error = active.refused(lambda: active.tell_raw_share(PduType2.PDUTYPE2_INPUT, body))
    assert error.errinfo is ErrInfo.ERRINFO_INVALIDINPUTPDUTYPE


@given(st.binary(max_size=80))
def test_any_bytes_are_input_or_our_error(data):
    length = len(data) + 3
    unit = bytes([0x04, 0x80 | length >> 8, length & 0xFF]) + data
    for read_one in (
        lambda: InputReader().read_fast_path(unit, WIDTH, HEIGHT),
        lambda: InputReader().read_slow_path(data, WIDTH, HEIGHT),
    ):
        try:
            read_one()
        except RemoteProtocolError:
            continue
