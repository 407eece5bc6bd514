"""Clients that mean no good, or mean nothing: each costs its own connection, and no other's."""

import gc
import tracemalloc

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import memory_stream_pair

from rdpprov.accounts.authenticator import FileAuthenticator
from rdpprov.accounts.users_file import User, UserIndex
from rdpprov.protocol.events import NEED_DATA
from rdpprov.protocol.rfb.client import RfbClientMachine
from rdpprov.protocol.rfb.framing import HANDSHAKE_LIMIT
from rdpprov.protocol.rfb.handshake import ClientIdentity, ClientState
from rdpprov.providers.rfb.connection import RfbConnection
from rdpprov.providers.rfb.listener import RfbListener
from rdpprov.providers.rfb.options import RfbListenerOptions
from rdpprov.providers.transport import LINGER
from rdpprov.testing.rfb_client import connect_rfb
from rdpprov.wire.rfb.encodings import Encoding
from rdpprov.wire.rfb.handshake import SecurityType
from rdpprov.wire.rfb.messages import Fence, FenceFlags
from tests.providers.rfb.support import LOGGED_ON, PASSWORD, USER, shows
from tests.providers.support import Script

SILENCE = {"security": ("none",)}
WRONG_PASSWORD = b"RFB 003.008\n\x02" + bytes(16)
"""All that a client says which guesses the listener's own."""


class Alone:
    """A listener without sockets, and a service of a few lines: for clocks that jump, and for counting."""

    def __init__(self, nursery, **options):
        authenticator = FileAuthenticator(UserIndex([User.new("ann", "pw")]))
        own = RfbListenerOptions(sockets=False, **{**SILENCE, **options})
        self.listener = RfbListener("vnc", own, authenticator)
        self.script = Script(nursery)
        self.nursery = nursery

    async def start(self):
        await self.nursery.start(self._listen)

    async def _listen(self, task_status):
        with trio.CancelScope() as self.scope:
            await self.listener.start_listen(self.script, task_status=task_status)

    def connect(self):
        """A client's end."""
        ours, theirs = memory_stream_pair()
        self.nursery.start_soon(self.listener.serve_stream, theirs, ("192.0.2.1", 7))
        return ours


async def rest_of(stream):
    """All that still comes until the server ends the connection."""
    data = b""
    try:
        while more := await stream.receive_some(65536):
            data += more
    except trio.BrokenResourceError:
        pass
    return data


@pytest.mark.parametrize(
    ("said", "limit"),
    [(b"", 30), (b"RFB 003.008", 30), (b"RFB 003.008\n", 30), (b"RFB 003.008\n\x01", 120)],
)
async def test_a_handshake_has_its_time_in_all_however_it_drips(autojump_clock, said, limit):
    async with trio.open_nursery() as nursery:
        server = Alone(nursery)
        await server.start()
        stream = server.connect()
        begun = trio.current_time()
        await stream.send_all(said)
        await rest_of(stream)
        assert limit <= trio.current_time() - begun <= limit + 3
        await server.listener.stop_listen()
        nursery.cancel_scope.cancel()


async def test_a_stream_is_served_only_while_the_service_listens():
    async with trio.open_nursery() as nursery:
        server = Alone(nursery)
        assert await rest_of(server.connect()) == b""
        await server.start()
        stream = server.connect()
        assert await stream.receive_some(12) == b"RFB 003.008\n"
        await server.listener.stop_listen()
        assert await rest_of(server.connect()) == b""
        nursery.cancel_scope.cancel()
    assert list(server.listener.bound_addresses) == []


async def test_who_guesses_and_hangs_up_holds_up_nobody(autojump_clock, vnc_password_file):
    async with trio.open_nursery() as nursery:
        server = Alone(nursery, security=("vnc",), vnc_password_file=vnc_password_file)
        await server.start()
        for _ in range(40):
            stream = server.connect()
            await stream.send_all(WRONG_PASSWORD)
            await trio.testing.wait_all_tasks_blocked()
            await stream.aclose()
        stream = server.connect()
        begun = trio.current_time()
        await stream.send_all(WRONG_PASSWORD)
        assert (await rest_of(stream)).endswith(b"The password is incorrect.")
        assert trio.current_time() - begun < 6
        nursery.cancel_scope.cancel()


