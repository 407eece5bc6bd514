"""What a desktop is: pixels out, input in, small messages. All of level 3 may import this file of `sessions`.

Source: the project's own; it stands where Windows has a session's display and input drivers and its Winlogon.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeAlias

import attrs

from rdpprov.api.devices import InputEvent, InputSink, Screen, TaskStatus
from rdpprov.api.identity import UserToken
from rdpprov.api.structures import UserCredential

MIN_DESKTOP = 200
"""Pixels, width and height: the smallest that a desktop is asked to be."""
MAX_DESKTOP = 8192
"""Pixels, width and height: the largest."""


@attrs.frozen
class ClientAttached:
    """A client shows this session now: what it said about itself."""

    name: str = ""
    address: str = ""
    protocol: str = ""
    listener: str = ""
    width: int = 0
    height: int = 0
    color_depth: int = 0
    keyboard_layout: int = 0
    build: int = 0


@attrs.frozen
class ClientDetached:
    """No client shows this session any more; every key and button has been released."""


@attrs.frozen
class SequenceStep:
    """One call of the connection's sequence has returned, or one callback has been made."""

    call: str
    source: str
    target: str
    seconds: float
    outcome: str = ""
    """Empty if it succeeded, else the HRESULT or the error's name."""


@attrs.frozen
class Notice:
    """A message for the user, instead of the one before."""

    text: str
    """Empty: what the one before said is over."""


@attrs.frozen
class CursorBlink:
    """Whether the text cursor may blink for this client. It may until this is told, and again for the next client."""

    allowed: bool


DesktopMessage: TypeAlias = ClientAttached | ClientDetached | SequenceStep | Notice | CursorBlink


class Desktop(ABC):
    """One session's desktop. It outlives connections; at most one client works on it, others may watch.

    Nothing that crosses this interface has to be a Python object: pixels, small events, small messages.
    """

    @property
    @abstractmethod
    def width(self) -> int:
        """Pixels."""

    @property
    @abstractmethod
    def height(self) -> int:
        """Pixels."""

    @abstractmethod
    def open_screen(self, on_damage: Callable[[], None]) -> Screen:
        """A new reader of the pixels.

        Args:
            on_damage: called, from the event loop, when the reader has something to take after it had taken all.
        """

    @abstractmethod
    async def resize(self, width: int, height: int) -> None:
        """Take a new size, in pixels; called before ConnectNotify at every attach.

        A desktop that cannot, keeps its own; a provider shows what there is.
        """

    @abstractmethod
    def input_event(self, event: InputEvent) -> None:
        """Take one input event: a desktop is an `InputSink`. Returns at once."""

    def tell(self, message: DesktopMessage) -> None:
        """Take a message of the service; most desktops do not mind. Returns at once."""

    @abstractmethod
    async def run(self, *, task_status: TaskStatus) -> None:
        """The desktop's life, as a task of the session: ``task_status.started()`` when it can be shown.

        Returning means that the user logged off. Raising means that the desktop died; the session ends in both cases.
        """

    async def aclose(self) -> None:
        """Give everything back, after `run` has ended."""


class LogonDesktop(Desktop):
    """The desktop of a session where nobody is logged on yet. It signals no damage before `reveal` or `ask`."""

    @abstractmethod
    def reveal(self) -> None:
        """Be seen from now on."""

    @abstractmethod
    def show_message(self, text: str) -> None:
        """Show a message beside the fields: why the last logon failed, or "Please wait"."""

    @abstractmethod
    async def ask(self) -> UserCredential:
        """Be seen, and wait until the user has entered a name and a password."""

    async def run(self, *, task_status: TaskStatus) -> None:
        """Nothing of its own to do: `ask` is where it lives."""
        task_status.started()


@attrs.frozen
class InitialProgram:
    """What the client wants to be started in its new session, as far as the provider lets it."""

    command_line: str
    """With directory."""
    parameters: str = ""
    work_directory: str = ""
    maximized: bool = False


@attrs.frozen
class DesktopRequest:
    """What a new session's desktop is made from."""

    session_id: int
    user: UserToken
    width: int
    height: int
    program: InitialProgram | None = None
    """Instead of the desktop's own, or beside it; None: the client named none."""


@attrs.frozen
class LogonRequest:
    """What a logon desktop is made from; the names are what the client already said."""

    width: int
    height: int
    user_name: str = ""
    domain: str = ""


class ShadowOverlay(Desktop):
    """A desktop as one client sees it while a session is shadowed: with what the service has to say over it.

    It has no life of its own: `run` is never called, and nothing has to be given back. Others who read the desktop do
    not see what is over it.
    """

    @property
    @abstractmethod
    def hot_key(self) -> str:
        """The keys that end the shadowing, for people: ``Ctrl+*``."""

    @abstractmethod
    async def ask(self, question: str, seconds: float) -> bool:
        """Put a question to the user, who cannot do anything else meanwhile.

        Args:
            question: to be answered with yes or no.
            seconds: how long to wait.

        Returns:
            whether the answer was yes. No answer is no.
        """

    @abstractmethod
    def show_notice(self, text: str) -> None:
        """Show a line of text from now on, all the time, whatever the desktop draws."""


@attrs.frozen
class OverlayRequest:
    """What an overlay is made from."""

    desktop: Desktop
    """What is seen below it."""
    sink: InputSink | None
    """Takes the input, in the desktop's coordinates; None: it is dropped."""
    keyboard_layout: int
    """Of the client that sees it."""
    on_hot_key: Callable[[], None]
    """Told that the user wants the shadowing to end."""
    size: tuple[int, int] | None = None
    """Width and height that the client's screen has, for a desktop that was not made for it, so that it has to be
    fitted; None: the desktop's own."""


OverlayFactory: TypeAlias = Callable[[OverlayRequest], ShadowOverlay]
DesktopFactory: TypeAlias = Callable[[DesktopRequest], Desktop]
LogonDesktopFactory: TypeAlias = Callable[[LogonRequest], LogonDesktop]
