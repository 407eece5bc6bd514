"""Settings: what the client asks for, what the listener fixes, what policy says; and which of them each value is from.

Policy beats the listener, the listener beats the client. Of the policies the machine's comes first, then the user's
own, those of the user's groups, and the account's; each counts only where those before leave the matter open. A value
of a policy counts while its status is ENABLED; DISABLED, NOTCONFIGURED and NOTAPPLICABLE leave things as they are
(``provider_api.md`` 9.2). What the provider writes in LogonNotify may only tighten a policy.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from operator import attrgetter
from typing import Any

import attrs

from rdpprov.api.authenticator import Authenticator
from rdpprov.api.enums import ConnectionSettingLevel, SettingLevel, SettingType
from rdpprov.api.identity import UserToken
from rdpprov.api.settings import ProtocolSettings
from rdpprov.api.structures import ClientData, ConnectionSettings, Setting, Settings
from rdpprov.errors import E_INVALIDARG, HResultError
from rdpprov.rcm.configuration import Policies
from rdpprov.traces.recorder import TraceRecorder


class Origin(Enum):
    """Where an effective value is from, the strongest first."""

    MACHINE_POLICY = "machine policy"
    USER_POLICY = "user policy"
    GROUP_POLICY = "group's policy"
    ACCOUNT = "account"
    LISTENER = "listener"
    PROVIDER = "provider"
    """What the provider wrote in LogonNotify."""
    CLIENT = "client"
    DEFAULT = "default"


POLICIES = (Origin.MACHINE_POLICY, Origin.USER_POLICY, Origin.GROUP_POLICY, Origin.ACCOUNT)

_POLICY_FIELDS = {
    # Field of Settings: field of ConnectionSettings, and whether the second value is tighter than the first.
    "disable_clip": ("disable_clip", lambda policy, value: value >= policy),
    "disable_lpt": ("disable_lpt", lambda policy, value: value >= policy),
    "disable_ccm": ("disable_ccm", lambda policy, value: value >= policy),
    "disable_cdm": ("disable_cdm", lambda policy, value: value >= policy),
    "disable_cpm": ("disable_cpm", lambda policy, value: value >= policy),
    "disable_pnp": ("disable_pnp", lambda policy, value: value >= policy),
    "encryption_level": ("encryption_level", lambda policy, value: value >= policy),
    "color_depth": ("color_depth", lambda policy, value: 0 < value <= policy),
    "disable_auto_reconnect": ("disable_auto_reconnect", lambda policy, value: value >= policy),
    # The one flag whose *disable* loosens.
    "disable_encryption": ("disable_encryption", lambda policy, value: value <= policy),
    "reset_broken": ("reset_broken", lambda policy, value: value >= policy),
    "max_idle_time": ("max_idle_time", lambda policy, value: _shorter(policy, value)),
    "max_disconnect_time": ("max_disconnection_time", lambda policy, value: _shorter(policy, value)),
    "max_connect_time": ("max_connection_time", lambda policy, value: _shorter(policy, value)),
}
_TIGHTER: Mapping[str, Callable[[Any, Any], bool]] = dict(_POLICY_FIELDS.values())

NOBODY = UserToken("")
"""Whose name no policy has."""
CLIENT_FIELDS = tuple(field.name for field in attrs.fields(ClientData))
_client_values: Callable[[object], tuple[object, ...]] = attrgetter(*CLIENT_FIELDS)
_DEFAULTS = ConnectionSettings()
_policy_values: Callable[[object], tuple[Setting, ...]] = attrgetter(*_POLICY_FIELDS)
_NO_POLICIES = _policy_values(Settings())


def _shorter(policy: int, value: int) -> bool:
    """Whether a time limit of ``value`` minutes is no longer than ``policy``; 0 is no limit, the longest of all."""
    return policy == 0 or 0 < value <= policy


@attrs.frozen
class EffectiveSettings:
    """The settings in force for one connection, and where they are from."""

    values: ConnectionSettings
    fixed: Mapping[str, Origin] = attrs.field(factory=dict)
    """By field: what is not simply the client's."""
    requested: "EffectiveSettings | None" = attrs.field(default=None, eq=False, repr=False)
    """What they were before policies and the provider's changes; None: these are they."""
    written: Mapping[str, object] = attrs.field(factory=dict, eq=False, repr=False)
    """By field: what the provider wrote in LogonNotify, whether it was followed or not."""

    def origin_of(self, name: str) -> Origin:
        """Where the value of a field of `ConnectionSettings` is from."""
        if name in self.fixed:
            return self.fixed[name]
        return Origin.DEFAULT if getattr(self.values, name) == getattr(_DEFAULTS, name) else Origin.CLIENT

    def origins(self) -> dict[str, Origin]:
        """... of every field."""
        return {field.name: self.origin_of(field.name) for field in attrs.fields(ConnectionSettings)}

    def with_policies(self, policies: Iterable[tuple[Origin, Settings]]) -> "EffectiveSettings":
        """Fold policies in, the strongest first: the first that counts decides a field.

        Policies that had been folded in before count no more; what the provider wrote does, as far as these let it.
        """
        requested = self.requested or self
        changes: dict[str, object] = {}
        fixed = dict(requested.fixed)
        for origin, settings in policies:
            for name, value in _enabled(settings):
                if fixed.get(name) not in POLICIES:
                    changes[name] = value
                    fixed[name] = origin
        if changes:
            requested = EffectiveSettings(_evolve(requested.values, changes), fixed, requested)
        return requested._with_written(self.written)[0] if self.written else requested

    def changed_by_provider(self, written: ConnectionSettings) -> tuple["EffectiveSettings", list[str]]:
        """What LogonNotify returned: taken over, except where it would loosen a policy.

        Microsoft's page lets a provider override policy by writing a flag; here it may only tighten one.

        Returns:
            The settings, and the names of the fields in which the provider was not followed.
        """
        if written is self.values or written == self.values:
            return self, []
        names = (field.name for field in attrs.fields(ConnectionSettings))
        return self._with_written(
            {name: value for name in names if (value := getattr(written, name)) != getattr(self.values, name)}
        )

    def _with_written(self, written: Mapping[str, object]) -> tuple["EffectiveSettings", list[str]]:
        changes: dict[str, object] = {}
        refused = []
        fixed = dict(self.fixed)
        for name, after in written.items():
            before = getattr(self.values, name)
            if before == after:
                continue
            if fixed.get(name) in POLICIES and not _TIGHTER[name](before, after):
                refused.append(name)
            else:
                changes[name] = after
                fixed[name] = Origin.PROVIDER
        return EffectiveSettings(_evolve(self.values, changes), fixed, self.requested or self, written), refused


