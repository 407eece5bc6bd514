"""Bitmap updates, and the palette and synchronize updates that stand beside them.

Slow path and fast path share the structures: on the slow path they are the body of a share data PDU "update", on the
fast path the data of an update; only the synchronize update is empty there.

A bitmap's header is packed for every tile of every frame: `struct` by hand, the construct definitions are in the tests.

Source: [MS-RDPBCGR] 2.2.9.1.1.3 "Server Graphics Update PDU".
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import ClassVar

import attrs

from rdpprov.errors import LocalProtocolError
from rdpprov.wire.base import Buffer, DecodeError, Reader, bounded_bytes, fixed_bytes, uint16
from rdpprov.wire.rdp.share import PduType2

_U16_PAIR = Struct("<HH")


class UpdateType(IntEnum):
    """updateType of the slow-path updates; bitmap and palette updates keep it on the fast path."""

    UPDATETYPE_ORDERS = 0x0000
    UPDATETYPE_BITMAP = 0x0001
    UPDATETYPE_PALETTE = 0x0002
    UPDATETYPE_SYNCHRONIZE = 0x0003


class BitmapFlags(IntEnum):
    """Bits of flags of TS_BITMAP_DATA."""

    BITMAP_COMPRESSION = 0x0001
    NO_BITMAP_COMPRESSION_HDR = 0x0400


@attrs.frozen
class CompressedDataHeader:
    """TS_CD_HEADER: sizes of a compressed bitmap. 8 bytes.

    Source: [MS-RDPBCGR] 2.2.9.1.1.3.1.2.3 "Compressed Data Header".
    """

    LAYOUT: ClassVar[Struct] = Struct("<4H")

    cb_comp_main_body_size: int = uint16()
    """Bytes of the compressed stream."""
    cb_scan_width: int = uint16()
    """Bytes of one row of the bitmap, a multiple of 4. The specification says "width"; implementations write bytes."""
    cb_uncompressed_size: int = uint16()
    """Bytes of the bitmap when decompressed."""
    cb_comp_first_row_size: int = uint16(default=0)
    """Must be 0."""

    def pack(self) -> bytes:
        """The bytes on the wire."""
        return self.LAYOUT.pack(
            self.cb_comp_first_row_size, self.cb_comp_main_body_size, self.cb_scan_width, self.cb_uncompressed_size
        )

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[CompressedDataHeader, bytes]:
        """Take one off the front of `data`.

        Raises:
            DecodeError: fewer than 8 bytes.
        """
        reader = Reader(data, "TS_CD_HEADER")
        first_row, main_body, scan_width, uncompressed = reader.fields(cls.LAYOUT)
        return cls(main_body, scan_width, uncompressed, first_row), reader.rest()


@attrs.frozen
class BitmapData:
    """TS_BITMAP_DATA: one rectangle of pixels. 18 bytes, perhaps a TS_CD_HEADER, and the pixels.

    Source: [MS-RDPBCGR] 2.2.9.1.1.3.1.2.2 "Bitmap Data".
    """

    LAYOUT: ClassVar[Struct] = Struct("<9H")

    dest_left: int = uint16()
    """Pixels."""
    dest_top: int = uint16()
    """Pixels."""
    dest_right: int = uint16()
    """Pixels, inclusive; may be less than `width` says: the columns beyond are padding."""
    dest_bottom: int = uint16()
    """Pixels, inclusive."""
    width: int = uint16()
    """Pixels of a row; a multiple of 4 if compressed (OUT-04)."""
    height: int = uint16()
    """Rows."""
    bits_per_pixel: int = uint16()
    """8, 15, 16, 24 or 32: the session's depth."""
    bitmap_data_stream: bytes = bounded_bytes(0xFFFF)
    """Rows from the bottom up, each padded to 4 bytes; or, compressed, an interleaved RLE or (32 bits) planar stream.
    Without the TS_CD_HEADER."""
    flags: int = uint16(default=0)
    """`BitmapFlags`."""
    compr_hdr: CompressedDataHeader | None = None
    """There exactly if `flags` have BITMAP_COMPRESSION without NO_BITMAP_COMPRESSION_HDR, which a server sets for
    clients whose General Capability Set has it."""

    def __attrs_post_init__(self) -> None:
        if _has_header(self.flags) != (self.compr_hdr is not None):
            raise LocalProtocolError(f"TS_BITMAP_DATA: flags {self.flags:#06x} do not fit its TS_CD_HEADER")
        if self.bitmap_length > 0xFFFF:
            raise LocalProtocolError(f"TS_BITMAP_DATA: {self.bitmap_length} bytes, 65535 fit")

    @property
    def bitmap_length(self) -> int:
        """Bytes behind the 18 of the header."""
        return len(self.bitmap_data_stream) + (0 if self.compr_hdr is None else CompressedDataHeader.LAYOUT.size)

    def pack(self) -> bytes:
        """The bytes on the wire."""
        header = self.LAYOUT.pack(
            self.dest_left,
            self.dest_top,
            self.dest_right,
            self.dest_bottom,
            self.width,
            self.height,
            self.bits_per_pixel,
            self.flags,
            self.bitmap_length,
        )
        if self.compr_hdr is not None:
            header += self.compr_hdr.pack()
        return header + self.bitmap_data_stream

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[BitmapData, bytes]:
        """Take one off the front of `data`.

        Raises:
            DecodeError: cut off.
        """
        reader = Reader(data, "TS_BITMAP_DATA")
        return cls._read(reader), reader.rest()

    @classmethod
    def _read(cls, reader: Reader) -> BitmapData:
        left, top, right, bottom, width, height, depth, flags, length = reader.fields(cls.LAYOUT)
        stream = reader.take(length)
        header = None
        if _has_header(flags):
            header, stream = CompressedDataHeader.unpack(stream)
        return cls(left, top, right, bottom, width, height, depth, stream, flags, header)


