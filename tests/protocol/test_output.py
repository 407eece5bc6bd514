"""OUT: bitmap and pointer updates within each client's limits."""

import itertools

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.api.devices import DEFAULT_POINTER, HIDDEN_POINTER, PointerShape, Rectangle
from rdpprov.encoding.bitmap import BitmapEncoder, EncodedBatch, EncodedBitmap
from rdpprov.errors import LocalProtocolError
from rdpprov.protocol.rdp.client import ClientOptions, client_capabilities, pointer_shape
from rdpprov.protocol.rdp.events import BitmapsReceived, PointerMoved, PointerReceived, ReceivedBitmap
from rdpprov.protocol.rdp.output import OutputLimits, OutputWriter, pointer_update
from rdpprov.wire.rdp.bitmap import BitmapUpdate, UpdatePdu
from rdpprov.wire.rdp.capabilities import (
    GeneralCapabilitySet,
    LargePointerCapabilitySet,
    MultifragmentUpdateCapabilitySet,
    PointerCapabilitySet,
)
from rdpprov.wire.rdp.fastpath import MAX_PDU_SIZE, FastPathOutputPdu, UpdateCode
from rdpprov.wire.rdp.pointer import CachedPointer, ColorPointer, LargePointer, NewPointer, PointerPdu

MODERN = OutputLimits(
    fast_path=True,
    bitmap_header=False,
    max_request_size=4 << 20,
    new_pointers=True,
    pointer_slots=24,
    pointer_size=384,
)


def tile(size: int = 100, *, compressed: bool = True, left: int = 0) -> EncodedBitmap:
    return EncodedBitmap(left, 10, left + 62, 74, 64, 64, 32, compressed, bytes(size))


class Client:
    """What a writer queues."""

    def __init__(self, limits: OutputLimits) -> None:
        self.units: list[bytes] = []
        self.bodies: list[object] = []
        self.writer = OutputWriter(limits, self.units.append, self.bodies.append)

    def updates(self) -> list:
        pdus = [FastPathOutputPdu.unpack(unit) for unit in self.units]
        assert all(rest == b"" for _, rest in pdus)
        return [update for pdu, _ in pdus for update in pdu.updates]

    def bitmaps(self) -> list:
        bitmaps = [BitmapUpdate.unpack(update.data) for update in self.updates()]
        assert all(rest == b"" for _, rest in bitmaps)
        assert all(len(update.rectangles) == 1 for update, _ in bitmaps)  # fact 44
        return [update.rectangles[0] for update, _ in bitmaps]


# Limits


def test_cap_06_the_client_s_sets_are_the_limits():
    sets = {one.TYPE: one for one in client_capabilities(ClientOptions(), 1024, 768, 32)}
    assert OutputLimits.of_client(sets) == MODERN
    assert OutputLimits.of_client({}) == OutputLimits()


@pytest.mark.parametrize(
    ("color", "new", "expected"),
    [
        (25, 25, (True, 24)),
        (20, 10, (True, 9)),
        (1000, 1000, (True, 24)),
        (25, None, (False, 24)),
        (25, 0, (False, 24)),
        (2, 2, (True, 1)),
        (1, 1, (True, 1)),
        (0, 25, (True, 0)),
        (0, 0, (False, 0)),
    ],
)
def test_out_05_the_last_pointer_index_is_left_alone(color, new, expected):
    sets = {PointerCapabilitySet.TYPE: PointerCapabilitySet(1, color, new)}
    limits = OutputLimits.of_client(sets)
    assert (limits.new_pointers, limits.pointer_slots) == expected  # fact 85


@pytest.mark.parametrize(
    ("flags", "room", "size"),
    [(3, 608_299, 384), (3, 608_298, 96), (1, 38_055, 96), (1, 38_054, 32), (0, 4 << 20, 32), (3, None, 32)],
)
def test_out_05_large_pointers_need_room_for_their_fragments(flags, room, size):
    sets = {
        GeneralCapabilitySet.TYPE: GeneralCapabilitySet(extra_flags=1),
        PointerCapabilitySet.TYPE: PointerCapabilitySet(),
        LargePointerCapabilitySet.TYPE: LargePointerCapabilitySet(flags),
    }
    if room is not None:
        sets[MultifragmentUpdateCapabilitySet.TYPE] = MultifragmentUpdateCapabilitySet(room)
    assert OutputLimits.of_client(sets).pointer_size == size  # fact 37


