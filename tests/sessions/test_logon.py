import numpy as np
import pytest
import trio

from rdpprov.api.devices import DEFAULT_POINTER, Button, LockKeys, PointerButton, PointerMotion, Rectangle, ScancodeKey
from rdpprov.api.structures import UserCredential
from rdpprov.sessions.base import ClientAttached, LogonRequest
from rdpprov.sessions.keyboard import EditKey
from rdpprov.sessions.logon import PanelLogonDesktop, plan_panel
from rdpprov.sessions.memory import PIXEL_BUDGET
from rdpprov.sessions.pointers import I_BEAM
from rdpprov.sessions.screens import contains


@pytest.fixture
def desktop():
    return PanelLogonDesktop(LogonRequest(1024, 768))


@pytest.fixture
def asking(nursery):
    """Start asking; what has been answered so far."""

    async def asking(desktop):
        answers = []

        async def ask():
            answers.append(await desktop.ask())

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        return answers

    return asking


def click(desktop, rectangle):
    x, y = (rectangle.left + rectangle.right) // 2, (rectangle.top + rectangle.bottom) // 2
    desktop.input_event(PointerMotion(x, y))
    for pressed in (True, False):
        desktop.input_event(PointerButton(Button.LEFT, pressed, x, y))


async def test_name_tab_password_enter_is_a_logon(desktop, press, asking):
    answers = await asking(desktop)
    press(desktop, "alice", EditKey.TAB, "s3crét", EditKey.ENTER)
    await trio.testing.wait_all_tasks_blocked()
    assert answers == [UserCredential(user_name="alice", password="s3crét", domain="")]


async def test_enter_in_the_name_goes_to_an_empty_password(desktop, press, asking):
    answers = await asking(desktop)
    press(desktop, "alice", EditKey.ENTER, "pw", EditKey.ENTER)
    await trio.testing.wait_all_tasks_blocked()
    assert [answer.password for answer in answers] == ["pw"]


@pytest.mark.parametrize(
    ("typed", "name", "domain"),
    [
        ("WORK\\bob", "bob", "WORK"),
        (".\\bob", "bob", ""),
        ("bob@work.example", "bob@work.example", ""),
        (" bob ", "bob", ""),
    ],
)
async def test_a_domain_before_a_backslash_is_taken_apart(desktop, press, asking, typed, name, domain):
    answers = await asking(desktop)
    press(desktop, typed, EditKey.TAB, "pw", EditKey.ENTER)
    await trio.testing.wait_all_tasks_blocked()
    assert answers == [UserCredential(user_name=name, password="pw", domain=domain)]


async def test_a_name_that_the_client_said_is_there_and_the_password_has_the_focus(press, asking):
    desktop = PanelLogonDesktop(LogonRequest(800, 600, "alice", "WORK"))
    answers = await asking(desktop)
    press(desktop, "pw", EditKey.ENTER)
    await trio.testing.wait_all_tasks_blocked()
    assert answers == [UserCredential(user_name="alice", password="pw", domain="WORK")]


async def test_a_second_question_keeps_the_name_and_asks_for_the_password_anew(desktop, press, asking):
    answers = await asking(desktop)
    press(desktop, "alice", EditKey.TAB, "wrong", EditKey.ENTER)
    await trio.testing.wait_all_tasks_blocked()
    press(desktop, EditKey.ENTER)  # nobody asks now
    desktop.show_message("The user name or the password is incorrect.")
    answers += await asking(desktop)
    press(desktop, "right", EditKey.ENTER)
    await trio.testing.wait_all_tasks_blocked()
    assert answers[0].password == "wrong"
    again = await asking(desktop)
    press(desktop, EditKey.ENTER)
    await trio.testing.wait_all_tasks_blocked()
    assert again == [UserCredential(user_name="alice", password="", domain="")]


async def test_a_logon_without_a_name_is_refused_on_the_spot(desktop, press, asking, viewer):
    answers = await asking(desktop)
    eye = viewer(desktop)
    eye.look()
    press(desktop, EditKey.TAB, "pw", EditKey.ENTER, "alice", EditKey.TAB, EditKey.ENTER)
    await trio.testing.wait_all_tasks_blocked()
    assert answers == [UserCredential(user_name="alice", password="pw", domain="")]


async def test_the_mouse_chooses_the_field_and_presses_the_button(desktop, press, asking, viewer):
    answers = await asking(desktop)
    plan = plan_panel(1024, 768)
    screen = viewer(desktop).screen
    assert screen.take_pointer() is DEFAULT_POINTER
    click(desktop, plan.password)
    assert screen.take_pointer() is I_BEAM
    press(desktop, "pw")
    click(desktop, plan.user)
    press(desktop, "alice")
    click(desktop, plan.button)
    await trio.testing.wait_all_tasks_blocked()
    assert screen.take_pointer() is DEFAULT_POINTER
    assert answers == [UserCredential(user_name="alice", password="pw", domain="")]


