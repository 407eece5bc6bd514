"""Recording traces: one recorder per connection, and one per worker for the service's start.

The service tells its recorder of each call when it starts, and tells the `OpenCall` how it ended::

    opened = recorder.call("service", "connection", "GetClientData", {})
    try:
        client = await connection.get_client_data()
    except BaseException as error:
        opened.failed(error)
        raise
    opened.returned(client)

Recording never raises: a disk that is full ends the trace (and is logged), not the connection. It is meant to cost
less than a tenth of what a connection costs, about 0.3 ms for 25 calls. So calls are only noted as they come; lines are
made of them, and written, all in one go where somebody may want to read them: after a failure, after the last step of a
sequence, while a person is asked for a password, at the end.
"""

import datetime
import enum
import functools
import hashlib
import os
import time
import urllib.parse
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal, Protocol

import attrs
import structlog
import trio

from rdpprov.errors import E_ABORT, E_NOTIMPL, E_UNEXPECTED, HResultError
from rdpprov.traces.format import (
    REDACTED,
    SECRET_NAMES,
    CallError,
    CallLine,
    EventLine,
    Json,
    JsonText,
    Line,
    Outcome,
    Trace,
    TraceHeader,
    WireLine,
    encode,
    error_text,
    in_order,
    json_text,
    mapping_text,
    mapping_to_json,
    to_json,
)

E_TIMEOUT: Final = 0x800705B4
"""HRESULT_FROM_WIN32(ERROR_TIMEOUT): a call that used up its limit."""

FLUSH_AFTER: Final = frozenset({"StartListen", "LogonNotify", "Uninitialize", "Close"})
"""The calls after which a person may look at the file while the connection goes on."""

HELD_LINES: Final = 64
"""So many are held in memory at most, whatever else happens."""
HELD_WIRE_BYTES: Final = 64 * 1024
"""Likewise, of bytes of the wire."""

Clock = Callable[[], float]

_log = structlog.get_logger(__name__)


class OpenCall(Protocol):
    """A call that has started. One of the two methods is called, once."""

    def returned(self, result: object = None) -> None:
        """It returned this."""

    def failed(self, error: BaseException) -> None:
        """It raised this."""


class TraceRecorder(Protocol):
    """Where the service tells what it does. None of the methods raises or waits."""

    @property
    def records_wire(self) -> bool:
        """Whether `wire` keeps anything: if not, nobody needs to prepare the bytes."""

    def call(self, source: str, target: str, call: str, args: Mapping[str, object]) -> OpenCall:
        """A call starts.

        Args:
            source: who calls: an actor of `rdpprov.traces.sequences.ACTORS`. Where there are several managers or
                listeners in one trace, "listener:NAME" tells them apart.
            target: who is called, likewise.
            call: the API's own spelling: "GetClientData".
            args: by name; converted now, without secrets, so they may change later.
        """

    def event(self, name: str, /, *, ago: float = 0.0, **fields: object) -> None:
        """A milestone, `ago` seconds back."""

    def wire(self, direction: Literal["in", "out"], data: bytes, *, ago: float = 0.0) -> None:
        """Bytes inside TLS, `ago` seconds back; passwords in them are already overwritten."""

    def flush(self) -> None:
        """Let readers of the file see what there is."""

    def close(self) -> None:
        """The end; calls still open are written as such. What comes later is not recorded."""


def error_of(error: BaseException) -> CallError:
    """What a trace says of an exception. Only our own errors have a reason that is known to hold no secret."""
    if isinstance(error, HResultError):
        return CallError(error.hresult, error.reason)
    name = type(error).__name__
    if isinstance(error, trio.TooSlowError | TimeoutError):
        return CallError(E_TIMEOUT, "no answer within its limit")
    if not isinstance(error, Exception):
        return CallError(E_ABORT, "cancelled")  # trio.Cancelled and its like: the call was given up, it did not fail
    return CallError(E_UNEXPECTED, name, exception=name)


def _microseconds(seconds: float) -> float:
    return round(seconds, 6)


