"""Fonts cut for a PDF: the outlines asked for are the font's own, the others are gone."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.font_manager import findfont
from matplotlib.ft2font import FT2Font, LoadFlags

from nssi_meta.figures import forest, save
from nssi_meta.figures.fonts import cut, outlines, quick_embedding

PATH = str(findfont("DejaVu Sans"))
LETTERS = "Aé−μÅ≥†ž1ﬁ"  # Å and é are composites of other glyphs


def outline(font, glyph):
    """(vertices, advance) of a glyph in font units."""
    loaded = font.load_glyph(glyph, flags=LoadFlags.NO_SCALE | LoadFlags.NO_HINTING)
    return font.get_path()[0], loaded.horiAdvance


def test_cut_outlines_are_those_of_the_font():
    whole = FT2Font(PATH)
    glyphs = [whole.get_char_index(ord(c)) for c in LETTERS]
    part = FT2Font(io.BytesIO(cut(outlines(PATH), glyphs)))
    for glyph in glyphs:
        vertices, advance = outline(whole, glyph)
        kept, width = outline(part, glyph)
        assert len(vertices) > 3
        assert np.array_equal(vertices, kept)
        assert advance == width


def test_other_outlines_are_blank_and_the_file_is_small():
    whole = FT2Font(PATH)
    data = cut(outlines(PATH), [whole.get_char_index(ord("A"))])
    blank, _ = outline(FT2Font(io.BytesIO(data)), whole.get_char_index(ord("g")))
    assert len(blank) == 0
    assert len(cut(outlines(PATH), range(whole.num_glyphs))) > 5 * len(data)


def test_parts_of_composite_glyphs_are_kept():
    whole, font = FT2Font(PATH), outlines(PATH)
    accented = whole.get_char_index(ord("é"))
    assert whole.get_char_index(ord("e")) in font.parts(accented)
    assert font.parts(whole.get_char_index(ord("e"))) == []


def test_backend_is_as_before_afterwards():
    from matplotlib.backends import _backend_pdf_ps as backend

    before = backend.get_glyphs_subset
    block = quick_embedding()
    with block:
        assert backend.get_glyphs_subset is not before
    assert backend.get_glyphs_subset is before
    with pytest.raises(ZeroDivisionError), quick_embedding():
        1 / 0  # noqa: B018
    assert backend.get_glyphs_subset is before


def test_what_cannot_be_cut_is_left_to_matplotlib():
    from matplotlib.backends import _backend_pdf_ps as backend

    asked = []
    real = backend.get_glyphs_subset
    try:
        backend.get_glyphs_subset = lambda font, glyphs: asked.append(glyphs)
        with quick_embedding():
            backend.get_glyphs_subset(PATH, "abc")  # characters, as matplotlib 3.10 asks
            backend.get_glyphs_subset(PATH, [36])
    finally:
        backend.get_glyphs_subset = real
    assert asked == ["abc"]


def test_embedding_adds_little_to_a_file(many_rows, tmp_path):
    (path,) = save(forest(*many_rows(5)), tmp_path / "f", ["pdf"])
    # two fonts of some seventy glyphs; whole they are 700 kB each
    assert path.stat().st_size < 60_000
