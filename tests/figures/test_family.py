"""The other figures: what is drawn is what the tables say, and nothing collides."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from nssi_meta import figures as fig
from nssi_meta.figures.profile_scatter import ellipse

NAN = math.nan


@pytest.fixture(scope="module")
def tables(made):
    return SimpleNamespace(
        effects=made.make_effects(),
        groups=made.make_groups(),
        steps=made.make_steps(),
        curve=made.make_curve(),
        profiles=made.make_profiles(),
        specifications=made.make_specifications(),
        densities=made.make_densities(),
        ranks=made.make_ranks(),
        cells=made.make_map(),
        external=made.make_external(),
        correlations=made.make_correlations(),
    )


FIGURES = {
    "bubble": lambda t, **o: fig.bubble(t.effects, t.curve, **o),
    "calibration": lambda t, **o: fig.calibration(t.ranks, **o),
    "cumulative": lambda t, **o: fig.cumulative(t.steps, **o),
    "evidence_map": lambda t, **o: fig.evidence_map(t.cells, **o),
    "external": lambda t, **o: fig.external(t.external, {"naive": "ours", "adjusted": "b"}, **o),
    "funnel": lambda t, **o: fig.funnel(t.effects, mu=0.4, **o),
    "leave_one_out": lambda t, **o: fig.leave_one_out(t.steps, t.steps.iloc[-1:], **o),
    "orchard": lambda t, **o: fig.orchard(t.effects, t.groups, **o),
    "overlap_matrix": lambda t, **o: fig.overlap_matrix(t.correlations, **o),
    "prior_posterior": lambda t, **o: fig.prior_posterior(t.densities, **o),
    "profile_scatter": lambda t, **o: fig.profile_scatter(t.profiles, **o),
    "specification": lambda t, **o: fig.specification_curve(t.specifications, base="s4", **o),
}


@pytest.mark.filterwarnings("ignore:Glyph .* missing")
@pytest.mark.parametrize("style", [fig.DOUBLE, fig.SINGLE], ids=["double", "single"])
@pytest.mark.parametrize("name", list(FIGURES))
def test_texts_do_not_collide(tables, name, style, collisions):
    picture = FIGURES[name](tables, style=style)
    assert picture.get_figwidth() * 25.4 == pytest.approx(style.width)
    assert collisions(picture) == []


def test_steps_equal_the_table(tables, artists, xs):
    for name in ("cumulative", "leave_one_out"):
        drawn = artists(FIGURES[name](tables))
        for i, r in tables.steps.iterrows():
            assert xs(drawn[f"ci:{i}"]) == [r["low"], r["high"]]
            assert xs(drawn[f"obs:{i}"]) == [r["median"]]
            printed = float(drawn[f"print:{i}"].get_text().replace("−", "-"))
            assert printed == pytest.approx(r["median"], abs=0.005 + 1e-9)
        assert xs(drawn["reference"]) == [tables.steps["median"].iloc[-1]] * 2


def test_a_prediction_interval_stands_behind_each_study_left_out(tables, artists, collisions):
    """Boxes hold the table's limits; with all studies they are two lines; others have none."""
    half = 1.5 * (tables.steps["high"] - tables.steps["low"])
    table = tables.steps.assign(
        label=[f"s{i}" for i in range(len(tables.steps))],  # shorter than the head of the column
        pred_low=tables.steps["median"] - half,
        pred_high=tables.steps["median"] + half,
    )
    figure = fig.leave_one_out(table, table.iloc[-1:])
    assert collisions(figure) == []
    drawn = artists(figure)
    for i, r in table.iterrows():
        box = drawn[f"pi:{i}"].get_xy()[:, 0]
        assert (box.min(), box.max()) == (r["pred_low"], r["pred_high"])
    for side in ("low", "high"):
        assert set(drawn[f"reference-{side}"].get_xdata()) == {table[f"pred_{side}"].iloc[-1]}
    lines = [
        fig.cumulative(table),
        fig.leave_one_out(tables.steps, tables.steps.iloc[-1:]),
        fig.leave_one_out(table.assign(pred_low=NAN), table.iloc[-1:]),
    ]
    for plain in lines:
        assert not [gid for gid in artists(plain) if gid.startswith(("pi:", "reference-"))]
    last = table.iloc[-1]
    words = fig.alt_steps(table, what="left out")
    assert "The prediction interval is narrowest without s11" in words
    assert f"{last['pred_high']:.2f}; widest without s0" in words
    assert "prediction" not in fig.alt_steps(table)


