"""Overlap figures of two profiles, per posterior draw, and the same figures under the prior."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nssi_meta.models.profiles import LKJ_ETA, PRIOR_SCALES

Floats = NDArray[np.float64]

#: The five classes of a mechanism, exhaustive and exclusive, in this order.
CLASSES = ("shared", "opposite", "index_only", "other_only", "neither")
FIGURES = ("n_shared", "jaccard", "magnitude")


def classes(a: Floats, b: Floats, delta: float) -> NDArray[np.int64]:
    """Class (position in `CLASSES`) of each pair of means (same shape) at threshold `delta`."""
    in_a, in_b = np.abs(a) > delta, np.abs(b) > delta
    both = in_a & in_b
    return np.select([both & (a * b > 0), both, in_a, in_b], [0, 1, 2, 3], 4)


def overlap_figures(a: Floats, b: Floats, delta: float) -> dict[str, Floats]:
    """Figures over the last axis (mechanisms), one value per draw.

    n_shared: mechanisms beyond `delta` in both, same direction. jaccard: n_shared over mechanisms
    beyond `delta` in either (0 where there is none). magnitude: sum of min(|a|, |b|) where the
    signs agree over sum of max(|a|, |b|); it needs no threshold.
    """
    kind = classes(a, b, delta)
    n_shared = (kind == 0).sum(axis=-1).astype(float)
    either = (kind != 4).sum(axis=-1)
    low, high = np.minimum(np.abs(a), np.abs(b)), np.maximum(np.abs(a), np.abs(b))
    agree = np.where(a * b > 0, low, 0.0).sum(axis=-1)
    return {
        "n_shared": n_shared,
        "jaccard": n_shared / np.maximum(either, 1),
        "magnitude": agree / np.maximum(high.sum(axis=-1), 1e-300),
    }


def congruence(a: Floats, b: Floats) -> Floats:
    """Tucker's congruence of two profiles over the last axis (mechanisms), one value per draw.

    sum(a b) / sqrt(sum(a^2) sum(b^2)), in [-1, 1]: a correlation about 0, which is what the model's
    R is about, so that it does not change when a measure is coded the other way round. Tucker
    1951, Personnel Research Section Report 984.
    """
    top = (a * b).sum(axis=-1)
    return np.asarray(top / np.maximum(np.sqrt((a**2).sum(-1) * (b**2).sum(-1)), 1e-300))


def prior_draws(
    n_conditions: int, n_mechanisms: int, n: int = 4000, seed: int = 1, tails: float = np.inf
) -> tuple[Floats, Floats]:
    """mu (n, M, C) and R (n, C, C) from the joint model's prior; `tails` as in `profiles_model`."""
    rng = np.random.default_rng(seed)
    R = lkj(n_conditions, LKJ_ETA, n, rng)
    sigma = np.abs(rng.normal(0.0, PRIOR_SCALES["sigma"], (n, 1, n_conditions)))
    z = rng.standard_normal((n, n_mechanisms, n_conditions))
    mu = np.einsum("nmj,nij->nmi", z, np.linalg.cholesky(R)) * sigma
    return mu * heavy(tails, (n, n_mechanisms, 1), rng), R


def heavy(tails: float, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Factors that turn normal deviations into t-distributed ones; 1 where `tails` is infinite."""
    if not np.isfinite(tails):
        return np.ones(shape)
    return np.asarray(1.0 / np.sqrt(rng.gamma(tails / 2, 2 / tails, shape)))


def lkj(d: int, eta: float, n: int, rng: np.random.Generator) -> Floats:
    """n correlation matrices (n, d, d) ~ LKJ(eta), by the C-vine of partial correlations.

    Lewandowski, Kurowicka & Joe 2009, J Multivar Anal 100:1989.
    """
    partial = np.zeros((n, d, d))
    R = np.repeat(np.eye(d)[None], n, axis=0)
    beta = eta + (d - 1) / 2
    for k in range(d - 1):
        beta -= 0.5
        for i in range(k + 1, d):
            partial[:, k, i] = 2 * rng.beta(beta, beta, n) - 1
            p = partial[:, k, i].copy()
            for m in range(k - 1, -1, -1):
                spread = (1 - partial[:, m, i] ** 2) * (1 - partial[:, m, k] ** 2)
                p = p * np.sqrt(spread) + partial[:, m, i] * partial[:, m, k]
            R[:, k, i] = R[:, i, k] = p
    return R
