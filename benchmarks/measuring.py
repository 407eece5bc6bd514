"""What `connect.py` and `input.py` have in common: servers on one core, what they cost, and a certificate for all.

The servers run in processes of their own, pinned to the first core; the clients run in the benchmark's process, pinned
to the others. Everything is on loopback, in a temporary directory, and ended by its process id.
"""

import os
import platform
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import attrs
import trio

from rdpprov.accounts.users_file import ScryptCost, User
from rdpprov.protocol.rdp.client import ClientOptions
from rdpprov.security.certificates import make_self_signed
from rdpprov.testing.rdp_client import connect_rdp

HOST = "127.0.0.1"
PASSWORD = "correct horse"
SERVER = Path(__file__).with_name("measured_server.py")
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
PATIENCE = 120
"""Seconds for anything: a batch, a start, an end. A benchmark that hangs says so."""

CORES = sorted(os.sched_getaffinity(0))
SERVER_CORES, CLIENT_CORES = {CORES[0]}, set(CORES[1:] or CORES)


def prepare():
    """Keep off the server's core, and allow as many open files as there may be."""
    os.sched_setaffinity(0, CLIENT_CORES)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def about():
    """Where and when: what a table of figures is worth nothing without."""
    model = "unknown"
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{len(CORES)} cores, {model}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


# A process as it is seen from outside


@attrs.frozen
class Cpu:
    """Seconds of CPU that a server has taken so far."""

    total: float
    workers: float
    """Of which: threads other than the main one. In our server these hash passwords."""

    def __sub__(self, other):
        return Cpu(self.total - other.total, self.workers - other.workers)


class Server:
    """A server process, with the processes that it has started."""

    def __init__(self, process, port):
        self.process = process
        self.port = port

    @property
    def pid(self):
        return self.process.pid

    def tree(self):
        pids = [self.pid]
        for pid in pids:
            with suppress(OSError):
                for task in os.listdir(f"/proc/{pid}/task"):
                    pids += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
        return pids

    def cpu(self):
        """Of all its threads and children, those too that have ended."""
        total = 0.0
        for pid in self.tree():
            with suppress(OSError):
                # Linux: the clock of another process's CPU time, in nanoseconds where /proc has ticks of 10 ms.
                total += time.clock_gettime((~pid << 3) | 2) + sum(_stat(f"/proc/{pid}/stat")[2:]) / TICK
        workers = (
            time.clock_gettime((~self.pid << 3) | 2) - sum(_stat(f"/proc/{self.pid}/task/{self.pid}/stat")[:2]) / TICK
        )
        return Cpu(total, workers)

    def memory(self):
        """Bytes, shared ones by share (PSS)."""
        total = 0
        for pid in self.tree():
            with suppress(OSError):
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1]) * 1024
        return total

    async def rest(self, quiet=0.15):
        """Wait until it does next to nothing; at most five seconds, for some servers never rest."""
        before, deadline = self.cpu().total, time.monotonic() + 5
        while time.monotonic() < deadline:
            await trio.sleep(quiet)
            now = self.cpu().total
            if now - before < 0.002:
                return
            before = now

    async def idle_rate(self, seconds=1.0):
        """CPU seconds a second while nobody asks for anything."""
        await self.rest()
        started, before = time.monotonic(), self.cpu().total
        await trio.sleep(seconds)
        return (self.cpu().total - before) / (time.monotonic() - started)


def _stat(path):
    fields = Path(path).read_text().rpartition(")")[2].split()
    return [int(field) for field in fields[11:15]]  # utime, stime, cutime, cstime


# Servers


class CannotRunError(Exception):
    """A peer is not there, or does not work here. The benchmark says so and goes on."""


@contextmanager
def spawned(command, *, log, environment=None, pinned=True):
    """A process of ours, pinned to the server's core, ended by its id."""

    def pin():
        os.sched_setaffinity(0, SERVER_CORES if pinned else CLIENT_CORES)

    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, preexec_fn=pin, env=environment
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            print(f"{command[0]} did not end within 15 s, and was killed", file=sys.stderr)
            process.kill()
            process.wait()


