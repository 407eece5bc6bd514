import pytest
from construct import Bytes, Int16ul, Int32ul, Struct, this
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.errors import LocalProtocolError, RemoteProtocolError
from rdpprov.wire.rdp.fastpath import UpdateCode
from rdpprov.wire.rdp.pointer import (
    DEFAULT,
    HIDDEN,
    CachedPointer,
    ColorPointer,
    LargePointer,
    NewPointer,
    PointerPdu,
    PointerPosition,
    SystemPointer,
    from_fast_path,
    mask_lengths,
    to_fast_path,
)

u16, u32 = (st.integers(0, 2**bits - 1) for bits in (16, 32))
sizes = st.integers(0, 20)


def shapes(kind, depths):
    @st.composite
    def shape(draw):
        width, height, bpp = draw(sizes), draw(sizes), draw(st.sampled_from(depths))
        length_and, length_xor = mask_lengths(width, height, bpp)
        fill = draw(st.integers(0, 255))
        masks = bytes([fill]) * length_xor, bytes([fill ^ 0xFF]) * length_and
        depth = () if kind is ColorPointer else (bpp,)
        return kind(*depth, draw(u16), draw(u16), draw(u16), width, height, *masks)

    return shape()


DEPTHS = [1, 4, 8, 16, 24, 32]
drawn = st.one_of(shapes(ColorPointer, [24]), shapes(NewPointer, DEPTHS), shapes(LargePointer, DEPTHS))
plain = st.builds(PointerPosition, u16, u16) | st.builds(CachedPointer, u16) | st.sampled_from([HIDDEN, DEFAULT])
pointers = drawn | plain

SHAPE = ("cache_index" / Int16ul, "hot_spot_x" / Int16ul, "hot_spot_y" / Int16ul, "width" / Int16ul, "height" / Int16ul)
MASKS = ("xor_mask_data" / Bytes(this.length_xor), "and_mask_data" / Bytes(this.length_and))
SHORT = ("length_and" / Int16ul, "length_xor" / Int16ul)
LONG = ("length_and" / Int32ul, "length_xor" / Int32ul)
ORACLES = {
    ColorPointer: Struct(*SHAPE, *SHORT, *MASKS),
    NewPointer: Struct("xor_bpp" / Int16ul, *SHAPE, *SHORT, *MASKS),
    LargePointer: Struct("xor_bpp" / Int16ul, *SHAPE, *LONG, *MASKS),
    PointerPosition: Struct("x_pos" / Int16ul, "y_pos" / Int16ul),
    CachedPointer: Struct("cache_index" / Int16ul),
    SystemPointer: Struct("system_pointer_type" / Int32ul),
}


@given(pointers, st.binary(max_size=5))
def test_every_pointer_round_trips_and_leaves_what_follows(pointer, rest):
    if isinstance(pointer, ColorPointer | NewPointer | LargePointer):
        rest = b"\0" + rest  # the optional pad byte
        assert type(pointer).unpack(pointer.pack() + rest) == (pointer, rest[1:])
    else:
        assert type(pointer).unpack(pointer.pack() + rest) == (pointer, rest)


@given(pointers)
def test_every_pointer_is_what_its_construct_definition_says(pointer):
    oracle = ORACLES[type(pointer)]
    parsed = oracle.parse(pointer.pack())
    assert all(getattr(pointer, name) == parsed[name] for name in parsed if hasattr(pointer, name) and name != "_io")
    assert oracle.build(parsed) == pointer.pack()


@given(pointers)
def test_every_pointer_survives_both_paths(pointer):
    assert PointerPdu.unpack(PointerPdu(pointer).pack()) == (PointerPdu(pointer), b"")
    assert from_fast_path(*to_fast_path(pointer)) == pointer


@given(pointers, st.data())
def test_every_pointer_that_is_cut_off_is_refused(pointer, data):
    packed = PointerPdu(pointer).pack()
    with pytest.raises(RemoteProtocolError):
        PointerPdu.unpack(packed[: data.draw(st.integers(0, len(packed) - 1))])


def test_hidden_and_default_are_empty_on_the_fast_path():
    assert to_fast_path(HIDDEN) == (UpdateCode.FASTPATH_UPDATETYPE_PTR_NULL, b"")
    assert to_fast_path(DEFAULT) == (UpdateCode.FASTPATH_UPDATETYPE_PTR_DEFAULT, b"")
    with pytest.raises(LocalProtocolError):
        to_fast_path(SystemPointer(1))


def test_other_updates_are_no_pointers():
    assert from_fast_path(UpdateCode.FASTPATH_UPDATETYPE_BITMAP, b"") is None


@pytest.mark.parametrize(
    ("width", "height", "bpp", "lengths"),
    [(41, 39, 32, (234, 6396)), (41, 39, 24, (234, 4836)), (112, 112, 32, (1568, 50176)), (9, 1, 1, (2, 2)),
     (17, 1, 1, (4, 4)), (3, 2, 24, (4, 20)), (0, 0, 32, (0, 0)), (5, 1, 4, (2, 4)), (1, 1, 8, (2, 2))],
)  # fmt: skip
def test_mask_rows_are_padded_to_two_bytes(width, height, bpp, lengths):
    assert mask_lengths(width, height, bpp) == lengths


@pytest.mark.parametrize("change", [-1, 1])
def test_masks_that_do_not_fit_the_size_are_our_own_fault(change):
    length_and, length_xor = mask_lengths(32, 32, 32)
    with pytest.raises(LocalProtocolError):
        NewPointer(32, 0, 0, 0, 32, 32, bytes(length_xor + change), bytes(length_and))
    with pytest.raises(LocalProtocolError):
        NewPointer(32, 0, 0, 0, 32, 32, bytes(length_xor), bytes(length_and + change))


def test_an_unknown_depth_is_refused():
    with pytest.raises(LocalProtocolError):
        NewPointer(15, 0, 0, 0, 0, 0, b"", b"")
    for kind in (NewPointer, LargePointer):
        with pytest.raises(RemoteProtocolError):
            kind.unpack(b"\x0f" + bytes(30))


def test_a_shape_too_large_for_its_kind_is_our_own_fault():
    length_and, length_xor = mask_lengths(384, 384, 32)
    masks = bytes(length_xor), bytes(length_and)
    assert len(LargePointer(32, 0, 0, 0, 384, 384, *masks).pack()) == 20 + length_and + length_xor
    with pytest.raises(LocalProtocolError):
        NewPointer(32, 0, 0, 0, 384, 384, *masks)


def test_masks_of_other_lengths_are_the_peer_s_fault():
    packed = ColorPointer(0, 0, 0, 2, 1, bytes(6), bytes(2)).pack()
    with pytest.raises(RemoteProtocolError):
        ColorPointer.unpack(packed[:10] + b"\4" + packed[11:] + bytes(10))


def test_an_unknown_message_type_is_refused():
    with pytest.raises(RemoteProtocolError):
        PointerPdu.unpack(b"\2\0\0\0" + bytes(20))


@given(st.sampled_from([1, 3, 6, 7, 8, 9]), st.binary(max_size=60))
def test_any_bytes_are_a_pointer_or_the_peer_s_fault(kind, data):
    try:
        pdu, _ = PointerPdu.unpack(bytes((kind, 0, 0, 0)) + data)
    except RemoteProtocolError:
        return
    assert PointerPdu.unpack(pdu.pack()) == (pdu, b"")
