"""What is said about the session while it is active: how it ends, who logged on, monitors, status, lamps, sound.

Source: [MS-RDPBCGR] 2.2.2 "Disconnection", 2.2.4 "Auto-Reconnect", 2.2.5 "Server Error Reporting and Status Updates",
2.2.8.2 "Keyboard Status", 2.2.9.1.1.5 "Play Sound", 2.2.10 "Logon and Authorization", 2.2.12 "Display Updates".
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, ClassVar, Self, TypeVar

import attrs
from construct import Bytes, Construct, Int16ul, Int32ul, Padding, Struct

from rdpprov.errinfo import ErrInfo
from rdpprov.errors import LocalProtocolError
from rdpprov.wire.base import (
    Buffer,
    DecodeError,
    Reader,
    bounded_text,
    uint16,
    uint32,
    utf16_bytes,
    utf16_text,
)
from rdpprov.wire.rdp.auto_reconnect import ServerAutoReconnectPacket
from rdpprov.wire.rdp.gcc import MonitorDef
from rdpprov.wire.rdp.share import LaidOut, PduType2


@attrs.frozen
class ShutdownRequest(LaidOut):
    """TS_SHUTDOWN_REQ_PDU: the user closes the client's window: may it go? No body.

    Source: [MS-RDPBCGR] 2.2.2.2.1 "Shutdown Request PDU Data".
    """

    PDU_TYPE2: ClassVar[PduType2] = PduType2.PDUTYPE2_SHUTDOWN_REQUEST
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct()


@attrs.frozen
class ShutdownDenied(LaidOut):
    """TS_SHUTDOWN_DENIED_PDU: somebody is logged on: the session stays, and the client asks its user. No body.

    Source: [MS-RDPBCGR] 2.2.2.3.1 "Shutdown Request Denied PDU Data".
    """

    PDU_TYPE2: ClassVar[PduType2] = PduType2.PDUTYPE2_SHUTDOWN_DENIED
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct()


@attrs.frozen
class SetErrorInfo(LaidOut):
    """TS_SET_ERROR_INFO_PDU: why the connection will end, or 0. 4 bytes.

    fact 77: it goes before the disconnect ultimatum; FreeRDP takes a bare ultimatum for a logoff by the user.

    Source: [MS-RDPBCGR] 2.2.5.1.1 "Set Error Info PDU Data".
    """

    PDU_TYPE2: ClassVar[PduType2] = PduType2.PDUTYPE2_SET_ERROR_INFO_PDU
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct("error_info" / Int32ul)

    error_info: int = uint32()
    """An `ErrInfo`; newer servers send others."""


class InfoType(IntEnum):
    """infoType of TS_SAVE_SESSION_INFO_PDU_DATA."""

    INFOTYPE_LOGON = 0
    INFOTYPE_LOGON_LONG = 1
    INFOTYPE_LOGON_PLAINNOTIFY = 2
    INFOTYPE_LOGON_EXTENDED_INF = 3


_DOMAIN_SIZE = 52
_USER_SIZE = 512


@attrs.frozen
class LogonInfo(LaidOut):
    """TS_LOGON_INFO: who logged on, in fields of fixed size. 576 bytes.

    Source: [MS-RDPBCGR] 2.2.10.1.1.1 "Logon Info Version 1".
    """

    INFO_TYPE: ClassVar[InfoType] = InfoType.INFOTYPE_LOGON
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct(
        "cb_domain" / Int32ul,
        "domain" / Bytes(_DOMAIN_SIZE),
        "cb_user_name" / Int32ul,
        "user_name" / Bytes(_USER_SIZE),
        "session_id" / Int32ul,
    )

    domain: str = bounded_text(_DOMAIN_SIZE - 2)
    """Up to 25 UTF-16 code units."""
    user_name: str = bounded_text(_USER_SIZE - 2)
    """Up to 255 UTF-16 code units."""
    session_id: int = uint32()
    """The session's number."""

    @property
    def cb_domain(self) -> int:
        """Bytes of the domain with its terminator."""
        return len(utf16_bytes(self.domain))

    @property
    def cb_user_name(self) -> int:
        """Bytes of the user name with its terminator."""
        return len(utf16_bytes(self.user_name))

    def _wire_values(self) -> dict[str, Any]:
        return {
            "cb_domain": self.cb_domain,
            "domain": utf16_bytes(self.domain, _DOMAIN_SIZE),
            "cb_user_name": self.cb_user_name,
            "user_name": utf16_bytes(self.user_name, _USER_SIZE),
            "session_id": self.session_id,
        }

    @classmethod
    def _from_wire(cls, parsed: Any) -> Self:
        if parsed.cb_domain > _DOMAIN_SIZE or parsed.cb_user_name > _USER_SIZE:
            raise DecodeError(f"TS_LOGON_INFO: cbDomain {parsed.cb_domain}, cbUserName {parsed.cb_user_name}")
        domain = _text(parsed.domain[: parsed.cb_domain], _DOMAIN_SIZE - 2)
        return cls(domain, _text(parsed.user_name[: parsed.cb_user_name], _USER_SIZE - 2), parsed.session_id)


