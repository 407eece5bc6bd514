"""Traces that a service recorded, played again against another one: it does the same, and at once."""

import time

import attrs
import pytest
import trio
from trio.testing import MockClock

from rdpprov.api.enums import LogonErrorRedirectorResponse
from rdpprov.api.identity import LogonError, NtStatus
from rdpprov.api.structures import ClientData, UserCredential
from rdpprov.cli.replaying import against_service
from rdpprov.errors import HResultError
from rdpprov.testing.playbook import Expect, Playbook, Says, Silence, Types
from rdpprov.testing.scripted import HANGS, Fails, ScriptedProvider
from rdpprov.traces.dialogue import ReplayError
from rdpprov.traces.format import CallLine, Trace, TraceHeader

ANN, WRONG = UserCredential("ann", "right"), UserCredential("ann", "wrong")
LOGGED_ON = (Expect("IsUserAllowedToLogon"), Expect("SessionArbitrationEnumeration"), Expect("LogonNotify"))
GOES = (Says("BrokenConnection"), Expect("PreDisconnect"), Expect("DisconnectNotify"), Expect("Close"))


def asked(credentials):
    """As far as somebody has to type, or a password has been checked."""
    return (
        Expect("GetLogonErrorRedirector"),
        Says("OnReady"),
        Expect("AcceptConnection"),
        Expect("GetClientData", ClientData(h_res=640, v_res=480)),
        Expect("GetClientMonitorData"),
        Expect("GetUserCredentials", credentials),
        Expect("GetLicenseConnection"),
        Expect("RequestLicensingCapabilities"),
        Expect("ProtocolComplete"),
        Expect("AuthenticateClientToSession"),
        Expect("NotifySessionId"),
        Expect("GetInputHandles"),
        Expect("GetVideoHandle"),
        Expect("ConnectNotify"),
        Expect("NotifyCommandProcessCreated"),
    )


def record(*dialogue, refusal=None):
    """The trace of a connection that goes like this."""

    async def main():
        provider = ScriptedProvider()
        if refusal is not None:
            provider.authenticator.answers["authenticate"] = Fails(refusal)
        async with provider.service():
            await Playbook(*dialogue).play(provider)
        return provider.traces.connections[1].trace()

    return trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize(
    "dialogue",
    [
        (*asked(ANN), *LOGGED_ON, Silence(1000), *GOES),
        (*asked(WRONG), Types("ann", "wrong again"), Types("ann", "right"), *LOGGED_ON, *GOES),
        (*asked(UserCredential()), Types("ann", "right"), *LOGGED_ON, *GOES),
        (*asked(WRONG), Silence(20), *GOES),  # nobody typed anything else
        (*asked(ANN)[:4], Expect("GetClientMonitorData", HANGS), Expect("SetErrorInfo", after=15), Expect("Close")),
        (
            *asked(ANN),
            Expect("IsUserAllowedToLogon", Fails(HResultError("not here"))),
            Expect("SetErrorInfo"),
            *GOES[1:],
        ),
    ],
    ids=["logged on", "typed at last", "typed", "gave up", "hung", "not allowed"],
)
def test_what_was_recorded_is_done_again(dialogue):
    trace = record(*dialogue)
    began = time.monotonic()
    replay = against_service(trace)
    assert replay.to_text(only_differences=True) == ""
    assert len(replay.exchanges) == len(trace.calls)
    assert time.monotonic() - began < 10  # no time limit is waited for


def test_a_step_that_never_comes_is_told_without_waiting_for_it():
    trace = record(*asked(ANN), *LOGGED_ON, *GOES)
    lines = [
        attrs.evolve(line, call="PreDisconnect") if isinstance(line, CallLine) and line.call == "LogonNotify" else line
        for line in trace.lines
    ]
    began = time.monotonic()
    replay = against_service(attrs.evolve(trace, lines=tuple(lines)))
    assert "service -> LogonNotify" in [one.where for one in replay.differences]
    assert time.monotonic() - began < 10


def test_a_logon_that_was_refused_is_refused_for_the_same_reason():
    dialogue = [
        *asked(ANN),
        Expect("OnBeginPainting"),
        Expect("RedirectLogonError", LogonErrorRedirectorResponse.HANDLED_SHOW),
        *GOES,
    ]
    dialogue[0] = Expect("GetLogonErrorRedirector", lambda: None)
    trace = record(*dialogue, refusal=LogonError("expired", NtStatus.STATUS_PASSWORD_EXPIRED))
    (told,) = [call for call in trace.calls if call.call == "RedirectLogonError"]
    assert told.args["substatus"] == NtStatus.STATUS_PASSWORD_EXPIRED
    assert against_service(trace).differences == []


def test_a_service_trace_has_no_connection_to_replay():
    with pytest.raises(ReplayError, match="a service trace has no connection"):
        against_service(Trace(TraceHeader("service"), ()))
