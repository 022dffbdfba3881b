"""Pools corrected for selective reporting: every cell with what all cells teach about it.

Null results are reported w times as often as significant ones; w is unknown, common to all cells,
one value for what was read in abstracts and one for what was read elsewhere. It is learned from
the cells, together with the spread of mean effects over cells and the scale of heterogeneity (both
decide how often a result should be significant), and each cell's pool is the mixture over the
posterior of all four. Equations: `models.reporting`, `inference.reported`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nssi_meta.evidence.read import Evidence
from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.inference.exact import has_omega
from nssi_meta.inference.reported import CellGrid, lay_cell
from nssi_meta.inference.reported_nodes import Shared
from nssi_meta.models.blocks import layout
from nssi_meta.models.priors import Prior, PriorError, parse_prior
from nssi_meta.models.reporting import GROUPS, reports
from nssi_meta.shown import shown
from nssi_meta.synthesis.cells import CELL, Cell, Options
from nssi_meta.synthesis.pool_tables import labelled, summarise
from nssi_meta.synthesis.pooled import Pools, rows_to_pool

Floats = NDArray[np.float64]

#: Prior of w: uniform, so that the data decide.
W_PRIOR = (1.0, 1.0)
#: Half-normal priors of the spread of mean effects and of the scale of tau, as in the joint model
#: of all mechanisms (`models.profiles`), in standardised mean differences.
SPREAD_PRIOR, TAU_PRIOR = 1.0, 0.5
#: Both are cut off at these ends.
SPREAD_RANGE, TAU_RANGE = (0.05, 3.0), (0.02, 1.5)
#: Nodes of the shared grid.
N_W, N_SPREAD, N_TAU = 32, 24, 20
#: Length of one standardised mean difference on each scale (d to z and to log odds ratios).
UNIT = {"g": 1.0, "d_within": 1.0, "z": 0.5, "log_or": float(np.pi / np.sqrt(3))}


@dataclass(frozen=True)
class Selection:
    """Assumptions about reporting.

    `w` is either the two parameters of a Beta prior, or one number at which w is fixed (1 means
    no selection). `spread` is the SD of mean effects over cells and `tau` the scale of the
    half-normal prior of tau, in standardised mean differences; None learns them.
    """

    w: tuple[float, float] | float = W_PRIOR
    spread: float | None = None
    tau: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.w, tuple):
            if not all(np.isfinite(p) and p > 0 for p in self.w):
                raise ValueError(f"the Beta prior of w needs numbers above 0, got {self.w}")
        elif not 0 < self.w <= 1:
            raise ValueError(f"w must be above 0 and at most 1, got {self.w:g}")
        for name in ("spread", "tau"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be above 0, got {value:g}")

    def grid(self) -> Shared:
        """Nodes and prior of what is shared."""
        if isinstance(self.w, tuple):
            x, weight = np.polynomial.legendre.leggauss(N_W)
            root, weight = (x + 1) / 2, weight / 2
            w = root**2  # finer towards 0
            a, b = self.w
            prior_w = weight * 2 * root * w ** (a - 1) * (1 - w) ** (b - 1)
        else:
            w, prior_w = np.array([self.w]), np.ones(1)
        spread, prior_s = _log_nodes(self.spread, SPREAD_RANGE, SPREAD_PRIOR, N_SPREAD)
        tau, prior_t = _log_nodes(self.tau, TAU_RANGE, TAU_PRIOR, N_TAU)
        prior = np.einsum("a,b,s,t->abst", prior_w, prior_w, prior_s, prior_t)
        return Shared((w, w), spread, tau, prior / prior.sum())


def _log_nodes(
    fixed: float | None, ends: tuple[float, float], prior_sd: float, n: int
) -> tuple[Floats, Floats]:
    """Gauss-Legendre nodes in the logarithm, weighted by a half-normal prior; or the one value."""
    if fixed is not None:
        return np.array([fixed]), np.ones(1)
    x, weight = np.polynomial.legendre.leggauss(n)
    low, high = np.log(ends)
    value = np.exp(low + (x + 1) / 2 * (high - low))
    return value, weight * value * np.exp(-0.5 * (value / prior_sd) ** 2)


@dataclass(frozen=True)
class Laid:
    """Cells whose nodes are laid, and what is needed to pool them under any assumption."""

    cells: tuple[tuple[Any, pd.DataFrame, CellGrid], ...]
    mechanisms: pd.DataFrame
    conditions: pd.DataFrame
    options: Options
    n_jobs: int


@dataclass(frozen=True)
class Adjusted:
    """Adjusted pools and what they learned.

    `pools` are ordinary `Pools` (table, intervals, predictions). `learned` has one row per shared
    parameter: the relative reporting probability of null results in each group of reports, the
    spread of mean effects and the scale of tau, with their central intervals and the number of
    reports (studies of a cell) that inform them. `posterior` is that of the shared grid.
    """

    pools: Pools
    learned: pd.DataFrame
    shared: Shared
    posterior: Floats
    laid: Laid

    def __repr__(self) -> str:
        return shown("Pools under selective reporting", repr(self.pools), self.learned)

    @property
    def table(self) -> pd.DataFrame:
        return self.pools.table

    def under(self, selection: Selection) -> Adjusted:
        """The same evidence under other assumptions, in a fraction of the time (a sweep).

        The nodes are those laid for the assumptions of `adjusted_pools`: they serve any others
        only where those were learned (its default).
        """
        return _mix(self.laid, selection)


def adjusted_pools(
    data: Evidence | pd.DataFrame,
    selection: Selection | None = None,
    *,
    n_jobs: int = 2,
    progress: Callable[[str], None] | None = None,
    **options: Any,
) -> Adjusted:
    """Pool every cell of `data` under selective reporting.

    Parameters
    ----------
    data
        As for `pool`. All cells are used together: hand in the whole evidence, not one cell.
    selection
        Prior of w, fixed values.
    n_jobs
        Threads (numpy computes outside Python's lock); another joblib backend takes over where
        one is configured.
    progress
        Called with how far it is and the cell's name when its nodes are laid.
    **options
        omega_prior, rho, level, interval, delta, as for `pool`. mu ~ N(0, spread^2) and
        tau ~ half-normal, their scales learned or those of `selection`.

    Raises
    ------
    EvidenceError, PriorError, ValueError
        As `pool`; also for an improper prior, which has no evidence, and for mu_prior or tau_prior.
    """
    if {"mu_prior", "tau_prior"} & set(options) or options.get("engine", "exact") != "exact":
        raise ValueError(
            "adjusted pools have the priors mu ~ N(0, spread^2) and tau ~ half-normal(tau) and the "
            "exact engine; fix their scales by Selection(spread=..., tau=...)"
        )
    chosen, selection = Options.given(**options), selection or Selection()
    omega = parse_prior(chosen.omega_prior, "tau")
    if not omega.proper:
        raise PriorError(f"the improper prior {omega} has no evidence to learn from")
    frame, mechanisms, conditions = rows_to_pool(data)
    if frame.empty:
        raise ValueError("no rows to pool: every row of the selection is excluded")
    shared = selection.grid()
    groups = list(frame.groupby(CELL, sort=False, dropna=False))
    laid = _each(_lay, [(key, rows, shared, omega, chosen) for key, rows in groups], n_jobs)
    cells: list[tuple[Any, pd.DataFrame, CellGrid]] = []
    for (key, _), found in zip(groups, laid, strict=True):
        cells.append((key, *found))
        if progress is not None:
            name = " / ".join(p for p in map(str, key) if p)
            progress(f"{len(cells)} of {len(groups)}, {name}")
    return _mix(Laid(tuple(cells), mechanisms, conditions, chosen, n_jobs), selection)


def _each(work: Callable[..., Any], arguments: list[tuple[Any, ...]], n_jobs: int) -> Any:
    """The results of `work`, in order, each as soon as it is there."""
    from joblib import Parallel, delayed

    run = Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator")
    return run(delayed(work)(*a) for a in arguments)


def _mix(laid: Laid, selection: Selection) -> Adjusted:
    """Learn what is shared, and pool every cell as the mixture over it."""
    shared, options = selection.grid(), laid.options
    grids = [cell for _, _, cell in laid.cells]
    with np.errstate(divide="ignore"):
        log_p = np.log(shared.prior)
    for value in _each(CellGrid.log_evidence, [(cell, shared) for cell in grids], laid.n_jobs):
        log_p = log_p + value
    posterior = np.exp(log_p - log_p.max())
    posterior /= posterior.sum()
    priors = (
        parse_prior(f"normal(0,{_mean(shared.spread, _marginal(posterior, 2)):.3g})", "mu"),
        parse_prior(f"halfnormal({_mean(shared.tau, _marginal(posterior, 3)):.3g})", "tau"),
        parse_prior(options.omega_prior, "tau"),
    )
    box, given = shared.within(posterior)
    own = _each(CellGrid.posterior, [(cell, box, given) for cell in grids], laid.n_jobs)
    cells = tuple(
        Cell(key, rows, cell.layout, found, priors=priors)
        for (key, rows, cell), found in zip(laid.cells, own, strict=True)
    )
    table = pd.DataFrame([summarise(cell, options) for cell in cells])
    pools = Pools(cells, labelled(table, laid.mechanisms, laid.conditions), options)
    return Adjusted(pools, _learned(shared, posterior, laid), shared, posterior, laid)


def _lay(
    key: Any, rows: pd.DataFrame, shared: Shared, omega: Prior, options: Options
) -> tuple[pd.DataFrame, CellGrid]:
    rows = rows.reset_index(drop=True)
    data = layout(rows, partial(vcalc, rho=options.rho), options.rho)
    within = omega if has_omega(rows["study_id"].to_numpy()) else None
    unit = UNIT.get(str(rows["scale"].iloc[0]), 1.0)
    try:
        cell = lay_cell(
            data,
            reports(rows, options.rho),
            shared,
            unit=unit,
            omega_prior=within,
        )
    except FloatingPointError as error:
        name = " / ".join(str(part) for part in key if part) or "the pool"
        raise FloatingPointError(f"{name}: {error}") from error
    return rows, cell


def _marginal(posterior: Floats, axis: int) -> Floats:
    return np.asarray(posterior.sum(axis=tuple(i for i in range(posterior.ndim) if i != axis)))


def _mean(values: Floats, weight: Floats) -> float:
    return float(values @ weight / weight.sum())


def _learned(shared: Shared, posterior: Floats, laid: Laid) -> pd.DataFrame:
    """Marginals of what is shared: mean, median, interval, and how many reports inform it."""
    tail = (1 - laid.options.level) / 2
    group = np.concatenate([cell.reports.group for _, _, cell in laid.cells])
    silent = np.concatenate([cell.reports.silent for _, _, cell in laid.cells])
    rows = []
    parameters = [*zip((f"w {g}" for g in GROUPS), shared.w, strict=True)]
    parameters += [("spread", shared.spread), ("tau", shared.tau)]
    for axis, (name, values) in enumerate(parameters):
        marginal = _marginal(posterior, axis)
        here = group == axis if axis < 2 else np.ones(len(group), dtype=bool)
        low, median, high = (_quantile(values, marginal, p) for p in (tail, 0.5, 1 - tail))
        counts = int(here.sum()), int((here & silent).sum())
        rows.append((name, _mean(values, marginal), median, low, high, *counts))
    columns = ["parameter", "mean", "median", "low", "high", "n_reports", "n_null"]
    return pd.DataFrame(rows, columns=columns)


def _quantile(values: Floats, weight: Floats, p: float) -> float:
    """Quantile of a density known at nodes: its distribution function at the nodes' middles."""
    if len(values) == 1:
        return float(values[0])
    cumulative = np.cumsum(weight) - weight / 2
    return float(np.interp(p * weight.sum(), cumulative, values))
