"""Capability sets, and the two PDUs that exchange them: Demand Active and Confirm Active.

Each set is a frozen structure whose field names are the standard's. What is not known stays raw
(`UnknownCapabilitySet`), what is longer than known loses its tail, what is shorter than its fixed part is the peer's
error. Fields have the values of a plain modern peer as defaults, so that a server names only what it decides.

Sets are parsed and built by construct's interpreter, which is slow, and every client of a kind sends the same ones:
both directions are remembered, by bytes and by structure. Structures are frozen, so connections share them.

Source: [MS-RDPBCGR] 2.2.1.13 "Capabilities Exchange" and 2.2.7 "Capability Sets".
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from functools import lru_cache
from struct import Struct as ByteStruct
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import attrs
from construct import (
    Array,
    Bytes,
    Const,
    Construct,
    Int8ul,
    Int16ul,
    Int32ul,
    Optional,
    Padded,
    Padding,
    Struct,
    this,
)

from rdpprov.errinfo import ErrInfo
from rdpprov.errors import LocalProtocolError, RemoteProtocolError
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
    integer,
    parse_with,
    uint8,
    uint16,
    uint32,
    utf16_text,
)
from rdpprov.wire.rdp.share import SERVER_CHANNEL_ID, LaidOut, PduType

_SET_HEADER = ByteStruct("<HH")
_DESCRIPTOR_LIMIT = 0xFFFE  # bytes that leave room for the NUL


class CapabilityType(IntEnum):
    """capabilitySetType of TS_CAPS_SET."""

    CAPSTYPE_GENERAL = 0x01
    CAPSTYPE_BITMAP = 0x02
    CAPSTYPE_ORDER = 0x03
    CAPSTYPE_BITMAPCACHE = 0x04
    CAPSTYPE_CONTROL = 0x05
    CAPSETTYPE_BITMAP_CACHE_V3_CODEC_ID = 0x06
    CAPSTYPE_ACTIVATION = 0x07
    CAPSTYPE_POINTER = 0x08
    CAPSTYPE_SHARE = 0x09
    CAPSTYPE_COLORCACHE = 0x0A
    CAPSTYPE_SOUND = 0x0C
    CAPSTYPE_INPUT = 0x0D
    CAPSTYPE_FONT = 0x0E
    CAPSTYPE_BRUSH = 0x0F
    CAPSTYPE_GLYPHCACHE = 0x10
    CAPSTYPE_OFFSCREENCACHE = 0x11
    CAPSTYPE_BITMAPCACHE_HOSTSUPPORT = 0x12
    CAPSTYPE_BITMAPCACHE_REV2 = 0x13
    CAPSTYPE_VIRTUALCHANNEL = 0x14
    CAPSTYPE_DRAWNINEGRIDCACHE = 0x15
    CAPSTYPE_DRAWGDIPLUS = 0x16
    CAPSTYPE_RAIL = 0x17
    CAPSTYPE_WINDOW = 0x18
    CAPSETTYPE_COMPDESK = 0x19
    CAPSETTYPE_MULTIFRAGMENTUPDATE = 0x1A
    CAPSETTYPE_LARGE_POINTER = 0x1B
    CAPSETTYPE_SURFACE_COMMANDS = 0x1C
    CAPSETTYPE_BITMAP_CODECS = 0x1D
    CAPSSETTYPE_FRAME_ACKNOWLEDGE = 0x1E


class CapabilitySetTooSmallError(DecodeError):
    """A capability set is shorter than its header or its fixed part (CAP-05)."""

    errinfo = ErrInfo.ERRINFO_CAPABILITYSETTOOSMALL


class CapabilitySetTooLargeError(DecodeError):
    """A capability set reaches beyond the sets' block (CAP-05)."""

    errinfo = ErrInfo.ERRINFO_CAPABILITYSETTOOLARGE


class BadCapabilitiesError(DecodeError):
    """A capability set has impossible contents."""

    errinfo = ErrInfo.ERRINFO_BADCAPABILITIES


class ConfirmActiveTooShortError(DecodeError):
    """Confirm Active is cut off, or announces more than it has (CAP-04)."""

    errinfo = ErrInfo.ERRINFO_CONFIRMACTIVEPDUTOOSHORT


class WrongShareIdError(RemoteProtocolError):
    """Confirm Active answers another Demand Active than the last one (CAP-04)."""

    errinfo = ErrInfo.ERRINFO_CONFIRMACTIVEWRONGSHAREID


class CapabilitySet(LaidOut):
    """TS_CAPS_SET: one capability set; `pack` writes its header (type, length), the subclass describes its body."""

    __slots__ = ()

    TYPE: ClassVar[int]
    """The set's `CapabilityType`."""

    def pack(self) -> bytes:
        """The bytes on the wire, header included."""
        return _pack_set(self)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[Any, bytes]:
        """Take one set off the front of `data`.

        Returns:
            the set, of the subclass that knows its type, or raw; and the bytes behind it.

        Raises:
            CapabilitySetTooSmallError: its length is below the header's or below its fixed part.
            CapabilitySetTooLargeError: its length is beyond the end of `data`.
            BadCapabilitiesError: its contents cannot be.
        """
        capability_set, end = _unpack_set(bytes(data), 0)
        return capability_set, bytes(data[end:])

    def pack_body(self) -> bytes:
        """What follows the set's header."""
        return build_with(self.LAYOUT, self._wire_values(), self.spelling())

    @classmethod
    def unpack_body(cls, body: Buffer) -> Any:
        """The set out of all that follows its header; what it does not know behind its fields is dropped."""
        parsed, _ = parse_with(cls.LAYOUT, body, cls.spelling())
        return cls._from_wire(parsed)


@attrs.frozen
class UnknownCapabilitySet(CapabilitySet):
    """TS_CAPS_SET: of a type that we do not know; kept raw and otherwise ignored."""

    capability_set_type: int = uint16()
    """The number of the type."""
    capability_data: bytes = bounded_bytes(0xFFFF - 4)
    """What follows the header."""

    def pack_body(self) -> bytes:
        """What follows the set's header."""
        return self.capability_data


class OsMajorType(IntEnum):
    """osMajorType of TS_GENERAL_CAPABILITYSET."""

    OSMAJORTYPE_UNSPECIFIED = 0
    OSMAJORTYPE_WINDOWS = 1
    OSMAJORTYPE_OS2 = 2
    OSMAJORTYPE_MACINTOSH = 3
    OSMAJORTYPE_UNIX = 4
    OSMAJORTYPE_IOS = 5
    OSMAJORTYPE_OSX = 6
    OSMAJORTYPE_ANDROID = 7
    OSMAJORTYPE_CHROME_OS = 8


class ExtraFlags(IntEnum):
    """Bits of extraFlags of TS_GENERAL_CAPABILITYSET."""

    FASTPATH_OUTPUT_SUPPORTED = 0x0001
    LONG_CREDENTIALS_SUPPORTED = 0x0004
    AUTORECONNECT_SUPPORTED = 0x0008
    ENC_SALTED_CHECKSUM = 0x0010
    NO_BITMAP_COMPRESSION_HDR = 0x0400


TS_CAPS_PROTOCOLVERSION = 0x0200


