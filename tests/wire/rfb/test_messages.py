import pytest
from construct import (
    Bytes,
    Const,
    Flag,
    GreedyBytes,
    Int8ub,
    Int16ub,
    Int32sb,
    Int32ub,
    Padding,
    Prefixed,
    PrefixedArray,
    Struct,
    this,
)
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.errors import LocalProtocolError
from rdpprov.wire.base import DecodeError
from rdpprov.wire.rfb.messages import (
    MAX_ENCODINGS,
    Bell,
    ClientCutText,
    EnableContinuousUpdates,
    EndOfContinuousUpdates,
    Fence,
    FramebufferUpdate,
    FramebufferUpdateRequest,
    KeyEvent,
    PointerEvent,
    QemuKeyEvent,
    ServerCutText,
    SetColourMapEntries,
    SetDesktopSize,
    SetEncodings,
    SetPixelFormat,
    UnknownMessageError,
    client_message_size,
    server_message_size,
    unpack_client_message,
    unpack_server_message,
)
from rdpprov.wire.rfb.pixel_format import BGRX, COLOUR_MAP, RGB565, RGBX
from rdpprov.wire.rfb.screens import ScreenArea

u8, u16, u32 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32))
i32 = st.integers(-(2**31), 2**31 - 1)
screens = st.builds(ScreenArea, u32, u16, u16, u16, u16, u32)
cut_texts = st.tuples(st.binary(max_size=60), st.booleans()).filter(lambda args: args[0] or not args[1])
fences = st.builds(Fence, u32, st.binary(max_size=255))
pointers = st.one_of(
    st.builds(PointerEvent, st.integers(0, 0x7F), u16, u16, st.just(False)),
    st.builds(PointerEvent, st.integers(0, 0x1FF), u16, u16, st.just(True)),
)
client_messages = st.one_of(
    st.builds(SetPixelFormat, st.sampled_from([BGRX, RGBX, RGB565, COLOUR_MAP])),
    st.builds(SetEncodings, st.lists(i32, max_size=40).map(tuple)),
    st.builds(FramebufferUpdateRequest, st.booleans(), u16, u16, u16, u16),
    st.builds(KeyEvent, st.booleans(), u32),
    pointers,
    cut_texts.map(lambda args: ClientCutText(*args)),
    st.builds(EnableContinuousUpdates, st.booleans(), u16, u16, u16, u16),
    fences,
    st.builds(SetDesktopSize, u16, u16, st.lists(screens, max_size=4).map(tuple)),
    st.builds(QemuKeyEvent, st.booleans(), u32, u32),
)
server_messages = st.one_of(
    st.builds(FramebufferUpdate, u16),
    st.builds(SetColourMapEntries, u16, st.lists(st.tuples(u16, u16, u16), max_size=5).map(tuple)),
    st.just(Bell()),
    cut_texts.map(lambda args: ServerCutText(*args)),
    st.just(EndOfContinuousUpdates()),
    fences,
)

AREA = ("x" / Int16ub, "y" / Int16ub, "width" / Int16ub, "height" / Int16ub)
FENCE = Struct("type" / Const(248, Int8ub), Padding(3), "flags" / Int32ub, "payload" / Prefixed(Int8ub, GreedyBytes))
SCREEN = Struct("screen_id" / Int32ub, *AREA, "flags" / Int32ub)
DEFINITIONS = {
    SetEncodings: Struct("type" / Const(2, Int8ub), Padding(1), "encodings" / PrefixedArray(Int16ub, Int32sb)),
    FramebufferUpdateRequest: Struct("type" / Const(3, Int8ub), "incremental" / Flag, *AREA),
    KeyEvent: Struct("type" / Const(4, Int8ub), "pressed" / Flag, Padding(2), "keysym" / Int32ub),
    EnableContinuousUpdates: Struct("type" / Const(150, Int8ub), "enable" / Flag, *AREA),
    Fence: FENCE,
    SetDesktopSize: Struct(
        "type" / Const(251, Int8ub),
        Padding(1),
        "width" / Int16ub,
        "height" / Int16ub,
        "count" / Int8ub,
        Padding(1),
        "screens" / SCREEN[this.count],
    ),
    QemuKeyEvent: Struct(
        "type" / Const(255, Int8ub),
        "subtype" / Const(0, Int8ub),
        "down" / Int16ub,
        "keysym" / Int32ub,
        "keycode" / Int32ub,
    ),
    SetPixelFormat: Struct("type" / Const(0, Int8ub), Padding(3), "pixel_format" / Bytes(16)),
    SetColourMapEntries: Struct(
        "type" / Const(1, Int8ub), Padding(1), "first" / Int16ub, "colours" / PrefixedArray(Int16ub, Int16ub[3])
    ),
    FramebufferUpdate: Struct("type" / Const(0, Int8ub), Padding(1), "count" / Int16ub),
    Bell: Struct("type" / Const(2, Int8ub)),
    EndOfContinuousUpdates: Struct("type" / Const(150, Int8ub)),
}


