"""Policies that change while clients are here, the machine's, users', groups' and accounts'."""

import attrs
import pytest
import trio
import trio.testing

from rdpprov.api.devices import ScancodeKey
from rdpprov.api.enums import SettingStatus, SettingType
from rdpprov.api.identity import ReconnectClaim, UserToken
from rdpprov.api.manager import ProtocolManager
from rdpprov.api.structures import ConnectionSettings, Setting, Settings
from rdpprov.errinfo import ErrInfo
from rdpprov.errors import HResultError
from rdpprov.rcm.configuration import Limits, ListenerConfiguration, Policies
from rdpprov.rcm.settings import Origin
from rdpprov.sessions.base import Notice
from rdpprov.testing.scripted import HANGS, PROTOCOL, Fails, ScriptedManager, ScriptedProvider, Takes


def enabled(value):
    return Setting(SettingStatus.ENABLED, value)


def policy(kind=SettingType.MACHINE, **values):
    return Settings(setting_type=kind, **{name: enabled(value) for name, value in values.items()})


def told(client):
    return client.args_of("SetErrorInfo")[0]


def settings_told(provider):
    return [asked.args[0] for asked in provider.calls if asked.name == "NotifySettingsChange"]


async def leave(client):
    client.goes()
    await client.closed.wait()


async def test_changing_policies_reaches_each_of_fifty_live_connections(autojump_clock, checked):
    users = {f"user{number}": "right" for number in range(50)}
    provider = ScriptedProvider(users=users)
    async with provider.service() as service:
        clients = [await provider.log_on(user) for user in users]
        await trio.sleep(100)
        of_one = {"user7": policy(SettingType.USER, max_idle_time=20, disable_cdm=1)}
        await service.set_policies(Policies(machine=policy(disable_clip=1), users=of_one))
        for client in clients:
            settings = client.callback.settings
            assert settings.values.disable_clip
            assert settings.origin_of("disable_clip") is Origin.MACHINE_POLICY
        assert clients[7].callback.settings.origin_of("disable_cdm") is Origin.USER_POLICY

        await service.set_policies(Policies(machine=policy(max_idle_time=10), users=of_one))
        assert not any(client.callback.settings.values.disable_clip for client in clients)
        await trio.sleep(300)
        clients[3].inputs.send(ScancodeKey(0x1E, True))
        await trio.sleep(201)
        gone = [client for client in clients if client.closed.is_set()]
        assert clients[3] not in gone
        assert len(gone) == 49  # also the one whose own policy leaves it more time: the machine's is stronger
        assert {told(client) for client in gone} == {ErrInfo.ERRINFO_IDLE_TIMEOUT}
    assert all("LogonNotify" not in client.names[client.names.index("LogonNotify") + 1 :] for client in clients)
    checked(provider)


async def test_managers_are_told_each_kind_that_has_changed_and_no_other(autojump_clock, checked):
    provider = ScriptedProvider()
    machine = policy(disable_clip=1)
    of_user = {"ann": policy(SettingType.USER, disable_cdm=1)}
    of_account = {"Ann": policy(SettingType.SAM, disable_lpt=1)}
    async with provider.service() as service:
        await service.set_policies(Policies())
        assert settings_told(provider) == []
        await service.set_policies(Policies(machine=machine))
        assert settings_told(provider) == [machine]
        await service.set_policies(Policies(machine=machine, users=of_user))
        await service.set_policies(Policies(machine=machine, groups=of_user))
        await service.set_policies(Policies(accounts=of_account))
        user, account = Settings(setting_type=SettingType.USER), Settings(setting_type=SettingType.SAM)
        none = Settings(setting_type=SettingType.MACHINE)
        assert settings_told(provider) == [machine, user, user, none, user, account]
        asked = provider.managers[0].settings
        assert asked.get_settings(SettingType.SAM, user=UserToken("ANN")) == of_account["Ann"]
        assert asked.get_settings(SettingType.SAM, user=UserToken("bob")) == account
        assert asked.get_settings(SettingType.SAM) == account
    checked(provider)


async def test_the_order_of_groups_is_a_policy_too(autojump_clock):
    staff, painters = policy(SettingType.USER, color_depth=16), policy(SettingType.USER, color_depth=24)
    provider = ScriptedProvider(policies=Policies(groups={"staff": staff, "painters": painters}))
    async with provider.service() as service:
        await service.set_policies(Policies(groups={"painters": painters, "staff": staff}))
    assert settings_told(provider) == [Settings(setting_type=SettingType.USER)]


