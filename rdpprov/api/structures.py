"""Structures of the provider API: frozen, validated, with the standard's words in Python's case.

Lengths are the standard's arrays without their terminator; text is counted in UTF-16 units, as there. A field that is
secret says so in its metadata: traces write ``"<redacted>"`` for it, and it is not in the repr.
"""

import uuid
from typing import Any, TypeAlias

import attrs
from attrs.validators import instance_of

from rdpprov.api import constants
from rdpprov.api.enums import (
    AddressFamily,
    CertType,
    KeyExchangeAlg,
    RcmDrainState,
    RcmServiceState,
    SettingStatus,
    SettingType,
    ValueType,
)
from rdpprov.api.identity import AuthenticatedUser

NULL_GUID = uuid.UUID(int=0)
UNLIMITED = 0xFFFFFFFF
"""ULONG_MAX: as many as there may be."""
_ULONG = 0xFFFFFFFF


def unsigned(bits: int, default: int = 0) -> Any:
    """A field for an unsigned integer of ``bits`` bits."""
    bounds = 0, (1 << bits) - 1
    return attrs.field(default=default, validator=_range(*bounds), metadata={"range": bounds})


def signed(bits: int, default: int = 0) -> Any:
    """A field for a signed integer of ``bits`` bits."""
    bounds = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return attrs.field(default=default, validator=_range(*bounds), metadata={"range": bounds})


def text(length: int, *, secret: bool = False) -> Any:
    """A field for text of at most ``length`` UTF-16 units; empty by default."""

    def fits(_instance: object, attribute: "attrs.Attribute[str]", value: object) -> None:
        if not isinstance(value, str):
            raise TypeError(f"{attribute.name} is {type(value).__name__}, expected str")
        # Every character is one UTF-16 unit or two, so short text needs no encoding to be counted.
        if len(value) * 2 > length and len(value.encode("utf-16-le", "surrogatepass")) > 2 * length:
            raise ValueError(f"{attribute.name} is longer than {length} UTF-16 units")

    return attrs.field(default="", validator=fits, repr=not secret, metadata=_limited(length, secret))


def opaque(length: int, *, secret: bool = False) -> Any:
    """A field for at most ``length`` bytes; empty by default."""

    def fits(_instance: object, attribute: "attrs.Attribute[bytes]", value: bytes) -> None:
        if len(value) > length:
            raise ValueError(f"{attribute.name} is longer than {length} bytes")

    return attrs.field(default=b"", validator=fits, repr=not secret, metadata=_limited(length, secret))


def at_most(count: int, item: Any = None) -> Any:
    """A field for a tuple of at most ``count`` items, each of which ``item`` accepts; empty by default."""

    def fits(instance: object, attribute: "attrs.Attribute[tuple[Any, ...]]", value: tuple[Any, ...]) -> None:
        if len(value) > count:
            raise ValueError(f"{attribute.name} has {len(value)} items, not at most {count}")
        if item is not None:
            for one in value:
                item(instance, attribute, one)

    return attrs.field(default=(), validator=fits, metadata={"length": count, "item": item})


def _limited(length: int, secret: bool) -> dict[str, object]:
    """What a field says of itself to those that make values for it, or write them down."""
    return {"length": length, "secret": True} if secret else {"length": length}


def _range(low: int, high: int) -> Any:
    def inside(_instance: object, attribute: "attrs.Attribute[int]", value: int) -> None:
        if not low <= value <= high:
            raise ValueError(f"{attribute.name} is {value}, not in {low}..{high}")

    return inside


@attrs.frozen
class SystemTime:
    """WTS_SYSTEMTIME: a moment, or with ``year`` 0 a day that recurs: the ``day``-th ``day_of_week`` of the month."""

    year: int = unsigned(16)
    month: int = unsigned(16)
    """1 to 12; 0: no such moment."""
    day_of_week: int = unsigned(16)
    """0 is Sunday."""
    day: int = unsigned(16)
    hour: int = unsigned(16)
    minute: int = unsigned(16)
    second: int = unsigned(16)
    milliseconds: int = unsigned(16)


