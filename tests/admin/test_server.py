"""The admin socket of a running service, over a real socket."""

import json
import os
import sys
from contextlib import suppress
from functools import partial

import pytest
import trio

from rdpprov.admin.client import NoServiceError, connect_admin
from rdpprov.admin.place import connected_to
from rdpprov.admin.protocol import MAX_LINE
from rdpprov.admin.server import MAX_CLIENTS
from rdpprov.api.enums import ConnectState
from rdpprov.errors import AdministrationError
from rdpprov.rcm.configuration import Shadow
from rdpprov.rcm.events import EVENTS_KEPT, DrainChanged, ListenerDown, ListenerUp
from rdpprov.sessions.base import Notice

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no Unix sockets")


class Raw:
    """A peer that says what it likes."""

    def __init__(self, place):
        self.stream = trio.SocketStream(trio.socket.from_stdlib_socket(connected_to(place)))
        self._received = b""

    async def say(self, data):
        await self.stream.send_all(data)

    async def ask(self, **message):
        await self.say(json.dumps({"version": 1, "id": 1, **message}).encode() + b"\n")
        return await self.hear()

    async def hear(self):
        """The next line; None: the end."""
        while b"\n" not in self._received:
            try:
                data = await self.stream.receive_some()
            except trio.BrokenResourceError:
                data = b""
            if not data:
                assert not self._received
                return None
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return json.loads(line)


@pytest.fixture
async def raw_peer(place):
    """Makes peers that are gone when the test is over."""
    peers = []

    def connect():
        peers.append(Raw(place))
        return peers[-1]

    yield connect
    for peer in peers:
        await trio.aclose_forcefully(peer.stream)


async def test_a_session_is_seen_told_disconnected_and_logged_off(provider, place):
    await provider.log_on()
    async with connect_admin(place) as admin:
        (session,) = await admin.sessions()
        assert (session.user, session.state, session.connection.client_name) == ("ann", ConnectState.ACTIVE, "scripted")
        assert session.connection.client_address == "192.0.2.1"
        details = await admin.session(1)
        assert details.info.user == "ann"
        assert [setting.value for setting in details.settings if setting.name == "client_name"] == ["scripted"]
        await admin.message(1, "é ß 中 Lunch")
        assert Notice("é ß 中 Lunch") in provider.desktops[0].messages
        await admin.disconnect(1)
        assert (await admin.sessions())[0].state is ConnectState.DISCONNECTED
        with pytest.raises(AdministrationError, match="session 1 is disconnected") as error:
            await admin.disconnect(1)
        assert error.value.code == "not-connected"
        await admin.logoff(1)
        assert await admin.sessions() == []


async def test_listeners_and_draining(provider, place):
    async with connect_admin(place) as admin:
        (listener,) = await admin.listeners()
        assert (listener.listener, listener.up, listener.addresses) == ("scripted", True, ("127.0.0.1:3389",))
        assert not (await admin.service()).draining
        await admin.drain(True)
        assert (await admin.service()).draining


async def test_shadowing_nobody_is_refused(provider, place):
    async with connect_admin(place) as admin:
        with pytest.raises(AdministrationError, match="there is no session 5"):
            await admin.shadow(5, control=True)
        await provider.log_on()
        with pytest.raises(AdministrationError, match="0 other sessions have a client"):
            await admin.shadow(1)
        with pytest.raises(AdministrationError, match="session 1 is not shadowed") as error:
            await admin.end_shadow(1)
        assert error.value.code == "not-shadowed"


@pytest.mark.parametrize("provider", [Shadow.VIEW], indirect=True)
async def test_a_session_is_shadowed_until_the_administrator_says_so(provider, place):
    await provider.log_on("ann")
    await provider.log_on("bob")
    async with connect_admin(place) as admin:
        await admin.shadow(1)
    async with connect_admin(place) as admin:
        ann, bob = await admin.sessions()
        assert (ann.shadowed_by, ann.shadows, bob.shadowed_by, bob.shadows) == (2, None, None, 1)
        with pytest.raises(AdministrationError, match="takes part in a shadowing already"):
            await admin.shadow(1)
        await admin.end_shadow(1)
        assert [session.shadowed_by for session in await admin.sessions()] == [None, None]


