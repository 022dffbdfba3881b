"""The grid behind the calibration of verdicts, against the model by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nssi_meta.synthesis.overlap_figures import lkj, overlap_figures, prior_draws


@pytest.fixture(scope="module")
def two_arms(script):
    return script("benchmarks", "two_arms")


@pytest.fixture(scope="module")
def calibrated(script):
    return script("benchmarks", "calibrate_verdicts")


def test_without_evidence_the_grid_gives_the_prior_of_the_figures(two_arms):
    """Small sigmas included, whose means a grid of fixed steps cannot resolve.

    Quantiles of 4000 draws have a standard error of 0.01; a step of sigma is a quarter of it.
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
    edge = two_arms._map("sigma", np.array([2 / 15]))[0]  # where the second cell ends
    assert two_arms.NODES["sigma"] == 15
    np.testing.assert_allclose(np.mean(got.sigma < edge), 2 * stats.norm.cdf(edge) - 1, atol=0.02)


def test_the_grid_is_the_joint_model_of_two_conditions(two_arms):
    """Posterior of a review of two mechanisms, by weighting draws of the prior.

    Rows: exact estimates and bounds in both arms. 800 000 prior draws leave over 4000 effective
    ones, a standard error of 0.016 SD, 8000 draws of the grid add 0.011; the tolerance is three of
    both together.
    """
    mechanism = np.array([0, 0, 0, 1, 1, 1])
    arm = np.array([0, 0, 1, 0, 1, 1])
    y = np.array([0.9, np.nan, 0.7, -0.4, np.nan, 0.1])
    v = np.full(6, 0.07)
    lower = np.array([0, 0.5, 0, 0, -0.5, 0.0])
    upper = np.array([0, np.inf, 0, 0, 0.5, 0.0])
    rows = two_arms.Rows(mechanism, arm, y, v, lower, upper)
    got = two_arms.TwoArms().draws(rows, 2, 8000, np.random.default_rng(1))

    rng, n = np.random.default_rng(2), 800_000
    sigma = np.abs(rng.normal(0, 1.0, (n, 2)))
    r = lkj(2, 2.0, n, rng)[:, 0, 1]
    z = rng.standard_normal((2, 2, n))
    mu = np.stack(
        [sigma[:, 0] * z[:, 0], sigma[:, 1] * (r * z[:, 0] + np.sqrt(1 - r**2) * z[:, 1])], axis=-1
    )  # (mechanism, draw, arm)
    tau = np.abs(rng.normal(0, 0.5, n)) * np.abs(rng.standard_normal((2, n)))
    omega = np.abs(rng.normal(0, 0.5, n))
    log_w = np.zeros(n)
    for m, a, value, var, lo, hi in zip(mechanism, arm, y, v, lower, upper, strict=True):
        sd = np.sqrt(var + tau[m] ** 2 + omega**2)
        if np.isfinite(value):
            log_w += stats.norm.logpdf(value, mu[m, :, a], sd)
        else:
            p = stats.norm.cdf(hi, mu[m, :, a], sd) - stats.norm.cdf(lo, mu[m, :, a], sd)
            log_w += np.log(np.maximum(p, 1e-300))
    w = np.exp(log_w - log_w.max())
    w /= w.sum()
    assert 1 / (w**2).sum() > 4000
    for name, ours, theirs in (
        *((f"mu {m} {a}", got.mu[:, m, a], mu[m, :, a]) for m in (0, 1) for a in (0, 1)),
        ("R", got.R, r),
        ("magnitude", *(overlap_figures(x[..., 0], x[..., 1], 0.2)["magnitude"]
                        for x in (got.mu, np.moveaxis(mu, 0, 1)))),
    ):  # fmt: skip
        mean = w @ theirs
        sd = np.sqrt(w @ (theirs - mean) ** 2)
        assert ours.mean() == pytest.approx(mean, abs=0.06 * sd), name
        assert ours.std() == pytest.approx(sd, rel=0.05), name


@pytest.mark.parametrize(
    ("coarse", "fine"),
    [({}, {"R": 24, "tau_0": 16, "omega": 16, "spread": 28}), ({"R": 6}, {"R": 6, "sigma": 30})],
    ids=["all but sigma", "sigma"],
)
def test_a_finer_grid_gives_the_same_intervals(two_arms, calibrated, monkeypatch, coarse, fine):
    """90% limits of 16000 draws have a standard error of up to 0.04 SD (skewed figures), their
    difference of up to 0.055: three of these.
    """
    rows = calibrated.simulate(2, 0.66, np.random.default_rng(5), True, True)[2]
    some = rows.mechanism < 4
    part = two_arms.Rows(**{name: values[some] for name, values in vars(rows).items()})
    ends, sds = [], []
    for nodes in (coarse, fine):
        for name, n in nodes.items():
            monkeypatch.setitem(two_arms.NODES, name, n)
        draws = two_arms.TwoArms().draws(part, 4, 16_000, np.random.default_rng(len(nodes)))
        found = overlap_figures(draws.mu[..., 0], draws.mu[..., 1], 0.2)["magnitude"]
        ends.append([np.quantile(x, [0.05, 0.5, 0.95]) for x in (found, draws.R)])
        sds.append([[found.std()], [draws.R.std()]])
    difference = (np.array(ends[1]) - ends[0]) / np.array(sds[0])
    np.testing.assert_allclose(difference, 0.0, atol=0.15)


def test_what_is_left_out_as_negligible_is(two_arms, calibrated, monkeypatch):
    """Mass of the nodes that are left out, from the posterior over all nodes."""
    rows = calibrated.simulate(4, 0.66, np.random.default_rng(2), True, True)[2]
    model = two_arms.TwoArms()
    used = model._matters([model._likelihood(rows, 12, a) for a in (0, 1)])
    monkeypatch.setattr(two_arms, "NEGLIGIBLE", np.inf)
    draws = model.draws(rows, 12, 4000, np.random.default_rng(1))
    kept = {(float(model.sigmas[i]), float(model.sigmas[j]))
            for i, j in zip(model.at1[used], model.at2[used], strict=True)}  # fmt: skip
    assert used.mean() < 0.9
    assert np.mean([tuple(s) not in kept for s in draws.sigma.tolist()]) < 0.001
