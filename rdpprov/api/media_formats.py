"""TSMF_SUPPORT_*: what Media Foundation asks with WTS_QUERY_MF_FORMAT_SUPPORT, and the answer, in their binary form.

Source: "TSMF_SUPPORT_DATA_IN" and the pages beside it; TS_AM_MEDIA_TYPE is that of [MS-RDPEV] 2.2.7. Little-endian;
without padding, for the records follow each other at any length and no page says otherwise.
"""

import uuid
from struct import Struct
from typing import Any, ClassVar

import attrs

from rdpprov.api.structures import NULL_GUID, at_most, opaque, signed, unsigned
from rdpprov.errors import E_INVALIDARG, HResultError

ENTRIES_MAXIMUM = 64
"""Nodes of one topology, and media types of one node: a limit of ours."""
FORMAT_MAXIMUM = 16384
"""Bytes of one format block: a limit of ours."""


@attrs.frozen
class MediaType:
    """TS_AM_MEDIA_TYPE: a format of video or sound."""

    LAYOUT: ClassVar[Struct] = Struct("<16s16sIII16sI")

    major_type: uuid.UUID = NULL_GUID
    sub_type: uuid.UUID = NULL_GUID
    fixed_size_samples: int = unsigned(32)
    """1: all samples have the size `sample_size`."""
    temporal_compression: int = unsigned(32)
    """1: a sample may depend on those before it."""
    sample_size: int = unsigned(32)
    """Bytes."""
    format_type: uuid.UUID = NULL_GUID
    """FORMAT_WaveFormatEx or FORMAT_MFVideoFormat."""
    format: bytes = opaque(FORMAT_MAXIMUM)
    """What `format_type` says."""

    def pack(self) -> bytes:
        """One media type."""
        return (
            self.LAYOUT.pack(
                self.major_type.bytes_le,
                self.sub_type.bytes_le,
                self.fixed_size_samples,
                self.temporal_compression,
                self.sample_size,
                self.format_type.bytes_le,
                len(self.format),
            )
            + self.format
        )

    @classmethod
    def unpack(cls, data: bytes) -> "tuple[MediaType, bytes]":
        """Read one, and what follows it.

        Raises:
            HResultError: E_INVALIDARG: it ends early, or is too long.
        """
        (major, sub, fixed, temporal, size, kind, length), rest = _take(cls.LAYOUT, data)
        if not length <= min(len(rest), FORMAT_MAXIMUM):
            raise HResultError(f"a format of {length} bytes, of which {len(rest)} are there", E_INVALIDARG)
        types = (uuid.UUID(bytes_le=major), uuid.UUID(bytes_le=sub))
        return cls(*types, fixed, temporal, size, uuid.UUID(bytes_le=kind), rest[:length]), rest[length:]


def _media_types(_instance: object, attribute: "attrs.Attribute[object]", value: object) -> None:
    if not isinstance(value, MediaType):
        raise ValueError(f"{attribute.name} holds {value!r}, which is no MediaType")


@attrs.frozen
class SupportNodeDataIn:
    """TSMF_SUPPORT_NODEDATA_IN: one sink of the topology, and the formats it could get. Packed with its byteCount."""

    LAYOUT: ClassVar[Struct] = Struct("<IqI")

    node_id: int = signed(64)
    media_types: tuple[MediaType, ...] = at_most(ENTRIES_MAXIMUM, _media_types)

    def pack(self) -> bytes:
        """One record."""
        types = b"".join(each.pack() for each in self.media_types)
        return self.LAYOUT.pack(self.LAYOUT.size + len(types), self.node_id, len(self.media_types)) + types

    @classmethod
    def unpack(cls, data: bytes) -> "tuple[SupportNodeDataIn, bytes]":
        """Read one record, and what follows it.

        Raises:
            HResultError: E_INVALIDARG: its byteCount and what it holds do not agree, or it holds too much.
        """
        (byte_count, node_id, count), _ = _take(cls.LAYOUT, data)
        if not cls.LAYOUT.size <= byte_count <= len(data):
            raise HResultError(f"a node of {byte_count} bytes, of which {len(data)} are there", E_INVALIDARG)
        rest = data[cls.LAYOUT.size : byte_count]
        types = []
        for _ in range(_count(count)):
            media_type, rest = MediaType.unpack(rest)
            types.append(media_type)
        if rest:
            raise HResultError(f"{len(rest)} bytes too many in a node", E_INVALIDARG)
        return cls(node_id, tuple(types)), data[byte_count:]


