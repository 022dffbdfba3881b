"""The effect in a new setting, where mu is a quadrature axis: mu + t z, with t^2 all variances.

Given its heterogeneity t a new effect is mu's conditional density smoothed by a normal of SD t. On
panels of mu that t spans, the Gauss-Legendre nodes of mu are a mixture of normals; on wider panels
the panel's polynomial is integrated over z instead. Either way the error is that of the grid.
"""

from __future__ import annotations

import math
from bisect import bisect, insort
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from nssi_meta.inference.adaptive import Grid
from nssi_meta.inference.panels import (
    Axis,
    gauss_legendre,
    half_line,
    panel_coefficients,
    panel_nodes,
    to_coefficients,
)
from nssi_meta.inference.roots import rising_root

Floats = NDArray[np.float64]

#: More values of t than this are interpolated to those of `_PANELS` panels of `_ORDER` nodes.
_MANY = 48
_PANELS, _ORDER = 8, 12
#: A panel of n nodes integrates a normal kernel that is wider than this share of it, over n.
_SPAN = 2.5
#: Where a normal density ends for our purposes, and the nodes between.
_END, _NODES = 8.5, 32
#: Probability of a node that adds nothing to 1e-9 of the whole.
_NEGLIGIBLE = 1e-13


@dataclass(frozen=True)
class Predictive:
    """Distribution of a new setting's effect.

    `mass` (P, n, T) are the probabilities of the n nodes of P panels of mu (`edges` (P + 1,) in
    the coordinate of `axis`) under T values `t` of the total heterogeneity. Where those were
    interpolated, masses may be slightly negative. `seen` are shares below places that were asked
    for, in rising order: the next quantile starts between them.
    """

    axis: Axis
    edges: Floats
    t: Floats
    mass: Floats
    moments: tuple[float, float]
    seen: list[tuple[float, float]] = field(default_factory=list, compare=False, repr=False)

    @classmethod
    def build(cls, grid: Grid, total: Floats, finite_moments: int = 2) -> Predictive:
        """From a grid whose first axis is mu; `total` (1, ...) is t at the nodes of the others."""
        n_mu, n = grid.weight.shape[0], grid.n
        t, mass = total[0].ravel(), grid.weight.reshape(n_mu, -1)
        mass = mass / mass.sum()
        mean = float(grid.x[0] @ mass.sum(axis=1))
        var = float((grid.x[0] - mean) ** 2 @ mass.sum(axis=1) + mass.sum(axis=0) @ t**2)
        moments = (
            mean if finite_moments > 0 else float("nan"),
            math.sqrt(var) if finite_moments > 1 else float("inf"),
        )
        held = mass.sum(axis=0) > _NEGLIGIBLE
        t, mass = t[held], mass[:, held]
        t, mass = fewer_values(t, mass, _PANELS, _ORDER)
        mass = np.where(np.abs(mass) > _NEGLIGIBLE, mass, 0.0)
        shares = (mass / mass.sum()).reshape(-1, n, len(t))
        return cls(grid.axes[0], grid.edges[0], t, shares, moments)

    @cached_property
    def _mu(self) -> Floats:
        """Values of mu at the nodes (P, n)."""
        return self.axis.to_x(panel_nodes(self.axis, self.edges, self.mass.shape[1])[0])

    @cached_property
    def _wide(self) -> NDArray[np.bool_]:
        """Which panels are too wide for their nodes to carry a kernel of SD t (P, T)."""
        width = self._mu[:, -1] - self._mu[:, 0]
        wide = width[:, None] > self.mass.shape[1] / _SPAN * self.t
        return np.asarray(wide & (self.mass != 0.0).any(axis=1))

    @cached_property
    def _normals(self) -> tuple[Floats, Floats, Floats]:
        """Means, SDs and weights of the part that is a mixture."""
        weight = self.mass * ~self._wide[:, None, :]
        keep = weight != 0.0
        mu = np.broadcast_to(self._mu[..., None], weight.shape)
        sd = np.broadcast_to(self.t, weight.shape)
        return mu[keep], sd[keep], weight[keep]

    @cached_property
    def _smooth(self) -> tuple[NDArray[Any], ...]:
        """The other part, by pairs of a panel and a t (N,): ends, t, mass and polynomials in u.

        The polynomials (N, n) and (N, n + 1) are those of the density and of its integral.
        """
        panel, column = np.nonzero(self._wide)
        mass = self.mass[panel, :, column]
        _, w = panel_nodes(self.axis, self.edges, mass.shape[1])
        # Per unit of the panel's own coordinate, which runs from -1 to 1.
        values = self.mass * (np.diff(self.edges)[:, None] / 2 / w)[..., None]
        density = panel_coefficients(self.axis, values)[panel, :, column]
        with np.errstate(divide="ignore"):
            ends = self.axis.to_x(self.edges)
        low, high = ends[panel], ends[panel + 1]
        below = legendre.legint(density, lbnd=-1, axis=1)
        return panel, low, high, self.t[column], mass.sum(axis=1), density, below

    def _around(self, x: float) -> tuple[float, float]:
        """Distribution function and density at `x`."""
        mean, sd, weight = self._normals
        z = (x - mean) / sd
        share = float(ndtr(z) @ weight)
        height = float(np.exp(-0.5 * z * z) @ (weight / sd)) / np.sqrt(2 * np.pi)
        panel, low, high, t, mass, density, below = self._smooth
        if not len(t):
            return share, height
        with np.errstate(over="ignore", divide="ignore"):
            first = np.clip((x - high) / t, -_END, _END)
            last = np.clip((x - low) / t, -_END, _END)
        # A panel that lies below x as a whole has z > 0 there: its mass counts for these z.
        share += float(mass @ ndtr(first))
        at = np.flatnonzero(last > first)
        panel, t, first, last = panel[at], t[at], first[at], last[at]
        s, w = gauss_legendre(_NODES)
        half = (last - first) / 2
        z = (first + last)[:, None] / 2 + half[:, None] * s
        kernel = np.exp(-0.5 * z * z) * half[:, None] * w / np.sqrt(2 * np.pi)
        u = self.axis.to_u(x - t[:, None] * z)
        a, b = self.edges[panel][:, None], self.edges[panel + 1][:, None]
        r = np.clip((2 * u - a - b) / (b - a), -1.0, 1.0)
        with np.errstate(divide="ignore"):
            slope = self.axis.slope(u) * (b - a) / 2
        share += float((_series(r, below[at]) * kernel).sum())
        height += float((_series(r, density[at]) / slope * kernel).sum())
        return share, height

    @property
    def mean(self) -> float:
        return self.moments[0]

    @property
    def sd(self) -> float:
        return self.moments[1]

    def pdf(self, x: Floats | float) -> Floats:
        return self.cdf_and_pdf(x)[1]

    def cdf(self, x: Floats | float) -> Floats:
        return self.cdf_and_pdf(x)[0]

    def cdf_and_pdf(self, x: Floats | float) -> tuple[Floats, Floats]:
        """Both, for little more than the price of one."""
        share, height = np.vectorize(self._around, otypes=[float, float])(x)
        return np.clip(share, 0.0, 1.0), height

    @cached_property
    def _middle(self) -> tuple[float, float]:
        """Median of mu, and a length of the bulk, however heavy the tails are."""
        nodes, mass = self._mu.ravel(), np.cumsum(self.mass.sum(axis=2).ravel())
        at = np.searchsorted(mass, np.array([0.16, 0.5, 0.84]) * mass[-1])
        below, middle, above = nodes[np.minimum(at, len(nodes) - 1)]
        t = _median(self.t, self.mass.sum(axis=(0, 1)))
        return float(middle), float(np.hypot((above - below) / 2, t))

    def quantile(self, p: float) -> float:
        """Newton inside a bracket of places seen before, which is widened until it holds."""
        middle, length = self._middle

        def excess(x: float) -> tuple[float, float]:
            if not np.isfinite(x):
                raise FloatingPointError(f"no {p:g}-quantile found below {self.seen[-1][1]:g}")
            share, height = self._around(float(x))
            insort(self.seen, (share, x))
            return share - p, height

        if not self.seen:
            excess(middle + length * float(ndtri(p)))
        step = 0.5 * length
        while self.seen[0][0] > p:
            excess(self.seen[0][1] - step)
            step *= 4
        step = 0.5 * length
        while self.seen[-1][0] < p:
            excess(self.seen[-1][1] + step)
            step *= 4
        place = min(max(bisect(self.seen, (p, -np.inf)), 1), len(self.seen) - 1)
        (before, low), (after, high) = self.seen[place - 1 : place + 1]
        share = (p - before) / (after - before) if after > before else 0.5
        return float(rising_root(excess, low, high, low + share * (high - low), 1e-12 * length))


