"""vncdotool, told by a test what to do: ``python vncdotool_client.py PORT ENCODING BITS [PASSWORD]``.

Each line on standard input is a JSON array, a method of its client and arguments; each answer is a line: ``null`` when
it is done, or the name and text of the exception. Twisted cannot live in one thread with trio, and a peer is a process.
"""

import json
import logging
import sys

from vncdotool import api
from vncdotool.client import BGR16, KEYMAP, PF2IM, RGB32, VNCDoToolClient, VNCDoToolFactory
from vncdotool.rfb import Encoding


def factory(encoding: str, bits: str) -> type[VNCDoToolFactory]:
    """What asks for such an encoding and pixels of so many bits."""
    pixel_format = {"32": RGB32, "16": BGR16}[bits]

    class Client(VNCDoToolClient):
        def setImageMode(self) -> None:  # noqa: N802 - vncdotool's name
            self.setPixelFormat(pixel_format)
            self._image_mode = PF2IM[pixel_format]

    Client.encoding = Encoding[encoding]

    class Factory(VNCDoToolFactory):
        protocol = Client
        nocursor = True  # it takes the pointer's shape, and draws it nowhere

    return Factory


def main(port: str, encoding: str, bits: str, password: str | None = None) -> None:
    logging.basicConfig(level=logging.INFO)
    # It knows keysyms by name and of Latin-1; those of other characters follow from Unicode.
    KEYMAP.update({character: 0x01000000 + ord(character) for character in "中€"})
    client = api.connect(f"127.0.0.1::{port}", password, factory(encoding, bits), timeout=20)
    for line in sys.stdin:
        method, *arguments = json.loads(line)
        try:
            getattr(client, method)(*arguments)
            answer = None
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
        print(json.dumps(answer), flush=True)
    if client.protocol is not None:  # it would wait for a connection that was refused
        client.disconnect()


if __name__ == "__main__":
    main(*sys.argv[1:])
