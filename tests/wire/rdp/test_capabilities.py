import string
from uuid import UUID

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdpprov.errinfo import ErrInfo
from rdpprov.errors import LocalProtocolError, RemoteProtocolError
from rdpprov.wire.rdp import capabilities
from rdpprov.wire.rdp.capabilities import (
    CLIENT_ONLY_SETS,
    CODEC_GUID_NSCODEC,
    CODEC_GUID_REMOTEFX,
    BadCapabilitiesError,
    BitmapCacheCellInfo,
    BitmapCacheRev2CapabilitySet,
    BitmapCapabilitySet,
    BitmapCodec,
    BitmapCodecsCapabilitySet,
    CacheDefinition,
    CapabilitySet,
    CapabilityType,
    ConfirmActive,
    DemandActive,
    FontCapabilitySet,
    GeneralCapabilitySet,
    GlyphCacheCapabilitySet,
    InputCapabilitySet,
    NsCodecCapabilitySet,
    PointerCapabilitySet,
    RfxClientCapsContainer,
    RfxIcap,
    ShareCapabilitySet,
    UnknownCapabilitySet,
    VirtualChannelCapabilitySet,
    WrongShareIdError,
)

u8, u16, u31, u32 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 31, 32))

KINDS = sorted(capabilities._KNOWN.values(), key=lambda kind: kind.TYPE)

# Lengths with header, from the table of [MS-RDPBCGR] 2.2.7; None: variable.
LENGTHS = {
    0x01: 24, 0x02: 28, 0x03: 88, 0x04: 40, 0x05: 12, 0x06: 5, 0x07: 12, 0x08: 10, 0x09: 8, 0x0A: 8, 0x0C: 8, 0x0D: 88,
    0x0E: 8, 0x0F: 8, 0x10: 52, 0x11: 12, 0x12: 8, 0x13: 40, 0x14: 12, 0x15: 12, 0x16: 40, 0x17: 8, 0x18: 11, 0x19: 6,
    0x1A: 8, 0x1B: 6, 0x1C: 12, 0x1D: None, 0x1E: 8,
}  # fmt: skip
SHORT_FORMS = {0x08: 8, 0x0E: 4, 0x14: 8}


def values_of(field):
    """A strategy for a plain field, from its type and validator."""
    if field.type in ("int", "int | None"):
        for strategy in (u32, u16, u8):
            try:
                field.validator(SAMPLE, field, max_of(strategy))
            except LocalProtocolError:
                continue
            return strategy
    assert field.type == "bytes", field
    return st.binary(min_size=len(field.default), max_size=len(field.default))


SAMPLE = object()


def max_of(strategy):
    return {id(u32): 2**32 - 1, id(u16): 2**16 - 1, id(u8): 2**8 - 1}[id(strategy)]


cells = st.builds(BitmapCacheCellInfo, u31, st.booleans())
caches = st.builds(CacheDefinition, u16, u16)
icaps = st.builds(RfxIcap, u16, u16, u8, u8, u8, u8)
rfx_containers = st.builds(RfxClientCapsContainer, u32, st.lists(icaps, max_size=4).map(tuple))
codecs = st.builds(BitmapCodec, st.uuids(), u8, st.binary(max_size=60))
SPECIAL = {
    BitmapCacheRev2CapabilitySet: st.builds(BitmapCacheRev2CapabilitySet, u16, u8, st.tuples(*[cells] * 5)),
    GlyphCacheCapabilitySet: st.builds(GlyphCacheCapabilitySet, st.tuples(*[caches] * 10), caches, u16),
    BitmapCodecsCapabilitySet: st.builds(BitmapCodecsCapabilitySet, st.lists(codecs, max_size=5).map(tuple)),
    InputCapabilitySet: st.builds(
        InputCapabilitySet, u16, u32, u32, u32, u32, st.text(string.printable + "ßñ€😀", max_size=16)
    ),
}


def sets_of(kind):
    if kind in SPECIAL:
        return SPECIAL[kind]
    return st.builds(kind, **{field.name: values_of(field) for field in attrs.fields(kind)})


