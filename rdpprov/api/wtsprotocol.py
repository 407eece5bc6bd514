"""IWTSProtocol*: the deprecated predecessors of the provider API's interfaces, as Windows Server 2008 R2 had them.

For providers written to the old shape: `rdpprov.providers.wtsprotocol.adapted` lets the service drive them. Every
interface has a successor of the same name here without ``Wts``; what is said there holds, unless the old one says
otherwise. What has no difference at all is the successor: the license connection, the redirector of logon errors, and
both sides of shadowing.

The sequence of a connection: GetLogonErrorRedirector, SendPolicyData, OnReady, AcceptConnection, GetClientData,
GetUserCredentials, GetLicenseConnection, AuthenticateClientToSession, NotifySessionId, GetProtocolHandles,
ConnectNotify, IsUserAllowedToLogon, SessionArbitrationEnumeration, LogonNotify, GetUserData. Of a reconnect:
DisconnectNotify, NotifySessionId, GetProtocolHandles, ConnectNotify, LogonNotify. Of an end: DisconnectNotify, Close.
"""

import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import IntEnum

import attrs

from rdpprov.api import constants
from rdpprov.api.devices import Channel, InputDevices, TaskStatus, VideoDevice
from rdpprov.api.identity import ReconnectClaim, ReconnectSecret, UserToken
from rdpprov.api.license_connection import AlwaysLicensed, LicenseConnection
from rdpprov.api.logon_error_redirector import LogonErrorRedirector
from rdpprov.api.settings import ProtocolSettings
from rdpprov.api.shadow import ShadowCallback, ShadowConnection
from rdpprov.api.structures import (
    ClientData,
    PropertyValue,
    ProtocolStatus,
    ServiceState,
    SessionId,
    SmallRect,
    TimeZoneInformation,
    UserCredential,
    opaque,
    text,
    unsigned,
)
from rdpprov.errors import NotImplementedByProvider

WtsProtocolLicenseConnection = LicenseConnection
"""IWTSProtocolLicenseConnection: as its successor."""
WtsProtocolLogonErrorRedirector = LogonErrorRedirector
"""IWTSProtocolLogonErrorRedirector: as its successor."""
WtsProtocolShadowConnection = ShadowConnection
"""IWTSProtocolShadowConnection: as its successor."""
WtsProtocolShadowCallback = ShadowCallback
"""IWTSProtocolShadowCallback: as its successor."""


class PolicyColorDepth(IntEnum):
    """`PolicyData.color_depth`: a scale that nothing else uses."""

    BITS_8 = 1
    BITS_15 = 2
    BITS_16 = 3
    BITS_24 = 4
    BITS_32 = 5


@attrs.frozen(kw_only=True)
class PolicyData:
    """WTS_POLICY_DATA: the policies in force. True disables, as the names say."""

    disable_encryption: bool = False
    disable_auto_reconnect: bool = False
    color_depth: PolicyColorDepth = PolicyColorDepth.BITS_32
    """At most; without a policy the most there is."""
    min_encryption_level: int = unsigned(8)
    """The protocol's own scale."""
    disable_cpm: bool = False
    """Printers."""
    disable_cdm: bool = False
    """Drives."""
    disable_ccm: bool = False
    """Serial ports."""
    disable_lpt: bool = False
    """Parallel ports."""
    disable_clip: bool = False
    """The clipboard."""
    disable_pnp_redir: bool = False
    """Plug-and-play devices."""


_NO_TIME_ZONE = TimeZoneInformation()


@attrs.frozen
class UserData:
    """WTS_USER_DATA: what a new session starts with."""

    work_directory: str = text(constants.WTS_DIRECTORY_LENGTH)
    initial_program: str = text(constants.WTS_INITIALPROGRAM_LENGTH)
    user_time_zone: TimeZoneInformation = _NO_TIME_ZONE


@attrs.frozen
class DisplayIoctl:
    """WTS_DISPLAY_IOCTL: for the session's display driver, of which there is none but Windows'."""

    data: bytes = opaque(constants.WTS_MAX_DISPLAY_IOCTL_DATA)