@attrs.frozen
class GeneralCapabilitySet(CapabilitySet):
    """TS_GENERAL_CAPABILITYSET: platform, fast-path output, reconnection. 24 bytes with its header.

    Source: [MS-RDPBCGR] 2.2.7.1.1 "General Capability Set".
    """

    TYPE: ClassVar[int] = CapabilityType.CAPSTYPE_GENERAL
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct(
        "os_major_type" / Int16ul,
        "os_minor_type" / Int16ul,
        "protocol_version" / Int16ul,
        Padding(2),
        "general_compression_types" / Int16ul,
        "extra_flags" / Int16ul,
        "update_capability_flag" / Int16ul,
        "remote_unshare_flag" / Int16ul,
        "general_compression_level" / Int16ul,
        "refresh_rect_support" / Int8ul,
        "suppress_output_support" / Int8ul,
    )

    os_major_type: int = uint16(default=OsMajorType.OSMAJORTYPE_UNSPECIFIED)
    """An `OsMajorType`."""
    os_minor_type: int = uint16(default=0)
    """The platform's version; only some are defined."""
    protocol_version: int = uint16(default=TS_CAPS_PROTOCOLVERSION)
    """0x0200. fact 30: FreeRDP takes no other."""
    general_compression_types: int = uint16(default=0)
    """Must be 0."""
    extra_flags: int = uint16(default=0)
    """`ExtraFlags`. fact 33: rdesktop falls back to RDP 4 where a server sets none."""
    update_capability_flag: int = uint16(default=0)
    """Must be 0."""
    remote_unshare_flag: int = uint16(default=0)
    """Must be 0."""
    general_compression_level: int = uint16(default=0)
    """Must be 0."""
    refresh_rect_support: int = uint8(default=0)
    """A server's: 1 if Refresh Rect is understood. fact 46: FreeRDP sends it only then, mstsc always."""
    suppress_output_support: int = uint8(default=0)
    """A server's: 1 if Suppress Output is understood. fact 46 again."""


class DrawingFlags(IntEnum):
    """Bits of drawingFlags of TS_BITMAP_CAPABILITYSET."""

    DRAW_ALLOW_DYNAMIC_COLOR_FIDELITY = 0x02
    DRAW_ALLOW_COLOR_SUBSAMPLING = 0x04
    DRAW_ALLOW_SKIP_ALPHA = 0x08


@attrs.frozen
class BitmapCapabilitySet(CapabilitySet):
    """TS_BITMAP_CAPABILITYSET: depth and size of the desktop. 28 bytes with its header.

    Source: [MS-RDPBCGR] 2.2.7.1.2 "Bitmap Capability Set".
    """

    TYPE: ClassVar[int] = CapabilityType.CAPSTYPE_BITMAP
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct(
        "preferred_bits_per_pixel" / Int16ul,
        "receive_1_bit_per_pixel" / Int16ul,
        "receive_4_bits_per_pixel" / Int16ul,
        "receive_8_bits_per_pixel" / Int16ul,
        "desktop_width" / Int16ul,
        "desktop_height" / Int16ul,
        Padding(2),
        "desktop_resize_flag" / Int16ul,
        "bitmap_compression_flag" / Int16ul,
        "high_color_flags" / Int8ul,
        "drawing_flags" / Int8ul,
        "multiple_rectangle_support" / Int16ul,
        Padding(2),
    )

    preferred_bits_per_pixel: int = uint16()
    """8, 15, 16, 24 or 32. A server's is the session's depth (fact 33: rdesktop takes depth and size from here)."""
    desktop_width: int = uint16()
    """Pixels."""
    desktop_height: int = uint16()
    """Pixels."""
    receive_1_bit_per_pixel: int = uint16(default=1)
    """Should be 1; ignored."""
    receive_4_bits_per_pixel: int = uint16(default=1)
    """Should be 1; ignored."""
    receive_8_bits_per_pixel: int = uint16(default=1)
    """Should be 1; ignored."""
    desktop_resize_flag: int = uint16(default=1)
    """1 if the desktop may change its size. fact 32: FreeRDP follows a new size only if the server said 1."""
    bitmap_compression_flag: int = uint16(default=1)
    """Must be 1."""
    high_color_flags: int = uint8(default=0)
    """Should be 0; ignored."""
    drawing_flags: int = uint8(default=0)
    """`DrawingFlags`. fact 51: planar with AYCoCg differs among clients, so that a server asks for none."""
    multiple_rectangle_support: int = uint16(default=1)
    """Must be 1."""


class OrderFlags(IntEnum):
    """Bits of orderFlags of TS_ORDER_CAPABILITYSET."""

    NEGOTIATEORDERSUPPORT = 0x0002
    ZEROBOUNDSDELTASSUPPORT = 0x0008
    COLORINDEXSUPPORT = 0x0020
    SOLIDPATTERNBRUSHONLY = 0x0040
    ORDERFLAGS_EXTRA_FLAGS = 0x0080


class OrderSupportExFlags(IntEnum):
    """Bits of orderSupportExFlags of TS_ORDER_CAPABILITYSET."""

    ORDERFLAGS_EX_CACHE_BITMAP_REV3_SUPPORT = 0x0002
    ORDERFLAGS_EX_ALTSEC_FRAME_MARKER_SUPPORT = 0x0004


@attrs.frozen
class OrderCapabilitySet(CapabilitySet):
    """TS_ORDER_CAPABILITYSET: drawing orders. 88 bytes with its header.

    The defaults say "bitmaps only", which every client takes (fact 79: never draw by orders on a modern client).

    Source: [MS-RDPBCGR] 2.2.7.1.3 "Order Capability Set".
    """

    TYPE: ClassVar[int] = CapabilityType.CAPSTYPE_ORDER
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct(
        "terminal_descriptor" / Bytes(16),
        Padding(4),
        "desktop_save_x_granularity" / Int16ul,
        "desktop_save_y_granularity" / Int16ul,
        Padding(2),
        "maximum_order_level" / Int16ul,
        "number_fonts" / Int16ul,
        "order_flags" / Int16ul,
        "order_support" / Bytes(32),
        "text_flags" / Int16ul,
        "order_support_ex_flags" / Int16ul,
        Padding(4),
        "desktop_save_size" / Int32ul,
        Padding(4),
        "text_ansi_code_page" / Int16ul,
        Padding(2),
    )

    terminal_descriptor: bytes = fixed_bytes(16, default=bytes(16))
    """Should be zero; ignored."""
    desktop_save_x_granularity: int = uint16(default=1)
    """Ignored; 1 is assumed."""
    desktop_save_y_granularity: int = uint16(default=20)
    """Ignored; 20 is assumed."""
    maximum_order_level: int = uint16(default=1)
    """ORD_LEVEL_1_ORDERS; ignored."""
    number_fonts: int = uint16(default=0)
    """Should be 0; ignored."""
    order_flags: int = uint16(default=OrderFlags.NEGOTIATEORDERSUPPORT | OrderFlags.ZEROBOUNDSDELTASSUPPORT)
    """`OrderFlags`; the two of the default are mandatory."""
    order_support: bytes = fixed_bytes(32, default=bytes(32))
    """One byte an order, 1 for "supported", indexed by TS_NEG_*_INDEX."""
    text_flags: int = uint16(default=0)
    """Must be ignored."""
    order_support_ex_flags: int = uint16(default=0)
    """`OrderSupportExFlags`, valid with ORDERFLAGS_EXTRA_FLAGS."""
    desktop_save_size: int = uint32(default=230400)
    """Bytes that saved desktop bitmaps may take; ignored in a server's."""
    text_ansi_code_page: int = uint16(default=0)
    """ANSI code page of glyph texts."""


