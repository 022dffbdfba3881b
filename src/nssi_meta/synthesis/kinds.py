"""What the checks of pools take: fitted pools, and words for whoever gives something else."""

from __future__ import annotations

from typing import Any

import pandas as pd

from nssi_meta.evidence.read import Evidence
from nssi_meta.synthesis.counts import CountsPool
from nssi_meta.synthesis.pooled import Pools

#: What checks read: fitted pools of effects, or the pool of a set of tables.
AnyPools = Pools | CountsPool


def require_pools(given: Any) -> None:
    """Raise ValueError, which says what to pass, for anything but fitted pools."""
    if isinstance(given, Pools | CountsPool):
        return
    kind = type(given).__name__
    how = "nm.pool(...) for effects, nm.pool_counts(...) for two-by-two tables"
    if isinstance(given, Evidence | pd.DataFrame):
        how = "pool first, as in pools = nm.pool(data), and give pools"
    raise ValueError(f"this takes fitted pools, not {kind}: {how}")


def require_effects(given: Any, why: str) -> None:
    """As `require_pools`, and pools of counts are refused, with the reason."""
    require_pools(given)
    if isinstance(given, CountsPool):
        raise ValueError(
            f"{why}. A pool of counts has leave_one_out, predictive, pool_sensitivity and "
            "compare_pools"
        )
