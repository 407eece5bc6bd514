"""A trace against a service: its provider answers as it did, and calls back at the same places."""

import inspect
from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock

from rdpprov import api
from rdpprov.cli.replaying import against_service as replayed
from rdpprov.errors import E_FAIL
from rdpprov.traces import against_service
from rdpprov.traces.against_provider import ReplayCallback
from rdpprov.traces.against_service import TraceManager
from rdpprov.traces.dialogue import ReplayError
from rdpprov.traces.format import REDACTED, CallError, Outcome, Trace, TraceHeader, read_trace
from tests.traces.support import FIRST, GOOD, SEQUENCES, edited, figure_trace


@pytest.mark.parametrize("name", ["first_connection", "client_gone_in_a_call", "user_not_allowed", "provider_raises"])
def test_the_service_does_again_what_it_did(name):
    replay = replayed(read_trace(GOOD / f"{name}.jsonl"))
    assert replay.differences == []
    assert len(replay.exchanges) > 5


def test_an_answer_that_was_edited_shows_in_what_the_service_does():
    answer = {"protocol_name": "LINES", "user_name": "alice", "h_res": 640, "v_res": 200, "password": REDACTED}
    replay = replayed(edited(FIRST, "GetClientData", result=answer))
    (difference,) = replay.differences
    assert difference.where.endswith("LogonNotify")
    assert difference.recorded == "LogonNotify(settings.h_res=400)"
    assert difference.now == "LogonNotify(settings.h_res=640)"


def test_a_failure_that_was_edited_in_shows_what_the_service_does_not_do():
    trace = edited(FIRST, "GetVideoHandle", outcome=Outcome.FAILED, result=None, error=CallError(E_FAIL, "no screen"))
    text = replayed(trace).to_text(only_differences=True)
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


def test_every_method_of_the_api_can_be_played():
    for interface, played in against_service._PLAYED.items():
        assert not inspect.isabstract(played)
        for name, method in vars(interface).items():
            if inspect.iscoroutinefunction(method):
                assert inspect.signature(getattr(played, name)) == inspect.signature(method)
