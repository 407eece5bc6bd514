"""How a viewer gets in, or not: every security type in every version, and what wrong passwords cost."""

import base64
import datetime as dt
import json
import os
import ssl
import struct

import pytest
import trio

from rdpprov.accounts.users_file import UsersFile
from rdpprov.errors import ConfigurationError, RemoteProtocolError
from rdpprov.protocol.rfb.handshake import SecurityRefusedError, Version
from rdpprov.providers.rfb.half_open import REFUSAL_DELAY, VncPassword
from rdpprov.providers.rfb.options import RSA_AES, SUBTYPES, RfbListenerOptions
from rdpprov.security.vnc_auth import vnc_response
from rdpprov.testing.rfb_client import connect_rfb
from rdpprov.wire.rfb.handshake import SecurityType, VencryptSubtype
from tests.providers.rfb.support import LOGGED_ON, PASSWORD, USER, VNC_PASSWORD

VERSIONS = tuple(Version)


def wanted(name):
    """What a client can do that is to use this."""
    plain = {"none": SecurityType.NONE, "vnc": SecurityType.VNC_AUTHENTICATION}
    return (plain | RSA_AES | SUBTYPES)[name]


def asks_for_an_account(name):
    """Whether the client says who it is, so that there is no logon desktop."""
    return name.endswith("plain") or name in RSA_AES


def cases():
    for version in VERSIONS:
        for name in (*SUBTYPES, *RSA_AES, "vnc", "none"):
            if version is not Version.RFB_3_3 or name in ("vnc", "none"):  # 3.3 knows no others
                yield name, version


@pytest.mark.parametrize(("name", "version"), [*cases()])
async def test_a_viewer_gets_in_by_every_security_type_in_every_version(serving, name, version):
    password = PASSWORD if asks_for_an_account(name) else VNC_PASSWORD
    with trio.fail_after(20):
        async with (
            serving([name]) as server,
            connect_rfb(
                "127.0.0.1", server.port, security=[wanted(name)], user=USER, password=password, version=version
            ) as client,
        ):
            await client.first_picture.wait()
            if asks_for_an_account(name):
                await client.wait_for(lambda: client.name.startswith(USER))
                assert (client.width, client.height) == (320, 240)
                assert len(server.desks) == 1
            else:
                assert not server.desks  # the logon desktop asks who it is
                assert (client.width, client.height) == (320, 240)


@pytest.mark.parametrize("name", ["vencrypt-plain", "ra2", "ra2ne-256"])
@pytest.mark.parametrize("version", VERSIONS[1:])
@pytest.mark.parametrize(("user", "password"), [(USER, "wrong"), ("nobody", PASSWORD), ("x" * 255, "y"), ("", "")])
async def test_a_wrong_account_is_refused_late_and_with_the_reason(serving, name, version, user, password):
    async with serving([name, "vencrypt-plain"] if name != "vencrypt-plain" else [name]) as server:
        begun = trio.current_time()
        with pytest.raises(SecurityRefusedError) as refusal:
            async with connect_rfb(
                "127.0.0.1",
                server.port,
                security=[wanted(name)],
                user=user,
                password=password,
                version=version,
            ):
                pass
        assert trio.current_time() - begun >= REFUSAL_DELAY
        expected = "The user name or password is incorrect." if version is Version.RFB_3_8 else ""
        assert refusal.value.reason == expected
        async with connect_rfb("127.0.0.1", server.port, **LOGGED_ON) as client:
            await client.first_picture.wait()


@pytest.mark.parametrize("name", ["vnc", "vencrypt-tls-vnc"])
async def test_a_wrong_vnc_password_is_refused_with_the_reason(serving, name):
    async with serving([name]) as server:
        with pytest.raises(SecurityRefusedError, match="The password is incorrect"):
            async with connect_rfb("127.0.0.1", server.port, security=[wanted(name)], password="guess"):
                pass


