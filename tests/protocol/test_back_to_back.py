"""PX and NX: a whole connection, however its bytes are cut, and whatever is thrown at it."""

import gc
import itertools
import tracemalloc

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdpprov.errors import RemoteProtocolError
from rdpprov.protocol.events import PAUSED, NeedData, Paused
from rdpprov.protocol.rdp.activation import ActivationState
from rdpprov.protocol.rdp.client import ClientOptions, ClientState
from rdpprov.protocol.rdp.events import (
    Activated,
    CapabilitiesConfirmed,
    ClientInfoReceived,
    DemandActiveReceived,
    Disconnected,
    Licensed,
    McsConnected,
    StartTls,
)
from rdpprov.protocol.rdp.framing import SESSION_LIMIT
from rdpprov.protocol.rdp.server import STAGES, ServerOptions, ServerState
from rdpprov.wire.rdp.mcs import DisconnectProviderUltimatum, frame_send_data_request
from rdpprov.wire.rdp.share import ShareControlPdu, ShareDataPdu
from rdpprov.wire.rdp.tpkt import pack_tpkt
from rdpprov.wire.rdp.x224 import DisconnectRequest, frame_data

SERVER_STORY = [StartTls, McsConnected, ClientInfoReceived, CapabilitiesConfirmed, Activated]
CLIENT_STORY = [StartTls, Licensed, DemandActiveReceived, Activated]
ALL_CHANNELS = tuple(f"chan{number:02}" for number in range(31))


def assert_active(talk) -> None:
    assert [type(event) for event in talk.server_events] == SERVER_STORY
    assert [type(event) for event in talk.client_events] == CLIENT_STORY
    assert talk.server.state is ServerState.ACTIVE
    assert talk.client.state is ClientState.ACTIVE


