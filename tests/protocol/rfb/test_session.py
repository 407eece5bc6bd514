"""After ServerInit: what each side says, and what the other makes of it."""

import itertools
import tracemalloc
import zlib
from collections import namedtuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdpprov.api.devices import Rectangle
from rdpprov.errors import LocalProtocolError, RemoteProtocolError
from rdpprov.protocol.events import NeedData, Paused
from rdpprov.protocol.rfb import server as server_module
from rdpprov.protocol.rfb.clipboard import HOPELESS_CUT_TEXT, MAX_SENT, OWN_CAPS
from rdpprov.protocol.rfb.events import (
    BellRang,
    ClipboardCapsReceived,
    ClipboardOffered,
    ClipboardRequested,
    ColourMapChanged,
    ContinuousUpdatesChanged,
    ContinuousUpdatesEnded,
    CursorReceived,
    CutTextDropped,
    CutTextReceived,
    DesktopRenamed,
    DesktopResized,
    DesktopSizeRequested,
    EncodingsChanged,
    FenceAnswered,
    FenceRequested,
    KeyReceived,
    LedStateReceived,
    PixelFormatChanged,
    PointerMoved,
    PointerReceived,
    RectangleReceived,
    ServerFeature,
    UpdateBegun,
    UpdateEnded,
    UpdateRequested,
)
from rdpprov.protocol.rfb.framing import SESSION_LIMIT
from rdpprov.protocol.rfb.handshake import ClientState, ServerState
from rdpprov.protocol.rfb.server import MAX_KEPT_ENCODINGS, ServerOptions
from rdpprov.wire.rfb.clipboard import (
    ClipboardAction,
    ClipboardCaps,
    ClipboardFormat,
    ClipboardPeek,
    ClipboardProvide,
    bytes_of,
)
from rdpprov.wire.rfb.encodings import Encoding, Subsampling
from rdpprov.wire.rfb.messages import (
    CLIENT_MESSAGE_NEEDS,
    MAX_ENCODINGS,
    Bell,
    ClientCutText,
    EnableContinuousUpdates,
    EndOfContinuousUpdates,
    Fence,
    FenceFlags,
    FramebufferUpdateRequest,
    KeyEvent,
    PointerEvent,
    QemuKeyEvent,
    SetDesktopSize,
    SetEncodings,
    SetPixelFormat,
)
from rdpprov.wire.rfb.pixel_format import BGRX, COLOUR_MAP, RGB565, RGBX
from rdpprov.wire.rfb.rectangles import (
    EXTENDED_MOUSE_BUTTONS,
    LAST_RECT,
    QEMU_KEY_EVENTS,
    EncodedRectangle,
    cursor,
    desktop_name,
    led_state,
    pointer_position,
)
from rdpprov.wire.rfb.screens import ResizeReason, ResizeStatus, ScreenArea

SCREEN = Rectangle(0, 0, 640, 480)
EVERYTHING = (
    Encoding.ZRLE,
    Encoding.COPY_RECT,
    Encoding.CURSOR,
    Encoding.LED_STATE,
    Encoding.DESKTOP_NAME,
    Encoding.POINTER_POSITION,
    Encoding.EXTENDED_DESKTOP_SIZE,
    Encoding.LAST_RECT,
    Encoding.FENCE,
    Encoding.CONTINUOUS_UPDATES,
    Encoding.QEMU_KEY_EVENT,
    Encoding.EXTENDED_MOUSE_BUTTONS,
    Encoding.EXTENDED_CLIPBOARD,
)
PIXEL = EncodedRectangle(5, 6, 1, 1, Encoding.RAW, b"\x01\x02\x03\x00")


@pytest.fixture
def talk(rfb):
    """A session that has just begun."""
    talk = rfb()
    talk.take()
    return talk


def full(rfb):
    """A session with all that we can do, all of it confirmed."""
    talk = rfb()
    talk.run()
    talk.client.set_encodings(EVERYTHING)
    talk.take()
    talk.server.send_update([])
    talk.take()
    return talk


# Every message, in every state of a client that has named nothing or everything


MESSAGES = [
    SetPixelFormat(RGB565),
    SetEncodings((Encoding.TIGHT,)),
    FramebufferUpdateRequest(True, 0, 0, 1, 1),
    KeyEvent(True, 0x61),
    QemuKeyEvent(True, 0x61, 0x1E),
    PointerEvent(1, 2, 3),
    ClientCutText(b"text"),
    ClientCutText(b"\x08\0\0\x01", True),
    EnableContinuousUpdates(True, 0, 0, 1, 1),
    Fence(FenceFlags.REQUEST, b"x"),
    SetDesktopSize(800, 600, (ScreenArea(0, 0, 0, 800, 600),)),
]


