"""TPKT, and how the byte stream is cut into units. Source: [MS-RDPBCGR] 2.2.8.1.2, RFC 1006 6.

On the stream two kinds of unit follow each other without mark: TPKT packets, which carry X.224, and fast-path PDUs. The
first byte tells which.
"""

from __future__ import annotations

from enum import Enum
from struct import Struct
from typing import ClassVar

import attrs

from rdpprov.errors import LocalProtocolError
from rdpprov.wire.base import Buffer, DecodeError, Reader, uint8, uint16

TPKT_VERSION = 3
TPKT_MINIMUM = 7
"""The header and the shortest X.224 TPDU; what announces less is refused before its body is awaited."""
TPKT_MAXIMUM = 0xFFFF

_HEADER = Struct(">BBH")


class UnitKind(Enum):
    """What the first byte of a unit says."""

    TPKT = "TPKT"
    FAST_PATH = "fast-path"


@attrs.frozen
class TpktHeader:
    """tpktHeader: what stands before every X.224 TPDU. 4 bytes, big-endian. Source: RFC 1006 6."""

    LAYOUT: ClassVar[Struct] = _HEADER

    length: int = uint16()
    """Of the whole unit, this header included."""
    reserved: int = uint8(default=0)
    """Zero; not checked, as a receiver has no use for it."""
    version: int = uint8(default=TPKT_VERSION)

    def pack(self) -> bytes:
        """4 bytes."""
        return self.LAYOUT.pack(self.version, self.reserved, self.length)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[TpktHeader, bytes]:
        """The header and what follows it, which need not be complete.

        Raises:
            DecodeError: too short, another version, or a length that no unit has.
        """
        reader = Reader(data, "tpktHeader")
        version, reserved, length = reader.fields(cls.LAYOUT)
        if version != TPKT_VERSION:
            raise DecodeError(f"tpktHeader: version {version}, expected {TPKT_VERSION}")
        if length < TPKT_MINIMUM:
            raise DecodeError(f"tpktHeader: length {length}, expected {TPKT_MINIMUM} or more")
        return cls(length, reserved, version), reader.rest()


def pack_tpkt(payload: bytes) -> bytes:
    """A unit: the header and `payload`, an X.224 TPDU.

    Raises:
        LocalProtocolError: the payload is longer than a unit may be.
    """
    length = _HEADER.size + len(payload)
    if length > TPKT_MAXIMUM:
        raise LocalProtocolError(f"TPKT: a unit of {length} bytes, {TPKT_MAXIMUM} are possible")
    return _HEADER.pack(TPKT_VERSION, 0, length) + payload


def next_unit(buffer: Buffer, *, limit: int = TPKT_MAXIMUM, fast_path: bool = False) -> tuple[UnitKind, int] | None:
    """The kind and the length of the unit that `buffer` begins with, or None: wait for more bytes.

    The unit is ``buffer[:length]``, its header included. A wrong header raises as soon as it is there; nobody waits for
    the body of a unit that will be refused.

    Args:
        buffer: received bytes; what follows the unit is not looked at.
        limit: the longest unit that is taken, which bounds what the caller buffers.
        fast_path: whether a fast-path PDU is legal now. Before Confirm Active it is not: the pre-authentication attack
            surface stays small.

    Raises:
        DecodeError: the bytes begin no legal unit, or one that is longer than `limit`.
    """
    if not buffer:
        return None
    first = buffer[0]
    if first == TPKT_VERSION:
        if len(buffer) < 4:
            return None
        length = buffer[2] << 8 | buffer[3]
        kind, minimum = UnitKind.TPKT, TPKT_MINIMUM
    elif first & 3 == 0:  # FASTPATH_INPUT_ACTION_FASTPATH, FASTPATH_OUTPUT_ACTION_FASTPATH
        if not fast_path:
            raise DecodeError("a fast-path PDU before it is legal")
        if len(buffer) < 2:
            return None
        length = buffer[1]
        kind, minimum = UnitKind.FAST_PATH, 2
        if length & 0x80:
            if len(buffer) < 3:
                return None
            length = (length & 0x7F) << 8 | buffer[2]
            minimum = 3
    else:
        raise DecodeError(f"first byte 0x{first:02X} is neither TPKT nor fast-path")
    if length < minimum:
        raise DecodeError(f"{kind.value}: length {length}, expected {minimum} or more")
    if length > limit:
        raise DecodeError(f"{kind.value}: length {length}, the limit is {limit}")
    return (kind, length) if len(buffer) >= length else None
