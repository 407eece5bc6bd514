"""GCC: the conference envelopes, and the user-data blocks of client and server in them.

Source: [MS-RDPBCGR] 2.2.1.3 "Client MCS Connect Initial PDU with GCC Conference Create Request", 2.2.1.4 "Server MCS
Connect Response PDU with GCC Conference Create Response"; ITU-T T.124 8.7.

A block is ``type u16, length u16`` (the header counted) and a body. ``pack`` of a block gives the whole block; its
``unpack_body`` takes exactly the body. Blocks that we do not know are kept as `UnknownBlock`: 0xC009 (Lync's alias of
multitransport) and 0xC00D (recent Windows App) are seen (fact 14).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from enum import IntEnum
from struct import Struct
from typing import Any, ClassVar, Protocol, TypeVar

import attrs
import construct

from rdpprov.errors import LocalProtocolError
from rdpprov.wire.base import (
    Buffer,
    DecodeError,
    Reader,
    ansi_bytes,
    ansi_text,
    bounded_bytes,
    bounded_text,
    build_with,
    fixed_bytes,
    int32,
    known,
    parse_with,
    required,
    uint8,
    uint16,
    uint32,
    utf16_bytes,
    utf16_text,
)
from rdpprov.wire.rdp import per
from rdpprov.wire.rdp.mcs import MCS_GLOBAL_CHANNEL_ID
from rdpprov.wire.rdp.nego import Protocols

CS_CORE = 0xC001
CS_SECURITY = 0xC002
CS_NET = 0xC003
CS_CLUSTER = 0xC004
CS_MONITOR = 0xC005
CS_MCS_MSGCHANNEL = 0xC006
CS_MONITOR_EX = 0xC008
CS_MULTITRANSPORT = 0xC00A
SC_CORE = 0x0C01
SC_SECURITY = 0x0C02
SC_NET = 0x0C03
SC_MCS_MSGCHANNEL = 0x0C04
SC_MULTITRANSPORT = 0x0C08

USER_DATA_MAXIMUM = 8192
"""Bytes of all blocks together; real ones have less than a tenth of it."""
CHANNEL_MAXIMUM = 31
MONITOR_MAXIMUM = 16

_BLOCK_HEADER = Struct("<HH")


# The envelopes

_OBJECT_KEY = bytes.fromhex("000500147c0001")  # Key ::= object 0.0.20.124.0.1, T.124 itself
_H221_CLIENT_KEY = b"Duca"
_H221_SERVER_KEY = b"McDn"


def _expect(reader: Reader, expected: bytes, what: str) -> None:
    came = reader.take(len(expected))
    if came != expected:
        raise DecodeError(f"{reader.structure}: {what} {came.hex()}, expected {expected.hex()}")


@attrs.frozen
class ConferenceCreateRequest:
    """ConferenceCreateRequest: the client's envelope. Source: [MS-RDPBCGR] 2.2.1.3, ITU-T T.124 8.7."""

    user_data: bytes = required(repr=False)
    """The client's blocks, see `ClientUserData`."""
    conference_name: str = bounded_text(255, encoding="ascii", default="1")
    """Digits, at least one; every client sends "1"."""
    connect_pdu_length: int | None = uint16(optional=True)
    """The length of what follows it, as written where it is not true (IronRDP writes two bytes less, and all servers
    take it); None: the true one."""

    @property
    def h221_key(self) -> str:
        """h221NonStandard: whose user data it is; any other is refused."""
        return _H221_CLIENT_KEY.decode("ascii")

    def pack(self) -> bytes:
        """The user data of a Connect-Initial.

        Raises:
            LocalProtocolError: the user data is too long, or the name is not of digits.
        """
        if not (self.conference_name.isascii() and self.conference_name.isdecimal()):
            raise LocalProtocolError("ConferenceCreateRequest.conference_name: not digits")
        body = (
            b"\x00\x08"  # conferenceCreateRequest, with userData
            + per.pack_numeric_string(self.conference_name, 1)
            + b"\x00\x01\xc0\x00"  # padding; one set of user data; with value, h221NonStandard; key of 4 + 0 bytes
            + _H221_CLIENT_KEY
            + per.pack_length(len(self.user_data))
            + self.user_data
        )
        length = len(body) if self.connect_pdu_length is None else self.connect_pdu_length
        return _OBJECT_KEY + per.pack_length(length) + body

    @classmethod
    def unpack(cls, data: Buffer) -> ConferenceCreateRequest:
        """The envelope, which takes all of `data`, the user data of a Connect-Initial.

        Raises:
            DecodeError: another object key or H.221 key, or lengths that do not fit.
        """
        with Reader(data, "ConferenceCreateRequest") as reader:
            _expect(reader, _OBJECT_KEY, "object key")
            length, remaining = per.read_length(reader), reader.remaining
            if length > remaining:
                raise DecodeError(f"ConferenceCreateRequest: needs {length} bytes, {remaining} left")
            _expect(reader, b"\x00\x08", "choice")
            name = per.read_numeric_string(reader, 1)
            if len(name) > 255:
                raise DecodeError(f"ConferenceCreateRequest: conference name of {len(name)} digits, expected up to 255")
            _expect(reader, b"\x00\x01\xc0\x00", "user data header")
            _expect(reader, _H221_CLIENT_KEY, "H.221 key")
            user_data = reader.take(per.read_length(reader))
        return cls(user_data, name, None if length == remaining else length)


