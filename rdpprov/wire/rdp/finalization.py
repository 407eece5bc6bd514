"""Connection finalization: from Confirm Active to the first output.

The client sends Synchronize, Control (cooperate), Control (request), sometimes a Persistent Key List, and Font List;
the server answers Synchronize and Control (cooperate) at once (fact 39: rdesktop waits for them and for the granted
control before it sends its Font List), Control (granted) to the request, and Font Map to the Font List. fact 40: in
that order, and nothing else before Font Map.

Source: [MS-RDPBCGR] 2.2.1.14 to 2.2.1.22. All of them ride in share data PDUs.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, ClassVar

import attrs
from construct import Array, Construct, Int8ul, Int16ul, Int32ul, Int64ul, Padding, Struct

from rdpprov.errinfo import ErrInfo
from rdpprov.errors import LocalProtocolError
from rdpprov.wire.base import Buffer, DecodeError, Reader, build_with, uint8, uint16, uint32
from rdpprov.wire.rdp.share import SERVER_CHANNEL_ID, LaidOut, PduType2

SYNCMSGTYPE_SYNC = 1


@attrs.frozen
class Synchronize(LaidOut):
    """TS_SYNCHRONIZE_PDU: both sides are here. 4 bytes.

    Source: [MS-RDPBCGR] 2.2.1.14.1 "Synchronize PDU Data".
    """

    PDU_TYPE2: ClassVar[PduType2] = PduType2.PDUTYPE2_SYNCHRONIZE
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct("message_type" / Int16ul, "target_user" / Int16ul)

    target_user: int = uint16()
    """MCS channel of the other side: a server names the client's user channel, a client 0x03EA."""
    message_type: int = uint16(default=SYNCMSGTYPE_SYNC)
    """SYNCMSGTYPE_SYNC."""


class ControlAction(IntEnum):
    """action of TS_CONTROL_PDU."""

    CTRLACTION_REQUEST_CONTROL = 1
    CTRLACTION_GRANTED_CONTROL = 2
    CTRLACTION_DETACH = 3
    CTRLACTION_COOPERATE = 4


class InvalidControlActionError(DecodeError):
    """action of a Control PDU is none of `ControlAction` (FIN-03)."""

    errinfo = ErrInfo.ERRINFO_INVALIDCONTROLPDUACTION


@attrs.frozen
class Control(LaidOut):
    """TS_CONTROL_PDU: who may send input, as T.128 had it. 8 bytes.

    Source: [MS-RDPBCGR] 2.2.1.15.1 "Control PDU Data".
    """

    PDU_TYPE2: ClassVar[PduType2] = PduType2.PDUTYPE2_CONTROL
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct("action" / Int16ul, "grant_id" / Int16ul, "control_id" / Int32ul)

    action: ControlAction
    """What is asked or said."""
    grant_id: int = uint16(default=0)
    """The client's user channel in a grant, else 0."""
    control_id: int = uint32(default=0)
    """The server's channel in a grant, else 0."""

    @classmethod
    def granted(cls, user_channel_id: int) -> Control:
        """The server's answer to a request for control."""
        return cls(ControlAction.CTRLACTION_GRANTED_CONTROL, user_channel_id, SERVER_CHANNEL_ID)

    @classmethod
    def _from_wire(cls, parsed: Any) -> Control:
        try:
            parsed.action = ControlAction(parsed.action)
        except ValueError:
            raise InvalidControlActionError(f"TS_CONTROL_PDU: action {parsed.action} is not known") from None
        return super()._from_wire(parsed)


class PersistentKeyListLengthError(DecodeError):
    """A Persistent Key List is shorter than its own numbers say (FIN-04)."""

    errinfo = ErrInfo.ERRINFO_PERSISTENTKEYPDUBADLENGTH


class TooManyPersistentKeysError(DecodeError):
    """A Persistent Key List announces more keys in all than there can be (FIN-04)."""

    errinfo = ErrInfo.ERRINFO_PERSISTENTKEYPDUTOOMANYTOTALKEYS


class TooManyCacheKeysError(DecodeError):
    """A Persistent Key List has more keys for one cache than it announces for it (FIN-04)."""

    errinfo = ErrInfo.ERRINFO_PERSISTENTKEYPDUTOOMANYCACHEKEYS


class PersistentListFlags(IntEnum):
    """Bits of bBitMask of TS_BITMAPCACHE_PERSISTENT_LIST_PDU."""

    PERSIST_FIRST_PDU = 0x01
    PERSIST_LAST_PDU = 0x02


MAX_PERSISTENT_KEYS = 262144
_CACHES = 5


