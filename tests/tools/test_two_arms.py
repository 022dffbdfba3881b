"""The grid behind the calibration of verdicts, against the model by brute force."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from nssi_meta.synthesis.overlap_figures import lkj, overlap_figures, prior_draws

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def two_arms():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import two_arms as module
    finally:
        sys.path.remove(str(BENCHMARKS))
    return module


def test_without_evidence_the_grid_gives_the_prior_of_the_figures(two_arms):
    """Small sigmas included, whose means a grid of fixed steps cannot resolve.

    Quantiles of 4000 draws have a standard error of 0.01; sigma is a grid of steps of a quarter.
    """
    one = np.zeros(1, dtype=np.int64)
    blind = two_arms.Rows(one, one, np.zeros(1), np.full(1, 1e8), np.zeros(1), np.zeros(1))
    got = two_arms.TwoArms().draws(blind, 6, 4000, np.random.default_rng(4))
    wanted, _ = prior_draws(2, 6, 20_000)
    at = [0.1, 0.25, 0.5, 0.75, 0.9]
    ours, theirs = (
        np.quantile(overlap_figures(mu[..., 0], mu[..., 1], 0.2)["magnitude"], at)
        for mu in (got.mu, wanted)
    )
    np.testing.assert_allclose(ours, theirs, atol=0.03)
    np.testing.assert_allclose(np.mean(got.sigma < 0.08), 2 * stats.norm.cdf(0.08) - 1, atol=0.02)


def test_the_grid_is_the_joint_model_of_two_conditions(two_arms):
    """Posterior of a review of two mechanisms, by weighting draws of the prior.

    Rows: exact estimates and bounds in both arms. 400 000 prior draws leave about 3000 effective
    ones, a standard error of 0.02 SD; the grid of hyperparameters is coarse (means within 0.06).
    """
    mechanism = np.array([0, 0, 0, 1, 1, 1])
    arm = np.array([0, 0, 1, 0, 1, 1])
    y = np.array([0.9, np.nan, 0.7, -0.4, np.nan, 0.1])
    v = np.full(6, 0.07)
    lower = np.array([0, 0.5, 0, 0, -0.5, 0.0])
    upper = np.array([0, np.inf, 0, 0, 0.5, 0.0])
    rows = two_arms.Rows(mechanism, arm, y, v, lower, upper)
    got = two_arms.TwoArms().draws(rows, 2, 8000, np.random.default_rng(1))

    rng, n = np.random.default_rng(2), 400_000
    sigma = np.abs(rng.normal(0, 1.0, (n, 2)))
    r = lkj(2, 2.0, n, rng)[:, 0, 1]
    z = rng.standard_normal((2, 2, n))
    mu = np.stack(
        [sigma[:, 0] * z[:, 0], sigma[:, 1] * (r * z[:, 0] + np.sqrt(1 - r**2) * z[:, 1])], axis=-1
    )  # (mechanism, draw, arm)
    tau = np.abs(rng.normal(0, 0.5, n)) * np.abs(rng.standard_normal((2, n)))
    log_w = np.zeros(n)
    for m, a, value, var, lo, hi in zip(mechanism, arm, y, v, lower, upper, strict=True):
        sd = np.sqrt(var + tau[m] ** 2)
        if np.isfinite(value):
            log_w += stats.norm.logpdf(value, mu[m, :, a], sd)
        else:
            p = stats.norm.cdf(hi, mu[m, :, a], sd) - stats.norm.cdf(lo, mu[m, :, a], sd)
            log_w += np.log(np.maximum(p, 1e-300))
    w = np.exp(log_w - log_w.max())
    w /= w.sum()
    assert 1 / (w**2).sum() > 2000
    for m in (0, 1):
        for a in (0, 1):
            mean = w @ mu[m, :, a]
            sd = np.sqrt(w @ (mu[m, :, a] - mean) ** 2)
            assert got.mu[:, m, a].mean() == pytest.approx(mean, abs=0.06)
            assert got.mu[:, m, a].std() == pytest.approx(sd, rel=0.1)
    assert got.R.mean() == pytest.approx(w @ r, abs=0.06)
