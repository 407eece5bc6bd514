"""What an administrator sees: sessions, connections and listeners as they were when somebody asked. Plain values only.

Times are seconds since 1970, durations seconds, sizes pixels.
"""

import attrs

from rdpprov.api.enums import ConnectState


@attrs.frozen(kw_only=True)
class ConnectionInfo:
    """A client, as it said about itself, and what its connection has carried."""

    connection: int
    listener: str
    protocol: str
    """As the provider calls it; until it has said so, the protocol of its listener."""
    opened_at: float
    client_name: str = ""
    client_address: str = ""
    client_build: int = 0
    screen_width: int = 0
    screen_height: int = 0
    color_depth: int = 0
    bytes_in: int | None = None
    """From the client; None: the provider does not count, or does not answer."""
    bytes_out: int | None = None
    """To the client."""
    frames_out: int | None = None


@attrs.frozen(kw_only=True)
class SessionInfo:
    """A session."""

    session: int
    state: ConnectState
    user: str = ""
    """Empty: nobody is logged on yet."""
    domain: str = ""
    how: str = ""
    """What proved who the user is."""
    created_at: float
    logged_on_at: float | None = None
    disconnected: float | None = None
    """For so long no client has shown it; None: one does."""
    idle: float | None = None
    """Since the last input of the client that shows it; None: there is none, or nobody is logged on."""
    width: int = 0
    """Of the desktop; 0: there is none yet."""
    height: int = 0
    connection: ConnectionInfo | None = None
    """The client that shows it."""
    shadows: int | None = None
    """The session that this client sees at present, instead of its own."""
    shadowed_by: int | None = None
    """The session whose client sees this one, too."""

    @property
    def user_label(self) -> str:
        """``name``, or ``DOMAIN\\\\name``; empty: nobody is logged on."""
        return f"{self.domain}\\{self.user}" if self.domain else self.user


@attrs.frozen
class SettingInfo:
    """An effective setting."""

    name: str
    """A field of `rdpprov.api.ConnectionSettings`."""
    value: bool | int | str
    origin: str
    """Who has decided it: a value of `rdpprov.rcm.settings.Origin`."""


@attrs.frozen
class SessionDetails:
    """A session, and the settings in force there."""

    info: SessionInfo
    settings: tuple[SettingInfo, ...] = ()
    """Those that were said or fixed by somebody; the others have their defaults. None of them is a secret."""


@attrs.frozen(kw_only=True)
class ListenerInfo:
    """A listener."""

    listener: str
    protocol: str
    up: bool
    """It accepts clients."""
    addresses: tuple[str, ...] = ()
    """``ADDR:PORT``, an IPv6 address in brackets; none: it has no socket of its own, or does not say."""
    connections: int
    """Clients that came here and are not gone yet."""


@attrs.frozen(kw_only=True)
class ServiceInfo:
    """The service itself."""

    draining: bool
    stopping: bool
    sessions: int
    connections: int
