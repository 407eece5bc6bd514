"""A provider of the old shape, driven over TCP by the real service: the old sequences, one after the other."""

from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing

from rdpprov.api import properties
from rdpprov.api.enums import RcmServiceState, SessionChange, SettingStatus, SettingType
from rdpprov.api.license_connection import AlwaysLicensed
from rdpprov.api.logon_error_redirector import LogonErrorRedirector
from rdpprov.api.structures import ConnectionSettings, PropertyValue, Setting, Settings, SmallRect
from rdpprov.api.wtsprotocol import (
    DisplayIoctl,
    PolicyColorDepth,
    PolicyData,
    ProtocolHandles,
    UserData,
    WtsProtocolConnection,
    WtsProtocolListener,
    WtsProtocolManager,
)
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import E_FAIL, HResultError, NotImplementedByProvider, ProviderLoadError
from rdpprov.providers.wtsprotocol import AdaptedConnection, adapted, policy_data
from rdpprov.rcm.configuration import ListenerConfiguration, Policies
from rdpprov.rcm.loader import faults_of, load_protocol
from rdpprov.testing.scripted import ScriptedProvider
from rdpprov.traces.checker import check_trace
from tests.providers import old_shape
from tests.providers.old_shape import OldManager

PROTOCOL = "tests.providers.old_shape:Manager"
ON = Setting(SettingStatus.ENABLED, 1)

ARRIVING = [
    "GetLogonErrorRedirector",
    "SendPolicyData",
    "OnReady",
    "AcceptConnection",
    "GetClientData",
    "GetUserCredentials",
]
CONNECTED = ["AuthenticateClientToSession", "NotifySessionId", "GetProtocolHandles", "ConnectNotify"]
ALLOWED = ["IsUserAllowedToLogon", "SessionArbitrationEnumeration"]
TIME_ZONE = "QueryProperty"
LOGGED_ON = ["LogonNotify", "GetUserData", TIME_ZONE]
RECONNECTED = ["DisconnectNotify", "NotifySessionId", "GetProtocolHandles", "ConnectNotify", "LogonNotify", TIME_ZONE]
ENDED = ["DisconnectNotify", "Close"]


class Client:
    """What sits at the other end of the line."""

    def __init__(self, stream, connection):
        self.stream = stream
        self.connection = connection
        """The provider's half."""
        self._received = b""

    async def line(self):
        """The next line; None at the end."""
        while b"\n" not in self._received:
            data = await self.stream.receive_some(1000)
            if not data:
                return None
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return line.decode()

    async def types(self, text):
        await self.stream.send_all(text.encode() + b"\n")
        assert await self.line() == "TYPED"

    async def leaves(self):
        await self.stream.aclose()
        await self.connection.closed.wait()


class Served:
    """A running service with the old provider as its only protocol."""

    def __init__(self, environment, service):
        self.environment = environment
        self.service = service
        self.manager = OldManager.last
        self.listener = self.manager.listeners["old"]

    @asynccontextmanager
    async def client(self, user="ann", password="right"):
        before = len(self.listener.connections)
        async with await trio.open_tcp_stream("127.0.0.1", self.environment.ready[0].port) as stream:
            await stream.send_all(f"{user} {password}\n".encode())
            while len(self.listener.connections) == before:
                await trio.lowlevel.checkpoint()
            yield Client(stream, self.listener.connections[before])

    @asynccontextmanager
    async def logged_on(self):
        async with self.client() as client:
            assert (await client.line()).startswith("SESSION ")
            await trio.testing.wait_all_tasks_blocked()
            yield client


@pytest.fixture
def served():
    """A context manager: the service; at its end every trace is checked against the sequences."""

    @asynccontextmanager
    async def serve(answers=None, *, protocol=PROTOCOL, policies=None, **options):
        listener = ListenerConfiguration("old", protocol, {"port": 0, "answers": answers or {}, **options})
        environment = ScriptedProvider(listeners=[listener], policies=policies or Policies())
        with trio.fail_after(30):
            async with environment.service() as service:
                yield Served(environment, service)
        traces = environment.traces.all()
        assert traces
        for trace in traces:
            assert check_trace(trace) == []

    return serve


