"""What selective reporting does to every pool, and how both stand beside others': one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from nssi_meta.evidence.read import Evidence
from nssi_meta.synthesis.cells import CELL
from nssi_meta.synthesis.external import external_check
from nssi_meta.synthesis.reporting import Selection, adjusted_pools

#: Columns of the adjusted pools that stand beside the naive ones.
SHOWN = ("mu_median", "mu_low", "mu_high")


def robustness(
    evidence: Evidence,
    pools: pd.DataFrame,
    published: pd.DataFrame | None = None,
    *,
    selection: Selection | None = None,
    n_jobs: int = 2,
    progress: Callable[[str], None] | None = None,
    **options: Any,
) -> dict[str, pd.DataFrame]:
    """Tables for a run: adjusted pools, what they learned, and the external check.

    Parameters
    ----------
    evidence
        All of it: cells teach each other how selective reporting is.
    pools
        The naive `pools` table of the same evidence.
    published
        From `read_published`; None leaves the external check out.
    selection, n_jobs, progress
        As for `adjusted_pools`, which takes nearly all of the time (about 40 processor seconds
        for 220 cells).
    **options
        omega_prior, rho, level, interval of the naive pools: the adjusted ones share them.

    Returns
    -------
    dict
        `pools_adjusted`: a row a pool with `naive_` and `adjusted_` median, low, high, and
        `excludes_zero` (neither, naive only, adjusted only, both). `reporting`: relative reporting
        probabilities and the scales. With `published`: `external`, `external_totals`,
        `external_left_out`.

    Raises
    ------
    ValueError
        `pools` are not of the same cells; else what `adjusted_pools` raises.
    """
    adjusted = adjusted_pools(evidence, selection, n_jobs=n_jobs, progress=progress, **options)
    naive, other = pools.set_index(CELL), adjusted.table.set_index(CELL)
    if set(naive.index) != set(other.index):
        raise ValueError("the pools are not of the evidence's cells: hand in pool(evidence).table")
    naive, other = naive.reset_index(), other.loc[naive.index].reset_index()
    keep = [c for c in (*CELL, "label", "condition_label", "scale", "k", "n_bounds") if c in naive]
    table = naive[keep].copy()
    for name, source in (("naive", naive), ("adjusted", other)):
        for column in SHOWN:
            table[column.replace("mu", name)] = source[column]
    out = [(t["mu_low"] > 0) | (t["mu_high"] < 0) for t in (naive, other)]
    table["excludes_zero"] = np.select(
        [out[0] & out[1], out[0], out[1]], ["both", "naive only", "adjusted only"], "neither"
    )
    tables = {"pools_adjusted": table, "reporting": adjusted.learned}
    if published is not None:
        check = external_check(published, {"naive": pools, "adjusted": adjusted.table})
        tables |= {
            "external": check.table,
            "external_totals": check.totals,
            "external_left_out": check.left_out,
        }
    return tables
