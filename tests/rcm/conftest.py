import pytest
import structlog
from trio.testing import MockClock

from rdpprov.traces.checker import check_trace


@pytest.fixture(name="autojump_clock")
def _autojump_clock():
    return MockClock(autojump_threshold=0)


@pytest.fixture(autouse=True)
def log():
    """What is logged, as dictionaries; nothing is printed."""
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.fixture
def checked():
    """Every trace of a provider's service is as the sequences of protocol_specs say."""

    def check(provider):
        for trace in provider.traces.all():
            assert check_trace(trace) == []

    return check