def results_of(environment, call):
    """What a call returned, in every connection's trace."""
    return [
        line.result
        for recorder in environment.traces.connections.values()
        for line in recorder.trace().calls
        if line.call == call
    ]


async def test_a_first_connection_goes_as_the_old_page_lists(served):
    async with served() as old:
        assert old.environment.ready[0].address == "127.0.0.1"
        async with old.logged_on() as client:
            await client.types("ab")
            (desktop,) = old.environment.desktops
            assert [event.text for event in desktop.events] == ["a", "a", "b", "b"]
            assert client.connection.video.plugged.width == desktop.width
            await client.leaves()
        assert client.connection.names == [*ARRIVING, *CONNECTED, *ALLOWED, *LOGGED_ON, *ENDED]
        assert client.connection.inputs.plugged is client.connection.video.plugged is None
        (session,) = old.service.sessions
        assert client.connection.args_of("NotifySessionId")[0].session_id == session.session_id


async def test_the_same_user_gets_the_session_back_without_being_asked_for_user_data(served):
    async with served() as old:
        async with old.logged_on() as first:
            await first.leaves()
        async with old.logged_on() as second:
            await second.types("c")
            (desktop,) = old.environment.desktops
            assert [event.text for event in desktop.events] == ["c", "c"]
            await second.leaves()
        (session,) = old.service.sessions
    assert second.connection.names == [*ARRIVING, *CONNECTED, *ALLOWED, *RECONNECTED, *ENDED]
    told = [args[0].session_id for name, *args in second.connection.calls if name == "NotifySessionId"]
    assert told == [told[0], session.session_id]
    assert told[0] != session.session_id


async def test_a_client_that_is_taken_over_is_told_why_and_let_go(served):
    async with served() as old, old.logged_on() as first, old.logged_on() as second:
        reason = int(ErrInfo.ERRINFO_DISCONNECTED_BY_OTHERCONNECTION)
        assert await first.line() == f"ERROR {reason}"
        assert await first.line() is None
        assert first.connection.names[-3:] == ["SetErrorInfo", *ENDED]
        assert "DisconnectNotify" in second.connection.names
        await second.leaves()


async def test_a_client_that_proves_its_session_gets_it_without_arbitration(served):
    async with served() as old:
        async with old.logged_on() as first:
            old.listener.secret = first.connection.callback.issue_reconnect_secret()
            await first.leaves()
        async with old.logged_on() as second:
            await second.leaves()
        assert len(list(old.service.sessions)) == 1
    straight = ["IsUserAllowedToLogon", "LogonNotify", TIME_ZONE]
    assert second.connection.names == [*ARRIVING, *CONNECTED, *straight, *ENDED]


async def test_policies_and_their_changes_come_with_the_policy_data_of_the_next_connection(served):
    machine = Settings(
        setting_type=SettingType.MACHINE,
        disable_clip=ON,
        color_depth=Setting(SettingStatus.ENABLED, 16),
        encryption_level=Setting(SettingStatus.ENABLED, 3),
    )
    async with served(policies=Policies(machine=machine)) as old:
        async with old.logged_on() as first:
            policy_data, user_data = first.connection.args_of("GetUserData")
            await first.leaves()
        expected = PolicyData(disable_clip=True, color_depth=PolicyColorDepth.BITS_16, min_encryption_level=3)
        assert first.connection.args_of("SendPolicyData") == [expected]
        assert policy_data == expected
        assert user_data == UserData(initial_program="shell")
        await old.service.set_policies(Policies(machine=attrs.evolve(machine, disable_pnp=ON, disable_clip=Setting())))
        async with old.logged_on() as second:
            await second.leaves()
        changed = attrs.evolve(expected, disable_clip=False, disable_pnp_redir=True)
        assert second.connection.args_of("SendPolicyData") == [changed]


async def test_what_get_user_data_says_goes_into_the_settings_in_force(served):
    async with served({"GetUserData": lambda _policy, data: attrs.evolve(data, work_directory="/home/ann")}) as old:
        async with old.logged_on() as client:
            await client.leaves()
        (settings,) = results_of(old.environment, "LogonNotify")
    assert (settings["work_directory"], settings["initial_program"]) == ("/home/ann", "shell")


