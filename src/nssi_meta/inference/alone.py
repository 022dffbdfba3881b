"""True effects of rows that stand alone in a pool with bounds, without Monte Carlo error.

Given mu and the heterogeneity t (t^2 = tau^2 + omega^2) theta_i has the density
N(theta; mu, t^2) f_i(theta) / L_i(mu, t), where f_i is what the row says of theta by its sampling
variance, and L_i its integral. Summed over the posterior's nodes where t spans a panel of mu; where
a panel is wider than that, mu = theta - t z runs over the panel's polynomial (as `prediction`).
Quantiles are good to about 1e-6 (far out under Cauchy priors of both 3e-4), moments to 1e-10.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray
from scipy.special import log_ndtr

from nssi_meta.inference.adaptive import integrate
from nssi_meta.inference.densities import PanelDensity
from nssi_meta.inference.panels import Axis, gauss_legendre, panel_coefficients, panel_nodes
from nssi_meta.inference.prediction import fewer_values
from nssi_meta.models.likelihood import log_interval

if TYPE_CHECKING:
    from nssi_meta.inference.exact import ExactPosterior

Floats = NDArray[np.float64]

#: Values of t, where they are many, are interpolated to those of panels of nodes.
_PANELS, _ORDER = 4, 10
#: Nodes that add less than this are left out; as `prediction`, for the others.
_NEGLIGIBLE, _SPAN, _END, _NODES = 1e-11, 2.5, 7.0, 16
#: Error of a density of theta; values held at once.
_TOL, _CACHE = 1e-5, 100_000
_START = np.array([-1.0, -0.8, -0.5, -0.25, 0.0, 0.25, 0.5, 0.8, 1.0])
_LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class Row:
    """What a row says: `kind` exact, unsigned (`y`) or interval (`lower`, `upper`), variance v."""

    kind: str
    y: float
    lower: float
    upper: float
    v: float

    def log_density(self, mean: Floats, more: Floats | float = 0.0) -> Floats:
        """Log likelihood at `mean`, with variance v + `more`."""
        var = self.v + np.asarray(more)
        if self.kind == "interval":
            sd = np.sqrt(var)
            low, high = (self.lower - mean) / sd, (self.upper - mean) / sd
            if np.isinf(self.upper):
                return np.asarray(log_ndtr(-low))
            if np.isinf(self.lower):
                return np.asarray(log_ndtr(high))
            return np.asarray(log_interval(low, high))
        value = -0.5 * (self.y - mean) ** 2 / var
        if self.kind == "unsigned":
            value = np.logaddexp(value, -0.5 * (self.y + mean) ** 2 / var)
        return np.asarray(value - 0.5 * (np.log(var) + _LOG_2PI))

    def moments(self, mu: Floats, between: Floats) -> tuple[Floats, Floats]:
        """Mean and mean square of the true effect, given mu and the variance `between`."""
        total = between + self.v
        if self.kind == "interval":
            sd = np.sqrt(total)
            log_p = self.log_density(mu, between)
            a, b = (self.lower - mu) / sd, (self.upper - mu) / sd
            at_a, at_b = (np.exp(-0.5 * (z * z + _LOG_2PI) - log_p) for z in (a, b))
            mean = at_a - at_b
            # The terms of an open end are 0.
            left, right = (np.nan_to_num(z, posinf=0.0, neginf=0.0) for z in (a, b))
            square = 1.0 + left * at_a - right * at_b
            y, var = mu + sd * mean, total * np.maximum(square - mean**2, 0.0)
        else:
            y, var = np.full_like(total + mu, self.y), np.zeros_like(total + mu)
            if self.kind == "unsigned":
                y = self.y * np.tanh(self.y * mu / total)
                var = self.y**2 - y**2
        gain = between / total
        mean = mu + gain * (y - mu)
        return mean, mean**2 + gain**2 * var + gain * self.v

    @property
    def places(self) -> Floats:
        """Where its likelihood changes: first panels of theta end there."""
        ends = np.array([self.y, self.lower, self.upper])
        ends = ends[np.isfinite(ends)]
        if self.kind == "unsigned":
            ends = np.concatenate([ends, -ends])
        # Far enough out that a panel beyond, whose nodes may see nothing of a precise row, misses
        # nothing.
        steps = np.sqrt(self.v) * np.array([-8.0, -3.0, 0.0, 3.0, 8.0])
        return np.concatenate([end + steps for end in ends])


@dataclass(frozen=True)
class Effect(PanelDensity):
    """Posterior of a true effect, whose mean and SD the posterior's nodes give: `tell`."""

    tell: Callable[[], tuple[float, float]] | None = None

    @cached_property
    def _told(self) -> tuple[float, float]:
        return (float("nan"), float("inf")) if self.tell is None else self.tell()

    @property
    def mean(self) -> float:
        return self._told[0]

    @property
    def sd(self) -> float:
        return self._told[1]