@pytest.mark.parametrize("name", ["vencrypt-plain", "ra2"])
async def test_who_has_the_password_of_an_account_that_may_not_log_on_is_told_why(serving, tmp_path, name):
    async def attempt(server, password, reason):
        with pytest.raises(SecurityRefusedError, match=reason):
            async with connect_rfb("127.0.0.1", server.port, security=[wanted(name)], user=USER, password=password):
                pass

    async with serving([name]) as server:
        users = UsersFile(tmp_path / "users")
        users.set_expiry(USER, dt.date(2020, 1, 1))
        await attempt(server, PASSWORD, "This account has expired")
        users.set_disabled(USER, True)
        await attempt(server, PASSWORD, "This account is disabled")
        await attempt(server, "guess", "The user name or password is incorrect")


async def test_who_guesses_the_vnc_password_waits_longer(autojump_clock):
    secret = VncPassword(b"opensesa")
    challenge = bytes(range(16))
    right, wrong = vnc_response(b"opensesa", challenge), bytes(16)
    for _ in range(10):
        begun = trio.current_time()
        assert not await secret.check(challenge, wrong, "192.0.2.1")
        assert trio.current_time() == begun
    assert await secret.check(challenge, right, "192.0.2.1")
    assert trio.current_time() == begun + 2
    begun = trio.current_time()
    assert await secret.check(challenge, right, "192.0.2.2")
    assert trio.current_time() == begun
    assert not await VncPassword(b"").check(challenge, vnc_response(b"", challenge), "192.0.2.3")


async def test_what_a_viewer_says_while_its_password_is_judged_is_kept(serving):
    name, password = USER.encode(), PASSWORD.encode()
    credentials = struct.pack(">2I", len(name), len(password)) + name + password
    async with serving() as server:
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        async with stream:
            await stream.send_all(b"RFB 003.008\n\x13\x00\x02" + struct.pack(">I", VencryptSubtype.PLAIN) + credentials)
            await stream.send_all(b"\x01")  # ClientInit
            heard = b""
            with trio.fail_after(10):
                while struct.pack(">2H", 320, 240) not in heard:
                    heard += await stream.receive_some(4096)


async def test_a_viewer_without_a_common_type_is_told(serving):
    async with serving(["vencrypt-x509-plain"]) as server:
        with pytest.raises(SecurityRefusedError, match=r"wants a viewer that speaks RFB 3\.7"):
            async with connect_rfb("127.0.0.1", server.port, version=Version.RFB_3_3):
                pass
        with pytest.raises(RemoteProtocolError):
            async with connect_rfb("127.0.0.1", server.port, security=[SecurityType.NONE]):
                pass


async def test_what_was_not_offered_lets_nobody_in(serving):
    async with serving(["vnc"]) as server, await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        assert await stream.receive_some(12) == b"RFB 003.008\n"
        await stream.send_all(b"RFB 003.008\n")
        assert await stream.receive_some(100) == b"\x01\x02"
        await stream.send_all(b"\x01\x01")  # None, and at once ClientInit
        assert await stream.receive_some(100) == b""
    assert not server.trace_files()


async def test_the_certificate_is_the_listener_s(serving, state_dir):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(state_dir / "self-signed.pem")
    context.check_hostname = False
    async with (
        serving(["vencrypt-x509-plain"]) as server,
        connect_rfb("127.0.0.1", server.port, user=USER, password=PASSWORD, tls=context) as client,
    ):
        await client.first_picture.wait()


async def test_secrets_are_overwritten_in_the_bytes_of_a_trace(serving):
    async with serving(["vencrypt-plain", "vnc"]) as server:
        async with connect_rfb("127.0.0.1", server.port, **LOGGED_ON) as client:
            await client.first_picture.wait()
            await client.wait_for(lambda: client.name.startswith(USER))
            await client.press(ord("z"))
            await (await server.desk()).wait_for_input(2)
        async with connect_rfb(
            "127.0.0.1", server.port, security=[SecurityType.VNC_AUTHENTICATION], password=VNC_PASSWORD
        ) as client:
            await client.first_picture.wait()
            await client.press(ord("q"))
    wires = []
    for path in server.trace_files():
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        wires.append(b"".join(base64.b64decode(line["data"]) for line in lines if line.get("wire") == "in"))
    plain, vnc = wires
    assert PASSWORD.encode() not in plain
    assert USER.encode() + b"*" * len(PASSWORD) in plain
    assert b"\x04\x01\0\0\0\0\0z" in plain  # a key after the logon
    assert b"*" * 16 in vnc
    assert b"\x04\x01\0\0\0\0\0q" not in vnc  # a key that may be of a password


