"""Vectors of the paper's appendix, and of Project Wycheproof (aes_eax_test.json) where the paper has none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.security.aes_eax import TAG_SIZE, AesEax, AuthenticationError

# key, nonce, header, message, ciphertext with its tag
PAPER = """
233952dee4d5ed5f9b9c6d6ff80ff478 62ec67f9c3a4a407fcb2a8c49031a8b3 6bfb914fd07eae6b - e037830e8389f27b025a2d6527e79d01
91945d3f4dcbee0bf45ef52255f095a4 becaf043b0a23d843194ba972c66debd fa3bfd4806eb53fa f7fb
    19dd5c4c9331049d0bdab0277408f67967e5
01f74ad64077f2e704c0f60ada3dd523 70c3db4f0d26368400a10ed05d2bff5e 234a3463c1264ac6 1a47cb4933
    d851d5bae03a59f238a23e39199dc9266626c40f80
d07cf6cbb7f313bdde66b727afd3c5e8 8408dfff3c1a2b1292dc199e46b7d617 33cce2eabff5a79d 481c9e39b1
    632a9d131ad4c168a4225d8e1ff755939974a7bede
35b6d0580005bbc12b0587124557d2c2 fdb6b06676eedc5c61d74276e1f8e816 aeb96eaebe2970e9 40d0c07da5e4
    071dfe16c675cb0677e536f73afe6a14b74ee49844dd
bd8e6e11475e60b268784c38c62feb22 6eac5c93072d8e8513f750935e46da1b d4482d1ca78dce0f 4de3b35c3fc039245bd1fb7d
    835bb4f15d743e350e728414abb8644fd6ccb86947c5e10590210a4f
7c77d6e813bed5ac98baa417477a2e7d 1a8c98dcd73d38393b2bf1569deefc19 65d2017990d62528
    8b0a79306c9ce7ed99dae4f87f8dd61636 02083e3979da014812f59f11d52630da30137327d10649b0aa6e1c181db617d7f2
5fff20cafab119ca2fc73549e20f5b0d dde59b97d722156d4d9aff2bc7559826 54b9f04e6a09189a
    1bda122bce8a8dbaf1877d962b8592dd2d56 2ec47b2c4954a489afc7ba4897edcdae8cc33b60450599bd02c96382902aef7f832a
a4a4782bcffd3ec5e7ef6d8c34a56123 b781fcf2f75fa5a8de97a9ca48e522ec 899a175897561d7e
    6cf36720872b8513f6eab1a8a44438d5ef11 0de18fd0fdd91e7af19f1d8ee8733938b1e8e7f6d2231618102fdb7fe55ff1991700
8395fcf1e95bebd697bd010bc766aac3 22e7add93cfc6393c57ec0b3c17d6b44 126735fcc320d25a
    ca40d7446e545ffaed3bd12a740a659ffbbb3ceab7
    cb8920f87a6c75cff39627b56e3ed197c552d295a7cfc46afc253b4652b1af3795b124ab6e
"""

WYCHEPROOF = """
000102030405060708090a0b0c0d0e0f 3c8cc2970a008f75cc5beae2847258c2 -
    0000000000000000000000000000000011111111111111111111111111111111
    3c441f32ce07822364d7a2990e50bb13d7b02a26969e4a937e5e9073b0d9c968db90bdb3da3d00afd0fc6a83551da95e
000102030405060708090a0b0c0d0e0f aef03d00598494e9fb03cd7d8b590866 -
    0000000000000000000000000000000011111111111111111111111111111111
    d19ac59849026a91aa1b9aec29b11a202a4d739fd86c28e3ae3d588ea21d70c6c30f6cd9202074ed6e2a2a360eac8c47
2e4492d444e5b6f4cec8c2d3615ac858 d02bf0763a9fefbf70c33aee1e9da1d6 904d86f133cec15a0c3caf14d7e029c82a07705a23f0d080
    9e62d6511b0bda7dd7740b614d97bae0 27c6e9a653c5253ca1c5673f97b9b33e2d581271e1fa9e3686136caa8f4d6c8e
