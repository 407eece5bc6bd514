"""Providers with one mistake each: `BROKEN` has one for every rule of the kit, by the rule's name.

Each is the minimal provider with one of its classes replaced by a subclass in which something is wrong.
"""

import logging
import os
import sys
import time
from contextlib import suppress

import trio

from rdpprov import api
from rdpprov.api.enums import FastReconnectMode, LogonErrorRedirectorResponse, RcmDrainState, SettingType
from rdpprov.api.identity import NtStatus
from rdpprov.api.properties import CONNECTION_PROPERTY_CURSOR_BLINK_DISABLED, PROPERTY_TYPE_GET_FAST_RECONNECT
from rdpprov.errors import E_FAIL
from tests.testing.minimal_provider import (
    Channel,
    Connection,
    Display,
    Keyboard,
    License,
    Listener,
    MinimalManager,
    Redirector,
    Shadow,
)

BROKEN = {}
"""The manager class that breaks it, by rule."""


def manager_of(broken):
    """A manager class that makes listeners, and these connections, of a class."""
    if issubclass(broken, MinimalManager):
        return broken
    if issubclass(broken, Listener):
        return type(broken.__name__, (MinimalManager,), {"make_listener": broken})
    return manager_of(type(broken.__name__, (Listener,), {"make_connection": broken}))


def breaks(rule):
    """A class that breaks a rule: of a manager, a listener, a connection, or of what a connection makes."""

    def register(broken):
        assert rule not in BROKEN
        BROKEN[rule] = manager_of(broken)
        return broken

    return register


# The classes


@breaks("signatures")
class AcceptsWithoutAsync(Connection):
    def accept_connection(self):
        pass


@breaks("manager-needs-no-arguments")
class WantsArguments(MinimalManager):
    def __init__(self, port):
        self.port = port


@breaks("failures-are-hresults")
class RaisesForeignErrors(Connection):
    async def get_client_data(self):
        raise OSError("the wire is hot")


@breaks("answers-have-their-types")
class AnswersWithATable(Connection):
    async def get_client_data(self):
        return {"user_name": self.user}


@breaks("calls-return")
class WaitsForTheNextCall(Connection):
    def __init__(self, stream):
        super().__init__(stream)
        self.asked_for_data = trio.Event()

    async def accept_connection(self):
        await self.asked_for_data.wait()

    async def get_client_data(self):
        self.asked_for_data.set()
        return await super().get_client_data()


@breaks("notifications-return-at-once")
class WaitsForTheLogon(Connection):
    def __init__(self, stream):
        super().__init__(stream)
        self.logged_on = trio.Event()

    async def connect_notify(self, session_id):
        await self.logged_on.wait()

    async def logon_notify(self, user, user_name, domain_name, session_id, settings):
        self.logged_on.set()
        return await super().logon_notify(user, user_name, domain_name, session_id, settings)


@breaks("event-loop-not-blocked")
class HoldsTheLoop(Connection):
    has_slept = False

    async def get_client_data(self):
        if not HoldsTheLoop.has_slept:
            HoldsTheLoop.has_slept = True
            time.sleep(1.8)  # noqa: ASYNC251 - that is the mistake
        return await super().get_client_data()


@breaks("no-callback-inside-a-call")
class RedrawsInsideACall(Connection):
    async def connect_notify(self, session_id):
        self.callback.redraw_window()


class RedrawsInANurseryInsideACall(Connection):
    async def redraw(self):
        self.callback.redraw_window()

    async def connect_notify(self, session_id):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.redraw)


class ClosesForEver(Connection):
    async def close(self):
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()


class SwallowsCancelled(Connection):
    async def get_client_data(self):
        with suppress(trio.Cancelled):
            await trio.sleep_forever()
        return await super().get_client_data()


class Exits(Connection):
    async def get_client_data(self):
        async with trio.open_nursery():
            sys.exit(3)


class ExitsInATask(Connection):
    async def introduce(self):
        sys.exit(3)


class SaysMoreThanAddresses(Listener):
    @property
    def bound_addresses(self):
        return [(host, port, 0, 0) for host, port in self.bound]

    @bound_addresses.setter
    def bound_addresses(self, addresses):
        self.bound = addresses


def without_a_name(method):
    async def wrapper(*args):
        return await method(*args)

    return wrapper


class AnswersWithoutAName(Connection):
    @without_a_name
    async def get_client_data(self):
        return None


