"""AES in EAX mode: CTR encrypts, CMAC authenticates nonce, header and ciphertext. OpenSSL has the parts, not the whole.

Source: Bellare, Rogaway, Wagner, "The EAX Mode of Operation" (FSE 2004); CMAC is [SP 800-38B].
"""

from __future__ import annotations

import hmac
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from rdpprov.errors import RemoteProtocolError

TAG_SIZE: Final = 16
_NONCE, _HEADER, _CIPHERTEXT = range(3)  # what is authenticated: the paper's tweaks


class AuthenticationError(RemoteProtocolError):
    """What came is not what the peer sent, or was not meant to come now: the tag is wrong."""


class AesEax:
    """One key. A nonce must never be used twice with it to encrypt.

    Args:
        key: 16, 24 or 32 bytes.
    """

    __slots__ = ("_aes", "_macs")

    def __init__(self, key: bytes) -> None:
        self._aes = AES(key)
        self._macs = tuple(self._mac_of_tweak(tweak) for tweak in (_NONCE, _HEADER, _CIPHERTEXT))

    def _mac_of_tweak(self, tweak: int) -> CMAC:
        """The beginning that all MACs of a kind have in common: one block, the tweak as a number."""
        mac = CMAC(self._aes)
        mac.update(tweak.to_bytes(TAG_SIZE, "big"))
        return mac

    def _mac(self, tweak: int, data: bytes) -> bytes:
        mac = self._macs[tweak].copy()
        mac.update(data)
        return mac.finalize()

    def encrypt(self, nonce: bytes, header: bytes, data: bytes | memoryview) -> bytes:
        """The ciphertext, as long as `data`, and the tag of 16 bytes behind it."""
        start = self._mac(_NONCE, nonce)
        ciphertext = Cipher(self._aes, modes.CTR(start)).encryptor().update(data)
        return ciphertext + self._tag(start, header, ciphertext)

    def decrypt(self, nonce: bytes, header: bytes, data: bytes | memoryview) -> bytes:
        """What was encrypted, out of the ciphertext with the tag behind it.

        Raises:
            AuthenticationError: there is no tag, or it is that of something else. Nothing has been decrypted.
        """
        if len(data) < TAG_SIZE:
            raise AuthenticationError(f"{len(data)} bytes, expected a tag of {TAG_SIZE} at least")
        start, ciphertext, tag = self._mac(_NONCE, nonce), bytes(data[:-TAG_SIZE]), bytes(data[-TAG_SIZE:])
        if not hmac.compare_digest(self._tag(start, header, ciphertext), tag):
            raise AuthenticationError("the tag of an encrypted message is wrong")
        return Cipher(self._aes, modes.CTR(start)).decryptor().update(ciphertext)

    def _tag(self, start: bytes, header: bytes, ciphertext: bytes) -> bytes:
        parts = start, self._mac(_HEADER, header), self._mac(_CIPHERTEXT, ciphertext)
        first, second, third = (int.from_bytes(part, "big") for part in parts)
        return (first ^ second ^ third).to_bytes(TAG_SIZE, "big")
