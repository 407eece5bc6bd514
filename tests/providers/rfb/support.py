"""A service with an RFB listener and desktops that tests draw on."""

from collections.abc import Callable
from pathlib import Path

import attrs
import numpy as np
import trio

from rdpprov.api.devices import InputEvent, LockKeys, Rectangle
from rdpprov.rcm.service import RemoteConnectionManager
from rdpprov.sessions.memory import MemoryDesktop
from rdpprov.testing.rfb_client import RfbTestClient
from rdpprov.wire.rfb.handshake import VencryptSubtype

USER, PASSWORD, VNC_PASSWORD = "ann", "correct horse", "opensesa"
LOGGED_ON = {"security": [VencryptSubtype.PLAIN], "user": USER, "password": PASSWORD}


class Desk(MemoryDesktop):
    """A desktop that notes what is typed."""

    def __init__(self, width: int, height: int) -> None:
        self.input: list[InputEvent] = []
        self._more = trio.Event()
        super().__init__(width, height, on_input=self._note)

    def _note(self, event: InputEvent) -> None:
        if not isinstance(event, LockKeys):
            self.input.append(event)
        self._more.set()

    async def wait_for_input(self, count: int) -> list[InputEvent]:
        """The events, when there are so many."""
        with trio.fail_after(10):
            while len(self.input) < count:
                self._more = trio.Event()
                await self._more.wait()
        return self.input

    def paint(self, seed: int = 1, area: Rectangle | None = None) -> None:
        """Something of everything: noise, ramps, few colours, one colour."""
        random = np.random.default_rng(seed)
        with self.draw(area) as pixels:
            height, width = pixels.shape[:2]
            pixels[...] = random.integers(0, 256, (1, 1, 4), np.uint8)
            pixels[: height // 3, : width // 2] = random.integers(0, 256, (height // 3, width // 2, 4), np.uint8)
            pixels[: height // 3, width // 2 :, 1] = np.arange(width - width // 2) % 256
            palette = random.integers(0, 256, (7, 4), np.uint8)
            rows = slice(height // 3, 2 * height // 3)
            shape = pixels[rows].shape[:2]
            pixels[rows] = palette[random.integers(0, 7, shape) * (random.random(shape) < 0.3)]

    @property
    def pixels(self) -> np.ndarray:
        """What it shows, (height, width, 3) BGR."""
        screen = self.open_screen(lambda: None)
        try:
            return screen.grab(Rectangle(0, 0, self.width, self.height))[..., :3]
        finally:
            screen.close()


@attrs.frozen
class Serving:
    """A service with one RFB listener."""

    manager: RemoteConnectionManager
    port: int
    desks: list[Desk]
    traces: Path
    made: Callable[[], trio.Event]

    async def desk(self, index: int = 0) -> Desk:
        """The desktop of the session that began as number `index`."""
        with trio.fail_after(10):
            while len(self.desks) <= index:
                await self.made().wait()
        return self.desks[index]

    def trace_files(self) -> list[Path]:
        """Of connections, oldest first."""
        return sorted(path for path in self.traces.glob("*.jsonl") if not path.name.startswith("service"))


async def shows(client: RfbTestClient, desk: Desk, convert: Callable[[np.ndarray], np.ndarray] = lambda p: p) -> None:
    """Wait until the client's picture is the desktop's."""
    with trio.fail_after(20):
        await client.wait_for(
            lambda: (
                client.picture.shape[:2] == (desk.height, desk.width)
                and np.array_equal(client.picture[..., :3], convert(desk.pixels))
            )
        )