@attrs.frozen
class BitmapCacheCapabilitySet(CapabilitySet):
    """TS_BITMAPCACHE_CAPABILITYSET: revision 1 bitmap caches, a client's. 40 bytes with its header.

    Source: [MS-RDPBCGR] 2.2.7.1.4.1 "Revision 1".
    """

    TYPE: ClassVar[int] = CapabilityType.CAPSTYPE_BITMAPCACHE
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct(
        Padding(24),
        "cache_0_entries" / Int16ul,
        "cache_0_maximum_cell_size" / Int16ul,
        "cache_1_entries" / Int16ul,
        "cache_1_maximum_cell_size" / Int16ul,
        "cache_2_entries" / Int16ul,
        "cache_2_maximum_cell_size" / Int16ul,
    )

    cache_0_entries: int = uint16(default=0)
    """Bitmaps in the first cache, up to 200."""
    cache_0_maximum_cell_size: int = uint16(default=0)
    """Bytes of the largest of them."""
    cache_1_entries: int = uint16(default=0)
    """Bitmaps in the second cache, up to 600."""
    cache_1_maximum_cell_size: int = uint16(default=0)
    """Bytes of the largest of them."""
    cache_2_entries: int = uint16(default=0)
    """Bitmaps in the third cache, up to 65535."""
    cache_2_maximum_cell_size: int = uint16(default=0)
    """Bytes of the largest of them."""


_uint31 = integer(0, 0x7FFFFFFF, "uint31")


@attrs.frozen
class BitmapCacheCellInfo:
    """TS_BITMAPCACHE_CELL_CACHE_INFO: size of one revision 2 bitmap cache, 32 bits.

    Source: [MS-RDPBCGR] 2.2.7.1.4.2.1 "Bitmap Cache Cell Info".
    """

    num_entries: int = _uint31()
    """Bitmaps in the cache; 31 bits."""
    persistent: bool = False
    """Whether the client keeps it on disk and announces its keys."""


class CacheFlags(IntEnum):
    """Bits of CacheFlags of TS_BITMAPCACHE_CAPABILITYSET_REV2."""

    PERSISTENT_KEYS_EXPECTED_FLAG = 0x0001
    ALLOW_CACHE_WAITING_LIST_FLAG = 0x0002


@attrs.frozen
class BitmapCacheRev2CapabilitySet(CapabilitySet):
    """TS_BITMAPCACHE_CAPABILITYSET_REV2: revision 2 bitmap caches, a client's. 40 bytes with its header.

    Source: [MS-RDPBCGR] 2.2.7.1.4.2 "Revision 2".
    """

    TYPE: ClassVar[int] = CapabilityType.CAPSTYPE_BITMAPCACHE_REV2
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct(
        "cache_flags" / Int16ul,
        Padding(1),
        "num_cell_caches" / Int8ul,
        "cell_info" / Array(5, Int32ul),
        Padding(12),
    )

    cache_flags: int = uint16(default=0)
    """`CacheFlags`."""
    num_cell_caches: int = uint8(default=0)
    """How many of `cell_info` count, up to 5."""
    cell_info: tuple[BitmapCacheCellInfo, ...] = attrs.field(default=(BitmapCacheCellInfo(0),) * 5)
    """Five caches."""

    def _wire_values(self) -> dict[str, Any]:
        cells = [cell.num_entries | cell.persistent << 31 for cell in self.cell_info]
        return {"cache_flags": self.cache_flags, "num_cell_caches": self.num_cell_caches, "cell_info": cells}

    @classmethod
    def _from_wire(cls, parsed: Any) -> BitmapCacheRev2CapabilitySet:
        cells = tuple(BitmapCacheCellInfo(cell & 0x7FFFFFFF, bool(cell >> 31)) for cell in parsed.cell_info)
        return cls(parsed.cache_flags, parsed.num_cell_caches, cells)


@attrs.frozen
class BitmapCacheHostSupportCapabilitySet(CapabilitySet):
    """TS_BITMAPCACHE_HOSTSUPPORT_CAPABILITYSET: the server wants persistent cache keys. 8 bytes with its header.

    Source: [MS-RDPBCGR] 2.2.7.2.1 "Bitmap Cache Host Support Capability Set".
    """

    TYPE: ClassVar[int] = CapabilityType.CAPSTYPE_BITMAPCACHE_HOSTSUPPORT
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct("cache_version" / Int8ul, Padding(3))

    cache_version: int = uint8(default=1)
    """1: revision 2."""


@attrs.frozen
class ControlCapabilitySet(CapabilitySet):
    """TS_CONTROL_CAPABILITYSET: a client's; all of it is ignored. 12 bytes with its header.

    Source: [MS-RDPBCGR] 2.2.7.2.2 "Control Capability Set".
    """

    TYPE: ClassVar[int] = CapabilityType.CAPSTYPE_CONTROL
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct(
        "control_flags" / Int16ul,
        "remote_detach_flag" / Int16ul,
        "control_interest" / Int16ul,
        "detach_interest" / Int16ul,
    )

    control_flags: int = uint16(default=0)
    """Should be 0."""
    remote_detach_flag: int = uint16(default=0)
    """Should be 0."""
    control_interest: int = uint16(default=2)
    """Should be CONTROLPRIORITY_NEVER (2)."""
    detach_interest: int = uint16(default=2)
    """Should be CONTROLPRIORITY_NEVER (2)."""


@attrs.frozen
class WindowActivationCapabilitySet(CapabilitySet):
    """TS_WINDOWACTIVATION_CAPABILITYSET: a client's; all of it is ignored. 12 bytes with its header.

    Source: [MS-RDPBCGR] 2.2.7.2.3 "Window Activation Capability Set".
    """

    TYPE: ClassVar[int] = CapabilityType.CAPSTYPE_ACTIVATION
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct(
        "help_key_flag" / Int16ul,
        "help_key_index_flag" / Int16ul,
        "help_extended_key_flag" / Int16ul,
        "window_manager_key_flag" / Int16ul,
    )

    help_key_flag: int = uint16(default=0)
    """Should be 0."""
    help_key_index_flag: int = uint16(default=0)
    """Should be 0."""
    help_extended_key_flag: int = uint16(default=0)
    """Should be 0."""
    window_manager_key_flag: int = uint16(default=0)
    """Should be 0."""


@attrs.frozen
class PointerCapabilitySet(CapabilitySet):
    """TS_POINTER_CAPABILITYSET: pointer caches. 10 bytes with its header, 8 of old clients.

    Source: [MS-RDPBCGR] 2.2.7.1.5 "Pointer Capability Set".
    """

    TYPE: ClassVar[int] = CapabilityType.CAPSTYPE_POINTER
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct(
        "color_pointer_flag" / Int16ul,
        "color_pointer_cache_size" / Int16ul,
        "pointer_cache_size" / Optional(Int16ul),
    )

    color_pointer_flag: int = uint16(default=1)
    """1: color pointers are supported. No client is known that supports monochrome pointers only."""
    color_pointer_cache_size: int = uint16(default=25)
    """Shapes in the cache for color pointer updates."""
    pointer_cache_size: int | None = uint16(optional=True, default=25)
    """Shapes in the cache for new pointer updates; None or 0: the client knows color pointer updates only.
    fact 85: mstsc may ask for the index one past it, so that a server announces one more than it uses."""


@attrs.frozen
class ShareCapabilitySet(CapabilitySet):
    """TS_SHARE_CAPABILITYSET: the sender's channel. 8 bytes with its header.

    Source: [MS-RDPBCGR] 2.2.7.2.4 "Share Capability Set".
    """

    TYPE: ClassVar[int] = CapabilityType.CAPSTYPE_SHARE
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct("node_id" / Int16ul, Padding(2))

    node_id: int = uint16(default=SERVER_CHANNEL_ID)
    """The server's channel in a server's, 0 in a client's."""


