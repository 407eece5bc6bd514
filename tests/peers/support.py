"""Real clients and the display that they run on; a service in this process."""

import importlib.util
import io
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import attrs
import numpy as np
import pytest
import trio
from numpy.typing import NDArray
from PIL import Image

from rdpprov.accounts.users_file import ScryptCost, UsersFile
from rdpprov.api.devices import Rectangle
from rdpprov.rcm.service import RemoteConnectionManager
from rdpprov.sessions.base import Desktop
from rdpprov.sessions.demo import DemoDesktop
from rdpprov.traces.format import CallLine, read_trace
from tests.cli.conftest import Command

USER, PASSWORD = "ann", "correct horse"
OTHER_USER = "bob"
"""Has the same password."""

PACKAGES = {
    "Xvfb": "xvfb",
    "xfreerdp": "freerdp2-x11",
    "rdesktop": "rdesktop",
    "xdotool": "xdotool",
    "import": "imagemagick",
    "tshark": "tshark",
    "xtigervncviewer": "tigervnc-viewer",
    "gvnccapture": "gvncviewer",
}
MODULES = {"vncdotool": "the dependency group test"}
"""Peers in Python, and where they come from."""


def lack(peer: str) -> str | None:
    """Why a peer cannot be had; None if it can."""
    if peer in MODULES:
        return None if importlib.util.find_spec(peer) else f"{peer} is not installed (it is in {MODULES[peer]})"
    return None if shutil.which(peer) else f"{peer} is not installed (Debian package {PACKAGES[peer]})"


@attrs.frozen
class Display:
    """A virtual screen of 1024x768 true-colour pixels."""

    name: str
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        """For a client: this display, and a home of its own, for clients keep certificates there."""
        return {**os.environ, "DISPLAY": self.name, "HOME": str(self.home), "XDG_RUNTIME_DIR": str(self.home)}

    async def screenshot(self) -> NDArray[np.uint8]:
        """(768, 1024, 3) RGB."""
        shot = await trio.run_process(
            ["import", "-silent", "-window", "root", "png:-"], env=self.environment, capture_stdout=True
        )
        return np.asarray(Image.open(io.BytesIO(shot.stdout)).convert("RGB"))

    async def xdotool(self, *words: object) -> None:
        """Type, click, move."""
        await trio.run_process(["xdotool", *map(str, words)], env=self.environment)

    async def keyboard_layout(self, name: str) -> None:
        """What the X server makes of keys; the client's own layout is its option."""
        await trio.run_process(["setxkbmap", "-layout", name], env=self.environment)


@attrs.frozen
class Service:
    """A running service with an RDP listener."""

    manager: RemoteConnectionManager
    port: int
    traces: Path
    desktops: list[DemoDesktop]
    certificate_dir: Path
    rfb_port: int = 0
    """Of its RFB listener, if it was given one."""

    def trace_files(self) -> list[Path]:
        """Of connections, oldest first."""
        return sorted(path for path in self.traces.glob("*.jsonl") if not path.name.startswith("service"))


StartService = Callable[..., AbstractAsyncContextManager[Service]]


@asynccontextmanager
async def running(command: list[str], display: Display, stdin: bytes = b"") -> AsyncIterator[trio.Process]:
    """A client that is ended, if it does not end by itself."""
    log = display.home / f"{Path(command[0]).name}.log"
    with log.open("ab") as output:
        process = await trio.lowlevel.open_process(
            command, env=display.environment, stdin=subprocess.PIPE, stdout=output, stderr=output
        )
        try:
            if stdin:
                assert process.stdin is not None
                await process.stdin.send_all(stdin)
            yield process
        finally:
            with trio.CancelScope(shield=True):
                if process.poll() is None:
                    process.terminate()
                    with trio.move_on_after(5):
                        await process.wait()
                if process.poll() is None:
                    process.kill()
                    await process.wait()


@attrs.frozen
class ServedByCommand:
    """``rdpprov serve``, a process with a home of its own."""

    process: trio.Process
    ports: dict[str, int]
    """By listener, "web" among them."""
    state: Path
    log: Path


