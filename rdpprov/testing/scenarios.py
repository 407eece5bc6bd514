"""What a check does with a provider: one function a scenario, in the order in which they are played.

A scenario ends where a rule is broken that nothing can follow; the next one begins with a new manager. After a scenario
that is marked as a foundation nothing more is played if it could not end: what would come is meaningless then.
"""

import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import attrs
import trio

from rdpprov.api.enums import ListenerSettingLevel, RcmDrainState, RcmServiceState, SettingStatus, SettingType
from rdpprov.api.structures import NULL_GUID, ListenerSettings, ServiceState, SessionId, Setting
from rdpprov.errinfo import ErrInfo
from rdpprov.testing.kit_connection import FIRST_SESSION, POLICIES, SECOND_SESSION, STEPS, DrivenConnection, arrived
from rdpprov.testing.kit_licensing import licensing_client_goes, licensing_rounds, licensing_rounds_fail
from rdpprov.testing.kit_places import ask_in_place
from rdpprov.testing.kit_questions import ask_everything
from rdpprov.testing.kit_run import CannotGoOnError, Check, Guest, Run, running
from rdpprov.testing.real_service import real_service

UNKNOWN_CODES = (0, int(ErrInfo.ERRINFO_LOGOFF_BY_USER), 0xDEADBEEF, 0xFFFFFFFF)
LIMITED = ("disable_clip", "disable_cdm", "disable_cpm", "reset_broken", "max_idle_time", "max_connect_time")
"""The policies that a check sets."""
SESSION_EVENTS = (*range(1, 0xC), 0xF, 999)


@attrs.frozen
class Scenario:
    """One of them."""

    play: Callable[[Check], Awaitable[None]]
    is_foundation: bool = False
    needs_all: bool = False
    """Not played if any rule has been broken: it would only tell the same again."""


async def start_and_stop(check: Check) -> None:
    """A life without clients, twice."""
    async with running(check) as run:
        manager = run.manager
        for service_state in RcmServiceState:
            for drain_state in RcmDrainState:
                change = ServiceState(service_state, drain_state)
                await run.call(
                    manager.notify_service_state_change, change, default=None, blame="manager-takes-any-state"
                )
        session = SessionId(NULL_GUID, FIRST_SESSION)
        await run.call(manager.notify_session_of_service_start, session, default=None)
        for event in SESSION_EVENTS:
            rule = "manager-takes-any-session-event"
            await run.call(manager.notify_session_state_change, session, event, default=None, blame=rule)
        for status in SettingStatus:
            await _settings_change(run, "manager-takes-settings-changes", status)
        await run.call(manager.notify_session_of_service_stop, session, default=None)
        await _unknown_levels(run)
        await _listens(run)
    check.findings.check("nothing-left-behind", True)
    async with running(check, starting="starts-again") as run:
        await _listens(run, "starts-again")
    check.findings.check("starts-again", True)


async def _settings_change(run: Run, rule: str, status: SettingStatus) -> None:
    """NotifySettingsChange of each kind; only with one status the values count."""
    for kind in (SettingType.MACHINE, SettingType.USER, SettingType.SAM):
        policies: dict[str, Any] = {name: Setting(status, getattr(POLICIES, name).value) for name in LIMITED}
        settings = attrs.evolve(POLICIES, setting_type=kind, **policies)
        run.settings.in_force[kind] = settings
        await run.call(run.manager.notify_settings_change, settings, default=None, blame=rule)


async def settings_change(check: Check) -> None:
    """Policies that come and go while a client is logged on."""
    rule = "settings-changes-keep-clients"
    async with running(check) as run, run.guest() as guest:
        driven = await arrived(run, guest)
        await driven.walk()
        for status in (SettingStatus.ENABLED, SettingStatus.NOTCONFIGURED):
            await _settings_change(run, rule, status)
            await trio.sleep(check.settle)
            driven.still_there(rule, "by NotifySettingsChange")
            await driven.ask(rule, " after NotifySettingsChange")
        await _stays_useful(driven, rule, "after NotifySettingsChange")
        check.findings.check(rule, True)
        await driven.leave()


async def _stays_useful(driven: DrivenConnection, rule: str, when: str) -> None:
    """Whether a client's input still arrives, where it has before."""
    if "input-reaches-the-session" in driven.run.findings.passed and await driven.use():
        assert driven.sink is not None
        reaches = bool(driven.sink.events) or not driven.has_input
        driven.run.findings.check(rule, reaches, f"its input does not arrive any more, {when}")
    driven.still_there(rule, when)


