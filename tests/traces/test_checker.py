"""The checker: good traces pass, and each way to spoil one is found, with the step named."""

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.errors import E_ABORT, E_FAIL, E_NOTIMPL, E_UNEXPECTED
from rdpprov.traces.checker import check_trace
from rdpprov.traces.format import CallError, CallLine, Outcome, Trace, TraceHeader, in_order, read_trace
from rdpprov.traces.recorder import E_TIMEOUT
from rdpprov.traces.sequences import Follow, Step
from tests.traces.support import SEQUENCES, figure_trace

GOOD = sorted((Path(__file__).parent / "good").glob("*.jsonl"))
DISCONNECT = SEQUENCES.disconnect()
FIGURES = {
    "first connection": (*SEQUENCES.first_connection(), *DISCONNECT),
    "first connection with 8 licensing rounds": (*SEQUENCES.first_connection(rounds=8), *DISCONNECT),
    "reconnect after arbitration": (*SEQUENCES.reconnect("arbitrated"), *DISCONNECT),
    "direct reconnect": (*SEQUENCES.reconnect("direct"), *DISCONNECT),
    "disconnect before there is a session": (*SEQUENCES.first_connection()[:6], *SEQUENCES.disconnect(session=False)),
}
SERVICE = tuple(SEQUENCES["start"].steps())
NOT_IMPLEMENTED = CallError(E_NOTIMPL)


FIGURE_TRACES = {name: figure_trace(steps) for name, steps in FIGURES.items()}
FIGURE_TRACES["start and stop"] = figure_trace(SERVICE, kind="service")
RECORDED = {file.stem: read_trace(file) for file in GOOD}
GOOD_TRACES = FIGURE_TRACES | RECORDED


def is_complete(trace: Trace) -> bool:
    """Whether the sequence went all its way. Of one that was left early, a step less is right, too."""
    names = {call.call for call in trace.calls}
    return names >= {"LogonNotify", "Close"} or (
        names >= {"Uninitialize"} and not any(one.error for one in trace.calls)
    )


COMPLETE = {name: trace for name, trace in GOOD_TRACES.items() if is_complete(trace)}


def with_calls(trace: Trace, calls: Iterable[CallLine]) -> Trace:
    """The trace with other calls in the place of its own, numbered anew; events stay where they are."""
    others = [line for line in trace.lines if not isinstance(line, CallLine)]
    numbered = [attrs.evolve(call, n=n) for n, call in enumerate(calls, start=1)]
    lines = sorted([*others, *numbered], key=lambda line: line.t + (getattr(line, "d", None) or 0.0))
    placed = [attrs.evolve(line, line_number=number) for number, line in enumerate(lines, start=2)]
    return in_order(attrs.evolve(trace, lines=tuple(placed)))


def dropped(trace: Trace, position: int) -> Trace:
    return with_calls(trace, [call for call in trace.calls if call is not trace.calls[position]])


def repeated(trace: Trace, position: int) -> Trace:
    calls = list(trace.calls)
    call = calls[position]
    calls.insert(position + 1, attrs.evolve(call, t=call.t + (call.d or 0.0), d=0.0))
    return with_calls(trace, calls)


def swapped(trace: Trace, first: int, second: int) -> Trace:
    """Two calls change places, and with them their times."""
    calls = list(trace.calls)
    one, other = calls[first], calls[second]
    calls[first] = attrs.evolve(other, t=one.t, d=one.d)
    calls[second] = attrs.evolve(one, t=other.t, d=other.d)
    return with_calls(trace, calls)


def appended(trace: Trace, call: CallLine) -> Trace:
    last = trace.calls[-1]
    return with_calls(trace, [*trace.calls, attrs.evolve(call, t=last.t + (last.d or 0.0) + 1, d=0.001)])


def step_of(call: CallLine) -> Step | None:
    """The step that a call is; None for one that may come between any two steps (SetErrorInfo is one of these)."""
    for step in SEQUENCES.steps():
        if step.call == call.call and step.source == call.source.partition(":")[0] and not step.optional:
            return step
    return None


