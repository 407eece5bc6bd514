"""What can be configured about an RFB listener: the table ``[listeners.NAME]``, or `serve`'s options."""

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

from rdpprov.errors import ConfigurationError
from rdpprov.protocol.rfb.server import ServerOptions
from rdpprov.providers.options import check_pair, flag, given_keys, integer, names, seconds, text
from rdpprov.security.private_files import read_private
from rdpprov.security.vnc_auth import PASSWORD_SIZE, read_stored_vnc_password
from rdpprov.sessions.layouts import FALLBACK, LAYOUTS
from rdpprov.wire.rfb.handshake import SecurityType, VencryptSubtype

SUBTYPES: Final[Mapping[str, VencryptSubtype]] = {
    "vencrypt-x509-plain": VencryptSubtype.X509_PLAIN,
    "vencrypt-x509-vnc": VencryptSubtype.X509_VNC,
    "vencrypt-x509-none": VencryptSubtype.X509_NONE,
    "vencrypt-tls-plain": VencryptSubtype.TLS_PLAIN,
    "vencrypt-tls-vnc": VencryptSubtype.TLS_VNC,
    "vencrypt-tls-none": VencryptSubtype.TLS_NONE,
    "vencrypt-plain": VencryptSubtype.PLAIN,
}
RSA_AES: Final[Mapping[str, SecurityType]] = {
    "ra2-256": SecurityType.RA2_256,
    "ra2": SecurityType.RA2,
    "ra2ne-256": SecurityType.RA2NE_256,
    "ra2ne": SecurityType.RA2NE,
}
SECURITY: Final = (*SUBTYPES, *RSA_AES, "vnc", "none")
"""What `RfbListenerOptions.security` may name. ``plain``: name and password of an account; ``vnc``: the password of
the listener, then the logon desktop; ``none``: the logon desktop. ``x509``: TLS with a certificate; ``tls``: TLS
without, behind which anybody may be in the middle. ``ra2``: name and password of an account, encrypted by AES with keys
that are exchanged by RSA, and all that follows; ``ra2ne``: only them."""

BY_DEFAULT: Final = ("vencrypt-x509-plain",)
BY_DEFAULT_WITH_KEY: Final = (*BY_DEFAULT, "ra2-256", "ra2")
"""Where there is a place for the key of RSA-AES: for viewers that know no TLS."""
WITHOUT_SOCKETS: Final = ("vencrypt-plain",)
"""By default, where whoever brings the streams protects them (https)."""
UNPROTECTED: Final = frozenset({"none", "vnc", "vencrypt-plain", "ra2ne", "ra2ne-256"})
"""These let in anybody, or show the network passwords of accounts (those that follow ``vnc`` are typed into a logon
desktop that nothing encrypts), or leave the session to whoever is in the middle (``ra2ne``): only on loopback, unless
told otherwise."""
LAYOUT_NAMES: Final = {layout.name: layout for layout in LAYOUTS.values()}


