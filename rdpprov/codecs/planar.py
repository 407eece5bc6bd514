"""RDP 6.0 planar: bitmaps of 32 bits a pixel.

Source: [MS-RDPEGDI] 2.2.2.5.1 "RDP 6.0 Bitmap Compressed Stream (RDP6_BITMAP_STREAM)" and 3.1.9 "RDP 6.0 Bitmap
Compression". A format header, then one plane after the other: alpha (if any), red, green, blue. There are no lengths;
an RLE-coded plane ends when its last row is full.

We send RGB planes only: clients disagree about the chroma forms, and FreeRDP does not announce them (interoperability
fact 51). Decoding knows all forms.
"""

import numpy as np
from numpy.typing import NDArray

from rdpprov.codecs.errors import CodecError
from rdpprov.codecs.native import extension
from rdpprov.codecs.pixels import check_picture, check_size
from rdpprov.errors import LocalProtocolError

__all__ = ["NO_ALPHA", "RLE", "decode", "encode"]

RLE = 0x10
"""FormatHeader: the planes are run-length coded."""
NO_ALPHA = 0x20
"""FormatHeader: there is no alpha plane. Clients allow it with DRAW_ALLOW_SKIP_ALPHA ([MS-RDPBCGR] 2.2.7.1.2);
rdesktop 1.9 decodes nothing but `RLE` with an alpha plane, so that is our default for bitmap updates."""

_COLOUR_LOSS = 0x07
_CHROMA_SUBSAMPLING = 0x08


def encode(picture: NDArray[np.uint8], format_header: int = RLE, limit: int | None = None) -> bytes | None:
    """Encode a picture, rows in the order of the stream. Alpha, where it is sent, is FF: the X byte means nothing.

    Args:
        picture: (height, width, 4) uint8 BGRX.
        format_header: `RLE` and `NO_ALPHA`, each or both or none.
        limit: bytes. By default what the pixels take uncompressed, 4 * width * height.

    Returns:
        the stream, or None if it is longer than the limit: send the pixels as they are.

    Raises:
        LocalProtocolError: not such a picture or header.
    """
    picture = check_picture(picture)
    if format_header & ~(RLE | NO_ALPHA):
        raise LocalProtocolError(f"planar format header {format_header:#x}, expected RLE and NO_ALPHA at most")
    if limit is None:
        limit = 4 * picture.shape[0] * picture.shape[1]
    if extension is not None:
        return extension.encode(picture, 32, format_header, limit)
    return encode_python(picture, format_header, limit)


def encode_python(picture: NDArray[np.uint8], format_header: int, limit: int) -> bytes | None:
    """`encode` in Python: numpy finds the runs of a plane, Python writes one after the other."""
    planes = [picture[..., 2], picture[..., 1], picture[..., 0]]
    if not format_header & NO_ALPHA:
        planes.insert(0, np.full(picture.shape[:2], 0xFF, np.uint8))
    out = bytearray((format_header,))
    for plane in planes:
        if format_header & RLE:
            _encode_plane(out, plane)
            if len(out) > limit:
                return None
        else:
            out += plane.tobytes()
    if not format_header & RLE:
        out.append(0)  # a pad byte follows raw planes
    return bytes(out) if len(out) <= limit else None


def _encode_plane(out: bytearray, plane: NDArray[np.uint8]) -> None:
    """Rows as they are coded: the first as it is, the others as folded differences to the row before."""
    coded = np.ascontiguousarray(plane)
    if len(plane) > 1:
        difference = coded[1:] - coded[:-1]
        folded = difference << 1 ^ np.where(difference & 0x80, np.uint8(0xFF), np.uint8(0))
        coded = np.vstack((coded[:1], folded))
    done: dict[bytes, bytes] = {}  # most rows of a user interface are one of few: no difference, mostly
    for row in coded:
        key = row.tobytes()
        segments = done.get(key)
        if segments is None:
            segments = done[key] = _encode_row(row, key)
        out += segments


def _encode_row(row: NDArray[np.uint8], data: bytes) -> bytes:
    """A row as segments. None crosses a row, and each row begins as if a zero came before it."""
    width = len(data)
    starts = np.concatenate(([0], np.flatnonzero(row[1:] != row[:-1]) + 1))
    lengths = np.diff(starts, append=width)
    # A run repeats the raw byte before it, so its first byte is raw; but for the zero before the row.
    given = np.ones(len(starts), np.intp)
    given[0] = 0 if data[0] == 0 else 1
    repeats = lengths - given
    worthwhile = np.flatnonzero(repeats >= 3)
    out = bytearray()
    raw = 0
    for start, skipped, run in zip(
        starts[worthwhile].tolist(), given[worthwhile].tolist(), repeats[worthwhile].tolist(), strict=True
    ):
        begin = start + skipped
        _put_segments(out, data[raw:begin], run)
        raw = begin + run
    if raw < width:
        _put_segments(out, data[raw:], 0)
    return bytes(out)


def _piece_of_run(run: int, most: int) -> int:
    """The longest piece that fits and leaves nothing, or a run of at least 3, behind: shorter ones cannot be said."""
    if run <= most:
        return run
    return most if run - most >= 3 else run - 3


