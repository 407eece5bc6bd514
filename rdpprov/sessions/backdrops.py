"""What is behind everything else, kept as one picture for each size of screen: copied sooner than painted."""

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeAlias

from rdpprov.sessions.pages import blank_pixels
from rdpprov.sessions.text import Bitmap

BACKDROP_BYTES = 64 << 20
"""All backdrops of one kind of desktop together: 21 of 1024x768, or 8 of 1920x1080, or one of 4096x4096."""
BACKDROP_SIZES = 64
"""Sizes that are remembered, with a picture or without."""

Size: TypeAlias = tuple[int, int]


class Backdrops:
    """The pictures that all desktops of a kind have in common. No desktop holds one: it asks each time it is looked at.

    A size is painted when it is asked for the second time, so that a window that is being pulled to a new size, which
    goes through many that nobody else has, neither pays for a picture nor pushes out those of the others. What has not
    been looked at for longest goes first.

    Args:
        limit: bytes of all pictures together; a larger picture is never kept.
    """

    def __init__(self, limit: int = BACKDROP_BYTES) -> None:
        self._limit = limit
        self._used = 0
        self._pictures: OrderedDict[Size, Bitmap | None] = OrderedDict()

    @property
    def used(self) -> int:
        """Bytes of the pictures that are kept."""
        return self._used

    def find(self, size: Size) -> Bitmap | None:
        """The picture for screens of this size, read-only; None: paint it yourself."""
        picture = self._pictures.get(size)
        if picture is not None:
            self._pictures.move_to_end(size)
        return picture

    def ask(self, size: Size, paint: Callable[[Bitmap], None]) -> None:
        """A desktop of this size is about to be looked at. ``paint`` is called if its picture is to be kept."""
        if size not in self._pictures:
            self._pictures[size] = None
        elif self._pictures[size] is None:
            self._keep(size, paint)
        self._pictures.move_to_end(size)
        while self._used > self._limit or len(self._pictures) > BACKDROP_SIZES:
            _, gone = self._pictures.popitem(last=False)
            self._used -= 0 if gone is None else gone.nbytes

    def _keep(self, size: Size, paint: Callable[[Bitmap], None]) -> None:
        width, height = size
        if width * height * 4 > self._limit:
            return
        picture = blank_pixels(width, height).view("<u4")[..., 0]
        paint(picture)
        picture.flags.writeable = False
        self._pictures[size] = picture
        self._used += picture.nbytes
