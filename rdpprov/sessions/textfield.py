"""A text that is typed into: the text, the caret, and what each key does."""

import attrs

from rdpprov.sessions.keyboard import EditKey, Keystroke


@attrs.define
class TextField:
    """Text and caret; no pixels.

    Args:
        limit: characters; more are not taken.
        multiline: whether Enter and Tab (four spaces) are text.
    """

    limit: int
    multiline: bool = False
    secret: bool = False
    """A password: never shown, not even by `repr`."""
    _text: str = attrs.field(default="", repr=False)
    caret: int = attrs.field(default=0, repr=False)
    """Between 0 and the text's length: the character that it stands before."""

    @property
    def text(self) -> str:
        """What has been typed."""
        return self._text

    @text.setter
    def text(self, text: str) -> None:
        self._text = text[: self.limit]
        self.caret = len(self._text)

    def __repr__(self) -> str:
        return "TextField(<secret>)" if self.secret else f"TextField({self._text!r}, caret={self.caret})"

    def press(self, keystroke: Keystroke) -> bool:
        """Apply a keystroke; whether text or caret are different now. Keys that mean nothing here are ignored."""
        before = (self._text, self.caret)
        match keystroke:
            case str():
                self._insert(keystroke)
            case EditKey.ENTER if self.multiline:
                self._insert("\n")
            case EditKey.TAB if self.multiline:
                self._insert("    ")
            case EditKey.BACKSPACE if self.caret:
                self._text = self._text[: self.caret - 1] + self._text[self.caret :]
                self.caret -= 1
            case EditKey.DELETE:
                self._text = self._text[: self.caret] + self._text[self.caret + 1 :]
            case EditKey.LEFT:
                self.caret = max(0, self.caret - 1)
            case EditKey.RIGHT:
                self.caret = min(len(self._text), self.caret + 1)
            case EditKey.HOME:
                self.caret = self._text.rfind("\n", 0, self.caret) + 1
            case EditKey.END:
                end = self._text.find("\n", self.caret)
                self.caret = len(self._text) if end < 0 else end
            case _:
                pass
        return (self._text, self.caret) != before

    def _insert(self, text: str) -> None:
        text = text[: self.limit - len(self._text)]
        self._text = self._text[: self.caret] + text + self._text[self.caret :]
        self.caret += len(text)