def wait_for(condition, what, process, log, seconds=30):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if process.poll() is not None:
            raise CannotRunError(f"{what} ended with code {process.returncode}: {_last_line(log)}")
        if time.monotonic() > deadline:
            raise CannotRunError(f"{what} is not ready after {seconds} s: {_last_line(log)}")
        time.sleep(0.02)
    return found


def _last_line(log):
    lines = log.read_text(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it said nothing")


def free_port():
    with socket.create_server((HOST, 0)) as probe:
        return probe.getsockname()[1]


def _connects(port):
    with suppress(OSError), socket.create_connection((HOST, port), 1):
        return True
    return False


class Workshop:
    """A temporary directory with a certificate (RSA-2048) that all servers show, users, and servers."""

    def __init__(self, directory, stack: ExitStack):
        self.directory = directory
        self._stack = stack
        self._servers = 0
        self.certificate, self.key = directory / "cert.pem", directory / "key.pem"
        pem = make_self_signed(["localhost"], now=datetime.now(UTC))
        cut = pem.index(b"-----BEGIN CERTIFICATE")
        self.key.write_bytes(pem[:cut])
        self.certificate.write_bytes(pem[cut:])
        self.key.chmod(0o600)

    def users(self, count, cost):
        """A users file: `count` users, called u0, u1, ..., with one hash, so that making it takes no time."""
        path = self.directory / f"users-{count}-{cost.n}"
        if not path.exists():
            first = User.new("u0", PASSWORD, cost=cost)
            path.write_text("".join(f"{attrs.evolve(first, name=f'u{number}')}\n" for number in range(count)))
            path.chmod(0o600)
        return path

    def ours(
        self,
        *,
        protocol="rdp",
        security=None,
        users=2000,
        cost=None,
        desktop="still",
        kept=None,
        traced=False,
        options=(),
        environment=None,
    ) -> Server:
        """Our service, as `rdpprov serve` runs it.

        Args:
            protocol: of its listener.
            security: of its listener; default: the protocol's.
            users: in its users file.
            cost: of a password hash; default: the usual one.
            desktop: one of `measured_server.py`'s.
            kept: seconds that a session is kept without a client.
            traced: with `--trace-dir`.
            options: for `measured_server.py`: to be instrumented or profiled.
            environment: likewise.
        """
        self._servers += 1
        home = self.directory / f"rdpprov-{self._servers}"
        home.mkdir()
        configuration = home / "rdpprov.toml"
        configuration.write_text(
            f'state_dir = "{home}"\n'
            + (f'trace_dir = "{home / "traces"}"\n' if traced else "")
            + f'[listeners.{protocol}]\nprotocol = "{protocol}"\nlisten = "{HOST}:0"\n'
            + (f'security = "{security}"\n' if security else "")
            + f'certificate = "{self.certificate}"\nkey = "{self.key}"\n'
            + f'[sessions]\ndesktop = "measured_server:{desktop}"\n'
            + (f"disconnected_limit = {kept}\n" if kept else "")
            + f'[accounts]\nusers = "{self.users(users, cost or ScryptCost())}"\n'
        )
        log = home / "log"
        command = [sys.executable, str(SERVER), *options, "serve", str(configuration)]
        process = self._stack.enter_context(
            spawned(command, log=log, environment={**os.environ, **(environment or {})})
        )

        def ready():
            for line in log.read_text(errors="replace").splitlines():
                if line.startswith("ready "):
                    return int(line.rpartition(":")[2])
            return None

        return Server(process, wait_for(ready, "rdpprov serve", process, log))

    def tls_only(self) -> Server:
        """A server that does TLS handshakes and nothing else (`echoing`: and sends back what comes)."""
        log, port = self.directory / "tls.log", free_port()
        command = [sys.executable, str(SERVER), "tls", str(port), str(self.certificate), str(self.key)]
        process = self._stack.enter_context(spawned(command, log=log))
        wait_for(lambda: _connects(port), "the bare TLS server", process, log)
        return Server(process, port)

    def freerdp_shadow(self) -> Server:
        """FreeRDP's shadow server on a virtual screen of 1024x768, TLS, nobody has to log on."""
        for program, package in (("freerdp-shadow-cli", "freerdp2-shadow-x11"), ("Xvfb", "xvfb")):
            if shutil.which(program) is None:
                raise CannotRunError(f"there is no {program} (Debian: {package})")
        home = self.directory / "shadow"
        for place in ("shadow", "server"):  # where FreeRDP 2 and 3 look for them
            place = home / ".config" / "freerdp" / place
            place.mkdir(parents=True)
            shutil.copy(self.certificate, place / "shadow.crt")
            shutil.copy(self.key, place / "shadow.key")
        display, log = home / "display", home / "xvfb.log"
        read_end, write_end = os.pipe()
        os.set_inheritable(write_end, True)
        command = ["Xvfb", "-displayfd", str(write_end), "-screen", "0", "1024x768x24", "-nolisten", "tcp"]
        # Its X server is counted on neither side: it stands where our desktop stands, but it was there before.
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, pass_fds=[write_end])
        self._stack.callback(_end, process)
        os.close(write_end)
        with os.fdopen(read_end) as answer:
            display = answer.readline().strip()
        if not display:
            raise CannotRunError(f"Xvfb does not start: {_last_line(log)}")
        log, port = home / "log", free_port()
        environment = {**os.environ, "HOME": str(home), "DISPLAY": f":{display}"}
        command = ["freerdp-shadow-cli", f"/port:{port}", f"/bind-address:{HOST}", "/sec:tls", "-auth"]
        process = self._stack.enter_context(spawned(command, log=log, environment=environment))
        wait_for(lambda: _connects(port), "freerdp-shadow-cli", process, log)
        return Server(process, port)

    def xrdp(self) -> Server:
        """xrdp, whose first picture is its own login screen, so no session is behind it."""
        if (program := shutil.which("xrdp", path=os.environ.get("PATH", "") + ":/usr/sbin")) is None:
            raise CannotRunError("there is no xrdp (Debian: xrdp)")
        home, port = self.directory / "xrdp", free_port()
        home.mkdir()
        configuration, log = home / "xrdp.ini", home / "log"
        configuration.write_text(
            f"[Globals]\nini_version=1\nfork=true\nport=tcp://{HOST}:{port}\ntcp_nodelay=true\nsecurity_layer=tls\n"
            f"certificate={self.certificate}\nkey_file={self.key}\nssl_protocols=TLSv1.2, TLSv1.3\n"
            "bitmap_cache=true\nbitmap_compression=true\nbulk_compression=true\nmax_bpp=32\nuse_fastpath=both\n"
            f"[Logging]\nLogFile={home / 'xrdp.log'}\nLogLevel=WARNING\nEnableSyslog=false\n"
            "[Xorg]\nname=Xorg\nlib=libxup.so\nusername=ask\npassword=ask\nip=127.0.0.1\nport=-1\ncode=20\n"
        )
        command = [program, "--nodaemon", "--config", str(configuration)]
        process = self._stack.enter_context(spawned(command, log=log))
        wait_for(lambda: _connects(port), "xrdp", process, log)
        return Server(process, port)


