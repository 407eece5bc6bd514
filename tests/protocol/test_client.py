"""The client's machine against servers that do things that ours does not."""

import struct

import numpy as np
import pytest

from rdpprov.api.devices import DEFAULT_POINTER, HIDDEN_POINTER, PointerMotion, Rectangle
from rdpprov.errors import LocalProtocolError, RemoteProtocolError
from rdpprov.protocol.events import NEED_DATA, PAUSED
from rdpprov.protocol.rdp.activation import server_capabilities
from rdpprov.protocol.rdp.client import CLIENT_SHARE_TRANSITIONS, ClientOptions, ClientState, pointer_shape
from rdpprov.protocol.rdp.events import (
    Activated,
    BitmapsReceived,
    Deactivated,
    DemandActiveReceived,
    ErrorInfoReceived,
    Licensed,
    UpdateIgnored,
)
from rdpprov.protocol.rdp.secure_settings import NEW_LICENSE_REQUEST_PDU, LicenseRefusedError
from rdpprov.protocol.rdp.server import ServerOptions, ServerState
from rdpprov.wire.rdp.bitmap import BitmapData, BitmapUpdate, OrdersUpdate, SynchronizeUpdate, UpdatePdu
from rdpprov.wire.rdp.capabilities import DemandActive
from rdpprov.wire.rdp.fastpath import FastPathOutputPdu, FastPathUpdate
from rdpprov.wire.rdp.finalization import Control, ControlAction, FontMap, Synchronize
from rdpprov.wire.rdp.mcs import frame_send_data_indication, unpack_domain_pdu
from rdpprov.wire.rdp.pointer import CachedPointer, NewPointer, PointerPdu, mask_lengths
from rdpprov.wire.rdp.session import MonitorLayout, PlainNotify, PlaySound, SaveSessionInfo, SetErrorInfo
from rdpprov.wire.rdp.share import DeactivateAll, ShareControlPdu, ShareDataPdu, pack_share_control, pack_share_data

SHARE = 0x103EA
DEMAND = DemandActive(SHARE, server_capabilities(ServerOptions(), 1024, 768, 32))


class Server:
    """A client that is waiting for licensing, and a server that can say anything."""

    def __init__(self, dialogue, options: ClientOptions, server: ServerOptions) -> None:
        talk = dialogue(options, server).run_until(ServerState.LICENSING)
        talk._server_speaks()
        self.client = talk.client
        assert self.client.state is ClientState.LICENSING
        self.client.data_to_send()

    def says(self, data: bytes, channel_id: int = 1003) -> list[object]:
        self.client.receive_data(frame_send_data_indication(1002, channel_id, data))
        return self.events()

    def events(self) -> list[object]:
        events = []
        while (event := self.client.next_event()) not in (NEED_DATA, PAUSED):
            events.append(event)
        return events

    def control(self, body) -> list[object]:
        return self.says(pack_share_control(body))

    def data(self, body) -> list[object]:
        return self.says(pack_share_data(body, share_id=SHARE))

    def licensed(self) -> "Server":
        assert self.says(bytes.fromhex("80000000ff031000070000000200000004000000")) == [Licensed()]
        return self

    def active(self) -> "Server":
        self.licensed().control(DEMAND)
        assert self.data(FontMap()) == [Activated()]
        self.client.data_to_send()
        return self


@pytest.fixture
def server(dialogue):
    return Server(dialogue, ClientOptions(), ServerOptions())


@pytest.fixture
def active(server):
    return server.active()


def test_a_server_may_leave_licensing_out(server):
    (event,) = server.control(DEMAND)
    assert isinstance(event, DemandActiveReceived)
    assert server.client.state is ClientState.FINALIZATION


def test_a_license_alert_may_count_its_header(server):
    assert server.says(bytes.fromhex("80000000ff031400070000000200000004000000")) == [Licensed()]


