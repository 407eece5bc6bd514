"""Client Info: who wants to log on, from where, and how. Source: [MS-RDPBCGR] 2.2.1.11 "Client Info PDU".

What is here follows the basic security header with SEC_INFO_PKT.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Any, ClassVar

import attrs

from rdpprov.errinfo import ErrInfo
from rdpprov.errors import LocalProtocolError
from rdpprov.wire.base import (
    Buffer,
    DecodeError,
    Reader,
    bounded_bytes,
    bounded_text,
    int32,
    known,
    uint16,
    uint32,
    utf16_bytes,
    utf16_text,
)
from rdpprov.wire.rdp.auto_reconnect import AUTO_RECONNECT_COOKIE_SIZE, ClientAutoReconnectPacket

TEXT_MAXIMUM = 512
"""Bytes of each of the five texts in UTF-16, like all of these limits; terminator not counted."""
ADDRESS_MAXIMUM = 80
"""Bytes of clientAddress, terminator not counted."""
DIRECTORY_MAXIMUM = 512
"""Bytes of clientDir, terminator not counted."""
DYNAMIC_DST_KEY_NAME_MAXIMUM = 254
"""Bytes of dynamicDSTTimeZoneKeyName."""
_COOKIE_MAXIMUM = 0x80


class InfoFlags(IntEnum):
    """Bits of flags of TS_INFO_PACKET."""

    INFO_MOUSE = 0x00000001
    INFO_DISABLECTRLALTDEL = 0x00000002
    INFO_AUTOLOGON = 0x00000008
    """Fact 22: some clients set it without credentials, so it counts only with a user and a password."""
    INFO_UNICODE = 0x00000010
    INFO_MAXIMIZESHELL = 0x00000020
    INFO_LOGONNOTIFY = 0x00000040
    INFO_COMPRESSION = 0x00000080
    INFO_ENABLEWINDOWSKEY = 0x00000100
    COMPRESSION_TYPE_MASK = 0x00001E00
    """Four bits that are one number; see `ClientInfo.compression_type`."""
    INFO_REMOTECONSOLEAUDIO = 0x00002000
    INFO_FORCE_ENCRYPTED_CS_PDU = 0x00004000
    INFO_RAIL = 0x00008000
    INFO_LOGONERRORS = 0x00010000
    INFO_MOUSE_HAS_WHEEL = 0x00020000
    INFO_PASSWORD_IS_SC_PIN = 0x00040000
    INFO_NOAUDIOPLAYBACK = 0x00080000
    INFO_USING_SAVED_CREDS = 0x00100000
    INFO_AUDIOCAPTURE = 0x00200000
    INFO_VIDEO_DISABLE = 0x00400000
    INFO_HIDEF_RAIL_SUPPORTED = 0x02000000


class PerformanceFlags(IntEnum):
    """Bits of performanceFlags of TS_EXTENDED_INFO_PACKET: hints."""

    PERF_DISABLE_WALLPAPER = 0x00000001
    PERF_DISABLE_FULLWINDOWDRAG = 0x00000002
    PERF_DISABLE_MENUANIMATIONS = 0x00000004
    PERF_DISABLE_THEMING = 0x00000008
    PERF_DISABLE_CURSOR_SHADOW = 0x00000020
    PERF_DISABLE_CURSORSETTINGS = 0x00000040
    PERF_ENABLE_FONT_SMOOTHING = 0x00000080
    PERF_ENABLE_DESKTOP_COMPOSITION = 0x00000100


class AddressFamily(IntEnum):
    """clientAddressFamily of TS_EXTENDED_INFO_PACKET."""

    CHILD_SESSION = 0
    AF_INET = 2
    AF_INET6 = 0x17


class TimeZoneKeyNameTooLongError(DecodeError):
    """dynamicDSTTimeZoneKeyName is longer than 254 bytes."""

    errinfo = ErrInfo.ERRINFO_TIMEZONEKEYNAMELENGTHTOOLONG


# Time zone


@attrs.frozen
class SystemTime:
    """TS_SYSTEMTIME: in a time zone, the rule for a change of time. 16 bytes. Source: [MS-RDPBCGR] 2.2.1.11.1.1.1.1.

    With year 0, `day` says which `day_of_week` (0 is Sunday) of the month: 1 the first, 5 the last.
    """

    LAYOUT: ClassVar[Struct] = Struct("<8H")

    year: int = uint16(default=0)
    month: int = uint16(default=0)
    """0: there is no change of time."""
    day_of_week: int = uint16(default=0)
    day: int = uint16(default=0)
    hour: int = uint16(default=0)
    minute: int = uint16(default=0)
    second: int = uint16(default=0)
    milliseconds: int = uint16(default=0)

    def pack(self) -> bytes:
        """16 bytes."""
        return self.LAYOUT.pack(*attrs.astuple(self))

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[SystemTime, bytes]:
        """The structure and what follows it.

        Raises:
            DecodeError: too short.
        """
        reader = Reader(data, "TS_SYSTEMTIME")
        return cls(*reader.fields(cls.LAYOUT)), reader.rest()


@attrs.frozen
class TimeZoneInformation:
    """TS_TIME_ZONE_INFORMATION: the client's time zone. 172 bytes. Source: [MS-RDPBCGR] 2.2.1.11.1.1.1."""

    LAYOUT: ClassVar[Struct] = Struct("<i64s16si64s16si")

    bias: int = int32(default=0)
    """Minutes: UTC = local time + bias."""
    standard_name: str = bounded_text(62, default="")
    standard_date: SystemTime = SystemTime()
    """When standard time begins."""
    standard_bias: int = int32(default=0)
    """Minutes, added to `bias` in standard time."""
    daylight_name: str = bounded_text(62, default="")
    daylight_date: SystemTime = SystemTime()
    """When daylight saving time begins."""
    daylight_bias: int = int32(default=0)
    """Minutes, added to `bias` in daylight saving time; mostly -60."""

    def pack(self) -> bytes:
        """172 bytes."""
        return self.LAYOUT.pack(
            self.bias,
            utf16_bytes(self.standard_name, 64),
            self.standard_date.pack(),
            self.standard_bias,
            utf16_bytes(self.daylight_name, 64),
            self.daylight_date.pack(),
            self.daylight_bias,
        )

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[TimeZoneInformation, bytes]:
        """The structure and what follows it.

        Raises:
            DecodeError: too short.
        """
        reader = Reader(data, "TS_TIME_ZONE_INFORMATION")
        return cls._read(reader), reader.rest()

    @classmethod
    def _read(cls, reader: Reader) -> TimeZoneInformation:
        bias, standard, standard_date, standard_bias, daylight, daylight_date, daylight_bias = reader.fields(cls.LAYOUT)
        return cls(
            bias,
            utf16_text(standard[:62]),
            SystemTime(*SystemTime.LAYOUT.unpack(standard_date)),
            standard_bias,
            utf16_text(daylight[:62]),
            SystemTime(*SystemTime.LAYOUT.unpack(daylight_date)),
            daylight_bias,
        )


