"""Rows of exact effects grouped by study, each study rotated so that its errors are independent.

A study's sampling covariance V_j = Q diag(d) Q' is taken apart once, in numpy. In the rotated
rows Q'y, Q'X, Q'1 the marginal covariance tau^2 zz' + diag(d + omega^2) with z = Q'1 needs no
matrix any more, whatever V_j was: a few sums per study remain (`marginal`). Those sums run over
index arrays, so that one compiled model serves data of any number of rows and studies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class StudyRows:
    """k rotated rows of J studies, one study after the other.

    `y`, `z`, `d` (k,), `X` (k, p) and `study` (k,) (0 to J - 1, never falling); `size` (J,) rows of
    each study; `names` the studies; `order` (k,) the original position of each row before rotation.
    """

    y: Floats
    X: Floats
    z: Floats
    d: Floats
    study: Ints
    size: Floats
    names: tuple[str, ...]
    order: Ints

    @property
    def starts(self) -> Ints:
        """Position of each study's first row (J,)."""
        return np.concatenate([[0], np.cumsum(self.size)[:-1]]).astype(np.int64)

    @property
    def nested(self) -> bool:
        """Whether some study gives several effects, so that omega can be told from tau."""
        return bool((self.size > 1).any())

    def total(self, x: Floats) -> Floats:
        """Sums over the rows of each study, (..., k) to (..., J)."""
        return np.asarray(np.add.reduceat(x, self.starts, axis=-1))


def study_rows(
    yi: ArrayLike,
    V: ArrayLike,
    study: Sequence[object] | NDArray[Any] | pd.Series[Any],
    X: ArrayLike | None = None,
) -> StudyRows:
    """Group k effects by study and rotate each study's rows to independent errors.

    Parameters
    ----------
    yi
        Effects (k,), finite.
    V
        Their sampling variances (k,) or covariance (k, k), such as `vcalc` gives.
    study
        Identifier of each row's study (k,).
    X
        Design matrix (k, p); a column of ones if left out.

    Raises
    ------
    ValueError
        Shapes differ, a value is not finite, a variance is not positive, V is not symmetric and
        positive definite, or V ties rows of different studies.
    """
    y = np.asarray(yi, dtype=float)
    if y.ndim != 1 or not len(y):
        raise ValueError(f"yi must be one column of at least one effect, got shape {y.shape}")
    if len(study) != len(y):
        raise ValueError(f"{len(study)} study names for {len(y)} effects: give one for each row")
    bad = np.flatnonzero(~np.isfinite(y))
    if len(bad):
        raise ValueError(
            f"yi is not finite in row {bad[0] + 1}: this model takes exact effects only; leave the "
            "row out, or keep bounds with `nssi-meta pool` or `model_rows`"
        )
    matrix = _covariance(V, len(y))
    design = np.ones((len(y), 1)) if X is None else np.asarray(X, dtype=float)
    if design.ndim != 2 or len(design) != len(y) or design.shape[1] < 1:
        raise ValueError(f"X must be a matrix of {len(y)} rows, got shape {design.shape}")
    if not np.isfinite(design).all():
        row, column = np.argwhere(~np.isfinite(design))[0] + 1
        raise ValueError(
            f"X is not finite in row {row}, column {column}: leave out rows without the moderator"
        )
    codes, names = pd.factorize(np.asarray(study, dtype=object), use_na_sentinel=False)
    order = np.argsort(codes, kind="stable").astype(np.int64)
    codes = codes[order].astype(np.int64)
    size = np.bincount(codes).astype(float)
    parts: list[Floats | None] = [None] * len(size)
    if matrix.ndim == 2:
        matrix = matrix[np.ix_(order, order)]
        _refuse_ties(matrix, codes, names)
        ends = np.cumsum(size).astype(int)
        parts = [matrix[e - n : e, e - n : e] for e, n in zip(ends, size.astype(int), strict=True)]
        matrix = np.diag(matrix)
    else:
        matrix = matrix[order]
    return rotated(y[order], design[order], matrix, parts, size, tuple(map(str, names)), order)


def rotated(
    y: Floats,
    X: Floats,
    v: Floats,
    V: Sequence[Floats | None],
    size: Floats,
    names: tuple[str, ...],
    order: Ints,
) -> StudyRows:
    """Rows sorted by study, each study rotated to independent errors; checks nothing.

    `y` and `v` (k,), `X` (k, p); `V` holds each study's covariance, or None where its rows' errors
    are independent; the rest as in `StudyRows`.
    """
    y, X, z, d = y.copy(), X.copy(), np.ones(len(y)), v.copy()
    for block, end, n in zip(V, np.cumsum(size).astype(int), size.astype(int), strict=True):
        part = slice(end - n, end)
        if block is not None and np.count_nonzero(block) > n:
            d[part], Q = np.linalg.eigh(block)
            y[part], X[part], z[part] = Q.T @ y[part], Q.T @ X[part], Q.sum(axis=0)
    study = np.repeat(np.arange(len(size)), size.astype(int))
    return StudyRows(y, X, z, d, study, size, names, order)


def _covariance(V: ArrayLike, k: int) -> Floats:
    """V as variances (k,) or a positive definite matrix (k, k)."""
    v = np.asarray(V, dtype=float)
    if v.shape not in ((k,), (k, k)):
        raise ValueError(f"V must have shape ({k},) or ({k}, {k}), got {v.shape}")
    variances = v if v.ndim == 1 else np.diag(v)
    bad = np.flatnonzero(~(np.isfinite(variances) & (variances > 0)))
    if len(bad):
        raise ValueError(
            f"the sampling variance in row {bad[0] + 1} is {variances[bad[0]]:g}; it must be "
            "finite and above 0"
        )
    if v.ndim == 2:
        s = np.sqrt(variances)
        correlation = v / np.outer(s, s)
        if not np.isfinite(v).all() or not np.allclose(correlation, correlation.T, atol=1e-10):
            raise ValueError("V must be finite and symmetric")
        if np.linalg.eigvalsh(correlation)[0] <= 0:
            raise ValueError(
                "V is not positive definite: some assumed correlations contradict each other; "
                "build it with `vcalc`, or use a smaller rho"
            )
    return v


def _refuse_ties(matrix: Floats, codes: Ints, names: NDArray[Any] | pd.Index[Any]) -> None:
    tie = np.argwhere((matrix != 0) & (codes[:, None] != codes[None, :]))
    if len(tie):
        a, b = (str(names[codes[i]]) for i in tie[0])
        raise ValueError(
            f"V ties rows of the studies {a} and {b}: in this model studies are independent; give "
            "rows of the same people one study name"
        )
