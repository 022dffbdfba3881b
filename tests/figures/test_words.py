"""Texts laid out once look as matplotlib draws them, in every format."""

from __future__ import annotations

import io
import re

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.textpath import text_to_path
from PIL import Image, ImageFilter

from nssi_meta.figures import DOUBLE
from nssi_meta.figures.page import new_page, write
from nssi_meta.figures.save import render, save
from nssi_meta.figures.text import text_width
from nssi_meta.figures.words import LAYS_OUT, Words, lay_out

#: Kerning, ligatures, an accent made of two characters, signs, a number.
LINES = ("AVATAR To. office fluff", "Gre\u0301goire Łuczak-Müßig", "−0.34 [−1.02, 0.34] τ² ≥ 1")


def page_of(lines=LINES):
    page = new_page(30.0, DOUBLE)
    for i, line in enumerate(lines):
        for align, x in (("left", 2.0), ("center", 90.0), ("right", 178.0)):
            write(page, x, 5.0 + 5.0 * i, line, align=align, bold=i == 1)
    return page.fig


def grey(fig, dpi):
    picture = Image.open(io.BytesIO(render(fig, "png", title="", alt_text="", dpi=dpi)))
    return np.asarray(picture.convert("L").filter(ImageFilter.GaussianBlur(2)), dtype=float)


@pytest.mark.skipif(not LAYS_OUT, reason="matplotlib before 3.11 draws all texts itself")
@pytest.mark.parametrize("dpi", [100, 150, 300])
def test_png_shows_what_matplotlib_draws(dpi, monkeypatch):
    ours = grey(page_of(), dpi)
    shifted = np.roll(ours, 2, axis=1)
    monkeypatch.setattr(Words, "draw", Text.draw)
    theirs = grey(page_of(), dpi)
    # Baselines stand on whole pixels and glyphs on quarters of one: half a pixel at most, of
    # which the blur leaves 10 to 19 grey levels of 255; two pixels to the side make 50 to 82.
    assert np.abs(ours - theirs).max() < 30
    assert np.abs(shifted - theirs).max() > 40


def shown(fig):
    """Texts of a PDF as its operators show them, without kerning, and where each line starts."""
    with mpl.rc_context({"pdf.compression": 0}):
        data = render(fig, "pdf", title="", alt_text="").decode("latin-1")
    blocks = re.findall(r"([\d.-]+) ([\d.-]+) cm\nBT(.*?)ET", data, flags=re.S)
    texts = ["".join(re.findall(r"\(((?:\\.|[^\\)])*)\)", body)) for _, _, body in blocks]
    return texts, [(float(x), float(y)) for x, y, _ in blocks]


@pytest.mark.skipif(not LAYS_OUT, reason="matplotlib before 3.11 draws all texts itself")
def test_pdf_shows_the_same_glyphs_in_the_same_places(monkeypatch):
    ours, at = shown(page_of())
    monkeypatch.setattr(Words, "draw", Text.draw)
    theirs, there = shown(page_of())
    assert len(ours) == 9
    assert ours == theirs
    # points; matplotlib rounds each advance to 1/64 of a point
    np.testing.assert_allclose(at, there, atol=0.3)


def test_widths_are_those_of_the_font():
    """Reference: the whole text laid out, for the labels and measures of the shipped data."""
    table = pd.read_csv("data/effects.csv", dtype=str, keep_default_na=False)
    texts = sorted({t[:70] for c in ("measure", "authors") for t in table[c]} - {""})[::7]
    assert len(texts) > 50
    for bold in (False, True):
        prop = FontProperties(
            family=list(DOUBLE.families), size=6.5, weight="bold" if bold else "normal"
        )
        for text in [*texts, *LINES]:
            points = text_to_path.get_text_width_height_descent(text, prop, False)[0]
            laid_out = float(points) * 25.4 / 72
            width = text_width(text, DOUBLE, bold=bold)
            # never too small for the text; too large by the kerning after an f at most
            assert laid_out - 0.1 < width < laid_out + 0.5, text
            if LAYS_OUT:
                assert lay_out(text, prop)[1] * 6.5 * 25.4 / 72 == pytest.approx(laid_out, abs=0.05)


def test_every_file_with_a_missing_glyph_says_so(tmp_path):
    for name in ("a", "b"):  # the second time from the words that are at hand
        with pytest.warns(UserWarning, match="no installed font can draw '\U00012000'"):
            save(page_of(["cuneiform \U00012000"]), tmp_path / name, ["png"])


def test_a_text_that_a_reader_turned_is_drawn_turned():
    fig = page_of(["turned by ninety degrees"])
    for text in fig.axes[0].texts[1:]:
        text.set_visible(False)
    fig.axes[0].texts[0].set(rotation=90, verticalalignment="top")
    dark = np.argwhere(grey(fig, 100) < 200)
    height, width = np.ptp(dark, axis=0)
    assert height > 5 * width


def test_a_text_that_a_reader_enlarged_keeps_its_neighbours():
    fig = page_of(["one", "two"])
    first, *others = fig.axes[0].texts
    first.set_fontsize(20)
    assert {t.get_fontsize() for t in others} == {DOUBLE.size}


@pytest.mark.skipif(not LAYS_OUT, reason="matplotlib before 3.11 draws all texts itself")
def test_hinting_in_the_reader_s_settings_widens_no_text():
    pictures = []
    for hinting in ("default", "no_hinting"):
        file = io.BytesIO()
        with mpl.rc_context({"text.hinting": hinting}):
            page_of().savefig(file, format="png", dpi=100)
        pictures.append(np.asarray(Image.open(file)))
    np.testing.assert_array_equal(*pictures)
