"""Layouts, columns, contrasts, ratios, densities and pages of the forest plot."""

from __future__ import annotations

import math
import re
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matplotlib.text import Text

from nssi_meta.figures import DOUBLE, SINGLE, forest, forest_pages, save_pages
from nssi_meta.figures.columns import share_room
from nssi_meta.figures.layouts import LAYOUTS
from nssi_meta.figures.quantiles import density_from_quantiles

ALL = ["study", "year", "measure", "stimulus", "certainty", "n"]
CELL = "pain_threshold/nssi/case_control"


def words(fig):
    """All texts of a figure."""
    return [t.get_text() for t in fig.findobj(Text) if t.get_text()]


@pytest.mark.filterwarnings("ignore:Glyph .* missing")
@pytest.mark.parametrize("style", [DOUBLE, SINGLE], ids=["double", "single"])
@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_no_layout_lets_texts_collide(mixed, layout, style, collisions, struck):
    fig = forest(*mixed, layout=layout, style=style, delta=0.2, favours=("lower", "higher"))
    assert collisions(fig) == []
    assert struck(fig) == []


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_every_layout_draws_the_table(mixed, layout, xs, artists):
    rows, pools = mixed
    drawn = artists(forest(rows, pools, layout=layout))
    for r in rows[rows["kind"] == "exact"].itertuples():
        assert xs(drawn[f"ci:{r.effect_id}"]) == [r.ci_low, r.ci_high]
        assert xs(drawn[f"obs:{r.effect_id}"]) == [r.yi]
    for p in pools.itertuples():
        cell = f"{p.mechanism}/{p.condition}/{p.estimand}"
        assert xs(drawn[f"diamond:{cell}"])[:3] == [p.mu_low, p.mu_median, p.mu_high]
    assert any(gid.startswith("shrunk:") for gid in drawn) == LAYOUTS[layout].shrunken


def test_layouts_differ_where_their_journals_do(many_rows, artists):
    rows, pools = many_rows(20)
    left, right = (forest(rows, pools, layout=name) for name in ("jama", "bmj"))
    plot = [fig.axes[1].get_position().x1 for fig in (left, right)]
    assert plot[0] > 0.95 > 0.8 > plot[1]  # JAMA prints its numbers before the plot
    pool = artists(left)[f"print-low:pooled:{CELL}"].get_text()
    assert pool == "(0.15 to"
    assert "Total" in words(forest(rows, pools, layout="revman"))
    with pytest.raises(ValueError, match="'nature'; known: default, jama, bmj, revman, minimal"):
        forest(rows, pools, layout="nature")


def test_columns_are_those_asked_for(many_rows, collisions):
    rows, pools = many_rows(20)
    rows["country"] = [f"country {i}" for i in range(20)]
    fig = forest(rows, pools, columns=[*ALL, "country"])
    found = words(fig)
    heads = ["Study", "Year", "Measure", "Stimulus", "Cert.", "n", "Country"]
    assert set(heads) <= set(found)
    assert found.count("H") == 20
    assert "1993" in found
    assert collisions(fig) == []


def test_letters_of_certainty_differ_in_more_than_colour(many_rows):
    rows, pools = many_rows(20)
    rows["confidence"] = [["high", "medium", "low", None][i % 4] for i in range(20)]
    found = words(forest(rows, pools, columns=["study", "certainty"]))
    assert [found.count(x) for x in "HML?"] == [5, 5, 5, 5]


def test_weights_are_printed_only_if_the_table_defines_them(many_rows):
    rows, pools = many_rows(5)
    with pytest.raises(ValueError, match="no row has one fixed weight"):
        forest(rows, pools, columns=["study", "weight"])
    assert any("no row has a fixed weight" in w for w in _notes(forest(rows, pools)))
    rows["weight"] = 0.2
    assert words(forest(rows, pools, columns=["study", "weight"])).count("20.0%") == 5


def _notes(fig):
    return [" ".join(words(fig))]


def test_columns_that_cannot_be_filled_are_refused(many_rows):
    rows, pools = many_rows(5)
    with pytest.raises(ValueError, match=r"'sample_id' for 'sample'; to choose from: study, year"):
        forest(rows, pools, columns=["study", "sample"])
    with pytest.raises(ValueError, match="holds 'study'"):
        forest(rows, pools, columns=["n"])
    with pytest.raises(ValueError, match="holds 'study'"):
        forest(rows, pools, columns="study")
    with pytest.raises(ValueError, match="choose fewer columns or a wider style"):
        forest(rows, pools, columns=ALL, style=SINGLE)


