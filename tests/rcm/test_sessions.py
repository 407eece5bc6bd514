"""What outlives connections, and who gets it back: arbitration, takeover, reconnect secrets, limits, desktops."""

import hashlib
import hmac

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.api.devices import Button, LockKeys, PointerButton, ScancodeKey, UnicodeKey
from rdpprov.api.enums import ConnectState, SessionChange, SettingStatus
from rdpprov.api.identity import ReconnectClaim, ReconnectMethod, UserToken
from rdpprov.api.structures import ClientData, ConnectionSettings, Setting, Settings, UserCredential
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import HResultError, RdpProvError
from rdpprov.rcm.arbitration import arbitrate
from rdpprov.rcm.configuration import Limits, Policies, SessionsPolicy
from rdpprov.rcm.session_table import SessionTable, verifier
from rdpprov.sessions.base import ClientAttached, ClientDetached, SequenceStep
from rdpprov.sessions.logon import PanelLogonDesktop
from rdpprov.testing.scripted import HANGS, Fails, ScriptedProvider, ScriptedScreen, Takes


def enabled(value):
    return Setting(SettingStatus.ENABLED, value)


def told(client):
    return client.args_of("SetErrorInfo")[0]


async def leave(client):
    client.goes()
    await client.closed.wait()


async def test_an_active_session_is_taken_over_and_its_client_told(autojump_clock, checked):
    provider = ScriptedProvider()
    async with provider.service() as service:
        first = await provider.log_on("ann")
        first.inputs.send(ScancodeKey(0x1E, True), PointerButton(Button.LEFT, True, 5, 6))
        second = await provider.log_on("ann")
        await first.closed.wait()
        (session,) = service.sessions
        assert session.state is ConnectState.ACTIVE
        assert told(first) == ErrInfo.ERRINFO_DISCONNECTED_BY_OTHERCONNECTION
        assert first.video.screen is None
        assert second.video.screen is not None
        (desktop,) = provider.desktops
        assert desktop.events == [
            ScancodeKey(0x1E, True),
            PointerButton(Button.LEFT, True, 5, 6),
            ScancodeKey(0x1E, False),
            PointerButton(Button.LEFT, False, 5, 6),
        ]
        first.inputs.former[-1].input_event(ScancodeKey(0x20, True))  # a provider that kept its sink
        assert len(desktop.events) == 4
        kinds = [type(message) for message in desktop.messages if not isinstance(message, SequenceStep)]
        assert kinds == [ClientAttached, ClientDetached, ClientAttached]
    checked(provider)


async def test_who_comes_back_is_known_by_what_proved_it_this_time(autojump_clock, checked):
    provider = ScriptedProvider()
    async with provider.service() as service:
        await leave(await provider.log_on("ann"))
        proof = UserCredential(proof=provider.authenticator.vouch("Ann", "ntlm"))
        await provider.log_on("ann", answers={"GetUserCredentials": proof})
        assert [session.user for session in service.sessions] == [UserToken("Ann", how="ntlm")]
    checked(provider)


async def test_a_client_that_hangs_in_its_end_does_not_keep_its_successor_waiting(autojump_clock, checked):
    provider = ScriptedProvider()
    async with provider.service():
        await provider.log_on("ann", answers={"PreDisconnect": HANGS, "Close": HANGS})
        before = trio.current_time()
        await provider.log_on("ann")
        assert trio.current_time() == before
    checked(provider)


async def test_without_single_session_per_user_a_second_logon_gets_a_second_session(autojump_clock, checked):
    provider = ScriptedProvider(sessions=SessionsPolicy(single_session_per_user=False))
    async with provider.service() as service:
        first, second = await provider.log_on("ann"), await provider.log_on("ann")
        assert len(list(service.sessions)) == 2
        assert second.args_of("SessionArbitrationEnumeration")[1] is False
        await leave(first)
        await trio.sleep(1)
        await leave(second)
        third = await provider.log_on("ann")  # of two disconnected ones the one that was left last
        assert third.args_of("ConnectNotify") == second.args_of("ConnectNotify")
    checked(provider)


