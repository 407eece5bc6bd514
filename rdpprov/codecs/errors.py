"""What a decoder raises about bytes that are not as the standard says."""

from rdpprov.errors import RemoteProtocolError

__all__ = ["CodecError"]


class CodecError(RemoteProtocolError):
    """Compressed pixels do not follow their codec. The reason says what is missing or goes too far."""