unknown_sets = st.builds(UnknownCapabilitySet, st.sampled_from([0, 0x0B, 0x1F, 0x20, 0xFFFF]), st.binary(max_size=40))
any_set = st.one_of(unknown_sets, *map(sets_of, KINDS))
lists_of_sets = st.lists(any_set, max_size=8).map(tuple)
descriptors = st.text(string.ascii_letters, max_size=10)
confirms = st.builds(ConfirmActive, u32, lists_of_sets, descriptors, u16)
demands = st.builds(DemandActive, u32, lists_of_sets, descriptors, u32)


@given(any_set, st.binary(max_size=10))
def test_every_set_round_trips_and_leaves_what_follows(capability_set, rest):
    assert CapabilitySet.unpack(capability_set.pack() + rest) == (capability_set, rest)


def test_every_type_has_its_structure():
    assert {kind.TYPE for kind in KINDS} == set(CapabilityType) == set(LENGTHS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=20)
@given(data=st.data())
def test_every_set_has_the_published_length(kind, data):
    packed = data.draw(sets_of(kind)).pack()
    assert int.from_bytes(packed[:2], "little") == kind.TYPE
    assert int.from_bytes(packed[2:4], "little") == len(packed)
    assert len(packed) == (LENGTHS[kind.TYPE] or len(packed))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=20)
@given(data=st.data())
def test_a_set_longer_than_known_loses_its_tail(kind, data):
    capability_set = data.draw(sets_of(kind))
    packed = capability_set.pack() + b"tail"
    assert CapabilitySet.unpack(packed[:2] + len(packed).to_bytes(2, "little") + packed[4:]) == (capability_set, b"")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=20)
@given(data=st.data())
def test_a_set_shorter_than_its_fixed_part_is_refused(kind, data):
    packed = data.draw(sets_of(kind)).pack()
    shortest = SHORT_FORMS.get(kind.TYPE, len(packed))
    size = data.draw(st.integers(4, len(packed) - 1))
    cut = packed[:2] + size.to_bytes(2, "little") + packed[4:size]
    if size >= shortest:
        assert isinstance(CapabilitySet.unpack(cut)[0], kind)
        return
    with pytest.raises(RemoteProtocolError) as refused:
        CapabilitySet.unpack(cut)
    assert refused.value.errinfo == ErrInfo.ERRINFO_CAPABILITYSETTOOSMALL


@pytest.mark.parametrize(
    ("length", "errinfo"),
    [(0, 0x10E7), (3, 0x10E7), (25, 0x10E8), (0xFFFF, 0x10E8)],
)
def test_a_set_whose_length_leads_nowhere_is_refused(length, errinfo):
    packed = GeneralCapabilitySet().pack()
    packed = packed[:2] + length.to_bytes(2, "little") + packed[4:]
    confirm = (
        ConfirmActive(1, (UnknownCapabilitySet(1, packed[4:]),)).pack().replace(GeneralCapabilitySet().pack(), packed)
    )
    with pytest.raises(RemoteProtocolError) as refused:
        CapabilitySet.unpack(packed)
    assert refused.value.errinfo == errinfo
    with pytest.raises(RemoteProtocolError) as refused:
        ConfirmActive.unpack(confirm)
    assert refused.value.errinfo == errinfo


def test_old_clients_send_short_forms():
    assert CapabilitySet.unpack(bytes.fromhex("0800080001001900"))[0] == PointerCapabilitySet(1, 25, None)
    assert CapabilitySet.unpack(bytes.fromhex("1400080001000000"))[0] == VirtualChannelCapabilitySet(1, None)
    assert CapabilitySet.unpack(bytes.fromhex("0e000400"))[0] == FontCapabilitySet(None)


@pytest.mark.parametrize(
    "capability_set",
    [PointerCapabilitySet(1, 25, None), VirtualChannelCapabilitySet(1, None), FontCapabilitySet(None)],
    ids=lambda capability_set: type(capability_set).__name__,
)
def test_short_forms_round_trip(capability_set):
    packed = capability_set.pack()
    assert len(packed) == SHORT_FORMS[capability_set.TYPE]
    assert CapabilitySet.unpack(packed) == (capability_set, b"")


@given(confirms, st.binary(max_size=10))
def test_confirm_active_round_trips(confirm, rest):
    assert ConfirmActive.unpack(confirm.pack() + rest) == (confirm, rest)


