import hashlib

from rdpprov.codecs import rle

LAYER = "rle"
COUNT = 18


def decompress(vector):
    expect = vector["expect"]
    arguments = bytes.fromhex(vector["hex"]), expect["width"], expect["height"], expect["bpp"]
    pixels = rle.decode_rows(*arguments).tobytes()
    assert rle.decode_python(*arguments).tobytes() == pixels
    if "pixels" in expect:
        return {"pixels": pixels}
    return {
        "pixelsSha256": hashlib.sha256(pixels).hexdigest(),
        "firstPixels": pixels[: len(expect["firstPixels"]) // 2],
    }


DECODERS = {
    ("Interleaved RLE bitmap stream 15 bpp", "decompress"): decompress,
    ("Interleaved RLE bitmap stream 16 bpp", "decompress"): decompress,
    ("Interleaved RLE bitmap stream 24 bpp", "decompress"): decompress,
}


def test_interleaved_rle(judge):
    judge()
