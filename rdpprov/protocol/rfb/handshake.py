"""Version, security, initialisation: both ends, up to ServerInit.

The machines do not judge who the client is: they report what it brought, and are told the verdict. The same holds for
TLS: they say when, and wait until it is done.

Source: [RFC 6143] 7.1 to 7.3; for VeNCrypt and RSA-AES the community's text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, IntEnum
from typing import Final

import attrs

from rdpprov.errors import LocalProtocolError, RemoteProtocolError
from rdpprov.protocol.rfb.events import (
    ChallengeAnswered,
    ClientEvent,
    ClientInitReceived,
    CredentialsOffered,
    Refused,
    SecurityChosen,
    ServerEvent,
    ServerInitReceived,
    ServerKeyReceived,
    StartRecords,
    StartTls,
)
from rdpprov.protocol.rfb.framing import HANDSHAKE_LIMIT, LOGON_LIMIT, SESSION_LIMIT, ByteStream
from rdpprov.security.ra2 import Ra2Cipher, Ra2Exchange, Ra2Secrets
from rdpprov.security.vnc_auth import CHALLENGE_SIZE, vnc_response
from rdpprov.wire.base import DecodeError, known
from rdpprov.wire.rfb.handshake import (
    PlainCredentials,
    ProtocolVersion,
    Reason,
    SecurityResult,
    SecurityType,
    ServerInit,
    VencryptSubtype,
    VencryptVersion,
    pack_security_types,
    pack_u32,
    pack_vencrypt_subtypes,
    unpack_u32,
    utf8_text,
)
from rdpprov.wire.rfb.rsa_aes import (
    Ra2Credentials,
    Ra2Subtype,
    RsaPublicKey,
    encrypted_random_size,
    message_size,
    pack_encrypted_random,
    unpack_encrypted_random,
)

VENCRYPT_ACCEPTED: Final = b"\x00"
"""Of the version; mind the polarity: of TLS it is 1."""
VENCRYPT_REFUSED: Final = b"\xff"
TLS_GO: Final = b"\x01"
PLAIN_TYPES: Final = (SecurityType.NONE, SecurityType.VNC_AUTHENTICATION)
"""What version 3.3 knows."""


_MINORS_OF_ULTRAVNC: Final = (14, 16)  # old ones, which mean 3.4 and 3.6


class Version(IntEnum):
    """The versions that exist, by their minor number. All others are taken for one of them."""

    RFB_3_3 = 3
    """The server alone decides about security."""
    RFB_3_7 = 7
    """The client chooses; why it is refused it is not told."""
    RFB_3_8 = 8
    """A SecurityResult always, and a reason."""


class SecurityRefusedError(RemoteProtocolError):
    """The server refused the client, or offers nothing that this client can do. ``reason``: the server's words."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the server refused the connection: {reason or 'no reason given'}")
        self.reason = reason


class SecuritySequenceError(RemoteProtocolError):
    """The peer chose what was not offered, or a version that is not spoken."""


def version_of_client(answer: ProtocolVersion, offered: Version) -> Version:
    """What a client means by its answer.

    Old clients say 3.5, 3.4, 3.14 and mean 3.3; what is above ours would be a client's mistake, and is taken for ours.

    Raises:
        SecuritySequenceError: another major version, which never answers a greeting of ours.
    """
    if answer.major != 3:
        raise SecuritySequenceError(f"the client wants version {answer}, this server speaks 003.008")
    if answer.minor < 7 or answer.minor in _MINORS_OF_ULTRAVNC:
        return Version.RFB_3_3
    return min(Version.RFB_3_7 if answer.minor == 7 else Version.RFB_3_8, offered)


def version_of_server(greeting: ProtocolVersion, wanted: Version) -> Version:
    """What a client answers a greeting: servers say 3.889, 4.0, 5.0 and speak 3.8.

    Raises:
        SecuritySequenceError: below 3.3.
    """
    if (greeting.major, greeting.minor) < (3, 3):
        raise SecuritySequenceError(f"the server speaks version {greeting}, this client 003.003 to 003.008")
    if greeting.major > 3 or greeting.minor >= 8:
        return wanted
    return min(wanted, Version.RFB_3_7 if greeting.minor == 7 else Version.RFB_3_3)


def _take_public_key(incoming: ByteStream) -> RsaPublicKey | None:
    data = incoming.take(RsaPublicKey.size(incoming.data))
    return None if data is None else RsaPublicKey.unpack(data)[0]


def _take_random(incoming: ByteStream, exchange: Ra2Exchange) -> Ra2Cipher | None:
    """The peer's random number, with which both directions have their keys."""
    expected = exchange.public_key.size_in_bytes
    data = incoming.take(encrypted_random_size(incoming.data, expected))
    return None if data is None else exchange.take_random(unpack_encrypted_random(data, expected)[0])


