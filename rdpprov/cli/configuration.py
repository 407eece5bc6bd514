"""The service's configuration: a TOML file, with the options of ``rdpprov serve`` over it.

::

    state_dir = "/var/lib/rdpprov"      # the self-signed certificate; default: the user's state directory
    trace_dir = "/var/log/rdpprov"      # record every call of every connection; default: nowhere
    trace_wire = false                  # record the bytes, too
    license = "valid-client"
    draining = false                    # true: take no new sessions from the start on

    [listeners.office]                  # as many as you like
    protocol = "rdp"                    # a name of the entry-point group rdpprov.protocols, or package.module:Class
    listen = "0.0.0.0:3389"
    max_connections = 100               # at once; default: as many as the protocol's listener allows
    certificate = "office.pem"          # this and all others are the protocol's own keys
    key = "office.key"

    [listeners.office.settings]         # what clients of this listener get, whatever they ask for
    disable_clip = true
    max_idle_time = 30                  # minutes; `rdpprov.api.ConnectionSettings` has all that there is

    [policies.machine]                  # stronger than listeners and clients; read again on SIGHUP
    max_connect_time = 480              # minutes; `rdpprov.api.Settings` has all that there is
    disable_cdm = true

    [policies.users.anna]               # where the machine's leave it open; "CORP\\anna": of that domain only
    max_idle_time = 60

    [policies.groups.staff]             # ... and where the user's own do; the group that comes first here is stronger
    color_depth = 16

    [policies.accounts.anna]            # ... and where all of these do
    reset_broken = true

    [sessions]
    desktop = "demo"                    # or package.module:Factory
    single_session_per_user = true
    disconnected_limit = 3600           # seconds
    shadow = "consent-control"          # who asks may look on and work; also: consent-view, off; unasked: view, control

    [limits]                            # rdpprov.rcm.configuration.Limits
    logon_desktop = 120
    warning = 60                        # seconds before max_idle_time or max_connection_time is over

    [accounts]
    users = "users"                     # made with `rdpprov user add`; or: pam = "login"

    [admin]
    socket = "/run/rdpprov/admin.sock"  # or "none"; default: admin.sock in the state directory

    [web]                               # a page for browsers; without this table there is none
    listen = "0.0.0.0:8443"
    certificate = "office.pem"          # TLS, always, unless only this machine can connect; default: self-signed
    key = "office.key"
    origins = ["https://desk.example"]  # pages besides ours that may connect
    allowed_hosts = ["office.example"]  # its names for browsers; default: the machine's and the certificate's
    trusted_proxies = ["192.0.2.0/24"]  # whose X-Forwarded-For is believed
    listener = "web"                    # who serves the browsers; default: one without sockets is made, for RFB
    metrics = true                      # answer /metrics, for Prometheus, to programs on this machine
    metrics_token_file = "token"        # ... and on others, if they have the token in this private file

    [web.limits]                        # rdpprov.web.configuration.WebLimits
    websockets = 256

Relative paths start at the working directory, in the file as in options: a protocol's own keys may be paths, too, and
nobody but the protocol knows.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
import platformdirs

from rdpprov.admin.place import IS_POSSIBLE, NONE, default_place
from rdpprov.api.enums import SettingStatus, SettingType
from rdpprov.api.structures import ConnectionSettings, Setting, Settings
from rdpprov.errors import ConfigurationError
from rdpprov.rcm.configuration import (
    Limits,
    ListenerConfiguration,
    Policies,
    ServiceConfiguration,
    SessionsPolicy,
    Shadow,
)
from rdpprov.rcm.settings import merge
from rdpprov.security.private_files import reason_of
from rdpprov.web.configuration import WebConfiguration, WebLimits

LICENSE_POLICIES = ("valid-client",)
WEB_LISTENER = "web"
"""The listener that serves browsers, unless another is named."""
NOT_BUILT = {"broker": "the broker is not built yet"}
OF_THE_MACHINE = ("keep_alive", "keep_alive_start")
"""Policies that hold from before anybody is logged on."""
FLAGS = frozenset(field.name for field in attrs.fields(ConnectionSettings) if isinstance(field.default, bool))
"""Policies that are true or false, as the settings that they decide."""


@attrs.frozen(kw_only=True)
class Configuration:
    """All that ``rdpprov serve`` needs to know."""

    service: ServiceConfiguration
    state_dir: Path
    trace_dir: Path | None = None
    trace_wire: bool = False
    desktop: str = "demo"
    users: Path
    pam: str | None = None
    """A PAM service, which takes the place of `users`."""
    admin: Path | None = None
    """Where the admin socket lies; None: there is none."""
    web: WebConfiguration | None = None
    """None: no browsers."""


@attrs.frozen(kw_only=True)
class Options:
    """The options of ``rdpprov serve``; None where none was given."""

    listen: str | None = None
    protocol: str | None = None
    security: str | None = None
    cert: Path | None = None
    key: Path | None = None
    tls_keylog: Path | None = None
    desktop: str | None = None
    users: Path | None = None
    license: str | None = None
    trace_dir: Path | None = None
    trace_wire: bool = False
    draining: bool = False
    admin: str | None = None
    """A path, or ``none``."""
    web: str | None = None
    state_dir: Path | None = None

    def of_listener(self) -> dict[str, object]:
        """Those that are about a listener, as keys of its table."""
        keys = {
            "protocol": self.protocol,
            "security": self.security.split(",") if self.security is not None else None,
            "certificate": self.cert and str(self.cert),
            "key": self.key and str(self.key),
            "tls_keylog": self.tls_keylog and str(self.tls_keylog),
        }
        given: dict[str, object] = {key: value for key, value in keys.items() if value is not None}
        if self.listen is not None:
            given["host"], given["port"] = parse_address("--listen", self.listen)
        return given


class Table:
    """A table of the file. Whoever reads it asks for each key that there is; `finish` names those nobody asked for."""

    def __init__(self, where: str, values: Mapping[str, object]) -> None:
        self.where = where
        self._values = dict(values)
        self._asked: set[str] = set()

    def _get(self, key: str, kind: type | tuple[type, ...], expected: str) -> Any:
        self._asked.add(key)
        value = self._values.get(key)
        if value is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
            raise ConfigurationError(f"{self.where}: {key} is {value!r}, expected {expected}")
        return value

    def text(self, key: str) -> str | None:
        """A string that is not empty."""
        value: str | None = self._get(key, str, "text")
        if value == "":
            raise ConfigurationError(f"{self.where}: {key} is empty, expected text")
        return value

    def path(self, key: str) -> Path | None:
        """A path; ``~`` is the user's home directory."""
        value = self.text(key)
        return None if value is None else Path(value).expanduser()

    def flag(self, key: str) -> bool | None:
        """``true`` or ``false``."""
        value: bool | None = self._get(key, bool, "true or false")
        return value

    def texts(self, key: str) -> list[str]:
        """A list of strings; empty if there is none."""
        values: list[object] = self._get(key, list, "a list of texts") or []
        if not all(isinstance(value, str) for value in values):
            raise ConfigurationError(f"{self.where}: {key} is {values!r}, expected a list of texts")
        return [str(value) for value in values]

    def number(self, key: str, *, whole: bool = False) -> float | None:
        """A number more than 0."""
        expected = "a whole number, more than 0" if whole else "a number, more than 0"
        value: float | None = self._get(key, int if whole else (int, float), expected)
        if value is not None and not 0 < value < float("inf"):
            raise ConfigurationError(f"{self.where}: {key} is {value!r}, expected {expected}")
        return value

    def whole(self, key: str) -> int | None:
        """A whole number, of any sign."""
        value: int | None = self._get(key, int, "a whole number")
        return value

    def table(self, key: str) -> "Table":
        """A table inside it; an empty one if there is none."""
        value: dict[str, object] | None = self._get(key, dict, "a table")
        where = f"{self.where[:-1]}.{key}]" if self.where.endswith("]") else f"{self.where}: [{key}]"
        return Table(where, value or {})

    def tables(self) -> Iterable[tuple[str, "Table"]]:
        """All tables inside it, by name."""
        return [(name, self.table(name)) for name in self._values]

    def rest(self) -> dict[str, object]:
        """What nobody has asked for."""
        return {key: value for key, value in self._values.items() if key not in self._asked}

    @property
    def is_given(self) -> bool:
        """Whether there is anything in it."""
        return bool(self._values)

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def finish(self) -> None:
        """Nothing more is asked for.

        Raises:
            ConfigurationError: there is a key that nobody asked for.
        """
        for key in self.rest():
            raise ConfigurationError(f"{self.where}: unknown key {key!r}{suggestion(key, self._asked)}")


