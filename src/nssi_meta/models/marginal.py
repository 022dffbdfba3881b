"""Marginal likelihood of each study: y ~ N(X b, V + omega^2 I + tau^2 J), by sums over its rows.

Woodbury's identity for the rotated rows of `study_rows`: with w = 1 / (d + omega^2),
A = sum w z^2, m = sum(w z r) / A and r = y - X b,

    log|Sigma| = sum log(d + omega^2) + log(1 + tau^2 A)
    r' Sigma^-1 r = sum w (r - z m)^2 + m^2 / (1 / A + tau^2).

Both parts of the quadratic form are sums of squares, so that nothing cancels. This is what is
reported of draws; what is sampled is the same in compiled loops (`study_kernel`).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from nssi_meta.models.likelihood import LOG_2PI
from nssi_meta.models.study_rows import Floats, StudyRows

#: Values held at once when a likelihood is evaluated for many draws: what a processor keeps near.
CHUNK = 200_000
#: Into how many parts draws are divided at least, so that several processors have some.
PARTS = 4


@dataclass(frozen=True)
class StudySums:
    """What the marginal likelihood of each study needs, arrays (S, J) at S draws.

    `free` is all that does not depend on tau: -2 log density at tau = 0 given u = m; `precision` A
    and `mean` m of the study's effect.
    """

    free: Floats
    precision: Floats
    mean: Floats

    def given(self, tau2: Floats) -> Floats:
        """Log marginal density of each study (S, J) under a between-study variance `tau2`."""
        spread = 1.0 / self.precision + tau2
        return np.asarray(
            -0.5 * (self.free + np.log(1.0 + tau2 * self.precision) + self.mean**2 / spread)
        )


def study_sums(rows: StudyRows, coef: Floats, omega2: Floats) -> StudySums:
    """Sums of each study at S draws: `coef` (S, p), `omega2` (S,)."""
    residual = rows.y - coef @ rows.X.T
    variance = rows.d + omega2[:, None]
    weight = 1.0 / variance
    precision = rows.total(weight * rows.z**2)
    mean = rows.total(weight * rows.z * residual) / precision
    within = weight * (residual - rows.z * mean[:, rows.study]) ** 2 + np.log(variance)
    return StudySums(rows.size * LOG_2PI + rows.total(within), precision, mean)


def log_sum(exponent: Floats, factor: Floats) -> Floats:
    """log of the sum of factor exp(exponent) over the last axis, for factors far from overflow."""
    top = exponent.max(axis=-1, keepdims=True)
    return np.asarray(top[..., 0] + np.log((np.exp(exponent - top) * factor).sum(axis=-1)))


def in_chunks(function: Callable[[slice], Floats], n_draws: int, width: int) -> Floats:
    """`function` of slices of the draws, put together; `width` values are held for each draw.

    A thread a processor: numpy lets others run while it works.
    """
    from joblib import cpu_count

    step = max(1, min(CHUNK // max(width, 1), -(-n_draws // PARTS)))
    slices = [slice(i, i + step) for i in range(0, n_draws, step)]
    with ThreadPoolExecutor(min(len(slices), cpu_count()) or 1) as threads:
        return np.concatenate(list(threads.map(function, slices)))
