"""How a client wants its pixels. Source: [RFC 6143] 7.4 "Pixel Format Data Structure"."""

from __future__ import annotations

from struct import Struct
from typing import ClassVar, Final

import attrs

from rdpprov.errors import LocalProtocolError
from rdpprov.wire.base import Buffer, DecodeError, Reader, required, uint8, uint16


@attrs.frozen
class PixelFormat:
    """PIXEL_FORMAT: 16 bytes, big-endian. Only formats that make sense can be made or read.

    A pixel is ``red << red_shift | green << green_shift | blue << blue_shift``, stored in ``bits_per_pixel / 8`` bytes;
    with a colour map it is an index.
    """

    LAYOUT: ClassVar[Struct] = Struct(">4B3H3B3x")
    SIZE: ClassVar[int] = 16

    bits_per_pixel: int = uint8()
    """8, 16 or 32: what a pixel takes on the wire."""
    depth: int = uint8()
    """Useful bits, at most `bits_per_pixel`. 32 of 32 occurs; then the short forms of ZRLE and Tight are not used."""
    big_endian: bool = required()
    """Byte order of a pixel, whatever the rest of the protocol has."""
    true_colour: bool = required()
    """False: a pixel is an index of a map of 256 colours, and what follows means nothing."""
    red_max: int = uint16(default=0)
    """``2**n - 1`` for the n bits of the component, n from 1 to 8."""
    green_max: int = uint16(default=0)
    blue_max: int = uint16(default=0)
    red_shift: int = uint8(default=0)
    """Bits to shift the component left by."""
    green_shift: int = uint8(default=0)
    blue_shift: int = uint8(default=0)

    def __attrs_post_init__(self) -> None:
        if problem := self._problem():
            raise LocalProtocolError(f"PIXEL_FORMAT: {problem}")

    def _problem(self) -> str:
        """Why a format makes no sense; servers have divided by a maximum of 0, and shifted by 255."""
        bits = self.bits_per_pixel
        if bits not in (8, 16, 32):
            return f"{bits} bits per pixel, expected 8, 16 or 32"
        if not 1 <= self.depth <= bits:
            return f"depth {self.depth} of {bits} bits per pixel"
        if not self.true_colour:
            return "" if bits == self.depth == 8 else f"a colour map at {bits} bits per pixel, depth {self.depth}"
        taken = useful = 0
        for name, maximum, shift in self.components:
            if maximum not in (1, 3, 7, 15, 31, 63, 127, 255):
                return f"{name}-max {maximum}, expected 2**n - 1 of up to 8 bits"
            if maximum << shift >= 1 << bits:
                return f"{name}-max {maximum} with {name}-shift {shift} in {bits} bits"
            if taken & maximum << shift:
                return "components overlap"
            taken |= maximum << shift
            useful += maximum.bit_length()
        return f"depth {self.depth} for components of {useful} bits" if useful > self.depth else ""

    @property
    def components(self) -> tuple[tuple[str, int, int], ...]:
        """Name, maximum and shift of red, green and blue."""
        return (
            ("red", self.red_max, self.red_shift),
            ("green", self.green_max, self.green_shift),
            ("blue", self.blue_max, self.blue_shift),
        )

    @property
    def bytes_per_pixel(self) -> int:
        """1, 2 or 4."""
        return self.bits_per_pixel // 8

    def pack(self) -> bytes:
        """16 bytes."""
        return self.LAYOUT.pack(
            self.bits_per_pixel,
            self.depth,
            self.big_endian,
            self.true_colour,
            self.red_max,
            self.green_max,
            self.blue_max,
            self.red_shift,
            self.green_shift,
            self.blue_shift,
        )

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[PixelFormat, bytes]:
        """The structure and what follows it. Of a format with a colour map the colours' fields are dropped.

        Raises:
            DecodeError: too short, or a format that makes no sense.
        """
        reader = Reader(data, "PIXEL_FORMAT")
        bits, depth, big_endian, true_colour, *colours = reader.fields(cls.LAYOUT)
        try:
            parsed = cls(bits, depth, bool(big_endian), bool(true_colour), *(colours if true_colour else ()))
        except LocalProtocolError as error:
            raise DecodeError(str(error)) from None
        return parsed, reader.rest()


BGRX: Final = PixelFormat(32, 24, False, True, 255, 255, 255, 16, 8, 0)
"""Bytes blue, green, red, nothing: what our screens have, and what TigerVNC's viewer takes as it is."""
RGBX: Final = PixelFormat(32, 24, False, True, 255, 255, 255, 0, 8, 16)
"""Bytes red, green, blue, nothing: what noVNC and libvncclient ask for."""
RGB565: Final = PixelFormat(16, 16, False, True, 31, 63, 31, 11, 5, 0)
BGR233: Final = PixelFormat(8, 8, False, True, 7, 7, 3, 0, 3, 6)
COLOUR_MAP: Final = PixelFormat(8, 8, False, False)
"""256 colours that the server chooses."""
