"""What an RFB connection costs: server CPU to the first whole picture, connections a second, beside TigerVNC's Xvnc.

    python benchmarks/rfb_connect.py [--quick] [--json FILE]

Both servers show the same picture, the demo desktop at 1024x768 without its clock, on one core, with the same
certificate (RSA-2048) and TLS 1.3, to the same client, which asks for ZRLE. It is there when it has as many pixels as
the desktop. `X509Plain` is ours with name and password (whose hash costs nothing here: `connect.py` says what it
costs), a session of its own for each, and LogonNotify; `X509None` and `None` are without anybody logging on: Xvnc
shows its one desktop, ours the logon desktop. CPU of ours is without the threads that check passwords, and without
what it costs to leave; a peer's clients leave at once, and that is in its figure. The peer comes from Debian
(tigervnc-standalone-server, imagemagick).

`at once` are on their way at the same time, but only five of them wait for the server's first bytes: Xvnc listens with
a backlog of 5. Of more the kernel forgets some (it answers with SYN cookies, and drops the last ACK when the queue is
full): such a client is connected, the server has never heard of it, and as the server speaks first, both wait for ever.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from pathlib import Path

import attrs
import measuring
import rfb_codecs
import trio
from measuring import HOST, PASSWORD, Batch, CannotRunError, ScryptCost, Server, Workshop, median, quantile, show

from rdpprov.security.tls import client_context
from rdpprov.testing.rfb_client import connect_rfb
from rdpprov.wire.rfb.handshake import SecurityType, VencryptSubtype

CHEAP = ScryptCost(n=2, r=1, p=1)
PEER_PATIENCE = 20
"""Seconds for a batch of Xvnc's."""
BACKLOG = 5
"""Of Xvnc (`ss -ltn`: Send-Q); ours has more, but it gets its clients in the same way."""
SECURITY = {
    "X509Plain": VencryptSubtype.X509_PLAIN,
    "X509None": VencryptSubtype.X509_NONE,
    "None": SecurityType.NONE,
}
CONFIGURED = {"X509Plain": "vencrypt-x509-plain", "X509None": "vencrypt-x509-none", "None": "none"}


@attrs.define(eq=False)
class Case:
    """A row of the table."""

    server: str
    security: str
    at_once: int
    run: object
    batches: list = attrs.field(factory=list)


async def connect_batch(server, security, numbers, at_once, context, *, hold):
    """Connect viewers, so many at once, until each has a picture; they leave when all have, or each at once."""
    turns, door = trio.CapacityLimiter(at_once), trio.CapacityLimiter(BACKLOG)
    done, leave = trio.Event(), trio.Event()
    batch, there = Batch(len(numbers)), 0

    async def one(number):
        nonlocal there
        async with turns, AsyncExitStack() as connected:
            async with door:
                started = time.perf_counter()
                connection = connect_rfb(
                    HOST,
                    server.port,
                    security=[SECURITY[security]],
                    user=f"u{number}" if security == "X509Plain" else "",
                    password=PASSWORD,
                    keep_picture=False,
                    wait=False,
                    tls=context,
                )
                client = await connected.enter_async_context(connection)
                await client.wait_for(lambda: client.bytes_in > 0 or client.closed.is_set())
            await client.wait_for(lambda: client.first_picture.is_set() or client.closed.is_set())
            if not client.first_picture.is_set():
                raise client.failure or CannotRunError(f"{security}: the server closes the connection")
            batch.pictures.append(time.perf_counter() - started)
            if not hold:
                return finish()
            turns.release()
            try:
                finish()
                await leave.wait()
            finally:
                await turns.acquire()
        return None

    def finish():
        nonlocal there
        there += 1
        if there == len(numbers):
            done.set()

    with trio.fail_after(measuring.PATIENCE if hold else PEER_PATIENCE):
        await server.rest()
        before, began = server.cpu(), time.perf_counter()
        async with trio.open_nursery() as nursery:
            for number in numbers:
                nursery.start_soon(one, number)
            await done.wait()
            batch.seconds = time.perf_counter() - began
            if not hold:
                await server.rest()
            batch.cpu = server.cpu() - before
            leave.set()
        await server.rest()
    return batch


