"""Pixels the way an RFB client asked for them (SetPixelFormat): BGRX pictures to client pixels and back.

Source: the RFB protocol, "PIXEL_FORMAT", "ZRLE encoding" (CPIXEL), "Tight encoding" (TPIXEL).

*Client pixels* are an array of shape (height, width) of `PixelLayout.dtype`: 1, 2 or 4 bytes an item, in the client's
byte order, so ``convert(picture, layout).tobytes()`` is the Raw encoding. All RFB decoders of this package return them;
`restore` makes a picture of them. A colour c of 8 bits becomes ``(c * max + 127) // 255``; bits of no colour are 0.

A pixel goes on the wire in one of three forms (`PixelForm`): as it is, as CPIXEL (ZRLE) or as TPIXEL (Tight). Each is
three tables of 256 numbers, what a blue, a green and a red of that strength contribute to the number whose bytes,
least significant first, are the pixel's. So byte order, shifts, widths and traps are here, and encoders know none.

Clients with a colour map (true_colour 0) get the fixed palette of `colour_map`, three bits of red, three of green, two
of blue: the same tables do it.
"""

import functools
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from rdpprov.codecs.errors import CodecError
from rdpprov.codecs.native import extension
from rdpprov.codecs.pixels import check_picture
from rdpprov.errors import LocalProtocolError

__all__ = ["BGRX", "PixelForm", "PixelLayout", "colour_map", "convert", "cpixel", "full_pixel", "restore", "tpixel"]


@attrs.frozen
class PixelLayout:
    """PIXEL_FORMAT: how a client wants a pixel, 16 bytes on the wire. The default is `BGRX`, what our pictures are.

    Raises:
        CodecError: no legal format (it is the client's word): bits per pixel not 8, 16 or 32; a depth of zero or of
            more than those; colours that overlap, leave the pixel, have more bits than the depth or than eight, or a
            maximum that is not 2**n - 1; a colour map of other than 8 bits.
    """

    bits_per_pixel: int = 32
    depth: int = 24
    big_endian: bool = False
    true_colour: bool = True
    """If not, pixels are indices of a colour map, and maxima and shifts mean nothing."""
    maxima: tuple[int, int, int] = (255, 255, 255)
    """Of red, green, blue: 2**n - 1 for n of 1 to 8."""
    shifts: tuple[int, int, int] = (16, 8, 0)
    """Of red, green, blue: how far left of bit 0 they begin."""

    def __attrs_post_init__(self) -> None:
        bits_per_pixel, depth = self.bits_per_pixel, self.depth
        if bits_per_pixel not in {8, 16, 32}:
            raise CodecError(f"pixel format: {bits_per_pixel} bits per pixel, expected 8, 16 or 32")
        if not 1 <= depth <= bits_per_pixel:
            raise CodecError(f"pixel format: depth {depth}, expected 1 to {bits_per_pixel}")
        if not self.true_colour:
            if (bits_per_pixel, depth) != (8, 8):
                raise CodecError(
                    f"pixel format: a colour map of {bits_per_pixel} bits, depth {depth}, expected 8 and 8"
                )
            return
        used = total = 0
        for maximum, shift in zip(self.maxima, self.shifts, strict=True):
            if not 1 <= maximum <= 255 or maximum & (maximum + 1):
                raise CodecError(f"pixel format: maximum {maximum}, expected 2**n - 1 for n of 1 to 8")
            bits = maximum.bit_length()
            if not 0 <= shift <= bits_per_pixel - bits:
                raise CodecError(f"pixel format: {bits} bits shifted by {shift} leave {bits_per_pixel} bits")
            if used & maximum << shift:
                raise CodecError("pixel format: colours overlap")
            used |= maximum << shift
            total += bits
        if total > depth:
            raise CodecError(f"pixel format: colours of {total} bits, depth {depth}")

    @property
    def bytes_per_pixel(self) -> int:
        """1, 2 or 4."""
        return self.bits_per_pixel // 8

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of client pixels: unsigned, of the pixel's size and byte order."""
        return np.dtype(f"{'>' if self.big_endian else '<'}u{self.bytes_per_pixel}")


