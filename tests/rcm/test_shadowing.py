"""Shadowing: who may see whom, what both users see, and how it ends, whatever fails."""

import pytest
import trio
import trio.testing

from rdpprov.api.devices import Button, LockKeys, PointerButton, PointerMotion, Rectangle, ScancodeKey, UnicodeKey
from rdpprov.api.enums import ConnectState, SessionChange
from rdpprov.api.shadow import HotkeyModifiers, ShadowConnection
from rdpprov.api.structures import ClientData
from rdpprov.cli.sessions import session_row
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import E_ACCESSDENIED, AdministrationError, HResultError
from rdpprov.rcm.configuration import Limits, SessionsPolicy, Shadow
from rdpprov.rcm.events import ShadowBegun, ShadowEnded, ShadowRefused
from rdpprov.rcm.service import RemoteConnectionManager
from rdpprov.sessions.shadow_consent import GUARD, STRIP, DesktopOverlay
from rdpprov.testing.scripted import (
    _PROVIDER,
    HANGS,
    NOT_IMPLEMENTED,
    Fails,
    ScriptedConnection,
    ScriptedProvider,
)
from rdpprov.traces.format import EventLine

TARGET, VIEWER = 1, 2

CTRL, ASTERISK, ENTER, ESCAPE, A, Y, N = 0x1D, 0x37, 0x1C, 0x01, 0x1E, 0x15, 0x31
HOT_KEY = (ScancodeKey(CTRL, True), ScancodeKey(ASTERISK, True))


def typed(scancode):
    return ScancodeKey(scancode, True), ScancodeKey(scancode, False)


class Provider(ScriptedProvider):
    """Everything around a service that can shadow: ann is in session 1, bob, who is to see it, in session 2."""

    overlay = DesktopOverlay

    def make_service(self):
        _PROVIDER.set(self)
        return RemoteConnectionManager(
            self.configuration,
            authenticator=self.authenticator,
            desktop_factory=self.make_desktop,
            logon_desktop_factory=self.make_logon_desktop,
            traces=self.traces,
            overlay_factory=self.overlay,
        )

    async def two(self, ann=None, bob=None, **both):
        """Ann's and Bob's clients, with the answers of their providers."""
        return await self.log_on("ann", answers=ann or {}, **both), await self.log_on("bob", answers=bob or {}, **both)


class ScriptedShadow(ShadowConnection):
    """A provider's own means: answers Start with InvokeTargetShadow, from a task of its own as the page wants it."""

    def __init__(self, client):
        self.client = client
        self.callback = None

    async def start(self, server, session, vk, modifiers, callback):
        self.callback = callback
        await self.client._asked("Start", server, session, vk, modifiers)
        invoke = self.client.invokes
        if invoke is not None:
            trio.lowlevel.spawn_system_task(self._invoke, invoke(session))

    async def _invoke(self, arguments):
        try:
            self.callback.invoke_target_shadow(*arguments)
        except HResultError as error:
            self.client.refused = error

    async def do_target(self, *arguments):
        await self.client._asked("DoTarget", *arguments)

    async def stop(self):
        await self.client._asked("Stop")


OPAQUE = (b"one", b"\x00two", b"", b"four")


class ShadowingConnection(ScriptedConnection):
    """A client whose provider shadows by itself, as far as the script does not say otherwise."""

    refused = None

    @staticmethod
    def invokes(session):
        return ("", session, *OPAQUE, "bob's client")

    async def get_shadow_connection(self):
        answer = await self._asked("GetShadowConnection")
        self.shadow = ScriptedShadow(self)
        return self.shadow if answer is None else answer


SHADOW_CALLS = ("GetShadowConnection", "Start", "DoTarget", "Stop")


def shadow_calls(client):
    return [name for name in client.names if name in SHADOW_CALLS]


def events_of(provider, connection, name):
    trace = provider.traces.connections[connection].trace()
    return [line.fields for line in trace.lines if isinstance(line, EventLine) and line.event == name]


class Begun:
    """A shadowing that somebody has asked for."""

    def __init__(self):
        self.over = trio.Event()
        self.error = None

    @property
    def succeeded(self):
        return self.over.is_set() and self.error is None


async def _ask(service, begun, target, viewer, control):
    try:
        await service.administration.shadow(target, viewer=viewer, control=control)
    except AdministrationError as error:
        begun.error = error
    begun.over.set()