def test_a_server_may_ask_for_a_license_once(server):
    request = bytes.fromhex("8000000001030c00") + bytes(8)
    assert server.says(request) == []
    assert unpack_domain_pdu(server.client.data_to_send()[7:]).user_data == NEW_LICENSE_REQUEST_PDU
    with pytest.raises(LicenseRefusedError):
        server.says(request)


def test_a_deactivate_all_may_come_before_the_first_demand_active(server):
    server.licensed()
    for pdu in (pack_share_control(DeactivateAll(0)), ShareControlPdu(6, 1002, b"").pack(), b"\x04\x00\x16\x00"):
        assert server.says(pdu) == [Deactivated()]  # facts 42, 43
    assert isinstance(server.control(DEMAND)[0], DemandActiveReceived)


def test_a_font_map_may_be_empty(server):
    server.licensed().control(DEMAND)
    assert server.says(ShareDataPdu(1002, SHARE, 0x28, b"").pack()) == [Activated()]  # fact 42


def test_what_else_comes_before_font_map_is_taken(server):
    server.licensed().control(DEMAND)
    for body in (
        Synchronize(1007),
        Control(ControlAction.CTRLACTION_COOPERATE),
        Control.granted(1007),
        MonitorLayout(),
        PlaySound(1, 2),
    ):
        assert server.data(body) == []
    assert server.data(SetErrorInfo(0)) == [ErrorInfoReceived(0)]
    assert server.data(SaveSessionInfo(PlainNotify()))
    assert server.data(FontMap()) == [Activated()]


@pytest.mark.parametrize("kind", sorted({kind.__name__ for _, kind in CLIENT_SHARE_TRANSITIONS}))
@pytest.mark.parametrize(
    "state",
    [ClientState.LICENSING, ClientState.EXPECT_DEMAND_ACTIVE, ClientState.FINALIZATION, ClientState.ACTIVE],
    ids=lambda state: state.name,
)
def test_each_move_in_each_state_is_in_the_table_or_refused(server, state, kind):
    pdus = {
        DemandActive: pack_share_control(DEMAND),
        DeactivateAll: pack_share_control(DeactivateAll(SHARE)),
        FontMap: pack_share_data(FontMap(), share_id=SHARE),
    }
    body, pdu = next((body, pdu) for body, pdu in pdus.items() if body.__name__ == kind)
    if state is not ClientState.LICENSING:
        server.licensed()
    if state is ClientState.FINALIZATION or state is ClientState.ACTIVE:
        server.control(DEMAND)
    if state is ClientState.ACTIVE:
        server.data(FontMap())
    expected = CLIENT_SHARE_TRANSITIONS.get((state, body))
    if expected is None:
        with pytest.raises(RemoteProtocolError):
            server.says(pdu)
        assert server.client.state is ClientState.ERROR
    else:
        server.says(pdu)
        assert server.client.state is expected


def test_auto_detection_is_answered_in_the_middle_of_licensing(dialogue):
    server = Server(dialogue, ClientOptions(), ServerOptions(message_channel=True))
    channel_id = server.client._mcs.message_channel_id

    def asks(kind: int, more: bytes = b"") -> bytes | None:
        request = struct.pack("<HHBBHH", 0x1000, 0, 6 + len(more), 0, 7, kind) + more
        assert server.says(request, channel_id) == []
        said = server.client.data_to_send()
        return unpack_domain_pdu(said[7:]).user_data if said else None

    assert asks(0x1001) == struct.pack("<HHBBHH", 0x2000, 0, 6, 1, 7, 0)  # fact 28
    assert asks(0x1014) is None
    assert asks(0x0002, b"\x04\x00abcd") is None
    assert asks(0x002B, b"\x02\x00ab") == struct.pack("<HHBBHHII", 0x2000, 0, 14, 1, 7, 3, 1, 22)
    assert asks(0x0840, bytes(8)) is None
    assert server.says(struct.pack("<HHBBBB", 0x4000, 0, 0, 5, 1, 3), channel_id) == []  # heartbeat
    server.licensed()


def bitmap(**changes) -> BitmapData:
    values = {"dest_left": 0, "dest_top": 0, "dest_right": 3, "dest_bottom": 0, "width": 4, "height": 1}
    return BitmapData(**{**values, **changes}, bits_per_pixel=16, bitmap_data_stream=bytes(8))


