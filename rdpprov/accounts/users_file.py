"""The users file: who may log on, as text that a person can read.

One user a line, five or six fields with colons between them; lines that are empty or begin with ``#`` are kept as they
are::

    NAME:DOMAIN:GROUPS:SCRYPT:NTHASH[:STATE]
    anna:CORP:staff,painters:$scrypt$ln=15,r=8,p=1$<salt>$<hash>:8846f7eaee8fb117ad06bdd830b7586c
    bert:::$scrypt$ln=15,r=8,p=1$<salt>$<hash>::disabled,expires=2027-01-31

- ``DOMAIN`` may be empty: the user is then found whatever domain a client names (most name their own machine).
- ``GROUPS`` with commas between them, may be empty.
- ``SCRYPT`` in the usual notation: ``ln`` is the binary logarithm of the cost N ([RFC 7914] 2 "scrypt Parameters"),
  salt and hash are base64 without ``=``.
- ``NTHASH`` in hexadecimal, what NLA needs; may be empty: this user then has no NLA.
- ``STATE`` is ``disabled``, ``expires=`` with a date, or both; without it the account is good.

**Which user a client means.** ``user``, ``DOMAIN\\user`` and ``user@domain`` are understood; a domain in the name beats
the domain field, and ``.`` means none. Names and domains are compared in normal form (NFC) without regard to case
(`str.casefold`). Of the users with that name it is the one with that domain, else the one without domain, else, if the
client named no domain, the only one there is.

An NT hash is as good as the password, so the file is its owner's alone: any other mode than 0600 (or 0400) is refused.
"""

import base64
import binascii
import datetime as dt
import hashlib
import hmac
import os
import re
import secrets
import threading
import unicodedata
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import attrs

from rdpprov.api.identity import LogonError, NtStatus
from rdpprov.errors import ConfigurationError
from rdpprov.security.md4 import nt_hash
from rdpprov.security.private_files import changing, read_private, write_private

MAX_NAME_LENGTH = 104
"""Characters of a user name; with domain the 512 bytes of TS_INFO_PACKET's UserName field hold it."""
MAX_DOMAIN_LENGTH = 255
"""Characters of a domain: a DNS name."""

HEADER = "# rdpprov users: NAME:DOMAIN:GROUPS:SCRYPT:NTHASH[:STATE] (managed by 'rdpprov user'; keep the mode 0600)"

_SCRYPT = re.compile(
    r"\$scrypt\$ln=(?P<log2_n>\d{1,2}),r=(?P<r>\d{1,2}),p=(?P<p>\d{1,2})"
    r"\$(?P<salt>[A-Za-z0-9+/]{1,128})\$(?P<hash>[A-Za-z0-9+/]{1,128})"
)
# What would end a field or part a name from its domain, and what Windows bars from account names besides.
_BARRED = frozenset(':\\@/"[];|=,+*?<>')


def _power_of_two(_instance: object, attribute: "attrs.Attribute[int]", value: int) -> None:
    if not (2 <= value <= 1 << 20 and value & (value - 1) == 0):
        raise ValueError(f"{attribute.name} is {value}, expected a power of two up to 2^20")


@attrs.frozen
class ScryptCost:
    """What one scrypt costs: memory 128 · n · r bytes, time in proportion to n · r · p. Source: [RFC 7914] 2."""

    # 32 MiB and about 0.1 s. Dearer would be show: the NT hash beside it has no salt and falls first.
    n: int = attrs.field(default=1 << 15, validator=_power_of_two)
    r: int = attrs.field(default=8, validator=attrs.validators.and_(attrs.validators.ge(1), attrs.validators.le(32)))
    p: int = attrs.field(default=1, validator=attrs.validators.and_(attrs.validators.ge(1), attrs.validators.le(16)))

    def hash(self, password: str, salt: bytes, length: int = 32) -> bytes:
        """The scrypt hash. Takes its time: run it in a worker thread."""
        return hashlib.scrypt(
            password.encode("utf-8", "surrogatepass"),
            salt=salt,
            n=self.n,
            r=self.r,
            p=self.p,
            maxmem=128 * self.r * (self.n + self.p + 2) + 65536,  # what OpenSSL counts, and a little more
            dklen=length,
        )


