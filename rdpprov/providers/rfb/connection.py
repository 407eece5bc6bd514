"""IWRdsProtocolConnection of the RFB provider: a `RfbServerMachine`, driven.

Beside reading and writing there is a third task: it waits for desktops that take another size because the client wants
it.
"""

import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Final, TypeVar

import structlog
import trio

from rdpprov.accounts.messages import message_of
from rdpprov.api import (
    ClientData,
    ConnectionSettings,
    ProtocolListenerCallback,
    SessionId,
    UserCredential,
)
from rdpprov.api.authenticator import Authenticator
from rdpprov.api.devices import InputDevices, VideoDevice
from rdpprov.api.identity import AuthenticatedUser, LogonError, NtStatus, UserToken
from rdpprov.api.structures import ProtocolCounters, ProtocolStatus
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import E_ACCESSDENIED, HResultError, NotImplementedByProvider, RemoteProtocolError
from rdpprov.protocol.events import NEED_DATA, PAUSED, NeedData, Paused
from rdpprov.protocol.rfb.events import (
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
    PixelFormatChanged,
    PointerReceived,
    Refused,
    SecurityChosen,
    ServerEvent,
    StartRecords,
    StartTls,
    UpdateRequested,
)
from rdpprov.protocol.rfb.framing import HANDSHAKE_LIMIT, LOGON_LIMIT
from rdpprov.protocol.rfb.server import RfbServerMachine, ServerOptions
from rdpprov.providers.driving import DrivenConnection, in_time
from rdpprov.providers.rfb.client_data import client_data, connection_settings
from rdpprov.providers.rfb.graphics import RfbVideoDevice
from rdpprov.providers.rfb.half_open import REFUSAL_DELAY, VncPassword
from rdpprov.providers.rfb.input import RfbInputDevices
from rdpprov.providers.rfb.options import RfbListenerOptions
from rdpprov.providers.rfb.wire_trace import WireTrace
from rdpprov.providers.transport import Transport
from rdpprov.security.ra2 import Ra2Cipher, Ra2Secrets, RecordLayer
from rdpprov.wire.rfb.handshake import VencryptSubtype
from rdpprov.wire.rfb.screens import ResizeStatus

MAX_RESIZES: Final = 16
"""Wishes for a size that may wait for the desktop; one more is refused at once."""

RESIZE_REST: Final = 0.1
"""Seconds between two of them, and `RESIZE_SHARE` times as long as the one took, up to `MAX_RESIZE_REST`: a desktop is
made anew each time, and the event loop is others' too."""
RESIZE_SHARE: Final = 4
MAX_RESIZE_REST: Final = 2.0

WRONG_PASSWORD: Final = "The password is incorrect."

Verdict = TypeVar("Verdict")


class ClientRefused(RemoteProtocolError):  # noqa: N818 - what happened to a client that may only have mistyped
    """The client could not prove who it is, and was told so."""


