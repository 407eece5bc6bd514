"""Queries: what the service asks a connection between any two steps of its sequence, from AcceptConnection on.

Any task may ask; `Asker` lets it wait until no other call of the connection is open. A query never harms who asks:
where the provider does not answer, the answer is None, and where it makes a mistake that ends its connection (an
exception that is no HRESULT), whoever asked gets None, too. A provider that does not implement a query is not asked, so
that its connections pay nothing: neither time nor a line in a trace.

========================================================  ===========================================================
property                                                  asked
========================================================  ===========================================================
`WTS_QUERY_ALLOWED_INITIAL_APP`                           if the client names a program, before a new session's desktop
                                                          is made: `rcm.desktops.initial_program`
`WTS_QUERY_LOGON_SCREEN_SIZE`                             before a logon desktop is made: `rcm.desktops.logon_desktop`
`PROPERTY_TYPE_GET_FAST_RECONNECT`, `..._USER_SID`        in arbitration: `rcm.fast_reconnect`
`PROPERTY_DYNAMIC_TIME_ZONE_INFORMATION`                  after LogonNotify; kept with the session
`CONNECTION_PROPERTY_CURSOR_BLINK_DISABLED`               after LogonNotify; told to the desktop
`CONNECTION_PROPERTY_IDLE_TIME_WARNING`                   before the user is warned of the idle limit: `rcm.limits`
`WTS_QUERY_AUDIOENUM_DLL`, `WTS_QUERY_MF_FORMAT_SUPPORT`  never: they mean something to Windows alone
`PROPERTY_TYPE_ENABLE_UNIVERSAL_APPS_FOR_CUSTOM_SHELL`    likewise
========================================================  ===========================================================
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar, TypeVarTuple, Unpack, overload

import structlog
import trio

from rdpprov.api.connection import ProtocolConnection
from rdpprov.api.properties import Property
from rdpprov.api.shadow import ShadowConnection
from rdpprov.api.structures import ProtocolStatus
from rdpprov.errors import E_INVALIDARG, HResultError
from rdpprov.rcm.channels import ServiceChannel, is_channel
from rdpprov.rcm.connection_callback import ConnectionCallback
from rdpprov.rcm.ending import ConnectionDroppedError

log = structlog.get_logger(__name__)

Arguments = TypeVarTuple("Arguments")
Question = TypeVar("Question")
Answer = TypeVar("Answer")

STATIC_NAME_LENGTH = 7
"""CHANNEL_NAME_LEN: characters of a static channel's name."""
DYNAMIC_NAME_LENGTH = 260
"""MAX_PATH: characters of a dynamic channel's name."""
LONGEST = 0xFFFFFFFF
"""Milliseconds since the last input: ULONG."""
PRIORITIES = (0, 2, 4, 6)
"""WTS_CHANNEL_OPTION_DYNAMIC_PRI_*: low, medium, high, real time."""


@overload
async def query(callback: ConnectionCallback, asked: Property[None, Answer]) -> Answer | None: ...


@overload
async def query(
    callback: ConnectionCallback, asked: Property[Question, Answer], question: Question
) -> Answer | None: ...


async def query(
    callback: ConnectionCallback, asked: Property[Question, Answer], question: Question | None = None
) -> Answer | None:
    """QueryProperty: ask a connection's provider for a property.

    Args:
        callback: whose.
        asked: the property.
        question: what goes in, for a property that takes something.

    Returns:
        the answer, or None for the property's default: the provider does not know it, failed, or answered with other
        types than documented (a fault, which is logged).
    """
    connection = callback.connection
    if not asked.meaning_off_windows or not implements(connection, ProtocolConnection.query_property):
        return None
    if connection.known_properties is not None and asked.guid not in connection.known_properties:
        return None
    entries_in = asked.pack_question(question) if asked.question else ()  # type: ignore[arg-type]  # as overloaded
    entries = await _ask(callback, connection.query_property, asked.guid, entries_in)
    if entries is None:
        return None
    try:
        if not isinstance(entries, Sequence):
            raise HResultError(f"answer of {asked.name}: {type(entries).__name__}, a sequence expected", E_INVALIDARG)
        return asked.unpack_answer(entries)
    except HResultError as error:
        log.warning("provider failed", call="QueryProperty", effect="degrade", error=error.reason, **callback.whose)
        return None


