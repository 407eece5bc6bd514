import hmac

import attrs
import pytest
import structlog
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import lockstep_stream_pair

from rdpprov.api.devices import (
    Button,
    LockKeys,
    PointerButton,
    PointerMotion,
    PointerWheel,
    ScancodeKey,
    UnicodeKey,
    WheelAxis,
)
from rdpprov.api.identity import ReconnectMethod
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import HResultError, NotImplementedByProvider
from rdpprov.protocol.events import NeedData, Paused
from rdpprov.protocol.rdp.client import RdpClientMachine
from rdpprov.protocol.rdp.events import Activated, ShutdownDenied, StartTls
from rdpprov.providers.rdp.client_data import client_data, connection_settings
from rdpprov.providers.rdp.connection import MAX_UNSENT, RdpConnection
from rdpprov.providers.rdp.options import RdpListenerOptions
from rdpprov.providers.transport import LINGER
from rdpprov.security.tls import client_context
from rdpprov.testing.rdp_client import connect_rdp
from rdpprov.wire.rdp.client_info import ClientInfo, InfoFlags, SystemTime, TimeZoneInformation
from rdpprov.wire.rdp.gcc import ClientCoreData
from tests.providers.support import CLIENT, SECRET, Script, stopped_before

KEYS = (
    LockKeys(False, True, False, False),
    ScancodeKey(0x1E, True),
    ScancodeKey(0x1E, False),
    ScancodeKey(0x48, True, extended=True),
    ScancodeKey(0x48, False, extended=True),
    UnicodeKey("ä", True),
    UnicodeKey("ä", False),
    PointerMotion(10, 20),
    PointerButton(Button.LEFT, True, 11, 21),
    PointerButton(Button.LEFT, False, 12, 22),
    PointerButton(Button.X1, True, 13, 23),
    PointerWheel(WheelAxis.VERTICAL, 120, 13, 23),
    PointerWheel(WheelAxis.HORIZONTAL, -120, 13, 23),
)


@pytest.mark.parametrize("fast_path", [True, False])
async def test_input_reaches_the_sink_in_order(listening, fast_path):
    options = attrs.evolve(CLIENT, fast_path_input=fast_path)
    async with listening() as server, connect_rdp("127.0.0.1", server.port, options) as client:
        await client.first_picture.wait()
        served = await server.script.client(0)
        await client.send_input(*KEYS, UnicodeKey("\U0001f511", True), UnicodeKey("\U0001f511", False), KEYS[1])
        await served.wait_for_input(len(KEYS) + 3)
        wheel = [event for event in served.input if not isinstance(event, PointerWheel)]
        sent = [event for event in KEYS if not isinstance(event, PointerWheel)]
        assert wheel[: len(sent)] == sent
        assert [event.text for event in served.input if isinstance(event, UnicodeKey)] == ["ä", "ä"] + 2 * [
            "\U0001f511"
        ]
        assert [event.rotation for event in served.input if isinstance(event, PointerWheel)] == [120, -120]
        assert await served.connection.get_last_input_time() < 5000


async def test_input_before_logon_notify_reaches_the_logon_desktop(listening):
    script = {"until": "connect_notify"}
    async with (
        listening(script) as server,
        connect_rdp("127.0.0.1", server.port, CLIENT) as client,
    ):
        await client.active.wait()
        served = await server.script.client(0)
        await served.at["connect_notify"].wait()
        await client.send_input(KEYS[1])
        await served.wait_for_input(1)
        assert served.input == [KEYS[1]]


async def test_a_flood_of_input_is_handed_on_without_being_kept(listening):
    """It is handled as it comes: what is kept is one reading's worth."""
    async with listening() as server, connect_rdp("127.0.0.1", server.port, CLIENT) as client:
        await client.active.wait()
        served = await server.script.client(0)
        await served.at["connect_notify"].wait()
        largest = 0
        splitter = served.connection._machine._incoming
        for start in range(0, 20_000, 500):
            await client.send_input(*[ScancodeKey(0x1E, step % 2 == 0) for step in range(start, start + 500)])
            largest = max(largest, len(splitter))
        await served.wait_for_input(20_000)
        assert len(served.input) == 20_000
        assert largest < 32 * 1024
        assert served.times_broken == 0


