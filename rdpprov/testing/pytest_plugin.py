"""pytest's way to the kit: a test for each rule, and failures of traces that read as dialogues.

Installed with rdpprov as the plugin ``rdpprov``. In a test module of a provider::

    import pytest

    @pytest.mark.rdpprov_provider("my_package.provider:MyManager", client="tests.clients:my_client")
    def test_conforms(rdpprov_rule):
        rdpprov_rule.check()

is a test for each rule, ``test_conforms[on-ready-comes]`` and so on. The provider is checked once, at the first of
them. What does not apply to a provider is skipped, with the reason. Two fixtures are for traces: ``rdpprov_recorder``
keeps one connection's lines in memory; ``rdpprov_traces``, given to a `RemoteConnectionManager` as ``traces``, keeps
those of all connections, and fails the test at its end if one is not as the sequences say. ``assert trace == other``
of two `rdpprov.traces.format.Trace` shows both as a dialogue; `rdpprov.testing.trace_assertions` has more of that kind.
"""

from collections.abc import Iterator, Mapping
from typing import Any

RULE = "rdpprov_rule"
MARKER = "rdpprov_provider"


def pytest_configure(config: Any) -> None:
    """Make the marker and the fixtures known."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(provider, client=None, options=None, patience=5.0): the provider whose rules `{RULE}` checks",
    )
    config.pluginmanager.register(_fixtures(), "rdpprov fixtures")


def _fixtures() -> object:
    """An object with fixtures, as pytest takes them from any plugin."""
    import pytest

    class Fixtures:
        @pytest.fixture
        def rdpprov_recorder(self) -> Iterator[Any]:
            """A `rdpprov.traces.recorder.MemoryRecorder` for one connection."""
            from rdpprov.testing.trace_assertions import recorded_trace

            with recorded_trace() as recorder:
                yield recorder

        @pytest.fixture
        def rdpprov_traces(self) -> Iterator[Any]:
            """A `rdpprov.testing.scripted.MemoryTraces`, whose traces have to be right when the test is over."""
            from rdpprov.testing.scripted import MemoryTraces
            from rdpprov.testing.trace_assertions import assert_trace_is_right

            traces = MemoryTraces()
            yield traces
            for trace in traces.all():
                assert_trace_is_right(trace)

    return Fixtures()


def pytest_generate_tests(metafunc: Any) -> None:
    """A test for each rule."""
    if RULE not in metafunc.fixturenames:
        return
    import pytest

    from rdpprov.testing.rules import RULES

    marker = metafunc.definition.get_closest_marker(MARKER)
    if marker is None or not marker.args:
        raise pytest.UsageError(f"{metafunc.definition.nodeid}: {RULE} needs @pytest.mark.{MARKER}(provider)")
    once = CheckedOnce(marker.args, marker.kwargs)
    metafunc.parametrize(RULE, [RuleCheck(rule.name, once) for rule in RULES], ids=[rule.name for rule in RULES])


def pytest_assertrepr_compare(config: Any, op: str, left: object, right: object) -> list[str] | None:
    """Two traces that are not equal, as a dialogue with both sides."""
    from rdpprov.traces.format import Trace

    if op != "==" or not (isinstance(left, Trace) and isinstance(right, Trace)):
        return None
    from rdpprov.testing.trace_assertions import compared

    return ["the traces differ:", *compared(left, right).splitlines()]


class CheckedOnce:
    """A provider's report, made when it is first asked for.

    Args:
        args: of `rdpprov.testing.check_provider.check_provider`.
        keywords: likewise.
    """

    def __init__(self, args: tuple[Any, ...], keywords: Mapping[str, Any]) -> None:
        self._args = args
        self._keywords = keywords
        self._report: Any = None
        self._error: Exception | None = None

    def report(self) -> Any:
        """The `Report`."""
        if self._error is not None:
            raise self._error
        if self._report is None:
            import functools

            import trio

            from rdpprov.testing.check_provider import check_provider

            try:
                self._report = trio.run(functools.partial(check_provider, *self._args, **self._keywords))
            except Exception as error:
                self._error = error
                raise
        return self._report


class RuleCheck:
    """One rule, for one test.

    Args:
        rule: its name.
        once: the provider.
    """

    def __init__(self, rule: str, once: CheckedOnce) -> None:
        self.rule = rule
        self._once = once

    def check(self) -> None:
        """Fail, if the provider breaks the rule; skip, if the rule means nothing for it."""
        import pytest

        from rdpprov.testing.check_provider import Status

        __tracebackhide__ = True
        result = self._once.report().of(self.rule)
        if result.status is Status.FAILED:
            pytest.fail(result.to_text(), pytrace=False)
        elif result.status is not Status.PASSED:
            pytest.skip("; ".join([result.status.value, *result.seen]))
