"""What `ProtocolConnection.query_property` can be asked: every documented property, with its types at both ends.

The service packs a question and unpacks the answer, the provider the other way round::

    asked = PROPERTY_TYPE_GET_FAST_RECONNECT
    mode = asked.unpack_answer(await connection.query_property(asked.guid, asked.pack_question(None)))

    match query_type:  # in the provider
        case properties.PROPERTY_TYPE_GET_FAST_RECONNECT.guid:
            return properties.PROPERTY_TYPE_GET_FAST_RECONNECT.pack_answer(FastReconnectMode.BASIC)
        case _:
            raise NotImplementedByProvider(f"QueryProperty {query_type}")  # what an unknown property is answered

Source: "IWRdsProtocolConnection::QueryProperty"; where its text and the metadata differ, the metadata's GUID counts.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

import attrs

from rdpprov.api.enums import FastReconnectMode, ValueType
from rdpprov.api.media_formats import SupportDataIn, SupportDataOut
from rdpprov.api.structures import PropertyData, PropertyValue, unsigned
from rdpprov.api.time_zones import DynamicTimeZoneInformation
from rdpprov.errors import E_INVALIDARG, HResultError

Question = TypeVar("Question")
Answer = TypeVar("Answer")
Value = TypeVar("Value")

PackedValues = tuple[PropertyData, ...]

ULONG, STRING, BINARY = ValueType.ULONG, ValueType.STRING, ValueType.BINARY


@attrs.frozen(eq=False)
class Property(Generic[Question, Answer]):
    """One property. Compare by identity, or by `guid`."""

    name: str
    """The standard's spelling."""
    guid: uuid.UUID
    question: tuple[ValueType, ...]
    """Types of the entries that go in; empty: there are none."""
    answer: tuple[ValueType, ...]
    """Types of the entries that come out."""
    meaning_off_windows: bool = attrs.field(kw_only=True)
    """Whether anybody but Windows could do something with the answer; if not, the service here never asks."""
    _to_question: Callable[[Question], PackedValues] = attrs.field(kw_only=True)
    _from_question: Callable[..., Question] = attrs.field(kw_only=True)
    _to_answer: Callable[[Answer], PackedValues] = attrs.field(kw_only=True)
    _from_answer: Callable[..., Answer] = attrs.field(kw_only=True)

    def pack_question(self, question: Question) -> tuple[PropertyValue, ...]:
        """The service's question, as `entries_in`."""
        return tuple(map(PropertyValue, self._to_question(question)))

    def unpack_question(self, entries: Sequence[PropertyValue]) -> Question:
        """The question, as the provider reads it out of `entries_in`.

        Raises:
            HResultError: E_INVALIDARG: entries of other types, another number of them, or values that mean nothing.
        """
        return _unpacked(f"question of {self.name}", self.question, self._from_question, entries)

    def pack_answer(self, answer: Answer) -> tuple[PropertyValue, ...]:
        """The provider's answer, as `query_property` returns it."""
        return tuple(map(PropertyValue, self._to_answer(answer)))

    def unpack_answer(self, entries: Sequence[PropertyValue]) -> Answer:
        """The answer, as the service reads it out of what came back.

        Raises:
            HResultError: E_INVALIDARG: entries of other types, another number of them, or values that mean nothing.
        """
        return _unpacked(f"answer to {self.name}", self.answer, self._from_answer, entries)


def _unpacked(
    what: str, types: tuple[ValueType, ...], unpack: Callable[..., Value], entries: Sequence[PropertyValue]
) -> Value:
    if not all(isinstance(entry, PropertyValue) for entry in entries):
        raise HResultError(f"{what}: an entry that is no PropertyValue", E_INVALIDARG)
    if (came := tuple(entry.type for entry in entries)) != types:
        raise HResultError(f"{what}: {_named(came)} came, {_named(types)} expected", E_INVALIDARG)
    try:
        return unpack(*(entry.value for entry in entries))
    except ValueError as error:
        raise HResultError(f"{what}: {error}", E_INVALIDARG) from error


def _named(types: Sequence[ValueType]) -> str:
    return ", ".join(each.name for each in types) or "nothing"


