from hashlib import sha256

import numpy as np

from rdpprov.wire.rdp.pointer import CachedPointer, ColorPointer, LargePointer, NewPointer, PointerPdu

LAYER = "pointer"
COUNT = 8

POINTER_PDU = "TS_POINTER_PDU data (messageType + pad + attribute)"


def pdu_leaves(pdu):
    attribute = pdu.pointer_attribute_data
    names = ("system_pointer_type", "x_pos", "y_pos", "cache_index")
    leaves = {name: getattr(attribute, name) for name in names if hasattr(attribute, name)}
    return leaves | {"messageType": pdu.message_type}


def shape_leaves(shape):
    """The header's fields, and the picture that the masks make as the vectors' reference shows it."""
    names = ("cache_index", "hot_spot_x", "hot_spot_y", "width", "height", "length_and_mask", "length_xor_mask")
    picture = rgba(shape)
    return {name: getattr(shape, name) for name in names} | {
        "xorBpp": shape.xor_bpp,
        "pixelsRgbaSha256_topdown": sha256(picture.tobytes()).hexdigest(),
        "opaquePixels": int(np.count_nonzero(picture[:, :, 3])),
    }


def rgba(shape):
    width, height = shape.width, shape.height
    bytes_per_pixel = shape.xor_bpp // 8
    rows = np.frombuffer(shape.xor_mask_data, np.uint8).reshape(height, -1)[::-1, : width * bytes_per_pixel]
    pixels = rows.reshape(height, width, bytes_per_pixel)
    and_rows = np.frombuffer(shape.and_mask_data, np.uint8).reshape(height, -1)[::-1]
    transparent = np.unpackbits(and_rows, axis=1)[:, :width].astype(bool)
    color = pixels[:, :, 2::-1].astype(np.uint16)
    if bytes_per_pixel == 4:
        alpha = pixels[:, :, 3]
    else:
        # Black where AND is 1 is transparent; other colors are undefined there, and opaque in the reference.
        alpha = np.where(transparent & ~color.any(axis=2), 0, 255).astype(np.uint8)
    # The reference multiplies each color by itself, not by alpha: a quirk of it, not a rule.
    return np.dstack(((color * color >> 8).astype(np.uint8), alpha))


DECODERS = {
    (POINTER_PDU, "decode"): PointerPdu.unpack,
    ("TS_POINTERATTRIBUTE", "decode"): NewPointer.unpack,
    ("TS_COLORPOINTERATTRIBUTE", "decode"): ColorPointer.unpack,
    ("TS_FP_LARGEPOINTERATTRIBUTE", "decode"): LargePointer.unpack,
    ("TS_CACHEDPOINTERATTRIBUTE", "decode"): CachedPointer.unpack,
}

LEAVES = {
    POINTER_PDU: pdu_leaves,
    "TS_POINTERATTRIBUTE": shape_leaves,
    "TS_COLORPOINTERATTRIBUTE": shape_leaves,
    "TS_FP_LARGEPOINTERATTRIBUTE": shape_leaves,
}


def test_published_vector(judge):
    judge()
