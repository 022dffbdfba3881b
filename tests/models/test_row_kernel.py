"""Compiled log densities of single rows and their slopes, against scipy and numpy's likelihood."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import special, stats
from scipy.special import gammaln, logsumexp

from nssi_meta.models.likelihood import log_interval
from nssi_meta.models.robust import RULE, STEP, WIDEN, log_mixing, mixing_constant
from nssi_meta.models.row_kernel import (
    BEYOND,
    EXACT,
    UNSIGNED,
    WITHIN,
    mixed_rows,
    row,
    tail,
)

#: form, a, b of rows near and far from a mean of 0.2 and a variance of 0.3.
ROWS = [
    (EXACT, 0.4, 0.0), (EXACT, -7.0, 0.0), (UNSIGNED, 0.5, 0.0), (UNSIGNED, 6.0, 0.0),
    (UNSIGNED, 0.0, 0.0), (BEYOND, 0.6, 1.0), (BEYOND, 0.6, -1.0), (BEYOND, 19.0, 1.0),
    (BEYOND, -25.0, -1.0), (WITHIN, -0.3, 0.5), (WITHIN, 0.1, 0.1001), (WITHIN, 9.0, 9.5),
    (WITHIN, -30.0, -20.0), (WITHIN, -40.0, 50.0),
]  # fmt: skip


def log_density(form, a, b, mean, variance):
    """The same by scipy."""
    sd = np.sqrt(variance)
    if form == EXACT:
        return stats.norm.logpdf(a, mean, sd)
    if form == UNSIGNED:
        return np.logaddexp(stats.norm.logpdf(a, mean, sd), stats.norm.logpdf(-a, mean, sd))
    if form == BEYOND:
        return special.log_ndtr(b * (mean - a) / sd)
    return log_interval(np.asarray((a - mean) / sd), np.asarray((b - mean) / sd))


def test_the_tail_at_any_depth():
    z = np.r_[
        -1e8,
        -1e4,
        -300,
        -38,
        np.linspace(-30.1, -29.9, 9),
        -10,
        -3,
        -1,
        -1e-9,
        0,
        1e-9,
        0.3,
        3,
        8,
        40,
        1e5,
    ]
    found = np.array([tail(x) for x in z])
    np.testing.assert_allclose(found[:, 0], special.log_ndtr(z), rtol=1e-14, atol=1e-15)
    # phi / Phi = sqrt(2 / pi) / erfcx(-z / sqrt 2); erfcx overflows above 37, where it is 0.
    with np.errstate(over="ignore", divide="ignore"):
        h = np.sqrt(2 / np.pi) / special.erfcx(-z / np.sqrt(2))
    np.testing.assert_allclose(found[:, 1], h, rtol=2e-13, atol=1e-14)
    near = z > -30.5  # a difference of two numbers of 30: 1e-9 of it
    np.testing.assert_allclose(found[near, 2], (h + z)[near], rtol=1e-9)
    # Far out h + z is 1 / |z| - 2 / |z|^3, a difference of two numbers of 1e8.
    far = z < -1e3
    np.testing.assert_allclose(found[far, 2], 1 / -z[far] - 2 / (-z[far]) ** 3, rtol=1e-11)


@pytest.mark.parametrize(("form", "a", "b"), ROWS)
def test_a_row_is_scipys_density(form, a, b):
    value, *_ = row(form, a, b, 0.2, 0.3)
    # A narrow interval is a difference of two logs: 1e-12 of them over its width.
    assert value == pytest.approx(log_density(form, a, b, 0.2, 0.3), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("form", "a", "b"), ROWS)
def test_slopes_are_those_of_the_value(form, a, b):
    """Central differences of scipy's density: step^2 and rounding over the step, 1e-7 of both."""
    _, by_mean, by_variance = row(form, a, b, 0.2, 0.3)
    step = 1e-5 if (form, a) == (WITHIN, 0.1) else 1e-6

    def slope(by):
        ends = [log_density(form, a, b, 0.2 + s * by[0], 0.3 + s * by[1]) for s in (step, -step)]
        return float(ends[0] - ends[1]) / (2 * step)

    assert by_mean == pytest.approx(slope((1, 0)), rel=1e-6, abs=1e-6)
    assert by_variance == pytest.approx(slope((0, 1)), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("form", range(4))
@pytest.mark.parametrize("variance", [1e-12, 1e-4, 1.0, 1e12])
def test_finite_however_far(form, variance):
    for mean, low, wide in itertools.product(
        (-1e6, -30.0, 0.0, 40.0, 1e5), (-50.0, 0.2), (0.1, 1e3)
    ):
        b = 1.0 if form == BEYOND else low + wide
        assert np.isfinite(
            row(form, abs(low) if form == UNSIGNED else low, b, mean, variance)
        ).all()


def mixture(form, a, b, mean, variance_at, nu):
    """log of the mean over lambda's nodes, all of them."""
    log_weight, inflate = log_mixing(nu)
    values = [log_density(form, a, b, mean, variance_at(x)) for x in inflate]
    return logsumexp(log_weight + np.array(values))


@pytest.mark.parametrize("nu", [1.02, 3.0, 20.0, 1e4])
@pytest.mark.parametrize("tau", [0.02, 0.3, 5.0])
def test_the_mean_over_lambda(nu, tau):
    """Nodes that do not count are left out: e^-18 = 2e-8 a row."""
    rows = [r for r in ROWS if r != (WITHIN, -40.0, 50.0)]
    form, a, b = (np.array(x, dtype=float) for x in zip(*rows, strict=True))
    form[3], v, mean = -1.0, np.linspace(0.02, 0.4, len(form)), np.linspace(0.0, 0.4, len(form))

    def at(point):
        m, more, (tau2, nu) = point[: len(v)], point[len(v) : -2], point[-2:]
        constant = mixing_constant(nu, np.log, gammaln)
        return mixed_rows(form, a, b, more, m, tau2, nu, constant)

    point = np.array([*mean, *(v + 0.01), tau**2, nu])
    total, d_mean, d_v, d_tau2, d_nu, d_constant = at(point)
    wanted = sum(
        mixture(f, x, y, m, lambda inflate, w=w: w + tau**2 * inflate + 0.01, nu)
        for f, x, y, w, m in zip(form, a, b, v, mean, strict=True)
        if f >= 0
    )
    assert total == pytest.approx(wanted, abs=2e-8 * len(form), rel=1e-12)
    assert d_constant == len(form) - 1
    half = nu / 2
    by_constant = 0.5 * (np.log(half) + 1.0 - special.digamma(half))
    slopes = [*d_mean, *d_v, d_tau2, d_nu + d_constant * by_constant]
    for i, slope in enumerate(slopes):
        step = 1e-5 * max(point[i], 0.1)
        ends = [at(point + s * np.eye(len(point))[i])[0] for s in (step, -step)]
        assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=2e-5, abs=2e-6)


