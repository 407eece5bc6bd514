"""The self-signed certificate that a listener shows when it was given none.

It is kept in the state directory, so that a client which was told once to trust it still does after a restart, and made
anew only shortly before it expires.
"""

import datetime as dt
import ipaddress
import socket
from collections.abc import Callable, Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rdpprov.errors import ConfigurationError
from rdpprov.security.private_files import changing, make_private_directory, read_private, reason_of, write_private

FILE_NAME = "self-signed.pem"
LIFETIME = dt.timedelta(days=820)
"""Apple's clients refuse server certificates that are valid for more than 825 days, whoever trusts them."""
RENEWED_BEFORE_EXPIRY = dt.timedelta(days=60)
"""Checked at start only, so it must be longer than a service usually runs."""
CLOCK_TOLERANCE = dt.timedelta(days=1)
"""A client whose clock is behind, or in the wrong time zone, must not find a certificate of the future."""


def utc_now() -> dt.datetime:
    """The time, aware of being UTC."""
    return dt.datetime.now(dt.UTC)


def self_signed_certificate(directory: Path, *, now: Callable[[], dt.datetime] = utc_now) -> Path:
    """The path of this user's self-signed certificate, made first if there is none or it expires soon.

    One PEM file holds the key (PKCS #8) and then the certificate, so that the two are replaced together.

    Args:
        directory: the state directory; made if need be, and private to the user.
        now: UTC, aware.

    Raises:
        ConfigurationError: the file is there but is not a certificate, is open to others, or cannot be written.
    """
    path = make_private_directory(directory) / FILE_NAME
    if not _is_good(path, now()):
        with changing(path):
            if not _is_good(path, now()):  # another process may just have made it
                write_private(path, make_self_signed([*local_names()], now=now()))
    return path


def _is_good(path: Path, now: dt.datetime) -> bool:
    if not path.exists():
        return False
    pem, _ = read_private(path, "certificate")
    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise ConfigurationError(f"certificate {path}: not a PEM certificate; without it a new one is made") from error
    return now < certificate.not_valid_after_utc - RENEWED_BEFORE_EXPIRY


def certificate_names(path: Path) -> frozenset[str]:
    """The DNS names for which a certificate was issued, in lower case; a first label ``*`` stands for any.

    Args:
        path: PEM, leaf first; other things than certificates may be in it.

    Raises:
        ConfigurationError: the file cannot be read, or has no certificate.
    """
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"certificate {path}: {reason_of(error)}") from error
    except ValueError as error:
        raise ConfigurationError(f"certificate {path}: not a PEM certificate") from error
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):  # clients look nowhere else, [RFC 9525] 2
        return frozenset()
    return frozenset(name.lower() for name in names.get_values_for_type(x509.DNSName))


def local_names() -> Iterable[str]:
    """The names and addresses by which a client on this machine or beside it may call us."""
    yield "localhost"
    host_name = socket.gethostname().lower()
    # A DNS name in a certificate is ASCII, at most 253 long; a host name that is none of that is left out.
    if host_name and host_name != "localhost" and host_name.isascii() and len(host_name) <= 253:
        yield host_name
    yield "127.0.0.1"
    yield "::1"


def make_self_signed(names: list[str], *, now: dt.datetime) -> bytes:
    """Make an RSA-2048 key and a certificate for it, as one PEM file.

    RSA, for not every RDP client accepts an ECDSA certificate, and CredSSP and licensing want the RSA public key.

    Args:
        names: host names and IP addresses for the subject alternative name; the first is the subject too.
        now: UTC, aware.
    """
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    # A common name has at most 64 characters ([RFC 5280] A.1 ub-common-name); clients read the alternative names.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_TOLERANCE)
        .not_valid_after(now - CLOCK_TOLERANCE + LIFETIME)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,  # TLS 1.3, and ECDHE in TLS 1.2
                key_encipherment=True,  # RSA key exchange, which old clients still ask for
                content_commitment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=False,
                crl_sign=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
