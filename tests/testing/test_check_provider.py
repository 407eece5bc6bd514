"""The conformance kit: what is right passes, and every rule has a provider that breaks it, and only it."""

import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager

import pytest
import trio

from rdpprov import api
from rdpprov.providers.rdp.manager import RdpManager
from rdpprov.providers.rfb.manager import RfbManager
from rdpprov.testing.check_provider import Status, check_provider
from rdpprov.testing.known_clients import RDP, RFB
from rdpprov.testing.rules import BY_NAME, RULES
from tests.testing.broken_providers import (
    BROKEN,
    AnnouncesEnhancedReconnects,
    AnswersWithoutAName,
    ClosesForEver,
    Exits,
    ExitsInATask,
    FailsTwice,
    ForgetsItsSocket,
    HasNoWords,
    RedrawsInANurseryInsideACall,
    SaysMoreThanAddresses,
    SwallowsCancelled,
    TakesAnySetting,
    TracesFields,
    TracesHalves,
    TracesWideBytes,
    manager_of,
)
from tests.testing.minimal_provider import Connection, License, MinimalManager, minimal_client

PATIENCE = 1.0
REAL_PATIENCE = 2.0
"""Of providers that give a client which reads nothing some seconds for a goodbye."""

# A mistake may be seen from two sides. Who it is, and the other side.
ALSO = {
    "licensing-failure-is-taken": {"license-rounds-may-fail"},
    "devices-are-let-go": {"input-reaches-the-session"},
    "close-lets-the-client-go": {"nothing-left-behind"},
}

ROUNDS = ("license-packets-are-carried", "license-rounds-may-fail", "license-answers-are-the-clients")


def check(provider, client=None, patience=PATIENCE):
    return trio.run(lambda: check_provider(provider, client, patience=patience))


def test_the_minimal_provider_passes_every_rule(capfd):
    report = check(MinimalManager)
    assert report.named(Status.PASSED) == tuple(rule.name for rule in RULES), report.to_text()
    assert capfd.readouterr() == ("", "")  # and nothing is said about it


class SendsNoLicenses(Connection):
    class make_license(License):  # noqa: N801 - a factory
        async def send_client_license(self, packet):
            raise api.NotImplementedByProvider("SendClientLicense")


@asynccontextmanager
async def unlicensed(address, port, user, password):
    """A client whose task fails at the first license packet."""
    async with minimal_client(address, port, user, password) as client:
        del client.license_answers
        yield client


def test_of_license_rounds_it_is_told_whether_the_provider_or_the_client_has_none():
    report = check(MinimalManager, unlicensed)
    assert report.is_good, report.to_text()
    assert report.named(Status.NOT_APPLICABLE) == ROUNDS
    for rule in ROUNDS:
        assert report.of(rule).seen == (
            "the check's client does not say what it answers to license packets (license_answers)",
        )
    report = check(manager_of(SendsNoLicenses), unlicensed)
    assert report.is_good, report.to_text()
    assert report.named(Status.NOT_APPLICABLE) == ROUNDS
    for rule in ROUNDS:
        assert report.of(rule).seen == ("SendClientLicense is not implemented",)


def check_broken(rule):
    """In a process of its own."""
    try:
        return check(BROKEN[rule])
    finally:
        while ForgetsItsSocket.forgotten:
            os.close(ForgetsItsSocket.forgotten.pop())


@pytest.fixture(scope="module")
def broken_reports(request):
    """The reports of all that is asked for in this run, by rule.

    A check waits most of its time for what should not come, so several are made at once. It counts the tasks, sockets
    and log lines of its process, so each of them has a process to itself meanwhile.
    """
    wanted = [item.callspec.params["rule"] for item in request.session.items if "broken_reports" in item.fixturenames]
    with ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as pool:
        reports = {rule: pool.submit(check_broken, rule) for rule in wanted}
        yield reports
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("rule", BY_NAME)
def test_a_provider_that_breaks_one_rule_is_caught_by_its_name(rule, broken_reports):
    report = broken_reports[rule].result()
    assert rule in report.failed, report.to_text()
    assert set(report.failed) <= {rule} | ALSO.get(rule, set()), report.to_text()
    text = report.of(rule).to_text()
    assert BY_NAME[rule].advice in text
    assert BY_NAME[rule].source in text