def _put_segments(out: bytearray, raw: bytes, run: int) -> None:
    """RDP6_RLE_SEGMENT: cRawBytes in the upper half of the control byte, nRunLength in the lower; raw bytes.

    nRunLength 1 and 2 mean no raw bytes and a run of cRawBytes + 16 and + 32.
    """
    while len(raw) > 15:
        out.append(0xF0)
        out += raw[:15]
        raw = raw[15:]
    if raw:
        piece = _piece_of_run(run, 15)
        out.append(len(raw) << 4 | piece)
        out += raw
        run -= piece
    while run:
        piece = _piece_of_run(run, 47)
        out.append(piece if piece < 16 else (piece - 16) << 4 | 1 if piece < 32 else (piece - 32) << 4 | 2)
        run -= piece


def decode(data: bytes | bytearray | memoryview, width: int, height: int) -> NDArray[np.uint8]:
    """Decode a stream to a picture (BGRA, alpha FF where there is no alpha plane), rows in the order of the stream.

    Args:
        data: RDP6_BITMAP_STREAM.
        width, height: pixels, from the bitmap's header.

    Raises:
        CodecError: a size of zero or above 8192, reserved bits, chroma subsampling without colour loss, segments that
            go past a row, bytes missing, or more than one left over.
    """
    check_size(width, height)
    data = bytes(data)
    if not data:
        raise CodecError("planar: no format header")
    header = data[0]
    loss = header & _COLOUR_LOSS
    subsampled = bool(header & _CHROMA_SUBSAMPLING)
    if header & 0xC0:
        raise CodecError(f"planar: reserved bits in format header {header:02X}")
    if subsampled and not loss:
        raise CodecError("planar: chroma subsampling without colour loss")
    offset = 1
    planes: list[NDArray[np.uint8]] = []
    has_alpha = not header & NO_ALPHA
    for index in range(4 if has_alpha else 3):
        chroma = index >= (2 if has_alpha else 1)
        columns, rows = ((width + 1) // 2, (height + 1) // 2) if chroma and subsampled else (width, height)
        if header & RLE:
            plane, offset = decode_plane(data, offset, columns, rows)
        else:
            if len(data) - offset < columns * rows:
                raise CodecError(f"planar: {len(data) - offset} bytes left, a raw plane has {columns * rows}")
            plane = np.frombuffer(data, np.uint8, columns * rows, offset).reshape(rows, columns)
            offset += columns * rows
        if plane.shape != (height, width):
            plane = plane.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
        planes.append(plane)
    if len(data) - offset > 1:  # one is the pad byte of raw planes, which some also send after RLE
        raise CodecError(f"planar: {len(data) - offset} bytes after the last plane")
    picture = np.empty((height, width, 4), np.uint8)
    picture[..., 3] = planes.pop(0) if has_alpha else 0xFF
    if loss:
        red, green, blue = _from_ycocg(planes[0], planes[1], planes[2], loss)
        # [MS-RDPEGDI] 3.1.9.1.2: without alpha the roles of red and blue are exchanged on the wire.
        planes = [red, green, blue] if has_alpha else [blue, green, red]
    picture[..., 2], picture[..., 1], picture[..., 0] = planes
    return picture


def _from_ycocg(
    luma: NDArray[np.uint8], orange: NDArray[np.uint8], green: NDArray[np.uint8], loss: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """AYCoCg to red, green, blue. The chroma bytes are shifted first, then taken as signed."""
    y = luma.astype(np.int16)
    co = (orange << (loss - 1)).view(np.int8).astype(np.int16)
    cg = (green << (loss - 1)).view(np.int8).astype(np.int16)
    rest = y - cg
    red, middle, blue = (np.clip(part, 0, 255).astype(np.uint8) for part in (rest + co, y + cg, rest - co))
    return red, middle, blue


def decode_plane(
    data: bytes | bytearray | memoryview, offset: int, width: int, height: int
) -> tuple[NDArray[np.uint8], int]:
    """Decode one RLE-coded plane (RDP6_RLE_SEGMENTS) that begins at the offset.

    Returns:
        the plane, shape (height, width), and the offset behind it.

    Raises:
        CodecError: see `decode`.
    """
    check_size(width, height)
    if extension is None:
        return decode_plane_python(data, offset, width, height)
    try:
        plane, offset = extension.plane_decode(data, offset, width, height)
    except ValueError as error:
        raise CodecError(f"planar: {error}") from None
    return np.frombuffer(plane, np.uint8).reshape(height, width), offset


def decode_plane_python(
    data: bytes | bytearray | memoryview, offset: int, width: int, height: int
) -> tuple[NDArray[np.uint8], int]:
    """`decode_plane` in Python: one turn for each segment, then all differences at once."""
    data = bytes(data)
    coded = bytearray()  # the segments written out, row after row
    for _ in range(height):
        room, last = width, 0
        while room:
            if offset >= len(data):
                raise CodecError(f"planar: a plane ends before its last row is full, after {len(data)} bytes")
            raw, run = data[offset] >> 4, data[offset] & 15
            offset += 1
            if run in {1, 2}:
                raw, run = 0, raw + 16 * run
            if raw + run > room:
                raise CodecError(f"planar: a segment at offset {offset - 1} goes past the end of its row")
            if len(data) - offset < raw:
                raise CodecError("planar: the raw bytes of a segment are missing")
            if raw:
                coded += data[offset : offset + raw]
                offset += raw
                last = data[offset - 1]
            coded += bytes((last,)) * run
            room -= raw + run
    plane = np.frombuffer(coded, np.uint8).reshape(height, width).copy()
    below = plane[1:]
    below[...] = below >> 1 ^ np.where(below & 1, np.uint8(0xFF), np.uint8(0))
    return np.cumsum(plane, axis=0, dtype=np.uint8), offset
