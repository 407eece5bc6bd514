"""Properties and their binary values: what one end packs the other unpacks, and nothing else comes out."""

import uuid

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.api import properties
from rdpprov.api.enums import FastReconnectMode, ValueType
from rdpprov.api.media_formats import (
    ENTRIES_MAXIMUM,
    FORMAT_MAXIMUM,
    MediaType,
    SupportDataIn,
    SupportDataOut,
    SupportNodeDataIn,
    SupportNodeDataOut,
)
from rdpprov.api.properties import PROPERTIES, InitialApp, InitialAppVerdict, LogonScreenSize
from rdpprov.api.structures import CacheStats, PropertyValue, ProtocolCache, SystemTime
from rdpprov.api.time_zones import DynamicTimeZoneInformation
from rdpprov.errors import E_INVALIDARG, HResultError

uint16 = st.integers(0, 0xFFFF)
uint32 = st.integers(0, 0xFFFFFFFF)
int32 = st.integers(-(2**31), 2**31 - 1)
int64 = st.integers(-(2**63), 2**63 - 1)
guids = st.uuids(allow_nil=True)


def names(longest):
    """Text as an array of UTF-16 units can hold it: any characters but the terminator."""
    characters = st.characters(codec="utf-8", exclude_characters="\0")
    return st.text(characters, max_size=longest).filter(lambda text: len(text.encode("utf-16-le")) <= 2 * longest)


times = st.builds(SystemTime, *[uint16] * 8)
zones = st.builds(
    DynamicTimeZoneInformation, int32, names(31), times, int32, names(31), times, int32, names(127), uint16
)
media_types = st.builds(MediaType, guids, guids, uint32, uint32, uint32, guids, st.binary(max_size=64))
nodes_in = st.builds(SupportNodeDataIn, int64, st.lists(media_types, max_size=3).map(tuple))
data_in = st.builds(SupportDataIn, guids, st.lists(nodes_in, max_size=3).map(tuple))
nodes_out = st.builds(SupportNodeDataOut, int64, uint32, guids, uint32)
data_out = st.builds(SupportDataOut, guids, st.lists(nodes_out, max_size=3).map(tuple))

QUESTIONS = {
    properties.WTS_QUERY_ALLOWED_INITIAL_APP: st.builds(InitialApp, st.text(), st.text(), uint32),
    properties.WTS_QUERY_MF_FORMAT_SUPPORT: data_in,
}
ANSWERS = {
    properties.WTS_QUERY_ALLOWED_INITIAL_APP: st.builds(InitialAppVerdict, st.text(), st.text(), st.booleans()),
    properties.WTS_QUERY_LOGON_SCREEN_SIZE: st.builds(LogonScreenSize, uint16, uint16),
    properties.WTS_QUERY_AUDIOENUM_DLL: st.text(),
    properties.WTS_QUERY_MF_FORMAT_SUPPORT: data_out,
    properties.PROPERTY_DYNAMIC_TIME_ZONE_INFORMATION: zones,
    properties.PROPERTY_TYPE_GET_FAST_RECONNECT: st.sampled_from(FastReconnectMode),
    properties.PROPERTY_TYPE_GET_FAST_RECONNECT_USER_SID: st.text(),
    properties.PROPERTY_TYPE_ENABLE_UNIVERSAL_APPS_FOR_CUSTOM_SHELL: st.booleans(),
    properties.CONNECTION_PROPERTY_CURSOR_BLINK_DISABLED: st.booleans(),
    properties.CONNECTION_PROPERTY_IDLE_TIME_WARNING: st.booleans(),
}

every_property = pytest.mark.parametrize("asked", PROPERTIES.values(), ids=lambda asked: asked.name)
values = st.one_of(uint32, st.text(), st.binary(), st.uuids()).map(PropertyValue)


def types_of(entries):
    return tuple(entry.type for entry in entries)


def refusal_of(unpack, entries):
    """The HRESULT that something is refused with; None: it is understood."""
    try:
        unpack(entries)
    except HResultError as error:
        return error.hresult
    return None


@every_property
@given(data=st.data())
def test_a_question_comes_back_as_it_was_asked(asked, data):
    question = data.draw(QUESTIONS.get(asked, st.none()))
    entries = asked.pack_question(question)
    assert types_of(entries) == asked.question
    assert asked.unpack_question(entries) == question


@every_property
@given(data=st.data())
def test_an_answer_comes_back_as_it_was_given(asked, data):
    answer = data.draw(ANSWERS[asked])
    entries = asked.pack_answer(answer)
    assert types_of(entries) == asked.answer
    assert asked.unpack_answer(entries) == answer


@every_property
@given(entries=st.lists(values, max_size=4))
def test_any_entries_are_understood_or_refused_as_invalid_arguments(asked, entries):
    for unpack in (asked.unpack_question, asked.unpack_answer):
        assert refusal_of(unpack, entries) in (None, E_INVALIDARG)


@every_property
@given(data=st.binary(max_size=600))
def test_any_bytes_are_understood_or_refused_as_invalid_arguments(asked, data):
    for unpack, types in ((asked.unpack_question, asked.question), (asked.unpack_answer, asked.answer)):
        if types == (ValueType.BINARY,):
            assert refusal_of(unpack, [PropertyValue(data)]) in (None, E_INVALIDARG)