def test_funnel_equals_the_table(tables, artists, xs):
    picture = FIGURES["funnel"](tables)
    drawn = artists(picture)
    left, right = picture.axes[1].get_xlim()
    for r in tables.effects.itertuples():
        if r.kind == "exact":
            point = drawn[f"obs:{r.effect_id}"]
            assert (point.get_xdata()[0], point.get_ydata()[0]) == (r.yi, r.sei)
            assert (f"off-high:{r.effect_id}" in drawn) == (r.yi > right)
        else:
            band = drawn[f"bound:{r.effect_id}"]
            assert (min(xs(band)), max(xs(band))) == pytest.approx(
                (max(r.lower, left), min(r.upper, right))
            )
            assert f"obs:{r.effect_id}" not in drawn
    assert xs(drawn["mu"]) == [0.4, 0.4]
    edge = drawn["contour:0.05"].get_xy()
    slope = abs(edge[1][0] / edge[1][1])
    assert slope == pytest.approx(1.959964, abs=1e-6)


def test_orchard_equals_the_table(tables, artists, xs):
    drawn = artists(FIGURES["orchard"](tables))
    for r in tables.groups.itertuples():
        assert xs(drawn[f"ci:{r.group}"]) == [r.mu_low, r.mu_high]
        assert xs(drawn[f"mu:{r.group}"]) == [r.mu_median]
        assert xs(drawn[f"pi:{r.group}"]) == [r.pred_low, r.pred_high]
    for r in tables.effects.itertuples():
        if r.kind == "exact":
            assert xs(drawn[f"obs:{r.effect_id}"]) == [r.yi]
        for side, limit in (("low", r.lower), ("high", r.upper)):
            assert (f"bound-{side}:{r.effect_id}" in drawn) == math.isfinite(limit)
    lanes = [drawn[f"mu:{g}"].get_ydata()[0] for g in tables.groups["group"]]
    for r in tables.effects[tables.effects["kind"] == "exact"].itertuples():
        y = drawn[f"obs:{r.effect_id}"].get_ydata()[0]
        nearest = int(np.argmin(np.abs(np.array(lanes) - y)))
        assert tables.groups["group"].iloc[nearest] == r.group
    assert "off-high:pi:eating_disorder" in drawn


def test_bubble_equals_the_tables(tables, artists):
    picture = FIGURES["bubble"](tables)
    drawn = artists(picture)
    low, high = picture.axes[1].get_ylim()
    for r in tables.effects.itertuples():
        if r.kind == "exact":
            point = drawn[f"obs:{r.effect_id}"]
            assert (point.get_xdata()[0], point.get_ydata()[0]) == (r.x, r.yi)
        else:
            x, y = drawn[f"bound:{r.effect_id}"].get_data()
            assert list(x) == [r.x, r.x]
            assert list(y) == [max(r.lower, low), min(r.upper, high)]
    assert list(drawn["median"].get_ydata()) == list(tables.curve["median"])
    n = len(tables.curve)
    for name, a, b in (("mean", "low", "high"), ("prediction", "pred_low", "pred_high")):
        corners = drawn[f"band:{name}"].get_xy()
        assert list(corners[:n, 1]) == list(tables.curve[a])
        assert list(corners[n : 2 * n, 1]) == list(tables.curve[b][::-1])


def test_specifications_equal_the_table_and_are_sorted(tables, artists):
    drawn = artists(FIGURES["specification"](tables))
    table = tables.specifications.sort_values("median", kind="stable").reset_index(drop=True)
    for i, r in table.iterrows():
        line = drawn[f"ci:{r['spec_id']}"]
        assert list(line.get_xdata()) == [i, i]
        assert list(line.get_ydata()) == [r["low"], r["high"]]
        point = drawn[f"mu:{r['spec_id']}"]
        assert (point.get_xdata()[0], point.get_ydata()[0]) == (i, r["median"])
    assert "off-^:s4" in drawn
    assert drawn["mu:s4"].get_marker() == "D"
    marks = [gid for gid in drawn if gid.startswith("choice:")]
    assert len(marks) == 3 * len(table)
    height = {g: drawn[g].get_ydata()[0] for g in marks}
    for choice in ("choice_prior", "choice_rho", "choice_rows"):
        levels = {
            value: {height[f"choice:{s}:{choice}"] for s in part["spec_id"]}
            for value, part in table.groupby(choice)
        }
        assert all(len(y) == 1 for y in levels.values())
        assert len(set.union(*levels.values())) == len(levels)


