"""The licensing phase of one RDP client."""

from typing import TYPE_CHECKING

from rdpprov.api import LICENSING_SUCCEEDED, LicenseCapabilities, LicenseConnection
from rdpprov.errors import NotImplementedByProvider

if TYPE_CHECKING:
    from rdpprov.providers.rdp.connection import RdpConnection


class RdpLicenseConnection(LicenseConnection):
    """IWRdsProtocolLicenseConnection over the I/O channel: [MS-RDPBCGR] 1.3.1.1 "Licensing".

    The valid-client message ends licensing for every client. The full exchange of [MS-RDPELE], policy `issue`, is not
    built yet, and its two calls say so.
    """

    def __init__(self, connection: "RdpConnection") -> None:
        self._connection = connection

    async def request_licensing_capabilities(self) -> LicenseCapabilities:
        """IWRdsProtocolLicenseConnection.RequestLicensingCapabilities: RSA, X.509, the client's computer name."""
        return LicenseCapabilities(client_name=self._connection.client_name[:41])

    async def send_client_license(self, packet: bytes) -> None:
        """IWRdsProtocolLicenseConnection.SendClientLicense: not built yet.

        Raises:
            NotImplementedByProvider: always.
        """
        raise NotImplementedByProvider("the licensing exchange of [MS-RDPELE] is not built yet, use valid-client")

    async def request_client_license(self, reserve: bytes = b"") -> bytes:
        """IWRdsProtocolLicenseConnection.RequestClientLicense: not built yet.

        Raises:
            NotImplementedByProvider: always.
        """
        raise NotImplementedByProvider("the licensing exchange of [MS-RDPELE] is not built yet, use valid-client")

    async def protocol_complete(self, complete: int) -> None:
        """IWRdsProtocolLicenseConnection.ProtocolComplete: the valid-client message, then Demand Active."""
        await self._connection.licensing_complete(complete == LICENSING_SUCCEEDED)
