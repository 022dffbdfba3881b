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
from nssi_meta.models.robust import LEFT_OUT, RULE, STEP, WIDEN, fall

#: Division by 0 gives infinity as in numpy, where plain Python would raise an error.
compiled = numba.njit(error_model="numpy")

_ROOT_HALF = math.sqrt(0.5)
_DENSITY_0 = 1.0 / math.sqrt(2 * math.pi)
#: Below this many standard deviations the tail is its asymptotic series, to 2e-14 of itself.
_FAR = -30.0
_NODES, _LOG_STEPS = RULE[0], RULE[1]
_ONE = int(np.flatnonzero(RULE[0] == 0)[0])  # where lambda is 1
#: Probabilities smaller than this are summed by their logarithms.
_UNDERFLOW = 1e-280
EXACT, UNSIGNED, BEYOND, WITHIN = range(4)


@compiled
def expected(coef: Floats, X: Floats) -> Floats:
    """coef' X (k,)."""
    out = np.zeros(X.shape[1])
    for j in range(len(coef)):
        for i in range(len(out)):
            out[i] += coef[j] * X[j, i]
    return out


@compiled
def by_coef(d_mean: Floats, X: Floats, d_coef: Floats) -> None:
    """Slopes (p,) of what has slopes `d_mean` by coef' X, added to `d_coef`."""
    for j in range(len(d_coef)):
        for i in range(len(d_mean)):
            d_coef[j] += X[j, i] * d_mean[i]


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


_fall = compiled(fall)


