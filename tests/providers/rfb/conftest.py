from contextlib import asynccontextmanager

import pytest
import trio

from rdpprov.accounts.authenticator import FileAuthenticator
from rdpprov.accounts.users_file import ScryptCost, UsersFile
from rdpprov.rcm.configuration import ListenerConfiguration, ServiceConfiguration, SessionsPolicy
from rdpprov.rcm.service import RemoteConnectionManager
from rdpprov.security.vnc_auth import store_vnc_password
from rdpprov.sessions.factories import logon_desktop_factory
from rdpprov.testing.trace_assertions import assert_trace_is_right
from rdpprov.traces.format import read_trace
from rdpprov.traces.recorder import TraceDirectory
from tests.providers.rfb.support import PASSWORD, USER, VNC_PASSWORD, Desk, Serving


@pytest.fixture
def vnc_password_file(tmp_path):
    path = tmp_path / "vncpasswd"
    path.touch(0o600)
    path.write_bytes(store_vnc_password(VNC_PASSWORD.encode()))
    return path


@pytest.fixture
def serving(tmp_path, state_dir, vnc_password_file):
    """A context manager: a service on loopback. Traces of all its connections have to conform."""
    users = UsersFile(tmp_path / "users", cost=ScryptCost(n=1024, r=8, p=1))
    users.add(USER, PASSWORD)

    @asynccontextmanager
    async def start(security=("vencrypt-plain",), *, size=(320, 240), logon=None, **options):
        desks = []
        made = [trio.Event()]

        def desktop(request):
            desks.append(Desk(request.width, request.height))
            made[0].set()
            made[0] = trio.Event()
            return desks[-1]

        own = {"port": 0, "state_dir": str(state_dir), "security": list(security), **options}
        manager = RemoteConnectionManager(
            ServiceConfiguration(
                listeners=[ListenerConfiguration("vnc", "rfb", {"vnc_password_file": str(vnc_password_file), **own})],
                sessions=SessionsPolicy(default_width=size[0], default_height=size[1]),
            ),
            authenticator=FileAuthenticator(users),
            desktop_factory=desktop,
            logon_desktop_factory=logon or logon_desktop_factory(),
            traces=TraceDirectory(tmp_path / "traces", wire=True),
        )
        async with trio.open_nursery() as nursery:
            ready = await nursery.start(manager.serve)
            service = Serving(manager, ready[0].port, desks, tmp_path / "traces", lambda: made[0])
            yield service
            manager.request_stop()
        for path in service.trace_files():
            assert_trace_is_right(read_trace(path))
            text = path.read_text()
            assert PASSWORD not in text

    return start
