"""Policies that change while clients are here: the managers are told, and whoever is logged on obeys at once.

The provider API has no call that tells one connection new settings. What the service enforces itself (time limits,
reconnect secrets, what becomes of a session whose connection breaks) follows the new policies nevertheless; a manager
that wants to do more about its clients learns of them by NotifySettingsChange, and asks for a user's by GetSettings.
"""

from collections.abc import Iterator

import structlog

from rdpprov.api.enums import SettingType
from rdpprov.api.structures import Settings
from rdpprov.rcm.configuration import Policies
from rdpprov.rcm.context import ServiceContext
from rdpprov.rcm.events import PoliciesChanged
from rdpprov.rcm.limits import rearm
from rdpprov.rcm.session_table import Session
from rdpprov.rcm.settings import EffectiveSettings, policy_layers

log = structlog.get_logger(__name__)


async def change_policies(service: ServiceContext, policies: Policies) -> None:
    """Put other policies in force: every session obeys before the first wait, then every manager is told.

    NotifySettingsChange comes once for each kind that has changed, with all policies of the kind. Those of users and
    accounts depend on who is logged on, so none are set in it: it says that they are to be asked for again.
    """
    former, service.policies = service.policies, policies
    sessions = [session for session in service.sessions if not session.is_temporary]
    for session in sessions:
        obey(service, session)
    changed = list(changes(former, policies))
    log.info(
        "policies changed" if changed else "policies are the same as before",
        kinds=[settings.setting_type.name for settings in changed],
        sessions=len(sessions),
    )
    if changed:
        service.feed.publish(PoliciesChanged(tuple(settings.setting_type.name for settings in changed)))
    for settings in changed:
        for manager in service.managers.values():
            manager.notify(manager.manager.notify_settings_change, settings)
    for manager in service.managers.values():
        await manager.caught_up()


def changes(former: Policies, policies: Policies) -> Iterator[Settings]:
    """What NotifySettingsChange is called with: of each kind that differs, the policies without any user."""
    if policies.machine != former.machine:
        yield policies.machine
    if (policies.users, list(policies.groups.items())) != (former.users, list(former.groups.items())):
        yield Settings(setting_type=SettingType.USER)
    if policies.accounts != former.accounts:
        yield Settings(setting_type=SettingType.SAM)


def obey(service: ServiceContext, session: Session) -> None:
    """Let a user's session, and the client that shows it, be under the policies in force now."""
    holder = session.holder
    if holder is not None and holder.settings is not None:
        holder.settings = under_policies(service, session, holder.settings)
        settings: EffectiveSettings | None = holder.settings
    else:
        settings = session.settings = session.settings and under_policies(service, session, session.settings)
    if settings is not None and settings.values.disable_auto_reconnect:
        session.secret = None
    rearm(service, session)


def under_policies(service: ServiceContext, session: Session, settings: EffectiveSettings) -> EffectiveSettings:
    """The same settings under the policies in force now."""
    assert session.user is not None
    return settings.with_policies(policy_layers(service.policies, session.user))
