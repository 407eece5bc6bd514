"""What a client says about output: draw this again, stop drawing, go on drawing.

fact 46: FreeRDP sends both only if the General Capability Set allows them, mstsc always; so they are always understood.

Source: [MS-RDPBCGR] 2.2.11 "Controlling Server Graphics Output".
"""

from __future__ import annotations

from typing import ClassVar

import attrs

from rdpprov.errinfo import ErrInfo
from rdpprov.errors import LocalProtocolError
from rdpprov.wire.base import Buffer, DecodeError, Reader, uint16
from rdpprov.wire.rdp.share import PduType2


class RefreshRectError(DecodeError):
    """A Refresh Rect has fewer rectangles than it says (INP-10)."""

    errinfo = ErrInfo.ERRINFO_INVALIDREFRESHRECTPDU


class SuppressOutputError(DecodeError):
    """A Suppress Output is cut off, or says neither yes nor no (INP-10)."""

    errinfo = ErrInfo.ERRINFO_BADSUPRESSOUTPUTPDU


@attrs.frozen
class InclusiveRectangle:
    """TS_RECTANGLE16: a rectangle of the desktop whose right and bottom belong to it. 8 bytes.

    As it came: nothing says that it is inside the desktop, or that left is left of right.

    Source: [MS-RDPBCGR] 2.2.11.1 "Inclusive Rectangle".
    """

    left: int = uint16()
    """Pixels."""
    top: int = uint16()
    """Pixels."""
    right: int = uint16()
    """Pixels, inclusive."""
    bottom: int = uint16()
    """Pixels, inclusive."""

    def pack(self) -> bytes:
        """The bytes on the wire."""
        return b"".join(side.to_bytes(2, "little") for side in (self.left, self.top, self.right, self.bottom))

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[InclusiveRectangle, bytes]:
        """Take one off the front of `data`.

        Raises:
            DecodeError: fewer than 8 bytes.
        """
        reader = Reader(data, "TS_RECTANGLE16")
        return _rectangle(reader), reader.rest()


def _rectangle(reader: Reader) -> InclusiveRectangle:
    return InclusiveRectangle(reader.u16(), reader.u16(), reader.u16(), reader.u16())


@attrs.frozen
class RefreshRect:
    """TS_REFRESH_RECT_PDU: the client wants parts of the desktop again.

    Source: [MS-RDPBCGR] 2.2.11.2.1 "Refresh Rect PDU Data".
    """

    PDU_TYPE2: ClassVar[PduType2] = PduType2.PDUTYPE2_REFRESH_RECT

    areas_to_refresh: tuple[InclusiveRectangle, ...] = ()
    """Up to 255 rectangles, to be clamped to the desktop."""

    def pack(self) -> bytes:
        """The bytes behind the share headers."""
        if len(self.areas_to_refresh) > 0xFF:
            raise LocalProtocolError(f"TS_REFRESH_RECT_PDU: {len(self.areas_to_refresh)} rectangles, 255 fit")
        return bytes((len(self.areas_to_refresh), 0, 0, 0)) + b"".join(area.pack() for area in self.areas_to_refresh)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[RefreshRect, bytes]:
        """Take one off the front of `data`.

        Raises:
            RefreshRectError: cut off.
        """
        reader = Reader(data, "TS_REFRESH_RECT_PDU")
        try:
            count = reader.u8()
            reader.skip(3)
            areas = tuple(_rectangle(reader) for _ in range(count))
        except DecodeError as error:
            raise RefreshRectError(str(error)) from error
        return cls(areas), reader.rest()


@attrs.frozen
class SuppressOutput:
    """TS_SUPPRESS_OUTPUT_PDU: the client's window is minimised, or back.

    fact 45: mstsc sends "stop" during its own handshake; who obeys it at once leaves a black desktop. What to do about
    it needs a clock, and is the provider's.

    Source: [MS-RDPBCGR] 2.2.11.3.1 "Suppress Output PDU Data".
    """

    PDU_TYPE2: ClassVar[PduType2] = PduType2.PDUTYPE2_SUPPRESS_OUTPUT

    desktop_rect: InclusiveRectangle | None = None
    """What to draw from now on, the whole desktop as a rule; None: nothing."""

    @property
    def allow_display_updates(self) -> bool:
        """Whether output may be sent."""
        return self.desktop_rect is not None

    def pack(self) -> bytes:
        """The bytes behind the share headers."""
        if self.desktop_rect is None:
            return b"\0\0\0\0"  # SUPPRESS_DISPLAY_UPDATES
        return b"\1\0\0\0" + self.desktop_rect.pack()  # ALLOW_DISPLAY_UPDATES

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[SuppressOutput, bytes]:
        """Take one off the front of `data`.

        Raises:
            SuppressOutputError: cut off, or neither allowed nor suppressed.
        """
        reader = Reader(data, "TS_SUPPRESS_OUTPUT_PDU")
        try:
            allow = reader.u8()
            reader.skip(3)
            rectangle = _rectangle(reader) if allow == 1 else None
        except DecodeError as error:
            raise SuppressOutputError(str(error)) from error
        if allow > 1:
            raise SuppressOutputError(f"{reader.structure}: allowDisplayUpdates {allow} is neither 0 nor 1")
        return cls(rectangle), reader.rest()