def _text(data: bytes, limit: int) -> str:
    """A text that its sender may not have terminated."""
    return utf16_text(data[:limit])


_SAVE_SESSION_PDU_VERSION_ONE = 1
_LOGON_INFO_VERSION_2_SIZE = 18
_LOGON_INFO_VERSION_2_PAD = 558


@attrs.frozen
class LogonInfoVersion2:
    """TS_LOGON_INFO_VERSION_2: who logged on, in fields of any size. For clients with LONG_CREDENTIALS_SUPPORTED.

    Source: [MS-RDPBCGR] 2.2.10.1.1.2 "Logon Info Version 2".
    """

    INFO_TYPE: ClassVar[InfoType] = InfoType.INFOTYPE_LOGON_LONG

    domain: str = bounded_text(0xFFFF)
    """The user's domain."""
    user_name: str = bounded_text(0xFFFF)
    """The user's name."""
    session_id: int = uint32()
    """The session's number."""

    @property
    def version(self) -> int:
        """SAVE_SESSION_PDU_VERSION_ONE."""
        return _SAVE_SESSION_PDU_VERSION_ONE

    @property
    def size(self) -> int:
        """18: bytes of the fixed fields, which is what every peer takes the field to mean (fact 74)."""
        return _LOGON_INFO_VERSION_2_SIZE

    @property
    def cb_domain(self) -> int:
        """Bytes of the domain with its terminator."""
        return len(utf16_bytes(self.domain))

    @property
    def cb_user_name(self) -> int:
        """Bytes of the user name with its terminator."""
        return len(utf16_bytes(self.user_name))

    def pack(self) -> bytes:
        """The bytes behind infoType."""
        domain, user_name = utf16_bytes(self.domain), utf16_bytes(self.user_name)
        return b"".join((
            self.version.to_bytes(2, "little"),
            self.size.to_bytes(4, "little"),
            self.session_id.to_bytes(4, "little"),
            len(domain).to_bytes(4, "little"),
            len(user_name).to_bytes(4, "little"),
            bytes(_LOGON_INFO_VERSION_2_PAD),
            domain,
            user_name,
        ))  # fmt: skip

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[LogonInfoVersion2, bytes]:
        """Take one off the front of `data`. fact 74: Windows 11 sends further padding, which is in the rest.

        Raises:
            DecodeError: cut off, another version or size.
        """
        reader = Reader(data, "TS_LOGON_INFO_VERSION_2")
        if (version := reader.u16()) != _SAVE_SESSION_PDU_VERSION_ONE:
            raise DecodeError(f"{reader.structure}: Version {version}, not 1")
        if (size := reader.u32()) != _LOGON_INFO_VERSION_2_SIZE:
            raise DecodeError(f"{reader.structure}: Size {size}, not 18")
        session_id, cb_domain, cb_user_name = reader.u32(), reader.u32(), reader.u32()
        reader.skip(_LOGON_INFO_VERSION_2_PAD)
        domain = _text(reader.take(cb_domain), 0xFFFE)
        user_name = _text(reader.take(cb_user_name), 0xFFFE)
        return cls(domain, user_name, session_id), reader.rest()


@attrs.frozen
class PlainNotify(LaidOut):
    """TS_PLAIN_NOTIFY: somebody logged on. 576 bytes of padding.

    Source: [MS-RDPBCGR] 2.2.10.1.1.3 "Plain Notify".
    """

    INFO_TYPE: ClassVar[InfoType] = InfoType.INFOTYPE_LOGON_PLAINNOTIFY
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct(Padding(576))


