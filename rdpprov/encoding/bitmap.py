"""Legacy bitmap updates: damage to tiles, tiles to what TS_BITMAP_DATA carries, and a cache of encoded tiles.

Source: [MS-RDPBCGR] 2.2.9.1.1.3.1.2.2 "Bitmap Data (TS_BITMAP_DATA)": rows bottom-up, width a multiple of four, and the
destination may be narrower. Interleaved RLE at 15, 16 and 24 bits a pixel, RDP 6.0 planar at 32.

Tiles lie on a grid that is fixed to the desktop, not to the damage, so the same content is cut the same way for every
client and whatever else changed with it. Their shapes are among the cheapest for a whole desktop of those that have 16
KiB uncompressed at most (requirement OUT-04) and fit, whatever is in them, a fast-path PDU of a client that knows no
fragmentation (interoperability fact 36: 0x3F80 bytes). For 1024x768 pixels of windows with smooth text, by one core
with the extension, nothing cached (``benchmarks/codecs.py --shapes``), milliseconds and bytes on the wire:

====== ================ ================ ================ ================
bits   64x64            112x64           240x32           992x8
16     1.10 ms, 152 kB  1.04 ms, 150 kB  1.01 ms, 155 kB  1.08 ms, 162 kB
bits   64x64            80x64            160x32           320x16
24     0.98 ms, 215 kB  0.95 ms, 214 kB  0.91 ms, 217 kB  0.92 ms, 223 kB
bits   64x64            128x32           256x16           1024x4
32     1.19 ms, 392 kB  1.07 ms, 368 kB  1.02 ms, 367 kB  1.11 ms, 365 kB
====== ================ ================ ================ ================
"""

import functools
import itertools
import secrets
import struct
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rdpprov.api.devices import Rectangle
from rdpprov.codecs import planar
from rdpprov.codecs.pixels import check_picture, padded_width
from rdpprov.codecs.tiles import KEY_SIZE, EncodedTile, encode_tiles, joined_digests, pack_tiles
from rdpprov.errors import LocalProtocolError

__all__ = ["TILE_SHAPES", "BitmapEncoder", "EncodedBatch", "EncodedBitmap", "HasEdges", "TileCache", "tiles"]

_Box = tuple[int, int, int, int]
_Place = tuple[int, int, int, int, int, int]  # left, top, right, bottom, and width and height of the bitmap
_Tile = tuple[bool, bytes]  # is it compressed, and its data
_BatchName = tuple[bytes, int, int, int, int, bytes]

TILE_SHAPES = {15: (112, 64), 16: (112, 64), 24: (80, 64), 32: (256, 16)}
"""{bits per pixel: (columns, rows)} of the grid."""
_BATCH = 64  # tiles, about: the first ones are on their way while the last ones are still pixels
_SHARE = 8  # tiles that a worker gets at a time

_CELL = 16
_BAND = 64


class HasEdges(Protocol):
    """Four edges in pixels, right and bottom exclusive: `rdpprov.api.devices.Rectangle`, and what looks like it."""

    @property
    def left(self) -> int:
        """First column."""
        ...

    @property
    def top(self) -> int:
        """First row."""
        ...

    @property
    def right(self) -> int:
        """Column behind the last."""
        ...

    @property
    def bottom(self) -> int:
        """Row below the last."""
        ...


class EncodedBitmap(NamedTuple):
    """TS_BITMAP_DATA, all but its packing. A tuple, not attrs: there are hundreds a frame, and they live briefly."""

    left: int
    """Destination on the desktop, in pixels."""
    top: int
    right: int
    """Exclusive; on the wire it is inclusive."""
    bottom: int
    """Exclusive; on the wire it is inclusive."""
    width: int
    """Of the bitmap: a multiple of four, up to three more than the destination's."""
    height: int
    bits_per_pixel: int
    compressed: bool
    """BITMAP_COMPRESSION: ``data`` is a stream, without TS_CD_HEADER; if not, it is rows of pixels."""
    data: bytes


class EncodedBatch:
    """The bitmaps of one rectangle of the desktop, from top to bottom: iterating makes them.

    Args:
        left, top: of the rectangle, in pixels of the desktop.
        places: of `_Grid`.
        tiles: for each place, is it compressed, and the data.
        bits_per_pixel: of the data.
    """

    __slots__ = ("_bits_per_pixel", "_left", "_places", "_tiles", "_top", "pdus", "size")

    def __init__(
        self, left: int, top: int, places: Sequence[_Place], tiles: Sequence[_Tile], bits_per_pixel: int
    ) -> None:
        self._left = left
        self._top = top
        self._places = places
        self._tiles = tiles
        self._bits_per_pixel = bits_per_pixel
        self.size = sum([len(data) for _, data in tiles])
        """Bytes of all data."""
        self.pdus: Sequence[bytes] | None = None
        """Left here by whoever packs it first, for those who show it next: the batch outlives one client's frame when
        the cache has it. Nothing that depends on a client."""

    def __len__(self) -> int:
        """How many bitmaps."""
        return len(self._tiles)

    def __iter__(self) -> Iterator[EncodedBitmap]:
        """The bitmaps."""
        x, y, bits_per_pixel = self._left, self._top, self._bits_per_pixel
        for (left, top, right, bottom, width, height), (compressed, data) in zip(
            self._places, self._tiles, strict=True
        ):
            yield EncodedBitmap(
                x + left, y + top, x + right, y + bottom, width, height, bits_per_pixel, compressed, data
            )


