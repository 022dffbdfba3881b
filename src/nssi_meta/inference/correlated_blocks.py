"""Likelihood of effects whose covariance falls into blocks: M = V + sum sigma2 Z Z' + G terms.

Rows that are correlated in any way form a block; blocks of one size are worked on together. Cost is
linear in the number of blocks and cubic in their size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nssi_meta.inference.checked import Floats
from nssi_meta.inference.variance_structures import Ints
from nssi_meta.inference.weighted import Design


@dataclass(frozen=True)
class Batch:
    """B blocks of n rows: `rows` (B, n), `V` (B, n, n), one `same` (B, n, n) a term, `outer`.

    `inner` (B, n) are levels, `outer` (B, n, n) says which rows share an outer group.
    """

    rows: Ints
    V: Floats
    same: tuple[Floats, ...]
    inner: Ints
    outer: Floats


@dataclass(frozen=True)
class Solved:
    """GLS at given components: `A` covariance of `delta`, log-likelihood, `inverse` by batch."""

    delta: Floats
    A: Floats
    rss: float
    logLik: float
    resid: Floats
    inverse: tuple[Floats, ...]


def batches(V: Floats, terms: list[Ints], inner: Ints, outer: Ints) -> list[Batch]:
    """Blocks of `V` (k) or (k, k), grouping codes `terms` (each k) and `outer` (k, -1: nobody)."""
    from scipy.sparse import coo_matrix, csr_matrix
    from scipy.sparse.csgraph import connected_components

    k = len(inner)
    links = csr_matrix((k, k)) if V.ndim == 1 else csr_matrix(V != 0)
    for codes in [*terms, *([outer] if (outer >= 0).any() else [])]:
        first = np.unique(codes, return_index=True)[1]
        _, position = np.unique(codes, return_inverse=True)
        pairs = (np.ones(k), (np.arange(k), first[position]))
        links = links + coo_matrix(pairs, shape=(k, k)).tocsr()
    _, label = connected_components(links, directed=False)
    order = np.argsort(label, kind="stable")
    sizes = np.bincount(label)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    out = []
    for n in np.unique(sizes):
        rows = order[starts[sizes == n][:, None] + np.arange(n)]
        pick = (rows[:, :, None], rows[:, None, :])
        block = V[pick] if V.ndim == 2 else V[rows][:, :, None] * np.eye(n)
        same = tuple((t[rows][:, :, None] == t[rows][:, None, :]).astype(float) for t in terms)
        o = outer[rows]
        shared = ((o[:, :, None] == o[:, None, :]) & (o >= 0)[:, :, None]).astype(float)
        out.append(Batch(rows, block, same, inner[rows], shared))
    return out


def covariance(b: Batch, sigma2: Floats, G: Floats) -> Floats:
    """M of the blocks of a batch (B, n, n)."""
    M = b.V + sum((s * same for s, same in zip(sigma2, b.same, strict=True)), start=0.0)
    if len(G):
        M = M + b.outer * G[b.inner[:, :, None], b.inner[:, None, :]]
    return np.asarray(M)


def solve(d: Design, parts: list[Batch], sigma2: Floats, G: Floats, restricted: bool) -> Solved:
    """Generalised least squares of the residuals on Q, and the (restricted) log-likelihood."""
    p = d.p
    data = np.column_stack([d.Q, d.y])
    cross, log_det, inverses = np.zeros((p + 1, p + 1)), 0.0, []
    for b in parts:
        chol = np.linalg.cholesky(covariance(b, sigma2, G))
        log_det += 2 * float(np.log(np.diagonal(chol, axis1=-2, axis2=-1)).sum())
        root = np.linalg.inv(chol)
        inverses.append(root.swapaxes(-1, -2) @ root)
        z = (root @ data[b.rows]).reshape(-1, p + 1)
        cross += z.T @ z
    A = np.linalg.inv(cross[:p, :p])
    delta = A @ cross[:p, p]
    resid = d.y - d.Q @ delta
    rss = 0.0
    for b, W in zip(parts, inverses, strict=True):
        e = resid[b.rows]
        rss += float(np.einsum("bi,bij,bj->", e, W, e))
    n = d.k - p if restricted else d.k
    ll = -0.5 * (n * math.log(2 * math.pi) + log_det + rss)
    if restricted:
        ll -= 0.5 * float(np.linalg.slogdet(cross[:p, :p])[1])
    return Solved(delta, A, rss, ll, resid, tuple(inverses))


def gradient(
    d: Design, parts: list[Batch], s: Solved, n_sigma: int, m: int, restricted: bool
) -> tuple[Floats, Floats]:
    """Derivatives of the log-likelihood by sigma2 (n_sigma) and by each entry of G (m, m)."""
    d_sigma2, d_G = np.zeros(n_sigma), np.zeros(m * m)
    for b, W in zip(parts, s.inverse, strict=True):
        u = np.einsum("bij,bj->bi", W, s.resid[b.rows])
        slope = u[:, :, None] * u[:, None, :] - W
        if restricted:
            WQ = W @ d.Q[b.rows]
            slope = slope + WQ @ s.A @ WQ.swapaxes(-1, -2)
        slope = slope / 2
        for t, same in enumerate(b.same):
            d_sigma2[t] += float((slope * same).sum())
        if m:
            cell = b.inner[:, :, None] * m + b.inner[:, None, :]
            d_G += np.bincount(cell.ravel(), (slope * b.outer).ravel(), minlength=m * m)
    return d_sigma2, d_G.reshape(m, m)