def _has_header(flags: int) -> bool:
    both = BitmapFlags.BITMAP_COMPRESSION | BitmapFlags.NO_BITMAP_COMPRESSION_HDR
    return flags & both == BitmapFlags.BITMAP_COMPRESSION


@attrs.frozen
class BitmapUpdate:
    """TS_UPDATE_BITMAP_DATA: rectangles of pixels. 4 bytes and the rectangles.

    Source: [MS-RDPBCGR] 2.2.9.1.1.3.1.2 "Bitmap Update", 2.2.9.1.2.1.2 "Fast-Path Bitmap Update".
    """

    rectangles: tuple[BitmapData, ...] = ()
    """fact 44: mstsc of Windows 11 24H2 mishandles an update with several, so that a server puts one into each
    update; all clients parse any number."""

    @property
    def update_type(self) -> UpdateType:
        """UPDATETYPE_BITMAP."""
        return UpdateType.UPDATETYPE_BITMAP

    @property
    def number_rectangles(self) -> int:
        """How many there are."""
        return len(self.rectangles)

    def pack(self) -> bytes:
        """Data of a fast-path update, or body of a slow-path one."""
        parts = [rectangle.pack() for rectangle in self.rectangles]
        if len(parts) > 0xFFFF:
            raise LocalProtocolError(f"TS_UPDATE_BITMAP_DATA: {len(parts)} rectangles, 65535 fit")
        return _U16_PAIR.pack(UpdateType.UPDATETYPE_BITMAP, len(parts)) + b"".join(parts)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[BitmapUpdate, bytes]:
        """Take one off the front of `data`.

        Raises:
            DecodeError: cut off, or another update type.
        """
        reader = Reader(data, "TS_UPDATE_BITMAP_DATA")
        update_type, count = reader.fields(_U16_PAIR)
        if update_type != UpdateType.UPDATETYPE_BITMAP:
            raise DecodeError(f"{reader.structure}: updateType {update_type}, not 1")
        return cls(tuple(BitmapData._read(reader) for _ in range(count))), reader.rest()


PALETTE_COLORS = 256


@attrs.frozen
class PaletteUpdate:
    """TS_UPDATE_PALETTE_DATA: colors of an 8 bits per pixel session. 776 bytes.

    Source: [MS-RDPBCGR] 2.2.9.1.1.3.1.1 "Palette Update", 2.2.9.1.2.1.1 "Fast-Path Palette Update".
    """

    LAYOUT: ClassVar[Struct] = Struct("<HxxI")

    palette_entries: bytes = fixed_bytes(3 * PALETTE_COLORS)
    """256 colors: red, green and blue, a byte each (OUT-05)."""

    @property
    def update_type(self) -> UpdateType:
        """UPDATETYPE_PALETTE."""
        return UpdateType.UPDATETYPE_PALETTE

    def pack(self) -> bytes:
        """Data of a fast-path update, or body of a slow-path one."""
        return self.LAYOUT.pack(UpdateType.UPDATETYPE_PALETTE, PALETTE_COLORS) + self.palette_entries

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[PaletteUpdate, bytes]:
        """Take one off the front of `data`.

        Raises:
            DecodeError: cut off, another update type or number of colors.
        """
        reader = Reader(data, "TS_UPDATE_PALETTE_DATA")
        update_type, number_colors = reader.fields(cls.LAYOUT)
        if (update_type, number_colors) != (UpdateType.UPDATETYPE_PALETTE, PALETTE_COLORS):
            raise DecodeError(f"{reader.structure}: updateType {update_type}, numberColors {number_colors}")
        return cls(reader.take(3 * PALETTE_COLORS)), reader.rest()


