import json
from typing import get_args

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.admin import protocol
from rdpprov.admin.protocol import (
    CALLS,
    EVENTS,
    Answer,
    Happened,
    Request,
    RequestError,
    from_json,
    pack_error,
    pack_event,
    pack_request,
    pack_result,
    unpack_answer,
    unpack_request,
)
from rdpprov.errors import RemoteProtocolError
from rdpprov.rcm.events import Event, SessionLoggedOn
from rdpprov.rcm.snapshots import ListenerInfo, ServiceInfo, SessionDetails, SessionInfo

finite = st.floats(allow_nan=False, allow_infinity=False)
st.register_type_strategy(float, finite)
requests = st.one_of(
    st.builds(
        Request,
        st.integers(),
        st.just(call),
        st.fixed_dictionaries({name: st.from_type(kind) for name, kind in arguments.items()}),
    )
    for call, arguments in CALLS.items()
)


@given(requests)
def test_requests_round_trip(request):
    line = pack_request(request)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert unpack_request(line) == request


@pytest.mark.parametrize("kind", [ServiceInfo, SessionInfo, SessionDetails, ListenerInfo])
@given(data=st.data(), number=st.integers())
def test_results_round_trip(kind, data, number):
    structure = data.draw(st.from_type(kind))
    said = unpack_answer(pack_result(number, structure))
    assert said.id == number
    assert from_json(kind, said.result) == structure


@given(st.from_type(Event), st.integers())
def test_events_round_trip(event, number):
    said = unpack_answer(pack_event(number, event))
    assert said == Happened(event)
    assert said.event.at == event.at


@given(st.integers() | st.none(), st.text(), st.text())
def test_errors_round_trip(number, code, reason):
    said = unpack_answer(pack_error(number, code, reason))
    assert (said.id, said.error.code, str(said.error)) == (number, code, reason)


def test_every_event_has_a_name():
    assert set(EVENTS.values()) == set(get_args(Event))
    assert EVENTS["session-logged-on"] is SessionLoggedOn


def test_fields_and_events_of_a_later_service_are_ignored():
    line = json.loads(pack_result(1, ServiceInfo(draining=True, stopping=False, sessions=1, connections=2)))
    line["result"]["mood"] = "good"
    assert from_json(ServiceInfo, unpack_answer(json.dumps(line).encode()).result).draining
    assert unpack_answer(b'{"version":1,"id":1,"event":{"event":"earthquake","at":1}}') == Happened(None)


# What is not as it should be


def refused(**message):
    with pytest.raises(RequestError) as error:
        unpack_request(json.dumps({"version": 1, "id": 7, **message}).encode())
    return error.value.request_id, error.value.code, str(error.value)


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        ({"version": 2, "call": "sessions"}, "version", "version 2, expected 1"),
        ({"version": None, "call": "sessions"}, "version", "version None, expected 1"),
        ({}, "bad-request", "unknown call None"),
        ({"call": "explode"}, "bad-request", "unknown call 'explode'"),
        ({"call": ["sessions"]}, "bad-request", "unknown call ['sessions']"),
        ({"call": "x" * 1000}, "bad-request", "unknown call '" + "x" * 39),
        ({"call": "sessions", "arguments": []}, "bad-request", "arguments are no object"),
        ({"call": "sessions", "arguments": {"all": 1}}, "bad-request", "unknown argument 'all'"),
        ({"call": "session"}, "bad-request", "argument session: missing"),
        ({"call": "session", "arguments": {"session": "3"}}, "bad-request", "argument session: str, expected int"),
        ({"call": "session", "arguments": {"session": True}}, "bad-request", "argument session: bool, expected int"),
        ({"call": "drain", "arguments": {"on": 1}}, "bad-request", "argument on: int, expected bool"),
        (
            {"call": "message", "arguments": {"session": 3, "text": None}},
            "bad-request",
            "argument text: NoneType, expected str",
        ),
        (
            {"call": "shadow", "arguments": {"target": 1, "viewer": "x", "control": False}},
            "bad-request",
            "argument viewer: str, expected int",
        ),
        ({"call": "sessions", "argument": {}}, "bad-request", "unknown field 'argument'"),
    ],
)
def test_a_wrong_request_is_answered_by_its_number_with_what_is_wrong(message, code, reason):
    assert refused(**message) == (7, code, reason)


@pytest.mark.parametrize("number", [None, "7", 7.5, True, [7]])
def test_a_request_without_a_number_is_answered_without_one(number):
    assert refused(id=number, call="sessions") == (None, "bad-request", "id is missing or no whole number")


def test_a_session_that_may_be_null_may_be_missing():
    line = b'{"version":1,"id":1,"call":"shadow","arguments":{"target":3,"control":true}}'
    assert unpack_request(line).arguments == {"target": 3, "viewer": None, "control": True}


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b"7", b"\xff", b"[" * 60000, b'{"id":' + b"9" * 5000 + b"}", b'{"version":1}' * 2]
)
def test_what_is_no_object_is_no_request_and_no_answer(line):
    with pytest.raises(RequestError) as error:
        unpack_request(line)
    assert (error.value.request_id, error.value.code) == (None, "bad-request")
    with pytest.raises(RemoteProtocolError):
        unpack_answer(line)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
words = st.sampled_from(["version", "id", "call", "arguments", "result", "error", "event", "code", "reason"])
lines = st.binary(max_size=200) | st.dictionaries(words, values | st.dictionaries(words, values), max_size=6).map(
    lambda message: json.dumps({"version": 1, **message}).encode()
)


@given(lines)
def test_any_line_is_a_request_or_refused(line):
    try:
        request = unpack_request(line)
    except RequestError:
        return
    assert unpack_request(pack_request(request)) == request


@given(lines)
def test_any_line_is_an_answer_or_raises_ours(line):
    try:
        said = unpack_answer(line)
    except RemoteProtocolError:
        return
    assert isinstance(said, Answer | Happened)


@given(st.sampled_from([ServiceInfo, SessionInfo, SessionDetails, ListenerInfo, *EVENTS.values()]), values, st.data())
def test_any_value_is_a_structure_or_raises_ours(kind, value, data):
    fields = {field.name: data.draw(values) for field in attrs.fields(kind)}
    for tried in (value, fields):
        try:
            made = from_json(kind, tried)
        except RemoteProtocolError:
            pass
        else:
            assert from_json(kind, protocol.to_json(made)) == made