def mandatory(trace: Trace) -> list[int]:
    """Positions of the calls that a trace like this cannot do without."""
    positions = []
    for position, call in enumerate(trace.calls):
        # The packet before ProtocolComplete may be missing: then the one before it was the last, unanswered one.
        is_last_packet = call.target == "license" and trace.calls[position + 1 : position + 2]
        is_last_packet = is_last_packet and is_last_packet[0].call == "ProtocolComplete"
        if step_of(call) is not None and not (is_last_packet and call.call != "RequestLicensingCapabilities"):
            positions.append(position)
    return positions


def neighbours(trace: Trace) -> list[tuple[int, int]]:
    """Pairs of steps, one after the other, whose order matters."""
    positions = [position for position, call in enumerate(trace.calls) if step_of(call) is not None]
    pairs = []
    for first, second in pairwise(positions):
        one, other = trace.calls[first], trace.calls[second]
        of_two_listeners = one.target != other.target and {one.target[:9], other.target[:9]} == {"listener:"}
        if one.call != other.call and not of_two_listeners:
            pairs.append((first, second))
    return pairs


def cases(choose: Callable[[Trace], list], traces: Mapping[str, Trace] = COMPLETE) -> list:
    """Each choice in each trace, as a parameter of a test."""
    return [
        pytest.param(trace, choice, id=f"{name}-{choice}") for name, trace in traces.items() for choice in choose(trace)
    ]


def refusal(trace: Trace) -> str:
    """What the checker says first of a trace that is wrong: always a line and a step."""
    findings = check_trace(trace)
    assert findings
    assert findings[0].line_number in {1, *(line.line_number for line in trace.lines)}
    assert re.match(r"line \d+: .*\.toml.*, step \d+", str(findings[0]))
    return str(findings[0])


@pytest.mark.parametrize("trace", GOOD_TRACES.values(), ids=GOOD_TRACES)
def test_a_good_trace_passes(trace):
    assert check_trace(trace) == []


@pytest.mark.parametrize(("trace", "position"), cases(mandatory))
def test_a_trace_without_one_of_its_steps_is_refused_with_a_step_named(trace, position):
    missing = trace.calls[position].call
    spoilt = dropped(trace, position)
    if missing == "NotifyCommandProcessCreated":
        # It might have been a direct reconnect, if AuthenticateClientToSession had named a session.
        assert "SessionArbitrationEnumeration came" in refusal(spoilt) or missing in refusal(spoilt)
    elif missing == "SessionArbitrationEnumeration" or (missing == "IsUserAllowedToLogon"):
        assert "LogonNotify came" in refusal(spoilt) or missing in refusal(spoilt)
    else:
        assert missing in refusal(spoilt)


@pytest.mark.parametrize(("trace", "position"), cases(mandatory))
def test_a_trace_with_one_of_its_steps_twice_is_refused_with_a_step_named(trace, position):
    twice = trace.calls[position]
    said = refusal(repeated(trace, position))
    if trace.header.kind == "connection":
        assert re.search(rf"{twice.call} came (again|after)", said)


@pytest.mark.parametrize(("trace", "pair"), cases(neighbours))
def test_a_trace_with_two_steps_swapped_is_refused_with_one_of_them_named(trace, pair):
    said = refusal(swapped(trace, *pair))
    assert any(trace.calls[position].call in said for position in pair)


def test_the_example_of_the_issue_reads_as_it_should():
    trace = figure_trace(FIGURES["first connection"], failures={"AuthenticateClientToSession": NOT_IMPLEMENTED})
    position = [call.call for call in trace.calls].index("NotifyCommandProcessCreated")
    (finding,) = check_trace(dropped(trace, position))
    assert (
        finding.message == "IsUserAllowedToLogon came, expected NotifyCommandProcessCreated (connection.toml, step 18)"
    )
    assert finding.call == "IsUserAllowedToLogon"
    assert finding.expected[0] == "NotifyCommandProcessCreated (connection.toml, step 18)"
    assert "PreDisconnect (disconnect.toml, step 1)" in finding.expected


AFTER_CLOSE = [step for step in SEQUENCES.first_connection() if step.call != "OnConnected"]


@pytest.mark.parametrize("step", AFTER_CLOSE, ids=str)
def test_a_call_after_close_is_refused(step):
    trace = figure_trace(FIGURES["first connection"])
    said = refusal(appended(trace, CallLine(0, 0, 0, step.source, step.target, step.call)))
    assert f"{step.call} came after Close (disconnect.toml, step 3) ended the connection" in said