class TileCache:
    """Encoded tiles by content: whoever sees the same picture as somebody before costs no encoding. One a process.

    A tile is found by a 256-bit keyed digest of its pixels, with depth, form and size. The key is random, never leaves
    this object, and under it two different tiles are taken for one with a chance of 2**-128 at most, even if they were
    made for that (`rdpprov.codecs.tiles.digest_tiles`). What is stored is encoded from the same copy of the pixels as
    its digest, so a desktop that draws meanwhile cannot put a picture under another one's name.

    A batch, all tiles of a rectangle, is found by its place and the digests of all its tiles: one look for the 16 of a
    band, which are packed for the wire already. It is kept when its content is met again, not before: of what only one
    client sees once, there is no second copy.

    Bounded by bytes; the tiles and batches not used for longest go first. All methods may be called from any thread.

    Args:
        max_bytes: of encoded data, with an allowance for what an entry takes by itself.
    """

    _ENTRY = 256  # bytes: key, tuple, and their places in the dictionary

    def __init__(self, max_bytes: int = 32 << 20) -> None:
        self.max_bytes = max_bytes
        self.size = 0
        """Bytes held now."""
        self.hits = 0
        self.misses = 0
        self._key = secrets.token_bytes(KEY_SIZE)
        # Latest used last. Bytes name a _Tile, a _BatchName an EncodedBatch.
        self._entries: OrderedDict[bytes | _BatchName, Any] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many tiles and batches are held."""
        return len(self._entries)

    def digests(self, picture: NDArray[np.uint8], packed_boxes: bytes) -> bytes:
        """What to look a batch up by, with a name for its form and place before it; cut, its tiles (`find`)."""
        return joined_digests(picture, packed_boxes, self._key)

    def encode(
        self, picture: NDArray[np.uint8], boxes: Sequence[_Box], bits_per_pixel: int, format_header: int
    ) -> list[EncodedTile]:
        """Tiles with their digests."""
        return encode_tiles(picture, boxes, bits_per_pixel, format_header, self._key)

    def find(self, names: Sequence[bytes]) -> list[_Tile | None]:
        """For each name (kind and digest) the tile: is it compressed, and its data. None if it is not here."""
        with self._lock:
            get, touch = self._entries.get, self._entries.move_to_end
            found: list[_Tile | None] = []
            for name in names:
                tile = get(name)
                if tile is not None:
                    touch(name)
                    self.hits += 1
                found.append(tile)
            self.misses += found.count(None)
        return found

    def find_batch(self, name: _BatchName) -> EncodedBatch | None:
        """All tiles of a rectangle by its form, place and digests; None if they are not here together."""
        with self._lock:
            batch: EncodedBatch | None = self._entries.get(name)
            if batch is not None:
                self._entries.move_to_end(name)
                self.hits += len(batch)
        return batch

    def keep(self, name: bytes, compressed: bool, data: bytes) -> None:
        """Remember a tile under its kind and digest; what does not fit any more is forgotten."""
        self._keep(name, (compressed, data))

    def keep_batch(self, name: _BatchName, batch: EncodedBatch) -> None:
        """Remember a batch whose tiles are those of the digests in its name."""
        self._keep(name, batch)

    def _keep(self, name: bytes | _BatchName, entry: _Tile | EncodedBatch) -> None:
        size = self._size_of(entry)
        with self._lock:
            if name in self._entries or size > self.max_bytes:
                return
            self._entries[name] = entry
            self.size += size
            while self.size > self.max_bytes:
                _, oldest = self._entries.popitem(last=False)
                self.size -= self._size_of(oldest)

    def _size_of(self, entry: _Tile | EncodedBatch) -> int:
        if isinstance(entry, EncodedBatch):  # the data, which may be its own by now, and the PDUs that they are in
            return 2 * entry.size + self._ENTRY * (len(entry) + 2)
        return len(entry[1]) + self._ENTRY


class BitmapEncoder:
    """Pictures to bitmap updates, for one client. Holds no picture.

    Args:
        bits_per_pixel: of the session: 15, 16, 24 or 32.
        cache: shared with others; None: every tile is encoded.
        format_header: of planar streams. `rdpprov.codecs.planar.RLE`, the default, is what every client decodes; with
            `NO_ALPHA` too, they are a little shorter, for clients that announce DRAW_ALLOW_SKIP_ALPHA.
        workers: a pool of threads to share the tiles of one picture among; worth it for large pictures, and with the
            extension, which does not hold the GIL. None: the calling thread does it all.

    Raises:
        LocalProtocolError: another depth.
    """

    def __init__(
        self,
        *,
        bits_per_pixel: int,
        cache: TileCache | None = None,
        format_header: int = planar.RLE,
        workers: Executor | None = None,
    ) -> None:
        if bits_per_pixel not in TILE_SHAPES:
            raise LocalProtocolError(f"bitmap updates of {bits_per_pixel} bits per pixel, expected 15, 16, 24 or 32")
        self.bits_per_pixel = bits_per_pixel
        self._cache = cache
        self.format_header = format_header
        self._workers = workers
        # Goes before a digest, with the tile's size, so that equal digests mean equal bytes.
        self._form = struct.pack("<BB", bits_per_pixel, format_header if bits_per_pixel == 32 else 0)

    def encode(self, pixels: NDArray[np.uint8], left: int, top: int) -> Iterator[EncodedBitmap]:
        """Encode a part of the desktop, tile by tile, from top to bottom: the bitmaps of `encode_batches`."""
        return itertools.chain.from_iterable(self.encode_batches(pixels, left, top))

    def encode_batches(self, pixels: NDArray[np.uint8], left: int, top: int) -> Iterator[EncodedBatch]:
        """Encode a part of the desktop, some rows of tiles at a time, from top to bottom.

        Args:
            pixels: (height, width, 4) uint8 BGRX, row 0 at the top. If they change before the iterator is exhausted,
                the picture is torn, but nothing worse happens.
            left, top: where they lie on the desktop, in pixels.

        Raises:
            LocalProtocolError: not a picture.
        """
        pixels = check_picture(pixels)
        height, width = pixels.shape[:2]
        columns, rows = TILE_SHAPES[self.bits_per_pixel]
        steps = rows * max(1, _BATCH * columns // (width + columns))
        for start, end in _cuts(top, height, steps):
            grid = _grid(left % columns, (top + start) % rows, width, end - start, columns, rows)
            yield self._encode_batch(pixels[start:end][::-1], grid, left, top + start)

    def _encode_batch(self, picture: NDArray[np.uint8], grid: "_Grid", left: int, top: int) -> EncodedBatch:
        cache = self._cache
        if cache is None:
            tiles = [(tile.compressed, tile.data) for tile in self._encode_tiles(picture, grid.boxes)]
            return EncodedBatch(left, top, grid.places, tiles, self.bits_per_pixel)
        digests = cache.digests(picture, grid.packed_boxes)
        # With the place, the size decides how the grid cuts.
        batch_name = self._form, left, top, picture.shape[1], picture.shape[0], digests
        known = cache.find_batch(batch_name)
        if known is not None:
            return known
        size = len(digests) // len(grid.boxes)
        names = [
            self._form + kind + digests[start : start + size]
            for kind, start in zip(grid.kinds, range(0, len(digests), size), strict=True)
        ]
        found = cache.find(names)
        missing = {name: box for name, box, tile in zip(names, grid.boxes, found, strict=True) if tile is None}
        encoded: dict[bytes, _Tile] = {}
        if missing:
            for name, tile in zip(missing, self._encode_tiles(picture, list(missing.values())), strict=True):
                encoded[name] = tile.compressed, tile.data
                # Under the digest of what was encoded, which is another one if the pixels have changed since.
                cache.keep(name[:-size] + tile.digest, tile.compressed, tile.data)
        tiles = [tile or encoded[name] for name, tile in zip(names, found, strict=True)]
        batch = EncodedBatch(left, top, grid.places, tiles, self.bits_per_pixel)
        if not missing:
            cache.keep_batch(batch_name, batch)
        return batch

    def _encode_tiles(self, picture: NDArray[np.uint8], boxes: Sequence[_Box]) -> list[EncodedTile]:
        def encode(share: Sequence[_Box]) -> list[EncodedTile]:
            if self._cache is None:
                return encode_tiles(picture, share, self.bits_per_pixel, self.format_header)
            return self._cache.encode(picture, share, self.bits_per_pixel, self.format_header)

        if self._workers is None or len(boxes) <= _SHARE:
            return encode(boxes)
        shares = [boxes[start : start + _SHARE] for start in range(0, len(boxes), _SHARE)]
        return [tile for share in self._workers.map(encode, shares) for tile in share]


class _Grid(NamedTuple):
    """The tiles of a picture."""

    boxes: list[_Box]
    """As the codecs want them: in the picture, counted from the bottom row."""
    packed_boxes: bytes
    """The same, by `pack_tiles`."""
    kinds: list[bytes]
    """The size of each, packed."""
    places: list[_Place]
    """Counted from the top row."""


@functools.lru_cache(maxsize=256)
def _grid(left: int, top: int, width: int, height: int, columns: int, rows: int) -> _Grid:
    """The tiles of a picture whose first pixel lies at left, top of a tile of the grid."""
    places = [
        (x, y, right, bottom, padded_width(right - x), bottom - y)
        for y, bottom in _cuts(top, height, rows)
        for x, right in _cuts(left, width, columns)
    ]
    boxes = [(x, height - bottom, right, height - y) for x, y, right, bottom, _, _ in places]
    kinds = [struct.pack("<HH", right - x, bottom - y) for x, y, right, bottom in boxes]
    return _Grid(boxes, pack_tiles(boxes), kinds, places)


def _cuts(begin: int, length: int, step: int) -> list[tuple[int, int]]:
    """Pieces of `length` pixels that begin at `begin`, cut at multiples of `step`; counted from `begin`."""
    edges = [0, *range(step - begin % step, length, step), length]
    return list(itertools.pairwise(edges))


def tiles(rectangles: Sequence[HasEdges], width: int, height: int) -> Iterator[Rectangle]:
    """Cut damage to what is worth grabbing and encoding at once. From top to bottom.

    Every damaged pixel inside the desktop is in exactly one of the results. They begin at multiples of 16 pixels, end
    there or at the desktop's edge, and none crosses a multiple of 64 rows, which bounds what a grab takes: 2 MiB of a
    desktop 8192 pixels wide. Where damage is scattered, more is repainted rather than more pieces made: there are
    never more than squares of 64 pixels that are touched.

    Args:
        rectangles: damage, overlapping or not, outside the desktop or not.
        width, height: of the desktop in pixels.
    """
    boxes = [
        box
        for box in ((max(0, r.left), max(0, r.top), min(width, r.right), min(height, r.bottom)) for r in rectangles)
        if box[0] < box[2] and box[1] < box[3]
    ]
    if not boxes:
        return
    left, top, right, bottom = (edge(box[i] for box in boxes) for i, edge in enumerate((min, min, max, max)))
    first, last = top // _BAND, (bottom - 1) // _BAND
    whole = (left, top, right, bottom) in boxes  # as after a resize, or when one thing has changed: nothing to join
    cells = np.zeros((0, 0) if whole else (-(-height // _CELL), -(-width // _CELL)), np.bool_)
    if not whole:
        for x, y, end, below in boxes:
            cells[y // _CELL : -(-below // _CELL), x // _CELL : -(-end // _CELL)] = True
    for band in range(first, last + 1):
        start = band * _BAND // _CELL
        if whole:
            y, below = max(top // _CELL, start) - start, min(-(-bottom // _CELL), start + _BAND // _CELL) - start
            pieces = [(left // _CELL, y, -(-right // _CELL), below)]
        else:
            pieces = _pieces(cells[start : start + _BAND // _CELL])
        for x, y, end, below in pieces:
            yield Rectangle(
                x * _CELL, (start + y) * _CELL, min(end * _CELL, width), min((start + below) * _CELL, height)
            )


def _pieces(rows: NDArray[np.bool_]) -> list[_Box]:
    """The cells of a band that are set, as rectangles; coarser ones where that makes fewer."""
    pieces = _rectangles(rows)
    if len(pieces) <= 1:
        return pieces
    squares = np.logical_or.reduceat(rows.any(axis=0), range(0, rows.shape[1], _BAND // _CELL))
    if len(pieces) <= np.count_nonzero(squares):
        return pieces
    coarse = np.repeat(squares, _BAND // _CELL)[: rows.shape[1]]
    return _rectangles(np.broadcast_to(coarse, rows.shape))


def _rectangles(rows: NDArray[np.bool_]) -> list[_Box]:
    """Runs of set cells, those of one extent in successive rows joined."""
    result: list[_Box] = []
    open_at: dict[tuple[int, int], int] = {}
    for y, row in enumerate(rows):
        edges = np.flatnonzero(np.diff(row, prepend=False, append=False)).tolist()
        runs = set(zip(edges[::2], edges[1::2], strict=True))
        for run in [run for run in open_at if run not in runs]:
            result.append((run[0], open_at.pop(run), run[1], y))
        for run in runs:
            open_at.setdefault(run, y)
    result += [(left, top, right, len(rows)) for (left, right), top in open_at.items()]
    return sorted(result, key=lambda box: (box[1], box[0]))
