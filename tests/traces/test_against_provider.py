"""A trace against a provider: the service's calls are made again, and other answers than then are told."""

import attrs
import pytest
import trio
from trio.testing import MockClock

from rdpprov import api
from rdpprov.api import structures
from rdpprov.api.identity import UserToken
from rdpprov.errors import E_FAIL
from rdpprov.traces.against_provider import ReplayCallback, ReplayService, replay_service
from rdpprov.traces.dialogue import ReplayError
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
    to_json,
)
from tests.traces.support import FIRST, SEQUENCES, edited, figure_trace


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


@pytest.mark.parametrize("kind", ["RA2", "RA2_256", "RA2NE", "RA2NE_256"])
async def test_bytes_that_rsa_aes_has_keys_for_are_not_sent(kind):
    trace = greeting_trace()
    trace = attrs.evolve(trace, lines=(EventLine(0.0, "security", {"type": kind, "subtype": ""}), *trace.lines))
    with pytest.raises(ReplayError, match="logged on by RSA-AES"):
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