@attrs.frozen
class ConferenceCreateResponse:
    """ConferenceCreateResponse: the server's envelope. Source: [MS-RDPBCGR] 2.2.1.4, ITU-T T.124 8.7."""

    user_data: bytes = required(repr=False)
    """The server's blocks, see `ServerUserData`."""
    node_id: int = uint16(default=0x79F3)
    """nodeID, at least 1001; ignored by clients."""
    tag: int = uint32(default=1)
    """Ignored by clients."""
    result: int = uint8(default=0)
    """0: success."""
    connect_pdu_length: int = uint16(default=0x2A)
    """The length of what follows it, as written, which need not be true. Fact 17: rdesktop skips 21 bytes and reads on,
    so this must be of one byte, less than 0x80, however long the user data is; no client checks the value."""

    @property
    def h221_key(self) -> str:
        """h221NonStandard: whose user data it is; any other is refused."""
        return _H221_SERVER_KEY.decode("ascii")

    def pack(self) -> bytes:
        """The user data of a Connect-Response.

        Raises:
            LocalProtocolError: the user data is too long, or the node id too small.
        """
        if self.node_id < 1001:
            raise LocalProtocolError(f"ConferenceCreateResponse.node_id: {self.node_id}, expected 1001 or more")
        return (
            _OBJECT_KEY
            + per.pack_length(self.connect_pdu_length)
            + b"\x14"  # conferenceCreateResponse, with userData
            + (self.node_id - 1001).to_bytes(2, "big")
            + per.pack_integer(self.tag)
            + bytes([self.result])
            + b"\x01\xc0\x00"  # one set of user data; with value, h221NonStandard; key of 4 + 0 bytes
            + _H221_SERVER_KEY
            + per.pack_length(len(self.user_data))
            + self.user_data
        )

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[ConferenceCreateResponse, bytes]:
        """The envelope and what follows it, in the user data of a Connect-Response.

        Raises:
            DecodeError: another object key or H.221 key, or user data beyond the data.
        """
        reader = Reader(data, "ConferenceCreateResponse")
        _expect(reader, _OBJECT_KEY, "object key")
        connect_pdu_length = per.read_length(reader)
        _expect(reader, b"\x14", "choice")
        node_id = reader.u16be() + 1001
        if node_id > 0xFFFF:
            raise DecodeError(f"ConferenceCreateResponse: node id {node_id}, expected up to 65535")
        tag = per.read_integer(reader)
        result = reader.u8()
        _expect(reader, b"\x01\xc0\x00", "user data header")
        _expect(reader, _H221_SERVER_KEY, "H.221 key")
        user_data = reader.take(per.read_length(reader))
        return cls(user_data, node_id, tag, result, connect_pdu_length), reader.rest()


# Blocks


class Block(Protocol):
    """Any of the user-data blocks below."""

    @property
    def type(self) -> int:
        """The type in the block's header."""

    def pack(self) -> bytes:
        """The whole block, with its header."""


def _pack_block(kind: int, body: bytes) -> bytes:
    length = _BLOCK_HEADER.size + len(body)
    if length > 0xFFFF:
        raise LocalProtocolError(f"block 0x{kind:04X}: {length} bytes, 65535 are possible")
    return _BLOCK_HEADER.pack(kind, length) + body


@attrs.frozen
class UnknownBlock:
    """TS_UD_HEADER: a block that we do not know, as it came. Source: [MS-RDPBCGR] 2.2.1.3.1."""

    type: int = uint16()
    body: bytes = required(repr=False)

    def pack(self) -> bytes:
        """The whole block, with its header."""
        return _pack_block(self.type, self.body)


class EarlyCapabilityFlags(IntEnum):
    """Bits of earlyCapabilityFlags of TS_UD_CS_CORE."""

    RNS_UD_CS_SUPPORT_ERRINFO_PDU = 0x0001
    RNS_UD_CS_WANT_32BPP_SESSION = 0x0002
    RNS_UD_CS_SUPPORT_STATUSINFO_PDU = 0x0004
    RNS_UD_CS_STRONG_ASYMMETRIC_KEYS = 0x0008
    RNS_UD_CS_RELATIVE_MOUSE_INPUT = 0x0010
    RNS_UD_CS_VALID_CONNECTION_TYPE = 0x0020
    RNS_UD_CS_SUPPORT_MONITOR_LAYOUT_PDU = 0x0040
    RNS_UD_CS_SUPPORT_NETCHAR_AUTODETECT = 0x0080
    RNS_UD_CS_SUPPORT_DYNVC_GFX_PROTOCOL = 0x0100
    RNS_UD_CS_SUPPORT_DYNAMIC_TIME_ZONE = 0x0200
    RNS_UD_CS_SUPPORT_HEARTBEAT_PDU = 0x0400
    RNS_UD_CS_SUPPORT_SKIP_CHANNELJOIN = 0x0800


class SupportedColorDepths(IntEnum):
    """Bits of supportedColorDepths of TS_UD_CS_CORE."""

    RNS_UD_24BPP_SUPPORT = 1
    RNS_UD_16BPP_SUPPORT = 2
    RNS_UD_15BPP_SUPPORT = 4
    RNS_UD_32BPP_SUPPORT = 8


class ConnectionType(IntEnum):
    """connectionType of TS_UD_CS_CORE; counts only with RNS_UD_CS_VALID_CONNECTION_TYPE."""

    CONNECTION_TYPE_MODEM = 1
    CONNECTION_TYPE_BROADBAND_LOW = 2
    CONNECTION_TYPE_SATELLITE = 3
    CONNECTION_TYPE_BROADBAND_HIGH = 4
    CONNECTION_TYPE_WAN = 5
    CONNECTION_TYPE_LAN = 6
    CONNECTION_TYPE_AUTODETECT = 7


RNS_UD_COLOR_DEPTHS = {0xCA00: 4, 0xCA01: 8, 0xCA02: 15, 0xCA03: 16, 0xCA04: 24}
"""colorDepth (which has the first two only), postBeta2ColorDepth: bits per pixel."""
RNS_UD_SAS_DEL = 0xAA03

RDP_VERSION_4 = 0x00080001
RDP_VERSION_5_PLUS = 0x00080004
"""5.0 to 8.1: the value that every client accepts from a server."""