@asynccontextmanager
async def serve_by_command(
    command: Command, home: Path, configuration: str, *options: str
) -> AsyncIterator[ServedByCommand]:
    """``rdpprov serve`` with a user, until the block ends; it is killed if it has not ended then.

    Args:
        command: where it runs, and in what environment.
        home: where its files are.
        configuration: TOML with three listeners, one of them the web's.
        options: further ones.
    """
    state = home / ".local/state/rdpprov"
    state.mkdir(parents=True, mode=0o700)
    UsersFile(state / "users", cost=ScryptCost(n=16)).add(USER, PASSWORD)
    (home / "serve.toml").write_text(configuration)
    log = home / "serve.log"
    with log.open("wb") as errors:
        process = await trio.lowlevel.open_process(
            [*command.words, "serve", "serve.toml", *options],
            cwd=home,
            env=command.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    try:
        assert process.stdout is not None
        said = b""
        with trio.fail_after(30):
            while said.count(b"\nready ") + said.startswith(b"ready ") < 3 or not said.endswith(b"\n"):
                part = await process.stdout.receive_some()
                assert part, log.read_text()
                said += part
        lines = [line.split() for line in said.decode().splitlines()]
        ports = {line[1]: int(line[3].rpartition(":")[2]) for line in lines if line[0] == "ready"}
        yield ServedByCommand(process, ports, state, log)
    finally:
        if process.poll() is None:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


def xfreerdp(port: int, *options: str, password: str = PASSWORD) -> list[str]:
    """FreeRDP's client, as a user calls it."""
    return [
        "xfreerdp",
        f"/v:127.0.0.1:{port}",
        f"/u:{USER}",
        f"/p:{password}",
        "/sec:tls",
        "/cert:ignore",
        "/size:1024x768",
        "-decorations",
        "/log-level:WARN",
        *options,
    ]


def rdesktop(port: int, *options: str, password: str = PASSWORD) -> list[str]:
    """rdesktop; it asks about the certificate on standard input (fact 92)."""
    return ["rdesktop", "-u", USER, "-p", password, "-g", "1024x768", "-D", *options, f"127.0.0.1:{port}"]


def picture(desktop: Desktop) -> NDArray[np.uint8]:
    """(height, width, 3) RGB of what a desktop shows."""
    screen = desktop.open_screen(lambda: None)
    try:
        screen.take_damage()
        return screen.grab(Rectangle(0, 0, screen.width, screen.height))[:, :, 2::-1].copy()
    finally:
        screen.close()


async def eventually(
    condition: Callable[[], Awaitable[bool]], what: str, seconds: float = 20, interval: float = 0.1
) -> None:
    """Wait for a real client: there is no event to wait for in somebody else's process."""
    with trio.move_on_after(seconds):
        while not await condition():  # noqa: ASYNC110 - the window of another process
            await trio.sleep(interval)
        return
    pytest.fail(f"{what}: not within {seconds} s")


def difference(shown: NDArray[np.uint8], expected: NDArray[np.uint8]) -> str:
    """Where two pictures differ, for a failure message."""
    if shown.shape != expected.shape:
        return f"shapes {shown.shape} and {expected.shape}"
    rows, columns = np.nonzero((shown != expected).any(axis=2))
    if not len(rows):
        return "equal"
    deepest = np.abs(shown.astype(int) - expected.astype(int)).max()
    return (
        f"{len(rows)} pixels differ, by up to {deepest}, "
        f"in x {columns.min()}..{columns.max()}, y {rows.min()}..{rows.max()}"
    )


async def shows(
    display: Display, service: Service, same: Callable[[NDArray[np.uint8], NDArray[np.uint8]], bool]
) -> None:
    """Wait until the client's window is the session's picture."""
    last: list[str] = ["nothing yet"]

    async def equal() -> bool:
        if not service.desktops:
            return False
        shown, expected = await display.screenshot(), picture(service.desktops[-1])
        last[0] = difference(shown, expected)
        return same(shown, expected)

    try:
        await eventually(equal, "the desktop's picture")
    except pytest.fail.Exception as failure:
        pytest.fail(f"{failure}: {last[0]}")


Same = Callable[[NDArray[np.uint8], NDArray[np.uint8]], bool]


def alike(depth: int) -> Same:
    """Whether two pictures are the same, to a client of this colour depth."""
    if depth > 16:
        return lambda shown, expected: bool((shown == expected).all())
    # 5 or 6 bits a channel: what a client makes of them again is at most one step of 8 away.
    return lambda shown, expected: bool((np.abs(shown.astype(int) - expected.astype(int)) <= 8).all())


def calls(path: Path) -> list[str]:
    """The calls of a trace, in the order in which they began; none while the file that was made is still empty."""
    if not path.stat().st_size:
        return []
    return [line.call for line in read_trace(path).lines if isinstance(line, CallLine)]
