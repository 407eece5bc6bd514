"""The licensing handshake of one connection."""

from contextlib import suppress
from typing import Protocol

import attrs

from rdpprov.api.license_connection import LICENSING_SUCCEEDED, LicenseConnection
from rdpprov.api.structures import LicenseCapabilities
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import RdpProvError
from rdpprov.rcm.asking import Asker, time_limit
from rdpprov.rcm.configuration import Limits
from rdpprov.rcm.ending import ConnectionDroppedError

LICENSING_FAILED = 0
"""For ProtocolComplete; every number but 1 would do."""
MAX_ROUNDS = 8
"""More than the longest exchange of [MS-RDPELE] needs; who wants more is not asked again."""


class LicenseError(RdpProvError):
    """There is no license for this client."""

    errinfo = ErrInfo.ERRINFO_LICENSE_NO_LICENSE

    def __init__(self, reason: str, errinfo: ErrInfo = ErrInfo.ERRINFO_LICENSE_NO_LICENSE) -> None:
        super().__init__(reason)
        self.errinfo = errinfo


@attrs.frozen
class LicensePacket:
    """One packet for the client: [MS-RDPELE] 2.2.2 "Licensing PDU (TS_LICENSING_PDU)"."""

    data: bytes
    is_answered: bool = True
    """Whether a packet of the client follows. A license itself, the last packet, has no answer."""


class LicenseExchange(Protocol):
    """The issuer's side of one exchange: a machine that is asked for its next packet."""

    def next_packet(self, answer: bytes | None) -> LicensePacket | None:
        """What to send next, or None: the client is licensed.

        Args:
            answer: the client's packet; None at the start.

        Raises:
            LicenseError: there is no license for this client, or its packet is not what was expected.
        """


class LicenseIssuer(Protocol):
    """A license policy that talks to clients."""

    def begin(self, capabilities: LicenseCapabilities) -> LicenseExchange:
        """A new client, and what it can do."""


async def licensing_sequence(
    ask: Asker, license_connection: LicenseConnection, issuer: LicenseIssuer | None, limits: Limits
) -> None:
    """RequestLicensingCapabilities, rounds of SendClientLicense and RequestClientLicense, ProtocolComplete.

    Microsoft's figure draws one round; a valid client needs none, a new license three.

    Args:
        ask: of the connection.
        license_connection: of GetLicenseConnection.
        issuer: None: every client counts as licensed, and no packet is exchanged.
        limits: `Limits.licensing` covers it all.

    Raises:
        ConnectionDroppedError: the client has no license. ProtocolComplete has said so.
    """
    try:
        with time_limit(limits.licensing, "licensing", ErrInfo.ERRINFO_LICENSE_CANT_FINISH_PROTOCOL):
            capabilities = await ask(license_connection.request_licensing_capabilities)
            if issuer is not None:
                await _rounds(ask, license_connection, issuer.begin(capabilities))
    except (ConnectionDroppedError, LicenseError) as error:
        with suppress(ConnectionDroppedError):  # it is being dropped already, and for a better reason
            await ask(license_connection.protocol_complete, LICENSING_FAILED)
        raise ConnectionDroppedError(error.errinfo, f"licensing failed: {error}") from error
    await ask(license_connection.protocol_complete, LICENSING_SUCCEEDED)


async def _rounds(ask: Asker, license_connection: LicenseConnection, exchange: LicenseExchange) -> None:
    answer, rounds = None, 0
    while (packet := exchange.next_packet(answer)) is not None:
        if packet.is_answered and rounds == MAX_ROUNDS:
            raise LicenseError(f"not done after {rounds} rounds", ErrInfo.ERRINFO_LICENSE_CANT_FINISH_PROTOCOL)
        await ask(license_connection.send_client_license, packet.data)
        if not packet.is_answered:
            return  # the license itself
        answer = await ask(license_connection.request_client_license, b"")
        rounds += 1