class LogonErrorNotificationType(IntEnum):
    """ErrorNotificationType of TS_LOGON_ERRORS_INFO."""

    LOGON_MSG_DISCONNECT_REFUSED = 0xFFFFFFF9
    LOGON_MSG_NO_PERMISSION = 0xFFFFFFFA
    LOGON_MSG_BUMP_OPTIONS = 0xFFFFFFFB
    LOGON_MSG_RECONNECT_OPTIONS = 0xFFFFFFFC
    LOGON_MSG_SESSION_TERMINATE = 0xFFFFFFFD
    LOGON_MSG_SESSION_CONTINUE = 0xFFFFFFFE


class LogonErrorNotificationData(IntEnum):
    """ErrorNotificationData of TS_LOGON_ERRORS_INFO, where it is not the number of a session."""

    LOGON_FAILED_BAD_PASSWORD = 0
    LOGON_FAILED_UPDATE_PASSWORD = 1
    LOGON_FAILED_OTHER = 2
    LOGON_WARNING = 3


@attrs.frozen
class LogonErrorsInfo(LaidOut):
    """TS_LOGON_ERRORS_INFO: what the logon screen shows just now. 8 bytes.

    Source: [MS-RDPBCGR] 2.2.10.1.1.4.1.1 "Logon Errors Info".
    """

    LAYOUT: ClassVar[Construct[Any, Any]] = Struct(
        "error_notification_type" / Int32ul, "error_notification_data" / Int32ul
    )

    error_notification_type: LogonErrorNotificationType
    """Which message."""
    error_notification_data: int = uint32()
    """The session's number, or a `LogonErrorNotificationData`."""

    @classmethod
    def _from_wire(cls, parsed: Any) -> Self:
        try:
            parsed.error_notification_type = LogonErrorNotificationType(parsed.error_notification_type)
        except ValueError:
            kind = parsed.error_notification_type
            raise DecodeError(f"TS_LOGON_ERRORS_INFO: ErrorNotificationType {kind:#x} is not known") from None
        return super()._from_wire(parsed)


class FieldsPresent(IntEnum):
    """Bits of FieldsPresent of TS_LOGON_INFO_EXTENDED."""

    LOGON_EX_AUTORECONNECTCOOKIE = 0x01
    LOGON_EX_LOGONERRORS = 0x02


_LOGON_INFO_EXTENDED_PAD = 570


@attrs.frozen
class LogonInfoExtended:
    """TS_LOGON_INFO_EXTENDED: an auto-reconnect cookie, logon errors, or both.

    Source: [MS-RDPBCGR] 2.2.10.1.1.4 "Logon Info Extended".
    """

    INFO_TYPE: ClassVar[InfoType] = InfoType.INFOTYPE_LOGON_EXTENDED_INF

    auto_reconnect: ServerAutoReconnectPacket | None = None
    """For clients with AUTORECONNECT_SUPPORTED (ARC-01)."""
    logon_errors: LogonErrorsInfo | None = None
    """For clients with INFO_LOGONERRORS (SES-03)."""

    @property
    def fields_present(self) -> int:
        """`FieldsPresent`."""
        present = FieldsPresent.LOGON_EX_AUTORECONNECTCOOKIE if self.auto_reconnect else 0
        return present | (FieldsPresent.LOGON_EX_LOGONERRORS if self.logon_errors else 0)

    @property
    def length(self) -> int:
        """Bytes of the structure without its padding."""
        return 6 + sum(4 + len(field.pack()) for field in self._fields())

    def _fields(self) -> list[ServerAutoReconnectPacket | LogonErrorsInfo]:
        return [field for field in (self.auto_reconnect, self.logon_errors) if field is not None]

    def pack(self) -> bytes:
        """The bytes behind infoType."""
        fields = [field.pack() for field in self._fields()]
        return b"".join((
            self.length.to_bytes(2, "little"),
            self.fields_present.to_bytes(4, "little"),
            *(len(field).to_bytes(4, "little") + field for field in fields),
            bytes(_LOGON_INFO_EXTENDED_PAD),
        ))  # fmt: skip

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[LogonInfoExtended, bytes]:
        """Take one off the front of `data`; its padding may be missing, and is not in the rest.

        Raises:
            DecodeError: cut off, or a field of impossible size or contents.
        """
        reader = Reader(data, "TS_LOGON_INFO_EXTENDED")
        length = reader.u16()
        if length < 6:
            raise DecodeError(f"{reader.structure}: Length {length} is below its own 6")
        fields = reader.block(length - 2)
        present = fields.u32()
        auto_reconnect = logon_errors = None
        if present & FieldsPresent.LOGON_EX_AUTORECONNECTCOOKIE:
            auto_reconnect = _field(ServerAutoReconnectPacket, fields)
        if present & FieldsPresent.LOGON_EX_LOGONERRORS:
            logon_errors = _field(LogonErrorsInfo, fields)
        reader.skip(min(_LOGON_INFO_EXTENDED_PAD, reader.remaining))
        return cls(auto_reconnect, logon_errors), reader.rest()


