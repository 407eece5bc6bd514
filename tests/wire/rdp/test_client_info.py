import hashlib
import hmac

import attrs
import construct
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.errinfo import ErrInfo
from rdpprov.errors import LocalProtocolError
from rdpprov.wire.base import DecodeError
from rdpprov.wire.rdp.auto_reconnect import (
    CLIENT_RANDOM_OF_ENHANCED_SECURITY,
    ClientAutoReconnectPacket,
    ServerAutoReconnectPacket,
)
from rdpprov.wire.rdp.client_info import (
    AddressFamily,
    ClientInfo,
    InfoFlags,
    SystemTime,
    TimeZoneInformation,
    TimeZoneKeyNameTooLongError,
)
from rdpprov.wire.rdp.security import BasicSecurityHeader, SecurityFlags

uint16, uint32 = st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1)
int32 = st.integers(-(2**31), 2**31 - 1)
UNICODE = InfoFlags.INFO_UNICODE


def texts(limit):
    """Texts of up to `limit` bytes in UTF-16."""
    return st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=limit // 4)


ansi = st.text(st.characters(min_codepoint=1, max_codepoint=126), max_size=30)
dates = st.builds(SystemTime, *[uint16] * 8)
zones = st.builds(TimeZoneInformation, int32, texts(62), dates, int32, texts(62), dates, int32)
packets = st.builds(ServerAutoReconnectPacket, uint32, st.binary(min_size=16, max_size=16)) | st.builds(
    ClientAutoReconnectPacket, uint32, st.binary(min_size=16, max_size=16)
)


@st.composite
def client_infos(draw, complete=False):
    """In Unicode or not, with the extended part stopping after any of its fields; or all of it, in Unicode."""
    unicode = complete or draw(st.booleans())
    flags = draw(uint32) | UNICODE if unicode else draw(uint32) & ~UNICODE
    kind, address, directory = (texts(512), texts(80), texts(512)) if unicode else (ansi, ansi, ansi)
    head = [draw(kind) for _ in range(5)]
    cookie = st.sampled_from([b"", bytes(28), b"x" * 28, b"odd"])
    tail = [uint16, address, directory, zones, uint32, uint32, cookie, uint16, uint16, texts(254), uint16]
    length = len(tail) if complete else draw(st.integers(0, len(tail)))
    return ClientInfo(flags, draw(uint32), *head, *[draw(kind) for kind in tail[:length]])


@given(client_infos())
def test_client_info_round_trips(info):
    assert ClientInfo.unpack(info.pack()) == info


@given(dates | zones | packets, st.binary(max_size=20))
def test_its_parts_round_trip(part, rest):
    assert type(part).unpack(part.pack() + rest) == (part, rest)


@given(uint16, uint16, st.binary(max_size=20))
def test_a_security_header_round_trips(flags, flags_hi, rest):
    header = BasicSecurityHeader(flags, flags_hi)
    assert BasicSecurityHeader.unpack(header.pack() + rest) == (header, rest)


def test_a_security_header_says_what_follows():
    header, rest = BasicSecurityHeader.unpack(b"\x40\x00\x00\x00info")
    assert (header.flags, rest) == (SecurityFlags.SEC_INFO_PKT, b"info")


# The Unicode packet with everything, in construct.
SYSTEM_TIME = construct.Int16ul[8]
COUNTED = construct.Prefixed(construct.Int16ul, construct.GreedyBytes)
ORACLE = construct.Struct(
    "code_page" / construct.Int32ul,
    "flags" / construct.Int32ul,
    "sizes" / construct.Int16ul[5],
    "texts" / construct.Array(5, construct.Bytes(lambda this: this.sizes[this._index] + 2)),
    "client_address_family" / construct.Int16ul,
    "client_address" / COUNTED,
    "client_dir" / COUNTED,
    "client_time_zone"
    / construct.Struct(
        "bias" / construct.Int32sl,
        "standard_name" / construct.PaddedString(64, "utf-16-le"),
        "standard_date" / SYSTEM_TIME,
        "standard_bias" / construct.Int32sl,
        "daylight_name" / construct.PaddedString(64, "utf-16-le"),
        "daylight_date" / SYSTEM_TIME,
        "daylight_bias" / construct.Int32sl,
    ),
    "client_session_id" / construct.Int32ul,
    "performance_flags" / construct.Int32ul,
    "auto_reconnect_cookie" / COUNTED,
    "reserved1" / construct.Int16ul,
    "reserved2" / construct.Int16ul,
    "dynamic_dst_time_zone_key_name" / COUNTED,
    "dynamic_daylight_time_disabled" / construct.Int16ul,
    construct.Terminated,
)


