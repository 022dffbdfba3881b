"""Log likelihood of exact rows with normal coefficients integrated out, as a compiled loop.

With Sigma the rows' covariance given the coefficients and b ~ N(0, diag(s^2)),

    log N(y; 0, Sigma + X diag(s^2) X') = log N(y; 0, Sigma) + (q's K^-1 s q - log|K|) / 2,
    K = I + s M s,  M = X' Sigma^-1 X,  q = X' Sigma^-1 y,

and its slope by a variance that adds u u' is ((u'e)^2 - u'P u) / 2 with P the inverse of the whole
covariance and e = P y. Imported where a model is built.
"""

from __future__ import annotations

import numpy as np

from nssi_meta.models.block_kernel import invert
from nssi_meta.models.blocks import Floats
from nssi_meta.models.row_kernel import EXACT, compiled, row
from nssi_meta.models.study_kernel import one_row_each


@compiled
def _whitened(
    columns: Floats, w: Floats, z: Floats, size: Floats, precision: Floats, tau2: float
) -> tuple[Floats, Floats]:
    """Sigma^-1 times each row of `columns` (n, k), and the sums of z times that by study (n, J).

    How a column deviates from its mean over a study and that mean go apart: under a large tau their
    difference would cancel.
    """
    made, sums = np.empty_like(columns), np.empty((len(columns), len(size)))
    start = 0
    for j in range(len(size)):
        end, less = start + int(size[j]), 1.0 / (1.0 + tau2 * precision[j])
        for c in range(len(columns)):
            mean = 0.0
            for i in range(start, end):
                mean += w[i] * z[i] * columns[c, i]
            sums[c, j] = mean * less
            mean /= precision[j]
            for i in range(start, end):
                made[c, i] = w[i] * (columns[c, i] - z[i] * mean + z[i] * mean * less)
        start = end
    return made, sums


@compiled
def shrunken_studies(
    scale: Floats, tau2: float, omega2: float, columns: Floats, z: Floats, d: Floats, size: Floats
) -> tuple[float, Floats, float, float]:
    """Log likelihood of rotated rows (`study_rows`), and its slopes by the first three.

    `scale` (p,) are the SDs s of the coefficients; `columns` (p + 1, k) are X' and below it y; `z`
    and `d` (k,), `size` (J,).
    """
    p, n_studies = len(scale), len(size)
    total, mean, precision, w = one_row_each(z, d, size, columns[p], omega2)
    for j in range(n_studies):
        total += row(EXACT, mean[j], 0.0, 0.0, 1.0 / precision[j] + tau2)[0]
    white, sums = _whitened(columns, w, z, size, precision, tau2)
    M, K, inverse, q = np.empty((p, p)), np.empty((p, p)), np.empty((p, p)), np.empty(p)
    for m in range(p):
        q[m] = (columns[m] * white[p]).sum()
        for n in range(m + 1):
            M[m, n] = M[n, m] = (columns[m] * white[n]).sum()
    for m in range(p):
        for n in range(p):
            K[m, n] = scale[m] * M[m, n] * scale[n] + (1.0 if m == n else 0.0)
    total -= 0.5 * invert(K, p, inverse)
    coef, d_scale = np.zeros(p), np.zeros(p)
    for m in range(p):
        for n in range(p):
            d_scale[m] -= M[m, n] * scale[n] * inverse[n, m]
            coef[m] += scale[m] * inverse[m, n] * scale[n] * q[n]
        total += 0.5 * q[m] * coef[m]
    for m in range(p):
        away = q[m]  # x_m'e
        for n in range(p):
            away -= M[m, n] * coef[n]
            inverse[m, n] *= scale[m] * scale[n]  # the coefficients' covariance from here on
        d_scale[m] += scale[m] * away**2

    d_tau2, d_omega2, start = 0.0, 0.0, 0
    for j in range(n_studies):
        end, less, away = start + int(size[j]), 1.0 / (1.0 + tau2 * precision[j]), sums[p, j]
        known = precision[j] * less
        for m in range(p):
            away -= coef[m] * sums[m, j]
            for n in range(p):
                known -= sums[m, j] * inverse[m, n] * sums[n, j]
        d_tau2 += 0.5 * (away**2 - known)
        for i in range(start, end):
            share = w[i] * z[i] ** 2 / precision[j]
            e, own = white[p, i], w[i] * (1.0 - share + share * less)
            for m in range(p):
                e -= coef[m] * white[m, i]
                for n in range(p):
                    own -= white[m, i] * inverse[m, n] * white[n, i]
            d_omega2 += 0.5 * (e * e - own)
        start = end
    return total, d_scale, d_tau2, d_omega2
