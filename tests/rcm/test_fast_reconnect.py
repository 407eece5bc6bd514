"""Sessions that a provider chooses: before the logon if the wire proved the user, else after it; never across users."""

import pytest
import trio

from rdpprov.api.enums import FastReconnectMode
from rdpprov.api.identity import ReconnectClaim, UserToken
from rdpprov.api.properties import PROPERTY_TYPE_GET_FAST_RECONNECT, PROPERTY_TYPE_GET_FAST_RECONNECT_USER_SID
from rdpprov.api.structures import PropertyValue, UserCredential
from rdpprov.errors import HResultError
from rdpprov.rcm.configuration import SessionsPolicy
from rdpprov.rcm.fast_reconnect import is_name_of
from rdpprov.testing.scripted import HANGS, NOT_IMPLEMENTED, Fails, QueriedConnection, ScriptedProvider

MODE, SID = PROPERTY_TYPE_GET_FAST_RECONNECT, PROPERTY_TYPE_GET_FAST_RECONNECT_USER_SID
CHOOSE = "GetSessionForEnhancedFastReconnect"
SEVERAL = SessionsPolicy(single_session_per_user=False)


def answered(mode, **more):
    return {MODE.name: [PropertyValue(mode)], **more}


def proven(provider, user="ann"):
    """What the wire brings when NLA has found out who it is."""
    return UserCredential(user, proof=provider.authenticator.vouch(user, "ntlm"))


async def leave(client):
    client.goes()
    await client.closed.wait()


async def two_sessions(provider):
    """Two disconnected sessions of ann's; the numbers, the one that was left last at the end."""
    clients = [await provider.log_on("ann") for _ in range(2)]
    for client in clients:
        await trio.sleep(1)
        await leave(client)
    return [client.args_of("ConnectNotify")[0] for client in clients]


def chooses(number):
    return lambda candidates: number if number in candidates else None


async def test_a_user_whom_the_wire_proved_gets_the_session_that_the_provider_chooses_at_once(autojump_clock, checked):
    provider = ScriptedProvider(sessions=SEVERAL)
    async with provider.service() as service:
        first, second = await two_sessions(provider)
        answers = answered(FastReconnectMode.ENHANCED, **{SID.name: [PropertyValue("ANN")], CHOOSE: chooses(first)})
        client = await provider.connect(
            answers={**answers, "GetUserCredentials": proven(provider)}, connection_class=QueriedConnection
        )
        await client.until("LogonNotify")
        assert client.args_of(CHOOSE) == ([first, second],)
        assert client.args_of("ConnectNotify") == (first,)
        assert "NotifyCommandProcessCreated" not in client.names
        assert "SessionArbitrationEnumeration" not in client.names
        assert "IsUserAllowedToLogon" in client.names
        assert all(not session.is_temporary for session in service.sessions)
        assert len(list(service.sessions)) == 2
    checked(provider)


async def test_a_user_who_is_known_after_the_logon_only_gets_it_then(autojump_clock, checked):
    provider = ScriptedProvider(sessions=SEVERAL)
    async with provider.service():
        first, _ = await two_sessions(provider)
        client = await provider.log_on(
            "ann",
            answers=answered(FastReconnectMode.ENHANCED, **{CHOOSE: chooses(first)}),
            connection_class=QueriedConnection,
        )
        assert client.args_of("ConnectNotify") == (first,)
        assert client.names.index(CHOOSE) > client.names.index("IsUserAllowedToLogon")
        assert client.names.count("DisconnectNotify") == 1
        assert "SessionArbitrationEnumeration" not in client.names
    checked(provider)


@pytest.mark.parametrize(
    "answer",
    [NOT_IMPLEMENTED, None, Fails(HResultError("no")), HANGS, 999, "1", lambda candidates: max(candidates) + 1],
    ids=["not implemented", "none", "fails", "hangs", "unknown", "no number", "another"],
)
@pytest.mark.parametrize("on_the_wire", [True, False], ids=["proved on the wire", "logged on"])
async def test_without_a_choice_the_connection_goes_on_as_any_other(autojump_clock, checked, answer, on_the_wire):
    provider = ScriptedProvider(sessions=SEVERAL)
    async with provider.service():
        _, last = await two_sessions(provider)
        credentials = proven(provider) if on_the_wire else UserCredential("ann", "right")
        answers = answered(FastReconnectMode.ENHANCED, **{CHOOSE: answer, "GetUserCredentials": credentials})
        client = await provider.connect(answers=answers, connection_class=QueriedConnection)
        await client.until("LogonNotify")
        assert client.names.count(CHOOSE) == 1
        assert client.names.count("SessionArbitrationEnumeration") == 1
        assert client.args_of("ConnectNotify") == (last,)
    checked(provider)


@pytest.mark.parametrize("on_the_wire", [True, False], ids=["proved on the wire", "logged on"])
async def test_the_sessions_of_others_are_never_offered(autojump_clock, checked, on_the_wire):
    provider = ScriptedProvider()
    async with provider.service() as service:
        await leave(await provider.log_on("bob"))
        (bobs,) = service.sessions
        await leave(await provider.log_on("ann"))
        credentials = proven(provider) if on_the_wire else UserCredential("ann", "right")
        answers = {CHOOSE: bobs.session_id, "GetUserCredentials": credentials}
        client = await provider.connect(
            answers=answered(FastReconnectMode.ENHANCED, **answers), connection_class=QueriedConnection
        )
        await client.until("LogonNotify")
        assert bobs.session_id not in client.args_of(CHOOSE)[0]
        assert bobs.user == UserToken("bob", how="password")
        assert bobs.holder is None
    checked(provider)


