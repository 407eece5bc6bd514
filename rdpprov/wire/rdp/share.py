"""The share: its control header, its data header, and what they carry.

After licensing everything on the I/O channel is a *share PDU*: a `ShareControlHeader` that says how long it is and of
which type; if the type is "data", a second header with a second type follows. The structures of the other modules
(`capabilities`, `finalization`, `input`, `pointer`, `session`, ...) are the bodies:

* sending: `pack_share_control` or `pack_share_data` puts the headers in front of a body;
* receiving: `unpack_share_pdu` takes the headers off, `rdpprov.wire.rdp.bodies.unpack_body` decodes what is left.

Source: [MS-RDPBCGR] 2.2.8.1.1.1 "Share Headers".
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Any, ClassVar, Protocol, Self

import attrs
from construct import Construct

from rdpprov.errinfo import ErrInfo
from rdpprov.errors import LocalProtocolError
from rdpprov.wire.base import Buffer, DecodeError, Reader, bounded_bytes, build_with, parse_with, uint8, uint16, uint32

SERVER_CHANNEL_ID = 0x03EA
"""The server's user channel: pduSource of what it sends, originatorId of Confirm Active, controlId of a grant."""


class PduType(IntEnum):
    """pduType of TS_SHARECONTROLHEADER, its low four bits; the version stands above them."""

    PDUTYPE_DEMANDACTIVEPDU = 0x1
    PDUTYPE_CONFIRMACTIVEPDU = 0x3
    PDUTYPE_DEACTIVATEALLPDU = 0x6
    PDUTYPE_DATAPDU = 0x7
    PDUTYPE_SERVER_REDIR_PKT = 0xA


class PduType2(IntEnum):
    """pduType2 of TS_SHAREDATAHEADER."""

    PDUTYPE2_UPDATE = 0x02
    PDUTYPE2_CONTROL = 0x14
    PDUTYPE2_POINTER = 0x1B
    PDUTYPE2_INPUT = 0x1C
    PDUTYPE2_SYNCHRONIZE = 0x1F
    PDUTYPE2_REFRESH_RECT = 0x21
    PDUTYPE2_PLAY_SOUND = 0x22
    PDUTYPE2_SUPPRESS_OUTPUT = 0x23
    PDUTYPE2_SHUTDOWN_REQUEST = 0x24
    PDUTYPE2_SHUTDOWN_DENIED = 0x25
    PDUTYPE2_SAVE_SESSION_INFO = 0x26
    PDUTYPE2_FONTLIST = 0x27
    PDUTYPE2_FONTMAP = 0x28
    PDUTYPE2_SET_KEYBOARD_INDICATORS = 0x29
    PDUTYPE2_BITMAPCACHE_PERSISTENT_LIST = 0x2B
    PDUTYPE2_BITMAPCACHE_ERROR_PDU = 0x2C
    PDUTYPE2_SET_KEYBOARD_IME_STATUS = 0x2D
    PDUTYPE2_OFFSCRCACHE_ERROR_PDU = 0x2E
    PDUTYPE2_SET_ERROR_INFO_PDU = 0x2F
    PDUTYPE2_DRAWNINEGRID_ERROR_PDU = 0x30
    PDUTYPE2_DRAWGDIPLUS_ERROR_PDU = 0x31
    PDUTYPE2_ARC_STATUS_PDU = 0x32
    PDUTYPE2_STATUS_INFO_PDU = 0x36
    PDUTYPE2_MONITOR_LAYOUT_PDU = 0x37
    PDUTYPE2_FRAME_ACKNOWLEDGE = 0x38


class StreamId(IntEnum):
    """streamId of TS_SHAREDATAHEADER: the priority that the PDU had in the sender's queues."""

    STREAM_UNDEFINED = 0
    STREAM_LOW = 1
    STREAM_MED = 2
    STREAM_HI = 4


class CompressedType(IntEnum):
    """Bits of compressedType of TS_SHAREDATAHEADER; the low nibble is the type of bulk compression."""

    PACKET_COMPRESSED = 0x20
    PACKET_AT_FRONT = 0x40
    PACKET_FLUSHED = 0x80


class ShareDataTooShortError(DecodeError):
    """A share header is cut off, or announces more than there is."""

    errinfo = ErrInfo.ERRINFO_SHAREDATATOOSHORT


class UnknownPduTypeError(DecodeError):
    """pduType of a share control header is none of `PduType`, or of another protocol version."""

    errinfo = ErrInfo.ERRINFO_UNKNOWNPDUTYPE


