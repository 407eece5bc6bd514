import pytest
from construct import Bytes, Const, GreedyBytes, Int8ul, Int16ul, Int32ul, Padding, Rebuild, Struct, this
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.errinfo import ErrInfo
from rdpprov.errors import LocalProtocolError, RemoteProtocolError
from rdpprov.wire.rdp.bodies import CONTROL_BODIES, DATA_BODIES, unpack_body
from rdpprov.wire.rdp.share import (
    CompressedType,
    DeactivateAll,
    FlowPdu,
    PduType,
    PduType2,
    ShareControlHeader,
    ShareControlPdu,
    ShareDataPdu,
    ShareDataTooShortError,
    UnknownPduType2Error,
    UnknownPduTypeError,
    pack_share_control,
    pack_share_data,
    unpack_share_pdu,
)

u8, u16, u32 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32))
bodies = st.binary(max_size=100)

SHARE_CONTROL = Struct(
    "total_length" / Int16ul,
    "pdu_type" / Int16ul,
    "pdu_source" / Int16ul,
)
SHARE_DATA = Struct(
    "total_length" / Rebuild(Int16ul, lambda context: 18 + len(context.body)),
    "pdu_type" / Const(0x17, Int16ul),
    "pdu_source" / Int16ul,
    "share_id" / Int32ul,
    Padding(1),
    "stream_id" / Int8ul,
    "uncompressed_length" / Int16ul,
    "pdu_type2" / Int8ul,
    "compressed_type" / Int8ul,
    "compressed_length" / Int16ul,
    "body" / Bytes(this.total_length - 18),
)
FLOW = Struct(
    Const(0x8000, Int16ul),
    Padding(1),
    "pdu_type_flow" / Int8ul,
    "flow_identifier" / Int8ul,
    "flow_number" / Int8ul,
    "pdu_source" / Int16ul,
)

control_pdus = st.builds(
    ShareControlPdu, st.sampled_from(sorted(set(PduType) - {PduType.PDUTYPE_DATAPDU})), u16, bodies
)
data_pdus = st.builds(ShareDataPdu, u16, u32, u8, bodies, u8, u8, u16, u16)
flow_pdus = st.builds(FlowPdu, u8, u8, u8, u16)


@given(control_pdus | data_pdus | flow_pdus, st.binary(max_size=20))
def test_share_pdus_round_trip_and_leave_what_follows(pdu, rest):
    assert unpack_share_pdu(pdu.pack() + rest) == (pdu, rest)


@given(data_pdus)
def test_the_share_data_header_is_what_its_construct_definition_says(pdu):
    parsed = SHARE_DATA.parse(pdu.pack())
    assert {name: parsed[name] for name in parsed if name in ShareDataPdu.__slots__} == {
        name: getattr(pdu, name) for name in parsed if name in ShareDataPdu.__slots__
    }
    assert SHARE_DATA.build(parsed) == pdu.pack()


@given(flow_pdus)
def test_the_flow_pdu_is_what_its_construct_definition_says(pdu):
    parsed = FLOW.parse(pdu.pack())
    assert FlowPdu(parsed.pdu_type_flow, parsed.flow_identifier, parsed.flow_number, parsed.pdu_source) == pdu
    assert len(pdu.pack()) == 8


@given(st.integers(6, 0x7FFF), st.sampled_from(PduType), u16, st.binary(max_size=5))
def test_the_share_control_header_round_trips_and_is_what_its_construct_definition_says(length, kind, source, rest):
    header = ShareControlHeader(length, kind, source)
    assert ShareControlHeader.unpack(header.pack() + rest) == (header, rest)
    parsed = SHARE_CONTROL.parse(header.pack())
    assert (parsed.total_length, parsed.pdu_type, parsed.pdu_source) == (length, kind | 0x10, source)


@given(control_pdus | data_pdus | flow_pdus, st.data())
def test_a_share_pdu_that_is_cut_off_is_refused(pdu, data):
    packed = pdu.pack()
    size = data.draw(st.integers(0, len(packed) - 1))
    with pytest.raises(ShareDataTooShortError):
        unpack_share_pdu(packed[:size])


@pytest.mark.parametrize("total_length", [0, 3, 4, 5, 17, 0x7FFF, 0x8001, 0xFFFF])
def test_a_total_length_that_cannot_be_is_refused(total_length):
    packed = ShareDataPdu(1007, 1, 0x14, bytes(8)).pack()
    with pytest.raises(ShareDataTooShortError) as refused:
        unpack_share_pdu(total_length.to_bytes(2, "little") + packed[2:])
    assert refused.value.errinfo == ErrInfo.ERRINFO_SHAREDATATOOSHORT


