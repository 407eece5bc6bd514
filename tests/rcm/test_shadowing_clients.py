"""Shadowing with real clients of both protocols on loopback: what each of the two users sees, and can do."""

import os
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import numpy as np
import pytest
import trio
from PIL import Image

from rdpprov.accounts.authenticator import FileAuthenticator
from rdpprov.accounts.users_file import ScryptCost, UsersFile
from rdpprov.api.devices import PointerMotion, Rectangle, ScancodeKey
from rdpprov.errors import AdministrationError
from rdpprov.protocol.rdp.client import ClientOptions
from rdpprov.rcm.configuration import Limits, ListenerConfiguration, ServiceConfiguration
from rdpprov.rcm.service import RemoteConnectionManager
from rdpprov.sessions.demo import DemoDesktop
from rdpprov.sessions.factories import logon_desktop_factory, overlay_factory
from rdpprov.sessions.shadow_consent import GUARD, STRIP
from rdpprov.testing.rdp_client import connect_rdp
from rdpprov.testing.rfb_client import connect_rfb
from rdpprov.testing.scripted import MemoryTraces

PASSWORD = "correct horse"
ANN = ClientOptions(user_name="ann", password=PASSWORD, width=800, height=600, client_name="reception")
BOB = attrs.evolve(ANN, user_name="bob", client_name="help desk")
CTRL, ASTERISK, ENTER, ESCAPE, A = 0x1D, 0x37, 0x1C, 0x01, 0x1E
HOT_KEY = (ScancodeKey(CTRL, True), ScancodeKey(ASTERISK, True))
CONTROL_L, KP_MULTIPLY = 0xFFE3, 0xFFAA
PATIENCE = 20


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory):
    """Where one certificate lies for all tests."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture
def serving(state_dir, tmp_path, checked):
    """A service for RDP and RFB on loopback; its traces are checked when it has ended."""
    users = UsersFile(tmp_path / "users", cost=ScryptCost(n=1024, r=8, p=1))
    for name in ("ann", "bob"):
        users.add(name, PASSWORD)

    @asynccontextmanager
    async def start(**limits):
        desktops = {}

        def desktop(request):
            made = desktops[request.user.name] = DemoDesktop(request)
            made.stop_clock()
            return made

        place = {"host": "127.0.0.1", "port": 0, "state_dir": str(state_dir)}
        service = RemoteConnectionManager(
            ServiceConfiguration(
                listeners=[ListenerConfiguration("desk", "rdp", place), ListenerConfiguration("vnc", "rfb", place)],
                limits=Limits(**limits),
            ),
            authenticator=FileAuthenticator(users),
            desktop_factory=desktop,
            logon_desktop_factory=logon_desktop_factory(),
            overlay_factory=overlay_factory(),
            traces=(traces := MemoryTraces()),
        )
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                listeners = await nursery.start(service.serve)
                try:
                    yield service, desktops, {one.protocol: one.port for one in listeners}
                finally:
                    service.request_stop()
        checked(attrs.make_class("Traced", ["traces"])(traces))

    return start


def shown(client):
    """What the client's user sees; something black before there is anything."""
    return client.picture[..., :3] if client.picture is not None else np.zeros((600, 800, 3), np.uint8)


def picture(desktop):
    screen = desktop.open_screen(lambda: None)
    screen.take_damage()
    pixels = screen.grab(Rectangle(0, 0, screen.width, screen.height))[..., :3].copy()
    screen.close()
    return pixels


def strip_of(pixels):
    """The columns of the notice, if there is one."""
    colour = (STRIP & 255, STRIP >> 8 & 255, STRIP >> 16)
    return np.nonzero((pixels[1] == colour).all(axis=1))[0]


def below_strip(pixels):
    return pixels[40:]


def same_but_for_the_strip(client, desktop):
    return len(strip_of(shown(client))) > 100 and (below_strip(shown(client)) == below_strip(picture(desktop))).all()


def asks(client):
    """The question is there: its frame has the notice's colour."""
    colour = (STRIP & 255, STRIP >> 8 & 255, STRIP >> 16)
    return len(np.nonzero((below_strip(shown(client)) == colour).all(axis=2))[0]) > 1000


async def keep(name, client):
    """For who wants to look: RDPPROV_PICTURES names a directory."""
    if directory := os.environ.get("RDPPROV_PICTURES"):
        Image.fromarray(np.ascontiguousarray(client.picture[..., 2::-1])).save(Path(directory) / f"{name}.png")


async def answered(ann, key):
    """Ann sees the question, takes a moment to read it, and answers."""
    await ann.wait_until(lambda: asks(ann))
    await keep("question", ann)
    await trio.sleep(GUARD)  # the question takes no answer before that
    await ann.send_input(ScancodeKey(key, True), ScancodeKey(key, False))


async def ask(service, control=False):
    await service.administration.shadow(1, viewer=2, control=control)


@asynccontextmanager
async def two_rdp_clients(port, desktops):
    async with connect_rdp("127.0.0.1", port, ANN) as ann:
        await ann.wait_until(lambda: "ann" in desktops and (shown(ann) == picture(desktops["ann"])).all())
        async with connect_rdp("127.0.0.1", port, BOB) as bob:
            await bob.wait_until(lambda: "bob" in desktops and (shown(bob) == picture(desktops["bob"])).all())
            yield ann, bob