@compiled
def _distance(form: float, a: float, b: float, mean: float) -> float:
    """How far a row is from its mean, for `robust.fall`.

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
    """lambda's nodes that count for any row, from the largest lambda on, and what a row has there.

    1 / lambda is `inflate`, log lambda `s`; weights, their logs and slopes by nu are the same for
    all rows. Rows whose squared distance from their mean is below `least` do without a node. `p`
    is a row's density at a node times its weight, but for a factor, `inverse` that of its variance.
    """

    s: Floats
    inflate: Floats
    weight: Floats
    log_weight: Floats
    by_nu: Floats
    least: Floats
    inverse: Floats
    p: Floats
    by_mean: Floats
    by_variance: Floats


@compiled
def _nodes(far2: float, tau2: float, nu: float, constant: float) -> _Nodes:
    """The nodes that count for rows no further than sqrt(far2) from their mean."""
    half, square, reach, scale = 0.5 * nu, 0.5 * (nu + WIDEN), _fall(nu), nu * tau2
    unit, offset = STEP / math.sqrt(square), constant - 0.5 * math.log(square)
    nearest, lightest = math.exp(-reach), offset - half - LEFT_OUT
    reach += math.log(1.0 + far2 / scale)
    made, n = np.empty((10, len(_NODES))), 0
    for i in range(len(_NODES) - 1, -1, -1):
        s = _NODES[i] * unit
        if s < 0 and s < -reach:
            break
        inflate = math.exp(-s)
        less = s - 1.0 / inflate
        log_weight = half * less + offset + _LOG_STEPS[i]
        if s > 0 and log_weight + 0.5 * s < lightest:  # `robust.counting_nodes`
            continue
        made[0, n], made[1, n] = s, inflate
        made[2, n], made[3, n] = math.exp(log_weight), log_weight
        made[4, n] = 0.5 * less - 0.25 * (half * (1.0 - 1.0 / inflate) * s + 1.0) / square
        made[5, n] = scale * (inflate * nearest - 1.0)  # `reach`, solved for far2
        n += 1
    return _Nodes(
        made[0, :n], made[1, :n], made[2, :n], made[3, :n], made[4, :n],
        made[5, :n], made[6, :n], made[7, :n], made[8, :n], made[9, :n],
    )  # fmt: skip


@compiled
def _plainly(form: float, a: float, b: float, mean: float, n: int, at: _Nodes) -> float:
    """`p` by `row`, whatever the densities are, and the log of what it is to be multiplied by."""
    top = -np.inf
    for m in range(n):
        value, at.by_mean[m], at.by_variance[m] = row(form, a, b, mean, 1.0 / at.inverse[m])
        at.p[m] = at.log_weight[m] + value
        top = max(top, at.p[m])
    for m in range(n):
        at.p[m] = math.exp(at.p[m] - top)
        at.by_mean[m] *= at.p[m]
        at.by_variance[m] *= at.p[m]
    return top


@compiled
def _exact(a: float, mean: float, n: int, at: _Nodes) -> None:
    """`p` of an effect, but for 1 / sqrt(2 pi), and its slopes at the first n nodes.

    No logarithms, and loops of which a processor does several at once: the sampler spends its time
    here.
    """
    r = a - mean
    half = 0.5 * r * r
    for m in range(n):
        at.p[m] = at.weight[m] * math.exp(-half * at.inverse[m]) * math.sqrt(at.inverse[m])
    for m in range(n):
        at.by_mean[m] = at.p[m] * at.inverse[m] * r
        at.by_variance[m] = at.p[m] * at.inverse[m] * (half * at.inverse[m] - 0.5)


@compiled
def _beyond(a: float, b: float, mean: float, n: int, at: _Nodes) -> None:
    """The same of a bound, the effect above it where `b` is 1."""
    for m in range(n):
        inverse = at.inverse[m]
        scaled = b * math.sqrt(inverse)
        z = (mean - a) * scaled
        at.p[m] = 0.5 * at.weight[m] * math.erfc(-z * _ROOT_HALF)
        density = at.weight[m] * _DENSITY_0 * math.exp(-0.5 * z * z)
        at.by_mean[m] = density * scaled
        at.by_variance[m] = -0.5 * density * z * inverse


@compiled
def _within(a: float, b: float, mean: float, n: int, at: _Nodes) -> None:
    """The same of an interval, from the lower tail, where Phi keeps its relative precision."""
    flip = -1.0 if a + b > 2.0 * mean else 1.0
    low_end, high_end = (-b, -a) if flip < 0 else (a, b)
    for m in range(n):
        inverse = at.inverse[m]
        scaled = math.sqrt(inverse)
        low, high = (low_end - flip * mean) * scaled, (high_end - flip * mean) * scaled
        at.p[m] = math.erfc(-high * _ROOT_HALF) - math.erfc(-low * _ROOT_HALF)
        at.p[m] *= 0.5 * at.weight[m]
        at_low = at.weight[m] * _DENSITY_0 * math.exp(-0.5 * low * low)
        at_high = at.weight[m] * _DENSITY_0 * math.exp(-0.5 * high * high)
        at.by_mean[m] = flip * (at_low - at_high) * scaled
        at.by_variance[m] = 0.5 * (at_low * low - at_high * high) * inverse


@compiled
def _averaged(n: int, at: _Nodes, moves: float) -> tuple[float, float, float, float, float]:
    """Sum of a row's densities at its n nodes, and of slopes by mean, variance, tau^2 and nu."""
    whole, by_mean, by_v, by_tau2, by_nu = 0.0, 0.0, 0.0, 0.0, 0.0
    for m in range(n):
        slope = at.by_variance[m] * at.inflate[m]
        whole += at.p[m]
        by_mean += at.by_mean[m]
        by_v += at.by_variance[m]
        by_tau2 += slope
        by_nu += at.p[m] * at.by_nu[m] + slope * moves * at.s[m]
    return whole, by_mean, by_v, by_tau2, by_nu


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
    `constant`. The weights are those of `robust.log_mixing`; nodes that do not count for a row are
    left out (`robust.counting_nodes`), and rows whose form is none of the four.
    """
    k, farthest = len(mean), 0.0
    d_mean, d_v, far2 = np.zeros(k), np.zeros(k), np.empty(k)
    total, d_tau2, d_nu, d_constant = 0.0, 0.0, 0.0, 0.0
    for i in range(k):
        if form[i] >= 0:
            far2[i] = max(_distance(form[i], a[i], b[i], mean[i]), 0.0) ** 2
            farthest = max(farthest, far2[i])
            d_constant += 1.0
    if d_constant == 0:
        return total, d_mean, d_v, d_tau2, d_nu, d_constant
    at = _nodes(farthest, tau2, nu, constant)
    moves = 0.25 * tau2 / (0.5 * (nu + WIDEN))  # lambda at a node moves with nu
    for i in range(k):
        if form[i] < 0:
            continue
        n = len(at.p)
        while n > 1 and at.least[n - 1] > far2[i]:
            n -= 1
        for m in range(n):
            at.inverse[m] = 1.0 / (v[i] + tau2 * at.inflate[m])
        log_factor = 0.0
        if form[i] == EXACT:
            log_factor = -0.5 * LOG_2PI
            _exact(a[i], mean[i], n, at)
        elif form[i] == BEYOND:
            _beyond(a[i], b[i], mean[i], n, at)
        elif form[i] == WITHIN:
            _within(a[i], b[i], mean[i], n, at)
        else:
            log_factor = _plainly(form[i], a[i], b[i], mean[i], n, at)
        whole, by_mean, by_v, by_tau2, by_nu = _averaged(n, at, moves)
        if whole <= _UNDERFLOW:
            log_factor = _plainly(form[i], a[i], b[i], mean[i], n, at)
            whole, by_mean, by_v, by_tau2, by_nu = _averaged(n, at, moves)
        total += log_factor + math.log(whole)
        d_mean[i], d_v[i] = by_mean / whole, by_v / whole
        d_tau2 += by_tau2 / whole
        d_nu += by_nu / whole
    return total, d_mean, d_v, d_tau2, d_nu, d_constant
