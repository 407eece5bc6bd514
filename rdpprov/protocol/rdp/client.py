"""The client's end of an RDP connection, without I/O: for tests, load generation, and the built-in client.

It speaks TLS only, takes no drawing orders and no codecs beyond bitmap updates. It is more lenient than our server:
known deviations of real servers are accepted (facts 28, 42, 43).
"""

from __future__ import annotations

import hmac
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import lru_cache
from struct import Struct
from typing import Final

import attrs

from rdpprov.api.devices import DEFAULT_POINTER, HIDDEN_POINTER, InputEvent, PointerShape, Rectangle
from rdpprov.codecs.pointer import decode_pointer
from rdpprov.errors import LocalProtocolError, RemoteProtocolError
from rdpprov.protocol.events import NEED_DATA, PAUSED, NeedData, Paused
from rdpprov.protocol.rdp.channels import MESSAGE_LIMIT, ChannelAssembler, pack_chunks
from rdpprov.protocol.rdp.events import (
    Activated,
    BitmapsReceived,
    ChannelDataReceived,
    ClientEvent,
    Deactivated,
    DemandActiveReceived,
    Disconnected,
    ErrorInfoReceived,
    Licensed,
    PointerMoved,
    PointerReceived,
    ReceivedBitmap,
    SessionInfoReceived,
    ShutdownDenied,
    UpdateIgnored,
)
from rdpprov.protocol.rdp.framing import CLIENT_LIMIT, NEGOTIATION_LIMIT, UnitSplitter
from rdpprov.protocol.rdp.input import wire_events
from rdpprov.protocol.rdp.mcs import ChannelData, McsClientMachine, McsState
from rdpprov.protocol.rdp.negotiation import NegotiationClientMachine
from rdpprov.protocol.rdp.secure_settings import LicenseRefusedError, answer_license_pdu, pack_client_info
from rdpprov.wire.base import DecodeError
from rdpprov.wire.rdp import session
from rdpprov.wire.rdp.auto_reconnect import (
    CLIENT_RANDOM_OF_ENHANCED_SECURITY,
    ClientAutoReconnectPacket,
    ServerAutoReconnectPacket,
)
from rdpprov.wire.rdp.bitmap import BitmapData, BitmapFlags, BitmapUpdate, SynchronizeUpdate, UpdatePdu
from rdpprov.wire.rdp.bodies import unpack_body
from rdpprov.wire.rdp.capabilities import (
    CHANNEL_CHUNK_LENGTH,
    BitmapCacheCapabilitySet,
    BitmapCapabilitySet,
    BrushCapabilitySet,
    CapabilitySet,
    ColorCacheCapabilitySet,
    ConfirmActive,
    ControlCapabilitySet,
    DemandActive,
    ExtraFlags,
    FontCapabilitySet,
    GeneralCapabilitySet,
    GlyphCacheCapabilitySet,
    InputCapabilitySet,
    InputFlags,
    LargePointerCapabilitySet,
    LargePointerSupportFlags,
    MultifragmentUpdateCapabilitySet,
    OffscreenCacheCapabilitySet,
    OrderCapabilitySet,
    PointerCapabilitySet,
    ShareCapabilitySet,
    SoundCapabilitySet,
    UnknownCapabilitySet,
    VirtualChannelCapabilitySet,
    WindowActivationCapabilitySet,
)
from rdpprov.wire.rdp.client_info import (
    AddressFamily,
    ClientInfo,
    InfoFlags,
    TimeZoneInformation,
)
from rdpprov.wire.rdp.fastpath import FastPathOutputPdu, FastPathUpdate, FragmentAssembler, UpdateCode
from rdpprov.wire.rdp.finalization import Control, ControlAction, FontList, FontMap, Synchronize
from rdpprov.wire.rdp.gcc import (
    RDP_VERSION_4,
    RDP_VERSION_5_PLUS,
    Block,
    ChannelDef,
    ChannelOptions,
    ClientClusterData,
    ClientCoreData,
    ClientMessageChannelData,
    ClientMonitorData,
    ClientMonitorExtendedData,
    ClientMultitransportChannelData,
    ClientNetworkData,
    ClientSecurityData,
    ClientUserData,
    ClusterFlags,
    ConnectionType,
    EarlyCapabilityFlags,
    MonitorAttributes,
    MonitorDef,
    MonitorFlags,
    SupportedColorDepths,
)
from rdpprov.wire.rdp.input import FastPathInputPdu, InputPdu
from rdpprov.wire.rdp.mcs import DisconnectReason
from rdpprov.wire.rdp.nego import Protocols
from rdpprov.wire.rdp.output_control import InclusiveRectangle, RefreshRect, SuppressOutput
from rdpprov.wire.rdp.pointer import (
    HIDDEN,
    CachedPointer,
    ColorPointer,
    LargePointer,
    NewPointer,
    PointerPdu,
    PointerPosition,
    PointerUpdate,
    SystemPointer,
    from_fast_path,
)
from rdpprov.wire.rdp.security import BasicSecurityHeader, SecurityFlags
from rdpprov.wire.rdp.share import (
    SERVER_CHANNEL_ID,
    DeactivateAll,
    FlowPdu,
    PduType,
    ShareControlBody,
    ShareDataBody,
    ShareDataPdu,
    UnknownPduType2Error,
    pack_share_control,
    pack_share_data,
    unpack_share_pdu,
)
from rdpprov.wire.rdp.tpkt import UnitKind

