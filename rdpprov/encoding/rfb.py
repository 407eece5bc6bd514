"""RFB updates: a desktop's pixels to the rectangles of FramebufferUpdate, for one client.

Source: the RFB protocol, "SetEncodings", "FramebufferUpdate", "Encodings". Which encoding is the client's first choice
of those that we make (`DATA_ENCODINGS`); Raw is always allowed. Quality, compression and colours are what its
pseudo-encodings ask for.

A part of the desktop is cut into *pieces* of at most `MAX_PIXELS`, and each piece is a batch: ZRLE, Hextile, zlib and
Raw make one rectangle of it. For Tight it is cut further, by how many colours its cells have: neighbours of one colour
become one fill, those with many colours one JPEG or one full-colour rectangle, so text keeps its palette and its edges.

CopyRect is made of what the desktop says it has moved (`RfbEncoder.copy`): to find moves by itself the encoder would
have to keep, for each client, what that client shows, and to search it for every update; a toolkit or a terminal knows
when it scrolls.
"""

import functools
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdpprov.codecs import hextile, tight, zrle
from rdpprov.codecs.client_pixels import BGRX, PixelLayout, full_pixel
from rdpprov.codecs.jpeg import JpegQuality, Subsampling
from rdpprov.codecs.pixels import check_picture
from rdpprov.codecs.tight import Prepared, TightCompressors
from rdpprov.codecs.zlib_streams import Compressor, deflate, new_compressor, with_length

__all__ = ["DATA_ENCODINGS", "MAX_PIXELS", "EncodedRectangle", "RfbEncoder"]

RAW, COPY_RECT, HEXTILE, ZLIB, TIGHT, ZRLE = 0, 1, 5, 6, 7, 16
DATA_ENCODINGS = (RAW, HEXTILE, ZLIB, TIGHT, ZRLE)
"""The encodings of pixels that we make, by their numbers."""

MAX_PIXELS = 1 << 17
"""Of a rectangle and of a batch, so a batch has 512 KiB and some headers at most. Half as many would cost a
photograph, in JPEG, a twentieth more."""

_BAND = 64  # rows of a piece are a multiple, so that tiles are whole
_AHEAD = 4  # pieces that workers have at a time
_CELL = 64  # pixels a side, of what Tight looks at
# Of a cell: what has more is JPEG, or full colour. That of one cell of text with smooth edges has more than a hundred.
_MOST_COLOURS = 256

# zlib levels by compression level: Tight's full colour, two colours, palette, noise; ZRLE and zlib have the first. Up
# to level 3, more costs next to nothing for palettes, and saves a tenth; for full colour it only costs. Up to there
# speed counts (`new_compressor`), and who asks for compression level 3 or more wants fewer bytes; noise, which no level
# makes much shorter, has speed at all of them.
_LEVELS = (
    (0, 0, 0, 0),
    (1, 1, 1, 1),
    (2, 3, 3, 1),
    (4, 5, 5, 1),
    (4, 7, 6, 1),
    (4, 8, 7, 1),
    (5, 8, 7, 1),
    (6, 9, 8, 1),
    (7, 9, 9, 1),
    (9, 9, 9, 1),
)
_DEFAULT_LEVEL = 2
# Of TigerVNC, whose viewers' users know these ten steps.
_QUALITIES: tuple[tuple[int, Subsampling], ...] = (
    (15, "420"),
    (29, "420"),
    (41, "420"),
    (42, "422"),
    (62, "422"),
    (77, "422"),
    (79, "444"),
    (86, "444"),
    (92, "444"),
    (100, "444"),
)
_SUBSAMPLINGS: dict[int, Subsampling] = {
    -763: "420",
    -764: "420",
    -765: "Gray",
    -766: "422",
    -767: "420",
    -768: "444",
}


class EncodedRectangle(NamedTuple):
    """A rectangle of FramebufferUpdate, all but its packing. A tuple, not attrs: there are hundreds a frame."""

    x: int
    y: int
    width: int
    height: int
    encoding: int
    data: bytes
    lossy: bool = False
    """The client does not show just these pixels now: send them again, with ``lossless``, when there is time."""


class _Part(NamedTuple):
    """A rectangle that only lacks its place in a stream."""

    x: int
    y: int
    width: int
    height: int
    data: bytes | Prepared


class _Wishes(NamedTuple):
    """What SetEncodings says of pixels."""

    encoding: int
    copies: bool
    level: int
    quality: JpegQuality | None


@functools.lru_cache(maxsize=64)
def _wishes(encodings: tuple[int, ...]) -> _Wishes:
    """The first of each kind counts."""
    encoding = next((number for number in encodings if number in DATA_ENCODINGS), RAW)
    level = next((number + 256 for number in encodings if -256 <= number <= -247), _DEFAULT_LEVEL)
    coarse = next((number + 32 for number in encodings if -32 <= number <= -23), None)
    fine = next((number + 512 for number in encodings if -512 <= number <= -412), None)
    colours = next((_SUBSAMPLINGS[number] for number in encodings if number in _SUBSAMPLINGS), None)
    quality = None
    if coarse is not None or fine is not None or colours is not None:
        value, subsampling = _QUALITIES[8 if coarse is None else coarse]
        quality = JpegQuality(value if fine is None else max(1, fine), colours or subsampling)
    return _Wishes(encoding, COPY_RECT in encodings, level, quality)