class _OpenCall:
    """The `OpenCall` of every recorder: it remembers how the call started."""

    __slots__ = ("_recorder", "args", "call", "n", "source", "t", "target")

    def __init__(
        self, recorder: "_Recorder", n: int, t: float, source: str, target: str, call: str, args: Json
    ) -> None:
        self._recorder = recorder
        self.n = n
        self.t = t
        self.source = source
        self.target = target
        self.call = call
        self.args = args

    def returned(self, result: object = None) -> None:
        self._recorder._call_ended(self, Outcome.RETURNED, result, None)

    def failed(self, error: BaseException) -> None:
        self._recorder._call_ended(self, Outcome.FAILED, None, error_of(error))


class _NotRecorded:
    """The `OpenCall` of a recorder that nobody listens to."""

    __slots__ = ()

    def returned(self, result: object = None) -> None:
        pass

    def failed(self, error: BaseException) -> None:
        pass


_NOT_RECORDED: Final = _NotRecorded()


class _Recorder(ABC):
    """What all recorders have in common: numbers, times, calls still open."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started = clock()
        self._calls = 0
        self._open: dict[int, _OpenCall] = {}
        self._closed = False

    @property
    def records_wire(self) -> bool:
        return False

    def call(self, source: str, target: str, call: str, args: Mapping[str, object]) -> OpenCall:
        if self._closed:
            return _NOT_RECORDED
        self._calls += 1
        t = self._clock() - self._started
        opened = _OpenCall(self, self._calls, t, source, target, call, self._converted(args))
        self._open[opened.n] = opened
        return opened

    def event(self, name: str, /, *, ago: float = 0.0, **fields: object) -> None:
        if not self._closed:
            self._keep_event(self._now(ago), name, fields)

    def wire(self, direction: Literal["in", "out"], data: bytes, *, ago: float = 0.0) -> None:
        if self.records_wire and not self._closed:
            self._keep_wire(WireLine(_microseconds(self._now(ago)), direction, bytes(data)))

    def flush(self) -> None:
        """Nothing is held back, unless a subclass does."""

    def close(self) -> None:
        if self._closed:
            return
        for opened in self._open.values():  # in the order of their starts, as a dict keeps it
            self._keep_call(opened, None, Outcome.OPEN, None, None)
        self._open.clear()
        self._closed = True

    def _now(self, ago: float = 0.0) -> float:
        return self._clock() - self._started - ago

    def _call_ended(self, opened: _OpenCall, outcome: Outcome, result: object, error: CallError | None) -> None:
        if self._open.pop(opened.n, None) is None:
            return  # the recorder was closed meanwhile, and wrote it as open
        self._keep_call(opened, self._clock() - self._started - opened.t, outcome, result, error)

    @abstractmethod
    def _converted(self, args: Mapping[str, object]) -> Json:
        """Arguments, as `_keep_call` wants them: they may change later."""

    @abstractmethod
    def _keep_call(
        self, opened: _OpenCall, d: float | None, outcome: Outcome, result: object, error: CallError | None
    ) -> None:
        """A call has ended, or has not and the trace is being closed."""

    @abstractmethod
    def _keep_event(self, t: float, name: str, fields: Mapping[str, object]) -> None:
        """A milestone; its fields are not converted yet."""

    @abstractmethod
    def _keep_wire(self, line: WireLine) -> None:
        """Bytes."""


class NullRecorder:
    """Keeps nothing, and converts nothing."""

    records_wire = False

    def call(self, source: str, target: str, call: str, args: Mapping[str, object]) -> OpenCall:
        return _NOT_RECORDED

    def event(self, name: str, /, *, ago: float = 0.0, **fields: object) -> None:
        pass

    def wire(self, direction: Literal["in", "out"], data: bytes, *, ago: float = 0.0) -> None:
        pass

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


class MemoryRecorder(_Recorder):
    """Keeps the lines, in the order in which a file would have them: for tests, and for replay to compare."""

    def __init__(self, header: TraceHeader | None = None, clock: Clock = time.perf_counter, wire: bool = False) -> None:
        super().__init__(clock)
        self.header = header or TraceHeader("connection")
        self._records_wire = wire
        self._lines: list[Line] = []

    @property
    def records_wire(self) -> bool:
        """As the constructor was told."""
        return self._records_wire

    def trace(self) -> Trace:
        """What has been recorded so far, without the calls that are still open."""
        return in_order(Trace(self.header, tuple(self._lines)))

    def _converted(self, args: Mapping[str, object]) -> Json:
        return mapping_to_json(args)

    def _keep_call(
        self, opened: _OpenCall, d: float | None, outcome: Outcome, result: object, error: CallError | None
    ) -> None:
        t, d = _microseconds(opened.t), None if d is None else _microseconds(d)
        start = (opened.n, t, d, opened.source, opened.target, opened.call, opened.args)
        self._lines.append(CallLine(*start, outcome, to_json(result), error, line_number=len(self._lines) + 2))

    def _keep_event(self, t: float, name: str, fields: Mapping[str, object]) -> None:
        self._lines.append(EventLine(_microseconds(t), name, mapping_to_json(fields), line_number=len(self._lines) + 2))

    def _keep_wire(self, line: WireLine) -> None:
        self._lines.append(attrs.evolve(line, line_number=len(self._lines) + 2))


class FileRecorder(_Recorder):
    """Writes a trace file, which only its owner can read.

    Raises:
        OSError: the file cannot be made, or exists already.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        header: TraceHeader,
        clock: Clock = time.perf_counter,
        wire: bool = False,
    ) -> None:
        super().__init__(clock)
        self._path = os.fspath(path)
        self._records_wire = wire
        self._held: list[_Note] = []
        self._held_wire_bytes = 0
        self._file: int | None = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW, 0o600)
        if not header.started:
            started = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
            header = TraceHeader(header.kind, header.protocol, header.listener, started)
        self._hold(header)

    @property
    def records_wire(self) -> bool:
        """As the constructor was told, until the disk is full."""
        return self._records_wire and self._file is not None

    def flush(self) -> None:
        """Write what is held in memory. An error ends the trace, not the caller."""
        if self._file is None or not self._held:
            return
        held, self._held = self._held, []
        self._held_wire_bytes = 0
        data = "".join([f"{_line_of(note)}\n" for note in held]).encode("ascii")
        try:
            while data:
                data = data[os.write(self._file, data) :]
        except OSError as error:
            self._release()
            _log.warning("trace ends early", path=self._path, reason=str(error))

    def close(self) -> None:
        """Write the calls that are still open, and close the file."""
        super().close()
        self.flush()
        self._release()

    def _release(self) -> None:
        file, self._file = self._file, None
        self._held.clear()
        if file is not None:
            os.close(file)

    def _converted(self, args: Mapping[str, object]) -> Json:
        if not args:  # as of most calls
            return _NO_ARGUMENTS
        return {name: _lasting(value) if name not in SECRET_NAMES else REDACTED for name, value in args.items()}

    def _keep_call(
        self, opened: _OpenCall, d: float | None, outcome: Outcome, result: object, error: CallError | None
    ) -> None:
        self._hold((opened, d, outcome, result if result is None else _lasting(result), error))
        if opened.call in FLUSH_AFTER or (error is not None and error.hresult != E_NOTIMPL):
            self.flush()

    def _keep_event(self, t: float, name: str, fields: Mapping[str, object]) -> None:
        others = {key: value for key, value in fields.items() if key not in ("t", "event")}
        self._hold((t, name, self._converted(others)))

    def _keep_wire(self, line: WireLine) -> None:
        self._held_wire_bytes += len(line.data)
        self._hold(line)

    def _hold(self, note: "_Note") -> None:
        if self._file is None:
            return
        self._held.append(note)
        if len(self._held) >= HELD_LINES or self._held_wire_bytes > HELD_WIRE_BYTES:
            self.flush()