async def test_who_talks_on_while_a_password_is_judged_is_dropped(autojump_clock, vnc_password_file, log):
    async with trio.open_nursery() as nursery:
        server = Alone(nursery, security=("vnc",), vnc_password_file=vnc_password_file)
        await server.start()
        for _ in range(11):
            stream = server.connect()
            await stream.send_all(WRONG_PASSWORD)
            nursery.start_soon(rest_of, stream)
            await trio.testing.wait_all_tasks_blocked()
        await stream.send_all(bytes(HANDSHAKE_LIMIT + 1))
        await trio.testing.wait_all_tasks_blocked()
        assert f"more than {HANDSHAKE_LIMIT} bytes" in log[-1]["reason"]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("said", [b"", b"RFB 003.008\n"])
async def test_a_stream_s_client_that_has_not_said_who_it_is_ends_with_the_listener(autojump_clock, said):
    async with trio.open_nursery() as nursery:
        server = Alone(nursery)
        await server.start()
        stream = server.connect()
        await stream.send_all(said)
        await trio.testing.wait_all_tasks_blocked()
        await server.listener.stop_listen()
        await trio.testing.wait_all_tasks_blocked()
        assert server.listener.half_open_count == 1  # a moment is left to it, as to those that came by socket
        begun = trio.current_time()
        server.scope.cancel()
        assert (await rest_of(stream)).startswith(b"RFB 003.008\n")
        await stream.aclose()
        assert trio.current_time() - begun <= LINGER


async def test_a_connection_that_cannot_even_be_made_costs_itself_alone(autojump_clock, log):
    class Failing(RfbListener):
        def new_connection(self, stream, peer, log):
            raise ZeroDivisionError("a mistake")

    async with trio.open_nursery() as nursery:
        server = Alone(nursery)
        await server.start()
        server.listener.__class__ = Failing
        assert await rest_of(server.connect()) == b""
        server.listener.__class__ = RfbListener
        assert await server.connect().receive_some(12) == b"RFB 003.008\n"
        await server.listener.stop_listen()
        nursery.cancel_scope.cancel()
    (told,) = [entry for entry in log if entry["log_level"] == "error"]
    assert (told["event"], told["error"]) == ("connection failed", "ZeroDivisionError")
    log.clear()


MESSAGES = {
    "an unknown message": b"\x63",
    "a message of an extension that was not offered": b"\xfa\0\x01\x02",
    "FixColourMapEntries": b"\x01" + bytes(5),
    "a pixel format that divides by zero": b"\0\0\0\0" + bytes((32, 24, 0, 1)) + bytes(12),
    "a clipboard of two gigabytes": b"\x06\0\0\0\x7f\xff\xff\xff",
    "a clipboard of a negative length that is none": b"\x06\0\0\0\x80\0\0\0",
    "a desktop size without having said so": b"\xfb\0\x02\0\x02\0\x01\0" + bytes(16),
}


@pytest.mark.parametrize("name", MESSAGES)
async def test_what_breaks_the_protocol_ends_one_connection(serving, log, name):
    async with serving() as server, connect_rfb("127.0.0.1", server.port, **LOGGED_ON) as good:
        desk = await server.desk()
        await good.first_picture.wait()
        async with connect_rfb(
            "127.0.0.1", server.port, encodings=(Encoding.RAW,), **LOGGED_ON
        ) as bad:  # the same user: it takes the session over
            await bad.first_picture.wait()
            await bad.send_bytes(MESSAGES[name])
            with trio.fail_after(10):
                await bad.closed.wait()
        assert good.closed.is_set()
        async with connect_rfb("127.0.0.1", server.port, **LOGGED_ON) as next_one:
            desk.paint(1)
            await shows(next_one, desk)
    assert [entry for entry in log if entry["event"] == "client broke the protocol"]
    assert len(server.desks) == 1


async def test_half_a_message_only_waits_for_the_other_half(serving):
    async with serving() as server, connect_rfb("127.0.0.1", server.port, **LOGGED_ON) as client:
        desk = await server.desk()
        await client.first_picture.wait()
        client.machine.send_key(ord("h"), True)
        client.machine.send_key(ord("h"), False)
        client.machine.send_pointer(0, 9, 8)
        data = client.machine.data_to_send()
        for byte in data:
            await client.send_bytes(bytes((byte,)))
            await trio.lowlevel.checkpoint()
        assert len(await desk.wait_for_input(3)) == 3


