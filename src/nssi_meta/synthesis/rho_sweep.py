"""How much a pool depends on the assumed correlation of effects measured in the same people."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from nssi_meta.evidence.vcalc import vcalc
from nssi_meta.synthesis.cells import CELL, Cell
from nssi_meta.synthesis.kinds import require_effects
from nssi_meta.synthesis.pooled import Pools, pool

#: From independent errors to nearly the same measurement; 0.6 is the package's assumption.
RHOS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9)
_SHOWN = [
    "scale", "k", "n_studies", "mu_median", "mu_low", "mu_high", "tau_median", "omega_median",
    "pred_low", "pred_high", "p_positive", "p_beyond",
]  # fmt: skip


def sweep_rho(pools: Pools, rhos: Sequence[float] = RHOS) -> pd.DataFrame:
    """Refit every pool that depends on rho at each value, by the exact engine.

    Parameters
    ----------
    pools
        From `pool`; priors, level and delta are taken from its options.
    rhos
        Assumed correlations of sampling errors within the same people, each in [0, 1).

    Returns
    -------
    One row a cell and value: the cell's key, `rho`, `assumed` (the value the pool was fitted with)
    and the pool's summary. Cells whose sampling covariance does not change with rho are left out,
    so that the table may be empty.

    Raises
    ------
    ValueError
        No value, or one outside [0, 1); anything but pools of effects.
    """
    require_effects(pools, "a two-by-two table is all its study gives: no rho to sweep")
    values = [float(r) for r in rhos]
    bad = [r for r in values if not 0 <= r < 1]
    if bad or not values:
        wrong = f"got {bad[0]:g}" if bad else "got none"
        raise ValueError(f"rhos must be one or more values from 0 to below 1, {wrong}")
    options = asdict(pools.options) | {"engine": "exact"}
    parts = []
    for cell in pools.cells:
        if not _depends_on_rho(cell):
            continue
        for rho in values:
            table = pool(cell.rows, **(options | {"rho": rho})).table
            parts.append(table[[*CELL, *_SHOWN]].assign(rho=rho))
    columns = [*CELL, "rho", "assumed", *_SHOWN]
    if not parts:
        return pd.DataFrame(columns=columns)
    out = pd.concat(parts, ignore_index=True)
    return out.assign(assumed=np.isclose(out["rho"], pools.options.rho))[columns]


def _depends_on_rho(cell: Cell) -> bool:
    """Whether rows that are modelled together share people, so that rho matters to them."""
    for index in cell.layout.block_rows:
        rows = cell.rows.iloc[index]
        with warnings.catch_warnings():
            # A contradiction at 0.9 is told when the pool is fitted there.
            warnings.simplefilter("ignore", UserWarning)
            low, high = vcalc(rows, rho=0.0), vcalc(rows, rho=0.9)
        if not np.allclose(low, high, rtol=1e-12, atol=0.0):
            return True
    return False
