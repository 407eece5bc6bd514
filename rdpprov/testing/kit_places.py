"""What a check asks at certain places of the connection sequence: there the service asks it, too."""

import uuid

from rdpprov.api.connection import ProtocolConnection
from rdpprov.api.connection_settings import ProtocolConnectionSettings
from rdpprov.api.enums import FastReconnectMode, LogonErrorRedirectorResponse
from rdpprov.api.fast_reconnect import EnhancedFastReconnectArbitrator
from rdpprov.api.graphics_channels import GraphicsChannelManager, RemoteFXGraphicsConnection
from rdpprov.api.identity import NtStatus
from rdpprov.api.logon_error_redirector import LogonErrorRedirector
from rdpprov.api.properties import PROPERTIES, PROPERTY_TYPE_GET_FAST_RECONNECT
from rdpprov.api.structures import PropertyValue
from rdpprov.errors import E_NOTIMPL, HResultError
from rdpprov.rcm.queries import implements
from rdpprov.testing.kit_connection import FIRST_SESSION, QUESTIONS, SECOND_SESSION, DrivenConnection
from rdpprov.testing.kit_service import UNKNOWN_PROPERTY, shown, told_by

ERROR_BOX, OTHER_BOX = 0x10, 0x00210034
"""uType of MessageBox: MB_ICONERROR; a question on top of all, which no provider expects."""

STATUSES = (
    *((int(status), 0) for status in NtStatus if status is not NtStatus.STATUS_SUCCESS),
    *(
        (int(NtStatus.STATUS_ACCOUNT_RESTRICTION), int(substatus))
        for substatus in (
            NtStatus.STATUS_INVALID_LOGON_HOURS,
            NtStatus.STATUS_INVALID_WORKSTATION,
            NtStatus.STATUS_PASSWORD_EXPIRED,
            NtStatus.STATUS_ACCOUNT_DISABLED,
        )
    ),
    (0xC0DEDBAD, 0xFFFFFFFF),
)
"""ntsStatus and ntsSubstatus: all that the page lists, those that the service tells beside them, and nobody's."""

OFFERS = ((FIRST_SESSION,), (FIRST_SESSION, SECOND_SESSION), (SECOND_SESSION,))
"""What an arbitrator may choose from."""

REDIRECTOR = "redirector-answers"
STATUS = "redirector-takes-any-status"
SETTINGS = "connection-settings-answer"


async def ask_in_place(driven: DrivenConnection, step: str) -> None:
    """All that belongs after a step."""
    match step:
        case "OnReady":
            await _remote_fx(driven)
        case "AcceptConnection":
            await _connection_settings(driven)
        case "AuthenticateClientToSession":  # of a user whom the wire has proved
            await _fast_reconnect(driven)
        case "NotifyCommandProcessCreated":  # the logon desktop is at work
            await _logon_desktop(driven)
        case "IsUserAllowedToLogon":
            await _logon_error(driven, *STATUSES[0])  # it might have said no
            await _fast_reconnect(driven)
        case "SessionArbitrationEnumeration":
            await driven.arbitrate(single_session=False)
        case "LogonNotify":
            await _announced(driven)
            await _connection_settings(driven)


async def _logon_desktop(driven: DrivenConnection) -> None:
    """A logon that fails in every way, and the redirector that is told."""
    redirector = driven.redirector
    if not isinstance(redirector, LogonErrorRedirector):
        return
    call = driven.run.call
    await call(redirector.on_begin_painting, default=None)
    response = await call(redirector.redirect_status, "One moment …", blame=REDIRECTOR)
    _look_at_response(driven, "RedirectStatus", response)
    for box in (ERROR_BOX, OTHER_BOX):
        response = await call(redirector.redirect_message, "Log on", "The password has expired.", box, blame=REDIRECTOR)
        _look_at_response(driven, "RedirectMessage", response)
    for status, substatus in STATUSES:
        await _logon_error(driven, status, substatus)


async def _logon_error(driven: DrivenConnection, status: int, substatus: int) -> None:
    redirector = driven.redirector
    if not isinstance(redirector, LogonErrorRedirector):
        return
    told = (status, substatus, "Log on", "The logon failed.", ERROR_BOX)
    response = await driven.run.call(redirector.redirect_logon_error, *told, blame=STATUS, late=STATUS)
    _look_at_response(driven, "RedirectLogonError", response)
    if response is LogonErrorRedirectorResponse.HANDLED_DONT_SHOW_START_OVER:
        await driven.run.call(driven.connection.get_user_credentials, default=None)  # the service would, too


def _look_at_response(driven: DrivenConnection, call: str, response: object) -> None:
    good = response is not LogonErrorRedirectorResponse.INVALID
    driven.run.findings.check(REDIRECTOR, good, f"{call} returned INVALID")


