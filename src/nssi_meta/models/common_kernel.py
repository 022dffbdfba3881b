"""The common part f of a study with several bounds as a function of what is sampled, with slopes.

f is standard normal, but its study's bounds cut it off, the more sharply the larger tau is, and
where depends on every other parameter. What is sampled is g, of which f is a function close to the
quantile function of f given its rows: f = wall + s softplus(g + b) on the bounds' side, which far
from the wall is m + s g, with m and s about the mean and SD of f given its rows. The wall stands 6
SDs outside the nearest bound where all are of one side, and so far off that it does nothing where
they are not. Under a large tau a bound cuts f off sharply, and a sampler's step of f would have to
be as small as that edge is sharp.

For m and s an effect is normal, an interval about normal; each bound then moves the two as it does
alone (the moments of a normal cut off), and what counts is the bounds' average.

One study at a time: arrays are (n,), over its rows. `forward` gives values, `backward` adds slopes
from last to first (reverse differentiation).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from nssi_meta.models.blocks import Floats
from nssi_meta.models.row_kernel import compiled, tail

#: The wall where there is none; the least distance of m from the wall, in s; how far beyond a bound
#: its moments are taken, in SDs; what they leave of the variance at least, as 1 minus this.
_WIDEST, _LEAST, _CUT = -1e3, 0.3, 8.0
_KEPT = 1.0 - 1e-12


class Study(NamedTuple):
    """A study's rows, arrays (n,) with room for more: its first `n` rows count wherever it goes.

    Where they are (`at`), what is told of them (`common_variable.as_told`), sampling variance `v`,
    `mean`, loads on f and variances `own` that f leaves; `root`, `hazard` and `above` of bounds,
    which `moments` keeps for `backward`; and slopes.
    """

    at: Floats
    y: Floats
    extra: Floats
    effect: Floats
    sign: Floats
    share: Floats
    walled: Floats
    v: Floats
    mean: Floats
    load: Floats
    own: Floats
    root: Floats
    hazard: Floats
    above: Floats
    d_mean: Floats
    d_load: Floats
    d_own: Floats


@compiled
def room_for(n: int) -> Study:
    """Arrays for a study of up to n rows."""
    x = np.empty((17, n))
    return Study(
        x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7],
        x[8], x[9], x[10], x[11], x[12], x[13], x[14], x[15], x[16],
    )  # fmt: skip


@compiled
def loads(study: Study, n: int, t2: float, rho: float) -> tuple[float, float]:
    """Loads of one study's rows on f, `blocks.common_part`, and the variances that f leaves of
    tau^2 + v, into `load` and `own`.

    Returns 1 - kappa, which is a sum of positive terms, and its slope by `t2`: with T_i and c_ij as
    in `common_part`, T_i T_j - c_ij^2 = tau^2 rho (s_i - s_j)^2, so that nothing cancels where tau
    is large.
    """
    share, lacks, slope, v = rho + 1e-12, 0.0, 0.0, study.v
    for i in range(n):
        for j in range(i):
            if v[i] != v[j]:
                both, middle = (t2 + share * v[i]) * (t2 + share * v[j]), math.sqrt(v[i] * v[j])
                root, gap = (
                    math.sqrt(both),
                    share * (v[i] - v[j]) ** 2 / (v[i] + v[j] + 2.0 * middle),
                )
                lacks += t2 * gap / (root * (root + t2 + share * middle))
                slope -= 0.5 * gap * (t2 - share * middle) / (both * root)
    pairs = 0.5 * n * (n - 1)
    lacks /= pairs
    for i in range(n):
        whole = t2 + share * v[i]
        study.load[i] = math.sqrt(whole * (1.0 - lacks))
        study.own[i] = max((1.0 - share) * v[i] + whole * lacks, 1e-12 * v[i])
    return lacks, slope / pairs


@compiled
def loads_back(study: Study, n: int, t2: float, rho: float, lacks: float, slope: float) -> float:
    """Slope by `t2` of `loads`, which gave `lacks` and `slope`, from those by `load` and `own`."""
    share, d_lacks, d_t2 = rho + 1e-12, 0.0, 0.0
    for i in range(n):
        d_square, whole = 0.5 * study.d_load[i] / study.load[i], t2 + share * study.v[i]
        d_lacks += (study.d_own[i] - d_square) * whole
        d_t2 += d_square * (1.0 - lacks) + study.d_own[i] * lacks
    return d_t2 + d_lacks * slope


class Moments(NamedTuple):
    """c and sum of what effects say, m and s of f, and where the wall stands, at which row."""

    c: float
    pulled: float
    m: float
    s: float
    wall: float
    where: int


@compiled
def moments(study: Study, n: int, side: float) -> Moments:
    """What a study's rows tell of f, given their loads; `side` is that of its bounds."""
    mean, load, own, y = study.mean, study.load, study.own, study.y
    weights, pulled = 0.0, 0.0
    for i in range(n):
        if study.effect[i] != 0:
            weight = load[i] / (own[i] + study.extra[i])
            weights += weight * load[i]
            pulled += weight * (y[i] - mean[i])
    c = 1.0 / (1.0 + weights)
    m, less, wall, where = c * pulled, 0.0, _WIDEST, -1
    centre = m
    for i in range(n):
        sign = study.sign[i]
        if sign != 0:
            root = math.sqrt(own[i] + load[i] ** 2 * c)
            z = min(sign * (load[i] * centre - (y[i] - mean[i])) / root, _CUT)
            _, h, above = tail(z)
            pull = c * load[i] / root
            m += study.share[i] * sign * pull * h
            less += study.share[i] * pull**2 * h * above
            study.root[i], study.hazard[i], study.above[i] = root, h, above
        if study.walled[i] != 0:
            # Seen from the bounds' side: where they end, given f ~ N(0, 1), and 6 SDs beyond.
            edge, soft = side * (y[i] - mean[i]) / load[i], own[i] / load[i] ** 2
            low = edge - max(edge, 0.0) * soft / (1.0 + soft) - 6.0 * math.sqrt(soft)
            if low > wall:
                wall, where = low, i
    return Moments(c, pulled, m, math.sqrt(c - _KEPT * less), wall, where)


