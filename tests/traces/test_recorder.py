"""Recorders: what they write, when it can be read, and what never gets into a trace."""

import inspect
import json
import os
import resource
import signal
import stat
import uuid
from pathlib import Path

import attrs
import pytest
import trio
from structlog.testing import capture_logs

import rdpprov.api.devices
import rdpprov.api.identity
import rdpprov.api.structures
from rdpprov.errors import E_ABORT, E_FAIL, E_NOTIMPL, E_UNEXPECTED, HResultError, NotImplementedByProvider
from rdpprov.traces.format import REDACTED, CallError, Outcome, TraceHeader, is_secret, read_trace
from rdpprov.traces.recorder import (
    E_TIMEOUT,
    HELD_LINES,
    HELD_WIRE_BYTES,
    FileRecorder,
    MemoryRecorder,
    NullRecorder,
    TraceDirectory,
    error_of,
)

CANARY = "hunter2-canary"


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def recorder_in(path: Path, clock: Clock, **options) -> FileRecorder:
    return FileRecorder(path, TraceHeader("connection", "rdp", "desk"), clock, **options)


def test_calls_events_and_bytes_are_in_the_file_with_their_times(tmp_path, clock):
    recorder = recorder_in(tmp_path / "trace.jsonl", clock, wire=True)
    recorder.event("tls", version="TLSv1.3", ago=0.5)
    clock.now += 0.25
    opened = recorder.call("service", "connection", "GetClientMonitorData", {"why": "because"})
    clock.now += 0.125
    opened.returned((2, 0))
    recorder.wire("in", b"\x03\x00")
    recorder.close()
    lines = [json.loads(line) for line in (tmp_path / "trace.jsonl").read_text().splitlines()]
    started = lines[0].pop("started")
    assert started.endswith("+00:00")
    assert lines == [
        {"trace": "rdpprov", "version": 1, "kind": "connection", "protocol": "rdp", "listener": "desk"},
        {"t": -0.5, "event": "tls", "version": "TLSv1.3"},
        {
            "n": 1,
            "t": 0.25,
            "d": 0.125,
            "from": "service",
            "to": "connection",
            "call": "GetClientMonitorData",
            "args": {"why": "because"},
            "result": [2, 0],
        },
        {"t": 0.375, "wire": "in", "data": "AwA="},
    ]


def test_a_file_and_a_memory_recorder_tell_the_same(tmp_path, clock):
    memory = MemoryRecorder(TraceHeader("connection", "rdp", "desk"), clock, wire=True)
    file = recorder_in(tmp_path / "trace.jsonl", clock, wire=True)
    for recorder in (memory, file):
        clock.now = 100.0
        outer = recorder.call(
            "listener", "service", "OnConnected", {"settings": rdpprov.api.structures.ConnectionSettings()}
        )
        clock.now += 1
        recorder.event("state", name="connecting")
        inner = recorder.call("service", "connection", "GetLogonErrorRedirector", {})
        inner.failed(NotImplementedByProvider("none"))
        recorder.wire("out", b"hello")
        outer.returned(object())
        recorder.call("service", "connection", "Close", {"text": 'with "quotes" and é'})
        recorder.close()
    written = read_trace(tmp_path / "trace.jsonl")
    assert written.lines == memory.trace().lines
    assert [line.line_number for line in written.lines] == [line.line_number for line in memory.trace().lines]


def test_calls_are_numbered_by_their_start_and_written_when_they_return(tmp_path, clock):
    recorder = recorder_in(tmp_path / "trace.jsonl", clock)
    first = recorder.call("listener", "service", "OnConnected", {})
    recorder.call("service", "connection", "GetLogonErrorRedirector", {}).returned()
    first.returned()
    recorder.close()
    trace = read_trace(tmp_path / "trace.jsonl")
    assert [(call.n, call.call, call.line_number) for call in trace.calls] == [
        (1, "OnConnected", 3),
        (2, "GetLogonErrorRedirector", 2),
    ]


