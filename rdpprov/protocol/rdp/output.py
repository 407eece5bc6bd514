"""Output: bitmap and pointer updates, in the form and within the limits that the client has named.

Fast-path where the client takes it, slow-path share data where not (OUT-01). Everything that differs from client to
client is in `OutputLimits`, read once out of Confirm Active (CAP-06).

Source: [MS-RDPBCGR] 2.2.9.1.1 "Server Graphics Update PDU", 2.2.9.1.2 "Server Fast-Path Update PDU", 3.3.5.9.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from struct import Struct
from typing import ClassVar, Final, Protocol

import attrs

from rdpprov.api.devices import DEFAULT_POINTER, HIDDEN_POINTER, PointerShape
from rdpprov.codecs.pointer import POINTER_96, encode_pointer
from rdpprov.wire.rdp.bitmap import BitmapFlags, CompressedDataHeader, UpdateType
from rdpprov.wire.rdp.capabilities import (
    CapabilitySet,
    CapabilityType,
    ExtraFlags,
    GeneralCapabilitySet,
    LargePointerCapabilitySet,
    LargePointerSupportFlags,
    MultifragmentUpdateCapabilitySet,
    PointerCapabilitySet,
)
from rdpprov.wire.rdp.fastpath import MAX_FRAGMENT_SIZE, UpdateCode, pack_updates
from rdpprov.wire.rdp.pointer import (
    DEFAULT,
    HIDDEN,
    CachedPointer,
    ColorPointer,
    LargePointer,
    NewPointer,
    PointerPdu,
    PointerPosition,
    PointerUpdate,
    to_fast_path,
)
from rdpprov.wire.rdp.share import PduType2, ShareDataBody

POINTER_CACHE_SIZE: Final = 25
"""Pointer shapes that a server announces, and keeps at most for a client."""

# updateType and numberRectangles, then TS_BITMAP_DATA. By hand, although `wire.rdp.bitmap` has the structure: it is
# packed for every tile of every frame, and checking the fields again would cost as much as all the rest.
_ONE_BITMAP: Final = Struct("<2H9H")
_BITMAP: Final = int(UpdateType.UPDATETYPE_BITMAP)
_BITMAP_CODE: Final = int(UpdateCode.FASTPATH_UPDATETYPE_BITMAP)
_COMPRESSED: Final = int(BitmapFlags.BITMAP_COMPRESSION)
_COMPRESSED_WITHOUT_HEADER: Final = int(BitmapFlags.BITMAP_COMPRESSION | BitmapFlags.NO_BITMAP_COMPRESSION_HDR)
_PIXELS_LIMIT: Final = MAX_FRAGMENT_SIZE - _ONE_BITMAP.size
"""Bytes of pixels in an update that goes into one PDU of either path."""


@attrs.frozen
class _UpdateBody:
    """TS_GRAPHICS_UPDATE: a slow-path update that is packed already. It has the bytes of the fast-path one."""

    PDU_TYPE2: ClassVar[PduType2] = PduType2.PDUTYPE2_UPDATE

    data: bytes

    def pack(self) -> bytes:
        """The bytes behind the share headers."""
        return self.data


class EncodedBitmap(Protocol):
    """A rectangle of pixels in a client's format: `rdpprov.encoding.bitmap.EncodedBitmap`, by shape."""

    @property
    def left(self) -> int:
        """Destination on the desktop, in pixels."""

    @property
    def top(self) -> int:
        """Likewise."""

    @property
    def right(self) -> int:
        """Exclusive."""

    @property
    def bottom(self) -> int:
        """Exclusive."""

    @property
    def width(self) -> int:
        """Of the data: the destination's and padding, a multiple of four."""

    @property
    def height(self) -> int:
        """Of the data, and of the destination."""

    @property
    def bits_per_pixel(self) -> int:
        """The session's depth."""

    @property
    def compressed(self) -> bool:
        """Whether `data` is a stream, without TS_CD_HEADER, or rows from the bottom up."""

    @property
    def data(self) -> bytes:
        """The pixels."""


