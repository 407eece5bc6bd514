"""From the first byte to ServerInit. Source: [RFC 6143] 7.1 to 7.3, and the community's text for VeNCrypt.

RFB has no outer framing: who reads has to know of every structure how long it is before it is all there. So nothing
here, nor in the other files of this package, is defined with construct, which would tell it only by failing.
"""

from __future__ import annotations

import re
from enum import IntEnum
from struct import Struct
from typing import ClassVar, Final

import attrs

from rdpprov.wire.base import Buffer, DecodeError, Reader, bounded_bytes, bounded_text, integer, required, uint8, uint16
from rdpprov.wire.rfb.pixel_format import PixelFormat

_U32 = Struct(">I")
_VERSION = re.compile(rb"RFB ([0-9]{3})\.([0-9]{3})\n")
_uint3digits = integer(0, 999, "number of three digits")

REASON_LIMIT: Final = 64 * 1024
"""Bytes of a reason or a name that a client reads."""


class SecurityType(IntEnum):
    """The security types that we know by name."""

    INVALID = 0
    NONE = 1
    VNC_AUTHENTICATION = 2
    RA2 = 5
    RA2NE = 6
    TIGHT = 16
    TLS = 18
    VENCRYPT = 19
    APPLE_DH = 30
    MS_LOGON_II = 113
    RA2_256 = 129
    RA2NE_256 = 130

    @property
    def rsa_aes(self) -> bool:
        """Whether the ends exchange keys by RSA, and the client then sends name and password encrypted by AES."""
        return self in (SecurityType.RA2, SecurityType.RA2NE, SecurityType.RA2_256, SecurityType.RA2NE_256)

    @property
    def encrypts_session(self) -> bool:
        """Of those: whether all that follows is encrypted, too."""
        return self in (SecurityType.RA2, SecurityType.RA2_256)

    @property
    def has_256_bits(self) -> bool:
        """Of those: whether they use AES-256 and SHA-256, not AES-128 and SHA-1."""
        return self in (SecurityType.RA2_256, SecurityType.RA2NE_256)


class VencryptSubtype(IntEnum):
    """What is done inside VeNCrypt: channel, then how the client proves who it is."""

    PLAIN = 256
    """Name and password in clear; only where the stream is protected otherwise."""
    TLS_NONE = 257
    """TLS without certificate: nobody listens, but anybody may be in the middle."""
    TLS_VNC = 258
    TLS_PLAIN = 259
    X509_NONE = 260
    """TLS with the server's certificate."""
    X509_VNC = 261
    X509_PLAIN = 262

    @property
    def anonymous_tls(self) -> bool:
        """Whether TLS without certificate comes next."""
        return self in (VencryptSubtype.TLS_NONE, VencryptSubtype.TLS_VNC, VencryptSubtype.TLS_PLAIN)

    @property
    def certificate_tls(self) -> bool:
        """Whether TLS with a certificate comes next."""
        return self in (VencryptSubtype.X509_NONE, VencryptSubtype.X509_VNC, VencryptSubtype.X509_PLAIN)

    @property
    def vnc_authentication(self) -> bool:
        """Whether the client then answers a challenge."""
        return self in (VencryptSubtype.TLS_VNC, VencryptSubtype.X509_VNC)

    @property
    def plain(self) -> bool:
        """Whether the client then sends name and password."""
        return self in (VencryptSubtype.PLAIN, VencryptSubtype.TLS_PLAIN, VencryptSubtype.X509_PLAIN)


class SecurityResult(IntEnum):
    """How authentication ended: 4 bytes."""

    OK = 0
    FAILED = 1
    FAILED_TOO_MANY = 2


@attrs.frozen
class ProtocolVersion:
    """ProtocolVersion: 12 bytes, ``RFB 003.008`` and a line feed."""

    SIZE: ClassVar[int] = 12

    major: int = _uint3digits()
    minor: int = _uint3digits()

    def __str__(self) -> str:
        return f"{self.major:03}.{self.minor:03}"

    def pack(self) -> bytes:
        """12 bytes."""
        return b"RFB %03d.%03d\n" % (self.major, self.minor)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[ProtocolVersion, bytes]:
        """The structure and what follows it.

        Raises:
            DecodeError: too short, or no version of this protocol.
        """
        reader = Reader(data, "ProtocolVersion")
        line = reader.take(cls.SIZE)
        match = _VERSION.fullmatch(line)
        if match is None:
            raise DecodeError(f"ProtocolVersion: {line!r}, which is not RFB")
        return cls(int(match[1]), int(match[2])), reader.rest()


@attrs.frozen
class PlainCredentials:
    """Name and password, as VeNCrypt's Plain carries them: two lengths, two texts in UTF-8."""

    HEADER: ClassVar[Struct] = Struct(">II")
    LIMIT: ClassVar[int] = 1023
    """Bytes of each text: the limit that others have, and one that a server can hold before it knows who it is."""

    name: str = bounded_text(LIMIT, encoding="utf-8")
    password: str = bounded_text(LIMIT, encoding="utf-8", repr=False, metadata={"secret": True})

    def pack(self) -> bytes:
        """The bytes on the wire."""
        name, password = self.name.encode(), self.password.encode()
        return self.HEADER.pack(len(name), len(password)) + name + password

    @classmethod
    def size(cls, data: Buffer) -> int | None:
        """Bytes of the structure at the front of `data`, or None: too few are there to say.

        Raises:
            DecodeError: longer texts than anybody has.
        """
        if len(data) < cls.HEADER.size:
            return None
        name, password = cls.HEADER.unpack_from(data)
        if name > cls.LIMIT or password > cls.LIMIT:
            raise DecodeError(f"Plain credentials: texts of {name} and {password} bytes, {cls.LIMIT} are allowed")
        size: int = cls.HEADER.size + name + password
        return size

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[PlainCredentials, bytes]:
        """The structure and what follows it. A text ends at its first NUL; what is not UTF-8 becomes U+FFFD.

        Raises:
            DecodeError: too short, or too long texts.
        """
        reader = Reader(data, "Plain credentials")
        if cls.size(data) is None:
            raise DecodeError(f"Plain credentials: {len(data)} bytes")
        name_length, password_length = reader.fields(cls.HEADER)
        name, password = utf8_text(reader.take(name_length)), utf8_text(reader.take(password_length))
        return cls(cut_to(name, cls.LIMIT), cut_to(password, cls.LIMIT)), reader.rest()


