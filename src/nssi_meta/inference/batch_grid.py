"""The quadrature of `adaptive` over tau for many pools of exact, independent effects at once.

Every pool's panels stand in one array, so that a round of halving is one pass over all of them;
panels that stay are not evaluated again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

from nssi_meta.inference.adaptive import MAX_ROUNDS
from nssi_meta.inference.axes import sd_start
from nssi_meta.inference.densities import half_line, to_coefficients
from nssi_meta.inference.exact import closed_prior
from nssi_meta.models.priors import Prior

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Order of the quadrature and its tolerance, as in `adaptive.integrate`.
_N, _TOL = 12, 1e-9
#: Values held while the likelihood is evaluated (about a processor's cache).
_CHUNK = 200_000


@dataclass(frozen=True)
class Data:
    """Effects and variances (P, k), `there` (P, k) 1 or 0 (then y = 0, v = 1), `size` (P,)."""

    y: Floats
    v: Floats
    there: Floats
    size: Ints

    def take(self, pools: Ints) -> Data:
        """Some pools, without columns that none of them fills."""
        k = int(self.size[pools].max())
        return Data(self.y[pools, :k], self.v[pools, :k], self.there[pools, :k], self.size[pools])


@dataclass(frozen=True)
class PoolGrid:
    """Resolved pools `done` (P,): panels (I,) from `starts`, nodes (I, n) with mu given tau."""

    done: Ints
    starts: Ints
    low: Floats
    high: Floats
    scale: Floats
    tau: Floats
    mass: Floats
    mean: Floats
    var: Floats
    log_integral: Floats
    error: Floats


def integrate_many(data: Data, mu_prior: Prior, tau_prior: Prior) -> PoolGrid:
    """`adaptive.integrate` over tau for all pools at once; only new panels are evaluated.

    Pools whose density is not finite or not resolved are missing from `done`.
    """
    y, v, there = data.y, data.v, data.there
    scale = tau_scales(data)
    edges = [sd_start(tau_prior, half_line(s)) for s in scale.tolist()]
    owner = np.repeat(np.arange(len(edges)), [len(e) - 1 for e in edges])
    low = np.concatenate([e[:-1] for e in edges])
    high = np.concatenate([e[1:] for e in edges])
    evidence = _Evidence(y, v, there, scale, mu_prior, tau_prior)
    values: tuple[Floats, ...] = evidence.at(owner, low, high)
    finished: list[tuple[Any, ...]] = []
    for _ in range(MAX_ROUNDS):
        starts = np.flatnonzero(np.diff(owner, prepend=-1))
        pool = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(owner)))
        log_f = values[0]
        peak = np.maximum.reduceat(log_f.max(axis=1), starts)
        usable = np.isfinite(peak) & ~np.logical_or.reduceat(np.isnan(log_f).any(axis=1), starts)
        mass = np.exp(log_f - np.where(usable, peak, 0.0)[pool][:, None])
        mass[~usable[pool]] = 0.0
        total = np.add.reduceat(mass.sum(axis=1), starts)
        mass /= np.where(usable, total, 1.0)[pool][:, None]
        _, w = legendre.leggauss(_N)
        tail = (mass / w) @ to_coefficients(_N)[-2:].T
        size = np.abs(tail).sum(axis=1)
        error = np.add.reduceat(size, starts)
        counts = np.diff(starts, append=len(owner))
        split = size > _TOL / counts[pool]
        done = (error <= _TOL) | ~np.logical_or.reduceat(split, starts)
        if (good := done & usable).any():
            here = good[pool]
            log_integral = peak[good] + np.log(total[good])
            finished.append(
                (
                    *(owner[here], low[here], high[here], mass[here]),
                    *(a[here] for a in values[1:]),
                    *(owner[starts[good]], log_integral, error[good]),
                )
            )
        stay = (usable & ~done)[pool]
        if not stay.any():
            break
        again = stay & split
        middle = (low[again] + high[again]) / 2
        new = (
            np.repeat(owner[again], 2),
            np.column_stack([low[again], middle]).ravel(),
            np.column_stack([middle, high[again]]).ravel(),
        )
        old = stay & ~split
        owner, low, high = (
            np.concatenate([a[old], b]) for a, b in zip((owner, low, high), new, strict=True)
        )
        values = tuple(
            np.concatenate([a[old], b]) for a, b in zip(values, evidence.at(*new), strict=True)
        )
        order = np.lexsort((low, owner))
        owner, low, high = owner[order], low[order], high[order]
        values = tuple(a[order] for a in values)
    return _gathered(finished, scale)


def _gathered(finished: list[tuple[Any, ...]], scale: Floats) -> PoolGrid:
    """What the rounds finished, pool by pool."""
    if not finished:
        none = np.zeros(0)
        empty = np.zeros((0, _N))
        index = np.zeros(0, dtype=np.int64)
        return PoolGrid(index, index, none, none, none, empty, empty, empty, empty, none, none)
    owner, low, high, mass, tau, mean, var, done, log_integral, error = (
        np.concatenate(a) for a in zip(*finished, strict=True)
    )
    panels, pools = np.lexsort((low, owner)), np.argsort(done)
    starts = np.flatnonzero(np.diff(owner[panels], prepend=-1))
    return PoolGrid(
        done[pools], starts, low[panels], high[panels], scale[done[pools]], tau[panels],
        mass[panels], mean[panels], var[panels], log_integral[pools], error[pools],
    )  # fmt: skip


def tau_scales(data: Data) -> Floats:
    """`axes.tau_scale` for every pool: typical standard error, or the spread if larger."""
    absent = data.there == 0
    n = data.size[:, None]
    centred = np.where(absent, 0.0, data.y - data.y.sum(axis=1, keepdims=True) / n)
    spread = np.sqrt((centred**2).sum(axis=1) / data.size)
    v = np.sort(np.where(absent, np.inf, data.v), axis=1)
    rows = np.arange(len(v))
    middle = (v[rows, (data.size - 1) // 2] + v[rows, data.size // 2]) / 2
    return np.maximum(spread, np.sqrt(middle))


@dataclass(frozen=True)
class _Evidence:
    """log p(y, tau) with mu integrated out, for panels of tau of any of the pools."""

    y: Floats
    v: Floats
    there: Floats
    scale: Floats
    mu_prior: Prior
    tau_prior: Prior

    def at(self, owner: Ints, low: Floats, high: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Log density times weight, tau, and mean and variance of mu given tau, each (I, n)."""
        t, w = legendre.leggauss(_N)
        half = (high - low)[:, None] / 2
        u = (low + high)[:, None] / 2 + half * t
        axis = half_line(self.scale[owner][:, None])
        tau = axis.to_x(u)
        log_f = self.tau_prior.logpdf(tau) + np.log(half * w * axis.slope(u))
        mean, var = np.empty_like(tau), np.empty_like(tau)
        step = max(1, _CHUNK // (_N * self.y.shape[1]))
        for i in range(0, len(owner), step):
            part = slice(i, i + step)
            value, mean[part], var[part] = self._marginal(owner[part], tau[part])
            log_f[part] += value
        return log_f, tau, mean, var

    def _marginal(self, owner: Ints, tau: Floats) -> tuple[Floats, Floats, Floats]:
        """As `exact._marginal` for independent effects; the effects' axis stands first."""
        y, there = self.y[owner].T[..., None], self.there[owner].T[..., None]
        # Sums of squares of residuals keep their digits only near zero.
        centre = y.sum(axis=0) / there.sum(axis=0)
        y = (y - centre) * there
        v = self.v[owner].T[..., None]
        total = there * tau**2 + v
        weight = there / total
        log_det = _log_product(total)
        precision = weight.sum(axis=0)
        mean = (weight * y).sum(axis=0) / precision
        prior_mean, prior_var = closed_prior(self.mu_prior)
        if np.isinf(prior_var):
            m, var, extra = mean, 1 / precision, np.log(precision) - np.log(2 * np.pi)
        else:
            away = prior_mean - centre
            total_precision = precision + 1 / prior_var
            m = (precision * mean + away / prior_var) / total_precision
            var = 1 / total_precision
            extra = (m - away) ** 2 / prior_var + np.log(prior_var * total_precision)
        quad = (weight * (y - m) ** 2).sum(axis=0)
        k = there.sum(axis=0)
        value = -0.5 * (k * np.log(2 * np.pi) + log_det + quad + extra)
        return value, m + centre, var


def _log_product(x: Floats) -> Floats:
    """Sum of log(x) over the first axis; logarithms are dear, so four are taken at a time."""
    k = len(x) // 4 * 4
    out: Floats = np.log(x[k:]).sum(axis=0)
    if k:
        with np.errstate(over="ignore", under="ignore"):
            four = x[0:k:4] * x[1:k:4]
            four *= x[2:k:4] * x[3:k:4]
        if four.min() > 1e-300 and four.max() < 1e300:
            return out + np.log(four).sum(axis=0)
    return np.asarray(np.log(x).sum(axis=0))