def test_a_wrong_answer_is_named_with_what_came_and_what_was_expected():
    asked = properties.PROPERTY_TYPE_GET_FAST_RECONNECT
    with pytest.raises(HResultError, match="answer to PROPERTY_TYPE_GET_FAST_RECONNECT: STRING came, ULONG expected"):
        asked.unpack_answer([PropertyValue("basic")])
    with pytest.raises(HResultError, match="nothing came, ULONG expected"):
        asked.unpack_answer([])
    with pytest.raises(HResultError, match="3 is not a valid FastReconnectMode"):
        asked.unpack_answer([PropertyValue(3)])
    with pytest.raises(HResultError, match="no PropertyValue"):
        asked.unpack_answer([1])
    with pytest.raises(HResultError, match=r"question of .*: ULONG came, nothing expected"):
        asked.unpack_question([PropertyValue(1)])


def test_any_number_but_zero_is_yes():
    asked = properties.CONNECTION_PROPERTY_IDLE_TIME_WARNING
    assert [asked.unpack_answer([PropertyValue(number)]) for number in (0, 1, 2)] == [False, True, True]


def test_the_size_of_the_logon_desktop_has_its_width_in_the_low_word():
    asked = properties.WTS_QUERY_LOGON_SCREEN_SIZE
    assert asked.pack_answer(LogonScreenSize(800, 600)) == (PropertyValue(600 << 16 | 800),)


@pytest.mark.parametrize("value", [-1, 2**32, 1.5, None])
def test_a_property_value_holds_what_the_standard_can(value):
    with pytest.raises(ValueError, match="value is"):
        PropertyValue(value)


def test_the_value_of_a_guid_is_a_guid():
    assert PropertyValue(uuid.UUID(int=1)).type is ValueType.GUID


def test_a_dynamic_time_zone_has_the_bytes_of_the_c_structure():
    berlin = DynamicTimeZoneInformation(
        bias=-60,
        standard_name="MEZ",
        standard_date=SystemTime(month=10, day=5, hour=3),
        daylight_name="MESZ",
        daylight_date=SystemTime(month=3, day=5, hour=2),
        daylight_bias=-60,
        time_zone_key_name="W. Europe Standard Time",
        dynamic_daylight_time_disabled=1,
    )
    data = berlin.pack()
    assert len(data) == 432
    assert data[:12] == b"\xc4\xff\xff\xffM\0E\0Z\0\0\0"
    assert data[68:84] == b"\0\0\x0a\0\0\0\x05\0\x03\0\0\0\0\0\0\0"
    assert data[168:172] == b"\xc4\xff\xff\xff"
    assert data[172:].startswith("W. Europe Standard Time\0".encode("utf-16-le"))
    assert data[428:] == b"\x01\0\0\0"


def test_a_dynamic_time_zone_of_another_length_or_without_a_terminator_is_refused():
    data = DynamicTimeZoneInformation().pack()
    for wrong in (data[:-1], data + b"\0", b""):
        with pytest.raises(HResultError, match="432 bytes"):
            DynamicTimeZoneInformation.unpack(wrong)
    with pytest.raises(HResultError, match="no terminator"):
        DynamicTimeZoneInformation.unpack(data[:4] + b"x\0" * 32 + data[68:])


SOUND = MediaType(format=b"PCM!")
TOPOLOGY = SupportDataIn(uuid.UUID(int=7), (SupportNodeDataIn(-1, (SOUND, SOUND)), SupportNodeDataIn(2)))


def test_every_truncated_topology_is_refused():
    data = TOPOLOGY.pack()
    for length in range(len(data)):
        with pytest.raises(HResultError):
            SupportDataIn.unpack(data[:length])
    with pytest.raises(HResultError, match="1 bytes too many"):
        SupportDataIn.unpack(data + b"\0")


def test_a_node_says_how_long_it_is_and_is_held_to_it():
    data = SupportNodeDataIn(1, (SOUND,)).pack()
    for wrong, problem in [(len(data) - 1, "of which 3 are"), (15, "a node of 15 bytes"), (len(data) + 1, "are there")]:
        with pytest.raises(HResultError, match=problem):
            SupportNodeDataIn.unpack(wrong.to_bytes(4, "little") + data[4:])
    longer = (len(data) + 1).to_bytes(4, "little") + data[4:] + b"\0"
    with pytest.raises(HResultError, match="1 bytes too many in a node"):
        SupportNodeDataIn.unpack(longer)


def test_lengths_and_counts_beyond_the_limits_are_refused_before_anything_is_read():
    with pytest.raises(HResultError, match="records, more than"):
        SupportDataOut.unpack(bytes(16) + (ENTRIES_MAXIMUM + 1).to_bytes(4, "little"))
    format_length = (FORMAT_MAXIMUM + 1).to_bytes(4, "little")
    with pytest.raises(HResultError, match="a format of 16385 bytes"):
        MediaType.unpack(MediaType().pack()[:-4] + format_length + bytes(FORMAT_MAXIMUM + 1))


@pytest.mark.parametrize("cls", [SupportDataIn, SupportDataOut, SupportNodeDataIn])
def test_records_hold_records_of_their_own_kind(cls):
    field = attrs.fields(cls)[1].name
    with pytest.raises(ValueError, match=f"{field} holds 1, which is no"):
        cls(**{field: (1,)})


def test_cache_statistics_say_which_kind_they_are():
    assert [CacheStats().specific, CacheStats((ProtocolCache(2, 1),)).specific] == [1, 1]
    assert CacheStats(tshare_cache_stats=0).specific == 2
    assert CacheStats(reserved=(1,)).specific == 3
    with pytest.raises(ValueError, match="have one of"):
        CacheStats(tshare_cache_stats=0, reserved=(1,))
