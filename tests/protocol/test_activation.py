"""CAP, FIN, and the control PDUs of an active session."""

import itertools

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.api.devices import PointerMotion, Rectangle
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import LocalProtocolError, RemoteProtocolError
from rdpprov.protocol.rdp.activation import (
    ACTIVATION_SERVER_IGNORED,
    ACTIVATION_SERVER_TRANSITIONS,
    ActivationServerMachine,
    ActivationState,
    Step,
    server_capabilities,
)
from rdpprov.protocol.rdp.client import ClientOptions, client_capabilities
from rdpprov.protocol.rdp.events import (
    Activated,
    CapabilitiesConfirmed,
    Deactivated,
    ErrorInfoReceived,
    FrameAcknowledged,
    InputReceived,
    OutputSuppressed,
    RefreshRequested,
    SessionInfoReceived,
    ShutdownDenied,
    ShutdownRequested,
)
from rdpprov.protocol.rdp.server import ServerOptions, ServerState
from rdpprov.wire.rdp import session as wire_session
from rdpprov.wire.rdp.bodies import unpack_body
from rdpprov.wire.rdp.capabilities import (
    CLIENT_ONLY_SETS,
    BitmapCapabilitySet,
    CapabilityType,
    ConfirmActive,
    DemandActive,
    ExtraFlags,
    GeneralCapabilitySet,
    MultifragmentUpdateCapabilitySet,
    UnknownCapabilitySet,
)
from rdpprov.wire.rdp.client_info import InfoFlags
from rdpprov.wire.rdp.finalization import Control, ControlAction, FontList, FontMap, PersistentKeyList, Synchronize
from rdpprov.wire.rdp.input import FastPathInputPdu, InputPdu, MouseEvent, UnicodeEvent
from rdpprov.wire.rdp.mcs import frame_send_data_request, unpack_domain_pdu
from rdpprov.wire.rdp.output_control import InclusiveRectangle, RefreshRect, SuppressOutput
from rdpprov.wire.rdp.session import FrameAcknowledge, LogonInfo, LogonInfoVersion2, SetErrorInfo, ShutdownRequest
from rdpprov.wire.rdp.share import (
    FlowPdu,
    PduType2,
    ShareControlPdu,
    ShareDataPdu,
    pack_share_data,
    unpack_share_pdu,
)

COOPERATE = Control(ControlAction.CTRLACTION_COOPERATE)
REQUEST = Control(ControlAction.CTRLACTION_REQUEST_CONTROL)
SYNCHRONIZE = Synchronize(1002)
MOVE = MouseEvent(0x0800, 10, 20)


def said(talk) -> list[object]:
    """The share PDUs that the server has queued, decoded."""
    bodies = []
    for unit in talk.units(talk.server.data_to_send()):
        pdu, rest = unpack_share_pdu(unpack_domain_pdu(unit[7:]).user_data)
        assert rest == b""
        bodies.append(unpack_body(pdu))
    return bodies


def confirm(share_id: int, **changes: object) -> ConfirmActive:
    return ConfirmActive(share_id, client_capabilities(ClientOptions(), 1024, 768, 32), **changes)


@pytest.fixture
def asked(dialogue):
    """A dialogue whose client has just got Demand Active."""
    talk = dialogue().run_until(ActivationState.EXPECT_CONFIRM_ACTIVE)
    talk.server.data_to_send()
    return talk


@pytest.fixture
def confirmed(asked):
    """... and has confirmed it."""
    asked.tell_control(confirm(asked.share_id))
    asked.server.data_to_send()
    return asked


@pytest.fixture
def active(dialogue):
    """A dialogue in which all is done."""
    talk = dialogue().run()
    assert talk.server.state is ServerState.ACTIVE
    return talk


# The table


