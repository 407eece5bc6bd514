"""What a connection costs: server CPU to *active*, connections a second, memory while held, time to the first picture.

    python benchmarks/connect.py [--quick] [--json FILE] [--profile FILE] [--only PART ...]

README.md beside this file says what each figure means.
"""

import argparse
import json
import pstats
import random
import signal
import ssl
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import attrs
import measuring
import trio
from measuring import (
    HOST,
    Batch,
    CannotRunError,
    ScryptCost,
    Workshop,
    connect_batch,
    median,
    open_tls,
    options,
    quantile,
    show,
    verdict,
)

from rdpprov.protocol.events import NEED_DATA
from rdpprov.protocol.rdp.client import ClientState, RdpClientMachine
from rdpprov.protocol.rdp.events import StartTls
from rdpprov.security.tls import client_context

CHEAP = ScryptCost(n=2, r=1, p=1)
"""Password hashing that costs nothing, for figures beside it."""
TARGET_MILLISECONDS, TARGET_TLS = 4.0, 0.42
TARGET_KIBIBYTES, TARGET_HELD, TARGET_TRACES = 200, 1000, 1.10
PARTS = ("cpu", "traces", "phases", "memory")


@attrs.frozen
class Plan:
    """How much of everything."""

    rounds: int = 7
    pairs: int = 30
    connections: int = 100
    hashed: int = 30
    peer: int = 10
    held: int = 1000
    peer_held: int = 20


QUICK = Plan(rounds=2, pairs=8, connections=50, hashed=10, peer=5, held=100, peer_held=5)


# CPU


@attrs.define(eq=False)
class Case:
    """A row of the table: a server, and how clients come to it."""

    server: str
    what: str
    at_once: int
    run: object
    batches: list = attrs.field(factory=list)
    problem: str = ""

    def per_connection(self):
        """Milliseconds of server CPU for one connection in each round: without hashing threads, and those."""
        ours = self.server == "rdpprov"
        main = [1e3 * (each.cpu.total - each.cpu.workers * ours) / each.count for each in self.batches]
        return main, [1e3 * each.cpu.workers * ours / each.count for each in self.batches]


async def tls_batch(server, count, context):
    """Bare TLS accepts, one after the other."""
    await server.rest()
    before, began = server.cpu(), time.perf_counter()
    for _ in range(count):
        stream = await open_tls(server.port, context)
        await stream.aclose()
    seconds = time.perf_counter() - began
    await server.rest()
    return Batch(count, cpu=server.cpu() - before, seconds=seconds)


async def measure_cpu(workshop: Workshop, plan: Plan, context: ssl.SSLContext, problems: list):
    bare = workshop.tls_only()
    usual = workshop.ours(kept=0.3)
    plain = workshop.ours(cost=CHEAP, kept=0.3)
    traced = workshop.ours(cost=CHEAP, kept=0.3, traced=True)
    kept = workshop.ours(cost=CHEAP)

    def ours(server, count, at_once, round_number):
        # Users that nobody has been yet, until they have all had a turn: a session of theirs has long ended then.
        return connect_batch(server, [(round_number * count + n) % 2000 for n in range(count)], at_once, context)

    def back(at_once, _round):
        return connect_batch(kept, range(plan.connections), at_once, context)

    def peer(server, at_once, _round):
        count = max(plan.peer, min(at_once, 2 * plan.peer))
        return connect_batch(server, range(count), at_once, context, log_on=False, hold=False)

    cases = [Case("bare TLS", "handshake, close", 1, lambda _: tls_batch(bare, plan.connections, context))]
    for at_once in (1, 50):
        many = max(plan.connections, at_once)
        cases += [
            Case("rdpprov", "first, usual hash", at_once, partial(ours, usual, max(plan.hashed, at_once), at_once)),
            Case("rdpprov", "first", at_once, partial(ours, plain, many, at_once)),
            Case("rdpprov", "first, traced", at_once, partial(ours, traced, many, at_once)),
            Case("rdpprov", "reconnect", at_once, partial(back, at_once)),
        ]
    idle = {}
    for name, start in (("freerdp-shadow", workshop.freerdp_shadow), ("xrdp", workshop.xrdp)):
        try:
            server = start()
            idle[name] = await server.idle_rate()
        except CannotRunError as error:
            problems.append(f"{name}: {error}")
            continue
        cases += [Case(name, "first, and leave", at_once, partial(peer, server, at_once)) for at_once in (1, 50)]
    await connect_batch(kept, range(plan.connections), 50, context)  # sessions to come back to

    for round_number in range(-1, plan.rounds):  # the first warms up: caches, lazy imports, files
        # In another order each time: whoever else works on this machine disturbs all alike.
        for case in random.Random(round_number).sample(cases, len(cases)):
            if case.problem:
                continue
            try:
                batch = await case.run(round_number + 1)
            except (trio.TooSlowError, OSError, Exception, BaseExceptionGroup) as error:
                if case.server == "rdpprov":
                    raise
                case.problem = f"{case.server}, {case.at_once} at once: {_reason(error)}"
                problems.append(case.problem)
                continue
            if round_number >= 0:
                case.batches.append(batch)
        print(f"round {round_number + 1} of {plan.rounds}", file=sys.stderr, flush=True)
    cases = [case for case in cases if case.batches]
    tls = cases[0].per_connection()[0]
    return [_cpu_row(case, median(tls), idle.get(case.server, 0.0)) for case in cases]


