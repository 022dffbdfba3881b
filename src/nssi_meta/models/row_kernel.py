"""Log densities of rows that stand alone with their slopes, as compiled loops.

What `likelihood.closed_terms` says of one row of each form, and its derivatives by the row's
mean and variance, written out: a sampler's time went into calls of array functions over a dozen
rows. `mixed_rows` averages them over lambda's nodes (`robust`). Imported where a model is built.
"""

from __future__ import annotations

import math
from typing import NamedTuple

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


class _Nodes(NamedTuple):
    """lambda's nodes from the first that counts on (n,), and what a row has there.

    1 / lambda is `inflate`, log lambda `s`; weights, their logs and slopes by nu are the same for
    all rows. `p` is a row's density at a node times its weight, but for a factor.
    """

    s: Floats
    inflate: Floats
    weight: Floats
    log_weight: Floats
    by_nu: Floats
    variance: Floats
    p: Floats
    by_mean: Floats
    by_variance: Floats


@compiled
def _nodes(first: int, nu: float, constant: float) -> _Nodes:
    """The nodes from the one of number `first` on."""
    n, half, square = len(_NODES) - first, 0.5 * nu, 0.5 * (nu + WIDEN)
    made = np.empty((9, n))
    at = _Nodes(
        made[0], made[1], made[2], made[3], made[4], made[5], made[6], made[7], made[8]
    )  # fmt: skip
    unit, offset = STEP / math.sqrt(square), constant - 0.5 * math.log(square)
    for m in range(n):
        s = _NODES[first + m] * unit
        inflate = math.exp(-s)
        less = s - 1.0 / inflate
        at.s[m], at.inflate[m] = s, inflate
        at.log_weight[m] = half * less + offset + _LOG_STEPS[first + m]
        at.weight[m] = math.exp(at.log_weight[m])
        at.by_nu[m] = 0.5 * less - 0.25 * (half * (1.0 - 1.0 / inflate) * s + 1.0) / square
    return at


@compiled
def _plainly(form: float, a: float, b: float, mean: float, at: _Nodes) -> float:
    """`_at_nodes` by `row`, whatever the densities are."""
    top = -np.inf
    for m in range(len(at.p)):
        value, at.by_mean[m], at.by_variance[m] = row(form, a, b, mean, at.variance[m])
        at.p[m] = at.log_weight[m] + value
        top = max(top, at.p[m])
    for m in range(len(at.p)):
        at.p[m] = math.exp(at.p[m] - top)
        at.by_mean[m] *= at.p[m]
        at.by_variance[m] *= at.p[m]
    return top


@compiled
def _at_nodes(form: float, a: float, b: float, mean: float, at: _Nodes) -> float:
    """A row's densities at the nodes and their slopes, given its variances there.

    Returns the logarithm of what they are to be multiplied by. Few logarithms and roots, since the
    sampler spends its time here.
    """
    n = len(at.p)
    if form == EXACT:
        r, top = a - mean, -np.inf
        for m in range(n):
            at.p[m] = at.log_weight[m] - 0.5 * r * r / at.variance[m]
            top = max(top, at.p[m])
        for m in range(n):
            inverse = 1.0 / at.variance[m]
            at.p[m] = math.exp(at.p[m] - top) * math.sqrt(inverse)
            at.by_mean[m] = at.p[m] * r * inverse
            at.by_variance[m] = 0.5 * (at.by_mean[m] * r - at.p[m]) * inverse
        return top - 0.5 * LOG_2PI
    whole = 0.0
    if form == BEYOND:
        for m in range(n):
            inverse = 1.0 / at.variance[m]
            scaled = b * math.sqrt(inverse)
            z = (mean - a) * scaled
            at.p[m] = 0.5 * at.weight[m] * math.erfc(-z * _ROOT_HALF)
            density = at.weight[m] * _DENSITY_0 * math.exp(-0.5 * z * z)
            at.by_mean[m] = density * scaled
            at.by_variance[m] = -0.5 * density * z * inverse
            whole += at.p[m]
    elif form == WITHIN:
        # To the lower tail, where Phi keeps its relative precision.
        flip = -1.0 if a + b > 2.0 * mean else 1.0
        start, end = (-b, -a) if flip < 0 else (a, b)
        for m in range(n):
            inverse = 1.0 / at.variance[m]
            scaled = math.sqrt(inverse)
            low, high = (start - flip * mean) * scaled, (end - flip * mean) * scaled
            at.p[m] = math.erfc(-high * _ROOT_HALF) - math.erfc(-low * _ROOT_HALF)
            at.p[m] *= 0.5 * at.weight[m]
            at_low = at.weight[m] * _DENSITY_0 * math.exp(-0.5 * low * low)
            at_high = at.weight[m] * _DENSITY_0 * math.exp(-0.5 * high * high)
            at.by_mean[m] = flip * (at_low - at_high) * scaled
            at.by_variance[m] = 0.5 * (at_low * low - at_high * high) * inverse
            whole += at.p[m]
    return 0.0 if whole > _UNDERFLOW else _plainly(form, a, b, mean, at)


@compiled
def mixed_rows(
    form: Floats,
    a: Floats,
    b: Floats,
    v: Floats,
    mean: Floats,
    tau2: float,
    nu: float,
    constant: float,
) -> tuple[float, Floats, Floats, float, float, float]:
    """Sum over rows of the log of their densities' mean over lambda's nodes, and its slopes.

    `form` to `mean` (k,), of which `v` is the variance beyond tau^2 / lambda; `constant` is that of
    lambda's distribution, `robust.mixing_constant`. Slopes by `mean`, `v`, `tau2`, `nu` and
    `constant`. The weights are those of `robust.log_mixing`; nodes that do not count are left out
    (`left_reach`), and rows whose form is none of the four.
    """
    k, far = len(mean), 0.0
    d_mean, d_v = np.zeros(k), np.zeros(k)
    total, d_tau2, d_nu, d_constant = 0.0, 0.0, 0.0, 0.0
    for i in range(k):
        if form[i] >= 0:
            far = max(far, _distance(form[i], a[i], b[i], mean[i]))
            d_constant += 1.0
    if d_constant == 0:
        return total, d_mean, d_v, d_tau2, d_nu, d_constant
    reach, first = _left_reach(nu, tau2, far * far), 0
    while first < len(_NODES) - 1 and _NODES[first] < -reach:
        first += 1
    at = _nodes(first, nu, constant)
    moves = 0.25 * tau2 / (0.5 * (nu + WIDEN))  # lambda at a node moves with nu
    for i in range(k):
        if form[i] < 0:
            continue
        for m in range(len(at.p)):
            at.variance[m] = v[i] + tau2 * at.inflate[m]
        total += _at_nodes(form[i], a[i], b[i], mean[i], at)
        whole = 0.0
        for m in range(len(at.p)):
            whole += at.p[m]
        total += math.log(whole)
        by_mean, by_v, by_tau2, by_nu = 0.0, 0.0, 0.0, 0.0
        for m in range(len(at.p)):
            slope = at.by_variance[m] * at.inflate[m]
            by_mean += at.by_mean[m]
            by_v += at.by_variance[m]
            by_tau2 += slope
            by_nu += at.p[m] * at.by_nu[m] + slope * moves * at.s[m]
        d_mean[i], d_v[i] = by_mean / whole, by_v / whole
        d_tau2 += by_tau2 / whole
        d_nu += by_nu / whole
    return total, d_mean, d_v, d_tau2, d_nu, d_constant
