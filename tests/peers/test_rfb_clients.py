"""VNC viewers that are not ours, at a service in this process: TigerVNC's, and GTK-VNC's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import trio
from numpy.typing import NDArray
from PIL import Image

from rdpprov.api.devices import UnicodeKey
from rdpprov.protocol.rdp.client import ClientOptions
from rdpprov.providers.rfb.connection import RfbConnection
from rdpprov.security.vnc_auth import store_vnc_password
from rdpprov.testing.rdp_client import connect_rdp
from rdpprov.testing.rfb_client import connect_rfb
from rdpprov.traces.checker import check_trace
from rdpprov.traces.format import read_trace
from tests.peers.scrolling_desktop import Terminal
from tests.peers.support import (
    PASSWORD,
    USER,
    Display,
    Service,
    StartService,
    calls,
    difference,
    eventually,
    picture,
    running,
)

SIZE = (800, 600)
VIEWER = ("xtigervncviewer", "Xvfb", "xdotool", "import")
VNC_PASSWORD = "opensesa"

Maxima = tuple[int, int, int]


def tigervnc(service: Service, *options: str, user: str = USER, password: str = PASSWORD) -> list[str]:
    """TigerVNC's viewer, as a user calls it who keeps the password out of the list of processes."""
    return [
        "env",
        f"VNC_USERNAME={user}",
        f"VNC_PASSWORD={password}",
        "xtigervncviewer",
        f"-geometry={SIZE[0]}x{SIZE[1]}+0+0",
        f"-X509CA={service.certificate_dir / 'self-signed.pem'}",
        *options,
        f"127.0.0.1::{service.rfb_port}",
    ]


def connection_of(service: Service) -> RfbConnection:
    """The only connection that there is."""
    context = service.manager._context
    assert context is not None
    [callback] = context.connections.values()
    assert isinstance(callback.connection, RfbConnection)
    return callback.connection


async def window(display: Display) -> tuple[str, int, int]:
    """The viewer's window, and where it is; waits for it."""
    found: list[str] = []

    async def is_there() -> bool:
        search = await trio.run_process(
            ["xdotool", "search", "--onlyvisible", "--name", "TigerVNC$"],
            env=display.environment,
            capture_stdout=True,
            check=False,
        )
        found[:] = search.stdout.decode().split()
        return bool(found)

    await eventually(is_there, "the viewer's window")
    geometry = await trio.run_process(
        ["xdotool", "getwindowgeometry", "--shell", found[0]], env=display.environment, capture_stdout=True
    )
    places = dict(line.split("=") for line in geometry.stdout.decode().split())
    return found[0], int(places["X"]), int(places["Y"])


async def shows(display: Display, service: Service, *, most: int = 0, maxima: Maxima | None = None) -> tuple[int, int]:
    """Wait until the viewer's window is the session's picture; where it is.

    Args:
        display: of the viewer.
        service: whose only session it is.
        most: by how much a colour may differ.
        maxima: of red, green and blue in the viewer's pixel format; None: 255.
    """
    last = ["nothing yet"]
    _, left, top = await window(display)

    async def equal() -> bool:
        if not service.desktops:
            return False
        shown, expected = await display.screenshot(), picture(service.desktops[-1])
        if maxima is not None:
            expected = in_format(expected, maxima)
        shown = shown[top : top + expected.shape[0], left : left + expected.shape[1]]
        last[0] = difference(shown, expected)
        return shown.shape == expected.shape and bool((np.abs(shown.astype(int) - expected.astype(int)) <= most).all())

    try:
        await eventually(equal, "the desktop's picture")
    except pytest.fail.Exception as failure:
        pytest.fail(f"{failure}: {last[0]}")
    return left, top


