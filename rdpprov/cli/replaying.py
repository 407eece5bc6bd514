"""What ``rdpprov trace replay`` sets up around a trace: the provider, or the service, that it is played against."""

from collections.abc import Mapping
from typing import Any

import trio

from rdpprov.accounts.authenticator import FileAuthenticator
from rdpprov.accounts.users_file import ScryptCost, User, UserIndex, split_name
from rdpprov.errors import ConfigurationError
from rdpprov.rcm.configuration import ListenerConfiguration, ServiceConfiguration
from rdpprov.rcm.loader import load_protocol
from rdpprov.rcm.service import RemoteConnectionManager
from rdpprov.sessions.demo import DemoDesktop
from rdpprov.sessions.factories import logon_desktop_factory
from rdpprov.traces.format import Trace
from rdpprov.traces.replay import Replay, ReplayError, ReplayService

PATIENCE = 30.0
"""Seconds that a replay against the service may take."""

PASSWORD = "replayed"
"""What stands for the password, which no trace has."""


def against_provider(trace: Trace, protocol: str, options: Mapping[str, object]) -> Replay:
    """Make the service's calls of a trace on a provider.

    Raises:
        ConfigurationError: there is no such protocol.
        ReplayError: the trace cannot be replayed.
    """

    async def run() -> Replay:
        return await ReplayService(trace, load_protocol(protocol)(), options).run()

    return trio.run(run)


def against_service(trace: Trace) -> Replay:
    """Give a service the provider's answers and callbacks of a trace.

    Raises:
        ReplayError: the trace cannot be replayed, or the service does not come to an end with it.
    """
    return trio.run(_against_service, trace)


async def _against_service(trace: Trace) -> Replay:
    done = trio.Event()
    replays: list[Replay] = []

    def report(replay: Replay) -> None:
        replays.append(replay)
        done.set()

    options = {"trace": trace, "report": report, "secrets": {"password": PASSWORD}}
    listener = ListenerConfiguration(trace.header.listener or "replay", "rdpprov.traces.replay:TraceManager", options)
    service = RemoteConnectionManager(
        ServiceConfiguration(listeners=[listener]),
        authenticator=FileAuthenticator(UserIndex(_users(trace))),
        desktop_factory=DemoDesktop,
        logon_desktop_factory=logon_desktop_factory(),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(service.serve)
        with trio.move_on_after(PATIENCE):
            await done.wait()
        service.request_stop()
    if not replays:
        raise ReplayError(f"the service has not come to the end of the trace within {PATIENCE:g} s")
    return replays[0]


def _users(trace: Trace) -> list[User]:
    """Whoever logged on in the trace may do so again."""
    for call in trace.calls:
        if call.call == "GetUserCredentials" and isinstance(call.result, dict):
            credential: dict[str, Any] = call.result
            name, domain = split_name(str(credential.get("user_name", "")), str(credential.get("domain", "")))
            try:
                return [User.new(name, PASSWORD, domain=domain, cost=ScryptCost(n=2))]
            except ConfigurationError:
                return []  # nobody could have that name, and nobody has logged on with it
    return []