async def test_two_logons_of_one_user_at_once_end_up_in_one_session(autojump_clock, checked):
    provider = ScriptedProvider()
    provider.desktop_answers["run"] = Takes(10)
    async with provider.service() as service:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(provider.log_on, "ann")
            nursery.start_soon(provider.log_on, "ann")
            await trio.sleep(20)
            nursery.cancel_scope.cancel()
        (session,) = service.sessions
        assert session.state is ConnectState.ACTIVE
        assert service.connection_count == 1
        assert len(provider.desktops) == 1
    checked(provider)


async def test_sessions_of_other_users_are_not_given_away_whoever_names_them(autojump_clock, checked):
    provider = ScriptedProvider()
    async with provider.service() as service:
        await leave(await provider.log_on("bob"))
        (bobs,) = service.sessions
        client = await provider.log_on("ann", answers={"SessionArbitrationEnumeration": [bobs.session_id, 999]})
        assert client.args_of("NotifySessionId")[1] != bobs.session_id
        assert len(list(service.sessions)) == 2
    checked(provider)


@given(st.data())
def test_arbitration_prefers_what_the_provider_names_then_what_was_left_last(data):
    async def main():
        sessions, ann, bob = SessionTable(), UserToken("Ann"), UserToken("bob")
        for user in data.draw(st.lists(st.sampled_from([ann, bob, None]), max_size=6)):
            session = sessions.create_temporary()
            if user is not None:
                sessions.keep(session, user)
                session.disconnected_since = data.draw(st.none() | st.floats(0, 100))
                session.holder = None if session.disconnected_since is not None else object()
        named = data.draw(st.lists(st.integers(0, 8)))
        single = data.draw(st.booleans())
        chosen = arbitrate(sessions, UserToken("ANN"), named, single_session_per_user=single)
        own = [session for session in sessions if session.user == ann]
        free = [session for session in own if session.disconnected_since is not None]
        preferred = [session for session in free if session.session_id in named] or free
        if preferred:
            assert chosen in preferred
            assert chosen.disconnected_since == max(session.disconnected_since for session in preferred)
        elif own and single:
            assert chosen in own
        else:
            assert chosen is None

    trio.run(main)


async def test_a_disconnected_session_ends_at_its_limit_and_not_while_somebody_is_there(autojump_clock, checked):
    provider = ScriptedProvider(sessions=SessionsPolicy(disconnected_limit=100))
    async with provider.service() as service:
        await leave(await provider.log_on("ann"))
        await trio.sleep(99)
        client = await provider.log_on("ann")
        await trio.sleep(1000)
        assert "Close" not in client.names
        await leave(client)
        await trio.sleep(101)
        assert list(service.sessions) == []
        assert provider.desktops[0].is_closed
    checked(provider)


@pytest.mark.parametrize(("own", "minutes", "seconds"), [(None, 2, 120), (300, 2, 120), (60, 2, 60), (60, 0, 60)])
async def test_the_shorter_of_policy_and_own_limit_ends_a_disconnected_session(autojump_clock, own, minutes, seconds):
    policies = Policies(machine=Settings(max_disconnect_time=enabled(minutes)))
    provider = ScriptedProvider(policies=policies, sessions=SessionsPolicy(disconnected_limit=own))
    async with provider.service() as service:
        await leave(await provider.log_on("ann"))
        await trio.sleep(seconds - 1)
        assert len(list(service.sessions)) == 1
        await trio.sleep(2)
        assert list(service.sessions) == []


async def test_policy_may_end_a_session_whose_connection_breaks(autojump_clock):
    provider = ScriptedProvider(policies=Policies(machine=Settings(reset_broken=enabled(1))))
    async with provider.service() as service:
        await leave(await provider.log_on("ann"))
        await trio.testing.wait_all_tasks_blocked()
        assert list(service.sessions) == []


async def test_a_user_who_logs_off_ends_session_and_connection(autojump_clock, checked):
    provider = ScriptedProvider()
    async with provider.service() as service:
        client = await provider.log_on("ann")
        provider.desktops[0].log_off()
        await client.closed.wait()
        assert told(client) == ErrInfo.ERRINFO_LOGOFF_BY_USER
        assert list(service.sessions) == []
        assert provider.desktops[0].is_closed
    checked(provider)


async def test_a_desktop_that_dies_ends_its_session_and_no_other(autojump_clock, checked, log):
    provider = ScriptedProvider()
    async with provider.service() as service:
        ann, bob = await provider.log_on("ann"), await provider.log_on("bob")
        provider.desktops[0].die(ZeroDivisionError())
        await ann.closed.wait()
        assert told(ann) == ErrInfo.ERRINFO_CLOSE_STACK_ON_DRIVER_FAILURE
        assert [session.user.name for session in service.sessions] == ["bob"]
        assert "Close" not in bob.names
    assert any("ZeroDivisionError" in entry.get("stack", "") for entry in log)
    checked(provider)