@attrs.frozen
class InitialApp:
    """Question of `WTS_QUERY_ALLOWED_INITIAL_APP`: the program that is to be started."""

    application: str
    """Command line with directory."""
    parameters: str = ""
    reserved: int = unsigned(32)


@attrs.frozen
class InitialAppVerdict:
    """Answer to `WTS_QUERY_ALLOWED_INITIAL_APP`: what is started instead. Repeat the question to change nothing."""

    command_line: str
    """With directory."""
    parameters: str = ""
    allowed: bool = True
    """False: nothing is started, and the connection refused."""


@attrs.frozen
class LogonScreenSize:
    """Answer to `WTS_QUERY_LOGON_SCREEN_SIZE`, in pixels.

    No page says how one number is a size; here as Windows packs two words into one: the width is the low one.
    """

    width: int = unsigned(16)
    height: int = unsigned(16)


def _asks_nothing(_question: None) -> PackedValues:
    return ()


def _nothing_asked() -> None:
    return None


def _flag(value: int) -> bool:
    return value != 0


def _asked_for(
    name: str,
    guid: str,
    kind: ValueType,
    to_value: Callable[[Answer], PropertyData],
    from_value: Callable[[Any], Answer],
    *,
    meaning_off_windows: bool = True,
) -> Property[None, Answer]:
    """A property without a question and with one value as its answer, as most are."""
    return Property(
        name,
        uuid.UUID(guid),
        (),
        (kind,),
        meaning_off_windows=meaning_off_windows,
        to_question=_asks_nothing,
        from_question=_nothing_asked,
        to_answer=lambda answer: (to_value(answer),),
        from_answer=from_value,
    )


WTS_QUERY_ALLOWED_INITIAL_APP: Final[Property[InitialApp, InitialAppVerdict]] = Property(
    "WTS_QUERY_ALLOWED_INITIAL_APP",
    uuid.UUID("c77d1b30-5be1-4c6b-a0e1-bd6d2e5c9fcc"),
    (STRING, STRING, ULONG),
    (STRING, STRING, ULONG),
    meaning_off_windows=True,
    to_question=lambda question: (question.application, question.parameters, question.reserved),
    from_question=InitialApp,
    to_answer=lambda answer: (answer.command_line, answer.parameters, int(answer.allowed)),
    from_answer=lambda line, parameters, allowed: InitialAppVerdict(line, parameters, allowed != 0),
)
"""May this program be started in the session? Asked before it is. E_NOTIMPL: it may."""

WTS_QUERY_LOGON_SCREEN_SIZE: Final = _asked_for(
    "WTS_QUERY_LOGON_SCREEN_SIZE",
    "8b8e0fe7-0804-4a0e-b279-8660b1df0049",
    ULONG,
    lambda size: size.height << 16 | size.width,
    lambda number: LogonScreenSize(number & 0xFFFF, number >> 16),
)
"""How large the logon desktop is to be. E_NOTIMPL: the default (the page has it the other way round)."""

WTS_QUERY_AUDIOENUM_DLL: Final = _asked_for(
    "WTS_QUERY_AUDIOENUM_DLL",
    "9bf4fa97-c883-4c2a-80ab-5a39c9af00db",
    STRING,
    str,
    str,
    meaning_off_windows=False,
)
"""Name of the signed DLL that enumerates the session's audio endpoints."""

WTS_QUERY_MF_FORMAT_SUPPORT: Final[Property[SupportDataIn, SupportDataOut]] = Property(
    "WTS_QUERY_MF_FORMAT_SUPPORT",
    uuid.UUID("41869ad0-6332-4dc8-95d5-db749e2f1d94"),
    (BINARY,),
    (BINARY,),
    meaning_off_windows=False,
    to_question=lambda question: (question.pack(),),
    from_question=SupportDataIn.unpack,
    to_answer=lambda answer: (answer.pack(),),
    from_answer=SupportDataOut.unpack,
)
"""For which of these formats does the provider have Media Foundation sinks?"""

PROPERTY_DYNAMIC_TIME_ZONE_INFORMATION: Final = _asked_for(
    "PROPERTY_DYNAMIC_TIME_ZONE_INFORMATION",
    "0cdfd28e-d0b9-4c1f-a5eb-6d1f6c6535b9",
    BINARY,
    DynamicTimeZoneInformation.pack,
    DynamicTimeZoneInformation.unpack,
)
"""The client's time zone, with its rules for each year. E_NOTIMPL: that of the client data."""