@attrs.frozen
class SynchronizeUpdate:
    """TS_UPDATE_SYNC: an artifact of T.128, ignored. 4 bytes on the slow path, empty on the fast path.

    Source: [MS-RDPBCGR] 2.2.9.1.1.3.1.3 "Synchronize Update", 2.2.9.1.2.1.3 "Fast-Path Synchronize Update".
    """

    @property
    def update_type(self) -> UpdateType:
        """UPDATETYPE_SYNCHRONIZE."""
        return UpdateType.UPDATETYPE_SYNCHRONIZE

    def pack(self) -> bytes:
        """Body of a slow-path update."""
        return _U16_PAIR.pack(UpdateType.UPDATETYPE_SYNCHRONIZE, 0)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[SynchronizeUpdate, bytes]:
        """Take one off the front of `data`; its padding may be missing.

        Raises:
            DecodeError: cut off, or another update type.
        """
        reader = Reader(data, "TS_UPDATE_SYNC")
        update_type = reader.u16()
        if update_type != UpdateType.UPDATETYPE_SYNCHRONIZE:
            raise DecodeError(f"{reader.structure}: updateType {update_type}, not 3")
        reader.skip(min(2, reader.remaining))
        return cls(), reader.rest()


@attrs.frozen
class OrdersUpdate:
    """TS_UPDATE_ORDERS: drawing orders, kept raw. fact 79: a server never sends any.

    Source: [MS-RDPEGDI] 2.2.2.1 "Orders Update".
    """

    LAYOUT: ClassVar[Struct] = Struct("<HxxHxx")

    number_orders: int = uint16()
    """How many there are."""
    order_data: bytes = bounded_bytes(0xFFFF)
    """The orders."""

    def pack(self) -> bytes:
        """Body of a slow-path update."""
        return self.LAYOUT.pack(UpdateType.UPDATETYPE_ORDERS, self.number_orders) + self.order_data

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[OrdersUpdate, bytes]:
        """All of `data`: nothing but the orders themselves says where they end.

        Raises:
            DecodeError: cut off, or another update type.
        """
        reader = Reader(data, "TS_UPDATE_ORDERS")
        update_type, number_orders = reader.fields(cls.LAYOUT)
        if update_type != UpdateType.UPDATETYPE_ORDERS:
            raise DecodeError(f"{reader.structure}: updateType {update_type}, not 0")
        return cls(number_orders, reader.rest()), b""


Update = BitmapUpdate | PaletteUpdate | SynchronizeUpdate | OrdersUpdate

_UPDATE_KINDS: dict[int, type[Update]] = {
    UpdateType.UPDATETYPE_ORDERS: OrdersUpdate,
    UpdateType.UPDATETYPE_BITMAP: BitmapUpdate,
    UpdateType.UPDATETYPE_PALETTE: PaletteUpdate,
    UpdateType.UPDATETYPE_SYNCHRONIZE: SynchronizeUpdate,
}


@attrs.frozen
class UpdatePdu:
    """TS_GRAPHICS_UPDATE: one slow-path update, body of a share data PDU.

    Only for clients without FASTPATH_OUTPUT_SUPPORTED (OUT-01).

    Source: [MS-RDPBCGR] 2.2.9.1.1.3.1 "Slow-Path Graphics Update".
    """

    PDU_TYPE2: ClassVar[PduType2] = PduType2.PDUTYPE2_UPDATE

    update: Update
    """The update."""

    def pack(self) -> bytes:
        """The bytes behind the share headers."""
        return self.update.pack()

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[UpdatePdu, bytes]:
        """Take one off the front of `data`.

        Raises:
            DecodeError: cut off, or an update type that does not exist.
        """
        if len(data) < 2:
            raise DecodeError(f"TS_GRAPHICS_UPDATE: {len(data)} bytes")
        update_type = data[0] | data[1] << 8
        if update_type not in _UPDATE_KINDS:
            raise DecodeError(f"TS_GRAPHICS_UPDATE: updateType {update_type} is not known")
        update, rest = _UPDATE_KINDS[update_type].unpack(data)
        return cls(update), rest
