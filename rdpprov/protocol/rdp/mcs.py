"""The MCS domain: connect, attach, join, and from then on data on channels; both ends.

Source: [MS-RDPBCGR] 1.3.1.1 "Basic Settings Exchange" and "Channel Connection", 3.3.5.3.3 to 3.3.5.3.8; ITU-T T.125.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import Final, TypeAlias

import attrs

from rdpprov.errinfo import ErrInfo
from rdpprov.errors import LocalProtocolError, RemoteProtocolError
from rdpprov.protocol.rdp.events import Disconnected, McsConnected
from rdpprov.wire.base import DecodeError
from rdpprov.wire.rdp.gcc import (
    Block,
    ClientUserData,
    ConferenceCreateRequest,
    ConferenceCreateResponse,
    EarlyCapabilityFlags,
    ServerCoreData,
    ServerEarlyCapabilityFlags,
    ServerMessageChannelData,
    ServerNetworkData,
    ServerSecurityData,
    ServerUserData,
)
from rdpprov.wire.rdp.mcs import (
    CONNECT_INITIAL_TAG,
    CONNECT_RESPONSE_TAG,
    MCS_GLOBAL_CHANNEL_ID,
    MCS_SERVER_CHANNEL_ID,
    AnyDomainPdu,
    AttachUserConfirm,
    AttachUserRequest,
    ChannelJoinConfirm,
    ChannelJoinRequest,
    ConnectInitial,
    ConnectResponse,
    DisconnectProviderUltimatum,
    DisconnectReason,
    DomainParameters,
    ErectDomainRequest,
    McsResult,
    SendDataIndication,
    SendDataRequest,
    frame_send_data_indication,
    frame_send_data_request,
    unpack_domain_pdu,
)
from rdpprov.wire.rdp.x224 import TPDU_DISCONNECT_REQUEST, data_payload, frame_data

FIRST_STATIC_CHANNEL_ID: Final = MCS_GLOBAL_CHANNEL_ID + 1
"""fact 16: rdesktop does not read the ids, it counts from here."""

_PARAMETER_RANGES: Final = {
    "max_channel_ids": (1, 34, 0xFFFF),
    "max_user_ids": (1, 3, 0xFFFF),
    "max_token_ids": (0, 0, 0xFFFF),
    "num_priorities": (1, 1, 0xFFFF),
    "min_throughput": (0, 0, 0xFFFFFFFF),
    "max_height": (1, 1, 0xFFFF),
    "max_mcs_pdu_size": (124, 65528, 65535),
    "protocol_version": (2, 2, 2),
}
"""GCC-02: lowest, favourite and highest value of each domain parameter. The favourites are a known-good answer."""


class McsState(Enum):
    """What an MCS machine waits for."""

    EXPECT_CONNECT_INITIAL = "client: Connect-Initial"
    EXPECT_CONNECT_RESPONSE = "server: Connect-Response"
    EXPECT_ERECT_DOMAIN = "client: Erect Domain Request"
    EXPECT_ATTACH_USER = "client: Attach User Request"
    EXPECT_ATTACH_USER_CONFIRM = "server: Attach User Confirm"
    EXPECT_CHANNEL_JOIN = "client: Channel Join Requests, data"
    EXPECT_CHANNEL_JOIN_CONFIRM = "server: Channel Join Confirms"
    CONNECTED = "anybody: data"
    DISCONNECTED = "nobody: an ultimatum has come"
    ERROR = "nobody: the peer broke the protocol"


class McsSequenceError(RemoteProtocolError):
    """A PDU that is not legal in this state, or names a user or a channel that is not the peer's."""

    errinfo = ErrInfo.ERRINFO_CONNECTFAILED


@attrs.frozen
class DomainErected:
    """Erect Domain Request has come; it has no answer."""


@attrs.frozen
class UserAttached:
    """The client has its user channel."""

    user_channel_id: int


@attrs.frozen
class ChannelJoined:
    """Server: a Channel Join Request has come and is answered. Client: its confirm has come."""

    channel_id: int


@attrs.frozen
class ChannelData:
    """Data on a channel: a share PDU, a chunk of a virtual channel, ..."""

    channel_id: int
    data: bytes


@attrs.frozen
class DataIgnored:
    """Data on a channel that the client has not joined, or that does not exist (MCS-07)."""

    channel_id: int


McsEvent: TypeAlias = (
    McsConnected | DomainErected | UserAttached | ChannelJoined | ChannelData | DataIgnored | Disconnected
)

