from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.api.enums import SettingStatus, SettingType
from rdpprov.api.structures import Setting, Settings
from rdpprov.cli.configuration import Options, configure, parse_address, read_file
from rdpprov.errors import ConfigurationError
from rdpprov.rcm.configuration import Limits, Policies, Shadow


@pytest.fixture
def configured(tmp_path):
    """Read a configuration out of its text, with options over it."""

    def configured(text, **options):
        (tmp_path / "serve.toml").write_text(text)
        return configure(read_file(tmp_path / "serve.toml"), Options(**options))

    return configured


def test_a_whole_file(configured):
    configuration = configured(
        """
        state_dir = "/var/lib/rdpprov"
        trace_dir = "traces"
        license = "valid-client"
        [listeners.office]
        protocol = "rdp"
        listen = "[::]:3389"
        certificate = "office.pem"
        key = "/etc/office.key"
        security = ["tls"]
        [listeners.office.settings]
        disable_clip = true
        [listeners.lines]
        protocol = "examples.lines:Manager"
        greeting = "hello"
        [sessions]
        desktop = "examples.lines:Desktop"
        single_session_per_user = false
        shadow = "consent-view"
        disconnected_limit = 3600
        [limits]
        logon_desktop = 1.5
        logon_desktops = 3
        [accounts]
        users = "people"
        """
    )
    office, lines = configuration.service.listeners
    assert (office.name, office.protocol, dict(office.settings)) == ("office", "rdp", {"disable_clip": True})
    assert office.options == {
        "state_dir": "/var/lib/rdpprov",
        "host": "::",
        "port": 3389,
        "certificate": "office.pem",
        "key": "/etc/office.key",
        "security": ["tls"],
    }
    assert lines.options == {"state_dir": "/var/lib/rdpprov", "greeting": "hello"}
    assert configuration.trace_dir == Path("traces")
    assert configuration.users == Path("people")
    assert configuration.desktop == "examples.lines:Desktop"
    assert configuration.service.limits == attrs.evolve(Limits(), logon_desktop=1.5, logon_desktops=3)
    assert configuration.service.sessions.disconnected_limit == 3600
    assert not configuration.service.sessions.single_session_per_user
    assert configuration.service.sessions.shadow is Shadow.CONSENT_VIEW


def test_policies_limits_and_draining(configured):
    configuration = configured(
        """
        draining = true
        [listeners.a]
        protocol = "rdp"
        max_connections = 7
        [listeners.a.settings]
        max_idle_time = 30
        max_connection_time = 480
        [limits]
        warning = 30
        [policies.machine]
        disable_clip = true
        disable_cdm = false
        max_idle_time = 0
        keep_alive = 5
        keep_alive_start = true
        [policies.users."CORP\\\\Anna"]
        max_connect_time = 60
        [policies.groups.staff]
        color_depth = 16
        [policies.groups.guests]
        reset_broken = true
        [policies.accounts.anna]
        encryption_level = 3
        """
    )
    service = configuration.service
    assert service.draining
    (listener,) = service.listeners
    assert listener.max_connections == 7
    assert "max_connections" not in listener.options
    assert listener.settings == {"max_idle_time": 30, "max_connection_time": 480}
    assert service.limits.warning == 30

    def enabled(value):
        return Setting(SettingStatus.ENABLED, value)

    assert service.policies == Policies(
        machine=Settings(
            setting_type=SettingType.MACHINE,
            disable_clip=enabled(1),
            disable_cdm=enabled(0),
            max_idle_time=enabled(0),
            keep_alive=enabled(5),
            keep_alive_start=True,
        ),
        users={"corp\\anna": Settings(setting_type=SettingType.USER, max_connect_time=enabled(60))},
        groups={
            "staff": Settings(setting_type=SettingType.USER, color_depth=enabled(16)),
            "guests": Settings(setting_type=SettingType.USER, reset_broken=enabled(1)),
        },
        accounts={"anna": Settings(setting_type=SettingType.SAM, encryption_level=enabled(3))},
    )
    assert list(service.policies.groups) == ["staff", "guests"]
    assert configure(None, Options(draining=True)).service.draining


def test_an_empty_file_is_the_service_with_nothing_configured(configured):
    configuration = configured("")
    assert configuration == configure(None, Options())
    (listener,) = configuration.service.listeners
    assert (listener.name, listener.protocol) == ("rdp", "rdp")
    assert "port" not in listener.options  # the protocol's own default
    assert configuration.users == configuration.state_dir / "users"


