"""``rdpprov serve`` and ``demo`` for VNC viewers, as processes of their own."""

import re
import signal
import sys

import pytest
import trio

from rdpprov.accounts.users_file import ScryptCost, UsersFile
from rdpprov.security.ra2 import fingerprint, public_key_of
from rdpprov.security.ra2_key import FILE_NAME, read_key
from rdpprov.testing.rfb_client import connect_rfb

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")


def ready(process, name):
    line = process.stdout.readline()
    found = re.fullmatch(rf"ready {name} rfb 127\.0\.0\.1:([0-9]+)\n", line)
    assert found, line + process.stderr.read()
    return int(found[1])


def look(port, user, password):
    """Connect, and give the desktop's size and name."""

    async def main():
        with trio.fail_after(30):
            async with connect_rfb("127.0.0.1", port, user=user, password=password) as client:
                await client.first_picture.wait()
                await client.wait_for(lambda: client.name.startswith(user))
                assert client.picture[..., :3].max() > 0
                return client.width, client.height

    return trio.run(main)


def fingerprint_in(state):
    return fingerprint(public_key_of(read_key(state / FILE_NAME)))


def test_serve_says_which_key_viewers_will_ask_about(rdpprov):
    UsersFile(rdpprov.home / "users", cost=ScryptCost(n=16)).add("anna", "secret")
    process = rdpprov.start(
        *("serve", "--protocol", "rfb", "--listen", "127.0.0.1:0"),
        *("--users", "users", "--state-dir", "state", "--admin", "none"),
    )
    with process:
        ready(process, "rfb")
        assert process.stdout.readline() == f"fingerprint rfb {fingerprint_in(rdpprov.home / 'state')}\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_serve_says_nothing_of_a_key_that_no_viewer_sees(rdpprov):
    UsersFile(rdpprov.home / "users", cost=ScryptCost(n=16)).add("anna", "secret")
    process = rdpprov.start(
        *("serve", "--protocol", "rfb", "--listen", "127.0.0.1:0", "--security", "vencrypt-x509-plain"),
        *("--users", "users", "--state-dir", "state", "--admin", "none"),
    )
    with process:
        ready(process, "rfb")
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == ""
        assert process.wait(20) == 0


def test_serve_serves_viewers(rdpprov):
    UsersFile(rdpprov.home / "users", cost=ScryptCost(n=16)).add("anna", "secret")
    process = rdpprov.start(
        *("serve", "--protocol", "rfb", "--listen", "127.0.0.1:0"),
        *("--users", "users", "--state-dir", "state", "--admin", "none", "--trace-dir", "traces"),
    )
    with process:
        assert look(ready(process, "rfb"), "anna", "secret") == (1024, 768)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    [trace] = (rdpprov.home / "traces").glob("rfb-*.jsonl")
    assert rdpprov.run("trace", "check", trace).stdout.endswith(": good\n")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--security", "tls"], "listener rfb: unknown security 'tls', expected vencrypt-x509-plain, "),
        (["--security", "vnc"], "listener rfb: security by VNC authentication needs 'vnc_password_file'"),
        (["--security", "none", "--listen", "0.0.0.0:0"], "listener rfb: security none on 0.0.0.0, which others can"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(rdpprov, options, line):
    UsersFile(rdpprov.home / "users", cost=ScryptCost(n=16)).add("anna", "secret")
    listen = [] if "--listen" in options else ["--listen", "127.0.0.1:0"]
    arguments = ["serve", "--protocol", "rfb", *listen, *options, "--users", "users", "--state-dir", "state"]
    assert rdpprov.refuses(*arguments, "--admin", "none").startswith(line)


def test_demo_prints_the_viewer_s_command_and_the_command_is_right(rdpprov):
    process = rdpprov.start("demo", "--protocol", "rfb", "--port", "0", "--state-dir", "state", "--admin", "none")
    with process:
        port = ready(process, "rfb")
        lines = [process.stdout.readline() for _ in range(7)]
        assert f"the server's key is {fingerprint_in(rdpprov.home / 'state')}," in lines[-1]
        [command] = [line for line in lines if "xtigervncviewer" in line]
        found = re.search(r"VNC_USERNAME=(\w+) VNC_PASSWORD=(\w+) .* 127\.0\.0\.1::([0-9]+)$", command.strip())
        assert int(found[3]) == port
        assert look(port, found[1], found[2]) == (1024, 768)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
