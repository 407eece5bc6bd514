import pytest
from construct import Bytes, If, Int8ul, Int16ul, Int32ul, Int64ul, Padding, Struct, this
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.errors import RemoteProtocolError
from rdpprov.wire.rdp.surface import (
    CompressedBitmapHeaderEx,
    FrameAction,
    FrameMarker,
    SurfaceBits,
    unpack_surface_commands,
)

u8, u16, u32, u64 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32, 64))
markers = st.builds(FrameMarker, u16, u32)
extras = st.builds(CompressedBitmapHeaderEx, u32, u32, u64, u64)
bits = st.builds(
    SurfaceBits,
    *(u16, u16, u16, u16, u8, u8, u16, u16),
    st.binary(max_size=40),
    st.none() | extras,
    st.sampled_from([1, 6]),
)
commands = markers | bits

RECTANGLE = ("dest_left" / Int16ul, "dest_top" / Int16ul, "dest_right" / Int16ul, "dest_bottom" / Int16ul)
BITS = Struct(
    "cmd_type" / Int16ul,
    *RECTANGLE,
    "bpp" / Int8ul,
    "flags" / Int8ul,
    Padding(1),
    "codec_id" / Int8ul,
    "width" / Int16ul,
    "height" / Int16ul,
    "bitmap_data_length" / Int32ul,
    "extra"
    / If(
        this.flags & 1,
        Struct(
            "high_unique_id" / Int32ul,
            "low_unique_id" / Int32ul,
            "tm_milliseconds" / Int64ul,
            "tm_seconds" / Int64ul,
        ),
    ),
    "bitmap_data" / Bytes(this.bitmap_data_length),
)


@given(st.lists(commands, max_size=5).map(tuple))
def test_commands_round_trip(commands):
    assert unpack_surface_commands(b"".join(command.pack() for command in commands)) == commands


@given(bits)
def test_surface_bits_are_what_their_construct_definition_says(command):
    parsed = BITS.parse(command.pack())
    assert all(getattr(command, name) == parsed[name] for name in parsed if name not in ("_io", "extra"))
    if command.ex_bitmap_data_header is None:
        assert parsed.extra is None
    else:
        assert parsed.extra.tm_seconds == command.ex_bitmap_data_header.tm_seconds


@given(commands, st.data())
def test_a_command_that_is_cut_off_is_refused(command, data):
    packed = command.pack()
    size = data.draw(st.integers(1, len(packed) - 1))
    if isinstance(command, FrameMarker) and size == 4:
        assert unpack_surface_commands(packed[:4]) == (FrameMarker(command.frame_action),)
        return
    with pytest.raises(RemoteProtocolError):
        unpack_surface_commands(packed[:size])


def test_a_marker_without_frame_id_is_read_and_written():
    marker = FrameMarker(FrameAction.SURFACECMD_FRAMEACTION_END)
    assert marker.pack() == bytes.fromhex("0400 0100")
    assert FrameMarker.unpack(marker.pack()) == (marker, b"")


@pytest.mark.parametrize("kind", [FrameMarker, SurfaceBits])
def test_another_command_is_refused(kind):
    with pytest.raises(RemoteProtocolError):
        kind.unpack(b"\2\0" + bytes(30))


@given(st.sampled_from([1, 4, 6, 7]), st.binary(max_size=60))
def test_any_bytes_are_commands_or_the_peer_s_fault(kind, data):
    try:
        unpack_surface_commands(bytes((kind, 0)) + data)
    except RemoteProtocolError:
        return


def test_many_commands_in_one_update_are_read_in_one_pass():
    update = FrameMarker(FrameAction.SURFACECMD_FRAMEACTION_BEGIN, 1).pack() * 100_000  # copies of the rest: 40 GB
    assert len(unpack_surface_commands(update)) == 100_000
