r"""The trace file: JSON Lines, one object a line, UTF-8, one file per connection and one per worker for the start.

Version 1. The first line is the header::

    {"trace":"rdpprov","version":1,"kind":"connection","protocol":"rdp","listener":"desk","started":"2026-05-01T09:30:00.000000+00:00"}

``kind`` is "connection" or "service". Then one line per call, written when the call returns::

    {"n":5,"t":0.0012,"d":0.0003,"from":"service","to":"connection","call":"GetClientData","args":{},"result":{...}}
    {"n":7,"t":0.0019,"d":0.0001,"from":"service","to":"connection","call":"GetUserCredentials","args":{},
     "error":{"hresult":"0x80004001","reason":"GetUserCredentials"}}

``n`` numbers the calls in the order in which they started: readers sort by it. ``t`` is the start, ``d`` the duration,
both in seconds, ``t`` counted from the header. A call that was still open when the trace was closed has neither
``d`` nor ``result`` nor ``error``. ``exception`` beside ``hresult`` names a Python exception that carried no HRESULT.
Milestones, and bytes on the wire where somebody asked for them, have no ``n``; their place follows from ``t``::

    {"t":0.0008,"event":"tls","version":"TLSv1.3"}
    {"t":0.0009,"wire":"in","data":"AwAAEw=="}

Values of ``args``, ``result`` and events: numbers, text, lists and tables as JSON has them; an enum by its name, a
UUID as text, a structure as a table of those fields that differ from their defaults, bytes as ``{"hex": ...}`` up to
`MAX_HEX` of them and ``{"bytes": count}`` beyond, any other object as ``"<ItsClass>"``, and a secret, whatever its
value, as `REDACTED`. Unknown keys are for readers to skip. A file that ends within a line was cut off by a crash: what
stands before is good, and `Trace.notes` says so.
"""

import base64
import binascii
import enum
import functools
import json
import math
import operator
import os
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from json.encoder import encode_basestring_ascii
from typing import Any, Literal, cast

import attrs

from rdpprov.api.structures import ConnectionSettings
from rdpprov.errors import RdpProvError

VERSION = 1
"""What we write. We read every version from 1 to this one."""

REDACTED = "<redacted>"
MAX_HEX = 32
MAX_TEXT = 1024
"""Characters of one text; what is longer is cut, with an ellipsis."""

MAX_SECONDS = 1e9

SECRET_NAMES = frozenset({"password", "secret", "verifier"})
"""In a plain mapping there is no field metadata to ask, so these keys are secret by name."""

Json = Any
"""What `json` can write; narrower would need a recursive type that mypy takes for invariant lists."""


class TraceFormatError(RdpProvError):
    """A file is no trace, or a line of it is not as the format says; the message names the line."""


class Outcome(enum.Enum):
    """How a recorded call ended."""

    RETURNED = "returned"
    FAILED = "failed"
    OPEN = "open"
    """It had not ended when the trace did."""


@attrs.frozen
class TraceHeader:
    """The first line of a trace."""

    kind: str
    """"connection" or "service"."""

    protocol: str = ""
    """The protocol's name in the configuration; a service trace, which concerns all of them, has none."""

    listener: str = ""
    started: str = ""
    """Date and time at which ``t`` is 0, ISO 8601 with time zone."""

    version: int = VERSION

    def to_line(self) -> dict[str, Json]:
        """The line's JSON object."""
        return {"trace": "rdpprov", "version": self.version} | {
            key: getattr(self, key) for key in ("kind", "protocol", "listener", "started")
        }


@attrs.frozen
class CallError:
    """How a call failed."""

    hresult: int
    reason: str = ""
    exception: str | None = None
    """The class of an exception that carried no HRESULT; None: it was a `HResultError`."""

    def __str__(self) -> str:
        """As people read it: ``0x80004001 GetUserCredentials``."""
        return f"0x{self.hresult:08X} {self.reason}".rstrip()


