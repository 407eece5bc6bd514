"""TLS contexts: the server's from a certificate and its key, the client's for our own client half.

RDP carries TLS 1.2 and 1.3 ([MS-RDPBCGR] 5.4.5 "Enhanced RDP Security"); older versions are off.
"""

import os
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from rdpprov.errors import ConfigurationError
from rdpprov.security.private_files import reason_of

_ANONYMOUS = "AECDH:@SECLEVEL=0"
"""OpenSSL has it below its first security level only; ADH would need parameters of its own, and is no better."""

MAX_PEM_SIZE = 1024 * 1024
"""Bytes; a chain of certificates has a few thousand."""


def server_context(certificate: Path, key: Path | None = None, *, keylog: Path | None = None) -> ssl.SSLContext:
    """A TLS server's context.

    Args:
        certificate: PEM file: the server's certificate, then those that lead to its authority, if any.
        key: PEM file with its private key, not encrypted. Default: it stands in the certificate's file too.
        keylog: a file to which every connection's secrets are appended, for Wireshark (NSS key log format). Whoever has
            it reads all traffic; it is made with mode 0600.

    Raises:
        ConfigurationError: one of the files is missing or not what it should be, or the key is another certificate's.
    """
    key = key or certificate
    _check_pair(certificate, key)
    context = _context(ssl.PROTOCOL_TLS_SERVER, keylog)
    try:
        context.load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError) as error:  # for example a key that is too short for this OpenSSL's security level
        raise ConfigurationError(f"certificate {certificate}: OpenSSL refuses it: {error}") from error
    # A remote-desktop client connects once and stays, and no client is known to resume; tickets would cost two more
    # records and their encryption in each TLS 1.3 handshake. In TLS 1.2 they stay on, where they cost nothing unless
    # the client asks: without them OpenSSL would keep every session in its memory, for clients that never return.
    context.num_tickets = 0
    return context


def anonymous_server_context(*, keylog: Path | None = None) -> ssl.SSLContext:
    """TLS without a certificate, as VeNCrypt has it: nobody can listen, but anybody can be in the middle.

    TLS 1.3 has no such thing, so it is 1.2.

    Args:
        keylog: as in `server_context`.

    Raises:
        ConfigurationError: `keylog` cannot be used.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, keylog)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_ANONYMOUS)
    return context


def anonymous_client_context(*, keylog: Path | None = None) -> ssl.SSLContext:
    """The client's end of `anonymous_server_context`."""
    context = client_context(keylog=keylog, maximum_version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(_ANONYMOUS)
    return context


def client_context(
    *,
    authorities: Path | None = None,
    keylog: Path | None = None,
    minimum_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    maximum_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> ssl.SSLContext:
    """A TLS client's context.

    Args:
        authorities: PEM file of the certificates to trust; the server's name is checked too. Without it any
            certificate will do, as remote-desktop servers sign their own: the caller compares it with one it knows
            (`SSLObject.getpeercert(binary_form=True)`), or asks somebody.
        keylog: as in `server_context`.
        minimum_version: the oldest to offer.
        maximum_version: the newest to offer.

    Raises:
        ConfigurationError: `authorities` or `keylog` cannot be used.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, keylog)
    context.minimum_version = minimum_version
    context.maximum_version = maximum_version
    if authorities is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        try:
            context.load_verify_locations(authorities)
        except ssl.SSLError as error:
            raise ConfigurationError(f"certificate {authorities}: not a PEM certificate") from error
        except OSError as error:
            raise ConfigurationError(f"certificate {authorities}: {reason_of(error)}") from error
    return context


def _context(protocol: int, keylog: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_3
    if keylog is not None:
        try:
            os.close(os.open(keylog, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))
            context.keylog_filename = str(keylog)
        except OSError as error:
            raise ConfigurationError(f"TLS key log {keylog}: {reason_of(error)}") from error
    return context


def _check_pair(certificate_path: Path, key_path: Path) -> None:
    """Name the file that is wrong and why, which OpenSSL's own messages ("PEM lib") do not."""
    certificate_pem = _read(certificate_path, "certificate")
    key_pem = certificate_pem if key_path == certificate_path else _read(key_path, "key")
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)  # the first, as OpenSSL takes it
        public_key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(f"certificate {certificate_path}: not a PEM certificate") from error
    try:
        key = serialization.load_pem_private_key(key_pem, password=None)
    except TypeError as error:  # what cryptography raises when there would have to be a password
        raise ConfigurationError(f"key {key_path}: encrypted, expected a key without passphrase") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(f"key {key_path}: not a PEM private key") from error
    if key.public_key() != public_key:
        raise ConfigurationError(f"key {key_path}: does not belong to certificate {certificate_path}")


def _read(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_PEM_SIZE)
    except OSError as error:
        raise ConfigurationError(f"{what} {path}: {reason_of(error)}") from error