async def test_a_manager_asks_for_a_users_policies_with_those_of_the_users_groups(autojump_clock, checked):
    policies = Policies(
        users={
            "ann": policy(SettingType.USER, disable_clip=1),
            "CORP\\ann": policy(SettingType.USER, disable_clip=0, max_idle_time=3),
        },
        groups={
            "Painters": policy(SettingType.USER, color_depth=24, disable_clip=0),
            "staff": policy(SettingType.USER, color_depth=16, disable_cdm=1),
        },
    )
    provider = ScriptedProvider(policies=policies)
    async with provider.service():
        get = provider.managers[0].settings.get_settings
        ann = UserToken("Ann", groups=frozenset({"STAFF", "painters"}))
        assert get(SettingType.USER, user=ann) == policy(
            SettingType.USER, disable_clip=1, color_depth=24, disable_cdm=1
        )
        assert get(SettingType.USER, user=UserToken("ann", "corp")) == policy(
            SettingType.USER, disable_clip=0, max_idle_time=3
        )
        assert get(SettingType.USER, user=UserToken("bob", groups=frozenset({"staff"}))) == policies.groups["staff"]
        assert get(SettingType.USER) == get(SettingType.USER, user=UserToken("bob")) == policy(SettingType.USER)
    checked(provider)


async def test_machine_beats_user_beats_group_beats_account_beats_listener_beats_client(autojump_clock):
    everything = {"disable_clip": 1, "disable_cdm": 1, "disable_lpt": 1, "disable_ccm": 1}
    policies = Policies(
        machine=policy(disable_clip=0),
        users={"ann": policy(SettingType.USER, disable_clip=1, disable_cdm=0)},
        groups={
            "staff": policy(SettingType.USER, disable_clip=1, disable_cdm=1, disable_lpt=0),
            "painters": policy(SettingType.USER, **everything),
        },
        accounts={"ann": policy(SettingType.SAM, **everything, disable_pnp=1)},
    )
    provider = ScriptedProvider(policies=policies)
    token = UserToken("ann", groups=frozenset({"staff", "painters"}))
    async with provider.service() as service:
        client = await provider.log_on("ann")
        (session,) = service.sessions
        session.user = token
        await service.set_policies(attrs.evolve(policies))
        settings = client.callback.settings
    names = [*everything, "disable_pnp", "disable_cpm"]
    assert [getattr(settings.values, name) for name in names] == [False, False, False, True, True, False]
    assert [settings.origin_of(name) for name in names] == [
        Origin.MACHINE_POLICY,
        Origin.USER_POLICY,
        Origin.GROUP_POLICY,
        Origin.GROUP_POLICY,
        Origin.ACCOUNT,
        Origin.DEFAULT,
    ]


async def test_what_the_provider_wrote_at_the_logon_holds_as_far_as_new_policies_let_it(autojump_clock):
    listeners = [ListenerConfiguration("scripted", PROTOCOL, settings={"disable_clip": True})]
    provider = ScriptedProvider(policies=Policies(machine=policy(max_idle_time=30)), listeners=listeners)
    written = ConnectionSettings(max_idle_time=20, disable_clip=False, color_depth=16)
    async with provider.service() as service:
        client = await provider.log_on("ann", answers={"LogonNotify": written})

        def now(*names):
            settings = client.callback.settings
            return [(getattr(settings.values, name), settings.origin_of(name)) for name in names]

        names = ("max_idle_time", "disable_clip", "color_depth")
        before = now(*names)
        assert before == [(20, Origin.PROVIDER), (False, Origin.PROVIDER), (16, Origin.PROVIDER)]
        await service.set_policies(Policies(machine=policy(max_idle_time=15, disable_clip=1, color_depth=24)))
        assert now(*names) == [(15, Origin.MACHINE_POLICY), (True, Origin.MACHINE_POLICY), (16, Origin.PROVIDER)]
        await service.set_policies(Policies())
        assert now(*names) == before


async def test_policies_that_change_during_log_on_notify_hold_too(autojump_clock):
    provider = ScriptedProvider(policies=Policies(machine=policy(max_idle_time=30)))
    tightened = ConnectionSettings(max_idle_time=20)
    async with provider.service() as service, trio.open_nursery() as nursery:
        answers = {"LogonNotify": Takes(2, tightened)}
        clients = []

        async def log_on():
            clients.append(await provider.log_on("ann", answers=answers))

        nursery.start_soon(log_on)
        await trio.sleep(1)
        await service.set_policies(Policies(machine=policy(max_idle_time=10, disable_cdm=1)))
        await trio.sleep(2)
        settings = clients[0].callback.settings
        assert (settings.values.max_idle_time, settings.values.disable_cdm) == (10, True)
        await trio.sleep(601)
        assert told(clients[0]) == ErrInfo.ERRINFO_IDLE_TIMEOUT