async def status(callback: ConnectionCallback) -> ProtocolStatus | None:
    """GetProtocolStatus: counters of a connection; None: the provider does not count."""
    if not implements(callback.connection, ProtocolConnection.get_protocol_status):
        return None
    return await _ask(callback, callback.connection.get_protocol_status)


async def last_input(callback: ConnectionCallback) -> int | None:
    """GetLastInputTime: milliseconds since the client's last input.

    Where the provider does not know, or says nothing that could be, the service has looked at the input itself.

    Returns:
        None: nobody knows, for nobody is logged on yet.
    """
    if implements(callback.connection, ProtocolConnection.get_last_input_time):
        elapsed = await _ask(callback, callback.connection.get_last_input_time)
        if elapsed is not None and 0 <= elapsed <= LONGEST:
            return elapsed
    return int((trio.current_time() - callback.last_input) * 1000) if callback.last_input else None


async def shadow_connection(callback: ConnectionCallback) -> ShadowConnection | None:
    """GetShadowConnection: a provider's own means of shadowing; None: the service shadows by itself."""
    if not implements(callback.connection, ProtocolConnection.get_shadow_connection):
        return None
    answer: object = await _ask(callback, callback.connection.get_shadow_connection)
    if answer is None or isinstance(answer, ShadowConnection):
        return answer
    log.warning(
        "provider failed",
        call="GetShadowConnection",
        effect="degrade",
        error=f"{type(answer).__name__} is no ShadowConnection",
        **callback.whose,
    )
    return None


async def open_channel(
    callback: ConnectionCallback, name: str, static: bool = True, priority: int = 0
) -> ServiceChannel | None:
    """CreateVirtualChannel: a channel to the client, for a service that works beside its desktop.

    Args:
        callback: whose client.
        name: the endpoint's: 1 to 7 ASCII characters of a static channel, 1 to 260 of a dynamic one.
        static: a static channel, or a dynamic one.
        priority: one of `PRIORITIES`.

    Returns:
        the channel, which ends with its connection; None: the provider has none, or none of that name.

    Raises:
        HResultError: E_INVALIDARG: a name or a priority that cannot be.
    """
    longest = STATIC_NAME_LENGTH if static else DYNAMIC_NAME_LENGTH
    if not (0 < len(name) <= longest and name.isascii() and name.isprintable()):
        raise HResultError(f"channel name {name!r}: expected 1 to {longest} printable ASCII characters", E_INVALIDARG)
    if priority not in PRIORITIES:
        raise HResultError(f"channel priority {priority}: expected one of {PRIORITIES}", E_INVALIDARG)
    if not implements(callback.connection, ProtocolConnection.create_virtual_channel):
        return None
    channel = await _ask(callback, callback.connection.create_virtual_channel, name, static, priority)
    if channel is None:
        return None
    if not is_channel(channel):
        log.warning(
            "provider failed",
            call="CreateVirtualChannel",
            effect="degrade",
            error=f"{type(channel).__name__} is no channel",
            **callback.whose,
        )
        return None
    opened = ServiceChannel(channel, name, callback.channels)
    if callback.closing_scope is not None:  # it has begun to end while the provider answered
        opened.connection_ended()
    return opened


def implements(connection: object, method: Callable[..., object]) -> bool:
    """Whether a provider's class has a method of its own, where the interface would answer E_NOTIMPL."""
    return getattr(type(connection), method.__name__) is not method


async def _ask(
    callback: ConnectionCallback, method: Callable[[Unpack[Arguments]], Awaitable[Answer]], *args: *Arguments
) -> Answer | None:
    """Ask, unless the connection is not accepted yet, or ends; when it does so meanwhile, give up."""
    if not callback.accepted or callback.closing_scope is not None:
        return None
    with trio.CancelScope() as scope:
        callback.querying.add(scope)
        try:
            return await callback.ask(method, *args, default=None)
        except ConnectionDroppedError as error:
            callback.end(error.ending)
        finally:
            callback.querying.discard(scope)
    await trio.lowlevel.checkpoint_if_cancelled()  # it was the connection's own task that asked
    return None
