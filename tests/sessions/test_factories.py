import pytest

from rdpprov.errors import ConfigurationError
from rdpprov.sessions.base import LogonRequest
from rdpprov.sessions.demo import DemoDesktop
from rdpprov.sessions.factories import load_desktop_factory, logon_desktop_factory
from rdpprov.sessions.logon import PanelLogonDesktop


@pytest.mark.parametrize("name", ["demo", "rdpprov.sessions.demo:DemoDesktop"])
def test_a_desktop_is_found_by_its_name(name, request_for):
    desktop = load_desktop_factory(name)(request_for(640, 480))
    assert isinstance(desktop, DemoDesktop)
    assert (desktop.width, desktop.height) == (640, 480)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("demmo", "there is no desktop 'demmo', did you mean 'demo'.; there are demo and package.module:Factory"),
        ("x11", "not built yet; there are demo"),
        ("x11:xterm -e top", "not built yet"),
        ("x11-attach::3", "not built yet"),
        ("no.such.module:Factory", "cannot import 'no.such.module'"),
        ("rdpprov.sessions.demo:Missing", "has no 'Missing'"),
        ("rdpprov.sessions.demo:MAX_TEXT", "int is not callable"),
        (":Factory", "cannot import ''"),
        ("", "there is no desktop ''"),
    ],
)
def test_what_cannot_be_found_is_said_clearly(name, message):
    with pytest.raises(ConfigurationError, match=message):
        load_desktop_factory(name)


def test_there_is_a_logon_desktop():
    assert isinstance(logon_desktop_factory()(LogonRequest(640, 480)), PanelLogonDesktop)