async def _unknown_levels(run: Run) -> None:
    listener = run.listenings[0].listener
    for level in (ListenerSettingLevel.INVALID, 0x7FFF):
        rule = "unknown-settings-level-is-answered"
        await run.call(listener.get_settings, level, default=ListenerSettings(), blame=rule, may_refuse=True)


async def _listens(run: Run, rule: str = "started-means-listening") -> None:
    """Whether a client can connect at once."""
    run.blamed_for_the_listener = "bad-clients-cost-only-themselves"
    for listening in run.listenings:
        for address in listening.addresses:
            try:
                with trio.fail_after(run.kit.patience):
                    stream = await trio.open_tcp_stream(*address)
            except (OSError, trio.TooSlowError) as error:
                run.findings.require(rule, False, f"nobody listens on {address[0]}:{address[1]}: {error}")
            else:
                run.findings.check(rule, True)
                await trio.aclose_forcefully(stream)
        await trio.sleep(run.kit.settle)
        _nobody_has_come(run)
        run.listens_still(listening)


def _nobody_has_come(run: Run) -> None:
    seen = "OnConnected came for a client that had said nothing, or nothing that means anything"
    run.findings.require("on-connected-waits-for-client-data", not _arrivals(run), seen)


async def first_connection(check: Check) -> None:
    """One client, from its arrival to Close, and everything that may be asked of it."""
    async with running(check) as run, run.guest() as guest:
        driven = await arrived(run, guest)

        async def ask(step: str) -> None:
            await driven.query(step)
            await ask_in_place(driven, step)

        await driven.walk(after_step=ask)
        driven.still_there("broken-connection-only-then", "while the client was there")
        await trio.sleep(check.settle)
        driven.still_there("broken-connection-only-then", "while the client was there")
        check.findings.check("good-client-gets-in", True)
        await ask_everything(driven)
        screen, sink = driven.screen, driven.sink
        if await driven.use():
            await _input_arrives(driven, "after LogonNotify")
            await _last_input(driven)
        driven.still_there("broken-connection-only-then", "while the client was there")
        driven.unplug()
        await driven.use()
        driven.look_at_late_uses(screen, sink)
        await driven.leave()


async def _input_arrives(driven: DrivenConnection, when: str) -> None:
    if not driven.has_input:
        return
    assert driven.sink is not None
    with trio.move_on_after(driven.run.kit.patience):
        await driven.sink.came.wait()
    seen = f"the client was used {when}, and no input event came to the sink that is plugged in"
    driven.run.findings.check("input-reaches-the-session", bool(driven.sink.events), seen)


async def _last_input(driven: DrivenConnection) -> None:
    elapsed = await driven.run.call(driven.connection.get_last_input_time, default=None, blame="queries-at-any-step")
    if elapsed is not None and driven.sink is not None and driven.sink.events:
        most = (2 * driven.run.kit.patience + 1) * 1000
        driven.run.findings.check(
            "last-input-is-elapsed",
            0 <= elapsed <= most,
            f"GetLastInputTime returned {elapsed}, less than {most:g} ms after the last input",
        )


async def reconnect(check: Check) -> None:
    """A connection that gets another session, as after arbitration."""
    async with running(check) as run, run.guest() as guest:
        rule = "disconnect-notify-is-not-the-end"
        driven = await arrived(run, guest)
        await driven.walk()
        screen, sink = driven.screen, driven.sink
        try:
            await driven.reconnect()
        except CannotGoOnError as error:
            seen = "; ".join(check.findings.failures[str(error)])
            check.findings.check(rule, str(error) == rule, f"the second session: {seen}")
            raise
        await trio.sleep(check.settle)
        driven.still_there(rule, "after DisconnectNotify")
        if await driven.use():
            await _input_arrives(driven, "after the reconnect")
            driven.look_at_late_uses(screen, sink)
        await _session_is_told(driven)
        driven.still_there(rule, "after DisconnectNotify")
        check.findings.check(rule, True)
        await driven.leave()


async def _session_is_told(driven: DrivenConnection) -> None:
    """The session that the client knows of; one whose protocol does not tell it has no `session_id`, or None."""

    def told() -> int | None:
        session_id: int | None = getattr(driven.guest.client, "session_id", None)
        return session_id

    if hasattr(driven.guest.client, "session_id"):
        await driven.run.kit.comes(lambda: told() == SECOND_SESSION)
    if told() is None:
        return
    seen = f"the client was told session {told()} last, expected {SECOND_SESSION}"
    driven.run.findings.check("session-id-is-the-last-one", told() == SECOND_SESSION, seen)