async def test_every_question_of_the_service_has_its_answer(listening):
    options = attrs.evolve(CLIENT, domain="corp", width=640, height=400, client_name="desk-7", keyboard_layout=0x407)
    async with listening() as server, connect_rdp("127.0.0.1", server.port, options) as client:
        await client.first_picture.wait()
        connection = (served := await server.script.client(0)).connection
        data = await connection.get_client_data()
        assert (data.h_res, data.v_res, data.color_depth) == (640, 400, 32)
        assert (data.user_name, data.domain, data.client_name) == ("ann", "corp", "desk-7")
        assert data.keyboard_layout == 0x407
        assert data.client_sock_address.address == "127.0.0.1"
        assert "correct horse" not in repr(data)
        assert served.settings == connection_settings(data)
        credential = await connection.get_user_credentials()
        assert (credential.user_name, credential.password, credential.domain) == ("ann", "correct horse", "corp")
        assert await connection.get_client_monitor_data() == (1, 0)
        for question in (
            connection.get_logon_error_redirector,
            connection.authenticate_client_to_session,
            connection.get_shadow_connection,
        ):
            with pytest.raises(NotImplementedByProvider):
                await question()
        status = await connection.get_protocol_status()
        assert status.output.bytes > 1000
        assert status.output.frames > 0
        assert status.output.wd_frames >= 1
        assert status.input.bytes > 500
        assert await connection.get_last_input_time() >= 0
        await connection.notify_command_process_created(7)
        await connection.pre_disconnect(0)
        license_connection = await connection.get_license_connection()
        for call in (license_connection.send_client_license(b""), license_connection.request_client_license()):
            with pytest.raises(NotImplementedByProvider):
                await call


async def test_without_a_user_or_a_password_there_are_no_credentials(listening):
    """Fact 22."""
    async with listening() as server:
        for number, changes in enumerate(({"user_name": ""}, {"password": ""}, {"autologon": False})):
            async with connect_rdp("127.0.0.1", server.port, attrs.evolve(CLIENT, **changes)) as client:
                await client.active.wait()
                served = await server.script.client(number)
                with pytest.raises(NotImplementedByProvider):
                    await served.connection.get_user_credentials()
                assert not served.settings.inherit_auto_logon


@pytest.mark.parametrize(
    ("wanted", "granted"), [((100, 8000), (200, 8000)), ((9000, 300), (8192, 300)), ((1366, 768), (1366, 768))]
)
async def test_a_desktop_has_a_size_that_it_can_have(listening, wanted, granted):
    options = attrs.evolve(CLIENT, width=wanted[0], height=wanted[1])
    async with (
        listening({"until": "license"}) as server,
        connect_rdp("127.0.0.1", server.port, options, keep_picture=False) as client,
    ):
        await client.active.wait()
        assert (client.width, client.height) == granted
        data = (await server.script.client(0)).client
        assert (data.h_res, data.v_res) == granted


@pytest.mark.parametrize("logged_on", [True, False])
async def test_a_shutdown_request_is_denied_only_if_somebody_is_logged_on(listening, logged_on):
    """SES-02."""
    until = "logon_notify" if logged_on else "connect_notify"
    async with (
        listening({"until": until}) as server,
        stopped_before(server.port, "input") as client,
    ):
        served = await server.script.client(0)
        await served.at["logon_notify" if logged_on else "connect_notify"].wait()
        client.machine.send_shutdown_request()
        await client.stream.send_all(client.machine.data_to_send())
        events = []
        with trio.fail_after(2):
            while not client.machine.state.value.startswith("nobody"):
                while not isinstance(event := client.machine.next_event(), NeedData | Paused):
                    events.append(event)
                if logged_on and any(isinstance(event, ShutdownDenied) for event in events):
                    break
                if not client.machine.state.value.startswith("nobody"):
                    client.machine.receive_data(bytes(await client.stream.receive_some(65536)))
            if not logged_on:
                await client.stream.aclose()
                await served.closed.wait()
        assert served.times_broken == (0 if logged_on else 1)