@attrs.frozen
class ColorCacheCapabilitySet(CapabilitySet):
    """TS_COLORTABLE_CAPABILITYSET: color tables for drawing orders. 8 bytes with its header.

    Source: [MS-RDPEGDI] 2.2.1.1 "Color Table Cache Capability Set".
    """

    TYPE: ClassVar[int] = CapabilityType.CAPSTYPE_COLORCACHE
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct("color_table_cache_size" / Int16ul, Padding(2))

    color_table_cache_size: int = uint16(default=6)
    """Must be 6."""


SOUND_BEEPS_FLAG = 0x0001


@attrs.frozen
class SoundCapabilitySet(CapabilitySet):
    """TS_SOUND_CAPABILITYSET: a client's; whether it beeps. 8 bytes with its header.

    Source: [MS-RDPBCGR] 2.2.7.1.11 "Sound Capability Set".
    """

    TYPE: ClassVar[int] = CapabilityType.CAPSTYPE_SOUND
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct("sound_flags" / Int16ul, Padding(2))

    sound_flags: int = uint16(default=0)
    """SOUND_BEEPS_FLAG: Play Sound is understood."""


class InputFlags(IntEnum):
    """Bits of inputFlags of TS_INPUT_CAPABILITYSET."""

    INPUT_FLAG_SCANCODES = 0x0001
    INPUT_FLAG_MOUSEX = 0x0004
    INPUT_FLAG_FASTPATH_INPUT = 0x0008
    INPUT_FLAG_UNICODE = 0x0010
    INPUT_FLAG_FASTPATH_INPUT2 = 0x0020
    INPUT_FLAG_MOUSE_RELATIVE = 0x0080
    TS_INPUT_FLAG_MOUSE_HWHEEL = 0x0100
    TS_INPUT_FLAG_QOE_TIMESTAMPS = 0x0200


_IME_NAME_SIZE = 64


@attrs.frozen
class InputCapabilitySet(CapabilitySet):
    """TS_INPUT_CAPABILITYSET: kinds of input, and a client's keyboard. 88 bytes with its header.

    Source: [MS-RDPBCGR] 2.2.7.1.6 "Input Capability Set".
    """

    TYPE: ClassVar[int] = CapabilityType.CAPSTYPE_INPUT
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct(
        "input_flags" / Int16ul,
        Padding(2),
        "keyboard_layout" / Int32ul,
        "keyboard_type" / Int32ul,
        "keyboard_sub_type" / Int32ul,
        "keyboard_function_key" / Int32ul,
        "ime_file_name" / Bytes(_IME_NAME_SIZE),
    )

    input_flags: int = uint16(default=InputFlags.INPUT_FLAG_SCANCODES)
    """`InputFlags`. fact 66: some events may only be sent to a server that announced them here."""
    keyboard_layout: int = uint32(default=0)
    """Active input locale of a client; 0 in a server's."""
    keyboard_type: int = uint32(default=0)
    """1 to 7 in a client's: 4 is the IBM enhanced keyboard with 101 or 102 keys."""
    keyboard_sub_type: int = uint32(default=0)
    """Depends on the manufacturer."""
    keyboard_function_key: int = uint32(default=0)
    """Number of function keys."""
    ime_file_name: str = bounded_text(_IME_NAME_SIZE, default="")
    """Input method editor of a client, up to 32 UTF-16 code units."""

    def _wire_values(self) -> dict[str, Any]:
        name = self.ime_file_name.encode("utf-16-le").ljust(_IME_NAME_SIZE, b"\0")
        return {**super()._wire_values(), "ime_file_name": name}

    @classmethod
    def _from_wire(cls, parsed: Any) -> InputCapabilitySet:
        parsed.ime_file_name = utf16_text(parsed.ime_file_name)
        return super()._from_wire(parsed)


FONTSUPPORT_FONTLIST = 0x0001


@attrs.frozen
class FontCapabilitySet(CapabilitySet):
    """TS_FONT_CAPABILITYSET: Font List and Font Map. 8 bytes with its header; 4 occur.

    Source: [MS-RDPBCGR] 2.2.7.2.5 "Font Capability Set".
    """

    TYPE: ClassVar[int] = CapabilityType.CAPSTYPE_FONT
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct("font_support_flags" / Optional(Padded(4, Int16ul)))

    font_support_flags: int | None = uint16(optional=True, default=FONTSUPPORT_FONTLIST)
    """FONTSUPPORT_FONTLIST; None in the short form."""


class BrushSupportLevel(IntEnum):
    """brushSupportLevel of TS_BRUSH_CAPABILITYSET."""

    BRUSH_DEFAULT = 0
    BRUSH_COLOR_8x8 = 1
    BRUSH_COLOR_FULL = 2


@attrs.frozen
class BrushCapabilitySet(CapabilitySet):
    """TS_BRUSH_CAPABILITYSET: a client's; for drawing orders. 8 bytes with its header.

    Source: [MS-RDPBCGR] 2.2.7.1.7 "Brush Capability Set".
    """

    TYPE: ClassVar[int] = CapabilityType.CAPSTYPE_BRUSH
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct("brush_support_level" / Int32ul)

    brush_support_level: int = uint32(default=BrushSupportLevel.BRUSH_DEFAULT)
    """A `BrushSupportLevel`."""


@attrs.frozen
class CacheDefinition:
    """TS_CACHE_DEFINITION: size of one glyph cache. 4 bytes.

    Source: [MS-RDPBCGR] 2.2.7.1.8.1 "Cache Definition".
    """

    cache_entries: int = uint16(default=0)
    """Glyphs in the cache, up to 254."""
    cache_maximum_cell_size: int = uint16(default=0)
    """Bytes of the largest of them, up to 2048."""


_CACHE_DEFINITION = Array(2, Int16ul)


@attrs.frozen
class GlyphCacheCapabilitySet(CapabilitySet):
    """TS_GLYPHCACHE_CAPABILITYSET: a client's; for drawing orders. 52 bytes with its header.

    Source: [MS-RDPBCGR] 2.2.7.1.8 "Glyph Cache Capability Set".
    """

    TYPE: ClassVar[int] = CapabilityType.CAPSTYPE_GLYPHCACHE
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct(
        "glyph_cache" / Array(10, _CACHE_DEFINITION),
        "frag_cache" / _CACHE_DEFINITION,
        "glyph_support_level" / Int16ul,
        Padding(2),
    )

    glyph_cache: tuple[CacheDefinition, ...] = attrs.field(default=(CacheDefinition(),) * 10)
    """Ten glyph caches."""
    frag_cache: CacheDefinition = attrs.field(default=CacheDefinition())
    """The cache of glyph fragments."""
    glyph_support_level: int = uint16(default=0)
    """GLYPH_SUPPORT_NONE (0), PARTIAL (1), FULL (2) or ENCODE (3)."""

    def _wire_values(self) -> dict[str, Any]:
        return {
            "glyph_cache": [attrs.astuple(cache) for cache in self.glyph_cache],
            "frag_cache": attrs.astuple(self.frag_cache),
            "glyph_support_level": self.glyph_support_level,
        }

    @classmethod
    def _from_wire(cls, parsed: Any) -> GlyphCacheCapabilitySet:
        caches = tuple(CacheDefinition(*cache) for cache in parsed.glyph_cache)
        return cls(caches, CacheDefinition(*parsed.frag_cache), parsed.glyph_support_level)


