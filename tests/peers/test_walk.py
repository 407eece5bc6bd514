"""One living session, any protocol: its user walks from client to client, and each is somebody else's program.

The service is a process of its own, as its administrator starts it; what a client shows is compared with what the
session's desktop says that it shows.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import trio
from numpy.typing import NDArray

from tests.cli.conftest import Command
from tests.peers.support import PASSWORD, USER, Display, difference, eventually, running, serve_by_command, xfreerdp
from tests.peers.test_rfb_clients import SIZE, tigervnc, window
from tests.peers.watched_desktop import PLACE, watch
from tests.web.support import Page, browser
from tests.web.test_desktops import canvas, click

pytestmark = [
    pytest.mark.xdist_group("chromium"),
    pytest.mark.peer("Xvfb", "xfreerdp", "xtigervncviewer", "xdotool", "import"),
]

CONFIGURATION = """\
[listeners.desk]
protocol = "rdp"
listen = "127.0.0.1:0"

[listeners.viewers]
protocol = "rfb"
listen = "127.0.0.1:0"

[web]
listen = "127.0.0.1:0"

[sessions]
desktop = "tests.peers.watched_desktop:WatchedDesktop"
"""

IN_PAGE = (900, 652)
"""Beside the toolbar of a page of 900 by 700."""

Shown = Callable[[], Awaitable[NDArray[np.uint8]]]


@attrs.frozen
class Served:
    """The service, from outside."""

    command: Command
    place: str
    ports: dict[str, int]

    @property
    def rfb_port(self) -> int:
        return self.ports["viewers"]

    @property
    def certificate_dir(self) -> Path:
        return self.command.home / ".local/state/rdpprov"

    async def run(self, *arguments: object) -> str:
        done = await trio.to_thread.run_sync(self.command.run, *arguments)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    async def has_session(self, protocol: str | None, width: int, height: int) -> object:
        """Wait until the administrator sees one session, at this size, with such a client or without one; its id."""
        session: dict[str, Any] = {}

        async def is_there() -> bool:
            [listed] = json.loads(await self.run("sessions", "list", "--json"))
            session.update(listed)
            connection = listed["connection"]
            at = None if connection is None else connection["protocol"]
            return (at, listed["user"], listed["width"], listed["height"]) == (protocol, USER, width, height)

        try:
            await eventually(is_there, f"a session over {protocol}, {width} by {height}")
        except pytest.fail.Exception as failure:
            pytest.fail(f"{failure}: {session}")
        assert session["state"] == ("DISCONNECTED" if protocol is None else "ACTIVE")
        return session["session"]

    async def text(self) -> str:
        return (await watch(self.place))[1]

    async def types(self, text: str) -> None:
        """Wait until this is all that has been typed."""

        async def typed() -> bool:
            return await self.text() == text

        try:
            await eventually(typed, f"the text {text!r}")
        except pytest.fail.Exception as failure:
            pytest.fail(f"{failure}: {await self.text()!r}")

    async def is_shown(self, shown: Shown, width: int, height: int) -> tuple[int, int]:
        """Wait until a client shows the desktop pixel for pixel, at its own size.

        Returns:
            where a click makes typing go on at the end of the text.
        """
        last = "nothing yet"

        async def same() -> bool:
            nonlocal last
            if not await trio.Path(self.place).exists():  # nobody has logged on yet
                return False
            expected, _, _ = await watch(self.place)
            if expected.shape != (height, width, 3):
                last = f"the desktop's shape is {expected.shape}"
                return False
            last = difference(await shown(), expected)
            return last == "equal"

        try:
            await eventually(same, "the desktop's picture")
        except pytest.fail.Exception as failure:
            pytest.fail(f"{failure}: {last}")
        return (await watch(self.place))[2]


@asynccontextmanager
async def serving(home: Path) -> AsyncIterator[Served]:
    """``rdpprov serve`` with a listener for each protocol; stopped in an orderly way, and its traces checked."""
    command = Command(home)
    place = str(home / "desk.sock")
    command.environment |= {PLACE: place, "PYTHONPATH": str(Path(__file__).parents[2])}
    async with serve_by_command(command, home, CONFIGURATION, "--trace-dir", "traces") as service:
        served = Served(command, place, service.ports)
        yield served
        service.process.terminate()
        with trio.fail_after(30):
            assert await service.process.wait() == 0, service.log.read_text()
        traces = sorted((home / "traces").glob("*.jsonl"))
        checked = await served.run("trace", "check", *traces)
        assert checked.count(": good\n") == len(traces), checked
        assert sum(not path.name.startswith("service") for path in traces) == 4  # of the clients


def part_of(display: Display, left: int, top: int, width: int, height: int) -> Shown:
    async def shown() -> NDArray[np.uint8]:
        return (await display.screenshot())[top : top + height, left : left + width]

    return shown


@asynccontextmanager
async def rdp(served: Served, display: Display, width: int, height: int) -> AsyncIterator[trio.Process]:
    """xfreerdp, which shows the desktop, ready to type at the end of the text."""
    size = f"/size:{width}x{height}"
    async with running(xfreerdp(served.ports["desk"], size), display) as process:
        x, y = await served.is_shown(part_of(display, 0, 0, width, height), width, height)
        await display.xdotool("mousemove", x, y, "click", 1)
        yield process


async def ends(process: trio.Process) -> None:
    with trio.fail_after(20):
        await process.wait()


async def log_on(page: Page, served: Served) -> None:
    await page.size(900, 700)
    await page.open(f"http://127.0.0.1:{served.ports['web']}/")
    await page.log_on(USER, PASSWORD)
    await page.wait_for("document.body.dataset.state !== 'connecting'")
    said = await page.evaluate("document.querySelector('#message').textContent")
    assert await page.evaluate("document.body.dataset.state") == "connected", said


async def test_a_session_walks_from_rdp_to_rfb_to_the_browser_and_back_to_rdp(display: Display, tmp_path: Path) -> None:
    home = tmp_path / "service"
    home.mkdir(mode=0o700)
    text = "From RDP"
    async with serving(home) as served:
        async with rdp(served, display, 1024, 768) as first:
            await display.xdotool("type", "--delay", 30, text)
            await served.types(text)
            await served.is_shown(part_of(display, 0, 0, 1024, 768), 1024, 768)
            session = await served.has_session("RDP", 1024, 768)

            # The viewer takes the session over: who was there is told, and goes.
            async with running(tigervnc(served), display):
                await ends(first)
                number, left, top = await window(display)
                shown = part_of(display, left, top, *SIZE)
                await served.is_shown(shown, *SIZE)
                assert await served.text() == text
                await display.xdotool("windowfocus", number)
                await display.xdotool("mousemove", left + 400, top + 300)
                await display.xdotool("type", ", TigerVNC: é ß 中")
                text += ", TigerVNC: é ß 中"
                await served.types(text)
                await served.is_shown(shown, *SIZE)
                assert await served.has_session("RFB", *SIZE) == session

        # The viewer has left; the browser comes back to what it left.
        assert await served.has_session(None, *SIZE) == session
        async with browser(tmp_path) as page:
            with trio.fail_after(120):
                await log_on(page, served)
                x, y = await served.is_shown(lambda: canvas(page), *IN_PAGE)
                assert await served.text() == text
                await click(page, x, y)
                for character in ", Chromium: é ß 中":
                    await page.key(character, "", 0, character)
                text += ", Chromium: é ß 中"
                await served.types(text)
                await served.is_shown(lambda: canvas(page), *IN_PAGE)
                assert await served.has_session("RFB", *IN_PAGE) == session

                # Back at the first client, at another size, while the page is still open: it is told.
                async with rdp(served, display, 960, 720):
                    await page.wait_for("document.body.dataset.state === 'idle'")
                    assert await page.evaluate("!document.querySelector('#message').hidden")
                    assert await served.text() == text
                    await display.xdotool("type", "--delay", 30, ", and RDP")
                    text += ", and RDP"
                    await served.types(text)
                    await served.is_shown(part_of(display, 0, 0, 960, 720), 960, 720)
                    assert await served.has_session("RDP", 960, 720) == session
    assert text == "From RDP, TigerVNC: é ß 中, Chromium: é ß 中, and RDP"
