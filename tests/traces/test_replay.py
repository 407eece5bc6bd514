"""Replay: what was recorded, played again against a provider, a service and a machine."""

import inspect
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from rdpprov import api
from rdpprov.api import enums, structures
from rdpprov.api.identity import ReconnectClaim, ReconnectMethod, UserToken
from rdpprov.cli.replaying import against_service
from rdpprov.errors import E_FAIL, RemoteProtocolError
from rdpprov.traces.figure import figure_trace
from rdpprov.traces.format import (
    REDACTED,
    CallError,
    CallLine,
    EventLine,
    Outcome,
    Trace,
    TraceHeader,
    WireLine,
    in_order,
    read_trace,
    to_json,
)
from rdpprov.traces.replay import (
    ReplayCallback,
    ReplayError,
    ReplayService,
    TraceManager,
    from_json,
    replay_machine,
    replay_service,
)
from rdpprov.traces.sequences import load_sequences

GOOD = Path(__file__).parent / "good"
FIRST = read_trace(GOOD / "first_connection.jsonl")
SEQUENCES = load_sequences()


def edited(trace: Trace, call: str, **changes) -> Trace:
    """The trace with one call changed."""
    return attrs.evolve(
        trace,
        lines=tuple(
            attrs.evolve(line, **changes) if isinstance(line, CallLine) and line.call == call else line
            for line in trace.lines
        ),
    )


# --- Against a service ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["first_connection", "client_gone_in_a_call", "user_not_allowed", "provider_raises"])
def test_the_service_does_again_what_it_did(name):
    replay = against_service(read_trace(GOOD / f"{name}.jsonl"))
    assert replay.differences == []
    assert len(replay.exchanges) > 5


def test_an_answer_that_was_edited_shows_in_what_the_service_does():
    answer = {"protocol_name": "LINES", "user_name": "alice", "h_res": 640, "v_res": 200, "password": REDACTED}
    replay = against_service(edited(FIRST, "GetClientData", result=answer))
    (difference,) = replay.differences
    assert difference.where.endswith("LogonNotify")
    assert difference.recorded == "LogonNotify(settings.h_res=400)"
    assert difference.now == "LogonNotify(settings.h_res=640)"


def test_a_failure_that_was_edited_in_shows_what_the_service_does_not_do():
    trace = edited(FIRST, "GetVideoHandle", outcome=Outcome.FAILED, result=None, error=CallError(E_FAIL, "no screen"))
    text = against_service(trace).to_text(only_differences=True)
    assert (
        "service -> connection ConnectNotify\n    recorded: ConnectNotify(session_id=1)\n    now:      was not called\n"
        in text
    )


class StubService(api.ProtocolListenerCallback):
    """A service that makes the calls that it is told to make."""

    def __init__(self, calls: Sequence[tuple]) -> None:
        self.calls = calls
        self.raised: list[str] = []
        self.callback = ReplayCallback(FIRST)

    async def on_connected(self, connection, settings):
        self.connection = connection
        return self.callback

    async def make_calls(self) -> None:
        for name, *args in self.calls:
            try:
                with trio.fail_after(1):
                    await getattr(self.connection, name)(*args)
            except Exception as error:
                self.raised.append(f"{name}: {type(error).__name__}")


async def played_to(service: StubService, trace: Trace) -> tuple:
    """The listener's dialogue with a service that makes its calls and then stops."""
    settings = _Settings({"trace": trace})
    manager = TraceManager()
    await manager.initialize(settings, api.Settings())
    listener = await manager.create_listener("desk")
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: listener.start_listen(service, task_status=task_status))
        await trio.testing.wait_all_tasks_blocked()
        await service.make_calls()
        await trio.testing.wait_all_tasks_blocked()
        await listener.stop_listen()
    return listener.replay


class _Settings(api.ProtocolSettings):
    def __init__(self, options) -> None:
        self.options = options

    def get_settings(self, setting_type, level=None):
        return api.Settings()

    def merge_settings(self, settings, connection_settings, level=None):
        return connection_settings

    @property
    def authenticator(self):
        raise AssertionError("nobody logs on")

    def listener_options(self, listener_name):
        return self.options