def test_a_call_that_is_open_at_the_end_is_written_without_an_answer(tmp_path, clock):
    recorder = recorder_in(tmp_path / "trace.jsonl", clock)
    opened = recorder.call("service", "connection", "Close", {})
    recorder.close()
    opened.returned()  # too late
    recorder.call("service", "connection", "Close", {}).returned()
    recorder.event("late")
    recorder.close()
    (call,) = read_trace(tmp_path / "trace.jsonl").lines
    assert (call.outcome, call.d) == (Outcome.OPEN, None)


class Unheard(BaseException):
    pass


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NotImplementedByProvider("GetVideoHandle"), CallError(E_NOTIMPL, "GetVideoHandle")),
        (HResultError("no license"), CallError(E_FAIL, "no license")),
        (trio.TooSlowError(), CallError(E_TIMEOUT, "no answer within its limit")),
        (TimeoutError(), CallError(E_TIMEOUT, "no answer within its limit")),
        (Unheard(), CallError(E_ABORT, "cancelled")),
        (KeyError(CANARY), CallError(E_UNEXPECTED, "KeyError", "KeyError")),
        (ExceptionGroup(CANARY, [ValueError(CANARY)]), CallError(E_UNEXPECTED, "ExceptionGroup", "ExceptionGroup")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failure_is_told_by_its_hresult_and_a_foreign_one_by_its_class_alone(error, expected):
    assert error_of(error) == expected


async def test_a_cancelled_call_is_told_as_given_up(clock):
    recorder = MemoryRecorder(clock=clock)
    with trio.CancelScope() as scope:
        scope.cancel()
        opened = recorder.call("service", "connection", "GetClientData", {})
        try:
            await trio.lowlevel.checkpoint()
        except BaseException as error:
            opened.failed(error)
            raise
    (call,) = recorder.trace().calls
    assert call.error == CallError(E_ABORT, "cancelled")


@pytest.mark.parametrize("call", ["LogonNotify", "StartListen", "Close"])
def test_the_file_can_be_read_when_somebody_may_want_to(tmp_path, clock, call):
    recorder = recorder_in(tmp_path / "trace.jsonl", clock)
    recorder.call("service", "connection", "GetClientData", {}).returned()
    recorder.call("service", "connection", call, {}).returned()
    assert [line.call for line in read_trace(tmp_path / "trace.jsonl").calls] == ["GetClientData", call]


def test_the_file_can_be_read_after_a_failure_but_not_every_e_notimpl_is_one(tmp_path, clock):
    recorder = recorder_in(tmp_path / "trace.jsonl", clock)
    recorder.call("service", "connection", "GetUserCredentials", {}).failed(NotImplementedByProvider())
    assert (tmp_path / "trace.jsonl").read_bytes() == b""
    recorder.call("service", "connection", "GetVideoHandle", {}).failed(HResultError("no"))
    assert len(read_trace(tmp_path / "trace.jsonl").calls) == 2


def test_what_is_held_in_memory_is_bounded(tmp_path, clock):
    recorder = recorder_in(tmp_path / "trace.jsonl", clock, wire=True)
    for _ in range(100):
        recorder.wire("out", bytes(16384))
    base64 = 100 * 16384 * 4 // 3
    assert (tmp_path / "trace.jsonl").stat().st_size > base64 - 2 * HELD_WIRE_BYTES
    recorder = recorder_in(tmp_path / "calls.jsonl", clock)
    for _ in range(1000):
        recorder.call("service", "connection", "GetProtocolStatus", {}).returned()
    assert len((tmp_path / "calls.jsonl").read_bytes().splitlines()) > 1000 - HELD_LINES


def test_what_may_change_is_written_as_it_was(tmp_path, clock):
    recorder = recorder_in(tmp_path / "trace.jsonl", clock)
    changing = [1]
    opened = recorder.call("service", "connection", "SomeCall", {"ids": changing})
    changing.append(2)
    opened.returned(changing)
    changing.append(3)
    recorder.event("milestone", ids=changing)
    changing.append(4)
    recorder.flush()
    call, milestone = read_trace(tmp_path / "trace.jsonl").lines
    assert (call.args, call.result, milestone.fields) == ({"ids": [1]}, [1, 2], {"ids": [1, 2, 3]})


def test_no_secret_waits_in_memory_for_the_file(tmp_path, clock):
    recorder = recorder_in(tmp_path / "trace.jsonl", clock)
    recorder.event("milestone", password=CANARY)
    opened = recorder.call("service", "connection", "SomeCall", {"secret": CANARY})
    opened.returned()
    assert CANARY not in repr((recorder._held, opened.args))


def test_bytes_are_not_recorded_unless_somebody_asked(clock):
    recorder = MemoryRecorder(clock=clock)
    recorder.wire("in", b"secret")
    assert not recorder.records_wire
    assert recorder.trace().lines == ()


def test_a_recorder_whose_file_takes_no_more_goes_on_without_it(tmp_path, clock):
    recorder = recorder_in(tmp_path / "trace.jsonl", clock, wire=True)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))
        with capture_logs() as logged:  # which, here, go to a file under the same limit
            recorder.call("service", "connection", "LogonNotify", {}).returned()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert [entry["event"] for entry in logged] == ["trace ends early"]
    assert not recorder.records_wire
    recorder.call("service", "connection", "Close", {}).returned()
    recorder.close()