def policy_layers(policies: Policies, user: UserToken) -> Iterator[tuple[Origin, Settings]]:
    """The policies that hold for a user, the strongest first, for `EffectiveSettings.with_policies`."""
    yield Origin.MACHINE_POLICY, policies.machine
    if (own := policies.of_user_alone(user)) is not None:
        yield Origin.USER_POLICY, own
    for settings in policies.of_groups(user):
        yield Origin.GROUP_POLICY, settings
    if policies.accounts:
        yield Origin.ACCOUNT, policies.of_account(user)


def requested_settings(
    settings: ConnectionSettings, client: ClientData, listener: Mapping[str, object]
) -> EffectiveSettings:
    """What the client asks for, with what its listener fixes.

    Args:
        settings: OnConnected's.
        client: GetClientData's: newer, so it wins where the two differ.
        listener: fields that the listener fixes.
    """
    changes: dict[str, object] = {}
    if (newer := _client_values(client)) != (older := _client_values(settings)):
        fields = zip(CLIENT_FIELDS, older, newer, strict=True)
        changes = {name: after for name, before, after in fields if before != after}
    changes |= listener
    return EffectiveSettings(_evolve(settings, changes), dict.fromkeys(listener, Origin.LISTENER))


def merge(settings: Settings, connection_settings: ConnectionSettings) -> ConnectionSettings:
    """MergeSettings: one set of policies folded into a connection's settings."""
    return _evolve(connection_settings, dict(_enabled(settings)))


