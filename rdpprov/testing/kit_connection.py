"""One connection in a check, driven through the connection sequence step by step, to any end."""

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import trio
import trio.lowlevel

from rdpprov.api.enums import SettingStatus, SettingType, ValueType
from rdpprov.api.identity import ReconnectClaim, UserToken
from rdpprov.api.license_connection import LICENSING_SUCCEEDED, LicenseConnection
from rdpprov.api.properties import PROPERTIES
from rdpprov.api.structures import ClientData, PropertyData, PropertyValue, SessionId, Setting, Settings
from rdpprov.errinfo import ErrInfo
from rdpprov.rcm.settings import Origin, requested_settings
from rdpprov.testing.kit_run import CannotGoOnError, Guest, Run, is_coroutine
from rdpprov.testing.kit_service import (
    UNKNOWN_PROPERTY,
    Arrival,
    KitScreen,
    KitSink,
    exits_are_errors,
    shown,
    told_by,
)

FIRST_SESSION = 4711
SECOND_SESSION = 4712

STEPS = (
    "OnReady",
    "AcceptConnection",
    "GetClientData",
    "GetClientMonitorData",
    "GetUserCredentials",
    "GetLicenseConnection",
    "RequestLicensingCapabilities",
    "ProtocolComplete",
    "AuthenticateClientToSession",
    "NotifySessionId",
    "GetInputHandles",
    "GetVideoHandle",
    "ConnectNotify",
    "NotifyCommandProcessCreated",
    "IsUserAllowedToLogon",
    "SessionArbitrationEnumeration",
    "LogonNotify",
)
"""The connection sequence, from the provider's OnReady on."""

QUESTIONS: Mapping[ValueType, PropertyData] = {
    ValueType.ULONG: 0,
    ValueType.STRING: "notepad.exe",
    ValueType.BINARY: b"",
    ValueType.GUID: UNKNOWN_PROPERTY,
}
"""A question's entries, by their types."""

CHANNELS = (("CHECK", True), ("rdpprov::check", False))
"""Endpoint names, and whether they are static."""

UNANSWERED: Final = object()
"""What stands for the answer to a property that the provider does not know."""

AfterStep = Callable[[str], Awaitable[None]]

POLICIES = Settings(
    setting_type=SettingType.MACHINE,
    disable_clip=Setting(SettingStatus.ENABLED, 1),
    disable_cdm=Setting(SettingStatus.ENABLED, 1),
    disable_cpm=Setting(SettingStatus.ENABLED, 1),
    reset_broken=Setting(SettingStatus.ENABLED, 1),
    max_idle_time=Setting(SettingStatus.ENABLED, 5),
    max_connect_time=Setting(SettingStatus.ENABLED, 60),
)