class UnknownPduType2Error(DecodeError):
    """pduType2 of a share data header is none that we know."""

    errinfo = ErrInfo.ERRINFO_UNKNOWNPDUTYPE2


class LaidOut:
    """Base of structures whose construct definition `LAYOUT` says all: its names are the names of the fields."""

    __slots__ = ()

    LAYOUT: ClassVar[Construct[Any, Any]]

    @classmethod
    def spelling(cls) -> str:
        """The standard's name of the structure: by our rule the first word of its docstring."""
        return (cls.__doc__ or cls.__name__).partition(":")[0]

    def pack(self) -> bytes:
        """The bytes on the wire."""
        return build_with(self.LAYOUT, self._wire_values(), self.spelling())

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[Self, bytes]:
        """Take one structure off the front of `data`.

        Returns:
            the structure, and the bytes behind it.

        Raises:
            DecodeError: too short, or a value that cannot be.
        """
        parsed, rest = parse_with(cls.LAYOUT, data, cls.spelling())
        return cls._from_wire(parsed), rest

    def _wire_values(self) -> dict[str, Any]:
        return attrs.asdict(self, recurse=False)  # type: ignore[arg-type]  # every subclass is an attrs class

    @classmethod
    def _from_wire(cls, parsed: Any) -> Self:
        return cls(**{field.name: parsed[field.name] for field in attrs.fields(cls)})  # type: ignore[arg-type]


class ShareControlBody(Protocol):
    """A structure that rides behind a `ShareControlHeader`."""

    PDU_TYPE: ClassVar[PduType]

    def pack(self) -> bytes:
        """The bytes behind the header."""
        ...


class ShareDataBody(Protocol):
    """A structure that rides behind the headers of a `ShareDataPdu`."""

    PDU_TYPE2: ClassVar[PduType2]

    def pack(self) -> bytes:
        """The bytes behind the headers."""
        ...


# Both headers stand before every slow-path input event: `struct` by hand. The construct definitions are in the tests.

_VERSION = 0x0010  # TS_PROTOCOL_VERSION, above the type
_FLOW_MARKER = 0x8000


@attrs.frozen
class ShareControlHeader:
    """TS_SHARECONTROLHEADER: length and type of a share PDU. 6 bytes, little-endian.

    Source: [MS-RDPBCGR] 2.2.8.1.1.1.1 "Share Control Header".
    """

    LAYOUT: ClassVar[Struct] = Struct("<3H")

    total_length: int = uint16()
    """Bytes of the whole PDU, this header included."""
    pdu_type: int = uint8()
    """A `PduType`; the version (1) is added by `pack` and checked by `unpack`."""
    pdu_source: int = uint16()
    """MCS channel of the sender; 0 in Set Error Info."""

    def pack(self) -> bytes:
        """The bytes on the wire."""
        return self.LAYOUT.pack(self.total_length, self.pdu_type | _VERSION, self.pdu_source)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[ShareControlHeader, bytes]:
        """Take the header off the front of `data`.

        Raises:
            ShareDataTooShortError: fewer than 6 bytes, or a total length below 6.
            UnknownPduTypeError: another protocol version.
        """
        if len(data) < cls.LAYOUT.size:
            raise ShareDataTooShortError(f"TS_SHARECONTROLHEADER: {len(data)} bytes, not 6")
        total_length, pdu_type, pdu_source = cls.LAYOUT.unpack_from(data)
        if total_length < cls.LAYOUT.size:
            raise ShareDataTooShortError(f"TS_SHARECONTROLHEADER: totalLength {total_length} is below its own 6")
        return cls(total_length, _checked_type(pdu_type), pdu_source), bytes(data[cls.LAYOUT.size :])


def _checked_type(pdu_type: int) -> int:
    if pdu_type & 0xF0 != _VERSION:
        raise UnknownPduTypeError(f"TS_SHARECONTROLHEADER: pduType 0x{pdu_type:04X} is not of version 1")
    return pdu_type & 0x0F