def suggestion(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'users'?`` if one of the known words looks like it, else nothing."""
    close = difflib.get_close_matches(word, known, 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def read_file(path: Path) -> Table:
    """Read a configuration file.

    Raises:
        ConfigurationError: it cannot be read, or is not TOML.
    """
    try:
        with path.open("rb") as file:
            return Table(str(path), tomllib.load(file))
    except OSError as error:
        raise ConfigurationError(f"configuration {path}: {reason_of(error)}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"configuration {path}: not TOML: {error}") from error


def default_state_dir() -> Path:
    """Where this user's state lies: ``~/.local/state/rdpprov`` on Linux."""
    return platformdirs.user_state_path("rdpprov", appauthor=False)


def default_users_file(state_dir: Path | None = None) -> Path:
    """Where the users file is looked for when none is named."""
    return (state_dir or default_state_dir()) / "users"


def parse_address(where: str, text: str) -> tuple[str, int]:
    """Host and port of ``ADDR:PORT``; an IPv6 address stands in brackets.

    Raises:
        ConfigurationError: it is not that.
    """
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^:\[\]\s]+)):([0-9]{1,5})", text)
    if match is None or not int(match[3]) <= 65535:
        raise ConfigurationError(f"{where}: {text!r}, expected ADDR:PORT, such as 0.0.0.0:3389 or [::1]:3389")
    return match[1] or match[2], int(match[3])


