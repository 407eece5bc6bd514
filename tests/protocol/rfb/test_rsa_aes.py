"""RSA-AES: the keys, the messages, and what of them nobody can get away with."""

import hashlib

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import given, settings
from hypothesis import strategies as st

from rdpprov.errors import LocalProtocolError, RemoteProtocolError
from rdpprov.protocol.events import NEED_DATA, PAUSED
from rdpprov.protocol.rfb.client import RfbClientMachine
from rdpprov.protocol.rfb.events import (
    ClientInitReceived,
    CredentialsOffered,
    SecurityChosen,
    ServerKeyReceived,
    StartRecords,
)
from rdpprov.protocol.rfb.framing import HANDSHAKE_LIMIT
from rdpprov.protocol.rfb.handshake import ClientIdentity, SecurityRefusedError, ServerState
from rdpprov.protocol.rfb.server import RfbServerMachine, ServerOptions
from rdpprov.security.aes_eax import AuthenticationError
from rdpprov.security.ra2 import Ra2Cipher, Ra2Exchange, public_key_of
from rdpprov.wire.rfb.handshake import SecurityType, pack_u32
from rdpprov.wire.rfb.rsa_aes import Ra2Credentials, Ra2Subtype, RsaPublicKey, pack_encrypted_random

RA2, RA2NE = SecurityType.RA2, SecurityType.RA2NE
TYPES = [kind for kind in SecurityType if kind.rsa_aes]
CHALLENGE = bytes(16)


class Viewer:
    """A client that is led through the exchange step by step, and may then say what no client should."""

    def __init__(self, rfb, kind=RA2NE, **options):
        self.secrets = rfb.secrets_of("client")
        options = ServerOptions((kind,), **options)
        self.server = RfbServerMachine(options, challenge=CHALLENGE, ra2=rfb.secrets_of("server"))
        self.kind = kind
        self.exchange = Ra2Exchange(kind, self.secrets)
        self.server.data_to_send()
        assert self.say(b"RFB 003.008\n") == []
        assert self.heard() == bytes((1, kind))
        assert self.say(bytes((kind,))) == [SecurityChosen(kind)]
        self.server_key, rest = RsaPublicKey.unpack(self.heard())
        assert rest == b""

    def say(self, data):
        """Tell the server; its events."""
        self.server.receive_data(data)
        events = []
        while (event := self.server.next_event()) is not NEED_DATA and event is not PAUSED:
            events.append(event)
        return events

    def heard(self):
        """What the server has said meanwhile."""
        return self.server.data_to_send()

    def give_key(self):
        self.own_random = pack_encrypted_random(self.exchange.take_key(self.server_key))
        assert self.say(self.exchange.public_key.pack()) == []
        self.encrypted = self.heard()
        assert len(self.encrypted) == 2 + self.exchange.public_key.size_in_bytes
        return self

    def give_random(self):
        self.give_key()
        assert self.say(self.own_random) == []
        self.cipher = self.exchange.take_random(self.encrypted[2:])
        self.server_hash = self.cipher.open(self.heard())
        self.exchange.check_hash(self.server_hash)
        return self

    def give_hash(self):
        self.give_random()
        assert self.say(self.cipher.seal(self.exchange.own_hash)) == []
        self.subtype = self.cipher.open(self.heard())
        return self

    def is_refused(self, data, match, kind=RemoteProtocolError):
        """What is said ends the connection without a word."""
        with pytest.raises(kind, match=match):
            self.say(data)
        assert self.server.state is ServerState.ERROR
        assert self.heard() == b""
        assert self.server.trailing_data == b""


# The whole of it


@pytest.mark.parametrize("kind", TYPES)
def test_both_sides_tell_the_same_story(rfb, kind):
    for cut in (rfb.whole, rfb.bytewise):
        talk = rfb.way(8, (kind,), ())
        talk.cut = cut
        talk.run()
        offered = CredentialsOffered("user", "secret")
        ours = [event for event in talk.server_events if not isinstance(event, StartRecords)]
        assert ours == [SecurityChosen(kind), offered, ClientInitReceived(True)]
        assert any(isinstance(event, StartRecords) for event in talk.server_events) is kind.encrypts_session
        assert any(isinstance(event, StartRecords) for event in talk.client_events) is kind.encrypts_session
        assert ServerKeyReceived(public_key_of(rfb.secrets_of("server").key)) in talk.client_events
        assert b"secret" not in talk.client_said


@pytest.mark.parametrize("subtype", Ra2Subtype)
def test_a_server_asks_for_an_account_or_only_for_a_password(rfb, subtype):
    viewer = Viewer(rfb, ra2_subtype=subtype).give_hash()
    assert viewer.subtype == bytes((subtype,))
    name = "user" if subtype is Ra2Subtype.USER_AND_PASSWORD else ""
    assert viewer.say(viewer.cipher.seal(Ra2Credentials(name, "pw").pack())) == [CredentialsOffered(name, "pw")]
    machine = RfbClientMachine(ClientIdentity((RA2NE,), name="user", password="pw", ra2=rfb.secrets_of("client")))
    talk = rfb(ServerOptions((RA2NE,), ra2_subtype=subtype), machine.identity)
    talk._judge = lambda event: talk.server.accept()
    talk.run()
    assert CredentialsOffered(name, "pw") in talk.server_events


