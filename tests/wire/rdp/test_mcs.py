import construct
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.errors import LocalProtocolError
from rdpprov.wire.base import DecodeError, Reader
from rdpprov.wire.rdp import ber, per
from rdpprov.wire.rdp.mcs import (
    AttachUserConfirm,
    AttachUserRequest,
    ChannelJoinConfirm,
    ChannelJoinRequest,
    ConnectInitial,
    ConnectResponse,
    DisconnectProviderUltimatum,
    DisconnectReason,
    DomainParameters,
    ErectDomainRequest,
    McsResult,
    SendDataIndication,
    SendDataRequest,
    frame_send_data_indication,
    frame_send_data_request,
    unpack_domain_pdu,
)
from rdpprov.wire.rdp.x224 import frame_data

uint8, uint16, uint32 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32))
user_ids = st.integers(1001, 65535)
results = st.integers(0, 15).map(McsResult)
parameters = st.builds(DomainParameters, *[uint32] * 8)
connect_initials = st.builds(
    ConnectInitial,
    st.binary(max_size=300),
    parameters,
    parameters,
    parameters,
    st.binary(max_size=255),
    st.binary(max_size=255),
    st.booleans(),
)
connect_responses = st.builds(ConnectResponse, st.binary(max_size=300), parameters, uint8, uint32)
domain_pdus = st.one_of(
    st.builds(ErectDomainRequest, uint32, uint32),
    st.builds(ErectDomainRequest, uint8, uint16, st.just(True)),
    st.builds(AttachUserRequest),
    st.builds(AttachUserConfirm, st.none() | user_ids, results),
    st.builds(ChannelJoinRequest, user_ids, uint16),
    st.builds(ChannelJoinConfirm, user_ids, uint16, st.none() | uint16, results),
    st.builds(DisconnectProviderUltimatum, st.integers(0, 7)),
    st.builds(SendDataRequest, user_ids, uint16, st.binary(max_size=300)),
    st.builds(SendDataIndication, user_ids, uint16, st.binary(max_size=300)),
)


@given(st.one_of(connect_initials, connect_responses, parameters), st.binary(max_size=20))
def test_a_connect_pdu_round_trips(pdu, rest):
    assert type(pdu).unpack(pdu.pack() + rest) == (pdu, rest)


@given(domain_pdus, st.binary(max_size=20))
def test_a_domain_pdu_round_trips(pdu, rest):
    assert type(pdu).unpack(pdu.pack() + rest) == (pdu, rest)
    assert unpack_domain_pdu(pdu.pack()) == pdu


@given(domain_pdus.filter(lambda pdu: not isinstance(pdu, ErectDomainRequest)))
def test_bytes_behind_a_domain_pdu_are_refused(pdu):  # FRM-02
    with pytest.raises(DecodeError, match="too many"):
        unpack_domain_pdu(pdu.pack() + b"\0")


@pytest.mark.parametrize(
    ("data", "pdu"),
    [
        ("0401000100", ErectDomainRequest()),
        ("0400010001", ErectDomainRequest(1, 1, fixed_width=True)),  # rdesktop, aardwolf
        ("040100020100", ErectDomainRequest(0, 256)),
        ("04010001000000", ErectDomainRequest()),  # other lengths are tolerated
        ("28", AttachUserRequest()),
        ("2e000006", AttachUserConfirm(1007)),
        ("2c60", AttachUserConfirm(None, McsResult.RT_NO_SUCH_CHANNEL)),
        ("3e00000603eb03eb", ChannelJoinConfirm(1007, 1003, 1003)),
        ("3c60000603eb", ChannelJoinConfirm(1007, 1003, None, McsResult.RT_NO_SUCH_CHANNEL)),
        ("2180", DisconnectProviderUltimatum(DisconnectReason.RN_USER_REQUESTED)),
        ("2080", DisconnectProviderUltimatum(DisconnectReason.RN_PROVIDER_INITIATED)),
        ("2200", DisconnectProviderUltimatum(DisconnectReason.RN_CHANNEL_PURGED)),
        ("64000603eb7003616263", SendDataRequest(1007, 1003, b"abc")),
        ("64000603eb708003616263", SendDataRequest(1007, 1003, b"abc")),  # the long form of a short length is legal
    ],
)
def test_domain_pdus_seen_in_the_field_are_read(data, pdu):
    assert unpack_domain_pdu(bytes.fromhex(data)) == pdu


@pytest.mark.parametrize(
    "data",
    [
        "",
        "04",  # MCS-02: without subHeight
        "040100",  # without subInterval
        "04000100",  # the same in fixed width
        "2e0000",
        "2e00ffff",  # user id beyond 65535
        "38000603",
        "64000603eb70",
        "64000603eb7004616263",  # MCS-06: length beyond
        "64000603eb70c1616263",  # fragmented length
        "64000603eb7080",
        "64000603eb6003616263",  # not the end of its data
        "64fc1703eb7003616263",  # user id beyond 65535
        "7c",  # a choice that RDP does not use
    ],
)
def test_a_malformed_domain_pdu_is_refused(data):
    with pytest.raises(DecodeError):
        unpack_domain_pdu(bytes.fromhex(data))


