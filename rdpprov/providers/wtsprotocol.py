"""Providers of the old shape, driven by today's service: an IWTSProtocol* provider behind IWRdsProtocol* objects.

A module with one line makes a protocol of one, named as ``package.module:Manager`` in a listener's configuration::

    Manager = adapted(OldManager)

Where the two families differ: the old SendPolicyData follows GetLogonErrorRedirector and comes before OnReady;
GetProtocolHandles is asked where the service asks for input, and its answer kept for the display; GetUserData follows
LogonNotify in a new session, and what it says goes back as changed settings; a connection that is ended hears of
DisconnectNotify and Close alone. What the old family does not have gets the new one's default.
"""

import functools
import uuid
from collections.abc import Awaitable, Sequence
from typing import Any, ClassVar, TypeVar

import attrs

from rdpprov.api import properties
from rdpprov.api.connection import ProtocolConnection, ProtocolConnectionCallback
from rdpprov.api.devices import Channel, InputDevices, TaskStatus, VideoDevice
from rdpprov.api.enums import SettingType
from rdpprov.api.identity import ReconnectClaim, ReconnectSecret, UserToken
from rdpprov.api.license_connection import LicenseConnection
from rdpprov.api.listener import ProtocolListener, ProtocolListenerCallback
from rdpprov.api.logon_error_redirector import LogonErrorRedirector
from rdpprov.api.manager import ProtocolManager
from rdpprov.api.settings import ProtocolSettings
from rdpprov.api.shadow import ShadowConnection
from rdpprov.api.structures import (
    ClientData,
    ConnectionSettings,
    PropertyValue,
    ProtocolStatus,
    ServiceState,
    SessionId,
    Settings,
    SmallRect,
    UserCredential,
)
from rdpprov.api.wtsprotocol import (
    DisplayIoctl,
    PolicyColorDepth,
    PolicyData,
    ProtocolHandles,
    UserData,
    WtsProtocolConnection,
    WtsProtocolConnectionCallback,
    WtsProtocolListener,
    WtsProtocolListenerCallback,
    WtsProtocolManager,
)
from rdpprov.errors import E_INVALIDARG, E_NOTIMPL, HResultError, NotImplementedByProvider, ProviderLoadError

Result = TypeVar("Result")
Default = TypeVar("Default")


def adapted(old_manager: type[WtsProtocolManager]) -> type[ProtocolManager]:
    """A manager class for the service, behind which objects of the old shape do the work.

    Called twice with the same class it returns the same class, as there is one manager per class.

    Raises:
        ProviderLoadError: it is no `WtsProtocolManager`. That it is a whole one is checked when it is loaded.
    """
    if not (isinstance(old_manager, type) and issubclass(old_manager, WtsProtocolManager)):
        raise ProviderLoadError(f"{old_manager!r} is no class derived from rdpprov.api.wtsprotocol.WtsProtocolManager")
    manager: type[ProtocolManager] = _standing_in_for(old_manager, AdaptedManager)
    return manager


@functools.lru_cache(maxsize=256)
def _standing_in_for(old: type, adapter: Any) -> Any:
    """The adapter's class for one class of the old shape, which is then checked with it."""
    return type(f"Adapted{old.__name__}", (adapter,), {"adapts": old, "__doc__": f"`{old.__qualname__}`, adapted."})


def policy_data(settings: ConnectionSettings) -> PolicyData:
    """What the old structure can say of settings in which policies have been merged."""
    return PolicyData(
        disable_encryption=settings.disable_encryption,
        disable_auto_reconnect=settings.disable_auto_reconnect,
        color_depth=_COLOR_DEPTHS.get(settings.color_depth, PolicyColorDepth.BITS_32),
        min_encryption_level=settings.encryption_level,
        disable_cpm=settings.disable_cpm,
        disable_cdm=settings.disable_cdm,
        disable_ccm=settings.disable_ccm,
        disable_lpt=settings.disable_lpt,
        disable_clip=settings.disable_clip,
        disable_pnp_redir=settings.disable_pnp,
    )


_COLOR_DEPTHS = {
    8: PolicyColorDepth.BITS_8,
    15: PolicyColorDepth.BITS_15,
    16: PolicyColorDepth.BITS_16,
    24: PolicyColorDepth.BITS_24,
    32: PolicyColorDepth.BITS_32,
}


