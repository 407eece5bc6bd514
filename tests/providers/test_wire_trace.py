import string

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.api.devices import Rectangle, ScancodeKey
from rdpprov.protocol.rdp.client import ClientOptions
from rdpprov.providers.rdp.wire_trace import WireTrace, _io_data
from rdpprov.providers.wire_trace import MAX_HELD, MAX_HELD_PIECES
from rdpprov.testing.rdp_client import connect_rdp
from rdpprov.wire.rdp.client_info import ClientAutoReconnectPacket, ClientInfo, InfoFlags, TimeZoneInformation
from rdpprov.wire.rdp.mcs import frame_send_data_request
from rdpprov.wire.rdp.security import BasicSecurityHeader, SecurityFlags
from rdpprov.wire.rdp.share import PduType2, ShareDataPdu, unpack_share_pdu
from tests.providers.support import CLIENT, SECRET, Callback, units

MILESTONES = ["x224", "tls", "client_info", "demand_active", "confirm_active", "font_map", "first_frame"]


def joined(served, direction):
    return b"".join(data for way, data in served.wire if way == direction)


async def test_the_milestones_have_their_names_and_times(listening):
    async with listening() as server, connect_rdp("127.0.0.1", server.port, CLIENT) as client:
        await client.first_picture.wait()
        served = await server.script.client(0)
        await client.wait_until(lambda: len(served.milestones) == len(MILESTONES))
    assert [name for name, _ in served.milestones] == MILESTONES
    ages = [ago for _, ago in served.milestones]
    assert ages[0] >= ages[1] >= ages[2] >= 0
    assert ages[3:] == [0, 0, 0, 0]
    assert served.wire == []


@pytest.mark.parametrize("password", ["correct horse battery", "a", "naïve ✓ \U0001f511"])
async def test_no_password_and_no_reconnect_secret_is_in_the_bytes_of_a_whole_session(listening, password):
    verifier = bytes(range(0x80, 0x90))
    options = attrs.evolve(CLIENT, password=password, reconnect_logon_id=3, reconnect_secret=bytes(16))
    async with listening({"traces_wire": True}) as server, connect_rdp("127.0.0.1", server.port, options) as client:
        await client.first_picture.wait()
        await client.wait_until(lambda: client.session_info is not None)
        served = await server.script.client(0)
        credential = await served.connection.get_user_credentials()
        claim = await served.connection.authenticate_client_to_session()
    assert credential.password == password
    assert client.session_info.reconnect_secret in (None, SECRET)
    everything = joined(served, "in") + joined(served, "out")
    assert SECRET not in everything
    assert claim.verifier not in everything
    assert verifier not in everything
    for part in password.split("\0"):
        for encoding in ("utf-16-le", "utf-8"):
            assert len(part) <= 2 or part.encode(encoding) not in everything
    # What was hidden has kept its length: the trace reads as the session did.
    infos = [unit for unit in units(joined(served, "in")) if b"ann".replace(b"", b"\0")[1:] in unit]
    [info] = [ClientInfo.unpack(unit[unit.index(b"\x40\0\0\0") + 4 :]) for unit in infos if b"\x40\0\0\0" in unit]
    assert info.user_name == "ann"
    assert len(info.password.encode("utf-16-le")) <= len(password.encode("utf-16-le"))
    assert set(info.password) == {"\u2a2a"}
    assert info.auto_reconnect.logon_id == 3


async def test_keys_before_logon_notify_are_left_out_and_what_else_comes_is_not(listening):
    """Before Font Map, too: input is legal from Confirm Active on (fact 41)."""
    script = {"traces_wire": True, "until": "connect_notify"}
    async with listening(script) as server:
        for fast in (True, False):
            options = attrs.evolve(CLIENT, fast_path_input=fast)
            async with connect_rdp("127.0.0.1", server.port, options) as client:
                served = await server.script.client(0 if fast else 1)
                await client.wait_until(lambda: client.width > 0)  # Demand Active
                await client.send_input(*[ScancodeKey(0x2A, True)] * 40)
                await client.active.wait()
                await served.at["connect_notify"].wait()
                await client.send_input(*[ScancodeKey(0x1E, True)] * 40)
                client.machine.send_refresh_rect([Rectangle(0, 0, 320, 240)])
                await client.flush()
                await client.wait_until(lambda served=served: len(served.input) >= 40)
                before = joined(served, "in")
                await server.script._logon_notify(served.connection, served)
                count = len(served.input)
                await client.send_input(*[ScancodeKey(0x30, True)] * 5)
                await client.wait_until(lambda served=served, count=count: len(served.input) == count + 5)
                after = joined(served, "in")[len(before) :]
            kinds = [unit[0] for unit in units(before)]
            assert kinds
            assert set(kinds) == {3}  # no fast path
            bodies = [data for unit in units(before) if (data := _io_data(unit)) is not None]
            shares = [unpack_share_pdu(data)[0] for data in bodies[1:]]  # the first is Client Info
            types = [share.pdu_type2 for share in shares if isinstance(share, ShareDataPdu)]
            assert PduType2.PDUTYPE2_FONTLIST in types
            assert PduType2.PDUTYPE2_REFRESH_RECT in types
            assert PduType2.PDUTYPE2_INPUT not in types
            assert after


