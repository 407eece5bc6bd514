"""The package against the published API: every difference stands in a table here, with a reason out of a closed set."""

import enum
import inspect
import re
from typing import Any

import attrs
import pytest

from rdpprov.api import connection, enums, license_connection, listener, logon_error_redirector, manager, settings
from rdpprov.api import structures as s

CLASSES: dict[str, type] = {
    "IWRdsProtocolManager": manager.ProtocolManager,
    "IWRdsProtocolListener": listener.ProtocolListener,
    "IWRdsProtocolListenerCallback": listener.ProtocolListenerCallback,
    "IWRdsProtocolConnection": connection.ProtocolConnection,
    "IWRdsProtocolConnectionCallback": connection.ProtocolConnectionCallback,
    "IWRdsProtocolSettings": settings.ProtocolSettings,
    "IWRdsProtocolLicenseConnection": license_connection.LicenseConnection,
    "IWRdsProtocolLogonErrorRedirector": logon_error_redirector.LogonErrorRedirector,
}

# Interfaces that no sequence of this version touches; the list may only get shorter.
NOT_YET = {
    "IWRdsProtocolConnection2",
    "IWRdsProtocolConnectionSettings",
    "IWRdsProtocolShadowConnection",
    "IWRdsProtocolShadowCallback",
    "IWRdsEnhancedFastReconnectArbitrator",
    "IWRdsWddmIddProps",
    "IWRdsWddmIddProps1",
    "IWRdsRemoteFXGraphicsConnection",
    "IWRdsGraphicsChannelManager",
    "IWRdsGraphicsChannel",
    "IWRdsGraphicsChannelEvents",
}


class Why(enum.Enum):
    """The only reasons to differ."""

    OUT = "an out-parameter became the return value"
    SIZE = "a size or a count goes with its buffer: two-phase queries vanish"
    SELECTOR = "the selector of a union is the class"
    HANDLE = "a Windows handle became our own object"
    DRIVER = "Windows driver: there is none"
    TRIO = "a task needs a nursery"
    OURS = "our extension, documented as such"


# (interface, method) -> parameters of the standard that have no parameter here, and ours that are not the standard's.
PARAMETERS: dict[tuple[str, str], dict[str, Why]] = {
    ("IWRdsProtocolListener", "StartListen"): {"+task_status": Why.TRIO},
    ("IWRdsProtocolConnection", "SessionArbitrationEnumeration"): {"pdwSessionIdentifierCount": Why.SIZE},
    ("IWRdsProtocolConnection", "LogonNotify"): {},
    ("IWRdsProtocolConnection", "QueryProperty"): {
        "ulNumEntriesIn": Why.SIZE,
        "ulNumEntriesOut": Why.SIZE,
    },
    ("IWRdsProtocolSettings", "GetSettings"): {"+user": Why.OURS},
    ("IWRdsProtocolLicenseConnection", "RequestLicensingCapabilities"): {"pcbLicenseCapabilities": Why.SIZE},
    ("IWRdsProtocolLicenseConnection", "SendClientLicense"): {"cbClientLicense": Why.SIZE},
    ("IWRdsProtocolLicenseConnection", "RequestClientLicense"): {
        "Reserve2": Why.SIZE,
        "pcbClientLicense": Why.SIZE,
    },
}

