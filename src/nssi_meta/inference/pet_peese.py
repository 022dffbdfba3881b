"""PET and PEESE: regression of effects on their standard error or sampling variance.

Stanley & Doucouliagos 2014 (Res Synth Methods 5:60): the intercept estimates the effect of a
study without sampling error. PET uses sei, PEESE vi. PET-PEESE reports PEESE where PET finds an
effect in the favoured direction, else PET: it must be a one-sided test (Stanley 2017, Soc Psychol
Personal Sci 8:581), or an effect in the wrong direction would count as one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq, minimize_scalar
from scipy.special import ndtr, stdtr

Floats = NDArray[np.float64]
Method = Literal["wls", "reml", "ml", "ee"]

#: One-sided level at which PET's intercept lets PEESE take over.
ALPHA = 0.05


@dataclass(frozen=True)
class Line:
    """Fitted line: `b`, `se` (2,) of intercept and slope, two-sided `p` (2,), `tau2`."""

    b: Floats
    se: Floats
    p: Floats
    tau2: float


@dataclass(frozen=True)
class PetPeese:
    """Both lines and which of them is reported; `mu`, `se` are its intercept."""

    pet: Line
    peese: Line
    chosen: Literal["PET", "PEESE"]
    p_one_sided: float

    @property
    def mu(self) -> float:
        return float((self.pet if self.chosen == "PET" else self.peese).b[0])

    @property
    def se(self) -> float:
        return float((self.pet if self.chosen == "PET" else self.peese).se[0])


def pet_peese(
    yi: ArrayLike, sei: ArrayLike, *, positive: bool = True, method: Method = "wls"
) -> PetPeese:
    """PET, PEESE and the conditional estimator.

    Parameters
    ----------
    yi, sei
        Estimates and standard errors (k,), one per study.
    positive
        Direction that is favoured.
    method
        `wls` weighted least squares with a free dispersion and t tests (Stanley and Doucouliagos);
        `reml`, `ml` additive heterogeneity tau^2 and z tests; `ee` neither.

    Raises
    ------
    ValueError
        Input that is not finite, fewer than three estimates, equal standard errors (no line is
        determined), estimates exactly on a line, or an unknown method.
    """
    y, s = np.asarray(yi, dtype=float), np.asarray(sei, dtype=float)
    if y.ndim != 1 or y.shape != s.shape:
        raise ValueError(f"yi and sei must be of one length, got shapes {y.shape} and {s.shape}")
    if not (np.isfinite(y).all() and np.isfinite(s).all() and (s > 0).all()):
        raise ValueError("every estimate needs a finite yi and a finite sei above 0")
    if len(y) < 3:
        raise ValueError(f"a line and its error need at least 3 estimates, got {len(y)}")
    if np.ptp(s) <= 1e-9 * s.max():
        raise ValueError("all standard errors are equal: no regression on them is possible")
    if method not in ("wls", "reml", "ml", "ee"):
        raise ValueError(f"method must be wls, reml, ml or ee, got {method!r}")
    pet, peese = _fit(y, s**2, s, method), _fit(y, s**2, s**2, method)
    z = float(pet.b[0] / pet.se[0]) * (1 if positive else -1)
    tail = float(stdtr(len(y) - 2, -z)) if method == "wls" else float(ndtr(-z))
    return PetPeese(pet, peese, "PEESE" if tail < ALPHA else "PET", tail)


def _fit(y: Floats, v: Floats, x: Floats, method: Method) -> Line:
    X = np.stack([np.ones_like(x), x], axis=1)
    tau2 = _tau2(y, v, X, method) if method in ("ml", "reml") else 0.0
    b, covariance, quad = _gls(y, v + tau2, X)
    k = len(y)
    if method == "wls":
        if quad <= 1e-24 * float((y**2 / v).sum()):  # rounding alone
            raise ValueError(
                "the estimates lie exactly on a line, which leaves its error unknown; check that "
                "yi are not computed from sei"
            )
        covariance = covariance * quad / (k - 2)
    se = np.sqrt(np.diag(covariance))
    z = -np.abs(b / se)
    p = 2 * (stdtr(k - 2, z) if method == "wls" else ndtr(z))
    return Line(b, se, np.asarray(p), tau2)


def _gls(y: Floats, variance: Floats, X: Floats) -> tuple[Floats, Floats, float]:
    """Coefficients, their covariance and the weighted residual sum of squares."""
    root = 1 / np.sqrt(variance)
    q, r = np.linalg.qr(X * root[:, None])
    b = np.linalg.solve(r, q.T @ (y * root))
    inverse = np.linalg.inv(r)
    return b, inverse @ inverse.T, float((((y - X @ b) * root) ** 2).sum())


def _tau2(y: Floats, v: Floats, X: Floats, method: Method) -> float:
    """The tau^2 >= 0 of greatest (restricted) likelihood: a search, then the root of its slope."""

    def loss(tau2: float) -> float:
        _, covariance, quad = _gls(y, v + tau2, X)
        value = np.log(v + tau2).sum() + quad
        return float(value - np.linalg.slogdet(covariance)[1] if method == "reml" else value)

    def slope(tau2: float) -> float:
        w = 1 / (v + tau2)
        b, covariance, _ = _gls(y, v + tau2, X)
        value = w.sum() - ((w * (y - X @ b)) ** 2).sum()
        if method == "reml":
            value -= np.trace(covariance @ (X.T * w**2) @ X)
        return float(value)

    top = 10 * (float(np.var(y)) + float(v.max()))
    grid = np.concatenate([[0.0], np.geomspace(1e-6, 1, 60) * top])
    at = int(np.argmin([loss(t) for t in grid]))
    low, high = grid[max(at - 1, 0)], grid[min(at + 1, len(grid) - 1)]
    if slope(low) < 0 < slope(high):
        return float(brentq(slope, low, high, xtol=1e-15 * top))
    at_best = minimize_scalar(
        loss, bounds=(low, high), method="bounded", options={"xatol": 1e-9 * top}
    )
    found = float(at_best.x)
    return found if loss(found) < loss(0.0) and found > 1e-9 * top else 0.0
