"""MCS: the connect PDUs (BER) and the domain PDUs (PER). Source: [MS-RDPBCGR] 2.2.1.3 to 2.2.1.9, 2.2.2.3; ITU-T T.125.

What is here is the payload of X.224 Data. The user data of the connect PDUs is `rdpprov.wire.rdp.gcc`.
"""

from __future__ import annotations

import functools
from enum import IntEnum
from struct import Struct
from typing import ClassVar

import attrs

from rdpprov.errors import LocalProtocolError
from rdpprov.wire.base import (
    Buffer,
    DecodeError,
    Reader,
    bounded_bytes,
    integer,
    known,
    required,
    uint3,
    uint4,
    uint8,
    uint16,
    uint32,
)
from rdpprov.wire.rdp import ber, per
from rdpprov.wire.rdp.tpkt import TPKT_VERSION

CONNECT_INITIAL_TAG = 0x7F65
CONNECT_RESPONSE_TAG = 0x7F66

MCS_BASE_CHANNEL_ID = 1001
"""The lowest user id; on the wire user ids are written less this."""
MCS_GLOBAL_CHANNEL_ID = 1003
"""The I/O channel, by custom."""
MCS_SERVER_CHANNEL_ID = 1002
"""The server's own user id, by custom."""
USER_DATA_MAXIMUM = per.LENGTH_MAXIMUM


class McsResult(IntEnum):
    """Result: the answer in every MCS confirm. Source: ITU-T T.125 7."""

    RT_SUCCESSFUL = 0
    RT_DOMAIN_MERGING = 1
    RT_DOMAIN_NOT_HIERARCHICAL = 2
    RT_NO_SUCH_CHANNEL = 3
    RT_NO_SUCH_DOMAIN = 4
    RT_NO_SUCH_USER = 5
    RT_NOT_ADMITTED = 6
    RT_OTHER_USER_ID = 7
    RT_PARAMETERS_UNACCEPTABLE = 8
    RT_TOKEN_NOT_AVAILABLE = 9
    RT_TOKEN_NOT_POSSESSED = 10
    RT_TOO_MANY_CHANNELS = 11
    RT_TOO_MANY_TOKENS = 12
    RT_TOO_MANY_USERS = 13
    RT_UNSPECIFIED_FAILURE = 14
    RT_USER_REJECTED = 15


class DisconnectReason(IntEnum):
    """Reason of DisconnectProviderUltimatum. Source: ITU-T T.125 7."""

    RN_DOMAIN_DISCONNECTED = 0
    RN_PROVIDER_INITIATED = 1
    RN_TOKEN_PURGED = 2
    RN_USER_REQUESTED = 3
    RN_CHANNEL_PURGED = 4


# Connect PDUs


@attrs.frozen
class DomainParameters:
    """DomainParameters: limits of an MCS domain. The defaults are a known-good answer. Source: ITU-T T.125 7."""

    max_channel_ids: int = uint32(default=34)
    max_user_ids: int = uint32(default=3)
    max_token_ids: int = uint32(default=0)
    num_priorities: int = uint32(default=1)
    min_throughput: int = uint32(default=0)
    max_height: int = uint32(default=1)
    max_mcs_pdu_size: int = uint32(default=65528)
    protocol_version: int = uint32(default=2)

    def pack(self) -> bytes:
        """A SEQUENCE of eight INTEGERs."""
        return ber.pack_element(ber.TAG_SEQUENCE, b"".join(map(ber.pack_integer, attrs.astuple(self))))

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[DomainParameters, bytes]:
        """The structure and what follows it.

        Raises:
            DecodeError: not a SEQUENCE of eight unsigned 32-bit INTEGERs.
        """
        reader = Reader(data, "DomainParameters")
        return cls._read(reader), reader.rest()

    @classmethod
    def _read(cls, reader: Reader) -> DomainParameters:
        with ber.read_element(reader, ber.TAG_SEQUENCE) as sequence:
            if sequence.remaining <= _LONGEST_PARAMETERS:
                return _remembered_parameters(sequence.rest())
            return cls(*[ber.read_integer(sequence) for _ in range(8)])