def _series(r: Floats, coefficients: Floats) -> Floats:
    """Legendre series at `r` (N, m), one a row of `coefficients` (N, n)."""
    return np.asarray(legendre.legval(r, coefficients.T[:, :, None], tensor=False))


def _median(t: Floats, mass: Floats) -> float:
    order = np.argsort(t)
    share = np.cumsum(mass[order])
    return float(t[order][np.searchsorted(share, 0.5 * share[-1])])


def fewer_values(t: Floats, mass: Floats, panels: int, order: int) -> tuple[Floats, Floats]:
    """Fewer values of t (T,), with masses (n_mu, T) that give the same integrals over t.

    What is integrated is smooth in t: its polynomial through `order` nodes of `panels` panels of
    t / (t + median). A few values stay as they are.
    """
    if len(t) <= _MANY:
        return t, mass
    axis = half_line(_median(t, mass.sum(axis=0)))
    u = axis.to_u(t)
    edges = np.linspace(u.min(), u.max(), panels + 1)
    panel = np.clip(np.searchsorted(edges, u, side="right") - 1, 0, panels - 1)
    r = (2 * u - edges[panel] - edges[panel + 1]) / np.diff(edges)[panel]
    lagrange = legendre.legvander(r, order - 1) @ to_coefficients(order)
    spread = np.zeros((len(t), panels, order))
    spread[np.arange(len(t)), panel] = lagrange
    x, _ = gauss_legendre(order)
    nodes = (edges[1:] + edges[:-1])[:, None] / 2 + np.diff(edges)[:, None] / 2 * x
    return axis.to_x(nodes).ravel(), mass @ spread.reshape(len(t), -1)
