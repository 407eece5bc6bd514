"""How many megapixels a second each codec takes, and what that is beside copying and beside zlib.

    python benchmarks/codecs.py [--json FILE] [--shapes] [--width W] [--height H]

Every figure is the best of several runs on one core. Pictures: `ui` (windows with smooth text), `photo` (smooth colours
with a little noise), `noise`. The codec rows encode all tiles of a desktop as bitmap updates cut them. `whole desktop`
is what a provider pays for a full repaint: without a cache, with a cold one, and with one that knows the picture.
"""

import argparse
import json
import platform
import secrets
import sys
import time
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rdpprov.api.devices import Rectangle
from rdpprov.codecs import native, planar, rle
from rdpprov.codecs import tiles as tile_codecs
from rdpprov.encoding.bitmap import TILE_SHAPES, BitmapEncoder, TileCache, tiles

WORDS = ("provider", "owns", "the", "wire", "and", "connection", "manager", "policy", "order", "time", "of", "sessions")
SHAPES = {
    16: [(64, 64), (112, 64), (240, 32), (496, 16), (992, 8)],
    24: [(64, 64), (80, 64), (160, 32), (320, 16), (640, 8)],
    32: [(64, 64), (128, 32), (256, 16), (512, 8), (1024, 4)],
}
UPDATE_HEADER = 22  # update code, size, update type, count, TS_BITMAP_DATA: before each bitmap


