"""The common part f of a study with several bounds as a variable that a sampler moves with ease.

f is standard normal, but its study's bounds cut it off, the more sharply the larger tau is, and
where depends on every other parameter. What is sampled is g, of which f is a function close to the
quantile function of f given its rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nssi_meta.models.blocks import BoundBlocks, Layout


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


def part_of(told: Mapping[str, Any], mean: Any, load: Any, own: Any, g: Any) -> tuple[Any, Any]:
    """f (B,) from g (B,), and the log of its slope; mean, load and own variance are (n, B).

    With m and s about the mean and SD of f given its rows, f = m + s g where no bound is near, and
    f = wall + s softplus(g + b) where bounds of one side are: f is not to go beyond 6 SDs outside
    the nearest. Under a large tau a bound cuts f off sharply, and a sampler's step of f would have
    to be as small as that edge is sharp.

    For m and s an effect is normal, an interval about normal; each bound then moves the two as it
    does alone (the moments of a normal cut off), and what counts is the bounds' average.
    """
    import pytensor.tensor as pt

    away = told["y"] - mean
    weight = told["effect"] * load / (own + told["extra"])
    c = 1.0 / (1.0 + (weight * load).sum(axis=0))
    m = c * (weight * away).sum(axis=0)
    root = pt.sqrt(own + load**2 * c)
    below = pt.minimum(told["sign"] * (load * m - away) / root, 8.0)
    hazard = np.sqrt(2 / np.pi) / pt.erfcx(-below / np.sqrt(2))
    pull = c * load / root
    m = m + (told["share"] * told["sign"] * pull * hazard).sum(axis=0)
    less = (told["share"] * pull**2 * hazard * (hazard + below)).sum(axis=0)
    s = pt.sqrt(c - (1.0 - 1e-12) * less)
    # Seen from the bounds' side: where they end, given f ~ N(0, 1), and 6 SDs of that beyond.
    edge, soft = told["side"] * away / load, own / load**2
    low = edge - pt.maximum(edge, 0.0) * soft / (1.0 + soft) - 6.0 * pt.sqrt(soft)
    wall = pt.switch(told["walled"], pt.maximum(low, -1e3), -1e3).max(axis=0)
    q = pt.maximum((told["side"] * m - wall) / s, 0.3)
    x = g + q + pt.log1p(-pt.exp(-q))
    return told["side"] * (wall + s * pt.softplus(x)), pt.log(s) - pt.softplus(-x)
