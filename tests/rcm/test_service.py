"""Start and stop, listeners that fail, limits on how many, providers that misbehave."""

import errno
import threading

import attrs
import pytest
import structlog
import trio
import trio.testing

from rdpprov.api.devices import ScancodeKey
from rdpprov.api.listener import ProtocolListener
from rdpprov.api.manager import ProtocolManager
from rdpprov.api.structures import ClientData, ConnectionSettings, ListenerSettings, UserCredential
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import ConfigurationError, HResultError, ProviderLoadError
from rdpprov.rcm.configuration import Limits, ListenerConfiguration, Policies
from rdpprov.rcm.loader import faults_of, load_protocol
from rdpprov.testing.scripted import (
    HANGS,
    PROTOCOL,
    Fails,
    ScriptedConnection,
    ScriptedListener,
    ScriptedManager,
    ScriptedProvider,
    Takes,
)
from rdpprov.traces.format import EventLine, read_trace
from rdpprov.traces.recorder import TraceDirectory

ANN = {"GetUserCredentials": UserCredential("ann", "right")}


class OtherManager(ScriptedManager):
    """Another class is another manager."""


def told(client):
    return client.args_of("SetErrorInfo")[0]


# Start


async def test_listeners_of_one_class_share_a_manager_and_others_have_their_own(autojump_clock, checked, monkeypatch):
    monkeypatch.setattr("rdpprov.testing.scripted.OtherManager", OtherManager, raising=False)
    other = "rdpprov.testing.scripted:OtherManager"
    listeners = [
        ListenerConfiguration("one", PROTOCOL, {"port": 1}),
        ListenerConfiguration("two", PROTOCOL, {"port": 2}),
        ListenerConfiguration("three", other, {"port": 3}),
    ]
    provider = ScriptedProvider(listeners=listeners)
    async with provider.service():
        assert [type(manager) for manager in provider.managers] == [ScriptedManager, OtherManager]
        assert [(ready.name, ready.address, ready.port) for ready in provider.ready] == [
            ("one", "127.0.0.1", 3389),
            ("two", "127.0.0.1", 3389),
            ("three", "127.0.0.1", 3389),
        ]
        settings = provider.managers[0].settings
        assert settings.listener_options("two") == {"port": 2}
        with pytest.raises(HResultError, match="no listener"):
            settings.listener_options("four")
        for name in ("one", "two", "three"):
            await provider.log_on("ann", listener=name)
    assert provider.names.count("Initialize") == provider.names.count("Uninitialize") == 2
    assert provider.names.count("StartListen") == provider.names.count("StopListen") == 3
    checked(provider)


async def test_a_port_in_use_is_a_configuration_error_that_names_listener_and_address(autojump_clock, checked):
    listeners = [
        ListenerConfiguration("good", PROTOCOL),
        ListenerConfiguration("desk", PROTOCOL, {"host": "127.0.0.1", "port": 3389}),
    ]
    provider = ScriptedProvider(listeners=listeners)
    in_use = OSError(errno.EADDRINUSE, "address already in use")
    calls = iter([None, Fails(ExceptionGroup("from the listener's nursery", [in_use]))])
    provider.answers["StartListen"] = lambda: raise_if_failing(next(calls))
    with pytest.raises(
        ConfigurationError, match=r"^listener desk: cannot listen on 127\.0\.0\.1:3389: address already in use"
    ):
        await provider.make_service().serve()
    assert provider.names.count("StopListen") == 1
    assert provider.names[-1] == "Uninitialize"
    checked(provider)


def raise_if_failing(answer):
    if isinstance(answer, Fails):
        raise answer.error


async def test_a_configuration_error_of_a_provider_is_not_wrapped(autojump_clock, log):
    provider = ScriptedProvider({"CreateListener": Fails(ConfigurationError("certificate: no such file"))})
    with pytest.raises(ConfigurationError, match=r"^certificate: no such file$"):
        await provider.make_service().serve()
    assert log == []  # whoever starts the service says it, once


async def test_a_mistake_of_a_provider_at_the_start_is_logged_with_its_traceback(autojump_clock, log):
    provider = ScriptedProvider({"CreateListener": Fails(ZeroDivisionError("division by zero"))})
    with pytest.raises(ConfigurationError, match=r"^listener scripted: CreateListener of .* failed: division by zero$"):
        await provider.make_service().serve()
    (failure,) = (entry for entry in log if entry.get("error") == "ZeroDivisionError")
    assert failure["call"] == "CreateListener"
    assert failure["stack"].endswith("ZeroDivisionError: division by zero")


