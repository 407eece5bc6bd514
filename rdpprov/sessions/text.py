"""Text to pixels: one free font (Open Sans, from the package ttf-opensans), glyphs cached, runs of text cached.

A desktop draws the same labels in every session, so a run of text is rendered once in a process and copied afterwards.
"""

from collections.abc import Iterator
from functools import lru_cache
from importlib import resources
from typing import NamedTuple, TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from rdpprov.codecs.painting import OPAQUE

Bitmap: TypeAlias = NDArray[np.uint32]
"""Pixels as little-endian words 0xXXRRGGBB, that is BGRX in memory; shape (height, width)."""
Coverage: TypeAlias = NDArray[np.uint8]
"""How much of each pixel is covered: 0 not at all, 255 wholly; shape (height, width)."""

MAX_RUN = 400
"""Characters of one run of text; what follows is not drawn. No label of ours is as long; a client's name may be."""


class TextStyle(NamedTuple):
    """How text looks: its size in pixels and its weight. A tuple, because it is hashed for each character."""

    size: int
    bold: bool = False


@attrs.frozen(eq=False)
class Glyph:
    """One character drawn: its coverage, how far its left edge is from the pen, and how far the pen goes on."""

    coverage: Coverage
    left: int
    top: int
    advance: int
    cell: Coverage
    """What of it lies in its own place in a line: `line_height` by ``advance``."""
    overhangs: bool
    """Whether a part of it lies beside its cell, where the neighbours are."""


@lru_cache(maxsize=64)
def _font(style: TextStyle) -> ImageFont.FreeTypeFont:
    name = "OpenSans-SemiBold.ttf" if style.bold else "OpenSans-Regular.ttf"
    with resources.as_file(resources.files("ttf_opensans") / "ttf" / name) as path:
        # Basic layout: glyph by glyph, so that a caret's place is a sum of advances, and no shaping library is needed.
        return ImageFont.truetype(path, style.size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=64)
def line_height(style: TextStyle) -> int:
    """Height of a line of text in pixels; every run in this style has it."""
    ascent, descent = _font(style).getmetrics()
    return ascent + descent


@lru_cache(maxsize=64)
def _missing(style: TextStyle) -> tuple[tuple[int, int], bytes]:
    """What the font draws for a character that it does not have. U+FFFF is no character, so no font has it."""
    mask = _font(style).getmask("\uffff")
    return mask.size, bytes(mask)


def has_glyph(character: str, style: TextStyle) -> bool:
    """Whether the font has this character."""
    if not character.isprintable():
        return False
    mask = _font(style).getmask(character)
    return (mask.size, bytes(mask)) != _missing(style)


@lru_cache(maxsize=4096)
def _glyph(character: str, style: TextStyle) -> Glyph:
    if not has_glyph(character, style):
        return _code_point_box(character, style)
    font = _font(style)
    mask, (left, top) = font.getmask2(character, "L", anchor="la")
    width, height = mask.size
    coverage = np.frombuffer(bytes(mask), np.uint8).reshape(height, width)
    return _placed(coverage, left, top, round(font.getlength(character)), style)


def _placed(coverage: Coverage, left: int, top: int, advance: int, style: TextStyle) -> Glyph:
    cell = np.zeros((line_height(style), advance), np.uint8)
    _overlay(cell, coverage, left, top)
    return Glyph(coverage, left, top, advance, cell, left < 0 or left + coverage.shape[1] > advance)


def _overlay(line: Coverage, glyph: Coverage, left: int, top: int) -> None:
    """Add a glyph to a line; what leaves it is cut."""
    height, width = line.shape
    cut_left, cut_top = max(0, -left), max(0, -top)
    source = glyph[cut_top : max(cut_top, height - top), cut_left : max(cut_left, width - left)]
    if source.size:
        target = line[top + cut_top :, left + cut_left :][: source.shape[0], : source.shape[1]]
        np.maximum(target, source, out=target)


