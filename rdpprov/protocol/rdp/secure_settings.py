"""Who logs on, and with which license: the two phases whose PDUs still have a security header.

Source: [MS-RDPBCGR] 1.3.1.1 "Secure Settings Exchange" and "Licensing", 3.3.5.3.11, 3.3.5.3.12.
"""

from __future__ import annotations

from typing import Final

from rdpprov.errors import RemoteProtocolError
from rdpprov.wire.base import DecodeError
from rdpprov.wire.rdp.client_info import ClientInfo
from rdpprov.wire.rdp.licensing import (
    VALID_CLIENT,
    BinaryBlob,
    BlobType,
    LicenseError,
    LicenseErrorCode,
    LicensePreamble,
    MessageType,
    StateTransition,
    unpack_message,
)
from rdpprov.wire.rdp.security import BasicSecurityHeader, SecurityFlags


class SecurityHeaderError(RemoteProtocolError):
    """A PDU whose security header is not that of the phase, or claims encryption inside TLS."""


class LicenseRefusedError(RemoteProtocolError):
    """The server ended licensing by an alert that is not the valid-client one, or asks for a real license."""


_LICENSE_HEADER: Final = BasicSecurityHeader(SecurityFlags.SEC_LICENSE_PKT).pack()

# fact 26: this alone ends licensing for every client; fact 25: with the security header, even under TLS
VALID_CLIENT_PDU: Final = _LICENSE_HEADER + VALID_CLIENT.pack()

NO_LICENSE_PDU: Final = (
    _LICENSE_HEADER + LicenseError(LicenseErrorCode.ERR_NO_LICENSE, StateTransition.ST_TOTAL_ABORT).pack()
)
"""LIC-13, 14: the client hangs up; we do as well."""


def _new_license_request() -> bytes:
    """[MS-RDPELE] 2.2.2.2 "Client New License Request", with null secrets, as rdesktop sends it: enough for servers
    that ask out of habit and say "valid client" whatever the answer is (xrdp)."""
    body = b"".join((
        (1).to_bytes(4, "little"),  # KEY_EXCHANGE_ALG_RSA
        (0x04010000).to_bytes(4, "little"),  # CLIENT_OS_ID_WINNT_POST_52, CLIENT_IMAGE_ID_MICROSOFT
        bytes(32),
        BinaryBlob(BlobType.BB_RANDOM_BLOB, bytes(72)).pack(),
        BinaryBlob(BlobType.BB_CLIENT_USER_NAME_BLOB, b"user\0").pack(),
        BinaryBlob(BlobType.BB_CLIENT_MACHINE_NAME_BLOB, b"rdpprov\0").pack(),
    ))  # fmt: skip
    preamble = LicensePreamble(MessageType.NEW_LICENSE_REQUEST, 4 + len(body))
    return _LICENSE_HEADER + preamble.pack() + body


NEW_LICENSE_REQUEST_PDU: Final = _new_license_request()


def unpack_client_info(data: bytes) -> ClientInfo:
    """Client Info, out of what came on the I/O channel.

    Raises:
        SecurityHeaderError: something else (INF-01), or encrypted inside TLS (STD-07).
        DecodeError: malformed.
    """
    header, packet = BasicSecurityHeader.unpack(data)
    if not header.flags & SecurityFlags.SEC_INFO_PKT:
        raise SecurityHeaderError(f"security header with flags 0x{header.flags:04X}, expected SEC_INFO_PKT")
    if header.flags & SecurityFlags.SEC_ENCRYPT:
        raise SecurityHeaderError("SEC_ENCRYPT inside TLS")
    return ClientInfo.unpack(packet)


def pack_client_info(info: ClientInfo) -> bytes:
    """Client Info, for the I/O channel."""
    return BasicSecurityHeader(SecurityFlags.SEC_INFO_PKT).pack() + info.pack()


def answer_license_pdu(data: bytes) -> bytes | None:
    """Take a server's licensing PDU, as a client that has no license and wants none.

    Returns:
        what to answer; None: licensing is over, and well.

    Raises:
        LicenseRefusedError: the server refuses us, or wants an exchange in which we cannot take part.
        DecodeError: malformed.
    """
    header, message = BasicSecurityHeader.unpack(data)
    if not header.flags & SecurityFlags.SEC_LICENSE_PKT:
        raise DecodeError(f"security header with flags 0x{header.flags:04X}, expected SEC_LICENSE_PKT")
    preamble, _ = unpack_message(message)
    if preamble.message_type == MessageType.LICENSE_REQUEST:
        return NEW_LICENSE_REQUEST_PDU
    if preamble.message_type != MessageType.ERROR_ALERT:
        raise LicenseRefusedError(f"the server wants a license exchange: message type 0x{preamble.message_type:02X}")
    alert = LicenseError.unpack(message)
    if alert.error_code != LicenseErrorCode.STATUS_VALID_CLIENT:
        raise LicenseRefusedError(f"license alert {alert.error_code!r}, {alert.state_transition!r}")
    return None