# (interface, method, parameter of the standard) -> its name here, where the rule does not give it.
RENAMED = {
    ("IWRdsProtocolManager", "Initialize", "pIWRdsSettings"): "settings",
    ("IWRdsProtocolManager", "Initialize", "pWRdsSettings"): "policy",
    ("IWRdsProtocolManager", "NotifyServiceStateChange", "pTSServiceStateChange"): "change",
    ("IWRdsProtocolManager", "NotifySettingsChange", "pWRdsSettings"): "settings",
    ("IWRdsProtocolListener", "GetSettings", "WRdsListenerSettingLevel"): "level",
    ("IWRdsProtocolListenerCallback", "OnConnected", "pWRdsConnectionSettings"): "settings",
    ("IWRdsProtocolConnection", "IsUserAllowedToLogon", "UserToken"): "user",
    ("IWRdsProtocolConnection", "SessionArbitrationEnumeration", "hUserToken"): "user",
    ("IWRdsProtocolConnection", "LogonNotify", "hClientToken"): "user",
    ("IWRdsProtocolConnection", "LogonNotify", "wszUserName"): "user_name",
    ("IWRdsProtocolConnection", "LogonNotify", "wszDomainName"): "domain_name",
    ("IWRdsProtocolConnection", "LogonNotify", "pWRdsConnectionSettings"): "settings",
    ("IWRdsProtocolConnection", "PreDisconnect", "DisconnectReason"): "reason",
    ("IWRdsProtocolConnection", "SetErrorInfo", "ulError"): "error",
    ("IWRdsProtocolConnection", "QueryProperty", "pPropertyEntriesIn"): "entries_in",
    ("IWRdsProtocolConnectionCallback", "RedrawWindow", "rect"): "rectangle",
    ("IWRdsProtocolSettings", "GetSettings", "WRdsSettingType"): "setting_type",
    ("IWRdsProtocolSettings", "GetSettings", "WRdsSettingLevel"): "level",
    ("IWRdsProtocolSettings", "MergeSettings", "pWRdsSettings"): "settings",
    ("IWRdsProtocolSettings", "MergeSettings", "WRdsConnectionSettingLevel"): "level",
    ("IWRdsProtocolSettings", "MergeSettings", "pWRdsConnectionSettings"): "connection_settings",
    ("IWRdsProtocolLicenseConnection", "SendClientLicense", "pClientLicense"): "packet",
    ("IWRdsProtocolLicenseConnection", "RequestClientLicense", "Reserve1"): "reserve",
    ("IWRdsProtocolLicenseConnection", "ProtocolComplete", "ulComplete"): "complete",
    ("IWRdsProtocolLogonErrorRedirector", "RedirectMessage", "uType"): "message_type",
    ("IWRdsProtocolLogonErrorRedirector", "RedirectLogonError", "uType"): "message_type",
    ("IWRdsProtocolLogonErrorRedirector", "RedirectLogonError", "ntsStatus"): "status",
    ("IWRdsProtocolLogonErrorRedirector", "RedirectLogonError", "ntsSubstatus"): "substatus",
}

EXTENSIONS = {
    settings.ProtocolSettings: {"authenticator", "listener_options"},
    listener.ProtocolListener: {"bound_addresses"},
    connection.ProtocolConnectionCallback: {"issue_reconnect_secret", "trace_event", "traces_wire", "trace_wire"},
}


def snake(name: str) -> str:
    """The rule of names: the standard's words without the prefixes that C needed."""
    name = re.sub(r"^(?:psz|wsz|sz|pcb|cb|pdw|rgb|sin_|w(?=[A-Z])|b(?=[A-Z])|p(?=[A-Z])|f(?=[A-Z]))", "", name)
    name = name.replace("LPT", "Lpt").replace("PNP", "Pnp").replace("HRes", "H_res").replace("VRes", "V_res")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def core_methods() -> list[tuple[str, type]]:
    return list(CLASSES.items())


@pytest.mark.parametrize(("name", "cls"), core_methods(), ids=lambda value: getattr(value, "__name__", str(value)))
def test_every_method_and_parameter_of_the_standard_is_here_and_no_other(
    name: str, cls: type, reference: dict[str, Any]
) -> None:
    interface = next(i for i in reference["interfaces"] if i["name"] == name)
    methods = {snake(m["name"]): m for m in interface["methods"]}
    ours = {n for n in vars(cls) if not n.startswith("_")} - EXTENSIONS.get(cls, set())
    assert ours == set(methods)
    for python_name, method in methods.items():
        function = inspect.getattr_static(cls, python_name)
        parameters = list(inspect.signature(function).parameters)[1:]
        allowed = PARAMETERS.get((name, method["name"]), {})
        expected = [
            RENAMED.get((name, method["name"], p["name"]), snake(p["name"]))
            for p in method["params"]
            if p["name"] not in allowed and p["direction"] != "out" and not _is_out_buffer(method, p)
        ]
        extra = [n[1:] for n in allowed if n.startswith("+")]
        assert sorted(parameters) == sorted(expected + extra), method["name"]
        # One search finds spec, code and test: the docstring starts with the standard's spelling.
        assert (function.__doc__ or "").startswith(f"{name}.{method['name']}:"), method["name"]


def _is_out_buffer(method: dict[str, Any], parameter: dict[str, Any]) -> bool:
    """QueryProperty's second array is an output, though the metadata says "in"."""
    return bool(method["name"] == "QueryProperty" and parameter["name"] == "pPropertyEntriesOut")


