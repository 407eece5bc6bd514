"""``/metrics``: what it says of a real service with real clients, who gets to read it, and that asking is cheap."""

import os
import re
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from rdpprov.accounts.authenticator import FileAuthenticator
from rdpprov.accounts.users_file import ScryptCost, UsersFile
from rdpprov.api.enums import ConnectState
from rdpprov.api.structures import ProtocolCounters, ProtocolStatus
from rdpprov.errors import AdministrationError, ConfigurationError, RemoteProtocolError
from rdpprov.rcm.configuration import ListenerConfiguration, ServiceConfiguration, SessionsPolicy
from rdpprov.rcm.counters import HOWS_KEPT, LAG_BUCKETS, Counters, Histogram, Place
from rdpprov.rcm.events import ConnectionClosed
from rdpprov.rcm.service import RemoteConnectionManager
from rdpprov.rcm.snapshots import HistogramInfo, Metrics
from rdpprov.sessions.factories import logon_desktop_factory
from rdpprov.sessions.memory import MemoryDesktop
from rdpprov.testing.rfb_client import connect_rfb
from rdpprov.web.configuration import WebConfiguration
from rdpprov.web.metrics import CONTENT_TYPE, KEPT, LONGEST_TOKEN, MetricsPage, exposition
from rdpprov.web.server import WebServer
from rdpprov.wire.rfb.handshake import VencryptSubtype
from tests.web.support import EchoListener, Web, serving

USER, PASSWORD = "annabella", "correct horse"
TOKEN = "c2VjcmV0LXRva2VuLTEyMzQ="
VNC = {"listener": "office", "protocol": "rfb"}
LOGGED_ON = {"security": [VencryptSubtype.PLAIN], "user": USER, "password": PASSWORD}


class Samples:
    """What a scraper makes of a text."""

    def __init__(self, text):
        self.families = list(text_string_to_metric_families(text))
        self.values = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in self.families
            for sample in family.samples
        }

    def __call__(self, name, **labels):
        return self.values.get((f"rdpprov_{name}", *sorted(labels.items())))


@attrs.frozen
class Served:
    manager: RemoteConnectionManager
    web: Web
    rfb_port: int

    def client(self, **how):
        return connect_rfb("127.0.0.1", self.rfb_port, **{**LOGGED_ON, **how})

    async def now(self):
        """What is to be said now, whatever was said last."""
        return Samples(exposition(await self.manager.administration.metrics()).decode())

    @asynccontextmanager
    async def until_closed(self):
        """Returns when a connection has ended that ends in the block."""
        with self.manager.administration.watch() as events, trio.fail_after(20):
            yield
            async for event in events:
                if isinstance(event, ConnectionClosed):
                    return


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory):
    """Where the generated certificate is kept: to make one takes a while."""
    directory = tmp_path_factory.mktemp("state")
    directory.chmod(0o700)
    return directory


@pytest.fixture
def service(tmp_path, state_dir):
    """A context manager: a service with a listener for viewers and a page with metrics, on loopback."""
    users = UsersFile(tmp_path / "users", cost=ScryptCost(n=16))
    users.add(USER, PASSWORD)
    rfb = {"host": "127.0.0.1", "port": 0, "state_dir": str(state_dir), "security": ["vencrypt-plain"]}

    @asynccontextmanager
    async def start(most=None, **options):
        manager = RemoteConnectionManager(
            ServiceConfiguration(
                listeners=[
                    ListenerConfiguration("office", "rfb", rfb, max_connections=most),
                    ListenerConfiguration("web", "rfb", {"sockets": False, "state_dir": str(state_dir)}),
                ],
                sessions=SessionsPolicy(default_width=320, default_height=240),
            ),
            authenticator=FileAuthenticator(users),
            desktop_factory=lambda request: MemoryDesktop(request.width, request.height),
            logon_desktop_factory=logon_desktop_factory(),
        )
        configuration = WebConfiguration(host="127.0.0.1", port=0, state_dir=tmp_path, metrics=True, **options)
        async with trio.open_nursery() as nursery:
            ready = await nursery.start(manager.serve)
            server = WebServer(configuration, manager.provider_listener("web"), manager.administration)
            await nursery.start(server.serve)
            yield Served(manager, Web(server, server.bound_addresses[0][1]), ready[0].port)
            manager.request_stop()
            server.request_stop()

    return start


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "token"
    path.touch(0o600)
    path.write_text(f"{TOKEN}\n")
    return path


