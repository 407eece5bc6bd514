"""The server's end of an RDP connection, from the first byte to the last, without I/O.

`RdpServerMachine` is a row of smaller machines, one for each part of the standard (`negotiation`, `mcs`,
`secure_settings`, `activation`), over one splitter of units (`framing`). `STAGES` says what each stage waits for, how
much it buffers, and who takes what comes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Final

import attrs

from rdpprov.api.devices import PointerShape
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import LocalProtocolError, RemoteProtocolError
from rdpprov.protocol.events import NEED_DATA, PAUSED, NeedData, Paused
from rdpprov.protocol.rdp.activation import ActivationServerMachine, ActivationState
from rdpprov.protocol.rdp.channels import MESSAGE_LIMIT, ChannelAssembler, pack_chunks
from rdpprov.protocol.rdp.events import (
    CapabilitiesConfirmed,
    ChannelDataReceived,
    ClientInfoReceived,
    Disconnected,
    McsConnected,
    NegotiationRefused,
    ServerEvent,
)
from rdpprov.protocol.rdp.framing import LOGON_LIMIT, NEGOTIATION_LIMIT, SESSION_LIMIT, UnitSplitter
from rdpprov.protocol.rdp.mcs import ChannelData, McsServerMachine
from rdpprov.protocol.rdp.negotiation import NegotiationServerMachine
from rdpprov.protocol.rdp.output import EncodedBitmap, OutputLimits, OutputWriter
from rdpprov.protocol.rdp.secure_settings import NO_LICENSE_PDU, VALID_CLIENT_PDU, unpack_client_info
from rdpprov.wire.rdp.auto_reconnect import ServerAutoReconnectPacket
from rdpprov.wire.rdp.capabilities import (
    CHANNEL_CHUNK_LENGTH,
    CapabilitySet,
    CapabilityType,
    ExtraFlags,
    GeneralCapabilitySet,
)
from rdpprov.wire.rdp.client_info import ClientInfo, InfoFlags
from rdpprov.wire.rdp.gcc import (
    ClientCoreData,
    ClientUserData,
    EarlyCapabilityFlags,
)
from rdpprov.wire.rdp.mcs import DisconnectReason
from rdpprov.wire.rdp.nego import NegotiationRequest, Protocols
from rdpprov.wire.rdp.preconnection import PreconnectionPdu
from rdpprov.wire.rdp.session import (
    AutoReconnectStatus,
    LogonInfo,
    LogonInfoExtended,
    LogonInfoVersion2,
    SaveSessionInfo,
    SetErrorInfo,
    StatusInfo,
)
from rdpprov.wire.rdp.tpkt import UnitKind
from rdpprov.wire.rdp.x224 import ConnectionRequest

_TPKT_HEADER_SIZE: Final = 4


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
    DEACTIVATED = "owner: activate(); what the client still says about the old share is ignored"
    REFUSED = "nobody: the negotiation failed, or licensing did"
    DISCONNECTED = "nobody: the connection was ended in an orderly way"
    ERROR = "nobody: the client broke the protocol"


@attrs.frozen
class ServerOptions:
    """What a server decides for all its connections. Frozen and hashable: bytes that are made of it are kept."""

    allowed_protocols: int = Protocols.PROTOCOL_SSL
    """`Protocols` that may be chosen. Of all that can be named here, this machine runs what is plain TLS."""
    max_desktop: tuple[int, int] = (8192, 8192)
    """Width and height in pixels that a desktop can have; a client's wish is clamped by the owner (GCC-07)."""
    min_desktop: tuple[int, int] = (200, 200)
    auto_reconnect: bool = True
    """Announce AUTORECONNECT_SUPPORTED: the owner sends cookies by `send_save_session_info`."""
    source_descriptor: str = "RDP"
    large_pointers: bool = True
    """Announce pointers of up to 384x384."""
    multifragment_size: int = 608_299
    """MaxRequestSize that we announce; our output obeys the client's own number (facts 34, 35)."""
    skip_channel_join: bool = True
    """Agree to leave out the channel joins with clients that can (fact 19)."""
    message_channel: bool = False
    """Grant the message channel to clients that ask for it. Nothing is sent on it yet, so by default it is not
    granted (GCC-17)."""
    preconnection: bool = False
    """Take a preconnection PDU before the X.224 request (PRE-01); otherwise a client that sends one is dropped."""