def _take_message(incoming: ByteStream, cipher: Ra2Cipher, least: int, most: int) -> bytes | None:
    """What one encrypted message says."""
    data = incoming.take(message_size(incoming.data, least=least, most=most))
    return None if data is None else cipher.open(data)


# The server's end


class ServerState(Enum):
    """What the server's machine waits for."""

    EXPECT_VERSION = "client: ProtocolVersion"
    EXPECT_SECURITY_TYPE = "client: a security type"
    EXPECT_VENCRYPT_VERSION = "client: VeNCrypt's version"
    EXPECT_VENCRYPT_SUBTYPE = "client: a subtype of VeNCrypt"
    EXPECT_TLS = "owner: tls_established()"
    EXPECT_CHALLENGE_RESPONSE = "client: the response to the challenge"
    EXPECT_CREDENTIALS = "client: name and password"
    EXPECT_RSA_KEY = "client: its RSA key"
    EXPECT_RSA_RANDOM = "client: a random number, by RSA"
    EXPECT_RSA_HASH = "client: the hash of both RSA keys"
    EXPECT_SEALED_CREDENTIALS = "client: name and password, by AES"
    EXPECT_RECORDS = "owner: records_established()"
    EXPECT_VERDICT = "owner: accept() or refuse()"
    EXPECT_CLIENT_INIT = "client: ClientInit"
    EXPECT_DESKTOP = "owner: start()"
    ACTIVE = "anybody: input, output"
    REFUSED = "nobody: the client was refused"
    CLOSED = "nobody: the owner has ended the connection"
    ERROR = "nobody: the client broke the protocol"


_S = ServerState

# All the legal moves, [RFC 6143] 7.1 "Handshake Messages". Besides, every state may end in ERROR or CLOSED.
SERVER_TRANSITIONS: Final[Mapping[ServerState, frozenset[ServerState]]] = {
    _S.EXPECT_VERSION: frozenset(
        {
            _S.EXPECT_SECURITY_TYPE,
            _S.EXPECT_CHALLENGE_RESPONSE,  # 3.3: the server has chosen
            _S.EXPECT_CLIENT_INIT,
            _S.REFUSED,
        }
    ),
    _S.EXPECT_SECURITY_TYPE: frozenset(
        {_S.EXPECT_CLIENT_INIT, _S.EXPECT_CHALLENGE_RESPONSE, _S.EXPECT_VENCRYPT_VERSION, _S.EXPECT_RSA_KEY}
    ),
    _S.EXPECT_VENCRYPT_VERSION: frozenset({_S.EXPECT_VENCRYPT_SUBTYPE}),
    _S.EXPECT_VENCRYPT_SUBTYPE: frozenset({_S.EXPECT_TLS, _S.EXPECT_CREDENTIALS}),
    _S.EXPECT_TLS: frozenset({_S.EXPECT_CLIENT_INIT, _S.EXPECT_CHALLENGE_RESPONSE, _S.EXPECT_CREDENTIALS}),
    _S.EXPECT_CHALLENGE_RESPONSE: frozenset({_S.EXPECT_VERDICT}),
    _S.EXPECT_CREDENTIALS: frozenset({_S.EXPECT_VERDICT}),
    _S.EXPECT_RSA_KEY: frozenset({_S.EXPECT_RSA_RANDOM}),
    _S.EXPECT_RSA_RANDOM: frozenset({_S.EXPECT_RSA_HASH}),
    _S.EXPECT_RSA_HASH: frozenset({_S.EXPECT_SEALED_CREDENTIALS}),
    _S.EXPECT_SEALED_CREDENTIALS: frozenset({_S.EXPECT_VERDICT, _S.EXPECT_RECORDS}),
    _S.EXPECT_RECORDS: frozenset({_S.EXPECT_VERDICT}),
    _S.EXPECT_VERDICT: frozenset({_S.EXPECT_CLIENT_INIT, _S.REFUSED}),
    _S.EXPECT_CLIENT_INIT: frozenset({_S.EXPECT_DESKTOP}),
    _S.EXPECT_DESKTOP: frozenset({_S.ACTIVE}),
    _S.ACTIVE: frozenset(),
    _S.REFUSED: frozenset(),
    _S.CLOSED: frozenset(),
    _S.ERROR: frozenset(),
}

OVER: Final = frozenset({_S.REFUSED, _S.CLOSED, _S.ERROR})
"""States in which nothing is received any more; what is queued may still go out."""
PAUSED_STATES: Final = frozenset({_S.EXPECT_TLS, _S.EXPECT_RECORDS, _S.EXPECT_VERDICT, _S.EXPECT_DESKTOP, *OVER})
"""States in which the owner must act."""


def buffer_limit(state: ServerState) -> int:
    """Bytes that a server buffers at most in a state."""
    match state:
        case ServerState.ACTIVE:
            return SESSION_LIMIT
        case ServerState.EXPECT_DESKTOP:
            return LOGON_LIMIT
        case _:
            return 0 if state in OVER else HANDSHAKE_LIMIT


