"""The aligned PER that MCS domain PDUs and GCC are written in. Source: ITU-T X.691, as T.125 and T.124 use it.

Each ``read_*`` takes a `Reader` and raises `DecodeError`.
"""

from __future__ import annotations

from rdpprov.errors import LocalProtocolError
from rdpprov.wire.base import DecodeError, Reader

LENGTH_MAXIMUM = 0x3FFF
"""Longer contents would be fragmented, which no client does and no server takes."""


def read_length(reader: Reader) -> int:
    """A length determinant: one byte below 0x80, otherwise two with the top bit set.

    Raises:
        DecodeError: too short, or a fragmented length (top bits 11).
    """
    first = reader.u8()
    if first < 0x80:
        return first
    if first & 0x40:
        raise DecodeError(f"{reader.structure}: fragmented PER length 0x{first:02X}")
    return (first & 0x3F) << 8 | reader.u8()


def pack_length(length: int) -> bytes:
    """The shortest form.

    Raises:
        LocalProtocolError: longer than one fragment.
    """
    if length < 0x80:
        return bytes([length])
    if length > LENGTH_MAXIMUM:
        raise LocalProtocolError(f"PER: a content of {length} bytes, {LENGTH_MAXIMUM} are possible")
    return (0x8000 | length).to_bytes(2, "big")


def read_integer(reader: Reader) -> int:
    """An unconstrained number from 0 to 2**32 - 1: a length and so many bytes."""
    size = read_length(reader)
    if not 1 <= size <= 4:
        raise DecodeError(f"{reader.structure}: PER integer of {size} bytes, expected 1 to 4")
    return int.from_bytes(reader.view(size), "big")


def pack_integer(value: int) -> bytes:
    """The shortest form."""
    content = value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")
    return pack_length(len(content)) + content


def read_numeric_string(reader: Reader, minimum: int) -> str:
    """Digits, two a byte; their number is written less `minimum`."""
    count = read_length(reader) + minimum
    digits = reader.take((count + 1) // 2).hex()
    if not digits.isdecimal():
        raise DecodeError(f"{reader.structure}: PER numeric string with other characters than digits")
    return digits[:count]


def pack_numeric_string(text: str, minimum: int) -> bytes:
    """The form of `read_numeric_string`; an odd number of digits is filled up by a zero."""
    return pack_length(len(text) - minimum) + bytes.fromhex(text + "0" * (len(text) % 2))
