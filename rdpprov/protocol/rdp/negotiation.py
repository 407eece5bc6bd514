"""Which security protocol is spoken: X.224 Connection Request and Confirm, both ends.

Source: [MS-RDPBCGR] 1.3.1.1 "Connection Initiation", 2.2.1.1, 2.2.1.2, 3.3.5.3.1, 3.3.5.3.2.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from typing import Final

from rdpprov.errors import RemoteProtocolError
from rdpprov.protocol.rdp.events import NegotiationRefused, StartTls
from rdpprov.wire.rdp.nego import (
    NegotiationFailure,
    NegotiationFailureCode,
    NegotiationRequest,
    NegotiationResponse,
    NegotiationResponseFlags,
    Protocols,
)
from rdpprov.wire.rdp.tpkt import pack_tpkt
from rdpprov.wire.rdp.x224 import ConnectionConfirm, ConnectionRequest

PRECEDENCE: Final = (
    Protocols.PROTOCOL_RDSTLS,
    Protocols.PROTOCOL_RDSAAD,
    Protocols.PROTOCOL_HYBRID_EX,
    Protocols.PROTOCOL_HYBRID,
    Protocols.PROTOCOL_SSL,
)
"""Which protocol is chosen when both sides can do several, best first (NEG-05). Standard RDP security, which is 0, is
never chosen: the key that signs its certificates is public, so an attacker in the middle is not noticed."""

SERVER_REFERENCE: Final = 0x1234
"""SRC-REF of our confirms: any value will do, Windows' servers send this one."""


class NegotiationState(Enum):
    """What the server's negotiation waits for."""

    EXPECT_REQUEST = "client: Connection Request"
    ACCEPTED = "nobody: a protocol is chosen"
    REFUSED = "nobody: no protocol is common"
    ERROR = "nobody: the client broke the protocol"


# All the legal moves, [MS-RDPBCGR] 1.3.1.1 "Connection Initiation". What is not here is the peer's error: NEG-10, a
# second Connection Request.
NEGOTIATION_SERVER_TRANSITIONS: Final = {
    (NegotiationState.EXPECT_REQUEST, StartTls): NegotiationState.ACCEPTED,
    (NegotiationState.EXPECT_REQUEST, NegotiationRefused): NegotiationState.REFUSED,
}


class NegotiationRefusedError(RemoteProtocolError):
    """The server refused: no security protocol is common, or not this one."""

    def __init__(self, failure_code: NegotiationFailureCode | int) -> None:
        name = failure_code.name if isinstance(failure_code, NegotiationFailureCode) else f"code {failure_code}"
        super().__init__(f"the server refused the negotiation: {name}")
        self.failure_code = failure_code


def choose_protocol(requested: int, allowed: int, *, redirected: bool = False) -> Protocols | NegotiationFailureCode:
    """The best protocol that is both requested and allowed (NEG-05), or why there is none (NEG-07).

    Args:
        requested: `Protocols`; unknown bits are ignored; 0 also of a client that sent no request structure.
        allowed: `Protocols`, by configuration.
        redirected: the client brought a routing token; only then RDSTLS makes sense.
    """
    for protocol in PRECEDENCE:
        if protocol & requested & allowed and (redirected or protocol != Protocols.PROTOCOL_RDSTLS):
            return protocol
    # fact 2: clients choose by the code which protocol to try next, so it names one that we accept
    if allowed & Protocols.PROTOCOL_SSL:
        return NegotiationFailureCode.SSL_REQUIRED_BY_SERVER
    if allowed & (Protocols.PROTOCOL_HYBRID | Protocols.PROTOCOL_HYBRID_EX):
        return NegotiationFailureCode.HYBRID_REQUIRED_BY_SERVER
    if allowed:
        return NegotiationFailureCode.SSL_WITH_USER_AUTH_REQUIRED_BY_SERVER
    return NegotiationFailureCode.SSL_CERT_NOT_ON_SERVER


@lru_cache(maxsize=64)
def _confirm(negotiation: NegotiationResponse | NegotiationFailure, reference: int) -> bytes:
    return pack_tpkt(ConnectionConfirm(negotiation, reference, SERVER_REFERENCE).pack())