@pytest.mark.parametrize("named", [(), *itertools.combinations(EVERYTHING, 1), EVERYTHING], ids=str)
@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_each_message_is_an_event_or_refused_by_what_the_client_has_named(rfb, message, named):
    talk = rfb()
    talk.run()
    talk.client.set_encodings(named)
    talk.take()
    needed = {CLIENT_MESSAGE_NEEDS.get(type(message))} - {None}
    if isinstance(message, EnableContinuousUpdates):
        needed.add(Encoding.FENCE)
    if isinstance(message, ClientCutText) and message.extended:
        needed.add(Encoding.EXTENDED_CLIPBOARD)
    if needed <= set(named):
        assert len(talk.tell(message.pack())) == 1
        assert talk.server.state is ServerState.ACTIVE
    else:
        talk.refused(lambda: talk.tell(message.pack()))


def test_there_is_a_handler_and_an_example_for_every_message():
    assert {type(message) for message in MESSAGES} == set(server_module._HANDLERS)


@pytest.mark.parametrize("kind", [1, 7, 8, 9, 15, 127, 151, 249, 250, 252, 253, 254])
def test_a_message_that_was_never_offered_ends_the_connection(talk, kind):
    error = talk.refused(lambda: talk.tell(bytes((kind,)) + bytes(40)))
    assert f"type {kind}" in str(error)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
@pytest.mark.parametrize("state", [state for state in ServerState if state is not ServerState.ACTIVE])
def test_no_message_of_a_session_does_harm_before_it(rfb, state, message):
    for way in rfb.WAYS:
        talk = rfb.way(*way)
        try:
            talk.run_until(state)
        except AssertionError:
            continue
        events = []
        try:
            events = talk.tell(message.pack(), act=False)
        except RemoteProtocolError:
            assert talk.server.state is ServerState.ERROR
        assert not any(isinstance(event, KeyReceived | PointerReceived | UpdateRequested) for event in events)


# What a client says


def test_a_client_asks_for_updates(talk):
    talk.client.request_update(incremental=False)
    talk.client.request_update(Rectangle(10, 20, 30, 40))
    assert talk.take()[0] == [UpdateRequested(False, SCREEN), UpdateRequested(True, Rectangle(10, 20, 30, 40))]


@given(*[st.integers(0, 0xFFFF)] * 4)
def test_an_area_is_cropped_to_the_desktop(rfb, x, y, width, height):
    talk = rfb().run()
    (event,) = talk.tell(FramebufferUpdateRequest(True, x, y, width, height).pack())
    area = event.area
    wanted = Rectangle(x, y, x + width, y + height).intersection(SCREEN)
    assert area.is_empty() if wanted.is_empty() else area == wanted
    assert 0 <= area.left <= area.right <= 640
    assert 0 <= area.top <= area.bottom <= 480


def test_keys_come_by_symbol_and_if_agreed_by_place(rfb, talk):
    talk.client.send_key(0x61, True, keycode=0x1E)
    assert talk.take()[0] == [KeyReceived(True, 0x61)]
    talk = full(rfb)
    talk.client.send_key(0x61, False, keycode=0x1E)
    talk.client.send_key(0x01004E2D, True)  # characters of a telephone's keyboard have no place
    assert talk.take()[0] == [KeyReceived(False, 0x61, 0x1E), KeyReceived(True, 0x01004E2D)]


def test_the_pointer_is_inside_the_desktop(talk):
    talk.client.send_pointer(0b101, 639, 479)
    talk.client.send_pointer(0, 65535, 65535)
    assert talk.take()[0] == [PointerReceived(0b101, 639, 479), PointerReceived(0, 639, 479)]


def test_more_buttons_than_seven_need_an_agreement(rfb, talk):
    talk.client.send_pointer(0x181, 1, 2)
    assert talk.take()[0] == [PointerReceived(1, 1, 2)]
    talk = full(rfb)
    talk.client.send_pointer(0x181, 1, 2)
    talk.client.send_pointer(0x001, 1, 2)
    assert talk.take()[0] == [PointerReceived(0x181, 1, 2), PointerReceived(1, 1, 2)]


def test_without_the_agreement_bit_seven_is_the_eighth_button(talk):
    assert talk.tell(bytes.fromhex("058000010002")) == [PointerReceived(0x80, 1, 2)]