@attrs.frozen
class ClientCoreData:
    """TS_UD_CS_CORE: the client's version, screen and keyboard. Source: [MS-RDPBCGR] 2.2.1.3.2 "Client Core Data".

    128 bytes, then an optional tail that may stop after any of its fields (fact 15): the fields from there on are None,
    so that packing gives the same bytes.
    """

    LAYOUT: ClassVar[Struct] = Struct("<IHHHHII32sIII64s")
    TAIL: ClassVar[tuple[tuple[str, Struct], ...]] = (
        ("post_beta2_color_depth", Struct("<H")),
        ("client_product_id", Struct("<H")),
        ("serial_number", Struct("<I")),
        ("high_color_depth", Struct("<H")),
        ("supported_color_depths", Struct("<H")),
        ("early_capability_flags", Struct("<H")),
        ("client_dig_product_id", Struct("<64s")),
        ("connection_type", Struct("<B")),
        ("pad1octet", Struct("<B")),
        ("server_selected_protocol", Struct("<I")),
        ("desktop_physical_width", Struct("<I")),
        ("desktop_physical_height", Struct("<I")),
        ("desktop_orientation", Struct("<H")),
        ("desktop_scale_factor", Struct("<I")),
        ("device_scale_factor", Struct("<I")),
    )

    desktop_width: int = uint16()
    """Pixels, as asked for: 0 and 65535 may come."""
    desktop_height: int = uint16()
    """Pixels, likewise."""
    version: int = uint32(default=RDP_VERSION_5_PLUS)
    """Major in the high word, 8; minors that we do not know count as the newest."""
    color_depth_code: int = uint16(default=0xCA01)
    """colorDepth: RNS_UD_COLOR_4BPP or RNS_UD_COLOR_8BPP; see `color_depth`."""
    sas_sequence: int = uint16(default=RNS_UD_SAS_DEL)
    keyboard_layout: int = uint32(default=0x409)
    """A Windows locale identifier."""
    client_build: int = uint32(default=0)
    client_name: str = bounded_text(30, default="")
    """The client machine's name, cut at 15 UTF-16 units."""
    keyboard_type: int = uint32(default=4)
    """4: IBM enhanced."""
    keyboard_sub_type: int = uint32(default=0)
    keyboard_function_key: int = uint32(default=12)
    """Number of function keys."""
    ime_file_name: str = bounded_text(62, default="")
    post_beta2_color_depth: int | None = uint16(optional=True)
    """RNS_UD_COLOR_*; see `color_depth`."""
    client_product_id: int | None = uint16(optional=True)
    serial_number: int | None = uint32(optional=True)
    high_color_depth: int | None = uint16(optional=True)
    """Bits per pixel; see `color_depth`."""
    supported_color_depths: int | None = uint16(optional=True)
    """`SupportedColorDepths`."""
    early_capability_flags: int | None = uint16(optional=True)
    """`EarlyCapabilityFlags`."""
    client_dig_product_id: str | None = bounded_text(62, optional=True)
    connection_type: ConnectionType | int | None = uint8(optional=True)
    pad1octet: int | None = uint8(optional=True)
    """Ignored; give 0 where later fields are given."""
    server_selected_protocol: Protocols | int | None = uint32(optional=True)
    """Must be what the Connection Confirm selected, otherwise somebody tampered with the negotiation (fact 8)."""
    desktop_physical_width: int | None = uint32(optional=True)
    """Millimetres, 10 to 10000; outside, both physical sizes are ignored."""
    desktop_physical_height: int | None = uint32(optional=True)
    """Millimetres, likewise."""
    desktop_orientation: int | None = uint16(optional=True)
    """Degrees: 0, 90, 180 or 270."""
    desktop_scale_factor: int | None = uint32(optional=True)
    """Per cent, 100 to 500; outside, both factors are ignored."""
    device_scale_factor: int | None = uint32(optional=True)
    """Per cent: 100, 140 or 180; otherwise both factors are ignored."""
    trailing: bytes = required(default=b"", repr=False)
    """What newer clients may append."""

    def __attrs_post_init__(self) -> None:
        """Refuse a gap in the optional tail."""
        ended = None
        for name, _ in self.TAIL:
            if getattr(self, name) is None:
                ended = ended or name
            elif ended:
                raise LocalProtocolError(f"ClientCoreData.{name}: given, but {ended} before it is not")
        if ended and self.trailing:
            raise LocalProtocolError(f"ClientCoreData.trailing: given, but {ended} before it is not")

    @property
    def type(self) -> int:
        """CS_CORE."""
        return CS_CORE

    def color_depth(self) -> int:
        """Bits per pixel that the client asks for: 4, 8, 15, 16, 24 or 32.

        Decided by highColorDepth (with supportedColorDepths and RNS_UD_CS_WANT_32BPP_SESSION) if it is there, else by
        postBeta2ColorDepth, else by colorDepth.

        Raises:
            DecodeError: the deciding field has a value outside its defined set.
        """
        if self.high_color_depth is not None:
            early = self.early_capability_flags or 0
            supported = self.supported_color_depths or 0
            wants_32bpp = early & EarlyCapabilityFlags.RNS_UD_CS_WANT_32BPP_SESSION
            if wants_32bpp and supported & SupportedColorDepths.RNS_UD_32BPP_SUPPORT:
                return 32
            if self.high_color_depth not in RNS_UD_COLOR_DEPTHS.values():
                raise DecodeError(f"TS_UD_CS_CORE: highColorDepth {self.high_color_depth}")
            return self.high_color_depth
        if self.post_beta2_color_depth is not None:
            deciding, defined = self.post_beta2_color_depth, RNS_UD_COLOR_DEPTHS
        else:
            deciding, defined = self.color_depth_code, {0xCA00: 4, 0xCA01: 8}
        if deciding not in defined:
            raise DecodeError(f"TS_UD_CS_CORE: color depth 0x{deciding:04X}")
        return defined[deciding]

    def pack(self) -> bytes:
        """The whole block, with its header."""
        packed = self.LAYOUT.pack(
            self.version,
            self.desktop_width,
            self.desktop_height,
            self.color_depth_code,
            self.sas_sequence,
            self.keyboard_layout,
            self.client_build,
            utf16_bytes(self.client_name, 32),
            self.keyboard_type,
            self.keyboard_sub_type,
            self.keyboard_function_key,
            utf16_bytes(self.ime_file_name, 64),
        )
        for name, layout in self.TAIL:
            value = getattr(self, name)
            if value is None:
                break
            packed += layout.pack(utf16_bytes(value, 64) if isinstance(value, str) else value)
        return _pack_block(CS_CORE, packed + self.trailing)

    @classmethod
    def unpack_body(cls, body: Buffer) -> ClientCoreData:
        """The block from exactly its body.

        Raises:
            DecodeError: shorter than the mandatory part, or with half a field at its end.
        """
        reader = Reader(body, "TS_UD_CS_CORE")
        version, width, height, depth, sas, layout, build, name, kind, sub_kind, keys, ime = reader.fields(cls.LAYOUT)
        tail: dict[str, Any] = {}
        for field, field_layout in cls.TAIL:
            if not reader.remaining:
                break
            value = reader.fields(field_layout)[0]
            tail[field] = utf16_text(value[:62]) if isinstance(value, bytes) else value
        for field, kind_of_code in (("connection_type", ConnectionType), ("server_selected_protocol", Protocols)):
            if field in tail:
                tail[field] = known(kind_of_code, tail[field])
        return cls(
            desktop_width=width,
            desktop_height=height,
            version=version,
            color_depth_code=depth,
            sas_sequence=sas,
            keyboard_layout=layout,
            client_build=build,
            client_name=utf16_text(name[:30]),  # mstsc may fill all 16 units
            keyboard_type=kind,
            keyboard_sub_type=sub_kind,
            keyboard_function_key=keys,
            ime_file_name=utf16_text(ime[:62]),
            **tail,
            trailing=reader.rest(),
        )


