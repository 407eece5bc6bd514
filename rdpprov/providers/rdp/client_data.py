"""What the client said about itself, in the provider API's words."""

import uuid
from collections.abc import Sequence

import attrs

from rdpprov.api.enums import AddressFamily, PerformanceFlags, ProtocolType
from rdpprov.api.properties import CONNECTION_PROPERTY_CURSOR_BLINK_DISABLED, PROPERTY_DYNAMIC_TIME_ZONE_INFORMATION
from rdpprov.api.structures import (
    ClientData,
    ConnectionSettings,
    PropertyValue,
    SockAddr,
    SystemTime,
    TimeZoneInformation,
)
from rdpprov.api.time_zones import DynamicTimeZoneInformation
from rdpprov.errors import NotImplementedByProvider
from rdpprov.wire.rdp.client_info import ClientInfo, InfoFlags
from rdpprov.wire.rdp.client_info import TimeZoneInformation as WireTimeZone
from rdpprov.wire.rdp.gcc import ClientCoreData


def client_data(
    core: ClientCoreData, info: ClientInfo, *, width: int, height: int, color_depth: int, peer: tuple[str, int]
) -> ClientData:
    """WTS_CLIENT_DATA from Client Core Data and Client Info.

    Args:
        core: the client's first block.
        info: its last message before licensing.
        width: of the desktop that it gets, in pixels.
        height: likewise.
        color_depth: bits per pixel that it gets.
        peer: where the connection really comes from; the address in Client Info is the client's own idea of it.
    """
    flags = info.flags
    address, port = peer
    family = AddressFamily.INET6 if ":" in address else AddressFamily.INET
    return ClientData(
        disable_ctrl_alt_del=bool(flags & InfoFlags.INFO_DISABLECTRLALTDEL),
        enable_windows_key=bool(flags & InfoFlags.INFO_ENABLEWINDOWSKEY),
        mouse=bool(flags & InfoFlags.INFO_MOUSE),
        maximize_shell=bool(flags & InfoFlags.INFO_MAXIMIZESHELL),
        # fact 22: clients set the flag without having anything to log on with
        inherit_auto_logon=has_credentials(info),
        using_saved_creds=bool(flags & InfoFlags.INFO_USING_SAVED_CREDS),
        password_is_sc_pin=bool(flags & InfoFlags.INFO_PASSWORD_IS_SC_PIN),
        domain=_cut(info.domain, 255),
        user_name=_cut(info.user_name, 255),
        password=_cut(info.password, 255),
        inherit_initial_program=bool(info.alternate_shell),
        work_directory=_cut(info.working_dir, 256),
        initial_program=_cut(info.alternate_shell, 256),
        inherit_color_depth=True,
        h_res=width,
        v_res=height,
        color_depth=color_depth,
        performance_flags=info.performance_flags or 0,
        keyboard_layout=core.keyboard_layout,
        keyboard_type=core.keyboard_type,
        keyboard_sub_type=core.keyboard_sub_type,
        keyboard_function_key=core.keyboard_function_key,
        ime_file_name=_cut(core.ime_file_name, 32),
        no_audio_playback=bool(flags & InfoFlags.INFO_NOAUDIOPLAYBACK),
        remote_console_audio=bool(flags & InfoFlags.INFO_REMOTECONSOLEAUDIO),
        protocol_name="RDP",
        protocol_type=ProtocolType.RDP.value,  # a number, as a trace of it is read again
        client_name=_cut(core.client_name, 20),
        client_address_family=family.value,
        client_address=_cut(address, 30),
        client_sock_address=SockAddr(family, address, port),
        client_directory=_cut(info.client_dir or "", 256),
        client_build_number=core.client_build,
        client_product_id=core.client_product_id or 0,
        client_dig_product_id=_cut(core.client_dig_product_id or "", 32),
        serial_number=core.serial_number or 0,
        client_session_id=info.client_session_id or 0,
        client_time_zone=_time_zone(info.client_time_zone),
    )


def connection_settings(data: ClientData) -> ConnectionSettings:
    """WRDS_CONNECTION_SETTINGS for OnConnected: the client's data, and nothing asked for beyond it."""
    return ConnectionSettings(**{name: getattr(data, name) for name in _CLIENT_DATA_FIELDS})


def has_credentials(info: ClientInfo) -> bool:
    """Whether the client wants to be logged on with what it sent (INF-05)."""
    return bool(info.flags & InfoFlags.INFO_AUTOLOGON and info.user_name and info.password)


_CLIENT_DATA_FIELDS = tuple(attribute.name for attribute in ClientData.__attrs_attrs__)


def _cut(text: str, units: int) -> str:
    """The first ``units`` UTF-16 units: the API's arrays are shorter than some of the wire's fields."""
    if len(text) * 2 <= units:
        return text
    return text.encode("utf-16-le", "surrogatepass")[: 2 * units].decode("utf-16-le", "ignore")


def _time_zone(zone: WireTimeZone | None) -> TimeZoneInformation:
    if zone is None:
        return TimeZoneInformation()
    return TimeZoneInformation(
        bias=zone.bias,
        standard_name=_cut(zone.standard_name, 31),
        standard_date=_system_time(zone.standard_date),
        standard_bias=zone.standard_bias,
        daylight_name=_cut(zone.daylight_name, 31),
        daylight_date=_system_time(zone.daylight_date),
        daylight_bias=zone.daylight_bias,
    )


def known_properties(info: ClientInfo) -> Sequence[uuid.UUID]:
    """The properties of which this client has said something; the others are not worth a question."""
    known = []
    if info.client_time_zone is not None and info.dynamic_dst_time_zone_key_name:
        known.append(PROPERTY_DYNAMIC_TIME_ZONE_INFORMATION.guid)
    if (info.performance_flags or 0) & PerformanceFlags.DISABLE_CURSORSETTINGS:
        known.append(CONNECTION_PROPERTY_CURSOR_BLINK_DISABLED.guid)
    return known


def property_of(info: ClientInfo, query_type: uuid.UUID) -> Sequence[PropertyValue]:
    """What the client has said of a property.

    Raises:
        NotImplementedByProvider: nothing.
    """
    if query_type not in known_properties(info):
        raise NotImplementedByProvider(f"QueryProperty {query_type}")
    if query_type == CONNECTION_PROPERTY_CURSOR_BLINK_DISABLED.guid:
        return CONNECTION_PROPERTY_CURSOR_BLINK_DISABLED.pack_answer(True)
    zone = DynamicTimeZoneInformation(
        **attrs.asdict(_time_zone(info.client_time_zone), recurse=False),
        time_zone_key_name=_cut(info.dynamic_dst_time_zone_key_name or "", 127),
        dynamic_daylight_time_disabled=info.dynamic_daylight_time_disabled or 0,
    )
    return PROPERTY_DYNAMIC_TIME_ZONE_INFORMATION.pack_answer(zone)


def _system_time(date: object) -> SystemTime:
    return SystemTime(*(getattr(date, attribute.name) for attribute in SystemTime.__attrs_attrs__))
