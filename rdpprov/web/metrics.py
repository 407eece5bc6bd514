"""``/metrics``: what the service counts, in Prometheus's text format, for those who may know.

No user and no client is named there. Still, how many people work and when is nobody else's business: it is answered to
this machine, and to whoever has the token.
"""

import hashlib
import hmac
import importlib.metadata
import platform
import string
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import attrs
import structlog
import trio
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from starlette.requests import HTTPConnection

from rdpprov.api.enums import ConnectState
from rdpprov.errors import ConfigurationError
from rdpprov.rcm.snapshots import HistogramInfo, ListenerMetrics, Metrics
from rdpprov.security.private_files import read_private
from rdpprov.web.configuration import WebConfiguration, is_loopback
from rdpprov.web.origins import bare_address, is_trusted

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The format that everybody reads."""
KEPT = 5.0
"""Seconds: as long the same answer is given to all who ask, however many and often."""
SHORTEST_TOKEN = 16
LONGEST_TOKEN = 1024
"""Characters."""
TOKEN_LETTERS = frozenset(string.ascii_letters + string.digits + "-._~+/=")
"""b64token, [RFC 6750] 2.1 "Authorization Request Header Field"."""
FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")
"""Any of these headers, and somebody else asks than who has connected."""

STATES = (ConnectState.ACTIVE, ConnectState.CONNECTED, ConnectState.SHADOW, ConnectState.DISCONNECTED)
"""What a session can be."""

log = structlog.get_logger("rdpprov.web")


class MetricsSource(Protocol):
    """Who counts: `rdpprov.rcm.administration.Administration`."""

    async def metrics(self) -> Metrics:
        """What there is to count, now.

        Raises:
            AdministrationError: the service does not run.
        """


class MetricsRefusedError(Exception):
    """Who asks may not know. The message is for the log."""

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.status = status
        """401: with the token it would be answered; 403: nothing would help."""


class MetricsPage:
    """What ``/metrics`` answers, and to whom.

    Args:
        configuration: of the web listener.
        source: who counts.

    Raises:
        ConfigurationError: the token's file cannot be used.
    """

    def __init__(self, configuration: WebConfiguration, source: MetricsSource) -> None:
        self._configuration = configuration
        self._source = source
        file = configuration.metrics_token_file
        self._token = None if file is None else _digest(read_token(file))
        self._one_at_a_time = trio.Lock()
        self._text = b""
        self._text_until = -KEPT
        self._process = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._process)

    def check(self, request: HTTPConnection, peer: str) -> None:
        """See that who asks may know.

        Args:
            request: with its headers.
            peer: the address that it came from.

        Raises:
            MetricsRefusedError: they may not.
        """
        authorization = request.headers.getlist("authorization")
        if self._token is not None and authorization:
            scheme, _, token = authorization[0].partition(" ")
            # Compared as digests, so that not even the token's length can be measured.
            is_right = hmac.compare_digest(_digest(token.strip(" ").encode("latin-1")), self._token)
            if len(authorization) == 1 and scheme.lower() == "bearer" and is_right:
                return
            raise MetricsRefusedError("not the token", 401)
        if problem := self._not_from_here(request, peer):
            raise MetricsRefusedError(problem, 401 if self._token is not None else 403)

    def _not_from_here(self, request: HTTPConnection, peer: str) -> str:
        """Why this is not, or perhaps is not, asked by a program on this machine; empty if it is."""
        if not is_loopback(bare_address(peer)):
            return "not from this machine"
        if is_trusted(peer, self._configuration.trusted_proxies) or any(name in request.headers for name in FORWARDED):
            return "forwarded by a proxy"
        # As for WebSockets: a page that a browser of this machine shows may have made its own name mean 127.0.0.1.
        host = request.headers.get("host", "")
        if not is_loopback(_without_port(host)):
            return f"for host {host[:200]!r}"
        return ""

    async def text(self) -> bytes:
        """The answer. It is as old as `KEPT` at most, and the service is asked by one task at a time.

        Raises:
            AdministrationError: the service does not run.
        """
        async with self._one_at_a_time:
            if trio.current_time() >= self._text_until:
                metrics = await self._source.metrics()
                self._text = exposition(metrics) + generate_latest(self._process)
                self._text_until = trio.current_time() + KEPT
            return self._text


def read_token(path: Path) -> bytes:
    """The token in a private file, without white space around it.

    Raises:
        ConfigurationError: the file cannot be read or is not private, or what is in it is no token.
    """
    token = read_private(path, "metrics token file")[0].strip()
    letters = token.decode("latin-1")
    if not SHORTEST_TOKEN <= len(letters) <= LONGEST_TOKEN or not TOKEN_LETTERS.issuperset(letters):
        raise ConfigurationError(
            f"metrics token file {path}: expected {SHORTEST_TOKEN} to {LONGEST_TOKEN} letters, digits and -._~+/="
        )
    return token


def exposition(metrics: Metrics) -> bytes:
    """Metrics in Prometheus's text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(metrics))
    return generate_latest(registry)


