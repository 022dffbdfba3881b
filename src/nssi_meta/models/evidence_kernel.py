"""The log likelihood of a layout of rows, given the common parts f, as one compiled loop.

`given` is the sum of the rows' log densities with its slopes by everything that is sampled:
`row_kernel` says what one row adds, `block_kernel` what rows that belong together do, and
`common_kernel` what f is of what is sampled.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nssi_meta.models.block_kernel import block
from nssi_meta.models.blocks import Floats
from nssi_meta.models.common_kernel import backward, forward, loads, loads_back
from nssi_meta.models.row_kernel import compiled, plain_rows

#: Where tau^2 is large what the common part leaves of it is a difference, and must not fall below
#: 0 with v.
_REST = 1e-12 - 1.0


@compiled
def _told(told: tuple[Any, ...], j: int) -> tuple[Any, ...]:
    """What is told of study j's places."""
    y, extra, effect, sign, share, walled, side = told
    return y[:, j], extra[:, j], effect[:, j], sign[:, j], share[:, j], walled[:, j], side[j]


@compiled
def given(
    rows: tuple[Floats, ...],
    mean: Floats,
    tau2: Floats,
    omega2: float,
    g: Floats,
    blocks: tuple[Floats, ...],
    places: tuple[Floats, ...],
    told: tuple[Floats, ...],
) -> tuple[float, Floats, Floats, float, Floats]:
    """Sum of log densities, and its slopes by `mean`, `tau2` (k,), `omega2` and `g` (B,).

    `rows` are `form`, `a`, `b` (`row_kernel.row`) and the sampling variance, each (k,); `blocks` as
    in `block_kernel.block`, one after the other on the last axis. Of studies with a common part
    `places` says which of the k rows is at each place, `at` (n, B), and one of them, `first` (B,),
    the places' `v` and `mask` (n, B) and `rho` (B,), and `told` what `common_variable.as_told`
    says. A study without rows has a g that is standard normal. B may be 0.
    """
    form, a, b, sampling = rows
    at, first, v, mask, rho = places
    n, n_studies, k = at.shape[0], len(g), len(mean)
    centre, variance = mean.copy(), sampling + tau2 + omega2
    f, kappa, pairs = np.zeros(n_studies), np.zeros(n_studies), np.zeros(n_studies)
    shape = n_studies, n
    means, load, own = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    total = 0.0
    for j in range(n_studies):
        if mask[:, j].sum() == 0:
            f[j] = g[j]
            total -= 0.5 * g[j] ** 2
            continue
        t2 = tau2[int(first[j])]
        kappa[j], pairs[j] = loads(t2, v[:, j], mask[:, j], rho[j], load[j])
        for i in range(n):
            if mask[i, j] > 0:
                row = int(at[i, j])
                rest = max(tau2[row] - load[j, i], _REST * v[i, j])
                load[j, i] = np.sqrt(load[j, i])
                own[j, i] = variance[row] = rest + v[i, j] + omega2
                means[j, i] = mean[row]
        f[j], log_slope = forward(_told(told, j), means[j], load[j], own[j], g[j])
        total += log_slope - 0.5 * f[j] ** 2
        for i in range(n):
            if mask[i, j] > 0:
                centre[int(at[i, j])] += load[j, i] * f[j]

    d_mean, d_variance = np.zeros(k), np.zeros(k)
    total += plain_rows(form, a, b, centre, variance, d_mean, d_variance)
    d_tau2, d_omega2, d_g = d_variance.copy(), d_variance.sum(), np.zeros(n_studies)
    d_means, d_load, d_own = np.zeros(n), np.zeros(n), np.zeros(n)
    for j in range(n_studies):
        if mask[:, j].sum() == 0:
            d_g[j] = -g[j]
            continue
        d_f = -f[j]
        for i in range(n):
            d_means[i] = d_load[i] = d_own[i] = 0.0
            if mask[i, j] > 0:
                by_mean = d_mean[int(at[i, j])]
                d_f += by_mean * load[j, i]
                d_load[i] = by_mean * f[j]
        d_g[j] = backward(
            _told(told, j), means[j], load[j], own[j], g[j], d_f, d_means, d_load, d_own
        )
        for i in range(n):
            if mask[i, j] > 0:
                row = int(at[i, j])
                d_mean[row] += d_means[i]
                d_omega2 += d_own[i]
                d_tau2[row] += d_own[i]
                d_load[i] *= 0.5 / load[j, i]  # by the load's square from here on
                if tau2[row] - load[j, i] ** 2 > _REST * v[i, j]:
                    d_load[i] -= d_tau2[row]
                else:
                    d_tau2[row] = 0.0
        d_tau2[int(first[j])] += loads_back(
            tau2[int(first[j])], v[:, j], mask[:, j], rho[j], kappa[j], pairs[j], d_load
        )
    value, by_omega2 = block(blocks, mean, tau2, omega2, d_mean, d_tau2)
    return total + value, d_mean, d_tau2, d_omega2 + by_omega2, d_g
