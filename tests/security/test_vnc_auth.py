import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.errors import LocalProtocolError
from rdpprov.security.vnc_auth import (
    check_vnc_response,
    read_stored_vnc_password,
    store_vnc_password,
    vnc_response,
)

CHALLENGE = bytes(range(16))
passwords = st.binary(min_size=1, max_size=8).filter(lambda password: b"\0" not in password)


@pytest.mark.parametrize(
    ("password", "response"),
    [
        (b"password", "b866924125c8eebb9debc1db61c538e2"),
        (b"password and what nobody reads", "b866924125c8eebb9debc1db61c538e2"),
        (b"abc", "9c22b4f2088c3465a1562c4b9d6edb04"),
    ],
)
def test_a_response_is_what_every_vnc_client_answers(password, response):
    assert vnc_response(password, CHALLENGE).hex() == response
    assert check_vnc_response(password, CHALLENGE, bytes.fromhex(response))


def test_a_stored_password_is_what_vncpasswd_writes():
    assert store_vnc_password(b"password").hex() == "dbd83cfd727a1458"


@given(passwords)
def test_a_stored_password_is_read_again(password):
    assert read_stored_vnc_password(store_vnc_password(password) + b"view only") == password


@given(passwords, st.binary(min_size=16, max_size=16))
def test_only_the_password_answers_the_challenge(password, challenge):
    response = vnc_response(password, challenge)
    assert check_vnc_response(password, challenge, response)
    assert not check_vnc_response(password, challenge, bytes(16))
    assert not check_vnc_response(password, challenge, response[:8])
    # the lowest bit of a byte of a DES key is not used: reversed, it is the highest one of a character
    assert not check_vnc_response(bytes([password[0] ^ 1]) + password[1:], challenge, response)


def test_an_empty_password_lets_nobody_in():
    assert not check_vnc_response(b"", CHALLENGE, vnc_response(b"", CHALLENGE))


def test_sizes_that_are_none_are_refused():
    with pytest.raises(LocalProtocolError):
        vnc_response(b"password", bytes(15))
    with pytest.raises(LocalProtocolError):
        read_stored_vnc_password(bytes(7))