def test_from_the_moment_that_it_is_named_bit_seven_means_one_byte_more(talk):
    talk.tell(SetEncodings((Encoding.EXTENDED_MOUSE_BUTTONS,)).pack())
    assert talk.tell(bytes.fromhex("058000010002")) == []
    assert talk.tell(b"\x02") == [PointerReceived(0x100, 1, 2)]
    talk.tell(SetEncodings(()).pack())  # and stays: messages may have crossed
    assert talk.tell(bytes.fromhex("05800001000201")) == [PointerReceived(0x80, 1, 2)]


def test_encodings_are_kept_in_their_order_once_each(talk):
    talk.client.set_encodings([Encoding.ZRLE, -25, Encoding.RAW, -254, Encoding.ZRLE, -30, -250])
    (event,) = talk.take()[0]
    assert event == EncodingsChanged((Encoding.ZRLE, -25, Encoding.RAW, -254, -30, -250))
    server = talk.server
    assert server.encodings == event.encodings
    assert (server.quality_level, server.compression_level, server.fine_quality, server.subsampling) == (
        7,
        2,
        None,
        None,
    )
    assert server.takes(Encoding.ZRLE)
    assert not server.takes(Encoding.TIGHT)
    talk.client.set_encodings([Encoding.TIGHT, -512 + 77, Subsampling.GRAY])
    talk.take()
    assert (server.quality_level, server.compression_level, server.fine_quality) == (None, None, 77)
    assert server.subsampling is Subsampling.GRAY
    assert not server.takes(Encoding.ZRLE)
    assert server.takes(Encoding.RAW)  # always


def test_of_very_many_encodings_the_first_are_kept(talk):
    talk.tell(SetEncodings(tuple(range(1000, 1000 + MAX_ENCODINGS))).pack())
    assert talk.server.encodings == tuple(range(1000, 1000 + MAX_KEPT_ENCODINGS))


def test_a_huge_list_of_encodings_ends_the_connection_before_it_is_there(talk):
    talk.refused(lambda: talk.tell(bytes.fromhex("0200ffff")), "65535 encodings")


@pytest.mark.parametrize("pixel_format", [RGBX, RGB565, COLOUR_MAP])
def test_a_pixel_format_counts_from_now_on(talk, pixel_format):
    talk.client.set_pixel_format(pixel_format)
    assert talk.take()[0] == [PixelFormatChanged(pixel_format)]
    assert talk.server.pixel_format == talk.client.pixel_format == pixel_format


def test_a_pixel_format_that_makes_no_sense_ends_the_connection(talk):
    nonsense = SetPixelFormat(BGRX).pack().replace(b"\0\xff", b"\0\0")
    talk.refused(lambda: talk.tell(nonsense), "red-max 0")


# What a server says on its own


def test_what_a_server_can_do_it_says_as_soon_as_the_client_has(talk):
    talk.client.set_encodings(EVERYTHING)
    talk._client_speaks()
    caps = OWN_CAPS.pack()
    assert talk.server.data_to_send() == (
        b"\x03\0\0\0" + (-len(caps)).to_bytes(4, "big", signed=True) + caps
        + Fence(FenceFlags.REQUEST, b"\0").pack()
        + EndOfContinuousUpdates().pack()
    )  # fmt: skip
    assert talk.server.announcements_due
    talk.server.send_update([])
    assert talk.server.data_to_send() == b"\0\0\0\x02" + QEMU_KEY_EVENTS.pack() + EXTENDED_MOUSE_BUTTONS.pack()
    assert not talk.server.announcements_due
    # A later list repeats nothing but the clipboard's: a stray 150 would send noVNC back to requests for good.
    talk.client.set_encodings(EVERYTHING)
    talk._client_speaks()
    assert talk.server.data_to_send().endswith(caps)
    assert not talk.server.announcements_due


def test_continuous_updates_are_not_offered_without_fences(talk):
    talk.client.set_encodings([Encoding.CONTINUOUS_UPDATES])
    talk._client_speaks()
    assert talk.server.data_to_send() == b""


def test_a_plain_client_hears_nothing_that_it_does_not_know(talk):
    talk.client.set_encodings([Encoding.ZRLE, Encoding.COPY_RECT])
    talk._client_speaks()
    assert talk.server.data_to_send() == b""
    assert not talk.server.announcements_due


# Updates


def test_an_update_arrives_rectangle_by_rectangle(talk):
    talk.client.set_encodings([Encoding.ZRLE])
    talk.take()
    zrle = EncodedRectangle(0, 0, 2, 2, Encoding.ZRLE, b"\0\0\0\x03abc")
    talk.server.send_update([PIXEL, zrle])
    assert talk.take()[1] == [
        UpdateBegun(2),
        RectangleReceived(Rectangle(5, 6, 6, 7), Encoding.RAW, PIXEL.data, BGRX),
        RectangleReceived(Rectangle(0, 0, 2, 2), Encoding.ZRLE, zrle.data, BGRX),
        UpdateEnded(),
    ]


