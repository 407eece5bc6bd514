"""Logons that fail, and what a provider's redirector makes of it; credentials of a second kind."""

import pytest
import trio

from rdpprov.accounts.messages import MESSAGES
from rdpprov.api.enums import LogonErrorRedirectorResponse as Response
from rdpprov.api.identity import LogonError, NtStatus, UserToken
from rdpprov.api.structures import ConnectionSettings, SerializedUserCredential, UserCredential
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import HResultError
from rdpprov.rcm.logon_errors import DRAINING, MB_ICONERROR, MB_ICONINFORMATION, SUBSTATUSES
from rdpprov.testing.scripted import HANGS, NOT_IMPLEMENTED, Fails, QueriedConnection, ScriptedProvider

ANN, WRONG = UserCredential("ann", "right"), UserCredential("ann", "wrong")
INCORRECT = MESSAGES[NtStatus.STATUS_LOGON_FAILURE]
FRESH = (ErrInfo.ERRINFO_SERVER_FRESH_CREDENTIALS_REQUIRED,)


def redirecting(**answers):
    """A provider with a redirector, whose clients bring a wrong password."""
    return ScriptedProvider({"GetLogonErrorRedirector": None, "GetUserCredentials": WRONG, **answers})


async def connect(provider, **more):
    # DEFAULT_ANSWERS have no redirector; a function that gives nothing lets the scripted one be taken.
    return await provider.connect(answers={"GetLogonErrorRedirector": lambda: None, **more.pop("answers", {})}, **more)


def in_turn(*answers):
    """An answer for each call, the last one for all that follow."""
    left = list(answers)
    return lambda *args: left.pop(0) if len(left) > 1 else left[0]


@pytest.mark.parametrize(
    ("response", "shown"),
    [
        (Response.INVALID, INCORRECT),
        (Response.NOT_HANDLED, INCORRECT),
        (Response.HANDLED_SHOW, INCORRECT),
        (Response.HANDLED_DONT_SHOW, ""),
        (NOT_IMPLEMENTED, INCORRECT),
        (Fails(HResultError("busy")), INCORRECT),
        (HANGS, INCORRECT),
    ],
    ids=["invalid", "not handled", "show", "don't show", "not implemented", "fails", "hangs"],
)
async def test_after_a_logon_error_the_user_is_asked_again_and_sees_what_the_redirector_lets_them(
    autojump_clock, checked, response, shown
):
    provider = redirecting(RedirectLogonError=response)
    async with provider.service():
        client = await connect(provider)
        desktop = await provider.logon_desktop()
        await client.until("RedirectLogonError")
        await trio.sleep(20)  # longer than a redirector that hangs is waited for
        assert desktop.asked == 1
        assert desktop.messages == [shown]
        assert client.names[-2:] == ["OnBeginPainting", "RedirectLogonError"]
        desktop.type("ann", "right")
        await client.until("LogonNotify")
    checked(provider)


async def test_a_mistake_in_a_redirector_ends_the_connection(autojump_clock, checked):
    provider = redirecting(RedirectLogonError=Fails(ZeroDivisionError("a mistake")))
    async with provider.service():
        client = await connect(provider)
        await client.closed.wait()
        assert client.args_of("SetErrorInfo") == (ErrInfo.ERRINFO_SERVER_DENIED_CONNECTION,)
    checked(provider)


@pytest.mark.parametrize("status", MESSAGES, ids=lambda status: status.name)
async def test_the_redirector_is_told_the_authenticators_verdict(autojump_clock, checked, status):
    provider = redirecting()
    provider.authenticator.answers["authenticate"] = Fails(LogonError("no", status))
    async with provider.service():
        client = await connect(provider)
        await client.until("RedirectLogonError")
        told, substatus, caption, message, message_type = client.args_of("RedirectLogonError")
        assert (caption, message, message_type) == ("Log on", MESSAGES[status], MB_ICONERROR)
        if status in SUBSTATUSES:
            assert (told, substatus) == (NtStatus.STATUS_ACCOUNT_RESTRICTION, status)
        else:
            assert (told, substatus) == (status, 0)
        client.goes()
        await client.closed.wait()
    checked(provider)


async def test_a_logon_that_starts_over_takes_the_providers_new_credentials_and_asks_nobody(autojump_clock, checked):
    provider = redirecting(RedirectLogonError=Response.HANDLED_DONT_SHOW_START_OVER)
    async with provider.service() as service:
        client = await connect(provider, answers={"GetUserCredentials": in_turn(WRONG, ANN)})
        await client.until("LogonNotify")
        (desktop,) = provider.logon_desktops
        assert (desktop.asked, desktop.messages, desktop.is_closed) == (0, [], True)
        assert [session.user for session in service.sessions] == [UserToken("ann", how="password")]
        assert client.names.count("GetUserCredentials") == 2
        assert client.names.count("GetLicenseConnection") == 1
    checked(provider)