# What it says


async def test_an_idle_service_says_that_nothing_has_happened(service):
    async with service() as served:
        answer = await served.web.get("/metrics")
        assert (answer.status, answer.headers["content-type"]) == (200, CONTENT_TYPE)
        assert answer.headers["cache-control"] == "no-store"
        samples = Samples(answer.text)
        for state in ("active", "connected", "shadow", "disconnected"):
            assert samples("sessions", state=state) == 0
        for listener in ("office", "web"):
            where = {"listener": listener, "protocol": "rfb"}
            assert samples("listener_up", **where) == 1
            assert samples("half_open", listener=listener) == 0
            assert samples("connections", **where) == 0
            assert samples("bytes_total", direction="in", **where) == 0
            assert samples("frames_total", **where) == 0
        assert samples("draining") == 0
        assert any(family.name == "rdpprov_build_info" and family.samples[0].value == 1 for family in samples.families)
        head = await served.web.get("/metrics", "HEAD")
        assert (head.status, head.body) == (200, b"")
        assert (await served.web.get("/metrics", "POST")).status == 405


async def test_a_client_is_seen_from_its_first_byte_until_it_has_gone(service):
    async with service() as served:
        async with await trio.open_tcp_stream("127.0.0.1", served.rfb_port) as silent:
            await silent.receive_some()
            assert (await served.now())("half_open", listener="office") == 1
        async with served.until_closed(), served.client() as client:
            await client.wait_for(lambda: client.painted > 0)
            during = await served.now()
            while not during("frames_total", **VNC):  # the last piece of the picture may be on its way
                during = await served.now()
            scraped = await served.web.get("/metrics")
        after = await served.now()
    assert during("sessions", state="active") == 1
    assert during("connections", **VNC) == 1
    assert during("logons_total", outcome="accepted", how="vencrypt") == 1
    assert during("bytes_total", direction="in", **VNC) > 100
    assert during("bytes_total", direction="out", **VNC) > 100
    assert 0 <= during("session_idle_seconds") < 60
    assert during("sequence_seconds_count", how="vencrypt", **VNC) == 1
    assert 0 < during("sequence_seconds_sum", how="vencrypt", **VNC) < 20
    assert after("sessions", state="active") == 0
    assert after("sessions", state="disconnected") == 1
    assert after("connections", **VNC) == 0
    assert after("connections_total", reason="ERRINFO_PEER_DISCONNECTED", **VNC) == 1
    assert after("bytes_total", direction="out", **VNC) >= during("bytes_total", direction="out", **VNC)
    assert after("frames_total", **VNC) >= during("frames_total", **VNC) >= 1
    assert after("session_idle_seconds") is None
    assert "process_open_fds" in scraped.text or os.name != "posix"


async def test_nobody_is_named(service):
    async with service() as served, served.client() as client:
        await client.wait_for(lambda: client.updates > 0)
        text = (await served.web.get("/metrics")).text
        assert Samples(text)("sessions", state="active") == 1
        assert USER not in text
        assert "127.0.0.1" not in text
        labels = {label for family in Samples(text).families for sample in family.samples for label in sample.labels}
        assert labels <= {
            *("state", "listener", "protocol", "outcome", "how", "direction", "reason", "le", "version", "python")
        }


async def test_who_is_refused_is_counted_on_the_wire_and_at_the_door(service):
    async with service(most=1) as served:
        for _ in range(2):
            with pytest.raises(RemoteProtocolError):
                async with served.client(password="wrong"):
                    pass
        async with served.client() as client:
            await client.wait_for(lambda: client.updates > 0)
            with pytest.raises(RemoteProtocolError):
                async with served.client():
                    pass
            samples = await served.now()
    assert samples("logons_total", outcome="refused", how="vencrypt") == 2
    assert samples("logons_total", outcome="accepted", how="vencrypt") == 1
    assert samples("connections_total", reason="REFUSED", **VNC) == 1
    assert samples("connections", **VNC) == 1


async def test_bytes_of_one_connection_after_another_add_up(service):
    seen = []
    async with service() as served:
        for _ in range(3):
            async with served.until_closed(), served.client() as client:
                await client.wait_for(lambda client=client: client.updates > 0)
                seen.append((await served.now())("bytes_total", direction="out", **VNC))
    assert 0 < seen[0] < seen[1] < seen[2]


