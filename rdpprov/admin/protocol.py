"""The protocol of the admin socket, version 1: JSON, one object a line, UTF-8, over a Unix stream socket.

The client asks. Every request is one line, and gets one answer with the request's ``id``, in their order::

    {"version": 1, "id": 7, "call": "message", "arguments": {"session": 3, "text": "Lunch!"}}
    {"version": 1, "id": 7, "result": null}

    {"version": 1, "id": 8, "call": "disconnect", "arguments": {"session": 4}}
    {"version": 1, "id": 8, "error": {"code": "no-such-session", "reason": "there is no session 4"}}

``id`` is a whole number of the client's choice, ``arguments`` may be missing where there are none. The calls:

==============  ===========================================  ============================================
call            arguments                                    result
==============  ===========================================  ============================================
``service``                                                  `rdpprov.rcm.snapshots.ServiceInfo`
``sessions``                                                 list of `rdpprov.rcm.snapshots.SessionInfo`
``session``     ``session``                                  `rdpprov.rcm.snapshots.SessionDetails`
``listeners``                                                list of `rdpprov.rcm.snapshots.ListenerInfo`
``disconnect``  ``session``                                  null, when it is disconnected
``logoff``      ``session``                                  null, when it has ended
``message``     ``session``, ``text``                        null
``shadow``      ``target``, ``viewer`` or null, ``control``  null, when the user has agreed
``end_shadow``  ``target``                                   null, when it has ended
``drain``       ``on``                                       null
``watch``                                                    null; then events, until the connection ends
==============  ===========================================  ============================================

A structure is an object of its fields; an enum is its name, a session's number a whole number. After ``watch`` every
event (`rdpprov.rcm.events`) is a line of its own, between the answers to whatever else is asked::

    {"version": 1, "id": 9, "event": {"event": "session-logged-on", "session": 3, "user": "ann", ...}}

Who may: root, and the user whose service it is; the service asks the kernel who the peer is. Everybody else is told so
and disconnected. A request that is wrong costs one answer with an error; a line longer than `MAX_LINE` costs the
connection, and so does being one client more than the service serves at once. Where there is no request that could be
answered, the answer's ``id`` is null. Who hangs up, or shuts down their half, while a user is being asked takes the
question back. Error codes:

===================  ==================================================================================
``bad-request``      not JSON, not an object, an unknown call, arguments missing, wrong or unknown
``version``          ``version`` is not 1
``not-allowed``      the peer is another user
``busy``             too many clients; or the session takes part in a shadowing already
``no-such-session``  the session has ended, or never was
``not-connected``    no client shows the session
``not-logged-on``    nobody is logged on in the session
``not-shadowed``     nobody shadows the session
``too-slow``         what was asked for has been begun, and has not happened in time
``refused``          the user does not agree
``forbidden``        the configuration does not allow it, or the session's client is not fit for it
``not-running``      the service has not started yet, or has ended
``failed``           anything else
===================  ==================================================================================

Within a version, structures only get more fields, and there may be more calls, events and codes: a client ignores
fields and events that it does not know.
"""

import json
import re
import types
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar, get_args, get_origin

import attrs

from rdpprov.errors import AdministrationError, RemoteProtocolError
from rdpprov.rcm.events import Event

VERSION = 1
MAX_LINE = 64 * 1024
"""Bytes of a request, with its end. Answers may be longer."""
MAX_ANSWER = 64 * 1024 * 1024
"""Bytes of an answer that a client takes: some 100000 sessions."""
BAD_REQUEST = "bad-request"

CALLS: Mapping[str, Mapping[str, Any]] = {
    "service": {},
    "sessions": {},
    "session": {"session": int},
    "listeners": {},
    "disconnect": {"session": int},
    "logoff": {"session": int},
    "message": {"session": int, "text": str},
    "shadow": {"target": int, "viewer": int | None, "control": bool},
    "end_shadow": {"target": int},
    "drain": {"on": bool},
    "watch": {},
}
"""By call: its arguments, and what each is. One that may be null may be missing."""

Structure = TypeVar("Structure")


@attrs.frozen
class Request:
    """A client's wish."""

    id: int
    call: str
    arguments: Mapping[str, Any] = attrs.field(factory=dict)


class RequestError(AdministrationError):
    """A line that is no request: what is answered, and to which one, if that much could be read."""

    def __init__(self, request_id: int | None, reason: str, code: str) -> None:
        self.request_id = request_id
        super().__init__(reason, code)


def pack_request(request: Request) -> bytes:
    """A line."""
    return _line({"id": request.id, "call": request.call, "arguments": dict(request.arguments)})


def unpack_request(line: bytes) -> Request:
    """What a client asks for.

    Raises:
        RequestError: it is no request.
    """
    number = None
    try:
        message = _unpack(line)
        number = _number(message.get("id"))
        if message.get("version") != VERSION:
            raise AdministrationError(f"version {_shown(message.get('version'))}, expected {VERSION}", "version")
        if number is None:
            raise AdministrationError("id is missing or no whole number", BAD_REQUEST)
        call = message.get("call")
        if not isinstance(call, str) or call not in CALLS:
            raise AdministrationError(f"unknown call {_shown(call)}", BAD_REQUEST)
        arguments = _arguments(CALLS[call], message.get("arguments", {}))
        if unknown := message.keys() - {"version", "id", "call", "arguments"}:
            raise AdministrationError(f"unknown field {_shown(min(unknown))}", BAD_REQUEST)
    except AdministrationError as error:
        raise RequestError(number, str(error), error.code) from error
    return Request(number, call, arguments)


