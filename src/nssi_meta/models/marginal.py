"""Marginal likelihood of each study: y ~ N(X b, V + omega^2 I + tau^2 J), by sums over its rows.

Woodbury's identity for the rotated rows of `study_rows`: with w = 1 / (d + omega^2),
A = sum w z^2, m = sum(w z r) / A and r = y - X b,

    log|Sigma| = sum log(d + omega^2) + log(1 + tau^2 A)
    r' Sigma^-1 r = sum w (r - z m)^2 + m^2 / (1 / A + tau^2).

Both parts of the quadratic form are sums of squares, so that nothing cancels.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from nssi_meta.models.likelihood import LOG_2PI
from nssi_meta.models.ops import Ops, numpy_ops
from nssi_meta.models.study_rows import Floats, StudyRows

#: Values held at once when a likelihood is evaluated for many draws: what a processor keeps near.
CHUNK = 200_000


@dataclass(frozen=True)
class StudySums:
    """What the marginal likelihood of each study needs, arrays (..., J).

    `free` is all that does not depend on tau: -2 log density at tau = 0 given u = m; `precision` A
    and `mean` m of the study's effect.
    """

    free: Any
    precision: Any
    mean: Any

    def given(self, tau2: Any, ops: Ops) -> Any:
        """Log marginal density of each study under a between-study variance `tau2`."""
        return -0.5 * (
            self.free
            + ops.log(1.0 + tau2 * self.precision)
            + self.mean**2 / (1.0 / self.precision + tau2)
        )


def study_sums(
    residual: Any,
    z: Any,
    variance: Any,
    size: Any,
    total: Callable[[Any], Any],
    spread: Callable[[Any], Any],
    ops: Ops,
    rest: Callable[[Any], Any],
) -> StudySums:
    """Sums of each study from `residual`, `z` and `variance` = d + omega^2, all (..., k).

    `total` sums rows to studies, `rest` does so for the part without tau; `spread` hands a study's
    value to its rows, `size` (J,).
    """
    weight = 1.0 / variance
    precision = total(weight * z**2)
    mean = total(weight * z * residual) / precision
    # The mean is where this sum of squares is least, so that no gradient goes through it.
    within = weight * (residual - z * spread(ops.held(mean))) ** 2 + ops.log(variance)
    return StudySums(size * LOG_2PI + rest(within), precision, mean)


def numpy_sums(rows: StudyRows, coef: Floats, omega2: Floats) -> StudySums:
    """Sums at S draws: `coef` (S, p), `omega2` (S,)."""
    residual = rows.y - coef @ rows.X.T
    variance = rows.d + omega2[:, None]

    def spread(x: Floats) -> Floats:
        return x[:, rows.study]

    total = rows.total
    return study_sums(residual, rows.z, variance, rows.size, total, spread, numpy_ops(), total)


def pytensor_sums(data: dict[str, Any], residual: Any, omega2: Any) -> StudySums:
    """The same as an expression over the data nodes `z`, `d`, `study`, `size` of a model.

    A model adds its studies up: of `free` only the sum over studies is right, which takes no sums
    by study.
    """
    import pytensor.tensor as pt

    from nssi_meta.models.ops import pytensor_ops

    study, size = pt.cast(data["study"], "int64"), data["size"]

    def total(x: Any) -> Any:
        return pt.inc_subtensor(pt.zeros_like(size)[study], x)

    def spread(x: Any) -> Any:
        return x[study]

    def rest(x: Any) -> Any:
        return x.sum() / size.shape[0]

    z, variance = data["z"], data["d"] + omega2
    return study_sums(residual, z, variance, size, total, spread, pytensor_ops(), rest)


def in_chunks(function: Callable[[slice], Floats], n_draws: int, width: int) -> Floats:
    """`function` of slices of the draws, put together; `width` values are held for each draw.

    A thread a processor: numpy lets others run while it works.
    """
    from joblib import cpu_count

    step = max(1, CHUNK // max(width, 1))
    slices = [slice(i, i + step) for i in range(0, n_draws, step)]
    with ThreadPoolExecutor(min(len(slices), cpu_count()) or 1) as threads:
        return np.concatenate(list(threads.map(function, slices)))
