"""RSA-AES, the security types RA2 and its kin: what is exchanged before a client is let in.

Source: the community's text (rfbproto), "RSA-AES Security Type". All numbers are big-endian.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import ClassVar, Final

import attrs

from rdpprov.wire.base import Buffer, DecodeError, Reader, bounded_text
from rdpprov.wire.rfb.handshake import cut_to, utf8_text

MIN_KEY_BITS: Final = 1024
MAX_KEY_BITS: Final = 8192
"""The sizes of keys that others take, too."""
MIN_EXPONENT: Final = 65537
MAX_EXPONENT: Final = (1 << 64) - 1
"""65537 is everybody's. Less is weak, and one of 8192 bits would cost the server half a second."""
MESSAGE_OVERHEAD: Final = 2 + 16
"""Bytes of an encrypted message beside what is encrypted: its length before it, its tag behind."""
MAX_MESSAGE: Final = 0xFFFF
"""Bytes that an encrypted message can carry."""

_U16 = Struct(">H")
_U32 = Struct(">I")


class Ra2Subtype(IntEnum):
    """What a server wants the client to prove itself by."""

    USER_AND_PASSWORD = 1
    PASSWORD = 2


@attrs.frozen
class RsaPublicKey:
    """A public key: its length in bits, modulus and exponent, each of the latter as long as the modulus is."""

    modulus: int
    exponent: int

    @property
    def size_in_bytes(self) -> int:
        """Of the modulus, and of what is encrypted by the key."""
        return (self.modulus.bit_length() + 7) // 8

    def pack(self) -> bytes:
        """The bytes on the wire; they are what is hashed, too."""
        size = self.size_in_bytes
        bits = _U32.pack(self.modulus.bit_length())
        return bits + self.modulus.to_bytes(size, "big") + self.exponent.to_bytes(size, "big")

    @classmethod
    def size(cls, data: Buffer) -> int | None:
        """Bytes of the structure at the front of `data`, or None: too few are there to say.

        Raises:
            DecodeError: a key shorter or longer than we take.
        """
        if len(data) < _U32.size:
            return None
        bits: int = _U32.unpack_from(data)[0]
        if not MIN_KEY_BITS <= bits <= MAX_KEY_BITS:
            raise DecodeError(f"an RSA key of {bits} bits, {MIN_KEY_BITS} to {MAX_KEY_BITS} are allowed")
        return _U32.size + 2 * ((bits + 7) // 8)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[RsaPublicKey, bytes]:
        """The structure and what follows it.

        Raises:
            DecodeError: too short, or no key that anybody should encrypt by: a modulus that is even or not as long as
                it is said to be, an exponent that is even, small or huge.
        """
        reader = Reader(data, "RSA public key")
        if cls.size(data) is None:
            raise DecodeError(f"RSA public key: {len(data)} bytes")
        bits: int = reader.fields(_U32)[0]
        size = (bits + 7) // 8
        modulus, exponent = (int.from_bytes(reader.take(size), "big") for _ in range(2))
        if modulus.bit_length() != bits or not modulus & 1:
            raise DecodeError(f"RSA public key: a modulus that is even, or of {modulus.bit_length()} bits, not {bits}")
        if not MIN_EXPONENT <= exponent <= MAX_EXPONENT or not exponent & 1:
            raise DecodeError(
                f"RSA public key: an exponent of {exponent.bit_length()} bits that is small, huge or even"
            )
        return cls(modulus, exponent), reader.rest()


def pack_encrypted_random(encrypted: bytes) -> bytes:
    """A random number, encrypted, with its length before it."""
    return _U16.pack(len(encrypted)) + encrypted


def encrypted_random_size(data: Buffer, expected: int) -> int | None:
    """Bytes of an encrypted random number at the front of `data`, length and all, or None: too few are there to say.

    Args:
        data: what came.
        expected: bytes of what is encrypted: as many as the key's modulus has.

    Raises:
        DecodeError: it has another length.
    """
    if len(data) < _U16.size:
        return None
    size: int = _U16.unpack_from(data)[0]
    if size != expected:
        raise DecodeError(f"an encrypted random number of {size} bytes, expected {expected}")
    return _U16.size + size


def unpack_encrypted_random(data: Buffer, expected: int) -> tuple[bytes, bytes]:
    """What is encrypted, and what follows it.

    Raises:
        DecodeError: too short, or another length than `expected`.
    """
    reader = Reader(data, "encrypted random number")
    encrypted_random_size(data, expected)
    reader.skip(_U16.size)
    return reader.take(expected), reader.rest()


def message_size(data: Buffer, at: int = 0, *, least: int = 0, most: int = MAX_MESSAGE) -> int | None:
    """Bytes of the encrypted message that begins in `data` at `at`, length and tag included, or None: too few are there
    to say.

    Args:
        data: what came.
        at: where in it.
        least: bytes of what is encrypted.
        most: likewise.

    Raises:
        DecodeError: it is shorter or longer.
    """
    if len(data) - at < _U16.size:
        return None
    size: int = _U16.unpack_from(data, at)[0]
    if not least <= size <= most:
        raise DecodeError(f"an encrypted message of {size} bytes, expected {least} to {most}")
    return MESSAGE_OVERHEAD + size


def pack_message_length(size: int) -> bytes:
    """What stands before an encrypted message, and is authenticated with it."""
    return _U16.pack(size)


@attrs.frozen
class Ra2Credentials:
    """Name and password: each with a byte that is its length, in UTF-8. Where only a password is asked for, the name is
    empty."""

    LIMIT: ClassVar[int] = 255
    """Bytes of each text."""
    MIN_SIZE: ClassVar[int] = 2
    MAX_SIZE: ClassVar[int] = 2 + 2 * LIMIT

    name: str = bounded_text(LIMIT, encoding="utf-8")
    password: str = bounded_text(LIMIT, encoding="utf-8", repr=False, metadata={"secret": True})

    def pack(self) -> bytes:
        """The bytes that are encrypted."""
        name, password = self.name.encode(), self.password.encode()
        return bytes((len(name),)) + name + bytes((len(password),)) + password

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[Ra2Credentials, bytes]:
        """The structure and what follows it. A text ends at its first NUL; what is not UTF-8 becomes U+FFFD.

        Raises:
            DecodeError: too short.
        """
        reader = Reader(data, "RSA-AES credentials")
        name, password = (cut_to(utf8_text(reader.take(reader.u8())), cls.LIMIT) for _ in range(2))
        return cls(name, password), reader.rest()