def _reason(error):
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__} {error}".strip()


def _cpu_row(case, tls, idle):
    main, workers = case.per_connection()
    pictures = [1e3 * seconds for each in case.batches for seconds in each.pictures]
    seconds = sum(each.seconds for each in case.batches)
    count = sum(each.count for each in case.batches)
    return {
        "server": case.server,
        "connection": case.what,
        "at once": case.at_once,
        "n": count,
        "CPU ms": round(median(main), 2),
        "least": round(min(main), 2),
        "most": round(max(main), 2),
        "x TLS": round(median(main) / tls, 1),
        "hash ms": round(median(workers), 1) if "hash" in case.what else None,
        "leaving ms": round(1e3 * sum(each.leaving for each in case.batches) / count, 2)
        if case.server == "rdpprov"
        else None,
        "per second": round(count / seconds, 1),
        "picture ms": round(median(pictures), 1) if pictures else None,
        "p95": round(quantile(pictures, 0.95), 1) if pictures else None,
        "client ms": round(1e3 * sum(each.client_cpu for each in case.batches) / count, 2) if pictures else None,
        "idle ms/s": round(1e3 * idle, 1),
    }


# Traces


async def measure_traces(workshop: Workshop, plan: Plan, context: ssl.SSLContext):
    """What recording adds: one server that records in every second batch, for two differ by more than is looked for."""
    server = workshop.ours(cost=CHEAP, kept=0.3, traced=True, options=["--switch-traces"])
    rows, users = [], 0
    for at_once in (1, 50):
        spent = {True: [], False: []}
        for number in range(-1, plan.pairs):  # the first warms up
            for traced in (True, False) if number % 2 else (False, True):
                server.process.send_signal(signal.SIGUSR1 if traced else signal.SIGUSR2)
                await trio.sleep(0.05)
                batch = await connect_batch(server, [(users + n) % 2000 for n in range(50)], at_once, context)
                users += 50
                if number >= 0:
                    spent[traced].append(1e3 * (batch.cpu.total - batch.cpu.workers) / batch.count)
        pairs = list(zip(spent[True], spent[False], strict=True))
        rows.append(
            {
                "at once": at_once,
                "pairs": len(pairs),
                "without ms": round(median(spent[False]), 2),
                "with ms": round(median(spent[True]), 2),
                "difference ms": round(median([a - b for a, b in pairs]), 2),
                "ratio": round(median([a / b for a, b in pairs]), 3),
                "quarter": round(quantile([a / b for a, b in pairs], 0.25), 3),
                "three quarters": round(quantile([a / b for a, b in pairs], 0.75), 3),
            }
        )
    return rows


# Phases


async def measure_phases(workshop: Workshop, plan: Plan, context: ssl.SSLContext):
    """A run apart, with the layers' entry points timed: milliseconds of each phase for one connection."""
    columns, entered = {}, {}
    for name, at_once, traced, cost in (
        ("1 at once", 1, False, CHEAP),
        ("50 at once", 50, False, CHEAP),
        ("50, traced", 50, True, CHEAP),
        ("1, usual hash", 1, False, None),
    ):
        file = workshop.directory / f"phases-{len(columns)}.json"
        server = workshop.ours(kept=0.3, cost=cost, traced=traced, options=["--phases", str(file)])

        def sums(server=server, file=file):
            file.unlink(missing_ok=True)
            server.process.send_signal(signal.SIGUSR1)
            return json.loads(
                measuring.wait_for(lambda: file.exists() and file.read_text(), "phases", server.process, file)
            )

        after = {}

        async def take(sums=sums, after=after):
            after.update(sums())

        await connect_batch(server, range(1900, 1950), 50, context)  # warm
        await trio.sleep(0.5)
        before = sums()
        count = max(50, plan.hashed if cost is None else 2 * plan.connections)
        batch = await connect_batch(server, range(count), at_once, context, while_held=take)
        spent = {key: 1e3 * (after[key]["seconds"] - before[key]["seconds"]) / count for key in after}
        whole = 1e3 * batch.cpu.total / count
        spent.pop("main thread")
        spent["rest: event loop, tasks, callbacks"] = whole - sum(spent.values())
        spent["all, with the timing itself"] = whole
        columns[name] = spent
        entered[name] = {key: (after[key]["entered"] - before[key]["entered"]) / count for key in after}
    names = list(columns["1 at once"])
    return [
        {"ms a connection": phase}
        | {name: round(column.get(phase, 0.0), 3) for name, column in columns.items()}
        | {"times": round(entered["1 at once"][phase], 1) if entered["1 at once"].get(phase) else None}
        for phase in names
    ]


