"""Every step of every sequence, failing in every way: the tests are generated from protocol_specs.

Each cell (step, way to fail) says by its spec what follows; checked are that, what the client is told, how long it
took, and that nothing is left behind: no task, no session attached, no key held down, and a trace that is right.
"""

import itertools

import attrs
import pytest
import trio
import trio.testing

from rdpprov.api.devices import Button, PointerButton, ScancodeKey, UnicodeKey
from rdpprov.api.identity import ReconnectClaim
from rdpprov.api.structures import UserCredential
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import ConfigurationError, HResultError
from rdpprov.rcm.configuration import Limits
from rdpprov.rcm.licensing_sequence import LicensePacket
from rdpprov.testing.scripted import DEFAULT_ANSWERS, HANGS, NOT_IMPLEMENTED, ScriptedProvider, give
from rdpprov.traces.checker import check_trace
from rdpprov.traces.sequences import Follow, load_sequences

WAYS = ("hresult", "not_implemented", "exception", "hang", "gone")

# Cells in which there is nothing to test, and why.
IMPOSSIBLE = {
    ("OnConnected", "not_implemented"): "the service's own call: it has no E_NOTIMPL",
    ("OnConnected", "exception"): "the service's own call",
    ("OnConnected", "hang"): "it lasts as long as GetLogonErrorRedirector, whose cell this is",
    ("Initialize", "gone"): "there is no client yet",
    ("CreateListener", "gone"): "there is no client yet",
    ("StartListen", "gone"): "there is no client yet",
    ("StopListen", "gone"): "tests/rcm/test_stop.py: clients that go while the service stops",
    ("Uninitialize", "gone"): "there is no client any more",
}

# What the client is told when a step drops it; a step that is not here: that the server refuses.
ERRINFO = {
    "GetLicenseConnection": ErrInfo.ERRINFO_LICENSE_INTERNAL,
    "RequestLicensingCapabilities": ErrInfo.ERRINFO_LICENSE_INTERNAL,
    "SendClientLicense": ErrInfo.ERRINFO_LICENSE_INTERNAL,
    "RequestClientLicense": ErrInfo.ERRINFO_LICENSE_CLIENT_ENDED_PROTOCOL,
    "ProtocolComplete": ErrInfo.ERRINFO_LICENSE_INTERNAL,
    "GetInputHandles": ErrInfo.ERRINFO_CLOSE_STACK_ON_DRIVER_FAILURE,
    "GetVideoHandle": ErrInfo.ERRINFO_CLOSE_STACK_ON_DRIVER_FAILURE,
    "IsUserAllowedToLogon": ErrInfo.ERRINFO_SERVER_INSUFFICIENT_PRIVILEGES,
}
LATE = ErrInfo.ERRINFO_LOGON_TIMEOUT
LATE_LICENSE = ErrInfo.ERRINFO_LICENSE_CANT_FINISH_PROTOCOL

HELD = [ScancodeKey(0x1E, True), UnicodeKey("é", True), PointerButton(Button.LEFT, True, 3, 4)]


class OneRound:
    """A license issuer: one packet that is answered, and the license."""

    def begin(self, capabilities):
        self.packets = iter([LicensePacket(b"challenge"), LicensePacket(b"license", is_answered=False)])
        return self

    def next_packet(self, answer):
        return next(self.packets, None)


@attrs.define
class Cell:
    """A provider that fails once, in one way, at one step."""

    step: object
    way: str
    provider: ScriptedProvider
    clients: list = attrs.field(factory=list)
    failed_at: float = 0.0
    gone: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    @property
    def follow(self):
        step = self.step
        ways = {
            "hresult": step.failure,
            "not_implemented": step.not_implemented,
            "exception": step.exception,
            "hang": step.hang,
        }
        return ways[self.way]

    def answers(self, nth=1, **more):
        """The connection's answers: usual ones, but for the step's ``nth`` call."""
        calls = itertools.count(1)
        usual = {**DEFAULT_ANSWERS, "GetUserCredentials": UserCredential("ann", "right"), **more}

        async def answer(*args):
            if next(calls) != nth:
                return await give(usual.get(self.step.call), args)
            return await self.fail()

        return {**usual, self.step.call: answer}

    async def fail(self):
        self.failed_at = trio.current_time()
        match self.way:
            case "hresult":
                raise HResultError("scripted failure")
            case "not_implemented":
                return await give(NOT_IMPLEMENTED, ())
            case "exception":
                raise ZeroDivisionError("a mistake in the provider")
            case "hang":
                return await give(HANGS, ())
            case "gone":
                self.gone.cancel()
                if self.clients:
                    self.clients[-1].goes()
                if self.step.sequence != "disconnect":
                    await trio.sleep_forever()
                return None

    async def connect(self, **answers):
        """The client that fails."""
        client = None
        with self.gone:
            client = await self.provider.connect(answers=self.answers(**answers), ready=False)
        if client is None:
            return None
        self.clients.append(client)
        if self.step.call == "OnReady":
            self.failed_at = trio.current_time()
            if self.way == "gone":
                client.goes()
            return client
        client.callback.on_ready()
        return client


