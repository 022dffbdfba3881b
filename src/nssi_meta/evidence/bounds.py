"""Evidence that only says in which interval an estimate fell: critical values, probabilities.

A study that prints "p < alpha, higher" or "not significant" with its group sizes says on which
side of a critical value its estimate lies. These are the critical values on the effect scale, the
sampling variance there, and the probability of an interval under a true effect.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_ndtr, ndtr, ndtri, stdtrit

from nssi_meta.evidence.escalc_common import Array, hedges_j


def critical_g(p: ArrayLike, n1: ArrayLike, n2: ArrayLike) -> tuple[Array, Array]:
    """Hedges g at which two groups just reach two-sided `p`, and the sampling variance there.

    c = J t_{1-p/2, n1+n2-2} sqrt(1/n1+1/n2); variance 1/n1 + 1/n2 + c^2/(2(n1+n2)).
    """
    p, n1, n2 = (np.asarray(x, dtype=float) for x in (p, n1, n2))
    df, base = n1 + n2 - 2, 1 / n1 + 1 / n2
    c = -hedges_j(df) * stdtrit(df, p / 2) * np.sqrt(base)
    return np.asarray(c), np.asarray(base + c**2 / (2 * (n1 + n2)))


def critical_z(p: ArrayLike, n: ArrayLike) -> tuple[Array, Array]:
    """Fisher z of the correlation of n pairs that just reaches two-sided `p`; variance 1/(n-3).

    The critical correlation comes from t with n-2 degrees of freedom.
    """
    p, n = (np.asarray(x, dtype=float) for x in (p, n))
    t = -stdtrit(n - 2, p / 2)
    # atanh(t / sqrt(t^2 + df)) = asinh(t / sqrt(df))
    return np.asarray(np.arcsinh(t / np.sqrt(n - 2))), np.asarray(1 / (n - 3))


def critical_log_or(p: ArrayLike, n1: ArrayLike, n2: ArrayLike) -> tuple[Array, Array]:
    """Log odds ratio that just reaches two-sided `p`, approximated from group sizes alone.

    Standard error (pi/sqrt(3)) sqrt(1/n1+1/n2), that of d carried to the logistic scale: right for
    outcomes near one half, too small for rare ones.
    """
    p, n1, n2 = (np.asarray(x, dtype=float) for x in (p, n1, n2))
    vi = np.pi**2 / 3 * (1 / n1 + 1 / n2)
    return np.asarray(-ndtri(p / 2) * np.sqrt(vi)), np.asarray(vi)


def critical_d_within(p: ArrayLike, n: ArrayLike) -> tuple[Array, Array]:
    """Standardised mean change of n people that just reaches two-sided `p` in a paired t-test.

    c = J(n-1) t_{1-p/2, n-1} / sqrt(n); variance 1/n + c^2/(2n).
    """
    p, n = (np.asarray(x, dtype=float) for x in (p, n))
    c = -hedges_j(n - 1) * stdtrit(n - 1, p / 2) / np.sqrt(n)
    return np.asarray(c), np.asarray(1 / n + c**2 / (2 * n))


def interval_probability(lower: ArrayLike, upper: ArrayLike, mu: ArrayLike, sd: ArrayLike) -> Array:
    """Pr(lower < y < upper) for y ~ N(mu, sd^2); limits may be infinite."""
    return np.asarray(np.exp(log_interval_probability(lower, upper, mu, sd)))


def log_interval_probability(
    lower: ArrayLike, upper: ArrayLike, mu: ArrayLike, sd: ArrayLike
) -> Array:
    """log Pr(lower < y < upper) for y ~ N(mu, sd^2), without cancellation in either tail."""
    arrays = (np.asarray(x, dtype=float) for x in (lower, upper, mu, sd))
    lower, upper, mu, sd = np.broadcast_arrays(*arrays)
    a, b = (lower - mu) / sd, (upper - mu) / sd
    # Mirror intervals on the right, so that both limits are measured in the lower tail.
    right = a > 0
    a, b = np.where(right, -b, a), np.where(right, -a, b)
    with np.errstate(divide="ignore", invalid="ignore"):
        high, low = log_ndtr(b), log_ndtr(a)
        tail = high + np.log1p(-np.exp(low - high))
        # An interval about the mean: one minus both tails is the accurate form.
        about = np.log1p(-(ndtr(a) + ndtr(-b)))
    middle = (a <= 0) & (b >= 0)
    return np.asarray(np.where(middle & (ndtr(a) + ndtr(-b) < 0.5), about, tail))
