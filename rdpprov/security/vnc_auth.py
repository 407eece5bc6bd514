"""VNC authentication: a challenge of 16 bytes, encrypted by DES with the password as key.

Weak by design: 56 bits, eight characters, and nothing protects what follows. Source: [RFC 6143] 7.2.2 "VNC
Authentication".
"""

from __future__ import annotations

import hmac
from typing import Final

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from rdpprov.errors import LocalProtocolError

CHALLENGE_SIZE: Final = 16
PASSWORD_SIZE: Final = 8
"""Bytes of a password that count."""

_STORED_KEY: Final = bytes.fromhex("17526b06234e5807")  # public: the same in every VNC server
_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def vnc_response(password: bytes, challenge: bytes) -> bytes:
    """What a client answers.

    Args:
        password: of which the first eight bytes count. Clients differ in how they encode it: ASCII is safe.
        challenge: 16 bytes.

    Returns:
        16 bytes.

    Raises:
        LocalProtocolError: another number of bytes in the challenge.
    """
    if len(challenge) != CHALLENGE_SIZE:
        raise LocalProtocolError(f"a challenge of {len(challenge)} bytes, expected {CHALLENGE_SIZE}")
    encryptor = _des(password).encryptor()
    return encryptor.update(challenge) + encryptor.finalize()


def check_vnc_response(password: bytes, challenge: bytes, response: bytes) -> bool:
    """Whether the client knows the password; takes the same time whatever is wrong. An empty password, which would
    be one that everybody knows, never matches."""
    return hmac.compare_digest(vnc_response(password, challenge), response) and bool(password)


def store_vnc_password(password: bytes) -> bytes:
    """The eight bytes of a password file as ``vncpasswd`` writes them: hidden from a glance, no more."""
    encryptor = _des(_STORED_KEY).encryptor()
    return encryptor.update(password[:PASSWORD_SIZE].ljust(PASSWORD_SIZE, b"\0")) + encryptor.finalize()


def read_stored_vnc_password(stored: bytes) -> bytes:
    """The password in the first eight bytes of a file that ``vncpasswd`` wrote.

    Raises:
        LocalProtocolError: fewer bytes.
    """
    if len(stored) < PASSWORD_SIZE:
        raise LocalProtocolError(f"a stored VNC password of {len(stored)} bytes, expected {PASSWORD_SIZE}")
    decryptor = _des(_STORED_KEY).decryptor()
    return (decryptor.update(stored[:PASSWORD_SIZE]) + decryptor.finalize()).partition(b"\0")[0]


def _des(password: bytes) -> Cipher[modes.ECB]:
    """Single DES, which OpenSSL has only as triple DES with one key for all three rounds. The bits of every byte are
    reversed: the first VNC took its key the wrong way round."""
    key = password[:PASSWORD_SIZE].ljust(PASSWORD_SIZE, b"\0").translate(_REVERSED)
    return Cipher(TripleDES(key * 3), modes.ECB())
