"""Likelihood curves of two-by-two tables, and their integrals over a normal study effect.

Each study's log likelihood of its log odds ratio, L_i(theta), is computed once on panels of its
own. Its part in (mu, tau) is the integral of L_i(theta) N(theta; mu, tau^2): over the panels' nodes
where tau is wide against L_i, by Gauss-Hermite quadrature of the interpolated log L_i where it is
narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import legendre
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr

from nssi_meta.inference.panels import to_coefficients
from nssi_meta.models.two_by_two import Counts, log_likelihood

Floats = NDArray[np.float64]

#: Nodes of a panel, panel width in curvature radii of log L, its cap, and that of the radius.
_N, _WIDTH, _CAP, _SHOULDER = 16, 6.0, 3.0, 1.25
#: Below this ratio of tau to the curvature radius, Gauss-Hermite quadrature takes over.
_NARROW, _HERMITE, _MODE_STEPS = 0.8, 24, 4
#: How far below its peak (in logs) a likelihood is followed on fine panels.
_DEPTH = 45.0
#: From here on the excess of a normal over a far edge is its asymptotic series, to 1e-10.
_SERIES = 30.0
#: Values held at once: about a processor's cache.
_CACHE = 200_000


@dataclass(frozen=True)
class Curve:
    """log L of one study: `width` its curvature radius, values at Legendre nodes of panels.

    Beyond the panels it goes on as a straight line, which on a `level` side is level.
    """

    width: float
    edges: Floats
    theta: Floats
    log_weight: Floats
    values: Floats
    coef: Floats
    ends: tuple[float, float]
    level: tuple[bool, bool]

    def at(self, theta: Floats, derivative: int = 0) -> Floats:
        """log L, or a derivative of it, at any theta."""
        return self.series(self.coef, theta, derivative)

    def fitted(self, values: Floats) -> Floats:
        """Legendre coefficients of a function by its values at the nodes `theta`, for `series`."""
        return np.asarray(values.reshape(-1, _N) @ to_coefficients(_N).T)

    def series(self, coef: Floats, theta: Floats, derivative: int = 0) -> Floats:
        """The function with these coefficients, or a derivative of it, as `at`."""
        t = np.clip(theta, self.edges[0], self.edges[-1])
        panel = np.clip(np.searchsorted(self.edges, t, side="right") - 1, 0, len(self.edges) - 2)
        low, high = self.edges[panel], self.edges[panel + 1]
        own = legendre.legder(coef, derivative, axis=1)[panel]
        u = (2 * t - low - high) / (high - low)
        value: Floats = np.asarray(legendre.legval(u, np.moveaxis(own, -1, 0), tensor=False))
        value *= (2 / (high - low)) ** derivative
        below, above = theta < self.edges[0], theta > self.edges[-1]
        if derivative < 2 and (below.any() or above.any()):
            slopes = self._slopes(coef)
            for out, slope in zip((below, above), slopes, strict=True):
                value[out] = slope if derivative else value[out] + slope * (theta - t)[out]
        elif derivative:
            value[below | above] = 0.0
        return value

    def _slopes(self, coef: Floats) -> tuple[float, float]:
        """How the function with these coefficients goes on beyond the first and last panel."""
        edges, own = self.edges, legendre.legder(coef, 1, axis=1)
        pairs = ((0, -1.0, edges[1] - edges[0]), (-1, 1.0, edges[-1] - edges[-2]))
        left, right = (
            0.0 if is_level else float(legendre.legval(u, own[i])) * 2 / float(width)
            for is_level, (i, u, width) in zip(self.level, pairs, strict=True)
        )
        return max(left, 0.0), min(right, 0.0)

    def beyond(self, mu: Floats, tau: Floats) -> list[tuple[Floats, Floats, Floats]]:
        """Of either side of the panels, where L is exponential: log of the integral of L times
        N(mu, tau^2), and mean and mean square of theta there.

        The product is a normal with mean mu + slope tau^2, cut off x times tau above that.
        """
        out = []
        for side, edge, end, slope in zip(
            (-1.0, 1.0), self.edges[[0, -1]], self.ends, self._slopes(self.coef), strict=True
        ):
            away = side * (edge - mu) / tau
            x = away - side * slope * tau
            far = np.maximum(x, 0.0)
            near = np.minimum(x, 0.0)
            log_share = np.where(
                x > 0,
                np.log(0.5 * erfcx(far / np.sqrt(2))) - 0.5 * away**2,
                log_ndtr(-near) + 0.5 * (near - away) * (near + away),
            )
            # The mean excess over the edge in tau, and its mean square.
            hazard = np.sqrt(2 / np.pi) / erfcx(np.clip(x, -37.0, _SERIES) / np.sqrt(2))
            r = 1.0 / np.maximum(x, _SERIES) ** 2
            first = np.where(
                x > _SERIES,
                np.sqrt(r) * (1.0 - r * (2.0 - r * (10.0 - r * 74.0))),
                np.where(x > -37.0, hazard, 0.0) - x,
            )
            second = np.where(x > _SERIES, r * (2.0 - r * (10.0 - r * 74.0)), 1.0 - x * first)
            step = side * tau * first
            out.append((end + log_share, edge + step, edge * (edge + 2 * step) + tau**2 * second))
        return out

    def is_narrow(self, tau: Floats) -> NDArray[np.bool_]:
        """Whether a normal of SD tau is to be integrated by its own nodes, not the panels'."""
        return np.asarray(tau < _NARROW * self.width)

    def narrow(self, mu: Floats, tau: Floats) -> Floats:
        """log of the integral of L(theta) N(theta; mu, tau^2) where tau is small.

        `mu` and `tau` broadcast.
        """
        _, value, top, spread = self._hermite(mu, tau)
        return np.asarray(top + np.log(np.exp(value - top[..., None]).sum(axis=-1) * spread))

    def _hermite(self, mu: Floats, tau: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Nodes z = (theta - mu) / tau, logs of the terms at them, their maximum, what scales them.

        Gauss-Hermite quadrature about the mode of the product, which a few Newton steps find
        because log L is concave and, within tau, nearly straight.
        """
        node, weight = hermegauss(_HERMITE)
        mu, tau = np.broadcast_arrays(mu, tau)
        mode = mu.copy()
        for _ in range(_MODE_STEPS):
            bend = 1.0 - tau**2 * np.minimum(self.at(mode, 2), 0.0)
            mode -= (mode - mu - tau**2 * self.at(mode, 1)) / bend
        bend = 1.0 - tau**2 * np.minimum(self.at(mode, 2), 0.0)
        away, spread = tau * self.at(mode, 1), 1.0 / np.sqrt(bend)
        z = away[..., None] + spread[..., None] * node
        value = self.at(mu[..., None] + tau[..., None] * z) - 0.5 * z**2 + 0.5 * node**2
        value += np.log(weight / weight.sum())
        return z, value, value.max(axis=-1), spread

    def integrals(self, mu: Floats, tau: Floats) -> tuple[Floats, Floats, Floats]:
        """At mu and tau (n,) each: log of the integral, mean and mean square of theta given them.

        The integral is that of L(theta) N(theta; mu, tau^2).
        """
        out = np.empty((3, len(mu)))
        narrow = self.is_narrow(tau)
        per_node = {True: 4 * _HERMITE * _N, False: len(self.theta)}
        for small in (True, False):
            places = np.flatnonzero(narrow == small)
            step = max(1, _CACHE // per_node[small])
            for i in range(0, places.size, step):
                some = places[i : i + step]
                part = self._narrow_integrals if small else self._wide_integrals
                out[:, some] = part(mu[some], tau[some])
        return out[0], out[1], out[2]

    def _narrow_integrals(self, mu: Floats, tau: Floats) -> tuple[Floats, Floats, Floats]:
        z, value, top, spread = self._hermite(mu, tau)
        term = np.exp(value - top[:, None])
        total = term.sum(axis=1)
        theta = mu[:, None] + tau[:, None] * z
        first, second = ((term * theta**power).sum(axis=1) / total for power in (1, 2))
        return top + np.log(total * spread), first, second

    def _wide_integrals(self, mu: Floats, tau: Floats) -> tuple[Floats, Floats, Floats]:
        """Sums over the panels' nodes, and what lies beyond them."""
        top = self.values.max()
        weight = np.exp(self.values - top + self.log_weight)
        z = (self.theta - mu[:, None]) / tau[:, None]
        kernel = np.exp(-0.5 * z * z)
        powers = np.stack([weight, weight * self.theta, weight * self.theta**2], axis=1)
        sums = kernel @ powers / (tau * np.sqrt(2 * np.pi))[:, None]
        for log_share, first, second in self.beyond(mu, tau):
            share = np.exp(log_share - top)
            sums += share[:, None] * np.column_stack([np.ones(len(mu)), first, second])
        # Where nothing is left of L a number stands for it, not minus infinity.
        total = np.maximum(sums[:, 0], 1e-300)
        return np.log(total) + top, sums[:, 1] / total, sums[:, 2] / total


def study_curves(data: Counts, mean: float, sd: float) -> list[Curve]:
    """The likelihood of each study (k), on a common range; mean and SD of the baselines' prior."""
    y, v = data.log_odds_ratio()
    s = np.sqrt(v)
    scans = []
    for i in range(len(y)):
        one = data.one(i)
        theta = y[i] + s[i] * np.linspace(-60, 60, 361)
        value = log_likelihood(one, theta, mean, sd)
        step = theta[1] - theta[0]
        bend = -np.diff(value, 2).min() / step**2
        core = value > value.max() - _DEPTH
        stays = []
        for end, next_to in ((0, 1), (-1, -2)):
            # Empty cells: a likelihood that stays up on a side is constant from some point on.
            near = np.abs(value - value[end]) < 1e-13 * max(1.0, abs(value[end]))
            stays.append(bool(core[end] and near[next_to]))
            core &= ~near
        inside = theta[core] if core.any() else theta[[180]]
        # The shoulder of a flat likelihood is a logistic curve, whatever its curvature.
        width = 1 / np.sqrt(max(bend, _SHOULDER**-2))
        scans.append((one, width, (inside.min(), inside.max()), stays))
    low = min(s[2][0] for s in scans) - 1.0
    high = max(s[2][1] for s in scans) + 1.0
    curves = []
    for one, width, (first, last), (left, right) in scans:
        ends = first if left else low, last if right else high
        curves.append(_curve(one, width, (first, last), ends, (left, right), mean, sd))
    return curves


def _curve(
    one: Counts,
    width: float,
    core: tuple[float, float],
    ends: tuple[float, float],
    level: tuple[bool, bool],
    mean: float,
    sd: float,
) -> Curve:
    """Panels of equal width over the core, doubling from there to the ends of the range.

    Beyond its core a likelihood matters only where tau is narrow, and log L is smooth; one that
    stays up there is level, and its integral is closed by the normal distribution function.
    """
    size = min(_WIDTH * width, _CAP)
    n = max(1, int(np.ceil((core[1] - core[0]) / size)))
    middle = np.linspace(core[0], max(core[1], core[0] + size), n + 1)
    left, right = [middle[0]], [middle[-1]]
    for side, edge, end in ((left, -1.0, ends[0]), (right, 1.0, ends[1])):
        step = size
        while edge * (end - side[-1]) > 0:
            side.append(edge * min(edge * side[-1] + step, edge * end))
            step *= 2
    edges = np.array([*left[:0:-1], *middle, *right[1:]])
    x, w = legendre.leggauss(_N)
    half, mid = np.diff(edges)[:, None] / 2, (edges[1:] + edges[:-1])[:, None] / 2
    theta = (mid + half * x).ravel()
    values = log_likelihood(one, theta, mean, sd)
    coef = values.reshape(-1, _N) @ to_coefficients(_N).T
    at_ends = log_likelihood(one, np.array([edges[0], edges[-1]]), mean, sd)
    log_weight = np.log(half * w).ravel()
    return Curve(width, edges, theta, log_weight, values, coef, tuple(at_ends.tolist()), level)


def log_marginal(curves: Sequence[Curve], mu: Floats, tau: Floats) -> Floats:
    """Sum over studies of log of the integral of L_i(theta) N(theta; mu, tau^2): (M, T)."""
    curves = sorted(curves, key=lambda c: c.width)
    out = np.zeros((len(mu), len(tau)))
    starts = np.cumsum([0, *(len(c.theta) for c in curves)])
    theta = np.concatenate([c.theta for c in curves])
    tops = np.array([c.values.max() for c in curves])
    weight = np.concatenate(
        [np.exp(c.values - top + c.log_weight) for c, top in zip(curves, tops, strict=True)]
    )
    limit = _NARROW * np.array([c.width for c in curves])
    wide = np.searchsorted(limit, tau, side="right")
    for j in np.flatnonzero(wide > 0).tolist():
        m = int(wide[j])
        part = slice(0, starts[m])
        z = (theta[part] - mu[:, None]) / tau[j]
        z *= -0.5 * z
        kernel = np.exp(z)
        kernel *= weight[part]
        sums = np.add.reduceat(kernel, starts[:m], axis=1) / (tau[j] * np.sqrt(2 * np.pi))
        for i, curve in enumerate(curves[:m]):
            for log_share, *_ in curve.beyond(mu, tau[j]):
                sums[:, i] += np.exp(log_share - tops[i])
        with np.errstate(divide="ignore"):
            out[:, j] += (np.log(sums) + tops[:m]).sum(axis=1)
    for i, curve in enumerate(curves):
        narrow = np.flatnonzero(wide <= i)
        if narrow.size:
            out[:, narrow] += curve.narrow(mu[:, None], tau[narrow])
    return out
