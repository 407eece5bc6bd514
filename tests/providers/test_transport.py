import socket
import ssl
import struct
import tracemalloc

import pytest
import trio
from trio.testing import lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from rdpprov.api.devices import PointerMotion
from rdpprov.protocol.rdp.client import ClientOptions
from rdpprov.providers.transport import LINGER, ClientGone, Transport
from rdpprov.security.certificates import make_self_signed, utc_now
from rdpprov.security.tls import client_context
from rdpprov.testing.rdp_client import connect_rdp
from tests.providers.support import CLIENT, stopped_before


async def tls_pair(tls, *, pair=memory_stream_pair, context=None, send_timeout=60.0):
    """A client's TLS stream and the server's transport, after the handshake."""
    near, far = pair()
    client = trio.SSLStream(near, context or client_context(), https_compatible=True)
    transport = Transport(far, send_timeout)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.do_handshake)
        await transport.start_tls(tls, b"")
    return client, transport


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_tls_1_2_and_1_3_carry_any_amount_both_ways(autojump_clock, tls, version):
    client, transport = await tls_pair(tls, context=client_context(minimum_version=version, maximum_version=version))
    sent = bytes(range(256)) * 3000
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.send_all, sent)
        received = b""
        while len(received) < len(sent):
            received += await client.receive_some(100_000)
        assert received == sent
        nursery.start_soon(client.send_all, sent)
        received = b""
        while len(received) < len(sent):
            received += await transport.receive_some()
        assert received == sent
    assert (transport.bytes_in, transport.bytes_out, transport.writes) == (len(sent), len(sent), 1)


@pytest.mark.parametrize("size", [100_000, 1_000_000], ids=["fits into the socket", "has to be drained"])
async def test_what_has_been_sent_is_not_kept(size):
    here, there = socket.socketpair()
    near, far = (trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in (here, there))
    transport = Transport(far, 60)

    async def swallow():
        left = size
        while left:
            left -= len(await near.receive_some(65536))

    def picture():
        return bytes(size)

    async with near, far, trio.open_nursery() as nursery:
        nursery.start_soon(swallow)
        tracemalloc.start()
        try:
            await transport.send_all(picture())
            await wait_all_tasks_blocked()
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert kept < 32 * 1024


async def test_a_client_hello_that_came_with_the_x224_request_counts(autojump_clock, tls):
    near, far = memory_stream_pair()
    client = trio.SSLStream(near, client_context(), https_compatible=True)
    transport = Transport(far, 60)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.do_handshake)
        first = bytes(await far.receive_some(100))
        await transport.start_tls(tls, first)


async def test_a_client_that_accepts_nothing_is_given_up_after_the_limit(autojump_clock, tls):
    _, transport = await tls_pair(tls, pair=lockstep_stream_pair)
    start = trio.current_time()
    with pytest.raises(ClientGone, match="client accepted nothing for 60 s"):
        await transport.send_all(bytes(10))
    assert trio.current_time() == start + 60
    with pytest.raises(ClientGone):  # half a record has gone out: nothing can follow it
        await transport.send_all(bytes(10))
    await transport.aclose(b"last words")
    assert trio.current_time() == start + 60  # and nobody waits once more