def _enabled(settings: Settings) -> Iterable[tuple[str, object]]:
    """Of the policies those that count: field of `ConnectionSettings`, and its value."""
    values = _policy_values(settings)
    if values == _NO_POLICIES:  # the usual case, and quick: they are the same objects
        return
    for (name, _), setting in zip(_POLICY_FIELDS.values(), values, strict=True):
        if setting.counts:
            yield name, bool(setting.value) if isinstance(getattr(_DEFAULTS, name), bool) else setting.value


def _evolve(settings: ConnectionSettings, changes: Mapping[str, Any]) -> ConnectionSettings:
    return attrs.evolve(settings, **changes) if changes else settings


class ServiceSettings(ProtocolSettings):
    """IWRdsProtocolSettings: what one manager asks the service.

    Args:
        policies: gives those in force now.
        authenticator: handed out as it is.
        options: by listener's name.
        recorder: the service's trace, in which the manager's questions are calls.
        source: the manager's name there.
    """

    def __init__(
        self,
        policies: Callable[[], Policies],
        authenticator: Authenticator,
        options: Mapping[str, Mapping[str, object]],
        recorder: TraceRecorder,
        source: str = "manager",
    ) -> None:
        self._policies = policies
        self._authenticator = authenticator
        self._options = options
        self._recorder = recorder
        self._source = source

    def get_settings(
        self,
        setting_type: SettingType,
        level: SettingLevel = SettingLevel.LEVEL_1,
        *,
        user: UserToken | None = None,
    ) -> Settings:
        """IWRdsProtocolSettings.GetSettings: the policies of one kind.

        Those of users and accounts depend on who logs on: without a user nothing is set.
        """
        arguments: dict[str, object] = {"setting_type": setting_type, "level": level}
        if user is not None:
            arguments["user"] = user
        opened = self._recorder.call(self._source, "settings", "GetSettings", arguments)
        policies = self._policies()
        try:
            if level is not SettingLevel.LEVEL_1:
                raise HResultError(f"no level {level}", E_INVALIDARG)
            match setting_type:
                case SettingType.MACHINE:
                    settings = policies.machine
                case SettingType.USER:
                    settings = policies.of_user(user or NOBODY)
                case SettingType.SAM:
                    settings = policies.of_account(user or NOBODY)
                case _:
                    raise HResultError(f"no policies of kind {setting_type}", E_INVALIDARG)
        except HResultError as error:
            opened.failed(error)
            raise
        opened.returned(settings)
        return settings

    def merge_settings(
        self,
        settings: Settings,
        connection_settings: ConnectionSettings,
        level: ConnectionSettingLevel = ConnectionSettingLevel.LEVEL_1,
    ) -> ConnectionSettings:
        """IWRdsProtocolSettings.MergeSettings: policies folded into a connection's settings."""
        opened = self._recorder.call(self._source, "settings", "MergeSettings", {"settings": settings, "level": level})
        if level is not ConnectionSettingLevel.LEVEL_1:
            refused = HResultError(f"no level {level}", E_INVALIDARG)
            opened.failed(refused)
            raise refused
        merged = merge(settings, connection_settings)
        opened.returned(merged)
        return merged

    @property
    def authenticator(self) -> Authenticator:
        """Verifies a logon that the provider's wire carries."""
        return self._authenticator

    def listener_options(self, listener_name: str) -> Mapping[str, object]:
        """The listener's own configuration."""
        try:
            return self._options[listener_name]
        except KeyError:
            raise HResultError(f"there is no listener {listener_name!r}", E_INVALIDARG) from None
