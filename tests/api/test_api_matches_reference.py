"""The package against the published API: every difference stands in one table, with a reason out of a closed set.

What is published is walked item by item (interfaces, methods, parameters, structures, fields, enumerations, members,
constants). Each has a name here by `DIFFERENCES` or by the rule of names, and what it is called by must be there and
fit. Whatever is here beyond that must be in the table too. What is in the table must be a difference.
"""

import copy
import enum
import importlib
import inspect
import pkgutil
import re
import types
import typing
import uuid
from abc import ABC
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

import rdpprov.api
from rdpprov import errors
from rdpprov.api import enums, identity, properties, shadow
from rdpprov.wire.rdp.gcc import ChannelOptions
from rdpprov.wire.rdp.virtual_channel import ChannelFlags


class Why(enum.Enum):
    """The only reasons to differ."""

    SIZE = "a size or a count goes with its buffer; two-phase queries vanish"
    COM = "COM's own: reference counting, interface pointers, memory, second kinds of success"
    SELECTOR = "which member of a union it is, the value's class says, or which of the fields is used"
    WINDOWS = "of another Windows API than this one, or of a driver"
    SUCCESSOR = "deprecated, and the same as its successor, which takes its place"
    ALWAYS = "always the same value"
    TRIO = "a task needs a nursery"
    OURS = "an extension of ours, documented as such"
    WORDS = "another word, where the rule of names gives none that can be read, or one that is taken"