# The packet

_ANSI_CODE_PAGES = frozenset({874, 932, 936, 949, 950, *range(1250, 1259)})

_TEXTS = ("domain", "user_name", "password", "alternate_shell", "working_dir")
# The optional part, in the order of the wire; it may stop after any of these.
_EXTENDED = (
    "client_address_family",
    "client_address",
    "client_dir",
    "client_time_zone",
    "client_session_id",
    "performance_flags",
    "auto_reconnect_cookie",
    "reserved1",
    "reserved2",
    "dynamic_dst_time_zone_key_name",
    "dynamic_daylight_time_disabled",
)


@attrs.frozen
class ClientInfo:
    """TS_INFO_PACKET: the credentials and wishes of the client, with TS_EXTENDED_INFO_PACKET.

    Of the extended part each field may be the last (fact 94: xfreerdp 2.11 ends with an empty cookie); those behind it
    are None. Source: [MS-RDPBCGR] 2.2.1.11.1.1 "Info Packet", 2.2.1.11.1.1.1 "Extended Info Packet".
    """

    LAYOUT: ClassVar[Struct] = Struct("<II5H")

    flags: int = uint32(default=InfoFlags.INFO_UNICODE)
    """`InfoFlags`."""
    code_page: int = uint32(default=0)
    """With INFO_UNICODE the keyboard layout, otherwise the ANSI code page of the texts."""
    domain: str = bounded_text(TEXT_MAXIMUM, default="")
    user_name: str = bounded_text(TEXT_MAXIMUM, default="")
    password: str = bounded_text(TEXT_MAXIMUM, default="", repr=False, metadata={"secret": True})
    alternate_shell: str = bounded_text(TEXT_MAXIMUM, default="")
    """A program to start in place of the desktop."""
    working_dir: str = bounded_text(TEXT_MAXIMUM, default="")
    client_address_family: AddressFamily | int | None = uint16(optional=True)
    client_address: str | None = bounded_text(ADDRESS_MAXIMUM, optional=True)
    """As the client knows it; tells nothing about where it really is."""
    client_dir: str | None = bounded_text(DIRECTORY_MAXIMUM, optional=True)
    """Where the client's software is."""
    client_time_zone: TimeZoneInformation | None = None
    client_session_id: int | None = uint32(optional=True)
    """Ignored."""
    performance_flags: int | None = uint32(optional=True)
    """`PerformanceFlags`."""
    auto_reconnect_cookie: bytes | None = bounded_bytes(
        _COOKIE_MAXIMUM, optional=True, repr=False, metadata={"secret": True}
    )
    """As bytes; empty where there is none. See `auto_reconnect`."""
    reserved1: int | None = uint16(optional=True)
    reserved2: int | None = uint16(optional=True)
    dynamic_dst_time_zone_key_name: str | None = bounded_text(DYNAMIC_DST_KEY_NAME_MAXIMUM, optional=True)
    """The name of the time zone in the Windows registry."""
    dynamic_daylight_time_disabled: int | None = uint16(optional=True)
    """1: the client does not change its time."""

    def __attrs_post_init__(self) -> None:
        """Refuse a gap in the extended part."""
        ended = None
        for name in _EXTENDED:
            if getattr(self, name) is None:
                ended = ended or name
            elif ended:
                raise LocalProtocolError(f"ClientInfo.{name}: given, but {ended} before it is not")

    @property
    def compression_type(self) -> int:
        """CompressionTypeMask: the best bulk compression that the client takes; counts only with INFO_COMPRESSION."""
        return (self.flags & InfoFlags.COMPRESSION_TYPE_MASK) >> 9

    @property
    def auto_reconnect(self) -> ClientAutoReconnectPacket | None:
        """The cookie, if there is one that can be read; with any other the logon is an ordinary one."""
        if self.auto_reconnect_cookie is None or len(self.auto_reconnect_cookie) != AUTO_RECONNECT_COOKIE_SIZE:
            return None
        try:
            return ClientAutoReconnectPacket.unpack(self.auto_reconnect_cookie)[0]
        except DecodeError:
            return None

    def pack(self) -> bytes:
        """The packet, without its security header.

        Raises:
            LocalProtocolError: without INFO_UNICODE, a text that the code page cannot write.
        """
        encoding = _encoding(self.flags, self.code_page)
        terminator = "\0".encode(encoding)
        texts = [_encode(getattr(self, name), encoding) for name in _TEXTS]
        packed = bytearray(self.LAYOUT.pack(self.code_page, self.flags, *map(len, texts)))
        for text in texts:
            packed += text + terminator
        for name in _EXTENDED:
            value = getattr(self, name)
            if value is None:
                break
            match name:
                case "client_address" | "client_dir":
                    packed += _counted(_encode(value, encoding) + terminator)
                case "client_time_zone":
                    packed += value.pack()
                case "client_session_id" | "performance_flags":
                    packed += value.to_bytes(4, "little")
                case "auto_reconnect_cookie":
                    packed += _counted(value)
                case "dynamic_dst_time_zone_key_name":
                    packed += _counted(value.encode("utf-16-le"))
                case _:
                    packed += value.to_bytes(2, "little")
        return bytes(packed)

    @classmethod
    def unpack(cls, data: Buffer) -> ClientInfo:
        """The packet, which takes all of `data`: only the carrier's end tells where it stops. What a newer client may
        append behind the last field is dropped.

        Raises:
            DecodeError: a text beyond the data or longer than is allowed, or half a field at the end.
        """
        reader = Reader(data, "TS_INFO_PACKET")
        code_page, flags, *sizes = reader.fields(cls.LAYOUT)
        encoding = _encoding(flags, code_page)
        texts: dict[str, Any] = {}
        for name, size in zip(_TEXTS, sizes, strict=True):
            texts[name] = _read_text(reader, size, TEXT_MAXIMUM, encoding)
            reader.skip(2 if encoding == "utf-16-le" else 1)
        return cls(flags, code_page, **texts, **_read_extended(reader, encoding))


