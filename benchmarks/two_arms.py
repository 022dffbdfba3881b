"""The joint model of two conditions integrated on a grid: fast enough to simulate hundreds of
reviews. One row a study, so that omega plays no part; otherwise the package's own priors and
likelihood (exact rows and bounds), without Monte Carlo chains to wait for.

sigma_1, sigma_2, R and tau_0 lie on a grid; the means of each condition on one that widens with its
sigma, since overlap is a ratio and must be resolved however small the effects are; a mechanism's
tau is summed over slices of its half-normal prior. Draws are exact draws from the discretised
posterior, spread evenly within their grid cell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr

from nssi_meta.models.profiles import LKJ_ETA, PRIOR_SCALES

Floats = NDArray[np.float64]

#: No true mean lies beyond it; a grid of means reaches 4 sigma or this, in HALF steps either way.
FARTHEST, HALF = 3.2, 32
SIGMAS = np.array(
    [0.02, 0.06, 0.1, 0.15, 0.21, 0.28, 0.37, 0.48, 0.6, 0.75, 0.95, 1.2, 1.55, 2.0, 2.6]
)
CORRELATIONS = np.linspace(-0.95, 0.95, 11)
TAU_0 = np.array([0.03, 0.08, 0.15, 0.22, 0.3, 0.4, 0.55, 0.75, 1.0])
TAU_EDGES = np.array([0, 0.05, 0.1, 0.16, 0.23, 0.31, 0.4, 0.5, 0.65, 0.85, 1.1, 1.5, 4.0])
TAUS = np.array([0.025, 0.075, 0.13, 0.195, 0.27, 0.355, 0.45, 0.57, 0.74, 0.96, 1.25, 1.8])


@dataclass(frozen=True)
class Rows:
    """Rows of a simulated review: mechanism, arm (0 or 1), estimate or bounds, sampling variance.

    `y` is NaN where only the interval (`lower`, `upper`) is known.
    """

    mechanism: NDArray[np.int64]
    arm: NDArray[np.int64]
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
    """The grid; built once, used for every data set."""

    def __init__(self) -> None:
        at = np.arange(len(SIGMAS))
        self.at1, self.at2, at_r = (
            a.ravel() for a in np.meshgrid(at, at, np.arange(len(CORRELATIONS)), indexing="ij")
        )
        s1, s2, self.r = SIGMAS[self.at1], SIGMAS[self.at2], CORRELATIONS[at_r]
        r = self.r
        self.step = np.minimum(4 * SIGMAS, FARTHEST) / HALF
        self.means = self.step[:, None] * np.arange(-HALF, HALF + 1)
        z1, z2 = self.means[self.at1] / s1[:, None], self.means[self.at2] / s2[:, None]
        q = (z1[:, :, None] ** 2 - 2 * r[:, None, None] * z1[:, :, None] * z2[:, None, :]
             + z2[:, None, :] ** 2) / (1 - r**2)[:, None, None]  # fmt: skip
        density = np.exp(-0.5 * q)
        # Normalised on the grid: what lies beyond it (large sigma) has no data to meet.
        self.P = (density / density.sum(axis=(1, 2), keepdims=True)).astype(np.float32)
        scale = PRIOR_SCALES["sigma"]
        half = [np.exp(-0.5 * (s / scale) ** 2) * _width(SIGMAS, s) for s in (s1, s2)]
        self.log_prior = np.log(half[0] * half[1]) + (LKJ_ETA - 1) * np.log(1 - r**2)
        self.log_prior_tau = -0.5 * (TAU_0 / PRIOR_SCALES["tau_0"]) ** 2 + np.log(
            _width(TAU_0, TAU_0)
        )
        slices = 2 * ndtr(TAU_EDGES[None, :] / TAU_0[:, None]) - 1
        self.w_tau = np.maximum(np.diff(slices, axis=1), 1e-12)

    def draws(self, rows: Rows, n_mechanisms: int, n: int, rng: np.random.Generator) -> Draws:
        """n draws from the posterior of a review with these rows."""
        like = [_likelihood(rows, n_mechanisms, arm, self.means) for arm in (0, 1)]
        n_t, n_g = len(TAUS), 2 * HALF + 1  # like: (sigma, M, T, G) each
        left, right = (x.reshape(len(SIGMAS), -1, n_g).astype(np.float32) for x in like)
        fit = np.empty((len(self.r), n_mechanisms, n_t))
        for k, P in enumerate(self.P):
            both = (left[self.at1[k]] @ P) * right[self.at2[k]]
            fit[k] = both.sum(axis=1).reshape(n_mechanisms, n_t)
        fit = np.maximum(fit, 1e-300)
        per = np.log(np.einsum("kmt,ht->khm", fit, self.w_tau)).sum(axis=2)
        log_post = per + self.log_prior[:, None] + self.log_prior_tau
        post = np.exp(log_post - log_post.max()).ravel()
        pick = rng.choice(post.size, n, p=post / post.sum())
        k, h = np.unravel_index(pick, log_post.shape)
        mu = np.empty((n, n_mechanisms, 2))
        for m in range(n_mechanisms):
            t = _choose(self.w_tau[h] * fit[k, m], rng)
            a, b = like[0][self.at1[k], m, t], like[1][self.at2[k], m, t]
            first = a * np.einsum("nij,nj->ni", self.P[k], b)
            i = _choose(first, rng)
            j = _choose(self.P[k, i] * b, rng)
            mu[:, m, 0], mu[:, m, 1] = self.means[self.at1[k], i], self.means[self.at2[k], j]
        cell = np.stack([self.step[self.at1[k]], self.step[self.at2[k]]], axis=1)[:, None, :]
        mu += cell * (rng.random(mu.shape) - 0.5)
        step = CORRELATIONS[1] - CORRELATIONS[0]
        r = np.clip(self.r[k] + step * (rng.random(n) - 0.5), -0.999, 0.999)
        return Draws(mu, r, np.stack([SIGMAS[self.at1[k]], SIGMAS[self.at2[k]]], axis=1))


def _width(nodes: Floats, at: Floats) -> Floats:
    """Width of the cell of each node: half the way to either neighbour."""
    edges = np.concatenate([[0.0], (nodes[1:] + nodes[:-1]) / 2, [2 * nodes[-1] - nodes[-2]]])
    return np.diff(edges)[np.searchsorted(nodes, at)]


def _choose(weight: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
    """One position per row, with probability proportional to its weight."""
    total = np.cumsum(weight, axis=1, dtype=float)
    u = rng.random(len(weight)) * total[:, -1]
    return np.asarray((total < u[:, None]).sum(axis=1))


def _likelihood(rows: Rows, n_mechanisms: int, arm: int, means: Floats) -> Floats:
    """Likelihood (sigma, M, T, G) of an arm's rows at each tau and mean, at most 1."""
    at = means[:, None, :]
    log = np.zeros((n_mechanisms, len(means), len(TAUS), means.shape[1]))
    for i in np.flatnonzero(rows.arm == arm):
        sd = np.sqrt(rows.v[i] + TAUS[:, None] ** 2)
        if np.isfinite(rows.y[i]):
            log[rows.mechanism[i]] += -0.5 * ((rows.y[i] - at) / sd) ** 2 - np.log(sd)
            continue
        low, high = (rows.lower[i] - at) / sd, (rows.upper[i] - at) / sd
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            log[rows.mechanism[i]] += log_ndtr(high) if np.isneginf(low).all() else log_ndtr(-low)
            continue
        flip = low + high > 0
        low, high = np.where(flip, -high, low), np.where(flip, -low, high)
        a, b = log_ndtr(low), log_ndtr(high)
        log[rows.mechanism[i]] += b + np.log1p(-np.exp(np.minimum(a - b, -1e-12)))
    like = np.exp(log - log.max(axis=(1, 2, 3), keepdims=True))
    return np.asarray(np.moveaxis(like, 0, 1))