class ServerHandshake:
    """The server's end, up to ClientInit.

    Args:
        security_types: to offer, best first: clients take the first that they know.
        vencrypt_subtypes: likewise, inside VeNCrypt.
        version: the highest to speak.
        challenge: 16 random bytes, for this connection alone.
        incoming: where the client's bytes are; its limit follows the state.
        outgoing: where bytes for the client are appended; the greeting is at once.
        ra2: for RSA-AES, if it is offered.
        ra2_subtype: what it is to ask for.
    """

    __slots__ = (
        "_challenge",
        "_credentials",
        "_exchange",
        "_incoming",
        "_offered",
        "_outgoing",
        "_ra2",
        "_ra2_subtype",
        "_refusal",
        "_security_types",
        "_vencrypt_subtypes",
        "security_type",
        "shared",
        "state",
        "vencrypt_subtype",
        "version",
    )

    def __init__(
        self,
        security_types: tuple[SecurityType, ...],
        vencrypt_subtypes: tuple[VencryptSubtype, ...],
        version: Version,
        challenge: bytes,
        incoming: ByteStream,
        outgoing: list[bytes],
        ra2: Ra2Secrets | None = None,
        ra2_subtype: Ra2Subtype = Ra2Subtype.USER_AND_PASSWORD,
    ) -> None:
        if len(challenge) != CHALLENGE_SIZE:
            raise LocalProtocolError(f"a challenge of {len(challenge)} bytes, expected {CHALLENGE_SIZE}")
        if ra2 is None and any(kind.rsa_aes for kind in security_types):
            raise LocalProtocolError("RSA-AES is offered, and there is no key for it")
        self._security_types = security_types
        self._vencrypt_subtypes = vencrypt_subtypes
        self._offered = version
        self._challenge = challenge
        self._incoming = incoming
        self._outgoing = outgoing
        self._ra2 = ra2
        self._ra2_subtype = ra2_subtype
        self._exchange: Ra2Exchange | None = None
        self._credentials: CredentialsOffered | None = None
        self._refusal: str | None = None
        self.state = ServerState.EXPECT_VERSION
        self.version: Version | None = None
        self.security_type: SecurityType | None = None
        self.vencrypt_subtype: VencryptSubtype | None = None
        self.shared: bool | None = None
        outgoing.append(ProtocolVersion(3, version).pack())

    def step(self) -> ServerEvent | bool:
        """Take one structure of the client: the event that it is, or whether there was one.

        Raises:
            RemoteProtocolError: it is malformed, or chooses what was not offered.
        """
        return _TAKE[self.state](self)

    def enter(self, state: ServerState) -> None:
        """Move on."""
        if state not in (ServerState.ERROR, ServerState.CLOSED):
            assert state in SERVER_TRANSITIONS[self.state], (self.state, state)
        self.state = state
        self._incoming.limit = buffer_limit(state)
        if state in OVER:
            self._incoming.clear()

    # What the client says

    def _take_version(self) -> ServerEvent | bool:
        data = self._incoming.take(ProtocolVersion.SIZE)
        if data is None:
            return False
        self.version = version_of_client(ProtocolVersion.unpack(data)[0], self._offered)
        if self._refusal is not None:
            return self._refuse_by_types(self._refusal)
        if self.version is not Version.RFB_3_3:
            if not self._security_types:
                return self._refuse_by_types("no security type is configured")
            self._outgoing.append(pack_security_types(self._security_types))
            self.enter(ServerState.EXPECT_SECURITY_TYPE)
            return True
        chosen = next((kind for kind in self._security_types if kind in PLAIN_TYPES), None)
        if chosen is None:
            return self._refuse_by_types("this server wants a viewer that speaks RFB 3.7 or newer")
        self._outgoing.append(pack_u32(chosen))
        return self._begin(chosen)

    def _take_security_type(self) -> ServerEvent | bool:
        data = self._incoming.take(1)
        if data is None:
            return False
        # Several servers have let in whoever asked for None, though they did not offer it.
        if data[0] not in self._security_types:
            raise SecuritySequenceError(f"the client chose security type {data[0]}, which was not offered")
        return self._begin(SecurityType(data[0]))

    def _begin(self, chosen: SecurityType) -> ServerEvent:
        self.security_type = chosen
        if chosen is SecurityType.VENCRYPT:
            self._outgoing.append(VencryptVersion().pack())
            self.enter(ServerState.EXPECT_VENCRYPT_VERSION)
        elif chosen.rsa_aes:
            assert self._ra2 is not None
            self._exchange = Ra2Exchange(chosen, self._ra2)
            self._outgoing.append(self._exchange.public_key.pack())
            self.enter(ServerState.EXPECT_RSA_KEY)
        else:
            self._begin_proof(vnc=chosen is SecurityType.VNC_AUTHENTICATION)
        return SecurityChosen(chosen)

    def _take_vencrypt_version(self) -> ServerEvent | bool:
        data = self._incoming.take(VencryptVersion.SIZE)
        if data is None:
            return False
        version, _ = VencryptVersion.unpack(data)
        if version != VencryptVersion():
            self._outgoing.append(VENCRYPT_REFUSED)
            raise SecuritySequenceError(f"the client wants VeNCrypt {version.major}.{version.minor}, expected 0.2")
        self._outgoing.append(VENCRYPT_ACCEPTED + pack_vencrypt_subtypes(self._vencrypt_subtypes))
        self.enter(ServerState.EXPECT_VENCRYPT_SUBTYPE)
        return True

    def _take_vencrypt_subtype(self) -> ServerEvent | bool:
        data = self._incoming.take(4)
        if data is None:
            return False
        number = unpack_u32(data)
        if number not in self._vencrypt_subtypes:
            raise SecuritySequenceError(f"the client chose VeNCrypt subtype {number}, which was not offered")
        subtype = self.vencrypt_subtype = VencryptSubtype(number)
        if subtype.anonymous_tls or subtype.certificate_tls:
            self._outgoing.append(TLS_GO)
            self.enter(ServerState.EXPECT_TLS)
            return StartTls(subtype)
        self._begin_proof(plain=True)
        return SecurityChosen(SecurityType.VENCRYPT, subtype)

    def tls_established(self) -> SecurityChosen:
        """The bytes received and sent are those inside TLS from now on."""
        subtype = self.vencrypt_subtype
        assert subtype is not None
        self._incoming.clear()
        self._begin_proof(vnc=subtype.vnc_authentication, plain=subtype.plain)
        return SecurityChosen(SecurityType.VENCRYPT, subtype)

    def _begin_proof(self, *, vnc: bool = False, plain: bool = False) -> None:
        if vnc:
            self._outgoing.append(self._challenge)
            self.enter(ServerState.EXPECT_CHALLENGE_RESPONSE)
        elif plain:
            self.enter(ServerState.EXPECT_CREDENTIALS)
        else:
            # Up to 3.7 None has no SecurityResult; the subtypes of VeNCrypt always have one.
            if self.version is Version.RFB_3_8 or self.security_type is not SecurityType.NONE:
                self._outgoing.append(pack_u32(SecurityResult.OK))
            self.enter(ServerState.EXPECT_CLIENT_INIT)

    def _take_challenge_response(self) -> ServerEvent | bool:
        data = self._incoming.take(CHALLENGE_SIZE)
        if data is None:
            return False
        self.enter(ServerState.EXPECT_VERDICT)
        return ChallengeAnswered(self._challenge, data)

    def _take_credentials(self) -> ServerEvent | bool:
        data = self._incoming.take(PlainCredentials.size(self._incoming.data))
        if data is None:
            return False
        credentials, _ = PlainCredentials.unpack(data)
        self.enter(ServerState.EXPECT_VERDICT)
        return CredentialsOffered(credentials.name, credentials.password)

    # RSA-AES. Its messages are taken one by one here; what follows them (RA2, RA2_256) is a stream again.

    def _take_rsa_key(self) -> ServerEvent | bool:
        assert self._exchange is not None
        key = _take_public_key(self._incoming)
        if key is None:
            return False
        self._outgoing.append(pack_encrypted_random(self._exchange.take_key(key)))
        self.enter(ServerState.EXPECT_RSA_RANDOM)
        return True

    def _take_rsa_random(self) -> ServerEvent | bool:
        assert self._exchange is not None
        cipher = _take_random(self._incoming, self._exchange)
        if cipher is None:
            return False
        self._outgoing.append(cipher.seal(self._exchange.own_hash))
        self.enter(ServerState.EXPECT_RSA_HASH)
        return True

    def _take_rsa_hash(self) -> ServerEvent | bool:
        assert self._exchange is not None
        size = self._exchange.hash_size
        peers = _take_message(self._incoming, self._exchange.cipher, size, size)
        if peers is None:
            return False
        self._exchange.check_hash(peers)
        # In a message of its own: noVNC wants one of exactly one byte.
        self._outgoing.append(self._exchange.cipher.seal(bytes((self._ra2_subtype,))))
        self.enter(ServerState.EXPECT_SEALED_CREDENTIALS)
        return True

    def _take_sealed_credentials(self) -> ServerEvent | bool:
        assert self._exchange is not None
        assert self.security_type is not None
        cipher = self._exchange.cipher
        data = _take_message(self._incoming, cipher, Ra2Credentials.MIN_SIZE, Ra2Credentials.MAX_SIZE)
        if data is None:
            return False
        credentials, rest = Ra2Credentials.unpack(data)
        if rest:
            raise DecodeError(f"RSA-AES credentials: {len(rest)} bytes too many")
        offered = CredentialsOffered(credentials.name, credentials.password)
        if self.security_type.encrypts_session:
            self._credentials = offered
            self.enter(ServerState.EXPECT_RECORDS)
            return StartRecords(cipher)
        self._exchange = None
        self.enter(ServerState.EXPECT_VERDICT)
        return offered

    def records_established(self) -> CredentialsOffered:
        """The bytes received and sent are those inside messages of RSA-AES from now on."""
        offered, self._credentials, self._exchange = self._credentials, None, None
        assert offered is not None
        self._incoming.clear()
        self.enter(ServerState.EXPECT_VERDICT)
        return offered

    def _take_client_init(self) -> ServerEvent | bool:
        data = self._incoming.take(1)
        if data is None:
            return False
        self.shared = bool(data[0])
        self.enter(ServerState.EXPECT_DESKTOP)
        return ClientInitReceived(self.shared)

    # What the owner says

    def accept(self) -> None:
        """The client is who it says."""
        self._outgoing.append(pack_u32(SecurityResult.OK))
        self.enter(ServerState.EXPECT_CLIENT_INIT)

    def refuse(self, reason: str) -> None:
        """The client is not let in. Before its version is known, that waits for it."""
        if self.state is ServerState.EXPECT_VERSION:
            self._refusal = reason
            return
        self._outgoing.append(pack_u32(SecurityResult.FAILED))
        if self.version is Version.RFB_3_8:
            self._outgoing.append(Reason(reason.encode("utf-8", "replace")).pack())
        self.enter(ServerState.REFUSED)

    def _refuse_by_types(self, reason: str) -> Refused:
        """Where a list of types should stand, none: the reason follows in every version."""
        none = pack_u32(SecurityType.INVALID) if self.version is Version.RFB_3_3 else pack_security_types(())
        self._outgoing.append(none + Reason(reason.encode("utf-8", "replace")).pack())
        self.enter(ServerState.REFUSED)
        return Refused(reason)


