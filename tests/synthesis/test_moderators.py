"""Moderators with bounds: against meta-regression where every row is exact, and too few studies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nssi_meta.evidence.read import read_effects
from nssi_meta.inference.on_line import on_line
from nssi_meta.synthesis.cells import Options
from nssi_meta.synthesis.moderators import _contrast, _slope, every_line, moderators
from nssi_meta.synthesis.regression import regress

DATA = Path(__file__).parents[2] / "data" / "effects.csv"


def rows(n=9, seed=3):
    rng = np.random.default_rng(seed)
    year = np.arange(2000, 2000 + n)
    vi = rng.uniform(0.02, 0.08, n)
    return pd.DataFrame(
        {
            "mechanism": "m", "condition": "c", "estimand": "case_control", "comparator": "healthy",
            "study_id": [f"s{i}" for i in range(n)], "sample_id": [f"s{i}" for i in range(n)],
            "control_id": "", "measure": "", "scale": "g", "kind": "exact", "n_case": 30.0,
            "n_control": 30.0, "lower": np.nan, "upper": np.nan, "vi": vi, "sei": np.sqrt(vi),
            "yi": 0.3 + 0.08 * (year - 2004) + rng.normal(0, np.sqrt(vi)), "year": year,
        }
    )  # fmt: skip


def test_a_slope_of_exact_rows_is_that_of_meta_regression():
    """Same model and priors; here quadrature over the slope, there in closed form given tau."""
    frame = rows()
    lines, curve, _ = _slope(frame.assign(x=frame["year"].astype(float)), Options(), 1)
    fit = regress(frame, ["year"])
    slope = fit.table.set_index("coefficient").loc["year"]
    found = [lines[0][c] / 10 for c in ("median", "low", "high")]
    assert found == pytest.approx([slope[c] for c in ("median", "low", "high")], abs=2e-4)
    assert lines[0]["p_positive"] == pytest.approx(slope["p_positive"], abs=2e-4)
    last = fit.estimate(year=2008.0)
    got = curve.iloc[-1][["median", "low", "high", "pred_low", "pred_high"]].to_numpy(dtype=float)
    want = last[["median", "low", "high", "pred_low", "pred_high"]].to_numpy(dtype=float)
    np.testing.assert_allclose(got, want, atol=0.01)  # a grid of 400 over a wide range


def test_a_contrast_turns_with_its_sides_and_uses_bounds():
    frame = rows().assign(x=["a", "b", "b"] * 3)
    bound = frame["study_id"].isin(["s1", "s4"])
    frame.loc[bound, ["kind", "yi", "lower", "upper"]] = ["interval", np.nan, 0.6, np.inf]
    names = ["a", "b"]
    one, other = (_contrast(frame, n, names, Options(), 1) for n in names)
    assert one["median"] == pytest.approx(-other["median"], abs=1e-3)
    assert one["low"] == pytest.approx(-other["high"], abs=1e-3)
    assert one["n_bounds"] == 2
    without = _contrast(frame[~bound], "a", names, Options(), 1)
    assert one["median"] < without["median"]  # both bounds say that b is large


def test_a_side_of_one_study_has_no_number():
    frame = rows().assign(x=["a"] + ["b"] * 8)
    line = _contrast(frame, "a", ["a", "b"], Options(), 1)
    assert "too few studies (1 against 8)" in line["note"]
    assert "median" not in line
    lines, curve, _ = _slope(frame.assign(x=[1.0, 2.0] * 4 + [1.0]), Options(), 1)
    assert "too few studies" in lines[0]["note"]
    assert curve.empty


def test_the_amygdala_claims_stimulus():
    """All of its rows are bounds: means per stimulus, and too few studies for a contrast."""
    evidence = read_effects(DATA).select(mechanism="amygdala_activation", condition="nssi")
    table = every_line(moderators(evidence, ["stimulus"]))
    table = table[table["estimand"] == "case_control"]
    level = table[table["what"] == "level"].set_index("name")
    assert level.loc["nssi_related", "n_bounds"] == level.loc["nssi_related", "k"] > 0
    assert level.loc["nssi_related", "median"] < 0
    contrast = table[table["what"] == "contrast"].set_index("name").loc["nssi_related - others"]
    assert "too few studies" in contrast["note"]
    assert np.isnan(contrast["median"])
    with pytest.raises(ValueError, match="no moderator 'colour'"):
        moderators(evidence, ["colour"])


@pytest.mark.parametrize(("mean", "sd"), [(0.0, 1.0), (0.7, 0.05), (-2.5, 0.4)])
def test_nodes_on_a_line_resolve_a_normal_density(mean, sd):
    found = on_line(lambda x: (-0.5 * ((x - mean) / sd) ** 2, x), 1.0, 1)
    # a distribution function summed over 4,001 points, cut where the log density fell by 12
    assert found.quantile(0.975) == pytest.approx(mean + 1.959964 * sd, abs=1e-3 * sd)
    assert found.cdf(mean) == pytest.approx(0.5, abs=1e-4)
    assert 10 <= len(found.nodes) <= 25