@attrs.frozen
class ProtocolHandles:
    """What `WtsProtocolConnection.get_protocol_handles` returns: four handles on Windows, of which beep is NULL."""

    inputs: InputDevices | None = None
    """Keyboard and mouse; None: the session sees no input."""
    video: VideoDevice | None = None
    """The display; None: the connection shows nothing."""


class WtsProtocolConnectionCallback(ABC):
    """IWTSProtocolConnectionCallback: implemented by the service, one per connection. Its methods return at once."""

    @abstractmethod
    def on_ready(self) -> None:
        """IWTSProtocolConnectionCallback.OnReady: go on with the connection sequence.

        To be called once, after `WtsProtocolConnection.send_policy_data` has returned, from a task of the provider's
        own; without it the connection is dropped.
        """

    @abstractmethod
    def broken_connection(self, reason: int = 0, source: int = 0) -> None:
        """IWTSProtocolConnectionCallback.BrokenConnection: the client is gone. Neither argument is used."""

    @abstractmethod
    def stop_screen_updates(self) -> None:
        """IWTSProtocolConnectionCallback.StopScreenUpdates: send no frames to this client until `redraw_window`."""

    @abstractmethod
    def redraw_window(self, rectangle: SmallRect | None = None) -> None:
        """IWTSProtocolConnectionCallback.RedrawWindow: damage a part of the screen, and resume updates.

        Args:
            rectangle: which part; None: all of it.
        """

    @abstractmethod
    def display_ioctl(self, display_ioctl: DisplayIoctl) -> None:
        """IWTSProtocolConnectionCallback.DisplayIOCtl: tell the session's display driver something.

        Raises:
            NotImplementedByProvider: there is no display driver.
        """

    @abstractmethod
    def issue_reconnect_secret(self) -> ReconnectSecret:
        """Our extension, as `ProtocolConnectionCallback.issue_reconnect_secret`."""


