import os
import stat

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from rdpprov.errors import ConfigurationError
from rdpprov.security.ra2_key import FILE_NAME, generated_key, read_key


def written(path, key, encryption=None):
    path.touch(0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            encryption or serialization.NoEncryption(),
        )
    )
    return path


def test_a_key_is_made_once_and_kept(tmp_path):
    key = generated_key(tmp_path / "state")
    path = tmp_path / "state" / FILE_NAME
    assert key.key_size == 2048
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = generated_key(tmp_path / "state")
    assert again.public_key() == key.public_key() == read_key(path).public_key()


def test_a_key_file_that_is_none_is_named_and_never_replaced(tmp_path):
    path = tmp_path / FILE_NAME
    path.touch(0o600)
    path.write_bytes(b"nonsense")
    with pytest.raises(ConfigurationError, match=f"{FILE_NAME}: not a PEM private key"):
        generated_key(tmp_path)
    assert path.read_bytes() == b"nonsense"


@pytest.mark.skipif(os.name != "posix", reason="there are no modes")
def test_a_key_that_others_can_read_is_refused(tmp_path):
    generated_key(tmp_path)
    (tmp_path / FILE_NAME).chmod(0o644)
    with pytest.raises(ConfigurationError, match="0644"):
        generated_key(tmp_path)


def test_keys_of_another_kind_or_size_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="no such file"):
        read_key(tmp_path / "missing")
    with pytest.raises(ConfigurationError, match="another kind"):
        read_key(written(tmp_path / "ec", ec.generate_private_key(ec.SECP256R1())))
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    with pytest.raises(ConfigurationError, match="1024 bits, expected 2048 to 8192"):
        read_key(written(tmp_path / "small", small))
    with pytest.raises(ConfigurationError, match="without passphrase"):
        read_key(written(tmp_path / "locked", small, serialization.BestAvailableEncryption(b"pw")))
    weak = rsa.generate_private_key(public_exponent=3, key_size=2048)
    with pytest.raises(ConfigurationError, match="exponent is too small"):
        read_key(written(tmp_path / "weak", weak))