@attrs.frozen
class OffscreenCacheCapabilitySet(CapabilitySet):
    """TS_OFFSCREEN_CAPABILITYSET: a client's; for drawing orders. 12 bytes with its header.

    Source: [MS-RDPBCGR] 2.2.7.1.9 "Offscreen Bitmap Cache Capability Set".
    """

    TYPE: ClassVar[int] = CapabilityType.CAPSTYPE_OFFSCREENCACHE
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct(
        "offscreen_support_level" / Int32ul,
        "offscreen_cache_size" / Int16ul,
        "offscreen_cache_entries" / Int16ul,
    )

    offscreen_support_level: int = uint32(default=0)
    """1 if supported."""
    offscreen_cache_size: int = uint16(default=0)
    """KiB, up to 7680."""
    offscreen_cache_entries: int = uint16(default=0)
    """Bitmaps, up to 500."""


class VirtualChannelFlags(IntEnum):
    """flags of TS_VIRTUALCHANNEL_CAPABILITYSET."""

    VCCAPS_NO_COMPR = 0
    VCCAPS_COMPR_SC = 1
    VCCAPS_COMPR_CS_8K = 2


CHANNEL_CHUNK_LENGTH = 1600


@attrs.frozen
class VirtualChannelCapabilitySet(CapabilitySet):
    """TS_VIRTUALCHANNEL_CAPABILITYSET: chunks of static channels. 12 bytes with its header, 8 of old clients.

    Source: [MS-RDPBCGR] 2.2.7.1.10 "Virtual Channel Capability Set".
    """

    TYPE: ClassVar[int] = CapabilityType.CAPSTYPE_VIRTUALCHANNEL
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct("flags" / Int32ul, "vc_chunk_size" / Optional(Int32ul))

    flags: int = uint32(default=VirtualChannelFlags.VCCAPS_NO_COMPR)
    """`VirtualChannelFlags`."""
    vc_chunk_size: int | None = uint32(optional=True, default=CHANNEL_CHUNK_LENGTH)
    """Bytes of a chunk, 1600 to 16256; the server's value rules. None in the short form: 1600."""


@attrs.frozen
class DrawNineGridCapabilitySet(CapabilitySet):
    """TS_DRAW_NINEGRID_CAPABILITYSET: a client's; for drawing orders. 12 bytes with its header.

    Source: [MS-RDPEGDI] 2.2.1.2 "DrawNineGrid Cache Capability Set".
    """

    TYPE: ClassVar[int] = CapabilityType.CAPSTYPE_DRAWNINEGRIDCACHE
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct(
        "draw_nine_grid_support_level" / Int32ul,
        "draw_nine_grid_cache_size" / Int16ul,
        "draw_nine_grid_cache_entries" / Int16ul,
    )

    draw_nine_grid_support_level: int = uint32(default=0)
    """0 none, 1 revision 1, 2 revision 2."""
    draw_nine_grid_cache_size: int = uint16(default=0)
    """KiB, up to 2560."""
    draw_nine_grid_cache_entries: int = uint16(default=0)
    """Bitmaps, up to 256."""


@attrs.frozen
class DrawGdiPlusCapabilitySet(CapabilitySet):
    """TS_DRAW_GDIPLUS_CAPABILITYSET: for drawing orders. 40 bytes with its header.

    Source: [MS-RDPEGDI] 2.2.1.3 "Draw GDI+ Capability Set".
    """

    TYPE: ClassVar[int] = CapabilityType.CAPSTYPE_DRAWGDIPLUS
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct(
        "draw_gdiplus_support_level" / Int32ul,
        "gdip_version" / Int32ul,
        "draw_gdiplus_cache_level" / Int32ul,
        "gdip_cache_entries" / Bytes(10),
        "gdip_cache_chunk_size" / Bytes(8),
        "gdip_image_cache_properties" / Bytes(6),
    )

    draw_gdiplus_support_level: int = uint32(default=0)
    """1 if supported."""
    gdip_version: int = uint32(default=0)
    """Build of GDI+ 1.1."""
    draw_gdiplus_cache_level: int = uint32(default=0)
    """1 if there are caches."""
    gdip_cache_entries: bytes = fixed_bytes(10, default=bytes(10))
    """TS_GDIPLUS_CACHE_ENTRIES, raw: nothing here draws by GDI+."""
    gdip_cache_chunk_size: bytes = fixed_bytes(8, default=bytes(8))
    """TS_GDIPLUS_CACHE_CHUNK_SIZE, raw."""
    gdip_image_cache_properties: bytes = fixed_bytes(6, default=bytes(6))
    """TS_GDIPLUS_IMAGE_CACHE_PROPERTIES, raw."""


class RailSupportLevel(IntEnum):
    """Bits of RailSupportLevel of the Remote Programs Capability Set."""

    TS_RAIL_LEVEL_SUPPORTED = 0x01
    TS_RAIL_LEVEL_DOCKED_LANGBAR_SUPPORTED = 0x02
    TS_RAIL_LEVEL_SHELL_INTEGRATION_SUPPORTED = 0x04
    TS_RAIL_LEVEL_LANGUAGE_IME_SYNC_SUPPORTED = 0x08
    TS_RAIL_LEVEL_SERVER_TO_CLIENT_IME_SYNC_SUPPORTED = 0x10
    TS_RAIL_LEVEL_HIDE_MINIMIZED_APPS_SUPPORTED = 0x20
    TS_RAIL_LEVEL_WINDOW_CLOAKING_SUPPORTED = 0x40
    TS_RAIL_LEVEL_HANDSHAKE_EX_SUPPORTED = 0x80


@attrs.frozen
class RemoteProgramsCapabilitySet(CapabilitySet):
    """TS_RAIL_CAPABILITYSET: single windows in place of a desktop. 8 bytes with its header.

    Source: [MS-RDPERP] 2.2.1.1.1 "Remote Programs Capability Set".
    """

    TYPE: ClassVar[int] = CapabilityType.CAPSTYPE_RAIL
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct("rail_support_level" / Int32ul)

    rail_support_level: int = uint32(default=0)
    """`RailSupportLevel`."""


@attrs.frozen
class WindowListCapabilitySet(CapabilitySet):
    """TS_WINDOW_CAPABILITYSET: windows and icons of single-window sessions. 11 bytes with its header.

    Source: [MS-RDPERP] 2.2.1.1.2 "Window List Capability Set".
    """

    TYPE: ClassVar[int] = CapabilityType.CAPSTYPE_WINDOW
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct(
        "wnd_support_level" / Int32ul, "num_icon_caches" / Int8ul, "num_icon_cache_entries" / Int16ul
    )

    wnd_support_level: int = uint32(default=0)
    """0 none, 1 supported, 2 with the extensions of RDP 7."""
    num_icon_caches: int = uint8(default=0)
    """Icon caches."""
    num_icon_cache_entries: int = uint16(default=0)
    """Icons in each."""


@attrs.frozen
class DesktopCompositionCapabilitySet(CapabilitySet):
    """TS_COMPDESK_CAPABILITYSET: desktop composition. 6 bytes with its header.

    Source: [MS-RDPBCGR] 2.2.7.2.8 "Desktop Composition Capability Set".
    """

    TYPE: ClassVar[int] = CapabilityType.CAPSETTYPE_COMPDESK
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct("comp_desk_support_level" / Int16ul)

    comp_desk_support_level: int = uint16(default=0)
    """1 if supported."""