def draw_ui(width, height):
    image = Image.new("RGB", (width, height), (58, 110, 165))
    draw, font, random = ImageDraw.Draw(image), ImageFont.load_default(13), np.random.default_rng(3)

    def window(left, top, right, bottom):
        draw.rectangle((left, top, right, bottom), fill=(255, 255, 255), outline=(90, 90, 90))
        draw.rectangle((left, top, right, top + 26), fill=(0, 84, 166))
        draw.text((left + 8, top + 5), "A window", fill=(255, 255, 255), font=font)
        draw.rectangle((left, top + 27, right, top + 48), fill=(240, 240, 240))
        draw.text((left + 8, top + 30), "File  Edit  View  Help", fill=(0, 0, 0), font=font)
        for y in range(top + 56, bottom - 60, 17):
            line = " ".join(random.choice(WORDS, 9))
            draw.text((left + 10, y), line, fill=(20, 20, 20), font=font)
        for x in range(right - 270, right - 20, 90):
            draw.rectangle((x, bottom - 34, x + 80, bottom - 10), fill=(225, 225, 225), outline=(120, 120, 120))
            draw.text((x + 28, bottom - 30), "OK", fill=(0, 0, 0), font=font)

    window(width // 25, height // 25, width * 3 // 5, height * 3 // 5)
    window(width // 3, height // 3, width * 9 // 10, height * 9 // 10)
    draw.rectangle((0, height - 32, width, height), fill=(30, 30, 30))
    draw.text((width - 80, height - 24), "12:34:56", fill=(255, 255, 255), font=font)
    return to_bgrx(image)


def draw_photo(width, height):
    y, x = np.mgrid[0:height, 0:width]
    random = np.random.default_rng(0)
    planes = [
        np.clip(128 + 80 * np.sin(x / (50 + 9 * plane) + y / 70) + random.normal(0, 4, x.shape), 0, 255)
        for plane in range(3)
    ]
    return to_bgrx(np.dstack(planes).astype(np.uint8))


def draw_noise(width, height):
    return np.random.default_rng(1).integers(0, 256, (height, width, 4), dtype=np.uint8)


def to_bgrx(image):
    rgb = np.asarray(image)
    picture = np.zeros((*rgb.shape[:2], 4), np.uint8)
    picture[..., :3] = rgb[..., ::-1]
    return picture


def best_seconds(function, at_least=0.25):
    """The best of as many runs as fit into a quarter of a second, three at least."""
    best, runs, started = float("inf"), 0, time.perf_counter()
    while runs < 3 or time.perf_counter() - started < at_least:
        begin = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - begin)
        runs += 1
    return best


def grid(picture, columns, rows):
    height, width = picture.shape[:2]
    return [
        (x, y, min(x + columns, width), min(y + rows, height))
        for y in range(0, height, rows)
        for x in range(0, width, columns)
    ]


def encode_all(extension, picture, boxes, bits_per_pixel):
    """All tiles of a picture, by the extension or, if that is None, in Python."""
    if extension is not None:
        packed = np.array(boxes, np.int32).tobytes()
        return extension.encode_tiles(picture, packed, bits_per_pixel, planar.RLE, b"")
    return [
        tile_codecs.encode_tile_python(picture[top:bottom, left:right], bits_per_pixel, planar.RLE, b"")
        for left, top, right, bottom in boxes
    ]


def decode_all(extension, encoded, boxes, bits_per_pixel):
    for (left, top, right, bottom), (compressed, data, _) in zip(boxes, encoded, strict=True):
        width, height = right - left, bottom - top
        if not compressed:
            continue
        if bits_per_pixel == 32:
            decode = planar.decode_plane_python if extension is None else extension.plane_decode
            at = 1
            for _plane in range(4):
                _, at = decode(data, at, width, height)
        elif extension is None:
            rle.decode_python(data, width, height, bits_per_pixel)
        else:
            extension.rle_decode(data, width, height, bits_per_pixel)


def measure_codecs(pictures):
    implementations = [("native", native.extension)] if native.extension is not None else []
    implementations.append(("python", None))
    for name, picture in pictures.items():
        pixels, raw = picture.shape[0] * picture.shape[1], picture.tobytes()
        copy, packed = best_seconds(picture.copy), best_seconds(lambda raw=raw: zlib.compress(raw, 1))
        rows = [("copy", "numpy", copy, len(raw)), ("zlib level 1", "C", packed, len(zlib.compress(raw, 1)))]
        key = secrets.token_bytes(tile_codecs.KEY_SIZE)
        for bits_per_pixel, shape in TILE_SHAPES.items():
            boxes = grid(picture, *shape)
            codec = "planar 32" if bits_per_pixel == 32 else f"rle {bits_per_pixel}"
            for implementation, extension in implementations:
                encoded = encode_all(extension, picture, boxes, bits_per_pixel)
                size = sum(len(data) for _, data, _ in encoded)
                arguments = (extension, picture, boxes, bits_per_pixel)
                seconds = best_seconds(lambda arguments=arguments: encode_all(*arguments))
                rows.append((codec, implementation, seconds, size))
                if any(compressed for compressed, _, _ in encoded):
                    arguments = (extension, encoded, boxes, bits_per_pixel)
                    seconds = best_seconds(lambda arguments=arguments: decode_all(*arguments))
                    rows.append((f"{codec}, decoding", implementation, seconds, size))
        boxes = grid(picture, *TILE_SHAPES[16])
        seconds = best_seconds(
            lambda boxes=boxes, picture=picture, key=key: tile_codecs.digest_tiles(picture, boxes, key)
        )
        rows.append(("digests of tiles", "chosen", seconds, 0))
        for codec, implementation, seconds, size in rows:
            yield {
                "picture": name,
                "codec": codec,
                "implementation": implementation,
                "megapixels_per_second": round(pixels / seconds / 1e6, 1),
                "times_copy": round(seconds / copy, 2),
                "times_zlib": round(seconds / packed, 3),
                "bytes": size,
            }


def measure_desktop(pictures):
    for name, picture in pictures.items():
        height, width = picture.shape[:2]
        damage = [Rectangle(0, 0, width, height)]

        def repaint(encoder, picture=picture, damage=damage, size=(width, height)):
            for part in tiles(damage, *size):
                for _ in encoder.encode(picture[part.top : part.bottom, part.left : part.right], part.left, part.top):
                    pass

        for bits_per_pixel in TILE_SHAPES:
            known = BitmapEncoder(bits_per_pixel=bits_per_pixel, cache=TileCache())
            caches = iter([TileCache() for _ in range(5)])
            cold = min(
                timed(lambda c=c, b=bits_per_pixel: repaint(BitmapEncoder(bits_per_pixel=b, cache=c))) for c in caches
            )
            repaint(known)
            yield {
                "picture": name,
                "bits_per_pixel": bits_per_pixel,
                "no_cache_ms": round(
                    1e3 * best_seconds(lambda b=bits_per_pixel: repaint(BitmapEncoder(bits_per_pixel=b))), 2
                ),
                "cold_cache_ms": round(1e3 * cold, 2),
                "known_ms": round(1e3 * best_seconds(lambda known=known: repaint(known)), 2),
            }


def timed(function):
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def measure_shapes(picture):
    for bits_per_pixel, shapes in SHAPES.items():
        for columns, rows in shapes:
            boxes = grid(picture, columns, rows)
            encoded = encode_all(native.extension, picture[::-1], boxes, bits_per_pixel)
            seconds = best_seconds(
                lambda boxes=boxes, depth=bits_per_pixel: encode_all(native.extension, picture[::-1], boxes, depth)
            )
            yield {
                "bits_per_pixel": bits_per_pixel,
                "shape": f"{columns}x{rows}",
                "milliseconds": round(1e3 * seconds, 2),
                "kilobytes": round((sum(len(data) for _, data, _ in encoded) + UPDATE_HEADER * len(boxes)) / 1e3, 1),
                "bitmaps": len(boxes),
            }


def show(title, rows):
    if not rows:
        return
    names = list(rows[0])
    widths = [max(len(str(row[name])) for row in [dict(zip(names, names, strict=True)), *rows]) for name in names]
    print(f"\n{title}")
    for row in [dict(zip(names, names, strict=True)), *rows]:
        cells = (
            str(row[name]).ljust(width) if isinstance(rows[0][name], str) else str(row[name]).rjust(width)
            for name, width in zip(names, widths, strict=True)
        )
        print("  ".join(cells).rstrip())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there too")
    parser.add_argument("--shapes", action="store_true", help="only compare shapes of tiles")
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--height", type=int, default=768)
    options = parser.parse_args()
    pictures = {
        name: draw(options.width, options.height)
        for name, draw in (("ui", draw_ui), ("photo", draw_photo), ("noise", draw_noise))
    }
    about = {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "extension": native.extension is not None,
        "size": f"{options.width}x{options.height}",
    }
    print(*(f"{name}: {value}" for name, value in about.items()), sep="  ")
    result = {"about": about}
    if options.shapes:
        result["shapes"] = list(measure_shapes(pictures["ui"]))
        show("shapes of tiles, ui", result["shapes"])
    else:
        result["desktop"] = list(measure_desktop(pictures))
        show("whole desktop", result["desktop"])
        result["codecs"] = list(measure_codecs(pictures))
        show("codecs", result["codecs"])
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
