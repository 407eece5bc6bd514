"""SIGTERM while somebody else's client is there, in whatever state it is: the service ends within 10 s, and lets it go.

Whoever stops a service (systemd, a container's engine) kills what has not ended by then.
"""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from tests.cli.conftest import Command
from tests.peers.support import PASSWORD, USER, Display, eventually, running, serve_by_command, xfreerdp
from tests.peers.test_rfb_clients import tigervnc, window
from tests.web.support import Page, browser, open_websocket

pytestmark = [
    pytest.mark.xdist_group("chromium"),
    pytest.mark.peer("Xvfb", "xfreerdp", "xtigervncviewer", "xdotool", "import"),
]

LIMIT = 10
"""Seconds."""

CONFIGURATION = """\
[listeners.desk]
protocol = "rdp"
listen = "127.0.0.1:0"

[listeners.viewers]
protocol = "rfb"
listen = "127.0.0.1:0"

[web]
listen = "127.0.0.1:0"
"""


@attrs.frozen
class Served:
    """The service, from outside."""

    process: trio.Process
    ports: dict[str, int]
    certificate_dir: Path
    log: Path

    @property
    def rfb_port(self) -> int:
        return self.ports["viewers"]

    async def has_logged(self, text: str) -> None:
        async def is_there() -> bool:
            return text in self.log.read_text()

        await eventually(is_there, f"{text!r} in the log")

    async def ends(self, limit: float = LIMIT) -> None:
        """See it end in time after SIGTERM, and nothing wrong in its log."""
        self.process.send_signal(signal.SIGTERM)
        with trio.move_on_after(limit):
            await self.process.wait()
        assert self.process.returncode == 0, self.log.read_text()
        for wrong in ('"level": "error"', '"level": "critical"', "Traceback"):
            assert wrong not in self.log.read_text()


@asynccontextmanager
async def serving(home: Path) -> AsyncIterator[Served]:
    """``rdpprov serve``, for every kind of client."""
    async with serve_by_command(Command(home), home, CONFIGURATION) as served:
        yield Served(served.process, served.ports, served.state, served.log)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "service"
    made.mkdir(mode=0o700)
    return made


async def is_gone(client: trio.Process) -> None:
    with trio.fail_after(LIMIT):
        await client.wait()


@asynccontextmanager
async def frozen(client: trio.Process) -> AsyncIterator[None]:
    """It takes and says nothing, as on a machine that has gone to sleep."""
    os.kill(client.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(client.pid, signal.SIGCONT)


async def test_tigervnc_s_viewer_is_let_go(display: Display, home: Path) -> None:
    async with serving(home) as service, running(tigervnc(service), display) as viewer:
        await window(display)
        await service.has_logged("logged on")
        await service.ends()
        await is_gone(viewer)


async def test_tigervnc_s_viewer_that_has_gone_to_sleep_holds_up_nothing(display: Display, home: Path) -> None:
    async with serving(home) as service, running(tigervnc(service), display) as viewer:
        await window(display)
        await service.has_logged("logged on")
        async with frozen(viewer):
            await service.ends()


async def test_tigervnc_s_viewer_that_asks_for_the_password_holds_up_nothing(display: Display, home: Path) -> None:
    async with serving(home) as service:
        command = [word for word in tigervnc(service) if not word.startswith("VNC_")]
        async with running(command, display):
            await dialogue(display)
            await service.ends()


async def dialogue(display: Display) -> None:
    """Wait until the viewer asks its user something."""

    async def is_there() -> bool:
        search = await trio.run_process(
            ["xdotool", "search", "--onlyvisible", "--name", "authentication"],
            env=display.environment,
            capture_stdout=True,
            check=False,
        )
        return bool(search.stdout)

    await eventually(is_there, "the viewer's dialogue")


async def test_clients_of_all_protocols_are_let_go_at_once(display: Display, tmp_path: Path, home: Path) -> None:
    async with serving(home) as service, browser(tmp_path) as page:
        async with running(tigervnc(service), display) as viewer:
            await window(display)
            await log_on(page, service)  # the user's one session: the viewer is told that it is taken over
            await is_gone(viewer)
            async with running(xfreerdp(service.ports["desk"]), display) as client:
                await page.wait_for("document.body.dataset.state === 'idle'")
                await log_on(page, service)
                await is_gone(client)
        await service.ends()
        await page.wait_for("document.body.dataset.state === 'idle'")
        assert await page.evaluate("!document.querySelector('#message').hidden")


async def log_on(page: Page, service: Served) -> None:
    await page.open(f"http://127.0.0.1:{service.ports['web']}/")
    await page.log_on(USER, PASSWORD)
    await page.wait_for("document.body.dataset.state === 'connected'")


async def test_a_browser_that_has_gone_to_sleep_holds_up_nothing(tmp_path: Path, home: Path) -> None:
    async with serving(home) as service, browser(tmp_path) as page:
        await log_on(page, service)
        async with frozen(page.process):
            await service.ends()


@pytest.mark.parametrize("said", [b"", b"RFB 003.008\n"])
@pytest.mark.parametrize("answers", [True, False])
async def test_a_websocket_whose_client_does_not_say_who_it_is_is_closed(
    home: Path, said: bytes, answers: bool
) -> None:
    async with serving(home) as service:
        port = service.ports["web"]
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            client = await open_websocket(stream, f"127.0.0.1:{port}", "/websocket", [], {})
            assert await client.receive(12) == b"RFB 003.008\n"
            if said:
                await client.send_bytes(said)
                await client.receive(2)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(service.ends, LIMIT / 2)  # nobody has to be waited for until a time limit
                if answers:
                    code, _ = await client.closing()
                    assert code in (1000, 1001)


async def test_a_browser_that_only_holds_a_connection_open_holds_up_nothing(home: Path) -> None:
    async with (
        serving(home) as service,
        await trio.open_tcp_stream("127.0.0.1", service.ports["web"]),
        await trio.open_tcp_stream("127.0.0.1", service.ports["viewers"]),
        await trio.open_tcp_stream("127.0.0.1", service.ports["desk"]),
    ):
        await service.ends()
