import contextlib
import datetime as dt
import importlib.util
import sys
import threading

import attrs
import pytest
import trio
import trio.testing

from rdpprov.accounts.authenticator import FileAuthenticator
from rdpprov.accounts.pam import PamAuthenticator
from rdpprov.accounts.users_file import ScryptCost, User, UserIndex, UsersFile
from rdpprov.api.identity import AuthenticatedUser, LogonError, NtStatus, UserToken
from rdpprov.api.structures import UserCredential
from rdpprov.errors import ConfigurationError

CHEAP = ScryptCost(n=16, r=1)
ANNA = User.new("anna", "secret", groups=["staff"], cost=CHEAP)


@pytest.fixture
def authenticator():
    return FileAuthenticator(UserIndex([ANNA]), decoy_cost=CHEAP)


def log_on(authenticator, name="anna", password="secret", address="192.0.2.1"):
    return authenticator.authenticate(UserCredential(name, password), client_address=address, how="password")


async def test_the_right_password_gives_a_verdict_with_the_files_spelling(authenticator):
    user = await log_on(authenticator, "ANNA")
    assert user.token == UserToken("anna", "", frozenset({"staff"}), "password")
    assert authenticator.vouches_for(user)


async def test_verdicts_cannot_be_made_up_copied_or_carried_over(authenticator):
    user = await log_on(authenticator)
    assert not authenticator.vouches_for(AuthenticatedUser(user.token))
    assert not authenticator.vouches_for(AuthenticatedUser(user.token, user.verdict))
    assert not authenticator.vouches_for(attrs.evolve(user, token=UserToken("root")))
    assert not FileAuthenticator(UserIndex([ANNA])).vouches_for(user)


async def test_an_unknown_user_and_a_wrong_password_fail_alike(authenticator):
    outcomes = []
    for name, password in (("anna", "wrong"), ("nobody", "secret"), ("anna", ""), ("", "")):
        with pytest.raises(LogonError) as failure:
            await log_on(authenticator, name, password)
        outcomes.append((str(failure.value), failure.value.status, failure.value.errinfo))
    assert len(set(outcomes)) == 1
    assert outcomes[0][1] is NtStatus.STATUS_LOGON_FAILURE


async def test_an_unknown_user_costs_as_many_hashes_as_a_wrong_password(monkeypatch):
    hashed = []
    original = ScryptCost.hash

    def counting(self, password, salt, length=32):
        hashed.append((self, length))
        return original(self, password, salt, length)

    monkeypatch.setattr(ScryptCost, "hash", counting)
    authenticator = FileAuthenticator(UserIndex([ANNA]), decoy_cost=CHEAP)
    for name in ("anna", "nobody"):
        with pytest.raises(LogonError):
            await log_on(authenticator, name, "wrong")
    assert hashed == [(CHEAP, 32)] * 2


async def test_at_most_two_passwords_are_hashed_at_once(monkeypatch):
    running = 0
    most = 0
    original = ScryptCost.hash

    def counting(self, password, salt, length=32):
        nonlocal running, most
        running += 1
        most = max(most, running)
        digest = original(ScryptCost(n=1 << 13), password, salt, length)
        running -= 1
        return digest

    monkeypatch.setattr(ScryptCost, "hash", counting)
    authenticator = FileAuthenticator(UserIndex([ANNA]), decoy_cost=CHEAP)

    async def attempt():
        with pytest.raises(LogonError):
            await log_on(authenticator, "nobody")

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(attempt)
    assert most == 2


async def answered_after(authenticator, clock, password):
    """Seconds of the mock clock until an attempt is answered. The clock stands still while hashes are computed."""
    before = trio.current_time()
    answered = trio.Event()

    async def attempt():
        with contextlib.suppress(LogonError):
            await log_on(authenticator, password=password)
        answered.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(attempt)
        while authenticator._limiter.borrowed_tokens == 0 and not answered.is_set():
            await trio.lowlevel.checkpoint()
        while authenticator._limiter.borrowed_tokens:
            await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        while not answered.is_set():
            clock.jump(0.5)
            await trio.testing.wait_all_tasks_blocked()
    return trio.current_time() - before


async def test_after_ten_failures_each_attempt_is_answered_after_two_seconds(authenticator, mock_clock):
    assert [await answered_after(authenticator, mock_clock, "wrong") for _ in range(10)] == [0] * 10
    assert await answered_after(authenticator, mock_clock, "wrong") == 2
    assert await answered_after(authenticator, mock_clock, "secret") == 2
    await log_on(authenticator, address="192.0.2.2")  # somebody else's attempt is not delayed
    mock_clock.jump(601)
    assert await answered_after(authenticator, mock_clock, "secret") == 0


async def test_attempts_that_run_at_once_are_slowed_down_too(authenticator, mock_clock):
    answered = []

    async def attempt():
        with pytest.raises(LogonError):
            await log_on(authenticator, password="wrong")
        answered.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        for _ in range(25):
            nursery.start_soon(attempt)
        while len(answered) < 10 or authenticator._limiters:
            await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        assert len(answered) == 10
        for count in range(11, 26):
            mock_clock.jump(2)
            await trio.testing.wait_all_tasks_blocked()
            assert len(answered) == count