# Bitmaps


def test_out_04_a_bitmap_update_has_the_bytes_that_the_structure_says():
    client = Client(MODERN)
    client.writer.send_bitmap_updates([tile(), tile(64 * 64, compressed=False, left=64)])
    first, second = client.bitmaps()
    assert (first.dest_left, first.dest_top, first.dest_right, first.dest_bottom) == (0, 10, 61, 73)
    assert (first.width, first.height, first.bits_per_pixel, first.flags) == (64, 64, 32, 0x0401)
    assert (first.compr_hdr, first.bitmap_data_stream) == (None, bytes(100))
    assert (second.dest_left, second.dest_right, second.flags) == (64, 125, 0)
    assert BitmapUpdate((first,)).pack() + BitmapUpdate((second,)).pack() == b"".join(
        update.data for update in client.updates()
    )


@pytest.mark.parametrize(("depth", "pixel"), [(15, 2), (16, 2), (24, 3), (32, 4)])
def test_out_04_the_compression_header_is_there_for_clients_that_want_it(depth, pixel):
    client = Client(attrs.evolve(MODERN, bitmap_header=True))
    client.writer.send_bitmap_updates([tile()._replace(bits_per_pixel=depth)])
    (bitmap,) = client.bitmaps()
    assert bitmap.flags == 0x0001
    assert attrs.astuple(bitmap.compr_hdr) == (100, 64 * pixel, 64 * 64 * pixel, 0)


@given(st.lists(st.integers(0, 16_000), max_size=40))
def test_out_02_updates_are_joined_into_few_pdus_of_legal_length(sizes):
    client = Client(MODERN)
    client.writer.send_bitmap_updates([tile(size) for size in sizes])
    assert all(len(unit) <= MAX_PDU_SIZE for unit in client.units)
    assert [len(bitmap.bitmap_data_stream) for bitmap in client.bitmaps()] == sizes
    for one, next_one in itertools.pairwise(client.units):
        first = FastPathOutputPdu.unpack(next_one)[0].updates[0]
        assert len(one) + len(first.pack()) > MAX_PDU_SIZE - 3


def test_out_02_raw_pixels_that_are_too_many_are_cut_by_rows_from_the_bottom_up():
    rows = np.arange(64, dtype=np.uint8).repeat(64 * 4).tobytes()
    client = Client(attrs.evolve(MODERN, max_request_size=None))
    client.writer.send_bitmap_updates([tile()._replace(compressed=False, data=rows)])
    bitmaps = client.bitmaps()
    assert len(bitmaps) > 1
    assert b"".join(bitmap.bitmap_data_stream for bitmap in bitmaps) == rows
    shown = []
    for bitmap in bitmaps:
        assert bitmap.height == bitmap.dest_bottom - bitmap.dest_top + 1
        assert len(bitmap.bitmap_data_stream) == bitmap.height * 256
        for number in range(bitmap.height):
            shown.append((bitmap.dest_bottom - number, bitmap.bitmap_data_stream[number * 256]))
    assert shown == [(73 - number, number) for number in range(64)]


def test_out_02_a_long_compressed_bitmap_is_fragmented_for_those_who_can_put_it_together():
    client = Client(MODERN)
    client.writer.send_bitmap_updates([tile(40_000), tile(5)])
    assert [update.fragmentation for update in client.updates()] == [2, 3, 1, 0]
    for room in (None, 0x3FFE, 39_999):  # facts 35, 36
        client = Client(attrs.evolve(MODERN, max_request_size=room))
        with pytest.raises(LocalProtocolError):
            client.writer.send_bitmap_updates([tile(40_000)])


def batch(bits_per_pixel: int = 32) -> EncodedBatch:
    """Something of everything: tiles of one colour, of lines, and of noise that is sent uncompressed."""
    picture = np.zeros((64, 1024, 4), np.uint8)
    picture[:, 200:500:3] = 200
    picture[:, 600:] = np.random.default_rng(0).integers(0, 256, (64, 424, 4), np.uint8)
    [made] = BitmapEncoder(bits_per_pixel=bits_per_pixel).encode_batches(picture, 0, 64)
    return made


