"""What the Remote Connection Manager is told before it starts: listeners, limits, what holds for sessions."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from rdpprov.api.enums import SettingType
from rdpprov.api.structures import Settings

LISTENER_NAME_LENGTH = 32
"""WTS_LISTENER_NAME_LENGTH: characters of a listener's name."""


def _positive(_instance: object, attribute: "attrs.Attribute[Any]", value: float) -> None:
    if not value > 0:
        raise ValueError(f"{attribute.name} is {value}, expected more than 0")


def _limit(default: float) -> float:
    limit: float = attrs.field(default=default, validator=_positive)
    return limit


@attrs.frozen(kw_only=True)
class Limits:
    """How long the service waits, in seconds, and how much of something it has at once.

    Times are total times, not idle times: a provider that answers a little now and then gains nothing by it. The names
    are those of ``protocol_specs``.
    """

    on_ready: float = _limit(15)
    """From GetLogonErrorRedirector to OnReady."""
    connect: float = _limit(60)
    """From OnConnected to ConnectNotify; in a reconnect, from DisconnectNotify to ConnectNotify."""
    licensing: float = _limit(30)
    """From RequestLicensingCapabilities to ProtocolComplete."""
    logon_desktop: float = _limit(120)
    """From NotifyCommandProcessCreated until the user is authenticated."""
    call: float = _limit(15)
    """One call that wants an answer. What the call is part of may end before."""
    notification: float = _limit(5)
    """One call that only tells."""
    slow_notification: float = _limit(0.1)
    """From here on a notification is logged as slow."""
    close: float = _limit(10)
    """From the end of a connection to the end of Close; and each step of the service's stop towards a provider."""
    desktop_start: float = _limit(30)
    """From the making of a session's desktop until it can be shown."""
    stop: float = _limit(9)
    """The whole stop of the service. Below 10 s, for whoever stopped us sends SIGKILL then."""
    blocked_loop: float = _limit(1)
    """The event loop stands still: the watchdog says who holds it."""
    logon_desktops: int = attrs.field(default=256, validator=_positive)
    """Logon desktops at once."""


@attrs.frozen(kw_only=True)
class SessionsPolicy:
    """What holds for sessions."""

    single_session_per_user: bool = True
    """A user who logs on again gets their active session, and whoever is connected to it is disconnected."""
    disconnected_limit: float | None = None
    """Seconds that a session is kept without a client; None: until the service ends or the user logs off."""
    default_width: int = 1024
    """Pixels, for a client that says nothing about its screen."""
    default_height: int = 768
    """Pixels, likewise."""


@attrs.frozen(kw_only=True)
class Policies:
    """Policies as an administrator sets them: each kind a `Settings` of its own."""

    machine: Settings = attrs.field(factory=lambda: Settings(setting_type=SettingType.MACHINE))
    """For everybody."""
    users: Mapping[str, Settings] = attrs.field(factory=dict)
    """By account name, without regard to case; only where the machine's policy leaves it open."""
    accounts: Mapping[str, Settings] = attrs.field(factory=dict)
    """WRDS_SETTING_TYPE_SAM: by account name; only where the two above leave it open."""

    def of_user(self, name: str) -> Settings:
        """The user's own policies; none are set for a user who is not named."""
        return self.users.get(name.casefold(), Settings(setting_type=SettingType.USER))

    def of_account(self, name: str) -> Settings:
        """The account's policies; none are set for an account that is not named."""
        return self.accounts.get(name.casefold(), Settings(setting_type=SettingType.SAM))


@attrs.frozen
class ListenerConfiguration:
    """One listener: a registry key below WinStations, on Windows."""

    name: str = attrs.field()
    """At most 32 characters, unique."""
    protocol: str
    """A name of the entry-point group ``rdpprov.protocols``, or ``package.module:ManagerClass``."""
    options: Mapping[str, object] = attrs.field(factory=dict)
    """The provider's own: address, certificate, ... The service only hands them out."""
    settings: Mapping[str, object] = attrs.field(factory=dict)
    """Fields of `rdpprov.api.ConnectionSettings` that this listener fixes, whatever the client asks for."""

    @name.validator
    def _fits(self, _attribute: "attrs.Attribute[str]", value: str) -> None:
        if not 0 < len(value) <= LISTENER_NAME_LENGTH:
            raise ValueError(f"listener name {value!r} has not 1 to {LISTENER_NAME_LENGTH} characters")


@attrs.frozen(kw_only=True)
class ServiceConfiguration:
    """All of it."""

    listeners: Sequence[ListenerConfiguration]
    limits: Limits = Limits()
    sessions: SessionsPolicy = SessionsPolicy()
    policies: Policies = attrs.field(factory=Policies)
    license_policy: str = "valid-client"
    """``valid-client``: every client counts as licensed, no packet is exchanged. Others name a `LicenseIssuer`."""
