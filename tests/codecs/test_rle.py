import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.codecs import rle
from rdpprov.codecs.errors import CodecError
from rdpprov.codecs.pixels import bytes_per_pixel, pack, unpack, values
from rdpprov.errors import LocalProtocolError

DEPTHS = [15, 16, 24]


def decode_slowly(data, width, height, bits_per_pixel, *, row_by_row):
    """A decoder that handles one pixel at a time and knows no shortcut.

    `row_by_row`: whether "is this the first row?" is asked for each pixel, as rdesktop does, or once an order, as
    FreeRDP does.
    """
    size, white = bytes_per_pixel(bits_per_pixel), (1 << bits_per_pixel) - 1
    out, foreground, at, insert, first = [], white, 0, False, True

    def number(count):
        nonlocal at
        assert at + count <= len(data), "operand missing"
        at += count
        return int.from_bytes(data[at - count : at], "little")

    while at < len(data):
        if first and len(out) >= width:
            first = insert = False
        code = number(1)
        order, length = None, 1
        names = {0: "bg", 1: "fg", 2: "image", 3: "colour", 4: "raw", 12: "set fg", 13: "set image", 14: "dither"}
        if code in (0xF9, 0xFA):
            order, length = "special", 8
        elif code in (0xFD, 0xFE):
            order = "one"
        elif code >= 0xF0:
            order = {0xF0: "bg", 0xF1: "fg", 0xF2: "image", 0xF3: "colour", 0xF4: "raw"}.get(code) or {
                0xF6: "set fg",
                0xF7: "set image",
                0xF8: "dither",
            }[code]
            length = number(2)
        else:
            lite = code >= 0xC0
            order = names[code >> 4 if lite else code >> 5]
            length = code & (15 if lite else 31)
            if "image" in order:
                length = 8 * length if length else number(1) + 1
            elif not length:
                length = number(1) + (16 if lite else 32)
        if order in ("set fg", "set image"):
            foreground = number(size)
        pair = [number(size)] if order == "colour" else [number(size), number(size)] if order == "dither" else []
        mask = {0xF9: 3, 0xFA: 5}.get(code, 0)
        inserted = order == "bg" and insert
        for i in range(2 * length if order == "dither" else length):
            in_first = len(out) < width if row_by_row else first
            above = 0 if in_first else out[len(out) - width]
            match order:
                case "bg":
                    out.append(above ^ foreground if inserted and i == 0 else above)
                case "fg" | "set fg":
                    out.append(above ^ foreground)
                case "image" | "set image" | "special":
                    if i % 8 == 0 and order != "special":
                        mask = number(1)
                    out.append(above ^ foreground if mask >> i % 8 & 1 else above)
                case "colour" | "dither":
                    out.append(pair[i % len(pair)])
                case "raw":
                    out.append(number(size))
                case "one":
                    out.append(white if code == 0xFD else 0)
        insert = order == "bg"
    assert len(out) == width * height
    return b"".join(pixel.to_bytes(size, "little") for pixel in out)


@pytest.mark.parametrize("bits_per_pixel", DEPTHS)
@given(data=st.data())
def test_a_picture_survives_in_freerdp_and_in_rdesktop(pictures, bits_per_pixel, data):
    picture = data.draw(pictures)[:24, :40]
    height, width = picture.shape[:2]
    stream = rle.encode(picture, bits_per_pixel, limit=1 << 20)
    expected = pack(picture, bits_per_pixel).tobytes()
    assert decode_slowly(stream, width, height, bits_per_pixel, row_by_row=False) == expected
    assert decode_slowly(stream, width, height, bits_per_pixel, row_by_row=True) == expected
    assert rle.decode_rows(stream, width, height, bits_per_pixel).tobytes() == expected


@pytest.mark.parametrize("bits_per_pixel", DEPTHS)
@given(data=st.data())
def test_the_extension_encodes_to_the_same_bytes(extension, pictures, bits_per_pixel, data):
    picture = data.draw(pictures)
    limit = data.draw(st.sampled_from([0, 1, 16, 200, 3000, 1 << 20]) | st.integers(0, 9000))
    expected = rle.encode_values(values(picture, bits_per_pixel), bits_per_pixel, limit)
    assert extension.encode(picture, bits_per_pixel, 0, limit) == expected


