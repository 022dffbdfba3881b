"""Which model foresees a further study best: pools, sampled fits, and the joint model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nssi_meta.evidence.problems import require
from nssi_meta.inference.loo import MAX_K, by_study, compare, psis_loo, waic
from nssi_meta.inference.nuts import Fit
from nssi_meta.synthesis.kinds import AnyPools
from nssi_meta.synthesis.leave_one_out import Key, leave_one_out
from nssi_meta.synthesis.posterior_file import block_log_likelihood
from nssi_meta.synthesis.profiles import Profiles

Floats = NDArray[np.float64]


def compare_pools(models: Mapping[str, AnyPools], key: Key | None = None) -> pd.DataFrame:
    """Pools of the same rows under different priors or assumptions, by exact leave-one-study-out.

    `models` holds pools by the exact engine by their names, `key` names the cell in each. Columns
    model, elpd, se, diff, se_diff, words (`inference.loo.compare`). Raises what `leave_one_out`
    raises, and ValueError where rows differ or a prior is improper.
    """
    require(
        models, Mapping, "compare_pools takes pools by name, as {'wide': pools, 'narrow': other}"
    )
    scores = {}
    for name, pools in models.items():
        table = leave_one_out(pools, key)
        scores[name] = pd.DataFrame({"study": table["study_id"], "elpd": table["elpd"]})
    return compare(scores)


def compare_fits(fits: Mapping[str, Fit]) -> pd.DataFrame:
    """Sampled models of the same studies, ranked by PSIS-LOO, studies left out one at a time.

    Parameters
    ----------
    fits
        What `refit` returned, by the models' names; two or more.

    Returns
    -------
    Best first: model, elpd (expected log predictive density, summed over studies), se, diff (to the
    best), se_diff, words (what the difference is worth), worst_k (the largest Pareto k), waic (on
    the scale of elpd, a second opinion) and note, which names the studies that an approximation
    cannot leave out (k above 0.7; variance above 0.4 for WAIC), empty where there is none.

    Raises
    ------
    TypeError
        What is no fit.
    ValueError
        Fewer than two fits, one that failed its checks, or fits of different studies (named).
    """
    require(fits, Mapping, "compare_fits takes fits by name, as {'normal': fit, 'robust': other}")
    if len(fits) < 2:
        raise ValueError(f"a comparison needs two fits or more, got {len(fits)}")
    scores, told = {}, []
    for name, fit in fits.items():
        if not isinstance(fit, Fit):
            raise TypeError(
                f"{name} is a {type(fit).__name__}: compare_fits takes what refit returns; for "
                "pools there is compare_pools"
            )
        if not fit.converged:
            raise ValueError(f"{name} is no result, it failed its checks: {fit.problems[0]}")
        by_name = fit.posterior_data["log_likelihood"].dataset["study"]
        values, studies = np.asarray(by_name), [str(s) for s in by_name["study_id"].values]
        loo = psis_loo(values, studies, fit.posterior_data["posterior"].dataset)
        other = waic(values, studies)
        scores[name] = loo
        worst = float(loo["pareto_k"].max())
        note = [
            _note(loo, f"k above {MAX_K}, to be left out by a refit alone:"),
            _note(other, "WAIC not reliable:"),
        ]
        told.append((name, worst, float(other["elpd"].sum()), "; ".join(filter(None, note))))
    more = pd.DataFrame(told, columns=["model", "worst_k", "waic", "note"])
    return compare(scores).merge(more, on="model", how="left", sort=False)


def _note(table: pd.DataFrame, words: str) -> str:
    """`words` and the studies that are flagged, empty where none is."""
    flagged = table.loc[table["flag"] != "", "study"].tolist()
    return f"{words} {', '.join(flagged)}" if flagged else ""


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
