"""Log densities of rows that stand alone with their slopes, as compiled loops.

What `likelihood.closed_densities` says of one row of each form, and its derivatives by the row's
mean and variance, written out: a sampler's time went into calls of array functions over a dozen
rows. `mixed_rows` averages them over lambda's nodes (`robust`). Imported where a model is built.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from nssi_meta.models.blocks import Floats
from nssi_meta.models.likelihood import LOG_2PI
from nssi_meta.models.robust import RULE, STEP, WIDEN, left_reach

#: Division by 0 gives infinity as in numpy, where plain Python would raise an error.
compiled = numba.njit(error_model="numpy")

_ROOT_HALF = math.sqrt(0.5)
_DENSITY_0 = 1.0 / math.sqrt(2 * math.pi)
#: Below this many standard deviations the tail is its asymptotic series, to 2e-14 of itself.
_FAR = -30.0
_NODES, _LOG_STEPS = RULE[0], RULE[1]
#: Probabilities smaller than this are summed by their logarithms.
_UNDERFLOW = 1e-280
EXACT, UNSIGNED, BEYOND, WITHIN = range(4)


@compiled
def tail(z: float) -> tuple[float, float, float]:
    """log Phi(z) and h = phi(z) / Phi(z) to 2e-13, h + z to 2e-10 of itself, at any z."""
    if z > 0:
        above = 0.5 * math.erfc(z * _ROOT_HALF)
        h = _DENSITY_0 * math.exp(-0.5 * z * z) / (1.0 - above)
        return math.log1p(-above), h, h + z
    if z > _FAR:
        p = 0.5 * math.erfc(-z * _ROOT_HALF)
        h = _DENSITY_0 * math.exp(-0.5 * z * z) / p
        return math.log(p), h, h + z
    x = 1.0 / (z * z)
    less = x * (1.0 - 3 * x * (1.0 - 5 * x * (1.0 - 7 * x * (1.0 - 9 * x))))
    h = -z / (1.0 - less)
    return -0.5 * (z * z + LOG_2PI) - math.log(-z) + math.log1p(-less), h, h * less


@compiled
def _log1mexp(x: float) -> float:
    """log(1 - exp(x)) for x < 0 (Mächler 2012)."""
    return math.log(-math.expm1(x)) if x > -0.6931471805599453 else math.log1p(-math.exp(x))


@compiled
def row(
    form: float, a: float, b: float, mean: float, variance: float
) -> tuple[float, float, float]:
    """Log density of a row, and its slopes by its mean and variance.

    `a` is the effect, size or bound, `b` the side of a bound (1 above it) or the upper end of the
    interval that begins at `a`.
    """
    if form == EXACT:
        r = (a - mean) / variance
        value = -0.5 * (LOG_2PI + math.log(variance) + (a - mean) * r)
        return value, r, 0.5 * (r * r - 1.0 / variance)
    if form == UNSIGNED:
        r, s = (a - mean) / variance, (-a - mean) / variance
        # By how much the one sign's log density is above the other's.
        more = 2.0 * a * mean / variance
        share = 1.0 / (1.0 + math.exp(-more)) if more > 0 else 1.0 - 1.0 / (1.0 + math.exp(more))
        nearer = min((a - mean) * r, -(a + mean) * s)
        value = -0.5 * (LOG_2PI + math.log(variance) + nearer) + math.log1p(math.exp(-abs(more)))
        square = share * r * r + (1.0 - share) * s * s
        return value, share * r + (1.0 - share) * s, 0.5 * (square - 1.0 / variance)
    sd = math.sqrt(variance)
    if form == BEYOND:
        z = b * (mean - a) / sd
        value, h, _ = tail(z)
        return value, b * h / sd, -0.5 * h * z / variance
    low, high = (a - mean) / sd, (b - mean) / sd
    flip = low + high > 0
    if flip:  # to the lower tail, where Phi keeps its relative precision
        low, high = -high, -low
    log_low, h_low, _ = tail(low)
    log_high, h_high, _ = tail(high)
    less = min(log_low - log_high, -1e-300)
    value = _log1mexp(less)
    h_high = h_high * math.exp(-value)
    h_low = h_low * math.exp(less - value)
    slope = (h_low - h_high) / sd
    by_variance = 0.5 * (h_low * low - h_high * high) / variance
    return log_high + value, -slope if flip else slope, by_variance


@compiled
def plain_rows(
    form: Floats,
    a: Floats,
    b: Floats,
    mean: Floats,
    variance: Floats,
    d_mean: Floats,
    d_variance: Floats,
) -> float:
    """Sum of the rows' log densities; slopes are added to `d_mean` and `d_variance` (k,).

    Rows whose form is none of the four (-1) are left out.
    """
    total = 0.0
    for i in range(len(form)):
        if form[i] >= 0:
            value, by_mean, by_variance = row(form[i], a[i], b[i], mean[i], variance[i])
            total += value
            d_mean[i] += by_mean
            d_variance[i] += by_variance
    return total


@compiled
def _log(x: float) -> float:
    return math.log(x)


_left_reach = compiled(left_reach)


@compiled
def _distance(form: float, a: float, b: float, mean: float) -> float:
    """How far a row is from its mean, for `left_reach`.

    The log of a probability falls at most as fast as twice that of a density at the nearest end.
    """
    if form == EXACT:
        return abs(a - mean)
    if form == UNSIGNED:
        return abs(a) + abs(mean)
    if form == BEYOND:
        return math.sqrt(2.0) * b * (a - mean)
    return math.sqrt(2.0) * (abs(mean - 0.5 * (a + b)) - 0.5 * (b - a))


@compiled
def _plainly(
    form: float,
    a: float,
    b: float,
    mean: float,
    variance: Floats,
    log_weight: Floats,
    first: int,
    p: Floats,
    by_mean: Floats,
    by_variance: Floats,
) -> float:
    """`_at_nodes` by `row`, whatever the densities are."""
    top = -np.inf
    for m in range(first, len(variance)):
        value, by_mean[m], by_variance[m] = row(form, a, b, mean, variance[m])
        p[m] = log_weight[m] + value
        top = max(top, p[m])
    for m in range(first, len(variance)):
        p[m] = math.exp(p[m] - top)
        by_mean[m] *= p[m]
        by_variance[m] *= p[m]
    return top


@compiled
def _at_nodes(
    form: float,
    a: float,
    b: float,
    mean: float,
    variance: Floats,
    log_weight: Floats,
    weight: Floats,
    first: int,
    p: Floats,
    by_mean: Floats,
    by_variance: Floats,
) -> float:
    """The densities of a row at lambda's nodes times their weights and a factor, and their slopes.

    Returns the logarithm of what they are to be multiplied by. Few logarithms and roots, since the
    sampler spends its time here.
    """
    n = len(variance)
    if form == EXACT:
        r, top = a - mean, -np.inf
        for m in range(first, n):
            p[m] = log_weight[m] - 0.5 * r * r / variance[m]
            top = max(top, p[m])
        for m in range(first, n):
            inverse = 1.0 / variance[m]
            p[m] = math.exp(p[m] - top) * math.sqrt(inverse)
            by_mean[m] = p[m] * r * inverse
            by_variance[m] = 0.5 * (by_mean[m] * r - p[m]) * inverse
        return top - 0.5 * LOG_2PI
    whole = 0.0
    if form == BEYOND:
        for m in range(first, n):
            inverse = 1.0 / variance[m]
            scaled = b * math.sqrt(inverse)
            z = (mean - a) * scaled
            p[m] = 0.5 * weight[m] * math.erfc(-z * _ROOT_HALF)
            density = weight[m] * _DENSITY_0 * math.exp(-0.5 * z * z)
            by_mean[m] = density * scaled
            by_variance[m] = -0.5 * density * z * inverse
            whole += p[m]
    elif form == WITHIN:
        # To the lower tail, where Phi keeps its relative precision.
        flip = -1.0 if a + b > 2.0 * mean else 1.0
        start, end = (-b, -a) if flip < 0 else (a, b)
        for m in range(first, n):
            inverse = 1.0 / variance[m]
            scaled = math.sqrt(inverse)
            low, high = (start - flip * mean) * scaled, (end - flip * mean) * scaled
            p[m] = math.erfc(-high * _ROOT_HALF) - math.erfc(-low * _ROOT_HALF)
            p[m] *= 0.5 * weight[m]
            at_low = weight[m] * _DENSITY_0 * math.exp(-0.5 * low * low)
            at_high = weight[m] * _DENSITY_0 * math.exp(-0.5 * high * high)
            by_mean[m] = flip * (at_low - at_high) * scaled
            by_variance[m] = 0.5 * (at_low * low - at_high * high) * inverse
            whole += p[m]
    if whole > _UNDERFLOW:
        return 0.0
    return _plainly(form, a, b, mean, variance, log_weight, first, p, by_mean, by_variance)


@compiled
def mixed_rows(
    form: Floats,
    a: Floats,
    b: Floats,
    v: Floats,
    mean: Floats,
    tau2: float,
    omega2: float,
    nu: float,
    constant: float,
) -> tuple[float, Floats, float, float, float, float]:
    """Sum over rows of the log of their densities' mean over lambda's nodes, and its slopes.

    `form` to `mean` (k,); `constant` is that of lambda's distribution, `robust.mixing_constant`.
    Slopes by `mean` and what follows it. The weights are those of `robust.log_mixing`; nodes that
    do not count are left out (`left_reach`), and rows whose form is none of the four.
    """
    n, k, half, square = len(_NODES), len(mean), 0.5 * nu, 0.5 * (nu + WIDEN)
    d_mean, d_tau2, d_omega2, d_nu, d_constant, far = np.zeros(k), 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(k):
        if form[i] >= 0:
            far = max(far, _distance(form[i], a[i], b[i], mean[i]))
            d_constant += 1.0
    reach, first = _left_reach(nu, tau2, far * far, _log), 0
    while first < n - 1 and _NODES[first] < -reach:
        first += 1
    if d_constant == 0:
        first = n
    # log lambda at the nodes, the log of their weights and its slope by nu.
    s, log_weight, by_nu, weight = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    inflate, variance, p = np.empty(n), np.empty(n), np.empty(n)
    by_mean, by_variance = np.empty(n), np.empty(n)
    unit = STEP / math.sqrt(square)
    for m in range(first, n):
        s[m] = _NODES[m] * unit
        inflate[m] = math.exp(-s[m])
        log_weight[m] = half * (s[m] - 1.0 / inflate[m]) - 0.5 * math.log(square) + _LOG_STEPS[m]
        log_weight[m] += constant
        weight[m] = math.exp(log_weight[m])
        slope = -0.25 * s[m] / square
        by_nu[m] = 0.5 * (s[m] - 1.0 / inflate[m]) + half * (1.0 - 1.0 / inflate[m]) * slope
        by_nu[m] -= 0.25 / square
    total = 0.0
    for i in range(k):
        if form[i] < 0:
            continue
        for m in range(first, n):
            variance[m] = v[i] + tau2 * inflate[m] + omega2
        total += _at_nodes(
            form[i], a[i], b[i], mean[i], variance, log_weight, weight, first,
            p, by_mean, by_variance,
        )  # fmt: skip
        whole = 0.0
        for m in range(first, n):
            whole += p[m]
        total += math.log(whole)
        each = 1.0 / whole
        for m in range(first, n):
            slope = each * by_variance[m]
            d_mean[i] += each * by_mean[m]
            d_omega2 += slope
            d_tau2 += slope * inflate[m]
            # lambda at a node moves with nu.
            d_nu += each * p[m] * by_nu[m] + slope * tau2 * inflate[m] * 0.25 * s[m] / square
    return total, d_mean, d_tau2, d_omega2, d_nu, d_constant
