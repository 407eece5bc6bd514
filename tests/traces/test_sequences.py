"""The sequences as data: what they say, and what their reader says of wrong ones."""

import importlib.resources
import tomllib
from pathlib import Path

import pytest

from rdpprov.traces.sequences import (
    NAMES,
    Follow,
    Repeated,
    SpecificationError,
    load_sequences,
    parse_sequences,
)
from tests.figures import DIRECT_RECONNECT, FIRST_CONNECTION, RECONNECT_AFTER_ARBITRATION

SEQUENCES = load_sequences()
TEXTS = {
    name: importlib.resources.files("rdpprov.protocol_specs").joinpath(f"{name}.toml").read_text() for name in NAMES
}


def test_a_first_connection_has_the_calls_of_the_figure_in_order():
    assert [step.call for step in SEQUENCES.first_connection()] == FIRST_CONNECTION


def test_the_steps_of_a_connection_are_numbered_as_in_the_figure():
    numbers = [step.number for step in SEQUENCES.first_connection()]
    assert numbers == [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21]


@pytest.mark.parametrize(
    ("variant", "calls"), [("arbitrated", RECONNECT_AFTER_ARBITRATION), ("direct", DIRECT_RECONNECT)]
)
def test_a_reconnect_ends_with_the_calls_of_its_variant(variant, calls):
    assert [step.call for step in SEQUENCES.reconnect(variant)][-len(calls) :] == calls


def test_a_disconnect_without_a_session_is_only_close():
    assert [step.call for step in SEQUENCES.disconnect(session=False)] == ["Close"]
    assert [step.call for step in SEQUENCES.disconnect()] == ["PreDisconnect", "DisconnectNotify", "Close"]


def test_licensing_has_up_to_eight_rounds():
    (rounds,) = (item for item in SEQUENCES["licensing"].items if isinstance(item, Repeated))
    assert (rounds.least, rounds.most) == (0, 8)
    assert [step.call for step in rounds.steps] == ["SendClientLicense", "RequestClientLicense"]


@pytest.mark.parametrize("call", ["AcceptConnection", "GetClientData", "GetLicenseConnection"])
def test_what_is_fatal_by_the_book_is_fatal_for_notimpl_too(call):
    step = SEQUENCES["connection"].step(call)
    assert (step.failure, step.not_implemented) == (Follow.DROP, Follow.DROP)


def test_an_exception_that_is_no_hresult_ends_the_connection_at_every_step_but_those_that_end_it():
    exceptions = {
        step.exception for name in ("connection", "licensing", "reconnect") for step in SEQUENCES[name].steps()
    }
    assert exceptions == {Follow.DROP, Follow.REFUSE}
    assert {step.exception for step in SEQUENCES["disconnect"].steps()} == {Follow.CONTINUE}


def test_pure_notifications_do_not_drop_the_connection_when_they_fail():
    dropping = {step.call for step in SEQUENCES.steps() if step.notification and not step.failure.goes_on}
    assert dropping == {"LogonNotify"}  # it returns the settings, so it is no pure one


@pytest.mark.parametrize("step", [step for step in SEQUENCES.steps() if step.page != "rdpprov"], ids=str)
def test_every_step_names_its_page(step):
    assert step.page.startswith("nf-wtsprotocol-iwrdsprotocol")
    assert step.page.endswith(f"-{step.call.lower()}")


def test_unknown_keys_of_a_step_are_errors():
    texts = {**TEXTS, "disconnect": TEXTS["disconnect"] + '\n[[step]]\nnumber = 4\ncal = "Close"\n'}
    with pytest.raises(SpecificationError, match=r"disconnect\.toml, step 5: key 'failure' is missing"):
        parse_sequences(texts)
    with pytest.raises(SpecificationError, match=r"disconnect\.toml: unknown key 'stepp'"):
        parse_sequences({**TEXTS, "disconnect": TEXTS["disconnect"] + "\n[[stepp]]\nnumber = 4\n"})


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("connection", 'failure = "drop"', 'failure = "fall"', "failure = 'fall', expected one of drop, continue"),
        ("connection", 'from = "listener"', 'from = "client"', "from = 'client', expected one of service, manager"),
        ("connection", "number = 2\n", 'number = "2"\n', "number = '2', expected int"),
        ("connection", "number = 2\n", "number = -2\n", "number = -2, expected 0 or more"),
        ("connection", 'variant = "direct"', 'variant = "straight"', r"reconnect\.toml has no variant 'straight'"),
        ("connection", 'include = "licensing"', 'include = "licences"', "there is no sequence 'licences'"),
        ("connection", "after = 13", "after = 130", "branch after step 130, which is no step"),
        ("connection", 'until = "LogonNotify"', 'until = "LogonNotified"', "there is no step 'LogonNotified'"),
        ("connection", 'meaning = "headless"\n', "", "key 'meaning' has to say which"),
        ("licensing", "most = 8", "most = -8", "most = -8, expected 0 or more"),
        ("licensing", "least = 0", "least = 9", "nothing can be repeated so often"),
        ("start", "[sequence]", "[sequences]", "key 'sequence' is missing"),
        ("start", 'title = "Start', 'title "Start', r"start\.toml: .*line"),
    ],
)
def test_a_wrong_entry_is_named(name, old, new, message):
    assert old in TEXTS[name]
    with pytest.raises(SpecificationError, match=message):
        parse_sequences({**TEXTS, name: TEXTS[name].replace(old, new)})


def test_the_package_list_of_the_distribution_is_the_tree():
    root = Path(__file__).parents[2]
    listed = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {
        ".".join(file.parent.relative_to(root).parts)
        for file in (root / "rdpprov").rglob("__init__.py")
        if "__pycache__" not in file.parts
    }
    assert set(listed) == found | {"rdpprov.protocol_specs"}