@attrs.frozen
class OutputLimits:
    """What a client takes."""

    fast_path: bool = False
    """FASTPATH_OUTPUT_SUPPORTED."""
    bitmap_header: bool = True
    """Compressed bitmaps need a TS_CD_HEADER: the client did not say NO_BITMAP_COMPRESSION_HDR."""
    max_request_size: int | None = None
    """Bytes of the longest update that it puts together; None: it sent no Multifragment Update Capability Set."""
    new_pointers: bool = False
    """It knows new pointer updates, not only color pointer updates."""
    pointer_slots: int = 0
    """Cache indices that may be used, from 0 on; 0: no shapes at all, only the system's pointers."""
    pointer_size: int = 32
    """Pixels of a pointer's larger side."""

    @classmethod
    def of_client(cls, capabilities: Mapping[int, CapabilitySet]) -> OutputLimits:
        """The limits that a Confirm Active says."""
        general = capabilities.get(CapabilityType.CAPSTYPE_GENERAL)
        flags = general.extra_flags if isinstance(general, GeneralCapabilitySet) else 0
        fast_path = bool(flags & ExtraFlags.FASTPATH_OUTPUT_SUPPORTED)
        multifragment = capabilities.get(CapabilityType.CAPSETTYPE_MULTIFRAGMENTUPDATE)
        max_request_size = (
            multifragment.max_request_size if isinstance(multifragment, MultifragmentUpdateCapabilitySet) else None
        )
        new_pointers, slots = _pointer_slots(capabilities.get(CapabilityType.CAPSTYPE_POINTER))
        large = capabilities.get(CapabilityType.CAPSETTYPE_LARGE_POINTER)
        large_flags = large.large_pointer_support_flags if isinstance(large, LargePointerCapabilitySet) else 0
        return cls(
            fast_path=fast_path,
            bitmap_header=not flags & ExtraFlags.NO_BITMAP_COMPRESSION_HDR,
            max_request_size=max_request_size,
            new_pointers=new_pointers,
            pointer_slots=slots,
            pointer_size=_pointer_size(large_flags, max_request_size) if fast_path and new_pointers else 32,
        )


def _pointer_slots(capability: CapabilitySet | None) -> tuple[bool, int]:
    if not isinstance(capability, PointerCapabilitySet):
        return False, 0
    new_pointers = bool(capability.pointer_cache_size)
    size = min(capability.color_pointer_cache_size, capability.pointer_cache_size or 0xFFFF, POINTER_CACHE_SIZE)
    # fact 85: the last index is left alone, unless it is the only one
    return new_pointers, size - 1 if size > 1 else size


def _pointer_size(large_flags: int, max_request_size: int | None) -> int:
    # fact 37: both sizes are worth nothing without room for their fragments
    room = max_request_size or 0
    if large_flags & LargePointerSupportFlags.LARGE_POINTER_FLAG_384x384 and room >= 608_299:
        return 384
    if large_flags & LargePointerSupportFlags.LARGE_POINTER_FLAG_96x96 and room >= 38_055:
        return 96
    return 32


class OutputWriter:
    """One client's output, from its Confirm Active on.

    Args:
        limits: what it takes.
        send_unit: queues a fast-path PDU.
        send_share_data: queues a share data PDU.
    """

    __slots__ = ("_pointers", "_send_share_data", "_send_unit", "limits")

    def __init__(
        self,
        limits: OutputLimits,
        send_unit: Callable[[bytes], None],
        send_share_data: Callable[[ShareDataBody], None],
    ) -> None:
        self.limits = limits
        self._send_unit = send_unit
        self._send_share_data = send_share_data
        self._pointers: OrderedDict[bytes, int] = OrderedDict()  # digest of a shape: cache index, latest used last

    def send_bitmap_updates(self, bitmaps: Iterable[EncodedBitmap]) -> None:
        """Queue bitmaps in order.

        Bitmaps with an attribute ``pdus``, as `rdpprov.encoding.bitmap.EncodedBatch`, are packed once for all clients
        that take the usual form: fast-path without TS_CD_HEADER. Others' limits do not matter to them, as each fits
        into a PDU.

        Raises:
            LocalProtocolError: a compressed one is longer than the client can take. (Others are cut.)
        """
        limits = self.limits
        if not limits.fast_path:
            for update in _bitmap_updates(bitmaps, limits.bitmap_header):
                self._send_share_data(_UpdateBody(update))
            return
        pdus: Sequence[bytes]
        if limits.bitmap_header or not hasattr(bitmaps, "pdus"):
            pdus = _pack_bitmaps(bitmaps, limits.bitmap_header, limits.max_request_size)
        else:
            if bitmaps.pdus is None:
                bitmaps.pdus = _pack_bitmaps(bitmaps, bitmap_header=False, max_request_size=None)
            pdus = bitmaps.pdus
        for pdu in pdus:
            self._send_unit(pdu)

    def send_pointer_shape(self, shape: PointerShape) -> None:
        """Queue the pointer's shape: one of the system's, one that the client has, or a new one."""
        if shape is DEFAULT_POINTER:
            self._send_pointer(DEFAULT)
        elif shape is HIDDEN_POINTER or shape.width < 1 or shape.height < 1:
            self._send_pointer(HIDDEN)
        elif not self.limits.pointer_slots:
            self._send_pointer(DEFAULT)
        else:
            digest = _digest(shape)
            index = self._pointers.get(digest)
            if index is None:
                index = self._free_slot()
                self._pointers[digest] = index
                self._send_pointer(pointer_update(shape, index, self.limits))
            else:
                self._pointers.move_to_end(digest)
                self._send_pointer(CachedPointer(index))

    def _free_slot(self) -> int:
        if len(self._pointers) < self.limits.pointer_slots:
            return len(self._pointers)
        return self._pointers.popitem(last=False)[1]

    def send_pointer_position(self, x: int, y: int) -> None:
        """Queue a move of the client's pointer; coordinates are clamped to what the PDU can say."""
        self._send_pointer(PointerPosition(min(max(x, 0), 0xFFFF), min(max(y, 0), 0xFFFF)))

    def _send_pointer(self, pointer: PointerUpdate) -> None:
        # fact 84: never compressed
        if self.limits.fast_path:
            for pdu in pack_updates([to_fast_path(pointer)], max_request_size=self.limits.max_request_size):
                self._send_unit(pdu)
        else:
            self._send_share_data(PointerPdu(pointer))