class EncryptionMethods(IntEnum):
    """Bits of encryptionMethods of TS_UD_CS_SEC, of which encryptionMethod of TS_UD_SC_SEC1 is one."""

    ENCRYPTION_METHOD_NONE = 0
    ENCRYPTION_METHOD_40BIT = 0x01
    ENCRYPTION_METHOD_128BIT = 0x02
    ENCRYPTION_METHOD_56BIT = 0x08
    ENCRYPTION_METHOD_FIPS = 0x10


class EncryptionLevel(IntEnum):
    """encryptionLevel of TS_UD_SC_SEC1."""

    ENCRYPTION_LEVEL_NONE = 0
    ENCRYPTION_LEVEL_LOW = 1
    ENCRYPTION_LEVEL_CLIENT_COMPATIBLE = 2
    ENCRYPTION_LEVEL_HIGH = 3
    ENCRYPTION_LEVEL_FIPS = 4


@attrs.frozen
class ClientSecurityData:
    """TS_UD_CS_SEC: what standard RDP security the client can do. Source: [MS-RDPBCGR] 2.2.1.3.3.

    Under TLS it means nothing, whatever it says.
    """

    LAYOUT: ClassVar[Struct] = Struct("<II")

    encryption_methods: int = uint32(default=0)
    """`EncryptionMethods`."""
    ext_encryption_methods: int = uint32(default=0)
    """`EncryptionMethods`. Clients of the French locale announce here, with the first field 0."""

    @property
    def type(self) -> int:
        """CS_SECURITY."""
        return CS_SECURITY

    def pack(self) -> bytes:
        """The whole block, with its header."""
        return _pack_block(CS_SECURITY, self.LAYOUT.pack(self.encryption_methods, self.ext_encryption_methods))

    @classmethod
    def unpack_body(cls, body: Buffer) -> ClientSecurityData:
        """The block from exactly its body.

        Raises:
            DecodeError: of another length.
        """
        with Reader(body, "TS_UD_CS_SEC") as reader:
            return cls(*reader.fields(cls.LAYOUT))


class ChannelOptions(IntEnum):
    """Bits of options of CHANNEL_DEF."""

    CHANNEL_OPTION_INITIALIZED = 0x80000000
    CHANNEL_OPTION_ENCRYPT_RDP = 0x40000000
    CHANNEL_OPTION_ENCRYPT_SC = 0x20000000
    CHANNEL_OPTION_ENCRYPT_CS = 0x10000000
    CHANNEL_OPTION_PRI_HIGH = 0x08000000
    CHANNEL_OPTION_PRI_MED = 0x04000000
    CHANNEL_OPTION_PRI_LOW = 0x02000000
    CHANNEL_OPTION_COMPRESS_RDP = 0x00800000
    CHANNEL_OPTION_COMPRESS = 0x00400000
    CHANNEL_OPTION_SHOW_PROTOCOL = 0x00200000
    REMOTE_CONTROL_PERSISTENT = 0x00100000


@attrs.frozen
class ChannelDef:
    """CHANNEL_DEF: a static virtual channel that the client wants. 12 bytes. Source: [MS-RDPBCGR] 2.2.1.3.4.1."""

    LAYOUT: ClassVar[Struct] = Struct("<8sI")

    name: str = bounded_text(7, encoding="latin-1")
    """Up to 7 ANSI characters."""
    options: int = uint32(default=0)
    """`ChannelOptions`."""

    def pack(self) -> bytes:
        """12 bytes."""
        return self.LAYOUT.pack(ansi_bytes(self.name, 8), self.options)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[ChannelDef, bytes]:
        """The structure and what follows it.

        Raises:
            DecodeError: too short, or a name without NUL.
        """
        reader = Reader(data, "CHANNEL_DEF")
        return cls._read(reader), reader.rest()

    @classmethod
    def _read(cls, reader: Reader) -> ChannelDef:
        name, options = reader.fields(cls.LAYOUT)
        if b"\0" not in name:
            raise DecodeError("CHANNEL_DEF: name without NUL")
        return cls(ansi_text(name), options)


@attrs.frozen
class ClientNetworkData:
    """TS_UD_CS_NET: the static virtual channels that the client wants, at most 31; their ids are given in this order.

    The block may be missing (fact 15). Source: [MS-RDPBCGR] 2.2.1.3.4 "Client Network Data".
    """

    channel_def_array: tuple[ChannelDef, ...] = required(default=(), converter=tuple)

    @property
    def type(self) -> int:
        """CS_NET."""
        return CS_NET

    @property
    def channel_count(self) -> int:
        """channelCount."""
        return len(self.channel_def_array)

    def pack(self) -> bytes:
        """The whole block, with its header."""
        channels = b"".join(channel.pack() for channel in self.channel_def_array)
        return _pack_block(CS_NET, self.channel_count.to_bytes(4, "little") + channels)

    @classmethod
    def unpack_body(cls, body: Buffer) -> ClientNetworkData:
        """The block from exactly its body.

        Raises:
            DecodeError: more than 31 channels, of another length than these have, or a name that is there twice.
        """
        with Reader(body, "TS_UD_CS_NET") as reader:
            count = reader.u32()
            if count > CHANNEL_MAXIMUM:
                raise DecodeError(f"TS_UD_CS_NET: {count} channels, expected up to {CHANNEL_MAXIMUM}")
            channels = tuple(ChannelDef._read(reader) for _ in range(count))
        if len({channel.name.lower() for channel in channels}) < count:
            raise DecodeError("TS_UD_CS_NET: a channel name is there twice")
        return cls(channels)


class ClusterFlags(IntEnum):
    """Bits of Flags of TS_UD_CS_CLUSTER."""

    REDIRECTION_SUPPORTED = 0x01
    REDIRECTED_SESSIONID_FIELD_VALID = 0x02
    SERVER_SESSION_REDIRECTION_VERSION_MASK = 0x3C
    """Four bits that are one number; see `ClientClusterData.server_session_redirection_version`."""
    REDIRECTED_SMARTCARD = 0x40