_TPKT_HEADER_SIZE: Final = 4
_EVENTS_IN_A_PDU: Final = 15
"""Input events that go into one fast-path PDU: as many as its header can count."""
_POINTER_CACHE_SIZE: Final = 25
_TS_SHARE_VERSION: Final = 0x10
_COLOR_DEPTH_CODES: Final = {15: 0xCA02, 16: 0xCA03, 24: 0xCA04, 32: 0xCA04}


class ClientState(Enum):
    """What the client's machine waits for."""

    EXPECT_CONNECTION_CONFIRM = "server: X.224 Connection Confirm"
    EXPECT_TLS = "owner: tls_established()"
    CHANNEL_CONNECTION = "server: Connect Response, Attach User Confirm, Channel Join Confirms"
    LICENSING = "server: the valid-client alert, or Demand Active"
    EXPECT_DEMAND_ACTIVE = "server: Demand Active"
    FINALIZATION = "server: Synchronize, Cooperate, Granted Control, Font Map"
    ACTIVE = "anybody: input, output"
    DISCONNECTED = "nobody: the connection was ended in an orderly way"
    ERROR = "nobody: the server broke the protocol"


_State = ClientState

# The moves of the share, [MS-RDPBCGR] 1.3.1.1, 1.3.1.3. Other share PDUs move nothing and are taken at any time.
CLIENT_SHARE_TRANSITIONS: Final = {
    (_State.LICENSING, DemandActive): _State.FINALIZATION,  # there are servers without any licensing
    (_State.LICENSING, DeactivateAll): _State.EXPECT_DEMAND_ACTIVE,
    (_State.EXPECT_DEMAND_ACTIVE, DemandActive): _State.FINALIZATION,
    # fact 43: gnome-remote-desktop sends one before its first Demand Active
    (_State.EXPECT_DEMAND_ACTIVE, DeactivateAll): _State.EXPECT_DEMAND_ACTIVE,
    (_State.FINALIZATION, FontMap): _State.ACTIVE,
    (_State.FINALIZATION, DeactivateAll): _State.EXPECT_DEMAND_ACTIVE,
    (_State.ACTIVE, FontMap): _State.ACTIVE,
    (_State.ACTIVE, DeactivateAll): _State.EXPECT_DEMAND_ACTIVE,
}
_MOVING: Final = frozenset(body for _, body in CLIENT_SHARE_TRANSITIONS)


class ShareSequenceError(RemoteProtocolError):
    """A share PDU that is not legal in this state."""


