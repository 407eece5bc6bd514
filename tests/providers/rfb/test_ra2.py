"""RSA-AES at a listener: who gets in, what is encrypted, and what those pay who mean no good."""

import gc
import secrets
import tracemalloc

import pytest
import trio
import trio.testing

from rdpprov.errors import ConfigurationError
from rdpprov.protocol.events import NEED_DATA, PAUSED
from rdpprov.protocol.rfb.client import RfbClientMachine
from rdpprov.protocol.rfb.events import ServerKeyReceived, StartRecords
from rdpprov.protocol.rfb.handshake import ClientIdentity, SecurityRefusedError
from rdpprov.providers.rfb.options import BY_DEFAULT_WITH_KEY, RSA_AES, RfbListenerOptions
from rdpprov.security.ra2 import RANDOM_SIZE, Ra2Secrets, RecordLayer, fingerprint
from rdpprov.security.ra2_key import FILE_NAME, generated_key
from rdpprov.testing.rfb_client import client_key, connect_rfb
from rdpprov.wire.rfb.encodings import Encoding
from rdpprov.wire.rfb.handshake import SecurityType
from tests.providers.rfb.support import PASSWORD, USER, shows

RA2 = {"security": [SecurityType.RA2], "user": USER, "password": PASSWORD}


class Viewer:
    """A client on a bare stream, which stops where it is told to, and then says anything."""

    def __init__(self, stream, kind):
        self.stream = stream
        ra2 = Ra2Secrets(client_key(), secrets.token_bytes(RANDOM_SIZE), secrets.token_bytes(RANDOM_SIZE))
        self.machine = RfbClientMachine(ClientIdentity((kind,), name=USER, password=PASSWORD, ra2=ra2))
        self.cipher = None

    async def until(self, wanted):
        """Go on until an event of this kind; what there is to be said is said."""
        while True:
            event = self.machine.next_event()
            await self.flush()
            if isinstance(event, wanted):
                return event
            if event is NEED_DATA:
                self.machine.receive_data(bytes(await self.stream.receive_some(4096)))
            elif isinstance(event, ServerKeyReceived):
                self.machine.trust_server()
            assert event is not PAUSED

    async def flush(self):
        data = self.machine.data_to_send()
        if data:
            await self.stream.send_all(data)

    async def is_hung_up_on(self):
        """The server says nothing more."""
        with trio.fail_after(5):
            try:
                return await self.stream.receive_some(1) == b""
            except trio.BrokenResourceError:
                return True


async def send_records(client, say, records_of):
    """Send what is made of all that the client has to say, `say` last, and of the layer that it goes through."""
    async with client._sending:
        say(client.machine)
        records = client._stream
        await records._stream.send_all(records_of(client.machine.data_to_send(), records._layer))


@pytest.mark.parametrize("name", RSA_AES)
@pytest.mark.parametrize("encoding", [Encoding.RAW, Encoding.ZRLE])
async def test_a_picture_comes_through_exactly_and_keys_go_back(serving, name, encoding):
    async with (
        serving([name], size=(1000, 700)) as server,
        connect_rfb(
            "127.0.0.1",
            server.port,
            security=[RSA_AES[name]],
            user=USER,
            password=PASSWORD,
            encodings=(encoding, Encoding.DESKTOP_NAME),
        ) as client,
    ):
        desk = await server.desk()
        for seed in range(3):
            desk.paint(seed)
            await shows(client, desk)
        await client.press(ord("é"))
        assert len(await desk.wait_for_input(2)) == 2
        assert client.name.startswith(USER)


async def test_by_default_rsa_aes_comes_after_tls(state_dir):
    options = RfbListenerOptions.from_mapping("vnc", {"state_dir": str(state_dir)})
    assert options.security == BY_DEFAULT_WITH_KEY == ("vencrypt-x509-plain", "ra2-256", "ra2")
    assert options.server_options.security_types == (SecurityType.VENCRYPT, SecurityType.RA2_256, SecurityType.RA2)
    options.check_address("listener vnc", "0.0.0.0")
    options = RfbListenerOptions.from_mapping("vnc", {"rsa_key": "key.pem"})
    assert options.security == BY_DEFAULT_WITH_KEY
    assert not RfbListenerOptions.from_mapping("vnc", {}).uses_rsa_aes  # there is no place for a key


@pytest.mark.parametrize("name", ["ra2ne", "ra2ne-256"])
def test_what_leaves_the_session_open_is_for_loopback_only(name):
    options = RfbListenerOptions(security=(name,))
    options.check_address("listener vnc", "127.0.0.1")
    with pytest.raises(ConfigurationError, match=f"security {name} on 0.0.0.0, which others can reach"):
        options.check_address("listener vnc", "0.0.0.0")


async def test_the_key_is_kept_and_its_fingerprint_is_logged(serving, state_dir, log):
    seen = []
    for _ in range(2):
        async with serving(["ra2"]) as server, connect_rfb("127.0.0.1", server.port, **RA2) as client:
            seen.append(fingerprint(client.server_key))
    assert seen[0] == seen[1]
    assert [entry["fingerprint"] for entry in log if entry["event"] == "key of RSA-AES"] == seen


async def test_a_key_can_be_given(serving, tmp_path, log):
    generated_key(tmp_path / "elsewhere")
    path = tmp_path / "elsewhere" / FILE_NAME
    async with (
        serving(["ra2"], rsa_key=str(path), state_dir=None) as server,
        connect_rfb("127.0.0.1", server.port, **RA2) as client,
    ):
        assert client.server_key.modulus == generated_key(path.parent).public_key().public_numbers().n


