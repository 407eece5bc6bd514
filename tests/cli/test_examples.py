"""The examples, by the commands that their own texts give: served, used, recorded, replayed."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from rdpprov.traces.format import WireLine, read_trace, write_trace

EXAMPLES = Path(__file__).parents[2] / "examples"
PROTOCOL = "examples.line_protocol:LineManager"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")


@pytest.fixture
def root(rdpprov):
    """A project's root with the examples in it, and with the account that they want."""
    (rdpprov.home / "examples").symlink_to(EXAMPLES)  # found from the working directory, as a protocol in the making is
    assert rdpprov.run("user", "add", "ann", "--users", "users.toml", stdin="sesame7\n").returncode == 0
    return rdpprov.home


def stop(process):
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    return errors


@pytest.fixture
def record(rdpprov, running, root):
    """Serve the line protocol to one client that types and looks: what it saw, what was logged, the traces."""

    def record(*options):
        process = running(
            "serve",
            *("--protocol", PROTOCOL, "--desktop", "examples.line_protocol:BarsDesktop", "--listen", "127.0.0.1:0"),
            *("--users", "users.toml", "--trace-dir", "traces", *options),
        )
        ready, name, protocol, address = process.stdout.readline().split()
        assert (ready, name, protocol) == ("ready", "line_protocol", PROTOCOL)
        client = subprocess.run(
            [sys.executable, "-m", "examples.line_client", address, "ann", "sesame7", "az"],
            capture_output=True,
            text=True,
            timeout=30,
            cwd=root,
            env=rdpprov.environment,
        )
        assert client.returncode == 0, client
        return client.stdout, stop(process), sorted((root / "traces").iterdir())

    return record


def test_the_custom_protocol_is_shorter_than_120_lines():
    assert len((EXAMPLES / "line_protocol.py").read_text().splitlines()) < 120


def test_the_custom_protocol_is_served_used_and_traced(rdpprov, record):
    shown, logged, traces = record()
    session, *picture = shown.splitlines()
    assert session == "SESSION 1"
    assert len(picture) == 10
    # A bar for each letter: the later in the alphabet, the higher.
    heights = [sum(row[column] == "#" for row in picture) for column in range(3)]
    assert 0 < heights[0] < heights[1]
    assert heights[2] == 0
    assert [trace.name for trace in traces] == ["line_protocol-1-1.jsonl", "service-1.jsonl"]
    assert "sesame7" not in "".join([logged, *(trace.read_text() for trace in traces)])
    checked = rdpprov.run("trace", "check", *traces)
    assert (checked.returncode, checked.stdout.count(": good\n")) == (0, 2), checked


def test_a_recorded_trace_replays_against_the_service_until_an_answer_in_it_is_edited(rdpprov, record):
    _, _, (trace, _) = record()
    replayed = rdpprov.run("trace", "replay", trace)
    assert (replayed.returncode, replayed.stderr) == (0, ""), replayed
    lines = [json.loads(line) for line in trace.read_text().splitlines()]
    [answer] = [line for line in lines if line.get("call") == "GetClientData"]
    answer["result"]["h_res"] += 1
    trace.write_text("".join(json.dumps(line) + "\n" for line in lines))
    replayed = rdpprov.run("trace", "replay", trace)
    assert replayed.returncode == 1
    assert "LogonNotify(settings.h_res=401)" in replayed.stdout  # the answer went there, and what came out is another


def test_a_trace_with_a_clients_bytes_replays_against_the_protocol_until_an_answer_in_it_is_edited(rdpprov, record):
    _, _, (path, _) = record()
    trace = read_trace(path)
    gone = next(call.t for call in trace.calls if call.call == "BrokenConnection")
    # The example has no lines to spare for recording bytes: what its client sends.
    wire = [WireLine(0.0, "in", b"LOGON ann sesame7\n"), WireLine(gone, "in", b"TYPE az\nLOOK\n")]
    write_trace(path, attrs.evolve(trace, lines=(*trace.lines, *wire)))
    # By the installed command, which does not look for modules in the working directory by itself.
    command = [str(Path(sys.executable).with_name("rdpprov")), "trace", "replay", str(path), "--against", "provider"]
    where = {"cwd": rdpprov.home, "env": rdpprov.environment, "capture_output": True, "text": True, "timeout": 60}
    replayed = subprocess.run(command, **where)
    assert (replayed.returncode, replayed.stderr) == (0, ""), replayed
    path.write_text(path.read_text().replace('"protocol_name":"LINES"', '"protocol_name":"TELEX"'))
    replayed = subprocess.run(command, **where)
    assert replayed.returncode == 1
    assert "    recorded: returned protocol_name=TELEX\n    now:      returned protocol_name=LINES\n" in replayed.stdout


def test_two_listeners_of_one_provider(running, root):
    text = (EXAMPLES / "two_listeners.toml").read_text()
    (root / "two_listeners.toml").write_text(re.sub(r"(?m)^port = \d+$", "port = 0", text))
    process = running("serve", "two_listeners.toml", "--trace-dir", "traces")
    lines = [process.stdout.readline().split() for _ in range(2)]
    assert [line[:3] for line in lines] == [["ready", "office", "rdp"], ["ready", "visitors", "rdp"]]
    stop(process)
    calls = [json.loads(line).get("call") for line in (root / "traces/service-1.jsonl").read_text().splitlines()]
    assert (calls.count("Initialize"), calls.count("CreateListener")) == (1, 2)