def told(talk, step: Step) -> None:
    bodies = {
        Step.SYNCHRONIZE: SYNCHRONIZE,
        Step.COOPERATE: COOPERATE,
        Step.REQUEST_CONTROL: REQUEST,
        Step.GRANTED_CONTROL: Control.granted(1004),
        Step.DETACH: Control(ControlAction.CTRLACTION_DETACH),
        Step.PERSISTENT_KEY_LIST: PersistentKeyList(),
        Step.FONT_LIST: FontList(),
        Step.INPUT: InputPdu((MOVE,)),
        Step.REFRESH_RECT: RefreshRect((InclusiveRectangle(0, 0, 9, 9),)),
        Step.SUPPRESS_OUTPUT: SuppressOutput(None),
        Step.SHUTDOWN_REQUEST: ShutdownRequest(),
        Step.FRAME_ACKNOWLEDGE: FrameAcknowledge(1),
    }
    if step in bodies:
        talk.tell_share(bodies[step])
    elif step is Step.CONFIRM_ACTIVE:
        talk.tell_control(confirm(talk.share_id))
    elif step is Step.FAST_PATH_INPUT:
        talk.tell(FastPathInputPdu((MOVE,)).pack(), act=False)
    else:
        talk.tell_raw_share(PduType2.PDUTYPE2_BITMAPCACHE_ERROR_PDU, bytes(4))


SHARE_STATES = [state for state in ActivationState if state not in (ActivationState.ERROR, ActivationState.INACTIVE)]


@pytest.mark.parametrize(
    ("state", "step"), list(itertools.product(SHARE_STATES, Step)), ids=lambda value: value.name.lower()
)
def test_each_pdu_in_each_state_moves_is_ignored_or_refused(dialogue, state, step):
    talk = dialogue().run_until(state)
    talk.server.data_to_send()
    machine = talk.server._activation
    expected = ACTIVATION_SERVER_TRANSITIONS.get((state, step))
    if expected is not None:
        told(talk, step)
        assert machine.state is expected
    elif (state, step) in ACTIVATION_SERVER_IGNORED:
        told(talk, step)
        assert machine.state is state
        assert talk.server.data_to_send() == b""
    else:
        error = talk.refused(lambda: told(talk, step))
        if state is not ActivationState.EXPECT_CONFIRM_ACTIVE or step is not Step.FAST_PATH_INPUT:
            assert error.errinfo in (ErrInfo.ERRINFO_DATAPDUSEQUENCE, ErrInfo.ERRINFO_CONTROLPDUSEQUENCE)


def test_the_tables_do_not_contradict_each_other():
    assert not ACTIVATION_SERVER_IGNORED & ACTIVATION_SERVER_TRANSITIONS.keys()
    assert {step for _, step in ACTIVATION_SERVER_TRANSITIONS} | {step for _, step in ACTIVATION_SERVER_IGNORED} == set(
        Step
    )


@pytest.mark.parametrize("step", Step, ids=lambda value: value.name.lower())
def test_fin_06_while_there_is_no_share_what_is_under_way_of_the_old_one_is_ignored(active, step):
    active.server.deactivate()
    active.server.data_to_send()
    told(active, step)
    assert active.server.state is ServerState.DEACTIVATED
    assert active.server.data_to_send() == b""


def test_fin_06_a_share_may_be_replaced_before_the_client_has_confirmed_it(dialogue):
    talk = dialogue()
    talk.run_until(ServerState.EXPECT_CONFIRM_ACTIVE)
    talk._server_speaks()
    talk.client.send_input([PointerMotion(1, 1)])  # behind the confirm of the first share
    talk.server.deactivate()
    talk.server.activate(800, 600, 16)
    talk.run()
    assert talk.server.state is ServerState.ACTIVE
    assert talk.server_events.count(Activated()) == 1
    assert talk.client_events.count(Activated()) == 1
    assert not any(isinstance(event, InputReceived) for event in talk.server_events)


@pytest.mark.parametrize(
    "step", [step for step in Step if step is not Step.CONFIRM_ACTIVE], ids=lambda value: value.name.lower()
)
def test_fin_06_it_is_ignored_until_the_new_share_is_confirmed(active, step):
    old = active.share_id
    active.server.deactivate()
    active.server.activate(800, 600, 32)
    active.server.data_to_send()
    assert active.share_id != old
    if step is not Step.FAST_PATH_INPUT:
        pdu = pack_share_data(RefreshRect(), share_id=old, pdu_source=1004)
        assert active.tell_channel(pdu) == []
    told(active, step)
    assert active.server.state is ServerState.EXPECT_CONFIRM_ACTIVE


