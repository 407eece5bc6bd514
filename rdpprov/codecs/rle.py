"""Interleaved RLE: bitmaps of 8, 15, 16 and 24 bits a pixel.

Source: [MS-RDPBCGR] 2.2.9.1.1.3.1.2.4 "RLE Compressed Bitmap Stream (RLE_BITMAP_STREAM)" and 3.1.9 "Interleaved
RLE-Based Bitmap Compression". The TS_CD_HEADER that may stand before a stream belongs to the wire layer.

One stream of orders over all pixels, row after row in the order of the stream (bitmap updates: bottom row first). Runs
and images are relative to the pixel *above*, which is the one a row earlier in the stream, black in the first row.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdpprov.codecs.errors import CodecError
from rdpprov.codecs.native import extension
from rdpprov.codecs.pixels import bytes_per_pixel, check_picture, check_size, unpack, values
from rdpprov.errors import LocalProtocolError

__all__ = ["MAX_PIXELS", "decode", "decode_rows", "encode"]

MAX_PIXELS = 65535
"""Of a picture to be encoded. More cannot be sent anyway: cbUncompressedSize of TS_CD_HEADER has 16 bits."""


def encode(picture: NDArray[np.uint8], bits_per_pixel: int, limit: int | None = None) -> bytes | None:
    """Encode a picture, rows in the order of the stream.

    The width is coded as it is; a bitmap update needs a multiple of four (`rdpprov.codecs.tiles` sees to that).

    Args:
        picture: (height, width, 4) uint8 BGRX, at most `MAX_PIXELS` pixels.
        bits_per_pixel: 15, 16 or 24.
        limit: bytes. By default what the pixels take uncompressed.

    Returns:
        the stream, or None if it is longer than the limit: send the pixels as they are.

    Raises:
        LocalProtocolError: not such a picture or depth.
    """
    picture = check_picture(picture)
    if bits_per_pixel not in {15, 16, 24}:
        raise LocalProtocolError(f"interleaved RLE of {bits_per_pixel} bits per pixel, expected 15, 16 or 24")
    count = picture.shape[0] * picture.shape[1]
    if count > MAX_PIXELS:
        raise LocalProtocolError(f"interleaved RLE of {count} pixels, expected at most {MAX_PIXELS}")
    if limit is None:
        limit = count * bytes_per_pixel(bits_per_pixel)
    if extension is not None:
        return extension.encode(picture, bits_per_pixel, 0, limit)
    return encode_values(values(picture, bits_per_pixel), bits_per_pixel, limit)


def decode(data: bytes | bytearray | memoryview, width: int, height: int, bits_per_pixel: int) -> NDArray[np.uint8]:
    """Decode a stream of 15, 16 or 24 bits a pixel to a picture, rows in the order of the stream.

    Raises:
        CodecError: see `decode_rows`.
    """
    return unpack(decode_rows(data, width, height, bits_per_pixel), bits_per_pixel)


def decode_rows(
    data: bytes | bytearray | memoryview, width: int, height: int, bits_per_pixel: int
) -> NDArray[np.uint8]:
    """Decode a stream to its pixels: shape (height, width * bytes_per_pixel), uint8.

    Takes at most width * height pixels of memory and time, whatever the stream says. As in FreeRDP, an order that
    begins in the first row is relative to black throughout. 15-bit white is 7FFF.

    Args:
        data: the stream without TS_CD_HEADER.
        width, height: pixels, from the bitmap's header.
        bits_per_pixel: 8 (palette indices), 15, 16 or 24.

    Raises:
        CodecError: a size of zero or above 8192, an undefined order, operands that are missing, or more or fewer
            pixels than the picture has.
        LocalProtocolError: another depth.
    """
    check_size(width, height)
    if bits_per_pixel not in {8, 15, 16, 24}:
        raise LocalProtocolError(f"interleaved RLE of {bits_per_pixel} bits per pixel, expected 8, 15, 16 or 24")
    if extension is None:
        return decode_python(data, width, height, bits_per_pixel)
    try:
        rows = extension.rle_decode(data, width, height, bits_per_pixel)
    except ValueError as error:
        raise CodecError(f"interleaved RLE: {error}") from None
    return np.frombuffer(rows, np.uint8).reshape(height, -1)


class _Order(NamedTuple):
    """How the length of an order is written: in the code byte up to in_code, in a second one up to in_code + 256, else
    in two bytes after the mega code."""

    code: int
    in_code: int
    mega: int

    def pack(self, length: int) -> bytes:
        if length <= self.in_code:
            return bytes((self.code | length,))
        if length <= self.in_code + 256:
            return bytes((self.code, length - self.in_code - 1))
        return bytes((self.mega, length & 0xFF, length >> 8))


_BACKGROUND_RUN = _Order(0x00, 31, 0xF0)
_FOREGROUND_RUN = _Order(0x20, 31, 0xF1)
_SET_FOREGROUND_RUN = _Order(0xC0, 15, 0xF6)
_COLOUR_RUN = _Order(0x60, 31, 0xF3)
_COLOUR_IMAGE = _Order(0x80, 31, 0xF4)
_MAX_IMAGE = 248  # pixels of a foreground/background image: what a code byte can say


def encode_values(pixels: NDArray[np.uint32], bits_per_pixel: int, limit: int) -> bytes | None:
    """`encode` in Python: pixel values, shape (height, width), to a stream, or None if it is longer than the limit.

    The searches for runs are numpy's, over the whole picture; Python's part is one turn for each order. ``_native.c``
    has the same decisions in the same order.
    """
    height, width = pixels.shape
    count = height * width
    size = bytes_per_pixel(bits_per_pixel)
    flat = np.ascontiguousarray(pixels).reshape(-1)
    # "delta" is what to XOR the pixel above with. Duty: background, foreground and image orders end with the first
    # row, since FreeRDP judges "first row" once an order and rdesktop once a row; so they break at `width`.
    delta = flat.copy()
    delta[width:] ^= flat[:-width]
    colour_runs = _runs_from(flat[1:] != flat[:-1])
    breaks = delta[1:] != delta[:-1]
    if height > 1:
        breaks[width - 1] = True
    delta_runs = _runs_from(breaks)
    images = _image_starts(delta, width)
    # Where an order may begin while pixels are being collected for a colour image; between these they go by unseen.
    worthwhile = np.flatnonzero((delta_runs >= 2) | (colour_runs >= 3) | images)
    worthwhile_after = np.append(worthwhile, count)[np.searchsorted(worthwhile, np.arange(count))].tolist()
    raw = _little_endian(flat, size)
    pixel_at, delta_at = flat.tolist(), delta.tolist()
    colour_at, run_at, image_at = colour_runs.tolist(), delta_runs.tolist(), images.tolist()

    out = bytearray()
    foreground = (1 << bits_per_pixel) - 1
    start = position = 0  # raw pixels from start to position are still to be written

    def flush() -> None:
        if position > start:
            out.extend(_COLOUR_IMAGE.pack(position - start))
            out.extend(raw[start * size : position * size])

    while position < count:
        if position > start:
            position = worthwhile_after[position]
            if position == count:
                break
        change, colour, run = delta_at[position], colour_at[position], run_at[position]
        best = max(colour, run)
        if best < 8 and image_at[position]:
            # A bit a pixel beats short runs, but not a run that says the same in a byte or two.
            end = min(width if position < width else count, position + _MAX_IMAGE)
            window = delta[position:end]
            other = int(window[window != 0][0])
            strangers = np.flatnonzero((window != 0) & (window != other))
            length = (int(strangers[0]) if len(strangers) else end - position) & ~7
            if length >= 16 or best < 4:
                flush()
                if other == foreground:
                    out.append(0x40 | length // 8)
                else:
                    foreground = other
                    out.extend((0xD0 | length // 8,) if length // 8 <= 15 else (0xD0, length - 1))
                    out.extend(other.to_bytes(size, "little"))
                out.extend(np.packbits(window[:length] != 0, bitorder="little").tobytes())
                start = position = position + length
                continue
        order, operand, length = None, b"", run
        # A colour run costs its colour; where a set-foreground run would cost as much, the foreground stays as it is.
        if colour >= 3 and (colour > run or (colour == run and change not in (0, foreground))):
            order, operand, length = _COLOUR_RUN, pixel_at[position].to_bytes(size, "little"), colour
        elif change in (0, foreground):
            # One pixel of a colour image costs as much as ending it. Runs are as long as they can be, so two
            # background runs never meet, which would mean a foreground pixel between them, but at the end of the
            # first row; there every decoder forgets the one before.
            if run >= 2 or position == start:
                order = _FOREGROUND_RUN if change else _BACKGROUND_RUN
        elif run >= 3:
            order, operand = _SET_FOREGROUND_RUN, change.to_bytes(size, "little")
        if order is None:
            position += 1
            continue
        flush()
        if order is _SET_FOREGROUND_RUN:
            foreground = change
        out.extend(order.pack(length))
        out.extend(operand)
        start = position = position + length
    flush()
    return bytes(out) if len(out) <= limit else None


def _runs_from(breaks: NDArray[np.bool_]) -> NDArray[np.intp]:
    """How long the run is that goes on at each of n elements, from n-1 answers to "does the next one differ?"."""
    count = len(breaks) + 1
    ends = np.append(np.flatnonzero(breaks) + 1, count)
    lengths = np.diff(ends, prepend=0)
    return np.repeat(ends, lengths) - np.arange(count)


def _image_starts(delta: NDArray[np.uint32], width: int) -> NDArray[np.bool_]:
    """Where eight pixels follow, all in the first row or all behind it, that need zero and one other delta only."""
    starts = np.zeros(len(delta), np.bool_)
    for first, last in ((0, min(width, len(delta))), (width, len(delta))):
        if last - first < 8:
            continue
        part = delta[first:last]
        # Largest and smallest of the non-zero deltas of eight, by doubling the window three times.
        largest, smallest = part, np.where(part == 0, np.uint32(0xFFFFFFFF), part)
        for step in (1, 2, 4):
            largest = np.maximum(largest[:-step], largest[step:])
            smallest = np.minimum(smallest[:-step], smallest[step:])
        starts[first : last - 7] = smallest == largest
    return starts


def _little_endian(flat: NDArray[np.uint32], size: int) -> bytes:
    whole = flat.astype("<u4").view(np.uint8).reshape(-1, 4)
    return whole[:, :size].tobytes()


_MEGA_IDS = {0xF0: 0, 0xF1: 1, 0xF2: 2, 0xF3: 3, 0xF4: 4, 0xF6: 12, 0xF7: 13, 0xF8: 14}


def decode_python(
    data: bytes | bytearray | memoryview, width: int, height: int, bits_per_pixel: int
) -> NDArray[np.uint8]:
    """`decode_rows` in Python: one turn for each order."""
    size = bytes_per_pixel(bits_per_pixel)
    data = bytes(data)
    total = width * height
    pixels = np.zeros(total, np.uint32)
    white = (1 << bits_per_pixel) - 1
    foreground = white
    first, insert = True, False
    at = offset = 0

    def take(count: int, what: str) -> bytes:
        nonlocal offset
        if len(data) - offset < count:
            raise CodecError(f"interleaved RLE: {what} missing at offset {offset} of {len(data)}")
        offset += count
        return data[offset - count : offset]

    def colour() -> int:
        return int.from_bytes(take(size, "the colour of an order is"), "little")

    def put_above(length: int, change: "int | NDArray[np.uint32]") -> None:
        """Pixels relative to those above; where they are longer than a row, to pixels that they bring themselves."""
        nonlocal at
        if first:
            pixels[at : at + length] = change
        else:
            for begin in range(0, length, width):
                piece = slice(at + begin, at + min(begin + width, length))
                here = change if isinstance(change, int) else change[begin : begin + width]
                pixels[piece] = pixels[piece.start - width : piece.stop - width] ^ here
        at += length

    while offset < len(data):
        if first and at >= width:
            first, insert = False, False
        code = take(1, "an order is")[0]
        length = 1
        if code < 0xF0:
            kind, length, longer = (code >> 5, code & 31, 32) if code & 0xC0 != 0xC0 else (code >> 4, code & 15, 16)
            image = kind in {2, 13}
            if kind == 5:
                raise CodecError(f"interleaved RLE: undefined order {code:02X} at offset {offset - 1}")
            if length == 0:
                length = take(1, "the length of an order is")[0] + (1 if image else longer)
            elif image:
                length *= 8
        elif code in _MEGA_IDS:
            kind = _MEGA_IDS[code]
            length = int.from_bytes(take(2, "the length of an order is"), "little")
        elif code in {0xF9, 0xFA}:
            kind, length = code, 8
        elif code in {0xFD, 0xFE}:
            kind = code
        else:
            raise CodecError(f"interleaved RLE: undefined order {code:02X} at offset {offset - 1}")
        if (2 * length if kind == 14 else length) > total - at:
            raise CodecError(f"interleaved RLE: an order at offset {offset} goes past the end of the picture")
        if kind == 0:
            if insert and length:
                put_above(1, foreground)
                length -= 1
            put_above(length, 0)
            insert = True
            continue
        insert = False
        if kind in {12, 13}:
            foreground = colour()
        if kind in {1, 12}:
            put_above(length, foreground)
        elif kind in {2, 13, 0xF9, 0xFA}:
            masks = take((length + 7) // 8, "masks are") if kind in {2, 13} else b"\x03" if kind == 0xF9 else b"\x05"
            bits = np.unpackbits(np.frombuffer(masks, np.uint8), count=length, bitorder="little")
            put_above(length, bits * np.uint32(foreground))
        elif kind == 4:
            image_bytes = np.frombuffer(take(length * size, "pixels are"), np.uint8).reshape(length, size)
            whole = np.zeros((length, 4), np.uint8)
            whole[:, :size] = image_bytes
            pixels[at : at + length] = whole.view("<u4")[:, 0]
            at += length
        elif kind == 14:
            pixels[at : at + 2 * length : 2] = colour()
            pixels[at + 1 : at + 2 * length : 2] = colour()
            at += 2 * length
        else:
            pixels[at : at + length] = colour() if kind == 3 else white if kind == 0xFD else 0
            at += length
    if at != total:
        raise CodecError(f"interleaved RLE: {at} pixels of {total}")
    return np.frombuffer(_little_endian(pixels, size), np.uint8).reshape(height, -1)
