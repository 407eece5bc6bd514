"""The trace file: what is written is read again, and nothing else is."""

import contextlib
import enum
import math
import uuid
import weakref
from dataclasses import dataclass

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.api.structures import ConnectionSettings
from rdpprov.traces.format import (
    MAX_HEX,
    MAX_TEXT,
    REDACTED,
    CallError,
    CallLine,
    EventLine,
    Outcome,
    Trace,
    TraceFormatError,
    TraceHeader,
    WireLine,
    dump_trace,
    encode,
    encode_line,
    error_text,
    error_to_json,
    in_order,
    json_text,
    mapping_text,
    mapping_to_json,
    parse_trace,
    read_trace,
    to_json,
    write_trace,
)

HEADER = b'{"trace":"rdpprov","version":1,"kind":"connection","protocol":"rdp","listener":"desk","started":"now"}\n'
CALL = b'{"n":1,"t":0.1,"d":0.2,"from":"service","to":"connection","call":"Close","args":{},"result":null}\n'

KEYS = ["n", "t", "d", "from", "to", "call", "args", "result", "error", "event", "wire", "data"]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=8,
)
seconds = st.floats(-1e6, 1e6).map(lambda value: round(value, 6))
durations = st.floats(0, 1e6).map(lambda value: round(value, 6))
errors = st.builds(CallError, st.integers(0x80000000, 0xFFFFFFFF), st.text(), st.none() | st.text(min_size=1))


@st.composite
def calls(draw):
    outcome = draw(st.sampled_from(Outcome))
    return CallLine(
        n=draw(st.integers(0, 50)),
        t=draw(seconds),
        d=None if outcome is Outcome.OPEN else draw(durations),
        source=draw(st.text()),
        target=draw(st.text()),
        call=draw(st.text()),
        args=draw(st.dictionaries(st.text(), json_values, max_size=3)),
        outcome=outcome,
        result=draw(json_values) if outcome is Outcome.RETURNED else None,
        error=draw(errors) if outcome is Outcome.FAILED else None,
    )


events = st.builds(
    EventLine, seconds, st.text(), st.dictionaries(st.text().filter(lambda key: key not in ("t", "event")), json_values)
)
wires = st.builds(WireLine, seconds, st.sampled_from(["in", "out"]), st.binary())
headers = st.builds(TraceHeader, st.sampled_from(["connection", "service"]), st.text(), st.text(), st.text())
traces = st.builds(lambda header, lines: Trace(header, tuple(lines)), headers, st.lists(calls() | events | wires))


def parse(data: bytes) -> Trace:
    return parse_trace(data.splitlines(keepends=True))


@given(traces)
def test_a_trace_comes_back_as_it_was_written_in_the_order_of_its_calls(trace):
    assert parse(dump_trace(trace)) == in_order(trace)


@given(traces)
def test_calls_come_by_their_numbers_and_everything_else_before_what_started_later(trace):
    ordered = in_order(trace)
    assert [call.n for call in ordered.calls] == sorted(call.n for call in trace.calls)
    others = [line for line in ordered.lines if not isinstance(line, CallLine)]
    assert [line.t for line in others] == sorted(line.t for line in others)


def test_a_trace_goes_through_a_file(tmp_path):
    trace = Trace(TraceHeader("service"), (CallLine(1, 0.0, 0.1, "service", "manager", "Initialize"),))
    write_trace(tmp_path / "trace.jsonl", trace)
    assert read_trace(tmp_path / "trace.jsonl") == trace


@given(traces, st.data())
def test_a_trace_that_a_crash_cut_off_is_readable_up_to_there(trace, data):
    written = dump_trace(trace)
    header_end = written.index(b"\n") + 1
    cut = parse(written[: data.draw(st.integers(header_end, len(written)))])
    assert len(cut.lines) <= len(trace.lines)
    # A cut right before a line's end leaves a whole line.
    assert len(cut.notes) <= 1


def test_the_line_that_was_cut_off_is_noted():
    trace = parse(HEADER + CALL + CALL[:40])
    assert len(trace.calls) == 1
    assert trace.notes == ("line 3 is cut off: the recorder did not come to close the trace",)


@given(st.binary())
def test_arbitrary_bytes_are_a_trace_or_our_error(data):
    with contextlib.suppress(TraceFormatError):
        parse(data)


@given(st.binary())
def test_arbitrary_bytes_after_a_header_are_a_trace_or_our_error(data):
    with contextlib.suppress(TraceFormatError):
        assert parse(HEADER + data).header.listener == "desk"


