import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.sessions.keyboard import EditKey
from rdpprov.sessions.layouts import LAYOUTS
from rdpprov.sessions.text import (
    TextStyle,
    _glyph,
    draw_text,
    first_visible,
    fit,
    has_glyph,
    index_at,
    line_height,
    text_run,
    text_width,
    tint,
)
from rdpprov.sessions.textfield import TextField

STYLE = TextStyle(15)


def test_the_font_has_every_character_of_the_four_layouts():
    typed = {character for layout in LAYOUTS.values() for level in layout.levels for character in level.values()}
    typed |= {made for layout in LAYOUTS.values() for table in layout.composed.values() for made in table.values()}
    assert {character for character in typed if not has_glyph(character, STYLE)} == {"ẞ"}


@pytest.mark.parametrize("character", ["中", "😀", "\ue000", "\n", "\x00", "\ud800"])
def test_a_character_that_the_font_lacks_is_a_box_with_its_code_point(character):
    assert not has_glyph(character, STYLE)
    bitmap = draw_text(character, STYLE, 0x000000, 0xFFFFFF)
    assert bitmap.shape[1] >= 10
    assert (bitmap != 0xFFFFFFFF).mean() > 0.1


def test_boxes_of_different_code_points_differ():
    assert not np.array_equal(draw_text("中", STYLE, 0, 0xFFFFFF), draw_text("文", STYLE, 0, 0xFFFFFF))


def test_text_is_drawn_in_its_colour_over_its_background():
    bitmap = draw_text("I", TextStyle(40, bold=True), 0x123456, 0xFEDCBA)
    colours = set(bitmap.ravel().tolist())
    assert {0xFF123456, 0xFFFEDCBA} <= colours


def test_a_run_is_drawn_once_and_cannot_be_changed():
    run = text_run("label", STYLE, 0, 0xFFFFFF)
    assert text_run("label", STYLE, 0, 0xFFFFFF) is run
    with pytest.raises(ValueError, match="read-only"):
        run[0, 0] = 1


@given(st.text(max_size=40))
def test_a_run_is_as_large_as_announced(text):
    assert draw_text(text, STYLE, 0, 0xFFFFFF).shape == (line_height(STYLE), text_width(text, STYLE))


@given(st.text("abcWi. 中", max_size=40), st.integers(0, 400))
def test_fitted_text_fits(text, width):
    fitted = fit(text, STYLE, width)
    assert text_width(fitted, STYLE) <= width
    assert fitted == text or fitted.endswith("…") or not fitted


@given(st.text("abcWi. 中", max_size=60), st.data())
def test_a_caret_is_always_visible_and_a_click_finds_it(text, data):
    caret = data.draw(st.integers(0, len(text)))
    start = first_visible(text, caret, STYLE, 60)
    assert 0 <= start <= caret
    x = text_width(text[start:caret], STYLE)
    assert x <= 60
    assert index_at(text[start:], STYLE, x) == caret - start


@given(st.lists(st.one_of(st.text(max_size=3), st.sampled_from(EditKey)), max_size=40), st.booleans())
def test_a_text_field_keeps_its_limit_and_its_caret_inside(keystrokes, multiline):
    field = TextField(10, multiline=multiline)
    for keystroke in keystrokes:
        before = (field.text, field.caret)
        assert field.press(keystroke) == ((field.text, field.caret) != before)
        assert len(field.text) <= 10
        assert 0 <= field.caret <= len(field.text)


def test_a_text_field_edits_where_the_caret_is():
    field = TextField(100, multiline=True)
    for keystroke in ("one", EditKey.ENTER, "tw", EditKey.LEFT, "x", EditKey.BACKSPACE, EditKey.END, "o", EditKey.HOME):
        field.press(keystroke)
    assert (field.text, field.caret) == ("one\ntwo", 4)
    field.press(EditKey.DELETE)
    field.press(EditKey.BACKSPACE)
    assert field.text == "onewo"


def test_a_secret_field_has_no_repr():
    field = TextField(10, secret=True)
    field.press("hunter2")
    assert "hunter2" not in repr(field)
    assert "hunter2" in repr(TextField(10, text="hunter2"))


def drawn_glyph_by_glyph(text, style):
    """What `draw_text` has to come to: each glyph laid over those before it, and what leaves the line cut."""
    margin = 200
    line = np.zeros((line_height(style) + 2 * margin, text_width(text, style) + 2 * margin), np.uint8)
    pen = margin
    for character in text:
        glyph = _glyph(character, style)
        height, width = glyph.coverage.shape
        place = line[margin + glyph.top :, pen + glyph.left :][:height, :width]
        np.maximum(place, glyph.coverage, out=place)
        pen += glyph.advance
    return tint(line[margin:-margin, margin:-margin], 0x1F2933, 0xFFFDF5)


@given(
    st.text(st.characters(codec="utf-8", max_codepoint=0x17F) | st.sampled_from("jfJ_中·…"), max_size=30),
    st.builds(TextStyle, st.sampled_from([6, 10, 13, 15, 19, 76]), st.booleans()),
)
def test_a_line_looks_as_if_its_glyphs_were_drawn_one_over_the_other(text, style):
    assert np.array_equal(draw_text(text, style, 0x1F2933, 0xFFFDF5), drawn_glyph_by_glyph(text, style))