async def test_two_passwords_are_checked_at_a_time_and_no_more():
    class CountingUsers:
        """Two threads have to be here at once to get any further; a third would be noticed."""

        def __init__(self):
            self.both, self.lock, self.now, self.most = threading.Barrier(2), threading.Lock(), 0, 0

        def find(self, user_name, domain=""):
            with self.lock:
                self.now += 1
                self.most = max(self.most, self.now)
            self.both.wait(30)
            with self.lock:
                self.now -= 1
            return ANNA

    users = CountingUsers()
    authenticator = FileAuthenticator(users)
    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(log_on, authenticator)
    assert users.most == 2


async def test_an_address_with_many_attempts_does_not_fill_everybodys_line():
    class SlowUsers:
        """Who looks up a name is let through by the test."""

        def __init__(self):
            self.through, self.looked_up = threading.Semaphore(0), []

        def find(self, user_name, domain=""):
            self.through.acquire()
            self.looked_up.append(user_name)

    users = SlowUsers()
    authenticator = FileAuthenticator(users, decoy_cost=CHEAP)

    async def attempt(name, address):
        with pytest.raises(LogonError):
            await log_on(authenticator, name, address=address)

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(attempt, "root", "192.0.2.1")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(attempt, "anna", "192.0.2.2")
        await trio.testing.wait_all_tasks_blocked()
        users.through.release(9)
    assert users.looked_up.index("anna") <= 3
    assert not authenticator._limiters


async def test_a_client_that_leaves_does_not_wait_for_the_hash():
    authenticator = FileAuthenticator(UserIndex([]), decoy_cost=ScryptCost(n=1 << 16))
    with trio.move_on_after(0) as scope:
        await log_on(authenticator)
    assert scope.cancelled_caught


async def test_an_unreadable_users_file_is_nobodys_failure(tmp_path):
    authenticator = FileAuthenticator(UsersFile(tmp_path / "users"))
    for _ in range(12):
        with pytest.raises(LogonError) as failure:
            await log_on(authenticator)
    assert failure.value.status is NtStatus.STATUS_NO_LOGON_SERVERS
    with pytest.raises(LogonError) as failure:
        await authenticator.check_account(UserToken("anna"))
    assert failure.value.status is NtStatus.STATUS_NO_LOGON_SERVERS
    assert len(authenticator._slow_down._counter) == 0


async def test_an_account_is_checked_without_a_password(tmp_path):
    users = UsersFile(tmp_path / "users", cost=CHEAP)
    users.add("anna", "secret", domain="CORP")
    users.add("bert", "secret")
    authenticator = FileAuthenticator(users, decoy_cost=CHEAP)
    await authenticator.check_account(UserToken("anna", "CORP"))
    await authenticator.check_account(UserToken("bert"))
    for token in (UserToken("anna"), UserToken("bert", "CORP"), UserToken("carl")):
        with pytest.raises(LogonError):
            await authenticator.check_account(token)
    users.remove("bert")
    with pytest.raises(LogonError, match="gone"):
        await authenticator.check_account(UserToken("bert"))


def test_pam_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pamela", None)
    with pytest.raises(
        ConfigurationError, match=r"accounts by PAM: needs the package pamela: pip install 'rdpprov\[pam\]'"
    ):
        PamAuthenticator()


@pytest.mark.skipif(importlib.util.find_spec("pamela") is None, reason="needs the extra: pip install 'rdpprov[pam]'")
async def test_pam_refuses_a_user_who_does_not_exist():
    authenticator = PamAuthenticator()
    for name in ("no-such-user-here", "root\0x"):
        with pytest.raises(LogonError) as failure:
            await log_on(authenticator, name)
        assert failure.value.status is NtStatus.STATUS_LOGON_FAILURE
    with pytest.raises(LogonError):
        await authenticator.check_account(UserToken("no-such-user-here"))


STATES = {
    "disabled": ({"disabled": True}, NtStatus.STATUS_ACCOUNT_DISABLED),
    "expired": ({"expires": dt.date(2027, 1, 31)}, NtStatus.STATUS_ACCOUNT_EXPIRED),
}


@pytest.mark.parametrize("state", STATES)
async def test_who_has_the_password_of_an_account_that_may_not_log_on_is_told_why_and_others_learn_nothing(state):
    changes, status = STATES[state]
    users = UserIndex([attrs.evolve(ANNA, **changes)])
    authenticator = FileAuthenticator(users, decoy_cost=CHEAP, today=lambda: dt.date(2027, 1, 31))
    with pytest.raises(LogonError) as refused:
        await log_on(authenticator)
    assert refused.value.status is status
    with pytest.raises(LogonError) as wrong:
        await log_on(authenticator, password="wrong")
    assert wrong.value.status is NtStatus.STATUS_LOGON_FAILURE
    with pytest.raises(LogonError) as back:  # into a session, with a reconnect secret
        await authenticator.check_account(UserToken("anna"))
    assert back.value.status is status
    yesterday = FileAuthenticator(
        UserIndex([attrs.evolve(ANNA, expires=dt.date(2027, 1, 31))]),
        decoy_cost=CHEAP,
        today=lambda: dt.date(2027, 1, 30),
    )
    await log_on(yesterday)
    await yesterday.check_account(UserToken("anna"))


async def test_the_right_password_of_a_disabled_account_is_answered_no_sooner_than_a_wrong_one(mock_clock):
    users = UserIndex([attrs.evolve(ANNA, disabled=True)])
    authenticator = FileAuthenticator(users, decoy_cost=CHEAP)
    for _ in range(10):
        assert await answered_after(authenticator, mock_clock, "wrong") == 0
    assert await answered_after(authenticator, mock_clock, "secret") == 2