def plain(value):
    """Fields of a structure as construct says them."""
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, ScreenArea):
        return {name: getattr(value, name) for name in ("screen_id", "x", "y", "width", "height", "flags")}
    return value.pack() if hasattr(value, "pack") else value


def compared(value):
    if isinstance(value, dict):
        return {name: compared(item) for name, item in value.items() if not name.startswith("_")}
    return [compared(item) for item in value] if isinstance(value, list) else value


@given(st.one_of(client_messages, server_messages))
def test_a_message_is_what_its_construct_definition_says(message):
    definition = DEFINITIONS.get(type(message))
    if definition is None:
        return  # cut texts and pointers are below
    packed = message.pack()
    parsed = compared(definition.parse(packed))
    assert definition.build(definition.parse(packed)) == packed
    fields = {name: plain(getattr(message, name)) for name in parsed if hasattr(message, name)}
    assert fields == {name: parsed[name] for name in fields}


@pytest.mark.parametrize(("kind", "number"), [(ClientCutText, 6), (ServerCutText, 3)])
@given(args=cut_texts)
def test_a_cut_text_is_what_its_construct_definition_says(kind, number, args):
    definition = Struct("type" / Const(number, Int8ub), Padding(3), "length" / Int32sb, "data" / GreedyBytes)
    data, extended = args
    parsed = definition.parse(kind(data, extended).pack())
    assert (parsed.length, parsed.data) == (-len(data) if extended else len(data), data)


@given(pointers)
def test_a_pointer_event_is_what_its_construct_definition_says(event):
    definition = Struct(
        "type" / Const(5, Int8ub), "mask" / Int8ub, "x" / Int16ub, "y" / Int16ub, "more" / Int8ub[int(event.extended)]
    )
    parsed = definition.parse(event.pack())
    assert (parsed.x, parsed.y) == (event.x, event.y)
    assert bool(parsed.mask & 0x80) == event.extended
    assert parsed.mask & 0x7F | sum(parsed.more) << 7 == event.buttons
    assert definition.build(parsed) == event.pack()


@given(client_messages, st.binary(max_size=5), st.data())
def test_a_client_message_round_trips_and_its_size_is_known_in_time(message, rest, data):
    packed = message.pack()
    assert unpack_client_message(packed + rest, extended_buttons=True) == (message, rest)
    assert client_message_size(packed + rest, extended_buttons=True) == len(packed)
    cut = packed[: data.draw(st.integers(0, len(packed) - 1))]
    assert client_message_size(cut, extended_buttons=True) in (None, len(packed))
    with pytest.raises(DecodeError):
        unpack_client_message(cut, extended_buttons=True)


@given(server_messages, st.binary(max_size=5), st.data())
def test_a_server_message_round_trips_and_its_size_is_known_in_time(message, rest, data):
    packed = message.pack()
    assert unpack_server_message(packed + rest) == (message, rest)
    assert server_message_size(packed + rest) == len(packed)
    cut = packed[: data.draw(st.integers(0, len(packed) - 1))]
    assert server_message_size(cut) in (None, len(packed))
    with pytest.raises(DecodeError):
        unpack_server_message(cut)


def all_of(size, unpack, data):
    """What a stream of messages is read as; ends where more would be needed, or by our error."""
    try:
        while (needed := size(data)) is not None and needed <= len(data):
            _, rest = unpack(data)
            assert len(data) - len(rest) == needed > 0
            data = rest
    except DecodeError:
        return


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_client_messages_or_our_error(data, extended):
    all_of(
        lambda data: client_message_size(data, extended_buttons=extended),
        lambda data: unpack_client_message(data, extended_buttons=extended),
        data,
    )


