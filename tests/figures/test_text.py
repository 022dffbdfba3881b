"""Numbers, cuts, line breaks, axis ranges and ticks."""

from __future__ import annotations

import math

import matplotlib as mpl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nssi_meta.figures import DOUBLE, Style, alt_forest
from nssi_meta.figures.axis import axis_ticks, robust_range, tick_labels
from nssi_meta.figures.page import new_page, write
from nssi_meta.figures.save import RC
from nssi_meta.figures.style import condition_marks
from nssi_meta.figures.text import number, probability, shorten, text_width, wrap


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (0.5, "0.50"),
        (-0.517, "−0.52"),
        (-0.001, "0.00"),
        (0.0, "0.00"),
        (1e6, "1.0e6"),
        (-1.234e5, "−1.2e5"),
        (math.nan, "n/a"),
        (math.inf, "∞"),
    ],
)
def test_numbers(value, printed):
    assert number(value) == printed


@pytest.mark.parametrize(
    ("value", "printed"),
    [(0.5, "0.50"), (0.9951, "> 0.99"), (0.994, "0.99"), (0.0049, "< 0.01"), (1.0, "> 0.99")],
)
def test_probabilities_are_never_certain(value, printed):
    assert probability(value) == printed


@given(
    st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=80),
    st.floats(4.0, 60.0),
)
def test_shortened_text_fits_and_keeps_both_ends(text, room):
    cut = shorten(text, room, DOUBLE)
    assert text_width(cut, DOUBLE) <= room
    if text_width(text, DOUBLE) <= room:
        assert cut == text
    else:
        head, _, tail = cut.partition("…")
        assert text.startswith(head)
        assert text.endswith(tail)


@given(st.lists(st.text("abcdefgh", min_size=1, max_size=30), max_size=12), st.floats(8.0, 60.0))
def test_wrapped_lines_fit_and_lose_nothing(words, room):
    lines = wrap(" ".join(words), room, DOUBLE)
    assert "".join(lines).replace(" ", "") == "".join(words)
    assert all(text_width(line, DOUBLE) <= room for line in lines)


@pytest.mark.parametrize("dpi", [72, 100, 150, 300])
@pytest.mark.parametrize("text", ["419/2622", "impulsivity: BIS - Barr…siveness Scale", "[−0.28,"])
def test_text_is_drawn_as_wide_as_it_was_measured(text, dpi):
    page = new_page(20.0, DOUBLE)
    write(page, 5.0, 10.0, text, size=6.0)
    page.fig.set_dpi(dpi)
    with mpl.rc_context(RC):
        box = page.ax.texts[0].get_window_extent(page.fig.canvas.get_renderer())
    # a whole pixel is the finest that a raster can say
    drawn = box.width / dpi * 25.4
    assert drawn == pytest.approx(text_width(text, DOUBLE, size=6.0), rel=0.01, abs=25.4 / dpi)


def test_no_break_spaces_hold():
    joined = "P(μ\N{NO-BREAK SPACE}>\N{NO-BREAK SPACE}0)"
    assert wrap(f"aaa {joined}", text_width(joined, DOUBLE) + 1, DOUBLE) == ["aaa", joined]


finite = st.floats(-1e6, 1e6)


@given(st.lists(finite, max_size=30), st.lists(st.tuples(finite, finite), max_size=30))
def test_range_is_proper_and_holds_the_null(points, pairs):
    low, high = robust_range(points, [(min(p), max(p)) for p in pairs])
    assert low < 0.0 < high


def test_range_ignores_one_outlier_among_ten():
    points = [0.1 * i for i in range(10)]
    spans = [(p - 0.5, p + 0.5) for p in points]
    usual = robust_range(points, spans)
    wild = robust_range([*points, 1e6], [*spans, (9e5, 1.1e6)])
    assert wild[0] == pytest.approx(usual[0], abs=0.5)
    assert wild[1] < 4


@given(st.floats(-1e5, -1e-3), st.floats(1e-3, 1e5), st.floats(15.0, 80.0))
def test_tick_labels_fit_and_read_back(low, high, room):
    ticks, labels = axis_ticks(low, high, room, DOUBLE)
    assert all(low <= t <= high for t in ticks)
    widths = [text_width(label, DOUBLE, size=DOUBLE.small) for label in labels]
    if len(ticks) > 1:
        assert max(widths) < room * (ticks[1] - ticks[0]) / (high - low)
    for tick, label in zip(ticks, labels, strict=True):
        read = float(label.replace("−", "-"))
        assert read == pytest.approx(tick, rel=1e-3, abs=1e-4)


def test_ticks_share_their_decimals():
    assert tick_labels([-0.5, 0.0, 0.5]) == ["−0.5", "0.0", "0.5"]
    assert tick_labels([0.0, 5e5, 1e6]) == ["0", "5e5", "1e6"]


def test_style_is_checked():
    with pytest.raises(ValueError, match="millimetres"):
        Style(width=7.0)
    with pytest.raises(ValueError, match="points"):
        Style(size=40)
    with pytest.raises(ValueError, match="'No Such Font' is not installed"):
        Style(font="No Such Font")


def test_conditions_that_cannot_be_told_apart_are_refused():
    with pytest.raises(ValueError, match="9 conditions cannot be told apart"):
        condition_marks([str(i) for i in range(9)])


def test_alt_text_of_a_forest_is_made_of_its_numbers(mixed):
    rows, pools = mixed
    text = alt_forest(rows, pools)
    assert "13 rows, 6 of them only a bound" in text
    assert "pooled effect 0.41 [0.15, 0.67], 95% credible interval, which excludes zero" in text
    assert "prediction interval [−0.37, 1.19]" in text
    pools["mu_low"] = -0.2
    assert "which includes zero" in alt_forest(rows, pools)
