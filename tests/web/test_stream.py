"""The stream that a provider gets: what trio's own streams promise, it promises too."""

import pytest
import trio
from wsproto.events import BytesMessage, CloseConnection

from rdpprov.web.configuration import WebLimits
from tests.web.support import Listener, serving


async def run(tmp_path, provider, browser, **limits):
    """Both ends at once; the provider's failures are the test's."""
    failures = []
    ended = trio.Event()

    async def serve(stream):
        try:
            await provider(stream)
        except Exception as error:
            failures.append(error)
        finally:
            ended.set()

    with trio.fail_after(10):
        async with serving(Listener(serve), tmp_path, limits=WebLimits(**limits)) as web, web.websocket() as websocket:
            await browser(websocket)
            await ended.wait()
    if failures:
        raise failures[0]


async def until_closed(websocket):
    await websocket.closing()


async def test_it_receives_as_many_bytes_as_are_asked_for_at_most(tmp_path):
    async def provider(stream):
        with pytest.raises(ValueError, match="max_bytes"):
            await stream.receive_some(0)
        assert [await stream.receive_some(size) for size in (1, 2, 100, None)] == [b"a", b"bc", b"d", b"ef"]
        assert await stream.receive_some() == await stream.receive_some(1) == b""

    async def browser(websocket):
        for message in (b"abcd", b"", b"ef"):
            await websocket.send_bytes(message)
        await websocket.send(CloseConnection(code=1001))
        await websocket.gone()

    await run(tmp_path, provider, browser)


async def test_what_is_large_goes_out_in_messages_of_64_kib(tmp_path):
    async def provider(stream):
        await stream.send_all(b"")
        await stream.send_all(bytearray(b"x") * 150_000)
        await stream.send_all(memoryview(b"end"))

    async def browser(websocket):
        sizes, size = [], 0
        while isinstance(event := await websocket.next_event(), BytesMessage):
            size += len(event.data)
            if event.message_finished:
                sizes.append(size)
                size = 0
        assert sizes == [65536, 65536, 18928, 3]

    await run(tmp_path, provider, browser)


async def test_one_task_may_receive_while_another_sends_but_not_two_of_a_kind(tmp_path):
    async def provider(stream):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.receive_some)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await stream.receive_some()
            await stream.send_all(b"x")
            nursery.cancel_scope.cancel()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, bytes(64 << 20))
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await stream.send_all(b"x")
            with pytest.raises(trio.BusyResourceError):
                await stream.wait_send_all_might_not_block()
            nursery.cancel_scope.cancel()

    async def browser(websocket):
        assert await websocket.receive(1) == b"x"

    await run(tmp_path, provider, browser)


async def test_a_cancelled_wait_for_bytes_loses_none(tmp_path):
    async def provider(stream):
        received = b""
        while len(received) < 100:
            with trio.move_on_after(0.001):
                received += await stream.receive_some(7)
        assert received == bytes(range(100))

    async def browser(websocket):
        for start in range(0, 100, 10):
            await websocket.send_bytes(bytes(range(start, start + 10)))
        await websocket.closing()

    await run(tmp_path, provider, browser, frames_per_second=100_000)


async def test_closing_wakes_who_waits_for_bytes_and_a_closed_stream_does_nothing_more(tmp_path):
    async def provider(stream):
        async with trio.open_nursery() as nursery:

            async def receive():
                with pytest.raises(trio.ClosedResourceError):
                    await stream.receive_some()

            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            await stream.aclose()
        await stream.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_some()
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"x")
        with pytest.raises(trio.ClosedResourceError):
            await stream.wait_send_all_might_not_block()

    await run(tmp_path, provider, until_closed)


async def test_after_its_own_end_it_still_receives_what_the_browser_had_to_say(tmp_path):
    async def provider(stream):
        assert await stream.receive_some() == b"one"
        await stream.send_eof()
        await stream.send_eof()
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"x")
        assert await stream.receive_some() == b"two"
        assert await stream.receive_some() == b""

    async def browser(websocket):
        await websocket.send_bytes(b"one")
        await websocket.send_bytes(b"two")
        assert await websocket.closing() == (1000, "")

    await run(tmp_path, provider, browser)


async def test_sending_to_a_browser_that_is_gone_breaks(tmp_path):
    async def provider(stream):
        assert await stream.receive_some() == b""
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"x")
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_eof()

    async def browser(websocket):
        await trio.aclose_forcefully(websocket.stream)

    await run(tmp_path, provider, browser)


async def test_what_is_cancelled_while_it_sends_has_broken_the_stream(tmp_path):
    """After half a message there is no other; nor can a goodbye be said, which is not waited for then."""

    async def provider(stream):
        with trio.move_on_after(0.1):
            while True:
                await stream.send_all(bytes(65536))
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"x")
        with trio.fail_after(1):
            await stream.aclose()

    async def browser(websocket):
        pass

    await run(tmp_path, provider, browser, goodbye=5)


async def test_a_browser_that_does_not_answer_a_goodbye_is_not_waited_for_long(tmp_path):
    async def provider(stream):
        stream.close_with(1001, "one")
        stream.close_with(1011, "two")

    async def browser(websocket):
        event = await websocket.next_event()
        assert (event.code, event.reason) == (1001, "one")
        with pytest.raises(EOFError):
            await websocket.next_event()

    await run(tmp_path, provider, browser, goodbye=0.2)
