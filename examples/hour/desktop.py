"""A desktop for the tutorial's protocol: large letters, so that they can be read in a terminal."""

from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rdpprov.api.devices import InputEvent, UnicodeKey
from rdpprov.sessions.memory import MemoryDesktop

FONT = ImageFont.load_default(140)


class LargeLetters(MemoryDesktop):
    def __init__(self, request: Any) -> None:
        super().__init__(request.width, request.height)
        self.write(f"{request.user.name}:")

    def write(self, text: str) -> None:
        self.text = text
        image = Image.new("L", (self.width, self.height))
        ImageDraw.Draw(image).text((0, 4), text, fill=255, font=FONT)
        with self.draw() as pixels:
            pixels[...] = np.asarray(image)[:, :, np.newaxis]

    def input_event(self, event: InputEvent) -> None:
        if isinstance(event, UnicodeKey) and event.pressed:
            self.write(self.text + event.text)
