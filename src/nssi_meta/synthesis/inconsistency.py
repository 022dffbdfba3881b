"""I² of a pool: how much of the variance of its estimates is between and within studies."""

from __future__ import annotations

import numpy as np

from nssi_meta.inference.checked import Floats
from nssi_meta.inference.densities import interval
from nssi_meta.inference.exact import ExactPosterior
from nssi_meta.synthesis.cells import Cell, Options


def typical_variance(sei: Floats) -> float:
    """Typical sampling variance of standard errors (k,): Higgins and Thompson 2002, eq. 9.

    NaN for fewer than two estimates.
    """
    w = 1.0 / np.square(sei)
    if w.size < 2:
        return float("nan")
    # sum(w)^2 - sum(w^2) as a sum of products, without cancellation
    return float((w.size - 1) * w.sum() / (2.0 * (w[1:] * np.cumsum(w)[:-1]).sum()))


def inconsistency(cell: Cell, options: Options) -> dict[str, float]:
    """Posterior of I² of a cell: `i2_median`, `i2_low`, `i2_high`, shares between 0 and 1.

    I² is (tau² + omega²) / (tau² + omega² + s²) with the typical variance s² of the rows that
    report an estimate; bounds have none. It grows with tau, so its limits without omega are those
    of tau. With omega they are central, from the nodes of the joint posterior. NaN where fewer than
    two rows report an estimate, and for tables of counts, whose likelihood knows no variances.
    """
    if "sei" not in cell.rows:
        return dict.fromkeys(("i2_median", "i2_low", "i2_high"), float("nan"))
    exact = cell.rows["kind"] != "interval"
    s2 = typical_variance(cell.rows.loc[exact, "sei"].to_numpy(dtype=float))
    post: ExactPosterior = cell.posterior
    if post.omega_density is None:
        tau = post.tau_density
        ends = interval(tau, options.level, options.interval, low=0.0)
        square = np.square([tau.quantile(0.5), *ends])
    else:
        alpha = 1.0 - options.level
        total = post.tau**2 + post.omega**2
        square = node_quantiles(total, post.weight, np.array([0.5, alpha / 2, 1 - alpha / 2]))
    names = ("i2_median", "i2_low", "i2_high")
    return dict(zip(names, (float(x) for x in square / (square + s2)), strict=True))


def node_quantiles(values: Floats, weight: Floats, p: Floats) -> Floats:
    """Quantiles at `p` of a distribution on nodes (n,), read at the middle of each weight."""
    values, weight = np.broadcast_arrays(values, weight)
    order = np.argsort(values, axis=None)
    w = np.maximum(weight.ravel()[order], 0.0)
    middle = (np.cumsum(w) - w / 2) / w.sum()
    return np.interp(p, middle, values.ravel()[order])
