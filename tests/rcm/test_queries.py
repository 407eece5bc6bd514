"""What the service asks between the steps: properties, counters, last input, channels; and that nothing overlaps."""

import gc
import inspect
import weakref

import pytest
import trio
import trio.testing

from rdpprov.api.connection import ProtocolConnection
from rdpprov.api.devices import ScancodeKey
from rdpprov.api.enums import FastReconnectMode
from rdpprov.api.properties import (
    CONNECTION_PROPERTY_CURSOR_BLINK_DISABLED,
    PROPERTIES,
    PROPERTY_DYNAMIC_TIME_ZONE_INFORMATION,
    PROPERTY_TYPE_GET_FAST_RECONNECT,
    WTS_QUERY_ALLOWED_INITIAL_APP,
    WTS_QUERY_AUDIOENUM_DLL,
    WTS_QUERY_LOGON_SCREEN_SIZE,
    InitialApp,
    InitialAppVerdict,
    LogonScreenSize,
)
from rdpprov.api.structures import PropertyValue, ProtocolCounters, ProtocolStatus, UserCredential
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import HResultError
from rdpprov.rcm import queries
from rdpprov.rcm.channels import ServiceChannel
from rdpprov.rcm.configuration import Limits
from rdpprov.rcm.queries import implements, last_input, open_channel, query, status
from rdpprov.testing.scripted import (
    HANGS,
    NOT_IMPLEMENTED,
    Answers,
    Fails,
    QueriedConnection,
    ScriptedProvider,
    Takes,
)

ANN = UserCredential("ann", "right")
BLINK = CONNECTION_PROPERTY_CURSOR_BLINK_DISABLED


def only(service):
    """The service's half of the one connection that there is."""
    (callback,) = service._context.connections.values()
    return callback


async def logged_on(provider, **answers):
    """A client that is logged on, and answers like that from now on."""
    table = {"GetUserCredentials": ANN}
    client = await provider.connect(script=Answers(table), connection_class=QueriedConnection)
    await client.until("LogonNotify")
    client.calls.clear()
    client.table = table
    table.update({**provider.answers, **answers})
    return client


