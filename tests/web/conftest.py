import pytest
import structlog


@pytest.fixture(autouse=True)
def logged():
    """What is logged, as dictionaries."""
    with structlog.testing.capture_logs() as entries:
        yield entries
