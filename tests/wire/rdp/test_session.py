import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.errinfo import ErrInfo
from rdpprov.errors import LocalProtocolError, RemoteProtocolError
from rdpprov.wire.rdp.auto_reconnect import ServerAutoReconnectPacket
from rdpprov.wire.rdp.gcc import MonitorDef
from rdpprov.wire.rdp.output_control import InclusiveRectangle, RefreshRect, SuppressOutput
from rdpprov.wire.rdp.session import (
    AutoReconnectStatus,
    FrameAcknowledge,
    InfoType,
    LogonErrorNotificationType,
    LogonErrorsInfo,
    LogonInfo,
    LogonInfoExtended,
    LogonInfoVersion2,
    MonitorLayout,
    PlainNotify,
    PlaySound,
    SaveSessionInfo,
    SetErrorInfo,
    SetKeyboardImeStatus,
    SetKeyboardIndicators,
    ShutdownDenied,
    ShutdownRequest,
    StatusInfo,
)

u16, u32 = (st.integers(0, 2**bits - 1) for bits in (16, 32))
i32 = st.integers(-(2**31), 2**31 - 1)
names = st.text(string.ascii_letters + "äß€😀", max_size=12)

rectangles = st.builds(InclusiveRectangle, u16, u16, u16, u16)
arc_packets = st.builds(ServerAutoReconnectPacket, u32, st.binary(min_size=16, max_size=16))
logon_errors = st.builds(LogonErrorsInfo, st.sampled_from(LogonErrorNotificationType), u32)
extended = st.builds(LogonInfoExtended, st.none() | arc_packets, st.none() | logon_errors)
monitors = st.builds(MonitorDef, i32, i32, i32, i32, st.sampled_from([0, 1]))
structures = st.one_of(
    st.just(ShutdownRequest()),
    st.just(ShutdownDenied()),
    st.builds(SetErrorInfo, u32),
    st.builds(LogonInfo, names, names, u32),
    st.builds(LogonInfoVersion2, names, names, u32),
    st.just(PlainNotify()),
    arc_packets,
    logon_errors,
    extended,
    st.builds(SaveSessionInfo, st.builds(LogonInfo, names, names, u32) | st.just(PlainNotify()) | extended),
    st.builds(MonitorLayout, st.lists(monitors, max_size=16).map(tuple)),
    st.builds(StatusInfo, u32),
    st.builds(AutoReconnectStatus, u32),
    st.builds(SetKeyboardIndicators, u16, u16),
    st.builds(SetKeyboardImeStatus, u32, u32, u16),
    st.builds(PlaySound, u32, u32),
    st.builds(FrameAcknowledge, u32),
    rectangles,
    st.builds(RefreshRect, st.lists(rectangles, max_size=10).map(tuple)),
    st.builds(SuppressOutput, st.none() | rectangles),
)


@given(structures, st.binary(max_size=10))
def test_every_structure_round_trips_and_leaves_what_follows(structure, rest):
    assert type(structure).unpack(structure.pack() + rest) == (structure, rest)


@given(structures, st.data())
def test_every_structure_that_is_cut_off_is_the_peer_s_fault(structure, data):
    packed = structure.pack()
    try:
        type(structure).unpack(packed[: data.draw(st.integers(0, max(0, len(packed) - 1)))])
    except RemoteProtocolError:
        return
    padded = isinstance(structure, LogonInfoExtended | ShutdownRequest | ShutdownDenied | SaveSessionInfo)
    assert padded, "only what ends in padding may be cut"


def test_save_session_info_has_the_published_sizes():
    assert len(SaveSessionInfo(LogonInfo("D", "U", 1)).pack()) == 4 + 576
    assert len(SaveSessionInfo(LogonInfoVersion2("D", "U", 1)).pack()) == 4 + 576 + 8
    assert len(SaveSessionInfo(PlainNotify()).pack()) == 4 + 576
    cookie = LogonInfoExtended(ServerAutoReconnectPacket(1, bytes(16)))
    assert cookie.length == 6 + 4 + 28
    assert len(cookie.pack()) == cookie.length + 570


