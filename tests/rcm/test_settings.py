"""Policy beats the listener, the listener beats the client; and every effective value knows where it is from."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.api.enums import ConnectionSettingLevel, SettingLevel, SettingStatus, SettingType
from rdpprov.api.structures import ClientData, ConnectionSettings, Setting, Settings
from rdpprov.errors import HResultError
from rdpprov.rcm.configuration import ListenerConfiguration, Policies
from rdpprov.rcm.settings import EffectiveSettings, Origin, merge, requested_settings
from rdpprov.testing.scripted import PROTOCOL, ScriptedProvider

STATUSES = st.sampled_from(SettingStatus)
FLAGS = ["disable_clip", "disable_cdm", "disable_auto_reconnect", "disable_encryption", "reset_broken"]
SOURCES = (Origin.MACHINE_POLICY, Origin.USER_POLICY, Origin.ACCOUNT)


def enabled(value):
    return Setting(SettingStatus.ENABLED, value)


def settings_of(values):
    """Settings from {field: (status, value)}."""
    return Settings(**{name: Setting(status, value) for name, (status, value) in values.items()})


POLICY = st.dictionaries(st.sampled_from(FLAGS), st.tuples(STATUSES, st.integers(0, 1))).map(settings_of)


@given(policy=POLICY, flags=st.dictionaries(st.sampled_from(FLAGS), st.booleans()))
def test_only_an_enabled_policy_counts(policy, flags):
    before = ConnectionSettings(**flags)
    after = merge(policy, before)
    for name in FLAGS:
        setting = getattr(policy, name)
        expected = bool(setting.value) if setting.status is SettingStatus.ENABLED else getattr(before, name)
        assert getattr(after, name) is expected


@given(policies=st.tuples(POLICY, POLICY, POLICY), listener=st.dictionaries(st.sampled_from(FLAGS), st.booleans()))
def test_the_strongest_policy_that_counts_decides(policies, listener):
    requested = requested_settings(ConnectionSettings(), ClientData(disable_clip=True), listener)
    effective = requested.with_policies(zip(SOURCES, policies, strict=True))
    for name in FLAGS:
        counting = [
            (origin, bool(getattr(policy, name).value))
            for origin, policy in zip(SOURCES, policies, strict=True)
            if getattr(policy, name).counts
        ]
        if counting:
            expected = counting[0]
        elif name in listener:
            expected = (Origin.LISTENER, listener[name])
        elif name == "disable_clip":
            expected = (Origin.CLIENT, True)
        else:
            expected = (Origin.DEFAULT, False)
        assert (effective.origin_of(name), getattr(effective.values, name)) == expected
    assert set(effective.origins()) == {field.name for field in attrs.fields(ConnectionSettings)}


def test_client_data_is_newer_than_what_on_connected_said():
    effective = requested_settings(
        ConnectionSettings(client_name="old", max_idle_time=5), ClientData(client_name="new"), {}
    )
    assert (effective.values.client_name, effective.values.max_idle_time) == ("new", 5)


@pytest.mark.parametrize(
    ("field", "policy", "tighter", "looser"),
    [
        ("disable_clip", True, None, False),
        ("disable_clip", False, True, None),
        ("disable_encryption", False, None, True),
        ("disable_encryption", True, False, None),
        ("encryption_level", 2, 3, 1),
        ("color_depth", 16, 8, 32),
        ("color_depth", 16, None, 0),
        ("max_idle_time", 30, 10, 60),
        ("max_idle_time", 30, None, 0),
        ("max_connection_time", 0, 60, None),
    ],
)
def test_log_on_notify_may_tighten_a_policy_and_not_loosen_one(field, policy, tighter, looser):
    effective = EffectiveSettings(ConnectionSettings(**{field: policy}), {field: Origin.MACHINE_POLICY})
    if tighter is not None:
        after, refused = effective.changed_by_provider(attrs.evolve(effective.values, **{field: tighter}))
        assert (getattr(after.values, field), after.origin_of(field), refused) == (tighter, Origin.PROVIDER, [])
    if looser is not None:
        after, refused = effective.changed_by_provider(attrs.evolve(effective.values, **{field: looser}))
        assert (getattr(after.values, field), after.origin_of(field)) == (policy, Origin.MACHINE_POLICY)
        assert refused == [field]


def test_what_is_no_policy_the_provider_may_change_as_it_likes():
    effective = EffectiveSettings(ConnectionSettings(disable_clip=True), {"disable_clip": Origin.LISTENER})
    after, refused = effective.changed_by_provider(ConnectionSettings(disable_clip=False, client_name="other"))
    assert (after.values.disable_clip, after.values.client_name, refused) == (False, "other", [])
    assert effective.changed_by_provider(effective.values) == (effective, [])


async def test_a_manager_asks_the_service_for_policies_and_its_questions_are_traced(autojump_clock, checked):
    machine = Settings(setting_type=SettingType.MACHINE, disable_clip=enabled(1))
    provider = ScriptedProvider(policies=Policies(machine=machine))
    async with provider.service():
        settings = provider.managers[0].settings
        assert settings.get_settings(SettingType.MACHINE) == machine
        assert settings.get_settings(SettingType.USER) == Settings(setting_type=SettingType.USER)
        assert settings.merge_settings(machine, ConnectionSettings()).disable_clip
        assert settings.authenticator.vouches_for(provider.authenticator.vouch("anna"))
        with pytest.raises(HResultError, match="no policies"):
            settings.get_settings(SettingType.INVALID)
        with pytest.raises(HResultError, match="no level"):
            settings.get_settings(SettingType.MACHINE, SettingLevel.INVALID)
        with pytest.raises(HResultError, match="no level"):
            settings.merge_settings(machine, ConnectionSettings(), ConnectionSettingLevel.INVALID)
    asked = next(call for call in provider.calls if call.name == "Initialize")
    assert asked.args == (settings, machine)
    checked(provider)


async def test_users_and_accounts_have_policies_of_their_own(autojump_clock):
    policies = Policies(
        machine=Settings(disable_clip=enabled(1)),
        users={"ann": Settings(disable_clip=enabled(0), disable_cdm=enabled(1))},
        accounts={"bob": Settings(max_idle_time=enabled(7))},
    )
    listeners = [ListenerConfiguration("scripted", PROTOCOL, settings={"disable_lpt": True})]
    provider = ScriptedProvider(policies=policies, listeners=listeners)
    async with provider.service():
        ann, bob = await provider.log_on("ann"), await provider.log_on("bob")
        settings = ann.args_of("LogonNotify")[4]
        assert (settings.disable_clip, settings.disable_cdm, settings.disable_lpt) == (True, True, True)
        assert bob.args_of("LogonNotify")[4].max_idle_time == 7
        assert ann.callback.settings.origin_of("disable_cdm") is Origin.USER_POLICY
        assert ann.callback.settings.origin_of("disable_lpt") is Origin.LISTENER
        assert bob.callback.settings.origin_of("max_idle_time") is Origin.ACCOUNT