@compiled
def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


@compiled
def forward(told: Moments, side: float, g: float) -> tuple[float, float]:
    """f of one study from g, and the log of its slope."""
    q = max((side * told.m - told.wall) / told.s, _LEAST)
    x = g + q + math.log1p(-math.exp(-q))
    f = side * (told.wall + told.s * _softplus(x))
    return f, math.log(told.s) - _softplus(-x)


@compiled
def backward(study: Study, n: int, told: Moments, side: float, g: float, d_f: float) -> float:
    """Slope by g of the log slope plus `d_f` times f; those by the rows are added to `d_...`."""
    mean, load, own, y = study.mean, study.load, study.own, study.y
    d_mean, d_load, d_own = study.d_mean, study.d_load, study.d_own
    c, pulled, m, s, wall, where = told
    ratio = (side * m - wall) / s
    q = max(ratio, _LEAST)
    x = g + q + math.log1p(-math.exp(-q))
    rising = 1.0 / (1.0 + math.exp(-x)) if x > 0 else 1.0 - 1.0 / (1.0 + math.exp(x))
    d_f *= side
    d_s = d_f * _softplus(x) + 1.0 / s
    d_wall = d_f
    d_g = d_f * s * rising + 1.0 - rising
    d_m = 0.0
    if ratio > _LEAST:
        d_q = d_g / -math.expm1(-q)
        d_m = d_q * side / s
        d_wall -= d_q / s
        d_s -= d_q * q / s
    if where >= 0:
        i, away = where, y[where] - mean[where]
        edge, soft = side * away / load[i], own[i] / load[i] ** 2
        over = edge if edge > 0 else 0.0
        d_edge = d_wall / (1.0 + soft) if edge > 0 else d_wall
        d_soft = -d_wall * (over / (1.0 + soft) ** 2 + 3.0 / math.sqrt(soft))
        d_mean[i] -= side * d_edge / load[i]
        d_load[i] -= (edge * d_edge + 2.0 * soft * d_soft) / load[i]
        d_own[i] += d_soft / load[i] ** 2
    d_c = 0.5 * d_s / s
    d_less = -_KEPT * d_c
    centre, d_centre = c * pulled, d_m
    for i in range(n):
        sign, share = study.sign[i], study.share[i]
        if sign != 0:
            root, h, above = study.root[i], study.hazard[i], study.above[i]
            whole = sign * (load[i] * centre - (y[i] - mean[i])) / root
            z = min(whole, _CUT)
            u, pull = h * above, c * load[i] / root
            d_pull = share * (d_m * sign * h + 2.0 * d_less * pull * u)
            d_h, d_u = share * d_m * sign * pull, share * d_less * pull**2
            d_z = 0.0
            if whole < _CUT:
                d_z = d_u * (h * (1.0 - u) - u * above) - d_h * u
            d_root = -(d_pull * pull + d_z * z) / root
            d_square = 0.5 * d_root / root
            d_c += d_pull * load[i] / root + d_square * load[i] ** 2
            d_centre += d_z * sign * load[i] / root
            d_load[i] += (d_pull * c + d_z * sign * centre) / root + 2.0 * d_square * load[i] * c
            d_mean[i] += d_z * sign / root
            d_own[i] += d_square
    d_c += d_centre * pulled
    d_pulled, d_weights = d_centre * c, -(c**2) * d_c
    for i in range(n):
        if study.effect[i] != 0:
            total, away = own[i] + study.extra[i], y[i] - mean[i]
            weight = load[i] / total
            d_weight = d_weights * load[i] + d_pulled * away
            d_load[i] += d_weights * weight + d_weight / total
            d_mean[i] -= d_pulled * weight
            d_own[i] -= d_weight * weight / total
    return d_g
