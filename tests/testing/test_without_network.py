"""A provider without sockets: the kit gives its client the listener, and leaves out what needs a network."""

from contextlib import asynccontextmanager

import trio
from trio.testing import memory_stream_pair

from rdpprov.testing.check_clients import CheckClient, as_client
from rdpprov.testing.check_provider import Status, check_provider
from tests.testing.minimal_provider import Listener, MinimalManager, MinimalUser


class MemoryListener(Listener):
    async def start_listen(self, callback, *, task_status):
        self.callback = callback
        self.stopped = trio.Event()
        async with trio.open_nursery() as self.clients:
            task_status.started()
            await self.stopped.wait()

    async def stop_listen(self):
        self.stopped.set()

    def arrive(self):
        ours, theirs = memory_stream_pair()
        self.clients.start_soon(self.accepted, ours)
        return theirs


class MemoryManager(MinimalManager):
    make_listener = MemoryListener


@asynccontextmanager
async def memory_client(listener, user, password):
    async with listener.arrive() as stream, trio.open_nursery() as nursery:
        await stream.send_all(f"HELLO {user} {password}\n".encode())
        client = MinimalUser(stream)
        nursery.start_soon(client.read)
        yield client
        nursery.cancel_scope.cancel()


async def plain_client(listener, user, password):
    async with listener.arrive() as stream:
        await stream.send_all(f"HELLO {user} {password}\n".encode())
        await trio.sleep_forever()


def test_a_provider_without_a_network_is_checked_by_its_own_way_in():
    report = trio.run(lambda: check_provider(MemoryManager, memory_client, patience=1.0))
    assert report.is_good, report.to_text()
    assert "bad-clients-cost-only-themselves" in report.named(Status.NOT_APPLICABLE)
    assert "broken-connection-only-then" in report.named(Status.PASSED)


def test_a_client_may_be_a_plain_function():
    report = trio.run(lambda: check_provider(MemoryManager, plain_client, patience=1.0))
    assert report.is_good, report.to_text()
    assert "input-reaches-the-session" in report.named(Status.NOT_APPLICABLE)


def test_a_client_is_a_function_or_the_name_of_one():
    assert as_client(plain_client) == CheckClient(plain_client)
    assert as_client("rdpprov.testing.known_clients:RDP").options is not None
