"""Clients that mean harm, at each stage of a connection: it ends with a reason, and nobody else notices."""

import itertools
import random
import tracemalloc

import attrs
import pytest
import trio

from rdpprov.protocol.rdp.framing import LOGON_LIMIT
from rdpprov.testing.rdp_client import connect_rdp
from tests.providers.support import CLIENT, UNITS, stopped_before

STAGES = ("Connection Request", "TLS", *UNITS, "input")
PAUSED = "Confirm Active"
"""Before this one the client can be paused, the service being asked whether it is licensed."""

GARBAGE = {
    "another first byte": b"\xff" * 64,
    "a TPKT of length 0": b"\x03\x00\x00\x00",
    "a TPKT of length 6": b"\x03\x00\x00\x06\x02\xf0",
    "a TPKT that is no X.224": b"\x03\x00\x00\x0b" + b"\x55" * 7,
    "an MCS PDU that there is not": b"\x03\x00\x00\x0b\x02\xf0\x80\xff\xff\xff\xff",
    "a Connect Initial of 4 GiB": b"\x03\x00\x00\x0e\x02\xf0\x80\x7f\x65\x84\xff\xff\xff\xff",
    "a send-data request that is cut": b"\x03\x00\x00\x0c\x02\xf0\x80\x64\x00\x03\x03\xeb",
    "a second connection request": bytes.fromhex("030000130ee000000000000100080001000000") * 2,
}


def reasons(log):
    return [entry["reason"] for entry in log if "reason" in entry]


@pytest.mark.parametrize("garbage", GARBAGE, ids=str)
async def test_garbage_ends_the_connection_at_each_stage_with_a_reason(listening, log, garbage):
    async with listening() as server:
        for number, stage in enumerate(STAGES):
            if stage == "TLS":
                continue  # not the protocol's to judge: see the transport's tests
            if stage == "Connection Request" and "request" in garbage:
                continue
            async with stopped_before(server.port, stage) as client:
                await client.stream.send_all(GARBAGE[garbage])
                with trio.fail_after(2):
                    await client.ended_by_the_server()
            assert len(reasons(log)) >= number - 1, stage
    assert all(len(reason) < 300 for reason in reasons(log))
    for served in server.script.clients:
        assert served.times_broken <= 1


async def test_pdus_out_of_order_end_the_connection_or_are_of_no_effect(listening, log):
    """Each PDU of the sequence at each stage where it does not belong."""
    async with listening() as server:
        recorded = await recording(server.port)
        for stage, wrong in itertools.product(UNITS[:-1], UNITS):
            if wrong == stage:
                continue
            async with stopped_before(server.port, stage) as client:
                await client.stream.send_all(recorded[wrong])
                # What is ignored leaves the connection where it was; a PDU that never ends ends it.
                await client.stream.send_all(b"\x03\x00\x00\x06")
                with trio.fail_after(2):
                    await client.ended_by_the_server()
    assert all(served.times_broken <= 1 for served in server.script.clients)


async def recording(port):
    async with stopped_before(port, "input") as client:
        return dict(zip(UNITS, client.sent, strict=True))


@pytest.mark.parametrize("stage", ["Connection Request", *UNITS])
async def test_a_pdu_that_is_cut_anywhere_and_then_the_end_of_the_connection(listening, log, stage):
    """NX-32, half-close."""
    chance = random.Random(f"cut {stage}")
    async with listening() as server:
        for _ in range(6):
            async with stopped_before(server.port, stage) as client:
                unit = client.next_units[0] if client.next_units else client.machine.data_to_send()
                await client.stream.send_all(unit[: chance.randrange(1, len(unit))])
                await client.tcp.send_eof()
                with trio.fail_after(2):
                    await client.ended_by_the_server()
        for served in server.script.clients:
            with trio.fail_after(2):
                await served.closed.wait()
    assert len(reasons(log)) == 6
    assert all("closed" in reason for reason in reasons(log))


@pytest.mark.parametrize("stage", UNITS[1:])
async def test_an_ultimatum_at_each_step_ends_the_connection_in_an_orderly_way(listening, log, stage):
    """NX-33."""
    ultimatum = bytes.fromhex("030000090 2f0802180".replace(" ", ""))
    async with listening() as server, stopped_before(server.port, stage) as client:
        await client.stream.send_all(ultimatum)
        with trio.fail_after(2):
            await client.ended_by_the_server()
    assert [entry["log_level"] for entry in log if "reason" in entry] == ["info"]
    assert "disconnected" in reasons(log)[0]