@pytest.fixture
async def nursery():
    async with trio.open_nursery() as nursery:
        yield nursery
        nursery.cancel_scope.cancel()


async def begin(nursery, service, *, control=False, target=TARGET, viewer=VIEWER):
    """Ask for it, and wait until the target's user sees the question and would be heard."""
    begun = Begun()
    nursery.start_soon(_ask, service, begun, target, viewer, control)
    await trio.testing.wait_all_tasks_blocked()
    await trio.sleep(GUARD)
    return begun


async def agree(client, begun):
    client.inputs.send(*typed(ENTER))
    await begun.over.wait()
    await trio.testing.wait_all_tasks_blocked()


def shows_strip(client):
    """Whether what the client sees has the notice at the top."""
    screen = client.video.screen
    row = screen.grab(Rectangle(0, 0, screen.width, 3))
    return any((pixel[:3] == (STRIP & 255, STRIP >> 8 & 255, STRIP >> 16)).all() for pixel in row[1])


def shows_question(client):
    """Whether there is anything but white in the middle of the desktop, which is white."""
    screen = client.video.screen
    middle = Rectangle(0, screen.height // 3, screen.width, screen.height * 2 // 3)
    return bool((screen.grab(middle)[..., :3] != 255).any())


async def test_with_consent_the_shadower_sees_the_targets_desktop_and_the_target_a_notice(
    autojump_clock, checked, nursery
):
    provider = Provider()
    async with provider.service() as service:
        with service.administration.watch() as watcher:
            ann, bob = await provider.two()
            begun = await begin(nursery, service)
            assert shows_question(ann)
            assert not begun.over.is_set()
            assert len(provider.desktops[0].screens) == 2  # as at first, then below the question
            await agree(ann, begun)
            assert begun.succeeded
            assert shows_strip(ann)
            assert not shows_question(ann)
            seen = provider.desktops[0].screens[-1]
            assert not seen.is_closed  # Bob's
            damages = bob.video.damages
            provider.desktops[0].damage()
            assert bob.video.damages > damages
            target, viewer = await service.administration.sessions()
            assert (target.state, target.shadowed_by, target.shadows) == (ConnectState.ACTIVE, VIEWER, None)
            assert (viewer.state, viewer.shadowed_by, viewer.shadows) == (ConnectState.SHADOW, None, TARGET)
            bob.inputs.send(*HOT_KEY)
            await trio.testing.wait_all_tasks_blocked()
            assert seen.is_closed
            assert not shows_strip(ann)
            assert [one.state for one in await service.administration.sessions()] == [ConnectState.ACTIVE] * 2
            events = []
            while not isinstance(events[-1] if events else None, ShadowEnded):
                events.append(await anext(watcher))
        assert ShadowBegun(TARGET, VIEWER, "bob", control=False) in events
        assert events[-1] == ShadowEnded(TARGET, VIEWER, "the shadower pressed the hot key")
        changes = [
            asked.args[0].session_id
            for asked in provider.calls
            if asked.name == "NotifySessionStateChange" and asked.args[1] == SessionChange.SESSION_REMOTE_CONTROL
        ]
        assert changes == [TARGET, TARGET]
    checked(provider)


@pytest.mark.parametrize("answer", ["escape", "n", "nothing", "hot key", "the No button"])
async def test_without_consent_nothing_is_seen(autojump_clock, checked, nursery, answer):
    provider = Provider()
    async with provider.service() as service:
        with service.administration.watch() as watcher:
            ann, bob = await provider.two(connection_class=ShadowingConnection)
            screens = len(provider.desktops[0].screens)
            begun = await begin(nursery, service)
            match answer:
                case "escape":
                    ann.inputs.send(*typed(ESCAPE))
                case "n":
                    ann.inputs.send(*typed(N))
                case "hot key":
                    ann.inputs.send(*HOT_KEY)
                case "the No button":
                    ann.inputs.send(PointerButton(Button.LEFT, True, 450, 268))
            started = trio.current_time()
            await begun.over.wait()
            assert trio.current_time() - started == (30 - GUARD if answer == "nothing" else 0)
            assert begun.error.code == ("failed" if answer == "hot key" else "refused")
            await trio.testing.wait_all_tasks_blocked()
            assert not shows_strip(ann)
            assert not shows_question(ann)
            assert len([one for one in provider.desktops[0].screens if not one.is_closed]) == screens == 1
            assert shadow_calls(bob) == shadow_calls(ann) == []
            assert provider.desktops[0].events == []
            assert [one.state for one in await service.administration.sessions()] == [ConnectState.ACTIVE] * 2
            while not isinstance(event := await anext(watcher), ShadowRefused):
                assert not isinstance(event, ShadowBegun)
            # The next one may ask again, and the answer may be another.
            again = await begin(nursery, service)
            await agree(ann, again)
            assert again.succeeded
    checked(provider)


async def test_of_two_who_ask_in_the_same_moment_one_is_refused(autojump_clock, nursery):
    provider = Provider(users={"ann": "right", "bob": "right", "eve": "right"})
    async with provider.service() as service:
        ann, _ = await provider.two()
        await provider.log_on("eve")
        both = [Begun(), Begun()]
        for begun, viewer in zip(both, (VIEWER, 3), strict=True):
            nursery.start_soon(_ask, service, begun, TARGET, viewer, False)
        await trio.testing.wait_all_tasks_blocked()
        assert [begun.error.code for begun in both if begun.over.is_set()] == ["busy"]
        await trio.sleep(GUARD)
        ann.inputs.send(*typed(ENTER))
        await trio.testing.wait_all_tasks_blocked()
        assert [begun.succeeded for begun in both].count(True) == 1


async def test_who_is_typing_has_not_agreed(autojump_clock, nursery):
    provider = Provider()
    async with provider.service() as service:
        ann, _ = await provider.two()
        begun = Begun()
        nursery.start_soon(_ask, service, begun, TARGET, VIEWER, False)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(20):
            ann.inputs.send(*typed(Y), *typed(ENTER))
            await trio.sleep(GUARD / 2)
        assert not begun.over.is_set()
        ann.inputs.send(PointerButton(Button.LEFT, True, 200, 268))  # the Yes button
        await begun.over.wait()
        assert begun.succeeded
        assert provider.desktops[0].events == []


async def test_a_click_as_the_question_appears_is_no_answer(autojump_clock, nursery):
    provider = Provider()
    async with provider.service() as service:
        ann, _ = await provider.two()
        begun = Begun()
        nursery.start_soon(_ask, service, begun, TARGET, VIEWER, False)
        await trio.testing.wait_all_tasks_blocked()
        ann.inputs.send(PointerButton(Button.LEFT, True, 200, 268))
        await trio.testing.wait_all_tasks_blocked()
        assert not begun.over.is_set()


async def test_who_only_looks_on_changes_nothing(autojump_clock, nursery):
    provider = Provider()
    async with provider.service() as service:
        ann, bob = await provider.two()
        await agree(ann, await begin(nursery, service))
        bob.inputs.send(*typed(A), PointerButton(Button.LEFT, True, 50, 60), LockKeys(False, True, True, False))
        assert provider.desktops[0].events == []
        assert provider.desktops[1].events == []
        ann.inputs.send(*typed(A))
        assert provider.desktops[0].events == [*typed(A)]


async def test_who_controls_types_and_what_is_held_is_released_at_the_end(autojump_clock, nursery):
    provider = Provider()
    async with provider.service() as service:
        ann, bob = await provider.two()
        await agree(ann, await begin(nursery, service, control=True))
        idle_since = trio.current_time()
        await trio.sleep(100)
        bob.inputs.send(PointerMotion(50, 60), ScancodeKey(A, True), PointerButton(Button.LEFT, True, 50, 60))
        (target, _) = await service.administration.sessions()
        assert target.idle == 0, idle_since  # what the shadower does keeps the target from its idle limit
        ann.inputs.send(*HOT_KEY)
        await trio.testing.wait_all_tasks_blocked()
        assert provider.desktops[0].events == [
            PointerMotion(50, 60),
            ScancodeKey(A, True),
            PointerButton(Button.LEFT, True, 50, 60),
            ScancodeKey(CTRL, True),  # Ann's; the asterisk is nobody's
            ScancodeKey(A, False),
            PointerButton(Button.LEFT, False, 50, 60),
            ScancodeKey(CTRL, False),
        ]
        bob.inputs.send(*typed(Y))
        assert provider.desktops[1].events == [*typed(Y)]


async def test_a_shadower_with_another_screen_sees_all_of_it_in_its_own_size(autojump_clock, nursery):
    provider = Provider()
    async with provider.service() as service:
        small = ClientData(client_name="small", h_res=320, v_res=300)
        ann, bob = await provider.two(bob={"GetClientData": small})
        await agree(ann, await begin(nursery, service, control=True))
        screen = bob.video.screen
        assert (screen.width, screen.height) == (320, 300)
        picture = screen.grab(Rectangle(0, 0, 320, 300))[..., :3]
        assert (picture[30:270] == 255).all()  # 640x480 in half the size, in the middle
        assert (picture[270:] == 0).all()
        bob.inputs.send(PointerMotion(10, 40), PointerButton(Button.LEFT, True, 10, 290), PointerMotion(400, 400))
        assert provider.desktops[0].events == [PointerMotion(20, 20), PointerMotion(638, 478)]


@pytest.mark.parametrize("who", ["ann", "bob"])
async def test_the_hot_key_is_where_the_layout_has_its_asterisk(autojump_clock, nursery, who):
    german = ClientData(client_name="de", h_res=640, v_res=480, keyboard_layout=0x407)
    for keys in (
        HOT_KEY,
        (ScancodeKey(CTRL, True, extended=True), ScancodeKey(0x2A, True), ScancodeKey(0x1B, True)),
        (ScancodeKey(CTRL, True), UnicodeKey("*", True)),
    ):
        provider = Provider({"GetClientData": german})
        async with provider.service() as service:
            ann, bob = await provider.two()
            await agree(ann, await begin(nursery, service))
            client = {"ann": ann, "bob": bob}[who]
            # None of these is it: no Ctrl, Print Screen, Alt besides, the asterisk of another layout.
            client.inputs.send(*typed(ASTERISK), ScancodeKey(CTRL, True), ScancodeKey(ASTERISK, True, extended=True))
            client.inputs.send(
                ScancodeKey(0x2A, True), ScancodeKey(0x09, True), ScancodeKey(0x38, True), *typed(ASTERISK)
            )
            client.inputs.send(LockKeys(False, True, False, False))
            await trio.testing.wait_all_tasks_blocked()
            assert shows_strip(ann)
            client.inputs.send(*keys)
            await trio.testing.wait_all_tasks_blocked()
            assert not shows_strip(ann)


@pytest.mark.parametrize("how", ["ann leaves", "bob leaves", "ann logs off", "bob logs off", "stop", "taken over"])
@pytest.mark.parametrize("means", ["service", "provider"])
@pytest.mark.parametrize("asking", [False, True], ids=["shadowing", "asking"])
async def test_it_ends_when_one_of_them_is_gone(autojump_clock, checked, nursery, log, how, means, asking):
    provider = Provider()
    connection_class = ShadowingConnection if means == "provider" else ScriptedConnection
    async with provider.service() as service:
        ann, bob = await provider.two(connection_class=connection_class)
        begun = await begin(nursery, service)
        if not asking:
            await agree(ann, begun)
        match how:
            case "ann leaves":
                ann.goes()
            case "bob leaves":
                bob.goes()
            case "ann logs off":
                provider.desktops[0].log_off()
            case "bob logs off":
                provider.desktops[1].log_off()
            case "stop":
                service.request_stop()
            case "taken over":
                await provider.log_on("ann")
        await begun.over.wait()
        await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(1)
        assert begun.succeeded is not asking
        if how != "stop":
            for one in await service.administration.sessions():
                assert (one.shadows, one.shadowed_by) == (None, None)
        if how in ("ann leaves", "ann logs off", "taken over"):
            await ann.closed.wait()
            assert not shows_strip(bob)  # its own desktop again
    expected = ["Stop"] if means == "provider" and not asking else []
    assert [name for name in ann.names if name == "Stop"] == expected
    assert [name for name in bob.names if name == "Stop"] == expected
    for client in (ann, bob):
        if expected and client.names[-1] == "Close":
            assert client.names.index("Stop") < client.names.index("DisconnectNotify")
    assert [entry for entry in log if entry["log_level"] == "error"] == []
    checked(provider)


async def test_providers_with_means_of_their_own_carry_it_out(autojump_clock, checked, nursery):
    provider = Provider()
    async with provider.service() as service:
        ann, bob = await provider.two(connection_class=ShadowingConnection)
        screen = bob.video.screen
        begun = await begin(nursery, service)
        assert shadow_calls(bob) == []  # not before there is consent
        await agree(ann, begun)
        assert begun.succeeded
        assert shadow_calls(bob) == ["GetShadowConnection", "Start"]
        assert bob.args_of("Start") == ("", TARGET, 0x6A, HotkeyModifiers.CTRL)
        assert shadow_calls(ann) == ["GetShadowConnection", "DoTarget"]
        assert ann.args_of("DoTarget") == (*OPAQUE, "bob's client")
        assert bob.video.screen is screen  # its provider shows what it has to show
        assert shows_strip(ann)
        bob.shadow.callback.stop_shadow()
        bob.shadow.callback.stop_shadow()
        await trio.testing.wait_all_tasks_blocked()
        assert shadow_calls(bob)[-1] == shadow_calls(ann)[-1] == "Stop"
        bob.shadow.callback.stop_shadow()  # late
        await trio.testing.wait_all_tasks_blocked()
        assert not shows_strip(ann)
        assert "Close" not in ann.names + bob.names
        calls = [line.call for line in provider.traces.connections[VIEWER].trace().calls]
        shadowed = ["Start", "InvokeTargetShadow", "StopShadow", "StopShadow", "Stop", "StopShadow"]
        assert calls[-7:] == ["GetShadowConnection", *shadowed]
        assert events_of(provider, TARGET, "shadow") == [{"role": "target", "session": VIEWER, "control": False}]
        assert events_of(provider, VIEWER, "shadow") == [{"role": "shadower", "session": TARGET, "control": False}]
        assert len(events_of(provider, VIEWER, "shadow_ended")) == 1
    checked(provider)


@pytest.mark.parametrize(
    ("ann", "bob", "stopped"),
    [
        ({}, {"GetShadowConnection": NOT_IMPLEMENTED}, False),
        ({}, {"GetShadowConnection": Fails(HResultError("not now"))}, False),
        ({}, {"GetShadowConnection": "no ShadowConnection"}, False),
        ({}, {"Start": NOT_IMPLEMENTED}, False),
        ({"GetShadowConnection": NOT_IMPLEMENTED}, {}, True),
        ({"DoTarget": NOT_IMPLEMENTED}, {}, True),
    ],
    ids=["no", "fails", "of another type", "no Start", "not the target", "no DoTarget"],
)
async def test_where_a_provider_has_no_means_the_service_shadows_by_itself(
    autojump_clock, checked, nursery, ann, bob, stopped
):
    provider = Provider()
    async with provider.service() as service:
        ann_client, bob_client = await provider.two(ann, bob, connection_class=ShadowingConnection)
        begun = await begin(nursery, service)
        await agree(ann_client, begun)
        assert begun.succeeded
        assert not provider.desktops[0].screens[-1].is_closed
        assert ("Stop" in bob_client.names) is stopped
        assert "Stop" not in ann_client.names
        bob_client.inputs.send(*HOT_KEY)
        await trio.testing.wait_all_tasks_blocked()
        assert not shows_strip(ann_client)
    checked(provider)


async def test_a_provider_that_does_not_invoke_the_targets_half_is_helped_out(autojump_clock, checked, nursery):
    provider = Provider()
    async with provider.service() as service:
        ann, bob = await provider.two(connection_class=ShadowingConnection)
        bob.invokes = None
        begun = await begin(nursery, service)
        before = trio.current_time()
        await agree(ann, begun)
        assert begun.succeeded
        assert trio.current_time() - before == Limits().call
        assert shadow_calls(bob) == ["GetShadowConnection", "Start", "Stop"]
        assert shadow_calls(ann) == []
        assert shows_strip(ann)
    checked(provider)


@pytest.mark.parametrize("other", [("elsewhere", TARGET), ("", VIEWER), ("", 77)])
async def test_a_provider_cannot_invoke_another_target_than_the_one_that_was_asked(
    autojump_clock, checked, nursery, other
):
    provider = Provider()
    async with provider.service() as service:
        ann, bob = await provider.two(connection_class=ShadowingConnection)
        bob.invokes = lambda _session: (*other, *OPAQUE, "bob")
        begun = await begin(nursery, service)
        await agree(ann, begun)
        assert bob.refused.hresult == E_ACCESSDENIED
        assert "DoTarget" not in ann.names + bob.names
    checked(provider)


@pytest.mark.parametrize("failure", [Fails(HResultError("no")), HANGS], ids=["fails", "hangs"])
@pytest.mark.parametrize("call", ["Start", "DoTarget"])
async def test_a_shadowing_that_a_provider_fails_does_not_come_about_and_both_connections_stay(
    autojump_clock, checked, nursery, call, failure
):
    provider = Provider()
    async with provider.service() as service:
        ann, bob = await provider.two(
            connection_class=ShadowingConnection, **{"ann" if call == "DoTarget" else "bob": {call: failure}}
        )
        begun = await begin(nursery, service)
        await agree(ann, begun)
        assert begun.error.code == "failed"
        assert ("Stop" in bob.names) is (call == "DoTarget")
        assert "Stop" not in ann.names
        assert not shows_strip(ann)
        await trio.sleep(60)
        assert "Close" not in ann.names + bob.names
    checked(provider)


@pytest.mark.parametrize("call", ["GetShadowConnection", "Start", "DoTarget"])
async def test_a_mistake_in_a_provider_ends_its_connection_and_the_shadowing(autojump_clock, checked, nursery, call):
    provider = Provider()
    async with provider.service() as service:
        guilty = "ann" if call == "DoTarget" else "bob"
        ann, bob = await provider.two(
            connection_class=ShadowingConnection, **{guilty: {call: Fails(ZeroDivisionError("a mistake"))}}
        )
        begun = await begin(nursery, service)
        await agree(ann, begun)
        assert begun.error is not None
        client, other = (ann, bob) if guilty == "ann" else (bob, ann)
        await client.closed.wait()
        await trio.sleep(1)
        assert "Close" not in other.names
        assert not shows_strip(other)
    checked(provider)


@pytest.mark.parametrize("who", ["ann", "bob"])
@pytest.mark.parametrize(
    "failure", [Fails(HResultError("no")), NOT_IMPLEMENTED, Fails(ZeroDivisionError("a mistake")), HANGS]
)
async def test_a_connection_whose_stop_fails_is_dropped(autojump_clock, checked, nursery, who, failure):
    provider = Provider()
    async with provider.service() as service:
        ann, bob = await provider.two(connection_class=ShadowingConnection, **{who: {"Stop": failure}})
        await agree(ann, await begin(nursery, service))
        bob.shadow.callback.stop_shadow()
        client, other = (ann, bob) if who == "ann" else (bob, ann)
        await client.closed.wait()
        assert client.names.count("Stop") == 1
        assert client.args_of("SetErrorInfo") in (
            (ErrInfo.ERRINFO_SERVER_DENIED_CONNECTION,),
            (ErrInfo.ERRINFO_LOGON_TIMEOUT,),
        )
        await trio.sleep(1)
        assert "Close" not in other.names
        assert other.names.count("Stop") == 1
    checked(provider)


@pytest.mark.parametrize(
    ("policy", "control", "code"),
    [
        (Shadow.OFF, False, "forbidden"),
        (Shadow.OFF, True, "forbidden"),
        (Shadow.CONSENT_VIEW, True, "forbidden"),
        (Shadow.VIEW, True, "forbidden"),
        (Shadow.VIEW, False, None),
        (Shadow.CONTROL, True, None),
    ],
)
async def test_the_configuration_says_what_is_allowed_and_whether_to_ask(
    autojump_clock, nursery, policy, control, code
):
    provider = Provider(sessions=SessionsPolicy(shadow=policy))
    async with provider.service() as service:
        ann, _ = await provider.two()
        begun = Begun()
        nursery.start_soon(_ask, service, begun, TARGET, VIEWER, control)
        await trio.testing.wait_all_tasks_blocked()
        assert begun.over.is_set()
        assert (begun.error and begun.error.code) == code
        assert shows_strip(ann) is (code is None)  # nobody is shadowed without knowing it
        assert not shows_question(ann)


async def test_nobody_shadows_itself_a_shadower_a_target_or_who_is_not_there(autojump_clock, nursery):
    provider = Provider(users={"ann": "right", "bob": "right", "eve": "right", "kim": "right"})
    async with provider.service() as service:

        async def refused(target, viewer):
            with pytest.raises(AdministrationError) as caught:
                await service.administration.shadow(target, viewer=viewer)
            return caught.value.code

        ann, _ = await provider.two()
        eve = await provider.log_on("eve")
        await provider.connect()  # session 4: a logon desktop
        await provider.logon_desktop()
        assert await refused(TARGET, TARGET) == "bad-request"
        assert await refused(TARGET, None) == "bad-request"  # two might see it
        assert await refused(4, VIEWER) == "not-logged-on"
        assert await refused(TARGET, 4) == "not-logged-on"
        assert await refused(TARGET, 9) == await refused(9, VIEWER) == "no-such-session"
        begun = await begin(nursery, service)
        for session in (TARGET, VIEWER):
            assert await refused(session, 3) == "busy"  # also while somebody is being asked
            assert await refused(3, session) == "busy"
        await agree(ann, begun)
        for session in (TARGET, VIEWER):
            assert await refused(session, 3) == "busy"
            assert await refused(3, session) == "busy"
        eve.goes()
        await eve.closed.wait()
        assert await refused(3, TARGET) in ("busy", "not-connected")
        await provider.log_on("kim")
        assert await refused(3, 5) == await refused(5, 3) == "not-connected"


async def test_the_only_other_client_is_the_viewer_if_none_is_named(autojump_clock, nursery):
    provider = Provider()
    async with provider.service() as service:
        ann, _ = await provider.two()
        begun = await begin(nursery, service, viewer=None)
        await agree(ann, begun)
        assert begun.succeeded


async def test_an_administrator_who_gives_up_takes_the_question_back(autojump_clock):
    provider = Provider()
    async with provider.service() as service:
        ann, _ = await provider.two()
        with trio.move_on_after(5):
            await service.administration.shadow(TARGET, viewer=VIEWER)
        assert not shows_question(ann)
        assert not shows_strip(ann)
        ann.inputs.send(*typed(A))
        assert provider.desktops[0].events == [*typed(A)]


async def test_a_service_without_an_overlay_shadows_nobody(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service() as service:
        await provider.log_on("ann")
        await provider.log_on("bob")
        with pytest.raises(AdministrationError, match="nothing to ask users with"):
            await service.administration.shadow(TARGET, viewer=VIEWER)


async def test_a_desktop_that_fails_under_a_shadowers_input_costs_its_own_session(autojump_clock, checked, nursery):
    provider = Provider()
    async with provider.service() as service:
        ann, bob = await provider.two()
        await agree(ann, await begin(nursery, service, control=True))
        provider.desktop_answers["input_event"] = Fails(ZeroDivisionError("a mistake"))
        bob.inputs.send(*typed(A))
        await ann.closed.wait()
        del provider.desktop_answers["input_event"]
        await trio.sleep(1)
        assert "Close" not in bob.names
        bob.inputs.send(*typed(A))
        assert provider.desktops[1].events == [*typed(A)]
    checked(provider)


async def test_the_target_may_resize_its_desktop_meanwhile_and_the_shadower_may_not(autojump_clock, nursery):
    provider = Provider()
    async with provider.service() as service:
        ann, bob = await provider.two()
        await agree(ann, await begin(nursery, service))
        await ann.callback.resize_desktop(800, 500)
        assert provider.desktops[0].resized == [(800, 500)]
        assert ann.video.screen.width == 800
        assert bob.video.screen.width == 640
        with pytest.raises(HResultError):
            await bob.callback.resize_desktop(800, 500)
        ann.inputs.send(*HOT_KEY)
        await trio.testing.wait_all_tasks_blocked()
        await bob.callback.resize_desktop(800, 500)
        assert provider.desktops[1].resized == [(800, 500)]


async def test_names_of_any_length_do_not_push_the_question_out_of_sight(autojump_clock, nursery):
    questions = []

    class Noting(DesktopOverlay):
        async def ask(self, question, seconds):
            questions.append(question)
            return await super().ask(question, seconds)

    name = "b" * 200
    provider = Provider(users={"ann": "right", name: "right"})
    provider.overlay = Noting
    async with provider.service() as service:
        await provider.log_on("ann")
        await provider.log_on(name, answers={"GetClientData": ClientData(client_name="c" * 20, h_res=640, v_res=480)})
        await begin(nursery, service)
        assert questions == [f"{'b' * 32}@{'c' * 20} wants to watch this session. Allow?"]


async def test_the_list_of_sessions_shows_who_watches_whom(autojump_clock, nursery):
    provider = Provider()
    async with provider.service() as service:
        ann, _ = await provider.two()
        await agree(ann, await begin(nursery, service))
        states = [session_row(session)[1] for session in await service.administration.sessions()]
        assert states == ["active, seen by 2", "shadow of 1"]
