"""Versions, security types, verdicts: from the first byte to ServerInit."""

import itertools
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdpprov.errors import LocalProtocolError, RemoteProtocolError
from rdpprov.protocol.events import PAUSED, NeedData, Paused
from rdpprov.protocol.rfb.client import RfbClientMachine
from rdpprov.protocol.rfb.events import (
    ChallengeAnswered,
    ClientInitReceived,
    CredentialsOffered,
    Refused,
    SecurityChosen,
    ServerInitReceived,
    ServerKeyReceived,
    StartRecords,
    StartTls,
)
from rdpprov.protocol.rfb.framing import HANDSHAKE_LIMIT
from rdpprov.protocol.rfb.handshake import (
    CLIENT_TRANSITIONS,
    OVER,
    PAUSED_STATES,
    SERVER_TRANSITIONS,
    ClientHandshake,
    ClientIdentity,
    ClientState,
    SecurityRefusedError,
    ServerHandshake,
    ServerState,
    Version,
    buffer_limit,
    version_of_client,
    version_of_server,
)
from rdpprov.protocol.rfb.server import RfbServerMachine, ServerOptions
from rdpprov.security.vnc_auth import vnc_response
from rdpprov.wire.rfb.handshake import ProtocolVersion, SecurityType, VencryptSubtype, pack_u32
from rdpprov.wire.rfb.pixel_format import BGRX

NONE, VNC, VENCRYPT = SecurityType.NONE, SecurityType.VNC_AUTHENTICATION, SecurityType.VENCRYPT
CHALLENGE = bytes(range(16))
OK, FAILED = pack_u32(0), pack_u32(1)


def server(*types, subtypes=(), **options) -> RfbServerMachine:
    return RfbServerMachine(ServerOptions(types, subtypes, **options), challenge=CHALLENGE)


def told(machine: RfbServerMachine, data: bytes) -> list:
    machine.receive_data(data)
    taken = []
    while not isinstance(event := machine.next_event(), NeedData | Paused):
        taken.append(event)
    return taken


# The whole of it


def test_every_version_and_every_way_lead_to_a_desktop(rfb):
    assert len(rfb.WAYS) == 25
    for cut, way in itertools.product((rfb.whole, rfb.bytewise), rfb.WAYS):
        version, types, subtypes = way
        talk = rfb.way(*way)
        talk.cut = cut
        talk.run()
        assert talk.server.state is ServerState.ACTIVE, way
        assert talk.client.state is ClientState.ACTIVE, way
        assert talk.server.version == talk.client.version == version
        assert talk.server.security_type == talk.client.security_type == types[0]
        assert talk.server.vencrypt_subtype == talk.client.vencrypt_subtype == (subtypes[0] if subtypes else None)
        assert talk.client_events[-1] == ServerInitReceived(640, 480, BGRX, "desktop")
        assert talk.server_events[-1] == ClientInitReceived(True)


def test_both_sides_tell_the_same_story_of_security(rfb):
    for version, types, subtypes in rfb.WAYS:
        if types[0].rsa_aes:
            continue  # test_rsa_aes.py
        talk = rfb.way(version, types, subtypes).run()
        proof = {
            NONE: [],
            VNC: [ChallengeAnswered(CHALLENGE, vnc_response(b"secret", CHALLENGE))],
        }.get(types[0])
        expected = [SecurityChosen(types[0])]
        if subtypes:
            subtype = subtypes[0]
            expected += [StartTls(subtype)] if subtype is not VencryptSubtype.PLAIN else []
            expected += [SecurityChosen(VENCRYPT, subtype)]
            proof = []
            if subtype.plain:
                proof = [CredentialsOffered("user", "secret")]
            elif subtype.vnc_authentication:
                proof = [ChallengeAnswered(CHALLENGE, vnc_response(b"secret", CHALLENGE))]
        assert talk.client_events[:-1] == expected
        assert talk.server_events == [*expected, *proof, ClientInitReceived(True)]