@attrs.frozen
class ClientClusterData:
    """TS_UD_CS_CLUSTER: what the client knows of redirection. Source: [MS-RDPBCGR] 2.2.1.3.5 "Client Cluster Data"."""

    LAYOUT: ClassVar[Struct] = Struct("<II")

    flags: int = uint32(default=0)
    """`ClusterFlags`."""
    redirected_session_id: int = uint32(default=0)
    """Counts only with REDIRECTED_SESSIONID_FIELD_VALID; carries no authority."""
    padding: bytes = bounded_bytes(64, default=b"", repr=False)
    """What old Mac clients append (fact 15)."""

    @property
    def type(self) -> int:
        """CS_CLUSTER."""
        return CS_CLUSTER

    @property
    def redirection_supported(self) -> bool:
        """REDIRECTION_SUPPORTED: the client takes Server Redirection PDUs."""
        return bool(self.flags & ClusterFlags.REDIRECTION_SUPPORTED)

    @property
    def session_id_field_valid(self) -> bool:
        """REDIRECTED_SESSIONID_FIELD_VALID."""
        return bool(self.flags & ClusterFlags.REDIRECTED_SESSIONID_FIELD_VALID)

    @property
    def server_session_redirection_version(self) -> int:
        """ServerSessionRedirectionVersionMask: the highest version less one, 0 to 5."""
        return (self.flags & ClusterFlags.SERVER_SESSION_REDIRECTION_VERSION_MASK) >> 2

    def pack(self) -> bytes:
        """The whole block, with its header."""
        return _pack_block(CS_CLUSTER, self.LAYOUT.pack(self.flags, self.redirected_session_id) + self.padding)

    @classmethod
    def unpack_body(cls, body: Buffer) -> ClientClusterData:
        """The block from exactly its body.

        Raises:
            DecodeError: too short, or with more padding than any client sends.
        """
        reader = Reader(body, "TS_UD_CS_CLUSTER")
        flags, session_id = reader.fields(cls.LAYOUT)
        if reader.remaining > 64:
            raise DecodeError(f"TS_UD_CS_CLUSTER: {reader.remaining} bytes too many")
        return cls(flags, session_id, reader.rest())


class MonitorFlags(IntEnum):
    """Bits of flags of TS_MONITOR_DEF."""

    TS_MONITOR_PRIMARY = 1


@attrs.frozen
class MonitorDef:
    """TS_MONITOR_DEF: where one monitor is. 20 bytes. Source: [MS-RDPBCGR] 2.2.1.3.6.1 "Monitor Definition".

    Pixels, relative to the upper left corner of the primary monitor; right and bottom are inclusive.
    """

    LAYOUT: ClassVar[Struct] = Struct("<iiiiI")

    left: int = int32()
    top: int = int32()
    right: int = int32()
    bottom: int = int32()
    flags: int = uint32(default=0)
    """`MonitorFlags`."""

    def pack(self) -> bytes:
        """20 bytes."""
        return self.LAYOUT.pack(self.left, self.top, self.right, self.bottom, self.flags)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[MonitorDef, bytes]:
        """The structure and what follows it.

        Raises:
            DecodeError: too short.
        """
        reader = Reader(data, "TS_MONITOR_DEF")
        return cls(*reader.fields(cls.LAYOUT)), reader.rest()


def _monitor_count(reader: Reader, count: int) -> range:
    if count > MONITOR_MAXIMUM:  # fact 21
        raise DecodeError(f"{reader.structure}: {count} monitors, expected up to {MONITOR_MAXIMUM}")
    return range(count)


@attrs.frozen
class ClientMonitorData:
    """TS_UD_CS_MONITOR: the client's monitors, at most 16. Source: [MS-RDPBCGR] 2.2.1.3.6 "Client Monitor Data".

    Whether there is one primary monitor, and none overlaps, is for who uses them.
    """

    monitor_def_array: tuple[MonitorDef, ...] = required(default=(), converter=tuple)
    flags: int = uint32(default=0)
    """Zero; kept as received, ignored."""

    @property
    def type(self) -> int:
        """CS_MONITOR."""
        return CS_MONITOR

    @property
    def monitor_count(self) -> int:
        """monitorCount."""
        return len(self.monitor_def_array)

    def pack(self) -> bytes:
        """The whole block, with its header."""
        monitors = b"".join(monitor.pack() for monitor in self.monitor_def_array)
        return _pack_block(CS_MONITOR, Struct("<II").pack(self.flags, self.monitor_count) + monitors)

    @classmethod
    def unpack_body(cls, body: Buffer) -> ClientMonitorData:
        """The block from exactly its body.

        Raises:
            DecodeError: more than 16 monitors, or of another length than these have.
        """
        with Reader(body, "TS_UD_CS_MONITOR") as reader:
            flags = reader.u32()
            count = _monitor_count(reader, reader.u32())
            return cls(tuple(MonitorDef(*reader.fields(MonitorDef.LAYOUT)) for _ in count), flags)


@attrs.frozen
class MonitorAttributes:
    """TS_MONITOR_ATTRIBUTES: size, turn and scale of one monitor. 20 bytes, little-endian.

    Source: [MS-RDPBCGR] 2.2.1.3.9.1 "Monitor Attributes". What a receiver "MUST ignore" is kept here and dropped where
    monitors are used, so that a recorded client packs back byte for byte.
    """

    LAYOUT: ClassVar[Struct] = Struct("<5I")

    physical_width: int = uint32()
    """Millimetres, 10 to 10000; outside, both physical sizes are ignored."""
    physical_height: int = uint32()
    """Millimetres, likewise."""
    orientation: int = uint32(default=0)
    """Degrees: 0, 90, 180 or 270."""
    desktop_scale_factor: int = uint32(default=100)
    """Per cent, 100 to 500; outside, both factors are ignored."""
    device_scale_factor: int = uint32(default=100)
    """Per cent: 100, 140 or 180; otherwise both factors are ignored."""

    def pack(self) -> bytes:
        """20 bytes."""
        return self.LAYOUT.pack(*attrs.astuple(self))

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[MonitorAttributes, bytes]:
        """The structure and what follows it.

        Raises:
            DecodeError: too short.
        """
        reader = Reader(data, "TS_MONITOR_ATTRIBUTES")
        return cls(*reader.fields(cls.LAYOUT)), reader.rest()


