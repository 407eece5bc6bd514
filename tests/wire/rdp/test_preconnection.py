import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.wire.base import DecodeError
from rdpprov.wire.rdp.preconnection import PRECONNECTION_MAXIMUM, PreconnectionPdu, preconnection_length

uint32 = st.integers(0, 2**32 - 1)
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=50)
pdus = st.builds(PreconnectionPdu, uint32, st.none() | texts, uint32)


@given(pdus, st.binary(max_size=20))
def test_a_preconnection_pdu_round_trips(pdu, rest):
    packed = pdu.pack()
    assert preconnection_length(packed) == len(packed)
    assert PreconnectionPdu.unpack(packed + rest) == (pdu, rest)


def test_the_largest_blob_fits_exactly():
    pdu = PreconnectionPdu(1, "x" * ((PRECONNECTION_MAXIMUM - 20) // 2))
    assert len(pdu.pack()) == PRECONNECTION_MAXIMUM
    assert PreconnectionPdu.unpack(pdu.pack()) == (pdu, b"")


@pytest.mark.parametrize("data", ["", "10", "100000"])
def test_the_length_waits_for_its_four_bytes(data):
    assert preconnection_length(bytes.fromhex(data)) is None


@pytest.mark.parametrize("size", [0, 15, 17, PRECONNECTION_MAXIMUM + 1, 2**32 - 1])
def test_a_size_of_no_pdu_is_refused_at_once(size):  # PRE-02
    with pytest.raises(DecodeError):
        preconnection_length(size.to_bytes(4, "little"))


@pytest.mark.parametrize(
    "data",
    [
        "10000000 00000000 03000000 00000000",  # version 3
        "10000000 00000000 02000000 00000000",  # version 2 without cchPCB
        "14000000 00000000 02000000 00000000 02000000",  # cchPCB beyond cbSize
        "10000000 00000000 01000000 000000",  # cut
    ],
)
def test_a_malformed_pdu_is_refused(data):
    with pytest.raises(DecodeError):
        PreconnectionPdu.unpack(bytes.fromhex(data))