# All the legal moves, [MS-RDPBCGR] 1.3.1.1 "Channel Connection". What is not here is the peer's error.
MCS_SERVER_TRANSITIONS: Final = {
    (McsState.EXPECT_CONNECT_INITIAL, ConnectInitial): McsState.EXPECT_ERECT_DOMAIN,
    (McsState.EXPECT_ERECT_DOMAIN, ErectDomainRequest): McsState.EXPECT_ATTACH_USER,
    # MCS-01: Attach User without Erect Domain is accepted, a repeated Erect Domain ignored
    (McsState.EXPECT_ERECT_DOMAIN, AttachUserRequest): McsState.EXPECT_CHANNEL_JOIN,
    (McsState.EXPECT_ATTACH_USER, ErectDomainRequest): McsState.EXPECT_ATTACH_USER,
    (McsState.EXPECT_ATTACH_USER, AttachUserRequest): McsState.EXPECT_CHANNEL_JOIN,
    (McsState.EXPECT_CHANNEL_JOIN, ErectDomainRequest): McsState.EXPECT_CHANNEL_JOIN,
    # MCS-05: joins come in any order, and late ones too
    (McsState.EXPECT_CHANNEL_JOIN, ChannelJoinRequest): McsState.EXPECT_CHANNEL_JOIN,
    (McsState.EXPECT_CHANNEL_JOIN, SendDataRequest): McsState.EXPECT_CHANNEL_JOIN,
    # MCS-08: at any time
    (McsState.EXPECT_CONNECT_INITIAL, DisconnectProviderUltimatum): McsState.DISCONNECTED,
    (McsState.EXPECT_ERECT_DOMAIN, DisconnectProviderUltimatum): McsState.DISCONNECTED,
    (McsState.EXPECT_ATTACH_USER, DisconnectProviderUltimatum): McsState.DISCONNECTED,
    (McsState.EXPECT_CHANNEL_JOIN, DisconnectProviderUltimatum): McsState.DISCONNECTED,
}

MCS_CLIENT_TRANSITIONS: Final = {
    (McsState.EXPECT_CONNECT_RESPONSE, ConnectResponse): McsState.EXPECT_ATTACH_USER_CONFIRM,
    (McsState.EXPECT_ATTACH_USER_CONFIRM, AttachUserConfirm): McsState.EXPECT_CHANNEL_JOIN_CONFIRM,
    (McsState.EXPECT_CHANNEL_JOIN_CONFIRM, ChannelJoinConfirm): McsState.EXPECT_CHANNEL_JOIN_CONFIRM,
    (McsState.CONNECTED, SendDataIndication): McsState.CONNECTED,
    (McsState.EXPECT_CONNECT_RESPONSE, DisconnectProviderUltimatum): McsState.DISCONNECTED,
    (McsState.EXPECT_ATTACH_USER_CONFIRM, DisconnectProviderUltimatum): McsState.DISCONNECTED,
    (McsState.EXPECT_CHANNEL_JOIN_CONFIRM, DisconnectProviderUltimatum): McsState.DISCONNECTED,
    (McsState.CONNECTED, DisconnectProviderUltimatum): McsState.DISCONNECTED,
}


def merge_domain_parameters(initial: ConnectInitial) -> DomainParameters:
    """The parameters of the domain: between the client's minimum and maximum, and ours (GCC-02).

    Raises:
        McsSequenceError: no value lies between them.
    """
    return _merge(initial.minimum_parameters, initial.maximum_parameters)


@lru_cache(maxsize=64)
def _merge(minimum: DomainParameters, maximum: DomainParameters) -> DomainParameters:
    merged = {}
    for name, (lowest, favourite, highest) in _PARAMETER_RANGES.items():
        low, high = max(lowest, getattr(minimum, name)), min(highest, getattr(maximum, name))
        if low > high:
            raise McsSequenceError(f"Connect-Initial: {name} cannot be merged: from {low} to {high}")
        merged[name] = min(max(favourite, low), high)
    return DomainParameters(**merged)


@lru_cache(maxsize=256)
def _connect_response(
    parameters: DomainParameters,
    requested_protocols: int,
    channel_ids: tuple[int, ...],
    message_channel_id: int | None,
    skip_channel_join: bool,
) -> bytes:
    """The unit that answers Connect-Initial; the same for all clients of a kind."""
    flags = ServerEarlyCapabilityFlags.RNS_UD_SC_SKIP_CHANNELJOIN_SUPPORTED if skip_channel_join else 0
    blocks: list[Block] = [
        # fact 8: the requested protocols are echoed exactly, clients detect a downgrade by them
        ServerCoreData(client_requested_protocols=requested_protocols, early_capability_flags=flags),
        ServerSecurityData(),  # SEC-10: under TLS no method, no level, nothing else
        ServerNetworkData(channel_ids),
    ]
    if message_channel_id is not None:
        blocks.append(ServerMessageChannelData(message_channel_id))
    user_data = ConferenceCreateResponse(ServerUserData(tuple(blocks)).pack()).pack()
    return frame_data(ConnectResponse(user_data, parameters).pack())