async def test_the_provider_of_a_trace_fails_as_recorded(autojump_clock: MockClock):
    trace = figure_trace(
        [*SEQUENCES.first_connection()[:6], *SEQUENCES.disconnect(session=False)],
        failures={
            "GetLogonErrorRedirector": CallError(0x80004001),
            "GetClientData": CallError(0x8000FFFF, "KeyError", "KeyError"),
            "GetClientMonitorData": CallError(E_FAIL, "no"),
            "AcceptConnection": CallError(0x800705B4, "no answer within its limit"),
        },
    )
    service = StubService(
        [
            ("get_logon_error_redirector",),
            ("accept_connection",),
            ("get_client_data",),
            ("get_client_monitor_data",),
            ("get_last_input_time",),
            ("close",),
        ]
    )
    replay = await played_to(service, trace)
    assert service.raised == [
        "get_logon_error_redirector: NotImplementedByProvider",
        "accept_connection: TooSlowError",
        "get_client_data: RuntimeError",
        "get_client_monitor_data: HResultError",
        "get_last_input_time: NotImplementedByProvider",
    ]
    assert replay.differences == []
    assert service.callback.count("OnReady") == 1


async def test_steps_that_the_service_leaves_out_or_adds_are_differences(autojump_clock: MockClock):
    trace = figure_trace([*SEQUENCES.first_connection()[:6], *SEQUENCES.disconnect(session=False)])
    service = StubService([("get_logon_error_redirector",), ("get_client_data",), ("pre_disconnect", 7), ("close",)])
    replay = await played_to(service, trace)
    assert [(one.where, one.recorded, one.now) for one in replay.differences] == [
        ("4 service -> connection AcceptConnection", "AcceptConnection()", "was not called"),
        ("service -> PreDisconnect", "nothing", "PreDisconnect(reason=7)"),
        ("6 service -> connection GetClientMonitorData", "GetClientMonitorData()", "was not called"),
    ]


async def test_a_listener_of_the_trace_provider_needs_a_trace(tmp_path):
    for options in ({}, {"trace": Trace(TraceHeader("service"), ())}, {"trace": 7}):
        manager = TraceManager()
        await manager.initialize(_Settings(options), api.Settings())
        with pytest.raises(ReplayError, match="option trace has to name the trace of a connection"):
            await manager.create_listener("desk")


# --- Against a provider -----------------------------------------------------------------------------------------------


class GreetingConnection(api.ProtocolConnection):
    """A provider whose client says its name in a line."""

    def __init__(self, stream: trio.SocketStream, name: str) -> None:
        self.stream, self.name = stream, name

    async def accept_connection(self) -> None:
        pass

    async def get_client_data(self) -> api.ClientData:
        return api.ClientData(client_name=self.name, client_sock_address=structures.SockAddr(port=self.port))

    async def get_user_credentials(self) -> api.UserCredential:
        return api.UserCredential(self.name, "hunter2")

    async def logon_notify(self, user, user_name, domain_name, session_id, settings):
        return attrs.evolve(settings, max_idle_time=session_id.session_id)

    async def close(self) -> None:
        await self.stream.aclose()

    @property
    def port(self) -> int:
        return self.stream.socket.getpeername()[1]


class GreetingListener(api.ProtocolListener):
    stopped: trio.CancelScope

    async def start_listen(self, callback, *, task_status) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.bound_addresses = [listener.socket.getsockname()[:2]]
        self.stopped = trio.CancelScope()

        async def serve(stream: trio.SocketStream) -> None:
            name = (await stream.receive_some(100)).decode().strip()
            service = await callback.on_connected(
                GreetingConnection(stream, name), api.ConnectionSettings(user_name=name)
            )
            service.on_ready()
            try:
                while await stream.receive_some(100):
                    pass
            except trio.ClosedResourceError:
                return
            service.broken_connection()

        async with trio.open_nursery() as clients:
            with self.stopped:
                await trio.serve_listeners(serve, [listener], handler_nursery=clients, task_status=task_status)

    async def stop_listen(self) -> None:
        self.stopped.cancel()


class GreetingManager(api.ProtocolManager):
    async def create_listener(self, listener_name: str) -> GreetingListener:
        return GreetingListener()


TOKEN = UserToken("ann", how="password")
SESSION = {"session_unique_guid": "3f0c9a52-56cc-4f1e-9f1d-6e0d2a7f4b11", "session_id": 3}


