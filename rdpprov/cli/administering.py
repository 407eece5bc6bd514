"""What the commands for administrators have in common: finding the service, asking it, and saying what it answered."""

import json as json_module
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, TypeVar

import attrs
import trio
from cyclopts import Parameter

from rdpprov.admin.client import AdminClient, connect_admin
from rdpprov.admin.place import default_place
from rdpprov.admin.protocol import to_json
from rdpprov.cli.configuration import default_state_dir
from rdpprov.errors import AdministrationError, RemoteProtocolError

Answer = TypeVar("Answer")

NOTHING = "-"
"""In a table, where there is no value."""


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class Admin:
    """Options of every command for administrators."""

    admin: Annotated[Path | None, Parameter(help="the service's admin socket; default: in the state directory.")] = None
    state_dir: Annotated[Path | None, Parameter(help="the service's state directory.")] = None
    json: Annotated[bool, Parameter(negative="", help="print JSON, for programs.")] = False

    @property
    def place(self) -> Path:
        """Where the service answers."""
        return self.admin or default_place(self.state_dir or default_state_dir())

    def ask(self, question: Callable[[AdminClient], Awaitable[Answer]]) -> Answer:
        """Connect to the service, and ask it something.

        Raises:
            AdministrationError: there is no service, or it does not do what is asked.
        """

        async def asking() -> Answer:
            async with connect_admin(self.place) as client:
                return await question(client)

        try:
            return trio.run(asking)
        except RemoteProtocolError as error:
            raise AdministrationError(f"what answers at {self.place} is no service of this version: {error}") from error

    def say(self, value: object, *lines: str) -> None:
        """Print an answer: as JSON if that is wanted, else as lines for people."""
        if self.json:
            print(
                json_module.dumps(to_json(value), indent=2)
            )  # in ASCII, for what a client called itself may be anything
        else:
            print(*lines, sep="\n")


THE_SERVICE = Admin()


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of aligned columns. Numbers stand at the right."""
    rows = [list(row) for row in rows]
    texts = [[clean(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *texts, strict=True)]
    numeric = [bool(rows) and all(isinstance(row[index], int) for row in rows) for index in range(len(heads))]
    return [
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in [list(heads), *texts]
    ]


def clean(value: object) -> str:
    """A value as text for a terminal; what a client called itself may not move the cursor there."""
    if value is None or value == "":
        return NOTHING
    return "".join(letter if letter.isprintable() else "?" for letter in str(value))


def moment(seconds: float | None) -> str:
    """A time, in the user's time zone."""
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def duration(seconds: float | None) -> str:
    """As short as it says what matters: 12s, 5m, 3h20m, 2d4h."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    whole = max(0, int(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if days:
        return f"{days}d{hours % 24}h"
    if hours:
        return f"{hours}h{minutes % 60:02}m"
    return f"{minutes}m" if minutes else f"{whole}s"


def amount(count: int | None) -> str:
    """Bytes: 812 B, 3.4 MB."""
    if count is None:
        return ""
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
