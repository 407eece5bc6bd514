"""The commands for administrators, against a service in a process of its own with a client connected."""

import contextlib
import json
import os
import re
import select
import signal
import struct
import subprocess
import sys
import time

import pytest
import trio

from rdpprov.accounts.users_file import ScryptCost, UsersFile
from rdpprov.cli.administering import Admin
from rdpprov.errinfo import ErrInfo
from rdpprov.protocol.rdp.client import ClientOptions
from rdpprov.testing.rdp_client import connect_rdp

if sys.platform == "win32":
    pytest.skip("there are no Unix sockets", allow_module_level=True)

import fcntl
import termios

PATIENCE = 60
"""Seconds of real time: a service that does not answer fails a test, and does not hang it."""
ANNA = ClientOptions(user_name="anna", password="secret", client_name="annas-pc", width=640, height=480)


class Service:
    """`rdpprov serve`, and the commands that talk to it."""

    def __init__(self, rdpprov, start):
        self._rdpprov = rdpprov
        self._start = start
        self.port = 0

    def serve(self, *arguments):
        process = self._start("serve", "--listen", "127.0.0.1:0", *arguments)
        words = process.stdout.readline().split()
        assert words[:1] == ["ready"], process.stderr.read()
        self.port = int(words[-1].rpartition(":")[2])
        return process

    async def run(self, *arguments):
        """What a command prints, which succeeds."""
        done = await trio.to_thread.run_sync(self._rdpprov.run, *arguments)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    async def asked(self, *arguments):
        """... as JSON."""
        return json.loads(await self.run(*arguments, "--json"))

    async def refuses(self, *arguments, code=1):
        """What a command says that fails."""
        return await trio.to_thread.run_sync(lambda: self._rdpprov.refuses(*arguments, code=code))

    @contextlib.asynccontextmanager
    async def client(self, options=ANNA):
        """A client that is logged on."""
        with trio.fail_after(PATIENCE):
            async with connect_rdp("127.0.0.1", self.port, options) as client:
                await client.first_picture.wait()
                yield client


@pytest.fixture
def service(rdpprov, running):
    state = rdpprov.home / ".local/state/rdpprov"
    state.mkdir(parents=True, mode=0o700)
    users = UsersFile(state / "users", cost=ScryptCost(n=16))
    users.add("anna", "secret")
    users.add("bert", "secret")
    return Service(rdpprov, running)


def columns(text):
    """A table, by its heads."""
    heads, *rows = text.splitlines()
    starts = [match.start() for match in re.finditer(r"(?:(?<=  )|^)\S", heads)]
    cut = [slice(start, end) for start, end in zip(starts, [*starts[1:], None], strict=True)]
    return [{heads[part].strip(): row[part].strip() for part in cut} for row in rows]


async def test_a_session_is_listed_shown_told_disconnected_and_logged_off(service):
    service.serve()
    assert await service.run("sessions", "list") == "there are no sessions\n"
    async with service.client() as client:
        (row,) = columns(await service.run("sessions", "list"))
        number = row["SESSION"]
        assert (row["STATE"], row["USER"], row["CLIENT"], row["SIZE"]) == ("active", "anna", "annas-pc", "640x480")
        assert (row["ADDRESS"], row["PROTOCOL"]) == ("127.0.0.1", "RDP")
        shown = await service.run("sessions", "show", number)
        assert re.search(r"^user +anna$", shown, re.MULTILINE)
        assert re.search(r"^h_res +640 +client$", shown, re.MULTILINE)
        assert "secret" not in shown
        before = client.picture.copy()
        assert await service.run("sessions", "message", number, "Lunch", "is", "ready") == f"session {number}: told\n"
        await client.wait_until(lambda: (client.picture[470:] != before[470:]).any())
        assert await service.run("sessions", "disconnect", number) == f"session {number}: disconnected\n"
        await client.closed.wait()
        assert client.error_info == ErrInfo.ERRINFO_RPC_INITIATED_DISCONNECT
    (row,) = columns(await service.run("sessions", "list"))
    assert (row["SESSION"], row["STATE"], row["USER"], row["CLIENT"]) == (number, "disconnected", "anna", "-")
    line = await service.refuses("sessions", "disconnect", number)
    assert line == f"session {number} is disconnected"
    async with service.client() as client:
        assert await service.run("sessions", "logoff", number) == f"session {number}: logged off\n"
        await client.closed.wait()
        assert client.error_info == ErrInfo.ERRINFO_RPC_INITIATED_LOGOFF
    assert await service.run("sessions", "list") == "there are no sessions\n"
    assert await service.refuses("sessions", "show", number) == f"there is no session {number}"


