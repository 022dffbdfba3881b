"""Overview: every cell where the table puts it, hollow where nothing but bounds is known."""

from __future__ import annotations

import pandas as pd
import pytest

from nssi_meta.figures import SINGLE, alt_overview, overview, overview_pages, overview_parts
from nssi_meta.figures.records import condition_order


def test_cells_equal_the_table(pools90, artists, xs):
    drawn = artists(overview(pools90))
    shown = pools90[pools90["k"] > 0]
    for p in shown.itertuples():
        cell = f"{p.mechanism}/{p.condition}/{p.estimand}"
        assert xs(drawn[f"ci:{cell}"]) == [p.mu_low, p.mu_high]
        assert xs(drawn[f"mu:{cell}"]) == [p.mu_median]
        assert drawn[f"k:{cell}"].get_text() == str(p.k)
        hollow = drawn[f"mu:{cell}"].get_markerfacecolor() == "white"
        assert hollow == (p.n_bounds >= p.k)
    assert len([gid for gid in drawn if gid.startswith("mu:")]) == len(shown)


def test_cells_of_one_mechanism_do_not_lie_on_each_other(pools90, artists):
    drawn = artists(overview(pools90))
    heights = [a.get_ydata()[0] for gid, a in drawn.items() if gid.startswith("mu:")]
    gaps = pd.Series(sorted(heights)).diff().dropna()
    assert gaps.min() > 1.9  # mm; a marker of 4 points is 1.4 mm high


def test_wild_interval_has_arrowheads(pools90, artists):
    p = pools90.iloc[3]
    drawn = artists(overview(pools90))
    cell = f"{p.mechanism}/{p.condition}/{p.estimand}"
    assert {f"off-low:ci:{cell}", f"off-high:ci:{cell}"} <= set(drawn)
    low, high = drawn[f"ci:{cell}"].axes.get_xlim()
    assert -10 < low < high < 10


def test_arrowheads_are_explained_only_where_there_are_any(pools90):
    def told(table):
        return any("Arrowheads" in t.get_text() for t in overview(table).axes[0].texts)

    wild = pools90["mechanism"] == pools90["mechanism"].iloc[3]
    assert told(pools90)
    assert not told(pools90[~wild])


@pytest.mark.parametrize("width", [None, SINGLE])
def test_texts_do_not_collide(pools90, collisions, width):
    fig = overview(pools90) if width is None else overview(pools90, style=width)
    assert collisions(fig) == []


def test_systems_are_headed_and_conditions_told_apart(pools90, artists):
    fig = overview(pools90)
    words = [t.get_text() for t in fig.axes[0].texts]
    for system in pools90["system"].unique():
        assert words.count(system[:1].upper() + system[1:]) == 1
    drawn = artists(fig)
    looks = {
        gid.split("/")[1]: (a.get_marker(), a.get_markeredgecolor())
        for gid, a in drawn.items()
        if gid.startswith("mu:")
    }
    assert len({marker for marker, _ in looks.values()}) == len(looks) == 5


def test_what_is_left_out_is_counted(pools90):
    empty = int((pools90["k"] == 0).sum())
    assert empty > 0
    other = pools90.iloc[:2].assign(estimand="association", scale="z")
    both = pd.concat([pools90, other], ignore_index=True)
    words = " ".join(t.get_text() for t in overview(both).axes[0].texts)
    assert f"{empty} cells without rows" in words
    assert "2 cells of other estimands" in words
    shown = " ".join(t.get_text() for t in overview(both, predicted=True).axes[0].texts)
    assert "without rows (predicted)" not in shown


def test_band_is_delta_wide(pools90, artists, xs):
    band = artists(overview(pools90, delta=0.35))["band"]
    assert (min(xs(band)), max(xs(band))) == pytest.approx((-0.35, 0.35))
    assert "band" not in artists(overview(pools90, delta=0.0))


def test_refusals_name_the_reason(pools90):
    with pytest.raises(ValueError, match="nothing to draw"):
        overview(pools90.iloc[:0])
    with pytest.raises(ValueError, match="nothing to draw: no pooled cell"):
        overview(pools90.assign(k=0))
    with pytest.raises(ValueError, match="delta is an effect size"):
        overview(pools90, delta=-0.1)
    with pytest.raises(ValueError, match="on several scales"):
        overview(pools90.assign(scale=["z", *["g"] * (len(pools90) - 1)]))


def test_alt_text_counts_what_is_drawn(pools90):
    text = alt_overview(pools90)
    shown = pools90[pools90["k"] > 0]
    assert f"{len(shown)} cells" in text
    assert f"Interval above zero: {(shown['mu_low'] > 0).sum()}" in text
    assert f"Interval below zero: {(shown['mu_high'] < 0).sum()}" in text


def test_conditions_stand_in_the_order_of_the_rows_also_where_the_first_mechanism_lacks_one():
    cells = [("m1", "a"), ("m1", "c"), ("m2", "a"), ("m2", "b"), ("m2", "c"), ("m3", "d")]
    assert condition_order(cells) == ["a", "b", "c", "d"]
    assert condition_order([("m1", "a"), ("m1", "b"), ("m2", "b"), ("m2", "a")]) == ["a", "b"]


def test_pages_have_one_axis_and_hold_every_cell_once(pools90, artists, collisions):
    whole = artists(overview(pools90))
    cells = {g: a.get_xdata() for g, a in whole.items() if g.startswith("ci:")}
    pages = overview_pages(pools90, page_height=150.0)
    assert len(pages) > 1
    limits = {page.axes[1].get_xlim() for page in pages}
    assert limits == {whole["null"].axes.get_xlim()}
    seen = []
    for page, part in zip(pages, overview_parts(pools90, page_height=150.0), strict=True):
        assert page.get_size_inches()[1] * 25.4 < 150.0 + 1e-6
        assert collisions(page) == []
        drawn = {g: a for g, a in artists(page).items() if g.startswith("ci:")}
        colors = {g: a.get_color() for g, a in drawn.items()}
        assert colors == {g: whole[g].get_color() for g in drawn}
        known = part[part["k"] > 0]
        assert set(drawn) == {
            f"ci:{r.mechanism}/{r.condition}/{r.estimand}" for r in known.itertuples()
        }
        seen += list(drawn)
    assert sorted(seen) == sorted(cells)


def test_what_fits_on_one_page_stays_on_it(pools90):
    tall = overview(pools90).get_size_inches()[1] * 25.4
    assert len(overview_pages(pools90, page_height=tall)) == 1
    assert len(overview_pages(pools90, page_height=tall - 1.0)) == 2