def _read_extended(reader: Reader, encoding: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in _EXTENDED:
        if not reader.remaining:
            break
        match name:
            case "client_address_family":
                values[name] = known(AddressFamily, reader.u16())
            case "client_address":  # fact 23: its size may be 0, although a NUL is mandatory; so may the next one's
                values[name] = _read_terminated(reader, ADDRESS_MAXIMUM, encoding)
            case "client_dir":
                values[name] = _read_terminated(reader, DIRECTORY_MAXIMUM, encoding)
            case "client_time_zone":
                values[name] = TimeZoneInformation._read(reader)
            case "client_session_id" | "performance_flags":
                values[name] = reader.u32()
            case "auto_reconnect_cookie":
                size = reader.u16()
                if size > _COOKIE_MAXIMUM:
                    raise DecodeError(f"{reader.structure}: cbAutoReconnectCookie {size}, expected 0 or 28")
                values[name] = reader.take(size)
            case "dynamic_dst_time_zone_key_name":
                size = reader.u16()
                if size > DYNAMIC_DST_KEY_NAME_MAXIMUM:
                    raise TimeZoneKeyNameTooLongError(f"{reader.structure}: cbDynamicDSTTimeZoneKeyName {size}")
                values[name] = utf16_text(reader.view(size))
            case _:
                values[name] = reader.u16()
    return values


def _encoding(flags: int, code_page: int) -> str:
    if flags & InfoFlags.INFO_UNICODE:
        return "utf-16-le"
    # Some clients write a keyboard layout here all the same.
    return f"cp{code_page}" if code_page in _ANSI_CODE_PAGES else "cp1252"


def _read_text(reader: Reader, size: int, limit: int, encoding: str) -> str:
    """A text of `size` bytes; `limit` is for UTF-16, in a code page half of it is the same text."""
    unicode = encoding == "utf-16-le"
    if size > (limit if unicode else limit // 2) or (unicode and size % 2):
        raise DecodeError(f"{reader.structure}: a text of {size} bytes, expected an even number up to {limit}")
    if unicode:
        return utf16_text(reader.view(size))
    return reader.take(size).decode(encoding, "replace").partition("\0")[0]


def _read_terminated(reader: Reader, limit: int, encoding: str) -> str:
    """A text whose size counts its NUL."""
    text = _read_text(reader, reader.u16(), limit + 2, encoding)
    if len(text.encode("utf-16-le")) > limit:
        raise DecodeError(f"{reader.structure}: a text without NUL, longer than {limit} bytes")
    return text


def _encode(text: str, encoding: str) -> bytes:
    try:
        return text.encode(encoding)
    except UnicodeEncodeError:  # without its cause, which holds the text: it may be the password
        raise LocalProtocolError(f"TS_INFO_PACKET: a text that cannot be written in {encoding}") from None


def _counted(content: bytes) -> bytes:
    return len(content).to_bytes(2, "little") + content