def test_there_is_a_broken_provider_for_every_rule():
    assert BROKEN.keys() == BY_NAME.keys()
    assert len(BROKEN) >= 25


@pytest.mark.parametrize(
    ("broken", "where"),
    [
        (TracesFields, "trace event hello"),
        (TracesWideBytes, "trace event hello"),
        (TracesHalves, "the wire trace (in)"),
    ],
)
def test_a_password_is_found_in_a_trace_however_it_stands_there(broken, where):
    report = check(manager_of(broken))
    assert report.failed == ("secrets-are-not-traced",), report.to_text()
    assert report.of("secrets-are-not-traced").seen == (f"the client's password was in {where}",)


@pytest.mark.parametrize(
    ("broken", "rule", "seen"),
    [
        (AnnouncesEnhancedReconnects, "fast-reconnect-is-more-than-announced", "the answer is ENHANCED"),
        (TakesAnySetting, "connection-settings-answer", "SetConnectionSetting took"),
        (RedrawsInANurseryInsideACall, "no-callback-inside-a-call", "RedrawWindow inside a nursery of ConnectNotify"),
        (ClosesForEver, "close-returns", "did not return within 2 s, and had to be taken out of a shield"),
        (SwallowsCancelled, "calls-return", "GetClientData did not return within 1 s"),
        (Exits, "failures-are-hresults", "GetClientData raised ExitError: sys.exit(3), at get_client_data"),
        (ExitsInATask, "bad-clients-cost-only-themselves", "start_listen raised ExitError: sys.exit(3), at introduce"),
        (SaysMoreThanAddresses, "started-means-listening", "expected a sequence of (host, port)"),
        (AnswersWithoutAName, "answers-have-their-types", "GetClientData returned None, expected ClientData"),
        (FailsTwice, "failures-are-hresults", "AcceptConnection raised KeyError: 'the key', at fail"),
        (HasNoWords, "unknown-property-is-not-implemented", "returned Answer whose __repr__ fails"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_odd_is_told_as_well(broken, rule, seen):
    report = check(manager_of(broken))
    assert rule in report.failed, report.to_text()
    assert any(seen in each for each in report.of(rule).seen), report.to_text()


def test_the_line_protocol_conforms():
    report = check("examples.line_protocol:LineManager")
    assert report.is_good, report.to_text()
    assert "session-id-is-the-last-one" in report.named(Status.PASSED)
    assert "license-packets-are-carried" in report.named(Status.NOT_APPLICABLE)


def test_the_rdp_provider_conforms():
    report = check(RdpManager, RDP, REAL_PATIENCE)
    assert report.is_good, report.to_text()
    assert len(report.named(Status.PASSED)) > 50
    assert "session-id-is-the-last-one" in report.named(Status.PASSED)


def test_the_rfb_provider_conforms():
    report = check(RfbManager, RFB, REAL_PATIENCE)
    assert report.is_good, report.to_text()
    assert len(report.named(Status.PASSED)) > 50
    assert "session-id-is-the-last-one" in report.named(Status.NOT_APPLICABLE)  # RFB tells no session


def test_a_report_is_json_for_machines():
    report = check(BROKEN["starts"])
    told = json.loads(json.dumps(report.to_json()))
    assert told["good"] is False
    assert [rule["name"] for rule in told["rules"]] == list(BY_NAME)
    assert told["rules"][list(BY_NAME).index("starts")]["seen"] == [
        "CreateListener raised HResultError: there are no listeners today (0x80004005), at create_listener ("
        + report.of("starts").seen[0].partition("create_listener (")[2]
    ]