def test_a_null_recorder_takes_anything():
    recorder = NullRecorder()
    opened = recorder.call("service", "connection", "Close", {})
    opened.returned()
    opened.failed(ValueError())
    recorder.event("tls", at=object())
    recorder.wire("in", b"")
    recorder.flush()
    recorder.close()
    assert not recorder.records_wire


# --- Files ------------------------------------------------------------------------------------------------------------


def test_traces_are_private_to_their_owner(tmp_path):
    directory = TraceDirectory(tmp_path / "deep" / "traces")
    directory.connection_recorder("rdp", "desk", 7).close()
    assert stat.S_IMODE((tmp_path / "deep" / "traces").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "deep" / "traces" / "desk-1-7.jsonl").stat().st_mode) == 0o600


def test_traces_are_named_after_listener_worker_and_connection(tmp_path):
    directory = TraceDirectory(tmp_path, worker=3)
    directory.service_recorder().close()
    directory.connection_recorder("rdp", "desk", 7).close()
    assert sorted(os.listdir(tmp_path)) == ["desk-3-7.jsonl", "service-3.jsonl"]
    header = read_trace(tmp_path / "desk-3-7.jsonl").header
    assert (header.kind, header.protocol, header.listener) == ("connection", "rdp", "desk")
    assert read_trace(tmp_path / "service-3.jsonl").header.kind == "service"


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a/b", "..", ".hidden", "ä b\n", "x" * 32, "\U0001f5a5" * 32, "%2F", ""]
)
def test_no_listener_name_leads_out_of_the_directory(tmp_path, name):
    directory = TraceDirectory(tmp_path / "traces")
    directory.connection_recorder("rdp", name, 1).close()
    (file,) = tmp_path.rglob("*.jsonl")
    assert file.parent == tmp_path / "traces"
    assert not file.name.startswith(".")
    assert read_trace(file).header.listener == name


def test_different_listener_names_have_different_files(tmp_path):
    directory = TraceDirectory(tmp_path)
    for name in ("a/b", "a_b", "a%2Fb", "A/b"):
        directory.connection_recorder("rdp", name, 1).close()
    assert len(os.listdir(tmp_path)) == 4


def test_what_an_earlier_run_left_is_moved_aside(tmp_path):
    for run in range(3):
        recorder = TraceDirectory(tmp_path).connection_recorder("rdp", "desk", 1)
        recorder.event("run", number=run)
        recorder.close()
    found = {name: read_trace(tmp_path / name).events[0].fields["number"] for name in os.listdir(tmp_path)}
    assert found == {"desk-1-1.1.jsonl": 0, "desk-1-1.2.jsonl": 1, "desk-1-1.jsonl": 2}