class NegotiationServerMachine:
    """The server's end: one request, one confirm.

    Args:
        allowed: `Protocols` that may be chosen.
        outgoing: where units for the client are appended.
    """

    __slots__ = ("_allowed", "_outgoing", "request", "selected_protocol", "state")

    def __init__(self, allowed: int, outgoing: list[bytes]) -> None:
        self._allowed = allowed
        self._outgoing = outgoing
        self.state = NegotiationState.EXPECT_REQUEST
        self.request: ConnectionRequest | None = None
        self.selected_protocol: Protocols | None = None

    @property
    def requested_protocols(self) -> int:
        """requestedProtocols, to be echoed exactly (fact 8); 0 if the client sent no request structure."""
        if self.request is None or self.request.negotiation is None:
            return Protocols.PROTOCOL_RDP
        return self.request.negotiation.requested_protocols

    def receive(self, tpdu: bytes) -> StartTls | NegotiationRefused:
        """Take the payload of the client's first TPKT.

        Raises:
            RemoteProtocolError: not a Connection Request, a malformed one, or a second one.
        """
        try:
            if self.state is not NegotiationState.EXPECT_REQUEST:
                raise RemoteProtocolError(f"a second X.224 Connection Request, while waiting for {self.state.value}")
            request, rest = ConnectionRequest.unpack(tpdu)
            if rest:  # FRM-02: the TPKT is consumed exactly
                raise RemoteProtocolError(f"x224Crq: {len(rest)} bytes behind it")
        except RemoteProtocolError:
            self.state = NegotiationState.ERROR
            raise
        self.request = request
        chosen = choose_protocol(self.requested_protocols, self._allowed, redirected=request.routing_token is not None)
        event: StartTls | NegotiationRefused
        if isinstance(chosen, NegotiationFailureCode):
            # NEG-08: also to a client that sent no request structure; older ones cope with it
            event = NegotiationRefused(chosen)
            self._outgoing.append(_confirm(NegotiationFailure(chosen), request.source_reference))
        else:
            event = StartTls()
            self.selected_protocol = chosen
            # fact 4: without this flag clients keep their monitor, message-channel and multitransport blocks
            flags = NegotiationResponseFlags.EXTENDED_CLIENT_DATA_SUPPORTED
            self._outgoing.append(_confirm(NegotiationResponse(chosen, flags), request.source_reference))
        self.state = NEGOTIATION_SERVER_TRANSITIONS[self.state, type(event)]
        return event


class NegotiationClientMachine:
    """The client's end.

    Args:
        requested: `Protocols` to ask for.
        cookie: what goes after ``Cookie: mstshash=``; no line if None.
        outgoing: where units for the server are appended; the request is appended at once.
    """

    __slots__ = ("requested", "selected_protocol")

    def __init__(self, requested: int, cookie: str | None, outgoing: list[bytes]) -> None:
        self.requested = requested
        self.selected_protocol: Protocols | None = None
        line = None if cookie is None else b"Cookie: mstshash=" + cookie.encode("latin-1", "replace")
        outgoing.append(pack_tpkt(ConnectionRequest(line, NegotiationRequest(requested)).pack()))

    def receive(self, tpdu: bytes) -> StartTls:
        """Take the payload of the server's first TPKT.

        Raises:
            NegotiationRefusedError: with the server's code; for example it insists on CredSSP.
            RemoteProtocolError: not a Connection Confirm, or one that chose what was not asked for.
        """
        confirm, _ = ConnectionConfirm.unpack(tpdu)
        match confirm.negotiation:
            case NegotiationFailure(failure_code=code):
                raise NegotiationRefusedError(code)
            case NegotiationResponse(selected_protocol=Protocols.PROTOCOL_SSL):
                self.selected_protocol = Protocols.PROTOCOL_SSL
                return StartTls()
            case NegotiationResponse(selected_protocol=selected):
                raise RemoteProtocolError(f"the server chose protocol {selected}, which this client does not speak")
            case _:
                raise RemoteProtocolError("the server chose standard RDP security, which this client does not speak")