async def _unless_not_implemented(call: Awaitable[Result], default: Default) -> Result | Default:
    """What a call returns, or ``default`` after E_NOTIMPL; other failures are the caller's."""
    try:
        return await call
    except HResultError as error:
        if error.hresult != E_NOTIMPL:
            raise
        return default


class AdaptedManager(ProtocolManager):
    """IWRdsProtocolManager in front of an IWTSProtocolManager. Made by `adapted`."""

    adapts: ClassVar[type[WtsProtocolManager]]
    """Whose place it takes."""

    def __init__(self) -> None:
        self._old = self.adapts()
        self.machine_policy = PolicyData()
        """For SendPolicyData."""

    async def initialize(self, settings: ProtocolSettings, policy: Settings) -> None:
        """IWRdsProtocolManager.Initialize: the old manager has none; it gets the settings object as an attribute."""
        self.settings = self._old.settings = settings
        self._learn(policy)

    async def create_listener(self, listener_name: str) -> ProtocolListener:
        """IWRdsProtocolManager.CreateListener: the old manager's listener, behind one of ours."""
        old = await self._old.create_listener(listener_name)
        if not isinstance(old, WtsProtocolListener):
            raise HResultError(
                f"CreateListener returned {type(old).__qualname__}, no WtsProtocolListener", E_INVALIDARG
            )
        listener: ProtocolListener = _standing_in_for(type(old), AdaptedListener)(old, self)
        return listener

    async def notify_service_state_change(self, change: ServiceState) -> None:
        """IWRdsProtocolManager.NotifyServiceStateChange: passed on."""
        await self._old.notify_service_state_change(change)

    async def notify_session_of_service_start(self, session_id: SessionId) -> None:
        """IWRdsProtocolManager.NotifySessionOfServiceStart: passed on."""
        await self._old.notify_session_of_service_start(session_id)

    async def notify_session_of_service_stop(self, session_id: SessionId) -> None:
        """IWRdsProtocolManager.NotifySessionOfServiceStop: passed on."""
        await self._old.notify_session_of_service_stop(session_id)

    async def notify_session_state_change(self, session_id: SessionId, event_id: int) -> None:
        """IWRdsProtocolManager.NotifySessionStateChange: passed on."""
        await self._old.notify_session_state_change(session_id, event_id)

    async def notify_settings_change(self, settings: Settings) -> None:
        """IWRdsProtocolManager.NotifySettingsChange: kept for the SendPolicyData of connections to come.

        The old family cannot be told of a change while a connection lives.
        """
        if settings.setting_type is SettingType.MACHINE:
            self._learn(settings)

    def _learn(self, policy: Settings) -> None:
        self.machine_policy = policy_data(self.settings.merge_settings(policy, ConnectionSettings()))


class AdaptedListener(ProtocolListener):
    """IWRdsProtocolListener in front of an IWTSProtocolListener."""

    adapts: ClassVar[type[WtsProtocolListener]]

    def __init__(self, old: WtsProtocolListener, manager: AdaptedManager) -> None:
        self._old = old
        self._manager = manager

    async def start_listen(self, callback: ProtocolListenerCallback, *, task_status: TaskStatus) -> None:
        """IWRdsProtocolListener.StartListen: the old listener listens, and says so through us."""
        old_callback = _ListenerCallback(callback, self._manager)
        await self._old.start_listen(old_callback, task_status=_Started(self, self._old, task_status))

    async def stop_listen(self) -> None:
        """IWRdsProtocolListener.StopListen: passed on."""
        await self._old.stop_listen()


@attrs.frozen
class _Started:
    """The task status of an old listener: its addresses are known by the time it listens."""

    listener: AdaptedListener
    old: WtsProtocolListener
    task_status: TaskStatus

    def started(self, value: object = None) -> None:
        """It listens."""
        self.listener.bound_addresses = self.old.bound_addresses
        self.task_status.started(value)