class RfbConnection(DrivenConnection):
    """One RFB client, from its first byte to its last.

    Args:
        stream: its bytes.
        peer: address and port, for the log and for who counts failures.
        options: of the listener.
        offered: likewise, as the machine wants them.
        challenge: 16 random bytes.
        ra2: the listener's key and random bytes, for RSA-AES.
        tls: contexts, by whether TLS is anonymous.
        authenticator: of names and passwords.
        vnc_password: of the listener.
        log: bound to the client.
    """

    unread_limit = LOGON_LIMIT

    def __init__(
        self,
        stream: trio.abc.HalfCloseableStream,
        peer: tuple[str, int],
        options: RfbListenerOptions,
        *,
        offered: ServerOptions,
        challenge: bytes,
        ra2: Ra2Secrets | None = None,
        tls: Mapping[bool, ssl.SSLContext],
        authenticator: Authenticator,
        vnc_password: VncPassword,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        super().__init__()
        self._machine: RfbServerMachine = RfbServerMachine(offered, challenge=challenge, ra2=ra2)
        self._transport = Transport(stream, options.send_timeout)
        self._peer = peer
        self._options = options
        self._tls = tls
        self._authenticator = authenticator
        self._vnc_password = vnc_password
        self._log = log
        self._wire: WireTrace = WireTrace()
        self._input = RfbInputDevices(options.keyboard_layout)
        self._video: RfbVideoDevice = RfbVideoDevice(
            self._machine, self._bell.ring, partial(self._wire.milestone, "first_frame")
        )
        self._video.name = socket.gethostname()
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
            case StartRecords(cipher=cipher):
                await self._start_records(cipher)
            case SecurityChosen(security_type=kind, vencrypt_subtype=subtype):
                self._wire.milestone("security", type=kind.name, subtype=subtype.name if subtype is not None else "")
            case ChallengeAnswered(challenge=challenge, response=response):
                judging = partial(self._vnc_password.check, challenge, response, self._peer[0])
                if await self._unless_gone(judging):
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

    async def _start_records(self, cipher: Ra2Cipher) -> None:
        await self._flush()
        already_received = self._machine.take_trailing_data()
        self._wire.was_not_ours()
        self._transport.start_layer(RecordLayer(cipher), already_received)
        self._machine.records_established()

    async def _authenticate(self, name: str, password: str) -> None:
        """VeNCrypt's Plain, or RSA-AES: the verdict comes before the security result, so that the viewer can say what
        is wrong."""
        kind = self._machine.security_type
        how = "ra2" if kind is not None and kind.rsa_aes else "vencrypt"
        domain, backslash, user_name = name.partition("\\")
        if not backslash:
            domain, user_name = "", name
        try:
            credential = UserCredential(user_name=user_name, password=password, domain=domain)
            judging = partial(self._authenticator.authenticate, credential, client_address=self._peer[0], how=how)
            self._proof = await self._unless_gone(judging)
        except ValueError:  # longer than any account's
            await self._refuse(message_of(NtStatus.STATUS_LOGON_FAILURE))
        except LogonError as error:
            self._log.info("logon refused", how=how, reason=str(error))
            await self._refuse(message_of(error.status))
        else:
            self._user_name, self._domain = self._proof.token.name, self._proof.token.domain
            self._machine.accept()

    async def _unless_gone(self, judging: Callable[[], Awaitable[Verdict]]) -> Verdict:
        """The verdict, unless the client is gone before: others wait for theirs behind it.

        Raises:
            RemoteProtocolError: it is gone, or says more than any client does that waits.
            Exception: what `judging` raises.
        """
        gone: RemoteProtocolError | None = None
        failure: Exception | None = None

        async def listen() -> None:
            nonlocal gone
            unread = 0
            try:
                while unread <= HANDSHAKE_LIMIT:
                    data = await self._transport.receive_some()
                    unread += len(data)
                    self._receive(data)
                raise RemoteProtocolError(f"more than {HANDSHAKE_LIMIT} bytes while waiting for {self.stage}")
            except RemoteProtocolError as error:
                gone = error
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            try:
                verdict = await judging()
            except Exception as error:  # kept, for the nursery would put it into a group
                failure = error
            nursery.cancel_scope.cancel()
        try:
            if gone is not None:
                raise gone
            if failure is not None:
                raise failure
            return verdict
        finally:
            del gone, failure  # this frame is in their tracebacks: else we would all wait for a garbage collection

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

    def _take_event(self) -> ServerEvent | NeedData | Paused:
        event = self._machine.next_event()
        if self._wire.is_wanted:
            self._wire.taken(event, len(self._machine.trailing_data))
        return event

    # From OnConnected to Close

    async def serve(self, listener_callback: ProtocolListenerCallback) -> None:
        """Hand the client to the service, and serve it until Close."""
        callback = await listener_callback.on_connected(self, connection_settings(self._client))
        self._wire.attach(callback)
        await self._drive(callback)

    def _receive(self, data: bytes) -> None:
        super()._receive(data)
        if self._wire.is_wanted:
            self._wire.dropped(len(self._machine.trailing_data))

    def _received(self, data: bytes) -> None:
        self._wire.received(data)

    def _held_back(self) -> int:
        return self._machine.held_back

    def _more_tasks(self) -> Iterable[Callable[[], Awaitable[None]]]:
        return (self._resize,)

    def _say_goodbye(self) -> None:
        """RFB has no word for it."""
        self._collect()  # before the machine forgets it
        self._machine.close()

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
        """Answer each wish, in their order, and no more of them in a second than others can bear."""
        while True:
            await self._resize_wanted.wait()
            while self._resizes:
                began = trio.current_time()
                status = await self._resized(self._resizes[0])
                self._video.answer_desktop_size(self._resizes.popleft(), status)
                took = trio.current_time() - began
                await trio.sleep(min(max(RESIZE_REST, RESIZE_SHARE * took), MAX_RESIZE_REST))
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
        """IWRdsProtocolConnection.GetUserCredentials: the authenticator's verdict, if name and password came by
        VeNCrypt or RSA-AES."""
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

    # Queries

    async def get_protocol_status(self) -> ProtocolStatus:
        """IWRdsProtocolConnection.GetProtocolStatus: Bytes are those inside TLS, Frames writes and reads,
        WdFrames whole updates."""
        transport = self._transport
        return ProtocolStatus(
            output=ProtocolCounters(
                bytes=transport.bytes_out & 0xFFFFFFFF,
                frames=transport.writes & 0xFFFFFFFF,
                wd_frames=self._video.frames & 0xFFFFFFFF,
            ),
            input=ProtocolCounters(bytes=transport.bytes_in & 0xFFFFFFFF, frames=self._reads & 0xFFFFFFFF),
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