@pytest.mark.parametrize(
    "data",
    [
        "",
        "7f66",
        "7f6580",  # indefinite
        "7f658500000000010101",  # a length of five bytes
        "7f6584ffffffff",  # GCC-01: four gigabytes
        "7f6503040101",
        "7f65" + "3080" * 3000,  # nested
    ],
)
def test_a_malformed_connect_initial_is_refused(data):
    with pytest.raises(DecodeError):
        ConnectInitial.unpack(bytes.fromhex(data))


def test_trailing_bytes_inside_a_connect_pdu_are_refused():
    inside = ConnectResponse(b"x").pack()[3:] + b"\0"
    with pytest.raises(DecodeError, match="too many"):
        ConnectResponse.unpack(ber.pack_element(0x7F66, inside))


def test_rdesktops_unsigned_integers_are_read():
    reader = Reader(bytes.fromhex("0202ffff"), "sample")
    assert ber.read_integer(reader) == 65535


@given(uint32)
def test_numbers_round_trip_in_ber_and_per(value):
    assert ber.read_integer(Reader(ber.pack_integer(value), "ber")) == value
    assert per.read_integer(Reader(per.pack_integer(value), "per")) == value
    assert ber.read_length(Reader(ber.pack_length(value), "ber")) == value


@given(st.integers(0, per.LENGTH_MAXIMUM))
def test_lengths_round_trip_in_per(length):
    packed = per.pack_length(length)
    assert len(packed) == (1 if length < 0x80 else 2)
    assert per.read_length(Reader(packed, "per")) == length


@given(st.from_regex(r"\A[0-9]{1,20}\Z"))
def test_numeric_strings_round_trip(digits):
    assert per.read_numeric_string(Reader(per.pack_numeric_string(digits, 1), "per"), 1) == digits


@pytest.mark.parametrize("data", ["0200", "0205010203040506", "02"])
def test_a_number_of_impossible_size_is_refused(data):
    with pytest.raises(DecodeError):
        ber.read_integer(Reader(bytes.fromhex(data), "ber"))


# T.125 in construct: bit for bit what X.691 says, against our layouts by hand.
SEND_DATA_ORACLE = construct.Struct(
    "bits"
    / construct.BitStruct(
        "choice" / construct.BitsInteger(6), "padding" / construct.Const(0, construct.BitsInteger(2))
    ),
    "initiator" / construct.Int16ub,
    "channel_id" / construct.Int16ub,
    "more"
    / construct.BitStruct(
        "data_priority" / construct.Const(1, construct.BitsInteger(2)),
        "begin" / construct.Const(1, construct.Bit),
        "end" / construct.Const(1, construct.Bit),
        "padding" / construct.Const(0, construct.BitsInteger(4)),
    ),
    "length" / construct.IfThenElse(lambda this: this._.size < 0x80, construct.Int8ub, construct.Int16ub),
    "user_data" / construct.GreedyBytes,
)
CONFIRM_ORACLE = construct.Bitwise(
    construct.Aligned(
        8,
        construct.Sequence(construct.BitsInteger(6), construct.BitsInteger(1), construct.BitsInteger(4)),
    )
)


@given(st.sampled_from([25, 26]), user_ids, uint16, st.binary(max_size=300))
def test_send_data_is_what_construct_makes(choice, initiator, channel_id, data):
    size = len(data)
    oracle = SEND_DATA_ORACLE.build(
        {
            "bits": {"choice": choice},
            "initiator": initiator - 1001,
            "channel_id": channel_id,
            "more": {},
            "length": size if size < 0x80 else 0x8000 | size,
            "user_data": data,
        },
        size=size,
    )
    kind, frame = {
        25: (SendDataRequest, frame_send_data_request),
        26: (SendDataIndication, frame_send_data_indication),
    }[choice]
    assert kind(initiator, channel_id, data).pack() == oracle
    assert frame(initiator, channel_id, data) == frame_data(oracle)


@given(st.none() | user_ids, results)
def test_a_confirms_bits_are_what_construct_makes(initiator, result):
    packed = AttachUserConfirm(initiator, result).pack()
    assert packed[:2] == CONFIRM_ORACLE.build([11, initiator is not None, result])


@given(st.integers(0, 7))
def test_an_ultimatums_bits_are_what_construct_makes(reason):
    oracle = construct.Bitwise(
        construct.Aligned(8, construct.Sequence(construct.BitsInteger(6), construct.BitsInteger(3)))
    )
    assert DisconnectProviderUltimatum(reason).pack() == oracle.build([8, reason])


def test_what_does_not_fit_is_our_callers_fault():
    with pytest.raises(LocalProtocolError):
        SendDataRequest(1000, 1003, b"")
    with pytest.raises(LocalProtocolError):
        SendDataRequest(1001, 1003, bytes(16384)).pack()
    with pytest.raises(LocalProtocolError):
        frame_send_data_indication(1001, 1003, bytes(16384))
    with pytest.raises(LocalProtocolError):
        AttachUserConfirm(1000)
    with pytest.raises(LocalProtocolError):
        DisconnectProviderUltimatum(8)
    with pytest.raises(LocalProtocolError):
        ErectDomainRequest(256, 0, fixed_width=True).pack()


def test_user_data_stays_out_of_the_repr():
    assert "secret" not in repr(SendDataRequest(1001, 1003, b"secret"))
