"""What input costs: events a second, server CPU an event, and the time from a key to the pixel that it changes.

    python benchmarks/input.py [--quick] [--json FILE]

README.md beside this file says what each figure means.
"""

import argparse
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import attrs
import measuring
import trio
from measured_server import SWITCH
from measuring import HOST, ScryptCost, Workshop, median, open_tls, options, quantile, show

from rdpprov.api.devices import Button, PointerButton, PointerMotion, PointerWheel, ScancodeKey, UnicodeKey, WheelAxis
from rdpprov.security.tls import client_context
from rdpprov.testing.rdp_client import connect_rdp

CHEAP = ScryptCost(n=2, r=1, p=1)
SIZE = (1024, 768)
PDU = 15
"""Events that one fast-path PDU takes at most."""
ECHO = bytes(16)
"""About as long as a key is on the wire, inside TLS."""
KINDS = {
    "pointer motion": lambda n: PointerMotion(n % SIZE[0], n % SIZE[1]),
    "keys": lambda n: ScancodeKey(0x1F + n // 2 % 8, n % 2 == 0),
    "a mix": lambda n: (
        PointerMotion(n % SIZE[0], n % SIZE[1]),
        ScancodeKey(0x1F, n % 10 == 1),
        PointerButton(Button.LEFT, n % 10 == 2, n % SIZE[0], 5),
        PointerWheel(WheelAxis.VERTICAL, 120, 5, 5),
        UnicodeKey("é", n % 10 == 4),
    )[n % 5],
}


@attrs.frozen
class Plan:
    """How much of everything."""

    rounds: int = 5
    events: int = 30000
    single: int = 6000
    paced: int = 1500
    keys: int = 150


QUICK = Plan(rounds=2, events=6000, single=1500, paced=500, keys=40)


class Lamp:
    """The corner of the client's picture that the switch changes."""

    def __init__(self, client):
        self._client = client

    def shows(self):
        picture = self._client.picture
        return tuple(picture[0, 0, :3]) if picture is not None else None

    async def switch(self):
        """Press the key, wait for the pixel, release the key. Returns seconds from the one to the other."""
        before, began = self.shows(), time.perf_counter()
        await self._client.send_input(ScancodeKey(SWITCH, True))
        await self._client.wait_until(lambda: self.shows() != before)
        seconds = time.perf_counter() - began
        await self._client.send_input(ScancodeKey(SWITCH, False))
        return seconds


async def burst(server, client, events, at_once):
    """Send events as fast as they go, so many in one write, then the switch: when its pixel comes, all are through.

    Returns rate, and CPU seconds an event, both of the server.
    """
    lamp, parts = Lamp(client), [events[start : start + at_once] for start in range(0, len(events), at_once)]
    await server.rest(0.05)
    before, began = server.cpu().total, time.perf_counter()
    for part in parts:
        await client.send_input(*part)
    await lamp.switch()
    seconds = time.perf_counter() - began
    await server.rest(0.05)
    return len(events) / seconds, (server.cpu().total - before) / len(events)


async def paced(server, client, events, a_second):
    """Send events one by one at a steady rate, as a mouse does. Returns rate and CPU seconds an event."""
    await server.rest(0.05)
    before, began, start = server.cpu().total, time.perf_counter(), trio.current_time()
    for number, event in enumerate(events):
        await trio.sleep_until(start + number / a_second)
        await client.send_input(event)
    seconds = time.perf_counter() - began
    await server.rest(0.05)
    return len(events) / seconds, (server.cpu().total - before) / len(events)


async def echoes(stream, count, pause):
    """Round trips of a few bytes through TLS, in seconds."""
    found = []
    for _ in range(count):
        await trio.sleep(pause)
        began = time.perf_counter()
        await stream.send_all(ECHO)
        got = b""
        while len(got) < len(ECHO):
            got += await stream.receive_some(4096)
        found.append(time.perf_counter() - began)
    return found


async def key_latency(server, client, count, pause):
    """Seconds from key to pixel, each; and CPU seconds a key, press and release and picture together."""
    lamp, found = Lamp(client), []
    await server.rest(0.05)
    before = server.cpu().total
    for _ in range(count):
        await trio.sleep(pause)
        found.append(await lamp.switch())
    await server.rest(0.05)
    return found, (server.cpu().total - before) / count


async def measure(plan, workshop: Workshop):
    context = client_context()
    server = workshop.ours(cost=CHEAP, desktop="lamp", users=10)
    echo_server = workshop.tls_only()
    rates = {}
    latencies = {"TLS echo, rested": ([], []), "TLS echo, at once": ([], [])}
    latencies |= {"key to pixel, rested": ([], []), "key to pixel, at once": ([], [])}
    async with connect_rdp(HOST, server.port, options(0, SIZE), context=context) as client:
        with trio.fail_after(measuring.PATIENCE):
            await client.wait_until(lambda: measuring.is_active(client, True))
        echo = await open_tls(echo_server.port, context)
        for round_number in range(-1, plan.rounds):  # the first warms up
            with trio.fail_after(measuring.PATIENCE):
                for kind, make in KINDS.items():
                    for how, at_once, count in (("15 in a PDU", PDU, plan.events), ("1 in a record", 1, plan.single)):
                        figures = await burst(server, client, [make(n) for n in range(count)], at_once)
                        rates.setdefault((kind, how), []).append(figures)
                figures = await paced(server, client, [KINDS["pointer motion"](n) for n in range(plan.paced)], 500)
                rates.setdefault(("pointer motion", "1 each 2 ms"), []).append(figures)
                for how, pause in (("rested", 0.03), ("at once", 0)):
                    trips = await echoes(echo, plan.keys, pause)
                    keys, cpu = await key_latency(server, client, plan.keys, pause)
                    if round_number >= 0:
                        latencies[f"TLS echo, {how}"][0].extend(trips)
                        latencies[f"key to pixel, {how}"][0].extend(keys)
                        latencies[f"key to pixel, {how}"][1].append(cpu)
            print(f"round {round_number + 1} of {plan.rounds}", file=sys.stderr, flush=True)
        await trio.aclose_forcefully(echo)
    return [_rate_row(*key, found[1:]) for key, found in rates.items()], [
        _latency_row(name, found, cpu, latencies) for name, (found, cpu) in latencies.items()
    ]


def _rate_row(kind, how, found):
    cost = median([cpu for _, cpu in found])
    return {
        "events": kind,
        "sent": how,
        "a second, measured": round(median([rate for rate, _ in found])),
        "server CPU us each": round(1e6 * cost, 2),
        "least": round(1e6 * min(cpu for _, cpu in found), 2),
        "most": round(1e6 * max(cpu for _, cpu in found), 2),
        "a second, one core": round(1 / cost),
    }


def _latency_row(name, found, cpu, latencies):
    echo = latencies[f"TLS echo, {name.partition(', ')[2]}"][0]
    return {
        "from, to": name,
        "n": len(found),
        "median ms": round(1e3 * median(found), 3),
        "p95 ms": round(1e3 * quantile(found, 0.95), 3),
        "least ms": round(1e3 * min(found), 3),
        "x echo": round(median(found) / median(echo), 1),
        "server CPU ms each": round(1e3 * median(cpu), 3) if cpu else None,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer of everything, and more noise")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there too")
    arguments = parser.parse_args()
    measuring.prepare()
    plan = QUICK if arguments.quick else Plan()
    result = {"about": measuring.about(), "plan": attrs.asdict(plan)}
    print(*(f"{name}: {value}" for name, value in result["about"].items()), sep="  ")
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="rdpprov-bench-"))
        result["events"], result["latency"] = trio.run(measure, plan, Workshop(Path(directory), stack))
    show("input events, client at 1024x768", result["events"])
    show("time from a key to the pixel that it changes", result["latency"])
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
