"""Sampling covariance of effects that rest on the same people."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from nssi_meta.evidence.escalc_common import Array

Mask = np.ndarray

# Outcomes that differ in one of these were measured differently on the same people.
OUTCOME = ("mechanism", "measure", "modality", "stimulus")
_LEAST_EIGENVALUE = 1e-4


def vcalc(frame: pd.DataFrame, rho: float = 0.6) -> Array:
    """Sampling covariance matrix (k, k) of derived rows.

    The diagonal is `vi`. Off the diagonal, for rows on the same scale:

    - same cases, same controls: ``rho * sei_i * sei_k`` (two outcomes of the same people);
    - same controls only, g: ``1/n_control + g_i g_k / (2 N)``, N the people of all three groups
      (Gleser & Olkin, 2009); log_or: 1/events + 1/non-events of the shared controls;
    - same cases only: the same with the case group;
    - the cases of one are the controls of the other: the shared mean or odds enters with opposite
      signs, ``-1/n + g_i g_k / (2 N)``; the two groups exchanged: ``-rho * sei_i * sei_k``.

    Where only one group is shared and the outcomes differ (`measure`, `modality`, `stimulus`,
    `mechanism`, as far as the columns exist), the covariance is multiplied by rho: two outcomes of
    the same people correlate by rho, not perfectly. Unknown counts or group sizes give 0. Empty
    ids share nobody. Of a group whose size differs between rows the larger count is used (the
    smaller is taken to be a part of it). `yi` of unsigned rows enters as printed, of interval rows
    as 0.

    Parameters
    ----------
    frame
        Column `vi` and `sample_id` (the people of the row, or of its case group), `control_id`, or
        both; with `control_id` also `scale` (g or log_or). Further, as far as they are known, `yi`,
        `n_case` and `n_control`, `events_case`, `total_case`, `events_control`, `total_control`.
    rho
        Assumed correlation of the errors of two outcomes in the same people, in [0, 1).

    Returns
    -------
    Positive definite matrix. Where the assumptions contradict each other, the covariances of the
    connected rows concerned are shrunk by one factor, and a UserWarning states it.

    Raises
    ------
    ValueError
        `rho` outside [0, 1), a variance that is not positive and finite, or a frame that does not
        say who took part.
    """
    if not 0 <= rho < 1:
        raise ValueError(f"rho must be in [0, 1), not {rho}")
    _require_columns(frame)
    v = _numbers(frame, "vi")
    if not np.all(np.isfinite(v) & (v > 0)):
        raise ValueError("vcalc: every row needs a finite vi above 0")
    case, control = _codes(frame)
    named = np.concatenate([case[case >= 0], control[control >= 0]])
    if len(np.unique(named)) == len(named):  # nobody takes part twice
        return np.diag(v)
    same_case, same_control = _same(case, case), _same(control, control)
    case_is_control = _same(case, control)  # cases of i are controls of k
    control_is_case = case_is_control.T
    scale = frame["scale"].to_numpy() if "scale" in frame else np.full(len(frame), "")
    comparable = scale[:, None] == scale[None, :]

    two_controls = (control >= 0)[:, None] & (control >= 0)[None, :]
    both = same_case & (same_control | ~two_controls)
    errors = np.sqrt(np.outer(v, v))
    people = np.where(both, rho, 0.0) * errors
    people -= np.where(case_is_control & control_is_case & ~both, rho, 0.0) * errors
    taken = both | (case_is_control & control_is_case)

    outcome = np.where(_same_outcome(frame), 1.0, rho)
    partial = np.zeros_like(errors)
    groups = {"case": _group(frame, "case"), "control": _group(frame, "control")}
    y = np.nan_to_num(_numbers(frame, "yi"))
    for mask, mine, other, sign in (
        (same_control, "control", "control", 1.0),
        (same_case, "case", "case", 1.0),
        (case_is_control, "case", "control", -1.0),
        (control_is_case, "control", "case", -1.0),
    ):
        here = mask & ~taken
        if here.any():
            shared = _shared(groups, mine, other, y, scale, sign)
            partial += np.where(here, outcome * np.nan_to_num(shared), 0.0)
    covariance = np.where(comparable, people + partial, 0.0)
    np.fill_diagonal(covariance, v)
    return _positive_definite((covariance + covariance.T) / 2)


def aggregate(yi: ArrayLike, v: ArrayLike, cluster: ArrayLike) -> pd.DataFrame:
    """One effect a cluster by generalised least squares under the covariance `v` (k, k).

    With a diagonal `v` (or a vector of variances) it is the inverse-variance mean. Returns `yi` and
    `vi`, indexed by cluster in order of first appearance.
    """
    y, matrix = np.asarray(yi, dtype=float), np.asarray(v, dtype=float)
    matrix = np.diag(matrix) if matrix.ndim == 1 else matrix
    codes, names = pd.factorize(np.asarray(cluster))
    out = np.empty((len(names), 2))
    for c in range(len(names)):
        rows = np.flatnonzero(codes == c)
        weights = np.linalg.solve(matrix[np.ix_(rows, rows)], np.ones(len(rows)))
        out[c] = weights @ y[rows] / weights.sum(), 1 / weights.sum()
    return pd.DataFrame(out, columns=["yi", "vi"], index=pd.Index(names, name="cluster"))


def _numbers(frame: pd.DataFrame, column: str) -> Array:
    if column not in frame:
        return np.full(len(frame), np.nan)
    return frame[column].to_numpy(dtype=float, na_value=np.nan)


def _require_columns(frame: pd.DataFrame) -> None:
    """Without ids nobody would share anybody, which is seldom what is meant."""
    if "vi" not in frame:
        raise ValueError("vcalc: the frame has no column 'vi' with the sampling variances")
    if not {"sample_id", "control_id"} & set(frame.columns):
        raise ValueError(
            "vcalc: the frame has neither 'sample_id' nor 'control_id': name the people of each "
            "row in sample_id (rows with the same id share them), and shared comparison groups in "
            "control_id"
        )
    if "control_id" in frame and "scale" not in frame:
        raise ValueError(
            "vcalc: the covariance through a shared group depends on the kind of effect: name it "
            "in a column 'scale' (g or log_or)"
        )


def _codes(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Case and control groups as integers of one numbering, -1 where the id is empty."""
    k = len(frame)
    nobody = pd.Series("", index=frame.index)
    ids = [frame.get(c, nobody).astype(object).to_numpy() for c in ("sample_id", "control_id")]
    flat = np.concatenate(ids) if k else np.empty(0, dtype=object)
    empty = pd.isna(flat) | (flat == "")
    codes, _ = pd.factorize(np.where(empty, "", flat).astype(str))
    codes = np.where(empty, -1, codes)
    return codes[:k], codes[k:]