class WtsProtocolConnection(ABC):
    """IWTSProtocolConnection: implemented by the provider; one object per client.

    What `ProtocolConnection` says of order, waiting and failures holds here too.
    """

    async def get_logon_error_redirector(self) -> LogonErrorRedirector:
        """IWTSProtocolConnection.GetLogonErrorRedirector: first call, right after OnConnected.

        Raises:
            NotImplementedByProvider: logon errors are not redirected (default).
            HResultError: the service drops the connection.
        """
        raise NotImplementedByProvider("GetLogonErrorRedirector")

    async def send_policy_data(self, policy_data: PolicyData) -> None:
        """IWTSProtocolConnection.SendPolicyData: second call: the machine's policies, of the moment.

        Raises:
            HResultError: the service drops the connection.
        """

    @abstractmethod
    async def accept_connection(self) -> None:
        """IWTSProtocolConnection.AcceptConnection: go ahead with this client. Comes only after OnReady.

        Raises:
            HResultError: the service drops the connection.
        """

    @abstractmethod
    async def get_client_data(self) -> ClientData:
        """IWTSProtocolConnection.GetClientData: what the client asks for.

        Raises:
            HResultError: the service drops the connection.
        """

    async def get_user_credentials(self) -> UserCredential:
        """IWTSProtocolConnection.GetUserCredentials: name and password, if the client sent them.

        Raises:
            NotImplementedByProvider: there are none: the logon desktop asks (default).
            HResultError: the same.
        """
        raise NotImplementedByProvider("GetUserCredentials")

    async def get_license_connection(self) -> LicenseConnection:
        """IWTSProtocolConnection.GetLicenseConnection: the object that licensing is done with.

        By default `AlwaysLicensed`.

        Raises:
            HResultError: the service drops the connection, and so it does for E_NOTIMPL.
        """
        return AlwaysLicensed()

    async def authenticate_client_to_session(self) -> ReconnectClaim:
        """IWTSProtocolConnection.AuthenticateClientToSession: a session that the client proves to be its own.

        Raises:
            NotImplementedByProvider: no session (default).
            HResultError: the same.
        """
        raise NotImplementedByProvider("AuthenticateClientToSession")

    async def notify_session_id(self, session_id: SessionId) -> None:
        """IWTSProtocolConnection.NotifySessionId: the session that this connection is attached to from now on.

        Args:
            session_id: GUID of the connection and number of the session.
        """

    async def get_protocol_handles(self) -> ProtocolHandles:
        """IWTSProtocolConnection.GetProtocolHandles: keyboard, mouse and display. Asked again in a reconnect.

        Raises:
            NotImplementedByProvider: the connection has neither input nor display (default).
        """
        raise NotImplementedByProvider("GetProtocolHandles")

    async def connect_notify(self, session_id: int) -> None:
        """IWTSProtocolConnection.ConnectNotify: the session is initialised and its desktop plugged in: show it."""

    async def is_user_allowed_to_logon(
        self, session_id: int, user: UserToken, domain_name: str, user_name: str
    ) -> None:
        """IWTSProtocolConnection.IsUserAllowedToLogon: the user is authenticated; may they log on here?

        Returning is yes (default).

        Raises:
            HResultError: no: the client is told, and the connection dropped.
        """

    async def session_arbitration_enumeration(
        self, user: UserToken, single_session_per_user_enabled: bool
    ) -> Sequence[int]:
        """IWTSProtocolConnection.SessionArbitrationEnumeration: which disconnected sessions the user may get back.

        Returns:
            Session ids of this user; none: the service arbitrates.

        Raises:
            NotImplementedByProvider: the service arbitrates (default).
            HResultError: the same.
        """
        raise NotImplementedByProvider("SessionArbitrationEnumeration")

    async def logon_notify(self, user: UserToken, user_name: str, domain_name: str, session_id: SessionId) -> None:
        """IWTSProtocolConnection.LogonNotify: the user is logged on, in a new session or back in an old one.

        Args:
            user: who.
            user_name: the account's name.
            domain_name: its domain; may be empty.
            session_id: which session.
        """

    async def get_user_data(self, policy_data: PolicyData, user_data: UserData) -> UserData:
        """IWTSProtocolConnection.GetUserData: after LogonNotify in a new session: what it starts with.

        Args:
            policy_data: the policies in force, the user's too.
            user_data: what the service would take.

        Returns:
            What it is to take instead; members that the provider does not know are left as they were.

        Raises:
            NotImplementedByProvider: nothing else (default).
            HResultError: the service drops the connection.
        """
        raise NotImplementedByProvider("GetUserData")

    async def disconnect_notify(self) -> None:
        """IWTSProtocolConnection.DisconnectNotify: the session is disconnected.

        Not the end: in a reconnect it concerns the temporary session, and `notify_session_id` follows.
        """

    @abstractmethod
    async def close(self) -> None:
        """IWTSProtocolConnection.Close: the last call. Let the client know as its protocol can, then let it go."""

    async def get_protocol_status(self) -> ProtocolStatus:
        """IWTSProtocolConnection.GetProtocolStatus: counters of this connection. A query.

        Raises:
            NotImplementedByProvider: it does not count (default).
        """
        raise NotImplementedByProvider("GetProtocolStatus")

    async def get_last_input_time(self) -> int:
        """IWTSProtocolConnection.GetLastInputTime: milliseconds since the last input. A query.

        Raises:
            NotImplementedByProvider: it does not know (default).
        """
        raise NotImplementedByProvider("GetLastInputTime")

    async def set_error_info(self, error: int) -> None:
        """IWTSProtocolConnection.SetErrorInfo: tell the client why the connection will end, an `ErrInfo`."""

    async def send_beep(self, frequency: int, duration: int) -> None:
        """IWTSProtocolConnection.SendBeep: sound the client's beeper. No service calls it any more.

        Args:
            frequency: hertz, 37 to 32767.
            duration: milliseconds.
        """

    async def create_virtual_channel(self, endpoint_name: str, static: bool, requested_priority: int) -> Channel:
        """IWTSProtocolConnection.CreateVirtualChannel: a channel of its own to the client. A query.

        Args:
            endpoint_name: at most 7 characters for a static channel, 260 for a dynamic one.
            static: a static channel, or a dynamic one.
            requested_priority: of a dynamic one, a `ChannelPriority`.

        Raises:
            NotImplementedByProvider: the protocol has no channels (default).
            HResultError: not this one.
        """
        raise NotImplementedByProvider("CreateVirtualChannel")

    async def query_property(
        self, query_type: uuid.UUID, entries_in: Sequence[PropertyValue] = ()
    ) -> Sequence[PropertyValue]:
        """IWTSProtocolConnection.QueryProperty: a question named by a GUID: only the first five that there are today.

        Raises:
            NotImplementedByProvider: the provider does not know it (default).
        """
        raise NotImplementedByProvider(f"QueryProperty {query_type}")

    async def get_shadow_connection(self) -> ShadowConnection:
        """IWTSProtocolConnection.GetShadowConnection: the object that shadowing is done with. A query.

        Raises:
            NotImplementedByProvider: the protocol cannot shadow by itself (default).
        """
        raise NotImplementedByProvider("GetShadowConnection")


