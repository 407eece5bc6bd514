"""IWRdsProtocolConnection of the RDP provider: a `RdpServerMachine`, driven."""

import ssl
import uuid
from collections.abc import Sequence
from functools import partial

import structlog
import trio

from rdpprov.api import (
    ClientData,
    ConnectionSettings,
    LicenseConnection,
    ProtocolListenerCallback,
    SessionId,
    UserCredential,
)
from rdpprov.api.devices import Channel, InputDevices, VideoDevice
from rdpprov.api.identity import ReconnectClaim, ReconnectMethod, UserToken
from rdpprov.api.structures import PropertyValue, ProtocolCounters, ProtocolStatus
from rdpprov.encoding.bitmap import TileCache
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import E_ACCESSDENIED, HResultError, NotImplementedByProvider, RemoteProtocolError
from rdpprov.protocol.events import NEED_DATA, PAUSED
from rdpprov.protocol.rdp.events import (
    Activated,
    CapabilitiesConfirmed,
    ChannelDataReceived,
    ClientInfoReceived,
    Disconnected,
    InputReceived,
    NegotiationRefused,
    OutputSuppressed,
    RefreshRequested,
    ServerEvent,
    ShutdownRequested,
    StartTls,
)
from rdpprov.protocol.rdp.framing import LOGON_LIMIT
from rdpprov.protocol.rdp.server import RdpServerMachine, ServerOptions, ServerState
from rdpprov.providers.driving import MAX_UNSENT, DrivenConnection, in_time
from rdpprov.providers.rdp.channels import MESSAGE_LIMIT, StaticChannel
from rdpprov.providers.rdp.client_data import (
    client_data,
    connection_settings,
    has_credentials,
    known_properties,
    property_of,
)
from rdpprov.providers.rdp.graphics import RdpVideoDevice
from rdpprov.providers.rdp.input import RdpInputDevices
from rdpprov.providers.rdp.license_connection import RdpLicenseConnection
from rdpprov.providers.rdp.options import RdpListenerOptions
from rdpprov.providers.rdp.wire_trace import WireTrace
from rdpprov.providers.transport import ClientGone, Transport
from rdpprov.wire.rdp.client_info import ClientInfo, InfoFlags
from rdpprov.wire.rdp.gcc import ClientCoreData

SERVER_OPTIONS = ServerOptions()

TILE_CACHE = TileCache()
"""Encoded tiles of all clients of this process: who sees the same picture costs one encoding."""

ENHANCED_SECURITY_RANDOM = bytes(32)
"""The client random of an auto-reconnect verifier under TLS (fact 73; [MS-RDPBCGR] 5.5): 32 zero bytes."""