def test_fin_06_behind_the_new_confirm_the_old_share_is_over(active):
    old = active.share_id
    active.server.deactivate()
    active.server.activate(800, 600, 32)
    active.tell_control(confirm(active.share_id))
    error = active.refused(lambda: active.tell_channel(pack_share_data(SYNCHRONIZE, share_id=old, pdu_source=1004)))
    assert error.errinfo is ErrInfo.ERRINFO_DATAPDUSEQUENCE


def test_fin_06_half_a_character_does_not_outlive_its_share(active):
    high, low = UnicodeEvent(0xD83D), UnicodeEvent(0xDE00)
    assert active.tell(FastPathInputPdu((high,)).pack()) == []
    active.server.deactivate()
    active.server.activate(800, 600, 32)
    active.run()
    assert active.server.state is ServerState.ACTIVE
    assert active.tell(FastPathInputPdu((low,)).pack()) == []


# Capabilities


def test_cap_01_demand_active_has_a_share_id_the_name_and_the_session_id(dialogue):
    talk = dialogue().run_until(ActivationState.EXPECT_CONFIRM_ACTIVE)
    *_, demand = talk.units(talk.server_said + talk.server.data_to_send())
    pdu, _ = unpack_share_pdu(unpack_domain_pdu(demand[7:]).user_data)
    body, rest = DemandActive.unpack(pdu.body)
    assert body.share_id
    assert (body.source_descriptor, body.session_id, rest) == ("RDP", 0, b"")
    assert pdu.body[4:6] == b"\x04\x00"


@pytest.mark.parametrize("depth", [15, 16, 24, 32])
def test_cap_03_the_sets_say_what_the_session_is(depth):
    sets = {type(one): one for one in server_capabilities(ServerOptions(), 1280, 1024, depth)}
    bitmap, general = sets[BitmapCapabilitySet], sets[GeneralCapabilitySet]
    assert (bitmap.preferred_bits_per_pixel, bitmap.desktop_width, bitmap.desktop_height) == (depth, 1280, 1024)
    assert bitmap.desktop_resize_flag == 1  # fact 32
    assert general.protocol_version == 0x0200  # fact 30
    assert general.extra_flags & ExtraFlags.FASTPATH_OUTPUT_SUPPORTED  # fact 33
    assert (general.refresh_rect_support, general.suppress_output_support) == (1, 1)  # fact 46
    assert 608_299 <= sets[MultifragmentUpdateCapabilitySet].max_request_size <= 0x3EFFFF  # fact 34
    assert not set(sets) & set(CLIENT_ONLY_SETS)  # fact 29
    assert len(sets) == len(server_capabilities(ServerOptions(), 1280, 1024, depth))


def test_cap_02_the_sets_that_every_client_expects_are_there():
    kinds = {one.TYPE for one in server_capabilities(ServerOptions(), 800, 600, 32)}
    assert kinds >= {
        CapabilityType.CAPSTYPE_SHARE,
        CapabilityType.CAPSTYPE_GENERAL,
        CapabilityType.CAPSTYPE_VIRTUALCHANNEL,
        CapabilityType.CAPSTYPE_FONT,
        CapabilityType.CAPSTYPE_BITMAP,
        CapabilityType.CAPSTYPE_ORDER,
        CapabilityType.CAPSTYPE_COLORCACHE,
        CapabilityType.CAPSTYPE_POINTER,
        CapabilityType.CAPSTYPE_INPUT,
    }


def test_cap_03_automatic_reconnection_is_announced_only_if_it_is_offered():
    for offered in (False, True):
        sets = server_capabilities(ServerOptions(auto_reconnect=offered), 800, 600, 32)
        general = next(one for one in sets if isinstance(one, GeneralCapabilitySet))
        assert bool(general.extra_flags & ExtraFlags.AUTORECONNECT_SUPPORTED) == offered


