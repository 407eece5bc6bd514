"""The messages of RSA-AES, and the layer that makes them a stream. What leads to them is in tests/protocol/rfb."""

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from rdpprov.errors import LocalProtocolError
from rdpprov.security.aes_eax import AuthenticationError
from rdpprov.security.ra2 import (
    MESSAGE_SIZE,
    Ra2Cipher,
    Ra2Exchange,
    Ra2Secrets,
    RecordLayer,
    fingerprint,
)
from rdpprov.wire.base import DecodeError
from rdpprov.wire.rfb.handshake import SecurityType
from rdpprov.wire.rfb.rsa_aes import MAX_MESSAGE, RsaPublicKey

KEY = bytes(range(16))
OTHER = bytes(range(16, 32))


def ends():
    """Two that understand each other."""
    return Ra2Cipher(KEY, OTHER), Ra2Cipher(OTHER, KEY)


def layers():
    return [RecordLayer(cipher) for cipher in ends()]


def test_messages_are_numbered_little_endian_and_have_their_length_before_them():
    cipher, _ = ends()
    assert cipher.seal(b"abc").hex() == "0003" + "19fe25" + "dfd72b6a69c2e5120803b31c9eeed136"
    assert cipher.seal(b"abc").hex() == "0003" + "8166f3" + "dc02af2879f3db7d83a4d24151a9f41c"


@given(st.lists(st.binary(max_size=100), max_size=5), st.lists(st.binary(max_size=100), max_size=5))
def test_both_directions_are_understood_however_they_mix(ours, theirs):
    one, other = ends()
    assert [other.open(one.seal(said)) for said in ours] == ours
    assert [one.open(other.seal(said)) for said in theirs] == theirs


def test_a_message_again_left_out_swapped_or_sent_back_is_refused():
    one, _ = ends()
    first, second = one.seal(b"first"), one.seal(b"second")
    for before, message in (([first], first), ([], second), ([first, second], first)):
        _, reader = ends()
        for one_before in before:
            reader.open(one_before)
        with pytest.raises(AuthenticationError):
            reader.open(message)
    with pytest.raises(AuthenticationError):
        one.open(first)


def test_a_length_that_was_changed_is_refused():
    one, other = ends()
    message = bytearray(one.seal(b"abc"))
    message[1] = 2
    del message[2]
    with pytest.raises(AuthenticationError):
        other.open(bytes(message))


# The layer


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=3 * MESSAGE_SIZE), max_size=4), st.data())
def test_the_layer_gives_the_bytes_that_it_took_however_they_are_cut(said, data):
    one, other = layers()
    records = b"".join(one.encrypt(part) for part in said)
    heard = b""
    while records:
        cut = data.draw(st.integers(1, len(records)))
        other.receive_records(records[:cut])
        records = records[cut:]
        heard += other.decrypt() or b""
    assert heard == b"".join(said)
    assert other.decrypt() is None


def test_what_is_sent_is_cut_into_messages_as_others_do():
    one, other = ends()
    data = bytes(range(256)) * 65
    records = RecordLayer(one).encrypt(data)
    assert len(records) == len(data) + 3 * 18
    sizes = [MESSAGE_SIZE, MESSAGE_SIZE, 256]
    for size in sizes:
        assert records[:2] == size.to_bytes(2, "big")
        assert other.open(records[: size + 18]) == data[:size]
        data, records = data[size:], records[size + 18 :]


def test_the_longest_message_is_taken_and_an_empty_one_is_not():
    cipher, _ = ends()
    _, layer = layers()
    layer.receive_records(cipher.seal(bytes(MAX_MESSAGE)))
    assert layer.decrypt() == bytes(MAX_MESSAGE)
    layer.receive_records(cipher.seal(b""))
    with pytest.raises(DecodeError, match="an encrypted message of 0 bytes, expected 1 to 65535"):
        layer.decrypt()


def test_nothing_is_kept_beyond_an_incomplete_message():
    cipher, _ = ends()
    _, layer = layers()
    layer.receive_records(cipher.seal(bytes(1000)) + b"\xff")
    assert layer.decrypt() == bytes(1000)
    layer.receive_records(b"\xff" + bytes(10))
    assert layer.decrypt() is None
    assert len(layer._received) == 12


def test_a_broken_message_ends_the_layer():
    one, other = layers()
    records = bytearray(one.encrypt(b"a key") + one.encrypt(b"another"))
    records[-1] ^= 1
    other.receive_records(bytes(records))
    with pytest.raises(AuthenticationError):
        other.decrypt()


def test_it_has_no_goodbye():
    assert layers()[0].close() == b""


# Keys


def test_a_fingerprint_is_what_viewers_show():
    key = RsaPublicKey(1 << 2047 | 1, 65537)
    data = b"\0\0\x08\0" + b"\x80" + bytes(254) + b"\1" + bytes(253) + b"\1\0\1"
    assert fingerprint(key) == "-".join(f"{byte:02x}" for byte in hashlib.sha1(data).digest()[:8])


@pytest.fixture(scope="module")
def private_keys():
    return [rsa.generate_private_key(public_exponent=65537, key_size=size) for size in (1024, 1536)]


@pytest.mark.parametrize("kind", [kind for kind in SecurityType if kind.rsa_aes])
def test_two_ends_agree_and_others_do_not(private_keys, kind):
    ours, theirs = (
        Ra2Exchange(kind, Ra2Secrets(key, name * 32, bytes(32)))
        for key, name in zip(private_keys, (b"s", b"c"), strict=True)
    )
    for_them, for_us = ours.take_key(theirs.public_key), theirs.take_key(ours.public_key)
    assert (len(for_them), len(for_us)) == (192, 128)
    one, other = ours.take_random(for_us), theirs.take_random(for_them)
    assert other.open(one.seal(b"hello")) == b"hello"
    assert one.open(other.seal(b"world")) == b"world"
    assert len(ours.own_hash) == ours.hash_size
    theirs.check_hash(ours.own_hash)
    ours.check_hash(theirs.own_hash)
    with pytest.raises(AuthenticationError):
        ours.check_hash(ours.own_hash)


def test_a_key_that_encrypts_nothing_is_refused(private_keys):
    """A modulus that anybody can make up. OpenSSL may take it; then the exchange ends at the next message."""
    exchange = Ra2Exchange(SecurityType.RA2, Ra2Secrets(private_keys[0], bytes(32), bytes(32)))
    with pytest.raises(AuthenticationError, match="nothing can be encrypted"):
        exchange.take_key(RsaPublicKey(1 << 1023, 65537))


def test_random_numbers_have_their_size(private_keys):
    with pytest.raises(LocalProtocolError):
        Ra2Secrets(private_keys[0], bytes(31), bytes(32))


def test_secrets_do_not_show_in_what_is_printed(private_keys):
    assert "s" * 10 not in repr(Ra2Secrets(private_keys[0], b"s" * 32, b"d" * 32))