@attrs.frozen
class CallLine:
    """One call. ``args`` and ``result`` are what JSON can say of them."""

    n: int
    t: float
    d: float | None
    source: str
    target: str
    call: str
    args: Mapping[str, Json] = attrs.field(factory=dict)
    outcome: Outcome = Outcome.RETURNED
    result: Json = None
    error: CallError | None = None
    line_number: int = attrs.field(default=0, eq=False)
    """Where it stands in its file, from 1; 0 if it stands in none."""

    def to_line(self) -> dict[str, Json]:
        """The line's JSON object."""
        line: dict[str, Json] = {"n": self.n, "t": self.t}
        if self.d is not None:
            line["d"] = self.d
        line |= {"from": self.source, "to": self.target, "call": self.call, "args": dict(self.args)}
        if self.outcome is Outcome.RETURNED:
            line["result"] = self.result
        elif self.error is not None:
            line["error"] = error_to_json(self.error)
        return line


@attrs.frozen
class EventLine:
    """A milestone or a state."""

    t: float
    event: str
    fields: Mapping[str, Json] = attrs.field(factory=dict)
    """Facts about it; "t" and "event" are taken and would not be written."""

    line_number: int = attrs.field(default=0, eq=False)

    def to_line(self) -> dict[str, Json]:
        """The line's JSON object."""
        own: dict[str, Json] = {"t": self.t, "event": self.event}
        return own | {key: value for key, value in self.fields.items() if key not in own}


@attrs.frozen
class WireLine:
    """Bytes that came in from the client or went out to it, as they were inside TLS."""

    t: float
    direction: Literal["in", "out"]
    data: bytes
    line_number: int = attrs.field(default=0, eq=False)

    def to_line(self) -> dict[str, Json]:
        """The line's JSON object."""
        return {"t": self.t, "wire": self.direction, "data": base64.b64encode(self.data).decode()}


Line = CallLine | EventLine | WireLine


@attrs.frozen
class Trace:
    """A whole trace, its calls in the order of ``n``, everything else where its time puts it."""

    header: TraceHeader
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()
    """What a reader ought to know: that the file was cut off."""

    @property
    def calls(self) -> tuple[CallLine, ...]:
        """Only the calls, by ``n``."""
        return tuple(line for line in self.lines if isinstance(line, CallLine))

    @property
    def events(self) -> tuple[EventLine, ...]:
        """Only the events, by ``t``."""
        return tuple(line for line in self.lines if isinstance(line, EventLine))

    @property
    def wire(self) -> tuple[WireLine, ...]:
        """Only the bytes, by ``t``."""
        return tuple(line for line in self.lines if isinstance(line, WireLine))

    @property
    def last_line_number(self) -> int:
        """The number of the file's last good line."""
        return max((line.line_number for line in self.lines), default=1)


def read_trace(path: str | os.PathLike[str]) -> Trace:
    """A trace out of its file.

    Raises:
        OSError: the file cannot be read.
        TraceFormatError: it is no trace.
    """
    with open(path, "rb") as file:
        return parse_trace(file, name=os.fspath(path))


def parse_trace(lines: Iterable[bytes], name: str = "trace") -> Trace:
    """A trace out of the lines of its file, each with its line end.

    Args:
        lines: as iterating over a binary file gives them.
        name: for error messages.

    Raises:
        TraceFormatError: it is no trace.
    """
    header = None
    parsed: list[Line] = []
    notes: list[str] = []
    for number, text in enumerate(lines, start=1):
        where = f"{name}: line {number}"
        try:
            values = _parse_object(text)
        except ValueError as error:
            # Only the recorder's last write can be cut; a bad line that has its end is no crash but another file.
            if header is not None and not text.endswith(b"\n"):
                notes.append(f"line {number} is cut off: the recorder did not come to close the trace")
                break
            raise TraceFormatError(f"{where}: {error}") from error
        try:
            if header is None:
                header = _parse_header(values)
            else:
                parsed.append(_parse_line(values, number))
        except ValueError as error:
            raise TraceFormatError(f"{where}: {error}") from error
    if header is None:
        raise TraceFormatError(f"{name}: empty, expected the header of a trace")
    return in_order(Trace(header, tuple(parsed), tuple(notes)))


def in_order(trace: Trace) -> Trace:
    """The same trace, its lines in the order that `Trace` promises."""
    return attrs.evolve(trace, lines=tuple(_in_order(trace.lines)))