def test_a_rectangle_may_be_anything_that_has_its_fields(talk):
    cheap = namedtuple("cheap", "x y width height encoding data")
    talk.server.send_update([cheap(5, 6, 1, 1, 0, PIXEL.data)])
    assert talk.take()[1][1] == RectangleReceived(Rectangle(5, 6, 6, 7), Encoding.RAW, PIXEL.data, BGRX)
    with pytest.raises(LocalProtocolError):
        talk.server.send_update([cheap(65536, 6, 1, 1, 0, PIXEL.data)])
    talk.server.send_bell()
    assert talk.take()[1] == [BellRang()]  # nothing of the other is queued


def test_an_empty_update_is_one(talk):
    talk.server.send_update([])
    assert talk.take()[1] == [UpdateBegun(0), UpdateEnded()]


def test_an_update_may_end_when_it_ends_and_nothing_gets_inside_it(rfb):
    talk = full(rfb)
    talk.server.begin_update()
    talk.server.send_rectangles([PIXEL])
    talk.server.send_bell()
    talk.server.send_fence(b"1")
    talk.server.send_rectangles([PIXEL])
    for illegal in (talk.server.begin_update, lambda: talk.server.send_update([])):
        with pytest.raises(LocalProtocolError):
            illegal()
    talk.server.end_update()
    picture = RectangleReceived(Rectangle(5, 6, 6, 7), Encoding.RAW, PIXEL.data, BGRX)
    expected = [UpdateBegun(None), picture, picture, UpdateEnded(), BellRang(), FenceRequested(1, b"1")]
    assert talk.take()[1] == expected


def test_what_was_made_for_the_encodings_of_before_may_still_end_its_update(talk):
    made = EncodedRectangle(0, 0, 1, 1, Encoding.HEXTILE, b"\x02" + bytes(4))
    talk.tell(SetEncodings((Encoding.HEXTILE,)).pack())
    talk.tell(SetEncodings((Encoding.ZRLE,)).pack())
    talk.server.send_update([made])
    talk.tell(KeyEvent(True, 0x61).pack())
    with pytest.raises(LocalProtocolError, match="has not named"):
        talk.server.send_update([made])


def test_an_open_end_needs_a_client_that_knows_it(talk):
    for illegal in (talk.server.begin_update, talk.server.end_update, lambda: talk.server.send_rectangles([PIXEL])):
        with pytest.raises(LocalProtocolError):
            illegal()


@pytest.mark.parametrize(
    "rectangle", [QEMU_KEY_EVENTS, LAST_RECT, led_state(1), pointer_position(1, 1)], ids=lambda one: one.encoding.name
)
def test_what_the_client_has_not_named_cannot_be_sent(talk, rectangle):
    with pytest.raises(LocalProtocolError, match="has not named"):
        talk.server.send_update([PIXEL, rectangle])
    assert talk.server.data_to_send() == b""


def test_too_many_rectangles_cannot_be_counted(talk):
    with pytest.raises(LocalProtocolError):
        talk.server.send_update([PIXEL] * 65535)


def test_what_is_no_pixels_arrives_too(rfb):
    talk = full(rfb)
    shape = cursor(1, 2, 3, 4, bytes(48), bytes(4))
    talk.server.send_update([shape, led_state(6), desktop_name("ü"), pointer_position(7, 8)])
    assert talk.take()[1][1:-1] == [
        CursorReceived(1, 2, 3, 4, Encoding.CURSOR, bytes(52), BGRX),
        LedStateReceived(6),
        DesktopRenamed("ü"),
        PointerMoved(7, 8),
    ]


def test_announcements_go_first(rfb):
    talk = rfb().run()
    talk.client.set_encodings(EVERYTHING)
    talk.take()
    talk.server.send_update([led_state(0)])
    assert talk.take()[1] == [
        UpdateBegun(3),
        ServerFeature(Encoding.QEMU_KEY_EVENT),
        ServerFeature(Encoding.EXTENDED_MOUSE_BUTTONS),
        LedStateReceived(0),
        UpdateEnded(),
    ]


# Sizes


def test_a_client_that_knows_only_sizes_gets_only_changes(talk):
    talk.client.set_encodings([Encoding.DESKTOP_SIZE])
    talk.take()
    assert not talk.server.send_desktop_size(640, 480)
    assert talk.server.send_desktop_size(800, 600)
    assert talk.take()[1] == [UpdateBegun(1), DesktopResized(800, 600), UpdateEnded()]
    talk.client.request_update()
    assert talk.take()[0] == [UpdateRequested(True, Rectangle(0, 0, 800, 600))]


