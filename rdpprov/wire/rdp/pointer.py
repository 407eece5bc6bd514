"""Pointer updates: where the pointer is, and what it looks like.

A shape is sent once under a cache index, and by that index afterwards. Slow path and fast path share the structures;
they differ in how the kind is said, and in that the fast path says "hidden" and "default" by the kind alone.

Masks: XOR first, then AND, rows from the bottom up (from the top down if the XOR mask has 1 bit per pixel, as real
clients read it), each row padded to 2 bytes. At 32 bits per pixel XOR holds blue, green, red, alpha, not premultiplied.

Source: [MS-RDPBCGR] 2.2.9.1.1.4 "Server Pointer Update PDU", 2.2.9.1.2.1.5 to 2.2.9.1.2.1.11.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Any, ClassVar

import attrs

from rdpprov.errors import LocalProtocolError
from rdpprov.wire.base import Buffer, DecodeError, Reader, bounded_bytes, uint16, uint32
from rdpprov.wire.rdp.fastpath import UpdateCode
from rdpprov.wire.rdp.share import PduType2


class PointerMessageType(IntEnum):
    """messageType of TS_POINTER_PDU."""

    TS_PTRMSGTYPE_SYSTEM = 0x0001
    TS_PTRMSGTYPE_POSITION = 0x0003
    TS_PTRMSGTYPE_COLOR = 0x0006
    TS_PTRMSGTYPE_CACHED = 0x0007
    TS_PTRMSGTYPE_POINTER = 0x0008
    TS_PTRMSGTYPE_LARGE_POINTER = 0x0009


class SystemPointerType(IntEnum):
    """systemPointerType of TS_SYSTEMPOINTERATTRIBUTE."""

    SYSPTR_NULL = 0x00000000
    """No pointer is shown."""
    SYSPTR_DEFAULT = 0x00007F00
    """The client's own arrow."""


def mask_lengths(width: int, height: int, xor_bpp: int) -> tuple[int, int]:
    """Bytes of the AND mask and of the XOR mask of a shape.

    IronRDP takes exactly these, FreeRDP these at least.
    """
    and_row = (width + 15) // 16 * 2
    xor_row = (width * xor_bpp + 15) // 16 * 2
    return and_row * height, xor_row * height


@attrs.frozen
class SystemPointer:
    """TS_SYSTEMPOINTERATTRIBUTE: no pointer, or the client's own. 4 bytes; an empty update on the fast path.

    Source: [MS-RDPBCGR] 2.2.9.1.1.4.3 "System Pointer Update", 2.2.9.1.2.1.5 and 2.2.9.1.2.1.6.
    """

    MESSAGE_TYPE: ClassVar[PointerMessageType] = PointerMessageType.TS_PTRMSGTYPE_SYSTEM

    system_pointer_type: int = uint32()
    """A `SystemPointerType`."""

    def pack(self) -> bytes:
        """The bytes behind the messageType."""
        return self.system_pointer_type.to_bytes(4, "little")

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[SystemPointer, bytes]:
        """Take one off the front of `data`.

        Raises:
            DecodeError: fewer than 4 bytes.
        """
        reader = Reader(data, "TS_SYSTEMPOINTERATTRIBUTE")
        return cls(reader.u32()), reader.rest()


@attrs.frozen
class PointerPosition:
    """TS_POINTERPOSATTRIBUTE: the server moved the pointer. 4 bytes.

    Source: [MS-RDPBCGR] 2.2.9.1.1.4.2 "Pointer Position Update", 2.2.9.1.2.1.6 "Fast-Path Pointer Position Update".
    """

    MESSAGE_TYPE: ClassVar[PointerMessageType] = PointerMessageType.TS_PTRMSGTYPE_POSITION
    LAYOUT: ClassVar[Struct] = Struct("<HH")

    x_pos: int = uint16()
    """Pixels."""
    y_pos: int = uint16()
    """Pixels."""

    def pack(self) -> bytes:
        """The bytes behind the messageType, or data of a fast-path update."""
        return self.LAYOUT.pack(self.x_pos, self.y_pos)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[PointerPosition, bytes]:
        """Take one off the front of `data`.

        Raises:
            DecodeError: fewer than 4 bytes.
        """
        reader = Reader(data, "TS_POINTERPOSATTRIBUTE")
        return cls(*reader.fields(cls.LAYOUT)), reader.rest()


