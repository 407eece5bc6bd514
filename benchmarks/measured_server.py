"""The server's side of the benchmarks, in a process of its own.

    measured_server.py [--phases FILE | --profile FILE | --switch-traces] serve CONFIG     `rdpprov serve`
    measured_server.py tls PORT CERTIFICATE KEY                          TLS handshakes, then an echo

With --phases the entry points of the layers are timed (see `phases.py`), and SIGUSR1 writes the sums. With --profile
SIGUSR1 starts cProfile, and SIGUSR2 ends it and writes what it found. With --switch-traces the connections that follow
SIGUSR1 are recorded, and those that follow SIGUSR2 are not, as at the start.
"""

import argparse
import cProfile
import signal
import socket
import sys
from functools import partial
from pathlib import Path

import numpy as np
import trio

from rdpprov.api.devices import Rectangle, ScancodeKey
from rdpprov.cli.main import main as rdpprov_main
from rdpprov.security.tls import server_context
from rdpprov.sessions.demo import DemoDesktop
from rdpprov.sessions.memory import MemoryDesktop
from rdpprov.traces.recorder import NullRecorder, TraceDirectory

LAMP = 8
"""Pixels, both ways: what changes in the upper left corner of `Lamp`."""
SWITCH = 0x1E
"""The key that changes it: A, on a US keyboard."""


class StillDemo(DemoDesktop):
    """The demo desktop without its clock: that other sessions' clocks tick is not what a connection costs."""

    def __init__(self, request):
        super().__init__(request)
        self.stop_clock()

    async def run(self, *, task_status):
        """Until the session is ended."""
        task_status.started()
        await trio.sleep_forever()


class Framebuffer(MemoryDesktop):
    """A desktop with pixels of its own, every one of them drawn: width x height x 4 bytes."""

    def __init__(self, request):
        super().__init__(request.width, request.height)
        with self.draw() as pixels:
            pixels[...] = _wallpaper(*pixels.shape[:2])


class Lamp(Framebuffer):
    """A desktop on which one key, when it goes down, changes a few pixels. Other input does nothing."""

    def __init__(self, request):
        super().__init__(request)
        self._lit = False

    def input_event(self, event):
        """Switch, if it is the switch."""
        if isinstance(event, ScancodeKey) and event.pressed and event.scancode == SWITCH:
            self._lit = not self._lit
            with self.draw(Rectangle(0, 0, LAMP, LAMP)) as pixels:
                pixels[...] = 255 if self._lit else 0


_wallpapers = {}


def _wallpaper(height, width):
    if (height, width) not in _wallpapers:
        rows, columns = np.mgrid[0:height, 0:width]
        pixels = np.zeros((height, width, 4), np.uint8)
        pixels[..., 0] = 90 + columns * 90 // width
        pixels[..., 1] = 60 + rows * 60 // height
        pixels[..., 2] = 40
        _wallpapers[height, width] = pixels
    return _wallpapers[height, width]


demo = DemoDesktop
still = StillDemo
framebuffer = Framebuffer
lamp = Lamp


def serve_tls(port, certificate, key):
    """One client after the other: handshake, then send back whatever comes, until it goes."""
    context = server_context(certificate, key)
    with socket.create_server(("127.0.0.1", port), backlog=64) as listener:
        while True:
            client, _ = listener.accept()
            try:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with context.wrap_socket(client, server_side=True) as secure:
                    while data := secure.recv(4096):
                        secure.sendall(data)
            except OSError:
                client.close()


def profile_between_signals(path):
    """cProfile from SIGUSR1 to SIGUSR2."""
    profile = cProfile.Profile()

    def stop(*_):
        profile.disable()
        profile.dump_stats(path)
        Path(f"{path}.done").touch()

    signal.signal(signal.SIGUSR1, lambda *_: profile.enable())
    signal.signal(signal.SIGUSR2, stop)


def switch_traces_by_signals():
    """A service without a directory of traces, until SIGUSR1; then with it, until SIGUSR2."""
    record, nothing = TraceDirectory.connection_recorder, lambda *_: NullRecorder()

    def switch(recorder, *_):
        TraceDirectory.connection_recorder = recorder

    switch(nothing)
    signal.signal(signal.SIGUSR1, partial(switch, record))
    signal.signal(signal.SIGUSR2, partial(switch, nothing))


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phases", metavar="FILE", type=Path)
    parser.add_argument("--profile", metavar="FILE", type=Path)
    parser.add_argument("--switch-traces", action="store_true")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve").add_argument("config")
    tls = commands.add_parser("tls")
    tls.add_argument("port", type=int)
    tls.add_argument("certificate", type=Path)
    tls.add_argument("key", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "tls":
        serve_tls(arguments.port, arguments.certificate, arguments.key)
        return
    if arguments.phases:
        import phases

        phases.install()
        signal.signal(signal.SIGUSR1, partial(phases.write, arguments.phases))
    if arguments.profile:
        profile_between_signals(arguments.profile)
    if arguments.switch_traces:
        switch_traces_by_signals()
    rdpprov_main(["serve", arguments.config])


if __name__ == "__main__":
    main()
