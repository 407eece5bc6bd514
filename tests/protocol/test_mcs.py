"""GCC and MCS: connect, attach, join, and data on channels."""

import itertools

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.errinfo import ErrInfo
from rdpprov.errors import RemoteProtocolError
from rdpprov.protocol.rdp.client import ClientOptions
from rdpprov.protocol.rdp.events import Disconnected, McsConnected
from rdpprov.protocol.rdp.mcs import (
    MCS_CLIENT_TRANSITIONS,
    MCS_SERVER_TRANSITIONS,
    ChannelData,
    ChannelJoined,
    DataIgnored,
    DomainErected,
    McsClientMachine,
    McsSequenceError,
    McsServerMachine,
    McsState,
    UserAttached,
)
from rdpprov.protocol.rdp.server import ServerOptions, ServerState
from rdpprov.wire.rdp import gcc
from rdpprov.wire.rdp.gcc import (
    ClientClusterData,
    ClientCoreData,
    ClientMessageChannelData,
    ClientNetworkData,
    ClientSecurityData,
    ClientUserData,
    ConferenceCreateRequest,
    ConferenceCreateResponse,
    EarlyCapabilityFlags,
    ServerEarlyCapabilityFlags,
    ServerUserData,
    UnknownBlock,
)
from rdpprov.wire.rdp.mcs import (
    AttachUserConfirm,
    AttachUserRequest,
    ChannelJoinConfirm,
    ChannelJoinRequest,
    ConnectInitial,
    ConnectResponse,
    DisconnectProviderUltimatum,
    DomainParameters,
    ErectDomainRequest,
    McsResult,
    SendDataIndication,
    SendDataRequest,
    unpack_domain_pdu,
)
from rdpprov.wire.rdp.nego import Protocols
from rdpprov.wire.rdp.x224 import DisconnectRequest, frame_data

SSL = Protocols.PROTOCOL_SSL
REQUESTED = 0x8000000B
CORE = ClientCoreData(
    1024, 768, post_beta2_color_depth=0xCA01, client_product_id=1, serial_number=0, high_color_depth=24
)
SKIP = attrs.evolve(
    CORE, supported_color_depths=15, early_capability_flags=EarlyCapabilityFlags.RNS_UD_CS_SUPPORT_SKIP_CHANNELJOIN
)
CHANNELS = ClientNetworkData(tuple(gcc.ChannelDef(name) for name in ("rdpdr", "rdpsnd", "cliprdr")))
USER = 1007  # behind 1003 and the three of CHANNELS


def initial(*blocks: gcc.Block, **changes: object) -> bytes:
    user_data = b"".join(block.pack() for block in blocks or (CORE, CHANNELS))
    return ConnectInitial(ConferenceCreateRequest(user_data).pack(), **changes).pack()


class Server:
    """An MCS server machine, and what it says."""

    def __init__(self, **options: bool) -> None:
        self.outgoing: list[bytes] = []
        self.machine = McsServerMachine(self.outgoing, requested_protocols=REQUESTED, selected_protocol=SSL, **options)

    def tell(self, pdu: bytes) -> object:
        return self.machine.receive(b"\x02\xf0\x80" + pdu)

    def connected(self, *blocks: gcc.Block) -> "Server":
        self.tell(initial(*blocks))
        return self

    def attached(self, *blocks: gcc.Block) -> "Server":
        self.connected(*blocks)
        self.tell(ErectDomainRequest().pack())
        self.tell(AttachUserRequest().pack())
        self.outgoing.clear()
        return self

    def answer(self) -> object:
        unit = self.outgoing.pop()
        assert not self.outgoing
        return unpack_domain_pdu(unit[7:])

    def response(self) -> tuple[ConnectResponse, ServerUserData]:
        response, rest = ConnectResponse.unpack(self.outgoing.pop()[7:])
        assert rest == b""
        envelope, rest = ConferenceCreateResponse.unpack(response.user_data)
        assert rest == b""
        return response, ServerUserData.unpack(envelope.user_data)

    def refuses(self, pdu: bytes) -> RemoteProtocolError:
        said = len(self.outgoing)
        with pytest.raises(RemoteProtocolError) as caught:
            self.tell(pdu)
        assert self.machine.state is McsState.ERROR
        assert len(self.outgoing) == said
        with pytest.raises(RemoteProtocolError):
            self.tell(ErectDomainRequest().pack())
        return caught.value