async def _fast_reconnect(driven: DrivenConnection) -> None:
    """GetSessionForEnhancedFastReconnect."""
    rule = "fast-reconnect-choice-is-offered"
    arbitrator: object = driven.connection
    if not isinstance(arbitrator, EnhancedFastReconnectArbitrator):
        return
    choose = arbitrator.get_session_for_enhanced_fast_reconnect
    for offered in OFFERS:
        chosen = await driven.run.call(choose, list(offered), default=None, blame=rule, late=rule)
        good = chosen is None or (not isinstance(chosen, bool) and chosen in offered)
        seen = f"GetSessionForEnhancedFastReconnect chose {shown(chosen)} of {list(offered)}"
        driven.run.findings.check(rule, good, seen)


async def _announced(driven: DrivenConnection) -> None:
    """What PROPERTY_TYPE_GET_FAST_RECONNECT says, and whether it is there."""
    rule = "fast-reconnect-is-more-than-announced"
    asked = PROPERTY_TYPE_GET_FAST_RECONNECT
    answer = await driven.run.call(driven.connection.query_property, asked.guid, (), default=None)
    try:
        mode = asked.unpack_answer(answer) if answer is not None else None
    except (HResultError, TypeError):
        return  # another rule tells
    if mode is None:
        return
    connection: object = driven.connection
    missing = ""
    if mode is FastReconnectMode.BASIC and not implements(
        connection, ProtocolConnection.authenticate_client_to_session
    ):
        missing = "authenticate_client_to_session"
    if mode is FastReconnectMode.ENHANCED and not (
        isinstance(connection, EnhancedFastReconnectArbitrator)
        and implements(connection, EnhancedFastReconnectArbitrator.get_session_for_enhanced_fast_reconnect)
    ):
        missing = "get_session_for_enhanced_fast_reconnect"
    seen = f"the answer is {mode.name}, and {type(connection).__name__} has no {missing} of its own"
    driven.run.findings.check(rule, not missing, seen)


async def _connection_settings(driven: DrivenConnection) -> None:
    """GetConnectionSetting and SetConnectionSetting, of every property that there is, and one that there is not."""
    connection: object = driven.connection
    if not isinstance(connection, ProtocolConnectionSettings):
        return
    for guid, asked in PROPERTIES.items():
        if len(asked.answer) == 1:  # a setting is a single value
            await _set_and_get(driven, connection, guid, PropertyValue(QUESTIONS[asked.answer[0]]))
            for kind, value in QUESTIONS.items():
                if kind is not asked.answer[0]:
                    await _refuses(driven, connection, guid, PropertyValue(value), asked.name)
    try:
        answer = await connection.get_connection_setting(UNKNOWN_PROPERTY)
    except HResultError as error:
        seen = f"GetConnectionSetting of a GUID that nobody has raised {told_by(error)}, expected E_NOTIMPL"
        driven.run.findings.check(SETTINGS, error.hresult == E_NOTIMPL, seen)
    except Exception as error:
        seen = f"GetConnectionSetting of a GUID that nobody has raised {told_by(error)}"
        driven.run.findings.check(SETTINGS, False, seen)
    else:
        seen = f"GetConnectionSetting of a GUID that nobody has returned {shown(answer)}"
        driven.run.findings.check(SETTINGS, False, seen)
    await _refuses(driven, connection, UNKNOWN_PROPERTY, PropertyValue(0), "a GUID that nobody has")


async def _set_and_get(
    driven: DrivenConnection, connection: ProtocolConnectionSettings, guid: uuid.UUID, value: PropertyValue
) -> None:
    call = driven.run.call
    await call(connection.set_connection_setting, guid, value, default=None, blame=SETTINGS, late=SETTINGS)
    answer = await call(connection.get_connection_setting, guid, default=None, blame=SETTINGS, late=SETTINGS)
    good = answer is None or isinstance(answer, PropertyValue)
    seen = f"GetConnectionSetting of {PROPERTIES[guid].name} returned {shown(answer)}, expected a PropertyValue"
    driven.run.findings.check(SETTINGS, good, seen)


async def _refuses(
    driven: DrivenConnection,
    connection: ProtocolConnectionSettings,
    guid: uuid.UUID,
    value: PropertyValue,
    name: str,
) -> None:
    """An HRESULT for what cannot be set."""
    refused = object()
    method = connection.set_connection_setting
    answer = await driven.run.call(method, guid, value, default=refused, blame=SETTINGS, late=SETTINGS)
    seen = f"SetConnectionSetting took {shown(value)} for {name}"
    driven.run.findings.check(SETTINGS, answer is refused, seen)


async def _remote_fx(driven: DrivenConnection) -> None:
    """The deprecated path of RemoteFX: two questions before AcceptConnection."""
    rule = "optional-interfaces-answer"
    connection: object = driven.connection
    if not isinstance(connection, RemoteFXGraphicsConnection):
        return
    call, findings = driven.run.call, driven.run.findings
    enabled = await call(connection.enable_remotefx_graphics, default=False, blame=rule)
    findings.check(rule, isinstance(enabled, bool), f"EnableRemoteFXGraphics returned {shown(enabled)}")
    transport = await call(connection.get_virtual_channel_transport, default=None, blame=rule)
    if transport is not None:
        good = isinstance(transport, GraphicsChannelManager)
        findings.check(rule, good, f"GetVirtualChannelTransport returned {shown(transport)}")
