"""The server's end of an RDP connection, from the first byte to the last, without I/O.

`RdpServerMachine` is a row of smaller machines, one for each part of the standard (`negotiation`, `mcs`,
`secure_settings`, `activation`), over one splitter of units (`framing`). `STAGES` says what each stage waits for, how
much it buffers, and which machine takes what comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Protocol

import attrs

from rdpprov.api.devices import PointerShape
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import LocalProtocolError
from rdpprov.protocol.rdp.events import NEED_DATA, NeedData, Paused, ServerEvent
from rdpprov.wire.rdp.nego import Protocols


class ServerState(Enum):
    """What the server's machine waits for."""

    EXPECT_CONNECTION_REQUEST = "client: X.224 Connection Request"
    EXPECT_TLS = "owner: tls_established()"
    EXPECT_CONNECT_INITIAL = "client: MCS Connect Initial"
    CHANNEL_CONNECTION = "client: Erect Domain, Attach User, Channel Joins, then Client Info"
    LICENSING = "owner: complete_licensing()"
    EXPECT_ACTIVATE = "owner: activate()"
    EXPECT_CONFIRM_ACTIVE = "client: Confirm Active"
    FINALIZATION = "client: Synchronize, Cooperate, Request Control, Font List"
    ACTIVE = "anybody: input, output"
    REFUSED = "nobody: the negotiation failed, or licensing did"
    DISCONNECTED = "nobody: the connection was ended in an orderly way"
    ERROR = "nobody: the client broke the protocol"


@attrs.frozen
class ServerOptions:
    """What a server decides for all its connections. Frozen and hashable: bytes built from it are kept."""

    allowed_protocols: Protocols = Protocols.PROTOCOL_SSL
    """Security protocols that may be chosen."""
    max_desktop: tuple[int, int] = (8192, 8192)
    """Width and height in pixels to which a client's wish is clamped (GCC-07)."""
    min_desktop: tuple[int, int] = (200, 200)
    auto_reconnect: bool = True
    """Announce AUTORECONNECT_SUPPORTED: the owner sends cookies by `send_save_session_info`."""
    source_descriptor: str = "RDP"
    large_pointers: bool = True
    """Announce pointers of up to 384×384."""
    multifragment_size: int = 608_299
    """MaxRequestSize that we announce; our output obeys the client's own number (fact 34, 35)."""
    skip_channel_join: bool = True
    """Agree to leave out the channel joins with clients that can (fact 19)."""
    message_channel: bool = False
    """Grant the message channel to clients that ask for it; nothing is sent on it yet (GCC-17)."""


class EncodedBitmap(Protocol):
    """A rectangle of pixels in a client's format, as `encoding` makes it."""

    left: int
    top: int
    right: int
    """Exclusive."""
    bottom: int
    width: int
    height: int
    bits_per_pixel: int
    compressed: bool
    data: bytes


class RdpServerMachine:
    """One client's connection, as the server sees it."""

    def __init__(self, options: ServerOptions) -> None:
        self.options = options
        self.state = ServerState.EXPECT_CONNECTION_REQUEST

    # Bytes

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the client: of the TCP stream first, of the TLS stream after `tls_established`."""

    def data_to_send(self) -> bytes:
        """Everything queued for the client, which is then no longer queued."""
        return b""

    def take_trailing_data(self) -> bytes:
        """While paused for TLS: what came beyond the negotiation, and belongs to TLS."""
        return b""

    def next_event(self) -> ServerEvent | NeedData | Paused:
        """Take one event out of the bytes received so far.

        Raises:
            RemoteProtocolError: the client broke the protocol. Its ``errinfo`` may be sent by `send_set_error_info`;
                the machine stays in ERROR.
        """
        return NEED_DATA

    # Told by the owner

    def tls_established(self) -> None:
        """After `StartTls`: bytes received and sent are those inside TLS from now on."""

    def complete_licensing(self, success: bool) -> None:
        """After `ClientInfoReceived`: queue the valid-client alert, or the alert that ends the connection."""

    def activate(self, width: int, height: int, color_depth: int) -> None:
        """Queue Demand Active: after `complete_licensing`, and again after `deactivate` with another size."""

    def deactivate(self) -> None:
        """Queue Deactivate All; `activate` is next."""

    def send_bitmap_updates(self, bitmaps: Iterable[EncodedBitmap]) -> None:
        """Queue bitmaps, one update each (fact 44), joined into as few PDUs as they fit."""

    def send_pointer_shape(self, shape: PointerShape) -> None:
        """Queue the pointer's shape: system, cached, new or large, as the client can take it."""

    def send_pointer_position(self, x: int, y: int) -> None:
        """Queue a move of the client's pointer."""

    def send_set_error_info(self, code: ErrInfo) -> bool:
        """Queue Set Error Info, if a share exists and the client announced it.

        Returns:
            whether it could be sent.
        """
        return False

    def send_shutdown_denied(self) -> None:
        """Answer `ShutdownRequested`: the session survives, the client may still leave."""

    def send_save_session_info(
        self, *, user_name: str, domain: str, session_id: int, reconnect_secret: bytes | None = None
    ) -> None:
        """Queue what the client should know about the logon.

        Args:
            reconnect_secret: 16 random bytes of the auto-reconnect cookie, which names `session_id`.
        """

    def send_status_info(self, code: int) -> bool:
        """Queue a Server Status Info, if the client announced it."""
        return False

    def send_auto_reconnect_status(self) -> None:
        """Queue "automatic reconnection has failed" (ARC-05)."""

    def disconnect(self, user_requested: bool) -> None:
        """Queue the Disconnect Provider Ultimatum: reason "user requested" or "provider initiated" (MCS-08)."""

    # Static virtual channels

    def open_channel(self, name: str) -> int | None:
        """Ask for the messages of a channel that the client announced.

        Returns:
            its id; None if the client has no such channel.
        """
        return None

    def close_channel(self, channel_id: int) -> None:
        """Drop what comes on the channel from now on."""

    def send_channel_data(self, channel_id: int, data: bytes) -> None:
        """Queue one message, cut into chunks of the client's size."""

    # What the client said; None until it did

    @property
    def channels(self) -> Mapping[str, int]:
        """Channel ids by name."""
        return {}

    def _illegal(self, call: str) -> LocalProtocolError:
        return LocalProtocolError(f"{call} while waiting for {self.state.value}")

    negotiation_request: Any = None
    selected_protocol: Any = None
    client_core: Any = None
    client_cluster: Any = None
    client_network: Any = None
    client_info: Any = None
    client_capabilities: Mapping[int, Any] | None = None
