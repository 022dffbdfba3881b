"""Weighted least squares of effects on moderators, the core of the classical analyses.

Everything is linear in the number of studies: no k x k matrix. Moderators are orthogonalised once
(X = QR), so that a year beside an intercept loses no digits, and effects are replaced by residuals
of a first fit, so that effects of 1e6 lose none either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from nssi_meta.inference.checked import COLLINEAR, Floats, column, moderators, refuse

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
        if size.min() <= COLLINEAR * size.max():  # only this study tells a coefficient
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