# The mask alone


texts = st.text(st.characters(min_codepoint=1, max_codepoint=0x24F), max_size=20)


@given(
    domain=texts,
    user=texts,
    password=st.text(string.ascii_letters, min_size=1, max_size=20),
    shell=texts,
    unicode=st.booleans(),
    cookie=st.one_of(st.none(), st.just(b""), st.binary(min_size=16, max_size=16)),
    same=st.booleans(),
    cut=st.integers(1, 200),
)
def test_the_password_is_hidden_wherever_it_stands_and_nothing_else_is(
    domain, user, password, shell, unicode, cookie, same, cut
):
    """Texts that look like it, before and behind it, stay. However the bytes came in."""
    if not unicode:
        domain, user, shell = (text.encode("cp1252", "ignore").decode("cp1252") for text in (domain, user, shell))
    if same:
        shell = password
    extended = {}
    if cookie is not None:
        packed = ClientAutoReconnectPacket(5, cookie).pack() if cookie else b""
        extended = {
            "client_address_family": 2,
            "client_address": "",
            "client_dir": "",
            "client_time_zone": TimeZoneInformation(),
            "client_session_id": 0,
            "performance_flags": 0,
            "auto_reconnect_cookie": packed,
        }
    info = ClientInfo(
        flags=InfoFlags.INFO_UNICODE if unicode else 0,
        code_page=0 if unicode else 1252,
        domain=domain,
        user_name=user,
        password=password,
        alternate_shell=shell,
        **extended,
    )
    header = BasicSecurityHeader(SecurityFlags.SEC_INFO_PKT).pack()
    unit = frame_send_data_request(1004, 1003, header + info.pack())
    trace, callback = WireTrace(now=lambda: 0.0), Callback(None, None, traces_wire=True)
    for start in range(0, len(unit), cut):
        trace.received(unit[start : start + cut])
    trace.attach(callback)
    if len(unit) > MAX_HELD or len(unit) > cut * MAX_HELD_PIECES:
        return
    seen = joined(callback, "in")
    assert len(seen) == len(unit)
    back = ClientInfo.unpack(seen[len(unit) - len(info.pack()) :])
    hidden = "\u2a2a" * len(password) if unicode else "*" * len(password)
    expected = attrs.evolve(info, password=hidden)
    if cookie:
        expected = attrs.evolve(expected, auto_reconnect_cookie=ClientAutoReconnectPacket(5, b"*" * 16).pack())
    assert back == expected


@given(st.binary(max_size=300), st.integers(1, 50))
def test_any_bytes_are_traced_or_not_and_nothing_is_raised(data, cut):
    trace, callback = WireTrace(now=lambda: 0.0), Callback(None, None, traces_wire=True)
    trace.received(data[:cut])
    trace.attach(callback)
    for start in range(cut, len(data), cut):
        trace.received(data[start : start + cut])
    assert len(joined(callback, "in")) <= len(data)


def test_what_is_held_for_nobody_knows_yet_is_bounded():
    trace, callback = WireTrace(now=lambda: 0.0), Callback(None, None, traces_wire=True)
    for _ in range(1000):
        trace.received(b"\x03\x00\x04\x00" + bytes(1020))
        assert sum(len(data) for _, _, data in trace._held) <= MAX_HELD
    trace.attach(callback)
    trace.received(b"\x03\x00\x00\x07\x02\xf0\x80")
    assert callback.wire == []


def test_a_client_that_sends_byte_by_byte_does_not_have_more_held():
    trace, callback = WireTrace(now=lambda: 0.0), Callback(None, None, traces_wire=True)
    for _ in range(MAX_HELD):
        trace.received(b"\x03")
        assert len(trace._held) <= MAX_HELD_PIECES
    trace.attach(callback)
    trace.received(b"\x03\x00\x00\x07\x02\xf0\x80")
    assert callback.wire == []


def test_a_client_hello_that_came_early_is_no_rdp():
    trace, callback = WireTrace(now=lambda: 0.0), Callback(None, None, traces_wire=True)
    request = bytes.fromhex("030000130ee000000000000100080001000000")
    trace.received(request + b"\x16\x03\x01")
    trace.was_not_ours(3)
    trace.attach(callback)
    assert callback.wire == [("in", request)]


def test_a_trace_s_own_words_tell_no_secret():
    trace = WireTrace(now=lambda: 0.0)
    trace.received(b"canary")
    trace.hide(b"canary")
    assert "canary" not in repr(trace)
    assert ClientOptions(password="canary").__repr__().count("canary") == 0