# What may be configured


def test_options_say_what_is_wrong_with_them(tmp_path):
    def problem(**options):
        with pytest.raises(ConfigurationError) as error:
            RfbListenerOptions.from_mapping("vnc", options)
        return str(error.value)

    assert problem(securty="none") == "listener vnc: unknown key 'securty'; did you mean 'security'?"
    assert "unknown security 'tls', expected vencrypt-x509-plain" in problem(security=["tls"])
    assert "'security' is [], expected a list" in problem(security=[])
    assert "keyboard layout 'dvorak', expected us, uk, de, fr" in problem(keyboard_layout="dvorak")
    assert "'sockets' is 1, expected true or false" in problem(sockets=1)
    assert "'port' is 70000, expected a number from 0 to 65535" in problem(port=70000)
    assert "'send_timeout' is 0, expected seconds" in problem(send_timeout=0)
    assert "'key' is missing" in problem(certificate="a.pem")


def test_options_take_all_that_there_is():
    options = RfbListenerOptions.from_mapping(
        "vnc",
        {"host": "::1", "port": 5901, "security": "vnc,none", "keyboard_layout": "de", "allow_none_anywhere": True},
    )
    assert (options.host, options.port, options.security) == ("::1", 5901, ("vnc", "none"))
    assert (options.keyboard_layout, options.allow_none_anywhere) == (0x407, True)
    assert RfbListenerOptions.from_mapping("web", {"sockets": False}).security == ("vencrypt-plain",)
    assert RfbListenerOptions().security == ("vencrypt-x509-plain",)


@pytest.mark.parametrize("security", ["none", "vnc", "vencrypt-plain"])
def test_what_protects_nothing_is_for_loopback_only(security):
    options = RfbListenerOptions(security=(security,))
    for address in ("127.0.0.1", "127.8.8.8", "::1", "localhost"):
        options.check_address("listener vnc", address)
    for address in ("0.0.0.0", "::", "192.0.2.1", "desk.example"):
        with pytest.raises(ConfigurationError, match=f"security {security} on {address}, which others can reach"):
            options.check_address("listener vnc", address)
        RfbListenerOptions(security=(security,), allow_none_anywhere=True).check_address("listener vnc", address)
    RfbListenerOptions(security=("vencrypt-x509-plain", "vencrypt-x509-vnc")).check_address("listener vnc", "0.0.0.0")


async def test_a_service_does_not_start_where_anybody_could_come_in(serving):
    with pytest.raises(BaseExceptionGroup) as error:
        async with serving(["none"], host="0.0.0.0"):
            pass
    assert error.group_contains(ConfigurationError, match=r"security none on 0\.0\.0\.0", depth=None)


def test_a_vnc_password_file_is_private_and_holds_a_password(tmp_path, vnc_password_file):
    def read(**more):
        return RfbListenerOptions(security=("vnc",), **more).read_vnc_password("listener vnc")

    assert read(vnc_password_file=vnc_password_file) == b"opensesa"
    text = tmp_path / "text"
    text.touch(0o600)
    text.write_text("sesame 1\n")
    assert read(vnc_password_file=text) == b"sesame 1"
    with pytest.raises(ConfigurationError, match="needs 'vnc_password_file'"):
        read()
    text.write_text("")
    with pytest.raises(ConfigurationError, match="no password in it"):
        read(vnc_password_file=text)
    if os.name == "posix":
        text.chmod(0o644)
        with pytest.raises(ConfigurationError, match="0644"):
            read(vnc_password_file=text)
    assert RfbListenerOptions(security=("none",)).read_vnc_password("listener vnc") == b""
