import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, memory_stream_pair

from rdpprov.errors import RemoteProtocolError
from rdpprov.providers.half_open import CrowdedOut, HalfOpenClients
from rdpprov.providers.rdp.connection import RdpConnection
from rdpprov.providers.rdp.options import RdpListenerOptions
from rdpprov.testing.rdp_client import connect_rdp
from tests.providers.support import CLIENT, stopped_before


@given(
    limit=st.integers(1, 6),
    steps=st.lists(st.one_of(st.sampled_from("abcd"), st.integers(0, 20)), max_size=40),
)
def test_who_goes_is_the_oldest_of_the_newcomer_s_address_or_of_the_fullest(limit, steps):
    """A model: a list of (number, address), oldest first. A letter comes, a number leaves by itself."""

    async def main():
        clients = HalfOpenClients(limit)
        model, leave, gone = [], {}, []

        async def client(number, address, task_status):
            leave[number] = trio.Event()
            try:
                with clients.admitted(address):
                    task_status.started()
                    await leave[number].wait()
            except CrowdedOut:
                gone.append(number)

        async with trio.open_nursery() as nursery:
            for number, step in enumerate(steps):
                if isinstance(step, int):
                    if step < len(model):
                        leave[model.pop(step)[0]].set()
                        await trio.testing.wait_all_tasks_blocked()
                    continue
                expected = None
                if len(model) == limit:
                    count = {address: sum(other == address for _, other in model) for _, address in model}
                    fullest = max(count.values())
                    mine = [one for one in model if one[1] == step]
                    candidates = (
                        mine[:1]
                        if mine
                        else [next(one for one in model if one[1] == a) for a, n in count.items() if n == fullest]
                    )
                    expected = {one[0] for one in candidates}
                gone.clear()
                await nursery.start(client, number, step)
                await trio.testing.wait_all_tasks_blocked()
                assert len(gone) == (expected is not None)
                if expected is not None:
                    assert gone[0] in expected
                    model = [one for one in model if one[0] != gone[0]]
                model.append((number, step))
                assert len(clients) == len(model) <= limit
            nursery.cancel_scope.cancel()
        assert len(clients) == 0

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_newcomers_at_the_same_instant_each_crowd_out_another():
    clients = HalfOpenClients(3)
    gone = []

    async def client(number):
        try:
            with clients.admitted("a"):
                await trio.sleep_forever()
        except CrowdedOut:
            gone.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(client, number)
            await trio.testing.wait_all_tasks_blocked()
        for number in range(3, 6):  # none of those who have to go runs in between
            nursery.start_soon(client, number)
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(gone) == [0, 1, 2]
        nursery.cancel_scope.cancel()


class Times(list):
    """When things happened, and a way to wait for as many."""

    def __init__(self):
        self._lot = trio.lowlevel.ParkingLot()

    def note(self):
        self.append(trio.current_time())
        self._lot.unpark_all()

    async def wait_for(self, count):
        while len(self) < count:
            await self._lot.park()


async def idle_clients(port, address, count, nursery):
    """Connect and say nothing."""
    ended = Times()

    async def wait_for_the_end(tcp):
        async with tcp:
            try:
                while await tcp.receive_some(100):
                    pass
            except trio.BrokenResourceError:
                pass
        ended.note()

    for _ in range(count):
        tcp = await trio.open_tcp_stream("127.0.0.1", port, local_address=address)
        nursery.start_soon(wait_for_the_end, tcp)
    return ended


@pytest.mark.usefixtures("many_descriptors")
async def test_a_thousand_silent_clients_do_not_keep_a_good_one_out_and_are_gone_at_their_limit(listening, log):
    """FRM-06, 07."""
    async with listening(negotiation_timeout=4, half_open_clients=1100) as server, trio.open_nursery() as nursery:
        start = trio.current_time()
        first = await idle_clients(server.port, "127.0.0.1", 500, nursery)
        second = await idle_clients(server.port, "127.0.0.2", 500, nursery)
        connected = trio.current_time()
        with trio.fail_after(2):
            async with connect_rdp("127.0.0.1", server.port, CLIENT) as client:
                await client.active.wait()
                await client.first_picture.wait()
        assert not first
        assert not second  # all were there meanwhile
        await first.wait_for(500)
        await second.wait_for(500)
        assert min(first) >= start + 4
        # the limit, the goodbye that nobody answers before, and what this machine needs for 1,000 clients
        assert max(*first, *second) <= connected + 4 + 3
    assert sum("X.224 negotiation took longer" in entry.get("reason", "") for entry in log) == 1000


@pytest.mark.usefixtures("many_descriptors")
async def test_more_than_the_limit_crowd_out_their_own_address_only(listening, log):
    async with listening(half_open_clients=20) as server, trio.open_nursery() as nursery:
        quiet = await idle_clients(server.port, "127.0.0.2", 5, nursery)
        flood = await idle_clients(server.port, "127.0.0.1", 60, nursery)
        await flood.wait_for(45)
        async with connect_rdp("127.0.0.1", server.port, CLIENT) as client:
            await client.active.wait()
        assert not quiet
        nursery.cancel_scope.cancel()
    assert sum("crowded out" in entry.get("reason", "") for entry in log) >= 45


# Exact limits, on memory streams


def connection_on(stream, tls, **options):
    import structlog

    return RdpConnection(stream, ("192.0.2.1", 1), RdpListenerOptions(**options), tls, structlog.get_logger())


async def test_a_client_that_says_nothing_has_ten_seconds(autojump_clock, tls):
    _, server = memory_stream_pair()
    start = trio.current_time()
    with pytest.raises(RemoteProtocolError, match=r"X\.224 negotiation took longer than 10 s"):
        await connection_on(server, tls).introduce()
    assert trio.current_time() == start + 10


async def test_one_byte_per_second_meets_the_same_limit(autojump_clock, tls):
    client, server = memory_stream_pair()

    async def drip():
        for byte in b"\x03\x00\x00\x80\x7b\xe0" + bytes(100):
            await client.send_all(bytes([byte]))
            await trio.sleep(1)

    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drip)
        with pytest.raises(RemoteProtocolError, match=r"X\.224 negotiation took longer than 10 s"):
            await connection_on(server, tls).introduce()
        assert trio.current_time() == start + 10
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("dripping", [False, True])
async def test_between_the_confirm_and_client_info_there_are_sixty_seconds_in_all(autojump_clock, tls, dripping):
    """NX-05: a TLS handshake that never gets on, silent or one byte per second."""
    client, server = memory_stream_pair()
    request = bytes.fromhex("030000130ee000000000000100080001000000")

    async def talk():
        await trio.sleep(9)
        await client.send_all(request)
        record = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc" + bytes(503) if dripping else b""
        for byte in record:
            await trio.sleep(1)
            await client.send_all(bytes([byte]))

    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk)
        with pytest.raises(RemoteProtocolError, match="TLS, MCS and Client Info took longer than 60 s"):
            await connection_on(server, tls).introduce()
        assert trio.current_time() == start + 69
        nursery.cancel_scope.cancel()


@pytest.mark.usefixtures("many_descriptors")
async def test_a_client_that_stops_anywhere_before_client_info_meets_the_limit(listening, log):
    """NX-32, silence."""
    stops = ["TLS", "Connect Initial", "Erect Domain Request", "Attach User Request", "Client Info"]
    async with listening(introduction_timeout=0.5) as server:
        for stop in stops:
            async with stopped_before(server.port, stop) as client:
                with trio.fail_after(4):
                    await client.ended_by_the_server()
    assert sum("took longer than 0.5 s" in entry.get("reason", "") for entry in log) == len(stops)