class RfbEncoder:
    """Pictures to rectangles, for one connection. Holds no picture, but the connection's zlib streams.

    **Every batch that is taken out must be sent, in the order in which they came out**: the client's streams follow
    ours byte by byte. An iterator may be left before its end; what it did not give is in no stream.

    Calls come from one thread at a time.

    Args:
        encodings: of SetEncodings, in the client's order; those that we do not know are ignored.
        layout: of SetPixelFormat, or what ServerInit said.
        workers: a pool of threads that looks at the next pieces while this thread deflates one; worth it for large
            pictures, and with the extension, which does not hold the GIL. None: the calling thread does it all.
    """

    def __init__(
        self, *, encodings: Sequence[int] = (), layout: PixelLayout = BGRX, workers: Executor | None = None
    ) -> None:
        self.layout = layout
        self._workers = workers
        self._streams: dict[int, Compressor] = {}  # of ZRLE and of zlib, by encoding
        self._tight: TightCompressors | None = None
        self.set_encodings(encodings)

    def set_encodings(self, encodings: Sequence[int]) -> None:
        """SetEncodings: for what is encoded from now on. Streams go on; those of Tight may begin anew, and say so."""
        self._wishes = _wishes(tuple(encodings))
        if self._tight is not None:
            self._tight.set_levels(_LEVELS[self._wishes.level])

    def set_layout(self, layout: PixelLayout) -> None:
        """SetPixelFormat: for what is encoded from now on; an iterator that has begun goes on as it began. Streams go
        on, for they know nothing of pixels."""
        self.layout = layout

    @property
    def encoding(self) -> int:
        """The number of the encoding that the client gets."""
        return self._wishes.encoding

    @property
    def takes_copies(self) -> bool:
        """Whether the client listed CopyRect."""
        return self._wishes.copies

    @property
    def is_lossy(self) -> bool:
        """Whether there may be JPEG in what the client gets."""
        return self._wishes.encoding == TIGHT and self._wishes.quality is not None and self.layout.bits_per_pixel > 8

    def copy(self, x: int, y: int, width: int, height: int, from_x: int, from_y: int) -> EncodedRectangle | None:
        """CopyRect: what the client shows at one place is now at another, too.

        Only right while the client shows what the desktop showed at the source; it must go out before the rectangles
        of the same update that change the source. What a client asks for whether or not it has changed, has to come as
        pixels, too.

        Returns:
            None if the client does not take it.
        """
        if not self._wishes.copies:
            return None
        return EncodedRectangle(x, y, width, height, COPY_RECT, struct.pack(">HH", from_x, from_y))

    def encode(
        self, pixels: NDArray[np.uint8], left: int, top: int, *, lossless: bool = False
    ) -> Iterator[EncodedRectangle]:
        """The rectangles of `encode_batches`, one after the other."""
        for batch in self.encode_batches(pixels, left, top, lossless=lossless):
            yield from batch

    def encode_batches(
        self, pixels: NDArray[np.uint8], left: int, top: int, *, lossless: bool = False
    ) -> Iterator[list[EncodedRectangle]]:
        """Encode a part of the desktop, a piece at a time, from top to bottom. No two rectangles overlap.

        Args:
            pixels: (height, width, 4) uint8 BGRX. If they change before the iterator is exhausted, the picture is torn,
                but nothing worse happens.
            left, top: where they lie on the desktop, in pixels.
            lossless: no JPEG, whatever the client allows.

        Raises:
            LocalProtocolError: not a picture.
        """
        pixels = check_picture(pixels)
        wishes = self._wishes
        if lossless or self.layout.bits_per_pixel == 8:
            wishes = wishes._replace(quality=None)
        return self._batches(pixels, left, top, self.layout, wishes)

    def _batches(
        self, pixels: NDArray[np.uint8], left: int, top: int, layout: PixelLayout, wishes: _Wishes
    ) -> Iterator[list[EncodedRectangle]]:
        def prepare(box: tuple[int, int, int, int]) -> list[_Part]:
            x, y, right, bottom = box
            return _prepare(pixels[y:bottom, x:right], x + left, y + top, layout, wishes)

        for parts in self._prepared(prepare, _pieces(pixels.shape[1], pixels.shape[0])):
            yield [self._finish(part, wishes) for part in parts]

    def _prepared(
        self,
        prepare: Callable[[tuple[int, int, int, int]], list[_Part]],
        pieces: Iterable[tuple[int, int, int, int]],
    ) -> Iterator[list[_Part]]:
        """Each piece prepared, in order; by the workers, some pieces ahead."""
        if self._workers is None:
            yield from map(prepare, pieces)
            return
        waiting: deque[Future[list[_Part]]] = deque()
        try:
            for piece in pieces:
                waiting.append(self._workers.submit(prepare, piece))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def _finish(self, part: _Part, wishes: _Wishes) -> EncodedRectangle:
        """A part through its stream."""
        x, y, width, height, data = part
        if isinstance(data, Prepared):
            if self._tight is None:
                self._tight = TightCompressors(_LEVELS[wishes.level])
            return EncodedRectangle(x, y, width, height, TIGHT, data.finish(self._tight), data.is_lossy)
        if wishes.encoding in {ZRLE, ZLIB}:
            stream = self._streams.get(wishes.encoding)
            if stream is None:
                # For life: neither stream can begin anew.
                stream = self._streams[wishes.encoding] = new_compressor(_LEVELS[wishes.level][0])
            data = with_length(deflate(stream, data))
        return EncodedRectangle(x, y, width, height, wishes.encoding, data)


