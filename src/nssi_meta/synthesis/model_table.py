"""The review's model with numbers: what its figure draws, one row a mechanism and condition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from nssi_meta.synthesis.overlap import Overlap
from nssi_meta.synthesis.profiles import Profiles

COLUMNS = (
    "stage", "system", "mechanism", "label", "condition", "condition_label", "role", "estimand",
    "scale", "mu_median", "mu_low", "mu_high", "p_direction", "k", "n_studies", "n_bounds",
    "evidence", "p_shared", "p_opposite", "verdict",
)  # fmt: skip
#: A stage of this name says that the review's model has no place for the mechanism.
OUTSIDE = "none"


def model_table(profiles: Profiles, shared: Overlap, pools: pd.DataFrame) -> pd.DataFrame:
    """Strength of every node of the review's model, and which conditions share it.

    Rows: each mechanism with a stage in mechanisms.csv, in its order, and each condition, the
    index first. `role` is `index` or `other`. Means come from the joint model; where that has no
    row of a mechanism in a condition, from the pool on another estimand (`pools` table; the
    largest number of rows), on the scale that `scale` names. `evidence` is `direct`, `contrast
    only`, `pool` or `none`, and the numbers of a cell without evidence are missing, not
    predicted. `p_shared`, `p_opposite` and `verdict` stand where both have evidence.

    Raises ValueError when mechanisms.csv has no column `stage`.
    """
    mechanisms = profiles.mechanisms
    if "stage" not in mechanisms:
        raise ValueError("the model needs a column 'stage' in mechanisms.csv: add it to draw it")
    staged = mechanisms[~mechanisms["stage"].isin(["", OUTSIDE])]
    cells = profiles.summary().set_index(["mechanism", "condition"])
    anchored = profiles.evidence.set_index(["mechanism", "condition"])["anchored"]
    pairs = shared.mechanisms.set_index(["mechanism", "other"])
    arms = [profiles.index, *(c for c in profiles.data.conditions if c != profiles.index)]
    names = dict(zip(profiles.conditions["id"], profiles.conditions["short"], strict=True))
    records: list[dict[str, Any]] = []
    for node in staged.to_dict("records"):
        m = str(node["mechanism"])
        for c in arms:
            record: dict[str, Any] = dict.fromkeys(COLUMNS, np.nan)
            record |= {n: node[n] for n in ("stage", "system", "mechanism", "label")}
            record |= {"condition": c, "condition_label": names.get(c, c), "verdict": ""}
            record["role"] = "index" if c == profiles.index else "other"
            if bool(anchored.get((m, c), False)):
                record |= _joint(cells.loc[(m, c)])
            else:
                record |= _pool(pools, m, c)
            if (m, c) in pairs.index:
                pair: Any = pairs.loc[(m, c)]
                record |= {n: pair[n] for n in ("p_shared", "p_opposite", "verdict")}
            records.append(record)
    return pd.DataFrame(records, columns=list(COLUMNS))


def _joint(cell: Any) -> dict[str, Any]:
    p = float(cell["p_positive"])
    return {
        "estimand": "case_control",
        "scale": "g",
        **{n: cell[n] for n in ("mu_median", "mu_low", "mu_high", "n_studies", "n_bounds")},
        "p_direction": max(p, 1 - p),
        "k": int(cell["k"] + cell["k_contrast"]),
        "evidence": cell["evidence"],
    }


def _pool(pools: pd.DataFrame, mechanism: str, condition: str) -> dict[str, Any]:
    found = pools[(pools["mechanism"] == mechanism) & (pools["condition"] == condition)]
    if found.empty:
        return {"estimand": "", "scale": "", "k": 0, "n_studies": 0, "n_bounds": 0,
                "evidence": "none"}  # fmt: skip
    cell = found.sort_values("k", kind="stable", ascending=False).iloc[0]
    p = float(cell["p_positive"])
    return {
        **{n: cell[n] for n in ("estimand", "scale", "mu_median", "mu_low", "mu_high", "k",
                                "n_studies", "n_bounds")},
        "p_direction": max(p, 1 - p),
        "evidence": "pool",
    }  # fmt: skip