_LONGEST_PARAMETERS = 64
"""Bytes: eight INTEGERs of up to five; with leading zeros there may be more."""


@functools.lru_cache(64)
def _remembered_parameters(content: bytes) -> DomainParameters:
    """Those of the same bytes as before: nearly all clients send the same three."""
    with Reader(content, "DomainParameters") as sequence:
        return DomainParameters(*[ber.read_integer(sequence) for _ in range(8)])


TARGET_PARAMETERS = DomainParameters(34, 2, 0, 1, 0, 1, 65535, 2)
MINIMUM_PARAMETERS = DomainParameters(1, 1, 1, 1, 0, 1, 1056, 2)
MAXIMUM_PARAMETERS = DomainParameters(65535, 64535, 65535, 1, 0, 1, 65535, 2)


@attrs.frozen
class ConnectInitial:
    """Connect-Initial: the client opens the domain. Source: [MS-RDPBCGR] 2.2.1.3, ITU-T T.125 7.

    The defaults are what Windows' client sends.
    """

    user_data: bytes = required(repr=False)
    """A GCC Conference Create Request."""
    target_parameters: DomainParameters = TARGET_PARAMETERS
    minimum_parameters: DomainParameters = MINIMUM_PARAMETERS
    maximum_parameters: DomainParameters = MAXIMUM_PARAMETERS
    calling_domain_selector: bytes = bounded_bytes(255, default=b"\1")
    called_domain_selector: bytes = bounded_bytes(255, default=b"\1")
    upward_flag: bool = True

    def pack(self) -> bytes:
        """The PDU, without X.224."""
        return ber.pack_element(
            CONNECT_INITIAL_TAG,
            ber.pack_element(ber.TAG_OCTET_STRING, self.calling_domain_selector)
            + ber.pack_element(ber.TAG_OCTET_STRING, self.called_domain_selector)
            + ber.pack_boolean(self.upward_flag)
            + self.target_parameters.pack()
            + self.minimum_parameters.pack()
            + self.maximum_parameters.pack()
            + ber.pack_element(ber.TAG_OCTET_STRING, self.user_data),
        )

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[ConnectInitial, bytes]:
        """The PDU and what follows it.

        Raises:
            DecodeError: not a Connect-Initial, an indefinite length, or one beyond the data.
        """
        reader = Reader(data, "Connect-Initial")
        with ber.read_element(reader, CONNECT_INITIAL_TAG) as body:
            calling = _read_selector(body)
            called = _read_selector(body)
            upward = ber.read_boolean(body)
            target, minimum, maximum = (DomainParameters._read(body) for _ in range(3))
            user_data = ber.read_element(body, ber.TAG_OCTET_STRING).rest()
        return cls(user_data, target, minimum, maximum, calling, called, upward), reader.rest()


def _read_selector(reader: Reader) -> bytes:
    selector = ber.read_element(reader, ber.TAG_OCTET_STRING).rest()
    if len(selector) > 255:
        raise DecodeError(f"{reader.structure}: domain selector of {len(selector)} bytes, expected up to 255")
    return selector


