"""WebSockets: who gets one, and how bytes travel in it."""

import struct

import pytest
import trio
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from rdpprov.web.configuration import WebLimits
from tests.web.support import EchoListener, Listener, Refused, open_websocket, send_for_ever, serving, trusting


async def test_bytes_go_there_and_back_whatever_the_messages(tmp_path):
    listener = EchoListener()
    async with serving(listener, tmp_path) as web, web.websocket() as websocket:
        assert websocket.accepted.subprotocol is None
        for message in (b"RFB 003.008\n", b"", b"\x01", b"x" * 10240):
            await websocket.send_bytes(message)
        assert await websocket.receive(12 + 1 + 10240) == b"RFB 003.008\n\x01" + b"x" * 10240
        await websocket.send(BytesMessage(data=b"one ", message_finished=False))
        await websocket.send(Ping(payload=b"are you there"))
        await websocket.send(BytesMessage(data=b"message", message_finished=True))
        assert await websocket.next_event() == Pong(payload=b"are you there")
        assert await websocket.receive(11) == b"one message"
        await websocket.send(CloseConnection(code=1000))
        assert isinstance(await websocket.next_event(), CloseConnection)
    assert listener.ended == ["end of file"]
    assert [peer[0] for peer in listener.peers] == ["127.0.0.1"]


async def test_a_message_may_come_byte_by_byte(tmp_path):
    async with serving(EchoListener(), tmp_path) as web, await web.connect() as stream:
        request = (
            f"GET /websocket HTTP/1.1\r\nHost: {web.host}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        for byte in request.encode():
            await stream.send_all(bytes([byte]))
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += await stream.receive_some(1)
        assert b"sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=" in answer.lower()  # [RFC 6455] 1.3
        for byte in b"\x82\x85" + b"\0\0\0\0" + b"hello":
            await stream.send_all(bytes([byte]))
        echo = b""
        while len(echo) < 9:
            echo += await stream.receive_some()
        assert echo == b"\x89\0" + b"\x82\x05hello"  # a ping comes first


async def test_in_tls_it_is_the_same(tmp_path):
    async with serving(EchoListener(), tmp_path, tls=True) as web, await web.connect() as stream:
        tls = trio.SSLStream(stream, trusting(), https_compatible=True)
        websocket = await open_websocket(tls, web.host, "/websocket", [], {"origin": f"https://{web.host}"})
        await websocket.send_bytes(b"hello")
        assert await websocket.receive(5) == b"hello"
        await websocket.send(CloseConnection(code=1000))
        assert isinstance(await websocket.next_event(), CloseConnection)


async def test_the_only_subprotocol_is_binary_and_compression_is_declined(tmp_path):
    async with serving(EchoListener(), tmp_path) as web:
        async with web.websocket(
            subprotocols=["base64", "binary"], sec_websocket_extensions="permessage-deflate; client_max_window_bits"
        ) as websocket:
            assert (websocket.accepted.subprotocol, websocket.accepted.extensions) == ("binary", [])
        with pytest.raises(Refused) as refused:
            async with web.websocket(subprotocols=["base64"]):
                pass
        assert refused.value.status == 400


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "https://127.0.0.1.evil.example",
        "http://127.0.0.1:1",
        "null",
        "file://",
        "",
        "http://user@{host}",
        "{host}",
        "http://{host}/",
        "http://{host}.",
        "ws://{host}",
    ],
)
async def test_a_page_of_another_origin_gets_403_and_no_websocket(tmp_path, origin):
    listener = EchoListener()
    async with serving(listener, tmp_path) as web:
        with pytest.raises(Refused) as refused:
            async with web.websocket(origin=origin.format(host=web.host)):
                pass
    assert refused.value.status == 403
    assert refused.value.headers["x-content-type-options"] == "nosniff"
    assert listener.peers == []


async def test_our_own_page_configured_ones_and_what_is_no_browser_may_connect(tmp_path):
    async with serving(EchoListener(), tmp_path, origins=["https://Desk.example"]) as web:
        for headers in (
            {},
            {"origin": f"http://{web.host}"},
            {"origin": "https://desk.example"},
            {"origin": "https://desk.example:443"},
        ):
            async with web.websocket(**headers) as websocket:
                await websocket.send_bytes(b"x")
                assert await websocket.receive(1) == b"x"
        with pytest.raises(Refused):
            async with web.websocket(origin="http://desk.example"):
                pass


async def test_there_is_a_websocket_at_one_path_only(tmp_path):
    async with serving(EchoListener(), tmp_path) as web:
        for path in ("/", "/websockify", "/websocket/", "/websocket%00"):
            with pytest.raises(Refused) as refused:
                async with web.websocket(path=path):
                    pass
            assert refused.value.status == 404


