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
from rdpprov.testing.rfb_client import RfbTestClient, connect_rfb
from rdpprov.wire.rfb.handshake import VencryptSubtype


class _RdpUser:
    """Who sits at an RDP client."""

    def __init__(self, client: RdpTestClient) -> None:
        self._client = client

    @property
    def admitted(self) -> bool:
        """Demand Active has come."""
        return self._client.width > 0

    @property
    def session_id(self) -> int | None:
        """Of the last Save Session Info that named one, by itself or in a reconnect cookie."""
        info = self._client.session_info
        return info.logon_id if info is not None else None

    async def use(self) -> None:
        """Type a letter, once that is possible."""
        await self._client.active.wait()
        await self._client.send_input(UnicodeKey("a", True), UnicodeKey("a", False))


@asynccontextmanager
async def _rdp(address: str, port: int, user: str, password: str) -> AsyncIterator[_RdpUser]:
    options = ClientOptions(user_name=user, password=password, width=320, height=240)
    async with connect_rdp(address, port, options, keep_picture=False) as client:
        yield _RdpUser(client)


def _state_dir(directory: Path) -> Mapping[str, object]:
    return {"state_dir": str(directory)}


RDP = CheckClient(_rdp, _state_dir)
"""TLS, name and password in Client Info; the certificate is made for the check."""


class _RfbUser:
    """Who sits at an RFB viewer."""

    def __init__(self, client: RfbTestClient) -> None:
        self._client = client

    @property
    def admitted(self) -> bool:
        """ServerInit has come."""
        return self._client.started.is_set()

    async def use(self) -> None:
        """Look at the picture, and type a letter, once that is possible."""
        await self._client.first_picture.wait()
        await self._client.press(ord("a"))


@asynccontextmanager
async def _rfb(address: str, port: int, user: str, password: str) -> AsyncIterator[_RfbUser]:
    security = [VencryptSubtype.X509_PLAIN]
    async with connect_rfb(address, port, security=security, user=user, password=password, wait=False) as client:
        yield _RfbUser(client)


RFB = CheckClient(_rfb, _state_dir)
"""TLS, name and password by VeNCrypt's Plain; the certificate is made for the check."""
