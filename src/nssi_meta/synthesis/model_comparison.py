"""Which model foresees a further study best: pools under several choices, and the joint model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nssi_meta.inference.loo import by_study, compare, psis_loo, waic
from nssi_meta.synthesis.leave_one_out import Key, leave_one_out
from nssi_meta.synthesis.pooled import Pools
from nssi_meta.synthesis.posterior_file import block_log_likelihood
from nssi_meta.synthesis.profiles import Profiles

Floats = NDArray[np.float64]


def compare_pools(models: Mapping[str, Pools], key: Key | None = None) -> pd.DataFrame:
    """Pools of the same rows under different priors or assumptions, by exact leave-one-study-out.

    `models` holds pools by the exact engine by their names, `key` names the cell in each. Columns
    model, elpd, se, diff, se_diff, words (`inference.loo.compare`). Raises what `leave_one_out`
    raises, and ValueError where rows differ or a prior is improper.
    """
    scores = {}
    for name, pools in models.items():
        table = leave_one_out(pools, key)
        scores[name] = pd.DataFrame({"study": table["study_id"], "elpd": table["elpd"]})
    return compare(scores)


def study_scores(profiles: Profiles, criterion: str = "loo") -> pd.DataFrame:
    """Scores of the joint model by study: `loo` (PSIS) or `waic`, tables of `inference.loo`."""
    if criterion not in ("loo", "waic"):
        raise ValueError(f"criterion must be loo or waic, got {criterion!r}")
    values, studies = study_log_likelihood(profiles)
    return psis_loo(values, studies) if criterion == "loo" else waic(values, studies)


def study_log_likelihood(profiles: Profiles) -> tuple[Floats, list[str]]:
    """Log likelihood (chain, draw, J) of each study under the joint model, and their names."""
    frame, data = profiles.data.frame, profiles.data.layout
    blocks = [frame["study_id"].iloc[rows].astype(str).tolist() for rows in data.block_rows]
    values, names = by_study(block_log_likelihood(profiles), blocks)
    chains = profiles.posterior_data["posterior"].sizes["chain"]
    return values.reshape(chains, -1, len(names)), names
