"""What a check asks a connection that is logged on: properties, channels, and the interfaces that not all have."""

from rdpprov.api.connection import ProtocolConnection2
from rdpprov.api.enums import LogonErrorRedirectorResponse
from rdpprov.api.fast_reconnect import EnhancedFastReconnectArbitrator
from rdpprov.api.logon_error_redirector import LogonErrorRedirector
from rdpprov.api.properties import PROPERTIES
from rdpprov.api.structures import PropertyValue, SerializedUserCredential
from rdpprov.api.wddm import WddmIddProps, WddmIddProps1
from rdpprov.errors import E_NOTIMPL, HResultError
from rdpprov.testing.kit_connection import CHANNELS, FIRST_SESSION, QUESTIONS, SECOND_SESSION, DrivenConnection
from rdpprov.testing.kit_service import REDIRECTOR_ANSWERS, UNKNOWN_PROPERTY
from rdpprov.testing.kit_shadow import shadow

LONG_CHANNELS = (("EIGHTLET", True), ("x" * 261, False))
"""One character more than there may be."""


async def ask_everything(driven: DrivenConnection) -> None:
    """All of it."""
    await _unknown_property(driven)
    await _properties(driven)
    await _channels(driven)
    await _redirector(driven)
    await _optional_interfaces(driven)
    await shadow(driven)


async def _unknown_property(driven: DrivenConnection) -> None:
    rule = "unknown-property-is-not-implemented"
    findings = driven.run.findings
    try:
        answer = await driven.connection.query_property(UNKNOWN_PROPERTY, ())
    except HResultError as error:
        findings.check(rule, error.hresult == E_NOTIMPL, f"it raised {error}")
    except Exception as error:
        findings.check(rule, False, f"it raised {type(error).__name__}")
    else:
        findings.check(rule, False, f"it returned {answer!r}")


async def _properties(driven: DrivenConnection) -> None:
    rule = "property-answers-have-their-types"
    for guid, asked in PROPERTIES.items():
        question = tuple(PropertyValue(QUESTIONS[kind]) for kind in asked.question)
        query = driven.connection.query_property
        answer = await driven.run.call(query, guid, question, default=None, blame="queries-at-any-step")
        if answer is None:
            continue
        good = isinstance(answer, list | tuple) and all(isinstance(value, PropertyValue) for value in answer)
        types = tuple(value.type for value in answer) if good else ()
        wanted = ", ".join(kind.name for kind in asked.answer)
        came = ", ".join(kind.name for kind in types) or repr(answer)
        driven.run.findings.check(rule, types == asked.answer, f"{asked.name} was answered {came}, expected {wanted}")


async def _channels(driven: DrivenConnection) -> None:
    rule = "channels-are-streams"
    call, connection, findings = driven.run.call, driven.connection, driven.run.findings
    for name, static in CHANNELS:
        await driven.open_channel(name, static, rule)
    for name, static in LONG_CHANNELS:
        channel = await call(connection.create_virtual_channel, name, static, 0, default=None, blame=rule)
        kind = "static" if static else "dynamic"
        findings.check(rule, channel is None, f"CreateVirtualChannel took a {kind} name of {len(name)} characters")


async def _redirector(driven: DrivenConnection) -> None:
    redirector = driven.redirector
    if not isinstance(redirector, LogonErrorRedirector):
        return
    rule = "redirector-answers"
    await driven.run.call(redirector.on_begin_painting, default=None)
    for method, args in REDIRECTOR_ANSWERS:
        response = await driven.run.call(getattr(redirector, method), *args, blame=rule)
        good = response is not LogonErrorRedirectorResponse.INVALID
        driven.run.findings.check(rule, good, f"{method} returned INVALID")


async def _optional_interfaces(driven: DrivenConnection) -> None:
    """Those that the service finds by `isinstance`, where Windows calls QueryInterface."""
    rule = "optional-interfaces-answer"
    call, findings = driven.run.call, driven.run.findings
    connection: object = driven.connection
    if isinstance(connection, ProtocolConnection2):
        credential = await call(connection.get_serialized_user_credential, default=None, blame=rule)
        findings.check(
            rule,
            credential is None or isinstance(credential, SerializedUserCredential),
            f"GetSerializedUserCredential returned {type(credential).__name__}",
        )
    if isinstance(connection, EnhancedFastReconnectArbitrator):
        offered = [FIRST_SESSION, SECOND_SESSION]
        chosen = await call(connection.get_session_for_enhanced_fast_reconnect, offered, default=None, blame=rule)
        findings.check(
            rule,
            chosen is None or chosen in offered,
            f"GetSessionForEnhancedFastReconnect chose {chosen!r}, which was not offered",
        )
    if isinstance(connection, WddmIddProps | WddmIddProps1):
        hardware_id = await call(connection.get_hardware_id, default=None, blame=rule)
        is_text = hardware_id is None or isinstance(hardware_id, str)
        findings.check(rule, is_text, f"GetHardwareId returned {hardware_id!r}")
