"""What the RDP provider is asked between the steps: counters, properties, static channels."""

from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing

from rdpprov.api.enums import PerformanceFlags
from rdpprov.api.properties import (
    CONNECTION_PROPERTY_CURSOR_BLINK_DISABLED,
    PROPERTIES,
    PROPERTY_DYNAMIC_TIME_ZONE_INFORMATION,
)
from rdpprov.errors import E_ACCESSDENIED, HResultError, NotImplementedByProvider
from rdpprov.providers.rdp.channels import MESSAGE_LIMIT, MESSAGE_OVERHEAD, UNREAD_LIMIT
from rdpprov.providers.rdp.client_data import known_properties, property_of
from rdpprov.testing.rdp_client import connect_rdp
from rdpprov.wire.rdp.client_info import ClientInfo, SystemTime, TimeZoneInformation
from tests.providers.support import CLIENT

ZONE, BLINK = PROPERTY_DYNAMIC_TIME_ZONE_INFORMATION, CONNECTION_PROPERTY_CURSOR_BLINK_DISABLED
# Optional fields of Client Info come in one order: who gives a later one gives those before it.
SAID = {
    "client_address_family": 2,
    "client_address": "",
    "client_dir": "",
    "client_time_zone": TimeZoneInformation(),
    "client_session_id": 0,
}
WITH_CHANNELS = attrs.evolve(CLIENT, channels=("TEST", "OTHER"))


@asynccontextmanager
async def channel(listening, name="TEST"):
    """Server, client, its connection, the server's end of a channel, and the client's id of it."""
    async with listening() as server, connect_rdp("127.0.0.1", server.port, WITH_CHANNELS) as client:
        await client.active.wait()
        connection = (await server.script.client(0)).connection
        end = await connection.create_virtual_channel(name, True, 0)
        yield client, connection, end, client.machine.open_channel(name)


