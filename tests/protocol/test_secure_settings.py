"""INF and LIC: Client Info, and the end of licensing."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.errors import LocalProtocolError, RemoteProtocolError
from rdpprov.protocol.events import PAUSED
from rdpprov.protocol.rdp.client import ClientOptions, ClientState
from rdpprov.protocol.rdp.events import ClientInfoReceived, Licensed
from rdpprov.protocol.rdp.secure_settings import (
    NEW_LICENSE_REQUEST_PDU,
    NO_LICENSE_PDU,
    VALID_CLIENT_PDU,
    LicenseRefusedError,
    SecurityHeaderError,
    answer_license_pdu,
    pack_client_info,
    unpack_client_info,
)
from rdpprov.protocol.rdp.server import ServerState
from rdpprov.wire.rdp.client_info import ClientInfo, InfoFlags, TimeZoneInformation
from rdpprov.wire.rdp.licensing import LicenseError, LicenseErrorCode, MessageType, StateTransition, unpack_message
from rdpprov.wire.rdp.security import BasicSecurityHeader, SecurityFlags

INFO = ClientInfo(flags=InfoFlags.INFO_UNICODE | InfoFlags.INFO_AUTOLOGON, user_name="user", password="secret")


@pytest.fixture
def joined(dialogue):
    """A dialogue whose client is about to send Client Info."""
    talk = dialogue()
    while talk.server.user_channel_id is None:
        talk.tell(talk.client.data_to_send())
        talk._server_speaks()
    assert talk.server.state is ServerState.CHANNEL_CONNECTION
    return talk


def test_inf_05_client_info_is_handed_to_the_owner_and_the_machine_waits(joined):
    (event,) = joined.tell_channel(pack_client_info(INFO))
    assert event == ClientInfoReceived(INFO)
    assert "secret" not in repr(event)  # INF-08
    assert joined.server.client_info == INFO
    assert joined.server.state is ServerState.LICENSING
    assert joined.server.next_event() is PAUSED


@pytest.mark.parametrize("flags", [0, SecurityFlags.SEC_EXCHANGE_PKT, SecurityFlags.SEC_LICENSE_PKT, 0x2000])
def test_nx_21_something_else_than_client_info_is_refused(joined, flags):
    header = BasicSecurityHeader(flags).pack()
    error = joined.refused(lambda: joined.tell_channel(header + INFO.pack()))
    assert isinstance(error, SecurityHeaderError)


def test_std_07_encryption_inside_tls_is_refused(joined):
    header = BasicSecurityHeader(SecurityFlags.SEC_INFO_PKT | SecurityFlags.SEC_ENCRYPT).pack()
    joined.refused(lambda: joined.tell_channel(header + INFO.pack()))


@pytest.mark.parametrize("at", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("size", [0x100, 0x202, 0xFFFE, 0xFFFF, 3])
def test_nx_21_texts_beyond_the_packet_are_refused(joined, at, size):
    packet = bytearray(INFO.pack())
    packet[at : at + 2] = size.to_bytes(2, "little")
    header = BasicSecurityHeader(SecurityFlags.SEC_INFO_PKT).pack()
    joined.refused(lambda: joined.tell_channel(header + packet))


@pytest.mark.parametrize(
    "cookie",
    [
        (28).to_bytes(4, "little") + (2).to_bytes(4, "little") + bytes(20),
        (27).to_bytes(4, "little") + (1).to_bytes(4, "little") + bytes(19),
        bytes(28),
    ],
    ids=["version 2", "length 27", "zeros"],
)
def test_nx_21_a_wrong_reconnect_cookie_means_an_ordinary_logon(joined, cookie):
    tail = {"client_address_family": 2, "client_address": "", "client_dir": "", "client_session_id": 0}
    info = attrs.evolve(
        INFO, **tail, client_time_zone=TimeZoneInformation(), performance_flags=0, auto_reconnect_cookie=cookie
    )
    (event,) = joined.tell_channel(pack_client_info(info))
    assert event.info.auto_reconnect is None


def test_arc_02_a_client_brings_its_cookie_back(dialogue):
    options = ClientOptions(user_name="user", reconnect_logon_id=7, reconnect_secret=bytes(range(16)))
    talk = dialogue(options).run_until(ServerState.LICENSING)
    cookie = talk.server.client_info.auto_reconnect
    assert cookie.logon_id == 7
    # HMAC-MD5 over 32 zero bytes (fact 73)
    assert cookie.security_verifier.hex() == "b639c8731638618b707972aa6e96cf90"


def test_data_on_channels_before_client_info_is_dropped(dialogue):
    talk = dialogue(ClientOptions(channels=("cliprdr",)))
    while talk.server.user_channel_id is None:
        talk.tell(talk.client.data_to_send())
        talk._server_speaks()
    assert talk.tell_channel(b"anything", 1004) == []
    assert talk.server.state is ServerState.CHANNEL_CONNECTION


def test_lic_02_the_valid_client_alert_is_the_one_that_every_client_knows(dialogue):
    assert VALID_CLIENT_PDU.hex() == "80000000ff031000070000000200000004000000"  # 20 bytes (fact 26)
    talk = dialogue().run_until(ServerState.LICENSING)
    talk.server.data_to_send()
    talk.server.complete_licensing(True)
    assert talk.server.data_to_send().endswith(VALID_CLIENT_PDU)
    assert talk.server.state is ServerState.EXPECT_ACTIVATE
    assert talk.server.next_event() is PAUSED


def test_lic_14_a_client_without_a_license_gets_an_alert_and_nothing_else(dialogue):
    talk = dialogue().run_until(ServerState.LICENSING)
    talk.server.data_to_send()
    talk.server.complete_licensing(False)
    said = talk.server.data_to_send()
    assert said.endswith(NO_LICENSE_PDU)
    assert LicenseError.unpack(NO_LICENSE_PDU[4:]) == LicenseError(
        LicenseErrorCode.ERR_NO_LICENSE, StateTransition.ST_TOTAL_ABORT
    )
    assert talk.server.state is ServerState.REFUSED
    assert not talk.server.send_set_error_info(7)  # LIC-19: there is no share
    with pytest.raises(LocalProtocolError):
        talk.server.activate(1024, 768, 32)
    talk.client.receive_data(said)
    while talk.client.state is not ClientState.LICENSING:
        talk.client.next_event()
    with pytest.raises(LicenseRefusedError):
        talk.client.next_event()


@pytest.mark.parametrize("call", ["tls_established", "complete_licensing", "activate", "deactivate"])
@pytest.mark.parametrize("state", [ServerState.EXPECT_CONNECTION_REQUEST, ServerState.CHANNEL_CONNECTION])
def test_the_owner_is_told_when_it_acts_out_of_turn(dialogue, call, state):
    talk = dialogue().run_until(state)
    arguments = {"complete_licensing": (True,), "activate": (1024, 768, 32)}.get(call, ())
    with pytest.raises(LocalProtocolError):
        getattr(talk.server, call)(*arguments)
    assert talk.server.state is state


def test_a_client_takes_the_alert_and_asks_for_a_license_if_it_must(dialogue):
    assert answer_license_pdu(VALID_CLIENT_PDU) is None
    header = BasicSecurityHeader(SecurityFlags.SEC_LICENSE_PKT).pack()
    answer = answer_license_pdu(header + b"\x01\x03\x0c\x00" + bytes(8))
    assert answer == NEW_LICENSE_REQUEST_PDU
    preamble, body = unpack_message(answer[4:])
    assert preamble.message_type == MessageType.NEW_LICENSE_REQUEST
    assert len(body) == 40 + (4 + 72) + (4 + 5) + (4 + 8)
    for refused in (NO_LICENSE_PDU, header + b"\x02\x03\x0c\x00" + bytes(8)):
        with pytest.raises(LicenseRefusedError):
            answer_license_pdu(refused)
    talk = dialogue().run()
    assert Licensed() in talk.client_events


@given(st.binary(max_size=400))
def test_any_bytes_are_client_info_or_our_error(data):
    for flags in (b"\x40\x00\x00\x00", b""):
        try:
            unpack_client_info(flags + data)
        except RemoteProtocolError:
            continue
