"""Many pools at once: refits of exact, independent effects, vectorised over pools.

The same quadrature as `exact` (panels of tau halved until the posterior is resolved, mu integrated
in closed form), but every pool's panels stand in one array and only new panels are evaluated. A
pool that this does not resolve is fitted by `fit_exact`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from nssi_meta.inference import densities
from nssi_meta.inference.axes import is_wide
from nssi_meta.inference.batch_grid import Data, integrate_many, tau_scales
from nssi_meta.inference.conditions import finite_moments
from nssi_meta.inference.densities import IntervalKind
from nssi_meta.inference.exact import fit_exact
from nssi_meta.inference.panels import LIGHT_FALL
from nssi_meta.inference.ragged import Mixtures, Panels
from nssi_meta.inference.ragged_intervals import intervals
from nssi_meta.models.blocks import independent
from nssi_meta.models.priors import Prior, PriorError, check_propriety, parse_prior

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Pools worked on together (memory).
_POOLS = 2000
COLUMNS = (
    "k", "mu_median", "mu_mean", "mu_sd", "mu_low", "mu_high", "tau_median", "tau_mean", "tau_sd",
    "tau_low", "tau_high", "pred_low", "pred_high", "p_positive", "log_evidence", "error",
)  # fmt: skip


def fit_many(
    yi: ArrayLike,
    vi: ArrayLike,
    pool: ArrayLike | None = None,
    *,
    mu_prior: str | Prior,
    tau_prior: str | Prior,
    level: float = 0.95,
    interval: IntervalKind = "central",
) -> pd.DataFrame:
    """Fit many pools of exact, independent effects.

    Parameters
    ----------
    yi, vi
        Effects and sampling variances: (pools, k), NaN in both where a pool has fewer than k
        effects; or (n,) with `pool` (n,) naming each effect's pool.
    mu_prior, tau_prior
        As in `pool`. A normal or flat prior on mu is fast; any other is fitted pool by pool.
    level, interval
        Probability and kind (central or shortest) of the credible and prediction intervals.

    Returns
    -------
    DataFrame
        One row a pool (its number, or its name in order of first appearance) with `COLUMNS`:
        those of the `pools` table, mean and SD of tau (infinite where they do not exist), the log
        marginal likelihood (NaN under an improper prior) and the quadrature's estimated relative
        error.

    Raises
    ------
    ValueError
        If shapes differ, an effect is not finite, a variance is not positive, a pool is empty.
    PriorError
        If a prior cannot be read or gives some pool no proper posterior.
    FloatingPointError
        If quadrature does not resolve some pool.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level:g} (0.95 is usual)")
    if interval not in ("central", "shortest"):
        raise ValueError(f"interval must be central or shortest, got {interval!r}")
    mu, tau = parse_prior(mu_prior, "mu"), parse_prior(tau_prior, "tau")
    data, names = _read(yi, vi, pool)
    finite = {k: _checked(k, mu, tau, data.size, names) for k in np.unique(data.size).tolist()}
    # Tails too long for a half line, and priors made from each pool's own variances, go alone.
    fast = mu.name in ("normal", "flat") and not (tau.family.log_axis or tau.family.from_data)
    fast = fast and tau.name != "zero"
    out = np.empty((len(data.size), len(COLUMNS)))
    out[:, -1] = np.nan
    # So do pools whose tails make their moments: few effects under a heavy prior, or a wide one.
    sizes = data.size + tau.tail - (not mu.proper)
    long = (data.size - 1 <= LIGHT_FALL) & is_wide(tau, tau_scales(data))
    together = fast & (((sizes > LIGHT_FALL) & ~long) | (sizes <= 2))
    light = np.flatnonzero(together)
    order = light[np.argsort(data.size[light], kind="stable")]
    for part in (order[i : i + _POOLS] for i in range(0, len(order), _POOLS)):
        out[part] = _fit(data.take(part), mu, tau, level, interval)
    todo = np.flatnonzero(np.isnan(out[:, -1]))
    for i in todo.tolist():
        one = data.take(np.array([i]))
        out[i] = _fit_alone(one, mu, tau, level, interval, names[i])
    table = pd.DataFrame(out, columns=list(COLUMNS), index=names)
    table["k"] = data.size
    moments = np.array([finite[k] for k in data.size.tolist()])
    table.loc[moments < 1, "tau_mean"] = np.inf
    table.loc[moments < 2, "tau_sd"] = np.inf
    if not mu.proper:  # mu varies as tau does
        table.loc[moments < 1, "mu_mean"] = np.nan
        table.loc[moments < 2, "mu_sd"] = np.inf
    return table


def leave_one_out(
    yi: ArrayLike,
    vi: ArrayLike,
    *,
    mu_prior: str | Prior,
    tau_prior: str | Prior,
    level: float = 0.95,
    interval: IntervalKind = "central",
) -> pd.DataFrame:
    """`fit_many` of one pool (k,) without its first, second, ... effect: k rows.

    Raises what `fit_many` raises, and ValueError for fewer than two effects.
    """
    y, v = (np.asarray(a, dtype=float) for a in (yi, vi))
    if y.ndim != 1 or len(y) < 2:
        raise ValueError(f"leaving one out needs two or more effects in one row, got {y.shape}")
    if v.shape != y.shape:
        raise ValueError(f"yi and vi differ in shape: {y.shape} and {v.shape}")
    others = np.array([[j for j in range(len(y)) if j != i] for i in range(len(y))])
    return fit_many(
        y[others], v[others], mu_prior=mu_prior, tau_prior=tau_prior, level=level, interval=interval
    )


