"""What every wire structure is made of: a bounds-checked reader, field helpers, and the bridge to construct.

Conventions of the package:

* A structure is a frozen attrs class with ``pack() -> bytes`` and ``unpack(data) -> (structure, rest)`` side by side.
  ``rest`` is what follows the structure in ``data``. Where only the carrier knows the length (a structure that ends
  where its carrier ends), ``unpack(data) -> structure`` takes all of ``data``, and its docstring says so.
* What cannot be decoded raises `DecodeError`, the peer's fault. A value that does not fit its field raises
  `LocalProtocolError`, our caller's fault, when the structure is made: ``pack`` of an existing structure works.
* Texts never contain NUL: what a peer writes behind the first NUL is dropped, so that everybody who reads a text, C
  libraries included, reads the same one.
* Numbers are little-endian unless a name says ``be``.
* Flags are plain integers, tested with ``&``; the names of their bits are members of an IntEnum, never of an IntFlag:
  IntFlag remembers every combination that it was ever asked for, and here the peer chooses the combinations. A single
  code becomes a member of its IntEnum where there is one (`known`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from io import BytesIO
from struct import Struct
from types import TracebackType
from typing import Any, TypeVar

import attrs
from construct import Construct, ConstructError

from rdpprov.errors import LocalProtocolError, RemoteProtocolError

Buffer = bytes | bytearray | memoryview
"""What can be unpacked. A structure never keeps a view of it: it copies what it keeps."""

_U16 = Struct("<H")
_U16BE = Struct(">H")
_U32 = Struct("<I")
_U64 = Struct("<Q")
_I16 = Struct("<h")
_I32 = Struct("<i")


class DecodeError(RemoteProtocolError):
    """The peer's bytes are not the structure that they should be: too short, too long, or with impossible values."""


class Reader:
    """A cursor over received bytes that never reads behind their end.

    Args:
        data: the bytes; they must not change while the reader is used.
        structure: what is being read, in the standard's spelling, for the reasons of our errors.

    Raises (every method that reads):
        DecodeError: fewer bytes are left than the method takes; the cursor stays where it was.
    """

    __slots__ = ("_offset", "_view", "structure")

    def __init__(self, data: Buffer, structure: str) -> None:
        self._view = memoryview(data)
        self._offset = 0
        self.structure = structure

    @property
    def remaining(self) -> int:
        """How many bytes are left."""
        return len(self._view) - self._offset

    @property
    def offset(self) -> int:
        """How many bytes have been read."""
        return self._offset

    def _advance(self, count: int) -> int:
        offset = self._offset
        if not 0 <= count <= len(self._view) - offset:
            raise DecodeError(f"{self.structure}: needs {count} bytes, {len(self._view) - offset} left")
        self._offset = offset + count
        return offset

    def u8(self) -> int:
        """Unsigned 8-bit integer."""
        return self._view[self._advance(1)]

    def u16(self) -> int:
        """Unsigned 16-bit integer, little-endian."""
        value: int = _U16.unpack_from(self._view, self._advance(2))[0]
        return value

    def u16be(self) -> int:
        """Unsigned 16-bit integer, big-endian."""
        value: int = _U16BE.unpack_from(self._view, self._advance(2))[0]
        return value

    def u32(self) -> int:
        """Unsigned 32-bit integer, little-endian."""
        value: int = _U32.unpack_from(self._view, self._advance(4))[0]
        return value

    def u64(self) -> int:
        """Unsigned 64-bit integer, little-endian."""
        value: int = _U64.unpack_from(self._view, self._advance(8))[0]
        return value

    def i16(self) -> int:
        """Signed 16-bit integer, little-endian."""
        value: int = _I16.unpack_from(self._view, self._advance(2))[0]
        return value

    def i32(self) -> int:
        """Signed 32-bit integer, little-endian."""
        value: int = _I32.unpack_from(self._view, self._advance(4))[0]
        return value

    def fields(self, layout: Struct) -> tuple[Any, ...]:
        """All fields of a fixed layout at once."""
        return layout.unpack_from(self._view, self._advance(layout.size))

    def take(self, count: int) -> bytes:
        """A copy of the next `count` bytes."""
        offset = self._advance(count)
        return bytes(self._view[offset : offset + count])

    def view(self, count: int) -> memoryview:
        """The next `count` bytes without a copy, for what is decoded at once."""
        offset = self._advance(count)
        return self._view[offset : offset + count]

    def skip(self, count: int) -> None:
        """Leave out the next `count` bytes."""
        self._advance(count)

    def peek(self) -> int | None:
        """The next byte, which stays unread; None at the end."""
        return self._view[self._offset] if self._offset < len(self._view) else None

    def rest(self) -> bytes:
        """A copy of all that is left; the reader is at its end then."""
        return self.take(self.remaining)

    def block(self, count: int, structure: str | None = None) -> Reader:
        """The next `count` bytes as a reader of their own: what a nested length announces.

        As a context manager it checks its own end: ``with reader.block(length) as block`` raises where the body is
        left with unread bytes. Without ``with``, unread bytes are dropped silently.
        """
        return Reader(self.view(count), structure or self.structure)

    def finish(self) -> None:
        """Check that nothing is left.

        Raises:
            DecodeError: there is.
        """
        if self.remaining:
            raise DecodeError(f"{self.structure}: {self.remaining} bytes too many")

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()


