import pytest
from construct import (
    BitsInteger,
    BitStruct,
    GreedyBytes,
    If,
    Int8ub,
    Int8ul,
    Int16ub,
    Int16ul,
    Peek,
    Prefixed,
    Struct,
    Switch,
    this,
)
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.errors import LocalProtocolError, RemoteProtocolError
from rdpprov.wire.rdp.fastpath import (
    MAX_FRAGMENT_SIZE,
    MAX_PDU_SIZE,
    FastPathHeader,
    FastPathOutputPdu,
    FastPathUpdate,
    FragmentAssembler,
    Fragmentation,
    can_fragment,
    pack_updates,
    unpack_fast_path,
)
from rdpprov.wire.rdp.tpkt import UnitKind, next_unit

u2, u4, u8 = (st.integers(0, 2**bits - 1) for bits in (2, 4, 8))
updates = st.builds(FastPathUpdate, u4, st.binary(max_size=80), u2, st.none() | u8)

HEADER = Struct(
    "first" / BitStruct("flags" / BitsInteger(2), "num_events" / BitsInteger(4), "action" / BitsInteger(2)),
    "peeked" / Peek(Int8ub),
    "length" / Switch(lambda context: context.peeked >> 7, {0: Int8ub, 1: Int16ub}),
)
UPDATE = Struct(
    "first" / BitStruct("compression" / BitsInteger(2), "fragmentation" / BitsInteger(2), "code" / BitsInteger(4)),
    "flags" / If(this.first.compression == 2, Int8ul),
    "data" / Prefixed(Int16ul, GreedyBytes),
)


@given(st.integers(3, 0x7FFF), u2, u4, st.booleans(), st.binary(max_size=5))
def test_the_header_round_trips_and_is_what_its_construct_definition_says(length, flags, events, long_form, rest):
    header = FastPathHeader(length, flags, events, long_form or length > 0x7F)
    assert FastPathHeader.unpack(header.pack() + rest) == (header, rest)
    parsed = HEADER.parse(header.pack())
    assert (parsed.first.flags, parsed.first.num_events, parsed.first.action) == (flags, events, 0)
    assert parsed.length & (0x7FFF if header.long_form else 0x7F) == length
    assert header.size == len(header.pack())
    assert header.data_length == length - header.size


@pytest.mark.parametrize("data", ["", "00", "0000", "0001", "00 80", "00 8000", "00 8002", "0302", "0102"])
def test_a_bad_header_is_refused(data):
    with pytest.raises(RemoteProtocolError):
        FastPathHeader.unpack(bytes.fromhex(data))


@given(updates, st.binary(max_size=5))
def test_an_update_round_trips_and_is_what_its_construct_definition_says(update, rest):
    packed = update.pack()
    assert FastPathUpdate.unpack(packed + rest) == (update, rest)
    parsed = UPDATE.parse(packed)
    assert (parsed.first.compression, parsed.first.fragmentation, parsed.first.code, parsed.flags, parsed.data) == (
        update.compression,
        update.fragmentation,
        update.update_code,
        update.compression_flags,
        update.data,
    )
    assert UPDATE.build(parsed) == packed


@given(st.lists(updates, max_size=5).map(tuple), st.binary(max_size=5))
def test_a_pdu_round_trips_and_framing_finds_its_end(updates, rest):
    packed = FastPathOutputPdu(updates).pack()
    assert FastPathOutputPdu.unpack(packed + rest) == (FastPathOutputPdu(updates), rest)
    assert next_unit(packed + rest, fast_path=True) == (UnitKind.FAST_PATH, len(packed))
    assert unpack_fast_path(packed + rest)[2] == rest


@given(st.lists(updates, min_size=1, max_size=3).map(tuple), st.data())
def test_a_pdu_that_is_cut_off_is_refused(updates, data):
    packed = FastPathOutputPdu(updates).pack()
    with pytest.raises(RemoteProtocolError):
        FastPathOutputPdu.unpack(packed[: data.draw(st.integers(0, len(packed) - 1))])


def test_an_update_beyond_its_pdu_is_refused():
    with pytest.raises(RemoteProtocolError):
        FastPathOutputPdu.unpack(bytes.fromhex("0006 0104 0000"))
    with pytest.raises(RemoteProtocolError):
        FastPathOutputPdu.unpack(bytes.fromhex("0004 0100"))
    with pytest.raises(RemoteProtocolError):
        FastPathUpdate.unpack(bytes.fromhex("810001"))


def test_an_encrypted_pdu_is_refused():
    with pytest.raises(RemoteProtocolError):
        FastPathOutputPdu.unpack(bytes.fromhex("8002"))


sized_updates = st.lists(
    st.tuples(u4, st.sampled_from([0, 1, 100, 120, 121, 4000, 0x3F7F, 0x3F80, 0x3F81, 0x7F00, 0x7F01, 100_000])),
    max_size=8,
).map(lambda sizes: [(code, bytes([code]) * size) for code, size in sizes])