def _arguments(expected: Mapping[str, Any], given: object) -> dict[str, Any]:
    """All that a call has, each of its type.

    Raises:
        AdministrationError: one is missing, unknown or something else.
    """
    if not isinstance(given, dict):
        raise AdministrationError("arguments are no object", BAD_REQUEST)
    if unknown := given.keys() - expected.keys():
        raise AdministrationError(f"unknown argument {_shown(min(unknown))}", BAD_REQUEST)
    arguments = {}
    for name, kind in expected.items():
        try:
            arguments[name] = _made(kind, given.get(name))
        except TypeError as error:
            what = str(error) if name in given else "missing"
            raise AdministrationError(f"argument {name}: {what}", BAD_REQUEST) from error
    return arguments


def pack_result(request_id: int, result: object) -> bytes:
    """The answer to a request that was fulfilled."""
    return _line({"id": request_id, "result": to_json(result)})


def pack_error(request_id: int | None, code: str, reason: str) -> bytes:
    """The answer to one that was not; None: there was none, or it could not be read."""
    return _line({"id": request_id, "error": {"code": code, "reason": reason}})


def pack_event(request_id: int, event: Event) -> bytes:
    """What has happened, for who asked to watch."""
    return _line({"id": request_id, "event": event_to_json(event)})


@attrs.frozen
class Answer:
    """The answer to a request."""

    id: int | None
    """None: it is about no request in particular, and the last thing that the service says."""
    result: object = None
    error: AdministrationError | None = None


@attrs.frozen
class Happened:
    """What comes after ``watch``."""

    event: Event | None
    """None: one of a later service, which we do not know."""


def unpack_answer(line: bytes) -> Answer | Happened:
    """What the service says.

    Raises:
        RemoteProtocolError: it is nothing that a service of this version says.
    """
    try:
        message = _unpack(line)
    except AdministrationError as error:
        raise RemoteProtocolError(f"answer of the admin socket: {error}") from error
    number = _number(message.get("id"))
    match message:
        case {"error": {"code": str(code), "reason": str(reason)}}:
            return Answer(number, error=AdministrationError(reason, code))
        case {"event": {"event": str()} as event}:
            return Happened(event_from_json(event))
        case {"result": result}:
            return Answer(number, result)
        case _:
            raise RemoteProtocolError("answer of the admin socket: neither result, error nor event")


# Structures


def to_json(value: object) -> object:
    """What of our structures JSON can say."""
    match value:
        case Enum():
            return value.name
        case None | bool() | int() | float() | str():
            return value
        case list() | tuple():
            return [to_json(item) for item in value]
        case dict():
            return {str(key): to_json(item) for key, item in value.items()}
        case _ if attrs.has(kind := type(value)):
            return {field.name: to_json(getattr(value, field.name)) for field in attrs.fields(kind)}
        case _:
            raise TypeError(f"no JSON for {kind.__name__}")


def from_json(kind: type[Structure], value: object) -> Structure:
    """A structure out of what `to_json` made of it. Fields that we do not know are left out.

    Raises:
        RemoteProtocolError: it is no such structure.
    """
    try:
        made: Structure = _made(kind, value)
    except (TypeError, ValueError, KeyError) as error:
        raise RemoteProtocolError(f"answer of the admin socket: no {kind.__name__}: {error}") from error
    return made


def event_name(kind: type) -> str:
    """``session-logged-on`` for `SessionLoggedOn`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", kind.__name__).lower()


EVENTS = {event_name(kind): kind for kind in get_args(Event)}
"""All events, by name."""


def event_to_json(event: Event) -> dict[str, object]:
    """An event as an object, its name first."""
    fields = to_json(event)
    assert isinstance(fields, dict)
    return {"event": event_name(type(event)), **fields}


def event_from_json(value: Mapping[str, object]) -> Event | None:
    """An event out of what `event_to_json` made of it; None: one of a later service, which we do not know.

    Raises:
        RemoteProtocolError: it has that name and is something else.
    """
    kind = EVENTS.get(str(value.get("event")))
    return None if kind is None else from_json(kind, value)


def _made(kind: Any, value: Any) -> Any:
    if attrs.has(kind):
        if not isinstance(value, dict):
            raise TypeError(f"{kind.__name__} is no object")
        return kind(**{field.name: _made(field.type, value[field.name]) for field in _known(kind, value)})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind[value]
    origin = get_origin(kind)
    if origin is types.UnionType:
        return None if value is None else _first(get_args(kind), value)
    if origin in (tuple, list):
        if not isinstance(value, list):
            raise TypeError("no list")
        return origin(_made(get_args(kind)[0], item) for item in value)
    return _plain(kind, value)


def _known(kind: Any, value: Mapping[str, object]) -> list[Any]:
    return [field for field in attrs.fields(kind) if field.name in value or field.default is attrs.NOTHING]


def _first(kinds: tuple[Any, ...], value: Any) -> Any:
    """As the first of several kinds that fits."""
    failure: Exception = TypeError("nothing fits")
    for kind in kinds:
        if kind is not type(None):
            try:
                return _made(kind, value)
            except (TypeError, ValueError, KeyError) as error:
                failure = error
    raise failure


def _plain(kind: type, value: Any) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise TypeError(f"{type(value).__name__}, expected {kind.__name__}")
    return value


def _shown(value: object) -> str:
    """As little of it as helps to find it."""
    return repr(value)[:40]


def _line(message: Mapping[str, object]) -> bytes:
    return json.dumps({"version": VERSION, **message}, separators=(",", ":")).encode() + b"\n"


def _unpack(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise AdministrationError("not JSON", BAD_REQUEST) from error
    if not isinstance(message, dict):
        raise AdministrationError("no object", BAD_REQUEST)
    return message


def _number(value: object) -> int | None:
    return value if type(value) is int else None