async def test_who_goes_away_takes_the_question_back(provider, place):
    await provider.log_on("ann")
    await provider.log_on("bob")
    ann, _ = provider.running.sessions
    async with connect_admin(place) as admin, trio.open_nursery() as nursery:
        nursery.start_soon(partial(admin.shadow, 1, viewer=2))
        await provider.asked.wait()
        assert ann.shadowing is not None
        nursery.cancel_scope.cancel()
    async with connect_admin(place) as admin:
        while ann.shadowing is not None:
            await admin.service()


async def test_events_come_between_the_answers(provider, place):
    async with connect_admin(place) as admin, connect_admin(place) as other:
        await admin.watch()
        await other.drain(True)
        assert (await admin.service()).draining
        await admin.drain(False)
        assert [await admin.next_event(), await admin.next_event()] == [DrainChanged(True), DrainChanged(False)]
        with pytest.raises(AdministrationError, match="watches already"):
            await admin.watch()


async def test_who_watches_sees_the_service_end(provider, place):
    async with connect_admin(place) as admin:
        await admin.watch()
        provider.running.request_stop()
        assert await admin.next_event() == ListenerDown("scripted", "the service stops")
        with pytest.raises(NoServiceError, match="has ended"):
            await admin.next_event()
    async with connect_admin(place) as admin:
        with pytest.raises(AdministrationError, match="the service does not run") as error:
            await admin.sessions()
        assert error.value.code == "not-running"


async def test_who_watches_too_slowly_holds_up_nobody_and_is_told_what_it_missed(provider, place, raw_peer):
    slow = raw_peer()
    assert await slow.ask(call="watch") == {"version": 1, "id": 1, "result": None}
    feed = provider.running.administration._feed
    count = 20 * EVENTS_KEPT
    async with connect_admin(place) as admin:
        for number in range(count):
            feed.publish(ListenerUp(f"{number:0100}"))
            if number % 100 == 0:
                await admin.service()  # nobody else waits
    seen = lost = 0
    while seen + lost < count:
        event = (await slow.hear())["event"]
        if event["event"] == "events-lost":
            lost += event["count"]
        else:
            assert int(event["listener"]) == seen + lost
            seen += 1
    assert lost > 0
    assert seen > EVENTS_KEPT


async def test_several_requests_in_one_go_are_answered_in_their_order(provider, place, raw_peer):
    raw = raw_peer()
    calls = ["service", "nonsense", "sessions", "listeners"]
    await raw.say(
        b"".join(json.dumps({"version": 1, "id": n, "call": call}).encode() + b"\n" for n, call in enumerate(calls))
    )
    answers = [await raw.hear() for _ in calls]
    assert [answer["id"] for answer in answers] == [0, 1, 2, 3]
    assert ["error" in answer for answer in answers] == [False, True, False, False]


async def test_a_request_may_come_in_pieces_and_be_the_last_word(provider, place, raw_peer):
    raw = raw_peer()
    for byte in b'{"version":1,"id":3,"call":"sessions"}\n':
        await raw.say(bytes([byte]))
    await raw.stream.send_eof()
    assert await raw.hear() == {"version": 1, "id": 3, "result": []}
    assert await raw.hear() is None


@pytest.mark.parametrize(
    "line", [b"", b"{", b"\xff\xfe", b"[1]", b"[" * 50000, b'{"version":1,"id":1}', b"GET / HTTP/1.1"]
)
async def test_a_bad_request_costs_one_answer(provider, place, raw_peer, line):
    raw = raw_peer()
    await raw.say(line + b"\n")
    assert (await raw.hear())["error"]["code"] == "bad-request"
    assert (await raw.ask(call="sessions"))["result"] == []