@pytest.mark.parametrize("call", ["GetLastInputTime", "BrokenConnection", "GetConnectionId", "SetErrorInfo"])
def test_queries_and_callbacks_after_close_are_refused(call):
    source, target = (
        ("service", "connection") if call in ("GetLastInputTime", "SetErrorInfo") else ("connection", "service")
    )
    said = refusal(appended(figure_trace(FIGURES["first connection"]), CallLine(0, 0, 0, source, target, call)))
    assert "ended the connection" in said


def test_the_provider_may_call_back_until_close_has_returned():
    trace = figure_trace(FIGURES["first connection"])
    close = trace.calls[-1]
    broken = CallLine(0, close.t + 0.0002, 0.0001, "connection", "service", "BrokenConnection")
    assert check_trace(with_calls(trace, [*trace.calls, broken])) == []


# --- Failures ---------------------------------------------------------------------------------------------------------

WAYS_TO_FAIL = {
    "failure": CallError(E_FAIL, "no"),
    "not_implemented": NOT_IMPLEMENTED,
    "exception": CallError(E_UNEXPECTED, "KeyError", exception="KeyError"),
    "hang": CallError(E_TIMEOUT),
}
PATHS = {
    "connection": SEQUENCES.first_connection(),
    "licensing": SEQUENCES.first_connection(rounds=1),
    "reconnect arbitrated": SEQUENCES.reconnect("arbitrated"),
    "reconnect direct": SEQUENCES.reconnect("direct"),
}


def steps_that_fail() -> list:
    found = []
    for name, path in PATHS.items():
        sequence, _, variant = name.partition(" ")
        for position, step in enumerate(path):
            if (step.sequence, step.variant or "") == (sequence, variant) and step.by_service:
                found += [pytest.param(path, position, way, id=f"{step}-{way}") for way in WAYS_TO_FAIL]
    return found


def failing_at(path: tuple[Step, ...], position: int, way: str, *after: Step) -> Trace:
    """The path until a step, which fails, and then other steps."""
    good = figure_trace(path[:position])
    bad = attrs.evolve(figure_trace(path[: position + 1]).calls[-1], outcome=Outcome.FAILED, error=WAYS_TO_FAIL[way])
    rest = [
        CallLine(0, bad.t + 0.002 * number, 0.001, step.source, step.target, step.call, dict(step.succeeds_with))
        for number, step in enumerate(after, start=1)
    ]
    return with_calls(good, [*good.calls, bad, *rest])


def follow_of(step: Step, way: str) -> Follow:
    return getattr(step, way)


def told_a_session(path: tuple[Step, ...], position: int) -> bool:
    """Whether the connection has been told a session when the step at this position is over."""
    sessions = [step.session for step in path[: position + 1] if step.session is not None]
    return bool(sessions) and sessions[-1] == "attach"


@pytest.mark.parametrize(("path", "position", "way"), steps_that_fail())
def test_after_a_failure_the_trace_goes_on_as_the_step_says(path, position, way):
    step, rest = path[position], path[position + 1 :]
    goes_on = failing_at(path, position, way, *rest, *DISCONNECT)
    if follow_of(step, way).goes_on and not (step.call == "AuthenticateClientToSession" and "direct" in str(path[-1])):
        assert check_trace(goes_on) == []
    elif rest:
        assert rest[0].call in refusal(goes_on)


@pytest.mark.parametrize(("path", "position", "way"), steps_that_fail())
def test_after_a_failure_that_drops_only_the_disconnect_is_right(path, position, way):
    step = path[position]
    told = [SEQUENCES["licensing"].step(step.dropped_by)] if step.dropped_by else []
    ending = SEQUENCES.disconnect(session=told_a_session(path, position))
    trace = failing_at(path, position, way, *told, *ending)
    if told:  # ProtocolComplete has to tell that licensing failed
        trace = with_calls(
            trace,
            [
                attrs.evolve(call, args={"complete": 0}) if call.call == step.dropped_by else call
                for call in trace.calls
            ],
        )
    if follow_of(step, way) is Follow.DROP:
        assert check_trace(trace) == []
        assert "expected" in refusal(failing_at(path, position, way))  # nothing at all after it