@given(data=st.binary(max_size=400), after=st.sampled_from([b"", b"RFB 003.008\n", b"RFB 003.008\n\x01\x01"]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_end_in_the_log_and_nowhere_else(log, data, after):
    async def main():
        with trio.fail_after(600):
            async with trio.open_nursery() as nursery:
                server = Alone(nursery)
                await server.start()
                stream = server.connect()
                await stream.send_all(after + data)
                await stream.send_eof()
                await rest_of(stream)
                nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert not [entry for entry in log if entry["log_level"] == "error"]


@pytest.mark.usefixtures("many_descriptors")
async def test_a_thousand_silent_clients_do_not_keep_a_good_one_out_nor_fill_the_memory(serving):
    async with serving(half_open_clients=1100) as server, trio.open_nursery() as nursery:
        silent = []
        gc.collect()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for number in range(1000):
                stream = await trio.open_tcp_stream("127.0.0.1", server.port, local_address=f"127.0.0.{2 + number % 3}")
                silent.append(stream)
                assert await stream.receive_some(12) == b"RFB 003.008\n"
                await stream.send_all(b"RFB 003.008\n")
            gc.collect()
            taken = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert taken / 1000 < 64 * 1024
        with trio.fail_after(5):
            async with connect_rfb("127.0.0.1", server.port, **LOGGED_ON) as client:
                await client.first_picture.wait()
        for stream in silent:
            await trio.aclose_forcefully(stream)
        nursery.cancel_scope.cancel()


async def test_too_many_clients_of_one_address_crowd_out_themselves(serving, log):
    async with serving(half_open_clients=3) as server:
        other = await trio.open_tcp_stream("127.0.0.1", server.port, local_address="127.0.0.9")
        assert await other.receive_some(12)
        streams = []
        for _ in range(5):
            streams.append(await trio.open_tcp_stream("127.0.0.1", server.port))
            assert await streams[-1].receive_some(12)
        assert await rest_of(streams[0]) == b""
        await other.send_all(b"RFB 003.008\n")
        assert await other.receive_some(100) == b"\x01\x13"
        for stream in (other, *streams):
            await trio.aclose_forcefully(stream)


async def test_a_client_that_takes_nothing_is_given_up(serving, log):
    async with serving(send_timeout=1.0, size=(4000, 2000)) as server:
        machine = RfbClientMachine(ClientIdentity((SecurityType.VENCRYPT,), name=USER, password=PASSWORD))
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            while machine.state is not ClientState.ACTIVE:
                machine.receive_data(bytes(await stream.receive_some(4096)))
                while machine.next_event() is not NEED_DATA:
                    pass
                await stream.send_all(machine.data_to_send())
            (await server.desk()).paint(1)
            machine.request_update(incremental=False)
            await stream.send_all(machine.data_to_send())
            with trio.fail_after(20):
                while not [entry for entry in log if entry["event"] == "client is gone"]:  # noqa: ASYNC110
                    await trio.sleep(0.1)
    [gone] = [entry for entry in log if entry["event"] == "client is gone"]
    assert gone["reason"] == "client accepted nothing for 1 s"


async def test_who_takes_no_picture_but_goes_on_asking_is_not_read_for_ever(serving):
    async with serving(size=(4000, 2000)) as server:
        machine = RfbClientMachine(ClientIdentity((SecurityType.VENCRYPT,), name=USER, password=PASSWORD))
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            while machine.state is not ClientState.ACTIVE:
                machine.receive_data(bytes(await stream.receive_some(4096)))
                while machine.next_event() is not NEED_DATA:
                    pass
                await stream.send_all(machine.data_to_send())
            (await server.desk()).paint(1)
            machine.set_encodings((Encoding.RAW, Encoding.LAST_RECT, Encoding.FENCE))
            machine.request_update(incremental=False)
            await stream.send_all(machine.data_to_send())
            await stream.receive_some(1)  # the update, of 32 MB, has begun, and answers have to wait for its end
            fences = Fence(FenceFlags.REQUEST, bytes(64)).pack() * 1000
            accepted = 0
            with trio.move_on_after(1) as patience:
                while accepted < 40_000_000:
                    await stream.send_all(fences)
                    accepted += len(fences)
                    patience.deadline = trio.current_time() + 1
            assert patience.cancelled_caught, f"{accepted} bytes of questions were taken"


async def test_nothing_of_a_client_stays_behind(serving):
    async with serving() as server:
        for _ in range(3):
            async with connect_rfb("127.0.0.1", server.port, **LOGGED_ON) as client:
                await client.first_picture.wait()
        with trio.fail_after(10):
            while server.manager._context.connections:  # noqa: ASYNC110
                await trio.sleep(0.05)
        await trio.testing.wait_all_tasks_blocked()
        left = [one for one in gc.get_objects() if isinstance(one, RfbConnection)]
        assert len(left) <= 1
