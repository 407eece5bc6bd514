"""vncdotool, an RFB client in Python that is not ours: it has decoders of its own, and types by keysym."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import numpy as np
import pytest
import trio
from numpy.typing import NDArray
from PIL import Image

from rdpprov.security.vnc_auth import store_vnc_password
from rdpprov.traces.checker import check_trace
from rdpprov.traces.format import read_trace
from tests.peers.support import PASSWORD, USER, Service, StartService, calls, difference, eventually, picture

pytestmark = pytest.mark.peer("vncdotool")

VNC_PASSWORD = "opensesa"


@attrs.define
class VncDoTool:
    """Its client, in a process of its own."""

    process: trio.Process
    shot: Path
    _said: bytes = b""

    async def asked(self, method: str, *arguments: object) -> str | None:
        """What went wrong, if anything."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        await self.process.stdin.send_all(json.dumps([method, *arguments]).encode() + b"\n")
        with trio.fail_after(30):
            while b"\n" not in self._said:
                part = await self.process.stdout.receive_some()
                assert part, "it has ended"
                self._said += part
        line, _, self._said = self._said.partition(b"\n")
        answer: str | None = json.loads(line)
        return answer

    async def do(self, method: str, *arguments: object) -> None:
        assert await self.asked(method, *arguments) is None

    async def type(self, text: str) -> None:
        for character in text:
            await self.do("keyPress", character)

    async def log_on(self) -> None:
        """On the logon desktop."""
        await self.type(USER)
        await self.do("keyPress", "tab")
        await self.type(PASSWORD)
        await self.do("keyPress", "enter")

    async def capture(self) -> NDArray[np.uint8]:
        """(height, width, 3) RGB."""
        await self.do("captureScreen", str(self.shot))
        return np.asarray(Image.open(self.shot).convert("RGB"))

    async def shows(self, service: Service, bits: str = "32") -> None:
        """Wait until what it captures is the desktop, in its pixels."""
        last = "nothing yet"

        async def same() -> bool:
            nonlocal last
            if not service.desktops:
                return False
            expected = picture(service.desktops[-1])
            last = difference(await self.capture(), expected if bits == "32" else in_16_bits(expected))
            return last == "equal"

        try:
            await eventually(same, "the desktop's picture")
        except pytest.fail.Exception as failure:
            pytest.fail(f"{failure}: {last}")


def in_16_bits(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Red and blue of five bits, green of six; and what a client makes of them."""
    maxima = np.array([31, 63, 31])
    shown: NDArray[np.uint8] = ((pixels * maxima + 127) // 255 * 255 // maxima).astype(np.uint8)
    return shown


@asynccontextmanager
async def vncdotool(
    service: Service, directory: Path, encoding: str = "RAW", bits: str = "32", password: str = ""
) -> AsyncIterator[VncDoTool]:
    words = [str(service.rfb_port), encoding, bits, *([password] if password else [])]
    with (directory / "vncdotool.log").open("wb") as log:
        process = await trio.lowlevel.open_process(
            [sys.executable, str(Path(__file__).with_name("vncdotool_client.py")), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        yield VncDoTool(process, directory / "shot.png")
        assert process.stdin is not None
        await process.stdin.aclose()  # it disconnects
        with trio.fail_after(30):
            assert await process.wait() == 0
    finally:
        if process.poll() is None:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


@asynccontextmanager
async def viewing(
    serving: StartService, tmp_path: Path, security: str, encoding: str = "RAW", bits: str = "32"
) -> AsyncIterator[tuple[Service, VncDoTool]]:
    """Logged on, whatever it takes; at the end the trace is good."""
    secret = tmp_path / "vncpasswd"
    secret.touch(0o600)
    secret.write_bytes(store_vnc_password(VNC_PASSWORD.encode()))
    password = VNC_PASSWORD if security == "vnc" else ""
    async with serving(rfb={"security": [security], "vnc_password_file": str(secret)}) as service:
        async with vncdotool(service, tmp_path, encoding, bits, password) as client:
            await client.log_on()
            await client.shows(service, bits)
            yield service, client
        [trace] = service.trace_files()

        async def is_complete() -> bool:
            return "Close" in calls(trace)

        await eventually(is_complete, "the end of the connection")
        assert check_trace(read_trace(trace)) == []


@pytest.mark.parametrize("security", ["none", "vnc"])
async def test_it_gets_in_and_types_and_draws(serving: StartService, tmp_path: Path, security: str) -> None:
    async with viewing(serving, tmp_path, security) as (service, client):
        [desktop] = service.desktops
        text = "Hello - é ß 中 €"
        await client.type("Hello ")
        await client.do("keyPress", "minus")
        await client.type(" é ß 中 €!")
        await client.do("keyPress", "bsp")

        async def typed() -> bool:
            return desktop.text == text

        await eventually(typed, f"the text {text!r}")
        area = desktop.canvas_area
        within = (slice(area.top, area.bottom), slice(area.left, area.right))
        before = picture(desktop)[within]
        await client.do("mouseMove", area.left + 20, area.top + 20)
        await client.do("mouseDown", 1)
        await client.do("mouseMove", area.right - 20, area.bottom - 20)
        await client.do("mouseUp", 1)

        async def drawn() -> bool:
            return not np.array_equal(picture(desktop)[within], before)

        await eventually(drawn, "the stroke")
        await client.shows(service)
        assert desktop.text == text


@pytest.mark.parametrize(
    ("encoding", "bits"),
    [
        *((encoding, bits) for encoding in ("RAW", "RRE", "HEXTILE") for bits in ("32", "16")),
        ("ZRLE", "32"),  # its decoder of ZRLE takes every pixel for three bytes, so of 16 bits it cannot read it
    ],
)
async def test_it_captures_the_desktop_pixel_for_pixel(
    serving: StartService, tmp_path: Path, encoding: str, bits: str
) -> None:
    async with viewing(serving, tmp_path, "none", encoding, bits) as (service, client):
        await client.type("Hello")
        await client.shows(service, bits)


async def test_a_wrong_password_of_the_listener_is_refused(serving: StartService, tmp_path: Path) -> None:
    secret = tmp_path / "vncpasswd"
    secret.touch(0o600)
    secret.write_bytes(store_vnc_password(VNC_PASSWORD.encode()))
    async with (
        serving(rfb={"security": ["vnc"], "vnc_password_file": str(secret)}) as service,
        vncdotool(service, tmp_path, password="wrong") as client,
    ):
        said = await client.asked("captureScreen", str(client.shot))
        assert said is not None
        assert "AuthenticationError" in said
        assert service.trace_files() == []


async def test_without_vencrypt_it_is_told_that_it_cannot_get_in(serving: StartService, tmp_path: Path) -> None:
    """It knows neither TLS nor Plain, so that what accounts are for by default is not for it."""
    async with serving(rfb={}) as service, vncdotool(service, tmp_path) as client:
        said = await client.asked("captureScreen", str(client.shot))
        assert said is not None
        assert "unknown security types" in said
        assert service.trace_files() == []
