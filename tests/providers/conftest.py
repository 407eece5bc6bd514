import resource
from contextlib import asynccontextmanager

import pytest
import structlog
import trio
from trio.testing import MockClock

from rdpprov.providers.rdp.listener import RdpListener
from rdpprov.providers.rdp.options import RdpListenerOptions
from rdpprov.security.certificates import self_signed_certificate
from rdpprov.security.tls import server_context
from tests.providers.support import Listening, Script


@pytest.fixture(name="autojump_clock")
def _autojump_clock():
    return MockClock(autojump_threshold=0)


@pytest.fixture(autouse=True)
def log():
    """What is logged, as dictionaries; nothing is printed. Nothing may be our own mistake."""
    with structlog.testing.capture_logs() as entries:
        yield entries
    assert [entry for entry in entries if entry["event"] == "connection failed"] == []


@pytest.fixture(scope="session")
def state_dir(tmp_path_factory):
    """Where one certificate lies for all tests."""
    path = tmp_path_factory.mktemp("state")
    self_signed_certificate(path)
    return path


@pytest.fixture(scope="session")
def tls(state_dir):
    """A server's context."""
    return server_context(self_signed_certificate(state_dir))


@pytest.fixture(scope="session")
def many_descriptors():
    """As many as this user may have: both ends of a connection are in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def listening(state_dir):
    """A context manager: a listener on loopback and its service. At its end no task may be left."""

    @asynccontextmanager
    async def start(script=None, **options):
        listener = RdpListener("desk", RdpListenerOptions(port=0, state_dir=state_dir, **options))
        async with trio.open_nursery() as sequences:
            service = Script(sequences, **(script or {}))
            async with trio.open_nursery() as nursery:
                await nursery.start(listener.start_listen, service)
                yield Listening(listener, service, listener.bound_addresses[0][1])
                await listener.stop_listen()
                service.close()
            service.close()  # those, too, that were still on their way

    return start