# Memory


async def hold_half_open(server, count, stage, context, while_held):
    """Clients that stop after the X.224 negotiation, after TLS, or after Client Info; 50 at a time."""
    turns, leave, held = trio.CapacityLimiter(50), trio.Event(), trio.Event()
    there = 0

    async def one(number):
        nonlocal there
        machine = RdpClientMachine(options(number, (640, 480)))
        async with turns:
            stream = await trio.open_tcp_stream(HOST, server.port)
            while not isinstance(machine.next_event(), StartTls):
                await _exchange(machine, stream)
            if stage != "X.224":
                stream = trio.SSLStream(stream, context)
                await stream.do_handshake()
                machine.tls_established()
            while stage == "Client Info" and machine.state is not ClientState.LICENSING:
                if machine.next_event() is NEED_DATA:
                    await _exchange(machine, stream)
            if data := machine.data_to_send() if stage == "Client Info" else b"":
                await stream.send_all(data)
        there += 1
        if there == count:
            held.set()
        await leave.wait()
        await trio.aclose_forcefully(stream)

    with trio.fail_after(measuring.PATIENCE):
        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(one, number)
            await held.wait()
            await while_held()
            leave.set()


async def _exchange(machine, stream):
    if data := machine.data_to_send():
        await stream.send_all(data)
        if machine.state is ClientState.LICENSING:
            return
    received = await stream.receive_some(4096)
    if not received:
        raise CannotRunError("the server closed the connection")
    machine.receive_data(bytes(received))


async def measure_memory(workshop_of, plan: Plan, context: ssl.SSLContext, problems: list):
    """A server of its own for each row: what another has left behind is not to be used again.

    Args:
        workshop_of: makes a workshop whose servers end with the block.
        plan: how many.
        context: TLS.
        problems: what could not be measured.
    """
    rows = []

    async def row(name, stage, count, size, desktop, start, connect):
        pixels = size[0] * size[1] * 4 if desktop == "framebuffer" else 0
        with workshop_of() as workshop:
            try:
                server = start(workshop)
            except CannotRunError as error:
                problems.append(f"{name}: {error}")
                return
            figures = {}

            async def look():
                await server.rest()
                figures["held"] = server.memory()
                figures["idle"] = await server.idle_rate()

            # Somebody has been there before: code is loaded, caches are full, the allocator has its arenas.
            log_on = name == "rdpprov"
            await connect_batch(server, range(1900, 1900 + min(count, 20)), 5, context, size=size, log_on=log_on)
            await trio.sleep(1)
            await server.rest()
            before = server.memory()
            try:
                await connect(server, count, look)
            except (OSError, Exception, BaseExceptionGroup) as error:
                if name == "rdpprov":
                    raise
                problems.append(f"{name}, {count} held: {_reason(error)}")
                return
            rows.append(
                {
                    "server": name,
                    "stage": stage,
                    "held": count,
                    "desktop": f"{size[0]}x{size[1]} {desktop}" if stage == "active" else None,
                    "KiB each": round(((figures["held"] - before) / count - pixels) / 1024, 1),
                    "framebuffer KiB": pixels // 1024 or None,
                    "server MiB": round(figures["held"] / 2**20, 1),
                    "before MiB": round(before / 2**20, 1),
                    "idle CPU ms/s": round(1e3 * figures["idle"], 1),
                }
            )

    def held(log_on, size):
        def connect(server, count, look):
            return connect_batch(
                server, range(count), 50 if log_on else 1, context, size=size, log_on=log_on, while_held=look
            )

        return connect

    def stopped(stage):
        return lambda server, count, look: hold_half_open(server, count, stage, context, look)

    def ours(desktop):
        # glibc keeps what was freed below a size that grows as it learns: it must not, where freed framebuffers of
        # those who were there before would count as memory of those who are there now.
        fixed = {"MALLOC_MMAP_THRESHOLD_": str(512 * 1024)} if desktop == "framebuffer" else {}
        return lambda workshop: workshop.ours(cost=CHEAP, kept=0.3, desktop=desktop, environment=fixed)

    for stage in ("X.224", "TLS", "Client Info"):
        await row("rdpprov", stage, plan.held, (640, 480), "demo", ours("demo"), stopped(stage))
    for size in ((640, 480), (1024, 768)):
        for desktop in ("demo", "framebuffer"):
            await row("rdpprov", "active", plan.held, size, desktop, ours(desktop), held(True, size))
    size = (1024, 768)
    await row("freerdp-shadow", "active", plan.peer_held, size, "Xvfb", Workshop.freerdp_shadow, held(False, size))
    await row("xrdp", "active", plan.peer_held, size, "login screen", Workshop.xrdp, held(False, size))
    return rows


