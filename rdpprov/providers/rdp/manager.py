"""IWRdsProtocolManager of the RDP provider."""

from rdpprov.api import ProtocolListener, ProtocolManager, ProtocolSettings, Settings
from rdpprov.errors import LocalProtocolError
from rdpprov.providers.rdp.listener import RdpListener
from rdpprov.providers.rdp.options import RdpListenerOptions


class RdpManager(ProtocolManager):
    """The RDP provider: register it as ``rdp``, or name it as ``rdpprov.providers.rdp.manager:RdpManager``."""

    def __init__(self) -> None:
        self._settings: ProtocolSettings | None = None

    async def initialize(self, settings: ProtocolSettings, policy: Settings) -> None:
        """IWRdsProtocolManager.Initialize."""
        self._settings = settings

    async def create_listener(self, listener_name: str) -> ProtocolListener:
        """IWRdsProtocolManager.CreateListener: its certificate is read now, so that a wrong one stops the start."""
        if self._settings is None:
            raise LocalProtocolError("CreateListener came before Initialize")
        options = RdpListenerOptions.from_mapping(listener_name, self._settings.listener_options(listener_name))
        return RdpListener(listener_name, options)

    async def uninitialize(self) -> None:
        """IWRdsProtocolManager.Uninitialize."""
        self._settings = None