def cut_to(text: str, limit: int) -> str:
    """As much of a text as has at most `limit` bytes in UTF-8.

    U+FFFD is longer than the byte in whose place it stands: a text of bytes within a limit may be beyond it.
    """
    encoded = text.encode()
    return text if len(encoded) <= limit else encoded[:limit].decode("utf-8", "ignore")


@attrs.frozen
class ServerInit:
    """ServerInit: what the desktop is. 24 bytes and its name."""

    HEADER: ClassVar[Struct] = Struct(f">HH{PixelFormat.SIZE}sI")

    width: int = uint16()
    """Pixels."""
    height: int = uint16()
    pixel_format: PixelFormat = required()
    """What the server would like best; the client may ask for another."""
    name: bytes = bounded_bytes(REASON_LIMIT)
    """Of the desktop, in UTF-8."""

    def pack(self) -> bytes:
        """The bytes on the wire."""
        return self.HEADER.pack(self.width, self.height, self.pixel_format.pack(), len(self.name)) + self.name

    @classmethod
    def size(cls, data: Buffer) -> int | None:
        """Bytes of the structure at the front of `data`, or None: too few are there to say.

        Raises:
            DecodeError: a name longer than `REASON_LIMIT`.
        """
        if len(data) < cls.HEADER.size:
            return None
        length: int = _U32.unpack_from(data, cls.HEADER.size - 4)[0]
        if length > REASON_LIMIT:
            raise DecodeError(f"ServerInit: a name of {length} bytes")
        return cls.HEADER.size + length

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[ServerInit, bytes]:
        """The structure and what follows it.

        Raises:
            DecodeError: too short, a too long name, or a pixel format that makes no sense.
        """
        reader = Reader(data, "ServerInit")
        width, height, pixel_format, length = reader.fields(cls.HEADER)
        if length > REASON_LIMIT:
            raise DecodeError(f"ServerInit: a name of {length} bytes")
        return cls(width, height, PixelFormat.unpack(pixel_format)[0], reader.take(length)), reader.rest()


@attrs.frozen
class Reason:
    """A text with its length before it: why a connection is refused."""

    text: bytes = bounded_bytes(REASON_LIMIT)
    """UTF-8."""

    def pack(self) -> bytes:
        """The bytes on the wire."""
        return _U32.pack(len(self.text)) + self.text

    @classmethod
    def size(cls, data: Buffer) -> int | None:
        """Bytes of the structure at the front of `data`, or None: too few are there to say.

        Raises:
            DecodeError: longer than `REASON_LIMIT`.
        """
        if len(data) < 4:
            return None
        length: int = _U32.unpack_from(data)[0]
        if length > REASON_LIMIT:
            raise DecodeError(f"a reason of {length} bytes")
        return 4 + length

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[Reason, bytes]:
        """The structure and what follows it.

        Raises:
            DecodeError: too short or too long.
        """
        reader = Reader(data, "reason")
        size = cls.size(data)
        reader.skip(4)
        return cls(reader.take((size or 4) - 4)), reader.rest()


@attrs.frozen
class VencryptVersion:
    """VeNCrypt's own version: 2 bytes. Only 0.2 is alive."""

    SIZE: ClassVar[int] = 2

    major: int = uint8(default=0)
    minor: int = uint8(default=2)

    def pack(self) -> bytes:
        """2 bytes."""
        return bytes((self.major, self.minor))

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[VencryptVersion, bytes]:
        """The structure and what follows it.

        Raises:
            DecodeError: too short.
        """
        reader = Reader(data, "VeNCrypt version")
        return cls(reader.u8(), reader.u8()), reader.rest()


def pack_security_types(types: tuple[int, ...]) -> bytes:
    """A list of security types with its count before it, one byte each."""
    return bytes((len(types), *types))


def pack_vencrypt_subtypes(subtypes: tuple[int, ...]) -> bytes:
    """A list of VeNCrypt's subtypes with its count before it, four bytes each."""
    return bytes((len(subtypes),)) + b"".join(_U32.pack(subtype) for subtype in subtypes)


def pack_u32(value: int) -> bytes:
    """A number of 32 bits, big-endian: a security type of version 3.3, a chosen subtype, a SecurityResult."""
    return _U32.pack(value)


def unpack_u32(data: Buffer) -> int:
    """A number of 32 bits at the front of `data`.

    Raises:
        DecodeError: too short.
    """
    value: int = Reader(data, "u32").fields(_U32)[0]
    return value


def utf8_text(data: Buffer) -> str:
    """UTF-8 up to its first NUL, or all of it, as text; what is not valid becomes U+FFFD."""
    return bytes(data).decode("utf-8", "replace").partition("\0")[0]