async def asked_while_leaving(check: Check) -> None:
    """Queries of a connection whose client goes meanwhile."""
    rule = "queries-outlive-the-client"
    for resets in (False, True):
        async with running(check) as run, run.guest() as guest:
            driven = await arrived(run, guest)
            await driven.walk()

            async def go(guest: Guest = guest, resets: bool = resets) -> None:
                await (guest.break_line() if resets else guest.leave(check.patience))

            run.nursery.start_soon(go)
            how = " while the client was reset" if resets else " while the client left"
            with trio.move_on_after(check.patience):
                while not driven.callback.is_broken.is_set():
                    await driven.ask(rule, how, rule)
                    await trio.sleep(check.settle / 10)
            await trio.sleep(check.settle)
            await driven.ask(rule, " after the client had gone", rule)
            check.findings.check(rule, True)
            await driven.leave(ErrInfo.ERRINFO_PEER_DISCONNECTED, client_gone=True)


async def client_leaves(check: Check) -> None:
    """Clients that go by themselves."""
    for until, resets in (("LogonNotify", False), ("LogonNotify", True), ("OnReady", False), ("ConnectNotify", True)):
        async with running(check) as run, run.guest() as guest:
            driven = await arrived(run, guest)
            await driven.walk(until)
            await (guest.break_line() if resets else guest.leave(check.patience))
            with trio.move_on_after(check.patience):
                await driven.callback.is_broken.wait()
            if guest.relay is not None:
                how = "was reset" if resets else "left"
                check.findings.check(
                    "broken-connection-comes",
                    driven.callback.is_broken.is_set(),
                    f"no BrokenConnection within {check.patience:g} s after the client {how}, after {until}",
                )
            await driven.leave(ErrInfo.ERRINFO_PEER_DISCONNECTED, client_gone=True)


async def licensing_fails(check: Check) -> None:
    """ProtocolComplete with what is not success."""
    rule = "licensing-failure-is-taken"
    for verdict in (0, 2):
        async with running(check) as run, run.guest() as guest:
            driven = await arrived(run, guest)
            await driven.walk("GetLicenseConnection")
            license_connection = await run.call(driven.connection.get_license_connection)
            await run.call(license_connection.request_licensing_capabilities)
            await run.call(license_connection.protocol_complete, verdict, default=None, blame=rule)
            await trio.sleep(check.settle)
            admitted = getattr(guest.client, "admitted", False)
            check.findings.check(rule, not admitted, f"the client was let on after ProtocolComplete({verdict})")
            await driven.leave(ErrInfo.ERRINFO_LICENSE_NO_LICENSE)


async def close_at_any_step(check: Check) -> None:
    """A connection that ends after each step; and every number as its reason."""
    async with running(check) as run:
        for number, step in enumerate(STEPS):
            async with run.guest() as guest:
                driven = await arrived(run, guest)
                await driven.walk(step)
                await driven.leave(UNKNOWN_CODES[number % len(UNKNOWN_CODES)])
    check.findings.check("close-comes-at-any-step", True)


async def bad_clients(check: Check) -> None:
    """Clients that never become connections, and one that does after them."""
    rule = "bad-clients-cost-only-themselves"
    async with running(check) as run:
        address = run.listenings[0].address
        if address is None:
            return
        run.blamed_for_the_listener = rule
        silent = await trio.open_tcp_stream(*address)
        for words in (b"", b"\r\n", b"\0" * 100, b"\xff" * 200):
            stream = await trio.open_tcp_stream(*address)
            with suppress(trio.BrokenResourceError):
                if words:
                    await stream.send_all(words)
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await trio.aclose_forcefully(stream)
        await trio.sleep(4 * check.settle)
        _nobody_has_come(run)
        async with run.guest() as guest:
            driven = await arrived(run, guest, rule, "after clients that reset or sent nonsense: ")
            await driven.walk()
            await driven.leave()
        await trio.aclose_forcefully(silent)


def _arrivals(run: Run) -> int:
    count = 0
    with suppress(trio.WouldBlock):
        while True:
            run.listenings[0].arrivals.receive_nowait()
            count += 1
    return count