def configure(file: Table | None, options: Options) -> Configuration:
    """Put file and options together; options win. Without a file there is one listener, made of the options.

    Raises:
        ConfigurationError: something in it is wrong, missing or unknown.
    """
    top = file or Table("options", {})
    for key, reason in NOT_BUILT.items():
        if key in top:
            raise ConfigurationError(f"{top.where}: [{key}]: {reason}")
    # The file is read whole, also where an option wins: what is wrong in it is to be said in any case.
    sessions = top.table("sessions")
    accounts = top.table("accounts")
    admin = top.table("admin")
    admin_socket = admin.text("socket")
    own_state_dir, trace_dir, trace_wire = top.path("state_dir"), top.path("trace_dir"), top.flag("trace_wire")
    draining = top.flag("draining")
    desktop = sessions.text("desktop")
    users, pam = accounts.path("users"), accounts.text("pam")
    state_dir = options.state_dir or own_state_dir or default_state_dir()
    license_policy = _license(top, options)
    web = _web(top.table("web"), options, state_dir)
    if users and pam:
        raise ConfigurationError(f"{accounts.where}: users and pam exclude each other")
    configuration = Configuration(
        desktop=options.desktop or desktop or "demo",
        service=ServiceConfiguration(
            listeners=_with_web_listener(_listeners(top.table("listeners"), options, state_dir), web),
            limits=_limits(top.table("limits")),
            sessions=_sessions(sessions),
            policies=_policies(top.table("policies")),
            draining=options.draining or bool(draining),
            license_policy=license_policy,
        ),
        state_dir=state_dir,
        trace_dir=options.trace_dir or trace_dir,
        trace_wire=options.trace_wire or bool(trace_wire),
        users=options.users or users or default_users_file(state_dir),
        pam=None if options.users else pam,
        admin=_admin(options.admin or admin_socket, state_dir),
        web=web,
    )
    accounts.finish()
    admin.finish()
    top.finish()
    return configuration


def _admin(text: str | None, state_dir: Path) -> Path | None:
    if text is None:
        return default_place(state_dir) if IS_POSSIBLE else None
    return None if text == NONE else Path(text).expanduser()