def test_a_wrong_password_is_refused_with_the_reason_where_the_version_has_one(rfb):
    for version, types, subtypes in rfb.WAYS:
        if types == (NONE,) or (subtypes and subtypes[0].name.endswith("NONE")):
            continue
        identity = ClientIdentity(version=version, name="user", password="wrong")
        talk = rfb.way(version, types, subtypes, identity=identity)
        with pytest.raises(SecurityRefusedError) as caught:
            talk.run()
        assert caught.value.reason == ("wrong password" if version is Version.RFB_3_8 else "")
        assert talk.server.state is ServerState.REFUSED
        assert talk.server.next_event() is PAUSED
        assert talk.client.state is ClientState.ERROR


@pytest.mark.parametrize("shared", [False, True])
def test_the_client_says_whether_it_shares(rfb, shared):
    talk = rfb(identity=ClientIdentity(shared=shared)).run()
    assert talk.server.shared is shared


# Versions


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ((3, 8), 8),
        ((3, 9), 8),
        ((3, 889), 8),
        ((3, 7), 7),
        *(((3, minor), 3) for minor in (0, 3, 4, 5, 6)),
        ((3, 14), 3),
        ((3, 16), 3),
        ((3, 999), 8),
    ],
)
def test_a_server_takes_every_minor_version_for_one_that_exists(answer, version):
    assert version_of_client(ProtocolVersion(*answer), Version.RFB_3_8) == version


@given(st.integers(0, 999), st.integers(0, 999), st.sampled_from(Version))
def test_what_is_spoken_was_offered(major, minor, offered):
    answer = ProtocolVersion(major, minor)
    if major != 3:
        with pytest.raises(RemoteProtocolError, match=str(answer)):
            version_of_client(answer, offered)
    else:
        assert version_of_client(answer, offered) <= offered


@pytest.mark.parametrize(
    ("greeting", "version"),
    [((3, 3), 3), ((3, 5), 3), ((3, 6), 3), ((3, 7), 7), ((3, 8), 8), ((3, 889), 8), ((4, 0), 8), ((5, 0), 8)],
)
def test_a_client_knows_what_servers_mean(greeting, version):
    assert version_of_server(ProtocolVersion(*greeting), Version.RFB_3_8) == version
    assert version_of_server(ProtocolVersion(*greeting), Version.RFB_3_3) == Version.RFB_3_3


def test_a_client_refuses_a_server_below_3_3():
    with pytest.raises(RemoteProtocolError):
        version_of_server(ProtocolVersion(3, 2), Version.RFB_3_8)


def test_the_greeting_is_exactly_what_every_client_knows():
    assert server(NONE).data_to_send() == b"RFB 003.008\n"
    assert server(NONE, version=Version.RFB_3_3).data_to_send() == b"RFB 003.003\n"


@pytest.mark.parametrize(
    "line", [b"GET / HTTP/1.1\r\n", b"RFB 004.000\n", b"RFB 005.000\n", b"\x16\x03\x01" + bytes(9)]
)
def test_what_is_no_version_of_ours_ends_the_connection(rfb, line):
    talk = rfb()
    talk.refused(lambda: talk.tell(line))
    assert talk.server.data_to_send() == b"RFB 003.008\n"


# Types


@pytest.mark.parametrize("version", [Version.RFB_3_7, Version.RFB_3_8])
def test_types_are_offered_in_our_order(version):
    machine = server(VENCRYPT, VNC, NONE, subtypes=tuple(VencryptSubtype))
    machine.data_to_send()
    assert told(machine, ProtocolVersion(3, version).pack()) == []
    assert machine.data_to_send() == bytes((3, 19, 2, 1))
    assert machine.state is ServerState.EXPECT_SECURITY_TYPE