async def test_an_upgrade_without_key_or_of_another_version_is_refused(tmp_path):
    async with serving(EchoListener(), tmp_path) as web:
        upgrade = {"connection": "Upgrade", "upgrade": "websocket"}
        assert (await web.get("/websocket", **upgrade, sec_websocket_version="13")).status == 400
        key = {"sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ=="}
        assert (await web.get("/websocket", **upgrade, **key, sec_websocket_version="8")).status == 400


async def test_there_are_so_many_from_an_address_and_so_many_in_all(tmp_path):
    limits = WebLimits(websockets=2, websockets_per_address=1)
    async with serving(EchoListener(), tmp_path, limits=limits) as web:
        async with web.websocket() as first:
            with pytest.raises(Refused) as refused:
                async with web.websocket():
                    pass
            assert refused.value.status == 429
            async with web.websocket(source="127.0.0.2"):
                with pytest.raises(Refused) as refused:
                    async with web.websocket(source="127.0.0.3"):
                        pass
                assert refused.value.status == 503
            await first.send(CloseConnection(code=1000))
            assert isinstance(await first.next_event(), CloseConnection)
            with pytest.raises((EOFError, trio.BrokenResourceError)):
                await first.next_event()
        async with web.websocket():
            pass


async def test_x_forwarded_for_counts_only_from_a_trusted_proxy(tmp_path):
    listener = EchoListener()
    header = "10.9.9.9, 192.0.2.7, 127.0.0.2"
    async with serving(listener, tmp_path, trusted_proxies=["127.0.0.1/32", "127.0.0.2"]) as web:
        for source in ("127.0.0.1", "127.0.0.3"):
            async with web.websocket(source=source, x_forwarded_for=header) as websocket:
                await websocket.send_bytes(b"x")
                await websocket.receive(1)
    assert [peer[0] for peer in listener.peers] == ["192.0.2.7", "127.0.0.3"]
    assert listener.peers[0] == ("192.0.2.7", 0)


async def test_text_is_refused_with_its_code(tmp_path):
    listener = EchoListener()
    async with serving(listener, tmp_path) as web, web.websocket() as websocket:
        await websocket.send(TextMessage(data="hello"))
        assert await websocket.closing() == (1003, "binary messages only")
    assert listener.ended == ["BrokenResourceError"]


