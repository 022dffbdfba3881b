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
    of_study, of_place = np.zeros((2, n_studies)), np.zeros((3, n_studies, n))
    f, lacks = of_study[0], of_study[1]
    means, load, own = of_place[0], of_place[1], of_place[2]
    total = 0.0
    for j in range(n_studies):
        if mask[:, j].sum() == 0:
            total -= 0.5 * g[j] ** 2
            continue
        lacks[j] = loads(tau2[int(first[j])], v[:, j], mask[:, j], rho[j], load[j], own[j])
        for i in range(n):
            if mask[i, j] > 0:
                place = int(at[i, j])
                own[j, i] += omega2
                variance[place] = own[j, i]
                means[j, i] = mean[place]
        f[j], log_slope = forward(_told(told, j), means[j], load[j], own[j], g[j])
        total += log_slope - 0.5 * f[j] ** 2
        for i in range(n):
            if mask[i, j] > 0:
                centre[int(at[i, j])] += load[j, i] * f[j]

    d_mean, d_variance, d_g = np.zeros(k), np.zeros(k), np.zeros(n_studies)
    total += plain_rows(form, a, b, centre, variance, d_mean, d_variance)
    d_tau2, d_omega2 = d_variance, d_variance.sum()
    d_place = np.zeros((3, n))
    d_means, d_load, d_own = d_place[0], d_place[1], d_place[2]
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
                place = int(at[i, j])
                d_mean[place] += d_means[i]
                d_omega2 += d_own[i]
                # What f leaves of the row's tau^2 depends on that of its study's first row alone.
                d_own[i] += d_variance[place]
                d_tau2[place] = 0.0
        t2 = tau2[int(first[j])]
        d_tau2[int(first[j])] = loads_back(
            t2, v[:, j], mask[:, j], rho[j], lacks[j], load[j], d_load, d_own
        )
    value, by_omega2 = block(blocks, mean, tau2, omega2, d_mean, d_tau2)
    return total + value, d_mean, d_tau2, d_omega2 + by_omega2, d_g