async def test_the_cookie_of_save_session_info_brings_a_client_back(listening):
    """[MS-RDPBCGR] 5.5."""
    async with listening() as server:
        async with connect_rdp("127.0.0.1", server.port, CLIENT) as client:
            await client.wait_until(lambda: client.session_info is not None and client.session_info.reconnect_secret)
            info = client.session_info
        assert (info.logon_id, info.reconnect_secret) == (7, SECRET)
        again = attrs.evolve(CLIENT, reconnect_logon_id=info.logon_id, reconnect_secret=info.reconnect_secret)
        async with connect_rdp("127.0.0.1", server.port, again) as client:
            await client.active.wait()
            served = await server.script.client(1)
            claim = await served.connection.authenticate_client_to_session()
    assert (claim.session_id, claim.method) == (7, ReconnectMethod.HMAC_MD5)
    assert claim.verifier == hmac.digest(SECRET, claim.challenge, "md5")


async def test_error_info_and_ultimatum_come_before_the_end(listening):
    async with listening() as server, connect_rdp("127.0.0.1", server.port, CLIENT) as client:
        await client.active.wait()
        served = await server.script.client(0)
        await served.connection.set_error_info(int(ErrInfo.ERRINFO_DISCONNECTED_BY_OTHERCONNECTION))
        await served.connection.set_error_info(0xFFFFFFFF)  # whatever the service means by that
        served.broken.set()
        with trio.fail_after(2):
            await client.closed.wait()
        assert client.failure is None
        assert client.error_info == ErrInfo.ERRINFO_RPC_INITIATED_DISCONNECT
        await served.closed.wait()
        assert served.times_broken == 0


async def test_a_refused_license_is_an_alert_and_the_end(listening):
    async with (
        listening({"until": "accept_connection"}) as server,
        connect_rdp("127.0.0.1", server.port, CLIENT) as client,
    ):
        served = await server.script.client(0)
        await served.at["accept_connection"].wait()
        await (await served.connection.get_license_connection()).protocol_complete(0)
        served.broken.set()
        with trio.fail_after(2):
            await client.closed.wait()
        assert "ERR_NO_LICENSE" in str(client.failure)


async def test_a_client_that_the_service_refuses_is_dropped(listening, log):
    class Refusing(Script):
        async def on_connected(self, connection, settings):
            raise HResultError("full")

    async with listening() as server:
        server.script.__class__ = Refusing
        async with connect_rdp("127.0.0.1", server.port, CLIENT) as client:
            with trio.fail_after(2):
                await client.closed.wait()
    assert any(entry["event"] == "service refused the client" for entry in log)


@pytest.mark.parametrize("refuse", [True, False])
async def test_close_may_come_before_on_connected_has_returned(listening, refuse):
    class Hasty(Script):
        async def on_connected(self, connection, settings):
            with trio.fail_after(3):
                await connection.close()
            if refuse:
                raise HResultError("changed my mind")
            return await super().on_connected(connection, settings)

    async with listening() as server:
        server.script.__class__ = Hasty
        async with connect_rdp("127.0.0.1", server.port, CLIENT) as client:
            with trio.fail_after(2):
                await client.closed.wait()
        assert not server.script.clients or not server.script.clients[0].ready.is_set()


