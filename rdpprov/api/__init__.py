"""The Remote Desktop Protocol Provider API in Python: what a protocol implements, and what the service gives it.

Types, defaults and validation; no behaviour. Import from here.
"""

from rdpprov.api.connection import ProtocolConnection, ProtocolConnectionCallback
from rdpprov.api.license_connection import LICENSING_SUCCEEDED, AlwaysLicensed, LicenseConnection
from rdpprov.api.listener import ProtocolListener, ProtocolListenerCallback
from rdpprov.api.logon_error_redirector import LogonErrorRedirector
from rdpprov.api.manager import ProtocolManager
from rdpprov.api.settings import ProtocolSettings
from rdpprov.api.structures import (
    ClientData,
    ConnectionSettings,
    LicenseCapabilities,
    ListenerSettings,
    PropertyValue,
    ServiceState,
    SessionId,
    Setting,
    Settings,
    UserCredential,
)
from rdpprov.errors import HResultError, NotImplementedByProvider

__all__ = [
    "LICENSING_SUCCEEDED",
    "AlwaysLicensed",
    "ClientData",
    "ConnectionSettings",
    "HResultError",
    "LicenseCapabilities",
    "LicenseConnection",
    "ListenerSettings",
    "LogonErrorRedirector",
    "NotImplementedByProvider",
    "PropertyValue",
    "ProtocolConnection",
    "ProtocolConnectionCallback",
    "ProtocolListener",
    "ProtocolListenerCallback",
    "ProtocolManager",
    "ProtocolSettings",
    "ServiceState",
    "SessionId",
    "Setting",
    "Settings",
    "UserCredential",
]
