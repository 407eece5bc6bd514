"""What ``rdpprov trace replay`` sets up around a trace: the provider, or the service, that it is played against."""

from collections.abc import Mapping

import trio
from trio.testing import MockClock

from rdpprov.rcm.loader import load_protocol
from rdpprov.testing.trace_assertions import replay_against_service
from rdpprov.traces.against_provider import ReplayService
from rdpprov.traces.dialogue import Replay
from rdpprov.traces.format import Trace


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

    There is no network and no thread in it, so its clock need not be a real one: where everybody waits, it jumps to
    the next time limit.

    Raises:
        ReplayError: the trace cannot be replayed.
    """
    return trio.run(replay_against_service, trace, clock=MockClock(autojump_threshold=0))