async def test_draining_is_seen(service):
    async with service() as served:
        await served.manager.administration.drain(True)
        assert (await served.now())("draining") == 1


async def test_families_have_standard_names_types_and_words(service):
    async with service() as served, served.client() as client:
        await client.wait_for(lambda: client.updates > 0)
        text = (await served.web.get("/metrics")).text
    types = dict(re.findall(r"# TYPE (rdpprov_\w+) (\w+)", text))
    helped = dict(re.findall(r"# HELP (rdpprov_\w+) (.+)", text))
    assert types == {
        "rdpprov_build_info": "gauge",
        "rdpprov_draining": "gauge",
        "rdpprov_sessions": "gauge",
        "rdpprov_session_idle_seconds": "gauge",
        "rdpprov_logons_total": "counter",
        "rdpprov_listener_up": "gauge",
        "rdpprov_half_open": "gauge",
        "rdpprov_connections": "gauge",
        "rdpprov_connections_total": "counter",
        "rdpprov_bytes_total": "counter",
        "rdpprov_frames_total": "counter",
        "rdpprov_sequence_seconds": "histogram",
        "rdpprov_event_loop_lag_seconds": "histogram",
    }
    assert set(helped) == set(types)
    assert all(words.endswith(".") for words in helped.values())


# Who gets to read it


async def test_without_the_key_there_is_no_such_page(tmp_path):
    async with serving(EchoListener(), tmp_path) as web:
        assert (await web.get("/metrics")).status == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "desk.example"},
        {"x_forwarded_for": "192.0.2.7"},
        {"x_forwarded_for": "127.0.0.1"},
        {"forwarded": "for=127.0.0.1"},
        {"via": "1.1 proxy"},
        {"x_real_ip": "192.0.2.7"},
        {"authorization": f"Bearer {TOKEN}", "via": "1.1 proxy"},
    ],
)
async def test_who_may_be_elsewhere_is_refused_where_there_is_no_token(service, headers, logged):
    async with service() as served:
        answer = await served.web.get("/metrics", **headers)
        assert (answer.status, answer.headers.get("www-authenticate")) == (403, None)
        assert b"rdpprov_" not in answer.body
        assert [entry["event"] for entry in logged if entry["event"] == "metrics refused"]
        assert TOKEN not in str(logged)


async def test_a_trusted_proxy_is_never_this_machine(service):
    async with service(trusted_proxies=["127.0.0.0/8"]) as served:
        assert (await served.web.get("/metrics")).status == 403


async def test_the_token_opens_it_from_wherever_one_comes(service, token_file):
    async with service(metrics_token_file=token_file, trusted_proxies=["127.0.0.0/8"]) as served:
        refused = await served.web.get("/metrics", host="desk.example")
        assert (refused.status, refused.headers["www-authenticate"]) == (401, 'Bearer realm="metrics"')
        for scheme in ("Bearer", "bearer"):
            answer = await served.web.get(
                "/metrics", authorization=f"{scheme} {TOKEN}", x_forwarded_for="192.0.2.7", host="desk.example"
            )
            assert answer.status == 200
            assert Samples(answer.text)("draining") == 0


@pytest.mark.parametrize(
    "authorization",
    ["Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN, "Bearer é"],
)
async def test_a_wrong_token_is_refused_even_here(service, token_file, authorization, logged):
    async with service(metrics_token_file=token_file) as served:
        assert (await served.web.get("/metrics")).status == 200
        answer = await served.web.get("/metrics", authorization=authorization.encode("latin-1"))
        assert answer.status == 401
        assert TOKEN[:-1] not in str(logged)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "expected 16 to 1024"),
        (b"short", "expected 16 to 1024"),
        (b"x" * (LONGEST_TOKEN + 1), "expected 16 to 1024"),
        (b"two words, sixteen or more", "expected 16 to 1024"),
        ("ü".encode() * 16, "expected 16 to 1024"),
        (None, "no such file"),
    ],
)
def test_what_is_no_token_is_refused_before_the_service_starts(tmp_path, content, problem):
    path = tmp_path / "token"
    if content is not None:
        path.touch(0o600)
        path.write_bytes(content)
    configuration = WebConfiguration(
        host="127.0.0.1", port=0, state_dir=tmp_path, metrics=True, metrics_token_file=path
    )
    with pytest.raises(ConfigurationError, match=problem):
        MetricsPage(configuration, Source())


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_token_that_others_can_read_is_refused(tmp_path, token_file):
    token_file.chmod(0o640)
    configuration = WebConfiguration(
        host="127.0.0.1", port=0, state_dir=tmp_path, metrics=True, metrics_token_file=token_file
    )
    with pytest.raises(ConfigurationError, match="mode 0640 is open to others"):
        MetricsPage(configuration, Source())


