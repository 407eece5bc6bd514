import json
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from rdpprov.accounts.users_file import ScryptCost, UsersFile
from rdpprov.security.certificates import make_self_signed, utc_now

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")


@pytest.fixture
def home(rdpprov):
    """A home with a users file in its place."""
    state = rdpprov.home / ".local/state/rdpprov"
    state.mkdir(parents=True, mode=0o700)
    UsersFile(state / "users", cost=ScryptCost(n=16)).add("anna", "secret")
    return rdpprov.home


@pytest.fixture
def certificate(home):
    pem = make_self_signed(["localhost"], now=utc_now())
    at = pem.index(b"-----BEGIN CERTIFICATE")
    (home / "cert.pem").write_bytes(pem[at:])
    (home / "key.pem").write_bytes(pem[:at])
    other = ec.generate_private_key(ec.SECP256R1())
    for name, encryption in (
        ("other.pem", serialization.NoEncryption()),
        ("encrypted.pem", serialization.BestAvailableEncryption(b"secret")),
    ):
        (home / name).write_bytes(
            other.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        )
    (home / "garbage.pem").write_bytes(b"garbage")


LISTEN = ("--listen", "127.0.0.1:0")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--listn", "127.0.0.1:0"], "Unknown option: --listn. Did you mean --listen?"),
        (["--listen", "3389"], "--listen: '3389', expected ADDR:PORT, such as 0.0.0.0:3389 or [::1]:3389"),
        (["--log-level", "loud"], 'Invalid value "loud" for --log-level.'),
        (["no.toml"], "configuration no.toml: no such file or directory"),
        ([*LISTEN, "--admin", "key.pem/admin.sock"], "directory key.pem: file exists"),
        ([*LISTEN, "--admin", "key.pem"], "admin socket key.pem: there is something else with that name"),
        (["--license", "issue"], "--license: 'issue', not built yet"),
        (
            [*LISTEN, "--users", "nobody"],
            "users file nobody: no such file; make it with: rdpprov user add NAME --users",
        ),
        ([*LISTEN, "--desktop", "x11"], "desktop 'x11': "),
        ([*LISTEN, "--desktop", "os:sep"], "desktop 'os:sep': "),
        ([*LISTEN, "--protocol", "rpd"], "protocol 'rpd' is not installed"),
        ([*LISTEN, "--protocol", "no.such:Manager"], "protocol no.such:Manager: No module named 'no'"),
        ([*LISTEN, "--protocol", "os:nothing"], "protocol os:nothing: module 'os' has no attribute 'nothing'"),
        ([*LISTEN, "--protocol", "collections:Counter"], "protocol collections:Counter: <class 'collections.Counter'>"),
        ([*LISTEN, "--security", "tsl"], "listener rdp: unknown security 'tsl'"),
        ([*LISTEN, "--security", "nla"], "listener rdp: security 'nla' is not built yet"),
        ([*LISTEN, "--cert", "none.pem", "--key", "key.pem"], "certificate none.pem: no such file or directory"),
        ([*LISTEN, "--cert", "cert.pem", "--key", "none.pem"], "key none.pem: no such file or directory"),
        (
            [*LISTEN, "--cert", "garbage.pem", "--key", "key.pem"],
            "certificate garbage.pem: not a PEM certificate",
        ),
        ([*LISTEN, "--cert", "cert.pem", "--key", "garbage.pem"], "key garbage.pem: not a PEM private key"),
        (
            [*LISTEN, "--cert", "cert.pem", "--key", "other.pem"],
            "key other.pem: does not belong to certificate cert.pem",
        ),
        (
            [*LISTEN, "--cert", "cert.pem", "--key", "encrypted.pem"],
            "key encrypted.pem: encrypted, expected a key without passphrase",
        ),
        ([*LISTEN, "--trace-dir", "key.pem"], "--trace-dir key.pem: "),
        ([*LISTEN, "--tls-keylog", "no/keys"], "TLS key log no/keys: no such file or directory"),
        ([*LISTEN, "--state-dir", "key.pem", "--users", ".local/state/rdpprov/users"], "directory "),
    ],
)
def test_what_is_wrong_is_said_in_one_line(rdpprov, home, certificate, arguments, line):
    assert rdpprov.refuses("serve", *arguments).startswith(line.format(home=home))


def test_an_unknown_key_of_the_configuration_is_named_with_a_suggestion(rdpprov, home):
    (home / "serve.toml").write_text("[limits]\nlogon_desktp = 3\n")
    assert rdpprov.refuses("serve", "serve.toml") == (
        "serve.toml: [limits]: unknown key 'logon_desktp'; did you mean 'logon_desktop'?"
    )
    (home / "serve.toml").write_text('[listeners.desk]\nprotocol = "rdp"\nprot = 3390\n')
    assert rdpprov.refuses("serve", "serve.toml") == "listener desk: unknown key 'prot'; did you mean 'port'?"


def test_a_port_in_use_is_named_with_its_listener(rdpprov, home):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = rdpprov.refuses("serve", "--listen", f"127.0.0.1:{port}")
    assert line == f"listener rdp: cannot listen on 127.0.0.1:{port}: Address already in use"


