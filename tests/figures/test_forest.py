"""Forest plot: what is drawn is what the tables say, nothing is lost, nothing collides."""

from __future__ import annotations

import math
import re
import time

import pandas as pd
import pytest

from nssi_meta.figures import DOUBLE, SINGLE, forest, forest_table, save

CELL = "pain_threshold/nssi/case_control"


def read_number(text: str) -> float:
    """Read a printed number back."""
    return float(re.sub(r"[^0-9.e-]", "", text.replace("−", "-").replace("|g|", "")))


def rounding(value: float) -> float:
    """Half a unit of the last printed place: two decimals, or two digits from 10 000 on."""
    if abs(value) >= 1e4:
        return 0.05 * 10 ** math.floor(math.log10(abs(value))) * (1 + 1e-9)
    return 0.005 * (1 + 1e-9)


def test_drawn_estimates_equal_the_table(mixed, artists, xs):
    rows, pools = mixed
    drawn = artists(forest(rows, pools))
    exact = rows[rows["kind"] == "exact"]
    assert len(exact) > 5
    for r in exact.itertuples():
        assert xs(drawn[f"ci:{r.effect_id}"]) == [r.ci_low, r.ci_high]
        assert xs(drawn[f"obs:{r.effect_id}"]) == [r.yi]


def test_drawn_bounds_equal_the_table_and_have_no_point(mixed, artists, xs):
    rows, pools = mixed
    drawn = artists(forest(rows, pools))
    for r in rows[rows["kind"] == "interval"].itertuples():
        low, high = xs(drawn[f"bound:{r.effect_id}"])
        assert low == r.lower if math.isfinite(r.lower) else low <= high == r.upper
        assert high == r.upper if math.isfinite(r.upper) else high >= low == r.lower
        assert f"obs:{r.effect_id}" not in drawn
        for side, limit in (("low", r.lower), ("high", r.upper)):
            assert (f"bracket-{side}:{r.effect_id}" in drawn) == math.isfinite(limit)
            open_and_visible = math.isinf(limit) and r.effect_id != "e0012"  # bound off the axis
            assert (f"arrow-{side}:{r.effect_id}" in drawn) == open_and_visible


def test_unsigned_rows_are_drawn_twice_and_hollow(mixed, artists, xs):
    drawn = artists(forest(*mixed))
    assert xs(drawn["obs:e0011"]) == [0.16]
    assert xs(drawn["obs:e0011:mirror"]) == [-0.16]
    assert xs(drawn["ci:e0011:mirror"]) == [-0.51, 0.19]
    assert drawn["obs:e0011"].get_markerfacecolor() == "white"
    assert drawn["obs:e0001"].get_markerfacecolor() != "white"


def test_shrunken_estimates_equal_the_table_and_can_be_left_out(mixed, artists, xs):
    rows, pools = mixed
    drawn = artists(forest(rows, pools))
    known = rows[rows["shrunk_median"].notna()]
    assert len(known) == len(rows) - 1
    for r in known.itertuples():
        assert xs(drawn[f"shrunk:{r.effect_id}"]) == [r.shrunk_low, r.shrunk_high]
        assert xs(drawn[f"shrunk-at:{r.effect_id}"]) == [r.shrunk_median]
    assert "shrunk:e0013" not in drawn
    bare = artists(forest(rows, pools, shrunken=False))
    assert not [gid for gid in bare if gid.startswith("shrunk")]


def test_pools_equal_the_table(mixed, artists, xs):
    rows, pools = mixed
    pools["mu_median"] += pools.index / 100  # so that a mix-up of cells shows
    pools["mu_low"] += pools.index / 100
    pools["pred_high"] += pools.index / 10
    drawn = artists(forest(rows, pools))
    for p in pools.itertuples():
        cell = f"{p.mechanism}/{p.condition}/{p.estimand}"
        diamond = xs(drawn[f"diamond:{cell}"])
        assert diamond[:4] == [p.mu_low, p.mu_median, p.mu_high, p.mu_median]
        box = xs(drawn[f"pi:{cell}"])
        assert (min(box), max(box)) == (p.pred_low, p.pred_high)
        assert f"null:{cell}" in drawn


