"""The BER that MCS connect PDUs are written in: definite lengths, nothing nested by the peer's choice.

Source: ITU-T X.690 8, as T.125 uses it. Each ``read_*`` takes a `Reader` and raises `DecodeError`.
"""

from __future__ import annotations

from rdpprov.wire.base import DecodeError, Reader

TAG_BOOLEAN = 0x01
TAG_INTEGER = 0x02
TAG_OCTET_STRING = 0x04
TAG_ENUMERATED = 0x0A
TAG_SEQUENCE = 0x30


def read_length(reader: Reader) -> int:
    """A definite length of up to four bytes; whether so much follows is checked by who takes it.

    Raises:
        DecodeError: too short, indefinite, or of more than four bytes.
    """
    first = reader.u8()
    if first < 0x80:
        return first
    count = first & 0x7F
    if not 1 <= count <= 4:
        raise DecodeError(f"{reader.structure}: BER length 0x{first:02X}, expected a definite one of up to 4 bytes")
    return int.from_bytes(reader.view(count), "big")


def pack_length(length: int) -> bytes:
    """The shortest form."""
    if length < 0x80:
        return bytes([length])
    encoded = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(encoded)]) + encoded


def read_element(reader: Reader, tag: int) -> Reader:
    """The content of the next element, which must have the tag `tag` (one byte, or two for 0x7Fxx)."""
    return reader.block(_read_header(reader, tag))


def _read_header(reader: Reader, tag: int) -> int:
    """Check the tag, give the length."""
    came = reader.u8() if tag <= 0xFF else reader.u16be()
    if came != tag:
        raise DecodeError(f"{reader.structure}: BER tag 0x{came:02X}, expected 0x{tag:02X}")
    return read_length(reader)


def pack_element(tag: int, content: bytes) -> bytes:
    """An element of tag `tag` (one byte, or two for 0x7Fxx)."""
    return tag.to_bytes(1 if tag <= 0xFF else 2, "big") + pack_length(len(content)) + content


def read_integer(reader: Reader, tag: int = TAG_INTEGER) -> int:
    """A number from 0 to 2**32 - 1.

    Read as unsigned, although BER is not: rdesktop writes 65535 as ``02 02 FF FF``, which by the book is -1.
    """
    content = reader.take(_read_header(reader, tag))
    if not content or len(content.lstrip(b"\0")) > 4:
        raise DecodeError(f"{reader.structure}: BER integer of {len(content)} bytes, expected 1 to 4")
    return int.from_bytes(content, "big")


def pack_integer(value: int, tag: int = TAG_INTEGER) -> bytes:
    """The shortest form; the top bit of the first byte is the sign, so it is kept clear."""
    return pack_element(tag, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def read_boolean(reader: Reader) -> bool:
    """A truth value; anything but 0 is true."""
    content = reader.take(_read_header(reader, TAG_BOOLEAN))
    if len(content) != 1:
        raise DecodeError(f"{reader.structure}: BER boolean of {len(content)} bytes, expected 1")
    return content != b"\0"


def pack_boolean(value: bool) -> bytes:
    """0xFF for true, as DER wants and all clients write."""
    return pack_element(TAG_BOOLEAN, b"\xff" if value else b"\0")
