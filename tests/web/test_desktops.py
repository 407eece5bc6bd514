"""A desktop in a browser, from the logon to the last key: Chromium, the page, and the whole service behind it."""

import base64
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import numpy as np
import pytest
import trio
from PIL import Image

from rdpprov.accounts.authenticator import FileAuthenticator
from rdpprov.accounts.users_file import ScryptCost, UsersFile
from rdpprov.api.devices import Rectangle, UnicodeKey
from rdpprov.rcm.configuration import ListenerConfiguration, ServiceConfiguration
from rdpprov.rcm.service import RemoteConnectionManager
from rdpprov.sessions.base import DesktopRequest
from rdpprov.sessions.demo import DemoDesktop
from rdpprov.sessions.factories import logon_desktop_factory
from rdpprov.traces.checker import check_trace
from rdpprov.traces.format import read_trace
from rdpprov.traces.recorder import TraceDirectory
from rdpprov.web.configuration import WebConfiguration
from rdpprov.web.server import WebServer
from tests.peers.scrolling_desktop import Terminal
from tests.web.support import Page, Web, browser

pytestmark = pytest.mark.xdist_group("chromium")

ADVICE = "Canvas2D: Multiple readback operations"
"""To noVNC, which reads what it has drawn."""
USER, PASSWORD = "ann", "correct horse é"


@attrs.frozen
class Desk:
    """The service, its web listener and its desktops."""

    manager: RemoteConnectionManager
    web: Web
    desktops: list[DemoDesktop]
    traces: Path

    def stop(self):
        self.manager.request_stop()
        self.web.server.request_stop()


def still_demo(request: DesktopRequest) -> DemoDesktop:
    """Nothing changes by itself."""
    made = DemoDesktop(request)
    made.stop_clock()
    return made


@asynccontextmanager
async def desk(
    home: Path, make: Callable[[DesktopRequest], Any] = still_demo, **options: object
) -> AsyncIterator[Desk]:
    """A service for browsers on loopback, stopped in an orderly way; its traces are checked."""
    users = UsersFile(home / "users", cost=ScryptCost(n=16))
    users.add(USER, PASSWORD)
    desktops: list[Any] = []

    def desktop(request):
        desktops.append(make(request))
        return desktops[-1]

    listener = ListenerConfiguration("web", "rdpprov.providers.rfb.manager:RfbManager", {"sockets": False})
    manager = RemoteConnectionManager(
        ServiceConfiguration(listeners=[listener]),
        authenticator=FileAuthenticator(users),
        desktop_factory=desktop,
        logon_desktop_factory=logon_desktop_factory(),
        traces=TraceDirectory(home / "traces"),
    )
    configuration = WebConfiguration(host="127.0.0.1", port=0, state_dir=home, **options)
    async with trio.open_nursery() as nursery:
        await nursery.start(manager.serve)
        server = WebServer(configuration, manager.provider_listener("web"))
        await nursery.start(server.serve)
        served = Desk(manager, Web(server, server.bound_addresses[0][1]), desktops, home / "traces")
        yield served
        served.stop()
    for path in (home / "traces").glob("*.jsonl"):
        assert check_trace(read_trace(path)) == [], path.name


def framebuffer(desktop):
    """(height, width, 3) RGB of what a desktop shows."""
    screen = desktop.open_screen(lambda: None)
    try:
        screen.take_damage()
        return screen.grab(Rectangle(0, 0, screen.width, screen.height))[:, :, 2::-1].copy()
    finally:
        screen.close()


async def canvas(page: Page):
    """(height, width, 3) RGB of what the page shows, unscaled."""
    # By a copy: a canvas that is read often is drawn otherwise, and the browser says so.
    shown = await page.evaluate("""(async () => {
      const canvas = document.querySelector('#screen canvas');
      const copy = new OffscreenCanvas(canvas.width, canvas.height);
      copy.getContext('2d', { willReadFrequently: true }).drawImage(canvas, 0, 0);
      const blob = await copy.convertToBlob();
      return new Uint8Array(await blob.arrayBuffer()).toBase64();
    })()""")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(shown))).convert("RGB"))


async def shows(page: Page, desktop: DemoDesktop) -> None:
    """Wait until the canvas is the framebuffer, pixel for pixel: what was lossy is sent again."""
    said = "nothing"
    with trio.move_on_after(20):
        while True:
            shown, expected = await canvas(page), framebuffer(desktop)
            if shown.shape == expected.shape and (shown == expected).all():
                return
            said = f"shapes {shown.shape} and {expected.shape}"
            if shown.shape == expected.shape:
                said = f"{(shown != expected).any(axis=2).sum()} pixels differ"
            await page.evaluate("new Promise(requestAnimationFrame)")
    pytest.fail(f"the canvas is not the framebuffer: {said}")


async def open_desktop(page: Page, desk: Desk) -> DemoDesktop:
    """Log on, and wait for the desktop's picture."""
    await page.open(desk.web.url)
    await page.log_on(USER, PASSWORD)
    await page.wait_for("document.body.dataset.state !== 'connecting'")
    said = await page.evaluate("document.querySelector('#message').textContent")
    assert await page.evaluate("document.body.dataset.state") == "connected", said
    await until(lambda: bool(desk.desktops))
    await shows(page, desk.desktops[-1])
    return desk.desktops[-1]


