"""Several rows of one study with bounds among them: their likelihood on a whole grid at once.

The rows share the study effect theta ~ N(mu, tau^2) and part of their sampling error:

    P(mu, tau, omega) = E_theta S(theta, omega),    S = E_f prod_i p_i(theta + sqrt(rho v_i) f)

where p_i is Phi((u_i - .) / d_i) - Phi((l_i - .) / d_i) for a bound and a normal density with SD
d_i for an exact row, d_i^2 = (1 - rho) v_i + omega^2. S knows neither mu nor tau. It is written as
a sum of normal densities over theta, which E_theta only widens, so that a grid of (mu, tau, omega)
costs one small table of S and a matrix product instead of an integral at every node
(`bound_blocks`). Errors are absolute: small values are left to `bound_blocks`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from nssi_meta.models.blocks import Layout
from nssi_meta.models.likelihood import LOG_2PI

Floats = NDArray[np.float64]

#: Spacing and width of the normal densities, in units of the scale on which S varies. S has next
#: to nothing left at the wavelength of two spacings: exp(-(pi / 0.5)^2 / 2) = 3e-9.
SPACING = 0.5
#: Standard deviations beyond the limits at which S counts as 0 or 1, and f as out of reach: 2e-9.
REACH = 6.0
#: Step of the trapezoidal rule for f, in units of the integrand's narrowest scale: 3e-9, as above.
STEP = 1.0
#: Below this `grid_blocks` is not accurate to 1e-4 of the value.
LEAST = 1e-5


@dataclass(frozen=True)
class _Rows:
    """The rows of one block: exact rows have y, and lower = upper = NaN; signs (P, n)."""

    v: Floats
    y: Floats
    lower: Floats
    upper: Floats
    exact: NDArray[np.bool_]
    signs: Floats
    weight: Floats
    rho: float


def null_probability(data: Layout, mu: Floats, tau: Floats, omega: Floats) -> Floats:
    """P(every row within its bounds) of the R blocks of `data` (M, T, O, R).

    `data` is a layout of rows that are all two-sided bounds; nodes (M,), (T,), (O,).
    """
    out = np.empty((len(mu), len(tau), len(omega), len(data.block_rows)))
    for r, rows in enumerate(data.block_rows):
        if len(rows) == 1:
            i = int(rows[0])
            sd = np.sqrt(data.v[i] + tau[:, None] ** 2 + omega[None, :] ** 2)
            low, high = ((end[i] - mu[:, None, None]) / sd for end in (data.lower, data.upper))
            out[..., r] = ndtr(high) - ndtr(low)
    if data.bound_blocks is not None:
        columns = data.block_of_row[data.bound_blocks.first]
        for column, value in zip(columns, grid_blocks(data, mu, tau, omega)[0], strict=True):
            out[..., column] = value
    return out


def grid_blocks(data: Layout, mu: Floats, tau: Floats, omega: Floats) -> tuple[Floats, Floats]:
    """Likelihood of each block of bounds, scaled (B, M, T, O), and the log of all scales (O,).

    A scale is that of the densities of exact rows: what it multiplies is at most 1, with an
    absolute error of 1e-8 (a test). Nodes (M,), (T,), (O,).
    """
    block = data.bound_blocks
    assert block is not None
    n_blocks = len(block.rho)
    out = np.empty((n_blocks, len(mu), len(tau), len(omega)))
    scale = np.zeros(len(omega))
    for b in range(n_blocks):
        exact = block.exact[b, block.exact_mask[b] > 0]
        index = np.concatenate([exact, block.bounds[b, block.bounds_mask[b] > 0]])
        is_exact = np.arange(len(index)) < len(exact)
        signs = np.ones((block.signs.shape[1], len(index)))
        signs[:, : len(exact)] = block.signs[b, :, block.exact_mask[b] > 0].T
        none = np.where(is_exact, np.nan, 0.0)
        rows = _Rows(
            data.v[index], np.where(is_exact, data.y[index], 0.0), data.lower[index] + none,
            data.upper[index] + none, is_exact, signs, np.exp(block.log_weight[b]),
            float(block.rho[b]),
        )  # fmt: skip
        out[b] = _on_grid(rows, mu, tau, omega)
        for v in rows.v[is_exact]:
            scale -= 0.5 * (LOG_2PI + np.log((1 - rows.rho) * v + omega**2))
    return out, scale


def _on_grid(rows: _Rows, mu: Floats, tau: Floats, omega: Floats) -> Floats:
    """The scaled likelihood (M, T, O) of one block."""
    out = np.empty((len(mu), len(tau), len(omega)))
    v, n = rows.v, len(rows.v)
    low, high, tail = _limits(rows)
    small = 2 * np.sqrt(v.min())
    # S is wider where omega is large: every octave of omega has nodes of its own.
    octave = np.ceil(np.log2(np.maximum(omega / small, 1.0))).astype(int)
    for o in np.unique(octave):
        here = octave == o
        least = 0.0 if o == 0 else small * 2.0 ** (o - 1)
        step = SPACING * np.sqrt(rows.rho * v.min() + ((1 - rows.rho) * v.min() + least**2) / n)
        reach = REACH * np.sqrt(v.max() + (small * 2.0**o) ** 2)
        theta = np.arange(low - reach, high + reach + step, step)
        table = _table(theta, rows, omega[here])
        if tail:  # S goes to 1 on one side: what is left beside a distribution function is finite
            wide = np.sqrt(v.max() + omega[here] ** 2)
            table -= ndtr(tail * (theta[:, None] - low) / wide)
        gap = theta[:, None] - theta[None, :]
        height = np.linalg.solve(np.exp(-0.5 * (gap / step) ** 2), table)
        width2 = step**2 + tau**2
        away = (mu[:, None] - theta[None, :]) ** 2
        kernel = np.exp(-0.5 * away[:, None, :] / width2[:, None])
        kernel *= (step / np.sqrt(width2))[:, None]
        value = kernel @ height
        if tail:
            sd = np.sqrt(wide**2 + tau[:, None] ** 2)
            value += ndtr(tail * (mu[:, None, None] - low) / sd)
        out[..., here] = value
    return np.clip(out, 0.0, 1.0)


def _limits(rows: _Rows) -> tuple[float, float, int]:
    """Between which theta S is neither 0 nor 1, and on which side it goes to 1 (or neither: 0)."""
    sizes = rows.signs[:, rows.exact] * rows.y[rows.exact]
    lower, upper = rows.lower[~rows.exact], rows.upper[~rows.exact]
    if not sizes.size and np.isposinf(upper).all():
        return float(lower.max()), float(lower.max()), 1
    if not sizes.size and np.isneginf(lower).all():
        return float(upper.min()), float(upper.min()), -1
    # The product falls off as soon as one factor does: the tightest limits count.
    ends = [*sizes.ravel(), lower.max(initial=-np.inf), upper.min(initial=np.inf)]
    finite = [e for e in ends if np.isfinite(e)]
    return float(min(finite)), float(max(finite)), 0


def _table(theta: Floats, rows: _Rows, omega: Floats) -> Floats:
    """S (J, O) at the nodes theta (J,)."""
    load = np.sqrt(rows.rho * rows.v)
    narrow = np.sqrt((1 - rows.rho) * rows.v / len(rows.v))
    # In units of f a factor has the width d / load, the density of f has 1.
    step = STEP / np.sqrt(1.0 + float((load / narrow).max()) ** 2)
    half = int(np.ceil(REACH / step))
    f = step * np.arange(-half, half + 1)
    weight = np.exp(-0.5 * f**2)
    weight /= weight.sum()
    shape = (len(theta), len(omega), len(f))
    d = np.sqrt((1 - rows.rho) * rows.v[:, None] + omega**2)[:, :, None]
    mean = theta[:, None, None] + load[:, None, None, None] * f
    bounds = np.ones(shape)
    for i in np.flatnonzero(~rows.exact):
        upper = ndtr((rows.upper[i] - mean[i]) / d[i])
        bounds *= upper - ndtr((rows.lower[i] - mean[i]) / d[i])
    if not rows.exact.any():
        return np.asarray(bounds @ weight)
    exact = np.zeros(shape)
    for signs, share in zip(rows.signs, rows.weight, strict=True):
        square = np.zeros(shape)
        for i in np.flatnonzero(rows.exact):
            square += ((signs[i] * rows.y[i] - mean[i]) / d[i]) ** 2
        exact += share * np.exp(-0.5 * square)
    return np.asarray((bounds * exact) @ weight)


__all__ = ["LEAST", "grid_blocks", "null_probability"]