async def test_start_listen_that_returns_without_listening_is_named(autojump_clock):
    class Deaf(ScriptedListener):
        async def start_listen(self, callback, *, task_status):
            """Forgets to say that it listens."""

    provider = ScriptedProvider()
    provider.answers["CreateListener"] = lambda name: Deaf(provider, name)
    with pytest.raises(ConfigurationError, match=r"returned before it called task_status.started"):
        await provider.make_service().serve()


def test_a_listeners_name_has_at_most_32_characters():
    with pytest.raises(ValueError, match="characters"):
        ListenerConfiguration("x" * 33, PROTOCOL)


async def test_listeners_need_names_of_their_own_and_license_policies_somebody_to_carry_them_out():
    twice = [ListenerConfiguration("desk", PROTOCOL)] * 2
    with pytest.raises(ConfigurationError, match="more than one is named desk"):
        ScriptedProvider(listeners=twice).make_service()
    with pytest.raises(ConfigurationError, match="license policy 'issue'"):
        ScriptedProvider(license_policy="issue").make_service()


# Loading


class NoCreateListener(ProtocolManager):
    pass


class WrongShapes(ProtocolManager):
    def create_listener(self, listener_name):
        """Not async."""

    async def notify_session_state_change(self, session_id):
        """An argument is missing."""


class Constructed(ScriptedManager):
    def __init__(self, argument):
        """The service has no argument for it."""


class NotAListener(ProtocolListener):
    async def start_listen(self, callback, task_status):
        """By keyword: right."""

    async def stop_listen(self, now):
        """Wrong."""


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("nonesuch", "'nonesuch' is not installed"),
        ("no.such.module:Manager", "No module named"),
        ("rdpprov.errors:Nonesuch", "Nonesuch"),
        ("rdpprov.errors:E_FAIL", "no class derived from rdpprov.api.ProtocolManager"),
        ("rdpprov.errors:HResultError", "no class derived from rdpprov.api.ProtocolManager"),
        ("rdpprov.api:ProtocolManager", "does not implement create_listener"),
    ],
)
def test_a_protocol_that_cannot_be_loaded_is_named_with_its_fault(name, complaint):
    with pytest.raises(ProviderLoadError, match=complaint):
        load_protocol(name)


def test_what_a_provider_lacks_is_named():
    assert faults_of(NoCreateListener) == ("does not implement create_listener",)
    assert faults_of(WrongShapes) == (
        "has the method create_listener, which is not `async def`",
        "has the method notify_session_state_change, which cannot be called as "
        "notify_session_state_change(session_id, event_id): too many positional arguments",
    )
    assert [fault.partition(":")[0] for fault in faults_of(NotAListener)] == [
        "has the method stop_listen, which cannot be called as stop_listen()"
    ]
    assert faults_of(ScriptedManager) == faults_of(ScriptedListener) == faults_of(ScriptedConnection) == ()


async def test_a_manager_that_cannot_be_constructed_is_named(autojump_clock, monkeypatch):
    monkeypatch.setattr("rdpprov.testing.scripted.Constructed", Constructed, raising=False)
    listeners = [ListenerConfiguration("desk", "rdpprov.testing.scripted:Constructed")]
    with pytest.raises(ProviderLoadError, match=r"Constructed\(\): TypeError"):
        await ScriptedProvider(listeners=listeners).make_service().serve()


async def test_a_listener_or_a_connection_of_the_wrong_shape_is_refused(autojump_clock):
    class WrongConnection(ScriptedConnection):
        async def connect_notify(self):
            """An argument is missing."""

    provider = ScriptedProvider()
    async with provider.service():
        connection = WrongConnection(provider.script, ConnectionSettings())
        with pytest.raises(HResultError, match=r"connect_notify\(session_id\)"):
            await provider.listeners["scripted"].arrive(connection)
        with pytest.raises(HResultError, match="is no ProtocolConnection"):
            await provider.listeners["scripted"].arrive(_NoConnection())
    provider = ScriptedProvider({"CreateListener": lambda name: NotAListener()})
    with pytest.raises(ProviderLoadError, match="stop_listen"):
        await provider.make_service().serve()


class _NoConnection:
    def __init__(self):
        self.settings = ConnectionSettings()
        self.closed = trio.Event()


# Many


