"""Adaptive quadrature on integrals known in closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from scipy.special import gammaln

from nssi_meta.inference.adaptive import integrate
from nssi_meta.inference.densities import half_line, real_line

HALF = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
LINE = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])


@pytest.mark.parametrize("scale", [1e-4, 1e-2, 1.0, 1e2, 1e4])
@pytest.mark.parametrize("offset", [-5000.0, 0.0, 5000.0])
def test_a_gamma_integral_whatever_the_unit_and_the_constant(scale, offset):
    """Integral of x^3 e^(-x/scale) e^offset, on an axis made for scale 1."""
    grid = integrate(lambda x: 3 * np.log(x) - x / scale + offset, [half_line(1.0)], [HALF])
    expected = gammaln(4) + 4 * np.log(scale) + offset
    assert grid.log_integral == pytest.approx(expected, abs=1e-9)
    assert grid.weight.sum() == pytest.approx(1.0, abs=1e-13)
    density = grid.marginal(0)
    assert density.mean == pytest.approx(4 * scale, rel=1e-9)
    assert density.sd == pytest.approx(2 * scale, rel=1e-9)


def test_a_correlated_normal_in_two_dimensions():
    cov = np.array([[0.04, 0.03], [0.03, 0.09]])
    normal = stats.multivariate_normal([0.3, -0.2], cov)

    def density(x, y):
        return normal.logpdf(np.stack(np.broadcast_arrays(x[:, None], y[None, :]), axis=-1))

    grid = integrate(density, [real_line(0, 0.5), real_line(0, 0.5)], [LINE, LINE], tol=1e-8)
    assert grid.log_integral == pytest.approx(0.0, abs=1e-9)
    for axis, (mean, sd) in enumerate([(0.3, 0.2), (-0.2, 0.3)]):
        marginal = grid.marginal(axis)
        assert marginal.mean == pytest.approx(mean, abs=1e-9)
        assert marginal.sd == pytest.approx(sd, rel=1e-8)
        assert float(marginal.cdf(mean + sd)) == pytest.approx(stats.norm.cdf(1), abs=1e-7)


def test_three_dimensions():
    def density(x, s, t):
        x, s, t = x[:, None, None], s[None, :, None], t[None, None, :]
        return stats.norm.logpdf(x, 0.2, 0.3) + stats.expon.logpdf(s) + stats.gamma.logpdf(t, 3)

    grid = integrate(
        density, [real_line(0, 1), half_line(1), half_line(1)], [LINE, HALF, HALF], n=8, tol=1e-3
    )
    assert grid.log_integral == pytest.approx(0.0, abs=1e-5)
    assert grid.marginal(2).mean == pytest.approx(3.0, rel=1e-5)


def test_two_modes():
    # both wide enough for the first panels to see; a mode between all nodes stays unseen
    def density(x):
        return np.logaddexp(stats.norm.logpdf(x, -1, 0.3), stats.norm.logpdf(x, 2, 0.2))

    grid = integrate(density, [real_line(0, 1)], [LINE])
    assert np.exp(grid.log_integral) == pytest.approx(2.0, rel=1e-9)
    assert grid.marginal(0).mean == pytest.approx(0.5, abs=1e-8)


def test_a_step_between_the_nodes_is_closed_in_on():
    """A jump that is no panel edge: halving goes on until less than `tol` hangs on it."""
    edge = 1 / 3
    grid = integrate(lambda x: np.where(x < edge, 0.0, -np.inf), [half_line(1.0)], [HALF], tol=1e-6)
    assert np.exp(grid.log_integral) == pytest.approx(edge, rel=1e-5)


@pytest.mark.parametrize(
    "density",
    [
        lambda x: np.full_like(x, np.nan),
        lambda x: np.full_like(x, -np.inf),
        lambda x: np.where(x > 1, np.nan, -x),
    ],
    ids=["nan", "zero everywhere", "nan in places"],
)
def test_what_is_no_density_is_refused(density):
    with pytest.raises(FloatingPointError, match="its log density is not finite"):
        integrate(density, [half_line(1.0)], [HALF])


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_what_does_not_integrate_is_refused(power):
    """(1 + x)^-power with power <= 1 has no integral on the half line."""
    with pytest.raises(FloatingPointError, match="could not be resolved"):
        integrate(lambda x: -power * np.log1p(x), [half_line(1.0)], [HALF])


def test_one_axis_is_evaluated_once_in_every_place():
    """Panels that stay are not asked for again: a likelihood of 100,000 studies is dear."""
    seen = []

    def log_density(x):
        seen.extend(x.tolist())
        return -0.5 * ((x - 0.3) / 1e-4) ** 2

    grid = integrate(log_density, [half_line(1.0)], [np.array([0.0, 0.5, 1.0])])
    assert len(seen) == len(set(seen))
    assert set(grid.x[0].tolist()) <= set(seen)
    assert grid.log_integral == pytest.approx(0.5 * np.log(2 * np.pi) + np.log(1e-4), abs=1e-8)


def test_two_axes_are_evaluated_once_and_not_where_nothing_is():
    """A needle on a wide plane: panels that stay are kept, halves of empty panels left out."""
    seen = []

    def log_density(x, y):
        a, b = x[:, None], y[None, :]
        seen.extend((float(i), float(j)) for i in x for j in y)
        return -0.5 * ((a - 0.3) / 0.002) ** 2 - 0.5 * ((b - 0.5 - a) / 0.005) ** 2

    grid = integrate(log_density, [real_line(0, 0.5), real_line(0, 0.5)], [LINE, LINE], tol=1e-8)
    assert len(seen) == len(set(seen))
    # Rounds before the last included, and panels where the needle could hide from the first nodes.
    assert len(seen) < 1.2 * grid.weight.size
    assert grid.log_integral == pytest.approx(np.log(2 * np.pi * 0.002 * 0.005), abs=1e-8)
    assert grid.marginal(1).mean == pytest.approx(0.8, abs=1e-8)
    assert grid.marginal(1).sd == pytest.approx(np.hypot(0.002, 0.005), rel=1e-7)


def test_a_log_density_of_a_million_is_resolved_to_its_rounding():
    noise = np.random.default_rng(1)

    def log_density(x):
        value = -0.5 * ((x - 0.3) / 0.1) ** 2 + 1e7
        return value + noise.normal(0, 1e-9, x.shape)

    grid = integrate(log_density, [half_line(1.0)], [np.linspace(0, 1, 5)])
    assert 1e-10 < grid.error < 1e-7


def test_a_needle_between_the_nodes_of_one_axis_is_not_lost():
    """Where y is small x is a needle that no first node sees; another y has made x's panels halve.

    Closed form: mass is uniform in y once x is integrated out.
    """

    def log_density(x, y):
        sd = 1e-4 * np.exp(12 * y[None, :])
        return -0.5 * (x[:, None] / sd) ** 2 - np.log(sd) - 0.5 * np.log(2 * np.pi)

    unit = half_line(1.0)
    y_axis = replace(unit, to_x=lambda u: u, to_u=lambda x: x, slope=lambda u: np.ones_like(u))
    edges = [np.array([-1.0, -0.5, 0.2, 0.6, 1.0]), np.array([0.0, 0.3, 0.6, 1.0])]
    grid = integrate(log_density, [real_line(0.0, 30.0), y_axis], edges, tol=1e-6)
    assert grid.log_integral == pytest.approx(0.0, abs=1e-6)
    assert grid.marginal(1).mean == pytest.approx(0.5, abs=1e-6)
