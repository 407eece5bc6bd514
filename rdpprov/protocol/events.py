"""What `next_event` of a machine returns when there is no event: `NEED_DATA` and `PAUSED`, for all protocols alike.

Each is the only member of a type of its own, so that a type checker knows what is left when it has been compared.
"""

from enum import Enum
from typing import Final


class NeedData(Enum):
    """The type of `NEED_DATA`."""

    NEED_DATA = "need data"


class Paused(Enum):
    """The type of `PAUSED`."""

    PAUSED = "paused"


NEED_DATA: Final = NeedData.NEED_DATA
"""Nothing complete is buffered: call `receive_data`."""
PAUSED: Final = Paused.PAUSED
"""The machine waits for its owner; more bytes do not help."""