@given(sized_updates)
def test_packed_updates_come_out_of_the_assembler_as_they_went_in(updates):
    pdus = pack_updates(updates, max_request_size=200_000)
    assert all(len(pdu) <= MAX_PDU_SIZE for pdu in pdus)
    assembler = FragmentAssembler(200_000)
    whole = []
    for packed in pdus:
        pdu, rest = FastPathOutputPdu.unpack(packed)
        assert rest == b""
        whole += [update for part in pdu.updates if (update := assembler.add(part)) is not None]
    assert [(update.update_code, update.data) for update in whole] == updates


def test_small_updates_share_a_pdu_and_lengths_take_their_shortest_form():
    assert pack_updates([(8, b"abcd"), (10, b"\1\0")]) == [bytes.fromhex("000e 08 0400 61626364 0a 0200 0100")]
    assert pack_updates([(1, bytes(122))])[0][:2] == bytes((0, 127))
    assert pack_updates([(1, bytes(123))])[0][:3] == bytes((0, 0x80, 129))


def test_a_large_update_is_first_next_and_last():
    pdus = pack_updates([(4, bytes(2 * MAX_FRAGMENT_SIZE + 1))], max_request_size=0x20000)
    kinds = [FastPathOutputPdu.unpack(pdu)[0].updates[0].fragmentation for pdu in pdus]
    assert kinds == [
        Fragmentation.FASTPATH_FRAGMENT_FIRST,
        Fragmentation.FASTPATH_FRAGMENT_NEXT,
        Fragmentation.FASTPATH_FRAGMENT_LAST,
    ]
    assert len(pack_updates([(4, bytes(2 * MAX_FRAGMENT_SIZE))], max_request_size=0x20000)) == 2


@pytest.mark.parametrize("max_request_size", [None, 0, 0x3FFE])
def test_nothing_is_fragmented_for_a_client_that_cannot(max_request_size):
    assert not can_fragment(max_request_size)
    assert len(pack_updates([(1, bytes(MAX_FRAGMENT_SIZE))], max_request_size=max_request_size)) == 1
    with pytest.raises(LocalProtocolError):
        pack_updates([(1, bytes(MAX_FRAGMENT_SIZE + 1))], max_request_size=max_request_size)


def test_the_smallest_number_that_allows_fragments_is_a_whole_pdu():  # fact 36
    assert can_fragment(0x3FFF)


def test_an_update_above_the_client_s_number_is_our_own_fault():
    pack_updates([(1, bytes(38055))], max_request_size=38055)
    with pytest.raises(LocalProtocolError):
        pack_updates([(1, bytes(38056))], max_request_size=38055)


def test_a_pdu_above_the_limit_is_our_own_fault():
    with pytest.raises(LocalProtocolError):
        FastPathOutputPdu((FastPathUpdate(1, bytes(MAX_PDU_SIZE)),)).pack()
    with pytest.raises(LocalProtocolError):
        FastPathUpdate(1, bytes(0x10000)).pack()


SINGLE, LAST, FIRST, NEXT = Fragmentation


@pytest.mark.parametrize(
    "kinds",
    [[NEXT], [LAST], [FIRST, FIRST], [FIRST, SINGLE], [FIRST, LAST, NEXT]],
    ids=lambda kinds: "-".join(kind.name.rpartition("_")[2] for kind in kinds),
)
def test_fragments_out_of_order_are_refused(kinds):
    assembler = FragmentAssembler(100)
    *before, last = kinds
    for kind in before:
        assembler.add(FastPathUpdate(1, b"x", kind))
    with pytest.raises(RemoteProtocolError):
        assembler.add(FastPathUpdate(1, b"x", last))


def test_fragments_of_different_updates_are_refused():
    assembler = FragmentAssembler(100)
    assembler.add(FastPathUpdate(1, b"x", FIRST))
    with pytest.raises(RemoteProtocolError):
        assembler.add(FastPathUpdate(2, b"x", NEXT))


def test_fragments_above_the_bound_are_refused():
    assembler = FragmentAssembler(10)
    assembler.add(FastPathUpdate(1, bytes(10), FIRST))
    with pytest.raises(RemoteProtocolError):
        assembler.add(FastPathUpdate(1, b"x", LAST))


@given(st.binary(max_size=60))
def test_any_bytes_are_a_pdu_or_the_peer_s_fault(data):
    try:
        pdu, rest = FastPathOutputPdu.unpack(data)
    except RemoteProtocolError:
        return
    assert data.endswith(rest)
    assert FastPathOutputPdu.unpack(pdu.pack()) == (pdu, b"")


def test_a_header_whose_fields_do_not_fit_is_our_own_fault():
    for length, flags, events, long_form in [
        (0x8000, 0, 0, True),
        (200, 0, 0, False),
        (9, 4, 0, False),
        (9, 0, 16, False),
    ]:
        with pytest.raises(LocalProtocolError):
            FastPathHeader(length, flags, events, long_form)
