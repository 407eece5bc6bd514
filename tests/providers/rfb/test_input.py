"""What a user does at a viewer, and what a desktop gets of it."""

import base64
import json

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

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
from rdpprov.protocol.rfb.events import KeyReceived, PointerReceived
from rdpprov.providers.rfb import keysyms
from rdpprov.providers.rfb.input import MAX_HELD, RfbInputDevices
from rdpprov.sessions.keyboard import EditKey, Keyboard
from rdpprov.sessions.layouts import DE, FR, LAYOUTS, UK, US
from rdpprov.testing.rfb_client import connect_rfb
from rdpprov.wire.rfb.encodings import Encoding
from tests.providers.rfb.support import LOGGED_ON

SHIFT, CONTROL, ALT, ALT_GR = keysyms.SHIFT_L, keysyms.CONTROL_L, keysyms.ALT_L, keysyms.LEVEL3_SHIFT


class Typist:
    """A viewer's keys, and a session's keyboard behind them."""

    def __init__(self, layout=US, *, shows_leds=False):
        self.devices = RfbInputDevices(layout.identifier)
        self.devices.obeys_locks = shows_leds
        self.events = []
        self.typed = []
        self.keyboard = Keyboard(layout.identifier)
        self.devices.plug(self)
        self.events.clear()

    def input_event(self, event):
        self.events.append(event)
        self.typed += self.keyboard.press(event)

    def down(self, keysym, keycode=None):
        self.devices.key(KeyReceived(True, keysym, keycode))
        return self

    def up(self, keysym, keycode=None):
        self.devices.key(KeyReceived(False, keysym, keycode))
        return self

    def press(self, *keys):
        for key in keys:
            keysym = keysyms.keysym_of(key) if isinstance(key, str) else key
            self.down(keysym).up(keysym)
        return self

    @property
    def held(self):
        """Keys that went down and not up, at the desktop."""
        down = {}
        for event in self.events:
            if isinstance(event, ScancodeKey):
                down[event.scancode, event.extended, event.extended1] = event.pressed
            elif isinstance(event, UnicodeKey):
                down[event.text] = event.pressed
        return [key for key, pressed in down.items() if pressed]


async def typist(*args, **options):
    return Typist(*args, **options)


@pytest.mark.parametrize("layout", [US, UK, DE, FR], ids=lambda layout: layout.name)
@pytest.mark.parametrize("text", ["hello World 123", 'a!@#$%^&*()_+{}|:"<>?~`\\', "é ß 中 € Ж ω א ก か 한 ñ Å", "😀𝄞"])
async def test_text_arrives_as_it_is_on_the_viewer_s_keys_whatever_the_session_s_layout(layout, text):
    keys = Typist(layout).press(*text)
    assert keys.typed == list(text)
    assert keys.held == []


@pytest.mark.parametrize("layout", [US, UK, DE, FR], ids=lambda layout: layout.name)
async def test_modifiers_that_are_held_do_not_change_what_a_keysym_is(layout):
    keys = Typist(layout).down(SHIFT).press(*"aA/7ß").up(SHIFT).press(*"aA")
    assert keys.typed == list("aA/7ßaA")
    if layout.has_alt_gr:
        keys = Typist(layout).down(ALT_GR).press(*"@€a{").up(ALT_GR)
        assert keys.typed == list("@€a{")
    assert keys.held == []


async def test_what_the_layout_has_goes_by_its_place():
    keys = Typist(US).press("a")
    assert keys.events == [ScancodeKey(0x1E, True), ScancodeKey(0x1E, False)]
    keys = Typist(US).down(SHIFT).press("A").up(SHIFT)
    assert keys.events[1:3] == [ScancodeKey(0x1E, True), ScancodeKey(0x1E, False)]
    keys = Typist(US).press("A")  # a phone's keyboard has no Shift to press
    assert keys.events == [UnicodeKey("A", True), UnicodeKey("A", False)]
    assert Typist(DE).press("z").events[0] == ScancodeKey(0x15, True)
    assert Typist(FR).press("a").events[0] == ScancodeKey(0x10, True)
    # A dead key of the layout makes nothing by itself.
    assert Typist(DE).press("^").typed == ["^"]


