"""What ``rdpprov serve`` and ``rdpprov demo`` have in common: run the service, say when it is ready, stop it."""

import contextlib
import gc
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from types import ModuleType

import attrs
import structlog
import trio

from rdpprov.admin.place import PlaceTakenError, listening_at
from rdpprov.admin.server import serve_admin
from rdpprov.api.authenticator import Authenticator
from rdpprov.cli.configuration import Configuration
from rdpprov.errors import ConfigurationError
from rdpprov.rcm.loader import load_protocol
from rdpprov.rcm.service import ReadyListener, RemoteConnectionManager
from rdpprov.security.private_files import reason_of
from rdpprov.sessions.factories import load_desktop_factory, logon_desktop_factory, overlay_factory
from rdpprov.traces.recorder import TraceDirectory
from rdpprov.web.configuration import WebConfiguration

log = structlog.get_logger("rdpprov")

GARBAGE_THRESHOLDS = (20_000, 10, 10)
"""New objects that start a collection, and how many collections of a generation start one of the next: by default
(700, 10, 10). A connection makes some thousands of objects, and what it leaves is freed without a collection."""


def run_service(
    configuration: Configuration,
    authenticator: Authenticator,
    announce: Callable[[Sequence[ReadyListener]], None],
    *,
    needs_admin: bool = True,
    read_again: Callable[[], Configuration] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT comes, then tell every client and stop; a second signal stops at once.

    Args:
        configuration: all about the service.
        authenticator: who may log on.
        announce: called when clients can connect to every listener.
        needs_admin: without its admin socket it is not to run.
        read_again: reads the configuration, whose policies SIGHUP puts in force; None: there is no file, and SIGHUP is
            left alone.

    Raises:
        ConfigurationError: a desktop, a protocol, the directory of traces or the admin socket cannot be had, or a
            listener cannot start.
    """
    desktop_factory = load_desktop_factory(configuration.desktop)
    if configuration.web is not None:
        _import_web()
    for listener in configuration.service.listeners:
        load_protocol(listener.protocol)  # now, for importing takes its time, and the event loop may not stand still
    traces = _open_traces(configuration.trace_dir, wire=configuration.trace_wire)
    _raise_file_limit()
    service = RemoteConnectionManager(
        configuration.service,
        authenticator=authenticator,
        desktop_factory=desktop_factory,
        logon_desktop_factory=logon_desktop_factory(),
        overlay_factory=overlay_factory(),
        traces=traces,
    )
    policies = None if read_again is None else PoliciesFile(service, configuration, read_again)
    with contextlib.ExitStack() as stack:
        admin = _listen_for_administrators(configuration.admin, stack, needed=needs_admin)
        trio.run(_serve, service, announce, policies, admin, configuration.web)


class PoliciesFile:
    """Where the policies of a running service are from.

    Args:
        service: that they hold for.
        configuration: that it was started with.
        read: reads the file.
    """

    def __init__(
        self, service: RemoteConnectionManager, configuration: Configuration, read: Callable[[], Configuration]
    ) -> None:
        self._service = service
        self._configuration = configuration
        self._read = read
        self._one_at_a_time = trio.Lock()

    async def read_again(self) -> None:
        """Put the file's policies in force. If anything in it is wrong, those of now stay, and the log says why."""
        async with self._one_at_a_time:
            try:
                read = await trio.to_thread.run_sync(self._read)
            except ConfigurationError as error:
                log.error("policies not read, those of before stay in force", reason=str(error))
                return
            await self._service.set_policies(read.service.policies)
            log.info("policies read again")
            policies = self._configuration.service.policies
            if attrs.evolve(read, service=attrs.evolve(read.service, policies=policies)) != self._configuration:
                log.warning("the configuration has other changes too, which need a restart")


async def _serve(
    service: RemoteConnectionManager,
    announce: Callable[[Sequence[ReadyListener]], None],
    policies: PoliciesFile | None,
    admin: socket.socket | None,
    web: WebConfiguration | None,
) -> None:
    stops = [service.request_stop]
    # Without a file SIGHUP stays what it is: the end of a program whose terminal is gone.
    numbers = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if policies and sys.platform != "win32" else [])]
    with trio.open_signal_receiver(*numbers) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_obey_signals, signals, stops, policies, nursery)
            async with trio.open_nursery() as serving:
                listeners = await serving.start(service.serve)
                if web is not None:
                    listeners = await _start_web(service, web, listeners, serving, stops)
                if admin is not None:
                    nursery.start_soon(serve_admin, service.administration, admin)
                _let_garbage_lie()
                announce(listeners)
            nursery.cancel_scope.cancel()


