import construct
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.errors import LocalProtocolError
from rdpprov.wire.base import DecodeError
from rdpprov.wire.rdp.tpkt import TpktHeader, UnitKind, next_unit, pack_tpkt

ORACLE = construct.Struct(
    "version" / construct.Const(3, construct.Byte), "reserved" / construct.Byte, "length" / construct.Int16ub
)


@given(st.integers(7, 65535), st.integers(0, 255), st.binary(max_size=20))
def test_a_header_round_trips_and_is_what_construct_makes(length, reserved, rest):
    header = TpktHeader(length, reserved)
    assert header.pack() == ORACLE.build({"reserved": reserved, "length": length})
    assert TpktHeader.unpack(header.pack() + rest) == (header, rest)


@given(st.binary(min_size=3, max_size=300), st.binary(max_size=20))
def test_a_unit_is_found_whole_whatever_follows(payload, rest):
    unit = pack_tpkt(payload)
    assert next_unit(unit + rest) == (UnitKind.TPKT, len(unit))


@given(st.binary(min_size=3, max_size=60))
def test_every_beginning_of_a_unit_waits_for_more(payload):
    unit = pack_tpkt(payload)
    for cut in range(len(unit)):
        assert next_unit(unit[:cut]) is None


@pytest.mark.parametrize("length", range(7))
def test_a_length_that_no_unit_has_is_refused_before_the_body_comes(length):  # FRM-01
    with pytest.raises(DecodeError):
        next_unit(bytes([3, 0, 0, length]))
    with pytest.raises(DecodeError):
        TpktHeader.unpack(bytes([3, 0, 0, length]))


def test_a_unit_above_the_limit_is_refused_before_the_body_comes():  # FRM-05
    assert next_unit(b"\x03\x00\x10\x00", limit=4096) is None
    with pytest.raises(DecodeError):
        next_unit(b"\x03\x00\x10\x01", limit=4096)
    with pytest.raises(DecodeError):
        next_unit(b"\x00\x90\x01", limit=4096, fast_path=True)


@pytest.mark.parametrize("first", [first for first in range(256) if first != 3 and first & 3])
def test_a_first_byte_of_no_unit_is_refused(first):  # FRM-04
    for fast_path in (False, True):
        with pytest.raises(DecodeError):
            next_unit(bytes([first]), fast_path=fast_path)


@given(st.integers(0, 63).map(lambda flags: flags << 2), st.binary(max_size=400), st.booleans(), st.binary(max_size=20))
def test_a_fast_path_pdu_is_found_whole_in_both_forms_of_its_length(first, body, long, rest):
    if long or len(body) + 2 > 0x7F:
        unit = bytes([first]) + (0x8000 | len(body) + 3).to_bytes(2, "big") + body
    else:
        unit = bytes([first, len(body) + 2]) + body
    assert next_unit(unit + rest, fast_path=True) == (UnitKind.FAST_PATH, len(unit))
    for cut in range(len(unit)):
        assert next_unit(unit[:cut], fast_path=True) is None


@pytest.mark.parametrize("header", ["0000", "0001", "008000", "008002"])
def test_a_fast_path_length_shorter_than_its_header_is_refused(header):  # INP-02
    with pytest.raises(DecodeError):
        next_unit(bytes.fromhex(header), fast_path=True)


def test_fast_path_is_refused_while_it_is_not_legal():
    with pytest.raises(DecodeError, match="before it is legal"):
        next_unit(b"\x00")


def test_another_version_is_refused():
    with pytest.raises(DecodeError):
        TpktHeader.unpack(b"\x04\x00\x00\x07")


def test_a_payload_that_no_unit_holds_is_our_callers_fault():
    assert len(pack_tpkt(bytes(65531))) == 65535
    with pytest.raises(LocalProtocolError):
        pack_tpkt(bytes(65532))


@given(st.binary(max_size=20), st.booleans())
def test_any_bytes_are_a_unit_or_wait_or_are_refused(data, fast_path):
    try:
        unit = next_unit(data, fast_path=fast_path)
    except DecodeError:
        return
    assert unit is None or 2 <= unit[1] <= len(data)
