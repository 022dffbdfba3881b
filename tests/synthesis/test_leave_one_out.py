"""Exact leave-one-study-out: against pools of the other studies, predictive densities by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from nssi_meta.evidence.simple import read_simple
from nssi_meta.inference.loo import psis_loo
from nssi_meta.models.likelihood import log_likelihood
from nssi_meta.synthesis.leave_one_out import leave_one_out, whole
from nssi_meta.synthesis.model_comparison import compare_pools
from nssi_meta.synthesis.pooled import Pools, pool
from nssi_meta.synthesis.predictive import predictive
from nssi_meta.synthesis.prior_sensitivity import pool_sensitivity

YI = [0.3, 0.5, 0.2, 0.6, 0.4, 2.4]
VI = [0.04, 0.06, 0.05, 0.08, 0.03, 0.05]


@pytest.fixture(scope="module")
def frame(tmp_path_factory) -> pd.DataFrame:
    path = tmp_path_factory.mktemp("simple") / "effects.csv"
    names = [f"study {i}" for i in range(len(YI))]
    pd.DataFrame({"yi": YI, "vi": VI, "study": names}).to_csv(path, index=False)
    return read_simple(path, yi="yi", vi="vi", study="study")


@pytest.fixture(scope="module")
def pools(frame) -> Pools:
    return pool(frame)


def test_each_row_is_the_pool_of_the_other_studies(frame, pools):
    table = leave_one_out(pools)
    assert list(table["study_id"]) == list(frame["study_id"])
    for i in (0, 5):
        other = pool(frame.drop(index=i).reset_index(drop=True)).table.iloc[0]
        for mine, its in (
            ("median", "mu_median"), ("low", "mu_low"), ("high", "mu_high"),
            ("p_positive", "p_positive"), ("pred_low", "pred_low"), ("pred_high", "pred_high"),
            ("tau_median", "tau_median"), ("k", "k"),
        ):  # fmt: skip
            assert table[mine][i] == pytest.approx(other[its], rel=1e-9)
        full = pools.table.iloc[0]
        shift = (other["mu_mean"] - full["mu_mean"]) / full["mu_sd"]
        assert table["shift"][i] == pytest.approx(shift, rel=1e-9)


def test_an_outlier_is_influential_and_the_rest_is_not(pools):
    table = leave_one_out(pools).set_index("study_id")
    assert "mu moves by -" in table.loc["study 5", "influential"]
    assert "narrower without it" in table.loc["study 5", "influential"]
    assert set(table["influential"].drop("study 5")) == {""}


def test_elpd_is_the_predictive_density_of_the_study_left_out(frame, pools):
    table = leave_one_out(pools)
    for i in range(len(YI)):
        post = pool(frame.drop(index=i).reset_index(drop=True)).cells[0].posterior
        sd = np.sqrt(post.mu_sd**2 + post.tau**2 + VI[i])
        by_hand = np.log(post.weight @ norm.pdf(YI[i], post.mu_mean, sd))
        # Evidences are integrated to 1e-9.
        assert table["elpd"][i] == pytest.approx(by_hand, abs=1e-7)


def test_psis_on_draws_agrees_with_the_exact_scores(pools):
    cell = pools.cells[0]
    mu, tau, omega = cell.posterior.draws(8000, 1)
    at = [np.repeat(v[:, None], len(YI), axis=1) for v in (mu, tau)]
    values = log_likelihood(cell.layout, *at, omega[:, None])[:, cell.layout.block_of_row]
    draws = psis_loo(values.reshape(4, 2000, -1), list(cell.rows["study_id"]))
    table = leave_one_out(pools)
    good = (draws["pareto_k"] < 0.7).to_numpy()
    assert good.sum() >= 5
    # Monte Carlo error of 8,000 importance-weighted draws.
    np.testing.assert_allclose(draws["elpd"][good], table["elpd"][good], atol=0.05)


def test_the_whole_pool_is_the_reference_line(pools):
    row = whole(pools).iloc[0]
    assert row["median"] == pytest.approx(pools.table["mu_median"][0])
    assert row["k"] == len(YI)


def test_figures_take_both_tables(pools):
    from nssi_meta.figures import leave_one_out as figure

    assert figure(leave_one_out(pools), whole(pools)) is not None


def test_the_better_prior_foresees_better(frame, pools):
    wide = pool(frame, mu_prior="normal(0,1000)", tau_prior="halfnormal(500)")
    table = compare_pools({"wide": wide, "usual": pools})
    assert list(table["model"]) == ["usual", "wide"]
    assert table["words"][0] == "best"
    assert table["diff"][1] < 0


def test_predictive_checks_tell_the_outlier(frame, pools):
    table, long = predictive(pools)
    assert set(table["source"]) == {"prior", "posterior"}
    assert len(long) == 2000 * len(table)
    # One tau for all cannot make one of six so far out: the posterior's spread is pulled up.
    calm, _ = predictive(pool(frame.iloc[:5].reset_index(drop=True)))
    p = [t.set_index(["source", "statistic"])["p"]["prior", "largest_z"] for t in (table, calm)]
    assert p[0] < p[1]
    seen = table.set_index(["source", "statistic"])["observed"]["posterior", "spread"]
    assert seen == pytest.approx(np.std(YI, ddof=1))


def test_an_improper_prior_draws_no_reviews(frame):
    flat = pool(frame, mu_prior="flat")
    assert set(predictive(flat)[0]["source"]) == {"posterior"}
    assert leave_one_out(flat)["elpd"].isna().all()
    with pytest.raises(ValueError, match="improper prior gives no marginal likelihood"):
        compare_pools({"flat": flat, "again": flat})


def test_sensitivity_of_a_pool(pools):
    table = pool_sensitivity(pools)
    assert list(table["quantity"]) == ["mu", "tau"]
    assert (table[["prior", "likelihood"]] > 0).all(axis=None)


def test_what_cannot_be_left_out_is_said(frame, pools):
    with pytest.raises(ValueError, match="needs at least 2"):
        leave_one_out(pool(frame.iloc[:1]))
    with pytest.raises(ValueError, match="no pool\\? key = "):
        leave_one_out(pools, ("a", "b", "c"))
