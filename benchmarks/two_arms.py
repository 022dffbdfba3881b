"""The joint model of two conditions integrated on a grid: fast enough to simulate thousands of
reviews. The package's own priors (omega included) and likelihood of reviews with one row a study,
exact or a bound, without Monte Carlo chains to wait for; tests hold it against the model.

sigma_1, sigma_2, R, tau_0 and omega lie on a grid; the means of each condition on one that widens
with its sigma, since overlap is a ratio and must be resolved however small the effects are; a
mechanism's total spread (tau^2 + omega^2)^1/2 is summed over slices of what tau_0 and omega imply.
Draws are exact draws from the discretised posterior, spread evenly within their grid cell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr

from nssi_meta.models.profiles import LKJ_ETA, PRIOR_SCALES

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Nodes of the grids: sigma of each condition, R, tau_0, omega, slices of a mechanism's total
#: spread. Doubling any of them changes no interval of an overlap figure by more than its Monte
#: Carlo error.
NODES = {"sigma": 15, "R": 12, "tau_0": 8, "omega": 8, "spread": 14}
#: A grid of means reaches 4 sigma, in steps of this or less, and in `LEAST` steps or more.
STEP, LEAST = 0.1, 16
#: Largest sigma, tau_0, omega and total spread on the grid, and how much denser it is near 0.
LARGEST = {"sigma": 3.2, "tau_0": 2.0, "omega": 2.0, "spread": 4.5}
DENSER = {"sigma": 2.5, "tau_0": 1.5, "omega": 2.0, "spread": 3.5}
#: Pairs of sigmas are left out whose log posterior, each condition by itself, lies this far below
#: the best pair's; what R and the common spread add does not make up for that (a test).
NEGLIGIBLE = 11.0


@dataclass(frozen=True)
class Rows:
    """Rows of a simulated review: mechanism, arm (0 or 1), estimate or bounds, sampling variance.

    `y` is NaN where only the interval (`lower`, `upper`) is known.
    """

    mechanism: Ints
    arm: Ints
    y: Floats
    v: Floats
    lower: Floats
    upper: Floats


@dataclass(frozen=True)
class Draws:
    """mu (S, M, 2), R (S,) and sigma (S, 2)."""

    mu: Floats
    R: Floats
    sigma: Floats


class TwoArms:
    """The grid; built once, used for every data set.

    `eta` is the shape of the LKJ prior of R's pair: `LKJ_ETA` where the model has two conditions,
    half more for each further one (the margin of a larger matrix).
    """

    def __init__(self, eta: float = LKJ_ETA) -> None:
        n = NODES
        self.sigmas, sigma_width = _cells("sigma", n["sigma"])
        edges = np.linspace(-1, 1, n["R"] + 1)
        correlations = (edges[1:] + edges[:-1]) / 2
        self.r_step = 2 / n["R"]
        at = np.arange(n["sigma"])
        self.at1, self.at2, at_r = (
            a.ravel() for a in np.meshgrid(at, at, np.arange(n["R"]), indexing="ij")
        )
        self.r = correlations[at_r]
        half = np.maximum(LEAST, np.ceil(4 * self.sigmas / STEP)).astype(np.int64)
        self.step = 4 * self.sigmas / half
        self.z = [4 / h * np.arange(-h, h + 1) for h in half]
        self.means = [z * s for z, s in zip(self.z, self.sigmas, strict=True)]
        self.P = []
        for i, j, r in zip(self.at1, self.at2, self.r, strict=True):
            a, b = self.z[i][:, None], self.z[j][None, :]
            density = np.exp(-0.5 * (a**2 - 2 * r * a * b + b**2) / (1 - r**2))
            self.P.append((density / density.sum()).astype(np.float32))
        prior = -0.5 * (self.sigmas / PRIOR_SCALES["sigma"]) ** 2 + np.log(sigma_width)
        self.log_prior = prior[self.at1] + prior[self.at2] + (eta - 1) * np.log(1 - self.r**2)
        tau_0, omega = (_cells(name, n[name]) for name in ("tau_0", "omega"))
        scales = [
            -0.5 * (x / PRIOR_SCALES[name]) ** 2 + np.log(width)
            for name, (x, width) in (("tau_0", tau_0), ("omega", omega))
        ]
        self.log_prior_spread = (scales[0][:, None] + scales[1][None, :]).ravel()
        self.spread, _ = _cells("spread", n["spread"])
        ends = _map("spread", np.linspace(0, 1, n["spread"] + 1))
        ends[-1] = np.inf
        # P(total spread < end) for tau ~ half-normal(tau_0) beside omega.
        rest = np.sqrt(np.maximum(ends**2 - omega[0][:, None] ** 2, 0.0))
        below = 2 * ndtr(rest[None] / tau_0[0][:, None, None]) - 1
        self.w_spread = np.maximum(np.diff(below, axis=2), 1e-12).reshape(-1, n["spread"])
        self._bounds: dict[tuple[float, float, float], Floats] = {}

    def draws(self, rows: Rows, n_mechanisms: int, n: int, rng: np.random.Generator) -> Draws:
        """n draws from the posterior of a review with these rows."""
        like = [self._likelihood(rows, n_mechanisms, arm) for arm in (0, 1)]
        n_t = len(self.spread)
        left, right = ([x.reshape(-1, x.shape[2]) for x in arm] for arm in like)
        used = np.flatnonzero(self._matters(like))
        fit = np.empty((len(used), n_mechanisms, n_t))
        for row, k in enumerate(used):
            both = np.einsum("tg,tg->t", left[self.at1[k]] @ self.P[k], right[self.at2[k]])
            fit[row] = both.reshape(n_mechanisms, n_t)
        fit = np.maximum(fit, 1e-300)
        per = np.log(fit @ self.w_spread.T).sum(axis=1)
        log_post = per + self.log_prior[used, None] + self.log_prior_spread
        post = np.exp(log_post - log_post.max()).ravel()
        pick = np.sort(rng.choice(post.size, n, p=post / post.sum()))
        row, h = np.unravel_index(pick, log_post.shape)
        k = used[row]
        mu = np.empty((n, n_mechanisms, 2))
        t = np.stack(
            [_choose(self.w_spread[h] * fit[row, m], rng) for m in range(n_mechanisms)], axis=1
        )
        # Draws of one node of (sigma, R) share their matrix.
        starts = np.flatnonzero(np.concatenate([[True], k[1:] != k[:-1]]))
        for lo, hi in zip(starts, [*starts[1:], n], strict=True):
            P, s1, s2 = self.P[k[lo]], self.at1[k[lo]], self.at2[k[lo]]
            m = np.tile(np.arange(n_mechanisms), hi - lo)
            a, b = (x[s][m, t[lo:hi].ravel()] for x, s in zip(like, (s1, s2), strict=True))
            i = _choose(a * (b @ P.T), rng)
            j = _choose(P[i] * b, rng)
            pair = np.stack([self.means[s1][i], self.means[s2][j]], axis=1)
            mu[lo:hi] = pair.reshape(hi - lo, n_mechanisms, 2)
        order = rng.permutation(n)
        mu, k = mu[order], k[order]
        cell = np.stack([self.step[self.at1[k]], self.step[self.at2[k]]], axis=1)[:, None, :]
        mu += cell * (rng.random(mu.shape) - 0.5)
        r = self.r[k] + self.r_step * (rng.random(n) - 0.5)
        return Draws(mu, r, np.stack([self.sigmas[self.at1[k]], self.sigmas[self.at2[k]]], axis=1))

    def _matters(self, like: list[list[Floats]]) -> NDArray[np.bool_]:
        """Which nodes of (sigma_1, sigma_2, R) can hold posterior mass."""
        alone = []
        for arm in like:
            best = []
            for x, z in zip(arm, self.z, strict=True):
                p = np.exp(-0.5 * z**2)
                fit = np.maximum(x @ (p / p.sum()), 1e-300)
                per = np.log(fit @ self.w_spread.T).sum(axis=0) + self.log_prior_spread
                best.append(per.max())
            alone.append(np.array(best))
        both = alone[0][self.at1] + alone[1][self.at2] + self.log_prior
        return np.asarray(both > both.max() - NEGLIGIBLE)

    def _likelihood(self, rows: Rows, n_mechanisms: int, arm: int) -> list[Floats]:
        """Per sigma the likelihood (M, T, G) of an arm's rows at each total spread and mean.

        At most 1; one factor a mechanism is left out.
        """
        at = np.concatenate(self.means)
        log = np.zeros((n_mechanisms, len(self.spread), len(at)))
        for i in np.flatnonzero(rows.arm == arm):
            if np.isfinite(rows.y[i]):
                sd = np.sqrt(rows.v[i] + self.spread[:, None] ** 2)
                log[rows.mechanism[i]] += -0.5 * ((rows.y[i] - at) / sd) ** 2 - np.log(sd)
                continue
            key = (float(rows.lower[i]), float(rows.upper[i]), float(rows.v[i]))
            if key not in self._bounds:  # few studies differ in their bounds
                self._bounds[key] = _log_inside(*key, at, self.spread)
            log[rows.mechanism[i]] += self._bounds[key]
        like = np.exp(log - log.max(axis=(1, 2), keepdims=True)).astype(np.float32)
        ends = np.cumsum([len(x) for x in self.means])[:-1]
        return [np.ascontiguousarray(x) for x in np.split(like, ends, axis=2)]


def _map(name: str, u: Floats) -> Floats:
    """From (0, 1) to the range of a scale, smoothly, denser near 0."""
    a = DENSER[name]
    return np.asarray(LARGEST[name] * np.expm1(a * u) / np.expm1(a))


def _cells(name: str, n: int) -> tuple[Floats, Floats]:
    """Middles and widths (n,) of the cells of a scale: the midpoint rule after `_map`."""
    edges = _map(name, np.linspace(0, 1, n + 1))
    return _map(name, (np.arange(n) + 0.5) / n), np.diff(edges)


def _choose(weight: Floats, rng: np.random.Generator) -> Ints:
    """One position per row, with probability proportional to its weight."""
    total = np.cumsum(weight, axis=1, dtype=float)
    u = rng.random(len(weight)) * total[:, -1]
    return np.minimum((total < u[:, None]).sum(axis=1), weight.shape[1] - 1)


def _log_inside(lower: float, upper: float, v: float, at: Floats, spread: Floats) -> Floats:
    """Log probability (T, G) that an estimate falls between its bounds."""
    sd = np.sqrt(v + spread[:, None] ** 2)
    low, high = (lower - at) / sd, (upper - at) / sd
    if np.isinf(lower) or np.isinf(upper):
        return np.asarray(log_ndtr(high) if np.isinf(lower) else log_ndtr(-low))
    flip = low + high > 0
    low, high = np.where(flip, -high, low), np.where(flip, -low, high)
    a, b = log_ndtr(low), log_ndtr(high)
    return np.asarray(b + np.log1p(-np.exp(np.minimum(a - b, -1e-12))))
