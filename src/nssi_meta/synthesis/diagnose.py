"""Every check of fitted pools at once: single studies, priors, drawn reviews, Bayes factors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from nssi_meta.synthesis.cells import CELL, Cell, cell_name
from nssi_meta.synthesis.kinds import AnyPools, require_pools
from nssi_meta.synthesis.leave_one_out import leave_one_out
from nssi_meta.synthesis.predictive import predictive
from nssi_meta.synthesis.prior_sensitivity import pool_sensitivity


@dataclass(frozen=True)
class Diagnosis:
    """Tables of checks, each with the cell's columns first.

    `bayes_factors` as `Pools.bayes_factors`, `leave_one_out` as `leave_one_out.leave_one_out`,
    `prior_sensitivity` as `prior_sensitivity.pool_sensitivity`, `predictive` and `drawn` as
    `predictive.predictive` (all statistics, and those of every drawn review, for figures). `notes`
    says, in sentences, which check a pool could not have.
    """

    bayes_factors: pd.DataFrame
    leave_one_out: pd.DataFrame
    prior_sensitivity: pd.DataFrame
    predictive: pd.DataFrame
    drawn: pd.DataFrame
    notes: tuple[str, ...]

    def table(self) -> pd.DataFrame:
        """All but `drawn` below each other, with a column `check` and the columns of all."""
        parts = [
            part.assign(check=name)
            for name, part in (
                ("leave_one_out", self.leave_one_out),
                ("prior_sensitivity", self.prior_sensitivity),
                ("predictive", self.predictive),
                ("bayes_factors", self.bayes_factors),
            )
            if len(part)
        ]
        if not parts:
            return pd.DataFrame(columns=[*CELL, "check"])
        table = pd.concat(parts, ignore_index=True)
        return table[[*CELL, "check", *(c for c in table if c not in (*CELL, "check"))]]


def diagnose(pools: AnyPools, progress: Callable[[str], None] | None = None) -> Diagnosis:
    """Run every check on every pool (fitted by the exact engine).

    `progress` is called with each pool's name. A check that a pool cannot have (a single study has
    none to leave out, an improper prior draws no reviews) is a sentence in `notes`. Raises
    ValueError for pools sampled by NUTS.
    """
    require_pools(pools)
    if pools.options.engine != "exact":
        raise ValueError("diagnose reads quadrature nodes; pool with engine='exact'")
    found: dict[str, list[pd.DataFrame]] = {"left": [], "prior": [], "checks": [], "drawn": []}
    notes: list[str] = []
    for cell in pools.cells:
        name = cell_name(cell.key) or "the pool"
        if progress is not None:
            progress(name)
        if cell.rows["study_id"].nunique() < 2:
            notes.append(f"{name}: a single study, none to leave out")
        else:
            try:
                found["left"].append(_keyed(leave_one_out(pools, cell.key), cell))
            except (ValueError, FloatingPointError) as error:
                notes.append(f"{name}: leaving out was not possible: {error}")
        found["prior"].append(_keyed(pool_sensitivity(pools, cell.key), cell))
        checks, reviews = predictive(pools, cell.key)
        found["checks"].append(_keyed(checks, cell))
        found["drawn"].append(_keyed(reviews, cell))
        if len(checks) and "prior" not in set(checks["source"]):
            notes.append(f"{name}: its priors are improper or made from the data: no prior reviews")
    left, prior, checked, drawn = (_joined(parts) for parts in found.values())
    return Diagnosis(pools.bayes_factors(), left, prior, checked, drawn, tuple(notes))


def _keyed(table: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    """The table with the cell's columns first."""
    for place, (column, value) in enumerate(zip(CELL, cell.key, strict=True)):
        table.insert(place, column, value)
    return table


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=CELL)
