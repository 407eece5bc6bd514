"""Enumerations of the provider API. Source: `wtsdefs.h` and `wtsprotocol.h`; numbers from the Win32 metadata."""

from enum import IntEnum


class SettingType(IntEnum):
    """WRDS_SETTING_TYPE: whose policy a `Settings` is."""

    INVALID = 0
    MACHINE = 1
    """Group policy of the computer."""
    USER = 2
    """Group policy of the user."""
    SAM = 3
    """The user's account."""


class SettingStatus(IntEnum):
    """WRDS_SETTING_STATUS: whether a policy value counts. Only ENABLED lets it count; it is not a boolean."""

    NOTAPPLICABLE = -1
    DISABLED = 0
    ENABLED = 1
    NOTCONFIGURED = 2


class SettingLevel(IntEnum):
    """WRDS_SETTING_LEVEL: which structure carries a policy. In Python the class says it."""

    INVALID = 0
    LEVEL_1 = 1


class ConnectionSettingLevel(IntEnum):
    """WRDS_CONNECTION_SETTING_LEVEL: which structure carries a connection's settings."""

    INVALID = 0
    LEVEL_1 = 1


class ListenerSettingLevel(IntEnum):
    """WRDS_LISTENER_SETTING_LEVEL: which structure carries a listener's settings."""

    INVALID = 0
    LEVEL_1 = 1


class RcmServiceState(IntEnum):
    """WTS_RCM_SERVICE_STATE: what the service is about to do. NONE: no change."""

    NONE = 0
    START = 1
    STOP = 2


class RcmDrainState(IntEnum):
    """WTS_RCM_DRAIN_STATE: draining refuses new sessions and still lets users back into theirs. NONE: no change."""

    NONE = 0
    IN_DRAIN = 1
    NOT_IN_DRAIN = 2


class LogonErrorRedirectorResponse(IntEnum):
    """WTS_LOGON_ERROR_REDIRECTOR_RESPONSE: what a redirector did with a logon error.

    HANDLED_DONT_SHOW: ask for credentials again, show nothing. HANDLED_DONT_SHOW_START_OVER: not even that.
    """

    INVALID = 0
    NOT_HANDLED = 1
    HANDLED_SHOW = 2
    HANDLED_DONT_SHOW = 3
    HANDLED_DONT_SHOW_START_OVER = 4


class CertType(IntEnum):
    """WTS_CERT_TYPE: the certificate that licensing uses. The spelling of PROPRIETORY is the standard's."""

    INVALID = 0
    PROPRIETORY = 1
    X509 = 2


class KeyExchangeAlg(IntEnum):
    """WTS_KEY_EXCHANGE_ALG_*: how licensing exchanges keys."""

    RSA = 1
    DH = 2


class ConnectState(IntEnum):
    """WTS_CONNECTSTATE_CLASS: what a session, or its connection, is doing."""

    ACTIVE = 0
    """A user is logged on and connected."""
    CONNECTED = 1
    """A client is connected, nobody is logged on yet."""
    CONNECT_QUERY = 2
    SHADOW = 3
    DISCONNECTED = 4
    """A user is logged on, no client is connected."""
    IDLE = 5
    LISTEN = 6
    RESET = 7
    DOWN = 8
    INIT = 9


class SessionChange(IntEnum):
    """WTS_*: the event of `ProtocolManager.notify_session_state_change`. A provider accepts any number."""

    CONSOLE_CONNECT = 1
    CONSOLE_DISCONNECT = 2
    REMOTE_CONNECT = 3
    REMOTE_DISCONNECT = 4
    SESSION_LOGON = 5
    SESSION_LOGOFF = 6
    SESSION_LOCK = 7
    SESSION_UNLOCK = 8
    SESSION_REMOTE_CONTROL = 9
    SESSION_CREATE = 0xA
    SESSION_TERMINATE = 0xB
    SESSION_DESKTOP_READY = 0xF


class ProtocolType(IntEnum):
    """WTS_PROTOCOL_TYPE_*. Custom protocols have no number on Windows; ours say CUSTOM, outside its range."""

    CONSOLE = 0
    ICA = 1
    RDP = 2
    CUSTOM = 0x100


class PerformanceFlags(IntEnum):
    """WTS_PERF_*, bits to be tested with ``&``: what the client wants to go without; the ENABLE bits, with.

    No IntFlag, which remembers every combination that it was ever asked for: these are chosen by clients.
    """

    DISABLE_NOTHING = 0
    DISABLE_WALLPAPER = 0x1
    DISABLE_FULLWINDOWDRAG = 0x2
    DISABLE_MENUANIMATIONS = 0x4
    DISABLE_THEMING = 0x8
    ENABLE_ENHANCED_GRAPHICS = 0x10
    DISABLE_CURSOR_SHADOW = 0x20
    DISABLE_CURSORSETTINGS = 0x40
    ENABLE_FONT_SMOOTHING = 0x80
    ENABLE_DESKTOP_COMPOSITION = 0x100


class ValueType(IntEnum):
    """WTS_VALUE_TYPE_*: what a `PropertyValue` holds."""

    ULONG = 1
    STRING = 2
    BINARY = 3
    GUID = 4


class AddressFamily(IntEnum):
    """AF_*, with Windows' numbers on every platform."""

    UNSPEC = 0
    INET = 2
    INET6 = 23


class GraphicsChannelType(IntEnum):
    """WRdsGraphicsChannelType: whether a graphics channel may lose what is written to it."""

    GUARANTEED_DELIVERY = 0
    BEST_EFFORT_DELIVERY = 1
    """Messages may get lost."""


class ChannelPriority(IntEnum):
    """WTS_CHANNEL_OPTION_DYNAMIC_PRI_*: of a dynamic channel, the only scale around for RequestedPriority."""

    LOW = 0
    MED = 2
    HIGH = 4
    REAL = 6


class FastReconnectMode(IntEnum):
    """Answer to PROPERTY_TYPE_GET_FAST_RECONNECT: whether a session is chosen before anybody logs on."""

    OFF = 0
    BASIC = 1
    ENHANCED = 2
    """Only sessions of the user of PROPERTY_TYPE_GET_FAST_RECONNECT_USER_SID, of which
    `EnhancedFastReconnectArbitrator` chooses."""
