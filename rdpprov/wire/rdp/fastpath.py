"""Fast-path: input and output without MCS and share headers, which is nearly all that flows once a session is active.

A server's PDU carries *updates*, a client's carries input events (`rdpprov.wire.rdp.input`). An update may be larger
than a PDU: it is cut into fragments, each in a PDU of its own, and the client puts them together up to the size that
its Multifragment Update Capability Set named.

All of it is per frame or per event: `struct` by hand, the construct definitions are in the tests.

Source: [MS-RDPBCGR] 2.2.8.1.2 "Client Fast-Path Input Event PDU", 2.2.9.1.2 "Server Fast-Path Update PDU".
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from struct import Struct

import attrs

from rdpprov.errors import LocalProtocolError
from rdpprov.wire.base import Buffer, DecodeError, bounded_bytes, integer, uint4, uint8

MAX_PDU_SIZE = 0x3FFF
"""Bytes of a fast-path PDU, header included, that every client takes (OUT-02)."""
MAX_FRAGMENT_SIZE = 0x3F80
"""Bytes of update data in a PDU: leaves room for headers, a MAC and padding. fact 36: also the bound for clients that
cannot put fragments together, among them Windows CE, which names less than 0x3FFF."""

_U16 = Struct("<H")
_UPDATE_HEADER = Struct("<BH")  # of TS_FP_UPDATE without compressionFlags
_uint2 = integer(0, 3, "uint2")
_uint15 = integer(0, 0x7FFF, "uint15")


class SecurityFlags(IntEnum):
    """secFlags of both fast-path headers: bits 6 and 7. 0 under TLS."""

    FASTPATH_SECURE_CHECKSUM = 0x1
    FASTPATH_ENCRYPTED = 0x2


class UpdateCode(IntEnum):
    """updateCode of TS_FP_UPDATE."""

    FASTPATH_UPDATETYPE_ORDERS = 0x0
    FASTPATH_UPDATETYPE_BITMAP = 0x1
    FASTPATH_UPDATETYPE_PALETTE = 0x2
    FASTPATH_UPDATETYPE_SYNCHRONIZE = 0x3
    FASTPATH_UPDATETYPE_SURFCMDS = 0x4
    FASTPATH_UPDATETYPE_PTR_NULL = 0x5
    FASTPATH_UPDATETYPE_PTR_DEFAULT = 0x6
    FASTPATH_UPDATETYPE_PTR_POSITION = 0x8
    FASTPATH_UPDATETYPE_COLOR = 0x9
    FASTPATH_UPDATETYPE_CACHED = 0xA
    FASTPATH_UPDATETYPE_POINTER = 0xB
    FASTPATH_UPDATETYPE_LARGE_POINTER = 0xC


class Fragmentation(IntEnum):
    """fragmentation of TS_FP_UPDATE."""

    FASTPATH_FRAGMENT_SINGLE = 0
    FASTPATH_FRAGMENT_LAST = 1
    FASTPATH_FRAGMENT_FIRST = 2
    FASTPATH_FRAGMENT_NEXT = 3


FASTPATH_OUTPUT_COMPRESSION_USED = 2


@attrs.frozen
class FastPathHeader:
    """TS_FP_INPUT_PDU: the bytes before the events, or of a TS_FP_UPDATE_PDU before the updates. 2 or 3 bytes.

    Encryption information (FIPS), MAC and the extra count byte of an input PDU are not of it.

    Source: [MS-RDPBCGR] 2.2.8.1.2, 2.2.9.1.2: fpInputHeader or fpOutputHeader, length1, length2.
    """

    length: int = _uint15()
    """Bytes of the whole PDU, this header included; below 0x8000."""
    flags: int = _uint2(default=0)
    """`SecurityFlags`."""
    num_events: int = uint4(default=0)
    """Events of an input PDU, 1 to 15. fact 66: 0 means that their number follows in a byte. 0 in an output PDU."""
    long_form: bool = attrs.field(default=attrs.Factory(lambda header: header.length > 0x7F, takes_self=True))
    """Whether the length has two bytes; a small one may have them too."""

    def __attrs_post_init__(self) -> None:
        if self.length > 0x7F and not self.long_form:
            raise LocalProtocolError(f"fast-path header: length {self.length} does not fit into one byte")

    @property
    def action(self) -> int:
        """0, FASTPATH_INPUT_ACTION_FASTPATH; the other value of the two bits, 3, is TPKT's."""
        return 0

    @property
    def encrypted(self) -> bool:
        """Whether what follows is encrypted; never under TLS (INP-03)."""
        return bool(self.flags & SecurityFlags.FASTPATH_ENCRYPTED)

    @property
    def size(self) -> int:
        """Bytes of this header."""
        return 3 if self.long_form else 2

    @property
    def data_length(self) -> int:
        """Bytes of the PDU behind this header."""
        return self.length - self.size

    def pack(self) -> bytes:
        """The bytes on the wire."""
        first = self.flags << 6 | self.num_events << 2
        if self.long_form:
            return bytes((first, 0x80 | self.length >> 8, self.length & 0xFF))
        return bytes((first, self.length))

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[FastPathHeader, bytes]:
        """Take one off the front of `data`; the PDU behind it need not be there.

        Raises:
            DecodeError: cut off, no fast-path header, or a length below the header's own.
        """
        header = _unpack_header(data)
        return header, bytes(data[header.size :])