async def test_without_a_place_for_a_key_it_cannot_be_offered(serving):
    with pytest.raises(BaseExceptionGroup) as error:
        async with serving(["ra2"], state_dir=None):
            pass
    assert error.group_contains(ConfigurationError, match="give an 'rsa_key'", depth=None)


async def test_it_says_how_the_user_logged_on(serving, log):
    async with serving(["ra2ne"]) as server:
        with pytest.raises(SecurityRefusedError):
            async with connect_rfb(
                "127.0.0.1", server.port, security=[SecurityType.RA2NE], user=USER, password="wrong"
            ):
                pass
        async with connect_rfb(
            "127.0.0.1", server.port, security=[SecurityType.RA2NE], user=USER, password=PASSWORD
        ) as client:
            await client.first_picture.wait()
    assert {entry["how"] for entry in log if entry["event"] in ("logon refused", "logged on")} == {"ra2"}


# Hostile


async def test_what_is_said_in_clear_after_rsa_aes_ends_one_connection(serving, log):
    async with serving(["ra2"]) as server, connect_rfb("127.0.0.1", server.port, **RA2) as good:
        await good.first_picture.wait()
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            viewer = Viewer(stream, SecurityType.RA2)
            started = await viewer.until(StartRecords)
            layer = RecordLayer(started.cipher)
            layer.receive_records(bytes(await stream.receive_some(100)))
            assert layer.decrypt() == bytes(4)  # SecurityResult
            await stream.send_all(bytes(18))  # a message of nothing, with a tag that anybody can make
            assert await viewer.is_hung_up_on()
        await good.press(ord("a"))
        await (await server.desk()).wait_for_input(2)
    assert (
        "encrypted message"
        in [entry["reason"] for entry in log if entry["event"] == "client dropped before it was known"][-1]
    )
    assert len(server.desks) == 1


@pytest.mark.parametrize("what", ["a changed bit", "the same again"])
async def test_a_session_ends_with_a_message_that_is_not_the_next(serving, log, what):
    def wrong(said, layer):
        message = layer.encrypt(said)
        if what == "the same again":
            return message + message
        return message[:5] + bytes((message[5] ^ 4,)) + message[6:]

    async with (
        serving(["ra2-256"]) as server,
        connect_rfb("127.0.0.1", server.port, security=[SecurityType.RA2_256], user=USER, password=PASSWORD) as client,
    ):
        await client.first_picture.wait()
        await send_records(client, lambda machine: machine.send_pointer(0, 5, 5), wrong)
        with trio.fail_after(5):
            await client.closed.wait()
    [broken] = [entry for entry in log if entry["event"] == "client broke the protocol"]
    assert "tag" in broken["reason"]


async def test_half_a_message_waits_for_its_other_half(serving):
    async with serving(["ra2"]) as server, connect_rfb("127.0.0.1", server.port, **RA2) as client:
        await client.first_picture.wait()
        desk = await server.desk()
        async with client._sending:
            client.machine.send_key(ord("h"), True)
            client.machine.send_key(ord("h"), False)
            records = client._stream
            message = records._layer.encrypt(client.machine.data_to_send())
            await records._stream.send_all(message[:11])
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert desk.input == []
            await records._stream.send_all(message[11:])
        assert len(await desk.wait_for_input(2)) == 2


async def test_a_thousand_tiny_messages_are_as_good_as_one(serving):
    async with serving(["ra2"]) as server, connect_rfb("127.0.0.1", server.port, follow=False, **RA2) as client:
        await client.started.wait()
        desk = await server.desk()

        def type_much(machine):
            for pressed in (True, False) * 200:
                machine.send_key(ord("h"), pressed)

        def bytewise(said, layer):
            return b"".join(layer.encrypt(said[at : at + 1]) for at in range(len(said)))

        await send_records(client, type_much, bytewise)
        assert len(await desk.wait_for_input(400)) == 400


async def test_a_client_in_the_middle_of_the_exchange_costs_little(serving):
    async with serving(["ra2"], half_open_clients=300) as server:
        streams = []
        gc.collect()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(100):
                stream = await trio.open_tcp_stream("127.0.0.1", server.port)
                streams.append(stream)
                await Viewer(stream, SecurityType.RA2).until(ServerKeyReceived)
                await stream.send_all((8192).to_bytes(4, "big") + bytes(2000))  # all but the end of a key
            await trio.testing.wait_all_tasks_blocked(0.01)
            gc.collect()
            taken = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert taken / 100 < 64 * 1024
        with trio.fail_after(5):
            async with connect_rfb("127.0.0.1", server.port, **RA2) as client:
                await client.first_picture.wait()
        for stream in streams:
            await trio.aclose_forcefully(stream)


@pytest.mark.parametrize("bits", [0, 512, 8193, 2**32 - 1])
async def test_a_key_of_an_impossible_size_is_hung_up_on_at_once(serving, bits):
    async with serving(["ra2"]) as server, await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        viewer = Viewer(stream, SecurityType.RA2)
        await viewer.until(ServerKeyReceived)
        await stream.send_all(bits.to_bytes(4, "big"))
        assert await viewer.is_hung_up_on()
    assert not server.trace_files()
