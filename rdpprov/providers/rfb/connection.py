"""IWRdsProtocolConnection of the RFB provider: the trio driver around one `RfbServerMachine`.

Three tasks serve a client, children of its listener. One reads and acts on what it reads; one writes: what the machine
has to say, then pieces of the picture; one waits for desktops that take another size because the client wants it. The
service's calls come from the service's own task: they change what the machine or the devices know, and wake the writer.
"""

import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

import structlog
import trio

from rdpprov.api import (
    ClientData,
    ConnectionSettings,
    ProtocolConnection,
    ProtocolConnectionCallback,
    ProtocolListenerCallback,
    SessionId,
    UserCredential,
)
from rdpprov.api.authenticator import Authenticator
from rdpprov.api.devices import InputDevices, VideoDevice
from rdpprov.api.identity import AuthenticatedUser, LogonError, UserToken
from rdpprov.api.structures import ProtocolCounters, ProtocolStatus
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import E_ACCESSDENIED, HResultError, NotImplementedByProvider, RemoteProtocolError, for_log
from rdpprov.protocol.rfb.events import (
    NEED_DATA,
    PAUSED,
    ChallengeAnswered,
    ClientInitReceived,
    ClipboardOffered,
    ClipboardRequested,
    ContinuousUpdatesChanged,
    CredentialsOffered,
    CutTextDropped,
    CutTextReceived,
    DesktopSizeRequested,
    EncodingsChanged,
    FenceAnswered,
    FenceRequested,
    KeyReceived,
    NeedData,
    Paused,
    PixelFormatChanged,
    PointerReceived,
    Refused,
    SecurityChosen,
    ServerEvent,
    StartTls,
    UpdateRequested,
)
from rdpprov.protocol.rfb.framing import LOGON_LIMIT
from rdpprov.protocol.rfb.server import RfbServerMachine, ServerOptions
from rdpprov.providers.driving import Bell, in_time
from rdpprov.providers.rfb.client_data import client_data, connection_settings
from rdpprov.providers.rfb.graphics import RfbVideoDevice
from rdpprov.providers.rfb.half_open import REFUSAL_DELAY, VncPassword
from rdpprov.providers.rfb.input import RfbInputDevices
from rdpprov.providers.rfb.options import RfbListenerOptions
from rdpprov.providers.rfb.wire_trace import WireTrace
from rdpprov.providers.transport import LINGER, ClientGone, Transport
from rdpprov.wire.rfb.handshake import VencryptSubtype
from rdpprov.wire.rfb.screens import ResizeStatus

MAX_UNSENT: Final = 64 * 1024
"""Bytes of answers that may wait for a client that does not take them, before we stop reading what it asks."""

MAX_RESIZES: Final = 16
"""Wishes for a size that may wait for the desktop; one more is refused at once."""

WRONG: Final = "The user name or password is incorrect."
WRONG_PASSWORD: Final = "The password is incorrect."


class ClientRefused(RemoteProtocolError):  # noqa: N818 - what happened to a client that may only have mistyped
    """The client could not prove who it is, and was told so."""