@pytest.mark.parametrize(
    ("asked", "question", "answer", "values"),
    [
        (WTS_QUERY_ALLOWED_INITIAL_APP, InitialApp("a", "b"), InitialAppVerdict("c", "d", allowed=True), ("c", "d", 1)),
        (WTS_QUERY_LOGON_SCREEN_SIZE, None, LogonScreenSize(640, 480), (480 << 16 | 640,)),
        (PROPERTY_TYPE_GET_FAST_RECONNECT, None, FastReconnectMode.ENHANCED, (2,)),
        (BLINK, None, True, (1,)),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
async def test_a_property_is_asked_and_answered_in_its_own_types(
    autojump_clock, checked, asked, question, answer, values
):
    provider = ScriptedProvider()
    async with provider.service() as service:
        client = await logged_on(provider, **{asked.name: [PropertyValue(value) for value in values]})
        given = query(only(service), asked) if question is None else query(only(service), asked, question)
        assert await given == answer
        assert client.names == [asked.name]
        assert client.calls[0].args == (asked.pack_question(question) if question is not None else ())
    checked(provider)


@pytest.mark.parametrize(
    "answer",
    [
        [PropertyValue("yes")],
        [],
        [PropertyValue(1), PropertyValue(1)],
        [1],
        42,
        "\x01",
    ],
    ids=["another type", "nothing", "too many", "no PropertyValue", "no sequence", "text"],
)
async def test_an_answer_of_other_types_is_logged_and_counts_as_none(autojump_clock, checked, log, answer):
    provider = ScriptedProvider()
    async with provider.service() as service:
        client = await logged_on(provider, **{BLINK.name: answer})
        log.clear()
        assert await query(only(service), BLINK) is None
        (entry,) = [entry for entry in log if entry["event"] == "provider failed"]
        assert entry["call"] == "QueryProperty"
        assert BLINK.name in entry["error"]
        await trio.sleep(1)
        assert "Close" not in client.names
    checked(provider)


async def test_a_time_zone_that_cannot_be_read_counts_as_none(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service() as service:
        await logged_on(provider, **{PROPERTY_DYNAMIC_TIME_ZONE_INFORMATION.name: [PropertyValue(b"short")]})
        assert await query(only(service), PROPERTY_DYNAMIC_TIME_ZONE_INFORMATION) is None


@pytest.mark.parametrize("answer", [NOT_IMPLEMENTED, Fails(HResultError("busy")), HANGS], ids=["no", "fails", "hangs"])
async def test_a_query_without_an_answer_gives_none_and_the_connection_stays(autojump_clock, checked, answer):
    provider = ScriptedProvider()
    async with provider.service() as service:
        client = await logged_on(
            provider, **dict.fromkeys((BLINK.name, "GetProtocolStatus", "CreateVirtualChannel"), answer)
        )
        before = trio.current_time()
        assert await query(only(service), BLINK) is None
        assert trio.current_time() - before == (Limits().call if answer is HANGS else 0)
        assert await status(only(service)) is None
        assert await open_channel(only(service), "test") is None
        await trio.sleep(1)
        assert client.names == [BLINK.name, "GetProtocolStatus", "CreateVirtualChannel"]
    checked(provider)


@pytest.mark.parametrize("call", [BLINK.name, "GetProtocolStatus", "GetLastInputTime", "CreateVirtualChannel"])
async def test_a_mistake_in_a_query_ends_the_connection_and_not_who_asked(autojump_clock, checked, call):
    provider = ScriptedProvider()
    async with provider.service() as service:
        client = await logged_on(provider, **{call: Fails(ZeroDivisionError("a mistake"))})
        callback = only(service)
        asked = {
            BLINK.name: lambda: query(callback, BLINK),
            "GetProtocolStatus": lambda: status(callback),
            "GetLastInputTime": lambda: last_input(callback),
            "CreateVirtualChannel": lambda: open_channel(callback, "test"),
        }[call]
        assert await asked() in (None, 0)
        await client.closed.wait()
        assert client.args_of("SetErrorInfo") == (ErrInfo.ERRINFO_SERVER_DENIED_CONNECTION,)
    checked(provider)


async def test_what_has_no_meaning_off_windows_is_never_asked(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service() as service:
        client = await logged_on(provider)
        for asked in PROPERTIES.values():
            if not asked.meaning_off_windows:
                assert await query(only(service), asked) is None
        assert client.names == []
    assert WTS_QUERY_AUDIOENUM_DLL.guid in {one.guid for one in PROPERTIES.values() if not one.meaning_off_windows}


def test_every_documented_property_has_its_moment_in_the_list():
    listed = inspect.getdoc(queries) or ""
    for one in PROPERTIES.values():
        assert one.name.removeprefix("PROPERTY_TYPE_GET_FAST_RECONNECT") in listed


async def test_a_provider_that_knows_its_properties_is_asked_for_no_others(autojump_clock):
    class Knowing(QueriedConnection):
        known_properties = frozenset({PROPERTY_TYPE_GET_FAST_RECONNECT.guid})

    provider = ScriptedProvider()
    async with provider.service() as service:
        client = await provider.log_on("ann", connection_class=Knowing)
        assert BLINK.name not in client.names
        client.calls.clear()
        assert await query(only(service), BLINK) is None
        assert client.names == []
        assert await query(only(service), PROPERTY_TYPE_GET_FAST_RECONNECT) is None
        assert client.names == [PROPERTY_TYPE_GET_FAST_RECONNECT.name]


async def test_a_provider_without_queries_is_not_called_and_leaves_no_line_in_a_trace(autojump_clock, checked):
    provider = ScriptedProvider()
    async with provider.service() as service:
        client = await provider.log_on("ann")
        calls, lines = len(client.calls), len(provider.traces.connections[1].trace().lines)
        callback = only(service)
        assert not implements(client, ProtocolConnection.query_property)
        assert await query(callback, BLINK) is None
        assert await status(callback) is None
        assert await open_channel(callback, "test") is None
        assert (len(client.calls), len(provider.traces.connections[1].trace().lines)) == (calls, lines)
    checked(provider)


async def test_nothing_is_asked_before_accept_connection_or_after_the_end(autojump_clock, checked):
    provider = ScriptedProvider({"GetProtocolStatus": ProtocolStatus()})
    async with provider.service() as service:
        answers = {"AcceptConnection": Takes(5), "GetUserCredentials": ANN, "Close": Takes(5)}
        client = await provider.connect(answers=answers, connection_class=QueriedConnection)
        callback = only(service)
        await trio.sleep(1)
        assert await status(callback) is None
        await client.until("LogonNotify")
        assert await status(callback) == ProtocolStatus()
        client.goes()
        await client.until("Close")
        assert await status(callback) is None
        assert client.names[-1] == "Close"
        assert client.names.count("GetProtocolStatus") == 1
    checked(provider)


@pytest.mark.parametrize("step", ["GetClientData", "GetUserCredentials", "ConnectNotify", "LogonNotify"])
async def test_a_query_waits_for_the_step_that_is_open(autojump_clock, checked, step):
    counted = ProtocolStatus(output=ProtocolCounters(bytes=7))
    takes = Takes(3, ANN if step == "GetUserCredentials" else None)
    provider = ScriptedProvider({"GetProtocolStatus": counted, "GetUserCredentials": ANN, step: takes})
    async with provider.service() as service:
        client = await provider.connect(connection_class=QueriedConnection)
        await client.until(step)
        assert await status(only(service)) == counted
        at = {asked.name: asked.at for asked in client.calls}
        assert at["GetProtocolStatus"] - at[step] == 3
        await client.until("LogonNotify")
    checked(provider)


async def test_the_sequence_waits_for_a_query_that_is_open(autojump_clock, checked):
    provider = ScriptedProvider(
        {"GetProtocolStatus": Takes(4, ProtocolStatus()), "GetUserCredentials": NOT_IMPLEMENTED}
    )
    async with provider.service() as service, trio.open_nursery() as nursery:
        client = await provider.connect(connection_class=QueriedConnection)
        desktop = await provider.logon_desktop()
        nursery.start_soon(status, only(service))
        await client.until("GetProtocolStatus")
        desktop.type("ann", "right")
        await client.until("LogonNotify")
        at = {asked.name: asked.at for asked in client.calls}
        assert at["IsUserAllowedToLogon"] - at["GetProtocolStatus"] == 4
    checked(provider)


async def test_queries_of_several_tasks_come_one_after_the_other(autojump_clock, checked):
    provider = ScriptedProvider({"GetProtocolStatus": Takes(1, ProtocolStatus())})
    async with provider.service() as service:
        client = await logged_on(provider)
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(status, only(service))
        times = [asked.at for asked in client.calls]
        assert [later - times[0] for later in times] == [0, 1, 2, 3, 4]
    checked(provider)


async def test_a_query_that_hangs_does_not_keep_a_connection_from_ending(autojump_clock, checked):
    provider = ScriptedProvider({"GetProtocolStatus": HANGS})
    async with provider.service() as service, trio.open_nursery() as nursery:
        client = await logged_on(provider)
        answers = []

        async def ask():
            answers.append(await status(only(service)))

        nursery.start_soon(ask)
        nursery.start_soon(ask)
        await client.until("GetProtocolStatus")
        before = trio.current_time()
        client.goes()
        await client.closed.wait()
        assert trio.current_time() == before
        await trio.testing.wait_all_tasks_blocked()
        assert answers == [None, None]
        assert client.names == ["GetProtocolStatus", "PreDisconnect", "DisconnectNotify", "Close"]
    checked(provider)


async def test_who_gives_up_waiting_leaves_the_others_their_turn(autojump_clock, checked):
    provider = ScriptedProvider({"GetProtocolStatus": Takes(10, ProtocolStatus())})
    async with provider.service() as service, trio.open_nursery() as nursery:
        client = await logged_on(provider)
        nursery.start_soon(status, only(service))
        await client.until("GetProtocolStatus")
        with trio.move_on_after(1) as scope:
            await status(only(service))
        assert scope.cancelled_caught
        assert await status(only(service)) == ProtocolStatus()
        assert len(client.calls) == 2
    checked(provider)


async def test_the_last_input_is_the_providers_if_it_knows_and_else_what_the_service_saw(autojump_clock, checked):
    provider = ScriptedProvider()
    async with provider.service() as service:
        client = await logged_on(provider, GetLastInputTime=1234)
        assert await last_input(only(service)) == 1234
        client.table["GetLastInputTime"] = -1
        await trio.sleep(2)
        client.inputs.send(ScancodeKey(0x1E, True))
        await trio.sleep(3)
        assert await last_input(only(service)) == 3000
        client.table["GetLastInputTime"] = NOT_IMPLEMENTED
        await trio.sleep(1)
        assert await last_input(only(service)) == 4000
    checked(provider)


async def test_nobody_has_touched_anything_before_the_logon(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service() as service:
        await provider.connect()
        await provider.logon_desktop()
        assert await last_input(only(service)) is None


# --- Channels


class MemoryChannel:
    """The provider's end of a channel, in memory."""

    def __init__(self):
        self.sent = []
        self.is_closed = False
        self.give, self._given = trio.open_memory_channel(10)

    async def send_all(self, data):
        self.sent.append(data)

    async def receive_some(self, max_bytes=None):
        return (await self._given.receive())[:max_bytes]

    async def aclose(self):
        self.is_closed = True


async def test_a_channel_is_a_stream_to_the_client(autojump_clock, checked):
    provider, channel = ScriptedProvider(), MemoryChannel()
    async with provider.service() as service:
        client = await logged_on(provider, CreateVirtualChannel=channel)
        stream = await open_channel(only(service), "rdpsnd", static=True, priority=4)
        assert client.args_of("CreateVirtualChannel") == ("rdpsnd", True, 4)
        await stream.send_all(bytearray(b"hello"))
        await stream.wait_send_all_might_not_block()
        channel.give.send_nowait(b"answer")
        assert await stream.receive_some(3) == b"ans"
        assert channel.sent == [b"hello"]
        async with stream:
            pass
        await stream.aclose()
        assert channel.is_closed
        assert only(service).channels == set()
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"late")
        with pytest.raises(trio.ClosedResourceError):
            await stream.wait_send_all_might_not_block()
    checked(provider)


async def test_a_channel_ends_with_its_connection(autojump_clock, checked):
    provider, channel = ScriptedProvider(), MemoryChannel()
    async with provider.service() as service, trio.open_nursery() as nursery:
        client = await logged_on(provider, CreateVirtualChannel=channel)
        stream = await open_channel(only(service), "Some::Dynamic::Channel", static=False)

        async def receive():
            with pytest.raises(trio.ClosedResourceError):
                await stream.receive_some()

        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        client.goes()
        await client.closed.wait()
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"late")
    checked(provider)


@pytest.mark.parametrize("ended_by", ["the stream's user", "the connection"])
async def test_who_keeps_a_channel_s_stream_does_not_keep_the_provider_s_end(autojump_clock, ended_by):
    """Behind that is the connection, with its client's password."""
    channel = MemoryChannel()
    alive = weakref.ref(channel)
    stream = ServiceChannel(channel, "test", set())
    with trio.move_on_after(1):
        await stream.receive_some()
    if ended_by == "the connection":
        stream.connection_ended()
    else:
        await stream.aclose()
    del channel
    await trio.lowlevel.checkpoint()  # trio itself keeps what it sent last into a task: the cancellation from there
    gc.collect()
    assert alive() is None
    with pytest.raises(trio.ClosedResourceError):
        await stream.receive_some()


async def test_a_channel_that_comes_when_its_connection_ends_is_closed(autojump_clock, checked):
    provider = ScriptedProvider()
    async with provider.service() as service:

        def channel(*args):
            only(service).closing_scope = trio.CancelScope()
            return MemoryChannel()

        client = await logged_on(provider, CreateVirtualChannel=channel)
        stream = await open_channel(only(service), "test")
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_some()
        client.goes()
        await client.closed.wait()
    checked(provider)


async def test_what_a_providers_channel_raises_is_a_broken_stream(autojump_clock, log):
    class Broken(MemoryChannel):
        async def send_all(self, data):
            raise HResultError("gone")

        async def receive_some(self, max_bytes=None):
            raise trio.BrokenResourceError("gone")

        async def aclose(self):
            raise ZeroDivisionError("a mistake")

    provider = ScriptedProvider()
    async with provider.service() as service:
        await logged_on(provider, CreateVirtualChannel=Broken())
        stream = await open_channel(only(service), "test")
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"")
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        await stream.aclose()
        assert [entry["call"] for entry in log if entry["event"] == "provider failed"] == ["aclose"]


async def test_what_is_no_channel_is_logged_and_counts_as_none(autojump_clock, log):
    provider = ScriptedProvider()
    async with provider.service() as service:
        await logged_on(provider, CreateVirtualChannel=7)
        assert await open_channel(only(service), "test") is None
        assert any(entry.get("error") == "int is no channel" for entry in log)


@pytest.mark.parametrize(
    ("name", "static", "priority"),
    [
        ("", True, 0),
        ("eight888", True, 0),
        ("d" * 261, False, 0),
        ("nul\0", True, 0),
        ("größe", True, 0),
        ("test", True, 1),
        ("test", False, 8),
        ("test", False, -2),
    ],
)
async def test_a_name_or_a_priority_that_cannot_be_is_refused_before_anybody_is_asked(
    autojump_clock, name, static, priority
):
    provider = ScriptedProvider()
    async with provider.service() as service:
        client = await logged_on(provider, CreateVirtualChannel=MemoryChannel())
        with pytest.raises(HResultError, match="channel"):
            await open_channel(only(service), name, static, priority)
        assert client.names == []


async def test_a_query_that_was_about_to_be_asked_when_the_connection_ends_is_not_asked(autojump_clock, checked):
    provider = ScriptedProvider()
    async with provider.service() as service, trio.open_nursery() as nursery:
        client = await logged_on(provider, GetProtocolStatus=Takes(3, ProtocolStatus()))
        callback = only(service)

        async def first():
            await status(callback)
            # As the disconnect sequence does, and before the one who waits gets to run.
            for scope in callback.querying:
                scope.cancel()

        nursery.start_soon(first)
        await client.until("GetProtocolStatus")
        nursery.start_soon(query, callback, BLINK)
        await trio.sleep(5)
        assert client.names == ["GetProtocolStatus"]
    checked(provider)