@attrs.frozen
class ConnectResponse:
    """Connect-Response: the server's answer. Source: [MS-RDPBCGR] 2.2.1.4, ITU-T T.125 7."""

    user_data: bytes = required(repr=False)
    """A GCC Conference Create Response."""
    domain_parameters: DomainParameters = attrs.field(factory=DomainParameters)
    result: McsResult | int = uint8(default=McsResult.RT_SUCCESSFUL)
    called_connect_id: int = uint32(default=0)

    def pack(self) -> bytes:
        """The PDU, without X.224."""
        return ber.pack_element(
            CONNECT_RESPONSE_TAG,
            ber.pack_integer(self.result, ber.TAG_ENUMERATED)
            + ber.pack_integer(self.called_connect_id)
            + self.domain_parameters.pack()
            + ber.pack_element(ber.TAG_OCTET_STRING, self.user_data),
        )

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[ConnectResponse, bytes]:
        """The PDU and what follows it.

        Raises:
            DecodeError: not a Connect-Response, an indefinite length, or one beyond the data.
        """
        reader = Reader(data, "Connect-Response")
        with ber.read_element(reader, CONNECT_RESPONSE_TAG) as body:
            result = ber.read_integer(body, ber.TAG_ENUMERATED)
            if result > 0xFF:
                raise DecodeError(f"Connect-Response: result {result}")
            called_connect_id = ber.read_integer(body)
            parameters = DomainParameters._read(body)
            user_data = ber.read_element(body, ber.TAG_OCTET_STRING).rest()
        return cls(user_data, parameters, known(McsResult, result), called_connect_id), reader.rest()


# Domain PDUs. CHOICE is a PDU's number in DomainMCSPDU. It stands in the upper six bits of the first byte; the lower
# two are the bit of an optional field and the first bits of an enumeration, which goes on in the next byte.


def _open(data: Buffer, choice: int, structure: str) -> tuple[int, Reader]:
    """The low two bits of the first byte, and a reader of what follows it."""
    reader = Reader(data, structure)
    first = reader.u8()
    if first >> 2 != choice:
        raise DecodeError(f"{structure}: choice {first >> 2}, expected {choice}")
    return first & 3, reader


user_id = integer(MCS_BASE_CHANNEL_ID, 0xFFFF, "user id")


def _read_user_id(reader: Reader) -> int:
    value = reader.u16be() + MCS_BASE_CHANNEL_ID
    if value > 0xFFFF:
        raise DecodeError(f"{reader.structure}: user id {value}, expected up to 65535")
    return value


@attrs.frozen
class ErectDomainRequest:
    """ErectDomainRequest: a formality of the client. Source: [MS-RDPBCGR] 2.2.1.5."""

    CHOICE: ClassVar[int] = 1
    FIXED_WIDTH: ClassVar[Struct] = Struct(">HH")

    sub_height: int = uint32(default=0)
    """Ignored."""
    sub_interval: int = uint32(default=0)
    """Ignored."""
    fixed_width: bool = False
    """Written as two 16-bit numbers, ``04 00 01 00 01``, as rdesktop and aardwolf do, not as PER has it."""

    def pack(self) -> bytes:
        """The PDU, without X.224.

        Raises:
            LocalProtocolError: with `fixed_width`, a height above 255 (its zero byte tells the form) or an interval
                above 65535.
        """
        if not self.fixed_width:
            return bytes([self.CHOICE << 2]) + per.pack_integer(self.sub_height) + per.pack_integer(self.sub_interval)
        if self.sub_height > 0xFF or self.sub_interval > 0xFFFF:
            raise LocalProtocolError("ErectDomainRequest: numbers that do not go with fixed_width")
        return bytes([self.CHOICE << 2]) + self.FIXED_WIDTH.pack(self.sub_height, self.sub_interval)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[ErectDomainRequest, bytes]:
        """The PDU and what follows it.

        Raises:
            DecodeError: one of the two numbers is missing.
        """
        _, reader = _open(data, cls.CHOICE, "ErectDomainRequest")
        if reader.peek() == 0:  # a PER integer has at least one byte, so this is the form with fixed width
            sub_height, sub_interval = reader.fields(cls.FIXED_WIDTH)
            return cls(sub_height, sub_interval, True), reader.rest()
        return cls(per.read_integer(reader), per.read_integer(reader)), reader.rest()


@attrs.frozen
class AttachUserRequest:
    """AttachUserRequest: the client asks for a user id. Source: [MS-RDPBCGR] 2.2.1.6."""

    CHOICE: ClassVar[int] = 10

    def pack(self) -> bytes:
        """The PDU, without X.224."""
        return bytes([self.CHOICE << 2])

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[AttachUserRequest, bytes]:
        """The PDU and what follows it.

        Raises:
            DecodeError: another PDU.
        """
        _, reader = _open(data, cls.CHOICE, "AttachUserRequest")
        return cls(), reader.rest()