def _same(a: np.ndarray, b: np.ndarray) -> Mask:
    return (a[:, None] == b[None, :]) & (a >= 0)[:, None]


def _same_outcome(frame: pd.DataFrame) -> Mask:
    columns = [c for c in OUTCOME if c in frame]
    if not columns or frame.empty:
        return np.ones((len(frame), len(frame)), dtype=bool)
    key = frame.groupby(columns, dropna=False, sort=False).ngroup().to_numpy()
    return np.asarray(key[:, None] == key[None, :])


def _group(frame: pd.DataFrame, which: str) -> dict[str, Array]:
    """Size of a group in each row, and its events and non-events where they are counted."""
    events = _numbers(frame, f"events_{which}")
    total = _numbers(frame, f"total_{which}")
    rest = total - events
    # A table with an empty cell was computed with 1/2 in each cell.
    zero = np.zeros(len(frame), dtype=bool)
    for group in ("case", "control"):
        x = _numbers(frame, f"events_{group}")
        zero |= (x == 0) | (x == _numbers(frame, f"total_{group}"))
    half = np.where(zero, 0.5, 0.0)
    size = _numbers(frame, f"n_{which}")
    return {"n": size, "events": events + half, "rest": rest + half}


def _larger(a: Array, b: Array) -> Array:
    return np.maximum(a[:, None], b[None, :])


def _shared(
    groups: dict[str, dict[str, Array]],
    mine: str,
    other: str,
    y: Array,
    scale: np.ndarray,
    sign: float,
) -> Array:
    """Covariance through one shared group, `mine` of row i and `other` of row k."""
    a, b = groups[mine], groups[other]
    n = _larger(a["n"], b["n"])
    rest_a = groups["control" if mine == "case" else "case"]["n"]
    rest_b = groups["control" if other == "case" else "case"]["n"]
    everyone = rest_a[:, None] + rest_b[None, :] + n
    g = sign / n + np.outer(y, y) / (2 * everyone)
    log_or = sign * (1 / _larger(a["events"], b["events"]) + 1 / _larger(a["rest"], b["rest"]))
    is_g, is_log_or = scale == "g", scale == "log_or"
    return np.where(is_g[:, None], g, np.where(is_log_or[:, None], log_or, np.nan))


def _positive_definite(v: Array) -> Array:
    """`v`, or `v` with the covariances of contradictory connected rows shrunk."""
    if len(v) == 0 or _smallest(v) > _LEAST_EIGENVALUE:
        return v
    linked = v != 0
    while True:
        further = (linked.astype(float) @ linked.astype(float)) > 0
        if (further == linked).all():
            break
        linked = further
    v = v.copy()
    for rows in np.unique(linked, axis=0):
        block = np.ix_(rows, rows)
        least = _smallest(v[block])
        if least > _LEAST_EIGENVALUE:
            continue
        # Eigenvalues of the correlations are 1 + e; e scales with the off-diagonal part.
        factor = (1 - _LEAST_EIGENVALUE) / (1 - least)
        part = v[block] * factor
        np.fill_diagonal(part, np.diag(v[block]))
        v[block] = part
        warnings.warn(
            f"the sampling covariances of {int(rows.sum())} connected rows contradict each other; "
            f"they were multiplied by {factor:.3f} to be positive definite",
            UserWarning,
            stacklevel=3,
        )
    return v


def _smallest(v: Array) -> float:
    """Smallest eigenvalue of the correlation matrix of `v`."""
    s = np.sqrt(np.diag(v))
    return float(np.linalg.eigvalsh(v / np.outer(s, s))[0])
