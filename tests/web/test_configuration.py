"""The table [web] and the options: what is taken, what is refused and how it is said."""

import contextlib
import ipaddress
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.cli.configuration import Options, Table, configure
from rdpprov.errors import ConfigurationError
from rdpprov.security.certificates import make_self_signed, utc_now
from rdpprov.web.configuration import WebConfiguration, WebLimits, is_loopback, normal_origin
from rdpprov.web.origins import (
    HostRefusedError,
    OriginRefusedError,
    check_host,
    check_origin,
    client_address,
    host_names,
)

STATE = Path("/nowhere")


def configured(table, listeners=None, **options):
    file = {"web": table, "listeners": listeners or {"desk": {"protocol": "rdp"}}}
    return configure(Table("serve.toml", file), Options(state_dir=STATE, **options))


def test_without_the_table_and_the_option_there_is_no_web_listener():
    configuration = configure(Table("serve.toml", {}), Options(state_dir=STATE))
    assert configuration.web is None
    assert [listener.name for listener in configuration.service.listeners] == ["rdp"]


def test_every_key_of_the_table_is_taken():
    web = configured(
        {
            "listen": "0.0.0.0:8443",
            "tls": True,
            "certificate": "a.pem",
            "key": "a.key",
            "tls_keylog": "keys",
            "allowed_hosts": ["Desk.example.", "*.lan"],
            "origins": ["https://Desk.example", "http://desk.example:80"],
            "trusted_proxies": ["192.0.2.0/24", "::1"],
            "metrics": True,
            "metrics_token_file": "token",
            "limits": {"websockets": 3, "silence": 4.5},
        }
    ).web
    assert (web.host, web.port, web.uses_tls) == ("0.0.0.0", 8443, True)
    assert (web.certificate, web.key, web.tls_keylog) == (Path("a.pem"), Path("a.key"), Path("keys"))
    assert web.origins == {"https://desk.example:443", "http://desk.example:80"}
    assert web.allowed_hosts == {"desk.example", "*.lan"}
    assert [str(network) for network in web.trusted_proxies] == ["192.0.2.0/24", "::1/128"]
    assert (web.metrics, web.metrics_token_file) == (True, Path("token"))
    assert web.limits == WebLimits(websockets=3, silence=4.5)