@attrs.frozen
class _ListenerCallback(WtsProtocolListenerCallback):
    """What an old listener is given."""

    callback: ProtocolListenerCallback
    manager: AdaptedManager

    async def on_connected(self, connection: WtsProtocolConnection) -> WtsProtocolConnectionCallback:
        """IWTSProtocolListenerCallback.OnConnected: without settings; the service takes what GetClientData says."""
        if not isinstance(connection, WtsProtocolConnection):
            raise HResultError(f"{type(connection).__qualname__} is no WtsProtocolConnection", E_INVALIDARG)
        adapter = _standing_in_for(type(connection), AdaptedConnection)(connection, self.manager)
        return _ConnectionCallback(adapter, await self.callback.on_connected(adapter, ConnectionSettings()))


@attrs.frozen
class _ConnectionCallback(WtsProtocolConnectionCallback):
    """What an old connection calls."""

    connection: "AdaptedConnection"
    callback: ProtocolConnectionCallback

    def on_ready(self) -> None:
        """IWTSProtocolConnectionCallback.OnReady: passed on; unless SendPolicyData failed, which drops the client."""
        if self.connection.has_policy:
            self.callback.on_ready()

    def broken_connection(self, reason: int = 0, source: int = 0) -> None:
        """IWTSProtocolConnectionCallback.BrokenConnection: passed on."""
        self.callback.broken_connection(reason, source)

    def stop_screen_updates(self) -> None:
        """IWTSProtocolConnectionCallback.StopScreenUpdates: passed on."""
        self.callback.stop_screen_updates()

    def redraw_window(self, rectangle: SmallRect | None = None) -> None:
        """IWTSProtocolConnectionCallback.RedrawWindow: passed on."""
        self.callback.redraw_window(rectangle)

    def display_ioctl(self, display_ioctl: DisplayIoctl) -> None:
        """IWTSProtocolConnectionCallback.DisplayIOCtl: Windows has removed it, and there was no driver here ever."""
        raise NotImplementedByProvider("DisplayIOCtl")

    def issue_reconnect_secret(self) -> ReconnectSecret:
        """Our extension: passed on."""
        return self.callback.issue_reconnect_secret()


