"""The snippets of the documentation, found and run as a reader would: a page from top to bottom, in one directory.

- ``console``: a line that begins with ``$`` is a command, what follows is what it shows. Output that is shown has to
  come; ``...`` stands for anything, a line of it for any lines. ``# exit code 1`` behind a command says that it fails.
  ``Password:`` is answered; `QUESTIONS` are asked until the answer is that of the page. A service (`SERVICES`) goes on
  running until ``^C``, or until the page's end.
- A code block or an included file with ``:caption: NAME`` is written to that file.
- ``python`` without a caption is run, ``toml`` without one is read as a configuration.

Ports are exchanged for free ones, in what is run and back again in what is shown, so that pages can run side by side.
"""

import contextlib
import enum
import os
import queue
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import attrs

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PASSWORD = "sesame7"
SERVICES = ("rdpprov serve", "rdpprov demo", "rdpprov watch")
QUESTIONS = ("rdpprov sessions list",)
"""Commands that change nothing: asked too early, they show what was, and a reader would ask again."""
WINDOWS = re.compile(r"(?:VNC_\w+=\S+ )*(xfreerdp|vncviewer) ")
"""Clients with a window: `stand_in` takes their place, and tests/peers runs them themselves."""
PATIENCE = 60


class Why(enum.Enum):
    """The only reasons not to run something."""

    MACHINE = "changes the machine that it runs on, as its administrator"
    SETUP = "fetches and installs; whatever runs these tests has done it"


NOT_RUN = {
    "make demo": Why.SETUP,
    "sudo": Why.MACHINE,
}
"""Beginnings of commands, and why those are not run."""


@attrs.frozen
class Block:
    """A fenced block."""

    page: Path
    line: int
    kind: str
    """Language, or directive with its braces."""
    argument: str
    options: dict[str, str]
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(DOCS)}:{self.line}"


@attrs.frozen
class Command:
    """A command of a ``console`` block, and what it shows."""

    where: str
    text: str
    shown: list[str]
    exit_code: int

    @property
    def not_run(self) -> Why | None:
        return next((why for words, why in NOT_RUN.items() if self.text.startswith(words)), None)


def pages() -> list[Path]:
    return sorted(path for path in DOCS.rglob("*.md") if "_extensions" not in path.parts)


def blocks(page: Path) -> Iterator[Block]:
    """Every fenced block of a page."""
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), start=1))
    for number, line in lines:
        if not (opened := re.match(r"\s*(`{3,}|:{3,})(\{[\w-]+\}|[\w-]*)\s*(.*)$", line)) or not opened[2]:
            continue
        if opened[1].startswith(":"):
            continue  # an admonition; what is inside is looked at by itself
        inside = []
        for _, inner in lines:
            if inner.strip() == opened[1]:
                break
            inside.append(inner)
        options = {}
        while opened[2].startswith("{") and inside and (option := re.match(r":([\w-]+):\s*(.*)$", inside[0])):
            options[option[1]] = option[2]
            inside.pop(0)
        yield Block(page, number, opened[2], opened[3], options, "\n".join(inside).strip("\n") + "\n")


def commands(block: Block) -> Iterator[Command]:
    """The commands of a ``console`` block; ``^C`` is one, too."""
    words: str | None = None
    shown: list[str] = []

    def command() -> Command:
        text, _, code = (words or "").partition("# exit code ")
        return Command(str(block), text.strip(), shown, int(code or 0))

    for line in block.text.splitlines():
        if words is not None and words.endswith("\\") and not shown:
            words = words[:-1] + line.removeprefix(">").strip()
        elif line.startswith("$ ") or line == "^C":
            if words is not None:
                yield command()
            words, shown = line.removeprefix("$ "), []
        elif words is None:
            raise AssertionError(f"{block}: output before any command")
        else:
            shown.append(line.rstrip())
    if words is not None:
        yield command()


def pattern(shown: list[str]) -> str:
    """What is shown, as a regular expression for what comes."""
    parts = []
    for line in shown:
        if line == "...":
            parts.append(r"(?:[^\n]*\n)*?")
        else:
            parts.append(r"[^\n]*?".join(re.escape(part) for part in line.split("...")) + r"[^\S\n]*\n")
    return "".join(parts)


