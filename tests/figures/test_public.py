"""Every public figure: alternative text, table beside it, and every interval where it says."""

from __future__ import annotations

import inspect
import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.lines import Line2D

from nssi_meta import figures as fig
from nssi_meta.figures.model_nodes import LIMIT

#: What draws: the public functions that return a figure, or the pages of one.
PUBLIC = sorted(
    name
    for name in fig.__all__
    if inspect.isfunction(getattr(fig, name))
    and "Figure" in str(inspect.signature(getattr(fig, name)).return_annotation)
)
#: Figures that share their alternative text with another.
ALT = {
    "forest_pages": "alt_forest",
    "overlap_pages": "alt_overlap_mechanisms",
    "overview_pages": "alt_overview",
    "cumulative": "alt_steps",
    "leave_one_out": "alt_steps",
    "specification_curve": "alt_specification",
}
#: Beginnings of the names of whatever stands for an interval.
INTERVALS = ("ci:", "shrunk:", "diamond:", "pi:", "prior:", "bound:", "contrast:")
WORDS = {"naive": "naive pools", "adjusted": "adjusted pools"}

Ends = tuple[float, float]


@dataclass
class Example:
    """Arguments of a figure, of its alternative text, its table, and the intervals it shows."""

    args: tuple[Any, ...]
    table: pd.DataFrame
    alt: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    alt_options: dict[str, Any] = field(default_factory=dict)
    intervals: dict[str, Ends] = field(default_factory=dict)
    upright: bool = False


def known(*limits: float) -> bool:
    return all(math.isfinite(x) for x in limits)


def of_forest(rows: pd.DataFrame, pools: pd.DataFrame) -> dict[str, Ends]:
    found: dict[str, Ends] = {}
    for r in rows.itertuples():
        if r.kind != "interval" and known(r.ci_low, r.ci_high):
            found[f"ci:{r.effect_id}"] = (r.ci_low, r.ci_high)
            if r.kind == "unsigned":
                found[f"ci:{r.effect_id}:mirror"] = (-r.ci_high, -r.ci_low)
        if r.kind == "interval":
            found[f"bound:{r.effect_id}"] = (r.lower, r.upper)
        if known(r.shrunk_low, r.shrunk_high):
            found[f"shrunk:{r.effect_id}"] = (r.shrunk_low, r.shrunk_high)
    for p in pools.itertuples():
        key = f"{p.mechanism}/{p.condition}/{p.estimand}"
        found[f"diamond:{key}"] = (p.mu_low, p.mu_high)
        found[f"pi:{key}"] = (p.pred_low, p.pred_high)
    return found


def bounds_of(effects: pd.DataFrame) -> dict[str, Ends]:
    rows = effects[effects["kind"] == "interval"]
    return {f"bound:{r.effect_id}": (r.lower, r.upper) for r in rows.itertuples()}


def on_model(table: pd.DataFrame) -> dict[str, Ends]:
    """Pages have no data axis: limits beyond the axis stand at its end."""
    own = table[(table["role"] == "index") & table["mu_low"].notna()]
    cut = own[["mu_low", "mu_high"]].clip(-LIMIT, LIMIT)
    return {
        f"ci:{m}": (low, high)
        for m, low, high in zip(own["mechanism"], cut["mu_low"], cut["mu_high"], strict=True)
    }