BGRX = PixelLayout()
"""What ServerInit should offer: TigerVNC's viewer then sends no SetPixelFormat at all."""

_INDEXED = PixelLayout(8, 8, maxima=(7, 7, 3), shifts=(5, 2, 0))  # the colours of `colour_map` by their indices


def colour_map() -> list[tuple[int, int, int]]:
    """The 256 entries, from index 0 on, of SetColourMapEntries: red, green and blue of 0 to 65535.

    To be sent to a client with a colour map after each of its SetPixelFormat, before the next pixel; never to others
    (noVNC drops the connection).
    """
    return [(65535 * (i >> 5) // 7, 65535 * (i >> 2 & 7) // 7, 65535 * (i & 3) // 3) for i in range(256)]


@attrs.frozen(eq=False)
class PixelForm:
    """How pixels of a layout are written in one encoding. Made, and kept, by `full_pixel`, `cpixel` and `tpixel`."""

    layout: PixelLayout
    size: int
    """Bytes of a pixel: 1 to 4."""
    tables: NDArray[np.uint32]
    """(3, 256): what blue, green and red contribute to a pixel's number."""
    packed_tables: bytes
    """The same for the extension."""
    start: int | None
    """Which byte of the layout's pixel is the first of this form; None: the bytes are red, green, blue (TPIXEL)."""

    def values(self, picture: NDArray[np.uint8]) -> NDArray[np.uint32]:
        """The number of each pixel: shape (height, width); its bytes, least significant first, are the wire's.

        Raises:
            LocalProtocolError: not a picture.
        """
        picture = check_picture(picture)
        if self.packed_tables == _IDENTITY:
            words: NDArray[np.uint32] = picture.view("<u4")[..., 0]
            return words & np.uint32(0xFFFFFF)
        blue, green, red = self.tables
        pixels: NDArray[np.uint32] = blue[picture[..., 0]] | green[picture[..., 1]] | red[picture[..., 2]]
        return pixels

    def store(self, values: NDArray[np.uint32]) -> bytes:
        """Numbers of pixels to the wire's bytes."""
        if self.size == 4:
            return values.astype("<u4", copy=False).tobytes()
        if self.size < 3:
            return values.astype(f"<u{self.size}").tobytes()
        return np.ascontiguousarray(values, "<u4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()

    def pack(self, picture: NDArray[np.uint8]) -> bytes:
        """A picture to the wire's bytes, row after row.

        Raises:
            LocalProtocolError: not a picture.
        """
        if extension is not None:
            return extension.rfb_pixels(check_picture(picture), self.packed_tables, self.size)
        return self.store(self.values(picture))

    def expand(self, data: bytes | bytearray | memoryview) -> NDArray[Any]:
        """The wire's bytes to client pixels: one dimension, of the layout's dtype.

        Raises:
            LocalProtocolError: no whole number of pixels.
        """
        if len(data) % self.size:
            raise LocalProtocolError(f"{len(data)} bytes of pixels of {self.size} bytes")
        layout = self.layout
        if self.size == layout.bytes_per_pixel:
            return np.frombuffer(data, layout.dtype)
        three = np.frombuffer(data, np.uint8).reshape(-1, 3)
        if self.start is None:
            colours = three.astype(np.uint32)
            red, green, blue = (colours[:, index] << np.uint32(layout.shifts[index]) for index in range(3))
            pixels: NDArray[Any] = (red | green | blue).astype(layout.dtype)
            return pixels
        four = np.zeros((len(three), 4), np.uint8)
        four[:, self.start : self.start + 3] = three
        return four.reshape(-1).view(layout.dtype)


def _form(layout: PixelLayout, size: int, start: int) -> PixelForm:
    """Bytes `start` to `start + size` of a pixel."""
    colours = np.arange(256, dtype=np.uint32)
    what = layout if layout.true_colour else _INDEXED
    tables = np.empty((3, 256), np.uint32)
    for row, maximum, shift in zip(reversed(range(3)), what.maxima, what.shifts, strict=True):
        stored = ((colours * maximum + 127) // 255 << np.uint32(shift)).astype(layout.dtype)
        whole = np.zeros((256, 4), np.uint8)
        whole[:, : layout.bytes_per_pixel] = stored.view(np.uint8).reshape(256, -1)
        tables[row] = whole.view("<u4")[:, 0] >> np.uint32(8 * start)
    return PixelForm(layout, size, tables, tables.tobytes(), start)


@functools.lru_cache(maxsize=64)
def full_pixel(layout: PixelLayout) -> PixelForm:
    """PIXEL: all bytes of it."""
    return _form(layout, layout.bytes_per_pixel, 0)


@functools.lru_cache(maxsize=64)
def cpixel(layout: PixelLayout) -> PixelForm:
    """CPIXEL: three bytes where 32 bits hold no more than 24 of depth, all within the three lower or higher bytes.

    Little-endian formats whose colours fit both drop the highest byte, big-endian ones the last on the wire: that is
    what TigerVNC's and libvncclient's decoders do, though the text says the lower three. Xvnc 1.12 sends bytes 1 to 3
    of both. A depth of 32 keeps four.
    """
    if layout.true_colour and layout.bits_per_pixel == 32 and layout.depth <= 24:
        used = 0
        for maximum, shift in zip(layout.maxima, layout.shifts, strict=True):
            used |= maximum << shift
        fits_low, fits_high = used < 1 << 24, not used & 0xFF
        if fits_high if layout.big_endian else fits_low:
            return _form(layout, 3, 0)
        if fits_low if layout.big_endian else fits_high:
            return _form(layout, 3, 1)
    return full_pixel(layout)


@functools.lru_cache(maxsize=64)
def tpixel(layout: PixelLayout) -> PixelForm:
    """TPIXEL: the bytes red, green, blue, in whatever order the format has them, at 32 bits, depth exactly 24, and
    eight bits a colour; else all bytes of the pixel."""
    if layout.true_colour and (layout.bits_per_pixel, layout.depth) == (32, 24) and layout.maxima == (255, 255, 255):
        colours = np.arange(256, dtype=np.uint32)
        tables = np.stack((colours << np.uint32(16), colours << np.uint32(8), colours))
        return PixelForm(layout, 3, tables, tables.tobytes(), None)
    return full_pixel(layout)


_IDENTITY = full_pixel(BGRX).packed_tables


def convert(picture: NDArray[np.uint8], layout: PixelLayout) -> NDArray[Any]:
    """A picture, (height, width, 4) uint8 BGRX, as client pixels: (height, width) of ``layout.dtype``.

    Raises:
        LocalProtocolError: not a picture.
    """
    data = full_pixel(layout).pack(picture)
    return np.frombuffer(data, layout.dtype).reshape(picture.shape[:2])


def restore(pixels: NDArray[Any], layout: PixelLayout) -> NDArray[np.uint8]:
    """Client pixels, (height, width) of ``layout.dtype``, as a picture; the X byte is FF.

    A colour v becomes ``(v * 255 + max // 2) // max``, so ``convert(restore(pixels)) == pixels``.

    Raises:
        LocalProtocolError: an array of another type or shape.
    """
    if pixels.dtype != layout.dtype or pixels.ndim != 2:
        raise LocalProtocolError(f"client pixels of shape {pixels.shape} and type {pixels.dtype}")
    what = layout if layout.true_colour else _INDEXED
    values = pixels.astype(np.uint32)
    picture = np.empty((*pixels.shape, 4), np.uint8)
    picture[..., 3] = 0xFF
    for plane, maximum, shift in zip(reversed(range(3)), what.maxima, what.shifts, strict=True):
        picture[..., plane] = ((values >> np.uint32(shift) & np.uint32(maximum)) * 255 + maximum // 2) // maximum
    return picture
