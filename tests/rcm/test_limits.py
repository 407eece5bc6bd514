"""The time limits of sessions: who is warned when, what ends them, what puts them off, and what begins them anew."""

import math

import pytest
import trio
import trio.testing

from rdpprov.api.devices import Button, LockKeys, PointerButton, PointerMotion, PointerWheel, ScancodeKey, WheelAxis
from rdpprov.api.enums import ConnectState, SettingStatus
from rdpprov.api.identity import ReconnectClaim
from rdpprov.api.structures import ConnectionSettings, PropertyValue, Setting, Settings, UserCredential
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import HResultError
from rdpprov.rcm.configuration import Limits, ListenerConfiguration, Policies, SessionsPolicy
from rdpprov.sessions.base import Notice
from rdpprov.testing.scripted import NOT_IMPLEMENTED, PROTOCOL, Fails, QueriedConnection, ScriptedProvider, Takes


def enabled(value):
    return Setting(SettingStatus.ENABLED, value)


def machine(**minutes):
    return Policies(machine=Settings(**{name: enabled(value) for name, value in minutes.items()}))


def told(client):
    return client.args_of("SetErrorInfo")[0]


def notices(desktop):
    return [message.text for message in desktop.messages if isinstance(message, Notice)]


async def leave(client):
    client.goes()
    await client.closed.wait()


A_KEY = ScancodeKey(0x1E, True)
WARNING = "CONNECTION_PROPERTY_IDLE_TIME_WARNING"


async def test_who_does_nothing_is_warned_and_then_disconnected(autojump_clock, checked, log):
    provider = ScriptedProvider(policies=machine(max_idle_time=10))
    async with provider.service() as service:
        client = await provider.log_on("ann")
        await trio.sleep(539)
        assert notices(provider.desktops[0]) == []
        await trio.sleep(2)
        assert notices(provider.desktops[0]) == [
            "Nobody has worked here for a while: in 60 seconds you will be disconnected. "
            "Press a key or move the mouse to stay."
        ]
        await trio.sleep(58)
        assert not client.closed.is_set()
        await trio.sleep(2)
        assert client.closed.is_set()
        assert told(client) == ErrInfo.ERRINFO_IDLE_TIMEOUT
        assert [session.state for session in service.sessions] == [ConnectState.DISCONNECTED]
    assert any(entry["event"] == "limit passed" for entry in log)
    assert sum(line.event == "limit" for line in provider.traces.connections[1].trace().events) == 1
    checked(provider)


@pytest.mark.parametrize(
    "event",
    [A_KEY, PointerMotion(1, 2), PointerButton(Button.LEFT, True, 1, 2), PointerWheel(WheelAxis.VERTICAL, 120, 1, 2)],
)
async def test_any_input_puts_the_idle_limit_off_and_takes_the_warning_back_at_once(autojump_clock, checked, event):
    provider = ScriptedProvider(policies=machine(max_idle_time=10))
    async with provider.service():
        client = await provider.log_on("ann")
        await trio.sleep(599)
        assert len(notices(provider.desktops[0])) == 1
        client.inputs.send(event)
        await trio.testing.wait_all_tasks_blocked()
        assert notices(provider.desktops[0])[1:] == [""]
        await trio.sleep(539)
        assert len(notices(provider.desktops[0])) == 2
        await trio.sleep(2)
        assert len(notices(provider.desktops[0])) == 3
        await trio.sleep(60)
        assert told(client) == ErrInfo.ERRINFO_IDLE_TIMEOUT
    checked(provider)


async def test_input_before_the_warning_is_due_wakes_nobody_and_counts(autojump_clock):
    provider = ScriptedProvider(policies=machine(max_idle_time=10))
    async with provider.service():
        client = await provider.log_on("ann")
        for _ in range(20):
            await trio.sleep(300)
            client.inputs.send(A_KEY)
        assert notices(provider.desktops[0]) == []
        await trio.sleep(599)
        assert not client.closed.is_set()
        await trio.sleep(2)
        assert client.closed.is_set()


