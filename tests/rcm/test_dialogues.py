"""The sequences, told as dialogues between the service and one client's provider."""

import pytest

from rdpprov.api.enums import LogonErrorRedirectorResponse
from rdpprov.api.identity import NtStatus, ReconnectClaim, ReconnectMethod
from rdpprov.api.license_connection import LICENSING_SUCCEEDED
from rdpprov.api.structures import ClientData, SessionId, UserCredential
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import HResultError
from rdpprov.rcm.licensing_sequence import LicenseError, LicensePacket
from rdpprov.testing.playbook import DialogueError, Expect, Playbook, Says, Silence, Types
from rdpprov.testing.scripted import HANGS, NOT_IMPLEMENTED, Fails, ScriptedProvider, Takes

ANN = UserCredential("ann", "right")
WRONG = UserCredential("ann", "wrong")

ARRIVING = (
    Expect("GetLogonErrorRedirector"),
    Says("OnReady"),
    Expect("AcceptConnection"),
    Expect("GetClientData"),
    Expect("GetClientMonitorData"),
)
LICENSED = (
    Expect("GetLicenseConnection"),
    Expect("RequestLicensingCapabilities"),
    Expect("ProtocolComplete", args=(LICENSING_SUCCEEDED,)),
)
CONNECTED = (
    Expect("AuthenticateClientToSession"),
    Expect("NotifySessionId"),
    Expect("GetInputHandles"),
    Expect("GetVideoHandle"),
    Expect("ConnectNotify"),
    Expect("NotifyCommandProcessCreated"),
)


def up_to_logon(credentials):
    return (*ARRIVING, Expect("GetUserCredentials", credentials), *LICENSED, *CONNECTED)


def ended(errinfo, *, told_session=True):
    return (
        Expect("SetErrorInfo", args=(errinfo,)),
        *((Expect("PreDisconnect", args=(errinfo,)), Expect("DisconnectNotify")) if told_session else ()),
        Expect("Close"),
    )


NEW_SESSION = (
    Expect("IsUserAllowedToLogon"),
    Expect("SessionArbitrationEnumeration"),
    Expect("LogonNotify"),
)
RECONNECTED = (
    Expect("IsUserAllowedToLogon"),
    Expect("SessionArbitrationEnumeration"),
    Expect("DisconnectNotify"),
    Expect("NotifySessionId"),
    Expect("GetInputHandles"),
    Expect("GetVideoHandle"),
    Expect("ConnectNotify"),
    Expect("LogonNotify"),
)
CLIENT_GOES = (
    Says("BrokenConnection"),
    Expect("PreDisconnect", args=(ErrInfo.ERRINFO_PEER_DISCONNECTED,)),
    Expect("DisconnectNotify"),
    Expect("Close"),
)


async def test_a_first_connection_goes_as_the_figure_shows(autojump_clock, checked):
    provider = ScriptedProvider()
    async with provider.service():
        await Playbook(*up_to_logon(ANN), *NEW_SESSION, Silence(1000), *CLIENT_GOES).play(provider)
    assert provider.logon_desktops == []
    checked(provider)


async def test_the_second_connection_of_a_user_gets_the_session_back(autojump_clock, checked):
    provider = ScriptedProvider()
    async with provider.service() as service:
        first = await Playbook(*up_to_logon(ANN), *NEW_SESSION, *CLIENT_GOES).play(provider)
        second = await Playbook(*up_to_logon(ANN), *RECONNECTED, *CLIENT_GOES).play(provider)
        (session,) = service.sessions
    assert len(provider.desktops) == 1
    assert first.args_of("LogonNotify")[3].session_id == session.session_id
    assert second.args_of("LogonNotify")[3].session_id == session.session_id
    told = [asked.args[0].session_id for asked in second.calls if asked.name == "NotifySessionId"]
    assert len(told) == 2
    assert told[0] != session.session_id == told[1]
    checked(provider)