@given(demands, st.binary(max_size=10))
def test_demand_active_round_trips(demand, rest):
    assert DemandActive.unpack(demand.pack() + rest) == (demand, rest)


@given(demands)
def test_demand_active_counts_itself_exactly(demand):
    packed = demand.pack()
    source = int.from_bytes(packed[4:6], "little")
    combined = int.from_bytes(packed[6:8], "little")
    assert source == len(demand.source_descriptor) + 1
    assert len(packed) == 8 + source + combined + 4  # the session id at the end
    assert int.from_bytes(packed[8 + source : 10 + source], "little") == len(demand.capability_sets)


@given(confirms, st.data())
def test_confirm_active_that_is_cut_off_is_refused(confirm, data):
    packed = confirm.pack()
    with pytest.raises(RemoteProtocolError) as refused:
        ConfirmActive.unpack(packed[: data.draw(st.integers(0, len(packed) - 1))])
    assert refused.value.errinfo == ErrInfo.ERRINFO_CONFIRMACTIVEPDUTOOSHORT


@pytest.mark.parametrize(("offset", "length"), [(6, 7), (6, 0xFFFF), (8, 0), (8, 3), (8, 33), (8, 0xFFFF)])
def test_lengths_of_confirm_active_that_lead_out_of_it_are_refused(offset, length):
    packed = ConfirmActive(1, (GeneralCapabilitySet(),), "MSTSC").pack()
    packed = packed[:offset] + length.to_bytes(2, "little") + packed[offset + 2 :]
    with pytest.raises(RemoteProtocolError):
        ConfirmActive.unpack(packed)


def test_a_client_that_announces_more_sets_than_it_sends_is_accepted():
    confirm = ConfirmActive(1, (ShareCapabilitySet(0),), "X")
    packed = confirm.pack()
    assert packed[12:14] == b"\x01\x00"
    assert ConfirmActive.unpack(packed[:12] + b"\x07\x00" + packed[14:]) == (confirm, b"")


def test_a_client_whose_block_has_more_than_its_sets_is_accepted():
    confirm = ConfirmActive(1, (ShareCapabilitySet(0),), "X")
    packed = confirm.pack()
    assert packed[8:10] == b"\x0c\x00"
    assert ConfirmActive.unpack(packed[:8] + b"\x10\x00" + packed[10:] + bytes(4)) == (confirm, b"")


def test_of_repeated_sets_the_last_wins():
    sets = (ShareCapabilitySet(1), GeneralCapabilitySet(), ShareCapabilitySet(2))
    assert ConfirmActive(1, sets).find(ShareCapabilitySet) == ShareCapabilitySet(2)
    assert DemandActive(1, sets).find(ShareCapabilitySet) == ShareCapabilitySet(2)
    assert ConfirmActive(1, sets).find(PointerCapabilitySet) is None


def test_another_share_id_is_refused_and_any_originator_accepted():
    confirm = ConfirmActive(0x103EA, originator_id=7)
    confirm.require_share_id(0x103EA)
    with pytest.raises(WrongShareIdError) as refused:
        confirm.require_share_id(0x203EA)
    assert refused.value.errinfo == ErrInfo.ERRINFO_CONFIRMACTIVEWRONGSHAREID


def test_client_only_sets_are_those_that_freerdp_refuses():
    assert {kind.TYPE for kind in CLIENT_ONLY_SETS} == {0x04, 0x05, 0x07, 0x0C, 0x0F, 0x10, 0x11, 0x13, 0x15}


def test_equal_sets_are_one_object_in_memory():
    packed = BitmapCapabilitySet(32, 1234, 567).pack()
    assert CapabilitySet.unpack(packed)[0] is CapabilitySet.unpack(bytes(bytearray(packed)))[0]


def test_long_sets_are_decoded_but_not_remembered():
    packed = UnknownCapabilitySet(0x77, bytes(1000)).pack()
    assert CapabilitySet.unpack(packed)[0] == CapabilitySet.unpack(packed)[0]
    assert CapabilitySet.unpack(packed)[0] is not CapabilitySet.unpack(packed)[0]