def _unpack_header(data: Buffer) -> FastPathHeader:
    if len(data) < 2 or (data[1] & 0x80 and len(data) < 3):
        raise DecodeError(f"fast-path header: {len(data)} bytes")
    first, length = data[0], data[1]
    if first & 0x03:
        raise DecodeError(f"fast-path header: action {first & 0x03}, not 0")
    long_form = length >= 0x80
    if long_form:
        length = (length & 0x7F) << 8 | data[2]
    if length < (3 if long_form else 2):  # INP-02
        raise DecodeError(f"fast-path header: length {length} is below its own")
    return FastPathHeader(length, first >> 6, first >> 2 & 0x0F, long_form)


def unpack_fast_path(data: Buffer) -> tuple[FastPathHeader, bytes, bytes]:
    """Take one whole fast-path PDU off the front of `data`, whichever its direction.

    Returns:
        its header, what the header counts, and the bytes behind the PDU.

    Raises:
        DecodeError: as `FastPathHeader.unpack`, or the PDU is not all there.
    """
    header = _unpack_header(data)
    if header.length > len(data):
        raise DecodeError(f"fast-path PDU: length {header.length}, {len(data)} bytes are there")
    return header, bytes(data[header.size : header.length]), bytes(data[header.length :])


@attrs.frozen
class FastPathUpdate:
    """TS_FP_UPDATE: an update, or a fragment of one. 3 or 4 bytes before its data.

    Source: [MS-RDPBCGR] 2.2.9.1.2.1 "Fast-Path Update".
    """

    update_code: int = uint4()
    """An `UpdateCode`."""
    data: bytes = bounded_bytes(0xFFFFFFFF)
    """The update's own structure, or a fragment of it; compressed if `compression_flags` says so."""
    fragmentation: int = _uint2(default=Fragmentation.FASTPATH_FRAGMENT_SINGLE)
    """A `Fragmentation`."""
    compression_flags: int | None = uint8(optional=True)
    """As compressedType of a share data header; None: not there, the usual case. fact 84: pointer updates that are
    compressed break in mstsc. We compress none."""

    @property
    def compression(self) -> int:
        """FASTPATH_OUTPUT_COMPRESSION_USED (2) or 0."""
        return 0 if self.compression_flags is None else FASTPATH_OUTPUT_COMPRESSION_USED

    @property
    def size(self) -> int:
        """Bytes of the data."""
        return len(self.data)

    def pack(self) -> bytes:
        """The bytes on the wire.

        Raises:
            LocalProtocolError: more data than a size can say; see `pack_updates`.
        """
        if len(self.data) > 0xFFFF:
            raise LocalProtocolError(f"TS_FP_UPDATE: {len(self.data)} bytes, 65535 fit")
        first = self.compression << 6 | self.fragmentation << 4 | self.update_code
        header = bytes((first,)) if self.compression_flags is None else bytes((first, self.compression_flags))
        return header + _U16.pack(len(self.data)) + self.data

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[FastPathUpdate, bytes]:
        """Take one off the front of `data`.

        Raises:
            DecodeError: cut off.
        """
        update, end = _unpack_update(bytes(data), 0)
        return update, bytes(data[end:])


def _unpack_update(data: bytes, start: int) -> tuple[FastPathUpdate, int]:
    first = data[start]
    compressed = first >> 6 & FASTPATH_OUTPUT_COMPRESSION_USED
    body = start + (4 if compressed else 3)
    if body > len(data):
        raise DecodeError(f"TS_FP_UPDATE: {len(data) - start} bytes are no header")
    (size,) = _U16.unpack_from(data, body - 2)
    if size > len(data) - body:
        raise DecodeError(f"TS_FP_UPDATE: size {size}, {len(data) - body} bytes are left")
    flags = data[start + 1] if compressed else None
    return FastPathUpdate(first & 0x0F, data[body : body + size], first >> 4 & 0x03, flags), body + size


@attrs.frozen
class FastPathOutputPdu:
    """TS_FP_UPDATE_PDU: updates of the client's screen, under TLS.

    Source: [MS-RDPBCGR] 2.2.9.1.2 "Server Fast-Path Update PDU".
    """

    updates: tuple[FastPathUpdate, ...] = ()
    """In order. fact 44 concerns bitmap updates: one rectangle in each, so that there may be many."""

    def pack(self) -> bytes:
        """The bytes on the wire.

        Raises:
            LocalProtocolError: longer than a PDU may be; see `pack_updates`, which cuts.
        """
        return _pack_pdu([update.pack() for update in self.updates])

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[FastPathOutputPdu, bytes]:
        """Take one off the front of `data`.

        Raises:
            DecodeError: cut off, an update reaches beyond it, or it is encrypted.
        """
        header, body, rest = unpack_fast_path(data)
        if header.flags:
            raise DecodeError(f"TS_FP_UPDATE_PDU: flags {header.flags}, which belong to standard security")
        updates = []
        start = 0
        while start < len(body):
            update, start = _unpack_update(body, start)
            updates.append(update)
        return cls(tuple(updates)), rest


