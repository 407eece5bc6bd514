"""Surface commands: bitmaps of the newer codecs, and marks around the frames that they make up.

They are the data of a fast-path update, several in one. Per frame: `struct` by hand.

Source: [MS-RDPBCGR] 2.2.9.2 "Surface Commands".
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import ClassVar

import attrs

from rdpprov.wire.base import Buffer, DecodeError, Reader, bounded_bytes, uint8, uint16, uint32, uint64


class SurfaceCommandType(IntEnum):
    """cmdType of TS_SURFCMD."""

    CMDTYPE_SET_SURFACE_BITS = 0x0001
    CMDTYPE_FRAME_MARKER = 0x0004
    CMDTYPE_STREAM_SURFACE_BITS = 0x0006


class FrameAction(IntEnum):
    """frameAction of TS_FRAME_MARKER."""

    SURFACECMD_FRAMEACTION_BEGIN = 0
    SURFACECMD_FRAMEACTION_END = 1


@attrs.frozen
class FrameMarker:
    """TS_FRAME_MARKER: a frame begins or ends here. 8 bytes.

    Source: [MS-RDPBCGR] 2.2.9.2.3 "Frame Marker Command".
    """

    LAYOUT: ClassVar[Struct] = Struct("<HHI")

    frame_action: int = uint16()
    """A `FrameAction`; begin and end are balanced (OUT-06)."""
    frame_id: int | None = uint32(optional=True)
    """Number of the frame, which the client acknowledges at its end. fact 48: markers without it occur."""

    @property
    def cmd_type(self) -> SurfaceCommandType:
        """CMDTYPE_FRAME_MARKER."""
        return SurfaceCommandType.CMDTYPE_FRAME_MARKER

    def pack(self) -> bytes:
        """The bytes on the wire."""
        if self.frame_id is None:
            return self.LAYOUT.pack(self.cmd_type, self.frame_action, 0)[:4]
        return self.LAYOUT.pack(self.cmd_type, self.frame_action, self.frame_id)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[FrameMarker, bytes]:
        """Take one off the front of `data`.

        Raises:
            DecodeError: cut off, or another command.
        """
        reader = Reader(data, "TS_FRAME_MARKER")
        command = reader.u16()
        if command != SurfaceCommandType.CMDTYPE_FRAME_MARKER:
            raise DecodeError(f"TS_FRAME_MARKER: cmdType {command}, not 4")
        return cls._read(reader), reader.rest()

    @classmethod
    def _read(cls, reader: Reader) -> FrameMarker:
        """What follows cmdType."""
        action = reader.u16()
        return cls(action, reader.u32() if reader.remaining else None)  # fact 48


EX_COMPRESSED_BITMAP_HEADER_PRESENT = 0x01


@attrs.frozen
class CompressedBitmapHeaderEx:
    """TS_COMPRESSED_BITMAP_HEADER_EX: which bitmap, and when it was taken. 24 bytes.

    Source: [MS-RDPBCGR] 2.2.9.2.1.1.1 "Extended Compressed Bitmap Header".
    """

    LAYOUT: ClassVar[Struct] = Struct("<IIQQ")

    high_unique_id: int = uint32()
    """Upper half of an id."""
    low_unique_id: int = uint32()
    """Lower half of it."""
    tm_milliseconds: int = uint64()
    """Milliseconds of the time."""
    tm_seconds: int = uint64()
    """Seconds of the time since 1970."""


@attrs.frozen
class SurfaceBits:
    """TS_SURFCMD_STREAM_SURF_BITS: a bitmap with its codec, or TS_SURFCMD_SET_SURF_BITS, which has the same layout.

    22 bytes, perhaps an extended header of 24, and the bitmap.

    Source: [MS-RDPBCGR] 2.2.9.2.1 "Set Surface Bits Command", 2.2.9.2.2 "Stream Surface Bits Command", with
    2.2.9.2.1.1 "Extended Bitmap Data".
    """

    LAYOUT: ClassVar[Struct] = Struct("<5H4B2HI")
    _BEHIND_TYPE: ClassVar[Struct] = Struct("<4H4B2HI")

    dest_left: int = uint16()
    """Pixels."""
    dest_top: int = uint16()
    """Pixels."""
    dest_right: int = uint16()
    """Pixels, exclusive. fact 48: not empty, and inside the desktop."""
    dest_bottom: int = uint16()
    """Pixels, exclusive."""
    bpp: int = uint8()
    """Bits per pixel of the bitmap."""
    codec_id: int = uint8()
    """The client's number of the codec; 0: none."""
    width: int = uint16()
    """Pixels of the bitmap."""
    height: int = uint16()
    """Pixels of the bitmap."""
    bitmap_data: bytes = bounded_bytes(0xFFFFFFFF)
    """What the codec made."""
    ex_bitmap_data_header: CompressedBitmapHeaderEx | None = None
    """Optional."""
    cmd_type: int = uint16(default=SurfaceCommandType.CMDTYPE_STREAM_SURFACE_BITS)
    """Set (1) or stream (6)."""

    @property
    def flags(self) -> int:
        """EX_COMPRESSED_BITMAP_HEADER_PRESENT or 0."""
        return 0 if self.ex_bitmap_data_header is None else EX_COMPRESSED_BITMAP_HEADER_PRESENT

    @property
    def bitmap_data_length(self) -> int:
        """Bytes of the bitmap."""
        return len(self.bitmap_data)

    def pack(self) -> bytes:
        """The bytes on the wire."""
        header = self.LAYOUT.pack(
            self.cmd_type,
            self.dest_left,
            self.dest_top,
            self.dest_right,
            self.dest_bottom,
            self.bpp,
            self.flags,
            0,
            self.codec_id,
            self.width,
            self.height,
            self.bitmap_data_length,
        )
        if (extra := self.ex_bitmap_data_header) is not None:
            header += extra.LAYOUT.pack(*attrs.astuple(extra))
        return header + self.bitmap_data

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[SurfaceBits, bytes]:
        """Take one off the front of `data`.

        Raises:
            DecodeError: cut off, or another command.
        """
        reader = Reader(data, "TS_SURFCMD_STREAM_SURF_BITS")
        return cls._read(reader, reader.u16()), reader.rest()

    @classmethod
    def _read(cls, reader: Reader, command: int) -> SurfaceBits:
        """What follows cmdType, which is `command`."""
        if command not in _BITS:
            raise DecodeError(f"TS_SURFCMD_STREAM_SURF_BITS: cmdType {command}, not 1 or 6")
        fields = reader.fields(cls._BEHIND_TYPE)
        left, top, right, bottom, bpp, flags, _, codec_id, width, height, length = fields
        extra = None
        if flags & EX_COMPRESSED_BITMAP_HEADER_PRESENT:
            extra = CompressedBitmapHeaderEx(*reader.fields(CompressedBitmapHeaderEx.LAYOUT))
        bits = reader.take(length)
        return cls(left, top, right, bottom, bpp, codec_id, width, height, bits, extra, command)


_BITS = (SurfaceCommandType.CMDTYPE_SET_SURFACE_BITS, SurfaceCommandType.CMDTYPE_STREAM_SURFACE_BITS)

SurfaceCommand = FrameMarker | SurfaceBits


def unpack_surface_commands(data: Buffer) -> tuple[SurfaceCommand, ...]:
    """All commands of a whole fast-path update.

    Raises:
        DecodeError: a command that is cut off or not known.
    """
    reader = Reader(data, "TS_SURFCMD")
    commands: list[SurfaceCommand] = []
    while reader.remaining:
        kind = reader.u16()
        marker = kind == SurfaceCommandType.CMDTYPE_FRAME_MARKER
        commands.append(FrameMarker._read(reader) if marker else SurfaceBits._read(reader, kind))
    return tuple(commands)