def write_trace(path: str | os.PathLike[str], trace: Trace) -> None:
    """Write a trace, line by line in the order in which it holds them; for tests and tools that edit traces."""
    with open(path, "wb") as file:
        file.write(dump_trace(trace))


def dump_trace(trace: Trace) -> bytes:
    """A trace as the bytes of its file."""
    return b"".join(encode_line(line.to_line()) for line in (trace.header, *trace.lines))


encode: Callable[[Json], str] = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
"""JSON text of what `to_json` returned: compact, ASCII."""


def encode_line(values: Mapping[str, Json]) -> bytes:
    """One line of the file, with its end."""
    return f"{encode(values)}\n".encode("ascii")


_CONVERTERS: dict[type, Callable[[Any], Json]] = {}


def to_json(value: object) -> Json:
    """What a trace says of a value: JSON without secrets (see the module's docstring). Never raises."""
    kind = type(value)
    if kind is str:
        text = cast(str, value)
        return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"
    if kind is int or kind is bool or value is None:
        return value
    convert = _CONVERTERS.get(kind)
    if convert is None:
        convert = _CONVERTERS[kind] = _find_converter(kind)
    return convert(value)


def mapping_to_json(value: Mapping[Any, object]) -> dict[str, Json]:
    """The same for a table, such as the arguments of a call: here keys may be secret by their name."""
    return {
        str(key): REDACTED if isinstance(key, str) and key.lower() in SECRET_NAMES else to_json(item)
        for key, item in value.items()
    }


def json_text(value: object) -> str:
    """``encode(to_json(value))``, in one go: a recorder spends half of its time here."""
    kind = type(value)
    if kind is str:
        text = cast(str, value)
        return encode_basestring_ascii(text if len(text) <= MAX_TEXT else to_json(text))
    if kind is int:
        return repr(value)
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    convert = _TEXT_CONVERTERS.get(kind)
    if convert is None:
        convert = _TEXT_CONVERTERS[kind] = _find_text_converter(kind)
    return convert(value)


class JsonText(str):
    """What `json_text` returned; it returns it again."""

    __slots__ = ()


def mapping_text(value: Mapping[str, object]) -> str:
    """``encode(mapping_to_json(value))``, likewise, of a table whose keys are text."""
    if not value:
        return "{}"
    return f"{{{','.join([_member_text(key, item) for key, item in value.items()])}}}"


def _member_text(key: str, item: object) -> str:
    return f"{_key_text(key)}{_REDACTED_TEXT if key.lower() in SECRET_NAMES else json_text(item)}"


@functools.lru_cache(1024)
def _key_text(key: str) -> str:
    return f"{encode_basestring_ascii(key)}:"


_REDACTED_TEXT = encode_basestring_ascii(REDACTED)

_TEXT_CONVERTERS: dict[type, Callable[[Any], str]] = {
    JsonText: lambda text: cast(str, text),
}


def _find_text_converter(kind: type) -> Callable[[Any], str]:
    """As `_find_converter`; only what is long or frequent has a way of its own."""
    if attrs.has(kind) and not issubclass(kind, enum.Enum):
        return _structure_text_converter(kind)
    if issubclass(kind, enum.Enum) and not issubclass(kind, enum.Flag):  # few values, each met again and again
        return functools.lru_cache(256)(lambda value: encode(_enum_to_json(value)))
    return lambda value: encode(to_json(value))


def _structure_text_converter(kind: type) -> Callable[[Any], str]:
    plan = _plan_of(kind)
    keys = [_key_text(name) for name in plan.names]
    end = ",".join([f"{_key_text(name)}{_REDACTED_TEXT}" for name in plan.secret])

    def convert(value: object) -> str:
        members = [
            f"{key}{json_text(item)}"
            for key, item, default in zip(keys, plan.read(value), plan.defaults, strict=True)
            if item is not default and (type(item) is not type(default) or item != default)
        ]
        if end:
            members.append(end)
        return f"{{{','.join(members)}}}"

    return _remembering_the_last(convert) if kind is ConnectionSettings else convert


