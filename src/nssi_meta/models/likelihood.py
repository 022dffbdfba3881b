"""The likelihood of a layout of rows in closed form, study effects integrated out.

y_i = mean_i + u_j + w_i + e_i with u ~ N(0, tau^2 G), w ~ N(0, omega^2), e ~ N(0, V). Exact rows
of a block are jointly normal; a bound says in which interval the estimate fell; a size without
sign is the sum over both signs. Written against an `Ops`, for numpy and PyTensor alike. Studies
with several bounds on one contrast need an integral: `bound_blocks` (numpy) or a parameter
(`evidence_term`, NUTS).

Not modelled: bounds on *different* contrasts of one study (case versus healthy and versus
patients) count as independent given the means.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nssi_meta.models.blocks import ExactBlocks, Layout
from nssi_meta.models.ops import Ops

LOG_2PI = float(np.log(2 * np.pi))


def normal_logpdf(x: Any, variance: Any, ops: Ops) -> Any:
    """Log density of N(0, variance) at x."""
    return -0.5 * (LOG_2PI + ops.log(variance) + x**2 / variance)


def log_interval(low: Any, high: Any, ops: Ops) -> Any:
    """log(Phi(high) - Phi(low)) for low < high, without cancellation in either tail.

    Both ends are moved to the side of the lower tail first, where the normal distribution
    function keeps its relative precision.
    """
    flip = low + high > 0
    a = ops.where(flip, -high, low)
    b = ops.where(flip, -low, high)
    log_a, log_b = ops.log_ndtr(a), ops.log_ndtr(b)
    return log_b + ops.log1mexp(ops.minimum(log_a - log_b, -1e-300))


Term = tuple[np.ndarray, Any]


def closed_terms(layout: Layout, mean: Any, tau2: Any, omega2: Any, ops: Ops) -> list[Term]:
    """Log likelihood of the blocks that need no integral: (first row of each block, values).

    `mean` and `tau2` have shape (..., k) (one value a row), `omega2` (..., 1); leading axes
    broadcast. tau2 and omega2 are variances on the effect-size scale. Values are (..., b).
    """
    y, v = layout.y, layout.v
    terms: list[Term] = []

    def total(index: np.ndarray) -> Any:
        return v[index] + tau2[..., index] + omega2

    if (i := layout.single_exact).size:
        terms.append((i, normal_logpdf(y[i] - mean[..., i], total(i), ops)))
    if (i := layout.single_unsigned).size:
        var = total(i)
        plus = normal_logpdf(y[i] - mean[..., i], var, ops)
        minus = normal_logpdf(y[i] + mean[..., i], var, ops)
        terms.append((i, ops.logaddexp(plus, minus)))
    if (i := layout.single_beyond).size:
        above = np.isposinf(layout.upper[i])
        sign = np.where(above, 1.0, -1.0)
        bound = np.where(above, layout.lower[i], layout.upper[i])
        terms.append((i, ops.log_ndtr(sign * (mean[..., i] - bound) / ops.sqrt(total(i)))))
    if (i := layout.single_within).size:
        sd = ops.sqrt(total(i))
        low = (layout.lower[i] - mean[..., i]) / sd
        high = (layout.upper[i] - mean[..., i]) / sd
        terms.append((i, log_interval(low, high, ops)))
    if (blocks := layout.exact_blocks) is not None:
        pair = blocks.mask.sum(axis=1) == 2
        for which, density in ((pair, _pairs), (~pair, _larger)):
            if which.any():
                part = _part(blocks, which)
                terms.append((part.rows[:, 0], density(layout, part, mean, tau2, omega2, ops)))
    return terms


def _part(block: ExactBlocks, which: np.ndarray) -> ExactBlocks:
    """Some of the blocks, padded no wider and with no more sign patterns than they need."""
    n = int(block.mask[which].sum(axis=1).max())
    # Patterns repeat with a period of 2^(number of unsigned rows), see `blocks._signs`.
    needed = np.exp(block.log_weight[which, 0]) * block.signs.shape[1]
    n_patterns = round(float(needed.max()))
    return ExactBlocks(
        block.rows[which, :n],
        block.mask[which, :n],
        block.V[which, :n, :n],
        block.G[which, :n, :n],
        block.signs[which, :n_patterns, :n],
        block.log_weight[which, :n_patterns] + np.log(block.signs.shape[1] / n_patterns),
    )


def _pairs(layout: Layout, block: ExactBlocks, mean: Any, tau2: Any, omega2: Any, ops: Ops) -> Any:
    """Joint normal density of blocks of two rows, written out: NUTS spends its time here."""
    t2 = tau2[..., block.rows[:, 0]]
    V, G = block.V, block.G
    first = V[:, 0, 0] + t2 * G[:, 0, 0] + omega2
    slope = (V[:, 0, 1] + t2 * G[:, 0, 1]) / first
    second = V[:, 1, 1] + t2 * G[:, 1, 1] + omega2 - slope**2 * first
    y = layout.y[block.rows]
    values = []
    for p in range(block.signs.shape[1]):
        a = y[:, 0] * block.signs[:, p, 0] - mean[..., block.rows[:, 0]]
        b = y[:, 1] * block.signs[:, p, 1] - mean[..., block.rows[:, 1]]
        value = normal_logpdf(a, first, ops) + normal_logpdf(b - slope * a, second, ops)
        values.append(block.log_weight[:, p] + value)
    return _sum_patterns(values, ops)


def _larger(layout: Layout, block: ExactBlocks, mean: Any, tau2: Any, omega2: Any, ops: Ops) -> Any:
    """Joint normal density of each block (..., B), summed over the unknown signs."""
    n = block.rows.shape[1]
    diagonal = np.eye(n) * block.mask[:, :, None]
    t2 = tau2[..., block.rows[:, 0]][..., None, None]
    chol = ops.cholesky(block.V + t2 * block.G + omega2[..., None, None] * diagonal)
    log_det = 0.0
    for i in range(n):
        log_det = log_det + ops.log(chol[..., i, i])
    y = np.where(block.mask > 0, np.nan_to_num(layout.y[block.rows]), 0.0)
    mu = mean[..., block.rows] * block.mask
    size = block.mask.sum(axis=1)
    values = []
    for p in range(block.signs.shape[1]):
        z = ops.solve_lower(chol, (y * block.signs[:, p] - mu)[..., None])[..., 0]
        quad = (z**2).sum(axis=-1)
        values.append(block.log_weight[:, p] - 0.5 * (size * LOG_2PI + quad) - log_det)
    return _sum_patterns(values, ops)


def _sum_patterns(values: list[Any], ops: Ops) -> Any:
    out = values[0]
    for value in values[1:]:
        out = ops.logaddexp(out, value)
    return out


def log_likelihood(layout: Layout, mean: Any, tau: Any, omega: Any) -> Any:
    """Log likelihood of each block (n, blocks) in `layout.block_rows`' order, in numpy.

    `mean`, `tau` (n, k) and `omega` (n, 1) at n points of the parameter space.
    """
    from nssi_meta.models.bound_blocks import bound_blocks
    from nssi_meta.models.ops import numpy_ops

    terms = closed_terms(layout, mean, tau**2, omega**2, numpy_ops())
    if layout.bound_blocks is not None:
        first = layout.bound_blocks.first
        terms.append((first, bound_blocks(layout, layout.bound_blocks, mean, tau, omega)))
    order = np.argsort(layout.block_of_row[np.concatenate([index for index, _ in terms])])
    return np.concatenate([value for _, value in terms], axis=-1)[..., order]