async def test_a_click_puts_the_caret_between_characters(press, asking):
    desktop = PanelLogonDesktop(LogonRequest(1024, 768, "alice"))
    answers = await asking(desktop)
    field = plan_panel(1024, 768).user
    desktop.input_event(PointerButton(Button.LEFT, True, field.left + 1, field.top + 5))
    press(desktop, "m", EditKey.TAB, "pw", EditKey.ENTER)
    await trio.testing.wait_all_tasks_blocked()
    assert answers[0].user_name == "malice"


async def test_shift_tab_goes_back_and_escape_empties(desktop, press, asking):
    answers = await asking(desktop)
    press(desktop, "alicia", EditKey.TAB, "oops", EditKey.ESCAPE, "pw")
    desktop.input_event(ScancodeKey(0x2A, True))
    press(desktop, EditKey.TAB)
    desktop.input_event(ScancodeKey(0x2A, False))
    press(desktop, EditKey.BACKSPACE, EditKey.BACKSPACE, "e", EditKey.ENTER)
    await trio.testing.wait_all_tasks_blocked()
    assert answers == [UserCredential(user_name="alice", password="pw", domain="")]


async def test_it_stays_dark_until_it_asks(desktop, viewer, press, asking):
    eye = viewer(desktop)
    desktop.show_message("Please wait")
    press(desktop, "alice")
    assert (eye.signals, eye.look()) == (0, [])
    await asking(desktop)
    assert eye.signals == 1
    assert eye.look() == [Rectangle(0, 0, 1024, 768)]
    assert eye.screen.take_pointer() is DEFAULT_POINTER


def test_it_can_be_revealed_without_asking(desktop, viewer):
    eye = viewer(desktop)
    desktop.reveal()
    desktop.reveal()
    assert eye.signals == 1
    assert eye.look()


async def test_a_password_shows_its_length_and_nothing_else(press, asking, viewer):
    pictures = []
    for password in ("hunter", "geheim", "geheim!"):
        desktop = PanelLogonDesktop(LogonRequest(640, 480, "alice"))
        desktop.reveal()
        press(desktop, password)
        pictures.append(viewer(desktop).whole())
        assert password not in repr(vars(desktop))
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[1], pictures[2])


async def test_what_was_typed_is_forgotten_when_it_closes(desktop, press):
    press(desktop, "alice", EditKey.TAB, "pw")
    await desktop.aclose()
    assert (desktop._user.text, desktop._password.text) == ("", "")


def test_damage_of_typing_is_small_and_complete(desktop, viewer, press):
    desktop.reveal()
    eye = viewer(desktop)
    eye.look()
    plan = plan_panel(1024, 768)
    for action in (
        lambda: press(desktop, "a"),
        lambda: press(desktop, EditKey.TAB),
        lambda: press(desktop, "b" * 300),
        lambda: press(desktop, EditKey.HOME),
        lambda: press(desktop, EditKey.TAB),
        lambda: desktop.show_message("You may not log on here because of the hour; please come back tomorrow morning."),
        lambda: desktop.show_message(""),
        lambda: desktop.input_event(LockKeys(False, False, True, False)),
        lambda: desktop.tell(ClientAttached(keyboard_layout=0x40C)),
    ):
        action()
        damage = eye.look()
        assert damage
        assert all(contains(plan.panel, rectangle) for rectangle in damage)
        assert np.array_equal(eye.picture[..., :3], viewer(desktop).whole()[..., :3])


def test_the_password_is_typed_with_the_layout_of_the_client(desktop, press):
    desktop.tell(ClientAttached(keyboard_layout=0x407))
    press(desktop, EditKey.TAB)
    for pressed in (True, False):
        desktop.input_event(ScancodeKey(0x15, pressed))
    assert desktop._password.text == "z"


@pytest.mark.parametrize("size", [(200, 200), (300, 400), (459, 600), (640, 480), (1024, 768), (8192, 8192)], ids=str)
def test_the_panel_fits_every_screen_and_is_at_most_800x600(size):
    plan = plan_panel(*size)
    assert contains(plan.screen, plan.panel)
    assert plan.panel.width <= 800
    assert plan.panel.height <= 600
    parts = [plan.user, plan.password, plan.message, plan.button]
    for index, one in enumerate(parts):
        assert contains(plan.panel, one)
        assert all(one.intersection(other).is_empty() for other in parts[index + 1 :])


async def test_it_follows_the_clients_size_without_taking_memory(desktop, viewer):
    used = PIXEL_BUDGET.used
    desktop.reveal()
    eye = viewer(desktop)
    eye.look()
    await desktop.resize(8192, 8192)
    assert eye.screen.take_damage() == [Rectangle(0, 0, 8192, 8192)]
    corner = eye.screen.grab(Rectangle(8000, 8000, 8192, 8192))
    assert (corner[..., :3] == corner[0, 0, :3]).all()
    assert PIXEL_BUDGET.used == used