def test_options_win_over_the_file(configured, tmp_path):
    configuration = configured(
        """
        trace_dir = "t"
        state_dir = "s"
        listeners.a = { protocol = "x:Y", listen = "127.0.0.1:1" }
        sessions.desktop = "demo"
        accounts.pam = "login"
        """,
        listen="[::1]:0",
        protocol="rdp",
        security="tls,nla",
        cert=Path("c.pem"),
        desktop="m:F",
        users=Path("u"),
        state_dir=tmp_path,
        trace_dir=Path("traces"),
    )
    (listener,) = configuration.service.listeners
    assert (listener.name, listener.protocol) == ("a", "rdp")
    assert listener.options == {
        "state_dir": str(tmp_path),
        "host": "::1",
        "port": 0,
        "certificate": "c.pem",
        "security": ["tls", "nla"],
    }
    assert (configuration.desktop, configuration.users, configuration.pam) == ("m:F", Path("u"), None)


def test_a_listener_of_options_is_named_after_its_protocol():
    (listener,) = configure(None, Options(protocol="examples.lines:Manager")).service.listeners
    assert (listener.name, listener.protocol) == ("lines", "examples.lines:Manager")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("listener = 1", "unknown key 'listener'; did you mean 'listeners'?"),
        ("zzz = 1", "unknown key 'zzz'"),
        ("[limits]\non_redy = 3", "[limits]: unknown key 'on_redy'; did you mean 'on_ready'?"),
        ("[limits]\non_ready = 0", "[limits]: on_ready is 0, expected a number, more than 0"),
        ("[limits]\non_ready = true", "[limits]: on_ready is True, expected a number, more than 0"),
        ("[limits]\non_ready = nan", "[limits]: on_ready is nan, expected a number, more than 0"),
        (
            "[limits]\nlogon_desktops = 1.5",
            "[limits]: logon_desktops is 1.5, expected a whole number, more than 0",
        ),
        ("limits = 1", "limits is 1, expected a table"),
        ("[sessions]\ndesk = 'x'", "[sessions]: unknown key 'desk'; did you mean 'desktop'?"),
        (
            '[sessions]\nshadow = "always"',
            "[sessions]: shadow = 'always', expected one of off, consent-view, consent-control, view, control",
        ),
        ("[sessions]\nsingle_session_per_user = 1", "[sessions]: single_session_per_user is 1, expected true or false"),
        ("[accounts]\nuser = 'x'", "[accounts]: unknown key 'user'; did you mean 'users'?"),
        ("[accounts]\nusers = 'x'\npam = 'login'", "[accounts]: users and pam exclude each other"),
        ("[accounts]\nusers = ''", "[accounts]: users is empty, expected text"),
        ("[listeners]\na = 1", "[listeners]: a is 1, expected a table"),
        ("[listeners.a]\nport = 1", "[listeners.a]: protocol is missing, expected a name or package.module:Class"),
        ("[listeners.a]\nprotocol = 1", "[listeners.a]: protocol is 1, expected text"),
        (
            "[listeners.a]\nprotocol = 'rdp'\nlisten = '3389'",
            "[listeners.a]: listen: '3389', expected ADDR:PORT, such as 0.0.0.0:3389 or [::1]:3389",
        ),
        (
            "[listeners.a]\nprotocol = 'rdp'\n[listeners.a.settings]\ndisable_clip = 'yes'",
            "[listeners.a.settings]: disable_clip is 'yes', expected true or false",
        ),
        (
            "[listeners.a]\nprotocol = 'rdp'\n[listeners.a.settings]\ncolor_depth = 1.5",
            "[listeners.a.settings]: color_depth is 1.5, expected a whole number",
        ),
        (
            "[listeners.a]\nprotocol = 'rdp'\n[listeners.a.settings]\ncolor_depth = -1",
            "[listeners.a.settings]: color_depth is -1, not in 0..65535",
        ),
        (
            "[listeners.a]\nprotocol = 'rdp'\n[listeners.a.settings]\nuser_name = 7",
            "[listeners.a.settings]: user_name is 7, expected text",
        ),
        (
            "[listeners.a]\nprotocol = 'rdp'\n[listeners.a.settings]\nlistener_settings = 7",
            "[listeners.a.settings]: unknown key 'listener_settings'",
        ),
        (
            "[listeners.a]\nprotocol = 'rdp'\nmax_connections = 0",
            "[listeners.a]: max_connections is 0, expected a whole number, more than 0",
        ),
        ("draining = 1", "draining is 1, expected true or false"),
        ("policies = 1", "policies is 1, expected a table"),
        ("[policies.user.ann]", "[policies]: unknown key 'user'; did you mean 'users'?"),
        ("[policies.users]\nann = 1", "[policies.users]: ann is 1, expected a table"),
        (
            "[policies.machine]\nmax_connection_time = 1",
            "[policies.machine]: unknown key 'max_connection_time'; did you mean 'max_connect_time'?",
        ),
        ("[policies.machine]\nsetting_type = 1", "[policies.machine]: unknown key 'setting_type'"),
        (
            "[policies.groups.staff]\ndisable_clip = 1",
            "[policies.groups.staff]: disable_clip is 1, expected true or false",
        ),
        (
            "[policies.users.ann]\nmax_idle_time = 1.5",
            "[policies.users.ann]: max_idle_time is 1.5, expected a whole number",
        ),
        (
            "[policies.users.ann]\nmax_idle_time = -1",
            "[policies.users.ann]: max_idle_time is -1, not in 0..4294967295",
        ),
        (
            "[policies.accounts.ann]\ncolor_depth = 70000",
            "[policies.accounts.ann]: color_depth is 70000, not in 0..65535",
        ),
        (
            "[policies.users.ann]\nkeep_alive = 5",
            "[policies.users.ann]: keep_alive: holds from before anybody is logged on, expected in [policies.machine]",
        ),
        (
            "[policies.users.ann]\n[policies.users.Ann]",
            "[policies.users.Ann]: names that differ only in case are the same",
        ),
        (
            "[listeners.a]\nprotocol = 'rdp'\n[listeners.a.settings]\ndisable_clp = true",
            "[listeners.a.settings]: unknown key 'disable_clp'; did you mean 'disable_clip'?",
        ),
        (f"[listeners.{'x' * 33}]\nprotocol = 'rdp'", f"[listeners.{'x' * 33}]: listener name"),
        ("license = 'issue'", "license: 'issue', not built yet"),
        ("license = 'none'", "license: 'none', expected valid-client"),
        ("[admin]\nsockt = 1", "[admin]: unknown key 'sockt'; did you mean 'socket'?"),
        ("[broker]", "[broker]: the broker is not built yet"),
    ],
)
def test_what_is_wrong_is_named_by_file_table_and_key(configured, tmp_path, text, reason):
    with pytest.raises(ConfigurationError) as error:
        configured(text)
    assert str(error.value).startswith(f"{tmp_path / 'serve.toml'}: {reason}")


