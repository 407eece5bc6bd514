"""SVC: static virtual channels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.errinfo import ErrInfo
from rdpprov.errors import LocalProtocolError, RemoteProtocolError
from rdpprov.protocol.rdp.channels import ChannelAssembler, pack_chunks
from rdpprov.protocol.rdp.client import ClientOptions
from rdpprov.protocol.rdp.events import ChannelDataReceived
from rdpprov.protocol.rdp.server import ServerState
from rdpprov.wire.rdp.virtual_channel import ChannelFlags

FIRST, LAST = int(ChannelFlags.CHANNEL_FLAG_FIRST), int(ChannelFlags.CHANNEL_FLAG_LAST)


def chunk(total: int, flags: int, data: bytes) -> bytes:
    return total.to_bytes(4, "little") + flags.to_bytes(4, "little") + data


@pytest.fixture
def talk(dialogue):
    talk = dialogue(ClientOptions(channels=("cliprdr", "rdpsnd"))).run()
    assert talk.server.state is ServerState.ACTIVE
    return talk


@given(st.binary(max_size=10_000), st.integers(1, 3000))
def test_svc_03_a_message_is_cut_and_put_together_again(message, size):
    chunks = list(pack_chunks(message, size))
    assert all(len(one) <= size + 8 for one in chunks)
    assembler = ChannelAssembler()
    *early, last = [assembler.add(one) for one in chunks]
    assert (early, last) == ([None] * (len(chunks) - 1), message)


def test_svc_01_messages_flow_both_ways_on_an_open_channel(talk):
    message = bytes(range(256)) * 20
    channel_id = talk.server.open_channel("cliprdr")
    assert channel_id == talk.client.open_channel("cliprdr") == 1004
    talk.client.send_channel_data(channel_id, message)
    talk.server.send_channel_data(channel_id, message[::-1])
    talk.run()
    assert talk.server_events[-1] == ChannelDataReceived(channel_id, message)
    assert talk.client_events[-1] == ChannelDataReceived(channel_id, message[::-1])


def test_a_channel_that_the_client_does_not_have_cannot_be_opened(talk):
    assert talk.server.open_channel("drdynvc") is None
    with pytest.raises(LocalProtocolError):
        talk.server.send_channel_data(1005, b"x")


def test_svc_05_data_on_a_closed_or_unknown_channel_is_dropped(talk):
    before = list(talk.server_events)
    for data in (b"", chunk(0xFFFFFFFF, FIRST, b"x"), chunk(1, 0, b"xyz"), b"garbage"):
        for channel_id in (1004, 1005, 1006, 9, 0xFFFF):
            talk.tell_channel(data, channel_id)
    channel_id = talk.server.open_channel("rdpsnd")
    talk.server.close_channel(channel_id)
    talk.tell_channel(chunk(0xFFFFFFFF, FIRST, b"x"), channel_id)
    assert talk.server_events == before
    assert talk.server.state is ServerState.ACTIVE


@pytest.mark.parametrize(
    ("chunks", "errinfo"),
    [
        ([chunk(0xFFFFFFFF, FIRST, b"x")], ErrInfo.ERRINFO_VCDATATOOLONG),
        ([chunk(2, FIRST | LAST, b"xyz")], ErrInfo.ERRINFO_VCDECOMPRESSEDREASSEMBLEFAILED),
        ([chunk(4, FIRST, b"xyz"), chunk(4, 0, b"xyz")], ErrInfo.ERRINFO_VCDECOMPRESSEDREASSEMBLEFAILED),
        ([chunk(4, FIRST | LAST, b"xyz")], ErrInfo.ERRINFO_VCDECOMPRESSEDREASSEMBLEFAILED),
        ([chunk(4, 0, b"xyz")], ErrInfo.ERRINFO_VCDECOMPRESSEDREASSEMBLEFAILED),
        ([chunk(3, FIRST | LAST, b"xyz"), chunk(3, LAST, b"")], ErrInfo.ERRINFO_VCDECOMPRESSEDREASSEMBLEFAILED),
        ([chunk(3, FIRST | LAST | 0x200000, b"\xff\xff")], ErrInfo.ERRINFO_INVALIDVCCOMPRESSIONTYPE),
        ([b"\x01\0\0\0\x03\0\0"], ErrInfo.ERRINFO_VCHANNELDATATOOSHORT),
    ],
    ids=["4 GiB", "more", "more later", "less", "middle first", "after last", "compressed", "cut"],
)
def test_nx_29_wrong_chunks_on_an_open_channel_are_refused(talk, chunks, errinfo):
    channel_id = talk.server.open_channel("cliprdr")
    for good in chunks[:-1]:
        talk.tell_channel(good, channel_id)
    assert talk.refused(lambda: talk.tell_channel(chunks[-1], channel_id)).errinfo is errinfo


def test_svc_02_the_owner_may_set_a_lower_limit(talk):
    channel_id = talk.server.open_channel("cliprdr", message_limit=100)
    assert talk.tell_channel(chunk(100, FIRST, b"x"), channel_id) == []
    talk.refused(lambda: talk.tell_channel(chunk(101, FIRST, b"x"), channel_id))


@pytest.mark.parametrize("flag", [ChannelFlags.CHANNEL_FLAG_SUSPEND, ChannelFlags.CHANNEL_FLAG_RESUME])
def test_svc_05_suspend_and_resume_are_never_fatal(talk, flag):
    channel_id = talk.server.open_channel("cliprdr")
    assert talk.tell_channel(chunk(0, int(flag), b""), channel_id) == []


def test_a_first_chunk_drops_an_unfinished_message():
    assembler = ChannelAssembler()
    assert assembler.add(chunk(10, FIRST, b"lost")) is None
    assert assembler.add(chunk(2, FIRST | LAST, b"ok")) == b"ok"


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_any_chunks_are_taken_or_refused_within_the_limit(chunks):
    assembler = ChannelAssembler(limit=50)
    for one in chunks:
        try:
            message = assembler.add(one)
        except RemoteProtocolError:
            continue
        assert message is None or len(message) <= 50
