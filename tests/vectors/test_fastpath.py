from rdpprov.wire.base import DecodeError
from rdpprov.wire.rdp.bitmap import BitmapUpdate
from rdpprov.wire.rdp.fastpath import FastPathHeader, FastPathUpdate, UpdateCode
from rdpprov.wire.rdp.surface import FrameMarker, SurfaceBits, unpack_surface_commands

LAYER = "fastpath"
COUNT = 9

HEADER = "fast-path header (action/flags byte + length)"


def update_leaves(update):
    leaves = {
        "updateCode": update.update_code,
        "fragmentation": update.fragmentation,
        "compression": update.compression,
        "size": update.size,
        "data": update.data,
    }
    if update.update_code == UpdateCode.FASTPATH_UPDATETYPE_SURFCMDS:
        leaves["commands"] = unpack_surface_commands(update.data)
    return leaves


def whole_update(data):
    update, rest = FastPathUpdate.unpack(data)
    if rest:
        raise DecodeError("bytes are left")
    return update


DECODERS = {
    (HEADER, "decode"): FastPathHeader.unpack,
    ("TS_FP_UPDATE", "decode"): whole_update,
    ("TS_FP_UPDATE", "reject"): whole_update,
    ("TS_FRAME_MARKER", "decode"): FrameMarker.unpack,
    ("TS_SURFCMD_STREAM_SURF_BITS", "decode"): SurfaceBits.unpack,
    ("TS_UPDATE_BITMAP_DATA", "decode"): BitmapUpdate.unpack,
}

LEAVES = {"TS_FP_UPDATE": update_leaves}

NOT_EXPOSED = {"TS_SURFCMD_STREAM_SURF_BITS": {"reserved"}}


def test_published_vector(judge):
    judge()
