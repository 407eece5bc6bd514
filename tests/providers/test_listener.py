import os
import resource
from contextlib import suppress

import pytest
import trio

from rdpprov.errors import ConfigurationError
from rdpprov.providers.rdp.listener import RdpListener
from rdpprov.providers.rdp.options import RdpListenerOptions
from rdpprov.testing.rdp_client import connect_rdp
from tests.providers.support import CLIENT, stopped_before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"prot": 3389}, "listener desk: unknown key 'prot'; did you mean 'port'?"),
        ({"port": 65536}, "listener desk: 'port' is 65536, expected a number from 0 to 65535"),
        ({"port": True}, "'port' is True"),
        ({"half_open_clients": 0}, "expected a number from 1 to 65535"),
        ({"host": ""}, "'host' is '', expected text"),
        ({"send_timeout": float("inf")}, "expected seconds, more than 0"),
        ({"negotiation_timeout": 0}, "expected seconds, more than 0"),
        ({"certificate": "c.pem"}, "'key' is missing"),
        ({"key": "c.pem"}, "'certificate' is missing"),
        ({"security": "nla"}, "security 'nla' is not built yet"),
        ({"security": ["tls", "x"]}, "unknown security 'x'"),
        ({"security": []}, "expected a list of tls"),
    ],
)
def test_a_wrong_option_is_named_with_its_listener(options, said):
    with pytest.raises(ConfigurationError) as caught:
        RdpListenerOptions.from_mapping("desk", options)
    assert said in str(caught.value)
    assert str(caught.value).startswith("listener desk")


def test_right_options_are_taken_and_absent_ones_have_their_default():
    options = RdpListenerOptions.from_mapping("desk", {"port": 0, "security": "tls", "certificate": None})
    assert (options.port, options.security, options.host) == (0, ("tls",), "127.0.0.1")


def test_without_a_certificate_there_must_be_a_place_to_keep_one():
    with pytest.raises(ConfigurationError, match="listener desk: give a 'certificate'"):
        RdpListener("desk", RdpListenerOptions())


async def test_an_address_that_is_taken_is_an_os_error_before_the_start(listening, state_dir):
    async with listening() as server, trio.open_nursery() as nursery:
        again = RdpListener("again", RdpListenerOptions(port=server.port, state_dir=state_dir))
        with pytest.raises(OSError, match="in use"):
            await nursery.start(again.start_listen, server.script)


async def test_out_of_descriptors_the_silent_make_room_for_others(listening, log):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with listening() as server, trio.open_nursery() as nursery:
        idle, taken = [], []

        async def hold():
            async with stopped_before(server.port, "Connection Request") as client:
                idle.append(client)
                await trio.sleep_forever()

        for _ in range(20):
            nursery.start_soon(hold)
        await trio.testing.wait_all_tasks_blocked(0.1)
        assert len(idle) == 20
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, hard))
            with suppress(OSError):
                while True:
                    taken.append(os.dup(0))
            os.close(taken.pop())  # room for the next client's own end, and for nobody's at the server's
            with trio.fail_after(5):
                async with connect_rdp("127.0.0.1", server.port, CLIENT) as client:
                    await client.active.wait()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for descriptor in taken:
                os.close(descriptor)
        nursery.cancel_scope.cancel()
    assert sum(entry["event"] == "cannot accept clients" for entry in log) == 1
    assert any("crowded out" in entry.get("reason", "") for entry in log)