@attrs.frozen
class ClientOptions:
    """Who connects, and what the client pretends to be able to."""

    user_name: str = ""
    password: str = attrs.field(default="", repr=False, metadata={"secret": True})
    domain: str = ""
    autologon: bool = True
    """INFO_AUTOLOGON, if there is a user name."""
    reconnect_logon_id: int | None = None
    """The session of an auto-reconnect cookie."""
    reconnect_secret: bytes | None = attrs.field(default=None, repr=False, metadata={"secret": True})
    """Its 16 random bytes, as Save Session Info brought them."""
    width: int = 1024
    """Of the desktop, pixels."""
    height: int = 768
    color_depth: int = 32
    """15, 16, 24 or 32 bits per pixel."""
    keyboard_layout: int = 0x409
    client_name: str = "rdpprov"
    client_build: int = 0
    protocols: int = Protocols.PROTOCOL_SSL
    """`Protocols` to ask for; only TLS alone is spoken."""
    cookie: str | None = None
    """After ``Cookie: mstshash=``."""
    channels: tuple[str, ...] = ()
    """Static virtual channels to ask for, at most 31."""
    optional_blocks: bool = True
    """Send all that a modern client sends in Connect Initial and Client Info. False: only what the standard makes
    mandatory, as a client of RDP 4 does; xrdp refuses such a client."""
    skip_channel_join: bool = True
    fast_path_output: bool = True
    fast_path_input: bool = True
    """If the server takes it."""
    compression_header: bool = False
    """Want TS_CD_HEADER before compressed bitmaps, as old clients do."""
    multifragment_size: int | None = 4 * 1024 * 1024
    """Bytes of the longest update; None: no Multifragment Update Capability Set."""
    large_pointers: bool = True
    wait_for_grant: bool = False
    """Send Font List only when control is granted, as rdesktop does (fact 39), not in one batch with all the rest."""