@attrs.frozen
class PasswordHash:
    """A password's scrypt hash with what made it."""

    cost: ScryptCost
    salt: bytes = attrs.field(repr=False, metadata={"secret": True})
    digest: bytes = attrs.field(repr=False, metadata={"secret": True})

    @classmethod
    def of(cls, password: str, cost: ScryptCost | None = None) -> "PasswordHash":
        """Hash a new password, with a salt of its own."""
        cost = cost or ScryptCost()
        salt = secrets.token_bytes(16)
        return cls(cost, salt, cost.hash(password, salt))

    @classmethod
    def parse(cls, text: str) -> "PasswordHash":
        """Read the notation of the users file.

        Raises:
            ValueError: it is not that notation, or a cost that nobody could pay.
        """
        match = _SCRYPT.fullmatch(text)
        if match is None:
            raise ValueError("expected $scrypt$ln=..,r=..,p=..$SALT$HASH")
        cost = ScryptCost(1 << int(match["log2_n"]), int(match["r"]), int(match["p"]))
        try:
            salt, digest = (base64.b64decode(match[part] + "=" * (-len(match[part]) % 4)) for part in ("salt", "hash"))
        except binascii.Error as error:
            raise ValueError("salt or hash is not base64") from error
        if len(digest) < 16:
            raise ValueError("expected a hash of at least 16 bytes")
        return cls(cost, salt, digest)

    def verify(self, password: str) -> bool:
        """Whether it is this password's hash. Costs one scrypt, compares in constant time."""
        return hmac.compare_digest(self.cost.hash(password, self.salt, len(self.digest)), self.digest)

    def __str__(self) -> str:
        salt, digest = (base64.b64encode(part).decode().rstrip("=") for part in (self.salt, self.digest))
        return f"$scrypt$ln={self.cost.n.bit_length() - 1},r={self.cost.r},p={self.cost.p}${salt}${digest}"


@attrs.frozen
class User:
    """One user of a users file."""

    name: str
    password: PasswordHash = attrs.field(repr=False, metadata={"secret": True})
    domain: str = ""
    groups: frozenset[str] = frozenset()
    nt_hash: bytes | None = attrs.field(default=None, repr=False, metadata={"secret": True})
    """16 bytes. None: no NLA for this user."""
    disabled: bool = False
    """The account is kept, and nobody may log on with it."""
    expires: dt.date | None = None
    """From the beginning of that day on, nobody may log on with it; None: it does not expire."""

    @classmethod
    def new(
        cls, name: str, password: str, *, domain: str = "", groups: Iterable[str] = (), cost: ScryptCost | None = None
    ) -> "User":
        """A user with both hashes of `password`.

        Raises:
            ConfigurationError: a name that cannot be one, or an empty password, with which nobody may log on remotely.
        """
        return cls(
            check_name(name, "user name", MAX_NAME_LENGTH),
            PasswordHash.of(check_password(password), cost),
            check_name(domain, "domain", MAX_DOMAIN_LENGTH) if domain else "",
            frozenset(check_name(group, "group", MAX_NAME_LENGTH) for group in groups),
            nt_hash(password),
        )

    @classmethod
    def parse(cls, line: str) -> "User":
        """Read one line of a users file.

        Raises:
            ValueError: it is none. The message has no secret in it.
        """
        fields = line.split(":")
        if len(fields) not in (5, 6):
            raise ValueError(f"{len(fields)} fields, expected NAME:DOMAIN:GROUPS:SCRYPT:NTHASH[:STATE]")
        name, domain, groups, scrypt, nt, state = (*fields, "")[:6]
        try:
            check_name(name, "user name", MAX_NAME_LENGTH)
            if domain:
                check_name(domain, "domain", MAX_DOMAIN_LENGTH)
        except ConfigurationError as error:
            raise ValueError(str(error)) from error
        if nt and not re.fullmatch("[0-9A-Fa-f]{32}", nt):
            raise ValueError("the NT hash is not 32 hexadecimal digits")
        disabled, expires = _parse_state(state)
        return cls(
            name,
            PasswordHash.parse(scrypt),
            domain,
            frozenset(filter(None, groups.split(","))),
            bytes.fromhex(nt) if nt else None,
            disabled,
            expires,
        )

    def __str__(self) -> str:
        """The line of the users file. Holds secrets."""
        nt = self.nt_hash.hex() if self.nt_hash is not None else ""
        fields = [self.name, self.domain, ",".join(sorted(self.groups)), str(self.password), nt]
        return ":".join([*fields, self.state] if self.state else fields)

    @property
    def state(self) -> str:
        """``disabled``, ``expires=2027-01-31``, or both with a comma between them; empty: the account is good."""
        expires = f"expires={self.expires.isoformat()}" if self.expires is not None else ""
        return ",".join(filter(None, ("disabled" if self.disabled else "", expires)))

    def check(self, today: dt.date) -> None:
        """See that the account may be used.

        Raises:
            LogonError: STATUS_ACCOUNT_DISABLED or STATUS_ACCOUNT_EXPIRED.
        """
        if self.disabled:
            raise LogonError(f"the account {self.label} is disabled", NtStatus.STATUS_ACCOUNT_DISABLED)
        if self.expires is not None and today >= self.expires:
            raise LogonError(f"the account {self.label} expired on {self.expires}", NtStatus.STATUS_ACCOUNT_EXPIRED)

    @property
    def label(self) -> str:
        """For people: ``anna``, or ``CORP\\anna``."""
        return f"{self.domain}\\{self.name}" if self.domain else self.name

    @property
    def key(self) -> tuple[str, str]:
        """What no other user of the file may share."""
        return folded(self.name), folded(self.domain)


