"""What the Remote Connection Manager is told before it starts: listeners, limits, what holds for sessions."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

import attrs

from rdpprov.api.constants import WTS_LISTENER_NAME_LENGTH
from rdpprov.api.enums import SettingType
from rdpprov.api.identity import UserToken
from rdpprov.api.structures import Setting, Settings


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
    warning: float = _limit(60)
    """How long before a limit of a session (`ConnectionSettings.max_idle_time`, `max_connection_time`) its user is
    warned; but not before half of it is over."""
    shadow_consent: float = _limit(30)
    """How long the user of a session is asked whether it may be shadowed; then the answer is no."""
    logon_desktops: int = attrs.field(default=256, validator=_positive)
    """Logon desktops at once."""


class Shadow(Enum):
    """Whether sessions may be shadowed. Whoever is shadowed sees a notice all the time, in any case."""

    OFF = "off"
    CONSENT_VIEW = "consent-view"
    """To look on, if the user agrees."""
    CONSENT_CONTROL = "consent-control"
    """Also with keyboard and mouse, if the user agrees."""
    VIEW = "view"
    """To look on, and nobody is asked."""
    CONTROL = "control"
    """Also with keyboard and mouse, and nobody is asked."""

    @property
    def with_control(self) -> bool:
        """Keyboard and mouse may be used."""
        return self in (Shadow.CONSENT_CONTROL, Shadow.CONTROL)

    @property
    def with_consent(self) -> bool:
        """The user has to agree."""
        return self in (Shadow.CONSENT_VIEW, Shadow.CONSENT_CONTROL)


@attrs.frozen(kw_only=True)
class SessionsPolicy:
    """What holds for sessions."""

    single_session_per_user: bool = True
    """A user who logs on again gets their active session, and whoever is connected to it is disconnected."""
    disconnected_limit: float | None = None
    """Seconds that a session is kept without a client; None: until the service ends or the user logs off."""
    shadow: Shadow = Shadow.CONSENT_CONTROL
    """Whether an administrator may let others see, and control, a session."""
    default_width: int = 1024
    """Pixels, for a client that says nothing about its screen."""
    default_height: int = 768
    """Pixels, likewise."""


def _by_name(policies: Mapping[str, Settings]) -> Mapping[str, Settings]:
    return {name.casefold(): settings for name, settings in policies.items()}


@attrs.frozen(kw_only=True)
class Policies:
    """Policies as an administrator sets them: for everybody, for users, for groups and for accounts.

    Names are compared without regard to case. ``DOMAIN\\name`` is one domain's user, ``name`` one of any domain.
    """

    machine: Settings = attrs.field(factory=lambda: Settings(setting_type=SettingType.MACHINE))
    """For everybody."""
    users: Mapping[str, Settings] = attrs.field(factory=dict, converter=_by_name)
    """By user; only where the machine's policy leaves it open."""
    groups: Mapping[str, Settings] = attrs.field(factory=dict, converter=_by_name)
    """By group; only where the machine's policy and the user's own leave it open. Of several groups the one that is
    configured first decides."""
    accounts: Mapping[str, Settings] = attrs.field(factory=dict, converter=_by_name)
    """WRDS_SETTING_TYPE_SAM: by account; only where all of the above leave it open."""

    def of_user_alone(self, user: UserToken) -> Settings | None:
        """The user's own policies; None: there are none."""
        return _of(self.users, user)

    def of_groups(self, user: UserToken) -> Sequence[Settings]:
        """The policies of the user's groups, the strongest first."""
        if not (self.groups and user.groups):
            return ()
        names = {group.casefold() for group in user.groups}
        return [settings for name, settings in self.groups.items() if name in names]

    def of_user(self, user: UserToken) -> Settings:
        """WRDS_SETTING_TYPE_USER: the user's own policies and those of their groups, as one."""
        own = self.of_user_alone(user)
        return _folded(SettingType.USER, [*([own] if own is not None else []), *self.of_groups(user)])

    def of_account(self, user: UserToken) -> Settings:
        """WRDS_SETTING_TYPE_SAM: the account's policies; none are set for an account that is not named."""
        return _of(self.accounts, user) or Settings(setting_type=SettingType.SAM)


def _of(policies: Mapping[str, Settings], user: UserToken) -> Settings | None:
    if not policies:
        return None
    name = user.name.casefold()
    return policies.get(f"{user.domain.casefold()}\\{name}") or policies.get(name)


def _folded(kind: SettingType, policies: Sequence[Settings]) -> Settings:
    """Several as one: of each policy the first that counts."""
    folded: dict[str, Any] = {}
    for settings in policies:
        for field in attrs.fields(Settings):
            value = getattr(settings, field.name)
            if isinstance(value, Setting) and value.counts:
                folded.setdefault(field.name, value)
    return Settings(setting_type=kind, **folded)


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
    max_connections: int | None = None
    """Connections at once; None: as many as the listener itself says in GetSettings."""

    @name.validator
    def _fits(self, _attribute: "attrs.Attribute[str]", value: str) -> None:
        if not 0 < len(value) <= WTS_LISTENER_NAME_LENGTH:
            raise ValueError(f"listener name {value!r} has not 1 to {WTS_LISTENER_NAME_LENGTH} characters")


@attrs.frozen(kw_only=True)
class ServiceConfiguration:
    """All of it."""

    listeners: Sequence[ListenerConfiguration]
    limits: Limits = Limits()
    sessions: SessionsPolicy = SessionsPolicy()
    policies: Policies = attrs.field(factory=Policies)
    draining: bool = False
    """Begin to drain at the start: only sessions that outlived a former service are given back."""
    license_policy: str = "valid-client"
    """``valid-client``: every client counts as licensed, no packet is exchanged. Others name a `LicenseIssuer`."""
