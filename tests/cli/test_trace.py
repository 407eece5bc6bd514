from pathlib import Path
from xml.etree import ElementTree

import pytest

GOOD = Path(__file__).parents[1] / "traces" / "good"


@pytest.fixture
def good():
    return GOOD / "first_connection.jsonl"


@pytest.fixture
def bad(good, tmp_path):
    """A trace that goes wrong: the third line of its calls is gone."""
    lines = good.read_text().splitlines(keepends=True)
    called = [number for number, line in enumerate(lines) if '"call"' in line]
    del lines[called[2]]
    (tmp_path / "bad.jsonl").write_text("".join(lines))
    return tmp_path / "bad.jsonl"


def test_check_passes_good_traces(rdpprov):
    files = sorted(GOOD.glob("*.jsonl"))
    done = rdpprov.run("trace", "check", *files)
    assert (done.returncode, done.stdout) == (0, "".join(f"{file}: good\n" for file in files))


def test_check_says_where_a_trace_goes_wrong_and_what_was_expected(rdpprov, good, bad):
    done = rdpprov.run("trace", "check", bad, good)
    assert done.returncode == 1
    wrong, right = done.stdout.splitlines()
    place, reason = wrong.removeprefix(f"{bad}:").split(": ", 1)
    assert place.isdecimal()
    assert "expected" in reason
    assert right == f"{good}: good"


def test_show_is_a_line_a_call(rdpprov, good):
    done = rdpprov.run("trace", "show", good)
    assert done.returncode == 0
    assert done.stdout.startswith("connection of listener ")
    assert done.stdout.index("OnConnected(") < done.stdout.index("AcceptConnection(") < done.stdout.index("Close(")


def test_diagram_is_an_svg(rdpprov, good, tmp_path):
    assert rdpprov.run("trace", "diagram", good, "--output", tmp_path / "figure.svg").returncode == 0
    root = ElementTree.parse(tmp_path / "figure.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "AcceptConnection" in "".join(root.itertext())
    assert rdpprov.run("trace", "diagram", good).stdout.rstrip("\n") == (tmp_path / "figure.svg").read_text().rstrip(
        "\n"
    )


def test_a_file_that_is_no_trace_is_named(rdpprov, tmp_path):
    none = tmp_path / "none.jsonl"
    assert rdpprov.refuses("trace", "show", none) == f"trace {none}: no such file or directory"
    none.write_text("garbage\n")
    for command in ("show", "check", "diagram", "replay"):
        assert str(none) in rdpprov.refuses("trace", command, none, code=1)
    assert rdpprov.refuses("trace", "check") == "trace check: no file, expected at least one"
    assert rdpprov.refuses("trace", "diagram", GOOD / "first_connection.jsonl", "--output", tmp_path / "no" / "x") == (
        f"--output {tmp_path}/no/x: no such file or directory"
    )


def test_a_reader_that_goes_away_is_no_error_of_ours(rdpprov, good):
    with rdpprov.start("trace", "diagram", good) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_replay_tells_differences_with_both_sides(rdpprov, good, tmp_path):
    done = rdpprov.run("trace", "replay", good)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{good}: 27 exchanges, 0 differences\n", "")
    assert "  4 service -> connection AcceptConnection" in rdpprov.run("trace", "replay", good, "--everything").stdout
    edited = tmp_path / "edited.jsonl"
    edited.write_text(good.read_text().replace('"call":"LogonNotify"', '"call":"PreDisconnect"'))
    done = rdpprov.run("trace", "replay", edited, "--against", "service")
    assert done.returncode == 1
    assert "! service -> LogonNotify\n    recorded: nothing\n    now:      LogonNotify(" in done.stdout


def test_options_of_a_replay_are_checked(rdpprov, good):
    assert rdpprov.refuses("trace", "replay", good, "--option", "port") == "--option 'port': expected KEY=VALUE"
    assert rdpprov.refuses("trace", "replay", good, "--against", "provider", "--protocol", "no").startswith(
        "protocol 'no' is not installed"
    )