def test_licensing_that_failed_is_not_told_to_have_succeeded():
    path = SEQUENCES.first_connection()
    position = [step.call for step in path].index("RequestLicensingCapabilities")
    complete = SEQUENCES["licensing"].step("ProtocolComplete")
    said = refusal(failing_at(path, position, "failure", complete, *SEQUENCES.disconnect(session=False)))
    assert "ProtocolComplete came after RequestLicensingCapabilities (licensing.toml, step 9) failed" in said


def test_after_a_verdict_that_licensing_failed_only_the_disconnect_is_right():
    trace = figure_trace(FIGURES["first connection"])
    calls = [
        attrs.evolve(call, args={"complete": 0}) if call.call == "ProtocolComplete" else call for call in trace.calls
    ]
    assert "AuthenticateClientToSession came after ProtocolComplete" in refusal(with_calls(trace, calls))
    told = [call.call for call in calls].index("ProtocolComplete")
    without_events = attrs.evolve(trace, lines=())
    assert check_trace(with_calls(without_events, [*calls[: told + 1], calls[-1]])) == []


def test_after_a_refused_on_connected_nothing_is_right():
    trace = figure_trace(FIGURES["first connection"], failures={"OnConnected": CallError(E_FAIL, "full")})
    assert "GetLogonErrorRedirector came after OnConnected (connection.toml, step 1) failed" in refusal(trace)


# --- What is legal, though the figures do not show it -----------------------------------------------------------------

FIRST = SEQUENCES.first_connection()


def position_of(call: str) -> int:
    return [step.call for step in FIRST].index(call)


BY_SERVICE = [entry for entry in SEQUENCES["connection"].between if entry.by_service and entry.target == "connection"]
QUERIES = [entry for entry in BY_SERVICE if entry.until is None]
OPTIONAL = [entry for entry in BY_SERVICE if entry.until is not None]
CALLBACKS = [entry for entry in SEQUENCES["connection"].between if not entry.by_service]


def with_call_after(trace: Trace, position: int, source: str, target: str, call: str) -> Trace:
    before = trace.calls[position]
    extra = CallLine(0, before.t + 0.0012, 0.0005, source, target, call)
    return with_calls(trace, [*trace.calls[: position + 1], extra, *trace.calls[position + 1 :]])


@pytest.mark.parametrize("query", QUERIES, ids=lambda entry: entry.call)
@pytest.mark.parametrize("position", range(position_of("AcceptConnection"), len(FIRST) + 2))
def test_queries_may_come_between_any_two_steps_from_accept_connection_on(query, position):
    trace = figure_trace(FIGURES["first connection"])
    assert check_trace(with_call_after(trace, position, "service", "connection", query.call)) == []


@pytest.mark.parametrize("query", QUERIES, ids=lambda entry: entry.call)
@pytest.mark.parametrize("position", range(position_of("AcceptConnection")))
def test_queries_before_accept_connection_are_refused(query, position):
    trace = figure_trace(FIGURES["first connection"])
    if query.call == "SetErrorInfo":
        # That is the disconnect, which may begin at any step; but then nothing else may follow.
        assert "expected Close (disconnect.toml, step 3)" in refusal(
            with_call_after(trace, position, "service", "connection", query.call)
        )
    else:
        assert f"{query.call} came, expected" in refusal(
            with_call_after(trace, position, "service", "connection", query.call)
        )


@pytest.mark.parametrize("entry", OPTIONAL, ids=lambda entry: f"{entry.call}-after-{entry.after}")
@pytest.mark.parametrize("position", range(len(FIRST)))
def test_calls_that_only_some_providers_are_asked_have_their_place(entry, position):
    if entry.after == "RedirectLogonError":
        return  # of the redirector: below
    placed = with_call_after(figure_trace(FIGURES["first connection"]), position, "service", "connection", entry.call)
    if position_of(entry.after) <= position < position_of(entry.until):
        assert check_trace(placed) == []
    else:
        assert f"{entry.call} came" in refusal(placed)


@pytest.mark.parametrize("call", ["GetUserCredentials", "GetSerializedUserCredential"])
def test_credentials_are_asked_for_again_only_after_a_logon_error(call):
    position = position_of("NotifyCommandProcessCreated")
    trace = figure_trace(FIGURES["first connection"])
    assert f"{call} came" in refusal(with_call_after(trace, position, "service", "connection", call))
    told = with_call_after(trace, position_of("ConnectNotify"), "service", "redirector", "RedirectLogonError")
    assert check_trace(with_call_after(told, position + 1, "service", "connection", call)) == []