class _Domain:
    """What both ends have in common: the state, its table, and the channels."""

    __slots__ = ("_outgoing", "channels", "io_channel_id", "message_channel_id", "state", "user_channel_id")

    TRANSITIONS: Mapping[tuple[McsState, type[object]], McsState]

    def __init__(self, state: McsState, outgoing: list[bytes]) -> None:
        self._outgoing = outgoing
        self.state = state
        self.user_channel_id: int | None = None
        self.io_channel_id = MCS_GLOBAL_CHANNEL_ID
        self.message_channel_id: int | None = None
        self.channels: dict[str, int] = {}
        """Ids of the static virtual channels by name, in the client's order."""

    def _move_on(self, pdu: type[object]) -> None:
        state = self.TRANSITIONS.get((self.state, pdu))
        if state is None:
            raise McsSequenceError(f"{pdu.__name__} while waiting for {self.state.value}")
        self.state = state

    def _unpack(self, tpdu: bytes) -> AnyDomainPdu | ConnectInitial | ConnectResponse | None:
        """The MCS PDU in the payload of a TPKT; None for an X.224 Disconnect Request."""
        if len(tpdu) > 1 and tpdu[1] & 0xF0 == TPDU_DISCONNECT_REQUEST:
            return None
        payload = data_payload(tpdu)
        pdu: AnyDomainPdu | ConnectInitial | ConnectResponse
        tag = int.from_bytes(payload[:2], "big")
        if tag == CONNECT_INITIAL_TAG:
            pdu, rest = ConnectInitial.unpack(payload)
        elif tag == CONNECT_RESPONSE_TAG:
            pdu, rest = ConnectResponse.unpack(payload)
        else:
            return unpack_domain_pdu(payload)
        if rest:  # FRM-02: the TPKT is consumed exactly
            raise DecodeError(f"{type(pdu).__name__}: {len(rest)} bytes behind it")
        return pdu

    def _disconnected(self) -> Disconnected:
        self.state = McsState.DISCONNECTED
        return Disconnected(None)

    def send_ultimatum(self, reason: DisconnectReason) -> None:
        """Queue the Disconnect Provider Ultimatum; nothing may follow it."""
        self._outgoing.append(frame_data(DisconnectProviderUltimatum(reason).pack()))