@given(client_infos(complete=True))
def test_client_info_is_what_construct_reads(info):
    parsed = ORACLE.parse(info.pack())
    plain = ("code_page", "flags", "client_address_family", "client_session_id", "performance_flags", "reserved1")
    plain += ("reserved2", "auto_reconnect_cookie", "dynamic_daylight_time_disabled")
    assert [parsed[name] for name in plain] == [getattr(info, name) for name in plain]
    terminated = [info.domain, info.user_name, info.password, info.alternate_shell, info.working_dir]
    assert list(parsed.texts) == [(text + "\0").encode("utf-16-le") for text in terminated]
    assert parsed.client_address == (info.client_address + "\0").encode("utf-16-le")
    assert parsed.client_dir == (info.client_dir + "\0").encode("utf-16-le")
    assert parsed.dynamic_dst_time_zone_key_name == info.dynamic_dst_time_zone_key_name.encode("utf-16-le")
    zone = parsed.client_time_zone
    assert [zone.bias, zone.standard_name, tuple(zone.standard_date), zone.standard_bias] == [
        info.client_time_zone.bias,
        info.client_time_zone.standard_name,
        attrs.astuple(info.client_time_zone.standard_date),
        info.client_time_zone.standard_bias,
    ]
    assert [zone.daylight_name, tuple(zone.daylight_date), zone.daylight_bias] == [
        info.client_time_zone.daylight_name,
        attrs.astuple(info.client_time_zone.daylight_date),
        info.client_time_zone.daylight_bias,
    ]


FULL = ClientInfo(
    UNICODE | InfoFlags.INFO_COMPRESSION | 0x0600,
    0x409,
    "DOMAIN",
    "user",
    "secret password",
    "",
    "",
    AddressFamily.AF_INET,
    "192.0.2.1",
    "C:\\",
    TimeZoneInformation(-60, "CET"),
    0,
    7,
    b"",
    0,
    0,
    "Central Europe Standard Time",
    0,
)


def test_the_extended_part_may_stop_after_a_field_but_not_inside_one():  # INF-04, fact 94
    packed, ends = FULL.pack(), set()
    info = FULL
    names = [field.name for field in attrs.fields(ClientInfo)]
    for name in reversed(names[names.index("client_address_family") :]):
        ends.add(len(info.pack()))
        info = attrs.evolve(info, **{name: None})
    ends.add(len(info.pack()))
    for cut in range(len(info.pack()), len(packed) + 1):
        if cut in ends:
            assert ClientInfo.unpack(packed[:cut]).pack() == packed[:cut]
        else:
            with pytest.raises(DecodeError):
                ClientInfo.unpack(packed[:cut])


def test_what_a_newer_client_appends_is_dropped():
    assert ClientInfo.unpack(FULL.pack() + b"new") == FULL


def test_sizes_of_zero_for_address_and_directory_are_taken():  # fact 23
    packed = ClientInfo().pack() + bytes.fromhex("0200" "0000" "0000")  # fmt: skip
    info = ClientInfo.unpack(packed)
    assert (info.client_address, info.client_dir, info.client_time_zone) == ("", "", None)


def test_the_compression_type_is_read_from_its_bits():
    assert FULL.compression_type == 3


@pytest.mark.parametrize("index", range(5))
@pytest.mark.parametrize("size", [3, 514, 0xFFFE])
def test_a_text_of_impossible_size_is_refused(index, size):  # INF-02: odd, too long, beyond
    packed = bytearray(ClientInfo().pack() + bytes(2000))
    packed[8 + 2 * index : 10 + 2 * index] = size.to_bytes(2, "little")
    with pytest.raises(DecodeError):
        ClientInfo.unpack(packed)


@pytest.mark.parametrize("size", [256, 257])
def test_in_a_code_page_half_the_bytes_are_as_much_text(size):  # INF-02
    packed = bytearray(ClientInfo(0).pack())
    packed[8:10] = size.to_bytes(2, "little")
    packed[18:18] = b"d" * size
    if size == 256:
        assert ClientInfo.unpack(packed).domain == "d" * 256
    else:
        with pytest.raises(DecodeError):
            ClientInfo.unpack(packed)


