"""What follows when a call into a provider fails: one table, a row a call.

Where Microsoft's pages say what follows, the row says the same. Where they are silent the connection is dropped, except
after a pure notification: nothing comes back from it, so nothing is missing, and the failure is only logged. E_NOTIMPL
is an answer of its own ("use your default") wherever the service has a default. An exception that is no HRESULT is a
mistake in the provider, after which nobody knows its state: it ends the connection at any step, except those that end
it anyway. A call that hangs until its limit counts as failed.

``protocol_specs`` says the same for people and for the trace checker; tests hold the two against each other.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum

import attrs

from rdpprov.api.connection import ProtocolConnection, ProtocolConnection2
from rdpprov.api.enums import LogonErrorRedirectorResponse
from rdpprov.api.fast_reconnect import EnhancedFastReconnectArbitrator
from rdpprov.api.identity import ReconnectClaim
from rdpprov.api.license_connection import LicenseConnection
from rdpprov.api.listener import ProtocolListener
from rdpprov.api.logon_error_redirector import LogonErrorRedirector
from rdpprov.api.manager import ProtocolManager
from rdpprov.api.shadow import ShadowConnection
from rdpprov.api.structures import (
    ClientData,
    ConnectionSettings,
    LicenseCapabilities,
    ListenerSettings,
    ProtocolStatus,
    SerializedUserCredential,
    UserCredential,
)
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import E_NOTIMPL, HResultError
from rdpprov.rcm.ending import TimeLimitError


class Effect(Enum):
    """What the service does after a call that did not return normally."""

    DROP = "drop"
    """It lets the connection go. For a manager or a listener: the service's start fails."""
    CONTINUE = "continue"
    """It logs the failure and takes the next step."""
    DEGRADE = "degrade"
    """It logs the failure and does itself what the call would have given."""
    DEFAULT = "default"
    """It uses its default; nothing has failed."""


DROP, CONTINUE, DEGRADE, DEFAULT = Effect


@attrs.frozen
class Call:
    """One row: a call of the service into a provider."""

    name: str
    """In the API's own spelling."""
    target: str
    """What is called: manager, listener, connection, license, redirector."""
    failed: Effect
    """After a failing HRESULT other than E_NOTIMPL, and after the time limit."""
    not_implemented: Effect
    """After E_NOTIMPL."""
    exception: Effect = attrs.field(default=Effect.DROP, kw_only=True)
    """After anything else that is raised."""
    arguments: tuple[str, ...] = ()
    """For traces."""
    returns: type | None = None
    """What has to come back; None: it does not matter, or (devices are typing Protocols) cannot be seen."""
    limit: str | None = "call"
    """Which of `Limits` holds for this one call; None: only that of the steps around it."""
    errinfo: ErrInfo = ErrInfo.ERRINFO_SERVER_DENIED_CONNECTION
    """What the client is told if it is dropped because of this."""

    @property
    def errinfo_if_late(self) -> ErrInfo:
        """What it is told if no answer came in time."""
        if self.target == "license":
            return ErrInfo.ERRINFO_LICENSE_CANT_FINISH_PROTOCOL
        return ErrInfo.ERRINFO_LOGON_TIMEOUT

    @property
    def is_notification(self) -> bool:
        """Whether it only tells, so that the provider has to return at once."""
        return self.limit == "notification"

    def effect_of(self, error: Exception) -> Effect:
        """What follows after ``error``."""
        match error:
            case HResultError(hresult=hresult):
                return self.not_implemented if hresult == E_NOTIMPL else self.failed
            case TimeLimitError():
                return self.failed
            case _:
                return self.exception


def _notification(name: str, target: str, *arguments: str, exception: Effect = Effect.DROP) -> Call:
    """A pure notification: what it returns does not matter, and neither does its failure."""
    return Call(name, target, CONTINUE, DEFAULT, exception=exception, arguments=arguments, limit="notification")


def _query(name: str, *arguments: str, returns: type | None = None) -> Call:
    """A question that may come between any two steps: without an answer the service does without it."""
    return Call(name, "connection", DEGRADE, DEFAULT, arguments=arguments, returns=returns)


_DO_TARGET = ("param1", "param2", "param3", "param4", "client_name")
_DRIVER = ErrInfo.ERRINFO_CLOSE_STACK_ON_DRIVER_FAILURE
_LICENSE = ErrInfo.ERRINFO_LICENSE_INTERNAL