# What is published -> why it is not here under the name that the rule gives it, and under which it is, if any.
# With "+" in front: what is here and not published.
DIFFERENCES: dict[str, Why | tuple[Why, str]] = {
    # Interfaces
    "IWTSProtocolLicenseConnection": (Why.SUCCESSOR, "LicenseConnection"),
    "IWTSProtocolLogonErrorRedirector": (Why.SUCCESSOR, "LogonErrorRedirector"),
    "IWTSProtocolShadowConnection": (Why.SUCCESSOR, "ShadowConnection"),
    "IWTSProtocolShadowCallback": (Why.SUCCESSOR, "ShadowCallback"),
    "IWRdsProtocolLicenseConnection": (Why.WORDS, "LicenseConnection"),
    "IWRdsProtocolLogonErrorRedirector": (Why.WORDS, "LogonErrorRedirector"),
    "IWRdsProtocolShadowConnection": (Why.WORDS, "ShadowConnection"),
    "IWRdsProtocolShadowCallback": (Why.WORDS, "ShadowCallback"),
    "+AlwaysLicensed": Why.OURS,
    "IWRdsRemoteFXGraphicsConnection.EnableRemoteFXGraphics": (Why.WORDS, "enable_remotefx_graphics"),
    "+ProtocolListener.bound_addresses": Why.OURS,
    "+ProtocolListener.fingerprint": Why.OURS,
    "+ProtocolListener.half_open_count": Why.OURS,
    "+WtsProtocolListener.bound_addresses": Why.OURS,
    "+ProtocolConnection.known_properties": Why.OURS,
    "+ProtocolConnectionCallback.issue_reconnect_secret": Why.OURS,
    "+WtsProtocolConnectionCallback.issue_reconnect_secret": Why.OURS,
    "+ProtocolConnectionCallback.resize_desktop": Why.OURS,
    "+ProtocolConnectionCallback.trace_event": Why.OURS,
    "+ProtocolConnectionCallback.trace_wire": Why.OURS,
    "+ProtocolConnectionCallback.traces_wire": Why.OURS,
    "+ProtocolSettings.authenticator": Why.OURS,
    "+ProtocolSettings.listener_options": Why.OURS,
    # Parameters
    "IWRdsProtocolManager.Initialize(pIWRdsSettings)": (Why.WORDS, "settings"),
    "IWRdsProtocolManager.Initialize(pWRdsSettings)": (Why.WORDS, "policy"),
    "IWRdsProtocolManager.NotifyServiceStateChange(pTSServiceStateChange)": (Why.WORDS, "change"),
    "IWRdsProtocolManager.NotifySettingsChange(pWRdsSettings)": (Why.WORDS, "settings"),
    "IWRdsProtocolListener.GetSettings(WRdsListenerSettingLevel)": (Why.WORDS, "level"),
    "+ProtocolListener.start_listen(task_status)": Why.TRIO,
    "+WtsProtocolListener.start_listen(task_status)": Why.TRIO,
    "IWRdsProtocolListenerCallback.OnConnected(pWRdsConnectionSettings)": (Why.WORDS, "settings"),
    "IWRdsProtocolConnection.IsUserAllowedToLogon(UserToken)": (Why.WORDS, "user"),
    "IWRdsProtocolConnection.SessionArbitrationEnumeration(hUserToken)": (Why.WORDS, "user"),
    "IWRdsProtocolConnection.SessionArbitrationEnumeration(pdwSessionIdentifierCount)": Why.SIZE,
    "IWRdsProtocolConnection.LogonNotify(hClientToken)": (Why.WORDS, "user"),
    "IWRdsProtocolConnection.LogonNotify(pWRdsConnectionSettings)": (Why.WORDS, "settings"),
    "IWRdsProtocolConnection.PreDisconnect(DisconnectReason)": (Why.WORDS, "reason"),
    "IWRdsProtocolConnection.QueryProperty(ulNumEntriesIn)": Why.SIZE,
    "IWRdsProtocolConnection.QueryProperty(ulNumEntriesOut)": Why.SIZE,
    "IWRdsProtocolConnection.QueryProperty(pPropertyEntriesIn)": (Why.WORDS, "entries_in"),
    "IWRdsProtocolConnectionCallback.RedrawWindow(rect)": (Why.WORDS, "rectangle"),
    "IWRdsProtocolConnectionSettings.SetConnectionSetting(pPropertyEntriesIn)": (Why.WORDS, "value"),
    "IWRdsProtocolSettings.GetSettings(WRdsSettingLevel)": (Why.WORDS, "level"),
    "+ProtocolSettings.get_settings(user)": Why.OURS,
    "IWRdsProtocolSettings.MergeSettings(pWRdsSettings)": (Why.WORDS, "settings"),
    "IWRdsProtocolSettings.MergeSettings(WRdsConnectionSettingLevel)": (Why.WORDS, "level"),
    "IWRdsProtocolSettings.MergeSettings(pWRdsConnectionSettings)": (Why.WORDS, "connection_settings"),
    "IWRdsProtocolLicenseConnection.RequestLicensingCapabilities(pcbLicenseCapabilities)": Why.SIZE,
    "IWRdsProtocolLicenseConnection.SendClientLicense(pClientLicense)": (Why.WORDS, "packet"),
    "IWRdsProtocolLicenseConnection.SendClientLicense(cbClientLicense)": Why.SIZE,
    "IWRdsProtocolLicenseConnection.RequestClientLicense(Reserve1)": (Why.WORDS, "reserve"),
    "IWRdsProtocolLicenseConnection.RequestClientLicense(Reserve2)": Why.SIZE,
    "IWRdsProtocolLicenseConnection.RequestClientLicense(pcbClientLicense)": Why.SIZE,
    "IWRdsProtocolLogonErrorRedirector.RedirectMessage(uType)": (Why.WORDS, "message_type"),
    "IWRdsProtocolLogonErrorRedirector.RedirectLogonError(ntsStatus)": (Why.WORDS, "status"),
    "IWRdsProtocolLogonErrorRedirector.RedirectLogonError(ntsSubstatus)": (Why.WORDS, "substatus"),
    "IWRdsProtocolLogonErrorRedirector.RedirectLogonError(uType)": (Why.WORDS, "message_type"),
    "IWRdsProtocolShadowConnection.DoTarget(Param1Size)": Why.SIZE,
    "IWRdsProtocolShadowConnection.DoTarget(Param2Size)": Why.SIZE,
    "IWRdsProtocolShadowConnection.DoTarget(Param3Size)": Why.SIZE,
    "IWRdsProtocolShadowConnection.DoTarget(Param4Size)": Why.SIZE,
    "IWRdsProtocolShadowCallback.InvokeTargetShadow(Param1Size)": Why.SIZE,
    "IWRdsProtocolShadowCallback.InvokeTargetShadow(Param2Size)": Why.SIZE,
    "IWRdsProtocolShadowCallback.InvokeTargetShadow(Param3Size)": Why.SIZE,
    "IWRdsProtocolShadowCallback.InvokeTargetShadow(Param4Size)": Why.SIZE,
    "IWRdsEnhancedFastReconnectArbitrator.GetSessionForEnhancedFastReconnect(dwSessionCount)": Why.SIZE,
    "IWRdsWddmIddProps.GetHardwareId(Count)": Why.SIZE,
    "IWRdsWddmIddProps1.GetHardwareId(Count)": Why.SIZE,
    "IWRdsGraphicsChannel.Write(cbSize)": Why.SIZE,
    "IWRdsGraphicsChannelEvents.OnDataReceived(cbSize)": Why.SIZE,
    "IWRdsGraphicsChannelEvents.OnDataSent(cbBuffer)": Why.SIZE,
    "IWTSVirtualChannel.Write(cbSize)": Why.SIZE,
    "IWTSVirtualChannel.Write(pReserved)": Why.ALWAYS,
    "IWTSVirtualChannelCallback.OnDataReceived(cbSize)": Why.SIZE,
    "IWTSProtocolManager.NotifyServiceStateChange(pTSServiceStateChange)": (Why.WORDS, "change"),
    "IWTSProtocolConnection.IsUserAllowedToLogon(UserToken)": (Why.WORDS, "user"),
    "IWTSProtocolConnection.SessionArbitrationEnumeration(hUserToken)": (Why.WORDS, "user"),
    "IWTSProtocolConnection.SessionArbitrationEnumeration(pdwSessionIdentifierCount)": Why.SIZE,
    "IWTSProtocolConnection.LogonNotify(hClientToken)": (Why.WORDS, "user"),
    "IWTSProtocolConnection.GetUserData(pClientData)": (Why.WORDS, "user_data"),
    "IWTSProtocolConnection.QueryProperty(ulNumEntriesIn)": Why.SIZE,
    "IWTSProtocolConnection.QueryProperty(ulNumEntriesOut)": Why.SIZE,
    "IWTSProtocolConnection.QueryProperty(pPropertyEntriesIn)": (Why.WORDS, "entries_in"),
    "IWTSProtocolConnectionCallback.RedrawWindow(rect)": (Why.WORDS, "rectangle"),
    # Structures
    "WTS_SYSTEMTIME": (Why.WORDS, "SystemTime"),
    "WTS_SOCKADDR": (Why.WORDS, "SockAddr"),
    "WTS_SOCKADDR.u": Why.SELECTOR,
    "WTS_SOCKADDR.u.ipv4": (Why.SELECTOR, "SockAddr"),
    "WTS_SOCKADDR.u.ipv6": (Why.SELECTOR, "SockAddr"),
    "WTS_SOCKADDR.u.ipv4.IN_ADDR": (Why.WORDS, "address"),
    "WTS_SOCKADDR.u.ipv4.sin_zero": Why.ALWAYS,
    "WTS_SOCKADDR.u.ipv6.sin6_port": (Why.WORDS, "port"),
    "WTS_SOCKADDR.u.ipv6.sin6_flowinfo": (Why.WORDS, "flow_info"),
    "WTS_SOCKADDR.u.ipv6.sin6_addr": (Why.WORDS, "address"),
    "WTS_SOCKADDR.u.ipv6.sin6_scope_id": (Why.WORDS, "scope_id"),
    "WRDS_CONNECTION_SETTING": Why.SELECTOR,
    "WRDS_CONNECTION_SETTINGS.WRdsConnectionSettingLevel": Why.SELECTOR,
    "WRDS_CONNECTION_SETTINGS.WRdsConnectionSetting": Why.SELECTOR,
    "WRDS_LISTENER_SETTING": Why.SELECTOR,
    "WRDS_LISTENER_SETTINGS.WRdsListenerSettingLevel": Why.SELECTOR,
    "WRDS_LISTENER_SETTINGS.WRdsListenerSetting": Why.SELECTOR,
    "WRDS_SETTING": Why.SELECTOR,
    "WRDS_SETTINGS.WRdsSettingLevel": Why.SELECTOR,
    "WRDS_SETTINGS.WRdsSetting": Why.SELECTOR,
    "WRDS_CONNECTION_SETTINGS_1.ContextSize": Why.SIZE,
    "WRDS_LISTENER_SETTINGS_1.SecurityDescriptorSize": Why.SIZE,
    "WTS_LICENSE_CAPABILITIES.cbClientName": Why.SIZE,
    "WTS_PROTOCOL_COUNTERS.Length": Why.SIZE,
    "WTS_SERIALIZED_USER_CREDENTIAL.SerializationLength": Why.SIZE,
    "WTS_DISPLAY_IOCTL.cbDisplayIOCtlData": Why.SIZE,
    "WTS_DISPLAY_IOCTL.pDisplayIOCtlData": (Why.WORDS, "data"),
    "WTS_CACHE_STATS.Specific": Why.SELECTOR,
    "WTS_CACHE_STATS.Data": Why.SELECTOR,
    "WTS_CACHE_STATS.Length": Why.SIZE,
    "WTS_CACHE_STATS_UN": (Why.SELECTOR, "CacheStats"),
    "WTS_CACHE_STATS_UN.TShareCacheStats": (Why.WORDS, "tshare_cache_stats"),
    "WTS_PROPERTY_VALUE.Type": Why.SELECTOR,
    "WTS_PROPERTY_VALUE.u": Why.SELECTOR,
    "+PropertyValue.value": Why.SELECTOR,
    "WTS_PROPERTY_VALUE.u.strVal": Why.SIZE,
    "WTS_PROPERTY_VALUE.u.bVal": Why.SIZE,
    "TSMF_SUPPORT_DATA_IN.numEntries": Why.SIZE,
    "TSMF_SUPPORT_DATA_OUT.numEntries": Why.SIZE,
    "TSMF_SUPPORT_NODEDATA_IN.byteCount": Why.SIZE,
    "TSMF_SUPPORT_NODEDATA_IN.numMediaTypes": Why.SIZE,
    "TSMF_SUPPORT_NODEDATA_IN": (Why.WORDS, "SupportNodeDataIn"),
    "TSMF_SUPPORT_NODEDATA_OUT": (Why.WORDS, "SupportNodeDataOut"),
    "WRDS_SETTINGS_1.WRdsEncryptionValue": (Why.WORDS, "encryption_level"),
    "WRDS_SETTINGS_1.WRdsDisableAutoReconnecetStatus": (Why.WORDS, "disable_auto_reconnect"),
    "WRDS_SETTINGS_1.WRdsDisableAutoReconnecetValue": (Why.WORDS, "disable_auto_reconnect"),
    "WRDS_SETTINGS_1.WRdsKeepAliveIntervalValue": (Why.WORDS, "keep_alive"),
    "+UserCredential.proof": Why.OURS,
    # Enumerations and constants
    "WTS_CONNECTSTATE_CLASS": (Why.WORDS, "ConnectState"),
    "WTS_TYPE_CLASS": Why.COM,
    "S_FALSE": Why.COM,
    "E_NOINTERFACE": Why.COM,
    "E_OUTOFMEMORY": Why.COM,
    "E_POINTER": Why.COM,
    "CHANNEL_FLAG_FAIL": Why.WINDOWS,
    "CHANNEL_FLAG_MIDDLE": Why.WINDOWS,
    "CHANNEL_OPTION_REMOTE_CONTROL_PERSISTENT": (Why.WORDS, "REMOTE_CONTROL_PERSISTENT"),
    "WRdsGraphicsChannels_LossyChannelMaxMessageSize": (Why.WORDS, "LOSSY_CHANNEL_MAX_MESSAGE_SIZE"),
    "WTS_CURRENT_SESSION": Why.WINDOWS,
    "WTS_LISTENER_CREATE": Why.WINDOWS,
    "WTS_LISTENER_UPDATE": Why.WINDOWS,
    "WTS_SESSIONSTATE_LOCK": Why.WINDOWS,
    "WTS_SESSIONSTATE_UNKNOWN": Why.WINDOWS,
    "WTS_SESSIONSTATE_UNLOCK": Why.WINDOWS,
    "+HotkeyModifiers.NONE": Why.OURS,
    "+ProtocolType.CUSTOM": Why.OURS,
    "+NtStatus.STATUS_SUCCESS": Why.OURS,
    "+NtStatus.STATUS_PASSWORD_MUST_CHANGE": Why.OURS,
    "+NtStatus.STATUS_ACCOUNT_LOCKED_OUT": Why.OURS,
    "+NtStatus.STATUS_ACCOUNT_EXPIRED": Why.OURS,
}