@attrs.frozen
class ClientMonitorExtendedData:
    """TS_UD_CS_MONITOR_EX: attributes of the monitors of TS_UD_CS_MONITOR, in its order.

    Source: [MS-RDPBCGR] 2.2.1.3.9 "Client Monitor Extended Data".
    """

    monitor_attributes_array: tuple[MonitorAttributes, ...] = required(default=(), converter=tuple)
    flags: int = uint32(default=0)
    """Zero; kept as received, ignored."""

    @property
    def type(self) -> int:
        """CS_MONITOR_EX."""
        return CS_MONITOR_EX

    @property
    def monitor_attribute_size(self) -> int:
        """monitorAttributeSize: 20, any other is refused (fact 21)."""
        return MonitorAttributes.LAYOUT.size

    @property
    def monitor_count(self) -> int:
        """monitorCount."""
        return len(self.monitor_attributes_array)

    def pack(self) -> bytes:
        """The whole block, with its header."""
        header = Struct("<III").pack(self.flags, self.monitor_attribute_size, self.monitor_count)
        return _pack_block(CS_MONITOR_EX, header + b"".join(one.pack() for one in self.monitor_attributes_array))

    @classmethod
    def unpack_body(cls, body: Buffer) -> ClientMonitorExtendedData:
        """The block from exactly its body.

        Raises:
            DecodeError: more than 16 monitors, another attribute size, or of another length than these have.
        """
        with Reader(body, "TS_UD_CS_MONITOR_EX") as reader:
            flags, size = reader.u32(), reader.u32()
            if size != MonitorAttributes.LAYOUT.size:
                raise DecodeError(f"TS_UD_CS_MONITOR_EX: attribute size {size}, expected 20")
            count = _monitor_count(reader, reader.u32())
            return cls(tuple(MonitorAttributes(*reader.fields(MonitorAttributes.LAYOUT)) for _ in count), flags)


@attrs.frozen
class ClientMessageChannelData:
    """TS_UD_CS_MCS_MSGCHANNEL: the client wants a message channel. Source: [MS-RDPBCGR] 2.2.1.3.7."""

    flags: int = uint32(default=0)
    """Zero; kept as received, ignored."""

    @property
    def type(self) -> int:
        """CS_MCS_MSGCHANNEL."""
        return CS_MCS_MSGCHANNEL

    def pack(self) -> bytes:
        """The whole block, with its header."""
        return _pack_block(CS_MCS_MSGCHANNEL, self.flags.to_bytes(4, "little"))

    @classmethod
    def unpack_body(cls, body: Buffer) -> ClientMessageChannelData:
        """The block from exactly its body.

        Raises:
            DecodeError: of another length.
        """
        with Reader(body, "TS_UD_CS_MCS_MSGCHANNEL") as reader:
            return cls(reader.u32())


class MultitransportFlags(IntEnum):
    """Bits of flags of TS_UD_CS_MULTITRANSPORT and TS_UD_SC_MULTITRANSPORT."""

    TRANSPORTTYPE_UDPFECR = 0x001
    TRANSPORTTYPE_UDPFECL = 0x004
    TRANSPORTTYPE_UDP_PREFERRED = 0x100
    SOFTSYNC_TCP_TO_UDP = 0x200


@attrs.frozen
class ClientMultitransportChannelData:
    """TS_UD_CS_MULTITRANSPORT: what UDP transports the client can do. Source: [MS-RDPBCGR] 2.2.1.3.8."""

    flags: int = uint32(default=0)
    """`MultitransportFlags`."""

    @property
    def type(self) -> int:
        """CS_MULTITRANSPORT."""
        return CS_MULTITRANSPORT

    def pack(self) -> bytes:
        """The whole block, with its header."""
        return _pack_block(CS_MULTITRANSPORT, self.flags.to_bytes(4, "little"))

    @classmethod
    def unpack_body(cls, body: Buffer) -> ClientMultitransportChannelData:
        """The block from exactly its body.

        Raises:
            DecodeError: of another length.
        """
        with Reader(body, "TS_UD_CS_MULTITRANSPORT") as reader:
            return cls(reader.u32())


class ServerEarlyCapabilityFlags(IntEnum):
    """Bits of earlyCapabilityFlags of TS_UD_SC_CORE."""

    RNS_UD_SC_EDGE_ACTIONS_SUPPORTED_V1 = 0x1
    RNS_UD_SC_DYNAMIC_DST_SUPPORTED = 0x2
    RNS_UD_SC_EDGE_ACTIONS_SUPPORTED_V2 = 0x4
    RNS_UD_SC_SKIP_CHANNELJOIN_SUPPORTED = 0x8


@attrs.frozen
class ServerCoreData:
    """TS_UD_SC_CORE: the server's version. Source: [MS-RDPBCGR] 2.2.1.4.2 "Server Core Data"."""

    version: int = uint32(default=RDP_VERSION_5_PLUS)
    client_requested_protocols: int | None = uint32(optional=True)
    """`Protocols`: requestedProtocols of the Connection Request, exactly, 0 when there were none: clients check it
    (fact 8)."""
    early_capability_flags: int | None = uint32(optional=True)
    """`ServerEarlyCapabilityFlags`. Only together with `client_requested_protocols`."""

    def __attrs_post_init__(self) -> None:
        """Refuse a gap in the optional tail."""
        if self.early_capability_flags is not None and self.client_requested_protocols is None:
            raise LocalProtocolError("ServerCoreData.early_capability_flags: needs client_requested_protocols")

    @property
    def type(self) -> int:
        """SC_CORE."""
        return SC_CORE

    def pack(self) -> bytes:
        """The whole block, with its header."""
        values = [self.version, self.client_requested_protocols, self.early_capability_flags]
        return _pack_block(SC_CORE, b"".join(value.to_bytes(4, "little") for value in values if value is not None))

    @classmethod
    def unpack_body(cls, body: Buffer) -> ServerCoreData:
        """The block from exactly its body.

        Raises:
            DecodeError: of another length than 4, 8 or 12.
        """
        with Reader(body, "TS_UD_SC_CORE") as reader:
            version = reader.u32()
            protocols = reader.u32() if reader.remaining else None
            early = reader.u32() if reader.remaining else None
            return cls(version, protocols, early)


_SERVER_SECURITY_DATA = construct.Struct(
    "encryption_method" / construct.Int32ul,
    "encryption_level" / construct.Int32ul,
    "lengths" / construct.Optional(construct.Struct("random" / construct.Int32ul, "certificate" / construct.Int32ul)),
    "server_random" / construct.If(construct.this.lengths, construct.Bytes(construct.this.lengths.random)),
    "server_certificate" / construct.If(construct.this.lengths, construct.Bytes(construct.this.lengths.certificate)),
)