@attrs.frozen
class MultifragmentUpdateCapabilitySet(CapabilitySet):
    """TS_MULTIFRAGMENTUPDATE_CAPABILITYSET: how long a fragmented update may be. 8 bytes with its header.

    Source: [MS-RDPBCGR] 2.2.7.2.6 "Multifragment Update Capability Set".
    """

    TYPE: ClassVar[int] = CapabilityType.CAPSETTYPE_MULTIFRAGMENTUPDATE
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct("max_request_size" / Int32ul)

    max_request_size: int = uint32(default=608299)
    """Bytes that the sender reassembles. fact 34: mstsc rejects 16 MiB, Lync dies above 0x3EFFFF; facts 35 to 37: a
    384x384 pointer needs the default, and what is sent obeys the client's number."""


class LargePointerSupportFlags(IntEnum):
    """Bits of largePointerSupportFlags of TS_LARGE_POINTER_CAPABILITYSET."""

    LARGE_POINTER_FLAG_96x96 = 0x0001
    LARGE_POINTER_FLAG_384x384 = 0x0002


@attrs.frozen
class LargePointerCapabilitySet(CapabilitySet):
    """TS_LARGE_POINTER_CAPABILITYSET: pointers above 32 by 32. 6 bytes with its header.

    Source: [MS-RDPBCGR] 2.2.7.2.7 "Large Pointer Capability Set".
    """

    TYPE: ClassVar[int] = CapabilityType.CAPSETTYPE_LARGE_POINTER
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct("large_pointer_support_flags" / Int16ul)

    large_pointer_support_flags: int = uint16(default=0)
    """`LargePointerSupportFlags`."""


class SurfaceCommandFlags(IntEnum):
    """Bits of cmdFlags of TS_SURFCMDS_CAPABILITYSET."""

    SURFCMDS_SETSURFACEBITS = 0x02
    SURFCMDS_FRAMEMARKER = 0x10
    SURFCMDS_STREAMSURFACEBITS = 0x40


@attrs.frozen
class SurfaceCommandsCapabilitySet(CapabilitySet):
    """TS_SURFCMDS_CAPABILITYSET: which surface commands are understood. 12 bytes with its header.

    Source: [MS-RDPBCGR] 2.2.7.2.9 "Surface Commands Capability Set".
    """

    TYPE: ClassVar[int] = CapabilityType.CAPSETTYPE_SURFACE_COMMANDS
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct("cmd_flags" / Int32ul, "reserved" / Int32ul)

    cmd_flags: int = uint32(default=0)
    """`SurfaceCommandFlags`."""
    reserved: int = uint32(default=0)
    """Ignored."""


@attrs.frozen
class FrameAcknowledgeCapabilitySet(CapabilitySet):
    """TS_FRAME_ACKNOWLEDGE_CAPABILITYSET: frames under way between frame markers. 8 bytes with its header.

    Source: [MS-RDPRFX] 2.2.1.3 "Frame Acknowledge Capability Set".
    """

    TYPE: ClassVar[int] = CapabilityType.CAPSSETTYPE_FRAME_ACKNOWLEDGE
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct("max_unacknowledged_frame_count" / Int32ul)

    max_unacknowledged_frame_count: int = uint32(default=0)
    """A client's is the window (fact 47: FreeRDP acknowledges if the server said more than 0, IronRDP says 20, mstsc
    2); a server's is for information."""


@attrs.frozen
class BitmapCacheV3CodecIdCapabilitySet(CapabilitySet):
    """TS_BITMAPCACHE_V3_CODEC_ID: codec of revision 3 bitmap cache orders, a client's. 5 bytes with its header.

    Source: [MS-RDPBCGR] 2.2.1.13.1.1.1 "Capability Set", capabilitySetType.
    """

    TYPE: ClassVar[int] = CapabilityType.CAPSETTYPE_BITMAP_CACHE_V3_CODEC_ID
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct("codec_id" / Int8ul)

    codec_id: int = uint8()
    """codecID, as in TS_BITMAPCODEC."""


CODEC_GUID_NSCODEC = UUID("ca8d1bb9-000f-154f-589f-ae2d1a87e2d6")
CODEC_GUID_REMOTEFX = UUID("76772f12-bd72-4463-afb3-b73c9c6f7886")
CODEC_GUID_IMAGE_REMOTEFX = UUID("2744ccd4-9d8a-4e74-803c-0ecbeea19c54")
CODEC_GUID_IGNORE = UUID("9c4351a6-3535-42ae-910c-cdfce5760b58")
CODEC_GUID_JPEG = UUID("430c9eed-1baf-4ce6-869a-cb8b37b66237")
"""Of rdesktop and xrdp only."""


@attrs.frozen
class NsCodecCapabilitySet(LaidOut):
    """TS_NSCODEC_CAPABILITYSET: NSCodec's codec properties. 3 bytes.

    Source: [MS-RDPNSC] 2.2.1 "NSCodec Capability Set".
    """

    LAYOUT: ClassVar[Construct[Any, Any]] = Struct(
        "allow_dynamic_fidelity" / Int8ul, "allow_subsampling" / Int8ul, "color_loss_level" / Int8ul
    )

    allow_dynamic_fidelity: int = uint8(default=1)
    """1 if the encoder may change the color loss level."""
    allow_subsampling: int = uint8(default=1)
    """1 if chroma may be halved."""
    color_loss_level: int = uint8(default=3)
    """1 to 7."""


class RfxEntropy(IntEnum):
    """entropyBits of TS_RFX_ICAP."""

    CLW_ENTROPY_RLGR1 = 0x01
    CLW_ENTROPY_RLGR3 = 0x04


@attrs.frozen
class RfxIcap:
    """TS_RFX_ICAP: one way of RemoteFX encoding that the client decodes. 8 bytes.

    Source: [MS-RDPRFX] 2.2.1.1.1.1.1 "TS_RFX_ICAP".
    """

    version: int = uint16(default=0x0100)
    """CLW_VERSION_1_0."""
    tile_size: int = uint16(default=0x0040)
    """CT_TILE_64x64."""
    flags: int = uint8(default=0)
    """CODEC_MODE (2): only single images; 0: images and video."""
    col_conv_bits: int = uint8(default=1)
    """CLW_COL_CONV_ICT."""
    transform_bits: int = uint8(default=1)
    """CLW_XFORM_DWT_53_A."""
    entropy_bits: int = uint8(default=RfxEntropy.CLW_ENTROPY_RLGR3)
    """An `RfxEntropy`."""


