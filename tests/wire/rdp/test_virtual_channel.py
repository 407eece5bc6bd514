import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.errinfo import ErrInfo
from rdpprov.wire.rdp.virtual_channel import ChannelDataTooShortError, ChannelPduHeader

uint32 = st.integers(0, 2**32 - 1)


@given(st.builds(ChannelPduHeader, uint32, uint32), st.binary(max_size=20))
def test_the_header_round_trips_and_leaves_its_part_of_the_message(header, part):
    assert ChannelPduHeader.unpack(header.pack() + part) == (header, part)


@pytest.mark.parametrize("size", range(8))
def test_a_chunk_shorter_than_its_header_is_refused(size):
    with pytest.raises(ChannelDataTooShortError) as caught:
        ChannelPduHeader.unpack(bytes(size))
    assert caught.value.errinfo is ErrInfo.ERRINFO_VCHANNELDATATOOSHORT