def test_a_client_that_knows_no_sizes_keeps_its_own(talk):
    assert not talk.server.send_desktop_size(800, 600)
    talk.client.request_update()
    assert talk.take()[0] == [UpdateRequested(True, SCREEN)]


def test_a_client_may_wish_for_a_size(rfb):
    talk = full(rfb)
    talk.server.send_desktop_size(640, 480)
    one = ScreenArea(0, 0, 0, 640, 480)
    assert talk.take()[1][1] == DesktopResized(640, 480, (one,), ResizeReason.SERVER, ResizeStatus.OK)
    screens = (ScreenArea(9, 0, 0, 500, 600, 7), ScreenArea(3, 500, 0, 300, 600))
    talk.client.set_desktop_size(800, 600, screens)
    assert talk.take()[0] == [DesktopSizeRequested(800, 600, screens)]
    talk.server.send_desktop_size(800, 600, screens, reason=ResizeReason.THIS_CLIENT)
    assert talk.take()[1][1] == DesktopResized(800, 600, screens, ResizeReason.THIS_CLIENT, ResizeStatus.OK)
    assert (talk.client.width, talk.client.height) == (talk.server.width, talk.server.height) == (800, 600)
    assert talk.server.screens == screens


def test_a_wish_that_makes_no_sense_is_told_as_such(rfb):
    talk = full(rfb)
    (event,) = talk.tell(SetDesktopSize(800, 600, ()).pack())
    assert event == DesktopSizeRequested(800, 600, (), "no screen")
    server = talk.server
    server.send_desktop_size(640, 480, reason=ResizeReason.THIS_CLIENT, status=ResizeStatus.INVALID_LAYOUT)
    resized = talk.take()[1][1]
    assert resized.status is ResizeStatus.INVALID_LAYOUT
    assert (talk.client.width, talk.client.height) == (640, 480)


# Colour maps, bells


def test_a_colour_map_goes_only_to_a_client_that_has_one(talk):
    colours = [(0, 0, 0), (65535, 1, 2)]
    with pytest.raises(LocalProtocolError):
        talk.server.send_colour_map(0, colours)
    talk.client.set_pixel_format(COLOUR_MAP)
    talk.take()
    talk.server.send_colour_map(3, colours)
    assert talk.take()[1] == [ColourMapChanged(3, tuple(colours))]


def test_a_bell_rings(talk):
    talk.server.send_bell()
    assert talk.server.data_to_send() == Bell().pack()
    talk.server.send_bell()
    assert talk.take()[1] == [BellRang()]


# Fences and continuous updates


def test_fences_are_answered_by_the_owners(rfb):
    talk = full(rfb)
    assert talk.server.fences
    talk.server.send_fence(b"ping")
    (request,) = talk.take()[1]
    assert request == FenceRequested(FenceFlags.BLOCK_BEFORE, b"ping")
    talk.client.answer_fence(request)
    assert talk.take()[0] == [FenceAnswered(FenceFlags.BLOCK_BEFORE, b"ping")]
    talk.client.send_fence(b"pong", FenceFlags.BLOCK_AFTER)
    (request,) = talk.take()[0]
    talk.server.answer_fence(request)
    assert talk.take()[1] == [FenceAnswered(FenceFlags.BLOCK_AFTER, b"pong")]


def test_unknown_flags_and_long_payloads_of_fences_are_dropped(rfb):
    talk = full(rfb)
    assert talk.tell(Fence(0xFFFFFFF8, b"x").pack()) == [FenceRequested(0, b"x")]
    assert talk.tell(Fence(FenceFlags.REQUEST, bytes(65)).pack()) == []
    assert talk.tell(Fence(FenceFlags.REQUEST, bytes(64)).pack()) == [FenceRequested(0, bytes(64))]


def test_fences_that_cannot_be_sent_are_our_callers_fault(rfb, talk):
    with pytest.raises(LocalProtocolError):
        talk.server.send_fence(b"")
    with pytest.raises(LocalProtocolError):
        full(rfb).server.send_fence(bytes(65))