class RdpServerMachine:
    """One client's connection, as the server sees it.

    Its owner feeds bytes by `receive_data`, asks for events by `next_event` until NEED_DATA or PAUSED, and sends what
    `data_to_send` gives. While PAUSED it should not read from the client: what is buffered is bounded, and more than
    that ends the connection.
    """

    __slots__ = (
        "_activation",
        "_assemblers",
        "_error",
        "_events",
        "_incoming",
        "_mcs",
        "_negotiation",
        "_outgoing",
        "_output",
        "_preconnection_over",
        "_stage",
        "_ultimatum_sent",
        "client_info",
        "options",
        "preconnection",
        "state",
    )

    def __init__(self, options: ServerOptions) -> None:
        self.options = options
        self.state = ServerState.EXPECT_CONNECTION_REQUEST
        self._stage = STAGES[self.state]
        self.preconnection: PreconnectionPdu | None = None
        """What the client sent before X.224, if it did and `ServerOptions.preconnection` allows it."""
        self.client_info: ClientInfo | None = None
        self._preconnection_over = not options.preconnection
        self._incoming = UnitSplitter(NEGOTIATION_LIMIT)
        self._outgoing: list[bytes] = []
        self._events: deque[ServerEvent] = deque()
        self._error: RemoteProtocolError | None = None
        self._negotiation = NegotiationServerMachine(options.allowed_protocols, self._outgoing)
        self._mcs: McsServerMachine | None = None
        self._activation: ActivationServerMachine | None = None
        self._output: OutputWriter | None = None
        self._assemblers: dict[int, ChannelAssembler] = {}
        self._ultimatum_sent = False

    # Bytes

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the client: of the TCP stream first, of the TLS stream after `tls_established`.

        What is beyond the state's limit is not kept, and `next_event` refuses the client once it is not paused any
        more; an owner that reads on while the machine is paused counts the bytes itself.
        """
        if self._stage.receives:
            self._incoming.receive_data(data)

    def data_to_send(self) -> bytes:
        """Everything queued for the client, which is then no longer queued."""
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        return data

    @property
    def trailing_data(self) -> bytes:
        """What came and is not read: while paused for TLS, it belongs to TLS."""
        return self._incoming.peek()

    def take_trailing_data(self) -> bytes:
        """`trailing_data`, which the machine forgets."""
        return self._incoming.take_rest()

    # Events

    def next_event(self) -> ServerEvent | NeedData | Paused:
        """Take one event out of the bytes received so far. Never waits.

        Raises:
            RemoteProtocolError: the client broke the protocol. Its ``errinfo`` may be sent by `send_set_error_info`;
                the machine stays in ERROR.
        """
        while not self._events:
            if self._error is not None:
                raise self._error
            stage = self._stage
            if stage.take is None:
                return PAUSED
            try:
                if not self._next_unit(stage):
                    return NEED_DATA
            except RemoteProtocolError as error:
                self._fail(error)
        return self._events.popleft()

    def _next_unit(self, stage: Stage) -> bool:
        if not self._preconnection_over and not self._take_preconnection():
            return False
        activation = self._activation
        # FRM-04: not before the first Confirm Active
        found = self._incoming.next_unit(fast_path=activation is not None and activation.confirmed)
        if found is None:
            return False
        kind, unit = found
        if kind is UnitKind.TPKT:
            assert stage.take is not None
            stage.take(self, unit[_TPKT_HEADER_SIZE:])
        else:
            assert activation is not None
            event = activation.receive_fast_path(unit)
            if event is not None:
                self._events.append(event)
        return True

    def _fail(self, error: RemoteProtocolError) -> None:
        self._error = error
        self._enter(ServerState.ERROR)

    def _enter(self, state: ServerState) -> None:
        self.state = state
        self._stage = STAGES[state]
        self._incoming.limit = self._stage.limit
        if not self._stage.receives:
            self._incoming.clear()

    # Who takes what comes

    def _take_preconnection(self) -> bool:
        unit = self._incoming.next_preconnection()
        if unit is None:
            return False
        self._preconnection_over = True
        if unit:
            self.preconnection, _ = PreconnectionPdu.unpack(unit)
        return True

    def _take_negotiation(self, tpdu: bytes) -> None:
        event = self._negotiation.receive(tpdu)
        self._events.append(event)
        if isinstance(event, NegotiationRefused):
            self._enter(ServerState.REFUSED)
        else:
            self._enter(ServerState.EXPECT_TLS)

    def _take_mcs(self, tpdu: bytes) -> None:
        mcs = self._mcs
        assert mcs is not None
        event = mcs.receive(tpdu)
        match event:
            case ChannelData(channel_id=mcs.io_channel_id):
                self._take_io(event.data)
            case ChannelData():
                self._take_channel(event.channel_id, event.data)
            case McsConnected():
                self._events.append(event)
                self._enter(ServerState.CHANNEL_CONNECTION)
            case Disconnected():
                self._events.append(event)
                self._enter(ServerState.DISCONNECTED)
            case _:
                pass  # one more step of the channel connection, or data that nobody wants

    def _take_io(self, data: bytes) -> None:
        activation = self._activation
        if activation is None:
            info = unpack_client_info(data)
            self.client_info = info
            self._events.append(ClientInfoReceived(info))
            self._enter(ServerState.LICENSING)
            return
        try:
            for event in activation.receive(data):
                if isinstance(event, CapabilitiesConfirmed):
                    self._output = OutputWriter(
                        OutputLimits.of_client(activation.capabilities), self._outgoing.append, activation.send_data
                    )
                self._events.append(event)
        finally:
            self._follow_share()

    def _take_channel(self, channel_id: int, data: bytes) -> None:
        """Static channels that somebody opened; data on others, and on the message channel, where at this time only
        answers to questions can come that we have not asked, are dropped (SVC-05, NAD-04)."""
        assembler = self._assemblers.get(channel_id)
        if assembler is None:
            return
        message = assembler.add(data)
        if message is not None:
            self._events.append(ChannelDataReceived(channel_id, message))

    def _follow_share(self) -> None:
        assert self._activation is not None
        state = _SHARE_STATES[self._activation.state]
        if state is not self.state:
            self._enter(state)

    # Told by the owner

    def tls_established(self) -> None:
        """After `StartTls`: bytes received and sent are those inside TLS from now on.

        Raises:
            LocalProtocolError: nobody asked for it.
        """
        if self.state is not ServerState.EXPECT_TLS:
            raise self._illegal("tls_established()")
        selected = self._negotiation.selected_protocol
        assert selected is not None
        self._incoming.clear()
        self._mcs = McsServerMachine(
            self._outgoing,
            requested_protocols=self._negotiation.requested_protocols,
            selected_protocol=selected,
            skip_channel_join=self.options.skip_channel_join,
            message_channel=self.options.message_channel,
        )
        self._enter(ServerState.EXPECT_CONNECT_INITIAL)

    def complete_licensing(self, success: bool) -> None:
        """After `ClientInfoReceived`: queue the valid-client alert, or the alert that ends the connection.

        Raises:
            LocalProtocolError: Client Info has not come, or licensing is over.
        """
        if self.state is not ServerState.LICENSING:
            raise self._illegal("complete_licensing()")
        mcs = self._mcs
        assert mcs is not None
        mcs.send(mcs.io_channel_id, VALID_CLIENT_PDU if success else NO_LICENSE_PDU)
        self._enter(ServerState.EXPECT_ACTIVATE if success else ServerState.REFUSED)

    def activate(self, width: int, height: int, color_depth: int) -> None:
        """Queue Demand Active: after `complete_licensing`, and again after `deactivate` with another size.

        Args:
            width: of the desktop in pixels.
            height: likewise.
            color_depth: 15, 16, 24 or 32 bits per pixel.

        Raises:
            LocalProtocolError: it is not the time, or the numbers are out of range.
        """
        if self.state not in (ServerState.EXPECT_ACTIVATE, ServerState.DEACTIVATED):
            raise self._illegal("activate()")
        assert self._mcs is not None
        if self._activation is None:
            self._activation = ActivationServerMachine(self.options, self._mcs)
        self._activation.activate(width, height, color_depth)
        self._follow_share()

    def deactivate(self) -> None:
        """Queue Deactivate All; `activate` is next. Channels live on.

        Raises:
            LocalProtocolError: there is no share.
        """
        if self._activation is None or self._stage.over or self.state is ServerState.DEACTIVATED:
            raise self._illegal("deactivate()")
        self._activation.deactivate()
        self._output = None
        self._enter(ServerState.DEACTIVATED)

    def disconnect(self, user_requested: bool) -> None:
        """Queue the Disconnect Provider Ultimatum, if the client has come so far and has not said it itself. Legal in
        every state; a second call does nothing.

        Args:
            user_requested: the reason: a logoff or a shutdown, not an end on the provider's initiative (MCS-08).
        """
        mcs = self._mcs
        ended = self._ultimatum_sent or self.state is ServerState.DISCONNECTED
        if mcs is not None and mcs.user_channel_id is not None and not ended:
            self._ultimatum_sent = True
            mcs.send_ultimatum(
                DisconnectReason.RN_USER_REQUESTED if user_requested else DisconnectReason.RN_PROVIDER_INITIATED
            )
        if self.state is not ServerState.ERROR:
            self._enter(ServerState.DISCONNECTED)

    # Output. After the end of the connection it is dropped: whoever draws may not know yet.

    def _writer(self, call: str) -> OutputWriter | None:
        if self._stage.over:
            return None
        if self.state is not ServerState.ACTIVE or self._output is None:
            raise self._illegal(call)  # FIN-05, fact 40: nothing before Font Map
        return self._output

    def send_bitmap_updates(self, bitmaps: Iterable[EncodedBitmap]) -> None:
        """Queue bitmaps, one update each (fact 44), joined into as few PDUs as they fit.

        Raises:
            LocalProtocolError: the share is not active, or a compressed bitmap is longer than the client can take.
        """
        writer = self._writer("send_bitmap_updates()")
        if writer is not None:
            writer.send_bitmap_updates(bitmaps)

    def send_pointer_shape(self, shape: PointerShape) -> None:
        """Queue the pointer's shape: system, cached, new or large, as the client can take it.

        Raises:
            LocalProtocolError: the share is not active.
        """
        writer = self._writer("send_pointer_shape()")
        if writer is not None:
            writer.send_pointer_shape(shape)

    def send_pointer_position(self, x: int, y: int) -> None:
        """Queue a move of the client's pointer, in pixels.

        Raises:
            LocalProtocolError: the share is not active.
        """
        writer = self._writer("send_pointer_position()")
        if writer is not None:
            writer.send_pointer_position(x, y)

    # What is said about the session

    def send_set_error_info(self, code: ErrInfo | int) -> bool:
        """Queue Set Error Info, if a share exists and the client announced it (ERR-01). Any code but 0 is to be
        followed by `disconnect`, and may be sent after the client broke the protocol.

        Returns:
            whether it was queued.
        """
        if not self._early(EarlyCapabilityFlags.RNS_UD_CS_SUPPORT_ERRINFO_PDU) or not self._share_exists():
            return False
        assert self._activation is not None
        self._activation.send_data(SetErrorInfo(int(code)), pdu_source=0)
        return True

    def send_status_info(self, code: int) -> bool:
        """Queue Server Status Info, if a share is active and the client announced it (ERR-05).

        Returns:
            whether it was queued.
        """
        if not self._early(EarlyCapabilityFlags.RNS_UD_CS_SUPPORT_STATUSINFO_PDU) or not self._is_active():
            return False
        assert self._activation is not None
        self._activation.send_data(StatusInfo(code))
        return True

    def send_shutdown_denied(self) -> None:
        """Answer `ShutdownRequested`: the session survives, the client may still leave. While the share is being
        activated the answer waits for Font Map.

        Raises:
            LocalProtocolError: there was no share yet, so the client cannot have asked.
        """
        if self._stage.over:
            return
        if self._activation is None:
            raise self._illegal("send_shutdown_denied()")
        self._activation.deny_shutdown()

    def send_save_session_info(
        self, *, user_name: str, domain: str, session_id: int, reconnect_secret: bytes | None = None
    ) -> None:
        """Queue what the client wants to know about the logon: who it was, if it asked for that by INFO_LOGONNOTIFY
        (SES-01), and a cookie, if it can bring one back (ARC-01).

        Args:
            user_name: of the user who is logged on now.
            domain: likewise.
            session_id: the session, as the client will name it.
            reconnect_secret: 16 random bytes, the key of the cookie's verifier.

        Raises:
            LocalProtocolError: the share is not active (fact 40: IronRDP takes nothing of it before Font Map).
        """
        if not self._needs_share("send_save_session_info()"):
            return
        activation = self._activation_or_fail()
        if self.client_info is not None and self.client_info.flags & InfoFlags.INFO_LOGONNOTIFY:
            # Version 1 has room for so much, and FreeRDP reads no more of version 2 either.
            names = _cut(domain, 25), _cut(user_name, 255)
            if self._general_flags() & ExtraFlags.LONG_CREDENTIALS_SUPPORTED:
                activation.send_data(SaveSessionInfo(LogonInfoVersion2(*names, session_id)))
            else:
                activation.send_data(SaveSessionInfo(LogonInfo(*names, session_id)))
        if reconnect_secret is not None and self.client_takes_auto_reconnect:
            cookie = ServerAutoReconnectPacket(session_id, reconnect_secret)
            activation.send_data(SaveSessionInfo(LogonInfoExtended(auto_reconnect=cookie)))

    def send_auto_reconnect_status(self) -> None:
        """Queue "automatic reconnection has failed": the client's cookie was not taken (ARC-05).

        Raises:
            LocalProtocolError: the share is not active.
        """
        if self._needs_share("send_auto_reconnect_status()"):
            self._activation_or_fail().send_data(AutoReconnectStatus())

    # Static virtual channels

    def open_channel(self, name: str, *, message_limit: int = MESSAGE_LIMIT) -> int | None:
        """Ask for the messages of a static channel. What comes on channels that nobody opened is dropped.

        Args:
            name: as the client announced it.
            message_limit: bytes of the longest message; a client that announces a longer one broke the protocol.

        Returns:
            the channel's id; None if the client has no such channel.
        """
        channel_id = self.channels.get(name)
        if channel_id is not None and channel_id not in self._assemblers:
            self._assemblers[channel_id] = ChannelAssembler(message_limit)
        return channel_id

    def close_channel(self, channel_id: int) -> None:
        """Drop what comes on the channel from now on."""
        self._assemblers.pop(channel_id, None)

    def send_channel_data(self, channel_id: int, data: bytes) -> None:
        """Queue one message on an open channel, cut into chunks.

        Raises:
            LocalProtocolError: the channel is not open.
        """
        if self._stage.over:
            return
        if channel_id not in self._assemblers or self._mcs is None:
            raise LocalProtocolError(f"send_channel_data(): channel {channel_id} is not open")
        for chunk in pack_chunks(data, CHANNEL_CHUNK_LENGTH):
            self._mcs.send(channel_id, chunk)

    # What the client said; None, 0 or empty until it did

    @property
    def connection_request(self) -> ConnectionRequest | None:
        """The X.224 Connection Request: cookie, routing token, correlation id."""
        return self._negotiation.request

    @property
    def negotiation_request(self) -> NegotiationRequest | None:
        """RDP_NEG_REQ."""
        request = self._negotiation.request
        return request.negotiation if request is not None else None

    @property
    def selected_protocol(self) -> Protocols | None:
        """What the negotiation chose."""
        return self._negotiation.selected_protocol

    @property
    def client_data(self) -> ClientUserData | None:
        """All blocks of the client's Connect Initial."""
        return self._mcs.user_data if self._mcs is not None else None

    @property
    def client_core(self) -> ClientCoreData | None:
        """Client Core Data."""
        return self.client_data.core if self.client_data is not None else None

    @property
    def client_capabilities(self) -> Mapping[int, CapabilitySet] | None:
        """The capability sets of the last Confirm Active, by type."""
        return self._activation.capabilities or None if self._activation is not None else None

    @property
    def user_channel_id(self) -> int | None:
        """The client's own MCS channel."""
        return self._mcs.user_channel_id if self._mcs is not None else None

    @property
    def channels(self) -> Mapping[str, int]:
        """Ids of the static virtual channels by name, in the client's order."""
        return self._mcs.channels if self._mcs is not None else {}

    @property
    def output_limits(self) -> OutputLimits | None:
        """What output the client takes; None without a share that is confirmed."""
        return self._output.limits if self._output is not None else None

    @property
    def client_takes_auto_reconnect(self) -> bool:
        """Whether a cookie is of any use: both sides announced AUTORECONNECT_SUPPORTED."""
        return self.options.auto_reconnect and bool(self._general_flags() & ExtraFlags.AUTORECONNECT_SUPPORTED)

    # Small questions

    def _illegal(self, call: str) -> LocalProtocolError:
        return LocalProtocolError(f"{call} while waiting for {self.state.value}")

    def _early(self, flag: EarlyCapabilityFlags) -> bool:
        core = self.client_core
        return core is not None and bool((core.early_capability_flags or 0) & flag)

    def _general_flags(self) -> int:
        capabilities = self.client_capabilities or {}
        general = capabilities.get(CapabilityType.CAPSTYPE_GENERAL)
        return general.extra_flags if isinstance(general, GeneralCapabilitySet) else 0

    def _is_active(self) -> bool:
        return self.state is ServerState.ACTIVE

    def _share_exists(self) -> bool:
        """Also after an error, as long as no ultimatum has gone out or come in."""
        activation = self._activation
        over = self._ultimatum_sent or self.state is ServerState.DISCONNECTED
        return activation is not None and activation.state is not ActivationState.INACTIVE and not over

    def _needs_share(self, call: str) -> bool:
        if self._stage.over:
            return False
        if not self._is_active():
            raise self._illegal(call)
        return True

    def _activation_or_fail(self) -> ActivationServerMachine:
        assert self._activation is not None
        return self._activation


