"""IWRdsProtocolLicenseConnection: the licensing messages of one connection."""

from abc import ABC, abstractmethod

from rdpprov.api.structures import LicenseCapabilities

LICENSING_SUCCEEDED = 1
"""The only argument of ProtocolComplete that means success."""


class LicenseConnection(ABC):
    """IWRdsProtocolLicenseConnection: implemented by the provider, from `ProtocolConnection.get_license_connection`.

    The service asks for the capabilities, then runs as many rounds of `send_client_license` and
    `request_client_license` as its policy needs (none for valid clients), then tells the verdict. Packets are those of
    [MS-RDPELE] on every protocol.
    """

    @abstractmethod
    async def request_licensing_capabilities(self) -> LicenseCapabilities:
        """IWRdsProtocolLicenseConnection.RequestLicensingCapabilities: what the client can do. First call.

        Raises:
            HResultError: the service drops the connection.
        """

    @abstractmethod
    async def send_client_license(self, packet: bytes) -> None:
        """IWRdsProtocolLicenseConnection.SendClientLicense: send a packet of the server to the client.

        Args:
            packet: SERVER_LICENSE_REQUEST, SERVER_PLATFORM_CHALLENGE, SERVER_NEW_LICENSE or SERVER_UPGRADE_LICENSE.

        Raises:
            HResultError: the service logs it and ends licensing as failed.
        """

    @abstractmethod
    async def request_client_license(self, reserve: bytes = b"") -> bytes:
        """IWRdsProtocolLicenseConnection.RequestClientLicense: wait for the client's next packet.

        Args:
            reserve: extra data for the client (Reserve1).

        Returns:
            CLIENT_LICENSE_INFO, CLIENT_NEW_LICENSE_REQUEST or CLIENT_PLATFORM_CHALLENGE_RESPONSE.

        Raises:
            HResultError: the service ends licensing as failed.
        """

    @abstractmethod
    async def protocol_complete(self, complete: int) -> None:
        """IWRdsProtocolLicenseConnection.ProtocolComplete: licensing is over. Last call.

        Args:
            complete: `LICENSING_SUCCEEDED`; every other number is failure, and the connection will be closed.
        """


class AlwaysLicensed(LicenseConnection):
    """For protocols without licensing: every client has a license, and no packet is ever exchanged."""

    async def request_licensing_capabilities(self) -> LicenseCapabilities:
        """IWRdsProtocolLicenseConnection.RequestLicensingCapabilities: the defaults."""
        return LicenseCapabilities()

    async def send_client_license(self, packet: bytes) -> None:
        """IWRdsProtocolLicenseConnection.SendClientLicense: there is nobody to send it to."""

    async def request_client_license(self, reserve: bytes = b"") -> bytes:
        """IWRdsProtocolLicenseConnection.RequestClientLicense: an empty packet, as there is no client to ask."""
        return b""

    async def protocol_complete(self, complete: int) -> None:
        """IWRdsProtocolLicenseConnection.ProtocolComplete: nothing to tell."""