# The tables

CLIENT_PDUS = {
    ConnectInitial: initial(),
    ErectDomainRequest: ErectDomainRequest().pack(),
    AttachUserRequest: AttachUserRequest().pack(),
    ChannelJoinRequest: ChannelJoinRequest(USER, USER).pack(),
    SendDataRequest: SendDataRequest(USER, 1004, b"data").pack(),
    DisconnectProviderUltimatum: DisconnectProviderUltimatum().pack(),
}
SERVER_PDUS = {
    ConnectResponse: ConnectResponse(b"", DomainParameters(), McsResult.RT_SUCCESSFUL).pack(),
    AttachUserConfirm: AttachUserConfirm(USER).pack(),
    ChannelJoinConfirm: ChannelJoinConfirm(USER, 1003, 1003).pack(),
    SendDataIndication: SendDataIndication(1002, 1003, b"data").pack(),
}


@pytest.mark.parametrize(
    ("state", "kind"),
    list(itertools.product(McsState, CLIENT_PDUS | SERVER_PDUS)),
    ids=lambda value: value.__name__ if isinstance(value, type) else value.name,
)
def test_each_pdu_in_each_state_of_the_server_moves_or_refuses(state, kind):
    server = Server()
    server.machine.state = state
    if state is not McsState.EXPECT_CONNECT_INITIAL:
        server.machine.user_channel_id = USER
        server.machine.channels = {"rdpdr": 1004, "rdpsnd": 1005, "cliprdr": 1006}
    pdu = (CLIENT_PDUS | SERVER_PDUS)[kind]
    expected = MCS_SERVER_TRANSITIONS.get((state, kind))
    if expected is None:
        with pytest.raises(RemoteProtocolError):
            server.tell(pdu)
        assert server.machine.state is McsState.ERROR
    else:
        server.tell(pdu)
        assert server.machine.state is expected


@pytest.mark.parametrize(
    ("state", "kind"),
    list(itertools.product(McsState, CLIENT_PDUS | SERVER_PDUS)),
    ids=lambda value: value.__name__ if isinstance(value, type) else value.name,
)
def test_each_pdu_in_each_state_of_the_client_moves_or_refuses(state, kind):
    machine = McsClientMachine(ClientUserData((CORE,)), [])
    machine.state = state
    machine.user_channel_id = USER
    machine._join_in_turn = [1003, 1004]
    server = Server().connected(CORE)
    pdu = (CLIENT_PDUS | SERVER_PDUS | {ConnectResponse: server.outgoing[0][7:]})[kind]
    expected = MCS_CLIENT_TRANSITIONS.get((state, kind))
    if expected is None:
        with pytest.raises(RemoteProtocolError):
            machine.receive(b"\x02\xf0\x80" + pdu)
        assert machine.state is McsState.ERROR
    else:
        machine.receive(b"\x02\xf0\x80" + pdu)
        assert machine.state is expected


@pytest.mark.parametrize("state", [state for state, kind in MCS_SERVER_TRANSITIONS if kind is ErectDomainRequest])
def test_nx_33_an_x224_disconnect_request_ends_the_connection(state):
    server = Server()
    server.machine.state = state
    assert server.machine.receive(DisconnectRequest().pack()) == Disconnected(None)
    assert server.machine.state is McsState.DISCONNECTED


# Connect


def test_gcc_13_connect_initial_is_answered():
    server = Server()
    event = server.tell(initial(CORE, ClientSecurityData(), CHANNELS, ClientClusterData(1), UnknownBlock(0xC00D, b"x")))
    assert event == McsConnected(CORE, ClientClusterData(1), CHANNELS)
    response, blocks = server.response()
    assert response.result == McsResult.RT_SUCCESSFUL
    assert [type(block).__name__ for block in blocks.blocks] == [
        "ServerCoreData",
        "ServerSecurityData",
        "ServerNetworkData",
    ]
    # SEC-10, GCC-16: under TLS nothing but two zeros
    assert blocks.security.pack() == bytes.fromhex("020c0c000000000000000000")