def _import_web() -> ModuleType:
    try:
        from rdpprov.web import server
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"[web]: {error.name} is not installed: the web listener needs pip install 'rdpprov[web]'"
        ) from error
    return server


async def _start_web(
    service: RemoteConnectionManager,
    configuration: WebConfiguration,
    listeners: Sequence[ReadyListener],
    nursery: trio.Nursery,
    stops: list[Callable[[], None]],
) -> list[ReadyListener]:
    """Serve browsers too, with one of the service's listeners. Returns what listens then."""
    name = configuration.listener
    listener = service.provider_listener(name)
    if listener is None or not hasattr(listener, "serve_stream"):
        raise ConfigurationError(f"[web]: listener {name}: its protocol takes no clients from elsewhere, as rfb does")
    server = _import_web().WebServer(configuration, listener, service.administration)
    await nursery.start(server.serve)
    stops.append(server.request_stop)
    # A listener that has no sockets of its own is announced by those of the page.
    others = [ready for ready in listeners if ready.name != name or ready.address]
    places = server.bound_addresses
    return [*others, *(ReadyListener(name, server.scheme, host, port, listener.fingerprint) for host, port in places)]


def _listen_for_administrators(
    place: Path | None, stack: contextlib.ExitStack, *, needed: bool
) -> socket.socket | None:
    if place is None:
        return None
    try:
        return stack.enter_context(listening_at(place))
    except PlaceTakenError:
        if needed:
            raise
        log.warning("no admin socket, for another service has it", path=str(place))
        return None


def _let_garbage_lie() -> None:
    """Collect less often, and never again look through what the start has made, which stays for good.

    With Python's own thresholds a tenth of a connection's CPU goes into looking for cycles that are not there. It is
    here because it concerns the whole process: who embeds the service decides for himself.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)


async def _obey_signals(
    signals: AsyncIterator[int],
    stops: Sequence[Callable[[], None]],
    policies: PoliciesFile | None,
    nursery: trio.Nursery,
) -> None:
    asked = False
    async for number in signals:
        name = signal.Signals(number).name
        if policies is not None and name == "SIGHUP":
            nursery.start_soon(policies.read_again)
            continue
        if asked:
            log.warning("stopping at once", signal=name)
            nursery.cancel_scope.cancel()
        else:
            log.info("stopping", signal=name)
            for request_stop in stops:
                request_stop()
        asked = True


def ready_line(listener: ReadyListener) -> str:
    """``ready NAME PROTOCOL ADDR:PORT``: for people, and for whoever waits for the service to be up."""
    return f"ready {listener.name} {listener.protocol} {host_and_port(listener)}"


def fingerprint_lines(listeners: Sequence[ReadyListener]) -> list[str]:
    """``fingerprint NAME 12-34-…``, of each listener whose key clients show their users to be compared."""
    fingerprints = {listener.name: listener.fingerprint for listener in listeners if listener.fingerprint}
    return [f"fingerprint {name} {fingerprint}" for name, fingerprint in fingerprints.items()]


def host_and_port(listener: ReadyListener) -> str:
    """``ADDR:PORT``, an IPv6 address in brackets; ``-`` of a listener that does not say where it listens."""
    if not listener.address:
        return "-"
    host = f"[{listener.address}]" if ":" in listener.address else listener.address
    return f"{host}:{listener.port}"


def say(*lines: str) -> None:
    """Print lines on stdout now; whoever started us may read them through a pipe, or may have closed it."""
    with contextlib.suppress(BrokenPipeError):
        print(*lines, sep="\n", flush=True)


def _open_traces(directory: Path | None, *, wire: bool) -> TraceDirectory | None:
    if directory is None:
        return None
    try:
        return TraceDirectory(directory, wire=wire)
    except OSError as error:
        raise ConfigurationError(f"--trace-dir {directory}: {reason_of(error)}") from error


def _raise_file_limit() -> None:
    """A client is an open file, and the usual limit of 1024 is for programs that use select()."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if (soft != resource.RLIM_INFINITY and soft < hard) or hard == resource.RLIM_INFINITY:
        wanted = min(hard, 1 << 20) if hard != resource.RLIM_INFINITY else 1 << 20
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