_Note = (
    tuple[_OpenCall, float | None, Outcome, object, CallError | None]
    | tuple[float, str, Mapping[str, object]]
    | TraceHeader
    | WireLine
)
"""What becomes a line: a call with its duration, outcome, result and error; a milestone; the header; bytes."""

_NO_ARGUMENTS: Final[Mapping[str, object]] = {}

_LASTING: Final[set[type]] = {str, int, float, bool, bytes, type(None), uuid.UUID}
"""Types whose values can be converted later as well as now: they never change, and keep nothing else alive. The API's
structures and enums come to it as they are met."""


def _lasting(value: object) -> object:
    """The same, if its type is, or turns out to be, `_LASTING`; otherwise its text of now."""
    kind = type(value)
    if kind in _LASTING:
        return value
    if kind.__module__.startswith("rdpprov.api.") and (attrs.has(kind) or issubclass(kind, enum.Enum)):
        _LASTING.add(kind)
        return value
    return JsonText(json_text(value))


def _line_of(note: _Note) -> str:
    if not isinstance(note, tuple):
        return encode(note.to_line())
    if len(note) == 3:
        t, name, fields = note  # the line of `EventLine.to_line`, put together by hand
        others = mapping_text(fields)[1:-1]
        return f'{{"t":{t:.6f},"event":{encode(name)}{"," if others else ""}{others}}}'
    opened, d, outcome, result, error = note
    # The line of `CallLine.to_line`, likewise, for this runs once a call.
    duration = "" if d is None else f'"d":{d:.6f},'
    end = ""
    if outcome is Outcome.RETURNED:
        end = f',"result":{json_text(result)}'
    elif error is not None:
        end = f',"error":{error_text(error)}'
    middle = _encoded_names(opened.source, opened.target, opened.call)
    return f'{{"n":{opened.n},"t":{opened.t:.6f},{duration}{middle}{mapping_text(opened.args)}{end}}}'


