"""Likelihood of each two-by-two table as a function of its log odds ratio alone.

events_c ~ Binomial(n_c, logit^-1 a), events_t ~ Binomial(n_t, logit^-1(a + theta)), and the
control group's log odds a ~ N(0, baseline_sd) integrated out. That integral depends on the table
and theta only, not on any parameter: it is worked out once, on a grid, and interpolated by a cubic
spline whose coefficients enter a model as data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nssi_meta.models.two_by_two import log_choose

Floats = NDArray[np.float64]

#: The grid: theta = centre + scale sinh(u) at u in [-REACH, REACH], STEP apart. The spline's error
#: is below 1e-6 in the log likelihood within five standard errors of the estimate.
REACH, STEP = 7.2, 0.075
_U = np.arange(-REACH, REACH + STEP / 2, STEP)
#: Intervals of the grid.
CELLS = len(_U) - 1
#: Nodes of the inner integral: a = mode + sd sinh(t), trapezoidal rule.
_T_STEP = 0.1
_T = np.arange(-4.6, 4.6 + _T_STEP / 2, _T_STEP)
_CHUNK = 2_000_000


@dataclass(frozen=True)
class Tables:
    """k two-by-two tables: `centre`, `scale` (k,) of each one's grid, `coef` (4, k CELLS).

    `n_full` of them have no empty cell: only these limit the odds ratio on both sides.
    On cell j of table i, at distance f above its lower end, the log likelihood is
    c0 + c1 f + c2 f^2 + c3 f^3 with c = coef[:, i CELLS + j].
    """

    names: tuple[str, ...]
    centre: Floats
    scale: Floats
    coef: Floats
    n_full: int

    def __repr__(self) -> str:
        return f"Tables({len(self.names)} two-by-two tables, {self.n_full} without an empty cell)"


def count_tables(
    events_t: ArrayLike,
    n_t: ArrayLike,
    events_c: ArrayLike,
    n_c: ArrayLike,
    names: ArrayLike | None = None,
    baseline_sd: float = 10.0,
) -> Tables:
    """Tables of k studies from counts (k,) of events and people, treated (cases) and controls.

    Raises `ValueError` for counts that are no whole numbers, negative, or beyond the group's size,
    naming the row. Studies without events in either group are allowed: they say little, not
    nothing.
    """
    columns = [np.asarray(c, dtype=float) for c in (events_t, n_t, events_c, n_c)]
    et, nt, ec, nc = columns
    if not et.ndim == 1 == nt.ndim or len({c.shape for c in columns}) != 1 or not len(et):
        raise ValueError(f"counts must be columns of one length, got {[c.shape for c in columns]}")
    whole = np.all([np.isfinite(c) & (c % 1 == 0) & (c >= 0) for c in columns], axis=0)
    fits = (et <= nt) & (ec <= nc) & (nt > 0) & (nc > 0)
    bad = np.flatnonzero(~(whole & fits))
    if len(bad):
        i = bad[0]
        raise ValueError(
            f"row {i + 1}: {et[i]:g} of {nt[i]:g} and {ec[i]:g} of {nc[i]:g} are no counts; events "
            "must be whole numbers from 0 to the size of their group, groups at least 1 person"
        )
    if not (np.isfinite(baseline_sd) and baseline_sd > 0):
        raise ValueError(f"baseline_sd must be finite and above 0, got {baseline_sd}")
    a, b, c, d = et + 0.5, nt - et + 0.5, ec + 0.5, nc - ec + 0.5
    centre = np.log(a * d / (b * c))
    scale = np.sqrt(1 / a + 1 / b + 1 / c + 1 / d)
    theta = centre[:, None] + scale[:, None] * np.sinh(_U)
    log_l = np.empty_like(theta)
    step = max(1, _CHUNK // (len(_U) * len(_T)))
    for i in range(0, len(et), step):
        part = slice(i, i + step)
        log_l[part] = _log_integral(theta[part], [x[part, None] for x in columns], baseline_sd)
    chosen = np.arange(1, len(et) + 1).astype(str) if names is None else np.asarray(names)
    n_full = int(((et > 0) & (et < nt) & (ec > 0) & (ec < nc)).sum())
    return Tables(tuple(map(str, chosen)), centre, scale, _spline(log_l), n_full)


def _log_integral(theta: Floats, counts: list[Floats], sd: float) -> Floats:
    """log of the tables' likelihood at `theta` (k, n), the control group's log odds integrated."""
    et, nt, ec, nc = counts
    # The integrand is log-concave in a: Newton from the pooled odds, steps held within 2.
    mode = np.log((ec + 0.5) / (nc - ec + 0.5)) * np.ones_like(theta)
    for _ in range(60):
        p, q = _logistic(mode), _logistic(mode + theta)
        slope = ec - nc * p + et - nt * q - mode / sd**2
        curve = nc * p * (1 - p) + nt * q * (1 - q) + 1 / sd**2
        move = np.clip(slope / curve, -2.0, 2.0)
        mode = mode + move
        if np.abs(move).max() < 1e-10:
            break
    width = 1.0 / np.sqrt(curve)
    at = mode[..., None] + width[..., None] * np.sinh(_T)
    full = theta[..., None] + at
    log_p = (
        ec[..., None] * at
        - nc[..., None] * np.logaddexp(0.0, at)
        + et[..., None] * full
        - nt[..., None] * np.logaddexp(0.0, full)
        - 0.5 * (at / sd) ** 2
        + np.log(np.cosh(_T))
    )
    top = log_p.max(axis=-1)
    integral = np.exp(log_p - top[..., None]).sum(axis=-1) * _T_STEP * width
    choose = log_choose(nt, et) + log_choose(nc, ec)
    return np.asarray(top + np.log(integral) - np.log(sd) - 0.5 * np.log(2 * np.pi) + choose)


def _logistic(x: Floats) -> Floats:
    return np.asarray(np.exp(-np.logaddexp(0.0, -x)))


def _spline(values: Floats) -> Floats:
    """Cubic spline in u through `values` (k, n): coefficients (4, k CELLS), constant term first."""
    from scipy.interpolate import CubicSpline

    c = CubicSpline(_U, values, axis=1).c
    return np.ascontiguousarray(c[::-1].transpose(0, 2, 1).reshape(4, -1))