@pytest.mark.parametrize("silent", ["SendPolicyData", "LogonNotify", "GetUserData", "GetProtocolHandles"])
async def test_e_notimpl_is_an_answer_to_the_old_calls_too(served, silent):
    async with served({silent: NotImplementedByProvider("old")}) as old, old.client() as client:
        while "GetUserData" not in client.connection.names:
            await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        assert (client.connection.inputs.plugged is None) == (silent == "GetProtocolHandles")
        await client.leaves()
    assert client.connection.names[: len(ARRIVING)] == ARRIVING


@pytest.mark.parametrize("half", ["inputs", "video"])
async def test_one_of_the_handles_may_be_missing(served, half):
    async with served() as old:
        device = old_shape.OldDevice()
        old.listener.options["answers"]["GetProtocolHandles"] = lambda: ProtocolHandles(**{half: device})
        async with old.logged_on() as client:
            assert device.plugged is not None
            await client.leaves()


@pytest.mark.parametrize("call", ["GetLogonErrorRedirector", "SendPolicyData", "GetProtocolHandles", "GetUserData"])
async def test_a_failure_of_an_old_call_drops_the_connection(served, call):
    async with served({call: HResultError("broken", E_FAIL)}) as old, old.client() as client:
        await client.connection.closed.wait()
    told = [name for name in client.connection.names if name != "OnReady"]  # it may come, and is not passed on
    assert told[-1] == "Close"
    assert set(told[told.index(call) + 1 :]) <= {"SetErrorInfo", *ENDED}


async def test_a_redirector_and_a_license_connection_are_the_old_providers_own(served):
    redirector = LogonErrorRedirector()
    async with served({"GetLogonErrorRedirector": lambda: redirector}) as old, old.logged_on() as client:
        connection = AdaptedConnection(client.connection, old_shape.Manager())
        assert await connection.get_logon_error_redirector() is redirector
        assert isinstance(await connection.get_license_connection(), AlwaysLicensed)
        await client.leaves()


async def test_only_the_properties_of_the_old_family_are_passed_on(served):
    answer = properties.WTS_QUERY_LOGON_SCREEN_SIZE.pack_answer(properties.LogonScreenSize(640, 480))
    async with served({"QueryProperty": lambda _guid, _entries: answer}) as old, old.logged_on() as client:
        connection = AdaptedConnection(client.connection, old_shape.Manager())
        old_ones = [
            properties.WTS_QUERY_ALLOWED_INITIAL_APP,
            properties.WTS_QUERY_LOGON_SCREEN_SIZE,
            properties.WTS_QUERY_AUDIOENUM_DLL,
            properties.WTS_QUERY_MF_FORMAT_SUPPORT,
            properties.PROPERTY_DYNAMIC_TIME_ZONE_INFORMATION,
        ]
        for each in properties.PROPERTIES.values():
            if each in old_ones:
                assert await connection.query_property(each.guid, [PropertyValue(1)]) == answer
                assert client.connection.args_of("QueryProperty") == [each.guid, [PropertyValue(1)]]
            else:
                with pytest.raises(NotImplementedByProvider):
                    await connection.query_property(each.guid)
        for query in ("get_protocol_status", "get_last_input_time", "get_shadow_connection"):
            with pytest.raises(NotImplementedByProvider):
                await getattr(connection, query)()
        with pytest.raises(NotImplementedByProvider):
            await connection.create_virtual_channel("ECHO", True, 0)
        assert await connection.get_client_monitor_data() == (1, 0)
        await client.leaves()


async def test_the_old_callback_reaches_the_service_but_no_display_driver(served):
    async with served() as old, old.logged_on() as client:
        callback = client.connection.callback
        screen = client.connection.video.plugged
        screen.take_damage()
        callback.stop_screen_updates()
        old.environment.desktops[0].damage()
        assert list(screen.take_damage()) == []
        callback.redraw_window(SmallRect(0, 0, 2, 2))
        assert len(screen.take_damage()) == 2
        with pytest.raises(NotImplementedByProvider):
            callback.display_ioctl(DisplayIoctl(b"to the driver"))
        await client.leaves()