@attrs.frozen
class RfxClientCapsContainer(LaidOut):
    """TS_RFX_CLNT_CAPS_CONTAINER: RemoteFX's codec properties of a client. 49 bytes with two ICAPs.

    Source: [MS-RDPRFX] 2.2.1.1 "TS_RFX_CLNT_CAPS_CONTAINER", with its TS_RFX_CAPS and TS_RFX_CAPSET.
    """

    LAYOUT: ClassVar[Construct[Any, Any]] = Struct(
        "length" / Int32ul,
        "capture_flags" / Int32ul,
        "caps_length" / Int32ul,
        "caps_block_type" / Const(0xCBC0, Int16ul),
        "caps_block_len" / Const(8, Int32ul),
        "num_capsets" / Const(1, Int16ul),
        "capset_block_type" / Const(0xCBC1, Int16ul),
        "capset_block_len" / Int32ul,
        "codec_id" / Const(1, Int8ul),
        "capset_type" / Const(0xCFC0, Int16ul),
        "num_icaps" / Int16ul,
        "icap_len" / Const(8, Int16ul),
        "icaps" / Array(this.num_icaps, Struct(
            "version" / Int16ul,
            "tile_size" / Int16ul,
            "flags" / Int8ul,
            "col_conv_bits" / Int8ul,
            "transform_bits" / Int8ul,
            "entropy_bits" / Int8ul,
        )),
    )  # fmt: skip

    capture_flags: int = uint32(default=0)
    """CARDP_CAPS_CAPTURE_NON_CAC (1): the client takes non-video captures."""
    icaps: tuple[RfxIcap, ...] = ()
    """What it decodes, two as a rule: RLGR1 and RLGR3."""

    @property
    def length(self) -> int:
        """Bytes of the container."""
        return 12 + self.caps_length

    @property
    def caps_length(self) -> int:
        """Bytes of the TS_RFX_CAPS in it."""
        return 8 + self.capset_block_len

    @property
    def capset_block_len(self) -> int:
        """Bytes of the TS_RFX_CAPSET in it."""
        return 13 + 8 * len(self.icaps)

    def _wire_values(self) -> dict[str, Any]:
        return {
            "length": self.length,
            "capture_flags": self.capture_flags,
            "caps_length": self.caps_length,
            "capset_block_len": self.capset_block_len,
            "num_icaps": len(self.icaps),
            "icaps": [attrs.asdict(icap) for icap in self.icaps],
        }

    @classmethod
    def _from_wire(cls, parsed: Any) -> RfxClientCapsContainer:
        names = attrs.fields_dict(RfxIcap)
        icaps = tuple(RfxIcap(**{name: icap[name] for name in names}) for icap in parsed.icaps)
        container = cls(parsed.capture_flags, icaps)
        announced = (parsed.length, parsed.caps_length, parsed.capset_block_len)
        if announced != (container.length, container.caps_length, container.capset_block_len):
            raise BadCapabilitiesError(f"{cls.spelling()}: lengths {announced} do not fit {len(icaps)} ICAPs")
        return container


@attrs.frozen
class BitmapCodec:
    """TS_BITMAPCODEC: one codec for surface bits. 19 bytes and its properties.

    Source: [MS-RDPBCGR] 2.2.7.2.10.1.1 "Bitmap Codec".
    """

    codec_guid: UUID
    """Which codec, one of CODEC_GUID_*."""
    codec_id: int = uint8()
    """The number that stands for it in surface commands; the client chooses, NSCodec's is 1."""
    codec_properties: bytes = bounded_bytes(0xFFFF, default=b"")
    """Its own settings, raw: servers write different things into them, and clients take all of them."""

    def nscodec(self) -> NsCodecCapabilitySet:
        """The properties, read as a client's NSCodec settings.

        Raises:
            BadCapabilitiesError: they are not.
        """
        return _properties(NsCodecCapabilitySet, self.codec_properties)

    def rfx_client_caps(self) -> RfxClientCapsContainer:
        """The properties, read as a client's RemoteFX settings.

        Raises:
            BadCapabilitiesError: they are not.
        """
        return _properties(RfxClientCapsContainer, self.codec_properties)


P = TypeVar("P", NsCodecCapabilitySet, RfxClientCapsContainer)


def _properties(kind: type[P], properties: bytes) -> P:
    try:
        return kind.unpack(properties)[0]
    except BadCapabilitiesError:
        raise
    except DecodeError as error:
        raise BadCapabilitiesError(str(error)) from error


@attrs.frozen
class BitmapCodecsCapabilitySet(CapabilitySet):
    """TS_BITMAPCODECS_CAPABILITYSET: codecs for surface bits. Of any length.

    Source: [MS-RDPBCGR] 2.2.7.2.10 "Bitmap Codecs Capability Set".
    """

    TYPE: ClassVar[int] = CapabilityType.CAPSETTYPE_BITMAP_CODECS

    codecs: tuple[BitmapCodec, ...] = ()
    """Up to 255 codecs, the sender's favourite first."""

    def pack_body(self) -> bytes:
        """What follows the set's header."""
        if len(self.codecs) > 0xFF:
            raise LocalProtocolError(f"{self.spelling()}: {len(self.codecs)} codecs, 255 fit")
        codecs = [
            codec.codec_guid.bytes_le
            + bytes([codec.codec_id])
            + len(codec.codec_properties).to_bytes(2, "little")
            + codec.codec_properties
            for codec in self.codecs
        ]
        return bytes([len(codecs)]) + b"".join(codecs)

    @classmethod
    def unpack_body(cls, body: Buffer) -> BitmapCodecsCapabilitySet:
        """The set out of all that follows its header."""
        reader = Reader(body, cls.spelling())
        codecs = []
        for _ in range(reader.u8()):
            guid = UUID(bytes_le=reader.take(16))
            codec_id = reader.u8()
            codecs.append(BitmapCodec(guid, codec_id, reader.take(reader.u16())))
        return cls(tuple(codecs))

    def find(self, guid: UUID) -> BitmapCodec | None:
        """The first codec with that GUID."""
        return next((codec for codec in self.codecs if codec.codec_guid == guid), None)


_KNOWN: dict[int, type[CapabilitySet]] = {
    kind.TYPE: kind
    for kind in (
        GeneralCapabilitySet,
        BitmapCapabilitySet,
        OrderCapabilitySet,
        BitmapCacheCapabilitySet,
        ControlCapabilitySet,
        BitmapCacheV3CodecIdCapabilitySet,
        WindowActivationCapabilitySet,
        PointerCapabilitySet,
        ShareCapabilitySet,
        ColorCacheCapabilitySet,
        SoundCapabilitySet,
        InputCapabilitySet,
        FontCapabilitySet,
        BrushCapabilitySet,
        GlyphCacheCapabilitySet,
        OffscreenCacheCapabilitySet,
        BitmapCacheHostSupportCapabilitySet,
        BitmapCacheRev2CapabilitySet,
        VirtualChannelCapabilitySet,
        DrawNineGridCapabilitySet,
        DrawGdiPlusCapabilitySet,
        RemoteProgramsCapabilitySet,
        WindowListCapabilitySet,
        DesktopCompositionCapabilitySet,
        MultifragmentUpdateCapabilitySet,
        LargePointerCapabilitySet,
        SurfaceCommandsCapabilitySet,
        BitmapCodecsCapabilitySet,
        FrameAcknowledgeCapabilitySet,
    )
}

# What is remembered is bounded in number and in size: a hostile client can only make it useless, not large.
_REMEMBERED_SETS = 512
_REMEMBERED_BYTES = 256


def _unpack_set(data: bytes, start: int) -> tuple[CapabilitySet, int]:
    """The set at `start`, and where it ends."""
    left = len(data) - start
    if left < _SET_HEADER.size:
        raise CapabilitySetTooSmallError(f"TS_CAPS_SET: {left} bytes left, not 4")
    kind, length = _SET_HEADER.unpack_from(data, start)
    if length < _SET_HEADER.size:  # CAP-05; 0 would also loop for ever
        raise CapabilitySetTooSmallError(f"TS_CAPS_SET: type {kind:#x} of length {length} is below its own header")
    if length > left:
        raise CapabilitySetTooLargeError(f"TS_CAPS_SET: type {kind:#x} of length {length}, {left} bytes are left")
    body = data[start + _SET_HEADER.size : start + length]
    unpack = _unpack_body if len(body) <= _REMEMBERED_BYTES else _unpack_body.__wrapped__
    return unpack(kind, body), start + length


@lru_cache(_REMEMBERED_SETS)
def _unpack_body(kind: int, body: bytes) -> CapabilitySet:
    known = _KNOWN.get(kind)
    if known is None:
        return UnknownCapabilitySet(kind, body)
    try:
        capability_set: CapabilitySet = known.unpack_body(body)
    except BadCapabilitiesError:
        raise
    except DecodeError as error:
        raise CapabilitySetTooSmallError(str(error)) from error
    return capability_set