def _end(process):
    process.send_signal(signal.SIGTERM)
    process.wait(15)


# Clients


async def open_tls(port, context):
    """A TLS connection, and nothing in it."""
    tcp = await trio.open_tcp_stream(HOST, port)
    stream = trio.SSLStream(tcp, context)
    await stream.do_handshake()
    return stream


@attrs.define
class Batch:
    """What a number of connections took."""

    count: int
    cpu: Cpu | None = None
    seconds: float = 0.0
    client_cpu: float = 0.0
    pictures: list[float] = attrs.field(factory=list)
    """Seconds from connecting to the first whole picture, of each."""
    leaving: float = 0.0
    """CPU seconds of the server for all of them to leave."""


def options(number, size, *, log_on=True, color_depth=32):
    return ClientOptions(
        user_name=f"u{number}" if log_on else "",
        password=PASSWORD if log_on else "",
        width=size[0],
        height=size[1],
        color_depth=color_depth,
    )


def is_active(client, log_on):
    """Font Map and one whole picture; and, where somebody logs on, Save Session Info.

    Our provider sends that from a task which LogonNotify starts as its last step, and which runs only when the service
    goes on: who has it knows that the service has returned from LogonNotify.
    """
    there = client.active.is_set() and client.first_picture.is_set()
    return there and (client.session_info is not None or not log_on)