def _code_point_box(character: str, style: TextStyle) -> Glyph:
    """A box with the code point in hexadecimal, in two rows: the reader sees that there is a character, and which."""
    digits = f"{ord(character):04X}"
    if len(digits) % 2:
        digits = "0" + digits
    ascent, _ = _font(style).getmetrics()
    small = _font(TextStyle(max(6, round(style.size * 0.45))))
    half = len(digits) // 2
    cell = max(round(small.getlength(digit)) for digit in "0123456789ABCDEF")
    width, top = half * cell + 5, max(0, round(ascent * 0.12))
    height = ascent - top + 2
    image = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(image)
    draw.rectangle((1, 0, width - 2, height - 1), outline=160)
    for row, row_digits in enumerate((digits[:half], digits[half:])):
        for column, digit in enumerate(row_digits):
            centre = (3 + column * cell + cell / 2, height * (0.29 + 0.42 * row))
            draw.text(centre, digit, fill=255, font=small, anchor="mm")
    return _placed(np.asarray(image, np.uint8), 0, top, width, style)


def advances(text: str, style: TextStyle) -> Iterator[int]:
    """How far each character moves the pen, in pixels."""
    return (_glyph(character, style).advance for character in text)


def text_width(text: str, style: TextStyle) -> int:
    """Width in pixels that a run of this text takes."""
    return sum(advances(text, style))


@lru_cache(maxsize=1024)
def fit(text: str, style: TextStyle, width: int) -> str:
    """The text if it fits into ``width`` pixels, else its beginning and an ellipsis; empty if not even that fits."""
    if text_width(text, style) <= width:
        return text
    room = width - text_width("…", style)
    if room < 0:
        return ""
    used = 0
    for index, advance in enumerate(advances(text, style)):
        used += advance
        if used > room:
            return text[:index].rstrip() + "…"
    return text


def first_visible(text: str, caret: int, style: TextStyle, width: int) -> int:
    """Where to begin showing a line that is longer than ``width`` pixels, so that the caret is inside."""
    start, used = caret, 0
    while start > 0:
        used += _glyph(text[start - 1], style).advance
        if used > width:
            break
        start -= 1
    return start


def index_at(text: str, style: TextStyle, x: int) -> int:
    """The caret that a click ``x`` pixels into a run means: the nearer side of the character there."""
    pen = 0
    for index, advance in enumerate(advances(text, style)):
        if x < pen + advance / 2:
            return index
        pen += advance
    return len(text)


@lru_cache(maxsize=256)
def _ramp(colour: int, background: int) -> NDArray[np.uint32]:
    """For each coverage, the colour over the background."""
    share = np.arange(256, dtype=np.uint32)
    ramp = np.full(256, OPAQUE, np.uint32)
    for shift in (0, 8, 16):
        over, under = (colour >> shift) & 0xFF, (background >> shift) & 0xFF
        ramp |= ((over * share + under * (255 - share) + 127) // 255) << np.uint32(shift)
    return ramp


def tint(coverage: Coverage, colour: int, background: int) -> Bitmap:
    """A bitmap of ``colour`` (0xRRGGBB) over ``background`` where ``coverage`` says so. Read-only: it may be shared."""
    bitmap = _ramp(colour, background).take(coverage)
    bitmap.flags.writeable = False
    return bitmap


def draw_text(text: str, style: TextStyle, colour: int, background: int) -> Bitmap:
    """One line of text as a bitmap, `line_height` by `text_width`. Not cached: for what changes often."""
    glyphs = [_glyph(character, style) for character in text[:MAX_RUN]]
    if not glyphs:
        return tint(np.zeros((line_height(style), 0), np.uint8), colour, background)
    coverage = np.concatenate([glyph.cell for glyph in glyphs], axis=1)
    pen = 0
    for glyph in glyphs:
        if glyph.overhangs:
            _overlay(coverage, glyph.coverage, pen + glyph.left, glyph.top)
        pen += glyph.advance
    return tint(coverage, colour, background)


@lru_cache(maxsize=1024)
def text_run(text: str, style: TextStyle, colour: int, background: int) -> Bitmap:
    """`draw_text`, cached: for labels."""
    return draw_text(text, style, colour, background)