@attrs.frozen
class ShareControlPdu:
    """TS_SHARECONTROLHEADER: with its body, undecoded; what `unpack_share_pdu` gives for all types but "data"."""

    pdu_type: int = uint8()
    """A `PduType`."""
    pdu_source: int = uint16()
    """MCS channel of the sender."""
    body: bytes = bounded_bytes(0x7FFF)
    """What follows the header, up to its totalLength."""

    def pack(self) -> bytes:
        """The bytes on the wire.

        Raises:
            LocalProtocolError: more than a totalLength can say.
        """
        total_length = ShareControlHeader.LAYOUT.size + len(self.body)
        if total_length >= _FLOW_MARKER:
            raise LocalProtocolError(f"a share PDU of {total_length} bytes would read as a flow PDU")
        return ShareControlHeader(total_length, self.pdu_type, self.pdu_source).pack() + self.body


@attrs.frozen
class ShareDataPdu:
    """TS_SHAREDATAHEADER: a data PDU with its body, undecoded. 18 bytes of headers, little-endian.

    Source: [MS-RDPBCGR] 2.2.8.1.1.1.2 "Share Data Header".
    """

    LAYOUT: ClassVar[Struct] = Struct("<3HIxBHBBH")

    pdu_source: int = uint16()
    """MCS channel of the sender."""
    share_id: int = uint32()
    """The share, as Demand Active named it."""
    pdu_type2: int = uint8()
    """A `PduType2`; others occur, and are ERRINFO_UNKNOWNPDUTYPE2."""
    body: bytes = bounded_bytes(0x7FFF)
    """What follows the headers; still compressed if `compressed_type` says so."""
    stream_id: int = uint8(default=StreamId.STREAM_LOW)
    """A `StreamId`."""
    compressed_type: int = uint8(default=0)
    """`CompressedType` bits and the compression type; 0 for a plain body."""
    uncompressed_length: int = uint16(default=attrs.Factory(lambda pdu: len(pdu.body), takes_self=True))
    """Bytes of the body before compression. Implementations disagree whether headers count; nobody checks it."""
    compressed_length: int = uint16(default=0)
    """Of a compressed PDU the bytes of the body and 18, else 0."""

    def pack(self) -> bytes:
        """The bytes on the wire.

        Raises:
            LocalProtocolError: more than a totalLength can say.
        """
        total_length = self.LAYOUT.size + len(self.body)
        if total_length >= _FLOW_MARKER:
            raise LocalProtocolError(f"a share PDU of {total_length} bytes would read as a flow PDU")
        return (
            self.LAYOUT.pack(
                total_length,
                PduType.PDUTYPE_DATAPDU | _VERSION,
                self.pdu_source,
                self.share_id,
                self.stream_id,
                self.uncompressed_length,
                self.pdu_type2,
                self.compressed_type,
                self.compressed_length,
            )
            + self.body
        )


@attrs.frozen
class FlowPdu:
    """TS_FLOW_PDU: flow control of the T.128 days: marked by 0x8000 where others have their length. To be ignored.

    Source: ITU-T T.128 8.5 "Flow control"; 8 bytes.
    """

    LAYOUT: ClassVar[Struct] = Struct("<HxBBBH")

    pdu_type_flow: int = uint8()
    """Test, response or stop."""
    flow_identifier: int = uint8()
    """Which flow."""
    flow_number: int = uint8()
    """Which turn of it."""
    pdu_source: int = uint16()
    """MCS channel of the sender."""

    def pack(self) -> bytes:
        """The bytes on the wire."""
        return self.LAYOUT.pack(
            _FLOW_MARKER, self.pdu_type_flow, self.flow_identifier, self.flow_number, self.pdu_source
        )

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[FlowPdu, bytes]:
        """Take one off the front of `data`.

        Raises:
            ShareDataTooShortError: fewer than 8 bytes.
        """
        if len(data) < cls.LAYOUT.size:
            raise ShareDataTooShortError(f"TS_FLOW_PDU: {len(data)} bytes, not 8")
        marker, pdu_type_flow, flow_identifier, flow_number, pdu_source = cls.LAYOUT.unpack_from(data)
        if marker != _FLOW_MARKER:
            raise DecodeError(f"TS_FLOW_PDU: marker 0x{marker:04X}, not 0x8000")
        return cls(pdu_type_flow, flow_identifier, flow_number, pdu_source), bytes(data[cls.LAYOUT.size :])


SharePdu = ShareControlPdu | ShareDataPdu | FlowPdu
"""What stands in the data of one send-data PDU on the I/O channel; several may follow each other."""


