import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.security.md4 import md4, nt_hash


@pytest.mark.parametrize(
    ("message", "digest"),
    [
        (b"", "31d6cfe0d16ae931b73c59d7e0c089c0"),
        (b"a", "bde52cb31de33e46245e05fbdbd6fb24"),
        (b"abc", "a448017aaf21d8525fc10ae87aa6729d"),
        (b"message digest", "d9130a8164549fe818874806e1c7014b"),
        (b"abcdefghijklmnopqrstuvwxyz", "d79e1c308aa5bbcdeea8ed63df412da9"),
        (b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", "043f8582f241db351ce627e153e7f0e4"),
        (b"1234567890" * 8, "e33b4ddc9c38f2199c3e7b164fcc0536"),
    ],
)
def test_md4_agrees_with_the_test_suite_of_rfc_1320(message, digest):
    assert md4(message).hex() == digest


def test_nt_hash_agrees_with_the_samples_of_ms_nlmp():
    assert nt_hash("Password").hex() == "a4f49c406510bdcab6824ee7c30fd852"  # [MS-NLMP] 4.2.4.1.1
    assert nt_hash("").hex() == "31d6cfe0d16ae931b73c59d7e0c089c0"


@given(st.binary(max_size=300))
def test_md4_takes_any_length_and_gives_sixteen_bytes(message):
    # Around 55, 56, 63 and 64 bytes the padding needs a block of its own.
    assert len(md4(message)) == 16
    assert md4(message) != md4(message + b"\0")


@given(st.text(alphabet=st.characters(), max_size=40))
def test_nt_hash_takes_any_text_even_lone_surrogates(password):
    assert len(nt_hash(password)) == 16