@attrs.frozen
class TimeZoneInformation:
    """WTS_TIME_ZONE_INFORMATION: the client's time zone. Biases are minutes: UTC less local time."""

    bias: int = signed(32)
    standard_name: str = text(31)
    standard_date: SystemTime = SystemTime()
    standard_bias: int = signed(32)
    daylight_name: str = text(31)
    daylight_date: SystemTime = SystemTime()
    daylight_bias: int = signed(32)
    """Added to `bias` in summer: -60 by Win32's convention, though the page says 60."""


@attrs.frozen
class SockAddr:
    """WTS_SOCKADDR: an address and a port, as the platform writes them."""

    family: AddressFamily = AddressFamily.UNSPEC
    address: str = ""
    port: int = unsigned(16)
    flow_info: int = unsigned(32)
    """Of INET6 only, as `scope_id` is."""
    scope_id: int = unsigned(32)


@attrs.frozen
class SmallRect:
    """WTS_SMALL_RECT: a part of the screen; right and bottom are taken as exclusive, for the page does not say."""

    left: int = signed(16)
    top: int = signed(16)
    right: int = signed(16)
    bottom: int = signed(16)


@attrs.frozen
class ListenerSettings:
    """WRDS_LISTENER_SETTINGS: a listener's settings, level 1. The union's selector is the class."""

    max_protocol_listener_connection_count: int = unsigned(32, UNLIMITED)
    """Connections allowed; `UNLIMITED`: as many as there may be."""
    security_descriptor: bytes = opaque(16384)
    """Opaque; its length is the standard's SecurityDescriptorSize."""


@attrs.frozen
class SessionId:
    """WTS_SESSION_ID: the GUID of the client's connection and the number of the session."""

    session_unique_guid: uuid.UUID
    session_id: int = unsigned(32)


@attrs.frozen
class UserCredential:
    """WTS_USER_CREDENTIAL: name and password in clear text, at most 255 characters each."""

    user_name: str = text(constants.WTS_USERNAME_LENGTH)
    password: str = text(constants.WTS_PASSWORD_LENGTH, secret=True)
    domain: str = text(constants.WTS_DOMAIN_LENGTH)
    proof: AuthenticatedUser | None = None
    """Our extension: the verdict of `ProtocolSettings.authenticator`, if the wire itself carried a logon (NLA)."""


@attrs.frozen
class SerializedUserCredential:
    """WTS_SERIALIZED_USER_CREDENTIAL: a credential as the platform's logon packs it; its page is empty.

    The service hands it on unread to what logs users on. Its length is the standard's SerializationLength.
    """

    serialization: bytes = opaque(65536, secret=True)
    """At most 64 KiB, a limit of ours."""


@attrs.frozen
class ServiceState:
    """WTS_SERVICE_STATE: what changes about the service; either part may be NONE, no change."""

    rcm_service_state: RcmServiceState = RcmServiceState.NONE
    rcm_drain_state: RcmDrainState = RcmDrainState.NONE