async def test_a_filter_for_another_user_gives_nobodys_session(autojump_clock, checked, log):
    provider = ScriptedProvider()
    async with provider.service():
        await leave(await provider.log_on("bob"))
        await leave(await provider.log_on("ann"))
        answers = answered(FastReconnectMode.ENHANCED, **{SID.name: [PropertyValue("bob")], CHOOSE: chooses(1)})
        client = await provider.log_on("ann", answers=answers, connection_class=QueriedConnection)
        assert CHOOSE not in client.names
        assert any("another user" in entry["event"] for entry in log)
    checked(provider)


@pytest.mark.parametrize(
    "mode", [NOT_IMPLEMENTED, [PropertyValue(0)], [PropertyValue(1)], [PropertyValue(7)]], ids=["", "off", "basic", "7"]
)
async def test_only_the_enhanced_mode_asks_the_arbitrator(autojump_clock, checked, mode):
    provider = ScriptedProvider()
    async with provider.service():
        await leave(await provider.log_on("ann"))
        client = await provider.log_on("ann", answers={MODE.name: mode}, connection_class=QueriedConnection)
        assert CHOOSE not in client.names
        assert SID.name not in client.names
        assert client.names.count("SessionArbitrationEnumeration") == 1
    checked(provider)


async def test_without_a_disconnected_session_there_is_nothing_to_choose(autojump_clock, checked):
    provider = ScriptedProvider()
    async with provider.service():
        client = await provider.log_on(
            "ann", answers=answered(FastReconnectMode.ENHANCED), connection_class=QueriedConnection
        )
        assert CHOOSE not in client.names
        second = await provider.log_on(  # the one that there is, is active: it is taken over as ever
            "ann", answers=answered(FastReconnectMode.ENHANCED), connection_class=QueriedConnection
        )
        assert CHOOSE not in second.names
        assert second.args_of("ConnectNotify") == client.args_of("ConnectNotify")
    checked(provider)


async def test_a_session_that_somebody_got_while_the_provider_chose_is_not_given_away_again(autojump_clock, checked):
    provider = ScriptedProvider(sessions=SEVERAL)
    async with provider.service() as service:
        first, second = await two_sessions(provider)

        async def slowly(candidates):
            other = await provider.log_on("ann", answers={"SessionArbitrationEnumeration": [first]})
            assert other.args_of("ConnectNotify") == (first,)
            return first

        answers = answered(FastReconnectMode.ENHANCED, **{CHOOSE: slowly, "GetUserCredentials": proven(provider)})
        client = await provider.connect(answers=answers, connection_class=QueriedConnection)
        await client.until("LogonNotify")
        assert client.args_of("ConnectNotify") == (second,)
        assert service.connection_count == 2
    checked(provider)


@pytest.mark.parametrize(
    ("mode", "goes_straight"),
    [(NOT_IMPLEMENTED, True), ([PropertyValue(0)], False), ([PropertyValue(1)], True), ([PropertyValue(2)], True)],
    ids=["nothing said", "off", "basic", "enhanced"],
)
async def test_a_session_that_the_client_proves_is_taken_unless_fast_reconnect_is_off(
    autojump_clock, checked, mode, goes_straight
):
    provider = ScriptedProvider()
    async with provider.service():
        first = await provider.log_on("ann")
        secret = first.callback.issue_reconnect_secret()
        await leave(first)
        claim = ReconnectClaim(secret.logon_id, secret.secret)
        answers = {MODE.name: mode, "AuthenticateClientToSession": claim}
        client = await provider.log_on("ann", answers=answers, connection_class=QueriedConnection)
        assert ("NotifyCommandProcessCreated" not in client.names) is goes_straight
    checked(provider)


async def test_a_service_that_drains_still_gives_sessions_back_that_the_provider_chooses(autojump_clock, checked):
    provider = ScriptedProvider()
    async with provider.service() as service:
        first = await provider.log_on("ann")
        await leave(first)
        service.set_draining(True)
        answers = {CHOOSE: first.args_of("ConnectNotify")[0], "GetUserCredentials": proven(provider)}
        client = await provider.connect(
            answers=answered(FastReconnectMode.ENHANCED, **answers), connection_class=QueriedConnection
        )
        await client.until("LogonNotify")
        assert client.args_of("ConnectNotify") == first.args_of("ConnectNotify")
    checked(provider)


@pytest.mark.parametrize(
    ("named", "is_ann"),
    [
        ("ann", True),
        ("ANN", True),
        ("CORP\\ann", True),
        ("ann@corp", True),
        ("OTHER\\ann", False),
        ("ann@other", False),
        ("bob", False),
        ("", False),
        ("S-1-5-21-1", False),
    ],
)
def test_a_name_stands_where_windows_has_a_sid(named, is_ann):
    assert is_name_of(named, UserToken("Ann", "Corp")) is is_ann
