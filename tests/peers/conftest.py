"""Real clients, on a display of their own, against a service in this process.

A peer that is not installed skips its tests with the package's name, or fails them where ``RDPPROV_REQUIRE_PEERS`` is
set. Nothing here talks to anything but loopback, and only processes that a test started are ended.
"""

import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from rdpprov.accounts.authenticator import FileAuthenticator
from rdpprov.accounts.users_file import ScryptCost, UsersFile
from rdpprov.rcm.configuration import ListenerConfiguration, ServiceConfiguration
from rdpprov.rcm.service import RemoteConnectionManager
from rdpprov.sessions.base import Desktop, DesktopRequest
from rdpprov.sessions.demo import DemoDesktop
from rdpprov.sessions.factories import logon_desktop_factory, overlay_factory
from rdpprov.traces.recorder import TraceDirectory
from tests.peers.support import OTHER_USER, PASSWORD, USER, Display, Service, StartService, lack


@pytest.fixture(autouse=True)
def _peers(request: pytest.FixtureRequest) -> None:
    for mark in request.node.iter_markers("peer"):
        for program in mark.args:
            if reason := lack(program):
                if os.environ.get("RDPPROV_REQUIRE_PEERS"):
                    pytest.fail(reason)
                pytest.skip(reason)


@pytest.fixture
def display(tmp_path: Path) -> Iterator[Display]:
    with _new_display(tmp_path / "home") as new:
        yield new


@pytest.fixture
def other_display(tmp_path: Path) -> Iterator[Display]:
    """For a second client, whose user sits somewhere else."""
    with _new_display(tmp_path / "other home") as new:
        yield new


@contextmanager
def _new_display(home: Path) -> Iterator[Display]:
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1024x768x24", "-nolisten", "tcp", "-noreset"],
        pass_fds=[write],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        with os.fdopen(read) as number:
            line = number.readline().strip()
        assert line, "Xvfb did not start"
        home.mkdir()
        yield Display(f":{line}", home)
    finally:
        server.terminate()
        server.wait(10)


def still_demo(request: DesktopRequest) -> DemoDesktop:
    """Nothing changes by itself."""
    made = DemoDesktop(request)
    made.stop_clock()
    return made


@pytest.fixture
def serving(tmp_path: Path) -> StartService:
    """A context manager: a service on loopback that is stopped in an orderly way at the end."""
    users = UsersFile(tmp_path / "users", cost=ScryptCost(n=1024, r=8, p=1))
    for name in (USER, OTHER_USER):
        users.add(name, PASSWORD)

    @asynccontextmanager
    async def start(
        *,
        rfb: dict[str, object] | None = None,
        make: Callable[[DesktopRequest], Any] = still_demo,
        **options: object,
    ) -> AsyncIterator[Service]:
        desktops: list[Any] = []

        def desktop(request: DesktopRequest) -> Desktop:
            desktops.append(make(request))
            return desktops[-1]

        own = {"host": "127.0.0.1", "port": 0, "state_dir": str(tmp_path)}
        manager = RemoteConnectionManager(
            ServiceConfiguration(
                listeners=[
                    ListenerConfiguration("desk", "rdp", {**own, **options}),
                    *([] if rfb is None else [ListenerConfiguration("vnc", "rfb", {**own, **rfb})]),
                ]
            ),
            authenticator=FileAuthenticator(users),
            desktop_factory=desktop,
            logon_desktop_factory=logon_desktop_factory(),
            overlay_factory=overlay_factory(),
            traces=TraceDirectory(tmp_path / "traces"),
        )
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(manager.serve)
            ports = {listener.name: listener.port for listener in listeners}
            yield Service(manager, ports["desk"], tmp_path / "traces", desktops, tmp_path, ports.get("vnc", 0))
            manager.request_stop()

    return start
