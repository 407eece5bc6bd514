"""How the service calls a provider: every call goes through one `Asker`, which applies limit, trace and failure policy.

So that a sequence can be read like its figure, ``await ask(connection.get_client_data)`` is all that stands in it::

    client = await ask(connection.get_client_data)                        # failing drops the connection
    offered = await ask(connection.get_user_credentials, default=None)    # failing does not
"""

import dis
import functools
import inspect
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from types import CodeType
from typing import Final, NoReturn, TypeVar, TypeVarTuple, Unpack, overload

import structlog
import trio

from rdpprov.errinfo import ErrInfo
from rdpprov.errors import ConfigurationError, HResultError, for_log
from rdpprov.rcm.configuration import Limits
from rdpprov.rcm.ending import ConnectionDroppedError, TimeLimitError
from rdpprov.rcm.failure_policy import FAILURE_POLICY, Call, Effect
from rdpprov.sessions.base import SequenceStep
from rdpprov.traces.recorder import OpenCall, TraceRecorder

log = structlog.get_logger(__name__)

Arguments = TypeVarTuple("Arguments")
Answer = TypeVar("Answer")
Default = TypeVar("Default")


class _Required:
    """No default: what a call that must not fail has instead."""


REQUIRED: Final = _Required()

Fault = Callable[[Call, Exception], Exception]
"""Makes of a failure that is not to be survived what is raised for it."""


def drop_connection(call: Call, error: Exception) -> ConnectionDroppedError:
    """A failure that ends its connection."""
    errinfo = call.errinfo_if_late if isinstance(error, TimeLimitError) else call.errinfo
    return ConnectionDroppedError(errinfo, f"{call.name}: {describe(error)}")


def describe(error: BaseException) -> str:
    """An exception for the log. A foreign one's text is left to its traceback: who knows what stands in it."""
    return str(error) if isinstance(error, HResultError | TimeLimitError) else type(error).__name__


def is_expected(error: Exception) -> bool:
    """Whether it is what a provider raises when something outside is wrong, rather than a mistake in the provider."""
    return isinstance(unwrapped(error), HResultError | ConfigurationError | OSError)


