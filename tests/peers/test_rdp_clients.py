"""xfreerdp and rdesktop against the service: what they show, what they send, how they come back."""

from collections.abc import Callable

import numpy as np
import pytest
import trio
from numpy.typing import NDArray

from rdpprov.api.devices import Rectangle
from rdpprov.traces.checker import check_trace
from rdpprov.traces.format import read_trace
from tests.figures import FIRST_CONNECTION, RECONNECT_AFTER_ARBITRATION
from tests.peers.support import (
    PASSWORD,
    Display,
    Service,
    StartService,
    alike,
    calls,
    eventually,
    picture,
    rdesktop,
    running,
    shows,
    xfreerdp,
)

CALLS_OF_OUR_OWN = {"IssueReconnectSecret", "BrokenConnection", "SetErrorInfo"}

Client = Callable[..., list[str]]

CLIENTS = [
    pytest.param(xfreerdp, "/bpp:{}", id="xfreerdp", marks=pytest.mark.peer("Xvfb", "xfreerdp", "xdotool", "import")),
    pytest.param(rdesktop, "-a {}", id="rdesktop", marks=pytest.mark.peer("Xvfb", "rdesktop", "xdotool", "import")),
]


def at_depth(client: Client, option: str, depth: int) -> Callable[[int], list[str]]:
    return lambda port: client(port, *option.format(depth).split())


def assert_traces_check(service: Service) -> None:
    files = list(service.traces.glob("*.jsonl"))
    assert files
    for path in files:
        assert check_trace(read_trace(path)) == [], path.name


@pytest.mark.parametrize("depth", [16, 24, 32])
@pytest.mark.parametrize(("client", "option"), CLIENTS)
async def test_client_shows_the_desktop_pixel_for_pixel(
    client: Client, option: str, depth: int, display: Display, serving: StartService
) -> None:
    async with serving() as service, running(at_depth(client, option, depth)(service.port), display, b"yes\n"):
        await shows(display, service, alike(depth))
    [trace] = service.trace_files()
    assert [call for call in calls(trace) if call not in CALLS_OF_OUR_OWN][:19] == FIRST_CONNECTION
    assert_traces_check(service)


@pytest.mark.parametrize(("client", "option"), CLIENTS)
async def test_keys_and_strokes_arrive_and_are_still_there_after_coming_back(
    client: Client, option: str, display: Display, serving: StartService
) -> None:
    command = at_depth(client, option, 24)
    async with serving() as service:
        async with running(command(service.port), display, b"yes\n"):
            await shows(display, service, alike(24))
            desktop = service.desktops[0]
            before = picture(desktop)
            canvas, text = desktop.canvas_area, desktop.text_area
            await display.xdotool("mousemove", (text.left + text.right) // 2, (text.top + text.bottom) // 2, "click", 1)
            await display.xdotool("type", "--delay", 30, "Hello, World")

            async def typed() -> bool:
                return bool("Hello, World" in desktop.text)

            await eventually(typed, f"the typed text, last seen {desktop.text!r}")
            await display.xdotool(
                "mousemove", canvas.left + 20, canvas.top + 20, "mousedown", 1,
                "mousemove", canvas.left + 60, canvas.top + 40,
                "mousemove", canvas.right - 20, canvas.bottom - 20, "mouseup", 1,
            )  # fmt: skip

            async def drawn() -> bool:
                return not np.array_equal(crop(picture(desktop), canvas), crop(before, canvas))

            await eventually(drawn, "the stroke")
            await shows(display, service, alike(24))
            stroke = crop(picture(desktop), canvas).copy()
        async with running(command(service.port), display, b"yes\n"):

            async def back() -> bool:
                return len(service.trace_files()) == 2 and "LogonNotify" in calls(service.trace_files()[1])

            await eventually(back, "the second connection")
            await shows(display, service, alike(24))
            assert service.desktops == [desktop]
            assert "Hello, World" in desktop.text
            assert np.array_equal(crop(picture(desktop), canvas), stroke)
        second = [call for call in calls(service.trace_files()[1]) if call not in CALLS_OF_OUR_OWN]
        assert second[:18] == FIRST_CONNECTION[:18]
        assert second[18:24] == RECONNECT_AFTER_ARBITRATION
    assert_traces_check(service)


def crop(pixels: NDArray[np.uint8], area: Rectangle) -> NDArray[np.uint8]:
    return pixels[area.top : area.bottom, area.left : area.right]


@pytest.mark.peer("Xvfb", "xfreerdp", "xdotool", "import")
async def test_wrong_password_shows_the_logon_desktop_and_the_right_one_typed_there_logs_on(
    display: Display, serving: StartService
) -> None:
    async with serving() as service, running(xfreerdp(service.port, password="wrong"), display):

        async def asked() -> bool:
            return bool((await display.screenshot()).any())

        await eventually(asked, "the logon desktop")
        await trio.sleep(1)  # the window has the focus some time after its first picture; nothing tells when
        assert service.desktops == []
        await display.xdotool("type", "--delay", 30, PASSWORD)
        await display.xdotool("key", "Return")
        await shows(display, service, alike(32))
    assert_traces_check(service)