class DrivenConnection:
    """One client's connection, and where it stands.

    Args:
        run: of the provider.
        guest: whose.
        arrival: what OnConnected brought.
    """

    def __init__(self, run: Run, guest: Guest, arrival: Arrival) -> None:
        self.run = run
        self.guest = guest
        self.connection = arrival.connection
        self.callback = arrival.callback
        self.redirector = arrival.redirector
        self.data = ClientData()
        self.license: LicenseConnection
        """Since GetLicenseConnection."""
        self.session: SessionId | None = None
        self.screen: KitScreen | None = None
        self.sink: KitSink | None = None
        self._settings = arrival.settings
        self._inputs: object = None
        self._video: object = None

    @property
    def has_input(self) -> bool:
        """Whether there are input devices."""
        return self._inputs is not None

    async def ready(self) -> None:
        """OnReady."""
        with trio.move_on_after(self.run.kit.patience):
            await self.callback.is_ready.wait()
        self.run.findings.require(
            "on-ready-comes",
            self.callback.is_ready.is_set(),
            f"no OnReady within {self.run.kit.patience:g} s of OnConnected's return",
        )

    async def walk(self, until: str = STEPS[-1], after_step: AfterStep | None = None, *, since: str = STEPS[0]) -> None:
        """The connection sequence, from a step to a step."""
        for step in STEPS[STEPS.index(since) :]:
            await self._step(step)
            if after_step is not None:
                await after_step(step)
            if step == until:
                return

    async def _step(self, step: str) -> None:
        call, connection = self.run.call, self.connection
        match step:
            case "OnReady":
                await self.ready()
            case "AcceptConnection":
                await call(connection.accept_connection)
            case "GetClientData":
                self.data = await call(connection.get_client_data)
            case "GetClientMonitorData":
                self._look_at_monitors(await call(connection.get_client_monitor_data, default=(1, 0)))
            case "GetUserCredentials":
                await call(connection.get_user_credentials, default=None)
            case "GetLicenseConnection":
                self.license = await call(connection.get_license_connection, blame="license-connection-is-given")
                self.run.check_signatures(self.license)
            case "RequestLicensingCapabilities":
                await call(self.license.request_licensing_capabilities)
            case "ProtocolComplete":
                await call(self.license.protocol_complete, LICENSING_SUCCEEDED)
            case "AuthenticateClientToSession":
                claim = await call(connection.authenticate_client_to_session, default=None)
                assert claim is None or isinstance(claim, ReconnectClaim)
            case "NotifySessionId":
                await self.attach(FIRST_SESSION)
            case "GetInputHandles":
                self._inputs = await call(connection.get_input_handles, default=None)
                self._look_at_device("GetInputHandles", self._inputs, ("plug", "unplug"))
            case "GetVideoHandle":
                self._video = await call(connection.get_video_handle, default=None)
                self._look_at_device("GetVideoHandle", self._video, ("plug", "unplug", "damaged"))
                self.plug()
            case "ConnectNotify":
                await call(connection.connect_notify, self._session_id)
                self.damage()
            case "NotifyCommandProcessCreated":
                await call(connection.notify_command_process_created, self._session_id)
            case "IsUserAllowedToLogon":
                await call(connection.is_user_allowed_to_logon, self._session_id, self._user, "", self._user.name)
            case "SessionArbitrationEnumeration":
                await self.arbitrate(single_session=True)
            case "LogonNotify":
                await self.log_on()

    @property
    def _session_id(self) -> int:
        assert self.session is not None
        return self.session.session_id

    @property
    def _user(self) -> UserToken:
        return UserToken(self.run.kit.user, how="password")

    async def arbitrate(self, *, single_session: bool) -> None:
        """SessionArbitrationEnumeration."""
        enumerate_sessions = self.connection.session_arbitration_enumeration
        named = await self.run.call(enumerate_sessions, self._user, single_session, default=())
        good = not isinstance(named, str | bytes) and all(
            isinstance(session_id, int) and not isinstance(session_id, bool) for session_id in named
        )
        seen = f"SessionArbitrationEnumeration returned {shown(named)}, expected numbers of sessions"
        self.run.findings.check("arbitration-names-sessions", good, seen)

    async def attach(self, session_id: int) -> None:
        """NotifySessionId."""
        self.session = SessionId(uuid.uuid4(), session_id)
        await self.run.call(self.connection.notify_session_id, self.session, session_id)

    async def log_on(self) -> None:
        """LogonNotify, with policies in force."""
        assert self.session is not None
        effective = requested_settings(self._settings, self.data, {}).with_policies(
            ((Origin.MACHINE_POLICY, POLICIES),)
        )
        written = await self.run.call(
            self.connection.logon_notify,
            self._user,
            self._user.name,
            self._user.domain,
            self.session,
            effective.values,
            default=effective.values,
        )
        _, loosened = effective.changed_by_provider(written)
        self.run.findings.check(
            "logon-settings-are-not-loosened", not loosened, f"LogonNotify loosened {', '.join(loosened)}"
        )

    async def reconnect(self) -> None:
        """DisconnectNotify for the session of now, then another one from NotifySessionId to LogonNotify."""
        self.unplug()
        await self.run.call(self.connection.disconnect_notify, blame="disconnect-notify-is-not-the-end")
        await self.attach(SECOND_SESSION)
        for step in ("GetInputHandles", "GetVideoHandle", "ConnectNotify", "LogonNotify"):
            await self._step(step)

    # Devices

    def plug(self) -> None:
        """Show a screen, take input."""
        self.screen = KitScreen(self.data.h_res or 320, self.data.v_res or 240)
        self.sink = KitSink()
        self._device(self._video, "plug", self.screen)
        self._device(self._inputs, "plug", self.sink)

    def unplug(self) -> None:
        """Show nothing, take nothing."""
        self._device(self._inputs, "unplug")
        self._device(self._video, "unplug")
        if self.screen is not None:
            self.screen.is_plugged = False
        if self.sink is not None:
            self.sink.is_plugged = False

    def damage(self) -> None:
        """Something has been drawn."""
        self._device(self._video, "damaged")

    def look_at_late_uses(self, screen: KitScreen | None, sink: KitSink | None) -> None:
        """Whether devices that have been unplugged are still used."""
        if screen is not None and self._video is not None:
            late = ", ".join(dict.fromkeys(screen.late_uses))
            self.run.findings.check("devices-are-let-go", not late, f"the screen's {late} was called after unplug()")
        if sink is not None and self._inputs is not None:
            events = len(sink.late_events)
            self.run.findings.check("devices-are-let-go", not events, f"input came after unplug(): {events} events")

    def _device(self, device: object, method: str, *args: object) -> None:
        if device is None:
            return
        try:
            with self.run.kit.observer.calling(f"{type(device).__name__}.{method}"), exits_are_errors():
                answer = getattr(device, method)(*args)
        except Exception as error:
            self.run.findings.require(
                "devices-have-their-methods", False, f"{type(device).__name__}.{method} raised {told_by(error)}"
            )
            return
        seen = f"{type(device).__name__}.{method} is async, expected a plain method"
        self.run.findings.require("devices-have-their-methods", not is_coroutine(answer), seen)

    def _look_at_device(self, call: str, device: object, methods: tuple[str, ...]) -> None:
        if device is None:
            return
        missing = [method for method in methods if not callable(_part(device, method))]
        self.run.findings.require(
            "devices-have-their-methods",
            not missing,
            f"{call} returned {shown(device)}, without {', '.join(missing)}",
        )

    def _look_at_monitors(self, monitors: object) -> None:
        good = (
            isinstance(monitors, tuple)
            and len(monitors) == 2
            and all(isinstance(number, int) for number in monitors)
            and 0 <= monitors[1] < monitors[0]
        )
        self.run.findings.check("monitor-data-fits", good, f"GetClientMonitorData returned {shown(monitors)}")

    # Queries

    async def query(self, step: str) -> None:
        """All queries that have no effect, after a step."""
        if step == "OnReady":
            return  # they may come from AcceptConnection on
        await self.ask("queries-at-any-step", f" after {step}")

    async def ask(self, rule: str, when: str, late: str | None = None) -> None:
        """All queries, and their answers' types; one rule is broken if one of them fails, another if it hangs."""
        types = "query-answers-have-their-types"
        call, connection, findings = self.run.call, self.connection, self.run.findings
        status = await call(connection.get_protocol_status, default=None, blame=rule, late=late, answers=types)
        elapsed = await call(connection.get_last_input_time, default=None, blame=rule, late=late, answers=types)
        if elapsed is not None:
            good = not isinstance(elapsed, bool) and elapsed >= 0
            findings.check(types, good, f"GetLastInputTime returned {shown(elapsed)}{when}")
        elif status is not None:
            findings.check(types, True)
        await call(connection.query_property, UNKNOWN_PROPERTY, (), default=(), blame=rule, late=late)
        for guid, asked in PROPERTIES.items():
            question = tuple(PropertyValue(QUESTIONS[kind]) for kind in asked.question)
            query = connection.query_property
            answer: object = await call(query, guid, question, default=UNANSWERED, blame=rule, late=late)
            if answer is not UNANSWERED:
                good = isinstance(answer, Sequence) and all(isinstance(value, PropertyValue) for value in answer)
                findings.check(types, good, f"{asked.name} was answered {shown(answer)}{when}")
        for name, static in CHANNELS:
            await self.open_channel(name, static, rule, when, late)

    async def open_channel(self, name: str, static: bool, rule: str, when: str = "", late: str | None = None) -> None:
        """CreateVirtualChannel, and close what comes."""
        call, create = self.run.call, self.connection.create_virtual_channel
        channel = await call(create, name, static, 0, default=UNANSWERED, blame=rule, late=late)
        if channel is UNANSWERED:
            self.run.findings.check("channels-are-streams", True)
            return
        missing = [method for method in ("send_all", "receive_some", "aclose") if not _part(channel, method)]
        what = f"CreateVirtualChannel returned {shown(channel)}, without {', '.join(missing)}{when}"
        if self.run.findings.check("channels-are-streams", not missing, what):
            await call(channel.aclose, default=None, blame=rule, late=late)

    # The end

    async def leave(self, code: int = ErrInfo.ERRINFO_RPC_INITIATED_DISCONNECT, *, client_gone: bool = False) -> None:
        """The disconnect sequence, from wherever the connection stands."""
        self.unplug()
        rule = "any-error-code-is-taken"
        if not client_gone:
            await self.run.call(self.connection.set_error_info, code, default=None, blame=rule)
        if self.session is not None:
            await self.run.call(self.connection.pre_disconnect, code, default=None, blame=rule)
            await self.run.call(self.connection.disconnect_notify, default=None)
        await self.close()

    async def close(self) -> None:
        """Close, and what has to be true after it."""
        blame = "close-comes-at-any-step" if self.session is None else None
        await self.run.call(self.connection.close, default=None, late="close-returns", blame=blame)
        self.run.findings.check("close-returns", True)
        self.callback.is_closed = True
        relay = self.guest.relay
        if relay is None or "close-lets-the-client-go" in self.run.findings.failures:
            return  # waiting again would tell nothing new
        with trio.move_on_after(self.run.kit.patience):
            await relay.provider_closed.wait()
        self.run.findings.check(
            "close-lets-the-client-go",
            relay.provider_closed.is_set(),
            f"the client's transport was still open {self.run.kit.patience:g} s after Close",
        )

    def still_there(self, rule: str, when: str) -> None:
        """Whether the connection has not been given up by the provider.

        Raises:
            CannotGoOnError: it has.
        """
        relay = self.guest.relay
        closed = relay is not None and relay.provider_closed.is_set()
        self.run.findings.require(rule, not closed, f"the client's transport was closed {when}")
        self.run.findings.require(rule, not self.callback.broken, f"BrokenConnection came {when}")

    async def use(self) -> bool:
        """Let the client be used; whether it can."""
        return await self.guest.use(self.run.kit.patience)


def _part(thing: object, name: str) -> object:
    """An attribute of what a provider has given; None: it has none, or a property that fails."""
    try:
        return getattr(thing, name, None)
    except Exception:
        return None


async def arrived(run: Run, guest: Guest, rule: str = "on-connected-comes", why: str = "") -> DrivenConnection:
    """Wait for the guest's connection.

    Raises:
        CannotGoOnError: it has not come, or cannot be called.
    """
    arrival = await run.arrival(guest, rule, why)
    if run.is_broken or arrival.has_failed:
        raise CannotGoOnError(rule)
    await trio.lowlevel.checkpoint()
    return DrivenConnection(run, guest, arrival)