def api_modules() -> Iterator[types.ModuleType]:
    for module in pkgutil.iter_modules(rdpprov.api.__path__, "rdpprov.api."):
        yield importlib.import_module(module.name)


HERE: dict[str, Any] = {
    name: value
    for module in [*api_modules(), errors]
    for name, value in vars(module).items()
    if not name.startswith("_")
    and (not isinstance(value, type | types.FunctionType) or value.__module__.startswith("rdpprov."))
}
"""Everything public in the API, by name."""

# Enumerations whose members are single constants of the standard: what is in front of the name there, and behind it.
CONSTANTS: list[tuple[str, str, type[enum.IntEnum] | type[enum.IntFlag]]] = [
    ("WTS_PERF_", "", enums.PerformanceFlags),
    ("WTS_VALUE_TYPE_", "", enums.ValueType),
    ("WTS_PROTOCOL_TYPE_", "", enums.ProtocolType),
    ("WTS_KEY_EXCHANGE_ALG_", "", enums.KeyExchangeAlg),
    ("WTS_CHANNEL_OPTION_DYNAMIC_PRI_", "", enums.ChannelPriority),
    ("REMOTECONTROL_KBD", "_HOTKEY", shadow.HotkeyModifiers),
    ("", "", identity.NtStatus),
    ("WTS_", "", enums.SessionChange),
    ("", "", ChannelFlags),
    ("", "", ChannelOptions),
]
OF_THE_WIRE = {ChannelFlags, ChannelOptions}
"""They have more members, of [MS-RDPBCGR]."""