class RdpConnection(DrivenConnection):
    """One RDP client, from its first byte to its last."""

    unread_limit = LOGON_LIMIT

    def __init__(
        self,
        stream: trio.abc.HalfCloseableStream,
        peer: tuple[str, int],
        options: RdpListenerOptions,
        tls: ssl.SSLContext,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        super().__init__()
        self._machine: RdpServerMachine = RdpServerMachine(SERVER_OPTIONS)
        self._transport = Transport(stream, options.send_timeout)
        self._peer = peer
        self._options = options
        self._tls = tls
        self._log = log
        self._wire: WireTrace = WireTrace()
        self._input = RdpInputDevices()
        self._video: RdpVideoDevice = RdpVideoDevice(
            self._machine, TILE_CACHE, self._bell.ring, partial(self._wire.milestone, "first_frame")
        )
        self._active = trio.Event()
        self._channels: dict[int, StaticChannel] = {}
        self._logon: tuple[str, str, bool] | None = None
        """User, domain, and whether automatic reconnection is allowed, until the client has been told."""
        self._logged_on = False
        self._session_id = 0
        self._size = (0, 0)
        self._color_depth = 0
        self._core: ClientCoreData
        self._info: ClientInfo
        self._client: ClientData

    # Before OnConnected: the listener's affair

    @property
    def stage(self) -> str:
        """What the client is expected to do, for the log."""
        return self._machine.state.value

    @property
    def client_name(self) -> str:
        """The client's computer, as it says."""
        return self._core.client_name

    async def introduce(self) -> None:
        """From the first byte to Client Info.

        Raises:
            RemoteProtocolError: the client is not one, is too slow, or is gone.
        """
        with in_time(self._options.negotiation_timeout, "X.224 negotiation"):
            event = await self._next_event()
            await self._flush()
        if isinstance(event, NegotiationRefused):
            raise RemoteProtocolError(f"no common security protocol: answered {event.failure_code.name}")
        self._wire.milestone("x224", selected=str(self._machine.selected_protocol))
        with in_time(self._options.introduction_timeout, "TLS, MCS and Client Info"):
            if isinstance(event, StartTls):
                client_hello = self._machine.take_trailing_data()
                self._wire.was_not_ours(len(client_hello))
                await self._transport.start_tls(self._tls, client_hello)
                self._machine.tls_established()
                self._wire.milestone("tls")
                event = await self._next_event()
            while not isinstance(event, ClientInfoReceived):
                if isinstance(event, Disconnected):
                    raise ClientGone("client disconnected")
                event = await self._next_event()
        self._wire.milestone("client_info")
        assert self._machine.client_core is not None  # it came with Connect Initial
        self._core, self._info = self._machine.client_core, event.info
        low, high = self._machine.options.min_desktop, self._machine.options.max_desktop
        self._size = (
            min(max(self._core.desktop_width, low[0]), high[0]),
            min(max(self._core.desktop_height, low[1]), high[1]),
        )
        # Depths with a palette are not offered: such a client gets 16, which all of them can.
        depth = self._core.color_depth()
        self._color_depth = depth if depth >= 15 else 16
        self._client = client_data(
            self._core,
            self._info,
            width=self._size[0],
            height=self._size[1],
            color_depth=self._color_depth,
            peer=self._peer,
        )
        self.known_properties = known_properties(self._info)

    async def _next_event(self) -> ServerEvent:
        """Wait for one event of the machine, sending what it has to say meanwhile."""
        while True:
            event = self._machine.next_event()
            if event is PAUSED:
                raise RemoteProtocolError(f"nothing can go on while waiting for {self.stage}")
            if event is not NEED_DATA:
                return event
            await self._flush()
            self._receive(await self._transport.receive_some())

    # From OnConnected to Close

    async def serve(self, listener_callback: ProtocolListenerCallback) -> None:
        """Hand the client to the service, and serve it until Close."""
        callback = await listener_callback.on_connected(self, connection_settings(self._client))
        self._wire.attach(callback)
        await self._drive(callback)

    def _received(self, data: bytes) -> None:
        self._wire.received(data)

    def _note_for_client(self, error: Exception) -> None:
        errinfo = ErrInfo.ERRINFO_GRAPHICSSUBSYSTEMFAILED
        if isinstance(error, RemoteProtocolError):
            errinfo = error.errinfo
        self._machine.send_set_error_info(errinfo)

    def _before_writing(self) -> None:
        self._tell_logon()

    def _queue_piece(self) -> None:
        self._video.queue_piece()

    def _say_goodbye(self) -> None:
        """Ultimatum: [MS-RDPBCGR] 1.3.1.4."""
        self._machine.disconnect(user_requested=False)

    def _take_events(self) -> bool:
        """Act on all that the machine has to tell; whether it is paused, and waits for the service."""
        while True:
            event = self._machine.next_event()
            if event is NEED_DATA or event is PAUSED:
                return event is PAUSED
            self._handle(event)

    def _handle(self, event: ServerEvent) -> None:
        match event:
            case InputReceived(events=events):
                self._input.deliver(events)
            case CapabilitiesConfirmed():
                self._wire.milestone("confirm_active")
            case ChannelDataReceived(channel_id=channel_id, data=message):
                if channel_id in self._channels:
                    self._channels[channel_id].deliver(message)
            case Activated():
                self._active.set()
                self._wire.milestone("font_map")
                self._video.activated(*self._size, self._color_depth)
            case RefreshRequested(rectangles=rectangles):
                self._video.refresh(rectangles)
            case OutputSuppressed(suppressed=suppressed):
                self._video.suppress(suppressed)
            case ShutdownRequested():
                if not self._logged_on:
                    self._machine.disconnect(user_requested=True)
                    raise ClientGone("client shut down before anybody was logged on")
                self._machine.send_shutdown_denied()  # SES-02: the session stays; the client asks its user, and leaves
            case Disconnected():
                raise ClientGone("client disconnected")
            case _:
                pass  # nothing that this provider acts on: frame acknowledgements

    # IWRdsProtocolConnection, in the order of the connection sequence

    async def accept_connection(self) -> None:
        """IWRdsProtocolConnection.AcceptConnection: the client waits for licensing already."""

    async def get_client_data(self) -> ClientData:
        """IWRdsProtocolConnection.GetClientData: from Client Core Data and Client Info."""
        return self._client

    async def get_user_credentials(self) -> UserCredential:
        """IWRdsProtocolConnection.GetUserCredentials: those of Client Info, if the client wants to be logged on."""
        info = self._info
        if not has_credentials(info):
            raise NotImplementedByProvider("the client sent no credentials")
        try:
            return UserCredential(user_name=info.user_name, password=info.password, domain=info.domain)
        except ValueError as error:
            raise HResultError(f"the client's credentials do not fit: {error}") from None

    async def get_license_connection(self) -> LicenseConnection:
        """IWRdsProtocolConnection.GetLicenseConnection."""
        return RdpLicenseConnection(self)

    async def licensing_complete(self, success: bool) -> None:
        """ProtocolComplete: the alert, and after success Demand Active; the client finalizes in our reading task."""
        if self._is_broken:
            return  # the service will notice soon
        self._machine.complete_licensing(success)
        if success:
            # A write of its own: in one segment with the alert, Wireshark takes Demand Active for licensing too.
            self._collect()
            self._machine.activate(*self._size, self._color_depth)
            self._wire.milestone("demand_active")
        self._bell.ring()

    async def authenticate_client_to_session(self) -> ReconnectClaim:
        """IWRdsProtocolConnection.AuthenticateClientToSession: the client's auto-reconnect cookie, if it sent one.

        Source: [MS-RDPBCGR] 5.5 "Automatic Reconnection".
        """
        cookie = self._info.auto_reconnect
        if cookie is None:
            raise NotImplementedByProvider("the client names no session")
        return ReconnectClaim(
            session_id=cookie.logon_id,
            verifier=cookie.security_verifier,
            method=ReconnectMethod.HMAC_MD5,
            challenge=ENHANCED_SECURITY_RANDOM,
        )

    async def notify_session_id(self, session_id: SessionId, session_handle: int) -> None:
        """IWRdsProtocolConnection.NotifySessionId."""
        self._session_id = session_id.session_id

    async def get_input_handles(self) -> InputDevices:
        """IWRdsProtocolConnection.GetInputHandles."""
        return self._input

    async def get_video_handle(self) -> VideoDevice:
        """IWRdsProtocolConnection.GetVideoHandle."""
        return self._video

    async def connect_notify(self, session_id: int) -> None:
        """IWRdsProtocolConnection.ConnectNotify: frames may go out, once Font Map has."""
        self._video.connected()

    async def logon_notify(
        self,
        user: UserToken,
        user_name: str,
        domain_name: str,
        session_id: SessionId,
        settings: ConnectionSettings,
    ) -> ConnectionSettings:
        """IWRdsProtocolConnection.LogonNotify: the client is told by the writing task, for it may not be active."""
        self._logged_on = True
        self._session_id = session_id.session_id
        self._logon = (user_name, domain_name, not settings.disable_auto_reconnect)
        self._wire.logged_on()
        self._bell.ring()
        return settings

    def _tell_logon(self) -> None:
        """Save Session Info: [MS-RDPBCGR] 2.2.10.1. Fact 40: IronRDP's client takes none before Font Map."""
        if self._logon is None or self._callback is None or self._machine.state is not ServerState.ACTIVE:
            return
        (user_name, domain, auto_reconnect), self._logon = self._logon, None
        secret = None
        if auto_reconnect and self._machine.client_takes_auto_reconnect:
            try:
                secret = self._callback.issue_reconnect_secret().secret
            except HResultError as error:
                self._log.debug("no reconnect secret", reason=str(error))
            else:
                self._wire.hide(secret)
        if secret is not None or self._info.flags & InfoFlags.INFO_LOGONNOTIFY:
            self._machine.send_save_session_info(
                user_name=user_name, domain=domain, session_id=self._session_id, reconnect_secret=secret
            )

    async def disconnect_notify(self) -> None:
        """IWRdsProtocolConnection.DisconnectNotify: show no more of that session."""
        self._video.disconnected()

    async def end(self) -> None:
        """Let the client go, and whoever waits for one of its channels."""
        for channel in list(self._channels.values()):
            channel.end()
        self._active.set()  # whoever waits to send finds the channel closed
        await super().end()

    # Queries

    async def get_protocol_status(self) -> ProtocolStatus:
        """IWRdsProtocolConnection.GetProtocolStatus.

        Of both directions Bytes are those inside TLS, Frames the writes and reads. Output: WdFrames are whole frames,
        WdBytes their bytes before compression, CompressedBytes after it. Input: WdFrames are keys and moves.
        """
        transport, video = self._transport, self._video
        return ProtocolStatus(
            output=ProtocolCounters(
                bytes=transport.bytes_out & 0xFFFFFFFF,
                frames=transport.writes & 0xFFFFFFFF,
                wd_bytes=video.raw_bytes & 0xFFFFFFFF,
                wd_frames=video.frames & 0xFFFFFFFF,
                compressed_bytes=video.encoded_bytes & 0xFFFFFFFF,
            ),
            input=ProtocolCounters(
                bytes=transport.bytes_in & 0xFFFFFFFF,
                frames=self._reads & 0xFFFFFFFF,
                wd_frames=self._input.events & 0xFFFFFFFF,
            ),
        )

    async def get_last_input_time(self) -> int:
        """IWRdsProtocolConnection.GetLastInputTime: milliseconds since the last input."""
        return self._input.idle_milliseconds

    async def query_property(
        self, query_type: uuid.UUID, entries_in: Sequence[PropertyValue] = ()
    ) -> Sequence[PropertyValue]:
        """IWRdsProtocolConnection.QueryProperty: what Client Info says beyond the client data."""
        return property_of(self._info, query_type)

    async def create_virtual_channel(self, endpoint_name: str, static: bool, requested_priority: int) -> Channel:
        """IWRdsProtocolConnection.CreateVirtualChannel: a static channel that the client has joined.

        Its priority is the one that the client asked for; dynamic channels are not offered.
        """
        if not static:
            raise NotImplementedByProvider("dynamic channels")
        channel_id = self._machine.open_channel(endpoint_name, message_limit=MESSAGE_LIMIT)
        if channel_id is None or self._closing.is_set():
            raise NotImplementedByProvider(f"the client has no channel {endpoint_name}")
        if channel_id in self._channels:
            raise HResultError(f"channel {endpoint_name} is open already", E_ACCESSDENIED)
        channel = self._channels[channel_id] = StaticChannel(
            self._machine,
            endpoint_name,
            channel_id,
            room=self._wait_for_room,
            wake=self._bell.ring,
            forget=self._channels.pop,
            log=self._log,
        )
        return channel

    async def _wait_for_room(self) -> None:
        """Until the client is active, and takes what it is sent."""
        await self._active.wait()
        while sum(map(len, self._output)) > MAX_UNSENT and not self._closing.is_set():
            await self._written.park()

    async def set_error_info(self, error: int) -> None:
        """IWRdsProtocolConnection.SetErrorInfo: sent if a share exists and the client announced it (ERR-01)."""
        if self._machine.send_set_error_info(_errinfo(error)):
            self._bell.ring()


def _errinfo(code: int) -> ErrInfo:
    try:
        return ErrInfo(code)
    except ValueError:
        return ErrInfo.ERRINFO_RPC_INITIATED_DISCONNECT