def test_a_fence_with_sync_next_waits_for_the_next_message(rfb):
    talk = full(rfb)
    fence = Fence(FenceFlags.REQUEST | FenceFlags.SYNC_NEXT, b"f").pack()
    assert talk.tell(fence) == []
    assert talk.tell(SetPixelFormat(RGBX).pack()) == [
        PixelFormatChanged(RGBX),
        FenceRequested(FenceFlags.SYNC_NEXT, b"f"),
    ]
    second = Fence(FenceFlags.REQUEST | FenceFlags.SYNC_NEXT, b"s").pack()
    assert talk.tell(fence + second + KeyEvent(True, 1).pack()) == [
        FenceRequested(FenceFlags.SYNC_NEXT, b"f"),
        KeyReceived(True, 1),
        FenceRequested(FenceFlags.SYNC_NEXT, b"s"),
    ]


def test_a_format_changes_at_the_fence(rfb):
    """Updates on their way when the client asked still have the old format."""
    talk = full(rfb)
    talk.client.set_pixel_format(RGB565)
    talk.server.send_update([PIXEL])  # before the server has read it
    talk._server_speaks()
    assert talk.client_events[1].pixel_format == BGRX
    talk._client_speaks()
    changed, fence = talk.server_events
    assert changed == PixelFormatChanged(RGB565)
    talk.server.answer_fence(fence)
    talk.server.send_update([EncodedRectangle(5, 6, 1, 1, Encoding.RAW, b"\1\2")])
    talk.client_events.clear()
    assert talk.take()[1] == [
        UpdateBegun(1),
        RectangleReceived(Rectangle(5, 6, 6, 7), Encoding.RAW, b"\1\2", RGB565),
        UpdateEnded(),
    ]


def test_continuous_updates_go_on_and_off(rfb):
    talk = full(rfb)
    talk.client.enable_continuous_updates(Rectangle(10, 10, 5000, 5000))
    area = Rectangle(10, 10, 640, 480)
    assert talk.take()[0] == [ContinuousUpdatesChanged(area)]
    assert talk.server.continuous_updates == area
    with pytest.raises(LocalProtocolError):
        talk.server.send_end_of_continuous_updates()
    talk.client.enable_continuous_updates(None)
    assert talk.take() == ([ContinuousUpdatesChanged(None)], [])
    assert talk.server.continuous_updates is None
    talk.server.send_end_of_continuous_updates()
    assert talk.take()[1] == [ContinuousUpdatesEnded()]


def test_continuous_updates_that_were_never_possible_cannot_end(talk):
    with pytest.raises(LocalProtocolError):
        talk.server.send_end_of_continuous_updates()


# Clipboards


def test_without_the_extended_clipboard_it_is_latin_1(talk):
    talk.server.send_clipboard("é ß 中\r\nx")
    talk.client.send_clipboard("ü")
    assert talk.take() == ([CutTextReceived("ü")], [CutTextReceived("é ß ?\nx")])


def test_a_client_without_caps_gets_texts_at_once(rfb):
    """libvncclient sends no caps and ignores notices."""
    talk = full(rfb)
    talk.server.send_clipboard("é ß 中\n")
    assert talk.take()[1] == [CutTextReceived("é ß 中\n")]


def test_a_client_that_wants_notices_is_asked_first(rfb):
    talk = full(rfb)
    talk.client.say_clipboard_caps()
    assert talk.take()[0] == [ClipboardCapsReceived(OWN_CAPS.actions, {ClipboardFormat.TEXT: 0})]
    talk.server.send_clipboard("中")
    assert talk.take()[1] == [ClipboardOffered(ClipboardFormat.TEXT)]
    talk.client.request_clipboard()
    assert talk.take()[0] == [ClipboardRequested(ClipboardFormat.TEXT)]
    talk.server.provide_clipboard("中")
    assert talk.take()[1] == [CutTextReceived("中")]


def test_a_client_offers_and_the_server_asks(rfb):
    talk = full(rfb)
    talk.client.send_clipboard("中")  # the server's caps say: notices
    assert talk.take()[0] == [ClipboardOffered(ClipboardFormat.TEXT)]
    talk.server.request_clipboard()
    assert talk.take()[1] == [ClipboardRequested(ClipboardFormat.TEXT)]
    talk.client.provide_clipboard("中\n")
    assert talk.take()[0] == [CutTextReceived("中\n")]


def test_an_empty_clipboard_offers_nothing(rfb):
    talk = full(rfb)
    talk.server.send_clipboard("")
    assert talk.take()[1] == [ClipboardOffered(0)]


@pytest.mark.parametrize("text", ["", "text"])
def test_who_peeks_is_told_what_there_is(rfb, text):
    talk = full(rfb)
    talk.server.send_clipboard(text)
    talk.take()
    assert talk.tell(ClientCutText(ClipboardPeek().pack(), True).pack()) == []
    assert talk.take()[1] == [ClipboardOffered(ClipboardFormat.TEXT if text else 0)]


