"""IWRdsProtocolConnectionCallback: the service's half of one connection."""

import time
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TypeVar

import attrs
import structlog
import trio

from rdpprov.api.connection import ProtocolConnection, ProtocolConnectionCallback
from rdpprov.api.devices import Rectangle
from rdpprov.api.identity import ReconnectSecret
from rdpprov.api.logon_error_redirector import LogonErrorRedirector
from rdpprov.api.structures import ClientData, SmallRect
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import E_ACCESSDENIED, E_INVALIDARG, HResultError, RdpProvError, for_log
from rdpprov.rcm.asking import Asker, outcome_of
from rdpprov.rcm.attachment import Attachment, Failed
from rdpprov.rcm.channels import ServiceChannel
from rdpprov.rcm.configuration import Limits, ListenerConfiguration
from rdpprov.rcm.counters import Place
from rdpprov.rcm.ending import CLIENT_GONE, DESKTOP_DIED, Ending
from rdpprov.rcm.session_table import Session
from rdpprov.rcm.settings import EffectiveSettings
from rdpprov.sessions.base import (
    MAX_DESKTOP,
    MIN_DESKTOP,
    ClientAttached,
    ClientDetached,
    Desktop,
    DesktopMessage,
    SequenceStep,
)
from rdpprov.traces.recorder import TraceRecorder

if TYPE_CHECKING:
    from rdpprov.rcm.shadowing import Shadowing

log = structlog.get_logger(__name__)

Result = TypeVar("Result")

STEPS_KEPT = 64
"""Calls that a desktop is told of when it is plugged in; a first connection has about 20."""