def _parse_state(text: str) -> tuple[bool, dt.date | None]:
    """Whether the account is disabled, and when it expires.

    Raises:
        ValueError: it is no state. Something that is not understood must not open the account.
    """
    disabled, expires = False, None
    for part in text.split(",") if text else ():
        key, _, value = part.partition("=")
        if part == "disabled" and not disabled:
            disabled = True
        elif key == "expires" and expires is None and (day := _parse_day(value)):
            expires = day
        else:
            raise ValueError(f"state {part!r}, expected disabled or expires=YYYY-MM-DD")
    return disabled, expires


def _parse_day(text: str) -> dt.date | None:
    """None: it is no day, or in another of ISO 8601's spellings."""
    with suppress(ValueError):
        day = dt.date.fromisoformat(text)
        return day if day.isoformat() == text else None
    return None


def folded(name: str) -> str:
    """What two spellings of one name have in common."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def check_name(name: str, what: str, longest: int) -> str:
    """The name in normal form.

    Raises:
        ConfigurationError: it is empty, too long, or has a character that would be read as something else.
    """
    name = unicodedata.normalize("NFC", name)
    if not 0 < len(name) <= longest:
        raise ConfigurationError(f"{what}: {len(name)} characters, expected 1 to {longest}")
    if name.strip() != name or name in {".", ".."} or name.startswith("#"):
        raise ConfigurationError(f"{what} {name!r}: may not begin or end with a space, be '.', or begin with '#'")
    if bad := sorted(c for c in set(name) if c in _BARRED or not (c.isprintable() or c == " ")):
        raise ConfigurationError(f"{what} {name!r}: may not contain {' '.join(map(repr, bad))}")
    return name


def check_password(password: str) -> str:
    """The password, if it may be one.

    Raises:
        ConfigurationError: it is empty, or longer than a client can send.
    """
    if not password:
        raise ConfigurationError("password: empty, expected at least one character")
    if len(password) > 255:  # [MS-RDPBCGR] 2.2.1.11.1.1 "Info Packet (TS_INFO_PACKET)": 512 bytes with the terminator
        raise ConfigurationError(f"password: {len(password)} characters, expected at most 255")
    return password


def split_name(user_name: str, domain: str = "") -> tuple[str, str]:
    """Name and domain of what a client sent, by the rule in this module's docstring."""
    if "\\" in user_name:
        domain, user_name = user_name.split("\\", 1)
    elif "@" in user_name:
        user_name, domain = user_name.rsplit("@", 1)
    return user_name, "" if domain == "." else domain


class UserIndex:
    """Users by name and domain. Never changes."""

    def __init__(self, users: Iterable[User]) -> None:
        self.users = tuple(users)
        self._namesakes: dict[str, dict[str, User]] = {}
        for user in self.users:
            name, domain = user.key
            self._namesakes.setdefault(name, {})[domain] = user

    def find(self, user_name: str, domain: str = "") -> User | None:
        """The user that a client means, by the rule in this module's docstring; None if there is none."""
        name, domain = map(folded, split_name(user_name, domain))
        namesakes = self._namesakes.get(name, {})
        if found := namesakes.get(domain) or namesakes.get(""):
            return found
        return next(iter(namesakes.values())) if len(namesakes) == 1 and not domain else None


class Users(Protocol):
    """Where users are looked up: a `UsersFile`, or a `UserIndex` of users that stand in no file."""

    def find(self, user_name: str, domain: str = "") -> User | None:
        """The user that a client means. May read a file: call it in a worker thread.

        Raises:
            ConfigurationError: the users cannot be read just now.
        """