_TAKE: Final[Mapping[ServerState, Callable[[ServerHandshake], ServerEvent | bool]]] = {
    _S.EXPECT_VERSION: ServerHandshake._take_version,
    _S.EXPECT_SECURITY_TYPE: ServerHandshake._take_security_type,
    _S.EXPECT_VENCRYPT_VERSION: ServerHandshake._take_vencrypt_version,
    _S.EXPECT_VENCRYPT_SUBTYPE: ServerHandshake._take_vencrypt_subtype,
    _S.EXPECT_CHALLENGE_RESPONSE: ServerHandshake._take_challenge_response,
    _S.EXPECT_CREDENTIALS: ServerHandshake._take_credentials,
    _S.EXPECT_RSA_KEY: ServerHandshake._take_rsa_key,
    _S.EXPECT_RSA_RANDOM: ServerHandshake._take_rsa_random,
    _S.EXPECT_RSA_HASH: ServerHandshake._take_rsa_hash,
    _S.EXPECT_SEALED_CREDENTIALS: ServerHandshake._take_sealed_credentials,
    _S.EXPECT_CLIENT_INIT: ServerHandshake._take_client_init,
}


# The client's end


class ClientState(Enum):
    """What the client's machine waits for."""

    EXPECT_VERSION = "server: ProtocolVersion"
    EXPECT_SECURITY_TYPES = "server: the security types that it offers, or (3.3) the one that it chose"
    EXPECT_VENCRYPT_VERSION = "server: VeNCrypt's version"
    EXPECT_VENCRYPT_ANSWER = "server: whether it takes our version of VeNCrypt"
    EXPECT_VENCRYPT_SUBTYPES = "server: the subtypes of VeNCrypt that it offers"
    EXPECT_TLS_ANSWER = "server: whether TLS may start"
    EXPECT_TLS = "owner: tls_established()"
    EXPECT_CHALLENGE = "server: a challenge"
    EXPECT_RSA_KEY = "server: its RSA key"
    EXPECT_TRUST = "owner: trust_server()"
    EXPECT_RSA_RANDOM = "server: a random number, by RSA"
    EXPECT_RSA_HASH = "server: the hash of both RSA keys"
    EXPECT_SUBTYPE = "server: what it asks for"
    EXPECT_RECORDS = "owner: records_established()"
    EXPECT_SECURITY_RESULT = "server: SecurityResult"
    EXPECT_REFUSAL_REASON = "server: why it refuses"
    EXPECT_SERVER_INIT = "server: ServerInit"
    ACTIVE = "anybody: input, output"
    ERROR = "nobody: the server broke the protocol, or refused"