@pytest.mark.parametrize(
    ("where", "failure", "errinfo"),
    [
        ("make", ZeroDivisionError(), ErrInfo.ERRINFO_CLOSE_STACK_ON_DRIVER_FAILURE),
        ("run", ZeroDivisionError(), ErrInfo.ERRINFO_CLOSE_STACK_ON_DRIVER_FAILURE),
        ("run", None, ErrInfo.ERRINFO_CLOSE_STACK_ON_DRIVER_NOT_READY),
    ],
)
async def test_a_desktop_that_does_not_start_drops_the_connection(autojump_clock, checked, where, failure, errinfo):
    provider = ScriptedProvider()
    provider.desktop_answers[where] = Fails(failure) if failure else HANGS
    async with provider.service() as service:
        client = await provider.connect(answers={"GetUserCredentials": UserCredential("ann", "right")})
        await client.closed.wait()
        assert told(client) == errinfo
        assert trio.current_time() == (0 if failure else Limits().desktop_start)
        await trio.testing.wait_all_tasks_blocked()
        assert list(service.sessions) == []
    checked(provider)


async def test_a_desktop_that_is_too_large_says_so_to_its_client(autojump_clock):
    class TooLargeError(RdpProvError):
        errinfo = ErrInfo.ERRINFO_OUT_OF_MEMORY

    provider = ScriptedProvider()
    provider.desktop_answers["make"] = Fails(TooLargeError("256 MiB"))
    async with provider.service():
        client = await provider.connect(answers={"GetUserCredentials": UserCredential("ann", "right")})
        await client.closed.wait()
        assert told(client) == ErrInfo.ERRINFO_OUT_OF_MEMORY


async def test_a_desktop_has_the_clients_size_before_connect_notify_at_every_attach(autojump_clock, checked):
    provider = ScriptedProvider()
    async with provider.service():
        first = await provider.log_on("ann")
        (desktop,) = provider.desktops
        assert (desktop.width, desktop.height) == (640, 480)
        await leave(first)
        sizes = []
        second = await provider.log_on(
            "ann",
            answers={
                "GetClientData": ClientData(h_res=100, v_res=9000),
                "ConnectNotify": lambda _: sizes.append((desktop.width, desktop.height)),
            },
        )
        assert sizes == [(640, 480), (200, 8192)]  # for the temporary session, then for its own; within bounds
        assert second.video.screen.height == 8192
    checked(provider)


