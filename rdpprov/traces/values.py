"""The values of a trace: made again for a call that is played again, and compared with those of this time.

Some cannot be the same twice, and none of them means a difference: the GUID of a connection, session numbers (they only
have to be told apart the same way), the client's port. Secrets are not in a trace; where a structure needs one again,
it is taken from `Secrets`.
"""

import enum
import inspect
import re
import types
import typing
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from rdpprov.traces.dialogue import ReplayError
from rdpprov.traces.format import REDACTED, CallLine, Json, is_secret
from rdpprov.traces.show import short

Secrets = Mapping[str, object]
"""What to put where a trace has `REDACTED`, by field name."""

IGNORED: Final = frozenset({"session_unique_guid", "port", "event_log_activity_id"})
"""Fields that are never the same twice."""

SESSION_NUMBERS: Final = frozenset({"session_id", "session_handle"})
"""Fields that hold a session's number, which is another one in each run."""


Difference = tuple[str, Json, Json]
"""Where, in a value; what was recorded; what came now. `ABSENT` on a side that has nothing there."""

ABSENT: Final = "(its default)"


class Comparison:
    """Where two JSON values differ; remembers which session number of now is which of then."""

    def __init__(self) -> None:
        self._sessions: dict[object, object] = {}

    def differences(self, recorded: Json, now: Json, path: str = "") -> list[Difference]:
        """All places where the two do not mean the same."""
        name = path.rpartition(".")[2]
        if name in IGNORED:
            return []
        if isinstance(recorded, dict) and isinstance(now, dict):
            return [
                difference
                for key in [*recorded, *(key for key in now if key not in recorded)]
                for difference in self.differences(
                    recorded.get(key, ABSENT), now.get(key, ABSENT), f"{path}.{key}" if path else key
                )
            ]
        if isinstance(recorded, list) and isinstance(now, list) and len(recorded) == len(now):
            return [
                difference
                for position, pair in enumerate(zip(recorded, now, strict=True))
                for difference in self.differences(*pair, f"{path}[{position}]")
            ]
        if name in SESSION_NUMBERS and isinstance(recorded, int) and isinstance(now, int):
            return [] if self._sessions.setdefault(recorded, now) == now else [(path, recorded, now)]
        if _is_object(recorded) and _is_object(now):
            return []  # their classes are nobody's business: one of the two may be ours, standing in
        return [] if recorded == now else [(path, recorded, now)]


def both_sides(differences: Sequence[Difference]) -> tuple[str, str]:
    """What is different, on each side: ``h_res=800, v_res=600``."""
    texts = []
    for side in (1, 2):
        values = (f"{entry[0]}={short(entry[side])}" if entry[0] else short(entry[side]) for entry in differences)
        texts.append(", ".join(values))
    return texts[0], texts[1]


def _is_object(value: Json) -> bool:
    return isinstance(value, str) and value.startswith("<") and value.endswith(">") and value != REDACTED


def from_json(value: Json, hint: Any, secrets: Secrets | None = None, name: str = "") -> Any:
    """The value that a trace tells of, as far as it does: the reverse of `to_json`.

    Args:
        value: from a trace.
        hint: the type that the API annotates.
        secrets: what to put where a trace has `REDACTED`, by field name; without it a stand-in of the same type.
        name: of the argument or field.

    Raises:
        ReplayError: the trace's value does not fit the type.
    """
    try:
        return _from_json(value, hint, secrets or {}, name)
    except (ValueError, TypeError, KeyError) as error:
        raise ReplayError(f"{name or 'value'}: {short(value)} does not fit {hint}: {error}") from error


def _from_json(value: Json, hint: Any, secrets: Secrets, name: str) -> Any:
    origin = typing.get_origin(hint)
    if value == REDACTED:
        return secrets[name] if name in secrets else _stand_in(hint)
    if origin in (typing.Union, types.UnionType):
        return _from_union(value, typing.get_args(hint), secrets, name)
    if value is None or hint is Any or _is_object(value):
        return value
    if isinstance(hint, type) and attrs.has(hint):
        return _structure(value, hint, secrets)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint[value] if isinstance(value, str) else hint(value)
    if hint is uuid.UUID:
        return uuid.UUID(value)
    if hint is bytes:
        return bytes.fromhex(value["hex"]) if "hex" in value else bytes(value["bytes"])
    if origin is not None and isinstance(value, list):
        items = typing.get_args(hint)
        each = [item for item in items if item is not Ellipsis] or [Any]
        hints = each if origin is tuple and len(each) == len(value) else each[:1] * len(value)
        values = [_from_json(item, kind, secrets, name) for item, kind in zip(value, hints, strict=True)]
        return origin(values) if isinstance(origin, type) and issubclass(origin, (tuple, frozenset, set)) else values
    if isinstance(hint, type) and issubclass(hint, (bool, int, float, str)) and not isinstance(value, (dict, list)):
        return value
    raise ValueError(f"cannot make a {hint}")


def _from_union(value: Json, hints: Sequence[Any], secrets: Secrets, name: str) -> Any:
    if value is None:
        return None
    problems = []
    for hint in hints:
        if hint is type(None) or (hint in (int, str) and type(value) is not hint):
            continue
        try:
            return _from_json(value, hint, secrets, name)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            problems.append(str(error))
    raise ValueError("; ".join(problems) or "no type of the union")


def _structure(value: Json, hint: type, secrets: Secrets) -> Any:
    if not isinstance(value, dict):
        raise ValueError("expected a table")
    hints = typing.get_type_hints(hint)
    fields = {field.name: field for field in attrs.fields(hint)}
    values = {}
    for name, item in value.items():
        field = fields.get(name)
        if field is None or not field.init:
            continue  # a field of another version
        if item == REDACTED and is_secret(field) and name not in secrets and field.default is not attrs.NOTHING:
            continue
        values[name] = _from_json(item, hints[name], secrets, name)
    return hint(**values)


def _stand_in(hint: Any) -> Any:
    """For a secret that nobody gave: it fits, and opens nothing."""
    match hint:
        case type() if hint is bytes:
            return bytes(16)
        case type() if hint is uuid.UUID:
            return uuid.UUID(int=0)
        case _:
            return ""


def method_name(call: str) -> str:
    """The method of the API: "GetClientData" is `get_client_data`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", call).lower()


def arguments_of(target: object, call: CallLine, secrets: Secrets) -> list[object]:
    """A call's arguments, in the order of the API's own method: a provider need not repeat its names and types.

    Raises:
        ReplayError: the trace does not have one of them.
    """
    name = method_name(call.call)
    interface = next(cls for cls in reversed(type(target).__mro__) if name in vars(cls))
    method = getattr(interface, name)
    hints = typing.get_type_hints(method)
    values = []
    for parameter in list(inspect.signature(method).parameters.values())[1:]:
        if parameter.name in call.args:
            values.append(from_json(call.args[parameter.name], hints[parameter.name], secrets, parameter.name))
        elif parameter.default is not parameter.empty:
            values.append(parameter.default)
        else:
            raise ReplayError(f"line {call.line_number}: {call.call} has no argument {parameter.name}")
    return values
