"""FreeRDP's client is shadowed by TigerVNC's viewer, through the administrator's command.

Each of the two has a display of their own, and does there what a user does: reads, clicks and types.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from subprocess import CompletedProcess

import attrs
import numpy as np
import pytest
import trio
from numpy.typing import NDArray

from rdpprov.admin.place import listening_at
from rdpprov.admin.server import serve_admin
from rdpprov.sessions.base import OverlayRequest
from rdpprov.sessions.demo import DemoDesktop
from rdpprov.sessions.shadow_consent import GUARD, NO, YES, DesktopOverlay
from tests.cli.conftest import Command
from tests.peers.support import (
    OTHER_USER,
    USER,
    Display,
    Service,
    StartService,
    difference,
    eventually,
    picture,
    running,
    xfreerdp,
)
from tests.peers.test_rfb_clients import SIZE, conforming, tigervnc, window

pytestmark = pytest.mark.peer("Xvfb", "xfreerdp", "xtigervncviewer", "xdotool", "import")

HOT_KEY = "ctrl+KP_Multiply"


def with_notice(desktop: DemoDesktop, notice: str) -> NDArray[np.uint8]:
    """A desktop's picture as somebody sees it who is shown this above it; (height, width, 3) RGB."""
    if not notice:
        return picture(desktop)
    overlay = DesktopOverlay(OverlayRequest(desktop, sink=None, keyboard_layout=0x409, on_hot_key=lambda: None))
    overlay.show_notice(notice)
    return picture(overlay)


@attrs.define
class Administrator:
    """Who has a shell on the service's machine."""

    command: Command
    place: Path

    async def run(self, *words: object) -> CompletedProcess[str]:
        return await trio.to_thread.run_sync(
            lambda: self.command.run("sessions", *words, "--admin", self.place), abandon_on_cancel=True
        )


