import pytest
import structlog
import trio
from trio.testing import MockClock

from rdpprov.admin.place import listening_at
from rdpprov.admin.server import serve_admin
from rdpprov.rcm.configuration import SessionsPolicy, Shadow
from rdpprov.rcm.service import RemoteConnectionManager
from rdpprov.sessions.shadow_consent import DesktopOverlay
from rdpprov.testing.scripted import _PROVIDER, ScriptedProvider


@pytest.fixture(name="autojump_clock")
def _autojump_clock():
    return MockClock(autojump_threshold=0)


@pytest.fixture(autouse=True)
def log():
    """What is logged, as dictionaries; nothing is printed."""
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.fixture
def place(tmp_path):
    """A path for a socket, in a directory that is not there yet."""
    return tmp_path / "state" / "admin.sock"


PATIENCE = 60
"""Seconds: what does not come fails, and does not hang."""


async def _lose_patience():
    await trio.sleep(PATIENCE)
    raise TimeoutError(f"nothing came for {PATIENCE} s")


class Provider(ScriptedProvider):
    """Everything around a service whose users can be asked whether they may be shadowed."""

    def __init__(self, shadow):
        super().__init__(sessions=SessionsPolicy(shadow=shadow))
        self.asked = trio.Event()
        """Somebody sees an overlay."""

    def make_service(self):
        _PROVIDER.set(self)
        return RemoteConnectionManager(
            self.configuration,
            authenticator=self.authenticator,
            desktop_factory=self.make_desktop,
            logon_desktop_factory=self.make_logon_desktop,
            overlay_factory=self.make_overlay,
        )

    def make_overlay(self, request):
        self.asked.set()
        return DesktopOverlay(request)


@pytest.fixture
async def provider(request, place, nursery):
    """A scripted provider's service with its admin socket at `place`, on the real clock: the kernel has no other."""
    provider = Provider(request.param if hasattr(request, "param") else Shadow.CONSENT_CONTROL)
    service = provider.make_service()
    with listening_at(place) as listening:
        await nursery.start(service.serve)
        nursery.start_soon(_lose_patience)
        nursery.start_soon(serve_admin, service.administration, listening)
        provider.running = service
        yield provider