@attrs.frozen
class ServerSecurityData:
    """TS_UD_SC_SEC1: standard RDP security as the server has chosen it; under TLS all zero, and nothing more.

    Source: [MS-RDPBCGR] 2.2.1.4.3 "Server Security Data".
    """

    encryption_method: EncryptionMethods | int = uint32(default=EncryptionMethods.ENCRYPTION_METHOD_NONE)
    encryption_level: EncryptionLevel | int = uint32(default=EncryptionLevel.ENCRYPTION_LEVEL_NONE)
    server_random: bytes | None = fixed_bytes(32, optional=True)
    """32 bytes (fact 20); None with no encryption."""
    server_certificate: bytes | None = bounded_bytes(USER_DATA_MAXIMUM, optional=True)
    """SERVER_CERTIFICATE, proprietary or X.509 ([MS-RDPBCGR] 2.2.1.4.3.1), as bytes; None with no encryption."""

    def __attrs_post_init__(self) -> None:
        """Refuse a random without a certificate, and the reverse."""
        if (self.server_random is None) != (self.server_certificate is None):
            raise LocalProtocolError("ServerSecurityData: random and certificate come together")

    @property
    def type(self) -> int:
        """SC_SECURITY."""
        return SC_SECURITY

    @property
    def server_random_len(self) -> int:
        """serverRandomLen."""
        return len(self.server_random or b"")

    @property
    def server_cert_len(self) -> int:
        """serverCertLen."""
        return len(self.server_certificate or b"")

    def pack(self) -> bytes:
        """The whole block, with its header."""
        values = attrs.asdict(self)
        values["lengths"] = None
        if self.server_random is not None:
            values["lengths"] = {"random": self.server_random_len, "certificate": self.server_cert_len}
        return _pack_block(SC_SECURITY, build_with(_SERVER_SECURITY_DATA, values, "TS_UD_SC_SEC1"))

    @classmethod
    def unpack_body(cls, body: Buffer) -> ServerSecurityData:
        """The block from exactly its body. Lengths of zero, which some servers write under TLS, count as none.

        Raises:
            DecodeError: lengths that do not fit, or a random of another length than 32.
        """
        parsed, rest = parse_with(_SERVER_SECURITY_DATA, body, "TS_UD_SC_SEC1")
        if rest:
            raise DecodeError(f"TS_UD_SC_SEC1: {len(rest)} bytes too many")
        method = known(EncryptionMethods, parsed.encryption_method)
        level = known(EncryptionLevel, parsed.encryption_level)
        if not parsed.server_random and not parsed.server_certificate:
            return cls(method, level)
        if len(parsed.server_random) != 32 or len(parsed.server_certificate) > USER_DATA_MAXIMUM:
            raise DecodeError(f"TS_UD_SC_SEC1: serverRandomLen {len(parsed.server_random)}, expected 32")
        return cls(method, level, parsed.server_random, parsed.server_certificate)


@attrs.frozen
class ServerNetworkData:
    """TS_UD_SC_NET: the ids of the static virtual channels. Source: [MS-RDPBCGR] 2.2.1.4.4 "Server Network Data".

    Fact 16: rdesktop does not read the ids, it counts from 1004 on.
    """

    channel_id_array: tuple[int, ...] = required(default=(), converter=tuple)
    """One for each channel of TS_UD_CS_NET, in its order."""
    mcs_channel_id: int = uint16(default=MCS_GLOBAL_CHANNEL_ID)
    """The I/O channel."""

    @property
    def type(self) -> int:
        """SC_NET."""
        return SC_NET

    @property
    def channel_count(self) -> int:
        """channelCount."""
        return len(self.channel_id_array)

    def pack(self) -> bytes:
        """The whole block, with its header."""
        count = self.channel_count
        if count > CHANNEL_MAXIMUM or not all(0 <= one <= 0xFFFF for one in self.channel_id_array):
            raise LocalProtocolError("ServerNetworkData.channel_id_array: not up to 31 channel ids")
        body = Struct(f"<HH{count}H").pack(self.mcs_channel_id, count, *self.channel_id_array)
        return _pack_block(SC_NET, body + bytes(count % 2 * 2))  # padded to a multiple of four bytes

    @classmethod
    def unpack_body(cls, body: Buffer) -> ServerNetworkData:
        """The block from exactly its body; the pad behind an odd number of ids may be missing.

        Raises:
            DecodeError: more than 31 channels, or of another length than these have.
        """
        with Reader(body, "TS_UD_SC_NET") as reader:
            io_channel, count = reader.u16(), reader.u16()
            if count > CHANNEL_MAXIMUM:
                raise DecodeError(f"TS_UD_SC_NET: {count} channels, expected up to {CHANNEL_MAXIMUM}")
            ids = tuple(reader.u16() for _ in range(count))
            if count % 2 and reader.remaining:
                reader.skip(2)
            return cls(ids, io_channel)


@attrs.frozen
class ServerMessageChannelData:
    """TS_UD_SC_MCS_MSGCHANNEL: the message channel's id; only if the client sent its block.

    Source: [MS-RDPBCGR] 2.2.1.4.5 "Server Message Channel Data".
    """

    mcs_channel_id: int = uint16()

    @property
    def type(self) -> int:
        """SC_MCS_MSGCHANNEL."""
        return SC_MCS_MSGCHANNEL

    def pack(self) -> bytes:
        """The whole block, with its header."""
        return _pack_block(SC_MCS_MSGCHANNEL, self.mcs_channel_id.to_bytes(2, "little"))

    @classmethod
    def unpack_body(cls, body: Buffer) -> ServerMessageChannelData:
        """The block from exactly its body.

        Raises:
            DecodeError: of another length.
        """
        with Reader(body, "TS_UD_SC_MCS_MSGCHANNEL") as reader:
            return cls(reader.u16())


@attrs.frozen
class ServerMultitransportChannelData:
    """TS_UD_SC_MULTITRANSPORT: what UDP transports the server can do; only if the client sent its block.

    Source: [MS-RDPBCGR] 2.2.1.4.6 "Server Multitransport Channel Data".
    """

    flags: int = uint32(default=0)
    """`MultitransportFlags`."""

    @property
    def type(self) -> int:
        """SC_MULTITRANSPORT."""
        return SC_MULTITRANSPORT

    def pack(self) -> bytes:
        """The whole block, with its header."""
        return _pack_block(SC_MULTITRANSPORT, self.flags.to_bytes(4, "little"))

    @classmethod
    def unpack_body(cls, body: Buffer) -> ServerMultitransportChannelData:
        """The block from exactly its body.

        Raises:
            DecodeError: of another length.
        """
        with Reader(body, "TS_UD_SC_MULTITRANSPORT") as reader:
            return cls(reader.u32())


# All blocks of one side