@pytest.mark.parametrize("stage", STAGES)
async def test_random_bytes_at_each_stage_hurt_nobody_else(listening, log, stage):
    """Seeded: whole PDUs with noise in them, PDUs that are nothing but noise, and noise."""
    chance = random.Random(f"noise {stage}")
    async with listening() as server, connect_rdp("127.0.0.1", server.port, CLIENT) as good:
        await good.first_picture.wait()
        recorded = list((await recording(server.port)).values())
        for _ in range(12):
            async with stopped_before(server.port, stage) as client:
                try:
                    for _ in range(chance.randrange(1, 6)):
                        await client.stream.send_all(noise(chance, recorded))
                    await client.tcp.send_eof()
                    with trio.fail_after(3):
                        await client.ended_by_the_server()
                except trio.BrokenResourceError:
                    pass
        before = good.painted
        served = server.script.clients[0]
        with served.desktop.draw() as pixels:
            pixels[...] = 255
        with trio.fail_after(2):
            await good.wait_until(lambda: good.painted >= before + 320 * 240)
        assert served.times_broken == 0
        for other in server.script.clients[1:]:
            with trio.fail_after(3):
                await other.closed.wait()


def noise(chance, recorded):
    kind = chance.randrange(4)
    if kind == 0:
        return chance.randbytes(chance.randrange(1, 200))
    if kind == 1:
        body = chance.randbytes(chance.randrange(3, 300))
        return b"\x03\x00" + (len(body) + 4).to_bytes(2, "big") + body
    if kind == 2:
        body = b"\x02\xf0\x80\x64\x00\x03\x03\xeb\x70" + chance.randbytes(chance.randrange(1, 120))
        return b"\x03\x00" + (len(body) + 4).to_bytes(2, "big") + body
    unit = bytearray(chance.choice(recorded))
    for _ in range(chance.randrange(1, 4)):
        unit[chance.randrange(len(unit))] = chance.randrange(256)
    return bytes(unit)


async def test_a_client_that_is_paused_may_send_so_much_and_no_more(listening, log):
    """While the service is asked about its license, nobody reads what it says."""
    async with (
        listening({"until": "accept_connection"}) as server,
        stopped_before(server.port, "Client Info") as client,
    ):
        await client.stream.send_all(client.next_units[0])
        served = await server.script.client(0)
        await served.at["accept_connection"].wait()
        with trio.fail_after(5):
            try:
                while True:
                    await client.stream.send_all(b"\x03\x00\x01\x00" + bytes(252))
            except trio.BrokenResourceError:
                pass
        await served.closed.wait()
    assert any(f"more than {LOGON_LIMIT} bytes" in reason for reason in reasons(log)), reasons(log)


@pytest.mark.usefixtures("many_descriptors")
async def test_memory_before_on_connected_is_bounded(listening):
    """FRM-05, and `design.md` 5: 64 KiB beside TLS. What nobody can help is the machine's own buffer."""
    count, size = 20, 47_000
    async with listening() as server, trio.open_nursery() as nursery:
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            release, there = trio.Event(), []

            async def hold():
                async with stopped_before(server.port, "Connect Initial") as client:
                    await client.stream.send_all(b"\x03\x00\xb7\xff" + bytes(7))
                    await client.stream.send_all(bytes(size))
                    there.append(client)
                    await release.wait()

            for _ in range(count):
                nursery.start_soon(hold)
            await trio.testing.wait_all_tasks_blocked(0.3)
            assert len(there) == count
            held = tracemalloc.take_snapshot().filter_traces(
                [tracemalloc.Filter(True, "*/protocol/rdp/*"), tracemalloc.Filter(True, "*/providers/rdp/*")]
            )
            total = sum(trace.size for trace in held.traces)
            assert tracemalloc.get_traced_memory()[0] > before
            assert total / count <= 64 * 1024
            release.set()
        finally:
            tracemalloc.stop()


async def test_an_oversized_pdu_is_refused_by_its_header(listening, log):
    async with listening() as server, stopped_before(server.port, "Connection Request") as client:
        await client.stream.send_all(b"\x03\x00\x20\x00")  # 8 KiB before the confirm
        with trio.fail_after(1):
            await client.ended_by_the_server()
    assert len(reasons(log)) == 1


async def test_joins_that_never_end_meet_the_limit(listening, log):
    options = attrs.evolve(CLIENT, skip_channel_join=False, channels=tuple(f"c{number}" for number in range(31)))
    async with (
        listening(introduction_timeout=1.0) as server,
        stopped_before(server.port, "Client Info", options) as client,
    ):
        join = client.sent[-1] if len(client.sent) > 3 else client.next_units[0]
        with trio.fail_after(4):
            try:
                while True:
                    await client.stream.send_all(join)
                    await trio.sleep(0.05)
            except trio.BrokenResourceError:
                pass
    assert reasons(log)
