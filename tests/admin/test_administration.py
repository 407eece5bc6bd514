"""Administration of a service, on a clock of its own."""

import pytest
import trio
import trio.testing

from rdpprov.api.enums import ConnectState, SettingStatus, SettingType
from rdpprov.api.structures import ClientData, ProtocolCounters, ProtocolStatus, Setting, Settings, UserCredential
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import AdministrationError
from rdpprov.rcm.administration import MAX_MESSAGE
from rdpprov.rcm.configuration import ListenerConfiguration, Policies, SessionsPolicy
from rdpprov.rcm.events import (
    ConnectionClosed,
    ConnectionOpened,
    DrainChanged,
    ListenerDown,
    ListenerUp,
    PoliciesChanged,
    SessionCreated,
    SessionDisconnected,
    SessionDropped,
    SessionLoggedOff,
    SessionLoggedOn,
    SessionReconnected,
)
from rdpprov.rcm.snapshots import SettingInfo
from rdpprov.sessions.base import Notice
from rdpprov.testing.scripted import HANGS, PROTOCOL, Fails, QueriedConnection, ScriptedProvider

NO_CLIPBOARD = Settings(setting_type=SettingType.MACHINE, disable_clip=Setting(SettingStatus.ENABLED, 1))
ANN = {"GetUserCredentials": UserCredential("ann", "right")}


async def settled(watcher):
    """All that has happened by now."""
    await trio.testing.wait_all_tasks_blocked()
    events = []
    with trio.move_on_after(0.001):
        async for event in watcher:
            events.append(event)
    return events


def told(client):
    return client.args_of("SetErrorInfo")