def _pack_bitmaps(bitmaps: Iterable[EncodedBitmap], bitmap_header: bool, max_request_size: int | None) -> list[bytes]:
    updates = [(_BITMAP_CODE, update) for update in _bitmap_updates(bitmaps, bitmap_header)]
    return pack_updates(updates, max_request_size=max_request_size)


def _bitmap_updates(bitmaps: Iterable[EncodedBitmap], bitmap_header: bool) -> Iterator[bytes]:
    """fact 44: one rectangle in each update; mstsc of Windows 11 24H2 mishandles more."""
    for bitmap in bitmaps:
        data = bitmap.data
        if not bitmap.compressed and len(data) > _PIXELS_LIMIT:
            yield from _row_wise(bitmap)
        elif not bitmap.compressed:
            yield _pack_bitmap(bitmap, 0, data)
        elif bitmap_header:
            yield _pack_bitmap(bitmap, _COMPRESSED, _compressed_header(bitmap) + data)
        else:
            yield _pack_bitmap(bitmap, _COMPRESSED_WITHOUT_HEADER, data)


def _pack_bitmap(bitmap: EncodedBitmap, flags: int, data: bytes) -> bytes:
    return (
        _ONE_BITMAP.pack(
            _BITMAP,
            1,
            bitmap.left,
            bitmap.top,
            bitmap.right - 1,
            bitmap.bottom - 1,
            bitmap.width,
            bitmap.height,
            bitmap.bits_per_pixel,
            flags,
            len(data),
        )
        + data
    )


def _compressed_header(bitmap: EncodedBitmap) -> bytes:
    row = bitmap.width * ((bitmap.bits_per_pixel + 7) // 8)  # bytes; a multiple of four, as the width is
    return CompressedDataHeader(
        cb_comp_main_body_size=len(bitmap.data),
        cb_scan_width=row,
        cb_uncompressed_size=min(row * bitmap.height, 0xFFFF),
    ).pack()


def _row_wise(bitmap: EncodedBitmap) -> Iterator[bytes]:
    """Uncompressed pixels that are too many for a PDU: fewer rows each, which is cheaper than fragments and needs no
    client that puts them together. The lowest row comes first."""
    row = len(bitmap.data) // bitmap.height
    rows = max(_PIXELS_LIMIT // row, 1)
    for start in range(0, bitmap.height, rows):
        count = min(rows, bitmap.height - start)
        data = bitmap.data[start * row : (start + count) * row]
        bottom = bitmap.bottom - start
        yield (
            _ONE_BITMAP.pack(
                _BITMAP,
                1,
                bitmap.left,
                bottom - count,
                bitmap.right - 1,
                bottom - 1,
                bitmap.width,
                count,
                bitmap.bits_per_pixel,
                0,
                len(data),
            )
            + data
        )


def _digest(shape: PointerShape) -> bytes:
    numbers = f"{shape.width},{shape.height},{shape.hot_x},{shape.hot_y};".encode()
    return blake2b(numbers + shape.pixels.tobytes(), digest_size=16).digest()


def pointer_update(shape: PointerShape, index: int, limits: OutputLimits) -> ColorPointer | NewPointer | LargePointer:
    """A shape as the client can take it; one that is too large is cut around its tip.

    Args:
        shape: of at least one pixel.
        index: where the client keeps it.
        limits: what the client takes.
    """
    depth = 32 if limits.new_pointers else 24
    encoded = encode_pointer(shape.pixels, shape.hot_x, shape.hot_y, bits_per_pixel=depth, max_side=limits.pointer_size)
    place = (index, encoded.hot_x, encoded.hot_y, encoded.width, encoded.height)
    if not limits.new_pointers:
        return ColorPointer(*place, encoded.xor_mask, encoded.and_mask)
    kind = NewPointer if max(encoded.width, encoded.height) <= POINTER_96 else LargePointer
    return kind(depth, *place, encoded.xor_mask, encoded.and_mask)
