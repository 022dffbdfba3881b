"""Effects, variances and moderators, checked, and the weighted least squares they are fitted by.

Everything is linear in the number of studies: no k x k matrix. Moderators are orthogonalised once
(X = QR), so that a year beside an intercept loses no digits, and effects are replaced by residuals
of a first fit, so that effects of 1e6 lose none either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_SHOWN = 5
_COLLINEAR = 1e-10
_HEAVY = 1e-3
"""Below this share of freedom a study outweighs all others together."""
_UNEVEN = 1e6


@dataclass(frozen=True)
class Design:
    """`yi`, `vi` (k), `X` (k, p) with `names`; X = QR, `y` residuals of yi and `gamma` their fit.

    `QQ` (k, p * p) holds the products of the columns of Q. `intercept` says whether a constant is
    in the span of X.
    """

    yi: Floats
    vi: Floats
    X: Floats
    names: tuple[str, ...]
    Q: Floats
    R: Floats
    QQ: Floats
    y: Floats
    gamma: Floats
    intercept: bool

    @property
    def k(self) -> int:
        """Number of effects."""
        return len(self.yi)

    @property
    def p(self) -> int:
        """Number of coefficients."""
        return self.X.shape[1]

    def coefficients(self, delta: Floats) -> Floats:
        """Coefficients of X from those of Q for the residuals."""
        return np.asarray(np.linalg.solve(self.R, self.gamma + delta))

    def covariance(self, A: Floats) -> Floats:
        """Covariance of the coefficients of X from that of those of Q."""
        inverse = np.linalg.inv(self.R)
        return np.asarray(inverse @ A @ inverse.T)


@dataclass(frozen=True)
class Fit:
    """Weighted least squares at weights `w`: `delta` (p), its covariance `A`, residuals, `rss`.

    `free` (k) is 1 minus the leverages, `log_det` that of Q'WQ.
    """

    w: Floats
    delta: Floats
    A: Floats
    resid: Floats
    free: Floats
    rss: Floats
    log_det: Floats


def column(values: ArrayLike, name: str, problems: list[str], positive: bool = False) -> Floats:
    """One number a study as an array (k); what is wrong is added to `problems`."""
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        problems.append(f"{name} must hold numbers; remedy: convert text to numbers first")
        return np.zeros(0)
    if array.ndim != 1:
        problems.append(f"{name} must be one number a study, not an array of shape {array.shape}")
        return array.ravel()
    wrong = ~np.isfinite(array)
    _report(
        array, wrong, name, "is not a finite number", "give it or leave the study out", problems
    )
    if positive:
        low = ~wrong & (array <= 0)
        remedy = "a sampling variance is above 0; check it or leave the study out"
        _report(array, low, name, "is not above 0", remedy, problems)
    return array


def _report(
    array: Floats, wrong: NDArray[np.bool_], name: str, what: str, remedy: str, problems: list[str]
) -> None:
    places = np.flatnonzero(wrong)
    for i in places[:_SHOWN]:
        problems.append(f"{name}[{i}] = {array[i]:g} {what}; remedy: {remedy}")
    if len(places) > _SHOWN:
        problems.append(f"{name}: {len(places) - _SHOWN} more such values")


def refuse(problems: Sequence[str]) -> None:
    """Raise one ValueError that names every problem, or return."""
    if problems:
        raise ValueError("\n".join(problems))


def check_level(level: float, problems: list[str]) -> None:
    """Add a problem unless `level` is a probability between 0 and 1."""
    if not 0 < level < 1:
        problems.append(f"level = {level!r} is not between 0 and 1; remedy: e.g. level=0.95")


def design(
    yi: ArrayLike,
    vi: ArrayLike,
    X: ArrayLike | pd.DataFrame | None = None,
    intercept: bool = True,
    problems: Sequence[str] = (),
    v_name: str = "vi",
) -> Design:
    """Check effects `yi` (k), sampling variances `vi` (k) and moderators `X` (k, m); prepare them.

    With `intercept` a constant is put before the moderators unless one is among them. `problems`
    found by the caller are reported together with those found here; `v_name` names `vi` in them.

    Raises
    ------
    ValueError
        Unequal lengths, values that are not finite, variances not above 0, collinear moderators:
        all problems at once, with place, value and remedy.
    """
    found = list(problems)
    y, v = column(yi, "yi", found), column(vi, v_name, found, positive=True)
    if len(y) != len(v):
        found.append(
            f"yi has {len(y)} values and {v_name} {len(v)}; remedy: give one of each per study"
        )
    if len(y) == 0 and not found:
        found.append("there is no effect; remedy: give at least one")
    matrix, names = moderators(X, len(y), intercept, found)
    refuse(found)
    return prepared(y, v, matrix, names)


def prepared(y: Floats, v: Floats, matrix: Floats, names: tuple[str, ...]) -> Design:
    """Orthogonalise checked input."""
    Q, R = np.linalg.qr(matrix)
    k, p = matrix.shape
    QQ = (Q[:, :, None] * Q[:, None, :]).reshape(k, p * p)
    root = 1.0 / np.sqrt(v)
    gamma = np.linalg.lstsq(Q * root[:, None], y * root, rcond=None)[0]
    ones = np.ones(k)
    spanned = bool(np.abs(ones - Q @ (Q.T @ ones)).max() < 1e-8)
    return Design(y, v, matrix, names, Q, R, QQ, y - Q @ gamma, gamma, spanned)


def moderators(
    X: ArrayLike | pd.DataFrame | None, k: int, intercept: bool, problems: list[str]
) -> tuple[Floats, tuple[str, ...]]:
    """Design matrix (k, p) and its names, `intrcpt` first; what is wrong goes to `problems`."""
    ones = np.ones((k, 1))
    if X is None:
        if not intercept:
            problems.append("no coefficient: X is None and intercept=False; remedy: give X")
        return ones, ("intrcpt",)
    try:
        matrix = np.asarray(X, dtype=float)
    except (TypeError, ValueError):
        text = "X must hold numbers; remedy: code categories as 0 and 1 (pandas.get_dummies)"
        problems.append(text)
        return ones, ("intrcpt",)
    matrix = matrix[:, None] if matrix.ndim == 1 else matrix
    if isinstance(X, pd.DataFrame):
        names = [str(c) for c in X.columns]
    elif isinstance(X, pd.Series) and X.name is not None:
        names = [str(X.name)]
    else:
        names = [f"x{i + 1}" for i in range(matrix.shape[-1])]
    if matrix.ndim != 2 or len(matrix) != k:
        problems.append(f"X has shape {matrix.shape}; allowed: ({k}, m), one row a study")
        return ones, ("intrcpt",)
    bad = False
    for j, name in enumerate(names):
        wrong = ~np.isfinite(matrix[:, j])
        bad |= bool(wrong.any())
        remedy = "give it or leave the study out"
        _report(matrix[:, j], wrong, f"X[{name!r}]", "is not a finite number", remedy, problems)
    if bad:
        return ones, ("intrcpt",)
    constant = (matrix == 1).all(axis=0) if k else np.zeros(len(names), dtype=bool)
    if constant.any():
        first = int(np.flatnonzero(constant)[0])
        matrix, names = (
            np.delete(matrix, first, axis=1),
            [n for i, n in enumerate(names) if i != first],
        )
    if intercept or constant.any():
        matrix, names = np.hstack([ones, matrix]), ["intrcpt", *names]
    _check_rank(matrix, names, problems)
    return matrix, tuple(names)


def _check_rank(matrix: Floats, names: Sequence[str], problems: list[str]) -> None:
    k, p = matrix.shape
    if p > k:
        text = f"{p} coefficients and only {k} effects; remedy: use at most {k}"
        problems.append(text)
        return
    size = np.sqrt((matrix**2).sum(axis=0))
    kept = np.zeros((k, 0))
    for j in range(p):
        rest = matrix[:, j] / size[j] if size[j] > 0 else matrix[:, j]
        for _ in range(2):  # twice is enough (Kahan)
            rest = rest - kept @ (kept.T @ rest)
        left = float(np.sqrt((rest**2).sum()))
        if left <= _COLLINEAR:
            before = " and ".join(map(repr, names[:j])) or "nothing"
            text = f"the moderator {names[j]!r} follows from {before} (collinear); remedy: drop it"
            problems.append(text)
        else:
            kept = np.hstack([kept, rest[:, None] / left])


def weighted_fit(d: Design, w: Floats) -> Fit:
    """Weighted least squares of the residuals on Q at weights `w` (..., k)."""
    if d.p > 1 and w.max() > _UNEVEN * w.min():
        R = np.linalg.qr(np.sqrt(w)[..., None] * d.Q, mode="r")
        inverse = np.linalg.inv(R)
        A = inverse @ inverse.swapaxes(-1, -2)
        log_det = 2 * np.log(np.abs(np.diagonal(R, axis1=-2, axis2=-1))).sum(axis=-1)
    else:
        M = _moment(d, w)
        A, log_det = np.linalg.inv(M), np.linalg.slogdet(M)[1]
    delta = np.einsum("...ij,...j->...i", A, (w * d.y) @ d.Q)
    resid = d.y - delta @ d.Q.T
    # One step of refinement: weights may differ by many orders of magnitude.
    step = np.einsum("...ij,...j->...i", A, (w * resid) @ d.Q)
    delta, resid = delta + step, resid - step @ d.Q.T
    free = 1.0 - w * (A.reshape(*w.shape[:-1], d.p**2) @ d.QQ.T)
    if d.k > d.p and free.min() < _HEAVY:
        _refine_heavy(d, w, resid, free)
    rss = (w * resid**2).sum(axis=-1)
    return Fit(w, delta, A, resid, free, rss, log_det)


def _refine_heavy(d: Design, w: Floats, resid: Floats, free: Floats) -> None:
    """Recompute, in place, what cancels where one study outweighs all others.

    From the fit without the study: 1 - h = 1/(1 + w q'A_(-)q), and its residual is 1 - h times its
    distance from that fit. There are at most about p such studies.
    """
    for *place, i in np.argwhere(free < _HEAVY):
        node, rest = tuple(place), np.arange(d.k) != i
        root = np.sqrt(w[node][rest])
        B = root[:, None] * d.Q[rest]
        R = np.linalg.qr(B, mode="r")
        size = np.abs(np.diag(R))
        if size.min() <= _COLLINEAR * size.max():  # only this study tells a coefficient
            free[(*node, i)] = resid[(*node, i)] = 0.0
            continue
        without = np.linalg.lstsq(B, root * d.y[rest], rcond=None)[0]
        u = np.linalg.solve(R.T, d.Q[i])
        share = 1.0 / (1.0 + w[(*node, i)] * float(u @ u))
        free[(*node, i)] = share
        resid[(*node, i)] = share * (d.y[i] - d.Q[i] @ without)


def _moment(d: Design, x: Floats) -> Floats:
    """Q' diag(x) Q, (..., p, p)."""
    return np.asarray((x @ d.QQ).reshape(*x.shape[:-1], d.p, d.p))


def trace_p(fit: Fit) -> Floats:
    """tr(P) with P = W - WX (X'WX)^-1 X'W, shape (...)."""
    return np.asarray((fit.w * fit.free).sum(axis=-1))


def trace_pp(d: Design, fit: Fit, a: Floats | None = None, b: Floats | None = None) -> float:
    """tr(P D_a P D_b) for diagonal D_a, D_b (k), identity when None; one set of weights.

    The sum of a_i b_j P_ij^2. Studies that outweigh all others are summed pair by pair: between
    them and the moments of all everything would cancel.
    """
    w, one = fit.w, np.ones_like(fit.w)
    a, b = one if a is None else a, one if b is None else b
    heavy = fit.free < _HEAVY
    light = ~heavy
    A = fit.A
    own = (a * b * (w * fit.free) ** 2).sum()
    wa, wb = w**2 * a * light, w**2 * b * light
    twice = (w * (1 - fit.free)) ** 2 * a * b * light
    pairs = np.trace(A @ _moment(d, wa) @ A @ _moment(d, wb)) - twice.sum()
    for i in np.flatnonzero(heavy):
        cross = (w[i] * w * (d.Q @ A @ d.Q[i])) ** 2
        cross[i] = 0.0
        pairs += (cross * (a[i] * b + np.where(light, b[i] * a, 0.0))).sum()
    return float(own + pairs)