def test_a_client_that_takes_neither_gets_latin_1(rfb):
    talk = full(rfb)
    for caps in (ClipboardCaps(0, {ClipboardFormat.TEXT: 100}), ClipboardCaps(ClipboardAction.PROVIDE, {})):
        talk.tell(ClientCutText(caps.pack(), True).pack())
        talk.server.send_clipboard("é中")
        assert talk.take()[1] == [CutTextReceived("é?")]


def test_a_text_that_nobody_takes_is_not_sent(talk):
    talk.server.send_clipboard("x" * (MAX_SENT + 1))
    assert talk.server.data_to_send() == b""


def test_the_extended_clipboard_is_not_spoken_to_who_has_not_named_it(talk):
    with pytest.raises(LocalProtocolError):
        talk.server.provide_clipboard("x")
    talk.server.request_clipboard()
    assert talk.server.data_to_send() == b""


LIMIT = ServerOptions().max_cut_text


def test_a_long_text_is_dropped_as_it_comes_and_the_session_lives(talk):
    assert talk.tell(ClientCutText(bytes(LIMIT)).pack())
    assert talk.tell(b"\x06\0\0\0" + (LIMIT + 1).to_bytes(4, "big")) == [CutTextDropped(LIMIT + 1)]
    for _ in range(LIMIT // 1024):
        assert talk.tell(bytes(1024)) == []
        assert talk.server.trailing_data == b""
    assert talk.tell(b"\0" + KeyEvent(True, 5).pack()) == [KeyReceived(True, 5)]


@pytest.mark.parametrize("length", [HOPELESS_CUT_TEXT + 1, 2**31 - 1, -(2**31), -HOPELESS_CUT_TEXT - 1, -1, -3])
def test_a_text_whose_length_makes_no_sense_ends_the_connection(rfb, length):
    talk = full(rfb)
    talk.refused(lambda: talk.tell(b"\x06\0\0\0" + length.to_bytes(4, "big", signed=True)))


def test_a_gigabyte_of_nothing_is_dropped(rfb):
    talk = full(rfb)
    stream = zlib.compressobj(9)
    bomb = stream.compress((1 << 30).to_bytes(4, "big"))
    for _ in range(100):
        bomb += stream.compress(bytes(1_000_000))
    bomb += stream.flush(zlib.Z_SYNC_FLUSH)
    flags = ClipboardAction.PROVIDE | ClipboardFormat.TEXT
    message = ClientCutText(flags.to_bytes(4, "big") + bomb, True).pack()
    assert len(message) < LIMIT
    tracemalloc.start()
    try:
        (event,) = talk.tell(message)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(event, CutTextDropped)
    assert peak < 2_000_000


def test_a_provide_without_text_is_no_text(rfb):
    talk = full(rfb)
    message = ClientCutText(ClipboardProvide({ClipboardFormat.HTML: b"<b>"}).pack(), True).pack()
    assert isinstance(talk.tell(message)[0], CutTextDropped)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=200))
def test_any_text_arrives(rfb, text):
    talk = full(rfb)
    assert talk.tell(ClientCutText(ClipboardProvide({1: bytes_of(text)}).pack(), True).pack()) == [
        CutTextReceived(text)
    ]


# Cuts, floods, nonsense


@settings(max_examples=50)
@given(st.data())
def test_however_the_bytes_are_cut_the_events_are_the_same(rfb, data):
    def session():
        talk = rfb().run()
        talk.client.set_encodings(EVERYTHING)
        talk.take()
        talk.server.send_update([])
        talk.take()
        talk.server.data_to_send()
        return talk

    said = b"".join(message.pack() for message in MESSAGES)
    said += Fence(FenceFlags.REQUEST | FenceFlags.SYNC_NEXT, b"f").pack() + SetPixelFormat(BGRX).pack()
    said += b"\x06\0\0\0" + (LIMIT + 1).to_bytes(4, "big") + bytes(LIMIT + 1) + PointerEvent(0x101, 1, 1).pack()
    expected = session().tell(said)
    assert len(expected) == len(MESSAGES) + 4
    places = data.draw(st.lists(st.integers(0, 400) | st.integers(0, len(said)), max_size=8))
    talk, found = session(), []
    for start, end in itertools.pairwise(sorted({0, len(said), *places})):
        found += talk.tell(said[start:end])
    assert found == expected


def test_one_byte_at_a_time_is_enough(rfb):
    talk = full(rfb)
    said = b"".join(message.pack() for message in MESSAGES)
    found = [event for byte in rfb.bytewise(said) for event in talk.tell(byte)]
    assert found == full(rfb).tell(said)