def test_gcc_13_rdesktop_finds_the_blocks_21_bytes_into_the_response():
    server = Server().connected()
    response, _ = ConnectResponse.unpack(server.outgoing[0][7:])
    blocks = server.response()[1].pack()
    prefix = response.user_data[: -len(blocks)]
    assert prefix[:21].hex() == "000500147c00012a14760a01010001c0004d63446e"  # fact 17
    assert len(prefix) - 21 in (1, 2)  # a PER length, and the blocks


def test_gcc_14_the_requested_protocols_are_echoed_exactly():
    _, blocks = Server().connected().response()
    assert blocks.core.client_requested_protocols == REQUESTED  # fact 8
    assert blocks.core.version == gcc.RDP_VERSION_5_PLUS


@pytest.mark.parametrize("count", [0, 1, 2, 31])
def test_gcc_15_channels_get_ids_in_a_row_from_1004_on(count):
    names = [f"chan{number}" for number in range(count)]
    network = ClientNetworkData(tuple(gcc.ChannelDef(name) for name in names))
    server = Server(message_channel=True).connected(CORE, network, ClientMessageChannelData())
    _, blocks = server.response()
    assert blocks.network.mcs_channel_id == 1003
    assert blocks.network.channel_id_array == tuple(range(1004, 1004 + count))  # fact 16
    assert blocks.message_channel.mcs_channel_id == 1004 + count
    server.tell(ErectDomainRequest().pack())
    server.tell(AttachUserRequest().pack())
    # MCS-03
    assert server.answer() == AttachUserConfirm(1005 + count)


def test_gcc_15_a_client_may_want_no_channels():
    server = Server().connected(CORE)
    assert server.machine.channels == {}
    assert server.response()[1].network.channel_id_array == ()


@pytest.mark.parametrize(("asked", "granted"), list(itertools.product([False, True], repeat=2)))
def test_gcc_17_the_message_channel_is_there_if_both_want_it(asked, granted):
    server = Server(message_channel=granted)
    server.connected(*([CORE, ClientMessageChannelData()] if asked else [CORE]))
    assert (server.response()[1].message_channel is not None) == (asked and granted)


@pytest.mark.parametrize(("asked", "granted"), list(itertools.product([False, True], repeat=2)))
def test_mcs_05_joins_are_skipped_if_both_want_it(asked, granted):
    server = Server(skip_channel_join=granted).connected(SKIP if asked else CORE, CHANNELS)
    flags = server.response()[1].core.early_capability_flags
    assert bool(flags & ServerEarlyCapabilityFlags.RNS_UD_SC_SKIP_CHANNELJOIN_SUPPORTED) == (asked and granted)
    server.tell(ErectDomainRequest().pack())
    server.tell(AttachUserRequest().pack())
    if asked and granted:
        for channel_id in (1003, 1004, USER):
            data = SendDataRequest(USER, channel_id, b"x").pack()
            assert server.tell(data) == ChannelData(channel_id, b"x")
        for channel_id in (1002, USER + 1):  # MCS-07: there are no such channels
            assert server.tell(SendDataRequest(USER, channel_id, b"x").pack()) == DataIgnored(channel_id)
    else:
        server.refuses(SendDataRequest(USER, 1003, b"x").pack())


@pytest.mark.parametrize(
    "pdu",
    [
        bytes.fromhex("7f6580" + "00" * 20),
        bytes.fromhex("7f6584ffffffff0401010401010101ff"),
        bytes.fromhex("7f65820bb8") + b"\x30\x82\x0b\xb0" * 750,
        bytes.fromhex("7f65"),
        initial() + b"\x00",
    ],
    ids=["indefinite", "4 GiB", "nested 3000 deep", "cut", "a byte too many"],
)
def test_nx_06_a_malformed_connect_initial_is_refused(pdu):
    Server().refuses(pdu)


@pytest.mark.parametrize(
    "changes",
    [
        {"minimum_parameters": DomainParameters(protocol_version=3)},
        {"maximum_parameters": DomainParameters(protocol_version=1)},
        {"maximum_parameters": DomainParameters(max_mcs_pdu_size=100)},
        {"minimum_parameters": DomainParameters(max_mcs_pdu_size=100_000)},
        {"minimum_parameters": DomainParameters(max_channel_ids=50), "maximum_parameters": DomainParameters()},
        {"maximum_parameters": DomainParameters(max_user_ids=0)},
    ],
)
def test_nx_07_domain_parameters_that_cannot_merge_are_refused(changes):
    assert isinstance(Server().refuses(initial(**changes)), McsSequenceError)


