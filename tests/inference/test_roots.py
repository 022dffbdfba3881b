"""Roots of functions whose roots are known, easy ones and nasty ones."""

from __future__ import annotations

import math

import pytest
from scipy.special import ndtr

from nssi_meta.inference.roots import bracketed_root, rising_root


def normal_excess(mean, sd, p):
    def excess(x):
        z = (x - mean) / sd
        return float(ndtr(z)) - p, math.exp(-z * z / 2) / (sd * math.sqrt(2 * math.pi))

    return excess


@pytest.mark.parametrize("p", [1e-12, 0.025, 0.5, 0.999999])
@pytest.mark.parametrize(("mean", "sd"), [(0.0, 1.0), (1e6, 1e-6), (-3.0, 1e5)])
def test_a_normal_quantile(mean, sd, p):
    from scipy.special import ndtri

    root = rising_root(normal_excess(mean, sd, p), mean - 40 * sd, mean + 40 * sd, mean, 1e-12 * sd)
    # 1 - p near 1 is known to 1e-16 only, which is 2e-11 SD at p = 0.999999.
    assert root == pytest.approx(mean + sd * ndtri(p), abs=1e-10 * sd + 4e-16 * abs(mean))


def test_two_steps_with_a_flat_between_them_where_newton_alone_runs_away():
    def excess(x):
        value = 0.5 * (ndtr((x + 50) / 0.01) + ndtr((x - 50) / 0.01)) - 0.75
        slope = sum(math.exp(-(((x + s) / 0.01) ** 2) / 2) for s in (50, -50)) / 0.05
        return float(value), slope

    assert rising_root(excess, -60.0, 60.0, 0.0, 1e-12) == pytest.approx(50.0, abs=1e-10)


def test_an_end_is_the_root_where_nothing_changes_sign():
    assert rising_root(lambda x: (x + 2, 1.0), -1.0, 1.0, 0.0, 1e-12) == pytest.approx(-1.0)
    assert rising_root(lambda x: (x - 2, 1.0), -1.0, 1.0, 0.0, 1e-12) == pytest.approx(1.0)


def test_a_function_that_is_no_number_is_refused():
    with pytest.raises(FloatingPointError, match="no root"):
        rising_root(lambda x: (math.nan, math.nan), -1.0, 1.0, 0.0, 1e-12)


FUNCTIONS = [
    (lambda x: x**3 - 2, 0.0, 3.0, 2 ** (1 / 3), 1e-12),
    (lambda x: math.exp(x) - 1e-8, -40.0, 5.0, math.log(1e-8), 1e-12),
    (lambda x: -math.tanh(50 * (x - 0.123)), -4.0, 9.0, 0.123, 1e-12),
    # Its ninth power is 1e-36 where x is within 1e-4 of the root: no method sees further.
    (lambda x: (x - 0.3) ** 9, -1.0, 1.5, 0.3, 1e-4),
    (lambda x: math.copysign(1.0, x - 0.77), 0.0, 1.0, 0.77, 1e-12),
]


@pytest.mark.parametrize(("function", "low", "high", "root", "tolerance"), FUNCTIONS)
def test_bracketed_root(function, low, high, root, tolerance):
    assert bracketed_root(function, low, high, 1e-13) == pytest.approx(root, abs=tolerance)


def test_no_change_of_sign_is_an_error():
    with pytest.raises(ValueError, match="no change of sign"):
        bracketed_root(lambda x: x * x + 1, -1.0, 1.0, 1e-12)
