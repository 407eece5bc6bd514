"""The zlib streams of RFB: they live as long as the connection, and each rectangle has a piece of one.

Source: the RFB protocol, "ZlibEncoding" (6), and what ZRLE and Tight say of their streams. A piece ends with a sync
flush, so that all of it can be inflated when it has come. Which streams there are: encoding 6 has one, ZRLE has one of
its own, Tight has four of its own.

Deflating is ISA-L's, through isal if it is installed (extra ``rfb``), where speed counts: at levels up to 3. It takes a
quarter of zlib's time for windows and a ninth for photographs, and its streams are up to a seventh longer. Inflating,
and all that shall be small, is zlib's.

The payload of encoding 6 is here too: Raw pixels, deflated. ``encode(picture, layout, compressor) -> bytes`` and
``decode(payload, width, height, layout, decompressor) -> client pixels``.
"""

import importlib
import struct
import zlib
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from rdpprov.codecs.client_pixels import PixelLayout, full_pixel
from rdpprov.codecs.errors import CodecError
from rdpprov.codecs.pixels import check_size

__all__ = [
    "Compressor",
    "Decompressor",
    "decode",
    "deflate",
    "encode",
    "inflate",
    "measured",
    "new_compressor",
    "new_decompressor",
    "new_zlib_compressor",
    "payload_size",
    "with_length",
]

_LENGTH = struct.Struct(">I")
_FAST = 3  # the highest level at which speed counts
_FAST_MOST = 2  # ISA-L's own levels go to 3, which takes three times as long as 2 for next to nothing


class Compressor(Protocol):
    """What `zlib.compressobj` returns."""

    def compress(self, data: bytes, /) -> bytes:
        """Take data, give what is ready."""
        ...

    def flush(self, mode: int, /) -> bytes:
        """Give the rest."""
        ...


class Decompressor(Protocol):
    """What `zlib.decompressobj` returns."""

    @property
    def unconsumed_tail(self) -> bytes:
        """What would have exceeded the limit."""
        ...

    @property
    def eof(self) -> bool:
        """Whether the stream has ended."""
        ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Take data, give so much of what is in it."""
        ...


class _CompressObject(Protocol):
    def __call__(self, level: int, method: int, wbits: int, /) -> Compressor: ...


def _load() -> _CompressObject | None:
    try:
        return cast(_CompressObject, importlib.import_module("isal.isal_zlib").compressobj)
    except ImportError:
        return None


_fast_compressor = _load()


def new_compressor(level: int = 1, *, searching: bool = True) -> Compressor:
    """A stream that begins; its level is for life, since Python cannot change that of a live one.

    Args:
        level: of zlib, 0 to 9; to ISA-L all up to 3 are much the same.
        searching: for repetitions. Where there are none, as in photographs, zlib's stream takes a third of the time
            without, and is as long. ISA-L always searches, and is faster still.
    """
    if _fast_compressor is not None and 0 < level <= _FAST:
        return _fast_compressor(min(level, _FAST_MOST), zlib.DEFLATED, zlib.MAX_WBITS)
    return new_zlib_compressor(level, searching=searching)


def new_zlib_compressor(level: int, *, searching: bool) -> Compressor:
    """`new_compressor` without isal."""
    strategy = zlib.Z_DEFAULT_STRATEGY if searching else zlib.Z_HUFFMAN_ONLY
    return zlib.compressobj(level, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, strategy)


def new_decompressor() -> Decompressor:
    """The other end of a stream that begins."""
    return zlib.decompressobj()


def deflate(compressor: Compressor, data: bytes) -> bytes:
    """The piece of the stream that says `data`. It must be sent: what comes after it builds upon it."""
    return compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)


def inflate(decompressor: Decompressor, data: bytes, limit: int) -> bytes:
    """What a piece of the stream says. No more than `limit` + 1 bytes are ever made, whatever the piece promises.

    Raises:
        CodecError: no deflated data, the end of the stream, or more than `limit` bytes. The stream is of no use then.
    """
    try:
        result = decompressor.decompress(data, limit + 1)
    except zlib.error as error:
        raise CodecError(f"zlib: {error}") from None
    if len(result) > limit or decompressor.unconsumed_tail:
        raise CodecError(f"zlib: a piece of {len(data)} bytes inflates to more than {limit}")
    if decompressor.eof:
        raise CodecError("zlib: the stream has ended, but it lives as long as the connection")
    return result


def with_length(data: bytes) -> bytes:
    """Data after its length, 32 bits: the payload of encoding 6 and of ZRLE."""
    return _LENGTH.pack(len(data)) + data


def measured(payload: bytes | bytearray | memoryview) -> bytes:
    """What is after the length.

    Raises:
        CodecError: another length.
    """
    if payload_size(payload) != len(payload):
        raise CodecError(f"zlib: {len(payload)} bytes are not what the length of the payload says")
    return bytes(payload[4:])


def payload_size(data: bytes | bytearray | memoryview) -> int | None:
    """How many bytes a payload that begins so has, its length included; None: it takes more bytes to know."""
    return None if len(data) < 4 else 4 + int(_LENGTH.unpack_from(data)[0])


def encode(picture: NDArray[np.uint8], layout: PixelLayout, compressor: Compressor) -> bytes:
    """A rectangle in encoding 6.

    Raises:
        LocalProtocolError: not a picture.
    """
    return with_length(deflate(compressor, full_pixel(layout).pack(picture)))


def decode(
    payload: bytes | bytearray | memoryview, width: int, height: int, layout: PixelLayout, decompressor: Decompressor
) -> NDArray[Any]:
    """A rectangle in encoding 6 as client pixels, (height, width).

    Raises:
        CodecError: not such a payload.
    """
    check_size(width, height)
    size = width * height * layout.bytes_per_pixel
    data = inflate(decompressor, measured(payload), size)
    if len(data) != size:
        raise CodecError(f"zlib: {len(data)} bytes of pixels, expected {size}")
    return np.frombuffer(data, layout.dtype).reshape(height, width)
