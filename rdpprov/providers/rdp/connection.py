"""IWRdsProtocolConnection of the RDP provider: the trio driver around one `RdpServerMachine`.

Two tasks serve a client, both children of its listener: one reads, one sends frames. The service's calls come from the
service's own task; they change what the machine or the devices know, and flush.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress

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
from rdpprov.api.devices import InputDevices, VideoDevice
from rdpprov.api.identity import ReconnectClaim, ReconnectMethod, UserToken
from rdpprov.api.structures import ProtocolCounters, ProtocolStatus
from rdpprov.encoding.bitmap import TileCache
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import HResultError, NotImplementedByProvider, RdpProvError, RemoteProtocolError
from rdpprov.protocol.rdp.events import (
    NEED_DATA,
    PAUSED,
    Activated,
    CapabilitiesConfirmed,
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
from rdpprov.protocol.rdp.server import RdpServerMachine, ServerOptions
from rdpprov.providers.rdp.client_data import client_data, connection_settings, has_credentials
from rdpprov.providers.rdp.graphics import RdpVideoDevice
from rdpprov.providers.rdp.input import RdpInputDevices
from rdpprov.providers.rdp.license_connection import RdpLicenseConnection
from rdpprov.providers.rdp.options import RdpListenerOptions
from rdpprov.providers.rdp.transport import ClientGone, Transport
from rdpprov.providers.rdp.wire_trace import WireTrace
from rdpprov.wire.rdp.client_info import ClientInfo, InfoFlags
from rdpprov.wire.rdp.gcc import ClientCoreData

SERVER_OPTIONS = ServerOptions()

TILE_CACHE = TileCache()
"""Encoded tiles of all clients of this process: who sees the same picture costs one encoding."""

ENHANCED_SECURITY_RANDOM = bytes(32)
"""The client random of an auto-reconnect verifier under TLS (fact 73; [MS-RDPBCGR] 5.5): 32 zero bytes."""


class RdpConnection(ProtocolConnection):
    """One RDP client, from its first byte to its last."""

    def __init__(
        self,
        stream: trio.SocketStream,
        peer: tuple[str, int],
        options: RdpListenerOptions,
        tls: ssl.SSLContext,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        self._machine = RdpServerMachine(SERVER_OPTIONS)
        self._transport = Transport(stream, self._take_output, options.send_timeout)
        self._stream = stream
        self._peer = peer
        self._options = options
        self._tls = tls
        self._log = log
        self._wire = WireTrace()
        self._input = RdpInputDevices()
        self._video = RdpVideoDevice(self._machine, self._transport, TILE_CACHE, self._first_frame_sent)
        self._callback: ProtocolConnectionCallback | None = None
        self._closing = trio.Event()
        self._active = trio.Event()
        self._tasks: trio.Nursery | None = None
        self._tasks_done = trio.Event()
        self._logged_on = False
        self._session_id = 0
        self._size = (0, 0)
        self._color_depth = 0
        self._core: ClientCoreData
        self._info: ClientInfo

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
            RdpProvError: the client is not one, is too slow, or is gone.
        """
        with _limit(self._options.negotiation_timeout, "X.224 negotiation"):
            event = await self._next_event()
            if isinstance(event, NegotiationRefused):
                await self._refuse(event)
            await self._transport.flush()
        self._wire.milestone("x224", selected=str(self._machine.selected_protocol))
        with _limit(self._options.introduction_timeout, "TLS, MCS and Client Info"):
            if isinstance(event, StartTls):
                await self._transport.start_tls(self._tls, self._machine.take_trailing_data())
                self._machine.tls_established()
                self._wire.milestone("tls")
                event = await self._next_event()
            while not isinstance(event, ClientInfoReceived):
                if isinstance(event, Disconnected):
                    raise ClientGone("client disconnected")
                event = await self._next_event()
        self._wire.milestone("client_info")
        self._wire.hide_password(event.info)
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

    async def _refuse(self, refusal: NegotiationRefused) -> None:
        """Fact 1: nothing may follow the failure, so half-close and wait for the client to go."""
        await self._transport.flush()
        with trio.move_on_after(2):
            await self._stream.send_eof()
            while await self._stream.receive_some(4096):
                pass
        raise RemoteProtocolError(f"no common security protocol: answered {refusal.failure_code.name}")

    async def _next_event(self) -> ServerEvent:
        """Wait for one event of the machine, sending what it has to say meanwhile."""
        while True:
            event = self._machine.next_event()
            if event is PAUSED:
                raise RemoteProtocolError(f"nothing can go on while waiting for {self.stage}")
            if event is not NEED_DATA:
                return event
            await self._transport.flush()
            self._receive(await self._transport.receive_some())

    def _receive(self, data: bytes) -> None:
        self._wire.received(data)
        self._machine.receive_data(data)

    def _take_output(self) -> bytes:
        data = self._machine.data_to_send()
        if data:
            self._wire.sent(data)
        return data

    # From OnConnected to Close

    async def serve(self, listener_callback: ProtocolListenerCallback) -> None:
        """Hand the client to the service, and serve it until Close."""
        callback = await listener_callback.on_connected(self, connection_settings(self._client_data()))
        self._callback = callback
        self._wire.attach(callback)
        async with trio.open_nursery() as nursery:
            self._tasks = nursery
            if not self._closing.is_set():
                callback.on_ready()
                nursery.start_soon(self._run, self._read, callback)
                nursery.start_soon(self._run, self._video.run, callback)
            await self._closing.wait()
        self._tasks_done.set()

    async def _run(self, task: object, callback: ProtocolConnectionCallback) -> None:
        """A task of the connection: when it cannot go on, the service is told, once, and ends the rest by Close."""
        try:
            await task()  # type: ignore[operator]
        except ClientGone as error:
            self._log.info("client is gone", reason=str(error))
        except RdpProvError as error:
            self._log.warning("client broke the protocol", reason=str(error), state=self.stage)
            self._machine.send_set_error_info(error.errinfo)
        except Exception:
            self._log.exception("connection failed")
            self._machine.send_set_error_info(ErrInfo.ERRINFO_GRAPHICSSUBSYSTEMFAILED)
        callback.broken_connection()

    async def _read(self) -> None:
        while True:
            self._take_events()
            await self._transport.flush()
            self._receive(await self._transport.receive_some())

    def _take_events(self) -> None:
        """Act on all that the machine has to tell. Never waits, so whoever let the machine go on may call it."""
        while True:
            event = self._machine.next_event()
            if event is NEED_DATA or event is PAUSED:
                return
            self._handle(event)

    def _handle(self, event: ServerEvent) -> None:
        match event:
            case InputReceived(events=events):
                self._input.deliver(events)
            case CapabilitiesConfirmed():
                self._wire.milestone("confirm_active")
            case Activated():
                self._wire.milestone("font_map")
                self._wire.hide_input(not self._logged_on)
                self._active.set()
                self._video.activated(*self._size, self._color_depth)
            case RefreshRequested(rectangles=rectangles):
                self._video.refresh(rectangles)
            case OutputSuppressed(suppressed=suppressed):
                self._video.suppress(suppressed)
            case ShutdownRequested():
                if self._logged_on:  # SES-02: the session stays; the client asks its user, and leaves
                    self._machine.send_shutdown_denied()
                else:
                    self._machine.disconnect(user_requested=True)
            case Disconnected():
                raise ClientGone("client disconnected")
            case _:
                pass  # nothing that this provider acts on: frame acknowledgements, channels that nobody opened

    async def _flush_if_possible(self) -> None:
        """For the service's calls: that the client is gone is the reading task's to find out and to tell."""
        with suppress(ClientGone):
            await self._transport.flush()

    def _first_frame_sent(self) -> None:
        self._wire.milestone("first_frame")

    # IWRdsProtocolConnection, in the order of the connection sequence

    async def accept_connection(self) -> None:
        """IWRdsProtocolConnection.AcceptConnection: the client waits for licensing already."""

    async def get_client_data(self) -> ClientData:
        """IWRdsProtocolConnection.GetClientData: from Client Core Data and Client Info."""
        return self._client_data()

    def _client_data(self) -> ClientData:
        return client_data(
            self._core,
            self._info,
            width=self._size[0],
            height=self._size[1],
            color_depth=self._color_depth,
            peer=self._peer,
        )

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
        self._machine.complete_licensing(success)
        if success:
            # A write of its own: in one segment with the alert, Wireshark takes Demand Active for licensing too.
            await self._flush_if_possible()
            self._machine.activate(*self._size, self._color_depth)
            self._wire.milestone("demand_active")
        await self._flush_if_possible()

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
        """IWRdsProtocolConnection.LogonNotify: the client is told from a task of our own, for it may not be active."""
        self._logged_on = True
        self._session_id = session_id.session_id
        self._wire.hide_input(False)
        if self._tasks is not None:
            self._tasks.start_soon(self._tell_logon, user_name, domain_name, not settings.disable_auto_reconnect)
        return settings

    async def _tell_logon(self, user_name: str, domain_name: str, auto_reconnect: bool) -> None:
        """Save Session Info: [MS-RDPBCGR] 2.2.10.1. Fact 40: IronRDP's client takes none before Font Map."""
        await self._active.wait()
        secret = None
        if auto_reconnect and self._callback is not None and self._machine.client_takes_auto_reconnect:
            try:
                secret = self._callback.issue_reconnect_secret().secret
            except HResultError as error:
                self._log.debug("no reconnect secret", reason=str(error))
        notify = bool(self._info.flags & InfoFlags.INFO_LOGONNOTIFY)
        if notify or secret is not None:
            self._machine.send_save_session_info(
                user_name=user_name, domain=domain_name, session_id=self._session_id, reconnect_secret=secret
            )
        await self._flush_if_possible()

    async def disconnect_notify(self) -> None:
        """IWRdsProtocolConnection.DisconnectNotify: show no more of that session."""
        self._video.disconnected()

    async def close(self) -> None:
        """IWRdsProtocolConnection.Close: ultimatum, TLS close_notify, FIN ([MS-RDPBCGR] 1.3.1.4)."""
        self._closing.set()
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()
            await self._tasks_done.wait()  # two tasks must not receive at once: saying goodbye waits for the client
        self._machine.disconnect(user_requested=False)
        await self.end_transport()

    async def end_transport(self) -> None:
        """Let the client go. The second call has nothing left to do."""
        await self._transport.aclose()

    # Queries

    async def get_protocol_status(self) -> ProtocolStatus:
        """IWRdsProtocolConnection.GetProtocolStatus: bytes inside TLS, writes, frames."""
        transport = self._transport
        return ProtocolStatus(
            output=ProtocolCounters(
                bytes=transport.bytes_out & 0xFFFFFFFF,
                frames=transport.writes & 0xFFFFFFFF,
                wd_frames=self._video.frames & 0xFFFFFFFF,
            ),
            input=ProtocolCounters(bytes=transport.bytes_in & 0xFFFFFFFF),
        )

    async def get_last_input_time(self) -> int:
        """IWRdsProtocolConnection.GetLastInputTime: milliseconds since the last input."""
        return self._input.idle_milliseconds

    async def set_error_info(self, error: int) -> None:
        """IWRdsProtocolConnection.SetErrorInfo: sent if a share exists and the client announced it (ERR-01)."""
        if self._machine.send_set_error_info(_errinfo(error)):
            await self._flush_if_possible()


def _errinfo(code: int) -> ErrInfo:
    try:
        return ErrInfo(code)
    except ValueError:
        return ErrInfo.ERRINFO_RPC_INITIATED_DISCONNECT


@contextmanager
def _limit(seconds: float, what: str) -> Iterator[None]:
    """A time limit that counts all the time, not only silence (FRM-06)."""
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise RemoteProtocolError(f"{what} took longer than {seconds:g} s")
