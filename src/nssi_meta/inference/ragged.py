"""Densities of many pools at once: each pool has its own number of nodes, all stand in one array.

The batch twin of `densities`: `Mixtures` for `NormalMixture`, `Panels` for `PanelDensity`. A row of
results is a pool; nodes of one pool stand next to each other, pool p's from `starts[p]` on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from nssi_meta.inference.densities import half_line, to_coefficients

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SQRT_2PI = float(np.sqrt(2 * np.pi))
_MAX_STEPS = 100


@dataclass(frozen=True)
class Mixtures:
    """P normal mixtures: `means`, `sds`, `weights` (N,) of pools `pool` (N,), weights summing to 1.

    `build` leaves out components of weight below 1e-13 of their pool's largest.
    """

    means: Floats
    sds: Floats
    weights: Floats
    pool: Ints
    starts: Ints

    @classmethod
    def build(cls, means: Floats, sds: Floats, weights: Floats, starts: Ints) -> Mixtures:
        counts = np.diff(starts, append=len(weights))
        largest = np.maximum.reduceat(weights, starts)
        keep = weights > 1e-13 * np.repeat(largest, counts)
        kept = np.add.reduceat(keep, starts, dtype=np.int64)
        starts = np.concatenate([[0], np.cumsum(kept)[:-1]])
        w = weights[keep]
        w /= np.repeat(np.add.reduceat(w, starts), kept)
        return cls(means[keep], sds[keep], w, np.repeat(np.arange(len(kept)), kept), starts)

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, pools: Ints) -> Mixtures:
        index, starts = _members(self.starts, len(self.pool), pools)
        return Mixtures.build(self.means[index], self.sds[index], self.weights[index], starts)

    @cached_property
    def mean(self) -> Floats:
        return np.add.reduceat(self.weights * self.means, self.starts)

    @cached_property
    def sd(self) -> Floats:
        square = self.sds**2 + (self.means - self.mean[self.pool]) ** 2
        return np.sqrt(np.add.reduceat(self.weights * square, self.starts))

    def _z(self, x: Floats) -> Floats:
        return (x[self.pool] - self.means) / self.sds

    def cdf(self, x: Floats) -> Floats:
        return np.add.reduceat(ndtr(self._z(x)) * self.weights, self.starts)

    def pdf(self, x: Floats) -> Floats:
        height = np.exp(-0.5 * self._z(x) ** 2) * self.weights / self.sds
        return np.add.reduceat(height, self.starts) / _SQRT_2PI

    def around(self, x: Floats) -> tuple[Floats, Floats, Floats]:
        z = self._z(x)
        height = np.exp(-0.5 * z**2) * self.weights / (self.sds * _SQRT_2PI)
        parts = (ndtr(z) * self.weights, height, -height * z / self.sds)
        below, density, slope = (np.add.reduceat(part, self.starts) for part in parts)
        return below, density, slope

    def quantile(self, p: Floats) -> Floats:
        """Safeguarded Newton steps between the components' own quantiles."""
        edge = self.means + self.sds * ndtri(p)[self.pool]
        low, high = np.minimum.reduceat(edge, self.starts), np.maximum.reduceat(edge, self.starts)
        x = np.clip(self.mean + self.sd * ndtri(p), low, high)
        for _ in range(_MAX_STEPS):
            z = self._z(x)
            excess = np.add.reduceat(ndtr(z) * self.weights, self.starts) - p
            z *= -0.5 * z
            slope = np.add.reduceat(np.exp(z) * self.weights / self.sds, self.starts) / _SQRT_2PI
            high = np.where(excess > 0, x, high)
            low = np.where(excess > 0, low, x)
            x, step = _newton(x, excess, slope, low, high)
            # Newton steps converge quadratically: after one of 1e-8 SD nothing is left to gain.
            if (np.abs(step) <= 1e-8 * self.sd).all():
                break
        return x