def _pack_confirm(choice: int, optional: bool, result: int) -> bytes:
    """Choice, the bit of the optional field, and the four bits of the result."""
    return bytes([choice << 2 | optional << 1 | result >> 3, result << 5 & 0xFF])


def _read_result(low_bits: int, reader: Reader) -> McsResult:
    return McsResult((low_bits & 1) << 3 | reader.u8() >> 5)


@attrs.frozen
class AttachUserConfirm:
    """AttachUserConfirm: the server gives a user id. Source: [MS-RDPBCGR] 2.2.1.7."""

    CHOICE: ClassVar[int] = 11

    initiator: int | None = user_id(optional=True)
    """The user id, which is the user channel's id too; None when `result` is a failure."""
    result: McsResult = uint4(default=McsResult.RT_SUCCESSFUL)

    def pack(self) -> bytes:
        """The PDU, without X.224."""
        packed = _pack_confirm(self.CHOICE, self.initiator is not None, self.result)
        return packed if self.initiator is None else packed + _UINT16BE.pack(self.initiator - MCS_BASE_CHANNEL_ID)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[AttachUserConfirm, bytes]:
        """The PDU and what follows it.

        Raises:
            DecodeError: another PDU, or too short.
        """
        low_bits, reader = _open(data, cls.CHOICE, "AttachUserConfirm")
        result = _read_result(low_bits, reader)
        return cls(_read_user_id(reader) if low_bits & 2 else None, result), reader.rest()


@attrs.frozen
class ChannelJoinRequest:
    """ChannelJoinRequest: the client joins a channel. Source: [MS-RDPBCGR] 2.2.1.8."""

    CHOICE: ClassVar[int] = 14
    LAYOUT: ClassVar[Struct] = Struct(">BHH")

    initiator: int = user_id()
    """The client's user id."""
    channel_id: int = uint16()

    def pack(self) -> bytes:
        """The PDU, without X.224."""
        return self.LAYOUT.pack(self.CHOICE << 2, self.initiator - MCS_BASE_CHANNEL_ID, self.channel_id)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[ChannelJoinRequest, bytes]:
        """The PDU and what follows it.

        Raises:
            DecodeError: another PDU, or too short.
        """
        _, reader = _open(data, cls.CHOICE, "ChannelJoinRequest")
        return cls(_read_user_id(reader), reader.u16be()), reader.rest()


@attrs.frozen
class ChannelJoinConfirm:
    """ChannelJoinConfirm: the server's answer. Source: [MS-RDPBCGR] 2.2.1.9."""

    CHOICE: ClassVar[int] = 15

    initiator: int = user_id()
    """The client's user id."""
    requested: int = uint16()
    """What the client asked for."""
    channel_id: int | None = uint16(optional=True)
    """What it got, the same; None when `result` is a failure."""
    result: McsResult = uint4(default=McsResult.RT_SUCCESSFUL)

    def pack(self) -> bytes:
        """The PDU, without X.224."""
        packed = _pack_confirm(self.CHOICE, self.channel_id is not None, self.result)
        packed += _UINT16BE.pack(self.initiator - MCS_BASE_CHANNEL_ID) + _UINT16BE.pack(self.requested)
        return packed if self.channel_id is None else packed + _UINT16BE.pack(self.channel_id)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[ChannelJoinConfirm, bytes]:
        """The PDU and what follows it.

        Raises:
            DecodeError: another PDU, or too short.
        """
        low_bits, reader = _open(data, cls.CHOICE, "ChannelJoinConfirm")
        result = _read_result(low_bits, reader)
        initiator, requested = _read_user_id(reader), reader.u16be()
        return cls(initiator, requested, reader.u16be() if low_bits & 2 else None, result), reader.rest()