async def connect_batch(
    server, numbers, at_once, context, *, size=(1024, 768), log_on=True, hold=True, batch=None, while_held=None
):
    """Connect clients, so many at once, until each is active; measure; let them leave; measure.

    Args:
        server: to connect to.
        numbers: of the users, a client each.
        at_once: clients that are on their way at the same time.
        context: TLS.
        size: of the desktop.
        log_on: as a user, or as nobody.
        hold: nobody leaves before the last is active; otherwise each leaves at once, and `Batch.cpu` has both.
        batch: add to this one.
        while_held: awaited when all are active.
    """
    numbers = list(numbers)
    batch = batch or Batch(0)
    waiting, leave, done = iter(numbers), trio.Event(), trio.Event()
    turns = trio.CapacityLimiter(at_once)
    ready = 0

    async def one(number):
        nonlocal ready
        turn = object()
        await turns.acquire_on_behalf_of(turn)
        started = time.perf_counter()
        async with connect_rdp(
            HOST, server.port, options(number, size, log_on=log_on), keep_picture=False, context=context
        ) as client:
            await client.wait_until(client.first_picture.is_set)
            batch.pictures.append(time.perf_counter() - started)
            await client.wait_until(lambda: is_active(client, log_on))
            ready += 1
            if hold:
                turns.release_on_behalf_of(turn)
                if ready == len(numbers):
                    done.set()
                await leave.wait()
        if not hold:
            turns.release_on_behalf_of(turn)
            if ready == len(numbers):
                done.set()

    with trio.fail_after(PATIENCE):
        await server.rest()
        before, began, own = server.cpu(), time.perf_counter(), time.process_time()
        async with trio.open_nursery() as nursery:
            for number in waiting:
                nursery.start_soon(one, number)
            await done.wait()
            # What is still to come of the last one is its own, too: rest, but not longer than that takes.
            batch.seconds += time.perf_counter() - began
            batch.client_cpu += time.process_time() - own
            if not hold:
                await server.rest()
            after = server.cpu()
            if while_held is not None:
                await while_held()
            before_leaving = server.cpu()
            leave.set()
        await server.rest()
        batch.leaving += (server.cpu() - before_leaving).total if hold else 0.0
    spent = after - before
    batch.cpu = spent if batch.cpu is None else Cpu(batch.cpu.total + spent.total, batch.cpu.workers + spent.workers)
    batch.count += len(numbers)
    return batch


# Figures


def quantile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def median(values):
    return statistics.median(values)


def show(title, rows):
    """A table: a list of mappings with the same keys."""
    if not rows:
        return
    names = list(rows[0])
    cells = [[str(row[name]) if row[name] is not None else "-" for name in names] for row in rows]
    widths = [max(len(line[column]) for line in [names, *cells]) for column in range(len(names))]
    print(f"\n{title}")
    for line in [names, *cells]:
        first, *others = (
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        print("  ".join([first, *others]).rstrip(), flush=True)


def verdict(what, value, limit, at_least=False):
    """A target of the plan: met or not."""
    met = value >= limit if at_least else value <= limit
    return {
        "target": what,
        "is": value,
        "wanted": f"{'>=' if at_least else '<='} {limit}",
        "met": "yes" if met else "NO",
    }