def test_a_users_file_open_to_others_is_named_with_its_mode(rdpprov, home):
    file = home / ".local/state/rdpprov/users"
    file.chmod(0o644)
    assert rdpprov.refuses("serve", *LISTEN) == f"users file {file}: mode 0644 is open to others, expected 0600"


def ready(process):
    """The words of the ready line."""
    words = process.stdout.readline().split()
    assert words[:1] == ["ready"], (words, process.stderr.read() if process.poll() is not None else "")
    return words


def xfreerdp_command(process):
    """The line to paste."""
    return next(line.strip() for line in process.stdout if "xfreerdp" in line)


def stop(process, number=signal.SIGTERM):
    asked = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, time.monotonic() - asked < 10) == (0, True), errors
    return [json.loads(line) for line in errors.splitlines()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_client_connects_as_soon_as_the_line_is_there_and_a_signal_ends_it(running, home, number):
    process = running("serve", *LISTEN)
    _, name, protocol, address = ready(process)
    assert (name, protocol) == ("rdp", "rdp")
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5):
        logged = stop(process, number)
    assert [line["signal"] for line in logged if line["event"] == "stopping"] == [number.name]


def test_every_listener_of_a_configuration_is_announced(running, home):
    (home / "serve.toml").write_text(
        "".join(f'[listeners.{name}]\nprotocol = "rdp"\nlisten = "127.0.0.1:0"\n' for name in ("one", "two"))
    )
    process = running("serve", "serve.toml")
    assert [ready(process)[1] for _ in range(2)] == ["one", "two"]
    stop(process)


def test_sighup_reads_the_policies_again_and_a_bad_file_keeps_the_old_ones(running, home):
    file = home / "serve.toml"
    listener = '[listeners.a]\nprotocol = "rdp"\nlisten = "127.0.0.1:0"\n'
    file.write_text(listener + "[policies.machine]\ndisable_clip = true\n")
    process = running("serve", "serve.toml")
    ready(process)
    logged = []

    def hang_up(text, until):
        file.write_text(text)
        process.send_signal(signal.SIGHUP)
        logged.append(json.loads(process.stderr.readline()))
        while logged[-1]["event"] != until:
            logged.append(json.loads(process.stderr.readline()))

    hang_up(listener + "[policies.machine]\ndisable_clip = false\n", "policies read again")
    assert next(line for line in logged if line["event"] == "policies changed")["kinds"] == ["MACHINE"]
    hang_up(listener + "[policies.machine]\ndisable_clp = true\n", "policies not read, those of before stay in force")
    assert logged[-1]["reason"] == (
        "serve.toml: [policies.machine]: unknown key 'disable_clp'; did you mean 'disable_clip'?"
    )
    hang_up("[limits]\nwarning = 5\n" + file.read_text().replace("clp", "clip"), "policies read again")
    assert json.loads(process.stderr.readline())["event"] == (
        "the configuration has other changes too, which need a restart"
    )
    stop(process)


def test_the_demo_prints_what_to_paste_and_takes_the_next_free_port(running, home):
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 3389))
            taken.listen()
        except OSError:
            pass  # somebody else has it, which is as good
        process = running("demo")
        _, name, protocol, address = ready(process)
        host, _, port = address.rpartition(":")
        assert (name, protocol, host) == ("rdp", "rdp", "127.0.0.1")
        assert 3389 < int(port) < 3489
        command = xfreerdp_command(process)
        assert re.fullmatch(rf"xfreerdp /v:{address} /u:demo /p:[a-z2-9]{{10}} /cert:ignore", command)
        stop(process)


def test_two_demos_have_different_passwords_and_one_certificate(running, home):
    passwords, certificates = set(), set()
    for _ in range(2):
        process = running("demo", "--port", "0")
        ready(process)
        passwords.add(xfreerdp_command(process).partition("/p:")[2].split()[0])
        certificates.add((home / ".local/state/rdpprov/self-signed.pem").read_bytes())
        stop(process)
    assert (len(passwords), len(certificates)) == (2, 1)


def test_no_command_prints_help_and_version_is_the_packages(rdpprov):
    shown = rdpprov.run()
    assert shown.returncode == 0
    assert all(command in shown.stdout for command in ("demo", "serve", "user", "trace"))
    assert rdpprov.run("--version").stdout.startswith("0.")
    assert rdpprov.refuses("srve") == 'Unknown command "srve". Did you mean "serve"? Available commands: ' + (
        "demo, serve, sessions, listeners, drain, watch, user, trace, ..."
    )


def test_the_module_search_path_prefers_what_is_installed(rdpprov, home):
    (home / "trio.py").write_text("raise SystemExit('the working directory came first')")
    done = subprocess.run(
        [sys.executable, "-P", *rdpprov.words[1:], "serve", "--listen", "x"],
        capture_output=True,
        text=True,
        cwd=home,
        env=rdpprov.environment,
    )
    assert done.stderr.startswith("rdpprov: --listen: 'x'")