def test_sorting_by_precision_and_system(many_rows, artists):
    rows, pools = many_rows(20)
    rows["system"] = [["pain", "hpa"][i % 2] for i in range(20)]
    nssi = rows[rows["condition"] == "nssi"].set_index("effect_id")
    for sort, column in (("precision", "sei"), ("system", "system")):
        drawn = artists(forest(rows, pools, sort=sort))
        height = {e: drawn[f"print:{e}"].get_position()[1] for e in nssi.index}
        ordered = sorted(nssi.index, key=height.__getitem__)
        assert nssi.loc[ordered, column].is_monotonic_increasing


def test_blocks_of_another_column(many_rows):
    rows, pools = many_rows(20)
    rows["age"] = ["adults" if i % 2 else "adolescents" for i in range(20)]
    nssi = rows[rows["condition"] == "nssi"]
    levels = pd.concat([pools.iloc[:1].assign(age=a) for a in ("adolescents", "adults")])
    found = words(forest(nssi, levels, by="age"))
    assert found.index("adolescents") < found.index("adults")
    assert found.count("Pooled") == 2
    with pytest.raises(ValueError, match="`pools` lacks the columns: age"):
        forest(nssi, pools.iloc[:1], by="age")
    with pytest.raises(ValueError, match="two pools belong to the block pain_threshold"):
        forest(rows, pools, by="mechanism")


def test_contrasts_equal_the_table(many_rows, xs, collisions, artists):
    rows, pools = many_rows(20)
    table = pd.DataFrame(
        {
            "label": ["NSSI − suicidal behaviour", "NSSI − depression"],
            "estimand": "case_control",
            "scale": "g",
            "median": [0.2, -0.1],
            "low": [-0.4, -0.7],
            "high": [0.8, 40.0],
            "p_positive": [0.75, 0.4],
        }
    )
    fig = forest(rows, pools, contrasts=table)
    drawn = artists(fig)
    for i, r in table.iterrows():
        assert xs(drawn[f"contrast:{i}"]) == [r["low"], r["high"]]
        assert xs(drawn[f"contrast-at:{i}"]) == [r["median"]]
    assert drawn["print-low:contrast:0"].get_text() == "[−0.40,"
    assert "off-high:contrast:1" in drawn
    assert collisions(fig) == []
    with pytest.raises(ValueError, match="`contrasts` lacks the columns: p_positive"):
        forest(rows, pools, contrasts=table.drop(columns="p_positive"))
    with pytest.raises(ValueError, match="without median or limits in `contrasts`: NSSI"):
        forest(rows, pools, contrasts=table.assign(low=math.nan))


def test_odds_ratios_are_printed_and_plotted_alike(odds, xs, collisions, artists):
    rows, pools = odds
    fig = forest(rows, pools, ratios=True)
    drawn = artists(fig)
    assert xs(drawn["ci:e0001"]) == [-0.1, 1.5]  # places are logarithms
    printed = [drawn[f"{part}:e0001"].get_text() for part in ("print", "print-low", "print-high")]
    assert printed == ["2.01", "[0.90,", "4.48]"]
    assert drawn["print:e0002"].get_text() == "0.074"
    assert drawn["print:e0003"].get_text() == "> 1.49"
    assert drawn["print-low:e0004"].get_text() == "[0.61,"
    assert drawn["print:e0005"].get_text() == "1.22 or 1/1.22"
    ax = fig.axes[1]
    for place, label in zip(ax.get_xticks(), ax.get_xticklabels(), strict=True):
        assert math.exp(place) == pytest.approx(float(label.get_text()), rel=1e-9)
    assert len(ax.get_xticks()) >= 3
    assert collisions(fig) == []
    assert "OR [95% interval]" in words(fig)
    assert "log OR [95% interval]" in words(forest(rows, pools))


def test_band_is_as_wide_as_asked_and_leaves_words_alone(many_rows, xs, struck, artists):
    fig = forest(*many_rows(20), delta=0.25)
    bands = {k: a for k, a in artists(fig).items() if k.startswith("band:")}
    assert len(bands) == 5
    for band in bands.values():
        assert (min(xs(band)), max(xs(band))) == (-0.25, 0.25)
    assert struck(fig) == []
    with pytest.raises(ValueError, match="delta is an effect size"):
        forest(*many_rows(5), delta=-1)


def test_inconsistency_stands_behind_tau(many_rows):
    rows, pools = many_rows(5)
    pools["i2_median"], pools["i2_low"], pools["i2_high"] = 0.62, 0.2, 0.81
    line = next(w for w in words(forest(rows, pools)) if "I²" in w).replace("\xa0", " ")
    assert "τ 0.31 [0.08, 0.62]; I² 62% [20, 81]; P(μ > 0)" in line


