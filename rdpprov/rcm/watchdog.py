"""A thread that says who holds the event loop.

All providers share one loop, so one that blocks it (a call that waits without ``await``, a long computation) stops all
connections. Nothing can be done about it from outside, but it can be named: when the loop does not answer for a second,
the watchdog looks at the loop's stack. The calls of the service into a provider stand in it, as frames of
`Asker.__call__`; that costs nothing while nobody blocks.
"""

import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType

import structlog
import trio

from rdpprov.rcm.asking import Asker
from rdpprov.rcm.counters import Histogram
from rdpprov.rcm.failure_policy import Call

log = structlog.get_logger(__name__)

_ASKING: CodeType = Asker.__call__.__code__


@contextmanager
def watching(seconds: float, lag: Histogram) -> Iterator[None]:
    """Log who blocks the event loop that we run in for longer than ``seconds``, and note how soon it answers."""
    watchdog = Watchdog(seconds, trio.lowlevel.current_trio_token(), threading.get_ident(), lag)
    thread = threading.Thread(target=watchdog.run, name="rdpprov watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        watchdog.stop()
        thread.join()


class Watchdog:
    """The thread's work.

    Args:
        seconds: how long the loop may stand still.
        token: of the loop.
        thread: the loop's thread.
        lag: gets the seconds that each answer took. Only this thread writes it.
    """

    def __init__(self, seconds: float, token: trio.lowlevel.TrioToken, thread: int, lag: Histogram) -> None:
        self._seconds = seconds
        self._token = token
        self._thread = thread
        self._lag = lag
        self._answered = threading.Event()
        self._stopped = threading.Event()

    def run(self) -> None:
        """Until `stop`: let the loop answer, and look where it is if it does not."""
        while not self._stopped.is_set():
            self._answered.clear()
            asked = time.perf_counter()
            try:
                self._token.run_sync_soon(self._answered.set, idempotent=True)
            except trio.RunFinishedError:
                return
            if not self._answered.wait(self._seconds) and not self._stopped.is_set():
                self._report()
                self._answered.wait()  # once a blockade is enough
            if not self._stopped.is_set():
                self._lag.observe(time.perf_counter() - asked)
            self._stopped.wait(self._seconds / 2)

    def stop(self) -> None:
        """End the thread soon. Plain, and may be called from the loop."""
        self._stopped.set()
        self._answered.set()  # the loop, which is here, cannot answer

    def _report(self) -> None:
        frame = sys._current_frames().get(self._thread)
        if frame is None:
            return
        call = asked_in(frame)
        log.error(
            "event loop blocked",
            seconds=self._seconds,
            call=call[0] if call else "none: a task of a provider's own, or ours",
            **(call[1] if call else {}),
            at=f"{frame.f_code.co_qualname}, {frame.f_code.co_filename}:{frame.f_lineno}",
            stack="".join(traceback.format_stack(frame)),
        )


def asked_in(frame: FrameType) -> tuple[str, dict[str, object]] | None:
    """The call into a provider that a stack is in, and whose it is; None: it is in none.

    Args:
        frame: the innermost one.
    """
    inner: FrameType | None = frame
    while inner is not None:
        if inner.f_code is _ASKING:
            call, asker = inner.f_locals.get("call"), inner.f_locals.get("self")
            if isinstance(call, Call) and isinstance(asker, Asker):
                return call.name, dict(asker.whose)
        inner = inner.f_back
    return None