async def connection(cell):
    if cell.step.call == "OnConnected":
        return await on_connected(cell)
    return await cell.connect()


async def on_connected(cell):
    if cell.way == "gone":
        # The provider's task is cancelled while the service asks for the redirector.
        cell.step = attrs.evolve(cell.step, call="GetLogonErrorRedirector")
        return await cell.connect()
    first = await cell.provider.log_on("bob")
    with pytest.raises(HResultError, match="as many as it allows"):
        await cell.provider.connect()
    cell.clients.append(first)
    return first


async def licensing(cell):
    return await cell.connect()


async def arbitrated(cell):
    first = await cell.provider.log_on("ann")
    first.goes()
    await first.closed.wait()
    twice = cell.step.call in ("NotifySessionId", "GetInputHandles", "GetVideoHandle", "ConnectNotify")
    return await cell.connect(nth=2 if twice else 1)


async def direct(cell):
    first = await cell.provider.log_on("ann")
    secret = first.callback.issue_reconnect_secret()
    first.goes()
    await first.closed.wait()
    claim = ReconnectClaim(secret.logon_id, secret.secret)
    return await cell.connect(AuthenticateClientToSession=claim, GetUserCredentials=NOT_IMPLEMENTED)


async def disconnect(cell):
    client = await cell.connect()
    await client.until("LogonNotify")
    cell.provider.desktops[-1].log_off()
    return client


SCENARIOS = {
    ("connection", None): connection,
    ("licensing", None): licensing,
    ("reconnect", "arbitrated"): arbitrated,
    ("reconnect", "direct"): direct,
    ("disconnect", None): disconnect,
}

CELLS = [(step, way) for step in load_sequences().steps() for way in WAYS]


def cells(*, start):
    return pytest.mark.parametrize(
        ("step", "way"),
        [
            pytest.param(step, way, id=f"{step.sequence}{'-' + step.variant if step.variant else ''}-{step.call}-{way}")
            for step, way in CELLS
            if (step.sequence == "start") is start and (step.call, way) not in IMPOSSIBLE
        ],
    )


def test_there_is_a_cell_for_every_step_and_way():
    assert {(step.sequence, step.variant) for step, _ in CELLS} == {*SCENARIOS, ("start", None)}
    assert set(IMPOSSIBLE) <= {(step.call, way) for step, way in CELLS}


@cells(start=False)
async def test_a_step_that_fails(autojump_clock, step, way):
    license_policy = {"license_policy": "issue", "license_issuer": OneRound()} if step.sequence == "licensing" else {}
    provider = ScriptedProvider(**license_policy)
    if step.call == "OnConnected" and way == "hresult":
        provider.answers["GetSettings"] = attrs.evolve(
            DEFAULT_ANSWERS["GetSettings"], max_protocol_listener_connection_count=1
        )
    provider.held = HELD
    async with provider.service() as service:
        idle = len(service._context.nursery.child_tasks)
        cell = Cell(step, way, provider)
        client = await SCENARIOS[step.sequence, step.variant](cell)
        step = cell.step
        if step.sequence == "disconnect":
            await ends(cell, client)
        elif way == "gone" or client is None:
            await goes(cell, client)
        elif step.call == "OnConnected" or cell.follow.goes_on:
            await goes_on(cell, client)
        else:
            await is_dropped(cell, client)
        await nothing_is_left(cell, service, idle)
    for trace in provider.traces.all():
        assert check_trace(trace) == []


