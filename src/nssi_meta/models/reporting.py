"""Which results would not have been reported: critical values of every row, and what a study
without a significant result has as its probability.

A study of a cell is reported with probability 1 (relative) if any of its rows is significant at
two-sided .05, with probability w if none is. Given that it is reported, its likelihood is

    L(rows) w^[no row significant] / (1 - (1 - w) P(no row significant | mu, tau, omega)),

L what its rows contribute anyway (`models.likelihood`). That covers rows known exactly and rows
known as bounds alike; in what form a result is printed must not depend on its size beyond its
significance. Several rows of one study and contrast count as one report: P(no row significant) is
their joint probability, with the same shared study effect and errors as in L.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from nssi_meta.evidence import bounds
from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.models.blocks import RHO, Layout, layout

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Two-sided level at which a result counts as significant.
ALPHA = 0.05
#: Where a number was read that is printed whatever it shows: tables of full texts and the coding
#: sheets of other reviews. All other rows come from abstracts.
ELSEWHERE = ("fulltext", "dataset")
GROUPS = ("abstract", "elsewhere")


@dataclass(frozen=True)
class Reports:
    """The reports of a cell: R studies (or contrasts of them), each reported once.

    `null` is the layout in which every row is n.s.; its blocks are the reports. `silent` (R,) is
    True where no row of the report is significant; `group` (R,) indexes `GROUPS`.
    """

    null: Layout
    silent: NDArray[np.bool_]
    group: Ints

    @property
    def k(self) -> int:
        return len(self.silent)


def reports(rows: pd.DataFrame, rho: float = RHO) -> Reports:
    """The reports of one cell's rows (a frame that `blocks.layout` takes).

    The column `seen_in`, where there is one, says where a row was read; a report of which any row
    was read outside an abstract counts as read there.
    """
    rows = rows.reset_index(drop=True)
    limit = critical_values(rows)
    null = layout(
        rows.assign(kind="interval", lower=-limit, upper=limit), partial(vcalc, rho=rho), rho
    )
    significant = _significant(rows, limit)
    seen = rows["seen_in"].astype(str) if "seen_in" in rows else pd.Series("", index=rows.index)
    elsewhere = seen.isin(ELSEWHERE).to_numpy()
    return Reports(
        null,
        np.array([not significant[b].any() for b in null.block_rows]),
        np.array([int(elsewhere[b].any()) for b in null.block_rows], dtype=np.int64),
    )


def critical_values(rows: pd.DataFrame) -> Floats:
    """The estimate (k,) that just reaches two-sided `ALPHA` in each row's own test.

    An n.s. row keeps the limit that it states. Otherwise from the t test that group sizes imply
    (case_control, association, within_person); Wald's z test where they are missing and for odds.
    """
    n1, n2, n = (_numbers(rows, c) for c in ("n_case", "n_control", "n_total"))
    wald = -ndtri(ALPHA / 2) * rows["sei"].to_numpy(dtype=float)
    scale = rows["scale"].to_numpy() if "scale" in rows else np.full(len(rows), "")
    with np.errstate(all="ignore"):
        by_scale = {
            "g": bounds.critical_g(ALPHA, n1, n2)[0],
            "z": bounds.critical_z(ALPHA, n)[0],
            "d_within": bounds.critical_d_within(ALPHA, n)[0],
        }
    limit = wald
    for name, value in by_scale.items():
        usable = (scale == name) & np.isfinite(value) & (value > 0)
        limit = np.where(usable, value, limit)
    lower, upper = (rows[c].to_numpy(dtype=float) for c in ("lower", "upper"))
    within = (rows["kind"] == "interval").to_numpy() & np.isfinite(lower) & np.isfinite(upper)
    return np.asarray(np.where(within, np.maximum(np.abs(lower), np.abs(upper)), limit))


def _significant(rows: pd.DataFrame, limit: Floats) -> NDArray[np.bool_]:
    """Whether each row is known to be significant; a bound beyond a looser p is taken at its word.

    A threshold row says "significant" whatever the level that it prints.
    """
    lower, upper = (rows[c].to_numpy(dtype=float) for c in ("lower", "upper"))
    beyond = (rows["kind"] == "interval").to_numpy() & (np.isinf(lower) | np.isinf(upper))
    with np.errstate(invalid="ignore"):
        size = np.abs(rows["yi"].to_numpy(dtype=float)) >= limit
    return np.where((rows["kind"] == "interval").to_numpy(), beyond, size)


def reported(null: Any, w: Any) -> Any:
    """The relative probability of a report, 1 - (1 - w) P_null; both broadcast."""
    return 1 + (w - 1) * null


def _numbers(rows: pd.DataFrame, column: str) -> Floats:
    if column not in rows:
        return np.full(len(rows), np.nan)
    return rows[column].to_numpy(dtype=float, na_value=np.nan)


__all__ = ["ALPHA", "GROUPS", "Reports", "critical_values", "reported", "reports"]