async def test_a_listener_takes_no_more_connections_than_it_says(autojump_clock, checked):
    provider = ScriptedProvider({"GetSettings": ListenerSettings(max_protocol_listener_connection_count=2)})
    async with provider.service():
        first, _ = await provider.log_on("ann"), await provider.log_on("bob")
        with pytest.raises(HResultError, match="0x800704D6"):
            await provider.connect()
        first.goes()
        await first.closed.wait()
        await trio.testing.wait_all_tasks_blocked()
        await provider.log_on("ann")
    checked(provider)


@pytest.mark.parametrize(("said", "configured", "taken"), [(3, 2, 2), (2, 3, 2), (0, 2, 2), (0, None, 5)])
async def test_configuration_and_listener_may_both_limit_connections_and_0_is_no_limit(
    autojump_clock, said, configured, taken
):
    provider = ScriptedProvider(
        {"GetSettings": ListenerSettings(max_protocol_listener_connection_count=said)},
        listeners=[ListenerConfiguration("scripted", PROTOCOL, max_connections=configured)],
    )
    async with provider.service() as service:
        for _ in range(taken):
            await provider.connect()
        if taken < 5:
            with pytest.raises(HResultError, match="as many as it allows"):
                await provider.connect()
        assert service.connection_count == taken


async def test_no_more_people_are_asked_at_once_than_the_limit_says(autojump_clock, checked):
    provider = ScriptedProvider(limits=Limits(logon_desktops=2))
    async with provider.service() as service:
        first, _ = await provider.connect(), await provider.connect()
        third = await provider.connect()
        await third.closed.wait()
        assert told(third) == ErrInfo.ERRINFO_OUT_OF_MEMORY
        await provider.log_on("ann")  # who has credentials needs no logon desktop
        first.goes()
        await first.closed.wait()
        await provider.connect()
        await trio.testing.wait_all_tasks_blocked()
        assert service.logon_desktop_count == 2
    checked(provider)


async def test_the_trace_can_be_read_while_a_person_is_asked(autojump_clock, tmp_path):
    provider = ScriptedProvider()
    provider.traces = TraceDirectory(tmp_path)
    async with provider.service():
        await provider.connect()
        await provider.logon_desktop()
        await trio.testing.wait_all_tasks_blocked()
        (file,) = (path for path in tmp_path.iterdir() if not path.name.startswith("service"))
        events = {line.event: line.fields for line in read_trace(file).lines if isinstance(line, EventLine)}
        assert events["desktop"] == {"kind": "logon"}


async def test_who_has_no_screen_cannot_be_asked(autojump_clock, checked):
    provider = ScriptedProvider({"GetVideoHandle": Fails(HResultError(hresult=0x80004001))})
    async with provider.service():
        client = await provider.connect()
        await client.closed.wait()
        assert told(client) == ErrInfo.ERRINFO_SERVER_FRESH_CREDENTIALS_REQUIRED
        headless = await provider.log_on("ann")
        assert headless.video.screen is None
        headless.inputs.send(ScancodeKey(0x1E, True))
        assert provider.desktops[0].events == [ScancodeKey(0x1E, True)]
    checked(provider)


@pytest.mark.parametrize("where", ["make logon", "run logon", "run logon on", "tell logon", "ask"])
async def test_a_logon_desktop_that_fails_drops_its_connection(autojump_clock, checked, where):
    provider = ScriptedProvider()
    provider.desktop_answers[where] = Fails(ZeroDivisionError())
    async with provider.service() as service:
        client = await provider.connect()
        await client.closed.wait()
        assert told(client) == ErrInfo.ERRINFO_SERVER_WINLOGON_CRASH
        assert service.logon_desktop_count == 0
        await trio.testing.wait_all_tasks_blocked()
        assert all(desktop.is_closed for desktop in provider.logon_desktops)
    checked(provider)


async def test_an_authenticator_that_fails_costs_only_that_connection(autojump_clock, checked, log):
    provider = ScriptedProvider()
    async with provider.service():
        bob = await provider.log_on("bob")
        provider.authenticator.answers["authenticate"] = Fails(ZeroDivisionError())
        client = await provider.connect(answers=ANN)
        await client.closed.wait()
        assert told(client) == ErrInfo.ERRINFO_RPC_INITIATED_DISCONNECT
        assert "Close" not in bob.names
    assert any(entry["event"] == "connection failed" for entry in log)
    checked(provider)


# Failing later