def unpack_share_pdu(data: Buffer) -> tuple[SharePdu, bytes]:
    """Take one share PDU off the front of `data`, headers only: its body stays as it is.

    Returns:
        the PDU, and the bytes behind it, where further share PDUs may stand.

    Raises:
        ShareDataTooShortError: totalLength below its header or beyond `data`.
        UnknownPduTypeError: a type or version that does not exist.
    """
    size = len(data)
    if size < 4:
        raise ShareDataTooShortError(f"TS_SHARECONTROLHEADER: {size} bytes, not 6")
    total_length = data[0] | data[1] << 8
    if total_length == _FLOW_MARKER:
        return FlowPdu.unpack(data)
    if not 4 <= total_length <= size:
        raise ShareDataTooShortError(f"TS_SHARECONTROLHEADER: totalLength {total_length}, {size} bytes are there")
    pdu_type = _checked_type(data[2] | data[3] << 8)
    rest = bytes(data[total_length:])
    if pdu_type == PduType.PDUTYPE_DATAPDU:
        if total_length < ShareDataPdu.LAYOUT.size:
            raise ShareDataTooShortError(f"TS_SHAREDATAHEADER: totalLength {total_length} is below its own 18")
        (_, _, source, share_id, stream_id, uncompressed, pdu_type2, compressed_type, compressed) = (
            ShareDataPdu.LAYOUT.unpack_from(data)
        )
        body = bytes(data[ShareDataPdu.LAYOUT.size : total_length])
        pdu = ShareDataPdu(source, share_id, pdu_type2, body, stream_id, compressed_type, uncompressed, compressed)
        return pdu, rest
    if pdu_type not in _CONTROL_TYPES:
        raise UnknownPduTypeError(f"TS_SHARECONTROLHEADER: pduType {pdu_type:X} is not known")
    if total_length < ShareControlHeader.LAYOUT.size:
        # fact 42: real servers send a Deactivate All without a body; Windows XP leaves out even the pduSource
        if pdu_type == PduType.PDUTYPE_DEACTIVATEALLPDU:
            return ShareControlPdu(pdu_type, 0, b""), rest
        raise ShareDataTooShortError(f"TS_SHARECONTROLHEADER: totalLength {total_length} is below its own 6")
    return ShareControlPdu(pdu_type, data[4] | data[5] << 8, bytes(data[6:total_length])), rest


_CONTROL_TYPES = frozenset(PduType)


def pack_share_control(body: ShareControlBody, *, pdu_source: int = SERVER_CHANNEL_ID) -> bytes:
    """`body` behind its share control header.

    Args:
        pdu_source: the sender's user channel; a client's own comes with its attach-user confirm.
    """
    return ShareControlPdu(body.PDU_TYPE, pdu_source, body.pack()).pack()


def pack_share_data(
    body: ShareDataBody, *, share_id: int, pdu_source: int = SERVER_CHANNEL_ID, stream_id: int = StreamId.STREAM_LOW
) -> bytes:
    """`body`, uncompressed, behind both share headers.

    Args:
        share_id: as Demand Active named it.
        pdu_source: the sender's user channel; 0 in Set Error Info (ERR-01).
        stream_id: a `StreamId`.
    """
    return ShareDataPdu(pdu_source, share_id, body.PDU_TYPE2, body.pack(), stream_id).pack()


@attrs.frozen
class DeactivateAll:
    """TS_DEACTIVATE_ALL_PDU: ends the share; a new Demand Active or the end of the connection follows.

    Source: [MS-RDPBCGR] 2.2.3.1.1 "Deactivate All PDU Data".
    """

    PDU_TYPE: ClassVar[PduType] = PduType.PDUTYPE_DEACTIVATEALLPDU

    share_id: int = uint32()
    """The share that ends; 0 if the sender left it out."""
    source_descriptor: bytes = bounded_bytes(0xFFFF, default=b"\0")
    """Ignored; one NUL is usual."""

    def pack(self) -> bytes:
        """The bytes behind the share control header."""
        return (
            self.share_id.to_bytes(4, "little")
            + len(self.source_descriptor).to_bytes(2, "little")
            + self.source_descriptor
        )

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[DeactivateAll, bytes]:
        """Take one off the front of `data`.

        Raises:
            DecodeError: it is cut off; a body that is missing as a whole is fine.
        """
        if not data:
            return cls(0, b""), b""  # fact 42: body-less forms are tolerated and are sent by real servers
        reader = Reader(data, "TS_DEACTIVATE_ALL_PDU")
        share_id = reader.u32()
        descriptor = reader.take(reader.u16())
        return cls(share_id, descriptor), reader.rest()