@pytest.mark.parametrize("parts", [1, 50])
async def test_a_message_beyond_the_limit_ends_the_connection_and_is_not_kept(tmp_path, parts):
    listener = EchoListener()
    limits = WebLimits(message_size=10000, goodbye=0.5)
    async with serving(listener, tmp_path, limits=limits) as web, web.websocket() as websocket:
        for _ in range(parts):
            await websocket.send(BytesMessage(data=b"x" * (20000 // parts), message_finished=False))
        event = await websocket.next_event()
        assert isinstance(event, CloseConnection)
        assert event.code == 1009
        with trio.fail_after(10), pytest.raises(trio.BrokenResourceError):
            await send_for_ever(websocket.stream, b"x" * 65536)  # which must be stored nowhere, and not for long
    assert listener.ended == ["end of file"]


@pytest.mark.parametrize(
    "frame",
    [
        b"\x82\x05hello",  # not masked
        b"\x83\x80\0\0\0\0",  # no such opcode
        b"\xc2\x80\0\0\0\0",  # compressed, which was not agreed on
        b"\x80\x80\0\0\0\0",  # continues nothing
        b"\x09\x80\0\0\0\0",  # a ping in parts
        b"\x89\xfe\x00\x80\0\0\0\0" + bytes(128),  # a ping too long
        b"\x82\xff" + struct.pack(">Q", 1 << 63) + bytes(4),
        b"\x88\x81\0\0\0\0x",  # half a code
        b"\x81\x81\0\0\0\0\xff",  # no UTF-8
    ],
    ids=lambda frame: frame[:4].hex(),
)
async def test_a_frame_that_breaks_the_rules_costs_one_connection(tmp_path, logged, frame):
    listener = EchoListener()
    async with serving(listener, tmp_path, limits=WebLimits(goodbye=0.5)) as web:
        async with web.websocket() as websocket:
            await websocket.stream.send_all(frame)
            with trio.fail_after(5):
                await websocket.gone()
        async with web.websocket() as websocket:
            await websocket.send_bytes(b"x")
            assert await websocket.receive(1) == b"x"
    assert listener.ended[0] in ("end of file", "BrokenResourceError")
    assert [entry for entry in logged if entry["log_level"] == "error"] == []


async def test_a_flood_waits_in_the_sender_while_nobody_reads(tmp_path):
    """Every byte that the listener does not take has to be in a buffer with a bound: so the sender comes to a stop."""
    go_on = trio.Event()
    taken = bytearray()

    async def serve(stream):
        await go_on.wait()
        while data := await stream.receive_some():
            taken.extend(data)

    async with serving(Listener(serve), tmp_path) as web, web.websocket() as websocket:
        sent = 0
        message = b"x" * 32768
        limit = 64 << 20
        while sent < limit:
            with trio.move_on_after(0.5) as patience:
                await websocket.send_bytes(message)
            if patience.cancelled_caught:
                break
            sent += len(message)
        assert sent < limit
        go_on.set()


@pytest.mark.parametrize(
    "event",
    [BytesMessage(data=b"x"), BytesMessage(data=b"", message_finished=False), Ping(), Pong()],
    ids=["message", "empty part", "ping", "pong"],
)
async def test_frames_of_any_kind_are_read_at_a_pace(tmp_path, event):
    """A second's worth comes through at once, what is more waits: 5000 at 2000 a second take more than one."""

    async def serve(stream):
        while await stream.receive_some():
            pass

    limits = WebLimits(frames_per_second=2000)
    async with serving(Listener(serve), tmp_path, limits=limits) as web, web.websocket() as websocket:
        started = trio.current_time()
        await websocket.send(*[event] * 5000, CloseConnection(code=1000))
        await websocket.gone()
        assert trio.current_time() - started > 0.9


async def test_a_slow_reader_holds_up_the_sender_and_a_dead_one_is_dropped(tmp_path):
    ended = trio.Event()
    sent = 0

    async def serve(stream):
        nonlocal sent
        try:
            while True:
                await stream.wait_send_all_might_not_block()
                await stream.send_all(bytes(65536))
                sent += 65536
                assert sent < 64 << 20
        except trio.BrokenResourceError:
            ended.set()

    async with serving(Listener(serve), tmp_path, limits=WebLimits(send=0.3, goodbye=0.2)) as web, web.websocket():
        with trio.fail_after(10):
            await ended.wait()


async def test_pings_are_sent_and_who_answers_nothing_is_dropped(tmp_path):
    listener = EchoListener()
    limits = WebLimits(ping=0.05, silence=0.3, goodbye=0.1)
    async with serving(listener, tmp_path, limits=limits) as web, web.websocket() as websocket:
        with trio.fail_after(10):
            for _ in range(8):
                ping = await websocket.next_ping()
                await websocket.send(ping.response())
            assert listener.ended == []
            await websocket.gone(answering=False)


async def test_when_the_listener_is_done_the_browser_gets_a_clean_end(tmp_path):
    async def serve(stream):
        await stream.send_all(b"goodbye")

    async with serving(Listener(serve), tmp_path) as web, web.websocket() as websocket:
        assert await websocket.receive(7) == b"goodbye"
        assert await websocket.closing() == (1000, "")
        with pytest.raises(EOFError):
            await websocket.next_event()


async def test_a_listener_that_fails_is_logged_and_the_browser_is_told_no_details(tmp_path, logged):
    async def serve(stream):
        raise ValueError("a secret")

    async with serving(Listener(serve), tmp_path) as web, web.websocket() as websocket:
        assert await websocket.closing() == (1011, "the server failed")
    assert [entry["error"] for entry in logged if entry["log_level"] == "error"] == ["ValueError"]


async def test_the_stop_waits_for_the_provider_and_then_tells_the_browser_why(tmp_path):
    let_go = trio.Event()

    async def serve(stream):
        await let_go.wait()

    async with serving(Listener(serve), tmp_path) as web, web.websocket() as websocket:
        web.server.request_stop()
        with trio.move_on_after(0.2) as soon:
            await websocket.next_event()
        assert soon.cancelled_caught
        let_go.set()
        assert await websocket.closing() == (1001, "the server stops")


async def test_a_provider_that_says_goodbye_itself_when_the_service_stops_says_the_same(tmp_path):
    let_go = trio.Event()

    async def serve(stream):
        await let_go.wait()
        await stream.send_eof()
        await stream.aclose()

    async with serving(Listener(serve), tmp_path) as web, web.websocket() as websocket:
        await websocket.send_bytes(b"x")
        web.server.request_stop()
        let_go.set()
        assert await websocket.closing() == (1001, "the server stops")


async def test_a_provider_that_does_not_end_is_ended_at_the_limit(tmp_path):
    listener = EchoListener()
    limits = WebLimits(stop=0.2, goodbye=0.3)
    with trio.fail_after(5):
        async with serving(listener, tmp_path, limits=limits) as web, web.websocket() as websocket:
            await websocket.send_bytes(b"x")
            assert await websocket.receive(1) == b"x"
            web.server.request_stop()
            assert await websocket.closing() == (1001, "the server stops")
    assert listener.ended == ["Cancelled"]


async def test_a_browser_that_takes_nothing_does_not_hold_up_the_stop(tmp_path):
    async def serve(stream):
        while True:
            await stream.send_all(bytes(65536))

    limits = WebLimits(stop=0.2, goodbye=0.2, send=1000)
    with trio.fail_after(5):
        async with serving(Listener(serve), tmp_path, limits=limits) as web:
            stream = await web.connect()
            await open_websocket(stream, web.host, "/websocket", [], {})
            await web.get()
            web.server.request_stop()
    await trio.aclose_forcefully(stream)