@pytest.mark.parametrize("bits_per_pixel", DEPTHS)
@given(data=st.data())
def test_a_limit_says_none_to_just_the_longer_streams(pictures, bits_per_pixel, data):
    picture = data.draw(pictures)
    stream = rle.encode(picture, bits_per_pixel, limit=1 << 20)
    assert rle.encode(picture, bits_per_pixel, limit=len(stream)) == stream
    assert rle.encode(picture, bits_per_pixel, limit=len(stream) - 1) is None
    raw = picture.shape[0] * picture.shape[1] * bytes_per_pixel(bits_per_pixel)
    assert rle.encode(picture, bits_per_pixel) == (stream if len(stream) <= raw else None)


RUNS = [1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 47, 48, 63, 255, 256, 257, 271, 272, 273, 287, 288, 289, 4000]


@pytest.mark.parametrize("bits_per_pixel", DEPTHS)
@pytest.mark.parametrize("run", RUNS)
def test_runs_of_every_form_of_length_survive(bits_per_pixel, run):
    width = 4096
    rows = np.zeros((4, width, 4), np.uint8)
    rows[:, 5 : 5 + run] = 200  # a colour run, then a background run
    rows[2, 5 : 5 + run] ^= 255  # set-foreground and foreground runs
    rows[3, 5 : 5 + run] ^= 255
    rows[1:, 4500:] = 3
    rows[3, 5 : 5 + run : 2] = 77  # an image
    stream = rle.encode(rows, bits_per_pixel, limit=1 << 20)
    assert rle.decode_rows(stream, width, 4, bits_per_pixel).tobytes() == pack(rows, bits_per_pixel).tobytes()
    assert rle.decode_python(stream, width, 4, bits_per_pixel).tobytes() == pack(rows, bits_per_pixel).tobytes()


@pytest.mark.parametrize("bits_per_pixel", DEPTHS)
def test_the_largest_picture_of_one_colour_is_one_order(bits_per_pixel):
    picture = np.full((1, 8192, 4), 9, np.uint8).repeat(7, axis=0)
    stream = rle.encode(picture, bits_per_pixel)
    assert stream[0] == 0xF3
    assert len(stream) == 3 + bytes_per_pixel(bits_per_pixel)
    assert (rle.decode(stream, 8192, 7, bits_per_pixel) == unpack(pack(picture, bits_per_pixel), bits_per_pixel)).all()


def test_two_tone_text_takes_about_a_bit_a_pixel():
    random = np.random.default_rng(7)
    picture = np.full((64, 64, 4), 255, np.uint8)
    picture[random.random((64, 64)) < 0.3, :3] = 0
    assert len(rle.encode(picture, 16)) < 64 * 64 / 8 * 1.6


HAND_MADE = [
    # [name, depth, width, height, stream, pixels]
    ("row 0 raw, then background", 16, 4, 2, "84 0100 0200 0300 0400 04", [1, 2, 3, 4, 1, 2, 3, 4]),
    ("a pel between background runs", 16, 4, 2, "02 02 04", [0, 0, 0xFFFF, 0, 0, 0, 0xFFFF, 0]),
    ("set foreground", 16, 4, 2, "64 3412 02 C2 1F00", [0x1234] * 6 + [0x122B] * 2),
    ("dithered and masked", 16, 4, 2, "E2 AA00 5500 40 03 05", [0xAA, 0x55, 0xAA, 0x55, 0xFF55, 0x55, 0xFF55, 0x55]),
    ("special masks", 8, 8, 2, "F9 FA", [255, 255, 0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0, 0]),
    ("white and black", 24, 1, 2, "FD FE", [0xFFFFFF, 0]),
    ("a run as long as its row", 15, 4, 2, "04 04", [0] * 8),
    ("an empty order", 16, 1, 1, "F0 0000 F4 0000 61 0700", [7]),
]