async def is_dropped(cell, client):
    step = cell.step
    assert cell.follow in (Follow.DROP, Follow.REFUSE)
    await client.closed.wait()
    usual = ERRINFO.get(step.call, ErrInfo.ERRINFO_SERVER_DENIED_CONNECTION)
    late = LATE_LICENSE if step.sequence == "licensing" else LATE
    assert client.args_of("SetErrorInfo") == ((late if cell.way == "hang" or step.call == "OnReady" else usual),)
    assert client.names[-1] == "Close"
    told_session = "NotifySessionId" in client.names and (step.variant, step.call) != ("arbitrated", "DisconnectNotify")
    assert ("PreDisconnect" in client.names) is told_session
    if step.dropped_by:
        assert client.args_of(step.dropped_by) == (0,)
    limits = Limits()
    if cell.way == "hang":
        patience = {"RequestLicensingCapabilities": limits.licensing, "SendClientLicense": limits.licensing}
        limit = getattr(limits, step.limit) if step.limit else limits.call
        if step.dropped_by:
            limit = limits.licensing
        if step.call == "ProtocolComplete":
            limit = limits.notification
        assert trio.current_time() - cell.failed_at == pytest.approx(patience.get(step.call, limit))


async def goes_on(cell, client):
    """The connection goes on to the end of its sequence, and stays."""
    if cell.step.call == "GetUserCredentials":
        (await cell.provider.logon_desktop()).type("ann", "right")
    await client.until("LogonNotify")
    await trio.sleep(1000)
    assert "Close" not in client.names
    client.goes()
    await client.closed.wait()


async def goes(cell, client):
    """There is nobody left to tell; the provider is told all the same."""
    if client is None:
        await trio.testing.wait_all_tasks_blocked()
        return
    await client.closed.wait()
    assert trio.current_time() == cell.failed_at
    assert "SetErrorInfo" not in client.names
    assert client.names[-1] == "Close"


async def ends(cell, client):
    """Nothing that fails in a disconnect stops the rest."""
    await client.closed.wait()
    assert client.names[-4:] == ["SetErrorInfo", "PreDisconnect", "DisconnectNotify", "Close"]
    assert client.args_of("SetErrorInfo") == client.args_of("PreDisconnect") == (ErrInfo.ERRINFO_LOGOFF_BY_USER,)
    assert trio.current_time() - cell.failed_at <= Limits().close


async def nothing_is_left(cell, service, idle):
    await trio.testing.wait_all_tasks_blocked()
    assert service.connection_count == 0
    assert service.logon_desktop_count == 0
    sessions = list(service.sessions)
    assert all(session.holder is None and not session.is_temporary for session in sessions)
    assert len(service._context.nursery.child_tasks) == idle + len(sessions)
    for client in cell.clients:
        assert client.video.screen is None
        assert client.inputs.sink is None
    for desktop in [*cell.provider.desktops, *cell.provider.logon_desktops]:
        keys = [event for event in desktop.events if isinstance(event, ScancodeKey | UnicodeKey | PointerButton)]
        assert sum(event.pressed for event in keys) == sum(not event.pressed for event in keys)
    assert all(screen.is_closed for desktop in cell.provider.desktops for screen in desktop.screens)


@cells(start=True)
async def test_a_step_of_the_services_start_or_stop_that_fails(autojump_clock, step, way):
    provider = ScriptedProvider()
    cell = Cell(step, way, provider)
    provider.answers.update(cell.answers())
    service = provider.make_service()
    if cell.follow is Follow.DROP:
        with pytest.raises(ConfigurationError, match=f"listener scripted: {step.call}"):
            await service.serve()
        limit = Limits().call if way == "hang" else 0
    else:
        async with trio.open_nursery() as nursery:
            await nursery.start(service.serve)
            client = await provider.log_on("ann")
            service.request_stop()
        assert client.names[-1] == "Close"
        limit = Limits().stop if way == "hang" else 0
    assert trio.current_time() - cell.failed_at <= limit
    initialized = step.call != "Initialize" or cell.follow.goes_on
    assert ("Uninitialize" in provider.names) is initialized
    listened = cell.follow.goes_on
    assert ("StopListen" in provider.names) is listened
    assert service.connection_count == 0
    for trace in provider.traces.all():
        assert check_trace(trace) == []
