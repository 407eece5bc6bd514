"""``rdpprov serve --web``, as its users meet it: a process of its own."""

import socket
import ssl
import subprocess
import sys
from urllib.request import urlopen

import pytest

from rdpprov.accounts.users_file import ScryptCost, UsersFile
from tests.cli.conftest import Command
from tests.cli.test_serve import ready, stop

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")

RDP = ("--listen", "127.0.0.1:0")


@pytest.fixture
def rdpprov(tmp_path):
    home = tmp_path / "home"
    state = home / ".local/state/rdpprov"
    state.mkdir(parents=True, mode=0o700)
    UsersFile(state / "users", cost=ScryptCost(n=16)).add("anna", "secret")
    return Command(home)


@pytest.fixture
def started(rdpprov):
    processes = []

    def start(*arguments):
        processes.append(rdpprov.start(*arguments))
        return processes[-1]

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_the_page_is_there_when_its_line_is(started):
    process = started("serve", *RDP, "--web", "127.0.0.1:0")
    lines = {words[1]: words[2:] for words in (ready(process), ready(process))}
    scheme, address = lines["web"]
    assert scheme == "http"
    with urlopen(f"http://{address}/", timeout=5) as answer:
        assert b"Remote desktop" in answer.read()
    stop(process)


def test_a_table_makes_it_https_with_the_generated_certificate(started, rdpprov):
    (rdpprov.home / "serve.toml").write_text(
        '[listeners.desk]\nprotocol = "rdp"\nlisten = "127.0.0.1:0"\n[web]\nlisten = "127.0.0.1:0"\ntls = true\n'
    )
    process = started("serve", "serve.toml")
    lines = {words[1]: words[2:] for words in (ready(process), ready(process))}
    scheme, address = lines["web"]
    assert scheme == "https"
    context = ssl.create_default_context(cafile=rdpprov.home / ".local/state/rdpprov/self-signed.pem")
    with urlopen(f"https://{address}/", timeout=5, context=context) as answer:
        assert answer.status == 200
    stop(process)


def test_what_cannot_be_served_is_said_in_one_line(rdpprov):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = rdpprov.refuses("serve", *RDP, "--web", f"127.0.0.1:{port}", code=2)
    assert line.endswith(f"[web]: cannot listen on 127.0.0.1:{port}: Address already in use")
    (rdpprov.home / "serve.toml").write_text(
        '[listeners.desk]\nprotocol = "rdp"\nlisten = "127.0.0.1:0"\n[web]\nlisten = "127.0.0.1:0"\nlistener = "desk"\n'
    )
    line = rdpprov.refuses("serve", "serve.toml")
    assert line.endswith("[web]: listener desk: its protocol takes no clients from elsewhere, as rfb does")
    assert rdpprov.refuses("serve", *RDP, "--web", "8080").startswith("--web: '8080', expected ADDR:PORT")


def test_without_the_extra_it_is_said_what_to_install(rdpprov):
    blocked = "import sys; sys.modules['hypercorn'] = None; from rdpprov.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", blocked, "serve", *RDP, "--web", "127.0.0.1:0"],
        capture_output=True,
        text=True,
        cwd=rdpprov.home,
        env=rdpprov.environment,
    )
    assert done.returncode == 2
    assert "pip install 'rdpprov[web]'" in done.stderr
    assert done.stderr.count("\n") == 1
