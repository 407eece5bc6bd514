"""Whole connections through the service, by our own client half and by xfreerdp: sizes, text, coming back."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
import trio

from rdpprov.api.devices import UnicodeKey
from rdpprov.protocol.rdp.client import ClientOptions
from rdpprov.providers.rdp.connection import RdpConnection
from rdpprov.rcm.connection_callback import ConnectionCallback
from rdpprov.testing.rdp_client import RdpTestClient, connect_rdp
from tests.peers.support import (
    PASSWORD,
    USER,
    Display,
    Service,
    StartService,
    alike,
    calls,
    eventually,
    picture,
    running,
    shows,
    xfreerdp,
)

DIRECT = [
    "AuthenticateClientToSession",
    "NotifySessionId",
    "GetInputHandles",
    "GetVideoHandle",
    "ConnectNotify",
    "IsUserAllowedToLogon",
    "LogonNotify",
]


def options(**more: object) -> ClientOptions:
    return ClientOptions(user_name=USER, password=PASSWORD, **more)  # type: ignore[arg-type]


async def sees_the_desktop(client: RdpTestClient, service: Service) -> None:
    """Wait until the client's picture is the session's."""

    with trio.fail_after(30):
        await client.first_picture.wait()  # before that, comparing large pictures only takes time
        await client.wait_until(
            lambda: (
                bool(service.desktops)
                and client.picture is not None
                and np.array_equal(client.picture[:, :, 2::-1], picture(service.desktops[-1]))
            )
        )


@pytest.mark.parametrize("size", [(200, 200), (201, 203), (800, 600), (1918, 1080), (8192, 8192)])
async def test_desktop_has_the_size_that_the_client_asks_for(size: tuple[int, int], serving: StartService) -> None:
    width, height = size
    async with (
        serving() as service,
        connect_rdp("127.0.0.1", service.port, options(width=width, height=height)) as client,
    ):
        await sees_the_desktop(client, service)
        assert (client.width, client.height) == size
        assert (service.desktops[0].width, service.desktops[0].height) == size


@pytest.mark.parametrize(("asked", "granted"), [((100, 60), (200, 200)), ((10000, 300), (8192, 300))])
async def test_sizes_beyond_the_limits_are_clamped(
    asked: tuple[int, int], granted: tuple[int, int], serving: StartService
) -> None:
    width, height = asked
    async with (
        serving() as service,
        connect_rdp("127.0.0.1", service.port, options(width=width, height=height)) as client,
    ):
        await sees_the_desktop(client, service)
        assert (client.width, client.height) == granted


async def test_unicode_keys_arrive_whatever_the_layout(serving: StartService) -> None:
    text = "é ß 中 \N{GRINNING FACE}"
    async with serving() as service, connect_rdp("127.0.0.1", service.port, options()) as client:
        await sees_the_desktop(client, service)
        for character in text:
            await client.send_input(UnicodeKey(character, pressed=True), UnicodeKey(character, pressed=False))
        with trio.fail_after(10):
            await client.wait_until(lambda: service.desktops[0].text == text)
        await sees_the_desktop(client, service)


async def test_session_follows_the_next_client_to_its_size_and_depth(serving: StartService) -> None:
    async with serving() as service:
        async with connect_rdp("127.0.0.1", service.port, options(width=1024, height=768)) as client:
            await sees_the_desktop(client, service)
            await client.send_input(UnicodeKey("x", pressed=True), UnicodeKey("x", pressed=False))
            with trio.fail_after(10):
                await client.wait_until(lambda: service.desktops[0].text == "x")
        async with connect_rdp("127.0.0.1", service.port, options(width=640, height=480, color_depth=24)) as client:
            await sees_the_desktop(client, service)
            assert len(service.desktops) == 1
            assert (service.desktops[0].width, service.desktops[0].text) == (640, "x")


async def test_second_client_takes_the_session_over_and_the_first_is_told(serving: StartService) -> None:
    async with serving() as service, connect_rdp("127.0.0.1", service.port, options()) as first:
        await sees_the_desktop(first, service)
        async with connect_rdp("127.0.0.1", service.port, options()) as second:
            await sees_the_desktop(second, service)
            with trio.fail_after(10):
                await first.closed.wait()
            assert first.error_info == 5  # ERRINFO_DISCONNECTED_BY_OTHERCONNECTION
            assert len(service.desktops) == 1


async def test_stop_of_the_service_tells_every_client(serving: StartService) -> None:
    async with serving() as service, connect_rdp("127.0.0.1", service.port, options()) as client:
        await sees_the_desktop(client, service)
        service.manager.request_stop()
        with trio.fail_after(10):
            await client.closed.wait()
        assert client.error_info == 1  # ERRINFO_RPC_INITIATED_DISCONNECT


@asynccontextmanager
async def relay(port: int) -> AsyncIterator[tuple[int, trio.Event]]:
    """A port that leads to another one, until the event: then what is open is cut off without a word."""
    cut = trio.Event()

    async def lead(client: trio.SocketStream) -> None:
        server = await trio.open_tcp_stream("127.0.0.1", port)

        async def copy(source: trio.SocketStream, target: trio.SocketStream) -> None:
            try:
                async for data in source:
                    await target.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass

        async with client, server, trio.open_nursery() as nursery:
            nursery.start_soon(copy, client, server)
            nursery.start_soon(copy, server, client)
            if not cut.is_set():
                await cut.wait()
                nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, lead, 0)
        yield listeners[0].socket.getsockname()[1], cut
        nursery.cancel_scope.cancel()


@pytest.mark.peer("Xvfb", "xfreerdp", "import")
async def test_xfreerdp_comes_back_by_itself_with_the_secret_that_it_was_given(
    display: Display, serving: StartService
) -> None:
    async with (
        serving() as service,
        relay(service.port) as (port, cut),
        running(xfreerdp(port, "+auto-reconnect", "/auto-reconnect-max-retries:10"), display),
    ):
        await shows(display, service, alike(32))
        cut.set()

        async def back() -> bool:
            files = service.trace_files()
            return len(files) > 1 and any("LogonNotify" in calls(path) for path in files[1:])

        await eventually(back, "the second connection")
        await shows(display, service, alike(32))
        assert len(service.desktops) == 1
        [again] = [path for path in service.trace_files()[1:] if "LogonNotify" in calls(path)]
        assert [call for call in calls(again) if call in DIRECT] == DIRECT
        assert "NotifyCommandProcessCreated" not in calls(again)


async def test_a_connection_that_is_over_is_freed_without_a_garbage_collection(serving: StartService) -> None:
    """The command that serves collects rarely, and a connection has a password, TLS and a hundred KiB."""

    def halves() -> list[object]:
        return [each for each in gc.get_objects() if isinstance(each, RdpConnection | ConnectionCallback)]

    def alive() -> int:
        return len(halves()) - others

    async def is_freed() -> bool:
        return alive() == 0

    gc.collect()
    others = len(halves())  # what a test that failed before in this process still shows
    gc.disable()
    try:
        async with serving() as service:
            async with connect_rdp("127.0.0.1", service.port, options()) as client:
                with trio.fail_after(30):
                    await client.first_picture.wait()
                assert alive() == 2
            await eventually(is_freed, "freeing the connection")
    finally:
        gc.enable()