async def test_a_policy_against_reconnecting_voids_the_secrets_that_are_out(autojump_clock, checked):
    provider = ScriptedProvider()
    async with provider.service() as service:
        ann, bob = await provider.log_on("ann"), await provider.log_on("bob")
        secrets = [client.callback.issue_reconnect_secret() for client in (ann, bob)]
        await leave(bob)
        await service.set_policies(Policies(machine=policy(disable_auto_reconnect=1)))
        await leave(ann)
        await service.set_policies(Policies())  # what is void stays void
        for secret in secrets:
            claim = ReconnectClaim(secret.logon_id, secret.secret)
            client = await provider.connect(answers={"AuthenticateClientToSession": claim})
            await trio.testing.wait_all_tasks_blocked()
            assert "LogonNotify" not in client.names
        back = await provider.log_on("ann")
        back.callback.issue_reconnect_secret()
        await service.set_policies(Policies(users={"ann": policy(SettingType.USER, disable_auto_reconnect=1)}))
        with pytest.raises(HResultError, match="policy"):
            back.callback.issue_reconnect_secret()
    checked(provider)


async def test_a_policy_on_broken_connections_holds_for_those_that_are_here(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service() as service:
        client = await provider.log_on("ann")
        await service.set_policies(Policies(machine=policy(reset_broken=1)))
        await leave(client)
        await trio.testing.wait_all_tasks_blocked()
        assert list(service.sessions) == []


async def test_a_limit_that_has_passed_already_is_warned_of_first(autojump_clock):
    provider = ScriptedProvider()
    async with provider.service() as service:
        client = await provider.log_on("ann")
        await trio.sleep(10_000)
        await service.set_policies(Policies(machine=policy(max_idle_time=10)))
        await trio.sleep(59)
        assert [m.text[:6] for m in provider.desktops[0].messages if isinstance(m, Notice)] == ["Nobody"]
        assert not client.closed.is_set()
        await trio.sleep(2)
        assert client.closed.is_set()


async def test_a_policy_that_is_lifted_takes_the_warning_back(autojump_clock):
    provider = ScriptedProvider(policies=Policies(machine=policy(max_connect_time=10)))
    async with provider.service() as service:
        client = await provider.log_on("ann")
        await trio.sleep(550)
        await service.set_policies(Policies())
        await trio.sleep(1000)
        texts = [message.text for message in provider.desktops[0].messages if isinstance(message, Notice)]
        assert (len(texts), texts[-1]) == (2, "")
        assert not client.closed.is_set()


async def test_a_manager_that_hangs_or_fails_over_the_news_holds_nobody_up_for_long(autojump_clock, log):
    provider = ScriptedProvider(limits=Limits(notification=5))
    async with provider.service() as service:
        client = await provider.log_on("ann")
        for answer in (HANGS, Fails(ZeroDivisionError())):
            provider.answers["NotifySettingsChange"] = answer
            minutes = 10 if answer is HANGS else 20
            with trio.fail_after(6):
                await service.set_policies(Policies(machine=policy(max_idle_time=minutes)))
            assert client.callback.settings.values.max_idle_time == minutes
    assert sum(entry.get("call") == "NotifySettingsChange" for entry in log) == 2


async def test_policies_may_be_set_before_the_service_starts_and_after_it_has_stopped(autojump_clock):
    provider = ScriptedProvider()
    service = provider.make_service()
    machine = policy(disable_clip=1)
    await service.set_policies(Policies(machine=machine))
    async with trio.open_nursery() as nursery:
        await nursery.start(service.serve)
        initialize = next(asked for asked in provider.calls if asked.name == "Initialize")
        assert initialize.args[1] == machine
        client = await provider.log_on("ann")
        assert client.args_of("LogonNotify")[4].disable_clip
        service.request_stop()
    await service.set_policies(Policies())
    assert settings_told(provider) == []


async def test_who_is_told_policies_when_the_service_is_cancelled_waits_no_longer(autojump_clock):
    provider = ScriptedProvider({"NotifySettingsChange": HANGS}, limits=Limits(notification=1000))
    service = provider.make_service()
    async with trio.open_nursery() as serving:
        await serving.start(service.serve)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.set_policies, Policies(machine=policy(disable_clip=1)))
            nursery.start_soon(service.set_policies, Policies())
            await trio.testing.wait_all_tasks_blocked()
            serving.cancel_scope.cancel()
        with trio.fail_after(1):
            await service.set_policies(Policies())


async def test_a_manager_without_methods_of_its_own_is_not_asked_about_sessions(autojump_clock, monkeypatch):
    for name in ("state_change", "of_service_start", "of_service_stop"):
        method = f"notify_session_{name}"
        monkeypatch.setattr(ScriptedManager, method, getattr(ProtocolManager, method))
    provider = ScriptedProvider()
    async with provider.service():
        await leave(await provider.log_on("ann"))
    calls = {line.call for line in provider.traces.service.trace().calls}
    assert not any(call.startswith("NotifySession") for call in calls)
