"""The authenticator: one judge of names and passwords for NLA, the logon desktop, RFB, the web and the broker alike."""

import datetime as dt
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import cast

import attrs
import structlog
import trio

from rdpprov.accounts.attempts import SlowDown, source_of
from rdpprov.accounts.users_file import PasswordHash, ScryptCost, Users, folded, split_name
from rdpprov.api.identity import AuthenticatedUser, LogonError, NtStatus, UserToken
from rdpprov.api.structures import UserCredential
from rdpprov.errors import ConfigurationError

log = structlog.get_logger()


@attrs.frozen
class _Place:
    """What a thread asks as it would a `trio.CapacityLimiter`: a place among its address's, then among all.

    So an address has no more checks in everybody's line than can run at once, and floods only its own.
    """

    own: trio.CapacityLimiter
    everybodys: trio.CapacityLimiter

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        """Wait for both."""
        await self.own.acquire_on_behalf_of(borrower)
        try:
            await self.everybodys.acquire_on_behalf_of(borrower)
        except BaseException:
            self.own.release_on_behalf_of(borrower)
            raise

    def release_on_behalf_of(self, borrower: object) -> None:
        """The check is done."""
        self.everybodys.release_on_behalf_of(borrower)
        self.own.release_on_behalf_of(borrower)


class PasswordAuthenticator(ABC):
    """What all our authenticators do alike: count failures, slow down, remember the verdicts.

    Checking happens in worker threads, for password hashes are slow on purpose.

    Args:
        slow_down: shared between authenticators whose failures count together. Default: one of its own.
        threads: checks that run at once; the others wait their turn.
    """

    def __init__(self, *, slow_down: SlowDown | None = None, threads: int = 2) -> None:
        self._slow_down = SlowDown() if slow_down is None else slow_down
        self._limiter = trio.CapacityLimiter(threads)
        self._limiters: weakref.WeakValueDictionary[str, trio.CapacityLimiter] = weakref.WeakValueDictionary()
        """Of each address that waits for its checks."""
        # A verdict lives as long as somebody holds it; a copy, or one somebody made up, is none.
        self._verdicts: weakref.WeakValueDictionary[object, AuthenticatedUser] = weakref.WeakValueDictionary()

    async def authenticate(self, credential: UserCredential, *, client_address: str, how: str) -> AuthenticatedUser:
        """Check a name and a password.

        After 10 failures within 10 minutes from one address (IPv6: one /64), each further attempt from there is
        answered after 2 s, good or bad, and one after the other, the names in turn.

        Raises:
            LogonError: STATUS_LOGON_FAILURE, whatever was wrong with name or password; STATUS_NO_LOGON_SERVERS if the
                users cannot be looked up; what `_verify` raises.
        """
        started = trio.current_time()
        token = refusal = None
        try:
            # Abandoned when the client goes: nobody waits for the rest of a hash, and the thread's place in the
            # limiter is free only when it is done.
            token = await trio.to_thread.run_sync(
                self._verify, credential, how, abandon_on_cancel=True, limiter=self._place(client_address)
            )
        except ConfigurationError as error:
            log.error("users cannot be looked up", reason=str(error))
            raise LogonError(f"users cannot be looked up: {error}", NtStatus.STATUS_NO_LOGON_SERVERS) from error
        except LogonError as error:  # the password was right: no guess that failed, but it is answered no sooner
            refusal = error
        # Only now, when the answer is known: many attempts at once are slowed down too.
        failed = token is None and refusal is None
        whose = folded(split_name(credential.user_name)[0])
        await self._slow_down.hold_back(client_address, started=started, failed=failed, whose=whose)
        if refusal is not None:
            raise refusal
        if token is None:
            raise LogonError("unknown user, or wrong password")
        verdict = AuthenticatedUser(token)
        self._verdicts[verdict.verdict] = verdict
        return verdict

    def _place(self, address: str) -> trio.CapacityLimiter:
        source = source_of(address)
        own = self._limiters.get(source)
        if own is None:
            own = self._limiters[source] = trio.CapacityLimiter(self._limiter.total_tokens)
        return cast(trio.CapacityLimiter, _Place(own, self._limiter))  # trio takes "anything providing" its two methods

    def vouches_for(self, user: AuthenticatedUser) -> bool:
        """Whether it is a verdict of this authenticator: the object itself, not one that looks like it."""
        return self._verdicts.get(user.verdict) is user

    async def check_account(self, token: UserToken) -> None:
        """Check that the account still may log on, without a password.

        Raises:
            LogonError: it is gone, or may not, or cannot be looked up.
        """
        try:
            await trio.to_thread.run_sync(self._check, token, abandon_on_cancel=True)
        except ConfigurationError as error:
            log.error("users cannot be looked up", reason=str(error))
            raise LogonError(f"users cannot be looked up: {error}", NtStatus.STATUS_NO_LOGON_SERVERS) from error

    @abstractmethod
    def _verify(self, credential: UserCredential, how: str) -> UserToken | None:
        """The user's token, or None if name or password are wrong. Runs in a worker thread, same work in both cases.

        Raises:
            ConfigurationError: users cannot be looked up.
            LogonError: the password is right, but the account may not log on.
        """

    @abstractmethod
    def _check(self, token: UserToken) -> None:
        """See that there is that account, and that it may log on. Runs in a worker thread.

        Raises:
            ConfigurationError: users cannot be looked up.
            LogonError: it may not.
        """


class FileAuthenticator(PasswordAuthenticator):
    """The users of a users file (or of any other `Users`) may log on with their passwords.

    Args:
        users: read anew at each logon, so a change of the file holds at once.
        decoy_cost: scrypt's cost for names that do not exist; must be the one that the users' hashes have, or the time
            of an answer tells which names exist.
        slow_down: see `PasswordAuthenticator`.
        threads: see `PasswordAuthenticator`.
        today: the date, in this machine's time zone, by which accounts expire.
    """

    def __init__(
        self,
        users: Users,
        *,
        decoy_cost: ScryptCost | None = None,
        slow_down: SlowDown | None = None,
        threads: int = 2,
        today: Callable[[], dt.date] = dt.date.today,
    ) -> None:
        super().__init__(slow_down=slow_down, threads=threads)
        self._today = today
        self._users = users
        self._decoy = PasswordHash(decoy_cost or ScryptCost(), salt=bytes(16), digest=bytes(32))

    def _verify(self, credential: UserCredential, how: str) -> UserToken | None:
        user = self._users.find(credential.user_name, credential.domain)
        stored = self._decoy if user is None else user.password
        matches = stored.verify(credential.password)
        if user is None or not matches:
            return None
        user.check(self._today())  # after the password: who does not have it learns nothing
        return UserToken(user.name, user.domain, user.groups, how)

    def _check(self, token: UserToken) -> None:
        user = self._users.find(token.name, token.domain)
        if user is None or user.key != (folded(token.name), folded(token.domain)):
            raise LogonError(f"the account {token.name} is gone", NtStatus.STATUS_ACCOUNT_DISABLED)
        user.check(self._today())