def _pack_pdu(parts: list[Buffer]) -> bytes:
    """`parts` behind an output header. The short form of the length ends at 127 bytes (OUT-02)."""
    length = sum(map(len, parts)) + 2
    if length <= 0x7F:
        return b"".join((bytes((0, length)), *parts))
    length += 1
    if length > MAX_PDU_SIZE:
        raise LocalProtocolError(f"fast-path PDU of {length} bytes, {MAX_PDU_SIZE} are possible")
    return b"".join((bytes((0, 0x80 | length >> 8, length & 0xFF)), *parts))


def can_fragment(max_request_size: int | None) -> bool:
    """Whether a client puts fragments together.

    Args:
        max_request_size: of its Multifragment Update Capability Set; None if it sent none. fact 36: Windows CE names
            less than 0x3FFF and means "no".
    """
    return max_request_size is not None and max_request_size >= MAX_PDU_SIZE


def pack_updates(updates: Iterable[tuple[int, Buffer]], *, max_request_size: int | None = None) -> list[bytes]:
    """Updates as fast-path PDUs: small ones share a PDU, large ones are cut into fragments.

    Args:
        updates: update code and data of each, in order.
        max_request_size: the client's own number (fact 35: FreeRDP hangs up when an update is longer than that); None
            if it sent none.

    Returns:
        complete PDUs, none longer than `MAX_PDU_SIZE`.

    Raises:
        LocalProtocolError: an update that this client cannot take.
    """
    limit = MAX_FRAGMENT_SIZE
    if max_request_size is not None and can_fragment(max_request_size):
        limit = max(limit, max_request_size)
    pdus: list[bytes] = []
    waiting: list[Buffer] = []  # updates of the PDU that is being filled
    filled = 0
    for code, data in updates:
        size = len(data)
        if size > limit:
            raise LocalProtocolError(f"an update of {size} bytes, the client takes {limit}")
        if size <= MAX_FRAGMENT_SIZE:
            if filled + size + 6 > MAX_PDU_SIZE:
                pdus.append(_pack_pdu(waiting))
                waiting, filled = [], 0
            waiting.append(_UPDATE_HEADER.pack(code, size))
            waiting.append(data)
            filled += size + 3
            continue
        if waiting:
            pdus.append(_pack_pdu(waiting))
            waiting, filled = [], 0
        pdus.extend(_fragments(code, memoryview(data)))
    if waiting:
        pdus.append(_pack_pdu(waiting))
    return pdus


def _fragments(code: int, data: memoryview) -> Iterable[bytes]:
    """One PDU for each fragment; the data are longer than one."""
    kind = Fragmentation.FASTPATH_FRAGMENT_FIRST
    for start in range(0, len(data), MAX_FRAGMENT_SIZE):
        part = data[start : start + MAX_FRAGMENT_SIZE]
        if start + MAX_FRAGMENT_SIZE >= len(data):
            kind = Fragmentation.FASTPATH_FRAGMENT_LAST
        yield _pack_pdu([_UPDATE_HEADER.pack(kind << 4 | code, len(part)), part])
        kind = Fragmentation.FASTPATH_FRAGMENT_NEXT


class FragmentAssembler:
    """Puts the fragments of updates together: a client's side of `pack_updates`.

    Args:
        max_request_size: bytes of the longest update, as the client's Multifragment Update Capability Set says.
    """

    def __init__(self, max_request_size: int) -> None:
        self._max_request_size = max_request_size
        self._code: int | None = None
        self._data = bytearray()

    def add(self, update: FastPathUpdate) -> FastPathUpdate | None:
        """Take the next update, decompressed.

        Returns:
            a whole update, or None: more fragments have to come.

        Raises:
            DecodeError: fragments out of order, of different updates, or too many.
        """
        match update.fragmentation:
            case Fragmentation.FASTPATH_FRAGMENT_SINGLE:
                if self._code is not None:
                    raise DecodeError("TS_FP_UPDATE: a whole update among fragments")
                return update
            case Fragmentation.FASTPATH_FRAGMENT_FIRST:
                if self._code is not None:
                    raise DecodeError("TS_FP_UPDATE: a first fragment among fragments")
                self._code = update.update_code
            case _:
                if self._code != update.update_code:
                    raise DecodeError(f"TS_FP_UPDATE: a fragment of code {update.update_code} without its first")
        if len(self._data) + len(update.data) > self._max_request_size:
            raise DecodeError(f"TS_FP_UPDATE: fragments of more than {self._max_request_size} bytes")
        self._data += update.data
        if update.fragmentation != Fragmentation.FASTPATH_FRAGMENT_LAST:
            return None
        whole = FastPathUpdate(update.update_code, bytes(self._data))
        self._code = None
        self._data.clear()
        return whole