@attrs.frozen
class CachedPointer:
    """TS_CACHEDPOINTERATTRIBUTE: a shape that the client has. 2 bytes.

    Source: [MS-RDPBCGR] 2.2.9.1.1.4.6 "Cached Pointer Update", 2.2.9.1.2.1.9 "Fast-Path Cached Pointer Update".
    """

    MESSAGE_TYPE: ClassVar[PointerMessageType] = PointerMessageType.TS_PTRMSGTYPE_CACHED

    cache_index: int = uint16()
    """Below the client's cache size: FreeRDP ends the session at an index beyond it."""

    def pack(self) -> bytes:
        """The bytes behind the messageType, or data of a fast-path update."""
        return self.cache_index.to_bytes(2, "little")

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[CachedPointer, bytes]:
        """Take one off the front of `data`.

        Raises:
            DecodeError: fewer than 2 bytes.
        """
        reader = Reader(data, "TS_CACHEDPOINTERATTRIBUTE")
        return cls(reader.u16()), reader.rest()


class _Shape:
    """What the three kinds of shape have in common."""

    __slots__ = ()

    STRUCTURE: ClassVar[str]
    HEADER: ClassVar[Struct]

    xor_bpp: int
    cache_index: int
    hot_spot_x: int
    hot_spot_y: int
    width: int
    height: int
    xor_mask_data: bytes
    and_mask_data: bytes

    def __attrs_post_init__(self) -> None:
        expected = mask_lengths(self.width, self.height, self.xor_bpp)
        if (len(self.and_mask_data), len(self.xor_mask_data)) != expected:
            raise LocalProtocolError(
                f"{self.STRUCTURE}: masks of {len(self.and_mask_data)} (AND) and {len(self.xor_mask_data)} (XOR) bytes,"
                f" {expected} belong to {self.width} by {self.height} pixels at {self.xor_bpp} bits"
            )
        if expected[1] > 0xFFFF and self.HEADER.size < 20:
            raise LocalProtocolError(f"{self.STRUCTURE}: an XOR mask of {expected[1]} bytes, 65535 fit")

    @property
    def length_and_mask(self) -> int:
        """Bytes of the AND mask."""
        return len(self.and_mask_data)

    @property
    def length_xor_mask(self) -> int:
        """Bytes of the XOR mask."""
        return len(self.xor_mask_data)

    def _packed(self, *header: int) -> bytes:
        masks = self.length_and_mask, self.length_xor_mask
        return b"".join((self.HEADER.pack(*header, *masks), self.xor_mask_data, self.and_mask_data))

    @classmethod
    def _masks(cls, reader: Reader, size: tuple[int, int, int], lengths: tuple[int, int]) -> tuple[bytes, bytes]:
        """The masks behind the header: XOR, AND. A pad byte may follow them; it is optional and dropped."""
        width, height, xor_bpp = size
        if lengths != mask_lengths(width, height, xor_bpp):
            raise DecodeError(f"{cls.STRUCTURE}: masks of {lengths} bytes for {width} by {height} at {xor_bpp} bits")
        length_and, length_xor = lengths
        masks = reader.take(length_xor), reader.take(length_and)
        reader.skip(min(1, reader.remaining))
        return masks


_XOR_BPP = (1, 4, 8, 16, 24, 32)


def _checked_bpp(instance: Any, attribute: attrs.Attribute[int], value: int) -> None:
    if value not in _XOR_BPP:
        raise LocalProtocolError(f"{instance.STRUCTURE}: xorBpp {value} is none of {_XOR_BPP}")


def _read_bpp(reader: Reader) -> int:
    bpp = reader.u16()
    if bpp not in _XOR_BPP:
        raise DecodeError(f"{reader.structure}: xorBpp {bpp} is none of {_XOR_BPP}")
    return bpp


@attrs.frozen
class ColorPointer(_Shape):
    """TS_COLORPOINTERATTRIBUTE: a shape at 24 bits per pixel, up to 32 by 32 pixels. 14 bytes and the masks.

    Source: [MS-RDPBCGR] 2.2.9.1.1.4.4 "Color Pointer Update", 2.2.9.1.2.1.7 "Fast-Path Color Pointer Update".
    """

    MESSAGE_TYPE: ClassVar[PointerMessageType] = PointerMessageType.TS_PTRMSGTYPE_COLOR
    STRUCTURE: ClassVar[str] = "TS_COLORPOINTERATTRIBUTE"
    HEADER: ClassVar[Struct] = Struct("<7H")

    cache_index: int = uint16()
    """Where the client keeps it; below its colorPointerCacheSize."""
    hot_spot_x: int = uint16()
    """Pixels from the left."""
    hot_spot_y: int = uint16()
    """Pixels from the top."""
    width: int = uint16()
    """Pixels; above 32 only with LARGE_POINTER_FLAG_96x96."""
    height: int = uint16()
    """Pixels."""
    xor_mask_data: bytes = bounded_bytes(0xFFFFFFFF)
    """Blue, green, red."""
    and_mask_data: bytes = bounded_bytes(0xFFFFFFFF)
    """One bit a pixel; 1: transparent."""

    @property
    def xor_bpp(self) -> int:  # type: ignore[override]
        """24."""
        return 24

    def pack(self) -> bytes:
        """The bytes behind the messageType, or data of a fast-path update."""
        return self._packed(self.cache_index, self.hot_spot_x, self.hot_spot_y, self.width, self.height)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[ColorPointer, bytes]:
        """Take one off the front of `data`.

        Raises:
            DecodeError: cut off, or masks that do not fit the size.
        """
        reader = Reader(data, cls.STRUCTURE)
        index, hot_x, hot_y, width, height, length_and, length_xor = reader.fields(cls.HEADER)
        xor_mask, and_mask = cls._masks(reader, (width, height, 24), (length_and, length_xor))
        return cls(index, hot_x, hot_y, width, height, xor_mask, and_mask), reader.rest()