@given(st.binary(max_size=200))
def test_any_bytes_are_server_messages_or_our_error(data):
    all_of(server_message_size, unpack_server_message, data)


KNOWN_TO_SERVERS = {0, 2, 3, 4, 5, 6, 150, 248, 251, 255}
KNOWN_TO_CLIENTS = {0, 1, 2, 3, 150, 248}


@pytest.mark.parametrize("kind", sorted(set(range(256)) - KNOWN_TO_SERVERS))
def test_a_client_message_of_an_unknown_type_is_refused(kind):
    with pytest.raises(UnknownMessageError, match=f"type {kind}"):
        client_message_size(bytes((kind,)) + bytes(100))
    with pytest.raises(UnknownMessageError):
        unpack_client_message(bytes((kind,)) + bytes(100))


@pytest.mark.parametrize("kind", sorted(set(range(256)) - KNOWN_TO_CLIENTS))
def test_a_server_message_of_an_unknown_type_is_refused(kind):
    with pytest.raises(UnknownMessageError, match=f"type {kind}"):
        server_message_size(bytes((kind,)) + bytes(100))
    with pytest.raises(UnknownMessageError):
        unpack_server_message(bytes((kind,)) + bytes(100))


@pytest.mark.parametrize("subtype", [1, 2, 255])
def test_other_messages_of_qemu_are_refused(subtype):
    data = bytes((255, subtype)) + bytes(20)
    with pytest.raises(UnknownMessageError):
        client_message_size(data)
    with pytest.raises(UnknownMessageError):
        QemuKeyEvent.unpack(data)


def test_a_huge_list_of_encodings_is_refused_by_its_count():
    header = SetEncodings.HEADER.pack(2, MAX_ENCODINGS + 1)
    with pytest.raises(DecodeError, match="1025 encodings"):
        client_message_size(header)
    with pytest.raises(DecodeError, match="1025 encodings"):
        SetEncodings.unpack(header + bytes(5000))
    longest = SetEncodings((0,) * MAX_ENCODINGS)
    assert client_message_size(longest.pack()) == len(longest.pack())


def test_the_eighth_button_is_a_bit_or_a_byte():
    assert PointerEvent(0x80, 1, 2, False).pack().hex() == "058000010002"
    assert PointerEvent.unpack(bytes.fromhex("058000010002"))[0].buttons == 0x80
    back = PointerEvent.unpack(bytes.fromhex("05810001000201"), extended_buttons=True)[0]
    assert (back.buttons, back.extended) == (0x81, True)
    forward = PointerEvent.unpack(bytes.fromhex("058000010002fe"), extended_buttons=True)[0]
    assert forward.buttons == 0x100  # reserved bits are dropped
    assert PointerEvent(0x100, 0, 0).extended
    assert not PointerEvent(0x80, 0, 0).extended
    with pytest.raises(LocalProtocolError):
        PointerEvent(0x100, 0, 0, False)


def test_lengths_of_cut_texts_are_not_trusted():
    assert client_message_size(bytes.fromhex("06000000 80000000")) == 8 + 2**31
    assert client_message_size(bytes.fromhex("06000000 7fffffff")) == 8 + 2**31 - 1


def test_cut_texts_stay_out_of_what_is_printed():
    assert "hunter2" not in repr(ClientCutText(b"hunter2"))
    assert "hunter2" not in repr(ServerCutText(b"hunter2"))


@pytest.mark.parametrize(
    "make",
    [
        lambda: SetEncodings((2**31,)),
        lambda: SetEncodings((0,) * (MAX_ENCODINGS + 1)),
        lambda: SetDesktopSize(1, 1, (ScreenArea(0, 0, 0, 1, 1),) * 256),
        lambda: SetColourMapEntries(0, ((0, 0, 65536),)),
        lambda: SetColourMapEntries(0, ((0, 0, 0),) * 65536),
        lambda: KeyEvent(True, 2**32),
        lambda: Fence(0, bytes(256)),
        lambda: PointerEvent(0x200, 0, 0),
        lambda: FramebufferUpdateRequest(True, 0, 0, 65536, 1),
    ],
)
def test_values_that_do_not_fit_are_our_caller_s_fault(make):
    with pytest.raises(LocalProtocolError):
        make()
