import construct
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.errors import LocalProtocolError
from rdpprov.wire.base import DecodeError
from rdpprov.wire.rdp.nego import (
    CorrelationInfo,
    NegotiationFailure,
    NegotiationFailureCode,
    NegotiationRequest,
    NegotiationRequestFlags,
    NegotiationResponse,
    NegotiationResponseFlags,
    Protocols,
)
from rdpprov.wire.rdp.tpkt import pack_tpkt
from rdpprov.wire.rdp.x224 import (
    ConnectionConfirm,
    ConnectionRequest,
    Data,
    DisconnectRequest,
    data_payload,
    frame_data,
)

uint8, uint16, uint32 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32))
plain_requests = st.builds(NegotiationRequest, uint32, uint8.map(lambda flags: flags & ~8))
correlated_requests = st.builds(NegotiationRequest, uint32, uint8.map(lambda flags: flags | 8))
correlation_infos = st.builds(CorrelationInfo, st.binary(min_size=16, max_size=16), uint8)
responses = st.builds(NegotiationResponse, uint32, uint8)
failures = st.builds(NegotiationFailure, uint32, uint8)
lines = st.binary(max_size=150).filter(lambda line: b"\r\n" not in line and line[:1] != b"\x01")
connection_requests = st.one_of(
    st.builds(
        ConnectionRequest, st.none() | lines, st.none() | plain_requests, st.none(), uint16, uint16, st.integers(0, 15)
    ),
    st.builds(ConnectionRequest, st.none() | lines, correlated_requests, correlation_infos, uint16, uint16),
)
connection_confirms = st.builds(ConnectionConfirm, st.none() | responses | failures, uint16, uint16, uint8)
disconnect_requests = st.builds(DisconnectRequest, uint8, uint16, uint16)


@given(st.one_of(plain_requests, correlation_infos, responses, failures), st.binary(max_size=20))
def test_a_negotiation_structure_round_trips(structure, rest):
    assert type(structure).unpack(structure.pack() + rest) == (structure, rest)


@given(st.one_of(connection_requests, connection_confirms, disconnect_requests), st.binary(max_size=20))
def test_a_tpdu_round_trips(tpdu, rest):
    assert type(tpdu).unpack(tpdu.pack() + rest) == (tpdu, rest)


def test_a_refusal_is_19_bytes_on_the_wire():
    refusal = ConnectionConfirm(NegotiationFailure(NegotiationFailureCode.HYBRID_REQUIRED_BY_SERVER))
    assert pack_tpkt(refusal.pack()).hex(" ", 1) == "03 00 00 13 0e d0 00 00 00 00 00 03 00 08 00 05 00 00 00"


def test_a_client_without_negotiation_gets_a_bare_confirm():
    assert pack_tpkt(ConnectionConfirm(source_reference=0x1234).pack()).hex() == "0300000b06d00000123400"


def test_the_choice_is_read_with_its_names():
    confirm, _ = ConnectionConfirm.unpack(bytes.fromhex("0ed00000123400021f080008000000"))
    assert confirm.negotiation.selected_protocol is Protocols.PROTOCOL_HYBRID_EX
    assert confirm.negotiation.flags & NegotiationResponseFlags.DYNVC_GFX_PROTOCOL_SUPPORTED


@pytest.mark.parametrize(
    ("line", "cookie", "token"),
    [
        (b"Cookie: mstshash=eltons", "eltons", None),
        (b"Cookie: mstshash=", "", None),
        (b"Cookie: msts=3640205228.15629.0000", None, "3640205228.15629.0000"),
        (b"tsv://MS Terminal Services Plugin.1.Farm", None, None),
        (b"\xff\xfe", None, None),
        (None, None, None),
    ],
)
def test_a_routing_line_is_read_for_what_it_is(line, cookie, token):  # NEG-03
    request = ConnectionRequest(line)
    assert (request.cookie, request.routing_token) == (cookie, token)
    assert ConnectionRequest.unpack(request.pack()) == (request, b"")


@pytest.mark.parametrize(
    "tpdu",
    [
        "",
        "00",
        "00e0",
        "05e00000000000",  # LI leaves out the class
        "06d00000000000",  # a confirm
        "06e00000000020",  # class 2
        "ffe00000000000",  # LI beyond the data
        "0ee00000000000010007000000000000"[:30],  # length 7
        "0ee00000000000010009000000000000"[:30],  # length 9
        "0ee000000000000100ffff0000000000"[:30],  # length 65535
        "0fe0000000000001000800000000000000",  # one byte too many
        "09e00000000000414243",  # neither negotiation nor a line
    ],
)
def test_a_malformed_connection_request_is_refused(tpdu):  # NEG-01, NEG-04
    with pytest.raises(DecodeError):
        ConnectionRequest.unpack(bytes.fromhex(tpdu))


def test_a_request_that_could_not_be_read_back_is_our_callers_fault():
    correlated = NegotiationRequest(Protocols.PROTOCOL_SSL, NegotiationRequestFlags.CORRELATION_INFO_PRESENT)
    with pytest.raises(LocalProtocolError):
        ConnectionRequest(b"two\r\nlines")
    with pytest.raises(LocalProtocolError):
        ConnectionRequest(b"\x01")
    with pytest.raises(LocalProtocolError):
        ConnectionRequest(negotiation=correlated)
    with pytest.raises(LocalProtocolError):
        ConnectionRequest(correlation_info=CorrelationInfo(bytes(16)))
    with pytest.raises(LocalProtocolError):
        ConnectionRequest(bytes(300)).pack()


@pytest.mark.parametrize(
    ("correlation_id", "usable"),
    [(b"\1" * 16, True), (b"\0" * 16, False), (b"\xf4" + b"\1" * 15, False), (b"\1" * 15 + b"\r", False)],
)
def test_a_correlation_id_is_usable_as_the_specification_says(correlation_id, usable):  # NEG-09
    assert CorrelationInfo(correlation_id).usable is usable


DATA_ORACLE = construct.Struct(
    "version" / construct.Const(3, construct.Byte),
    "reserved" / construct.Const(0, construct.Byte),
    "length" / construct.Rebuild(construct.Int16ub, lambda this: 7 + len(this.payload)),
    "li" / construct.Const(2, construct.Byte),
    "code" / construct.Const(0xF0, construct.Byte),
    "eot" / construct.Const(0x80, construct.Byte),
    "payload" / construct.GreedyBytes,
)


@given(st.binary(max_size=300))
def test_data_is_what_construct_makes_and_round_trips(payload):
    unit = frame_data(payload)
    assert unit == DATA_ORACLE.build({"payload": payload}) == pack_tpkt(Data(payload).pack())
    assert Data.unpack(unit[4:]) == Data(payload)
    assert bytes(data_payload(memoryview(unit)[4:])) == payload


@pytest.mark.parametrize("tpdu", ["", "02f0", "03f08000", "02e080"])
def test_what_is_no_data_is_refused(tpdu):
    with pytest.raises(DecodeError):
        Data.unpack(bytes.fromhex(tpdu))


def test_data_that_no_unit_holds_is_our_callers_fault():
    with pytest.raises(LocalProtocolError):
        frame_data(bytes(65529))


def test_a_disconnect_request_with_a_variable_part_is_read():
    assert DisconnectRequest.unpack(bytes.fromhex("0880000100020316 17 99".replace(" ", ""))) == (
        DisconnectRequest(3, 1, 2),
        b"\x99",
    )