async def test_shortcuts_go_by_their_place():
    keys = Typist(US).down(CONTROL).press("c").up(CONTROL)
    assert keys.events == [
        ScancodeKey(0x1D, True),
        ScancodeKey(0x2E, True),
        ScancodeKey(0x2E, False),
        ScancodeKey(0x1D, False),
    ]
    keys = Typist(US).down(ALT).press(0xFFC1).up(ALT)  # Alt+F4
    assert keys.events[1] == ScancodeKey(0x3E, True)
    keys = Typist(US).down(CONTROL).down(ALT).press(0xFFFF)
    assert keys.events[2] == ScancodeKey(0x53, True, extended=True)
    keys = Typist(US).down(CONTROL).down(SHIFT).press("T")
    assert keys.events[2] == ScancodeKey(0x14, True)
    assert Typist(US).down(CONTROL).press("é").events[1] == UnicodeKey("é", True)
    keys = Typist(DE).down(CONTROL).down(ALT).press("@")  # AltGr, as Windows's viewers send it
    assert keys.typed == ["@"]


async def test_a_viewer_that_says_where_a_key_is_types_what_it_says_the_key_makes():
    keys = Typist(US).down(ord("a"), 0x1E).up(ord("a"), 0x1E)
    assert keys.events[0] == ScancodeKey(0x1E, True)
    keys = Typist(US).down(ord("z"), 0x15).up(ord("z"), 0x15)  # a German viewer
    assert keys.typed == ["z"]
    keys = Typist(US).down(0xE9, 0x28).up(0xE9, 0x28)
    assert keys.typed == ["é"]
    keys = Typist(US).down(0, 0x1E).up(0, 0x1E)
    assert keys.typed == ["a"]
    keys = Typist(US).down(ord("x"), 0).up(ord("x"), 0)  # a key that is nowhere
    assert keys.typed == ["x"]
    keys = Typist(US).down(0xFF51, 0xCB).up(0xFF51, 0xCB)
    assert keys.events[0] == ScancodeKey(0x4B, True, extended=True)
    keys = Typist(US).down(0xFF61, 0x54).up(0xFF61, 0x54)
    assert keys.events[0] == ScancodeKey(0x37, True, extended=True)


async def test_keys_that_make_no_character_do_what_they_do():
    edits = {
        0xFF08: EditKey.BACKSPACE,
        0xFF09: EditKey.TAB,
        0xFF0D: EditKey.ENTER,
        0xFF8D: EditKey.ENTER,
        0xFF1B: EditKey.ESCAPE,
        0xFFFF: EditKey.DELETE,
        0xFF9F: EditKey.DELETE,
        0xFF51: EditKey.LEFT,
        0xFF52: EditKey.UP,
        0xFF53: EditKey.RIGHT,
        0xFF54: EditKey.DOWN,
        0xFF50: EditKey.HOME,
        0xFF95: EditKey.HOME,
        0xFF57: EditKey.END,
        keysyms.LEFT_TAB: EditKey.BACK_TAB,
    }
    for keysym, edit in edits.items():
        keys = Typist(US).press(keysym)
        assert keys.typed == [edit], hex(keysym)
        assert keys.held == []
    assert Typist(US).press(0xFFB7, 0xFFAE, 0xFFAA, 0xFFAF, 0xFFAB, 0xFFAD).typed == list("7.*/+-")
    assert Typist(DE).press(0xFFAE).typed == [","]
    pause = Typist(US).press(keysyms.PAUSE)
    assert pause.events[0] == ScancodeKey(0x1D, True, extended1=True)
    assert pause.held == []
    assert not pause.keyboard.num_lock
    assert not pause.devices.leds


async def test_dead_keys_wait_for_what_follows():
    acute, grave, diaeresis, circumflex = 0xFE51, 0xFE50, 0xFE57, 0xFE52
    assert Typist().press(acute, "e").typed == ["é"]
    assert Typist().press(diaeresis).down(SHIFT).press("U").up(SHIFT).typed == ["Ü"]
    assert Typist().press(circumflex, " ").typed == ["^"]
    assert Typist().press(acute, acute, "a").typed == ["´", "a"]
    assert Typist().press(acute, grave, "a").typed == ["´", "à"]
    assert Typist().press(grave, "x").typed == ["`", "x"]
    assert Typist().press(acute, 0xFF08, "e").typed == ["e"]
    for keys in (Typist().press(acute, "e"), Typist().press(grave, "x")):
        assert keys.held == []


