"""The likelihood of a layout of rows, study effects integrated out (statistics of the package).

y_i = mean_i + u_j + w_i + e_i with u ~ N(0, tau^2 G), w ~ N(0, omega^2), e ~ N(0, V). Exact rows
of a block are jointly normal and need no integral. A bound says in which interval the estimate
fell; bounds of one study and contrast share u and part of e, one standard normal f, so that

    Pr(all bounds) = E_f prod_i [Phi((upper_i - mean_i - l_i f) / d_i) - Phi(lower ...)]

with l_i^2 = tau^2 + rho s_i^2 and d_i^2 = omega^2 + (1 - rho) s_i^2. Exact rows of the same study
and contrast enter in closed form and leave f ~ N(m, c); quadrature is only for the bounds, with
nodes that follow the integrand (`_support`). Everything here is written against an `Ops`.

Not modelled: bounds on *different* contrasts of one study (case versus healthy and versus
patients) count as independent given the means.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nssi_meta.models.blocks import BoundBlocks, ExactBlocks, Layout
from nssi_meta.models.ops import Ops

LOG_2PI = float(np.log(2 * np.pi))
#: Gauss-Legendre nodes per block of bounds: error in the log below 1e-5 while l_i < 4 d_i (tests).
N_NODES = 32
#: Stands for an open end in units of the standard deviation; far beyond any centre it meets.
FAR = 1e8

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(N_NODES)


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


def log_likelihood(layout: Layout, mean: Any, tau: Any, omega: Any, ops: Ops) -> Any:
    """Log likelihood of each block, shape (..., number of blocks), in `layout.block_rows`' order.

    `mean` and `tau` have shape (..., k) (one value a row), `omega` (..., 1); leading axes
    broadcast. tau and omega are standard deviations on the effect-size scale.
    """
    parts = closed_terms(layout, mean, tau, omega, ops) + bound_terms(
        layout, mean, tau, omega, ops
    )
    first = np.concatenate([index for index, _ in parts])
    return _concatenate([value for _, value in parts])[..., np.argsort(layout.block_of_row[first])]


Term = tuple[np.ndarray, Any]


def closed_terms(layout: Layout, mean: Any, tau: Any, omega: Any, ops: Ops) -> list[Term]:
    """The blocks that need no integral: (first row of each block, log likelihood) per kind."""
    tau2, omega2 = tau**2, omega**2
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
    if (i := layout.single_above).size:
        z = (mean[..., i] - layout.lower[i]) / ops.sqrt(total(i))
        terms.append((i, ops.log_ndtr(z)))
    if (i := layout.single_below).size:
        z = (layout.upper[i] - mean[..., i]) / ops.sqrt(total(i))
        terms.append((i, ops.log_ndtr(z)))
    if (i := layout.single_within).size:
        sd = ops.sqrt(total(i))
        low = (layout.lower[i] - mean[..., i]) / sd
        high = (layout.upper[i] - mean[..., i]) / sd
        terms.append((i, log_interval(low, high, ops)))
    for block in layout.exact_blocks:
        terms.append((block.rows[:, 0], _exact_block(layout, block, mean, tau2, omega2, ops)))
    return terms


def bound_terms(layout: Layout, mean: Any, tau: Any, omega: Any, ops: Ops) -> list[Term]:
    """The blocks of bounds, each an integral: (first row of each block, log likelihood)."""
    return [
        (
            _first_row(block.exact, block.bounds),
            _bound_block(layout, block, mean, tau**2, omega**2, ops),
        )
        for block in layout.bound_blocks
    ]


def _first_row(exact: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    first: np.ndarray = np.concatenate([exact, bounds], axis=1)[:, 0]
    return first


def _concatenate(parts: list[Any]) -> Any:
    if isinstance(parts[0], np.ndarray):
        lead = np.broadcast_shapes(*(p.shape[:-1] for p in parts))
        return np.concatenate([np.broadcast_to(p, (*lead, p.shape[-1])) for p in parts], axis=-1)
    import pytensor.tensor as pt

    return pt.concatenate(parts, axis=-1)


def sign_patterns(n_unsigned: int) -> list[tuple[int, ...]]:
    """All sign combinations of the rows whose sign the source does not tell."""
    patterns: list[tuple[int, ...]] = [()]
    for _ in range(n_unsigned):
        patterns = [(*p, s) for p in patterns for s in (1, -1)]
    return patterns


def _signed(y: Any, pattern: tuple[int, ...]) -> Any:
    sign = np.ones(y.shape[-1])
    sign[: len(pattern)] = pattern
    return y * sign


def _sum_signs(values: list[Any], ops: Ops) -> Any:
    out = values[0]
    for value in values[1:]:
        out = ops.logaddexp(out, value)
    return out


def _exact_block(
    layout: Layout, block: ExactBlocks, mean: Any, tau2: Any, omega2: Any, ops: Ops
) -> Any:
    """Joint normal density of n exact rows: an unrolled Cholesky factor, vectorised over blocks."""
    rows, n = block.rows, block.rows.shape[1]
    t2 = tau2[..., rows[:, 0]]
    chol: list[list[Any]] = [[None] * n for _ in range(n)]
    for i in range(n):
        for j in range(i + 1):
            value = block.V[:, i, j] + t2 * block.G[:, i, j]
            if i == j:
                value = value + omega2
            for m in range(j):
                value = value - chol[i][m] * chol[j][m]
            chol[i][j] = ops.sqrt(value) if i == j else value / chol[j][j]
    log_det = sum(ops.log(chol[i][i]) for i in range(n))
    mu = mean[..., rows]
    results = []
    for pattern in sign_patterns(block.n_unsigned):
        y = _signed(layout.y[rows], pattern)
        z: list[Any] = []
        for i in range(n):
            value = y[:, i] - mu[..., i]
            for j in range(i):
                value = value - chol[i][j] * z[j]
            z.append(value / chol[i][i])
        results.append(-0.5 * (n * LOG_2PI + sum(zi**2 for zi in z)) - log_det)
    return _sum_signs(results, ops)


def _bound_block(
    layout: Layout, block: BoundBlocks, mean: Any, tau2: Any, omega2: Any, ops: Ops
) -> Any:
    """Bounds of one study on one contrast, its exact rows (if any) taken out in closed form."""
    first = _first_row(block.exact, block.bounds)
    t2 = tau2[..., first]

    def column(index: np.ndarray) -> tuple[Any, Any, Any]:
        vi = layout.v[index]
        load = ops.sqrt(t2 + block.rho * vi + 1e-12)
        rest = omega2 + (1.0 - block.rho) * vi
        return mean[..., index], load, rest

    bounds = [column(block.bounds[:, j]) for j in range(block.bounds.shape[1])]
    results = []
    for pattern in sign_patterns(block.n_unsigned):
        precision, weighted, log_density = 1.0, 0.0, 0.0
        for j in range(block.exact.shape[1]):
            index = block.exact[:, j]
            sign = pattern[j] if j < len(pattern) else 1
            mu, load, rest = column(index)
            # f | rows so far ~ N(m, 1/precision): predict the row, then update.
            m = weighted / precision
            resid = sign * layout.y[index] - mu
            log_density = log_density + normal_logpdf(
                resid - load * m, rest + load**2 / precision, ops
            )
            weighted = weighted + load * resid / rest
            precision = precision + load**2 / rest
        m, sd = weighted / precision, 1.0 / ops.sqrt(precision)
        low, high, scale = [], [], []
        for j, (mu, load, rest) in enumerate(bounds):
            index = block.bounds[:, j]
            d = ops.sqrt(rest)
            low.append(_standardise(layout.lower[index], mu + load * m, d))
            high.append(_standardise(layout.upper[index], mu + load * m, d))
            scale.append(load * sd / d)
        results.append(log_density + _factor_integral(low, high, scale, ops))
    return _sum_signs(results, ops)


def _standardise(bound: np.ndarray, centre: Any, d: Any) -> Any:
    """(bound - centre) / d with open ends far out in the tail, whatever the scale."""
    open_end = np.isinf(bound)
    finite = np.where(open_end, 0.0, bound)
    sign = np.sign(np.where(open_end, bound, 0.0))
    return (finite - centre) / d * (1.0 - open_end) + sign * FAR


def _factor_integral(low: list[Any], high: list[Any], scale: list[Any], ops: Ops) -> Any:
    """log E prod_i [Phi(high_i - scale_i z) - Phi(low_i - scale_i z)], z ~ N(0, 1).

    The integrand is log-concave. Gauss-Legendre on an interval that holds all but e^-18 of it.
    """
    left, right = _support(low, high, scale, ops)
    half = (right - left) / 2
    nodes = ops.stack_last([left + half * (1.0 + x) for x in _NODES])
    value = -0.5 * nodes**2 - 0.5 * LOG_2PI
    for a, b, r in zip(low, high, scale, strict=True):
        shift = r[..., None] * nodes
        value = value + log_interval(a[..., None] - shift, b[..., None] - shift, ops)
    return ops.logsumexp_last(value + np.log(_WEIGHTS)) + ops.log(half)


def _support(low: list[Any], high: list[Any], scale: list[Any], ops: Ops) -> tuple[Any, Any]:
    """Where the integrand lives: its mode by Newton steps, then what each factor allows.

    The log integrand g is concave with g'' <= -1, hence falls by 18 within 6 of the mode z*. A
    factor alone cuts the left side at min(low/scale, z*) - 6/scale, and likewise the right. The
    integral does not depend on where the nodes are, so no gradient flows through here.
    """
    low = [ops.constant(a) for a in low]
    high = [ops.constant(b) for b in high]
    scale = [ops.constant(r) for r in scale]
    z = 0.0 * low[0]
    for _ in range(8):
        grad, curvature = -z, 1.0
        for a, b, r in zip(low, high, scale, strict=True):
            log_p = log_interval(a - r * z, b - r * z, ops)
            da = ops.exp(-0.5 * ((a - r * z) ** 2 + LOG_2PI) - log_p)
            db = ops.exp(-0.5 * ((b - r * z) ** 2 + LOG_2PI) - log_p)
            slope = da - db
            grad = grad + r * slope
            bend = slope**2 - (a - r * z) * da + (b - r * z) * db
            curvature = curvature + r**2 * ops.maximum(bend, 0.0)
        z = z + grad / curvature
    left, right = z - 6.0, z + 6.0
    for a, b, r in zip(low, high, scale, strict=True):
        left = ops.maximum(left, ops.minimum(a / r, z) - 6.0 / r)
        right = ops.minimum(right, ops.maximum(b / r, z) + 6.0 / r)
    return ops.constant(left), ops.constant(right)
