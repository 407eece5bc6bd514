"""NEG: the X.224 negotiation."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.errors import RemoteProtocolError
from rdpprov.protocol.events import PAUSED
from rdpprov.protocol.rdp.client import ClientOptions, RdpClientMachine
from rdpprov.protocol.rdp.events import NegotiationRefused, StartTls
from rdpprov.protocol.rdp.negotiation import (
    NEGOTIATION_SERVER_TRANSITIONS,
    NegotiationRefusedError,
    NegotiationServerMachine,
    NegotiationState,
    choose_protocol,
)
from rdpprov.protocol.rdp.server import RdpServerMachine, ServerOptions, ServerState
from rdpprov.wire.rdp.nego import (
    CorrelationInfo,
    NegotiationFailure,
    NegotiationFailureCode,
    NegotiationRequest,
    NegotiationRequestFlags,
    NegotiationResponse,
    NegotiationResponseFlags,
    Protocols,
)
from rdpprov.wire.rdp.tpkt import pack_tpkt
from rdpprov.wire.rdp.x224 import ConnectionConfirm, ConnectionRequest, DisconnectRequest

SSL, HYBRID, HYBRID_EX, RDSTLS = (
    Protocols.PROTOCOL_SSL,
    Protocols.PROTOCOL_HYBRID,
    Protocols.PROTOCOL_HYBRID_EX,
    Protocols.PROTOCOL_RDSTLS,
)
STANDARD = Protocols.PROTOCOL_RDP


def answer(request: ConnectionRequest, allowed: Protocols = SSL) -> tuple[object, ConnectionConfirm, RdpServerMachine]:
    machine = RdpServerMachine(ServerOptions(allowed_protocols=allowed))
    machine.receive_data(pack_tpkt(request.pack()))
    event = machine.next_event()
    confirm, rest = ConnectionConfirm.unpack(machine.data_to_send()[4:])
    assert rest == b""
    return event, confirm, machine


def test_neg_01_a_connection_request_is_answered_and_the_machine_waits_for_tls():
    event, confirm, machine = answer(ConnectionRequest(negotiation=NegotiationRequest(SSL)))
    assert event == StartTls()
    assert confirm.negotiation == NegotiationResponse(SSL, NegotiationResponseFlags.EXTENDED_CLIENT_DATA_SUPPORTED)
    assert machine.state is ServerState.EXPECT_TLS
    assert machine.next_event() is PAUSED
    assert machine.selected_protocol == SSL


def test_neg_01_the_confirm_has_the_bytes_that_every_client_knows():
    machine = RdpServerMachine(ServerOptions())
    machine.receive_data(bytes.fromhex("030000130ee000000000000100080003000000"))
    assert machine.next_event() == StartTls()
    assert machine.data_to_send().hex() == "030000130ed000001234000201080001000000"


@pytest.mark.parametrize("negotiation", [NegotiationRequest(SSL), None], ids=["chosen", "refused"])
def test_neg_02_the_client_s_reference_comes_back_and_nothing_else_is_made_of_it(negotiation):
    request = ConnectionRequest(negotiation=negotiation, destination_reference=0xABCD, source_reference=0x4321)
    _, confirm, _ = answer(request)
    assert (confirm.destination_reference, confirm.class_option) == (0x4321, 0)


def test_neg_01_what_came_behind_the_request_belongs_to_tls():
    machine = RdpServerMachine(ServerOptions())
    machine.receive_data(pack_tpkt(ConnectionRequest(negotiation=NegotiationRequest(SSL)).pack()) + b"\x16\x03\x01")
    assert machine.next_event() == StartTls()
    assert machine.trailing_data == b"\x16\x03\x01"
    assert machine.take_trailing_data() == b"\x16\x03\x01"
    assert machine.trailing_data == b""


@pytest.mark.parametrize(
    "tpdu",
    [
        "06e000000000",
        "00e0000000000000",
        "ffe0000000000000",
        "20e0000000000000",
        "06d0000000000000",
        "06e0000000000020",
    ],
    ids=["10 bytes", "LI 0", "LI 255", "LI beyond", "code D0", "class 2"],
)
def test_nx_02_a_wrong_connection_request_is_refused(dialogue, tpdu):
    talk = dialogue()
    talk.refused(lambda: talk.tell(pack_tpkt(bytes.fromhex(tpdu))))


@pytest.mark.parametrize(
    "negotiation",
    ["0100070001000000", "0100090001000000", "0100ffff01000000", "01000800010000", "0100", "0400080001000000"],
    ids=["length 7", "length 9", "length FFFF", "cut", "cut early", "type 4"],
)
def test_nx_03_a_wrong_negotiation_structure_is_refused(dialogue, negotiation):
    body = bytes.fromhex("e00000000000" + negotiation)
    talk = dialogue()
    talk.refused(lambda: talk.tell(pack_tpkt(bytes([len(body)]) + body)))


@pytest.mark.parametrize(
    "line", [b"Cookie: mstshash=user", b"Cookie: msts=3640205228.15629.0000", b"tsv://MS Terminal Services Plugin", b""]
)
def test_neg_03_cookie_and_routing_token_of_any_content_are_kept_for_others(line):
    event, _, machine = answer(ConnectionRequest(line, NegotiationRequest(SSL)))
    assert event == StartTls()
    assert machine.connection_request.routing_line == line


def test_neg_04_a_client_without_request_structure_speaks_only_standard_security():
    event, confirm, machine = answer(ConnectionRequest(b"Cookie: mstshash=old"))
    # NEG-08
    assert event == NegotiationRefused(NegotiationFailureCode.SSL_REQUIRED_BY_SERVER)
    assert confirm.negotiation == NegotiationFailure(NegotiationFailureCode.SSL_REQUIRED_BY_SERVER)
    assert machine.negotiation_request is None


@pytest.mark.parametrize(
    ("requested", "allowed", "chosen"),
    [
        (SSL | HYBRID, SSL, SSL),
        (SSL | HYBRID | HYBRID_EX, SSL | HYBRID | HYBRID_EX, HYBRID_EX),
        (SSL | HYBRID, SSL | HYBRID | HYBRID_EX, HYBRID),
        (SSL | 0x80000000, SSL, SSL),
        (STANDARD, SSL, NegotiationFailureCode.SSL_REQUIRED_BY_SERVER),
        (HYBRID, SSL, NegotiationFailureCode.SSL_REQUIRED_BY_SERVER),
        (SSL, HYBRID, NegotiationFailureCode.HYBRID_REQUIRED_BY_SERVER),
        (STANDARD, HYBRID_EX, NegotiationFailureCode.HYBRID_REQUIRED_BY_SERVER),
        (SSL, RDSTLS, NegotiationFailureCode.SSL_WITH_USER_AUTH_REQUIRED_BY_SERVER),
        (SSL, STANDARD, NegotiationFailureCode.SSL_CERT_NOT_ON_SERVER),
        (SSL | RDSTLS, SSL | RDSTLS, SSL),
    ],
)
def test_neg_05_the_best_common_protocol_is_chosen(requested, allowed, chosen):
    assert choose_protocol(requested, allowed) == chosen


def test_neg_05_rdstls_comes_first_for_redirected_clients():
    assert choose_protocol(SSL | RDSTLS, SSL | RDSTLS, redirected=True) == RDSTLS


@pytest.mark.parametrize(
    ("line", "chosen"),
    [(b"Cookie: msts=3640205228.15629.0000", RDSTLS), (b"Cookie: mstshash=user", SSL), (None, SSL)],
)
def test_neg_05_a_client_is_redirected_if_it_brings_a_routing_token(line, chosen):
    _, confirm, machine = answer(ConnectionRequest(line, NegotiationRequest(SSL | RDSTLS)), SSL | RDSTLS)
    assert confirm.negotiation.selected_protocol == machine.selected_protocol == chosen


@given(st.integers(0, 2**32 - 1), st.integers(0, 31))
def test_neg_06_one_protocol_is_chosen_that_was_asked_for_and_is_allowed(requested, allowed):
    chosen = choose_protocol(requested, allowed, redirected=True)
    if isinstance(chosen, Protocols):
        assert chosen & requested & allowed
        assert chosen.bit_count() == 1
    else:
        assert not requested & allowed


def test_neg_07_a_refusal_is_queued_and_nothing_can_follow_it():
    event, confirm, machine = answer(ConnectionRequest(negotiation=NegotiationRequest(STANDARD)))
    assert event == NegotiationRefused(NegotiationFailureCode.SSL_REQUIRED_BY_SERVER)
    assert confirm.negotiation == NegotiationFailure(NegotiationFailureCode.SSL_REQUIRED_BY_SERVER)
    assert machine.state is ServerState.REFUSED
    machine.receive_data(pack_tpkt(ConnectionRequest(negotiation=NegotiationRequest(SSL)).pack()))
    assert machine.next_event() is PAUSED
    machine.disconnect(user_requested=False)
    assert machine.data_to_send() == b""


def test_neg_09_correlation_info_is_read_and_must_be_there_when_announced(dialogue):
    flags = NegotiationRequestFlags.CORRELATION_INFO_PRESENT
    info = CorrelationInfo(bytes(range(1, 17)).replace(b"\r", b"\1"))
    request = ConnectionRequest(None, NegotiationRequest(SSL, flags), info)
    event, _, machine = answer(request)
    assert event == StartTls()
    assert machine.connection_request.correlation_info == info
    cut = request.pack()[:-36]
    talk = dialogue()
    talk.refused(lambda: talk.tell(pack_tpkt(bytes([len(cut) - 1]) + cut[1:])))


def test_neg_10_a_second_connection_request_is_refused():
    outgoing: list[bytes] = []
    machine = NegotiationServerMachine(SSL, outgoing)
    request = ConnectionRequest(negotiation=NegotiationRequest(SSL)).pack()
    machine.receive(request)
    with pytest.raises(RemoteProtocolError):
        machine.receive(request)
    assert len(outgoing) == 1


@pytest.mark.parametrize(
    ("state", "outcome"),
    list(itertools.product(NegotiationState, [StartTls, NegotiationRefused])),
)
def test_each_state_of_the_negotiation_moves_or_refuses(state, outcome):
    machine = NegotiationServerMachine(SSL, [])
    machine.state = state
    requested = SSL if outcome is StartTls else STANDARD
    request = ConnectionRequest(negotiation=NegotiationRequest(requested)).pack()
    expected = NEGOTIATION_SERVER_TRANSITIONS.get((state, outcome))
    if expected is None:
        with pytest.raises(RemoteProtocolError):
            machine.receive(request)
        assert machine.state is NegotiationState.ERROR
    else:
        assert isinstance(machine.receive(request), outcome)
        assert machine.state is expected


def client_told(confirm: bytes) -> RdpClientMachine:
    machine = RdpClientMachine(ClientOptions())
    machine.receive_data(pack_tpkt(confirm))
    return machine


def test_a_client_says_why_the_server_refused_it():
    failure = NegotiationFailure(NegotiationFailureCode.HYBRID_REQUIRED_BY_SERVER)
    with pytest.raises(NegotiationRefusedError, match="HYBRID_REQUIRED_BY_SERVER") as caught:
        client_told(ConnectionConfirm(failure).pack()).next_event()
    assert caught.value.failure_code == NegotiationFailureCode.HYBRID_REQUIRED_BY_SERVER


@pytest.mark.parametrize(
    "confirm",
    [
        ConnectionConfirm(NegotiationFailure(77)),
        ConnectionConfirm(NegotiationResponse(HYBRID)),
        ConnectionConfirm(NegotiationResponse(STANDARD)),
        ConnectionConfirm(),
        DisconnectRequest(),
    ],
)
def test_a_client_speaks_tls_and_nothing_else(confirm):
    with pytest.raises(RemoteProtocolError):
        client_told(confirm.pack()).next_event()


def test_a_client_sends_its_cookie():
    machine = RdpClientMachine(ClientOptions(cookie="user"))
    request, _ = ConnectionRequest.unpack(machine.data_to_send()[4:])
    assert request.cookie == "user"
    assert request.negotiation.requested_protocols == SSL