class AdaptedConnection(ProtocolConnection):
    """IWRdsProtocolConnection in front of an IWTSProtocolConnection."""

    adapts: ClassVar[type[WtsProtocolConnection]]

    known_properties = frozenset(
        (
            properties.WTS_QUERY_ALLOWED_INITIAL_APP.guid,
            properties.WTS_QUERY_LOGON_SCREEN_SIZE.guid,
            properties.WTS_QUERY_AUDIOENUM_DLL.guid,
            properties.WTS_QUERY_MF_FORMAT_SUPPORT.guid,
            properties.PROPERTY_DYNAMIC_TIME_ZONE_INFORMATION.guid,
        )
    )
    """Those that the old QueryProperty was ever asked."""

    def __init__(self, old: WtsProtocolConnection, manager: AdaptedManager) -> None:
        self._old = old
        self._manager = manager
        self.has_policy = False
        """SendPolicyData is over, so OnReady may come."""
        self._handles = ProtocolHandles()
        self._session_is_new = False

    async def get_logon_error_redirector(self) -> LogonErrorRedirector:
        """IWRdsProtocolConnection.GetLogonErrorRedirector: then SendPolicyData, as nothing else precedes OnReady."""
        redirector = await _unless_not_implemented(self._old.get_logon_error_redirector(), None)
        await _unless_not_implemented(self._old.send_policy_data(self._manager.machine_policy), None)
        self.has_policy = True
        if redirector is None:
            raise NotImplementedByProvider("GetLogonErrorRedirector")
        return redirector

    async def accept_connection(self) -> None:
        """IWRdsProtocolConnection.AcceptConnection: passed on."""
        await self._old.accept_connection()

    async def get_client_data(self) -> ClientData:
        """IWRdsProtocolConnection.GetClientData: passed on."""
        return await self._old.get_client_data()

    async def get_user_credentials(self) -> UserCredential:
        """IWRdsProtocolConnection.GetUserCredentials: passed on."""
        return await self._old.get_user_credentials()

    async def get_license_connection(self) -> LicenseConnection:
        """IWRdsProtocolConnection.GetLicenseConnection: passed on."""
        return await self._old.get_license_connection()

    async def authenticate_client_to_session(self) -> ReconnectClaim:
        """IWRdsProtocolConnection.AuthenticateClientToSession: passed on."""
        return await self._old.authenticate_client_to_session()

    async def notify_session_id(self, session_id: SessionId, session_handle: int) -> None:
        """IWRdsProtocolConnection.NotifySessionId: without the handle."""
        await self._old.notify_session_id(session_id)

    async def get_input_handles(self) -> InputDevices:
        """IWRdsProtocolConnection.GetInputHandles: GetProtocolHandles; the display is kept for GetVideoHandle."""
        self._handles = ProtocolHandles()
        self._handles = await self._old.get_protocol_handles()
        if self._handles.inputs is None:
            raise NotImplementedByProvider("GetProtocolHandles: no input")
        return self._handles.inputs

    async def get_video_handle(self) -> VideoDevice:
        """IWRdsProtocolConnection.GetVideoHandle: what GetProtocolHandles said, which came just before."""
        if self._handles.video is None:
            raise NotImplementedByProvider("GetProtocolHandles: no display")
        return self._handles.video

    async def connect_notify(self, session_id: int) -> None:
        """IWRdsProtocolConnection.ConnectNotify: passed on."""
        await self._old.connect_notify(session_id)

    async def notify_command_process_created(self, session_id: int) -> None:
        """IWRdsProtocolConnection.NotifyCommandProcessCreated: nobody to tell; but the session is a new one."""
        self._session_is_new = True

    async def is_user_allowed_to_logon(
        self, session_id: int, user: UserToken, domain_name: str, user_name: str
    ) -> None:
        """IWRdsProtocolConnection.IsUserAllowedToLogon: passed on."""
        await self._old.is_user_allowed_to_logon(session_id, user, domain_name, user_name)

    async def session_arbitration_enumeration(
        self, user: UserToken, single_session_per_user_enabled: bool
    ) -> Sequence[int]:
        """IWRdsProtocolConnection.SessionArbitrationEnumeration: passed on."""
        return await self._old.session_arbitration_enumeration(user, single_session_per_user_enabled)

    async def logon_notify(
        self,
        user: UserToken,
        user_name: str,
        domain_name: str,
        session_id: SessionId,
        settings: ConnectionSettings,
    ) -> ConnectionSettings:
        """IWRdsProtocolConnection.LogonNotify: without settings; then GetUserData, if the session is a new one."""
        await _unless_not_implemented(self._old.logon_notify(user, user_name, domain_name, session_id), None)
        if not self._session_is_new:
            return settings
        given = UserData(settings.work_directory, settings.initial_program, settings.client_time_zone)
        data = await _unless_not_implemented(self._old.get_user_data(policy_data(settings), given), given)
        return attrs.evolve(
            settings,
            work_directory=data.work_directory,
            initial_program=data.initial_program,
            client_time_zone=data.user_time_zone,
        )

    async def disconnect_notify(self) -> None:
        """IWRdsProtocolConnection.DisconnectNotify: passed on; what follows, if anything, is a reconnect."""
        self._session_is_new = False
        await self._old.disconnect_notify()

    async def close(self) -> None:
        """IWRdsProtocolConnection.Close: passed on."""
        await self._old.close()

    async def get_protocol_status(self) -> ProtocolStatus:
        """IWRdsProtocolConnection.GetProtocolStatus: passed on."""
        return await self._old.get_protocol_status()

    async def get_last_input_time(self) -> int:
        """IWRdsProtocolConnection.GetLastInputTime: passed on."""
        return await self._old.get_last_input_time()

    async def set_error_info(self, error: int) -> None:
        """IWRdsProtocolConnection.SetErrorInfo: passed on."""
        await self._old.set_error_info(error)

    async def create_virtual_channel(self, endpoint_name: str, static: bool, requested_priority: int) -> Channel:
        """IWRdsProtocolConnection.CreateVirtualChannel: passed on."""
        return await self._old.create_virtual_channel(endpoint_name, static, requested_priority)

    async def query_property(
        self, query_type: uuid.UUID, entries_in: Sequence[PropertyValue] = ()
    ) -> Sequence[PropertyValue]:
        """IWRdsProtocolConnection.QueryProperty: passed on, if the old family had the property."""
        if query_type not in self.known_properties:
            raise NotImplementedByProvider(f"QueryProperty {query_type}")
        return await self._old.query_property(query_type, entries_in)

    async def get_shadow_connection(self) -> ShadowConnection:
        """IWRdsProtocolConnection.GetShadowConnection: passed on."""
        return await self._old.get_shadow_connection()