def test_half_a_message_waits_and_takes_no_memory(rfb):
    talks = [rfb().run() for _ in range(20)]
    tracemalloc.start()
    try:
        for talk in talks:
            talk.tell(b"\x06\0\0\0" + LIMIT.to_bytes(4, "big") + b"half")
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert grown < 20 * 2048


def test_a_flood_that_nobody_reads_is_bounded(talk):
    for _ in range(20):
        talk.server.receive_data(bytes(64 * 1024))
    assert len(talk.server.trailing_data) <= SESSION_LIMIT
    with pytest.raises(RemoteProtocolError, match="that nobody has read"):
        talk.server.next_event()


@settings(max_examples=100)
@given(st.data())
def test_anything_in_a_session_is_an_event_or_our_error(rfb, data):
    talk = full(rfb)
    kind = data.draw(st.sampled_from([0, 2, 3, 4, 5, 6, 150, 248, 251, 255]) | st.integers(0, 255))
    said = bytes((kind,)) + data.draw(st.binary(max_size=200))
    try:
        talk.tell(said)
    except RemoteProtocolError:
        assert talk.server.state is ServerState.ERROR
    assert len(talk.server.data_to_send()) < 1000


@settings(max_examples=100)
@given(st.data())
def test_a_client_in_a_session_takes_anything_or_raises_our_error(rfb, data):
    talk = full(rfb)
    head = data.draw(
        st.sampled_from([b"\0\0\0\x05", b"\0\0\xff\xff", b"\x01", b"\x03\0\0\0\xff\xff\xff", b"\xf8", b""])
    )
    encoding = data.draw(st.sampled_from(EVERYTHING)).to_bytes(4, "big", signed=True)
    places = data.draw(st.binary(min_size=8, max_size=8) | st.just(b"\0\1\0\1\0\2\0\2"))
    said = head + places + encoding + data.draw(st.binary(max_size=100))
    talk.client.receive_data(said)
    try:
        while not isinstance(talk.client.next_event(), NeedData | Paused):
            continue
    except RemoteProtocolError:
        assert talk.client.state is ClientState.ERROR
        assert talk.client.trailing_data == b""


@pytest.mark.parametrize(
    "rectangle",
    [
        EncodedRectangle(639, 0, 2, 1, Encoding.RAW, bytes(8)),
        EncodedRectangle(0, 479, 1, 2, Encoding.RAW, bytes(8)),
        EncodedRectangle(0, 0, 1, 1, Encoding.TIGHT, b"\x80abc"),  # not named
        EncodedRectangle(0, 0, 65535, 65535, Encoding.RAW),
    ],
    ids=str,
)
def test_a_client_refuses_what_it_did_not_ask_for(talk, rectangle):
    with pytest.raises(RemoteProtocolError):
        talk.tell_client(b"\0\0\0\1" + rectangle.pack())
    assert talk.client.state is ClientState.ERROR


def test_calls_of_a_client_without_session_are_our_callers_fault(rfb):
    client = rfb().client
    for call in (
        lambda: client.request_update(SCREEN),
        lambda: client.set_encodings([]),
        lambda: client.set_pixel_format(BGRX),
        lambda: client.send_key(1, True),
        lambda: client.send_pointer(0, 0, 0),
        lambda: client.send_clipboard(""),
        lambda: client.tls_established(),
    ):
        with pytest.raises(LocalProtocolError):
            call()


def test_a_client_uses_only_what_the_server_has_shown(talk):
    client = talk.client
    for call in (
        lambda: client.send_fence(b""),
        lambda: client.enable_continuous_updates(None),
        lambda: client.set_desktop_size(1, 1),
        lambda: client.set_encodings([Encoding.OPEN_H264]),
    ):
        with pytest.raises(LocalProtocolError):
            call()


def test_after_the_end_output_is_dropped(rfb):
    talk = full(rfb)
    talk.server.close()
    talk.server.send_update([PIXEL])
    talk.server.begin_update()
    talk.server.send_rectangles([PIXEL])
    talk.server.end_update()
    talk.server.send_bell()
    talk.server.send_clipboard("x")
    talk.server.request_clipboard()
    talk.server.provide_clipboard("x")
    talk.server.send_fence(b"")
    talk.server.send_colour_map(0, [])
    talk.server.send_end_of_continuous_updates()
    assert not talk.server.send_desktop_size(1, 1)
    assert talk.server.data_to_send() == b""


def test_a_machine_is_small(rfb):
    rfb().run()
    tracemalloc.start()
    try:
        machines = [full(rfb).server for _ in range(30)]
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held / len(machines) < 24 * 1024
