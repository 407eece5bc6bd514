"""A desktop that scrolls, as a terminal does."""

import numpy as np

from rdpprov.api.devices import Rectangle
from rdpprov.sessions.base import DesktopRequest
from rdpprov.sessions.memory import MemoryDesktop


class Terminal(MemoryDesktop):
    """Lines of noise, which cost their size, that scroll."""

    LINE = 20
    """Pixels."""

    def __init__(self, request: DesktopRequest) -> None:
        super().__init__(request.width, request.height)
        self._random = np.random.default_rng(1)
        self.fill()

    def fill(self) -> None:
        """All of it anew."""
        with self.draw() as pixels:
            pixels[...] = self._random.integers(0, 256, pixels.shape, np.uint8)

    def next_line(self) -> None:
        """All lines go up by one, and there is another."""
        self.move(Rectangle(0, self.LINE, self.width, self.height), 0, -self.LINE)
        with self.draw(Rectangle(0, self.height - self.LINE, self.width, self.height)) as pixels:
            pixels[...] = self._random.integers(0, 256, pixels.shape, np.uint8)