@dataclass(frozen=True)
class Panels:
    """P densities on the half line, by values at n Gauss-Legendre nodes of panels (I, n).

    `mass` (I, n) are the nodes' probabilities, `low` and `high` (I,) the panels' edges in u,
    `scale` (P,) each pool's axis x = scale u / (1 - u), `starts` (P,) the first panel of a pool.
    """

    mass: Floats
    low: Floats
    high: Floats
    scale: Floats
    starts: Ints

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, pools: Ints) -> Panels:
        index, starts = _members(self.starts, len(self.low), pools)
        low, high = self.low[index], self.high[index]
        return Panels(self.mass[index], low, high, self.scale[pools], starts)

    @cached_property
    def _pool(self) -> Ints:
        counts = np.diff(self.starts, append=len(self.low))
        return np.repeat(np.arange(len(self.starts)), counts)

    @cached_property
    def _coef(self) -> Floats:
        """Legendre coefficients (I, n) of the density in u."""
        n = self.mass.shape[1]
        _, w = legendre.leggauss(n)
        half = (self.high - self.low)[:, None] / 2
        coef: Floats = (self.mass / (half * w)) @ to_coefficients(n).T
        return coef

    @cached_property
    def _distribution(self) -> tuple[Floats, Floats, Floats]:
        """Coefficients (I, n + 1) of the distribution function, mass before and up to a panel."""
        half = (self.high - self.low)[:, None] / 2
        coef = legendre.legint(self._coef, lbnd=-1, axis=1) * half
        mass = legendre.legval(1.0, coef.T)
        up_to = np.cumsum(mass)
        base = (up_to - mass)[self.starts]
        up_to = up_to - base[self._pool]
        return coef, up_to - mass, up_to

    def moments(self) -> tuple[Floats, Floats]:
        """Mean and SD (P,)."""
        n = self.mass.shape[1]
        t, _ = legendre.leggauss(n)
        u = (self.low + self.high)[:, None] / 2 + (self.high - self.low)[:, None] / 2 * t
        x = half_line(self.scale[self._pool][:, None]).to_x(u)
        mean = np.add.reduceat((self.mass * x).sum(axis=1), self.starts)
        square = (self.mass * (x - mean[self._pool][:, None]) ** 2).sum(axis=1)
        return mean, np.sqrt(np.add.reduceat(square, self.starts))

    def _last(self, hit: NDArray[np.bool_]) -> Ints:
        """The last panel of each pool that `hit` (I,) marks, or its first panel."""
        index = np.where(hit, np.arange(len(hit)), 0)
        return np.maximum(np.maximum.reduceat(index, self.starts), self.starts)

    def pdf(self, x: Floats) -> Floats:
        return self.around(x)[1]

    def around(self, x: Floats) -> tuple[Floats, Floats, Floats]:
        axis = half_line(self.scale)
        u = axis.to_u(np.maximum(x, 0.0))
        panel = self._last(self.low <= u[self._pool])
        low, high = self.low[panel], self.high[panel]
        t = (2 * u - low - high) / (high - low)
        c, (up_to, before, _) = self._coef[panel].T, self._distribution
        below = before[panel] + legendre.legval(t, up_to[panel].T, tensor=False)
        value = np.maximum(legendre.legval(t, c, tensor=False), 0.0)
        rise = legendre.legval(t, legendre.legder(c), tensor=False) * 2 / (high - low)
        slope = axis.slope(u)  # x'(u); x'' / x' = 2 / (1 - u)
        return below, value / slope, (rise - value * 2 / (1 - u)) / slope**2

    def quantile(self, p: Floats) -> Floats:
        """Safeguarded Newton steps within the panel that holds the quantile."""
        coef, before, up_to = self._distribution
        last = np.append(self.starts[1:], len(before)) - 1
        target = p * up_to[last]
        panel = self._last(before < target[self._pool])
        c = coef[panel].T
        density = self._coef[panel].T
        half = (self.high[panel] - self.low[panel]) / 2
        goal = target - before[panel]
        low, high = np.full(len(p), -1.0), np.ones(len(p))
        t = np.zeros(len(p))
        for _ in range(_MAX_STEPS):
            excess = legendre.legval(t, c, tensor=False) - goal
            slope = legendre.legval(t, density, tensor=False) * half
            high = np.where(excess > 0, t, high)
            low = np.where(excess > 0, low, t)
            t, step = _newton(t, excess, slope, low, high)
            if (np.abs(step) <= 1e-9).all():
                break
        u = (self.high[panel] + self.low[panel]) / 2 + half * t
        return half_line(self.scale).to_x(u)


def _members(starts: Ints, n: int, pools: Ints) -> tuple[Ints, Ints]:
    """Positions of the members of some pools, and where each of those pools starts among them."""
    counts = np.diff(starts, append=n)[pools]
    new = np.cumsum(counts) - counts
    return np.arange(counts.sum()) + np.repeat(starts[pools] - new, counts), new


def _newton(
    x: Floats, excess: Floats, slope: Floats, low: Floats, high: Floats
) -> tuple[Floats, Floats]:
    """A Newton step, or halving where it would leave [low, high]; the new places and the steps."""
    with np.errstate(divide="ignore", invalid="ignore"):
        new = x - excess / slope
    outside = ~((new >= low) & (new <= high))
    new = np.where(outside, (low + high) / 2, new)
    return new, new - x
