import pytest
import trio
import trio.testing

from rdpprov.rcm.events import EVENTS_KEPT, DrainChanged, EventsLost, Feed, ListenerUp


async def test_everybody_who_watches_gets_every_event_from_then_on():
    feed = Feed()
    feed.publish(ListenerUp("before"))
    with feed.watching() as one:
        feed.publish(ListenerUp("a"))
        with feed.watching() as other:
            feed.publish(ListenerUp("b"))
            assert [await anext(one), await anext(one)] == [ListenerUp("a"), ListenerUp("b")]
            assert await anext(other) == ListenerUp("b")
    feed.publish(ListenerUp("after"))


async def test_a_watcher_waits_for_what_happens():
    feed = Feed()
    events = []

    async def watch(watcher):
        async for event in watcher:
            events.append(event)

    with feed:
        async with trio.open_nursery() as nursery:
            with feed.watching() as watcher:
                nursery.start_soon(watch, watcher)
                await trio.testing.wait_all_tasks_blocked()
                feed.publish(DrainChanged(True))
                await trio.testing.wait_all_tasks_blocked()
                assert events == [DrainChanged(True)]
                feed.__exit__()


async def test_a_slow_watcher_loses_events_and_is_told_how_many_in_their_place():
    feed = Feed()
    with feed.watching() as slow:
        for number in range(EVENTS_KEPT + 7):
            feed.publish(ListenerUp(str(number)))
        first = await anext(slow)
        feed.publish(ListenerUp("lost, too: there is one gap, not many"))
        rest = [await anext(slow) for _ in range(EVENTS_KEPT)]
        feed.publish(ListenerUp("caught up"))
        assert [first, *rest[:-1]] == [ListenerUp(str(number)) for number in range(EVENTS_KEPT)]
        assert rest[-1] == EventsLost(8)
        assert await anext(slow) == ListenerUp("caught up")


async def test_the_end_of_the_service_ends_those_who_watch_once_they_have_taken_all():
    feed = Feed()
    with feed.watching() as watcher:
        with feed:
            feed.publish(DrainChanged(True))
        assert await anext(watcher) == DrainChanged(True)
        with pytest.raises(StopAsyncIteration):
            await anext(watcher)
    with feed.watching() as late, pytest.raises(StopAsyncIteration):
        await anext(late)
