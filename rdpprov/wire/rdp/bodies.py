"""Which structure is the body of which share PDU: the one table, used by whoever receives share PDUs."""

from __future__ import annotations

from rdpprov.wire.base import DecodeError
from rdpprov.wire.rdp.bitmap import UpdatePdu
from rdpprov.wire.rdp.capabilities import ConfirmActive, DemandActive
from rdpprov.wire.rdp.finalization import Control, FontList, FontMap, PersistentKeyList, Synchronize
from rdpprov.wire.rdp.input import InputPdu
from rdpprov.wire.rdp.output_control import RefreshRect, SuppressOutput
from rdpprov.wire.rdp.pointer import PointerPdu
from rdpprov.wire.rdp.session import (
    AutoReconnectStatus,
    FrameAcknowledge,
    MonitorLayout,
    PlaySound,
    SaveSessionInfo,
    SetErrorInfo,
    SetKeyboardImeStatus,
    SetKeyboardIndicators,
    ShutdownDenied,
    ShutdownRequest,
    StatusInfo,
)
from rdpprov.wire.rdp.share import (
    CompressedType,
    DeactivateAll,
    ShareControlPdu,
    ShareDataPdu,
    UnknownPduType2Error,
    UnknownPduTypeError,
)

ControlBody = DemandActive | ConfirmActive | DeactivateAll
DataBody = (
    UpdatePdu
    | Control
    | PointerPdu
    | InputPdu
    | Synchronize
    | RefreshRect
    | PlaySound
    | SuppressOutput
    | ShutdownRequest
    | ShutdownDenied
    | SaveSessionInfo
    | FontList
    | FontMap
    | SetKeyboardIndicators
    | PersistentKeyList
    | SetKeyboardImeStatus
    | SetErrorInfo
    | AutoReconnectStatus
    | StatusInfo
    | MonitorLayout
    | FrameAcknowledge
)

CONTROL_BODIES: dict[int, type[ControlBody]] = {
    kind.PDU_TYPE: kind for kind in (DemandActive, ConfirmActive, DeactivateAll)
}
DATA_BODIES: dict[int, type[DataBody]] = {
    kind.PDU_TYPE2: kind
    for kind in (
        UpdatePdu,
        Control,
        PointerPdu,
        InputPdu,
        Synchronize,
        RefreshRect,
        PlaySound,
        SuppressOutput,
        ShutdownRequest,
        ShutdownDenied,
        SaveSessionInfo,
        FontList,
        FontMap,
        SetKeyboardIndicators,
        PersistentKeyList,
        SetKeyboardImeStatus,
        SetErrorInfo,
        AutoReconnectStatus,
        StatusInfo,
        MonitorLayout,
        FrameAcknowledge,
    )
}


def unpack_body(pdu: ShareControlPdu | ShareDataPdu) -> ControlBody | DataBody:
    """Decode the body of a share PDU. Bytes behind it are dropped: clients pad.

    Raises:
        UnknownPduTypeError, UnknownPduType2Error: a type without a structure here.
        DecodeError: the body is not what the type says, or it is compressed; `errinfo` says which.
    """
    if isinstance(pdu, ShareDataPdu):
        if pdu.compressed_type & CompressedType.PACKET_COMPRESSED:
            raise DecodeError(f"share data PDU {pdu.pdu_type2:#04x} is compressed, which was not offered")
        kind = DATA_BODIES.get(pdu.pdu_type2)
        if kind is None:
            raise UnknownPduType2Error(f"TS_SHAREDATAHEADER: pduType2 {pdu.pdu_type2:#04x} is not known")
        return kind.unpack(pdu.body)[0]
    control = CONTROL_BODIES.get(pdu.pdu_type)
    if control is None:
        raise UnknownPduTypeError(f"TS_SHARECONTROLHEADER: pduType {pdu.pdu_type:X} has no structure here")
    return control.unpack(pdu.body)[0]
