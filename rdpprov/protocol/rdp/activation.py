"""The share: capability exchange, finalization, and the control PDUs of an active session; the server's end.

The server announces its capabilities in Demand Active. The client answers by Confirm Active, then sends Synchronize,
Control (Cooperate), Control (Request Control) and Font List, and each of them has its answer. Then output flows. A new
desktop size takes Deactivate All, and the whole sequence again with a new share.

Source: [MS-RDPBCGR] 1.3.1.1 "Capabilities Exchange" and "Connection Finalization", 1.3.1.3
"Deactivation-Reactivation Sequence", 3.3.5.3.13 to 3.3.5.3.24.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias

from rdpprov.api.devices import Rectangle
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import LocalProtocolError, RemoteProtocolError
from rdpprov.protocol.rdp.events import (
    Activated,
    CapabilitiesConfirmed,
    FrameAcknowledged,
    InputReceived,
    OutputSuppressed,
    RefreshRequested,
    ShutdownRequested,
)
from rdpprov.protocol.rdp.input import InputReader
from rdpprov.protocol.rdp.output import POINTER_CACHE_SIZE
from rdpprov.wire.rdp.capabilities import (
    BitmapCapabilitySet,
    CapabilitySet,
    ColorCacheCapabilitySet,
    ConfirmActive,
    DemandActive,
    ExtraFlags,
    FontCapabilitySet,
    GeneralCapabilitySet,
    InputCapabilitySet,
    InputFlags,
    LargePointerCapabilitySet,
    LargePointerSupportFlags,
    MultifragmentUpdateCapabilitySet,
    OrderCapabilitySet,
    PointerCapabilitySet,
    ShareCapabilitySet,
    UnknownCapabilitySet,
    VirtualChannelCapabilitySet,
)
from rdpprov.wire.rdp.finalization import (
    Control,
    ControlAction,
    FontList,
    FontMap,
    Synchronize,
)
from rdpprov.wire.rdp.output_control import InclusiveRectangle, RefreshRect, SuppressOutput
from rdpprov.wire.rdp.session import FrameAcknowledge, ShutdownDenied
from rdpprov.wire.rdp.share import (
    SERVER_CHANNEL_ID,
    CompressedType,
    DeactivateAll,
    FlowPdu,
    PduType,
    PduType2,
    ShareControlPdu,
    ShareDataBody,
    ShareDataPdu,
    UnknownPduType2Error,
    pack_share_control,
    pack_share_data,
    unpack_share_pdu,
)

if TYPE_CHECKING:
    from rdpprov.protocol.rdp.mcs import McsServerMachine
    from rdpprov.protocol.rdp.server import ServerOptions

COLOR_DEPTHS: Final = (15, 16, 24, 32)
"""Bits per pixel that a session may have. 8, which needs a palette, is not supported."""


class ActivationState(Enum):
    """What the share waits for."""

    INACTIVE = "owner: activate()"
    EXPECT_CONFIRM_ACTIVE = "client: Confirm Active"
    EXPECT_SYNCHRONIZE = "client: Synchronize"
    EXPECT_COOPERATE = "client: Control (Cooperate)"
    EXPECT_REQUEST_CONTROL = "client: Control (Request Control)"
    EXPECT_FONT_LIST = "client: Font List"
    ACTIVE = "anybody: input, output"
    ERROR = "nobody: the client broke the protocol"


class Step(Enum):
    """What a client can say about the share."""

    CONFIRM_ACTIVE = "Confirm Active"
    SYNCHRONIZE = "Synchronize"
    COOPERATE = "Control (Cooperate)"
    REQUEST_CONTROL = "Control (Request Control)"
    GRANTED_CONTROL = "Control (Granted Control)"
    DETACH = "Control (Detach)"
    PERSISTENT_KEY_LIST = "Persistent Key List"
    FONT_LIST = "Font List"
    INPUT = "Input"
    FAST_PATH_INPUT = "Fast-Path Input"
    REFRESH_RECT = "Refresh Rect"
    SUPPRESS_OUTPUT = "Suppress Output"
    SHUTDOWN_REQUEST = "Shutdown Request"
    FRAME_ACKNOWLEDGE = "Frame Acknowledge"
    CACHE_ERROR = "Bitmap Cache Error, Offscreen Cache Error, ..."


_State = ActivationState

# All the legal moves that have an effect, [MS-RDPBCGR] 1.3.1.1 "Connection Finalization".
ACTIVATION_SERVER_TRANSITIONS: Final = {
    (_State.EXPECT_CONFIRM_ACTIVE, Step.CONFIRM_ACTIVE): _State.EXPECT_SYNCHRONIZE,
    (_State.EXPECT_SYNCHRONIZE, Step.SYNCHRONIZE): _State.EXPECT_COOPERATE,
    (_State.EXPECT_SYNCHRONIZE, Step.COOPERATE): _State.EXPECT_REQUEST_CONTROL,  # FIN-03: Synchronize may be missing
    (_State.EXPECT_COOPERATE, Step.COOPERATE): _State.EXPECT_REQUEST_CONTROL,
    (_State.EXPECT_REQUEST_CONTROL, Step.REQUEST_CONTROL): _State.EXPECT_FONT_LIST,
    (_State.EXPECT_FONT_LIST, Step.FONT_LIST): _State.ACTIVE,
    (_State.EXPECT_SYNCHRONIZE, Step.SHUTDOWN_REQUEST): _State.EXPECT_SYNCHRONIZE,
    (_State.EXPECT_COOPERATE, Step.SHUTDOWN_REQUEST): _State.EXPECT_COOPERATE,
    (_State.EXPECT_REQUEST_CONTROL, Step.SHUTDOWN_REQUEST): _State.EXPECT_REQUEST_CONTROL,
    (_State.EXPECT_FONT_LIST, Step.SHUTDOWN_REQUEST): _State.EXPECT_FONT_LIST,
    (_State.ACTIVE, Step.INPUT): _State.ACTIVE,
    (_State.ACTIVE, Step.FAST_PATH_INPUT): _State.ACTIVE,
    (_State.ACTIVE, Step.REFRESH_RECT): _State.ACTIVE,
    (_State.ACTIVE, Step.SUPPRESS_OUTPUT): _State.ACTIVE,
    (_State.ACTIVE, Step.SHUTDOWN_REQUEST): _State.ACTIVE,
    (_State.ACTIVE, Step.FRAME_ACKNOWLEDGE): _State.ACTIVE,
}

_OUTPUT_STEPS: Final = (
    Step.INPUT,  # fact 41, FIN-05: input may come as soon as Confirm Active is sent, and does not count before Font Map
    Step.FAST_PATH_INPUT,
    Step.REFRESH_RECT,  # INP-10: these two only in the active state; fact 45: mstsc sends them in its own handshake
    Step.SUPPRESS_OUTPUT,
    Step.FRAME_ACKNOWLEDGE,  # of the share before
    Step.CACHE_ERROR,  # of caches that we never use
)
_FINALIZING: Final = (
    _State.EXPECT_SYNCHRONIZE,
    _State.EXPECT_COOPERATE,
    _State.EXPECT_REQUEST_CONTROL,
    _State.EXPECT_FONT_LIST,
)

# Legal, and without any effect. What is neither here nor above is the client's error.
ACTIVATION_SERVER_IGNORED: Final = frozenset({
    *((state, step) for state in _FINALIZING for step in _OUTPUT_STEPS),
    # FIN-04: we announce no Bitmap Cache Host Support, and have no use for the keys
    *((state, Step.PERSISTENT_KEY_LIST) for state in _FINALIZING),
    (_State.ACTIVE, Step.PERSISTENT_KEY_LIST),
    (_State.ACTIVE, Step.CACHE_ERROR),
    (_State.ACTIVE, Step.SYNCHRONIZE),
    (_State.ACTIVE, Step.FONT_LIST),  # rdesktop in its RDP 4 mode sends a first one and a last one
    (_State.ACTIVE, Step.DETACH),
    # FIN-06: between Deactivate All and Confirm Active the old share's PDUs may still be under way
    *((_State.INACTIVE, step) for step in Step),
})  # fmt: skip

_STEPS: Final = {
    PduType2.PDUTYPE2_SYNCHRONIZE: Step.SYNCHRONIZE,
    PduType2.PDUTYPE2_BITMAPCACHE_PERSISTENT_LIST: Step.PERSISTENT_KEY_LIST,
    PduType2.PDUTYPE2_FONTLIST: Step.FONT_LIST,
    PduType2.PDUTYPE2_INPUT: Step.INPUT,
    PduType2.PDUTYPE2_REFRESH_RECT: Step.REFRESH_RECT,
    PduType2.PDUTYPE2_SUPPRESS_OUTPUT: Step.SUPPRESS_OUTPUT,
    PduType2.PDUTYPE2_SHUTDOWN_REQUEST: Step.SHUTDOWN_REQUEST,
    PduType2.PDUTYPE2_FRAME_ACKNOWLEDGE: Step.FRAME_ACKNOWLEDGE,
    PduType2.PDUTYPE2_BITMAPCACHE_ERROR_PDU: Step.CACHE_ERROR,
    PduType2.PDUTYPE2_OFFSCRCACHE_ERROR_PDU: Step.CACHE_ERROR,
    PduType2.PDUTYPE2_DRAWNINEGRID_ERROR_PDU: Step.CACHE_ERROR,
    PduType2.PDUTYPE2_DRAWGDIPLUS_ERROR_PDU: Step.CACHE_ERROR,
}
_CONTROL_STEPS: Final = {
    ControlAction.CTRLACTION_REQUEST_CONTROL: Step.REQUEST_CONTROL,
    ControlAction.CTRLACTION_GRANTED_CONTROL: Step.GRANTED_CONTROL,
    ControlAction.CTRLACTION_DETACH: Step.DETACH,
    ControlAction.CTRLACTION_COOPERATE: Step.COOPERATE,
}
_KNOWN_TYPES2: Final = frozenset(PduType2)


class DataPduSequenceError(RemoteProtocolError):
    """A data PDU that is not legal in this state, or belongs to another share."""

    errinfo = ErrInfo.ERRINFO_DATAPDUSEQUENCE


class ControlPduSequenceError(RemoteProtocolError):
    """A Control PDU that is not legal in this state (FIN-03)."""

    errinfo = ErrInfo.ERRINFO_CONTROLPDUSEQUENCE


# What is the same for all clients of a kind is made once.


@lru_cache(maxsize=64)
def _control(body: bytes) -> Control:
    return Control.unpack(body)[0]


@lru_cache(maxsize=128)
def server_capabilities(options: ServerOptions, width: int, height: int, color_depth: int) -> tuple[CapabilitySet, ...]:
    """What Demand Active announces: only what works (GCC-17), and no set that is the client's (fact 29).

    Args:
        options: of the server.
        width: of the desktop, pixels.
        height: of the desktop, pixels.
        color_depth: bits per pixel.
    """
    extra_flags = (
        ExtraFlags.FASTPATH_OUTPUT_SUPPORTED
        | ExtraFlags.LONG_CREDENTIALS_SUPPORTED
        | ExtraFlags.NO_BITMAP_COMPRESSION_HDR
    )
    if options.auto_reconnect:
        extra_flags |= ExtraFlags.AUTORECONNECT_SUPPORTED
    input_flags = (
        InputFlags.INPUT_FLAG_SCANCODES
        | InputFlags.INPUT_FLAG_MOUSEX
        | InputFlags.INPUT_FLAG_FASTPATH_INPUT
        | InputFlags.INPUT_FLAG_FASTPATH_INPUT2
        | InputFlags.INPUT_FLAG_UNICODE
        | InputFlags.TS_INPUT_FLAG_MOUSE_HWHEEL
    )
    large = LargePointerSupportFlags.LARGE_POINTER_FLAG_96x96 | LargePointerSupportFlags.LARGE_POINTER_FLAG_384x384
    return (
        ShareCapabilitySet(),
        GeneralCapabilitySet(extra_flags=extra_flags, refresh_rect_support=1, suppress_output_support=1),
        VirtualChannelCapabilitySet(),
        FontCapabilitySet(),
        # facts 32, 33: the size that the client asked for, and that it may change later
        BitmapCapabilitySet(preferred_bits_per_pixel=color_depth, desktop_width=width, desktop_height=height),
        OrderCapabilitySet(),  # fact 79: all-zero support, bitmaps only
        ColorCacheCapabilitySet(),
        PointerCapabilitySet(color_pointer_cache_size=POINTER_CACHE_SIZE, pointer_cache_size=POINTER_CACHE_SIZE),
        InputCapabilitySet(input_flags=input_flags),
        MultifragmentUpdateCapabilitySet(options.multifragment_size),
        LargePointerCapabilitySet(large if options.large_pointers else 0),
    )


@lru_cache(maxsize=128)
def _demand_active_tail(options: ServerOptions, width: int, height: int, color_depth: int) -> bytes:
    """Demand Active behind its shareId, which is another one each time."""
    sets = server_capabilities(options, width, height, color_depth)
    return DemandActive(1, sets, options.source_descriptor).pack()[4:]


class _Answers:
    """What the server says in finalization, of one share and user."""

    __slots__ = ("font_map", "granted", "synchronize_and_cooperate")

    def __init__(self, share_id: int, user_channel_id: int) -> None:
        # fact 39: rdesktop waits for these two, and for the grant, before it sends its Font List
        self.synchronize_and_cooperate = (
            pack_share_data(Synchronize(user_channel_id), share_id=share_id),
            pack_share_data(Control(ControlAction.CTRLACTION_COOPERATE), share_id=share_id),
        )
        self.granted = pack_share_data(Control.granted(user_channel_id), share_id=share_id)
        self.font_map = pack_share_data(FontMap(), share_id=share_id)


_answers = lru_cache(maxsize=256)(_Answers)

ActivationEvent: TypeAlias = (
    CapabilitiesConfirmed
    | Activated
    | InputReceived
    | RefreshRequested
    | OutputSuppressed
    | ShutdownRequested
    | FrameAcknowledged
)


class ActivationServerMachine:
    """The server's end of the share.

    Args:
        options: of the server.
        mcs: carries the share PDUs.
    """

    __slots__ = (
        "_activations",
        "_mcs",
        "_old_share_ids",
        "_options",
        "_shutdown_denied",
        "capabilities",
        "color_depth",
        "confirmed",
        "height",
        "input",
        "share_id",
        "state",
        "width",
    )

    def __init__(self, options: ServerOptions, mcs: McsServerMachine) -> None:
        self._options = options
        self._mcs = mcs
        self._activations = 0
        self._old_share_ids: set[int] = set()
        self._shutdown_denied = False  # and not yet said: Font Map comes first
        self.state = ActivationState.INACTIVE
        self.share_id = 0
        """0 until there was a share."""
        self.width = 0
        self.height = 0
        self.color_depth = 0
        self.confirmed = False
        """Whether a Confirm Active has ever come: from then on fast-path input is legal (FRM-04)."""
        self.capabilities: dict[int, CapabilitySet] = {}
        """The client's, by type; of its last Confirm Active."""
        self.input = InputReader()

    # Told by the owner

    def activate(self, width: int, height: int, color_depth: int) -> None:
        """Open a share: queue Demand Active.

        Args:
            width: of the desktop, pixels.
            height: of the desktop, pixels.
            color_depth: one of COLOR_DEPTHS.

        Raises:
            LocalProtocolError: there is a share, or the numbers are out of range.
        """
        if self.state is not ActivationState.INACTIVE or self._mcs.user_channel_id is None:
            raise LocalProtocolError(f"activate() while waiting for {self.state.value}")
        if color_depth not in COLOR_DEPTHS:
            raise LocalProtocolError(f"activate(): {color_depth} bits per pixel, expected one of {COLOR_DEPTHS}")
        largest = self._options.max_desktop
        if not (0 < width <= largest[0] and 0 < height <= largest[1]):
            raise LocalProtocolError(f"activate(): {width}x{height}, expected up to {largest[0]}x{largest[1]}")
        if self.share_id:
            self._old_share_ids.add(self.share_id)
        self._activations += 1
        self.width, self.height, self.color_depth = width, height, color_depth
        # fact 38: any value will do; a new one each time tells late PDUs of the old share (FIN-06)
        self.share_id = ((self._activations - 1) % 0xFFFF + 1) << 16 | self._mcs.user_channel_id
        body = self.share_id.to_bytes(4, "little") + _demand_active_tail(self._options, width, height, color_depth)
        self._send(ShareControlPdu(PduType.PDUTYPE_DEMANDACTIVEPDU, SERVER_CHANNEL_ID, body).pack())
        self.state = ActivationState.EXPECT_CONFIRM_ACTIVE

    def deactivate(self) -> None:
        """Close the share: queue Deactivate All.

        Raises:
            LocalProtocolError: there is no share.
        """
        if self.state in (ActivationState.INACTIVE, ActivationState.ERROR):
            raise LocalProtocolError(f"deactivate() while waiting for {self.state.value}")
        self._send(pack_share_control(DeactivateAll(self.share_id)))
        self.state = ActivationState.INACTIVE
        self.input.reset()

    def send_data(self, body: ShareDataBody, *, pdu_source: int = SERVER_CHANNEL_ID) -> None:
        """Queue a share data PDU of this share."""
        self._send(pack_share_data(body, share_id=self.share_id, pdu_source=pdu_source))

    def deny_shutdown(self) -> None:
        """Queue Shutdown Request Denied: at once in an active share, otherwise behind the next Font Map.

        A client may ask between its Confirm Active and its Font List, and before Font Map nothing but the answers of
        finalization may be sent (fact 40: IronRDP ends the connection).
        """
        if self.state is ActivationState.ACTIVE:
            self.send_data(ShutdownDenied())
        else:
            self._shutdown_denied = True

    def _send(self, pdu: bytes) -> None:
        self._mcs.send(self._mcs.io_channel_id, pdu)

    # From the client

    def receive(self, data: bytes) -> Iterator[ActivationEvent]:
        """Take what came on the I/O channel: one or more share PDUs.

        Raises:
            RemoteProtocolError: malformed, or not legal in this state; the machine stays in ERROR.
        """
        try:
            while data:
                pdu, data = unpack_share_pdu(data)
                event = self._receive(pdu)
                if event is not None:
                    yield event
        except RemoteProtocolError:
            self.state = ActivationState.ERROR
            raise

    def receive_fast_path(self, unit: bytes) -> InputReceived | None:
        """Take a fast-path input PDU, with its header.

        Raises:
            RemoteProtocolError: malformed, or before Confirm Active; the machine stays in ERROR.
        """
        try:
            if not self._is_effective(Step.FAST_PATH_INPUT):
                return None
            events = self.input.read_fast_path(unit, self.width, self.height)
        except RemoteProtocolError:
            self.state = ActivationState.ERROR
            raise
        return InputReceived(events) if events else None

    def _is_effective(self, step: Step) -> bool:
        """Look the step up: whether it moves the machine, which has moved then, or is ignored.

        Raises:
            ControlPduSequenceError, DataPduSequenceError: neither.
        """
        state = ACTIVATION_SERVER_TRANSITIONS.get((self.state, step))
        if state is not None:
            self.state = state
            return True
        if (self.state, step) in ACTIVATION_SERVER_IGNORED:
            return False
        if self._expects_old_pdus():
            return False
        error = ControlPduSequenceError if step in _CONTROL_STEPS.values() else DataPduSequenceError
        raise error(f"{step.value} while waiting for {self.state.value}")

    def _expects_old_pdus(self) -> bool:
        """FIN-06: the client has not seen our last Demand Active yet, and may be talking about the share before."""
        return self.state is ActivationState.EXPECT_CONFIRM_ACTIVE and bool(self._old_share_ids)

    def _receive(self, pdu: ShareControlPdu | ShareDataPdu | FlowPdu) -> ActivationEvent | None:
        match pdu:
            case ShareDataPdu():
                return self._receive_data(pdu)
            case ShareControlPdu(pdu_type=PduType.PDUTYPE_CONFIRMACTIVEPDU):
                return self._confirm(pdu.body)
            case FlowPdu():
                return None
            case _:
                raise DataPduSequenceError(f"share PDU of type {pdu.pdu_type} from a client")

    def _confirm(self, body: bytes) -> CapabilitiesConfirmed | None:
        confirm, _ = ConfirmActive.unpack(body)  # CAP-04: any originatorId, some clients get it wrong
        if confirm.share_id in self._old_share_ids:
            self.confirmed = True
            return None
        confirm.require_share_id(self.share_id)
        if not self._is_effective(Step.CONFIRM_ACTIVE):
            return None
        self.confirmed = True
        self._old_share_ids.clear()  # what comes from now on was sent behind this
        self.capabilities = {
            one.capability_set_type if isinstance(one, UnknownCapabilitySet) else one.TYPE: one
            for one in confirm.capability_sets
        }
        # FIN-02: at once; the grant waits for the request, Font Map for the Font List
        for answer in self._answers().synchronize_and_cooperate:
            self._send(answer)
        return CapabilitiesConfirmed(self.capabilities)

    def _answers(self) -> _Answers:
        return _answers(self.share_id, self._mcs.user_channel_id or 0)

    def _receive_data(self, pdu: ShareDataPdu) -> ActivationEvent | None:
        if pdu.share_id != self.share_id and self.state is not ActivationState.INACTIVE:
            if pdu.share_id in self._old_share_ids:
                return None
            raise DataPduSequenceError(f"share data PDU of share {pdu.share_id:#x}, not {self.share_id:#x}")
        if pdu.compressed_type & CompressedType.PACKET_COMPRESSED:
            raise DataPduSequenceError("a compressed share data PDU, which nobody announced")
        if pdu.pdu_type2 == PduType2.PDUTYPE2_CONTROL:
            step = _CONTROL_STEPS[_control(pdu.body[:8]).action]
        elif pdu.pdu_type2 in _STEPS:
            step = _STEPS[PduType2(pdu.pdu_type2)]
        elif pdu.pdu_type2 in _KNOWN_TYPES2:
            raise DataPduSequenceError(f"share data PDU of type 0x{pdu.pdu_type2:02X} from a client")
        else:
            raise UnknownPduType2Error(f"share data PDU of type 0x{pdu.pdu_type2:02X} is not known")
        if not self._is_effective(step):
            return None
        # FRM-03: bytes behind a body are dropped; padding is seen here
        match step:
            case Step.INPUT:
                events = self.input.read_slow_path(pdu.body, self.width, self.height)
                return InputReceived(events) if events else None
            case Step.REQUEST_CONTROL:
                self._send(self._answers().granted)
            case Step.FONT_LIST:
                FontList.unpack(pdu.body)  # FIN-03: what it says is ignored
                self._send(self._answers().font_map)
                if self._shutdown_denied:
                    self._shutdown_denied = False
                    self.send_data(ShutdownDenied())
                return Activated()
            case Step.SYNCHRONIZE:
                Synchronize.unpack(pdu.body)
            case Step.REFRESH_RECT:
                return self._refresh(RefreshRect.unpack(pdu.body)[0])
            case Step.SUPPRESS_OUTPUT:
                return self._suppress(SuppressOutput.unpack(pdu.body)[0])
            case Step.SHUTDOWN_REQUEST:
                return ShutdownRequested()
            case Step.FRAME_ACKNOWLEDGE:
                return FrameAcknowledged(FrameAcknowledge.unpack(pdu.body)[0].frame_id)
        return None

    def _clip(self, area: InclusiveRectangle) -> Rectangle:
        """INP-10: inclusive on the wire, exclusive here, and inside the desktop."""
        screen = Rectangle(0, 0, self.width, self.height)
        return Rectangle(area.left, area.top, area.right + 1, area.bottom + 1).intersection(screen)

    def _refresh(self, refresh: RefreshRect) -> RefreshRequested | None:
        clipped = [self._clip(area) for area in refresh.areas_to_refresh]
        rectangles = tuple(rectangle for rectangle in clipped if not rectangle.is_empty())
        return RefreshRequested(rectangles) if rectangles else None

    def _suppress(self, suppress: SuppressOutput) -> OutputSuppressed:
        if suppress.desktop_rect is None:
            return OutputSuppressed(True)
        return OutputSuppressed(False, self._clip(suppress.desktop_rect))
