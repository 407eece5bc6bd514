import datetime as dt
import ipaddress
import socket
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from rdpprov.errors import ConfigurationError
from rdpprov.security.certificates import LIFETIME, make_self_signed, self_signed_certificate, utc_now


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "state" / "rdpprov"


def load(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_the_certificate_has_what_clients_look_for(directory):
    path = self_signed_certificate(directory)
    certificate = load(path)
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.key_size == 2048
    assert key.public_key() == certificate.public_key()
    assert isinstance(certificate.signature_hash_algorithm, hashes.SHA256)
    certificate.verify_directly_issued_by(certificate)

    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"localhost", socket.gethostname().lower()} <= set(names.get_values_for_type(x509.DNSName))
    assert {ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")} == set(
        names.get_values_for_type(x509.IPAddress)
    )
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert certificate.not_valid_before_utc < utc_now() - dt.timedelta(hours=23)


def test_it_is_private_to_the_user(directory):
    path = self_signed_certificate(directory)
    assert path.stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700


def test_a_restart_finds_the_same_certificate(directory):
    first = self_signed_certificate(directory).read_bytes()
    assert self_signed_certificate(directory).read_bytes() == first


def test_it_is_renewed_before_it_expires(directory):
    start = utc_now()
    first = load(self_signed_certificate(directory, now=lambda: start))
    assert load(self_signed_certificate(directory, now=lambda: start + LIFETIME / 2)) == first
    later = start + LIFETIME - dt.timedelta(days=30)
    renewed = load(self_signed_certificate(directory, now=lambda: later))
    assert renewed != first
    assert renewed.not_valid_after_utc > first.not_valid_after_utc
    assert renewed.public_key() != first.public_key()


def test_processes_that_start_at_once_agree_on_one(directory):
    found = []
    starters = [
        threading.Thread(target=lambda: found.append(self_signed_certificate(directory).read_bytes())) for _ in range(4)
    ]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    assert not list(directory.glob(".self-signed.pem.?*[!k]"))  # nothing but the lock is left beside it


def test_a_certificate_file_that_is_none_is_named(directory):
    path = self_signed_certificate(directory)
    path.write_bytes(b"garbage")
    with pytest.raises(ConfigurationError, match=r"certificate .*self-signed\.pem: not a PEM certificate"):
        self_signed_certificate(directory)


def test_a_key_that_others_can_read_is_refused(directory):
    path = self_signed_certificate(directory)
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="mode 0644 is open to others, expected 0600"):
        self_signed_certificate(directory)


def test_a_state_directory_that_others_can_write_in_is_refused(tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigurationError, match="mode 0777 lets others write in it"):
        self_signed_certificate(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"directory .*file: "):
        self_signed_certificate(tmp_path / "file")


def test_a_long_host_name_still_makes_a_certificate():
    name = ".".join(["x" * 60] * 3)
    certificate = x509.load_pem_x509_certificate(make_self_signed([name, "192.0.2.1"], now=utc_now()))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [name]