@given(st.dictionaries(st.sampled_from(KEYS), json_values))
def test_arbitrary_values_in_a_line_are_a_trace_or_our_error(values):
    with contextlib.suppress(TraceFormatError):
        assert len(parse(HEADER + encode_line(values)).lines) == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty, expected the header"),
        (b"[]\n", "line 1: expected a JSON object, found list"),
        (b"{}\n", "line 1: expected the header"),
        (b'{"trace":"rdpprov","version":2,"kind":"connection"}\n', "line 1: version 2, expected 1 to 1"),
        (b'{"trace":"rdpprov","version":true,"kind":"connection"}\n', "line 1: version True, expected"),
        (b'{"trace":"rdpprov","version":1,"kind":"session"}\n', "line 1: kind 'session'"),
        (HEADER + b"{\n" + CALL, "line 2: "),
        (HEADER + b"{}\n", "line 2: neither a call nor an event nor bytes"),
        (HEADER + CALL.replace(b'"n":1', b'"n":"1"'), "line 2: n is '1'"),
        (HEADER + CALL.replace(b"0.1", b"NaN"), "line 2: NaN is no JSON"),
        (HEADER + CALL.replace(b"0.1", b"1e999"), "line 2: t is inf, expected seconds"),
        (HEADER + CALL.replace(b'"t":0.1,', b""), "line 2: t is None, expected seconds"),
        (HEADER + CALL.replace(b'"service"', b"1"), "line 2: from is 1, expected text"),
        (HEADER + CALL.replace(b"{}", b"[]"), "line 2: args is not an object"),
        (HEADER + CALL.replace(b'"result":null', b'"error":{"hresult":"0x00000001"}'), "is not a failing HRESULT"),
        (HEADER + CALL.replace(b'"result":null', b'"error":{"hresult":"failed"}'), "is no hexadecimal number"),
        (
            HEADER + CALL.replace(b'"result":null', b'"result":1,"error":{"hresult":"0x80004005"}'),
            "and an error in one",
        ),
        (HEADER + b'{"t":1,"wire":"up","data":""}\n', "line 2: wire 'up', expected 'in' or 'out'"),
        (HEADER + b'{"t":1,"wire":"in","data":"?"}\n', "line 2: data is no base64"),
        (HEADER + b"[" * 100_000 + b"\n", "line 2: "),
        (HEADER + b'{"t":1' + b"0" * 5000 + b',"event":"x"}\n', "line 2: "),
    ],
)
def test_a_line_that_is_wrong_is_named(data, message):
    with pytest.raises(TraceFormatError) as caught:
        parse(data)
    assert message in str(caught.value)


def test_keys_and_fields_that_a_reader_does_not_know_are_skipped():
    assert parse(HEADER + CALL.replace(b'"n":1', b'"n":1,"thread":7')).calls[0].call == "Close"


@attrs.frozen
class Inner:
    number: int = 0
    password: str = attrs.field(default="", metadata={"secret": True})


@attrs.frozen
class Outer:
    name: str
    inner: Inner = Inner()
    numbers: list[int] = attrs.field(factory=list)
    half: float = 0.5


class Colour(enum.Enum):
    RED = 1


class Depth(enum.IntEnum):
    DEEP = 24


class Flags(enum.IntFlag):
    A = 1
    B = 2


@dataclass
class Opaque:
    password: str = "hunter2"


class Fancy(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (0.25, 0.25),
        (math.inf, "inf"),
        ("text", "text"),
        (Fancy("text"), "text"),
        ("x" * (MAX_TEXT + 1), "x" * MAX_TEXT + "…"),
        (b"\x01\x02", {"hex": "0102"}),
        (bytearray(MAX_HEX + 1), {"bytes": MAX_HEX + 1}),
        (memoryview(b"abc"), {"hex": "616263"}),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Colour.RED, "RED"),
        (Depth.DEEP, "DEEP"),
        (Flags(4), 4),
        ((1, "a"), [1, "a"]),
        (frozenset({"b", "a"}), ["a", "b"]),
        ({"a": 1, "Password": "hunter2"}, {"a": 1, "Password": REDACTED}),
        (Outer("x"), {"name": "x"}),
        (
            Outer("x", Inner(1, "hunter2"), [1]),
            {"name": "x", "inner": {"number": 1, "password": REDACTED}, "numbers": [1]},
        ),
        (Inner(), {"password": REDACTED}),
        (Opaque(), "<Opaque>"),
        (object(), "<object>"),
        (ValueError("hunter2"), "<ValueError>"),
    ],
)
def test_a_value_is_told_without_secrets_and_without_defaults(value, expected):
    found = to_json(value)
    assert found == expected
    assert type(found) is type(expected)
    assert json_text(value) == encode(found)


@given(json_values)
def test_text_made_at_once_is_the_text_of_the_value(value):
    assert json_text(value) == encode(to_json(value))
    for structure in (Outer("x", half=value), Outer("x", Inner(number=value), value), value):
        assert json_text(structure) == encode(to_json(structure))


@given(st.dictionaries(st.sampled_from(["password", "Secret", "a", "\ud800"]) | st.text(), json_values))
def test_text_made_at_once_of_arguments_is_the_text_of_the_arguments(arguments):
    assert mapping_text(arguments) == encode(mapping_to_json(arguments))


@given(errors)
def test_text_made_at_once_of_an_error_is_the_text_of_the_error(error):
    assert error_text(error) == encode(error_to_json(error))


def test_a_field_that_equals_its_default_in_another_type_is_told():
    assert to_json(Outer("x", half=True)) == {"name": "x", "half": True}


def test_settings_of_two_clients_in_turn_are_told_apart():
    ours, theirs = ConnectionSettings(user_name="ada"), ConnectionSettings(user_name="bob")
    for settings in (ours, ours, theirs, ours):
        assert json_text(settings) == encode(to_json(settings))


def test_no_settings_are_kept_alive_by_having_been_written():
    settings = ConnectionSettings(password="secret")
    reference = weakref.ref(settings)
    json_text(settings)
    del settings
    assert reference() is None
