"""How many megapixels a second the RFB encodings take, and how many bytes, beside TigerVNC's Xvnc on the same pictures.

    python benchmarks/rfb_codecs.py [--json FILE] [--no-peer] [--width W] [--height H]

Pictures are those of `codecs.py`. The *viewer* asks for the whole screen again and again, each time when it has all of
the one before, and takes Tight without JPEG, Tight with JPEG of quality 8, or ZRLE, at compression level 2 (what
viewers ask for by themselves); what it gets is decoded once, and compared with the picture unless it is lossy.

`MP/s` is megapixels by a second of the server's CPU, user and system, all its threads: more cores gain nothing by it.
It is the median of seven times twenty updates.
Xvnc is a process of its own, and its figure has what it takes to send the bytes; so ours sends them, too, through
TCP to a thread that reads them. `encoder MP/s` is our encoder alone, by the clock, and `2 workers` the same with a
pool of two threads. `tiles` is all that needs no zlib stream, without and with the extension.

The peer comes from Debian (tigervnc-standalone-server, and imagemagick, which draws the picture there).
"""

import argparse
import importlib.util
import itertools
import json
import os
import shutil
import socket
import statistics
import struct
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from rdpprov.codecs import tight, zlib_streams, zrle
from rdpprov.codecs.client_pixels import BGRX, convert, cpixel
from rdpprov.encoding.rfb import EncodedRectangle, RfbEncoder

_specification = importlib.util.spec_from_file_location("codecs_benchmark", Path(__file__).with_name("codecs.py"))
pictures_of = importlib.util.module_from_spec(_specification)  # `import codecs` is Python's own
_specification.loader.exec_module(pictures_of)

WISHES = {"Tight": [7, 0, -254], "Tight, JPEG 8": [7, 0, -254, -24], "ZRLE": [16, 0, -254]}
UPDATES = 20
ROUNDS = 7
WARM = 3


class Viewer:
    """Decodes what a server sends."""

    def __init__(self, size):
        self.screen = np.zeros(size[::-1], BGRX.dtype)
        self.tight = tight.TightDecompressors()
        self.zrle = zlib_streams.new_decompressor()

    def show(self, rectangle):
        x, y, width, height, encoding, data, _ = rectangle
        match encoding:
            case 0:
                pixels = np.frombuffer(data, BGRX.dtype).reshape(height, width)
            case 7:
                pixels = tight.decode(data, width, height, BGRX, self.tight)
            case 16:
                pixels = zrle.decode(data, width, height, BGRX, self.zrle)
        self.screen[y : y + height, x : x + width] = pixels


def payload_size(data, width, height, encoding):
    match encoding:
        case 0:
            return 4 * width * height
        case 7:
            return tight.payload_size(data, width, height, BGRX)
        case 16:
            return zrle.payload_size(data)
    raise SystemExit(f"the peer sends encoding {encoding}, which it was not asked for")


class Connection:
    """The least that a viewer says to Xvnc."""

    def __init__(self, port, encodings):
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._data = bytearray()
        assert self._take(12).startswith(b"RFB 003.")
        self._socket.sendall(b"RFB 003.008\n")
        self._take(self._take(1)[0])
        self._socket.sendall(b"\x01")
        assert self._take(4) == bytes(4)
        self._socket.sendall(b"\x01")
        self.size = struct.unpack(">HH", self._take(4))
        self._take(16)
        self._take(struct.unpack(">I", self._take(4))[0])
        form = struct.pack(">BBBBHHHBBB3x", 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)
        self._socket.sendall(b"\0\0\0\0" + form)
        self._socket.sendall(struct.pack(f">BBH{len(encodings)}i", 2, 0, len(encodings), *encodings))

    def update(self):
        """Ask for all of the screen, and take it."""
        self._socket.sendall(struct.pack(">BBHHHH", 3, 0, 0, 0, *self.size))
        while (kind := self._take(1)[0]) != 0:
            assert kind == 2, kind  # a bell
        rectangles = []
        for _ in range(struct.unpack(">xH", self._take(3))[0]):
            x, y, width, height, encoding = struct.unpack(">HHHHi", self._take(12))
            size, known = None, 0
            while size is None:
                self._fill(known := max(known + 1, len(self._data)))
                size = payload_size(self._data, width, height, encoding)
            rectangles.append(EncodedRectangle(x, y, width, height, encoding, self._take(size)))
        return rectangles

    def close(self):
        self._socket.close()

    def _fill(self, count):
        while len(self._data) < count:
            data = self._socket.recv(1 << 18)
            if not data:
                raise SystemExit("the peer has closed the connection")
            self._data += data

    def _take(self, count):
        self._fill(count)
        data = bytes(self._data[:count])
        del self._data[:count]
        return data


