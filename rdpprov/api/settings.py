"""IWRdsProtocolSettings: what the service tells a provider about policies, listeners and who may log on."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from rdpprov.api.authenticator import Authenticator
from rdpprov.api.enums import ConnectionSettingLevel, SettingLevel, SettingType
from rdpprov.api.identity import UserToken
from rdpprov.api.structures import ConnectionSettings, Settings


class ProtocolSettings(ABC):
    """IWRdsProtocolSettings: implemented by the service, handed out in `ProtocolManager.initialize`.

    A provider may keep it until `ProtocolManager.uninitialize`. All its methods are plain and return at once, so they
    may be called from anywhere.
    """

    @abstractmethod
    def get_settings(
        self,
        setting_type: SettingType,
        level: SettingLevel = SettingLevel.LEVEL_1,
        *,
        user: UserToken | None = None,
    ) -> Settings:
        """IWRdsProtocolSettings.GetSettings: the policies of one kind that are in force now.

        Args:
            setting_type: the machine's, users' (with those of their groups) or accounts'.
            level: which structure carries them.
            user: our extension: whose. Of users and accounts nothing is set without.

        Raises:
            HResultError: E_INVALIDARG: no such kind or level.
        """

    @abstractmethod
    def merge_settings(
        self,
        settings: Settings,
        connection_settings: ConnectionSettings,
        level: ConnectionSettingLevel = ConnectionSettingLevel.LEVEL_1,
    ) -> ConnectionSettings:
        """IWRdsProtocolSettings.MergeSettings: fold policies into a connection's settings.

        Only a policy whose status is ENABLED counts; its value replaces the connection's.

        Returns:
            The settings with the policies in them; the argument is not changed.

        Raises:
            HResultError: E_INVALIDARG: no such level.
        """

    @property
    @abstractmethod
    def authenticator(self) -> Authenticator:
        """Our extension: verifies a logon that the provider's wire carries (NLA, VeNCrypt, web).

        Its verdict goes back with `ProtocolConnection.get_user_credentials`, as `UserCredential.proof`.
        """

    @abstractmethod
    def listener_options(self, listener_name: str) -> Mapping[str, object]:
        """Our extension: the listener's own configuration, such as its address and its certificate.

        On Windows a provider reads these values from the listener's registry key
        ``HKLM\\\\System\\\\CurrentControlSet\\\\Control\\\\Terminal Server\\\\WinStations\\\\<listener_name>``.

        Raises:
            HResultError: E_INVALIDARG: no such listener.
        """
