"""``rdpprov check-provider``."""

import json

from rdpprov.cli.main import run

BROKEN = "tests.testing.broken_providers:HasNoListener"


def test_a_provider_that_conforms_is_done(capsys):
    assert run(["check-provider", "examples.line_protocol:LineManager"]) == 0
    out, errors = capsys.readouterr()
    assert errors == ""
    assert out.splitlines()[-1].startswith("examples.line_protocol:LineManager: ")


def test_a_provider_that_breaks_a_rule_has_failed(capsys):
    assert run(["check-provider", BROKEN, "--patience", "0.5"]) == 1
    out = capsys.readouterr().out
    assert "failed  starts" in out
    assert "there are no listeners today" in out


def test_the_report_is_json_if_asked_for(capsys):
    assert run(["check-provider", BROKEN, "--patience", "0.5", "--json", "--option", "port=0"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert [rule["name"] for rule in report["rules"] if rule["status"] == "failed"] == ["starts"]


def test_wrong_usage_is_said_in_a_line(capsys):
    for arguments, said in {
        ("nowhere:Manager",): "protocol nowhere:Manager: No module named 'nowhere'",
        ("rdpprov.testing.scripted:ScriptedManager",): "no client to check it with",
        (BROKEN, "--client", "nowhere:client"): "check client nowhere:client: No module named 'nowhere'",
        (BROKEN, "--client", "nowhere"): "expected module:function",
        (BROKEN, "--option", "port"): "--option 'port', expected key=value",
        (BROKEN, "--patience", "0"): "--patience 0, expected seconds, more than 0",
    }.items():
        assert run(["check-provider", *arguments]) == 2
        errors = capsys.readouterr().err
        assert said in errors, arguments
        assert errors.count("\n") == 1
