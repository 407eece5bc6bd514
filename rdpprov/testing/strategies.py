"""Hypothesis strategies for every structure of the provider API, made from what its fields say of themselves.

::

    @given(structures(ClientData))
    def test_client_data_is_kept(data): ...

A field's type says what it holds; its metadata (``range``, ``length``, ``item``) how much of it. So a structure that is
new, or a field, has its strategy already. Hypothesis is imported when a strategy is made.
"""

import enum
import importlib
import pkgutil
import types
import typing
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import attrs

import rdpprov.api

Structure = TypeVar("Structure")

INT32 = -(1 << 31), (1 << 31) - 1
"""For a number whose field says no range."""
INTEGERS = ((-(1 << 63), (1 << 63) - 1), (0, (1 << 64) - 1), INT32, (0, (1 << 32) - 1), (0, 0xFFFF), (0, 0xFF), (0, 1))
"""Ranges that numbers may have which no field gives one of its own, the widest first."""
TEXT_LENGTH = 64
"""For text and bytes whose field says no length."""

WITHOUT: Mapping[str, str] = {
    "Property": "what a property is, not a value of one",
    "ProtocolHandles": "it holds devices",
    "PointerShape": "it holds pixels, of a shape that its other fields say",
}
"""Structures without a strategy, and why."""

UNIONS: Mapping[str, Sequence[str]] = {
    "CacheStats": ("protocol_cache", "tshare_cache_stats", "reserved"),
}
"""Structures with a union in them, which no field says of itself: of these fields at most one differs from its default.

They are drawn so, for if all were drawn and what does not fit thrown away, hardly anything would be left.
"""


def all_structures() -> Sequence[type]:
    """Every structure of `rdpprov.api` that has a strategy, in the order of their names."""
    found: dict[str, type] = {}
    for module_info in pkgutil.iter_modules(rdpprov.api.__path__, "rdpprov.api."):
        module = importlib.import_module(module_info.name)
        for name, value in vars(module).items():
            if isinstance(value, type) and attrs.has(value) and value.__module__ == module.__name__:
                found[name] = value
    return [found[name] for name in sorted(found) if name not in WITHOUT and not name.startswith("_")]


def structures(structure: type[Structure], **fields: Any) -> Any:
    """A strategy for the instances of one structure.

    Args:
        structure: an attrs class.
        fields: strategies for single fields, instead of their own. Where they are of a union (`UNIONS`), the others in
            it keep their defaults.

    Raises:
        LookupError: a field holds something that there is no strategy for.
    """
    from hypothesis import strategies as st

    hints = typing.get_type_hints(structure)
    own = {
        field.alias: fields.get(field.name, _of_field(structure, field, hints[field.name]))
        for field in attrs.fields(structure)  # type: ignore[arg-type]
        if field.init
    }
    union = UNIONS.get(structure.__name__, ())
    members = [member for member in union if member in fields] or union
    others = {name: strategy for name, strategy in own.items() if name not in union}
    if any(member in fields for member in members) or not union:
        return st.builds(structure, **others, **{member: own[member] for member in members})
    return st.one_of(*(st.builds(structure, **others, **{member: own[member]}) for member in members))


def _of_field(structure: type, field: "attrs.Attribute[Any]", hint: Any) -> Any:
    from hypothesis import strategies as st

    if hint is int:
        return st.integers(*field.metadata.get("range", INT32))
    if hint is str:
        return _texts(field.metadata.get("length", TEXT_LENGTH))
    if hint is bytes:
        return st.binary(max_size=field.metadata.get("length", TEXT_LENGTH))
    if typing.get_origin(hint) is tuple:
        return _tuples(structure, field, hint)
    # A number among other types: its range is the validator's secret, but whether it takes one can be asked.
    accepted = (each for each in INTEGERS if field.validator is not None and _accepts(field.validator, field, each))
    bounds = next(accepted, INT32)
    return _of_type(f"{structure.__name__}.{field.name}", hint, bounds)


def _tuples(structure: type, field: "attrs.Attribute[Any]", hint: Any) -> Any:
    from hypothesis import strategies as st

    item = typing.get_args(hint)[0]
    accepts = field.metadata.get("item")
    if item is int and accepts is not None:
        items = st.integers(*next(bounds for bounds in INTEGERS if _accepts(accepts, field, bounds)))
    else:
        items = _of_type(f"{structure.__name__}.{field.name}", item)
    return st.lists(items, max_size=field.metadata.get("length", 8)).map(tuple)


def _accepts(validator: Any, field: "attrs.Attribute[Any]", values: Sequence[int]) -> bool:
    try:
        for value in values:
            validator(None, field, value)
    except (TypeError, ValueError):
        return False
    return True


def _of_type(where: str, hint: Any, integers: tuple[int, int] = INT32) -> Any:
    """What a type alone says, and for numbers a range."""
    from hypothesis import strategies as st

    if isinstance(hint, type) and attrs.has(hint):
        return structures(hint)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return st.sampled_from(hint)
    plain: dict[Any, Any] = {
        bool: st.booleans(),
        int: st.integers(*integers),
        str: _texts(TEXT_LENGTH),
        bytes: st.binary(max_size=TEXT_LENGTH),
        uuid.UUID: st.uuids(),
        type(None): st.none(),
    }
    if hint in plain:
        return plain[hint]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([_of_type(where, argument, integers) for argument in arguments])
    if origin is frozenset:
        return st.frozensets(_of_type(where, arguments[0]), max_size=4)
    if origin is tuple:
        return st.lists(_of_type(where, arguments[0]), max_size=4).map(tuple)
    if origin in (Sequence, list):
        return st.lists(_of_type(where, arguments[0]), max_size=4)
    raise LookupError(f"{where}: there is no strategy for {hint}")


def _texts(length: int) -> Any:
    """Text of at most so many UTF-16 units, with characters of one unit and of two."""
    from hypothesis import strategies as st

    characters = st.characters(exclude_categories=["Cs"])
    return st.text(characters, max_size=length).map(lambda text: _cut(text, length))


def _cut(text: str, length: int) -> str:
    while len(text.encode("utf-16-le")) > 2 * length:
        text = text[:-1]
    return text
