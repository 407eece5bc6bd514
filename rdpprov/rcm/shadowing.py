"""Shadowing: the client of one session looks on at another, or works in it with its user.

Where Microsoft's pages are silent: the target's user is asked before anything begins, unless the configuration says
otherwise, and sees a notice for as long as it lasts. If the providers of both connections have means of their own
(`rdpprov.api.shadow.ShadowConnection`), these are used. If one of them has not (E_NOTIMPL), the service shadows by
itself, whatever the protocols: the shadower's devices get the target's desktop for a while, as a second reader of it.
The shadower's own session stays, and is shown again afterwards.

It ends when one of the two presses the hot key, the shadower's provider calls StopShadow, one of the two clients leaves
its session, the administrator says so, or the service stops. Nobody shadows a session that takes part in another
shadowing, in either part.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from enum import Enum
from typing import TypeVarTuple, Unpack

import attrs
import structlog
import trio

from rdpprov.api.devices import InputEvent
from rdpprov.api.enums import SessionChange
from rdpprov.api.shadow import HotkeyModifiers, ShadowCallback, ShadowConnection
from rdpprov.errors import E_ACCESSDENIED, AdministrationError, HResultError, for_log
from rdpprov.rcm.asking import outcome_of
from rdpprov.rcm.configuration import Shadow
from rdpprov.rcm.connection_callback import ConnectionCallback
from rdpprov.rcm.context import ServiceContext
from rdpprov.rcm.ending import ConnectionDroppedError
from rdpprov.rcm.events import ShadowBegun, ShadowEnded, ShadowRefused, label
from rdpprov.rcm.queries import shadow_connection
from rdpprov.rcm.session_table import Session
from rdpprov.sessions.base import Desktop, OverlayFactory, OverlayRequest, SequenceStep, ShadowOverlay

log = structlog.get_logger(__name__)

Arguments = TypeVarTuple("Arguments")

THIS_SERVER = ""
"""The server that has both sessions."""
SHOWN_NAME = 32
"""Characters of a user's and of a client's name that are shown to somebody else."""
HOT_KEY_VK = 0x6A
"""VK_MULTIPLY: the asterisk."""
HOT_KEY_MODIFIERS = HotkeyModifiers.CTRL


@attrs.define(eq=False)
class Shadowing:
    """One shadowing: who, whom, and how it ends."""

    viewer: ConnectionCallback
    """The shadower's connection."""
    viewer_session: Session
    """The shadower's own session, which it comes back to."""
    target: ConnectionCallback
    target_session: Session
    control: bool
    """With keyboard and mouse."""
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    """Its life: `end` cancels it."""
    over: trio.Event = attrs.field(factory=trio.Event)
    """Nothing of it is left."""
    reason: str = ""
    """Why it ended, if somebody ended it."""

    @property
    def shadower(self) -> str:
        """For people: USER@CLIENT."""
        # Cut, for a client may say any name, and none shall push the question out of sight.
        user, client = _user(self.viewer_session), self.viewer.client.client_name or self.viewer.client_address
        return f"{user[:SHOWN_NAME]}@{client[:SHOWN_NAME]}" if client else user[:SHOWN_NAME]

    def left(self, callback: ConnectionCallback) -> None:
        """One of the two clients has left its session."""
        self.end("the shadower left" if callback is self.viewer else "the target's client left")

    def end(self, reason: str) -> None:
        """Let it end. Plain, from anywhere; the first reason stays."""
        self.reason = self.reason or reason
        self.scope.cancel()


async def shadow(
    service: ServiceContext, target_session: Session, viewer_session: Session, *, control: bool = False
) -> None:
    """Begin to shadow. Returns when the target's user has agreed, and the shadower sees the desktop.

    Cancelling it before that takes the question back.

    Args:
        service: the service.
        target_session: what is looked at.
        viewer_session: whose client looks.
        control: with keyboard and mouse.

    Raises:
        AdministrationError: it cannot be, is not allowed, or the target's user does not agree.
    """
    viewer, target = _client_of(viewer_session), _client_of(target_session)
    if viewer_session is target_session:
        raise AdministrationError("a session cannot shadow itself", "bad-request")
    for session in (viewer_session, target_session):
        if session.shadowing is not None:
            raise AdministrationError(f"session {session.session_id} takes part in a shadowing already", "busy")
    allowed = service.configuration.sessions.shadow
    if allowed is Shadow.OFF or (control and not allowed.with_control):
        what = "to control sessions" if control and allowed is not Shadow.OFF else "to shadow sessions"
        raise AdministrationError(f"the configuration does not allow {what}", "forbidden")
    if service.overlay_factory is None:
        raise AdministrationError("this service has nothing to ask users with", "forbidden")
    shadowing = Shadowing(viewer, viewer_session, target, target_session, control)
    # Before anybody else has a turn: else two could begin at once, and a client that leaves would end only one.
    for one in (viewer, target, viewer_session, target_session):
        one.shadowing = shadowing
    try:
        await service.nursery.start(_run_shadowing, service, shadowing, service.overlay_factory)
    except AdministrationError as error:
        log.info("shadowing does not come about", reason=str(error), **_whose(shadowing))
        service.feed.publish(ShadowRefused(target_session.session_id, viewer_session.session_id, str(error)))
        raise