async def test_a_listener_that_crashes_costs_its_own_connections_and_no_others(autojump_clock, log):
    listeners = [ListenerConfiguration("one", PROTOCOL), ListenerConfiguration("two", PROTOCOL)]
    provider = ScriptedProvider(listeners=listeners)
    async with provider.service():
        ann, bob = await provider.log_on("ann", listener="one"), await provider.log_on("bob", listener="two")
        provider.listeners["one"].crash(ZeroDivisionError())
        await ann.closed.wait()
        assert told(ann) == ErrInfo.ERRINFO_RPC_INITIATED_DISCONNECT
        assert "Close" not in bob.names
        await provider.log_on("ann", listener="two")
    assert any(entry["event"] == "listener failed" and entry["listener"] == "one" for entry in log)


async def test_an_answer_of_the_wrong_type_is_a_mistake_of_the_provider(autojump_clock, log):
    provider = ScriptedProvider()
    async with provider.service():
        client = await provider.connect(answers={"GetClientData": "no client data"})
        await client.closed.wait()
        assert told(client) == ErrInfo.ERRINFO_SERVER_DENIED_CONNECTION
    failure = next(entry for entry in log if entry["event"] == "provider failed")
    assert (failure["call"], failure["effect"]) == ("GetClientData", "drop")
    assert "GetClientData returned str, expected ClientData" in failure["stack"]


async def test_a_notification_that_takes_its_time_is_logged(autojump_clock, log):
    provider = ScriptedProvider()
    async with provider.service():
        await provider.log_on("ann", answers={"ConnectNotify": Takes(0.2), "NotifySessionId": Takes(0.05)})
    slow = [entry for entry in log if entry["event"] == "slow provider"]
    assert [(entry["call"], entry["seconds"], entry["connection"]) for entry in slow] == [("ConnectNotify", 0.2, 1)]


async def test_a_secret_never_reaches_the_log(autojump_clock, log):
    provider = ScriptedProvider()
    async with provider.service():
        client = await provider.connect(
            answers={
                "GetUserCredentials": UserCredential("ann", "hunter2"),
                "GetClientData": ClientData(password="hunter2"),
                "NotifySessionId": Fails(ZeroDivisionError("hunter2")),
            }
        )
        await client.closed.wait()
    # A provider's own message is its own affair, and stands in the traceback alone.
    assert all("hunter2" not in str({**entry, "stack": None}) for entry in log)
    assert all("hunter2" not in str(trace) for trace in provider.traces.all())


@pytest.mark.parametrize("where", ["GetClientData", "authenticate", "make", "run"])
async def test_a_traceback_shows_no_variables_where_nobody_configured_the_log(autojump_clock, capsys, where):
    def fail(*_args):
        password = "hunter" + str(2)
        raise ZeroDivisionError(f"{len(password)} characters")

    provider = ScriptedProvider({"GetClientData": fail} if where == "GetClientData" else None)
    provider.authenticator.answers[where] = provider.desktop_answers[where] = fail
    if where == "make":
        provider.make_desktop = fail
    structlog.reset_defaults()  # as in a program that uses the service and knows nothing of structlog
    async with provider.service():
        client = await provider.connect(answers={"GetUserCredentials": UserCredential("ann", "right")})
        await client.closed.wait()
    logged = "".join(capsys.readouterr())
    assert "ZeroDivisionError: 7 characters" in logged
    assert "in fail" in logged
    assert "hunter2" not in logged


async def test_a_manager_that_does_not_keep_up_misses_news_and_is_named_once(autojump_clock, monkeypatch, log):
    monkeypatch.setattr("rdpprov.rcm.context.NEWS_KEPT", 2)
    provider = ScriptedProvider({"NotifySessionStateChange": HANGS}, limits=Limits(notification=1000))
    async with provider.service():
        for user in ("ann", "bob", "ann"):
            await provider.log_on(user)
    assert provider.names.count("NotifySessionStateChange") == 1  # no connection waited for the other two
    assert [entry["listener"] for entry in log if "misses some" in entry["event"]] == ["scripted"]


# Stop


async def test_a_stop_tells_every_client_and_leaves_nothing(autojump_clock, checked):
    provider = ScriptedProvider(policies=Policies())
    service = provider.make_service()
    async with trio.open_nursery() as nursery:
        await nursery.start(service.serve)
        clients = [await provider.log_on("ann"), await provider.log_on("bob"), await provider.connect()]
        clients.append(await provider.connect(ready=False))
        service.request_stop()
        service.request_stop()
    assert trio.current_time() == 0
    assert [told(client) for client in clients] == [ErrInfo.ERRINFO_RPC_INITIATED_DISCONNECT] * 4
    assert [client.names[-1] for client in clients] == ["Close"] * 4
    assert all(desktop.is_closed for desktop in [*provider.desktops, *provider.logon_desktops])
    assert provider.names[-1] == "Uninitialize"
    with pytest.raises(HResultError, match="the service stops"):
        await provider.connect()
    checked(provider)


