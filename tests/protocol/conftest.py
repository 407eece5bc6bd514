"""Two machines that talk to each other, and a server machine that is led to a state and then told anything."""

from collections.abc import Callable, Iterable, Iterator

import pytest

from rdpprov.errors import RemoteProtocolError
from rdpprov.protocol.events import NeedData, Paused
from rdpprov.protocol.rdp import events
from rdpprov.protocol.rdp.activation import ActivationState
from rdpprov.protocol.rdp.client import ClientOptions, RdpClientMachine
from rdpprov.protocol.rdp.server import RdpServerMachine, ServerOptions, ServerState
from rdpprov.wire.rdp.mcs import MCS_GLOBAL_CHANNEL_ID, frame_send_data_request
from rdpprov.wire.rdp.share import ShareControlBody, ShareDataBody, ShareDataPdu, pack_share_control, pack_share_data
from rdpprov.wire.rdp.x224 import frame_data

DESKTOP = (1024, 768, 32)


def whole(data: bytes) -> Iterator[bytes]:
    """All at once."""
    if data:
        yield data


def bytewise(data: bytes) -> Iterator[bytes]:
    """One byte at a time."""
    for at in range(len(data)):
        yield data[at : at + 1]


def units(data: bytes) -> Iterator[bytes]:
    """One unit at a time."""
    while data:
        if data[0] == 3:
            length = int.from_bytes(data[2:4], "big")
        elif data[1] & 0x80:
            length = int.from_bytes(data[1:3], "big") & 0x7FFF
        else:
            length = data[1]
        yield data[:length]
        data = data[length:]


class Dialogue:
    """A client and a server back to back, TLS left out. The server's owner does at once what it is asked for."""

    whole = staticmethod(whole)
    bytewise = staticmethod(bytewise)
    units = staticmethod(units)

    def __init__(
        self,
        client: ClientOptions | None = None,
        server: ServerOptions | None = None,
        cut: Callable[[bytes], Iterable[bytes]] = whole,
        desktop: tuple[int, int, int] = DESKTOP,
    ) -> None:
        self.client = RdpClientMachine(client or ClientOptions(user_name="user", password="secret"))
        self.server = RdpServerMachine(server or ServerOptions())
        self.cut = cut
        self.desktop = desktop
        self.server_events: list[events.ServerEvent] = []
        self.client_events: list[events.ClientEvent] = []
        self.client_said = b""
        self.server_said = b""

    # Both sides

    def run(self) -> "Dialogue":
        """Until nobody has anything to say."""
        while self._client_speaks() | self._server_speaks():
            pass
        return self

    def run_until(self, *states: ServerState | ActivationState) -> "Dialogue":
        """Until the server is in one of the states: what the client said behind that is lost."""
        while not self._is_in(states):
            data = self.client.data_to_send()
            self.client_said += data
            for unit in units(data):
                self.tell(unit, act=False)
                if self._is_in(states):
                    return self
                self._act()
            assert data or self._server_speaks(), f"nothing goes on in {self.server.state}"
            self._server_speaks()
        return self

    def _is_in(self, states: tuple[ServerState | ActivationState, ...]) -> bool:
        activation = self.server._activation
        return self.server.state in states or (activation is not None and activation.state in states)

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
            self.client.receive_data(part)
            while not isinstance(event := self.client.next_event(), NeedData | Paused):
                self.client_events.append(event)
                if isinstance(event, events.StartTls):
                    self.client.tls_established()
        return bool(data)

    # The server alone

    def tell(self, data: bytes, *, act: bool = True) -> list[events.ServerEvent]:
        """Give the server bytes; what it made of them."""
        self.server.receive_data(data)
        return self._take_events(act)

    def _take_events(self, act: bool) -> list[events.ServerEvent]:
        taken = []
        while not isinstance(event := self.server.next_event(), NeedData | Paused):
            taken.append(event)
            if act:
                self._act()
        self.server_events += taken
        return taken

    def _act(self) -> None:
        match self.server.state:
            case ServerState.EXPECT_TLS:
                self.server.tls_established()
            case ServerState.LICENSING:
                self.server.complete_licensing(True)
                self.server.activate(*self.desktop)
            case ServerState.EXPECT_ACTIVATE | ServerState.DEACTIVATED:
                self.server.activate(*self.desktop)

    def tell_mcs(self, pdu: bytes) -> list[events.ServerEvent]:
        """An MCS PDU, packed."""
        return self.tell(frame_data(pdu), act=False)

    def tell_channel(self, data: bytes, channel_id: int = MCS_GLOBAL_CHANNEL_ID) -> list[events.ServerEvent]:
        """Data on a channel."""
        user = self.server.user_channel_id
        assert user is not None
        return self.tell(frame_send_data_request(user, channel_id, data), act=False)

    @property
    def share_id(self) -> int:
        assert self.server._activation is not None
        return self.server._activation.share_id

    def tell_share(self, body: ShareDataBody) -> list[events.ServerEvent]:
        """A share data PDU."""
        return self.tell_channel(pack_share_data(body, share_id=self.share_id, pdu_source=1004))

    def tell_raw_share(self, pdu_type2: int, body: bytes) -> list[events.ServerEvent]:
        """A share data PDU whose body is anything."""
        return self.tell_channel(ShareDataPdu(1004, self.share_id, pdu_type2, body).pack())

    def tell_control(self, body: ShareControlBody) -> list[events.ServerEvent]:
        """A share control PDU."""
        return self.tell_channel(pack_share_control(body, pdu_source=1004))

    def refused(self, tell: Callable[[], object]) -> RemoteProtocolError:
        """`tell` must be answered by an error, which stays; the client may still be told why."""
        with pytest.raises(RemoteProtocolError) as caught:
            tell()
        assert self.server.state is ServerState.ERROR
        with pytest.raises(RemoteProtocolError):
            self.server.next_event()
        self.server.receive_data(b"\x03\x00\x00\x0b" + bytes(7))
        assert self.server.trailing_data == b""
        return caught.value


@pytest.fixture(scope="session")
def dialogue() -> type[Dialogue]:
    """The class, to be made with the options of the test."""
    return Dialogue