_C = ClientState

# All the legal moves; besides, every state may end in ERROR.
CLIENT_TRANSITIONS: Final[Mapping[ClientState, frozenset[ClientState]]] = {
    _C.EXPECT_VERSION: frozenset({_C.EXPECT_SECURITY_TYPES}),
    _C.EXPECT_SECURITY_TYPES: frozenset(
        {
            _C.EXPECT_SECURITY_RESULT,
            _C.EXPECT_SERVER_INIT,
            _C.EXPECT_CHALLENGE,
            _C.EXPECT_VENCRYPT_VERSION,
            _C.EXPECT_RSA_KEY,
            _C.EXPECT_REFUSAL_REASON,
        }
    ),
    _C.EXPECT_VENCRYPT_VERSION: frozenset({_C.EXPECT_VENCRYPT_ANSWER}),
    _C.EXPECT_VENCRYPT_ANSWER: frozenset({_C.EXPECT_VENCRYPT_SUBTYPES}),
    _C.EXPECT_VENCRYPT_SUBTYPES: frozenset({_C.EXPECT_TLS_ANSWER, _C.EXPECT_SECURITY_RESULT}),
    _C.EXPECT_TLS_ANSWER: frozenset({_C.EXPECT_TLS}),
    _C.EXPECT_TLS: frozenset({_C.EXPECT_CHALLENGE, _C.EXPECT_SECURITY_RESULT}),
    _C.EXPECT_CHALLENGE: frozenset({_C.EXPECT_SECURITY_RESULT}),
    _C.EXPECT_RSA_KEY: frozenset({_C.EXPECT_TRUST}),
    _C.EXPECT_TRUST: frozenset({_C.EXPECT_RSA_RANDOM}),
    _C.EXPECT_RSA_RANDOM: frozenset({_C.EXPECT_RSA_HASH}),
    _C.EXPECT_RSA_HASH: frozenset({_C.EXPECT_SUBTYPE}),
    _C.EXPECT_SUBTYPE: frozenset({_C.EXPECT_SECURITY_RESULT, _C.EXPECT_RECORDS}),
    _C.EXPECT_RECORDS: frozenset({_C.EXPECT_SECURITY_RESULT}),
    _C.EXPECT_SECURITY_RESULT: frozenset({_C.EXPECT_SERVER_INIT, _C.EXPECT_REFUSAL_REASON}),
    _C.EXPECT_REFUSAL_REASON: frozenset(),
    _C.EXPECT_SERVER_INIT: frozenset({_C.ACTIVE}),
    _C.ACTIVE: frozenset(),
    _C.ERROR: frozenset(),
}

