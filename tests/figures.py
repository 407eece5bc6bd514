"""Microsoft's "Connection Sequence" figure, written down by hand: what the sequences as data, and what is recorded with
real clients, are both held against. Nothing here comes from the package.
"""

FIRST_CONNECTION = [
    "OnConnected",
    "GetLogonErrorRedirector",
    "OnReady",
    "AcceptConnection",
    "GetClientData",
    "GetClientMonitorData",
    "GetUserCredentials",
    "GetLicenseConnection",
    "RequestLicensingCapabilities",
    "ProtocolComplete",
    "AuthenticateClientToSession",
    "NotifySessionId",
    "GetInputHandles",
    "GetVideoHandle",
    "ConnectNotify",
    "NotifyCommandProcessCreated",
    "IsUserAllowedToLogon",
    "SessionArbitrationEnumeration",
    "LogonNotify",
]

RECONNECT_AFTER_ARBITRATION = [
    "DisconnectNotify",
    "NotifySessionId",
    "GetInputHandles",
    "GetVideoHandle",
    "ConnectNotify",
    "LogonNotify",
]
"""In the place of LogonNotify, when the session arbitration has found one to go back to."""

DIRECT_RECONNECT = [
    "NotifySessionId",
    "GetInputHandles",
    "GetVideoHandle",
    "ConnectNotify",
    "IsUserAllowedToLogon",
    "LogonNotify",
]
"""After AuthenticateClientToSession, when that has named the session."""