@pytest.fixture
def example(request, made, mixed, pools90, overlaps) -> tuple[str, Example]:
    """One figure with made-up tables."""
    name = request.param
    bars, summary = overlaps
    match name:
        case "forest" | "forest_pages":
            found = Example(mixed, mixed[0], mixed, intervals=of_forest(*mixed))
        case "overview" | "overview_pages":
            shown = pools90[pools90["k"] > 0]
            ends = {
                f"ci:{p.mechanism}/{p.condition}/{p.estimand}": (p.mu_low, p.mu_high)
                for p in shown.itertuples()
            }
            found = Example((pools90,), pools90, intervals=ends)
        case "overlap_mechanisms" | "overlap_pages":
            found = Example((bars,), bars)
        case "overlap_summary":
            ends = {}
            for r in summary.itertuples():
                ends[f"ci:{r.figure}/{r.other}"] = (r.low, r.high)
                ends[f"prior:{r.figure}/{r.other}"] = (r.prior_low, r.prior_high)
            found = Example((summary,), summary, intervals=ends)
        case "overlap_matrix":
            table = made.make_correlations()
            ends = {f"ci:{r.condition}/{r.other}": (r.low, r.high) for r in table.itertuples()} | {
                f"ci:prior:{r.condition}/{r.other}": (r.prior_low, r.prior_high)
                for r in table.itertuples()
            }
            found = Example((table,), table, intervals=ends)
        case "external":
            table = made.make_external()
            ends = {
                f"ci:{n}:{i}": (table[f"low_{n}"][i], table[f"high_{n}"][i])
                for n in WORDS
                for i in table.index
            }
            found = Example((table, WORDS), table, (table, WORDS), intervals=ends)
        case "cumulative" | "leave_one_out":
            table = made.make_steps()
            ends = {f"ci:{i}": (r.low, r.high) for i, r in enumerate(table.itertuples())}
            args = (table,) if name == "cumulative" else (table, table.iloc[-1:])
            found = Example(args, table, (table,), intervals=ends)
        case "funnel":
            table = made.make_effects()
            found = Example((table,), table, options={"mu": 0.4}, intervals=bounds_of(table))
        case "orchard":
            effects, groups = made.make_effects(), made.make_groups()
            ends = {f"ci:{g.group}": (g.mu_low, g.mu_high) for g in groups.itertuples()}
            ends |= {f"pi:{g.group}": (g.pred_low, g.pred_high) for g in groups.itertuples()}
            found = Example((effects, groups), groups, (effects, groups), intervals=ends)
        case "bubble":
            effects, curve = made.make_effects(), made.make_curve()
            ends = bounds_of(effects)
            found = Example((effects, curve), curve, (effects, curve), intervals=ends, upright=True)
        case "specification_curve":
            table = made.make_specifications()
            ends = {f"ci:{r.spec_id}": (r.low, r.high) for r in table.itertuples()}
            found = Example((table,), table, intervals=ends, upright=True)
        case "profile_scatter":
            table = made.make_profiles()
            found = Example((table,), table, alt_options={"y_label": "depression"})
        case "prior_posterior":
            # densities: `test_densities_equal_the_table` compares them point by point
            table = made.make_densities()
            found = Example((table,), table)
        case "calibration":
            found = Example((made.make_ranks(),), made.make_ranks())
        case "evidence_map":
            found = Example((made.make_map(),), made.make_map())
        case "gap_map":
            found = Example((made.gap_rows(),), made.gap_rows())
        case "mechanism_model":
            table = made.model_rows()
            found = Example((table, made.stage_rows()), table, (table,), intervals=on_model(table))
        case "predictive":
            checks, drawn = made.predictive_tables()
            found = Example((checks, drawn), checks, (checks,))
        case "subset_plot":
            found = Example((made.make_subsets(),), made.make_subsets())
        case _:
            raise AssertionError(f"the figure {name} has no example here: add one")
    found.alt = found.alt or found.args
    return name, found


every = pytest.mark.parametrize("example", PUBLIC, indirect=True)


def draw(name: str, e: Example):
    made = getattr(fig, name)(*e.args, **e.options)
    return made if isinstance(made, list) else [made]


def test_the_family_is_whole():
    assert len(PUBLIC) >= 19
    assert {"forest", "overview", "overlap_matrix", "profile_scatter", "mechanism_model"} <= {
        *PUBLIC
    }


