"""Auto-reconnect: the packet that a server gives out, and the one by which a client comes back without credentials.

The server's packet rides in Save Session Info (`session.LogonInfoExtended`), the client's in Client Info
(`client_info.ClientInfo`). Source: [MS-RDPBCGR] 2.2.4 "Auto-Reconnect Sequence", 5.5 "Automatic Reconnection".
"""

from __future__ import annotations

from typing import Any, ClassVar

import attrs
from construct import Bytes, Const, Construct, Int32ul, Struct

from rdpprov.wire.base import fixed_bytes, uint32
from rdpprov.wire.rdp.share import LaidOut

AUTO_RECONNECT_VERSION_1 = 1
AUTO_RECONNECT_COOKIE_SIZE = 28
"""Bytes of either packet."""
CLIENT_RANDOM_OF_ENHANCED_SECURITY = bytes(32)
"""Fact 73: under TLS there is no client random, and the verifier is computed over 32 zero bytes instead."""


class _PrivatePacket(LaidOut):
    """What the two packets have in common: the fields before the last one, which have a single legal value."""

    __slots__ = ()

    @property
    def cb_len(self) -> int:
        """cbLen: 28."""
        return AUTO_RECONNECT_COOKIE_SIZE

    @property
    def version(self) -> int:
        """Version: AUTO_RECONNECT_VERSION_1."""
        return AUTO_RECONNECT_VERSION_1


def _layout(last_field: str) -> Construct[Any, Any]:
    return Struct(
        "cb_len" / Const(AUTO_RECONNECT_COOKIE_SIZE, Int32ul),
        "version" / Const(AUTO_RECONNECT_VERSION_1, Int32ul),
        "logon_id" / Int32ul,
        last_field / Bytes(16),
    )


@attrs.frozen
class ServerAutoReconnectPacket(_PrivatePacket):
    """ARC_SC_PRIVATE_PACKET: what lets the client come back without credentials. 28 bytes.

    Under TLS it is a bearer secret, see CLIENT_RANDOM_OF_ENHANCED_SECURITY: single use, short life.

    Source: [MS-RDPBCGR] 2.2.4.2 "Server Auto-Reconnect Packet".
    """

    LAYOUT: ClassVar[Construct[Any, Any]] = _layout("arc_random_bits")

    logon_id: int = uint32()
    """The session."""
    arc_random_bits: bytes = fixed_bytes(16, repr=False, metadata={"secret": True})
    """The key of the verifier."""


@attrs.frozen
class ClientAutoReconnectPacket(_PrivatePacket):
    """ARC_CS_PRIVATE_PACKET: a client coming back. 28 bytes.

    Source: [MS-RDPBCGR] 2.2.4.3 "Client Auto-Reconnect Packet".
    """

    LAYOUT: ClassVar[Construct[Any, Any]] = _layout("security_verifier")

    logon_id: int = uint32()
    """The session."""
    security_verifier: bytes = fixed_bytes(16, repr=False, metadata={"secret": True})
    """HMAC-MD5 of the client random, with ArcRandomBits as the key; to be compared in constant time."""