@given(rfx_containers, st.binary(max_size=10))
def test_remotefx_properties_round_trip(container, rest):
    packed = container.pack()
    assert len(packed) == container.length
    assert RfxClientCapsContainer.unpack(packed + rest) == (container, rest)
    assert BitmapCodec(CODEC_GUID_REMOTEFX, 3, packed).rfx_client_caps() == container


@given(u8, u8, u8)
def test_nscodec_properties_round_trip(fidelity, subsampling, color_loss):
    properties = NsCodecCapabilitySet(fidelity, subsampling, color_loss)
    assert BitmapCodec(CODEC_GUID_NSCODEC, 1, properties.pack()).nscodec() == properties


@pytest.mark.parametrize("properties", [b"", b"\0\0\0\0", RfxClientCapsContainer(0, (RfxIcap(),)).pack()[:-1]])
def test_bad_codec_properties_are_bad_capabilities(properties):
    codec = BitmapCodec(CODEC_GUID_REMOTEFX, 3, properties)
    with pytest.raises(BadCapabilitiesError) as refused:
        codec.rfx_client_caps()
    assert refused.value.errinfo == ErrInfo.ERRINFO_BADCAPABILITIES
    with pytest.raises(BadCapabilitiesError):
        BitmapCodec(CODEC_GUID_NSCODEC, 1, properties[:2]).nscodec()


def test_remotefx_lengths_must_agree():
    packed = RfxClientCapsContainer(0, (RfxIcap(),)).pack()
    with pytest.raises(BadCapabilitiesError):
        RfxClientCapsContainer.unpack(b"\x30" + packed[1:])


def test_codecs_are_found_by_guid():
    codecs = (BitmapCodec(CODEC_GUID_NSCODEC, 1), BitmapCodec(CODEC_GUID_REMOTEFX, 3))
    capability_set = BitmapCodecsCapabilitySet(codecs)
    assert capability_set.find(CODEC_GUID_REMOTEFX) == codecs[1]
    assert capability_set.find(UUID(int=0)) is None


def test_too_many_codecs_are_our_own_fault():
    with pytest.raises(LocalProtocolError):
        BitmapCodecsCapabilitySet((BitmapCodec(UUID(int=0), 0),) * 256).pack()
    with pytest.raises(LocalProtocolError):
        BitmapCodecsCapabilitySet((BitmapCodec(UUID(int=0), 0, bytes(0xFFFF)),) * 2).pack()
    with pytest.raises(LocalProtocolError):
        ConfirmActive(1, (UnknownCapabilitySet(0x77, bytes(0xFFFF - 4)),) * 2).pack()


@given(st.integers(0, 0x20), st.binary(max_size=100))
def test_any_body_of_a_set_is_decoded_or_the_peer_s_fault(kind, body):
    try:
        capability_set, rest = CapabilitySet.unpack(
            kind.to_bytes(2, "little") + (4 + len(body)).to_bytes(2, "little") + body
        )
    except RemoteProtocolError:
        return
    assert rest == b""
    assert CapabilitySet.unpack(capability_set.pack()) == (capability_set, b"")


@given(st.sampled_from([ConfirmActive, DemandActive]), st.binary(max_size=200))
def test_any_bytes_are_an_active_pdu_or_the_peer_s_fault(kind, data):
    try:
        structure, _ = kind.unpack(data)
    except RemoteProtocolError:
        return
    assert kind.unpack(structure.pack()) == (structure, b"")


def test_what_does_not_fit_a_cell_is_our_own_fault():
    with pytest.raises(LocalProtocolError):
        BitmapCacheCellInfo(0x80000000)
    with pytest.raises(LocalProtocolError):
        BitmapCacheRev2CapabilitySet(cell_info=(BitmapCacheCellInfo(0),) * 4).pack()


def test_a_source_descriptor_of_any_length_is_read():
    packed = (1).to_bytes(4, "little") + b"\xea\x03" + b"\xff\xff\x04\x00" + b"x" * 0xFFFF + bytes(4)
    confirm, rest = ConfirmActive.unpack(packed)
    assert (len(confirm.source_descriptor), rest) == (0xFFFE, b"")
    assert ConfirmActive.unpack(confirm.pack()) == (confirm, b"")
