"""Normal-normal algebra of a pool: everything about mu given tau and omega, in closed form.

Studies with independent sampling errors need no matrix: with D_i = v_i + omega^2 and weights
1/D_i within a study, the study's weighted mean has variance tau^2 + 1/sum(1/D_i) and the rest is
within-study scatter. Blocks with correlated errors go through their Cholesky factor. All sums are
of squares of residuals, so that effects of 1e6 with variances of 1e-12 lose no digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nssi_meta.models.blocks import ExactBlocks, Layout

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class GaussTerms:
    """Sufficient terms at each node of (tau, omega), arrays of the nodes' shape S.

    `precision` and `mean` of the likelihood in mu, `log_det` of the marginal covariance, and the
    parts from which `quad(m)`, the residual sum of squares at mu = m, is summed.
    """

    k: int
    precision: Floats
    mean: Floats
    log_det: Floats
    study_mean: Floats
    study_weight: Floats
    within: Floats
    z_one: Floats
    z_y: Floats

    def quad(self, m: Floats) -> Floats:
        """(y - m)' Sigma^-1 (y - m), shape S."""
        studies = (self.study_weight * (self.study_mean - m[..., None]) ** 2).sum(axis=-1)
        blocks = ((self.z_y - m[..., None] * self.z_one) ** 2).sum(axis=-1)
        return np.asarray(studies + blocks + self.within)


def _independent(block: ExactBlocks) -> NDArray[np.bool_]:
    """Blocks (B,) of one study with independent sampling errors: no matrix needed."""
    n = block.rows.shape[1]
    real = block.mask[:, :, None] * block.mask[:, None, :]
    off = ~np.eye(n, dtype=bool)
    same_study: NDArray[np.bool_] = (real == block.G).all(axis=(1, 2))
    return same_study & (block.V[:, off] == 0.0).all(axis=1)


def gauss_terms(
    layout: Layout, tau: Floats, omega: Floats, order: Order | None = None
) -> GaussTerms:
    """Terms of a layout of exact rows at nodes `tau`, `omega` (broadcastable shapes).

    `order` is `order_of(layout)`, for callers that ask more than once.
    """
    tau2, omega2 = np.broadcast_arrays(tau**2, omega**2)
    shape = tau2.shape
    y, v, starts, correlated = order_of(layout) if order is None else order
    if len(starts) == len(y):
        total = v + (tau2 + omega2)[..., None]
        mean_j, weight_j = np.broadcast_to(y, total.shape), 1.0 / total
        log_det, within = log_product(total), np.zeros(shape)
    else:
        # What stands inside a study knows nothing of tau: not repeated along that axis.
        d = v + np.asarray(omega**2)[..., None]
        inverse = 1.0 / d
        total = np.add.reduceat(inverse, starts, axis=-1)
        mean_j = np.add.reduceat(inverse * y, starts, axis=-1) / total
        resid = y - np.repeat(mean_j, np.diff(starts, append=len(y)), axis=-1)
        within = np.broadcast_to((inverse * resid**2).sum(axis=-1), shape)
        t2 = np.asarray(tau**2)[..., None]
        weight_j = 1.0 / (t2 + 1.0 / total)
        log_det = log_product(d) + log_product(1.0 + t2 * total)

    z_one, z_y = [np.zeros((*tau2.shape, 0))], [np.zeros((*tau2.shape, 0))]
    for observed, V, G in correlated:
        pair = np.stack([np.ones_like(observed), observed], axis=-1)
        white, det = whiten(pair, V, G, tau2, omega2)
        z_one.append(white[..., 0])
        z_y.append(white[..., 1])
        log_det = log_det + det
    one, obs = np.concatenate(z_one, axis=-1), np.concatenate(z_y, axis=-1)
    precision = weight_j.sum(axis=-1) + (one**2).sum(axis=-1)
    mean = ((weight_j * mean_j).sum(axis=-1) + (one * obs).sum(axis=-1)) / precision
    return GaussTerms(layout.k, precision, mean, log_det, mean_j, weight_j, within, one, obs)