@pytest.mark.parametrize(("width", "height", "depth"), [(0, 600, 32), (800, 8193, 32), (800, 600, 8)])
def test_the_owner_is_told_when_it_asks_for_an_impossible_desktop(asked, width, height, depth):
    machine = ActivationServerMachine(ServerOptions(), asked.server._mcs)
    with pytest.raises(LocalProtocolError):
        machine.activate(width, height, depth)
    assert machine.state is ActivationState.INACTIVE


def test_cap_04_a_confirm_of_another_share_is_refused(asked):
    error = asked.refused(lambda: asked.tell_control(confirm(asked.share_id + 1)))
    assert error.errinfo is ErrInfo.ERRINFO_CONFIRMACTIVEWRONGSHAREID


def test_cap_04_any_originator_is_accepted(asked):
    (event,) = asked.tell_control(confirm(asked.share_id, originator_id=0x1234))
    assert isinstance(event, CapabilitiesConfirmed)


def test_cap_05_unknown_sets_are_kept_raw_and_the_last_of_a_kind_wins(asked):
    first, last = MultifragmentUpdateCapabilitySet(1), MultifragmentUpdateCapabilitySet(2)
    (event,) = asked.tell_control(ConfirmActive(asked.share_id, (first, UnknownCapabilitySet(0x99, b"x"), last)))
    assert event.capabilities == {0x1A: last, 0x99: UnknownCapabilitySet(0x99, b"x")}
    assert asked.server.client_capabilities == event.capabilities


def bad_confirm(talk, change) -> None:
    body = bytearray(ConfirmActive(talk.share_id, (MultifragmentUpdateCapabilitySet(1),), "X").pack())
    change(body)
    talk.tell_channel(ShareControlPdu(3, 1004, bytes(body)).pack())


# Of the body: shareId 0, originatorId 4, lengthSourceDescriptor 6, lengthCombinedCapabilities 8, "X\0" 10, count 12,
# pad 14, type 16, length 18, data 20 to 24.
@pytest.mark.parametrize(
    ("at", "value", "errinfo"),
    [
        (18, b"\x00\x00", ErrInfo.ERRINFO_CAPABILITYSETTOOSMALL),
        (18, b"\x03\x00", ErrInfo.ERRINFO_CAPABILITYSETTOOSMALL),
        (18, b"\x06\x00", ErrInfo.ERRINFO_CAPABILITYSETTOOSMALL),
        (18, b"\x09\x00", ErrInfo.ERRINFO_CAPABILITYSETTOOLARGE),
        (18, b"\xff\xff", ErrInfo.ERRINFO_CAPABILITYSETTOOLARGE),
        (6, b"\xff\xff", ErrInfo.ERRINFO_CONFIRMACTIVEPDUTOOSHORT),
        (8, b"\xff\xff", ErrInfo.ERRINFO_CONFIRMACTIVEPDUTOOSHORT),
    ],
)
def test_nx_23_wrong_lengths_in_confirm_active_are_refused(asked, at, value, errinfo):
    def change(body: bytearray) -> None:
        body[at : at + len(value)] = value

    assert asked.refused(lambda: bad_confirm(asked, change)).errinfo is errinfo


def test_nx_23_a_cut_confirm_active_is_refused_wherever_it_is_cut(dialogue):
    for length in range(24):
        talk = dialogue().run_until(ActivationState.EXPECT_CONFIRM_ACTIVE)
        talk.refused(
            lambda talk=talk, length=length: bad_confirm(talk, lambda body: body.__delitem__(slice(length, None)))
        )


@pytest.mark.parametrize("pdu_type", [1, 6, 0xA, 2, 0xF])
def test_nx_23_another_type_than_confirm_active_is_refused(asked, pdu_type):
    asked.refused(lambda: asked.tell_channel(ShareControlPdu(pdu_type, 1004, bytes(24)).pack()))


# Finalization


def test_fin_02_each_pdu_has_its_answer_at_once_and_font_map_comes_last(asked):
    user, share_id = asked.server.user_channel_id, asked.share_id
    asked.tell_control(confirm(share_id))
    assert said(asked) == [Synchronize(user), COOPERATE]  # fact 39
    asked.tell_share(SYNCHRONIZE)
    asked.tell_share(COOPERATE)
    assert said(asked) == []
    asked.tell_share(REQUEST)
    assert said(asked) == [Control.granted(user)]
    assert asked.tell_share(FontList()) == [Activated()]
    assert said(asked) == [FontMap()]
    assert asked.server.state is ServerState.ACTIVE