def test_a_trace_is_not_written_through_a_link(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    traces = tmp_path / "traces"
    directory = TraceDirectory(traces)
    (traces / "desk-1-1.jsonl").symlink_to(victim)
    directory.connection_recorder("rdp", "desk", 1).close()
    assert victim.read_text() == "precious"
    assert read_trace(traces / "desk-1-1.jsonl").header.listener == "desk"


def test_without_a_directory_there_is_no_trace_and_no_error(tmp_path):
    directory = TraceDirectory(tmp_path / "traces")
    (tmp_path / "traces").rmdir()
    recorder = directory.connection_recorder("rdp", "desk", 1)
    recorder.call("service", "connection", "Close", {}).returned()
    recorder.close()


# --- Secrets ----------------------------------------------------------------------------------------------------------


def structures() -> list[type]:
    """Every attrs class of the API, by name: parallel test processes have to agree about the order."""
    modules = (rdpprov.api.structures, rdpprov.api.identity, rdpprov.api.devices)
    classes = {
        kind
        for module in modules
        for _name, kind in inspect.getmembers(module, inspect.isclass)
        if attrs.has(kind) and kind.__module__ == module.__name__
    }
    return sorted(classes, key=lambda kind: kind.__name__)


SECRET_WORDS = ("password", "secret", "verifier", "challenge", "proof", "pin", "key", "hash", "verdict")


@pytest.mark.parametrize("kind", structures())
def test_a_field_whose_name_sounds_secret_says_whether_it_is(kind):
    # These have one of the words in their names and hold no secret.
    harmless = {"prompt_for_password", "password_is_sc_pin", "enable_windows_key", "proof", "keyboard_function_key"}
    harmless |= {"key_exchange_alg"} | {
        field.name for field in attrs.fields(kind) if field.name.startswith("keyboard_")
    }
    for field in attrs.fields(kind):
        if field.name not in harmless and any(word in field.name for word in SECRET_WORDS):
            assert is_secret(field), f"{kind.__name__}.{field.name}"


def with_canaries() -> list[object]:
    """Each structure that has secret fields, with a canary in each of them."""
    found: list[object] = []
    for kind in structures():
        values = {}
        for field in attrs.fields(kind):
            if is_secret(field):
                sample = {"bytes": CANARY.encode(), "UUID": uuid.UUID(bytes=CANARY.encode().ljust(16)[:16])}
                name = getattr(field.type, "__name__", "str")
                values[field.name] = sample.get(name, CANARY)
            elif field.default is attrs.NOTHING:
                values[field.name] = rdpprov.api.identity.UserToken("ann") if field.name == "token" else 1
        if any(is_secret(field) for field in attrs.fields(kind)):
            found.append(kind(**values))
    return found


def test_there_are_secrets_to_look_for():
    names = {type(value).__name__ for value in with_canaries()}
    assert names >= {"ClientData", "ConnectionSettings", "UserCredential", "ReconnectSecret", "ReconnectClaim"}


@pytest.mark.parametrize("value", with_canaries(), ids=lambda value: type(value).__name__)
def test_no_secret_of_the_api_gets_into_a_trace(tmp_path, clock, value):
    recorder = recorder_in(tmp_path / "trace.jsonl", clock, wire=True)
    recorder.call("service", "connection", "Call", {"value": value, "deep": [{"x": (value,)}]}).returned(value)
    recorder.call("service", "connection", "Call", {"password": CANARY}).returned({"secret": CANARY.encode()})
    recorder.call("service", "connection", "Call", {}).failed(KeyError(value))
    recorder.call("service", "connection", "Call", {}).failed(ValueError(CANARY))
    recorder.event("logon", credential=value, password=CANARY)
    recorder.call("service", "connection", "Open", {"value": value})
    recorder.close()
    written = (tmp_path / "trace.jsonl").read_bytes()
    for form in (
        CANARY.encode(),
        CANARY.encode().hex().encode(),
        uuid.UUID(bytes=CANARY.encode().ljust(16)[:16]).hex[:8].encode(),
    ):
        assert form not in written
    assert written.count(REDACTED.encode()) >= 6


def test_a_proof_inside_a_credential_is_told_without_its_verdict(clock):
    token = rdpprov.api.identity.UserToken("ann", how="ntlm")
    credential = rdpprov.api.structures.UserCredential(
        "ann", CANARY, proof=rdpprov.api.identity.AuthenticatedUser(token)
    )
    recorder = MemoryRecorder(clock=clock)
    recorder.call("service", "connection", "GetUserCredentials", {}).returned(credential)
    assert recorder.trace().calls[0].result == {
        "user_name": "ann",
        "password": REDACTED,
        "proof": {"token": {"name": "ann", "how": "ntlm"}, "verdict": REDACTED},
    }