@attrs.frozen(kw_only=True)
class ClientData:
    """WTS_CLIENT_DATA: what the client asks for and says about itself. Every field has a default.

    Source: [MS] wtsdefs.h "WTS_CLIENT_DATA". Text limits are the standard's arrays less the terminator.
    """

    # Keyboard, mouse and shell
    disable_ctrl_alt_del: bool = False
    """The secure key sequence is off."""
    double_click_detect: bool = False
    """The client detects double clicks itself."""
    enable_windows_key: bool = False
    """The Windows key goes to the session."""
    mouse: bool = False
    """The client has a mouse."""
    hide_title_bar: bool = False
    """Hide the title bar."""
    maximize_shell: bool = False
    """Start the initial program maximised; counts only with `inherit_initial_program`."""

    # Logon
    inherit_auto_logon: bool = False
    """Log on with the credentials below, whatever the listener's default says."""
    prompt_for_password: bool = False
    """Ask for the password even so."""
    using_saved_creds: bool = False
    """The client had them saved."""
    password_is_sc_pin: bool = False
    """`password` is the PIN of a smart card."""
    domain: str = text(constants.WTS_DOMAIN_LENGTH)
    """At most 255 characters, as the two below."""
    user_name: str = text(constants.WTS_USERNAME_LENGTH)
    """Who wants to log on."""
    password: str = text(constants.WTS_PASSWORD_LENGTH, secret=True)
    """In clear text; never shown."""

    # Start program
    inherit_initial_program: bool = False
    """Take the program from here, whatever the listener's default says."""
    work_directory: str = text(constants.WTS_DIRECTORY_LENGTH)
    """Its directory."""
    initial_program: str = text(constants.WTS_INITIALPROGRAM_LENGTH)
    """The program."""

    # Display
    inherit_color_depth: bool = False
    """Take the client's colour depth, whatever the listener's default says."""
    h_res: int = unsigned(16)
    """Width of the client's screen in pixels."""
    v_res: int = unsigned(16)
    """Height of the client's screen in pixels."""
    color_depth: int = unsigned(16)
    """Bits per pixel: 8, 15, 16, 24 or 32."""
    display_driver_name: str = text(constants.WTS_DRIVER_NAME_LENGTH)
    """Driver to load, at most 8 characters."""
    display_device_name: str = text(constants.WTS_DEVICE_NAME_LENGTH)
    """Base name of the device, without its number."""
    performance_flags: int = unsigned(32)
    """WTS_PERF_*: `PerformanceFlags`."""

    # Keyboard and language
    keyboard_layout: int = unsigned(32)
    """Windows' layout id (0x409 is US English)."""
    keyboard_type: int = unsigned(32)
    """4 is the usual 101- or 102-key keyboard."""
    keyboard_sub_type: int = unsigned(32)
    """The maker's number."""
    keyboard_function_key: int = unsigned(32)
    """How many function keys."""
    ime_file_name: str = text(constants.WTS_IMEFILENAME_LENGTH)
    """Input method editor."""
    active_input_locale: int = unsigned(32)
    """Low word: language; high word: device handle of the layout."""

    # Sound
    no_audio_playback: bool = False
    """Play no sound."""
    remote_console_audio: bool = False
    """Play sound at the server."""
    audio_driver_name: str = text(constants.WTS_DRIVER_NAME_LENGTH)
    """Driver to load."""

    # Who and where the client is
    protocol_name: str = text(constants.WTS_PROTOCOL_NAME_LENGTH)
    """At most 8 characters, such as ``RDP``."""
    protocol_type: int = unsigned(16)
    """WTS_PROTOCOL_TYPE_*: `ProtocolType`."""
    client_name: str = text(constants.WTS_CLIENTNAME_LENGTH)
    """The client's computer; only 20 characters fit."""
    client_address: str = text(constants.WTS_CLIENTADDRESS_LENGTH)
    """Its address as text; longer ones are cut by who fills them in."""
    client_address_family: int = unsigned(32)
    """AF_*: `AddressFamily`."""
    client_sock_address: SockAddr = attrs.field(default=SockAddr(), validator=instance_of(SockAddr))
    """Its address and port."""
    client_directory: str = text(constants.WTS_DIRECTORY_LENGTH)
    """Where its program lies."""
    client_build_number: int = unsigned(32)
    """Its build."""
    client_product_id: int = unsigned(16)
    """Its product."""
    client_dig_product_id: str = text(constants.WTS_CLIENT_PRODUCT_ID_LENGTH)
    """... as text."""
    serial_number: int = unsigned(32)
    """Its machine's serial number."""
    client_session_id: int = unsigned(32)
    """The session that it runs in."""
    client_time_zone: TimeZoneInformation = TimeZoneInformation()
    """Its time zone."""

    # Wire
    encryption_level: int = unsigned(8)
    """The protocol's own scale."""
    out_buf_count_host: int = unsigned(16)
    """Output buffers of the server."""
    out_buf_count_client: int = unsigned(16)
    """Output buffers of the client."""
    out_buf_length: int = unsigned(16)
    """Bytes of an output buffer."""

    # What may not be redirected: True disables. Writing one overrides policy on Windows; here it may only tighten it
    disable_cpm: bool = False
    """Printers."""
    disable_cdm: bool = False
    """Drives."""
    disable_ccm: bool = False
    """Serial ports."""
    disable_lpt: bool = False
    """Parallel ports."""
    disable_clip: bool = False
    """The clipboard."""
    disable_pnp: bool = False
    """Plug-and-play devices."""


