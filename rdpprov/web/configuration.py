"""What the web listener is told before it starts."""

import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs

from rdpprov.errors import ConfigurationError

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

DEFAULT_PORTS = {"http": 80, "https": 443}


def _positive(_instance: object, attribute: "attrs.Attribute[Any]", value: float) -> None:
    if not value > 0:
        raise ConfigurationError(f"{attribute.name} is {value}, expected more than 0")


def _limit(default: float) -> float:
    limit: float = attrs.field(default=default, validator=_positive)
    return limit


def _count(default: int) -> int:
    count: int = attrs.field(default=default, validator=_positive)
    return count


@attrs.frozen(kw_only=True)
class WebLimits:
    """How much a browser, or what poses as one, gets of us. Times in seconds, sizes in bytes."""

    connections: int = _count(512)
    """TCP connections at once; those beyond are closed as they come."""
    connections_per_address: int = _count(64)
    """Of them, from one address. A browser opens six for a page, and one for each desktop it shows."""
    websockets: int = _count(256)
    """Desktops that browsers look at, at once; those beyond are answered 503."""
    websockets_per_address: int = _count(16)
    """Of them, from one address; those beyond are answered 429."""
    message_size: int = _count(64 * 1024)
    """Of one WebSocket message from the browser; a larger one ends the connection. noVNC sends at most 10 KiB."""
    frames_per_second: int = _count(1000)
    """That are read from one WebSocket, of any kind: what comes faster waits in the sender's own buffers. noVNC sends
    less than a hundred."""
    request_head: int = _count(16 * 1024)
    """Of a request up to its empty line."""
    handshake: float = _limit(10)
    """From the connection to the end of its first request's head, TLS included; and that long may a connection without
    a request stay open."""
    request: float = _limit(30)
    """From the head of a request to the end of its answer."""
    send: float = _limit(30)
    """In which a client has to take 64 KiB."""
    ping: float = _limit(20)
    """Between pings, which keep proxies from dropping a connection on which nothing moves."""
    silence: float = _limit(60)
    """After which a WebSocket counts as dead that has not even answered pings."""
    goodbye: float = _limit(2)
    """For the client to answer a Close frame."""
    stop: float = _limit(8)
    """From the service's stop to the end of the WebSockets that their provider has not ended by itself."""


def _parsed_origins(origins: Sequence[str]) -> frozenset[str]:
    return frozenset(normal_origin(origin) for origin in origins)


def _parsed_hosts(hosts: Sequence[str]) -> frozenset[str]:
    return frozenset(map(_host_name, hosts))


def _host_name(host: str) -> str:
    name = host.lower().rstrip(".")
    if not name or set(name) & set("/:@[] ") or "*" in name.removeprefix("*."):
        raise ConfigurationError(
            f"allowed_hosts: {host!r}, expected a name as desk.example or *.example, without a port"
        )
    if not name.isascii():
        raise ConfigurationError(f"allowed_hosts: {host!r}, expected it as browsers send it: xn--…")
    return name


def _parsed_networks(networks: Sequence[str]) -> tuple[IpNetwork, ...]:
    try:
        return tuple(ipaddress.ip_network(network) for network in networks)
    except ValueError as error:
        raise ConfigurationError(f"trusted_proxies: {error}") from error


@attrs.frozen(kw_only=True)
class WebConfiguration:
    """The table ``[web]``."""

    host: str
    port: int
    """0 takes any free one."""
    tls: bool | None = None
    """None: TLS unless `host` is this machine itself. TLS cannot be switched off for others."""
    certificate: Path | None = None
    """PEM; None: the self-signed one of `state_dir`, if there is to be TLS."""
    key: Path | None = None
    tls_keylog: Path | None = None
    state_dir: Path
    listener: str = "web"
    """The service's listener whose provider speaks to the browsers."""
    origins: frozenset[str] = attrs.field(default=(), converter=_parsed_origins)
    """Pages that may open a WebSocket, as ``https://desk.example:8443``; our own page always may."""
    allowed_hosts: frozenset[str] = attrs.field(default=(), converter=_parsed_hosts)
    """Names by which browsers may reach it, ``*.example`` for all that have one label more. Addresses, ``localhost``
    and the hosts of `origins` always may. Empty: the names of this machine and of the certificate, or none besides
    those if `host` is this machine itself."""
    trusted_proxies: tuple[IpNetwork, ...] = attrs.field(default=(), converter=_parsed_networks)
    """Addresses and networks whose X-Forwarded-For is believed."""
    metrics: bool = False
    """Answer ``/metrics``."""
    metrics_token_file: Path | None = None
    """The token for whoever asks from another machine; None: nobody may."""
    limits: WebLimits = WebLimits()

    def __attrs_post_init__(self) -> None:
        if self.metrics_token_file is not None and not self.metrics:
            raise ConfigurationError("metrics_token_file without metrics")
        if self.key is not None and self.certificate is None:
            raise ConfigurationError("key without certificate")
        if self.tls is False and not is_loopback(self.host):
            raise ConfigurationError(
                f"tls is false, but {self.host} is not this machine: passwords would be on the network in clear"
            )

    @property
    def uses_tls(self) -> bool:
        """Whether the listener speaks https. On loopback a certificate says that it should."""
        if self.tls is not None:
            return self.tls
        return self.certificate is not None or not is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a name or an address means this machine, and nobody else can reach it."""
    host = host.strip("[]").lower().rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):  # [RFC 6761] 6.3
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def normal_origin(origin: str) -> str:
    """An origin in the one spelling that is compared: ``https://desk.example:443``, always with its port.

    Raises:
        ConfigurationError: it is not ``http://HOST`` or ``https://HOST``, with or without a port, and nothing more.
    """
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        parts = urlsplit("")
        port = None
    if (
        parts.scheme not in DEFAULT_PORTS
        or not parts.hostname
        or origin.lower() != f"{parts.scheme}://{parts.netloc.lower()}"
    ):
        raise ConfigurationError(f"origin {origin!r}, expected https://HOST or https://HOST:PORT")
    if not origin.isascii():
        raise ConfigurationError(f"origin {origin!r}, expected it as browsers send it: xn--…")
    if "@" in parts.netloc:
        raise ConfigurationError(f"origin {origin!r} names a user, expected https://HOST or https://HOST:PORT")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{DEFAULT_PORTS[parts.scheme] if port is None else port}"