@attrs.frozen
class DisconnectProviderUltimatum:
    """DisconnectProviderUltimatum: either side ends the connection. Source: [MS-RDPBCGR] 2.2.2.3."""

    CHOICE: ClassVar[int] = 8

    reason: DisconnectReason | int = uint3(default=DisconnectReason.RN_USER_REQUESTED)
    """Three bits; clients take RN_USER_REQUESTED without error info for a logoff (fact 77)."""

    def pack(self) -> bytes:
        """The PDU, without X.224."""
        return bytes([self.CHOICE << 2 | self.reason >> 1, (self.reason & 1) << 7])

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[DisconnectProviderUltimatum, bytes]:
        """The PDU and what follows it.

        Raises:
            DecodeError: another PDU, or too short.
        """
        low_bits, reader = _open(data, cls.CHOICE, "DisconnectProviderUltimatum")
        return cls(known(DisconnectReason, low_bits << 1 | reader.u8() >> 7)), reader.rest()


_UINT16BE = Struct(">H")
_SEND_DATA = Struct(">BHHB")
_FRAMED_SEND_DATA = Struct(">BBH3sBHHBH")
_SHORT_FRAMED_SEND_DATA = Struct(">BBH3sBHHBB")
_PRIORITY_AND_SEGMENTATION = 0x70  # dataPriority high, segmentation begin + end: all that RDP knows


@attrs.frozen
class _SendData:
    """What the two directions of Send Data have in common."""

    CHOICE: ClassVar[int]

    initiator: int = user_id()
    """The sender's user id."""
    channel_id: int = uint16()
    user_data: bytes = required(repr=False)
    """Up to 16383 bytes."""

    @property
    def data_priority(self) -> int:
        """dataPriority: always 1, high; any other is read alike."""
        return _PRIORITY_AND_SEGMENTATION >> 6

    @property
    def segmentation(self) -> int:
        """segmentation: always 3, begin and end."""
        return _PRIORITY_AND_SEGMENTATION >> 4 & 3

    def pack(self) -> bytes:
        """The PDU, without X.224.

        Raises:
            LocalProtocolError: the user data is too long.
        """
        length = per.pack_length(len(self.user_data))
        initiator = self.initiator - MCS_BASE_CHANNEL_ID
        header = _SEND_DATA.pack(self.CHOICE << 2, initiator, self.channel_id, _PRIORITY_AND_SEGMENTATION)
        return header + length + self.user_data


@attrs.frozen
class SendDataRequest(_SendData):
    """SendDataRequest: data of the client on a channel. Source: [MS-RDPBCGR] 2.2.8.1.1.1, ITU-T T.125 7."""

    CHOICE: ClassVar[int] = 25

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[SendDataRequest, bytes]:
        """The PDU and what follows it.

        Raises:
            DecodeError: another PDU, too short, segmented, or with a fragmented length.
        """
        initiator, channel_id, user_data, rest = _unpack_send_data(data, cls.CHOICE, "SendDataRequest")
        return cls(initiator, channel_id, user_data), rest


@attrs.frozen
class SendDataIndication(_SendData):
    """SendDataIndication: data of the server on a channel. Source: [MS-RDPBCGR] 2.2.8.1.1.1, ITU-T T.125 7."""

    CHOICE: ClassVar[int] = 26

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[SendDataIndication, bytes]:
        """The PDU and what follows it.

        Raises:
            DecodeError: another PDU, too short, segmented, or with a fragmented length.
        """
        initiator, channel_id, user_data, rest = _unpack_send_data(data, cls.CHOICE, "SendDataIndication")
        return cls(initiator, channel_id, user_data), rest