def test_half_eyes_follow_the_quantiles(many_rows, artists):
    rows, pools = many_rows(5)
    with pytest.raises(ValueError, match="densities are drawn from quantiles"):
        forest(rows, pools, densities=True)
    normal = NormalDist(0.41, 0.13)
    for percent in (2.5, 5, 10, 25, 50, 75, 90, 95, 97.5):
        pools[f"mu_q{percent:g}"] = normal.inv_cdf(percent / 100)
    shape = artists(forest(rows, pools, densities=True))[f"density:{CELL}"]
    x, y = shape.get_xy()[:80].T
    assert x[np.argmin(y)] == pytest.approx(0.41, abs=0.03)  # y runs downwards
    assert (x[0], x[79]) == pytest.approx((normal.inv_cdf(0.025), normal.inv_cdf(0.975)))


def test_density_from_quantiles_is_that_of_a_normal():
    normal = NormalDist(1.0, 0.5)
    p = np.linspace(0.01, 0.99, 49)
    x, height = density_from_quantiles(p, np.array([normal.inv_cdf(q) for q in p]))
    exact = np.array([normal.pdf(v) for v in x])
    inner = (p[2] < [normal.cdf(v) for v in x]) & ([normal.cdf(v) for v in x] < p[-3])
    # a cubic through quantiles 2% apart: a few per cent of the peak
    assert np.abs(height - exact)[inner].max() < 0.05 * exact.max()
    assert np.trapezoid(height, x) == pytest.approx(0.98, abs=0.01)


def test_long_plots_go_on_on_further_pages(tmp_path, many_rows, collisions, struck, artists):
    rows, pools = many_rows(110)
    pages = forest_pages(rows, pools, page_height=200.0)
    assert 3 < len(pages) < 9
    shown = [gid for fig in pages for gid in artists(fig) if gid.startswith("print")]
    for effect in rows["effect_id"]:
        assert sum(gid.partition(":")[2] == effect for gid in shown if "low" not in gid) >= 1
    for fig in pages:
        assert fig.get_figheight() * 25.4 <= 200.0
        assert collisions(fig) == []
        assert struck(fig) == []
    limits = {fig.axes[1].get_xlim() for fig in pages}
    assert len(limits) == 1
    assert any("(continued)" in w for w in words(pages[1]))
    assert "2 of" in " ".join(words(pages[1]))
    (path,) = save_pages(pages, tmp_path / "long", ["pdf"], title="T")
    assert len(re.findall(rb"/Type /Page\b", path.read_bytes())) == len(pages)
    names = [p.name for p in save_pages(pages[:2], tmp_path / "two", ["svg"])]
    assert names == ["two-1.svg", "two-2.svg"]
    files = save_pages(pages[:2], tmp_path / "own", ["svg"], alt_text=["First.", "Second."])
    assert ["First.</desc>" in f.read_text("utf-8") for f in files] == [True, False]
    assert ["Second.</desc>" in f.read_text("utf-8") for f in files] == [False, True]
    with pytest.raises(ValueError, match="2 pages, but 1 alternative texts"):
        save_pages(pages[:2], tmp_path / "own", ["svg"], alt_text=["First."])
    with pytest.raises(ValueError, match="use taller pages"):
        forest_pages(rows, pools, page_height=60.0)


def test_every_study_is_on_one_page_only(many_rows, artists):
    rows, pools = many_rows(60)
    pages = forest_pages(rows, pools, page_height=120.0)
    on = [{gid for gid in artists(f) if gid.startswith("shrunk:")} for f in pages]
    assert sum(map(len, on)) == len(set().union(*on)) == len(rows)


@given(st.floats(0.0, 150.0), st.lists(st.floats(1.0, 120.0), min_size=1, max_size=6))
def test_shared_room_is_never_exceeded(room, wanted):
    widths = share_room(room, wanted)
    assert all(w <= n + 1e-9 for w, n in zip(widths, wanted, strict=True))
    assert sum(widths) <= max(room, 0.0) + 1e-6 or sum(wanted) <= room


LABELS = st.text(st.characters(codec="latin-1", exclude_categories=["C", "Z"]), max_size=60)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    labels=st.lists(LABELS, min_size=1, max_size=12),
    spread=st.sampled_from([1e-4, 0.3, 1e3, 1e6]),
    layout=st.sampled_from(list(LAYOUTS)),
)
def test_whatever_the_labels_and_the_range_nothing_collides(
    labels, spread, layout, many_rows, collisions, struck
):
    rows, pools = many_rows(len(labels))
    rows["label"], rows["measure"] = labels, labels[::-1]
    for column in ("yi", "ci_low", "ci_high", "lower", "upper"):
        rows[column] *= spread
    pools[["mu_low", "mu_high", "pred_low", "pred_high"]] *= spread
    fig = forest(rows, pools, layout=layout)
    assert collisions(fig) == []
    assert struck(fig) == []
