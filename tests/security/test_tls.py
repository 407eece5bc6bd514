import ssl
import warnings

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from rdpprov.errors import ConfigurationError
from rdpprov.security.certificates import make_self_signed, utc_now
from rdpprov.security.tls import client_context, server_context


@pytest.fixture(scope="module")
def pem():
    return make_self_signed(["localhost", "127.0.0.1"], now=utc_now())


@pytest.fixture
def files(tmp_path, pem):
    """Certificate and key in files of their own."""
    at = pem.index(b"-----BEGIN CERTIFICATE")
    (tmp_path / "cert.pem").write_bytes(pem[at:])
    (tmp_path / "key.pem").write_bytes(pem[:at])
    return tmp_path / "cert.pem", tmp_path / "key.pem"


def shake_hands(server, client, server_hostname="localhost"):
    """Both ends after a handshake in memory, and what the server has sent beyond it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=server_hostname),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    waiting = ends
    while waiting:
        still = []
        for end in waiting:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                still.append(end)
        waiting = still
    return (*ends, to_client.read())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_spoken_without_tickets(files, version):
    client, server, beyond = shake_hands(server_context(*files), client_context(maximum_version=version))
    assert client.version() == server.version() == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]
    if version is ssl.TLSVersion.TLSv1_3:
        assert beyond == b""  # a ticket would be here


def test_older_versions_are_refused(files):
    client = client_context()
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        client.minimum_version = ssl.TLSVersion.TLSv1
        client.maximum_version = ssl.TLSVersion.TLSv1_1
    client.set_ciphers("DEFAULT@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        shake_hands(server_context(*files), client)


def test_one_file_may_hold_certificate_and_key(tmp_path, pem):
    (tmp_path / "both.pem").write_bytes(pem)
    client, _, _ = shake_hands(server_context(tmp_path / "both.pem"), client_context())
    assert client.version() == "TLSv1.3"


def test_a_client_with_authorities_checks_the_server(files):
    client = client_context(authorities=files[0])
    shake_hands(server_context(*files), client)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server_context(*files), client, server_hostname="elsewhere.example")


def test_the_key_log_is_private_and_holds_both_sides_secrets(files, tmp_path):
    keylog = tmp_path / "keys.log"
    _, server, _ = shake_hands(server_context(*files, keylog=keylog), client_context())
    assert keylog.stat().st_mode & 0o777 == 0o600
    assert "SERVER_TRAFFIC_SECRET_0" in keylog.read_text()
    assert server.version() == "TLSv1.3"


def test_a_key_log_that_cannot_be_written_is_named(files, tmp_path):
    with pytest.raises(ConfigurationError, match=r"TLS key log .*no/keys\.log: no such file or directory"):
        server_context(*files, keylog=tmp_path / "no" / "keys.log")


def other_key(*, password=None):
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


def wrong(name, files):
    """Spoil one thing, and say how the error's message must read."""
    certificate, key = files
    match name:
        case "no certificate":
            certificate.unlink()
            return r"certificate .*cert\.pem: no such file or directory"
        case "no key":
            key.unlink()
            return r"key .*key\.pem: no such file or directory"
        case "garbage certificate":
            certificate.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
            return r"certificate .*cert\.pem: not a PEM certificate"
        case "empty certificate":
            certificate.write_bytes(b"")
            return r"certificate .*cert\.pem: not a PEM certificate"
        case "garbage key":
            key.write_bytes(b"\xff\xfe")
            return r"key .*key\.pem: not a PEM private key"
        case "certificate as key":
            key.write_bytes(certificate.read_bytes())
            return r"key .*key\.pem: not a PEM private key"
        case "another's key":
            key.write_bytes(other_key())
            return r"key .*key\.pem: does not belong to certificate .*cert\.pem"
        case "encrypted key":
            key.write_bytes(other_key(password=b"secret"))
            return r"key .*key\.pem: encrypted, expected a key without passphrase"
        case "directory":
            certificate.unlink()
            certificate.mkdir()
            return r"certificate .*cert\.pem: is a directory"
    raise AssertionError(name)


@pytest.mark.parametrize(
    "name",
    [
        "no certificate",
        "no key",
        "garbage certificate",
        "empty certificate",
        "garbage key",
        "certificate as key",
        "another's key",
        "encrypted key",
        "directory",
    ],
)
def test_what_is_wrong_with_the_files_is_said_in_one_line(files, name):
    expected = wrong(name, files)
    with pytest.raises(ConfigurationError, match=f"^{expected}$") as failure:
        server_context(*files)
    assert "\n" not in str(failure.value)


def test_authorities_that_are_none_are_named(tmp_path):
    (tmp_path / "garbage.pem").write_bytes(b"garbage")
    with pytest.raises(ConfigurationError, match=r"certificate .*garbage\.pem: not a PEM certificate"):
        client_context(authorities=tmp_path / "garbage.pem")
    with pytest.raises(ConfigurationError, match=r"certificate .*none\.pem: no such file or directory"):
        client_context(authorities=tmp_path / "none.pem")
