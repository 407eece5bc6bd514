"""What the RDP machines tell their owner: one event at a time, from `next_event`.

An event tells what has already happened on the wire; if it had to be answered, the answer is queued in `data_to_send`.
Two results of `next_event` are not events: `rdpprov.protocol.events.NEED_DATA` (no complete PDU is buffered; give more
bytes) and `PAUSED` (the owner must act; the machine's `state` says how).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

import attrs

from rdpprov.api.devices import InputEvent, PointerShape, Rectangle

if TYPE_CHECKING:
    from rdpprov.wire.rdp.capabilities import CapabilitySet
    from rdpprov.wire.rdp.client_info import ClientInfo
    from rdpprov.wire.rdp.gcc import ClientClusterData, ClientCoreData, ClientNetworkData
    from rdpprov.wire.rdp.nego import NegotiationFailureCode


# Both sides


@attrs.frozen
class StartTls:
    """The negotiation chose TLS. Server: send what is queued, do the handshake, call `tls_established`; what came
    beyond the negotiation is `trailing_data` and belongs to TLS. Client: the same. The machine is paused until then."""


@attrs.frozen
class ChannelDataReceived:
    """A whole message on a static virtual channel that the owner opened."""

    channel_id: int
    data: bytes = attrs.field(repr=False)


@attrs.frozen
class Disconnected:
    """The peer ended the connection in an orderly way; nothing more comes. [MS-RDPBCGR] 2.2.2.3 "MCS Disconnect
    Provider Ultimatum PDU"."""

    reason: int | None
    """rn-...: 3 is "user requested", 1 "provider initiated"; None for an X.224 Disconnect Request."""


# What a server sees


@attrs.frozen
class NegotiationRefused:
    """No security protocol is common; the refusal is queued. Send it, and nothing else (fact 1: Windows 7 misreads any
    extra byte), half-close, wait a moment for the client to close, close."""

    failure_code: NegotiationFailureCode


@attrs.frozen
class McsConnected:
    """The client's Connect Initial has come and is answered: what it said about itself."""

    core: ClientCoreData
    cluster: ClientClusterData | None
    network: ClientNetworkData | None


@attrs.frozen
class ClientInfoReceived:
    """The client's logon information; the last thing before licensing. The machine is paused until the owner has called
    `complete_licensing` and `activate`."""

    info: ClientInfo = attrs.field(repr=False)


@attrs.frozen
class CapabilitiesConfirmed:
    """Confirm Active has come: the client's capability sets by type. Synchronize and Cooperate are queued."""

    capabilities: Mapping[int, CapabilitySet]


@attrs.frozen
class Activated:
    """Server: Font Map is queued. Client: Font Map has come. Output, and input that counts, flow from now on. Once for
    each activation."""


@attrs.frozen
class InputReceived:
    """What the user did, in order. Coordinates are inside the desktop; successive moves of one PDU are one move."""

    events: tuple[InputEvent, ...]


@attrs.frozen
class RefreshRequested:
    """Refresh Rect: the client wants these parts again. They are clipped and not empty."""

    rectangles: tuple[Rectangle, ...]


@attrs.frozen
class OutputSuppressed:
    """Suppress Output: the client shows nothing now, or shows again and wants all of it. The owner debounces (fact
    45: mstsc sends a stop in its own handshake; obeyed at once it leaves a black desktop)."""

    suppressed: bool
    rectangle: Rectangle | None = None
    """What it shows again; None with a stop."""


@attrs.frozen
class ShutdownRequested:
    """The user closed the client's window; from Confirm Active on. Answer by `send_shutdown_denied` (somebody is logged
    on: the client asks its user and comes back with a disconnect) or by `disconnect`."""


@attrs.frozen
class FrameAcknowledged:
    """The client has shown frames up to this one. 0xFFFFFFFF: it acknowledges no more (INP-12)."""

    frame_id: int


ServerEvent: TypeAlias = (
    NegotiationRefused
    | StartTls
    | McsConnected
    | ClientInfoReceived
    | CapabilitiesConfirmed
    | Activated
    | InputReceived
    | RefreshRequested
    | OutputSuppressed
    | ShutdownRequested
    | FrameAcknowledged
    | ChannelDataReceived
    | Disconnected
)


# What a client sees


@attrs.frozen
class Licensed:
    """Licensing is over, by the valid-client alert."""


@attrs.frozen
class DemandActiveReceived:
    """The server has named the desktop; Confirm Active and the whole finalization batch are queued."""

    width: int
    height: int
    color_depth: int
    capabilities: Mapping[int, CapabilitySet] = attrs.field(repr=False)


@attrs.frozen
class ReceivedBitmap:
    """One rectangle of a bitmap update, still encoded. Bounds are pixels, right and bottom exclusive."""

    rectangle: Rectangle
    width: int
    """Of the data: may be more than the rectangle's, padded."""
    height: int
    bits_per_pixel: int
    compressed: bool
    data: bytes = attrs.field(repr=False)
    """Bottom-up rows; without TS_CD_HEADER."""


@attrs.frozen
class BitmapsReceived:
    """A bitmap update."""

    bitmaps: tuple[ReceivedBitmap, ...]


@attrs.frozen
class UpdateIgnored:
    """An update that our client does not draw: orders, palette, surface commands."""

    update_code: int
    size: int


@attrs.frozen
class PointerReceived:
    """The pointer's shape: as sent now, from the cache, or one of the system's two."""

    shape: PointerShape


@attrs.frozen
class PointerMoved:
    """The server moved the pointer."""

    x: int
    y: int


@attrs.frozen
class ErrorInfoReceived:
    """Set Error Info: why the server is going to disconnect; 0 means nothing."""

    code: int


@attrs.frozen
class SessionInfoReceived:
    """Save Session Info: the user is logged on, or (with a cookie) may come back without a password."""

    logon_id: int | None = None
    reconnect_secret: bytes | None = attrs.field(default=None, repr=False)


@attrs.frozen
class Deactivated:
    """Deactivate All: the share is gone; another Demand Active, or the end, follows."""


@attrs.frozen
class ShutdownDenied:
    """The server keeps the session; a client that still wants to leave calls `disconnect`."""


ClientEvent: TypeAlias = (
    StartTls
    | Licensed
    | DemandActiveReceived
    | Activated
    | BitmapsReceived
    | UpdateIgnored
    | PointerReceived
    | PointerMoved
    | ErrorInfoReceived
    | SessionInfoReceived
    | Deactivated
    | ShutdownDenied
    | ChannelDataReceived
    | Disconnected
)