CLIENT_PAUSED_STATES: Final = frozenset({_C.EXPECT_TLS, _C.EXPECT_TRUST, _C.EXPECT_RECORDS})
"""States in which the owner must act."""


@attrs.frozen
class ClientIdentity:
    """Who connects, and how it is ready to prove it."""

    security_types: tuple[SecurityType, ...] = (
        SecurityType.NONE,
        SecurityType.VNC_AUTHENTICATION,
        SecurityType.VENCRYPT,
    )
    """That the client can do. Of them the first is taken that the server offers, in the server's order. RSA-AES needs
    `ra2`."""
    vencrypt_subtypes: tuple[VencryptSubtype, ...] = tuple(VencryptSubtype)
    """Likewise."""
    version: Version = Version.RFB_3_8
    """The highest that it speaks."""
    name: str = ""
    password: str = attrs.field(default="", repr=False, metadata={"secret": True})
    shared: bool = True
    """Leave other viewers connected."""
    ra2: Ra2Secrets | None = attrs.field(default=None, repr=False)
    """For RSA-AES; the key had better be a new one."""

    def __attrs_post_init__(self) -> None:
        if self.ra2 is None and any(kind.rsa_aes for kind in self.security_types):
            raise LocalProtocolError("a client that can do RSA-AES needs a key for it")