F = TypeVar("F", ServerAutoReconnectPacket, LogonErrorsInfo)


def _field(kind: type[F], reader: Reader) -> F:
    structure, rest = kind.unpack(reader.view(reader.u32()))
    if rest:
        raise DecodeError(f"{reader.structure}: cbFieldData is {len(rest)} bytes too large for {kind.spelling()}")
    return structure


LogonData = LogonInfo | LogonInfoVersion2 | PlainNotify | LogonInfoExtended

_INFO_KINDS: tuple[type[LogonData], ...] = (LogonInfo, LogonInfoVersion2, PlainNotify, LogonInfoExtended)


@attrs.frozen
class SaveSessionInfo:
    """TS_SAVE_SESSION_INFO_PDU_DATA: somebody logged on, or could not.

    Source: [MS-RDPBCGR] 2.2.10.1.1 "Save Session Info PDU Data".
    """

    PDU_TYPE2: ClassVar[PduType2] = PduType2.PDUTYPE2_SAVE_SESSION_INFO

    info_data: LogonData
    """What there is to know; its class is the infoType."""

    @property
    def info_type(self) -> InfoType:
        """Which structure `info_data` is."""
        return self.info_data.INFO_TYPE

    def pack(self) -> bytes:
        """The bytes behind the share headers."""
        return self.info_type.to_bytes(4, "little") + self.info_data.pack()

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[SaveSessionInfo, bytes]:
        """Take one off the front of `data`.

        Raises:
            DecodeError: cut off, or an infoType that is not known.
        """
        reader = Reader(data, "TS_SAVE_SESSION_INFO_PDU_DATA")
        info_type = reader.u32()
        if info_type >= len(_INFO_KINDS):
            raise DecodeError(f"{reader.structure}: infoType {info_type} is not known")
        info_data, rest = _INFO_KINDS[info_type].unpack(reader.rest())
        return cls(info_data), rest


_MONITORS_AT_MOST = 64


@attrs.frozen
class MonitorLayout:
    """TS_MONITOR_LAYOUT_PDU: the monitors that the session uses.

    fact 40: one of the few PDUs that may come between Demand Active and Font Map.

    Source: [MS-RDPBCGR] 2.2.12.1 "Monitor Layout PDU".
    """

    PDU_TYPE2: ClassVar[PduType2] = PduType2.PDUTYPE2_MONITOR_LAYOUT_PDU

    monitor_def_array: tuple[MonitorDef, ...] = ()
    """The monitors."""

    @property
    def monitor_count(self) -> int:
        """How many there are."""
        return len(self.monitor_def_array)

    def pack(self) -> bytes:
        """The bytes behind the share headers."""
        if self.monitor_count > _MONITORS_AT_MOST:
            raise LocalProtocolError(f"TS_MONITOR_LAYOUT_PDU: {self.monitor_count} monitors")
        return self.monitor_count.to_bytes(4, "little") + b"".join(monitor.pack() for monitor in self.monitor_def_array)

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[MonitorLayout, bytes]:
        """Take one off the front of `data`.

        Raises:
            DecodeError: cut off, or more monitors than anybody has.
        """
        reader = Reader(data, "TS_MONITOR_LAYOUT_PDU")
        count = reader.u32()
        if count > _MONITORS_AT_MOST:
            raise DecodeError(f"{reader.structure}: {count} monitors")
        return cls(tuple(MonitorDef(*reader.fields(MonitorDef.LAYOUT)) for _ in range(count))), reader.rest()


class StatusCode(IntEnum):
    """statusCode of TS_STATUS_INFO_PDU."""

    TS_STATUS_FINDING_DESTINATION = 0x401
    TS_STATUS_LOADING_DESTINATION = 0x402
    TS_STATUS_BRINGING_SESSION_ONLINE = 0x403
    TS_STATUS_REDIRECTING_TO_DESTINATION = 0x404
    TS_STATUS_VM_LOADING = 0x501
    TS_STATUS_VM_WAKING = 0x502
    TS_STATUS_VM_STARTING = 0x503
    TS_STATUS_VM_STARTING_MONITORING = 0x504
    TS_STATUS_VM_RETRYING_MONITORING = 0x505


