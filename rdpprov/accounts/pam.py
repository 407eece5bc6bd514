"""The users of this machine, through PAM. Needs the extra ``pam`` (``pip install 'rdpprov[pam]'``).

PAM says yes or no to a password and never shows a hash, so network level authentication is off with it.
"""

import importlib
import os
from typing import Any

from rdpprov.accounts.attempts import SlowDown
from rdpprov.accounts.authenticator import PasswordAuthenticator
from rdpprov.accounts.users_file import split_name
from rdpprov.api.identity import LogonError, NtStatus, UserToken
from rdpprov.api.structures import UserCredential
from rdpprov.errors import ConfigurationError

NLA_NOTE = "accounts by PAM: it has no NT hashes, so network level authentication (NLA) is off"


class PamAuthenticator(PasswordAuthenticator):
    """Whoever PAM lets in may log on. The domain that a client names does not matter.

    Args:
        service: whose rules hold: a file in ``/etc/pam.d``.
        slow_down: see `PasswordAuthenticator`.
        threads: more than for scrypt, for PAM waits rather than computes, and it waits 2 s after a failure.

    Raises:
        ConfigurationError: the extra is not installed, or this machine has no PAM.
    """

    def __init__(self, service: str = "login", *, slow_down: SlowDown | None = None, threads: int = 8) -> None:
        super().__init__(slow_down=slow_down, threads=threads)
        self._service = service
        try:
            self._pam: Any = importlib.import_module("pamela")
        except ImportError as error:
            raise ConfigurationError("accounts by PAM: needs the package pamela: pip install 'rdpprov[pam]'") from error
        except (OSError, AttributeError) as error:  # libpam is loaded when pamela is imported
            raise ConfigurationError(f"accounts by PAM: this machine's PAM cannot be loaded: {error}") from error

    def _verify(self, credential: UserCredential, how: str) -> UserToken | None:
        name, _ = split_name(credential.user_name, credential.domain)
        # libpam takes C strings: what followed a NUL would not be checked.
        if not name.isprintable() or "\0" in credential.password:
            return None
        try:
            self._pam.authenticate(name, credential.password, service=self._service, check=False, resetcred=0)
        except (self._pam.PAMError, UnicodeEncodeError):
            return None  # which of the codes it was depends on the modules, and may tell that the user exists
        self._check_account(name)
        return UserToken(name, groups=_groups(name), how=how)

    def _check(self, token: UserToken) -> None:
        self._check_account(token.name)

    def _check_account(self, name: str) -> None:
        try:
            self._pam.check_account(name, service=self._service)
        except self._pam.PAMError as error:
            raise LogonError(f"PAM refuses the account {name}: {error}", NtStatus.STATUS_ACCOUNT_RESTRICTION) from error


def _groups(name: str) -> frozenset[str]:
    """The names of the groups that the machine knows the user to be in; none if it does not know the user."""
    import grp
    import pwd

    try:
        ids = os.getgrouplist(name, pwd.getpwnam(name).pw_gid)
    except KeyError:
        return frozenset()
    names = set()
    for group_id in ids:
        try:
            names.add(grp.getgrgid(group_id).gr_name)
        except KeyError:
            continue  # a number that no directory has a name for
    return frozenset(names)
