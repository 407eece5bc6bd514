"""The Remote Desktop Protocol Provider API in Python: what a protocol implements, and what the service gives it.

Types, defaults and validation; no behaviour. Import from here.
"""

from rdpprov.api.connection import ProtocolConnection, ProtocolConnection2, ProtocolConnectionCallback
from rdpprov.api.connection_settings import ProtocolConnectionSettings
from rdpprov.api.fast_reconnect import EnhancedFastReconnectArbitrator
from rdpprov.api.license_connection import LICENSING_SUCCEEDED, AlwaysLicensed, LicenseConnection
from rdpprov.api.listener import ProtocolListener, ProtocolListenerCallback
from rdpprov.api.logon_error_redirector import LogonErrorRedirector
from rdpprov.api.manager import ProtocolManager
from rdpprov.api.settings import ProtocolSettings
from rdpprov.api.shadow import HotkeyModifiers, ShadowCallback, ShadowConnection
from rdpprov.api.structures import (
    ClientData,
    ConnectionSettings,
    LicenseCapabilities,
    ListenerSettings,
    PropertyValue,
    SerializedUserCredential,
    ServiceState,
    SessionId,
    Setting,
    Settings,
    UserCredential,
)
from rdpprov.api.wddm import WddmIddProps, WddmIddProps1
from rdpprov.errors import HResultError, NotImplementedByProvider

__all__ = [
    "LICENSING_SUCCEEDED",
    "AlwaysLicensed",
    "ClientData",
    "ConnectionSettings",
    "EnhancedFastReconnectArbitrator",
    "HResultError",
    "HotkeyModifiers",
    "LicenseCapabilities",
    "LicenseConnection",
    "ListenerSettings",
    "LogonErrorRedirector",
    "NotImplementedByProvider",
    "PropertyValue",
    "ProtocolConnection",
    "ProtocolConnection2",
    "ProtocolConnectionCallback",
    "ProtocolConnectionSettings",
    "ProtocolListener",
    "ProtocolListenerCallback",
    "ProtocolManager",
    "ProtocolSettings",
    "SerializedUserCredential",
    "ServiceState",
    "SessionId",
    "Setting",
    "Settings",
    "ShadowCallback",
    "ShadowConnection",
    "UserCredential",
    "WddmIddProps",
    "WddmIddProps1",
]
