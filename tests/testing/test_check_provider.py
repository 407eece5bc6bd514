"""The conformance kit: what is right passes, and every rule has a provider that breaks it, and only it."""

import json
import os

import pytest
import trio

from rdpprov.providers.rdp.manager import RdpManager
from rdpprov.testing.check_provider import Status, check_provider
from rdpprov.testing.known_clients import RDP
from rdpprov.testing.rules import BY_NAME, RULES
from tests.testing.broken_providers import BROKEN, ForgetsItsSocket
from tests.testing.minimal_provider import MinimalManager

PATIENCE = 1.0

# A mistake may be seen from two sides. Who it is, and the other side.
ALSO = {
    "devices-are-let-go": {"input-reaches-the-session"},
    "close-lets-the-client-go": {"nothing-left-behind"},
}


def check(provider, client=None, **more):
    return trio.run(lambda: check_provider(provider, client, patience=PATIENCE, **more))


def test_the_minimal_provider_passes_every_rule(capfd):
    report = check(MinimalManager)
    assert report.named(Status.PASSED) == tuple(rule.name for rule in RULES), report.to_text()
    assert capfd.readouterr() == ("", "")  # and nothing is said about it


@pytest.fixture(autouse=True)
def _forgotten_sockets_are_closed():
    yield
    while ForgetsItsSocket.forgotten:
        os.close(ForgetsItsSocket.forgotten.pop())


# Some of them leave sockets to the garbage collector, which is their mistake and not the kit's.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("rule", BY_NAME)
def test_a_provider_that_breaks_one_rule_is_caught_by_its_name(rule):
    report = check(BROKEN[rule])
    assert rule in report.failed, report.to_text()
    assert set(report.failed) <= {rule} | ALSO.get(rule, set()), report.to_text()
    text = report.of(rule).to_text()
    assert BY_NAME[rule].advice in text
    assert BY_NAME[rule].source in text


def test_there_is_a_broken_provider_for_every_rule():
    assert BROKEN.keys() == BY_NAME.keys()
    assert len(BROKEN) >= 25


def test_the_line_protocol_conforms():
    report = check("examples.line_protocol:LineManager")
    assert report.is_good, report.to_text()


def test_the_rdp_provider_conforms():
    report = check(RdpManager, RDP)
    assert report.is_good, report.to_text()
    assert len(report.named(Status.PASSED)) > 50


def test_a_report_is_json_for_machines():
    report = check(BROKEN["starts"])
    told = json.loads(json.dumps(report.to_json()))
    assert told["good"] is False
    assert [rule["name"] for rule in told["rules"]] == list(BY_NAME)
    assert told["rules"][list(BY_NAME).index("starts")]["seen"] == [
        "CreateListener raised there are no listeners today (0x80004005), at create_listener ("
        + report.of("starts").seen[0].partition("create_listener (")[2]
    ]
