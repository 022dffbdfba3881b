"""Densities under step-weight selection against their definition."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import integrate, stats

from nssi_meta.models.selection import Binned, Steps, log_likelihood, normal_critical


@pytest.mark.parametrize(
    "steps", [Steps((0.025,)), Steps((0.025, 0.05, 0.5)), Steps((0.05, 0.1), "two")]
)
def test_reported_density_integrates_to_one(steps):
    s, mu, tau2 = 0.3, 0.2, 0.04
    omega = np.array([1.0, 0.6, 0.3, 0.1])[: steps.n_bins]

    def density(y):
        at = np.array([y])
        binned = Binned.sort(at, normal_critical(np.array([s])), steps)
        return np.exp(log_likelihood(at, np.array([s**2]), binned, mu, tau2, omega))

    tail = 2 if steps.side == "two" else 1
    cuts = [float(stats.norm.isf(p / tail) * s) for p in steps.cuts]
    cuts = sorted({*cuts, *(-c for c in cuts if steps.side == "two")})
    edges = [-5.0, *cuts, 5.0]
    total = sum(integrate.quad(density, a, b)[0] for a, b in pairwise(edges))
    assert total == pytest.approx(1.0, abs=1e-9)


def test_bin_probabilities_are_differences_of_the_normal_distribution():
    mean, sd = np.array([0.1, -0.4]), np.array([0.5, 0.2])
    binned = Binned.sort(mean, normal_critical(sd), Steps((0.025, 0.5)))
    z = stats.norm.isf([0.025, 0.5])[None, :] * sd[:, None]
    upper = stats.norm.sf(z, mean[:, None], sd[:, None])
    expected = np.stack([upper[:, 0], upper[:, 1] - upper[:, 0], 1 - upper[:, 1]], axis=1)
    np.testing.assert_allclose(binned.probabilities(mean, sd), expected, rtol=1e-12)
    two = Binned.sort(mean, normal_critical(sd), Steps((0.05,), "two"))
    inner = stats.norm.cdf(z[:, 0], mean, sd) - stats.norm.cdf(-z[:, 0], mean, sd)
    np.testing.assert_allclose(two.probabilities(mean, sd)[:, 1], inner, rtol=1e-12)


def test_far_tails_keep_their_relative_precision():
    """20 SDs above the mean: the probability of the most significant bins is not lost."""
    sd = np.array([0.1])
    binned = Binned.sort(np.array([0.0]), normal_critical(sd), Steps((0.025, 0.05)))
    p = binned.probabilities(np.array([-2.0]), sd)[0]
    z = (stats.norm.isf([0.025, 0.05]) * 0.1 + 2.0) / 0.1
    np.testing.assert_allclose(p[0], stats.norm.sf(z[0]), rtol=1e-10)
    np.testing.assert_allclose(p[1], stats.norm.sf(z[1]) - stats.norm.sf(z[0]), rtol=1e-10)


def test_bins_are_counted_from_the_most_significant():
    s = np.ones(4)
    y = np.array([3.0, 1.8, 0.5, -3.0])
    assert Binned.sort(y, normal_critical(s), Steps((0.025, 0.05))).bins.tolist() == [0, 1, 2, 2]
    assert Binned.sort(y, normal_critical(s), Steps((0.05,), "two")).bins.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize("cuts", [(), (0.5, 0.05), (0.0,), (0.05, 1.0), (0.05, 0.05)])
def test_cut_points_out_of_order_are_refused(cuts):
    with pytest.raises(ValueError, match="rise and lie strictly between 0 and 1"):
        Steps(cuts)
