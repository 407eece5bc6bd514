"""Which page a WebSocket may come from, and who is behind a proxy.

A browser lets any page open a WebSocket to any server and only says, in Origin, which page it is ([RFC 6455] 10.2
"Origin Considerations"): whoever does not look serves strangers' pages. And a stranger may let a name of theirs mean
our address for a while, "DNS rebinding": the browser then takes our page for theirs, and origin and host agree. So we
know our names, and answer to no others.
"""

import ipaddress
import socket
from collections.abc import Collection
from pathlib import Path
from urllib.parse import urlsplit

from rdpprov.errors import ConfigurationError
from rdpprov.security.certificates import certificate_names
from rdpprov.web.configuration import IpNetwork, WebConfiguration, is_loopback, normal_origin


class OriginRefusedError(Exception):
    """The request comes from a page that may not open a WebSocket here. The message is for the log."""


class HostRefusedError(Exception):
    """The request is for a host that we are not. The message is for the log and for who asked."""


def host_names(configuration: WebConfiguration, certificate: Path | None) -> frozenset[str]:
    """The names by which browsers may reach the web listener.

    Args:
        configuration: of the web listener.
        certificate: that it shows; None: it shows none.

    Raises:
        ConfigurationError: the certificate cannot be read.
    """
    names = {urlsplit(origin).hostname or "" for origin in configuration.origins}
    if configuration.allowed_hosts:
        return _without_dots(configuration.allowed_hosts | names)
    names.add(configuration.host.lower())
    if not is_loopback(configuration.host):
        label = (own := socket.gethostname().lower()).partition(".")[0]
        names |= {own, label, f"{label}.local"}  # [RFC 6762] 3 "Multicast DNS Names"
        if certificate is not None:
            names |= certificate_names(certificate)
    return _without_dots(names)


def _without_dots(names: Collection[str]) -> frozenset[str]:
    """As they are compared: "desk.example." is the same host as without the dot of DNS's root."""
    return frozenset(name.rstrip(".") for name in names) - {""}


def check_host(names: Collection[str], host: str | None) -> None:
    """See that a request is for us.

    Args:
        names: of `host_names`. An address is no name, and nobody can make it mean another machine.
        host: the header Host; None if there is none.

    Raises:
        HostRefusedError: it is for a host of another name.
    """
    if host is None:
        return
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        name = ""
    name = name.rstrip(".")
    if not name:
        raise HostRefusedError(f"Host {host[:200]!r} is no host")
    if is_loopback(name) or _is_address(name) or name in names or f"*.{name.partition('.')[2]}" in names:
        return
    raise HostRefusedError(
        f"{name[:200]!r} is not a name of this server: allowed_hosts in the table [web] has its names"
    )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def check_origin(configuration: WebConfiguration, names: Collection[str], origin: str | None, host: str | None) -> None:
    """See that a WebSocket comes from our own page, or from one that is allowed to open it.

    Args:
        configuration: of the web listener.
        names: of `host_names`.
        origin: the header Origin; None if there is none, which no browser does: what is not a browser carries nobody
            else's rights and could write there what it likes.
        host: the header Host.

    Raises:
        OriginRefusedError: it does not.
    """
    if origin is None:
        return
    try:
        found = normal_origin(origin.lower())  # "null", of a sandboxed frame or a file, is none either
    except ConfigurationError:
        raise OriginRefusedError(f"origin {origin[:200]!r} is no origin") from None
    if found in configuration.origins:
        return
    if host is None:
        raise OriginRefusedError(f"origin {found} and no Host")
    # Behind a proxy that ends TLS the page's scheme is not ours: the host decides.
    scheme = found.partition("://")[0]
    try:
        ours = normal_origin(f"{scheme}://{host.lower()}")
    except ConfigurationError:
        raise OriginRefusedError(f"Host {host[:200]!r} is no host") from None
    if found != ours:
        raise OriginRefusedError(f"origin {found}, expected {ours}")
    try:
        check_host(names, host)
    except HostRefusedError as error:
        raise OriginRefusedError(f"origin {found}: {error}") from error


def client_address(peer: str, forwarded_for: Collection[str], trusted: Collection[IpNetwork]) -> str:
    """Whose request it is: the last address on its way that is not a proxy of ours.

    Args:
        peer: who opened the connection.
        forwarded_for: the headers X-Forwarded-For, in their order; each proxy appends the address it was called from.
        trusted: whose headers are believed. What stands before an address that is not trusted may be a lie.
    """
    address = bare_address(peer)
    hops = [hop.strip() for header in forwarded_for for hop in header.split(",")]
    while hops and is_trusted(address, trusted):
        hop = bare_address(hops.pop())
        try:
            ipaddress.ip_address(hop)
        except ValueError:
            break
        address = hop
    return address


def is_trusted(address: str, trusted: Collection[IpNetwork]) -> bool:
    """Whether an address is in one of the networks."""
    if not trusted:
        return False
    try:
        parsed = ipaddress.ip_address(bare_address(address))
    except ValueError:
        return False
    return any(parsed in network for network in trusted)


def bare_address(address: str) -> str:
    """Without zone, without the IPv6 clothes of an IPv4 address, as sockets of both kinds hand it out."""
    address = address.partition("%")[0]
    return address[7:] if address.lower().startswith("::ffff:") and "." in address else address
