"""Flags that a peer chooses leave nothing behind in our process, however many combinations it thinks of."""

import contextlib
import enum
import gc
import importlib
import pkgutil
import random
import re
import tracemalloc

import attrs
import pytest

import rdpprov.api
import rdpprov.protocol
import rdpprov.providers
import rdpprov.wire
from rdpprov.errors import RemoteProtocolError
from rdpprov.wire.rdp.bitmap import BitmapData
from rdpprov.wire.rdp.capabilities import (
    BitmapCacheRev2CapabilitySet,
    BitmapCapabilitySet,
    CapabilitySet,
    ControlCapabilitySet,
    FontCapabilitySet,
    GeneralCapabilitySet,
    InputCapabilitySet,
    LargePointerCapabilitySet,
    OrderCapabilitySet,
    RfxClientCapsContainer,
    RfxIcap,
    SoundCapabilitySet,
    SurfaceCommandsCapabilitySet,
    VirtualChannelCapabilitySet,
)
from rdpprov.wire.rdp.client_info import ClientInfo, TimeZoneInformation
from rdpprov.wire.rdp.fastpath import FastPathHeader, FastPathUpdate
from rdpprov.wire.rdp.finalization import FontList, FontMap, PersistentKeyList
from rdpprov.wire.rdp.gcc import (
    ChannelDef,
    ClientClusterData,
    ClientCoreData,
    ClientMessageChannelData,
    ClientMonitorData,
    ClientMonitorExtendedData,
    ClientMultitransportChannelData,
    ClientSecurityData,
    MonitorDef,
    ServerCoreData,
    ServerMultitransportChannelData,
    ServerSecurityData,
)
from rdpprov.wire.rdp.input import (
    ExtendedMouseEvent,
    FastPathInputPdu,
    InputPdu,
    MouseEvent,
    RelativeMouseEvent,
    ScancodeEvent,
    SynchronizeEvent,
    UnicodeEvent,
)
from rdpprov.wire.rdp.licensing import VALID_CLIENT, LicensePreamble
from rdpprov.wire.rdp.nego import CorrelationInfo, NegotiationFailure, NegotiationRequest, NegotiationResponse
from rdpprov.wire.rdp.preconnection import PreconnectionPdu
from rdpprov.wire.rdp.security import BasicSecurityHeader
from rdpprov.wire.rdp.session import SetKeyboardIndicators
from rdpprov.wire.rdp.share import ShareDataPdu, unpack_share_pdu
from rdpprov.wire.rdp.virtual_channel import ChannelPduHeader
from rdpprov.wire.rfb.messages import Fence
from rdpprov.wire.rfb.screens import ScreenArea, unpack_screens

VALUES = 2000
TOLERATED = 32 * 1024
"""Bytes that may stay behind 2,000 values, for tracemalloc sees the caches of the interpreter too. As members of an
IntFlag they would take about a million."""

FLAGS = re.compile(r"flags|protocol$|protocols$|options|methods?$|depths|bit_mask|compressed_type")