async def picture_of(server, context):
    """The demo desktop, as a viewer gets it."""
    async with connect_rfb(HOST, server.port, user="u1999", password=PASSWORD, tls=context) as client:
        await client.wait_for(client.first_picture.is_set)
        return client.picture.copy()


async def measure(rounds, count, problems):
    context = client_context()
    with tempfile.TemporaryDirectory(prefix="rdpprov-bench-") as directory, ExitStack() as stack:
        workshop = Workshop(Path(directory), stack)
        ours = {
            security: workshop.ours(protocol="rfb", security=CONFIGURED[security], cost=CHEAP, kept=0.3)
            for security in SECURITY
        }
        picture = await picture_of(ours["X509Plain"], context)
        cases = []
        for at_once in (1, 20):
            for security, server in ours.items():

                def first(round_number, server=server, security=security, at_once=at_once):
                    numbers = [(round_number * count + n) % 1900 for n in range(count)]
                    return connect_batch(server, security, numbers, at_once, context, hold=True)

                cases.append(Case("rdpprov", security, at_once, first))
            for security in ("X509None", "None"):
                try:
                    peer = _xvnc(workshop, stack, picture, security)
                except (CannotRunError, SystemExit, OSError) as error:
                    problems.append(f"Xvnc: {error}")
                    continue
                run = partial(_peer_batch, peer, security, count, at_once, context)
                cases.append(Case("Xvnc", security, at_once, run))
        for round_number in range(-1, rounds):  # the first warms up
            for case in random.Random(round_number).sample(cases, len(cases)):
                try:
                    batch = await case.run(round_number + 1)
                except trio.TooSlowError:
                    if case.server == "rdpprov":
                        raise
                    problems.append(f"{case.server}, {case.security}, {case.at_once} at once: it hangs")
                    cases.remove(case)
                    continue
                if round_number >= 0:
                    case.batches.append(batch)
            print(f"round {round_number + 1} of {rounds}", file=sys.stderr, flush=True)
        return [_row(case) for case in cases]


def _peer_batch(peer, security, count, at_once, context, _round):
    return connect_batch(peer, security, range(count), at_once, context, hold=False)


def _xvnc(workshop, stack, picture, security):
    place = Path(tempfile.mkdtemp(dir=workshop.directory))
    certificate = ("-X509Cert", str(workshop.certificate), "-X509Key", str(workshop.key))
    # It thinks that whoever connects so often wants to guess a password.
    patient = ("-BlacklistThreshold", "1000000", "-AlwaysShared")
    server = rfb_codecs.Xvnc(place, picture, ("-SecurityTypes", security, *certificate, *patient))
    stack.callback(server.close)
    os.sched_setaffinity(server.process.pid, measuring.SERVER_CORES)
    return Server(server.process, server.port)


def _row(case):
    ours = case.server == "rdpprov"
    spent = [1e3 * (each.cpu.total - each.cpu.workers * ours) / each.count for each in case.batches]
    pictures = [1e3 * seconds for each in case.batches for seconds in each.pictures]
    return {
        "server": case.server,
        "security": case.security,
        "at once": case.at_once,
        "n": sum(each.count for each in case.batches),
        "CPU ms": round(median(spent), 2),
        "least": round(min(spent), 2),
        "most": round(max(spent), 2),
        "per second": round(sum(each.count for each in case.batches) / sum(each.seconds for each in case.batches), 1),
        "picture ms": round(median(pictures), 1),
        "p95": round(quantile(pictures, 0.95), 1),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer of everything, and more noise")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there too")
    arguments = parser.parse_args()
    measuring.prepare()
    result = {"about": measuring.about(), "problems": []}
    print(*(f"{name}: {value}" for name, value in result["about"].items()), sep="  ")
    rounds, count = (2, 20) if arguments.quick else (7, 50)
    result["connections"] = trio.run(measure, rounds, count, result["problems"])
    show("server CPU a connection, from the first byte to the first whole picture", result["connections"])
    for problem in result["problems"]:
        print(f"not measured: {problem}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
