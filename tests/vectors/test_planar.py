import hashlib

import numpy as np

from rdpprov.codecs import planar

LAYER = "planar"
COUNT = 13


def decompress_bitmap(vector):
    expect = vector["expect"]
    data = bytes.fromhex(vector["hex"])
    width, height = expect.get("width", 0), expect.get("height", 0)
    colours = planar.decode(data, width, height)[..., :3]
    if "pixels_bgr" in expect:
        expected = np.frombuffer(bytes.fromhex(expect["pixels_bgr"]), np.uint8).reshape(height, width, 3)
        difference = np.abs(colours.astype(np.int16) - expected)
        assert difference.max() <= expect.get("tolerance", 0)
        return {"formatHeader": data[0]}
    return {
        "formatHeader": data[0],
        "pixels_bgr_sha256": hashlib.sha256(colours.tobytes()).hexdigest(),
        "firstRow_bgr": colours[0].tobytes(),
        "lastRow_bgr": colours[-1].tobytes(),
    }


def decompress_plane(vector):
    expect = vector["expect"]
    data = bytes.fromhex(vector["hex"])
    plane, after = planar.decode_plane(data, 0, expect["width"], expect["height"])
    assert after == len(data)
    assert (planar.decode_plane_python(data, 0, expect["width"], expect["height"])[0] == plane).all()
    return {"plane": plane.tobytes()}


DECODERS = {
    ("RDP6_BITMAP_STREAM", "decompress"): decompress_bitmap,
    ("RDP6_RLE_SEGMENTS (one 8-bit plane)", "decompress"): decompress_plane,
}


def test_planar(judge):
    judge()
