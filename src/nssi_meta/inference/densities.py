"""One-dimensional posteriors in closed or piecewise-polynomial form: no Monte Carlo error.

`NormalMixture` is what a normal-normal model leaves for mu, predictions and shrunken effects once
the variance parameters are quadrature nodes; `PanelDensity` holds any smooth density as its values
on Gauss-Legendre panels. Both answer the same questions: `pdf`, `cdf`, `quantile`, `mean`, `sd`,
and through `interval` the central or shortest credible interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from nssi_meta.inference.panels import (
    Axis,
    gauss_legendre,
    half_line,
    log_line,
    panel_coefficients,
    panel_nodes,
    real_line,
    to_coefficients,
)
from nssi_meta.inference.roots import bracketed_root, rising_root

Floats = NDArray[np.float64]
IntervalKind = Literal["central", "shortest"]
_NEGLIGIBLE = 1e-13
#: An SD this many times the typical component's belongs to the tails.
_HEAVY = 100.0


class Density(Protocol):
    """What every one-dimensional posterior can answer."""

    @property
    def mean(self) -> float: ...
    @property
    def sd(self) -> float: ...
    def pdf(self, x: Floats | float) -> Floats: ...
    def cdf(self, x: Floats | float) -> Floats: ...
    def quantile(self, p: float) -> float: ...


@dataclass(frozen=True)
class NormalMixture:
    """A finite mixture of normals; `means`, `sds`, `weights` (n,), weights summing to 1.

    Where it stands for a density without a mean or an SD (`finite_moments`), they are NaN and
    infinite.
    """

    means: Floats
    sds: Floats
    weights: Floats
    finite_moments: int = 2

    @classmethod
    def build(
        cls, means: Floats, sds: Floats, weights: Floats, finite_moments: int = 2
    ) -> NormalMixture:
        """Flatten, drop components that add below 1e-13 to mass and variance, normalise."""
        m, s, w = np.broadcast_arrays(means, sds, weights)
        m, s, w = m.ravel(), s.ravel(), w.ravel()
        spread = w * s**2
        keep = (w > _NEGLIGIBLE * w.max()) | (spread > _NEGLIGIBLE * spread.max())
        return cls(m[keep], s[keep], w[keep] / w[keep].sum(), finite_moments)

    @property
    def mean(self) -> float:
        return self._moments[0] if self.finite_moments > 0 else float("nan")

    @property
    def sd(self) -> float:
        return self._moments[1] if self.finite_moments > 1 else float("inf")

    @cached_property
    def _moments(self) -> tuple[float, float]:
        """Mean and SD of the mixture as it stands."""
        mean = float(self.weights @ self.means)
        centred = self.means - mean
        return mean, float(np.sqrt(self.weights @ (self.sds**2 + centred**2)))

    def pdf(self, x: Floats | float) -> Floats:
        z = (np.asarray(x, dtype=float)[..., None] - self.means) / self.sds
        return np.exp(-0.5 * z**2) @ (self.weights / self.sds) / np.sqrt(2 * np.pi)

    def cdf(self, x: Floats | float) -> Floats:
        z = (np.asarray(x, dtype=float)[..., None] - self.means) / self.sds
        return np.asarray(ndtr(z) @ self.weights)

    def quantile(self, p: float) -> float:
        """The p-quantile: Newton from the normal with the same moments, inside a bracket.

        The mixture's quantile lies between the smallest and the largest of its components'. Where
        the tails are so heavy that the SD says nothing of the bulk, `within` tells where it is.
        """
        heavy = self.weights > _NEGLIGIBLE * self.weights.max()
        edge = self.means[heavy] + self.sds[heavy] * ndtri(p)
        low, high = float(edge.min()), float(edge.max())
        # The components' SD too: means of 1e-17 round 0 differ by rounding alone.
        if high - low <= 1e-14 * max(abs(low), abs(high), float(self.sds[heavy].max())):
            return high
        density = self.weights / (self.sds * np.sqrt(2 * np.pi))

        def excess(x: float) -> tuple[float, float]:
            z = (x - self.means) / self.sds
            return float(ndtr(z) @ self.weights) - p, float(np.exp(-0.5 * z * z) @ density)

        mean, sd = self._moments
        if sd > _HEAVY * self._typical:
            low, high = within(self.means, self.sds, self.weights, p)
            xtol = max(1e-12 * self._typical, 1e-16 * (high - low))
            return rising_root(excess, low, high, (low + high) / 2, xtol)
        start = mean + sd * float(ndtri(p))
        return rising_root(excess, low, high, start, 1e-12 * sd)

    @cached_property
    def _typical(self) -> float:
        """Harmonic mean of the components' SDs."""
        return 1.0 / float(self.weights @ (1.0 / self.sds))


