"""The likelihood of a two-by-two table against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nssi_meta.models.two_by_two import Counts, log_likelihood


@pytest.mark.parametrize(
    "table",
    [(4, 123, 11, 139), (0, 20, 0, 25), (0, 20, 3, 20), (20, 20, 0, 3), (7, 7, 7, 7),
     (505, 88391, 499, 88391), (1, 1, 0, 1)],
)  # fmt: skip
@pytest.mark.parametrize(("mean", "sd"), [(0.0, 10.0), (-2.0, 0.5)])
def test_equals_a_fine_sum_over_the_baseline(table, mean, sd):
    """A plain sum over 600,000 points."""
    a, n1, c, n2 = table
    theta = np.array([-30.0, -5.0, -1.0, 0.0, 0.3, 4.0, 20.0])
    got = log_likelihood(Counts(*(np.array([float(x)]) for x in table)), theta, mean, sd)
    x = np.linspace(mean - 40 - 8 * sd, mean + 40 + 8 * sd, 600_001)
    coefficients = stats.binom.logpmf(c, n2, 0.5) + stats.binom.logpmf(a, n1, 0.5)
    coefficients += (n1 + n2) * np.log(2)
    prior = stats.norm.logpdf(x, mean, sd)
    for value, t in zip(got, theta, strict=True):
        treated = -a * np.logaddexp(0, -(x + t)) - (n1 - a) * np.logaddexp(0, x + t)
        log_p = prior + treated - c * np.logaddexp(0, -x) - (n2 - c) * np.logaddexp(0, x)
        peak = log_p.max()
        expected = peak + np.log(np.exp(log_p - peak).sum() * (x[1] - x[0])) + coefficients
        # The coefficients of 88,391 people are rounded to about 1e-10.
        assert value == pytest.approx(expected, abs=1e-9 * max(1.0, abs(value) / 100))


def test_log_odds_ratios_have_every_cell_corrected():
    y, v = Counts(
        *np.array([[4.0, 0.0], [123.0, 10.0], [11.0, 0.0], [139.0, 10.0]])
    ).log_odds_ratio()
    assert y[0] == pytest.approx(np.log(4.5 / 119.5 * 128.5 / 11.5), rel=1e-14)
    assert y[1] == 0.0
    assert v[1] == pytest.approx(2 / 0.5 + 2 / 10.5, rel=1e-14)