def test_fin_02_a_client_that_waits_for_the_grant_does_not_wait_for_ever(dialogue):
    talk = dialogue(ClientOptions(wait_for_grant=True)).run()
    assert Activated() in talk.client_events  # fact 39: rdesktop


def test_fin_03_synchronize_may_be_missing(confirmed):
    confirmed.tell_share(COOPERATE)
    confirmed.tell_share(REQUEST)
    assert confirmed.tell_share(FontList()) == [Activated()]


def test_nx_24_font_list_first_is_refused(confirmed):
    error = confirmed.refused(lambda: confirmed.tell_share(FontList()))
    assert error.errinfo is ErrInfo.ERRINFO_DATAPDUSEQUENCE


def test_nx_24_a_second_request_for_control_is_refused(confirmed):
    for body in (SYNCHRONIZE, COOPERATE, REQUEST):
        confirmed.tell_share(body)
    assert confirmed.refused(lambda: confirmed.tell_share(REQUEST)).errinfo is ErrInfo.ERRINFO_CONTROLPDUSEQUENCE


def test_nx_24_an_unknown_control_action_is_refused(confirmed):
    error = confirmed.refused(lambda: confirmed.tell_raw_share(PduType2.PDUTYPE2_CONTROL, b"\x09\x00" + bytes(6)))
    assert error.errinfo is ErrInfo.ERRINFO_INVALIDCONTROLPDUACTION


def test_fin_04_persistent_keys_that_nobody_asked_for_are_ignored(confirmed):
    for body in (SYNCHRONIZE, COOPERATE, REQUEST, PersistentKeyList(((1, 2), (), (), (), ()), (2, 0, 0, 0, 0))):
        confirmed.tell_share(body)
    assert confirmed.tell_share(FontList()) == [Activated()]


def test_fin_05_no_output_before_font_map(confirmed):
    for call in (
        lambda: confirmed.server.send_bitmap_updates([]),
        lambda: confirmed.server.send_pointer_position(1, 1),
        lambda: confirmed.server.send_save_session_info(user_name="u", domain="d", session_id=1),
    ):
        with pytest.raises(LocalProtocolError):
            call()
    assert confirmed.server.data_to_send() == b""


def test_fin_05_input_before_font_map_is_ignored_and_counts_behind_it(confirmed):
    assert confirmed.tell(FastPathInputPdu((MOVE,)).pack(), act=False) == []  # fact 41
    for body in (SYNCHRONIZE, COOPERATE, REQUEST, InputPdu((MOVE,)), FontList()):
        confirmed.tell_share(body)
    assert confirmed.tell(FastPathInputPdu((MOVE,)).pack(), act=False) == [InputReceived((PointerMotion(10, 20),))]


def test_fin_06_a_reactivation_runs_the_whole_sequence_again(dialogue):
    talk = dialogue(ClientOptions(channels=("cliprdr",))).run()
    first = talk.share_id
    channel_id = talk.server.open_channel("cliprdr")
    talk.server.deactivate()
    talk.server.activate(1600, 900, 16)
    talk.run()
    assert talk.server.state is ServerState.ACTIVE
    assert talk.share_id != first
    assert talk.client_events.count(Activated()) == 2
    assert Deactivated() in talk.client_events
    demands = [event for event in talk.client_events if type(event).__name__ == "DemandActiveReceived"]
    assert [(event.width, event.height, event.color_depth) for event in demands] == [(1024, 768, 32), (1600, 900, 16)]
    assert talk.server.channels == {"cliprdr": channel_id}
    talk.server.deactivate()
    with pytest.raises(LocalProtocolError):
        talk.server.deactivate()


# Active


@pytest.mark.parametrize("length", [0, 5, 0x7FFF])
def test_nx_25_a_wrong_total_length_is_refused(active, length):
    pdu = bytearray(pack_share_data(SYNCHRONIZE, share_id=active.share_id))
    pdu[0:2] = length.to_bytes(2, "little")
    error = active.refused(lambda: active.tell_channel(bytes(pdu)))
    assert error.errinfo is ErrInfo.ERRINFO_SHAREDATATOOSHORT