class ClientHandshake:
    """The client's end, up to ServerInit.

    Args:
        identity: who connects.
        incoming: where the server's bytes are.
        outgoing: where bytes for the server are appended.
    """

    def __init__(self, identity: ClientIdentity, incoming: ByteStream, outgoing: list[bytes]) -> None:
        self._identity = identity
        self._incoming = incoming
        self._outgoing = outgoing
        self.state = ClientState.EXPECT_VERSION
        self.version: Version | None = None
        self.security_type: SecurityType | None = None
        self.vencrypt_subtype: VencryptSubtype | None = None
        self.server_init: ServerInit | None = None
        self._exchange: Ra2Exchange | None = None
        self._server_key: RsaPublicKey | None = None

    def step(self) -> ClientEvent | bool:
        """Take one structure of the server: the event that it is, or whether there was one.

        Raises:
            SecurityRefusedError: the server refuses.
            RemoteProtocolError: it broke the protocol.
        """
        return _CLIENT_TAKE[self.state](self)

    def enter(self, state: ClientState) -> None:
        """Move on."""
        assert state is ClientState.ERROR or state in CLIENT_TRANSITIONS[self.state], (self.state, state)
        self.state = state

    def _take_version(self) -> ClientEvent | bool:
        data = self._incoming.take(ProtocolVersion.SIZE)
        if data is None:
            return False
        self.version = version_of_server(ProtocolVersion.unpack(data)[0], self._identity.version)
        self._outgoing.append(ProtocolVersion(3, self.version).pack())
        self.enter(ClientState.EXPECT_SECURITY_TYPES)
        return True

    def _take_security_types(self) -> ClientEvent | bool:
        offered = self._incoming.data
        if self.version is Version.RFB_3_3:
            data = self._incoming.take(4)
            if data is None:
                return False
            types = bytes((min(unpack_u32(data), 0xFF),))
            types = types if types[0] else b""
        else:
            data = self._incoming.take(1 + offered[0] if offered else None)
            if data is None:
                return False
            types = data[1:]
        if not types:
            self.enter(ClientState.EXPECT_REFUSAL_REASON)
            return True
        chosen = next((kind for kind in types if kind in self._identity.security_types), None)
        if chosen is None:
            raise SecurityRefusedError(f"it offers security types {list(types)}, which this client cannot do")
        if self.version is not Version.RFB_3_3:
            self._outgoing.append(bytes((chosen,)))
        self.security_type = SecurityType(chosen)
        match self.security_type:
            case SecurityType.VENCRYPT:
                self.enter(ClientState.EXPECT_VENCRYPT_VERSION)
            case SecurityType.VNC_AUTHENTICATION:
                self.enter(ClientState.EXPECT_CHALLENGE)
            case _ if self.security_type.rsa_aes:
                self.enter(ClientState.EXPECT_RSA_KEY)
            case SecurityType.NONE if self.version is not Version.RFB_3_8:
                self._send_client_init()
            case _:
                self.enter(ClientState.EXPECT_SECURITY_RESULT)
        return SecurityChosen(self.security_type)

    def _take_vencrypt_version(self) -> ClientEvent | bool:
        data = self._incoming.take(VencryptVersion.SIZE)
        if data is None:
            return False
        version, _ = VencryptVersion.unpack(data)
        if (version.major, version.minor) < (0, 2):
            raise SecuritySequenceError(f"the server speaks VeNCrypt {version.major}.{version.minor}, expected 0.2")
        self._outgoing.append(VencryptVersion().pack())
        self.enter(ClientState.EXPECT_VENCRYPT_ANSWER)
        return True

    def _take_vencrypt_answer(self) -> ClientEvent | bool:
        data = self._incoming.take(1)
        if data is None:
            return False
        if data != VENCRYPT_ACCEPTED:
            raise SecurityRefusedError("it does not take VeNCrypt 0.2")
        self.enter(ClientState.EXPECT_VENCRYPT_SUBTYPES)
        return True

    def _take_vencrypt_subtypes(self) -> ClientEvent | bool:
        offered = self._incoming.data
        data = self._incoming.take(1 + 4 * offered[0] if offered else None)
        if data is None:
            return False
        subtypes = [unpack_u32(data[at : at + 4]) for at in range(1, len(data), 4)]
        chosen = next((subtype for subtype in subtypes if subtype in self._identity.vencrypt_subtypes), None)
        if chosen is None:
            raise SecurityRefusedError(f"it offers VeNCrypt subtypes {subtypes}, which this client cannot do")
        self._outgoing.append(pack_u32(chosen))
        self.vencrypt_subtype = VencryptSubtype(chosen)
        if self.vencrypt_subtype is VencryptSubtype.PLAIN:
            self._send_credentials()
            return SecurityChosen(SecurityType.VENCRYPT, self.vencrypt_subtype)
        self.enter(ClientState.EXPECT_TLS_ANSWER)
        return True

    def _take_tls_answer(self) -> ClientEvent | bool:
        data = self._incoming.take(1)
        if data is None:
            return False
        if data != TLS_GO:
            raise SecurityRefusedError("it cannot start TLS")
        assert self.vencrypt_subtype is not None
        self.enter(ClientState.EXPECT_TLS)
        return StartTls(self.vencrypt_subtype)

    def tls_established(self) -> SecurityChosen:
        """The bytes received and sent are those inside TLS from now on."""
        subtype = self.vencrypt_subtype
        assert subtype is not None
        self._incoming.clear()
        if subtype.vnc_authentication:
            self.enter(ClientState.EXPECT_CHALLENGE)
        elif subtype.plain:
            self._send_credentials()
        else:
            self.enter(ClientState.EXPECT_SECURITY_RESULT)
        return SecurityChosen(SecurityType.VENCRYPT, subtype)

    def _send_credentials(self) -> None:
        self._outgoing.append(PlainCredentials(self._identity.name, self._identity.password).pack())
        self.enter(ClientState.EXPECT_SECURITY_RESULT)

    def _take_rsa_key(self) -> ClientEvent | bool:
        key = self._server_key = _take_public_key(self._incoming)
        if key is None:
            return False
        self.enter(ClientState.EXPECT_TRUST)
        return ServerKeyReceived(key)

    def trust_server(self) -> None:
        """The server's key is the server's."""
        assert self.security_type is not None
        assert self._identity.ra2 is not None
        assert self._server_key is not None
        exchange = self._exchange = Ra2Exchange(self.security_type, self._identity.ra2)
        random = pack_encrypted_random(exchange.take_key(self._server_key))
        self._outgoing.append(exchange.public_key.pack() + random)
        self.enter(ClientState.EXPECT_RSA_RANDOM)

    def _take_rsa_random(self) -> ClientEvent | bool:
        assert self._exchange is not None
        cipher = _take_random(self._incoming, self._exchange)
        if cipher is None:
            return False
        self._outgoing.append(cipher.seal(self._exchange.own_hash))
        self.enter(ClientState.EXPECT_RSA_HASH)
        return True

    def _take_rsa_hash(self) -> ClientEvent | bool:
        assert self._exchange is not None
        size = self._exchange.hash_size
        peers = _take_message(self._incoming, self._exchange.cipher, size, size)
        if peers is None:
            return False
        self._exchange.check_hash(peers)
        self.enter(ClientState.EXPECT_SUBTYPE)
        return True

    def _take_subtype(self) -> ClientEvent | bool:
        assert self._exchange is not None
        assert self.security_type is not None
        cipher = self._exchange.cipher
        data = _take_message(self._incoming, cipher, 1, 1)
        if data is None:
            return False
        subtype = known(Ra2Subtype, data[0])
        if not isinstance(subtype, Ra2Subtype):
            raise SecuritySequenceError(f"the server asks for subtype {subtype} of RSA-AES, expected 1 or 2")
        name = self._identity.name if subtype is Ra2Subtype.USER_AND_PASSWORD else ""
        self._outgoing.append(cipher.seal(Ra2Credentials(name, self._identity.password).pack()))
        self._exchange = None
        if self.security_type.encrypts_session:
            self.enter(ClientState.EXPECT_RECORDS)
            return StartRecords(cipher)
        self.enter(ClientState.EXPECT_SECURITY_RESULT)
        return True

    def records_established(self) -> None:
        """The bytes received and sent are those inside messages of RSA-AES from now on."""
        self._incoming.clear()
        self.enter(ClientState.EXPECT_SECURITY_RESULT)

    def _take_challenge(self) -> ClientEvent | bool:
        data = self._incoming.take(CHALLENGE_SIZE)
        if data is None:
            return False
        self._outgoing.append(vnc_response(self._identity.password.encode(), data))
        self.enter(ClientState.EXPECT_SECURITY_RESULT)
        return True

    def _take_security_result(self) -> ClientEvent | bool:
        data = self._incoming.take(4)
        if data is None:
            return False
        result = known(SecurityResult, unpack_u32(data))
        if result == SecurityResult.OK:
            self._send_client_init()
        elif self.version is Version.RFB_3_8:
            self.enter(ClientState.EXPECT_REFUSAL_REASON)
        else:
            raise SecurityRefusedError("")
        return True

    def _take_refusal_reason(self) -> ClientEvent | bool:
        data = self._incoming.take(Reason.size(self._incoming.data))
        if data is None:
            return False
        raise SecurityRefusedError(utf8_text(Reason.unpack(data)[0].text))

    def _send_client_init(self) -> None:
        self._outgoing.append(bytes((self._identity.shared,)))
        self.enter(ClientState.EXPECT_SERVER_INIT)

    def _take_server_init(self) -> ClientEvent | bool:
        data = self._incoming.take(ServerInit.size(self._incoming.data))
        if data is None:
            return False
        init, _ = ServerInit.unpack(data)
        self.server_init = init
        self.enter(ClientState.ACTIVE)
        return ServerInitReceived(init.width, init.height, init.pixel_format, utf8_text(init.name))


