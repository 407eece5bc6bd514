import attrs
import construct
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.errors import LocalProtocolError
from rdpprov.wire.base import DecodeError
from rdpprov.wire.rdp.gcc import (
    ChannelDef,
    ClientClusterData,
    ClientCoreData,
    ClientMessageChannelData,
    ClientMonitorData,
    ClientMonitorExtendedData,
    ClientMultitransportChannelData,
    ClientNetworkData,
    ClientSecurityData,
    ClientUserData,
    ConferenceCreateRequest,
    ConferenceCreateResponse,
    EarlyCapabilityFlags,
    MonitorAttributes,
    MonitorDef,
    ServerCoreData,
    ServerMessageChannelData,
    ServerMultitransportChannelData,
    ServerNetworkData,
    ServerSecurityData,
    ServerUserData,
    SupportedColorDepths,
    UnknownBlock,
)

uint8, uint16, uint32 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32))
int32 = st.integers(-(2**31), 2**31 - 1)


def texts(limit):
    """Texts of up to `limit` bytes in UTF-16."""
    return st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=limit // 4)


TAIL = [uint16, uint16, uint32, uint16, uint16, uint16, texts(62), uint8, uint8, uint32, uint32, uint32, uint16, uint32]
TAIL.append(uint32)


@st.composite
def client_cores(draw):
    """With the tail stopping after any of its fields."""
    head = [draw(kind) for kind in (uint16, uint16, uint32, uint16, uint16, uint32, uint32, texts(30))]
    head += [draw(kind) for kind in (uint32, uint32, uint32, texts(62))]
    length = draw(st.integers(0, len(TAIL)))
    tail = [draw(kind) for kind in TAIL[:length]] + [None] * (len(TAIL) - length)
    return ClientCoreData(*head, *tail, draw(st.binary(max_size=9)) if length == len(TAIL) else b"")


names = st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=7)
channels = st.builds(ChannelDef, names, uint32)
monitors = st.builds(MonitorDef, int32, int32, int32, int32, uint32)
attributes = st.builds(MonitorAttributes, *[uint32] * 5)
client_blocks = st.one_of(
    st.builds(ClientSecurityData, uint32, uint32),
    st.builds(ClientNetworkData, st.lists(channels, max_size=31, unique_by=lambda channel: channel.name.lower())),
    st.builds(ClientClusterData, uint32, uint32, st.binary(max_size=64)),
    st.builds(ClientMonitorData, st.lists(monitors, max_size=16), uint32),
    st.builds(ClientMonitorExtendedData, st.lists(attributes, max_size=16), uint32),
    st.builds(ClientMessageChannelData, uint32),
    st.builds(ClientMultitransportChannelData, uint32),
    st.builds(UnknownBlock, st.integers(0xC00B, 0xFFFF), st.binary(max_size=40)),
)
server_cores = st.one_of(
    st.builds(ServerCoreData, uint32),
    st.builds(ServerCoreData, uint32, uint32),
    st.builds(ServerCoreData, uint32, uint32, uint32),
)
server_blocks = st.one_of(
    st.builds(ServerSecurityData, uint32, uint32),
    st.builds(ServerSecurityData, uint32, uint32, st.binary(min_size=32, max_size=32), st.binary(max_size=40)),
    st.builds(ServerNetworkData, st.lists(uint16, max_size=31), uint16),
    st.builds(ServerMessageChannelData, uint16),
    st.builds(ServerMultitransportChannelData, uint32),
    st.builds(UnknownBlock, st.integers(0x0C09, 0xBFFF), st.binary(max_size=40)),
)


def distinct(blocks):
    return st.lists(blocks, max_size=5, unique_by=lambda block: block.type)


@given(client_cores() | client_blocks | server_cores | server_blocks)
def test_a_block_round_trips_and_its_header_counts_itself(block):
    packed = block.pack()
    assert int.from_bytes(packed[:2], "little") == block.type
    assert int.from_bytes(packed[2:4], "little") == len(packed)
    if not isinstance(block, UnknownBlock):
        assert type(block).unpack_body(packed[4:]) == block


@given(client_cores(), distinct(client_blocks), st.randoms(use_true_random=False))
def test_the_clients_blocks_round_trip_in_their_order(core, others, random):
    blocks = [core, *others]
    random.shuffle(blocks)
    user_data = ClientUserData(blocks)
    assert ClientUserData.unpack(user_data.pack()) == user_data
    assert user_data.core == core