class Reader:
    """Somebody who does what a page says."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.ports: dict[str, str] = {}
        self.services: list[Service] = []
        keep = {
            name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "RDPPROV_", "PYTEST"))
        }
        self.environment = {
            **keep,
            "HOME": str(home),
            "NO_COLOR": "1",
            "COLUMNS": "120",
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), keep["PATH"]]),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def follow(self, page: Path) -> None:
        """Do all of it."""
        try:
            for block in blocks(page):
                self.do(block)
            while self.services:
                self.services.pop().stop()
        finally:
            for service in self.services:  # something else went wrong, and that is what is to be told
                with contextlib.suppress(AssertionError):
                    service.stop()

    def do(self, block: Block) -> None:
        """Do one block."""
        match block.kind:
            case "console":
                for command in commands(block):
                    self.run(command)
            case "{literalinclude}":
                if name := block.options.get("caption"):
                    shutil.copy((block.page.parent / block.argument).resolve(), self.home / name)
            case "{code-block}":
                (self.home / block.options["caption"]).write_text(self.with_ports(block.text))
            case "python":
                self.check([sys.executable, "-c", self.with_ports(block.text)], str(block))
            case "toml":
                (self.home / "fragment.toml").write_text(self.with_ports(block.text))
                self.check([sys.executable, "-c", READ_CONFIGURATION], str(block))
            case kind:
                assert kind == "text" or kind in DIRECTIVES, f"{block}: nobody runs {kind}"

    def check(self, words: list[str], where: str) -> None:
        done = subprocess.run(
            words, capture_output=True, text=True, cwd=self.home, env=self.environment, timeout=PATIENCE
        )
        assert done.returncode == 0, f"{where}: {done.stdout}{done.stderr}"

    def run(self, command: Command) -> None:
        """Run one command, and compare what it shows."""
        if command.not_run:
            return
        if command.text == "^C":
            self.services.pop().stop(signal.SIGINT)  # of the program that was started last
            return
        text = self.with_ports(command.text)
        if window := WINDOWS.match(command.text):
            words = [sys.executable, "-m", "tests.docs.stand_in", window[1], *shlex.split(text)]
            service = Service(words, self.home, {**self.environment, "PYTHONPATH": str(ROOT)})
            self.services.append(service)
            service.show(attrs.evolve(command, shown=["connected"]), str)
            return
        if command.text.startswith(SERVICES):
            service = Service(shlex.split(text, comments=True), self.home, self.environment)
            self.services.append(service)
            service.show(command, self.without_ports)
            return
        shown = [line for line in command.shown if not re.match(r"(Password|Again):", line)]
        asked = len(shown) < len(command.shown)
        until = time.monotonic() + (PATIENCE if command.text.startswith(QUESTIONS) else 0)
        while True:
            done = subprocess.run(
                ["bash", "-c", text],
                input=f"{PASSWORD}\n" if asked else "",
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=self.home,
                env=self.environment,
                timeout=PATIENCE,
            )
            came = self.without_ports(done.stdout)
            assert done.returncode == command.exit_code, f"{command.where}: {command.text}: {done.returncode}\n{came}"
            if not shown or re.fullmatch(pattern(shown), came):
                return
            assert time.monotonic() < until, differing(command, came)

    def with_ports(self, text: str) -> str:
        """With free ports instead of those that the page has."""
        return re.sub(
            r"(?:127\.0\.0\.1|0\.0\.0\.0)(::?)(\d+)\b", lambda found: f"127.0.0.1{found[1]}{self.port(found[2])}", text
        )

    def without_ports(self, text: str) -> str:
        for named, free in self.ports.items():
            text = re.sub(rf"127\.0\.0\.1:{free}\b", f"127.0.0.1:{named}", text)
        return text

    def port(self, named: str) -> str:
        if named not in self.ports:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.ports[named] = str(probe.getsockname()[1])
        return self.ports[named]


class Service:
    """A command that is still there when the next one is run."""

    def __init__(self, words: list[str], home: Path, environment: dict[str, str]) -> None:
        self.words = words
        self.errors = (home / "errors.log").open("a+")
        self.process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=self.errors, text=True, cwd=home, env=environment
        )
        self.lines: queue.Queue[str] = queue.Queue()
        self.reading = threading.Thread(target=self._read)
        self.reading.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put("")

    def show(self, command: Command, translated) -> None:
        """Wait until it has shown what the page shows."""
        came = ""
        until = time.monotonic() + PATIENCE
        while command.shown and not re.match(pattern(command.shown), came):
            try:
                line = self.lines.get(timeout=max(0.01, until - time.monotonic()))
            except queue.Empty:
                line = ""
            if not line:
                self.errors.seek(0)
                raise AssertionError(differing(command, came + self.errors.read()))
            came += translated(line)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.reading.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.errors.seek(0)
        told = self.errors.read()
        self.errors.close()
        assert self.process.returncode in (0, 130, -number), f"{self.words}: {self.process.returncode}\n{told}"


def differing(command: Command, came: str) -> str:
    shown = "\n".join(command.shown)
    return f"{command.where}: $ {command.text}\n--- the page shows\n{shown}\n--- what came\n{came}"


DIRECTIVES = {
    *("{toctree}", "{eval-rst}", "{sequence}", "{trace-figure}", "{module-text}"),
    *("{commands}", "{configuration}", "{fields}", "{codes}", "{rules}", "{differences}", "{properties}"),
}
"""What makes text, and is no code."""

READ_CONFIGURATION = """
from pathlib import Path
from rdpprov.cli.configuration import Options, configure, read_file
configure(read_file(Path("fragment.toml")), Options())
"""