PROPERTY_TYPE_GET_FAST_RECONNECT: Final = _asked_for(
    "PROPERTY_TYPE_GET_FAST_RECONNECT", "6212d757-0043-4862-99c3-9f3059ac2a3b", ULONG, int, FastReconnectMode
)
"""Whether a session may be chosen before anybody logs on. E_NOTIMPL: as without the property, so that what
AuthenticateClientToSession proves counts; OFF: not even that."""

PROPERTY_TYPE_GET_FAST_RECONNECT_USER_SID: Final = _asked_for(
    "PROPERTY_TYPE_GET_FAST_RECONNECT_USER_SID", "197c427a-0135-4b6d-9c5e-e6579a0ab625", STRING, str, str
)
"""Whose sessions those may be: a SID on Windows; here, where accounts have none, the user's name, or DOMAIN\\\\name."""

PROPERTY_TYPE_ENABLE_UNIVERSAL_APPS_FOR_CUSTOM_SHELL: Final = _asked_for(
    "PROPERTY_TYPE_ENABLE_UNIVERSAL_APPS_FOR_CUSTOM_SHELL",
    "ed2c3fda-338d-4d3f-81a3-e767310d908e",
    ULONG,
    int,
    _flag,
    meaning_off_windows=False,
)
"""Start ShellAppRuntime.exe before a custom shell? E_NOTIMPL: no."""

CONNECTION_PROPERTY_CURSOR_BLINK_DISABLED: Final = _asked_for(
    "CONNECTION_PROPERTY_CURSOR_BLINK_DISABLED", "4b150580-fea4-4d3c-9de4-7433a66618f7", ULONG, int, _flag
)
"""Keep the text cursor from blinking, which would cost the wire two updates a second? E_NOTIMPL: no."""

CONNECTION_PROPERTY_IDLE_TIME_WARNING: Final = _asked_for(
    "CONNECTION_PROPERTY_IDLE_TIME_WARNING", "693f7ff5-0c4e-4d17-b8e0-1f70325e5d58", ULONG, int, _flag
)
"""Warn the user before the idle limit? E_NOTIMPL: the service decides; ours warns."""

PROPERTIES: Final[Mapping[uuid.UUID, Property[Any, Any]]] = {
    each.guid: each
    for each in (
        WTS_QUERY_ALLOWED_INITIAL_APP,
        WTS_QUERY_LOGON_SCREEN_SIZE,
        WTS_QUERY_AUDIOENUM_DLL,
        WTS_QUERY_MF_FORMAT_SUPPORT,
        PROPERTY_DYNAMIC_TIME_ZONE_INFORMATION,
        PROPERTY_TYPE_GET_FAST_RECONNECT,
        PROPERTY_TYPE_GET_FAST_RECONNECT_USER_SID,
        PROPERTY_TYPE_ENABLE_UNIVERSAL_APPS_FOR_CUSTOM_SHELL,
        CONNECTION_PROPERTY_CURSOR_BLINK_DISABLED,
        CONNECTION_PROPERTY_IDLE_TIME_WARNING,
    )
}
"""Every documented property, by its GUID."""

UNDOCUMENTED_PROPERTIES: Final[Mapping[uuid.UUID, str]] = {
    uuid.UUID("9eaa04f6-5b9d-4ba5-be9d-3748ad6d8af7"): "PROPERTY_TYPE_CONNECTION_GUID",
    uuid.UUID("846b20bb-6254-430e-952f-b0c7ca081915"): "PROPERTY_TYPE_SUPPRESS_LOGON_UI",
    uuid.UUID("2918db60-6cae-42a8-9945-8128d7dd8e71"): "PROPERTY_TYPE_CAPTURE_PROTECTED_CONTENT",
    uuid.UUID("4daa5ab8-8b6a-49cf-9c85-8add504cd1f7"): "PROPERTY_TYPE_LICENSE_GUID",
}
"""Asked by real services, described nowhere; a provider answers E_NOTIMPL."""