def within(means: Floats, sds: Floats, weights: Floats, p: float) -> tuple[float, float]:
    """Two values that the p-quantile of a normal mixture (n,) lies between, whatever its tails.

    If components of mass p / q have their q-quantile below x, the mixture has p below x. Taken at
    q half-way from p to 1; the lower end is that of the mirrored mixture.
    """

    def above(m: Floats, p: float) -> float:
        q = (1.0 + p) / 2.0
        edge = m + sds * ndtri(q)
        order = np.argsort(edge)
        place = int(np.searchsorted(np.cumsum(weights[order]), p / q))
        return float(edge[order[min(place, len(edge) - 1)]])

    return -above(-means, 1.0 - p), above(means, p)


@dataclass(frozen=True)
class PanelDensity:
    """A density given by its values in u at the n nodes (`panel_nodes`) of each of P panels.

    `edges` (P + 1,) in u, `values` (P, n) = density with respect to u, integrating to 1. Where
    `finite_moments` says that they do not exist `sd` is infinite, and so is `mean` on a half line;
    on the whole line it is NaN.
    """

    axis: Axis
    edges: Floats
    values: Floats
    finite_moments: int = 2

    @cached_property
    def _nodes(self) -> tuple[Floats, Floats]:
        return panel_nodes(self.axis, self.edges, self.values.shape[1])

    @cached_property
    def _coef(self) -> Floats:
        """Legendre coefficients (P, n) of each panel's density."""
        return panel_coefficients(self.axis, self.values)

    @cached_property
    def _antiderivative(self) -> tuple[Floats, Floats]:
        """Coefficients (P, n + 1) of each panel's distribution function and mass before it."""
        half = np.diff(self.edges)[:, None] / 2
        coef = legendre.legint(self._coef, lbnd=-1, axis=1) * half
        mass = legendre.legval(1.0, coef.T)
        return coef, np.concatenate([[0.0], np.cumsum(mass)])

    @cached_property
    def mean(self) -> float:
        if self.finite_moments < 1:
            return float("inf" if self.axis.low == 0.0 or self.axis.open_low else "nan")
        u, w = self._nodes
        return float(np.sum(w * self.values * self.axis.to_x(u)))

    @cached_property
    def sd(self) -> float:
        if self.finite_moments < 2:
            return float("inf")
        u, w = self._nodes
        return float(np.sqrt(np.sum(w * self.values * (self.axis.to_x(u) - self.mean) ** 2)))

    def _locate(self, u: Floats) -> tuple[NDArray[np.intp], Floats]:
        panel = np.clip(np.searchsorted(self.edges, u, side="right") - 1, 0, len(self.values) - 1)
        low, high = self.edges[panel], self.edges[panel + 1]
        return panel, (2 * u - low - high) / (high - low)

    def pdf(self, x: Floats | float) -> Floats:
        x = np.asarray(x, dtype=float)
        u = self.axis.to_u(x)
        panel, t = self._locate(u)
        with np.errstate(divide="ignore"):
            value = legendre.legval(t, self._coef[panel].T, tensor=False) / self.axis.slope(u)
        if self.axis.open_low:
            value = np.where(u <= self.axis.low, 0.0, value)
        return np.maximum(value, 0.0)

    def cdf(self, x: Floats | float) -> Floats:
        panel, t = self._locate(self.axis.to_u(np.asarray(x, dtype=float)))
        coef, before = self._antiderivative
        inside = legendre.legval(t, coef[panel].T, tensor=False)
        return np.clip((before[panel] + inside) / before[-1], 0.0, 1.0)

    def quantile(self, p: float) -> float:
        coef, before = self._antiderivative
        target = p * before[-1]
        panel = int(np.clip(np.searchsorted(before, target, side="left") - 1, 0, len(coef) - 1))
        low, high = self.edges[panel], self.edges[panel + 1]

        half = (high - low) / 2

        def excess(t: float) -> tuple[float, float]:
            inside = float(legendre.legval(t, coef[panel]))
            slope = float(legendre.legval(t, self._coef[panel])) * half
            return inside + before[panel] - target, slope

        t = rising_root(excess, -1.0, 1.0, 0.0, 1e-15)
        return float(self.axis.to_x(np.asarray((low + high) / 2 + t * (high - low) / 2)))

    def quantiles(self, p: Floats) -> Floats:
        """Many quantiles at once, for draws: interpolated, good to 1e-4 of a panel."""
        t = np.linspace(-1, 1, 201)[1:]
        coef, before = self._antiderivative
        inside = before[:-1, None] + legendre.legval(t, coef.T)
        cdf = np.maximum.accumulate(np.concatenate([[0.0], inside.ravel() / before[-1]]))
        mid, half = (self.edges[1:] + self.edges[:-1]) / 2, np.diff(self.edges) / 2
        u = np.concatenate([self.edges[:1], (mid[:, None] + half[:, None] * t).ravel()])
        return np.asarray(self.axis.to_x(np.interp(p, cdf, u)))