def test_ellipse_holds_its_mass():
    record = {"x_mean": 0.3, "x_sd": 0.5, "y_mean": -0.2, "y_sd": 0.2, "correlation": 0.7}
    curve = ellipse(record, 0.5)
    cov = np.array([[0.25, 0.07], [0.07, 0.04]])
    away = curve - [0.3, -0.2]
    distance = np.einsum("ij,jk,ik->i", away, np.linalg.inv(cov), away)
    assert distance == pytest.approx(np.full(len(curve), 2 * math.log(2)))  # chi2 median, 2 df


def test_profile_scatter_equals_the_table(tables, artists):
    picture = FIGURES["profile_scatter"](tables)
    drawn = artists(picture)
    for r in tables.profiles.to_dict("records"):
        point = drawn[f"mean:{r['mechanism']}"]
        assert (point.get_xdata()[0], point.get_ydata()[0]) == (r["x_mean"], r["y_mean"])
        corners = drawn[f"ellipse:{r['mechanism']}"].get_xy()[:-1]
        assert np.allclose(corners, ellipse(r, 0.5))
    ax = picture.axes[1]
    box = ax.get_window_extent()
    assert box.width == pytest.approx(box.height, rel=1e-6)  # both axes have one scale
    assert ax.get_xlim() == ax.get_ylim()


def test_densities_equal_the_table(tables, artists):
    drawn = artists(FIGURES["prior_posterior"](tables))
    for name, part in tables.densities.groupby("quantity"):
        assert list(drawn[f"posterior:{name}"].get_ydata()) == list(part["posterior"])
        assert list(drawn[f"prior:{name}"].get_xy()[1:-2, 1]) == list(part["prior"])


def test_calibration_equals_the_table(tables, artists):
    drawn = artists(FIGURES["calibration"](tables))
    for name, part in tables.ranks.groupby("quantity"):
        line = drawn[f"ecdf:{name}"]
        assert np.allclose(line.get_ydata() + line.get_xdata(), part["ecdf"], atol=1e-15)
        n = len(part)
        corners = drawn[f"band:{name}"].get_xy()
        assert np.allclose(corners[:n, 1] + corners[:n, 0], part["low"], atol=1e-15)
    text = fig.alt_calibration(tables.ranks)
    assert "2 stay inside" in text
    assert "Quantity tau at" in text


def test_discs_of_the_map_grow_with_participants(tables, artists):
    drawn = artists(FIGURES["evidence_map"](tables))
    shown = tables.cells[tables.cells["k"] > 0]
    assert len([g for g in drawn if g.startswith("disc:")]) == len(shown)
    most = shown["n_participants"].max()
    largest = max(drawn[g].get_markersize() for g in drawn if g.startswith("disc:"))
    for r in shown.itertuples():
        disc = drawn[f"disc:{r.mechanism}/{r.condition}"]
        area = (disc.get_markersize() / largest) ** 2
        assert area == pytest.approx(r.n_participants / most)
        assert (disc.get_markerfacecolor() == "white") == (r.n_bounds >= r.k)
        assert drawn[f"studies:{r.mechanism}/{r.condition}"].get_text() == str(r.n_studies)


def test_alternative_texts_hold_the_numbers(tables):
    steps = fig.alt_steps(tables.steps)
    assert "12 steps" in steps
    assert f"starts at {tables.steps['median'].iloc[0]:.2f}" in steps
    funnel = fig.alt_funnel(tables.effects, mu=0.4)
    assert "18 estimates and 6 bounds" in funnel
    assert "NSSI: 8 rows, pooled 0.40 [0.10, 0.70]" in fig.alt_orchard(
        tables.effects, tables.groups
    )
    assert "mean effect 0.20 [0.00, 0.40] at the lower end" in fig.alt_bubble(
        tables.effects, tables.curve
    )
    same = int((tables.profiles["x_mean"] * tables.profiles["y_mean"] > 0).sum())
    assert f"{same} have posterior means of the same sign" in fig.alt_profile_scatter(
        tables.profiles, y_label="depression"
    )
    assert "18 analyses over 3 choices" in fig.alt_specification(tables.specifications)
    prior = fig.alt_prior_posterior(tables.densities)
    assert "0.40 and 0.20 after" in prior
    assert "12 mechanisms" in fig.alt_evidence_map(tables.cells)