@pytest.mark.parametrize(
    "hanging", ["SetErrorInfo", "PreDisconnect", "DisconnectNotify", "Close", "StopListen", "Uninitialize", "all"]
)
async def test_a_stop_takes_less_than_ten_seconds_whatever_hangs(autojump_clock, checked, hanging):
    provider = ScriptedProvider()
    service = provider.make_service()
    names = ["SetErrorInfo", "PreDisconnect", "DisconnectNotify", "Close", "StopListen", "Uninitialize"]
    async with trio.open_nursery() as nursery:
        await nursery.start(service.serve)
        for name in names if hanging == "all" else [hanging]:
            provider.answers[name] = HANGS
        if hanging == "all":
            provider.answers["NotifyServiceStateChange"] = provider.answers["NotifySessionOfServiceStop"] = HANGS
            provider.answers["NotifySessionStateChange"] = HANGS
            provider.desktop_answers["aclose"] = HANGS
        ann, bob = await provider.log_on("ann"), await provider.log_on("bob")
        service.request_stop()
    assert trio.current_time() < 10
    for client in (ann, bob):
        assert client.names[-4:] == ["SetErrorInfo", "PreDisconnect", "DisconnectNotify", "Close"]
    assert provider.names[-1] == "Uninitialize"
    checked(provider)


async def test_a_connection_that_is_ending_slowly_when_the_service_stops_is_hurried(autojump_clock):
    provider = ScriptedProvider(limits=Limits(close=1000))
    service = provider.make_service()
    async with trio.open_nursery() as nursery:
        await nursery.start(service.serve)
        client = await provider.log_on("ann", answers={"Close": HANGS})
        client.goes()
        await trio.sleep(1)
        service.request_stop()
    assert trio.current_time() < 11


async def test_clients_that_go_while_the_service_stops_are_not_waited_for(autojump_clock, checked):
    provider = ScriptedProvider()
    service = provider.make_service()
    async with trio.open_nursery() as nursery:
        await nursery.start(service.serve)
        client = await provider.log_on("ann")
        provider.answers["StopListen"] = client.goes
        service.request_stop()
    assert trio.current_time() == 0
    checked(provider)


async def test_cancelling_stops_at_once(autojump_clock):
    provider = ScriptedProvider()
    service = provider.make_service()
    async with trio.open_nursery() as nursery:
        await nursery.start(service.serve)
        client = await provider.log_on("ann", answers={"Close": HANGS})
        nursery.cancel_scope.cancel()
    assert trio.current_time() < 1
    assert client.names[-1] == "Close"
    assert "Uninitialize" not in provider.names


# The watchdog


async def test_a_provider_that_blocks_the_loop_is_named_while_it_does():
    seen = threading.Event()
    reports = []

    def look(_logger, _method, entry):
        if entry["event"] == "event loop blocked" and entry["call"] == "ConnectNotify":
            reports.append(entry)  # a busy machine may block the loop elsewhere, too
            seen.set()
        raise structlog.DropEvent

    provider = ScriptedProvider(limits=Limits(blocked_loop=0.05))
    with structlog.testing.capture_logs(processors=[look]):
        async with provider.service():
            await provider.log_on("ann", answers={"ConnectNotify": lambda _: seen.wait(30) and None})
    assert seen.is_set()
    assert (reports[0]["connection"], reports[0]["listener"]) == (1, "scripted")
    assert "seen.wait(30)" in reports[0]["stack"]


def test_limits_are_those_of_the_documentation_unless_somebody_sets_them():
    assert attrs.asdict(Limits()) == {
        "on_ready": 15,
        "connect": 60,
        "licensing": 30,
        "logon_desktop": 120,
        "call": 15,
        "notification": 5,
        "slow_notification": 0.1,
        "close": 10,
        "desktop_start": 30,
        "stop": 9,
        "blocked_loop": 1,
        "warning": 60,
        "shadow_consent": 30,
        "logon_desktops": 256,
    }


def test_every_limit_is_a_positive_number():
    for field in attrs.fields(Limits):
        with pytest.raises(ValueError, match=field.name):
            Limits(**{field.name: 0})
