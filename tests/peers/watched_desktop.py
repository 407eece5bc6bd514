"""A demo desktop that tells a test what it shows, for a service in a process of its own.

``--desktop tests.peers.watched_desktop:WatchedDesktop``. Whoever connects to the Unix socket `PLACE` names is sent the
picture, and the text typed so far. There can be only one such desktop: a second cannot have the place.
"""

import json
import os

import numpy as np
import trio
from numpy.typing import NDArray

from rdpprov.sessions.base import DesktopRequest
from rdpprov.sessions.demo import DemoDesktop
from tests.peers.support import picture

PLACE = "RDPPROV_WATCHED_DESKTOP"
"""The environment's variable with the socket's path."""


class WatchedDesktop(DemoDesktop):
    """Its clock stands still, so that nothing changes by itself."""

    def __init__(self, request: DesktopRequest) -> None:
        super().__init__(request)
        self.stop_clock()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        with trio.socket.socket(trio.socket.AF_UNIX) as listening:
            await listening.bind(os.environ[PLACE])
            listening.listen()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.serve_listeners, self._tell, [trio.SocketListener(listening)])
                await super().run(task_status=task_status)
                nursery.cancel_scope.cancel()

    async def _tell(self, stream: trio.SocketStream) -> None:
        shown = picture(self)
        facts = json.dumps({"shape": shown.shape, "text": self.text, "end": _end(self)})
        async with stream:
            await stream.send_all(facts.encode() + b"\n" + shown.tobytes())


def _end(desktop: DemoDesktop) -> tuple[int, int]:
    area = desktop.text_area
    return area.right - 3, area.bottom - 3


async def watch(place: str) -> tuple[NDArray[np.uint8], str, tuple[int, int]]:
    """The test's end.

    Returns:
        (height, width, 3) RGB; the text; where a click makes typing go on at its end.
    """
    async with await trio.open_unix_socket(place) as stream:
        told = b"".join([bytes(part) async for part in stream])
    line, _, pixels = told.partition(b"\n")
    facts = json.loads(line)
    return np.frombuffer(pixels, np.uint8).reshape(facts["shape"]), facts["text"], tuple(facts["end"])