async def test_an_rdp_client_watches_and_the_notice_stays_whatever_is_drawn(serving):
    async with (
        serving() as (service, desktops, ports),
        two_rdp_clients(ports["rdp"], desktops) as (ann, bob),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(answered, ann, ENTER)
        await ask(service)
        await bob.wait_until(lambda: same_but_for_the_strip(bob, desktops["ann"]))
        await ann.wait_until(lambda: same_but_for_the_strip(ann, desktops["ann"]))
        await keep("watched", ann)
        await keep("watching", bob)
        # Looking on changes nothing, what the target does is seen by both, and the notice is still there.
        await bob.send_input(ScancodeKey(A, True), ScancodeKey(A, False), PointerMotion(5, 5))
        for length in range(1, 6):
            await ann.send_input(ScancodeKey(A, True), ScancodeKey(A, False))
            await ann.wait_until(
                lambda: desktops["ann"].text == "a" * length and same_but_for_the_strip(ann, desktops["ann"])  # noqa: B023
            )
            await bob.wait_until(lambda: same_but_for_the_strip(bob, desktops["ann"]))
        desktops["ann"].invalidate(*desktops["ann"]._layers)
        await ann.wait_until(lambda: same_but_for_the_strip(ann, desktops["ann"]))
        assert desktops["bob"].text == ""
        assert len(strip_of(picture(desktops["ann"]))) == 0  # the desktop's own pixels do not have it
        await bob.send_input(*HOT_KEY)
        await bob.wait_until(lambda: (shown(bob) == picture(desktops["bob"])).all())
        await ann.wait_until(lambda: (shown(ann) == picture(desktops["ann"])).all())
        await keep("afterwards", bob)


async def test_an_rdp_client_that_controls_types_into_the_targets_field_until_the_target_ends_it(serving):
    async with (
        serving() as (service, desktops, ports),
        two_rdp_clients(ports["rdp"], desktops) as (ann, bob),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(answered, ann, ENTER)
        await ask(service, control=True)
        await bob.wait_until(lambda: same_but_for_the_strip(bob, desktops["ann"]))
        await bob.send_input(ScancodeKey(A, True), ScancodeKey(A, False), ScancodeKey(0x2A, True))
        await ann.wait_until(lambda: desktops["ann"].text == "a" and same_but_for_the_strip(ann, desktops["ann"]))
        assert desktops["bob"].text == ""
        await ann.send_input(*HOT_KEY, ScancodeKey(ASTERISK, False), ScancodeKey(CTRL, False))
        await ann.wait_until(lambda: (shown(ann) == picture(desktops["ann"])).all())
        await bob.wait_until(lambda: (shown(bob) == picture(desktops["bob"])).all())
        await ann.send_input(ScancodeKey(A, True), ScancodeKey(A, False))
        await ann.wait_until(lambda: desktops["ann"].text != "a")
        assert desktops["ann"].text == "aa"  # and no capital: the Shift that Bob held is up


@pytest.mark.parametrize("answer", ["no", "none"])
async def test_an_rdp_session_is_not_shown_without_consent(serving, answer):
    async with (
        serving(shadow_consent=30 if answer == "no" else 0.5) as (service, desktops, ports),
        two_rdp_clients(ports["rdp"], desktops) as (ann, bob),
        trio.open_nursery() as nursery,
    ):
        painted = bob.painted
        if answer == "no":
            nursery.start_soon(answered, ann, ESCAPE)
        with pytest.raises(AdministrationError) as caught:
            await ask(service)
        assert caught.value.code == "refused"
        await ann.wait_until(lambda: (shown(ann) == picture(desktops["ann"])).all())
        assert (shown(bob) == picture(desktops["bob"])).all()
        assert bob.painted == painted


@asynccontextmanager
async def rdp_session_and_rfb_viewer(ports, desktops):
    async with connect_rdp("127.0.0.1", ports["rdp"], ANN) as ann:
        await ann.wait_until(lambda: "ann" in desktops and (shown(ann) == picture(desktops["ann"])).all())
        async with connect_rfb("127.0.0.1", ports["rfb"], user="bob", password=PASSWORD) as bob:
            await bob.wait_for(lambda: "bob" in desktops and (bob.picture[..., :3] == picture(desktops["bob"])).all())
            yield ann, bob


async def test_an_rfb_viewer_shadows_an_rdp_session_with_consent(serving):
    """The RFB viewer's screen is larger (1024x768) than the RDP session (800x600), which is seen in its middle."""
    async with (
        serving() as (service, desktops, ports),
        rdp_session_and_rfb_viewer(ports, desktops) as (ann, bob),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(answered, ann, ENTER)
        await ask(service, control=True)

        def is_seen():
            left, top = (bob.width - 800) // 2, (bob.height - 600) // 2
            seen = bob.picture[top : top + 600, left : left + 800, :3]
            return (seen == picture(desktops["ann"])).all() and len(strip_of(bob.picture[..., :3])) > 100

        await bob.wait_for(is_seen)
        await keep("rfb", bob)
        await bob.press(ord("a"))
        await ann.wait_until(lambda: desktops["ann"].text == "a" and same_but_for_the_strip(ann, desktops["ann"]))
        await bob.wait_for(is_seen)
        await bob.key(CONTROL_L, True)
        await bob.press(KP_MULTIPLY)
        await bob.key(CONTROL_L, False)
        await bob.wait_for(lambda: (bob.picture[..., :3] == picture(desktops["bob"])).all())
        await ann.wait_until(lambda: (shown(ann) == picture(desktops["ann"])).all())


async def test_an_rfb_viewer_does_not_shadow_an_rdp_session_without_consent(serving):
    async with (
        serving() as (service, desktops, ports),
        rdp_session_and_rfb_viewer(ports, desktops) as (ann, bob),
        trio.open_nursery() as nursery,
    ):
        painted = bob.painted
        nursery.start_soon(answered, ann, ESCAPE)
        with pytest.raises(AdministrationError) as caught:
            await ask(service)
        assert caught.value.code == "refused"
        assert (bob.picture[..., :3] == picture(desktops["bob"])).all()
        assert bob.painted == painted