async def until(condition):
    """Wait for what a browser has brought about: it comes through a socket, so there is no event to wait for."""
    with trio.fail_after(20):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.01)


def middle(area):
    return (area.left + area.right) // 2, (area.top + area.bottom) // 2


async def on_page(page: Page, x: float, y: float):
    """Where a pixel of the desktop is in the page."""
    box = await page.box("#screen canvas")
    width = await page.evaluate("document.querySelector('#screen canvas').width")
    scale = box["width"] / width
    return box["left"] + (x + 0.5) * scale, box["top"] + (y + 0.5) * scale


async def click(page: Page, x: float, y: float):
    at = await on_page(page, x, y)
    await page.mouse("mouseMoved", *at, button="none")
    await page.mouse("mousePressed", *at)
    await page.mouse("mouseReleased", *at)


@pytest.mark.parametrize("tls", [False, True])
async def test_the_canvas_is_the_framebuffer_and_the_desktop_as_large_as_the_page(tmp_path, tls):
    async with desk(tmp_path, tls=tls) as service, browser(tmp_path) as page:
        with trio.fail_after(60):
            await page.size(1280, 800)
            desktop = await open_desktop(page, service)
            assert (desktop.width, desktop.height) == (1280, 752)  # beside the toolbar
            await page.size(900, 700)
            await until(lambda: (desktop.width, desktop.height) == (900, 652))
            await shows(page, desktop)
        assert [problem for problem in page.problems if not problem.startswith(ADVICE)] == []
        asked = {urlsplit(url).netloc for url in page.requests if not url.startswith("data:")}  # of noVNC's own
        assert asked == {service.web.host}


async def test_on_a_phone_it_is_as_wide_as_the_phone(tmp_path):
    async with desk(tmp_path) as service, browser(tmp_path) as page:
        with trio.fail_after(60):
            await page.size(390, 844, mobile=True)
            desktop = await open_desktop(page, service)
            assert (desktop.width, desktop.height) == (390, 796)
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            for button in ("keyboard", "ctrl-alt-del", "clipboard", "fullscreen", "disconnect"):
                box = await page.box(f"#{button}")
                assert box["left"] >= 0
                assert box["right"] <= 390
                assert min(box["width"], box["height"]) >= 40


async def test_keys_text_of_all_kinds_and_strokes_arrive(tmp_path):
    async with desk(tmp_path) as service, browser(tmp_path) as page:
        with trio.fail_after(60):
            await page.size(1280, 800)
            desktop = await open_desktop(page, service)
            area = desktop.text_area
            await click(page, *middle(area))
            for key, code, number in (("H", "KeyH", 72), ("i", "KeyI", 73), (" ", "Space", 32)):
                await page.key(key, code, number, key)
            for character in "éß中€":
                await page.key(character, "", 0, character)
            await until(lambda: "Hi éß中€" in desktop.text)
            await page.key("Backspace", "Backspace", 8)
            await until(lambda: desktop.text.endswith("Hi éß中"))
            before = framebuffer(desktop)
            drawn = desktop.canvas_area
            start = await on_page(page, drawn.left + 20, drawn.top + 20)
            end = await on_page(page, drawn.right - 20, drawn.bottom - 20)
            await page.mouse("mouseMoved", *start, button="none")
            await page.mouse("mousePressed", *start)
            await page.mouse("mouseMoved", *end)
            await page.mouse("mouseReleased", *end)
            inside = (slice(drawn.top, drawn.bottom), slice(drawn.left, drawn.right))
            await until(lambda: not np.array_equal(framebuffer(desktop)[inside], before[inside]))
            await shows(page, desktop)


async def test_the_drawn_keyboard_of_a_phone_types(tmp_path):
    async with desk(tmp_path) as service, browser(tmp_path) as page:
        with trio.fail_after(60):
            await page.size(600, 900, mobile=True)
            desktop = await open_desktop(page, service)
            await click(page, *middle(desktop.text_area))
            await page.click("#keyboard")
            assert await page.evaluate("document.activeElement.id") == "typing"
            await page.type("Grüße, 世界")
            await until(lambda: desktop.text.endswith("Grüße, 世界"))
            await page.key("Backspace", "Backspace", 8)
            await until(lambda: desktop.text.endswith("Grüße, 世"))
            await page.click("#keys [data-key=ArrowLeft]")
            await page.type("!")
            await until(lambda: desktop.text.endswith("Grüße, !世"))


async def test_a_wrong_password_is_said_and_the_right_one_then_taken(tmp_path):
    async with desk(tmp_path) as service, browser(tmp_path) as page:
        with trio.fail_after(60):
            await page.open(service.web.url)
            await page.log_on(USER, "wrong")
            await page.wait_for("!document.querySelector('#message').hidden")
            said = await page.evaluate("document.querySelector('#message').textContent")
            assert "password" in said.lower()
            assert await page.evaluate("document.activeElement.id") == "password"
            assert service.desktops == []
            await open_desktop(page, service)