@attrs.frozen(kw_only=True)
class ConnectionSettings(ClientData):
    """WRDS_CONNECTION_SETTINGS: a connection's settings, level 1: all of the client's data, and the service's part.

    Source: wtsdefs.h "WRDS_CONNECTION_SETTINGS_1". The union's selector is the class.
    """

    reset_broken: bool = False
    """When a limit passes or the connection breaks: True ends the session, False only disconnects it."""
    disable_encryption: bool = False
    """No encryption."""
    disable_auto_reconnect: bool = False
    """No automatic reconnection."""
    max_connection_time: int = unsigned(32)
    """Minutes that a session may be active; 0 is no limit."""
    max_disconnection_time: int = unsigned(32)
    """Minutes that a session is kept without a client; 0 is no limit."""
    max_idle_time: int = unsigned(32)
    """Minutes without input; 0 is no limit."""
    listener_settings: ListenerSettings = ListenerSettings()
    """The listener's."""
    event_log_activity_id: uuid.UUID = NULL_GUID
    """Ties log entries together."""
    context_data: bytes = opaque(16384)
    """Opaque, 0 to 16384 bytes; its length is the standard's ContextSize."""


@attrs.frozen
class Setting:
    """One policy: a WRDS_SETTING_STATUS and its value. The value counts only while the status is ENABLED."""

    status: SettingStatus = SettingStatus.NOTCONFIGURED
    value: int = unsigned(32)

    @property
    def counts(self) -> bool:
        """Whether the value is to be used."""
        return self.status is SettingStatus.ENABLED


@attrs.frozen(kw_only=True)
class Settings:
    """WRDS_SETTINGS: policies of one kind, level 1 (WRDS_SETTINGS_1). The union's selector is the class.

    A flag that is named *disable* disables with 1, as the name says and the page does not.
    """

    setting_type: SettingType = SettingType.INVALID
    disable_clip: Setting = Setting()
    disable_lpt: Setting = Setting()
    disable_ccm: Setting = Setting()
    """Serial ports."""
    disable_cdm: Setting = Setting()
    """Drives."""
    disable_cpm: Setting = Setting()
    """Printers."""
    disable_pnp: Setting = Setting()
    encryption_level: Setting = Setting()
    color_depth: Setting = Setting()
    """Bits per pixel."""
    disable_auto_reconnect: Setting = Setting()
    """WRdsDisableAutoReconnecet: the standard's spelling."""
    disable_encryption: Setting = Setting()
    reset_broken: Setting = Setting()
    """1: a session whose limit passes ends; else it is only disconnected."""
    max_idle_time: Setting = Setting()
    """Minutes."""
    max_disconnect_time: Setting = Setting()
    """Minutes."""
    max_connect_time: Setting = Setting()
    """Minutes."""
    keep_alive: Setting = Setting()
    """The value is the interval in minutes, WRdsKeepAliveIntervalValue."""
    keep_alive_start: bool = False


@attrs.frozen
class LicenseCapabilities:
    """WTS_LICENSE_CAPABILITIES: what the client can do in the licensing exchange."""

    key_exchange_alg: KeyExchangeAlg = KeyExchangeAlg.RSA
    protocol_ver: int = unsigned(32, constants.WTS_LICENSE_PROTOCOL_VERSION)
    """WTS_LICENSE_PROTOCOL_VERSION."""
    authenticate_server: bool = False
    """The client will authenticate the server."""
    cert_type: CertType = CertType.X509
    client_name: str = text(41)
    """rgbClientName: at most 42 bytes with the terminator."""


PropertyData: TypeAlias = int | str | bytes | uuid.UUID


def _fits_property(instance: object, attribute: "attrs.Attribute[PropertyData]", value: object) -> None:
    if isinstance(value, int):
        _range(0, _ULONG)(instance, attribute, value)
    elif not isinstance(value, str | bytes | uuid.UUID):
        raise ValueError(f"{attribute.name} is a {type(value).__name__}, not a number, text, bytes or a GUID")