def test_a_token_for_nothing_is_a_mistake(tmp_path, token_file):
    with pytest.raises(ConfigurationError, match="metrics_token_file without metrics"):
        WebConfiguration(host="127.0.0.1", port=0, state_dir=tmp_path, metrics_token_file=token_file)


# Asking is cheap


class Source:
    """Counts how often it is asked."""

    def __init__(self):
        self.asked = 0
        self.goes_on = trio.Event()
        self.fails = False

    async def metrics(self):
        self.asked += 1
        await self.goes_on.wait()
        if self.fails:
            raise AdministrationError("the service does not run", "not-running")
        lag = Histogram(LAG_BUCKETS)
        return Metrics(
            listeners=(),
            sessions={ConnectState.ACTIVE: self.asked},
            idle=None,
            logons={},
            sequences=(),
            loop_lag=HistogramInfo(bounds=lag.bounds, counts=lag.cumulative(), total=lag.total),
            draining=False,
        )


def page(tmp_path, source):
    return MetricsPage(WebConfiguration(host="127.0.0.1", port=0, state_dir=tmp_path, metrics=True), source)


async def test_however_many_ask_the_service_is_asked_once_in_five_seconds(tmp_path, autojump_clock):
    source = Source()
    measured = page(tmp_path, source)
    texts = []

    async def ask():
        texts.append(await measured.text())

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        source.goes_on.set()
    assert (source.asked, len(texts), len(set(texts))) == (1, 50, 1)
    await trio.sleep(KEPT - 0.01)
    assert await measured.text() == texts[0]
    await trio.sleep(0.02)
    assert Samples((await measured.text()).decode())("sessions", state="active") == 2


async def test_a_service_that_has_ended_says_so(tmp_path):
    source = Source()
    source.fails = True
    source.goes_on.set()
    configuration = WebConfiguration(host="127.0.0.1", port=0, state_dir=tmp_path, metrics=True)
    server = WebServer(configuration, EchoListener(), source)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        answer = await Web(server, server.bound_addresses[0][1]).get("/metrics")
        server.request_stop()
    assert (answer.status, answer.headers["retry-after"]) == (503, "10")


def test_somebody_has_to_count(tmp_path):
    configuration = WebConfiguration(host="127.0.0.1", port=0, state_dir=tmp_path, metrics=True)
    with pytest.raises(ConfigurationError, match="nobody counts"):
        WebServer(configuration, EchoListener())


# Counting

OFFICE = Place("office", "rdp")


def reported(counters, number, connection=1):
    counters.reported(OFFICE, connection, ProtocolStatus(input=ProtocolCounters(bytes=number)))
    return counters.carried[OFFICE].bytes_in


def test_counters_of_32_bits_go_on_growing():
    counters = Counters()
    assert reported(counters, 2**32 - 10) == 2**32 - 10
    assert reported(counters, 5) == 2**32 + 5
    assert reported(counters, 5) == 2**32 + 5
    assert reported(counters, 7, connection=2) == 2**32 + 12
    counters.closed(OFFICE, 1, "ERRINFO_NONE")
    assert reported(counters, 8, connection=2) == 2**32 + 13


def test_proofs_beyond_those_that_can_be_told_apart_are_counted_together():
    counters = Counters()
    for number in range(HOWS_KEPT + 100):
        counters.logon("accepted", f"proof {number}")
    assert len(counters.logons) == HOWS_KEPT + 1
    assert counters.logons["accepted", "other"] == 100


def test_a_histogram_counts_what_is_on_a_bound_below_it():
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 3.0):
        histogram.observe(value)
    assert (histogram.cumulative(), histogram.total) == ((2, 4, 5), 8.0)