@given(server_cores, distinct(server_blocks), st.randoms(use_true_random=False))
def test_the_servers_blocks_round_trip_in_their_order(core, others, random):
    blocks = [core, *others]
    random.shuffle(blocks)
    user_data = ServerUserData(blocks)
    assert ServerUserData.unpack(user_data.pack()) == user_data
    assert user_data.core == core


@given(channels | monitors | attributes, st.binary(max_size=20))
def test_the_parts_of_blocks_round_trip(part, rest):
    assert type(part).unpack(part.pack() + rest) == (part, rest)


CORE_ORACLE = construct.Struct(
    "version" / construct.Int32ul,
    "desktop_width" / construct.Int16ul,
    "desktop_height" / construct.Int16ul,
    "color_depth_code" / construct.Int16ul,
    "sas_sequence" / construct.Int16ul,
    "keyboard_layout" / construct.Int32ul,
    "client_build" / construct.Int32ul,
    "client_name" / construct.PaddedString(32, "utf-16-le"),
    "keyboard_type" / construct.Int32ul,
    "keyboard_sub_type" / construct.Int32ul,
    "keyboard_function_key" / construct.Int32ul,
    "ime_file_name" / construct.PaddedString(64, "utf-16-le"),
    *[
        name / construct.Optional(kind)
        for name, kind in {
            "post_beta2_color_depth": construct.Int16ul,
            "client_product_id": construct.Int16ul,
            "serial_number": construct.Int32ul,
            "high_color_depth": construct.Int16ul,
            "supported_color_depths": construct.Int16ul,
            "early_capability_flags": construct.Int16ul,
            "client_dig_product_id": construct.PaddedString(64, "utf-16-le"),
            "connection_type": construct.Int8ul,
            "pad1octet": construct.Int8ul,
            "server_selected_protocol": construct.Int32ul,
            "desktop_physical_width": construct.Int32ul,
            "desktop_physical_height": construct.Int32ul,
            "desktop_orientation": construct.Int16ul,
            "desktop_scale_factor": construct.Int32ul,
            "device_scale_factor": construct.Int32ul,
        }.items()
    ],
    "trailing" / construct.GreedyBytes,
)


@given(client_cores())
def test_the_core_block_is_what_construct_reads(core):
    parsed = CORE_ORACLE.parse(core.pack()[4:])
    assert {name: parsed[name] for name in attrs.asdict(core)} == attrs.asdict(core)


@given(client_cores())
def test_a_core_block_may_stop_after_a_field_but_not_inside_one(core):  # GCC-05
    body = attrs.evolve(core, trailing=b"").pack()[4:]
    boundaries, end = {128}, 128
    for _, layout in ClientCoreData.TAIL:
        end += layout.size
        boundaries.add(end)
    for cut in range(len(body) + 1):
        if cut in boundaries:
            assert ClientCoreData.unpack_body(body[:cut]).pack()[4:] == body[:cut]
        else:
            with pytest.raises(DecodeError):
                ClientCoreData.unpack_body(body[:cut])


BOTH = (sum(SupportedColorDepths), EarlyCapabilityFlags.RNS_UD_CS_WANT_32BPP_SESSION)


@pytest.mark.parametrize(
    ("fields", "depth"),
    [
        ({"color_depth_code": 0xCA00}, 4),
        ({"color_depth_code": 0xCA01}, 8),
        ({"color_depth_code": 0xCA00, "post_beta2_color_depth": 0xCA03}, 16),
        ({"color_depth_code": 7, "post_beta2_color_depth": 0xCA02}, 15),
        ({"high_color_depth": 24}, 24),
        ({"high_color_depth": 16, "supported_color_depths": 15}, 16),
        ({"high_color_depth": 24, "supported_color_depths": 15, "early_capability_flags": 1}, 24),
        ({"high_color_depth": 24, "supported_color_depths": 7, "early_capability_flags": 2}, 24),
        ({"high_color_depth": 24, "supported_color_depths": 8, "early_capability_flags": 2}, 32),
        ({"high_color_depth": 7, "supported_color_depths": 8, "early_capability_flags": 2}, 32),
        ({"color_depth_code": 0xCA04}, None),  # only postBeta2ColorDepth has it
        ({"post_beta2_color_depth": 0xCA05}, None),
        ({"high_color_depth": 32}, None),
        ({"high_color_depth": 0}, None),
    ],
)
def test_the_color_depth_is_decided_by_the_last_field_that_knows(fields, depth):  # GCC-08
    values = {}
    if "high_color_depth" in fields:
        values = {"post_beta2_color_depth": 0xCA01, "client_product_id": 1, "serial_number": 0}
    core = ClientCoreData(1024, 768, **(values | fields))
    if depth is None:
        with pytest.raises(DecodeError):
            core.color_depth()
    else:
        assert core.color_depth() == depth


