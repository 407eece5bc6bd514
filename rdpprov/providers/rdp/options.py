"""What can be configured about an RDP listener: the table ``[listeners.NAME]``, or `serve`'s options."""

import difflib
from collections.abc import Mapping
from pathlib import Path

import attrs

from rdpprov.errors import ConfigurationError

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
        known = {field.name for field in attrs.fields(cls)}
        for key in options:
            if key not in known:
                close = difflib.get_close_matches(key, known, 1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise ConfigurationError(f"{where}: unknown key {key!r}{hint}")
        values: dict[str, object] = {}
        for key, value in options.items():
            if value is None:
                continue
            match key:
                case "host":
                    values[key] = _text(where, key, value)
                case "port" | "half_open_clients" | "backlog":
                    values[key] = _integer(where, key, value, 0 if key == "port" else 1, 65535)
                case "certificate" | "key" | "tls_keylog" | "state_dir":
                    values[key] = Path(_text(where, key, value)).expanduser()
                case "security":
                    values[key] = _security(where, value)
                case _:
                    values[key] = _seconds(where, key, value)
        if ("certificate" in values) != ("key" in values):
            missing = "key" if "certificate" in values else "certificate"
            raise ConfigurationError(f"{where}: {missing!r} is missing: a certificate and its key go together")
        return cls(**values)  # type: ignore[arg-type]  # each value was checked above, key by key


def _text(where: str, key: str, value: object) -> str:
    if not isinstance(value, str | Path) or not str(value):
        raise ConfigurationError(f"{where}: {key!r} is {value!r}, expected text")
    return str(value)


def _integer(where: str, key: str, value: object, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ConfigurationError(f"{where}: {key!r} is {value!r}, expected a number from {low} to {high}")
    return value


def _seconds(where: str, key: str, value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
        raise ConfigurationError(f"{where}: {key!r} is {value!r}, expected seconds, more than 0")
    return float(value)


def _security(where: str, value: object) -> tuple[str, ...]:
    names = tuple(value.split(",")) if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not names:
        raise ConfigurationError(
            f"{where}: 'security' is {value!r}, expected a list of {', '.join(SECURITY_PROTOCOLS)}"
        )
    for name in names:
        if name in ("nla", "rdstls", "rdp"):
            raise ConfigurationError(f"{where}: security {name!r} is not built yet, use 'tls'")
        if name not in SECURITY_PROTOCOLS:
            raise ConfigurationError(f"{where}: unknown security {name!r}, expected {', '.join(SECURITY_PROTOCOLS)}")
    return tuple(names)