def _web(table: Table, options: Options, state_dir: Path) -> WebConfiguration | None:
    listen, tls = table.text("listen"), table.flag("tls")
    certificate, key = table.path("certificate"), table.path("key")
    tls_keylog, listener = table.path("tls_keylog"), table.text("listener")
    origins, trusted_proxies = table.texts("origins"), table.texts("trusted_proxies")
    allowed_hosts = table.texts("allowed_hosts")
    metrics, metrics_token_file = table.flag("metrics"), table.path("metrics_token_file")
    limits = _given(WebLimits, table.table("limits"))
    table.finish()
    if options.web is not None:
        host, port = parse_address("--web", options.web)
    elif listen is not None:
        host, port = parse_address(f"{table.where}: listen", listen)
    elif table.is_given:
        raise ConfigurationError(f"{table.where}: listen is missing, expected ADDR:PORT")
    else:
        return None
    if certificate is None and key is None:
        certificate, key = options.cert, options.key
    try:
        return WebConfiguration(
            host=host,
            port=port,
            tls=tls,
            certificate=certificate,
            key=key,
            tls_keylog=tls_keylog or options.tls_keylog,
            state_dir=state_dir,
            listener=listener or WEB_LISTENER,
            origins=origins,
            allowed_hosts=allowed_hosts,
            trusted_proxies=trusted_proxies,
            metrics=bool(metrics),
            metrics_token_file=metrics_token_file,
            limits=WebLimits(**limits),  # type: ignore[arg-type]  # a whole number where one is expected
        )
    except ConfigurationError as error:
        raise ConfigurationError(f"{table.where}: {error}") from error


def _with_web_listener(
    listeners: list[ListenerConfiguration], web: WebConfiguration | None
) -> list[ListenerConfiguration]:
    """With one more, that has no sockets, if browsers are to be served and nobody says by whom."""
    names = [listener.name for listener in listeners]
    if web is None or web.listener in names:
        return listeners
    if web.listener != WEB_LISTENER:
        raise ConfigurationError(
            f"[web]: listener {web.listener!r} is none of the listeners{suggestion(web.listener, names)}"
        )
    options: dict[str, object] = {"state_dir": str(web.state_dir), "sockets": False}
    return [*listeners, ListenerConfiguration(WEB_LISTENER, "rfb", options)]


def _license(top: Table, options: Options) -> str:
    in_file = top.text("license")
    policy = options.license or in_file or LICENSE_POLICIES[0]
    if policy not in LICENSE_POLICIES:
        where = "--license" if options.license else f"{top.where}: license"
        reason = "not built yet" if policy == "issue" else f"expected {' or '.join(LICENSE_POLICIES)}"
        raise ConfigurationError(f"{where}: {policy!r}, {reason}")
    return policy


def _listeners(table: Table, options: Options, state_dir: Path) -> list[ListenerConfiguration]:
    given = options.of_listener()
    tables = dict(table.tables())
    if not tables:
        protocol = str(given.get("protocol", "rdp"))
        # The listener of the options is named after its protocol, or after the module of its class.
        name = protocol.partition(":")[0].rpartition(".")[2]
        tables = {name: Table("options", {"protocol": protocol})}
    elif given and len(tables) > 1:
        raise ConfigurationError(
            f"{table.where}: has {len(tables)} listeners; the options of a listener are for a single one"
        )
    return [_listener(name, inner, given, state_dir) for name, inner in tables.items()]


def _listener(name: str, table: Table, given: Mapping[str, object], state_dir: Path) -> ListenerConfiguration:
    protocol = table.text("protocol")
    address: dict[str, object] = {}
    if listen := table.text("listen"):
        address["host"], address["port"] = parse_address(f"{table.where}: listen", listen)
    most = table.number("max_connections", whole=True)
    settings = _fixed_settings(table.table("settings"))
    own = {"state_dir": str(state_dir), **table.rest(), **address, **given}
    chosen = str(own.pop("protocol", protocol or ""))
    if not chosen:
        raise ConfigurationError(f"{table.where}: protocol is missing, expected a name or package.module:Class")
    try:
        return ListenerConfiguration(name, chosen, own, settings, None if most is None else int(most))
    except ValueError as error:
        raise ConfigurationError(f"{table.where}: {error}") from error


