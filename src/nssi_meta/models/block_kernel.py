"""Joint normal density of exact rows that belong together, with its slopes, as a compiled loop.

What `likelihood.closed_terms` says of blocks, written out. Rows that share one study effect go
by Woodbury's identity, so that no tau drowns the sampling errors, any others by an inverse, which
one of some thousand standard errors does (`likelihood.RIDGE`).
"""

from __future__ import annotations

import math

import numpy as np

from nssi_meta.models.blocks import Floats
from nssi_meta.models.likelihood import LOG_2PI, RIDGE
from nssi_meta.models.row_kernel import compiled


@compiled
def invert(A: Floats, n: int, W: Floats) -> float:
    """log |A| of the first n rows of a positive definite A; A^-1 into W. A is overwritten."""
    log_det = 0.0
    for j in range(n):  # A = L L', L in the lower triangle
        for k in range(j):
            A[j, j] -= A[j, k] ** 2
        A[j, j] = math.sqrt(A[j, j])
        log_det += 2.0 * math.log(A[j, j])
        for i in range(j + 1, n):
            for k in range(j):
                A[i, j] -= A[i, k] * A[j, k]
            A[i, j] /= A[j, j]
    for j in range(n):  # L^-1 in place
        A[j, j] = 1.0 / A[j, j]
        for i in range(j + 1, n):
            x = 0.0
            for k in range(j, i):
                x -= A[i, k] * A[k, j]
            A[i, j] = x / A[i, i]
    for i in range(n):
        for j in range(i + 1):
            x = 0.0
            for k in range(i, n):
                x += A[k, i] * A[k, j]
            W[i, j] = W[j, i] = x
    return log_det


@compiled
def block(
    blocks: tuple[Floats, ...],
    mean: Floats,
    tau2: Floats,
    omega2: float,
    d_mean: Floats,
    d_tau2: Floats,
) -> tuple[float, float]:
    """Sum of log densities and its slope by `omega2`; others are added to `d_mean`, `d_tau2` (k,).

    `blocks` holds of each place (n, B) the row `at` it, its `mask`, effect `y` and whether its sign
    is not known, `folded`; `V` and `G` (n, n, B); and of each block (B,) whether all its rows have
    one study effect, `alike`. A block has one tau, that of its first row, to which its slope goes.
    The density is a sum over the signs that are not known.
    """
    at, mask, y, folded, V, G, alike = blocks
    width, n_blocks = at.shape
    if n_blocks == 0:
        return 0.0, 0.0
    A, W = np.empty((width, width)), np.empty((width, width))
    r, x, ones, d_r = np.empty(width), np.empty(width), np.empty(width), np.empty(width)
    total, d_omega2 = 0.0, 0.0
    for j in range(n_blocks):
        n, patterns = 0, 1
        for i in range(width):
            n += int(mask[i, j] > 0)
            patterns *= 2 if folded[i, j] > 0 else 1
        if n == 0:
            continue
        t2, together = tau2[int(at[0, j])], alike[j] > 0
        for i in range(n):
            for k in range(n):
                A[i, k] = V[i, k, j] + (0.0 if together else t2 * G[i, k, j])
            A[i, i] += omega2
            A[i, i] *= 1.0 if together else 1.0 + RIDGE
            d_r[i] = 0.0
        log_det, precision, trace, trace_g, square_ones = invert(A, n, W), 0.0, 0.0, 0.0, 0.0
        for i in range(n):
            trace += W[i, i]
            ones[i] = 0.0
            for k in range(n):
                ones[i] += W[i, k]
                trace_g += 0.0 if together else W[i, k] * G[i, k, j]
            precision += ones[i]
            square_ones += ones[i] ** 2
        if together:
            # Sigma = A + t2 11': W is A^-1, and what follows of Sigma^-1 is less by a rank-one part
            less = 1.0 / (1.0 + t2 * precision)
            log_det -= math.log(less)
            trace -= t2 * less * square_ones
            trace_g = precision * less
        top, whole, by_t2, by_omega2 = -np.inf, 0.0, 0.0, 0.0
        for pattern in range(patterns):
            bit = 0
            for i in range(n):
                sign = 1.0
                if folded[i, j] > 0:
                    sign = -1.0 if pattern >> bit & 1 else 1.0
                    bit += 1
                r[i] = sign * y[i, j] - mean[int(at[i, j])]
            centre = 0.0
            if together:
                for i in range(n):
                    centre += ones[i] * r[i] / precision
            square, square_x, with_g = 0.0, 0.0, 0.0
            for i in range(n):
                x[i] = 0.0
                for k in range(n):
                    x[i] += W[i, k] * (r[k] - centre)
                square += (r[i] - centre) * x[i]
            if together:
                square += centre**2 * precision * less
                with_g = (centre * precision * less) ** 2
                for i in range(n):
                    x[i] += ones[i] * centre * less
            for i in range(n):
                square_x += x[i] ** 2
                if not together:
                    for k in range(n):
                        with_g += x[i] * G[i, k, j] * x[k]
            value = -0.5 * (n * LOG_2PI + log_det + square)
            # A running mean over patterns, weighted by their densities.
            if value > top:
                scale = math.exp(top - value)
                top = value
                whole *= scale
                by_t2 *= scale
                by_omega2 *= scale
                for i in range(n):
                    d_r[i] *= scale
            weight = math.exp(value - top)
            whole += weight
            by_t2 += weight * with_g
            by_omega2 += weight * square_x
            for i in range(n):
                d_r[i] += weight * x[i]
        total += top + math.log(whole)
        d_tau2[int(at[0, j])] += 0.5 * (by_t2 / whole - trace_g)
        d_omega2 += 0.5 * (by_omega2 / whole - trace)
        for i in range(n):
            d_mean[int(at[i, j])] += d_r[i] / whole
    return total, d_omega2