def _cut(text: str, units: int) -> str:
    """The first `units` UTF-16 code units, up to a NUL, and without half a character."""
    text = text.partition("\0")[0]
    return text.encode("utf-16-le", "replace")[: 2 * units].decode("utf-16-le", "ignore")


@attrs.frozen
class Stage:
    """A row of `STAGES`."""

    limit: int
    """Bytes that are buffered at most (FRM-05)."""
    take: Callable[[RdpServerMachine, bytes], None] | None = None
    """Takes the payload of a TPKT; None: the machine is paused, and its owner must act."""
    over: bool = False
    """The connection has ended, and only what is queued may still go out."""

    @property
    def receives(self) -> bool:
        """Whether what comes is kept."""
        return not self.over


STAGES: Final[Mapping[ServerState, Stage]] = {
    ServerState.EXPECT_CONNECTION_REQUEST: Stage(NEGOTIATION_LIMIT, RdpServerMachine._take_negotiation),
    ServerState.EXPECT_TLS: Stage(NEGOTIATION_LIMIT),
    ServerState.EXPECT_CONNECT_INITIAL: Stage(LOGON_LIMIT, RdpServerMachine._take_mcs),
    ServerState.CHANNEL_CONNECTION: Stage(LOGON_LIMIT, RdpServerMachine._take_mcs),
    ServerState.LICENSING: Stage(LOGON_LIMIT),
    ServerState.EXPECT_ACTIVATE: Stage(LOGON_LIMIT),
    ServerState.EXPECT_CONFIRM_ACTIVE: Stage(LOGON_LIMIT, RdpServerMachine._take_mcs),
    ServerState.FINALIZATION: Stage(LOGON_LIMIT, RdpServerMachine._take_mcs),
    ServerState.ACTIVE: Stage(SESSION_LIMIT, RdpServerMachine._take_mcs),
    ServerState.DEACTIVATED: Stage(SESSION_LIMIT, RdpServerMachine._take_mcs),
    ServerState.REFUSED: Stage(0, over=True),
    ServerState.DISCONNECTED: Stage(0, over=True),
    ServerState.ERROR: Stage(0, over=True),
}
"""The stages of a connection, in their order."""

_SHARE_STATES: Final = {
    ActivationState.INACTIVE: ServerState.DEACTIVATED,
    ActivationState.EXPECT_CONFIRM_ACTIVE: ServerState.EXPECT_CONFIRM_ACTIVE,
    ActivationState.EXPECT_SYNCHRONIZE: ServerState.FINALIZATION,
    ActivationState.EXPECT_COOPERATE: ServerState.FINALIZATION,
    ActivationState.EXPECT_REQUEST_CONTROL: ServerState.FINALIZATION,
    ActivationState.EXPECT_FONT_LIST: ServerState.FINALIZATION,
    ActivationState.ACTIVE: ServerState.ACTIVE,
    ActivationState.ERROR: ServerState.ERROR,
}