async def test_no_credentials_lead_to_the_logon_desktop(autojump_clock, checked):
    provider = ScriptedProvider()
    async with provider.service():
        await Playbook(*up_to_logon(NOT_IMPLEMENTED), Types("ann", "right"), *NEW_SESSION, *CLIENT_GOES).play(provider)
    (desktop,) = provider.logon_desktops
    assert (desktop.asked, desktop.messages, desktop.is_closed) == (1, [], True)
    assert provider.authenticator.attempts == [("ann", "192.0.2.1", "logon desktop")]
    checked(provider)


async def test_a_wrong_password_leads_to_the_logon_desktop_with_a_message_and_the_right_one_typed_logs_on(
    autojump_clock, checked
):
    provider = ScriptedProvider()
    async with provider.service():
        await Playbook(
            *up_to_logon(WRONG), Types("ann", "also wrong"), Types("ann", "right"), *NEW_SESSION, *CLIENT_GOES
        ).play(provider)
    (desktop,) = provider.logon_desktops
    assert desktop.asked == 2
    assert desktop.messages == ["The user name or password is incorrect."] * 2
    assert desktop.request.user_name == "ann"
    checked(provider)


async def test_a_redirector_hears_of_a_logon_error_and_may_keep_the_message_from_being_shown(autojump_clock, checked):
    provider = ScriptedProvider({"GetLogonErrorRedirector": None})
    refusal = (NtStatus.STATUS_LOGON_FAILURE, 0, "Log on", "The user name or password is incorrect.", 0x10)
    dialogue = [
        *up_to_logon(WRONG),
        Expect("OnBeginPainting"),
        Expect("RedirectLogonError", LogonErrorRedirectorResponse.HANDLED_DONT_SHOW, args=refusal),
        Types("ann", "wrong"),
        Expect("RedirectStatus", LogonErrorRedirectorResponse.HANDLED_SHOW, args=("One moment …",)),
        Expect("RedirectLogonError", Fails(HResultError("too busy"))),
        Types("ann", "right"),
        Expect("RedirectStatus", Fails(HResultError("too busy"))),
        *NEW_SESSION,
        *CLIENT_GOES,
    ]
    dialogue[0] = Expect("GetLogonErrorRedirector", lambda: None)
    async with provider.service():
        await Playbook(*dialogue).play(provider)
    (desktop,) = provider.logon_desktops
    assert desktop.messages == ["", "The user name or password is incorrect."]
    checked(provider)


async def test_a_redirector_may_end_the_logon(autojump_clock, checked):
    provider = ScriptedProvider()
    dialogue = [
        *up_to_logon(WRONG),
        Expect("OnBeginPainting"),
        Expect("RedirectLogonError", LogonErrorRedirectorResponse.HANDLED_DONT_SHOW_START_OVER),
        Expect("GetUserCredentials", WRONG),
        *ended(ErrInfo.ERRINFO_SERVER_FRESH_CREDENTIALS_REQUIRED),
    ]
    dialogue[0] = Expect("GetLogonErrorRedirector", lambda: None)
    async with provider.service():
        await Playbook(*dialogue).play(provider)
    assert not provider.logon_desktops[0].is_revealed
    checked(provider)


async def test_a_verdict_of_our_authenticator_is_a_proof_and_no_password_is_checked(autojump_clock, checked):
    provider = ScriptedProvider()
    proof = UserCredential(proof=provider.authenticator.vouch("bob", "ntlm"))
    async with provider.service():
        client = await Playbook(*up_to_logon(proof), *NEW_SESSION, *CLIENT_GOES).play(provider)
    assert provider.authenticator.attempts == []
    assert (client.args_of("LogonNotify")[0].name, client.args_of("LogonNotify")[0].how) == ("bob", "ntlm")
    checked(provider)


async def test_a_made_up_verdict_is_no_proof(autojump_clock, checked, log):
    provider = ScriptedProvider()
    forged = UserCredential(proof=ScriptedProvider().authenticator.vouch("bob"))
    async with provider.service():
        await Playbook(*up_to_logon(forged), Silence(60), *CLIENT_GOES).play(provider)
    assert provider.logon_desktops[0].asked == 1
    assert any("logon proof" in entry["event"] for entry in log)
    checked(provider)


