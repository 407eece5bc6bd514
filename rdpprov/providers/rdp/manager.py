"""IWRdsProtocolManager of the RDP provider."""

from rdpprov.api import ProtocolListener, ProtocolManager
from rdpprov.providers.rdp.listener import RdpListener
from rdpprov.providers.rdp.options import RdpListenerOptions


class RdpManager(ProtocolManager):
    """The RDP provider: register it as ``rdp``, or name it as ``rdpprov.providers.rdp.manager:RdpManager``."""

    async def create_listener(self, listener_name: str) -> ProtocolListener:
        """IWRdsProtocolManager.CreateListener: its certificate is read now, so that a wrong one stops the start."""
        options = RdpListenerOptions.from_mapping(listener_name, self.settings.listener_options(listener_name))
        return RdpListener(listener_name, options)
