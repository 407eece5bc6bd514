"""IWRdsProtocolListener of the RFB provider."""

import secrets
import ssl

import structlog
import trio
from cryptography.hazmat.primitives.asymmetric import rsa

from rdpprov.api.authenticator import Authenticator
from rdpprov.errors import ConfigurationError
from rdpprov.providers.listener import ClientListener
from rdpprov.providers.rfb.connection import RfbConnection
from rdpprov.providers.rfb.half_open import VncPassword
from rdpprov.providers.rfb.options import RfbListenerOptions
from rdpprov.security.certificates import self_signed_certificate
from rdpprov.security.ra2 import RANDOM_SIZE, Ra2Secrets, fingerprint, public_key_of
from rdpprov.security.ra2_key import generated_key, read_key
from rdpprov.security.tls import anonymous_server_context, server_context
from rdpprov.security.vnc_auth import CHALLENGE_SIZE

_log = structlog.get_logger("rdpprov.rfb")


class RfbListener(ClientListener):
    """One RFB listener: its addresses, its secrets, its clients.

    Args:
        name: in the configuration.
        options: its own.
        authenticator: of names and passwords.

    Raises:
        ConfigurationError: a file is not what it should be, or what is offered may not be offered at its address.
    """

    def __init__(self, name: str, options: RfbListenerOptions, authenticator: Authenticator) -> None:
        super().__init__(name, options, _log, has_sockets=options.sockets)
        self.options = options
        self._offered = options.server_options
        self._authenticator = authenticator
        self._vnc_password = VncPassword(options.read_vnc_password(f"listener {name}"))
        self._tls: dict[bool, ssl.SSLContext] = {}
        if any(subtype.anonymous_tls for subtype in options.subtypes):
            self._tls[True] = anonymous_server_context(keylog=options.tls_keylog)
        if any(subtype.certificate_tls for subtype in options.subtypes):
            certificate = options.certificate
            if certificate is None:
                if options.state_dir is None:
                    raise ConfigurationError(
                        f"listener {name}: give a 'certificate' with its 'key', or a 'state_dir' to keep a generated "
                        "one in"
                    )
                certificate = self_signed_certificate(options.state_dir)
            self._tls[False] = server_context(certificate, options.key, keylog=options.tls_keylog)
        self._rsa_key = self._find_rsa_key() if options.uses_rsa_aes else None
        if self._rsa_key is not None:
            # Viewers show it, and ask whether it is the server's.
            self.fingerprint = fingerprint(public_key_of(self._rsa_key))
            self._log.info("key of RSA-AES", fingerprint=self.fingerprint)

    def _find_rsa_key(self) -> rsa.RSAPrivateKey:
        """Not that of the certificate: viewers remember this one, and a certificate gets a new one now and then. Nor
        should a key that decrypts sign as well."""
        if self.options.rsa_key is not None:
            return read_key(self.options.rsa_key)
        if self.options.state_dir is None:
            raise ConfigurationError(
                f"listener {self.name}: give an 'rsa_key' for security ra2, or a 'state_dir' to keep a generated one in"
            )
        return generated_key(self.options.state_dir)

    def check_address(self, address: str) -> None:
        """Whether what is offered may be offered there."""
        self.options.check_address(f"listener {self.name}", address)

    def new_connection(
        self, stream: trio.abc.HalfCloseableStream, peer: tuple[str, int], log: structlog.stdlib.BoundLogger
    ) -> RfbConnection:
        """A client has come."""
        return RfbConnection(
            stream,
            peer,
            self.options,
            offered=self._offered,
            challenge=secrets.token_bytes(CHALLENGE_SIZE),
            ra2=self._new_ra2_secrets(),
            tls=self._tls,
            authenticator=self._authenticator,
            vnc_password=self._vnc_password,
            log=log,
        )

    def _new_ra2_secrets(self) -> Ra2Secrets | None:
        if self._rsa_key is None:
            return None
        return Ra2Secrets(self._rsa_key, secrets.token_bytes(RANDOM_SIZE), secrets.token_bytes(RANDOM_SIZE))

    async def serve_stream(self, stream: trio.abc.HalfCloseableStream, peer: tuple[str, int]) -> None:
        """Our extension: serve a client that somebody else has accepted, such as a browser's WebSocket.

        It counts as half-open like any other. While the service does not listen, the stream is closed at once.

        Args:
            stream: its bytes; who brings it answers for what protects them on their way. It is closed at the end.
            peer: address and port, for the log and for limits.
        """
        await self.take_client(stream, peer)
