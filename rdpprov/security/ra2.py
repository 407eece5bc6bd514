"""RSA-AES, the security types RA2 and its kin: keys, what is computed from them, and the messages that they protect.

Each end has an RSA key, and encrypts a random number by the other's. Both numbers together make two keys of AES, one a
direction. A hash over both public keys, sent encrypted, shows that nobody has put in others.

Who recorded a connection, and gets hold of the keys of both ends later, can read it: only the viewer's, which lasts for
one connection, is in the way.

Source: the community's text (rfbproto), "RSA-AES Security Type".
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

import attrs
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from rdpprov.errors import LocalProtocolError
from rdpprov.security.aes_eax import AesEax, AuthenticationError
from rdpprov.wire.rfb.handshake import SecurityType
from rdpprov.wire.rfb.rsa_aes import RsaPublicKey, message_size, pack_message_length

RANDOM_SIZE: Final = 32
"""Bytes of random numbers to be handed in, of which a type without 256 bits uses 16."""
MESSAGE_SIZE: Final = 8192
"""Bytes that we put into one message, as others do."""
_NONCE_SIZE: Final = 16


@attrs.frozen(repr=False)
class Ra2Secrets:
    """What one end brings into an exchange. The random numbers are for this connection alone."""

    key: rsa.RSAPrivateKey
    """1024 to 8192 bits. A server has the same for all connections, for viewers remember it."""
    random: bytes
    """`RANDOM_SIZE` bytes: our part of the keys."""
    decoy: bytes
    """`RANDOM_SIZE` bytes, in whose place nothing is known: they stand for the peer's if those cannot be decrypted."""

    def __attrs_post_init__(self) -> None:
        if len(self.random) != RANDOM_SIZE or len(self.decoy) != RANDOM_SIZE:
            raise LocalProtocolError(f"random numbers, expected two of {RANDOM_SIZE} bytes")


def public_key_of(key: rsa.RSAPrivateKey) -> RsaPublicKey:
    """As it is sent."""
    numbers = key.public_key().public_numbers()
    return RsaPublicKey(numbers.n, numbers.e)


def fingerprint(key: RsaPublicKey) -> str:
    """What viewers show of a server's key, to be compared by a human: 8 bytes of its SHA-1, ``12-34-…``."""
    return hashlib.sha1(key.pack(), usedforsecurity=False).digest()[:8].hex("-")


class Ra2Cipher:
    """Both directions of a connection, one message after the other: ``u16 length, ciphertext, tag``.

    Each message has its number as nonce, so that none can be repeated, left out or put elsewhere.

    Args:
        sending: key of AES for what we say.
        receiving: for what the peer says.
    """

    __slots__ = ("_received", "_receiving", "_sending", "_sent")

    def __init__(self, sending: bytes, receiving: bytes) -> None:
        self._sending, self._receiving = AesEax(sending), AesEax(receiving)
        self._sent = self._received = 0

    def seal(self, data: bytes | memoryview) -> bytes:
        """Our next message. At most 65535 bytes go into one."""
        length, nonce = pack_message_length(len(data)), self._sent.to_bytes(_NONCE_SIZE, "little")
        self._sent += 1
        return length + self._sending.encrypt(nonce, length, data)

    def open(self, message: bytes | memoryview) -> bytes:
        """What the peer's next message says.

        Raises:
            AuthenticationError: it is not the peer's next message; nothing of this connection can be trusted.
        """
        nonce = self._received.to_bytes(_NONCE_SIZE, "little")
        self._received += 1
        return self._receiving.decrypt(nonce, bytes(message[:2]), message[2:])