@pytest.mark.parametrize(
    ("name", "depth", "width", "height", "stream", "pixels"), HAND_MADE, ids=[h[0] for h in HAND_MADE]
)
@pytest.mark.parametrize("decode", [rle.decode_rows, rle.decode_python], ids=["chosen", "python"])
def test_streams_made_by_hand(decode, name, depth, width, height, stream, pixels):
    rows = decode(bytes.fromhex(stream), width, height, depth)
    assert rows.shape == (height, width * bytes_per_pixel(depth))
    assert rows.tobytes() == b"".join(pixel.to_bytes(bytes_per_pixel(depth), "little") for pixel in pixels)


BROKEN = {
    "nothing": "",
    "fewer pixels": "63 0100",
    "more pixels": "68 0100 62 0100",
    "a mega run past the end": "F3 FFFF 0100",
    "a dithered run past the end": "E5 0100 0200",
    "masks missing": "41",
    "colour missing": "68 01",
    "second colour missing": "E4 0100 02",
    "foreground missing": "C8",
    "foreground missing before masks": "D1 01",
    "pixels missing": "88 0100 0200",
    "length missing": "60",
    "half a mega length": "F3 08",
    "undefined A0": "A8",
    "undefined BF": "BF",
    "undefined F5": "F5 0800",
    "undefined FB": "FB",
    "undefined FC": "FC",
    "undefined FF": "FF",
}


@pytest.mark.parametrize("stream", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("decode", [rle.decode_rows, rle.decode_python], ids=["chosen", "python"])
def test_a_broken_stream_is_the_peers_fault(decode, stream):
    with pytest.raises(CodecError):
        decode(bytes.fromhex(stream), 4, 2, 16)


@pytest.mark.parametrize("bits_per_pixel", [8, *DEPTHS])
@given(stream=st.binary(max_size=80), width=st.integers(1, 20), height=st.integers(1, 20))
def test_any_bytes_decode_or_raise_ours_and_the_extension_agrees(extension, bits_per_pixel, stream, width, height):
    def outcome(decode):
        try:
            return bytes(decode(stream, width, height, bits_per_pixel))
        except (CodecError, ValueError):
            return None

    expected = outcome(lambda *arguments: rle.decode_python(*arguments).tobytes())
    assert outcome(extension.rle_decode) == expected
    if expected is not None:
        assert decode_slowly(stream, width, height, bits_per_pixel, row_by_row=False) == expected


@pytest.mark.parametrize("bits_per_pixel", DEPTHS)
@given(data=st.data())
def test_a_damaged_stream_decodes_or_raises_ours(pictures, bits_per_pixel, data):
    picture = data.draw(pictures)
    stream = bytearray(rle.encode(picture, bits_per_pixel, limit=1 << 20))
    for _ in range(data.draw(st.integers(1, 4))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    del stream[data.draw(st.integers(0, len(stream))) :]
    height, width = picture.shape[:2]
    for decode in (rle.decode_rows, rle.decode_python):
        try:
            rows = decode(bytes(stream), width, height, bits_per_pixel)
        except CodecError:
            continue
        assert rows.shape == (height, width * bytes_per_pixel(bits_per_pixel))


@pytest.mark.parametrize(("width", "height"), [(0, 4), (4, 0), (8193, 1), (1, 9000)])
def test_a_size_that_no_picture_has_is_the_peers_fault(width, height):
    with pytest.raises(CodecError):
        rle.decode_rows(b"\x61\0\0", width, height, 16)


def test_wrong_arguments_are_the_callers_fault():
    picture = np.zeros((8, 8, 4), np.uint8)
    with pytest.raises(LocalProtocolError):
        rle.encode(picture, 32)
    with pytest.raises(LocalProtocolError):
        rle.encode(picture, 8)
    with pytest.raises(LocalProtocolError):
        rle.encode(np.zeros((256, 256, 4), np.uint8), 16)
    with pytest.raises(LocalProtocolError):
        rle.decode_rows(b"", 4, 4, 32)
