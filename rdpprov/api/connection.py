"""IWRdsProtocolConnection, its successor and its callback: one client, from its arrival to its end."""

import uuid
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from rdpprov.api.devices import Channel, InputDevices, VideoDevice
from rdpprov.api.identity import ReconnectClaim, ReconnectSecret, UserToken
from rdpprov.api.license_connection import AlwaysLicensed, LicenseConnection
from rdpprov.api.logon_error_redirector import LogonErrorRedirector
from rdpprov.api.shadow import ShadowConnection
from rdpprov.api.structures import (
    ClientData,
    ConnectionSettings,
    PropertyValue,
    ProtocolStatus,
    SerializedUserCredential,
    SessionId,
    SmallRect,
    UserCredential,
)
from rdpprov.errors import NotImplementedByProvider


class ProtocolConnectionCallback(ABC):
    """IWRdsProtocolConnectionCallback: implemented by the service, one per connection. Its methods return at once."""

    @abstractmethod
    def on_ready(self) -> None:
        """IWRdsProtocolConnectionCallback.OnReady: go on with the connection sequence.

        To be called once, after `ProtocolConnection.get_logon_error_redirector` has returned, from a task of the
        provider's own. Until then the service does not call `accept_connection`; it waits 15 s (a setting).
        """

    @abstractmethod
    def broken_connection(self, reason: int = 0, source: int = 0) -> None:
        """IWRdsProtocolConnectionCallback.BrokenConnection: the client is gone.

        The service answers with PreDisconnect, DisconnectNotify and Close. May be called more than once, and late.

        Args:
            reason: not used by the service; it stands in the trace.
            source: likewise.
        """

    @abstractmethod
    def stop_screen_updates(self) -> None:
        """IWRdsProtocolConnectionCallback.StopScreenUpdates: send no frames to this client until `redraw_window`.

        Not to be called from inside a method that the service called.
        """

    @abstractmethod
    def redraw_window(self, rectangle: SmallRect | None = None) -> None:
        """IWRdsProtocolConnectionCallback.RedrawWindow: damage a part of the screen, and resume updates.

        Not to be called from inside a method that the service called.

        Args:
            rectangle: which part; None: all of it.
        """

    @abstractmethod
    def get_connection_id(self) -> int:
        """IWRdsProtocolConnectionCallback.GetConnectionId: a number of this connection; not the session's."""

    @abstractmethod
    def issue_reconnect_secret(self) -> ReconnectSecret:
        """Our extension: a secret that lets this client back into its session, for `authenticate_client_to_session`.

        It replaces the one issued before, works once, and ends with the session.

        Raises:
            HResultError: E_ACCESSDENIED: nobody is logged on, or policy switches automatic reconnection off.
        """

    async def resize_desktop(self, width: int, height: int) -> None:
        """Our extension: the client wants a desktop of this size. It is one of the two callbacks that take time: when
        it returns, the screen plugged in has the size that the desktop took, which for desktops that cannot take any
        is near it.

        Not to be called from inside a method that the service called. A service may leave it out, as this one here.

        Args:
            width: in pixels, from 200 to 8192.
            height: likewise.

        Raises:
            NotImplementedByProvider: this service gives no desktop another size.
            HResultError: E_ACCESSDENIED: no desktop of the client's own is shown. E_INVALIDARG: out of bounds.
                E_FAIL: the desktop cannot, and keeps its size; or it died over it.
        """
        raise NotImplementedByProvider("ResizeDesktop")

    def trace_event(self, name: str, fields: Mapping[str, object], *, ago: float = 0.0) -> None:
        """Our extension: a milestone on the wire (``tls``, ``font_map``, ...) for this connection's trace.

        Args:
            name: what happened.
            fields: facts about it; never a secret.
            ago: seconds since it happened, for what came before OnConnected.
        """

    @property
    def traces_wire(self) -> bool:
        """Our extension: whether anybody records bytes, so that a provider need not prepare them for nobody."""
        return False

    def trace_wire(self, direction: Literal["in", "out"], data: bytes, *, ago: float = 0.0) -> None:
        """Our extension: plain bytes that came in from the client or went out to it, for this connection's trace.

        The provider has overwritten passwords at equal length and left out key events before LogonNotify.
        """