@pytest.mark.parametrize("kind", [RA2NE, SecurityType.RA2NE_256])
def test_the_bytes_are_those_that_the_text_says(rfb, kind):
    """With nothing of ours but AES in EAX mode: what an implementation of somebody else's computes."""
    viewer = Viewer(rfb, kind)
    bits, modulus, exponent = 1024, viewer.server_key.modulus, viewer.server_key.exponent
    server_public = pack_u32(bits) + modulus.to_bytes(128, "big") + exponent.to_bytes(128, "big")
    client_public = viewer.exchange.public_key.pack()
    viewer.give_random()
    size, digest = (32, hashlib.sha256) if kind.has_256_bits else (16, hashlib.sha1)
    server_random = viewer.secrets.key.decrypt(viewer.encrypted[2:], padding.PKCS1v15())
    client_random = rfb.secrets_of("server").key.decrypt(viewer.own_random[2:], padding.PKCS1v15())
    assert len(server_random) == len(client_random) == size
    keys = digest(server_random + client_random).digest()[:size], digest(client_random + server_random).digest()[:size]
    cipher = Ra2Cipher(*keys)
    assert viewer.server_hash == digest(server_public + client_public).digest()
    assert viewer.say(cipher.seal(digest(client_public + server_public).digest())) == []
    assert viewer.say(cipher.seal(b"\4user\2pw")) == [CredentialsOffered("user", "pw")]
    viewer.heard()
    viewer.server.accept()
    assert viewer.heard() == pack_u32(0)  # in clear


def test_what_follows_the_credentials_belongs_to_the_layer(rfb):
    viewer = Viewer(rfb, RA2).give_hash()
    credentials, more = viewer.cipher.seal(b"\1u\1p"), viewer.cipher.seal(b"\1")
    [started] = viewer.say(credentials + more)
    assert viewer.server.state is ServerState.EXPECT_RECORDS
    assert viewer.server.take_trailing_data() == more
    assert started.cipher.open(more) == b"\1"
    viewer.server.records_established()
    assert viewer.server.next_event() == CredentialsOffered("u", "p")
    viewer.server.accept()
    viewer.heard()
    assert viewer.say(b"\1") == [ClientInitReceived(True)]


def test_a_client_says_nothing_before_its_owner_trusts_the_server(rfb):
    talk = rfb.way(8, (RA2,), ())
    talk.client.trust_server = lambda: None
    talk.run()
    assert talk.client_events[-1] == ServerKeyReceived(public_key_of(rfb.secrets_of("server").key))
    assert talk.client_said == b"RFB 003.008\n\5"
    assert talk.client.next_event() is PAUSED


@pytest.mark.parametrize("call", ["trust_server", "records_established", "tls_established"])
def test_a_client_s_calls_at_the_wrong_time_are_our_callers_fault(rfb, call):
    with pytest.raises(LocalProtocolError, match=call):
        getattr(RfbClientMachine(ClientIdentity()), call)()


def test_without_a_key_it_cannot_be_offered_nor_asked_for(rfb):
    with pytest.raises(LocalProtocolError):
        RfbServerMachine(ServerOptions((RA2,)), challenge=CHALLENGE)
    with pytest.raises(LocalProtocolError):
        ClientIdentity((RA2,))


# Hostile


@pytest.mark.parametrize("bits", [0, 1023, 8193, 2**32 - 1])
def test_a_key_of_an_odd_size_is_refused_before_it_is_there(rfb, bits):
    Viewer(rfb).is_refused(pack_u32(bits), "1024 to 8192 are allowed")


@pytest.mark.parametrize("exponent", [1, 3, 65536, 2**64 + 1])
def test_a_key_with_such_an_exponent_is_refused(rfb, exponent):
    viewer = Viewer(rfb)
    key = attrs.evolve(viewer.exchange.public_key, exponent=exponent)
    viewer.is_refused(key.pack(), "small, huge or even")


def test_the_server_s_own_key_is_refused(rfb):
    """Whoever sends back all that the server says would else pass for somebody who knows the keys."""
    viewer = Viewer(rfb)
    viewer.is_refused(viewer.server_key.pack(), "our own", AuthenticationError)


@pytest.mark.parametrize("size", [0, 127, 129, 65535])
def test_a_random_number_of_another_length_is_refused_before_it_is_there(rfb, size):
    Viewer(rfb).give_key().is_refused(size.to_bytes(2, "big"), f"{size} bytes, expected 128")