async def test_lock_keys_are_no_input_for_clients_send_them_by_themselves(autojump_clock):
    provider = ScriptedProvider(policies=machine(max_idle_time=10))
    async with provider.service():
        client = await provider.log_on("ann")
        await trio.sleep(599)
        client.inputs.send(LockKeys(False, True, False, False))
        await trio.sleep(2)
        assert told(client) == ErrInfo.ERRINFO_IDLE_TIMEOUT


async def test_the_time_with_a_client_is_limited_whatever_the_client_does(autojump_clock, checked):
    provider = ScriptedProvider(policies=machine(max_connect_time=10))
    async with provider.service() as service:
        client = await provider.log_on("ann")
        await trio.sleep(541)
        client.inputs.send(A_KEY)
        await trio.sleep(58)
        assert notices(provider.desktops[0]) == [
            "The time for this connection is nearly over: in 60 seconds you will be disconnected."
        ]
        await trio.sleep(2)
        assert told(client) == ErrInfo.ERRINFO_LOGON_TIMEOUT
        assert [session.state for session in service.sessions] == [ConnectState.DISCONNECTED]
    checked(provider)


@pytest.mark.parametrize(
    ("name", "errinfo"),
    [("max_idle_time", ErrInfo.ERRINFO_IDLE_TIMEOUT), ("max_connect_time", ErrInfo.ERRINFO_LOGON_TIMEOUT)],
)
async def test_with_reset_broken_a_limit_ends_the_session(autojump_clock, checked, name, errinfo):
    provider = ScriptedProvider(policies=machine(reset_broken=1, **{name: 10}))
    async with provider.service() as service:
        client = await provider.log_on("ann")
        await trio.sleep(541)
        assert "in 60 seconds your session will end" in notices(provider.desktops[0])[0]
        await trio.sleep(60)
        assert told(client) == errinfo
        assert list(service.sessions) == []
        assert provider.desktops[0].is_closed
    checked(provider)


async def test_of_two_limits_the_one_that_passes_first_counts_and_the_warning_follows(autojump_clock):
    provider = ScriptedProvider(policies=machine(max_connect_time=20, max_idle_time=10))
    async with provider.service():
        client = await provider.log_on("ann")
        await trio.sleep(300)
        client.inputs.send(A_KEY)  # idle until 900
        await trio.sleep(550)
        client.inputs.send(A_KEY)  # warned at 840; idle until 1450
        await trio.sleep(300)
        desktop = provider.desktops[0]
        assert [text[:8] for text in notices(desktop)] == ["Nobody h", "", "The time"]
        client.inputs.send(A_KEY)
        await trio.sleep(51)
        assert told(client) == ErrInfo.ERRINFO_LOGON_TIMEOUT
        assert trio.current_time() == pytest.approx(1201)


@pytest.mark.parametrize(("warning", "lead"), [(60, 30), (10, 10), (1000, 30)])
async def test_nobody_is_warned_before_half_of_a_limit_is_over(autojump_clock, warning, lead):
    provider = ScriptedProvider(policies=machine(max_idle_time=1), limits=Limits(warning=warning))
    async with provider.service():
        client = await provider.log_on("ann")
        await trio.sleep(60 - lead - 1)
        assert notices(provider.desktops[0]) == []
        await trio.sleep(2)
        assert f"in {lead} seconds" in notices(provider.desktops[0])[0]
        await trio.sleep(lead)
        assert client.closed.is_set()


async def test_limits_begin_anew_when_the_user_comes_back(autojump_clock):
    provider = ScriptedProvider(policies=machine(max_idle_time=10, max_connect_time=15))
    async with provider.service():
        await provider.log_on("ann")
        await trio.sleep(500)
        taker = await provider.log_on("ann")  # takes the session over
        await trio.sleep(539)
        assert notices(provider.desktops[0]) == []
        claim = await claim_of(taker)
        back = await provider.connect(answers={"AuthenticateClientToSession": claim})
        await back.until("LogonNotify")
        await trio.sleep(539)
        assert notices(provider.desktops[0]) == []
        await trio.sleep(62)
        assert told(back) == ErrInfo.ERRINFO_IDLE_TIMEOUT


