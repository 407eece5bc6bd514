"""FRM: units, and their bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.errors import RemoteProtocolError
from rdpprov.protocol.events import NEED_DATA
from rdpprov.protocol.rdp.events import StartTls
from rdpprov.protocol.rdp.framing import LOGON_LIMIT, NEGOTIATION_LIMIT, SESSION_LIMIT, UnitSplitter
from rdpprov.protocol.rdp.server import STAGES, RdpServerMachine, ServerOptions, ServerState
from rdpprov.wire.rdp.nego import NegotiationRequest
from rdpprov.wire.rdp.preconnection import PreconnectionPdu
from rdpprov.wire.rdp.tpkt import UnitKind, pack_tpkt
from rdpprov.wire.rdp.x224 import ConnectionRequest

REQUEST = pack_tpkt(ConnectionRequest(negotiation=NegotiationRequest(1)).pack())


@given(st.lists(st.binary(min_size=3, max_size=300), max_size=5), st.data())
def test_units_come_out_as_they_went_in_however_they_are_cut(payloads, data):
    stream = b"".join(map(pack_tpkt, payloads))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    splitter = UnitSplitter(LOGON_LIMIT)
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        splitter.receive_data(stream[start:end])
        while (unit := splitter.next_unit()) is not None:
            found.append(unit)
    assert found == [(UnitKind.TPKT, pack_tpkt(payload)) for payload in payloads]
    assert len(splitter) == 0


@pytest.mark.parametrize("length", [0, 3, 6])
def test_nx_01_a_tpkt_shorter_than_its_x224_is_refused_before_its_body_is_awaited(dialogue, length):
    talk = dialogue()
    talk.refused(lambda: talk.tell(b"\x03\x00" + length.to_bytes(2, "big")))


def test_nx_01_a_tpkt_that_announces_more_than_the_stage_allows_is_refused_at_once(dialogue):
    talk = dialogue()
    talk.refused(lambda: talk.tell(b"\x03\x00\xff\xff" + bytes(10)))


def test_nx_01_a_tpkt_that_is_not_complete_is_awaited():
    machine = RdpServerMachine(ServerOptions())
    machine.receive_data(b"\x03\x00\x0f\xff" + bytes(10))
    assert machine.next_event() is NEED_DATA


@pytest.mark.parametrize(
    "data",
    [
        b"\x04\x05\x00\x00\x00",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\xff" * 64,
        b"\x30\x37\xa0\x03\x02\x01\x06",
        PreconnectionPdu(1, "vm").pack(),
    ],
    ids=["fast-path", "http", "tls", "ones", "credssp", "preconnection"],
)
def test_nx_04_what_is_no_tpkt_is_refused_at_its_first_byte(dialogue, data):
    talk = dialogue()
    talk.refused(lambda: talk.tell(data[:1] if data[0] & 3 else data))


@pytest.mark.parametrize(
    "state", [ServerState.EXPECT_CONNECT_INITIAL, ServerState.CHANNEL_CONNECTION, ServerState.EXPECT_CONFIRM_ACTIVE]
)
def test_frm_04_fast_path_is_refused_before_confirm_active(dialogue, state):
    talk = dialogue().run_until(state)
    talk.server.data_to_send()
    if talk.server.state is ServerState.EXPECT_TLS:
        talk.server.tls_established()
    talk.refused(lambda: talk.tell(b"\x04\x04\x00\x1e"))


@given(st.integers(0, 200_000))
def test_frm_05_the_buffer_never_holds_more_than_the_stage_allows(size):
    machine = RdpServerMachine(ServerOptions())
    machine.receive_data(b"\x03\x00\x0f\xff" + bytes(size))
    assert len(machine.trailing_data) <= NEGOTIATION_LIMIT
    if size + 4 > NEGOTIATION_LIMIT:
        with pytest.raises(RemoteProtocolError):
            machine.next_event()


def test_frm_05_each_stage_has_its_limit():
    before = {state for state, stage in STAGES.items() if stage.limit == NEGOTIATION_LIMIT}
    assert before == {ServerState.EXPECT_CONNECTION_REQUEST, ServerState.EXPECT_TLS}
    assert {stage.limit for stage in STAGES.values()} == {NEGOTIATION_LIMIT, LOGON_LIMIT, SESSION_LIMIT, 0}


def test_frm_05_a_client_that_floods_a_paused_machine_is_refused_when_it_goes_on(dialogue):
    talk = dialogue().run_until(ServerState.LICENSING)
    for _ in range(100):
        talk.server.receive_data(bytes(1024))
    assert len(talk.server.trailing_data) == LOGON_LIMIT
    talk.server.complete_licensing(True)
    talk.server.activate(1024, 768, 32)
    talk.refused(talk.server.next_event)


def test_pre_01_a_preconnection_pdu_is_read_where_it_is_allowed():
    machine = RdpServerMachine(ServerOptions(preconnection=True))
    for byte in PreconnectionPdu(7, "vm").pack():
        machine.receive_data(bytes([byte]))
        assert machine.next_event() is NEED_DATA
    machine.receive_data(REQUEST)
    assert machine.next_event() == StartTls()
    assert machine.preconnection == PreconnectionPdu(7, "vm")


def test_pre_03_any_first_byte_but_3_begins_a_preconnection_pdu():
    pdu = PreconnectionPdu(7, "v" * 118)
    assert pdu.pack()[:4] == bytes.fromhex("00010000")  # cbSize 256
    machine = RdpServerMachine(ServerOptions(preconnection=True))
    machine.receive_data(pdu.pack() + REQUEST)
    assert machine.next_event() == StartTls()
    assert machine.preconnection == pdu


def test_pre_03_a_preconnection_pdu_may_be_missing():
    machine = RdpServerMachine(ServerOptions(preconnection=True))
    machine.receive_data(REQUEST)
    assert machine.next_event() == StartTls()
    assert machine.preconnection is None


@pytest.mark.parametrize("size", [0, 15, 17, 8193, 0xFFFFFFFC])
def test_pre_02_a_preconnection_pdu_of_impossible_size_is_refused(size):
    machine = RdpServerMachine(ServerOptions(preconnection=True))
    machine.receive_data(size.to_bytes(4, "little"))
    with pytest.raises(RemoteProtocolError):
        machine.next_event()