def test_a_client_takes_the_first_type_of_the_server_that_it_can_do(rfb):
    options = ServerOptions((VENCRYPT, VNC, NONE), (VencryptSubtype.X509_VNC, VencryptSubtype.TLS_PLAIN))
    talk = rfb(options).run()
    assert talk.server.vencrypt_subtype is VencryptSubtype.X509_VNC
    identity = ClientIdentity((NONE, VNC), password="secret")
    assert rfb(options, identity).run().server.security_type is VNC
    identity = ClientIdentity(vencrypt_subtypes=(VencryptSubtype.TLS_PLAIN,), name="user", password="secret")
    assert rfb(options, identity).run().server.vencrypt_subtype is VencryptSubtype.TLS_PLAIN


@pytest.mark.parametrize("offered", [(VNC,), (VENCRYPT,), (VENCRYPT, VNC)])
def test_only_types_that_were_offered_can_be_chosen(offered):
    for chosen in set(range(256)) - set(offered):
        machine = server(*offered, subtypes=(VencryptSubtype.PLAIN,) if VENCRYPT in offered else ())
        told(machine, b"RFB 003.008\n")
        machine.data_to_send()
        with pytest.raises(RemoteProtocolError, match="which was not offered"):
            told(machine, bytes((chosen,)))
        assert machine.state is ServerState.ERROR
        assert machine.data_to_send() == b""


@pytest.mark.parametrize("offered", VencryptSubtype)
def test_only_subtypes_that_were_offered_can_be_chosen(offered):
    for chosen in {*range(250, 270), 0, 1, 2, 19, 2**32 - 1} - {offered}:
        machine = server(VENCRYPT, subtypes=(offered,))
        told(machine, b"RFB 003.008\n" + bytes((19, 0, 2)))
        machine.data_to_send()
        with pytest.raises(RemoteProtocolError, match=f"subtype {chosen}, which was not offered"):
            told(machine, pack_u32(chosen))
        assert machine.data_to_send() == b""


@pytest.mark.parametrize("version", [(0, 0), (0, 1), (0, 3), (1, 2), (255, 255)])
def test_vencrypt_is_0_2_and_nothing_else(version):
    machine = server(VENCRYPT, subtypes=(VencryptSubtype.PLAIN,))
    told(machine, b"RFB 003.008\n\x13")
    machine.data_to_send()
    with pytest.raises(RemoteProtocolError, match=r"expected 0\.2"):
        told(machine, bytes(version))
    assert machine.data_to_send() == b"\xff"


def test_the_dialogue_of_vencrypt_byte_for_byte():
    machine = server(VENCRYPT, subtypes=(VencryptSubtype.X509_PLAIN, VencryptSubtype.TLS_NONE))
    told(machine, b"RFB 003.008\n")
    machine.data_to_send()
    told(machine, b"\x13")
    assert machine.data_to_send() == b"\x00\x02"
    told(machine, b"\x00\x02")
    assert machine.data_to_send() == b"\x00\x02" + pack_u32(262) + pack_u32(257)
    assert told(machine, pack_u32(262)) == [StartTls(VencryptSubtype.X509_PLAIN)]
    assert machine.data_to_send() == b"\x01"
    machine.tls_established()
    assert machine.data_to_send() == b""
    assert told(machine, pack_u32(1) + pack_u32(2) + b"u" + b"pw") == [
        SecurityChosen(VENCRYPT, VencryptSubtype.X509_PLAIN),
        CredentialsOffered("u", "pw"),
    ]
    machine.accept()
    assert machine.data_to_send() == OK


# Version 3.3: the server alone decides


@pytest.mark.parametrize(
    ("types", "chosen"), [((NONE,), NONE), ((VNC, NONE), VNC), ((VENCRYPT, NONE, VNC), NONE), ((VENCRYPT, VNC), VNC)]
)
def test_in_3_3_the_server_takes_the_first_of_its_types_that_3_3_has(types, chosen):
    machine = server(*types, subtypes=(VencryptSubtype.PLAIN,) if VENCRYPT in types else ())
    machine.data_to_send()
    assert told(machine, b"RFB 003.003\n") == [SecurityChosen(chosen)]
    # Nothing is flushed between the type and the challenge: a client takes both.
    assert machine.data_to_send() == pack_u32(chosen) + (CHALLENGE if chosen is VNC else b"")


