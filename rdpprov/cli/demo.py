"""``rdpprov demo``: the main job with nothing configured."""

import secrets
import shlex
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rdpprov.accounts.authenticator import FileAuthenticator
from rdpprov.accounts.users_file import User, UserIndex
from rdpprov.cli.configuration import Options, configure
from rdpprov.cli.logs import LogLevel, configure_logging
from rdpprov.cli.serving import host_and_port, ready_line, run_service, say
from rdpprov.errors import ConfigurationError
from rdpprov.rcm.service import ReadyListener
from rdpprov.security.certificates import FILE_NAME

HOST = "127.0.0.1"
FIRST_PORTS = {"rdp": 3389, "rfb": 5900}
"""The protocols' own, so that a client needs no port, unless something else listens there."""
PORTS_TRIED = 100
USER = "demo"
# Neither what a shell would interpret nor what looks like something else when it is typed off a screen.
PASSWORD_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
PASSWORD_LENGTH = 10


def demo(
    *,
    port: int | None = None,
    protocol: Literal["rdp", "rfb"] = "rdp",
    trace_dir: Path | None = None,
    tls_keylog: Path | None = None,
    admin: str | None = None,
    state_dir: Path | None = None,
    log_level: LogLevel = "warning",
) -> None:
    """Show a drawn desktop to clients on this machine. Prints the command that connects one. Ctrl-C ends it.

    Args:
        port: on 127.0.0.1; default: 3389 (RDP) or 5900 (RFB), or the next that is free.
        protocol: for RDP clients, or for VNC viewers.
        trace_dir: record every call of every connection in files of this directory.
        tls_keylog: append TLS secrets to this file, for Wireshark.
        admin: the admin socket for `rdpprov sessions` and its like: a path, or none; default: in the state directory,
            unless another service has one there.
        state_dir: where the self-signed certificate and the admin socket are kept.
        log_level: what to log, on stderr.
    """
    configure_logging(log_level)
    if port is None:
        port = free_port(FIRST_PORTS[protocol])
    configuration = configure(
        None,
        Options(
            listen=f"{HOST}:{port}",
            protocol=protocol,
            tls_keylog=tls_keylog,
            trace_dir=trace_dir,
            admin=admin,
            state_dir=state_dir,
        ),
    )
    password = "".join(secrets.choice(PASSWORD_LETTERS) for _ in range(PASSWORD_LENGTH))
    authenticator = FileAuthenticator(UserIndex([User.new(USER, password)]))
    run_service(
        configuration,
        authenticator,
        lambda listeners: _announce(listeners, password, configuration.state_dir),
        needs_admin=admin is not None,  # two demos at once are nothing unusual
    )


def free_port(first: int = FIRST_PORTS["rdp"]) -> int:
    """The first port from `first` on that nothing listens on.

    Raises:
        ConfigurationError: a hundred are taken.
    """
    for port in range(first, first + PORTS_TRIED):
        with socket.socket() as probe:
            if sys.platform != "win32":  # there the option means to take the port from whoever has it
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise ConfigurationError(f"ports {first} to {first + PORTS_TRIED - 1} on {HOST}: all in use; --port names another")


def _announce(listeners: Sequence[ReadyListener], password: str, state_dir: Path) -> None:
    [listener] = listeners
    if listener.protocol == "rfb":
        commands = viewer_commands(listener, USER, password, state_dir / FILE_NAME)
    else:
        commands = client_commands(host_and_port(listener), USER, password)
    say(ready_line(listener), "", *commands)


def viewer_commands(listener: ReadyListener, user: str, password: str, certificate: Path) -> list[str]:
    """What to paste into another terminal to connect a VNC viewer."""
    return [
        "Paste this into another terminal:",
        "",
        f"  VNC_USERNAME={user} VNC_PASSWORD={password} xtigervncviewer -X509CA={shlex.quote(str(certificate))} "
        f"{listener.address}::{listener.port}",
        "",
        f"Other viewers: TLS by VeNCrypt (X509Plain), user {user}, password {password}. Ctrl-C here ends the demo.",
        f"Those without TLS: RSA-AES; they ask whether the server's key is {listener.fingerprint}, answer yes.",
    ]


def client_commands(address: str, user: str, password: str) -> list[str]:
    """What to paste into another terminal, by client, each alone on its line."""
    return [
        "Paste one of these into another terminal:",
        "",
        f"  xfreerdp /v:{address} /u:{user} /p:{password} /cert:ignore",
        f"  rdesktop -u {user} -p {password} {address}",
        "",
        "The certificate is self-signed: rdesktop asks whether to trust it, answer yes.",
        f"Windows: mstsc /v:{address}, then user {user}, password {password}. Ctrl-C here ends the demo.",
    ]