class RdpClientMachine:
    """A connection to one server, as its client sees it. Driven like `server.RdpServerMachine`."""

    def __init__(self, options: ClientOptions) -> None:
        self.options = options
        self.state = ClientState.EXPECT_CONNECTION_CONFIRM
        self._incoming = UnitSplitter(NEGOTIATION_LIMIT)
        self._outgoing: list[bytes] = []
        self._events: deque[ClientEvent] = deque()
        self._error: RemoteProtocolError | None = None
        self._negotiation = NegotiationClientMachine(options.protocols, options.cookie, self._outgoing)
        self._mcs: McsClientMachine | None = None
        self._assemblers: dict[int, ChannelAssembler] = {}
        self._fragments = FragmentAssembler(options.multifragment_size or 0)
        self._pointers: dict[int, PointerShape] = {}
        self._detected_bytes = 0
        self._license_requested = False
        self.share_id = 0
        self.server_capabilities: Mapping[int, CapabilitySet] | None = None

    # Bytes

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the server: of the TCP stream first, of the TLS stream after `tls_established`."""
        if self.state not in (ClientState.DISCONNECTED, ClientState.ERROR):
            self._incoming.receive_data(data)

    def data_to_send(self) -> bytes:
        """Everything queued for the server, which is then no longer queued."""
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

    def next_event(self) -> ClientEvent | NeedData | Paused:
        """Take one event out of the bytes received so far. Never waits.

        Raises:
            NegotiationRefusedError: with the server's code, for example when it insists on CredSSP.
            LicenseRefusedError: the server wants a license, or has none for us.
            RemoteProtocolError: the server broke the protocol; the machine stays in ERROR.
        """
        while not self._events:
            if self._error is not None:
                raise self._error
            take = _TAKES.get(self.state)
            if take is None:
                return PAUSED
            try:
                found = self._incoming.next_unit(fast_path=self.server_capabilities is not None)
                if found is None:
                    return NEED_DATA
                kind, unit = found
                if kind is UnitKind.TPKT:
                    take(self, unit[_TPKT_HEADER_SIZE:])
                else:
                    self._take_fast_path(unit)
            except RemoteProtocolError as error:
                self._error = error
                self.state = ClientState.ERROR
                self._incoming.clear()
        return self._events.popleft()

    def _take_negotiation(self, tpdu: bytes) -> None:
        self._events.append(self._negotiation.receive(tpdu))
        self.state = ClientState.EXPECT_TLS

    def _take_mcs(self, tpdu: bytes) -> None:
        mcs = self._mcs_or_fail()
        event = mcs.receive(tpdu)
        match event:
            case ChannelData(channel_id=mcs.io_channel_id):
                self._take_io(event.data)
            case ChannelData(channel_id=mcs.message_channel_id):
                self._take_message(event.data)
            case ChannelData():
                self._take_channel(event.channel_id, event.data)
            case Disconnected():
                self._events.append(event)
                self.state = ClientState.DISCONNECTED
                self._incoming.clear()
            case _ if self.state is ClientState.CHANNEL_CONNECTION and mcs.state is McsState.CONNECTED:
                mcs.send(mcs.io_channel_id, pack_client_info(self._client_info()))
                self.state = ClientState.LICENSING

    def _take_io(self, data: bytes) -> None:
        if self.state is ClientState.LICENSING and not _is_share_pdu(data):
            self._answer_license(data)
            return
        while data:
            pdu, data = unpack_share_pdu(data)
            if isinstance(pdu, FlowPdu):
                continue
            try:
                body = unpack_body(pdu)
            except UnknownPduType2Error:
                continue
            self._move_on(type(body))
            self._take_share(body, pdu.share_id if isinstance(pdu, ShareDataPdu) else 0)

    def _answer_license(self, data: bytes) -> None:
        answer = answer_license_pdu(data)
        if answer is None:
            self._events.append(Licensed())
            self.state = ClientState.EXPECT_DEMAND_ACTIVE
        elif self._license_requested:
            raise LicenseRefusedError("the server asks for a license again")
        else:
            self._license_requested = True
            mcs = self._mcs_or_fail()
            mcs.send(mcs.io_channel_id, answer)

    def _move_on(self, body: type[object]) -> None:
        if body not in _MOVING:
            return
        state = CLIENT_SHARE_TRANSITIONS.get((self.state, body))
        if state is None:
            raise ShareSequenceError(f"{body.__name__} while waiting for {self.state.value}")
        self.state = state

    def _take_share(self, body: object, share_id: int) -> None:
        match body:
            case UpdatePdu(update=BitmapUpdate() as update):
                self._events.append(_bitmaps(update))
            case UpdatePdu(update=SynchronizeUpdate()):
                pass  # an artifact of T.128
            case UpdatePdu():
                packed = body.pack()
                self._events.append(UpdateIgnored(packed[0], len(packed)))
            case PointerPdu(pointer_attribute_data=pointer):
                self._take_pointer(pointer)
            case DemandActive():
                self._confirm(body)
            case Control(action=ControlAction.CTRLACTION_GRANTED_CONTROL) if self.options.wait_for_grant:
                self._send_data(FontList())
            case FontMap():
                self._events.append(Activated())
            case DeactivateAll():
                self._events.append(Deactivated())
            case session.SetErrorInfo(error_info=code):
                self._events.append(ErrorInfoReceived(code))
            case session.SaveSessionInfo(info_data=info):
                self._events.append(_session_info(info))
            case session.ShutdownDenied():
                self._events.append(ShutdownDenied())
            case _:
                pass  # Synchronize, Cooperate, monitor layout, lamps, beeps: nothing to do

    def _confirm(self, demand: DemandActive) -> None:
        self.share_id = demand.share_id
        self.server_capabilities = {
            one.capability_set_type if isinstance(one, UnknownCapabilitySet) else one.TYPE: one
            for one in demand.capability_sets
        }
        self._pointers.clear()
        bitmap = demand.find(BitmapCapabilitySet)
        width, height, depth = self.options.width, self.options.height, self.options.color_depth
        if bitmap is not None:  # fact 33: the server's word is final
            width, height, depth = bitmap.desktop_width, bitmap.desktop_height, bitmap.preferred_bits_per_pixel
        self._events.append(DemandActiveReceived(width, height, depth, self.server_capabilities))
        self._send_control(ConfirmActive(demand.share_id, client_capabilities(self.options, width, height, depth)))
        self._send_data(Synchronize(SERVER_CHANNEL_ID))
        self._send_data(Control(ControlAction.CTRLACTION_COOPERATE))
        self._send_data(Control(ControlAction.CTRLACTION_REQUEST_CONTROL))
        if not self.options.wait_for_grant:
            self._send_data(FontList())

    def _take_fast_path(self, unit: bytes) -> None:
        for update in FastPathOutputPdu.unpack(unit)[0].updates:
            whole = self._fragments.add(update)
            if whole is not None:
                self._take_update(whole)

    def _take_update(self, update: FastPathUpdate) -> None:
        if update.compression_flags is not None:  # which we never ask for
            self._events.append(UpdateIgnored(update.update_code, len(update.data)))
        elif update.update_code == UpdateCode.FASTPATH_UPDATETYPE_BITMAP:
            self._events.append(_bitmaps(BitmapUpdate.unpack(update.data)[0]))
        else:
            pointer = from_fast_path(update.update_code, update.data)
            if pointer is not None:
                self._take_pointer(pointer)
            elif update.update_code != UpdateCode.FASTPATH_UPDATETYPE_SYNCHRONIZE:
                self._events.append(UpdateIgnored(update.update_code, len(update.data)))

    def _take_pointer(self, pointer: PointerUpdate) -> None:
        match pointer:
            case PointerPosition(x_pos=x, y_pos=y):
                self._events.append(PointerMoved(x, y))
            case SystemPointer():
                self._events.append(PointerReceived(HIDDEN_POINTER if pointer == HIDDEN else DEFAULT_POINTER))
            case CachedPointer(cache_index=index):
                if index not in self._pointers:
                    raise RemoteProtocolError(f"cached pointer {index}, which never came")
                self._events.append(PointerReceived(self._pointers[index]))
            case _:
                if pointer.cache_index >= _POINTER_CACHE_SIZE:
                    raise RemoteProtocolError(f"pointer under index {pointer.cache_index} of {_POINTER_CACHE_SIZE}")
                shape = pointer_shape(pointer)
                self._pointers[pointer.cache_index] = shape
                self._events.append(PointerReceived(shape))

    def _take_message(self, data: bytes) -> None:
        """fact 28: auto-detection may come at any time, in the middle of licensing too."""
        header, body = BasicSecurityHeader.unpack(data)
        if header.flags & SecurityFlags.SEC_AUTODETECT_REQ:
            answer = self._detect(body)
            if answer is not None:
                mcs = self._mcs_or_fail()
                response = BasicSecurityHeader(SecurityFlags.SEC_AUTODETECT_RSP).pack() + answer
                mcs.send(mcs.message_channel_id or 0, response)

    def _detect(self, body: bytes) -> bytes | None:
        """[MS-RDPBCGR] 2.2.14: answers to a round-trip request, and to the end of a bandwidth measurement. Without a
        clock the time that it took is a millisecond; the server clamps what it cannot believe."""
        if len(body) < _DETECT.size:
            raise DecodeError(f"auto-detect request: {len(body)} bytes, not {_DETECT.size}")
        _, _, sequence, kind = _DETECT.unpack_from(body)
        if kind in (0x0001, 0x1001):
            return _DETECT.pack(6, 1, sequence, 0)
        if kind in (0x0014, 0x0114, 0x1014):
            self._detected_bytes = 0
        elif kind == 0x0002:
            self._detected_bytes += len(body)
        elif kind in (0x002B, 0x0429):
            result = 0x0003 if kind == 0x002B else 0x000B
            return _DETECT.pack(14, 1, sequence, result) + Struct("<II").pack(1, self._detected_bytes + len(body))
        return None

    def _take_channel(self, channel_id: int, data: bytes) -> None:
        assembler = self._assemblers.get(channel_id)
        message = assembler.add(data) if assembler is not None else None
        if message is not None:
            self._events.append(ChannelDataReceived(channel_id, message))

    # Told by the owner

    def tls_established(self) -> None:
        """After `StartTls`: bytes received and sent are those inside TLS from now on. Queues Connect Initial.

        Raises:
            LocalProtocolError: nobody asked for it.
        """
        if self.state is not ClientState.EXPECT_TLS:
            raise self._illegal("tls_established()")
        self._incoming.clear()
        self._incoming.limit = CLIENT_LIMIT
        self._mcs = McsClientMachine(self._user_data(), self._outgoing)
        self.state = ClientState.CHANNEL_CONNECTION

    def send_input(self, events: Iterable[InputEvent]) -> None:
        """Queue what the user did, on the fast path if the server takes it.

        Raises:
            LocalProtocolError: there is no share.
        """
        self._need_share("send_input()")
        wired = [wired for event in events for wired in wire_events(event)]
        fast = self.options.fast_path_input and self._server_input_flags() & (
            InputFlags.INPUT_FLAG_FASTPATH_INPUT | InputFlags.INPUT_FLAG_FASTPATH_INPUT2
        )
        for start in range(0, len(wired), _EVENTS_IN_A_PDU):
            part = tuple(wired[start : start + _EVENTS_IN_A_PDU])
            if fast:
                self._outgoing.append(FastPathInputPdu(part).pack())
            else:
                self._send_data(InputPdu(part))

    def send_refresh_rect(self, rectangles: Iterable[Rectangle]) -> None:
        """Queue Refresh Rect: these parts again, at most 255.

        Raises:
            LocalProtocolError: there is no share.
        """
        self._need_share("send_refresh_rect()")
        self._send_data(RefreshRect(tuple(_inclusive(rectangle) for rectangle in rectangles)))

    def send_suppress_output(self, rectangle: Rectangle | None) -> None:
        """Queue Suppress Output: show this from now on, or (None) nothing.

        Raises:
            LocalProtocolError: there is no share.
        """
        self._need_share("send_suppress_output()")
        self._send_data(SuppressOutput(None if rectangle is None else _inclusive(rectangle)))

    def send_shutdown_request(self) -> None:
        """Queue Shutdown Request: the user wants to close the window.

        Raises:
            LocalProtocolError: there is no share.
        """
        self._need_share("send_shutdown_request()")
        self._send_data(session.ShutdownRequest())

    def disconnect(self) -> None:
        """Queue the Disconnect Provider Ultimatum, if there is a domain to leave."""
        if self._mcs is not None and self._mcs.user_channel_id is not None and self.state is not _State.DISCONNECTED:
            self._mcs.send_ultimatum(DisconnectReason.RN_USER_REQUESTED)
        self.state = ClientState.DISCONNECTED

    def open_channel(self, name: str, *, message_limit: int = MESSAGE_LIMIT) -> int | None:
        """Ask for the messages of a static channel; its id, or None if the server gave none."""
        channel_id = self._mcs.channels.get(name) if self._mcs is not None else None
        if channel_id is not None and channel_id not in self._assemblers:
            self._assemblers[channel_id] = ChannelAssembler(message_limit)
        return channel_id

    def send_channel_data(self, channel_id: int, data: bytes) -> None:
        """Queue one message on a static channel.

        Raises:
            LocalProtocolError: the server has not attached us yet.
        """
        mcs = self._mcs_or_fail()
        for chunk in pack_chunks(data, CHANNEL_CHUNK_LENGTH):
            mcs.send(channel_id, chunk)

    # What we send

    def _send_control(self, body: ShareControlBody) -> None:
        mcs = self._mcs_or_fail()
        mcs.send(mcs.io_channel_id, pack_share_control(body, pdu_source=mcs.user_channel_id or 0))

    def _send_data(self, body: ShareDataBody) -> None:
        mcs = self._mcs_or_fail()
        pdu = pack_share_data(body, share_id=self.share_id, pdu_source=mcs.user_channel_id or 0)
        mcs.send(mcs.io_channel_id, pdu)

    def _user_data(self) -> ClientUserData:
        options = self.options
        flags = int(EarlyCapabilityFlags.RNS_UD_CS_SUPPORT_ERRINFO_PDU)
        if options.color_depth == 32:
            flags |= EarlyCapabilityFlags.RNS_UD_CS_WANT_32BPP_SESSION
        if options.skip_channel_join:
            flags |= EarlyCapabilityFlags.RNS_UD_CS_SUPPORT_SKIP_CHANNELJOIN
        core = ClientCoreData(
            desktop_width=options.width,
            desktop_height=options.height,
            # who claims 5 has to send the extended part of Client Info: FreeRDP's server insists
            version=RDP_VERSION_5_PLUS if options.optional_blocks else RDP_VERSION_4,
            keyboard_layout=options.keyboard_layout,
            client_build=options.client_build,
            client_name=options.client_name[:15],
            post_beta2_color_depth=_COLOR_DEPTH_CODES[options.color_depth],
            client_product_id=1,
            serial_number=0,
            high_color_depth=min(options.color_depth, 24),
            supported_color_depths=sum(SupportedColorDepths),
            early_capability_flags=flags,
        )
        blocks: list[Block] = [core, ClientSecurityData()]
        if options.optional_blocks:
            primary = MonitorDef(0, 0, options.width - 1, options.height - 1, MonitorFlags.TS_MONITOR_PRIMARY)
            blocks[0] = attrs.evolve(
                core,
                early_capability_flags=flags
                | EarlyCapabilityFlags.RNS_UD_CS_SUPPORT_STATUSINFO_PDU
                | EarlyCapabilityFlags.RNS_UD_CS_VALID_CONNECTION_TYPE,
                client_dig_product_id="",
                connection_type=ConnectionType.CONNECTION_TYPE_LAN,
                pad1octet=0,
                server_selected_protocol=self._negotiation.selected_protocol,
                desktop_physical_width=0,
                desktop_physical_height=0,
                desktop_orientation=0,
                desktop_scale_factor=100,
                device_scale_factor=100,
            )
            blocks += [
                ClientClusterData(ClusterFlags.REDIRECTION_SUPPORTED | 4 << 2),
                ClientMonitorData((primary,)),
                ClientMonitorExtendedData((MonitorAttributes(0, 0),)),
                ClientMessageChannelData(),
                ClientMultitransportChannelData(),
            ]
        if options.channels or options.optional_blocks:
            initialized = ChannelOptions.CHANNEL_OPTION_INITIALIZED
            blocks.insert(2, ClientNetworkData(tuple(ChannelDef(name, initialized) for name in options.channels)))
        return ClientUserData(tuple(blocks))

    def _client_info(self) -> ClientInfo:
        options = self.options
        # xrdp takes these four, if not all set, for a decryption that failed
        flags = (
            InfoFlags.INFO_MOUSE
            | InfoFlags.INFO_DISABLECTRLALTDEL
            | InfoFlags.INFO_UNICODE
            | InfoFlags.INFO_MAXIMIZESHELL
            | InfoFlags.INFO_LOGONNOTIFY
            | InfoFlags.INFO_LOGONERRORS
            | InfoFlags.INFO_ENABLEWINDOWSKEY
            | InfoFlags.INFO_MOUSE_HAS_WHEEL
            | InfoFlags.INFO_NOAUDIOPLAYBACK
        )
        if options.autologon and options.user_name:
            flags |= InfoFlags.INFO_AUTOLOGON
        info = ClientInfo(flags=flags, domain=options.domain, user_name=options.user_name, password=options.password)
        cookie = b""
        if options.reconnect_logon_id is not None and options.reconnect_secret is not None:
            # fact 73: the client random of enhanced security
            verifier = hmac.digest(options.reconnect_secret, CLIENT_RANDOM_OF_ENHANCED_SECURITY, "md5")
            cookie = ClientAutoReconnectPacket(options.reconnect_logon_id, verifier).pack()
        if not options.optional_blocks and not cookie:
            return info
        return attrs.evolve(
            info,
            client_address_family=AddressFamily.AF_INET,
            client_address="",
            client_dir="",
            client_time_zone=TimeZoneInformation(),
            client_session_id=0,
            performance_flags=0,
            auto_reconnect_cookie=cookie,
        )

    # Small questions

    def _mcs_or_fail(self) -> McsClientMachine:
        if self._mcs is None:
            raise self._illegal("sending")
        return self._mcs

    def _illegal(self, call: str) -> LocalProtocolError:
        return LocalProtocolError(f"{call} while waiting for {self.state.value}")

    def _need_share(self, call: str) -> None:
        # fact 41: input is legal as soon as Confirm Active is sent
        if self.state not in (ClientState.FINALIZATION, ClientState.ACTIVE):
            raise self._illegal(call)

    def _server_input_flags(self) -> int:
        capability = (self.server_capabilities or {}).get(InputCapabilitySet.TYPE)
        return capability.input_flags if isinstance(capability, InputCapabilitySet) else 0


_TAKES: Final[Mapping[ClientState, Callable[[RdpClientMachine, bytes], None]]] = {
    ClientState.EXPECT_CONNECTION_CONFIRM: RdpClientMachine._take_negotiation,
    ClientState.CHANNEL_CONNECTION: RdpClientMachine._take_mcs,
    ClientState.LICENSING: RdpClientMachine._take_mcs,
    ClientState.EXPECT_DEMAND_ACTIVE: RdpClientMachine._take_mcs,
    ClientState.FINALIZATION: RdpClientMachine._take_mcs,
    ClientState.ACTIVE: RdpClientMachine._take_mcs,
}
"""Who takes the payload of a TPKT; in other states the machine is paused."""

_DETECT: Final = Struct("<BBHH")


def _is_share_pdu(data: bytes) -> bool:
    """Whether it begins with a share control header, not a security header: where one has type and version, the other
    has flagsHi, which is 0."""
    return len(data) >= 4 and data[2] & 0xF0 == _TS_SHARE_VERSION and data[2] & 0x0F in set(PduType)


def _inclusive(rectangle: Rectangle) -> InclusiveRectangle:
    return InclusiveRectangle(rectangle.left, rectangle.top, rectangle.right - 1, rectangle.bottom - 1)


def _bitmaps(update: BitmapUpdate) -> BitmapsReceived:
    return BitmapsReceived(tuple(map(_bitmap, update.rectangles)))


def _bitmap(data: BitmapData) -> ReceivedBitmap:
    return ReceivedBitmap(
        Rectangle(data.dest_left, data.dest_top, data.dest_right + 1, data.dest_bottom + 1),
        data.width,
        data.height,
        data.bits_per_pixel,
        bool(data.flags & BitmapFlags.BITMAP_COMPRESSION),
        data.bitmap_data_stream,
    )


def _session_info(info: session.LogonData) -> SessionInfoReceived:
    match info:
        case session.LogonInfoExtended(auto_reconnect=ServerAutoReconnectPacket() as cookie):
            return SessionInfoReceived(cookie.logon_id, cookie.arc_random_bits)
        case session.LogonInfo() | session.LogonInfoVersion2():
            return SessionInfoReceived(info.session_id)
        case _:
            return SessionInfoReceived()


@lru_cache(maxsize=64)
def client_capabilities(options: ClientOptions, width: int, height: int, color_depth: int) -> tuple[CapabilitySet, ...]:
    """What Confirm Active says: bitmaps and pointers, and no orders.

    Args:
        options: of the client.
        width: of the desktop as the server named it, pixels.
        height: likewise.
        color_depth: likewise, bits per pixel.
    """
    extra_flags = int(ExtraFlags.LONG_CREDENTIALS_SUPPORTED | ExtraFlags.AUTORECONNECT_SUPPORTED)
    if options.fast_path_output:
        extra_flags |= ExtraFlags.FASTPATH_OUTPUT_SUPPORTED
    if not options.compression_header:
        extra_flags |= ExtraFlags.NO_BITMAP_COMPRESSION_HDR
    input_flags = (
        InputFlags.INPUT_FLAG_SCANCODES
        | InputFlags.INPUT_FLAG_MOUSEX
        | InputFlags.INPUT_FLAG_UNICODE
        | InputFlags.INPUT_FLAG_FASTPATH_INPUT
        | InputFlags.INPUT_FLAG_FASTPATH_INPUT2
        | InputFlags.TS_INPUT_FLAG_MOUSE_HWHEEL
    )
    sets: list[CapabilitySet] = [
        GeneralCapabilitySet(extra_flags=extra_flags),
        BitmapCapabilitySet(preferred_bits_per_pixel=color_depth, desktop_width=width, desktop_height=height),
        OrderCapabilitySet(),
        BitmapCacheCapabilitySet(),
        PointerCapabilitySet(color_pointer_cache_size=_POINTER_CACHE_SIZE, pointer_cache_size=_POINTER_CACHE_SIZE),
        InputCapabilitySet(
            input_flags=input_flags,
            keyboard_layout=options.keyboard_layout,
            keyboard_type=4,
            keyboard_function_key=12,
        ),
        BrushCapabilitySet(),
        GlyphCacheCapabilitySet(),
        OffscreenCacheCapabilitySet(),
        VirtualChannelCapabilitySet(),
        SoundCapabilitySet(),
        ControlCapabilitySet(),
        WindowActivationCapabilitySet(),
        ShareCapabilitySet(0),
        ColorCacheCapabilitySet(),
        FontCapabilitySet(),
    ]
    if options.multifragment_size is not None:
        sets.append(MultifragmentUpdateCapabilitySet(options.multifragment_size))
    if options.large_pointers:
        flags = LargePointerSupportFlags.LARGE_POINTER_FLAG_96x96 | LargePointerSupportFlags.LARGE_POINTER_FLAG_384x384
        sets.append(LargePointerCapabilitySet(flags))
    return tuple(sets)


def pointer_shape(pointer: ColorPointer | NewPointer | LargePointer) -> PointerShape:
    """The shape of a pointer update. Of depths that need a palette, or that servers disagree about, the client's own
    arrow.

    Raises:
        CodecError: masks that do not fit the size.
    """
    width, height, depth = pointer.width, pointer.height, pointer.xor_bpp
    if not width or not height:
        return HIDDEN_POINTER
    if depth not in (1, 24, 32):
        return DEFAULT_POINTER
    pixels = decode_pointer(pointer.xor_mask_data, pointer.and_mask_data, width, height, depth)
    return PointerShape(width, height, pointer.hot_spot_x, pointer.hot_spot_y, pixels)
