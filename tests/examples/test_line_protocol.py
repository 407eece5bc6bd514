"""The custom protocol of examples/, served by the command as its docstring says, recorded and replayed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RDPPROV = [sys.executable, "-m", "rdpprov"]


@pytest.fixture
def users(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    add = [*RDPPROV, "user", "add", "ann", "--users", str(path)]
    subprocess.run(add, input="sesame7\n", text=True, check=True, cwd=ROOT, capture_output=True)
    return path


@contextmanager
def served(*options: str, listeners: int = 1) -> Iterator[list[str]]:
    """`rdpprov serve`, and the addresses of its ready lines."""
    with subprocess.Popen(
        [*RDPPROV, "serve", *options], stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "HOME": "/"}
    ) as service:
        try:
            assert service.stdout is not None
            ready = [service.stdout.readline().split() for _ in range(listeners)]
            assert all(line[:1] == ["ready"] for line in ready), ready
            yield [line[-1] for line in ready]
        finally:
            service.send_signal(signal.SIGTERM)
            assert service.wait(10) == 0


def client(address: str, *words: str, password: str = "sesame7") -> str:
    result = subprocess.run(
        [sys.executable, "-m", "examples.line_client", address, "ann", password, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return result.stdout


def options(users: Path, traces: Path) -> list[str]:
    return [
        "--protocol", "examples.line_protocol:LineManager",
        "--desktop", "examples.line_protocol:BarsDesktop",
        "--listen", "127.0.0.1:0",
        "--users", str(users),
        "--trace-dir", str(traces),
    ]  # fmt: skip


def rdpprov(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*RDPPROV, *words], cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.fixture
def trace(users: Path, tmp_path: Path) -> Path:
    """What is recorded when a client types a word and looks."""
    with served(*options(users, tmp_path / "traces")) as [address]:
        shown = client(address, "az")
    session, *picture = shown.splitlines()
    assert session == "SESSION 1"
    assert len(picture) == 10
    # A bar for each letter: the later in the alphabet, the higher.
    heights = [sum(row[column] == "#" for row in picture) for column in range(3)]
    assert 0 < heights[0] < heights[1]
    assert heights[2] == 0
    [recorded] = (tmp_path / "traces").glob("line_protocol-*.jsonl")
    return recorded


def test_the_protocol_is_shorter_than_120_lines() -> None:
    assert len((ROOT / "examples" / "line_protocol.py").read_text().splitlines()) < 120


def test_recorded_trace_is_good_and_replays_against_the_protocol(trace: Path) -> None:
    checked = rdpprov("trace", "check", str(trace))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    replayed = rdpprov("trace", "replay", str(trace))
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr


def test_replay_fails_when_one_answer_of_the_trace_is_edited(trace: Path) -> None:
    lines = [json.loads(line) for line in trace.read_text().splitlines()]
    [answer] = [line for line in lines if line.get("call") == "GetClientData"]
    answer["result"]["h_res"] += 1
    trace.write_text("".join(json.dumps(line) + "\n" for line in lines))
    replayed = rdpprov("trace", "replay", str(trace))
    assert replayed.returncode == 1
    assert "LogonNotify(settings.h_res=401)" in replayed.stdout  # the answer went there, and what came out is another