ARBITRATOR = "GetSessionForEnhancedFastReconnect"


def test_an_arbitrator_leads_straight_to_a_session_without_any_proof_for_the_service():
    proof = {"AuthenticateClientToSession": NOT_IMPLEMENTED}
    trace = figure_trace(FIGURES["direct reconnect"], failures=proof)
    assert "NotifyCommandProcessCreated" in refusal(trace)
    asked = with_call_after(trace, position_of("AuthenticateClientToSession"), "service", "connection", ARBITRATOR)
    assert check_trace(asked) == []


def test_an_arbitrator_takes_the_place_of_the_providers_enumeration():
    figure = FIGURES["reconnect after arbitration"]
    trace = figure_trace([step for step in figure if step.call != "SessionArbitrationEnumeration"])
    assert "DisconnectNotify came" in refusal(trace)
    asked = with_call_after(trace, position_of("IsUserAllowedToLogon"), "service", "connection", ARBITRATOR)
    assert check_trace(asked) == []


@pytest.mark.parametrize("entry", CALLBACKS, ids=lambda entry: f"{entry.call}-{entry.target}")
def test_callbacks_may_come_once_there_is_what_they_need(entry):
    trace = figure_trace(FIGURES["first connection"])
    for position in range(len(FIRST) + 2):
        came = {call.call for call in trace.calls[: position + 1]}
        findings = check_trace(with_call_after(trace, position, entry.sources[-1], entry.target, entry.call))
        assert (findings == []) is (entry.after is None or entry.after in came)


@pytest.mark.parametrize("rounds", range(9))
@pytest.mark.parametrize("last_packet", [False, True])
def test_zero_to_eight_licensing_rounds_are_right(rounds, last_packet):
    steps = list(SEQUENCES.first_connection(rounds))
    if last_packet:
        steps.insert(
            [step.call for step in steps].index("ProtocolComplete"), SEQUENCES["licensing"].step("SendClientLicense")
        )
    assert check_trace(figure_trace([*steps, *DISCONNECT])) == []


def test_a_ninth_licensing_round_is_refused():
    said = refusal(figure_trace([*SEQUENCES.first_connection(9), *DISCONNECT]))
    assert "RequestClientLicense came again, expected ProtocolComplete (licensing.toml, step 12)" in said


@pytest.mark.parametrize("step", [step for step in FIRST if step.not_implemented.goes_on], ids=str)
def test_a_notimpl_that_means_the_default_is_right(step):
    assert check_trace(figure_trace(FIGURES["first connection"], failures={step.call: NOT_IMPLEMENTED})) == []


def test_all_of_them_at_once_are_right():
    failures = {step.call: NOT_IMPLEMENTED for step in FIRST if step.not_implemented.goes_on}
    assert check_trace(figure_trace(FIGURES["first connection"], failures=failures)) == []


@pytest.mark.parametrize("position", range(len(FIRST)))
def test_a_connection_may_be_left_after_any_step(position):
    ending = SEQUENCES.disconnect(session=told_a_session(FIRST, position))
    assert check_trace(figure_trace([*FIRST[: position + 1], *ending])) == []


@pytest.mark.parametrize("position", range(len(FIRST)))
def test_a_connection_is_not_left_without_close(position):
    assert "disconnect.toml, step" in refusal(figure_trace(FIRST[: position + 1])) or position < len(FIRST) - 1


@pytest.mark.parametrize("position", range(position_of("GetInputHandles"), len(FIRST)))
def test_a_session_that_was_told_is_disconnected_before_close(position):
    said = refusal(figure_trace([*FIRST[: position + 1], *SEQUENCES.disconnect(session=False)]))
    assert "Close came" in said


def test_a_session_that_nobody_was_told_of_is_not_disconnected():
    said = refusal(figure_trace([*FIRST[: position_of("GetUserCredentials")], *DISCONNECT]))
    assert "PreDisconnect came" in said


def test_a_connection_that_goes_on_may_stop_anywhere_in_its_trace():
    for position in range(len(FIRST)):
        assert check_trace(figure_trace(FIRST[: position + 1]), running=True) == []


