"""Traces for people: text and pictures."""

import re
from pathlib import Path
from xml.etree import ElementTree

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.errors import E_FAIL, E_NOTIMPL
from rdpprov.traces.diagram import to_svg
from rdpprov.traces.format import CallError, CallLine, EventLine, Outcome, Trace, TraceHeader, WireLine, read_trace
from rdpprov.traces.sequences import ACTORS
from rdpprov.traces.show import cut, milliseconds, printable, short, to_text
from tests.traces.support import SEQUENCES, figure_trace

GOOD = sorted((Path(__file__).parent / "good").glob("*.jsonl"))
SVG = "{http://www.w3.org/2000/svg}"

NASTY = 'x"><script>alert(1)</script>\x1b[31m\n]]>&amp;\ud800\uffff'


def arrows(svg: str) -> list[ElementTree.Element]:
    return [group for group in ElementTree.fromstring(svg).iter(f"{SVG}g") if "call" in group.get("class", "").split()]


def names(svg: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(svg).iter(f"{SVG}text") if text.get("class") == "name"]


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.stem)
def test_a_figure_has_one_arrow_a_call_in_their_order(file):
    trace = read_trace(file)
    svg = to_svg(trace)
    assert len(arrows(svg)) == len(trace.calls)
    assert [re.sub(r"^\d+\. ", "", name) for name in names(svg)] == [call.call for call in trace.calls]


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.stem)
def test_a_figure_is_one_file_without_anything_outside_it(file):
    svg = to_svg(read_trace(file))
    assert re.findall(r"(?:href|src|@import|url\()[^ >]*", svg) == []
    assert "<script" not in svg
    assert [name for name in re.findall(r"https?://[^\"]*", svg) if name != "http://www.w3.org/2000/svg"] == []


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.stem)
def test_everything_in_a_figure_is_inside_it_and_goes_downwards(file):
    root = ElementTree.fromstring(to_svg(read_trace(file)))
    width, height = float(root.get("width", "0")), float(root.get("height", "0"))
    rows = [
        float(line.get("y1", "0"))
        for group in arrows(ElementTree.tostring(root).decode())
        for line in group.iter(f"{SVG}line")
    ]
    assert rows == sorted(rows)
    for line in root.iter(f"{SVG}line"):
        assert min(float(line.get("x1", "0")), float(line.get("x2", "0"))) >= 0
        assert max(float(line.get("x1", "0")), float(line.get("x2", "0"))) <= width
        assert float(line.get("y2", "0")) <= height


def test_arrows_are_numbered_as_in_the_figures():
    trace = figure_trace([*SEQUENCES.reconnect("arbitrated", 1), *SEQUENCES.disconnect()])
    assert names(to_svg(trace))[7:13] == [
        "8. GetLicenseConnection",
        "9. RequestLicensingCapabilities",
        "11. SendClientLicense",
        "10. RequestClientLicense",
        "12. ProtocolComplete",
        "13. AuthenticateClientToSession",
    ]
    assert names(to_svg(trace))[-9:] == [
        "1. DisconnectNotify",
        "2. NotifySessionId",
        "3. GetInputHandles",
        "4. GetVideoHandle",
        "5. ConnectNotify",
        "6. LogonNotify",
        "1. PreDisconnect",
        "2. DisconnectNotify",
        "3. Close",
    ]
    assert names(to_svg(figure_trace(SEQUENCES.reconnect("direct"))))[-6] == "1. NotifySessionId"


def test_a_failed_call_is_marked_and_an_e_notimpl_is_marked_otherwise():
    failures = {"GetUserCredentials": CallError(E_NOTIMPL), "AcceptConnection": CallError(E_FAIL, "<full>")}
    svg = to_svg(figure_trace(SEQUENCES.first_connection(), failures=failures))
    classes = {
        name.text: group.get("class")
        for group in arrows(svg)
        for name in group.iter(f"{SVG}text")
        if name.get("class") == "name"
    }
    assert classes["7. GetUserCredentials"] == "call default"
    assert classes["4. AcceptConnection"] == "call failed"
    assert classes["3. OnReady"] == "call back"
    assert "0x80004005 &lt;full&gt;" in svg