@pytest.mark.parametrize("again", [WRONG, NOT_IMPLEMENTED, UserCredential("ann"), Fails(HResultError("none"))], ids=str)
async def test_a_logon_that_starts_over_without_other_credentials_ends(autojump_clock, checked, again):
    provider = redirecting(RedirectLogonError=Response.HANDLED_DONT_SHOW_START_OVER)

    async def credentials():
        if client.names.count("GetUserCredentials") == 1:
            return WRONG
        if isinstance(again, Fails):
            raise again.error
        return again

    async with provider.service():
        client = await connect(provider, answers={"GetUserCredentials": credentials}, ready=False)
        client.callback.on_ready()
        await client.closed.wait()
        assert client.args_of("SetErrorInfo") == FRESH
        assert [desktop.asked for desktop in provider.logon_desktops] == [0]
    checked(provider)


async def test_a_logon_does_not_start_over_for_ever(autojump_clock, checked):
    provider = redirecting(RedirectLogonError=Response.HANDLED_DONT_SHOW_START_OVER)
    guesses = in_turn(*(UserCredential("ann", f"guess {number}") for number in range(100)))
    async with provider.service():
        client = await connect(provider, answers={"GetUserCredentials": guesses})
        await client.closed.wait()
        assert client.args_of("SetErrorInfo") == FRESH
        assert client.names.count("RedirectLogonError") == 3
    checked(provider)


async def test_where_passwords_have_to_be_typed_a_logon_does_not_start_over(autojump_clock, checked):
    provider = redirecting(RedirectLogonError=Response.HANDLED_DONT_SHOW_START_OVER)
    settings = ConnectionSettings(prompt_for_password=True)
    answers = {"GetUserCredentials": in_turn(WRONG, ANN), "GetClientData": settings}
    async with provider.service():
        client = await connect(provider, answers=answers, settings=settings)
        (await provider.logon_desktop()).type("ann", "wrong")
        await client.closed.wait()
        assert client.args_of("SetErrorInfo") == FRESH
    checked(provider)


async def test_a_client_without_a_screen_hears_of_its_logon_error_through_the_redirector(autojump_clock, checked):
    headless = {"GetVideoHandle": NOT_IMPLEMENTED, "RedirectLogonError": Response.HANDLED_DONT_SHOW_START_OVER}
    provider = redirecting(**headless)
    async with provider.service():
        first = await connect(provider, answers={"GetUserCredentials": in_turn(WRONG, ANN)})
        await first.until("LogonNotify")
        second = await connect(provider, answers={"RedirectLogonError": Response.NOT_HANDLED})
        await second.closed.wait()
        assert second.names.count("RedirectLogonError") == 1
        assert second.args_of("SetErrorInfo") == FRESH
        assert provider.logon_desktops == []
    checked(provider)


@pytest.mark.parametrize(
    ("response", "messages"),
    [
        (Response.NOT_HANDLED, []),
        (Response.HANDLED_SHOW, []),
        (Response.HANDLED_DONT_SHOW, [""]),
        (Response.HANDLED_DONT_SHOW_START_OVER, [""]),
        (NOT_IMPLEMENTED, []),
    ],
    ids=str,
)
async def test_the_redirector_is_told_that_what_was_typed_is_being_checked(autojump_clock, checked, response, messages):
    provider = redirecting(RedirectStatus=response, GetUserCredentials=NOT_IMPLEMENTED)
    async with provider.service():
        client = await connect(provider)
        desktop = await provider.logon_desktop()
        desktop.type("ann", "right")
        await client.until("LogonNotify")
        assert client.names.count("RedirectStatus") == 1
        assert desktop.messages == messages
    checked(provider)


@pytest.mark.parametrize("response", Response)
async def test_a_service_that_drains_tells_the_redirector_before_it_refuses(autojump_clock, checked, response):
    provider = redirecting(RedirectMessage=response)
    async with provider.service() as service:
        service.set_draining(True)
        client = await connect(provider, answers={"GetUserCredentials": ANN})
        await client.closed.wait()
        assert client.args_of("RedirectMessage") == ("Log on", DRAINING, MB_ICONINFORMATION)
        assert client.args_of("SetErrorInfo") == (ErrInfo.ERRINFO_SERVER_DENIED_CONNECTION,)
    checked(provider)


async def test_a_user_whom_the_provider_refuses_hears_it_from_its_redirector(autojump_clock, checked):
    provider = redirecting(IsUserAllowedToLogon=Fails(HResultError("not here")))
    async with provider.service():
        client = await connect(provider, answers={"GetUserCredentials": ANN})
        await client.closed.wait()
        assert client.args_of("RedirectLogonError")[:2] == (NtStatus.STATUS_ACCOUNT_RESTRICTION, 0)
        assert client.args_of("SetErrorInfo") == (ErrInfo.ERRINFO_SERVER_INSUFFICIENT_PRIVILEGES,)
    checked(provider)