async def claim_of(client):
    secret = client.callback.issue_reconnect_secret()
    await leave(client)
    return ReconnectClaim(secret.logon_id, secret.secret)


@pytest.mark.parametrize(
    ("settings", "errinfo"),
    [
        ({"max_idle_time": 10}, ErrInfo.ERRINFO_IDLE_TIMEOUT),
        ({"max_connection_time": 10}, ErrInfo.ERRINFO_LOGON_TIMEOUT),
    ],
)
async def test_a_listener_or_a_client_may_set_limits_too(autojump_clock, settings, errinfo):
    listeners = [ListenerConfiguration("fixed", PROTOCOL, settings=settings), ListenerConfiguration("open", PROTOCOL)]
    provider = ScriptedProvider(listeners=listeners)
    async with provider.service():
        fixed = await provider.log_on("ann", listener="fixed")
        asked = await provider.log_on("bob", listener="open", settings=ConnectionSettings(**settings))
        await trio.sleep(601)
        assert told(fixed) == told(asked) == errinfo


async def test_a_provider_may_shorten_a_limit_in_logon_notify(autojump_clock):
    provider = ScriptedProvider(policies=machine(max_idle_time=10))
    async with provider.service():
        client = await provider.log_on("ann", answers={"LogonNotify": ConnectionSettings(max_idle_time=5)})
        await trio.sleep(301)
        assert told(client) == ErrInfo.ERRINFO_IDLE_TIMEOUT