def test_no_prediction_interval_is_drawn_without_one(mixed, artists):
    rows, pools = mixed
    pools[["pred_low", "pred_high"]] = math.nan
    fig = forest(rows, pools)
    assert not [gid for gid in artists(fig) if gid.startswith("pi:")]
    assert not [t for t in fig.axes[0].texts if "rediction" in t.get_text()]


def test_printed_equals_plotted(mixed, artists):
    rows, pools = mixed
    drawn = artists(forest(rows, pools))
    checked = 0
    for r in rows.itertuples():
        expected = {"print": r.yi, "print-low": r.ci_low, "print-high": r.ci_high}
        if r.kind == "interval":
            expected = {"print": r.lower if math.isfinite(r.lower) and r.lower > 0 else r.upper}
        for part, value in expected.items():
            printed = read_number(drawn[f"{part}:{r.effect_id}"].get_text())
            assert abs(printed - value) <= rounding(value), (r.effect_id, part)
            checked += 1
    for p in pools.itertuples():
        cell = f"{p.mechanism}/{p.condition}/{p.estimand}"
        for gid, value in (
            (f"print:pooled:{cell}", p.mu_median),
            (f"print-low:pooled:{cell}", p.mu_low),
            (f"print-high:pooled:{cell}", p.mu_high),
            (f"print-low:prediction:{cell}", p.pred_low),
            (f"print-high:prediction:{cell}", p.pred_high),
        ):
            assert abs(read_number(drawn[gid].get_text()) - value) <= rounding(value)
    assert checked > 30


def test_bounds_are_printed_as_bounds(mixed, artists):
    drawn = artists(forest(*mixed))
    words = {key: drawn[f"print:e{key:04d}"].get_text() for key in (6, 8, 9, 11)}
    assert words == {6: "> 0.52", 8: "< −0.48", 9: "|g| < 0.51", 11: "|g| = 0.16"}


def test_assumed_bounds_differ_from_stated_ones(mixed, artists):
    drawn = artists(forest(*mixed))
    assert drawn["bound:e0006"].get_linestyle() == "-"
    assert drawn["bound:e0007"].get_linestyle() == "--"
    assert drawn["arrow-high:e0006"].get_markerfacecolor() != "white"
    assert drawn["arrow-high:e0007"].get_markerfacecolor() == "white"
    assert drawn["mark:e0007"].get_text() == "†"
    assert "mark:e0006" not in drawn


def test_whatever_leaves_the_axis_has_an_arrowhead(mixed, artists, xs):
    fig = forest(*mixed)
    drawn = artists(fig)
    leaving = 0
    for gid, artist in drawn.items():
        kind, _, key = gid.partition(":")
        if kind not in ("ci", "shrunk", "diamond", "pi"):
            continue
        name = key if kind == "ci" else gid
        left, right = artist.axes.get_xlim()
        assert (f"off-low:{name}" in drawn) == (min(xs(artist)) < left), gid
        assert (f"off-high:{name}" in drawn) == (max(xs(artist)) > right), gid
        leaving += max(xs(artist)) > right
    assert leaving >= 2
    assert "off-high:e0012" in drawn  # the bound itself lies beyond


def test_one_wild_study_does_not_flatten_the_axis(mixed):
    low, high = forest(*mixed).axes[1].get_xlim()
    assert -6 < low < -0.5
    assert 1 < high < 6


def test_a_dense_middle_stays_inside(many_rows):
    rows, pools = many_rows(60)
    low, high = forest(rows, pools).axes[1].get_xlim()
    points = rows["yi"].dropna()
    assert low < points.min()
    assert points.max() < high
    assert low < pools["mu_low"].min() < pools["mu_high"].max() < high


@pytest.mark.parametrize("style", [DOUBLE, SINGLE], ids=["double", "single"])
@pytest.mark.parametrize("n", [1, 5, 20, 60, 200])
def test_texts_do_not_collide(many_rows, collisions, struck, n, style):
    fig = forest(*many_rows(n), style=style, positive_means="larger in cases")
    assert collisions(fig) == []
    assert struck(fig) == []


