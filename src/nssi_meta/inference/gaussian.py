"""Normal-normal algebra of a pool: everything about mu given tau and omega, in closed form.

Studies with independent sampling errors need no matrix: with D_i = v_i + omega^2 and weights
1/D_i within a study, the study's weighted mean has variance tau^2 + 1/sum(1/D_i) and the rest is
within-study scatter. Blocks with correlated errors go through their Cholesky factor. All sums are
of squares of residuals, so that effects of 1e6 with variances of 1e-12 lose no digits.
"""

from __future__ import annotations

from dataclasses import dataclass

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


def gauss_terms(layout: Layout, tau: Floats, omega: Floats) -> GaussTerms:
    """Terms of a layout of exact rows at nodes `tau`, `omega` (broadcastable shapes)."""
    tau2, omega2 = np.broadcast_arrays(tau**2, omega**2)
    t2 = tau2[..., None]
    rows, starts, correlated = _order(layout)
    d = layout.v[rows] + omega2[..., None]
    y = layout.y[rows]
    if len(starts) == len(rows):
        mean_j, weight_j = np.broadcast_to(y, d.shape), 1.0 / (t2 + d)
        log_det, within = -np.log(weight_j).sum(axis=-1), np.zeros(tau2.shape)
    elif len(rows):
        inverse = 1.0 / d
        total = np.add.reduceat(inverse, starts, axis=-1)
        mean_j = np.add.reduceat(inverse * y, starts, axis=-1) / total
        sizes = np.diff([*starts, len(rows)])
        resid = y - np.repeat(mean_j, sizes, axis=-1)
        within = (inverse * resid**2).sum(axis=-1)
        weight_j = 1.0 / (t2 + 1.0 / total)
        log_det = np.log(d).sum(axis=-1) + np.log1p(t2 * total).sum(axis=-1)
    else:
        mean_j, weight_j = np.zeros((*tau2.shape, 0)), np.zeros((*tau2.shape, 0))
        log_det, within = np.zeros(tau2.shape), np.zeros(tau2.shape)

    z_one, z_y = [np.zeros((*tau2.shape, 0))], [np.zeros((*tau2.shape, 0))]
    for index, V, G in correlated:
        pair = np.stack([np.ones(len(index)), layout.y[index]], axis=1)
        white, det = whiten(pair, V, G, tau2, omega2)
        z_one.append(white[..., 0])
        z_y.append(white[..., 1])
        log_det = log_det + det
    one, obs = np.concatenate(z_one, axis=-1), np.concatenate(z_y, axis=-1)
    precision = weight_j.sum(axis=-1) + (one**2).sum(axis=-1)
    mean = ((weight_j * mean_j).sum(axis=-1) + (one * obs).sum(axis=-1)) / precision
    return GaussTerms(layout.k, precision, mean, log_det, mean_j, weight_j, within, one, obs)


def _order(
    layout: Layout,
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[tuple[NDArray[np.int64], Floats, Floats]]]:
    """Rows of independent-error studies one study after the other, their starts, and the rest."""
    order = [layout.single_exact]
    sizes = [np.ones(len(layout.single_exact), dtype=np.int64)]
    correlated = []
    block = layout.exact_blocks
    if block is not None:
        plain = _independent(block)
        order.append(block.rows[plain][block.mask[plain] > 0])
        sizes.append(block.mask[plain].sum(axis=1).astype(np.int64))
        for b in np.flatnonzero(~plain):
            n = int(block.mask[b].sum())
            correlated.append((block.rows[b, :n], block.V[b, :n, :n], block.G[b, :n, :n]))
    counts = np.concatenate(sizes)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64) if len(counts) else None
    rows = np.concatenate(order)
    return rows, starts if starts is not None else np.zeros(0, dtype=np.int64), correlated


def whiten(
    rows: Floats, V: Floats, G: Floats, tau2: Floats, omega2: Floats
) -> tuple[Floats, Floats]:
    """Sigma^-1/2 rows (S, n, q) and log det Sigma (S) for Sigma = tau^2 G + omega^2 I + V.

    With omega^2 I + V = L L' and L^-1 G L^-T = Q diag(g) Q', Sigma = L Q diag(1 + tau^2 g) Q' L':
    tau may be as large as it likes without Sigma becoming singular in the machine's numbers.
    """
    n = len(V)
    values, node = np.unique(omega2, return_inverse=True)
    chol = np.linalg.cholesky(values[:, None, None] * np.eye(n) + V)
    half = np.linalg.solve(chol, np.broadcast_to(G, (len(values), n, n)))
    inner = np.linalg.solve(chol, np.swapaxes(half, 1, 2))
    g, q = np.linalg.eigh((inner + np.swapaxes(inner, 1, 2)) / 2)
    g = np.where(g > 1e-13 * g[:, -1:], g, 0.0)
    z = np.swapaxes(q, 1, 2) @ np.linalg.solve(
        chol, np.broadcast_to(rows, (len(values), *rows.shape))
    )
    log_det = 2 * np.log(np.diagonal(chol, axis1=1, axis2=2)).sum(axis=1)
    node = node.reshape(omega2.shape)
    stretch = tau2[..., None] * g[node]
    return z[node] / np.sqrt(1 + stretch)[..., None], log_det[node] + np.log1p(stretch).sum(axis=-1)