@pytest.mark.parametrize("pdu_type", [0x10, 0x12, 0x1F, 0x07, 0x27])
def test_an_unknown_type_or_version_is_refused(pdu_type):
    with pytest.raises(UnknownPduTypeError) as refused:
        unpack_share_pdu(bytes((6, 0, pdu_type, 0, 0, 0)))
    assert refused.value.errinfo == ErrInfo.ERRINFO_UNKNOWNPDUTYPE


def test_a_header_alone_says_when_it_is_not_one():
    with pytest.raises(ShareDataTooShortError):
        ShareControlHeader.unpack(bytes((6, 0, 0x17)))
    with pytest.raises(ShareDataTooShortError):
        ShareControlHeader.unpack(bytes((5, 0, 0x17, 0, 0, 0)))
    with pytest.raises(RemoteProtocolError):
        FlowPdu.unpack(bytes(8))
    with pytest.raises(ShareDataTooShortError):
        FlowPdu.unpack(bytes(7))


def test_a_pdu_too_long_for_its_header_is_our_own_fault():
    with pytest.raises(LocalProtocolError):
        ShareDataPdu(1, 1, 2, bytes(0x7FFF)).pack()
    with pytest.raises(LocalProtocolError):
        ShareControlPdu(1, 1, bytes(0x7FFF)).pack()


@given(u32, st.binary(max_size=10), st.binary(max_size=10))
def test_deactivate_all_round_trips(share_id, descriptor, rest):
    pdu = DeactivateAll(share_id, descriptor)
    assert DeactivateAll.unpack(pdu.pack() + rest) == (pdu, rest)


@pytest.mark.parametrize("packed", [bytes((4, 0, 0x16, 0)), bytes((6, 0, 0x16, 0, 0xEA, 3))])
def test_deactivate_all_without_body_is_accepted(packed):
    pdu, rest = unpack_share_pdu(packed)
    assert unpack_body(pdu) == DeactivateAll(0, b"")
    assert rest == b""


def test_headers_are_put_in_front_of_bodies():
    assert pack_share_control(DeactivateAll(0x103EA)) == bytes.fromhex("0d001600ea03 ea030100 0100 00")
    font_map = DATA_BODIES[PduType2.PDUTYPE2_FONTMAP]()
    packed = pack_share_data(font_map, share_id=66538, stream_id=2)
    assert packed == bytes.fromhex("1a001700ea03ea03010000020800280000000000000003000400")  # of a real server


def test_every_table_entry_says_its_own_type():
    assert all(number == kind.PDU_TYPE for number, kind in CONTROL_BODIES.items())
    assert all(number == kind.PDU_TYPE2 for number, kind in DATA_BODIES.items())


def test_a_data_pdu_of_unknown_type_is_refused():
    with pytest.raises(UnknownPduType2Error) as refused:
        unpack_body(ShareDataPdu(1007, 1, 0x7F, b""))
    assert refused.value.errinfo == ErrInfo.ERRINFO_UNKNOWNPDUTYPE2


def test_a_compressed_data_pdu_is_refused():
    with pytest.raises(RemoteProtocolError, match="compressed"):
        unpack_body(ShareDataPdu(1007, 1, 0x14, bytes(8), compressed_type=CompressedType.PACKET_COMPRESSED))


def test_a_redirection_has_no_structure_here():
    with pytest.raises(UnknownPduTypeError):
        unpack_body(ShareControlPdu(PduType.PDUTYPE_SERVER_REDIR_PKT, 1, b""))


@given(st.sampled_from(sorted(CONTROL_BODIES) + sorted(DATA_BODIES)), st.binary(max_size=200))
def test_any_body_is_decoded_or_the_peer_s_fault(kind, body):
    pdu = ShareControlPdu(kind, 1007, body) if kind in CONTROL_BODIES else ShareDataPdu(1007, 1, kind, body)
    try:
        decoded = unpack_body(pdu)
    except RemoteProtocolError:
        return
    decoded.pack()


@given(st.binary(max_size=60))
def test_any_bytes_are_a_share_pdu_or_the_peer_s_fault(data):
    try:
        pdu, rest = unpack_share_pdu(data)
    except RemoteProtocolError:
        return
    assert data.endswith(rest)
    pdu.pack()


def test_the_oracle_leaves_nothing_unread():
    assert (SHARE_DATA >> GreedyBytes).parse(ShareDataPdu(1, 2, 3, b"abc").pack())[1] == b""
