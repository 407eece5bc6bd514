import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.codecs import planar
from rdpprov.codecs.errors import CodecError
from rdpprov.errors import LocalProtocolError

HEADERS = [planar.RLE, planar.RLE | planar.NO_ALPHA, planar.NO_ALPHA, 0]


def decode_plane_slowly(data, at, width, height):
    """One byte at a time, by the text of the specification."""
    plane = []
    for y in range(height):
        row, last = [], 0
        while len(row) < width:
            raw, run = data[at] >> 4, data[at] & 15
            at += 1
            if run == 1:
                raw, run = 0, raw + 16
            elif run == 2:
                raw, run = 0, raw + 32
            for _ in range(raw):
                value = data[at]
                at += 1
                last = value if y == 0 else -((value >> 1) + 1) if value & 1 else value >> 1
                row.append(last)
            row += [last] * run
        assert len(row) == width
        plane.append([(value + (plane[y - 1][x] if y else 0)) % 256 for x, value in enumerate(row)])
    return plane, at


@pytest.mark.parametrize("header", [planar.RLE, planar.RLE | planar.NO_ALPHA])
@given(data=st.data())
def test_planes_say_what_the_specification_reads(pictures, header, data):
    picture = data.draw(pictures)[:24, :50]
    height, width = picture.shape[:2]
    stream = planar.encode(picture, header, limit=1 << 20)
    assert stream[0] == header
    at, planes = 1, []
    for _ in range(3 if header & planar.NO_ALPHA else 4):
        plane, at = decode_plane_slowly(stream, at, width, height)
        planes.append(plane)
    assert at == len(stream)
    assert planes[-3:] == [picture[..., plane].tolist() for plane in (2, 1, 0)]
    if len(planes) == 4:
        assert planes[0] == [[255] * width] * height


@pytest.mark.parametrize("header", HEADERS)
@given(data=st.data())
def test_a_picture_survives(pictures, header, data):
    picture = data.draw(pictures)
    height, width = picture.shape[:2]
    decoded = planar.decode(planar.encode(picture, header, limit=1 << 20), width, height)
    assert (decoded[..., :3] == picture[..., :3]).all()
    assert (decoded[..., 3] == 255).all()


@pytest.mark.parametrize("header", HEADERS)
@given(data=st.data())
def test_the_extension_encodes_to_the_same_bytes(extension, pictures, header, data):
    picture = data.draw(pictures)
    limit = data.draw(st.sampled_from([0, 1, 16, 200, 3000, 1 << 20]) | st.integers(0, 9000))
    assert extension.encode(picture, 32, header, limit) == planar.encode_python(picture, header, limit)


@given(data=st.data())
def test_the_extension_decodes_to_the_same_planes(extension, pictures, data):
    picture = data.draw(pictures)
    height, width = picture.shape[:2]
    stream = planar.encode(picture, planar.RLE, limit=1 << 20)
    at = 1
    for _ in range(4):
        expected, after = planar.decode_plane_python(stream, at, width, height)
        assert extension.plane_decode(stream, at, width, height) == (expected.tobytes(), after)
        at = after


@pytest.mark.parametrize("run", [1, 2, 3, 12, 13, 15, 16, 17, 18, 31, 32, 33, 46, 47, 48, 49, 50, 94, 95, 97, 141, 255])
@pytest.mark.parametrize("before", [0, 1, 14, 15, 16, 30, 31])
def test_runs_after_raw_bytes_of_every_length_survive(before, run):
    width = before + run + 3
    picture = np.zeros((3, width, 4), np.uint8)
    picture[0, :before, :3] = (np.arange(before) * 7 + 1)[:, np.newaxis]
    picture[0, before : before + run, :3] = picture[0, before - 1, 0] if before else 0
    picture[0, before + run :, :3] = (250, 3, 99)
    picture[1] = picture[0]
    picture[2] = picture[0][::-1]
    stream = planar.encode(picture, limit=1 << 20)
    assert stream == planar.encode_python(picture, planar.RLE, 1 << 20)
    assert (planar.decode(stream, width, 3)[..., :3] == picture[..., :3]).all()