async def test_also_while_nothing_is_being_sent_but_the_client_ought_to_take_something():
    """A frame is waited for before it is made."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, await trio.testing.open_stream_to_socket_listener(listener):
        stream = await listener.accept()
        with trio.move_on_after(0.2):
            await stream.send_all(bytes(64 << 20))  # more than all buffers hold
        with pytest.raises(ClientGone, match=r"client accepted nothing for 0\.2 s"):
            await Transport(stream, 0.2).wait_writable()
        await stream.aclose()


async def test_whether_a_client_takes_something_just_now_is_known_without_waiting():
    here, there = socket.socketpair()
    near, far = (trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in (here, there))
    transport = Transport(far, 60)
    assert transport.is_writable()
    with trio.move_on_after(0.1):
        await far.send_all(bytes(64 << 20))  # more than all buffers hold
    assert not transport.is_writable()
    while not transport.is_writable():
        await near.receive_some(1 << 20)
    await near.aclose()
    await far.aclose()
    assert not transport.is_writable()  # `wait_writable` says what is wrong
    assert not Transport(memory_stream_pair()[0], 60).is_writable()  # no socket: nobody knows


async def test_a_slow_client_is_not_given_up(autojump_clock):
    near, far = lockstep_stream_pair()
    transport = Transport(far, 60)
    received = []

    async def sip():
        while sum(map(len, received)) < 300_000:
            await trio.sleep(10)
            received.append(bytes(await near.receive_some(20_000)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sip)
        await transport.send_all(bytes(300_000))


async def test_tls_ends_with_close_notify_and_then_fin(autojump_clock, tls):
    client, transport = await tls_pair(tls)
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.aclose, b"last words")
        assert await client.receive_some() == b"last words"
        assert await client.receive_some() == b""  # close_notify: a FIN alone would be an error without this option
        below, rest = await client.unwrap()
        assert rest == b""
        assert await below.receive_some() == b""  # FIN
        await below.aclose()
    assert trio.current_time() == start


@pytest.mark.parametrize("talking", [False, True])
async def test_the_goodbye_takes_two_seconds_at_most(autojump_clock, tls, talking):
    client, transport = await tls_pair(tls)

    async def talk():
        while True:
            await client.send_all(b"still here")
            await trio.sleep(0.25)

    async with trio.open_nursery() as nursery:
        if talking:
            nursery.start_soon(talk)
            await trio.sleep(0.6)
        start = trio.current_time()
        with trio.CancelScope() as scope:  # nobody's hurry shortens it
            scope.cancel()
            await transport.aclose(b"last words")
        assert trio.current_time() == start + LINGER
        nursery.cancel_scope.cancel()
    assert await client.receive_some() == b"last words"


async def test_unread_input_inside_tls_does_not_swallow_close_notify(autojump_clock, tls):
    """OpenSSL calls it an error, "application data after close notify", and stops there."""
    client, transport = await tls_pair(tls)
    for _ in range(5):
        await client.send_all(b"x" * 1000)
    await transport.receive_some()  # one record of those that came
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.aclose, b"last words")
        assert await client.receive_some() == b"last words"
        assert await client.receive_some() == b""
        await client.transport_stream.aclose()


async def test_two_who_close_wait_for_one_goodbye(autojump_clock):
    near, far = memory_stream_pair()
    transport = Transport(far, 60)
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.aclose, b"a")
        await trio.testing.wait_all_tasks_blocked()
        await transport.aclose()
        assert trio.current_time() == start + LINGER
    assert await near.receive_some() == b"a"


async def test_closing_what_somebody_else_has_closed_is_no_error(autojump_clock):
    _, far = memory_stream_pair()
    await far.aclose()
    await Transport(far, 60).aclose(b"last words")


# Over real sockets


async def test_error_info_and_ultimatum_reach_a_client_that_is_slow_to_read_and_has_sent_input(listening):
    """Closing a socket with unread bytes resets the connection, and destroys what was still under way."""
    async with listening() as server, stopped_before(server.port, "input") as client:
        served = await server.script.client(0)
        await served.at["logon_notify"].wait()
        client.machine.send_input([PointerMotion(x % 320, 5) for x in range(3000)])
        typed = client.machine.data_to_send()
        await client.stream.send_all(typed)
        await served.connection.set_error_info(5)
        served.broken.set()
        await client.stream.send_all(typed)  # the client still types while it is being sent away
        await trio.sleep(0.3)
        client.machine.receive_data(await client.ended_by_the_server())
        events = []
        while not client.machine.state.value.startswith("nobody"):
            events.append(client.machine.next_event())
        assert any(getattr(event, "code", None) == 5 for event in events), events
        assert type(events[-1]).__name__ == "Disconnected"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_clients_of_both_versions_see_the_desktop(listening, version):
    context = client_context(minimum_version=version, maximum_version=version)
    async with listening() as server, connect_rdp("127.0.0.1", server.port, CLIENT, context=context) as client:
        with trio.fail_after(5):
            await client.first_picture.wait()


async def test_a_certificate_that_is_given_is_the_one_that_is_shown(listening, tmp_path):
    pem = make_self_signed(["localhost"], now=utc_now())
    at = pem.index(b"-----BEGIN CERTIFICATE")
    (tmp_path / "cert.pem").write_bytes(pem[at:])
    (tmp_path / "key.pem").write_bytes(pem[:at])
    files = {"certificate": tmp_path / "cert.pem", "key": tmp_path / "key.pem"}
    async with listening(**files) as server, stopped_before(server.port, "Connect Initial") as client:
        shown = client.stream.getpeercert(binary_form=True)
    assert ssl.DER_cert_to_PEM_cert(shown).encode() == pem[at:]


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: example\r\n\r\n", "first byte 0x47"),
        (bytes.fromhex("16030102000100"), "first byte 0x16"),  # TLS without X.224
        (b"\x00\x04ab", "fast-path"),
        (b"\x03\x00\x00\x03", "TPKT"),
        (b"\x03\x00\xff\xff0123456789", "TPKT"),
        (b"\xff" * 100, "first byte 0xFF"),
    ],
)
async def test_what_is_no_rdp_ends_at_once_with_a_reason(listening, log, first, reason):
    """NX-01, NX-04."""
    async with listening() as server, stopped_before(server.port, "Connection Request") as client:
        await client.tcp.send_all(first)
        with trio.fail_after(1):
            assert await client.ended_by_the_server() == b""
    [entry] = [entry for entry in log if "reason" in entry]
    assert reason in entry["reason"]
    assert entry["log_level"] == "info"


@pytest.mark.parametrize(
    ("hello", "reason"),
    [
        (b"\x17\x03\x03\x00\x05hello", "TLS handshake failed"),  # a record of application data
        (b"\x16\x03\x01\xff\xff" + bytes(100), "TLS handshake failed"),  # an oversize record
        (b"\x03\x00\x00\x0bplain rdp", "TLS handshake failed: wrong version number"),
        (b"\x16\x03\x01\x00\x04\x01\x00\x00\x00" + bytes(50), "TLS handshake failed"),
        (b"GET / HTTP/1.1\r\n\r\n", "TLS handshake failed: http request"),
    ],
)
async def test_what_is_no_tls_ends_at_once_with_a_reason(listening, log, hello, reason):
    """NX-05."""
    async with listening() as server, stopped_before(server.port, "TLS") as client:
        await client.tcp.send_all(hello)
        with trio.fail_after(1):
            await client.ended_by_the_server()
    assert any(reason in entry.get("reason", "") for entry in log), log


async def test_a_client_that_resets_the_connection_is_gone(listening, log):
    """NX-32."""
    stops = ["Connection Request", "TLS", "Connect Initial", "Client Info", "Confirm Active", "input"]
    async with listening() as server:
        for stop in stops:
            async with stopped_before(server.port, stop) as client:
                client.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with trio.fail_after(2):
            for index in range(2):
                served = await server.script.client(index)
                await served.closed.wait()
                assert served.times_broken == 1
    reasons = [entry["reason"] for entry in log if "reason" in entry]
    assert len(reasons) == len(stops), reasons
    assert all("broke" in reason or "closed" in reason for reason in reasons), reasons


async def test_no_common_security_protocol_is_answered_and_the_client_has_the_last_byte(listening, log):
    """Fact 1: nothing may follow the failure but the end."""
    async with listening() as server:
        tcp = await trio.open_tcp_stream("127.0.0.1", server.port)
        async with tcp:
            await tcp.send_all(bytes.fromhex("0300000b06e00000000000"))
            answer = b""
            while data := await tcp.receive_some(100):
                answer += data
            assert len(answer) == 19
            assert answer[11] == 3  # TYPE_RDP_NEG_FAILURE
    assert any("SSL_REQUIRED_BY_SERVER" in entry.get("reason", "") for entry in log)


async def test_an_unknown_client_may_leave_in_an_orderly_way_anywhere(listening, log):
    """Fact 6: the first connection of mstsc only fetches the certificate. It is no warning."""
    async with listening() as server:
        async with stopped_before(server.port, "Connect Initial", ClientOptions()) as client:
            await client.stream.aclose()
        await trio.sleep(0.1)
    assert [entry["log_level"] for entry in log if "reason" in entry] == ["info"]
