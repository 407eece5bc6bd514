"""What a check asks a connection that is logged on: properties, channels, and the interfaces that not all have."""

from rdpprov.api.connection import ProtocolConnection2
from rdpprov.api.properties import PROPERTIES
from rdpprov.api.structures import PropertyValue, SerializedUserCredential
from rdpprov.api.wddm import WddmIddProps, WddmIddProps1
from rdpprov.errors import E_NOTIMPL, HResultError
from rdpprov.testing.kit_connection import CHANNELS, FIRST_SESSION, QUESTIONS, UNANSWERED, DrivenConnection
from rdpprov.testing.kit_service import UNKNOWN_PROPERTY, shown, told_by
from rdpprov.testing.kit_shadow import shadow

LONG_CHANNELS = (("EIGHTLET", True), ("x" * 261, False))
"""One character more than there may be."""


async def ask_everything(driven: DrivenConnection) -> None:
    """All of it."""
    await _unknown_property(driven)
    await _properties(driven)
    await _channels(driven)
    await _optional_interfaces(driven)
    await shadow(driven)


async def _unknown_property(driven: DrivenConnection) -> None:
    rule = "unknown-property-is-not-implemented"
    findings = driven.run.findings
    try:
        answer = await driven.connection.query_property(UNKNOWN_PROPERTY, ())
    except HResultError as error:
        findings.check(rule, error.hresult == E_NOTIMPL, f"QueryProperty raised {told_by(error)}, expected E_NOTIMPL")
    except Exception as error:
        findings.check(rule, False, f"QueryProperty raised {told_by(error)}")
    else:
        findings.check(rule, False, f"QueryProperty returned {shown(answer)}, expected E_NOTIMPL")


async def _properties(driven: DrivenConnection) -> None:
    rule = "property-answers-have-their-types"
    for guid, asked in PROPERTIES.items():
        question = tuple(PropertyValue(QUESTIONS[kind]) for kind in asked.question)
        query = driven.connection.query_property
        answer = await driven.run.call(query, guid, question, default=None, blame="queries-at-any-step")
        if answer is None:
            continue
        seen = f"{asked.name} was answered {shown(answer)}"
        if driven.run.findings.check(rule, isinstance(answer, list | tuple), seen):
            try:
                asked.unpack_answer(answer)
            except HResultError as error:
                driven.run.findings.check(rule, False, error.reason)
            else:
                driven.run.findings.check(rule, True)


async def _channels(driven: DrivenConnection) -> None:
    rule = "channels-are-streams"
    call, connection, findings = driven.run.call, driven.connection, driven.run.findings
    for name, static in CHANNELS:
        await driven.open_channel(name, static, rule)
    for name, static in LONG_CHANNELS:
        channel = await call(connection.create_virtual_channel, name, static, 0, default=UNANSWERED, blame=rule)
        kind = "static" if static else "dynamic"
        findings.check(
            rule, channel is UNANSWERED, f"CreateVirtualChannel took a {kind} name of {len(name)} characters"
        )


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
            f"GetSerializedUserCredential returned {shown(credential)}",
        )
    if isinstance(connection, WddmIddProps | WddmIddProps1):
        hardware_id = await call(connection.get_hardware_id, default=None, blame=rule)
        is_text = hardware_id is None or isinstance(hardware_id, str)
        findings.check(rule, is_text, f"GetHardwareId returned {shown(hardware_id)}")
        driver: object = "ROOT\\DISPLAY\\0000" if isinstance(connection, WddmIddProps1) else 42
        await call(connection.on_driver_load, FIRST_SESSION, driver, default=None, blame=rule)
        await call(connection.on_driver_unload, FIRST_SESSION, default=None, blame=rule)
    if isinstance(connection, WddmIddProps):
        for is_on in (True, False):
            await call(connection.enable_wddm_idd, is_on, default=None, blame=rule)