class FailsTwice(Connection):
    async def accept_connection(self):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.fail)
            nursery.start_soon(self.fail)

    async def fail(self):
        raise KeyError("the key")


class HasNoWords(Connection):
    class Answer:
        def __repr__(self):
            raise ValueError("no words")

    async def query_property(self, query_type, entries_in=()):
        return self.Answer()


# Start and stop


@breaks("starts")
class HasNoListener(MinimalManager):
    async def create_listener(self, listener_name):
        raise api.HResultError("there are no listeners today")


@breaks("start-listen-says-started")
class ReturnsFromStartListen(Listener):
    async def start_listen(self, callback, *, task_status):
        self.callback = callback


@breaks("started-means-listening")
class SaysStartedTooEarly(Listener):
    async def start_listen(self, callback, *, task_status):
        self.callback = callback
        with trio.socket.socket() as bound, self.accepting:
            await bound.bind((self.options["host"], 0))
            self.bound_addresses = [bound.getsockname()]
            task_status.started()
            await trio.sleep(60)


@breaks("start-listen-stays")
class ServesOneClient(Listener):
    async def accepted(self, stream):
        await super().accepted(stream)
        self.accepting.cancel()


@breaks("unknown-settings-level-is-answered")
class LooksLevelsUp(Listener):
    async def get_settings(self, level=1):
        return {1: api.ListenerSettings()}[int(level)]


@breaks("manager-takes-any-state")
class LooksStatesUp(MinimalManager):
    async def notify_service_state_change(self, change):
        {RcmDrainState.IN_DRAIN: "drains", RcmDrainState.NOT_IN_DRAIN: "works"}[change.rcm_drain_state]