def test_json_on_a_terminal_cannot_move_its_cursor(capsys):
    name = "\x1b[2J\x9b2J\u202e\ud800"
    Admin(json=True).say({"client_name": name})
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert printed.replace("\n", "").isprintable()
    assert json.loads(printed) == {"client_name": name}


async def test_everything_can_be_had_as_json(service):
    process = service.serve()
    assert await service.asked("sessions", "list") == []
    async with service.client():
        (session,) = await service.asked("sessions", "list")
        assert (session["user"], session["state"], session["width"]) == ("anna", "ACTIVE", 640)
        assert session["connection"]["client_name"] == "annas-pc"
        assert time.time() - 60 < session["logged_on_at"] < time.time() + 1
        details = await service.asked("sessions", "show", session["session"])
        assert details["info"]["user"] == "anna"
        assert {"name": "h_res", "value": 640, "origin": "client"} in details["settings"]
        (listener,) = await service.asked("listeners")
        assert listener == {
            "listener": "rdp",
            "protocol": "rdp",
            "up": True,
            "addresses": [f"127.0.0.1:{service.port}"],
            "connections": 1,
        }
        told = await service.asked("sessions", "message", session["session"], "hello")
        assert told == {"session": session["session"], "done": "told"}
    assert (await service.asked("drain", "on"))["draining"]
    process.send_signal(signal.SIGTERM)


async def test_listeners_and_draining(service):
    service.serve()
    (row,) = columns(await service.run("listeners"))
    assert row == {
        "LISTENER": "rdp",
        "PROTOCOL": "rdp",
        "STATE": "up",
        "ADDRESS": f"127.0.0.1:{service.port}",
        "CLIENTS": "0",
    }
    assert await service.run("drain") == "not draining; 0 sessions, 0 connections\n"
    async with service.client() as before:
        assert await service.run("drain", "on") == "draining: no new sessions; 1 session, 1 connection\n"
        with trio.fail_after(PATIENCE):
            bert = ClientOptions(user_name="bert", password="secret")
            async with connect_rdp("127.0.0.1", service.port, bert) as refused:
                await refused.closed.wait()
        assert refused.error_info == ErrInfo.ERRINFO_SERVER_DENIED_CONNECTION
        assert not before.closed.is_set()
        assert await service.run("drain", "off") == "not draining; 1 session, 1 connection\n"
    assert "status" in await service.refuses("drain", "perhaps", code=2)


async def test_a_session_is_shadowed_and_no_longer(service, rdpprov):
    # Where nobody has to agree: who agrees needs a moment that no test should wait for.
    (rdpprov.home / "serve.toml").write_text('[sessions]\nshadow = "view"\n')
    service.serve("serve.toml")
    async with service.client(), service.client(ClientOptions(user_name="bert", password="secret")) as bert:
        sessions = {session["user"]: session["session"] for session in await service.asked("sessions", "list")}
        before = bert.picture.copy()
        await service.run("sessions", "shadow", sessions["anna"], "--from", sessions["bert"])
        await bert.wait_until(lambda: (bert.picture != before).mean() > 0.1)
        anna_now = next(one for one in await service.asked("sessions", "list") if one["user"] == "anna")
        assert anna_now["shadowed_by"] == sessions["bert"]
        assert "not shadowed any more" in await service.run("sessions", "shadow", sessions["anna"], "--stop")
    line = await service.refuses("sessions", "shadow", sessions["anna"])
    assert line.startswith("0 other sessions have a client")


async def test_watching_gives_json_lines_from_what_there_is_to_what_happens(service, running):
    process = service.serve()
    watching = running("watch")
    first = json.loads(watching.stdout.readline())
    assert first["event"] == "watching"
    assert (first["sessions"], [one["listener"] for one in first["listeners"]]) == ([], ["rdp"])
    async with service.client():
        pass
    await service.run("drain", "on")
    names = []
    while not names or names[-1] != "drain-changed":
        event = await trio.to_thread.run_sync(lambda: json.loads(watching.stdout.readline()))
        names.append(event["event"])
    assert names == [
        "connection-opened",
        "session-created",
        "session-logged-on",
        "session-disconnected",
        "connection-closed",
        "drain-changed",
    ]
    process.send_signal(signal.SIGTERM)
    rest, errors = watching.communicate(timeout=PATIENCE)
    assert {json.loads(line)["event"] for line in rest.splitlines()} == {"listener-down", "session-logged-off"}
    assert re.fullmatch(r"rdpprov: the service at .*admin\.sock has ended\n", errors)
    assert watching.returncode == 1