class RfbConnection(ProtocolConnection):
    """One RFB client, from its first byte to its last.

    Args:
        stream: its bytes.
        peer: address and port, for the log and for who counts failures.
        options: of the listener.
        offered: likewise, as the machine wants them.
        challenge: 16 random bytes.
        tls: contexts, by whether TLS is anonymous.
        authenticator: of names and passwords.
        vnc_password: of the listener.
        log: bound to the client.
    """

    def __init__(
        self,
        stream: trio.abc.HalfCloseableStream,
        peer: tuple[str, int],
        options: RfbListenerOptions,
        *,
        offered: ServerOptions,
        challenge: bytes,
        tls: Mapping[bool, ssl.SSLContext],
        authenticator: Authenticator,
        vnc_password: VncPassword,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        self._machine = RfbServerMachine(offered, challenge=challenge)
        self._transport = Transport(stream, options.send_timeout)
        self._peer = peer
        self._options = options
        self._tls = tls
        self._authenticator = authenticator
        self._vnc_password = vnc_password
        self._log = log
        self._wire = WireTrace()
        self._input = RfbInputDevices(options.keyboard_layout)
        self._bell = Bell()
        self._video = RfbVideoDevice(self._machine, self._bell.ring, partial(self._wire.milestone, "first_frame"))
        self._video.name = socket.gethostname()
        self._callback: ProtocolConnectionCallback | None = None
        self._output: list[bytes] = []
        """Out of the machine, and not yet on its way: a write each."""
        self._written = trio.lowlevel.ParkingLot()
        self._writing = trio.CancelScope()
        self._is_broken = False
        self._closing = trio.Event()
        self._is_served = False
        self._tasks_done = trio.Event()
        self._resizes: deque[DesktopSizeRequested] = deque()
        self._resize_wanted = trio.Event()
        self._clipboard_mentioned = False
        self._user_name = self._domain = ""
        self._proof: AuthenticatedUser | None = None
        self._client: ClientData

    # Before OnConnected: the listener's affair

    @property
    def stage(self) -> str:
        """What the client is expected to do, for the log."""
        return self._machine.state.value

    async def introduce(self) -> None:
        """From the first byte to ClientInit.

        Raises:
            RemoteProtocolError: the client is not one, is refused, is too slow, or is gone.
        """
        with in_time(self._options.negotiation_timeout, "version and security type"):
            event = await self._next_event()
        self._wire.milestone("version", version=f"3.{self._machine.version or 0:d}")
        with in_time(self._options.introduction_timeout, "security and ClientInit"):
            while not isinstance(event, ClientInitReceived):
                await self._deal_with(event)
                event = await self._next_event()
        self._wire.milestone("client_init", shared=event.shared)
        self._client = client_data(
            peer=self._peer,
            user_name=self._user_name,
            domain=self._domain,
            keyboard_layout=self._options.keyboard_layout,
        )

    async def _deal_with(self, event: ServerEvent) -> None:
        match event:
            case StartTls(vencrypt_subtype=subtype):
                await self._start_tls(subtype)
            case SecurityChosen(security_type=kind, vencrypt_subtype=subtype):
                self._wire.milestone("security", type=kind.name, subtype=subtype.name if subtype is not None else "")
            case ChallengeAnswered(challenge=challenge, response=response):
                if await self._vnc_password.check(challenge, response, self._peer[0]):
                    self._machine.accept()
                else:
                    await self._refuse(WRONG_PASSWORD)
            case CredentialsOffered(name=name, password=password):
                await self._authenticate(name, password)
            case Refused(reason=reason):
                await self._flush()
                raise ClientRefused(reason)
            case _:
                raise RemoteProtocolError(f"{type(event).__name__} while waiting for {self.stage}")

    async def _start_tls(self, subtype: VencryptSubtype) -> None:
        await self._flush()  # in clear: the client's TLS waits for it
        client_hello = self._machine.take_trailing_data()
        self._wire.was_not_ours()
        await self._transport.start_tls(self._tls[subtype.anonymous_tls], client_hello)
        self._machine.tls_established()
        self._wire.milestone("tls", subtype=subtype.name)

    async def _authenticate(self, name: str, password: str) -> None:
        """VeNCrypt's Plain: the verdict comes before the security result, so that the viewer can say what is wrong."""
        domain, backslash, user_name = name.partition("\\")
        if not backslash:
            domain, user_name = "", name
        try:
            credential = UserCredential(user_name=user_name, password=password, domain=domain)
            self._proof = await self._authenticator.authenticate(
                credential, client_address=self._peer[0], how="vencrypt"
            )
        except ValueError:  # longer than any account's
            await self._refuse(WRONG)
        except LogonError as error:
            self._log.info("logon refused", how="vencrypt", reason=str(error))
            await self._refuse(WRONG)
        else:
            self._user_name, self._domain = self._proof.token.name, self._proof.token.domain
            self._machine.accept()

    async def _refuse(self, reason: str) -> None:
        await trio.sleep(REFUSAL_DELAY)
        self._machine.refuse(reason)
        await self._flush()
        raise ClientRefused(reason)

    async def _next_event(self) -> ServerEvent:
        """Wait for one event of the machine, sending what it has to say meanwhile."""
        while True:
            event = self._take_event()
            if event is PAUSED:
                raise RemoteProtocolError(f"nothing can go on while waiting for {self.stage}")
            if event is not NEED_DATA:
                return event
            await self._flush()
            self._receive(await self._transport.receive_some())

    def _receive(self, data: bytes) -> None:
        self._wire.received(data)
        self._machine.receive_data(data)

    def _take_event(self) -> ServerEvent | NeedData | Paused:
        event = self._machine.next_event()
        if self._wire.is_wanted:
            self._wire.taken(event, len(self._machine.trailing_data))
        return event

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
                tasks.start_soon(self._run, self._resize)
                try:
                    await self._closing.wait()
                finally:
                    # A write that is under way may end, so that what is said last can still be understood.
                    self._writing.deadline = trio.current_time() + LINGER
                    tasks.cancel_scope.cancel()
        finally:
            self._tasks_done.set()

    async def _run(self, task: Callable[[], Awaitable[None]]) -> None:
        """One of the tasks. When one cannot go on, the service is told, once, and ends the others by Close."""
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
        """For the log; RFB has no words for a client that is in."""
        match error:
            case ClientGone():
                self._log.info("client is gone", reason=str(error))
            case RemoteProtocolError():
                self._log.warning("client broke the protocol", reason=str(error), state=self.stage)
            case _:
                self._log.error("connection failed", **for_log(error))

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
                self._queue_piece()
            else:
                with trio.move_on_at(due):
                    await self._bell.wait()

    def _queue_piece(self) -> None:
        was_paused = self._machine.width == 0
        self._video.queue_piece()
        if was_paused and self._machine.width:
            self._wire.milestone("server_init", width=self._machine.width, height=self._machine.height)
            self._take_events()  # of a client that did not wait for ServerInit

    def _take_events(self) -> bool:
        """Act on all that the machine has to tell; whether it is paused, and waits for the service."""
        while True:
            event = self._take_event()
            if event is NEED_DATA or event is PAUSED:
                return event is PAUSED
            self._handle(event)

    def _handle(self, event: ServerEvent) -> None:
        match event:
            case UpdateRequested(incremental=incremental, area=area):
                self._video.requested(area, incremental=incremental)
            case PointerReceived(x=x, y=y):
                self._input.pointer(event)
                self._video.pointer_at(x, y)
            case KeyReceived():
                self._input.key(event)
                self._video.show_leds(self._input.leds)
            case FenceRequested():
                self._machine.answer_fence(event)
            case FenceAnswered(payload=payload):
                self._video.fence_answered(payload)
            case PixelFormatChanged():
                self._video.pixel_format_changed()
            case EncodingsChanged():
                self._video.encodings_changed()
                self._input.obeys_locks = self._video.takes_leds
            case ContinuousUpdatesChanged():
                self._video.continuous_updates_changed()
            case DesktopSizeRequested():
                self._take_resize(event)
            case CutTextReceived() | CutTextDropped() | ClipboardOffered():
                self._mention_clipboard()
            case ClipboardRequested():
                self._machine.provide_clipboard("")
                self._mention_clipboard()
            case _:
                pass  # nothing that this provider acts on: what the client's clipboard can do

    def _mention_clipboard(self) -> None:
        """No desktop takes a clipboard yet. Said once: viewers send theirs whenever it changes."""
        if not self._clipboard_mentioned:
            self._clipboard_mentioned = True
            self._log.info("client's clipboard is not passed on: the desktop takes none")

    # The client's wishes for a size

    def _take_resize(self, request: DesktopSizeRequested) -> None:
        if request.problem:
            self._log.info("client wants an impossible desktop", reason=request.problem)
        if request.problem and not self._resizes:
            self._video.answer_desktop_size(request, ResizeStatus.INVALID_LAYOUT)
        elif len(self._resizes) >= MAX_RESIZES:
            self._video.answer_desktop_size(request, ResizeStatus.OUT_OF_RESOURCES)
        else:
            self._resizes.append(request)
            self._resize_wanted.set()

    async def _resize(self) -> None:
        """Answer each wish, in their order."""
        while True:
            await self._resize_wanted.wait()
            while self._resizes:
                status = await self._resized(self._resizes[0])
                self._video.answer_desktop_size(self._resizes.popleft(), status)
            self._resize_wanted = trio.Event()

    async def _resized(self, request: DesktopSizeRequested) -> ResizeStatus:
        callback = self._callback
        if request.problem:
            return ResizeStatus.INVALID_LAYOUT
        if callback is None:
            return ResizeStatus.PROHIBITED
        try:
            await callback.resize_desktop(request.width, request.height)
        except HResultError as error:
            self._log.info("desktop keeps its size", wanted=f"{request.width}x{request.height}", reason=str(error))
            return ResizeStatus.PROHIBITED if error.hresult == E_ACCESSDENIED else ResizeStatus.OUT_OF_RESOURCES
        return ResizeStatus.OK

    # IWRdsProtocolConnection, in the order of the connection sequence

    async def accept_connection(self) -> None:
        """IWRdsProtocolConnection.AcceptConnection: the client waits for ServerInit."""

    async def get_client_data(self) -> ClientData:
        """IWRdsProtocolConnection.GetClientData: where it comes from, and who it is if it has proved that."""
        return self._client

    async def get_user_credentials(self) -> UserCredential:
        """IWRdsProtocolConnection.GetUserCredentials: the authenticator's verdict, if VeNCrypt's Plain brought one."""
        if self._proof is None:
            raise NotImplementedByProvider("the client has not said who it is")
        return UserCredential(user_name=self._user_name, domain=self._domain, proof=self._proof)

    async def get_input_handles(self) -> InputDevices:
        """IWRdsProtocolConnection.GetInputHandles."""
        return self._input

    async def get_video_handle(self) -> VideoDevice:
        """IWRdsProtocolConnection.GetVideoHandle."""
        return self._video

    async def connect_notify(self, session_id: int) -> None:
        """IWRdsProtocolConnection.ConnectNotify: ServerInit goes out as soon as there is a screen to be shown."""
        self._video.connected()

    async def logon_notify(
        self,
        user: UserToken,
        user_name: str,
        domain_name: str,
        session_id: SessionId,
        settings: ConnectionSettings,
    ) -> ConnectionSettings:
        """IWRdsProtocolConnection.LogonNotify: the desktop is named after its user."""
        self._wire.logged_on()
        self._video.rename(f"{user_name} on {socket.gethostname()}")
        return settings

    async def disconnect_notify(self) -> None:
        """IWRdsProtocolConnection.DisconnectNotify: show no more of that session."""
        self._video.disconnected()

    async def close(self) -> None:
        """IWRdsProtocolConnection.Close: TLS close_notify and FIN; RFB itself has no goodbye."""
        self._closing.set()
        if self._is_served:
            await self._tasks_done.wait()  # two tasks must not receive at once: saying goodbye waits for the client
        await self.end()

    async def end(self) -> None:
        """Let the client go: by Close, or by the listener if it does not come so far. Whoever is second waits."""
        self._collect()
        self._machine.close()
        last_words, self._output = b"".join(self._output), []
        self._callback = None  # it holds us: neither shall have to wait for a garbage collection
        self._wire.detach()
        await self._transport.aclose(last_words)

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
        """IWRdsProtocolConnection.SetErrorInfo: RFB cannot carry it once a client is in; the log has it."""
        try:
            name = ErrInfo(error).name
        except ValueError:
            name = f"0x{error:X}"
        self._log.info("connection will end, and the client cannot be told why", errinfo=name)