@pytest.mark.parametrize(
    ("web", "line"),
    [
        ({"tls": True}, "[web]: listen is missing, expected ADDR:PORT"),
        ({"listen": "8443"}, "[web]: listen: '8443', expected ADDR:PORT, such as 0.0.0.0:3389 or [::1]:3389"),
        ({"listen": "0.0.0.0:1", "tls": False}, "[web]: tls is false, but 0.0.0.0 is not this machine: "),
        ({"listen": "0.0.0.0:1", "key": "a.key"}, "[web]: key without certificate"),
        ({"listen": "0.0.0.0:1", "metrics": 1}, "[web]: metrics is 1, expected true or false"),
        ({"listen": "0.0.0.0:1", "metrics_token_file": "token"}, "[web]: metrics_token_file without metrics"),
        ({"listen": "0.0.0.0:1", "origin": []}, "[web]: unknown key 'origin'; did you mean 'origins'?"),
        ({"listen": "0.0.0.0:1", "origins": "x"}, "[web]: origins is 'x', expected a list of texts"),
        ({"listen": "0.0.0.0:1", "origins": [1]}, "[web]: origins is [1], expected a list of texts"),
        ({"listen": "0.0.0.0:1", "origins": ["desk"]}, "[web]: origin 'desk', expected https://HOST or "),
        ({"listen": "0.0.0.0:1", "origins": ["https://a/b"]}, "[web]: origin 'https://a/b', expected https://HOST or "),
        ({"listen": "0.0.0.0:1", "allowed_hosts": ["a:1"]}, "[web]: allowed_hosts: 'a:1', expected a name as desk."),
        ({"listen": "0.0.0.0:1", "allowed_hosts": ["a.*"]}, "[web]: allowed_hosts: 'a.*', expected a name as desk."),
        (
            {"listen": "0.0.0.0:1", "allowed_hosts": ["bücher.lan"]},
            "[web]: allowed_hosts: 'bücher.lan', expected it as",
        ),
        (
            {"listen": "0.0.0.0:1", "origins": ["https://bücher.lan"]},
            "[web]: origin 'https://bücher.lan', expected it ",
        ),
        ({"listen": "0.0.0.0:1", "allowed_hosts": [""]}, "[web]: allowed_hosts: '', expected a name as desk."),
        ({"listen": "0.0.0.0:1", "trusted_proxies": ["192.0.2.1/24"]}, "[web]: trusted_proxies: 192.0.2.1/24 has host"),
        ({"listen": "0.0.0.0:1", "limits": {"ping": 0}}, "[web.limits]: ping is 0, expected a number, more than 0"),
        (
            {"listen": "0.0.0.0:1", "limits": {"websockets": 1.5}},
            "[web.limits]: websockets is 1.5, expected a whole number",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(web, line):
    with pytest.raises(ConfigurationError) as refused:
        configured(web)
    assert str(refused.value).startswith(f"serve.toml: {line}")


def test_a_listener_without_sockets_is_made_for_browsers_unless_one_is_there():
    listeners = configured({"listen": "127.0.0.1:0"}).service.listeners
    assert [(listener.name, listener.protocol) for listener in listeners] == [("desk", "rdp"), ("web", "rfb")]
    own = {"web": {"protocol": "rfb"}}
    assert [listener.name for listener in configured({"listen": "127.0.0.1:0"}, own).service.listeners] == ["web"]
    own = {"views": {"protocol": "rfb", "listen": "127.0.0.1:5900"}}
    chosen = configured({"listen": "127.0.0.1:0", "listener": "views"}, own)
    assert [listener.name for listener in chosen.service.listeners] == ["views"]
    with pytest.raises(ConfigurationError, match="listener 'veiws' is none of the listeners; did you mean 'views'"):
        configured({"listen": "127.0.0.1:0", "listener": "veiws"}, own)


def test_the_option_wins_over_the_table_and_shares_the_certificate():
    web = configured({"listen": "0.0.0.0:1", "tls": True}, web="127.0.0.1:2", cert=Path("c"), key=Path("k")).web
    assert (web.host, web.port, web.certificate, web.key) == ("127.0.0.1", 2, Path("c"), Path("k"))


@pytest.mark.parametrize(
    ("host", "options", "expected"),
    [
        ("127.0.0.1", {}, False),
        ("::1", {}, False),
        ("localhost", {}, False),
        ("127.0.0.1", {"tls": True}, True),
        ("127.0.0.1", {"certificate": Path("c")}, True),
        ("0.0.0.0", {}, True),
        ("::", {}, True),
        ("desk.example", {}, True),
        ("192.0.2.1", {}, True),
    ],
)
def test_there_is_tls_unless_only_this_machine_can_connect(host, options, expected):
    assert WebConfiguration(host=host, port=1, state_dir=STATE, **options).uses_tls is expected


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("127.5.5.5", True),
        ("[::1]", True),
        ("LocalHost.", True),
        ("x.localhost", True),
        ("0.0.0.0", False),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
        ("", False),
    ],
)
def test_what_means_this_machine(host, is_ours):
    assert is_loopback(host) is is_ours


@given(st.text() | st.from_regex(r"https?://[a-zA-Z0-9.\[\]:@/-]*", fullmatch=True))
def test_any_text_is_an_origin_in_its_one_spelling_or_refused(text):
    try:
        origin = normal_origin(text)
    except ConfigurationError:
        return
    assert normal_origin(origin) == origin
    assert origin.count("/") == 2


@given(st.text(max_size=50), st.none() | st.text(max_size=50))
def test_any_header_is_judged_without_failing(origin, host):
    configuration = WebConfiguration(host="127.0.0.1", port=1, state_dir=STATE)
    try:
        check_origin(configuration, host_names(configuration, None), origin, host)
    except OriginRefusedError:
        return
    assert _is_address_or_localhost(urlsplit(f"//{host}").hostname)


def _is_address_or_localhost(host):
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return is_loopback(host)


@pytest.fixture
def certificate(tmp_path):
    path = tmp_path / "desk.pem"
    path.write_bytes(make_self_signed(["Desk.example.", "*.lan", "192.0.2.7"], now=utc_now()))
    return path


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "192.0.2.7", "desk.internal"])
@pytest.mark.parametrize("rebound", ["rebound.example", "example", "desk.example.org", "a.b.lan", "lan", "x.192.0.2.7"])
def test_a_strangers_name_for_this_machine_is_no_origin_of_ours(host, rebound, certificate):
    configuration = WebConfiguration(host=host, port=443, state_dir=STATE)
    names = host_names(configuration, certificate)
    for port in ("", ":443"):
        with pytest.raises(OriginRefusedError, match="is not a name of this server: allowed_hosts in the table"):
            check_origin(configuration, names, f"https://{rebound}", rebound + port)