@pytest.mark.parametrize(("name", "cls"), core_methods(), ids=lambda value: getattr(value, "__name__", str(value)))
def test_what_the_service_calls_is_async_and_callbacks_are_plain(
    name: str, cls: type, reference: dict[str, Any]
) -> None:
    interface = next(i for i in reference["interfaces"] if i["name"] == name)
    for method in interface["methods"]:
        function = inspect.getattr_static(cls, snake(method["name"]))
        expected = interface["implemented_by"] == "provider" or method["name"] == "OnConnected"
        assert inspect.iscoroutinefunction(function) == expected, method["name"]


def test_interfaces_are_here_or_named_as_not_built_yet(reference: dict[str, Any]) -> None:
    published = {i["name"] for i in reference["interfaces"] if i["name"].startswith("IWRds")}
    assert published == set(CLASSES) | NOT_YET


STRUCTURES: dict[str, type] = {
    "WTS_CLIENT_DATA": s.ClientData,
    "WRDS_CONNECTION_SETTINGS_1": s.ConnectionSettings,
    "WRDS_LISTENER_SETTINGS_1": s.ListenerSettings,
    "WRDS_SETTINGS_1": s.Settings,
    "WTS_SESSION_ID": s.SessionId,
    "WTS_USER_CREDENTIAL": s.UserCredential,
    "WTS_SERVICE_STATE": s.ServiceState,
    "WTS_LICENSE_CAPABILITIES": s.LicenseCapabilities,
    "WTS_PROTOCOL_STATUS": s.ProtocolStatus,
    "WTS_PROTOCOL_COUNTERS": s.ProtocolCounters,
    "WTS_PROTOCOL_CACHE": s.ProtocolCache,
    "WTS_SMALL_RECT": s.SmallRect,
    "WTS_SYSTEMTIME": s.SystemTime,
    "WTS_TIME_ZONE_INFORMATION": s.TimeZoneInformation,
}

# Fields of the standard that no field here answers to.
FIELDS: dict[tuple[str, str], Why] = {
    ("WRDS_CONNECTION_SETTINGS_1", "ContextSize"): Why.SIZE,
    ("WRDS_LISTENER_SETTINGS_1", "SecurityDescriptorSize"): Why.SIZE,
    ("WTS_LICENSE_CAPABILITIES", "cbClientName"): Why.SIZE,
    ("WTS_PROTOCOL_COUNTERS", "Length"): Why.SIZE,
}
# Fields here that the standard does not have.
EXTRA: dict[tuple[str, str], Why] = {
    ("WTS_USER_CREDENTIAL", "proof"): Why.OURS,
    ("WRDS_SETTINGS_1", "setting_type"): Why.SELECTOR,
}
FIELD_NAMES = {
    ("WRDS_CONNECTION_SETTINGS_1", "WRdsListenerSettings"): "listener_settings",
    ("WRDS_SETTINGS_1", "WRdsEncryptionValue"): "encryption_level",
    ("WRDS_SETTINGS_1", "WRdsDisableAutoReconnecetStatus"): "disable_auto_reconnect",
    ("WRDS_SETTINGS_1", "WRdsDisableAutoReconnecetValue"): "disable_auto_reconnect",
    ("WRDS_SETTINGS_1", "WRdsKeepAliveIntervalValue"): "keep_alive",
    ("WRDS_SETTINGS_1", "WRdsKeepAliveStartValue"): "keep_alive_start",
}


def field_name(structure: str, field: str) -> str:
    if (structure, field) in FIELD_NAMES:
        return FIELD_NAMES[structure, field]
    if structure == "WRDS_SETTINGS_1":  # a status and its value are one `Setting`
        field = re.sub(r"^WRds|(Status|Value)$", "", field).replace("WRds", "")
    return snake(field)


@pytest.mark.parametrize(("name", "cls"), STRUCTURES.items(), ids=lambda value: getattr(value, "__name__", str(value)))
def test_every_field_of_the_standard_is_here_and_no_other(name: str, cls: type, reference: dict[str, Any]) -> None:
    structure = next(x for x in reference["structs"] if x["name"] == name)
    expected = {field_name(name, f["name"]) for f in structure["fields"] if (name, f["name"]) not in FIELDS}
    ours = {a.name for a in attrs.fields(cls)}
    assert ours - {field for owner, field in EXTRA if owner == name} == expected


