"""``rdpprov serve``: the service."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import structlog
from cyclopts import Parameter

from rdpprov.accounts.authenticator import FileAuthenticator, PasswordAuthenticator
from rdpprov.accounts.users_file import UsersFile
from rdpprov.cli.configuration import Configuration, Options, configure, read_file
from rdpprov.cli.logs import LogLevel, configure_logging
from rdpprov.cli.serving import fingerprint_lines, ready_line, run_service, say
from rdpprov.errors import ConfigurationError
from rdpprov.rcm.service import ReadyListener


def serve(
    config: Path | None = None,
    /,
    *,
    listen: str | None = None,
    protocol: str | None = None,
    desktop: str | None = None,
    users: Path | None = None,
    security: str | None = None,
    cert: Path | None = None,
    key: Path | None = None,
    license: Annotated[str | None, Parameter(name="--license")] = None,  # noqa: A002 - the option's name
    trace_dir: Path | None = None,
    trace_wire: bool = False,
    tls_keylog: Path | None = None,
    draining: bool = False,
    admin: str | None = None,
    web: str | None = None,
    state_dir: Path | None = None,
    log_level: LogLevel = "info",
) -> None:
    """Run the service. Prints `ready NAME PROTOCOL ADDR:PORT` for each listener when clients can connect.

    SIGHUP: read the policies of the configuration again, and nothing else of it.

    Args:
        config: TOML file; options win over it. Those of a listener are for a single one.
        listen: address and port: ADDR:PORT; port 0 takes any free one.
        protocol: a protocol's name, or package.module:Class.
        desktop: what sessions show: demo, or package.module:Factory.
        users: the users file, made with `rdpprov user add`.
        security: security protocols that a client may choose from, with commas between them.
        cert: PEM file of the certificate; default: a self-signed one in the state directory.
        key: PEM file of the certificate's key.
        license: licensing policy: valid-client.
        trace_dir: record every call of every connection in files of this directory.
        trace_wire: record the bytes too, without passwords.
        tls_keylog: append TLS secrets to this file, for Wireshark. It lays all traffic open.
        draining: take no new sessions from the start on; users still get back into theirs.
        admin: the admin socket for `rdpprov sessions` and its like: a path, or none; default: in the state directory.
        web: address and port of a page for browsers: ADDR:PORT; https, unless only this machine can connect.
        state_dir: where the self-signed certificate, the users file and the admin socket are kept.
        log_level: what to log, on stderr.
    """
    configure_logging(log_level)
    options = Options(
        listen=listen,
        protocol=protocol,
        security=security,
        cert=cert,
        key=key,
        tls_keylog=tls_keylog,
        desktop=desktop,
        users=users,
        license=license,
        trace_dir=trace_dir,
        trace_wire=trace_wire,
        draining=draining,
        admin=admin,
        web=web,
        state_dir=state_dir,
    )
    configuration = configure(None if config is None else read_file(config), options)
    again = None if config is None else lambda: configure(read_file(config), options)
    run_service(configuration, make_authenticator(configuration), _announce, read_again=again)


def make_authenticator(configuration: Configuration) -> PasswordAuthenticator:
    """Who judges logons: PAM if the configuration says so, else the users file.

    Raises:
        ConfigurationError: the users file cannot be used, or there is no PAM.
    """
    if configuration.pam is not None:
        from rdpprov.accounts.pam import NLA_NOTE, PamAuthenticator

        authenticator = PamAuthenticator(configuration.pam)
        structlog.get_logger("rdpprov").warning(NLA_NOTE)
        return authenticator
    users = UsersFile(configuration.users)
    if not configuration.users.exists():
        raise ConfigurationError(
            f"users file {configuration.users}: no such file; make it with: "
            f"rdpprov user add NAME --users {configuration.users}"
        )
    users.users()  # what is wrong with it is to be known now, not at the first logon
    return FileAuthenticator(users)


def _announce(listeners: Sequence[ReadyListener]) -> None:
    say(*map(ready_line, listeners), *fingerprint_lines(listeners))