@attrs.frozen
class NewPointer(_Shape):
    """TS_POINTERATTRIBUTE: a shape at any depth. 16 bytes and the masks.

    For clients with a pointerCacheSize in their Pointer Capability Set.

    Source: [MS-RDPBCGR] 2.2.9.1.1.4.5 "New Pointer Update", 2.2.9.1.2.1.8 "Fast-Path New Pointer Update".
    """

    MESSAGE_TYPE: ClassVar[PointerMessageType] = PointerMessageType.TS_PTRMSGTYPE_POINTER
    STRUCTURE: ClassVar[str] = "TS_POINTERATTRIBUTE"
    HEADER: ClassVar[Struct] = Struct("<8H")

    xor_bpp: int = attrs.field(validator=_checked_bpp)
    """1, 4, 8, 16, 24 or 32; 16 is not to be sent: clients differ in how they read it."""
    cache_index: int = uint16()
    """Where the client keeps it; below its pointerCacheSize."""
    hot_spot_x: int = uint16()
    """Pixels from the left."""
    hot_spot_y: int = uint16()
    """Pixels from the top."""
    width: int = uint16()
    """Pixels; above 32 only with LARGE_POINTER_FLAG_96x96."""
    height: int = uint16()
    """Pixels."""
    xor_mask_data: bytes = bounded_bytes(0xFFFFFFFF)
    """`xor_bpp` bits a pixel."""
    and_mask_data: bytes = bounded_bytes(0xFFFFFFFF)
    """One bit a pixel; 1: transparent. At 32 bits alpha decides; this one is for clients without alpha."""

    def pack(self) -> bytes:
        """The bytes behind the messageType, or data of a fast-path update."""
        return self._packed(self.xor_bpp, self.cache_index, self.hot_spot_x, self.hot_spot_y, self.width, self.height)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[NewPointer, bytes]:
        """Take one off the front of `data`.

        Raises:
            DecodeError: cut off, a depth that does not exist, or masks that do not fit the size.
        """
        reader = Reader(data, cls.STRUCTURE)
        bpp = _read_bpp(reader)
        index, hot_x, hot_y, width, height, length_and, length_xor = reader.fields(ColorPointer.HEADER)
        xor_mask, and_mask = cls._masks(reader, (width, height, bpp), (length_and, length_xor))
        return cls(bpp, index, hot_x, hot_y, width, height, xor_mask, and_mask), reader.rest()


@attrs.frozen
class LargePointer(_Shape):
    """TS_FP_LARGEPOINTERATTRIBUTE: a shape of up to 384 by 384 pixels. 20 bytes and the masks.

    For clients with LARGE_POINTER_FLAG_384x384. fact 37: and with a maxRequestSize of 608,299 at least, 38,055 for
    96 by 96 pixels.

    Source: [MS-RDPBCGR] 2.2.9.1.2.1.11 "Fast-Path Large Pointer Update".
    """

    MESSAGE_TYPE: ClassVar[PointerMessageType] = PointerMessageType.TS_PTRMSGTYPE_LARGE_POINTER
    STRUCTURE: ClassVar[str] = "TS_FP_LARGEPOINTERATTRIBUTE"
    HEADER: ClassVar[Struct] = Struct("<6HII")
    _BEHIND_BPP: ClassVar[Struct] = Struct("<5HII")

    xor_bpp: int = attrs.field(validator=_checked_bpp)
    """1, 4, 8, 16, 24 or 32."""
    cache_index: int = uint16()
    """Where the client keeps it; below its pointerCacheSize."""
    hot_spot_x: int = uint16()
    """Pixels from the left."""
    hot_spot_y: int = uint16()
    """Pixels from the top."""
    width: int = uint16()
    """Pixels, up to 384."""
    height: int = uint16()
    """Pixels, up to 384."""
    xor_mask_data: bytes = bounded_bytes(0xFFFFFFFF)
    """`xor_bpp` bits a pixel."""
    and_mask_data: bytes = bounded_bytes(0xFFFFFFFF)
    """One bit a pixel; 1: transparent."""

    def pack(self) -> bytes:
        """The bytes behind the messageType, or data of a fast-path update."""
        return self._packed(self.xor_bpp, self.cache_index, self.hot_spot_x, self.hot_spot_y, self.width, self.height)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[LargePointer, bytes]:
        """Take one off the front of `data`.

        Raises:
            DecodeError: cut off, a depth that does not exist, or masks that do not fit the size.
        """
        reader = Reader(data, cls.STRUCTURE)
        bpp = _read_bpp(reader)
        index, hot_x, hot_y, width, height, length_and, length_xor = reader.fields(cls._BEHIND_BPP)
        xor_mask, and_mask = cls._masks(reader, (width, height, bpp), (length_and, length_xor))
        return cls(bpp, index, hot_x, hot_y, width, height, xor_mask, and_mask), reader.rest()