@given(
    st.builds(
        DomainParameters,
        *[st.integers(0, 70_000)] * 7,
        st.integers(0, 3),
    ),
    st.builds(DomainParameters, *[st.integers(0, 70_000)] * 7, st.integers(0, 3)),
)
def test_gcc_02_merged_parameters_lie_between_minimum_and_maximum(minimum, maximum):
    server = Server()
    pdu = initial(minimum_parameters=minimum, maximum_parameters=maximum)
    try:
        server.tell(pdu)
    except McsSequenceError:
        return
    merged = server.response()[0].domain_parameters
    for low, value, high in zip(attrs.astuple(minimum), attrs.astuple(merged), attrs.astuple(maximum), strict=True):
        assert low <= value <= high


def test_nx_08_another_h221_key_or_wrong_lengths_are_refused():
    good = ConferenceCreateRequest(CORE.pack()).pack()
    for bad in (
        good.replace(b"Duca", b"McDn"),
        good[:7] + b"\x81\xff" + good[9:],
        good[:-1],
        good + b"\x00",
        b"\x00" + good,
    ):
        Server().refuses(ConnectInitial(bad).pack())


@pytest.mark.parametrize("length", [0, 3, 0xFFFF])
def test_nx_09_a_block_of_impossible_length_is_refused(length):
    block = (0xC003).to_bytes(2, "little") + length.to_bytes(2, "little") + bytes(4)
    Server().refuses(ConnectInitial(ConferenceCreateRequest(CORE.pack() + block).pack()).pack())


def test_nx_09_client_core_data_must_be_there_once():
    Server().refuses(initial(CHANNELS))
    Server().refuses(initial(CORE, CORE))


@pytest.mark.parametrize(
    "block",
    [ClientSecurityData(), CHANNELS, ClientClusterData(), gcc.ClientMonitorData(), UnknownBlock(0xC00D, b"")],
    ids=lambda block: type(block).__name__,
)
def test_gcc_04_a_repeated_block_is_refused(block):
    Server().refuses(initial(CORE, block, block))


def full_core() -> bytes:
    core = attrs.evolve(
        CORE,
        supported_color_depths=15,
        early_capability_flags=0,
        client_dig_product_id="",
        connection_type=6,
        pad1octet=0,
        server_selected_protocol=1,
        desktop_physical_width=0,
        desktop_physical_height=0,
        desktop_orientation=0,
        desktop_scale_factor=100,
        device_scale_factor=100,
    )
    return core.pack()


BOUNDARIES = list(itertools.accumulate([132, *(layout.size for _, layout in ClientCoreData.TAIL)]))


@pytest.mark.parametrize("length", range(4, 235))
def test_nx_09_client_core_data_may_end_behind_any_field_but_not_inside_one(length):
    body = full_core()[4:length]
    packed = (0xC001).to_bytes(2, "little") + (len(body) + 4).to_bytes(2, "little") + body
    pdu = ConnectInitial(ConferenceCreateRequest(packed).pack()).pack()
    if length in BOUNDARIES:
        assert isinstance(Server().tell(pdu), McsConnected)  # fact 15
    else:
        Server().refuses(pdu)


@pytest.mark.parametrize(("width", "height"), [(0, 0), (65535, 65535)])
def test_nx_10_an_impossible_desktop_is_the_owners_to_clamp(dialogue, width, height):
    talk = dialogue(ClientOptions(width=width, height=height, optional_blocks=False)).run_until(ServerState.LICENSING)
    assert (talk.server.client_core.desktop_width, talk.server.client_core.desktop_height) == (width, height)
    low, high = talk.server.options.min_desktop, talk.server.options.max_desktop
    talk.server.complete_licensing(True)
    talk.server.activate(min(max(width, low[0]), high[0]), min(max(height, low[1]), high[1]), 32)
    assert talk.server.state is ServerState.EXPECT_CONFIRM_ACTIVE


@pytest.mark.parametrize(
    "core",
    [
        ClientCoreData(800, 600, color_depth_code=0xCA09),
        ClientCoreData(800, 600, post_beta2_color_depth=0xCA05),
        attrs.evolve(CORE, high_color_depth=7),
    ],
)
def test_nx_11_an_undefined_deciding_color_depth_is_refused(core):
    Server().refuses(initial(core))