async def test_a_client_that_is_to_be_prompted_is_asked_in_spite_of_its_password(autojump_clock, checked):
    provider = ScriptedProvider()
    dialogue = [*up_to_logon(ANN), Types("ann", "right"), *NEW_SESSION, *CLIENT_GOES]
    dialogue[3] = Expect("GetClientData", ClientData(prompt_for_password=True))
    async with provider.service():
        await Playbook(*dialogue).play(provider)
    assert provider.logon_desktops[0].request.width == 1024  # the client said nothing about its screen
    checked(provider)


async def test_a_user_who_is_not_allowed_is_told_and_dropped(autojump_clock, checked):
    provider = ScriptedProvider()
    async with provider.service() as service:
        await Playbook(
            *up_to_logon(ANN),
            Expect("IsUserAllowedToLogon", Fails(HResultError("not here"))),
            *ended(ErrInfo.ERRINFO_SERVER_INSUFFICIENT_PRIVILEGES),
        ).play(provider)
        assert list(service.sessions) == []
    assert provider.desktops == []
    checked(provider)


async def test_nobody_logging_on_in_time_ends_the_connection(autojump_clock, checked):
    provider = ScriptedProvider()
    async with provider.service():
        await Playbook(
            *up_to_logon(NOT_IMPLEMENTED),
            Expect("SetErrorInfo", args=(ErrInfo.ERRINFO_LOGON_TIMEOUT,), after=120),
            Expect("PreDisconnect"),
            Expect("DisconnectNotify"),
            Expect("Close"),
        ).play(provider)
    assert provider.logon_desktops[0].is_closed
    checked(provider)


async def test_a_provider_that_never_calls_on_ready_loses_its_connection(autojump_clock, checked):
    provider = ScriptedProvider()
    async with provider.service():
        await Playbook(
            Expect("GetLogonErrorRedirector"),
            Expect("SetErrorInfo", args=(ErrInfo.ERRINFO_LOGON_TIMEOUT,), after=15),
            Expect("Close"),
        ).play(provider)
    checked(provider)


async def test_all_steps_to_connect_notify_together_have_a_limit(autojump_clock, checked):
    provider = ScriptedProvider()
    async with provider.service():
        await Playbook(
            Expect("GetLogonErrorRedirector"),
            Says("OnReady"),
            Expect("AcceptConnection", Takes(14)),
            Expect("GetClientData", Takes(14), after=14),
            Expect("GetClientMonitorData", Takes(14), after=14),
            Expect("GetUserCredentials", Takes(14, ANN), after=14),
            Expect("GetLicenseConnection", HANGS, after=14),
            Expect("SetErrorInfo", args=(ErrInfo.ERRINFO_LOGON_TIMEOUT,), after=60 - 4 * 14),
            Expect("Close"),
        ).play(provider)
    checked(provider)


class Rounds:
    """A license issuer that sends so many packets, and the license."""

    def __init__(self, rounds, fails_after=None):
        self.rounds = rounds
        self.answers = []
        self.fails_after = fails_after

    def begin(self, capabilities):
        self.left = self.rounds
        return self

    def next_packet(self, answer):
        self.answers.append(answer)
        if self.fails_after is not None and len(self.answers) > self.fails_after:
            raise LicenseError("no license left")
        self.left -= 1
        if self.left >= 0:
            return LicensePacket(b"packet")
        return LicensePacket(b"license", is_answered=False) if self.left == -1 else None


def rounds_of(count):
    return (
        Expect("SendClientLicense", args=(b"packet",)),
        Expect("RequestClientLicense", b"answer", args=(b"",)),
    ) * count


@pytest.mark.parametrize("rounds", range(9))
async def test_licensing_takes_as_many_rounds_as_its_issuer_wants(autojump_clock, checked, rounds):
    issuer = Rounds(rounds)
    provider = ScriptedProvider(license_policy="issue", license_issuer=issuer)
    async with provider.service():
        await Playbook(
            *ARRIVING,
            Expect("GetUserCredentials", ANN),
            Expect("GetLicenseConnection"),
            Expect("RequestLicensingCapabilities"),
            *rounds_of(rounds),
            Expect("SendClientLicense", args=(b"license",)),
            Expect("ProtocolComplete", args=(1,)),
            *CONNECTED,
            *NEW_SESSION,
            *CLIENT_GOES,
        ).play(provider)
    assert issuer.answers == [None, *[b"answer"] * rounds]
    checked(provider)