def test_a_probability_below_the_smallest_number_has_a_log():
    """45 standard errors away with next to no tau: every term of the sum underflows."""
    one = np.array([float(BEYOND)]), np.array([9.0]), np.array([1.0]), np.array([0.04])
    constant = mixing_constant(1e6, np.log, gammaln)
    total, d_mean, d_v, *rest = mixed_rows(*one, np.zeros(1), 1e-12, 1e6, constant)
    # lambda's distribution is 1 but for a part in 1e6.
    assert total == pytest.approx(special.log_ndtr(-45.0), abs=1e-6)
    assert d_mean[0] == pytest.approx(45.0 / 0.2, rel=1e-3)
    assert np.isfinite([*d_v, *rest]).all()


@pytest.mark.parametrize("bound", [False, True])
def test_the_rule_is_fine_enough(bound):
    """Below 1e-6 against steps of a ninth, over all that `RULE` is for, in standard errors."""
    fine = np.arange(-3000, 600.0)
    for nu in (1.0, 1.02, 1.5, 2.0, 3.0, 5.0, 12.0, 20.0, 35.0, 60.0, 120.0, 1e4, 1e6):
        values = []
        for nodes, step in ((RULE[0], RULE[2]), (fine, np.full(len(fine), 0.1))):
            unit = STEP if len(nodes) < 1000 else 0.1
            s = nodes * unit / np.sqrt(0.5 * (nu + WIDEN))
            weight = mixing_constant(nu, np.log, gammaln) + 0.5 * nu * (s - np.exp(s))
            weight = weight - 0.5 * np.log(0.5 * (nu + WIDEN)) + np.log(step)
            tau, far = np.meshgrid([0.01, 0.03, 0.1, 0.3, 1, 3, 10, 100], [-20, 0, 1, 3, 6, 10, 20])
            sd = np.sqrt(1.0 + tau[..., None] ** 2 * np.exp(-s))
            z = far[..., None] / sd
            density = special.log_ndtr(-z) if bound else stats.norm.logpdf(z) - np.log(sd)
            values.append(logsumexp(weight + density, axis=-1))
        assert np.abs(values[0] - values[1]).max() < 1e-6, nu
    log_weight, _ = log_mixing(np.array([[1e6]]))
    assert logsumexp(log_weight) == pytest.approx(0.0, abs=1e-8)
