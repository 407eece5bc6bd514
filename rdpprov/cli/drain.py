"""``rdpprov drain``: let a service run dry."""

from typing import Literal

from rdpprov.admin.client import AdminClient
from rdpprov.cli.administering import THE_SERVICE, Admin
from rdpprov.rcm.snapshots import ServiceInfo


def drain(action: Literal["on", "off", "status"] = "status", /, *, admin: Admin = THE_SERVICE) -> None:
    """Refuse new sessions while users still get back into theirs; or stop doing so.

    Args:
        action: begin, end, or say how it stands.
    """

    async def act(service: AdminClient) -> ServiceInfo:
        if action != "status":
            await service.drain(action == "on")
        return await service.service()

    info = admin.ask(act)
    state = "draining: no new sessions" if info.draining else "not draining"
    admin.say(info, f"{state}; {_count(info.sessions, 'session')}, {_count(info.connections, 'connection')}")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
