"""log(Phi(b) - Phi(a)) and the normal log density, at any depth of either tail."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nssi_meta.models.likelihood import log_interval, normal_logpdf

_X, _W = np.polynomial.legendre.leggauss(20)


def oracle(a: float, b: float) -> float:
    """log(Phi(b) - Phi(a)) by integrating the density: a sum of positive terms, no cancellation.

    400 panels of 20 nodes; beyond 60/a (or 40) nothing is left in double precision.
    """
    if a + b < 0:
        a, b = -b, -a
    if a < 0:
        edges, offset = np.linspace(max(a, -40.0), min(b, 40.0), 401), 0.0
    else:
        edges, offset = np.linspace(0.0, min(b - a, 60 / max(a, 1.0)), 401), a
    mid, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    t = mid[:, None] + half[:, None] * _X
    mass = (np.exp(-offset * t - 0.5 * t**2) * half[:, None] * _W).sum()
    return float(-0.5 * offset**2 - 0.5 * np.log(2 * np.pi) + np.log(mass))


# An interval of width w is a difference of two logs of size L: eps * L / w is what can be kept.
@pytest.mark.parametrize(
    ("width", "tolerance"), [(1e-4, 1e-11), (1e-2, 1e-13), (0.5, 5e-15), (5.0, 5e-15), (60, 5e-15)]
)
def test_log_interval_in_the_centre_and_far_out(width, tolerance):
    rng = np.random.default_rng(7)
    low = rng.normal(size=300) * 10 ** rng.uniform(-2, 2.5, 300)
    high = low + width
    ours = log_interval(low, high)
    theirs = np.array([oracle(a, b) for a, b in zip(low, high, strict=True)])
    error = np.abs(ours - theirs) / np.maximum(1.0, np.abs(theirs))
    assert error.max() < tolerance


def test_the_oracle_itself_where_the_difference_keeps_its_digits():
    for a, b in [(-1.0, 1.0), (-3.0, 0.5), (0.2, 1.4), (-2.0, -1.0)]:
        direct = np.log(stats.norm.cdf(b) - stats.norm.cdf(a))
        assert oracle(a, b) == pytest.approx(direct, rel=1e-13)


def test_log_interval_mirrored_is_the_same_number():
    rng = np.random.default_rng(3)
    low = rng.normal(0, 20, 500)
    high = low + rng.exponential(2, 500)
    np.testing.assert_array_equal(log_interval(low, high), log_interval(-high, -low))


def test_adjacent_intervals_add_up():
    cuts = np.array([-9.0, -2.0, -0.5, 0.1, 3.0, 11.0])
    parts = log_interval(cuts[:-1], cuts[1:])
    whole = log_interval(cuts[0], cuts[-1])
    assert np.logaddexp.reduce(parts) == pytest.approx(whole, abs=1e-15)


@pytest.mark.parametrize("end", [40.0, 1e3, 1e8])
def test_an_interval_that_holds_everything_has_probability_one(end):
    assert log_interval(np.array(-end), np.array(end)) == 0.0


def test_normal_log_density():
    x, v = np.array([-3.0, 0.0, 1e3]), np.array([0.1, 2.0, 50.0])
    np.testing.assert_allclose(
        normal_logpdf(x, v), stats.norm.logpdf(x, scale=np.sqrt(v)), rtol=1e-14
    )
