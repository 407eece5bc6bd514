"""Clipboards, alike at both ends: classic cut texts, and the extended clipboard where the client named it.

Source: [RFC 6143] 7.5.6, 7.6.4; the community's text, "Extended Clipboard Pseudo-Encoding".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rdpprov.errors import RemoteProtocolError
from rdpprov.protocol.rfb.events import (
    ClipboardCapsReceived,
    ClipboardOffered,
    ClipboardRequested,
    CutTextDropped,
    CutTextReceived,
)
from rdpprov.protocol.rfb.framing import ByteStream
from rdpprov.wire.base import DecodeError
from rdpprov.wire.rfb.clipboard import (
    ALL_ACTIONS,
    ClipboardAction,
    ClipboardCaps,
    ClipboardFormat,
    ClipboardMessage,
    ClipboardNotify,
    ClipboardPeek,
    ClipboardProvide,
    ClipboardRequest,
    bytes_of,
    latin1_bytes_of,
    latin1_text_of,
    text_of,
    unpack_clipboard_message,
)
from rdpprov.wire.rfb.messages import cut_text_length

HOPELESS_CUT_TEXT: Final = 10 * 1024 * 1024
"""Bytes: nobody copies so much, and a length that is none ends up here."""
MAX_SENT: Final = 1024 * 1024
"""Bytes: libvncclient closes the connection at more."""
OWN_CAPS: Final = ClipboardCaps(ALL_ACTIONS, {ClipboardFormat.TEXT: 0})
"""Text only, and notify first: what everybody says."""
_DEFAULT_CAPS: Final = ClipboardCaps(
    ClipboardAction.REQUEST | ClipboardAction.NOTIFY | ClipboardAction.PROVIDE,
    {ClipboardFormat.TEXT: 20 * 1024 * 1024, ClipboardFormat.RTF: 0, ClipboardFormat.HTML: 0},
)
"""What a peer can do that sends no caps."""

ClipboardEvent = CutTextReceived | CutTextDropped | ClipboardCapsReceived | ClipboardOffered | ClipboardRequested


class Clipboard:
    """One end of the clipboard.

    Args:
        limit: bytes of a text that is taken; longer ones are dropped as they come.
        send: queues a cut text: its data, and whether it is extended.
    """

    __slots__ = ("_caps", "_limit", "_send", "_text_offered", "extended")

    def __init__(self, limit: int, send: Callable[[bytes, bool], None]) -> None:
        self._limit = limit
        self._send = send
        self._caps = _DEFAULT_CAPS
        self._text_offered = False
        self.extended = False
        """Whether the other end has the extended clipboard."""

    # What comes

    def begin(self, stream: ByteStream) -> CutTextDropped | bool:
        """Look at the cut text at the front of the stream: whether its whole header is there. One that is too long is
        dropped, now and as it comes.

        Raises:
            RemoteProtocolError: its length makes no sense.
        """
        length = cut_text_length(stream.data)
        if length is None:
            return False
        size = abs(length)
        if size > HOPELESS_CUT_TEXT:
            raise DecodeError(f"cut text: length {length}, {HOPELESS_CUT_TEXT} are allowed")
        if length < 0:
            if not self.extended:
                raise RemoteProtocolError("an extended cut text without the extended clipboard")
            if size < 4:
                raise DecodeError(f"extended clipboard: {size} bytes")
        if size > self._limit:
            stream.skip(8 + size)
            return CutTextDropped(size)
        return True

    def receive(self, data: bytes, extended: bool) -> ClipboardEvent | None:
        """Take a cut text.

        Raises:
            RemoteProtocolError: it is malformed.
        """
        if not extended:
            return CutTextReceived(latin1_text_of(data))
        message = unpack_clipboard_message(data, limit=self._limit)
        match message:
            case ClipboardCaps():
                self._caps = message
                return ClipboardCapsReceived(message.actions, message.sizes)
            case ClipboardNotify(formats=formats):
                return ClipboardOffered(formats)
            case ClipboardRequest(formats=formats):
                return ClipboardRequested(formats)
            case ClipboardPeek():
                self._say(ClipboardNotify(ClipboardFormat.TEXT if self._text_offered else 0))
                return None
            case ClipboardProvide(contents=contents):
                text = contents.get(ClipboardFormat.TEXT)
                return CutTextDropped(len(data)) if text is None else CutTextReceived(text_of(text))

    # What goes

    def say_caps(self) -> None:
        """Before anything else of the extended clipboard."""
        self._say(OWN_CAPS)

    def offer(self, text: str) -> None:
        """Something new is on the clipboard: send it, or only say so, as the other end likes it."""
        self._text_offered = bool(text)
        actions, sizes = self._caps.actions, self._caps.sizes
        if self.extended and ClipboardFormat.TEXT in sizes:
            data = bytes_of(text)
            if not text and actions & ClipboardAction.NOTIFY:
                return self._say(ClipboardNotify(0))
            if actions & ClipboardAction.PROVIDE and len(data) <= min(sizes[ClipboardFormat.TEXT], MAX_SENT):
                return self._say(ClipboardProvide({ClipboardFormat.TEXT: data}))
            if actions & ClipboardAction.NOTIFY:
                return self._say(ClipboardNotify())
        data = latin1_bytes_of(text)
        if len(data) <= MAX_SENT:
            self._send(data, False)
        return None

    def provide(self, text: str) -> None:
        """Answer `ClipboardRequested`."""
        self._say(ClipboardProvide({ClipboardFormat.TEXT: bytes_of(text)}))

    def request(self) -> None:
        """Ask for the text that was offered, if the other end can be asked."""
        if self.extended and self._caps.actions & ClipboardAction.REQUEST:
            self._say(ClipboardRequest())

    def _say(self, message: ClipboardMessage) -> None:
        self._send(message.pack(), True)