@pytest.mark.parametrize(
    ("host", "options", "name", "is_taken"),
    [
        ("0.0.0.0", {}, "192.0.2.99", True),
        ("0.0.0.0", {}, "[2001:db8::1]", True),
        ("0.0.0.0", {}, "localhost", True),
        ("0.0.0.0", {}, "desk.example", True),
        ("0.0.0.0", {}, "DESK.example.", True),
        ("0.0.0.0", {}, "ann.lan", True),
        ("0.0.0.0", {}, socket.gethostname(), True),
        ("0.0.0.0", {"allowed_hosts": ["front.example"]}, "front.example", True),
        ("0.0.0.0", {"allowed_hosts": ["front.example"]}, "192.0.2.99", True),
        ("0.0.0.0", {"allowed_hosts": ["front.example"]}, "desk.example", False),
        ("0.0.0.0", {"origins": ["https://front.example"]}, "front.example", True),
        ("0.0.0.0", {"origins": ["https://Front.example.:8443"]}, "front.example.", True),
        ("desk.internal", {}, "desk.internal", True),
        ("Desk.internal.", {}, "desk.internal", True),
        ("127.0.0.1", {}, "localhost", True),
        ("127.0.0.1", {}, "desk.example", False),
        ("127.0.0.1", {"allowed_hosts": ["front.example"]}, "front.example", True),
        ("0.0.0.0", {}, "[::1", False),
        ("0.0.0.0", {}, "", False),
    ],
)
def test_a_browser_reaches_it_by_addresses_and_its_own_names(certificate, host, options, name, is_taken):
    names = host_names(WebConfiguration(host=host, port=443, state_dir=STATE, **options), certificate)
    for port in ("", ":8443"):
        with contextlib.nullcontext() if is_taken else pytest.raises(HostRefusedError):
            check_host(names, name + port)


def test_an_origin_needs_a_host():
    everywhere = WebConfiguration(host="0.0.0.0", port=443, state_dir=STATE)
    with pytest.raises(OriginRefusedError, match="and no Host"):
        check_origin(everywhere, frozenset(), "https://desk.example", None)


@given(st.text(max_size=50))
def test_any_host_is_judged_without_failing(host):
    try:
        check_host(frozenset(), host)
    except HostRefusedError:
        return
    assert _is_address_or_localhost(urlsplit(f"//{host}").hostname.rstrip("."))


@pytest.mark.parametrize(
    ("peer", "headers", "expected"),
    [
        ("203.0.113.1", ["192.0.2.1"], "203.0.113.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["192.0.2.1"], "192.0.2.1"),
        ("::ffff:10.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        ("10.0.0.1", ["198.51.100.9, 192.0.2.1", "10.0.0.2"], "192.0.2.1"),
        ("10.0.0.1", ["nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["192.0.2.1, nonsense, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("not an address", ["192.0.2.1"], "not an address"),
    ],
)
def test_a_forwarded_address_is_the_last_that_is_no_proxy_of_ours(peer, headers, expected):
    trusted = WebConfiguration(host="::1", port=1, state_dir=STATE, trusted_proxies=["10.0.0.0/8"]).trusted_proxies
    assert client_address(peer, headers, trusted) == expected


def test_a_user_of_the_package_gets_a_clear_word_about_a_wrong_limit():
    with pytest.raises(ConfigurationError, match="ping is -1, expected more than 0"):
        WebLimits(ping=-1)
