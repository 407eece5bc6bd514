"""``rdpprov user``: who may log on, in a users file."""

import datetime as dt
import getpass
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from rdpprov.accounts.users_file import UsersFile, check_password, split_name
from rdpprov.cli.configuration import default_users_file
from rdpprov.errors import ConfigurationError
from rdpprov.security.private_files import make_private_directory

app = App(name="user", result_action="return_value")

UsersOption = Annotated[Path | None, Parameter(name="--users", help="The users file; default: in the state directory.")]
MAX_LINE = 4096
"""Characters of a line on stdin, far beyond any password."""


@app.command
def add(name: str, *, users: UsersOption = None, groups: str = "") -> None:
    """Add a user. The password is asked for, or read from stdin: one line.

    Args:
        name: user, or DOMAIN\\\\user.
        groups: names of groups, with commas between them.
    """
    path = users or default_users_file()
    if users is None:
        make_private_directory(path.parent)
    user_name, domain = split_name(name)
    members = [group.strip() for group in groups.split(",") if group.strip()]
    UsersFile(path).add(user_name, _password(), domain=domain, groups=members)


@app.command
def passwd(name: str, *, users: UsersOption = None) -> None:
    """Give a user another password, asked for or read from stdin."""
    user_name, domain = split_name(name)
    UsersFile(users or default_users_file()).set_password(user_name, _password(), domain=domain)


@app.command
def remove(name: str, *, users: UsersOption = None) -> None:
    """Remove a user. Sessions that are open stay; nobody can get into them again."""
    user_name, domain = split_name(name)
    UsersFile(users or default_users_file()).remove(user_name, domain=domain)


@app.command
def disable(name: str, *, users: UsersOption = None) -> None:
    """Keep a user's account, but let nobody log on with it. Sessions that are open stay; nobody can get into them."""
    user_name, domain = split_name(name)
    UsersFile(users or default_users_file()).set_disabled(user_name, True, domain=domain)


@app.command
def enable(name: str, *, users: UsersOption = None) -> None:
    """Let a user whose account was disabled log on again."""
    user_name, domain = split_name(name)
    UsersFile(users or default_users_file()).set_disabled(user_name, False, domain=domain)


@app.command
def expire(name: str, day: str, /, *, users: UsersOption = None) -> None:
    """Let a user's account end: from the beginning of that day on, in this machine's time, nobody can log on with it.

    Args:
        name: user, or DOMAIN\\\\user.
        day: as 2027-01-31, or never.
    """
    user_name, domain = split_name(name)
    UsersFile(users or default_users_file()).set_expiry(user_name, _day(day), domain=domain)


@app.command(name="list")
def list_users(*, users: UsersOption = None) -> None:
    """List users: name, groups, whether network level authentication is possible, and what state the account is in, if
    it is not simply good."""
    for user in UsersFile(users or default_users_file()).users():
        groups = ",".join(sorted(user.groups)) or "-"
        nla = "nla" if user.nt_hash is not None else "no-nla"
        print(user.label, groups, nla, *([user.state] if user.state else []), sep="\t")


def _day(text: str) -> dt.date | None:
    """A date; None: never."""
    if text == "never":
        return None
    try:
        return dt.datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise ConfigurationError(f"day {text!r}, expected YYYY-MM-DD, or never") from None


def _password() -> str:
    """A new password: typed twice at a terminal, else the first line of stdin."""
    if not sys.stdin.isatty():
        # Without the line's end alone: a password may begin or end with a space.
        return check_password(sys.stdin.readline(MAX_LINE).rstrip("\r\n"))
    password = check_password(getpass.getpass("Password: "))
    if getpass.getpass("Again: ") != password:
        raise ConfigurationError("password: the two that were typed differ")
    return password