# The bridge to construct. Definitions are interpreted, never `.compile()`d: compiled parsers accept truncated input.


def parse_with(definition: Construct[Any, Any], data: Buffer, structure: str) -> tuple[Any, bytes]:
    """Parse `data` by a construct definition.

    Returns:
        what construct made of it (a ``Container`` for a ``Struct``), and the bytes behind it.

    Raises:
        DecodeError: in place of any ConstructError.
    """
    stream = BytesIO(data)
    try:
        parsed = definition.parse_stream(stream)
    except ConstructError as error:
        raise DecodeError(f"{structure}: {_one_line(error)}") from error
    return parsed, stream.read()


def build_with(definition: Construct[Any, Any], values: Mapping[str, Any], structure: str) -> bytes:
    """Build bytes by a construct definition.

    Raises:
        LocalProtocolError: in place of any ConstructError.
    """
    try:
        return definition.build(values)
    except ConstructError as error:
        raise LocalProtocolError(f"{structure}: {_one_line(error)}") from error


def _one_line(error: ConstructError) -> str:
    return " ".join(str(error).split())


# Field helpers for attrs classes. They return Any because they stand where the annotation names the type.


def integer(low: int, high: int, kind: str) -> Callable[..., Any]:
    """A field helper as `uint8` is: for `low` to `high`, named `kind` in reasons."""

    def check(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if not (isinstance(value, int) and low <= value <= high):
            raise LocalProtocolError(f"{type(instance).__name__}.{attribute.name}: {value!r} is not a {kind}")

    def check_optional(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is not None:
            check(instance, attribute, value)

    def helper(*, optional: bool = False, **options: Any) -> Any:
        if optional:
            options.setdefault("default", None)
        return attrs.field(validator=check_optional if optional else check, **options)

    helper.__name__ = helper.__qualname__ = kind
    helper.__doc__ = f"""An attrs field for {low} to {high}.

    Args:
        optional: the field may be None (absent), which is its default.
        options: as for `attrs.field`.
    """
    return helper


uint3 = integer(0, 7, "uint3")
uint4 = integer(0, 15, "uint4")
uint8 = integer(0, 0xFF, "uint8")
uint16 = integer(0, 0xFFFF, "uint16")
uint32 = integer(0, 0xFFFFFFFF, "uint32")
uint64 = integer(0, 0xFFFFFFFFFFFFFFFF, "uint64")
int8 = integer(-0x80, 0x7F, "int8")
int16 = integer(-0x8000, 0x7FFF, "int16")
int32 = integer(-0x80000000, 0x7FFFFFFF, "int32")


def required(**options: Any) -> Any:
    """An attrs field without default, which may stand behind fields made by the helpers above: to mypy, which knows
    only `attrs.field` itself, those have defaults."""
    return attrs.field(**options)


def fixed_bytes(size: int, *, optional: bool = False, **options: Any) -> Any:
    """An attrs field for exactly `size` bytes; with `optional` it may be None, which is its default then."""

    def check(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if optional and value is None:
            return
        if not (isinstance(value, bytes) and len(value) == size):  # the value stays out of the reason: secrets
            raise LocalProtocolError(f"{type(instance).__name__}.{attribute.name}: not {size} bytes")

    if optional:
        options.setdefault("default", None)
    return attrs.field(validator=check, **options)


def bounded_bytes(limit: int, *, optional: bool = False, **options: Any) -> Any:
    """An attrs field for up to `limit` bytes; with `optional` it may be None, which is its default then."""

    def check(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if optional and value is None:
            return
        if not (isinstance(value, bytes) and len(value) <= limit):
            raise LocalProtocolError(f"{type(instance).__name__}.{attribute.name}: not up to {limit} bytes")

    if optional:
        options.setdefault("default", None)
    return attrs.field(validator=check, **options)


def bounded_text(limit: int, *, encoding: str = "utf-16-le", optional: bool = False, **options: Any) -> Any:
    """An attrs field for a text of up to `limit` bytes in its encoding, terminator not counted, without NUL.

    Args:
        limit: bytes, not characters: that is how the wire counts.
        encoding: of the wire.
        optional: the field may be None (absent), which is its default.
        options: as for `attrs.field`.
    """

    def check(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if optional and value is None:
            return
        name = f"{type(instance).__name__}.{attribute.name}"
        if not isinstance(value, str) or "\0" in value:
            raise LocalProtocolError(f"{name}: not a text without NUL")
        try:
            size = len(value.encode(encoding))
        except UnicodeEncodeError:
            # Without its cause: a UnicodeEncodeError holds the text, which may be a secret.
            raise LocalProtocolError(f"{name}: cannot be written in {encoding}") from None
        if size > limit:
            raise LocalProtocolError(f"{name}: {size} bytes in {encoding}, {limit} fit")

    if optional:
        options.setdefault("default", None)
    return attrs.field(validator=check, **options)


# Texts on the wire


def utf16_text(data: Buffer) -> str:
    """UTF-16LE bytes up to their first NUL, or all of them, as text.

    What is not valid becomes U+FFFD: clients cut names at a number of code units, through a surrogate pair if need be.
    """
    return bytes(data).decode("utf-16-le", "replace").partition("\0")[0]


def utf16_bytes(text: str, size: int | None = None) -> bytes:
    """`text` in UTF-16LE with its two-byte NUL; or, with `size`, padded by NULs to `size` bytes.

    Raises:
        LocalProtocolError: with `size`, the text and one NUL do not fit.
    """
    return _terminated(text.encode("utf-16-le"), b"\0\0", size)


def ansi_text(data: Buffer) -> str:
    """8-bit bytes up to their first NUL, or all of them, as text: one character a byte, so that nothing is lost."""
    return bytes(data).partition(b"\0")[0].decode("latin-1")


def ansi_bytes(text: str, size: int | None = None) -> bytes:
    """`text`, one byte a character, with its NUL; or, with `size`, padded by NULs to `size` bytes.

    Raises:
        LocalProtocolError: a character has no byte, or, with `size`, the text and one NUL do not fit.
    """
    try:
        return _terminated(text.encode("latin-1"), b"\0", size)
    except UnicodeEncodeError:
        raise LocalProtocolError("a text has characters that are not 8-bit") from None


def _terminated(encoded: bytes, terminator: bytes, size: int | None) -> bytes:
    if size is None:
        return encoded + terminator
    if len(encoded) + len(terminator) > size:
        raise LocalProtocolError(f"a text of {len(encoded)} bytes and its NUL do not fit into {size}")
    return encoded.ljust(size, b"\0")


# Codes on the wire

_Code = TypeVar("_Code", bound=IntEnum)


def known(kind: type[_Code], value: int) -> _Code | int:
    """`value` as a member of `kind`, or as it is: a code that we do not know is not an error by itself."""
    try:
        return kind(value)
    except ValueError:
        return value