def test_gcc_06_another_major_version_is_refused_and_any_minor_one_is_not():
    Server().refuses(initial(attrs.evolve(CORE, version=0x00090004)))
    assert isinstance(Server().tell(initial(attrs.evolve(CORE, version=0x0008FFFF))), McsConnected)


@pytest.mark.parametrize("claimed", [0, 2, 3])
def test_nx_12_another_selected_protocol_is_refused(claimed):
    tail = {
        "supported_color_depths": 15,
        "early_capability_flags": 0,
        "client_dig_product_id": "",
        "connection_type": 0,
        "pad1octet": 0,
    }
    Server().refuses(initial(attrs.evolve(CORE, **tail, server_selected_protocol=claimed)))
    good = attrs.evolve(CORE, **tail, server_selected_protocol=1)
    assert isinstance(Server().tell(initial(good)), McsConnected)


def test_gcc_10_without_standard_security_the_encryption_methods_mean_nothing():
    assert isinstance(Server().tell(initial(CORE, ClientSecurityData(0, 0))), McsConnected)
    assert isinstance(Server().tell(initial(CORE, ClientSecurityData(0x1B))), McsConnected)
    assert isinstance(Server().tell(initial(CORE)), McsConnected)


def test_nx_13_without_tls_nobody_gets_as_far_as_encryption_methods(dialogue):
    talk = dialogue(ClientOptions(protocols=0))
    talk.tell(talk.client.data_to_send())
    assert talk.server.state is ServerState.REFUSED
    talk.tell(frame_data(initial(CORE, ClientSecurityData(0, 0))))
    assert talk.server.client_core is None


@pytest.mark.parametrize(("count", "there"), [(32, 32), (3, 2), (0xFFFFFFFF, 1), (1, 2)])
def test_nx_14_a_wrong_number_of_channels_is_refused(count, there):
    body = count.to_bytes(4, "little") + b"".join(f"chan{one:03}".encode() + bytes(5) for one in range(there))
    Server().refuses(initial(CORE, UnknownBlock(0xC003, body)))


def test_nx_15_too_many_monitors_are_refused():
    Server().refuses(initial(CORE, UnknownBlock(0xC005, bytes(4) + (17).to_bytes(4, "little") + bytes(17 * 20))))


@pytest.mark.parametrize("flags", [(0, 0), (1, 1)], ids=["none primary", "two primary"])
def test_nx_15_odd_monitors_are_ignored_for_nobody_uses_several(flags):
    monitors = tuple(gcc.MonitorDef(100, 0, 0, 767, flag) for flag in flags)
    assert isinstance(Server().tell(initial(CORE, gcc.ClientMonitorData(monitors))), McsConnected)


# Attach and join


def test_mcs_01_attach_user_may_come_without_erect_domain_and_erect_domain_again():
    server = Server().connected()
    assert server.tell(AttachUserRequest().pack()) == UserAttached(USER)
    assert server.tell(ErectDomainRequest().pack()) == DomainErected()
    assert server.machine.state is McsState.EXPECT_CHANNEL_JOIN


@pytest.mark.parametrize("pdu", ["04", "0401", "040100", "040001"], ids=["nothing", "cut", "one", "fixed, one"])
def test_nx_16_erect_domain_without_both_numbers_is_refused(pdu):
    Server().connected().refuses(bytes.fromhex(pdu))


@pytest.mark.parametrize("pdu", ["0401000100", "0400010001"], ids=["PER", "rdesktop"])
def test_mcs_02_both_forms_of_erect_domain_are_taken(pdu):
    assert Server().connected().tell(bytes.fromhex(pdu)) == DomainErected()


def test_mcs_03_a_second_attach_user_is_refused():
    Server().attached().refuses(AttachUserRequest().pack())


@pytest.mark.parametrize("channel_id", [USER, 1003, 1004, 1005, 1006])
def test_mcs_04_a_join_is_confirmed_with_the_channel_in_both_fields(channel_id):
    server = Server().attached()
    assert server.tell(ChannelJoinRequest(USER, channel_id).pack()) == ChannelJoined(channel_id)
    assert server.answer() == ChannelJoinConfirm(USER, channel_id, channel_id)


def test_nx_17_a_join_for_a_foreign_user_or_before_attach_is_refused():
    assert Server().attached().refuses(ChannelJoinRequest(1001, 1003).pack()).errinfo is ErrInfo.ERRINFO_CONNECTFAILED
    Server().connected().refuses(ChannelJoinRequest(USER, 1003).pack())