def _pieces(width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
    """A picture cut into left, top, right, bottom: as wide as may be with a band of rows, then as high."""
    columns = min(width, MAX_PIXELS // _BAND)
    rows = max(_BAND, MAX_PIXELS // columns // _BAND * _BAND)
    for y in range(0, height, rows):
        for x in range(0, width, columns):
            yield x, y, min(x + columns, width), min(y + rows, height)


def _prepare(pixels: NDArray[np.uint8], x: int, y: int, layout: PixelLayout, wishes: _Wishes) -> list[_Part]:
    """All of a piece that needs no stream."""
    height, width = pixels.shape[:2]
    match wishes.encoding:
        case 7:
            return _prepare_tight(pixels, x, y, layout, wishes)
        case 16:
            return [_Part(x, y, width, height, zrle.tiles(pixels, layout))]
        case 5:
            return [_Part(x, y, width, height, hextile.encode(pixels, layout))]
        case _:
            return [_Part(x, y, width, height, full_pixel(layout).pack(pixels))]


def _prepare_tight(pixels: NDArray[np.uint8], x: int, y: int, layout: PixelLayout, wishes: _Wishes) -> list[_Part]:
    """A piece cut by how many colours its cells have."""
    counted = tight.count_colours(pixels, layout, _CELL, _MOST_COLOURS)
    height, width = pixels.shape[:2]
    parts: list[_Part] = []
    # Cells together may have too many colours for a palette. Where a pixel is a byte, an index is no shorter.
    splits = layout.bytes_per_pixel > 1

    def add(kind: int, colour: int, left: int, top: int, right: int, bottom: int) -> None:
        begin, end = left * _CELL, min(right * _CELL, width)
        above, below = top * _CELL, min(bottom * _CELL, height)
        if kind == 1:
            prepared = tight.fill(colour, layout)
        else:
            area = pixels[above:below, begin:end]
            most, quality = (_MOST_COLOURS, None) if kind else (0, wishes.quality)
            prepared = tight.prepare(area, layout, most_colours=most, quality=quality)
        if kind and splits and prepared.is_full_colour and (right - left) * (bottom - top) > 1:
            if right - left > 1:
                middle = (left + right) // 2
                add(kind, colour, left, top, middle, bottom)
                add(kind, colour, middle, top, right, bottom)
            else:
                middle = (top + bottom) // 2
                add(kind, colour, left, top, right, middle)
                add(kind, colour, left, middle, right, bottom)
            return
        parts.append(_Part(x + begin, y + above, end - begin, below - above, prepared))

    for area in _areas(counted.tolist()):
        add(*area)
    return parts


def _areas(counted: list[list[list[int]]]) -> list[tuple[int, int, int, int, int, int]]:
    """Cells joined with their neighbours of the same kind: kind, colour, and left, top, right, bottom in cells.

    Kind is the number of colours: 0 for many, 1, 2 (the same two), 3 for some.
    """
    if not any(cell[0] for cells in counted for cell in cells):  # a photograph or a film: all of one kind
        return [(0, 0, 0, 0, len(counted[0]), len(counted))]
    areas: list[tuple[int, int, int, int, int, int]] = []
    above: dict[tuple[int, int, int, int, int], int] = {}  # areas that go on: {kind, colours, left, right: top}
    for row, cells in enumerate([*counted, []]):
        runs: dict[tuple[int, int, int, int, int], int] = {}
        left = 0
        for right in range(1, len(cells) + 1):
            if right == len(cells) or _kind(cells[right]) != _kind(cells[left]):
                key = (*_kind(cells[left]), left, right)
                runs[key] = above.pop(key, row)
                left = right
        areas += [(key[0], key[1], key[3], top, key[4], row) for key, top in above.items()]
        above = runs
    return areas


def _kind(cell: list[int]) -> tuple[int, int, int]:
    """What neighbours must have in common."""
    count, first, second = cell
    if count == 1:
        return 1, first, 0
    if count == 2:
        return 2, min(first, second), max(first, second)
    return (3, 0, 0) if count else (0, 0, 0)