async def test_an_issuer_that_wants_more_than_eight_rounds_is_stopped(autojump_clock, checked):
    provider = ScriptedProvider(license_policy="issue", license_issuer=Rounds(100))
    async with provider.service():
        await Playbook(
            *ARRIVING,
            Expect("GetUserCredentials", ANN),
            Expect("GetLicenseConnection"),
            Expect("RequestLicensingCapabilities"),
            *rounds_of(8),
            Expect("ProtocolComplete", args=(0,)),
            *ended(ErrInfo.ERRINFO_LICENSE_CANT_FINISH_PROTOCOL, told_session=False),
        ).play(provider)
    checked(provider)


async def test_a_client_without_a_license_is_told_so(autojump_clock, checked):
    provider = ScriptedProvider(license_policy="issue", license_issuer=Rounds(3, fails_after=1))
    async with provider.service():
        await Playbook(
            *ARRIVING,
            Expect("GetUserCredentials", ANN),
            Expect("GetLicenseConnection"),
            Expect("RequestLicensingCapabilities"),
            *rounds_of(1),
            Expect("ProtocolComplete", args=(0,)),
            *ended(ErrInfo.ERRINFO_LICENSE_NO_LICENSE, told_session=False),
        ).play(provider)
    checked(provider)


async def test_licensing_as_a_whole_has_a_limit(autojump_clock, checked):
    provider = ScriptedProvider(license_policy="issue", license_issuer=Rounds(3))
    async with provider.service():
        await Playbook(
            *ARRIVING,
            Expect("GetUserCredentials", ANN),
            Expect("GetLicenseConnection"),
            Expect("RequestLicensingCapabilities"),
            *rounds_of(1),
            Expect("SendClientLicense"),
            Expect("RequestClientLicense", HANGS),
            Expect("ProtocolComplete", args=(0,), after=30),
            *ended(ErrInfo.ERRINFO_LICENSE_CANT_FINISH_PROTOCOL, told_session=False),
        ).play(provider)
    checked(provider)


async def test_a_reconnect_secret_leads_straight_to_its_session(autojump_clock, checked):
    provider = ScriptedProvider()
    async with provider.service() as service:
        first = await provider.log_on("ann")
        (session,) = service.sessions
        secret = first.callback.issue_reconnect_secret()
        first.goes()
        await first.closed.wait()
        claim = ReconnectClaim(secret.logon_id, secret.secret, ReconnectMethod.BEARER)
        second = await Playbook(
            *ARRIVING,
            Expect("GetUserCredentials"),
            *LICENSED,
            Expect("AuthenticateClientToSession", claim),
            Expect("NotifySessionId"),
            Expect("GetInputHandles"),
            Expect("GetVideoHandle"),
            Expect("ConnectNotify", args=(session.session_id,)),
            Expect("IsUserAllowedToLogon"),
            Expect("LogonNotify"),
            *CLIENT_GOES,
        ).play(provider)
    user, name, domain, session_id, _ = second.args_of("LogonNotify")
    assert (user.name, user.how, name, domain) == ("ann", "reconnect", "ann", "")
    assert session_id == SessionId(session.connection_guid, session.session_id)
    assert provider.authenticator.attempts == [("ann", "192.0.2.1", "password")]
    checked(provider)


async def test_a_dialogue_that_goes_otherwise_is_shown_with_both_sides(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service():
        with pytest.raises(ExceptionGroup) as caught:
            await Playbook(Expect("GetLogonErrorRedirector"), Says("OnReady"), Expect("GetClientData")).play(provider)
    (error,) = caught.value.exceptions
    assert isinstance(error, DialogueError)
    assert "--> Expect(name='GetClientData'" in str(error)
    assert "but AcceptConnection() came" in str(error)