def unwrapped(error: Exception) -> Exception:
    """The one exception that came out of a nursery, without the group that trio makes of it."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


class Asker:
    """Calls the methods of one provider object, or of several that belong together.

    Args:
        recorder: where each call is traced.
        limits: how long each may take.
        whose: for the log: ``connection=7``, ``listener="desk"``.
        fault: what to raise when the failure policy says `Effect.DROP`.
        actors: names for traces, where "manager" or "listener" alone would be ambiguous.
        on_step: told of each call as it ends.
        serial: calls of several tasks wait for each other, as those of a connection have to; else they may overlap.
    """

    def __init__(
        self,
        recorder: TraceRecorder,
        limits: Limits,
        *,
        whose: Mapping[str, object],
        fault: Fault = drop_connection,
        actors: Mapping[str, str] | None = None,
        on_step: Callable[[SequenceStep], None] | None = None,
        serial: bool = False,
    ) -> None:
        self.whose = whose
        self._recorder = recorder
        self._limits = limits
        self._fault = fault
        self._actors = actors or {}
        self._on_step = on_step
        self._waiting = trio.lowlevel.ParkingLot() if serial else None
        self._is_asking = False
        self._now = trio.lowlevel.current_clock().current_time  # `trio.current_time`, without its detours

    @overload
    async def __call__(
        self,
        method: Callable[[Unpack[Arguments]], Awaitable[Answer]],
        *args: *Arguments,
        limit: float | None = None,
    ) -> Answer: ...

    @overload
    async def __call__(
        self,
        method: Callable[[Unpack[Arguments]], Awaitable[Answer]],
        *args: *Arguments,
        default: Default,
        failed: Default | _Required = REQUIRED,
        limit: float | None = None,
    ) -> Answer | Default: ...

    async def __call__(
        self,
        method: Callable[..., Awaitable[object]],
        *args: object,
        default: object = REQUIRED,
        failed: object = REQUIRED,
        limit: float | None = None,
    ) -> object:
        """Call ``method`` and wait for its answer, at most as long as its limit says.

        Args:
            method: of the provider's object, one that `FAILURE_POLICY` knows.
            args: for it.
            default: what is returned instead after a failure that the policy lets pass.
            failed: what is returned instead of the default after one that is no E_NOTIMPL.
            limit: seconds, for who has less patience than the call's own limit.

        Raises:
            ConnectionDroppedError: or what `fault` makes of a failure that the policy does not let pass.
        """
        call = call_of(method)
        # Nothing is asked of a connection that has been ended, and none goes on that was ended while it answered,
        # even where the provider itself never waits.
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._waiting is not None:
            while self._is_asking:  # only where a question of somebody else (`queries`) meets the sequence
                await self._waiting.park()
                try:
                    await trio.lowlevel.checkpoint_if_cancelled()
                except trio.Cancelled:  # not asked any more, now that it would be our turn: it is the next one's
                    self._waiting.unpark()
                    raise
        opened = self._opened(call, args)
        started = self._now()
        patience: float = getattr(self._limits, call.limit) if call.limit is not None else math.inf
        if limit is not None:
            patience = min(patience, limit)
        self._is_asking = True
        try:
            if patience == math.inf or answers_at_once(method):
                answer = await method(*args)
            else:
                with trio.CancelScope(deadline=started + patience) as scope:
                    answer = await method(*args)
                if scope.cancelled_caught:
                    raise TimeLimitError(f"no answer within {patience:g} s")
            if call.returns is not None and not isinstance(answer, call.returns):
                raise TypeError(f"{call.name} returned {type(answer).__name__}, expected {call.returns.__name__}")
        except Exception as error:
            opened.failed(error)
            self._step(call, self._now() - started, error)
            self._failed(call, error)
            await trio.lowlevel.checkpoint_if_cancelled()
            if failed is not REQUIRED and call.effect_of(error) is not Effect.DEFAULT:
                return failed
            return None if default is REQUIRED else default
        except BaseException as error:  # cancelled: the client is gone, or not wanted any more
            opened.failed(error)
            raise
        finally:
            self._is_asking = False
            if self._waiting:
                self._waiting.unpark()
        opened.returned(answer)
        seconds = self._now() - started
        self._step(call, seconds)
        if call.is_notification and seconds >= self._limits.slow_notification:
            log.warning("slow provider", call=call.name, seconds=round(seconds, 3), **self.whose)
        await trio.lowlevel.checkpoint_if_cancelled()
        return answer

    def _opened(self, call: Call, args: tuple[object, ...]) -> OpenCall:
        target = self._actors.get(call.target, call.target)
        named = dict(zip(call.arguments, args, strict=False)) if args else {}
        return self._recorder.call("service", target, call.name, named)

    def _step(self, call: Call, seconds: float, error: Exception | None = None) -> None:
        if self._on_step is not None:
            self._on_step(SequenceStep(call.name, "service", call.target, seconds, outcome_of(error)))

    def _failed(self, call: Call, error: Exception) -> None:
        """Log a failure; raise if the policy says so."""
        effect = call.effect_of(error)
        if effect is Effect.DEFAULT:
            return
        fault = self._fault(call, error) if effect is Effect.DROP else None
        if isinstance(fault, ConfigurationError) and is_expected(error):
            self._raise(fault, error)  # it says what is wrong to who started the service; the log would say it twice
        is_answer = isinstance(error, HResultError | TimeLimitError)
        what = {"error": describe(error)} if is_answer else for_log(error)
        log.warning("provider failed", call=call.name, effect=effect.value, **what, **self.whose)
        if fault is not None:
            self._raise(fault, error)

    def _raise(self, fault: Exception, error: Exception) -> NoReturn:
        if fault is error:
            raise error
        raise fault from error


def call_of(method: Callable[..., object]) -> Call:
    """The row of `FAILURE_POLICY` for a bound method, also if a decorator took its name away."""
    call = FAILURE_POLICY.get(getattr(method, "__name__", ""))
    if call is not None:
        return call
    target = getattr(method, "__self__", None)
    for name, row in FAILURE_POLICY.items():
        if target is not None and getattr(target, name, None) == method:
            return row
    raise LookupError(f"{method!r} is no method of the provider API")


def answers_at_once(method: Callable[..., object]) -> bool:
    """Whether it is an ``async def`` without any ``await``, as most of a provider's methods are.

    It returns before the clock is looked at again, so a time limit would only cost: two thirds of what asking costs.
    """
    code = getattr(method, "__code__", None)
    return isinstance(code, CodeType) and _has_no_await(code)


@functools.lru_cache(1024)
def _has_no_await(code: CodeType) -> bool:
    # Every await, ``async for`` and ``async with`` compiles to GET_AWAITABLE or GET_ANEXT, and to SEND.
    waits = {"GET_AWAITABLE", "GET_ANEXT", "SEND"}
    return bool(code.co_flags & inspect.CO_COROUTINE) and not any(
        instruction.opname in waits for instruction in dis.get_instructions(code)
    )


def outcome_of(error: BaseException | None) -> str:
    """How a call ended, in a word, for `SequenceStep.outcome`."""
    if error is None:
        return ""
    return f"0x{error.hresult:08X}" if isinstance(error, HResultError) else type(error).__name__


@contextmanager
def time_limit(
    seconds: float, what: str, errinfo: ErrInfo = ErrInfo.ERRINFO_LOGON_TIMEOUT
) -> Iterator[trio.CancelScope]:
    """What stands inside takes at most ``seconds`` in all.

    Raises:
        ConnectionDroppedError: it took longer.
    """
    with trio.CancelScope(deadline=trio.current_time() + seconds) as scope:
        yield scope
    if scope.cancelled_caught:
        raise ConnectionDroppedError(errinfo, f"{what} took longer than {seconds:g} s")