def _remembering_the_last(convert: Callable[[object], str]) -> Callable[[object], str]:
    """The same, but the structure that came last is not converted again: LogonNotify mostly answers with the settings
    that it was given, 65 fields of them. They never change; and a weak reference keeps nobody's password alive."""
    last: weakref.ref[object] | None = None
    text = ""

    def convert_once(value: object) -> str:
        nonlocal last, text
        if last is None or last() is not value:
            text = convert(value)
            last = weakref.ref(value)
        return text

    return convert_once


def error_text(error: CallError) -> str:
    """``encode(error_to_json(error))``, likewise."""
    exception = "" if error.exception is None else f',"exception":{encode_basestring_ascii(error.exception)}'
    return f'{{"hresult":"0x{error.hresult:08X}","reason":{encode_basestring_ascii(error.reason)}{exception}}}'


def error_to_json(error: CallError) -> dict[str, Json]:
    """The ``error`` of a call line."""
    line: dict[str, Json] = {"hresult": f"0x{error.hresult:08X}", "reason": error.reason}
    if error.exception is not None:
        line["exception"] = error.exception
    return line


def _find_converter(kind: type) -> Callable[[Any], Json]:
    """The function that turns values of this class into JSON. Found once a class, then taken from a table."""
    if issubclass(kind, enum.Enum):
        return _enum_to_json
    if attrs.has(kind):
        return _structure_converter(kind)
    for base, convert in (
        (str, lambda value: to_json(str(value))),
        (int, int),
        (float, lambda value: float(value) if math.isfinite(value) else str(value)),
        (uuid.UUID, str),
        ((bytes, bytearray, memoryview), _bytes_to_json),
        (Mapping, mapping_to_json),
        ((list, tuple), lambda value: [to_json(item) for item in value]),
        ((set, frozenset), lambda value: sorted((to_json(item) for item in value), key=str)),
    ):
        if issubclass(kind, cast(Any, base)):
            return convert
    text = f"<{kind.__name__}>"
    return lambda _value: text


def _enum_to_json(value: enum.Enum) -> Json:
    name = value.name  # None for a flag value that has bits without a name
    return name if isinstance(name, str) else to_json(value.value)


def _bytes_to_json(value: bytes | bytearray | memoryview) -> dict[str, Json]:
    count = value.nbytes if isinstance(value, memoryview) else len(value)
    return {"bytes": count} if count > MAX_HEX else {"hex": bytes(value).hex()}


@attrs.frozen
class _Plan:
    """How to go through the fields of an attrs class."""

    names: list[str]
    """Of the fields that are not secret."""
    defaults: tuple[object, ...]
    secret: dict[str, str]
    """Name and what stands for the value."""
    read: Callable[[object], tuple[object, ...]]
    """The values of `names`."""


def _plan_of(kind: type) -> _Plan:
    fields = attrs.fields(cast("type[attrs.AttrsInstance]", kind))
    public = [field for field in fields if not is_secret(field)]
    names = [field.name for field in public]
    secret = {field.name: REDACTED for field in fields if is_secret(field)}
    return _Plan(names, tuple(map(_default_of, public)), secret, _reader(names))


def _reader(names: list[str]) -> Callable[[object], tuple[object, ...]]:
    if len(names) > 1:
        return operator.attrgetter(*names)
    return lambda value: tuple([getattr(value, name) for name in names])


def _structure_converter(kind: type) -> Callable[[Any], Json]:
    """For attrs classes: all fields that differ from their default, the secret ones always and redacted."""
    plan = _plan_of(kind)

    def convert(value: object) -> dict[str, Json]:
        found = {
            name: to_json(item)
            for name, item, default in zip(plan.names, plan.read(value), plan.defaults, strict=True)
            # Identity first: most fields of most structures are their default, the very object.
            if item is not default and (type(item) is not type(default) or item != default)
        }
        return found | plan.secret if plan.secret else found

    return convert


def is_secret(field: "attrs.Attribute[Any]") -> bool:
    """Whether a field's values must not be seen: its metadata says so."""
    return bool(field.metadata.get("secret"))


def _default_of(field: "attrs.Attribute[Any]") -> object:
    """A field's default; of a field that has none, an object that no value equals."""
    if isinstance(field.default, attrs.Factory):  # type: ignore[arg-type]
        factory = cast(Any, field.default)
        return object() if factory.takes_self else factory.factory()
    return object() if field.default is attrs.NOTHING else field.default


