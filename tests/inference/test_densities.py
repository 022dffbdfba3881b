"""One-dimensional posteriors: distribution functions, quantiles, intervals, coordinate maps."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq, minimize_scalar

from nssi_meta.inference.adaptive import integrate
from nssi_meta.inference.densities import (
    NormalMixture,
    half_line,
    interval,
    real_line,
    to_coefficients,
)

P = np.array([1e-6, 0.005, 0.025, 0.31, 0.5, 0.77, 0.975, 0.995, 1 - 1e-6])
MIXTURE = NormalMixture.build(
    np.array([-0.5, 0.2, 0.3, 1.0]), np.array([0.2, 0.5, 0.1, 2.0]), np.array([2.0, 3.0, 1.0, 0.1])
)


def panel(log_density, axis, edges):
    return integrate(log_density, [axis], [np.asarray(edges)], n=12, tol=1e-9).marginal(0)


GAMMA = stats.gamma(2.3, scale=0.4)
SKEW = stats.skewnorm(3.0, 0.2, 0.7)
KNOWN = [
    ("gamma", GAMMA, half_line(0.5), [0, 0.5, 1]),
    ("half-normal", stats.halfnorm(scale=0.5), half_line(0.2), [0, 0.5, 1]),
    ("half-Cauchy", stats.halfcauchy(scale=0.3), half_line(0.3), [0, 0.5, 1]),
    ("normal", stats.norm(0.3, 0.2), real_line(0.0, 1.0), [-1, -0.5, 0, 0.5, 1]),
    ("skew normal", SKEW, real_line(0.0, 1.0), [-1, -0.5, 0, 0.5, 1]),
    ("Student t", stats.t(4, 0.5, 0.3), real_line(0.5, 0.3), [-1, -0.5, 0, 0.5, 1]),
]


@pytest.fixture(scope="module", params=KNOWN, ids=[k[0] for k in KNOWN])
def known(request):
    _, oracle, axis, edges = request.param
    return oracle, panel(oracle.logpdf, axis, edges)


# Gamma and Cauchy are not polynomial in u at the ends: 1e-8 is what tol=1e-9 gives (measured).
def test_a_panel_density_is_the_density_it_was_made_from(known):
    oracle, density = known
    x = np.asarray(oracle.ppf(P))
    np.testing.assert_allclose(density.cdf(x), P, atol=2e-8)
    np.testing.assert_allclose(density.pdf(x), oracle.pdf(x), atol=2e-7 * oracle.pdf(x).max())
    inner = slice(1, -1)
    ours = [density.quantile(p) for p in P[inner]]
    np.testing.assert_allclose(ours, x[inner], atol=1e-6, rtol=1e-6)
    if np.isfinite(oracle.var()):
        assert density.mean == pytest.approx(oracle.mean(), rel=1e-8)
        assert density.sd == pytest.approx(oracle.std(), rel=1e-6)


def test_quantile_and_cdf_undo_each_other(known):
    _, density = known
    for d in (density, MIXTURE):
        back = [float(d.cdf(d.quantile(p))) for p in P]
        np.testing.assert_allclose(back, P, rtol=1e-9, atol=1e-12)


def test_a_mixture_has_the_moments_of_its_parts():
    m, s, w = MIXTURE.means, MIXTURE.sds, MIXTURE.weights
    assert w.sum() == pytest.approx(1.0, abs=1e-15)
    assert MIXTURE.mean == pytest.approx((w * m).sum(), abs=1e-15)
    second = (w * (s**2 + m**2)).sum()
    assert MIXTURE.sd**2 == pytest.approx(second - MIXTURE.mean**2, rel=1e-13)
    x = np.linspace(-3, 3, 7)
    by_hand = sum(wi * stats.norm.pdf(x, mi, si) for mi, si, wi in zip(m, s, w, strict=True))
    np.testing.assert_allclose(MIXTURE.pdf(x), by_hand, rtol=1e-13)


def test_a_mixture_of_one_normal_is_that_normal():
    one = NormalMixture.build(np.array([2.0]), np.array([1e-9]), np.array([5.0]))
    assert one.quantile(0.975) == pytest.approx(2 + 1e-9 * stats.norm.ppf(0.975), abs=1e-15)
    assert interval(one, 0.9, "shortest")[0] == pytest.approx(2 - 1.6448536e-9, abs=1e-14)


def test_negligible_parts_are_dropped():
    mixture = NormalMixture.build(
        np.array([0.0, 1e9]), np.array([1.0, 1.0]), np.array([1.0, 1e-14])
    )
    assert mixture.means.tolist() == [0.0]


UNIMODAL = [
    (MIXTURE, -np.inf),
    (panel(GAMMA.logpdf, half_line(0.5), [0, 0.5, 1]), 0.0),
    (panel(SKEW.logpdf, real_line(0.0, 1.0), [-1, -0.5, 0, 0.5, 1]), -np.inf),
    (panel(stats.halfnorm(scale=0.5).logpdf, half_line(0.2), [0, 0.5, 1]), 0.0),
    # mode above 0, but the shortest interval still starts at 0
    (panel(stats.foldnorm(0.4).logpdf, half_line(0.5), [0, 0.5, 1]), 0.0),
]


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95, 0.99])
@pytest.mark.parametrize("i", range(len(UNIMODAL)))
def test_the_shortest_interval_is_the_shortest(i, level):
    density, low = UNIMODAL[i]
    a, b = interval(density, level, "shortest", low)

    def length(p):
        return density.quantile(p + level) - density.quantile(p)

    grid = np.linspace(1e-9, 1 - level - 1e-9, 401)
    lengths = [length(p) for p in grid]
    near = int(np.argmin(lengths))
    best = minimize_scalar(
        length,
        bounds=(grid[max(near - 1, 0)], grid[min(near + 1, 400)]),
        method="bounded",
        options={"xatol": 1e-13},
    ).fun
    # the search cannot reach below 1e-9 of tail mass, and length is flat at its minimum
    assert b - a <= min(best, lengths[near]) + 1e-7
    assert float(density.cdf(b) - density.cdf(a)) == pytest.approx(level, abs=1e-9)
    central = interval(density, level)
    assert b - a <= central[1] - central[0] + 1e-12


def test_the_shortest_interval_of_a_falling_density_starts_at_its_end():
    density, low = UNIMODAL[3]
    a, b = interval(density, 0.95, "shortest", low)
    assert a == 0.0
    assert b == pytest.approx(stats.halfnorm(scale=0.5).ppf(0.95), abs=1e-8)


def test_shortest_of_a_symmetric_density_is_central():
    density = panel(stats.norm(0.3, 0.2).logpdf, real_line(0, 1), [-1, -0.5, 0, 0.5, 1])
    np.testing.assert_allclose(
        interval(density, 0.9, "shortest"), interval(density, 0.9, "central"), atol=1e-7
    )


@pytest.mark.parametrize(
    ("axis", "points"),
    [
        (half_line(0.37), np.array([0.0, 1e-12, 1e-3, 0.4, 7.0, 1e6])),
        (real_line(-0.8, 0.37), np.array([-1e6, -7.0, -0.8, -0.8 + 1e-12, 0.0, 3.0, 1e6])),
    ],
    ids=["half line", "real line"],
)
def test_coordinate_maps(axis, points):
    u = axis.to_u(points)
    assert ((u >= axis.low) & (u <= axis.high)).all()
    assert (np.diff(u) > 0).all()
    # 1e6 is 3e-7 from the end of u: rounding of u costs 1e-16 / 3e-7 of x
    np.testing.assert_allclose(axis.to_x(u), points, rtol=1e-9, atol=1e-15)
    inside = u[1:-1]
    step = 1e-7 * np.minimum(1 - np.abs(inside), 0.1) + 1e-12
    slope = (axis.to_x(inside + step) - axis.to_x(inside - step)) / (2 * step)
    np.testing.assert_allclose(axis.slope(inside), slope, rtol=1e-3)


def test_coefficients_reproduce_polynomials():
    x, _ = np.polynomial.legendre.leggauss(6)
    coefficients = np.array([0.3, -1.0, 0.0, 2.0, 0.5, -0.25])
    values = np.polynomial.legendre.legval(x, coefficients)
    np.testing.assert_allclose(to_coefficients(6) @ values, coefficients, atol=1e-14)


def test_a_quantile_is_a_root_of_the_cdf_found_independently():
    found = brentq(lambda x: float(MIXTURE.cdf(x)) - 0.9, -10, 10, xtol=1e-13)
    assert MIXTURE.quantile(0.9) == pytest.approx(found, abs=1e-11)


@pytest.mark.parametrize("level", [0.0, 1.0, 1.5, -0.1, 95, float("nan")])
def test_a_level_that_is_no_probability_is_refused(level):
    with pytest.raises(ValueError, match="level"):
        interval(MIXTURE, level)


def test_quantiles_of_a_mixture_whose_sd_lies_in_its_tail():
    """SDs as under a log-Student-t prior: the largest, of next to no weight, is 1e67 of the bulk's.

    The share below the quantile is summed afresh; 1e-12 is what a sum of 400 terms rounds to.
    """
    log_sd = np.linspace(-25.0, 155.0, 400)
    weights = stats.t.pdf(log_sd, 5, -1.7, 1.3)
    mixture = NormalMixture.build(np.full(400, 0.2), np.exp(log_sd), weights)
    assert mixture.sd > 1e50
    for p in (1e-6, 0.025, 0.3, 0.5, 0.8, 0.975, 0.99999):
        x = mixture.quantile(p)
        share = (stats.norm.cdf((x - 0.2) / np.exp(log_sd)) * weights).sum() / weights.sum()
        assert share == pytest.approx(p, abs=1e-12)
    low, high = interval(mixture, 0.95, "shortest")
    assert (low, high) == pytest.approx(interval(mixture, 0.95, "central"), rel=1e-6)