async def test_without_limits_nothing_happens_and_no_task_waits_for_it(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service():
        before = trio.lowlevel.current_statistics()
        client = await provider.log_on("ann")
        after = trio.lowlevel.current_statistics()
        assert after.tasks_living - before.tasks_living == 3  # its listener's, its own, its desktop's
        assert after.seconds_to_next_deadline == math.inf
        await trio.sleep(80_000)
        assert not client.closed.is_set()


async def test_a_desktop_that_fails_over_the_warning_ends_its_session(autojump_clock):
    provider = ScriptedProvider(policies=machine(max_idle_time=10))
    async with provider.service() as service:
        client = await provider.log_on("ann")
        provider.desktops[0].messages = None  # `tell` raises from now on
        await trio.sleep(541)
        assert told(client) == ErrInfo.ERRINFO_CLOSE_STACK_ON_DRIVER_FAILURE
        assert list(service.sessions) == []


async def test_limits_do_not_hold_before_the_user_is_logged_on(autojump_clock):
    provider = ScriptedProvider(policies=machine(max_idle_time=1, max_connect_time=1), limits=Limits(logon_desktop=600))
    async with provider.service():
        client = await provider.connect()
        await trio.sleep(500)
        assert "SetErrorInfo" not in client.names
        desktop = await provider.logon_desktop()
        desktop.type("ann", "right")
        await client.until("LogonNotify")
        await trio.sleep(59)
        assert "SetErrorInfo" not in client.names


async def test_a_client_that_goes_leaves_no_limit_behind(autojump_clock):
    provider = ScriptedProvider(policies=machine(max_idle_time=10))
    async with provider.service():
        await leave(await provider.log_on("ann"))
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().seconds_to_next_deadline == math.inf


async def test_the_disconnected_limit_of_a_session_follows_the_policies(autojump_clock):
    provider = ScriptedProvider(sessions=SessionsPolicy(disconnected_limit=3600))
    async with provider.service() as service:
        await leave(await provider.log_on("ann"))
        await trio.sleep(300)
        await service.set_policies(machine(max_disconnect_time=10))
        await trio.sleep(299)
        assert len(list(service.sessions)) == 1
        await service.set_policies(Policies())
        await trio.sleep(2999)
        assert len(list(service.sessions)) == 1
        await service.set_policies(machine(max_disconnect_time=30))  # is over already
        await trio.testing.wait_all_tasks_blocked()
        assert list(service.sessions) == []


async def test_a_slow_log_on_notify_is_no_idle_time(autojump_clock):
    provider = ScriptedProvider(policies=machine(max_idle_time=1), limits=Limits(notification=100))
    async with provider.service():
        credentials = UserCredential("ann", "right")
        client = await provider.connect(answers={"GetUserCredentials": credentials, "LogonNotify": Takes(90)})
        await trio.sleep(90 + 59)
        assert not client.closed.is_set()
        await trio.sleep(2)
        assert client.closed.is_set()


async def test_input_that_only_the_provider_sees_puts_the_idle_limit_off(autojump_clock, checked):
    provider = ScriptedProvider(policies=machine(max_idle_time=10))
    ago = iter([100_000] * 6)  # milliseconds, whenever the service asks; then the provider does not know any more
    async with provider.service():
        client = await provider.log_on(
            "ann", connection_class=QueriedConnection, answers={"GetLastInputTime": lambda: next(ago, 10_000_000)}
        )
        await trio.sleep(2_000)
        assert notices(provider.desktops[0]) == []
        await trio.sleep(2_000)
        assert told(client) == ErrInfo.ERRINFO_IDLE_TIMEOUT
        last = 540 + 5 * 440 - 100  # the first time 540 s after the logon, then each time 540 s after what was said
        assert next(call.at for call in client.calls if call.name == "SetErrorInfo") == last + 600
    checked(provider)


@pytest.mark.parametrize(
    "answer",
    [NOT_IMPLEMENTED, Fails(HResultError("scripted")), -1, 10_000_000],
    ids=lambda answer: str(answer)[:9],
)
async def test_what_the_provider_does_not_know_of_input_the_service_has_seen_itself(autojump_clock, checked, answer):
    provider = ScriptedProvider(policies=machine(max_idle_time=10))
    async with provider.service():
        client = await provider.log_on("ann", connection_class=QueriedConnection, answers={"GetLastInputTime": answer})
        await trio.sleep(300.1234)
        client.inputs.send(A_KEY)
        await trio.sleep(599)
        assert not client.closed.is_set()
        await trio.sleep(2)
        assert client.closed.is_set()
    checked(provider)


@pytest.mark.parametrize(
    ("answer", "warned"),
    [
        (NOT_IMPLEMENTED, 1),
        (Fails(HResultError("scripted")), 1),
        ([PropertyValue(1)], 1),
        ([PropertyValue("yes")], 1),
        ([], 1),
        ([PropertyValue(0)], 0),
    ],
    ids=str,
)
async def test_a_provider_may_not_want_its_users_to_be_warned_of_the_idle_limit(
    autojump_clock, checked, answer, warned
):
    provider = ScriptedProvider(policies=machine(max_idle_time=10))
    async with provider.service():
        client = await provider.log_on("ann", connection_class=QueriedConnection, answers={WARNING: answer})
        assert WARNING not in client.names
        await trio.sleep(560)
        assert client.names.count(WARNING) == 1
        client.inputs.send(A_KEY)
        await trio.testing.wait_all_tasks_blocked()
        assert len(notices(provider.desktops[0])) == 2 * warned  # and taken back
        await trio.sleep(601)
        assert told(client) == ErrInfo.ERRINFO_IDLE_TIMEOUT
    checked(provider)


async def test_the_time_with_a_client_is_warned_of_without_asking(autojump_clock):
    provider = ScriptedProvider(policies=machine(max_connect_time=10))
    async with provider.service():
        client = await provider.log_on("ann", connection_class=QueriedConnection, answers={WARNING: [PropertyValue(0)]})
        await trio.sleep(541)
        assert len(notices(provider.desktops[0])) == 1
        assert WARNING not in client.names
        assert "GetLastInputTime" not in client.names


async def test_a_key_counts_although_the_provider_is_being_asked_for_input_just_then(autojump_clock, checked):
    asked = Takes(3, 10**9)
    provider = ScriptedProvider({"GetLastInputTime": asked}, policies=machine(max_idle_time=10))
    async with provider.service():
        client = await provider.log_on("ann", connection_class=QueriedConnection)
        await client.until("GetLastInputTime", 2)  # before the warning, and when the time is over
        assert len(notices(provider.desktops[0])) == 1
        client.inputs.send(A_KEY)
        await trio.sleep(500)
        assert not client.closed.is_set()
        assert notices(provider.desktops[0])[1:] == [""]
    checked(provider)