def in_format(pixels: NDArray[np.uint8], maxima: Maxima) -> NDArray[np.uint8]:
    """A picture of such colours, and what a client makes of them."""
    top = np.array(maxima)
    shown: NDArray[np.uint8] = ((pixels * top + 127) // 255 * 255 // top).astype(np.uint8)
    return shown


@asynccontextmanager
async def conforming(service: Service) -> AsyncIterator[None]:
    """At the end all traces are good; the last connection has been told that it is over."""
    yield
    await eventually(lambda: _are_complete(service), "the ends of all connections")
    for path in service.trace_files():
        assert check_trace(read_trace(path)) == [], path.name


async def _are_complete(service: Service) -> bool:
    return all("Close" in calls(path) for path in service.trace_files())


OPTIONS = {
    "tight with jpeg": [],
    "tight": ["-NoJPEG"],
    "zrle": ["-PreferredEncoding=ZRLE", "-NoJPEG", "-AutoSelect=0"],
    "hextile": ["-PreferredEncoding=Hextile", "-NoJPEG", "-AutoSelect=0"],
    "raw": ["-PreferredEncoding=Raw", "-NoJPEG", "-AutoSelect=0"],
}


@pytest.mark.peer(*VIEWER)
@pytest.mark.parametrize("name", OPTIONS)
async def test_tigervnc_s_viewer_shows_the_desktop_and_types_into_it(
    display: Display, serving: StartService, name: str
) -> None:
    async with serving(rfb={}) as service, conforming(service), running(tigervnc(service, *OPTIONS[name]), display):
        number, left, top = await window(display)
        await eventually(lambda: _has_size(service, *SIZE), "the desktop's size")  # it is the window's
        await shows(display, service)
        await display.xdotool("windowfocus", number)
        await display.xdotool("mousemove", left + 400, top + 300)
        await display.xdotool("type", "Hello World!")
        # It lends each of these a key, and takes it back: a viewer that asks late what the key means finds nothing.
        await display.xdotool("type", "--delay", 600, "é ß 中 €")
        text = "Hello World!é ß 中 €"
        await eventually(lambda: _has_text(service, text), f"the text: {service.desktops[-1].text!r}")
        await display.xdotool("mousemove", left + 60, top + 480, "mousedown", 1)
        await display.xdotool("mousemove", left + 300, top + 530, "mouseup", 1)
        await shows(display, service)


ENCODINGS = ("Tight", "ZRLE", "Hextile", "Raw")
COLOURS: dict[str, tuple[list[str], Maxima]] = {
    "rgb888": ([], (255, 255, 255)),
    "rgb332": (["-FullColor=0", "-LowColorLevel=2"], (7, 7, 3)),
    "rgb222": (["-FullColor=0", "-LowColorLevel=1"], (3, 3, 3)),
    "rgb111": (["-FullColor=0", "-LowColorLevel=0"], (1, 1, 1)),
}


@pytest.mark.peer(*VIEWER)
@pytest.mark.parametrize("colours", COLOURS)
@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_tigervnc_s_viewer_shows_every_lossless_encoding_in_every_pixel_format_exactly(
    display: Display, serving: StartService, encoding: str, colours: str
) -> None:
    words, maxima = COLOURS[colours]
    # Only this part of its log: with all of it, the viewer draws a graph of its own over the desktop.
    options = [f"-PreferredEncoding={encoding}", "-AutoSelect=0", "-NoJPEG", *words, "-Log=CConn:stderr:100"]
    async with serving(rfb={}) as service, conforming(service), running(tigervnc(service, *options), display):
        await window(display)
        await eventually(lambda: _has_size(service, *SIZE), "the desktop's size")
        await shows(display, service, maxima=maxima)
        assert f" {colours}\n" in (display.home / "env.log").read_text()  # "Using pixel format depth 6 (8bpp) rgb222"


@pytest.mark.peer(*VIEWER)
async def test_tigervnc_s_viewer_copies_what_a_terminal_scrolls(display: Display, serving: StartService) -> None:
    """It shows the desktop exactly, after pixels that have not been sent."""
    raw = ("-PreferredEncoding=Raw", "-AutoSelect=0", "-NoJPEG")
    async with (
        serving(rfb={}, make=Terminal) as service,
        conforming(service),
        running(tigervnc(service, *raw), display),
    ):
        await window(display)
        await eventually(lambda: _has_size(service, *SIZE), "the desktop's size")
        terminal, connection = service.desktops[-1], connection_of(service)
        terminal.fill()
        await shows(display, service)
        video, before = connection._video, connection._transport.bytes_out
        for lines in (1, 1, 3, 1, 2, 5, 1):
            for _ in range(lines):
                terminal.next_line()
            await shows(display, service)
        sent, saved = connection._transport.bytes_out - before, video.copied_pixels * 4
        new = 14 * Terminal.LINE * SIZE[0] * 4
        assert (video.copies, saved) == (7, 7 * SIZE[0] * SIZE[1] * 4 - new)  # 12.5 MB, by 7 rectangles of 16 bytes
        assert new < sent < new + 10_000


@pytest.mark.peer(*VIEWER)
async def test_tigervnc_s_viewer_copies_what_scrolls_in_the_demo(display: Display, serving: StartService) -> None:
    async with serving(rfb={}) as service, conforming(service), running(tigervnc(service, "-NoJPEG"), display):
        await window(display)
        await eventually(lambda: _has_size(service, *SIZE), "the desktop's size")
        await shows(display, service)
        desktop = service.desktops[-1]
        for line in range(12):
            for letter in f"This is line {line}\n":
                for pressed in (True, False):
                    desktop.input_event(UnicodeKey(letter, pressed))
            await shows(display, service)
        assert connection_of(service)._video.copies >= 8  # there is room for three lines


async def _has_size(service: Service, width: int, height: int) -> bool:
    return bool(service.desktops) and (service.desktops[-1].width, service.desktops[-1].height) == (width, height)


async def _has_text(service: Service, text: str) -> bool:
    return service.desktops[-1].text == text


SECURITY = {
    "vencrypt-tls-plain": ("TLSPlain", PASSWORD),
    "vencrypt-plain": ("Plain", PASSWORD),
    "vencrypt-x509-vnc": ("X509Vnc", VNC_PASSWORD),
    "vencrypt-tls-vnc": ("TLSVnc", VNC_PASSWORD),
    "vencrypt-tls-none": ("TLSNone", ""),
    "vnc": ("VncAuth", VNC_PASSWORD),
    "none": ("None", ""),
}


@pytest.mark.peer(*VIEWER)
@pytest.mark.parametrize("name", SECURITY)
async def test_tigervnc_s_viewer_gets_in_by_every_security_type(
    display: Display, serving: StartService, tmp_path: Path, name: str
) -> None:
    kind, password = SECURITY[name]
    secret = tmp_path / "vncpasswd"
    secret.touch(0o600)
    secret.write_bytes(store_vnc_password(VNC_PASSWORD.encode()))
    rfb = {"security": [name], "vnc_password_file": str(secret)}
    async with serving(rfb=rfb) as service, conforming(service):
        async with running(tigervnc(service, f"-SecurityTypes={kind}", password=password), display):
            number, left, top = await window(display)
            if not name.endswith("plain"):  # the logon desktop asks
                shown = await display.screenshot()
                assert not (shown[top : top + 500, left : left + 500] == shown[top, left]).all()
                await display.xdotool("windowfocus", number)
                await display.xdotool("mousemove", left + 5, top + 5)
                await display.xdotool("type", USER)
                await display.xdotool("key", "Tab")
                await display.xdotool("type", PASSWORD)
                await display.xdotool("key", "Return")
            await shows(display, service)
        assert len(service.trace_files()) == 1


@pytest.mark.peer(*VIEWER)
async def test_tigervnc_s_viewer_is_told_why_it_is_refused(display: Display, serving: StartService) -> None:
    async with serving(rfb={}) as service:
        async with running(
            tigervnc(service, "-ReconnectOnError=0", "-AlertOnFatalError=0", password="wrong"), display
        ) as process:
            with trio.fail_after(20):
                await process.wait()
        assert "The user name or password is incorrect." in (display.home / "env.log").read_text()
        assert not service.trace_files()


@pytest.mark.peer("xtigervncviewer", "Xvfb", "import", "gvnccapture")
async def test_gtk_vnc_captures_the_desktop(display: Display, serving: StartService, tmp_path: Path) -> None:
    """An implementation of its own, from its own library: GTK-VNC."""
    async with (
        serving(rfb={"security": ["none"]}) as service,
        conforming(service),
        connect_rfb("127.0.0.1", service.rfb_port) as _,
    ):
        shot = tmp_path / "shot.png"
        display_number = service.rfb_port - 5900
        with trio.fail_after(30):
            await trio.run_process(
                ["gvnccapture", f"127.0.0.1:{display_number}", str(shot)], env=display.environment, capture_stderr=True
            )
        captured = np.asarray(Image.open(shot).convert("RGB"))
        async with connect_rfb("127.0.0.1", service.rfb_port) as ours:
            await ours.first_picture.wait()
            expected = ours.picture[:, :, 2::-1]
            assert _nearly(captured, expected)


def _nearly(shown: NDArray[np.uint8], expected: NDArray[np.uint8]) -> bool:
    """All but the blinking caret."""
    return shown.shape == expected.shape and int((shown != expected).any(axis=2).sum()) < 100


@pytest.mark.peer(*VIEWER)
async def test_a_session_walks_from_rdp_to_rfb_and_back(display: Display, serving: StartService) -> None:
    """The same session, the same text; its size is what the client at hand wants, or what it was."""
    rdp = ClientOptions(user_name=USER, password=PASSWORD, width=640, height=480)
    async with serving(rfb={}) as service, conforming(service):
        async with connect_rdp("127.0.0.1", service.port, rdp) as client:
            await client.first_picture.wait()
            await client.send_input(*(UnicodeKey(letter, down) for letter in "from RDP" for down in (True, False)))
            await eventually(lambda: _has_text(service, "from RDP"), "the text")
        async with connect_rfb("127.0.0.1", service.rfb_port, user=USER, password=PASSWORD) as viewer:
            assert (viewer.width, viewer.height) == (640, 480)  # it asked for none
            await viewer.first_picture.wait()
            for letter in ", é":
                await viewer.press(ord(letter))
            await eventually(lambda: _has_text(service, "from RDP, é"), "the text")
            await viewer.wait_for(lambda: np.array_equal(viewer.picture[:, :, 2::-1], picture(service.desktops[-1])))
        async with running(tigervnc(service), display):
            number, left, top = await window(display)
            await eventually(lambda: _has_size(service, *SIZE), "the desktop's size")
            await display.xdotool("windowfocus", number)
            await display.xdotool("mousemove", left + 400, top + 300)
            await display.xdotool("type", " and TigerVNC")
            await eventually(lambda: _has_text(service, "from RDP, é and TigerVNC"), "the text")
            await shows(display, service)
        async with connect_rdp("127.0.0.1", service.port, rdp) as client:
            await client.first_picture.wait()
            assert (client.width, client.height) == (640, 480)
            assert service.desktops[-1].text == "from RDP, é and TigerVNC"
            await client.wait_until(
                lambda: (
                    client.picture is not None
                    and np.array_equal(client.picture[:, :, 2::-1], picture(service.desktops[-1]))
                )
            )
        assert len(service.desktops) == 1


def test_the_viewers_are_those_that_the_makefile_installs() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    for package in ("tigervnc-viewer", "gvncviewer"):
        assert package in makefile