def _read(yi: ArrayLike, vi: ArrayLike, pool: ArrayLike | None) -> tuple[Data, pd.Index[Any]]:
    """Both forms of input as one, each pool's effects first in its row; and the pools' names."""
    y, v = (np.asarray(a, dtype=float) for a in (yi, vi))
    if y.shape != v.shape:
        raise ValueError(f"yi and vi differ in shape: {y.shape} and {v.shape}")
    if pool is None:
        if y.ndim != 2:
            raise ValueError(
                f"yi has {y.ndim} dimension(s): give (pools, effects), or name each effect's pool"
            )
        there = ~(np.isnan(y) & np.isnan(v))
        names: pd.Index[Any] = pd.RangeIndex(len(y))
        code, y, v = np.nonzero(there)[0], y[there], v[there]
    else:
        which = np.asarray(pool)
        if y.ndim != 1 or which.shape != y.shape:
            raise ValueError(f"yi {y.shape} and pool {which.shape} must be two rows of one length")
        code, found = pd.factorize(which)
        if (code < 0).any():
            raise ValueError(f"effect {int(np.argmax(code < 0))} names no pool")
        order = np.argsort(code, kind="stable")
        code, y, v = code[order], y[order], v[order]
        names = pd.Index(found)
    if not len(names):
        raise ValueError("no pool to fit")
    size = np.bincount(code, minlength=len(names)).astype(np.int64)
    if (size == 0).any():
        raise ValueError(f"pool {names[int(np.argmin(size))]} has no effect")
    for bad, what in (
        (~np.isfinite(y), "an effect that is no finite number"),
        (~(np.isfinite(v) & (v > 0)), "a sampling variance that is not positive and finite"),
    ):
        if bad.any():
            raise ValueError(f"pool {names[int(code[np.argmax(bad)])]} has {what}")
    column = np.arange(len(y)) - (np.cumsum(size) - size)[code]
    shape = (len(size), int(size.max()))
    out = np.zeros(shape), np.ones(shape), np.zeros(shape)
    for array, value in zip(out, (y, v, np.ones_like(y)), strict=True):
        array[code, column] = value
    return Data(*out, size), names


def _checked(k: int, mu: Prior, tau: Prior, size: Ints, names: pd.Index[Any]) -> int:
    """How many moments of tau exist in pools of k effects; refuses improper posteriors."""
    try:
        check_propriety(mu, tau, k, k)
    except PriorError as error:
        raise PriorError(f"pool {names[int(np.argmax(size == k))]}: {error}") from error
    return finite_moments(independent(np.zeros(k), np.ones(k)), mu, tau)


def _fit(data: Data, mu: Prior, tau: Prior, level: float, kind: IntervalKind) -> Floats:
    """Values of `COLUMNS` (P, columns); rows of NaN where the quadrature failed."""
    grid = integrate_many(data, mu, tau)
    out = np.full((len(data.size), len(COLUMNS)), np.nan)
    if not grid.done.size:
        return out
    counts = np.diff(grid.starts, append=len(grid.mass)) * grid.mass.shape[1]
    node_starts = np.cumsum(counts) - counts
    sds, taus = np.sqrt(grid.var), grid.tau
    weight = grid.mass.ravel()
    means = grid.mean.ravel()
    effect = Mixtures.build(means, sds.ravel(), weight, node_starts)
    new = Mixtures.build(means, np.sqrt(grid.var + taus**2).ravel(), weight, node_starts)
    spread = Panels(grid.mass, grid.low, grid.high, grid.scale, grid.starts)
    n = len(grid.done)
    half = np.full(n, 0.5)
    columns = (
        data.size[grid.done], effect.quantile(half), effect.mean, effect.sd,
        *intervals(effect, level, kind), spread.quantile(half), *spread.moments(),
        *intervals(spread, level, kind, low=0.0), *intervals(new, level, kind),
        1.0 - effect.cdf(np.zeros(n)),
        grid.log_integral if mu.proper and tau.proper else np.full(n, np.nan), grid.error,
    )  # fmt: skip
    out[grid.done] = np.column_stack(columns)
    return out


def _fit_alone(
    data: Data, mu: Prior, tau: Prior, level: float, kind: IntervalKind, name: Any
) -> list[float]:
    """Values of `COLUMNS` of one pool by `fit_exact`."""
    layout = independent(data.y[0], data.v[0])
    try:
        post = fit_exact(layout, mu_prior=mu, tau_prior=tau)
    except FloatingPointError as error:
        raise FloatingPointError(f"pool {name}: {error}") from error
    spread = post.tau_density
    return [
        layout.k, post.mu.quantile(0.5), post.mu.mean, post.mu.sd,
        *densities.interval(post.mu, level, kind), spread.quantile(0.5), spread.mean, spread.sd,
        *densities.interval(spread, level, kind, low=0.0),
        *densities.interval(post.prediction, level, kind),
        post.p_positive, np.nan if post.log_evidence is None else post.log_evidence, post.error,
    ]  # fmt: skip
