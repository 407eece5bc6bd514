"""Reading a listener's own configuration: the checks that every provider's table needs."""

import difflib
import os
from collections.abc import Iterator, Mapping

import attrs

from rdpprov.errors import ConfigurationError


def given_keys(
    where: str, table: type[attrs.AttrsInstance], options: Mapping[str, object]
) -> Iterator[tuple[str, object]]:
    """The keys that are given, with their values.

    Args:
        where: for messages.
        table: its fields are the keys that there are.
        options: as configured; None is as good as absent.

    Raises:
        ConfigurationError: there is no such key.
    """
    known = {field.name for field in attrs.fields(table)}
    for key in options:
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ConfigurationError(f"{where}: unknown key {key!r}{hint}")
    yield from ((key, value) for key, value in options.items() if value is not None)


def text(where: str, key: str, value: object) -> str:
    """A value that is to be text.

    Raises:
        ConfigurationError: it is not, as of the next ones.
    """
    if not isinstance(value, str | os.PathLike) or not str(value):
        raise ConfigurationError(f"{where}: {key!r} is {value!r}, expected text")
    return str(value)


def integer(where: str, key: str, value: object, low: int, high: int) -> int:
    """A whole number within limits."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ConfigurationError(f"{where}: {key!r} is {value!r}, expected a number from {low} to {high}")
    return value


def seconds(where: str, key: str, value: object) -> float:
    """A length of time."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
        raise ConfigurationError(f"{where}: {key!r} is {value!r}, expected seconds, more than 0")
    return float(value)


def flag(where: str, key: str, value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{where}: {key!r} is {value!r}, expected true or false")
    return value


def names(where: str, key: str, value: object, known: tuple[str, ...]) -> tuple[str, ...]:
    """A list of names, or a text with commas between them; not empty."""
    given = tuple(value.split(",")) if isinstance(value, str) else value
    if not isinstance(given, list | tuple) or not given:
        raise ConfigurationError(f"{where}: {key!r} is {value!r}, expected a list of {', '.join(known)}")
    for name in given:
        if name not in known:
            raise ConfigurationError(f"{where}: unknown {key} {name!r}, expected {', '.join(known)}")
    return tuple(given)


def check_pair(where: str, values: Mapping[str, object]) -> None:
    """A certificate and its key go together."""
    if ("certificate" in values) != ("key" in values):
        missing = "key" if "certificate" in values else "certificate"
        raise ConfigurationError(f"{where}: {missing!r} is missing: a certificate and its key go together")