@pytest.mark.filterwarnings("ignore:Glyph .* missing")
@pytest.mark.parametrize("style", [DOUBLE, SINGLE], ids=["double", "single"])
def test_hard_labels_do_not_collide(mixed, collisions, struck, style):
    fig = forest(*mixed, style=style)
    assert collisions(fig) == []
    assert struck(fig) == []
    assert fig.get_figwidth() * 25.4 == pytest.approx(style.width)


@pytest.mark.parametrize("dpi", [72, 100, 150, 600])
def test_columns_do_not_touch_at_any_resolution(many_rows, collisions, dpi):
    # at 150 dots an inch hinting made "impulsivity: BIS - Barr…siveness Scale" 5% wider than
    # measured, and it ran into a long n
    rows, pools = many_rows(20)
    rows["measure"] = "impulsivity: BIS - Barratt Impulsiveness Scale, eleventh revision"
    rows["n_case"], rows["n_control"] = 419, 2622
    assert collisions(forest(rows, pools), dpi) == []


def test_long_labels_are_cut_in_the_middle_and_whole_in_the_table(mixed):
    rows, pools = mixed
    full = rows["label"].iloc[1]
    shown = [t.get_text() for t in forest(rows, pools).axes[0].texts]
    cut = [t for t in shown if t.startswith("Plener")]
    assert len(cut) == 1
    assert "…" in cut[0]
    assert cut[0].endswith("2012")
    assert full in set(forest_table(rows, pools)["label"])


def test_dollar_signs_are_not_mathematics(mixed):
    assert "$x_1$ 2001" in [t.get_text() for t in forest(*mixed).axes[0].texts]


def test_table_holds_every_line(mixed):
    rows, pools = mixed
    table = forest_table(rows, pools)
    assert (table["line"] == "study").sum() == len(rows)
    assert (table["line"] == "pooled").sum() == len(pools)
    pooled = table[table["line"] == "pooled"].iloc[0]
    assert pooled["printed"] == "0.41 [0.15, 0.67]"
    assert table["gid"].is_unique


@pytest.mark.parametrize("sort", ["year", "effect", "study"])
def test_sorting_keeps_rows_in_their_block(mixed, artists, sort):
    rows, pools = mixed
    drawn = artists(forest(rows, pools, sort=sort))
    height = {e: drawn[f"print:{e}"].get_position()[1] for e in rows["effect_id"]}
    first = rows[(rows["condition"] == "nssi") & (rows["estimand"] == "case_control")]
    other = rows[rows["condition"] == "suicide"]
    assert max(height[e] for e in first["effect_id"]) < min(height[e] for e in other["effect_id"])
    ordered = sorted(first["effect_id"], key=height.__getitem__)
    by_id = first.set_index("effect_id")
    if sort == "year":
        assert by_id.loc[ordered, "year"].is_monotonic_increasing
    elif sort == "study":
        names = by_id.loc[ordered, "label"].str.casefold()
        assert names.is_monotonic_increasing
    else:
        exact = [e for e in ordered if by_id.loc[e, "kind"] == "exact"]
        assert by_id.loc[exact, "yi"].is_monotonic_increasing


def test_equal_labels_keep_their_rows(many_rows, artists):
    rows, pools = many_rows(20)
    rows["label"] = "Same 2000"
    drawn = artists(forest(rows, pools))
    assert {f"print:{e}" for e in rows["effect_id"]} <= set(drawn)


def test_thin_cells_say_so(mixed, artists):
    fig = forest(*mixed)
    drawn = artists(fig)
    words = " ".join(t.get_text() for t in fig.axes[0].texts)
    assert "only bounds: no study reports a size" in words
    assert "a single row: the prior weighs heavily" in words
    assert "no rows: predicted from other cells" in words
    hollow = {
        c
        for c in ("nssi", "suicide", "depression", "addiction")
        if drawn[f"diamond:pain_threshold/{c}/case_control"].get_facecolor()[:3] == (1, 1, 1)
    }
    assert hollow == {"suicide", "addiction"}


def test_each_scale_has_its_own_axis(mixed, artists):
    fig = forest(*mixed)
    drawn = artists(fig)
    linked = "pain_threshold/nssi/association"
    assert drawn[f"diamond:{CELL}"].axes is not drawn[f"diamond:{linked}"].axes
    assert len(fig.axes) == 3
    words = [t.get_text() for t in fig.axes[0].texts]
    assert any(w.startswith("Hedges’ g") for w in words)
    assert any(w.startswith("Fisher’s z") for w in words)


