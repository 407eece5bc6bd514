"""Which page a WebSocket may come from, and who is behind a proxy.

A browser lets any page open a WebSocket to any server and only says, in Origin, which page it is ([RFC 6455] 10.2
"Origin Considerations"): whoever does not look serves strangers' pages.
"""

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from rdpprov.errors import ConfigurationError
from rdpprov.web.configuration import IpNetwork, WebConfiguration, is_loopback, normal_origin


class OriginRefusedError(Exception):
    """The request comes from a page that may not open a WebSocket here. The message is for the log."""


def check_origin(configuration: WebConfiguration, origin: str | None, host: str | None) -> None:
    """See that a WebSocket comes from our own page, or from one that is allowed to open it.

    Args:
        configuration: of the web listener.
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
    if is_loopback(configuration.host) and not is_loopback(urlsplit(found).hostname or ""):
        # A stranger's name that now means 127.0.0.1, "DNS rebinding": origin and host agree, and both are theirs.
        raise OriginRefusedError(f"origin {found} on a listener of this machine only")


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