async def refused(check: Check) -> None:
    """A client that the service does not take, and one that it takes."""
    rule = "refused-client-is-dropped"
    async with running(check) as run:
        listening = run.listenings[0]
        listening.callback.refuses = True
        async with run.guest() as guest:
            with trio.move_on_after(check.patience):
                await listening.callback.refused.wait()
            if guest.relay is not None:
                with trio.move_on_after(check.patience):
                    await guest.relay.provider_closed.wait()
                check.findings.check(
                    rule,
                    guest.relay.provider_closed.is_set(),
                    f"its transport was still open {check.patience:g} s after OnConnected had raised",
                )
        listening.callback.refuses = False
        async with run.guest() as guest:
            driven = await arrived(run, guest, rule, "after a refused client: ")
            await driven.walk("OnReady")
            await driven.leave()


async def two_clients(check: Check) -> None:
    """Two at once; one is closed."""
    rule = "connections-are-independent"
    async with running(check) as run, run.guest() as first_guest:
        first = await arrived(run, first_guest)
        await first.walk()
        async with run.guest() as second_guest:
            second = await arrived(run, second_guest, rule, "while another is connected: ")
            await second.walk()
            await second.leave()
        await trio.sleep(check.settle)
        first.still_there(rule, "when another connection was closed")
        await first.query(STEPS[-1])
        await _stays_useful(first, rule, "when another connection was closed")
        check.findings.check(rule, True)
        await first.leave()


async def two_listeners(check: Check) -> None:
    """Two listeners of one manager; the first stops."""
    rule = "one-manager-many-listeners"
    if check.options.get("port") not in (None, 0):
        check.findings.does_not_apply(rule, "the options name a port, which two listeners cannot share")
        return
    async with running(check, listeners=2) as run:
        first, second = run.listenings
        await run.stop_listening(first)
        await run.listening_ends(first)
        async with run.guest(second) as guest:
            driven = await arrived(run, guest, rule, "at the second listener, after the first had stopped: ")
            await driven.walk("OnReady")
            await driven.leave()


async def stop_with_a_client(check: Check) -> None:
    """StopListen while a client is logged on."""
    rule = "stop-listen-keeps-connections"
    async with running(check) as run, run.guest() as guest:
        driven = await arrived(run, guest)
        await driven.walk()
        listening = run.listenings[0]
        address = listening.address
        await run.stop_listening(listening)
        await trio.sleep(2 * check.settle)
        if listening.ended.is_set():
            check.findings.require(rule, False, "start_listen ended at StopListen, with a client still connected")
        driven.still_there(rule, "by StopListen")
        await driven.query(STEPS[-1])
        if address is not None:
            await _stays_out(run)
        await driven.leave()
        check.findings.check(rule, True)


async def _stays_out(run: Run) -> None:
    """A client after StopListen."""
    async with run.guest():
        await trio.sleep(4 * run.kit.settle)
        came = _arrivals(run)
        run.findings.require("stop-listen-stops-accepting", not came, "OnConnected came after StopListen")


async def cancelled(check: Check) -> None:
    """A listener that is cancelled, alone and with a client."""
    rule = "listener-can-be-cancelled"
    async with running(check) as run:
        run.listenings[0].scope.cancel()
        await run.listening_ends(run.listenings[0], rule)
    async with running(check) as run, run.guest() as guest:
        driven = await arrived(run, guest)
        await driven.walk()
        run.listenings[0].scope.cancel()
        await run.listening_ends(run.listenings[0], rule)
        await driven.leave(client_gone=True)


async def client_stalls(check: Check) -> None:
    """A client that takes nothing any more, and is closed."""
    async with running(check) as run, run.guest() as guest:
        driven = await arrived(run, guest)
        await driven.walk("ConnectNotify")
        if guest.relay is not None:
            guest.relay.stall()
        await driven.run.call(driven.connection.close, default=None, late="close-returns")
        driven.callback.is_closed = True


SCENARIOS: Sequence[Scenario] = (
    Scenario(start_and_stop, is_foundation=True),
    Scenario(first_connection, is_foundation=True),
    Scenario(reconnect),
    Scenario(settings_change),
    Scenario(client_leaves),
    Scenario(asked_while_leaving),
    Scenario(licensing_fails),
    Scenario(licensing_rounds),
    Scenario(licensing_rounds_fail),
    Scenario(licensing_client_goes),
    Scenario(close_at_any_step),
    Scenario(bad_clients),
    Scenario(refused),
    Scenario(two_clients),
    Scenario(two_listeners),
    Scenario(stop_with_a_client),
    Scenario(cancelled),
    Scenario(client_stalls),
    Scenario(real_service, needs_all=True),
)
"""All of them, in their order."""
