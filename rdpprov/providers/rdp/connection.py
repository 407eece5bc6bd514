"""IWRdsProtocolConnection of the RDP provider: the trio driver around one `RdpServerMachine`.

Two tasks serve a client, both children of its listener. One reads and acts on what it reads; the other writes: what the
machine has to say, then pieces of the picture. The reader sends its answers itself as long as the socket takes them;
nobody but the writer ever waits for that, so a client that takes nothing holds up only that task. The service's calls
come from the service's own task: they change what the machine or the devices know, and wake the writer.
"""

import ssl
import uuid
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import structlog
import trio

from rdpprov.api import (
    ClientData,
    ConnectionSettings,
    LicenseConnection,
    ProtocolConnection,
    ProtocolConnectionCallback,
    ProtocolListenerCallback,
    SessionId,
    UserCredential,
)
from rdpprov.api.devices import Channel, InputDevices, VideoDevice
from rdpprov.api.identity import ReconnectClaim, ReconnectMethod, UserToken
from rdpprov.api.structures import PropertyValue, ProtocolCounters, ProtocolStatus
from rdpprov.encoding.bitmap import TileCache
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import E_ACCESSDENIED, HResultError, NotImplementedByProvider, RemoteProtocolError, for_log
from rdpprov.protocol.rdp.events import (
    NEED_DATA,
    PAUSED,
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
from rdpprov.providers.driving import Bell, in_time
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
from rdpprov.providers.transport import LINGER, ClientGone, Transport
from rdpprov.wire.rdp.client_info import ClientInfo, InfoFlags
from rdpprov.wire.rdp.gcc import ClientCoreData

SERVER_OPTIONS = ServerOptions()

TILE_CACHE = TileCache()
"""Encoded tiles of all clients of this process: who sees the same picture costs one encoding."""

ENHANCED_SECURITY_RANDOM = bytes(32)
"""The client random of an auto-reconnect verifier under TLS (fact 73; [MS-RDPBCGR] 5.5): 32 zero bytes."""

MAX_UNSENT = 64 * 1024
"""Bytes of answers that may wait for a client that does not take them, before we stop reading what it asks."""


class RdpConnection(ProtocolConnection):
    """One RDP client, from its first byte to its last."""

    def __init__(
        self,
        stream: trio.abc.HalfCloseableStream,
        peer: tuple[str, int],
        options: RdpListenerOptions,
        tls: ssl.SSLContext,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        self._machine = RdpServerMachine(SERVER_OPTIONS)
        self._transport = Transport(stream, options.send_timeout)
        self._peer = peer
        self._options = options
        self._tls = tls
        self._log = log
        self._wire = WireTrace()
        self._input = RdpInputDevices()
        self._bell = Bell()
        self._video = RdpVideoDevice(
            self._machine, TILE_CACHE, self._bell.ring, partial(self._wire.milestone, "first_frame")
        )
        self._callback: ProtocolConnectionCallback | None = None
        self._output: list[bytes] = []
        """Out of the machine, and not yet on its way: a write each."""
        self._written = trio.lowlevel.ParkingLot()
        self._active = trio.Event()
        self._channels: dict[int, StaticChannel] = {}
        self._reads = 0
        self._writing = trio.CancelScope()
        self._is_broken = False
        self._closing = trio.Event()
        self._is_served = False
        self._tasks_done = trio.Event()
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

    def _receive(self, data: bytes) -> None:
        self._reads += 1
        self._wire.received(data)
        self._machine.receive_data(data)

    def _collect(self) -> None:
        """Take out of the machine what it has to say."""
        data = self._machine.data_to_send()
        if data:
            self._wire.sent(data)
            self._output.append(data)

    def _send_now(self) -> bool:
        """Send what there is, as long as that needs no waiting; whether it was all."""
        self._collect()
        while self._output and not self._transport.has_unsent:
            self._transport.send(self._output.pop(0))
        return not self._output and not self._transport.has_unsent

    async def _flush(self) -> None:
        """Send what there is. One task at a time."""
        while not self._send_now():
            await self._transport.drain()

    # From OnConnected to Close

    async def serve(self, listener_callback: ProtocolListenerCallback) -> None:
        """Hand the client to the service, and serve it until Close."""
        callback = await listener_callback.on_connected(self, connection_settings(self._client))
        self._wire.attach(callback)
        if self._closing.is_set():
            return
        self._callback = callback
        self._is_served = True
        try:
            callback.on_ready()
            async with trio.open_nursery() as tasks:
                tasks.start_soon(self._run, self._read)
                tasks.start_soon(self._run, self._write)
                try:
                    await self._closing.wait()
                finally:
                    # A write that is under way may end, so that what is said last can still be understood.
                    self._writing.deadline = trio.current_time() + LINGER
                    tasks.cancel_scope.cancel()
        finally:
            self._tasks_done.set()

    async def _run(self, task: Callable[[], Awaitable[None]]) -> None:
        """One of the two tasks. When one cannot go on, the service is told, once, and ends the other by Close."""
        try:
            await task()
        except Exception as error:
            if self._is_broken:
                return
            self._is_broken = True
            self._note(error)
            self._video.disconnected()
            self._bell.ring()
            assert self._callback is not None
            self._callback.broken_connection()

    def _note(self, error: Exception) -> None:
        """For the log, and for the client if it can still be told."""
        match error:
            case ClientGone():
                self._log.info("client is gone", reason=str(error))
                return
            case RemoteProtocolError(errinfo=errinfo):
                self._log.warning("client broke the protocol", reason=str(error), state=self.stage)
            case _:
                self._log.error("connection failed", **for_log(error))
                errinfo = ErrInfo.ERRINFO_GRAPHICSSUBSYSTEMFAILED
        self._machine.send_set_error_info(errinfo)

    async def _read(self) -> None:
        unread = 0
        while True:
            is_paused = self._take_events()
            if not self._send_now():
                self._bell.ring()
                while sum(map(len, self._output)) > MAX_UNSENT:
                    await self._written.park()
            # Also while the machine is paused, or we would not notice that the client is gone.
            data = await self._transport.receive_some()
            unread = unread + len(data) if is_paused else 0
            if unread > LOGON_LIMIT:
                raise RemoteProtocolError(f"more than {LOGON_LIMIT} bytes while waiting for {self.stage}")
            self._receive(data)

    async def _write(self) -> None:
        while True:
            self._tell_logon()
            if not self._send_now():
                # Shielded, as what is sent in part cannot be taken back; `serve` sets the limit when we are to leave.
                with trio.CancelScope(shield=True) as self._writing:
                    await self._flush()
            self._written.unpark_all()
            due = self._video.due()
            if due is None:
                await self._bell.wait()
            elif due <= trio.current_time():
                await self._transport.wait_writable()
                self._video.queue_piece()
            else:
                with trio.move_on_at(due):
                    await self._bell.wait()

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

    async def close(self) -> None:
        """IWRdsProtocolConnection.Close: ultimatum, TLS close_notify, FIN ([MS-RDPBCGR] 1.3.1.4)."""
        self._closing.set()
        if self._is_served:
            await self._tasks_done.wait()  # two tasks must not receive at once: saying goodbye waits for the client
        await self.end()

    async def end(self) -> None:
        """Let the client go: by Close, or by the listener if it does not come so far. Whoever is second waits."""
        self._machine.disconnect(user_requested=False)
        self._collect()
        last_words, self._output = b"".join(self._output), []
        self._callback = None  # it holds us: neither shall have to wait for a garbage collection
        for channel in list(self._channels.values()):
            channel.end()
        self._active.set()  # whoever waits to send finds the channel closed
        self._written.unpark_all()
        self._wire.detach()
        await self._transport.aclose(last_words)

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