def test_in_3_3_a_server_without_such_a_type_says_so(rfb):
    talk = rfb.way(Version.RFB_3_3, (VENCRYPT,), (VencryptSubtype.PLAIN,))
    with pytest.raises(SecurityRefusedError, match=r"RFB 3\.7 or newer"):
        talk.run()
    assert talk.server.state is ServerState.REFUSED
    assert isinstance(talk.server_events[0], Refused)


@pytest.mark.parametrize(("version", "result"), [(3, b""), (7, b""), (8, OK)])
def test_none_has_a_security_result_only_in_3_8(version, result):
    machine = server(NONE)
    told(machine, ProtocolVersion(3, version).pack() + (b"\x01" if version > 3 else b""))
    offered = b"\x01\x01" if version > 3 else pack_u32(1)
    assert machine.data_to_send() == b"RFB 003.008\n" + offered + result
    assert machine.state is ServerState.EXPECT_CLIENT_INIT


@pytest.mark.parametrize("version", [Version.RFB_3_7, Version.RFB_3_8])
def test_none_inside_vencrypt_has_one_always(version):
    machine = server(VENCRYPT, subtypes=(VencryptSubtype.TLS_NONE,))
    told(machine, ProtocolVersion(3, version).pack() + b"\x13\x00\x02" + pack_u32(257))
    machine.data_to_send()
    machine.tls_established()
    assert machine.data_to_send() == OK


# Refusals


@pytest.mark.parametrize("version", Version)
def test_a_server_that_is_full_says_so_where_types_should_stand(rfb, version):
    talk = rfb(identity=ClientIdentity(version=version))
    talk.server.refuse("too many connections ü")
    with pytest.raises(SecurityRefusedError) as caught:
        talk.run()
    assert caught.value.reason == "too many connections ü"
    assert talk.server_events == [Refused("too many connections ü")]
    assert talk.server.state is ServerState.REFUSED
    talk.server.receive_data(b"more")
    assert talk.server.trailing_data == b""


def test_a_server_without_any_type_refuses_everybody(rfb):
    with pytest.raises(SecurityRefusedError, match="no security type"):
        rfb(ServerOptions(())).run()


@pytest.mark.parametrize(("version", "has_reason"), [(3, False), (7, False), (8, True)])
def test_a_verdict_is_a_result_and_in_3_8_a_reason(version, has_reason):
    machine = server(VNC)
    told(machine, ProtocolVersion(3, version).pack() + (b"\x02" if version > 3 else b"") + bytes(16))
    machine.data_to_send()
    assert machine.state is ServerState.EXPECT_VERDICT
    machine.refuse("no")
    assert machine.data_to_send() == FAILED + (pack_u32(2) + b"no" if has_reason else b"")


# Pauses


def test_what_comes_before_the_verdict_waits_for_it():
    machine = server(VNC)
    told(machine, b"RFB 003.008\n\x02" + bytes(16) + b"\x01")
    assert machine.next_event() is PAUSED
    assert machine.trailing_data == b"\x01"
    machine.accept()
    assert machine.next_event() == ClientInitReceived(True)
    assert machine.next_event() is PAUSED


def test_what_comes_behind_the_subtype_belongs_to_tls():
    machine = server(VENCRYPT, subtypes=(VencryptSubtype.TLS_NONE,))
    told(machine, b"RFB 003.008\n\x13\x00\x02" + pack_u32(257) + b"\x16\x03\x01hello")
    assert machine.next_event() is PAUSED
    assert machine.take_trailing_data() == b"\x16\x03\x01hello"
    assert machine.trailing_data == b""
    machine.tls_established()
    machine.data_to_send()
    assert told(machine, b"\x00") == [SecurityChosen(VENCRYPT, VencryptSubtype.TLS_NONE), ClientInitReceived(False)]