def _parse_object(text: bytes) -> dict[str, Json]:
    try:
        values = json.loads(text.decode("utf-8"), parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(values, dict):
        raise ValueError(f"expected a JSON object, found {type(values).__name__}")
    return values


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _parse_header(values: dict[str, Json]) -> TraceHeader:
    if values.get("trace") != "rdpprov":
        raise ValueError('expected the header {"trace":"rdpprov",...}')
    version = values.get("version")
    if type(version) is not int or not 1 <= version <= VERSION:
        raise ValueError(f"version {version!r}, expected 1 to {VERSION}")
    kind = _text(values, "kind")
    if kind not in ("connection", "service"):
        raise ValueError(f"kind {kind!r}, expected 'connection' or 'service'")
    return TraceHeader(
        kind=kind,
        protocol=_text(values, "protocol", ""),
        listener=_text(values, "listener", ""),
        started=_text(values, "started", ""),
        version=version,
    )


def _parse_line(values: dict[str, Json], line_number: int) -> Line:
    if "event" in values:
        fields = {key: value for key, value in values.items() if key not in ("t", "event")}
        return EventLine(_seconds(values, "t"), _text(values, "event"), fields, line_number)
    if "wire" in values:
        direction = values["wire"]
        if direction not in ("in", "out"):
            raise ValueError(f"wire {direction!r}, expected 'in' or 'out'")
        try:
            data = base64.b64decode(_text(values, "data"), validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"data is no base64: {error}") from error
        return WireLine(_seconds(values, "t"), direction, data, line_number)
    if "call" in values:
        return _parse_call(values, line_number)
    raise ValueError("neither a call nor an event nor bytes")


def _parse_call(values: dict[str, Json], line_number: int) -> CallLine:
    n = values.get("n")
    if type(n) is not int or n < 0:
        raise ValueError(f"n is {n!r}, expected the call's number")
    args = values.get("args", {})
    if not isinstance(args, dict):
        raise ValueError("args is not an object")
    error = _parse_error(values["error"]) if "error" in values else None
    if error is not None and "result" in values:
        raise ValueError("a result and an error in one call")
    outcome = Outcome.FAILED if error is not None else Outcome.RETURNED if "result" in values else Outcome.OPEN
    return CallLine(
        n=n,
        t=_seconds(values, "t"),
        d=_seconds(values, "d") if "d" in values else None,
        source=_text(values, "from"),
        target=_text(values, "to"),
        call=_text(values, "call"),
        args=args,
        outcome=outcome,
        result=values.get("result"),
        error=error,
        line_number=line_number,
    )


def _parse_error(value: Json) -> CallError:
    if not isinstance(value, dict):
        raise ValueError("error is not an object")
    text = _text(value, "hresult")
    try:
        hresult = int(text, 16)
    except ValueError:
        raise ValueError(f"hresult {text!r} is no hexadecimal number") from None
    if not 0x80000000 <= hresult <= 0xFFFFFFFF:
        raise ValueError(f"hresult {text!r} is not a failing HRESULT")
    exception = _text(value, "exception") if "exception" in value else None
    return CallError(hresult, _text(value, "reason", ""), exception)


def _text(values: dict[str, Json], key: str, default: str | None = None) -> str:
    value = values.get(key, default)
    if not isinstance(value, str):
        raise ValueError(f"{key} is {'missing' if value is None else repr(value)}, expected text")
    return value


def _seconds(values: dict[str, Json], key: str) -> float:
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < MAX_SECONDS:
        raise ValueError(f"{key} is {value!r}, expected seconds")
    return float(value)


def _in_order(lines: Iterable[Line]) -> Iterator[Line]:
    """Calls by ``n``; the others, by ``t``, each before the first call that started later."""
    lines = tuple(lines)
    calls = sorted((line for line in lines if isinstance(line, CallLine)), key=lambda call: call.n)
    others = sorted((line for line in lines if not isinstance(line, CallLine)), key=lambda line: line.t)
    position = 0
    for call in calls:
        while position < len(others) and others[position].t < call.t:
            yield others[position]
            position += 1
        yield call
    yield from others[position:]