def test_the_options_of_a_listener_are_for_a_single_one(configured):
    with pytest.raises(ConfigurationError, match=r"\[listeners\]: has 2 listeners"):
        configured("[listeners.a]\nprotocol='rdp'\n[listeners.b]\nprotocol='rdp'", listen="127.0.0.1:1")


def test_a_file_that_is_not_toml_or_not_there_is_named(configured, tmp_path):
    with pytest.raises(ConfigurationError, match=r"configuration .*serve\.toml: not TOML: .*line 2"):
        configured("a = 1\nb 2")
    (tmp_path / "binary.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match=r"binary\.toml: not TOML"):
        read_file(tmp_path / "binary.toml")
    with pytest.raises(ConfigurationError, match=r"configuration .*none\.toml: no such file or directory"):
        read_file(tmp_path / "none.toml")


@given(host=st.ip_addresses().map(str), port=st.integers(0, 65535))
def test_every_address_is_understood(host, port):
    text = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    assert parse_address("here", text) == (host, port)


def address_or_reason(text):
    try:
        return parse_address("--listen", text)
    except ConfigurationError as error:
        return str(error)


@given(st.text(max_size=30) | st.text("0123456789.:[]ax", max_size=12))
def test_any_other_text_is_refused_by_name(text):
    match address_or_reason(text):
        case (str(host), int(port)):
            assert text in (f"{host}:{text.rpartition(':')[2]}", f"[{host}]:{text.rpartition(':')[2]}")
            assert int(text.rpartition(":")[2]) == port <= 65535
        case reason:
            assert reason.startswith(f"--listen: {text!r}, expected ADDR:PORT")
