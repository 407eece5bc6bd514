"""The clients with which `rdpprov.testing.check_provider` checks the providers that rdpprov comes with.

They stand in the entry-point group ``rdpprov.check_clients``, where other packages put theirs.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from rdpprov.api.devices import UnicodeKey
from rdpprov.protocol.rdp.client import ClientOptions
from rdpprov.testing.check_clients import CheckClient
from rdpprov.testing.rdp_client import RdpTestClient, connect_rdp


class _RdpUser:
    """Who sits at an RDP client."""

    def __init__(self, client: RdpTestClient) -> None:
        self._client = client

    @property
    def admitted(self) -> bool:
        """Demand Active has come."""
        return self._client.width > 0

    async def use(self) -> None:
        """Type a letter, once that is possible."""
        await self._client.active.wait()
        await self._client.send_input(UnicodeKey("a", True), UnicodeKey("a", False))


@asynccontextmanager
async def _rdp(address: str, port: int, user: str, password: str) -> AsyncIterator[_RdpUser]:
    options = ClientOptions(user_name=user, password=password, width=320, height=240)
    async with connect_rdp(address, port, options, keep_picture=False) as client:
        yield _RdpUser(client)


def _rdp_options(directory: Path) -> Mapping[str, object]:
    return {"state_dir": str(directory)}


RDP = CheckClient(_rdp, _rdp_options)
"""TLS, name and password in Client Info; the certificate is made for the check."""
