"""JPEG pictures as Tight carries them: baseline JFIF, one whole picture each.

Encoding is libjpeg-turbo's, through simplejpeg if it is installed (extra ``rfb``), which takes our pictures as they
are, else through Pillow. Decoding is Pillow's.
"""

import importlib
import io
from typing import Literal, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rdpprov.codecs.errors import CodecError
from rdpprov.codecs.pixels import check_picture, check_size

__all__ = ["JpegQuality", "decode", "encode"]

Subsampling = Literal["444", "422", "420", "Gray"]

_MODES = {"444": 0, "422": 1, "420": 2}  # Pillow's


class JpegQuality(NamedTuple):
    """How much may be lost."""

    quality: int
    """1 to 100, libjpeg's."""
    subsampling: Subsampling
    """Of the colours: none, by two, by four, or no colours at all."""


class _Encode(Protocol):
    def __call__(self, image: NDArray[np.uint8], quality: int, colorspace: str, colorsubsampling: str) -> bytes: ...


def _load() -> _Encode | None:
    try:
        return cast(_Encode, importlib.import_module("simplejpeg").encode_jpeg)
    except ImportError:
        return None


_encode = _load()


def encode(picture: NDArray[np.uint8], quality: JpegQuality) -> bytes:
    """A picture, (height, width, 4) uint8 BGRX, as JPEG. Takes no lock while it works.

    Raises:
        LocalProtocolError: not a picture.
    """
    picture = np.ascontiguousarray(check_picture(picture))
    if _encode is not None:
        return _encode(picture, quality.quality, "BGRX", quality.subsampling)
    return encode_pillow(picture, quality)


def encode_pillow(picture: NDArray[np.uint8], quality: JpegQuality) -> bytes:
    """`encode` without simplejpeg. `picture` lies in one piece."""
    height, width = picture.shape[:2]
    image = Image.frombuffer("RGB", (width, height), picture.tobytes(), "raw", "BGRX", 0, 1)
    if quality.subsampling == "Gray":
        image = image.convert("L")
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality.quality, subsampling=_MODES.get(quality.subsampling, 0))
    return out.getvalue()


def decode(data: bytes, width: int, height: int) -> NDArray[np.uint8]:
    """A JPEG as a picture; the X byte is FF.

    Raises:
        CodecError: no JPEG, damaged, or of another size, which is found out before it is decoded.
    """
    check_size(width, height)
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            if image.size != (width, height):
                raise CodecError(f"JPEG: a picture of {image.size}, expected {width}x{height}")
            rgb = np.asarray(image.convert("RGB"))
    # Pillow's plug-ins raise whatever comes to them about hostile bytes.
    except (OSError, ValueError, SyntaxError, TypeError, IndexError, KeyError, Image.DecompressionBombError) as error:
        raise CodecError(f"JPEG: {error}") from None
    picture = np.full((height, width, 4), 0xFF, np.uint8)
    picture[..., :3] = rgb[..., ::-1]
    return picture