@pytest.mark.parametrize(("name", "cls"), STRUCTURES.items(), ids=lambda value: getattr(value, "__name__", str(value)))
def test_texts_take_the_standards_lengths_and_integers_its_widths(
    name: str, cls: type, reference: dict[str, Any]
) -> None:
    structure = next(x for x in reference["structs"] if x["name"] == name)
    fields = {field_name(name, f["name"]): f for f in structure["fields"] if (name, f["name"]) not in FIELDS}
    base = {"session_unique_guid": s.NULL_GUID} if cls is s.SessionId else {}
    for field, published in fields.items():
        if published["type"] == "Char":
            longest = "x" * (published["length"] - 1)
            assert getattr(cls(**base, **{field: longest}), field) == longest
            with pytest.raises(ValueError, match=field):
                cls(**base, **{field: longest + "x"})
            # Two units for a character beyond the first plane.
            with pytest.raises(ValueError, match=field):
                cls(**base, **{field: "\U0001f600" * (published["length"] // 2 + 1)})
        elif (
            re.fullmatch(r"U?Int(16|32)|Byte", published["type"])
            and "length" not in published
            and name != ("WRDS_SETTINGS_1")
        ):
            bits = 8 if published["type"] == "Byte" else int(published["type"][-2:])
            signed = published["type"].startswith("I")
            if isinstance(attrs.fields_dict(cls)[field].default, enum.Enum):
                continue
            top = (1 << (bits - signed)) - 1
            assert getattr(cls(**base, **{field: top}), field) == top
            with pytest.raises(ValueError, match=field):
                cls(**base, **{field: top + 1})


# Arrays: the standard's structure and field, ours, and what an item may and may not be, if its type does not say that.
ARRAYS: list[tuple[str, str, type, str, list[Any], list[int]]] = [
    ("WTS_PROTOCOL_COUNTERS", "Reserved", s.ProtocolCounters, "reserved", [0, 2**32 - 1], [-1, 2**32]),
    ("WTS_PROTOCOL_STATUS", "Counters", s.ProtocolStatus, "counters", [-(2**63), 2**63 - 1], [-(2**63) - 1, 2**63]),
    ("WTS_CACHE_STATS_UN", "ProtocolCache", s.CacheStats, "protocol_cache", [s.ProtocolCache()], []),
]


@pytest.mark.parametrize(("structure", "array", "cls", "field", "good", "bad"), ARRAYS, ids=[row[0] for row in ARRAYS])
def test_arrays_take_as_many_items_as_the_standards_and_no_wider_ones(
    structure: str, array: str, cls: type, field: str, good: list[Any], bad: list[int], reference: dict[str, Any]
) -> None:
    fields = next(x for x in reference["structs"] if x["name"] == structure)["fields"]
    (length,) = (f["length"] for f in fields if f["name"] == array)
    for item in good:
        assert getattr(cls(**{field: (item,) * length}), field) == (item,) * length
        with pytest.raises(ValueError, match=f"{field} has {length + 1} items"):
            cls(**{field: (item,) * (length + 1)})
    for item in bad:
        with pytest.raises(ValueError, match=f"{field} is {item}"):
            cls(**{field: (item,)})


ENUMS: dict[str, type[enum.IntEnum]] = {
    "WRDS_SETTING_TYPE": enums.SettingType,
    "WRDS_SETTING_STATUS": enums.SettingStatus,
    "WRDS_SETTING_LEVEL": enums.SettingLevel,
    "WRDS_CONNECTION_SETTING_LEVEL": enums.ConnectionSettingLevel,
    "WRDS_LISTENER_SETTING_LEVEL": enums.ListenerSettingLevel,
    "WTS_RCM_SERVICE_STATE": enums.RcmServiceState,
    "WTS_RCM_DRAIN_STATE": enums.RcmDrainState,
    "WTS_LOGON_ERROR_REDIRECTOR_RESPONSE": enums.LogonErrorRedirectorResponse,
    "WTS_CERT_TYPE": enums.CertType,
    "WTS_CONNECTSTATE_CLASS": enums.ConnectState,
}


@pytest.mark.parametrize("name", ENUMS)
def test_enumerations_have_the_standards_members_and_numbers(name: str, reference: dict[str, Any]) -> None:
    published = next(e for e in reference["enums"] if e["name"] == name)["members"]
    assert sorted(int(v) for v in ENUMS[name]) == sorted(published.values())
    for member in ENUMS[name]:
        spelled = next(n for n, value in published.items() if value == member)
        assert member.name.replace("_", "").lower() in spelled.replace("_", "").lower(), (member, spelled)
