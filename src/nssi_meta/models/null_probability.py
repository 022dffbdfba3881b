"""The probability that no row of a report is significant, at all nodes of a grid at once.

A report's rows share the study effect theta ~ N(mu, tau^2) and part of their sampling error:

    P(mu, tau, omega) = E_theta S(theta, omega),
    S = E_f prod_i [Phi((u_i - theta - sqrt(rho v_i) f) / d_i) - Phi((l_i - ...) / d_i)]

with d_i^2 = (1 - rho) v_i + omega^2. S knows neither mu nor tau. It is written as a sum of normal
densities over theta, which E_theta only widens, so that a grid of (mu, tau, omega) costs one small
table of S and a matrix product instead of an integral at every node.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from nssi_meta.models.blocks import Layout

Floats = NDArray[np.float64]

#: Spacing and width of the normal densities, in units of the scale on which S varies. S has next
#: to nothing left at the wavelength of two spacings: exp(-(pi / 0.6)^2 / 2) = 1e-6.
SPACING = 0.6
#: Standard deviations beyond the limits at which S counts as 0 (2e-7), and f as out of reach.
REACH = 5.2
#: Step of the trapezoidal rule for f, in units of the integrand's narrowest scale: error 1e-6.
STEP = 1.2


def null_probability(data: Layout, mu: Floats, tau: Floats, omega: Floats) -> Floats:
    """Probabilities (M, T, O, R) for nodes (M,), (T,), (O,) and the R blocks of `data`.

    `data` is a layout of rows that are all two-sided bounds. Absolute error below 1e-5 (a test).
    """
    out = np.empty((len(mu), len(tau), len(omega), len(data.block_rows)))
    for r, rows in enumerate(data.block_rows):
        if len(rows) == 1:
            i = int(rows[0])
            sd = np.sqrt(data.v[i] + tau[:, None] ** 2 + omega[None, :] ** 2)
            low, high = ((end[i] - mu[:, None, None]) / sd for end in (data.lower, data.upper))
            out[..., r] = ndtr(high) - ndtr(low)
    blocks = data.bound_blocks
    if blocks is not None:
        columns = data.block_of_row[blocks.first]
        for column, rho in zip(columns, blocks.rho, strict=True):
            rows = data.block_rows[int(column)]
            out[..., column] = _joint(
                data.v[rows], data.lower[rows], data.upper[rows], float(rho), mu, tau, omega
            )
    return out


def _joint(
    v: Floats, lower: Floats, upper: Floats, rho: float, mu: Floats, tau: Floats, omega: Floats
) -> Floats:
    """The probability (M, T, O) of one block."""
    out = np.empty((len(mu), len(tau), len(omega)))
    small = 2 * np.sqrt(v.min())
    # S is wider where omega is large: every octave of omega has nodes of its own.
    octave = np.ceil(np.log2(np.maximum(omega / small, 1.0))).astype(int)
    for o in np.unique(octave):
        here = octave == o
        least = 0.0 if o == 0 else small * 2.0 ** (o - 1)
        n = len(v)
        scale = np.sqrt(rho * v.min() + ((1 - rho) * v.min() + least**2) / n)
        step = SPACING * float(scale)
        sd = np.sqrt(v.max() + (small * 2.0**o) ** 2)
        # The product falls off as soon as one factor does: the tightest limits count.
        low, high = lower.max() - REACH * sd, upper.min() + REACH * sd
        theta = np.arange(low, high + step, step)
        table = _table(theta, v, lower, upper, rho, omega[here])
        gap = theta[:, None] - theta[None, :]
        height = np.linalg.solve(np.exp(-0.5 * (gap / step) ** 2), table)
        width2 = step**2 + tau**2
        away = (mu[:, None] - theta[None, :]) ** 2
        kernel = np.exp(-0.5 * away[:, None, :] / width2[:, None])
        kernel *= (step / np.sqrt(width2))[:, None]
        out[..., here] = kernel @ height
    return np.clip(out, 0.0, 1.0)


def _table(
    theta: Floats, v: Floats, lower: Floats, upper: Floats, rho: float, omega: Floats
) -> Floats:
    """S (J, O) at the nodes theta (J,)."""
    load = np.sqrt(rho * v)
    narrow = np.sqrt((1 - rho) * v / len(v))
    # In units of f a factor has the width d / load, the density of f has 1.
    step = STEP / np.sqrt(1.0 + float((load / narrow).max()) ** 2)
    half = int(np.ceil(REACH / step))
    f = step * np.arange(-half, half + 1)
    weight = np.exp(-0.5 * f**2)
    product = np.ones((len(theta), len(omega), len(f)))
    for i in range(len(v)):
        d = np.sqrt((1 - rho) * v[i] + omega**2)[:, None]
        mean = (theta[:, None] + load[i] * f[None, :])[:, None, :]
        product *= ndtr((upper[i] - mean) / d) - ndtr((lower[i] - mean) / d)
    return np.asarray(product @ (weight / weight.sum()))


__all__ = ["null_probability"]