class RecordLayer:
    """Bytes in, messages out, and the other way: what TLS is elsewhere, for `rdpprov.providers.transport`.

    It has no last message: whoever cuts the connection off cannot be told from a peer that ends it.

    Args:
        cipher: which has been used for what came before.
    """

    __slots__ = ("_cipher", "_received")

    unclean_end = ""

    def __init__(self, cipher: Ra2Cipher) -> None:
        self._cipher = cipher
        self._received = bytearray()

    def receive_records(self, records: bytes) -> None:
        """Take what came in. No more than one incomplete message is kept: `decrypt` takes all others."""
        self._received += records

    def decrypt(self) -> bytes | None:
        """What the messages that are there say, None if there is none.

        Raises:
            AuthenticationError: one is not the peer's next.
            DecodeError: one says nothing. Nobody sends such, and it costs as much as one that says something: who
                counts what has been said would count nothing.
        """
        received, at, said = self._received, 0, []
        with memoryview(received) as view:
            while (size := message_size(received, at, least=1)) is not None and size <= len(received) - at:
                with view[at : at + size] as message:
                    said.append(self._cipher.open(message))
                at += size
        del received[:at]
        return b"".join(said) or None

    def encrypt(self, data: bytes) -> bytes:
        """The messages that say this."""
        view = memoryview(data)
        return b"".join([self._cipher.seal(view[at : at + MESSAGE_SIZE]) for at in range(0, len(data), MESSAGE_SIZE)])

    def close(self) -> bytes:
        """Nothing says that nothing more comes."""
        return b""


class Ra2Exchange:
    """One end of one exchange of keys. `take_key`, then `take_random`; then there is a `cipher`.

    Args:
        security_type: one that is `SecurityType.rsa_aes`.
        secrets: of this end.
    """

    __slots__ = ("_cipher", "_peer", "_secrets", "_size", "_type", "public_key")

    def __init__(self, security_type: SecurityType, secrets: Ra2Secrets) -> None:
        self._type = security_type
        self._secrets = secrets
        self._size = 32 if security_type.has_256_bits else 16  # of random numbers and of keys
        self._peer: RsaPublicKey | None = None
        self.public_key = public_key_of(secrets.key)
        self._cipher: Ra2Cipher | None = None

    def take_key(self, key: RsaPublicKey) -> bytes:
        """The peer's public key has come.

        Returns:
            our random number, encrypted by it.

        Raises:
            AuthenticationError: nothing can be encrypted by this key; or it is our own, and whoever sends back what we
                say would seem to know what we know.
        """
        if key == self.public_key:
            raise AuthenticationError("the peer's RSA key is our own")
        self._peer = key
        try:
            public_key = rsa.RSAPublicNumbers(key.exponent, key.modulus).public_key()
            return public_key.encrypt(self._secrets.random[: self._size], padding.PKCS1v15())
        except ValueError as error:
            raise AuthenticationError(f"nothing can be encrypted by the peer's RSA key: {error}") from error

    def take_random(self, encrypted: bytes) -> Ra2Cipher:
        """The peer's random number has come.

        Nobody learns whether it could be decrypted: if not, the peer's next message turns out to be wrong, as it does
        for a number that is none of the peer's ([RFC 8017] 7.2.2, after Bleichenbacher).

        Returns:
            what all messages are encrypted by from now on; it is the `cipher`, too.
        """
        own, theirs = self._secrets.random[: self._size], self._decrypted(encrypted)
        sending, receiving = self._key(theirs + own), self._key(own + theirs)
        self._cipher = Ra2Cipher(sending, receiving)
        return self._cipher

    @property
    def cipher(self) -> Ra2Cipher:
        """Of this connection, after `take_random`."""
        assert self._cipher is not None
        return self._cipher

    def _decrypted(self, encrypted: bytes) -> bytes:
        decoy = self._secrets.decoy[: self._size]
        try:
            number = self._secrets.key.decrypt(encrypted, padding.PKCS1v15())
        except ValueError:
            return decoy
        return number if len(number) == self._size else decoy

    def _key(self, numbers: bytes) -> bytes:
        return self._hash(numbers)[: self._size]

    def _hash(self, data: bytes) -> bytes:
        return (hashlib.sha256 if self._type.has_256_bits else hashlib.sha1)(data).digest()

    @property
    def hash_size(self) -> int:
        """Bytes of `own_hash`, and of the peer's."""
        return 32 if self._type.has_256_bits else 20

    @property
    def own_hash(self) -> bytes:
        """That we have sent our key and received the peer's."""
        return self._hash(self._own + self._others)

    def check_hash(self, peers: bytes) -> None:
        """What the peer says that it has sent and received.

        Raises:
            AuthenticationError: that is not what came and was sent here: somebody is in the middle.
        """
        if not hmac.compare_digest(self._hash(self._others + self._own), peers):
            raise AuthenticationError("the hash of both RSA keys is wrong")

    @property
    def _own(self) -> bytes:
        return self.public_key.pack()

    @property
    def _others(self) -> bytes:
        assert self._peer is not None
        return self._peer.pack()