PointerUpdate = SystemPointer | PointerPosition | ColorPointer | CachedPointer | NewPointer | LargePointer

HIDDEN = SystemPointer(SystemPointerType.SYSPTR_NULL)
DEFAULT = SystemPointer(SystemPointerType.SYSPTR_DEFAULT)

_BY_CODE: dict[int, type[PointerUpdate]] = {
    UpdateCode.FASTPATH_UPDATETYPE_PTR_POSITION: PointerPosition,
    UpdateCode.FASTPATH_UPDATETYPE_COLOR: ColorPointer,
    UpdateCode.FASTPATH_UPDATETYPE_CACHED: CachedPointer,
    UpdateCode.FASTPATH_UPDATETYPE_POINTER: NewPointer,
    UpdateCode.FASTPATH_UPDATETYPE_LARGE_POINTER: LargePointer,
}
_CODES: dict[type[PointerUpdate], int] = {kind: code for code, kind in _BY_CODE.items()}
_BY_MESSAGE_TYPE: dict[int, type[PointerUpdate]] = {
    kind.MESSAGE_TYPE: kind for kind in (SystemPointer, *_BY_CODE.values())
}


def to_fast_path(pointer: PointerUpdate) -> tuple[int, bytes]:
    """Update code and data of a pointer update, for `fastpath.pack_updates`.

    Raises:
        LocalProtocolError: a system pointer that is neither hidden nor default.
    """
    if isinstance(pointer, SystemPointer):
        if pointer == HIDDEN:
            return UpdateCode.FASTPATH_UPDATETYPE_PTR_NULL, b""
        if pointer == DEFAULT:
            return UpdateCode.FASTPATH_UPDATETYPE_PTR_DEFAULT, b""
        raise LocalProtocolError(f"system pointer {pointer.system_pointer_type:#x} has no fast-path update")
    return _CODES[type(pointer)], pointer.pack()


def from_fast_path(update_code: int, data: Buffer) -> PointerUpdate | None:
    """The pointer update out of code and data of a whole fast-path update; None if the code is not a pointer's.

    Raises:
        DecodeError: its data are not what the code says.
    """
    if update_code == UpdateCode.FASTPATH_UPDATETYPE_PTR_NULL:
        return HIDDEN
    if update_code == UpdateCode.FASTPATH_UPDATETYPE_PTR_DEFAULT:
        return DEFAULT
    kind = _BY_CODE.get(update_code)
    return None if kind is None else kind.unpack(data)[0]


@attrs.frozen
class PointerPdu:
    """TS_POINTER_PDU: a pointer update on the slow path, body of a share data PDU. 4 bytes and the update.

    Source: [MS-RDPBCGR] 2.2.9.1.1.4 "Server Pointer Update PDU".
    """

    PDU_TYPE2: ClassVar[PduType2] = PduType2.PDUTYPE2_POINTER

    pointer_attribute_data: PointerUpdate
    """The update; its class is the messageType."""

    @property
    def message_type(self) -> PointerMessageType:
        """Which structure it is."""
        return self.pointer_attribute_data.MESSAGE_TYPE

    def pack(self) -> bytes:
        """The bytes behind the share headers."""
        return self.message_type.to_bytes(4, "little") + self.pointer_attribute_data.pack()

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[PointerPdu, bytes]:
        """Take one off the front of `data`.

        Raises:
            DecodeError: cut off, or a messageType that does not exist.
        """
        reader = Reader(data, "TS_POINTER_PDU")
        message_type = reader.u16()
        reader.skip(2)
        kind = _BY_MESSAGE_TYPE.get(message_type)
        if kind is None:
            raise DecodeError(f"{reader.structure}: messageType {message_type} is not known")
        pointer, rest = kind.unpack(reader.rest())
        return cls(pointer), rest