@attrs.frozen
class StatusInfo(LaidOut):
    """TS_STATUS_INFO_PDU: what the user is waiting for. 4 bytes.

    Source: [MS-RDPBCGR] 2.2.5.2 "Server Status Info PDU".
    """

    PDU_TYPE2: ClassVar[PduType2] = PduType2.PDUTYPE2_STATUS_INFO_PDU
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct("status_code" / Int32ul)

    status_code: int = uint32()
    """A `StatusCode`."""


@attrs.frozen
class AutoReconnectStatus(LaidOut):
    """TS_AUTORECONNECT_STATUS_PDU: the client's cookie was not taken. 4 bytes.

    Source: [MS-RDPBCGR] 2.2.4.1.1 "Auto-Reconnect Status PDU Data".
    """

    PDU_TYPE2: ClassVar[PduType2] = PduType2.PDUTYPE2_ARC_STATUS_PDU
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct("arc_status" / Int32ul)

    arc_status: int = uint32(default=0)
    """Must be 0."""


@attrs.frozen
class SetKeyboardIndicators(LaidOut):
    """TS_SET_KEYBOARD_INDICATORS_PDU: lamps of the client's keyboard. 4 bytes.

    Source: [MS-RDPBCGR] 2.2.8.2.1.1 "Set Keyboard Indicators PDU Data".
    """

    PDU_TYPE2: ClassVar[PduType2] = PduType2.PDUTYPE2_SET_KEYBOARD_INDICATORS
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct("unit_id" / Int16ul, "led_flags" / Int16ul)

    led_flags: int = uint16()
    """`SyncFlags` of the lamps that are lit."""
    unit_id: int = uint16(default=0)
    """Should be 0."""


@attrs.frozen
class SetKeyboardImeStatus(LaidOut):
    """TS_SET_KEYBOARD_IME_STATUS_PDU: state of the input method editor. 10 bytes.

    Source: [MS-RDPBCGR] 2.2.8.2.2.1 "Set Keyboard IME Status PDU Data".
    """

    PDU_TYPE2: ClassVar[PduType2] = PduType2.PDUTYPE2_SET_KEYBOARD_IME_STATUS
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct(
        "unit_id" / Int16ul, "ime_state" / Int32ul, "ime_conv_mode" / Int32ul
    )

    ime_state: int = uint32()
    """Open or closed."""
    ime_conv_mode: int = uint32()
    """IME_CMODE_* bits."""
    unit_id: int = uint16(default=0)
    """Should be 0."""


@attrs.frozen
class PlaySound(LaidOut):
    """TS_PLAY_SOUND_PDU_DATA: a beep, for clients with SOUND_BEEPS_FLAG. 8 bytes.

    Source: [MS-RDPBCGR] 2.2.9.1.1.5.1 "Play Sound PDU Data".
    """

    PDU_TYPE2: ClassVar[PduType2] = PduType2.PDUTYPE2_PLAY_SOUND
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct("duration" / Int32ul, "frequency" / Int32ul)

    duration: int = uint32()
    """Milliseconds."""
    frequency: int = uint32()
    """Hertz."""


class BadFrameAcknowledgeError(DecodeError):
    """A frame acknowledgement is cut off."""

    errinfo = ErrInfo.ERRINFO_BAD_FRAME_ACK_DATA


@attrs.frozen
class FrameAcknowledge:
    """TS_FRAME_ACKNOWLEDGE_PDU: the client has drawn a frame that ended with a frame marker. 4 bytes.

    fact 83: Windows 7 mstsc skips some while inactive, so that the last id counts, not their number.

    Source: [MS-RDPRFX] 2.2.3.1 "Frame Acknowledge PDU".
    """

    PDU_TYPE2: ClassVar[PduType2] = PduType2.PDUTYPE2_FRAME_ACKNOWLEDGE

    frame_id: int = uint32()
    """Of the frame marker; ids that were never sent are ignored, 0xFFFFFFFF means "stop waiting" (INP-12)."""

    def pack(self) -> bytes:
        """The bytes behind the share headers."""
        return self.frame_id.to_bytes(4, "little")

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[FrameAcknowledge, bytes]:
        """Take one off the front of `data`.

        Raises:
            BadFrameAcknowledgeError: fewer than 4 bytes.
        """
        if len(data) < 4:
            raise BadFrameAcknowledgeError(f"TS_FRAME_ACKNOWLEDGE_PDU: {len(data)} bytes, not 4")
        return cls(int.from_bytes(data[:4], "little")), bytes(data[4:])