def test_slow_path_updates_with_several_rectangles_are_taken(active):
    update = BitmapUpdate((bitmap(), bitmap(dest_top=1, dest_bottom=1)))
    (event,) = active.data(UpdatePdu(update))
    assert isinstance(event, BitmapsReceived)
    assert [one.rectangle for one in event.bitmaps] == [Rectangle(0, 0, 4, 1), Rectangle(0, 1, 4, 2)]


def test_orders_and_unknown_updates_are_ignored(active):
    assert active.data(UpdatePdu(OrdersUpdate(1, b"xyz"))) == [UpdateIgnored(0, 11)]
    assert active.data(UpdatePdu(SynchronizeUpdate())) == []
    updates = (
        FastPathUpdate(0, b"\x01\x00x"),
        FastPathUpdate(3, b""),
        FastPathUpdate(4, b"surface"),
        FastPathUpdate(1, b"bulk", compression_flags=0x21),
    )
    active.client.receive_data(FastPathOutputPdu(updates).pack())
    assert active.events() == [UpdateIgnored(0, 3), UpdateIgnored(4, 7), UpdateIgnored(1, 4)]
    assert active.says(ShareDataPdu(1002, SHARE, 0x77, b"new").pack()) == []


def test_a_cached_pointer_that_never_came_is_refused(active):
    with pytest.raises(RemoteProtocolError):
        active.data(PointerPdu(CachedPointer(3)))


def test_a_pointer_beyond_the_cache_is_refused(active):
    with pytest.raises(RemoteProtocolError):
        active.data(PointerPdu(NewPointer(32, 25, 0, 0, 1, 1, bytes(4), bytes(2))))


def test_pointers_of_all_depths_have_a_shape():
    for depth in (4, 8, 16):
        and_size, xor_size = mask_lengths(2, 2, depth)
        pointer = NewPointer(depth, 0, 0, 0, 2, 2, bytes(xor_size), bytes(and_size))
        assert pointer_shape(pointer) is DEFAULT_POINTER
    # 1 bit a pixel: from the top down; white, black, transparent
    pointer = NewPointer(1, 0, 1, 1, 3, 2, b"\x80\x00\x00\x00", b"\x20\x00\xe0\x00")
    expected = [[[255] * 4, [0, 0, 0, 255], [0] * 4], [[0] * 4] * 3]
    assert np.array_equal(pointer_shape(pointer).pixels, np.array(expected, np.uint8))
    # 24 bits: from the bottom up; where the mask says "screen", black is transparent
    pointer = NewPointer(24, 0, 0, 0, 1, 2, b"\x00\x00\x00\x00\x04\x05\x06\x00", b"\x80\x00\x00\x00")
    assert pointer_shape(pointer).pixels.tolist() == [[[4, 5, 6, 255]], [[0, 0, 0, 0]]]
    assert pointer_shape(NewPointer(32, 0, 0, 0, 0, 0, b"", b"")) is HIDDEN_POINTER


def test_the_owner_is_told_when_it_sends_out_of_turn(server):
    for call in (
        lambda: server.client.send_input([PointerMotion(1, 1)]),
        lambda: server.client.send_refresh_rect([]),
        lambda: server.client.send_suppress_output(None),
        server.client.send_shutdown_request,
        server.client.tls_established,
    ):
        with pytest.raises(LocalProtocolError):
            call()
    assert server.client.data_to_send() == b""


def test_a_client_that_leaves_early_has_nobody_to_tell(dialogue):
    talk = dialogue()
    talk.client.data_to_send()
    talk.client.disconnect()
    assert talk.client.data_to_send() == b""
    assert talk.client.state is ClientState.DISCONNECTED


def test_a_redirection_is_refused_with_its_name(active):
    with pytest.raises(RemoteProtocolError, match="pduType A"):
        active.says(ShareControlPdu(0xA, 1002, bytes(8)).pack())