async def test_lock_keys_count_only_for_a_viewer_that_sees_their_lights():
    blind = Typist().press(keysyms.CAPS_LOCK, "A", "b")
    assert blind.typed == ["A", "b"]
    assert blind.devices.leds == 0
    seeing = Typist(shows_leds=True).press(keysyms.CAPS_LOCK)
    assert seeing.devices.leds == 4
    assert seeing.keyboard.caps_lock
    assert seeing.press("A", "b").typed == ["A", "b"]
    assert ScancodeKey(0x1E, True) in seeing.events
    assert seeing.press(keysyms.CAPS_LOCK, keysyms.NUM_LOCK).devices.leds == 2
    again = []
    seeing.devices.plug(type("Sink", (), {"input_event": staticmethod(again.append)}))
    assert again == [LockKeys(scroll=False, num=True, caps=False, kana=False)]


async def test_repeats_releases_and_lost_releases():
    keys = Typist().down(ord("a")).down(ord("a")).up(ord("a")).up(ord("a")).up(ord("b"))
    assert keys.typed == ["a", "a"]
    assert [event.pressed for event in keys.events] == [True, True, False]
    # The release says what the key would make now; its place says which key it is.
    keys = Typist().down(ord("a"), 0x1E).down(SHIFT, 0x2A).up(ord("A"), 0x1E).up(SHIFT, 0x2A)
    assert keys.held == []
    keys = Typist()
    for number in range(2 * MAX_HELD):
        keys.down(keysyms.UNICODE + 0x4E00 + number)
    assert len(keys.held) == MAX_HELD


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 0xFFFFFFFF), st.none() | st.integers(0, 0xFFFFFFFF))))
def test_any_keys_become_events_that_exist(keys):
    async def main():
        for layout in LAYOUTS.values():
            typist = Typist(layout, shows_leds=True)
            for pressed, keysym, keycode in keys:
                typist.devices.key(KeyReceived(pressed, keysym, keycode))
            for event in typist.events:
                match event:
                    case ScancodeKey(scancode=scancode):
                        assert 0 < scancode <= 0x7F or not scancode
                    case UnicodeKey(text=text):
                        assert len(text) == 1
            for pressed, keysym, keycode in keys:
                if pressed:
                    typist.devices.key(KeyReceived(False, keysym, keycode))
            assert typist.held == []

    trio.run(main)


@given(st.integers(0, 0xFFFFFFFF))
def test_any_keysym_is_one_character_or_none(keysym):
    assert len(keysyms.character(keysym)) <= 1


def test_keysyms_of_the_eight_bit_alphabets():
    expected = {
        0x1A1: "Ą",
        0x1EF: "ď",
        0x2A1: "Ħ",
        0x3BF: "ŋ",
        0x4B1: "ア",
        0x4DE: "゛",
        0x5C7: "ا",
        0x6A4: "є",
        0x6C1: "а",
        0x6E1: "А",
        0x6F0: "П",
        0x7C1: "Α",
        0x7F9: "ω",
        0x7F3: "ς",
        0xCE0: "א",
        0xDA1: "ก",
        0xEA1: "ㄱ",
        0xED3: "ㅣ",
        0x13BC: "Œ",
        0x20AC: "€",
        0x1004E2D: "中",
        0x101F600: "😀",
        0x10000E9: "é",
        0xFFB5: "5",
        0xAA9: "—",
    }
    assert {keysym: keysyms.character(keysym) for keysym in expected} == expected
    for nothing in (0, 7, 0x7F, 0x100D800, 0x1110000, 0xFF0D, 0x7A6, 0x7D3, 0xFFFFFFFF):
        assert keysyms.character(nothing) == ""


# The mouse


async def test_buttons_and_both_wheels():
    keys = Typist()
    bits = [(1, Button.LEFT), (2, Button.MIDDLE), (4, Button.RIGHT), (0x80, Button.X1), (0x100, Button.X2)]
    for bit, button in bits:
        keys.events.clear()
        keys.devices.pointer(PointerReceived(bit, 10, 20))
        keys.devices.pointer(PointerReceived(0, 11, 21))
        assert keys.events == [
            PointerMotion(10, 20),
            PointerButton(button, True, 10, 20),
            PointerMotion(11, 21),
            PointerButton(button, False, 11, 21),
        ]
    wheels = [
        (8, WheelAxis.VERTICAL, 120),
        (16, WheelAxis.VERTICAL, -120),
        (32, WheelAxis.HORIZONTAL, -120),
        (64, WheelAxis.HORIZONTAL, 120),
    ]
    keys.devices.pointer(PointerReceived(1, 5, 5))
    for bit, axis, rotation in wheels:
        keys.events.clear()
        keys.devices.pointer(PointerReceived(1 | bit, 5, 5))
        keys.devices.pointer(PointerReceived(1, 5, 5))
        assert keys.events == [PointerMotion(5, 5), PointerWheel(axis, rotation, 5, 5), PointerMotion(5, 5)]