@pytest.mark.parametrize("bits_per_pixel", [15, 16, 24, 32])
def test_out_02_a_batch_is_packed_once_and_fits_every_client_of_the_usual_form(bits_per_pixel):
    made = batch(bits_per_pixel)
    expected = Client(MODERN)
    expected.writer.send_bitmap_updates(list(made))
    assert made.pdus is None
    old, modern = Client(attrs.evolve(MODERN, max_request_size=None)), Client(MODERN)
    for client in (old, modern):
        client.writer.send_bitmap_updates(made)
        assert client.units == expected.units
        assert all(len(unit) <= MAX_PDU_SIZE for unit in client.units)
        assert all(update.fragmentation == 0 for update in client.updates())  # fact 36
    assert all(one is other for one, other in zip(old.units, modern.units, strict=True))


@pytest.mark.parametrize("limits", [attrs.evolve(MODERN, bitmap_header=True), OutputLimits(), attrs.evolve(MODERN)])
def test_out_01_what_one_client_took_is_not_given_to_one_of_another_form(limits):
    made, alone, after = batch(), Client(limits), Client(limits)
    alone.writer.send_bitmap_updates(list(made))
    for other in (MODERN, attrs.evolve(MODERN, bitmap_header=True), OutputLimits()):
        Client(other).writer.send_bitmap_updates(made)
    after.writer.send_bitmap_updates(made)
    assert after.units == alone.units
    assert after.bodies == alone.bodies


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        ClientOptions(),
        ClientOptions(fast_path_output=False),
        ClientOptions(multifragment_size=None),
        ClientOptions(compression_header=True),
        ClientOptions(compression_header=True, fast_path_output=False, multifragment_size=None),
    ],
)
def test_out_01_what_a_client_receives_is_what_was_sent_on_either_path(dialogue, options, compressed):
    talk = dialogue(options).run()
    sent = [tile(16_000 if compressed else 64 * 64 * 4, compressed=compressed, left=64 * number) for number in range(9)]
    talk.server.send_bitmap_updates(sent)
    talk.server.send_pointer_position(70_000, -1)
    before = len(talk.server_said)
    talk.run()
    assert any(unit[0] == 3 for unit in talk.units(talk.server_said[before:])) != options.fast_path_output
    received = [
        bitmap for event in talk.client_events if isinstance(event, BitmapsReceived) for bitmap in event.bitmaps
    ]
    if compressed:
        assert received == [
            ReceivedBitmap(Rectangle(one.left, 10, one.right, 74), 64, 64, 32, True, one.data) for one in sent
        ]
    assert b"".join(bitmap.data for bitmap in received) == b"".join(bitmap.data for bitmap in sent)
    assert talk.client_events[-1] == PointerMoved(0xFFFF, 0)


# Pointers