@pytest.mark.parametrize(("prefix", "limit"), [("0200", 80), ("0200" "0000", 512)])  # fmt: skip
def test_an_address_or_directory_without_nul_is_taken_up_to_its_limit(prefix, limit):
    start = ClientInfo().pack() + bytes.fromhex(prefix)
    for size, taken in [(limit, True), (limit + 2, False)]:
        packed = start + size.to_bytes(2, "little") + b"x\0" * (size // 2)
        if taken:
            ClientInfo.unpack(packed)
        else:
            with pytest.raises(DecodeError):
                ClientInfo.unpack(packed)


def test_a_time_zone_key_name_that_is_too_long_has_its_own_code():
    info = attrs.evolve(FULL, dynamic_dst_time_zone_key_name=None, dynamic_daylight_time_disabled=None)
    with pytest.raises(TimeZoneKeyNameTooLongError) as caught:
        ClientInfo.unpack(info.pack() + (256).to_bytes(2, "little") + bytes(300))
    assert caught.value.errinfo == ErrInfo.ERRINFO_TIMEZONEKEYNAMELENGTHTOOLONG


@pytest.mark.parametrize(
    ("code_page", "raw", "text"),
    [
        (1251, b"\xcf", "П"),
        (932, b"\x83\x65", "テ"),
        (0x409, b"\xe9", "é"),
        (99999, b"\xe9", "é"),
        (65001, b"\xe9", "é"),
    ],
)
def test_without_unicode_the_code_page_decides_if_it_is_one(code_page, raw, text):  # INF-03
    packed = bytearray(ClientInfo(0, code_page).pack())
    packed[10:12] = len(raw).to_bytes(2, "little")
    packed[18:18] = b"\0" + raw  # behind the domain, which is empty
    info = ClientInfo.unpack(packed[:-1])
    assert info.user_name == text
    assert info.pack() == packed[:-1]


def test_undecodable_text_is_replaced():  # INF-03
    packed = bytearray(ClientInfo(domain="x").pack())
    packed[18:20] = b"\x00\xd8"  # half a surrogate pair
    assert ClientInfo.unpack(packed).domain == "\ufffd"


def test_what_a_text_has_behind_a_nul_is_dropped():
    packed = ClientInfo(user_name="root_x").pack().replace("_".encode("utf-16-le"), b"\0\0")
    assert ClientInfo.unpack(packed).user_name == "root"


def test_secrets_are_named_as_such_and_stay_out_of_the_repr():  # INF-08
    info = attrs.evolve(FULL, auto_reconnect_cookie=b"cookie cookie cookie cookie ")
    assert "secret password" not in repr(info)
    assert "cookie cookie" not in repr(info)
    secrets = {field.name for field in attrs.fields(ClientInfo) if field.metadata.get("secret")}
    assert secrets == {"password", "auto_reconnect_cookie"}
    assert attrs.fields(ClientAutoReconnectPacket).security_verifier.metadata["secret"]
    assert attrs.fields(ServerAutoReconnectPacket).arc_random_bits.metadata["secret"]
    assert "\\x2a" not in repr(ClientAutoReconnectPacket(1, b"*" * 16))


def test_a_password_that_cannot_be_written_stays_out_of_the_error():
    with pytest.raises(LocalProtocolError) as caught:
        ClientInfo(0, password="пароль").pack()
    assert "пароль" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_gap_in_the_extended_part_is_our_callers_fault():
    with pytest.raises(LocalProtocolError, match="client_dir"):
        ClientInfo(client_dir="x")


@pytest.mark.parametrize(
    ("cookie", "readable"),
    [
        (ClientAutoReconnectPacket(7, b"v" * 16).pack(), True),
        (b"", False),
        (bytes(28), False),
        (ClientAutoReconnectPacket(7, b"v" * 16).pack() + b"x", False),
        (None, False),
    ],
)
def test_a_cookie_that_cannot_be_read_counts_as_none(cookie, readable):  # ARC-02
    info = attrs.evolve(
        FULL,
        auto_reconnect_cookie=cookie,
        reserved1=None,
        reserved2=None,
        dynamic_dst_time_zone_key_name=None,
        dynamic_daylight_time_disabled=None,
    )
    assert ClientInfo.unpack(info.pack()) == info
    assert info.auto_reconnect == (ClientAutoReconnectPacket(7, b"v" * 16) if readable else None)


def test_a_client_proves_the_servers_packet_by_its_verifier():  # fact 73
    given_out = ServerAutoReconnectPacket(7, bytes(range(16)))
    verifier = hmac.new(given_out.arc_random_bits, CLIENT_RANDOM_OF_ENHANCED_SECURITY, hashlib.md5).digest()
    back = ClientAutoReconnectPacket(given_out.logon_id, verifier)
    assert back.pack().hex() == "1c0000000100000007000000b639c8731638618b707972aa6e96cf90"