@breaks("manager-takes-any-session-event")
class LooksEventsUp(MinimalManager):
    async def notify_session_state_change(self, session_id, event_id):
        ("console", "remote", "logon", "logoff")[event_id // 2]


@breaks("manager-takes-settings-changes")
class KnowsOnlyTheMachine(MinimalManager):
    async def notify_settings_change(self, settings):
        if settings.setting_type is not SettingType.MACHINE:
            raise ValueError(settings.setting_type)


@breaks("settings-changes-keep-clients")
class DropsClientsAtAChange(MinimalManager):
    """A client that has logged on under other policies has to log on anew."""

    class make_listener(Listener):  # noqa: N801 - a factory
        class make_connection(Connection):  # noqa: N801 - a factory
            logged_on = []  # noqa: RUF012 - for all

            async def logon_notify(self, user, user_name, domain_name, session_id, settings):
                self.logged_on.append(self)
                return await super().logon_notify(user, user_name, domain_name, session_id, settings)

    async def notify_settings_change(self, settings):
        for connection in self.make_listener.make_connection.logged_on:
            connection.over.set()


@breaks("stop-listen-returns")
class WaitsForItsClients(Listener):
    async def stop_listen(self):
        await super().stop_listen()
        while self.clients.child_tasks:  # noqa: ASYNC110 - nobody else tells
            await trio.sleep(0.01)


@breaks("stop-listen-stops-accepting")
class GoesOnAccepting(Listener):
    async def stop_listen(self):
        async def stop_when_nobody_is_left():
            while len(self.clients.child_tasks) > 1:  # noqa: ASYNC110 - nobody else tells
                await trio.sleep(0.01)
            self.accepting.cancel()

        self.clients.start_soon(stop_when_nobody_is_left)


@breaks("stop-listen-keeps-connections")
class DropsEverybody(Listener):
    async def stop_listen(self):
        self.clients.cancel_scope.cancel()


@breaks("start-listen-ends-after-stop")
class NeverEnds(Listener):
    async def start_listen(self, callback, *, task_status):
        await super().start_listen(callback, task_status=task_status)
        await trio.sleep_forever()


@breaks("listener-can-be-cancelled")
class CannotBeCancelled(Listener):
    def __init__(self, options):
        super().__init__(options)
        self.accepting = trio.CancelScope(shield=True)


@breaks("nothing-left-behind")
class LeavesATask(MinimalManager):
    async def initialize(self, settings, policy):
        await super().initialize(settings, policy)
        trio.lowlevel.spawn_system_task(trio.sleep_forever)


@breaks("starts-again")
class StartsOnce(MinimalManager):
    starts = 0

    async def create_listener(self, listener_name):
        StartsOnce.starts += 1
        if StartsOnce.starts == 2:
            raise api.HResultError("started already")
        return await super().create_listener(listener_name)


@breaks("one-manager-many-listeners")
class HasOneListener(MinimalManager):
    listener = None

    async def create_listener(self, listener_name):
        self.listener = self.listener or await super().create_listener(listener_name)
        return self.listener


# Clients arrive


@breaks("on-connected-comes")
class NeverConnects(Connection):
    async def connected(self, listener_callback):
        await self.stream.receive_some(1)
        raise ValueError("changed my mind")


@breaks("on-connected-waits-for-client-data")
class ConnectsAtOnce(Connection):
    async def introduce(self):
        self.user = self.password = ""

    async def get_user_credentials(self):
        await super().introduce()
        return await super().get_user_credentials()

    async def read(self):
        await self.over.wait()

    async def get_input_handles(self):
        raise api.NotImplementedByProvider("GetInputHandles")


@breaks("bad-clients-cost-only-themselves")
class BelievesEveryClient(Connection):
    async def introduce(self):
        try:
            await super().introduce()
        except ValueError as error:
            raise RuntimeError("a bad client") from error


@breaks("on-connected-arguments")
class BringsATable(Connection):
    async def connected(self, listener_callback):
        return await listener_callback.on_connected(self, {"user_name": self.user})


@breaks("connection-object-is-fresh")
class RecyclesConnections(Listener):
    recycled = None

    async def accepted(self, stream):
        if self.recycled is None:
            self.recycled = self.make_connection(stream)
        else:
            await trio.aclose_forcefully(self.recycled.stream)
            self.recycled.__init__(stream)
        await self.recycled.serve(self.callback)


@breaks("refused-client-is-dropped")
class KeepsRefusedClients(Connection):
    async def connected(self, listener_callback):
        try:
            return await super().connected(listener_callback)
        except api.HResultError:
            await self.stream.receive_some(1)
            raise


# OnReady


@breaks("redirector-needs-no-on-ready")
class AsksForOnReadyFirst(Connection):
    def __init__(self, stream):
        super().__init__(stream)
        self.is_ready = trio.Event()

    async def get_logon_error_redirector(self):
        await self.is_ready.wait()
        return await super().get_logon_error_redirector()

    async def ready(self):
        await super().ready()
        self.is_ready.set()


@breaks("on-ready-comes")
class IsNeverReady(Connection):
    async def ready(self):
        pass


@breaks("on-ready-comes-once")
class IsReadyTwice(Connection):
    async def ready(self):
        self.callback.on_ready()
        self.callback.on_ready()


# The connection sequence


@breaks("good-client-gets-in")
class AcceptsNobody(Connection):
    async def accept_connection(self):
        raise api.HResultError("not today")


@breaks("monitor-data-fits")
class CountsMonitorsFromOne(Connection):
    async def get_client_monitor_data(self):
        return 1, 1


@breaks("arbitration-names-sessions")
class NamesSessionsInWords(Connection):
    async def session_arbitration_enumeration(self, user, single_session_per_user_enabled):
        if single_session_per_user_enabled:
            raise api.NotImplementedByProvider("SessionArbitrationEnumeration")
        return f"all of {user.name}"


@breaks("fast-reconnect-choice-is-offered")
class RemembersItsSession(Connection):
    async def get_session_for_enhanced_fast_reconnect(self, session_id_array):
        return 17


@breaks("fast-reconnect-is-more-than-announced")
class AnnouncesBasicReconnects(Connection):
    async def query_property(self, query_type, entries_in=()):
        await super().query_property(query_type, entries_in)
        return PROPERTY_TYPE_GET_FAST_RECONNECT.pack_answer(FastReconnectMode.BASIC)


class AnnouncesEnhancedReconnects(Connection):
    get_session_for_enhanced_fast_reconnect = (
        api.EnhancedFastReconnectArbitrator.get_session_for_enhanced_fast_reconnect
    )


@breaks("license-connection-is-given")
class HasNoLicensing(Connection):
    async def get_license_connection(self):
        raise api.NotImplementedByProvider("GetLicenseConnection")


@breaks("licensing-failure-is-taken")
class IgnoresTheVerdict(Connection):
    class make_license(License):  # noqa: N801 - a factory
        async def protocol_complete(self, complete):
            self.connection.say("LICENSED")


@breaks("license-packets-are-carried")
class LooksIntoPackets(Connection):
    class make_license(License):  # noqa: N801 - a factory
        async def send_client_license(self, packet):
            await super().send_client_license(packet.rstrip(b"\xff"))


@breaks("license-rounds-may-fail")
class LicensesWhoTakesPackets(Connection):
    class make_license(License):  # noqa: N801 - a factory
        had_rounds = False

        async def send_client_license(self, packet):
            self.had_rounds = True
            await super().send_client_license(packet)

        async def protocol_complete(self, complete):
            await super().protocol_complete(api.LICENSING_SUCCEEDED if self.had_rounds else complete)


@breaks("license-answers-are-the-clients")
class AnswersForTheClient(Connection):
    class make_license(License):  # noqa: N801 - a factory
        async def request_client_license(self, reserve=b""):
            try:
                return await super().request_client_license(reserve)
            except api.HResultError:
                return b""


@breaks("devices-have-their-methods")
class PlugsAsynchronously(Connection):
    class Display(Display):
        async def plug(self, screen):
            self.screen = screen

    def __init__(self, stream):
        super().__init__(stream)
        self.display = self.Display()


@breaks("input-reaches-the-session")
class LosesInput(Connection):
    def heard(self, line):
        self.last_input = trio.current_time()


@breaks("devices-are-let-go")
class KeepsTheSink(Connection):
    class Keyboard(Keyboard):
        def unplug(self):
            pass

    def __init__(self, stream):
        super().__init__(stream)
        self.keyboard = self.Keyboard()


@breaks("logon-settings-are-not-loosened")
class LoosensPolicies(Connection):
    async def logon_notify(self, user, user_name, domain_name, session_id, settings):
        await super().logon_notify(user, user_name, domain_name, session_id, settings)
        return api.ConnectionSettings(user_name=self.user)


@breaks("secrets-are-not-told")
class LogsPasswords(Connection):
    async def get_user_credentials(self):
        logging.getLogger(__name__).debug("%s logs on with %s", self.user, self.password)
        return await super().get_user_credentials()


@breaks("secrets-are-not-traced")
class TracesWhatItReads(Connection):
    def trace(self):
        self.callback.trace_wire("in", f"HELLO {self.user} {self.password}\n".encode())


class TracesFields(Connection):
    def trace(self):
        self.callback.trace_event("hello", {"user": self.user, "said": (self.user, self.password)})


class TracesWideBytes(Connection):
    def trace(self):
        self.callback.trace_event("hello", {"said": self.password.encode("utf-16-le")})


class TracesHalves(Connection):
    def trace(self):
        self.callback.trace_wire("out", b"welcome")
        self.callback.trace_wire("in", f"HELLO {self.user} {self.password[:9]}".encode())
        self.callback.trace_wire("out", b"go on")
        self.callback.trace_wire("in", f"{self.password[9:]}\n".encode())


# Reconnect


@breaks("disconnect-notify-is-not-the-end")
class EndsAtDisconnectNotify(Connection):
    async def disconnect_notify(self):
        self.over.set()


@breaks("session-id-is-the-last-one")
class KeepsTheFirstSession(Connection):
    async def notify_session_id(self, session_id, session_handle):
        if self.session_id is None:
            self.session_id = session_id.session_id


# The end


@breaks("broken-connection-comes")
class TellsNobodyThatItsClientIsGone(Connection):
    def broken(self):
        pass


@breaks("broken-connection-only-then")
class GivesUpAtLogon(Connection):
    async def logon_notify(self, user, user_name, domain_name, session_id, settings):
        if not self.display.gave_up:
            self.display.gave_up = True
            trio.lowlevel.spawn_system_task(self.give_up)
        return await super().logon_notify(user, user_name, domain_name, session_id, settings)

    async def give_up(self):
        self.callback.broken_connection()

    def __init__(self, stream):
        super().__init__(stream)
        self.display.gave_up = False


@breaks("any-error-code-is-taken")
class LooksErrorsUp(Connection):
    async def set_error_info(self, error):
        if error > 0x7FFF:
            raise ValueError(error)


@breaks("close-returns")
class WaitsForAGoodbye(Connection):
    async def close(self):
        self.over.set()
        await self.served.wait()
        await trio.sleep_forever()


@breaks("close-lets-the-client-go")
class ForgetsItsSocket(Connection):
    forgotten = []  # noqa: RUF012 - for all

    async def hang_up(self):
        if self.over.is_set():
            self.forgotten.append(os.dup(self.stream.socket.fileno()))
        await super().hang_up()


@breaks("close-comes-at-any-step")
class NeedsASessionToClose(Connection):
    async def close(self):
        try:
            self.say(f"BYE {self.session_id + 0}")
        finally:
            await super().close()


@breaks("no-callback-after-close")
class RedrawsAfterClose(Connection):
    async def close(self):
        await super().close()
        trio.lowlevel.spawn_system_task(self.redraw)

    async def redraw(self):
        self.callback.redraw_window()


@breaks("connections-are-independent")
class ClosesAll(Listener):
    class make_connection(Connection):  # noqa: N801 - a factory
        listener = None

        async def close(self):
            for other in list(self.listener.all):
                other.over.set()
            await super().close()

    async def accepted(self, stream):
        self.all = getattr(self, "all", [])
        connection = self.make_connection(stream)
        connection.listener = self
        self.all.append(connection)
        try:
            await connection.serve(self.callback)
        finally:
            self.all.remove(connection)


# Queries


@breaks("queries-at-any-step")
class CountsFromTheLogonOn(Connection):
    async def get_protocol_status(self):
        if self.session_id is None:
            raise KeyError("no session")
        return await super().get_protocol_status()


@breaks("query-answers-have-their-types")
class AnswersNoneUntilTheLogon(Connection):
    async def query_property(self, query_type, entries_in=()):
        answer = await super().query_property(query_type, entries_in)
        return answer if self.session_id is not None else None


@breaks("queries-outlive-the-client")
class AsksItsSocket(Connection):
    async def get_protocol_status(self):
        self.stream.socket.getpeername()
        return await super().get_protocol_status()


@breaks("last-input-is-elapsed")
class TellsTheTime(Connection):
    async def get_last_input_time(self):
        return int(time.time() * 1000)


@breaks("unknown-property-is-not-implemented")
class KnowsEveryProperty(Connection):
    async def query_property(self, query_type, entries_in=()):
        try:
            return await super().query_property(query_type, entries_in)
        except api.NotImplementedByProvider:
            raise api.HResultError("no", E_FAIL) from None


@breaks("property-answers-have-their-types")
class AnswersInWords(Connection):
    async def query_property(self, query_type, entries_in=()):
        await super().query_property(query_type, entries_in)
        return (api.PropertyValue("off"),)


@breaks("channels-are-streams")
class HasWriteOnlyChannels(Connection):
    class make_channel(Channel):  # noqa: N801 - a factory
        @property
        def receive_some(self):
            raise AttributeError("receive_some")


@breaks("redirector-answers")
class RedirectsNothing(Connection):
    class make_redirector(Redirector):  # noqa: N801 - a factory
        async def redirect_message(self, caption, message, message_type):
            return LogonErrorRedirectorResponse.INVALID


@breaks("redirector-takes-any-status")
class LooksStatusesUp(Connection):
    class make_redirector(Redirector):  # noqa: N801 - a factory
        async def redirect_logon_error(self, status, substatus, caption, message, message_type):
            NtStatus(status)
            return LogonErrorRedirectorResponse.NOT_HANDLED


@breaks("connection-settings-answer")
class LooksSettingsUp(Connection):
    async def get_connection_setting(self, property_id):
        return {CONNECTION_PROPERTY_CURSOR_BLINK_DISABLED.guid: self.blinks_not}[property_id]


class TakesAnySetting(Connection):
    async def set_connection_setting(self, property_id, value):
        self.blinks_not = value


@breaks("optional-interfaces-answer")
class ShadowsWithItself(Connection):
    async def get_shadow_connection(self):
        return self


# Shadowing


@breaks("shadow-start-is-answered")
class StartsAndForgets(Connection):
    class make_shadow(Shadow):  # noqa: N801 - a factory
        async def invoke(self, server, session_id):
            pass


@breaks("shadow-stop-is-taken")
class CannotStop(Connection):
    class make_shadow(Shadow):  # noqa: N801 - a factory
        async def stop(self):
            raise api.NotImplementedByProvider("Stop")


# The service


@breaks("served-by-the-real-service")
class WantsHighSessionIds(Connection):
    async def is_user_allowed_to_logon(self, session_id, user, domain_name, user_name):
        if session_id < 100:
            raise api.HResultError("such sessions are for the staff")