_CLIENT_TAKE: Final[Mapping[ClientState, Callable[[ClientHandshake], ClientEvent | bool]]] = {
    _C.EXPECT_VERSION: ClientHandshake._take_version,
    _C.EXPECT_SECURITY_TYPES: ClientHandshake._take_security_types,
    _C.EXPECT_VENCRYPT_VERSION: ClientHandshake._take_vencrypt_version,
    _C.EXPECT_VENCRYPT_ANSWER: ClientHandshake._take_vencrypt_answer,
    _C.EXPECT_VENCRYPT_SUBTYPES: ClientHandshake._take_vencrypt_subtypes,
    _C.EXPECT_TLS_ANSWER: ClientHandshake._take_tls_answer,
    _C.EXPECT_CHALLENGE: ClientHandshake._take_challenge,
    _C.EXPECT_RSA_KEY: ClientHandshake._take_rsa_key,
    _C.EXPECT_RSA_RANDOM: ClientHandshake._take_rsa_random,
    _C.EXPECT_RSA_HASH: ClientHandshake._take_rsa_hash,
    _C.EXPECT_SUBTYPE: ClientHandshake._take_subtype,
    _C.EXPECT_SECURITY_RESULT: ClientHandshake._take_security_result,
    _C.EXPECT_REFUSAL_REASON: ClientHandshake._take_refusal_reason,
    _C.EXPECT_SERVER_INIT: ClientHandshake._take_server_init,
}
