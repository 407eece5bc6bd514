import pytest
from construct import Array, Int8ul, Int16ul, Int64ul, Padding, Struct
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.errinfo import ErrInfo
from rdpprov.errors import LocalProtocolError, RemoteProtocolError
from rdpprov.wire.rdp.finalization import Control, ControlAction, FontList, FontMap, PersistentKeyList, Synchronize

u8, u16, u32, u64 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32, 64))


@st.composite
def key_lists(draw):
    keys = draw(st.tuples(*[st.lists(u64, max_size=4).map(tuple)] * 5))
    totals = tuple(len(cache) + draw(st.integers(0, 1000)) for cache in keys)
    return PersistentKeyList(keys, totals, draw(u8))


structures = st.one_of(
    st.builds(Synchronize, u16, u16),
    st.builds(Control, st.sampled_from(ControlAction), u16, u32),
    st.builds(FontList, u16, u16, u16, u16),
    st.builds(FontMap, u16, u16, u16, u16),
    key_lists(),
)

KEY_LIST = Struct(
    "num_entries" / Array(5, Int16ul),
    "total_entries" / Array(5, Int16ul),
    "bit_mask" / Int8ul,
    Padding(3),
    "keys" / Array(lambda context: sum(context.num_entries), Int64ul),
)


@given(structures, st.binary(min_size=1, max_size=10))
def test_every_structure_round_trips_and_leaves_what_follows(structure, rest):
    assert type(structure).unpack(structure.pack() + rest) == (structure, rest)


@given(structures, st.data())
def test_every_structure_that_is_cut_off_is_refused(structure, data):
    packed = structure.pack()
    with pytest.raises(RemoteProtocolError):
        type(structure).unpack(packed[: data.draw(st.integers(1, len(packed) - 1))])


@given(key_lists())
def test_the_persistent_key_list_is_what_its_construct_definition_says(key_list):
    parsed = KEY_LIST.parse(key_list.pack())
    assert list(parsed["keys"]) == [key for cache in key_list.keys for key in cache]
    assert tuple(parsed.total_entries) == key_list.total_entries
    assert parsed.bit_mask == key_list.bit_mask


def test_the_server_s_answers_are_those_of_the_sequence():
    assert Synchronize(1007).pack() == bytes.fromhex("0100ef03")
    assert Control(ControlAction.CTRLACTION_COOPERATE).pack() == bytes.fromhex("0400000000000000")
    assert Control.granted(1007).pack() == bytes.fromhex("0200ef03ea030000")
    assert FontMap().pack() == bytes.fromhex("0000000003000400")


def test_a_font_map_without_payload_is_accepted():
    assert FontMap.unpack(b"") == (FontMap(), b"")


@pytest.mark.parametrize("action", [0, 5, 9, 0xFFFF])
def test_an_unknown_control_action_is_refused(action):
    with pytest.raises(RemoteProtocolError) as refused:
        Control.unpack(action.to_bytes(2, "little") + bytes(6))
    assert refused.value.errinfo == ErrInfo.ERRINFO_INVALIDCONTROLPDUACTION


def key_list_bytes(numbers, totals, keys=b""):
    return b"".join(number.to_bytes(2, "little") for number in (*numbers, *totals)) + b"\3\0\0\0" + keys


@pytest.mark.parametrize(
    ("data", "errinfo"),
    [
        (bytes(23), ErrInfo.ERRINFO_PERSISTENTKEYPDUBADLENGTH),
        (key_list_bytes((1, 0, 0, 0, 0), (1, 0, 0, 0, 0), bytes(7)), ErrInfo.ERRINFO_PERSISTENTKEYPDUBADLENGTH),
        (key_list_bytes((0xFFFF,) * 4 + (4,), (0xFFFF,) * 4 + (4,)), ErrInfo.ERRINFO_PERSISTENTKEYPDUBADLENGTH),
        (key_list_bytes((0,) * 5, (0xFFFF,) * 4 + (5,)), ErrInfo.ERRINFO_PERSISTENTKEYPDUTOOMANYTOTALKEYS),
        (key_list_bytes((2, 0, 0, 0, 0), (1, 0, 0, 0, 0), bytes(16)), ErrInfo.ERRINFO_PERSISTENTKEYPDUTOOMANYCACHEKEYS),
    ],
)
def test_a_bad_persistent_key_list_says_what_is_bad(data, errinfo):
    with pytest.raises(RemoteProtocolError) as refused:
        PersistentKeyList.unpack(data)
    assert refused.value.errinfo == errinfo


def test_a_persistent_key_list_has_five_caches():
    with pytest.raises(LocalProtocolError):
        PersistentKeyList(((),) * 4).pack()
    with pytest.raises(LocalProtocolError):
        PersistentKeyList(((1 << 64,), (), (), (), ()), (1, 0, 0, 0, 0)).pack()