# Profile


async def profile(workshop: Workshop, plan: Plan, context: ssl.SSLContext, file: Path):
    """cProfile in the server while clients come, one at a time; the most expensive functions on stdout."""
    server = workshop.ours(cost=CHEAP, kept=0.3, options=["--profile", str(file)])
    await connect_batch(server, range(1900, 1950), 50, context)
    await trio.sleep(0.5)
    server.process.send_signal(signal.SIGUSR1)

    async def stop():
        server.process.send_signal(signal.SIGUSR2)
        done = Path(f"{file}.done")
        measuring.wait_for(done.exists, "the profile", server.process, file)

    count = 2 * plan.connections
    await connect_batch(server, range(count), 1, context, while_held=stop)
    print(f"\nprofile of {count} connections, one at a time; divide by {count}")
    for order in ("tottime", "cumulative"):
        pstats.Stats(str(file)).sort_stats(order).print_stats(40)


# All of it


def judge(cpu, traces, memory):
    """The plan's targets, met or not."""
    found = []
    for row in cpu:
        if row["server"] == "rdpprov" and row["connection"] in ("first, usual hash", "first"):
            what = f"server CPU to active without hashing, {row['connection']}, {row['at once']} at once"
            found.append(verdict(f"{what}, ms", row["CPU ms"], TARGET_MILLISECONDS))
            times = round(TARGET_MILLISECONDS / TARGET_TLS, 1)
            found.append(verdict(f"{what}, in bare TLS accepts", row["x TLS"], times))
    for row in traces:
        found.append(verdict(f"CPU with traces / without, {row['at once']} at once", row["ratio"], TARGET_TRACES))
    active = [row for row in memory if row["server"] == "rdpprov" and row["stage"] == "active"]
    for row in active:
        found.append(verdict(f"KiB a held active connection, {row['desktop']}", row["KiB each"], TARGET_KIBIBYTES))
    if active:
        found.append(verdict("held active at once", min(row["held"] for row in active), TARGET_HELD, at_least=True))
    return found


async def measure(plan, parts, profile_file, result):
    context = client_context()
    problems = result["problems"]

    def workshop_of():
        return _Temporary()

    if profile_file is not None:
        with workshop_of() as workshop:
            await profile(workshop, plan, context, profile_file)
        return
    if "cpu" in parts:
        with workshop_of() as workshop:
            result["cpu"] = await measure_cpu(workshop, plan, context, problems)
        show("server CPU a connection, from the first byte to active", result["cpu"])
    if "traces" in parts:
        with workshop_of() as workshop:
            result["traces"] = await measure_traces(workshop, plan, context)
        show("what recording traces adds: server CPU a connection", result["traces"])
    if "phases" in parts:
        with workshop_of() as workshop:
            result["phases"] = await measure_phases(workshop, plan, context)
        show("where it goes: a run of its own, with every layer timed", result["phases"])
    if "memory" in parts:
        result["memory"] = await measure_memory(workshop_of, plan, context, problems)
        show("memory of a held connection", result["memory"])
    result["targets"] = judge(*(result.get(part, []) for part in ("cpu", "traces", "memory")))
    show("targets", result["targets"])


class _Temporary:
    """A workshop in a temporary directory, whose servers end with the block."""

    def __enter__(self):
        self._stack = ExitStack()
        directory = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="rdpprov-bench-"))
        return Workshop(Path(directory), self._stack)

    def __exit__(self, *error):
        return self._stack.__exit__(*error)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer of everything, and more noise")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there too")
    parser.add_argument("--profile", metavar="FILE", type=Path, help="only profile the server; keep the profile there")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS, help="only these parts")
    arguments = parser.parse_args()
    open_files = measuring.prepare()
    plan = QUICK if arguments.quick else Plan()
    plan = attrs.evolve(plan, held=min(plan.held, (open_files - 100) // 2))
    result = {"about": measuring.about(), "plan": attrs.asdict(plan), "problems": []}
    print(*(f"{name}: {value}" for name, value in result["about"].items()), sep="  ")
    trio.run(measure, plan, arguments.only, arguments.profile, result)
    for problem in result["problems"]:
        print(f"not measured: {problem}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
