import numpy as np
import pytest
from scipy.stats import nct, norm

from nssi_meta.evidence import bounds
from nssi_meta.evidence.escalc_common import hedges_j

# Largest difference between the normal approximation and the noncentral t over
# n_case in {n, 2n}, alpha in {.05, .01, .001}, delta in [-1.5, 1.5], for each smaller group n:
# n = 8: 0.0382, 10: 0.0303, 15: 0.0237, 20: 0.0173, 30: 0.0113, 60: 0.0056, 200: 0.0016.
LARGEST_ERROR = {8: 0.039, 10: 0.031, 15: 0.024, 20: 0.018, 30: 0.012, 60: 0.006, 200: 0.002}


@pytest.mark.parametrize(("n", "largest"), LARGEST_ERROR.items())
def test_normal_approximation_against_the_noncentral_t(n, largest):
    delta = np.linspace(-1.5, 1.5, 121)
    worst = 0.0
    for n2 in (n, 2 * n):
        for p in (0.05, 0.01, 0.001):
            c, vi = bounds.critical_g(p, n, n2)
            df, unit = n + n2 - 2, np.sqrt(1 / n + 1 / n2)
            exact = nct.sf(c / hedges_j(df) / unit, df, delta / unit)
            approx = bounds.interval_probability(c, np.inf, delta, np.sqrt(vi))
            worst = max(worst, float(np.max(np.abs(exact - approx))))
    assert worst < largest
    assert worst > largest / 2  # the stated error is the real one, not a generous guess


def test_the_critical_value_has_the_stated_p():
    c, _ = bounds.critical_g(0.03, 14, 25)
    t = c / hedges_j(37) / np.sqrt(1 / 14 + 1 / 25)
    assert 2 * nct.sf(t, 37, 0) == pytest.approx(0.03, rel=1e-9)
    z, v = bounds.critical_z(0.03, 40)
    r = np.tanh(z)
    assert 2 * nct.sf(r * np.sqrt(38 / (1 - r**2)), 38, 0) == pytest.approx(0.03, rel=1e-9)
    assert v == pytest.approx(1 / 37)
    within, _ = bounds.critical_d_within(0.03, 20)
    assert 2 * nct.sf(within / hedges_j(19) * np.sqrt(20), 19, 0) == pytest.approx(0.03, rel=1e-9)
    log_or, v = bounds.critical_log_or(0.03, 40, 60)
    assert 2 * norm.sf(log_or / np.sqrt(v)) == pytest.approx(0.03, rel=1e-9)


def test_intervals_share_the_line():
    mu = np.linspace(-30, 30, 61)
    parts = [
        bounds.interval_probability(low, high, mu, 1.7)
        for low, high in ((-np.inf, -0.5), (-0.5, 0.8), (0.8, np.inf))
    ]
    np.testing.assert_allclose(np.sum(parts, axis=0), 1, rtol=1e-12)


def test_mirrored_intervals():
    mu = np.linspace(-40, 40, 81)
    one = bounds.log_interval_probability(0.3, 0.9, mu, 1.0)
    np.testing.assert_allclose(
        bounds.log_interval_probability(-0.9, -0.3, -mu, 1.0), one, rtol=1e-12
    )


def test_far_tails_do_not_cancel():
    # log Phi(-40) and a narrow interval far out, against the tail density
    assert bounds.log_interval_probability(40, np.inf, 0, 1) == pytest.approx(norm.logsf(40))
    narrow = bounds.log_interval_probability(30.0, 30.0 + 1e-6, 0.0, 1.0)
    assert narrow == pytest.approx(norm.logpdf(30) + np.log(1e-6), rel=1e-6)
    assert bounds.log_interval_probability(-9, 9, 0, 1) == pytest.approx(-2 * norm.sf(9), rel=1e-9)