async def test_a_provider_that_makes_a_mistake_is_not_asked_to_redirect_it(autojump_clock, checked):
    provider = redirecting(IsUserAllowedToLogon=Fails(ZeroDivisionError("a mistake")))
    async with provider.service():
        client = await connect(provider, answers={"GetUserCredentials": ANN})
        await client.closed.wait()
        assert "RedirectLogonError" not in client.names
    checked(provider)


# --- Serialized credentials

BLOB = SerializedUserCredential(b"a ticket of ann's")


def understanding(provider):
    """Let the provider's authenticator understand serialized credentials."""

    async def authenticate_serialized(credential, *, client_address, how):
        provider.authenticator.attempts.append((credential.serialization, client_address, how))
        if credential != BLOB:
            raise LogonError("no such ticket")
        return provider.authenticator.vouch("ann", how)

    provider.authenticator.authenticate_serialized = authenticate_serialized
    return provider


async def test_a_serialized_credential_is_asked_for_when_there_is_no_other_and_logs_on(autojump_clock, checked):
    provider = understanding(ScriptedProvider({"GetSerializedUserCredential": BLOB}))
    async with provider.service() as service:
        client = await provider.connect(connection_class=QueriedConnection)
        await client.until("LogonNotify")
        position = client.names.index("GetSerializedUserCredential")
        assert client.names[position - 1] == "GetUserCredentials"
        assert [session.user for session in service.sessions] == [UserToken("ann", how="serialized")]
        assert provider.authenticator.attempts == [(BLOB.serialization, "192.0.2.1", "serialized")]
        assert provider.logon_desktops == []
    (trace,) = (trace for trace in provider.traces.all() if trace.header.kind == "connection")
    assert "ticket" not in str(trace)
    checked(provider)


async def test_who_has_sent_name_and_password_is_asked_for_no_other_credential(autojump_clock, checked):
    provider = understanding(ScriptedProvider({"GetSerializedUserCredential": BLOB}))
    async with provider.service():
        client = await provider.log_on("bob", connection_class=QueriedConnection)
        assert "GetSerializedUserCredential" not in client.names
    checked(provider)


@pytest.mark.parametrize("first", [NOT_IMPLEMENTED, Fails(HResultError("none"))], ids=["none", "fails"])
@pytest.mark.parametrize(
    "second", [NOT_IMPLEMENTED, Fails(HResultError("none")), SerializedUserCredential(b"forged")], ids=str
)
async def test_only_when_both_fail_the_logon_desktop_asks(autojump_clock, checked, first, second):
    provider = understanding(ScriptedProvider({"GetUserCredentials": first, "GetSerializedUserCredential": second}))
    async with provider.service():
        client = await provider.connect(connection_class=QueriedConnection)
        (await provider.logon_desktop()).type("ann", "right")
        await client.until("LogonNotify")
    checked(provider)


async def test_a_serialized_credential_that_nobody_understands_leads_to_the_logon_desktop(autojump_clock, checked):
    provider = ScriptedProvider({"GetSerializedUserCredential": BLOB})
    async with provider.service():
        client = await provider.connect(connection_class=QueriedConnection)
        (await provider.logon_desktop()).type("ann", "right")
        await client.until("LogonNotify")
        assert provider.authenticator.attempts == [("ann", "192.0.2.1", "logon desktop")]
    checked(provider)


async def test_where_passwords_have_to_be_typed_a_serialized_credential_is_not_enough(autojump_clock, checked):
    settings = ConnectionSettings(prompt_for_password=True)
    provider = understanding(ScriptedProvider({"GetSerializedUserCredential": BLOB, "GetClientData": settings}))
    async with provider.service():
        await provider.connect(connection_class=QueriedConnection, settings=settings)
        (await provider.logon_desktop()).type("ann", "right")
        await trio.testing.wait_all_tasks_blocked()
        assert [how for _, _, how in provider.authenticator.attempts] == ["logon desktop"]


async def test_a_logon_that_starts_over_may_take_a_serialized_credential(autojump_clock, checked):
    provider = understanding(redirecting(RedirectLogonError=Response.HANDLED_DONT_SHOW_START_OVER))
    answers = {
        "GetLogonErrorRedirector": lambda: None,
        "GetSerializedUserCredential": in_turn(SerializedUserCredential(b"old"), BLOB),
        "GetUserCredentials": NOT_IMPLEMENTED,
    }
    async with provider.service():
        client = await provider.connect(answers=answers, connection_class=QueriedConnection)
        await client.until("LogonNotify")
        assert client.names.count("GetSerializedUserCredential") == 2
    checked(provider)
