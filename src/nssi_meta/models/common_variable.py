"""The common part f of a study with several bounds as a variable that a sampler moves with ease.

f is standard normal, but its study's bounds cut it off, the more sharply the larger tau is, and
where depends on every other parameter. What is sampled is g, of which f is a function close to the
quantile function of f given its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nssi_meta.models.blocks import BoundBlocks, Layout, common_part
from nssi_meta.models.ops import static_shape


def as_told(
    data: Layout, kind: NDArray[np.object_], common: BoundBlocks
) -> dict[str, NDArray[Any]]:
    """What `part_of` knows of each place (n, B) of the studies with a common part.

    `y` is an effect or bound. `effect` is 1 where it is an effect or an interval, which counts as
    one in its middle with the variance `extra` of a uniform distribution. `sign` is the side of a
    bound, `share` 1 over the number of the study's bounds, `side` (B,) that of all its bounds.
    `walled` is 1 at these if all the study's rows are bounds of one side, else nowhere. A size
    without sign tells nothing.
    """
    bound = kind == "interval"
    below, above = (bound & np.isinf(end) for end in (data.lower, data.upper))
    width = np.where(bound & ~below & ~above, data.upper - data.lower, 0.0)
    middle = np.where(below, data.upper, np.where(above, data.lower, data.lower + width / 2))
    sign = np.where(above, 1.0, np.where(below, -1.0, 0.0))[common.rows] * common.mask
    is_bound = sign != 0
    # An effect of the same study may contradict its bounds, and pull f beyond any wall.
    one_sided = np.abs(sign.sum(axis=1)) == common.mask.sum(axis=1)
    told = {
        "y": np.where(bound, middle, data.y)[common.rows],
        "extra": width[common.rows] ** 2 / 12,
        "effect": common.mask * ~is_bound * (kind != "unsigned")[common.rows],
        "sign": sign,
        "share": is_bound / np.maximum(is_bound.sum(axis=1, keepdims=True), 1),
        "walled": is_bound & one_sided[:, None],
        "side": np.where(sign.sum(axis=1) < 0, -1.0, 1.0),
    }
    return {name: x.T for name, x in told.items()}


#: Studies of up to this many rows are written out row by row, so that PyTensor makes one loop over
#: studies of all that follows; with more rows it would compile for minutes.
WRITTEN_OUT = 4


def given_common(
    told: Mapping[str, Any], at: Any, mean: Any, tau2: Any, omega2: Any, g: Any
) -> tuple[Any, Any, Any]:
    """Mean and tau^2 (K,) of rows given the common parts, and the log prior of `g` (B,).

    `told` as in `as_told`, with sampling variances `v`, `mask`, `rho`, and `real`, which is 0 where
    no row is; `at` (n, B) tells each place's row, `mean` and `tau2` (K,). A row's common part is
    taken from its tau^2.
    """
    import pytensor.tensor as pt

    n = static_shape(at)[0]
    slabs = {name: _slabs(x, n) if x.ndim == 2 else [x] for name, x in told.items()}
    rows = _slabs(at, n)
    of_study = tau2[at[0]]
    free = [*(mean[i] for i in rows), of_study, pt.as_tensor(omega2), g]
    held = [x for one in slabs.values() for x in one]

    def terms(*inputs: Any) -> list[Any]:
        left = iter(inputs)
        data = {name: [next(left) for _ in one] for name, one in slabs.items()}
        return _terms(data, [next(left) for _ in rows], *left)

    # Of one loop over studies the gradient does best to repeat it: what it would keep are some
    # hundred arrays.
    *found, log_prior = terms(*held, *free) if n > WRITTEN_OUT else _apart(terms, held, free)
    for row, load2, shift in zip(rows, found[: len(rows)], found[len(rows) :], strict=True):
        tau2 = pt.inc_subtensor(tau2[row], -load2)
        mean = pt.inc_subtensor(mean[row], shift)
    return mean, tau2, log_prior


def _apart(terms: Callable[..., list[Any]], held: list[Any], free: list[Any]) -> list[Any]:
    """`terms` of nodes compiled for themselves, with gradients by those of `free` alone."""
    from pytensor.compile.builders import OpFromGraph
    from pytensor.gradient import disconnected_grad

    inner = [x.type() for x in (*held, *free)]
    data = [disconnected_grad(x) for x in inner[: len(held)]]
    op: Any = OpFromGraph(inner, terms(*data, *inner[len(held) :]))
    return list(op(*held, *free))


def _slabs(x: Any, n: int) -> list[Any]:
    """An array (n, B) as n vectors (B,), or as itself if n is large."""
    return [x[i] for i in range(n)] if n <= WRITTEN_OUT else [x]


def _total(terms: Iterable[Any]) -> Any:
    """Sum (B,) over the rows of each study."""
    total = sum(terms)
    return total.sum(axis=0) if total.ndim > 1 else total


def _terms(
    told: Mapping[str, list[Any]], mean: list[Any], t2: Any, omega2: Any, g: Any
) -> list[Any]:
    """Squared loads and shifts of the mean at each slab, 0 where no row is, and the log prior."""
    import pytensor.tensor as pt

    v, mask = told["v"], told["mask"]
    load2 = _loads(t2, v, mask, told["rho"][0])
    # Where tau^2 is large the rest of it is a difference, and must not fall below 0 with v.
    own = [
        pt.maximum(t2 - a, (1e-12 - 1.0) * b) + b + omega2 for a, b in zip(load2, v, strict=True)
    ]
    load = [pt.sqrt(x) for x in load2]
    f, log_slope = part_of(told, mean, load, own, g)
    squares = [m * x for m, x in zip(told["real"], load2, strict=True)]
    shifts = [m * x * f for m, x in zip(told["real"], load, strict=True)]
    return [*squares, *shifts, log_slope - 0.5 * f**2]


def _loads(t2: Any, v: list[Any], mask: list[Any], rho: Any) -> list[Any]:
    """`blocks.common_part` of slabs."""
    import pytensor.tensor as pt

    if v[0].ndim > 1:
        return [common_part(t2, v[0].T, mask[0].T, rho, pt.sqrt).T]
    share = rho + 1e-12
    whole = [t2 + share * x for x in v]
    kappa = pairs = 0.0
    for i in range(len(v)):
        for j in range(i):
            both = mask[i] * mask[j]
            c = t2 + share * pt.sqrt(v[i] * v[j])
            kappa = kappa + both * c / pt.sqrt(whole[i] * whole[j])
            pairs = pairs + both
    return [x * kappa / pairs for x in whole]


def part_of(
    told: Mapping[str, list[Any]], mean: list[Any], load: list[Any], own: list[Any], g: Any
) -> tuple[Any, Any]:
    """f (B,) from g (B,), and the log of its slope; mean, load and own variance are slabs.

    With m and s about the mean and SD of f given its rows, f = m + s g where no bound is near, and
    f = wall + s softplus(g + b) where bounds of one side are: f is not to go beyond 6 SDs outside
    the nearest. Under a large tau a bound cuts f off sharply, and a sampler's step of f would have
    to be as small as that edge is sharp.

    For m and s an effect is normal, an interval about normal; each bound then moves the two as it
    does alone (the moments of a normal cut off), and what counts is the bounds' average.
    """
    import pytensor.tensor as pt

    x, side, slabs = told, told["side"][0], range(len(mean))
    away = [x["y"][i] - mean[i] for i in slabs]
    weight = [x["effect"][i] * load[i] / (own[i] + x["extra"][i]) for i in slabs]
    c = 1.0 / (1.0 + _total(weight[i] * load[i] for i in slabs))
    m = c * _total(weight[i] * away[i] for i in slabs)
    root = [pt.sqrt(own[i] + load[i] ** 2 * c) for i in slabs]
    below = [pt.minimum(x["sign"][i] * (load[i] * m - away[i]) / root[i], 8.0) for i in slabs]
    hazard = [np.sqrt(2 / np.pi) / pt.erfcx(-b / np.sqrt(2)) for b in below]
    pull = [c * load[i] / root[i] for i in slabs]
    m = m + _total(x["share"][i] * x["sign"][i] * pull[i] * hazard[i] for i in slabs)
    less = _total(x["share"][i] * pull[i] ** 2 * hazard[i] * (hazard[i] + below[i]) for i in slabs)
    s = pt.sqrt(c - (1.0 - 1e-12) * less)
    # Seen from the bounds' side: where they end, given f ~ N(0, 1), and 6 SDs of that beyond.
    wall = -1e3
    for i in slabs:
        edge, soft = side * away[i] / load[i], own[i] / load[i] ** 2
        low = edge - pt.maximum(edge, 0.0) * soft / (1.0 + soft) - 6.0 * pt.sqrt(soft)
        one = pt.switch(x["walled"][i], low, -1e3)
        wall = pt.maximum(wall, one.max(axis=0) if one.ndim > 1 else one)
    q = pt.maximum((side * m - wall) / s, 0.3)
    z = g + q + pt.log1p(-pt.exp(-q))
    return side * (wall + s * pt.softplus(z)), pt.log(s) - pt.softplus(-z)