def test_nx_25_an_unknown_pdu_type_is_refused(active):
    pdu = bytearray(pack_share_data(SYNCHRONIZE, share_id=active.share_id))
    pdu[2] = 0x1B
    assert active.refused(lambda: active.tell_channel(bytes(pdu))).errinfo is ErrInfo.ERRINFO_UNKNOWNPDUTYPE


def test_nx_25_an_unknown_pdu_type_2_is_refused(active):
    error = active.refused(lambda: active.tell_raw_share(0x77, b""))
    assert error.errinfo is ErrInfo.ERRINFO_UNKNOWNPDUTYPE2


def test_nx_25_a_server_s_pdu_from_a_client_is_refused(active):
    error = active.refused(lambda: active.tell_share(SetErrorInfo(0)))
    assert error.errinfo is ErrInfo.ERRINFO_DATAPDUSEQUENCE


def test_frm_03_padding_behind_a_body_is_dropped(confirmed):
    for body in (SYNCHRONIZE, COOPERATE, REQUEST, FontList()):
        events = confirmed.tell_raw_share(body.PDU_TYPE2, body.pack() + bytes(3))
    assert events == [Activated()]
    assert confirmed.tell_raw_share(PduType2.PDUTYPE2_FRAME_ACKNOWLEDGE, b"\7\0\0\0pad") == [FrameAcknowledged(7)]


def test_frm_11_reserved_fields_are_ignored(active):
    pdu = bytearray(pack_share_data(RefreshRect((InclusiveRectangle(0, 0, 9, 9),)), share_id=active.share_id))
    pdu[10] = 0xFF  # pad1 of the share data header
    pdu[19:22] = b"\xff" * 3  # pad3Octects of Refresh Rect
    unit = bytearray(frame_send_data_request(active.server.user_channel_id, 1003, bytes(pdu)))
    unit[1] = 0xFF  # reserved of TPKT
    assert active.tell(bytes(unit)) == [RefreshRequested((Rectangle(0, 0, 10, 10),))]


def test_nx_25_another_share_id_is_refused(active):
    pdu = pack_share_data(SYNCHRONIZE, share_id=active.share_id + 1)
    assert active.refused(lambda: active.tell_channel(pdu)).errinfo is ErrInfo.ERRINFO_DATAPDUSEQUENCE


def test_nx_25_a_compressed_pdu_is_refused(active):
    pdu = ShareDataPdu(1004, active.share_id, PduType2.PDUTYPE2_INPUT, b"x", compressed_type=0x21).pack()
    active.refused(lambda: active.tell_channel(pdu))


def test_a_type_of_compression_alone_does_not_make_a_compressed_pdu(active):
    body = ShutdownRequest().pack()
    pdu = ShareDataPdu(1004, active.share_id, PduType2.PDUTYPE2_SHUTDOWN_REQUEST, body, compressed_type=0x01).pack()
    assert active.tell_channel(pdu) == [ShutdownRequested()]


def test_nx_25_what_the_client_did_before_its_error_still_counts(active):
    good = pack_share_data(ShutdownRequest(), share_id=active.share_id)
    active.server.receive_data(frame_send_data_request(active.server.user_channel_id, 1003, good + b"\x05\x00"))
    assert active.server.next_event() == ShutdownRequested()
    active.refused(active.server.next_event)


def test_several_share_pdus_may_come_at_once_and_flow_pdus_are_ignored(active):
    pdus = pack_share_data(ShutdownRequest(), share_id=active.share_id) * 2 + FlowPdu(0x41, 0, 0, 1004).pack()
    assert active.tell_channel(pdus) == [ShutdownRequested()] * 2


def test_ses_02_a_shutdown_request_is_the_owners_to_answer(active):
    active.client.send_shutdown_request()
    active.run()
    assert active.server_events[-1] == ShutdownRequested()
    active.server.send_shutdown_denied()
    active.run()
    assert active.client_events[-1] == ShutdownDenied()