@attrs.frozen
class PropertyValue:
    """WTS_PROPERTY_VALUE: one typed value of `ProtocolConnection.query_property`. The type follows from the value."""

    value: PropertyData = attrs.field(validator=_fits_property)
    """A number has 32 bits, unsigned."""

    @property
    def type(self) -> ValueType:
        """The union's selector."""
        match self.value:
            case int():
                return ValueType.ULONG
            case str():
                return ValueType.STRING
            case bytes():
                return ValueType.BINARY
            case _:
                return ValueType.GUID


@attrs.frozen(kw_only=True)
class ProtocolCounters:
    """WTS_PROTOCOL_COUNTERS: one direction's counters since the connection began; they wrap at 32 bits."""

    wd_bytes: int = unsigned(32)
    """Bytes of the protocol."""
    wd_frames: int = unsigned(32)
    """Frames of the protocol."""
    wait_for_out_buf: int = unsigned(32)
    frames: int = unsigned(32)
    """Frames of the transport."""
    bytes: int = unsigned(32)
    """Bytes of the transport."""
    compressed_bytes: int = unsigned(32)
    compress_flushes: int = unsigned(32)
    errors: int = unsigned(32)
    timeouts: int = unsigned(32)
    async_framing_error: int = unsigned(32)
    async_overrun_error: int = unsigned(32)
    async_overflow_error: int = unsigned(32)
    async_parity_error: int = unsigned(32)
    td_errors: int = unsigned(32)
    protocol_type: int = unsigned(16)
    specific: int = unsigned(16)
    reserved: tuple[int, ...] = at_most(constants.WTS_MAX_RESERVED, _range(0, _ULONG))
    """At most 100 unsigned numbers of 32 bits; their count is the standard's Length."""


@attrs.frozen
class ProtocolCache:
    """WTS_PROTOCOL_CACHE: one cache."""

    cache_reads: int = unsigned(32)
    cache_hits: int = unsigned(32)


@attrs.frozen
class CacheStats:
    """WTS_CACHE_STATS: up to four caches, or one of the other members of the union.

    The service looks at `protocol_cache`; what the others hold is the protocol's own affair.
    """

    protocol_cache: tuple[ProtocolCache, ...] = at_most(constants.WTS_MAX_PROTOCOL_CACHE)
    tshare_cache_stats: int | None = attrs.field(default=None, validator=attrs.validators.optional(_range(0, _ULONG)))
    reserved: tuple[int, ...] = at_most(constants.WTS_MAX_CACHE_RESERVED, _range(0, _ULONG))
    """At most 20 unsigned numbers of 32 bits; their count is the standard's Length."""
    protocol_type: int = unsigned(16)
    """Not used by the service."""

    def __attrs_post_init__(self) -> None:
        if (self.tshare_cache_stats is not None) + bool(self.protocol_cache) + bool(self.reserved) > 1:
            raise ValueError("cache statistics have one of protocol_cache, tshare_cache_stats and reserved")

    @property
    def specific(self) -> int:
        """The union's selector: 1 protocol cache, 2 TShare, 3 reserved."""
        if self.tshare_cache_stats is not None:
            return 2
        return 3 if self.reserved else 1


@attrs.frozen
class ProtocolStatus:
    """WTS_PROTOCOL_STATUS: counters of both directions, and cache statistics."""

    output: ProtocolCounters = attrs.field(default=ProtocolCounters(), validator=instance_of(ProtocolCounters))
    input: ProtocolCounters = attrs.field(default=ProtocolCounters(), validator=instance_of(ProtocolCounters))
    cache: CacheStats = attrs.field(default=CacheStats(), validator=instance_of(CacheStats))
    async_signal: int = unsigned(32)
    async_signal_mask: int = unsigned(32)
    counters: tuple[int, ...] = at_most(constants.WTS_MAX_COUNTERS, _range(-(1 << 63), (1 << 63) - 1))
    """At most 100 signed numbers of 64 bits."""