@attrs.frozen
class PersistentKeyList:
    """TS_BITMAPCACHE_PERSISTENT_LIST_PDU: bitmaps that the client has on disk. 24 bytes and 8 for each key.

    Source: [MS-RDPBCGR] 2.2.1.17.1 "Persistent Key List PDU Data".
    """

    PDU_TYPE2: ClassVar[PduType2] = PduType2.PDUTYPE2_BITMAPCACHE_PERSISTENT_LIST
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct(
        "num_entries" / Array(_CACHES, Int16ul),
        "total_entries" / Array(_CACHES, Int16ul),
        "bit_mask" / Int8ul,
        Padding(3),
        "keys" / Array(lambda context: sum(context.num_entries), Int64ul),
    )

    keys: tuple[tuple[int, ...], ...] = ((),) * _CACHES
    """For each of the five caches the 64-bit keys in this PDU. By custom at most 169 in all."""
    total_entries: tuple[int, ...] = (0,) * _CACHES
    """For each cache the keys in all PDUs of the list."""
    bit_mask: int = uint8(default=PersistentListFlags.PERSIST_FIRST_PDU | PersistentListFlags.PERSIST_LAST_PDU)
    """`PersistentListFlags`."""

    def pack(self) -> bytes:
        """The bytes behind the share headers."""
        if not len(self.keys) == len(self.total_entries) == _CACHES:
            raise LocalProtocolError("TS_BITMAPCACHE_PERSISTENT_LIST_PDU: there are five caches")
        numbers = {
            "num_entries": [len(keys) for keys in self.keys],
            "total_entries": self.total_entries,
            "bit_mask": self.bit_mask,
            "keys": [key for cache in self.keys for key in cache],
        }
        return build_with(self.LAYOUT, numbers, "TS_BITMAPCACHE_PERSISTENT_LIST_PDU")

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[PersistentKeyList, bytes]:
        """Take one off the front of `data`.

        Raises:
            PersistentKeyListLengthError: cut off.
            TooManyPersistentKeysError: more than 262,144 keys announced.
            TooManyCacheKeysError: more keys of a cache than are announced for it.
        """
        reader = Reader(data, "TS_BITMAPCACHE_PERSISTENT_LIST_PDU")
        try:
            num_entries = tuple(reader.u16() for _ in range(_CACHES))
            total_entries = tuple(reader.u16() for _ in range(_CACHES))
            bit_mask = reader.u8()
            reader.skip(3)
            if sum(total_entries) > MAX_PERSISTENT_KEYS:
                raise TooManyPersistentKeysError(f"{reader.structure}: {sum(total_entries)} keys announced")
            if any(number > total for number, total in zip(num_entries, total_entries, strict=True)):
                raise TooManyCacheKeysError(f"{reader.structure}: {num_entries} keys, announced are {total_entries}")
            if reader.remaining < 8 * sum(num_entries):
                raise PersistentKeyListLengthError(f"{reader.structure}: too short for {sum(num_entries)} keys")
            keys = tuple(tuple(reader.u64() for _ in range(number)) for number in num_entries)
        except (TooManyPersistentKeysError, TooManyCacheKeysError, PersistentKeyListLengthError):
            raise
        except DecodeError as error:
            raise PersistentKeyListLengthError(str(error)) from error
        return cls(keys, total_entries, bit_mask), reader.rest()


class FontListFlags(IntEnum):
    """Bits of listFlags of TS_FONT_LIST_PDU and mapFlags of TS_FONT_MAP_PDU."""

    FONTLIST_FIRST = 0x0001
    FONTLIST_LAST = 0x0002


@attrs.frozen
class FontList(LaidOut):
    """TS_FONT_LIST_PDU: the client is ready; fonts are history. 8 bytes.

    Source: [MS-RDPBCGR] 2.2.1.18.1 "Font List PDU Data".
    """

    PDU_TYPE2: ClassVar[PduType2] = PduType2.PDUTYPE2_FONTLIST
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct(
        "number_fonts" / Int16ul, "total_num_fonts" / Int16ul, "list_flags" / Int16ul, "entry_size" / Int16ul
    )

    number_fonts: int = uint16(default=0)
    """Should be 0; the entries would follow, and are ignored (FIN-03)."""
    total_num_fonts: int = uint16(default=0)
    """Should be 0."""
    list_flags: int = uint16(default=FontListFlags.FONTLIST_FIRST | FontListFlags.FONTLIST_LAST)
    """`FontListFlags`."""
    entry_size: int = uint16(default=50)
    """Bytes of an entry, 50."""


@attrs.frozen
class FontMap(LaidOut):
    """TS_FONT_MAP_PDU: the server is ready, output follows. 8 bytes.

    Source: [MS-RDPBCGR] 2.2.1.22.1 "Font Map PDU Data".
    """

    PDU_TYPE2: ClassVar[PduType2] = PduType2.PDUTYPE2_FONTMAP
    LAYOUT: ClassVar[Construct[Any, Any]] = Struct(
        "number_entries" / Int16ul, "total_num_entries" / Int16ul, "map_flags" / Int16ul, "entry_size" / Int16ul
    )

    number_entries: int = uint16(default=0)
    """Should be 0."""
    total_num_entries: int = uint16(default=0)
    """Should be 0."""
    map_flags: int = uint16(default=FontListFlags.FONTLIST_FIRST | FontListFlags.FONTLIST_LAST)
    """`FontListFlags`."""
    entry_size: int = uint16(default=4)
    """Bytes of an entry, 4."""

    @classmethod
    def unpack(cls, data: Buffer) -> tuple[FontMap, bytes]:
        """Take one off the front of `data`.

        Raises:
            DecodeError: cut off; one without any payload is fine.
        """
        if not data:
            return cls(), b""  # fact 42: an empty Font Map is tolerated and is sent by real servers
        return super().unpack(data)