def cpu_of(pid):
    """CPU seconds of a process, to the nanosecond."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9 + sum(
        int(path.read_text().split()[0]) / 1e9
        for path in Path(f"/proc/{pid}/task").glob("*/schedstat")
        if path.parent.name != str(pid)
    )


class Xvnc:
    """TigerVNC's server with a picture on its screen.

    Args:
        directory: for its log, and the picture.
        picture: BGRX.
        options: of the command.
    """

    def __init__(self, directory, picture, options=("-SecurityTypes", "None")):
        height, width = picture.shape[:2]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        read_end, write_end = os.pipe()
        command = ["Xvnc", "-displayfd", str(write_end), "-geometry", f"{width}x{height}", "-depth", "24"]
        command += ["-rfbport", str(self.port), "-localhost", "-nolisten", "tcp", "-nocursor", *options]
        with (directory / "xvnc.log").open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, pass_fds=[write_end])
        os.close(write_end)
        with os.fdopen(read_end) as answer:
            display = answer.readline().strip()
        if not display:
            raise SystemExit(f"Xvnc does not start: {(directory / 'xvnc.log').read_text(errors='replace')[-500:]}")
        path = directory / "picture.png"
        Image.fromarray(np.ascontiguousarray(picture[..., 2::-1])).save(path)
        environment = {**os.environ, "DISPLAY": f":{display}"}
        # It says that it failed even when it has drawn; whether it has, `exact` tells.
        subprocess.run(["display", "-window", "root", str(path)], env=environment, check=False)

    def close(self):
        self.process.terminate()
        self.process.wait(15)


def exact(viewer, picture):
    return bool((viewer.screen == convert(picture, BGRX)).all())


def row(picture, name, who, pixels, cpu, rectangles, right, **more):
    return {
        "picture": picture,
        "encoding": name,
        "server": who,
        "MP/s": round(pixels / cpu / 1e6, 1),
        "kB": round(sum(len(rectangle.data) + 12 for rectangle in rectangles) / 1e3, 1),
        "rectangles": len(rectangles),
        "exact": "yes" if right else "no",
        "encoder MP/s": more.get("alone", "-"),
        "2 workers": more.get("pooled", "-"),
    }


def measure_peer(name, picture):
    with tempfile.TemporaryDirectory() as directory:
        server = Xvnc(Path(directory), picture)
        try:
            for wish, encodings in WISHES.items():
                connection = Connection(server.port, encodings)
                viewer = Viewer(connection.size)
                for _ in range(WARM):
                    for rectangle in connection.update():
                        viewer.show(rectangle)
                rounds, rectangles = [], []
                for _ in range(ROUNDS):
                    begun = cpu_of(server.process.pid)
                    for _ in range(UPDATES):
                        rectangles = connection.update()
                    rounds.append((cpu_of(server.process.pid) - begun) / UPDATES)
                cpu = statistics.median(rounds)
                connection.close()
                yield row(
                    name, wish, "Xvnc", picture.shape[0] * picture.shape[1], cpu, rectangles, exact(viewer, picture)
                )
        finally:
            server.close()


def sent_cpu(encoder, picture):
    """CPU seconds of this thread for one update, its bytes sent through a socket to one that only reads."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read():
        while theirs.recv(1 << 18):
            pass

    reader = threading.Thread(target=read)
    reader.start()
    begun = time.thread_time()
    for _ in range(UPDATES):
        for batch in encoder.encode_batches(picture, 0, 0):
            parts = []
            for x, y, width, height, encoding, data, _ in batch:
                parts += [struct.pack(">HHHHi", x, y, width, height, encoding), data]
            ours.sendall(b"".join(parts))
    cpu = (time.thread_time() - begun) / UPDATES
    ours.close()
    reader.join()
    theirs.close()
    return cpu


