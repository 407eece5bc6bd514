"""The RSA key of a server for RSA-AES: given, or generated and kept.

Viewers remember it, as they remember a host's key in SSH: it is never replaced unless somebody takes it away.
"""

from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from rdpprov.errors import ConfigurationError
from rdpprov.security.private_files import changing, make_private_directory, read_private, write_private
from rdpprov.wire.rfb.rsa_aes import MAX_KEY_BITS, MIN_EXPONENT

FILE_NAME: Final = "ra2-key.pem"
GENERATED_BITS: Final = 2048
MIN_BITS: Final = 2048
"""Of a server's key, which has to last. Viewers may come with 1024."""


def generated_key(directory: Path) -> rsa.RSAPrivateKey:
    """This user's key, made first if there is none.

    Args:
        directory: the state directory; made if need be, and private to the user.

    Raises:
        ConfigurationError: the file is there but is no such key, is open to others, or cannot be written.
    """
    path = make_private_directory(directory) / FILE_NAME
    if not path.exists():
        with changing(path):
            if not path.exists():  # another process may just have made it
                write_private(path, _new_pem())
    return read_key(path)


def read_key(path: Path) -> rsa.RSAPrivateKey:
    """The key in a PEM file, not encrypted.

    Raises:
        ConfigurationError: it is missing, open to others, no RSA key, or one that is too small or too large.
    """
    pem, _ = read_private(path, "RSA key")
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError as error:  # what cryptography raises when there would have to be a password
        raise ConfigurationError(f"RSA key {path}: encrypted, expected a key without passphrase") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(f"RSA key {path}: not a PEM private key") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ConfigurationError(f"RSA key {path}: a key of another kind")
    if not MIN_BITS <= key.key_size <= MAX_KEY_BITS:
        raise ConfigurationError(f"RSA key {path}: {key.key_size} bits, expected {MIN_BITS} to {MAX_KEY_BITS}")
    if key.public_key().public_numbers().e < MIN_EXPONENT:
        raise ConfigurationError(f"RSA key {path}: its public exponent is too small, expected {MIN_EXPONENT}")
    return key


def _new_pem() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=GENERATED_BITS)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
