"""Whatever bytes come, each decoder of the connection phase gives a value or blames the peer, nothing else."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdpprov.errors import RemoteProtocolError
from rdpprov.wire.rdp.auto_reconnect import ClientAutoReconnectPacket, ServerAutoReconnectPacket
from rdpprov.wire.rdp.client_info import (
    ClientInfo,
    SystemTime,
    TimeZoneInformation,
)
from rdpprov.wire.rdp.gcc import (
    ChannelDef,
    ClientClusterData,
    ClientCoreData,
    ClientMessageChannelData,
    ClientMonitorData,
    ClientMonitorExtendedData,
    ClientMultitransportChannelData,
    ClientNetworkData,
    ClientSecurityData,
    ClientUserData,
    ConferenceCreateRequest,
    ConferenceCreateResponse,
    MonitorAttributes,
    MonitorDef,
    ServerCoreData,
    ServerMessageChannelData,
    ServerMultitransportChannelData,
    ServerNetworkData,
    ServerSecurityData,
    ServerUserData,
)
from rdpprov.wire.rdp.licensing import VALID_CLIENT, BinaryBlob, LicenseError, LicensePreamble, unpack_message
from rdpprov.wire.rdp.mcs import (
    AttachUserConfirm,
    AttachUserRequest,
    ChannelJoinConfirm,
    ChannelJoinRequest,
    ConnectInitial,
    ConnectResponse,
    DisconnectProviderUltimatum,
    DomainParameters,
    ErectDomainRequest,
    SendDataIndication,
    SendDataRequest,
    unpack_domain_pdu,
)
from rdpprov.wire.rdp.nego import (
    CorrelationInfo,
    NegotiationFailure,
    NegotiationRequest,
    NegotiationResponse,
)
from rdpprov.wire.rdp.preconnection import PreconnectionPdu
from rdpprov.wire.rdp.security import BasicSecurityHeader
from rdpprov.wire.rdp.tpkt import TpktHeader
from rdpprov.wire.rdp.x224 import ConnectionConfirm, ConnectionRequest, Data, DisconnectRequest

CORE = ClientCoreData(1920, 1080, client_name="client", client_dig_product_id=None)
FULL_CORE = ClientCoreData(
    1920,
    1080,
    0x80011,
    0xCA01,
    0xAA03,
    0x409,
    1,
    "c",
    4,
    0,
    12,
    "",
    0xCA01,
    1,
    0,
    24,
    15,
    2,
    "id",
    6,
    0,
    1,
    0,
    0,
    0,
    100,
    100,
)
CLIENT = ClientUserData(
    [
        FULL_CORE,
        ClientSecurityData(27),
        ClientNetworkData([ChannelDef("rdpdr"), ChannelDef("cliprdr")]),
        ClientClusterData(13),
        ClientMonitorData([MonitorDef(0, 0, 1919, 1079, 1)]),
        ClientMonitorExtendedData([MonitorAttributes(500, 300)]),
        ClientMessageChannelData(),
        ClientMultitransportChannelData(0x301),
    ]
)
SERVER = ServerUserData(
    [
        ServerCoreData(0x80004, 3, 8),
        ServerSecurityData(2, 2, bytes(32), b"certificate"),
        ServerNetworkData([1004, 1005, 1006]),
        ServerMessageChannelData(1007),
        ServerMultitransportChannelData(1),
    ]
)
INFO = ClientInfo(
    0x10, 0, "d", "u", "p", "a", "w", 2, "::1", "dir", TimeZoneInformation(60, "s"), 0, 0, bytes(28), 0, 0, "key", 1
)

SAMPLES = [
    (TpktHeader.unpack, TpktHeader(7).pack()),
    (NegotiationRequest.unpack, NegotiationRequest(3).pack()),
    (NegotiationResponse.unpack, NegotiationResponse(2).pack()),
    (NegotiationFailure.unpack, NegotiationFailure(5).pack()),
    (CorrelationInfo.unpack, CorrelationInfo(b"1" * 16).pack()),
    (ConnectionRequest.unpack, ConnectionRequest(b"Cookie: mstshash=user", NegotiationRequest(3)).pack()),
    (ConnectionRequest.unpack, ConnectionRequest(None, NegotiationRequest(3, 8), CorrelationInfo(bytes(16))).pack()),
    (ConnectionConfirm.unpack, ConnectionConfirm(NegotiationResponse(2)).pack()),
    (DisconnectRequest.unpack, DisconnectRequest().pack()),
    (Data.unpack, Data(b"payload").pack()),
    (PreconnectionPdu.unpack, PreconnectionPdu(1).pack()),
    (PreconnectionPdu.unpack, PreconnectionPdu(1, "machine").pack()),
    (DomainParameters.unpack, DomainParameters().pack()),
    (ConnectInitial.unpack, ConnectInitial(ConferenceCreateRequest(b"x").pack()).pack()),
    (ConnectResponse.unpack, ConnectResponse(ConferenceCreateResponse(b"x").pack()).pack()),
    *[
        (decode, pdu.pack())
        for pdu in (
            ErectDomainRequest(),
            AttachUserRequest(),
            AttachUserConfirm(1007),
            ChannelJoinRequest(1007, 1003),
            ChannelJoinConfirm(1007, 1003, 1003),
            SendDataRequest(1007, 1003, b"data"),
            SendDataIndication(1007, 1003, bytes(130)),
            DisconnectProviderUltimatum(),
        )
        for decode in (type(pdu).unpack, unpack_domain_pdu)
    ],
    (ConferenceCreateRequest.unpack, ConferenceCreateRequest(b"x" * 130).pack()),
    (ConferenceCreateResponse.unpack, ConferenceCreateResponse(b"x" * 130).pack()),
    *[(type(block).unpack_body, block.pack()[4:]) for block in (CORE, *CLIENT.blocks, *SERVER.blocks)],
    (ChannelDef.unpack, ChannelDef("rdpsnd").pack()),
    (MonitorDef.unpack, MonitorDef(0, 0, 1, 1).pack()),
    (MonitorAttributes.unpack, MonitorAttributes(1, 1).pack()),
    (ClientUserData.unpack, CLIENT.pack()),
    (ServerUserData.unpack, SERVER.pack()),
    (BasicSecurityHeader.unpack, BasicSecurityHeader(0x40).pack()),
    (ServerAutoReconnectPacket.unpack, ServerAutoReconnectPacket(1, bytes(16)).pack()),
    (ClientAutoReconnectPacket.unpack, ClientAutoReconnectPacket(1, bytes(16)).pack()),
    (SystemTime.unpack, SystemTime().pack()),
    (TimeZoneInformation.unpack, TimeZoneInformation(60, "CET").pack()),
    (ClientInfo.unpack, INFO.pack()),
    (LicensePreamble.unpack, LicensePreamble(1, 4).pack()),
    (BinaryBlob.unpack, BinaryBlob(4, b"x").pack()),
    (unpack_message, VALID_CLIENT.pack()),
    (LicenseError.unpack, VALID_CLIENT.pack()),
]
every_sample = pytest.mark.parametrize(
    ("decode", "sample"), SAMPLES, ids=lambda value: getattr(value, "__qualname__", None) or f"{len(value)} bytes"
)


@every_sample
@settings(max_examples=40)
@given(data=st.binary(max_size=64))
def test_any_bytes_are_a_value_or_the_peers_fault(decode, sample, data):
    with contextlib.suppress(RemoteProtocolError):
        decode(data)


@every_sample
def test_any_beginning_is_a_value_or_the_peers_fault(decode, sample):
    decode(sample)
    for cut in range(len(sample)):
        with contextlib.suppress(RemoteProtocolError):
            decode(sample[:cut])


@every_sample
@settings(max_examples=40)
@given(data=st.data())
def test_any_damage_is_a_value_or_the_peers_fault(decode, sample, data):
    damaged = bytearray(sample)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        damaged[place] = data.draw(st.sampled_from([0, 1, 2, 0x7F, 0x80, 0xD8, 0xFF]) | st.integers(0, 255))
    with contextlib.suppress(RemoteProtocolError):
        decode(bytes(damaged))


@every_sample
def test_every_text_may_be_full_and_without_nul(decode, sample):
    for fill in (b"\xff", b"x", b"\xd8"):
        for start in range(0, len(sample), 4):
            with contextlib.suppress(RemoteProtocolError):
                decode(sample[:start] + fill * (len(sample) - start))


@every_sample
def test_decoders_take_bytes_bytearray_and_memoryview_alike(decode, sample):
    assert decode(sample) == decode(bytearray(sample)) == decode(memoryview(sample))