def _client_of(session: Session) -> ConnectionCallback:
    """The connection that shows a session to its user.

    Raises:
        AdministrationError: there is none.
    """
    if session.is_temporary or session.desktop is None:
        raise AdministrationError(f"nobody is logged on in session {session.session_id}", "not-logged-on")
    callback = session.holder
    if callback is None or callback.attachment is None or not callback.shows_session:
        raise AdministrationError(f"no client shows session {session.session_id}", "not-connected")
    if not callback.attachment.can_be_asked:
        raise AdministrationError(f"the client of session {session.session_id} has no screen or no keys", "forbidden")
    return callback


async def _run_shadowing(
    service: ServiceContext,
    shadowing: Shadowing,
    overlay_factory: OverlayFactory,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """A shadowing's life, as a task of the service. What goes wrong costs it, and nothing else."""
    begun = False

    def has_begun() -> None:
        nonlocal begun
        begun = True
        task_status.started()

    try:
        with shadowing.scope:
            await trio.lowlevel.checkpoint_if_cancelled()  # one of the two may have left by now
            await shadowing_sequence(service, shadowing, overlay_factory, has_begun)
    except AdministrationError:
        raise
    except Exception as error:
        log.error("shadowing failed", **for_log(error), **_whose(shadowing))
        shadowing.reason = shadowing.reason or f"it failed: {type(error).__name__}"
    finally:
        for one in (shadowing.viewer, shadowing.target, shadowing.viewer_session, shadowing.target_session):
            one.shadowing = None
        shadowing.over.set()
    if not begun:
        raise AdministrationError(f"the shadowing ended before it began: {shadowing.reason}", "failed")


async def shadowing_sequence(
    service: ServiceContext, shadowing: Shadowing, overlay_factory: OverlayFactory, has_begun: Callable[[], None]
) -> None:
    """From the question to Stop, in the order of the documentation's pages, which have no figure of it.

    Raises:
        AdministrationError: the target's user does not agree, or a provider does not.
    """
    viewer, target = shadowing.viewer, shadowing.target
    with _target_sees(service, shadowing, overlay_factory) as seen:
        await _consent(service, shadowing, seen)
        how = "controlling" if shadowing.control else "watching"
        seen.show_notice(f"{shadowing.shadower} is {how} — {seen.hot_key} ends it")
        async with _stopping(service) as halves:  # whatever happens: Stop, to each half that was begun
            shadower = await shadow_connection(viewer)
            callback = _ShadowCallback(shadowing)
            if shadower is not None and await _start(shadower, callback, halves):
                with trio.move_on_after(service.limits.call):
                    await callback.invoked.wait()
                if callback.invoked.is_set():
                    other = await shadow_connection(target)
                    if other is not None and await _do_target(other, callback, halves):
                        await _lasts(service, shadowing, has_begun)
                else:
                    log.warning("provider failed", call="InvokeTargetShadow", effect="degrade", **viewer.whose)
                await halves.stop()
            if viewer.ending is not None or target.ending is not None:
                await trio.sleep_forever()  # a mistake in a query: its connection is about to leave, and ends this
        # E_NOTIMPL, of either side: the service's own shadowing.
        with _viewer_sees(shadowing, overlay_factory):
            await _lasts(service, shadowing, has_begun)


async def _lasts(service: ServiceContext, shadowing: Shadowing, has_begun: Callable[[], None]) -> None:
    """The time for which it is so: until `Shadowing.end`. Managers, watchers and traces hear of both ends of it."""
    viewer_id, target_id = shadowing.viewer_session.session_id, shadowing.target_session.session_id
    shadowing.viewer_session.shadows, shadowing.target_session.shadowed_by = target_id, viewer_id
    shadowing.viewer.recorder.event("shadow", role="shadower", session=target_id, control=shadowing.control)
    shadowing.target.recorder.event("shadow", role="target", session=viewer_id, control=shadowing.control)
    service.feed.publish(ShadowBegun(target_id, viewer_id, _user(shadowing.viewer_session), shadowing.control))
    service.session_changed(shadowing.target_session, SessionChange.SESSION_REMOTE_CONTROL)
    log.info("shadowing begins", control=shadowing.control, **_whose(shadowing))
    has_begun()
    try:
        await trio.sleep_forever()
    finally:
        shadowing.viewer_session.shadows = shadowing.target_session.shadowed_by = None
        shadowing.viewer.recorder.event("shadow_ended", reason=shadowing.reason)
        shadowing.target.recorder.event("shadow_ended", reason=shadowing.reason)
        service.feed.publish(ShadowEnded(target_id, viewer_id, shadowing.reason))
        service.session_changed(shadowing.target_session, SessionChange.SESSION_REMOTE_CONTROL)
        log.info("shadowing ends", reason=shadowing.reason, **_whose(shadowing))


async def _consent(service: ServiceContext, shadowing: Shadowing, seen: ShadowOverlay) -> None:
    """Ask the target's user, if that has to be.

    Raises:
        AdministrationError: the answer is no, or there is none.
    """
    if not service.configuration.sessions.shadow.with_consent:
        return
    what = "control" if shadowing.control else "watch"
    question = f"{shadowing.shadower} wants to {what} this session. Allow?"
    if not await seen.ask(question, service.limits.shadow_consent):
        session_id = shadowing.target_session.session_id
        raise AdministrationError(f"the user of session {session_id} does not agree", "refused")


# What the two clients see


@contextmanager
def _target_sees(
    service: ServiceContext, shadowing: Shadowing, overlay_factory: OverlayFactory
) -> Iterator[ShadowOverlay]:
    """The target's own desktop, with what the service has to say over it."""
    desktop = shadowing.target_session.desktop
    assert desktop is not None
    overlay = overlay_factory(
        OverlayRequest(
            desktop=desktop,
            sink=desktop,
            keyboard_layout=shadowing.target.client.keyboard_layout,
            on_hot_key=lambda: shadowing.end("the target's user pressed the hot key"),
        )
    )
    with shadowing.target.showing(overlay, shadowing.target.desktop_failed, over_own=True):
        yield overlay


@contextmanager
def _viewer_sees(shadowing: Shadowing, overlay_factory: OverlayFactory) -> Iterator[None]:
    """The target's desktop, without what is said over it there, in the size of the shadower's own."""
    desktop, own = shadowing.target_session.desktop, shadowing.viewer_session.desktop
    assert desktop is not None
    assert own is not None
    overlay = overlay_factory(
        OverlayRequest(
            desktop=desktop,
            # What the shadower holds down is released like any client's: its own attachment knows it.
            sink=_Controlling(desktop, shadowing.target) if shadowing.control else None,
            keyboard_layout=shadowing.viewer.client.keyboard_layout,
            on_hot_key=lambda: shadowing.end("the shadower pressed the hot key"),
            size=(own.width, own.height),
        )
    )
    overlay.show_notice(
        f"{_user(shadowing.target_session)[:SHOWN_NAME]}'s session — {overlay.hot_key} goes back to yours"
    )
    with shadowing.viewer.showing(overlay, shadowing.target.desktop_failed, over_own=False):
        yield


@attrs.frozen
class _Controlling:
    """The shadower's input, on its way to the target's desktop: it keeps the target from being idle."""

    desktop: Desktop
    target: ConnectionCallback

    def input_event(self, event: InputEvent) -> None:
        """Pass it on."""
        self.target.touched()
        self.desktop.input_event(event)


# The providers' means


class _ShadowCallback(ShadowCallback):
    """IWRdsProtocolShadowCallback: the service's half of a shadowing that providers carry out."""

    def __init__(self, shadowing: Shadowing) -> None:
        self.shadowing = shadowing
        self.invoked = trio.Event()
        """InvokeTargetShadow has come."""
        self.given: tuple[bytes, bytes, bytes, bytes, str] = (b"", b"", b"", b"", "")
        """What DoTarget gets."""

    def stop_shadow(self) -> None:
        """IWRdsProtocolShadowCallback.StopShadow."""
        self._called("StopShadow", {}, lambda: self.shadowing.end("the shadower's provider called StopShadow"))

    def invoke_target_shadow(
        self,
        target_server_name: str,
        target_session_id: int,
        param1: bytes,
        param2: bytes,
        param3: bytes,
        param4: bytes,
        client_name: str,
    ) -> None:
        """IWRdsProtocolShadowCallback.InvokeTargetShadow: for the session that this shadowing is about, and once."""

        def invoke() -> None:
            if target_server_name != THIS_SERVER or target_session_id != self.shadowing.target_session.session_id:
                raise HResultError(f"session {target_session_id} has not been asked", E_ACCESSDENIED)
            if not self.invoked.is_set():
                self.given = (param1, param2, param3, param4, client_name)
                self.invoked.set()

        arguments = {
            "target_server_name": target_server_name,
            "target_session_id": target_session_id,
            "client_name": client_name,
        }
        self._called("InvokeTargetShadow", arguments, invoke)

    def _called(self, call: str, arguments: dict[str, object], action: Callable[[], None]) -> None:
        viewer = self.shadowing.viewer
        opened = viewer.recorder.call("shadow", "service", call, arguments)
        try:
            action()
        except HResultError as error:
            opened.failed(error)
            viewer.step(SequenceStep(call, "shadow", "service", 0.0, outcome_of(error)))
            raise
        opened.returned(None)
        viewer.step(SequenceStep(call, "shadow", "service", 0.0))


class _Halves:
    """The halves that have been begun, and have to be stopped."""

    def __init__(self, patience: Callable[[], float]) -> None:
        self._patience = patience
        self._begun: list[tuple[ConnectionCallback, ShadowConnection]] = []

    def begin(self, callback: ConnectionCallback, half: ShadowConnection) -> None:
        """Start or DoTarget is about to be called."""
        self._begun.append((callback, half))

    def drop(self, half: ShadowConnection) -> None:
        """It has answered that it has not begun."""
        self._begun = [(callback, begun) for callback, begun in self._begun if begun is not half]

    async def stop(self) -> None:
        """Stop to each, the target's first; to those, too, whose connection is about to end. A second time: nothing."""
        begun, self._begun = self._begun[::-1], []
        with trio.CancelScope(shield=True):
            for callback, half in begun:
                with trio.move_on_after(self._patience()):
                    await _ask(callback, half.stop)


@asynccontextmanager
async def _stopping(service: ServiceContext) -> AsyncIterator[_Halves]:
    # Twice: another call of that connection may have to end first.
    halves = _Halves(lambda: service.patience(2 * service.limits.notification))
    try:
        yield halves
    finally:
        await halves.stop()


async def _start(shadower: ShadowConnection, callback: _ShadowCallback, halves: _Halves) -> bool:
    """Start; whether the shadower's provider has means of its own.

    Raises:
        AdministrationError: it has, and failed.
    """
    target_id = callback.shadowing.target_session.session_id
    halves.begin(callback.shadowing.viewer, shadower)
    asked = _ask(
        callback.shadowing.viewer,
        shadower.start,
        THIS_SERVER,
        target_id,
        HOT_KEY_VK,
        int(HOT_KEY_MODIFIERS),
        callback,
    )
    return _has_begun("Start", await asked, shadower, halves)


async def _do_target(other: ShadowConnection, callback: _ShadowCallback, halves: _Halves) -> bool:
    """DoTarget; whether the target's provider has means of its own.

    Raises:
        AdministrationError: it has, and failed.
    """
    halves.begin(callback.shadowing.target, other)
    asked = _ask(callback.shadowing.target, other.do_target, *callback.given)
    return _has_begun("DoTarget", await asked, other, halves)


class _Answer(Enum):
    """How Start, DoTarget or Stop ended."""

    DONE = "done"
    NOT_IMPLEMENTED = "not implemented"
    FAILED = "failed"


def _has_begun(call: str, answer: _Answer, half: ShadowConnection, halves: _Halves) -> bool:
    if answer is _Answer.DONE:
        return True
    halves.drop(half)  # what failed has not begun, and is not stopped
    if answer is _Answer.FAILED:
        raise AdministrationError(f"{call} of a provider failed", "failed")
    return False


async def _ask(
    callback: ConnectionCallback, method: Callable[[Unpack[Arguments]], Awaitable[None]], *args: *Arguments
) -> _Answer:
    """A call between two steps of a connection's own sequence. A mistake in it ends that connection, and this too."""
    try:
        answer = await callback.ask(method, *args, default=_Answer.NOT_IMPLEMENTED, failed=_Answer.FAILED)
    except ConnectionDroppedError as error:
        callback.end(error.ending)
        return _Answer.FAILED
    return answer or _Answer.DONE


def _user(session: Session) -> str:
    return label(session.user) if session.user is not None else ""


def _whose(shadowing: Shadowing) -> dict[str, object]:
    """For the log."""
    return {"session": shadowing.target_session.session_id, "viewer": shadowing.viewer_session.session_id}
