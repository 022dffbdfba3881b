"""The log likelihood of a layout of rows, given the common parts f, as one compiled loop.

`given` is the sum of the rows' log densities with its slopes by everything that is sampled:
`row_kernel` says what one row adds, `block_kernel` what rows that belong together do, and
`common_kernel` what f is of what is sampled.
"""

from __future__ import annotations

import numpy as np

from nssi_meta.models.block_kernel import block
from nssi_meta.models.blocks import Floats
from nssi_meta.models.common_kernel import (
    Study,
    backward,
    forward,
    loads,
    loads_back,
    moments,
    room_for,
)
from nssi_meta.models.row_kernel import compiled, row


@compiled
def _gather(
    study: Study, j: int, mean: Floats, places: tuple[Floats, ...], told: tuple[Floats, ...]
) -> tuple[int, int]:
    """Study j's rows into `study`, slopes 0: how many, and one of them."""
    at, first, v, mask, _ = places
    y, extra, effect, sign, share, walled, _ = told
    n = 0
    for i in range(len(mask)):
        if mask[i, j] > 0:
            study.at[n] = at[i, j]
            study.mean[n], study.v[n] = mean[int(at[i, j])], v[i, j]
            study.y[n], study.extra[n], study.effect[n] = y[i, j], extra[i, j], effect[i, j]
            study.sign[n], study.share[n], study.walled[n] = sign[i, j], share[i, j], walled[i, j]
            study.d_mean[n] = study.d_load[n] = study.d_own[n] = 0.0
            n += 1
    return n, int(first[j])


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
    k, n_studies, rho, sides = len(mean), len(g), places[-1], told[-1]
    alone = form.copy()  # what is left of the rows when the studies took theirs
    d_mean, d_tau2, d_g = np.zeros(k), np.zeros(k), np.zeros(n_studies)
    total, d_omega2 = 0.0, 0.0
    study = room_for(len(places[0]))
    for j in range(n_studies):
        n, first = _gather(study, j, mean, places, told)
        if n == 0:
            total -= 0.5 * g[j] ** 2
            d_g[j] = -g[j]
            continue
        t2, side = tau2[first], sides[j]
        lacks, slope = loads(study, n, t2, rho[j])
        for i in range(n):
            study.own[i] += omega2
        says = moments(study, n, side)
        f, log_slope = forward(says, side, g[j])
        total += log_slope - 0.5 * f**2
        d_f = -f
        for i in range(n):
            place = int(study.at[i])
            alone[place] = -1.0
            value, by_mean, by_own = row(
                form[place], a[place], b[place], study.mean[i] + study.load[i] * f, study.own[i]
            )
            total += value
            d_f += by_mean * study.load[i]
            study.d_mean[i] = by_mean
            study.d_load[i] = by_mean * f
            study.d_own[i] = by_own
        d_g[j] = backward(study, n, says, side, g[j], d_f)
        for i in range(n):
            d_mean[int(study.at[i])] += study.d_mean[i]
            d_omega2 += study.d_own[i]
        # What f leaves of a row's tau^2 depends on that of its study's first row alone.
        d_tau2[first] += loads_back(study, n, t2, rho[j], lacks, slope)
    value, by_omega2 = block(blocks, mean, tau2, omega2, d_mean, d_tau2)
    total += value
    d_omega2 += by_omega2
    for i in range(k):
        if alone[i] >= 0:
            value, by_mean, by_variance = row(
                alone[i], a[i], b[i], mean[i], sampling[i] + tau2[i] + omega2
            )
            total += value
            d_mean[i] += by_mean
            d_tau2[i] += by_variance
            d_omega2 += by_variance
    return total, d_mean, d_tau2, d_omega2, d_g