1739fd2876258457e3e4c323dbabd85edda8ecad83a7496d8feb0b88aeab2e74 989f015e6ab79d5e43eca8364a38c9f6b381dda1 -
    d1b13ceacedad362851dc876d8b1dd20 5cceb0253bcbd6800d3b316af3a5693715186910a0f2a2bc41d32e7fe687f17c
aa5429fd3f178b3885f2c696975e88890102455b5d9e42766429e80d4889672a
    e1ed38af5753851b79175e4ae11fd6cf80033f81aec484ecd0448c5e7cc0a27e -
    7aa8919ebb950f34690acb98651854cb 1a288496f909036b35f3604b3ecd349362eb49550cbee8c3cf88302c826690a2
000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f 505152535455565758595a5b5c5d5e5f -
    202122232425262728292a2b2c2d2e2f 059e01599f94b38f2435b47a0c7b5c59e876fdd461c0a0a49971db8d9678acb8
"""

# The last of them, with tags that are wrong: one bit, all bits, none set, all set, the highest of each byte.
WRONG_TAGS = [
    "e876fdd461c0a0a49971db8d9678acb9",
    "e876fdd461c0a0a49971db8d9678ac38",
    "e976fdd461c0a0a49871db8d9678acb8",
    "1789022b9e3f5f5b668e247269875347",
    "00000000000000000000000000000000",
    "ffffffffffffffffffffffffffffffff",
    "68f67d54e140202419f15b0d16f82c38",
]


def vectors(text):
    words = [bytes.fromhex(word.strip("-")) for word in text.split()]
    return [words[at : at + 5] for at in range(0, len(words), 5)]


def test_all_vectors_are_read():
    assert (len(vectors(PAPER)), len(vectors(WYCHEPROOF))) == (10, 6)


@pytest.mark.parametrize(("key", "nonce", "header", "message", "encrypted"), vectors(PAPER + WYCHEPROOF))
def test_published_vectors_encrypt_and_decrypt(key, nonce, header, message, encrypted):
    assert AesEax(key).encrypt(nonce, header, message) == encrypted
    assert AesEax(key).decrypt(nonce, header, encrypted) == message


@pytest.mark.parametrize("tag", WRONG_TAGS)
def test_published_wrong_tags_are_refused(tag):
    key, nonce, header, _, encrypted = vectors(WYCHEPROOF)[-1]
    with pytest.raises(AuthenticationError):
        AesEax(key).decrypt(nonce, header, encrypted[:-TAG_SIZE] + bytes.fromhex(tag))


keys = st.sampled_from([16, 24, 32]).flatmap(lambda size: st.binary(min_size=size, max_size=size))
few = st.binary(max_size=40)


@given(keys, few, few, st.binary(max_size=100))
def test_what_is_encrypted_is_decrypted_from_bytes_and_from_views(key, nonce, header, message):
    eax = AesEax(key)
    encrypted = eax.encrypt(nonce, header, memoryview(message))
    assert encrypted == eax.encrypt(nonce, header, message)
    assert len(encrypted) == len(message) + TAG_SIZE
    assert eax.decrypt(nonce, header, memoryview(encrypted)) == eax.decrypt(nonce, header, encrypted) == message


@given(keys, few, few, st.binary(max_size=40), st.data())
def test_a_changed_bit_anywhere_is_refused(key, nonce, header, message, data):
    eax = AesEax(key)
    parts = [nonce, header, eax.encrypt(nonce, header, message)]
    which = data.draw(st.sampled_from([at for at, part in enumerate(parts) if part]))
    changed = bytearray(parts[which])
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    parts[which] = bytes(changed)
    with pytest.raises(AuthenticationError):
        eax.decrypt(*parts)


@given(st.binary(max_size=TAG_SIZE - 1))
def test_what_has_no_tag_is_refused(data):
    with pytest.raises(AuthenticationError, match="expected a tag of 16"):
        AesEax(bytes(16)).decrypt(b"", b"", data)