@pytest.mark.parametrize("encrypted", [bytes(128), b"\xff" * 128, b"\1" * 128])
def test_nobody_learns_what_cannot_be_decrypted(rfb, encrypted):
    """The answer is the same as to a good one, and so is what ends it."""
    viewer = Viewer(rfb).give_key()
    assert viewer.say(pack_encrypted_random(encrypted)) == []
    assert len(viewer.heard()) == 2 + 20 + 16
    viewer.is_refused(pack_encrypted_random(bytes(20)) + bytes(16), "tag", AuthenticationError)


def test_a_random_number_of_another_size_inside_is_as_one_that_cannot_be_decrypted(rfb):
    viewer = Viewer(rfb).give_key()
    public_key = rfb.secrets_of("server").key.public_key()
    viewer.say(pack_encrypted_random(public_key.encrypt(bytes(15), padding.PKCS1v15())))
    assert len(viewer.heard()) == 2 + 20 + 16
    viewer.is_refused(pack_encrypted_random(bytes(20)) + bytes(16), "tag", AuthenticationError)


@pytest.mark.parametrize("size", [0, 19, 21, 32, 65535])
def test_a_hash_of_another_length_is_refused_before_it_is_there(rfb, size):
    Viewer(rfb).give_random().is_refused(size.to_bytes(2, "big"), f"{size} bytes, expected 20")


def test_the_hash_of_other_keys_is_refused(rfb):
    viewer = Viewer(rfb).give_random()
    viewer.is_refused(viewer.cipher.seal(bytes(20)), "hash of both RSA keys", AuthenticationError)


def test_the_server_s_own_hash_is_refused(rfb):
    viewer = Viewer(rfb).give_random()
    viewer.is_refused(viewer.cipher.seal(viewer.server_hash), "hash of both RSA keys", AuthenticationError)


@pytest.mark.parametrize("size", [0, 1, 513, 65535])
def test_credentials_of_an_impossible_length_are_refused_before_they_are_there(rfb, size):
    Viewer(rfb).give_hash().is_refused(size.to_bytes(2, "big"), f"{size} bytes, expected 2 to 512")


@pytest.mark.parametrize("data", [b"\xff\0", b"\2us", b"\1u\1p!", b"\0\2p"])
def test_credentials_whose_lengths_do_not_fit_are_refused(rfb, data):
    viewer = Viewer(rfb).give_hash()
    viewer.is_refused(viewer.cipher.seal(data), "RSA-AES credentials")


def test_a_message_that_was_said_before_is_refused(rfb):
    viewer = Viewer(rfb).give_random()
    said = viewer.cipher.seal(viewer.exchange.own_hash)
    assert viewer.say(said) == []
    viewer.heard()
    viewer.is_refused(said, "tag", AuthenticationError)


def test_what_another_connection_said_is_refused(rfb):
    """Even to the same server, which had the same random number: the client's differs."""
    viewer = Viewer(rfb).give_random()
    said = viewer.cipher.seal(viewer.exchange.own_hash)
    other = Viewer(rfb)
    other.secrets = attrs.evolve(other.secrets, random=b"another".ljust(32))
    other.exchange = Ra2Exchange(RA2NE, other.secrets)
    other.give_random().is_refused(said, "tag", AuthenticationError)


@settings(max_examples=60)
@given(data=st.data())
def test_one_changed_bit_ends_it(rfb, data):
    viewer = Viewer(rfb).give_hash()
    said = bytearray(viewer.cipher.seal(b"\1u\1p"))
    said[data.draw(st.integers(2, len(said) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    viewer.is_refused(bytes(said), "tag", AuthenticationError)


@pytest.mark.parametrize("step", ["give_key", "give_random", "give_hash"])
def test_half_a_message_waits_and_a_flood_is_refused(rfb, step):
    viewer = getattr(Viewer(rfb), step)()
    first = {"give_key": b"\0\x80", "give_random": b"\0\x14", "give_hash": b"\2\0"}[step]
    assert viewer.say(first + b"!") == []
    assert len(viewer.server.trailing_data) == 3
    with pytest.raises(RemoteProtocolError):
        viewer.say(bytes(HANDSHAKE_LIMIT + 1))
    assert viewer.server.trailing_data == b""


def test_a_server_that_asks_for_something_else_is_refused(rfb):
    options = ServerOptions((RA2,))
    object.__setattr__(options, "ra2_subtype", 3)
    identity = ClientIdentity((RA2,), ra2=rfb.secrets_of("client"))
    with pytest.raises(RemoteProtocolError, match="subtype 3 of RSA-AES"):
        rfb(options, identity).run()


@pytest.mark.parametrize("kind", [RA2, RA2NE])
def test_a_refusal_comes_with_its_reason(rfb, kind):
    identity = ClientIdentity(name="user", password="wrong")
    with pytest.raises(SecurityRefusedError) as caught:
        rfb.way(8, (kind,), (), identity=identity).run()
    assert caught.value.reason == "wrong password"