@pytest.mark.parametrize("way", range(25))
def test_calls_at_the_wrong_time_are_our_callers_fault(rfb, way):
    version, types, subtypes = rfb.WAYS[way]
    calls = {
        "tls_established": (lambda machine: machine.tls_established(), {ServerState.EXPECT_TLS}),
        "records_established": (lambda machine: machine.records_established(), {ServerState.EXPECT_RECORDS}),
        "accept": (lambda machine: machine.accept(), {ServerState.EXPECT_VERDICT}),
        "refuse": (lambda machine: machine.refuse("no"), {ServerState.EXPECT_VERDICT, ServerState.EXPECT_VERSION}),
        "start": (lambda machine: machine.start(1, 1, ""), {ServerState.EXPECT_DESKTOP}),
        "send_bell": (lambda machine: machine.send_bell(), {ServerState.ACTIVE}),
    }
    for state in ServerState:
        if state in OVER:
            continue
        talk = rfb.way(version, types, subtypes)
        try:
            talk.run_until(state)
        except AssertionError:
            continue  # no state of this way
        for name, (call, legal) in calls.items():
            if state not in legal:
                with pytest.raises(LocalProtocolError, match=state.value.replace("(", r"\(").replace(")", r"\)")):
                    call(talk.server)
                assert talk.server.state is state, name


def test_a_challenge_has_sixteen_bytes():
    with pytest.raises(LocalProtocolError):
        RfbServerMachine(ServerOptions(), challenge=b"short")


def test_options_that_contradict_each_other_are_refused():
    with pytest.raises(LocalProtocolError):
        ServerOptions((VENCRYPT,))
    with pytest.raises(LocalProtocolError):
        ServerOptions((NONE,), (VencryptSubtype.PLAIN,))
    with pytest.raises(LocalProtocolError):
        ServerOptions((SecurityType.TIGHT,))


# Tables


def test_the_tables_have_all_states_and_nothing_follows_the_end():
    assert set(SERVER_TRANSITIONS) == set(ServerState)
    assert set(CLIENT_TRANSITIONS) == set(ClientState)
    assert all(not SERVER_TRANSITIONS[state] for state in OVER)
    reached = {ServerState.EXPECT_VERSION, *OVER}.union(*SERVER_TRANSITIONS.values())
    assert reached == set(ServerState)


@pytest.mark.parametrize(
    ("machine", "table"),
    [(ServerHandshake, SERVER_TRANSITIONS), (ClientHandshake, CLIENT_TRANSITIONS)],
    ids=["server", "client"],
)
def test_all_moves_of_the_tables_are_made(rfb, monkeypatch, machine, table):
    """Each move that a table allows is made in some dialogue; one that it does not allow would be an AssertionError."""
    made, enter = set(), machine.enter

    def watched(self, state):
        made.add((self.state, state))
        enter(self, state)

    monkeypatch.setattr(machine, "enter", watched)
    for version, types, subtypes in rfb.WAYS:
        for password in ("secret", "wrong"):
            identity = ClientIdentity(version=version, name="user", password=password)
            with suppress(SecurityRefusedError):
                rfb.way(version, types, subtypes, identity=identity).run()
    talk = rfb()
    talk.server.refuse("full")
    with suppress(SecurityRefusedError):
        talk.run()
    ends = {ServerState.ERROR, ClientState.ERROR}
    assert {move for move in made if move[1] not in ends} == {
        (state, after) for state, afters in table.items() for after in afters
    }


# Hostile


HANDSHAKE_STATES = [state for state in ServerState if state not in PAUSED_STATES and state is not ServerState.ACTIVE]


