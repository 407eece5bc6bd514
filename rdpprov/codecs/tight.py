"""Tight, encoding 7: a rectangle as one colour, as a palette and indices, as all its pixels, or as JPEG.

Source: the RFB protocol, "Tight encoding". ``encode(picture, layout, streams) -> bytes`` and
``decode(payload, width, height, layout, streams) -> client pixels``. There is no length before it: `payload_size` tells
how long a payload is, as soon as that can be known. ``streams`` are four of zlib, `TightCompressors` at one end and
`TightDecompressors` at the other, and live as long as the connection.

==== ============== ================================================= ==================================
high nibble         what follows the control byte                     we send it
==== ============== ================================================= ==================================
1000 fill           a TPIXEL                                          one colour
1001 JPEG           length, JFIF                                      for many colours, if asked for
00ss basic          the pixels, in stream s                           stream 0; stream 3 for noise
01ss ... filtered   filter 0: the pixels                              no
..   ..             filter 1: n - 1, n TPIXELs; bits or indices       stream 1 (two colours), 2 (more)
..   ..             filter 2: differences to a guess from neighbours  no: rarely worth its time
1x10 not deflated   as basic, with x = 1 and with a filter            no: needs encoding -317
==== ============== ================================================= ==================================

The lower four bits of the control byte are the streams that begin anew, before this rectangle. Data of fewer than 12
bytes, palette not counted, stand as they are, without length and stream.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdpprov.codecs import jpeg
from rdpprov.codecs.client_pixels import PixelForm, PixelLayout, convert, tpixel
from rdpprov.codecs.errors import CodecError
from rdpprov.codecs.jpeg import JpegQuality
from rdpprov.codecs.native import extension
from rdpprov.codecs.pixels import check_picture, check_size
from rdpprov.codecs.zlib_streams import (
    Compressor,
    Decompressor,
    deflate,
    inflate,
    new_compressor,
    new_decompressor,
)
from rdpprov.errors import LocalProtocolError

__all__ = [
    "MAX_WIDTH",
    "MIN_TO_COMPRESS",
    "JpegQuality",
    "Prepared",
    "TightCompressors",
    "TightDecompressors",
    "count_colours",
    "decode",
    "encode",
    "fill",
    "payload_size",
    "prepare",
]

MAX_WIDTH = 2048
"""Pixels: decoders have no room for wider rectangles."""
MIN_TO_COMPRESS = 12
"""Bytes: fewer are not deflated, by the text; all clients count on it."""

_MAX_LENGTH = (1 << 22) - 1  # of a compact length
_STREAMS = 4
_FULL, _MONO, _INDEXED, _NOISE = 0, 1, 2, 3  # the first three as TigerVNC uses them
_FILTER, _FILL, _JPEG, _NOT_DEFLATED = 0x40, 0x80, 0x90, 0xA0
_COPY, _PALETTE, _GRADIENT = 0, 1, 2


class TightCompressors:
    """The four streams, at the end that encodes. A stream is made when it is first used: each takes 256 KiB.

    Args:
        levels: of zlib, 0 to 9, for many colours, for two, for a palette, and for noise.
    """

    def __init__(self, levels: tuple[int, int, int, int] = (1, 1, 1, 1)) -> None:
        self._levels = levels
        self._streams: list[Compressor | None] = [None] * _STREAMS
        self._resets = 0

    def set_levels(self, levels: tuple[int, int, int, int]) -> None:
        """Other levels from now on; streams that had another one begin anew, and the client is told so."""
        for stream, (old, new) in enumerate(zip(self._levels, levels, strict=True)):
            if old != new and self._streams[stream] is not None:
                self._streams[stream] = None
                self._resets |= 1 << stream
        self._levels = levels

    def take_resets(self) -> int:
        """Which streams begin anew with the next rectangle: the lower bits of its control byte, once."""
        resets, self._resets = self._resets, 0
        return resets

    def deflate(self, stream: int, data: bytes) -> bytes:
        """The piece of a stream that says `data`."""
        compressor = self._streams[stream]
        if compressor is None:
            compressor = new_compressor(self._levels[stream], searching=stream != _NOISE)
            self._streams[stream] = compressor
        return deflate(compressor, data)


class TightDecompressors:
    """The four streams, at the end that decodes."""

    def __init__(self) -> None:
        self._streams: list[Decompressor | None] = [None] * _STREAMS

    def reset(self, streams: int) -> None:
        """Begin anew those whose bits are set."""
        for stream in range(_STREAMS):
            if streams >> stream & 1:
                self._streams[stream] = None

    def inflate(self, stream: int, data: bytes, size: int) -> bytes:
        """What a piece of a stream says: exactly so many bytes.

        Raises:
            CodecError: more or fewer, or no piece of a stream.
        """
        decompressor = self._streams[stream]
        if decompressor is None:
            decompressor = self._streams[stream] = new_decompressor()
        result = inflate(decompressor, data, size)
        if len(result) != size:
            raise CodecError(f"Tight: {len(result)} bytes inflated, expected {size}")
        return result


class Prepared(NamedTuple):
    """A rectangle that only lacks its place in a stream. A tuple, not attrs: there are hundreds a frame."""

    control: int
    """The control byte, resets not yet in it."""
    head: bytes
    """What follows it uncompressed."""
    stream: int | None
    """Which one `data` goes through; None: they go as they are."""
    data: bytes

    @property
    def is_full_colour(self) -> bool:
        """Whether it is all the pixels, neither indices nor JPEG."""
        return self.stream in {_FULL, _NOISE}

    @property
    def is_lossy(self) -> bool:
        """Whether it is JPEG."""
        return self.control == _JPEG

    def finish(self, streams: TightCompressors) -> bytes:
        """The payload. It must be sent, in the order in which payloads are finished: streams go on from it.

        Raises:
            LocalProtocolError: it would be longer than 22 bits can say.
        """
        control = bytes((self.control | streams.take_resets(),))
        if self.stream is None or len(self.data) < MIN_TO_COMPRESS:
            return b"".join((control, self.head, self.data))
        data = streams.deflate(self.stream, self.data)
        return control + self.head + compact_length(len(data)) + data


def compact_length(length: int) -> bytes:
    """A length in one, two or three bytes: 7, 7 and 8 bits, the lowest first; bit 7 says that another follows.

    Raises:
        LocalProtocolError: more than 22 bits.
    """
    if not 0 <= length <= _MAX_LENGTH:
        raise LocalProtocolError(f"Tight: a length of {length}, expected at most {_MAX_LENGTH}")
    if length < 1 << 7:
        return bytes((length,))
    if length < 1 << 14:
        return bytes((length & 127 | 128, length >> 7))
    return bytes((length & 127 | 128, length >> 7 & 127 | 128, length >> 14))


def encode(
    picture: NDArray[np.uint8],
    layout: PixelLayout,
    streams: TightCompressors,
    *,
    most_colours: int = 256,
    quality: JpegQuality | None = None,
) -> bytes:
    """A rectangle in Tight: `prepare`, then `Prepared.finish`."""
    return prepare(picture, layout, most_colours=most_colours, quality=quality).finish(streams)


def prepare(
    picture: NDArray[np.uint8],
    layout: PixelLayout,
    *,
    most_colours: int = 256,
    quality: JpegQuality | None = None,
) -> Prepared:
    """All of a rectangle that needs no stream, so many can be made at once.

    Args:
        picture: (height, width, 4) uint8 BGRX, at most `MAX_WIDTH` wide; at most 131072 pixels are wise.
        layout: the client's.
        most_colours: 1 to 256, that a palette may have; 0: do not look for one.
        quality: of JPEG, for what has more colours; None: the client takes none. Formats of 8 bits have none.

    Raises:
        LocalProtocolError: not a picture, or wider.
    """
    picture = check_picture(picture)
    height, width = picture.shape[:2]
    if width > MAX_WIDTH:
        raise LocalProtocolError(f"Tight: a rectangle {width} pixels wide, expected at most {MAX_WIDTH}")
    form = tpixel(layout)
    found = indices(picture, form, most_colours) if most_colours else None
    if found is not None:
        palette, data = found
        count = len(palette) // form.size
        if count == 1:
            return Prepared(_FILL, palette, None, b"")
        if len(palette) + len(data) < form.size * width * height:
            stream = _MONO if count == 2 else _INDEXED
            return Prepared(_FILTER | stream << 4, bytes((_PALETTE, count - 1)) + palette, stream, data)
    elif quality is not None and layout.bits_per_pixel > 8:
        file = jpeg.encode(picture, quality)
        return Prepared(_JPEG, compact_length(len(file)), None, file)
    stream = _NOISE if found is None and _is_noise(picture) else _FULL
    return Prepared(stream << 4, b"", stream, form.pack(picture))


def fill(colour: int, layout: PixelLayout) -> Prepared:
    """A rectangle of one colour, by the name that `count_colours` gives it."""
    return Prepared(_FILL, colour.to_bytes(4, "little")[: tpixel(layout).size], None, b"")


def _is_noise(picture: NDArray[np.uint8]) -> bool:
    """Whether there is next to nothing to find in it for zlib: as in photographs, where hardly a pixel is like the one
    to its left or the one above. A row of four is looked at."""
    if picture.shape[0] < 2 or picture.shape[1] < 2:
        return False
    words: NDArray[np.uint32] = picture.view("<u4")[..., 0] & np.uint32(0xFFFFFF)
    rows, above = words[1::4], words[:-1:4]
    unlike = (rows[:, 1:] != rows[:, :-1]) & (rows[:, 1:] != above[:, 1:])
    return bool(np.count_nonzero(unlike) > 0.75 * unlike.size)


def indices(picture: NDArray[np.uint8], form: PixelForm, most: int) -> tuple[bytes, bytes] | None:
    """The colours, packed, in the order in which they appear, and what the palette filter makes of the pixels.

    Returns:
        None if there are more than `most` (1 to 256); the second is empty if there is only one colour.
    """
    if extension is not None:
        return extension.tight_indices(picture, form.packed_tables, form.size, most)
    return indices_python(picture, form, most)


def indices_python(picture: NDArray[np.uint8], form: PixelForm, most: int) -> tuple[bytes, bytes] | None:
    """`indices` in Python."""
    values = form.values(picture)
    palette, first, index = np.unique(values, return_index=True, return_inverse=True)
    if len(palette) > most:
        return None
    order = np.argsort(first)
    rank = np.empty(len(order), np.uint8)
    rank[order] = np.arange(len(order))
    colours = form.store(palette[order])
    if len(palette) == 1:
        return colours, b""
    found = rank[index.reshape(values.shape)]
    return colours, (np.packbits(found, axis=1) if len(palette) == 2 else found).tobytes()


def count_colours(picture: NDArray[np.uint8], layout: PixelLayout, side: int, most: int) -> NDArray[np.uint32]:
    """How many colours the cells of a picture have, by which an encoder cuts it into rectangles.

    Args:
        picture: (height, width, 4) uint8 BGRX.
        layout: the client's: colours that it cannot tell apart are one.
        side: of a cell in pixels, 1 to 64; at the right and lower edge they are smaller.
        most: 1 to 256.

    Returns:
        (rows, columns, 3): the number of colours, or 0 for more than `most`, and names of the first and the second that
        appear (0 if there is none).

    Raises:
        LocalProtocolError: not a picture.
    """
    picture = check_picture(picture)
    form = tpixel(layout)
    if extension is None:
        return count_colours_python(picture, form, side, most)
    height, width = picture.shape[:2]
    counted = extension.count_colours(picture, form.packed_tables, form.size, side, most)
    return np.frombuffer(counted, np.uint32).reshape(-(-height // side), -(-width // side), 3)


def count_colours_python(picture: NDArray[np.uint8], form: PixelForm, side: int, most: int) -> NDArray[np.uint32]:
    """`count_colours` in Python."""
    values = form.values(picture)
    height, width = values.shape
    counted = np.zeros((-(-height // side), -(-width // side), 3), np.uint32)
    for row in range(counted.shape[0]):
        for column in range(counted.shape[1]):
            cell = values[row * side : (row + 1) * side, column * side : (column + 1) * side].ravel()
            colours, first = np.unique(cell, return_index=True)
            counted[row, column, 0] = len(colours) if len(colours) <= most else 0
            named = cell[np.sort(first)[: min(2, most)]]
            counted[row, column, 1 : 1 + len(named)] = named
    return counted


class _Payload(NamedTuple):
    """Where the parts of a payload are."""

    control: int
    filter: int
    palette: bytes
    begin: int
    """Of the data."""
    end: int
    """Of the payload."""
    size: int
    """Bytes that the data has when it is inflated; -1: JPEG."""
    deflated: bool


def _parse(data: bytes | bytearray | memoryview, width: int, height: int, layout: PixelLayout) -> _Payload | None:
    """The parts of a payload that begins so; None if more bytes are needed to tell.

    Raises:
        CodecError: a compression control or a filter that is none.
    """
    at = 0

    def take(count: int) -> bytes | None:
        nonlocal at
        if len(data) - at < count:
            return None
        at += count
        return bytes(data[at - count : at])

    def length() -> int | None:
        result = 0
        for shift in (0, 7, 14):
            byte = take(1)
            if byte is None:
                return None
            if shift == 14:
                return result | byte[0] << 14
            result |= (byte[0] & 127) << shift
            if byte[0] < 128:
                break
        return result

    if (first := take(1)) is None:
        return None
    control = first[0]
    form = tpixel(layout)
    kind = control & 0xF0
    if kind == _FILL:
        return _Payload(control, _COPY, b"", at, at + form.size, form.size, False)
    if kind == _JPEG:
        if layout.bits_per_pixel == 8:
            raise CodecError("Tight: JPEG for a format of 8 bits")
        size = length()
        return None if size is None else _Payload(control, _COPY, b"", at, at + size, -1, False)
    deflated = kind < 0x80
    if not deflated and kind & ~_FILTER != _NOT_DEFLATED:
        raise CodecError(f"Tight: compression control {control:02X}")
    filter_id, palette, row = _COPY, b"", width * form.size
    if control & _FILTER:
        if (chosen := take(1)) is None:
            return None
        filter_id = chosen[0]
        if filter_id == _PALETTE:
            if (number := take(1)) is None:
                return None
            count = number[0] + 1
            if count == 1:
                raise CodecError("Tight: a palette of one colour")
            if (colours := take(count * form.size)) is None:
                return None
            palette, row = colours, (width + 7) // 8 if count == 2 else width
        elif filter_id == _GRADIENT:
            if layout.bits_per_pixel == 8:
                raise CodecError("Tight: the gradient filter for a format of 8 bits")
        elif filter_id != _COPY:
            raise CodecError(f"Tight: filter {filter_id}")
    size = row * height
    if size < MIN_TO_COMPRESS:
        return _Payload(control, filter_id, palette, at, at + size, size, False)
    coded = length()
    return None if coded is None else _Payload(control, filter_id, palette, at, at + coded, size, deflated)


def payload_size(data: bytes | bytearray | memoryview, width: int, height: int, layout: PixelLayout) -> int | None:
    """How many bytes a payload that begins so has; None: it takes more of it to know.

    Raises:
        CodecError: no such payload.
    """
    check_size(width, height)
    payload = _parse(data, width, height, layout)
    return None if payload is None else payload.end


def decode(
    payload: bytes | bytearray | memoryview, width: int, height: int, layout: PixelLayout, streams: TightDecompressors
) -> NDArray[Any]:
    """A rectangle in Tight as client pixels: (height, width) of ``layout.dtype``. JPEG's colours are converted.

    Args:
        payload: all of it, no more (`payload_size`).
        width, height: of the rectangle, in pixels.
        layout: that the rectangle was encoded with.
        streams: the connection's.

    Raises:
        CodecError: not such a payload; more or less in it than the rectangle has; a damaged JPEG, or of another size.
    """
    check_size(width, height)
    parts = _parse(payload, width, height, layout)
    if parts is None or parts.end != len(payload):
        raise CodecError(f"Tight: {len(payload)} bytes are not one payload")
    streams.reset(parts.control & 15)
    data = bytes(payload[parts.begin :])
    if parts.size < 0:
        return convert(jpeg.decode(data, width, height), layout)
    if parts.deflated:
        data = streams.inflate(parts.control >> 4 & 3, data, parts.size)
    elif len(data) != parts.size:
        raise CodecError(f"Tight: {len(data)} bytes of data, expected {parts.size}")
    form = tpixel(layout)
    if parts.control & 0xF0 == _FILL:
        return np.full((height, width), form.expand(data)[0], layout.dtype)
    if parts.filter == _PALETTE:
        palette = form.expand(parts.palette)
        found = np.frombuffer(data, np.uint8).reshape(height, -1)
        if len(palette) == 2:
            found = np.unpackbits(found, axis=1, count=width)
        if int(found.max()) >= len(palette):
            raise CodecError(f"Tight: index {int(found.max())} in a palette of {len(palette)}")
        return palette[found]
    pixels = form.expand(data).reshape(height, width)
    return _from_gradient(pixels, layout) if parts.filter == _GRADIENT else pixels


def _from_gradient(differences: NDArray[Any], layout: PixelLayout) -> NDArray[Any]:
    """Undo filter 2: each colour is the difference to left + above - left above, cut to what the colour can be."""
    height, width = differences.shape
    values = differences.astype(np.uint32)
    result = np.zeros((height, width), np.uint32)
    for maximum, shift in zip(layout.maxima, layout.shifts, strict=True):
        above = [0] * (width + 1)  # one pixel outside
        for y, row in enumerate((values >> np.uint32(shift) & np.uint32(maximum)).tolist()):
            here = [0]
            for x, difference in enumerate(row):
                guess = here[x] + above[x + 1] - above[x]
                here.append((difference + min(max(guess, 0), maximum)) & maximum)
            result[y] |= np.array(here[1:], np.uint32) << np.uint32(shift)
            above = here
    return result.astype(layout.dtype)