def _fixed_settings(table: Table) -> dict[str, object]:
    """Fields of `ConnectionSettings` that a listener fixes, each of its field's type and within its range."""
    values: dict[str, object] = {}
    for field in attrs.fields(ConnectionSettings):
        match field.default:
            case bool():
                values[field.name] = table.flag(field.name)
            case int():
                values[field.name] = table.whole(field.name)
            case str():
                values[field.name] = table.text(field.name)
    table.finish()
    values = {key: value for key, value in values.items() if value is not None}
    try:
        ConnectionSettings(**values)  # type: ignore[arg-type]  # each was read as its field's type
    except ValueError as error:
        raise ConfigurationError(f"{table.where}: {error}") from error
    return values


def _policies(table: Table) -> Policies:
    given: dict[str, Any] = {"machine": _policy(table.table("machine"), SettingType.MACHINE)}
    for key, kind in (("users", SettingType.USER), ("groups", SettingType.USER), ("accounts", SettingType.SAM)):
        policies: dict[str, Settings] = {}
        for name, inner in table.table(key).tables():
            if name.casefold() in map(str.casefold, policies):
                raise ConfigurationError(f"{inner.where}: names that differ only in case are the same")
            policies[name] = _policy(inner, kind)
        given[key] = policies
    table.finish()
    return Policies(**given)


def _policy(table: Table, kind: SettingType) -> Settings:
    """Policies of one kind: what is named is ENABLED with its value, all else NOTCONFIGURED."""
    given: dict[str, Any] = {}
    for field in attrs.fields(Settings):
        name = field.name
        if name in OF_THE_MACHINE and kind is not SettingType.MACHINE and name in table:
            raise ConfigurationError(
                f"{table.where}: {name}: holds from before anybody is logged on, expected in [policies.machine]"
            )
        if isinstance(field.default, bool):
            value: int | None = table.flag(name)
        elif isinstance(field.default, Setting):
            value = table.flag(name) if name in FLAGS else table.whole(name)
        else:
            continue
        if value is None:
            continue
        try:
            given[name] = value if isinstance(field.default, bool) else Setting(SettingStatus.ENABLED, int(value))
            merge(Settings(**given), ConnectionSettings())  # a connection's setting may have less room than a policy
        except ValueError as error:
            reason = str(error).removeprefix("value is ").removeprefix(f"{name} is ")
            raise ConfigurationError(f"{table.where}: {name} is {reason}") from error
    table.finish()
    return Settings(setting_type=kind, **given)


def _limits(table: Table) -> Limits:
    return Limits(**_given(Limits, table))  # type: ignore[arg-type]  # a whole number where one is expected


def _given(limits: type[attrs.AttrsInstance], table: Table) -> dict[str, float]:
    """The limits that a table sets, whole ones where whole numbers are expected."""
    given = {
        field.name: value
        for field in attrs.fields(limits)
        if (value := table.number(field.name, whole=isinstance(field.default, int) and field.type is int)) is not None
    }
    table.finish()
    return given


def _shadow(table: Table) -> Shadow | None:
    name = table.text("shadow")
    if name is None:
        return None
    try:
        return Shadow(name)
    except ValueError:
        choices = ", ".join(choice.value for choice in Shadow)
        raise ConfigurationError(f"{table.where}: shadow = {name!r}, expected one of {choices}") from None


def _sessions(table: Table) -> SessionsPolicy:
    given: dict[str, Any] = {
        "single_session_per_user": table.flag("single_session_per_user"),
        "shadow": _shadow(table),
        "disconnected_limit": table.number("disconnected_limit"),
        "default_width": table.number("default_width", whole=True),
        "default_height": table.number("default_height", whole=True),
    }
    table.finish()
    return SessionsPolicy(**{key: value for key, value in given.items() if value is not None})
