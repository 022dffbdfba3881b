"""Log likelihood of rows of any kind with t-distributed study effects, as a compiled loop.

Studies of exact effects and rows that stand alone are averaged over lambda's nodes (`row_kernel`);
of all other studies, the tied, lambda is sampled, and given it the rows' likelihood is the normal
one (`evidence_kernel`). Imported where a model is built.
"""

from __future__ import annotations

import math

import numpy as np

from nssi_meta.models.blocks import Floats
from nssi_meta.models.evidence_kernel import given
from nssi_meta.models.row_kernel import by_coef, compiled, expected
from nssi_meta.models.study_kernel import student_studies


@compiled
def student_rows(
    coef: Floats,
    tau2: float,
    omega2: float,
    nu: float,
    constant: float,
    raw: Floats,
    g: Floats,
    studies: tuple[Floats, ...],
    design: tuple[Floats, Floats, float],
    rows: tuple[Floats, ...],
    blocks: tuple[Floats, ...],
    places: tuple[Floats, ...],
    told: tuple[Floats, ...],
) -> tuple[float, Floats, float, float, float, float, Floats, Floats]:
    """Log likelihood, with the log priors of `raw` and `g`, and slopes by the first seven.

    `studies` are `y` (n,), X' (p, n), `z`, `d` and `size` of studies of exact effects. All else is
    of the k other rows: `design` holds X' (p, k), of each row the number, from 1, of its study
    among the tied (0 of none) and how many these are; `raw` (room,) is what is sampled for their
    lambdas, the rest as in `evidence_kernel.given`. `constant` is `robust.mixing_constant`.

    lambda = exp(raw sqrt(2 / nu)): raw is about standard normal for any nu, so that nu and the
    lambdas have no funnel. Those beyond the number of the tied are standard normal.
    """
    (y, of_studies, z, d, size), (X, tied, n_tied) = studies, design
    form, k = rows[0], len(rows[0])
    mean, alone = expected(coef, X), form.copy()
    for i in range(k):
        if tied[i] > 0:
            alone[i] = -1.0
    total, d_residual, d_mean, d_tau2, d_omega2, d_nu, d_constant = student_studies(
        y - expected(coef, of_studies), mean, tau2, omega2, nu, constant,
        (z, d, size), (alone, rows[1], rows[2], rows[3]),
    )  # fmt: skip
    d_raw, d_g, half = np.zeros(len(raw)), np.zeros(len(g)), 0.5 * nu
    if len(raw) > 0:
        inflate, others, t2 = np.ones(len(raw)), form.copy(), np.full(k, tau2)
        for j in range(len(raw)):
            inflate[j] = math.exp(-raw[j] / math.sqrt(half)) if j < n_tied else 1.0
        for i in range(k):
            if tied[i] > 0:
                t2[i] = tau2 * inflate[int(tied[i]) - 1]
            else:
                others[i] = -1.0
        value, by_mean, by_t2, by_omega2, d_g = given(
            (others, rows[1], rows[2], rows[3]), mean, t2, omega2, g, blocks, places, told
        )
        total += value
        d_mean += by_mean
        d_omega2 += by_omega2
        for i in range(k):
            if tied[i] > 0:
                j = int(tied[i]) - 1
                d_tau2 += by_t2[i] * inflate[j]
                d_raw[j] -= by_t2[i] * t2[i]  # by log lambda so far
        for j in range(len(raw)):
            if j >= n_tied:
                total -= 0.5 * raw[j] ** 2
                d_raw[j] = -raw[j]
                continue
            s = raw[j] / math.sqrt(half)
            less = s - 1.0 / inflate[j]
            total += constant - 0.5 * math.log(half) + half * less
            d_raw[j] += half * (1.0 - 1.0 / inflate[j])
            d_constant += 1.0
            d_nu += 0.5 * (less - (1.0 + d_raw[j] * s) / nu)
            d_raw[j] /= math.sqrt(half)
    d_coef = np.zeros(len(coef))
    by_coef(d_mean, X, d_coef)
    by_coef(-d_residual, of_studies, d_coef)
    return total, d_coef, d_tau2, d_omega2, d_nu, d_constant, d_raw, d_g
