"""Clipboards: Latin-1 in the classic messages, and the extended messages inside those of negative length.

Source: [RFC 6143] 7.5.6 "ClientCutText"; the community's text, "Extended Clipboard Pseudo-Encoding".
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from enum import IntEnum
from struct import Struct
from typing import Final, TypeAlias

import attrs

from rdpprov.wire.base import Buffer, DecodeError, Reader

_U32 = Struct(">I")
_FORMATS: Final = 0xFFFF
_ACTIONS: Final = 0xFF000000


class ClipboardFormat(IntEnum):
    """Bits of flags: what is on the clipboard. We carry text."""

    TEXT = 0x01
    RTF = 0x02
    HTML = 0x04
    DIB = 0x08
    FILES = 0x10


class ClipboardAction(IntEnum):
    """Bits of flags: what the message is. One of them, but in caps: all that the sender understands."""

    CAPS = 0x01000000
    REQUEST = 0x02000000
    PEEK = 0x04000000
    NOTIFY = 0x08000000
    PROVIDE = 0x10000000


ALL_ACTIONS: Final = sum(ClipboardAction) & ~ClipboardAction.CAPS


@attrs.frozen
class ClipboardCaps:
    """caps: what the sender understands."""

    actions: int
    """`ClipboardAction` that it takes; CAPS itself need not be named."""
    sizes: Mapping[int, int]
    """Of each `ClipboardFormat` that it takes: bytes that it takes without having asked; 0: none, notify it."""

    def pack(self) -> bytes:
        """What a cut text carries."""
        formats = sorted(self.sizes)
        flags = ClipboardAction.CAPS | self.actions | sum(formats)
        return _U32.pack(flags) + b"".join(_U32.pack(self.sizes[one]) for one in formats)


@attrs.frozen
class ClipboardRequest:
    """request: send these formats."""

    formats: int = ClipboardFormat.TEXT

    def pack(self) -> bytes:
        """What a cut text carries."""
        return _U32.pack(ClipboardAction.REQUEST | self.formats)


@attrs.frozen
class ClipboardPeek:
    """peek: say by notify what there is."""

    def pack(self) -> bytes:
        """What a cut text carries."""
        return _U32.pack(ClipboardAction.PEEK)


@attrs.frozen
class ClipboardNotify:
    """notify: these formats are there now; none: the clipboard is empty."""

    formats: int = ClipboardFormat.TEXT

    def pack(self) -> bytes:
        """What a cut text carries."""
        return _U32.pack(ClipboardAction.NOTIFY | self.formats)


@attrs.frozen
class ClipboardProvide:
    """provide: the clipboard's content."""

    contents: Mapping[int, bytes] = attrs.field(repr=False)
    """By `ClipboardFormat`. Text: see `text_of` and `bytes_of`."""

    def pack(self) -> bytes:
        """What a cut text carries."""
        formats = sorted(self.contents)
        plain = b"".join(_U32.pack(len(self.contents[one])) + self.contents[one] for one in formats)
        # Not ended: many peers choke on a stream that is.
        stream = zlib.compressobj()
        compressed = stream.compress(plain) + stream.flush(zlib.Z_SYNC_FLUSH)
        return _U32.pack(ClipboardAction.PROVIDE | sum(formats)) + compressed


ClipboardMessage: TypeAlias = ClipboardCaps | ClipboardRequest | ClipboardPeek | ClipboardNotify | ClipboardProvide


def unpack_clipboard_message(data: Buffer, *, limit: int) -> ClipboardMessage:
    """What an extended cut text carries, all of it.

    Args:
        data: without the message's header.
        limit: bytes that one format may have. What is longer, and what follows it, is left out of `ClipboardProvide`:
            memory is taken for what fits, whatever the peer announces or has compressed.

    Raises:
        DecodeError: too short, no action or several, a stream that is broken off or is none.
    """
    reader = Reader(data, "extended clipboard")
    (flags,) = reader.fields(_U32)
    formats, action = flags & _FORMATS, flags & _ACTIONS
    if action & ClipboardAction.CAPS:
        sizes = {one: reader.fields(_U32)[0] for one in _bits(formats)}
        return ClipboardCaps(action & ~ClipboardAction.CAPS, sizes)
    match action:
        case ClipboardAction.REQUEST:
            return ClipboardRequest(formats)
        case ClipboardAction.PEEK:
            return ClipboardPeek()
        case ClipboardAction.NOTIFY:
            return ClipboardNotify(formats)
        case ClipboardAction.PROVIDE:
            return ClipboardProvide(dict(_inflate(formats, reader.rest(), limit)))
        case _:
            raise DecodeError(f"extended clipboard: flags 0x{flags:08x}, which are not one action")


def _bits(flags: int) -> Iterator[int]:
    return (1 << bit for bit in range(16) if flags & 1 << bit)


def _inflate(formats: int, compressed: bytes, limit: int) -> Iterator[tuple[int, bytes]]:
    stream = _Inflater(compressed)
    for one in _bits(formats):
        size: int = _U32.unpack(stream.read(4))[0]
        if size > limit:
            return
        yield one, stream.read(size)


class _Inflater:
    """Reads exactly as much as is asked for, so a few bytes never become a gigabyte."""

    def __init__(self, compressed: bytes) -> None:
        self._stream = zlib.decompressobj()
        self._compressed = compressed

    def read(self, size: int) -> bytes:
        """`size` bytes.

        Raises:
            DecodeError: there are not so many.
        """
        data = b""
        while len(data) < size:
            try:
                more = self._stream.decompress(self._compressed, size - len(data))
            except zlib.error as error:
                raise DecodeError(f"extended clipboard: {error}") from None
            if not more:
                raise DecodeError(f"extended clipboard: needs {size} bytes, {len(data)} left")
            self._compressed = self._stream.unconsumed_tail
            data += more
        return data


# Texts


def text_of(data: bytes) -> str:
    """Text as provide carries it: UTF-8 with one NUL at its end, lines end by CR LF. Here they end by LF."""
    return _unix_lines(data.removesuffix(b"\0").decode("utf-8", "replace"))


def bytes_of(text: str) -> bytes:
    """Text as provide carries it."""
    return _unix_lines(text).replace("\n", "\r\n").encode("utf-8", "replace") + b"\0"


def latin1_text_of(data: bytes) -> str:
    """Text as a classic cut text carries it."""
    return _unix_lines(data.decode("latin-1"))


def latin1_bytes_of(text: str) -> bytes:
    """Text as a classic cut text carries it; what Latin-1 does not have becomes a question mark."""
    return _unix_lines(text).encode("latin-1", "replace")


def _unix_lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