def _nodes_in(_instance: object, attribute: "attrs.Attribute[object]", value: object) -> None:
    if not isinstance(value, SupportNodeDataIn):
        raise ValueError(f"{attribute.name} holds {value!r}, which is no SupportNodeDataIn")


@attrs.frozen
class SupportDataIn:
    """TSMF_SUPPORT_DATA_IN: for which of these formats does the provider have sinks?"""

    LAYOUT: ClassVar[Struct] = Struct("<16sI")

    mf_session: uuid.UUID = NULL_GUID
    entries: tuple[SupportNodeDataIn, ...] = at_most(ENTRIES_MAXIMUM, _nodes_in)

    def pack(self) -> bytes:
        """The value of a BINARY property."""
        nodes = b"".join(entry.pack() for entry in self.entries)
        return self.LAYOUT.pack(self.mf_session.bytes_le, len(self.entries)) + nodes

    @classmethod
    def unpack(cls, data: bytes) -> "SupportDataIn":
        """Read the value of a BINARY property.

        Raises:
            HResultError: E_INVALIDARG: it is not such a structure, or holds too much.
        """
        (session, count), rest = _take(cls.LAYOUT, data)
        entries = []
        for _ in range(_count(count)):
            entry, rest = SupportNodeDataIn.unpack(rest)
            entries.append(entry)
        _nothing_left(rest)
        return cls(uuid.UUID(bytes_le=session), tuple(entries))


@attrs.frozen
class SupportNodeDataOut:
    """TSMF_SUPPORT_NODEDATA_OUT: one sink, and which of its formats the provider takes."""

    LAYOUT: ClassVar[Struct] = Struct("<qI16sI")

    node_id: int = signed(64)
    support_status: int = unsigned(32)
    """hrSupportStatus: 1 supported, 0 not; typed as an HRESULT, and not to be read as one."""
    new_sink: uuid.UUID = NULL_GUID
    """Class of the sink to take instead."""
    supported_media_type_index: int = unsigned(32)
    """Into `SupportNodeDataIn.media_types`, from 0."""

    def pack(self) -> bytes:
        """One record."""
        index = self.supported_media_type_index
        return self.LAYOUT.pack(self.node_id, self.support_status, self.new_sink.bytes_le, index)


def _nodes_out(_instance: object, attribute: "attrs.Attribute[object]", value: object) -> None:
    if not isinstance(value, SupportNodeDataOut):
        raise ValueError(f"{attribute.name} holds {value!r}, which is no SupportNodeDataOut")


@attrs.frozen
class SupportDataOut:
    """TSMF_SUPPORT_DATA_OUT: the answer, a record for each sink that was asked about."""

    LAYOUT: ClassVar[Struct] = Struct("<16sI")

    mf_session: uuid.UUID = NULL_GUID
    """That of the question."""
    entries: tuple[SupportNodeDataOut, ...] = at_most(ENTRIES_MAXIMUM, _nodes_out)

    def pack(self) -> bytes:
        """The value of a BINARY property."""
        nodes = b"".join(entry.pack() for entry in self.entries)
        return self.LAYOUT.pack(self.mf_session.bytes_le, len(self.entries)) + nodes

    @classmethod
    def unpack(cls, data: bytes) -> "SupportDataOut":
        """Read the value of a BINARY property.

        Raises:
            HResultError: E_INVALIDARG: it is not such a structure, or holds too much.
        """
        (session, count), rest = _take(cls.LAYOUT, data)
        entries = []
        for _ in range(_count(count)):
            (node_id, status, sink, index), rest = _take(SupportNodeDataOut.LAYOUT, rest)
            entries.append(SupportNodeDataOut(node_id, status, uuid.UUID(bytes_le=sink), index))
        _nothing_left(rest)
        return cls(uuid.UUID(bytes_le=session), tuple(entries))


def _take(layout: Struct, data: bytes) -> tuple[tuple[Any, ...], bytes]:
    if len(data) < layout.size:
        raise HResultError(f"{len(data)} bytes where {layout.size} were expected", E_INVALIDARG)
    return layout.unpack_from(data), data[layout.size :]


def _count(count: int) -> int:
    if count > ENTRIES_MAXIMUM:
        raise HResultError(f"{count} records, more than {ENTRIES_MAXIMUM}", E_INVALIDARG)
    return count


def _nothing_left(rest: bytes) -> None:
    if rest:
        raise HResultError(f"{len(rest)} bytes too many", E_INVALIDARG)
