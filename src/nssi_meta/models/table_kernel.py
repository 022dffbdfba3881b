"""Log likelihood of two-by-two tables, study effects integrated out, as a compiled loop.

What `binomial.study_log_likelihood` says of each table, with its slopes by mu and tau. Imported
where a model is built.
"""

from __future__ import annotations

import math

import numpy as np

from nssi_meta.models.binomial_tables import (
    CELLS,
    MARGIN,
    REACH,
    SINH,
    STEP,
    WEIGHT,
    used_nodes,
)
from nssi_meta.models.blocks import Floats
from nssi_meta.models.row_kernel import compiled

_used_nodes = compiled(used_nodes)
#: Terms of a sum smaller than its largest by this much in their logs are left out.
_LEFT_OUT = 45.0


@compiled
def _spline(z: float, first: int, coef: Floats) -> tuple[float, float]:
    """A table's log likelihood z of its units from its centre, and the slope by z."""
    root = math.sqrt(1.0 + z * z)
    u = math.log(abs(z) + root)
    inside = u < REACH  # not so for NaN
    place = (REACH + math.copysign(u if inside else REACH, z)) / STEP
    cell = min(max(int(place), 0), CELLS - 1)
    f, at = (place - cell) * STEP, first + cell
    c1, c2, c3 = coef[1, at], coef[2, at], coef[3, at]
    value = ((c3 * f + c2) * f + c1) * f + coef[0, at]
    return value, ((3.0 * c3 * f + 2.0 * c2) * f + c1) / root if inside else 0.0


@compiled
def tables(
    mu: float, tau: float, centre: Floats, scale: Floats, coef: Floats
) -> tuple[float, float, float]:
    """Sum over tables of the log of the integral over theta, and its slopes by `mu` and `tau`.

    `centre` and `scale` (k,) and `coef` (4, k CELLS) as in `binomial_tables.Tables`.
    """
    total, d_mu, d_tau = 0.0, 0.0, 0.0
    made = np.empty((3, len(SINH)))
    standard, exponent, slope = made[0], made[1], made[2]
    for i in range(len(centre)):
        c, s = centre[i], scale[i]
        whole = s * s + tau * tau
        shift, shrink, top = tau * (c - mu) / whole, s / math.sqrt(whole), -np.inf
        nodes = _used_nodes((MARGIN + abs(shift)) / shrink)
        for m in range(nodes.start, nodes.stop):
            x = standard[m] = shift + shrink * SINH[m]
            value, slope[m] = _spline((mu + tau * x - c) / s, i * CELLS, coef)
            exponent[m] = value - 0.5 * x * x
            top = max(top, exponent[m])
        # How a node moves with mu and tau, in units of tau (x) and of the table (z).
        x_mu, z_mu = -tau / whole, s / whole
        shift_tau, shrink_tau = (c - mu) * (s * s - tau * tau) / whole**2, -shrink * tau / whole
        p_all, p_mu, p_tau = 0.0, 0.0, 0.0
        for m in range(nodes.start, nodes.stop):
            if exponent[m] < top - _LEFT_OUT:
                continue
            p, x = WEIGHT[m] * math.exp(exponent[m] - top), standard[m]
            x_tau = shift_tau + shrink_tau * SINH[m]
            p_all += p
            p_mu += p * (slope[m] * z_mu - x * x_mu)
            p_tau += p * (slope[m] * (x + tau * x_tau) / s - x * x_tau)
        total += top + math.log(p_all * shrink)
        d_mu += p_mu / p_all
        d_tau += p_tau / p_all - tau / whole
    return total, d_mu, d_tau
