"""The boundary between a desktop and a provider's devices: what is pressed is released, what is unplugged is dead."""

from hypothesis import given
from hypothesis import strategies as st

from rdpprov.api.devices import (
    Button,
    LockKeys,
    PointerButton,
    PointerMotion,
    PointerWheel,
    Rectangle,
    ScancodeKey,
    UnicodeKey,
    WheelAxis,
)
from rdpprov.rcm.attachment import Attachment, PluggedScreen, PressedInput
from rdpprov.sessions.memory import MemoryDesktop
from rdpprov.testing.scripted import ScriptedInput, ScriptedVideo

PLACES = st.integers(0, 3)
EVENTS = st.one_of(
    st.builds(ScancodeKey, PLACES, st.booleans(), st.booleans(), st.booleans()),
    st.builds(UnicodeKey, st.sampled_from("ab"), st.booleans()),
    st.builds(PointerButton, st.sampled_from(Button), st.booleans(), PLACES, PLACES),
    st.builds(PointerMotion, PLACES, PLACES),
    st.builds(PointerWheel, st.sampled_from(WheelAxis), st.just(120), PLACES, PLACES),
    st.builds(LockKeys, st.booleans(), st.booleans(), st.booleans(), st.booleans()),
)


class Events:
    """A desktop's end of the input."""

    def __init__(self):
        self.events = []

    def input_event(self, event):
        self.events.append(event)

    def held(self):
        """What is down after all that came."""
        down = set()
        for event in self.events:
            match event:
                case ScancodeKey():
                    key = (event.scancode, event.extended, event.extended1)
                case UnicodeKey():
                    key = event.text
                case PointerButton():
                    key = event.button
                case _:
                    continue
            (down.add if event.pressed else down.discard)(key)
        return down


@given(st.lists(EVENTS))
def test_whatever_was_pressed_is_up_after_the_end_and_nothing_follows(events):
    desktop, failures = Events(), []
    sink = PressedInput(desktop, failures.append)
    for event in events:
        sink.input_event(event)
    passed = [event for event in desktop.events if event in events]
    assert [event for event in events if event in passed] == events
    where = [event for event in events if isinstance(event, PointerButton | PointerMotion | PointerWheel)]
    before = len(desktop.events)
    sink.release_all()
    assert desktop.held() == set()
    released = [event for event in desktop.events[before:] if isinstance(event, PointerButton)]
    assert all((event.x, event.y) == (where[-1].x, where[-1].y) for event in released)
    count = len(desktop.events)
    sink.input_event(ScancodeKey(1, True))
    sink.release_all()
    assert len(desktop.events) == count
    assert failures == []


def test_a_screen_passes_everything_on_while_it_is_plugged():
    desktop, damages = MemoryDesktop(300, 200), []
    screen = PluggedScreen(desktop, lambda: damages.append(1))
    assert (screen.width, screen.height) == (300, 200)
    assert screen.take_damage() == [Rectangle(0, 0, 300, 200)]
    with desktop.draw(Rectangle(0, 0, 2, 1)) as pixels:
        pixels[...] = 7
    assert damages == [1]
    part = Rectangle(0, 0, 4, 1)
    assert screen.take_damage() == [Rectangle(0, 0, 2, 1)]
    grabbed = screen.grab(part)
    assert grabbed[0, :, 0].tolist() == [7, 7, 0, 0]
    screen.take_pointer()
    assert screen.take_pointer_position() is None
    screen.close()
    screen.close()
    assert screen.take_pointer() is None
    grabbed[...] = 9
    assert screen.grab(part, grabbed) is grabbed
    assert not grabbed.any()
    with desktop.draw(Rectangle(0, 0, 2, 1)) as pixels:
        pixels[...] = 8
    assert damages == [1]
    assert (screen.width, screen.height) == (300, 200)


def test_a_redraw_is_clipped_to_the_screen():
    desktop = MemoryDesktop(300, 200)
    screen = PluggedScreen(desktop, lambda: None)
    screen.take_damage()
    screen.redraw(Rectangle(-5, 190, 10, 400))
    screen.redraw(Rectangle(500, 0, 600, 10))
    assert screen.take_damage() == [Rectangle(0, 190, 10, 200)]
    assert list(screen.take_damage()) == []


def test_an_attachment_without_devices_does_nothing():
    failures = []
    attachment = Attachment(None, None, failures.append)
    attachment.stop_updates()
    attachment.redraw(None)
    attachment.plug(MemoryDesktop(300, 200), failures.append)
    attachment.unplug()
    assert not attachment.can_be_asked
    assert failures == []


def test_a_device_that_raises_when_it_is_unplugged_is_unplugged_all_the_same():
    failures, video = [], ScriptedVideo()
    video.fails = "unplug"
    attachment = Attachment(video, None, failures.append)
    attachment.plug(MemoryDesktop(300, 200), failures.append)
    screen = video.screen
    attachment.unplug()
    assert [type(error) for error in failures] == [ZeroDivisionError]
    assert not screen.grab(Rectangle(0, 0, 1, 1)).any()


def test_a_second_desktop_takes_the_place_of_the_first_which_is_left_with_nothing_pressed():
    video, inputs, failures = ScriptedVideo(), ScriptedInput(), []
    attachment = Attachment(video, inputs, failures.append)
    first, second = Events(), Events()
    desktops = [MemoryDesktop(200, 200, on_input=events.input_event) for events in (first, second)]
    attachment.plug(desktops[0], failures.append)
    inputs.send(ScancodeKey(0x1E, True))
    attachment.plug(desktops[1], failures.append)
    inputs.send(ScancodeKey(0x20, True))
    assert first.events == [ScancodeKey(0x1E, True), ScancodeKey(0x1E, False)]
    assert second.events == [ScancodeKey(0x20, True)]
    with desktops[0].draw():
        assert video.former[0].take_damage() == ()
    assert failures == []