def test_a_long_wait_is_told_and_not_drawn_to_scale():
    trace = figure_trace(SEQUENCES.first_connection())
    late = attrs.evolve(
        trace, lines=tuple(attrs.evolve(line, t=line.t + 90) if line.t > 0.02 else line for line in trace.lines)
    )
    assert "90.0 s later" in to_svg(late)
    assert len(to_svg(late)) < len(to_svg(trace)) + 400


def test_what_a_client_says_about_itself_cannot_break_a_figure_or_a_terminal():
    call = CallLine(1, 0, 0.1, NASTY, "service", NASTY, {NASTY: NASTY}, Outcome.RETURNED, {NASTY: [NASTY]})
    trace = Trace(
        TraceHeader("connection", NASTY, NASTY, NASTY),
        (call, EventLine(0.5, NASTY, {NASTY: NASTY}), WireLine(0.6, "in", b"\x1b")),
        (NASTY,),
    )
    ElementTree.fromstring(to_svg(trace))
    assert "<script" not in to_svg(trace)
    text = to_text(trace)
    assert "\x1b" not in text
    assert len(text.splitlines()) == 6  # title, note, empty line, three lines
    text.encode()


calls = st.builds(
    CallLine,
    n=st.integers(1, 99),
    t=st.floats(-1000, 1000),
    d=st.none() | st.floats(0, 1000),
    source=st.sampled_from([*ACTORS, "listener:desk"]) | st.text(max_size=5),
    target=st.sampled_from([*ACTORS, "manager:X"]) | st.text(max_size=5),
    call=st.sampled_from([step.call for step in SEQUENCES.steps()]) | st.text(max_size=60),
    outcome=st.sampled_from(Outcome),
)


@given(st.lists(calls, max_size=8), st.sampled_from(["connection", "service"]))
def test_the_figure_of_any_trace_can_be_drawn(lines, kind):
    lines = [
        attrs.evolve(line, error=CallError(E_FAIL, "no") if line.outcome is Outcome.FAILED else None) for line in lines
    ]
    trace = Trace(TraceHeader(kind), tuple(lines))
    assert len(arrows(to_svg(trace))) == len(lines)
    assert len(to_text(trace).splitlines()) == 2 + len(lines)


def test_text_shows_every_line_with_its_answer():
    text = to_text(read_trace(GOOD[0].parent / "first_connection.jsonl"))
    assert text.startswith("connection of listener desk (lines), started 2026-05-01T09:30:00.000000+00:00\n")
    assert "service -> connection   GetClientMonitorData() = [1, 0]" in re.sub(r"connection +G", "connection   G", text)
    assert "GetLogonErrorRedirector() = E_NOTIMPL" in text
    assert "password=<redacted>" in text
    assert re.search(r"\* +[\d.]+ ms +state name=active, session=1", text)


def test_text_is_cut_at_the_width_and_never_if_there_is_none():
    trace = read_trace(GOOD[0].parent / "first_connection.jsonl")
    assert max(map(len, to_text(trace, width=80).splitlines())) == 80
    assert max(map(len, to_text(trace, width=0).splitlines())) > 160


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.00012, "0.12 ms"), (0.0123, "12.3 ms"), (1.2, "1200 ms"), (-0.5, "-500 ms"), (0.0, "0.00 ms")],
)
def test_milliseconds_have_three_digits_that_count(seconds, text):
    assert milliseconds(seconds) == text


def test_helpers_do_what_they_say():
    assert cut("abcdef", 4) == "abc…"
    assert cut("abc", 0) == "abc"
    assert printable("a\x1bb\n") == "a\ufffdb\ufffd"
    assert short({"a": [1, None], "b": "text"}) == "{a=[1, null], b=text}"
