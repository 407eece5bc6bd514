"""IWRdsProtocolManager: where the service gets hold of a protocol."""

from abc import ABC, abstractmethod

from rdpprov.api.listener import ProtocolListener
from rdpprov.api.settings import ProtocolSettings
from rdpprov.api.structures import ServiceState, SessionId, Settings


class ProtocolManager(ABC):
    """IWRdsProtocolManager: implemented by the provider; the only class that the service instantiates itself.

    The service makes one manager per class, without arguments, however many listeners name it. Inside any method do
    not wait for anything that the service has to do: it is waiting for you. Errors of manager methods concern no
    single connection: one in `initialize` or `create_listener` fails the listener, others are logged.
    """

    settings: ProtocolSettings
    """The service's settings object, from `initialize` to `uninitialize`."""

    async def initialize(self, settings: ProtocolSettings, policy: Settings) -> None:
        """IWRdsProtocolManager.Initialize: the service starts; the first call after creation.

        By default the settings object is kept, as every provider needs it.

        Args:
            settings: the service's settings object.
            policy: the machine policies in force.
        """
        self.settings = settings

    @abstractmethod
    async def create_listener(self, listener_name: str) -> ProtocolListener:
        """IWRdsProtocolManager.CreateListener: one call for each configured listener, after `initialize`.

        Args:
            listener_name: its name in the configuration, at most 32 characters. (The page calls it a GUID; it is the
                name of the registry key.)

        Raises:
            HResultError: there will be no such listener; the service's start fails.
            ConfigurationError: the same, because of a wrong option.
        """

    async def notify_service_state_change(self, change: ServiceState) -> None:
        """IWRdsProtocolManager.NotifyServiceStateChange: the service starts, stops, or begins or ends to drain."""

    async def notify_session_of_service_start(self, session_id: SessionId) -> None:
        """IWRdsProtocolManager.NotifySessionOfServiceStart: the service has started as regards this session."""

    async def notify_session_of_service_stop(self, session_id: SessionId) -> None:
        """IWRdsProtocolManager.NotifySessionOfServiceStop: the service stops as regards this session."""

    async def notify_session_state_change(self, session_id: SessionId, event_id: int) -> None:
        """IWRdsProtocolManager.NotifySessionStateChange: something happened to a session.

        Args:
            session_id: which.
            event_id: a `SessionChange`; a provider accepts any number.
        """

    async def notify_settings_change(self, settings: Settings) -> None:
        """IWRdsProtocolManager.NotifySettingsChange: policies have changed.

        Args:
            settings: all policies of the kind `Settings.setting_type`, not only those that changed.
        """

    async def uninitialize(self) -> None:
        """IWRdsProtocolManager.Uninitialize: the last call, after the last `ProtocolListener.stop_listen`."""