# The whole way


async def test_input_reaches_the_desktop_and_is_counted(serving):
    async with serving() as server, connect_rfb("127.0.0.1", server.port, **LOGGED_ON) as client:
        desk = await server.desk()
        await client.first_picture.wait()
        assert Encoding.QEMU_KEY_EVENT in client.machine.features
        await client.press(ord("a"), 0x1E)
        await client.press(0xDF)
        await client.press(keysyms.UNICODE + ord("中"))
        await client.point(5000, 6000, 0x100)  # clamped
        assert await desk.wait_for_input(8) == [
            ScancodeKey(0x1E, True),
            ScancodeKey(0x1E, False),
            UnicodeKey("ß", True),
            UnicodeKey("ß", False),
            UnicodeKey("中", True),
            UnicodeKey("中", False),
            PointerMotion(319, 239),
            PointerButton(Button.X2, True, 319, 239),
        ]
        await client.press(keysyms.CAPS_LOCK, 0x3A)
        await client.wait_for(lambda: client.leds == 4)
        [connection] = [callback.connection for callback in server.manager._context.connections.values()]
        status = await connection.get_protocol_status()
        assert status.input.bytes > 100
        assert status.output.bytes > 1000
        assert status.output.wd_frames >= 1
        assert await connection.get_last_input_time() < 5000


async def test_what_is_held_when_the_viewer_goes_is_released(serving):
    async with serving() as server:
        async with connect_rfb("127.0.0.1", server.port, **LOGGED_ON) as client:
            desk = await server.desk()
            await client.first_picture.wait()
            await client.key(ord("a"), True)
            await client.key(0xE9, True)
            await client.point(7, 8, 1)
            await desk.wait_for_input(4)
        events = await desk.wait_for_input(7)
        assert events[4:] == [
            ScancodeKey(0x1E, False),
            UnicodeKey("é", False),
            PointerButton(Button.LEFT, False, 7, 8),
        ]


async def test_the_logon_desktop_is_filled_in_with_keys(serving):
    async with serving(["none"]) as server, connect_rfb("127.0.0.1", server.port) as client:
        await client.first_picture.wait()
        for letter in "ann":
            await client.press(ord(letter))
        await client.press(0xFF09)
        for letter in "correct horse":
            await client.press(ord(letter))
        await client.press(0xFF0D)
        desk = await server.desk()
        desk.paint(3)
        with trio.fail_after(10):
            await client.wait_for(lambda: client.name.startswith("ann on "))
            await client.wait_for(lambda: (client.picture[..., :3] == desk.pixels).all())


@pytest.mark.parametrize("pseudo", [(), (Encoding.EXTENDED_CLIPBOARD,)])
async def test_the_clipboard_is_taken_and_dropped_with_one_word_and_is_in_no_trace(serving, log, pseudo):
    async with (
        serving() as server,
        connect_rfb("127.0.0.1", server.port, encodings=(Encoding.RAW, *pseudo), **LOGGED_ON) as client,
    ):
        desk = await server.desk()
        await client.first_picture.wait()
        for _ in range(3):
            client.machine.send_clipboard("some text")
        client.machine.send_clipboard("secret " * 100_000)  # more than is taken
        await client.flush()
        await client.press(ord("a"))
        await desk.wait_for_input(2)
    assert len([entry for entry in log if entry["event"].startswith("client's clipboard")]) == 1
    lines = [json.loads(line) for line in server.trace_files()[0].read_text().splitlines()]
    said = b"".join(base64.b64decode(line["data"]) for line in lines if line.get("wire") == "in")
    assert bool(pseudo) or b"*" * 1000 in said  # with the extended one it is only offered
    assert b"secret" not in said
    assert b"some text" not in said