@pytest.mark.parametrize("state", HANDSHAKE_STATES, ids=lambda state: state.name)
@settings(max_examples=60)
@given(data=st.data())
def test_anything_in_any_state_is_an_event_or_our_error(rfb, state, data):
    for way in rfb.WAYS:
        talk = rfb.way(*way)
        try:
            talk.run_until(state)
        except AssertionError:
            continue
        try:
            talk.tell(data.draw(st.binary(max_size=64)))
        except RemoteProtocolError:
            assert talk.server.state is ServerState.ERROR
            assert talk.server.trailing_data == b""
        assert len(talk.server.data_to_send()) < 500


@settings(max_examples=100)
@given(st.data())
def test_a_client_takes_anything_or_raises_our_error(rfb, data):
    way = data.draw(st.sampled_from(rfb.WAYS))
    said = b""
    talk = rfb.way(*way).run()
    said = talk.server_said
    cut = data.draw(st.integers(0, len(said)))
    garbage = data.draw(st.binary(max_size=64))
    machine = RfbClientMachine(talk.client.identity)
    try:
        for byte in rfb.bytewise(said[:cut] + garbage):
            machine.receive_data(byte)
            while not isinstance(event := machine.next_event(), NeedData | Paused):
                match event:
                    case StartTls():
                        machine.tls_established()
                    case ServerKeyReceived():
                        machine.trust_server()
                    case StartRecords():
                        machine.records_established()
    except RemoteProtocolError:
        assert machine.state is ClientState.ERROR
        machine.receive_data(b"more")
        assert machine.trailing_data == b""


@pytest.mark.parametrize("state", ServerState)
def test_a_handshake_buffers_little(state):
    limit = buffer_limit(state)
    if state in OVER:
        assert limit == 0
    elif state is not ServerState.ACTIVE:
        assert limit <= 32 * 1024


def test_a_flood_before_the_verdict_ends_the_connection(rfb):
    talk = rfb.way(Version.RFB_3_8, (VNC,), ()).run_until(ServerState.EXPECT_VERDICT)
    for _ in range(100):
        talk.server.receive_data(bytes(1000))
        assert len(talk.server.trailing_data) <= HANDSHAKE_LIMIT
    talk.server.accept()
    with pytest.raises(RemoteProtocolError, match="that nobody has read"):
        talk.server.next_event()


def test_long_credentials_are_refused_by_their_lengths(rfb):
    talk = rfb.way(Version.RFB_3_8, (VENCRYPT,), (VencryptSubtype.PLAIN,)).run_until(ServerState.EXPECT_CREDENTIALS)
    talk.refused(lambda: talk.tell(pack_u32(1024) + pack_u32(1)), match="1023 are allowed")


def test_credentials_of_full_length_pass(rfb):
    identity = ClientIdentity(name="n" * 1023, password="p" * 1023)
    talk = rfb.way(Version.RFB_3_8, (VENCRYPT,), (VencryptSubtype.PLAIN,), identity=identity)
    talk.run_until(ServerState.EXPECT_VERDICT)
    assert talk.server_events[-1] == CredentialsOffered("n" * 1023, "p" * 1023)


def test_secrets_stay_out_of_what_is_printed(rfb):
    for way in rfb.WAYS:
        talk = rfb.way(*way, identity=ClientIdentity(version=way[0], name="user", password="secret"))
        talk.run()
        shown = repr([talk.server_events, talk.client_events, talk.client.identity])
        assert "secret" not in shown
        assert repr(CHALLENGE) not in shown


def test_an_end_by_the_owner_is_the_end(rfb):
    for state in (ServerState.EXPECT_VERSION, ServerState.EXPECT_CLIENT_INIT, ServerState.ACTIVE):
        talk = rfb().run_until(state)
        talk.server.close()
        talk.server.close()
        assert talk.server.state is ServerState.CLOSED
        assert talk.server.next_event() is PAUSED
        talk.server.receive_data(b"more")
        assert talk.server.trailing_data == b""
        talk.server.send_bell()  # dropped: whoever rings may not know yet