def test_a_row_without_change_takes_one_byte_for_47_pixels():
    picture = np.zeros((2, 94, 4), np.uint8)
    assert planar.encode(picture, planar.RLE | planar.NO_ALPHA) == bytes((0x30,)) + 6 * bytes.fromhex("F2F2")


def test_noise_never_takes_more_than_a_fifteenth_more_than_its_planes():
    picture = np.random.default_rng(1).integers(0, 256, (64, 64, 4), dtype=np.uint8)
    stream = planar.encode(picture, planar.RLE | planar.NO_ALPHA)
    assert len(stream) <= 1 + 3 * 64 * (64 + 5)


def test_a_stream_made_by_hand():
    stream = bytes.fromhex("30 40 AABBCCDD 13 02 13 BB 04 13 CC 13 01")
    picture = planar.decode(stream, 4, 2)
    assert picture[..., 2].tolist() == [[0xAA, 0xBB, 0xCC, 0xDD], [0xAB, 0xBC, 0xCD, 0xDE]]
    assert (picture[..., 1] == 0xBB).all()
    assert picture[..., 0].tolist() == [[0xCC] * 4, [0xCB] * 4]


@pytest.mark.parametrize("decode_plane", [planar.decode_plane, planar.decode_plane_python], ids=["chosen", "python"])
def test_a_plane_made_by_hand(decode_plane):
    plane, after = decode_plane(bytes.fromhex("FF F2 11 FF"), 1, 64, 1)
    assert not plane.any()
    assert after == 3


BROKEN = {
    "nothing": "",
    "header only": "30",
    "reserved bits": "70 04 04 04 04 04 04",
    "chroma subsampling without colour loss": "38 04 04 04 04 04 04",
    "a plane missing": "30 04 04 04 04",
    "a segment past its row": "30 05 04 04 04 04 04",
    "a long run past its row": "30 12 04 04 04 04 04",
    "raw bytes missing": "30 04 04 04 04 04 40 01",
    "two bytes left": "30 04 04 04 04 04 04 00 00",
    "only empty segments": "30" + "00" * 40,
    "a raw plane short": "20" + "00" * 23,
    "raw planes and two more": "20" + "00" * 26,
}


@pytest.mark.parametrize("stream", BROKEN.values(), ids=BROKEN)
def test_a_broken_stream_is_the_peers_fault(stream):
    with pytest.raises(CodecError):
        planar.decode(bytes.fromhex(stream), 4, 2)


@given(stream=st.binary(max_size=60), width=st.integers(1, 20), height=st.integers(1, 6))
def test_any_bytes_decode_or_raise_ours_and_the_extension_agrees(extension, stream, width, height):
    def outcome(decode):
        try:
            plane, after = decode(stream, 0, width, height)
        except (CodecError, ValueError):
            return None
        return bytes(plane), after

    assert outcome(extension.plane_decode) == outcome(planar.decode_plane_python)
    try:
        picture = planar.decode(stream, width, height)
    except CodecError:
        return
    assert picture.shape == (height, width, 4)


@given(data=st.data())
def test_a_damaged_stream_decodes_or_raises_ours(pictures, data):
    picture = data.draw(pictures)
    stream = bytearray(planar.encode(picture, data.draw(st.sampled_from(HEADERS)), limit=1 << 20))
    for _ in range(data.draw(st.integers(1, 4))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    height, width = picture.shape[:2]
    try:
        assert planar.decode(bytes(stream), width, height).shape == picture.shape
    except CodecError:
        assert stream


def test_wrong_arguments_are_the_callers_fault():
    picture = np.zeros((8, 8, 4), np.uint8)
    with pytest.raises(LocalProtocolError):
        planar.encode(picture, 0x31)
    with pytest.raises(LocalProtocolError):
        planar.encode(picture[..., :3])


@pytest.mark.parametrize(("width", "height"), [(0, 4), (4, 0), (8193, 1), (1, 9000)])
def test_a_size_that_no_picture_has_is_the_peers_fault(width, height):
    with pytest.raises(CodecError):
        planar.decode(b"\x30", width, height)