__all__ = [
    "Axis", "Density", "NormalMixture", "PanelDensity", "gauss_legendre", "half_line", "interval",
    "log_line", "real_line", "to_coefficients", "within",
]  # fmt: skip


def interval(
    density: Density, level: float = 0.95, kind: IntervalKind = "central", low: float = -np.inf
) -> tuple[float, float]:
    """Credible interval of a unimodal density: `central` (equal tails) or `shortest` (HPD).

    `low` is the lower end of the support (0 for a standard deviation), at which the shortest
    interval starts when the density only falls.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level:g} (0.95 is usual)")
    tail = 1.0 - level
    if kind == "central":
        return density.quantile(tail / 2), density.quantile(1 - tail / 2)

    if not np.isfinite(low) and (found := _balanced(density, level)) is not None:
        return found

    def ends(p: float) -> tuple[float, float]:
        return density.quantile(p), density.quantile(p + level)

    def balance(p: float) -> float:
        a, b = ends(p)
        return float(density.pdf(a) - density.pdf(b))

    first, last = tail * 1e-9, tail * (1 - 1e-9)
    if np.isfinite(low) and float(density.pdf(low)) >= float(density.pdf(density.quantile(level))):
        return low, density.quantile(level)
    if balance(first) >= 0:
        # The density falls from its lower end, for good or (a log-t) with a mode further up.
        grid = tail * np.concatenate([np.geomspace(1e-9, 0.1, 30), np.linspace(0.1, 1, 20)[1:-1]])
        width = [b - a for a, b in map(ends, grid)]
        i = int(np.argmin(width))
        if i == 0:
            start, end = ends(first)
            # The quantile next to the end of the support stands for it; a prior may start later.
            return (low if start - low < 1e-6 * (end - start) else start), end
        first, last = float(grid[i - 1]), float(grid[min(i + 1, len(grid) - 1)])
        if balance(first) >= 0 or balance(last) <= 0:
            return ends(float(grid[i]))
    if balance(last) <= 0:
        return ends(last)
    return ends(bracketed_root(balance, first, last, 1e-14))


def _balanced(density: Density, level: float) -> tuple[float, float] | None:
    """Ends between which `level` lies and at which the density is the same, by Newton's method.

    From the central interval, with slopes by differences. None where it does not get there on the
    two sides of a mode: then the slow way must look.
    """
    a, b = density.quantile((1 - level) / 2), density.quantile((1 + level) / 2)
    h = 1e-4 * (b - a)
    if not h > 0:
        return None
    for _ in range(20):
        f = density.pdf(np.array([a, a - h, a + h, b, b - h, b + h]))
        mass = density.cdf(np.array([a, b]))
        rise, fall = (f[2] - f[1]) / (2 * h), (f[5] - f[4]) / (2 * h)
        if not (rise > 0 > fall and f[0] > 0 and f[3] > 0):
            return None
        short, gap = mass[1] - mass[0] - level, f[3] - f[0]
        scale = f[3] * rise - f[0] * fall
        da, db = (gap * f[3] - short * fall) / scale, (gap * f[0] - short * rise) / scale
        a, b = float(a + da), float(b + db)
        if not a < b:
            return None
        # With such slopes a step leaves less than 1e-6 of itself.
        if abs(da) + abs(db) <= 1e-7 * (b - a):
            return a, b
    return None