@pytest.mark.parametrize("channel_id", [0, 1001, 1002, 1008, 65535])
def test_nx_17_a_join_of_an_unknown_channel_is_confirmed_as_failed(channel_id):
    server = Server().attached()
    server.tell(ChannelJoinRequest(USER, channel_id).pack())
    assert server.answer() == ChannelJoinConfirm(USER, channel_id, None, McsResult.RT_NO_SUCH_CHANNEL)
    assert server.tell(SendDataRequest(USER, channel_id, b"x").pack()) == DataIgnored(channel_id)


@given(st.permutations([USER, 1003, 1004, 1005, 1006]))
def test_mcs_05_joins_come_in_any_order_and_are_answered_in_it(order):
    server = Server().attached()
    for channel_id in order:
        server.tell(ChannelJoinRequest(USER, channel_id).pack())
    confirms = [unpack_domain_pdu(unit[7:]) for unit in server.outgoing]
    assert [confirm.requested for confirm in confirms] == order  # fact 18


# Data


def joined() -> Server:
    server = Server().attached()
    for channel_id in (USER, 1003, 1004):
        server.tell(ChannelJoinRequest(USER, channel_id).pack())
    return server


@pytest.mark.parametrize(
    "pdu",
    ["640006 03eb 70 05 01", "640006 03eb 70 c1 01", "640006 03eb 40 01 01", "640006 03eb 70", "640006 03eb 70 8001"],
    ids=["beyond", "fragmented", "segmented", "no length", "beyond, long form"],
)
def test_nx_18_send_data_of_wrong_length_is_refused(pdu):
    joined().refuses(bytes.fromhex(pdu))


def test_nx_18_send_data_of_a_foreign_initiator_is_refused():
    joined().refuses(SendDataRequest(1001, 1003, b"x").pack())


def test_mcs_06_what_follows_the_data_is_refused():
    joined().refuses(SendDataRequest(USER, 1003, b"x").pack() + b"y")


def test_mcs_07_data_on_a_channel_that_is_not_joined_is_ignored_but_on_the_io_channel():
    assert joined().tell(SendDataRequest(USER, 1005, b"x").pack()) == DataIgnored(1005)
    Server().attached().refuses(SendDataRequest(USER, 1003, b"x").pack())


@pytest.mark.parametrize("reason", range(5))
def test_mcs_08_an_ultimatum_ends_the_connection_whatever_its_reason(reason):
    server = joined()
    assert server.tell(DisconnectProviderUltimatum(reason).pack()) == Disconnected(reason)
    assert server.machine.state is McsState.DISCONNECTED


@pytest.mark.parametrize(("user_requested", "ultimatum"), [(True, "2180"), (False, "2080")])
def test_mcs_08_our_ultimatum_has_the_reason_and_comes_once(dialogue, user_requested, ultimatum):
    talk = dialogue().run()
    talk.server.disconnect(user_requested)
    talk.server.disconnect(user_requested)
    assert talk.server.state is ServerState.DISCONNECTED
    assert talk.server.data_to_send().hex() == "0300000902f080" + ultimatum


def test_before_there_is_a_user_nobody_can_be_told_an_ultimatum(dialogue):
    talk = dialogue().run_until(ServerState.CHANNEL_CONNECTION)
    talk.server.data_to_send()
    talk.server.disconnect(user_requested=True)
    assert talk.server.data_to_send() == b""
    assert talk.server.state is ServerState.DISCONNECTED


@given(st.binary(max_size=100))
def test_any_bytes_are_an_mcs_pdu_or_our_error(data):
    for server in (Server(), Server().connected(), joined()):
        try:
            server.tell(data)
        except RemoteProtocolError:
            assert server.machine.state is McsState.ERROR


def test_the_options_of_the_server_reach_mcs(dialogue):
    options = ServerOptions(skip_channel_join=False, message_channel=True)
    talk = dialogue(ClientOptions(channels=("one", "two")), options).run()
    assert talk.server.channels == talk.client._mcs.channels == {"one": 1004, "two": 1005}
    assert talk.client._mcs.message_channel_id == 1006
    assert talk.server.user_channel_id == 1007
    assert talk.server.state is ServerState.ACTIVE