@pytest.mark.parametrize("reactivated", [False, True])
def test_ses_02_a_shutdown_request_during_finalization_is_answered_behind_font_map(confirmed, reactivated):
    assert confirmed.tell_share(ShutdownRequest()) == [ShutdownRequested()]
    confirmed.server.send_shutdown_denied()
    assert said(confirmed) == []  # fact 40
    if reactivated:  # a resize came between
        confirmed.server.deactivate()
        confirmed.server.activate(800, 600, 32)
        confirmed.tell_control(confirm(confirmed.share_id))
        confirmed.server.data_to_send()
    for body in (SYNCHRONIZE, COOPERATE, REQUEST):
        confirmed.tell_share(body)
    confirmed.server.data_to_send()
    confirmed.tell_share(FontList())
    assert [type(body) for body in said(confirmed)] == [FontMap, wire_session.ShutdownDenied]
    confirmed.server.send_shutdown_denied()
    assert [type(body) for body in said(confirmed)] == [wire_session.ShutdownDenied]


def test_nobody_denies_a_shutdown_before_there_was_a_share(dialogue):
    with pytest.raises(LocalProtocolError):
        dialogue().run_until(ServerState.LICENSING).server.send_shutdown_denied()


def test_inp_10_refresh_rect_is_clipped_to_the_desktop(active):
    rectangles = (
        InclusiveRectangle(0, 0, 9, 19),
        InclusiveRectangle(1000, 700, 65535, 65535),
        InclusiveRectangle(2000, 0, 2001, 1),
        InclusiveRectangle(5, 5, 2, 2),
    )
    (event,) = active.tell_share(RefreshRect(rectangles))
    assert event == RefreshRequested((Rectangle(0, 0, 10, 20), Rectangle(1000, 700, 1024, 768)))
    assert active.tell_share(RefreshRect(())) == []


def test_nx_28_a_refresh_rect_that_announces_more_than_it_has_is_refused(active):
    body = b"\xff\0\0\0" + bytes(8)
    error = active.refused(lambda: active.tell_raw_share(PduType2.PDUTYPE2_REFRESH_RECT, body))
    assert error.errinfo is ErrInfo.ERRINFO_INVALIDREFRESHRECTPDU


@pytest.mark.parametrize("body", [b"", b"\x01\0\0\0\0\0", b"\x02\0\0\0", b"\x01"])
def test_nx_28_a_cut_suppress_output_is_refused(active, body):
    error = active.refused(lambda: active.tell_raw_share(PduType2.PDUTYPE2_SUPPRESS_OUTPUT, body))
    assert error.errinfo is ErrInfo.ERRINFO_BADSUPRESSOUTPUTPDU


def test_inp_10_suppress_output_is_told_to_the_owner(active):
    active.client.send_suppress_output(None)
    active.client.send_suppress_output(Rectangle(0, 0, 2000, 768))
    active.run()
    assert active.server_events[-2:] == [
        OutputSuppressed(True),
        OutputSuppressed(False, Rectangle(0, 0, 1024, 768)),
    ]


@pytest.mark.parametrize("frame_id", [0, 7, 0xFFFFFFFF])
def test_inp_12_frame_acknowledgements_are_told_to_the_owner(active, frame_id):
    assert active.tell_share(FrameAcknowledge(frame_id)) == [FrameAcknowledged(frame_id)]


# What the server says about the session


def test_err_01_error_info_needs_a_share_and_a_client_that_announced_it(dialogue):
    talk = dialogue().run_until(ServerState.LICENSING)
    assert not talk.server.send_set_error_info(ErrInfo.ERRINFO_SERVER_DENIED_CONNECTION)
    talk._act()
    talk.server.data_to_send()
    assert talk.server.send_set_error_info(ErrInfo.ERRINFO_NONE)
    (unit,) = talk.units(talk.server.data_to_send())
    pdu, _ = unpack_share_pdu(unpack_domain_pdu(unit[7:]).user_data)
    assert pdu.pdu_source == 0
    assert unpack_body(pdu) == SetErrorInfo(0)
    core = talk.server._mcs.user_data.core
    without = attrs.evolve(core, early_capability_flags=0)
    talk.server._mcs.user_data = attrs.evolve(talk.server._mcs.user_data, blocks=(without,))
    assert not talk.server.send_set_error_info(ErrInfo.ERRINFO_SERVER_DENIED_CONNECTION)