@every
@pytest.mark.filterwarnings("ignore:no installed font")
def test_every_figure_has_an_alternative_text_and_its_table(example, tmp_path):
    name, e = example
    alt = ALT.get(name, f"alt_{name}")
    assert alt in fig.__all__, f"{name} has no alternative text"
    text = getattr(fig, alt)(*e.alt, **e.alt_options)
    assert len(text) > 60
    assert text[0].isupper() or text[0].isdigit()
    assert text.endswith(".")
    assert any(c.isdigit() for c in text)
    assert "nan" not in text.split()
    svg, csv = fig.save(draw(name, e)[0], tmp_path / "f", ["svg"], title=name, alt_text=text,
                        table=e.table)  # fmt: skip
    space = "{http://www.w3.org/2000/svg}"
    root = ET.fromstring(svg.read_text(encoding="utf-8"))
    assert root.find(f"{space}desc").text == text
    back = pd.read_csv(csv)
    assert list(back.columns) == [str(c) for c in e.table.columns]
    for column in e.table.select_dtypes("number"):
        np.testing.assert_allclose(back[column], e.table[column], rtol=1e-12)


def ends_of(artist, upright: bool) -> Ends:
    if isinstance(artist, Line2D):
        values = artist.get_ydata() if upright else artist.get_xdata()
    else:
        corners = artist.get_patch_transform().transform(artist.get_path().vertices)
        values = corners[:, int(upright)]
    return float(np.min(values)), float(np.max(values))


@every
def test_every_interval_of_every_figure_is_where_the_table_says(example, artists):
    name, e = example
    drawn = {}
    for page in draw(name, e):
        drawn |= {g: a for g, a in artists(page).items() if g.startswith(INTERVALS)}
    # densities and bars of drawn values are areas, not intervals (test_predictive.py has the bars)
    drawn = {} if name in ("prior_posterior", "predictive") else drawn
    assert set(drawn) == set(e.intervals)
    ends = {gid: ends_of(artist, e.upright) for gid, artist in drawn.items()}
    if name == "mechanism_model":
        ends = in_units(ends, e.intervals)
    for gid, (low, high) in e.intervals.items():
        for at, limit in zip(ends[gid], (low, high), strict=True):
            if gid.startswith("bound:"):  # drawn to the edge of the panel where it is open
                axes = drawn[gid].axes
                edge = axes.get_ylim() if e.upright else axes.get_xlim()
                inside = math.isfinite(limit) and min(edge) <= limit <= max(edge)
                if not inside:
                    continue
            assert at == pytest.approx(limit, rel=1e-12, abs=1e-12), gid


def in_units(ends: dict[str, Ends], table: dict[str, Ends]) -> dict[str, Ends]:
    """From mm to units by one line per panel fitted to two intervals; the rest must lie on it."""
    panels: dict[float, list[str]] = {}
    for gid in ends:
        panels.setdefault(float(gid.split(":m")[1][0]), []).append(gid)
    found = {}
    for members in panels.values():
        low = [ends[g][0] for g in members], [table[g][0] for g in members]
        slope, start = np.polyfit(*low, 1) if len(members) > 1 else (math.nan, math.nan)
        for g in members:
            found[g] = (start + slope * ends[g][0], start + slope * ends[g][1])
    return found


@every
def test_an_empty_selection_is_named_and_nothing_is_drawn(example):
    name, e = example
    empty = tuple(a.iloc[:0] if isinstance(a, pd.DataFrame) else a for a in e.args)
    with pytest.raises(ValueError, match=r"no |nothing|lacks|one row"):
        getattr(fig, name)(*empty, **e.options)


@every
@pytest.mark.filterwarnings("ignore:Glyph .* missing")
def test_intervals_of_a_million_stay_on_the_page(example, collisions):
    """Limits of 1e6 in every column of limits; figures of probabilities have none."""
    name, e = example
    limits = ("ci_high", "mu_high", "pred_high", "shrunk_high", "high_naive", "y_sd")
    wide = dict.fromkeys(limits, 1e6)
    if name in ("bubble", "cumulative", "leave_one_out", "specification_curve"):
        wide["high"] = 1e6
    args = tuple(
        a.assign(**{c: v for c, v in wide.items() if c in a}) if isinstance(a, pd.DataFrame) else a
        for a in e.args
    )
    made = getattr(fig, name)(*args, **e.options)
    for page in made if isinstance(made, list) else [made]:
        assert max(page.get_size_inches()) * 25.4 < 2000
        assert collisions(page) == []