def greeting_trace() -> Trace:
    """What the service records with the provider above."""
    answers = {
        "OnConnected": "<ConnectionCallback>",
        "GetClientData": {"client_name": "ann", "client_sock_address": {"port": 4711}, "password": REDACTED},
        "GetClientMonitorData": [1, 0],
        "GetUserCredentials": {"user_name": "ann", "password": REDACTED},
        "GetLicenseConnection": "<AlwaysLicensed>",
        "RequestLicensingCapabilities": {},
        "LogonNotify": {"user_name": "ann", "max_idle_time": 3, "password": REDACTED},
    }
    session = {"session_id": 3}
    args = {
        "OnConnected": {"connection": "<GreetingConnection>", "settings": {"user_name": "ann", "password": REDACTED}},
        "ProtocolComplete": {"complete": 1},
        "NotifySessionId": {"session_id": SESSION, "session_handle": 3},
        "ConnectNotify": session,
        "NotifyCommandProcessCreated": session,
        "IsUserAllowedToLogon": {**session, "user": to_json(TOKEN), "domain_name": "", "user_name": "ann"},
        "SessionArbitrationEnumeration": {"user": to_json(TOKEN), "single_session_per_user_enabled": True},
        "LogonNotify": {
            "user": to_json(TOKEN),
            "user_name": "ann",
            "domain_name": "",
            "session_id": SESSION,
            "settings": {"user_name": "ann", "password": REDACTED},
        },
        "PreDisconnect": {"reason": 4502},
    }
    not_implemented = (
        "GetLogonErrorRedirector",
        "AuthenticateClientToSession",
        "GetInputHandles",
        "GetVideoHandle",
        "SessionArbitrationEnumeration",
    )
    trace = figure_trace(
        [*SEQUENCES.first_connection(), *SEQUENCES.disconnect()],
        failures={name: CallError(0x80004001) for name in not_implemented},
    )
    calls = [attrs.evolve(call, args=args.get(call.call, {}), result=answers.get(call.call)) for call in trace.calls]
    logged_on = calls[-4]
    gone = CallLine(0, logged_on.t + 0.0015, 0.0001, "connection", "service", "BrokenConnection")
    numbered = [attrs.evolve(call, n=n) for n, call in enumerate([*calls[:-3], gone, *calls[-3:]], start=1)]
    wire = (WireLine(0.0001, "in", b"ann\n"), WireLine(logged_on.t + 0.0012, "in", b"bye\n"))
    return in_order(Trace(TraceHeader("connection", "greeting", "desk"), (*numbered, *wire)))


async def test_a_provider_answers_again_what_it_answered():
    with trio.fail_after(20):
        replay = await ReplayService(greeting_trace(), GreetingManager()).run()
    assert replay.to_text(only_differences=True) == ""
    assert [one.where.split()[-1] for one in replay.exchanges] == [call.call for call in greeting_trace().calls]


@pytest.mark.parametrize(
    ("call", "changes", "recorded", "now"),
    [
        ("GetClientMonitorData", {"result": [2, 0]}, "returned [0]=2", "returned [0]=1"),
        (
            "GetClientData",
            {"result": {"client_name": "bob", "h_res": 5}},
            "returned client_name=bob, h_res=5, client_sock_address=(its default), password=(its default)",
            "returned client_name=ann, h_res=(its default), client_sock_address={port=",
        ),
        (
            "AcceptConnection",
            {"outcome": Outcome.FAILED, "error": CallError(E_FAIL, "full")},
            "failed: 0x80004005",
            "returned",
        ),
        (
            "GetVideoHandle",
            {"outcome": Outcome.RETURNED, "error": None, "result": "<X>"},
            "returned <X>",
            "failed: 0x80004001",
        ),
        (
            "LogonNotify",
            {"result": {"user_name": "ann", "max_idle_time": 4, "password": REDACTED}},
            "returned max_idle_time=4",
            "returned max_idle_time=3",
        ),
    ],
)
async def test_an_edited_answer_is_a_difference_told_with_both_sides(call, changes, recorded, now):
    with trio.fail_after(20):
        replay = await ReplayService(edited(greeting_trace(), call, **changes), GreetingManager()).run()
    (difference,) = replay.differences
    assert difference.where.endswith(call)
    assert difference.recorded == recorded
    assert difference.now.startswith(now)
    assert f"    recorded: {recorded}\n    now:      {now}" in replay.to_text()