_CLIENT_BLOCKS: dict[int, Callable[[Buffer], Block]] = {
    CS_CORE: ClientCoreData.unpack_body,
    CS_SECURITY: ClientSecurityData.unpack_body,
    CS_NET: ClientNetworkData.unpack_body,
    CS_CLUSTER: ClientClusterData.unpack_body,
    CS_MONITOR: ClientMonitorData.unpack_body,
    CS_MCS_MSGCHANNEL: ClientMessageChannelData.unpack_body,
    CS_MONITOR_EX: ClientMonitorExtendedData.unpack_body,
    CS_MULTITRANSPORT: ClientMultitransportChannelData.unpack_body,
}
_SERVER_BLOCKS: dict[int, Callable[[Buffer], Block]] = {
    SC_CORE: ServerCoreData.unpack_body,
    SC_SECURITY: ServerSecurityData.unpack_body,
    SC_NET: ServerNetworkData.unpack_body,
    SC_MCS_MSGCHANNEL: ServerMessageChannelData.unpack_body,
    SC_MULTITRANSPORT: ServerMultitransportChannelData.unpack_body,
}


def _unpack_blocks(data: Buffer, kinds: dict[int, Callable[[Buffer], Block]], structure: str) -> tuple[Block, ...]:
    if len(data) > USER_DATA_MAXIMUM:
        raise DecodeError(f"{structure}: {len(data)} bytes, expected up to {USER_DATA_MAXIMUM}")
    reader = Reader(data, structure)
    blocks: dict[int, Block] = {}
    while reader.remaining:
        kind, length = reader.fields(_BLOCK_HEADER)
        if length < _BLOCK_HEADER.size:
            raise DecodeError(f"{structure}: block 0x{kind:04X} of length {length}, expected 4 or more")
        body = reader.view(length - _BLOCK_HEADER.size)
        if kind in blocks:
            raise DecodeError(f"{structure}: block 0x{kind:04X} is there twice")
        unpack_body = kinds.get(kind)
        if unpack_body is None:
            blocks[kind] = UnknownBlock(kind, bytes(body))
        elif len(body) <= _REMEMBERED_SIZE:
            blocks[kind] = _remembered(unpack_body, bytes(body))
        else:
            blocks[kind] = unpack_body(body)
    return tuple(blocks.values())


_REMEMBERED_SIZE = 256
"""Bytes; Client Core Data has up to 230."""


@functools.lru_cache(256)
def _remembered(unpack_body: Callable[[Buffer], Block], body: bytes) -> Block:
    """A block of the same bytes as before: clients of one kind differ in little, and one that comes back in nothing.

    There are no secrets in these blocks, and the structures are frozen, so connections may share them.
    """
    return unpack_body(body)


_Kind = TypeVar("_Kind")


def _find(blocks: Sequence[Block], kind: type[_Kind]) -> _Kind | None:
    return next((block for block in blocks if isinstance(block, kind)), None)


@attrs.frozen
class ClientUserData:
    """The client's blocks, in the order in which they came. Source: [MS-RDPBCGR] 2.2.1.3."""

    blocks: tuple[Block, ...] = required(converter=tuple)

    @property
    def core(self) -> ClientCoreData:
        """CS_CORE, which is always there.

        Raises:
            LocalProtocolError: not in what our caller put together.
        """
        found = _find(self.blocks, ClientCoreData)
        if found is None:
            raise LocalProtocolError("ClientUserData: without ClientCoreData")
        return found

    @property
    def security(self) -> ClientSecurityData | None:
        """CS_SECURITY."""
        return _find(self.blocks, ClientSecurityData)

    @property
    def network(self) -> ClientNetworkData | None:
        """CS_NET."""
        return _find(self.blocks, ClientNetworkData)

    @property
    def cluster(self) -> ClientClusterData | None:
        """CS_CLUSTER."""
        return _find(self.blocks, ClientClusterData)

    @property
    def monitor(self) -> ClientMonitorData | None:
        """CS_MONITOR."""
        return _find(self.blocks, ClientMonitorData)

    @property
    def monitor_extended(self) -> ClientMonitorExtendedData | None:
        """CS_MONITOR_EX."""
        return _find(self.blocks, ClientMonitorExtendedData)

    @property
    def message_channel(self) -> ClientMessageChannelData | None:
        """CS_MCS_MSGCHANNEL."""
        return _find(self.blocks, ClientMessageChannelData)

    @property
    def multitransport(self) -> ClientMultitransportChannelData | None:
        """CS_MULTITRANSPORT."""
        return _find(self.blocks, ClientMultitransportChannelData)

    def pack(self) -> bytes:
        """The user data of a Conference Create Request."""
        return b"".join(block.pack() for block in self.blocks)

    @classmethod
    def unpack(cls, data: Buffer) -> ClientUserData:
        """The blocks, which take all of `data`.

        Raises:
            DecodeError: a malformed block, one that is there twice, more than USER_DATA_MAXIMUM bytes, or no CS_CORE.
        """
        blocks = _unpack_blocks(data, _CLIENT_BLOCKS, "client user data")
        if _find(blocks, ClientCoreData) is None:
            raise DecodeError("client user data: without CS_CORE")
        return cls(blocks)


@attrs.frozen
class ServerUserData:
    """The server's blocks, in the order in which they came. Source: [MS-RDPBCGR] 2.2.1.4."""

    blocks: tuple[Block, ...] = required(converter=tuple)

    @property
    def core(self) -> ServerCoreData:
        """SC_CORE, which is always there.

        Raises:
            LocalProtocolError: not in what our caller put together.
        """
        found = _find(self.blocks, ServerCoreData)
        if found is None:
            raise LocalProtocolError("ServerUserData: without ServerCoreData")
        return found

    @property
    def security(self) -> ServerSecurityData | None:
        """SC_SECURITY."""
        return _find(self.blocks, ServerSecurityData)

    @property
    def network(self) -> ServerNetworkData | None:
        """SC_NET."""
        return _find(self.blocks, ServerNetworkData)

    @property
    def message_channel(self) -> ServerMessageChannelData | None:
        """SC_MCS_MSGCHANNEL."""
        return _find(self.blocks, ServerMessageChannelData)

    @property
    def multitransport(self) -> ServerMultitransportChannelData | None:
        """SC_MULTITRANSPORT."""
        return _find(self.blocks, ServerMultitransportChannelData)

    def pack(self) -> bytes:
        """The user data of a Conference Create Response."""
        return b"".join(block.pack() for block in self.blocks)

    @classmethod
    def unpack(cls, data: Buffer) -> ServerUserData:
        """The blocks, which take all of `data`.

        Raises:
            DecodeError: a malformed block, one that is there twice, more than USER_DATA_MAXIMUM bytes, or no SC_CORE.
        """
        blocks = _unpack_blocks(data, _SERVER_BLOCKS, "server user data")
        if _find(blocks, ServerCoreData) is None:
            raise DecodeError("server user data: without SC_CORE")
        return cls(blocks)
