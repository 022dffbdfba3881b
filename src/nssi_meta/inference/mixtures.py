"""Many normal mixtures at once: quantiles and shortest intervals, each as of one alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from nssi_meta.inference.densities import NormalMixture, interval

Floats = NDArray[np.float64]

#: Newton steps towards a shortest interval, and how far its conditions may be off at the end.
_STEPS, _CLOSE = 40, 1e-11


def mixture_quantiles(means: Floats, sds: Floats, weights: Floats, p: float) -> Floats:
    """p-quantiles (R,) of R normal mixtures, `means` and `sds` (R, n) with weights (n,) in common.

    As `NormalMixture.quantile`, for all at once: Newton inside a bracket that closes.
    """
    edge = means + sds * ndtri(p)
    low, high = edge.min(axis=1), edge.max(axis=1)
    mean = means @ weights
    spread = np.sqrt(np.einsum("rn,n->r", sds**2 + (means - mean[:, None]) ** 2, weights))
    x = np.clip(mean + spread * ndtri(p), low, high)
    live = np.arange(len(x))
    for _ in range(100):
        z = (x[live, None] - means[live]) / sds[live]
        excess = ndtr(z) @ weights - p
        slope = (np.exp(-0.5 * z**2) / sds[live]) @ weights / np.sqrt(2 * np.pi)
        over = excess > 0
        high[live] = np.where(over, x[live], high[live])
        low[live] = np.where(over, low[live], x[live])
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            new = x[live] - excess / slope
        outside = ~((new >= low[live]) & (new <= high[live]))
        new = np.where(outside, (low[live] + high[live]) / 2, new)
        moved = np.abs(new - x[live]) > 1e-12 * spread[live]
        x[live] = new
        live = live[moved]
        if not live.size:
            break
    return np.asarray(x)


def mixture_shortest(means: Floats, sds: Floats, weights: Floats, level: float) -> Floats:
    """Shortest intervals (R, 2) of R normal mixtures, arrays as for `mixture_quantiles`.

    Ends a < b of equal density that hold `level`: Newton from the central interval on
    F(b) - F(a) = level, f(b) = f(a). Rows where that does not end at the only such pair (several
    modes, or too little curvature) go to `densities.interval`, one by one.
    """
    tail = (1 - level) / 2
    ends = np.stack([mixture_quantiles(means, sds, weights, p) for p in (tail, 1 - tail)], axis=1)
    found = np.zeros(len(ends), dtype=bool)
    live = np.arange(len(ends))
    reach = (ends[:, 1] - ends[:, 0]) / 8
    for _ in range(_STEPS):
        cdf, pdf, slope = _at(ends[live], means[live], sds[live], weights)
        off = np.stack([cdf[:, 1] - cdf[:, 0] - level, pdf[:, 1] - pdf[:, 0]], axis=1)
        # Densities in units of the interval's own length.
        small = np.abs(off * np.stack([np.ones(live.size), 8 * reach[live]], axis=1)).max(axis=1)
        inside = (slope[:, 0] > 0) & (slope[:, 1] < 0)
        found[live[(small < _CLOSE) & inside]] = True
        go = inside & (small >= _CLOSE)
        live, pdf, slope, off = live[go], pdf[go], slope[go], off[go]
        if not live.size:
            break
        det = pdf[:, 1] * slope[:, 0] - pdf[:, 0] * slope[:, 1]
        move = np.stack(
            [
                (off[:, 0] * slope[:, 1] - off[:, 1] * pdf[:, 1]) / det,
                (off[:, 0] * slope[:, 0] - off[:, 1] * pdf[:, 0]) / det,
            ],
            axis=1,
        )
        ends[live] += np.clip(-move, -reach[live, None], reach[live, None])
    for i in np.flatnonzero(~found | ~_one_mode(means, sds, weights)):
        ends[i] = interval(NormalMixture.build(means[i], sds[i], weights), level, "shortest")
    return ends


def _at(x: Floats, means: Floats, sds: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Distribution function, density and its slope (R, n) at `x` (R, n), column by column."""
    out = np.empty((3, *x.shape))
    for j in range(x.shape[1]):
        z = (x[:, j, None] - means) / sds
        density = np.exp(-0.5 * z * z) / (sds * np.sqrt(2 * np.pi))
        out[:, :, j] = ndtr(z) @ weights, density @ weights, (-z / sds * density) @ weights
    return out[0], out[1], out[2]


def _one_mode(means: Floats, sds: Floats, weights: Floats) -> NDArray[np.bool_]:
    """Whether the density (R,) rises and then falls, seen at 33 points over 6 SDs either way."""
    mean = means @ weights
    sd = np.sqrt(((means - mean[:, None]) ** 2 + sds**2) @ weights)
    x = mean[:, None] + sd[:, None] * np.linspace(-6, 6, 33)
    _, density, _ = _at(x, means, sds, weights)
    rising = np.diff(density, axis=1) > -1e-12 * density.max(axis=1, keepdims=True)
    falling = np.diff(density, axis=1) < 1e-12 * density.max(axis=1, keepdims=True)
    top = density.argmax(axis=1)
    at = np.arange(32)
    return np.asarray(
        (rising | (at >= top[:, None])).all(axis=1) & (falling | (at < top[:, None])).all(axis=1)
    )