class WtsProtocolListenerCallback(ABC):
    """IWTSProtocolListenerCallback: implemented by the service, one per listener."""

    @abstractmethod
    async def on_connected(self, connection: WtsProtocolConnection) -> WtsProtocolConnectionCallback:
        """IWTSProtocolListenerCallback.OnConnected: a client is here, new or back again.

        Returns when `WtsProtocolConnection.send_policy_data` is over, so OnReady may follow at once.

        Args:
            connection: a fresh object for this client.

        Returns:
            The connection's callback.

        Raises:
            HResultError: the service does not take the client: drop it.
        """


class WtsProtocolListener(ABC):
    """IWTSProtocolListener: implemented by the provider, made by `WtsProtocolManager.create_listener`."""

    bound_addresses: Sequence[tuple[str, int]] = ()
    """Our extension, as `ProtocolListener.bound_addresses`."""

    @abstractmethod
    async def start_listen(self, callback: WtsProtocolListenerCallback, *, task_status: TaskStatus) -> None:
        """IWTSProtocolListener.StartListen: accept clients, and hand each to ``callback.on_connected``.

        Called as `ProtocolListener.start_listen` is: it goes on, after ``task_status.started()``, as the home of the
        listener's own tasks.
        """

    @abstractmethod
    async def stop_listen(self) -> None:
        """IWTSProtocolListener.StopListen: accept no more clients."""


class WtsProtocolManager(ABC):
    """IWTSProtocolManager: implemented by the provider; made without arguments. It has no Initialize."""

    settings: ProtocolSettings
    """Our extension, there before the first `create_listener`: in place of the registry, from which an old provider
    reads its listeners' options."""

    @abstractmethod
    async def create_listener(self, listener_name: str) -> WtsProtocolListener:
        """IWTSProtocolManager.CreateListener: first call, and one for each configured listener.

        Args:
            listener_name: its name in the configuration, at most 32 characters.

        Raises:
            HResultError: there will be no such listener; the service's start fails.
            ConfigurationError: the same, because of a wrong option.
        """

    async def notify_service_state_change(self, change: ServiceState) -> None:
        """IWTSProtocolManager.NotifyServiceStateChange: the service starts, stops, or begins or ends to drain."""

    async def notify_session_of_service_start(self, session_id: SessionId) -> None:
        """IWTSProtocolManager.NotifySessionOfServiceStart: the service has started as regards this session."""

    async def notify_session_of_service_stop(self, session_id: SessionId) -> None:
        """IWTSProtocolManager.NotifySessionOfServiceStop: the service stops as regards this session."""

    async def notify_session_state_change(self, session_id: SessionId, event_id: int) -> None:
        """IWTSProtocolManager.NotifySessionStateChange: something happened to a session.

        Args:
            session_id: which.
            event_id: a `SessionChange`; a provider accepts any number.
        """