@pytest.mark.parametrize("size", [1, 1600, 1601, 100_000])
async def test_messages_go_both_ways_in_chunks(listening, size):
    async with channel(listening) as (client, _, end, channel_id):
        message = bytes(range(256)) * (size // 256 + 1)
        await end.send_all(message[:size])
        await end.send_all(b"second")
        await client.wait_until(lambda: len(client.channel_messages.get(channel_id, ())) == 2)
        assert client.channel_messages[channel_id] == [message[:size], b"second"]
        await client.send_channel_data(channel_id, message[:size])
        assert await end.receive_some() == message[:size]


async def test_of_a_longer_message_the_rest_comes_next(listening):
    async with channel(listening) as (client, _, end, channel_id):
        await client.send_channel_data(channel_id, b"abcdef")
        assert [await end.receive_some(4), await end.receive_some(4)] == [b"abcd", b"ef"]


async def test_a_channel_that_the_client_has_not_joined_and_dynamic_ones_are_not_implemented(listening):
    async with channel(listening) as (_, connection, _, _):
        for name, static in (("NONE", True), ("TEST", False)):
            with pytest.raises(NotImplementedByProvider):
                await connection.create_virtual_channel(name, static, 0)


async def test_a_static_channel_is_there_once_and_again_after_it_was_closed(listening):
    async with channel(listening) as (client, connection, end, channel_id):
        with pytest.raises(HResultError) as refusal:
            await connection.create_virtual_channel("TEST", True, 0)
        assert refusal.value.hresult == E_ACCESSDENIED
        await end.aclose()
        await end.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await end.send_all(b"late")
        with pytest.raises(trio.ClosedResourceError):
            await end.receive_some()
        again = await connection.create_virtual_channel("TEST", True, 0)
        await client.send_channel_data(channel_id, b"hello")
        assert await again.receive_some() == b"hello"


async def test_channels_end_with_the_connection(listening):
    async with channel(listening) as (client, connection, end, channel_id):
        await client.send_channel_data(channel_id, b"last words")
        assert await end.receive_some(4) == b"last"
        await connection.close()
        assert [await end.receive_some(), await end.receive_some()] == [b" words", b""]
        with pytest.raises(trio.ClosedResourceError):
            await end.send_all(b"late")
        with pytest.raises(NotImplementedByProvider):
            await connection.create_virtual_channel("OTHER", True, 0)


async def test_who_does_not_read_loses_the_channel_and_not_the_client(listening):
    async with channel(listening) as (client, connection, end, channel_id):
        for _ in range(UNREAD_LIMIT // MESSAGE_LIMIT + 1):
            await client.send_channel_data(channel_id, bytes(MESSAGE_LIMIT))
        other = await connection.create_virtual_channel("OTHER", True, 0)
        other_id = client.machine.open_channel("OTHER")
        await client.send_channel_data(other_id, b"still here")
        assert await other.receive_some() == b"still here"
        with pytest.raises(trio.ClosedResourceError):
            await end.send_all(b"too late")
        assert not client.closed.is_set()


async def test_many_small_messages_are_not_kept_any_longer_than_few_large_ones(listening):
    async with channel(listening) as (client, connection, end, channel_id):
        other = await connection.create_virtual_channel("OTHER", True, 0)
        other_id = client.machine.open_channel("OTHER")
        for _ in range(UNREAD_LIMIT // MESSAGE_OVERHEAD):
            await client.send_channel_data(channel_id, b"12")
        await client.send_channel_data(other_id, b"still here")
        assert await other.receive_some() == b"still here"
        with pytest.raises(trio.ClosedResourceError):
            await end.send_all(b"too late")


async def test_a_channel_that_is_opened_early_sends_when_the_client_is_active(listening):
    async with (
        listening({"until": "accept_connection"}) as server,
        connect_rdp("127.0.0.1", server.port, WITH_CHANNELS),
    ):
        served = await server.script.client(0)
        await served.at["accept_connection"].wait()
        end = await served.connection.create_virtual_channel("TEST", True, 0)
        with trio.move_on_after(0.05) as scope:
            await end.send_all(b"too early")
        assert scope.cancelled_caught
        async with trio.open_nursery() as nursery:

            async def send():
                with pytest.raises(trio.ClosedResourceError):
                    await end.send_all(b"never")

            nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked()
            await served.connection.close()


async def test_counters_count_both_directions(listening):
    async with channel(listening) as (client, connection, end, channel_id):
        await client.first_picture.wait()
        before = await connection.get_protocol_status()
        assert before.output.wd_bytes >= 320 * 240 * 4
        assert 0 < before.output.compressed_bytes < before.output.wd_bytes
        assert before.input.frames > 0
        await client.send_channel_data(channel_id, bytes(1000))
        await end.receive_some()
        after = await connection.get_protocol_status()
        assert after.input.bytes - before.input.bytes > 1000
        assert after.input.frames > before.input.frames


def test_only_what_the_client_has_said_is_worth_a_question():
    plain = ClientInfo()
    assert list(known_properties(plain)) == []
    for each in PROPERTIES.values():
        with pytest.raises(NotImplementedByProvider):
            property_of(plain, each.guid)


def test_a_client_without_a_blinking_cursor_says_so():
    still = ClientInfo(**SAID, performance_flags=PerformanceFlags.DISABLE_CURSORSETTINGS)
    assert list(known_properties(still)) == [BLINK.guid]
    assert BLINK.unpack_answer(property_of(still, BLINK.guid)) is True


def test_a_clients_dynamic_time_zone_is_passed_on():
    zone = TimeZoneInformation(bias=-60, standard_name="CET", standard_date=SystemTime(month=10), daylight_bias=-60)
    info = ClientInfo(
        **{**SAID, "client_time_zone": zone},
        performance_flags=0,
        auto_reconnect_cookie=b"",
        reserved1=0,
        reserved2=0,
        dynamic_dst_time_zone_key_name="W. Europe Standard Time",
        dynamic_daylight_time_disabled=0,
    )
    assert list(known_properties(info)) == [ZONE.guid]
    answer = ZONE.unpack_answer(property_of(info, ZONE.guid))
    assert (answer.bias, answer.standard_name, answer.daylight_bias) == (-60, "CET", -60)
    assert answer.standard_date.month == 10
    assert (answer.time_zone_key_name, answer.dynamic_daylight_time_disabled) == ("W. Europe Standard Time", 0)
