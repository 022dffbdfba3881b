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

One study at a time: arrays are (n,), over its places. `forward` gives values, `backward` adds
slopes from last to first (reverse differentiation). A study is `told` by `Told`.
"""

from __future__ import annotations

import math

from nssi_meta.models.blocks import Floats
from nssi_meta.models.row_kernel import compiled, tail

#: y, extra, effect, sign, share and walled of the places (n,), and the side of the bounds.
Told = tuple[Floats, Floats, Floats, Floats, Floats, Floats, float]

#: The wall where there is none; the least distance of m from the wall, in s; how far beyond a bound
#: its moments are taken, in SDs; what they leave of the variance at least, as 1 minus this.
_WIDEST, _LEAST, _CUT = -1e3, 0.3, 8.0
_KEPT = 1.0 - 1e-12


@compiled
def loads(t2: float, v: Floats, mask: Floats, rho: float, load: Floats, own: Floats) -> float:
    """Loads of one study's rows on f, `blocks.common_part`, and the variances that f leaves of
    tau^2 + v, into `load` and `own` (n,).

    Returns 1 - kappa, which is a sum of positive terms: with T_i and c_ij as in `common_part`,
    T_i T_j - c_ij^2 = tau^2 rho (s_i - s_j)^2, so that nothing cancels where tau is large.
    """
    n, share, lacks, pairs = len(v), rho + 1e-12, 0.0, 0.0
    for i in range(n):
        for j in range(i):
            if mask[i] * mask[j] > 0:
                one, other = t2 + share * v[i], t2 + share * v[j]
                root, c = math.sqrt(one * other), t2 + share * math.sqrt(v[i] * v[j])
                gap = share * (math.sqrt(v[i]) - math.sqrt(v[j])) ** 2
                lacks += t2 * gap / (root * (root + c))
                pairs += 1.0
    lacks /= pairs
    for i in range(n):
        if mask[i] > 0:
            whole = t2 + share * v[i]
            load[i] = math.sqrt(whole * (1.0 - lacks))
            own[i] = max((1.0 - share) * v[i] + whole * lacks, 1e-12 * v[i])
    return lacks


@compiled
def loads_back(
    t2: float,
    v: Floats,
    mask: Floats,
    rho: float,
    lacks: float,
    load: Floats,
    d_load: Floats,
    d_own: Floats,
) -> float:
    """Slope by `t2` of `loads` from those by `load` and `own`."""
    n, share, d_lacks, d_t2, pairs, slope = len(v), rho + 1e-12, 0.0, 0.0, 0.0, 0.0
    for i in range(n):
        if mask[i] > 0:
            d_square, whole = 0.5 * d_load[i] / load[i], t2 + share * v[i]
            d_lacks += (d_own[i] - d_square) * whole
            d_t2 += d_square * (1.0 - lacks) + d_own[i] * lacks
    for i in range(n):
        for j in range(i):
            if mask[i] * mask[j] > 0:
                both = (t2 + share * v[i]) * (t2 + share * v[j])
                gap = share * (math.sqrt(v[i]) - math.sqrt(v[j])) ** 2
                slope -= (
                    0.5 * gap * (t2 - share * math.sqrt(v[i] * v[j])) / (both * math.sqrt(both))
                )
                pairs += 1.0
    return d_t2 + d_lacks * slope / pairs


@compiled
def _moments(
    told: Told, mean: Floats, load: Floats, own: Floats
) -> tuple[float, float, float, float, float, int]:
    """c and sum of what effects say, m and s of f, and where the wall stands, at which place."""
    y, extra, effect, sign, share, walled, side = told
    n, weights, pulled = len(mean), 0.0, 0.0
    for i in range(n):
        if effect[i] != 0:
            weight = load[i] / (own[i] + extra[i])
            weights += weight * load[i]
            pulled += weight * (y[i] - mean[i])
    c = 1.0 / (1.0 + weights)
    m, less, wall, where = c * pulled, 0.0, _WIDEST, -1
    centre = m
    for i in range(n):
        if sign[i] != 0:
            root = math.sqrt(own[i] + load[i] ** 2 * c)
            z = min(sign[i] * (load[i] * centre - (y[i] - mean[i])) / root, _CUT)
            _, h, above = tail(z)
            pull = c * load[i] / root
            m += share[i] * sign[i] * pull * h
            less += share[i] * pull**2 * h * above
        if walled[i] != 0:
            # Seen from the bounds' side: where they end, given f ~ N(0, 1), and 6 SDs beyond.
            edge, soft = side * (y[i] - mean[i]) / load[i], own[i] / load[i] ** 2
            low = edge - max(edge, 0.0) * soft / (1.0 + soft) - 6.0 * math.sqrt(soft)
            if low > wall:
                wall, where = low, i
    return c, pulled, m, math.sqrt(c - _KEPT * less), wall, where


@compiled
def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


@compiled
def forward(told: Told, mean: Floats, load: Floats, own: Floats, g: float) -> tuple[float, float]:
    """f of one study from g, and the log of its slope; mean, load and own variance are (n,)."""
    _, _, m, s, wall, _ = _moments(told, mean, load, own)
    side = told[-1]
    q = max((side * m - wall) / s, _LEAST)
    x = g + q + math.log1p(-math.exp(-q))
    return side * (wall + s * _softplus(x)), math.log(s) - _softplus(-x)


@compiled
def backward(
    told: Told,
    mean: Floats,
    load: Floats,
    own: Floats,
    g: float,
    d_f: float,
    d_mean: Floats,
    d_load: Floats,
    d_own: Floats,
) -> float:
    """Slope by g of the log slope plus `d_f` times f; those by the arrays are added to `d_...`."""
    y, extra, effect, sign, share, _, side = told
    c, pulled, m, s, wall, where = _moments(told, mean, load, own)
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
    for i in range(len(mean)):
        if sign[i] != 0:
            root = math.sqrt(own[i] + load[i] ** 2 * c)
            whole = sign[i] * (load[i] * centre - (y[i] - mean[i])) / root
            z = min(whole, _CUT)
            _, h, above = tail(z)
            u, pull = h * above, c * load[i] / root
            d_pull = share[i] * (d_m * sign[i] * h + 2.0 * d_less * pull * u)
            d_h, d_u = share[i] * d_m * sign[i] * pull, share[i] * d_less * pull**2
            d_z = 0.0
            if whole < _CUT:
                d_z = d_u * (h * (1.0 - u) - u * above) - d_h * u
            d_root = -(d_pull * pull + d_z * z) / root
            d_square = 0.5 * d_root / root
            d_c += d_pull * load[i] / root + d_square * load[i] ** 2
            d_centre += d_z * sign[i] * load[i] / root
            d_load[i] += (d_pull * c + d_z * sign[i] * centre) / root + 2.0 * d_square * load[i] * c
            d_mean[i] += d_z * sign[i] / root
            d_own[i] += d_square
    d_c += d_centre * pulled
    d_pulled, d_weights = d_centre * c, -(c**2) * d_c
    for i in range(len(mean)):
        if effect[i] != 0:
            total, away = own[i] + extra[i], y[i] - mean[i]
            weight = load[i] / total
            d_weight = d_weights * load[i] + d_pulled * away
            d_load[i] += d_weights * weight + d_weight / total
            d_mean[i] -= d_pulled * weight
            d_own[i] -= d_weight * weight / total
    return d_g