def test_the_info_type_is_the_structure_s():
    assert SaveSessionInfo(PlainNotify()).info_type is InfoType.INFOTYPE_LOGON_PLAINNOTIFY
    with pytest.raises(RemoteProtocolError):
        SaveSessionInfo.unpack(b"\4\0\0\0" + bytes(600))


def test_the_cookie_is_not_printed():
    assert "secret" not in repr(LogonInfoExtended(ServerAutoReconnectPacket(1, b"secretsecretsecr")))


def test_a_name_that_does_not_fit_is_our_own_fault():
    LogonInfo("x" * 25, "y" * 255, 1)
    with pytest.raises(LocalProtocolError):
        LogonInfo("x" * 26, "y", 1)
    with pytest.raises(LocalProtocolError):
        LogonInfo("x", "y" * 256, 1)


def test_names_without_terminator_and_half_surrogates_are_read():
    packed = LogonInfo("x" * 25, "y" * 255, 1).pack()
    packed = packed.replace(b"x\0\0\0", b"x\0\0\xd8").replace(b"\x34\0\0\0", b"\x33\0\0\0")
    assert LogonInfo.unpack(packed)[0].domain.startswith("x" * 25)


def test_padding_of_newer_servers_is_left():
    assert LogonInfoVersion2.unpack(LogonInfoVersion2("D", "U", 1).pack() + bytes(30))[1] == bytes(30)


def test_field_sizes_of_the_extended_info_are_checked():
    errors = LogonErrorsInfo(LogonErrorNotificationType.LOGON_MSG_BUMP_OPTIONS, 1)
    packed = LogonInfoExtended(logon_errors=errors).pack()
    for size in (0, 7, 9, 0xFFFFFFFF):
        with pytest.raises(RemoteProtocolError):
            LogonInfoExtended.unpack(packed[:6] + size.to_bytes(4, "little") + packed[10:])
    for length in (0, 5, 17, 0xFFFF):
        with pytest.raises(RemoteProtocolError):
            LogonInfoExtended.unpack(length.to_bytes(2, "little") + packed[2:])


def test_a_refresh_rect_shorter_than_its_count_is_refused():
    with pytest.raises(RemoteProtocolError) as refused:
        RefreshRect.unpack(b"\xff\0\0\0" + bytes(8 * 254))
    assert refused.value.errinfo == ErrInfo.ERRINFO_INVALIDREFRESHRECTPDU
    with pytest.raises(LocalProtocolError):
        RefreshRect((InclusiveRectangle(0, 0, 1, 1),) * 256).pack()


@pytest.mark.parametrize("data", [b"", b"\0\0\0", b"\1\0\0\0" + bytes(7), b"\2\0\0\0" + bytes(8)])
def test_a_bad_suppress_output_is_refused(data):
    with pytest.raises(RemoteProtocolError) as refused:
        SuppressOutput.unpack(data)
    assert refused.value.errinfo == ErrInfo.ERRINFO_BADSUPRESSOUTPUTPDU


def test_suppress_output_allows_with_a_rectangle_and_stops_without():
    assert SuppressOutput().pack() == bytes(4)
    assert not SuppressOutput().allow_display_updates
    allowed = SuppressOutput(InclusiveRectangle(0, 0, 1023, 767))
    assert allowed.allow_display_updates
    assert allowed.pack() == bytes.fromhex("01000000 0000 0000 ff03 ff02")


def test_a_bad_frame_acknowledge_is_refused():
    with pytest.raises(RemoteProtocolError) as refused:
        FrameAcknowledge.unpack(b"\0\0\0")
    assert refused.value.errinfo == ErrInfo.ERRINFO_BAD_FRAME_ACK_DATA


def test_more_monitors_than_anybody_has_are_refused():
    with pytest.raises(RemoteProtocolError):
        MonitorLayout.unpack(b"\xff\xff\xff\xff" + bytes(100))
    with pytest.raises(LocalProtocolError):
        MonitorLayout((MonitorDef(0, 0, 1, 1),) * 65).pack()