def test_a_gap_in_an_optional_tail_is_our_callers_fault():
    with pytest.raises(LocalProtocolError, match="serial_number"):
        ClientCoreData(1, 1, serial_number=0)
    with pytest.raises(LocalProtocolError, match="trailing"):
        ClientCoreData(1, 1, trailing=b"x")
    with pytest.raises(LocalProtocolError):
        ServerCoreData(early_capability_flags=8)
    with pytest.raises(LocalProtocolError):
        ServerSecurityData(server_random=bytes(32))
    with pytest.raises(LocalProtocolError):
        ServerNetworkData([1] * 32).pack()
    with pytest.raises(LocalProtocolError):
        ServerNetworkData([65536]).pack()


CORE = ClientCoreData(1024, 768)


@pytest.mark.parametrize(
    "blocks",
    [
        "",  # without CS_CORE
        CORE.pack().hex() + "03c00000",  # GCC-04: length 0
        CORE.pack().hex() + "03c00300",  # length 3
        CORE.pack().hex() + "03c00900" + "00000000",  # length beyond
        CORE.pack().hex() + "03c0",
        CORE.pack().hex() * 2,  # repeated
        CORE.pack().hex() + "0dc00400" * 2,  # repeated, though unknown
        ClientSecurityData().pack().hex(),
        CORE.pack().hex() + UnknownBlock(0xC00D, bytes(8100)).pack().hex(),  # more than all blocks together may have
    ],
)
def test_malformed_client_data_is_refused(blocks):
    with pytest.raises(DecodeError):
        ClientUserData.unpack(bytes.fromhex(blocks))


def test_blocks_that_we_do_not_know_are_kept():  # fact 14
    blocks = (CORE, UnknownBlock(0xC009, bytes(4)), UnknownBlock(0xC00D, b"new"))
    assert ClientUserData.unpack(ClientUserData(blocks).pack()).blocks == blocks


def test_blocks_are_found_by_what_they_are():
    user_data = ClientUserData([CORE, ClientNetworkData(), ClientClusterData(0x0D), ClientMonitorData()])
    assert user_data.network == ClientNetworkData()
    assert user_data.cluster.redirection_supported
    assert not user_data.cluster.session_id_field_valid
    assert user_data.cluster.server_session_redirection_version == 3
    assert user_data.monitor == ClientMonitorData()
    missing = ("security", "monitor_extended", "message_channel", "multitransport")
    assert [getattr(user_data, name) for name in missing] == [None] * 4
    answer = ServerUserData([ServerCoreData(), ServerMessageChannelData(1007)])
    assert answer.message_channel.mcs_channel_id == 1007
    assert [answer.security, answer.network, answer.multitransport] == [None] * 3
    with pytest.raises(LocalProtocolError):
        assert ClientUserData([]).core
    with pytest.raises(LocalProtocolError):
        assert ServerUserData([]).core