@attrs.frozen(eq=False)
class _Families:
    """A collector that has collected already."""

    metrics: Metrics

    def collect(self) -> Iterator[Metric]:
        yield from _of_service(self.metrics)
        yield from _of_listeners(self.metrics.listeners)
        yield from _histograms(self.metrics)


def _of_service(metrics: Metrics) -> Iterator[Metric]:
    build = GaugeMetricFamily("rdpprov_build_info", "What runs here; always 1.", labels=["version", "python"])
    build.add_metric([importlib.metadata.version("rdpprov"), platform.python_version()], 1)
    yield build
    yield GaugeMetricFamily("rdpprov_draining", "Whether new sessions are refused.", value=int(metrics.draining))
    sessions = GaugeMetricFamily("rdpprov_sessions", "Sessions by what they are doing.", labels=["state"])
    for state in STATES:
        sessions.add_metric([state.name.lower()], metrics.sessions.get(state, 0))
    yield sessions
    if metrics.idle is not None:
        yield GaugeMetricFamily(
            "rdpprov_session_idle_seconds",
            "Longest time since the last input, of sessions that a client shows.",
            value=metrics.idle,
        )
    logons = CounterMetricFamily("rdpprov_logons", "Logons, by what proved who the user is.", labels=["outcome", "how"])
    for (outcome, how), count in sorted(metrics.logons.items()):
        logons.add_metric([outcome, how], count)
    yield logons


def _of_listeners(listeners: Iterable[ListenerMetrics]) -> Iterator[Metric]:
    where = ["listener", "protocol"]
    up = GaugeMetricFamily("rdpprov_listener_up", "Whether clients are accepted.", labels=where)
    half_open = GaugeMetricFamily(
        "rdpprov_half_open", "Clients that have not become connections yet.", labels=["listener"]
    )
    now = GaugeMetricFamily("rdpprov_connections", "Connections of now.", labels=where)
    # In the text format this and the gauge are two names; in OpenMetrics they would be one.
    ended = CounterMetricFamily(
        "rdpprov_connections",
        "Connections that are over, by what the client was told; REFUSED: one too many.",
        labels=[*where, "reason"],
    )
    carried = CounterMetricFamily(
        "rdpprov_bytes",
        "Bytes inside TLS, in from clients and out to them, as far as connections were asked before they ended.",
        labels=[*where, "direction"],
    )
    frames = CounterMetricFamily("rdpprov_frames", "Pictures that clients were sent, likewise.", labels=where)
    for listener in listeners:
        here = [listener.listener, listener.protocol]
        up.add_metric(here, int(listener.up))
        if listener.half_open is not None:
            half_open.add_metric([listener.listener], listener.half_open)
        now.add_metric(here, listener.connections)
        for reason, count in sorted(listener.ended.items()):
            ended.add_metric([*here, reason], count)
        carried.add_metric([*here, "in"], listener.bytes_in)
        carried.add_metric([*here, "out"], listener.bytes_out)
        frames.add_metric(here, listener.frames_out)
    yield from (up, half_open, now, ended, carried, frames)


def _histograms(metrics: Metrics) -> Iterator[Metric]:
    sequences = HistogramMetricFamily(
        "rdpprov_sequence_seconds",
        "From the connection to a user who is logged on, by what proved who it is.",
        labels=["listener", "protocol", "how"],
    )
    for histogram in metrics.sequences:
        labels = [histogram.listener, histogram.protocol, histogram.how]
        sequences.add_metric(labels, _buckets(histogram), histogram.total)
    yield sequences
    lag = metrics.loop_lag
    yield HistogramMetricFamily(
        "rdpprov_event_loop_lag_seconds",
        "In which the event loop answers, asked about twice a second.",
        buckets=_buckets(lag),
        sum_value=lag.total,
    )


def _buckets(histogram: HistogramInfo) -> list[tuple[str, float]]:
    return list(zip([*map(str, histogram.bounds), "+Inf"], histogram.counts, strict=True))


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]