async def test_close_twice_and_at_once_is_one_close(listening):
    async with listening() as server, connect_rdp("127.0.0.1", server.port, CLIENT) as client:
        await client.active.wait()
        served = await server.script.client(0)
        with trio.fail_after(2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(served.connection.close)
                nursery.start_soon(served.connection.close)
        await client.closed.wait()
        assert client.failure is None


async def test_an_exception_in_on_ready_costs_that_client_only(listening, log):
    class Broken(Script):
        async def on_connected(self, connection, settings):
            callback = await super().on_connected(connection, settings)
            callback.on_ready = self.fail
            return callback

        def fail(self):
            raise HResultError("not ready at all")

    async with listening() as server:
        server.script.__class__ = Broken
        async with connect_rdp("127.0.0.1", server.port, CLIENT) as client:
            with trio.fail_after(2):
                await client.closed.wait()
        with trio.fail_after(1):  # Close finds an end, not a hang
            await server.script.clients[0].connection.close()


async def test_an_exception_of_a_desktop_ends_its_connection_with_error_info(listening, log):
    class Failing:
        width, height = 320, 240

        def take_damage(self):
            raise ZeroDivisionError

    async with listening() as server, connect_rdp("127.0.0.1", server.port, CLIENT) as client:
        await client.first_picture.wait()
        served = await server.script.client(0)
        (await served.connection.get_video_handle()).plug(Failing())
        with trio.fail_after(2):
            await client.closed.wait()
        assert client.error_info == ErrInfo.ERRINFO_GRAPHICSSUBSYSTEMFAILED
        assert served.times_broken == 1
    entry = next(entry for entry in log if entry["event"] == "connection failed")
    log.remove(entry)  # it is somebody else's mistake, this time
    assert entry["error"] == "ZeroDivisionError"


async def test_stopping_the_listener_leaves_those_who_are_connected(listening):
    async with listening() as server, connect_rdp("127.0.0.1", server.port, CLIENT) as client:
        await client.first_picture.wait()
        await server.listener.stop_listen()
        with pytest.raises(OSError, match="failed"):
            await trio.open_tcp_stream("127.0.0.1", server.port)
        await client.send_input(KEYS[1])
        await trio.sleep(0.05)
        assert not client.closed.is_set()


# A client that takes nothing, on memory streams and with a clock of our own


class Stuck:
    """A connection whose client reads only when it is told to; the kernel's buffers are left out."""

    def __init__(self, tls, nursery, **options):
        self.near, far = lockstep_stream_pair()
        self.script = Script(nursery)
        self.connection = RdpConnection(
            far, ("192.0.2.1", 1), RdpListenerOptions(**options), tls, structlog.get_logger()
        )
        nursery.start_soon(self._serve)
        self.machine = RdpClientMachine(CLIENT)
        self.ended = trio.Event()
        self.stream: trio.SSLStream

    async def _serve(self):
        await self.connection.introduce()
        await self.connection.serve(self.script)
        await self.connection.end()
        self.ended.set()

    async def activate(self):
        await self.near.send_all(self.machine.data_to_send())
        while not isinstance(self.machine.next_event(), StartTls):
            self.machine.receive_data(bytes(await self.near.receive_some(4096)))
        self.stream = trio.SSLStream(self.near, client_context(), https_compatible=True)
        await self.stream.do_handshake()
        self.machine.tls_established()
        while True:
            await self.say(self.machine.data_to_send())
            self.machine.receive_data(bytes(await self.stream.receive_some(65536)))
            while not isinstance(event := self.machine.next_event(), NeedData | Paused):
                if isinstance(event, Activated):
                    return

    async def say(self, data):
        if data:
            await self.stream.send_all(data)


async def test_reading_goes_on_while_a_frame_is_stuck(autojump_clock, tls):
    async with trio.open_nursery() as nursery:
        stuck = Stuck(tls, nursery)
        await stuck.activate()
        served = await stuck.script.client(0)
        await served.at["logon_notify"].wait()
        await trio.sleep(1)  # a frame is on its way, and nobody takes it
        for number in range(10):
            stuck.machine.send_input([ScancodeKey(0x1E, number % 2 == 0)])
            await stuck.say(stuck.machine.data_to_send())
        await trio.sleep(1)
        assert len(served.input) == 10
        nursery.cancel_scope.cancel()


async def test_a_client_that_takes_nothing_is_given_up_and_the_service_is_told(autojump_clock, tls, log):
    async with trio.open_nursery() as nursery:
        stuck = Stuck(tls, nursery)
        await stuck.activate()
        start = trio.current_time()
        served = await stuck.script.client(0)
        await served.closed.wait()
        assert 60 <= trio.current_time() - start <= 60 + LINGER
        assert served.times_broken == 1
        await stuck.ended.wait()
    assert any("client accepted nothing for 60 s" in entry.get("reason", "") for entry in log)


async def test_close_while_a_send_is_stuck_takes_no_longer_than_two_goodbyes(autojump_clock, tls):
    async with trio.open_nursery() as nursery:
        stuck = Stuck(tls, nursery)
        await stuck.activate()
        served = await stuck.script.client(0)
        await trio.sleep(1)
        start = trio.current_time()
        served.broken.set()
        await served.closed.wait()
        assert trio.current_time() - start <= 4
        await stuck.ended.wait()


async def test_a_client_that_begins_to_read_when_it_is_sent_away_still_learns_why(autojump_clock, tls):
    async with trio.open_nursery() as nursery:
        stuck = Stuck(tls, nursery)
        await stuck.activate()
        served = await stuck.script.client(0)
        await trio.sleep(1)
        await served.connection.set_error_info(5)
        served.broken.set()
        await trio.sleep(1)
        received = b""
        while data := await stuck.stream.receive_some(65536):
            received += data
        await stuck.near.aclose()
        stuck.machine.receive_data(received)
        codes = []
        while not isinstance(event := stuck.machine.next_event(), NeedData | Paused):
            codes.append(getattr(event, "code", None))
        assert 5 in codes
        await stuck.ended.wait()


async def test_answers_that_nobody_takes_are_bounded(autojump_clock, tls):
    """Shutdown Requests, each of which is answered, by a client that does not read."""
    async with trio.open_nursery() as nursery:
        stuck = Stuck(tls, nursery)
        await stuck.activate()
        served = await stuck.script.client(0)
        await served.at["logon_notify"].wait()
        await trio.sleep(1)
        for _ in range(200):
            stuck.machine.send_shutdown_request()
        flood = stuck.machine.data_to_send()
        with trio.move_on_after(30):
            for _ in range(100):
                await stuck.say(flood)
        assert sum(map(len, stuck.connection._output)) < MAX_UNSENT + 32 * 1024
        nursery.cancel_scope.cancel()


async def test_cancelling_the_listener_in_the_middle_of_a_write_ends_in_time(autojump_clock, tls):
    async with trio.open_nursery() as outer:
        stuck = Stuck(tls, outer)
        await stuck.activate()
        await trio.sleep(1)
        start = trio.current_time()
        outer.cancel_scope.cancel()
    assert trio.current_time() - start <= 4


# What clients say about themselves


@given(
    layout=st.integers(0, 2**32 - 1),
    build=st.integers(0, 2**32 - 1),
    name=st.text(st.characters(exclude_characters="\0", max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=15),
    data=st.data(),
)
def test_whatever_a_client_says_about_itself_fits_the_api(layout, build, name, data):
    core = ClientCoreData(
        desktop_width=1, desktop_height=1, keyboard_layout=layout, client_build=build, client_name=name
    )
    text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=100)
    day = st.builds(SystemTime, **{field.name: st.integers(0, 65535) for field in attrs.fields(SystemTime)})
    zone = st.builds(
        TimeZoneInformation,
        standard_date=day,
        daylight_date=day,
        **{name: st.integers(-(2**31), 2**31 - 1) for name in ("bias", "standard_bias", "daylight_bias")},
    )
    info = ClientInfo(
        flags=data.draw(st.integers(0, 2**32 - 1)) | InfoFlags.INFO_UNICODE,
        domain=data.draw(text),
        user_name=data.draw(text),
        password=data.draw(text),
        alternate_shell=data.draw(text),
        working_dir=data.draw(text),
        client_address_family=2,
        client_address="",
        client_dir=data.draw(text),
        client_time_zone=data.draw(zone),
        client_session_id=data.draw(st.integers(0, 2**32 - 1)),
        performance_flags=data.draw(st.integers(0, 2**32 - 1)),
    )
    peer = (data.draw(st.sampled_from(["127.0.0.1", "2001:db8:1111:2222:3333:4444:5555:6666"])), 65535)
    made = client_data(core, info, width=200, height=200, color_depth=16, peer=peer)
    connection_settings(made)
