"""Pooling counts: the same table as other pools, and refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nssi_meta.evidence.simple import read_simple
from nssi_meta.inference.loo import psis_loo
from nssi_meta.inference.sensitivity_prior import power_scaling_of_draws
from nssi_meta.models.priors import PriorError
from nssi_meta.synthesis.counts import pool_counts
from nssi_meta.synthesis.diagnose import diagnose
from nssi_meta.synthesis.leave_one_out import leave_one_out
from nssi_meta.synthesis.model_comparison import compare_pools
from nssi_meta.synthesis.pooled import pool

REFERENCE = Path(__file__).parent.parent / "reference"


def test_the_table_is_that_of_a_pool():
    facts = json.loads((REFERENCE / "binomial_normal_exact.json").read_text("utf-8"))
    result = pool_counts(**facts["data"], interval="shortest", level=0.9)
    row = result.summary().iloc[0]
    other = pool(read_simple(REFERENCE / "bcg_RR.csv", "yi", vi="vi")).table
    assert list(result.table.columns) == list(other.columns)
    want = facts["result"]
    assert row["mu_mean"] == pytest.approx(want["mu"]["mean"], abs=1e-7)
    assert row["mu_low"] < row["mu_median"] < row["mu_high"]
    assert row["pred_low"] < row["mu_low"]
    assert (row["k"], row["scale"], row["n_studies"]) == (13, "log_or", 13)
    assert row["n_participants"] == sum(facts["data"]["n1i"]) + sum(facts["data"]["n2i"])
    assert (row["level"], row["interval"], row["tau_prior"]) == (0.9, "shortest", "halfnormal(1)")
    assert result.posterior.log_evidence == pytest.approx(want["logml"], abs=1e-8)
    draws = result.posterior_data["posterior"]["mu"].to_numpy()
    assert draws.shape == (4, 1000)
    assert draws.mean() == pytest.approx(want["mu"]["mean"], abs=0.02)


def test_empty_cells_need_no_correction():
    """A table without events adds next to nothing; half an event in each cell would add more."""
    tables = {"ai": [2, 1, 3], "n1i": [40, 30, 50], "ci": [9, 6, 8], "n2i": [41, 33, 47]}
    row = pool_counts(**tables).table.iloc[0]
    empty = {"ai": 0, "n1i": 500, "ci": 0, "n2i": 500}
    more = pool_counts(**{n: [*x, empty[n]] for n, x in tables.items()}).table.iloc[0]
    assert more["k"] == 4
    assert more["mu_mean"] == pytest.approx(row["mu_mean"], abs=0.1 * row["mu_sd"])
    assert more["mu_sd"] == pytest.approx(row["mu_sd"], rel=0.1)


TABLES = {"ai": [3, 0, 0, 7], "n1i": [40, 20, 30, 90], "ci": [9, 3, 0, 9], "n2i": [42, 20, 30, 80]}


@pytest.fixture(scope="module")
def rare():
    return pool_counts(**TABLES, study=["A", "B", "C", "D"])


def test_rows_are_those_of_other_pools_with_the_counts(rare):
    rows = rare.rows
    other = pool(read_simple(REFERENCE / "bcg_RR.csv", "yi", vi="vi")).rows
    assert set(other.columns) <= set(rows.columns)
    assert set(rows.columns) - set(other.columns) == {*TABLES, "shrunk_mean", "shrunk_sd"}
    assert list(rows["study_id"]) == ["A", "B", "C", "D"]
    assert (rows["shrunk_low"] < rows["shrunk_median"]).all()
    assert (rows["shrunk_median"] < rows["shrunk_high"]).all()
    # Only the empty tables are corrected: log(3 x 33 / (9 x 37)), log(0.5 x 17.5 / (3.5 x 20.5)).
    assert rows["yi"][0] == pytest.approx(np.log(3 * 33 / (9 * 37)), abs=1e-12)
    assert rows["yi"][1] == pytest.approx(np.log(0.5 * 17.5 / (3.5 * 20.5)), abs=1e-12)
    assert rows["sei"][1] ** 2 == pytest.approx(1 / 0.5 + 1 / 20.5 + 1 / 3.5 + 1 / 17.5, abs=1e-12)
    # A table without events is believed to be like a new study, but for the little it says.
    new = rare.posterior.prediction
    assert rows["shrunk_mean"][2] == pytest.approx(new.mean, abs=0.1)
    assert rows["shrunk_sd"][2] == pytest.approx(new.sd, rel=0.1)
    shortest = pool_counts(**TABLES, interval="shortest").rows
    width = [(r["shrunk_high"] - r["shrunk_low"]).to_numpy() for r in (shortest, rows)]
    assert (width[0] < width[1]).all()


def test_draws_have_effects_and_likelihoods(rare):
    """4,000 draws: means within 4 standard errors; PSIS near the exact score of each study."""
    tree, rows = rare.posterior_data, rare.rows
    theta = tree["posterior"]["theta"]
    assert list(theta["effect_id"].to_numpy()) == ["A", "B", "C", "D"]
    far = theta.mean(("chain", "draw")).to_numpy() - rows["shrunk_mean"]
    assert (np.abs(far) < 4 * rows["shrunk_sd"] / np.sqrt(4000)).all()
    values = tree["log_likelihood"]["study"]
    assert values.dims == ("chain", "draw", "study_id")
    scores = psis_loo(values.to_numpy(), list(values["study_id"].to_numpy()))
    exact = leave_one_out(rare)
    assert list(exact["label"]) == ["A", "B", "C", "D"]
    np.testing.assert_allclose(scores["elpd"], exact["elpd"], atol=0.1)


def test_leaving_out_is_pooling_the_rest(rare):
    table = leave_one_out(rare).set_index("study_id")
    rest = pool_counts(**{name: x[1:] for name, x in TABLES.items()})
    row = rest.table.iloc[0]
    assert table.loc["A", "median"] == row["mu_median"]
    assert table.loc["A", "pred_high"] == row["pred_high"]
    want = rare.posterior.log_evidence - rest.posterior.log_evidence
    assert table.loc["A", "elpd"] == pytest.approx(want, abs=1e-12)
    assert table["k"].eq(3).all()


def test_every_check_at_once(rare):
    found = diagnose(rare)
    assert found.notes == ()
    assert set(found.predictive["source"]) == {"prior", "posterior"}
    assert len(found.drawn) == 2 * 4 * 2000
    assert list(found.prior_sensitivity["quantity"]) == ["mu", "tau"]
    by_draws = power_scaling_of_draws(rare.posterior_data, ["mu", "tau"]).set_index("quantity")
    exact = found.prior_sensitivity.set_index("quantity")
    # 4,000 draws: some 0.02 (seen 0.008)
    for name in ("prior", "likelihood"):
        np.testing.assert_allclose(by_draws[name], exact[name], atol=0.03)
    common = pool_counts(**TABLES, study=["A", "B", "C", "D"], tau_prior="zero")
    ranked = compare_pools({"random": rare, "common": common})
    assert sorted(ranked["model"]) == ["common", "random"]
    assert diagnose(common).prior_sensitivity["quantity"].tolist() == ["mu"]


def test_improper_priors_leave_a_note():
    full = {"ai": [2, 1, 5], "n1i": [40, 30, 50], "ci": [9, 6, 7], "n2i": [41, 33, 50]}
    found = diagnose(pool_counts(**full, mu_prior="flat"))
    assert set(found.predictive["source"]) == {"posterior"}
    assert "no prior reviews" in found.notes[0]
    assert found.leave_one_out["elpd"].isna().all()


def test_the_forest_tells_of_empty_cells(rare, tmp_path):
    rare.forest(tmp_path / "plot.svg", densities=True)
    assert "1/2 added" in (tmp_path / "plot.svg").read_text("utf-8").replace("½", "1/2")
    drawn = pd.read_csv(tmp_path / "plot_data.csv")
    assert {"A", "B", "C", "D"} <= set(drawn["label"].astype(str))


GOOD = {"ai": [2, 1], "n1i": [40, 30], "ci": [9, 6], "n2i": [41, 33]}


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"ai": [2, 41]}, ValueError, r"ai\[1\] = 41 of n1i\[1\] = 30"),
        ({"ci": [2.5, 1]}, ValueError, r"ci\[0\] is 2.5"),
        ({"ai": [-1, 1]}, ValueError, r"ai\[0\] is -1"),
        ({"n2i": [np.nan, 33]}, ValueError, r"n2i\[0\] is nan"),
        ({"ai": ["two", 1], "ci": [9, None]}, ValueError, r"ai\[0\] is 'two'.*ci\[1\] is None"),
        ({"ai": [0, 0], "n1i": [0, 30]}, ValueError, "at least 1"),
        ({"ai": [2]}, ValueError, "one length"),
        ({n: [] for n in GOOD}, ValueError, "one length"),
        ({"study": ["a"]}, ValueError, "names 1 studies, and there are 2 tables"),
        ({"study": ["a", "a"]}, ValueError, "study 'a' has several tables"),
        (
            {"ai": [0, 0], "mu_prior": "flat"},
            PriorError,
            "1 study without an empty cell, here 0 of 2",
        ),
        (
            {"ai": [0, 1], "tau_prior": "flat"},
            PriorError,
            "2 studies without an empty cell, here 1",
        ),
        ({"level": 2}, ValueError, "level must lie"),
        ({"mu_prior": "normal(0,-1)"}, PriorError, "above 0"),
        ({"baseline_prior": "student_t(3,0,5)"}, PriorError, "must be normal"),
    ],
)
def test_bad_input_is_refused(change, error, says):
    with pytest.raises(error, match=says):
        pool_counts(**GOOD | change)