@attrs.define
class Scene:
    """The two users, and the administrator."""

    service: Service
    administrator: Administrator
    target: Display
    watcher: Display
    watcher_window: tuple[str, int, int]
    """Its number, and where it is."""

    @property
    def target_desktop(self) -> DemoDesktop:
        return self.service.desktops[0]

    @property
    def watcher_desktop(self) -> DemoDesktop:
        return self.service.desktops[1]

    async def target_sees(self, notice: str) -> None:
        """Wait until the target's client shows exactly the target's desktop, with this notice over it."""
        await sees(self.target, self.target_desktop, notice, "the target's picture")

    async def watcher_sees(self, desktop: DemoDesktop, notice: str) -> None:
        """Wait until the watcher's client shows exactly this."""
        await sees(self.watcher, desktop, notice, "the watcher's picture", *self.watcher_window[1:])

    async def answers(self, colour: int) -> None:
        """The target's user finds the question, reads it, and clicks on the button that has this colour."""
        places: list[NDArray[np.intp]] = []

        async def asked() -> bool:
            shown, before = await shot(self.target), picture(self.target_desktop)
            wanted = np.array([colour >> 16, colour >> 8 & 255, colour & 255])
            found = (shown == wanted).all(axis=2) & (shown != before).any(axis=2)
            places[:] = np.nonzero(found)
            return int(found.sum()) > 1000

        await eventually(asked, "the question")
        rows, columns = places
        await trio.sleep(GUARD)  # the question takes no answer before that
        await self.target.xdotool("mousemove", int(columns.mean()), int(rows.max()) - 2, "click", 1)

    async def target_types(self, text: str) -> None:
        x, y = self.target_desktop.text_area.right - 3, self.target_desktop.text_area.bottom - 3
        await self.target.xdotool("mousemove", x, y, "click", 1)
        await self.target.xdotool("type", "--delay", 30, text)

    async def watcher_types(self, text: str) -> None:
        number, left, top = self.watcher_window
        await self.watcher.xdotool("windowfocus", number)
        await self.watcher.xdotool("mousemove", left + SIZE[0] // 2, top + SIZE[1] // 2)
        await self.watcher.xdotool("type", "--delay", 30, text)

    async def has_text(self, desktop: DemoDesktop, text: str) -> None:
        async def typed() -> bool:
            return desktop.text == text

        try:
            await eventually(typed, f"the text {text!r}")
        except pytest.fail.Exception as failure:
            pytest.fail(f"{failure}: {desktop.text!r}")

    async def begin(self, *words: str) -> None:
        """``sessions shadow``, and the target's user says yes."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.answers, YES)
            done = await self.administrator.run("shadow", 1, "--from", 2, *words)
        assert (done.returncode, done.stdout, done.stderr) == (0, "session 1: shadowed\n", "")


async def shot(display: Display, left: int = 0, top: int = 0) -> NDArray[np.uint8]:
    """What a client's window shows that is there."""
    return (await display.screenshot())[top : top + SIZE[1], left : left + SIZE[0]]


async def sees(display: Display, desktop: DemoDesktop, notice: str, what: str, left: int = 0, top: int = 0) -> None:
    """Wait until the window there shows exactly this."""
    last = "nothing yet"

    async def equal() -> bool:
        nonlocal last
        last = difference(await shot(display, left, top), with_notice(desktop, notice))
        return last == "equal"

    try:
        await eventually(equal, what)
    except pytest.fail.Exception as failure:
        pytest.fail(f"{failure}: {last}")


TARGET_NOTICE = {
    False: f"{OTHER_USER}@127.0.0.1 is watching — Ctrl+* ends it",
    True: f"{OTHER_USER}@127.0.0.1 is controlling — Ctrl+* ends it",
}
WATCHER_NOTICE = f"{USER}'s session — Ctrl+* goes back to yours"


StartScene = Callable[[], AbstractAsyncContextManager[Scene]]


@pytest.fixture
def scene(display: Display, other_display: Display, serving: StartService, tmp_path: Path) -> StartScene:
    """A context manager: Ann at FreeRDP's client, Bob at TigerVNC's viewer, and an admin socket."""

    @asynccontextmanager
    async def start() -> AsyncIterator[Scene]:
        place = tmp_path / "state" / "admin.sock"
        (home := tmp_path / "administrator").mkdir()
        async with serving(rfb={}) as service, conforming(service), trio.open_nursery() as nursery:
            with listening_at(place) as listening:
                nursery.start_soon(serve_admin, service.manager.administration, listening)
                async with running(xfreerdp(service.port, f"/size:{SIZE[0]}x{SIZE[1]}"), display):
                    await eventually(lambda: _count(service, 1), "the target's desktop")
                    await sees(display, service.desktops[0], "", "the target's picture")
                    async with running(tigervnc(service, "-NoJPEG", user=OTHER_USER), other_display):
                        at = await window(other_display)
                        await eventually(lambda: _count(service, 2), "the watcher's desktop")
                        await sees(other_display, service.desktops[1], "", "the watcher's picture", *at[1:])
                        administrator = Administrator(Command(home), place)
                        yield Scene(service, administrator, display, other_display, at)
                nursery.cancel_scope.cancel()

    return start


async def _count(service: Service, count: int) -> bool:
    return len(service.desktops) == count


async def test_a_viewer_that_may_watch_sees_all_and_types_nothing_and_its_user_goes_back_by_the_hot_key(
    scene: StartScene,
) -> None:
    async with scene() as at:
        await at.begin()
        await at.target_sees(TARGET_NOTICE[False])
        await at.watcher_sees(at.target_desktop, WATCHER_NOTICE)
        # What the target does is seen by both, and the notice stays; what the watcher types reaches nobody.
        text = ""
        for word in ("one", " two", " three"):
            await at.target_types(word)
            text += word
            await at.has_text(at.target_desktop, text)
            await at.watcher_types("intruder")
            await at.target_sees(TARGET_NOTICE[False])
            await at.watcher_sees(at.target_desktop, WATCHER_NOTICE)
        listed = (await at.administrator.run("list")).stdout
        assert "seen by 2" in listed
        assert "shadow of 1" in listed
        await at.watcher.xdotool("key", HOT_KEY)
        await at.watcher_sees(at.watcher_desktop, "")
        await at.target_sees("")
        assert (at.target_desktop.text, at.watcher_desktop.text) == (text, "")
        await at.watcher_types("mine")
        await at.has_text(at.watcher_desktop, "mine")
        assert at.target_desktop.text == text


async def test_a_viewer_that_controls_types_into_the_session_until_its_user_presses_the_hot_key(
    scene: StartScene,
) -> None:
    async with scene() as at:
        await at.begin("--control")
        await at.target_sees(TARGET_NOTICE[True])
        await at.watcher_sees(at.target_desktop, WATCHER_NOTICE)
        await at.watcher_types("Bob was here: é")
        await at.has_text(at.target_desktop, "Bob was here: é")
        await at.target_types(", and Ann")
        await at.has_text(at.target_desktop, "Bob was here: é, and Ann")
        await at.target_sees(TARGET_NOTICE[True])
        await at.watcher_sees(at.target_desktop, WATCHER_NOTICE)
        await at.target.xdotool("key", HOT_KEY)
        await at.target_sees("")
        await at.watcher_sees(at.watcher_desktop, "")
        await at.watcher_types("too late")
        await at.has_text(at.watcher_desktop, "too late")
        assert at.target_desktop.text == "Bob was here: é, and Ann"


async def test_the_administrator_can_end_what_both_users_let_go_on(scene: StartScene) -> None:
    async with scene() as at:
        await at.begin()
        await at.watcher_sees(at.target_desktop, WATCHER_NOTICE)
        done = await at.administrator.run("shadow", 1, "--stop")
        assert (done.returncode, done.stdout) == (0, "session 1: not shadowed any more\n")
        await at.target_sees("")
        await at.watcher_sees(at.watcher_desktop, "")


async def test_who_is_refused_is_told_and_sees_nothing_of_the_session(scene: StartScene) -> None:
    async with scene() as at:
        await at.target_types("a secret")
        await at.has_text(at.target_desktop, "a secret")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(at.answers, NO)
            done = await at.administrator.run("shadow", 1, "--from", 2)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "rdpprov: the user of session 1 does not agree\n"
        await at.target_sees("")
        await at.watcher_sees(at.watcher_desktop, "")


async def test_the_service_stops_in_time_while_one_shadows_the_other(scene: StartScene) -> None:
    async with scene() as at:
        await at.begin("--control")
        await at.watcher_sees(at.target_desktop, WATCHER_NOTICE)
        at.service.manager.request_stop()

        async def is_over() -> bool:
            return at.service.manager.connection_count == 0 and not list(at.service.manager.sessions)

        await eventually(is_over, "the service's end", 10)
