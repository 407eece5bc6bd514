"""WRDS_DYNAMIC_TIME_ZONE_INFORMATION: a time zone whose summer time differs from year to year, and its binary form."""

from struct import Struct
from typing import ClassVar

import attrs

from rdpprov.api.structures import SystemTime, TimeZoneInformation, text, unsigned
from rdpprov.errors import E_INVALIDARG, HResultError


@attrs.frozen
class DynamicTimeZoneInformation(TimeZoneInformation):
    """WRDS_DYNAMIC_TIME_ZONE_INFORMATION: the answer to PROPERTY_DYNAMIC_TIME_ZONE_INFORMATION. Biases are minutes.

    Packed as the C structure is on every Windows: little-endian, naturally aligned, 432 bytes.
    """

    LAYOUT: ClassVar[Struct] = Struct("<i64s8Hi64s8Hi256sH2x")

    time_zone_key_name: str = text(127)
    """Windows' name of the zone, such as ``W. Europe Standard Time``."""
    dynamic_daylight_time_disabled: int = unsigned(16)
    """Not 0: the same rules in every year."""

    def pack(self) -> bytes:
        """The value of a BINARY property."""
        return self.LAYOUT.pack(
            self.bias,
            _packed_text(self.standard_name),
            *attrs.astuple(self.standard_date),
            self.standard_bias,
            _packed_text(self.daylight_name),
            *attrs.astuple(self.daylight_date),
            self.daylight_bias,
            _packed_text(self.time_zone_key_name),
            self.dynamic_daylight_time_disabled,
        )

    @classmethod
    def unpack(cls, data: bytes) -> "DynamicTimeZoneInformation":
        """Read the value of a BINARY property.

        Raises:
            HResultError: E_INVALIDARG: not of this length, or a name without its terminator.
        """
        if len(data) != cls.LAYOUT.size:
            raise HResultError(f"a dynamic time zone has {cls.LAYOUT.size} bytes, not {len(data)}", E_INVALIDARG)
        values = cls.LAYOUT.unpack(data)
        return cls(
            bias=values[0],
            standard_name=_unpacked_text(values[1]),
            standard_date=SystemTime(*values[2:10]),
            standard_bias=values[10],
            daylight_name=_unpacked_text(values[11]),
            daylight_date=SystemTime(*values[12:20]),
            daylight_bias=values[20],
            time_zone_key_name=_unpacked_text(values[21]),
            dynamic_daylight_time_disabled=values[22],
        )


def _packed_text(value: str) -> bytes:
    """For a field that struct fills up with zeros; the structure's limits leave room for one."""
    return value.encode("utf-16-le", "surrogatepass")


def _unpacked_text(data: bytes) -> str:
    value, terminator, _ = data.decode("utf-16-le", "surrogatepass").partition("\0")
    if not terminator:
        raise HResultError("a name in a dynamic time zone has no terminator", E_INVALIDARG)
    return value
