"""Step-weight selection models by maximum likelihood (the mode under flat priors).

The counterpart of metafor's `selmodel(type = "stepfun")`; equations in `models.selection`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import ndtr

from nssi_meta.models.selection import Binned, Side, Steps, log_likelihood, normal_critical
from nssi_meta.shown import shown

Floats = NDArray[np.float64]

#: Largest weight: beyond it an estimate says no more than "the others are never reported".
MAX_WEIGHT = 100.0
#: A parameter this close to its limit is at the limit: no standard error.
_AT_LIMIT = 1e-6


@dataclass(frozen=True)
class SelModel:
    """Maximum likelihood fit: `se_*` are NaN where a parameter is fixed or at its limit.

    `omega`, `se_omega`, `k_bins` (bins,), the most significant bin first, its weight fixed at 1.
    `log_likelihood_unadjusted` is that of the same model with all weights 1 (or as given), so
    that twice the difference is the likelihood ratio statistic for selection. `at_limit` names
    the parameters whose likelihood has no maximum inside their range.
    """

    mu: float
    se_mu: float
    tau2: float
    se_tau2: float
    omega: Floats
    se_omega: Floats
    log_likelihood: float
    log_likelihood_unadjusted: float
    k_bins: NDArray[np.int64]
    at_limit: tuple[str, ...]

    def __repr__(self) -> str:
        import pandas as pd

        weights = pd.DataFrame({"k": self.k_bins, "weight": self.omega, "se": self.se_omega})
        limit = [f"at their limit: {', '.join(self.at_limit)}"] if self.at_limit else []
        return shown(
            "Selection model with step weights, the most significant bin first",
            {"mu": self.mu, "se": self.se_mu, "p": self.p_mu, "tau2": self.tau2},
            weights,
            *limit,
        )

    @property
    def p_mu(self) -> float:
        """Two-sided p-value of mu = 0 (z test)."""
        return float(2 * ndtr(-abs(self.mu / self.se_mu)))


def selmodel(
    yi: ArrayLike,
    vi: ArrayLike,
    cuts: Sequence[float] = (0.025,),
    *,
    side: Side = "one",
    positive: bool = True,
    random: bool = True,
    weights: Sequence[float] | None = None,
) -> SelModel:
    """Fit a step-weight selection model by maximum likelihood.

    Parameters
    ----------
    yi, vi
        Estimates and sampling variances (k,), one per study.
    cuts
        p-values at which the reporting probability may change, rising, between 0 and 1.
    side
        Whether `cuts` are one- or two-sided p-values.
    positive
        Direction that is favoured where `side` is one; False favours negative effects.
    random
        Whether effects vary between studies; False fixes tau^2 at 0.
    weights
        Fixed weights of all bins (the first 1) instead of estimated ones.

    Raises
    ------
    ValueError
        Input that is not finite, or not of one length; cut points or weights out of range; fewer
        estimates than parameters.
    """
    y, v, steps = *_checked(yi, vi), Steps(tuple(cuts), side)
    # Steps and limits of the search are numbers: in units of a typical standard error they mean
    # the same on any scale of the outcome.
    unit = float(np.sqrt(np.median(v)))
    sign = 1.0 if positive or side == "two" else -1.0
    y, v = sign * y / unit, v / unit**2
    binned = Binned.sort(y, normal_critical(np.sqrt(v)), steps)
    fixed = None if weights is None else _fixed(weights, steps)
    n_free = 1 + random + (0 if fixed is not None else steps.n_bins - 1)
    if len(y) < n_free:
        raise ValueError(f"{len(y)} estimates cannot determine {n_free} parameters: fewer cuts")

    def unpack(x: Floats) -> tuple[float, float, Floats]:
        tau2 = float(x[1]) if random else 0.0
        omega = fixed if fixed is not None else np.concatenate([[1.0], x[1 + random :]])
        return float(x[0]), tau2, omega

    def loss(x: Floats) -> float:
        mu, tau2, omega = unpack(x)
        value = log_likelihood(y, v, binned, mu, tau2, omega)
        return -value if math.isfinite(value) else 1e10

    spread = max(float(np.var(y)), float(np.median(v)))
    bounds: list[tuple[float | None, float | None]] = [(None, None)]
    if random:
        bounds.append((0.0, None))
    bounds += [(0.0, MAX_WEIGHT)] * (n_free - len(bounds))
    best, value = np.zeros(n_free), np.inf
    start_mu = float(np.average(y, weights=1 / v))
    for tau2, w in ((0.5 * spread, 1.0), (0.05 * spread, 0.3), (spread, 0.1)):
        start = np.array([start_mu, tau2, *[w] * n_free])[: 1 + random]
        start = np.concatenate([start, np.full(n_free - len(start), w)])
        found = minimize(
            loss, start, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-15, "gtol": 1e-9}
        )
        x, f = _polish(loss, found.x, bounds)
        if f < value - 1e-10:
            best, value = x, f
    se, limit = _standard_errors(loss, best, bounds)
    mu, tau2, omega = unpack(best)
    names = ["mu", "tau2"][: 1 + random] + [f"omega{j + 1}" for j in range(1, steps.n_bins)]
    height = -value - len(y) * math.log(unit)
    unadjusted = height
    if fixed is None:
        same = np.ones(steps.n_bins).tolist()
        plain = selmodel(unit * y, unit**2 * v, cuts, side=side, random=random, weights=same)
        unadjusted = plain.log_likelihood
    return SelModel(
        mu=sign * unit * mu,
        se_mu=unit * float(se[0]),
        tau2=unit**2 * tau2,
        se_tau2=unit**2 * float(se[1]) if random else math.nan,
        omega=omega,
        se_omega=np.concatenate([[np.nan], se[1 + random :]])
        if fixed is None
        else np.full(steps.n_bins, np.nan),
        log_likelihood=height,
        log_likelihood_unadjusted=unadjusted,
        k_bins=np.bincount(binned.bins, minlength=steps.n_bins),
        at_limit=tuple(n for n, out in zip(names, limit, strict=False) if out),
    )


def _checked(yi: ArrayLike, vi: ArrayLike) -> tuple[Floats, Floats]:
    y, v = np.asarray(yi, dtype=float), np.asarray(vi, dtype=float)
    if y.ndim != 1 or y.shape != v.shape:
        raise ValueError(f"yi and vi must be of one length, got shapes {y.shape} and {v.shape}")
    if not (np.isfinite(y).all() and np.isfinite(v).all() and (v > 0).all()):
        raise ValueError("every estimate needs a finite yi and a finite vi above 0")
    return y, v


def _fixed(weights: Sequence[float], steps: Steps) -> Floats:
    omega = np.asarray(weights, dtype=float)
    if omega.shape != (steps.n_bins,) or not (omega > 0).all() or not np.isfinite(omega).all():
        raise ValueError(f"weights must be {steps.n_bins} numbers above 0, one per bin")
    return omega


def _derivatives(
    loss: object, x: Floats, free: NDArray[np.intp], step: Floats
) -> tuple[Floats, Floats]:
    """Central differences: gradient and Hessian of `loss` over the free parameters."""
    assert callable(loss)

    def at(*moves: tuple[int, float]) -> float:
        moved = x.copy()
        for index, size in moves:
            moved[index] += size
        return float(loss(moved))

    n, here = len(free), float(loss(x))
    gradient, hessian = np.zeros(n), np.zeros((n, n))
    for a, i in enumerate(free):
        up, down = at((i, step[i])), at((i, -step[i]))
        gradient[a] = (up - down) / (2 * step[i])
        hessian[a, a] = (up - 2 * here + down) / step[i] ** 2
        for b, j in enumerate(free[:a]):
            corners = (
                at((i, step[i]), (j, step[j]))
                - at((i, step[i]), (j, -step[j]))
                - at((i, -step[i]), (j, step[j]))
                + at((i, -step[i]), (j, -step[j]))
            )
            hessian[a, b] = hessian[b, a] = corners / (4 * step[i] * step[j])
    return gradient, hessian


def _free(x: Floats, bounds: Sequence[tuple[float | None, float | None]]) -> NDArray[np.bool_]:
    inside = [
        (low is None or value > low + _AT_LIMIT) and (high is None or value < high - _AT_LIMIT)
        for value, (low, high) in zip(x, bounds, strict=True)
    ]
    return np.array(inside)


def _steps(x: Floats, bounds: Sequence[tuple[float | None, float | None]]) -> Floats:
    """Step sizes of the differences, that stay inside the limits."""
    step = 1e-4 * np.maximum(np.abs(x), 0.05)
    for i, (low, high) in enumerate(bounds):
        room = [abs(x[i] - end) for end in (low, high) if end is not None]
        step[i] = min([step[i], *(0.5 * r for r in room if r > 0)])
    return step


def _polish(
    loss: object, x: Floats, bounds: Sequence[tuple[float | None, float | None]]
) -> tuple[Floats, float]:
    """Newton steps over the parameters that are not at a limit, as long as they improve."""
    assert callable(loss)
    value = float(loss(x))
    for _ in range(20):
        free = np.flatnonzero(_free(x, bounds))
        gradient, hessian = _derivatives(loss, x, free, _steps(x, bounds))
        try:
            move = np.linalg.solve(hessian, -gradient)
        except np.linalg.LinAlgError:
            break
        new = x.copy()
        new[free] += move
        for i, (low, high) in enumerate(bounds):
            new[i] = np.clip(new[i], low, high) if low is not None else new[i]
        after = float(loss(new))
        if not after < value:
            break
        x, value = new, after
    return x, value


def _standard_errors(
    loss: object, x: Floats, bounds: Sequence[tuple[float | None, float | None]]
) -> tuple[Floats, NDArray[np.bool_]]:
    """From the observed information of the parameters inside their range."""
    inside = _free(x, bounds)
    se = np.full(len(x), np.nan)
    free = np.flatnonzero(inside)
    _, hessian = _derivatives(loss, x, free, _steps(x, bounds))
    try:
        variance = np.diag(np.linalg.inv(hessian))
    except np.linalg.LinAlgError:
        return se, ~inside
    with np.errstate(invalid="ignore"):
        se[free] = np.sqrt(variance)
    return se, ~inside
