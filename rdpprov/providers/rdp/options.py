"""What can be configured about an RDP listener: the table ``[listeners.NAME]``, or `serve`'s options."""

from collections.abc import Mapping
from pathlib import Path

import attrs

from rdpprov.errors import ConfigurationError
from rdpprov.providers.options import check_pair, given_keys, integer, names, seconds, text

SECURITY_PROTOCOLS = ("tls",)
"""What `RdpListenerOptions.security` may name. NLA and RDSTLS are not built yet; standard RDP security will not be
offered by default, for its keys are public."""


@attrs.frozen(kw_only=True)
class RdpListenerOptions:
    """An RDP listener's own configuration."""

    host: str = "127.0.0.1"
    """Address to listen on; a name is resolved."""
    port: int = 3389
    """0: any free port."""
    certificate: Path | None = None
    """PEM file, leaf first; none: a self-signed certificate that is kept with the service's state."""
    key: Path | None = None
    """PEM file of the certificate's key."""
    security: tuple[str, ...] = SECURITY_PROTOCOLS
    """Security protocols that a client may choose from."""
    tls_keylog: Path | None = None
    """Append TLS secrets to this file, so that a capture can be read. For tests only: it lays all traffic open."""
    state_dir: Path | None = None
    """Where a generated certificate is kept."""
    half_open_clients: int = 2048
    """Clients that are not through with Client Info; when there are more, the oldest of the same address goes."""
    negotiation_timeout: float = 10.0
    """Seconds for the X.224 negotiation."""
    introduction_timeout: float = 60.0
    """Seconds from the X.224 confirm to Client Info: a human may be reading a certificate prompt meanwhile."""
    send_timeout: float = 60.0
    """Seconds after which a client that accepts nothing is dropped."""
    backlog: int = 1024
    """Connections that the kernel holds for us."""

    @classmethod
    def from_mapping(cls, listener_name: str, options: Mapping[str, object]) -> "RdpListenerOptions":
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
                case "certificate" | "key" | "tls_keylog" | "state_dir":
                    values[key] = Path(text(where, key, value)).expanduser()
                case "security":
                    values[key] = _security(where, value)
                case _:
                    values[key] = seconds(where, key, value)
        check_pair(where, values)
        return cls(**values)  # type: ignore[arg-type]  # each value was checked above, key by key


def _security(where: str, value: object) -> tuple[str, ...]:
    for name in value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else ():
        if name in ("nla", "rdstls", "rdp"):
            raise ConfigurationError(f"{where}: security {name!r} is not built yet, use 'tls'")
    return names(where, "security", value, SECURITY_PROTOCOLS)