def test_err_01_there_is_no_error_info_between_two_shares(active):
    active.server.deactivate()
    assert not active.server.send_set_error_info(ErrInfo.ERRINFO_IDLE_TIMEOUT)


def test_err_02_a_client_that_broke_the_protocol_can_be_told_and_sent_away(active):
    error = active.refused(lambda: active.tell_raw_share(0x77, b""))
    assert active.server.send_set_error_info(error.errinfo)
    active.server.disconnect(user_requested=False)
    assert not active.server.send_set_error_info(error.errinfo)
    active._server_speaks()
    assert active.client_events[-2] == ErrorInfoReceived(ErrInfo.ERRINFO_UNKNOWNPDUTYPE2)
    assert type(active.client_events[-1]).__name__ == "Disconnected"


def test_err_05_status_info_needs_a_client_that_announced_it(dialogue):
    assert dialogue().run().server.send_status_info(0x402)
    assert not dialogue(ClientOptions(optional_blocks=False)).run().server.send_status_info(0x402)


def test_ses_01_and_arc_01_the_client_learns_who_is_logged_on_and_gets_its_cookie(active):
    assert active.server.client_takes_auto_reconnect
    active.server.send_save_session_info(
        user_name="user" * 100, domain="domain", session_id=5, reconnect_secret=bytes(range(16))
    )
    active.run()
    assert active.client_events[-2:] == [SessionInfoReceived(5), SessionInfoReceived(5, bytes(range(16)))]


def test_ses_01_a_client_that_did_not_ask_is_not_told_who_is_logged_on(active):
    info = active.server.client_info
    active.server.client_info = attrs.evolve(info, flags=info.flags & ~InfoFlags.INFO_LOGONNOTIFY)
    active.server.send_save_session_info(user_name="user", domain="", session_id=5, reconnect_secret=bytes(range(16)))
    (body,) = said(active)
    assert body.info_data.auto_reconnect.logon_id == 5


@pytest.mark.parametrize("flags", [0, ExtraFlags.LONG_CREDENTIALS_SUPPORTED])
def test_ses_01_names_are_cut_to_what_clients_read(active, flags):
    active.server._activation.capabilities = {GeneralCapabilitySet.TYPE: GeneralCapabilitySet(extra_flags=flags)}
    active.server.send_save_session_info(user_name="\N{OX}" * 200, domain="d" * 30, session_id=5)
    (body,) = said(active)
    assert isinstance(body.info_data, LogonInfoVersion2 if flags else LogonInfo)
    assert (body.info_data.domain, body.info_data.user_name) == ("d" * 25, "\N{OX}" * 127)


def test_arc_01_no_cookie_for_a_client_or_a_server_that_has_no_use_for_it(dialogue):
    talk = dialogue(server=ServerOptions(auto_reconnect=False)).run()
    talk.server.send_save_session_info(user_name="u", domain="", session_id=5, reconnect_secret=bytes(16))
    talk.run()
    assert talk.client_events[-1] == SessionInfoReceived(5)


def test_arc_05_a_client_is_told_that_its_cookie_was_not_taken(active):
    active.server.send_auto_reconnect_status()
    assert said(active)[0].arc_status == 0


def test_after_the_end_output_is_dropped(active):
    active.server.disconnect(user_requested=True)
    active.server.data_to_send()
    active.server.send_bitmap_updates([])
    active.server.send_pointer_position(1, 1)
    active.server.send_shutdown_denied()
    active.server.send_save_session_info(user_name="u", domain="d", session_id=1)
    assert active.server.data_to_send() == b""


@given(st.sampled_from(sorted(PduType2)), st.binary(max_size=60))
def test_any_body_of_any_type_is_taken_or_refused(dialogue, pdu_type2, body):
    talk = dialogue().run()
    try:
        talk.tell_raw_share(pdu_type2, body)
    except RemoteProtocolError:
        assert talk.server.state is ServerState.ERROR
    else:
        assert talk.server.state is ServerState.ACTIVE
