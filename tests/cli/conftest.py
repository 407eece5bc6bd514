"""The command as its users meet it: a process of its own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest


class Command:
    """``rdpprov`` with a home directory of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "RDPPROV_"))},
            "HOME": str(home),
            "NO_COLOR": "1",
        }
        self.words = [sys.executable, "-c", "from rdpprov.cli.main import main; main()"]

    def run(self, *arguments, stdin=""):
        """Run it to its end."""
        return subprocess.run(
            [*self.words, *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=self.home,
            env=self.environment,
        )

    def refuses(self, *arguments, stdin="", code=2):
        """Run it, see that it ends with one line on stderr and nothing else, and give the line."""
        done = self.run(*arguments, stdin=stdin)
        assert (done.returncode, done.stdout) == (code, ""), done
        assert done.stderr.startswith("rdpprov: "), done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr.removeprefix("rdpprov: ").rstrip("\n")

    def start(self, *arguments):
        """Start it, to be stopped by the test."""
        return subprocess.Popen(
            [*self.words, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.home,
            env=self.environment,
        )


@pytest.fixture
def rdpprov(tmp_path):
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    return Command(home)


@pytest.fixture
def running(rdpprov):
    """Start commands that are still there when the test ends; they are killed then."""
    processes = []

    def start(*arguments):
        processes.append(rdpprov.start(*arguments))
        return processes[-1]

    yield start
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()