def shape(width: int, height: int, *, seed: int = 1) -> PointerShape:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 4), np.uint8)
    pixels[..., 3] = np.where(pixels[..., 3] < 128, 0, 255)
    pixels[pixels[..., 3] == 0] = 0
    return PointerShape(width, height, width - 1, height // 2, pixels)


@pytest.mark.parametrize(("width", "height"), [(32, 32), (1, 1), (17, 31), (96, 96), (33, 95), (384, 384), (97, 5)])
def test_out_05_a_shape_arrives_as_it_is(width, height):
    sent = shape(width, height)
    pointer = pointer_update(sent, 3, MODERN)
    assert isinstance(pointer, LargePointer if max(width, height) > 96 else NewPointer)
    received = pointer_shape(pointer)
    assert (received.width, received.height, received.hot_x, received.hot_y) == (width, height, width - 1, height // 2)
    assert np.array_equal(received.pixels, sent.pixels)


@pytest.mark.parametrize(("width", "height"), [(32, 32), (15, 3)])
def test_out_05_a_client_without_new_pointers_gets_color_pointers(width, height):
    sent = shape(width, height)
    pointer = pointer_update(sent, 0, attrs.evolve(MODERN, new_pointers=False, pointer_size=32))
    assert isinstance(pointer, ColorPointer)
    assert np.array_equal(pointer_shape(pointer).pixels, sent.pixels)


@pytest.mark.parametrize("size", [33, 64, 100, 384])
def test_out_05_a_shape_that_is_too_large_is_cut(size):
    pointer = pointer_update(shape(size, size // 2), 0, attrs.evolve(MODERN, pointer_size=32))
    assert 16 <= pointer.width <= 32
    assert pointer.hot_spot_x < pointer.width
    assert pointer.hot_spot_y < pointer.height


def test_out_05_where_the_mask_says_transparent_the_color_is_black():
    pixels = np.full((2, 16, 4), 200, np.uint8)
    pixels[..., 3] = [100, 255] * 8
    pointer = pointer_update(PointerShape(16, 2, 0, 0, pixels), 0, MODERN)
    assert pointer.and_mask_data == b"\xaa\xaa" * 2
    colors = np.frombuffer(pointer.xor_mask_data, np.uint8).reshape(2, 16, 4)
    assert not colors[:, ::2, :3].any()
    assert (colors[:, ::2, 3] == 100).all()


def codes(client: Client) -> list[int]:
    return [update.update_code for update in client.updates()]


def test_out_05_a_shape_is_sent_once_and_then_by_its_index():
    client = Client(attrs.evolve(MODERN, pointer_slots=2))
    one, two, three = (shape(8, 8, seed=seed) for seed in range(3))
    for sent in (one, two, one, three, one, two):
        client.writer.send_pointer_shape(sent)
    new, cached = UpdateCode.FASTPATH_UPDATETYPE_POINTER, UpdateCode.FASTPATH_UPDATETYPE_CACHED
    assert codes(client) == [new, new, cached, new, cached, new]
    indices = [
        CachedPointer.unpack(update.data)[0].cache_index
        if update.update_code == cached
        else NewPointer.unpack(update.data)[0].cache_index
        for update in client.updates()
    ]
    assert indices == [0, 1, 0, 1, 0, 1]


def test_out_05_system_pointers_have_updates_of_their_own():
    client = Client(MODERN)
    empty = PointerShape(0, 0, 0, 0, np.zeros((0, 0, 4), np.uint8))
    for sent in (DEFAULT_POINTER, HIDDEN_POINTER, empty):
        client.writer.send_pointer_shape(sent)
    default, hidden = UpdateCode.FASTPATH_UPDATETYPE_PTR_DEFAULT, UpdateCode.FASTPATH_UPDATETYPE_PTR_NULL
    assert codes(client) == [default, hidden, hidden]


def test_out_05_a_client_without_a_pointer_cache_keeps_its_arrow():
    client = Client(attrs.evolve(MODERN, pointer_slots=0))
    client.writer.send_pointer_shape(shape(8, 8))
    assert codes(client) == [UpdateCode.FASTPATH_UPDATETYPE_PTR_DEFAULT]


@pytest.mark.parametrize("fast_path", [False, True])
def test_pointers_go_from_end_to_end(dialogue, fast_path):
    talk = dialogue(ClientOptions(fast_path_output=fast_path)).run()
    sent = [shape(32, 32), DEFAULT_POINTER, HIDDEN_POINTER, shape(32, 32), shape(300, 200)]
    for one in sent:
        talk.server.send_pointer_shape(one)
    talk.run()
    received = [event.shape for event in talk.client_events if isinstance(event, PointerReceived)]
    assert received[1:3] == [DEFAULT_POINTER, HIDDEN_POINTER]
    assert received[0] is received[3]
    assert np.array_equal(received[0].pixels, sent[0].pixels)
    assert received[4].width == (300 if fast_path else 32)


def test_slow_path_pdus_are_those_of_the_structures():
    client = Client(OutputLimits(pointer_slots=3))
    client.writer.send_bitmap_updates([tile(5, compressed=False)._replace(height=1, data=bytes(5))])
    client.writer.send_pointer_position(3, 4)
    update, position = client.bodies
    assert UpdatePdu.unpack(update.pack())[0].update.rectangles[0].bitmap_data_stream == bytes(5)
    assert isinstance(position, PointerPdu)
    assert client.units == []