@pytest.mark.parametrize("call", ["RedirectStatus", "RedirectMessage", "RedirectLogonError", "OnBeginPainting"])
def test_the_redirector_is_asked_only_if_there_is_one(call):
    steps = FIGURES["first connection"]
    position = position_of("NotifyCommandProcessCreated")
    with_one = with_call_after(figure_trace(steps), position, "service", "redirector", call)
    assert check_trace(with_one) == []
    without = figure_trace(steps, failures={"GetLogonErrorRedirector": NOT_IMPLEMENTED})
    assert f"{call} came" in refusal(with_call_after(without, position, "service", "redirector", call))
    assert f"{call} came" in refusal(
        with_call_after(figure_trace(steps), len(FIRST) - 1, "service", "redirector", call)
    )


# --- Time -------------------------------------------------------------------------------------------------------------


def lengthened(trace: Trace, call: str, seconds: float) -> Trace:
    return with_calls(trace, [attrs.evolve(one, d=seconds) if one.call == call else one for one in trace.calls])


def test_calls_of_one_connection_do_not_overlap():
    findings = check_trace(lengthened(figure_trace(FIGURES["first connection"]), "GetClientData", 0.0025))
    assert [finding.call for finding in findings] == ["GetClientMonitorData"]
    assert re.search(r"came while GetClientData \(line \d+\) was still open", findings[0].message)


def test_an_overlap_is_seen_on_a_clock_that_stands_still():
    trace = figure_trace(FIGURES["first connection"])
    frozen = [attrs.evolve(line, t=0.0, **({"d": 0.0} if isinstance(line, CallLine) else {})) for line in trace.lines]
    assert check_trace(attrs.evolve(trace, lines=tuple(frozen))) == []
    first, second = (
        position
        for position, line in enumerate(frozen)
        if getattr(line, "call", "") in ("GetClientData", "GetClientMonitorData")
    )
    frozen[first], frozen[second] = (
        attrs.evolve(frozen[first], line_number=frozen[second].line_number),
        attrs.evolve(frozen[second], line_number=frozen[first].line_number),
    )
    assert [finding.call for finding in check_trace(attrs.evolve(trace, lines=tuple(frozen)))] == [
        "GetClientMonitorData"
    ]


def test_on_ready_waits_for_the_return_of_get_logon_error_redirector():
    findings = check_trace(lengthened(figure_trace(FIGURES["first connection"]), "GetLogonErrorRedirector", 0.0025))
    assert [finding.call for finding in findings] == ["OnReady"]
    assert "OnReady (connection.toml, step 3) came while GetLogonErrorRedirector" in findings[0].message


def test_the_service_may_begin_before_on_connected_has_returned():
    assert check_trace(lengthened(figure_trace(FIGURES["first connection"]), "OnConnected", 0.0105)) == []


def test_a_call_that_never_returned_is_an_overlap_if_others_follow():
    trace = figure_trace(FIGURES["first connection"])
    calls = [
        attrs.evolve(call, d=None, outcome=Outcome.OPEN) if call.call == "GetVideoHandle" else call
        for call in trace.calls
    ]
    findings = check_trace(with_calls(trace, calls))
    assert [finding.call for finding in findings] == ["ConnectNotify"]


def test_a_cancelled_call_is_followed_by_the_disconnect():
    steps = (*FIRST[: position_of("GetUserCredentials") + 1], *SEQUENCES.disconnect(session=False))
    assert check_trace(figure_trace(steps, failures={"GetUserCredentials": CallError(E_ABORT, "cancelled")})) == []


# --- Details ----------------------------------------------------------------------------------------------------------


def test_a_call_in_the_wrong_direction_is_refused():
    trace = figure_trace(FIGURES["first connection"])
    calls = [
        attrs.evolve(call, source="service", target="connection") if call.call == "OnReady" else call
        for call in trace.calls
    ]
    said = refusal_text(with_calls(trace, calls))
    assert "OnReady came from service to connection, expected it from connection to service" in said


def refusal_text(trace: Trace) -> str:
    return str(check_trace(trace)[0])


def test_a_call_that_nobody_knows_is_refused():
    trace = figure_trace(FIGURES["first connection"])
    said = refusal(with_call_after(trace, position_of("ConnectNotify"), "service", "connection", "MakeCoffee"))
    assert "MakeCoffee came, expected NotifyCommandProcessCreated (connection.toml, step 18)" in said