class Order(NamedTuple):
    """Effects and variances of independent-error studies one study after the other, their starts.

    `correlated` lists the other blocks by size: effects (B, n), V and G (B, n, n).
    """

    y: Floats
    v: Floats
    starts: NDArray[np.int64]
    correlated: list[tuple[Floats, Floats, Floats]]


def order_of(layout: Layout) -> Order:
    """The rows of a layout of exact rows as `gauss_terms` goes through them."""
    order = [layout.single_exact]
    sizes = [np.ones(len(layout.single_exact), dtype=np.int64)]
    correlated = []
    block = layout.exact_blocks
    if block is not None:
        plain = _independent(block)
        order.append(block.rows[plain][block.mask[plain] > 0])
        sizes.append(block.mask[plain].sum(axis=1).astype(np.int64))
        size = block.mask.sum(axis=1).astype(np.int64)
        for n in np.unique(size[~plain]).tolist():
            b = np.flatnonzero(~plain & (size == n))
            V, G = block.V[b, :n, :n], block.G[b, :n, :n]
            correlated.append((layout.y[block.rows[b, :n]], V, G))
    counts, rows = np.concatenate(sizes), np.concatenate(order)
    return Order(layout.y[rows], layout.v[rows], np.cumsum(counts) - counts, correlated)


def log_product(x: Floats) -> Floats:
    """Sum of log(x) over the last axis; logarithms are dear, so four factors share one."""
    q = x.shape[-1] // 4
    out: Floats = np.log(x[..., 4 * q :]).sum(axis=-1)
    if q:
        with np.errstate(over="ignore", under="ignore"):
            four = x[..., :q] * x[..., q : 2 * q]
            four *= x[..., 2 * q : 3 * q]
            four *= x[..., 3 * q : 4 * q]
        if four.min() < 1e-290 or four.max() > 1e290:
            return np.asarray(np.log(x).sum(axis=-1))
        out = out + np.log(four).sum(axis=-1)
    return out


def whiten(
    rows: Floats, V: Floats, G: Floats, tau2: Floats, omega2: Floats
) -> tuple[Floats, Floats]:
    """Sigma^-1/2 rows (S, B n, q) and log det (S) of B blocks Sigma = tau^2 G + omega^2 I + V.

    `rows` (B, n, q), `V` and `G` (B, n, n). With omega^2 I + V = L L' and
    L^-1 G L^-T = Q diag(g) Q', Sigma = L Q diag(1 + tau^2 g) Q' L': tau may be as large as it
    likes without Sigma becoming singular in the machine's numbers.
    """
    B, n, q = rows.shape
    values, node = np.unique(omega2, return_inverse=True)
    node = node.reshape(omega2.shape)
    chol = np.linalg.cholesky(values[:, None, None, None] * np.eye(n) + V)
    half = np.linalg.solve(chol, np.broadcast_to(G, (len(values), B, n, n)))
    inner = np.linalg.solve(chol, np.swapaxes(half, -1, -2))
    g, basis = np.linalg.eigh((inner + np.swapaxes(inner, -1, -2)) / 2)
    g = np.where(g > 1e-13 * g[..., -1:], g, 0.0)
    lower = np.linalg.solve(chol, np.broadcast_to(rows, (len(values), B, n, q)))
    z = np.swapaxes(basis, -1, -2) @ lower
    log_det = 2 * np.log(np.diagonal(chol, axis1=-2, axis2=-1)).sum(axis=(-1, -2))
    stretch = tau2[..., None, None] * g[node]
    white = z[node] / np.sqrt(1 + stretch)[..., None]
    total = log_det[node] + np.log1p(stretch).sum(axis=(-1, -2))
    return white.reshape(*tau2.shape, B * n, q), total