def _unpack_send_data(data: Buffer, choice: int, structure: str) -> tuple[int, int, bytes, bytes]:
    """By hand: this runs for every slow-path PDU and every channel chunk."""
    size = len(data)
    if size < 7:
        raise DecodeError(f"{structure}: needs 7 bytes, {size} left")
    first, initiator, channel_id, flags = _SEND_DATA.unpack_from(data)
    if first >> 2 != choice:
        raise DecodeError(f"{structure}: choice {first >> 2}, expected {choice}")
    if flags & 0x30 != 0x30:
        raise DecodeError(f"{structure}: segmentation {flags >> 4 & 3}, expected 3 (begin and end)")
    length, start = data[6], 7
    if length & 0x80:
        if length & 0x40:
            raise DecodeError(f"{structure}: fragmented PER length 0x{length:02X}")
        if size < 8:
            raise DecodeError(f"{structure}: needs 8 bytes, {size} left")
        length, start = (length & 0x3F) << 8 | data[7], 8
    end = start + length
    if end > size:
        raise DecodeError(f"{structure}: needs {length} bytes, {size - start} left")
    initiator += MCS_BASE_CHANNEL_ID
    if initiator > 0xFFFF:
        raise DecodeError(f"{structure}: user id {initiator}, expected up to 65535")
    return initiator, channel_id, bytes(data[start:end]), bytes(data[end:])


def frame_send_data_indication(initiator: int, channel_id: int, user_data: bytes) -> bytes:
    """A whole unit: TPKT, X.224 Data, SendDataIndication, `user_data`, with one copy of it.

    Raises:
        LocalProtocolError: the user data is too long.
    """
    return _frame_send_data(SendDataIndication.CHOICE, initiator, channel_id, user_data)


def frame_send_data_request(initiator: int, channel_id: int, user_data: bytes) -> bytes:
    """A whole unit: TPKT, X.224 Data, SendDataRequest, `user_data`, with one copy of it.

    Raises:
        LocalProtocolError: the user data is too long.
    """
    return _frame_send_data(SendDataRequest.CHOICE, initiator, channel_id, user_data)


def _frame_send_data(choice: int, initiator: int, channel_id: int, user_data: bytes) -> bytes:
    length = len(user_data)
    if length > USER_DATA_MAXIMUM:
        raise LocalProtocolError(f"PER: a content of {length} bytes, {USER_DATA_MAXIMUM} are possible")
    layout, written = (_SHORT_FRAMED_SEND_DATA, length) if length < 0x80 else (_FRAMED_SEND_DATA, 0x8000 | length)
    return (
        layout.pack(
            TPKT_VERSION,
            0,
            layout.size + length,
            b"\x02\xf0\x80",
            choice << 2,
            initiator - MCS_BASE_CHANNEL_ID,
            channel_id,
            _PRIORITY_AND_SEGMENTATION,
            written,
        )
        + user_data
    )


AnyDomainPdu = (
    ErectDomainRequest
    | AttachUserRequest
    | AttachUserConfirm
    | ChannelJoinRequest
    | ChannelJoinConfirm
    | SendDataRequest
    | SendDataIndication
    | DisconnectProviderUltimatum
)

_DOMAIN_PDUS: dict[int, type[AnyDomainPdu]] = {
    kind.CHOICE: kind
    for kind in (
        ErectDomainRequest,
        AttachUserRequest,
        AttachUserConfirm,
        ChannelJoinRequest,
        ChannelJoinConfirm,
        SendDataRequest,
        SendDataIndication,
        DisconnectProviderUltimatum,
    )
}


def unpack_domain_pdu(data: Buffer) -> AnyDomainPdu:
    """The domain PDU that `data`, the payload of an X.224 Data TPDU, is.

    Raises:
        DecodeError: a PDU that RDP does not use, a malformed one, or bytes behind it; only behind ErectDomainRequest
            they are dropped, because clients write that one in several lengths.
    """
    if not data:
        raise DecodeError("DomainMCSPDU: needs 1 bytes, 0 left")
    kind = _DOMAIN_PDUS.get(data[0] >> 2)
    if kind is None:
        raise DecodeError(f"DomainMCSPDU: choice {data[0] >> 2}, which RDP does not use")
    pdu, rest = kind.unpack(data)
    if rest and kind is not ErectDomainRequest:
        raise DecodeError(f"{kind.__name__}: {len(rest)} bytes too many")
    return pdu
