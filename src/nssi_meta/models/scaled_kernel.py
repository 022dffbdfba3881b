"""Log density of rows of any kind and of coefficients of given scales, as a compiled loop.

What `horseshoe_bounds` says of coefficients s b: with K = I + s M s = C C',

    b = C'^-1 (C^-1 s q + raw),  log prior = -b'b / 2 - log|C|,

and the rows' means are X s b. Slopes go back through C by Murray (2016, arXiv:1602.07527): with C_
the slope by C, that by K is the symmetric part of C'^-1 phi(C' C_) C^-1, phi the lower triangle
with half its diagonal. Imported where a model is built.
"""

from __future__ import annotations

import math

import numpy as np

from nssi_meta.models.blocks import Floats
from nssi_meta.models.evidence_kernel import given
from nssi_meta.models.row_kernel import by_coef, compiled, expected


@compiled
def _triangles(K: Floats, C: Floats, L: Floats) -> float:
    """The lower triangle C with K = C C' and its inverse L; returns log |C|."""
    p, log_det = len(K), 0.0
    for j in range(p):
        for i in range(j, p):
            x = K[i, j]
            for k in range(j):
                x -= C[i, k] * C[j, k]
            C[i, j] = math.sqrt(x) if i == j else x / C[j, j]
        log_det += math.log(C[j, j])
        L[j, j] = 1.0 / C[j, j]
    for j in range(p):
        for i in range(j + 1, p):
            x = 0.0
            for k in range(j, i):
                x -= C[i, k] * L[k, j]
            L[i, j] = x * L[i, i]
    return log_det


@compiled
def _times(L: Floats, x: Floats, flipped: bool) -> Floats:
    """L x, or L' x, of a lower triangle."""
    p = len(x)
    out = np.zeros(p)
    for i in range(p):
        for j in range(i + 1):
            if flipped:
                out[j] += L[i, j] * x[i]
            else:
                out[i] += L[i, j] * x[j]
    return out


@compiled
def scaled_rows(
    scale: Floats,
    raw: Floats,
    tau2: float,
    omega2: float,
    g: Floats,
    guess: tuple[Floats, Floats],
    design: tuple[Floats, Floats],
    rows: tuple[Floats, ...],
    blocks: tuple[Floats, ...],
    places: tuple[Floats, ...],
    told: tuple[Floats, ...],
) -> tuple[float, Floats, Floats, float, float, Floats]:
    """Sum of log densities, but for a constant, and its slopes by the first five arguments.

    `scale` and `raw` are (p,), `guess` M (p, p) and q (p,), `design` X' (p, k) and the mean (1,) of
    coefficient 0 where it is not 0; the rest as in `evidence_kernel.given`.
    """
    (M, q), (X, middle), p = guess, design, len(scale)
    K, C, L = np.empty((p, p)), np.zeros((p, p)), np.zeros((p, p))
    for i in range(p):
        for j in range(p):
            K[i, j] = scale[i] * M[i, j] * scale[j] + (1.0 if i == j else 0.0)
    total = -_triangles(K, C, L)
    whitened = _times(L, scale * q, False)
    b = _times(L, whitened + raw, True)
    for j in range(p):
        total -= 0.5 * b[j] * b[j]
    mean = middle[0] + expected(scale * b, X)
    value, d_mean, d_tau2, d_omega2, d_g = given(
        rows, mean, np.full(len(mean), tau2), omega2, g, blocks, places, told
    )

    slopes = np.zeros(p)
    by_coef(d_mean, X, slopes)
    d_scale = slopes * b
    d_raw = _times(L, slopes * scale - b, False)
    by_pull = _times(L, d_raw, True)
    # phi(C' C_), both halves in one symmetric matrix; C_ only has a lower triangle.
    half = np.zeros((p, p))
    for i in range(p):
        for j in range(i + 1):
            for m in range(i, p):
                by_C = -b[m] * d_raw[j] - by_pull[m] * whitened[j]
                half[i, j] += C[m, i] * (by_C - 1.0 / C[m, m] if m == j else by_C)
            half[j, i] = half[i, j]
    for j in range(p):
        d_scale[j] += q[j] * by_pull[j]
    left = np.zeros((p, p))  # L' half
    for i in range(p):
        for m in range(i, p):
            for j in range(p):
                left[i, j] += L[m, i] * half[m, j]
    for i in range(p):
        for j in range(p):
            by_K = 0.0
            for m in range(j, p):
                by_K += left[i, m] * L[m, j]
            d_scale[i] += by_K * M[i, j] * scale[j]
    return total + value, d_scale, d_raw, d_tau2.sum(), d_omega2, d_g