async def test_whoever_comes_back_finds_their_session_and_takes_it_over(tmp_path):
    async with desk(tmp_path) as service, browser(tmp_path) as page:
        with trio.fail_after(60):
            desktop = await open_desktop(page, service)
            await click(page, *middle(desktop.text_area))
            await page.key("x", "KeyX", 88, "x")
            await until(lambda: desktop.text.endswith("x"))
            await page.click("#disconnect")
            await page.wait_for("document.body.dataset.state === 'idle'")
            assert "Log on again" in await page.evaluate("document.querySelector('#message').textContent")
            assert await open_desktop(page, service) is desktop
            home = tmp_path / "other"
            home.mkdir()
            async with browser(home) as other:
                assert await open_desktop(other, service) is desktop
                await page.wait_for("document.body.dataset.state === 'idle'")
                assert await page.evaluate("!document.querySelector('#message').hidden")
            assert desktop.text.endswith("x")
            assert len(service.desktops) == 1


async def test_when_the_service_stops_the_page_says_so(tmp_path):
    async with desk(tmp_path) as service, browser(tmp_path) as page:
        with trio.fail_after(60):
            await open_desktop(page, service)
            service.stop()
            await page.wait_for("document.body.dataset.state === 'idle'")
            said = await page.evaluate("document.querySelector('#message').textContent")
            assert said == "The server closed the connection: the server stops."


# noVNC's list is its own, best first, and there is no setting for it: this makes it shorter on its way out.
# SetEncodings is a message of its own; its first byte is 2, and its length follows from its count.
ONLY = """
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (data) {
  const all = new Uint8Array(data.buffer ?? data, data.byteOffset ?? 0, data.byteLength);
  const view = new DataView(all.buffer, all.byteOffset, all.byteLength);
  if (all.length > 4 && view.getUint8(0) === 2 && all.length === 4 + 4 * view.getUint16(2)) {
    const asked = Array.from({ length: view.getUint16(2) }, (_, i) => view.getInt32(4 + 4 * i));
    const left = asked.filter((number) => number === ENCODING || (number < 0 && number !== -260));
    window.asked = { all: asked, left };
    const message = new DataView(new ArrayBuffer(4 + 4 * left.length));
    message.setUint8(0, 2);
    message.setUint16(2, left.length);
    left.forEach((number, i) => message.setInt32(4 + 4 * i, number));
    data = message.buffer;
  }
  return send.call(this, data);
};
"""
ENCODINGS = {"Raw": 0, "RRE": 2, "Hextile": 5, "zlib": 6, "Tight": 7, "ZRLE": 16, "JPEG": 21}


@pytest.mark.parametrize("name", ENCODINGS)
async def test_the_canvas_is_the_framebuffer_in_every_encoding_that_novnc_asks_for(tmp_path, name):
    """RRE and JPEG we do not make: it gets Raw, which is always allowed."""
    number = ENCODINGS[name]
    async with desk(tmp_path) as service, browser(tmp_path) as page:
        with trio.fail_after(60):
            await page.call("Page.addScriptToEvaluateOnNewDocument", source=ONLY.replace("ENCODING", str(number)))
            await page.size(800, 600)
            desktop = await open_desktop(page, service)
            asked = await page.evaluate("window.asked")
            assert number in asked["all"]
            assert [each for each in asked["left"] if each >= 0] == [number]
            await click(page, *middle(desktop.text_area))
            for character in "Hello":
                await page.key(character, "", 0, character)
            await until(lambda: desktop.text == "Hello")
            await shows(page, desktop)


def video_of(service: Desk):
    """The display of the only connection that there is."""
    [callback] = service.manager._context.connections.values()
    return callback.connection._video


async def test_the_canvas_is_the_framebuffer_after_what_scrolls_was_copied(tmp_path):
    async with desk(tmp_path, Terminal) as service, browser(tmp_path) as page:
        with trio.fail_after(60):
            await page.call("Page.addScriptToEvaluateOnNewDocument", source=ONLY.replace("ENCODING", "1"))  # and Raw
            await page.size(800, 600)
            desktop = await open_desktop(page, service)
            video = video_of(service)
            for number, lines in enumerate((1, 3, 1, 2)):
                for _ in range(lines):
                    desktop.next_line()
                await shows(page, desktop)
                assert video.copies == number + 1
            assert video.copied_pixels == desktop.width * (4 * desktop.height - 7 * Terminal.LINE)


async def test_the_demo_s_text_is_copied_when_it_scrolls(tmp_path):
    async with desk(tmp_path) as service, browser(tmp_path) as page:
        with trio.fail_after(60):
            await page.size(1280, 800)
            desktop = await open_desktop(page, service)
            for line in range(12):
                for letter in f"This is line {line}\n":
                    for pressed in (True, False):
                        desktop.input_event(UnicodeKey(letter, pressed))
                await shows(page, desktop)
            assert video_of(service).copies > 10