class McsServerMachine(_Domain):
    """The server's end.

    Args:
        outgoing: where units for the client are appended.
        requested_protocols: of the X.224 request, echoed.
        selected_protocol: of the X.224 confirm; the client must have understood the same.
        skip_channel_join: agree to leave out the joins with clients that can.
        message_channel: grant the message channel to clients that ask for it.
    """

    __slots__ = (
        "_all_joined",
        "_grant_message_channel",
        "_joined",
        "_requested_protocols",
        "_selected_protocol",
        "_skip_channel_join",
        "user_data",
    )

    TRANSITIONS = MCS_SERVER_TRANSITIONS

    def __init__(
        self,
        outgoing: list[bytes],
        *,
        requested_protocols: int,
        selected_protocol: int,
        skip_channel_join: bool = True,
        message_channel: bool = False,
    ) -> None:
        super().__init__(McsState.EXPECT_CONNECT_INITIAL, outgoing)
        self._requested_protocols = requested_protocols
        self._selected_protocol = selected_protocol
        self._skip_channel_join = skip_channel_join
        self._grant_message_channel = message_channel
        self._all_joined = False
        self._joined: set[int] = set()
        self.user_data: ClientUserData | None = None

    def receive(self, tpdu: bytes) -> McsEvent:
        """Take the payload of one TPKT.

        Raises:
            McsSequenceError: the PDU is not legal in this state; the machine stays in ERROR.
            RemoteProtocolError: it is malformed; likewise.
        """
        try:
            return self._receive(tpdu)
        except RemoteProtocolError:
            self.state = McsState.ERROR
            raise

    def _receive(self, tpdu: bytes) -> McsEvent:
        pdu = self._unpack(tpdu)
        if pdu is None:
            return self._disconnected()
        self._move_on(type(pdu))
        match pdu:
            case SendDataRequest():
                return self._data(pdu)
            case ConnectInitial():
                return self._connect(pdu)
            case AttachUserRequest():
                user_channel_id = self._last_channel_id() + 1
                self.user_channel_id = user_channel_id
                self._outgoing.append(frame_data(AttachUserConfirm(user_channel_id).pack()))
                return UserAttached(user_channel_id)
            case ChannelJoinRequest():
                return self._join(pdu)
            case DisconnectProviderUltimatum(reason=reason):
                return Disconnected(int(reason))
            case _:
                return DomainErected()

    def _connect(self, initial: ConnectInitial) -> McsConnected:
        parameters = merge_domain_parameters(initial)
        user_data = ClientUserData.unpack(ConferenceCreateRequest.unpack(initial.user_data).user_data)
        core = user_data.core
        if core.version >> 16 != 8:  # GCC-06: any minor
            raise DecodeError(f"TS_UD_CS_CORE: version 0x{core.version:08X}, expected major 8")
        core.color_depth()  # GCC-08: raises if the deciding field is undefined
        # GCC-09, fact 8: the protection against a downgrade
        if core.server_selected_protocol not in (None, self._selected_protocol):
            raise DecodeError(
                f"TS_UD_CS_CORE: serverSelectedProtocol {core.server_selected_protocol},"
                f" selected was {self._selected_protocol}"
            )
        self.user_data = user_data
        if user_data.network is not None:
            for number, channel in enumerate(user_data.network.channel_def_array):
                self.channels[channel.name] = FIRST_STATIC_CHANNEL_ID + number
        if self._grant_message_channel and user_data.message_channel is not None:
            self.message_channel_id = FIRST_STATIC_CHANNEL_ID + len(self.channels)
        # fact 19: both must have said so
        flags = core.early_capability_flags or 0
        self._all_joined = self._skip_channel_join and bool(
            flags & EarlyCapabilityFlags.RNS_UD_CS_SUPPORT_SKIP_CHANNELJOIN
        )
        self._outgoing.append(
            _connect_response(
                parameters,
                self._requested_protocols,
                tuple(self.channels.values()),
                self.message_channel_id,
                self._all_joined,
            )
        )
        return McsConnected(core, user_data.cluster, user_data.network)

    def _last_channel_id(self) -> int:
        """MCS-03: the user channel comes behind all others."""
        return self.message_channel_id or MCS_GLOBAL_CHANNEL_ID + len(self.channels)

    def _is_channel(self, channel_id: int) -> bool:
        return channel_id in (
            self.user_channel_id,
            self.io_channel_id,
            self.message_channel_id,
        ) or FIRST_STATIC_CHANNEL_ID <= channel_id < FIRST_STATIC_CHANNEL_ID + len(self.channels)

    def _join(self, request: ChannelJoinRequest) -> ChannelJoined:
        user = self._own_user(request.initiator)
        channel_id = request.channel_id
        # fact 18: each is answered at once, so that the order is the client's
        if self._is_channel(channel_id):
            self._joined.add(channel_id)
            confirm = ChannelJoinConfirm(user, channel_id, channel_id)
        else:  # MCS-04
            confirm = ChannelJoinConfirm(user, channel_id, None, McsResult.RT_NO_SUCH_CHANNEL)
        self._outgoing.append(frame_data(confirm.pack()))
        return ChannelJoined(channel_id)

    def _own_user(self, initiator: int) -> int:
        if initiator != self.user_channel_id:
            raise McsSequenceError(f"initiator {initiator}, the client is user {self.user_channel_id}")
        return initiator

    def _data(self, request: SendDataRequest) -> ChannelData | DataIgnored:
        self._own_user(request.initiator)
        channel_id = request.channel_id
        if (self._all_joined and self._is_channel(channel_id)) or channel_id in self._joined:
            return ChannelData(channel_id, request.user_data)
        if channel_id == self.io_channel_id:  # MCS-07
            raise McsSequenceError("data on the I/O channel, which the client has not joined")
        return DataIgnored(channel_id)

    def send(self, channel_id: int, data: bytes) -> None:
        """Queue data on a channel. The initiator is the server's own user, as Windows has it; no client checks."""
        self._outgoing.append(frame_send_data_indication(MCS_SERVER_CHANNEL_ID, channel_id, data))


