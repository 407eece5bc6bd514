import pytest
from construct import Bytes, BytesInteger, GreedyBytes, Int8ub, Int16ub, Int32ub, Prefixed, Struct, this
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.errors import LocalProtocolError
from rdpprov.wire.base import DecodeError
from rdpprov.wire.rfb.rsa_aes import (
    MAX_EXPONENT,
    MAX_KEY_BITS,
    MAX_MESSAGE,
    MIN_KEY_BITS,
    Ra2Credentials,
    RsaPublicKey,
    encrypted_random_size,
    message_size,
    pack_encrypted_random,
    pack_message_length,
    unpack_encrypted_random,
)

PUBLIC_KEY = Struct(
    "bits" / Int32ub,
    "modulus" / BytesInteger((this.bits + 7) // 8),
    "exponent" / BytesInteger((this.bits + 7) // 8),
)
CREDENTIALS = Struct("name" / Prefixed(Int8ub, GreedyBytes), "password" / Prefixed(Int8ub, GreedyBytes))
RANDOM = Struct("size" / Int16ub, "encrypted" / Bytes(this.size))

moduli = st.integers(MIN_KEY_BITS, MAX_KEY_BITS).flatmap(
    lambda bits: st.integers(0, 2 ** (bits - 1) - 1).map(lambda low: 1 << bits - 1 | low | 1)
)
keys = st.builds(RsaPublicKey, moduli, st.integers(65537 // 2, MAX_EXPONENT // 2).map(lambda half: 2 * half + 1))
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60)
credentials = st.builds(Ra2Credentials, texts, texts)
structures = st.one_of(keys, credentials)


@given(structures, st.binary(max_size=5))
def test_every_structure_round_trips(structure, rest):
    assert type(structure).unpack(structure.pack() + rest) == (structure, rest)


@given(structures, st.data())
def test_a_structure_that_is_cut_off_is_refused(structure, data):
    packed = structure.pack()
    with pytest.raises(DecodeError):
        type(structure).unpack(packed[: data.draw(st.integers(0, len(packed) - 1))])


@given(keys, st.integers(0, 3000))
def test_the_size_of_a_key_is_known_from_its_first_four_bytes(key, cut):
    packed = key.pack()
    assert RsaPublicKey.size(packed[:cut]) == (len(packed) if cut >= 4 else None)


@given(keys)
def test_a_key_is_what_its_definition_says(key):
    parsed = PUBLIC_KEY.parse(key.pack())
    assert (parsed.bits, parsed.modulus, parsed.exponent) == (key.modulus.bit_length(), key.modulus, key.exponent)
    assert len(key.pack()) == 4 + 2 * key.size_in_bytes


@given(credentials)
def test_credentials_are_what_their_definition_says(proof):
    parsed = CREDENTIALS.parse(proof.pack())
    assert (parsed.name, parsed.password) == (proof.name.encode(), proof.password.encode())
    assert Ra2Credentials.MIN_SIZE <= len(proof.pack()) <= Ra2Credentials.MAX_SIZE


@given(st.binary(max_size=700))
def test_any_credentials_parse_or_are_refused_and_fit_their_fields(data):
    try:
        proof, _ = Ra2Credentials.unpack(data)
    except DecodeError:
        return
    assert "\0" not in proof.name + proof.password
    assert len(proof.pack()) <= Ra2Credentials.MAX_SIZE


def test_longer_credentials_cannot_be_made():
    with pytest.raises(LocalProtocolError):
        Ra2Credentials("é" * 128, "")


@pytest.mark.parametrize("bits", [0, 1, 512, 1023, 8193, 65536, 2**31, 2**32 - 1])
def test_a_key_of_another_size_is_refused_by_its_first_four_bytes(bits):
    with pytest.raises(DecodeError, match="1024 to 8192 are allowed"):
        RsaPublicKey.size(bits.to_bytes(4, "big"))
    with pytest.raises(DecodeError):
        RsaPublicKey.unpack(bits.to_bytes(4, "big") + bytes(100))


GOOD = 1 << 2047 | 1


@pytest.mark.parametrize(
    ("bits", "modulus", "exponent"),
    [
        (2048, GOOD, 0),
        (2048, GOOD, 1),
        (2048, GOOD, 3),
        (2048, GOOD, 65535),
        (2048, GOOD, 65538),
        (2048, GOOD, MAX_EXPONENT + 2),
        (2048, GOOD, GOOD - 2),
        (2048, 0, 65537),
        (2048, 1, 65537),
        (2048, GOOD >> 1 | 1, 65537),  # a bit less than it says
        (2047, GOOD, 65537),  # a bit more, which has room in its bytes
        (2048, GOOD + 1, 65537),
    ],
)
def test_a_key_that_nobody_should_encrypt_by_is_refused(bits, modulus, exponent):
    data = bits.to_bytes(4, "big") + modulus.to_bytes(256, "big") + exponent.to_bytes(256, "big")
    with pytest.raises(DecodeError, match="RSA public key"):
        RsaPublicKey.unpack(data)


@given(st.binary(min_size=1, max_size=1024), st.binary(max_size=5))
def test_an_encrypted_random_number_has_the_length_of_the_key(encrypted, rest):
    packed = pack_encrypted_random(encrypted)
    assert RANDOM.parse(packed).encrypted == encrypted
    assert encrypted_random_size(packed[:1], len(encrypted)) is None
    assert encrypted_random_size(packed[:2], len(encrypted)) == len(packed)
    assert unpack_encrypted_random(packed + rest, len(encrypted)) == (encrypted, rest)
    for other in (len(encrypted) - 1, len(encrypted) + 1):
        with pytest.raises(DecodeError, match=f"expected {other}"):
            encrypted_random_size(packed, other)
    with pytest.raises(DecodeError):
        unpack_encrypted_random(packed[:-1], len(encrypted))


@given(st.integers(0, MAX_MESSAGE), st.binary(max_size=5))
def test_a_message_has_its_length_before_it_and_its_tag_behind(size, before):
    data = before + pack_message_length(size)
    assert message_size(data, len(before)) == 2 + size + 16
    assert message_size(data[:-1], len(before)) is None
    with pytest.raises(DecodeError):
        message_size(data, len(before), least=size + 1)
    if size:
        with pytest.raises(DecodeError):
            message_size(data, len(before), most=size - 1)