async def test_the_old_manager_hears_of_service_and_sessions(served):
    async with served() as old, old.logged_on() as client:
        await client.leaves()
    events = [event for name, event in old.manager.told if name == "NotifySessionStateChange"]
    assert {SessionChange.REMOTE_CONNECT, SessionChange.REMOTE_DISCONNECT} <= set(events)
    states = [change.rcm_service_state for name, change in old.manager.told if name == "NotifyServiceStateChange"]
    assert states == [RcmServiceState.START, RcmServiceState.STOP]
    assert "NotifySessionOfServiceStop" in [name for name, _ in old.manager.told]


async def test_a_module_of_one_line_makes_a_protocol_of_an_old_manager(served, tmp_path, monkeypatch):
    (tmp_path / "one_line.py").write_text(
        "from rdpprov.providers.wtsprotocol import adapted\n"
        "from tests.providers.old_shape import OldManager\n"
        "Manager = adapted(OldManager)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    async with served(protocol="one_line:Manager") as old, old.logged_on() as client:
        await client.leaves()
    assert load_protocol("one_line:Manager") is adapted(OldManager) is old_shape.Manager
    assert load_protocol("one_line:Manager").__name__ == "AdaptedOldManager"


# What is wrong with an old provider is named before anything relies on it


class Incomplete(WtsProtocolManager):
    """Has no CreateListener."""


class WrongShape(WtsProtocolManager):
    def create_listener(self, listener_name):
        """Not async."""


def test_a_manager_that_is_none_is_refused():
    for wrong in (object, OldManager(), "OldManager"):
        with pytest.raises(ProviderLoadError, match=r"no class derived from .*WtsProtocolManager"):
            adapted(wrong)


@pytest.mark.parametrize(
    ("manager", "fault"),
    [
        (Incomplete, "does not implement create_listener"),
        (WrongShape, "has the method create_listener, which is not `async def`"),
    ],
)
def test_the_loader_looks_at_the_manager_behind_the_adapter(manager, fault, monkeypatch):
    monkeypatch.setattr(old_shape, "Wrong", adapted(manager), raising=False)
    with pytest.raises(ProviderLoadError, match=fault):
        load_protocol("tests.providers.old_shape:Wrong")


async def test_a_listener_or_a_connection_of_the_wrong_shape_is_named():
    class Listener(WtsProtocolListener):
        async def start_listen(self, callback):
            """Has no task_status."""

        async def stop_listen(self):
            """Nothing to stop."""

    class Makes(WtsProtocolManager):
        made = Listener()

        async def create_listener(self, listener_name):
            return self.made

    manager = adapted(Makes)()
    (fault,) = faults_of(type(await manager.create_listener("old")))
    assert fault.startswith(
        "has the method start_listen, which cannot be called as start_listen(callback, *, task_status)"
    )
    Makes.made = None
    with pytest.raises(HResultError, match="CreateListener returned NoneType, no WtsProtocolListener"):
        await manager.create_listener("old")


async def test_a_connection_of_the_wrong_shape_never_reaches_the_sequence(served, monkeypatch):
    class Wrong(old_shape.OldConnection):
        async def send_policy_data(self):
            """Lacks its argument."""

    async with served() as old:
        monkeypatch.setattr(old_shape, "OldConnection", Wrong)
        async with old.client() as client:
            assert await client.line() is None
            assert client.connection.names == []


async def test_what_is_no_connection_never_reaches_the_sequence(served, monkeypatch):
    refused = []

    class NoConnection(old_shape.OldConnection):
        async def run(self, listener_callback):
            """Hand over something else."""
            try:
                await listener_callback.on_connected(object())
            except HResultError as error:
                refused.append(error.reason)
            await self.stream.aclose()

    async with served() as old:
        monkeypatch.setattr(old_shape, "OldConnection", NoConnection)
        async with old.client() as client:
            assert await client.line() is None
    assert refused == ["object is no WtsProtocolConnection"]


def test_an_old_connection_needs_three_methods():
    needed = WtsProtocolConnection.__abstractmethods__
    assert needed == {"accept_connection", "get_client_data", "close"}


def test_settings_that_policies_leave_open_are_the_default_policy_data():
    assert policy_data(ConnectionSettings()) == PolicyData()
