"""Log likelihood of exact rows grouped by study, with its slopes, as compiled loops.

The rotated rows of a study (`study_rows`) say of its effect what one row says, and of one another
what has nothing to do with it. With w = 1 / (d + omega^2), A = sum w z^2 and m = sum(w z r) / A of
the residuals r,

    log N(r; 0, Sigma) = log N(m; 0, 1 / A + tau^2)
                         - (sum w (r - z m)^2 - sum log w + log A + (n - 1) log 2 pi) / 2,

where both parts of the quadratic form are sums of squares, so that nothing cancels. Imported where
a model is built.
"""

from __future__ import annotations

import math

import numpy as np

from nssi_meta.models.blocks import Floats
from nssi_meta.models.likelihood import LOG_2PI
from nssi_meta.models.row_kernel import EXACT, compiled, mixed_rows

#: Factors whose product is within these bounds can take one more before their logarithm is due.
_SMALL, _LARGE = 1e-150, 1e150


@compiled
def log_of_factors(factors: Floats) -> float:
    """Sum of logarithms, with few of them: of products that are far from overflow."""
    total, product = 0.0, 1.0
    for x in factors:
        if not _SMALL < x < _LARGE:
            total += math.log(x)
            continue
        product *= x
        if not _SMALL < product < _LARGE:
            total += math.log(product)
            product = 1.0
    return total + math.log(product)


@compiled
def one_row_each(
    z: Floats, d: Floats, size: Floats, residual: Floats, omega2: float
) -> tuple[float, Floats, Floats, Floats]:
    """The part without tau, and of each study the mean m and precision A (J,); the weights w (k,).

    `z`, `d` and `residual` (k,) are of rows one study after the other, `size` (J,) of each.
    """
    k, n_studies = len(z), len(size)
    w, mean, precision = np.empty(k), np.empty(n_studies), np.empty(n_studies)
    for i in range(k):
        w[i] = 1.0 / (d[i] + omega2)
    within, start = 0.0, 0
    for j in range(n_studies):
        end, a, b = start + int(size[j]), 0.0, 0.0
        for i in range(start, end):
            wz = w[i] * z[i]
            a += wz * z[i]
            b += wz * residual[i]
        precision[j], mean[j] = a, b / a
        for i in range(start, end):
            e = residual[i] - z[i] * mean[j]
            within += w[i] * e * e
        start = end
    free = within - log_of_factors(w) + log_of_factors(precision) + (k - n_studies) * LOG_2PI
    return -0.5 * free, mean, precision, w


@compiled
def back_to_rows(
    z: Floats,
    size: Floats,
    residual: Floats,
    w: Floats,
    mean: Floats,
    precision: Floats,
    by_mean: Floats,
    by_variance: Floats,
) -> tuple[Floats, float]:
    """Slopes by `residual` (k,) and omega^2 from those by each study's m and 1 / A (J,).

    The former include those of the part without tau.
    """
    d_residual, d_omega2, start = np.empty(len(z)), 0.0, 0
    for j in range(len(size)):
        end, inverse = start + int(size[j]), 1.0 / precision[j]
        # d(1 / A) / d omega^2 = sum w^2 z^2 / A^2, and log A is in the part without tau.
        by_square = by_variance[j] * inverse * inverse + 0.5 * inverse
        for i in range(start, end):
            e, wz = residual[i] - z[i] * mean[j], w[i] * z[i]
            d_residual[i] = by_mean[j] * wz * inverse - w[i] * e
            d_omega2 += 0.5 * w[i] * (w[i] * e * e - 1.0) + by_square * wz * wz
            d_omega2 -= by_mean[j] * inverse * w[i] * wz * e
        start = end
    return d_residual, d_omega2


@compiled
def normal_studies(
    residual: Floats, tau2: Floats, omega2: float, z: Floats, d: Floats, size: Floats
) -> tuple[float, Floats, Floats, float]:
    """Log likelihood of rows whose studies' effects are normal, and its slopes.

    `tau2` is (J,), or (1,) where it is that of all; slopes by `residual` (k,), `tau2`, `omega2`.
    """
    total, mean, precision, w = one_row_each(z, d, size, residual, omega2)
    n, own, squares, d_tau2 = len(size), len(tau2) > 1, 0.0, np.zeros(len(tau2))
    inverse, by_mean, by_variance = np.empty(n), np.empty(n), np.empty(n)
    for j in range(n):
        t = j if own else 0
        inverse[j] = 1.0 / (1.0 / precision[j] + tau2[t])
        by_mean[j] = -mean[j] * inverse[j]
        by_variance[j] = 0.5 * (by_mean[j] * by_mean[j] - inverse[j])
        d_tau2[t] += by_variance[j]
        squares -= by_mean[j] * mean[j]
    total -= 0.5 * (squares - log_of_factors(inverse) + n * LOG_2PI)
    slopes = back_to_rows(z, size, residual, w, mean, precision, by_mean, by_variance)
    return total, slopes[0], d_tau2, slopes[1]


@compiled
def student_studies(
    residual: Floats,
    mean: Floats,
    tau2: float,
    omega2: float,
    nu: float,
    constant: float,
    studies: tuple[Floats, ...],
    rows: tuple[Floats, ...],
) -> tuple[float, Floats, Floats, float, float, float, float]:
    """The same with t-distributed effects of the studies, and of rows of any kind beside them.

    `studies` are `z`, `d` and `size`; `rows` the `form`, `a`, `b` and sampling variance of rows
    that stand alone, `mean` (n,) their means; `constant` as in `mixed_rows`. Slopes by `residual`
    (k,), `mean` and the four scalars after it.
    """
    z, d, size = studies
    form, a, b, v = rows
    J = len(size)
    total, m, precision, w = one_row_each(z, d, size, residual, omega2)
    value, by_mean, by_v, d_tau2, d_nu, d_constant = mixed_rows(
        np.concatenate((np.full(J, float(EXACT)), form)),
        np.concatenate((m, a)),
        np.concatenate((np.zeros(J), b)),
        np.concatenate((1.0 / precision, v + omega2)),
        np.concatenate((np.zeros(J), mean)),
        tau2,
        nu,
        constant,
    )
    # A study's m is where its row's effect is: the slope by it is that by the mean, turned round.
    d_residual, d_omega2 = back_to_rows(z, size, residual, w, m, precision, -by_mean[:J], by_v[:J])
    d_omega2 += by_v[J:].sum()
    return total + value, d_residual, by_mean[J:], d_tau2, d_omega2, d_nu, d_constant
