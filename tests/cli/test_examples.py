"""The examples, by the commands that their own texts give."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")


@pytest.fixture
def root(rdpprov):
    """A project's root with the examples in it, and with the account that they want."""
    (rdpprov.home / "examples").symlink_to(EXAMPLES)  # found from the working directory, as a protocol in the making is
    assert rdpprov.run("user", "add", "ann", "--users", "users.toml", stdin="secret\n").returncode == 0
    return rdpprov.home


def stop(process):
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    return errors


def test_a_custom_protocol_is_served_used_and_traced(rdpprov, running, root):
    process = running(
        "serve",
        *("--protocol", "examples.line_protocol:LineManager", "--desktop", "examples.line_protocol:BarsDesktop"),
        *("--listen", "127.0.0.1:0", "--users", "users.toml", "--trace-dir", "traces"),
    )
    ready, name, protocol, address = process.stdout.readline().split()
    assert (ready, name, protocol) == ("ready", "line_protocol", "examples.line_protocol:LineManager")
    client = subprocess.run(
        [sys.executable, "-m", "examples.line_client", address, "ann", "secret", "hello"],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=root,
        env=rdpprov.environment,
    )
    assert client.stdout.startswith("SESSION "), client
    assert "#####" in client.stdout
    logged = stop(process)
    traces = sorted((root / "traces").iterdir())
    assert [trace.name for trace in traces] == ["line_protocol-1-1.jsonl", "service-1.jsonl"]
    assert "secret" not in "".join([logged, *(trace.read_text() for trace in traces)])
    checked = rdpprov.run("trace", "check", *traces)
    assert (checked.returncode, checked.stdout.count(": good\n")) == (0, 2), checked


def test_two_listeners_of_one_provider(running, root):
    text = (EXAMPLES / "two_listeners.toml").read_text()
    (root / "two_listeners.toml").write_text(re.sub(r"(?m)^port = \d+$", "port = 0", text))
    process = running("serve", "two_listeners.toml", "--trace-dir", "traces")
    lines = [process.stdout.readline().split() for _ in range(2)]
    assert [line[:3] for line in lines] == [["ready", "office", "rdp"], ["ready", "visitors", "rdp"]]
    stop(process)
    calls = [json.loads(line).get("call") for line in (root / "traces/service-1.jsonl").read_text().splitlines()]
    assert (calls.count("Initialize"), calls.count("CreateListener")) == (1, 2)