EVENTS = [
    ScancodeEvent(30),
    UnicodeEvent(97),
    MouseEvent(0, 1, 1),
    ExtendedMouseEvent(0, 1, 1),
    RelativeMouseEvent(0, 1, 1),
    SynchronizeEvent(0),
]
# Every structure with a field of flags, each such field given.
SAMPLES = [
    BasicSecurityHeader(0),
    BitmapCacheRev2CapabilitySet(),
    BitmapCapabilitySet(32, 800, 600),
    BitmapData(0, 0, 3, 0, 4, 1, 32, bytes(16)),
    ChannelDef("rdpdr"),
    ChannelPduHeader(8, 3),
    ClientClusterData(),
    ClientCoreData(
        800,
        600,
        post_beta2_color_depth=0xCA01,
        client_product_id=1,
        serial_number=0,
        high_color_depth=24,
        supported_color_depths=0,
        early_capability_flags=0,
        client_dig_product_id="",
        connection_type=6,
        pad1octet=0,
        server_selected_protocol=1,
    ),
    ClientInfo(0, 0, "d", "u", "p", "a", "w", 2, "::1", "dir", TimeZoneInformation(), 0, 0),
    ClientMessageChannelData(),
    ClientMonitorData([MonitorDef(0, 0, 1, 1)]),
    ClientMonitorExtendedData(),
    ClientMultitransportChannelData(),
    ClientSecurityData(),
    ControlCapabilitySet(),
    CorrelationInfo(bytes(16)),
    FastPathHeader(20),
    FastPathUpdate(0, b"data", compression_flags=0),
    Fence(0),
    FontCapabilitySet(0),
    FontList(),
    FontMap(),
    GeneralCapabilitySet(),
    InputCapabilitySet(),
    LargePointerCapabilitySet(0),
    LicensePreamble(0xFF, 16),
    MonitorDef(0, 0, 1, 1),
    NegotiationFailure(5),
    NegotiationRequest(0),
    NegotiationResponse(0),
    OrderCapabilitySet(),
    PersistentKeyList(),
    PreconnectionPdu(1),
    RfxClientCapsContainer(icaps=(RfxIcap(),)),
    ScreenArea(0, 0, 0, 1, 1),
    ServerCoreData(client_requested_protocols=0, early_capability_flags=0),
    ServerMultitransportChannelData(),
    ServerSecurityData(),
    SetKeyboardIndicators(0),
    ShareDataPdu(1007, 0x103EA, 0x1F, bytes(4)),
    SoundCapabilitySet(),
    SurfaceCommandsCapabilitySet(),
    VALID_CLIENT,
    VirtualChannelCapabilitySet(0),
    *(InputPdu((event,)) for event in EVENTS),
    *(FastPathInputPdu((event,)) for event in EVENTS),
]


def decoder(sample):
    match sample:
        case ShareDataPdu():
            return unpack_share_pdu
        case CapabilitySet():
            return CapabilitySet.unpack
        case ScreenArea():
            return unpack_screens
    return type(sample).unpack if hasattr(type(sample), "unpack") else lambda block: type(sample).unpack_body(block[4:])


def structures(value):
    """`value`, and all structures in it."""
    inside = value if isinstance(value, tuple) else ()
    if attrs.has(type(value)):
        yield value
        inside = [getattr(value, field.name) for field in attrs.fields(type(value))]
    for one in inside:
        yield from structures(one)


@pytest.fixture(scope="module")
def our_classes():
    """The classes of all layers that see a peer's bytes."""
    packages = (rdpprov.wire, rdpprov.protocol, rdpprov.providers, rdpprov.api)
    names = [
        one.name for package in packages for one in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ]
    found = {kind for name in names for kind in vars(importlib.import_module(name)).values() if isinstance(kind, type)}
    return {kind for kind in found if kind.__module__ in names}


def test_no_enum_of_ours_remembers_combinations(our_classes):
    assert [kind for kind in our_classes if issubclass(kind, enum.Flag)] == []


def test_every_structure_with_flags_is_among_the_samples(our_classes):
    wire = [kind for kind in our_classes if kind.__module__.startswith("rdpprov.wire.") and attrs.has(kind)]
    with_flags = {kind for kind in wire if any(FLAGS.search(field.name) for field in attrs.fields(kind))}
    assert with_flags - {type(one) for one in structures(tuple(SAMPLES))} == set()


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_flags_of_a_peer_leave_nothing_behind(our_classes, sample):
    enums = [kind for kind in our_classes if issubclass(kind, enum.Enum)]
    decode, packed, chance = decoder(sample), sample.pack(), random.Random(0)

    def decode_some(count):
        for number in range(count):
            value = bytearray(packed)
            at, size = number % len(packed), chance.choice((1, 2, 4))
            value[at : at + size] = chance.randbytes(len(value[at : at + size]))
            with contextlib.suppress(RemoteProtocolError):
                decode(bytes(value))
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    members = {kind: len(kind._value2member_map_) for kind in enums}
    tracemalloc.start()
    try:
        before = decode_some(VALUES if isinstance(sample, CapabilitySet) else 100)  # fills caches, which are bounded
        after = decode_some(VALUES)
    finally:
        tracemalloc.stop()
    assert {kind: len(kind._value2member_map_) for kind in enums} == members
    assert after - before < TOLERATED
