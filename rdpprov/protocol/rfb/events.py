"""What the RFB machines tell their owner: one event at a time, from `next_event`.

An event tells what has already happened on the wire; if it had to be answered, the answer is queued in `data_to_send`,
unless the event says that the owner answers. `NEED_DATA` and `PAUSED` are results of `next_event` too, and no events.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

import attrs

if TYPE_CHECKING:
    from rdpprov.api.devices import Rectangle
    from rdpprov.security.ra2 import Ra2Cipher
    from rdpprov.wire.rfb.handshake import SecurityType, VencryptSubtype
    from rdpprov.wire.rfb.pixel_format import PixelFormat
    from rdpprov.wire.rfb.rsa_aes import RsaPublicKey
    from rdpprov.wire.rfb.screens import ResizeReason, ResizeStatus, ScreenArea


# Both sides


@attrs.frozen
class SecurityChosen:
    """How the client proves who it is, and what protects the stream. Inside TLS this comes when TLS stands."""

    security_type: SecurityType
    vencrypt_subtype: VencryptSubtype | None = None


@attrs.frozen
class StartTls:
    """TLS comes next. Send what is queued, do the handshake (the client speaks first), call `tls_established`; what
    came beyond is `trailing_data` and belongs to TLS. The machine is paused until then."""

    vencrypt_subtype: VencryptSubtype
    """Whether TLS is anonymous (then it is 1.2 at most) or has a certificate: `VencryptSubtype.anonymous_tls`."""


@attrs.frozen
class StartRecords:
    """RSA-AES: all that follows is encrypted. Send what is queued, put `rdpprov.security.ra2.RecordLayer` between the
    stream and the machine, call `records_established`; what came beyond is `trailing_data` and belongs to the layer.
    The machine is paused until then."""

    cipher: Ra2Cipher = attrs.field(repr=False)


@attrs.frozen
class FenceRequested:
    """The peer wants to know when we have come so far. Deal with all earlier events, and for BLOCK_BEFORE with what
    they set going, then call ``answer_fence(event)``. With SYNC_NEXT the event comes right behind that of the next
    message, which is to take effect at the answer and no sooner: an owner that takes all events before it sends does
    so."""

    flags: int
    """`FenceFlags` that we know, without REQUEST."""
    payload: bytes


@attrs.frozen
class FenceAnswered:
    """The peer has come to a fence of ours."""

    flags: int
    payload: bytes


@attrs.frozen
class CutTextReceived:
    """The peer's clipboard, in whichever form it came; lines end by LF."""

    text: str = attrs.field(repr=False)


@attrs.frozen
class CutTextDropped:
    """The peer's clipboard is longer than we take, or holds no text."""

    size: int
    """Bytes that came."""


@attrs.frozen
class ClipboardCapsReceived:
    """What the peer's extended clipboard can do; `send_clipboard` takes care of it."""

    actions: int
    sizes: Mapping[int, int]


@attrs.frozen
class ClipboardOffered:
    """The peer has something new on its clipboard: ask by `request_clipboard`, at once or when somebody pastes."""

    formats: int
    """`ClipboardFormat`; 0: the clipboard is empty."""


@attrs.frozen
class ClipboardRequested:
    """The peer pastes: answer by `provide_clipboard`."""

    formats: int


# What a server sees


@attrs.frozen
class Refused:
    """The client was refused before it could prove anything; the reason is queued. Send it, close."""

    reason: str


@attrs.frozen
class ChallengeAnswered:
    """The client answered the challenge: `rdpprov.security.vnc_auth.check_vnc_response`, then `accept` or `refuse`.
    The machine is paused until then."""

    challenge: bytes = attrs.field(repr=False)
    response: bytes = attrs.field(repr=False)


@attrs.frozen
class CredentialsOffered:
    """The client brought name and password: `accept` or `refuse`. The machine is paused until then."""

    name: str
    """Empty if only a password was asked for."""
    password: str = attrs.field(repr=False, metadata={"secret": True})


@attrs.frozen
class ClientInitReceived:
    """The client is in; `start` shows it a desktop. The machine is paused until then."""

    shared: bool
    """False: it wants to be the only viewer."""


@attrs.frozen
class PixelFormatChanged:
    """What is encoded from now on has this format: pixels and cursors. All of the screen is damaged."""

    pixel_format: PixelFormat


@attrs.frozen
class EncodingsChanged:
    """What the client can take has changed, and is in the machine's properties."""

    encodings: tuple[int, ...]
    """`Encoding` and others, best first, without repetition."""


@attrs.frozen
class UpdateRequested:
    """The client wants to see an area. One update answers all requests so far."""

    incremental: bool
    """False: send all of the area, changed or not; and tell a client of ExtendedDesktopSize the size first."""
    area: Rectangle
    """Inside the desktop; may be empty, and still be answered by what is no pixel."""


@attrs.frozen
class KeyReceived:
    """A key went down or up."""

    pressed: bool
    keysym: int
    """What the key makes, as X11 numbers it; 0 if unknown."""
    keycode: int | None = None
    """Where the key is, if the client said so: scan code of set 1, with 0x80 for prefix E0; 0 if it does not know."""


