"""Draws by rejection, against distributions that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nssi_meta.inference.log_concave import log_concave_draws, log_concave_modes


@pytest.mark.parametrize(
    ("law", "mode"),
    [(stats.norm(3, 0.01), 3.0), (stats.expon(-2, 5), -2.0), (stats.logistic(1, 2), 1.0),
     (stats.uniform(0, 1), 1.0)],
)  # fmt: skip
def test_draws_have_their_distribution(law, mode):
    """Kolmogorov-Smirnov at a fixed seed."""
    draws = log_concave_draws(
        lambda x, i: law.logpdf(x), np.full(5000, mode), np.random.default_rng(4)
    )
    assert stats.kstest(draws, law.cdf).pvalue > 0.01


def test_each_density_has_its_own_draw():
    mean, sd = np.linspace(-1e3, 1e3, 50), np.geomspace(1e-6, 1e-1, 50)
    draws = log_concave_draws(
        lambda x, i: stats.norm.logpdf(x, mean[i], sd[i]), mean, np.random.default_rng(4)
    )
    assert np.abs((draws - mean) / sd).max() < 5


def test_what_is_no_density_is_refused():
    def nowhere(x, i):
        return np.where(x == 0, 0.0, -np.inf)

    with pytest.raises(FloatingPointError, match="not log-concave"):
        log_concave_draws(nowhere, np.zeros(3), np.random.default_rng(4))


def test_modes_are_where_slopes_end():
    low, high = np.array([-5.0, 0.0]), np.array([100.0, 1.0])
    at = np.array([2.5, 0.25])
    found = log_concave_modes(lambda x, i: at[i] - x, low, high)
    assert found == pytest.approx(at, abs=1e-12)