def words(name: str) -> str:
    """The rule of names for what is a method, a parameter or a field: the standard's words without C's prefixes."""
    prefixes = r"psz|wsz|ppunk|pp|pcb|cb|pdw|dw|rgb|guid|clsid|hr|ul|sz|w|b|p|f|h|n|u"
    name = re.sub(rf"^(?:{prefixes})(?=[A-Z])|^sin_|^W?Rds", "", name)
    name = name.replace("LPT", "Lpt").replace("PNP", "Pnp").replace("HRes", "H_res").replace("VRes", "V_res")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def class_name(name: str) -> str:
    """... and for what is a class."""
    if name.startswith("IW"):
        return re.sub(r"^IWTSProtocol", "WtsProtocol", re.sub(r"^IWRds", "", name)).removeprefix("IWTS")
    if name.startswith("WRds"):
        return name.removeprefix("WRds")
    name = re.sub(r"^(WTS|WRDS|TSMF)_|_1$", "", name)
    return "".join(word.capitalize() for word in name.split("_"))


class Comparison:
    """Walks over what is published, and notes what it does not find and what it did."""

    def __init__(self, reference: dict[str, Any]) -> None:
        self.reference = reference
        self.problems: list[str] = []
        self.used: set[str] = set()
        self.matched: set[str] = set()
        """What is here and published: ``Class``, ``Class.member``, ``Class.method(parameter)``."""

    def name_of(self, path: str, by_rule: str) -> str | None:
        """What it is called here; None: nothing."""
        if path not in DIFFERENCES:
            return by_rule
        self.used.add(path)
        entry = DIFFERENCES[path]
        return entry[1] if isinstance(entry, tuple) else None

    def problem(self, path: str, text: str) -> None:
        self.problems.append(f"{path}: {text}")

    def compare(self) -> None:
        for interface in self.reference["interfaces"]:
            self.interface(interface)
        for structure in self.reference["structs"]:
            self.structure(structure)
        for enumeration in self.reference["enums"]:
            self.enumeration(enumeration)
        for name, value in self.reference["constants"].items():
            self.constant(name, value)
        self.beyond()
        self.problems.extend(f"{path}: is in the table and no difference" for path in DIFFERENCES.keys() - self.used)

    def class_of(self, path: str) -> type | None:
        name = self.name_of(path, class_name(path))
        if name is None:
            return None
        if not isinstance(found := HERE.get(name), type):
            self.problem(path, f"there is no {name}")
            return None
        self.matched.add(name)
        return found

    # Interfaces

    def interface(self, published: dict[str, Any]) -> None:
        path = published["name"]
        if (cls := self.class_of(path)) is None:
            return
        if DIFFERENCES.get(path, (None,))[0] is Why.SUCCESSOR:  # type: ignore[index]
            self.same_as_successor(published)
            return
        if not (cls.__doc__ or "").startswith(f"{path}:"):
            self.problem(path, "its docstring begins with something else")
        if published["extends"] != "IUnknown" and not issubclass(cls, HERE[class_name(published["extends"])]):
            self.problem(path, f"does not extend {published['extends']}")
        for method in published["methods"]:
            self.method(published, method, cls)

    def same_as_successor(self, published: dict[str, Any]) -> None:
        path = published["name"]
        successor = next(i for i in self.reference["interfaces"] if i["name"] == published["replaced_by"])

        def shape(interface: dict[str, Any]) -> list[Any]:
            return [
                (m["name"], [(p["name"], p["direction"], p["type"].replace("IWTS", "IWRds")) for p in m["params"]])
                for m in interface["methods"]
            ]

        if shape(published) != shape(successor):
            self.problem(path, "is not the same as its successor")

    def method(self, interface: dict[str, Any], published: dict[str, Any], cls: type) -> None:
        path = f"{interface['name']}.{published['name']}"
        name = self.name_of(path, words(published["name"]))
        if name is None:
            return
        function = inspect.getattr_static(cls, name, None)
        if not inspect.isfunction(function):
            self.problem(path, f"there is no {cls.__name__}.{name}")
            return
        self.matched.add(f"{cls.__name__}.{name}")
        if not (function.__doc__ or "").startswith(f"{path}:"):
            self.problem(path, "its docstring begins with something else")
        # What is called by the service waits for the provider; a callback into the service returns at once.
        asynchronous = interface["implemented_by"] == "provider" or published["name"] == "OnConnected"
        if inspect.iscoroutinefunction(function) != asynchronous:
            self.problem(path, f"should {'' if asynchronous else 'not '}be async")
        hints = typing.get_type_hints(function)
        given = [p for p in published["params"] if p["direction"] != "out"]
        returned = [p for p in published["params"] if p["direction"] != "in"]
        for parameter in given:
            self.parameter(path, parameter, f"{cls.__name__}.{name}", hints)
        returned = [p for p in returned if DIFFERENCES.get(f"{path}({p['name']})") is not Why.SIZE]
        if bool(returned) == (hints["return"] is type(None)):
            self.problem(path, f"returns {hints['return']}, and should {'not ' if returned else ''}return None")
        for parameter in list(inspect.signature(function).parameters)[1:]:
            if f"{cls.__name__}.{name}({parameter})" not in self.matched:
                self.not_published(f"{cls.__name__}.{name}({parameter})")

    def parameter(self, path: str, published: dict[str, Any], here: str, hints: dict[str, Any]) -> None:
        path = f"{path}({published['name']})"
        name = self.name_of(path, words(published["name"]))
        if name is None:
            return
        if name not in hints:
            self.problem(path, f"there is no parameter {name}")
            return
        self.matched.add(f"{here}({name})")
        expected = str if published["name"].startswith("psz") else self.type_of(published["type"])
        if expected is not None and not any(_is_a(hint, expected) for hint in _alternatives(hints[name])):
            self.problem(path, f"is a {hints[name]}, and should be a {expected}")

    def type_of(self, published: str) -> type | None:
        """What a parameter of a published type is here; None: a handle or any object."""
        match published.rstrip("*"):
            case "PWSTR" | "PSTR" | "BSTR":
                return str
            case "BOOL" | "BOOLEAN":
                return bool
            case "Guid":
                return uuid.UUID
            case "Byte" if published.endswith("*"):
                return bytes
            case "HRESULT" | "Byte" | "UInt16" | "UInt32" | "UInt64" | "Int32":
                return int
            case "HANDLE_PTR" | "IUnknown" | "UIntPtr":
                return None
            case name:
                entry = DIFFERENCES.get(name)
                found = HERE.get(entry[1] if isinstance(entry, tuple) else class_name(name))
                return found if isinstance(found, type) else None

    # Structures

    def structure(self, published: dict[str, Any]) -> None:
        path = published["name"]
        if (cls := self.class_of(path)) is None:
            return
        for field in published["fields"]:
            self.field(f"{path}.{field['name']}", field, cls)

    def field(self, path: str, published: dict[str, Any], cls: type) -> None:
        rule = published["name"]
        if path.startswith("WRDS_SETTINGS_1."):  # a status and its value are one `Setting`
            rule = re.sub(r"(Status|Value)$", "", rule)
        name = self.name_of(path, words(rule))
        if name is None:
            return
        if name not in attrs.fields_dict(cls):
            self.problem(path, f"there is no {cls.__name__}.{name}")
            return
        self.matched.add(f"{cls.__name__}.{name}")
        if text := self.misfit(path, published, cls, name):
            self.problem(path, text)

    def misfit(self, path: str, published: dict[str, Any], cls: type, name: str) -> str | None:
        """What does not fit about a field; None: it fits."""
        field = attrs.fields_dict(cls)[name]
        hint = typing.get_type_hints(cls)[name]
        kind, length = published["type"], published.get("length")
        if hint is HERE["Setting"] or (path.startswith("WTS_SOCKADDR.u") and hint is str):
            return None  # a status and its value; the bytes of an address, as text
        if isinstance(hint, type) and issubclass(hint, enum.Enum):
            return None if issubclass(hint, int) else "is no number"
        if kind in ("Char", "Byte") and length is not None:
            one = "x" if hint is str else b"x"
            longest = length - 1 if hint is str else length
            tries = [(one * longest, True), (one * (longest + 1), False)]
            if hint is str:  # two units for a character beyond the first plane
                tries.append(("\U0001f600" * (length // 2 + 1), False))
        elif length is not None:
            item = {"UInt32": 0xFFFFFFFF, "Int64": (1 << 63) - 1}.get(kind)
            item = HERE[class_name(kind)]() if item is None else item
            tries = [((item,) * length, True), ((item,) * (length + 1), False)]
            tries += [((item + 1,), False)] if isinstance(item, int) else []
        elif bits := re.fullmatch(r"(U?)Int(16|32|64)|Byte|HRESULT", kind):
            width = int(bits[2] or (8 if kind == "Byte" else 32))
            signed = kind.startswith("I")
            top = (1 << (width - signed)) - 1
            bottom = -top - 1 if signed else 0
            tries = [(top, True), (top + 1, False), (bottom, True), (bottom - 1, False)]
        elif kind in ("BOOL", "BOOLEAN"):
            return None if hint is bool and field.default is False else "is no flag that is off"
        elif kind == "Guid":
            return None if hint is uuid.UUID else "is no GUID"
        elif kind == "Byte*":
            return None if hint is bytes else "is not of bytes"
        elif "length_field" in published:
            return None if typing.get_origin(hint) is tuple else "is no tuple"
        else:
            return None if hint in (self.type_of(kind), int, uuid.UUID) else f"is a {hint}"
        return next((text for value, good in tries if (text := _tried(cls, name, value, good))), None)

    # Enumerations and constants

    def enumeration(self, published: dict[str, Any]) -> None:
        path = published["name"]
        if (cls := self.class_of(path)) is None:
            return
        assert issubclass(cls, enum.IntEnum)
        for spelled, value in published["members"].items():
            member = next((m for m in cls if m == value), None)
            if member is None or not _plain(spelled).endswith(_plain(member.name)):
                self.problem(f"{path}.{spelled}", f"is {member!r} here")
                continue
            self.matched.add(f"{cls.__name__}.{member.name}")

    def constant(self, path: str, value: object) -> None:
        if path.startswith("WRDS_") and self.reference["constants"].get(f"WTS_{path[5:]}", object()) == value:
            return  # two names for one thing
        name = self.name_of(path, path)
        if name is None:
            return
        for prefix, suffix, cls in CONSTANTS:
            member = name.removeprefix(prefix).removesuffix(suffix)
            if name.startswith(prefix) and name.endswith(suffix) and member in cls.__members__:
                self.matched.add(f"{cls.__name__}.{member}")
                here: object = int(cls[member])
                break
        else:
            here = HERE.get(name)
        if isinstance(here, properties.Property):
            here = here.guid
        if (str(here) if isinstance(here, uuid.UUID) else here) != value:
            self.problem(path, f"is {here!r}, and should be {value!r}")

    # What is here and not published

    def not_published(self, here: str) -> None:
        if DIFFERENCES.get(f"+{here}") is not None:
            self.used.add(f"+{here}")
        else:
            self.problem(here, "is not published")

    def beyond(self) -> None:
        for name, cls in HERE.items():
            if isinstance(cls, type) and issubclass(cls, ABC) and cls.__name__ == name and name not in self.matched:
                self.not_published(name)
        constants = {cls.__name__: cls for _, _, cls in CONSTANTS if cls not in OF_THE_WIRE}
        for name in sorted({name for name in self.matched if "." not in name} | set(constants)):
            cls = constants.get(name) or HERE[name]
            if issubclass(cls, enum.Enum):
                members = list(cls.__members__)
            elif attrs.has(cls):
                members = [field.name for field in attrs.fields(cls)]
            else:
                members = [member for member in vars(cls) if not member.startswith("_")]
                if cls.__base__ is not None and cls.__base__ not in (ABC, object):
                    inherited = {member for base in cls.__mro__[1:] for member in vars(base)}
                    members = [member for member in members if member not in inherited]
            for member in members:
                if f"{name}.{member}" not in self.matched:
                    self.not_published(f"{name}.{member}")


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _alternatives(hint: Any) -> list[Any]:
    return [*typing.get_args(hint)] if typing.get_origin(hint) in (typing.Union, types.UnionType) else [hint]


def _is_a(hint: Any, expected: type) -> bool:
    origin = typing.get_origin(hint)
    if origin is not None:  # a sequence of what the standard passes a pointer to
        return any(_is_a(item, expected) for item in typing.get_args(hint))
    return isinstance(hint, type) and issubclass(hint, expected)


REQUIRED = {"SessionId": {"session_unique_guid": uuid.UUID(int=0)}, "PropertyValue": {"value": 0}}


def _tried(cls: type, name: str, value: object, good: bool) -> str | None:
    """What a field does with a value that it should or should not take, if that is not it."""
    shown = f"{name}={value!r:.40}"
    try:
        made = cls(**{**REQUIRED.get(cls.__name__, {}), name: value})
    except ValueError as error:
        return f"refuses {shown}" if good or name not in str(error) else None
    return None if good and getattr(made, name) == value else f"takes {shown}"


def test_every_difference_from_the_published_api_is_in_the_table_with_its_reason(reference: dict[str, Any]) -> None:
    comparison = Comparison(reference)
    comparison.compare()
    assert not comparison.problems, "\n".join(["", *comparison.problems])


def interface(reference: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in reference["interfaces"] if each["name"] == name)


def structure(reference: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in reference["structs"] if each["name"] == name)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda r: interface(r, "IWRdsWddmIddProps")["methods"].pop(3), "WddmIddProps.enable_wddm_idd: is not publ"),
        (
            lambda r: interface(r, "IWRdsProtocolManager")["methods"][1].update(name="MakeListener"),
            "IWRdsProtocolManager.MakeListener: there is no ProtocolManager.make_listener",
        ),
        (
            lambda r: interface(r, "IWRdsProtocolConnection")["methods"][5]["params"].clear(),
            "IWRdsProtocolConnection.GetLicenseConnection: returns .* and should return None",
        ),
        (
            lambda r: interface(r, "IWRdsProtocolConnection")["methods"][10]["params"][0].update(type="PWSTR"),
            r"IWRdsProtocolConnection.ConnectNotify\(SessionId\): is a <class 'int'>, and should be a <class 'str'>",
        ),
        (lambda r: interface(r, "IWRdsProtocolListener").update(implemented_by="service"), "should not be async"),
        (lambda r: interface(r, "IWTSProtocolShadowConnection")["methods"].pop(), "not the same as its successor"),
        (
            lambda r: r["interfaces"].remove(interface(r, "IWTSPlugin")),
            "Plugin: is not published",
        ),
        (lambda r: structure(r, "WTS_USER_CREDENTIAL")["fields"][0].update(length=255), "UserName: takes user_name"),
        (lambda r: structure(r, "WTS_USER_CREDENTIAL")["fields"][0].update(length=257), "UserName: refuses user_name"),
        (lambda r: structure(r, "WTS_SMALL_RECT")["fields"][0].update(type="UInt16"), "Left: refuses left=65535"),
        (lambda r: structure(r, "WTS_PROTOCOL_STATUS")["fields"][5].update(length=99), "Counters: takes counters="),
        (lambda r: structure(r, "WTS_SERVICE_STATE")["fields"].pop(), "ServiceState.rcm_drain_state: is not published"),
        (lambda r: r["enums"][4]["members"].update(WRDS_SETTING_TYPE_SAM=4), "WRDS_SETTING_TYPE_SAM: is None here"),
        (lambda r: r["constants"].update(WTS_MAX_RESERVED=101), "WTS_MAX_RESERVED: is 100, and should be 101"),
        (lambda r: r["constants"].pop("WTS_CURRENT_SESSION"), "is in the table and no difference"),
        (
            lambda r: r["constants"].update(WTS_QUERY_AUDIOENUM_DLL="9bf4fa97-c883-4c2a-80ab-5a39c9af00dc"),
            "WTS_QUERY_AUDIOENUM_DLL: is ",
        ),
    ],
)
def test_a_difference_is_named(reference: dict[str, Any], change: Any, problem: str) -> None:
    published = copy.deepcopy(reference)
    change(published)
    comparison = Comparison(published)
    comparison.compare()
    assert any(re.search(problem, text) for text in comparison.problems), comparison.problems


def test_what_only_real_services_ask_is_listed_apart(reference: dict[str, Any]) -> None:
    observed = {name: guid for name, guid in reference["observed_undocumented_constants"].items() if name != "note"}
    assert observed == {name: str(guid) for guid, name in properties.UNDOCUMENTED_PROPERTIES.items()}
    assert not properties.UNDOCUMENTED_PROPERTIES.keys() & properties.PROPERTIES.keys()