# In the order of the sequences. The key is the method of the API that the provider implements.
_TABLE: dict[Callable[..., object], Call] = {
    # Start and stop
    ProtocolManager.initialize: Call("Initialize", "manager", DROP, DEFAULT, arguments=("settings", "policy")),
    ProtocolManager.create_listener: Call(
        "CreateListener", "manager", DROP, DROP, arguments=("listener_name",), returns=ProtocolListener
    ),
    ProtocolListener.get_settings: Call(
        "GetSettings", "listener", DROP, DEFAULT, arguments=("level",), returns=ListenerSettings
    ),
    ProtocolListener.start_listen: Call("StartListen", "listener", DROP, DROP),
    ProtocolManager.notify_service_state_change: _notification(
        "NotifyServiceStateChange", "manager", "change", exception=CONTINUE
    ),
    ProtocolManager.notify_session_of_service_start: _notification(
        "NotifySessionOfServiceStart", "manager", "session_id", exception=CONTINUE
    ),
    ProtocolManager.notify_session_of_service_stop: _notification(
        "NotifySessionOfServiceStop", "manager", "session_id", exception=CONTINUE
    ),
    ProtocolManager.notify_session_state_change: _notification(
        "NotifySessionStateChange", "manager", "session_id", "event_id", exception=CONTINUE
    ),
    ProtocolManager.notify_settings_change: _notification(
        "NotifySettingsChange", "manager", "settings", exception=CONTINUE
    ),
    ProtocolListener.stop_listen: Call("StopListen", "listener", CONTINUE, CONTINUE, exception=CONTINUE, limit="close"),
    ProtocolManager.uninitialize: Call("Uninitialize", "manager", CONTINUE, DEFAULT, exception=CONTINUE, limit="close"),
    # Connection
    ProtocolConnection.get_logon_error_redirector: Call(
        "GetLogonErrorRedirector", "connection", DROP, DEFAULT, returns=LogonErrorRedirector
    ),
    ProtocolConnection.accept_connection: Call("AcceptConnection", "connection", DROP, DROP),
    ProtocolConnection.get_client_data: Call("GetClientData", "connection", DROP, DROP, returns=ClientData),
    ProtocolConnection.get_client_monitor_data: Call(
        "GetClientMonitorData", "connection", DROP, DEFAULT, returns=tuple
    ),
    ProtocolConnection.get_user_credentials: Call(
        "GetUserCredentials", "connection", DEGRADE, DEFAULT, returns=UserCredential
    ),
    ProtocolConnection2.get_serialized_user_credential: Call(
        "GetSerializedUserCredential", "connection", DEGRADE, DEFAULT, returns=SerializedUserCredential
    ),
    ProtocolConnection.get_license_connection: Call(
        "GetLicenseConnection", "connection", DROP, DROP, returns=LicenseConnection, errinfo=_LICENSE
    ),
    ProtocolConnection.authenticate_client_to_session: Call(
        "AuthenticateClientToSession", "connection", CONTINUE, DEFAULT, returns=ReconnectClaim
    ),
    ProtocolConnection.notify_session_id: _notification(
        "NotifySessionId", "connection", "session_id", "session_handle"
    ),
    ProtocolConnection.get_input_handles: Call("GetInputHandles", "connection", DROP, DEFAULT, errinfo=_DRIVER),
    ProtocolConnection.get_video_handle: Call("GetVideoHandle", "connection", DROP, DEFAULT, errinfo=_DRIVER),
    ProtocolConnection.connect_notify: _notification("ConnectNotify", "connection", "session_id"),
    ProtocolConnection.notify_command_process_created: _notification(
        "NotifyCommandProcessCreated", "connection", "session_id"
    ),
    ProtocolConnection.is_user_allowed_to_logon: Call(
        "IsUserAllowedToLogon",
        "connection",
        DROP,
        DEFAULT,
        arguments=("session_id", "user", "domain_name", "user_name"),
        errinfo=ErrInfo.ERRINFO_SERVER_INSUFFICIENT_PRIVILEGES,
    ),
    EnhancedFastReconnectArbitrator.get_session_for_enhanced_fast_reconnect: Call(
        "GetSessionForEnhancedFastReconnect",
        "connection",  # the same object
        DEGRADE,
        DEFAULT,
        arguments=("session_id_array",),
    ),
    # The predecessor's page: after any error, and with no ids, the service arbitrates itself.
    ProtocolConnection.session_arbitration_enumeration: Call(
        "SessionArbitrationEnumeration",
        "connection",
        DEGRADE,
        DEFAULT,
        arguments=("user", "single_session_per_user_enabled"),
        returns=Sequence,
    ),
    # A notification, but no pure one: the settings come back.
    ProtocolConnection.logon_notify: Call(
        "LogonNotify",
        "connection",
        DROP,
        DEFAULT,
        arguments=("user", "user_name", "domain_name", "session_id", "settings"),
        returns=ConnectionSettings,
        limit="notification",
    ),
    # Licensing: all rounds together have a limit, no single call has, for each may wait for the client.
    LicenseConnection.request_licensing_capabilities: Call(
        "RequestLicensingCapabilities", "license", DROP, DROP, returns=LicenseCapabilities, limit=None, errinfo=_LICENSE
    ),
    LicenseConnection.send_client_license: Call(
        "SendClientLicense", "license", DROP, DROP, arguments=("packet",), limit=None, errinfo=_LICENSE
    ),
    LicenseConnection.request_client_license: Call(
        "RequestClientLicense",
        "license",
        DROP,
        DROP,
        arguments=("reserve",),
        returns=bytes,
        limit=None,
        errinfo=ErrInfo.ERRINFO_LICENSE_CLIENT_ENDED_PROTOCOL,
    ),
    LicenseConnection.protocol_complete: Call(
        "ProtocolComplete", "license", DROP, DROP, arguments=("complete",), limit="notification", errinfo=_LICENSE
    ),
    # The logon desktop at work: a redirector that fails has not handled the error.
    LogonErrorRedirector.on_begin_painting: _notification("OnBeginPainting", "redirector"),
    LogonErrorRedirector.redirect_status: Call(
        "RedirectStatus",
        "redirector",
        DEGRADE,
        DEFAULT,
        arguments=("message",),
        returns=LogonErrorRedirectorResponse,
    ),
    LogonErrorRedirector.redirect_message: Call(
        "RedirectMessage",
        "redirector",
        DEGRADE,
        DEFAULT,
        arguments=("caption", "message", "message_type"),
        returns=LogonErrorRedirectorResponse,
    ),
    LogonErrorRedirector.redirect_logon_error: Call(
        "RedirectLogonError",
        "redirector",
        DEGRADE,
        DEFAULT,
        arguments=("status", "substatus", "caption", "message", "message_type"),
        returns=LogonErrorRedirectorResponse,
    ),
    # Queries
    ProtocolConnection.get_protocol_status: _query("GetProtocolStatus", returns=ProtocolStatus),
    ProtocolConnection.get_last_input_time: _query("GetLastInputTime", returns=int),
    ProtocolConnection.create_virtual_channel: _query(
        "CreateVirtualChannel", "endpoint_name", "static", "requested_priority"
    ),
    # Answers of a wrong type are for `queries` to judge: they count as none.
    ProtocolConnection.query_property: _query("QueryProperty", "query_type", "entries_in"),
    ProtocolConnection.get_shadow_connection: _query("GetShadowConnection"),
    # Shadowing, between the steps of two connections. What fails does not come about; E_NOTIMPL: the service shadows by
    # itself. But for Stop the page has an effect, whatever the error.
    ShadowConnection.start: Call(
        "Start",
        "shadow",
        CONTINUE,
        DEFAULT,
        arguments=("target_server_name", "target_session_id", "hot_key_vk", "hotkey_modifiers"),
    ),
    ShadowConnection.do_target: Call("DoTarget", "shadow", CONTINUE, DEFAULT, arguments=_DO_TARGET),
    ShadowConnection.stop: Call("Stop", "shadow", DROP, DROP, limit="notification"),
    # Disconnect: nothing that fails here stops the rest.
    ProtocolConnection.set_error_info: _notification("SetErrorInfo", "connection", "error", exception=CONTINUE),
    ProtocolConnection.pre_disconnect: _notification("PreDisconnect", "connection", "reason", exception=CONTINUE),
    ProtocolConnection.disconnect_notify: _notification("DisconnectNotify", "connection"),
    ProtocolConnection.close: Call("Close", "connection", CONTINUE, CONTINUE, exception=CONTINUE, limit="close"),
}

FAILURE_POLICY: Mapping[str, Call] = {method.__name__: call for method, call in _TABLE.items()}
"""By the method's name in Python; the names are unique over all that the service calls."""