@dataclass(frozen=True)
class Nodes:
    """The posterior of mu and t: `mass` (P, n, T) of the nodes of P panels of mu, t (T,).

    `all_nodes` are mu, t^2 and probability of the posterior's own nodes, for moments.
    """

    axis: Axis
    edges: Floats
    t: Floats
    mass: Floats
    moments: int
    all_nodes: tuple[Floats, Floats, Floats]

    @classmethod
    def of(cls, posterior: ExactPosterior) -> Nodes | None:
        """From a posterior whose mu is an axis with heterogeneity beside it; None without.

        None too where nodes were left out (`reported`): they are no tensor then.
        """
        mu = posterior.mu
        others = [d for d in (posterior.tau_density, posterior.omega_density) if d is not None]
        axes = [d.values.size for d in (mu, *others) if isinstance(d, PanelDensity)]
        if not isinstance(mu, PanelDensity) or np.prod(axes) != posterior.weight.size:
            return None
        mass = posterior.weight.reshape(mu.values.size, -1)
        t = np.sqrt(posterior.tau**2 + posterior.omega**2).reshape(mass.shape)[0]
        if not t.any():
            return None
        held = mass.sum(axis=0) > _NEGLIGIBLE * mass.sum()
        t, mass = t[held], mass[:, held]
        t, mass = fewer_values(t, mass, _PANELS, _ORDER)
        mass = np.where(np.abs(mass) > _NEGLIGIBLE * mass.max(), mass, 0.0) / mass.sum()
        moments = min(d.finite_moments for d in (mu, *others) if isinstance(d, PanelDensity))
        shape = (*mu.values.shape, len(t))
        whole = posterior.mu_mean, posterior.tau**2 + posterior.omega**2, posterior.weight
        return cls(mu.axis, mu.edges, t, mass.reshape(shape), moments, whole)

    def density(self, row: Row) -> Effect:
        """Posterior of the true effect of `row`, which is one of the pool's and stands alone."""
        u, w = panel_nodes(self.axis, self.edges, self.mass.shape[1])
        mu = self.axis.to_x(u)
        wide = (mu[:, -1] - mu[:, 0])[:, None] > self.mass.shape[1] / _SPAN * self.t
        wide &= (self.mass != 0.0).any(axis=1)
        panel, column = np.nonzero(wide)
        near = np.nonzero(self.mass * ~wide[:, None, :])
        at, t = mu[near[0], near[1]], self.t[near[2]]
        log_norm = row.log_density(at, t**2) + np.log(t)
        given = self.mass[near]
        values = self.mass * (np.diff(self.edges)[:, None] / 2 / w)[..., None]
        series = panel_coefficients(self.axis, values)[panel, :, column]
        with np.errstate(divide="ignore"):
            ends = self.axis.to_x(self.edges)
        low, high, narrow = ends[panel], ends[panel + 1], self.t[column]

        def log_density(theta: Floats) -> Floats:
            own = row.log_density(theta)
            out = np.zeros(len(theta))
            step = max(1, _CACHE // max(1, len(at)))
            for i in range(0, len(theta), step):
                some = slice(i, i + step)
                z = (theta[some, None] - at) / t
                kernel = np.exp(-0.5 * (z * z + _LOG_2PI) + own[some, None] - log_norm)
                out[some] = kernel @ given
            if len(panel):
                out += self._on_wide(theta, own, row, panel, low, high, narrow, series)
            with np.errstate(divide="ignore"):
                return np.log(np.maximum(out, 0.0))

        start = np.unique(np.concatenate([_START, self.axis.to_u(row.places)]))
        found = integrate(log_density, [self.axis], [start], tol=_TOL).marginal(0)
        return Effect(found.axis, found.edges, found.values, tell=partial(self._moments, row))

    def _moments(self, row: Row) -> tuple[float, float]:
        """Mean and SD of the row's true effect, as far as they exist."""
        mu, between, weight = self.all_nodes
        # Nodes without probability may lie where no likelihood can be told.
        kept = weight > 1e-25 * weight.max()
        first, second = row.moments(mu[kept], between[kept])
        share = weight[kept] / weight[kept].sum()
        mean = float(share @ first)
        sd = float(np.sqrt(max(float(share @ second) - mean**2, 0.0)))
        closed = row.kind != "interval" or np.isfinite(row.lower + row.upper)
        exist = 2 if closed else self.moments
        return (mean if exist > 0 else float("nan"), sd if exist > 1 else float("inf"))

    def _on_wide(
        self, theta: Floats, own: Floats, row: Row, panel: NDArray[np.intp], low: Floats,
        high: Floats, t: Floats, series: Floats,
    ) -> Floats:  # fmt: skip
        """What panels add that are wider than t: by pairs of a panel and a t, `series` (N, n)."""
        with np.errstate(over="ignore", divide="ignore"):
            first = np.clip((theta[:, None] - high) / t, -_END, _END)
            last = np.clip((theta[:, None] - low) / t, -_END, _END)
        place, pair = np.nonzero(last > first)
        s, w = gauss_legendre(_NODES)
        half = ((last - first) / 2)[place, pair][:, None]
        z = ((last + first) / 2)[place, pair][:, None] + half * s
        a, b = self.edges[panel[pair]][:, None], self.edges[panel[pair] + 1][:, None]
        at, sd = theta[place, None] - t[pair, None] * z, t[pair, None]
        u = self.axis.to_u(at)
        r = np.clip((2 * u - a - b) / (b - a), -1.0, 1.0)
        height = legendre.legval(r, series[pair].T[:, :, None], tensor=False)
        with np.errstate(divide="ignore"):
            height = height / (self.axis.slope(u) * (b - a) / 2)
        # Each kernel is a density: a wrong share of probability does no more harm than it is large.
        log_kernel = -0.5 * (z * z + _LOG_2PI) + own[place, None] - row.log_density(at, sd**2)
        value = (height * np.exp(log_kernel) * half * w).sum(axis=1)
        return np.asarray(np.bincount(place, value, len(theta)))
