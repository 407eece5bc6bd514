"""Error-info codes: what a client is told when the server ends or refuses a connection.

Source: [MS-RDPBCGR] 2.2.5.1.1 "Set Error Info PDU Data (TS_SET_ERROR_INFO_PDU)". The same numbers are the
ExtendedDisconnectReasonCode of the Terminal Services client; rdpprov uses them for `PreDisconnect` and `SetErrorInfo`,
whose codes the provider API leaves open.
"""

from enum import IntEnum


class ErrInfo(IntEnum):
    """errorInfo of TS_SET_ERROR_INFO_PDU, a 32-bit code."""

    ERRINFO_NONE = 0x0000
    """Nothing happened; may be sent early and clears an earlier code."""

    # Protocol-independent codes
    ERRINFO_RPC_INITIATED_DISCONNECT = 0x0001
    """An administrator's tool disconnected the session."""
    ERRINFO_RPC_INITIATED_LOGOFF = 0x0002
    """An administrator's tool logged the user off."""
    ERRINFO_IDLE_TIMEOUT = 0x0003
    """The idle limit has passed."""
    ERRINFO_LOGON_TIMEOUT = 0x0004
    """The limit of the logon, or of the active session, has passed."""
    ERRINFO_DISCONNECTED_BY_OTHERCONNECTION = 0x0005
    """Another connection took the session over."""
    ERRINFO_OUT_OF_MEMORY = 0x0006
    """The server is out of memory, or a resource limit is reached."""
    ERRINFO_SERVER_DENIED_CONNECTION = 0x0007
    """The server refuses this connection."""
    ERRINFO_SERVER_INSUFFICIENT_PRIVILEGES = 0x0009
    """The user may not use this session."""
    ERRINFO_SERVER_FRESH_CREDENTIALS_REQUIRED = 0x000A
    """Saved credentials are not accepted."""
    ERRINFO_RPC_INITIATED_DISCONNECT_BYUSER = 0x000B
    """The user disconnected the session by a tool in it."""
    ERRINFO_LOGOFF_BY_USER = 0x000C
    """The user logged off."""
    ERRINFO_CLOSE_STACK_ON_DRIVER_NOT_READY = 0x000F
    """The display driver is not ready."""
    ERRINFO_SERVER_DWM_CRASH = 0x0010
    """The compositor crashed."""
    ERRINFO_CLOSE_STACK_ON_DRIVER_FAILURE = 0x0011
    """The display driver could not be started."""
    ERRINFO_CLOSE_STACK_ON_DRIVER_IFACE_FAILURE = 0x0012
    """The display driver broke its contract."""
    ERRINFO_SERVER_WINLOGON_CRASH = 0x0017
    """The logon process crashed."""
    ERRINFO_SERVER_CSRSS_CRASH = 0x0018
    """The session's subsystem crashed."""
    ERRINFO_SERVER_SHUTDOWN = 0x0019
    """The server shuts down; many clients do not know the code, so 1 is the better choice."""
    ERRINFO_SERVER_REBOOT = 0x001A
    """The server restarts; the same holds."""

    # Licensing
    ERRINFO_LICENSE_INTERNAL = 0x0100
    """Internal error."""
    ERRINFO_LICENSE_NO_LICENSE_SERVER = 0x0101
    """No license server."""
    ERRINFO_LICENSE_NO_LICENSE = 0x0102
    """No license left."""
    ERRINFO_LICENSE_BAD_CLIENT_MSG = 0x0103
    """Bad licensing message of the client."""
    ERRINFO_LICENSE_HWID_DOESNT_MATCH_LICENSE = 0x0104
    """The license was issued for another machine."""
    ERRINFO_LICENSE_BAD_CLIENT_LICENSE = 0x0105
    """The client's license is not valid."""
    ERRINFO_LICENSE_CANT_FINISH_PROTOCOL = 0x0106
    """The licensing protocol could not be finished."""
    ERRINFO_LICENSE_CLIENT_ENDED_PROTOCOL = 0x0107
    """The client ended the licensing protocol."""
    ERRINFO_LICENSE_BAD_CLIENT_ENCRYPTION = 0x0108
    """The client's licensing message is encrypted wrongly."""
    ERRINFO_LICENSE_CANT_UPGRADE_LICENSE = 0x0109
    """The license cannot be upgraded."""
    ERRINFO_LICENSE_NO_REMOTE_CONNECTIONS = 0x010A
    """The server is not licensed for remote connections."""

    # Connection broker
    ERRINFO_CB_DESTINATION_NOT_FOUND = 0x0400
    """No such target."""
    ERRINFO_CB_LOADING_DESTINATION = 0x0402
    """The target is being loaded."""
    ERRINFO_CB_REDIRECTING_TO_DESTINATION = 0x0404
    """The client is being redirected."""
    ERRINFO_CB_SESSION_ONLINE_VM_WAKE = 0x0405
    """Waking the virtual machine failed."""
    ERRINFO_CB_SESSION_ONLINE_VM_BOOT = 0x0406
    """Starting the virtual machine failed."""
    ERRINFO_CB_SESSION_ONLINE_VM_NO_DNS = 0x0407
    """The virtual machine has no address."""
    ERRINFO_CB_DESTINATION_POOL_NOT_FREE = 0x0408
    """No target of the pool is free."""
    ERRINFO_CB_CONNECTION_CANCELLED = 0x0409
    """The connection was cancelled."""
    ERRINFO_CB_CONNECTION_ERROR_INVALID_SETTINGS = 0x0410
    """The connection's settings are wrong."""
    ERRINFO_CB_SESSION_ONLINE_VM_BOOT_TIMEOUT = 0x0411
    """The virtual machine did not start in time."""
    ERRINFO_CB_SESSION_ONLINE_VM_SESSMON_FAILED = 0x0412
    """The session monitor failed."""

    # RDP-specific codes
    ERRINFO_UNKNOWNPDUTYPE2 = 0x10C9
    """Unknown pduType2."""
    ERRINFO_UNKNOWNPDUTYPE = 0x10CA
    """Unknown pduType."""
    ERRINFO_DATAPDUSEQUENCE = 0x10CB
    """A data PDU out of sequence."""
    ERRINFO_CONTROLPDUSEQUENCE = 0x10CD
    """A control PDU out of sequence."""
    ERRINFO_INVALIDCONTROLPDUACTION = 0x10CE
    """Unknown action in a control PDU."""
    ERRINFO_INVALIDINPUTPDUTYPE = 0x10CF
    """Unknown type of input event."""
    ERRINFO_INVALIDINPUTPDUMOUSE = 0x10D0
    """Impossible mouse event."""
    ERRINFO_INVALIDREFRESHRECTPDU = 0x10D1
    """Malformed Refresh Rect."""
    ERRINFO_CREATEUSERDATAFAILED = 0x10D2
    """The server could not make its user data."""
    ERRINFO_CONNECTFAILED = 0x10D3
    """The connection sequence failed."""
    ERRINFO_CONFIRMACTIVEWRONGSHAREID = 0x10D4
    """Confirm Active with another share id."""
    ERRINFO_CONFIRMACTIVEWRONGORIGINATOR = 0x10D5
    """Confirm Active with another originator."""
    ERRINFO_PERSISTENTKEYPDUBADLENGTH = 0x10DA
    """Persistent Key List of wrong length."""
    ERRINFO_PERSISTENTKEYPDUILLEGALFIRST = 0x10DB
    """A second first Persistent Key List."""
    ERRINFO_PERSISTENTKEYPDUTOOMANYTOTALKEYS = 0x10DC
    """Too many keys announced."""
    ERRINFO_PERSISTENTKEYPDUTOOMANYCACHEKEYS = 0x10DD
    """Too many keys for a cache."""
    ERRINFO_INPUTPDUBADLENGTH = 0x10DE
    """Input PDU of wrong length."""
    ERRINFO_BITMAPCACHEERRORPDUBADLENGTH = 0x10DF
    """Bitmap Cache Error of wrong length."""
    ERRINFO_SECURITYDATATOOSHORT = 0x10E0
    """Security data too short."""
    ERRINFO_VCHANNELDATATOOSHORT = 0x10E1
    """Virtual channel data too short."""
    ERRINFO_SHAREDATATOOSHORT = 0x10E2
    """Share data too short."""
    ERRINFO_BADSUPRESSOUTPUTPDU = 0x10E3
    """Malformed Suppress Output."""
    ERRINFO_CONFIRMACTIVEPDUTOOSHORT = 0x10E5
    """Confirm Active too short."""
    ERRINFO_CAPABILITYSETTOOSMALL = 0x10E7
    """Capability set too small."""
    ERRINFO_CAPABILITYSETTOOLARGE = 0x10E8
    """Capability set too large."""
    ERRINFO_NOCURSORCACHE = 0x10E9
    """No cursor cache."""
    ERRINFO_BADCAPABILITIES = 0x10EA
    """Bad capabilities."""
    ERRINFO_VIRTUALCHANNELDECOMPRESSIONERR = 0x10EC
    """Virtual channel data cannot be decompressed."""
    ERRINFO_INVALIDVCCOMPRESSIONTYPE = 0x10ED
    """Bad compression type on a virtual channel."""
    ERRINFO_INVALIDCHANNELID = 0x10EF
    """No such channel."""
    ERRINFO_VCHANNELSTOOMANY = 0x10F0
    """Too many channels."""
    ERRINFO_REMOTEAPPSNOTENABLED = 0x10F3
    """RemoteApp is not offered."""
    ERRINFO_CACHECAPNOTSET = 0x10F4
    """Cache capability missing."""
    ERRINFO_BITMAPCACHEERRORPDUBADLENGTH2 = 0x10F5
    """Bitmap Cache Error of wrong length."""
    ERRINFO_OFFSCRCACHEERRORPDUBADLENGTH = 0x10F6
    """Offscreen Cache Error of wrong length."""
    ERRINFO_DNGCACHEERRORPDUBADLENGTH = 0x10F7
    """DrawNineGrid Cache Error of wrong length."""
    ERRINFO_GDIPLUSPDUBADLENGTH = 0x10F8
    """GDI+ Error of wrong length."""
    ERRINFO_BADMONITORDATA = 0x1129
    """Malformed monitor data."""
    ERRINFO_VCDECOMPRESSEDREASSEMBLEFAILED = 0x112A
    """Virtual channel data cannot be reassembled."""
    ERRINFO_VCDATATOOLONG = 0x112B
    """Virtual channel message too long."""
    ERRINFO_BAD_FRAME_ACK_DATA = 0x112C
    """Malformed frame acknowledgement."""
    ERRINFO_GRAPHICSMODENOTSUPPORTED = 0x112D
    """Graphics mode not supported."""
    ERRINFO_GRAPHICSSUBSYSTEMRESETFAILED = 0x112E
    """The graphics subsystem could not be reset."""
    ERRINFO_GRAPHICSSUBSYSTEMFAILED = 0x112F
    """The graphics subsystem failed."""
    ERRINFO_TIMEZONEKEYNAMELENGTHTOOSHORT = 0x1130
    """Time zone key name too short."""
    ERRINFO_TIMEZONEKEYNAMELENGTHTOOLONG = 0x1131
    """Time zone key name too long."""
    ERRINFO_DYNAMICDSTDISABLEDFIELDMISSING = 0x1132
    """DynamicDaylightTimeDisabled is missing."""
    ERRINFO_VCDECODINGERROR = 0x1133
    """Virtual channel data cannot be decoded."""
    ERRINFO_VIRTUALDESKTOPTOOLARGE = 0x1134
    """The desktop is too large."""
    ERRINFO_MONITORGEOMETRYVALIDATIONFAILED = 0x1135
    """Monitors overlap or have gaps."""
    ERRINFO_INVALIDMONITORCOUNT = 0x1136
    """Too many monitors."""
    ERRINFO_UPDATESESSIONKEYFAILED = 0x1191
    """Session keys could not be renewed."""
    ERRINFO_DECRYPTFAILED = 0x1192
    """Decryption or its signature failed."""
    ERRINFO_ENCRYPTFAILED = 0x1193
    """Encryption failed."""
    ERRINFO_ENCPKGMISMATCH = 0x1194
    """Encryption method mismatch."""
    ERRINFO_DECRYPTFAILED2 = 0x1195
    """Decryption failed."""
    ERRINFO_PEER_DISCONNECTED = 0x1196
    """The peer is gone."""

    # Security data too short, by the place where it was found
    ERRINFO_SECURITYDATATOOSHORT2 = 0x1111
    ERRINFO_SECURITYDATATOOSHORT3 = 0x1112
    ERRINFO_SECURITYDATATOOSHORT4 = 0x1113
    ERRINFO_SECURITYDATATOOSHORT5 = 0x1114
    ERRINFO_SECURITYDATATOOSHORT6 = 0x1115
    ERRINFO_SECURITYDATATOOSHORT7 = 0x1116
    ERRINFO_SECURITYDATATOOSHORT8 = 0x1117
    ERRINFO_SECURITYDATATOOSHORT9 = 0x1118
    ERRINFO_SECURITYDATATOOSHORT10 = 0x1119
    ERRINFO_SECURITYDATATOOSHORT11 = 0x111A
    ERRINFO_SECURITYDATATOOSHORT12 = 0x111B
    ERRINFO_SECURITYDATATOOSHORT13 = 0x111C
    ERRINFO_SECURITYDATATOOSHORT14 = 0x111D
    ERRINFO_SECURITYDATATOOSHORT15 = 0x111E
    ERRINFO_SECURITYDATATOOSHORT16 = 0x111F
    ERRINFO_SECURITYDATATOOSHORT17 = 0x1120
    ERRINFO_SECURITYDATATOOSHORT18 = 0x1121
    ERRINFO_SECURITYDATATOOSHORT19 = 0x1122
    ERRINFO_SECURITYDATATOOSHORT20 = 0x1123
    ERRINFO_SECURITYDATATOOSHORT21 = 0x1124
    ERRINFO_SECURITYDATATOOSHORT22 = 0x1125
    ERRINFO_SECURITYDATATOOSHORT23 = 0x1126
