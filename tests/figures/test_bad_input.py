"""Empty selections, single studies, bounds alone, huge numbers: a message or a right picture."""

from __future__ import annotations

import math

import pytest

from nssi_meta.figures import LAYOUTS, forest, overview


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_nothing_to_draw_is_said(many_rows, layout):
    rows, pools = many_rows(5)
    with pytest.raises(ValueError, match="the selection holds no row and no pooled cell"):
        forest(rows.iloc[:0], pools.iloc[:0], layout=layout)


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_one_study_makes_a_figure(many_rows, artists, collisions, layout):
    rows, pools = many_rows(1)
    fig = forest(rows, pools.assign(k=1, n_studies=1), layout=layout)
    assert "ci:e0000" in artists(fig)
    assert collisions(fig) == []


def test_one_study_without_interval_or_pool(many_rows, artists, xs):
    rows, pools = many_rows(1)
    rows[["ci_low", "ci_high"]] = math.nan
    drawn = artists(forest(rows, pools.iloc[:0]))
    assert xs(drawn["obs:e0000"]) == [rows["yi"].iloc[0]]
    assert "ci:e0000" not in drawn
    assert "print-low:e0000" not in drawn


def test_bounds_alone_have_a_finite_axis_and_a_hollow_diamond(many_rows, artists, collisions):
    rows, pools = many_rows(60)
    bounds = rows[(rows["kind"] == "interval") & (rows["condition"] == "nssi")]
    pools = pools.iloc[:1].assign(k=len(bounds), n_bounds=len(bounds))
    fig = forest(bounds, pools)
    drawn = artists(fig)
    assert all(map(math.isfinite, fig.axes[1].get_xlim()))
    assert not [g for g in drawn if g.startswith("obs:")]
    assert drawn["diamond:pain_threshold/nssi/case_control"].get_facecolor()[:3] == (1, 1, 1)
    assert collisions(fig) == []


def test_a_row_that_says_nothing_is_printed_so(many_rows, artists):
    rows, pools = many_rows(1)
    rows = rows.assign(kind="interval", yi=math.nan, ci_low=math.nan, ci_high=math.nan)
    rows = rows.assign(lower=-math.inf, upper=math.inf)
    drawn = artists(forest(rows, pools))
    assert drawn["print:e0000"].get_text() == "not reported"
    assert "bound:e0000" not in drawn


@pytest.mark.parametrize("size", [1e6, 1e300])
def test_huge_intervals_leave_the_axis_with_arrowheads(many_rows, artists, collisions, size):
    rows, pools = many_rows(20)
    exact = rows.index[rows["kind"] == "exact"][0]
    rows.loc[exact, ["ci_low", "ci_high"]] = [-size, size]
    fig = forest(rows, pools)
    drawn = artists(fig)
    key = rows.loc[exact, "effect_id"]
    assert {f"off-low:{key}", f"off-high:{key}"} <= set(drawn)
    assert max(map(abs, fig.axes[1].get_xlim())) < 10
    assert collisions(fig) == []


def test_everything_huge_is_drawn_at_its_size(many_rows, collisions):
    rows, pools = many_rows(20)
    for table, columns in (
        (rows, ["yi", "ci_low", "ci_high", "lower", "upper", "shrunk_low", "shrunk_high"]),
        (rows, ["shrunk_median"]),
        (pools, ["mu_median", "mu_low", "mu_high", "pred_low", "pred_high"]),
    ):
        table[columns] *= 1e6
    fig = forest(rows, pools)
    assert fig.axes[1].get_xlim()[1] > 1e6
    assert collisions(fig) == []


def test_an_interval_that_ends_before_it_starts_is_refused(many_rows):
    rows, pools = many_rows(5)
    exact = rows.index[rows["kind"] == "exact"][0]
    rows.loc[exact, ["ci_low", "ci_high"]] = [0.9, 0.1]
    key = rows.loc[exact, "effect_id"]
    with pytest.raises(ValueError, match=rf"ci_low is above ci_high in `rows`: {key}; exchange"):
        forest(rows, pools)


def test_odds_ratios_beyond_all_numbers(many_rows, collisions):
    rows, pools = many_rows(5)
    both = [t.assign(scale="log_or", estimand="odds") for t in (rows, pools)]
    both[0].loc[both[0]["kind"] == "exact", "ci_high"] = 2000.0
    fig = forest(*both, ratios=True)
    assert "∞)" in " ".join(t.get_text() for t in fig.axes[0].texts).replace("]", ")")
    assert collisions(fig) == []


def test_overview_of_one_cell(many_rows, collisions):
    _, pools = many_rows(1)
    assert collisions(overview(pools)) == []
