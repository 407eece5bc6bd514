"""The preconnection PDU, which may come before everything else. Source: [MS-RDPEPS] 2.2.1."""

from __future__ import annotations

from struct import Struct
from typing import Any

import attrs
import construct

from rdpprov.wire.base import (
    Buffer,
    DecodeError,
    bounded_text,
    build_with,
    parse_with,
    uint32,
    utf16_bytes,
    utf16_text,
)

PRECONNECTION_PDU_V1 = 1
PRECONNECTION_PDU_V2 = 2
PRECONNECTION_MAXIMUM = 8192
"""The largest cbSize that is taken."""
_PCB_MAXIMUM = PRECONNECTION_MAXIMUM - 20  # fixed part, cchPCB, NUL

_SIZE = Struct("<I")
_DEFINITION = construct.Struct(
    "flags" / construct.Int32ul,
    "version" / construct.Int32ul,
    "id" / construct.Int32ul,
    "pcb"
    / construct.If(
        construct.this.version == PRECONNECTION_PDU_V2,
        construct.Prefixed(
            construct.ExprAdapter(
                construct.Int16ul,
                lambda units, _: units * 2,
                lambda size, _: size // 2,  # cchPCB counts UTF-16 units
            ),
            construct.GreedyBytes,
        ),
    ),
)


def preconnection_length(buffer: Buffer) -> int | None:
    """cbSize of the PDU that `buffer` begins with, or None: wait for more bytes.

    Raises:
        DecodeError: a size that no such PDU has.
    """
    if len(buffer) < _SIZE.size:
        return None
    size: int = _SIZE.unpack_from(buffer)[0]
    if not 16 <= size <= PRECONNECTION_MAXIMUM or size == 17:
        raise DecodeError(f"RDP_PRECONNECTION_PDU: cbSize {size}, expected 16, or 18 to {PRECONNECTION_MAXIMUM}")
    return size


@attrs.frozen
class PreconnectionPdu:
    """RDP_PRECONNECTION_PDU_V1, RDP_PRECONNECTION_PDU_V2: names the machine behind a shared address, before X.224.

    Recognised by its first byte not being 3. Source: [MS-RDPEPS] 2.2.1.1, 2.2.1.2.
    """

    id: int = uint32()
    """Id: which of the sources behind the listener; at the server's discretion."""
    pcb: str | None = bounded_text(_PCB_MAXIMUM, optional=True)
    """wszPCB: the preconnection blob, for example the name of a virtual machine; None: version 1."""
    flags: int = uint32(default=0)
    """Zero; kept as received, ignored."""

    @property
    def version(self) -> int:
        """Version: 1 without a blob, 2 with one."""
        return PRECONNECTION_PDU_V1 if self.pcb is None else PRECONNECTION_PDU_V2

    def pack(self) -> bytes:
        """cbSize bytes."""
        values: dict[str, Any] = {"flags": self.flags, "version": self.version, "id": self.id, "pcb": None}
        if self.pcb is not None:
            values["pcb"] = utf16_bytes(self.pcb)
        body = build_with(_DEFINITION, values, "RDP_PRECONNECTION_PDU")
        return _SIZE.pack(_SIZE.size + len(body)) + body

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[PreconnectionPdu, bytes]:
        """The PDU and what follows it. On a stream, ask `preconnection_length` first.

        Raises:
            DecodeError: sizes that do not fit, or an unknown version.
        """
        size = preconnection_length(data)
        if size is None or size > len(data):
            raise DecodeError(f"RDP_PRECONNECTION_PDU: needs {size or _SIZE.size} bytes, {len(data)} left")
        view = memoryview(data)
        parsed, _ = parse_with(_DEFINITION, view[_SIZE.size : size], "RDP_PRECONNECTION_PDU")
        if parsed.version not in (PRECONNECTION_PDU_V1, PRECONNECTION_PDU_V2):
            raise DecodeError(f"RDP_PRECONNECTION_PDU: version {parsed.version}, expected 1 or 2")
        pcb = None if parsed.pcb is None else utf16_text(parsed.pcb[:_PCB_MAXIMUM])
        return cls(parsed.id, pcb, parsed.flags), bytes(view[size:])