class UsersFile:
    """A users file. It is read again whenever it has changed on disk, so a change holds from the next logon on.

    Safe to use from several threads; changes are safe against other processes that use this class.
    """

    def __init__(self, path: Path, *, cost: ScryptCost | None = None) -> None:
        self.path = path
        self._cost = cost
        self._lock = threading.Lock()
        self._index = UserIndex(())
        self._state: tuple[int, ...] | None = None

    def find(self, user_name: str, domain: str = "") -> User | None:
        """The user that a client means, by the rule in this module's docstring.

        Raises:
            ConfigurationError: as `users`.
        """
        return self._current().find(user_name, domain)

    def users(self) -> tuple[User, ...]:
        """All users, in the file's order.

        Raises:
            ConfigurationError: the file is missing, not its owner's alone, or has a line that is no user.
        """
        return self._current().users

    def add(self, name: str, password: str, *, domain: str = "", groups: Iterable[str] = ()) -> User:
        """Add a user; the file is made if there is none.

        Raises:
            ConfigurationError: there is that user already, or the name or password cannot be one.
        """
        new = User.new(name, password, domain=domain, groups=groups, cost=self._cost)
        with changing(self.path):
            lines = self._lines()
            if any(user and user.key == new.key for _, user in lines):
                raise ConfigurationError(f"users file {self.path}: there is a user {new.label} already")
            self._write([*lines, (str(new), new)])
        return new

    def set_password(self, name: str, password: str, *, domain: str = "") -> None:
        """Give a user another password; all else stays.

        Raises:
            ConfigurationError: there is no such user, or the password cannot be one.
        """
        new = User.new(name, password, domain=domain, cost=self._cost)
        self._change(name, domain, lambda old: attrs.evolve(old, password=new.password, nt_hash=new.nt_hash))

    def set_disabled(self, name: str, disabled: bool, *, domain: str = "") -> None:
        """Let nobody log on with an account, or let its user again.

        Raises:
            ConfigurationError: there is no such user.
        """
        self._change(name, domain, lambda old: attrs.evolve(old, disabled=disabled))

    def set_expiry(self, name: str, expires: dt.date | None, *, domain: str = "") -> None:
        """Let an account end with the beginning of a day, or never.

        Raises:
            ConfigurationError: there is no such user.
        """
        self._change(name, domain, lambda old: attrs.evolve(old, expires=expires))

    def _change(self, name: str, domain: str, change: Callable[[User], User]) -> None:
        with changing(self.path):
            lines = self._lines()
            index, old = self._position(lines, name, domain)
            changed = change(old)
            lines[index] = (str(changed), changed)
            self._write(lines)

    def remove(self, name: str, *, domain: str = "") -> None:
        """Remove a user.

        Raises:
            ConfigurationError: there is no such user.
        """
        with changing(self.path):
            lines = self._lines()
            index, _ = self._position(lines, name, domain)
            del lines[index]
            self._write(lines)

    def _current(self) -> UserIndex:
        with self._lock:
            if self._state is None or self._state != self._state_on_disk():
                content, status = read_private(self.path, "users file")
                self._index = UserIndex(user for _, user in self._parse(content) if user)
                self._state = _state(status)
            return self._index

    def _position(self, lines: list[tuple[str, User | None]], name: str, domain: str) -> tuple[int, User]:
        wanted = folded(name), folded(domain)
        for index, (_, user) in enumerate(lines):
            if user and user.key == wanted:
                return index, user
        label = f"{domain}\\{name}" if domain else name
        raise ConfigurationError(f"users file {self.path}: there is no user {label}")

    def _lines(self) -> list[tuple[str, User | None]]:
        return self._parse(read_private(self.path, "users file")[0]) if self.path.exists() else [(HEADER, None)]

    def _write(self, lines: list[tuple[str, User | None]]) -> None:
        write_private(self.path, "".join(f"{line}\n" for line, _ in lines).encode())

    def _parse(self, content: bytes) -> list[tuple[str, User | None]]:
        """Every line, with the user on it if there is one."""
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"users file {self.path}: not UTF-8 text (byte {error.start})") from error
        lines: list[tuple[str, User | None]] = []
        seen: set[tuple[str, str]] = set()
        for number, line in enumerate(text.split("\n"), 1):
            user = None
            if line.strip() and not line.startswith("#"):
                try:
                    user = User.parse(line.strip())
                except ValueError as error:
                    raise ConfigurationError(f"users file {self.path}, line {number}: {error}") from error
                if user.key in seen:
                    raise ConfigurationError(f"users file {self.path}, line {number}: a second user {user.label}")
                seen.add(user.key)
            lines.append((line, user))
        if not lines[-1][0]:
            lines.pop()  # what follows the last line feed is no line
        return lines

    def _state_on_disk(self) -> tuple[int, ...] | None:
        try:
            return _state(os.stat(self.path))
        except OSError:
            return None  # reading it says what is wrong


def _state(status: os.stat_result) -> tuple[int, ...]:
    """What tells one version of a file from the next; ctime for a changed owner or mode."""
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size