async def test_a_desktop_that_cannot_resize_is_shown_as_it_is_and_one_that_fails_over_it_ends(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service() as service:
        await leave(await provider.log_on("ann"))
        provider.desktop_answers["resize"] = Fails(RdpProvError("no"))
        await leave(await provider.log_on("ann"))
        provider.desktop_answers["resize"] = Fails(ZeroDivisionError())
        client = await provider.connect(answers={"GetUserCredentials": UserCredential("ann", "right")})
        await client.closed.wait()
        assert told(client) == ErrInfo.ERRINFO_CLOSE_STACK_ON_DRIVER_FAILURE
        await trio.testing.wait_all_tasks_blocked()
        assert list(service.sessions) == []


async def test_a_desktop_that_raises_over_an_event_ends_its_session_and_the_provider_sees_nothing(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service():
        client = await provider.log_on("ann")
        provider.desktop_answers["input_event"] = Fails(ZeroDivisionError())
        client.inputs.send(ScancodeKey(0x1E, True))
        await client.closed.wait()
        assert told(client) == ErrInfo.ERRINFO_CLOSE_STACK_ON_DRIVER_FAILURE


@pytest.mark.parametrize("method", ["plug", "damaged"])
async def test_a_device_that_raises_ends_its_connection_and_leaves_the_session(autojump_clock, checked, method):
    provider = ScriptedProvider()
    async with provider.service() as service:
        client = await provider.connect(answers={"GetUserCredentials": UserCredential("ann", "right")}, ready=False)
        client.video.fails = method
        client.callback.on_ready()
        await trio.testing.wait_all_tasks_blocked()
        provider.desktops[0].damage()
        await client.closed.wait()
        assert told(client) == ErrInfo.ERRINFO_CLOSE_STACK_ON_DRIVER_IFACE_FAILURE
        assert [session.state for session in service.sessions] == [ConnectState.DISCONNECTED]
        provider.desktops[0].damage()
    checked(provider)


async def test_draining_refuses_new_sessions_and_lets_users_back_into_theirs(autojump_clock, checked):
    provider = ScriptedProvider()
    async with provider.service() as service:
        await leave(await provider.log_on("ann"))
        service.set_draining(True)
        service.set_draining(True)
        bob = await provider.connect(answers={"GetUserCredentials": UserCredential("bob", "right")})
        await bob.closed.wait()
        assert told(bob) == ErrInfo.ERRINFO_SERVER_DENIED_CONNECTION
        await leave(await provider.log_on("ann"))
        service.set_draining(False)
        await provider.log_on("bob")
    changes = [asked.args[0] for asked in provider.calls if asked.name == "NotifyServiceStateChange"]
    assert [(change.rcm_service_state, change.rcm_drain_state) for change in changes] == [
        (1, 2),
        (0, 1),
        (0, 2),
        (2, 0),
    ]
    checked(provider)


async def test_a_service_may_drain_from_its_start(autojump_clock, checked):
    provider = ScriptedProvider(draining=True)
    async with provider.service() as service:
        started = next(asked.args[0] for asked in provider.calls if asked.name == "NotifyServiceStateChange")
        assert (started.rcm_service_state, started.rcm_drain_state) == (1, 1)
        bob = await provider.connect(answers={"GetUserCredentials": UserCredential("bob", "right")})
        await bob.closed.wait()
        assert told(bob) == ErrInfo.ERRINFO_SERVER_DENIED_CONNECTION
        assert "SessionArbitrationEnumeration" in bob.names  # nobody can know before whether there is a session
        service.set_draining(False)
        await provider.log_on("bob")
    checked(provider)


async def test_managers_hear_what_happens_to_sessions(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service():
        await leave(await provider.log_on("ann"))
        await provider.log_on("ann")
        provider.desktops[0].log_off()
        await trio.testing.wait_all_tasks_blocked()
    assert heard(provider) == [
        (1, "service start"),
        (1, SessionChange.REMOTE_CONNECT),
        (1, SessionChange.SESSION_LOGON),
        (1, SessionChange.SESSION_DESKTOP_READY),
        (1, SessionChange.REMOTE_DISCONNECT),
        (2, "service start"),  # the temporary session of the second connection
        (2, SessionChange.REMOTE_CONNECT),
        (2, SessionChange.REMOTE_DISCONNECT),
        (2, "service stop"),
        (1, SessionChange.REMOTE_CONNECT),
        (1, SessionChange.SESSION_LOGOFF),
        (1, SessionChange.REMOTE_DISCONNECT),
        (1, "service stop"),
    ]


async def test_managers_hear_of_a_takeover_that_one_client_goes_before_the_other_comes(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service():
        first = await provider.log_on("ann")
        second = await provider.log_on("ann")
    told = [asked.args for asked in provider.calls if asked.name == "NotifySessionStateChange"]
    guids = [client.args_of("NotifySessionId")[0].session_unique_guid for client in (first, second)]
    events = [(args[0].session_unique_guid, args[1]) for args in told if args[0].session_id == 1]
    assert events == [
        (guids[0], SessionChange.REMOTE_CONNECT),
        (guids[0], SessionChange.SESSION_LOGON),
        (guids[0], SessionChange.SESSION_DESKTOP_READY),
        (guids[0], SessionChange.REMOTE_DISCONNECT),
        (guids[1], SessionChange.REMOTE_CONNECT),
        (guids[1], SessionChange.REMOTE_DISCONNECT),  # the service stops
        (guids[1], SessionChange.SESSION_LOGOFF),
    ]


@pytest.mark.parametrize("failure", ["IsUserAllowedToLogon", "GetVideoHandle", "make", "run"])
async def test_managers_hear_of_a_session_that_fails_no_more_than_there_was(autojump_clock, failure):
    failing = Fails(HResultError("scripted"))
    provider = ScriptedProvider({failure: failing})
    provider.desktop_answers[failure] = failing
    async with provider.service():
        client = await provider.connect(answers={"GetUserCredentials": UserCredential("ann", "right")})
        await client.closed.wait()
    news = heard(provider)
    connected = [(1, SessionChange.REMOTE_CONNECT), (1, SessionChange.REMOTE_DISCONNECT)]
    assert news == [
        (1, "service start"),
        *(connected if failure != "GetVideoHandle" else []),
        (1, "service stop"),
    ]


def heard(provider):
    """What the managers have been told of sessions."""
    names = {"NotifySessionOfServiceStart": "service start", "NotifySessionOfServiceStop": "service stop"}
    news = []
    for asked in provider.calls:
        if asked.name in names:
            news.append((asked.args[0].session_id, names[asked.name]))
        elif asked.name == "NotifySessionStateChange":
            news.append((asked.args[0].session_id, SessionChange(asked.args[1])))
    return news


async def test_a_session_without_client_may_end_too(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service() as service:
        await leave(await provider.log_on("ann"))
        provider.desktops[0].log_off()
        await trio.testing.wait_all_tasks_blocked()
        assert list(service.sessions) == []


# Reconnect secrets


async def come_back(provider, claim, **answers):
    client = await provider.connect(answers={"AuthenticateClientToSession": claim, **answers})
    await trio.testing.wait_all_tasks_blocked()
    return client


def is_direct(client):
    return "NotifyCommandProcessCreated" not in client.names and "LogonNotify" in client.names


async def with_secret(provider):
    client = await provider.log_on("ann")
    secret = client.callback.issue_reconnect_secret()
    return client, secret


async def test_a_secret_works_once_and_takes_over_a_client_that_is_still_there(autojump_clock, checked):
    provider = ScriptedProvider()
    async with provider.service():
        first, secret = await with_secret(provider)
        claim = ReconnectClaim(secret.logon_id, secret.secret)
        second = await come_back(provider, claim)
        assert is_direct(second)
        assert told(first) == ErrInfo.ERRINFO_DISCONNECTED_BY_OTHERCONNECTION
        third = await come_back(provider, claim)
        assert not is_direct(third)
        assert "Close" not in second.names
    checked(provider)


async def test_a_secret_may_be_proved_by_hmac_md5(autojump_clock, checked):
    provider = ScriptedProvider()
    async with provider.service():
        _, secret = await with_secret(provider)
        proof = hmac.new(secret.secret, bytes(32), hashlib.md5).digest()
        claim = ReconnectClaim(secret.logon_id, proof, ReconnectMethod.HMAC_MD5, bytes(32))
        assert is_direct(await come_back(provider, claim))
    checked(provider)


async def test_a_new_secret_voids_the_one_before(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service():
        client, old = await with_secret(provider)
        new = client.callback.issue_reconnect_secret()
        assert not is_direct(await come_back(provider, ReconnectClaim(old.logon_id, old.secret)))
        assert is_direct(await come_back(provider, ReconnectClaim(new.logon_id, new.secret)))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda secret: ReconnectClaim(secret.logon_id, bytes(16)),
        lambda secret: ReconnectClaim(secret.logon_id, b""),
        lambda secret: ReconnectClaim(secret.logon_id + 1, secret.secret),
        lambda secret: ReconnectClaim(secret.logon_id, secret.secret, ReconnectMethod.HMAC_MD5),
    ],
)
async def test_a_wrong_proof_is_as_none_and_spoils_nothing(autojump_clock, checked, wrong):
    provider = ScriptedProvider()
    async with provider.service():
        first, secret = await with_secret(provider)
        stranger = await come_back(provider, wrong(secret))
        assert not is_direct(stranger)
        assert provider.logon_desktops[-1].asked == 1
        assert "Close" not in first.names
        assert is_direct(await come_back(provider, ReconnectClaim(secret.logon_id, secret.secret)))
    checked(provider)


async def test_a_secret_is_not_for_another_user(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service():
        first, secret = await with_secret(provider)
        claim = ReconnectClaim(secret.logon_id, secret.secret)
        bob = await come_back(provider, claim, GetUserCredentials=UserCredential("bob", "right"))
        assert not is_direct(bob)
        proof = provider.authenticator.vouch("bob")
        bob = await come_back(provider, claim, GetUserCredentials=UserCredential("ann", proof=proof))
        assert not is_direct(bob)
        assert "Close" not in first.names
        ann = await come_back(provider, claim, GetUserCredentials=UserCredential("ANN", "forgotten"))
        assert is_direct(ann)


async def test_a_secret_is_worth_nothing_once_the_account_is_gone(autojump_clock, checked):
    provider = ScriptedProvider()
    async with provider.service():
        first, secret = await with_secret(provider)
        del provider.authenticator.users["ann"]
        client = await come_back(provider, ReconnectClaim(secret.logon_id, secret.secret))
        assert not is_direct(client)
        assert "Close" not in first.names
    checked(provider)


async def test_a_session_that_ends_while_the_account_is_looked_up_is_not_given_away(autojump_clock, checked):
    provider = ScriptedProvider()
    async with provider.service():
        _, secret = await with_secret(provider)
        provider.authenticator.answers["check_account"] = Takes(5)
        client = await come_back(provider, ReconnectClaim(secret.logon_id, secret.secret))
        provider.desktops[0].log_off()
        await trio.sleep(6)
        assert not is_direct(client)
        assert "NotifyCommandProcessCreated" in client.names
    checked(provider)


async def test_a_secret_is_for_who_is_logged_on_and_policy_may_refuse_it(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service():
        client = await provider.connect()
        with pytest.raises(HResultError, match="0x80070005"):
            client.callback.issue_reconnect_secret()
        logged_on = await provider.log_on("ann")
        await provider.log_on("ann")
        with pytest.raises(HResultError, match="0x80070005"):
            logged_on.callback.issue_reconnect_secret()  # it shows the session no more
    provider = ScriptedProvider(policies=Policies(machine=Settings(disable_auto_reconnect=enabled(1))))
    async with provider.service():
        client = await provider.log_on("ann")
        with pytest.raises(HResultError, match="policy"):
            client.callback.issue_reconnect_secret()


async def test_a_secret_does_not_outlive_a_later_connection_that_forbids_it(autojump_clock, checked):
    provider = ScriptedProvider()
    async with provider.service():
        first, secret = await with_secret(provider)
        first.goes()
        await first.closed.wait()
        strict = await provider.log_on(
            "ann", answers={"LogonNotify": lambda *given: attrs.evolve(given[-1], disable_auto_reconnect=True)}
        )
        assert strict.args_of("ConnectNotify") == (secret.logon_id,)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(HResultError, match="policy"):
            strict.callback.issue_reconnect_secret()
        strict.goes()
        await strict.closed.wait()
        client = await come_back(provider, ReconnectClaim(secret.logon_id, secret.secret))
        assert not is_direct(client)
    checked(provider)


@pytest.mark.parametrize("answer", [True, False])
async def test_nothing_of_a_session_is_shown_before_the_provider_allows_its_user(autojump_clock, checked, answer):
    provider = ScriptedProvider()
    async with provider.service():
        first, secret = await with_secret(provider)
        (desktop,) = provider.desktops
        first.goes()
        await first.closed.wait()
        seen = []

        def is_allowed(*_):
            seen.append((client.video.screen, client.inputs.sink, len(desktop.screens)))
            if not answer:
                raise HResultError("not here")

        claim = ReconnectClaim(secret.logon_id, secret.secret)
        client = await provider.connect(
            answers={"AuthenticateClientToSession": claim, "IsUserAllowedToLogon": is_allowed}
        )
        await trio.testing.wait_all_tasks_blocked()
        assert seen == [(None, None, 1)]
        assert is_direct(client) is answer
        assert (client.video.screen is not None) is answer
        assert len(desktop.screens) == 1 + answer
        assert ("Close" in client.names) is not answer
    checked(provider)


@given(
    secret=st.binary(min_size=16, max_size=16), guess=st.binary(max_size=40), method=st.sampled_from(ReconnectMethod)
)
def test_only_who_has_the_secret_can_prove_it(secret, guess, method):
    async def main():
        sessions = SessionTable()
        session = sessions.create_temporary()
        sessions.keep(session, UserToken("ann"))
        session.secret = secret
        right = verifier(secret, method, b"challenge")
        claim = ReconnectClaim(session.session_id, guess, method, b"challenge")
        assert (sessions.redeem(claim, None) is session) is (guess == right)
        session.secret = secret
        assert sessions.redeem(ReconnectClaim(session.session_id, right, method, b"challenge"), None) is session
        assert session.secret is None

    trio.run(main)


# What a provider may ask in between


async def test_a_connection_that_breaks_while_it_answers_is_asked_nothing_more(autojump_clock, checked):
    provider = ScriptedProvider()
    async with provider.service():
        client = await provider.connect(answers={"AcceptConnection": lambda: client.goes()}, ready=False)
        client.callback.on_ready()
        await client.closed.wait()
        assert client.names == ["GetLogonErrorRedirector", "AcceptConnection", "Close"]
    checked(provider)


async def test_updates_stop_and_resume_with_a_redraw(autojump_clock, checked):
    provider = ScriptedProvider()
    async with provider.service():
        client = await provider.log_on("ann")
        screen, (desktop,) = client.video.screen, provider.desktops
        assert len(screen.take_damage()) == 1
        client.callback.stop_screen_updates()
        desktop.damage()
        assert client.video.damages == 0
        assert screen.take_damage() == ()
        client.callback.redraw_window(None)
        assert client.video.damages == 1
        assert [(part.width, part.height) for part in screen.take_damage()] == [(1, 1), (640, 480)]
        assert client.callback.get_connection_id() == 1
    checked(provider)


async def test_a_screen_that_was_unplugged_shows_nothing_of_the_session(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service():
        first = await provider.log_on("ann")
        screen = first.video.screen
        whole = screen.take_damage()[0]
        assert screen.grab(whole).all()
        await provider.log_on("ann")
        provider.desktops[0].damage()
        assert screen.take_damage() == ()
        assert not screen.grab(whole).any()
        assert (screen.width, screen.height) == (640, 480)
        assert screen.take_pointer_position() is None


async def test_a_lock_key_event_releases_what_is_held(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service():
        client = await provider.log_on("ann")
        client.inputs.send(
            ScancodeKey(0x1D, True, extended=True), UnicodeKey("ß", True), LockKeys(False, True, False, False)
        )
        assert provider.desktops[0].events[2:] == [
            ScancodeKey(0x1D, False, extended=True),
            UnicodeKey("ß", False),
            LockKeys(False, True, False, False),
        ]


async def test_a_client_cannot_hold_more_keys_than_there_are(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service():
        client = await provider.log_on("ann")
        client.inputs.send(*(UnicodeKey(chr(0x4E00 + number), True) for number in range(2000)))
        events = provider.desktops[0].events
        assert sum(event.pressed for event in events) - sum(not event.pressed for event in events) == 512
        await leave(client)
        assert sum(event.pressed for event in events) == sum(not event.pressed for event in events)


async def test_the_desktop_is_told_who_came_and_by_which_calls(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service():
        await provider.log_on("ann")
        attached, *steps = provider.desktops[0].messages
    assert attached == ClientAttached(
        name="scripted",
        address="192.0.2.1",
        protocol="rdpprov.testing.scripted:ScriptedManager",
        listener="scripted",
        width=640,
        height=480,
        color_depth=32,
    )
    calls = [step.call for step in steps if isinstance(step, SequenceStep)]
    assert calls[:3] == ["GetLogonErrorRedirector", "OnConnected", "OnReady"]
    assert "LogonNotify" in calls
    assert next(step for step in steps if step.call == "GetLogonErrorRedirector").outcome == "0x80004001"


async def test_the_logon_desktop_is_told_who_came_before_anybody_types(autojump_clock):
    provider = ScriptedProvider({"GetClientData": ClientData(client_name="berlin", keyboard_layout=0x407)})
    async with provider.service():
        await provider.connect()
        desktop = await provider.logon_desktop()
    assert desktop.told == [
        ClientAttached(
            name="berlin",
            protocol="rdpprov.testing.scripted:ScriptedManager",
            listener="scripted",
            width=1024,
            height=768,
            keyboard_layout=0x407,
        )
    ]


@pytest.mark.parametrize(("layout", "password"), [(0x409, "yz-"), (0x407, "zyß")])
async def test_a_password_typed_on_the_logon_desktop_is_read_with_the_clients_keyboard_layout(
    autojump_clock, layout, password
):
    class Provider(ScriptedProvider):
        def make_logon_desktop(self, request):
            return PanelLogonDesktop(request)

    provider = Provider({"GetClientData": ClientData(user_name="ann", keyboard_layout=layout)}, users={"ann": password})
    async with provider.service():
        client = await provider.connect()
        await client.until("NotifyCommandProcessCreated")
        for scancode in (0x15, 0x2C, 0x0C, 0x1C):  # right of T, left of X, right of 0, Enter
            client.inputs.send(ScancodeKey(scancode, True), ScancodeKey(scancode, False))
        with trio.fail_after(10):
            await client.until("LogonNotify")


async def test_log_on_notify_may_tighten_a_policy_and_not_loosen_one(autojump_clock, log):
    policies = Policies(machine=Settings(disable_clip=enabled(1), max_idle_time=enabled(30)))
    provider = ScriptedProvider(policies=policies)

    def change(_user, _name, _domain, _session, settings):
        assert settings.disable_clip
        assert settings.max_idle_time == 30
        return attrs.evolve(settings, disable_clip=False, max_idle_time=10, client_name="renamed")

    async with provider.service() as service:
        await provider.log_on("ann", answers={"LogonNotify": change})
        (session,) = service.sessions
        settings = session.holder.settings.values
        assert (settings.disable_clip, settings.max_idle_time, settings.client_name) == (True, 10, "renamed")
    assert any(entry.get("settings") == ["disable_clip"] for entry in log)
    assert isinstance(settings, ConnectionSettings)


async def test_a_logon_desktop_that_fails_over_a_resize_ends_its_connection_and_dooms_no_session(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service() as service:
        client = await provider.connect()
        desktop = await provider.logon_desktop()

        async def resize(width, height):
            raise ZeroDivisionError("a mistake")

        desktop.resize = resize
        with pytest.raises(HResultError):
            await client.callback.resize_desktop(800, 600)
        await trio.sleep(1)
        assert told(client) == ErrInfo.ERRINFO_SERVER_WINLOGON_CRASH
        assert list(service.sessions) == []


async def test_a_logon_desktop_that_fails_over_a_resize_too_late_harms_nobody(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service() as service, trio.open_nursery() as nursery:
        client = await provider.connect()
        desktop = await provider.logon_desktop()

        async def resize(width, height):
            await trio.sleep(5)
            raise ZeroDivisionError("a mistake")

        async def resize_in_vain():
            with pytest.raises(HResultError):
                await client.callback.resize_desktop(800, 600)

        desktop.resize = resize
        nursery.start_soon(resize_in_vain)
        await trio.testing.wait_all_tasks_blocked()
        desktop.type("ann", "right")
        await client.until("LogonNotify")
        await trio.sleep(10)
        assert not client.closed.is_set()
        assert [session.user.name for session in service.sessions] == ["ann"]


class BrokenScreen(ScriptedScreen):
    """One that cannot be closed."""

    def close(self):
        raise ZeroDivisionError("a mistake")


class BrokenDesktops(ScriptedProvider):
    """The first desktop has screens that cannot be opened, or not closed; the others are good."""

    def __init__(self, fails_at):
        super().__init__()
        self.fails_at = fails_at

    def make_desktop(self, request):
        desktop = super().make_desktop(request)
        if len(self.desktops) == 1:
            desktop.open_screen = self._open_screen
        return desktop

    def _open_screen(self, on_damage):
        if self.fails_at == "open":
            raise ZeroDivisionError("a mistake")
        return BrokenScreen(self.desktops[0], on_damage)


@pytest.mark.parametrize("fails_at", ["open", "close"])
async def test_a_desktop_with_a_broken_screen_costs_its_own_session(autojump_clock, checked, fails_at):
    provider = BrokenDesktops(fails_at)
    async with provider.service() as service:
        ann = await provider.connect(answers={"GetUserCredentials": UserCredential("ann", "right")})
        bob = await provider.log_on("bob")
        await trio.sleep(1)
        ann.goes()
        await ann.closed.wait()
        await trio.sleep(1)
        assert provider.desktops[0].is_closed
        assert [session.user.name for session in service.sessions] == ["bob"]
        assert not bob.closed.is_set()
    checked(provider)


async def test_a_desktop_whose_screen_does_not_close_ends_when_it_is_taken_over(autojump_clock):
    provider = BrokenDesktops("close")
    async with provider.service() as service:
        first = await provider.log_on("ann")
        second = await provider.connect(answers={"GetUserCredentials": UserCredential("ann", "right")})
        await first.closed.wait()
        await second.closed.wait()
        assert list(service.sessions) == []
        third = await provider.log_on("ann")
        await trio.sleep(1)
        assert not third.closed.is_set()