async def test_a_client_of_the_callers_own_takes_the_place_of_the_recorded_bytes():
    trace = attrs.evolve(greeting_trace(), lines=greeting_trace().calls)
    service = ReplayService(trace, GreetingManager())

    async def client(addresses) -> None:
        stream = await trio.open_tcp_stream(*addresses[0])
        await stream.send_all(b"ann\n")
        (gone,) = (call for call in trace.calls if call.call == "BrokenConnection")
        await service.reached(gone.t)
        await stream.aclose()

    with trio.fail_after(20):
        replay = await service.run(client)
    assert replay.differences == []


async def test_a_client_that_does_not_come_is_an_error(autojump_clock: MockClock):
    async def client(addresses) -> None:
        return

    with pytest.raises(ReplayError, match="no client has come within 5 s"):
        await ReplayService(greeting_trace(), GreetingManager()).run(client)


async def test_a_trace_without_bytes_needs_a_client():
    with pytest.raises(ReplayError, match="no bytes that a client sent"):
        await ReplayService(FIRST, GreetingManager()).run()


async def test_bytes_that_were_inside_tls_are_not_sent_in_the_open():
    trace = greeting_trace()
    trace = attrs.evolve(trace, lines=(EventLine(0.0, "tls", {"version": "TLSv1.3"}), *trace.lines))
    with pytest.raises(ReplayError, match="inside TLS"):
        await ReplayService(trace, GreetingManager()).run()


async def test_a_callback_that_does_not_come_is_a_difference(autojump_clock: MockClock):
    connection = GreetingConnection.__new__(GreetingConnection)
    trace = attrs.evolve(FIRST, lines=FIRST.calls[:3])
    replay = await replay_service(trace, connection, ReplayCallback(trace))
    (difference,) = replay.differences
    assert (difference.where, difference.now) == ("3 connection -> service OnReady", "did not come")


async def test_a_provider_that_hangs_is_a_difference(autojump_clock: MockClock):
    class Hanging(GreetingConnection):
        async def get_client_monitor_data(self):
            await trio.sleep_forever()

    trace = attrs.evolve(FIRST, lines=tuple(call for call in FIRST.calls if call.call == "GetClientMonitorData"))
    replay = await replay_service(trace, Hanging.__new__(Hanging), ReplayCallback(trace))
    (difference,) = replay.differences
    assert (difference.recorded, difference.now) == ("returned [1, 0]", "failed: 0x800705B4")


def test_a_service_trace_has_no_connection_to_replay():
    trace = figure_trace(SEQUENCES["start"].steps(), kind="service")
    with pytest.raises(ReplayError, match="no connection"):
        ReplayService(trace, GreetingManager())


# --- A client's bytes against a machine -------------------------------------------------------------------------------


class UpperMachine:
    """Sends every line back in capitals."""

    def __init__(self) -> None:
        self.received, self.to_send = b"", b""

    def receive_data(self, data: bytes) -> None:
        self.received += data

    def next_event(self) -> object:
        line, newline, rest = self.received.partition(b"\n")
        if not newline:
            return None
        if line == b"bad":
            raise RemoteProtocolError("no such line")
        self.received = rest
        return line

    def data_to_send(self) -> bytes:
        data, self.to_send = self.to_send, b""
        return data


def respond(machine: UpperMachine, event: bytes | None) -> bool:
    if event is not None:
        machine.to_send += event.upper() + b"\n"
    return event is not None


def wire_trace(*lines: tuple[str, bytes]) -> Trace:
    wire = tuple(WireLine(number / 10, direction, data) for number, (direction, data) in enumerate(lines))
    return Trace(TraceHeader("connection"), wire)


def test_a_machine_sends_again_what_was_sent_however_it_was_cut():
    trace = wire_trace(("in", b"one\ntw"), ("in", b"o\n"), ("out", b"ONE\nT"), ("out", b"WO\n"))
    assert replay_machine(trace, UpperMachine, respond=respond).differences == []


