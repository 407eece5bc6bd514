"""IWRdsProtocolListener of the RDP provider."""

import structlog
import trio

from rdpprov.errors import ConfigurationError
from rdpprov.providers.listener import ClientListener
from rdpprov.providers.rdp.connection import RdpConnection
from rdpprov.providers.rdp.options import RdpListenerOptions
from rdpprov.security.certificates import self_signed_certificate
from rdpprov.security.tls import server_context

_log = structlog.get_logger("rdpprov.rdp")


class RdpListener(ClientListener):
    """One RDP listener: its addresses, its certificate, its clients."""

    def __init__(self, name: str, options: RdpListenerOptions) -> None:
        super().__init__(name, options, _log)
        self.options = options
        certificate = options.certificate
        if certificate is None:
            if options.state_dir is None:
                raise ConfigurationError(
                    f"listener {name}: give a 'certificate' with its 'key', or a 'state_dir' to keep a generated one in"
                )
            certificate = self_signed_certificate(options.state_dir)
        self._tls = server_context(certificate, options.key, keylog=options.tls_keylog)

    def new_connection(
        self, stream: trio.abc.HalfCloseableStream, peer: tuple[str, int], log: structlog.stdlib.BoundLogger
    ) -> RdpConnection:
        """A client has come."""
        return RdpConnection(stream, peer, self.options, self._tls, log)