def test_rows_without_pool_and_pool_without_numbers(mixed, artists):
    rows, pools = mixed
    alone = artists(forest(rows, pools.iloc[:0]))
    assert not [gid for gid in alone if gid.startswith(("diamond:", "pi:", "reference:"))]
    assert "ci:e0001" in alone
    numbers = [c for c in pools.columns if c.startswith(("mu_m", "mu_l", "mu_h", "tau_m", "pred"))]
    pools[numbers] = math.nan
    blank = artists(forest(rows, pools))
    assert not [gid for gid in blank if gid.startswith(("diamond:", "pi:"))]


def test_key_explains_only_what_occurs(many_rows):
    rows, pools = many_rows(20)
    exact = rows[rows["kind"] == "exact"]
    words = " ".join(t.get_text() for t in forest(exact, pools).axes[0].texts)
    assert "estimate, 95% CI" in words
    assert "significant" not in words
    assert "assumed." not in words
    everything = " ".join(t.get_text() for t in forest(rows, pools).axes[0].texts)
    assert "“not significant”: between" in everything


def test_priors_are_printed_where_all_pools_that_have_one_share_it(mixed):
    rows, pools = mixed
    omega = ["halfnormal(0.4)"] + [""] * (len(pools) - 1)  # not every pool has an omega

    def words(**columns):
        figure = forest(rows, pools.assign(**columns))
        return " ".join(" ".join(t.get_text() for ax in figure.axes for t in ax.texts).split())

    assert "Prior of ω: halfnormal(0.4)." in words(omega_prior=omega)
    assert "Prior of ω" not in words(omega_prior="")
    assert "Prior of ω" not in words(omega_prior=["halfnormal(0.2)", *omega[:-1]])
    assert "Common-effect model: τ is 0 by its prior." in words(tau_prior="zero")
    text = words(omega_prior="zero")
    assert " ω is 0 by its prior." in text
    assert "Common-effect" not in text


def test_level_is_printed_and_must_match(many_rows):
    rows, pools = many_rows(5)
    with pytest.raises(ValueError, match=r"computed at level 0\.95, not at 0\.9"):
        forest(rows, pools, level=0.9)
    pools["level"] = 0.9
    words = [t.get_text() for t in forest(rows, pools, level=0.9).axes[0].texts]
    assert "g [90% interval]" in words
    with pytest.raises(ValueError, match="between 0 and 1"):
        forest(rows, pools, level=95)


def test_refusals_name_the_reason(many_rows):
    rows, pools = many_rows(20)
    with pytest.raises(ValueError, match="nothing to draw"):
        forest(rows.iloc[:0], pools.iloc[:0])
    with pytest.raises(ValueError, match="lacks the columns: yi"):
        forest(rows.drop(columns="yi"), pools)
    with pytest.raises(ValueError, match="repeated: e0000"):
        forest(pd.concat([rows, rows.iloc[:1]]), pools)
    with pytest.raises(ValueError, match="holds a cell twice"):
        forest(rows, pd.concat([pools, pools.iloc[:1]]))
    with pytest.raises(ValueError, match="sort is"):
        forest(rows, pools, sort="weight")
    with pytest.raises(ValueError, match="unknown kind in `rows`: odd"):
        forest(rows.assign(kind="odd"), pools)
    with pytest.raises(ValueError, match="one mechanism; the tables hold a, pain_threshold"):
        forest(rows, pools.assign(mechanism="a"))
    with pytest.raises(ValueError, match="another scale"):
        forest(rows.assign(scale="z"), pools)


def test_two_hundred_rows_take_less_than_three_seconds(many_rows, tmp_path):
    rows, pools = many_rows(200)
    forest(rows.iloc[:2], pools.iloc[:1])  # fonts are loaded once a process
    start = time.process_time()  # the work, not the load of the machine
    save(forest(rows, pools), tmp_path / "big", formats=("pdf",))
    assert time.process_time() - start < 3.0