class ConnectionCallback(ProtocolConnectionCallback):
    """One connection, as the service sees it; what the provider may call of it is the interface's.

    Args:
        connection: the provider's half.
        connection_id: its number; never used again while the service runs.
        listener: whose.
        recorder: its trace.
        limits: for what is asked of it.
    """

    def __init__(
        self,
        connection: ProtocolConnection,
        connection_id: int,
        listener: ListenerConfiguration,
        recorder: TraceRecorder,
        limits: Limits,
    ) -> None:
        self.connection = connection
        self.connection_id = connection_id
        self.listener = listener
        self.recorder = recorder
        self.guid = uuid.uuid4()
        self.opened_at = time.time()
        """Seconds since 1970."""
        self.began = trio.current_time()
        """Likewise, on trio's clock."""
        self.place = Place(listener.name, listener.protocol)
        self.whose = {"connection": connection_id, "listener": listener.name}
        self.ask = Asker(recorder, limits, whose=self.whose, on_step=_weakly(self.step), serial=True)
        self.redirector: LogonErrorRedirector | None = None
        self.redirector_asked = trio.Event()
        """GetLogonErrorRedirector is over, so OnReady may come."""
        self.ready = trio.Event()
        """OnReady has come."""
        self.accepted = False
        """AcceptConnection is over: from now on queries may come between any two steps."""
        self.querying: set[trio.CancelScope] = set()
        """Queries that are being asked, or wait to be; they end before the disconnect sequence begins."""
        self.fast_reconnect_asked = False
        """The provider has had its chance to choose a session."""
        self.channels: set[ServiceChannel] = set()
        """Virtual channels that the service has opened; they end with the connection."""
        self.client = ClientData()
        self.monitors = (1, 0)
        self.settings: EffectiveSettings | None = None
        self.active_since = 0.0
        """When its user was logged on in this connection, on trio's clock."""
        self.last_input = 0.0
        """When somebody worked here last, on trio's clock; at first `active_since`."""
        self.wakes_on_input = False
        """The next input is to set `rearmed`."""
        self.rearmed = trio.Event()
        """`settings` have changed, or there was input that was waited for: the limits are to be worked out again."""
        self.session: Session | None = None
        self.session_told = False
        """NotifySessionId has come, and no DisconnectNotify after it."""
        self.attachment: Attachment | None = None
        self.shadowing: Shadowing | None = None
        """What its client takes part in, on either side; it ends when the client leaves its session."""
        self.scope = trio.CancelScope()
        """The connection's life: `end` cancels it."""
        self.closing_scope: trio.CancelScope | None = None
        """Its end's life: for who has less patience than the limit for Close."""
        self.ending: Ending | None = None
        self._shown: Desktop | None = None
        self._over_shown: Desktop | None = None
        """What is shown instead of it, and is the same desktop with something over it."""
        self._steps: deque[SequenceStep] = deque(maxlen=STEPS_KEPT)

    # What the provider calls

    def on_ready(self) -> None:
        """IWRdsProtocolConnectionCallback.OnReady."""
        self._called("OnReady", self.ready.set)

    def broken_connection(self, reason: int = 0, source: int = 0) -> None:
        """IWRdsProtocolConnectionCallback.BrokenConnection."""
        self._called("BrokenConnection", lambda: self.end(CLIENT_GONE), reason=reason, source=source)

    def stop_screen_updates(self) -> None:
        """IWRdsProtocolConnectionCallback.StopScreenUpdates."""
        self._called("StopScreenUpdates", self._stop_screen_updates)

    def redraw_window(self, rectangle: SmallRect | None = None) -> None:
        """IWRdsProtocolConnectionCallback.RedrawWindow."""
        part = None
        if rectangle is not None:
            part = Rectangle(rectangle.left, rectangle.top, rectangle.right, rectangle.bottom)
        self._called("RedrawWindow", lambda: self._redraw(part), rectangle=rectangle)

    def get_connection_id(self) -> int:
        """IWRdsProtocolConnectionCallback.GetConnectionId."""
        return self._called("GetConnectionId", lambda: self.connection_id)

    def issue_reconnect_secret(self) -> ReconnectSecret:
        """Our extension: IssueReconnectSecret in traces."""
        return self._called("IssueReconnectSecret", self._issue_reconnect_secret)

    async def resize_desktop(self, width: int, height: int) -> None:
        """Our extension: ResizeDesktop in traces."""
        opened = self.recorder.call("connection", "service", "ResizeDesktop", {"width": width, "height": height})
        try:
            await self._resize_desktop(width, height)
        except HResultError as error:
            opened.failed(error)
            raise
        opened.returned(None)

    def trace_event(self, name: str, fields: Mapping[str, object], *, ago: float = 0.0) -> None:
        """Our extension: a milestone on the wire."""
        self.recorder.event(name, ago=ago, **fields)

    @property
    def traces_wire(self) -> bool:
        """Our extension: whether `trace_wire` keeps anything."""
        return self.recorder.records_wire

    def trace_wire(self, direction: Literal["in", "out"], data: bytes, *, ago: float = 0.0) -> None:
        """Our extension: plain bytes of the wire."""
        self.recorder.wire(direction, data, ago=ago)

    # What the service does with it

    @property
    def client_address(self) -> str:
        """Whose failed logons are counted."""
        return self.client.client_sock_address.address or self.client.client_address

    def take(self, session: Session) -> None:
        """Have this session from now on; whoever has it is disconnected."""
        self.session = session
        session.claim(self)

    def end(self, ending: Ending) -> None:
        """Let the connection go: its sequence is cancelled, its disconnect sequence follows. The first reason stays."""
        if self.ending is None:
            self.ending = ending
        self.scope.cancel()

    def provider_failed(self, error: Exception) -> None:
        """One of the provider's devices raised: its own connection ends."""
        log.warning("provider's device failed", **for_log(error), **self.whose)
        self.end(Ending(ErrInfo.ERRINFO_CLOSE_STACK_ON_DRIVER_IFACE_FAILURE, f"a device raised {type(error).__name__}"))

    def touched(self) -> None:
        """Somebody works here: a key, a button, the mouse."""
        self.last_input = trio.current_time()
        if self.wakes_on_input:
            self.rearmed.set()

    def plug_session(self) -> None:
        """Show the session's desktop on this connection, and tell it who came, and how."""
        session, attachment = self.session, self.attachment
        if self.ending is not None or session is None or session.desktop is None or attachment is None:
            return  # ended while the desktop was made ready; the session may be another connection's by now
        attachment.plug(session.desktop, self.desktop_failed)
        self._shown = session.desktop
        self.recorder.event("desktop", kind="session")
        self.tell_desktop(self.client_attached(session.desktop))
        for step in self._steps:
            self.tell_desktop(step)

    @property
    def shows_session(self) -> bool:
        """Whether the session's own desktop has been plugged in, and the client has not left since."""
        return self._shown is not None and self.ending is None

    @contextmanager
    def showing(self, desktop: Desktop, desktop_failed: Failed, *, over_own: bool) -> Iterator[None]:
        """Show another desktop than the session's own, for the length of the block, or until the client leaves.

        Messages go to the session's desktop all the time.

        Args:
            desktop: the other one.
            desktop_failed: told of what it raises.
            over_own: it is the session's own, with something over it: the client may still resize it.
        """
        attachment = self.attachment
        assert attachment is not None
        attachment.plug(desktop, desktop_failed)
        self._over_shown = desktop if over_own else None
        try:
            yield
        finally:
            self._over_shown = None
            if self.attachment is attachment and self._shown is not None:
                attachment.plug(self._shown, self.desktop_failed)

    def client_attached(self, desktop: Desktop) -> ClientAttached:
        """What this client said about itself, for a desktop that is about to be shown to it."""
        client = self.client
        return ClientAttached(
            name=client.client_name,
            address=self.client_address,
            protocol=client.protocol_name or self.listener.protocol,
            listener=self.listener.name,
            width=desktop.width,
            height=desktop.height,
            color_depth=client.color_depth,
            keyboard_layout=client.keyboard_layout,
            build=client.client_build_number,
        )

    def step(self, step: SequenceStep) -> None:
        """A call of this connection has ended: for the desktop, now or when it is plugged in."""
        self._steps.append(step)
        self.tell_desktop(step)

    def tell_desktop(self, message: DesktopMessage) -> None:
        """Tell the desktop that is shown, if one is, something; what it makes of it is not this connection's affair."""
        if self._shown is None:
            return
        try:
            self._shown.tell(message)
        except Exception as error:
            self.desktop_failed(error)

    def detach(self) -> None:
        """Unplug whatever is plugged in, and release what is pressed. Nothing happens the second time."""
        attachment, self.attachment = self.attachment, None
        if attachment is not None:
            attachment.unplug()
        self.tell_desktop(ClientDetached())
        self._shown = None
        if self.shadowing is not None:
            self.shadowing.left(self)

    async def _resize_desktop(self, width: int, height: int) -> None:
        attachment = self.attachment
        desktop = attachment.desktop if attachment is not None else None
        if attachment is None or desktop is None or desktop not in (self._shown or desktop, self._over_shown):
            raise HResultError("no desktop of this client's own is shown", E_ACCESSDENIED)
        if not (MIN_DESKTOP <= width <= MAX_DESKTOP and MIN_DESKTOP <= height <= MAX_DESKTOP):
            raise HResultError(
                f"a desktop of {width}x{height}, {MIN_DESKTOP} to {MAX_DESKTOP} are allowed", E_INVALIDARG
            )
        try:
            await desktop.resize(width, height)
        except RdpProvError as error:
            raise HResultError(f"the desktop cannot: {error}") from error
        except Exception as error:
            if attachment.desktop is desktop:  # else the client has another by now, and whoever is shown it next sees
                attachment.desktop_failed(error)
            raise HResultError("the desktop died") from error
        # As if it had asked for that at first: the user's own desktop comes after the logon desktop.
        self.client = attrs.evolve(self.client, h_res=width, v_res=height)

    def desktop_failed(self, error: Exception) -> None:
        """The session's desktop raised outside its own task: it ends, as it would if its task had."""
        log.error("desktop failed", **for_log(error), **self.whose)
        if self.session is not None:
            self.session.end(DESKTOP_DIED)

    def _called(self, call: str, action: Callable[[], Result], **arguments: object) -> Result:
        """One callback: traced, then done. Late ones do nothing that would matter: the connection is over."""
        opened = self.recorder.call("connection", "service", call, arguments)
        try:
            result = action()
        except HResultError as error:
            opened.failed(error)
            self.step(SequenceStep(call, "connection", "service", 0.0, outcome_of(error)))
            raise
        opened.returned(result)
        self.step(SequenceStep(call, "connection", "service", 0.0))
        return result

    def _stop_screen_updates(self) -> None:
        if self.attachment is not None:
            self.attachment.stop_updates()

    def _redraw(self, part: Rectangle | None) -> None:
        if self.attachment is not None:
            self.attachment.redraw(part)

    def _issue_reconnect_secret(self) -> ReconnectSecret:
        session = self.session
        if session is None or session.holder is not self or session.is_temporary:
            raise HResultError("nobody is logged on", E_ACCESSDENIED)
        if self.settings is not None and self.settings.values.disable_auto_reconnect:
            raise HResultError("policy switches automatic reconnection off", E_ACCESSDENIED)
        return session.issue_secret()


def _weakly(method: Callable[[SequenceStep], None]) -> Callable[[SequenceStep], None]:
    """The same method, for what its object has itself: what is over is then freed at once, not when garbage is
    collected, and with it go the client's password and its TLS."""
    reference = weakref.WeakMethod(method)

    def call(step: SequenceStep) -> None:
        if (alive := reference()) is not None:
            alive(step)

    return call