@functools.lru_cache(1024)
def _encoded_names(source: str, target: str, call: str) -> str:
    return f'"from":{encode(source)},"to":{encode(target)},"call":{encode(call)},"args":'


_NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)  # not on Windows


class TraceDirectory:
    """The directory that ``serve --trace-dir`` names: private, made when it is not there.

    Args:
        path: the directory.
        worker: the number of this worker process; part of every file name.
        wire: record bytes too.
        clock: seconds, as `trio.current_time` gives them.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(
        self, path: str | os.PathLike[str], worker: int = 1, wire: bool = False, clock: Clock = time.perf_counter
    ) -> None:
        self.path = Path(path)
        self.worker = worker
        self.wire = wire
        self._clock = clock
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def service_recorder(self) -> TraceRecorder:
        """For the start and the stop of this worker: ``service-<worker>.jsonl``."""
        return self._recorder(f"service-{self.worker}", TraceHeader("service"))

    def connection_recorder(self, protocol: str, listener: str, connection_id: int) -> TraceRecorder:
        """For one connection: ``<listener>-<worker>-<connection>.jsonl``."""
        name = f"{_file_name(listener)}-{self.worker}-{connection_id}"
        return self._recorder(name, TraceHeader("connection", protocol=protocol, listener=listener))

    def _recorder(self, name: str, header: TraceHeader) -> TraceRecorder:
        """A file of that name; one that an earlier run left is moved aside. If there can be no file, no trace."""
        path = os.path.join(self.path, f"{name}.jsonl")
        try:
            try:
                return FileRecorder(path, header, self._clock, self.wire)
            except FileExistsError:
                _move_aside(Path(path))
                return FileRecorder(path, header, self._clock, self.wire)
        except OSError as error:
            _log.warning("no trace", path=path, reason=str(error))
            return NullRecorder()


@functools.lru_cache(64)
def _file_name(listener: str) -> str:
    """A listener's name as part of a file name: nothing in it leads elsewhere, and different names stay different."""
    quoted = urllib.parse.quote(listener, safe="")
    if quoted.startswith("."):
        quoted = f"%2E{quoted[1:]}"
    if len(quoted) > 100:  # a file name has 255 bytes
        quoted = f"{quoted[:80]}-{hashlib.sha256(listener.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
    return quoted


def _move_aside(path: Path) -> None:
    """Rename what an earlier run left: ``desk-1-7.jsonl`` to ``desk-1-7.1.jsonl``, or the next number that is free."""
    number = 1
    while os.path.lexists(aside := path.with_suffix(f".{number}.jsonl")):
        number += 1
    path.rename(aside)