def test_all_calls_are_about_the_session_that_was_told():
    trace = RECORDED["arbitrated_reconnect"]
    calls = [
        attrs.evolve(call, args={"session_id": 7}) if call.call == "ConnectNotify" else call for call in trace.calls
    ]
    (finding,) = check_trace(with_calls(trace, calls))
    assert re.match(
        r"ConnectNotify is about session 7, expected session 3, which NotifySessionId named", finding.message
    )


def test_an_event_that_tells_of_a_missing_step_is_refused():
    trace = figure_trace(FIGURES["first connection"])
    (finding,) = check_trace(dropped(trace, position_of("LogonNotify")))
    assert "the event state active came, expected LogonNotify (connection.toml, step 21)" in finding.message


def test_an_empty_trace_is_refused():
    assert "the trace ends without any call, expected OnConnected" in refusal(Trace(TraceHeader("connection"), ()))
    assert "the trace ends without any call, expected Initialize" in refusal(Trace(TraceHeader("service"), ()))


@given(st.lists(st.sampled_from([call for trace in GOOD_TRACES.values() for call in trace.calls]), max_size=30))
def test_any_calls_in_any_order_get_a_verdict(calls):
    for kind in ("connection", "service"):
        check_trace(with_calls(Trace(TraceHeader(kind), ()), calls))


# --- Start and stop ---------------------------------------------------------------------------------------------------


def service_trace(*calls: tuple[str, ...], failing: str = "") -> Trace:
    """Calls as (call, target) or (call, target, listener's name); the one named fails."""
    lines = []
    for n, (call, target, *name) in enumerate(calls, start=1):
        error = CallError(E_FAIL, "no") if call == failing else None
        outcome = Outcome.RETURNED if error is None else Outcome.FAILED
        args = {"listener_name": name[0]} if name else {}
        lines.append(CallLine(n, n * 0.01, 0.001, "service", target, call, args, outcome, None, error, n + 1))
    return Trace(TraceHeader("service"), tuple(lines))


TWO = (
    ("Initialize", "manager:A"),
    ("CreateListener", "manager:A", "desk"),
    ("StartListen", "listener:desk"),
    ("Initialize", "manager:B"),
    ("CreateListener", "manager:B", "lab"),
    ("StartListen", "listener:lab"),
    ("StopListen", "listener:lab"),
    ("StopListen", "listener:desk"),
    ("Uninitialize", "manager:A"),
    ("Uninitialize", "manager:B"),
)


def test_two_managers_may_be_told_apart_by_their_names():
    assert check_trace(service_trace(*TWO)) == []
    assert "StartListen came, expected" in refusal(service_trace(*TWO[:3], TWO[3], TWO[5], *TWO[6:]))
    assert "Initialize came again" in refusal(service_trace(*TWO[:4], ("Initialize", "manager:A"), *TWO[4:]))


def test_a_manager_is_not_uninitialized_before_its_last_listener_has_stopped():
    said = refusal(service_trace(*TWO[:6], ("Uninitialize", "manager:A")))
    assert "Uninitialize came, expected StopListen (start.toml, step 7)" in said
    assert check_trace(service_trace(*TWO[:7], ("Uninitialize", "manager:B"), TWO[7], TWO[8])) == []


def test_after_a_failed_start_only_the_stop_is_right():
    given_up = [*TWO[:6], ("StopListen", "listener:desk"), ("Uninitialize", "manager:A"), ("Uninitialize", "manager:B")]
    trace = service_trace(*given_up)
    failed = [
        attrs.evolve(call, outcome=Outcome.FAILED, error=CallError(E_FAIL, "port in use"))
        if call.target == "listener:lab"
        else call
        for call in trace.calls
    ]
    assert check_trace(attrs.evolve(trace, lines=tuple(failed))) == []
    more = service_trace(("Initialize", "manager"), ("CreateListener", "manager", "desk"), failing="Initialize")
    assert "CreateListener came after Initialize failed with 0x80004005 no, which gives up the start" in refusal_text(
        more
    )


def test_a_manager_hears_of_nothing_after_its_end():
    news = ("NotifySettingsChange", "manager:A")
    assert check_trace(service_trace(*TWO[:3], news, *TWO[3:])) == []
    assert "NotifySettingsChange came" in refusal(service_trace(*TWO[:9], news, TWO[9]))
