"""Two RFB machines that talk to each other, and a server machine that is led to a state and then told anything."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import cache

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from rdpprov.errors import RemoteProtocolError
from rdpprov.protocol.events import NeedData, Paused
from rdpprov.protocol.rfb import events
from rdpprov.protocol.rfb.client import RfbClientMachine
from rdpprov.protocol.rfb.handshake import ClientIdentity, ServerState, Version
from rdpprov.protocol.rfb.server import RfbServerMachine, ServerOptions
from rdpprov.security.ra2 import Ra2Secrets
from rdpprov.security.vnc_auth import check_vnc_response
from rdpprov.wire.rfb.handshake import SecurityType, VencryptSubtype

CHALLENGE = bytes(range(16))
NAME, PASSWORD = "user", "secret"


def whole(data: bytes) -> Iterator[bytes]:
    """All at once."""
    if data:
        yield data


def bytewise(data: bytes) -> Iterator[bytes]:
    """One byte at a time."""
    for at in range(len(data)):
        yield data[at : at + 1]


# Every way of proving who one is: types that the server offers, subtypes, and the oldest version that has it.
WAYS = [
    (version, (kind,), ())
    for version, kind in itertools.product(Version, (SecurityType.NONE, SecurityType.VNC_AUTHENTICATION))
] + [
    (version, (SecurityType.VENCRYPT,), (subtype,))
    for version, subtype in itertools.product((Version.RFB_3_7, Version.RFB_3_8), VencryptSubtype)
]

WAYS += [(Version.RFB_3_8, (kind,), ()) for kind in SecurityType if kind.rsa_aes]
WAYS += [(Version.RFB_3_7, (SecurityType.RA2,), ())]
PAUSES = (ServerState.EXPECT_TLS, ServerState.EXPECT_RECORDS, ServerState.EXPECT_VERDICT, ServerState.EXPECT_DESKTOP)


@cache
def secrets_of(end: str) -> Ra2Secrets:
    """The same in all tests: for speed, and as short as keys may be."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    return Ra2Secrets(key, end.encode().ljust(32, b"."), bytes(32))


class Dialogue:
    """A client and a server back to back; TLS, and what RSA-AES has in its place, are left out. The server's owner does
    at once what it is asked for."""

    whole = staticmethod(whole)
    bytewise = staticmethod(bytewise)
    WAYS = WAYS
    secrets_of = staticmethod(secrets_of)

    def __init__(
        self,
        options: ServerOptions | None = None,
        identity: ClientIdentity | None = None,
        cut: Callable[[bytes], Iterable[bytes]] = whole,
        size: tuple[int, int] = (640, 480),
    ) -> None:
        self.server = RfbServerMachine(options or ServerOptions(), challenge=CHALLENGE, ra2=secrets_of("server"))
        self.client = RfbClientMachine(identity or ClientIdentity(name=NAME, password=PASSWORD))
        self.cut = cut
        self.size = size
        self.server_events: list[events.ServerEvent] = []
        self.client_events: list[events.ClientEvent] = []
        self.client_said = b""
        self.server_said = b""

    @classmethod
    def way(cls, version, types, subtypes, *, identity=None, **options) -> "Dialogue":
        """A dialogue in which the client can do everything, and the server as is said."""
        identity = identity or ClientIdentity(version=version, name=NAME, password=PASSWORD)
        if types[0].rsa_aes:
            identity = attrs.evolve(identity, security_types=types, ra2=secrets_of("client"))
        return cls(ServerOptions(types, subtypes, **options), identity)

    # Both sides

    def run(self) -> "Dialogue":
        """Until nobody has anything to say."""
        while self._server_speaks() | self._client_speaks():
            pass
        return self

    def run_until(self, state: ServerState) -> "Dialogue":
        """Until the server is in a state: what the client said behind that is lost."""
        while self.server.state is not state:
            self._server_speaks()
            data = self.client.data_to_send()
            assert data, f"nothing goes on in {self.server.state}"
            for byte in bytewise(data):
                self.tell(byte, act=False)
                if self.server.state is state:
                    return self
                while self.server.state in PAUSES:
                    self._act()
                    self.tell(b"", act=False)
                    if self.server.state is state:
                        return self
        return self

    def take(self) -> tuple[list[events.ServerEvent], list[events.ClientEvent]]:
        """What was said since the last time; forgotten then."""
        self.run()
        taken = self.server_events, self.client_events
        self.server_events, self.client_events = [], []
        return taken

    def _client_speaks(self) -> bool:
        data = self.client.data_to_send()
        self.client_said += data
        for part in self.cut(data):
            self.tell(part)
        return bool(data)

    def _server_speaks(self) -> bool:
        data = self.server.data_to_send()
        self.server_said += data
        for part in self.cut(data):
            self.tell_client(part)
        return bool(data)

    def tell_client(self, data: bytes) -> list[events.ClientEvent]:
        """Give the client bytes; what it made of them."""
        self.client.receive_data(data)
        taken = []
        while not isinstance(event := self.client.next_event(), NeedData | Paused):
            taken.append(event)
            match event:
                case events.StartTls():
                    self.client.tls_established()
                case events.ServerKeyReceived():
                    self.client.trust_server()
                case events.StartRecords():
                    self.client.records_established()
        self.client_events += taken
        return taken

    # The server alone

    def tell(self, data: bytes, *, act: bool = True) -> list[events.ServerEvent]:
        """Give the server bytes; what it made of them."""
        self.server.receive_data(data)
        taken = []
        while not isinstance(event := self.server.next_event(), NeedData | Paused):
            taken.append(event)
            if act:
                self._act(event)
        self.server_events += taken
        return taken

    def _act(self, event: events.ServerEvent | None = None) -> None:
        match self.server.state:
            case ServerState.EXPECT_TLS:
                self._server_speaks()  # the client must know before TLS begins
                self.server.tls_established()
            case ServerState.EXPECT_RECORDS:
                self.server.records_established()
            case ServerState.EXPECT_VERDICT:
                self._judge(event or self.server_events[-1])
            case ServerState.EXPECT_DESKTOP:
                self.server.start(*self.size, "desktop")

    def _judge(self, event: events.ServerEvent) -> None:
        match event:
            case events.ChallengeAnswered():
                good = check_vnc_response(PASSWORD.encode(), event.challenge, event.response)
            case events.CredentialsOffered():
                good = (event.name, event.password) == (NAME, PASSWORD)
            case _:
                raise AssertionError(event)
        if good:
            self.server.accept()
        else:
            self.server.refuse("wrong password")

    def refused(self, tell: Callable[[], object], match: str | None = None) -> RemoteProtocolError:
        """`tell` must be answered by an error, which stays, and after which nothing is kept."""
        with pytest.raises(RemoteProtocolError, match=match) as caught:
            tell()
        assert self.server.state is ServerState.ERROR
        with pytest.raises(RemoteProtocolError):
            self.server.next_event()
        self.server.receive_data(b"more")
        assert self.server.trailing_data == b""
        return caught.value


@pytest.fixture(scope="session")
def rfb() -> type[Dialogue]:
    """The class, to be made with the options of the test."""
    return Dialogue