class McsClientMachine(_Domain):
    """The client's end.

    Args:
        user_data: the client's blocks.
        outgoing: where units for the server are appended; Connect-Initial is appended at once.
    """

    __slots__ = ("_join_in_turn", "_user_data", "server_data")

    TRANSITIONS = MCS_CLIENT_TRANSITIONS

    def __init__(self, user_data: ClientUserData, outgoing: list[bytes]) -> None:
        super().__init__(McsState.EXPECT_CONNECT_RESPONSE, outgoing)
        self._user_data = user_data
        self._join_in_turn: list[int] = []
        self.server_data: ServerUserData | None = None
        request = ConferenceCreateRequest(user_data.pack())
        outgoing.append(frame_data(ConnectInitial(request.pack()).pack()))

    def receive(self, tpdu: bytes) -> McsEvent | None:
        """Take the payload of one TPKT. None: it was one more step, already answered.

        Raises:
            McsSequenceError: the PDU is not legal in this state, or refuses what we need.
            RemoteProtocolError: it is malformed.
        """
        try:
            return self._receive(tpdu)
        except RemoteProtocolError:
            self.state = McsState.ERROR
            raise

    def _receive(self, tpdu: bytes) -> McsEvent | None:
        pdu = self._unpack(tpdu)
        if pdu is None:
            return self._disconnected()
        self._move_on(type(pdu))
        match pdu:
            case SendDataIndication(channel_id=channel_id, user_data=data):
                return ChannelData(channel_id, data)
            case ConnectResponse():
                self._connected(pdu)
                return None
            case AttachUserConfirm(result=McsResult.RT_SUCCESSFUL, initiator=int(user)):
                return self._attached(user)
            case ChannelJoinConfirm():
                return self._joined(pdu)
            case DisconnectProviderUltimatum(reason=reason):
                return Disconnected(int(reason))
            case _:
                raise McsSequenceError(f"the server refused: {pdu!r}")

    def _connected(self, response: ConnectResponse) -> None:
        if response.result != McsResult.RT_SUCCESSFUL:
            raise McsSequenceError(f"the server refused Connect-Initial: {response.result!r}")
        envelope, _ = ConferenceCreateResponse.unpack(response.user_data)
        server = ServerUserData.unpack(envelope.user_data)
        self.server_data = server
        if server.network is not None:
            self.io_channel_id = server.network.mcs_channel_id
            if self._user_data.network is not None:
                names = [channel.name for channel in self._user_data.network.channel_def_array]
                if len(server.network.channel_id_array) != len(names):
                    raise McsSequenceError(
                        f"TS_UD_SC_NET: {len(server.network.channel_id_array)} channels, asked for {len(names)}"
                    )
                self.channels.update(zip(names, server.network.channel_id_array, strict=True))
        if server.message_channel is not None:
            self.message_channel_id = server.message_channel.mcs_channel_id
        self._outgoing.append(frame_data(ErectDomainRequest().pack()))
        self._outgoing.append(frame_data(AttachUserRequest().pack()))

    def _attached(self, user: int) -> UserAttached:
        self.user_channel_id = user
        if self._joins_are_skipped():
            self.state = McsState.CONNECTED
        else:
            statics = self.channels.values()
            message = [] if self.message_channel_id is None else [self.message_channel_id]
            # Pipelined in FreeRDP's order; the confirms must come in the same one (fact 18).
            self._join_in_turn = [user, self.io_channel_id, *message, *statics]
            for channel_id in self._join_in_turn:
                self._outgoing.append(frame_data(ChannelJoinRequest(user, channel_id).pack()))
        return UserAttached(user)

    def _joins_are_skipped(self) -> bool:
        ours = self._user_data.core.early_capability_flags or 0
        theirs = self.server_data.core.early_capability_flags if self.server_data is not None else None
        return bool(
            ours & EarlyCapabilityFlags.RNS_UD_CS_SUPPORT_SKIP_CHANNELJOIN
            and (theirs or 0) & ServerEarlyCapabilityFlags.RNS_UD_SC_SKIP_CHANNELJOIN_SUPPORTED
        )

    def _joined(self, confirm: ChannelJoinConfirm) -> ChannelJoined:
        expected = self._join_in_turn.pop(0)
        if confirm.requested != expected or confirm.result != McsResult.RT_SUCCESSFUL:
            raise McsSequenceError(f"{confirm!r}, expected channel {expected}")
        if not self._join_in_turn:
            self.state = McsState.CONNECTED
        return ChannelJoined(expected)

    def send(self, channel_id: int, data: bytes) -> None:
        """Queue data on a channel.

        Raises:
            LocalProtocolError: the server has not attached us yet.
        """
        if self.user_channel_id is None:
            raise LocalProtocolError(f"data while waiting for {self.state.value}")
        self._outgoing.append(frame_send_data_request(self.user_channel_id, channel_id, data))
