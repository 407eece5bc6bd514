import pytest
from construct import Array, Bytes, Const, If, Int16ul, Int32ul, Padding, Struct, this
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.errors import LocalProtocolError, RemoteProtocolError
from rdpprov.wire.rdp.bitmap import (
    BitmapData,
    BitmapFlags,
    BitmapUpdate,
    CompressedDataHeader,
    OrdersUpdate,
    PaletteUpdate,
    SynchronizeUpdate,
    UpdatePdu,
)

u16 = st.integers(0, 0xFFFF)
headers = st.builds(CompressedDataHeader, u16, u16, u16, u16)
COMPRESSED, NO_HEADER = BitmapFlags

CD_HEADER = Struct(
    "cb_comp_first_row_size" / Int16ul,
    "cb_comp_main_body_size" / Int16ul,
    "cb_scan_width" / Int16ul,
    "cb_uncompressed_size" / Int16ul,
)
NUMBERS = ("dest_left", "dest_top", "dest_right", "dest_bottom", "width", "height", "bits_per_pixel", "flags")
BITMAP = Struct(
    *(name / Int16ul for name in NUMBERS),
    "bitmap_length" / Int16ul,
    "header" / If(lambda context: context.flags & 0x401 == 1, CD_HEADER),
    "stream" / Bytes(lambda context: context.bitmap_length - (8 if context.header else 0)),
)
UPDATE = Struct(Const(1, Int16ul), "count" / Int16ul, "rectangles" / Array(this.count, BITMAP))
PALETTE = Struct(Const(2, Int16ul), Padding(2), Const(256, Int32ul), "palette_entries" / Bytes(768))


@st.composite
def bitmaps(draw):
    flags = draw(st.sampled_from([0, COMPRESSED, NO_HEADER, COMPRESSED | NO_HEADER, 0x8000, 0x8001]))
    header = draw(headers) if flags & (COMPRESSED | NO_HEADER) == COMPRESSED else None
    return BitmapData(*draw(st.tuples(*[u16] * 7)), draw(st.binary(max_size=50)), flags, header)


updates = st.one_of(
    st.builds(BitmapUpdate, st.lists(bitmaps(), max_size=4).map(tuple)),
    st.builds(PaletteUpdate, st.binary(min_size=768, max_size=768)),
    st.just(SynchronizeUpdate()),
    st.builds(OrdersUpdate, u16, st.binary(max_size=30)),
)
structures = headers | bitmaps() | updates.filter(lambda update: not isinstance(update, OrdersUpdate))


@given(structures, st.binary(min_size=2, max_size=10))
def test_every_structure_round_trips_and_leaves_what_follows(structure, rest):
    assert type(structure).unpack(structure.pack() + rest) == (structure, rest)


@given(updates)
def test_every_slow_path_update_round_trips(update):
    assert UpdatePdu.unpack(UpdatePdu(update).pack()) == (UpdatePdu(update), b"")


@given(st.lists(bitmaps(), max_size=3).map(tuple))
def test_a_bitmap_update_is_what_its_construct_definition_says(rectangles):
    parsed = UPDATE.parse(BitmapUpdate(rectangles).pack())
    assert parsed.count == len(rectangles)
    for one, rectangle in zip(parsed.rectangles, rectangles, strict=True):
        assert [one[name] for name in NUMBERS] == [getattr(rectangle, name) for name in NUMBERS]
        assert one.stream == rectangle.bitmap_data_stream
        assert one.bitmap_length == rectangle.bitmap_length
        if rectangle.compr_hdr is None:
            assert one.header is None
        else:
            assert CD_HEADER.build(one.header) == rectangle.compr_hdr.pack()


@given(st.binary(min_size=768, max_size=768))
def test_a_palette_update_is_what_its_construct_definition_says(colors):
    packed = PaletteUpdate(colors).pack()
    assert len(packed) == 776
    assert PALETTE.parse(packed).palette_entries == colors


@given(structures, st.data())
def test_every_structure_that_is_cut_off_is_refused(structure, data):
    packed = structure.pack()
    if isinstance(structure, SynchronizeUpdate):
        packed = packed[:2]  # its padding may be missing
    with pytest.raises(RemoteProtocolError):
        type(structure).unpack(packed[: data.draw(st.integers(0, len(packed) - 1))])


def test_the_compression_header_is_there_exactly_when_the_flags_say_so():
    header = CompressedDataHeader(10, 64, 4096)
    BitmapData(0, 0, 63, 63, 64, 64, 16, b"", COMPRESSED, header)
    for flags, wrong in [(COMPRESSED, None), (COMPRESSED | NO_HEADER, header), (0, header)]:
        with pytest.raises(LocalProtocolError):
            BitmapData(0, 0, 63, 63, 64, 64, 16, b"", flags, wrong)


def test_a_compressed_bitmap_too_short_for_its_header_is_refused():
    packed = BitmapData(0, 0, 3, 3, 4, 4, 16, bytes(7)).pack()
    with pytest.raises(RemoteProtocolError):
        BitmapData.unpack(packed[:14] + b"\1\0" + packed[16:])


def test_more_pixels_than_a_length_can_say_are_our_own_fault():
    BitmapData(0, 0, 3, 3, 4, 4, 16, bytes(0xFFFF))
    with pytest.raises(LocalProtocolError):
        BitmapData(0, 0, 3, 3, 4, 4, 16, bytes(0xFFFF), COMPRESSED, CompressedDataHeader(1, 1, 1))


@pytest.mark.parametrize("data", ["", "04", "0400", "ffff0000"])
def test_an_unknown_update_is_refused(data):
    with pytest.raises(RemoteProtocolError):
        UpdatePdu.unpack(bytes.fromhex(data))


@pytest.mark.parametrize("kind", [BitmapUpdate, PaletteUpdate, SynchronizeUpdate, OrdersUpdate])
def test_an_update_of_another_type_is_refused(kind):
    with pytest.raises(RemoteProtocolError):
        kind.unpack(b"\x07" + bytes(800))


def test_a_palette_has_256_colors():
    with pytest.raises(RemoteProtocolError):
        PaletteUpdate.unpack(bytes.fromhex("0200 0000 01000000") + bytes(768))


@given(st.integers(0, 3), st.binary(max_size=100))
def test_any_bytes_are_an_update_or_the_peer_s_fault(kind, data):
    try:
        pdu, _ = UpdatePdu.unpack(bytes((kind, 0)) + data)
    except RemoteProtocolError:
        return
    assert UpdatePdu.unpack(pdu.pack())[0] == pdu