class ProtocolConnection(ABC):
    """IWRdsProtocolConnection: implemented by the provider; one object per client.

    The service calls one method at a time, in the order of the connection sequence; queries
    (`get_protocol_status`, `get_last_input_time`, `query_property`, `create_virtual_channel`,
    `get_shadow_connection`, `set_error_info`) may come between any two steps from `accept_connection` on. In a
    reconnect the same object is told about a second session. Only `close` ends it.

    Inside a method do not wait for anything that the service has to do. The notifications (`notify_...`, `..._notify`,
    `pre_disconnect`) return at once: the service waits 5 s and logs from 100 ms on (settings).

    A failure is a `HResultError`. `NotImplementedByProvider` is E_NOTIMPL: not a fault, but "use the default". Any
    other exception ends this connection and no other.
    """

    known_properties: Collection[uuid.UUID] | None = None
    """Our extension: what `query_property` answers, if it is known beforehand: the service then asks for nothing else.
    None: it is asked for everything that matters."""

    async def get_logon_error_redirector(self) -> LogonErrorRedirector:
        """IWRdsProtocolConnection.GetLogonErrorRedirector: first call, right after OnConnected.

        Raises:
            NotImplementedByProvider: logon errors are not redirected (default).
            HResultError: the service drops the connection.
        """
        raise NotImplementedByProvider("GetLogonErrorRedirector")

    @abstractmethod
    async def accept_connection(self) -> None:
        """IWRdsProtocolConnection.AcceptConnection: go ahead with this client. Comes only after OnReady.

        Raises:
            HResultError: the service drops the connection.
        """

    @abstractmethod
    async def get_client_data(self) -> ClientData:
        """IWRdsProtocolConnection.GetClientData: what the client asks for, after `accept_connection`.

        Raises:
            HResultError: the service drops the connection.
        """

    async def get_client_monitor_data(self) -> tuple[int, int]:
        """IWRdsProtocolConnection.GetClientMonitorData: how many monitors the client has, and which is the primary.

        Returns:
            Count, and the primary's number from 0. By default one monitor, number 0.

        Raises:
            NotImplementedByProvider: one monitor, number 0.
        """
        return 1, 0

    async def get_user_credentials(self) -> UserCredential:
        """IWRdsProtocolConnection.GetUserCredentials: name and password, if the client sent them.

        Raises:
            NotImplementedByProvider: there are none: the logon desktop asks (default).
            HResultError: the same.
        """
        raise NotImplementedByProvider("GetUserCredentials")

    async def get_license_connection(self) -> LicenseConnection:
        """IWRdsProtocolConnection.GetLicenseConnection: the object that licensing is done with.

        By default `AlwaysLicensed`.

        Raises:
            HResultError: the service drops the connection, and so it does for E_NOTIMPL.
        """
        return AlwaysLicensed()

    async def authenticate_client_to_session(self) -> ReconnectClaim:
        """IWRdsProtocolConnection.AuthenticateClientToSession: a session that the client proves to be its own.

        Asked after licensing. The service checks the claim against the secret that it issued, and the account again;
        if anything is wrong, it goes on as if no session had been named.

        Raises:
            NotImplementedByProvider: no session (default).
            HResultError: the same.
        """
        raise NotImplementedByProvider("AuthenticateClientToSession")

    async def notify_session_id(self, session_id: SessionId, session_handle: int) -> None:
        """IWRdsProtocolConnection.NotifySessionId: the session that this connection is attached to from now on.

        Comes a second time in a reconnect: forget the former session.

        Args:
            session_id: GUID of the connection and number of the session.
            session_handle: the session's number, where Windows passes a handle.
        """

    async def get_input_handles(self) -> InputDevices:
        """IWRdsProtocolConnection.GetInputHandles: keyboard and mouse. The service plugs the desktop into them.

        Raises:
            NotImplementedByProvider: the connection has none: the session sees no input (default).
        """
        raise NotImplementedByProvider("GetInputHandles")

    async def get_video_handle(self) -> VideoDevice:
        """IWRdsProtocolConnection.GetVideoHandle: the display. The service plugs the desktop into it.

        Raises:
            NotImplementedByProvider: the connection shows nothing (default).
        """
        raise NotImplementedByProvider("GetVideoHandle")

    async def connect_notify(self, session_id: int) -> None:
        """IWRdsProtocolConnection.ConnectNotify: the session is initialised and its desktop plugged in: show it."""

    async def notify_command_process_created(self, session_id: int) -> None:
        """IWRdsProtocolConnection.NotifyCommandProcessCreated: what logs users on in this session is up."""

    async def is_user_allowed_to_logon(
        self, session_id: int, user: UserToken, domain_name: str, user_name: str
    ) -> None:
        """IWRdsProtocolConnection.IsUserAllowedToLogon: the user is authenticated; may they log on here?

        Returning is yes (default).

        Raises:
            HResultError: no: the client is told, and the connection dropped.
        """

    async def session_arbitration_enumeration(
        self, user: UserToken, single_session_per_user_enabled: bool
    ) -> Sequence[int]:
        """IWRdsProtocolConnection.SessionArbitrationEnumeration: which disconnected sessions the user may get back.

        Returns:
            Session ids of this user. If none, or several, the service chooses: the most recently disconnected.

        Raises:
            NotImplementedByProvider: the service arbitrates (default).
            HResultError: the same.
        """
        raise NotImplementedByProvider("SessionArbitrationEnumeration")

    async def logon_notify(
        self,
        user: UserToken,
        user_name: str,
        domain_name: str,
        session_id: SessionId,
        settings: ConnectionSettings,
    ) -> ConnectionSettings:
        """IWRdsProtocolConnection.LogonNotify: the user is logged on, in a new session or back in an old one.

        Args:
            user: who.
            user_name: the account's name.
            domain_name: its domain; may be empty.
            session_id: which session.
            settings: the effective settings.

        Returns:
            The settings, changed or not. A change may only tighten a policy.
        """
        return settings

    async def pre_disconnect(self, reason: int) -> None:
        """IWRdsProtocolConnection.PreDisconnect: the session is about to be disconnected.

        Args:
            reason: an `ErrInfo`.
        """

    async def disconnect_notify(self) -> None:
        """IWRdsProtocolConnection.DisconnectNotify: the session is disconnected.

        Not the end: in a reconnect it concerns the temporary session, and `notify_session_id` follows.
        """

    @abstractmethod
    async def close(self) -> None:
        """IWRdsProtocolConnection.Close: the last call. Let the client know as its protocol can, then let it go.

        The service waits 10 s in all (a setting), then cancels.
        """

    async def get_protocol_status(self) -> ProtocolStatus:
        """IWRdsProtocolConnection.GetProtocolStatus: counters of this connection. A query.

        Raises:
            NotImplementedByProvider: it does not count (default).
        """
        raise NotImplementedByProvider("GetProtocolStatus")

    async def get_last_input_time(self) -> int:
        """IWRdsProtocolConnection.GetLastInputTime: milliseconds since the last input. A query.

        Raises:
            NotImplementedByProvider: it does not know (default); the service looks at the input events itself.
        """
        raise NotImplementedByProvider("GetLastInputTime")

    async def set_error_info(self, error: int) -> None:
        """IWRdsProtocolConnection.SetErrorInfo: why the connection will end, an `ErrInfo`. Tell the client if it can
        be told; `close` follows.
        """

    async def create_virtual_channel(self, endpoint_name: str, static: bool, requested_priority: int) -> Channel:
        """IWRdsProtocolConnection.CreateVirtualChannel: a channel of its own to the client. A query.

        Args:
            endpoint_name: at most 7 characters for a static channel, 260 for a dynamic one.
            static: a static channel, or a dynamic one.
            requested_priority: 0 low, 2 medium, 4 high, 6 real time.

        Returns:
            The channel; it ends with the connection.

        Raises:
            NotImplementedByProvider: the protocol has no channels (default).
        """
        raise NotImplementedByProvider("CreateVirtualChannel")

    async def query_property(
        self, query_type: uuid.UUID, entries_in: Sequence[PropertyValue] = ()
    ) -> Sequence[PropertyValue]:
        """IWRdsProtocolConnection.QueryProperty: a question, or a message, named by a GUID. A query.

        Raises:
            NotImplementedByProvider: the provider does not know it (default).
        """
        raise NotImplementedByProvider(f"QueryProperty {query_type}")

    async def get_shadow_connection(self) -> ShadowConnection:
        """IWRdsProtocolConnection.GetShadowConnection: the object that shadowing is done with. A query.

        Raises:
            NotImplementedByProvider: the protocol cannot shadow by itself: the service does (default).
        """
        raise NotImplementedByProvider("GetShadowConnection")


class ProtocolConnection2(ProtocolConnection):
    """IWRdsProtocolConnection2: a connection whose client may send a credential other than name and password.

    The service asks `isinstance`, where Windows calls QueryInterface on the connection. Since Windows build 26100.
    """

    async def get_serialized_user_credential(self) -> SerializedUserCredential:
        """IWRdsProtocolConnection2.GetSerializedUserCredential: the credential, if the client sent one.

        Asked beside `get_user_credentials`, in an order that no page gives; the logon desktop asks if both fail.

        Raises:
            NotImplementedByProvider: there is none (default).
            HResultError: the same.
        """
        raise NotImplementedByProvider("GetSerializedUserCredential")