@pytest.mark.filterwarnings("ignore:no installed font")
def test_the_data_table_lies_beside_the_figure(tables, tmp_path):
    paths = fig.save(FIGURES["orchard"](tables), tmp_path / "o", ["svg"], table=tables.groups)
    assert [p.name for p in paths] == ["o.svg", "o.csv"]
    back = pd.read_csv(paths[1])
    assert back["mu_low"].tolist() == tables.groups["mu_low"].tolist()


REFUSALS = {
    "no step": (lambda t: fig.cumulative(t.steps.iloc[:0]), "nothing to draw"),
    "no pool": (lambda t: fig.leave_one_out(t.steps, t.steps), "one row, the pool of all"),
    "step": (lambda t: fig.cumulative(t.steps.assign(low=NAN)), "limits missing for: Author-0"),
    "se": (lambda t: fig.funnel(t.effects.assign(sei=0.0)), "must be positive and finite: e0"),
    "kind": (lambda t: fig.funnel(t.effects.assign(kind="odd")), "nothing to draw"),
    "group": (lambda t: fig.orchard(t.effects, t.groups.iloc[:1]), "lacks: depression, eating"),
    "x": (lambda t: fig.bubble(t.effects.assign(x=NAN), t.curve), "no row has a value"),
    "curve": (lambda t: fig.bubble(t.effects, t.curve[::-1]), "must increase"),
    "correlation": (lambda t: fig.profile_scatter(t.profiles.assign(correlation=2)), "m0, m1"),
    "mass": (lambda t: fig.profile_scatter(t.profiles, mass=50), "between 0 and 1"),
    "map": (lambda t: fig.evidence_map(t.cells.assign(k=0)), "no cell holds a row"),
    "choice": (lambda t: fig.specification_curve(t.steps.assign(spec_id="a")), "has no choice"),
    "base": (
        lambda t: fig.specification_curve(t.specifications, base="q"),
        "analysis is called",
    ),
    "density": (lambda t: fig.prior_posterior(t.densities.assign(prior=-1)), "densities of mu"),
    "grid": (lambda t: fig.prior_posterior(t.densities[::-1]), "must increase"),
    "z": (lambda t: fig.calibration(t.ranks.assign(z=2.0)), "z of mu must increase"),
    "no pair": (lambda t: fig.overlap_matrix(t.correlations[:0]), "holds no pair"),
    "same pair": (lambda t: fig.overlap_matrix(pd.concat([t.correlations] * 2)), "twice"),
    "beyond one": (lambda t: fig.overlap_matrix(t.correlations.assign(high=1.2)), "between -1"),
    "no published": (lambda t: fig.external(t.external[:0], {"naive": "a"}), "nothing to draw"),
    "no kind": (lambda t: fig.external(t.external, {}), "one to 4 kinds"),
    "other kind": (lambda t: fig.external(t.external, {"best": "a"}), "median_best"),
    "columns": (lambda t: fig.funnel(t.effects.drop(columns="sei")), "lacks the columns: sei"),
}


@pytest.mark.parametrize("case", list(REFUSALS))
def test_refusals_name_the_reason(tables, case):
    draw, reason = REFUSALS[case]
    with pytest.raises(ValueError, match=reason):
        draw(tables)


def test_published_pools_have_all_their_marks(tables, artists, xs):
    """Lines of one scale share an axis; the published estimate lies between our pools' lines."""
    picture = FIGURES["external"](tables)
    drawn = artists(picture)
    for i, r in tables.external.iterrows():
        assert xs(drawn[f"published:{i}"]) == [r["published"]] * 2
        for name in ("naive", "adjusted"):
            assert xs(drawn[f"at:{name}:{i}"]) == [r[f"median_{name}"]]
        heights = drawn[f"published:{i}"].get_ydata()
        assert min(heights) < drawn[f"at:naive:{i}"].get_ydata()[0] < max(heights)
    wide = tables.external.index[tables.external["high_naive"] > 1e5][0]
    assert f"off-high:naive:{wide}" in drawn
    panels = {drawn[f"published:{i}"].axes for i in tables.external.index}
    assert len(panels) == 2


def test_correlations_are_printed_as_they_are_drawn(tables, artists):
    drawn = artists(FIGURES["overlap_matrix"](tables))
    for r in tables.correlations.itertuples():
        key = f"{r.condition}/{r.other}"
        printed = float(drawn[f"print:{key}"].get_text().replace("−", "-"))
        assert printed == pytest.approx(r.median, abs=0.005 + 1e-9)
        assert drawn[f"at:{key}"].get_xdata()[0] == r.median
        assert bool(drawn[f"cell:{key}"].get_hatch()) == (r.median < 0)