def measure_ours(name, picture):
    pixels = picture.shape[0] * picture.shape[1]
    for wish, encodings in WISHES.items():
        encoder, viewer = RfbEncoder(encodings=encodings), Viewer(picture.shape[1::-1])
        rectangles = []
        for _ in range(WARM):
            rectangles = list(encoder.encode(picture, 0, 0))
            for rectangle in rectangles:
                viewer.show(rectangle)
        cpu = statistics.median(sent_cpu(encoder, picture) for _ in range(ROUNDS))
        alone = pictures_of.best_seconds(lambda encoder=encoder: list(encoder.encode(picture, 0, 0)))
        with ThreadPoolExecutor(2) as workers:
            shared = RfbEncoder(encodings=encodings, workers=workers)
            pooled = pictures_of.best_seconds(lambda shared=shared: list(shared.encode(picture, 0, 0)))
        yield row(
            name,
            wish,
            "rdpprov",
            pixels,
            cpu,
            rectangles,
            exact(viewer, picture),
            alone=round(pixels / alone / 1e6, 1),
            pooled=round(pixels / pooled / 1e6, 1),
        )


def measure_tiles(pictures):
    for name, picture in pictures.items():
        pixels = picture.shape[0] * picture.shape[1]
        jobs = {
            "ZRLE tiles": (
                lambda p=picture: zrle.tiles(p, BGRX),
                lambda p=picture: zrle.tiles_python(p, cpixel(BGRX)),
            ),
            "Tight, parts": (
                lambda p=picture: [tight.prepare(p[y : y + 64], BGRX) for y in range(0, len(p), 64)],
                None,
            ),
        }
        for what, (chosen, python) in jobs.items():
            seconds = [pictures_of.best_seconds(job) if job else None for job in (chosen, python)]
            chosen_rate, python_rate = (round(pixels / s / 1e6, 1) if s else "-" for s in seconds)
            yield {"picture": name, "what": what, "chosen MP/s": chosen_rate, "Python MP/s": python_rate}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there too")
    parser.add_argument("--no-peer", action="store_true", help="only ours")
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--height", type=int, default=768)
    arguments = parser.parse_args()
    size = arguments.width, arguments.height
    pictures = {
        "ui": pictures_of.draw_ui(*size),
        "photo": pictures_of.draw_photo(*size),
        "noise": pictures_of.draw_noise(*size),
    }
    missing = [program for program in ("Xvnc", "display") if shutil.which(program) is None]
    rows = []
    for name, picture in pictures.items():
        ours = list(measure_ours(name, picture))
        theirs = [] if arguments.no_peer or missing else list(measure_peer(name, picture))
        pairs = itertools.zip_longest(ours, theirs)
        rows += [figures for pair in pairs for figures in pair if figures is not None]
    pictures_of.show(f"Whole screens of {size[0]}x{size[1]}, 32 bits", rows)
    if missing and not arguments.no_peer:
        print(f"\nXvnc was not measured: there is no {' and no '.join(missing)}")
    tiles = list(measure_tiles(pictures))
    pictures_of.show("Without zlib", tiles)
    if arguments.json:
        arguments.json.write_text(json.dumps({"size": size, "updates": rows, "tiles": tiles}, indent=1) + "\n")


if __name__ == "__main__":
    main()