async def test_a_line_that_is_too_long_costs_the_connection_and_no_other(provider, place, raw_peer):
    async with connect_admin(place) as admin:
        raw = raw_peer()
        with suppress(trio.BrokenResourceError):  # it may not even listen to the end
            await raw.say(b"x" * (2 * MAX_LINE))
        answer = await raw.hear()
        assert answer is None or "a line of more than 65536 bytes" in answer["error"]["reason"]
        if answer is not None:
            assert await raw.hear() is None
        assert await admin.sessions() == []


async def test_the_longest_line_is_still_a_request(provider, place, raw_peer):
    raw = raw_peer()
    line = b'{"version":1,"id":1,"call":"sessions"}'
    await raw.say(line + b" " * (MAX_LINE - len(line) - 1) + b"\n")
    assert (await raw.hear())["result"] == []
    await raw.say(line + b" " * (MAX_LINE - len(line)) + b"\n")
    assert (await raw.hear())["error"]["code"] == "bad-request"
    assert await raw.hear() is None


async def test_one_client_too_many_is_told_so_and_a_place_that_gets_free_is_used(provider, place, raw_peer):
    clients = []
    for _ in range(MAX_CLIENTS):
        clients.append(raw_peer())
        assert (await clients[-1].ask(call="sessions"))["result"] == []
    with pytest.raises(AdministrationError, match="32 administrators, as many as are served at once") as error:
        async with connect_admin(place) as admin:
            await admin.sessions()
    assert error.value.code == "busy"
    await clients.pop().stream.aclose()
    while True:
        async with connect_admin(place) as admin:
            try:
                assert await admin.sessions() == []
            except AdministrationError:  # it has not been noticed yet
                continue
            break


async def test_who_goes_away_in_the_middle_is_no_fault(provider, place, raw_peer, log):
    for words in (b"", b'{"version":1', b'{"version":1,"id":1,"call":"sessions"}\n' * 500):
        raw = raw_peer()
        await raw.say(words)
        await raw.stream.aclose()
    async with connect_admin(place) as admin:
        assert await admin.sessions() == []
    assert [entry for entry in log if entry["log_level"] == "error"] == []


async def test_a_mistake_of_ours_costs_one_request_and_is_logged(provider, place, log):
    async with connect_admin(place) as admin:
        provider.listeners["scripted"].bound_addresses = [1]
        with pytest.raises(AdministrationError, match="failed: TypeError") as error:
            await admin.listeners()
        assert error.value.code == "failed"
        assert await admin.sessions() == []
    (entry,) = [entry for entry in log if entry["event"] == "administration failed"]
    assert entry["call"] == "listeners"


async def test_no_service_is_said_with_where_it_was_looked_for(place):
    with pytest.raises(NoServiceError, match=rf"^no service answers at {place}: is it running\?"):
        async with connect_admin(place):
            pass


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can become somebody else")
async def test_another_user_is_refused_even_if_the_socket_is_open_to_all(provider, place, log):
    for directory in place.parents:
        if directory.stat().st_mode & 0o005 != 0o005:
            directory.chmod(0o755)
    place.chmod(0o666)
    program = (
        "import contextlib, os, socket\nos.setgid(65534); os.setuid(65534)\n"
        f"s = socket.socket(socket.AF_UNIX); s.connect({str(place)!r})\n"
        "with contextlib.suppress(BrokenPipeError):\n"
        '    s.sendall(b\'{"version":1,"id":1,"call":"drain","arguments":{"on":true}}\\n\')\n'
        "print(s.recv(4096).decode())"
    )
    done = await trio.run_process([sys.executable, "-I", "-c", program], capture_stdout=True)
    answer = json.loads(done.stdout)
    assert (answer["id"], answer["error"]["code"]) == (None, "not-allowed")
    assert [entry["uid"] for entry in log if entry["event"] == "admin socket refused a user"] == [65534]
    async with connect_admin(place) as admin:
        assert not (await admin.service()).draining