@lru_cache(_REMEMBERED_SETS)
def _pack_set(capability_set: CapabilitySet) -> bytes:
    kind = (
        capability_set.capability_set_type if isinstance(capability_set, UnknownCapabilitySet) else capability_set.TYPE
    )
    body = capability_set.pack_body()
    if len(body) > 0xFFFF - _SET_HEADER.size:
        raise LocalProtocolError(f"{capability_set.spelling()}: {len(body)} bytes, 65531 fit")
    return _SET_HEADER.pack(kind, _SET_HEADER.size + len(body)) + body


S = TypeVar("S", bound=CapabilitySet)


def find_capability(capability_sets: Iterable[CapabilitySet], kind: type[S]) -> S | None:
    """The set of that kind, or None. CAP-05: of repeated sets the last wins."""
    found = None
    for capability_set in capability_sets:
        if isinstance(capability_set, kind):
            found = capability_set
    return found


def _pack_sets(capability_sets: tuple[CapabilitySet, ...]) -> bytes:
    """numberCapabilities, pad2Octets and the sets: what lengthCombinedCapabilities counts."""
    block = b"".join([_pack_set(capability_set) for capability_set in capability_sets])
    return _SET_HEADER.pack(len(capability_sets), 0) + block


def _unpack_sets(combined: bytes) -> tuple[CapabilitySet, ...]:
    """Of `_pack_sets`. Clients miscount: the sets end with their number or with their block, what comes first."""
    count, _ = _SET_HEADER.unpack_from(combined)
    capability_sets: list[CapabilitySet] = []
    start = _SET_HEADER.size
    while len(capability_sets) < count and start < len(combined):
        capability_set, start = _unpack_set(combined, start)
        capability_sets.append(capability_set)
    return tuple(capability_sets)


def _pack_descriptor_and_sets(descriptor: str, capability_sets: tuple[CapabilitySet, ...]) -> bytes:
    source = ansi_bytes(descriptor)
    combined = _pack_sets(capability_sets)
    if len(combined) > 0xFFFF:
        raise LocalProtocolError(f"capability sets of {len(combined)} bytes, 65535 fit")
    return _SET_HEADER.pack(len(source), len(combined)) + source + combined


def _unpack_descriptor_and_sets(reader: Reader) -> tuple[str, tuple[CapabilitySet, ...]]:
    length_source, length_combined = reader.fields(_SET_HEADER)
    source = ansi_text(reader.view(length_source))[:_DESCRIPTOR_LIMIT]
    if length_combined < _SET_HEADER.size:
        raise DecodeError(f"{reader.structure}: lengthCombinedCapabilities {length_combined} is below its own 4")
    return source, _unpack_sets(reader.take(length_combined))


@attrs.frozen
class DemandActive:
    """TS_DEMAND_ACTIVE_PDU: what the server can; opens the share.

    Source: [MS-RDPBCGR] 2.2.1.13.1.1 "Demand Active PDU Data".
    """

    PDU_TYPE: ClassVar[PduType] = PduType.PDUTYPE_DEMANDACTIVEPDU

    share_id: int = uint32()
    """Not 0, and another at each activation. fact 38: Confirm Active echoes it."""
    capability_sets: tuple[CapabilitySet, ...] = ()
    """In this order. fact 29: FreeRDP hangs up on sets that only clients may send (`CLIENT_ONLY_SETS`)."""
    source_descriptor: str = bounded_text(_DESCRIPTOR_LIMIT, encoding="latin-1", default="RDP")
    """Ignored; "RDP" by custom."""
    session_id: int = uint32(default=0)
    """Ignored by clients."""

    def pack(self) -> bytes:
        """The bytes behind the share control header."""
        return b"".join((
            self.share_id.to_bytes(4, "little"),
            _pack_descriptor_and_sets(self.source_descriptor, self.capability_sets),
            self.session_id.to_bytes(4, "little"),  # fact 30: it must be there
        ))  # fmt: skip

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[DemandActive, bytes]:
        """Take one off the front of `data`.

        Raises:
            DecodeError: cut off, lengths that do not fit, a bad set.
        """
        reader = Reader(data, "TS_DEMAND_ACTIVE_PDU")
        share_id = reader.u32()
        descriptor, capability_sets = _unpack_descriptor_and_sets(reader)
        return cls(share_id, capability_sets, descriptor, reader.u32()), reader.rest()

    def find(self, kind: type[S]) -> S | None:
        """The set of that kind, or None."""
        return find_capability(self.capability_sets, kind)


CLIENT_ONLY_SETS = (
    BitmapCacheCapabilitySet,
    BitmapCacheRev2CapabilitySet,
    BrushCapabilitySet,
    GlyphCacheCapabilitySet,
    OffscreenCacheCapabilitySet,
    SoundCapabilitySet,
    ControlCapabilitySet,
    WindowActivationCapabilitySet,
    DrawNineGridCapabilitySet,
)
"""fact 29: FreeRDP's client disconnects when Demand Active has one of these."""


@attrs.frozen
class ConfirmActive:
    """TS_CONFIRM_ACTIVE_PDU: what the client can.

    Source: [MS-RDPBCGR] 2.2.1.13.2.1 "Confirm Active PDU Data".
    """

    PDU_TYPE: ClassVar[PduType] = PduType.PDUTYPE_CONFIRMACTIVEPDU

    share_id: int = uint32()
    """Of the Demand Active that is answered; see `require_share_id`."""
    capability_sets: tuple[CapabilitySet, ...] = ()
    """In the client's order; a set may occur twice, and sets of unknown type occur."""
    source_descriptor: str = bounded_text(_DESCRIPTOR_LIMIT, encoding="latin-1", default="MSTSC")
    """Name of the client's kind."""
    originator_id: int = uint16(default=SERVER_CHANNEL_ID)
    """The server's channel; some clients get it wrong, so that every value is accepted."""

    def pack(self) -> bytes:
        """The bytes behind the share control header."""
        return b"".join((
            self.share_id.to_bytes(4, "little"),
            self.originator_id.to_bytes(2, "little"),
            _pack_descriptor_and_sets(self.source_descriptor, self.capability_sets),
        ))  # fmt: skip

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[ConfirmActive, bytes]:
        """Take one off the front of `data`.

        Raises:
            ConfirmActiveTooShortError: cut off, or lengths that reach beyond it.
            CapabilitySetTooSmallError, CapabilitySetTooLargeError, BadCapabilitiesError: a bad set.
        """
        reader = Reader(data, "TS_CONFIRM_ACTIVE_PDU")
        try:
            share_id = reader.u32()
            originator_id = reader.u16()
            descriptor, capability_sets = _unpack_descriptor_and_sets(reader)
        except (CapabilitySetTooSmallError, CapabilitySetTooLargeError, BadCapabilitiesError):
            raise
        except DecodeError as error:
            raise ConfirmActiveTooShortError(str(error)) from error
        return cls(share_id, capability_sets, descriptor, originator_id), reader.rest()

    def require_share_id(self, share_id: int) -> None:
        """Check that the PDU answers the Demand Active with that share id.

        Raises:
            WrongShareIdError: it does not.
        """
        if self.share_id != share_id:
            raise WrongShareIdError(f"TS_CONFIRM_ACTIVE_PDU: shareId {self.share_id:#x}, not {share_id:#x}")

    def find(self, kind: type[S]) -> S | None:
        """The set of that kind, or None. Of repeated sets the last."""
        return find_capability(self.capability_sets, kind)