def test_other_bytes_are_a_difference_told_with_both_sides():
    replay = replay_machine(wire_trace(("in", b"one\n"), ("out", b"ONE!")), UpperMachine, respond=respond)
    (difference,) = replay.differences
    assert (difference.recorded, difference.now) == ("4 bytes 4f 4e 45 21", "4 bytes 4f 4e 45 0a")


def test_too_many_and_too_few_bytes_are_differences():
    (more,) = replay_machine(wire_trace(("in", b"a\nb\n"), ("out", b"A\n")), UpperMachine, respond=respond).differences
    assert (more.where, more.now) == ("after the last line", "2 bytes 42 0a")
    (fewer,) = replay_machine(wire_trace(("in", b"a"), ("out", b"A\n")), UpperMachine, respond=respond).differences
    assert (fewer.recorded, fewer.now) == ("2 bytes 41 0a", "nothing")


def test_a_machine_that_raises_is_a_difference():
    (difference,) = replay_machine(wire_trace(("in", b"bad\n")), UpperMachine, respond=respond).differences
    assert difference.now == "raised RemoteProtocolError: no such line"


def test_a_trace_without_bytes_cannot_be_fed_to_a_machine():
    with pytest.raises(ReplayError, match="no bytes"):
        replay_machine(FIRST, UpperMachine, respond=respond)


# --- Values -----------------------------------------------------------------------------------------------------------

short_text = st.text(st.characters(codec="utf-8"), max_size=8)
small = st.integers(0, 100)
plain_structures = st.one_of(
    st.builds(
        structures.ClientData,
        client_name=short_text,
        h_res=small,
        disable_cdm=st.booleans(),
        client_sock_address=st.builds(structures.SockAddr, st.sampled_from(enums.AddressFamily), short_text, small),
        client_time_zone=st.builds(structures.TimeZoneInformation, st.integers(-700, 700), short_text),
    ),
    st.builds(structures.ConnectionSettings, max_idle_time=small, context_data=st.binary(max_size=32)),
    st.builds(structures.SessionId, st.uuids(), small),
    st.builds(structures.LicenseCapabilities, client_name=short_text, authenticate_server=st.booleans()),
    st.builds(structures.ServiceState, st.sampled_from(enums.RcmServiceState), st.sampled_from(enums.RcmDrainState)),
    st.builds(structures.PropertyValue, st.integers(0, 9) | short_text | st.uuids()),
    st.builds(structures.ProtocolStatus, counters=st.tuples(small, small)),
    st.builds(UserToken, short_text, groups=st.frozensets(short_text, max_size=3)),
)


@given(plain_structures)
def test_a_structure_without_secrets_comes_back_from_a_trace(value):
    again = from_json(to_json(value), type(value))
    if isinstance(value, structures.PropertyValue):
        assert str(again.value) == str(value.value)  # a UUID and its text are one in JSON
    else:
        assert again == value


def test_secrets_come_from_whoever_has_them_and_else_are_of_no_use():
    recorded = to_json(api.UserCredential("ann", "hunter2"))
    assert from_json(recorded, api.UserCredential) == api.UserCredential("ann", "")
    assert from_json(recorded, api.UserCredential, {"password": "other"}) == api.UserCredential("ann", "other")
    claim = to_json(ReconnectClaim(3, b"v" * 16, ReconnectMethod.HMAC_MD5, b"c"))
    assert from_json(claim, ReconnectClaim) == ReconnectClaim(3, bytes(16), ReconnectMethod.HMAC_MD5)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ({"session_id": -1}, structures.SessionId),
        ({"session_unique_guid": "x"}, structures.SessionId),
        ("text", structures.ClientData),
        ({"hex": "0g"}, bytes),
        ({}, bytes),
        ("PURPLE", enums.RcmServiceState),
        ([1, 2], int),
        ({"a": 1}, structures.PropertyValue),
    ],
)
def test_a_value_that_does_not_fit_is_our_error(value, hint):
    with pytest.raises(ReplayError):
        from_json(value, hint)


def test_every_method_of_the_api_can_be_played():
    from rdpprov.traces import replay

    for interface, played in replay._PLAYED.items():
        assert not inspect.isabstract(played)
        for name, method in vars(interface).items():
            if inspect.iscoroutinefunction(method):
                assert inspect.signature(getattr(played, name)) == inspect.signature(method)
