"""Selective reporting as a term of a PyMC model: which of a joint model's studies we got to see.

A report (one study's rows of one cell on one contrast) is there with relative probability 1 if any
of its rows is significant, w if none is: given that it is there, its likelihood is multiplied by

    w^[no row significant] / (1 - (1 - w) P(no row significant | mean, tau, omega)),

w ~ Beta(1, 1), one for what was read in abstracts and one for what was read elsewhere
(`reporting`, docs/bias.md). P of several rows is their joint probability, integrated over their
common part.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nssi_meta.models.blocks import Layout, common_part
from nssi_meta.models.ops import Ops
from nssi_meta.models.reporting import GROUPS, Reports

Floats = NDArray[np.float64]

#: Nodes of the trapezoidal rule over the common part f of a report's rows: analytic integrand that
#: vanishes at both ends, so that it converges geometrically where Gauss-Hermite does not. On the
#: shipped table the error in P stays below 1e-5 for tau up to 0.4 and below 3e-3 for tau of 0.8.
_F = np.linspace(-4.5, 4.5, 33)
_WEIGHT = np.exp(-0.5 * _F**2) / np.exp(-0.5 * _F**2).sum()


def null_probability(null: Layout, mean: Any, tau: Any, omega2: Any, ops: Ops) -> list[Any]:
    """P(no row significant) of each report, as [(first row of each report, values), ...].

    `null` is `Reports.null`; `mean` and `tau` have one value a row (k,), `omega2` is a scalar.
    """
    out: list[Any] = []
    if (i := null.single_within).size:
        sd = ops.sqrt(null.v[i] + tau[i] ** 2 + omega2)
        p = ops.ndtr((null.upper[i] - mean[i]) / sd) - ops.ndtr((null.lower[i] - mean[i]) / sd)
        out.append((i, p))
    block = null.bound_blocks
    if block is None:
        return out
    rows, mask = block.rows, block.mask
    t2 = tau[block.first] ** 2
    load2 = common_part(t2, null.v[rows], mask, block.rho, ops.sqrt)
    sd = ops.sqrt(null.v[rows] + t2[:, None] + omega2 - load2)[:, :, None]
    shift = mean[rows][:, :, None] + ops.sqrt(load2)[:, :, None] * _F
    low, high = null.lower[rows][:, :, None], null.upper[rows][:, :, None]
    p = ops.ndtr((high - shift) / sd) - ops.ndtr((low - shift) / sd)
    joint = 1.0
    for j in range(rows.shape[1]):  # a padded place has probability 1
        joint = joint * (1.0 - mask[:, j, None] * (1.0 - p[:, j]))
    out.append((block.first, (joint * _WEIGHT).sum(axis=1)))
    return out


def n_silent(reports: Reports) -> Floats:
    """How many reports of each of `GROUPS` have no significant row (2,)."""
    return np.bincount(reports.group[reports.silent], minlength=len(GROUPS)).astype(float)


def add_reporting(
    reports: Reports, mean: Any, tau: Any, omega: Any, *, mutable: bool = False
) -> None:
    """Add the term to the model in context; `mean`, `tau` (k,) and `omega` as in `add_evidence`.

    `mutable`: what depends on the estimates (`n_silent`) is mutable data named "n_silent".
    """
    import pymc as pm
    import pytensor.tensor as pt

    from nssi_meta.models.ops import pytensor_ops

    w = pm.Beta("w", 1.0, 1.0, shape=len(GROUPS))
    n_null: Any = n_silent(reports)
    if mutable:
        n_null = pm.Data("n_silent", n_null)
    terms = [pt.sum(n_null * pt.log(w))]
    for first, p in null_probability(reports.null, mean, tau, omega**2, pytensor_ops()):
        group = reports.group[reports.null.block_of_row[first]]
        terms.append(-pt.sum(pt.log1p(-(1.0 - w[group]) * p)))
    pm.Potential("reported", sum(terms[1:], terms[0]))