async def test_watching_on_a_terminal_shows_a_table_that_lives(service, rdpprov):
    service.serve()
    with on_terminal(rdpprov, "watch") as (process, shows):
        await shows("running  0 sessions")
        async with service.client():
            await shows("annas-pc")
            await shows("session logged on")
        process.send_signal(signal.SIGINT)
        assert await trio.to_thread.run_sync(process.wait, PATIENCE) == 130


@contextlib.contextmanager
def on_terminal(rdpprov, *arguments):
    """Run a command on a terminal of its own: the process, and what waits until the terminal has shown some words."""
    terminal, its_end = os.openpty()
    fcntl.ioctl(its_end, termios.TIOCSWINSZ, struct.pack("4H", 40, 120, 0, 0))
    # Whoever started the tests may have a window of its own, and have exported its size.
    size = ("COLUMNS", "LINES")
    environment = {name: value for name, value in rdpprov.environment.items() if name not in size}
    process = subprocess.Popen(
        [*rdpprov.words, *arguments],
        stdin=its_end,
        stdout=its_end,
        stderr=its_end,
        cwd=rdpprov.home,
        env={**environment, "TERM": "xterm"},
    )
    os.close(its_end)
    shown = bytearray()

    def wait_for(words):
        deadline = time.monotonic() + PATIENCE
        while words.encode() not in re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", shown):
            assert time.monotonic() < deadline, f"no {words!r} in the last of\n{shown[-4000:].decode(errors='replace')}"
            if select.select([terminal], [], [], 1)[0]:
                shown.extend(os.read(terminal, 65536))

    async def shows(words):
        await trio.to_thread.run_sync(wait_for, words)

    try:
        yield process, shows
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


@pytest.mark.parametrize(
    "command",
    [
        ["sessions", "list"],
        ["sessions", "show", "1"],
        ["sessions", "disconnect", "1"],
        ["sessions", "logoff", "1"],
        ["sessions", "message", "1", "x"],
        ["sessions", "shadow", "1"],
        ["listeners"],
        ["drain", "on"],
        ["watch"],
    ],
)
def test_without_a_service_each_command_says_so_in_one_line(rdpprov, command):
    place = rdpprov.home / ".local/state/rdpprov/admin.sock"
    expected = f"no service answers at {place}: is it running? --state-dir or --admin names another place"
    assert rdpprov.refuses(*command, code=1) == expected


def test_a_second_service_with_the_same_state_directory_is_refused(service, rdpprov):
    service.serve()
    line = rdpprov.refuses("serve", "--listen", "127.0.0.1:0")
    place = rdpprov.home / ".local/state/rdpprov/admin.sock"
    assert line.startswith(f"admin socket {place}: another service answers there; --state-dir or --admin names another")


async def test_the_place_is_taken_from_options_and_from_the_configuration(service, rdpprov):
    (rdpprov.home / "serve.toml").write_text(
        '[listeners.rdp]\nprotocol = "rdp"\nlisten = "127.0.0.1:0"\n[admin]\nsocket = "private/by-file"\n'
    )
    one = service._start("serve", "serve.toml")
    assert one.stdout.readline().startswith("ready ")
    other = service.serve("--admin", "private/by-option")
    with_none = service.serve("--admin", "none")
    for place in ("private/by-file", "private/by-option"):
        assert await service.run("sessions", "list", "--admin", place) == "there are no sessions\n"
    assert "no service answers" in await service.refuses("sessions", "list")
    for process in (one, other, with_none):
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
    assert sorted(path.name for path in (rdpprov.home / "private").iterdir()) == [".by-file.lock", ".by-option.lock"]


async def test_a_service_that_was_killed_does_not_stand_in_the_way_of_the_next(service):
    process = service.serve()
    process.kill()
    process.communicate()
    assert "is it running?" in await service.refuses("sessions", "list")
    service.serve()
    assert await service.run("sessions", "list") == "there are no sessions\n"


async def test_the_demo_can_be_administrated_and_a_second_one_does_without(service, rdpprov, running):
    first = running("demo", "--port", "0")
    assert first.stdout.readline().startswith("ready ")
    second = running("demo", "--port", "0")
    assert second.stdout.readline().startswith("ready ")
    assert len(columns(await service.run("listeners"))) == 1
    for process in (second, first):
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
        assert ("no admin socket, for another service has it" in errors) is (process is second)
    taken = service.serve()
    assert "another service answers there" in await service.refuses("demo", "--admin", service_place(rdpprov), code=2)
    taken.send_signal(signal.SIGTERM)


def service_place(rdpprov):
    return str(rdpprov.home / ".local/state/rdpprov/admin.sock")