OPTIONS = [
    ClientOptions(
        user_name="user", color_depth=depth, optional_blocks=blocks, skip_channel_join=skip, wait_for_grant=wait
    )
    for depth, blocks, skip, wait in itertools.product((15, 16, 24, 32), (False, True), (False, True), (False, True))
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_px_01_every_kind_of_client_gets_a_desktop(dialogue, options):
    talk = dialogue(options, desktop=(1280, 1024, options.color_depth)).run()
    assert_active(talk)
    assert talk.server.client_core.color_depth() == options.color_depth
    demand = talk.client_events[2]
    assert (demand.width, demand.height, demand.color_depth) == (1280, 1024, options.color_depth)


@pytest.mark.parametrize(
    "server",
    [
        ServerOptions(skip_channel_join=skip, message_channel=message)
        for skip, message in itertools.product((False, True), repeat=2)
    ],
    ids=str,
)
@pytest.mark.parametrize("channels", [(), ("cliprdr",), ALL_CHANNELS], ids=len)
def test_px_03_with_any_number_of_channels(dialogue, channels, server):
    talk = dialogue(ClientOptions(channels=channels), server).run()
    assert_active(talk)
    assert tuple(talk.server.channels) == channels


def test_px_05_one_byte_at_a_time(dialogue):
    for options in (OPTIONS[0], OPTIONS[-1]):
        talk = dialogue(options, cut=dialogue.bytewise).run()
        assert_active(talk)


def test_px_06_several_units_at_a_time_are_the_same_as_one(dialogue):
    at_once, apart = dialogue().run(), dialogue(cut=dialogue.units).run()
    assert at_once.server_events == apart.server_events
    assert at_once.client_said == apart.client_said
    assert at_once.server_said == apart.server_said


def story(dialogue, phases, cuts):
    """Tell a server what a client once said, cut anyhow; what it makes of it."""
    talk = dialogue()
    for phase, places in zip(phases, cuts, strict=True):
        places = sorted({0, len(phase), *(place % (len(phase) + 1) for place in places)})
        for start, end in itertools.pairwise(places):
            talk.tell(phase[start:end])
        talk.server_said += talk.server.data_to_send()
    return talk


@settings(max_examples=60)
@given(st.data())
def test_px_06_however_the_bytes_are_cut_the_events_are_the_same(dialogue, data):
    original = dialogue(ClientOptions(skip_channel_join=False, channels=("a", "b")))
    phases = []
    while True:
        said = original.client.data_to_send()
        if not said:
            break
        phases.append(said)
        original.tell(said)
        original._server_speaks()
    cuts = [data.draw(st.lists(st.integers(0, 5000), max_size=6)) for _ in phases]
    again = story(dialogue, phases, cuts)
    assert again.server_events == original.server_events
    assert again.server_said == original.server_said


def test_px_11_each_side_may_end_an_active_session(dialogue):
    talk = dialogue().run()
    talk.client.disconnect()
    talk.run()
    assert talk.server_events[-1] == Disconnected(3)
    assert talk.server.state is ServerState.DISCONNECTED
    assert talk.server.next_event() is PAUSED
    talk = dialogue().run()
    talk.server.disconnect(user_requested=False)
    talk.run()
    assert talk.client_events[-1] == Disconnected(1)
    assert talk.client.state is ClientState.DISCONNECTED


# An end at any time

RECEIVING = [state for state, stage in STAGES.items() if stage.take is not None]
AFTER_NEGOTIATION = [
    state for state in RECEIVING if state not in (ServerState.EXPECT_CONNECTION_REQUEST, ServerState.DEACTIVATED)
]


@pytest.mark.parametrize("state", AFTER_NEGOTIATION, ids=lambda state: state.name)
@pytest.mark.parametrize(
    ("unit", "reason"),
    [(frame_data(DisconnectProviderUltimatum(3).pack()), 3), (pack_tpkt(DisconnectRequest().pack()), None)],
    ids=["MCS", "X.224"],
)
def test_nx_33_a_client_may_leave_at_each_step(dialogue, state, unit, reason):
    talk = dialogue().run_until(state)
    assert talk.tell(unit + b"\x03\x00\x00\x08garbage", act=False) == [Disconnected(reason)]
    assert talk.server.state is ServerState.DISCONNECTED
    assert talk.server.next_event() is PAUSED
    assert talk.server.trailing_data == b""
    talk.server.data_to_send()
    talk.server.disconnect(user_requested=False)
    assert talk.server.data_to_send() == b""


# Anything, in each stage

STAGES_TO_ATTACK = [*RECEIVING, *(state for state in ActivationState if state.name.startswith("EXPECT"))]
numbers = st.integers(0, 0xFFFF)


def anything(talk, draw):
    """Bytes that are wrong at some depth: as a unit, as a TPDU, as an MCS PDU, as channel data, as a share PDU."""
    garbage = draw(st.binary(max_size=200))
    user = talk.server.user_channel_id or 1004
    match draw(st.integers(0, 6)):
        case 0:
            return garbage
        case 1:
            return pack_tpkt(garbage + bytes(3))
        case 2:
            return frame_data(garbage)
        case 3:
            return frame_send_data_request(user, draw(st.sampled_from([1003, 1004, user, 9])), garbage)
        case 4:
            pdu = ShareControlPdu(draw(st.integers(0, 15)), user, garbage).pack()
            return frame_send_data_request(user, 1003, pdu)
        case 5:
            share_id = talk.server._activation.share_id if talk.server._activation else 0
            pdu = ShareDataPdu(user, share_id, draw(st.integers(0, 0x40)), garbage).pack()
            return frame_send_data_request(user, 1003, pdu)
        case _:
            return bytes([draw(st.integers(0, 15)) << 2, len(garbage) + 2 & 0x7F]) + garbage


@pytest.mark.parametrize("state", STAGES_TO_ATTACK, ids=lambda state: state.name)
@settings(max_examples=60)
@given(st.data())
def test_frm_08_anything_in_any_stage_is_an_event_or_our_error(dialogue, state, data):
    talk = dialogue()
    if state is ServerState.DEACTIVATED:
        talk.run()
        talk.server.deactivate()
    else:
        talk.run_until(state)
    talk.server.data_to_send()
    try:
        for _ in range(data.draw(st.integers(1, 5))):
            talk.tell(anything(talk, data.draw))
    except RemoteProtocolError:
        assert talk.server.state is ServerState.ERROR
        assert talk.server.trailing_data == b""
    assert len(talk.server.trailing_data) <= SESSION_LIMIT
    assert len(talk.server.data_to_send()) < 10_000


@settings(max_examples=60)
@given(st.data())
def test_a_client_survives_any_server_or_raises_our_error(dialogue, data):
    talk = dialogue().run()
    for machine in (talk.client, dialogue().client):
        machine.receive_data(data.draw(st.binary(max_size=300)))
        try:
            while not isinstance(machine.next_event(), NeedData | Paused):
                continue
        except RemoteProtocolError:
            assert machine.state is ClientState.ERROR


# Memory


def test_frm_05_what_is_announced_is_not_allocated(dialogue):
    talks = [dialogue().run_until(ServerState.CHANNEL_CONNECTION) for _ in range(50)]
    gc.collect()
    tracemalloc.start()
    try:
        for talk in talks:
            talk.tell(b"\x03\x00\xbf\xff" + bytes(4), act=False)
        grown, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 50 * 2048
    assert peak < 50 * 4096


def test_a_machine_is_small(dialogue):
    dialogue().run()
    gc.collect()
    tracemalloc.start()
    try:
        machines = []
        for _ in range(50):
            talk = dialogue(ClientOptions(user_name="user", channels=("rdpdr", "rdpsnd", "cliprdr", "drdynvc"))).run()
            machines.append(talk.server)
            del talk
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held / len(machines) < 40 * 1024


def test_secrets_stay_out_of_what_is_printed(dialogue):
    options = ClientOptions(
        user_name="user", password="hunter2", reconnect_logon_id=1, reconnect_secret=b"0123456789abcdef"
    )
    talk = dialogue(options).run()
    for shown in (options, *talk.server_events, *talk.client_events, talk.server.client_info):
        assert "hunter2" not in repr(shown)
        assert "0123456789" not in repr(shown)
    assert attrs.fields(ClientOptions).password.metadata["secret"]