def test_old_mac_clients_pad_the_cluster_block():  # fact 15
    padded = ClientClusterData.unpack_body(bytes(8 + 16))
    assert padded.padding == bytes(16)
    with pytest.raises(DecodeError):
        ClientClusterData.unpack_body(bytes(8 + 65))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (ClientNetworkData, "20000000" + "00" * 12 * 32),  # GCC-11: 32 channels
        (ClientNetworkData, "02000000" + "00" * 12),  # count larger than the block
        (ClientNetworkData, "00000000" + "00"),
        (ClientNetworkData, "ffffffff"),
        (ClientNetworkData, "01000000" + "6162636465666768" + "00000000"),  # no NUL
        (ClientNetworkData, "02000000" + "6162000000000000" + "00000000" + "4142000000000000" + "00000000"),
        (ClientMonitorData, "00000000" + "11000000" + "00" * 20 * 17),  # fact 21, GCC-12: 17 monitors
        (ClientMonitorData, "00000000" + "01000000"),
        (ClientMonitorExtendedData, "00000000" + "15000000" + "00000000"),  # attribute size 21
        (ClientMonitorExtendedData, "00000000" + "14000000" + "11000000"),
        (ClientSecurityData, "00" * 9),
        (ServerCoreData, "00" * 6),
        (ServerCoreData, "00" * 13),
        (ServerSecurityData, "00" * 12),
        (ServerSecurityData, "00" * 17),
        (ServerSecurityData, "02000000" + "02000000" + "ffffffff" + "ffffffff"),
        (ServerNetworkData, "eb03" + "2000" + "00" * 64),
        (ServerNetworkData, "eb03" + "0200" + "00" * 3),
        (ServerMessageChannelData, "00"),
    ],
)
def test_a_malformed_block_is_refused(kind, body):
    with pytest.raises(DecodeError):
        kind.unpack_body(bytes.fromhex(body))


def test_a_server_that_writes_lengths_of_zero_means_no_encryption():
    assert ServerSecurityData.unpack_body(bytes(16)) == ServerSecurityData()
    assert len(ServerSecurityData().pack()) == 12


def test_the_pad_behind_an_odd_number_of_channels_is_written_and_may_be_missing():
    network = ServerNetworkData([1004])
    assert network.pack().hex() == "030c0c00eb030100ec030000"
    assert ServerNetworkData.unpack_body(network.pack()[4:-2]) == network


@given(st.binary(max_size=600), st.from_regex(r"\A[0-9]{1,9}\Z"), st.none() | st.integers(0, 12))
def test_a_request_envelope_round_trips(user_data, name, length):
    request = ConferenceCreateRequest(user_data, name, length)
    assert ConferenceCreateRequest.unpack(request.pack()) == request


@given(st.binary(max_size=600), st.integers(1001, 65535), uint32, uint8, st.binary(max_size=9))
def test_a_response_envelope_round_trips(user_data, node_id, tag, result, rest):
    response = ConferenceCreateResponse(user_data, node_id, tag, result)
    assert ConferenceCreateResponse.unpack(response.pack() + rest) == (response, rest)


def test_the_servers_blocks_begin_where_rdesktop_looks_for_them():  # fact 17
    for size in (10, 300):
        packed = ConferenceCreateResponse(bytes(size)).pack()
        assert packed[:21].hex() == "000500147c00012a14760a01010001c0004d63446e"
        assert packed[21:] == (bytes([size]) if size < 128 else b"\x81\x2c") + bytes(size)


@pytest.mark.parametrize(
    "envelope",
    [
        "000500147c0002" "0e" "00080010" "0001c000" "44756361" "00",  # GCC-03: another object
        "000500147c0001" "0d" "00080010" "0001c000" "44756362" "00",  # another key
        "000500147c0001" "0e" "00080010" "0001c000" "44756361" "00",  # outer length beyond
        "000500147c0001" "0d" "00080010" "0001c000" "44756361" "01",  # inner length beyond
        "000500147c0001" "0e" "00080010" "0001c000" "44756361" "00" "00",  # inner length too small
        "000500147c0001" "0d" "00080010" "0002c000" "44756361" "00",  # two sets
        "000500147c0001" "0d" "000800a0" "0001c000" "44756361" "00",  # a name of no digits
        "000500147c0001",
    ],
)  # fmt: skip
def test_a_malformed_request_envelope_is_refused(envelope):
    with pytest.raises(DecodeError):
        ConferenceCreateRequest.unpack(bytes.fromhex(envelope))


def test_what_an_envelope_cannot_hold_is_our_callers_fault():
    with pytest.raises(LocalProtocolError):
        ConferenceCreateRequest(bytes(16384)).pack()
    with pytest.raises(LocalProtocolError):
        ConferenceCreateRequest(b"", "x").pack()
    with pytest.raises(LocalProtocolError):
        ConferenceCreateResponse(b"", node_id=1000).pack()
    with pytest.raises(LocalProtocolError):
        UnknownBlock(1, bytes(65532)).pack()