async def test_a_session_is_seen_as_it_is(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service() as service:
        await trio.sleep(1)
        await provider.connect()
        await provider.logon_desktop()
        client = await provider.log_on("bob")
        await trio.sleep(90)
        waiting, working = await service.administration.sessions()
        assert (waiting.session, waiting.state, waiting.user, waiting.width) == (1, ConnectState.CONNECTED, "", 0)
        assert (waiting.logged_on_at, waiting.idle, waiting.disconnected) == (None, None, None)
        assert (working.session, working.state, working.user_label) == (2, ConnectState.ACTIVE, "bob")
        assert (working.how, working.width, working.height, working.idle) == ("password", 640, 480, 90)
        assert working.logged_on_at >= working.created_at > 1.7e9
        seen = working.connection
        assert (seen.connection, seen.listener, seen.client_name) == (2, "scripted", "scripted")
        assert (seen.client_address, seen.screen_width, seen.screen_height) == ("192.0.2.1", 640, 480)
        assert seen.protocol == PROTOCOL  # the client data name none
        client.callback.broken_connection()
        await trio.sleep(30)
        (gone,) = [session for session in await service.administration.sessions() if session.user]
        assert (gone.state, gone.connection, gone.disconnected, gone.idle) == (
            ConnectState.DISCONNECTED,
            None,
            30,
            None,
        )


async def test_the_settings_in_force_are_shown_with_who_has_decided_them(autojump_clock):
    machine = Settings(setting_type=SettingType.MACHINE, max_idle_time=Setting(SettingStatus.ENABLED, 30))
    provider = ScriptedProvider(
        listeners=[ListenerConfiguration("scripted", PROTOCOL, settings={"disable_clip": True})],
        policies=Policies(machine=machine),
    )
    async with provider.service() as service:
        client = await provider.log_on(
            answers={"GetClientData": ClientData(client_name="pc", password="swordfish", disable_cdm=True)}
        )
        details = await service.administration.session(1)
        assert details.info.user == "ann"
        assert SettingInfo("max_idle_time", 30, "machine policy") in details.settings
        assert SettingInfo("disable_clip", True, "listener") in details.settings
        assert SettingInfo("disable_cdm", True, "client") in details.settings
        assert "disable_lpt" not in [setting.name for setting in details.settings]
        assert "swordfish" not in str(details)
        client.callback.broken_connection()
        await trio.sleep(1)
        assert (await service.administration.session(1)).settings == details.settings  # of the client that was there
        with pytest.raises(AdministrationError, match="there is no session 2") as error:
            await service.administration.session(2)
        assert error.value.code == "no-such-session"


async def test_listeners_are_seen_with_their_clients_and_whether_they_are_up(autojump_clock):
    provider = ScriptedProvider(
        listeners=[ListenerConfiguration(name, PROTOCOL) for name in ("good", "bad")],
    )
    async with provider.service() as service:
        await provider.log_on("ann", listener="good")
        with service.administration.watch() as watcher:
            provider.listeners["bad"].crash(OSError("cable"))
            assert ListenerDown("bad", "it failed: OSError") in await settled(watcher)
        good, bad = await service.administration.listeners()
        assert (good.listener, good.up, good.addresses, good.connections) == ("good", True, ("127.0.0.1:3389",), 1)
        assert (bad.listener, bad.up, bad.connections) == ("bad", False, 0)


async def test_an_administrator_disconnects_a_client_which_is_told_and_the_session_stays(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service() as service:
        client = await provider.log_on()
        await service.administration.disconnect(1)
        (session,) = await service.administration.sessions()
        assert session.state is ConnectState.DISCONNECTED
        await client.until("Close")
        assert told(client) == (ErrInfo.ERRINFO_RPC_INITIATED_DISCONNECT,)
        with pytest.raises(AdministrationError, match="session 1 is disconnected") as error:
            await service.administration.disconnect(1)
        assert error.value.code == "not-connected"


async def test_who_is_still_asked_for_a_password_can_be_disconnected_too(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service() as service:
        for action in (service.administration.disconnect, service.administration.logoff):
            client = await provider.connect()
            await provider.logon_desktop()
            (session,) = await service.administration.sessions()
            await action(session.session)
            assert await service.administration.sessions() == []
            await client.until("Close")


async def test_a_provider_that_hangs_does_not_keep_an_administrator(autojump_clock):
    provider = ScriptedProvider({"SetErrorInfo": HANGS, "PreDisconnect": HANGS, "DisconnectNotify": HANGS})
    async with provider.service() as service:
        await provider.log_on()
        before = trio.current_time()
        await service.administration.disconnect(1)
        assert trio.current_time() == before  # the session is free at once, whatever becomes of the connection


async def test_an_administrator_logs_a_user_off(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service() as service:
        client = await provider.log_on()
        with service.administration.watch() as watcher:
            await service.administration.logoff(1)
            assert await service.administration.sessions() == []
            assert SessionLoggedOff(1, "ann", "an administrator logged the user off") in await settled(watcher)
        await client.until("Close")
        assert told(client) == (ErrInfo.ERRINFO_RPC_INITIATED_LOGOFF,)
        assert provider.desktops[0].is_closed


async def test_a_disconnected_session_can_be_logged_off(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service() as service:
        client = await provider.log_on()
        client.callback.broken_connection()
        await client.until("Close")
        await service.administration.logoff(1)
        assert await service.administration.sessions() == []


async def test_a_message_reaches_the_desktop_without_what_would_harm_a_terminal(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service() as service:
        client = await provider.log_on()
        await service.administration.message(1, " Lunch!\nIn \x1b[2Jfive minutes \N{DELETE}")
        client.callback.broken_connection()
        await client.until("Close")
        await service.administration.message(1, "While you were away")
        notices = [message for message in provider.desktops[0].messages if isinstance(message, Notice)]
        assert notices == [Notice("Lunch!\nIn [2Jfive minutes"), Notice("While you were away")]


@pytest.mark.parametrize("text", ["", " \n\t", "\x1b\x07", "a" * (MAX_MESSAGE + 1)])
async def test_a_message_has_to_say_something_and_not_too_much(autojump_clock, text):
    provider = ScriptedProvider()
    async with provider.service() as service:
        await provider.log_on()
        with pytest.raises(AdministrationError, match=r"^a message has 1 to 1000 characters") as error:
            await service.administration.message(1, text)
        assert error.value.code == "bad-request"


async def test_there_is_no_message_to_somebody_who_has_not_logged_on(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service() as service:
        await provider.connect()
        await provider.logon_desktop()
        with pytest.raises(AdministrationError, match="nobody is logged on in session 1"):
            await service.administration.message(1, "Hello?")


async def test_a_desktop_that_breaks_over_a_message_ends_its_own_session(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service() as service:
        client = await provider.log_on()
        provider.desktops[0].tell = lambda message: 1 / 0
        with pytest.raises(AdministrationError, match="the desktop of session 1 failed: ZeroDivisionError"):
            await service.administration.message(1, "Hello?")
        await client.until("Close")
        assert await service.administration.sessions() == []


async def test_draining_is_begun_and_ended(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service() as service:
        with service.administration.watch() as watcher:
            await service.administration.drain(True)
            assert (await service.administration.service()).draining
            refused = await provider.connect(answers=ANN)
            await refused.until("Close")
            assert told(refused) == (ErrInfo.ERRINFO_SERVER_DENIED_CONNECTION,)
            await service.administration.drain(False)
            await service.administration.drain(False)
            assert not (await service.administration.service()).draining
            changes = [event for event in await settled(watcher) if isinstance(event, DrainChanged)]
            assert changes == [DrainChanged(True), DrainChanged(False)]


async def test_the_whole_life_of_a_service_is_watched(autojump_clock):
    provider = ScriptedProvider()
    service = provider.make_service()
    with service.administration.watch() as watcher:
        async with trio.open_nursery() as nursery:
            await nursery.start(service.serve)
            first = await provider.log_on()
            first.callback.broken_connection()
            await first.until("Close")
            second = await provider.log_on()
            third = await provider.log_on()  # takes the session over
            await second.until("Close")
            provider.desktops[0].log_off()
            await third.until("Close")
            await service.set_policies(Policies(machine=NO_CLIPBOARD))
            service.request_stop()
        events = [event async for event in watcher]
    taken_over = "another connection took the session over"
    # Two connections' tasks, and nobody knows which of them comes first.
    events.remove(ConnectionClosed(2, "scripted", taken_over, "ERRINFO_DISCONNECTED_BY_OTHERCONNECTION"))
    assert events == [
        ListenerUp("scripted"),
        ConnectionOpened(1, "scripted", PROTOCOL),
        SessionCreated(1, 1),
        SessionLoggedOn(1, "ann", "password", 1),
        SessionDisconnected(1, "ann", "the client is gone"),
        ConnectionClosed(1, "scripted", "the client is gone", "ERRINFO_PEER_DISCONNECTED"),
        ConnectionOpened(2, "scripted", PROTOCOL),
        SessionCreated(2, 2),
        SessionDropped(2),
        SessionReconnected(1, "ann", 2),
        ConnectionOpened(3, "scripted", PROTOCOL),
        SessionCreated(3, 3),
        SessionDropped(3),
        SessionDisconnected(1, "ann", taken_over),
        SessionReconnected(1, "ann", 3),
        SessionLoggedOff(1, "ann", "the user logged off"),
        ConnectionClosed(3, "scripted", "the user logged off", "ERRINFO_LOGOFF_BY_USER"),
        PoliciesChanged(("MACHINE",)),
        ListenerDown("scripted", "the service stops"),
    ]


async def test_a_session_whose_desktop_cannot_be_made_ends_for_who_watches_too(autojump_clock):
    provider = ScriptedProvider()
    provider.desktop_answers["make"] = Fails(ZeroDivisionError())
    async with provider.service() as service:
        with service.administration.watch() as watcher:
            client = await provider.connect(answers=ANN)
            await client.until("Close")
            ends = [event for event in await settled(watcher) if isinstance(event, SessionLoggedOff | SessionDropped)]
    assert ends == [SessionLoggedOff(1, "ann", "the session's desktop died")]


async def test_before_and_after_the_service_there_is_nothing_to_administrate(autojump_clock):
    service = ScriptedProvider().make_service()
    with pytest.raises(AdministrationError, match="the service does not run") as error:
        await service.administration.sessions()
    assert error.value.code == "not-running"


async def test_a_limit_for_disconnected_sessions_counts_from_the_administrators_disconnect(autojump_clock):
    provider = ScriptedProvider(sessions=SessionsPolicy(disconnected_limit=60))
    async with provider.service() as service:
        await provider.log_on()
        await service.administration.disconnect(1)
        await trio.sleep(59)
        assert len(await service.administration.sessions()) == 1
        await trio.sleep(2)
        assert await service.administration.sessions() == []


COUNTED = ProtocolStatus(output=ProtocolCounters(bytes=5000, frames=7), input=ProtocolCounters(bytes=300))


async def test_counters_and_last_input_are_the_providers_where_it_knows_them(autojump_clock):
    provider = ScriptedProvider({"GetProtocolStatus": COUNTED, "GetLastInputTime": 12_500})
    async with provider.service() as service:
        await provider.log_on(connection_class=QueriedConnection)
        await trio.sleep(90)
        (session,) = await service.administration.sessions()
        assert (session.connection.bytes_in, session.connection.bytes_out, session.connection.frames_out) == (
            300,
            5000,
            7,
        )
        assert session.idle == 12.5
        assert (await service.administration.session(1)).info == session


async def test_a_provider_that_does_not_answer_costs_a_second_for_all_and_its_own_counters(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service() as service:
        await trio.sleep(1)
        hangs = {"GetProtocolStatus": HANGS, "GetLastInputTime": HANGS}
        await provider.log_on("ann", answers=hangs, connection_class=QueriedConnection)
        await provider.log_on("bob", answers={"GetProtocolStatus": COUNTED}, connection_class=QueriedConnection)
        before = trio.current_time()
        ann, bob = await service.administration.sessions()
        assert trio.current_time() - before == 1
        assert (ann.connection.bytes_in, bob.connection.bytes_in) == (None, 300)
        assert ann.idle == bob.idle == 0  # the service looks at the input, too


async def test_disconnecting_a_client_that_is_on_its_way_into_its_session_does_not_wait_in_vain(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service() as service:
        client = await provider.log_on("ann")
        client.goes()
        await client.closed.wait()
        client = await provider.connect(answers={**ANN, "ConnectNotify": lambda number: reconnecting(number)})

        async def reconnecting(number):
            if number == 1:
                await trio.sleep(4)

        await client.until("DisconnectNotify")  # of the temporary session
        await trio.testing.wait_all_tasks_blocked()
        before = trio.current_time()
        await service.administration.disconnect(1)
        assert trio.current_time() - before < 1
        assert [session.state for session in service.sessions] == [ConnectState.DISCONNECTED]


async def test_a_provider_that_answers_nonsense_does_not_hide_other_sessions(autojump_clock):
    provider = ScriptedProvider({"GetLastInputTime": 10**400})
    async with provider.service() as service:
        await trio.sleep(1)
        await provider.log_on("ann", connection_class=QueriedConnection)
        await provider.log_on("bob")
        await trio.sleep(5)
        assert [session.idle for session in await service.administration.sessions()] == [5, 5]
