"""What an administrator sees: sessions, connections and listeners as they were when somebody asked. Plain values only.

Times are seconds since 1970, durations seconds, sizes pixels.
"""

from collections.abc import Mapping

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


@attrs.frozen(kw_only=True)
class HistogramInfo:
    """How many observations were how large."""

    listener: str = ""
    protocol: str = ""
    how: str = ""
    """What proved who the user is."""
    bounds: tuple[float, ...]
    """Seconds, growing."""
    counts: tuple[int, ...]
    """Of observations not larger than each of them; the last one more, of all."""
    total: float
    """Seconds of all together."""


@attrs.frozen(kw_only=True)
class ListenerMetrics:
    """A listener, and what its connections have come to. No user and no client is in it, as in all metrics."""

    listener: str
    protocol: str
    up: bool
    connections: int
    """Of now."""
    half_open: int | None = None
    """Clients of now that have not become connections yet; None: the listener does not count."""
    ended: Mapping[str, int]
    """Connections that are over, by the name of an `rdpprov.errinfo.ErrInfo`, and ``REFUSED`` that were not taken."""
    bytes_in: int
    """From clients, as far as their connections have been asked: what one carried after that and before its end is
    missing."""
    bytes_out: int
    """To clients, likewise."""
    frames_out: int
    """Likewise: pictures, not packets."""


@attrs.frozen(kw_only=True)
class Metrics:
    """What a service has done since it started, and what it is doing."""

    listeners: tuple[ListenerMetrics, ...]
    sessions: Mapping[ConnectState, int]
    idle: float | None
    """The longest time since the last input, of users with a client; None: there are none."""
    logons: Mapping[tuple[str, str], int]
    """By ``accepted`` or ``refused``, and the proof."""
    sequences: tuple[HistogramInfo, ...]
    """From OnConnected to a user who is logged on."""
    loop_lag: HistogramInfo
    """In which the event loop answers."""
    draining: bool
