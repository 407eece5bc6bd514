"""IWRdsProtocolManager of the RFB provider."""

from rdpprov.api import ProtocolListener, ProtocolManager
from rdpprov.providers.rfb.listener import RfbListener
from rdpprov.providers.rfb.options import RfbListenerOptions


class RfbManager(ProtocolManager):
    """The RFB provider: register it as ``rfb``, or name it as ``rdpprov.providers.rfb.manager:RfbManager``."""

    async def create_listener(self, listener_name: str) -> ProtocolListener:
        """IWRdsProtocolManager.CreateListener: certificate and password file are read now, so that a wrong one stops
        the start."""
        options = RfbListenerOptions.from_mapping(listener_name, self.settings.listener_options(listener_name))
        return RfbListener(listener_name, options, self.settings.authenticator)
