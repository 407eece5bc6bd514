"""A provider of the deprecated family, behind the adapter, conforms as any other does."""

from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace

import trio

from rdpprov.errors import NotImplementedByProvider
from rdpprov.providers.wtsprotocol import adapted
from rdpprov.testing.check_provider import Status, check_provider
from tests.providers.old_shape import OldConnection, OldListener, OldManager


class Connection(OldConnection):
    async def run(self, listener_callback):
        try:
            await super().run(listener_callback)
        except (AttributeError, ValueError):  # no line, or none with a name and a password
            await self.stream.aclose()

    async def query_property(self, query_type, entries_in=()):
        raise NotImplementedByProvider("QueryProperty")


class Listener(OldListener):
    async def start_listen(self, callback, *, task_status):
        listeners = await trio.open_tcp_listeners(self.options["port"], host="127.0.0.1")
        self.bound_addresses = [listener.socket.getsockname()[:2] for listener in listeners]

        async def serve(stream):
            await Connection(stream, {}).run(callback)

        async with trio.open_nursery() as clients:
            with self.accepting:
                await trio.serve_listeners(serve, listeners, handler_nursery=clients, task_status=task_status)


class Manager(OldManager):
    async def create_listener(self, listener_name):
        return Listener(self.settings.listener_options(listener_name))


@asynccontextmanager
async def client(address, port, user, password):
    async with await trio.open_tcp_stream(address, port) as stream:
        await stream.send_all(f"{user} {password}\n".encode())
        yield SimpleNamespace(use=partial(stream.send_all, b"a\n"))


def test_an_adapted_provider_conforms():
    report = trio.run(lambda: check_provider(adapted(Manager), client, patience=2.0))
    assert report.is_good, report.to_text()
    assert len(report.named(Status.PASSED)) > 50