@attrs.frozen
class PointerReceived:
    """Where the pointer is, and which buttons are down."""

    buttons: int
    """Bit n is button n + 1: left, middle, right, wheel up, down, left, right, back, forward."""
    x: int
    """Inside the desktop."""
    y: int


@attrs.frozen
class ContinuousUpdatesChanged:
    """The client wants updates without requests, or no more. When off: finish or drop what is being encoded, then call
    `send_end_of_continuous_updates`, at once and also if they were off."""

    area: Rectangle | None
    """Inside the desktop; None: off."""


@attrs.frozen
class DesktopSizeRequested:
    """The client wants another size; answer each by `send_desktop_size` with reason THIS_CLIENT, promptly."""

    width: int
    height: int
    screens: tuple[ScreenArea, ...]
    problem: str = ""
    """Why these screens make no desktop of that size: then the answer is INVALID_LAYOUT. Empty: they do."""


ServerEvent: TypeAlias = (
    Refused
    | SecurityChosen
    | StartTls
    | StartRecords
    | ChallengeAnswered
    | CredentialsOffered
    | ClientInitReceived
    | PixelFormatChanged
    | EncodingsChanged
    | UpdateRequested
    | KeyReceived
    | PointerReceived
    | CutTextReceived
    | CutTextDropped
    | ClipboardCapsReceived
    | ClipboardOffered
    | ClipboardRequested
    | ContinuousUpdatesChanged
    | FenceRequested
    | FenceAnswered
    | DesktopSizeRequested
)


# What a client sees


@attrs.frozen
class ServerKeyReceived:
    """RSA-AES: the server's public key. Whoever knows it, or asks somebody (`rdpprov.security.ra2.fingerprint`), calls
    ``trust_server``. The machine is paused until then, and has said nothing yet that anybody could use."""

    key: RsaPublicKey


@attrs.frozen
class ServerInitReceived:
    """The desktop. The session runs."""

    width: int
    height: int
    pixel_format: PixelFormat
    """Which pixels have until the client asks for another."""
    name: str


@attrs.frozen
class UpdateBegun:
    """A FramebufferUpdate; its rectangles follow one by one."""

    count: int | None
    """None: until LastRect."""


@attrs.frozen
class RectangleReceived:
    """Pixels, still encoded: `rdpprov.protocol.rfb.pictures.RectangleDecoder` decodes them."""

    area: Rectangle
    encoding: int
    data: bytes = attrs.field(repr=False)
    pixel_format: PixelFormat
    """Of these pixels."""


@attrs.frozen
class CursorReceived:
    """The pointer's shape, as it came."""

    hot_x: int
    hot_y: int
    width: int
    """0 by 0: no pointer."""
    height: int
    encoding: int
    """CURSOR, CURSOR_WITH_ALPHA or VMWARE_CURSOR: `rdpprov.protocol.rfb.pictures.pointer_shape` reads them."""
    data: bytes = attrs.field(repr=False)
    pixel_format: PixelFormat


@attrs.frozen
class PointerMoved:
    """The server moved the pointer."""

    x: int
    y: int


@attrs.frozen
class LedStateReceived:
    """Which lock keys are on."""

    state: int
    """`LedState`."""


@attrs.frozen
class DesktopResized:
    """The desktop's size, or what became of the wish for one. If it changed, everything is damaged."""

    width: int
    height: int
    screens: tuple[ScreenArea, ...] = ()
    reason: ResizeReason | int = 0
    status: ResizeStatus | int = 0


@attrs.frozen
class DesktopRenamed:
    """The desktop's name."""

    name: str


@attrs.frozen
class ServerFeature:
    """The server confirmed a pseudo-encoding: QEMU_KEY_EVENT, EXTENDED_MOUSE_BUTTONS."""

    encoding: int


@attrs.frozen
class UpdateEnded:
    """The last rectangle of an update was the last event."""


@attrs.frozen
class ColourMapChanged:
    """What pixels of a format with a colour map mean."""

    first: int
    colours: tuple[tuple[int, int, int], ...]
    """Red, green, blue, 16 bits each."""


@attrs.frozen
class BellRang:
    """Beep."""


@attrs.frozen
class ContinuousUpdatesEnded:
    """At first: they are possible. Later: they are off, and what follows was asked for."""


ClientEvent: TypeAlias = (
    SecurityChosen
    | StartTls
    | ServerKeyReceived
    | StartRecords
    | ServerInitReceived
    | UpdateBegun
    | RectangleReceived
    | CursorReceived
    | PointerMoved
    | LedStateReceived
    | DesktopResized
    | DesktopRenamed
    | ServerFeature
    | UpdateEnded
    | ColourMapChanged
    | BellRang
    | CutTextReceived
    | CutTextDropped
    | ClipboardCapsReceived
    | ClipboardOffered
    | ClipboardRequested
    | ContinuousUpdatesEnded
    | FenceRequested
    | FenceAnswered
)