@attrs.frozen(kw_only=True)
class RfbListenerOptions:
    """An RFB listener's own configuration."""

    host: str = "127.0.0.1"
    """Address to listen on; a name is resolved."""
    port: int = 5900
    """0: any free port."""
    sockets: bool = True
    """False: it does not listen; clients come by `RfbListener.serve_stream` alone."""
    certificate: Path | None = None
    """PEM file, leaf first; none: a self-signed certificate that is kept with the service's state."""
    key: Path | None = None
    """PEM file of the certificate's key."""
    rsa_key: Path | None = None
    """PEM file of an RSA key for the security types ``ra2…``, mode 0600, 2048 bits or more; none: one that is generated
    and kept with the service's state."""
    security: tuple[str, ...] = BY_DEFAULT
    """Of ``vencrypt-x509-plain``, ``vencrypt-x509-vnc``, ``vencrypt-x509-none``, ``vencrypt-tls-plain``,
    ``vencrypt-tls-vnc``, ``vencrypt-tls-none``, ``vencrypt-plain``, ``ra2-256``, ``ra2``, ``ra2ne-256``, ``ra2ne``,
    ``vnc``, ``none`` (`SECURITY`), best first: clients take the first that they know. A configuration that names none
    offers the first and ``ra2-256`` and ``ra2`` if it has a `state_dir`, as it always has on the command line, or an
    `rsa_key`."""
    vnc_password_file: Path | None = None
    """Mode 0600: as ``vncpasswd`` writes it, or the password itself in one line. Eight characters count."""
    allow_none_anywhere: bool = False
    """Offer ``vencrypt-plain``, ``ra2ne-256``, ``ra2ne``, ``vnc`` and ``none`` (`UNPROTECTED`) on other addresses than
    loopback, too."""
    keyboard_layout: int = FALLBACK.identifier
    """Windows's keyboard layout id (a configuration may have a name: us, uk, de, fr), of the session's keyboard: RFB
    clients do not say theirs. Text does not depend on it: what the layout cannot type is sent as characters."""
    tls_keylog: Path | None = None
    """Append TLS secrets to this file, so that a capture can be read. For tests only: it lays all traffic open."""
    state_dir: Path | None = None
    """Where a generated certificate and a generated RSA key are kept."""
    half_open_clients: int = 2048
    """Clients that are not through with ClientInit; when there are more, the oldest of the same address goes."""
    negotiation_timeout: float = 30.0
    """Seconds to the choice of a security type."""
    introduction_timeout: float = 120.0
    """Seconds from there to ClientInit: a human types the password inside it."""
    send_timeout: float = 60.0
    """Seconds after which a client that accepts nothing is dropped."""
    backlog: int = 1024
    """Connections that the kernel holds for us."""

    @property
    def server_options(self) -> ServerOptions:
        """For the machine."""
        types: dict[SecurityType, None] = {}
        for name in self.security:
            match name:
                case "none":
                    types[SecurityType.NONE] = None
                case "vnc":
                    types[SecurityType.VNC_AUTHENTICATION] = None
                case _ if name in RSA_AES:
                    types[RSA_AES[name]] = None
                case _:
                    types[SecurityType.VENCRYPT] = None
        return ServerOptions(tuple(types), self.subtypes)

    @property
    def subtypes(self) -> tuple[VencryptSubtype, ...]:
        """Of VeNCrypt, best first."""
        return tuple(SUBTYPES[name] for name in self.security if name in SUBTYPES)

    @property
    def uses_rsa_aes(self) -> bool:
        """Whether there has to be a key for RSA-AES."""
        return any(name in RSA_AES for name in self.security)

    @property
    def uses_vnc_password(self) -> bool:
        """Whether clients may be asked for the listener's own password."""
        return "vnc" in self.security or any(subtype.vnc_authentication for subtype in self.subtypes)

    def read_vnc_password(self, where: str) -> bytes:
        """The listener's own password; empty if it has none.

        Raises:
            ConfigurationError: it needs one, and the file is missing, open to others, or empty.
        """
        if not self.uses_vnc_password:
            return b""
        if self.vnc_password_file is None:
            raise ConfigurationError(f"{where}: security by VNC authentication needs 'vnc_password_file'")
        content, _ = read_private(self.vnc_password_file, "VNC password file")
        # vncpasswd writes 8 bytes, or 16 with a second password for watching; a line of text ends with a line feed.
        is_stored = len(content) in (PASSWORD_SIZE, 2 * PASSWORD_SIZE) and not content.endswith(b"\n")
        password = read_stored_vnc_password(content) if is_stored else content.splitlines()[0] if content else b""
        if not password:
            raise ConfigurationError(f"VNC password file {self.vnc_password_file}: no password in it")
        return password

    def check_address(self, where: str, address: str) -> None:
        """Whether what is offered may be offered there.

        Raises:
            ConfigurationError: it may not.
        """
        found = sorted(UNPROTECTED.intersection(self.security))
        if found and not self.allow_none_anywhere and not _is_loopback(address):
            raise ConfigurationError(
                f"{where}: security {', '.join(found)} on {address}, which others can reach: "
                "set allow_none_anywhere if that is what you want"
            )

    @classmethod
    def from_mapping(cls, listener_name: str, options: Mapping[str, object]) -> "RfbListenerOptions":
        """Check a configuration table.

        Raises:
            ConfigurationError: an unknown key or a value of the wrong kind; the message names listener and key.
        """
        where = f"listener {listener_name}"
        values: dict[str, object] = {}
        for key, value in given_keys(where, cls, options):
            match key:
                case "host":
                    values[key] = text(where, key, value)
                case "port" | "half_open_clients" | "backlog":
                    values[key] = integer(where, key, value, 0 if key == "port" else 1, 65535)
                case "keyboard_layout":
                    values[key] = _layout(where, value)
                case "certificate" | "key" | "tls_keylog" | "state_dir" | "rsa_key" | "vnc_password_file":
                    values[key] = Path(text(where, key, value)).expanduser()
                case "sockets" | "allow_none_anywhere":
                    values[key] = flag(where, key, value)
                case "security":
                    values[key] = names(where, key, value, SECURITY)
                case _:
                    values[key] = seconds(where, key, value)
        if values.get("sockets") is False:
            values.setdefault("security", WITHOUT_SOCKETS)
        elif "state_dir" in values or "rsa_key" in values:
            values.setdefault("security", BY_DEFAULT_WITH_KEY)
        check_pair(where, values)
        return cls(**values)  # type: ignore[arg-type]  # each value was checked above, key by key


def _layout(where: str, value: object) -> int:
    if isinstance(value, str):
        if value not in LAYOUT_NAMES:
            raise ConfigurationError(f"{where}: keyboard layout {value!r}, expected {', '.join(LAYOUT_NAMES)}")
        return LAYOUT_NAMES[value].identifier
    return integer(where, "keyboard_layout", value, 1, 0xFFFFFFFF)


def _is_loopback(address: str) -> bool:
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False  # a name is looked at when it is known what it stands for
